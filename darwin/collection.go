// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// Caps for one kernel collection.
const (
	maxPrelinkInfo = 128 << 20 // bytes of its property list; real ones have up to 10 MB
	maxMembers     = 8192
	maxSharedNodes = 1 << 20 // values that may be referred to again
	noLoadAddress  = 0x7fffffffffffffff
)

// The kinds of kernel collection.
const (
	KindBoot      = "boot"        // BootKernelExtensions.kc
	KindSystem    = "system"      // SystemKernelExtensions.kc
	KindAuxiliary = "auxiliary"   // AuxiliaryKernelExtensions.kc
	KindCache     = "kernelcache" // kernelcache, with the kernel
	KindPrelinked = "prelinked"   // prelinkedkernel, immutablekernel
)

// A collection is a file in which kexts are linked together, with or without a kernel.
type collection struct {
	// Path is the file, from the machine's root.
	Path string `json:"path"`
	// Kind is boot, system, auxiliary, kernelcache or prelinked, by the file's name and content; empty if neither shows
	// it.
	Kind string `json:"kind,omitzero"`
	// Wrappers are the formats around the Mach-O file, from the outside: fat, img4, im4p, comp.
	Wrappers []string `json:"wrappers,omitzero"`
	// Compression is how the payload is compressed: lzfse, lzvn, lzss; empty for not at all.
	Compression string `json:"compression,omitzero"`
	// Architecture, UUID and Type are those of the Mach-O file; the UUID of a collection with a
	// kernel is the kernel's.
	Architecture string `json:"architecture,omitzero"`
	UUID         string `json:"uuid,omitzero"`
	Type         string `json:"type,omitzero"`
	// ID identifies the collection (_PrelinkKCID), in the form of a UUID.
	ID string `json:"id,omitzero"`
	// BootID and SystemID are the collections that this one was linked against (_BootKCID and
	// _PageableKCID).
	BootID   string `json:"bootId,omitzero"`
	SystemID string `json:"systemId,omitzero"`
	// Receipt says whether an auxiliary collection carries the receipt of what was approved.
	Receipt fact.Tri `json:"receipt,omitzero"`
	// Stale says whether it was linked against another boot collection than the one on this
	// machine, and so cannot be used; absent when one of the two is unknown.
	Stale fact.Tri `json:"stale,omitzero"`
	// Members are the kexts in it, in the file's order. The kernel itself is not among them.
	Members []member `json:"members,omitzero"`
}

// A member is a kext in a kernel collection.
type member struct {
	BundleInfo
	// Path is the bundle that it was made from; it need not be on disk.
	Path string `json:"path,omitzero"`
	// ExecutablePath is that of the code in the bundle.
	ExecutablePath string `json:"executablePath,omitzero"`
	// UUID identifies the build (LC_UUID, or _PrelinkInterfaceUUID).
	UUID string `json:"uuid,omitzero"`
	// SourceVersion is LC_SOURCE_VERSION.
	SourceVersion string `json:"sourceVersion,omitzero"`
	// LoadAddress is where it is linked to, before the kernel slides it; absent for a kext without
	// code.
	LoadAddress fact.Address `json:"loadAddress,omitzero"`
	// Size is the size of the code in bytes.
	Size fact.Count `json:"size,omitzero"`
}

// A collectionReader says what to read of kernel collections.
type collectionReader struct {
	// Architecture chooses the slice of a fat file; "" is the first.
	Architecture string
	// Personalities keeps the members' personalities; they are the most of the text.
	Personalities bool
}

// read reads the kernel collection in the file f of size bytes; name is its path from the machine's
// root. It reads headers and one section, a few MB even of a collection of 400 MB; a compressed one it unpacks as it
// goes, whole where there is a checksum. What is lost of members is reported. With an error, what the wrappers say is
// returned all the same. item pays.
func (r collectionReader) read(
	name string, f io.ReaderAt, size int64, item *fact.Item, report *fact.Report,
) (collection, error) {
	c := collection{Path: "/" + name, Kind: kindByName(name)}
	w, err := unwrap(name, f, size, r.Architecture, item)
	c.Wrappers, c.Compression = w.names, w.compression
	if err != nil {
		return c, err
	}
	in := io.NewSectionReader(w.r, w.extent.offset, w.extent.size)
	s, err := readSlice(name, in, 0, w.extent.size, item)
	if err != nil {
		return c, err
	}
	c.Architecture, c.UUID, c.Type = s.Architecture, s.UUID, s.Type
	rd := &collectionReading{collectionReader: r, c: &c, name: name, in: in, slice: s, report: report, item: item}
	if err := rd.all(); err != nil {
		return c, err
	}
	if err := w.verify(name); err != nil {
		c.Members = nil
		return c, err
	}
	rd.memberUUIDs()
	return c, nil
}

func kindByName(name string) string {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(base, "BootKernelExtensions"), strings.HasPrefix(base, "BaseSystemKernelExtensions"):
		return KindBoot
	case strings.HasPrefix(base, "SystemKernelExtensions"):
		return KindSystem
	case strings.HasPrefix(base, "AuxiliaryKernelExtensions"):
		return KindAuxiliary
	case strings.HasPrefix(base, "kernelcache"):
		return KindCache
	case strings.HasPrefix(base, "prelinkedkernel"), strings.HasPrefix(base, "immutablekernel"):
		return KindPrelinked
	}
	return ""
}

// A collectionReading is one reading of one collection.
type collectionReading struct {
	collectionReader
	c      *collection
	name   string
	in     *io.SectionReader
	slice  Slice
	report *fact.Report
	item   *fact.Item       // of the file
	uuids  map[string]Slice // headers of the fileset's members, by bundle id
	codes  map[int]uint64   // where the code of members without an entry is, by their index
}

func (r *collectionReading) all() error {
	_, receipt := r.slice.section("__RECEIPT_INFO", "__aux_kc_receipt")
	info, ok := r.slice.section("__PRELINK_INFO", "__info")
	if !ok {
		return machoError(r.name, "__PRELINK_INFO", 0, "no such section: it is not a kernel collection")
	}
	if info.size > maxPrelinkInfo {
		return &fact.ParseError{Source: r.name, Field: "__PRELINK_INFO",
			Reason: fmt.Sprintf("%d bytes", info.size), Err: fact.ErrTooLarge}
	}
	if info.offset < 0 || info.size < 0 || info.offset > r.slice.size || info.size > r.slice.size-info.offset {
		return machoError(r.name, "__PRELINK_INFO", info.offset, "%d bytes reach beyond the file", info.size)
	}
	r.entryHeaders()
	xml := &untilNUL{r: io.NewSectionReader(r.in, r.slice.offset+info.offset, info.size)}
	if err := r.prelinkInfo(newDialect(r.name, bufio.NewReader(xml), limit.PlistNodes)); err != nil {
		return err
	}
	if r.c.Kind == "" && receipt {
		r.c.Kind = KindAuxiliary
	}
	if r.c.Kind == KindAuxiliary {
		r.c.Receipt = fact.TriOf(receipt)
	}
	return nil
}

// entryHeaders reads the header of every Mach-O in a fileset, for its UUID.
func (r *collectionReading) entryHeaders() {
	r.uuids = make(map[string]Slice, len(r.slice.entries))
	last := int64(-1) // the offset of the header that s and err are of
	var s Slice
	var err error
	for _, e := range slices.SortedStableFunc(slices.Values(r.slice.entries), func(a, b filesetEntry) int {
		return cmp.Compare(a.offset, b.offset) // a compressed collection is read forwards
	}) {
		if e.offset < 0 || e.offset >= r.slice.size {
			r.lose(e.id, "uuid", machoError(r.name, "fileset entry", e.offset, "outside the file"))
			continue
		}
		if e.offset != last { // several entries may be one image
			s, err = readSlice(r.name, r.in, r.slice.offset+e.offset, r.slice.size-e.offset, r.item)
			s.segments, s.entries = nil, nil // their offsets count from the collection's start, and nothing needs them
			last = e.offset
		}
		if err != nil {
			r.lose(e.id, "uuid", err)
			continue
		}
		r.uuids[e.id] = s
		if e.id == "com.apple.kernel" && r.c.UUID == "" {
			r.c.UUID = s.UUID
		}
	}
}

func (r *collectionReading) lose(subject, field string, err error) {
	r.report.Problem(SourceCollections, subject, field, err)
}

// untilNUL ends at the first NUL byte: the section is padded with them.
type untilNUL struct {
	r    io.Reader
	done bool
}

func (u *untilNUL) Read(p []byte) (int, error) {
	if u.done {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if i := bytes.IndexByte(p[:n], 0); i >= 0 {
		u.done = true
		return i, nil
	}
	return n, err
}

// prelinkInfo reads the property list: a dictionary, or in old caches the bare array of kexts.
func (r *collectionReading) prelinkInfo(d *dialect) error {
	t, err := d.top()
	if err != nil {
		return err
	}
	if string(t.Name) == "array" {
		return r.members(d, t)
	}
	if string(t.Name) != "dict" {
		return d.malformed(t, "%q at the top", t.Name)
	}
	for t.Kind != limit.XMLEmpty {
		key, more, err := d.key()
		if err != nil || !more {
			return err
		}
		t, err := d.element()
		if err != nil {
			return err
		}
		if key == "_PrelinkInfoDictionary" && string(t.Name) == "array" && t.IDRef == "" {
			if err := r.members(d, t); err != nil {
				return err
			}
			continue
		}
		if t.Kind == limit.XMLClose {
			return d.malformed(t, "key %q without a value", key)
		}
		if err := r.identity(d, key, t); err != nil {
			return err
		}
	}
	return nil
}

// identity takes the ids of the collection, and skips other keys.
func (r *collectionReading) identity(d *dialect, key string, t limit.XMLToken) error {
	var to *string
	switch key {
	case "_PrelinkKCID":
		to = &r.c.ID
	case "_BootKCID":
		to = &r.c.BootID
	case "_PageableKCID":
		to = &r.c.SystemID
	default:
		return d.skipAny(t)
	}
	n, err := d.value(t, nil)
	if err != nil {
		return err
	}
	if *to = formatUUID(n.data); *to == "" {
		r.lose("", key, &fact.ParseError{Source: r.name, Field: key, Reason: "it is not a UUID of 16 bytes"})
	}
	return nil
}

// memberKeys are the properties of a member that are kept. Their variants for an architecture are
// kept too.
var memberKeys = []string{
	"AppleSecurityExtension", "CFBundleExecutable", "CFBundleGetInfoString", "CFBundleIdentifier", "CFBundleName",
	"CFBundlePackageType", "CFBundleShortVersionString", "CFBundleUEXTExecutable", "CFBundleVersion",
	"LSMinimumSystemVersion",
	"NSHumanReadableCopyright", "OSBundleAllowUserLoad", "OSBundleCompatibleVersion", "OSBundleIsInterface",
	"OSBundleLibraries", "OSBundleRequireExplicitLoad", "OSBundleRequired", "OSBundleSharedExecutableIdentifier",
	"OSBundleUsageDescription",
	"OSKernelResource", "_PrelinkBundlePath", "_PrelinkExecutableLoadAddr", "_PrelinkExecutableRelativePath",
	"_PrelinkExecutableSize", "_PrelinkExecutableSourceAddr", "_PrelinkInterfaceUUID",
}

func (r *collectionReading) wanted(key string) bool {
	if _, ok := slices.BinarySearch(memberKeys, key); ok {
		return true
	}
	base, arch, variant := strings.Cut(key, "_")
	if variant && arch == r.Architecture {
		key = base
	}
	if key == "IOKitPersonalities" {
		return r.Personalities
	}
	_, ok := slices.BinarySearch(memberKeys, key)
	return ok
}

func (r *collectionReading) members(d *dialect, t limit.XMLToken) error {
	for t.Kind != limit.XMLEmpty {
		t, err := d.element()
		if err != nil {
			return err
		}
		if t.Kind == limit.XMLClose {
			return nil
		}
		d.nodes = 0
		n, err := d.value(t, r.wanted)
		if err != nil {
			return err
		}
		if err := r.item.Keep(valueMemory * int64(d.nodes)); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if len(r.c.Members) == maxMembers {
			return &fact.ParseError{Source: r.name, Field: "_PrelinkInfoDictionary",
				Reason: fmt.Sprintf("more than %d kexts", maxMembers), Err: fact.ErrTooLarge}
		}
		r.add(n)
	}
	return nil
}

func (r *collectionReading) add(n node) {
	if n.kind != dictNode {
		r.lose("", "members", &fact.ParseError{Source: r.name, Field: "_PrelinkInfoDictionary",
			Reason: "a kext is " + n.kind.String()})
		return
	}
	l := &losses{r.report, SourceCollections, escape.UTF8(n.dict["CFBundleIdentifier"].str)}
	m := member{BundleInfo: infoOf(n, r.Architecture, l)}
	if m.Identifier == "" {
		r.lose("", "members", &fact.ParseError{Source: r.name, Field: "CFBundleIdentifier",
			Reason: "a kext without identifier"})
		return
	}
	m.Path = n.text("_PrelinkBundlePath", l)
	if rel := n.text("_PrelinkExecutableRelativePath", l); rel != "" && m.Path != "" {
		m.ExecutablePath = m.Path + "/" + rel
	}
	address, ok := n.integer("_PrelinkExecutableLoadAddr", l)
	if ok && address != noLoadAddress {
		m.LoadAddress = fact.Address(address)
		m.Size = n.count("_PrelinkExecutableSize", l)
	}
	m.UUID = formatUUID(n.bytes("_PrelinkInterfaceUUID", l))
	if s, ok := r.uuids[m.Identifier]; ok {
		m.UUID, m.SourceVersion = cmp.Or(s.UUID, m.UUID), s.SourceVersion
	} else if m.LoadAddress != 0 {
		if source, ok := n.integer("_PrelinkExecutableSourceAddr", l); ok {
			address = source
		}
		if r.codes == nil {
			r.codes = make(map[int]uint64)
		}
		r.codes[len(r.c.Members)] = address
	}
	r.c.Members = append(r.c.Members, m)
}

// collectionFiles are where kernel collections are.
var collectionFiles = []string{
	"System/Library/KernelCollections/BootKernelExtensions.kc",
	"System/Library/KernelCollections/SystemKernelExtensions.kc",
	"Library/KernelCollections/AuxiliaryKernelExtensions.kc",
	"System/Library/PrelinkedKernels/immutablekernel",
	"System/Library/PrelinkedKernels/prelinkedkernel",
	"Library/Apple/System/Library/PrelinkedKernels/prelinkedkernel",
	"System/Library/Caches/com.apple.kext.caches/Startup/kernelcache",
}

const (
	prebootFolder = "System/Volumes/Preboot" // VOLUME/boot/HASH/System/Library/Caches/com.apple.kernelcaches
	cachesFolder  = "System/Library/Caches/com.apple.kernelcaches"
)

// findCollections returns the kernel collections of a machine, as paths in its file system. Of the
// Preboot volume of an Apple silicon Mac, every boot object is looked at.
func findCollections(fsys fs.FS, r *fact.Report) []string {
	var found []string
	lose := func(name string, err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceCollections, "/"+name, "", err)
		}
	}
	for _, name := range collectionFiles {
		if _, err := fs.Stat(fsys, name); err == nil {
			found = append(found, name)
		} else {
			lose(name, err)
		}
	}
	list := func(dir string) []fs.DirEntry {
		entries, err := fs.ReadDir(fsys, dir)
		lose(dir, err)
		if len(entries) > 64 {
			lose(dir, fmt.Errorf("%w: more than 64 entries", fact.ErrTooLarge))
			entries = entries[:64]
		}
		return entries
	}
	for _, volume := range list(prebootFolder) {
		boot := path.Join(prebootFolder, volume.Name(), "boot")
		if !volume.IsDir() {
			continue
		}
		for _, object := range list(boot) {
			dir := path.Join(boot, object.Name(), cachesFolder)
			if !object.IsDir() {
				continue
			}
			for _, f := range list(dir) {
				if kindByName(f.Name()) != "" {
					found = append(found, path.Join(dir, f.Name()))
				}
			}
		}
	}
	return found
}

// markStale fills Stale of the auxiliary and system collections by the boot collection among all.
func markStale(all []collection) {
	var boot []string
	for _, c := range all {
		if (c.Kind == KindBoot || c.Kind == KindCache) && c.ID != "" {
			boot = append(boot, c.ID)
		}
	}
	for i := range all {
		c := &all[i]
		if c.BootID != "" && len(boot) > 0 && (c.Kind == KindAuxiliary || c.Kind == KindSystem) {
			c.Stale = fact.TriOf(!slices.Contains(boot, c.BootID))
		}
	}
}

// open reads the kernel collection name of a file system.
func (r collectionReader) open(fsys fs.FS, name string, report *fact.Report) (collection, error) {
	f, err := openFile(fsys, name, report.Budget)
	if err != nil {
		return collection{Path: "/" + escape.UTF8(name)}, err
	}
	defer f.Close()
	return r.read(name, f, f.size, f.item, report)
}
