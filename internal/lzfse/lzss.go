// SPDX-License-Identifier: Apache-2.0

package lzfse

import "io"

// The constants of LZSS (kext_tools, compression.c).
const (
	lzssRing  = 4096
	lzssStart = lzssRing - 18
	lzssLeast = 3 // the shortest match
)

// An lzss unpacks LZSS: a byte of eight flags, lowest first, then for each a literal (1) or a match in a ring of
// blanks. The stream has no end mark: the plain size ends it.
type lzss struct {
	in    *input
	size  int64
	ring  [lzssRing]byte
	at    int
	flags uint
}

func newLZSS(in *input, size int64) *lzss {
	s := &lzss{in: in, size: size, at: lzssStart}
	for i := range lzssStart {
		s.ring[i] = ' '
	}
	return s
}

func (s *lzss) put(out *window, c byte) {
	out.buf = append(out.buf, c)
	s.ring[s.at] = c
	s.at = (s.at + 1) % lzssRing
}

func (s *lzss) step(out *window) error {
	for end := len(out.buf) + chunk; len(out.buf) < end; {
		if out.total() >= s.size {
			return io.EOF
		}
		if s.flags >>= 1; s.flags&0x100 == 0 {
			b, err := s.in.take(1)
			if err != nil {
				return err
			}
			s.flags = uint(b[0]) | 0xff00
		}
		if s.flags&1 != 0 {
			b, err := s.in.take(1)
			if err != nil {
				return err
			}
			s.put(out, b[0])
			continue
		}
		b, err := s.in.take(2)
		if err != nil {
			return err
		}
		from := int(b[0]) | int(b[1]&0xf0)<<4
		for i := range int(b[1]&0x0f) + lzssLeast {
			if out.total() >= s.size {
				return io.EOF
			}
			s.put(out, s.ring[(from+i)%lzssRing])
		}
	}
	return nil
}
