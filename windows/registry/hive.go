// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/internal/utf16text"
)

// MaxHive is the largest registry hive that is read, in bytes.
const MaxHive = 512 << 20

// Limits on one hive's parts.
const (
	hiveBins      = 4096 // where the bins begin
	maxSubkeys    = 100_000
	maxHiveValues = 4096
	maxSegments   = 256
	maxKeyName    = 2 * 256 // bytes; the registry allows 255 characters
	segmentSize   = 16344
	keySize       = 80 // bytes that a key takes in a hive at least
	keyWork       = 64 // steps that looking at a key takes
	valueSize     = 64 // memory of a value beside its name and data, in bytes
)

var errHiveBudget error = &sentinel.Error{Cause: fact.ErrTooLarge, After: "its keys lead to more than a registry holds"}

// A Hive is a registry hive file, such as Windows\System32\config\SYSTEM. What has not been written back from its log
// files is not seen: [Hive.Dirty] reports that, and [Replay] opens a hive with it. A Hive is safe for concurrent use, a
// budgeted one is not.
//
// It has a reader of its own because a hive may be hostile. The maintained one in Go
// (www.velocidex.com/golang/regparser) follows index records without a bound, so that one which names
// itself ends the process, and takes a part that is invalid for one that is not there, which
// would make a damaged registry one without drivers.
type Hive struct {
	b    []byte
	root uint32
	left *hiveBudget // of the call that this is a copy for; nil outside of one
}

// A hiveBudget is what a call may still take. Keys may name each other and share their values, so that
// a small hive can look as if it held more than any memory.
type hiveBudget struct {
	keys, bytes int
	item        *fact.Item
}

// Budgeted returns the hive for one call, which may take a few times the keys and bytes that the file has room for
// when none is shared: beyond that its error matches fact.ErrTooLarge. A hive from [OpenHive] itself has no such bound.
// item pays, of the call that asks; nil is no bound of a call.
func (h *Hive) Budgeted(item *fact.Item) *Hive {
	c := *h
	c.left = &hiveBudget{keys: 1000 + 4*len(h.b)/keySize, bytes: 1<<20 + 4*len(h.b), item: item}
	return &c
}

// Size returns the length of the hive's file in bytes.
func (h *Hive) Size() int64 { return int64(len(h.b)) }

// spend asks for keys to look at, and for bytes of values to keep.
func (h *Hive) spend(keys, bytes int) error {
	if h.left == nil {
		return nil
	}
	h.left.keys -= keys
	h.left.bytes -= bytes
	if h.left.keys < 0 || h.left.bytes < 0 {
		return errHiveBudget
	}
	return cmp.Or(h.left.item.Work(int64(keyWork*keys+bytes)), h.left.item.Keep(int64(bytes)))
}

func hiveError(field, format string, args ...any) error {
	return &fact.ParseError{Source: "hive", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// OpenHive reads a hive's header.
func OpenHive(b []byte) (*Hive, error) {
	if len(b) < hiveBins+32 || !bytes.Equal(b[:4], []byte("regf")) {
		return nil, hiveError("header", "no regf mark")
	}
	h := &Hive{b: b, root: binary.LittleEndian.Uint32(b[36:])}
	if _, err := h.keyAt(h.root); err != nil {
		return nil, err
	}
	return h, nil
}

// Dirty reports whether changes to the hive are still in its log files: the system was not shut down cleanly, or the
// hive's header is damaged. [Replay] makes them.
func (h *Hive) Dirty() bool {
	return binary.LittleEndian.Uint32(h.b[4:]) != binary.LittleEndian.Uint32(h.b[8:]) || !validBlock(h.b)
}

// cell returns the contents of an allocated cell.
func (h *Hive) cell(off uint32) ([]byte, bool) {
	at := int64(off) + hiveBins
	if off == 0xffffffff || at+4 > int64(len(h.b)) {
		return nil, false
	}
	size := int64(int32(binary.LittleEndian.Uint32(h.b[at:])))
	if size >= 0 || -size < 8 || at-size > int64(len(h.b)) {
		return nil, false
	}
	return h.b[at+4 : at-size], true
}

// A HiveKey is one key of a hive.
type HiveKey struct {
	h *Hive
	b []byte // the nk record
	// Name is the key's name.
	Name string
}

func (h *Hive) keyAt(off uint32) (*HiveKey, error) {
	c, ok := h.cell(off)
	if !ok || len(c) < 76 || c[0] != 'n' || c[1] != 'k' {
		return nil, hiveError("nk", "no key at %#x", off)
	}
	n := int(binary.LittleEndian.Uint16(c[72:]))
	if 76+n > len(c) || n > maxKeyName {
		return nil, hiveError("nk", "name of %d bytes", n)
	}
	if err := h.spend(1, 0); err != nil {
		return nil, err
	}
	return &HiveKey{h: h, b: c, Name: hiveName(c[76:76+n], binary.LittleEndian.Uint16(c[2:])&0x20 != 0)}, nil
}

func hiveName(b []byte, ascii bool) string {
	if !ascii {
		return utf16text.Decode(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// rootKey returns the hive's root key.
func (h *Hive) rootKey() (*HiveKey, error) { return h.keyAt(h.root) }

// Key returns the key at a path below the root, its parts separated by backslashes; names fold
// case. It returns nil, nil if there is no such key. A key that is a link to another one is not followed: it is an
// error.
func (h *Hive) Key(path string) (*HiveKey, error) {
	k, err := h.rootKey()
	for part := range strings.SplitSeq(path, `\`) {
		if err != nil || k == nil {
			return nil, err
		}
		if k, err = k.Subkey(part); k != nil && k.isLink() {
			return nil, hiveError("nk", "%s of %s is a link to another key", part, path)
		}
	}
	return k, err
}

// isLink reports whether the key is a link to another one.
func (k *HiveKey) isLink() bool { return binary.LittleEndian.Uint16(k.b[2:])&0x10 != 0 }

// Subkey returns the subkey of that name; nil if it does not exist. The error says that it may be one of those that
// could not be read.
func (k *HiveKey) Subkey(name string) (*HiveKey, error) {
	var found *HiveKey
	err := k.Each(func(sub *HiveKey) bool {
		if strings.EqualFold(sub.Name, name) {
			found = sub
		}
		return found == nil
	})
	if found != nil {
		err = nil
	}
	return found, err
}

// Each calls f for each subkey until f returns false. Index records lead to keys, or to one more level
// of index records. What cannot be read is passed over; the error names the first and how many.
func (k *HiveKey) Each(f func(*HiveKey) bool) error {
	le := binary.LittleEndian
	if le.Uint32(k.b[20:]) == 0 {
		return nil
	}
	w := hiveWalk{h: k.h, f: f, left: maxSubkeys, seen: map[uint32]bool{}}
	if err := w.lists(le.Uint32(k.b[28:])); err != nil {
		return err
	}
	if w.bad > 1 {
		return fmt.Errorf("%w, and %d more", w.first, w.bad-1)
	}
	return w.first
}

// A hiveWalk goes through the subkeys of one key.
type hiveWalk struct {
	h     *Hive
	f     func(*HiveKey) bool
	left  int             // keys that the list may still have
	seen  map[uint32]bool // the offsets of its keys
	done  bool            // f said no
	bad   int             // parts that are invalid
	first error           // what is wrong with the first of them
}

func (w *hiveWalk) note(err error) {
	w.bad++
	w.first = cmp.Or(w.first, err)
}

// lists follows one index record, or a record of several. An error ends the walk.
func (w *hiveWalk) lists(at uint32) error {
	c, ok := w.h.cell(at)
	if !ok || len(c) < 4 || string(c[:2]) != "ri" {
		return w.list(at)
	}
	for i := 0; i < elements(c, 4) && !w.done; i++ {
		if err := w.list(element(c, 4, i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *hiveWalk) list(at uint32) error {
	if err := w.h.spend(1, 0); err != nil {
		return err
	}
	c, step, err := w.h.index(at)
	if err != nil {
		w.note(err)
		return nil
	}
	for i := 0; i < elements(c, step) && !w.done; i++ {
		if w.left--; w.left < 0 {
			return hiveError("subkeys", "more than %d", maxSubkeys)
		}
		if err := w.key(element(c, step, i)); err != nil {
			return err
		}
	}
	return nil
}

func (w *hiveWalk) key(at uint32) error {
	if w.seen[at] {
		w.note(hiveError("subkeys", "the key at %#x twice", at))
		return nil
	}
	w.seen[at] = true
	sub, err := w.h.keyAt(at)
	switch {
	case errors.Is(err, fact.ErrTooLarge):
		return err
	case err != nil:
		w.note(err)
	default:
		w.done = !w.f(sub)
	}
	return nil
}

// index returns an index record of keys and the size of its elements.
func (h *Hive) index(at uint32) (c []byte, step int, err error) {
	c, ok := h.cell(at)
	if !ok || len(c) < 4 {
		return nil, 0, hiveError("subkeys", "no index at %#x", at)
	}
	switch string(c[:2]) {
	case "lf", "lh":
		return c, 8, nil
	case "li":
		return c, 4, nil
	}
	return nil, 0, hiveError("subkeys", "index of kind %q", c[:2])
}

// elements returns how many elements an index record has.
func elements(c []byte, step int) int {
	return min(int(binary.LittleEndian.Uint16(c[2:])), (len(c)-4)/step)
}

// element returns the first word of an index record's element.
func element(c []byte, step, i int) uint32 {
	return binary.LittleEndian.Uint32(c[4+i*step:])
}

// values returns the key's values. The error says that an invalid value is left out: any value that is not in the list
// may exist.
func (k *HiveKey) values() ([]Value, error) {
	le := binary.LittleEndian
	n := le.Uint32(k.b[36:])
	if n == 0 {
		return nil, nil
	}
	list, ok := k.h.cell(le.Uint32(k.b[40:]))
	if !ok {
		return nil, hiveError("values", "no list of %d values", n)
	}
	var values []Value
	var first error
	for i := range min(int(n), maxHiveValues, len(list)/4) {
		v, err := k.h.value(le.Uint32(list[4*i:]))
		if errors.Is(err, fact.ErrTooLarge) {
			return values, err
		}
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		values = append(values, v)
	}
	if int64(n) > maxHiveValues || int(n) > len(list)/4 {
		first = cmp.Or(first, hiveError("values", "a list of %d values", n))
	}
	return values, first
}

func (h *Hive) value(off uint32) (Value, error) {
	le := binary.LittleEndian
	c, ok := h.cell(off)
	if !ok || len(c) < 20 || c[0] != 'v' || c[1] != 'k' {
		return Value{}, hiveError("vk", "no value at %#x", off)
	}
	n := int(le.Uint16(c[2:]))
	if 20+n > len(c) {
		return Value{}, hiveError("vk", "name of %d bytes", n)
	}
	size := le.Uint32(c[4:])
	inline := size&(1<<31) != 0
	size &^= 1 << 31
	if inline {
		size = min(size, 4)
	}
	if size > MaxValue {
		return Value{}, hiveError("vk", "data of %d bytes", size)
	}
	if err := h.spend(0, valueSize+n+int(size)); err != nil {
		return Value{}, err
	}
	v := Value{Name: hiveName(c[20:20+n], le.Uint16(c[16:])&1 != 0), Type: le.Uint32(c[12:])}
	if inline {
		v.Data = c[8 : 8+size]
		return v, nil
	}
	if v.Data, ok = h.data(le.Uint32(c[8:]), int(size)); !ok {
		return Value{}, hiveError("vk", "data of value %q", v.Name)
	}
	return v, nil
}

func (h *Hive) data(off uint32, size int) ([]byte, bool) {
	if size == 0 {
		return nil, true
	}
	c, ok := h.cell(off)
	if !ok {
		return nil, false
	}
	if size > segmentSize && len(c) >= 8 && c[0] == 'd' && c[1] == 'b' {
		return h.segments(c, size)
	}
	if size > len(c) {
		return nil, false
	}
	return c[:size], true
}

// segments joins the parts of a large value.
func (h *Hive) segments(c []byte, size int) ([]byte, bool) {
	le := binary.LittleEndian
	n := int(le.Uint16(c[2:]))
	list, ok := h.cell(le.Uint32(c[4:]))
	if !ok || n > maxSegments || 4*n > len(list) {
		return nil, false
	}
	var out []byte
	for i := range n {
		part, ok := h.cell(le.Uint32(list[4*i:]))
		if !ok {
			return nil, false
		}
		out = append(out, part[:min(len(part), segmentSize, size-len(out))]...)
	}
	return out, len(out) == size
}

// Read returns the key with its values, under the path that the caller gives. The error names a value that cannot be
// read; the key is then Partial.
func (k *HiveKey) Read(path string) (Key, error) {
	values, err := k.values()
	return Key{Path: path, Values: values, Partial: err != nil}, err
}
