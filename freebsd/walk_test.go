// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

type appendOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// encodeFile writes a struct kld_file_stat of a version (2 or 1), width, byte order and layout.
func encodeFile(l layout, version, bits int, o appendOrder, s fileStat) []byte {
	b := make([]byte, structSize(OpKldStat, strconv.Itoa(version), bits))
	o.PutUint32(b, uint32(len(b)))
	copy(b[4:4+maxPath], s.Name)
	at := 4 + maxPath
	if l == layoutDragonFly && version == 2 {
		copy(b[at:at+maxPath], s.Pathname)
		at += maxPath
	}
	o.PutUint32(b[at:], uint32(s.Refs))
	o.PutUint32(b[at+4:], uint32(s.ID))
	at += 8
	if bits == 64 {
		at += at % 8
		o.PutUint64(b[at:], s.Address)
		o.PutUint64(b[at+8:], s.Size)
		at += 16
	} else {
		o.PutUint32(b[at:], uint32(s.Address))
		o.PutUint32(b[at+4:], uint32(s.Size))
		at += 8
	}
	if l == layoutFreeBSD && version == 2 {
		copy(b[at:at+maxPath], s.Pathname)
	}
	return b
}

// encodeModule writes a struct module_stat of a version (3, 2 or 1), width and byte order.
func encodeModule(version, bits int, o appendOrder, m moduleStat) []byte {
	b := make([]byte, structSize(OpModStat, strconv.Itoa(version), bits))
	o.PutUint32(b, uint32(len(b)))
	name := 32
	if version == 3 {
		name = 1024
	}
	copy(b[4:4+name], m.Name)
	o.PutUint32(b[4+name:], uint32(m.Refs))
	o.PutUint32(b[8+name:], uint32(m.ID))
	if m.Data != nil && version > 1 {
		if bits == 64 {
			o.PutUint64(b[16+name:], m.Data.Ulong)
		} else {
			o.PutUint32(b[12+name:], uint32(m.Data.Ulong))
		}
	}
	return b
}

// fakeKernel answers the ops from a table, with the troubles that a test asks for.
type fakeKernel struct {
	layout        layout
	bits          int
	order         appendOrder
	files         []fileStat
	modules       map[int32][]moduleStat
	fileVersion   int // the newest accepted
	moduleVersion int
	fail          map[string]int // "kldnext 3": answer gone this many times
	deny          bool
	calls         int
	onCall        func(k *fakeKernel, key string)
}

func (k *fakeKernel) call(_ context.Context, op string, args ...string) ([]byte, error) {
	k.calls++
	key := strings.Join(append([]string{op}, args[:1]...), " ")
	if k.onCall != nil {
		k.onCall(k, key)
	}
	if k.deny {
		return nil, fmt.Errorf("%s: %w", op, fs.ErrPermission)
	}
	if k.fail[key] > 0 {
		k.fail[key]--
		return nil, fact.ErrGone
	}
	id, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	switch op {
	case OpKldNext:
		return k.kldnext(int32(id))
	case OpKldStat:
		version, _ := strconv.Atoi(args[1])
		for _, f := range k.files {
			if f.ID == int32(id) {
				if version > k.fileVersion {
					return nil, errors.ErrUnsupported
				}
				return encodeFile(k.layout, version, k.bits, k.order, f), nil
			}
		}
		return nil, fact.ErrGone
	case OpKldFirstMod:
		for _, f := range k.files {
			if f.ID == int32(id) {
				if m := k.modules[f.ID]; len(m) > 0 {
					return strconv.AppendInt(nil, int64(m[0].ID), 10), nil
				}
				return []byte("0"), nil
			}
		}
		return nil, fact.ErrGone
	}
	return k.mod(op, int32(id), args)
}

func (k *fakeKernel) kldnext(id int32) ([]byte, error) {
	for i, f := range k.files {
		if id == 0 {
			return strconv.AppendInt(nil, int64(f.ID), 10), nil
		}
		if f.ID != id {
			continue
		}
		if i+1 == len(k.files) {
			return []byte("0"), nil
		}
		return strconv.AppendInt(nil, int64(k.files[i+1].ID), 10), nil
	}
	return nil, fact.ErrGone
}

func (k *fakeKernel) mod(op string, id int32, args []string) ([]byte, error) {
	for _, f := range k.files {
		mods := k.modules[f.ID]
		for i, m := range mods {
			if m.ID != id {
				continue
			}
			if op == OpModFNext {
				if i+1 == len(mods) {
					return []byte("0"), nil
				}
				return strconv.AppendInt(nil, int64(mods[i+1].ID), 10), nil
			}
			version, _ := strconv.Atoi(args[1])
			if version > k.moduleVersion {
				return nil, errors.ErrUnsupported
			}
			return encodeModule(version, k.bits, k.order, m), nil
		}
	}
	return nil, fact.ErrGone
}

func newFake() *fakeKernel {
	return &fakeKernel{
		bits: 64, order: binary.LittleEndian, fileVersion: 2, moduleVersion: 3, fail: map[string]int{},
		files: []fileStat{
			{ID: 1, Refs: 25, Address: 0xffffffff80200000, Size: 0x1f4dcd8, Name: "kernel",
				Pathname: "/boot/kernel/kernel"},
			{ID: 2, Refs: 1, Address: 0xffffffff8214e000, Size: 0x620f30, Name: "zfs.ko",
				Pathname: "/boot/kernel/zfs.ko"},
			{ID: 4, Refs: 1, Address: 0xffffffff83018000, Size: 0x4250, Name: "drm.ko",
				Pathname: "/boot/modules/drm.ko"},
		},
		modules: map[int32][]moduleStat{
			1: {{ID: 1, Refs: 1, Name: "cam"},
				{ID: 10, Refs: 1, Name: "pci/ahci", Data: &ModuleData{Int: -1, Uint: 0xffffffff, Ulong: 0xffffffff}}},
			2: {{ID: 300, Refs: 1, Name: "zfsctrl"},
				{ID: 301, Refs: 2, Name: "a_firmware_name_that_needs_more_than_32_bytes"}},
		},
	}
}

func checkList(t *testing.T, k *fakeKernel, files []loadedFile) {
	t.Helper()
	if len(files) != len(k.files) {
		t.Fatalf("%d files, want %d: %+v", len(files), len(k.files), files)
	}
	for i, f := range files {
		want := k.files[i]
		if k.bits == 32 {
			want.Address &= 0xffffffff
		}
		if k.fileVersion < 2 {
			want.Pathname = ""
		}
		want.HasPath, want.Bits = k.fileVersion == 2, k.bits
		if f.fileStat != want {
			t.Errorf("file %d: %+v, want %+v", i, f.fileStat, want)
		}
		if len(f.Modules) != len(k.modules[f.ID]) || f.Modules == nil {
			t.Errorf("%s: modules %v, want %v", f.Name, f.Modules, k.modules[f.ID])
			continue
		}
		for j, m := range f.Modules {
			w := k.modules[f.ID][j]
			name := w.Name
			cut := k.moduleVersion < 3 && len(name) >= 32
			if cut {
				name = name[:32]
			}
			if m.Name != name || m.ID != w.ID || m.Refs != w.Refs || m.Cut != cut {
				t.Errorf("module %+v, want %+v", m, w)
			}
		}
	}
}

// TestReadFiles walks every layout, width, byte order and structure version.
func TestReadFiles(t *testing.T) {
	for _, layout := range []layout{layoutFreeBSD, layoutDragonFly} {
		for _, bits := range []int{64, 32} {
			for _, order := range []appendOrder{binary.LittleEndian, binary.BigEndian} {
				for _, fv := range []int{1, 2} {
					for _, mv := range []int{1, 2, 3} {
						k := newFake()
						k.layout, k.bits, k.order, k.fileVersion, k.moduleVersion = layout, bits, order, fv, mv
						l, err := readFiles(t.Context(), k.call, layout)
						if err != nil {
							t.Fatalf("%v %d %v %d %d: %v, %+v", layout, bits, order, fv, mv, err, l)
						}
						checkList(t, k, l)
						if mv < 3 && len(l[1].report.Problems) != 1 {
							t.Errorf("a cut name has problems %v", l[1].report.Problems)
						}
						if d := l[0].Modules[1].Data; mv > 1 && (d == nil ||
							d.Ulong != 0xffffffff && order == binary.LittleEndian) {
							t.Errorf("data %+v", d)
						}
					}
				}
			}
		}
	}
}

// TestDragonFlyLayout shows why the size of the structure cannot choose the layout.
func TestDragonFlyLayout(t *testing.T) {
	k := newFake()
	k.layout = layoutDragonFly
	b, err := k.call(t.Context(), OpKldStat, "2", "2")
	if err != nil {
		t.Fatal(err)
	}
	right, err := decodeFileStat(b, layoutDragonFly)
	if err != nil || right.Pathname != "/boot/kernel/zfs.ko" || right.ID != 2 {
		t.Errorf("%+v, %v", right, err)
	}
	wrong, err := decodeFileStat(b, layoutFreeBSD)
	if err == nil && wrong.ID == 2 {
		t.Error("FreeBSD's layout read DragonFly's bytes")
	}
}

// TestVanishing lets an id vanish at each call, once; the walk begins again and ends whole.
func TestVanishing(t *testing.T) {
	for _, key := range []string{"kldnext 0", "kldnext 1", "kldnext 2", "kldnext 4", "kldstat 1", "kldstat 2",
		"kldstat 4", "kldfirstmod 1",
		"kldfirstmod 2", "kldfirstmod 4", "modfnext 1", "modfnext 301", "modstat 10", "modstat 300", "modstat 301"} {
		for times := 1; times < maxPasses; times++ {
			k := newFake()
			k.fail[key] = times
			l, err := readFiles(t.Context(), k.call, layoutFreeBSD)
			if err != nil {
				t.Fatalf("%s gone %d times: %v, %+v", key, times, err, l)
			}
			checkList(t, k, l)
		}
		k := newFake()
		k.fail[key] = 1 << 30
		l, err := readFiles(t.Context(), k.call, layoutFreeBSD)
		var p *partialError
		if !errors.As(err, &p) || !errors.Is(err, fact.ErrGone) || p.passes != maxPasses || l == nil {
			t.Errorf("%s gone for ever: %v, %+v", key, err, l)
		}
		if k.calls > 2000 {
			t.Errorf("%s gone for ever cost %d calls", key, k.calls)
		}
	}
}

// TestUnload unloads a file between two calls: the next walk does not have it.
func TestUnload(t *testing.T) {
	k := newFake()
	k.onCall = func(k *fakeKernel, key string) {
		if key == "kldfirstmod 2" {
			k.files = append(k.files[:1:1], k.files[2:]...)
			k.onCall = nil
		}
	}
	l, err := readFiles(t.Context(), k.call, layoutFreeBSD)
	if err != nil {
		t.Fatalf("%v, %+v", err, l)
	}
	checkList(t, k, l)
}

// TestIDReuse loads another file under the same id while the first one's modules are read.
func TestIDReuse(t *testing.T) {
	k := newFake()
	k.onCall = func(k *fakeKernel, key string) {
		if key == "modstat 300" {
			k.files[1].Name, k.files[1].Address = "vmm.ko", 0xffffffff83200000
			k.modules[2] = []moduleStat{{ID: 300, Refs: 1, Name: "vmm"}}
			k.onCall = nil
		}
	}
	l, err := readFiles(t.Context(), k.call, layoutFreeBSD)
	if err != nil {
		t.Fatalf("%v, %+v", err, l)
	}
	checkList(t, k, l)
}

func TestDenied(t *testing.T) {
	k := newFake()
	k.deny = true
	if l, err := readFiles(t.Context(), k.call, layoutFreeBSD); !errors.Is(err, fs.ErrPermission) || l != nil {
		t.Errorf("EPERM gives %v, %v: never a list", l, err)
	}
}

// TestHostileAnswers gives answers that a kernel never gives.
func TestHostileAnswers(t *testing.T) {
	loop := func(_ context.Context, op string, args ...string) ([]byte, error) {
		switch op {
		case OpKldNext:
			return []byte("7"), nil
		case OpKldStat:
			return encodeFile(layoutFreeBSD, 2, 64, binary.LittleEndian, fileStat{ID: 7, Name: "x"}), nil
		case OpKldFirstMod, OpModFNext:
			return []byte("9"), nil
		}
		return encodeModule(3, 64, binary.LittleEndian, moduleStat{ID: 9, Name: "m"}), nil
	}
	l, err := readFiles(t.Context(), loop, layoutFreeBSD)
	var p *partialError
	if len(l) != 1 || !errors.Is(err, fact.ErrMalformed) || !errors.As(err, &p) || p.passes != 1 {
		t.Errorf("a list in a circle: %v, %+v", err, l)
	}
	if len(l) == 1 && (l[0].Modules != nil || len(l[0].report.Problems) != 1) {
		t.Errorf("modules in a circle: %+v", l[0])
	}
	for _, answer := range []string{"", "x", "-1", "99999999999999999999", "1.5"} {
		bad := func(context.Context, string, ...string) ([]byte, error) { return []byte(answer), nil }
		if l, err := readFiles(t.Context(), bad, layoutFreeBSD); !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("answer %q: %v, %v", answer, l, err)
		}
	}
}

func FuzzStructs(f *testing.F) {
	k := newFake()
	for _, v := range []int{1, 2} {
		f.Add(encodeFile(layoutFreeBSD, v, 64, binary.LittleEndian, k.files[1]), true)
		f.Add(encodeFile(layoutDragonFly, v, 32, binary.BigEndian, k.files[1]), true)
	}
	for _, v := range []int{1, 2, 3} {
		f.Add(encodeModule(v, 64, binary.LittleEndian, k.modules[2][1]), false)
		f.Add(encodeModule(v, 32, binary.BigEndian, k.modules[2][1]), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, file bool) {
		if !file {
			m, err := decodeModuleStat(b)
			if (m.Name == "") == (err == nil) {
				t.Fatal("value and error", m, err)
			}
			return
		}
		for _, l := range []layout{layoutFreeBSD, layoutDragonFly} {
			s, err := decodeFileStat(b, l)
			if (s.Name == "") == (err == nil) {
				t.Fatal("value and error", s, err)
			}
			if len(s.Name)+len(s.Pathname) > 4*len(b) {
				t.Fatal("longer than the input")
			}
			_ = Redact("kldstat 1 2", b)
		}
	})
}
