// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// An Initramfs is what an initial file system holds that bears on modules.
type Initramfs struct {
	// Files are the files that it was read from: those of one boot entry, which the kernel unpacks
	// one over the other.
	Files []string
	// Modules are the module files in it, as paths below its root.
	Modules []string
	// Lists are the modules that its files list for loading: conf/modules, modules-load.d.
	Lists []modprobe.Setting
	// NoInstall is set when its modprobe is busybox's or toybox's, which knows no install lines.
	NoInstall bool
	// Bootconfig is the text of the bootconfig after the last file, which may add words to the kernel's command line
	// ([BootconfigWords]); empty for none.
	Bootconfig string
	// FS is its root: the modules with their indexes, modprobe's configuration, and what leads to them. Opening
	// a module's file reads Files again.
	FS fs.FS
}

// Caps of an initial file system.
const (
	maxInitramfs      = 512 << 20 // bytes of the file
	maxInitramfsPlain = 4 << 30   // bytes of what is in it, little of which is kept
	maxInitramfsFiles = 1 << 18
	maxCpioName       = 4096
	maxInitramfsText  = 16 << 20 // bytes of one index, configuration file or list
	cpioHeader        = 110
	segmentWork       = 16 << 10 // steps that beginning an archive takes beside its content
	stringSize        = 16       // memory of a string beside its bytes
	nodeSize          = 256      // memory of a file in the root beside its text
)

// lose reports modules of an initial file system that are not known.
func lose(r *fact.Report, err error) { r.Problem(SourceInitramfs, "", "modules", err) }

// ReadInitramfs reads the files of one initial file system. Content that could not be read, also after the archives
// that were read, is a problem of SourceInitramfs. The error matches errors.ErrUnsupported for a compression other than
// gzip, xz, zstd, lz4 and bzip2.
func ReadInitramfs(fsys fs.FS, names []string, report *fact.Report) (*Initramfs, error) {
	r := newInitramfsReader(names, report)
	r.again = func(inner string) ([]byte, error) { return moduleOfInitramfs(fsys, names, inner) }
	config := ""
	for i, name := range names {
		data, err := readInitrd(fsys, name)
		if err != nil {
			return nil, err
		}
		if i == len(names)-1 {
			data, config = cutBootconfig(data)
		}
		info, _ := fs.Stat(fsys, name)
		r.item = report.Budget.File(hostfs.FileID(fsys, name, info), int64(len(data)))
		if err := r.parse(data, name); err != nil {
			return nil, err
		}
	}
	i := r.result()
	i.Bootconfig = config
	report.Append(r.report)
	return i, nil
}

// moduleOfInitramfs reads one file of an initial file system, whose archives are gone through again.
func moduleOfInitramfs(fsys fs.FS, names []string, inner string) ([]byte, error) {
	report := &fact.Report{Budget: fact.NewBudget(0)} // of a later call
	r := newInitramfsReader(names, report)
	r.wanted = inner
	for i, name := range names {
		data, err := readInitrd(fsys, name)
		if i == len(names)-1 {
			data, _ = cutBootconfig(data)
		}
		if err == nil {
			r.item = report.Budget.Item(int64(len(data)))
			err = r.parse(data, name)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.found == nil {
		return nil, fmt.Errorf("%s: it is not in the initial file system any more: %w", inner, fs.ErrNotExist)
	}
	return r.found, nil
}

// readInitrd reads the bytes of one file: of a unified kernel image, its section .initrd. NixOS names every file of its
// boot partition so, as some firmware wants it.
func readInitrd(fsys fs.FS, name string) ([]byte, error) {
	if !strings.HasSuffix(strings.ToLower(name), ".efi") {
		return limit.ReadFile(fsys, name, maxInitramfs)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if r, ok := f.(io.ReaderAt); ok {
		var magic [2]byte
		if readAt(r, magic[:], 0) == nil && string(magic[:]) != "MZ" {
			return limit.ReadFile(fsys, name, maxInitramfs)
		}
	}
	return peSection(f, name, ".initrd", maxInitramfs)
}

// ParseInitramfs reads an initial file system: archives in cpio's "newc" form one after the other,
// each of which may be compressed. Problems and the error are those of ReadInitramfs. A bootconfig after them is no
// part of it.
func ParseInitramfs(data []byte, name string, report *fact.Report) (*Initramfs, error) {
	r := newInitramfsReader([]string{name}, report)
	r.item = report.Budget.Item(int64(len(data)))
	r.again = func(inner string) ([]byte, error) {
		later := &fact.Report{Budget: fact.NewBudget(0)} // of a later call
		wants := newInitramfsReader(r.names, later)
		wants.wanted, wants.item = inner, later.Budget.Item(int64(len(data)))
		err := wants.parse(data, name)
		return wants.found, err
	}
	if err := r.parse(data, name); err != nil {
		return nil, err
	}
	i := r.result()
	report.Append(r.report)
	return i, nil
}

func newInitramfsReader(names []string, report *fact.Report) *initramfsReader {
	return &initramfsReader{names: names, report: report.Part(), root: newRoot(), left: maxInitramfsPlain}
}

// parse goes through the archives of one file. What follows the first archive and is invalid is
// a problem, and ends the file.
func (r *initramfsReader) parse(data []byte, name string) error {
	r.source = name
	for first := true; ; first = false {
		data = bytes.TrimLeft(data, "\x00")
		if len(data) == 0 {
			return nil
		}
		rest, err := r.segment(data)
		switch {
		case err != nil && first:
			return err
		case err != nil:
			lose(r.report, fmt.Errorf("/%s: after the first archive: %w", name, err))
			return nil
		}
		data = rest
	}
}

// segment reads the archives that data begins with, which are plain or compressed in one way, and
// returns what follows. It returns nothing after a compression whose end cannot be found.
func (r *initramfsReader) segment(data []byte) (rest []byte, err error) {
	if err := r.item.Work(segmentWork); err != nil {
		return nil, err
	}
	plain := bytes.NewReader(data)
	switch {
	case bytes.HasPrefix(data, []byte("07070")):
		in := bufio.NewReader(plain)
		if err := r.archive(in); err != nil {
			return nil, r.fail(err)
		}
		return data[len(data)-plain.Len()-in.Buffered():], nil
	case bytes.HasPrefix(data, []byte(lz4Magic)):
		err = r.stream(newLZ4Reader(plain))
		return data[len(data)-plain.Len():], err
	case bytes.HasPrefix(data, []byte("BZh")):
		return nil, r.stream(bzip2.NewReader(plain))
	}
	switch compression := ko.CompressionOf(data); compression {
	case ko.CompressionNone:
		return nil, fmt.Errorf("/%s: compression not known: %w", r.source, errors.ErrUnsupported)
	case ko.CompressionGzip:
		z, err := gzip.NewReader(plain)
		if err != nil {
			return nil, r.fail(err)
		}
		z.Multistream(false)
		err = r.stream(z)
		return data[len(data)-plain.Len():], err
	default:
		in, err := ko.Decompress(compression, data, r.source, maxInitramfsPlain)
		if err != nil {
			return nil, err
		}
		return nil, r.stream(in)
	}
}

// stream reads the archives of a decompressed stream, with zeros between them. Zeros after what is
// compressed are padding.
func (r *initramfsReader) stream(from io.Reader) error {
	limited := &io.LimitedReader{R: workReader{from, r.item}, N: r.left}
	defer func() { r.left = limited.N }()
	in := bufio.NewReader(limited)
	for first := true; ; first = false {
		err := skipZeros(in)
		if err == nil {
			err = r.archive(in)
		}
		switch {
		case err == nil:
		case limited.N <= 0:
			return limit.TooLarge(r.source, maxInitramfsPlain)
		case err == io.EOF && !first:
			return nil
		default:
			return r.fail(err)
		}
	}
}

// A workReader counts what comes of a decoder as work.
type workReader struct {
	io.Reader
	item *fact.Item
}

func (r workReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if workErr := r.item.Work(int64(n)); workErr != nil {
		return n, workErr
	}
	return n, err
}

// skipZeros passes zeros, up to the first other byte.
func skipZeros(in *bufio.Reader) error {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return in.UnreadByte()
		}
	}
}

// fail makes the error of a decoder.
func (r *initramfsReader) fail(err error) error { return ko.CompressionError(err, r.source, 0) }

type initramfsReader struct {
	names   []string
	source  string
	left    int64 // how many more decompressed bytes are read
	report  *fact.Report
	item    *fact.Item // of the file
	files   int
	modules []string
	root    *root
	again   func(inner string) ([]byte, error) // reads the archives again for one file
	wanted  string                             // the one file to find; empty to read everything else
	found   []byte

	busybox, kmod, modprobe bool // there is such a program
	linked                  bool // modprobe is a link to busybox
}

// archive reads one archive up to its trailer.
func (r *initramfsReader) archive(in *bufio.Reader) (err error) {
	defer func() {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // only a trailer ends an archive
		}
	}()
	for {
		var head [cpioHeader]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		if m := string(head[:6]); m != "070701" && m != "070702" {
			return malformed(r.source, "is not an archive in cpio's newc form")
		}
		size, sizeErr := strconv.ParseUint(string(head[54:62]), 16, 32)
		length, lengthErr := strconv.ParseUint(string(head[94:102]), 16, 32)
		mode, modeErr := strconv.ParseUint(string(head[14:22]), 16, 32)
		if sizeErr != nil || lengthErr != nil || modeErr != nil || length == 0 || length > maxCpioName {
			return malformed(r.source, "has a header that is invalid")
		}
		if r.files++; r.files > maxInitramfsFiles {
			return malformed(r.source, "holds too many files")
		}
		name := make([]byte, length+pad(cpioHeader+length))
		if _, err := io.ReadFull(in, name); err != nil {
			return err
		}
		text := string(bytes.TrimRight(name, "\x00"))
		if text == "TRAILER!!!" {
			return nil
		}
		if err := r.file(in, cleanName(text), mode, int64(size)); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, in, int64(pad(size))); err != nil {
			return err
		}
	}
}

// pad is what is missing to a multiple of four.
func pad(n uint64) uint64 { return (4 - n%4) % 4 }

func cleanName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// The types of a file in its mode.
const typeMask, typeRegular, typeLink = 0o170000, 0o100000, 0o120000

// file keeps what bears on modules, and skips the rest.
func (r *initramfsReader) file(in io.Reader, name string, mode uint64, size int64) error {
	switch kind := mode & typeMask; {
	case r.wanted != "":
		return r.want(in, name, kind, size)
	case slices.Contains(binDirs, path.Dir(name)):
		return r.program(in, name, kind == typeLink, size)
	case kind == typeRegular && mode&0o111 != 0 && !ko.IsModuleFile(name) && !isText(name):
		return r.unread(in, name, &rootNode{mode: 0o555, size: size})
	case kind == typeLink && size <= maxCpioName:
		target, err := r.read(in, name, size)
		if err != nil {
			return err
		}
		return r.keep(name, &rootNode{mode: fs.ModeSymlink | 0o777, target: strings.TrimRight(string(target), "\x00")})
	case kind != typeRegular:
		return skip(in, size)
	}
	if isPackedRoot(name) {
		lose(r.report, fmt.Errorf("/%s: %s in it is a file system, which is not read: %w",
			r.source, escape.Text(name), errors.ErrUnsupported))
	}
	node := &rootNode{mode: 0o444, size: size}
	inModules := strings.Contains("/"+name, "/lib/modules/")
	switch {
	case ko.IsModuleFile(name) && inModules:
		return r.module(in, name, node)
	case !isText(name) && !(inModules && strings.HasPrefix(path.Base(name), "modules.")):
		return skip(in, size)
	case size > maxInitramfsText:
		node.load = func() ([]byte, error) { return nil, limit.TooLarge(name, maxInitramfsText) }
		if err := skip(in, size); err != nil {
			return err
		}
		return r.keep(name, node)
	}
	var err error
	if node.data, err = r.read(in, name, size); err != nil {
		return err
	}
	return r.keep(name, node)
}

// module keeps the name of a module's file.
func (r *initramfsReader) module(in io.Reader, name string, node *rootNode) error {
	if err := r.item.Keep(int64(len(name)) + stringSize); err != nil {
		return err
	}
	r.modules = append(r.modules, escape.UTF8(name))
	return r.unread(in, name, node)
}

// unread keeps a file whose content is read when somebody asks for it.
func (r *initramfsReader) unread(in io.Reader, name string, node *rootNode) error {
	node.load = func() ([]byte, error) { return r.again(name) }
	if err := skip(in, node.size); err != nil {
		return err
	}
	return r.keep(name, node)
}

// want reads the one file that is wanted; of several of its name, the last counts.
func (r *initramfsReader) want(in io.Reader, name string, kind uint64, size int64) error {
	if name != r.wanted || kind != typeRegular {
		return skip(in, size)
	}
	if size > limit.File {
		return limit.TooLarge(name, limit.File)
	}
	var err error
	r.found, err = limit.AppendAll(io.LimitReader(in, size), nil, name, size)
	if err == nil && int64(len(r.found)) < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// read reads a text that is kept.
func (r *initramfsReader) read(in io.Reader, name string, size int64) ([]byte, error) {
	if err := r.item.Keep(size + int64(len(name))); err != nil {
		return nil, err
	}
	text, err := limit.AppendAll(io.LimitReader(in, size), nil, name, size)
	if err == nil && int64(len(text)) < size {
		err = io.ErrUnexpectedEOF
	}
	return text, err
}

// keep adds a file or a link to the root.
func (r *initramfsReader) keep(name string, node *rootNode) error {
	if err := r.item.Keep(int64(len(name)) + nodeSize); err != nil {
		return err
	}
	made, work := r.root.made, r.root.work
	if !r.root.put(name, node) {
		return malformed(r.source, "holds too many files")
	}
	return cmp.Or(r.item.Keep(r.root.made-made), r.item.Work((r.root.work-work)/8))
}

// skip passes a file's content by.
func skip(in io.Reader, size int64) error {
	_, err := io.CopyN(io.Discard, in, size)
	return err
}

// isText reports whether a file is a part of modprobe's configuration, or a list of modules.
func isText(name string) bool {
	dir := path.Dir(name)
	return name == listFile || name == "etc/modules" || strings.HasSuffix(dir, "/modules-load.d") ||
		strings.HasSuffix(dir, "/modprobe.d")
}

// listFile is the list of modules of initramfs-tools.
const listFile = "conf/modules"

// binDirs hold an initial file system's programs.
var binDirs = []string{"sbin", "usr/sbin", "bin", "usr/bin"}

// program notes what serves as modprobe. Scripts make busybox's links only when they run, so where there
// is no modprobe, busybox is it.
func (r *initramfsReader) program(in io.Reader, name string, link bool, size int64) error {
	node := &rootNode{mode: 0o555, size: size}
	target := ""
	if link && size <= maxCpioName {
		b, err := r.read(in, name, size)
		if err != nil {
			return err
		}
		target = strings.TrimRight(string(b), "\x00")
		node.mode, node.target, node.size = fs.ModeSymlink|0o777, target, 0
	}
	switch base := path.Base(name); {
	case base == "busybox" || base == "toybox":
		r.busybox = true
	case base == "kmod":
		r.kmod = true
	case base == "modprobe":
		to := path.Base(target)
		r.linked = r.linked || to == "busybox" || to == "toybox"
		r.modprobe = true
	}
	if node.target != "" {
		return r.keep(name, node)
	}
	return r.unread(in, name, node)
}

// isPackedRoot reports whether a file of an initial file system is a file system itself, in which dracut
// packs the rest.
func isPackedRoot(name string) bool {
	switch name {
	case "squash-root.img", "squash/root.img", "squashfs-root.img", "erofs-root.img":
		return true
	}
	return false
}

// result returns what was found.
func (r *initramfsReader) result() *Initramfs {
	i := &Initramfs{Files: r.names, Modules: r.modules, FS: r.root,
		NoInstall: r.linked || r.busybox && !r.kmod && !r.modprobe}
	i.Lists = modprobe.ReadLoadLists(r.root, r.report)
	i.Lists = append(i.Lists, modprobe.ReadList(r.root, listFile, r.report)...)
	return i
}
