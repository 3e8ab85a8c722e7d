// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Codes of the changes between two kernels.
const (
	ChangeNoIndex     = "no_index"      // the kernel has no modules.dep: modprobe finds nothing
	ChangeNoEntry     = "no_boot_entry" // no boot entry starts the kernel
	ChangeBootDriver  = "boot_driver"   // what the root file system needs is not there at boot
	ChangeAbsent      = "absent"        // a loaded module is not there
	ChangeListed      = "listed"        // a list, a unit or a table names a module that is not there
	ChangeDevice      = "device"        // no module answers to a device that has a driver now
	ChangeDriver      = "driver"        // only other modules answer to a device
	ChangeRefusal     = "refused"       // the module is there and does not load
	ChangeOutOfTree   = "out_of_tree"   // a module that did not come with the kernel is there for one kernel only
	ChangeHeaders     = "headers"       // DKMS cannot build, because the kernel's headers are not installed
	ChangeFirmware    = "firmware"      // the new module names firmware that is not installed
	ChangeParameter   = "parameter"     // an option sets a parameter that the module does not have
	ChangeBuiltinNow  = "builtin"       // a loaded module is compiled in, so that lines about it do nothing
	ChangePacking     = "packing"       // the installed kmod cannot unpack the kernel's modules
	ChangeEnforcement = "enforcement"   // the kernel was built to enforce otherwise
)

// Upgrade returns what the release lacks of what the kernel in question, and this machine, use: the kernel is the
// running one, the one that the options name, or of an image the only other one.
func (k *Kernel) Upgrade(ctx context.Context, release string, r *fact.Report) (*fact.Upgrade, error) {
	to, err := k.treeOf(ctx, release)
	if err != nil {
		return nil, err
	}
	from, err := k.upgradeFrom(ctx, release, r)
	if err != nil {
		return nil, err
	}
	u := &upgrader{kernel: k, ctx: ctx, report: r.Part(), old: upgradeSide{tree: from}, new: upgradeSide{tree: to},
		changes: []fact.UpgradeChange{}, used: make(map[string]bool), changed: make(map[string]bool),
		said: make(map[string]bool)}
	u.compare()
	slices.SortStableFunc(u.changes, func(a, b fact.UpgradeChange) int {
		if a.Grade != b.Grade {
			if a.Grade.Stronger(b.Grade) {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Module, b.Module)
	})
	up := &fact.Upgrade{From: from.Release, To: to.Release, Boot: u.boots(), Changes: u.changes, Used: len(u.used)}
	for name := range u.used {
		if !u.changed[name] {
			up.Same++
		}
	}
	u.compareTrees(up)
	up.Problems = u.report.Problems
	r.Append(u.report)
	return up, ctx.Err()
}

// upgradeFrom returns the tree of the kernel that is in use.
func (k *Kernel) upgradeFrom(ctx context.Context, to string, r *fact.Report) (*modprobe.Tree, error) {
	if k.options.Kernel != "" || k.live() {
		return k.tree(ctx, r)
	}
	dirs, err := modprobe.Releases(k.machine, r)
	dirs = slices.DeleteFunc(slices.Clone(dirs), func(d modprobe.ReleaseDir) bool { return d.Release == to })
	switch {
	case err != nil:
		return nil, err
	case len(dirs) == 0:
		return nil, fmt.Errorf("%s is the only kernel here: name the one to compare it with (--kernel): %w", to,
			fs.ErrNotExist)
	case len(dirs) > 1:
		return nil, errors.New("there are several other kernels: name the one to compare it with (--kernel)")
	}
	return k.treeAt(dirs[0]), nil
}

// An upgradeSide is one of the two kernels.
type upgradeSide struct {
	tree    *modprobe.Tree
	checker *checker // nil until needed
	files   map[string]ko.File
}

// An upgrader compares two kernels for one machine.
type upgrader struct {
	kernel   *Kernel
	ctx      context.Context
	report   *fact.Report
	old, new upgradeSide
	changes  []fact.UpgradeChange
	used     map[string]bool   // modules in use, by name
	changed  map[string]bool   // those of them with a change
	dkms     map[string]string // modules that DKMS built for the old kernel alone; nil until asked for
	needs    int               // how much the root file system needs
	said     map[string]bool   // the changes, so that none is listed twice
}

// maxChanges caps the changes that are listed.
const maxChanges = 10000

func (u *upgrader) compare() {
	var config fact.Report
	u.new.tree.Config().Report(&config)
	for _, p := range config.Problems {
		if !modprobe.Ignored(p) {
			u.lose(p.Source, p)
		}
	}
	if err := u.new.tree.IndexErr(); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			u.lose(SourceTree, err)
		} else {
			u.add(fact.UpgradeChange{Grade: fact.UpgradeBoot, Code: ChangeNoIndex,
				Text: "no modules.dep: modprobe finds no module of this kernel; run depmod " + u.new.tree.Release})
		}
	}
	if err := u.old.tree.IndexErr(); err != nil {
		u.lose(SourceTree, err)
	}
	for _, side := range []*upgradeSide{&u.old, &u.new} {
		if _, err := side.tree.Index(modprobe.IndexBuiltin); err != nil {
			u.lose(SourceTree, err)
		}
	}
	u.packing()
	u.bootPath()
	u.loadedModules()
	u.devices()
	u.lists()
	u.outOfTree()
	u.usedModules()
	u.options()
	u.builtinLines()
	u.enforcements()
}

func (u *upgrader) add(c fact.UpgradeChange) {
	c.Text, c.File = escape.Text(c.Text), slash(c.File)
	if c.Module != "" {
		u.changed[c.Module] = true
	}
	key := c
	key.Answers = nil
	switch id := fmt.Sprint(key); {
	case u.said[id]:
	case len(u.changes) >= maxChanges:
		u.lose(SourceTree, fmt.Errorf("more than %d changes: %w", maxChanges, fact.ErrTooLarge))
	default:
		u.said[id] = true
		u.changes = append(u.changes, c)
	}
}

// lose notes what could not be read, once.
func (u *upgrader) lose(source string, err error) {
	p := fact.ProblemOf(source, "", "changes", err)
	if !slices.Contains(u.report.Problems, p) {
		u.report.Add(p)
	}
}

// judge returns the checker of one side, for its next boot.
func (u *upgrader) judge(side *upgradeSide) *checker {
	if side.checker == nil {
		side.checker = newChecker(checkedKernel{FS: u.kernel.machine, Release: side.tree.Release,
			Dir:  side.tree.ReleaseDir,
			Live: u.kernel.live(), Keys: u.kernel.keyFinder(), Initramfs: &u.kernel.initramfs}, u.report)
		if side == &u.new && side.checker.bootErr != nil {
			u.lose(SourceCmdline, side.checker.bootErr)
		}
	}
	return side.checker
}

// has says whether a side has a module, compiled in or as a file; unknown if a look-up failed.
func (u *upgrader) has(side *upgradeSide, name string) (builtin, file bool, known bool) {
	_, builtinErr := side.tree.Index(modprobe.IndexBuiltin)
	if builtinErr == nil && side.tree.IsBuiltin(name) {
		return true, false, true
	}
	line, err := side.tree.DepLine(name)
	if line != nil {
		return false, true, true
	}
	for _, err := range []error{builtinErr, err} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.lose(SourceTree, err)
			return false, false, false
		}
	}
	return false, false, builtinErr == nil
}

// file returns what a module's file says; false if the side has none, or it could not be read.
func (u *upgrader) file(side *upgradeSide, name string) (ko.File, bool) {
	if f, ok := side.files[name]; ok {
		return f, f.Modinfo != nil
	}
	if side.files == nil {
		side.files = make(map[string]ko.File)
	}
	var f ko.File
	file, err := side.tree.FileOf(name)
	if err == nil && file != "" {
		f, err = ko.NewReader().ReadFile(u.kernel.machine, side.tree.Path(file), ko.Options{}, u.report)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.lose(SourceTree, err)
	}
	side.files[name] = f
	return f, f.Modinfo != nil
}

// resolve returns the modules that a side has for a name or an alias, and whether that is known.
func (u *upgrader) resolve(side *upgradeSide, alias string) ([]modprobe.Match, bool) {
	var lost fact.Report
	matches, err := side.tree.Resolve(alias, &lost)
	for _, p := range lost.Problems {
		if p.Code != fact.CodeAbsent {
			u.lose(SourceTree, p)
		}
	}
	matches = slices.DeleteFunc(matches, func(m modprobe.Match) bool {
		builtin, file, known := u.has(side, m.Name)
		return known && !builtin && !file
	})
	if len(matches) == 0 && err == nil { // a kernel has a list of what is compiled in
		_, err = side.tree.Index(modprobe.IndexBuiltin)
	}
	return matches, len(matches) > 0 || err == nil
}

// answers returns the modules of the new kernel that answer to an alias of the old kernel's module.
func (u *upgrader) answers(name string) (answers []string) {
	f, _ := u.file(&u.old, name)
	for _, alias := range f.Modinfo.Values("alias") {
		normal, ok := modprobe.NormalizeAlias(alias)
		if !ok {
			continue
		}
		for _, index := range []string{modprobe.IndexAlias, modprobe.IndexBuiltinAlias} {
			matches, _ := u.new.tree.MatchIndex(index, normal, modprobe.MatchAliasIndex)
			for _, m := range matches {
				if !slices.Contains(answers, m.Name) && len(answers) < maxAnswers {
					answers = append(answers, m.Name)
				}
			}
		}
	}
	return answers
}

// maxAnswers is how many modules are named that answer to another's alias.
const maxAnswers = 8

// answerText says who answers to an alias of a module that is gone.
func answerText(answers []string) string {
	if len(answers) == 0 {
		return ""
	}
	return "; " + strings.Join(answers, ", ") + " there answers to an alias of it"
}

// loadedModules compares the modules that are loaded now.
func (u *upgrader) loadedModules() {
	if !u.kernel.isRunning(u.ctx, u.old.tree.Release) {
		return
	}
	var list moduleList
	if err := newListReader(u.kernel.machine).Read(&list, u.report); err != nil {
		u.lose(SourceModules, err)
		return
	}
	for _, e := range list.Entries {
		name := u.fileName(e.Name)
		u.used[name] = true
		builtin, file, known := u.has(&u.new, name)
		switch {
		case builtin:
			u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeBuiltinNow, Module: name,
				Text: "loaded as a module, compiled into " + u.new.tree.Release})
		case !known:
			u.add(fact.UpgradeChange{Grade: fact.UpgradeUnknown, Code: ChangeAbsent, Module: name,
				Text: "loaded; whether the new kernel has it is not known"})
		case !file:
			answers := u.answers(name)
			u.add(fact.UpgradeChange{Grade: fact.UpgradeLost, Code: ChangeAbsent, Module: name, Answers: answers,
				Text: "loaded (" + referencesText(e) + "); not in " + u.new.tree.Release + u.builderText(name) +
					answerText(answers)})
		}
	}
}

// referencesText says how much a loaded module is in use.
func referencesText(e listEntry) string {
	text := "references: " + cmp.Or(e.Refs.String(), "unknown")
	if len(e.UsedBy) > 0 {
		text += ", used by " + strings.Join(e.UsedBy, ", ")
	}
	return text
}

// fileName returns the name of the file that a loaded module came from.
func (u *upgrader) fileName(loaded string) string {
	if line, _ := u.old.tree.DepLine(loaded); line == nil {
		if files := u.judge(&u.old).innerNames()[loaded]; len(files) > 0 {
			return ko.NameOfFile(files[0])
		}
	}
	return loaded
}

// builtinLines names the lines about modules that are compiled into the new kernel alone, and so do nothing there.
func (u *upgrader) builtinLines() {
	config := u.new.tree.Config()
	for _, verb := range modprobe.Verbs {
		for _, d := range config.Lines(verb) {
			if verb == "alias" || verb == "weakdep" || d.File == modprobe.CmdlineFile ||
				path.Base(d.File) == "modules.softdep" {
				continue
			}
			_, file, _ := u.has(&u.old, d.Name)
			if builtin, _, _ := u.has(&u.new, d.Name); !builtin || !file {
				continue
			}
			text := "module here, compiled into " + u.new.tree.Release + ": this " + verb + " line does nothing there"
			if verb == "options" {
				text += "; the command line sets its parameters, as " + d.Name + ".PARAMETER=VALUE"
			}
			u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeBuiltinNow, Module: d.Name, Text: text,
				File: d.File,
				Line: d.Line})
		}
	}
}

// compareTrees lists what all modules of the two kernels are.
func (u *upgrader) compareTrees(up *fact.Upgrade) {
	up.Gone, up.NowBuiltin, up.NowModule = []string{}, []string{}, []string{}
	for _, side := range []*upgradeSide{&u.old, &u.new} {
		if err := side.tree.DepErr(); err != nil {
			u.lose(SourceTree, err)
		}
	}
	seen := make(map[string]bool)
	for _, line := range u.old.tree.DepLines() {
		name := line.Name()
		if seen[name] {
			continue
		}
		seen[name] = true
		switch builtin, file, known := u.has(&u.new, name); {
		case builtin:
			up.NowBuiltin = append(up.NowBuiltin, name)
		case known && !file:
			up.Gone = append(up.Gone, name)
		}
	}
	x, err := u.old.tree.Index(modprobe.IndexBuiltin)
	if err == nil {
		err = x.Each(func(name string, _ []modprobe.IndexValue) bool {
			if _, file, _ := u.has(&u.new, name); file {
				up.NowModule = append(up.NowModule, name)
			}
			return true
		})
	}
	if err != nil {
		u.lose(SourceTree, err)
	}
	for _, list := range [][]string{up.Gone, up.NowBuiltin, up.NowModule} {
		slices.Sort(list)
	}
}
