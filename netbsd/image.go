// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/limit"
)

// The files of an image that say what the boot loads.
const (
	kernelFile  = "netbsd"
	modulesConf = "etc/modules.conf"
	standDir    = "stand"
)

// SourceModulesConf is the name of the source that is /etc/modules.conf, which rc.d/modules reads.
const SourceModulesConf = "modules_conf"

// SourceRCConf is the name of the source that is rc.conf(5) and sysctl.conf(5).
const SourceRCConf = "rc_conf"

// SourceBootCfg is the name of the source that is /boot.cfg, which the boot loader reads.
const SourceBootCfg = "boot_cfg"

// The ways of the boot itself.
const (
	WayLoader   = "loader"   // the boot loader loads it, as boot.cfg says
	WayModules  = "modules"  // rc.d/modules loads it
	WayAutoload = "autoload" // the kernel loads it when something needs it
)

// Codes of the reasons of an image.
const (
	reasonConf  = "modules_conf"     // /etc/modules.conf names it
	reasonUnmet = "unmet_dependency" // nothing provides what it requires

	reasonLoader   = "boot_cfg"        // /boot.cfg names it
	reasonLevel    = "securelevel"     // the securelevel refuses it
	reasonAutoload = "module_autoload" // whether the kernel loads by itself
)

// dirs returns the directories that modules are loaded from: the one that the running kernel says, or of an image
// /stand/ARCH/RELEASE/modules of every release, or of the one that was chosen (module(7)).
func (k *Kernel) dirs(ctx context.Context, r *fact.Report) ([]string, error) {
	if !k.options.Image && k.options.Kernel == "" {
		dir, err := k.call().text(ctx, sysctlModulePath)
		return []string{dir}, err
	}
	var dirs []string
	archs, err := k.machine.ReadDir(standDir)
	if err != nil {
		return nil, err
	}
	archs, err = limit.Most(archs, maxReleases, "/"+standDir)
	if err != nil {
		r.Problem(SourceModulePath, "", "modules", err)
	}
	for _, arch := range archs {
		releases, err := k.machine.ReadDir(standDir + "/" + arch.Name())
		if err != nil {
			if mayBeDir(arch) {
				r.Problem(SourceModulePath, arch.Name(), "modules", err)
			}
			continue
		}
		releases, err = limit.Most(releases, maxReleases, "/"+standDir+"/"+arch.Name())
		if err != nil {
			r.Problem(SourceModulePath, arch.Name(), "modules", err)
		}
		for _, release := range releases {
			dir := path.Join("/", standDir, arch.Name(), release.Name(), "modules")
			if !k.chosen(release.Name()) {
				continue
			}
			_, err := fs.Stat(k.machine, dir[1:])
			switch {
			case err == nil:
				dirs = append(dirs, dir)
			case !errors.Is(err, fs.ErrNotExist) && mayBeDir(release):
				r.Problem(SourceModulePath, arch.Name()+"/"+release.Name(), "modules", err)
			}
		}
	}
	if dirs == nil {
		release := k.options.Kernel
		if k.chosen("") {
			release = "RELEASE"
		}
		dir := "/" + standDir + "/ARCH/" + release + "/modules"
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	slices.Sort(dirs)
	return dirs, nil
}

// mayBeDir reports whether an entry is a directory, or a link that may lead to one.
func mayBeDir(e fs.DirEntry) bool { return e.IsDir() || e.Type()&fs.ModeSymlink != 0 }

// maxReleases is how many releases, as in /stand/ARCH, are read.
const maxReleases = 256

// chosen reports whether the modules of that release are asked for.
func (k *Kernel) chosen(release string) bool {
	return k.options.Kernel == "" || k.options.Kernel == fact.KernelAll || k.options.Kernel == release
}

// imageBuiltins returns the modules that the kernel file of an image has compiled in.
func (k *Kernel) imageBuiltins(_ context.Context, r *fact.Report) ([]Record, error) {
	l, err := k.readLoader(r)
	if err == nil && l.device.file != "" {
		err = l.otherDevice()
	}
	if err != nil {
		return nil, err
	}
	own := r.Part() // its problems are those of what the kernel contains
	list, err := readMetadata(k.machine, l.kernel, k.options.FileCap(), l.kernel, own)
	if err != nil {
		return nil, err
	}
	for _, p := range own.Problems {
		p.Source = SourceModctl
		r.Add(p)
	}
	modules := make([]Record, 0, len(list))
	for i := range list {
		m := fileRecord(&list[i], "")
		m.State, m.Path, m.Size, m.ContentID = fact.StateBuiltin, "", fact.Count{}, ""
		modules = append(modules, m)
	}
	r.Done(SourceModctl, fact.CountOf(int64(len(modules))))
	return modules, nil
}

// sourceKernelFile is what says which modules an image's kernel contains: nobody asks modctl there.
const sourceKernelFile = "kernel"

// An image is what the verdicts on an image follow from.
type image struct {
	disk     []Record
	builtins []Record
	lack     error // why there may be more modules, on disk or in the kernel; nil if all are known
	conf     []confLine
	lost     error       // of modules.conf
	off      fact.Answer // whether rc.conf turns rc.d/modules off
	loader   loader
	unloaded error // of boot.cfg
	scripts  []confLine
	// unscripted is why it is not known what scripts load; nil if it is.
	unscripted error
	level      fact.Answer
	auto       fact.Answer
	files      moduleFiles // those in the module path
	aside      moduleFiles // those outside of it that a line names

	requiredBy map[string][]string // the modules that require one
	names      map[string]bool     // of all modules, on disk or in the kernel
	asked      *asking             // of the modules called askedOf
	askedOf    string
}

// checkImage is Check for an image.
func (k *Kernel) checkImage(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	var i image
	c := judge.Case[Module]{Query: query, Image: true, Boot: i.boot}
	var err error
	i.builtins, err = k.imageBuiltins(ctx, r)
	if err == nil && !r.Whole(SourceModctl) {
		if p, ok := r.First(SourceModctl); ok {
			err = p
		}
	}
	c.Lose(sourceKernelFile, err)
	c.Add("", i.builtins, nil, r)
	i.disk, err = k.installed(ctx, r)
	c.Add(SourceModulePath, i.disk, err, r)
	i.conf, i.lost = k.modulesConf(r)
	i.loader, i.unloaded = k.readLoader(r)
	i.scripts, i.unscripted = k.scripts(r)
	c.Lose(SourceModulesConf, i.lost) // what these load may be any file
	c.Lose(SourceBootCfg, i.unloaded)
	c.Lose(SourceBootCfg, i.loader.lost())
	c.Lose(SourceRCConf, i.unscripted)
	i.files = filesOf(i.disk)
	aside, err := k.readAside(ctx, i.files.missing(i.conf, i.loader.loads, i.scripts), r)
	c.Add("", aside, nil, r)
	c.Lose(SourceModulePath, err)
	i.aside = filesOf(aside)
	i.disk = slices.Concat(i.disk, aside)
	if p, ok := c.Lost(); ok {
		i.lack = p
	}
	i.off = off(k.rc("modules", r), "modules", reasonConf, "modules is off: rc(8) loads none")
	_, i.level = k.imageLevel(r)
	_, i.auto = k.imageAutoload(r)
	return c.Verdicts(), ctx.Err()
}

// boot answers by which ways a module on disk gets into the kernel, and what asks for it. The boot loader, rc.d/modules
// and the kernel itself come before rc.d/securelevel. The kernel itself takes no path (module_autoload).
func (i *image) boot(m *Record) (ways []judge.Entrance, triggers, bypasses []fact.Reason) {
	load := i.requirements(m)
	asks := i.asks(m.Name)
	for _, w := range []judge.Entrance{{Name: WayLoader, Answer: asks.loader}, {Name: WayModules, Answer: asks.modules},
		{Name: WayScript, Answer: asks.script}, {Name: WayAutoload, Answer: i.auto}} {
		if !w.Answer.Applies() || w.Name == WayAutoload && i.aside[m.Path] != nil {
			continue
		}
		if load.Blocked() != fact.No && w.Answer.Blocked() != fact.Yes {
			w.Answer = load
		}
		ways = append(ways, w)
	}
	if load.Blocked() != fact.Yes && i.level.Applies() {
		load = i.level
	}
	return append(ways, judge.Entrance{Name: judge.Way, Answer: load}), asks.triggers, nil
}

// An asking is what asks for the modules of one name during the boot.
type asking struct {
	loader, modules, script fact.Answer
	triggers                []fact.Reason
}

// asks answers whether the boot loader and rc(8) load the modules of that name. Several files may have one name.
func (i *image) asks(name string) *asking {
	if i.asked != nil && i.askedOf == name {
		return i.asked
	}
	a := &asking{}
	i.asked, i.askedOf = a, name
	loader, triggers := i.lines(name, i.loader.loads, reasonLoader, "the boot loader loads ")
	switch {
	case i.unloaded != nil:
		loader = fact.Unsure(judge.ReasonUnread, "what the boot loader loads was not read: "+i.unloaded.Error())
	case loader.Applies() && i.loader.off.file != "":
		loader = fact.Stops(i.loader.off.reason(reasonLoader, "modules are off: the boot loader loads none"))
	}
	asked, more := i.lines(name, i.conf, reasonConf, "rc(8) loads ")
	switch {
	case i.lost != nil:
		asked = fact.Unsure(judge.ReasonUnread, "what rc(8) loads was not read: "+i.lost.Error())
	case asked.Applies() && i.off.Applies():
		asked = i.off
	}
	a.loader, a.modules, triggers = loader, asked, append(triggers, more...)
	a.script, more = i.script(name)
	a.triggers = append(triggers, more...)
	return a
}

// lines answers whether lines load the module of that name, or one that requires it, and what asks for it.
func (i *image) lines(name string, lines []confLine, code, text string) (out fact.Answer, triggers []fact.Reason) {
	users := i.users(name)
	for _, l := range lines {
		loads := i.loads(l)
		if !slices.ContainsFunc(loads, func(m string) bool { return users[m] }) {
			continue
		}
		because := l.reason(code, text+l.name+" at boot")
		if !slices.Contains(loads, name) {
			because.Text += ", which requires it"
		}
		if len(triggers) < maxMenu {
			triggers = append(triggers, because)
		}
		switch {
		case l.sure:
			out = fact.Passes(because)
		case !out.Applies():
			because.Text += ", if that entry of its menu is chosen"
			out = fact.UnsureOf(because)
		}
	}
	return out, triggers
}

// loads returns the names of the modules in the file that a line loads; nil if there is no such file.
func (i *image) loads(l confLine) []string {
	if loads := i.files[l.module]; loads != nil {
		return loads
	}
	if loads := i.files[l.path]; loads != nil {
		return loads
	}
	return i.aside[l.path]
}

// users returns the names of the modules that are the one called name, or require it, directly or not.
func (i *image) users(name string) map[string]bool {
	if i.requiredBy == nil {
		i.requiredBy = map[string][]string{}
		for _, m := range i.disk {
			for _, r := range m.Own.Required {
				i.requiredBy[r] = append(i.requiredBy[r], m.Name)
			}
		}
	}
	seen := map[string]bool{name: true}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		for _, user := range i.requiredBy[queue[0]] {
			if !seen[user] {
				seen[user] = true
				queue = append(queue, user)
			}
		}
	}
	return seen
}

// requirements answers whether the kernel finds what the module requires.
func (i *image) requirements(m *Record) fact.Answer {
	if i.names == nil {
		i.names = map[string]bool{}
		for _, list := range [][]Record{i.disk, i.builtins} {
			for _, m := range list {
				i.names[m.Name] = true
			}
		}
	}
	for _, name := range m.Own.Required {
		if i.names[name] {
			continue
		}
		text := fmt.Sprintf("it requires %s, which is not on disk nor in the kernel", escape.Text(name))
		if i.lack != nil {
			return fact.Unsure(reasonUnmet, text+", as far as they were read: "+i.lack.Error())
		}
		return fact.Stops(fact.Reason{Code: reasonUnmet, Text: text})
	}
	return fact.Passes(fact.Reason{Code: judge.ReasonInstalled, Text: "its file is on disk", File: m.Path})
}
