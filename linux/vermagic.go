// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
)

// A copyFacts is what the kernel looks at in a module's file before it links it.
type copyFacts struct {
	known    bool
	name     string // the kernel's name for the module; empty if the file was not read
	vermagic string
	machine  uint16
	support  string   // what SUSE says of its support
	versions fact.Tri // it has the section __versions; empty if that was not read
}

// factsOf reads them of a file, once. They are not known of a file that cannot be read, which other steps say.
func (c *checker) factsOf(file string) copyFacts {
	if known, ok := c.kept.facts[file]; ok || file == "" {
		return known
	}
	f, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(file), ko.Options{}, c.other.Part())
	facts := copyFacts{known: err == nil, vermagic: f.Modinfo.Get("vermagic"), machine: f.Machine, versions: f.Versions,
		name: f.Name, support: f.Modinfo.Get("supported")}
	c.kept.facts[file] = facts
	return facts
}

// hasVersions reports whether the file has the section __versions, and reads its section headers if need be.
func (c *checker) hasVersions(file string) fact.Tri {
	facts := c.factsOf(file)
	if !facts.known || facts.versions != "" {
		return facts.versions
	}
	f, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(file), ko.Options{Sections: true}, c.other.Part())
	if err == nil {
		facts.versions = f.Versions
		c.kept.facts[file] = facts
	}
	return facts.versions
}

// kernelName returns the name by which the kernel knows the module: the one in its file. modprobe uses the file's name.
func (c *checker) kernelName(t target) string {
	if name := c.factsOf(t.file).name; name != "" {
		return name
	}
	return t.name
}

// loadedName returns the name that the module has once it is loaded: the one in its code (struct module), which only a
// file that somebody changed has otherwise than in its metadata. module_blacklist= uses the metadata's.
func (c *checker) loadedName(t target) string {
	name := c.kernelName(t)
	if len(c.loaded) == 0 || !c.factsOf(t.file).known {
		return name
	}
	f, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(t.file), ko.Options{Sections: true}, c.other.Part())
	if err != nil || f.StructName == "" {
		return name
	}
	return f.StructName
}

// maxReferences is how many other modules show the kernel's own version magic.
const maxReferences = 8

// A reference is what modules that belong to the kernel have in common.
type reference struct {
	flags   string // the version magic after the release; valid if sure
	sure    bool
	machine uint16 // 0 if not known
}

// referenceFor returns what the other modules of the tree say of the kernel. The kernel's own are those that its build
// put into the folder kernel.
func (c *checker) referenceFor(file string) (r reference) {
	lines := c.tree.DepLines()
	seen := 0
	machines := make(map[uint16]int)
	flags := make(map[string]int)
	for i := range lines {
		other := lines[i].Path
		if other == file || !strings.HasPrefix(other, "kernel/") {
			continue
		}
		if seen++; seen > maxReferences {
			break
		}
		facts := c.factsOf(other)
		if !facts.known {
			continue
		}
		machines[facts.machine]++
		if release, rest, _ := strings.Cut(facts.vermagic, " "); release == c.machine.Release {
			flags[rest]++
		}
	}
	if len(machines) == 1 {
		for m := range machines {
			r.machine = m
		}
	}
	if len(flags) == 1 {
		for f := range flags {
			r.flags, r.sure = f, true
		}
	}
	return r
}

// refusesFormat says whether the kernel refuses a module's file before it looks at its symbols: for another processor
// (elf_check_arch), for its version magic (check_modinfo), or for the versions of symbols (check_version). It does not
// apply if the kernel does not, or if too little is known to say that it does.
func (c *checker) refusesFormat(k *enforcement, t target) fact.Answer {
	facts := c.factsOf(t.file)
	if !facts.known || c.machine.Release == "" {
		return fact.Answer{}
	}
	ref := c.referenceFor(t.file)
	why := fact.Reason{Code: ReasonVermagic, File: "/" + c.tree.Path(t.file)}
	if ref.machine != 0 && facts.machine != 0 && facts.machine != ref.machine {
		why.Code, why.Text = ReasonMachine, "the file is for another processor than the kernel's other modules"
		return fact.Stops(why)
	}
	if facts.vermagic == "" {
		if k.forceLoad != fact.No {
			return fact.Answer{} // with that option, the kernel takes it and is tainted
		}
		why.Text = "the file has no version magic, and this kernel takes none without"
		return fact.Stops(why)
	}
	versions := k.modversions
	if versions == "" && ref.sure { // the kernel's own word for CONFIG_MODVERSIONS
		versions = fact.TriOf(strings.Contains(" "+ref.flags+" ", " modversions "))
	}
	release, flags, _ := strings.Cut(facts.vermagic, " ")
	why.Text = escape.Text("version magic " + quote(facts.vermagic) + ": the kernel's begins with " +
		quote(c.machine.Release))
	switch {
	case ref.sure && flags != ref.flags:
		why.Text = escape.Text("version magic " + quote(facts.vermagic) + ": the kernel's own is " +
			quote(c.machine.Release+" "+ref.flags))
		return fact.Stops(why)
	case release == c.machine.Release:
		if a := c.refusesNoVersions(versions, k.forceLoad, t); a.Applies() {
			return a
		}
		return c.refusesVersions(versions, t, true)
	case versions == fact.No || c.hasVersions(t.file) == fact.No:
		return fact.Stops(why) // only a module with __versions may be for another release
	case c.hasVersions(t.file) == "":
		why.Unread = "the section __versions of the file"
		return fact.UnsureOf(why)
	}
	return c.refusesVersions(versions, t, false)
}

// forceBypass says whether root can make the kernel take a file that it refuses for its version magic or for the
// versions of symbols.
func (c *checker) forceBypass(k *enforcement) (r fact.Reason, ok bool) {
	r = fact.Reason{Code: ReasonForce, Text: "modprobe --force, insmod --force: root's own way past version " +
		"magic and symbol versions, as the kernel has CONFIG_MODULE_FORCE_LOAD"}
	switch k.forceLoad {
	case fact.No:
		return fact.Reason{}, false
	case "":
		r.Text = "unknown: root's modprobe --force works if the kernel has CONFIG_MODULE_FORCE_LOAD"
		r.Unread = "the kernel's configuration"
	}
	return r, true
}
