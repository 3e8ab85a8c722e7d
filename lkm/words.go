// SPDX-License-Identifier: Apache-2.0

package lkm

// A Kind says what a Module is, and is the first part of its ID.
type Kind string

// The kinds.
const (
	KindLinuxModule   Kind = "linux_module"
	KindFreeBSDKld    Kind = "freebsd_kld"
	KindDragonFlyKld  Kind = "dragonfly_kld"
	KindNetBSDModule  Kind = "netbsd_module"
	KindIllumosModule Kind = "illumos_module"
	KindSolarisModule Kind = "solaris_module"
	KindAIXKext       Kind = "aix_kext"
	KindVxWorksModule Kind = "vxworks_module"
	KindNetWareNLM    Kind = "netware_nlm"
	KindMacOSKext     Kind = "macos_kext"
	KindMacOSDext     Kind = "macos_dext"
	KindWindowsDriver Kind = "windows_driver"
)

// A State says where a Module is in its life. Empty means unknown.
type State string

// The states.
const (
	StateLoaded    State = "loaded"    // in the kernel
	StateLoading   State = "loading"   // being put into the kernel
	StateUnloading State = "unloading" // being taken out of it
	StateBuiltin   State = "builtin"   // compiled into the kernel
	StateInstalled State = "installed" // on disk only
)

// An Outcome says how reading a Source went.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"          // read whole
	OutcomeDenied      Outcome = "denied"      // the caller may not read it
	OutcomeAbsent      Outcome = "absent"      // it does not exist here, though it could
	OutcomeUnsupported Outcome = "unsupported" // this system, or this library, has no such source
	OutcomePartial     Outcome = "partial"     // some of it was read
	OutcomeFailed      Outcome = "failed"      // none of it was read, for another reason
	OutcomeSkipped     Outcome = "skipped"     // it was not asked for
)

// A Detail is a set of facts to read beyond the kernel's own list. Each bit has a price; 0 is the
// cheapest.
type Detail uint32

// The details. Prices are for a host with 250 modules.
const (
	// DetailFiles reads the module files on disk: metadata, origin, and whether the loaded code is the
	// file's. It opens a file a module.
	DetailFiles Detail = 1 << iota
	// DetailHashes reads module files whole and hashes them: as expensive as reading every byte.
	DetailHashes
	// DetailSignatures decodes, and with keys verifies, the signatures of files; compressed files are
	// decompressed whole for it.
	DetailSignatures
	// DetailParameters reads the current values of parameters: one small read each, which runs the
	// driver's code and may block.
	DetailParameters
	// DetailAddresses gives load and section addresses, which need privilege: a small read a section.
	DetailAddresses
	// DetailSymbols reads imported and exported symbols from module files: tens of thousands of strings.
	DetailSymbols
	// DetailPolicy reads what the system enforces on loading: some twenty small files.
	DetailPolicy
)

// detailWords are the details by their JSON words, in bit order.
var detailWords = [...]struct {
	bit  Detail
	word string
}{
	{DetailFiles, "files"}, {DetailHashes, "hashes"}, {DetailSignatures, "signatures"}, {DetailParameters, "parameters"},
	{DetailAddresses, "addresses"}, {DetailSymbols, "symbols"}, {DetailPolicy, "policy"},
}
