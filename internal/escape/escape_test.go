// SPDX-License-Identifier: Apache-2.0

package escape

import (
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"nvme_core", "nvme_core"},
		{`C:\Windows\x`, `C:\Windows\x`},
		{"Ünïcode 漢字", "Ünïcode 漢字"},
		{"a\x1b[31mb", `a\x1b[31mb`},
		{"a\nb\tc\x7f", `a\nb\tc\x7f`},
		{"a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"a\x85\xff", `a\x85\xff`},
		{"\u0085\u2028", `\u0085\u2028`},
	} {
		if got := Text(tt.in); got != tt.want {
			t.Errorf("Text(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestUTF8KeepsDifferentBytesDifferent(t *testing.T) {
	a, b := UTF8("m\xff"), UTF8("m\xfe")
	if a != `m\xff` || b != `m\xfe` || UTF8("m\x1b") != "m\x1b" {
		t.Errorf("UTF8 = %q, %q", a, b)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[0m\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		out := Text(s)
		if !utf8.ValidString(out) || !utf8.ValidString(UTF8(s)) {
			t.Fatalf("not UTF-8: %q", out)
		}
		for _, r := range out {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q has %q", out, r)
			}
		}
		if len(out) > 10*len(s) {
			t.Fatalf("%d bytes became %d", len(s), len(out))
		}
		if Text(out) != out {
			t.Fatalf("escaping %q twice changes it", s)
		}
	})
}
