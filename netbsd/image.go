// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

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

// WayModules is the way of the modules that rc.d/modules loads at boot.
const WayModules = "modules"

// Codes of the reasons of an image.
const (
	reasonConf  = "modules_conf"     // /etc/modules.conf names it
	reasonUnmet = "unmet_dependency" // nothing provides what it requires
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
	for _, arch := range archs[:min(len(archs), maxReleases)] {
		releases, err := k.machine.ReadDir(standDir + "/" + arch.Name())
		if err != nil {
			if arch.IsDir() {
				r.Problem(SourceModulePath, arch.Name(), "modules", err)
			}
			continue
		}
		for _, release := range releases[:min(len(releases), maxReleases)] {
			dir := path.Join("/", standDir, arch.Name(), release.Name(), "modules")
			if _, err := fs.Stat(k.machine, dir[1:]); err == nil && k.chosen(release.Name()) {
				dirs = append(dirs, dir)
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

// maxReleases is how many entries of a directory of /stand are looked into.
const maxReleases = 256

// chosen reports whether the modules of that release are asked for.
func (k *Kernel) chosen(release string) bool {
	return k.options.Kernel == "" || k.options.Kernel == fact.KernelAll || k.options.Kernel == release
}

// imageBuiltins returns the modules that the kernel file of an image has compiled in.
func (k *Kernel) imageBuiltins(_ context.Context, r *fact.Report) ([]Record, error) {
	list, err := readMetadata(k.machine, kernelFile, k.options.FileCap(), kernelFile, r)
	if err != nil {
		return nil, err
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

// An image is what the verdicts on an image follow from.
type image struct {
	disk     []Record
	builtins []Record
	unread   error // why the modules inside the kernel are not known; nil if they are
	conf     []confLine
	off      bool // rc.conf turns rc.d/modules off
	lost     error
}

// A confLine is one line of modules.conf: a module to load.
type confLine struct {
	name string
	line int
}

// checkImage is Check for an image.
func (k *Kernel) checkImage(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	var i image
	var err error
	c := judge.Case[Module]{Query: query, Image: true, Boot: i.boot}
	i.disk, err = k.installed(ctx, r)
	c.Add(SourceModulePath, i.disk, err, r)
	i.builtins, i.unread = k.imageBuiltins(ctx, r)
	c.Add("", i.builtins, i.unread, r)
	i.conf, i.lost = k.modulesConf()
	i.off = k.modulesOff()
	return c.Verdicts(), ctx.Err()
}

// modulesConf reads modules.conf(5): the module, by name or path, and its arguments; none if there is no such file.
func (k *Kernel) modulesConf() ([]confLine, error) {
	text, err := limit.ReadFile(k.machine, modulesConf, limit.Text)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []confLine
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 0 && len(out) < maxDirEntries {
			name := strings.TrimSuffix(path.Base(f[0]), ".kmod")
			out = append(out, confLine{escape.UTF8(name), n})
		}
	}
	return out, err
}

// modulesOff reports whether rc.conf says modules=NO in so many words.
func (k *Kernel) modulesOff() bool {
	off := false
	for _, name := range []string{"etc/defaults/rc.conf", "etc/rc.conf"} {
		text, err := limit.ReadFile(k.machine, name, limit.Text)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "modules="); ok {
				v, _, _ = strings.Cut(v, "#")
				v = strings.ToLower(strings.Trim(strings.TrimSpace(v), `"'`))
				off = v == "no" || v == "off" || v == "false" || v == "0"
			}
		}
	}
	return off
}

// boot answers by which ways a module on disk gets into the kernel, and what asks for it.
func (i *image) boot(m *Record) (ways []judge.Entrance, triggers []fact.Reason) {
	load := i.requirements(m)
	asked := fact.Answer{}
	for _, l := range i.conf {
		if !i.needs(l.name, m.Name) {
			continue
		}
		because := fact.Reason{Code: reasonConf, File: "/" + modulesConf, Line: l.line,
			Text: "rc(8) loads " + l.name + " at boot"}
		if l.name != m.Name {
			because.Text += ", which requires it"
		}
		triggers = append(triggers, because)
		asked = fact.Passes(because)
		if i.off {
			asked = fact.Stops(fact.Reason{Code: reasonConf, File: "/etc/rc.conf", Text: "modules is off: rc(8) loads none"})
		}
	}
	if i.lost != nil {
		asked = fact.Unsure(judge.ReasonUnread, "what rc(8) loads was not read: "+i.lost.Error())
	}
	if asked.Applies() {
		if load.Blocked() != fact.No {
			asked = load
		}
		ways = append(ways, judge.Entrance{Name: WayModules, Answer: asked})
	}
	return append(ways, judge.Entrance{Name: judge.Way, Answer: load}), triggers
}

// needs reports whether the module called name is, or requires, directly or not, the one called what.
func (i *image) needs(name, what string) bool {
	seen := map[string]bool{name: true}
	for queue := []string{name}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == what {
			return true
		}
		for _, m := range judge.Named(i.disk, queue[0]) {
			for _, r := range m.Own.Required {
				if !seen[r] {
					seen[r] = true
					queue = append(queue, r)
				}
			}
		}
	}
	return false
}

// requirements answers whether the kernel finds what the module requires.
func (i *image) requirements(m *Record) fact.Answer {
	for _, name := range m.Own.Required {
		if len(judge.Named(i.disk, name)) > 0 || len(judge.Named(i.builtins, name)) > 0 {
			continue
		}
		text := fmt.Sprintf("it requires %s, which is not on disk", escape.Text(name))
		if i.unread != nil {
			return fact.Unsure(reasonUnmet, text+"; what is compiled into the kernel was not read: "+i.unread.Error())
		}
		return fact.Stops(fact.Reason{Code: reasonUnmet, Text: text + " nor in the kernel"})
	}
	return fact.Passes(fact.Reason{Code: judge.ReasonInstalled, Text: "its file is on disk", File: m.Path})
}
