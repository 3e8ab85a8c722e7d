// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A csrFlag is one thing that System Integrity Protection allows.
type csrFlag struct {
	// Bit counts from 0.
	Bit int
	// Name is the kernel's word, as in CSR_ALLOW_UNTRUSTED_KEXTS.
	Name string
}

// csrNames are the kernel's words by bit.
var csrNames = [...]string{
	"UNTRUSTED_KEXTS", "UNRESTRICTED_FS", "TASK_FOR_PID", "KERNEL_DEBUGGER", "APPLE_INTERNAL", "UNRESTRICTED_DTRACE",
	"UNRESTRICTED_NVRAM", "DEVICE_CONFIGURATION", "ANY_RECOVERY_OS", "UNAPPROVED_KEXTS", "EXECUTABLE_POLICY_OVERRIDE",
	"UNAUTHENTICATED_ROOT", "RESEARCH_GUESTS",
}

// The bits that concern kexts.
const (
	csrAllowUntrustedKexts  = 1 << 0 // kexts without a valid signature load
	csrAllowUnapprovedKexts = 1 << 9 // kexts that no user approved load
)

// csrFlags are the bits set in a mask, lowest first; unknown bits have the name "".
func csrFlags(mask uint32) []csrFlag {
	flags := []csrFlag{}
	for bit := range 32 {
		if mask&(1<<bit) == 0 {
			continue
		}
		f := csrFlag{Bit: bit}
		if bit < len(csrNames) {
			f.Name = csrNames[bit]
		}
		flags = append(flags, f)
	}
	return flags
}

// csrText writes a mask with its words: "0x00000201 = UNTRUSTED_KEXTS, UNAPPROVED_KEXTS".
func csrText(mask uint32) string {
	words := make([]string, 0, 4)
	for _, f := range csrFlags(mask) {
		if f.Name == "" {
			f.Name = fmt.Sprintf("bit %d", f.Bit)
		}
		words = append(words, f.Name)
	}
	if len(words) == 0 {
		return fmt.Sprintf("0x%08x", mask)
	}
	return fmt.Sprintf("0x%08x = %s", mask, strings.Join(words, ", "))
}

// parseCSR reads the answer of OpCSRConfig.
func parseCSR(text []byte) (uint32, error) {
	digits, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "0x")
	v, err := strconv.ParseUint(digits, 16, 32)
	if !ok || err != nil {
		return 0, &fact.ParseError{Source: SourceCSR,
			Reason: fmt.Sprintf("%q is not a mask", cutText(string(text), 40))}
	}
	return uint32(v), nil
}

// secureBootVariable is an Intel Mac's secure boot mode, with the vendor's UUID before it.
const secureBootVariable = "94b73556-2197-4702-82a8-3e1337dafbfb:AppleSecureBootPolicy"

// An nvram is what firmware variables say of the policy on kexts.
type nvram struct {
	// CSR is the variable csr-active-config; nil when it is not set, which means 0 on an Intel Mac.
	CSR *uint32
	// SecureBoot is full, medium or none on a Mac with a T2 chip; empty when it is not set.
	SecureBoot string
	// BootArgs are the kernel's switches for extensions in boot-args.
	BootArgs []string
}

// parseNVRAM reads the answer of OpNVRAM. Variables of another form than expected are reported.
func parseNVRAM(data []byte, r *fact.Report) (nvram, error) {
	var v nvram
	n, err := decodePlist(SourceNVRAM, data)
	if err != nil {
		return v, err
	}
	if n.kind != dictNode {
		return v, &fact.ParseError{Source: SourceNVRAM, Field: "plist",
			Reason: "it is " + n.kind.String() + ", not a dictionary"}
	}
	l := &losses{report: r, source: SourceNVRAM}
	if b := n.bytes("csr-active-config", l); len(b) == 4 {
		mask := binary.LittleEndian.Uint32(b)
		v.CSR = &mask
	} else if b != nil {
		l.add("csr-active-config", &fact.ParseError{Source: SourceNVRAM, Field: "csr-active-config",
			Reason: fmt.Sprintf("%d bytes", len(b))})
	}
	if b := n.bytes(secureBootVariable, l); len(b) == 1 {
		v.SecureBoot = map[byte]string{2: "full", 1: "medium", 0: "none"}[b[0]]
	}
	v.BootArgs = strings.Fields(keptBootArgs(n.dict["boot-args"]))
	return v, nil
}

// bootArgs are the kernel's switches that bear on kexts.
var bootArgs = []string{"kext-dev-mode", "amfi_get_out_of_my_way", "amfi", "rootless", "csr", "keepsyms",
	"kcsuffix", "kc_build", "-x", "-f"}

// keptBootArgs are the words of boot-args whose key is one of bootArgs, separated by blanks.
func keptBootArgs(v node) string {
	var kept []string
	for word := range strings.FieldsSeq(strings.TrimRight(v.str+string(v.data), "\x00")) {
		key, _, _ := strings.Cut(word, "=")
		for _, k := range bootArgs {
			if key == k && len(kept) < 32 {
				kept = append(kept, word)
			}
		}
	}
	return strings.Join(kept, " ")
}

// A bootPolicy is the boot security of an Apple silicon Mac.
type bootPolicy struct {
	// SecureBoot is the mode: "Full Security", "Reduced Security", "Permissive Security".
	SecureBoot string
	// OtherKexts says whether kexts that are not Apple's may be loaded at all.
	OtherKexts fact.Tri
	// ManualMDM and DeviceMDM say whether a management server may approve kexts.
	ManualMDM, DeviceMDM fact.Tri
	// SIP is the state of System Integrity Protection, in the report's words.
	SIP string
}

// allowsOthers says whether kexts that are not Apple's may be loaded; empty if that is unknown. Full Security allows
// none.
func (p *bootPolicy) allowsOthers() fact.Tri {
	switch {
	case p == nil:
		return ""
	case p.OtherKexts == "" && strings.HasPrefix(p.SecureBoot, "Full"):
		return fact.No
	}
	return p.OtherKexts
}

// parseBootPolicy reads the answer of OpBridge. A report of a Mac without these settings, which is
// any Intel Mac, gives an empty bootPolicy.
func parseBootPolicy(data []byte, r *fact.Report) (bootPolicy, error) {
	var p bootPolicy
	n, err := decodePlist(SourceBootPolicy, data)
	if err != nil {
		return p, err
	}
	l := &losses{report: r, source: SourceBootPolicy}
	for _, report := range n.list {
		for _, item := range report.array("_items", l) {
			if s := item.text("ibridge_secure_boot", l); s != "" {
				p.SecureBoot = s
			}
			p.OtherKexts = yesNo(item.text("ibridge_sb_other_kext", l), p.OtherKexts)
			p.ManualMDM = yesNo(item.text("ibridge_sb_manual_mdm", l), p.ManualMDM)
			p.DeviceMDM = yesNo(item.text("ibridge_sb_device_mdm", l), p.DeviceMDM)
			if s := item.text("ibridge_sb_sip", l); s != "" {
				p.SIP = s
			}
		}
	}
	return p, nil
}

func yesNo(s string, before fact.Tri) fact.Tri {
	switch strings.ToLower(s) {
	case "yes", "enabled", "allowed":
		return fact.Yes
	case "no", "disabled":
		return fact.No
	}
	return before
}
