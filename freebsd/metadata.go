// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// metadata is what a .ko file, or a kernel, declares of itself in its linker set modmetadata_set.
type metadata struct {
	// Modules are its MODULE records: Name from moduledata, Record from the record itself.
	Modules []Module
	// Versions are its VERSION records.
	Versions []Version
	// Depends are its DEPEND records, unchanged: not even max < min is corrected.
	Depends []Depend
	// PNP are its tables of devices.
	PNP []deviceTable
	// Machine is the processor it is for, as FreeBSD's machine_arch names it.
	Machine string
	// Bits is 32 or 64; Order is the byte order.
	Bits  int
	Order binary.ByteOrder
	// Type is how it is linked: ET_REL (amd64) or ET_DYN (most others) for a .ko, ET_EXEC for a
	// kernel.
	Type elf.Type
	// BuildID is the GNU build-id; empty when the file has none.
	BuildID string
	// Size is the file's size in bytes.
	Size int64
}

// The kinds of records in modmetadata_set.
const (
	mdtDepend  = 1
	mdtModule  = 2
	mdtVersion = 3
	mdtPNPInfo = 4

	modMetadataSet = "set_modmetadata_set"
	maxRecords     = 64 << 10 // of one file; a kernel has about 4,000
	maxName        = 1024     // bytes of a name; the kernel's own limit is MAXPATHLEN
)

// errNoMetadata is the error for an ELF file without the linker set modmetadata_set: it is not a .ko of FreeBSD or
// DragonFly.
var errNoMetadata error = &sentinel.Error{
	Cause: errors.ErrUnsupported,
	After: "no FreeBSD module metadata (" + modMetadataSet + ")",
}

// readMetadata reads the named file of at most max bytes. A record that is invalid costs that record, which is
// reported. The error is that of reading, a *fact.ParseError for a file that is not an ELF file, or errNoMetadata.
func readMetadata(fsys fs.FS, name string, max int64, r *fact.Report) (*metadata, error) {
	f, closer, err := elfset.OpenFS(fsys, name, max)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	m, err := decodeMetadata(f, nil, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// readCompressed is readMetadata for a file that gzip or bzip2 compressed, as the boot loader reads it. Size is that of
// the compressed file.
func readCompressed(fsys fs.FS, name string, max int64, r *fact.Report) (*metadata, error) {
	f, size, item, err := openCompressed(fsys, name, max, r)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	m, err := decodeMetadata(f, item, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m.Size = size
	return m, nil
}

// openCompressed opens a file that gzip or bzip2 compressed. How much it may unpack to follows from how long it is,
// which is size. item holds what it unpacks to.
func openCompressed(
	fsys fs.FS, name string, max int64, r *fact.Report,
) (f *elfset.File, size int64, item *fact.Item, err error) {
	b, item, err := readPacked(fsys, name, max, r.Budget)
	if err != nil {
		return nil, 0, item, err
	}
	var unpacked io.Reader = bzip2.NewReader(bytes.NewReader(b))
	if !strings.HasSuffix(name, ".bz2") {
		if unpacked, err = gzip.NewReader(bytes.NewReader(b)); err != nil {
			return nil, 0, item, &fact.ParseError{
				Source: name, Reason: "not compressed by gzip", Err: fact.ErrMalformed}
		}
	}
	plain, err := limit.AppendAll(unpacked, nil, name, min(max, item.MaxMemory()))
	if err == nil {
		err = cmp.Or(item.Hold(int64(len(plain))), item.Work(int64(len(plain))))
	}
	if err != nil && !errors.Is(err, fact.ErrTooLarge) && !errors.Is(err, fact.ErrBudget) {
		err = &fact.ParseError{Source: name, Reason: "compressed data: " + err.Error()}
	}
	if err != nil {
		return nil, 0, item, err
	}
	f, err = elfset.Open(bytes.NewReader(plain), int64(len(plain)), name)
	return f, int64(len(b)), item, err
}

// readPacked reads a compressed file, and returns what pays for it.
func readPacked(fsys fs.FS, name string, max int64, budget *fact.Budget) ([]byte, *fact.Item, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := limit.AppendAll(f, nil, name, max)
	if err != nil {
		return nil, nil, err
	}
	item := budget.File(hostfs.FileID(nil, name, st), int64(len(b)))
	return b, item, item.Hold(int64(len(b)))
}

// decodeMetadata decodes the metadata of an open ELF file. A record that is invalid costs that record, which is
// reported. item pays; nil is one of the file's own, which counts as read only if it has metadata.
func decodeMetadata(f *elfset.File, item *fact.Item, r *fact.Report) (*metadata, error) {
	set, err := f.Set(modMetadataSet)
	if err != nil {
		return nil, err
	}
	if set == nil && f.OSABI != elf.ELFOSABI_FREEBSD {
		return nil, errNoMetadata
	}
	if item == nil {
		item = r.Budget.File(f.ID, f.Size())
		defer item.Done()
	}
	d := &decoder{f: f, item: item, room: f.Size() + 1<<20, m: &metadata{
		Machine: machineArch(f), Bits: 8 * f.PtrSize(), Order: f.Order, Type: f.Type,
		BuildID: f.BuildID(), Size: f.Size(),
		Modules: []Module{}, Versions: []Version{}, Depends: []Depend{}, PNP: []deviceTable{},
	}}
	n := 0
	f.Words(set, maxRecords, func(addr, value uint64, err error) bool {
		n++
		if err == nil {
			err = d.record(value)
		}
		if err != nil {
			r.Problem(SourceModulePath, fmt.Sprintf("record %d", n), "", err)
		}
		return !errors.Is(err, fact.ErrTooLarge) && !errors.Is(err, fact.ErrBudget)
	})
	return d.m, nil
}

// decoder follows the records of one file. room bounds what is kept: many records may point at the
// same long text.
type decoder struct {
	f    *elfset.File
	m    *metadata
	item *fact.Item
	room int64
}

// take books n bytes of result.
func (d *decoder) take(n int) error {
	if d.room -= int64(n); d.room < 0 {
		return fmt.Errorf("%w: the metadata says more than the file is long", fact.ErrTooLarge)
	}
	if err := d.item.Work(int64(n)); err != nil {
		return err
	}
	return d.item.Keep(int64(n))
}

func (d *decoder) text(addr uint64) (string, error) {
	s, err := d.f.String(addr, maxName)
	if err != nil {
		return "", err
	}
	return escape.UTF8(s), d.take(len(s) + 64)
}

// record decodes one struct mod_metadata: version, type, data, cval.
func (d *decoder) record(addr uint64) error {
	ptr := uint64(d.f.PtrSize())
	if addr == 0 {
		return d.malformed("a null pointer")
	}
	version, err := d.f.Uint32(addr)
	if err != nil {
		return err
	}
	typ, err := d.f.Uint32(addr + 4)
	if err != nil {
		return err
	}
	if version != 1 {
		return d.malformed("metadata version %d", version)
	}
	data, err := d.f.Pointer(addr + 8)
	if err != nil {
		return err
	}
	cval, err := d.f.Pointer(addr + 8 + ptr)
	if err != nil {
		return err
	}
	name := ""
	if cval != 0 {
		if name, err = d.text(cval); err != nil {
			return err
		}
	}
	switch typ {
	case mdtDepend:
		return d.depend(data, name)
	case mdtModule:
		return d.module(data, name)
	case mdtVersion:
		return d.version(data, name)
	case mdtPNPInfo:
		return d.pnp(data)
	}
	return d.malformed("unknown metadata type %d", typ)
}

func (d *decoder) malformed(format string, args ...any) error {
	return &fact.ParseError{Source: modMetadataSet, Reason: fmt.Sprintf(format, args...)}
}

func (d *decoder) depend(data uint64, name string) error {
	var v [3]uint32
	for i := range v {
		n, err := d.f.Uint32(data + uint64(4*i))
		if err != nil {
			return err
		}
		v[i] = n
	}
	d.m.Depends = append(d.m.Depends, Depend{Name: name, Min: int32(v[0]), Preferred: int32(v[1]), Max: int32(v[2])})
	return nil
}

func (d *decoder) module(data uint64, record string) error {
	addr, err := d.f.Pointer(data)
	if err != nil {
		return err
	}
	name, err := d.text(addr)
	if err != nil {
		return err
	}
	if name == "" {
		return d.malformed("module without a name")
	}
	d.m.Modules = append(d.m.Modules, Module{Name: name, Record: record})
	return nil
}

func (d *decoder) version(data uint64, name string) error {
	n, err := d.f.Uint32(data)
	if err != nil {
		return err
	}
	d.m.Versions = append(d.m.Versions, Version{Name: name, Version: int32(n)})
	return nil
}

// tables returns the tables of devices as the record has them; never nil.
func (m *metadata) tables() []PNPTable {
	out := make([]PNPTable, len(m.PNP))
	for i := range m.PNP {
		out[i] = m.PNP[i].PNPTable
	}
	return out
}

// builtFor returns the __FreeBSD_version that the file was built for: the preferred version of its
// dependency on "kernel". A few files have no such dependency.
func builtFor(depends []Depend) (int32, bool) {
	for _, d := range depends {
		if d.Name == kernelName {
			return d.Preferred, true
		}
	}
	return 0, false
}

// machineArch names the processor of the file as FreeBSD's machine_arch does; one that FreeBSD has
// no word for is debug/elf's name.
func machineArch(f *elfset.File) string {
	little := f.Order == binary.LittleEndian
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_386:
		return "i386"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_ARM:
		return "armv7"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_PPC:
		return "powerpc"
	case elf.EM_PPC64:
		if little {
			return "powerpc64le"
		}
		return "powerpc64"
	case elf.EM_SPARCV9:
		return "sparc64"
	}
	return strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_"))
}
