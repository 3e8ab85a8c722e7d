// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// A metadata is what a .kmod file declares of one module in its linker set link_set_modules.
type metadata struct {
	// Name is the module's name.
	Name string
	// Class is the kernel's word for its kind.
	Class string
	// Required are the modules that it requires.
	Required []string
	// BuiltFor is the __NetBSD_Version__ it was built for, such as 1000000000 for 10.0.
	BuiltFor uint32
	// BuildID is the file's GNU build-id; empty when it has none.
	BuildID string
	// Size is the file's size in bytes.
	Size int64
}

const (
	modulesSet = "link_set_modules"
	maxInFile  = 4096
	maxText    = 1024
)

// errNoMetadata is returned for an ELF file without the linker set link_set_modules: it is no
// module of NetBSD. It satisfies errors.Is(err, errors.ErrUnsupported).
var errNoMetadata error = &sentinel.Error{
	Cause: errors.ErrUnsupported,
	After: "no NetBSD module metadata (link_set_modules)",
}

// readMetadata reads the named file of at most max bytes. It returns one entry for each module in it, nearly always
// one, and reports the records that are invalid as problems of subject. The error is that of reading, a
// *fact.ParseError for a file that is not an ELF file, or errNoMetadata.
func readMetadata(fsys fs.FS, name string, max int64, subject string, r *fact.Report) ([]metadata, error) {
	f, closer, err := elfset.OpenFS(fsys, name, max)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	m, err := decodeMetadata(f, subject, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// decodeMetadata decodes the metadata of an open ELF file.
func decodeMetadata(f *elfset.File, subject string, r *fact.Report) ([]metadata, error) {
	set, err := f.Set(modulesSet)
	if err != nil {
		return nil, err
	}
	if set == nil {
		return nil, errNoMetadata
	}
	item := r.Budget.File(f.ID, f.Size())
	defer item.Done()
	out := []metadata{}
	var over error
	f.Words(set, maxInFile, func(_, value uint64, err error) bool {
		var m metadata
		if over = item.Work(recordWork); over != nil {
			return false
		}
		if err == nil {
			m, err = modinfo(f, value)
		}
		if over = item.Keep(m.memory()); over != nil {
			return false
		}
		if err != nil {
			r.Problem(SourceModulePath, subject, "", err)
			return true
		}
		out = append(out, m)
		return true
	})
	if over != nil {
		return nil, over
	}
	id := f.BuildID()
	for i := range out {
		out[i].BuildID, out[i].Size = id, f.Size()
	}
	return out, nil
}

// recordWork are the steps that a record takes: its pointers, and its texts.
const recordWork = 512

// memory is how much memory a record takes, in bytes.
func (m *metadata) memory() int64 {
	n := 256 + len(m.Name)
	for _, name := range m.Required {
		n += 32 + len(name)
	}
	return int64(n)
}

// modinfo decodes struct modinfo: version, class, modcmd, name, required.
func modinfo(f *elfset.File, addr uint64) (metadata, error) {
	var m metadata
	ptr := uint64(f.PtrSize())
	version, err := f.Uint32(addr)
	if err != nil {
		return m, err
	}
	class, err := f.Uint32(addr + 4)
	if err != nil {
		return m, err
	}
	m.BuiltFor, m.Class = version, wordOf(classes, class)
	if m.Name, err = textAt(f, addr+8+ptr); err != nil {
		return m, err
	}
	if m.Name == "" {
		return m, &fact.ParseError{Source: modulesSet, Field: "name", Reason: "a module without a name"}
	}
	required, err := textAt(f, addr+8+2*ptr)
	m.Required = splitNames(required)
	return m, err
}

func textAt(f *elfset.File, addr uint64) (string, error) {
	p, err := f.Pointer(addr)
	if err != nil || p == 0 {
		return "", err
	}
	s, err := f.String(p, maxText)
	return escape.UTF8(s), err
}

// Release names the release of a __NetBSD_Version__: 1000000000 is "10.0", 999009800 "9.99.98".
func Release(version uint32) string {
	major, minor, patch := version/100000000, version/1000000%100, version/100%10000
	if major == 0 {
		return ""
	}
	if patch == 0 {
		return fmt.Sprintf("%d.%d", major, minor)
	}
	return fmt.Sprintf("%d.%d.%d", major, minor, patch)
}
