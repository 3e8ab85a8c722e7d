// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
)

// state is a hive with a value that is n, and so many empty bins behind the first.
func state(n byte, more uint32) []byte {
	const root = `HKEY_LOCAL_MACHINE\SYSTEM`
	b := hivetest.Of(root, []hivetest.Key{
		{Path: root + `\Select`, Values: []hivetest.Value{{Name: "Current", Type: 4, Data: []byte{n, 0, 0, 0}}}}})
	for range more {
		bin := make([]byte, binSize)
		copy(bin, "hbin")
		for at, n := range map[int]uint32{4: uint32(len(b) - hiveBins), 8: binSize, binHeader: binSize - binHeader} {
			binary.LittleEndian.PutUint32(bin[at:], n)
		}
		b = append(b, bin...)
	}
	return b
}

// stateOf returns the value of a state; 0 if it is not there.
func stateOf(t *testing.T, h *Hive) uint32 {
	t.Helper()
	k, err := h.Key("Select")
	if err != nil || k == nil {
		t.Fatalf("%v, %v", k, err)
	}
	key, err := k.Read("")
	n, ok := key.Dword("Current")
	if err != nil || !ok {
		t.Fatalf("%+v, %v", key, err)
	}
	return n
}

// steps are states with the entries that lead from each to the next, from a sequence number on.
func steps(first uint32, states ...[]byte) []hivetest.Entry {
	var entries []hivetest.Entry
	for i := range len(states) - 1 {
		entries = append(entries, hivetest.Change(first+uint32(i), states[i], states[i+1]))
	}
	return entries
}

// dirty is a hive whose base block says that all before a sequence number was written.
func dirty(hive []byte, sequence uint32) []byte {
	return hivetest.Seal(bytes.Clone(hive), sequence+1, sequence)
}

// damage changes bytes.
func damage(b []byte, at int, with string) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

// forged is an entry with right hashes and other words than those that were meant, each at its place.
func forged(log []byte, words map[int]uint32) []byte {
	log = bytes.Clone(log)
	for at, n := range words {
		binary.LittleEndian.PutUint32(log[sectorSize+at:], n)
	}
	hivetest.Rehash(log)
	return log
}

// replayCase is a hive with its logs: the state that it leads to, or the text of the error.
type replayCase struct {
	hive, log1, log2 []byte
	want             uint32
	err              string
}

func newCases() map[string]replayCase {
	s := make([][]byte, 6)
	for i := range s {
		s[i] = state(byte(i), 0)
	}
	old, hive := s[1], dirty(s[1], 10)
	// From state 1 on, the logs A: 10 and 11 lead to 3; B: 12 and 13 to 5.
	a := hivetest.Log(old, 10, steps(10, s[1:4]...)...)
	b := hivetest.Log(old, 12, steps(12, s[3:]...)...)
	one := hivetest.Log(old, 10, steps(10, s[1:3]...)...)
	blank := hivetest.Log(old, 12)
	end := sectorSize + len(a[sectorSize:])/2 // of A's first entry
	large := state(2, 5)
	pages := hivetest.Log(large, 10, hivetest.Entry{Sequence: 10, Bins: uint32(len(large) - hiveBins),
		Pages: []hivetest.Page{{At: binSize, Data: large[hiveBins+binSize : hiveBins+2*binSize]}}})
	const last = 1<<32 - 1
	gap := forged(one, map[int]uint32{16: 1 << 20, 40: 1 << 16})
	shrunk := hivetest.Change(11, large, s[3])
	return map[string]replayCase{
		"one entry":             {hive, one, nil, 2, ""},
		"one log":               {hive, nil, a, 3, ""},
		"two logs":              {hive, a, b, 5, ""},
		"two logs, the other":   {hive, b, a, 5, ""},
		"an unused log":         {hive, a, make([]byte, 1<<16), 3, ""},
		"one written back":      {dirty(s[3], 12), a, b, 5, ""},
		"both written back":     {dirty(s[5], 20), a, b, 0, "has all before 20"},
		"an old one, a hole":    {dirty(s[3], 12), hivetest.Log(old, 5, steps(5, s[:3]...)...), b, 5, ""},
		"written back in part":  {dirty(s[3], 4), a, b, 5, ""},
		"one of two is missing": {dirty(s[3], 4), b, nil, 0, "from 4 on are missing"},
		"a hole":                {hive, a, hivetest.Log(old, 13, steps(13, s[3:]...)...), 0, "ends at 11"},
		"both at once":          {hive, a, a, 0, "begins at change 10"},
		"torn last entry":       {hive, damage(a, len(a)-100, "x"), nil, 2, ""},
		"torn, with more":       {hive, damage(a, len(a)-100, "x"), b, 0, "ends at 10"},
		"torn first entry":      {hive, damage(a, sectorSize+100, "x"), nil, 0, "first entry is damaged"},
		"torn header":           {hive, damage(a, sectorSize+9, "x"), nil, 0, "first entry is damaged"},
		"torn in the second":    {hive, a, damage(b, sectorSize+100, "x"), 3, ""},
		"nothing in the second": {hive, a, append(blank, 0), 3, ""},
		"cut off":               {hive, a[:len(a)-1], nil, 2, ""},
		"older ones behind":     {hive, append(bytes.Clone(one), a[sectorSize:end]...), nil, 2, ""},
		"another number":        {hive, hivetest.Log(old, 10, steps(11, s[1:4]...)...), nil, 0, "is damaged"},
		"numbers begin again":   {dirty(s[1], last), hivetest.Log(old, last, steps(last, s[1:4]...)...), nil, 3, ""},
		"numbers, two logs": {dirty(s[1], last), hivetest.Log(old, 0, steps(0, s[2:]...)...),
			hivetest.Log(old, last, steps(last, s[1:3]...)...), 5, ""},
		"it grows":               {hive, hivetest.Log(old, 10, steps(10, old, large)...), nil, 2, ""},
		"it shrinks":             {hive, hivetest.Log(old, 10, append(steps(10, old, large), shrunk)...), nil, 3, ""},
		"no pages":               {hive, forged(a, map[int]uint32{20: 0}), nil, 0, "0 pages"},
		"too many pages":         {hive, forged(a, map[int]uint32{20: 1 << 30}), nil, 0, "1073741824 pages"},
		"a page of nothing":      {hive, forged(a, map[int]uint32{44: 0}), nil, 0, "0 bytes"},
		"a page of too much":     {hive, forged(a, map[int]uint32{44: 1 << 31}), nil, 0, "a page"},
		"a page beyond":          {hive, forged(a, map[int]uint32{40: 1 << 20}), nil, 0, "a page"},
		"a page at odds":         {hive, forged(a, map[int]uint32{40: 8}), nil, 0, "a page"},
		"a page at odds of two":  {dirty(large, 10), forged(pages, map[int]uint32{40: 8}), nil, 0, "a page"},
		"a page of two":          {dirty(large, 10), forged(pages, map[int]uint32{44: 2 * binSize}), nil, 0, "a page"},
		"a page behind the bins": {dirty(large, 10), forged(pages, map[int]uint32{16: binSize}), nil, 0, "a page"},
		"a larger hive":          {hive, forged(a, map[int]uint32{16: 1 << 20}), nil, 3, ""},
		"the last is larger":     {hive, forged(one, map[int]uint32{16: 1 << 20}), nil, 0, "lacks some of its"},
		"a page after a gap":     {hive, gap, nil, 0, "beyond the hive's end"},
		"a hive of gigabytes":    {hive, forged(one, map[int]uint32{16: 1 << 30}), nil, 0, "too large"},
		"bins of odd sizes":      {hive, forged(a, map[int]uint32{16: 5000}), nil, 0, "is damaged"},
		"no bin":                 {hive, spoiled(old, "xbin"), nil, 0, "no valid bin"},
		"a bin of another place": {hive, spoiled(old, "hbin\x00\x10"), nil, 0, "no valid bin"},
		"a bin beyond the end":   {hive, spoiled(old, "hbin\x00\x00\x00\x00\x00\x20"), nil, 0, "no valid bin"},
		"no bin after others":    {hive, spoiled(old, "xbin", steps(10, s[1:4]...)...), nil, 0, "no valid bin"},
		"no root":                {hive, spoiled(old, ""), nil, 0, "no key"},
		"another root":           {hive, reseal(a, 36, 64), nil, 0, "root key"},
		"another version":        {hive, reseal(a, 24, 3), nil, 0, "1.3"},
		"begun":                  {hive, hivetest.Seal(bytes.Clone(a), 11, 10), nil, 0, "header is damaged"},
		"an unknown kind":        {hive, reseal(a, 28, 5), nil, 0, "header is damaged"},
		"a damaged header":       {hive, a, damage(b, 100, "x"), 0, "LOG2: its header is damaged"},
		"two forms":              {hive, a, hivetest.OldLog(s[1], s[2]), 0, "its form is not"},
		"nothing":                {hive, nil, nil, 0, "holds anything"},
		"a damaged hive":         {damage(hive, 30, "x"), b, nil, 5, ""},
		"a damaged hive, two":    {damage(dirty(s[3], 4), 30, "x"), a, b, 5, ""},
		"a hive without a mark":  {damage(hive, 0, "x"), a, nil, 3, ""},
		"a hive without bins":    {damage(hive, hiveBins, "x"), a, nil, 0, "no bins"},
		"a damaged hive and log": {damage(hive, 30, "x"), damage(a, sectorSize+100, "x"), nil, 0, "is damaged"},
	}
}

// spoiled is a log that leaves a hive with another first bin; an empty mark is one without cells. Other entries may
// come before.
func spoiled(hive []byte, mark string, entries ...hivetest.Entry) []byte {
	bad := bytes.Clone(hive)
	if copy(bad[hiveBins:], mark); mark == "" {
		clear(bad[hiveBins+binHeader:])
	}
	return hivetest.Log(hive, 10, append(entries, hivetest.Change(10+uint32(len(entries)), hive, bad))...)
}

// reseal is a log with another word in its base block.
func reseal(log []byte, at int, n uint32) []byte {
	log = bytes.Clone(log)
	binary.LittleEndian.PutUint32(log[at:], n)
	sequence := binary.LittleEndian.Uint32(log[4:])
	return hivetest.Seal(log, sequence, sequence)
}

func TestReplay(t *testing.T) { testReplay(t, newCases()) }

// Logs of Windows before 8.1.
func TestReplayOld(t *testing.T) {
	timed := func(b []byte, at int, when byte) []byte {
		b = bytes.Clone(b)
		b[at] = when
		return hivetest.Seal(b, 11, 11)
	}
	one, two, three := timed(state(1, 0), 12, 9), timed(state(2, 0), 12, 9), timed(state(3, 0), 12, 9)
	hive := dirty(one, 10)
	log := hivetest.OldLog(hive, two)
	other := func(when byte) []byte { return timed(hivetest.OldLog(hive, three), 12, when) }
	none := hivetest.OldLog(hive, one)
	inBin := hivetest.Seal(bytes.Clone(hive), 11, 10)
	inBin[hiveBins+20] = 9
	nt := reseal(log, 28, typeLogNT)
	testReplay(t, map[string]replayCase{
		"the first":              {hive, log, nil, 2, ""},
		"the second":             {hive, nil, log, 2, ""},
		"of Windows 2000":        {hive, nt, nil, 2, ""},
		"two at once":            {hive, log, other(9), 2, ""},
		"an older one":           {hive, log, other(8), 2, ""},
		"a newer one":            {hive, log, other(10), 0, "LOG2: it was not written with the hive"},
		"of another time":        {hive, other(8), nil, 0, "it was not written with the hive"},
		"damaged":                {hive, damage(log, 100, "x"), nil, 0, "header is damaged"},
		"no bitmap":              {hive, damage(log, sectorSize, "x"), nil, 0, "no bitmap"},
		"cut off in the bitmap":  {hive, log[:sectorSize+4], nil, 0, "no bitmap"},
		"cut off in the pages":   {hive, log[:len(log)-1], nil, 0, "lacks pages"},
		"no page":                {hive, none, nil, 0, "no page"},
		"a larger hive":          {hive, reseal(log, 40, 4*binSize), nil, 0, "lacks some of its"},
		"a damaged hive":         {damage(inBin, 30, "x"), log, nil, 2, ""},
		"a damaged hive in time": {damage(hive, 30, "x"), log, nil, 0, "it was not written with the hive"},
		"another root":           {hive, reseal(log, 36, 64), nil, 0, "root key"},
	})
}

// Whatever is wrong leaves the hive as it was.
func testReplay(t *testing.T, cases map[string]replayCase) {
	for name, tt := range cases {
		hive := bytes.Clone(tt.hive)
		logs := []Log{{"LOG1", bytes.Clone(tt.log1)}, {"LOG2", bytes.Clone(tt.log2)}}
		item := fact.NewBudget(0).Item(int64(len(tt.hive) + len(tt.log1) + len(tt.log2)))
		h, err := Replay(hive, logs, item)
		if tt.err != "" {
			if h != nil || err == nil || !strings.Contains(err.Error(), tt.err) || !bytes.Equal(hive, tt.hive) {
				t.Errorf("%s: %v, unchanged %v", name, err, bytes.Equal(hive, tt.hive))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n := stateOf(t, h); n != tt.want || h.Dirty() {
			t.Errorf("%s: state %d, dirty %v", name, n, h.Dirty())
		}
	}
}

// The last change gives the hive its sequence numbers, and says how long it is.
func TestReplayHeader(t *testing.T) {
	tt := newCases()["two logs"]
	h, err := Replay(tt.hive, []Log{{"LOG1", tt.log1}, {"LOG2", tt.log2}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(h.b[at:]) }
	if word(4) != 13 || word(8) != 13 || word(28) != 0 || int64(word(40)) != h.Size()-hiveBins {
		t.Errorf("%x", h.b[:48])
	}
}

// Known answers for Marvin32, of inputs without a rest.
func TestMarvin(t *testing.T) {
	const seed = 0x004fb61a001bdbcc
	for text, want := range map[string]uint64{"": 0x30ed35c100cd3c7d, "\x86\x42\xdc\x59": 0x7008f2e87e9cf556} {
		if got := marvin(seed, []byte(text)); got != want {
			t.Errorf("%x: %#x", text, got)
		}
	}
}

// A hive whose header is damaged is dirty, whatever its sequence numbers are.
func TestDirtyHeader(t *testing.T) {
	for name, b := range map[string][]byte{
		"numbers": dirty(state(1, 0), 10), "checksum": damage(state(1, 0), 60, "x"),
	} {
		if h, err := OpenHive(b); err != nil || !h.Dirty() {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
}

// What a replay takes counts: the files, its pages, what is hashed and written, and a hive that grows.
func TestReplayCost(t *testing.T) {
	tt := newCases()["it grows"]
	files, end := int64(len(tt.hive)+len(tt.log1)), int64(hiveBins+6*binSize)
	budget := fact.NewBudget(0)
	item := budget.Item(files)
	if _, err := Replay(tt.hive, []Log{{"LOG1", tt.log1}}, item); err != nil {
		t.Fatal(err)
	}
	item.Done()
	want := fact.Cost{Input: files, Memory: files + 6*logPageMemory + end,
		Work: int64(len(tt.log1)-sectorSize) + 2*6*binSize + 6*keyWork}
	if got := budget.Cost(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What the budget refuses leaves the hive as it was.
func TestReplayBudget(t *testing.T) {
	for name, tt := range newCases() {
		if tt.err != "" {
			continue
		}
		for _, left := range []int64{0, 5000, 10_000, 15_000, 20_000, 25_000} {
			item := fact.NewBudget(0).Item(0)
			if err := errors.Join(item.Hold(item.MaxMemory()-2*left), item.Work(item.MaxWork()-left)); err != nil {
				t.Fatal(err)
			}
			hive := bytes.Clone(tt.hive)
			logs := []Log{{"LOG1", bytes.Clone(tt.log1)}, {"LOG2", bytes.Clone(tt.log2)}}
			h, err := Replay(hive, logs, item)
			if err == nil && left > 0 {
				continue
			}
			if h != nil || !errors.Is(err, fact.ErrTooLarge) || !bytes.Equal(hive, tt.hive) {
				t.Errorf("%s: %d left: %v", name, left, err)
			}
		}
	}
}

func FuzzReplay(f *testing.F) {
	for _, tt := range newCases() {
		f.Add(tt.hive, tt.log1, tt.log2, true)
	}
	one, two := state(1, 0), state(2, 0)
	f.Add(dirty(one, 10), hivetest.OldLog(dirty(one, 10), two), []byte{}, false)
	for _, b := range bomb.Seeds(bomb.Hive) {
		f.Add(b, hivetest.Log(one, 1, hivetest.Change(1, one, two)), []byte{}, true)
	}
	f.Fuzz(func(t *testing.T, hive, log1, log2 []byte, rehash bool) {
		before := bytes.Clone(hive)
		most := len(hive) + len(log1) + len(log2)
		logs := []Log{{"LOG1", bytes.Clone(log1)}, {"LOG2", bytes.Clone(log2)}}
		for i := range logs {
			if rehash {
				hivetest.Rehash(logs[i].Data)
			}
		}
		h, err := Replay(hive, logs, fact.NewBudget(0).Item(int64(most)))
		if (err == nil) == (h == nil) {
			t.Fatalf("%v and %v", h, err)
		}
		if err != nil {
			if !bytes.Equal(hive, before) {
				t.Fatalf("changed, and %v", err)
			}
			return
		}
		if h.Dirty() || len(h.b) > most {
			t.Fatalf("dirty %v, %d bytes of %d", h.Dirty(), len(h.b), most)
		}
		h = h.Budgeted(nil)
		if k, err := h.Key("Select"); err == nil && k != nil {
			_, _ = k.Read("")
		}
	})
}
