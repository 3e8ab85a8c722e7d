// SPDX-License-Identifier: Apache-2.0

package aix

import "github.com/kernelext/kernelext/internal/lazy"

var addresses = lazy.Regexp{Pattern: `(?m)^(\s*)[0-9a-f]{1,16}(\s+[0-9a-f]{1,16}\s+)([0-9a-f]{1,16})?`}

// Redact returns data without load addresses. key is a file's slash path, or an op and its
// arguments joined by blanks. Addresses become 0, which AIX never gives an extension.
func Redact(key string, data []byte) []byte {
	if key != OpGenkex {
		return data
	}
	return addresses.ReplaceAllFunc(data, func(b []byte) []byte {
		m := addresses.FindSubmatch(b)
		out := append(append([]byte{}, m[1]...), '0')
		out = append(out, m[2]...)
		if len(m[3]) > 0 {
			out = append(out, '0')
		}
		return out
	})
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return key == OpGenkex }

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string { return []string{"addresses"} }
