// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// The views of the kernel's modules that are compared, beside SourceModules and SourceSysModule.
const (
	ViewOpen         = "sys_module_open"  // directories of /sys/module that can be opened by name, listed or not
	viewLinks        = "sys_module_links" // how many directories /sys/module says that it holds
	viewHolders      = "holders"          // users of modules, as the list and /sys/module/NAME/holders name them
	viewSymbols      = "kallsyms"         // symbols with a [module] tag
	viewBTF          = "btf"              // /sys/kernel/btf
	viewDrivers      = "drivers"          // /sys/bus/*/drivers/*/module
	viewCrypto       = "crypto"           // /proc/crypto
	viewFtrace       = "ftrace"           // functions that can be or are traced, with a [module] tag; root
	viewDynamicDebug = "dynamic_debug"    // debug messages by module; root
	viewUnloaded     = "unloaded_tainted" // tainted modules that are gone; root
	viewVmalloc      = "vmallocinfo"      // memory in use, asked for the address of a module in question; root
	viewHistory      = "uevent_history"   // loads without an unload, as a watch of the same System heard them
	viewLog          = "kernel_log"       // modules that the kernel's log says taint it
)

// Views are the sources that [Kernel.Discrepancies] compares, those that everyone may read first. What is
// on disk is beside them.
var Views = []string{SourceModules, SourceSysModule, ViewOpen, viewLinks, viewHolders,
	viewSymbols, viewBTF, viewDrivers,
	viewCrypto, SourceTainted, viewLog,
	viewUnloaded, viewFtrace, viewDynamicDebug, viewHistory}

// The files of the views.
const (
	cryptoFile        = "proc/crypto"
	btfDir            = "sys/kernel/btf"
	busDir            = "sys/bus"
	unloadedFile      = "sys/kernel/debug/modules/unloaded_tainted"
	ftraceFile        = "sys/kernel/tracing/available_filter_functions"
	ftraceOldFile     = "sys/kernel/debug/tracing/available_filter_functions"
	ftraceUsedFile    = "sys/kernel/tracing/enabled_functions"
	ftraceOldUsedFile = "sys/kernel/debug/tracing/enabled_functions"
	dynamicDebugFile  = "sys/kernel/debug/dynamic_debug/control"
	dynamicDebugProc  = "proc/dynamic_debug/control"
	vmallocFile       = "proc/vmallocinfo"
	holdersDir        = "holders"
)

// OpModuleLinks is the number of hard links of /sys/module, which is two more than the directories
// in it: text, a decimal number.
const OpModuleLinks = "module_links"

// moduleLinks answers OpModuleLinks for the machine whose root is fsys. The error is that of looking
// at /sys/module, or matches errors.ErrUnsupported if its file system does not count links.
func moduleLinks(fsys fs.FS) ([]byte, error) {
	info, err := fs.Stat(fsys, SysModuleDir)
	if err != nil {
		return nil, err
	}
	stat, ok := hostfs.SysStat(info)
	if !ok || hostfs.StatNumber(stat, "Nlink") == 0 {
		return nil, fmt.Errorf("links of /%s: %w", SysModuleDir, errors.ErrUnsupported)
	}
	return strconv.AppendUint(nil, hostfs.StatNumber(stat, "Nlink"), 10), nil
}

// A names is a set of module names.
type names map[string]bool

// A look is what the views said at one moment.
type look struct {
	list   moduleList
	listed names // in the list at the look's begin, or at its end
	stayed names // in the list at both
	moving names // listed, and on their way in or out
	// seen has the modules that a view shows; a view without an entry was not checked.
	seen    map[string]names
	reports map[string]*fact.Report // by view, what reading it lost
	fresh   names                   // the views that this look read itself, not taken over from the one before
	// states are initstate's words of the directories of /sys/module that are a loaded module's.
	states map[string]string
	// bare are directories without initstate: those of compiled-in code. unsure are those that
	// could not be read; the report of SourceSysModule says why.
	bare     names
	unsure   names
	dirs     int // directories in /sys/module
	links    int // what /sys/module says of that; -1 when not known
	taint    uint64
	hasTaint bool
	unloaded map[string]string // tainted modules that are gone, with their letters
	log      []logTaint
	steady   bool
}

// viewReader takes looks at one machine.
type viewReader struct {
	kernel *Kernel
	fsys   fs.FS // the machine's
	buf    []byte
}

// takeLook reads every view. A later look reads again what the gaps in question need, and takes
// over the rest from the look before. The error is that of the list itself, or ctx's.
func (r *viewReader) takeLook(ctx context.Context, before *look, pending map[gap]bool) (*look, error) {
	lists := new(fact.Report)
	l := &look{
		seen: make(map[string]names), fresh: make(names), reports: map[string]*fact.Report{SourceModules: lists},
	}
	first, errFirst := r.seq()
	err := newListReader(r.fsys).Read(&l.list, lists)
	if err != nil {
		return nil, err
	}
	if before == nil {
		err = r.readAll(ctx, l)
	} else {
		err = r.readAgain(ctx, l, before, pending)
	}
	if err != nil {
		return nil, err
	}
	var again moduleList
	if err := newListReader(r.fsys).Read(&again, lists); err != nil {
		return nil, err
	}
	lists.Merge()
	last, errLast := r.seq()
	same := l.compareLists(&again)
	l.steady = same && errFirst == nil && errLast == nil && first == last && len(l.moving) == 0 &&
		lists.Count(SourceModules) == 0
	r.history(l, last, errLast)
	return l, ctx.Err()
}

// compareLists joins the list of the look's end with that of its begin and reports whether they name
// the same modules.
func (l *look) compareLists(again *moduleList) bool {
	l.listed, l.stayed, l.moving = make(names), make(names), make(names)
	for i := range l.list.Entries {
		l.listed[l.list.Entries[i].Name] = true
	}
	for _, list := range []*moduleList{&l.list, again} {
		for _, e := range list.Entries {
			if e.State != "Live" {
				l.moving[e.Name] = true
			}
		}
	}
	for i := range again.Entries {
		if name := again.Entries[i].Name; l.listed[name] {
			l.stayed[name] = true
		}
	}
	same := len(l.stayed) == len(l.listed) && len(again.Entries) == len(l.listed)
	for i := range again.Entries {
		l.listed[again.Entries[i].Name] = true
	}
	l.seen[SourceModules], l.fresh[SourceModules] = l.listed, true
	return same
}

// readAll reads every view but the list.
func (r *viewReader) readAll(ctx context.Context, l *look) error {
	r.directories(l)
	r.links(ctx, l)
	r.holders(l)
	for _, v := range taggedViews {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.tags(ctx, l, v)
	}
	r.btf(l)
	r.drivers(l)
	r.taints(l)
	r.log(ctx, l)
	r.openByName(l, l.inQuestion())
	return nil
}

// inQuestion are the modules whose directory in /sys/module has to be there: those of the list, and
// those that other views show.
func (l *look) inQuestion() names {
	all := make(names)
	for i := range l.list.Entries {
		all[l.list.Entries[i].Name] = true
	}
	for _, view := range []string{viewHolders, viewSymbols, viewFtrace, viewBTF, viewCrypto, viewDrivers} {
		maps.Copy(all, l.seen[view])
	}
	for i := range l.log {
		all[l.log[i].Module] = true
	}
	return all
}

func (r *viewReader) seq() (uint64, error) {
	b, err := limit.AppendAttr(r.fsys, nil, ueventSeqFile, limit.Attr)
	if err != nil {
		return 0, err
	}
	return parseSeq(b)
}

// showed notes what a view showed; err is why it could not be read.
func (l *look) showed(view string, seen names, err error) {
	l.fresh[view] = true
	l.reports[view] = new(fact.Report)
	if err != nil {
		l.reports[view].Problem(view, "", "", err)
		return
	}
	l.seen[view] = seen
}

// report reports the views of the look as sources.
func (l *look) report(r *fact.Report) {
	for _, view := range slices.Sorted(maps.Keys(l.reports)) {
		lost := l.reports[view]
		r.Append(lost)
		seen, ok := l.seen[view]
		switch {
		case ok && seen != nil:
			r.Done(view, fact.CountOf(int64(len(seen))))
		case ok:
			r.Done(view, fact.Count{})
		default:
			r.Source(view, "", fact.Count{}, lost.Problems[0].Code.Err())
		}
	}
}

// directories reads /sys/module: which directories are a loaded module's.
func (r *viewReader) directories(l *look) {
	l.states, l.bare, l.unsure = make(map[string]string), make(names), make(names)
	found, err := sysModuleNames(r.fsys)
	if err == nil && len(found) == 0 {
		err = &fs.PathError{Op: "readdir", Path: SysModuleDir, Err: fs.ErrNotExist}
	}
	l.dirs = len(found)
	if err != nil {
		l.showed(SourceSysModule, nil, err)
		l.showed(ViewOpen, nil, err)
		return
	}
	seen := make(names)
	l.showed(SourceSysModule, seen, nil)
	for _, name := range found {
		if r.initstate(l, name) {
			seen[escape.UTF8(name)] = true
		} else if !l.unsure[escape.UTF8(name)] {
			l.bare[escape.UTF8(name)] = true
		}
	}
	l.showed(ViewOpen, maps.Clone(seen), nil)
}

// initstate reads the file that distinguishes a loaded module's directory from one of compiled-in code, and reports
// whether it is a loaded module's.
func (r *viewReader) initstate(l *look, name string) bool {
	var err error
	r.buf, err = limit.AppendAttr(r.fsys, r.buf[:0], SysModuleDir+"/"+name+"/initstate", limit.Attr)
	switch {
	case err == nil:
		l.states[escape.UTF8(name)] = strings.TrimSpace(string(r.buf))
	case !errors.Is(err, fs.ErrNotExist):
		l.unsure[escape.UTF8(name)] = true
		l.reports[SourceSysModule].Problem(SourceSysModule, name, "", err)
	}
	return err == nil
}

// openByName looks for directories of /sys/module that are left out of its listing.
func (r *viewReader) openByName(l *look, wanted names) {
	if l.seen[ViewOpen] == nil {
		return
	}
	for name := range wanted {
		known := l.seen[SourceSysModule][name] || l.bare[name] || l.unsure[name]
		if !known && validName(name) && r.initstate(l, name) {
			l.seen[ViewOpen][name] = true
		}
	}
}

// links asks how many directories /sys/module says that it holds.
func (r *viewReader) links(ctx context.Context, l *look) {
	l.links = -1
	b, err := r.kernel.machine.Call(ctx, OpModuleLinks)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			l.links = n
		}
	}
	l.showed(viewLinks, nil, err)
}

// holders collects the modules that others name as their users.
func (r *viewReader) holders(l *look) {
	seen := make(names)
	for _, e := range l.list.Entries {
		for _, user := range e.UsedBy {
			seen[user] = true
		}
	}
	for name := range l.states {
		users, err := fs.ReadDir(r.fsys, SysModuleDir+"/"+name+"/"+holdersDir)
		if err != nil {
			continue // the list names them too
		}
		for _, user := range users {
			seen[escape.UTF8(user.Name())] = true
		}
	}
	l.showed(viewHolders, seen, nil)
}

func (r *viewReader) btf(l *look) {
	entries, err := fs.ReadDir(r.fsys, btfDir)
	seen := make(names)
	for _, e := range entries {
		if e.Name() != "vmlinux" {
			seen[escape.UTF8(e.Name())] = true
		}
	}
	l.showed(viewBTF, seen, err)
}

// drivers reads the links from drivers to their modules.
func (r *viewReader) drivers(l *look) {
	links, ok := r.fsys.(fs.ReadLinkFS)
	if !ok {
		l.showed(viewDrivers, nil, fmt.Errorf("links cannot be read: %w", errors.ErrUnsupported))
		return
	}
	buses, err := fs.ReadDir(r.fsys, busDir)
	seen := make(names)
	for _, bus := range buses {
		dir := busDir + "/" + bus.Name() + "/drivers"
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
	l.showed(viewDrivers, seen, err)
}

func (r *viewReader) taints(l *look) {
	text, err := limit.AppendAttr(r.fsys, nil, taintedFile, limit.Attr)
	if err == nil {
		l.taint, err = parseTaint(text)
	}
	l.hasTaint = err == nil
	l.showed(SourceTainted, nil, err)
	text, err = limit.AppendFile(r.fsys, nil, unloadedFile, limit.Proc)
	if err != nil {
		l.showed(viewUnloaded, nil, err)
		return
	}
	l.unloaded = parseUnloadedTainted(string(text))
	seen := make(names, len(l.unloaded))
	for name := range l.unloaded {
		seen[name] = true
	}
	l.showed(viewUnloaded, seen, nil)
}

func (r *viewReader) log(ctx context.Context, l *look) {
	text, err := r.kernel.machine.Call(ctx, OpModuleLog)
	seen := make(names)
	if err == nil {
		l.log = parseModuleLog(string(text))
		for i := range l.log {
			seen[l.log[i].Module] = true
		}
	}
	l.showed(viewLog, seen, err)
}

// history asks what a watch heard. It counts only when that heard every event up to this moment.
func (r *viewReader) history(l *look, seq uint64, errSeq error) {
	var lost fact.Report
	heard, upTo, err := r.kernel.heardModules(&lost)
	switch {
	case err != nil:
	case errSeq != nil:
		err = errSeq
	case upTo != seq:
		err = fmt.Errorf("the watch heard events up to number %d, the last one is %d: %w", upTo,
			seq, errors.ErrUnsupported)
	}
	l.showed(viewHistory, heard, err)
	l.reports[viewHistory].Append(&lost)
}

// maxUnloadedTainted is how many unloaded modules are kept.
const maxUnloadedTainted = 4096

// parseUnloadedTainted reads the kernel's list of tainted modules that are gone: "NAME (LETTERS)
// COUNT" a line. It returns their letters by name.
func parseUnloadedTainted(text string) map[string]string {
	unloaded := make(map[string]string)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || len(unloaded) >= maxUnloadedTainted {
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
	for view, lost := range l.reports {
		if l.seen[view] == nil && lost.Count(view) > 0 {
			views[view] = fact.ViewUnchecked
		}
	}
	if l.unsure[name] {
		views[SourceSysModule], views[ViewOpen] = fact.ViewUnchecked, fact.ViewUnchecked
	}
	return views
}

// CallBelow returns a Call that answers OpModuleLinks for the machine whose root is fsys, and leaves the rest to call.
func CallBelow(fsys fs.FS, call fact.Call) fact.Call {
	return func(ctx context.Context, op string, args ...string) ([]byte, error) {
		if op == OpModuleLinks {
			return moduleLinks(fsys)
		}
		return call(ctx, op, args...)
	}
}
