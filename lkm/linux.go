// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// linuxBackend looks at a Linux machine.
type linuxBackend struct {
	unsupported
	guard   *guard
	options Options

	mu     sync.Mutex // guards what follows
	seq    fs.File    // the event counter, held open for changed
	text   [32]byte
	length int // of what was read of it last
	closed bool

	history atomic.Pointer[moduleHistory] // of the running watch, nil without one

	disk linuxDisk
}

func newLinux(g *guard, o Options) *linuxBackend {
	return &linuxBackend{unsupported: unsupported{Linux}, guard: g, options: o}
}

func (b *linuxBackend) asked(d Detail) bool { return b.options.Detail&d != 0 }

// header reads who and what the machine is. Nothing here is needed for the list.
func (b *linuxBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		return
	}
	lost := 0
	note := func(field string, err error) {
		if err != nil {
			lost++
			r.problem(linux.SourceMachine, "", field, err)
		}
	}
	uname, err := b.guard.Call(ctx, linux.OpUname)
	note("release", err)
	keys := linux.ParseKeys(uname)
	s.Release, s.Arch = keys["release"], keys["machine"]
	clock, err := b.guard.Call(ctx, linux.OpClock)
	if err == nil {
		s.TakenAt, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(clock)))
	}
	note("takenAt", err)
	identity, err := b.guard.Call(ctx, linux.OpIdentity)
	note("privilege", err)
	s.Privilege = linux.Privilege(identity)
	bootID, err := limit.AppendAttr(b.guard, nil, linux.BootIDFile, limit.Attr)
	note("bootId", err)
	s.BootID = strings.TrimSpace(string(bootID))
	outcome := OutcomeOK
	if lost > 0 {
		outcome = OutcomePartial
	}
	r.source(linux.SourceMachine, outcome, Count{}, nil)
}

// loaded reads the kernel's list and what /sys/module says of each module in it.
func (b *linuxBackend) loaded(ctx context.Context, s *Snapshot, r *report) ([]Module, error) {
	b.readTaint(s, r)
	var list linux.ModuleList
	unsteady, err := linux.NewListReader(b.guard).Read(&list)
	if err != nil {
		if err = b.noList(err, r); err != nil {
			return nil, err
		}
		r.source(linux.SourceSysModule, OutcomeSkipped, Count{}, nil)
		b.builtins(ctx, new(linux.ModuleList), r)
		return nil, ctx.Err()
	}
	modules := linuxModules(&list, nil)
	r.list(&list, unsteady)
	b.readSysModules(ctx, modules, r)
	b.readAddresses(&list, modules, r)
	b.readFiles(ctx, modules, r)
	b.builtins(ctx, &list, r)
	return modules, ctx.Err()
}

// noList decides what it means that /proc/modules cannot be read: a kernel without modules has an
// empty list, which is reported; anything else is no list.
func (b *linuxBackend) noList(cause error, r *report) error {
	if !errors.Is(cause, fs.ErrNotExist) {
		return cause
	}
	none, err := linux.NoModuleSupport(b.guard)
	if err != nil {
		return fmt.Errorf("%w, and whether the kernel has modules at all cannot be told: %w (is /proc mounted here, and without subset=pid?)", cause, err)
	}
	if !none {
		return fmt.Errorf("%w, although the kernel has modules: something hides it", cause)
	}
	unsupported := fmt.Errorf("kernel was built without loadable modules: %w", errors.ErrUnsupported)
	r.source(linux.SourceModules, OutcomeUnsupported, CountOf(0), unsupported)
	r.problem(linux.SourceModules, "", "modules", unsupported)
	return nil
}

// list reports how reading /proc/modules went.
func (r *report) list(l *linux.ModuleList, unsteady bool) {
	outcome := OutcomeOK
	for _, bad := range l.Bad {
		outcome = OutcomePartial
		r.problem(linux.SourceModules, "", "", bad)
	}
	if more := l.BadCount - len(l.Bad); more > 0 {
		r.add(Problem{Source: linux.SourceModules, Code: CodeMalformed, Text: manyMore, Count: more})
	}
	if l.Truncated {
		outcome = OutcomePartial
		r.problem(linux.SourceModules, "", "modules", &ParseError{Source: linux.ModulesFile, Reason: "ends within a line: the list is cut off"})
	}
	if unsteady {
		outcome = OutcomePartial
		r.add(Problem{Source: linux.SourceModules, Field: "modules", Code: CodeOther,
			Text: "the list kept changing while it was read; a module that came or went may be missing"})
	}
	r.source(linux.SourceModules, outcome, CountOf(int64(len(l.Entries))), nil)
}

func (b *linuxBackend) readTaint(s *Snapshot, r *report) {
	text, err := limit.AppendAttr(b.guard, nil, linux.TaintedFile, limit.Attr)
	var mask uint64
	if err == nil {
		mask, err = linux.ParseTaint(text)
	}
	r.source(linux.SourceTainted, "", Count{}, err)
	if err != nil {
		r.problem(linux.SourceTainted, "", "kernel.taint", err)
		return
	}
	s.Kernel = Kernel{Taint: CountOf(int64(mask)), TaintFlags: linux.TaintFlags(mask)}
}

// readSysModules adds to each module what /sys/module says of it.
func (b *linuxBackend) readSysModules(ctx context.Context, modules []Module, r *report) {
	if len(modules) > 0 {
		if _, err := b.guard.Stat(linux.SysModuleDir); err != nil {
			r.source(linux.SourceSysModule, "", Count{}, err)
			r.problem(linux.SourceSysModule, "", "", err)
			return
		}
	}
	var lost []lostField
	var read int64
	sys := linux.NewSysReader(b.guard)
	for i := range modules {
		if ctx.Err() != nil {
			return
		}
		m := &modules[i]
		name := m.Name
		note := func(errs []linux.AttrError, err error) {
			if err != nil {
				lost = append(lost, lostField{i, linux.SourceSysModule, "", err})
			}
			for _, e := range errs {
				if e.Field != "state" && e.Field != "taints" { // the list says them
					lost = append(lost, lostField{i, linux.SourceSysModule, e.Field, e.Err})
				}
			}
		}
		facts, attrs, err := sys.ReadModule(name)
		note(attrs, err)
		if err != nil {
			continue
		}
		read++
		addSysModule(m, &facts)
		if b.asked(DetailParameters) {
			params, attrs, err := linux.ReadParameters(b.guard, name)
			m.Linux.Parameters = params
			note(attrs, err)
		}
		if b.asked(DetailAddresses) {
			sections, attrs, err := linux.ReadSections(b.guard, name)
			m.Linux.Sections = sections
			note(attrs, err)
		}
	}
	r.settle(modules, lost)
	switch {
	case len(lost) == 0:
		r.source(linux.SourceSysModule, OutcomeOK, CountOf(read), nil)
	case read == 0:
		r.source(linux.SourceSysModule, "", CountOf(0), lost[0].err)
	default:
		r.source(linux.SourceSysModule, OutcomePartial, CountOf(read), nil)
	}
}

// addSysModule joins the facts of /sys/module with those of the list.
func addSysModule(m *Module, f *linux.SysModule) {
	m.Version, m.ContentID = f.Version, f.BuildID
	m.Linux.Version, m.Linux.Srcversion = f.Version, f.Srcversion
	m.Linux.CoreSize, m.Linux.InitSize = f.CoreSize, f.InitSize
}

// readAddresses keeps the load addresses when they were asked for. The kernel shows all of them or
// none to one reader; a single zero is that of a module whose code was all dropped after init.
func (b *linuxBackend) readAddresses(list *linux.ModuleList, modules []Module, r *report) {
	if !b.asked(DetailAddresses) || len(modules) == 0 {
		return
	}
	shown := false
	for i := range list.Entries {
		modules[i].Address = list.Entries[i].Address
		shown = shown || modules[i].Address != 0
	}
	if !shown {
		p := problemOf(linux.SourceModules, "", "address", b.hiddenAddresses())
		p.Count = len(modules)
		r.add(p)
	}
}

// hiddenAddresses says why addresses are zero: the tape's recorder took them out, or the kernel
// does not show them to this caller.
func (b *linuxBackend) hiddenAddresses() error {
	if b.guard.Redacted(linux.ModulesFile) {
		return fmt.Errorf("addresses %w", ErrRedacted)
	}
	settings := ""
	for _, file := range []string{linux.KptrFile, linux.PerfParanoidFile} {
		if v, err := limit.AppendAttr(b.guard, nil, file, limit.Attr); err == nil {
			settings += path.Base(file) + "=" + strings.TrimSpace(string(v)) + " and "
		}
	}
	return fmt.Errorf("addresses %w: %sno CAP_SYSLOG (needed only for --detail addresses)", ErrRestricted, settings)
}

// pollScratch is what one List keeps between two polls of one system.
type pollScratch struct {
	of     *linuxBackend
	reader *linux.ListReader
	list   linux.ModuleList
	slabs  linuxSlabs
}

func (b *linuxBackend) poll(_ context.Context, l *List) error {
	scratch, ok := l.scratch.(*pollScratch)
	if !ok || scratch.of != b {
		scratch = &pollScratch{of: b, reader: linux.NewListReader(b.guard)}
		l.scratch = scratch
	}
	var r report
	unsteady, err := scratch.reader.Read(&scratch.list)
	if err != nil {
		if err = b.noList(err, &r); err != nil {
			return err
		}
		scratch.list.Parse("")
		l.Modules = l.Modules[:0]
		l.Sources, l.Problems = r.Sources, r.Problems
		return nil
	}
	scratch.slabs.modules = l.Modules
	l.Modules = linuxModules(&scratch.list, &scratch.slabs)
	r.list(&scratch.list, unsteady)
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.Sources, r.Problems
	return nil
}

// linuxSlabs is memory that the modules of one list share.
type linuxSlabs struct {
	modules []Module
	details []linux.Module
	ids     []byte
	needs   []string
}

// linuxModules converts a list. The modules are in the list's order.
func linuxModules(list *linux.ModuleList, slabs *linuxSlabs) []Module {
	if slabs == nil {
		slabs = new(linuxSlabs)
	}
	n := len(list.Entries)
	modules := slices.Grow(slabs.modules[:0], n)[:n]
	details := slices.Grow(slabs.details[:0], n)[:n]
	ids := slabs.ids[:0]
	for i := range list.Entries {
		ids = append(append(append(ids, KindLinuxModule...), ':'), list.Entries[i].Name...)
	}
	all := string(ids)
	for i := range list.Entries {
		e := &list.Entries[i]
		length := len(KindLinuxModule) + 1 + len(e.Name)
		details[i] = linux.Module{State: e.State, Refcnt: e.Refs, Permanent: e.Permanent, Taints: linux.SplitTaints(e.Taints)}
		modules[i] = Module{
			ID: all[:length], Kind: KindLinuxModule, Name: e.Name, State: linuxState(e.State),
			Size: CountOf(e.Size), Refs: e.Refs, UsedBy: e.UsedBy, Linux: &details[i],
		}
		all = all[length:]
		addTaintEvidence(&modules[i], e.Taints)
	}
	slabs.details, slabs.ids = details, ids
	slabs.needs = addRequires(list, modules, slabs.needs)
	return modules
}

// linuxState is the common word for the kernel's.
func linuxState(word string) State {
	switch word {
	case "Live":
		return StateLoaded
	case "Loading":
		return StateLoading
	case "Unloading":
		return StateUnloading
	}
	return ""
}

// addTaintEvidence says what a module's taint letters tell of its origin and signature: O and P
// are never set on a module of the kernel's own tree, and E says that no valid signature was found
// when it was loaded.
func addTaintEvidence(m *Module, letters string) {
	for i := range len(letters) {
		switch letters[i] {
		case 'O', 'P':
			m.Origin.Class = OriginThirdParty
			m.Origin.Evidence = append(m.Origin.Evidence, Evidence{Fact: "taint", Value: letters[i : i+1], Source: linux.SourceModules})
		case 'E':
			m.Signature.Evidence = EvidenceTaintE
		}
	}
}

// addRequires turns the kernel's "used by" around. It is known only when the kernel says who uses
// what, which it says for all modules or for none. The list is sorted by name, or else of a
// capture, which is short.
func addRequires(list *linux.ModuleList, modules []Module, backing []string) []string {
	total := 0
	for i := range list.Entries {
		if list.Entries[i].UsedBy == nil {
			return backing
		}
		total += len(list.Entries[i].UsedBy)
	}
	position := positions(list)
	counts := make([]int32, len(modules))
	each := func(f func(user, used int)) {
		for i := range list.Entries {
			for _, user := range list.Entries[i].UsedBy {
				if u := position(user); u >= 0 {
					f(u, i)
				}
			}
		}
	}
	each(func(user, _ int) { counts[user]++ })
	backing = slices.Grow(backing[:0], total)
	free := backing[:total]
	for i := range modules {
		n := counts[i]
		modules[i].Requires, free = free[:0:n], free[n:]
	}
	each(func(user, used int) { modules[user].Requires = append(modules[user].Requires, modules[used].Name) })
	for i := range modules {
		slices.Sort(modules[i].Requires)
	}
	return backing
}

// positions returns a function that finds an entry by its name, or -1.
func positions(list *linux.ModuleList) func(name string) int {
	byName := func(e linux.Entry, name string) int { return strings.Compare(e.Name, name) }
	if slices.IsSortedFunc(list.Entries, func(a, b linux.Entry) int { return strings.Compare(a.Name, b.Name) }) {
		return func(name string) int {
			if i, ok := slices.BinarySearchFunc(list.Entries, name, byName); ok {
				return i
			}
			return -1
		}
	}
	index := make(map[string]int, len(list.Entries))
	for i := range list.Entries {
		index[list.Entries[i].Name] = i
	}
	return func(name string) int {
		if i, ok := index[name]; ok {
			return i
		}
		return -1
	}
}

// changed reads the kernel's event counter on a descriptor that stays open.
func (b *linuxBackend) changed(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	if b.seq == nil {
		f, err := b.guard.Open(linux.UeventSeqFile)
		if err != nil {
			return 0, noCounter(err)
		}
		b.seq = f
	}
	r, ok := b.seq.(interface {
		ReadAt([]byte, int64) (int, error)
	})
	if !ok {
		return b.readSeq()
	}
	// A read of just the last length is one call of the kernel's; a longer one is two, for the end.
	n, _ := r.ReadAt(b.text[:b.length], 0)
	if n == 0 || b.text[n-1] != '\n' {
		n, _ = r.ReadAt(b.text[:], 0)
	}
	b.length = n
	if n == 0 {
		b.dropSeq()
		return b.readSeq()
	}
	return linux.ParseSeq(b.text[:n])
}

func (b *linuxBackend) readSeq() (uint64, error) {
	text, err := limit.AppendAttr(b.guard, nil, linux.UeventSeqFile, limit.Attr)
	if err != nil {
		return 0, noCounter(err)
	}
	return linux.ParseSeq(text)
}

// noCounter gives the error of a kernel without an event counter the meaning that Changed promises.
func noCounter(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no event counter: %w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// dropSeq closes the event counter, which the next changed opens again. The caller holds the lock.
func (b *linuxBackend) dropSeq() error {
	if b.seq == nil {
		return nil
	}
	err := b.seq.Close()
	b.seq = nil
	return err
}

func (b *linuxBackend) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.dropSeq()
}

func (b *linuxBackend) skipped(scope Scope) []Source {
	var s []Source
	if scope != ScopeLoaded {
		s = append(s, Source{Name: linux.SourceModules, Outcome: OutcomeSkipped}, Source{Name: linux.SourceSysModule, Outcome: OutcomeSkipped})
	}
	if !b.asked(DetailPolicy) {
		for _, name := range linux.PolicySources {
			s = append(s, Source{Name: name, Outcome: OutcomeSkipped})
		}
	}
	for _, name := range []string{linux.SourceBPF, linux.SourceLivepatch, linux.SourceKexec} {
		s = append(s, Source{Name: name, Outcome: OutcomeUnsupported, Code: CodeUnsupported})
	}
	return s
}

func (b *linuxBackend) plan(d Detail) []Plan {
	sys := "/" + linux.SysModuleDir + "/NAME/"
	return append([]Plan{
		{Source: linux.SourceMachine, Reads: []string{linux.OpUname + "()", linux.OpClock + "()", linux.OpIdentity + "()", "/" + linux.BootIDFile},
			For: "release, architecture, time, privilege, boot id", Asked: true},
		{Source: linux.SourceTainted, Reads: []string{"/" + linux.TaintedFile}, For: "the kernel's taint mask", Asked: true},
		{Source: linux.SourceModules, Reads: []string{"/" + linux.ModulesFile, "/" + linux.UeventSeqFile},
			For: "the list: name, size, references, users, state, taint", Asked: true},
		{Source: linux.SourceSysModule, Reads: []string{sys + "{coresize,initsize,initstate,taint,version,srcversion}", sys + "notes/.note.gnu.build-id"},
			For: "version, srcversion, build-id, sizes", Asked: true},
		{Source: linux.SourceSysModule, Reads: []string{sys + "parameters/*"}, Needs: "root for some; files that are not world-readable are left alone",
			For: "parameter values", Asked: d&DetailParameters != 0},
		{Source: linux.SourceSysModule, Reads: []string{sys + "sections/*"}, Needs: "root, and CAP_SYSLOG for addresses in /proc/modules",
			For: "load and section addresses", Asked: d&DetailAddresses != 0},
		{Source: linux.SourceBuiltin, Reads: []string{"/" + linux.SysModuleDir, "/lib/modules/RELEASE/{modules.builtin,modules.builtin.modinfo}"},
			For: "what is compiled in", Asked: true},
		{Source: linux.SourceTree, Reads: []string{"/lib/modules/RELEASE/modules.dep{,.bin}", "/lib/modules/RELEASE/**/*.ko{,.gz,.xz,.zst}", "/" + linux.FirmwarePathFile, "/lib/firmware"},
			For: "the loaded modules' files: metadata, whether they hold the same code, signatures", Asked: d&fileDetail != 0},
		{Source: linux.SourcePackages, Reads: []string{"/var/lib/dpkg/info/*.list", "/usr/lib/opkg/info/*.list", "/var/lib/dkms", "/usr/src/*/dkms.conf"},
			For: "whose code they are", Asked: d&fileDetail != 0},
	}, policyPlan(d&DetailPolicy != 0)...)
}

// policyPlan says what Detail Policy reads.
func policyPlan(asked bool) []Plan {
	return []Plan{
		{Source: linux.SourceKernelConfig, Reads: []string{"/" + linux.KernelConfigFile, "/boot/config-RELEASE", "/lib/modules/RELEASE/{config,build/.config}"},
			For: "what the kernel was built with", Asked: asked},
		{Source: linux.SourceSysctl, Reads: []string{"/" + linux.DisabledFile, "/" + linux.ModprobeFile, "/" + linux.LoadPinFile},
			For: "whether loading is switched off, the kernel's helper", Asked: asked},
		{Source: linux.SourceSysModule, Reads: []string{"/" + linux.SigEnforceFile}, For: "whether signatures are enforced", Asked: asked},
		{Source: linux.SourceSecurity, Reads: []string{"/" + linux.LockdownFile, "/" + linux.LSMFile, "/" + linux.IMAPolicyFile},
			Needs: "root for the IMA policy, and a kernel that shows it", For: "lockdown, security modules, appraisal", Asked: asked},
		{Source: linux.SourceEFI, Reads: []string{"/" + linux.SecureBootVar, "/" + linux.SetupModeVar, "/" + linux.MokSBStateVar, "/" + linux.MokListTrustedVar},
			For: "Secure Boot and the owner's keys", Asked: asked},
		{Source: linux.SourceCmdline, Reads: []string{"/" + modprobe.CmdlineFile}, For: "module_blacklist and its like", Asked: asked},
		{Source: linux.SourceKeys, Reads: []string{"/" + linux.KeysFile}, Needs: "root for the kernel's own keyrings", For: "keys that modules are verified with", Asked: asked},
	}
}
