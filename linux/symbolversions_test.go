// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// FuzzSymvers reads a text as a list of symbol versions. What it keeps is no more than some times its length.
func FuzzSymvers(f *testing.F) {
	const text = "0x00000011\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\n0x0000002A\tprintk\tvmlinux\n0x1\tx\n\n\t\n"
	f.Add([]byte(text))
	f.Add(linuxtest.Gzip([]byte(text)))
	f.Add(linuxtest.Gzip([]byte(text))[:30])
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseSymvers(data, "symvers", fact.NewBudget(0))
		if err == nil && len(found) > maxSymversSize {
			t.Fatalf("%d symbols", len(found))
		}
		for symbol, crc := range found {
			if symbol == "" || len(crc) < len("0x00000000") || len(symbol) > maxSymversLine {
				t.Fatalf("%q: %q", symbol, crc)
			}
		}
	})
}

// TestParseSymvers: lines of another form are passed over, later lines of a name count, and a list that is cut off
// returns an error.
func TestParseSymvers(t *testing.T) {
	const text = "0x00000011\ta\tvmlinux\n0x0000002A\tb\n0x1\tshort\nnonsense\n0x00000012\ta\n"
	for _, data := range [][]byte{[]byte(text), linuxtest.Gzip([]byte(text))} {
		found, err := parseSymvers(data, "symvers", nil)
		if err != nil || len(found) != 2 || found["a"] != "0x00000012" || found["b"] != "0x0000002a" {
			t.Errorf("%v, %v", found, err)
		}
	}
	packed := linuxtest.Gzip([]byte(text))
	if _, err := parseSymvers(packed[:len(packed)-9], "symvers", nil); err == nil {
		t.Error("a list that is cut off is read")
	}
	long := make([]byte, 2*maxSymversLine)
	if _, err := parseSymvers(append([]byte(text), long...), "symvers", nil); err == nil {
		t.Error("a line that is too long is read")
	}
}
