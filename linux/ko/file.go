// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// A File is what a module file says of itself.
type File struct {
	// Path is where it was read, as given.
	Path string
	// Size is the file's length in bytes as stored.
	Size int64
	// ModTime is when the file was last changed.
	ModTime time.Time
	// Compression is the container: none, gzip, xz or zstd.
	Compression string
	// Name is the module's name as the kernel takes it from the file: "name" in .modinfo, else the name in struct
	// module, else as kmod derives it from the file's name. kmod itself uses the file's name alone.
	Name string
	// StructName is the name in the file's struct module, by which the kernel lists the module once it is loaded; empty
	// if the file has no such name, or the sections were not asked for. Only a file that somebody changed has another
	// Name.
	StructName string
	// Modinfo are the entries of .modinfo.
	Modinfo Modinfo
	// BuildID is the GNU build-id in lower-case hexadecimal; empty when the file has none.
	BuildID string
	// Signature is what the trailer says; nil if it was not read or does not exist.
	Signature *Signature
	// Verdict is the signature's status, and what it rests on; its Status is empty when nobody looked.
	Verdict Verdict
	// Symbols are the imported and exported symbols; nil when not asked for.
	Symbols *Symbols
	// Machine is the processor that the code is for, as ELF numbers them: 62 is x86-64, 183 is arm64.
	Machine uint16
	// Versions says whether the file has the section __versions, without which the kernel compares the whole version
	// magic; empty when the sections were not read.
	Versions fact.Tri
	// Trailing is how many bytes follow the compressed data. The kernel and zlib do not look at them; it is 0 when the
	// file was not read to its end.
	Trailing int64
	// SHA256 is the digest of the file as stored, in hexadecimal; empty when not asked for.
	SHA256 string
	// Whole says that the file was read to its end. The metadata of a compressed file are known
	// before that, see [Reader].
	Whole bool
}

// The names under which this package reports problems.
const (
	SourceFile = "module_file" // a module's file
	SourceKeys = "keys"        // the certificates to verify signatures against
)

// Options say what to read of a module file beyond its metadata.
type Options struct {
	// Signature reads the trailer and verifies it against Keys.
	Signature bool
	// Keys are the certificates to verify signatures against.
	Keys *Keys
	// Symbols reads the symbol tables.
	Symbols bool
	// Sections reads the section headers, also of a compressed file.
	Sections bool
	// Hash computes the digest of the file.
	Hash bool
	// MaxFile is the largest file in bytes, stored or decompressed; 0 means 512 MiB.
	MaxFile int64
	// Root is where the caller's file system is, put before the file's path in errors and problems;
	// empty leaves the path as it is.
	Root string
	// noPrefix makes it decode compressed files whole even when a prefix would do.
	noPrefix bool
}

func (o *Options) max() int64 {
	if o.MaxFile > 0 {
		return o.MaxFile
	}
	return limit.File
}

// errorAt returns an error about the file with its path as the caller knows it.
func (o *Options) errorAt(name string, err error) error {
	if o.Root == "" {
		return err
	}
	return fact.ErrorAt(o.Root, name, err)
}

// whole reports whether metadata alone is not enough.
func (o *Options) whole() bool { return o.Signature || o.Symbols || o.Sections || o.noPrefix }

// A Reader reads module files, one after another, with the same memory. It is not for
// concurrent use.
//
// Of a plain file it reads the headers, .modinfo and the build-id's note. A compressed file is
// decoded only until both were seen, when nothing that needs the whole was asked for: the section headers are at the
// end, so the two are found by their form, and whenever that is not conclusive the whole file is decoded. A file made
// to deceive could show a second, false .modinfo before the real one; reading signatures or symbols reads the section
// headers and does not fall for that.
type Reader struct {
	x      expander
	stored []byte // a compressed file as stored
	plain  fileSource
	image  elfImage
	head   [512]byte
	tail   [256]byte // of a file that is only glanced at
	report *fact.Report
	item   *fact.Item // of the file that is being decoded
	root   string     // of the file that is being read
	id     string     // of that file
}

// NewReader returns a reader.
func NewReader() *Reader { return new(Reader) }

// ReadFile reads the module file of that name in fsys. The error is about the file as a whole: it
// cannot be read, or is not a module. A field that was asked for and could not be read is a problem of
// SourceFile, with the module's name as its subject.
func (r *Reader) ReadFile(fsys fs.FS, name string, o Options, report *fact.Report) (File, error) {
	if err := report.Budget.Err(); err != nil {
		return File{Path: name}, o.errorAt(name, err)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return File{Path: name}, o.errorAt(name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{Path: name}, o.errorAt(name, err)
	}
	return r.readOpen(f, info, name, o, report)
}

// readOpen reads an open module file; name is for errors and for the module's name.
func (r *Reader) readOpen(f fs.File, info fs.FileInfo, name string, o Options, report *fact.Report) (File, error) {
	r.report, r.root = report, o.Root
	r.id = hostfs.FileID(nil, name, info)
	file, err := r.read(f, info, name, o)
	r.report, r.id = nil, ""
	return file, o.errorAt(name, err)
}

// lose reports a field that could not be read.
func (r *Reader) lose(file *File, field string, err error) {
	o := Options{Root: r.root}
	r.report.Problem(SourceFile, file.Name, field, o.errorAt(file.Path, err))
}

func (r *Reader) read(f fs.File, info fs.FileInfo, name string, o Options) (File, error) {
	file, err := describeFile(info, name, o.max())
	if err != nil {
		return file, err
	}
	at, seekable := f.(io.ReaderAt)
	if !seekable || o.whole() || o.Hash {
		r.stored, err = limit.AppendAll(f, r.stored[:0], name, o.max())
		if err != nil {
			return file, err
		}
		return r.decode(file, r.stored, o)
	}
	n, err := at.ReadAt(r.head[:], 0)
	if err != nil && err != io.EOF {
		return file, err
	}
	if CompressionOf(r.head[:n]) != CompressionNone {
		whole := sized{io.NewSectionReader(at, 0, o.max()+1), file.Size}
		r.stored, err = limit.AppendAll(whole, r.stored[:0], name, o.max())
		if err != nil {
			return file, err
		}
		return r.decode(file, r.stored, o)
	}
	file.Compression = CompressionNone
	r.plain = fileSource{r: at, length: file.Size, head: r.head[:n], window: r.plain.window[:0]}
	err = r.metadata(&file, &r.plain)
	r.trim()
	if cap(r.plain.window) > maxModinfo {
		r.plain.window = nil
	}
	return file, err
}

// A sized reader knows how long its file says that it is.
type sized struct {
	io.Reader
	size int64
}

func (s sized) Size() int64 { return s.size }

// Decode reads a module file that is in memory. Problems and the error are those of ReadFile.
func (r *Reader) Decode(data []byte, name string, o Options, report *fact.Report) (File, error) {
	r.report, r.root = report, o.Root
	file, err := r.decode(File{Path: name, Size: int64(len(data))}, data, o)
	r.report = nil
	return file, o.errorAt(name, err)
}

// steps returns how many steps it takes to read n bytes of a file, and to make the digests that were asked for.
func (o Options) steps(n int) int64 {
	steps := int64(n)
	if o.Hash {
		steps += 4 * int64(n)
	}
	if o.Signature {
		steps += 4 * int64(n)
	}
	return steps
}

func (r *Reader) decode(file File, data []byte, o Options) (File, error) {
	defer r.trim()
	var budget *fact.Budget
	if r.report != nil {
		budget = r.report.Budget
	}
	r.item = budget.File(cmp.Or(r.id, file.Path), int64(len(data)))
	defer func() { r.item.Done(); r.item = nil }()
	if err := r.item.Work(o.steps(len(data))); err != nil {
		return file, err
	}
	if o.Hash {
		sum := sha256.Sum256(data)
		file.SHA256 = hex.EncodeToString(sum[:])
	}
	file.Compression = CompressionOf(data)
	if file.Compression == CompressionNone {
		return r.finish(file, data, o)
	}
	if err := r.x.open(file.Compression, data, file.Path, o.max(), r.item); err != nil {
		return file, err
	}
	if !o.whole() {
		done, err := r.prefix(&file, o.max())
		if done || err != nil {
			return file, err
		}
		if r.x.off > 0 {
			if err := r.x.start(); err != nil {
				return file, err
			}
		}
	}
	if err := r.expand(&file, o); err != nil {
		return file, err
	}
	return r.finish(file, r.x.out, o)
}

// expand decodes a compressed file as far as is needed: all of it, or for metadata alone up to the
// end of its section headers. One whose headers cannot be within the limit is not decoded at all.
func (r *Reader) expand(file *File, o Options) error {
	if err := r.x.more(64); err != nil {
		return err
	}
	end, ok := sectionsEnd(r.x.out)
	if ok && end > o.max() {
		return &fact.ParseError{Source: file.Path, Field: "sections",
			Reason: fmt.Sprintf("end at byte %d, limit %d", end, o.max()), Err: fact.ErrTooLarge}
	}
	if !o.whole() {
		if ok {
			for int64(len(r.x.out)) < end && !r.x.done {
				if err := r.x.more(int(min(end-int64(len(r.x.out)), 4<<20))); err != nil {
					return err
				}
			}
			return nil
		}
		if string(r.x.out[:min(4, len(r.x.out))]) != elfMagic {
			return nil // the caller finds out that it is not an ELF file
		}
	}
	return r.x.all()
}

// sectionsEnd returns the file offset of the end of the section headers, from the ELF header.
func sectionsEnd(head []byte) (int64, bool) {
	e := elfImage{src: memorySource(head)}
	shoff, entry, count, _, err := e.header()
	if err != nil || shoff <= 0 || count == 0 {
		return 0, false
	}
	return shoff + entry*int64(count), true
}

// finish reads a decompressed module, of which at least the metadata is in data.
func (r *Reader) finish(file File, data []byte, o Options) (File, error) {
	file.Whole = file.Compression == CompressionNone || r.x.done
	if r.x.done && file.Compression == CompressionGzip {
		file.Trailing = int64(r.x.src.Len())
	}
	src := memorySource(data)
	if err := r.metadata(&file, src); err != nil {
		return file, err
	}
	if o.Sections {
		file.StructName = r.image.structName()
	}
	if file.Trailing > 0 {
		r.lose(&file, "compression", &fact.ParseError{Source: file.Path, Field: "compression", Reason: fmt.Sprintf(
			"%d bytes after the compressed data, which nothing reads: a signature there does not sign the module",
			file.Trailing)})
	}
	if o.Signature {
		r.signature(&file, data, o)
	}
	if o.Symbols {
		symbols, err := readSymbols(src, file.Path)
		if err != nil {
			r.lose(&file, "symbols", err)
		}
		file.Symbols = symbols
	}
	return file, nil
}

// metadata reads .modinfo and the build-id through the section headers.
func (r *Reader) metadata(file *File, src byteSource) error {
	e := &r.image
	if err := e.open(src, file.Path); err != nil {
		return err
	}
	file.Machine, file.Versions = e.machine, fact.TriOf(e.find("__versions") != nil)
	info := e.find(".modinfo")
	if info == nil {
		return e.bad("modinfo", 0, "no .modinfo section: not a kernel module")
	}
	b, err := e.data(info, "modinfo", maxModinfo)
	if err != nil {
		return err
	}
	r.setModinfo(file, b)
	if !namesModule(b) {
		file.Name = cmp.Or(e.structName(), file.Name)
	}
	if file.BuildID, err = e.buildID(); err != nil {
		r.lose(file, "contentId", err)
	}
	return nil
}

// setModinfo takes what .modinfo says.
func (r *Reader) setModinfo(f *File, section []byte) {
	f.Modinfo = ParseModinfo(section)
	f.Name = strings.ReplaceAll(f.Modinfo.Get("name"), "-", "_")
	if f.Name == "" {
		f.Name = escape.UTF8(NameOfFile(f.Path))
	}
	for _, e := range f.Modinfo {
		if e.Key == "firmware" && !SensibleFirmware(e.Value) {
			r.lose(f, "firmware", &fact.ParseError{Source: f.Path, Field: "firmware", Err: fact.ErrTooLarge,
				Reason: fmt.Sprintf("a name of %d bytes and %d elements is not looked for",
					len(e.Value), strings.Count(e.Value, "/")+1)})
			break
		}
	}
}

func (r *Reader) signature(file *File, data []byte, o Options) {
	sig, verdict, err := readSignature(data, o.Keys, r.item)
	if err != nil {
		r.lose(file, "signature", named(err, file.Path))
	}
	file.Signature, file.Verdict = sig, verdict
}

// named fills in the file's path in an error that was made without it.
func named(err error, path string) error {
	var pe *fact.ParseError
	if errors.As(err, &pe) && pe.Source == "" {
		c := *pe
		c.Source = path
		return &c
	}
	return err
}

// trim gives back memory that one large file took.
func (r *Reader) trim() {
	r.x.close()
	if cap(r.image.sections) > 1<<12 {
		r.image = elfImage{}
	}
	r.image.src = nil
	if cap(r.stored) > maxReused {
		r.stored = nil
	}
}

// ReleaseOf returns the kernel release that a vermagic names, its first word.
func ReleaseOf(vermagic string) string {
	release, _, _ := strings.Cut(vermagic, " ")
	return release
}

// IsModuleFile reports whether the name is that of a module file.
func IsModuleFile(name string) bool { return Suffix(path.Base(name)) != "" }

// IsModule reports whether a file that begins so may be a module: an ELF object, or a container of
// one of the kinds that modules come in.
func IsModule(head []byte) bool {
	return CompressionOf(head) != CompressionNone || strings.HasPrefix(string(head[:min(len(head), 4)]), elfMagic)
}

// moduleSuffixes are the file name endings that make a file a module, longest first.
var moduleSuffixes = [...]string{".ko.zst", ".ko.xz", ".ko.gz", ".ko"}

// Suffix returns the ending of a module's file name, "" for any other file.
func Suffix(file string) string {
	for _, s := range moduleSuffixes {
		if strings.HasSuffix(file, s) && len(file) > len(s) {
			return s
		}
	}
	return ""
}

// NameOfFile returns the module name that kmod derives from a file's name: the base name up to its
// first dot, with '-' written '_'. The name in the file itself (modinfo "name") may differ.
func NameOfFile(file string) string {
	base := path.Base(file)
	if i := strings.IndexByte(base, '.'); i >= 0 {
		base = base[:i]
	}
	return strings.ReplaceAll(base, "-", "_")
}
