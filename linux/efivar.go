// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strconv"

	"github.com/kernelext/kernelext/fact"
)

// EFIVarsDir is where the firmware's variables are mounted.
const EFIVarsDir = "sys/firmware/efi/efivars"

const (
	efiGlobal = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	shimGUID  = "605dab50-e046-4300-abb6-3dd810dd8b23"
)

// The files of the variables that say whether the firmware, and shim, verify what they start.
const (
	SecureBootVar     = EFIVarsDir + "/SecureBoot-" + efiGlobal
	SetupModeVar      = EFIVarsDir + "/SetupMode-" + efiGlobal
	MokSBStateVar     = EFIVarsDir + "/MokSBStateRT-" + shimGUID
	MokListTrustedVar = EFIVarsDir + "/MokListTrustedRT-" + shimGUID
)

// ParseEFIByte reads a variable of one byte in the form of efivarfs: four bytes of attributes,
// then the value.
func ParseEFIByte(b []byte) (byte, error) {
	if len(b) != 5 {
		return 0, &fact.ParseError{Source: EFIVarsDir, Reason: "has " + strconv.Itoa(len(b)) + " bytes, not four of attributes and one of value"}
	}
	return b[4], nil
}
