// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxTriggers is how many triggers of one kind a verdict names.
const maxTriggers = 8

// triggers says what would ask for the module.
func (c *Checker) triggers(t target) []fact.Reason {
	var triggers []fact.Reason
	if t.builtin {
		return nil
	}
	if by := triggerOf(t.name, true); by != nil {
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess, Text: "unprivileged " + by.Text + ": the kernel asks for it by name"})
	}
	aliases := c.aliases(t.name)
	for _, a := range aliases {
		if by := triggerOf(a, false); by != nil && len(triggers) < maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess, Text: escape.Text("unprivileged " + by.Text + ": alias " + a)})
		}
	}
	for _, a := range aliases {
		if triggerOf(a, false) == nil && !isDeviceAlias(a) && len(triggers) < 2*maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerAlias, Text: escape.Text("alias " + a)})
		}
	}
	triggers = append(triggers, c.presentDevices(aliases)...)
	for _, s := range c.loadLists {
		if normal, ok := modprobe.NormalizeAlias(s.Name); ok && (normal == t.name || normal == t.alias) {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerList, Text: "loaded at boot; a blacklist line stops it", File: slash(s.File), Line: s.Line})
		}
	}
	triggers = append(triggers, c.cmdlineLoads(t)...)
	names := c.dependents(c.worlds()[0], t)
	for i, name := range names {
		if i == maxTriggers {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: fmt.Sprintf("and %d more", len(names)-i)})
			break
		}
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: escape.Text("comes with " + name)})
	}
	return triggers
}

// loadKeys are the keys of the command line that name modules to load during boot, to systemd and to
// the scripts of initial file systems.
var loadKeys = []string{"modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post", "rdloaddriver", "rdinsmodpost", "earlymodules"}

// cmdlineLoads says which words of a command line ask for the module.
func (c *Checker) cmdlineLoads(t target) []fact.Reason {
	var triggers []fact.Reason
	for _, w := range c.worlds() {
		for _, key := range loadKeys {
			for _, name := range boot.ListValues(w.words, key, true) {
				r := fact.Reason{Code: ReasonTriggerList, Text: escape.Text(key + "=" + name + " on the command line"), File: w.at.File, Line: w.at.Line}
				if modprobe.SameModule(name, t.name) && !slices.Contains(triggers, r) {
					triggers = append(triggers, r)
				}
			}
		}
	}
	return triggers
}

// maxDevices is how many devices are looked at.
const maxDevices = 20000

// presentDevices names devices that are there and that the aliases fit.
func (c *Checker) presentDevices(aliases []string) []fact.Reason {
	var patterns []string
	for _, a := range aliases {
		if isDeviceAlias(a) {
			patterns = append(patterns, a)
		}
	}
	if !c.m.Live || len(patterns) == 0 {
		return nil
	}
	buses, err := fs.ReadDir(c.m.FS, "sys/bus")
	if err != nil {
		return nil // what triggers a load is advice; the ways are judged without it
	}
	var found []fact.Reason
	looked := 0
	for _, bus := range buses {
		prefix := bus.Name() + ":"
		if !hasPrefix(patterns, prefix) {
			continue
		}
		dir := "sys/bus/" + bus.Name() + "/devices"
		devices, err := fs.ReadDir(c.m.FS, dir)
		if err != nil {
			continue
		}
		for _, d := range devices {
			if looked++; looked > maxDevices || len(found) == maxTriggers {
				return found
			}
			b, err := limit.AppendAttr(c.m.FS, nil, dir+"/"+d.Name()+"/modalias", limit.Attr)
			if err != nil {
				continue
			}
			modalias := strings.TrimSpace(string(b))
			normal, ok := modprobe.NormalizeAlias(modalias)
			if !ok {
				continue
			}
			for _, p := range patterns {
				if modprobe.MatchAlias(p, normal) {
					found = append(found, fact.Reason{Code: ReasonTriggerDevice, Text: escape.Text(d.Name() + " via " + p), File: "/" + dir + "/" + d.Name()})
					break
				}
			}
		}
	}
	return found
}

func hasPrefix(patterns []string, prefix string) bool {
	for _, p := range patterns {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// bypasses says what could put the code in all the same, and what of that could not be read.
func (c *Checker) bypasses(t target, next *fact.Prospect) (bypasses []fact.Reason, problems []fact.Problem) {
	if t.builtin || t.file == "" {
		return nil, nil
	}
	refused := slices.Contains(next.Ways, fact.Way{Way: WayInsmod, Blocked: fact.Yes}) // by the kernel itself
	if next.Outcome == fact.VerdictBlocked && t.onDisk && !refused {
		text := "insmod: root's own way past what modprobe is told"
		if c.next[0].config.FindInstall(t.name) != nil {
			text = "modprobe -i, insmod: root's own ways past an install line"
		}
		bypasses = append(bypasses, fact.Reason{Code: ReasonIgnoreInstall, Text: text})
	}
	for _, key := range []string{FactModulesDisabled, FactModprobe} {
		if s := c.sysctl(key); s != nil {
			bypasses = append(bypasses, fact.Reason{Code: ReasonSetLater, Text: escape.Text("kernel." + key + "=" + s.Value + " is set only when boot has come that far"), File: slash(s.File), Line: s.Line})
		}
	}
	if next.Outcome == fact.VerdictLoadable || refused {
		return bypasses, nil // it gets in without, or not even so
	}
	early := c.initramfs()
	for _, i := range early.read {
		bypasses = append(bypasses, initramfsCopy(i, t.name)...)
	}
	for _, p := range early.report.Problems {
		problems = append(problems, fact.ProblemOf(SourceInitramfs, t.name, "bypasses", p))
	}
	if len(problems) > 0 {
		bypasses = append(bypasses, fact.Reason{Code: ReasonInitramfs, Text: "unknown: not all of the initramfs was read; a copy in it is loaded by its own rules", Unread: problems[0].Text})
	}
	return bypasses, problems
}

// earlyFiles are the initial file systems of the release.
type earlyFiles struct {
	read   []*boot.Initramfs
	report fact.Report
}

// initramfs reads them, once.
func (c *Checker) initramfs() *earlyFiles {
	if c.early != nil {
		return c.early
	}
	c.early = new(earlyFiles)
	r := &c.early.report
	sets := boot.InitramfsSets(c.m.FS, c.boot, c.m.Release, r)
	if len(sets) > maxNextWorlds {
		r.Problem(SourceInitramfs, "", "", fmt.Errorf("%d initial file systems: %w", len(sets), fact.ErrTooLarge))
		sets = sets[:maxNextWorlds]
	}
	for _, names := range sets {
		i, err := boot.ReadInitramfs(c.m.FS, names, r)
		if err != nil {
			r.Problem(SourceInitramfs, "", "modules", err)
			continue
		}
		c.early.read = append(c.early.read, i)
	}
	return c.early
}

// sysctl returns the last setting of a kernel key during boot; nil for none.
func (c *Checker) sysctl(key string) *modprobe.Setting {
	settings := modprobe.ReadSysctls(c.m.FS, &c.untold) // what could not be read only costs a remark
	var last *modprobe.Setting
	for i := range settings {
		if settings[i].Name == "kernel."+key {
			last = &settings[i]
		}
	}
	return last
}

// remedies says what would stop what is open.
func (c *Checker) remedies(t target, v *fact.Verdict) []fact.Remedy {
	worst := v.NextBoot.Outcome
	if v.Now != nil && worse(v.Now.Outcome, worst) {
		worst = v.Now.Outcome
	}
	switch {
	case worst == fact.VerdictBlocked || worst == fact.VerdictAbsent:
		return nil
	case t.builtin:
		return []fact.Remedy{{Text: "initcall_blacklist=" + c.initcallsText(t.name)}}
	}
	install := "install " + t.name + " /bin/false"
	if d := c.softdepOf(c.next[0], t.name); d != nil {
		install = "softdep " + t.name + " pre: and " + install + ", in a file whose name sorts before " + path.Base(d.File)
	}
	return []fact.Remedy{
		{Text: install, NotAgainst: []string{WayInsmod, ReasonInitramfs}},
		{Text: "module_blacklist=" + t.name + " on the kernel's command line"},
	}
}

// initcallsText names the functions that start a built-in module, as far as the kernel's symbols tell.
func (c *Checker) initcallsText(module string) string {
	functions, _ := readInitcalls(c.m.FS, c.m.Release, module, c.m.Running) // not known: said in words
	if len(functions) == 0 {
		return "FUNCTION on the kernel's command line, with the function that starts it (often " + module + "_init)"
	}
	return escape.Text(strings.Join(functions, ",")) + " on the kernel's command line"
}

// initramfsCopy says what the initial file system does with a module: nil when it has no copy, or its own
// install line keeps the copy out.
func initramfsCopy(i *boot.Initramfs, module string) []fact.Reason {
	at := slices.IndexFunc(i.Modules, func(file string) bool { return ko.NameOfFile(file) == module })
	if at < 0 {
		return nil
	}
	if d := i.Config.FindInstall(module); d != nil && i.Config.FindSoftdep(module) == nil && !i.NoInstall {
		switch modprobe.EffectOf(d.Value, module) {
		case modprobe.CommandFails, modprobe.CommandNothing:
			return nil
		}
	}
	text := "a copy in /" + strings.Join(i.Files, ", /") + " (" + i.Modules[at] + "), whose own modprobe.d does not stop it"
	for _, s := range i.Lists {
		if modprobe.SameModule(s.Name, module) {
			text += "; " + s.File + " there loads it at boot"
			break
		}
	}
	return []fact.Reason{{Code: ReasonInitramfs, Text: escape.Text(text), File: "/" + i.Files[len(i.Files)-1]}}
}

// A Trigger is something that a process without privilege can do to make the kernel ask for a
// module.
type Trigger struct {
	// Prefix is how the name that the kernel asks for begins, normalised.
	Prefix string
	// ByName is set when that is the module's own name, not an alias.
	ByName bool
	// Text says what the process does.
	Text string
}

// unprivilegedTriggers are the requests of the kernel that it makes without asking for a
// capability, or for one that a user namespace gives. The list is what was found in Linux 6.1 to
// 6.12; a module without one may have another.
var unprivilegedTriggers = [...]Trigger{
	{"net_pf_16_proto_16_family_", false, "a generic netlink request"},
	{"net_pf_", false, "socket()"},
	{"can_proto_", false, "socket() of the CAN family"},
	{"bt_proto_", false, "socket() of the Bluetooth family"},
	{"tty_ldisc_", false, "TIOCSETD on a terminal, unless dev.tty.ldisc_autoload is 0"},
	{"algif_", true, "AF_ALG bind()"},
	{"crypto_", false, "AF_ALG bind()"},
	{"fs_", false, "mount() in a user namespace"},
	{"binfmt_", false, "execve() of such a file"},
	{"rtnl_", false, "a network device in a user namespace"},
	{"nft_", false, "nftables in a user namespace"},
	{"nfnetlink_subsys_", false, "netfilter in a user namespace"},
	{"ip_set_", false, "ipset in a user namespace"},
	{"ipt_", false, "iptables in a user namespace"},
	{"ip6t_", false, "ip6tables in a user namespace"},
	{"xt_", true, "iptables in a user namespace"},
	{"sch_", true, "traffic control in a user namespace"},
	{"net_sch_", false, "traffic control in a user namespace"},
	{"cls_", true, "traffic control in a user namespace"},
	{"net_cls_", false, "traffic control in a user namespace"},
	{"act_", true, "traffic control in a user namespace"},
	{"net_act_", false, "traffic control in a user namespace"},
	{"devname:net/tun", false, "open() of /dev/net/tun"},
	{"devname:fuse", false, "open() of /dev/fuse"},
}

// triggerOf returns the first trigger for an alias, or for a module's own name; nil for none.
func triggerOf(name string, byName bool) *Trigger {
	normal, ok := modprobe.NormalizeAlias(name)
	if !ok {
		return nil
	}
	for i := range unprivilegedTriggers {
		if t := &unprivilegedTriggers[i]; t.ByName == byName && strings.HasPrefix(normal, t.Prefix) {
			return t
		}
	}
	return nil
}
