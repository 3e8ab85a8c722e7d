// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"math/bits"

	"github.com/kernelext/kernelext/fact"
)

// Caps of the bracket expressions that one search comes to. The kernel's have under 16 bytes, and a
// search for a device comes to some hundred of them, at a few hundred steps each.
const (
	maxBracket      = 512
	maxBracketSteps = 1 << 24
)

// A search walks an index whose keys are patterns, matching all of them with one string at once.
// The state of a pattern in the string is a set of positions, one bit each, so that a pattern's byte is a few
// operations on words, parts that patterns share are matched once, and a branch is left as soon as no position is
// possible.
type search struct {
	x      *Index
	s      string
	words  int           // words in a set
	masks  [256][]uint64 // for each byte, its positions in s
	slab   []uint64      // memory of masks
	used   []byte        // bytes whose mask is set
	frames []searchFrame
	sets   []uint64 // a stack of sets, one for each frame
	text   []byte   // the bracket expressions on the way from the root
	openAt int      // where in text the one that is being read begins; -1 for none
	set    []uint64 // the current set
	// literal makes a '[' that leads from node to node stand for itself as long as no wild card came
	// before. kmod looks for both: it matters only for a string that holds a '[', which no device's
	// name does.
	literal bool
	wild    bool // a wild card came before
	budget  int  // bytes of nodes that may still be looked at: as many as the file has
	bracket int  // steps that bracket expressions may still take
	err     error
}

// A searchFrame is one node on the way from the root.
type searchFrame struct {
	node   node
	next   int  // the byte whose child comes next
	single int  // the only position in the set; -1 when there are several
	text   int  // length of the search's text here
	openAt int  // the search's openAt here
	quoted bool // the next byte of the pattern stands for itself
	wild   bool // the search's wild here
	step   int  // which of the five children of a single position comes next
}

func (m *search) run(x *Index, dst []IndexValue, s string) ([]IndexValue, error) {
	m.start(x, s)
	dst = m.enter(dst, x.root, false)
	for len(m.frames) > 0 && m.err == nil {
		f := &m.frames[len(m.frames)-1]
		c, ref := m.nextChild(f)
		if ref == 0 {
			m.frames = m.frames[:len(m.frames)-1]
			m.sets = m.sets[:len(m.sets)-m.words]
			continue
		}
		copy(m.set, m.sets[len(m.sets)-m.words:])
		m.text, m.openAt, m.wild = m.text[:f.text], f.openAt, f.wild
		quoted := f.quoted
		if m.feed(c, &quoted, m.literal) {
			dst = m.enter(dst, ref, quoted)
		}
	}
	m.s, m.x = "", nil
	return dst, m.err
}

// start makes the masks of the string.
func (m *search) start(x *Index, s string) {
	m.x, m.s, m.err, m.budget = x, s, nil, len(x.data)
	m.bracket = maxBracketSteps
	m.words = len(s)/64 + 1
	m.frames, m.sets, m.text, m.openAt = m.frames[:0], m.sets[:0], m.text[:0], -1
	m.wild = false
	for _, c := range m.used {
		m.masks[c] = nil
	}
	m.used = m.used[:0]
	m.slab = m.slab[:0]
	distinct := 0
	var seen [256]bool
	for i := range len(s) {
		if !seen[s[i]] {
			seen[s[i]] = true
			distinct++
		}
	}
	if need := (distinct + 1) * m.words; cap(m.slab) < need {
		m.slab = make([]uint64, 0, need)
	}
	take := func() []uint64 {
		n := len(m.slab)
		m.slab = m.slab[:n+m.words]
		b := m.slab[n:]
		clear(b)
		return b[:m.words:m.words]
	}
	m.set = take()
	for i := range len(s) {
		c := s[i]
		if m.masks[c] == nil {
			m.masks[c] = take()
			m.used = append(m.used, c)
		}
		m.masks[c][i>>6] |= 1 << (i & 63)
	}
	m.set[0] = 1
}

// enter goes to a node with the current set: it reads the prefix, takes the values if the pattern
// that ends here matches, and leaves a frame for the children.
func (m *search) enter(dst []IndexValue, ref uint32, quoted bool) []IndexValue {
	at := int(ref & nodeOffset)
	if text := m.x.text(ref); text > 0 {
		for ; ; text++ {
			if text >= len(m.x.data) {
				m.err = m.x.bad(text, "prefix without an end")
				return dst
			}
			c := m.x.data[text]
			if c == 0 {
				break
			}
			if !m.feed(c, &quoted, false) {
				m.charge(text - int(ref&nodeOffset))
				return dst
			}
		}
		at = text + 1
	}
	n, ok := m.x.node(ref, at)
	if !ok {
		m.err = m.x.bad(at, "node beyond the end")
		return dst
	}
	if n.values > 0 && !quoted && m.matched() {
		if dst, m.err = m.x.appendValues(dst, &n); m.err != nil {
			return dst
		}
	}
	if !m.charge(n.size) {
		return dst
	}
	if len(m.frames) > maxIndexKey {
		m.err = m.x.bad(at, keyTooLong)
		return dst
	}
	if n.children > 0 {
		m.frames = append(m.frames, searchFrame{node: n, next: int(n.first), single: m.position(), text: len(m.text),
			openAt: m.openAt, quoted: quoted, wild: m.wild})
		m.sets = append(m.sets, m.set...)
	}
	return dst
}

// charge takes the bytes of a node off the budget.
func (m *search) charge(size int) bool {
	if m.budget -= size; m.budget < 0 && m.err == nil {
		m.err = m.x.shared()
	}
	return m.err == nil
}

// chargeBracket is charge for the steps of a bracket expression.
func (m *search) chargeBracket(steps int) bool {
	if m.bracket -= steps; m.bracket < 0 && m.err == nil {
		m.err = &fact.ParseError{Source: m.x.source, Field: "index", Reason: "too many bracket expressions",
			Err: fact.ErrTooLarge}
	}
	return m.err == nil
}

// nextChild returns the next child that a pattern may go on with, and its byte. For a single
// position only the byte there and the pattern characters can.
func (m *search) nextChild(f *searchFrame) (byte, uint32) {
	if f.single < 0 || f.openAt >= 0 || f.quoted {
		for f.next <= int(f.node.last) {
			c := byte(f.next)
			f.next++
			if ref := m.x.child(&f.node, c); ref != 0 {
				return c, ref
			}
		}
		return 0, 0
	}
	for f.step < 5 {
		c := "*?[\\\x00"[f.step]
		f.step++
		if f.step == 5 {
			if f.single >= len(m.s) {
				break
			}
			if c = m.s[f.single]; c == '*' || c == '?' || c == '[' || c == '\\' {
				break // was tried as a pattern character, which it is
			}
		}
		if ref := m.x.child(&f.node, c); ref != 0 {
			return c, ref
		}
	}
	return 0, 0
}

// position returns the only position in the set, or -1.
func (m *search) position() int {
	at := -1
	for i, w := range m.set {
		if w == 0 {
			continue
		}
		if at >= 0 || w&(w-1) != 0 {
			return -1
		}
		at = i<<6 + bits.TrailingZeros64(w)
	}
	return at
}

// matched reports whether a pattern that ends here matches: the end of the string is in the set. A
// bracket that is still open stands for itself, and so does what follows it.
func (m *search) matched() bool {
	end := len(m.s)
	if m.openAt < 0 {
		return m.set[end>>6]>>(end&63)&1 != 0
	}
	for p := 0; p <= end; p++ {
		if m.set[p>>6]>>(p&63)&1 == 0 {
			continue
		}
		steps := (len(m.text) - m.openAt) * (end - p + 1)
		if m.masks['['] != nil { // each of the text's brackets may be tried at each place
			steps *= len(m.text) - m.openAt
		}
		if !m.chargeBracket(steps) {
			return false
		}
		if MatchAlias(string(m.text[m.openAt:]), m.s[p:]) {
			return true
		}
	}
	return false
}

// feed takes the pattern's next byte. It reports false when no position is left. With literal a '['
// stands for itself, before any wild card.
func (m *search) feed(c byte, quoted *bool, literal bool) bool {
	switch {
	case m.openAt >= 0:
		return m.feedBracket(c)
	case *quoted:
		*quoted = false
		return m.itself(c)
	case c == '[' && literal && !m.wild:
		return m.itself(c)
	case c == '*':
		m.wild = true
		return m.spread()
	case c == '?':
		m.wild = true
		return m.advance(nil)
	case c == '[':
		m.openAt = len(m.text)
		m.text = append(m.text, c)
		return true
	case c == '\\':
		*quoted = true
		return true
	}
	return m.itself(c)
}

// itself takes a byte that stands for itself.
func (m *search) itself(c byte) bool {
	mask := m.masks[c]
	return mask != nil && m.advance(mask)
}

// feedBracket takes a byte of a bracket expression.
func (m *search) feedBracket(c byte) bool {
	if len(m.text)-m.openAt > maxBracket {
		m.err = m.x.bad(0, "bracket expression without an end")
		return false
	}
	m.text = append(m.text, c)
	if c != ']' {
		return true
	}
	if !m.chargeBracket(len(m.text) - m.openAt + m.words*len(m.used)) {
		return false
	}
	class, n, ok := parseBracket(m.text[m.openAt:])
	if !ok || m.openAt+n != len(m.text) {
		return true
	}
	m.openAt = -1
	any := false
	carry := uint64(0)
	for i := range m.set {
		w := uint64(0)
		for _, b := range m.used {
			if class.has(b) {
				w |= m.masks[b][i]
			}
		}
		w &= m.set[i]
		m.set[i] = w<<1 | carry
		carry = w >> 63
		any = any || m.set[i] != 0
	}
	return any
}

// advance moves every position in the mask one on; a nil mask is all of the string.
func (m *search) advance(mask []uint64) bool {
	var carry, any uint64
	for i := range m.set {
		w := m.set[i]
		if mask != nil {
			w &= mask[i]
		}
		m.set[i] = w<<1 | carry
		carry = w >> 63
		any |= m.set[i]
	}
	if mask == nil { // nothing is beyond the end
		end := len(m.s)
		keep := uint64(2)<<(end&63) - 1
		m.set[end>>6] &= keep
		any = 0
		for _, w := range m.set {
			any |= w
		}
	}
	return any != 0
}

// spread adds every position after the first.
func (m *search) spread() bool {
	filling := false
	for i, w := range m.set {
		switch {
		case filling:
			m.set[i] = ^uint64(0)
		case w != 0:
			m.set[i] = -(w & -w)
			filling = true
		}
	}
	end := len(m.s)
	m.set[end>>6] &= uint64(2)<<(end&63) - 1
	return filling
}
