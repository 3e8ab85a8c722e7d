// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// A request is one thing that asks for a kld at boot, before rc(8) raises the securelevel.
type request struct {
	way    string
	target string // a name or a path; empty if it may be any
	// answer says whether it is obeyed, and why.
	answer fact.Answer
}

// requests returns what the boot asks for: the boot loader, kld_list, services, file systems and interfaces.
func (c *config) requests(release int64) []request {
	var out []request
	out = append(out, c.loaderRequests(release)...)
	out = append(out, c.listRequests()...)
	for i := range c.services {
		s := &c.services[i]
		for _, l := range s.loads {
			out = append(out, request{WayService, l.target, s.runs(l)})
		}
	}
	out = append(out, c.deviceRequests()...)
	out = append(out, c.hooks...)
	for _, u := range []struct{ way, source string }{{WayKldList, SourceRCConf}, {WayService, SourceRCConf},
		{WayService, SourceServices}} {
		if p, lost := c.lost(u.source); lost {
			out = append(out, request{u.way, "", fact.Unsure(ReasonUnread,
				"what rc(8) loads at boot was not read whole: "+p.Text)})
		}
	}
	return out
}

// loaderRequests returns what loader.conf(5) asks for: NAME_load="YES" loads NAME_name or NAME, as code unless
// NAME_type says that it is data.
func (c *config) loaderRequests(release int64) []request {
	var out []request
	for _, s := range c.Loader.Settings {
		name, ok := strings.CutSuffix(s.Name, "_load")
		if !ok || s.Code == "" && !c.loads(s.Value) {
			continue
		}
		target := name
		file, _ := c.Loader.Lookup(name + "_name")
		if file.Value != "" {
			target = file.Value
		}
		kind, _ := c.Loader.Lookup(name + "_type")
		if kind.Value != "" && !strings.HasPrefix(kind.Value, "elf") {
			continue // data, such as a splash image
		}
		answer := c.blacklisting(target, release)
		switch {
		case s.Code != "" || file.Code != "":
			if file.Code != "" {
				target, s = "", file
			}
			answer = fact.UnsureOf(s.Unknown(ReasonLoaderConf))
		case answer.Blocked() == fact.No:
			answer = fact.Passes(s.Reason(ReasonLoaderConf, "the boot loader loads it"))
		}
		out = append(out, request{WayLoader, target, answer})
	}
	return append(out, c.loaderUnsure()...)
}

// printCommand is a command that only prints, as the system's own defaults have one: echo TEXT, and in Forth
// .( TEXT ) cr.
var printCommand = lazy.Regexp{Pattern: `^(echo [\w /.,:-]*|\.\( [^()]* \)( cr)?)$`}

// commandLoads reports whether a command of the boot loader may load something.
func commandLoads(command string) bool {
	return (strings.Contains(command, "load") || strings.Contains(command, "include")) &&
		!printCommand.MatchString(command)
}

// loaderUnsure returns what may make the boot loader load anything: its commands, and what was not read.
func (c *config) loaderUnsure() []request {
	var out []request
	commands := slices.Clone(c.commands)
	for _, s := range c.Loader.Settings {
		if c.dloader {
			break // its loadall runs no commands of settings
		}
		for _, suffix := range []string{"_before", "_after", "_error"} {
			if strings.HasSuffix(s.Name, suffix) && (s.Value != "" || s.Code != "") {
				commands = append(commands, s)
			}
		}
	}
	for _, s := range commands {
		if commandLoads(s.Value) || s.Code != "" {
			because := s.Reason(ReasonLoaderConf, "the boot loader runs a command: "+escape.Text(s.Value))
			if s.Code != "" {
				because = s.Unknown(ReasonLoaderConf)
			}
			out = append(out, request{WayLoader, "", fact.UnsureOf(because)})
		}
	}
	if s, ok := c.Loader.Opaque(); ok {
		out = append(out, request{WayLoader, "", fact.UnsureOf(s.Reason(ReasonLoaderConf,
			"this line, which was not read, may make the boot loader load anything: "+string(s.Code)))})
	}
	out = append(out, c.programs...)
	if p, lost := c.lost(SourceLoaderConf); lost {
		out = append(out, request{WayLoader, "", fact.Unsure(ReasonUnread,
			"what the boot loader loads was not read whole: "+p.Text)})
	}
	return out
}

// hasBlacklist answers whether the boot loader obeys module_blacklist: the loader written in Lua does, which is that of
// FreeBSD 12.0 and later, and not the one in Forth.
func (c *config) hasBlacklist(release int64) fact.Tri {
	switch {
	case c.dloader:
		return fact.No
	case c.forth != "":
		return fact.TriOf(c.forth == fact.No)
	case release == 0:
		return ""
	}
	return fact.TriOf(release >= 1200000)
}

// blacklisting answers whether module_blacklist keeps the boot loader from a file, which it compares with NAME_name or
// NAME itself. It passes if module_blacklist does not name the file.
func (c *config) blacklisting(target string, release int64) fact.Answer {
	words, s := c.Loader.Words("module_blacklist")
	if s.Code == "" && !slices.Contains(words, target) {
		return fact.Passes(fact.Reason{Code: ReasonLoaderConf})
	}
	switch c.hasBlacklist(release) {
	case fact.No:
		return fact.Passes(fact.Reason{Code: ReasonLoaderConf})
	case fact.Yes:
		if s.Code != "" {
			return fact.UnsureOf(s.Unknown(ReasonBlacklist))
		}
		return fact.Stops(s.Reason(ReasonBlacklist,
			"the boot loader does not load it; kldload(8), kld_list and devmatch(8) still do"))
	}
	return fact.UnsureOf(s.Reason(ReasonBlacklist, "whether this boot loader obeys module_blacklist is not known"))
}

// listRequests returns what kld_list of rc.conf asks for, which rc.d/kld gives to kldload word by word.
func (c *config) listRequests() []request {
	words, s := c.of("kld").List("kld_list")
	if s.Code != "" {
		return []request{{WayKldList, "", fact.UnsureOf(s.Unknown(ReasonKldList))}}
	}
	var out []request
	if len(words) > maxConfFiles {
		reason := s.Reason(ReasonKldList,
			fmt.Sprintf("it lists more than %d klds: the rest is not known", maxConfFiles))
		out, words = append(out, request{WayKldList, "", fact.UnsureOf(reason)}), words[:maxConfFiles]
	}
	for _, w := range words {
		out = append(out, request{WayKldList, w, fact.Passes(s.Reason(ReasonKldList, "rc(8) loads it at boot"))})
	}
	return out
}

// deviceRequests returns what other settings of rc(8) load by the way: interfaces that are made (ifconfig(8) loads
// if_NAME), the screen saver, and file systems (mount(2) loads the module of the type).
func (c *config) deviceRequests() []request {
	var out []request
	for _, name := range []string{"cloned_interfaces", "network_interfaces", "gif_interfaces"} {
		words, s := c.of("netif").List(name)
		if s.Code != "" {
			out = append(out, request{WayService, "", fact.UnsureOf(s.Unknown(ReasonService))})
		}
		if len(words) > maxConfFiles {
			reason := s.Reason(ReasonService,
				fmt.Sprintf("more than %d interfaces: the rest is not known", maxConfFiles))
			out, words = append(out, request{WayService, "", fact.UnsureOf(reason)}), words[:maxConfFiles]
		}
		for _, w := range words {
			for _, target := range interfaceModules(interfaceKind(w)) {
				out = append(out, request{WayService, target,
					fact.Passes(s.Reason(ReasonService, "ifconfig(8) loads it for "+escape.Text(w)))})
			}
		}
	}
	out = append(out, c.childRequests()...)
	saver, ok := c.of("syscons").Lookup("saver")
	switch {
	case saver.Code != "":
		out = append(out, request{WayService, "", fact.UnsureOf(saver.Unknown(ReasonService))})
	case ok && saver.Value != "" && !strings.EqualFold(saver.Value, "NO"):
		out = append(out, request{WayService, saver.Value + "_saver",
			fact.Passes(saver.Reason(ReasonService, "rc(8) loads the screen saver"))})
	}
	for _, m := range c.mounts {
		out = append(out, request{WayService, m.kind, fact.Passes(fact.Reason{Code: ReasonService, File: m.file,
			Line: m.line, Text: fmt.Sprintf("mount(8) loads it for a file system of type %s", escape.Text(m.kind))})})
	}
	return out
}

// childRequests returns what rc.d/netif loads for the interfaces that others have below them (network.subr:
// childif_create, stf_up).
func (c *config) childRequests() []request {
	var out []request
	for rc := c.of("netif"); rc != nil; rc = rc.Parent {
		for _, s := range rc.Settings {
			target := ""
			switch {
			case s.Value == "" && s.Code == "":
			case strings.HasPrefix(s.Name, "vlans_"):
				target = "if_vlan"
			case s.Name == "stf_interface_ipv4addr":
				target = "if_stf"
			}
			if target == "" || len(out) == maxConfFiles {
				continue
			}
			answer := fact.Passes(s.Reason(ReasonService, "rc.d/netif loads it for "+escape.Text(s.Name)))
			if s.Code != "" {
				answer = fact.UnsureOf(s.Unknown(ReasonService))
			}
			out = append(out, request{WayService, target, answer})
		}
	}
	return out
}

// interfaceKind returns the kind of an interface, which ends before the first digit: "vlan" of "vlan10" and of
// "vlan10.7", "epair" of "epair0a" (ifmaybeload of ifconfig(8)).
func interfaceKind(name string) string {
	if i := strings.IndexAny(name, ".0123456789"); i >= 0 {
		name = name[:i]
	}
	return name
}

// interfaceModules returns the klds that make an interface of that kind: if_NAME, and one of another name
// (module_map of ifconfig(8), from FreeBSD 13 on; before, no kld has that name).
func interfaceModules(kind string) []string {
	switch kind {
	case "", "auto":
		return nil
	case "tap", "tun", "vmnet":
		return []string{"if_" + kind, "if_tuntap"}
	case "ipsec":
		return []string{"if_" + kind, "ipsec"}
	}
	return []string{"if_" + kind}
}

// aside returns the paths outside of the module path that the settings name.
func (c *config) aside(dirs []string) []string {
	var out []string
	for _, q := range c.requests(0) {
		dir := slashPath(dirOf(q.target))
		inPath := slices.ContainsFunc(dirs, func(d string) bool { return slashPath(d) == dir })
		if strings.HasPrefix(q.target, "/") && !inPath {
			out = append(out, q.target)
		}
	}
	return out
}

// place settles which file each request is for. A request whose file is not found asks for nothing here.
func (c *checker) place() {
	c.asked = map[*diskFile][]request{}
	for _, q := range c.config.requests(c.osRelDate) {
		switch {
		case q.target == "":
			c.anything = append(c.anything, q)
		case q.way == WayLoader:
			c.ask(c.library.byLoader(q.target), q)
		default:
			c.ask(c.library.byKernel(q.target), q)
		}
	}
}

func (c *checker) ask(f *diskFile, q request) {
	if f != nil && f != c.library.Kernel {
		c.asked[f] = append(c.asked[f], q)
	}
}

// askedBy answers whether the boot asks for the file by one way. It does not apply if nothing can.
func (c *checker) askedBy(d *diskFile, name string) fact.Answer {
	var out fact.Answer
	for _, q := range slices.Concat(c.asked[d], c.anything) {
		if q.way == name {
			out = sooner(out, q.answer)
		}
	}
	return out
}

// sooner is the answer of two requests by one way: either opens it, and an unsure one leaves it unsure.
func sooner(a, b fact.Answer) fact.Answer {
	switch {
	case !a.Applies() || b.Applies() && b.Blocked() == fact.No && a.Blocked() != fact.No:
		return b
	case a.Blocked() == fact.Yes && b.Applies() && b.Blocked() == "":
		return b
	}
	return a
}
