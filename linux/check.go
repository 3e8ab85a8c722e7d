// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Check answers for each module that the query means, of each kernel in question.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	name, err := k.queryName(query, r)
	if err != nil {
		return nil, err
	}
	machines, err := k.checkMachines(ctx, r)
	if err != nil {
		return nil, err
	}
	var verdicts []fact.Verdict
	for _, m := range machines {
		found, err := check(ctx, m, name, r)
		if err != nil {
			return nil, err
		}
		for i := range found {
			m.place(&found[i])
			found[i].Query = query
			if found[i].Module != "" {
				found[i].Module = string(fact.KindLinuxModule) + ":" + found[i].Module
			}
		}
		verdicts = append(verdicts, found...)
		if ctx.Err() != nil {
			break
		}
	}
	return verdicts, nil
}

// queryName turns an id, or the path of a module's file, into a name.
func (k *Kernel) queryName(query string, r *fact.Report) (string, error) {
	if name, ok := strings.CutPrefix(query, string(fact.KindLinuxModule)+":"); ok {
		return name, nil
	}
	if !isPath(query) {
		return query, nil
	}
	f, err := ko.NewReader().ReadFile(k.machine, strings.TrimPrefix(path.Clean(query), "/"), ko.Options{}, r)
	if err != nil {
		return "", err
	}
	if name := f.Modinfo.Get("name"); name != "" {
		return name, nil
	}
	return ko.NameOfFile(query), nil
}

// isPath reports whether a query is a path: an alias with a slash has a colon before it, as devname:net/tun has.
func isPath(query string) bool {
	return strings.HasPrefix(query, "/") || strings.Contains(query, "/") && !strings.Contains(query, ":")
}

// checkMachines are the kernels in question: the running one, the one asked for, or all on disk.
func (k *Kernel) checkMachines(ctx context.Context, r *fact.Report) ([]checkedKernel, error) {
	dirs, err := modprobe.Releases(k.machine, r)
	release := k.options.Kernel
	if len(dirs) == 0 && !k.live() {
		if machines := k.deployments(r); len(machines) > 0 {
			return machines, nil
		}
	}
	if release == fact.KernelAll {
		if len(dirs) == 0 {
			return nil, k.noRelease(err)
		}
		var machines []checkedKernel
		for _, dir := range dirs {
			machines = append(machines, k.checkMachine(ctx, dir.Release, dir, nil))
		}
		return machines, nil
	}
	if release == "" && k.live() {
		release = k.release(ctx, r)
	}
	if release == "" {
		switch {
		case len(dirs) == 1:
			return []checkedKernel{k.checkMachine(ctx, dirs[0].Release, dirs[0], nil)}, nil
		case len(dirs) > 1:
			names := make([]string, len(dirs))
			for i, d := range dirs {
				names[i] = d.Release
			}
			return nil, fmt.Errorf("there are %d kernels: say which (--kernel), or all: %s", len(dirs),
				strings.Join(names, " "))
		}
		missing := modprobe.ReleaseDir{Dir: modprobe.ModuleRoots[0] + "/RELEASE"} // were it there, dirs would have it
		return []checkedKernel{k.checkMachine(ctx, "", missing, k.noRelease(err))}, nil
	}
	dir, err := k.findRelease(release)
	return []checkedKernel{k.checkMachine(ctx, release, dir, err)}, nil
}

func (k *Kernel) checkMachine(ctx context.Context, release string, dir modprobe.ReleaseDir, err error) checkedKernel {
	return checkedKernel{
		FS: k.machine, Release: release, Dir: dir, DirErr: err,
		Running: k.isRunning(ctx, release), Live: k.live(), Keys: k.keyFinder(), Initramfs: &k.initramfs,
	}
}

// A checkedKernel is a machine and one of its kernels.
type checkedKernel struct {
	// FS is the machine's root.
	FS fs.FS
	// Release is the kernel release in question, and Dir its directory of modules; DirErr is the error if the directory
	// could not be found.
	Release string
	Dir     modprobe.ReleaseDir
	DirErr  error
	// Running is set when that kernel runs: then there is an answer for now. Live is set when some
	// kernel of this machine runs, so that the firmware's state is known.
	Running, Live bool
	// Deployment is the folder of FS on an ostree's disk; empty for a root of its own. Only the boot entries that
	// start it count.
	Deployment string
	// Keys find the certificates that verify the signature of a file; nil for none.
	Keys *keyFinder
	// Initramfs keeps the initial file systems that were read; nil keeps none.
	Initramfs *initramfsCache
}

// A checker answers whether a module's code can get into one kernel. It reads what it needs once.
//
// A verdict is made in this order:
//
//	query.go          the query → targets: modprobe's names, aliases, files that no index names
//	bootstate.go      the states that count: the running kernel, and each boot entry that may come next
//	enforcement.go    what the kernel of a state refuses by itself: modules off, version, signature (signature.go)
//	initramfs.go      the copies in the initial file system of a boot entry, each judged by its own rules
//	modprobestate.go  what modprobe's configuration says in a state of one name: install, blacklist, softdep, alias
//	way.go            the ways in of one target in one state, each a list of steps in the order of the kernel and of
//	                  modprobe; trigger.go has those by a process and by dependents
//	result.go         the ways → an outcome, and the states of the next boot → the worst of them
//
// Each step is a [fact.Answer]. The first one of a way that stops it decides; else the first that is unsure; else the
// way is open (inTurn).
type checker struct {
	machine checkedKernel
	report  *fact.Report   // what could not be read and its verdicts say
	other   *fact.Report   // what could not be read and no verdict says
	tree    *modprobe.Tree // without any command line
	keys    *checkKeys
	setup   *boot.Setup
	bootErr error      // the first of the boot loaders' files that could not be read
	now     *bootState // nil if the kernel does not run
	next    []*bootState
	// loaded are the loaded modules; empty if the list could not be read, which loadedErr says why.
	loaded    map[string]bool
	loadedErr error
	loadLists []modprobe.Setting
	// blocklists are Android's lists of modules that its modprobe -b does not load.
	blocklists []modprobe.Setting
	kexec      fact.Answer         // why the next boot may be another one; does not apply if it is not
	roots      map[string]*checker // of other deployments, by their folders
	root       rootIdentity
	volatile   []volatileLine
	container  fact.Answer // why the kernel's helper sees another root; does not apply if it does not
	builds     bootBuilds
	extensions fact.Answer // what the next boot may lay over the root; does not apply without such an image
	kept       kept
}

// kept is what was read for one module and may be asked for again.
type kept struct {
	signatures map[string]fileSignature
	aliases    map[string]keptAliases
	facts      map[string]copyFacts
	symvers    symbolVersions
	generators []boot.Generator    // nil until asked for
	shown      map[string]bool     // the directories of /sys/module; nil until asked for
	inner      map[string][]string // files by the kernel's name, where it is not the file's; nil until asked for
}

// keptAliases are the aliases of a module, and whether there may be more.
type keptAliases struct {
	names  []string
	unread fact.Answer
}

func newKept() kept {
	return kept{signatures: make(map[string]fileSignature), aliases: make(map[string]keptAliases),
		facts: make(map[string]copyFacts)}
}

// check answers for a name or an alias in one kernel: one Verdict for each module that it may mean, whose Module is the
// module's name, and one for a name that means none. It returns an error for a query that is not a name. What could not
// be read is in r, and what bears on a verdict is in its Problems, too.
func check(ctx context.Context, m checkedKernel, query string, r *fact.Report) ([]fact.Verdict, error) {
	c := newChecker(m, r)
	verdicts, err := c.check(ctx, query)
	for _, p := range c.report.Problems {
		r.Add(p)
	}
	return verdicts, err
}

// newChecker reads what is the same for all queries. The checker has a report of its own, because a verdict says what
// could not be read of its kernel, not of those that the same call answers for.
func newChecker(m checkedKernel, r *fact.Report) *checker {
	c := &checker{machine: m, report: r.Part(), other: r, loaded: make(map[string]bool), kept: newKept()}
	c.tree, c.roots = modprobe.OpenTree(m.FS, m.Dir, false), make(map[string]*checker)
	setup := r.Part()
	c.setup = boot.Read(m.FS, setup)
	if m.Deployment != "" {
		ofDeployment(c.setup, m.Deployment)
	}
	c.take(setup)
	if len(setup.Problems) > 0 {
		c.bootErr = setup.Problems[0]
	}
	var keys fact.Report
	c.keys = newCheckKeys(m, c.setup, &keys)
	for _, p := range keys.Problems {
		c.problem(SourceKeys, "", p)
	}
	machine := policyMachine{FS: m.FS, Release: m.Release, Live: m.Running, Firmware: m.Live}
	if !m.Running {
		machine.Unread.Problem(SourceCmdline, "", "", boot.ErrNoEntry) // each entry has a state of its own
	}
	policy := readPolicy(machine)
	c.container = c.readContainer()
	if m.Running {
		c.readLoaded()
		c.now = c.runningState(policy)
	}
	c.root, c.extensions, c.builds = c.rootIdentity(), c.readExtensions(), c.readBuilds()
	c.nextStates(policy)
	var lists fact.Report
	c.loadLists = modprobe.ReadLoadLists(m.FS, &lists)
	c.blocklists = modprobe.ReadBlocklists(m.FS, &lists)
	c.take(&lists)
	c.readKexec()
	if m.DirErr != nil {
		c.problem(SourceTree, "", m.DirErr)
	}
	return c
}

// readKexec looks whether the running kernel holds another one: nobody can read which it is, nor its command line.
func (c *checker) readKexec() {
	if !c.machine.Live {
		return
	}
	c.readStaged()
	c.readPending()
	text, err := limit.AppendAttr(c.machine.FS, nil, kexecFile, limit.Attr)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a kernel without kexec
	case err != nil:
		c.kexec = fact.UnsureOf(unread(ReasonKexec, slash(kexecFile), err))
	case strings.TrimSpace(string(text)) != "0":
		c.kexec = fact.UnsureOf(fact.Reason{Code: ReasonKexec, File: slash(kexecFile),
			Text: "another kernel is loaded by kexec: the next boot may start it, whatever the boot loader's " +
				"files say",
			Unread: "the kernel that kexec loaded, and its command line"})
	}
}

// problem reports what could not be read. If there is no directory of modules, every file is missing, too: that is
// said once.
func (c *checker) problem(source, subject string, err error) {
	if source == SourceTree && c.machine.DirErr != nil {
		if c.report.Count(SourceTree) > 0 {
			return
		}
		subject, err = "", c.machine.DirErr
	}
	c.report.Problem(source, subject, "", err)
}

// take reports the problems of a report that is about the machine as a whole.
func (c *checker) take(r *fact.Report) {
	for _, p := range r.Problems {
		c.problem(p.Source, "", p)
	}
}

func (c *checker) readLoaded() {
	var list moduleList
	if err := newListReader(c.machine.FS).Read(&list, c.other); err != nil {
		if none, noErr := noModuleSupport(c.machine.FS); noErr == nil && none {
			return
		}
		c.problem(SourceModules, "", err)
		c.loadedErr = err
		return
	}
	for _, e := range list.Entries {
		c.loaded[e.Name] = true
	}
}

// states returns every state of the kernel, that of now first.
func (c *checker) states() []*bootState {
	if c.now == nil {
		return c.next
	}
	return append([]*bootState{c.now}, c.next...)
}

// check answers for a name or an alias.
func (c *checker) check(ctx context.Context, query string) ([]fact.Verdict, error) {
	targets, command, err := c.targets(query)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return []fact.Verdict{c.absent(query, command)}, nil
	}
	var verdicts []fact.Verdict
	for _, t := range targets {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		verdicts = append(verdicts, c.verdict(query, t))
	}
	return verdicts, nil
}

// verdict answers for one module: what holds now, then what will hold after a boot.
func (c *checker) verdict(query string, t target) fact.Verdict {
	v := fact.Verdict{Query: query, Release: c.machine.Release, Module: t.name, Reasons: c.places(t)}
	var now result
	if c.now != nil {
		now = c.resultNow(t)
		v.Now, v.Word = &now.prospect, now.word
	}
	next := c.resultNext(t)
	v.NextBoot = &next.prospect
	if v.Word == "" || v.Now == nil || v.NextBoot.Outcome.Worse(v.Now.Outcome) {
		v.Word = next.word
	}
	v.Reasons = appendReasons(appendReasons(v.Reasons, now.reasons...), next.reasons...)
	v.LeadBy(now.because, next.because)
	v.Reasons = appendReasons(nil, v.Reasons...) // one may differ only in what was not read
	v.Triggers = c.triggers(t)
	v.Bypasses = c.bypasses(t, v.NextBoot)
	v.Remedies = c.remedies(t, &v)
	v.Problems = append(v.Problems, c.report.Problems...)
	return v
}

// resultNow answers for the running kernel.
func (c *checker) resultNow(t target) result {
	r := c.resultAt(c.now, t)
	if c.loadedErr == nil || r.prospect.Outcome == fact.VerdictBuiltin || r.prospect.Outcome == fact.VerdictLoadable {
		return r
	}
	r.set(fact.VerdictUnknown, r.word, c.loadedUnread()) // it may be loaded
	return r
}

// loadedUnread is the reason of an answer that needs the list of loaded modules, which could not be read.
func (c *checker) loadedUnread() fact.Reason {
	return unread(ReasonUnread, "/"+ModulesFile, c.loadedErr)
}

// resultNext answers for the next boot: a way is blocked only if it is with every boot entry.
func (c *checker) resultNext(t target) result {
	results := make([]result, len(c.next))
	for i, s := range c.next {
		results[i] = c.resultAt(s, t)
	}
	entries := c.bootEntries(results)
	r := results[0]
	for i, s := range c.next[1:] {
		r.merge(results[i+1], s.doubt)
	}
	r.prospect.Entries = entries
	if lacking := c.lacking(t); len(lacking) > 0 {
		r.addReason(lacking...)
		if r.prospect.Outcome == fact.VerdictLoadable {
			r.because = lacking[0]
		}
	}
	r.addReason(c.regenerated(t)...)
	if c.kexec.Applies() && fact.VerdictUnknown.Worse(r.prospect.Outcome) {
		r.set(fact.VerdictUnknown, r.word, c.kexec.Because())
	}
	for _, v := range c.volatile {
		if modprobe.MatchAlias(v.line.Name, t.name) {
			r.addReason(v.reason)
		}
	}
	return r
}
