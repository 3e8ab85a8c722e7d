// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"regexp"
	"strings"
	"testing"
)

// TestERE matches releases with patterns. The answers are those of regcomp of glibc 2.36 in the C
// locale.
func TestERE(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"6.1.0-57-amd64", []string{"6.1.0-57-amd64", "x6.1.0-57-amd64y", "6x1y0-57-amd64"}, []string{"6.1.0-5-amd64"}},
		{`^6\.1\.`, []string{"6.1.0"}, []string{"16.1.0", "6.12.0"}},
		{"amd64$", []string{"6.1.0-amd64"}, []string{"6.1.0-amd64-rt"}},
		{"^(5|6)[.][0-9]+", []string{"5.10", "6.1"}, []string{"4.19", "5.x"}},
		{"^6.1.0-(cloud-)?amd64$", []string{"6.1.0-cloud-amd64", "6.1.0-amd64"}, []string{"6.1.0-rt-amd64"}},
		{"a|b|", []string{"a", "", "zzz"}, nil},
		{"()", []string{"", "x"}, nil},
		{"(|rt)$", []string{"rt", "x"}, nil},
		{"^x{2}$", []string{"xx"}, []string{"x", "xxx"}},
		{"^x{2,}$", []string{"xx", "xxxx"}, []string{"x"}},
		{"^x{0,2}$", []string{"", "x", "xx"}, []string{"xxx"}},
		{"^(ab){1,3}$", []string{"ab", "ababab"}, []string{"", "abababab", "aba"}},
		{"^a+b*c?$", []string{"a", "aabbc"}, []string{"b", "acc"}},
		{"^(a*)*$", []string{"", "aaa"}, []string{"b"}},
		{"^(a*)+b", []string{"b", "aab"}, []string{"a"}},
		{"[]x]$", []string{"]", "x"}, []string{"["}},
		{"^[^]x]$", []string{"["}, []string{"]", "x"}},
		{"^[a-c-]$", []string{"b", "-"}, []string{"d"}},
		{"^[[:digit:][:upper:]_]+$", []string{"A_1"}, []string{"a"}},
		{`^[\.]$`, []string{`\`, "."}, []string{"x"}},
		{"^[[.-.]]$", []string{"-"}, []string{"."}},
		{`\(x\)`, []string{"(x)"}, []string{"x"}},
		{"x)", []string{"x)"}, []string{"x"}},
		{"a$b", nil, []string{"a$b", "ab"}},
	} {
		e, err := parseERE(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, text := range c.yes {
			if !e.matches(text) {
				t.Errorf("%q does not fit %s", text, c.pattern)
			}
		}
		for _, text := range c.no {
			if e.matches(text) {
				t.Errorf("%q fits %s", text, c.pattern)
			}
		}
	}
	for _, bad := range []string{"(", "a(b", "[a", "[]", "[z-a]", "[[:none:]]", "[[:alpha:", "*a", "a|*", "^*", "(+)",
		"a{", "a{x}", "a{2,1}", "a{99999}", "{1}", `\`, `\d`, `(a)\1`, "[[.x", "[a-[:digit:]]", "((x{100}){100}){100}",
		strings.Repeat("(", 1000)} {
		if _, err := parseERE(bad); err == nil {
			t.Errorf("%.40s: no error", bad)
		}
	}
}

// FuzzERE compares with package regexp where both have the expression. A backslash between brackets is a byte of its
// own for POSIX alone, and a ")" that nothing opens for regcomp alone.
func FuzzERE(f *testing.F) {
	for _, s := range []string{"^(a|b)*c$", "x{1,3}[a-c]?", "a.b+", "(^a|b$)", "[[:alpha:]]-"} {
		f.Add(s, "6.1.0-abc")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		e, err := parseERE(pattern)
		if err != nil || len(text) > 256 {
			return
		}
		got := e.matches(text)
		for i := range len(pattern + text) {
			if c := (pattern + text)[i]; c < ' ' || c > '~' {
				return
			}
		}
		re, err := regexp.CompilePOSIX(pattern)
		if err != nil || strings.Contains(pattern, "[") && strings.Contains(pattern, `\`) ||
			strings.Contains(pattern, "[.") || strings.Contains(pattern, "[=") {
			return
		}
		if want := re.MatchString(text); got != want {
			t.Errorf("%q fits %q: %v, package regexp says %v", text, pattern, got, want)
		}
	})
}
