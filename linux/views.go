// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// The views of the kernel's modules that are compared, beside SourceModules and SourceSysModule.
// ViewHistory, ViewLog and ViewVmalloc are never read: the first needs a watch from the start, the
// second is shared by everything, and areas of memory do not match modules one to one.
const (
	ViewLinks        = "sys_module_links" // how many directories /sys/module says that it holds
	ViewHolders      = "holders"          // users of modules, as the list itself names them
	ViewSymbols      = "kallsyms"         // symbols with a [module] tag
	ViewBTF          = "btf"              // /sys/kernel/btf
	ViewDrivers      = "drivers"          // /sys/bus/*/drivers/*/module
	ViewCrypto       = "crypto"           // /proc/crypto
	ViewFtrace       = "ftrace"           // functions that can be traced, with a [module] tag; root
	ViewDynamicDebug = "dynamic_debug"    // debug messages by module; root
	ViewUnloaded     = "unloaded_tainted" // tainted modules that are gone; root
	ViewVmalloc      = "vmallocinfo"
	ViewHistory      = "uevent_history"
	ViewLog          = "kernel_log"
)

// The files of the views.
const (
	CryptoFile       = "proc/crypto"
	BTFDir           = "sys/kernel/btf"
	BusDir           = "sys/bus"
	UnloadedFile     = "sys/kernel/debug/modules/unloaded_tainted"
	FtraceFile       = "sys/kernel/tracing/available_filter_functions"
	ftraceOldFile    = "sys/kernel/debug/tracing/available_filter_functions"
	DynamicDebugFile = "sys/kernel/debug/dynamic_debug/control"
	dynamicDebugProc = "proc/dynamic_debug/control"
)

// OpModuleLinks is the number of hard links of /sys/module, which is two more than the directories
// in it: text, a decimal number.
const OpModuleLinks = "module_links"

// errNotRead is why the views are unchecked that are never read.
var errNotRead = fmt.Errorf("never read: %w", errors.ErrUnsupported)

// A look is what the views said at one moment.
type look struct {
	list   ModuleList
	listed map[string]bool
	moving map[string]bool // listed, and on their way in or out
	// seen has the modules that a view shows; a view without an entry was not checked.
	seen map[string]map[string]bool
	why  map[string]error // why a view was not checked
	// loadable are the directories of /sys/module that are a loaded module's, with initstate's word.
	loadable map[string]string
	builtin  map[string]bool
	dirs     int // directories in /sys/module
	links    int // what /sys/module says of that; -1 when not known
	taint    uint64
	hasTaint bool
	unloaded map[string]string // tainted modules that are gone, with their letters
	steady   bool
}

// viewReader takes looks at one machine.
type viewReader struct {
	fsys fs.FS
	call func(ctx context.Context, op string, args ...string) ([]byte, error)
	buf  []byte
}

// takeLook reads every view. In a later look, the large files are read again only when they show a
// module that is in question. The error is that of the list itself.
func (r *viewReader) takeLook(ctx context.Context, before *look, pending map[gap]bool) (*look, error) {
	l := &look{listed: make(map[string]bool), moving: make(map[string]bool), seen: make(map[string]map[string]bool), why: make(map[string]error),
		loadable: make(map[string]string), builtin: make(map[string]bool), links: -1}
	first, errFirst := r.seq()
	unsteady, err := NewListReader(r.fsys).Read(&l.list)
	if err != nil {
		return nil, err
	}
	for _, e := range l.list.Entries {
		l.listed[e.Name] = true
		if e.State != "Live" {
			l.moving[e.Name] = true
		}
	}
	l.seen[SourceModules] = l.listed
	r.directories(l)
	r.directoryLinks(ctx, l)
	l.holders()
	for _, v := range taggedViews {
		if !l.carry(v.view, before, pending) {
			r.tags(l, v.view, v.files, v.tag)
		}
	}
	r.btf(l)
	r.drivers(l)
	r.taints(l)
	for _, never := range []string{ViewVmalloc, ViewHistory, ViewLog} {
		l.why[never] = errNotRead
	}
	after, errAfter := r.seq()
	l.steady = !unsteady && errFirst == nil && errAfter == nil && first == after && len(l.moving) == 0 && l.list.BadCount == 0 && !l.list.Truncated
	return l, ctx.Err()
}

func (r *viewReader) seq() (uint64, error) {
	b, err := limit.AppendAttr(r.fsys, nil, UeventSeqFile, limit.Attr)
	if err != nil {
		return 0, err
	}
	return ParseSeq(b)
}

// directories reads /sys/module: which directories are a loaded module's. A module that the list
// shows is looked for by its name as well, in case the directory is left out of the listing.
func (r *viewReader) directories(l *look) {
	names, err := SysModuleNames(r.fsys)
	if err == nil && len(names) == 0 {
		err = &fs.PathError{Op: "readdir", Path: SysModuleDir, Err: fs.ErrNotExist}
	}
	if err != nil {
		l.why[SourceSysModule] = err
		return
	}
	l.dirs = len(names)
	seen := make(map[string]bool)
	for _, name := range names {
		r.buf, err = limit.AppendAttr(r.fsys, r.buf[:0], SysModuleDir+"/"+name+"/initstate", limit.Attr)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			l.builtin[name] = true
		case err == nil:
			name = escape.UTF8(name)
			seen[name], l.loadable[name] = true, strings.TrimSpace(string(r.buf))
		}
	}
	l.seen[SourceSysModule] = seen
}

// directoryLinks asks how many directories /sys/module says that it holds.
func (r *viewReader) directoryLinks(ctx context.Context, l *look) {
	b, err := r.call(ctx, OpModuleLinks)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			l.links = n
			l.seen[ViewLinks] = nil
			return
		}
	}
	l.why[ViewLinks] = err
}

// holders collects the modules that others name as their users.
func (l *look) holders() {
	seen := make(map[string]bool)
	for _, e := range l.list.Entries {
		for _, user := range e.UsedBy {
			seen[user] = true
		}
	}
	l.seen[ViewHolders] = seen
}

// taggedViews are files whose lines name modules, of which the first that is there counts.
var taggedViews = [...]struct {
	view  string
	files []string
	tag   func(line []byte) string
}{
	{ViewSymbols, []string{KallsymsFile}, symbolTag},
	{ViewFtrace, []string{FtraceFile, ftraceOldFile}, functionTag},
	{ViewDynamicDebug, []string{DynamicDebugFile, dynamicDebugProc}, debugTag},
	{ViewCrypto, []string{CryptoFile}, cryptoTag},
}

// carry takes a view over from the look before when it shows no module that is in question.
func (l *look) carry(view string, before *look, pending map[gap]bool) bool {
	if before == nil {
		return false
	}
	for g := range pending {
		if before.seen[view][g.name] {
			return false
		}
	}
	if err, unread := before.why[view]; unread {
		l.why[view] = err
	}
	if seen, read := before.seen[view]; read {
		l.seen[view] = seen
	}
	return true
}

// tags reads a file whose lines name modules. It may be large, and the kernel slow in making it: the
// time for one small read is not enough.
func (r *viewReader) tags(l *look, view string, files []string, tag func(line []byte) string) {
	var err error
	for _, name := range files {
		if err = r.readLarge(name); err == nil {
			l.seen[view] = tagged(r.buf, tag)
			return
		}
		if l.why[view] == nil || errors.Is(l.why[view], fs.ErrNotExist) {
			l.why[view] = err
		}
	}
}

func (r *viewReader) readLarge(name string) error {
	f, err := r.fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r.buf, err = limit.AppendAll(f, r.buf[:0], name, maxSymbolFile)
	return err
}

func tagged(text []byte, tag func(line []byte) string) map[string]bool {
	seen := make(map[string]bool)
	last := ""
	for line := range bytes.Lines(text) {
		name := tag(line)
		if name == "" || name == last {
			continue
		}
		last = name
		if name != "bpf" && !strings.HasPrefix(name, "__builtin__") {
			seen[escape.UTF8(name)] = true
		}
	}
	return seen
}

// symbolTag is the [module] at the end of a line of kallsyms.
func symbolTag(line []byte) string {
	i := bytes.LastIndexByte(line, '\t')
	if i < 0 {
		return ""
	}
	return bracketed(line[i+1:])
}

// functionTag is the [module] behind a function.
func functionTag(line []byte) string {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return ""
	}
	return bracketed(line[i+1:])
}

func bracketed(word []byte) string {
	if len(word) == 0 || word[0] != '[' {
		return ""
	}
	end := bytes.IndexByte(word, ']')
	if end < 0 {
		return ""
	}
	return string(word[1:end])
}

// debugTag is the module of "FILE:LINE [MODULE]FUNCTION FLAGS TEXT".
func debugTag(line []byte) string {
	i := bytes.Index(line, []byte(" ["))
	if i < 0 || line[0] == '#' {
		return ""
	}
	return bracketed(line[i+1:])
}

// cryptoTag is the name in "module       : NAME"; the kernel's own is "kernel".
func cryptoTag(line []byte) string {
	key, value, ok := strings.Cut(string(line), ":")
	if value = strings.TrimSpace(value); !ok || strings.TrimSpace(key) != "module" || value == "kernel" {
		return ""
	}
	return value
}

func (r *viewReader) btf(l *look) {
	entries, err := fs.ReadDir(r.fsys, BTFDir)
	if err != nil {
		l.why[ViewBTF] = err
		return
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		if e.Name() != "vmlinux" {
			seen[escape.UTF8(e.Name())] = true
		}
	}
	l.seen[ViewBTF] = seen
}

// drivers reads the links from drivers to their modules.
func (r *viewReader) drivers(l *look) {
	links, ok := r.fsys.(fs.ReadLinkFS)
	buses, err := fs.ReadDir(r.fsys, BusDir)
	if err != nil || !ok {
		if err == nil {
			err = fmt.Errorf("links cannot be read: %w", errors.ErrUnsupported)
		}
		l.why[ViewDrivers] = err
		return
	}
	seen := make(map[string]bool)
	for _, bus := range buses {
		dir := BusDir + "/" + bus.Name() + "/drivers"
		drivers, err := fs.ReadDir(r.fsys, dir)
		if err != nil {
			continue
		}
		for _, d := range drivers {
			target, err := links.ReadLink(dir + "/" + d.Name() + "/module")
			if err != nil {
				continue
			}
			seen[escape.UTF8(target[strings.LastIndexByte(target, '/')+1:])] = true
		}
	}
	l.seen[ViewDrivers] = seen
}

func (r *viewReader) taints(l *look) {
	text, err := limit.AppendAttr(r.fsys, nil, TaintedFile, limit.Attr)
	if err == nil {
		l.taint, err = ParseTaint(text)
	}
	l.hasTaint = err == nil
	if err != nil {
		l.why[SourceTainted] = err
	} else {
		l.seen[SourceTainted] = nil
	}
	text, err = limit.AppendFile(r.fsys, nil, UnloadedFile, limit.Proc)
	if err != nil {
		l.why[ViewUnloaded] = err
		return
	}
	l.unloaded = ParseUnloadedTainted(string(text))
	l.seen[ViewUnloaded] = make(map[string]bool, len(l.unloaded))
	for name := range l.unloaded {
		l.seen[ViewUnloaded][name] = true
	}
}

// ParseUnloadedTainted reads the kernel's list of tainted modules that are gone: "NAME (LETTERS)
// COUNT" a line. It returns their letters by name.
func ParseUnloadedTainted(text string) map[string]string {
	unloaded := make(map[string]string)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || len(unloaded) >= maxConfigFiles {
			continue
		}
		unloaded[escape.UTF8(f[0])] = strings.Trim(f[1], "()")
	}
	return unloaded
}

// views says for one module what each view showed of it. Only the list and /sys/module have to show
// every module; the others leave out those that have nothing of their kind.
func (l *look) views(name string) map[string]fact.View {
	views := make(map[string]fact.View)
	for view, seen := range l.seen {
		switch {
		case seen == nil: // about the kernel as a whole
		case seen[name]:
			views[view] = fact.ViewSeen
		default:
			views[view] = fact.ViewMissing
		}
	}
	for view := range l.why {
		if l.seen[view] == nil {
			views[view] = fact.ViewUnchecked
		}
	}
	return views
}
