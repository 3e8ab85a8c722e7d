// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bufio"
	"bytes"
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
	"github.com/kernelext/kernelext/internal/limit"
)

// An Initramfs is what an initial file system holds that bears on modules.
type Initramfs struct {
	// File is where it was read.
	File string
	// Modules are the module files in it, as paths below its root.
	Modules []string
	// Config is its own configuration of modprobe.
	Config *Config
	// Lists are the modules that it is told to load: conf/modules, modules-load.d.
	Lists []Setting
}

// Caps of an initial file system.
const (
	maxInitramfs      = 512 << 20 // bytes of the file
	maxInitramfsPlain = 4 << 30   // bytes of what is in it, none of which is kept
	maxInitramfsFiles = 1 << 18
	maxCpioName       = 4096
	cpioHeader        = 110
)

// initramfsFiles are the names of a release's initial file system.
func initramfsFiles(release string) []string {
	return []string{"boot/initrd.img-" + release, "boot/initramfs-" + release + ".img", "boot/initrd-" + release, "boot/initramfs-" + release,
		"usr/lib/modules/" + release + "/initramfs.img", "lib/modules/" + release + "/initrd"}
}

// ReadInitramfs reads the initial file system of a release. The error is fs.ErrNotExist when there
// is none in the usual places, and errors.ErrUnsupported for a compression other than gzip, xz and
// zstd.
func ReadInitramfs(fsys fs.FS, release string) (*Initramfs, error) {
	for _, name := range initramfsFiles(release) {
		if release == "" || !fs.ValidPath(name) {
			continue
		}
		data, err := limit.ReadFile(fsys, name, maxInitramfs)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return ParseInitramfs(data, name)
	}
	return nil, &fs.PathError{Op: "open", Path: "boot/initrd.img-" + release, Err: fs.ErrNotExist}
}

// ParseInitramfs reads an initial file system: archives in cpio's "newc" form one behind the other,
// of which the last, or the only one, may be compressed.
func ParseInitramfs(data []byte, name string) (*Initramfs, error) {
	r := &initramfsReader{source: name, configs: make(map[string][]byte)}
	for {
		data = bytes.TrimLeft(data, "\x00")
		if len(data) == 0 {
			break
		}
		var stream io.Reader
		plain := bytes.NewReader(data)
		x := new(expander)
		switch compression := CompressionOf(data); {
		case bytes.HasPrefix(data, []byte("07070")):
			stream = plain
		case compression == CompressionNone:
			return nil, fmt.Errorf("/%s: compression not known: %w", name, errors.ErrUnsupported)
		default:
			if err := x.open(compression, data, name, maxInitramfsPlain); err != nil {
				return nil, err
			}
			stream = x.from
		}
		in := bufio.NewReader(&io.LimitedReader{R: stream, N: maxInitramfsPlain})
		err := r.archive(in)
		if err != nil {
			return nil, x.fail(err)
		}
		if stream != io.Reader(plain) {
			break // nothing follows what is compressed
		}
		data = data[len(data)-plain.Len()-in.Buffered():]
	}
	return r.result(), nil
}

type initramfsReader struct {
	source  string
	files   int
	modules []string
	configs map[string][]byte
	lists   []Setting
}

// archive reads one archive up to its trailer.
func (r *initramfsReader) archive(in *bufio.Reader) error {
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
	const typeMask, regular = 0o170000, 0o100000
	if mode&typeMask != regular {
		_, err := io.CopyN(io.Discard, in, size)
		return err
	}
	if IsModuleFile(name) && strings.Contains(name, "lib/modules/") {
		r.modules = append(r.modules, escape.UTF8(name))
	}
	config := slices.Contains(ConfigDirs, path.Dir(name)) && strings.HasSuffix(name, ".conf")
	list := name == "conf/modules" || name == "etc/modules" || slices.Contains(modulesLoadDirs, path.Dir(name))
	if !config && !list || size > maxConfigFile {
		_, err := io.CopyN(io.Discard, in, size)
		return err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return err
	}
	if config {
		r.configs[name] = text
		return nil
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		module, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if module != "" && module[0] != '#' && len(r.lists) < maxSteps {
			r.lists = append(r.lists, Setting{Name: escape.UTF8(module), File: name, Line: n})
		}
	}
	return nil
}

// result parses the configuration in modprobe's order: by base name, the first directory first.
func (r *initramfsReader) result() *Initramfs {
	var files []string
	seen := make(map[string]bool)
	for _, dir := range ConfigDirs {
		for name := range r.configs {
			if path.Dir(name) == dir && !seen[path.Base(name)] {
				files = append(files, name)
			}
		}
		for _, name := range files {
			seen[path.Base(name)] = true
		}
	}
	sortByBase(files)
	config := new(Config)
	for _, name := range files {
		config.Parse(r.configs[name], name)
	}
	return &Initramfs{File: r.source, Modules: r.modules, Config: config, Lists: r.lists}
}

// Copy says what the initial file system does with a module: nil when it has no copy, or its own
// install line keeps the copy out.
func (i *Initramfs) Copy(module string) []fact.Reason {
	at := slices.IndexFunc(i.Modules, func(file string) bool { return NameOfFile(file) == module })
	if at < 0 {
		return nil
	}
	if d := i.Config.install(module); d != nil {
		switch EffectOf(d.Value, module) {
		case CommandFails, CommandNothing:
			return nil
		}
	}
	text := "a copy in /" + i.File + " (" + i.Modules[at] + "), whose own modprobe.d does not stop it"
	for _, s := range i.Lists {
		if sameModule(s.Name, module) {
			text += "; " + s.File + " there loads it at boot"
			break
		}
	}
	return []fact.Reason{{Code: ReasonInitramfs, Text: escape.Text(text), File: "/" + i.File}}
}
