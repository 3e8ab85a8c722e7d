// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// SourceInitramfs is the initial file system of a boot.
const SourceInitramfs = boot.SourceInitramfs

// An initialState is what one boot entry's initial file systems do before the root is there: the copies of modules in
// them are judged with their own indexes, their own configuration and the entry's command line.
type initialState struct {
	stages []initialStage
	unread fact.Answer // why there may be another copy; does not apply without one
}

// An initialStage is one initial file system that was read.
type initialStage struct {
	files *boot.Initramfs
	inner *checker // judges what is in it
	state *bootState
}

// initialOf returns what the initial file systems of a boot entry do. line is the entry with the words that the kernel
// was built with.
func (c *checker) initialOf(e, line boot.Entry, kernel *enforcement) *initialState {
	s := new(initialState)
	unread := c.report.Part()
	plan := c.setup.Initial(c.machine.FS, e, c.machine.Release, unread)
	if plan.Bare {
		c.initramfsProblem(errNoBoot)
	}
	for _, p := range unread.Problems {
		s.lose(c, "an initial file system", p)
	}
	for i, names := range plan.Sets {
		if i == maxBootStates {
			s.lose(c, "further initial file systems", fmt.Errorf("%d initial file systems: %w", len(plan.Sets),
				fact.ErrTooLarge))
			break
		}
		c.addStage(s, names, line, kernel)
	}
	return s
}

// errNoBoot says what the verdicts of a root without any sign of a boot leave out.
var errNoBoot = errors.New("judged without an initial file system: this root has no kernel, no boot entry and no " +
	"line for /boot in /etc/fstab")

// errNoRelease says why modules in an initial file system are not judged.
var errNoRelease = errors.New("the kernel's release is not known, nor which of the modules there are for it")

// plainError returns what went wrong without the source, which whoever asks names.
func plainError(err error) error {
	var p fact.Problem
	if errors.As(err, &p) {
		p.Source, p.Field = "", ""
		return p
	}
	return err
}

// lose notes what of the initial file systems was not read.
func (s *initialState) lose(c *checker, what string, err error) {
	c.initramfsProblem(err)
	if !s.unread.Applies() {
		s.unread = fact.UnsureOf(unread(ReasonInitramfs, what, plainError(err)))
	}
}

// initramfsProblem reports a problem of the initial file systems, which several boot states share, once.
func (c *checker) initramfsProblem(err error) {
	p := fact.ProblemOf(SourceInitramfs, "", "modules", err)
	if !slices.ContainsFunc(c.report.Problems, func(known fact.Problem) bool {
		return known.Source == p.Source && known.Text == p.Text
	}) {
		c.report.Add(p)
	}
}

// addStage reads one initial file system.
func (c *checker) addStage(s *initialState, names []string, line boot.Entry, kernel *enforcement) {
	part := "a part of /" + strings.Join(names, ", /")
	lost := c.report.Part()
	i, err := c.machine.Initramfs.read(c.machine.FS, names, lost)
	for _, p := range lost.Problems {
		s.lose(c, part, p)
	}
	if err != nil {
		s.lose(c, "/"+strings.Join(names, ", /"), err)
		return
	}
	dir, dirErr := modprobe.FindRelease(i.FS, c.machine.Release)
	if c.machine.Release == "" || dirErr != nil {
		if len(i.Modules) > 0 && c.machine.Release == "" {
			s.lose(c, part, errNoRelease)
		}
		return
	}
	inner := &checker{machine: checkedKernel{FS: i.FS, Release: c.machine.Release, Dir: dir}, keys: c.keys,
		report: c.other, other: c.other, setup: c.setup, loaded: make(map[string]bool),
		kept: newKept()}
	inner.tree = modprobe.OpenTree(i.FS, dir, false)
	config := configAt(modprobe.ReadConfig(i.FS, modprobe.ConfigDirs, dir.Dir, false), line)
	if i.NoInstall {
		config.Install, config.Remove = nil, nil
	}
	tree := modprobe.OpenTree(i.FS, dir, false)
	tree.SetConfig(config)
	state := &bootState{kernel: kernel, modprobe: inner.newModprobeState(tree, config), initial: new(initialState)}
	inner.next = []*bootState{state}
	s.stages = append(s.stages, initialStage{i, inner, state})
}

// initramfsWay says whether the boot loads a copy of the module before the root is there. It does not apply if the
// boot entry has no initial file system, or there is no copy in it.
func (c *checker) initramfsWay(r *result, s *bootState, t target) fact.Answer {
	var found fact.Answer
	for i := range s.initial.stages {
		a := s.initial.stages[i].loads(t)
		r.addReason(a.Because())
		if a.Blocked() == fact.No {
			return a
		}
		if a.Applies() {
			found = inSum(found, a)
		}
	}
	if s.initial.unread.Applies() && found.Blocked() != "" || !found.Applies() {
		return s.initial.unread
	}
	return found
}

// loads returns whether modprobe there loads the module's copy. It does not apply without a copy.
func (i *initialStage) loads(t target) fact.Answer {
	c := i.inner
	copied := c.byName(t.name)
	if copied == nil {
		copied = c.unindexedFile(t.name)
	}
	if copied == nil || copied.builtin || copied.file == "" {
		return fact.Answer{}
	}
	file := i.files.Files[len(i.files.Files)-1]
	text := "a copy in /" + file + " (" + c.tree.Path(copied.file) + ")"
	refused := c.refuses(i.state.kernel, *copied)
	if !copied.onDisk {
		found := c.unindexed(*copied)
		if found.Blocked() == "" && i.list(copied.name) != "" {
			found = passes() // without an index, what reads the list must load the file by itself
		}
		return i.because(inTurn(found, refused), text, i.asked(copied.name), file)
	}
	plan := c.blockedByPlan(i.state, *copied, modprobe.Match{Name: copied.name})
	load := inTurn(i.state.modprobe.certainly(plan), refused)
	a := inTurn(i.state.modprobe.certainly(blockedName(i.state.modprobe, *copied)), load)
	if a.Blocked() == fact.Yes && load.Blocked() != fact.Yes {
		if alias, _ := c.blockedAliases(i.state.modprobe, *copied); alias.Applies() {
			a = inTurn(i.state.modprobe.certainly(alias), load)
		}
	}
	return i.because(a, text, i.asked(copied.name), file)
}

// because gives an answer about a copy the reason that names the copy.
func (i *initialStage) because(a fact.Answer, text, asked, file string) fact.Answer {
	r := textReason(ReasonInitramfs, text+", which modprobe there loads"+asked, "/"+file, 0)
	why := a.Because()
	switch a.Blocked() {
	case fact.No:
		return fact.Passes(r)
	case fact.Yes:
		r.Text = text + ", which does not load: " + why.Text
		return fact.Stops(r)
	}
	r.Text, r.Unread = text+": "+why.Text, why.Unread
	return fact.UnsureOf(r)
}

// asked says which list in the initial file system names the module.
func (i *initialStage) asked(name string) string {
	if file := i.list(name); file != "" {
		return "; " + file + " there loads it at boot"
	}
	if aliases, _ := i.inner.aliasesOf(name); len(aliases) > 0 {
		return " when a device or the kernel asks for it"
	}
	return " when somebody asks for it"
}

// list returns the list in the initial file system that names the module; empty for none.
func (i *initialStage) list(name string) string {
	for _, s := range i.files.Lists {
		if modprobe.SameModule(s.Name, name) {
			return s.File
		}
	}
	return ""
}

// initialTargets returns the modules that a query means and that only an initial file system, or the root of another
// deployment, holds.
func (c *checker) initialTargets(query, name string) (targets []target) {
	for _, s := range c.next {
		if s.elsewhere != nil {
			found, _, _ := s.elsewhere.targets(query) // the query was sound
			for _, f := range found {
				t := target{name: f.name, alias: f.alias, initial: true}
				if !slices.Contains(targets, t) {
					targets = append(targets, t)
				}
			}
		}
		for i := range s.initial.stages {
			inner := s.initial.stages[i].inner
			var names []string
			if inner.byName(name) != nil || inner.unindexedFile(name) != nil {
				names = []string{name}
			} else {
				matches, _ := inner.tree.Resolve(query, c.other) // what was not read is the state's own
				for _, m := range matches {
					names = append(names, m.Name)
				}
			}
			for _, found := range names {
				t := target{name: found, initial: true}
				if found != name {
					t.alias = name
				}
				if at := inner.byName(found); at != nil && at.builtin || slices.Contains(targets, t) {
					continue
				}
				targets = append(targets, t)
			}
		}
	}
	return targets
}

// rebuildText names the command that builds the machine's initial file systems anew.
func (c *checker) rebuildText() string {
	for _, tool := range [][2]string{
		{"usr/sbin/update-initramfs", "update-initramfs -u -k " + c.machine.Release},
		{"usr/bin/dracut", "dracut -f --kver " + c.machine.Release},
		{"usr/sbin/dracut", "dracut -f --kver " + c.machine.Release},
		{"usr/bin/mkinitcpio", "mkinitcpio -P"},
		{"sbin/mkinitfs", "mkinitfs " + c.machine.Release},
	} {
		if _, err := fs.Stat(c.machine.FS, tool[0]); err == nil {
			return tool[1]
		}
	}
	return "update-initramfs -u, dracut -f, or what this system has for it"
}
