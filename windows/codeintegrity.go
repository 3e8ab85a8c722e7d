// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// codeIntegrity is the answer of class 103: what the kernel's code integrity enforces now.
type codeIntegrity uint32

// The options of code integrity.
const (
	ciEnabled         codeIntegrity = 0x1    // drivers must be signed
	ciTestSign        codeIntegrity = 0x2    // test-signed drivers load
	ciUMCI            codeIntegrity = 0x4    // user-mode code is checked too
	ciUMCIAudit       codeIntegrity = 0x8    // … in audit mode
	ciUMCIExclusion   codeIntegrity = 0x10   // … except for paths
	ciTestBuild       codeIntegrity = 0x20   // a test build of code integrity
	ciPreproduction   codeIntegrity = 0x40   // a preproduction build
	ciDebugMode       codeIntegrity = 0x80   // a kernel debugger may let unsigned drivers load
	ciFlightBuild     codeIntegrity = 0x100  // a flight build
	ciFlighting       codeIntegrity = 0x200  // flight-signed drivers load
	ciHVCI            codeIntegrity = 0x400  // the hypervisor enforces it
	ciHVCIAudit       codeIntegrity = 0x800  // … in audit mode
	ciHVCIStrict      codeIntegrity = 0x1000 // … in strict mode
	ciIUM             codeIntegrity = 0x2000 // isolated user mode is on
	ciWHQLEnforcement codeIntegrity = 0x4000 // only drivers of the hardware program load
	ciWHQLAudit       codeIntegrity = 0x8000 // … in audit mode
)

var ciWords = [16]string{
	"enabled", "test_sign", "umci", "umci_audit", "umci_exclusion_paths", "test_build", "preproduction", "debug_mode",
	"flight_build", "flighting", "hvci", "hvci_audit", "hvci_strict", "ium", "whql_enforcement", "whql_audit",
}

// Words returns the set options by name; a bit without a name is 0x and its value.
func (c codeIntegrity) Words() []string {
	words := []string{}
	for i := range 32 {
		bit := codeIntegrity(1) << i
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

func policyAnswerError(field, format string, args ...any) error {
	return &fact.ParseError{Source: SourcePolicy, Field: field, Reason: fmt.Sprintf(format, args...)}
}

// parseCodeIntegrity reads the answer to OpCodeIntegrity: a length and the options.
func parseCodeIntegrity(b []byte) (codeIntegrity, error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) < 8 {
		return 0, policyAnswerError("codeIntegrityOptions", "%d bytes", len(b))
	}
	return codeIntegrity(binary.LittleEndian.Uint32(b[4:])), nil
}

// Loading says what the options mean for new code. In debug mode the kernel may accept unsigned code, and its options
// do not show that: the answer is unknown.
func (c codeIntegrity) Loading() fact.Loading {
	switch {
	case c&ciEnabled == 0 || c&ciTestSign != 0:
		return fact.LoadingAny
	case c&ciDebugMode != 0 && c&ciHVCI == 0:
		return ""
	}
	return fact.LoadingSigned
}

// isolatedUserMode is the answer of class 165: what the hypervisor keeps apart from the kernel.
type isolatedUserMode struct {
	SecureKernel bool // the secure kernel runs: virtualization-based security is on
	HVCI         bool // it enforces code integrity
	HVCIStrict   bool // … in strict mode
	Debug        bool // the secure kernel can be debugged
}

// parseIsolatedUserMode reads the answer to OpIsolatedUserMode: bits, then reserved bytes.
func parseIsolatedUserMode(b []byte) (isolatedUserMode, error) {
	if len(b) < 1 {
		return isolatedUserMode{}, policyAnswerError("isolatedUserMode", "no bytes")
	}
	return isolatedUserMode{
		SecureKernel: b[0]&1 != 0, HVCI: b[0]&2 != 0, HVCIStrict: b[0]&4 != 0, Debug: b[0]&8 != 0,
	}, nil
}

// parseSecureBoot reads the answer to OpSecureBoot: whether it is on, and whether the firmware
// has it.
func parseSecureBoot(b []byte) (enabled, capable bool, err error) {
	if len(b) < 2 {
		return false, false, policyAnswerError("secureBoot", "%d bytes", len(b))
	}
	return b[0] != 0, b[1] != 0, nil
}

// parseKernelDebugger reads the answer to OpKernelDebugger: whether debugging is on, and whether
// a debugger is attached.
func parseKernelDebugger(b []byte) (enabled, present bool, err error) {
	if len(b) < 2 {
		return false, false, policyAnswerError("kernelDebugger", "%d bytes", len(b))
	}
	return b[0] != 0, b[1] == 0, nil
}

// tri writes a bit as yes, audit (when only the audit bit is set) or no.
func (c codeIntegrity) tri(on, audit codeIntegrity) string {
	switch {
	case c&on != 0:
		return "yes"
	case audit != 0 && c&audit != 0:
		return "audit"
	}
	return "no"
}

// TestSign says whether test-signed drivers load: yes or no.
func (c codeIntegrity) TestSign() string { return c.tri(ciTestSign, 0) }

// HVCI says whether the hypervisor enforces code integrity: yes, audit or no.
func (c codeIntegrity) HVCI() string { return c.tri(ciHVCI, ciHVCIAudit) }

// WHQL says whether only drivers of the hardware program load: yes, audit or no.
func (c codeIntegrity) WHQL() string { return c.tri(ciWHQLEnforcement, ciWHQLAudit) }
