// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// The bounds of the events that are several records, of which a part is missing; the oldest make room.
const (
	maxPieces = 64 << 20 // bytes
	maxBroken = 64       // events
)

// pieces are the parts of one event.
type pieces struct {
	stream string
	seq    int64
	parts  []string // empty ones are missing
	missed int      // how many these are
	size   int
}

// join adds a part, and returns the whole if no part of it is missing.
func (r *Reader) join(stream string, seq, part, of int64, text string) ([]byte, error) {
	if part < 1 || part > of || of > maxPieces/minRecordBytes || text == "" {
		return nil, fmt.Errorf("part %d of %d: %w", part, of, lkm.ErrMalformed)
	}
	i := slices.IndexFunc(r.pieces, func(p *pieces) bool {
		return p.stream == stream && p.seq == seq && len(p.parts) == int(of)
	})
	if i < 0 {
		i = len(r.pieces)
		list := make([]string, of)
		r.pieces = append(r.pieces, &pieces{stream: stream, seq: seq, parts: list, missed: int(of), size: 16 * int(of)})
	}
	p := r.pieces[i]
	if p.parts[part-1] != "" {
		return nil, nil // it came twice
	}
	p.parts[part-1] = text
	p.size += len(text)
	if p.missed--; p.missed == 0 {
		r.pieces = slices.Delete(r.pieces, i, i+1)
		return []byte(strings.Join(p.parts, "")), nil
	}
	return nil, r.makeRoom()
}

// makeRoom drops the oldest events until the rest fits. A Mirror reports the gap.
func (r *Reader) makeRoom() error {
	size, dropped := 0, 0
	for _, p := range r.pieces {
		size += p.size + len(p.stream)
	}
	for ; size > maxPieces || len(r.pieces) > maxBroken; dropped++ {
		size -= r.pieces[0].size + len(r.pieces[0].stream)
		r.pieces = slices.Delete(r.pieces, 0, 1)
	}
	if dropped > 0 {
		return fmt.Errorf("%d events whose parts do not come: %w", dropped, lkm.ErrTooLarge)
	}
	return nil
}
