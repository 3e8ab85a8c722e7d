// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// The names under which this package reports problems.
const (
	SourceCmdline   = "cmdline"   // the files of boot loaders, which hold command lines
	SourceInitramfs = "initramfs" // the initial file systems
)

// An Entry is one way in which a boot loader would start a kernel: the content of a loader entry, a grub.cfg, a unified
// kernel image or a file of command-line words.
type Entry struct {
	// Title is the entry's name; empty when it has none.
	Title string
	// Release is the kernel release that it starts; empty if the entry does not say; it may then be any release.
	Release string
	// File is the file with its command line, as a path below the root.
	File string
	// Line is the command line's line, from 1; 0 for a file that is nothing else.
	Line int
	// Text is the command line.
	Text string
	// Words are the command line's words.
	Words []Word
	// Initrds are the initial file systems that the entry names, as paths of the boot loader, which
	// may start at another partition's root.
	Initrds []string
	// Unresolved are the boot loader's variables in it whose value is not known, such as
	// "$kernelopts": they may add any word.
	Unresolved []string

	initrdOpen []string // the boot loader's variables that may name more initial file systems

	unstated bool // its initial file systems were left out of a recording

	unified bool // it is a unified kernel image, which holds its initial file system

	doubtful bool // there are no modules of Release: it may be a name of our own release's kernel

	deployment    string // see Root
	deploymentErr error

	bare bool // it is only a command line: its initial file systems are unknown
}

// A Setup is how the machine's kernels would be started, as far as its boot loaders' files show it.
type Setup struct {
	// Entries are all entries of all loaders found.
	Entries []Entry
	// Fallback is set when no loader's entry was found, and Entries come from /etc/kernel/cmdline
	// or its like, from which entries are made.
	Fallback bool

	standard defaultEntry
}

// Caps for boot loaders' files.
const (
	maxBootEntries = 1000
	maxLoaderFile  = 1 << 20
)

// loaderDirs hold Boot Loader Specification entries, grubFiles and extlinuxFiles those loaders'
// configuration, imageDirs unified kernel images, and CmdlineFiles bare command lines, of which
// the first counts.
var (
	loaderDirs = []string{"boot/loader/entries", "boot/efi/loader/entries", "efi/loader/entries"}
	grubFiles  = []string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "boot/grub/custom.cfg",
		"boot/grub2/custom.cfg"}
	grubEFIDirs   = []string{"boot/efi/EFI", "efi/EFI", "boot/EFI"} // with a folder for each distribution
	grubEnvFiles  = []string{"boot/grub/grubenv", "boot/grub2/grubenv"}
	extlinuxFiles = []string{"boot/extlinux/extlinux.conf", "boot/extlinux.conf", "boot/syslinux/syslinux.cfg",
		"boot/syslinux/extlinux.conf"}
	imageDirs    = []string{"boot/efi/EFI/Linux", "efi/EFI/Linux", "boot/EFI/Linux"}
	bareFiles    = []string{"boot/firmware/cmdline.txt", "boot/cmdline.txt"}
	CmdlineFiles = []string{"etc/kernel/cmdline", "usr/lib/kernel/cmdline"}
)

// Read reads how the machine's kernels would be started. What is not there is left out: a
// Setup without entries says that the next boot's command line is not known. Files that could not be
// read or understood are problems of SourceCmdline, a root of modules that could not be listed is one of
// modprobe.SourceTree.
func Read(fsys fs.FS, report *fact.Report) *Setup {
	r := &bootReader{fsys: fsys, boot: new(Setup), report: report, releases: knownReleases(fsys, report), blscfg: -1}
	for _, name := range grubFiles { // first, because entries of the next kind use the variables that they set
		r.text(name, r.grub)
	}
	for _, dir := range grubEFIDirs {
		r.grubEFI(dir)
	}
	first := len(r.boot.Entries)
	for _, dir := range loaderDirs {
		from := len(r.boot.Entries)
		r.dir(dir, ".conf", r.loaderEntry)
		r.sortLoader(from)
	}
	r.placeLoader(first)
	for _, name := range extlinuxFiles {
		r.text(name, r.extlinux)
	}
	for _, dir := range imageDirs {
		r.dir(dir, ".efi", r.unifiedImage)
	}
	for _, name := range bareFiles {
		r.text(name, r.bare)
	}
	if len(r.boot.Entries) == 0 {
		for _, name := range CmdlineFiles {
			if len(r.boot.Entries) == 0 {
				r.text(name, r.bare)
			}
		}
		r.boot.Fallback = len(r.boot.Entries) > 0
	}
	r.settleUnset()
	r.readDeployments()
	r.readDefault()
	return r.boot
}

// For returns the entries that start, or may start, the release.
func (b *Setup) For(release string) []Entry {
	var entries []Entry
	for _, e := range b.Entries {
		if e.Release == "" || release == "" || e.Release == release {
			entries = append(entries, e)
		}
	}
	return entries
}

// Perhaps returns the entries whose kernel may be the release's under another name.
func (b *Setup) Perhaps(release string) []Entry {
	return slices.DeleteFunc(slices.Clone(b.Entries), func(e Entry) bool { return !e.doubtful || e.Release == release })
}

// ErrNoEntry says that no boot loader's file contains the next boot's command line.
var ErrNoEntry error = &sentinel.Error{
	Before: "no loader entry, grub.cfg, unified kernel image or /etc/kernel/cmdline",
	Cause:  fs.ErrNotExist,
}

type bootReader struct {
	fsys   fs.FS
	boot   *Setup
	report *fact.Report
	env    *grubEnv

	grubFiles []string // those that were read
	blscfg    int      // how many entries a grub.cfg has before those of loaderDirs; -1 for one that leaves them out
	lost      bool     // some file was not read, or not understood
	releases  []string // of which there are modules

	item   *fact.Item        // of the file that is being read
	addOns map[string]string // what the addons in a directory add to command lines
}

func (r *bootReader) lose(err error) {
	if !errors.Is(err, fs.ErrNotExist) && !fact.Lacks(err) {
		r.report.Problem(SourceCmdline, "", "", err)
		r.lost = true
	}
}

// add adds an entry and returns its index; -1 when there are too many, or they take too much memory.
func (r *bootReader) add(e Entry) int {
	const entrySize, wordSize = 256, 48
	cost := entrySize + len(e.Text) + wordSize*(len(e.Words)+len(e.Unresolved))
	if err := r.item.Keep(int64(cost)); err != nil {
		r.lose(&fact.ParseError{Source: e.File, Line: e.Line, Reason: err.Error(), Err: err})
		return -1
	}
	switch len(r.boot.Entries) {
	case maxBootEntries:
		return -1
	case maxBootEntries - 1:
		r.lose(&fact.ParseError{Source: e.File, Reason: fmt.Sprintf("more than %d boot entries", maxBootEntries-1),
			Err: fact.ErrTooLarge})
	}
	r.boot.Entries = append(r.boot.Entries, e)
	return len(r.boot.Entries) - 1
}

// dir calls read for each file of the directory whose name ends so.
func (r *bootReader) dir(dir, suffix string, read func(name string)) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		r.lose(err)
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(strings.ToLower(e.Name()), suffix) && !e.IsDir() {
			read(dir + "/" + e.Name())
		}
	}
}

// grubEFI reads the grub.cfg in each folder of an EFI system partition.
func (r *bootReader) grubEFI(dir string) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		r.lose(err)
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			r.text(dir+"/"+e.Name()+"/grub.cfg", r.grub)
		}
	}
}

// text calls read with the content of the file, if it is there.
func (r *bootReader) text(name string, read func(name, text string)) {
	text, err := limit.AppendFile(r.fsys, nil, name, maxLoaderFile)
	if err != nil {
		r.lose(err)
		return
	}
	item := r.report.Budget.Item(int64(len(text)))
	defer item.Done()
	defer func(outer *fact.Item) { r.item = outer }(r.item)
	r.item = item
	read(name, string(text))
}

// maxInitrds is how many initial file systems one entry may name.
const maxInitrds = 64

// initrds adds what an entry names.
func (r *bootReader) initrds(e *Entry, names []string) {
	if len(e.Initrds)+len(names) > maxInitrds {
		r.lose(&fact.ParseError{Source: e.File, Line: e.Line, Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("names more than %d initial file systems", maxInitrds)})
		return
	}
	e.Initrds = append(e.Initrds, names...)
}

// loaderEntry reads an entry of the Boot Loader Specification: "options" and "initrd" lines add up.
func (r *bootReader) loaderEntry(name string) {
	r.text(name, func(_, text string) {
		e := Entry{File: name}
		kernel, version, n, isImage := "", "", 0, false
		var options strings.Builder
		var initrds []string
		for line := range strings.Lines(text) {
			n++
			key, value, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
			value = strings.TrimSpace(value)
			switch key {
			case "title":
				e.Title = escape.UTF8(value)
			case "version":
				version = escape.UTF8(value)
			case "linux", "efi", "uki":
				kernel, isImage = value, key != "linux"
			case "initrd":
				initrds = append(initrds, value)
			case "options":
				if e.Line == 0 {
					e.Line = n
				}
				options.WriteString(" " + value)
			}
		}
		if startsNoLinux(kernel) || isImage && !r.imageEntry(e, kernel, options.Len() == 0) {
			return
		}
		r.setRelease(&e, kernel, version)
		r.fill(&e, options.String())
		r.addInitrds(&e, initrds)
		r.add(e)
	})
}

// imageEntry looks at the EFI program that an entry starts, and reports whether the entry's own options
// are the command line, or may be. A unified kernel image has its own beside them, and another program
// has none.
func (r *bootReader) imageEntry(e Entry, program string, bare bool) bool {
	partition := path.Dir(path.Dir(path.Dir(e.File)))
	name := partition + path.Clean("/"+program)
	kind, err := r.programKind(name)
	switch {
	case err == nil && kind == programUnified:
		r.unifiedImage(name)
		return !bare
	case err == nil:
		return !bare || kind == programKernel
	case bare:
		r.report.Problem(SourceCmdline, "", "",
			fmt.Errorf("/%s starts /%s, whose command line is not known: %w", e.File, escape.UTF8(name), err))
	}
	return !bare
}

// startsNoLinux reports whether a boot entry starts another program: a test of the memory, a shell, a
// boot loader.
func startsNoLinux(program string) bool {
	base := strings.ToLower(path.Base(program))
	for _, prefix := range []string{"memtest", "mt86", "shell", "ipxe", "memdisk"} {
		if strings.HasPrefix(base, prefix) {
			return true
		}
	}
	return strings.HasPrefix(base, "boot") && strings.HasSuffix(base, ".efi") || strings.HasSuffix(base, ".c32") ||
		strings.HasSuffix(base, ".com32")
}

// setRelease notes which release an entry starts, from its kernel's path and its version. Names are
// the distributions' own, so one for which there are no modules is only a guess.
func (r *bootReader) setRelease(e *Entry, kernel, version string) {
	e.Release = kernelRelease(kernel)
	if e.Release == "" && (strings.Contains(version, ".") || kernel == "") {
		e.Release = version // of an ostree it is only a number
	}
	if len(r.releases) == 0 {
		return
	}
	_, after, _ := strings.Cut(version, "@") // openSUSE puts the number of a snapshot before it
	if len(kernel) > maxPath {
		kernel = ""
	}
	for _, name := range append([]string{e.Release, version, after}, strings.Split(path.Dir(kernel), "/")...) {
		if slices.Contains(r.releases, name) {
			e.Release = name
			return
		}
	}
	if !looksLikeRelease(e.Release) ||
		slices.ContainsFunc(r.releases, func(known string) bool { return isSeries(e.Release, known) }) {
		e.Release = "" // a digest, a title, or the name of a series
		return
	}
	e.doubtful = true
}

// maxPath is the kernel's PATH_MAX.
const maxPath = 4096

// looksLikeRelease distinguishes 6.1.0-1 from a digest or a title.
func looksLikeRelease(name string) bool {
	rest := strings.TrimLeft(name, "0123456789")
	return len(rest) < len(name) && (rest == "" || rest[0] == '.' || rest[0] == '-') &&
		!strings.Contains(name, " ")
}

// isSeries reports whether the name stands for a series that the release is one of, as
// 6.1-x86_64 does for 6.1.12-1-MANJARO.
func isSeries(name, release string) bool {
	digits := name[:len(name)-len(strings.TrimLeft(name, "0123456789."))]
	return digits != "" && strings.HasPrefix(release, strings.TrimSuffix(digits, ".")+".")
}

// knownReleases are the releases that have a directory of modules. Of one that cannot be listed, a
// name in a boot loader's file is only a guess: that is a problem of the source of modules.
func knownReleases(fsys fs.FS, r *fact.Report) (known []string) {
	dirs, _ := modprobe.Releases(fsys, r)
	for _, d := range dirs {
		if d.Release != "" {
			known = append(known, d.Release)
		}
	}
	return known
}

// kernelRelease guesses the release from a kernel's path as loaders name it: /vmlinuz-RELEASE, or
// /MACHINE/RELEASE/linux. It is empty if the path does not show it, as for a rescue kernel, which is a copy of another.
func kernelRelease(file string) string {
	base := path.Base(file)
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "kernel-", "Image-", "linux-"} {
		release, ok := strings.CutPrefix(base, prefix)
		switch {
		case ok && strings.HasPrefix(release, "0-rescue"):
			return ""
		case ok && strings.ContainsAny(release, "0123456789"):
			return escape.UTF8(strings.TrimSuffix(release, ".efi"))
		}
	}
	if parent := path.Base(path.Dir(file)); (base == "linux" || base == "vmlinuz") && strings.Contains(parent, ".") &&
		parent != "." {
		return escape.UTF8(parent)
	}
	return ""
}

// fill gives the entry its words, with the boot loader's variables replaced where they are known.
func (r *bootReader) fill(e *Entry, options string) {
	if strings.Contains(options, "$") {
		options = r.expand(e, options)
	}
	r.setText(e, options)
}

// setText gives the entry its command line. The kernel's own EFI loader reads the initial file systems that it names.
func (r *bootReader) setText(e *Entry, options string) {
	e.Text = strings.TrimSpace(options)
	e.Words = ParseCmdline(options)
	for _, w := range e.Words {
		if w.Key == "initrd" && w.Value != "" { // syslinux has several in one word
			r.initrds(e, strings.Split(strings.ReplaceAll(w.Value, `\`, "/"), ","))
		}
	}
}

// expand replaces $NAME and ${NAME} by the values of grub's variables.
func (r *bootReader) expand(e *Entry, options string) string {
	var b strings.Builder
	env, grown := r.environment(), 0
	env.item = r.item
	for {
		before, rest, ok := strings.Cut(options, "$")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, tail := variable(rest)
		if name == "" {
			b.WriteByte('$')
			options = rest
			continue
		}
		options = tail
		value, known := env.lookup(name)
		if !known {
			value, known = env.harmless(name, b.String(), tail)
		}
		if grown += len(value); !known || grown > maxExpansion || !env.work(4*len(value)) {
			env.err = nil // the variable stays unresolved
			e.Unresolved = addName(e.Unresolved, name)
			continue
		}
		b.WriteString(value)
	}
}

// environment returns grub's variables.
func (r *bootReader) environment() *grubEnv {
	if r.env == nil {
		r.env = &grubEnv{blocks: func() (texts []string) {
			for _, name := range grubEnvFiles {
				r.text(name, func(_, text string) { texts = append(texts, text) })
				target := modprobe.LinkTarget(r.fsys, name)
				if target == "" {
					continue
				}
				if _, err := fs.Stat(r.fsys, name); errors.Is(err, fs.ErrNotExist) {
					r.lose(malformed(name, "leads to /"+target+", which is not there"))
				}
			}
			return texts
		}}
	}
	return r.env
}

// bare reads a file that is nothing but a command line. The one that Raspberry Pi OS leaves in the old
// place says that it moved.
func (r *bootReader) bare(name, text string) {
	if strings.HasPrefix(strings.TrimSpace(text), "DO NOT EDIT THIS FILE") {
		return
	}
	e := Entry{File: name, bare: true}
	r.fill(&e, text)
	r.add(e)
}

var errNoReaderAt error = &sentinel.Error{Before: "file cannot be read at an offset", Cause: errors.ErrUnsupported}

// malformed makes the error for a file that is invalid.
func malformed(source, reason string) error {
	return &fact.ParseError{Source: source, Reason: reason}
}
