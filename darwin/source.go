// SPDX-License-Identifier: Apache-2.0

package darwin

// Names of the sources of macOS facts.
const (
	SourceKextManager = "kextmanager"       // the kernel's list, KextManagerCopyLoadedKextInfo
	SourceKmutil      = "kmutil"            // the kernel's list as text of kmutil showloaded
	SourceKextstat    = "kextstat"          // the kernel's list as text of kextstat
	SourceBundles     = "bundles"           // kexts and dexts on disk
	SourceCollections = "collections"       // kernel collections, kernelcaches, prelinked kernels
	SourceSysExt      = "system_extensions" // /Library/SystemExtensions/db.plist
	SourceCSR         = "csr"               // System Integrity Protection
	SourceNVRAM       = "nvram"             // firmware variables
	SourceBootPolicy  = "boot_policy"       // the boot security of an Apple silicon Mac
	SourceKextPolicy  = "kextpolicy"        // the database of approvals
	SourceProfiles    = "profiles"          // configuration profiles of a management server
	SourceMachine     = "machine"           // release, identity, clock and boot id
)
