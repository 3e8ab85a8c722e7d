// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
)

// auditFlags are the flags of audit alone.
type auditFlags struct {
	rules     []string
	baseline  string
	blockList string
	first     bool
}

// auditFormats are the formats of audit.
var auditFormats = []string{"table", "json", "jsonl", "csv", "markdown", "sarif", "junit"}

func (a *app) audit() *cobra.Command {
	var f auditFlags
	c := &cobra.Command{
		Use:   "audit [SNAPSHOT|TAPE...]",
		Short: "Compare machines with rules: what may, must and must not be in the kernel",
		Long: `Compare this machine, an image (--root), or every SNAPSHOT and TAPE with rules. Rules are a
JSON or YAML file, or a set that comes with lkm: ` + strings.Join(audit.Sets(), ", ") + `.

A rule of a benchmark gets two answers: TEXT is what the benchmark's own check says, which looks for install and
blacklist lines; RESULT follows from what can really load. Of an image with several kernels each is judged by itself.

It fails closed. Exit codes: 2 for a SNAPSHOT or TAPE that could not be read, whose only row is unknown: the others
are still compared; else 1 for a finding, an expired exception among them; else 3 for an unknown row, which is never
a pass; else 0.`,
		Example: `  lkm audit --rules cis-debian-12 --root /mnt               # an image against a benchmark
  lkm audit --rules stig-rhel-9 --format junit old.json     # a report for a build server
  lkm audit --init --tape demo:debian-6.12-cloud-root       # first rules from a machine`,
		RunE: func(c *cobra.Command, args []string) error { return a.runAudit(c.Context(), &f, args) },
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringSliceVar(&f.rules, "rules", nil, "rules to compare with: a set or a JSON or YAML `FILE`; "+
		"may be given several times")
	fl.StringVar(&f.baseline, "baseline", "", "also report what differs from `SNAPSHOT` (or a tape)")
	fl.StringVar(&f.blockList, "blocklist", "", "block list for rules of kind block_listed: `FILE`, or "+
		"\"system\" (Windows)")
	fl.BoolVar(&f.first, "init", false, "print a first rule file made from the machine")
	fl.BoolVar(&a.flags.explain, "explain", false, "below each row: its reasons, references and remedies")
	a.commonFlags(c)
	fl.Lookup("format").Usage = strings.Join(auditFormats, ", ")
	c.RegisterFlagCompletionFunc("format", cobra.CompletionFunc(fixed(auditFormats...)))
	c.RegisterFlagCompletionFunc("baseline",
		cobra.FixedCompletions([]string{thisMachine}, cobra.ShellCompDirectiveDefault))
	c.RegisterFlagCompletionFunc("rules", cobra.FixedCompletions(audit.Sets(), cobra.ShellCompDirectiveDefault))
	return c
}

func (a *app) runAudit(ctx context.Context, f *auditFlags, args []string) error {
	if !slices.Contains(auditFormats, a.flags.format) {
		return fmt.Errorf("--format %q is not one of %s", a.flags.format, strings.Join(auditFormats, ", "))
	}
	if len(a.flags.fields) > 0 {
		return errors.New("--fields goes with a list of modules")
	}
	if len(args) > 0 && (a.flags.root != "" || a.flags.tape != "") {
		return errors.New("name snapshots and tapes, or give --root or --tape, not both")
	}
	sets, err := a.readRuleSets(f)
	if err != nil {
		return err
	}
	var targets []audit.Target
	defer func() { closeTargets(targets) }()
	if targets, err = a.auditTargets(ctx, args, sets, f); err != nil {
		return err
	}
	if f.first {
		return a.writeFirst(ctx, targets)
	}
	o := audit.Options{Today: time.Now()}
	if f.baseline != "" {
		if o.Baseline, err = a.snapshot(ctx, f.baseline); err != nil {
			return fmt.Errorf("--baseline: %w", err)
		}
		if err := a.openCompared(targets, o.Baseline.Detail); err != nil {
			return err
		}
	}
	report, err := audit.Run(ctx, targets, sets, o)
	if err != nil {
		return err
	}
	if err := a.writeReport(report); err != nil {
		return err
	}
	unread := func(t audit.Target) bool { return t.Err != nil }
	switch worst := report.Worst(); {
	case slices.ContainsFunc(targets, unread):
		return exit(exitFatal)
	case worst == audit.Fail:
		return exit(exitFindings)
	case worst == audit.Unknown:
		return exit(exitIncomplete)
	}
	return nil
}

// readRuleSets reads what --rules names.
func (a *app) readRuleSets(f *auditFlags) ([]*audit.Rules, error) {
	if len(f.rules) == 0 && f.baseline == "" && !f.first {
		return nil, fmt.Errorf("no rules: give --rules FILE, or one of the sets %s; --init makes a first file",
			strings.Join(audit.Sets(), ", "))
	}
	var sets []*audit.Rules
	for _, name := range f.rules {
		if set, err := audit.Set(name); err == nil {
			sets = append(sets, set)
			continue
		}
		data, err := a.readCapped(name, audit.MaxFile)
		if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, "./\\") {
			return nil, fmt.Errorf("--rules %s: no such file, and no such set (%s)", name,
				strings.Join(audit.Sets(), ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("--rules: %w", err)
		}
		set, err := readRuleFile(name, data)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// closeTargets closes the systems of the targets.
func closeTargets(targets []audit.Target) {
	for _, t := range targets {
		if t.System != nil {
			t.System.Close()
		}
		if t.Compared != nil {
			t.Compared.Close()
		}
	}
}

// openCompared opens each machine a second time, to be read as its baseline was: rules may ask for more.
func (a *app) openCompared(targets []audit.Target, detail lkm.Detail) error {
	o, err := a.options()
	if err != nil {
		return err
	}
	o.Detail = detail
	for i := range targets {
		t := &targets[i]
		if t.System == nil || t.Image {
			continue
		}
		if read, ok := t.Files.(*tape.Tape); ok {
			t.Compared, err = replay(read, o)
		} else {
			t.Compared, err = lkm.Open(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// auditTargets opens the machines to audit.
func (a *app) auditTargets(
	ctx context.Context, args []string, sets []*audit.Rules, f *auditFlags,
) ([]audit.Target, error) {
	o, err := a.options()
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		o.Detail |= s.Detail()
	}
	if f.first {
		o.Detail |= lkm.DetailFiles | lkm.DetailSignatures
	}
	list, err := a.readBlockList(f.blockList)
	if err != nil {
		return nil, err
	}
	var targets []audit.Target
	switch {
	case len(args) > 0:
		for _, name := range args {
			t, err := a.auditFile(name, o)
			if err != nil { // it costs itself
				a.note(err)
				t = audit.Target{Name: name, Err: err}
			}
			targets = append(targets, t)
		}
	case a.flags.root != "" && !a.flags.live:
		targets, err = imageTargets(ctx, a.flags.root, o)
	case a.flags.tape != "":
		targets, err = oneTarget(a.auditFile(a.flags.tape, o))
	default:
		targets, err = oneTarget(liveTarget(o))
	}
	if list != nil && list.BlockList != nil {
		for i := range targets {
			targets[i].Mark, targets[i].Undecided = list.mark, list.undecidedOf
		}
	}
	return targets, err
}

func oneTarget(t audit.Target, err error) ([]audit.Target, error) {
	if err != nil {
		return nil, err
	}
	return []audit.Target{t}, nil
}

// mark enters what the list says of the drivers of a snapshot.
func (l *blockList) mark(snap *lkm.Snapshot) error {
	l.match(snap)
	return l.read.Err()
}

// undecidedOf reports whether the list asks for what is not known of a driver.
func (l *blockList) undecidedOf(m *lkm.Module) bool {
	return m.Windows == nil || l.undecided(m)
}

// liveTarget opens the running machine, which is its own root.
func liveTarget(o lkm.Options) (audit.Target, error) {
	os, files, err := lkm.Live(o)
	if err != nil {
		return audit.Target{}, err
	}
	sys, err := lkm.Open(o)
	if err != nil {
		return audit.Target{}, err
	}
	t := audit.Target{Name: o.Host, System: sys, Files: files}
	if t.Name == "" {
		t.Name = "this " + string(os) + " machine"
	}
	return t, nil
}

// imageTargets opens an image, once for each kernel that it has.
func imageTargets(ctx context.Context, root string, o lkm.Options) ([]audit.Target, error) {
	files, err := lkm.Dir(root)
	if err != nil {
		return nil, err
	}
	name := o.Host
	if name == "" {
		name = root
	}
	releases := []string{o.Kernel}
	if o.Kernel == "" || o.Kernel == lkm.KernelAll {
		if releases, err = releasesOf(ctx, files, o); err != nil {
			return nil, err
		}
	}
	var targets []audit.Target
	for _, release := range releases {
		o.Kernel = release
		sys, err := lkm.OpenImage(files, o)
		if err != nil {
			closeTargets(targets)
			return nil, err
		}
		t := audit.Target{Name: name, System: sys, Files: files, Image: true}
		if len(releases) > 1 {
			t.Name += " (" + release + ")"
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// releasesOf returns the kernel releases of an image; one empty one if it has at most one, or if they are not known.
func releasesOf(ctx context.Context, files fs.FS, o lkm.Options) ([]string, error) {
	none := []string{""}
	o.Kernel = lkm.KernelAll
	sys, err := lkm.OpenImage(files, o)
	if err != nil {
		o.Kernel = ""
		if sys, err = lkm.OpenImage(files, o); err == nil { // a system whose roots have one kernel
			sys.Close()
			return none, nil
		}
		return nil, err
	}
	defer sys.Close()
	verdicts, err := sys.Check(ctx, "kernel")
	if err != nil {
		return none, nil // each row says why
	}
	var releases []string
	for _, v := range verdicts {
		if v.Release != "" && !slices.Contains(releases, v.Release) {
			releases = append(releases, v.Release)
		}
	}
	if len(releases) < 2 {
		return none, nil
	}
	return releases, nil
}

// auditFile opens a tape, or reads a snapshot.
func (a *app) auditFile(name string, o lkm.Options) (audit.Target, error) {
	t := audit.Target{Name: name}
	if name == thisMachine {
		return liveTarget(o)
	}
	var read *tape.Tape
	var err error
	if strings.HasPrefix(name, "demo:") {
		read, err = a.openTape(name)
	} else {
		t.Snapshot, read, err = a.readRecord(name)
	}
	switch {
	case err != nil:
		return t, err
	case t.Snapshot != nil:
		t.Name = cmp.Or(t.Snapshot.Host, name)
		return t, nil
	}
	t.Name = cmp.Or(read.Header().Host, name)
	t.Files = read
	t.System, err = replay(read, o)
	return t, err
}
