// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// devices looks at every device that has a driver: whether a module of the new kernel answers to it. Devices that no
// alias of the old kernel answers to have their driver by other means.
func (u *upgrader) devices() {
	if !u.kernel.isRunning(u.ctx, u.old.tree.Release) {
		return
	}
	buses, err := fs.ReadDir(u.kernel.machine, "sys/bus")
	if err != nil {
		u.lose(SourceDevices, err)
		return
	}
	looked := 0
	for _, bus := range buses {
		dir := "sys/bus/" + bus.Name() + "/devices"
		devices, err := fs.ReadDir(u.kernel.machine, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.lose(SourceDevices, err)
		}
		for _, d := range devices {
			if looked++; looked > maxDevices {
				u.lose(SourceDevices, fmt.Errorf("more than %d devices: %w", maxDevices, fact.ErrTooLarge))
				return
			}
			u.device(dir+"/"+d.Name(), d.Name())
		}
	}
}

// SourceDevices is what sysfs shows of devices and their drivers.
const SourceDevices = "sys_bus"

// device compares who answers to one device.
func (u *upgrader) device(dir, name string) {
	driver, err := u.driver(dir)
	if driver == "" {
		if err != nil {
			u.lose(SourceDevices, err)
		}
		return
	}
	alias, err := modaliasOf(u.kernel.machine, dir)
	if err != nil {
		u.lose(SourceDevices, err)
	}
	if alias == "" {
		return
	}
	before, _ := u.resolve(&u.old, alias)
	if len(before) == 0 {
		return
	}
	before = ownedBy(before, u.owner(dir, driver))
	if len(before) == 0 {
		return // another module answers to the device than the one that drives it
	}
	after, known := u.resolve(&u.new, alias)
	module := before[0].Name
	u.used[module] = true
	c := fact.UpgradeChange{Module: module, File: dir + "/modalias"}
	switch {
	case slices.ContainsFunc(after, func(m modprobe.Match) bool { return m.Name == module }):
		return
	case len(after) > 0 && !slices.ContainsFunc(after, func(m modprobe.Match) bool { return !u.keptOut(m) }):
		c.Grade, c.Code = fact.UpgradeLost, ChangeDevice
		c.Text = "drives " + name + " now; what answers to it there is kept from loading: " +
			strings.Join(matchNames(after), ", ")
	case len(after) > 0:
		c.Grade, c.Code, c.Text = fact.UpgradeOther, ChangeDriver,
			"drives "+name+" now; there other modules answer to it"
		c.Answers = matchNames(after)
		c.Text += ": " + strings.Join(c.Answers, ", ")
	case !known:
		c.Grade, c.Code, c.Text = fact.UpgradeUnknown, ChangeDevice,
			"drives "+name+" now; who answers to it there is not known"
	default:
		c.Grade, c.Code, c.Text = fact.UpgradeLost, ChangeDevice, "drives "+name+" now; nothing answers to it there"
	}
	u.add(c)
}

// matchNames returns the names of the first of some modules.
func matchNames(matches []modprobe.Match) (names []string) {
	for _, m := range matches[:min(len(matches), maxAnswers)] {
		names = append(names, m.Name)
	}
	return names
}

// keptOut reports whether a module that answers to a device is known not to load by itself: a blacklist line names it,
// by which udev's modprobe goes, or modprobe does not load it.
func (u *upgrader) keptOut(m modprobe.Match) bool {
	if m.Builtin || u.new.tree.IsBuiltin(m.Name) {
		return false
	}
	if u.new.tree.Config().FindBlacklist(m.Name) != nil {
		return true
	}
	blocked, _ := u.modprobeWay(&u.new, m.Name)
	return blocked == fact.Yes
}

// owner returns the module of a device's driver by the name of its file. The kernel's module_add_driver makes the link
// to the module, also of one that is compiled in. Without it the driver's own name is taken, which is often the same.
func (u *upgrader) owner(dir, driver string) string {
	target, err := fs.ReadLink(u.kernel.machine, dir+"/driver/module")
	if err != nil {
		name := strings.ReplaceAll(driver, "-", "_")
		if builtin, file, _ := u.has(&u.old, name); !builtin && !file && !errors.Is(err, fs.ErrNotExist) {
			u.lose(SourceDevices, err)
		}
		return name
	}
	return u.fileName(strings.ReplaceAll(path.Base(target), "-", "_"))
}

// ownedBy returns the one of the modules that answer to a device's alias which is its driver's. A bridge's driver is
// compiled in without a name, and a module for hot plugging answers to the bridge, too.
func ownedBy(matches []modprobe.Match, owner string) []modprobe.Match {
	return slices.DeleteFunc(slices.Clone(matches), func(m modprobe.Match) bool { return m.Name != owner })
}

// driver returns the name of a device's driver; empty if it has none.
func (u *upgrader) driver(dir string) (string, error) {
	target, err := fs.ReadLink(u.kernel.machine, dir+"/driver")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return path.Base(target), err
}

// modaliasOf returns a device's modalias, normalized; empty if it has none.
func modaliasOf(fsys fs.FS, dir string) (string, error) {
	b, err := limit.AppendAttr(fsys, nil, dir+"/modalias", limit.Attr)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return "", err
	}
	normal, ok := modprobe.NormalizeAlias(strings.TrimSpace(string(b)))
	if !ok {
		return "", &fact.ParseError{Source: dir + "/modalias", Reason: "unbalanced brackets"}
	}
	return normal, nil
}

// lists looks up every name that the configuration asks for during boot.
func (u *upgrader) lists() {
	var lost fact.Report
	names := modprobe.ReadLoadLists(u.kernel.machine, &lost)
	names = append(names, initialLists(u.kernel.machine, &lost)...)
	names = append(names, tables(u.kernel.machine, &lost)...)
	names = append(names, units(u.kernel.machine, &lost)...)
	for _, p := range lost.Problems {
		u.lose(p.Source, p)
	}
	for _, e := range u.judge(&u.new).setup.For(u.new.tree.Release) {
		for _, key := range loadKeys {
			for _, name := range boot.ListValues(e.Words, key, true) {
				names = append(names, modprobe.Setting{Name: name, File: e.File, Line: e.Line})
			}
		}
	}
	for _, s := range names {
		u.listed(s)
	}
	u.softdeps()
}

// listed compares who answers to a name that a file asks for.
func (u *upgrader) listed(s modprobe.Setting) {
	before, _ := u.resolve(&u.old, s.Name)
	if len(before) == 0 {
		return // nothing is lost
	}
	for _, m := range before {
		u.used[m.Name] = true
	}
	after, known := u.resolve(&u.new, s.Name)
	if len(after) > 0 {
		return
	}
	c := fact.UpgradeChange{Grade: fact.UpgradeLost, Code: ChangeListed, Module: before[0].Name, File: s.File,
		Line: s.Line,
		Text: "asked for as " + quote(s.Name) + " at boot; not in " + u.new.tree.Release}
	if !known {
		c.Grade, c.Text = fact.UpgradeUnknown,
			"asked for as "+quote(s.Name)+" at boot; whether the new kernel has it is not known"
	} else {
		c.Answers = u.answers(before[0].Name)
		c.Text += u.builderText(before[0].Name) + answerText(c.Answers)
	}
	u.add(c)
}

// softdeps looks up what the configuration loads beside modules in use.
func (u *upgrader) softdeps() {
	config := u.new.tree.Config()
	for i := range config.Softdeps {
		d := &config.Softdeps[i]
		if path.Base(d.File) == "modules.softdep" || !u.used[d.Name] {
			continue
		}
		dep := ko.ParseSoftdep(d.Value)
		for _, name := range slices.Concat(dep.Pre, dep.Post) {
			before, _ := u.resolve(&u.old, name)
			after, known := u.resolve(&u.new, name)
			if len(before) > 0 && len(after) == 0 && known {
				u.add(fact.UpgradeChange{Grade: fact.UpgradeLost, Code: ChangeListed, Module: before[0].Name,
					File: d.File, Line: d.Line,
					Text: "loaded beside " + d.Name + "; not in " + u.new.tree.Release})
			}
		}
	}
}

// initialLists returns the modules that the configuration of initial file systems adds: those of initramfs-tools(7), of
// dracut.conf(5) and of mkinitcpio.conf(5).
func initialLists(fsys fs.FS, r *fact.Report) []modprobe.Setting {
	list := modprobe.ReadList(fsys, "etc/initramfs-tools/modules", r)
	files := []string{"etc/mkinitcpio.conf", "etc/dracut.conf"}
	for _, dir := range []string{"etc/mkinitcpio.conf.d", "etc/dracut.conf.d", "usr/lib/dracut/dracut.conf.d"} {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "changes", err)
		}
		if entries, err = limit.Most(entries, maxTableFiles, "/"+dir); err != nil {
			r.Problem(SourceConfig, "", "changes", err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".conf") {
				files = append(files, dir+"/"+e.Name())
			}
		}
	}
	for _, file := range files {
		readLines(fsys, file, r, func(line string, number int) {
			for _, name := range assignedNames(line) {
				list = append(list, modprobe.Setting{Name: name, File: file, Line: number})
			}
		})
	}
	return list
}

// assignedNames returns the modules of an assignment to one of the variables that name modules: MODULES=(a b),
// add_drivers+=" a b ". What a shell would work out names none.
func assignedNames(line string) []string {
	key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
	key = strings.TrimSuffix(key, "+")
	if !ok || key != "MODULES" && key != "add_drivers" && key != "force_drivers" || strings.ContainsAny(value, "$`") {
		return nil
	}
	value, _, _ = strings.Cut(value, "#")
	return strings.FieldsFunc(value, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("()\"'",
			r)
	})
}

// Caps of what is read for lists.
const (
	maxTableFile  = 1 << 20
	maxTableFiles = 1000
)

// readLines calls f for each line of a file that may not be there, and is not a comment.
func readLines(fsys fs.FS, file string, r *fact.Report, f func(line string, number int)) {
	text, err := limit.ReadFile(fsys, file, maxTableFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "changes", err)
		}
		return
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			f(line, number)
		}
	}
}

// tables returns what fstab(5), crypttab(5), veritytab(5) and integritytab(5) need: the module of each file system,
// which the kernel asks for as fs-TYPE, and that of the device mapper's target.
func tables(fsys fs.FS, r *fact.Report) (names []modprobe.Setting) {
	readLines(fsys, fstabFile, r, func(line string, number int) {
		fields := strings.Fields(line)
		if len(fields) < 3 || slices.Contains([]string{"auto", "none", "swap"}, fields[2]) {
			return
		}
		if len(fields) > 3 && slices.Contains(strings.Split(fields[3], ","), "noauto") {
			return // nothing mounts it at boot
		}
		for kind := range strings.SplitSeq(fields[2], ",") {
			kind, _, _ = strings.Cut(kind, ".") // as the kernel's get_fs_type: fuse.sshfs is of fuse
			names = append(names, modprobe.Setting{Name: "fs-" + kind, File: fstabFile, Line: number})
		}
	})
	for _, t := range [][2]string{{"etc/crypttab", "dm-crypt"}, {"etc/veritytab", "dm-verity"},
		{"etc/integritytab", "dm-integrity"}} {
		readLines(fsys, t[0], r, func(_ string, number int) {
			names = append(names, modprobe.Setting{Name: t[1], File: t[0], Line: number})
		})
	}
	return names
}

const fstabFile = "etc/fstab"

// units returns the modules that systemd's modprobe@NAME.service units load which other units want, and those of lines
// that name them.
func units(fsys fs.FS, r *fact.Report) (names []modprobe.Setting) {
	dirs := []string{"etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}
	for _, dir := range modprobe.DistinctDirs(fsys, dirs) {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Problem(SourceConfig, "", "changes", err)
		}
		if entries, err = limit.Most(entries, maxTableFiles, "/"+dir); err != nil {
			r.Problem(SourceConfig, "", "changes", err)
		}
		for _, e := range entries {
			name := dir + "/" + e.Name()
			switch {
			case strings.HasSuffix(name, ".wants") || strings.HasSuffix(name, ".requires"):
				wanted, err := fs.ReadDir(fsys, name)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					r.Problem(SourceConfig, "", "changes", err)
				}
				if wanted, err = limit.Most(wanted, maxTableFiles, "/"+name); err != nil {
					r.Problem(SourceConfig, "", "changes", err)
				}
				for _, w := range wanted {
					if module := unitModule(w.Name()); module != "" {
						names = append(names, modprobe.Setting{Name: module, File: name + "/" + w.Name()})
					}
				}
			case dir == "etc/systemd/system" && strings.HasSuffix(name, ".service") && e.Type().IsRegular():
				readLines(fsys, name, r, func(line string, number int) {
					key, value, _ := strings.Cut(line, "=")
					if !slices.Contains([]string{"Wants", "Requires", "BindsTo"}, strings.TrimSpace(key)) {
						return
					}
					for word := range strings.FieldsSeq(value) {
						if module := unitModule(word); module != "" {
							names = append(names, modprobe.Setting{Name: module, File: name, Line: number})
						}
					}
				})
			}
		}
	}
	return names
}

// unitModule returns the module of a unit modprobe@NAME.service; empty for another unit.
func unitModule(unit string) string {
	name, ok := strings.CutPrefix(unit, "modprobe@")
	if !ok {
		return ""
	}
	name, ok = strings.CutSuffix(name, ".service")
	if !ok || name == "" {
		return ""
	}
	return strings.ReplaceAll(name, `\x2d`, "-")
}
