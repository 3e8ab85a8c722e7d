// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"strings"
	"testing"
)

// TestLoads finds the modules that lines of scripts load: "?" is any.
func TestLoads(t *testing.T) {
	for line, want := range map[string]string{
		"kldload a": "a", "\tkldload -n a.ko b || exit 1": "a.ko b", "kldload": "?", "kldload\ta": "a",
		"\"/sbin/kldload\" 'a'": "a", "kldload a;kldload b&&load_kld c": "a b c", "kldload $x a": "? a",
		"kldload \\": "?", "x | xargs kldload -n": "?", "action \"kldload -n a\";": "a", "x=$(kldload a)": "a",
		"x=`kldload a`": "a", "load_kld -e 'a|b; c' -m m d": "d", "load_kld -m \"m\" d": "d", "kldload a 2>&1": "a",
		"kldload a # b": "a", "kldload a >b": "a", "kldload(8)": "", "kldload_enable=a": "", "mykldloads a": "",
		"kldload /boot/modules/a.ko": "/boot/modules/a.ko", "kldload a*": "?", "kldunload a": "", "load_kld -e": "?",
		"${X:-/sbin/kldload} a": "?", ": ${X:=/sbin/kldload}": "?", "${X:-kldload a} b": "?", "{ kldload a; }": "a",
		"kldload\r": "?", "kldload a\r": "a", "kldload ${x} a": "?", "${X:-\"kldload\"} a": "?",
		"KLDLOAD=/sbin/kldload": "?", "timeout 5 kldload a": "a", "sh -c 'kldload a'": "a", "x=\"kldload a\"": "a",
	} {
		got := Loads(line, []string{"kldload", "load_kld"})
		for i := range got {
			if got[i] == "" {
				got[i] = "?"
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestWords splits commands where the shell does: what only looks like a blank is a word.
func TestWords(t *testing.T) {
	for body, want := range map[string]string{
		"a  b\tc": "a|b|c", "\r": "\r", "\f": "\f", "\v": "\v", "\u00a0": "\u00a0", "a\r": "a\r", "'a\nb'": "'a|b'",
	} {
		c := Command{Body: body}
		if got := strings.Join(c.Words(), "|"); got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
}

// TestUncomment takes comments out of scripts, and nothing else.
func TestUncomment(t *testing.T) {
	for text, want := range map[string]string{
		"a #b\n#c\nd": "a   \n  \nd", "a='#b' \"#c\" x#d": "a='#b' \"#c\" x#d", "a=$(b #c\n)": "a=$(b   \n)",
		"cat <<E\n# a\nE\n#b": "cat <<E\n# a\nE\n  ", "a 'b\n# c\n": "a 'b\n# c\n", "a #b\n) #c": "a   \n) #c",
	} {
		if got := Uncomment(text, nil); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestIsPlain: a line is one assignment, and nothing more.
func TestIsPlain(t *testing.T) {
	for line, want := range map[string]bool{
		"a=1": true, "a=\"b c\" # d\n": true, "export a=1": true, "a=": true, "a=$b": true, "a=1 b=2": false,
		"a=1; b": false, "a=1 b": false, "a=\"b": false, "a=${b:=c}": false, "a=1 >b": false, "a": false, "": false,
		"export": false, "a=1 &": false, "a-b=1": false,
	} {
		if IsPlain(line) != want {
			t.Errorf("%q: want %t", line, want)
		}
	}
}
