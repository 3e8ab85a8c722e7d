// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// dkmsBuilt returns the modules that DKMS built for a release, each with its package: NAME/VERSION/RELEASE/ARCH/module
// in its directory.
func (u *upgrader) dkmsBuilt(release string) map[string]string {
	built := make(map[string]string)
	u.eachDir(dkmsDir, func(name string) {
		u.eachDir(dkmsDir+"/"+name, func(version string) {
			dir := path.Join(dkmsDir, name, version, release)
			u.eachDir(dir, func(arch string) {
				files, err := fs.ReadDir(u.kernel.machine, dir+"/"+arch+"/module")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					u.lose(SourceDKMS, err)
				}
				if files, err = limit.Most(files, maxTableFiles, "/"+dir); err != nil {
					u.lose(SourceDKMS, err)
				}
				for _, f := range files {
					if ko.IsModuleFile(f.Name()) {
						built[ko.NameOfFile(f.Name())] = name + "/" + version
					}
				}
			})
		})
	})
	return built
}

// eachDir calls f for each entry of a directory that may not be there.
func (u *upgrader) eachDir(dir string, f func(name string)) {
	entries, err := fs.ReadDir(u.kernel.machine, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.lose(SourceDKMS, err)
	}
	if entries, err = limit.Most(entries, maxTableFiles, "/"+dir); err != nil {
		u.lose(SourceDKMS, err)
	}
	for _, e := range entries {
		f(e.Name())
	}
}

// builderText says what builds a module that did not come with the kernel; empty if that is not known.
func (u *upgrader) builderText(name string) string { return u.dkmsText(name) + u.akmodsText(name) }

// dkmsText says that DKMS built a module for the old kernel alone; empty if it did not.
func (u *upgrader) dkmsText(name string) string {
	if u.dkms == nil {
		u.dkms = u.dkmsBuilt(u.old.tree.Release)
		for name := range u.dkmsBuilt(u.new.tree.Release) {
			delete(u.dkms, name)
		}
	}
	if of := u.dkms[name]; of != "" {
		return "; DKMS built " + of + " for " + u.old.tree.Release + " and not for " + u.new.tree.Release
	}
	return ""
}

// outOfTreeDirs are the folders of a release for modules that did not come with the kernel.
var outOfTreeDirs = []string{"extra/", "updates/", "weak-updates/", "misc/", "extramodules/"}

// outOfTree compares the modules that did not come with the kernels.
func (u *upgrader) outOfTree() {
	lost := false
	for _, line := range u.old.tree.DepLines() {
		if !slices.ContainsFunc(outOfTreeDirs, func(dir string) bool { return strings.HasPrefix(line.Path, dir) }) {
			continue
		}
		name := line.Name()
		builtin, file, known := u.has(&u.new, name)
		if builtin || file || !known {
			continue
		}
		lost = true
		if u.used[name] {
			continue // said already
		}
		u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeOutOfTree, Module: name,
			File: u.old.tree.Path(line.Path),
			Text: "installed for " + u.old.tree.Release + " alone, and not in use" + u.builderText(name)})
	}
	u.dangling()
	if lost && len(u.dkms) > 0 {
		u.headers()
	}
}

// dangling names links of the new kernel's weak-updates that lead nowhere.
func (u *upgrader) dangling() {
	for _, line := range u.new.tree.DepLines() {
		if !strings.HasPrefix(line.Path, "weak-updates/") {
			continue
		}
		file := u.new.tree.Path(line.Path)
		if _, err := fs.Stat(u.kernel.machine, file); errors.Is(err, fs.ErrNotExist) {
			c := fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeOutOfTree, Module: line.Name(), File: file,
				Text: "a link to /" + modprobe.LinkTarget(u.kernel.machine, file) + ", which is not there"}
			if u.used[line.Name()] {
				c.Grade = fact.UpgradeLost
			}
			u.add(c)
		}
	}
}

// headers says whether DKMS has what it needs to build for the new kernel.
func (u *upgrader) headers() {
	build := u.new.tree.Dir + "/build"
	_, err := fs.Stat(u.kernel.machine, build)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeHeaders, File: build,
			Text: "the headers of " + u.new.tree.Release + " are not installed: DKMS cannot build for it"})
	case err != nil:
		u.lose(SourceDKMS, err)
	}
}

// usedModules asks of each module in use whether the new kernel loads it, and which firmware it wants.
func (u *upgrader) usedModules() {
	for name := range u.used {
		if u.ctx.Err() != nil {
			return
		}
		if builtin, file, _ := u.has(&u.new, name); builtin || !file {
			continue
		}
		u.refusal(name)
		u.firmware(name)
	}
}

// refusal says whether modprobe loads a module there, if it does so here.
func (u *upgrader) refusal(name string) {
	there, because := u.modprobeWay(&u.new, name)
	if there == fact.No {
		return
	}
	here, _ := u.modprobeWay(&u.old, name)
	if here == there {
		return // nothing changes
	}
	c := fact.UpgradeChange{Grade: fact.UpgradeRefused, Code: ChangeRefusal, Module: name,
		File: strings.TrimPrefix(because.File, "/"),
		Line: because.Line, Text: "does not load there: " + because.Text}
	if there == "" {
		c.Grade, c.Text = fact.UpgradeUnknown, "whether it loads there is not known: "+because.Text
	}
	u.add(c)
}

// modprobeWay says whether modprobe is kept from loading a module at the next boot of one side, by any of its boot
// entries, and why.
func (u *upgrader) modprobeWay(side *upgradeSide, name string) (fact.Tri, fact.Reason) {
	c := u.judge(side)
	t := c.byName(name)
	if t == nil {
		return "", fact.Reason{Text: "modprobe knows no such module"}
	}
	var found fact.Answer
	for _, s := range c.next {
		a := inTurn(c.blockedByPlan(s, *t, modprobe.Match{Name: t.name}), c.refuses(s.kernel, *t))
		switch {
		case s.elsewhere != nil:
			a = fact.Unsure(ReasonBootEntry,
				"boot entry "+quote(s.entry.ID())+" starts another deployment, with a root of its own")
		case a.Blocked() == fact.No && s.unread.Applies():
			a = s.unread
		}
		if a.Blocked() == fact.Yes {
			return fact.Yes, a.Because()
		}
		if !found.Applies() || a.Blocked() == "" {
			found = a
		}
	}
	return found.Blocked(), found.Because()
}

// firmware names files that a module of the new kernel declares, that are not there, and that the old one does not
// declare. A driver may declare more than a machine's device asks for.
func (u *upgrader) firmware(name string) {
	f, ok := u.file(&u.new, name)
	if !ok {
		return
	}
	old, _ := u.file(&u.old, name)
	before := old.Modinfo.Values("firmware")
	finder := u.kernel.firmwareOf(u.new.tree.Release)
	missing := 0
	here := u.kernel.firmwareOf(u.old.tree.Release)
	for _, want := range f.Modinfo.Values("firmware") {
		if slices.Contains(before, want) {
			if present, err := here.Present(want); err != nil || present != fact.Yes {
				continue // it is as much missing here
			}
		}
		present, err := finder.Present(want)
		if err != nil {
			u.lose(SourceTree, err)
			return
		}
		if present != fact.No {
			continue
		}
		if missing++; missing > maxMissing {
			u.add(fact.UpgradeChange{Grade: fact.UpgradeFirmware, Code: ChangeFirmware, Module: name,
				Text: "may ask for more files that are not installed for it"})
			return
		}
		u.add(fact.UpgradeChange{Grade: fact.UpgradeFirmware, Code: ChangeFirmware, Module: name,
			Text: "may ask for " + want + ", which is not installed" + firmwareText(slices.Contains(before, want))})
	}
}

// firmwareText says what is with a missing firmware file here.
func firmwareText(declared bool) string {
	if declared {
		return " for it; the module here finds it"
	}
	return "; the module here does not"
}

// maxMissing is how many missing firmware files of one module are named.
const maxMissing = 8

// options names parameters that the configuration sets, that the old kernel's module has and that the new one's lacks.
func (u *upgrader) options() {
	lines := u.new.tree.Config().Options
	if u.kernel.live() {
		lines = slices.DeleteFunc(slices.Clone(lines),
			func(d modprobe.Directive) bool { return d.File == modprobe.CmdlineFile })
	}
	for _, e := range u.judge(&u.new).setup.For(u.new.tree.Release) {
		var words modprobe.Config
		words.ParseCmdline(e.Text, e.File)
		for _, d := range words.Options {
			d.Line = e.Line
			lines = append(lines, d)
		}
	}
	for i := range lines {
		u.option(&lines[i])
	}
}

// option judges one line of options.
func (u *upgrader) option(d *modprobe.Directive) {
	_, hereFile, _ := u.has(&u.old, d.Name)
	_, thereFile, _ := u.has(&u.new, d.Name)
	if !hereFile || !thereFile {
		return
	}
	here, ok := u.file(&u.old, d.Name)
	there, okThere := u.file(&u.new, d.Name)
	if !ok || !okThere {
		return
	}
	for _, w := range boot.ParseCmdline(d.Value) {
		key, _, _ := strings.Cut(w.Key, "[")
		if declares(here, key) && !declares(there, key) {
			u.add(fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeParameter, Module: d.Name, File: d.File,
				Line: d.Line,
				Text: "sets " + quote(key) + ", which the module of " + u.new.tree.Release + " does not declare"})
		}
	}
}

// declares reports whether a module's file has a parameter: parm= names those with a description, parmtype= those with
// a type that the kernel's build knows. A dash is an underscore, as for the kernel's parameq().
func declares(f ko.File, name string) bool {
	for _, e := range f.Modinfo {
		declared, _, ok := strings.Cut(e.Value, ":")
		if (e.Key == "parm" || e.Key == "parmtype") && ok && boot.SameKey(declared, name) {
			return true
		}
	}
	return false
}

// enforcements compares what the two kernels were built to enforce.
func (u *upgrader) enforcements() {
	here := make(map[string]fact.PolicyFact)
	for _, f := range u.built(&u.old) {
		here[f.Name] = f
	}
	for _, b := range u.built(&u.new) {
		a, ok := here[b.Name]
		if !ok || a.Unknown || b.Unknown || a.Value == b.Value {
			continue
		}
		c := fact.UpgradeChange{Grade: fact.UpgradeOther, Code: ChangeEnforcement, Line: b.Line,
			File: strings.TrimPrefix(b.File, "/"), Text: b.Name + ": " + valueText(a.Value) + " here, " +
				valueText(b.Value) + " there"}
		if b.Name == "CONFIG_LSM" {
			c.Text = b.Name + ": " + wordsText(a.Value, b.Value)
		}
		u.add(c)
	}
}

// wordsText says which words of a list come and go.
func wordsText(before, after string) string {
	var text []string
	old, now := strings.Split(before, ","), strings.Split(after, ",")
	for _, word := range now {
		if !slices.Contains(old, word) {
			text = append(text, "+"+word)
		}
	}
	for _, word := range old {
		if !slices.Contains(now, word) {
			text = append(text, "-"+word)
		}
	}
	if text == nil {
		return "another order"
	}
	return strings.Join(text, " ") + " there"
}

// valueText is the value of a kernel's setting.
func valueText(value string) string {
	if value == "" {
		return "not set"
	}
	return value
}

// built returns the facts of a kernel's configuration.
func (u *upgrader) built(side *upgradeSide) []fact.PolicyFact {
	p := readPolicy(policyMachine{FS: u.kernel.machine, Release: side.tree.Release})
	return slices.DeleteFunc(p.policy.Facts, func(f fact.PolicyFact) bool {
		return !strings.HasPrefix(f.Name,
			"CONFIG_")
	})
}
