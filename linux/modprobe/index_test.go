// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

func TestMatchAlias(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "abc", true}, {"a*c", "abbc", true},
		{"a*c", "abbd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"*a*b*", "xxaxxbxx", true}, {"*a*b*", "xxbxxaxx", false},
		{"a**b", "ab", true},
		{"[abc]", "b", true}, {"[a-c]x", "bx", true}, {"[!a-c]", "b", false}, {"[^a-c]", "d", true}, {"[]]", "]", true},
		{"[!]]", "a", true}, {"[a-]", "-", true},
		{"[abc", "[abc", true}, {"[abc", "a", false}, {"[[:digit:]]", "7", true}, {"[[:digit:]a]", "a", true},
		{"[[:nothing:]]", "a", false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, false}, {"[\\]]", "]", true},
		{"pci:v00008086d*sv*sd*bc*sc*i*", "pci:v00008086d000015B7sv000017AAsd00002233bc02sc00i00", true},
		{"usb:v0781p0100d[0-9A-F]*dc*", "usb:v0781p0100dA1dc00", true},
		{"*a*a*a*a*a*a*a*a*a*b", strings.Repeat("a", 200), false},
	} {
		if got := MatchAlias(c.pattern, c.s); got != c.want {
			t.Errorf("MatchAlias(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func indexOf(entries []indexEntry) *Index {
	x, err := buildIndex(entries, "test")
	if err != nil {
		panic(err)
	}
	return x
}

// randomIndex makes an index of patterns that share parts and overlap.
func randomIndex(seed uint64, n int) (*Index, []indexEntry) {
	rng := rand.New(rand.NewPCG(seed, 1))
	parts := []string{"a", "b", "ab", "*", "?", "[ab]", "[a-c]x", "pci:", "v0", "00", "_", "[!a]", `\*`, "["}
	var entries []indexEntry
	for i := range n {
		var key strings.Builder
		for range 1 + rng.IntN(6) {
			key.WriteString(parts[rng.IntN(len(parts))])
		}
		entries = append(entries, indexEntry{key.String(), IndexValue{uint32(i), fmt.Sprintf("m%d", i)}})
	}
	return indexOf(slices.Clone(entries)), entries
}

// TestIndexFindsAll compares a search with matching every pattern by itself.
func TestIndexFindsAll(t *testing.T) {
	for seed := range uint64(30) {
		x, entries := randomIndex(seed, 60)
		rng := rand.New(rand.NewPCG(seed, 2))
		for range 60 {
			var b strings.Builder
			for range rng.IntN(90) {
				b.WriteByte("abcx0v_:pi*"[rng.IntN(11)])
			}
			s := b.String()
			if rng.IntN(2) == 0 && len(s) > 8 {
				s = s[:rng.IntN(8)]
			}
			got, err := x.match(nil, s)
			if err != nil {
				t.Fatal(err)
			}
			var want []IndexValue
			for _, e := range entries {
				if MatchAlias(e.key, s) {
					want = append(want, e.IndexValue)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %q: %v, want %v", seed, s, got, want)
			}
			exact, err := x.lookup(nil, s)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if (e.key == s) != slices.Contains(exact, e.IndexValue) {
					t.Fatalf("lookup %q: %v", s, exact)
				}
			}
		}
		n := 0
		last := ""
		err := x.Each(func(key string, values []IndexValue) bool {
			if key < last {
				t.Errorf("%q after %q", key, last)
			}
			last = key
			n += len(values)
			return true
		})
		if err != nil || n != len(entries) {
			t.Fatalf("seed %d: %d of %d values, %v", seed, n, len(entries), err)
		}
	}
}

func TestIndexMissAllocatesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("short runs are those of the race detector, under which a look-up allocates")
	}
	var entries []indexEntry
	for i := range 500 {
		entries = append(entries, indexEntry{fmt.Sprintf("of:N*T*C%d,x*", i), IndexValue{uint32(i), "m"}},
			indexEntry{fmt.Sprintf("pci:v%d*", i), IndexValue{uint32(i), "m"}})
	}
	x := indexOf(entries)
	x.match(nil, "of:NnothingT(null)Cnobody")
	if n := testing.AllocsPerRun(100, func() {
		if v, _ := x.match(nil, "of:NnothingT(null)Cnobody"); v != nil {
			t.Fatal(v)
		}
		if v, _ := x.lookup(nil, "nothing"); v != nil {
			t.Fatal(v)
		}
	}); n > 0 {
		t.Errorf("%v allocations on a miss", n)
	}
}

// TestHostileIndexes: an error or an answer, in bounded time, and never a read outside.
func TestHostileIndexes(t *testing.T) {
	head := func(root uint32, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, indexMagic)
		b = binary.BigEndian.AppendUint32(b, indexMajor<<16|1)
		return append(binary.BigEndian.AppendUint32(b, root), rest...)
	}
	cycle := head(nodeChildren|12, '*', '*')
	cycle = binary.BigEndian.AppendUint32(cycle, nodeChildren|12)
	many := head(nodeValues|12, 0xff, 0xff, 0xff, 0xff)
	for range 100000 {
		many = append(many, 0, 0, 0, 0, 0)
	}
	for name, data := range map[string][]byte{
		"cycle": cycle, "out of range": head(nodeChildren | nodeOffset), "no end": head(nodePrefix|12, 'a', 'b'),
		"children cut": head(nodeChildren|12, 'a', 'z', 0),
		"backwards":    head(nodeChildren|12, 'z', 'a'), "values cut": head(nodeValues|12, 0, 0, 0, 9),
		"many values": many,
	} {
		x, err := parseIndex(data, "hostile.bin")
		if err != nil {
			t.Fatal(name, err)
		}
		s := ""
		if name == "cycle" {
			s = "abc"
		}
		if name == "no end" {
			s = "ab"
		}
		_, matchErr := x.match(nil, s)
		_, lookupErr := x.lookup(nil, strings.Repeat("*", 5000))
		eachErr := x.Each(func(string, []IndexValue) bool { return true })
		if matchErr == nil && lookupErr == nil || eachErr == nil {
			t.Errorf("%s: match %v, lookup %v, each %v", name, matchErr, lookupErr, eachErr)
		}
	}
	for _, data := range [][]byte{[]byte("text"), head(0)[:8],
		append(binary.BigEndian.AppendUint32(nil, indexMagic), 0, 9, 0, 0, 0, 0, 0, 0)} {
		if _, err := parseIndex(data, "x.bin"); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%q: %v", data, err)
		}
	}
	if x, err := parseIndex(nil, "empty.bin"); err != nil {
		t.Error(err)
	} else if v, err := x.match(nil, "a"); v != nil || err != nil {
		t.Error(v, err)
	}
}

func FuzzIndex(f *testing.F) {
	for seed := range uint64(3) {
		x, _ := randomIndex(seed, 20)
		f.Add([]byte(x.data), "ab00x")
	}
	f.Fuzz(func(t *testing.T, data []byte, s string) {
		x, err := parseIndex(data, "fuzz.bin")
		if err != nil {
			return
		}
		v, _ := x.match(nil, s)
		x.lookup(nil, s)
		n := 0
		x.Each(func(string, []IndexValue) bool { n++; return n < 10000 })
		if len(v) > 2*maxIndexValues {
			t.Fatal("unbounded")
		}
	})
}

func FuzzMatchAlias(f *testing.F) {
	f.Add("usb:v0781p0100d[0-9A-F]*dc*", "usb:v0781p0100dA1dc00")
	f.Add("[[:alpha:]-]*\\?", "a?")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		want := MatchAlias(pattern, s)
		if len(pattern) > 200 || strings.ContainsAny(pattern, "\x00") || strings.Contains(s, "[") {
			return
		}
		x := indexOf([]indexEntry{{pattern, IndexValue{1, "m"}}})
		v, err := x.match(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(pattern) {
			if pattern[i] >= 0x80 {
				return // depmod refuses these
			}
		}
		if pattern != "" && (len(v) == 1) != want {
			t.Fatalf("pattern %q, string %q: index %v, MatchAlias %v", pattern, s, v, want)
		}
	})
}
