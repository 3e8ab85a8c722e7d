// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"fmt"
	"strconv"
	"strings"
)

// An Address is a location in kernel memory. 0 means unknown: no kernel loads an extension there,
// and the kernels print zero for an address that the reader may not see.
type Address uint64

// String returns the address as 0x and 16 hexadecimal digits, or "?" when it is unknown.
func (a Address) String() string {
	if a == 0 {
		return "?"
	}
	return fmt.Sprintf("0x%016x", uint64(a))
}

// MarshalText writes the address as String does; an unknown address is empty.
func (a Address) MarshalText() ([]byte, error) {
	if a == 0 {
		return nil, nil
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads 0x and up to 16 hexadecimal digits; empty text is unknown.
func (a *Address) UnmarshalText(b []byte) error {
	s := string(b)
	if s == "" {
		*a = 0
		return nil
	}
	hex, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return fmt.Errorf("address %q: %w: no 0x prefix", s, ErrMalformed)
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return fmt.Errorf("address %q: %w: not 64-bit hexadecimal", s, ErrMalformed)
	}
	*a = Address(n)
	return nil
}
