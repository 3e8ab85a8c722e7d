// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// CodeIntegrity is the answer of class 103: what the kernel's code integrity enforces now.
type CodeIntegrity uint32

// The options of code integrity.
const (
	CIEnabled         CodeIntegrity = 0x1    // drivers must be signed
	CITestSign        CodeIntegrity = 0x2    // test-signed drivers load
	CIUMCI            CodeIntegrity = 0x4    // user-mode code is checked too
	CIUMCIAudit       CodeIntegrity = 0x8    // … in audit mode
	CIUMCIExclusion   CodeIntegrity = 0x10   // … except for paths
	CITestBuild       CodeIntegrity = 0x20   // a test build of code integrity
	CIPreproduction   CodeIntegrity = 0x40   // a preproduction build
	CIDebugMode       CodeIntegrity = 0x80   // a kernel debugger may let unsigned drivers load
	CIFlightBuild     CodeIntegrity = 0x100  // a flight build
	CIFlighting       CodeIntegrity = 0x200  // flight-signed drivers load
	CIHVCI            CodeIntegrity = 0x400  // the hypervisor enforces it
	CIHVCIAudit       CodeIntegrity = 0x800  // … in audit mode
	CIHVCIStrict      CodeIntegrity = 0x1000 // … in strict mode
	CIIUM             CodeIntegrity = 0x2000 // isolated user mode is on
	CIWHQLEnforcement CodeIntegrity = 0x4000 // only drivers of the hardware programme load
	CIWHQLAudit       CodeIntegrity = 0x8000 // … in audit mode
)

var ciWords = [16]string{
	"enabled", "test_sign", "umci", "umci_audit", "umci_exclusion_paths", "test_build", "preproduction", "debug_mode",
	"flight_build", "flighting", "hvci", "hvci_audit", "hvci_strict", "ium", "whql_enforcement", "whql_audit",
}

// Words returns the set options by name; a bit without a name is 0x and its value.
func (c CodeIntegrity) Words() []string {
	words := []string{}
	for i := range 32 {
		bit := CodeIntegrity(1) << i
		switch {
		case c&bit == 0:
		case i < len(ciWords):
			words = append(words, ciWords[i])
		default:
			words = append(words, fmt.Sprintf("%#x", uint32(bit)))
		}
	}
	return words
}

// ParseCodeIntegrity reads the answer to OpCodeIntegrity: a length and the options.
func ParseCodeIntegrity(b []byte) (CodeIntegrity, error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) < 8 {
		return 0, &fact.ParseError{Source: SourcePolicy, Field: "codeIntegrityOptions", Reason: fmt.Sprintf("%d bytes", len(b))}
	}
	return CodeIntegrity(binary.LittleEndian.Uint32(b[4:])), nil
}

// Loading says what the options mean for new code. In debug mode the kernel may let code in that
// nobody signed, which its options do not tell: that is unknown.
func (c CodeIntegrity) Loading() fact.Loading {
	switch {
	case c&CIEnabled == 0 || c&CITestSign != 0:
		return fact.LoadingAny
	case c&CIDebugMode != 0 && c&CIHVCI == 0:
		return ""
	}
	return fact.LoadingSigned
}

// IsolatedUserMode is the answer of class 165: what the hypervisor keeps apart from the kernel.
type IsolatedUserMode struct {
	SecureKernel bool // the secure kernel runs: virtualization-based security is on
	HVCI         bool // it enforces code integrity
	HVCIStrict   bool // … in strict mode
	Debug        bool // the secure kernel can be debugged
}

// ParseIsolatedUserMode reads the answer to OpIsolatedUserMode: bits, then reserved bytes.
func ParseIsolatedUserMode(b []byte) (IsolatedUserMode, error) {
	if len(b) < 1 {
		return IsolatedUserMode{}, &fact.ParseError{Source: SourcePolicy, Field: "isolatedUserMode", Reason: "no bytes"}
	}
	return IsolatedUserMode{SecureKernel: b[0]&1 != 0, HVCI: b[0]&2 != 0, HVCIStrict: b[0]&4 != 0, Debug: b[0]&8 != 0}, nil
}

// ParseSecureBoot reads the answer to OpSecureBoot: whether it is on, and whether the firmware
// has it.
func ParseSecureBoot(b []byte) (enabled, capable bool, err error) {
	if len(b) < 2 {
		return false, false, &fact.ParseError{Source: SourcePolicy, Field: "secureBoot", Reason: fmt.Sprintf("%d bytes", len(b))}
	}
	return b[0] != 0, b[1] != 0, nil
}

// ParseKernelDebugger reads the answer to OpKernelDebugger: whether debugging is on, and whether
// a debugger is attached.
func ParseKernelDebugger(b []byte) (enabled, present bool, err error) {
	if len(b) < 2 {
		return false, false, &fact.ParseError{Source: SourcePolicy, Field: "kernelDebugger", Reason: fmt.Sprintf("%d bytes", len(b))}
	}
	return b[0] != 0, b[1] == 0, nil
}
