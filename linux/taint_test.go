// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

func TestTaint(t *testing.T) {
	mask, err := parseTaint([]byte("12289\n"))
	if err != nil || mask != 12289 {
		t.Fatalf("mask %d, %v", mask, err)
	}
	var letters string
	for _, f := range flagsOfMask(mask) {
		letters += f.Letter
		if f.Meaning == "" {
			t.Errorf("bit %d has no meaning", f.Bit)
		}
	}
	if letters != "POE" {
		t.Errorf("letters %q", letters)
	}
	unknown := flagsOfMask(1<<63 | 1<<40 | 1)
	if len(unknown) != 3 || unknown[1].Bit != 40 || unknown[1].Letter != "" || unknown[2].Bit != 63 {
		t.Errorf("unknown bits: %+v", unknown)
	}
	if f := flagsOfMask(0); f == nil || len(f) != 0 {
		t.Errorf("no taint is known none: %#v", f)
	}
	for _, bad := range []string{"", "x", "-1", "0x3001", "99999999999999999999"} {
		if _, err := parseTaint([]byte(bad)); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if TaintMeaning('O') == "" || TaintMeaning('z') != "" {
		t.Error("TaintMeaning")
	}
	flags := flagsOfLetters("GPOZ")
	if len(flags) != 2 || flags[0].Letter != "P" || flags[1].Letter != "O" {
		t.Errorf("flagsOfLetters = %+v", flags)
	}
}
