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

// The ways for a kld to get into the kernel.
const (
	WayLoader     = "loader"     // the boot loader loads it, as loader.conf says
	WayKldList    = "kld_list"   // rc(8) loads it at boot, as rc.conf says
	WayDevmatch   = "devmatch"   // devmatch(8) loads it for a device that has no driver
	WayDependency = "dependency" // the kernel loads it because another kld needs it
	WayKldload    = "kldload"    // root loads it by name
)

// Codes of reasons.
const (
	ReasonLoaded     = "loaded"             // it is a loaded file
	ReasonPreloaded  = "preloaded"          // the boot loader had loaded it
	ReasonInKernel   = "in_kernel"          // it is compiled into the kernel
	ReasonInstalled  = "installed"          // its file is on disk
	ReasonNoFile     = "no_file"            // no file and no module has that name
	ReasonUnread     = "unread"             // a source that could change the answer was not read
	ReasonLevel      = "securelevel"        // kern.securelevel refuses it
	ReasonVeriexec   = "veriexec"           // veriexec decides
	ReasonBlacklist  = "module_blacklist"   // loader.conf's module_blacklist names it
	ReasonLoaderConf = "loader_conf"        // loader.conf loads it
	ReasonKldList    = "kld_list"           // rc.conf's kld_list names it
	ReasonDevmatch   = "devmatch"           // it declares devices that devmatch loads it for
	ReasonDevBlock   = "devmatch_blocklist" // rc.conf keeps devmatch from loading it
	ReasonDependency = "dependency"         // another file needs it
	ReasonUnmet      = "unmet_dependency"   // the kernel would refuse it: nothing provides what it needs
)

// A Situation is what is known of a machine when a check is made.
type Situation struct {
	// Live says that a kernel runs; false for an image.
	Live bool
	// Loaded are the loaded files, the kernel among them; nil when they could not be read, and then
	// LoadedErr says why.
	Loaded    []LoadedFile
	LoadedErr error
	// Preloads are what the boot loader loaded; nil when unknown.
	Preloads []Preload
	// Library is the files on disk; Config the configuration.
	Library *Library
	Config  *Config
	// Lock is what the kernel enforces; zero for an image.
	Lock Lock
	// Release is the kernel's release as uname gives it; empty when unknown.
	Release string
	// OSRelDate is the release number of the kernel; 0 when unknown.
	OSRelDate int64
}

// A Finding is a verdict on one file, or on the name when there is none.
type Finding struct {
	// Name is the name of the file or, for what is compiled in, of the module; empty when nothing
	// has that name.
	Name string
	// InKernel is set when it is compiled in.
	InKernel bool
	fact.Verdict
}

// subject is what a query means: a file on disk, a loaded one, a module inside the kernel, or
// several of these at once.
type subject struct {
	disk     *DiskFile
	loaded   *LoadedFile
	inKernel string // the module's name in the kernel
	matched  *Match // for a device
}

// Check answers whether what a query means is, or can get, in the kernel. A query is a file's
// name with or without ".ko", a path, a module's name or the last part of it, an interface's name,
// or a device ([ParseDevice]).
func (s *Situation) Check(query string) []Finding {
	var out []Finding
	for _, sub := range s.subjects(query) {
		out = append(out, s.judge(query, sub))
	}
	if out == nil {
		out = append(out, s.judge(query, subject{}))
	}
	return out
}

func (s *Situation) subjects(query string) []subject {
	if d, err := ParseDevice(query); err == nil {
		var out []subject
		for _, m := range s.Library.Match(d) {
			sub := subject{disk: m.File, matched: &m}
			if m.File == s.Library.Kernel {
				sub = subject{inKernel: kernelName, matched: &m}
			} else {
				sub.loaded = s.loadedFile(m.File.Name())
			}
			out = append(out, sub)
		}
		return out
	}
	var out []subject
	for _, f := range s.Library.Find(query) {
		if f == s.Library.Kernel {
			continue
		}
		sub := subject{disk: f, loaded: s.loadedFile(f.Name())}
		if sub.loaded == nil {
			sub.inKernel = s.compiledIn(f)
		}
		if !slices.ContainsFunc(out, func(o subject) bool { return o.disk.Name() == f.Name() }) { // the first of the path is the one that is loaded
			out = append(out, sub)
		}
	}
	if out != nil {
		return out
	}
	if f := s.loadedNamed(query); f != nil {
		if f.ID == 1 {
			return []subject{{inKernel: moduleNamed(f.Modules, query)}}
		}
		return []subject{{loaded: f}}
	}
	if name := s.kernelFileHas(query); name != "" {
		return []subject{{inKernel: name}}
	}
	return nil
}

func (s *Situation) loadedFile(name string) *LoadedFile {
	for i := range s.Loaded {
		if s.Loaded[i].Name == name && s.Loaded[i].ID != 1 {
			return &s.Loaded[i]
		}
	}
	return nil
}

// loadedNamed finds a loaded file by its name, or by a module inside it.
func (s *Situation) loadedNamed(query string) *LoadedFile {
	base := FileName(query)
	for i := range s.Loaded {
		f := &s.Loaded[i]
		if f.Name == base || f.Name == base+".ko" || f.Pathname == query {
			return f
		}
	}
	for i := range s.Loaded {
		if moduleNamed(s.Loaded[i].Modules, query) != "" {
			return &s.Loaded[i]
		}
	}
	return nil
}

// moduleNamed returns the module that the query names, whole or by the last part of its name.
func moduleNamed(modules []ModuleStat, query string) string {
	query = strings.TrimSuffix(query, ".ko")
	for _, m := range modules {
		if m.Name == query {
			return m.Name
		}
	}
	for _, m := range modules {
		if LastPart(m.Name) == query {
			return m.Name
		}
	}
	if query == kernelName {
		return kernelName
	}
	return ""
}

// compiledIn returns the name of the first module of the file that the kernel itself holds: then
// the file's code is in the kernel already, and kldload(8) refuses the file.
func (s *Situation) compiledIn(f *DiskFile) string {
	if f.Metadata == nil {
		return ""
	}
	for _, m := range f.Modules {
		if name := s.kernelHas(m.Name); name != "" {
			return name
		}
	}
	return ""
}

// kernelHas returns the name if a module of that very name is inside the kernel.
func (s *Situation) kernelHas(name string) string {
	for i := range s.Loaded {
		if s.Loaded[i].ID != 1 {
			continue
		}
		for _, m := range s.Loaded[i].Modules {
			if m.Name == name {
				return name
			}
		}
	}
	if s.Live || s.Library.Kernel == nil || s.Library.Kernel.Metadata == nil {
		return ""
	}
	for _, m := range s.Library.Kernel.Modules {
		if m.Name == name {
			return name
		}
	}
	return ""
}

// kernelFileHas looks a query up among the modules that the kernel's file on disk declares.
func (s *Situation) kernelFileHas(query string) string {
	k := s.Library.Kernel
	if k == nil || k.Metadata == nil {
		return ""
	}
	base := strings.TrimSuffix(query, ".ko")
	if base == kernelName {
		return kernelName
	}
	for _, m := range k.Modules {
		if m.Name == base || m.Record == base || LastPart(m.Name) == base {
			return m.Name
		}
	}
	for _, v := range k.Versions {
		if v.Name == base {
			return v.Name
		}
	}
	return ""
}

func (s *Situation) judge(query string, sub subject) Finding {
	f := Finding{Verdict: fact.Verdict{Query: query, Release: s.Release}}
	if f.Release == "" {
		f.Release = Release(s.OSRelDate)
	}
	switch {
	case sub.disk != nil:
		f.Name = sub.disk.Name()
	case sub.loaded != nil:
		f.Name = sub.loaded.Name
	case sub.inKernel != "":
		f.Name = sub.inKernel
	}
	f.InKernel = sub.inKernel != ""
	s.presence(&f, sub)
	if f.Name != "" && !f.InKernel {
		s.configuration(&f, sub)
	}
	if s.Live {
		f.Now = s.now(&f, sub)
	}
	f.NextBoot = s.nextBoot(&f, sub)
	s.problems(&f)
	return f
}

func (f *Finding) reason(code, format string, args ...any) {
	f.Reasons = append(f.Reasons, fact.Reason{Code: code, Text: fmt.Sprintf(format, args...)})
}

func (f *Finding) setting(list *[]fact.Reason, code string, s Setting, text string) {
	*list = append(*list, fact.Reason{Code: code, Text: text, File: s.File, Line: s.Line})
}

// presence says where it is.
func (s *Situation) presence(f *Finding, sub subject) {
	if l := sub.loaded; l != nil {
		f.Word = "loaded"
		f.reason(ReasonLoaded, "%s is loaded as id %d%s", l.Name, l.ID, from(l.Pathname))
		if s.preloaded(l) {
			f.Word = "preloaded"
			f.reason(ReasonPreloaded, "the boot loader had loaded it")
		}
	}
	if sub.inKernel != "" {
		f.Word = "in kernel"
		if sub.disk != nil {
			f.reason(ReasonInKernel, "%s of %s is compiled into the kernel", sub.inKernel, sub.disk.Name())
		} else {
			f.reason(ReasonInKernel, "%s is compiled into the kernel", sub.inKernel)
		}
	}
	if d := sub.disk; d != nil {
		f.Reasons = append(f.Reasons, fact.Reason{Code: ReasonInstalled, Text: installedText(d), File: d.Path})
	}
	if m := sub.matched; m != nil {
		f.Triggers = append(f.Triggers, fact.Reason{Code: ReasonDevmatch, Text: fmt.Sprintf("row %d of its table for bus %s drives the device: %s", m.Row, m.Table.Bus, m.Table.IDs[m.Row])})
	}
	if f.Name == "" {
		if s.complete() {
			f.reason(ReasonNoFile, "no loaded file, no module in the kernel and no file in the module path has that name")
		} else {
			f.reason(ReasonUnread, "nothing that was read has that name, but not everything could be read")
		}
	}
}

func from(path string) string {
	if path == "" {
		return ""
	}
	return " from " + path
}

func installedText(d *DiskFile) string {
	if d.Metadata == nil {
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
	if n, ok := BuiltFor(d.Depends); ok {
		text += "; built for " + Release(int64(n))
	}
	return text
}

func (s *Situation) preloaded(l *LoadedFile) bool {
	return slices.ContainsFunc(s.Preloads, func(p Preload) bool { return p.Code() && p.Name == l.Pathname })
}

// configuration says what asks for the file and what keeps it out.
func (s *Situation) configuration(f *Finding, sub subject) {
	base := BaseName(f.Name)
	if set, ok := s.Config.Loads(base); ok {
		f.setting(&f.Triggers, ReasonLoaderConf, set, "the boot loader loads it")
	}
	if set, ok := s.Config.Blacklisted(base); ok {
		f.setting(&f.Reasons, ReasonBlacklist, set, "the boot loader does not load it; kldload(8), kld_list and devmatch(8) still do")
		if f.Word == "" {
			f.Word = "blacklisted"
		}
	}
	if set, ok := s.Config.Listed(base); ok {
		f.setting(&f.Triggers, ReasonKldList, set, "rc(8) loads it at boot")
	}
	if sub.disk == nil {
		return
	}
	if set, ok := s.Config.DevmatchBlocked(base); ok {
		f.setting(&f.Reasons, ReasonDevBlock, set, "devmatch(8) does not load it")
	}
	if n := deviceRows(sub.disk); n > 0 && sub.matched == nil {
		f.Triggers = append(f.Triggers, fact.Reason{Code: ReasonDevmatch, Text: fmt.Sprintf("it declares %d devices that devmatch(8) loads it for", n)})
	}
	if users := s.users(sub.disk); len(users) > 0 {
		f.Triggers = append(f.Triggers, fact.Reason{Code: ReasonDependency, Text: "needed by " + strings.Join(users[:min(len(users), 5)], ", ")})
	}
}

func deviceRows(d *DiskFile) int {
	n := 0
	if d.Metadata != nil {
		for i := range d.PNP {
			n += len(d.PNP[i].rows)
		}
	}
	return n
}

// users returns the names of the files that need this one.
func (s *Situation) users(d *DiskFile) []string {
	var out []string
	for i := range s.Library.Files {
		f := &s.Library.Files[i]
		if needs, _ := s.Library.Requires(f); slices.Contains(needs, d) {
			out = append(out, f.Name())
		}
	}
	return out
}

// unmet returns the dependencies because of which the kernel would refuse the file.
func (s *Situation) unmet(d *DiskFile) []Depend {
	if d.Metadata == nil {
		return nil
	}
	_, missing := s.Library.Requires(d)
	if len(s.Library.Problems) > 0 {
		missing = slices.DeleteFunc(missing, func(d Depend) bool { return d.Name != kernelName }) // it may be in what was not read
	}
	if s.OSRelDate == 0 {
		return missing
	}
	for _, dep := range d.Depends {
		known := slices.ContainsFunc(missing, func(m Depend) bool { return m == dep })
		if dep.Name == kernelName && !known && s.Live && !dep.Accepts(int32(s.OSRelDate)) {
			missing = append(missing, dep)
		}
	}
	return missing
}

// now is about the running kernel.
func (s *Situation) now(f *Finding, sub subject) *fact.Prospect {
	switch {
	case sub.loaded != nil:
		return &fact.Prospect{Outcome: fact.VerdictLoaded}
	case sub.inKernel != "":
		return &fact.Prospect{Outcome: fact.VerdictBuiltin}
	case s.LoadedErr != nil:
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	case sub.disk == nil && s.complete():
		return &fact.Prospect{Outcome: fact.VerdictAbsent}
	case sub.disk == nil:
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	}
	blocked, why := s.Lock.Blocked()
	if why != "" {
		code := ReasonLevel
		if s.Lock.Enforcing() && blocked != fact.Yes {
			code = ReasonVeriexec
		}
		f.reason(code, "%s", why)
	}
	if missing := s.unmet(sub.disk); len(missing) > 0 {
		for _, d := range missing {
			f.reason(ReasonUnmet, "%v", ErrMissing(d))
		}
		blocked = fact.Yes
	}
	ways := []fact.Way{}
	if n := deviceRows(sub.disk); n > 0 {
		ways = append(ways, fact.Way{Way: WayDevmatch, Blocked: or(blocked, s.devmatchBlocked(f.Name))})
	}
	if len(s.users(sub.disk)) > 0 {
		ways = append(ways, fact.Way{Way: WayDependency, Blocked: blocked})
	}
	ways = append(ways, fact.Way{Way: WayKldload, Blocked: blocked})
	return &fact.Prospect{Outcome: outcomeOf(ways), Ways: ways}
}

// devmatchBlocked says whether devmatch is kept from loading the file.
func (s *Situation) devmatchBlocked(name string) fact.Tri {
	if _, ok := s.Config.DevmatchBlocked(BaseName(name)); ok {
		return fact.Yes
	}
	_, yes, known := s.Config.DevmatchEnabled()
	switch {
	case known && !yes:
		return fact.Yes
	case known:
		return fact.No
	}
	return ""
}

// or is yes when either is, else unknown when either is.
func or(a, b fact.Tri) fact.Tri {
	switch {
	case a == fact.Yes || b == fact.Yes:
		return fact.Yes
	case a == "" || b == "":
		return ""
	}
	return fact.No
}

// outcomeOf is loadable when some way is open, blocked when each is stopped, else unknown.
func outcomeOf(ways []fact.Way) fact.VerdictOutcome {
	unknown := false
	for _, w := range ways {
		switch w.Blocked {
		case fact.No:
			return fact.VerdictLoadable
		case "":
			unknown = true
		}
	}
	if unknown {
		return fact.VerdictUnknown
	}
	return fact.VerdictBlocked
}

// nextBoot is about the kernel after a boot with the configuration as it is on disk.
func (s *Situation) nextBoot(f *Finding, sub subject) *fact.Prospect {
	switch {
	case sub.inKernel != "":
		return &fact.Prospect{Outcome: fact.VerdictBuiltin}
	case sub.disk == nil && s.diskComplete():
		return &fact.Prospect{Outcome: fact.VerdictAbsent}
	case sub.disk == nil:
		return &fact.Prospect{Outcome: fact.VerdictUnknown}
	}
	base := BaseName(f.Name)
	refused := fact.No
	if missing := s.unmet(sub.disk); len(missing) > 0 {
		refused = fact.Yes
		if !s.Live {
			for _, d := range missing {
				f.reason(ReasonUnmet, "%v", ErrMissing(d))
			}
		}
	}
	level, raised := s.Config.SecureLevel()
	ways := []fact.Way{}
	if _, ok := s.Config.Loads(base); ok {
		_, black := s.Config.Blacklisted(base)
		ways = append(ways, fact.Way{Way: WayLoader, Blocked: or(refused, fact.TriOf(black))})
	}
	if _, ok := s.Config.Listed(base); ok {
		ways = append(ways, fact.Way{Way: WayKldList, Blocked: refused})
	}
	if deviceRows(sub.disk) > 0 {
		ways = append(ways, fact.Way{Way: WayDevmatch, Blocked: or(refused, s.devmatchBlocked(f.Name))})
	}
	root := or(refused, fact.TriOf(raised))
	if len(s.users(sub.disk)) > 0 {
		ways = append(ways, fact.Way{Way: WayDependency, Blocked: root})
	}
	ways = append(ways, fact.Way{Way: WayKldload, Blocked: root})
	if raised {
		f.setting(&f.Reasons, ReasonLevel, level, "rc(8) raises the securelevel at the end of the boot")
		f.setting(&f.Bypasses, ReasonLevel, level, "until then, scripts of rc(8) can load it; and root can change loader.conf for the next boot")
	}
	f.Remedies = remedies(base)
	return &fact.Prospect{Outcome: outcomeOf(ways), Ways: ways}
}

func remedies(base string) []fact.Remedy {
	return []fact.Remedy{
		{Text: fmt.Sprintf("loader.conf: module_blacklist=\"%s\"", base), NotAgainst: []string{WayKldList, WayDevmatch, WayDependency, WayKldload}},
		{Text: fmt.Sprintf("rc.conf: devmatch_blocklist=\"%s\"", base), NotAgainst: []string{WayLoader, WayKldList, WayDependency, WayKldload}},
		{Text: `rc.conf: kern_securelevel_enable="YES" kern_securelevel="1"`, NotAgainst: []string{WayLoader, WayKldList, WayDevmatch}},
	}
}

// complete reports whether every source that could know a name was read.
func (s *Situation) complete() bool { return s.LoadedErr == nil && s.diskComplete() }

func (s *Situation) diskComplete() bool {
	if len(s.Library.Problems) > 0 || len(s.Library.Files) == 0 {
		return false
	}
	for i := range s.Library.Files {
		// The name may be that of a module inside; but what is no ELF file the kernel refuses too.
		if err := s.Library.Files[i].Err; err != nil && !errors.Is(err, fact.ErrMalformed) {
			return false
		}
	}
	return true
}

// problems lists what could not be read.
func (s *Situation) problems(f *Finding) {
	add := func(source, subject string, err error) {
		if err != nil && len(f.Problems) < 100 {
			f.Problems = append(f.Problems, fact.ProblemOf(source, subject, "", err))
		}
	}
	add(SourceKldstat, "", s.LoadedErr)
	for _, err := range s.Library.Problems {
		add(SourceModulePath, "", err)
	}
	for i := range s.Library.Files {
		add(SourceModulePath, s.Library.Files[i].Name(), s.Library.Files[i].Err)
	}
	if k := s.Library.Kernel; k != nil && !errors.Is(k.Err, fs.ErrNotExist) {
		add(SourceModulePath, kernelName, k.Err)
	}
	for _, err := range s.Config.Errs {
		add(SourceLoaderConf, "", err)
	}
	if s.Live {
		add(SourcePolicy, "", s.Lock.LevelErr)
		add(SourcePolicy, "", s.Lock.VeriexecErr)
	}
}
