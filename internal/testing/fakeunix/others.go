// SPDX-License-Identifier: Apache-2.0

package fakeunix

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"testing/fstest"
)

// A NetBSD is a made-up NetBSD machine.
type NetBSD struct {
	Order   Order
	Modules []NetBSDModule
	// Old is a kernel before 2021, which knows only the old form.
	Old bool
	// Hidden gives addresses and sizes as 0; WrongOffsets writes the offsets that a kernel gives a
	// process of 32 bits.
	Hidden, WrongOffsets bool
	// Growing adds a module at each question, this many times.
	Growing int
	Text    map[string]string
	Numbers map[string]int64
	Disk    fstest.MapFS
	EUID    int
}

// A NetBSDModule is one module of the kernel.
type NetBSDModule struct {
	Name                             string
	Address                          uint64
	Source, Class, Size, Refs, Flags uint32
	Required                         string
}

// Machine returns the machine.
func (m *NetBSD) Machine() *Machine {
	if m.Order == nil {
		m.Order = binary.LittleEndian
	}
	if m.Disk == nil {
		m.Disk = fstest.MapFS{}
	}
	return &Machine{MapFS: m.Disk, call: m.call}
}

func (m *NetBSD) call(op string, args []string) ([]byte, error) {
	if b, ok := host(op, "ostype NetBSD\nrelease 10.0\nversion NetBSD 10.0 (GENERIC) made up\n"+
		"machine amd64\n", m.EUID, 64); ok {
		return b, nil
	}
	switch op {
	case "sysctl":
		if v, ok := m.Text[args[0]]; ok {
			return []byte(v), nil
		}
		return nil, &fs.PathError{Op: "sysctl", Path: args[0], Err: fs.ErrNotExist}
	case "sysctl_int":
		if v, ok := m.Numbers[args[0]]; ok {
			return strconv.AppendInt(nil, v, 10), nil
		}
		return nil, &fs.PathError{Op: "sysctl", Path: args[0], Err: fs.ErrNotExist}
	case "modctl_stat":
		return m.stat(args)
	}
	return nil, unknown(op)
}

func (m *NetBSD) stat(args []string) ([]byte, error) {
	if m.Old && args[0] != "2" || !m.Old && args[0] != "4" {
		return nil, unknown("modctl " + args[0])
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return nil, err
	}
	if m.Growing > 0 {
		m.Growing--
		for i := range 200 {
			m.Modules = append(m.Modules, NetBSDModule{Name: fmt.Sprintf("late%d_%d", m.Growing, i), Address: 0x1000,
				Source: 2, Class: 1, Size: 1})
		}
	}
	b := m.newForm()
	if m.Old {
		b = m.oldForm()
	}
	order := "little"
	if m.Order.String() == binary.BigEndian.String() {
		order = "big"
	}
	return append(fmt.Appendf(nil, "%s %d\n", order, len(b)), b[:min(size, len(b))]...), nil
}

func (m *NetBSD) newForm() []byte {
	b := m.Order.AppendUint32(nil, uint32(len(m.Modules)))
	texts := []byte{0}
	for i, mod := range m.Modules {
		b = append(b, fixed(mod.Name, 32)...)
		address, size := m.shown(mod)
		b = m.Order.AppendUint64(b, address)
		offset := uint32(0)
		if mod.Required != "" {
			offset = uint32(len(texts))
			texts = append(append(texts, mod.Required...), 0)
			if m.WrongOffsets && i > 0 {
				offset = uint32(len(mod.Required))
			}
		}
		for _, v := range []uint32{mod.Source, mod.Class, size, mod.Refs, mod.Flags, offset} {
			b = m.Order.AppendUint32(b, v)
		}
	}
	return append(b, texts...)
}

func (m *NetBSD) oldForm() []byte {
	var b []byte
	for _, mod := range m.Modules {
		b = append(append(b, fixed(mod.Name, 32)...), fixed(mod.Required, 320)...)
		address, size := m.shown(mod)
		b = m.Order.AppendUint64(b, address)
		for _, v := range []uint32{mod.Source, mod.Class, size, mod.Refs, 0, 0, 0, 0} {
			b = m.Order.AppendUint32(b, v)
		}
	}
	return b
}

func (m *NetBSD) shown(mod NetBSDModule) (uint64, uint32) {
	if m.Hidden {
		return 0, 0
	}
	return mod.Address, mod.Size
}

// NetBSD10 is a NetBSD 10 machine with loaded, built-in and disabled modules.
func NetBSD10() *NetBSD {
	return &NetBSD{
		Modules: []NetBSDModule{
			{Name: "zfs", Address: 0xffffffff82000000, Source: 2, Class: 2, Size: 0x400000,
				Refs: 0, Required: "solaris"},
			{Name: "solaris", Address: 0xffffffff81f00000, Source: 2, Class: 1, Size: 0x20000, Refs: 1},
			{Name: "nfs", Address: 0xffffffff81e00000, Source: 1, Class: 2, Size: 0x10000, Refs: 0, Flags: 2,
				Required: "compat_util,sysv_ipc"},
			{Name: "ffs", Source: 0, Class: 2, Refs: 1},
			{Name: "compat_50", Source: 0, Class: 4, Refs: 0xffffffff, Flags: 1},
		},
		Text:    map[string]string{"kern.module.path": "/stand/amd64/10.0/modules"},
		Numbers: map[string]int64{"kern.securelevel": -1, "kern.module.autoload": 1},
	}
}

// An Illumos is a made-up illumos machine.
type Illumos struct {
	Order   Order
	Modules []IllumosModule
	Hidden  bool
	Disk    fstest.MapFS
	EUID    int
	// Before is called before each question about the list.
	Before func(m *Illumos)
}

// An IllumosModule is one module of the kernel.
type IllumosModule struct {
	ID             int32
	State          uint32
	Address, Size  uint64
	Rev, LoadCount int32
	Name           string
	Linkages       []IllumosLinkage
}

// An IllumosLinkage is one thing that a module adds.
type IllumosLinkage struct {
	Info        int32
	Description string
}

// Machine returns the machine.
func (m *Illumos) Machine() *Machine {
	if m.Order == nil {
		m.Order = binary.LittleEndian
	}
	if m.Disk == nil {
		m.Disk = fstest.MapFS{}
	}
	return &Machine{MapFS: m.Disk, call: m.call}
}

func (m *Illumos) call(op string, args []string) ([]byte, error) {
	if b, ok := host(op, "ostype SunOS\nrelease 5.11\nversion omnios-r151046 made up\n"+
		"machine i86pc\n", m.EUID, 64); ok {
		return b, nil
	}
	if op != "modinfo" {
		return nil, unknown(op)
	}
	if m.Before != nil {
		m.Before(m)
	}
	id, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	flags, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return nil, err
	}
	for _, mod := range m.Modules {
		if int(mod.ID) > id {
			return m.info(mod, uint32(flags)), nil
		}
	}
	return nil, &fs.PathError{Op: "modctl", Path: args[0], Err: fs.ErrNotExist}
}

// info writes a struct modinfo of 64 bits.
func (m *Illumos) info(mod IllumosModule, flags uint32) []byte {
	b := m.Order.AppendUint32(nil, flags)
	b = m.Order.AppendUint32(b, mod.State)
	b = m.Order.AppendUint32(b, uint32(mod.ID))
	b = m.Order.AppendUint32(b, uint32(mod.ID))
	address := mod.Address
	if m.Hidden {
		address = 0
	}
	b = m.Order.AppendUint64(b, address)
	b = m.Order.AppendUint64(b, mod.Size)
	b = m.Order.AppendUint32(b, uint32(mod.Rev))
	b = m.Order.AppendUint32(b, uint32(mod.LoadCount))
	b = append(b, fixed(mod.Name, 32)...)
	for i := range 10 {
		l := IllumosLinkage{Info: -1}
		if i < len(mod.Linkages) {
			l = mod.Linkages[i]
		}
		b = append(b, fixed(l.Description, 32)...)
		b = m.Order.AppendUint32(b, uint32(l.Info))
	}
	return b
}

// OmniOS is an illumos machine with a module of several linkages.
func OmniOS() *Illumos {
	return &Illumos{
		Modules: []IllumosModule{
			{6, 3, 0xfffffffff7c49000, 0x4623, 1, 1, "specfs", []IllumosLinkage{{1, "filesystem for specfs"}}},
			{9, 3, 0xfffffffff7c60000, 0xc640, 1, 1, "rpcmod",
				[]IllumosLinkage{{226, "RPC syscall"}, {-1, "32-bit RPC syscall"}, {-1, "rpc interface str mod"}}},
			{66, 3, 0xfffffffff7c44000, 0x4690, 1, 1, "mntfs", []IllumosLinkage{{15, "mount information file system"}}},
			{70, 0, 0, 0, 1, 2, "fdfs", []IllumosLinkage{}},
		},
		Disk: fstest.MapFS{
			"etc/system": {Data: []byte("* comment\nexclude: drv/fd\nforceload: drv/clone\nset maxusers = 40\n")}},
	}
}

// An AIX is a made-up AIX machine.
type AIX struct {
	// Genkex is what genkex -d prints; empty is a machine on which no program may be run.
	Genkex string
}

// Machine returns the machine.
func (m *AIX) Machine() *Machine {
	return &Machine{MapFS: fstest.MapFS{}, call: func(op string, _ []string) ([]byte, error) {
		if b, ok := host(op, "ostype AIX\nrelease 7.2\nmachine 00F84C0C4C00\n", 0, 64); ok {
			return b, nil
		}
		if op == "genkex" && m.Genkex != "" {
			return []byte(m.Genkex), nil
		}
		return nil, unknown(op)
	}}
}

// AIX72 is an AIX machine with three extensions, one of them loaded twice.
func AIX72() *AIX {
	return &AIX{Genkex: strings.Join([]string{
		"    Text address     Size     Data address     Size File",
		"f1000000c0338000    77000 f1000000c0390000    1ec8c /usr/lib/drivers/cluster",
		"         6390000    20000          63a0000      ba8 /usr/lib/drivers/if_en",
		"         6490000    20000          64a0000      ba8 /usr/lib/drivers/if_en",
		"",
	}, "\n")}
}
