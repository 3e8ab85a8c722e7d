// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A result is a verdict in the making, on one file, or on the name if no file has it.
type result struct {
	name string // of the file or, for what is compiled in, of the module; empty if nothing has that name
	copy string // the path of a second file of the name; empty for the first
	fact.Verdict
}

// check answers for each thing that the query means, and once if it means none.
func (c *checker) check(query string) []result {
	var out []result
	for _, sub := range c.subjects(query) {
		out = append(out, c.verdict(query, sub))
	}
	if out == nil {
		out = append(out, c.verdict(query, subject{}))
	}
	return out
}

func (c *checker) verdict(query string, sub subject) result {
	f := result{name: sub.name(), Verdict: fact.Verdict{Query: query, Release: c.release}}
	if f.Release == "" {
		f.Release = Release(c.osRelDate)
	}
	if c.kernel != "" {
		f.Release = strings.TrimSpace(f.Release + " (" + c.kernel + ")")
	}
	if sub.second {
		f.copy = sub.disk.Path
	}
	c.presence(&f, sub)
	c.twoNames(&f, query, sub)
	if f.name != "" && sub.inKernel == "" {
		c.configuration(&f, sub)
	}
	var now, next fact.Reason
	if c.live {
		f.Now, now = c.now(&f, sub)
	}
	f.NextBoot, next = c.nextBoot(&f, sub)
	f.LeadBy(now, next)
	f.Problems = slices.Clone(c.unread.Problems)
	return f
}

// twoNames says of a name without suffix that it fits two files: one is called so, another has a module or an interface
// of that name. kldload(8) then takes the file of the interface, the boot loader too (kern_kldload, mod_load).
func (c *checker) twoNames(f *result, query string, sub subject) {
	also := c.library.alsoNamed(query)
	if sub.disk == nil || len(also) == 0 {
		return
	}
	for _, o := range also[:min(len(also), 5)] {
		f.Reasons = append(f.Reasons, fact.Reason{Code: ReasonTwoNames, File: o.Path,
			Text: query + " is also the name of something inside " + o.Name() + "; with .ko it is the file alone"})
	}
	if first := c.library.byKernel(query); first != nil && first != sub.disk && first != c.library.Kernel {
		f.Reasons = append(f.Reasons, fact.Reason{Code: ReasonTwoNames, File: first.Path,
			Text: "kldload(8) of " + query + " loads " + first.Name() + ", which has the interface"})
	}
}

func (f *result) reason(code, format string, args ...any) {
	f.Reasons = append(f.Reasons, fact.Reason{Code: code, Text: fmt.Sprintf(format, args...)})
}

func (f *result) trigger(code, format string, args ...any) {
	f.Triggers = append(f.Triggers, fact.Reason{Code: code, Text: fmt.Sprintf(format, args...)})
}

// presence says where it is.
func (c *checker) presence(f *result, sub subject) {
	if l := sub.loaded; l != nil {
		f.Word = "loaded"
		f.Reasons = append(f.Reasons, sub.presence())
		if c.preloaded(l) {
			f.Word = "preloaded"
			f.reason(ReasonPreloaded, "the boot loader loaded it")
		}
	}
	if sub.inKernel != "" {
		f.Word = "in kernel"
		f.Reasons = append(f.Reasons, sub.presence())
	}
	if sub.disk != nil {
		f.Reasons = append(f.Reasons, sub.disk.installed())
	}
	if m := sub.matched; m != nil {
		f.trigger(ReasonDevmatch, "row %d of its table for bus %s drives the device: %s", m.Row, m.Table.Bus,
			m.Table.IDs[m.Row])
	}
}

// presence returns the fact that the kernel has it.
func (s *subject) presence() fact.Reason {
	if l := s.loaded; l != nil {
		return fact.Reason{Code: ReasonLoaded, Text: fmt.Sprintf("%s is loaded as id %d%s", l.Name, l.ID,
			from(l.Pathname))}
	}
	text := s.inKernel
	if s.disk != nil {
		text += " of " + s.disk.Name()
	}
	return fact.Reason{Code: ReasonInKernel, Text: text + " is compiled into the kernel"}
}

// installed returns the fact that the file is on disk.
func (f *diskFile) installed() fact.Reason {
	return fact.Reason{Code: ReasonInstalled, Text: installedText(f), File: f.Path}
}

func from(path string) string {
	if path == "" {
		return ""
	}
	return " from " + path
}

func installedText(d *diskFile) string {
	if d.metadata == nil {
		return "its file is on disk, and could not be read"
	}
	names := make([]string, 0, len(d.Modules))
	for _, m := range d.Modules {
		names = append(names, m.Name)
	}
	text := "its file is on disk"
	if len(names) > 0 {
		text += ", with " + strings.Join(names[:min(len(names), 5)], ", ")
		if len(names) > 5 {
			text += fmt.Sprintf(" and %d more", len(names)-5)
		}
	}
	if n, ok := builtFor(d.Depends); ok {
		text += "; built for " + Release(int64(n))
	}
	return text
}

func (c *checker) preloaded(l *loadedFile) bool {
	return slices.ContainsFunc(c.preloads, func(p preload) bool { return p.Code() && p.Name == l.Pathname })
}

// configuration says what asks for the file and what keeps it out.
func (c *checker) configuration(f *result, sub subject) {
	base := baseName(f.name)
	for _, q := range c.asked[sub.disk] {
		if q.answer.Blocked() == fact.Yes && q.way != WayLoader {
			continue // a service that is off
		}
		if because := q.answer.Because(); because.Code != ReasonBlacklist {
			f.Triggers = append(f.Triggers, because)
		}
	}
	if words, s := c.config.Loader.Words("module_blacklist"); slices.Contains(words, base) &&
		c.config.hasBlacklist(c.osRelDate) != fact.No {
		f.Reasons = append(f.Reasons, s.Reason(ReasonBlacklist,
			"the boot loader does not load it; kldload(8), kld_list and devmatch(8) still do"))
		if f.Word == "" {
			f.Word = "blacklisted"
		}
	}
	if sub.disk == nil {
		return
	}
	if set, ok := c.config.devmatchBlocked(base); ok && c.hasDevmatch(sub.disk) {
		f.Reasons = append(f.Reasons, set.Reason(ReasonDevBlock,
			"devmatch(8) does not load it"))
	}
	if n := deviceRows(sub.disk); n > 0 && sub.matched == nil && c.hasDevmatch(sub.disk) {
		f.trigger(ReasonDevmatch, "it declares %d devices that devmatch(8) loads it for", n)
	}
	if users := c.users(sub.disk); len(users) > 0 {
		names := make([]string, 0, 5)
		for _, u := range users[:min(len(users), 5)] {
			names = append(names, u.Name())
		}
		f.trigger(ReasonDependency, "needed by %s", strings.Join(names, ", "))
	}
}

func deviceRows(d *diskFile) int {
	n := 0
	if d.metadata != nil {
		for i := range d.PNP {
			n += len(d.PNP[i].rows)
		}
	}
	return n
}

// users returns the files that need this one.
func (c *checker) users(d *diskFile) []*diskFile {
	if c.needed == nil {
		c.needed = map[*diskFile][]*diskFile{}
		for i := range c.library.Files {
			f := &c.library.Files[i]
			needs, _ := c.library.requires(f)
			for _, n := range needs {
				c.needed[n] = append(c.needed[n], f)
			}
		}
	}
	return c.needed[d]
}

// unmet returns the dependencies because of which the kernel would refuse the file.
func (c *checker) unmet(d *diskFile) []Depend {
	if d.metadata == nil {
		return nil
	}
	_, missing := c.library.requires(d)
	switch kernel := c.library.Kernel; {
	case kernel != nil && kernel.metadata == nil:
		missing = nil // any may be in the kernel's file, its own version, too
	case len(c.library.report.Problems) > 0:
		// Any other may be in what was not read.
		missing = slices.DeleteFunc(missing, func(d Depend) bool { return d.Name != kernelName })
	}
	if c.osRelDate == 0 {
		return missing
	}
	for _, dep := range d.Depends {
		known := slices.ContainsFunc(missing, func(m Depend) bool { return m == dep })
		if dep.Name == kernelName && !known && c.live && !dep.accepts(int32(c.osRelDate)) {
			missing = append(missing, dep)
		}
	}
	return missing
}

// unlisted answers why something may be loaded that is not in the kernel's list; it does not apply if the list was read
// whole, nor to an image.
func (c *checker) unlisted() fact.Answer {
	for _, p := range c.unread.Problems {
		if p.Source == SourceKldstat {
			return fact.Unsure(ReasonUnread, "the kernel's list was not read whole: "+p.Error())
		}
	}
	return fact.Answer{}
}

// insideErr returns why not all modules inside a loaded file are known.
func (f *loadedFile) insideErr() error {
	if len(f.report.Problems) > 0 {
		return f.report.Problems[0]
	}
	return fmt.Errorf("the modules inside were not listed: %w", fact.ErrRestricted)
}

// unseen answers why a name may be on disk, or that of a module inside a loaded file, that was not found; it does not
// apply if everything that could know a name was read.
func (c *checker) unseen() fact.Answer {
	for _, p := range c.unread.Problems {
		if p.Source == SourceModstat {
			return fact.Unsure(ReasonUnread, "not all modules inside the loaded files were read: "+p.Error())
		}
	}
	const text = "no file that was read has that name, but not every file was read: "
	if lost := c.library.report.Problems; len(lost) > 0 {
		return fact.Unsure(ReasonUnread, text+lost[0].Error())
	}
	if k := c.library.Kernel; !c.live && k != nil && k.unread != nil && !errors.Is(k.unread, fs.ErrNotExist) {
		p := fact.ProblemOf(SourceModulePath, k.Path, "", k.unread) // the name may be that of a module inside it
		return fact.UnsureOf(fact.Reason{Code: ReasonUnread, Text: text + p.Text, File: k.Path})
	}
	if len(c.library.Files) == 0 {
		return fact.Unsure(ReasonUnread, "no file was found in the module path")
	}
	for i := range c.library.Files {
		f := &c.library.Files[i]
		if f.mayLoad() { // the name may be that of a module inside
			p := fact.ProblemOf(SourceModulePath, f.Path, "", f.unread)
			return fact.UnsureOf(fact.Reason{Code: ReasonUnread, Text: text + p.Text, File: f.Path})
		}
	}
	return fact.Answer{}
}

// kernelRelease returns the release number that a kernel's file gives itself; 0 if it was not read.
func kernelRelease(k *diskFile) int64 {
	if k == nil || k.metadata == nil {
		return 0
	}
	for _, v := range k.Versions {
		if v.Name == kernelName {
			return int64(v.Version)
		}
	}
	return 0
}
