// SPDX-License-Identifier: Apache-2.0

package utf16text

import "testing"

func TestDecode(t *testing.T) {
	const text = "Größe 任意 \U0001f511\x00rest"
	b := Encode(text)
	if got := Decode(append(b, 0x41)); got != text {
		t.Errorf("Decode: %q", got)
	}
	if got := DecodeZ(b); got != "Größe 任意 \U0001f511" {
		t.Errorf("DecodeZ: %q", got)
	}
}

func TestDecodeFile(t *testing.T) {
	for want, forms := range map[string][]string{
		"ab": {"ab", "\xef\xbb\xbfab", "\xff\xfea\x00b\x00", "\xfe\xff\x00a\x00b", "a\x00b\x00"},
		"":   {"", "\xff\xfe", "\xfe\xff\x00"},
	} {
		for _, form := range forms {
			if got := DecodeFile([]byte(form)); got != want {
				t.Errorf("%q: %q, want %q", form, got, want)
			}
		}
	}
}
