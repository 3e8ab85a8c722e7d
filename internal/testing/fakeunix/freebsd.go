// SPDX-License-Identifier: Apache-2.0

package fakeunix

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strconv"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// A FreeBSD is a made-up FreeBSD or DragonFly machine.
type FreeBSD struct {
	DragonFly bool
	// Bits and Order are those of the structures: 64 and little-endian unless set.
	Bits  int
	Order Order
	// Files are the loaded files, the kernel first.
	Files []File
	// FileVersion and ModuleVersion are the newest structures accepted; 0 is the newest there is.
	FileVersion, ModuleVersion int
	// Deny refuses every question about the list.
	Deny bool
	// Hidden gives addresses and sizes as 0.
	Hidden bool
	// Text and Numbers are the sysctls.
	Text    map[string]string
	Numbers map[string]int64
	// Disk is the file system.
	Disk fstest.MapFS
	// EUID is who asks.
	EUID int
	// Before is called before each question, with the op and its first argument; it may change the
	// machine, or answer an error in its place.
	Before func(m *FreeBSD, question string) error
}

// A File is one loaded linker file.
type File struct {
	ID, Refs      int32
	Address, Size uint64
	Name, Path    string
	Modules       []Mod
}

// A Mod is one module inside a file.
type Mod struct {
	ID, Refs int32
	Name     string
	Data     uint64
}

// Machine returns the machine.
func (m *FreeBSD) Machine() *Machine {
	if m.Bits == 0 {
		m.Bits = 64
	}
	if m.Order == nil {
		m.Order = binary.LittleEndian
	}
	if m.Disk == nil {
		m.Disk = fstest.MapFS{}
	}
	return &Machine{MapFS: m.Disk, call: m.call}
}

func (m *FreeBSD) uname() string {
	if m.DragonFly {
		return "ostype DragonFly\nrelease 6.4-RELEASE\nversion DragonFly v6.4.0-RELEASE made up\nmachine x86_64\n"
	}
	return "ostype FreeBSD\nrelease 14.2-RELEASE\nversion FreeBSD 14.2-RELEASE GENERIC made up\nmachine amd64\n"
}

func (m *FreeBSD) call(op string, args []string) ([]byte, error) {
	if b, ok := host(op, m.uname(), m.EUID, m.Bits); ok {
		return b, nil
	}
	question := op
	if len(args) > 0 {
		question += " " + args[0]
	}
	if m.Before != nil {
		if err := m.Before(m, question); err != nil {
			return nil, err
		}
	}
	switch op {
	case "boot_id":
		return []byte("000102030405060708090a0b0c0d0e0f\n"), nil
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
	}
	id, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	if m.Deny {
		return nil, refused(op)
	}
	return m.linker(op, id, args)
}

// linker answers the calls of the kernel's linker.
func (m *FreeBSD) linker(op string, id int, args []string) ([]byte, error) {
	switch op {
	case "kldnext":
		return m.next(id)
	case "kldstat", "kldfirstmod":
		for i := range m.Files {
			if f := &m.Files[i]; int(f.ID) == id {
				if op == "kldstat" {
					return m.stat(f, args[1])
				}
				first := 0
				if len(f.Modules) > 0 {
					first = int(f.Modules[0].ID)
				}
				return strconv.AppendInt(nil, int64(first), 10), nil
			}
		}
		return nil, gone(op, id)
	case "modfnext", "modstat":
		for _, f := range m.Files {
			for i, mod := range f.Modules {
				if int(mod.ID) != id {
					continue
				}
				if op == "modstat" {
					return m.modstat(mod, args[1])
				}
				next := 0
				if i+1 < len(f.Modules) {
					next = int(f.Modules[i+1].ID)
				}
				return strconv.AppendInt(nil, int64(next), 10), nil
			}
		}
		return nil, gone(op, id)
	}
	return nil, unknown(op)
}

func (m *FreeBSD) next(id int) ([]byte, error) {
	for i, f := range m.Files {
		if id == 0 {
			return strconv.AppendInt(nil, int64(f.ID), 10), nil
		}
		if int(f.ID) != id {
			continue
		}
		next := int32(0)
		if i+1 < len(m.Files) {
			next = m.Files[i+1].ID
		}
		return strconv.AppendInt(nil, int64(next), 10), nil
	}
	if id == 0 {
		return []byte("0"), nil
	}
	return nil, gone("kldnext", id)
}

// stat writes a struct kld_file_stat.
func (m *FreeBSD) stat(f *File, versionArg string) ([]byte, error) {
	version, err := strconv.Atoi(versionArg)
	if err != nil || version < 1 || version > 2 || m.FileVersion != 0 && version > m.FileVersion {
		return nil, unknown("kldstat version " + versionArg)
	}
	const path = 1024
	var b []byte
	b = m.Order.AppendUint32(b, 0)
	b = append(b, fixed(f.Name, path)...)
	if m.DragonFly && version == 2 {
		b = append(b, fixed(f.Path, path)...)
	}
	b = m.Order.AppendUint32(b, uint32(f.Refs))
	b = m.Order.AppendUint32(b, uint32(f.ID))
	address, size := f.Address, f.Size
	if m.Hidden {
		address, size = 0, 0
	}
	b = m.word(b, address)
	b = m.word(b, size)
	if !m.DragonFly && version == 2 {
		b = append(b, fixed(f.Path, path)...)
	}
	m.Order.PutUint32(b, uint32(len(b)))
	return b, nil
}

// word appends a pointer, aligned.
func (m *FreeBSD) word(b []byte, v uint64) []byte {
	if m.Bits == 32 {
		return m.Order.AppendUint32(b, uint32(v))
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return m.Order.AppendUint64(b, v)
}

// modstat writes a struct module_stat.
func (m *FreeBSD) modstat(mod Mod, versionArg string) ([]byte, error) {
	version, err := strconv.Atoi(versionArg)
	if err != nil || version < 1 || version > 3 || m.ModuleVersion != 0 && version > m.ModuleVersion {
		return nil, unknown("modstat version " + versionArg)
	}
	name := 32
	if version == 3 {
		name = 1024
	}
	b := m.Order.AppendUint32(nil, 0)
	b = append(b, fixed(mod.Name, name)...)
	b = m.Order.AppendUint32(b, uint32(mod.Refs))
	b = m.Order.AppendUint32(b, uint32(mod.ID))
	if version > 1 {
		b = m.word(b, mod.Data)
	}
	m.Order.PutUint32(b, uint32(len(b)))
	return b, nil
}

// fixed is a char array; a longer text is cut without a NUL, as the kernel does.
func fixed(s string, n int) []byte {
	b := make([]byte, n)
	copy(b, s)
	return b
}

// kernelDepend is the dependency of a kld that was built for FreeBSD 14.2.
var kernelDepend = kotest.Depend{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999}

func kld(k kotest.KLD, depends ...kotest.Depend) *fstest.MapFile {
	k.Depends = append([]kotest.Depend{kernelDepend}, depends...)
	return &fstest.MapFile{Data: k.Bytes(), Mode: 0o555}
}

// GENERIC is a FreeBSD 14.2 machine as it is installed, with aesni preloaded, zfs and cryptodev
// loaded, drm from ports, and if_em on disk for a device.
func GENERIC() *FreeBSD {
	return &FreeBSD{
		Files: []File{
			{ID: 1, Refs: 12, Address: 0xffffffff80200000, Size: 0x1f4dcd8, Name: "kernel", Path: "/boot/kernel/kernel",
				Modules: []Mod{
					{1, 1, "cam", 0}, {2, 1, "virtio_pci/vtnet", 0}, {3, 1, "cryptosoft", 0},
					{4, 1, "sys/posix_fallocate", 530 | 530<<32}}},
			{ID: 2, Refs: 1, Address: 0xffffffff8214e000, Size: 0xbd50, Name: "aesni.ko", Path: "/boot/kernel/aesni.ko",
				Modules: []Mod{{300, 1, "nexus/aesni", 0}}},
			{ID: 3, Refs: 2, Address: 0xffffffff82160000, Size: 0x7808, Name: "linux_common.ko",
				Path: "/boot/kernel/linux_common.ko", Modules: []Mod{{301, 1, "linux_common", 0}}},
			{ID: 5, Refs: 1, Address: 0xffffffff82170000, Size: 0xb7bd8, Name: "linux.ko",
				Path:    "/boot/kernel/linux.ko",
				Modules: []Mod{{302, 1, "linuxelf", 0}}},
			{ID: 6, Refs: 1, Address: 0xffffffff83000000, Size: 0x40000, Name: "drm.ko", Path: "/boot/modules/drm.ko",
				Modules: []Mod{{303, 1, "drmn", 0}}},
			{ID: 7, Refs: 1, Address: 0xffffffff83050000, Size: 0x1000, Name: "gone.ko",
				Path: "/tmp/gone.ko", Modules: []Mod{}},
		},
		Text: map[string]string{
			"kern.module_path": "/boot/kernel;/boot/modules", "kern.bootfile": "/boot/kernel/kernel",
			"kern.build_id": "0a0b0c0d",
			"debug.dump_modinfo": "\n 0xffffffff82549000:\n\ttype:\t(0x01) MODINFO_NAME\n\tlen:\t20\n" +
				"\tvalue:\t/boot/kernel/kernel\n" +
				" 0xffffffff8254901c:\n\ttype:\t(0x02) MODINFO_TYPE\n\tlen:\t11\n\tvalue:\telf kernel\n" +
				" 0xffffffff82549050:\n\ttype:\t(0x01) MODINFO_NAME\n\tlen:\t22\n\tvalue:\t/boot/kernel/aesni.ko\n" +
				" 0xffffffff82549060:\n\ttype:\t(0x02) MODINFO_TYPE\n\tlen:\t15\n\tvalue:\telf obj module\n",
		},
		Numbers: map[string]int64{"kern.osreldate": 1402000, "kern.securelevel": -1},
		Disk:    GENERICDisk(),
	}
}

// GENERICDisk is the disk of GENERIC.
func GENERICDisk() fstest.MapFS {
	kernel := kotest.KLD{Type: elf.ET_EXEC, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: binary.LittleEndian,
		BuildID: []byte{10, 11, 12, 13}}
	kernel.Modules = []kotest.Module{{Record: "cam", Name: "cam"}, {Record: "vtnet_virtio", Name: "virtio_pci/vtnet"},
		{Record: "crypto", Name: "cryptosoft"}}
	kernel.Versions = []kotest.Version{{Name: "kernel", Version: 1402000}, {Name: "crypto", Version: 1}}
	row := binary.LittleEndian.AppendUint32(nil, 0x8086)
	row = binary.LittleEndian.AppendUint32(row, 0x10d3)
	mod := func(record, name string, versions ...kotest.Version) kotest.KLD {
		k := kotest.AMD64()
		k.Modules, k.Versions = []kotest.Module{{Record: record, Name: name}}, versions
		return k
	}
	em := mod("em_pci", "pci/em", kotest.Version{Name: "em", Version: 1})
	em.PNP = []kotest.PNP{{Bus: "pci", Descr: "U32:vendor;U32:device;", EntryLen: 8, Rows: row, Num: 1}}
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s), Mode: 0o644} }
	return fstest.MapFS{
		"boot/kernel/kernel": {Data: kernel.Bytes(), Mode: 0o555},
		"boot/kernel/aesni.ko": kld(mod("aesni_nexus", "nexus/aesni", kotest.Version{Name: "aesni", Version: 1}),
			kotest.Depend{Name: "crypto", Min: 1, Preferred: 1, Max: 1}),
		"boot/kernel/if_em.ko":    kld(em),
		"boot/kernel/if_vtnet.ko": kld(mod("vtnet_virtio", "virtio_pci/vtnet")),
		"boot/kernel/linux.ko": kld(mod("linuxelf", "linuxelf"),
			kotest.Depend{Name: "linux_common", Min: 1, Preferred: 1, Max: 1}),
		"boot/kernel/linux_common.ko": kld(mod("linux_common", "linux_common",
			kotest.Version{Name: "linux_common", Version: 1})),
		"boot/modules/drm.ko":       kld(mod("drmn", "drmn", kotest.Version{Name: "drmn", Version: 2})),
		"boot/modules/broken.ko":    text("no ELF file"),
		"boot/kernel/linker.hints":  {Data: hints(), Mode: 0o644},
		"boot/defaults/loader.conf": text("module_path=\"/boot/modules\"\nmodule_blacklist=\"radeonkms\"\n"),
		"boot/loader.conf":          text("aesni_load=\"YES\"\nmodule_blacklist=\"${module_blacklist} drm\"\n"),
		"etc/rc.conf":               text("hostname=\"secret\"\nkld_list=\"linux drm\"\ndevmatch_enable=\"YES\"\n"),
	}
}

func hints() []byte {
	h := kotest.Hints{Order: binary.LittleEndian}
	h.Version("kernel", 1402000, "kernel")
	h.Module("aesni_nexus", "aesni.ko")
	h.Version("aesni", 1, "aesni.ko")
	h.Module("em_pci", "if_em.ko")
	h.Version("em", 1, "if_em.ko")
	return h.Bytes()
}

// Many returns a machine with n klds of two modules each.
func Many(n int) *FreeBSD {
	m := &FreeBSD{Numbers: map[string]int64{"kern.securelevel": -1},
		Files: []File{{ID: 1, Refs: int32(n + 1), Address: 0xffffffff80200000, Size: 0x1f4dcd8, Name: "kernel",
			Path: "/boot/kernel/kernel", Modules: []Mod{{1, 1, "cam", 0}}}}}
	for i := 2; i <= n; i++ {
		name := fmt.Sprintf("kld%04d.ko", i)
		m.Files = append(m.Files, File{ID: int32(i), Refs: 1, Address: 0xffffffff82000000 + uint64(i)<<16,
			Size: uint64(i) << 8, Name: name, Path: "/boot/kernel/" + name,
			Modules: []Mod{{int32(2 * i), 1, fmt.Sprintf("pci/kld%d", i), 0},
				{int32(2*i + 1), 1, fmt.Sprintf("kld%d", i), 0}}})
	}
	return m
}

// DragonFly is a DragonFly machine with three files.
func DragonFly() *FreeBSD {
	return &FreeBSD{DragonFly: true, Numbers: map[string]int64{"kern.securelevel": -1}, Files: []File{
		{ID: 1, Refs: 5, Address: 0xffffffff80200000, Size: 0x1eff140, Name: "kernel", Path: "/boot/kernel/kernel",
			Modules: []Mod{{1, 1, "vga_switcheroo", 0}}},
		{ID: 2, Refs: 1, Address: 0xffffffff82b58000, Size: 0x2b58, Name: "ecc.ko", Path: "/boot/kernel/ecc.ko",
			Modules: []Mod{{20, 1, "pci/ecc", 0}}},
		{ID: 3, Refs: 1, Address: 0xffffffff82b5c000, Size: 0x591d0, Name: "acpi.ko", Path: "/boot/kernel/acpi.ko",
			Modules: []Mod{{21, 1, "nexus/acpi", 0}, {22, 1, "acpi/acpi_button", 0}}},
	}}
}
