// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"fmt"
	"strconv"
)

// A Count is a whole number that may be unknown. Its zero value is unknown, which is not 0: a
// known 0 is written to JSON as 0 and an unknown Count is left out (with omitzero).
type Count struct {
	n     int64
	known bool
}

// CountOf returns the known count n.
func CountOf(n int64) Count { return Count{n, true} }

// Get returns the number and whether it is known; an unknown count is 0, false.
func (c Count) Get() (int64, bool) { return c.n, c.known }

// IsZero reports whether the count is unknown. It makes encoding/json's omitzero drop exactly
// the unknown counts; of a value, that package would make a copy on the heap.
func (c *Count) IsZero() bool { return !c.known }

// String returns the number in decimal, or "?" when it is unknown.
func (c Count) String() string {
	if !c.known {
		return "?"
	}
	return strconv.FormatInt(c.n, 10)
}

// MarshalJSON writes the number, or null when it is unknown.
func (c Count) MarshalJSON() ([]byte, error) {
	if !c.known {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, c.n, 10), nil
}

// UnmarshalJSON reads a JSON integer, or null as unknown. It returns an error for anything else.
func (c *Count) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*c = Count{}
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("count: %w: not a 64-bit integer", ErrMalformed)
	}
	*c = CountOf(n)
	return nil
}
