// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// MaxHive is the largest registry hive that is read, in bytes.
const MaxHive = 512 << 20

// Limits of one hive's parts.
const (
	hiveBins      = 4096 // where the bins begin
	maxSubkeys    = 100_000
	maxHiveValues = 4096
	maxSegments   = 256
	segmentSize   = 16344
)

// A Hive is a registry hive file, such as Windows\System32\config\SYSTEM. What has not been
// written back from its log files is not seen; see Dirty.
//
// It has a reader of its own because a hive may be hostile. The maintained one in Go
// (www.velocidex.com/golang/regparser) follows index records without a bound, so that one which names
// itself ends the process, and takes a part that makes no sense for one that is not there, which
// would make a damaged registry one without drivers.
type Hive struct {
	b    []byte
	root uint32
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
	if _, err := h.key(h.root); err != nil {
		return nil, err
	}
	return h, nil
}

// Dirty reports whether changes to the hive are still in its log files: the system was not shut
// down cleanly.
func (h *Hive) Dirty() bool {
	return binary.LittleEndian.Uint32(h.b[4:]) != binary.LittleEndian.Uint32(h.b[8:])
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

func (h *Hive) key(off uint32) (*HiveKey, error) {
	c, ok := h.cell(off)
	if !ok || len(c) < 76 || c[0] != 'n' || c[1] != 'k' {
		return nil, hiveError("nk", "no key at %#x", off)
	}
	n := int(binary.LittleEndian.Uint16(c[72:]))
	if 76+n > len(c) {
		return nil, hiveError("nk", "name of %d bytes", n)
	}
	return &HiveKey{h: h, b: c, Name: hiveName(c[76:76+n], binary.LittleEndian.Uint16(c[2:])&0x20 != 0)}, nil
}

func hiveName(b []byte, ascii bool) string {
	if !ascii {
		return utf16Text(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// Root returns the hive's root key.
func (h *Hive) Root() (*HiveKey, error) { return h.key(h.root) }

// Key returns the key at a path below the root, its parts separated by backslashes; names fold
// case. A key that is not there is fs.ErrNotExist by way of nil, nil.
func (h *Hive) Key(path string) (*HiveKey, error) {
	k, err := h.Root()
	for part := range strings.SplitSeq(path, `\`) {
		if err != nil || k == nil {
			return nil, err
		}
		k, err = k.Subkey(part)
	}
	return k, err
}

// Subkey returns the subkey of that name; nil when there is none. The error says that it may be one of
// those that make no sense.
func (k *HiveKey) Subkey(name string) (*HiveKey, error) {
	var found *HiveKey
	err := k.each(func(sub *HiveKey) bool {
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

// Subkeys returns the subkeys. The error tells of those that make no sense.
func (k *HiveKey) Subkeys() ([]*HiveKey, error) {
	var list []*HiveKey
	err := k.each(func(sub *HiveKey) bool {
		list = append(list, sub)
		return true
	})
	return list, err
}

// each calls f for each subkey until it says no. Index records lead to keys, or to one more level
// of index records. What makes no sense is passed over; the error tells of the first and how many.
func (k *HiveKey) each(f func(*HiveKey) bool) error {
	le := binary.LittleEndian
	if le.Uint32(k.b[20:]) == 0 {
		return nil
	}
	bad, first := 0, error(nil)
	note := func(err error) {
		bad++
		first = cmp.Or(first, err)
	}
	lists := []uint32{le.Uint32(k.b[28:])}
	if c, ok := k.h.cell(lists[0]); ok && len(c) >= 4 && string(c[:2]) == "ri" {
		lists = offsets(c, 4)
	}
	left, more := maxSubkeys, true
	for i := 0; i < len(lists) && more; i++ {
		keys, err := k.h.index(lists[i])
		if err != nil {
			note(err)
		}
		for j := 0; j < len(keys) && more; j++ {
			if left--; left < 0 {
				return hiveError("subkeys", "more than %d", maxSubkeys)
			}
			sub, err := k.h.key(keys[j])
			if err != nil {
				note(err)
				continue
			}
			more = f(sub)
		}
	}
	if bad > 1 {
		return fmt.Errorf("%w, and %d more", first, bad-1)
	}
	return first
}

// index returns where the keys of an index record are.
func (h *Hive) index(at uint32) ([]uint32, error) {
	c, ok := h.cell(at)
	if !ok || len(c) < 4 {
		return nil, hiveError("subkeys", "no index at %#x", at)
	}
	switch string(c[:2]) {
	case "lf", "lh":
		return offsets(c, 8), nil
	case "li":
		return offsets(c, 4), nil
	}
	return nil, hiveError("subkeys", "index of kind %q", c[:2])
}

// offsets returns the first word of each element of an index record.
func offsets(c []byte, step int) []uint32 {
	le := binary.LittleEndian
	n := min(int(le.Uint16(c[2:])), (len(c)-4)/step)
	list := make([]uint32, 0, n)
	for i := range n {
		list = append(list, le.Uint32(c[4+i*step:]))
	}
	return list
}

// Values returns the key's values; one that makes no sense is left out.
func (k *HiveKey) Values() []RegValue {
	le := binary.LittleEndian
	n := min(int(le.Uint32(k.b[36:])), maxHiveValues)
	list, ok := k.h.cell(le.Uint32(k.b[40:]))
	if !ok {
		return nil
	}
	var values []RegValue
	for i := range min(n, len(list)/4) {
		if v, ok := k.h.value(le.Uint32(list[4*i:])); ok {
			values = append(values, v)
		}
	}
	return values
}

func (h *Hive) value(off uint32) (RegValue, bool) {
	le := binary.LittleEndian
	c, ok := h.cell(off)
	if !ok || len(c) < 20 || c[0] != 'v' || c[1] != 'k' {
		return RegValue{}, false
	}
	n := int(le.Uint16(c[2:]))
	if 20+n > len(c) {
		return RegValue{}, false
	}
	v := RegValue{Name: hiveName(c[20:20+n], le.Uint16(c[16:])&1 != 0), Type: le.Uint32(c[12:])}
	size := le.Uint32(c[4:])
	if size&(1<<31) != 0 {
		v.Data = c[8 : 8+min(size&^(1<<31), 4)]
		return v, true
	}
	if size > maxRegValue {
		return RegValue{}, false
	}
	v.Data, ok = h.data(le.Uint32(c[8:]), int(size))
	return v, ok
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

// ControlSet returns the name of the control set that the next boot uses, such as ControlSet001.
func (h *Hive) ControlSet() (string, error) {
	k, err := h.Key("Select")
	if err != nil {
		return "", err
	}
	if k != nil {
		key := RegKey{Values: k.Values()}
		for _, name := range []string{"Default", "Current"} {
			if n, ok := key.Dword(name); ok && n > 0 && n < 1000 {
				return fmt.Sprintf("ControlSet%03d", n), nil
			}
		}
	}
	return "", hiveError("Select", "no control set is chosen")
}

// Reg returns one key without its subkeys; false when it is not there.
func (h *Hive) Reg(path string) (RegKey, bool, error) {
	k, err := h.Key(path)
	if err != nil || k == nil {
		return RegKey{}, false, err
	}
	return RegKey{Path: machineHive + path, Values: k.Values()}, true, nil
}

const machineHive = `HKEY_LOCAL_MACHINE\SYSTEM\`

// Services returns the keys of a control set's services and of their filter instances. An error beside
// keys tells of those that make no sense.
func (h *Hive) Services(controlSet string) ([]RegKey, error) {
	path := controlSet + `\Services`
	root, err := h.Key(path)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, hiveError("Services", "no such key in %s", controlSet)
	}
	keys := []RegKey{}
	var inner error
	err = root.each(func(k *HiveKey) bool {
		key := RegKey{Path: machineHive + path + `\` + k.Name, Values: k.Values()}
		typ, ok := key.Dword("Type")
		if !ok || typ&ServiceTypeDriver == 0 {
			return true
		}
		keys = append(keys, key)
		for _, sub := range []string{`Instances`, `Parameters\Instances`} {
			var err error
			keys, err = appendHiveInstances(keys, k, key.Path, sub)
			inner = cmp.Or(inner, err)
		}
		return len(keys) < maxRegKeys
	})
	return keys, cmp.Or(err, inner)
}

func appendHiveInstances(keys []RegKey, k *HiveKey, path, sub string) ([]RegKey, error) {
	in := k
	for part := range strings.SplitSeq(sub, `\`) {
		next, err := in.Subkey(part)
		if err != nil || next == nil {
			return keys, err
		}
		in = next
	}
	path += `\` + sub
	keys = append(keys, RegKey{Path: path, Values: in.Values()})
	list, err := in.Subkeys()
	for i, inst := range list {
		if i == 256 {
			break
		}
		keys = append(keys, RegKey{Path: path + `\` + inst.Name, Values: inst.Values()})
	}
	return keys, err
}

// Packages returns the keys of the driver store's packages; none when the hive has no such key. An
// error beside keys tells of those that make no sense.
func (h *Hive) Packages() ([]RegKey, error) {
	const path = `DriverDatabase\DriverPackages`
	root, err := h.Key(path)
	if err != nil || root == nil {
		return nil, err
	}
	var keys []RegKey
	err = root.each(func(k *HiveKey) bool {
		keys = append(keys, RegKey{Path: machineHive + path + `\` + k.Name, Values: k.Values()})
		return true
	})
	return keys, err
}

// ServicesOf makes driver services of registry keys at and below a Services key.
func ServicesOf(keys []RegKey, p Paths) ([]RegisteredService, []fact.Problem) {
	return servicesOf(keys, p)
}

// PackagesOf makes driver packages of the keys below a DriverPackages key.
func PackagesOf(keys []RegKey) []Package { return packagesOf(keys) }
