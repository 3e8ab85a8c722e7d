// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"bytes"
	"strings"
)

// Redact returns data without load addresses. key is a file's slash path, or an op and its
// arguments joined by blanks.
func Redact(key string, data []byte) []byte {
	if op, _, _ := strings.Cut(key, " "); op != OpModinfo {
		return data
	}
	l, o, err := layoutOf(data)
	if err != nil || word(o, l.bits, data[16:]) == 0 {
		return data
	}
	out := bytes.Clone(data)
	for i := range l.bits / 8 {
		out[16+i] = 0xff
	}
	return out
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return strings.HasPrefix(key, OpModinfo+" ") }

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string { return []string{"addresses"} }
