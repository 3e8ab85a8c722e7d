// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"bytes"
	"strings"
)

// Redact returns data without load addresses. key is a file's slash path, or an op and its
// arguments joined by blanks.
func Redact(key string, data []byte) []byte {
	op, _, _ := strings.Cut(key, " ")
	if op != OpModctlStat {
		return data
	}
	order, _, _, err := answer(data)
	if err != nil {
		return data
	}
	out := bytes.Clone(data)
	_, _, body, _ := answer(out)
	first, step, addr := 4, newSize, 32
	if strings.HasPrefix(key, OpModctlStat+" 2 ") {
		first, step, addr = 0, oldSize, 352
	} else if len(body) >= 4 {
		// The strings after the records are not records.
		n := min(uint64(order.Uint32(body)), uint64(len(body)-4)/newSize)
		body = body[:4+n*newSize]
	}
	for at := first + addr; at+8 <= len(body); at += step {
		if order.Uint64(body[at:]) != 0 {
			order.PutUint64(body[at:], redactedAddress)
		}
	}
	return out
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return strings.HasPrefix(key, OpModctlStat+" ") }

// Redactions returns the kinds of content that Redact takes out, as words for a tape's header.
func Redactions() []string { return []string{"addresses"} }
