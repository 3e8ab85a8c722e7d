// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// maxTriggers is how many triggers of one kind a verdict names.
const maxTriggers = 8

// triggers returns what would ask for the module.
func (c *checker) triggers(t target) []fact.Reason {
	if t.builtin {
		return nil
	}
	triggers := c.aliasTriggers(t)
	aliases, _ := c.aliasesOf(t.name) // the ways say that there may be more
	triggers = append(triggers, c.presentDevices(aliases)...)
	for _, s := range c.loadLists {
		if normal, ok := modprobe.NormalizeAlias(s.Name); ok && (normal == t.name || normal == t.alias) {
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerList, File: slash(s.File), Line: s.Line,
				Text: "loaded at boot; a blacklist line stops it"})
		}
	}
	triggers = append(triggers, c.cmdlineLoads(t)...)
	names := c.dependents(c.states()[0].modprobe, t)
	for i, name := range names {
		if i == maxTriggers {
			text := fmt.Sprintf("and %d more", len(names)-i)
			triggers = append(triggers, fact.Reason{Code: ReasonTriggerDependent, Text: text})
			break
		}
		triggers = append(triggers, textReason(ReasonTriggerDependent, "comes with "+name, "", 0))
	}
	return triggers
}

// aliasTriggers returns the requests for the module's name and its aliases, those of any process first.
func (c *checker) aliasTriggers(t target) (triggers []fact.Reason) {
	if by := triggerOf(t.name, true); by != nil {
		triggers = append(triggers, fact.Reason{Code: ReasonTriggerProcess,
			Text: "unprivileged " + by.does + ": the kernel asks for it by name"})
	}
	aliases, _ := c.aliasesOf(t.name)
	for _, a := range aliases {
		if by := triggerOf(a, false); by != nil && len(triggers) < maxTriggers {
			triggers = append(triggers, textReason(ReasonTriggerProcess, "unprivileged "+by.does+": alias "+a, "", 0))
		}
	}
	for _, a := range aliases {
		if triggerOf(a, false) == nil && !isDeviceAlias(a) && len(triggers) < 2*maxTriggers {
			triggers = append(triggers, textReason(ReasonTriggerAlias, "alias "+a, "", 0))
		}
	}
	return triggers
}

// loadKeys are the keys of the command line that name modules to load during boot, to systemd and to
// the scripts of initial file systems.
var loadKeys = []string{"modules_load", "rd.modules_load", "rd.driver.pre", "rd.driver.post", "rdloaddriver",
	"rdinsmodpost", "earlymodules", "modules"} // the last is Alpine's

// cmdlineLoads returns the words of a command line that ask for the module.
func (c *checker) cmdlineLoads(t target) (triggers []fact.Reason) {
	for _, s := range c.states() {
		l := &s.kernel.cmdline
		for _, key := range loadKeys {
			for _, name := range boot.ListValues(l.words, key, true) {
				if modprobe.SameModule(name, t.name) {
					text := key + "=" + name + " on the command line"
					triggers = appendReasons(triggers, textReason(ReasonTriggerList, text, l.file, l.line))
				}
			}
		}
	}
	return triggers
}

// maxDevices is how many devices are looked at.
const maxDevices = 20000

// presentDevices names devices that are there and that the aliases fit. What could not be read is left out: the ways
// are judged without it.
func (c *checker) presentDevices(aliases []string) (found []fact.Reason) {
	patterns := slices.DeleteFunc(slices.Clone(aliases), func(a string) bool { return !isDeviceAlias(a) })
	if !c.machine.Live || len(patterns) == 0 {
		return nil
	}
	buses, err := fs.ReadDir(c.machine.FS, "sys/bus")
	if err != nil {
		return nil
	}
	looked := 0
	for _, bus := range buses {
		if !hasPrefix(patterns, bus.Name()+":") {
			continue
		}
		dir := "sys/bus/" + bus.Name() + "/devices"
		devices, err := fs.ReadDir(c.machine.FS, dir)
		if err != nil {
			continue
		}
		for _, d := range devices {
			if looked++; looked > maxDevices || len(found) == maxTriggers {
				return found
			}
			if p := c.patternOf(dir+"/"+d.Name(), patterns); p != "" {
				found = append(found, textReason(ReasonTriggerDevice, d.Name()+" via "+p, "/"+dir+"/"+d.Name(), 0))
			}
		}
	}
	return found
}

// patternOf returns the first pattern that fits a device's modalias; empty for none.
func (c *checker) patternOf(device string, patterns []string) string {
	b, err := limit.AppendAttr(c.machine.FS, nil, device+"/modalias", limit.Attr)
	if err != nil {
		return ""
	}
	normal, ok := modprobe.NormalizeAlias(strings.TrimSpace(string(b)))
	if !ok {
		return ""
	}
	for _, p := range patterns {
		if modprobe.MatchAlias(p, normal) {
			return p
		}
	}
	return ""
}

func hasPrefix(patterns []string, prefix string) bool {
	for _, p := range patterns {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// unprivilegedWay says whether what any process may trigger is blocked. alias and name are the answers for requests by
// alias and by the module's own name; alias does not apply to a module without one.
func (c *checker) unprivilegedWay(m *modprobeState, t target, alias, name fact.Answer) fact.Answer {
	if name.Blocked() == fact.Yes && (!alias.Applies() || alias.Blocked() == fact.Yes) {
		return name
	}
	known := triggerOf(t.name, true) != nil
	if known && name.Blocked() == fact.No {
		return name
	}
	aliases, _ := c.aliasesOf(t.name)
	for _, a := range aliases {
		if triggerOf(a, false) == nil {
			continue
		}
		known = true
		if _, _, stops := m.aliasStops(a, t.name); !stops && alias.Blocked() == fact.No {
			return alias
		}
	}
	switch {
	case alias.Applies() && alias.Blocked() == "":
		return alias
	case name.Blocked() == "":
		return name
	case known && alias.Applies():
		return stopsKnown(alias, name)
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonTriggerProcess, Unread: "which processes make the kernel ask for it",
		Text: "no request of a process without privilege for it is known; there may be one"})
}

// stopsKnown is the answer if every request that is known is blocked: by what blocks one of them.
func stopsKnown(alias, name fact.Answer) fact.Answer {
	if name.Blocked() == fact.Yes {
		return name
	}
	return fact.Stops(alias.Because())
}

// A trigger is something that a process without privilege can do to make the kernel ask for a module.
type trigger struct {
	prefix string // how the name begins that the kernel asks for, normalized
	byName bool   // that is the module's own name, not an alias
	does   string // what the process does
}

// unprivilegedTriggers are the requests of the kernel that it makes without asking for a
// capability, or for one that a user namespace gives. The list is what was found in Linux 6.1 to
// 6.12; a module without one may have another.
var unprivilegedTriggers = [...]trigger{
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
func triggerOf(name string, byName bool) *trigger {
	normal, ok := modprobe.NormalizeAlias(name)
	if !ok {
		return nil
	}
	for i := range unprivilegedTriggers {
		if t := &unprivilegedTriggers[i]; t.byName == byName && strings.HasPrefix(normal, t.prefix) {
			return t
		}
	}
	return nil
}

// maxDependents is how many modules that need another are judged.
const maxDependents = 64

// dependents returns the modules that bring the target along, those that need it first.
func (c *checker) dependents(m *modprobeState, t target) []string {
	var names []string
	seen := make(map[string]bool) // names of softdep lines, and what needs the file
	lines := c.tree.DepLines()
	for i := range lines {
		needs := func(file string) bool { return ko.NameOfFile(file) == t.name }
		if slices.ContainsFunc(lines[i].Needs, needs) {
			names = append(names, lines[i].Name())
			seen[lines[i].Name()] = true
		}
	}
	for i := range m.config.Softdeps {
		line := &m.config.Softdeps[i]
		if seen[line.Name] || len(names) > maxDependents {
			continue
		}
		dep := ko.ParseSoftdep(line.Value)
		isTarget := func(name string) bool { return modprobe.SameModule(name, t.name) }
		if !slices.ContainsFunc(append(slices.Clone(dep.Pre), dep.Post...), isTarget) {
			continue
		}
		seen[line.Name] = true
		if c.fileOf(line.Name) != "" && slices.Contains(softdepNames(m.config.FindSoftdep(line.Name)), t.name) {
			names = append(names, line.Name)
		}
	}
	return names
}

// fileOf returns the file that modules.dep names for the module; empty for none.
func (c *checker) fileOf(name string) string {
	file, _ := c.tree.FileOf(name)
	return file
}

// softdepNames returns the modules that a softdep line names; none of none.
func softdepNames(d *modprobe.Directive) []string {
	if d == nil {
		return nil
	}
	dep := ko.ParseSoftdep(d.Value)
	names := append(slices.Clone(dep.Pre), dep.Post...)
	for i := range names {
		names[i], _ = modprobe.NormalizeAlias(names[i])
	}
	return names
}

// blockedDependents says whether every module that brings the target along is kept from doing so. It does not apply
// without such a module.
func (c *checker) blockedDependents(r *result, s *bootState, t target) fact.Answer {
	names := c.dependents(s.modprobe, t)
	var found fact.Answer
	if line, sure := s.modprobe.loadedBy(t.name); line != nil {
		because := lineReason(ReasonTriggerDependent, installText(line)+": loads it past its own install line", line)
		r.addReason(because)
		if sure {
			return fact.Passes(because)
		}
		because.Unread = "the command's effect"
		found = fact.UnsureOf(because)
	}
	for _, name := range names[:min(len(names), maxDependents)] {
		a := c.blockedByPlan(s, t, modprobe.Match{Name: name})
		if a.Blocked() == fact.No {
			return a
		}
		found = inSum(found, a)
	}
	if len(names) > maxDependents && found.Blocked() == fact.Yes {
		text := fmt.Sprintf("more than %d modules bring it along: only so many are judged", maxDependents)
		return fact.Unsure(ReasonTriggerDependent, text)
	}
	return found
}

// inSum returns the answer of several ways of which none is open: it stops only if each does.
func inSum(a, b fact.Answer) fact.Answer {
	if !a.Applies() || a.Blocked() == fact.Yes && b.Blocked() == "" {
		return b
	}
	return a
}
