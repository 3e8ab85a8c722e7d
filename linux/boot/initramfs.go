// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bufio"
	"bytes"
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
	// Config is its own configuration of modprobe.
	Config *modprobe.Config
	// Lists are the modules that it is told to load: conf/modules, modules-load.d.
	Lists []modprobe.Setting
	// NoInstall is set when its modprobe is busybox's or toybox's, which knows no install lines.
	NoInstall bool
}

// Caps of an initial file system.
const (
	maxInitramfs        = 512 << 20 // bytes of the file
	maxInitramfsPlain   = 4 << 30   // bytes of what is in it, none of which is kept
	maxInitramfsFiles   = 1 << 18
	maxCpioName         = 4096
	maxInitramfsConfig  = 4 << 20 // bytes of one configuration file or list
	maxInitramfsConfigs = 4096
	maxInitramfsLists   = 10000 // lines of lists
	cpioHeader          = 110
	stringSize          = 16 // memory of a string beside its bytes
	configSize          = 64 // memory of a place in a map
)

// initramfsFiles are the names of a release's initial file system.
func initramfsFiles(release string) []string {
	return []string{"boot/initrd.img-" + release, "boot/initramfs-" + release + ".img", "boot/initrd-" + release,
		"boot/initramfs-" + release,
		"usr/lib/modules/" + release + "/initramfs.img", "usr/lib/modules/" + release + "/initrd",
		"lib/modules/" + release + "/initrd"}
}

// InitramfsSets returns the initial file systems of a release: the files that each boot entry names,
// and those that stand in the usual places. Problems of SourceInitramfs say which of the first are not
// there, or that nothing tells whether there is one.
func InitramfsSets(fsys fs.FS, boot *Setup, release string, r *fact.Report) (sets [][]string) {
	before := r.Count(SourceInitramfs)
	add := func(names []string) {
		if len(names) > 0 && !slices.ContainsFunc(sets, func(s []string) bool { return slices.Equal(s, names) }) {
			sets = append(sets, names)
		}
	}
	told := false
	for _, e := range boot.For(release) {
		names, missing := e.initrdFiles(fsys)
		told = told || !e.bare
		add(names)
		for _, name := range missing {
			lose(r, fmt.Errorf("/%s names the initial file system %s, which is not there: %w",
				e.File, escape.Text(name), fs.ErrNotExist))
		}
	}
	for _, name := range initramfsFiles(release) {
		if release == "" || !fs.ValidPath(name) ||
			slices.ContainsFunc(sets, func(s []string) bool { return slices.Contains(s, name) }) {
			continue
		}
		if _, err := fs.Stat(fsys, name); err == nil {
			add([]string{name})
		} else if !errors.Is(err, fs.ErrNotExist) {
			lose(r, err)
		}
	}
	if len(sets) == 0 && r.Count(SourceInitramfs) == before && !told {
		lose(r, fmt.Errorf("no initial file system in /boot, and no boot entry that tells whether there is one: %w",
			fs.ErrNotExist))
	}
	return sets
}

// lose reports modules of an initial file system that are not known.
func lose(r *fact.Report, err error) { r.Problem(SourceInitramfs, "", "modules", err) }

// ReadInitramfs reads the files of one initial file system. What is in it, or follows the archives that
// were read, and could not be read is a problem of SourceInitramfs. The error is errors.ErrUnsupported for
// a compression other than gzip, xz, zstd, lz4 and bzip2.
func ReadInitramfs(fsys fs.FS, names []string, report *fact.Report) (*Initramfs, error) {
	r := newInitramfsReader(names, report)
	for _, name := range names {
		data, err := readInitrd(fsys, name)
		if err != nil {
			return nil, err
		}
		info, _ := fs.Stat(fsys, name)
		r.item = report.Budget.File(hostfs.FileID(fsys, name, info), int64(len(data)))
		if err := r.parse(data, name); err != nil {
			return nil, err
		}
	}
	return r.result(), nil
}

// readInitrd reads the bytes of one file: of a unified kernel image, its section .initrd.
func readInitrd(fsys fs.FS, name string) ([]byte, error) {
	if !strings.HasSuffix(strings.ToLower(name), ".efi") {
		return limit.ReadFile(fsys, name, maxInitramfs)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return peSection(f, name, ".initrd", maxInitramfs)
}

// ParseInitramfs reads an initial file system: archives in cpio's "newc" form one behind the other,
// each of which may be compressed. Problems and the error are those of ReadInitramfs.
func ParseInitramfs(data []byte, name string, report *fact.Report) (*Initramfs, error) {
	r := newInitramfsReader([]string{name}, report)
	r.item = report.Budget.Item(int64(len(data)))
	if err := r.parse(data, name); err != nil {
		return nil, err
	}
	return r.result(), nil
}

func newInitramfsReader(names []string, report *fact.Report) *initramfsReader {
	return &initramfsReader{names: names, report: report, configs: make(map[string][]byte), left: maxInitramfsPlain}
}

// parse goes through the archives of one file. What follows the first archive and makes no sense is
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
// returns what follows. Behind a compression whose end is not told apart nothing is returned.
func (r *initramfsReader) segment(data []byte) (rest []byte, err error) {
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

// stream reads the archives of a decompressed stream, with zeros between them. Zeros behind what is
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

// skipZeros passes zeros, up to a byte that is none.
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
	configs map[string][]byte
	lists   []modprobe.Setting

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
			return malformed(r.source, "is no archive in cpio's newc form")
		}
		size, sizeErr := strconv.ParseUint(string(head[54:62]), 16, 32)
		length, lengthErr := strconv.ParseUint(string(head[94:102]), 16, 32)
		mode, modeErr := strconv.ParseUint(string(head[14:22]), 16, 32)
		if sizeErr != nil || lengthErr != nil || modeErr != nil || length == 0 || length > maxCpioName {
			return malformed(r.source, "has a header that makes no sense")
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

// file keeps what bears on modules, and skips the rest.
func (r *initramfsReader) file(in io.Reader, name string, mode uint64, size int64) error {
	const typeMask, regular, link = 0o170000, 0o100000, 0o120000
	if slices.Contains(binDirs, path.Dir(name)) {
		return r.program(in, name, mode&typeMask == link, size)
	}
	if mode&typeMask == regular && isPackedRoot(name) {
		lose(r.report, fmt.Errorf("/%s: %s in it is a file system, which is not read: %w",
			r.source, escape.Text(name), errors.ErrUnsupported))
	}
	isConfig := slices.Contains(modprobe.ConfigDirs, path.Dir(name)) && strings.HasSuffix(name, ".conf")
	if mode&typeMask != regular {
		if isConfig && mode&typeMask == link { // hides others of its name; where it leads is not followed
			if err := r.config(name, nil); err != nil {
				return err
			}
		}
		_, err := io.CopyN(io.Discard, in, size)
		return err
	}
	if ko.IsModuleFile(name) && strings.Contains(name, "lib/modules/") {
		if err := r.item.Keep(int64(len(name)) + stringSize); err != nil {
			return err
		}
		r.modules = append(r.modules, escape.UTF8(name))
	}
	list := name == "conf/modules" || name == "etc/modules" || slices.Contains(modprobe.LoadListDirs, path.Dir(name))
	if !isConfig && !list || size > maxInitramfsConfig || len(r.configs) >= maxInitramfsConfigs {
		if isConfig { // not read: it hides others all the same
			if err := r.config(name, nil); err != nil {
				return err
			}
		}
		_, err := io.CopyN(io.Discard, in, size)
		return err
	}
	if err := r.item.Keep(size); err != nil {
		return err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return err
	}
	if isConfig {
		return r.config(name, text)
	}
	r.list(name, string(text))
	return nil
}

// config keeps a configuration file.
func (r *initramfsReader) config(name string, text []byte) error {
	if err := r.item.Keep(int64(len(name)) + stringSize + configSize); err != nil {
		return err
	}
	r.configs[name] = text
	return nil
}

// list keeps the lines of a list of modules.
func (r *initramfsReader) list(name, text string) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		module, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if module != "" && module[0] != '#' && len(r.lists) < maxInitramfsLists {
			r.lists = append(r.lists, modprobe.Setting{Name: escape.UTF8(module), File: name, Line: n})
		}
	}
}

// binDirs hold an initial file system's programs.
var binDirs = []string{"sbin", "usr/sbin", "bin", "usr/bin"}

// program notes what serves as modprobe. Scripts make busybox's links only when they run, so where there
// is no modprobe, busybox is it.
func (r *initramfsReader) program(in io.Reader, name string, link bool, size int64) error {
	target := make([]byte, 0)
	if link && size <= maxCpioName {
		target = make([]byte, size)
		if _, err := io.ReadFull(in, target); err != nil {
			return err
		}
		size = 0
	}
	switch base := path.Base(name); {
	case base == "busybox" || base == "toybox":
		r.busybox = true
	case base == "kmod":
		r.kmod = true
	case base == "modprobe":
		to := path.Base(strings.TrimRight(string(target), "\x00"))
		r.linked = r.linked || to == "busybox" || to == "toybox"
		r.modprobe = true
	}
	_, err := io.CopyN(io.Discard, in, size)
	return err
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
	return &Initramfs{Files: r.names, Modules: r.modules, Config: modprobe.ConfigOf(r.configs, r.item), Lists: r.lists,
		NoInstall: r.linked || r.busybox && !r.kmod && !r.modprobe}
}
