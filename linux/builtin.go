// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A builtinList is what is compiled into a kernel, by name: what its directory of modules lists,
// and what the running kernel shows beside that.
type builtinList struct {
	names   []string // sorted
	onDisk  map[string]*modprobe.BuiltinModule
	shown   map[string]bool // by the running kernel
	release string
}

// builtins joins the list on disk with the directories of /sys/module, and reports the source: it
// is whole when the list on disk could be read. list is what is loaded.
func (k *Kernel) builtins(ctx context.Context, list *moduleList, r *fact.Report) (*builtinList, error) {
	l := &builtinList{onDisk: make(map[string]*modprobe.BuiltinModule), shown: make(map[string]bool)}
	disk, t, running, diskErr := k.builtinsOnDisk(ctx, r)
	if t != nil {
		l.release = t.Release
	}
	for i := range disk {
		l.onDisk[disk[i].Name] = &disk[i]
		l.names = append(l.names, disk[i].Name)
	}
	if running {
		shown, err := builtinNames(k.machine, list, r)
		if err != nil && diskErr != nil {
			return nil, noBuiltins(r, err)
		}
		if err != nil {
			r.Problem(SourceBuiltin, "", "", err)
		}
		for _, name := range shown {
			l.shown[name] = true
			if l.onDisk[name] == nil {
				l.names = append(l.names, name)
			}
		}
	} else if diskErr != nil {
		return nil, noBuiltins(r, diskErr)
	}
	slices.Sort(l.names)
	outcome := fact.OutcomeOK
	if diskErr != nil {
		outcome = fact.OutcomePartial
		if !errors.Is(diskErr, fs.ErrNotExist) {
			r.Problem(SourceBuiltin, "", "", diskErr)
		}
	}
	r.Source(SourceBuiltin, outcome, fact.CountOf(int64(len(l.names))), nil)
	return l, nil
}

func noBuiltins(r *fact.Report, err error) error {
	r.Source(SourceBuiltin, "", fact.Count{}, err)
	r.Problem(SourceBuiltin, "", "", err)
	return err
}

// builtinTree returns the tree whose list of builtins to read, and whether it is that of the
// running kernel, which /sys/module shows too.
func (k *Kernel) builtinTree(ctx context.Context, r *fact.Report) (t *modprobe.Tree, running bool, err error) {
	if k.options.Image {
		t, err = k.tree(ctx, r)
		return t, false, err
	}
	release, err := k.runningRelease(ctx)
	if err != nil {
		return nil, k.options.Kernel == "", err
	}
	if k.options.Kernel != "" && k.options.Kernel != release {
		t, err = k.treeOf(ctx, k.options.Kernel)
		return t, false, err
	}
	t, err = k.treeOf(ctx, release)
	return t, true, err
}

// builtinsOnDisk reads modules.builtin and its metadata. A release directory that is not there is
// no error: the list is then what the kernel shows.
func (k *Kernel) builtinsOnDisk(ctx context.Context, r *fact.Report) (list []modprobe.BuiltinModule, t *modprobe.Tree,
	running bool, err error) {
	t, running, err = k.builtinTree(ctx, r)
	if err != nil {
		return nil, nil, running, err
	}
	list, err = t.Builtin(r)
	return list, t, running, err
}

// Builtin yields what is compiled into the kernel, sorted by name.
func (k *Kernel) Builtin(ctx context.Context, r *fact.Report) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var list moduleList
		if !k.options.Image {
			err := newListReader(k.machine).Read(&list, r)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(Record{}, err)
				return
			}
		}
		l, err := k.builtins(ctx, &list, r)
		if err != nil {
			yield(Record{}, err)
			return
		}
		sys := &sysReader{fsys: k.machine, unlisted: true}
		for _, name := range l.names {
			if ctx.Err() != nil {
				yield(Record{}, ctx.Err())
				return
			}
			if !yield(k.builtinModule(sys, l, name), nil) {
				return
			}
		}
	}
}

// builtinModule is what the kernel and the disk say of one builtin.
func (k *Kernel) builtinModule(sys *sysReader, l *builtinList, name string) Record {
	m := newRecord(name, fact.StateBuiltin)
	m.Own = new(Module)
	if l.shown[name] {
		k.addShown(&m, sys)
	}
	if d := l.onDisk[name]; d != nil {
		if k.options.Detail&fileDetail != 0 {
			describeBuiltin(d, m.Own, l.release)
			m.Version, m.Description = m.Own.Version, d.Modinfo.Get("description")
		}
		m.Own.Release, m.Own.File = l.release, d.File
	}
	return m
}

// addShown adds what /sys/module says of a builtin.
func (k *Kernel) addShown(m *Record, sys *sysReader) {
	sys.losses = sys.losses[:0]
	facts, err := sys.readModule(m.Name)
	if err != nil {
		m.Problem(SourceSysModule, "", err)
	}
	m.Version, m.Own.Version = facts.Version, facts.Version
	if k.options.Asks(fact.DetailParameters) {
		m.Own.Parameters = sys.readParameters(m.Name)
	}
	for _, l := range sys.losses {
		m.Problem(l.Source, cmp.Or(l.Field, "parameters"), l.Err) // the directory of the parameters has no field
	}
}

// kallsymsFile lists the running kernel's symbols.
const kallsymsFile = "proc/kallsyms"

// maxSymbolFile caps a list of symbols: a kernel with debugging has some 300,000.
const maxSymbolFile = 64 << 20

// initcallsOf returns the functions that start the built-in module, from a list of symbols in the
// form of System.map or /proc/kallsyms: since Linux 5.10 each has a symbol
// __initcall__kmod_MODULE__COUNTER_LINE_FUNCTIONLEVEL. A kernel linked by clang as a whole (LTO) starts
// a stub instead, __initstub__kmod_MODULE__COUNTER_LINE_FUNCTIONLEVEL, whose own name counts.
func initcallsOf(symbols []byte, module string) []string {
	if stubs := initStubs(symbols, module); stubs != nil {
		return stubs
	}
	prefix := []byte("__initcall__kmod_" + module + "__")
	var functions []string
	for len(symbols) > 0 {
		i := bytes.Index(symbols, prefix)
		if i < 0 {
			break
		}
		rest := symbols[i+len(prefix):]
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		symbols = rest[len(line):]
		word, _, _ := strings.Cut(string(line), "\t")
		parts := strings.SplitN(strings.TrimSpace(word), "_", 3)
		if len(parts) < 3 || !isNumber(parts[0]) || !isNumber(parts[1]) {
			continue
		}
		f := parts[2]
		for _, level := range []string{"early", "rootfs", "con"} {
			f = strings.TrimSuffix(f, level)
		}
		f = strings.TrimSuffix(f, "s") // a "sync" level: 6s
		if n := len(f); n > 0 && f[n-1] >= '0' && f[n-1] <= '7' {
			f = f[:n-1]
		}
		functions = append(functions, f)
	}
	return functions
}

// initStubs returns the stubs that start the built-in module; nil for a kernel without.
func initStubs(symbols []byte, module string) (stubs []string) {
	prefix := []byte(" __initstub__kmod_" + module + "__")
	for len(symbols) > 0 {
		i := bytes.Index(symbols, prefix)
		if i < 0 {
			break
		}
		line, _, _ := bytes.Cut(symbols[i+1:], []byte("\n"))
		symbols = symbols[i+1+len(line):]
		word, _, _ := strings.Cut(string(line), "\t")
		stubs = append(stubs, strings.TrimSpace(word))
	}
	return stubs
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// readInitcalls reads them from /proc/kallsyms of a running kernel, else from System.map.
func readInitcalls(fsys fs.FS, release, module string, live bool) ([]string, error) {
	files := []string{"boot/System.map-" + release, "lib/modules/" + release + "/System.map"}
	if live {
		files = append([]string{kallsymsFile}, files...)
	}
	var first error
	for _, name := range files {
		if !fs.ValidPath(name) {
			continue
		}
		symbols, err := readSymbolList(fsys, name)
		if err == nil {
			if functions := initcallsOf(symbols, module); len(functions) > 0 {
				return functions, nil
			}
			continue
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fs.ErrNotExist
	}
	return nil, first
}

// readSymbolList reads a list of symbols through an open file, not as one read: a slow machine takes
// seconds for its some hundred thousand lines.
func readSymbolList(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limit.AppendAll(f, nil, name, maxSymbolFile)
}

// initcallsBlocked reports whether a list of refused initcalls keeps a built-in module from being
// started: yes when it names all its functions, unknown when the functions are not known and a
// name in the list may be one. by is the name that decided.
func initcallsBlocked(blacklist, functions []string, module string) (blocked fact.Tri, by string) {
	named := make(map[string]bool, len(blacklist))
	for _, f := range blacklist {
		named[f] = true
	}
	if len(functions) > 0 {
		for _, f := range functions {
			if !named[f] {
				return fact.No, ""
			}
		}
		return fact.Yes, functions[0]
	}
	for _, f := range blacklist {
		if strings.Contains(f, module) {
			return "", f
		}
	}
	return fact.No, ""
}

// resultOfBuiltin answers for code that is compiled in: only initcall_blacklist= keeps it from starting.
func (c *checker) resultOfBuiltin(k *enforcement, t target) result {
	var r result
	r.set(fact.VerdictBuiltin, "built in", builtinReason(t))
	a := c.blockedInitcalls(k, t)
	switch {
	case a.Blocked() == fact.Yes:
		r.set(fact.VerdictBlocked, "built in, not started", a.Because())
	case a.Applies() && a.Blocked() == "":
		r.set(fact.VerdictUnknown, "unknown", a.Because())
	}
	r.addReason(a.Because())
	return r
}

// blockedInitcalls says whether initcall_blacklist= keeps a built-in module from being started. It does not apply if
// nothing is listed or the kernel ignores the list.
func (c *checker) blockedInitcalls(k *enforcement, t target) fact.Answer {
	list := boot.ListValues(k.cmdline.words, FactInitcalls, true)
	if len(list) == 0 || !k.skips {
		return fact.Answer{}
	}
	functions, err := readInitcalls(c.machine.FS, c.machine.Release, t.name, c.machine.Running)
	blocked, by := initcallsBlocked(list, functions, t.name)
	switch blocked {
	case fact.Yes:
		return fact.Stops(k.cmdline.reason(ReasonInitcall, "initcall_blacklist="+by+" keeps it from starting"))
	case fact.No:
		return passes()
	}
	r := k.cmdline.reason(ReasonInitcall,
		"initcall_blacklist="+by+" may name its start function: no list of the kernel's symbols does")
	r.Unread = "the kernel's symbols"
	if err != nil {
		c.problem(SourceBuiltin, t.name, err)
		r.Unread += ": " + err.Error()
	}
	return fact.UnsureOf(r)
}
