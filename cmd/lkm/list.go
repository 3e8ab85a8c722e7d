// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

func (a *app) list() *cobra.Command {
	var f filter
	scopes := map[lkm.Scope]*bool{lkm.ScopeBuiltin: new(bool), lkm.ScopeInstalled: new(bool), lkm.ScopeAll: new(bool)}
	c := &cobra.Command{
		Use:   "list",
		Short: "List what is loaded (lsmod, kldstat, kextstat, driverquery)",
		Long: `List the modules that are in the kernel now, from the kernel's own list, with what it says of each.

Filters show what is known to match, and count what could not be decided. The JSON of a list from which a
filter left something out says so: its sources are partial, and no other command takes it for a whole list.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			scope := lkm.ScopeLoaded
			for other, asked := range scopes {
				if *asked {
					scope = other
				}
			}
			return a.runList(c.Context(), scope, &f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(scopes[lkm.ScopeInstalled], "installed", false, "list what is on disk instead, loaded or not")
	fl.BoolVar(scopes[lkm.ScopeBuiltin], "builtin", false, "list what is compiled into the kernel instead")
	fl.BoolVar(scopes[lkm.ScopeAll], "all", false, "list all of these, once each")
	c.MarkFlagsMutuallyExclusive("installed", "builtin", "all")
	fl.BoolVar(&f.thirdParty, "third-party", false, "only code that is not the operating system's")
	fl.BoolVar(&f.unsigned, "unsigned", false, "only code without a valid signature")
	fl.BoolVar(&f.tainted, "tainted", false, "only modules that taint the kernel (Linux)")
	fl.StringVar(&f.state, "state", "", "only modules in `STATE`: "+strings.Join(states, ", "))
	fl.StringVar(&f.name, "name", "", "only modules whose name matches `GLOB`")
	fl.StringVar(&f.blockList, "blocklist", "",
		"report drivers named in a block list: a SiPolicy (compiled or XML) or LOLDrivers (JSON, CSV) "+
			"`FILE`, or \"system\" for the machine's own; exit 1 if any (Windows)")
	a.commonFlags(c)
	return c
}

func (a *app) runList(ctx context.Context, scope lkm.Scope, f *filter) error {
	if err := a.checkFormat(); err != nil {
		return err
	}
	if err := cmp.Or(f.check(), f.fits(scope)); err != nil {
		return err
	}
	blocked, err := a.readBlockList(f.blockList)
	if err != nil {
		return err
	}
	sys, err := a.openOnce(f.detail(), nil)
	if err != nil {
		return err
	}
	defer sys.Close()
	if err := a.checkKernel(ctx, sys, scope); err != nil {
		return err
	}
	if scope == lkm.ScopeInstalled {
		defer collectSeldom()()
	}
	rows := a.newStream(sys.OS(), scope, f)
	snap, err := sys.SnapshotEach(ctx, scope, rows.add)
	if err != nil {
		return err
	}
	if blocked != nil && snap.OS != lkm.Windows {
		return notDrivers(string(snap.OS))
	}
	blocked.match(snap)
	printed, err := rows.end()
	if err != nil {
		return err
	}
	err = a.writeStreamed(snap, scope, f, printed)
	if err != nil && !errors.Is(err, exit(exitIncomplete)) {
		return err
	}
	if blocked == nil {
		return err
	}
	if a.flags.format == "table" {
		a.writeHits(snap.Modules) // what a filter left
	}
	src, _ := snap.Source(windows.SourceCIFiles)
	title, whole := blocked.title(src)
	// A driver that the list names counts more than what could not be seen.
	return cmp.Or(a.writeBlocked(blocked, snap.Modules, title, whole), err)
}

// writeSnapshot prints a snapshot's modules as the flags say, and under the table what was and was
// not seen.
func (a *app) writeSnapshot(snap *lkm.Snapshot, scope lkm.Scope, f *filter) error {
	return a.writeStreamed(snap, scope, f, false)
}

// writeStreamed is writeSnapshot of modules that may have been printed already.
func (a *app) writeStreamed(snap *lkm.Snapshot, scope lkm.Scope, f *filter, printed bool) error {
	incomplete := snap.Err()
	all := len(snap.Modules)
	undecided := f.apply(snap)
	var err error
	switch a.flags.format {
	case "json":
		notWhole(snap, scope, all)
		err = writeJSON(a.stdout, snap, "  ")
	case "table":
		if len(snap.Modules) > 0 && !printed {
			err = a.writeModules(snap.Modules, columns(snap.OS, scope))
		}
		a.summary(snap, scope, all, undecided, f)
	default:
		if !printed {
			err = a.writeModules(snap.Modules, columns(snap.OS, scope))
		}
	}
	if err != nil {
		return err
	}
	if undecided > 0 && a.flags.format != "table" {
		fmt.Fprintf(a.stderr, "lkm: %s left out: %s\n", modulesText(undecided), f.undecided())
	}
	return a.strictly(incomplete)
}

// summary prints how much there was, what was not asked, and what could not be seen.
func (a *app) summary(snap *lkm.Snapshot, scope lkm.Scope, all, undecided int, f *filter) {
	var parts []string
	switch cannot, _ := noModules(snap); {
	case f.active() && !cannot:
		parts = append(parts, fmt.Sprintf("%d of %d match", len(snap.Modules), all))
		if undecided > 0 {
			parts[0] += fmt.Sprintf(" (%s left out: %s)", modulesText(undecided), f.undecided())
		}
	default:
		parts = append(parts, counted(snap, scope))
	}
	if n, ok := builtinCount(snap); ok && scope == lkm.ScopeLoaded {
		parts = append(parts, n+" built in: --builtin")
	}
	if snap.Release != "" {
		parts = append(parts, "kernel "+escape.Text(snap.Release))
	}
	if len(snap.Kernel.TaintFlags) > 0 {
		parts = append(parts, "tainted "+taintLetters(snap))
	}
	a.writeText("", 2, strings.Join(parts, " · "))
	if rest := notAsked(snap, scope); rest != "" {
		a.writeText("", 0, rest)
	}
	a.writeProblems(snap)
}

// counted says how many modules there are, in the words of the scope.
func counted(snap *lkm.Snapshot, scope lkm.Scope) string {
	switch scope {
	case lkm.ScopeBuiltin:
		if n, ok := builtinCount(snap); ok {
			return n + " built in"
		}
		return fmt.Sprintf("%d built in", len(snap.Modules))
	case lkm.ScopeInstalled:
		if len(snap.Modules) == 0 && snap.Live != "" && snap.ListErr(lkm.StateInstalled) != nil {
			return "unknown how many installed"
		}
		return fmt.Sprintf("%d installed", len(snap.Modules))
	case lkm.ScopeAll:
		return fmt.Sprintf("%d known", len(snap.Modules))
	}
	if none, text := noModules(snap); none {
		return text
	}
	third := 0
	for i := range snap.Modules {
		if snap.Modules[i].Origin.Class == lkm.OriginThirdParty {
			third++
		}
	}
	return fmt.Sprintf("%s%s (%d known third-party)", atLeast(snap), loadedCount(snap), third)
}

// loadedCount says how many modules are loaded; a text may also list others, and not say which are.
func loadedCount(snap *lkm.Snapshot) string {
	unloaded, unknown := 0, 0
	for i := range snap.Modules {
		switch snap.Modules[i].State {
		case lkm.StateInstalled, lkm.StateStaged:
			unloaded++
		case "":
			unknown++
		}
	}
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, text))
		}
	}
	loaded := len(snap.Modules) - unloaded - unknown
	if add(loaded, "loaded"); len(snap.Modules) == 0 {
		return "0 loaded"
	}
	add(unloaded, "not loaded")
	add(unknown, "in an unknown state")
	return strings.Join(parts, ", ")
}

// atLeast is what to say before the number of a list that is known to be cut or torn.
func atLeast(snap *lkm.Snapshot) string {
	for _, p := range snap.Problems {
		if p.Field == "modules" && p.Code != lkm.CodeUnsupported {
			return "at least "
		}
	}
	return ""
}

// noModules says in words why the list is empty when the kernel cannot have modules.
func noModules(snap *lkm.Snapshot) (bool, string) {
	if len(snap.Modules) > 0 {
		return false, ""
	}
	for _, p := range snap.Problems {
		if p.Field == "modules" && p.Code == lkm.CodeUnsupported {
			return true, "none: " + escape.Text(strings.TrimSuffix(p.Text, ": unsupported operation"))
		}
	}
	return false, ""
}

// builtinCount returns the number of builtin modules, with a mark when there may be more.
func builtinCount(snap *lkm.Snapshot) (string, bool) {
	src, ok := snap.Source(builtinSource)
	n, known := src.Count.Get()
	if !ok || !known {
		return "", false
	}
	if src.Outcome == lkm.OutcomePartial {
		return fmt.Sprintf("at least %d", n), n > 0
	}
	return fmt.Sprint(n), true
}

func taintLetters(snap *lkm.Snapshot) string {
	var b strings.Builder
	for _, f := range snap.Kernel.TaintFlags {
		if f.Letter == "" {
			fmt.Fprintf(&b, "[bit %d]", f.Bit)
		}
		b.WriteString(f.Letter)
	}
	return b.String()
}

// notAsked names the columns that are unknown of some module because nobody asked.
func notAsked(snap *lkm.Snapshot, scope lkm.Scope) string {
	if scope != lkm.ScopeLoaded && scope != lkm.ScopeInstalled || len(snap.Modules) == 0 || snap.Live == "" {
		return ""
	}
	any := func(cell func(*lkm.Module) string) bool {
		return slices.ContainsFunc(snap.Modules, func(m lkm.Module) bool { return cell(&m) == unknown })
	}
	var what, how []string
	if snap.Detail&lkm.DetailFiles == 0 {
		if scope == lkm.ScopeInstalled && any(versionCell) {
			what = append(what, "versions")
		}
		if any(originCell) {
			what = append(what, "origin")
		}
		if what != nil {
			how = append(how, "files")
		}
	}
	if snap.Detail&lkm.DetailSignatures == 0 && any(signedCell) {
		what, how = append(what, "signatures"), append(how, "signatures")
	}
	if len(what) == 0 {
		return ""
	}
	return fmt.Sprintf("not asked: %s (--detail %s)", strings.Join(what, ", "), strings.Join(how, ","))
}

// maxProblems is how many problems a table shows unless --verbose asks for all.
const maxProblems = 5

// writeProblems prints what could not be seen, most general first.
func (a *app) writeProblems(snap *lkm.Snapshot) {
	problems := make([]lkm.Problem, 0, len(snap.Problems))
	for _, p := range snap.Problems {
		if p.Code != lkm.CodeUnsupported {
			problems = append(problems, p)
		}
	}
	for i := range snap.Modules {
		problems = append(problems, snap.Modules[i].Problems...)
	}
	shown := problems
	if !a.flags.verbose && len(shown) > maxProblems {
		shown = shown[:maxProblems]
	}
	for _, p := range shown {
		a.notSeen(p.Error())
	}
	if more := len(problems) - len(shown); more > 0 {
		a.writeText(a.paint(warnStyle, "not seen:")+" ", 10, fmt.Sprintf("%d more (--verbose)", more))
	}
}

// notSeen prints what could not be seen, which need not be said on stderr then.
func (a *app) notSeen(text string) {
	a.shown[text] = true
	text = strings.TrimSuffix(text, ": "+errors.ErrUnsupported.Error()) // the rest says what is not supported
	a.writeText(a.paint(warnStyle, "not seen:")+" ", 10, escape.Text(text))
}

// modulesText is a number of modules in words.
func modulesText(n int) string { return countText(n, "module", "modules") }

// countText is a number of things in words.
func countText(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// A filter leaves modules out of a list.
type filter struct {
	thirdParty, unsigned, tainted bool

	state, name string
	blockList   string // file of a block list to compare with
	because     string // why the first module that could not be decided is not; empty if that is not known
}

func (f *filter) active() bool {
	return f.thirdParty || f.unsigned || f.tainted || f.state != "" || f.name != ""
}

// states are the words that --state takes.
var states = []string{
	string(lkm.StateLoaded), string(lkm.StateLoading), string(lkm.StateUnloading), string(lkm.StateBuiltin),
	string(lkm.StateInstalled), string(lkm.StateStaged),
}

// undecided says what is not known of the modules that the filter could not decide.
func (f *filter) undecided() string {
	var facts []string
	for what, asked := range map[string]bool{"origin": f.thirdParty, "signature": f.unsigned, "taint": f.tainted,
		"state": f.state != ""} {
		if asked {
			facts = append(facts, what)
		}
	}
	slices.Sort(facts)
	text := strings.Join(facts, " or ") + " not known"
	if f.because != "" {
		text += ": " + f.because
	}
	return text
}

// whyUnsigned returns why it is not known how a module is signed; empty if nothing says so.
func whyUnsigned(m *lkm.Module) string {
	for i := range m.Problems {
		if p := &m.Problems[i]; p.Field == "signature" {
			return p.Text
		}
	}
	if m.Windows != nil {
		for i := range m.Windows.Signatures {
			if s := &m.Windows.Signatures[i]; s.Status == lkm.SignatureUnchecked {
				return s.Reason
			}
		}
	}
	return ""
}

// fits returns an error for a state that no module of the scope has: an empty list would look like an answer.
func (f *filter) fits(scope lkm.Scope) error {
	var wants string
	switch lkm.State(f.state) {
	case "":
	case lkm.StateBuiltin:
		if scope != lkm.ScopeBuiltin {
			wants = "--builtin"
		}
	case lkm.StateInstalled, lkm.StateStaged:
		if scope != lkm.ScopeInstalled {
			wants = "--installed"
		}
	default:
		if scope == lkm.ScopeBuiltin {
			wants = "a list of what is loaded, without --builtin,"
		}
	}
	if wants == "" || scope == lkm.ScopeAll {
		return nil
	}
	return fmt.Errorf("--state %s goes with %s or --all", f.state, wants)
}

// check returns an error for an invalid state or pattern.
func (f *filter) check() error {
	if f.state != "" && !slices.Contains(states, f.state) {
		return fmt.Errorf("--state %q is not one of %s", f.state, strings.Join(states, ", "))
	}
	if _, err := path.Match(f.name, ""); err != nil {
		return fmt.Errorf("--name %q: %w", f.name, err)
	}
	return nil
}

// detail is what the filter needs to know.
func (f *filter) detail() lkm.Detail {
	var d lkm.Detail
	if f.thirdParty {
		d |= lkm.DetailFiles
	}
	if f.unsigned {
		d |= lkm.DetailFiles | lkm.DetailSignatures
	}
	if f.blockList != "" {
		d |= lkm.DetailFiles | lkm.DetailHashes | lkm.DetailSignatures
	}
	return d
}

// apply leaves in the snapshot what is known to match, and returns how many modules could not be
// decided.
func (f *filter) apply(snap *lkm.Snapshot) (undecided int) {
	kept := snap.Modules[:0]
	for i := range snap.Modules {
		switch f.match(&snap.Modules[i]) {
		case lkm.Yes:
			kept = append(kept, snap.Modules[i])
		case "":
			undecided++
			if f.unsigned && f.because == "" {
				f.because = whyUnsigned(&snap.Modules[i])
			}
		}
	}
	snap.Modules = kept
	return undecided
}

// notWhole says in a snapshot from which a filter left modules out that its lists are not whole: who reads it later
// does not know the filter. all is how many modules there were.
func notWhole(snap *lkm.Snapshot, scope lkm.Scope, all int) {
	if len(snap.Modules) == all {
		return
	}
	text := fmt.Sprintf("a filter left out %d of %s", all-len(snap.Modules), modulesText(all))
	for i := range snap.Sources {
		src := &snap.Sources[i]
		_, lists := src.Count.Get()
		if !lists || src.Outcome != lkm.OutcomeOK || src.Name == builtinSource && scope == lkm.ScopeLoaded {
			continue
		}
		src.Outcome, src.Code = lkm.OutcomePartial, lkm.CodeOther
		snap.Problems = append(snap.Problems,
			lkm.Problem{Source: src.Name, Field: "modules", Code: src.Code, Text: text})
	}
}

// match is yes when every condition holds, no when one does not, and else unknown.
func (f *filter) match(m *lkm.Module) lkm.Tri {
	result := lkm.Yes
	for _, t := range []lkm.Tri{f.matchName(m), f.matchState(m), f.matchTaint(m), f.matchOrigin(m),
		f.matchSignature(m)} {
		if t == lkm.No {
			return lkm.No
		}
		if t == "" {
			result = ""
		}
	}
	return result
}

func (f *filter) matchName(m *lkm.Module) lkm.Tri {
	if f.name == "" {
		return lkm.Yes
	}
	ok, _ := path.Match(f.name, m.Name)
	if !ok && m.Kind == facts.KindLinuxModule {
		ok, _ = path.Match(strings.ReplaceAll(f.name, "-", "_"), m.Name)
	}
	if !ok && isKld(m) {
		ok, _ = path.Match(f.name, strings.TrimSuffix(m.Name, ".ko"))
	}
	if !ok && m.Windows != nil { // its names fold letters
		name, pattern := strings.ToLower(m.Name), strings.ToLower(f.name)
		if ok, _ = path.Match(pattern, name); !ok {
			ok, _ = path.Match(pattern, strings.TrimSuffix(name, ".sys"))
		}
	}
	return lkm.TriOf(ok)
}

func (f *filter) matchState(m *lkm.Module) lkm.Tri {
	switch {
	case f.state == "":
		return lkm.Yes
	case m.State == "":
		return ""
	}
	return lkm.TriOf(string(m.State) == f.state)
}

func (f *filter) matchTaint(m *lkm.Module) lkm.Tri {
	switch {
	case !f.tainted:
		return lkm.Yes
	case m.Linux == nil || m.Linux.Taints == nil:
		return ""
	}
	return lkm.TriOf(len(m.Linux.Taints) > 0)
}

func (f *filter) matchOrigin(m *lkm.Module) lkm.Tri {
	switch {
	case !f.thirdParty:
		return lkm.Yes
	case m.Origin.Class == "":
		return ""
	}
	return lkm.TriOf(m.Origin.Class == lkm.OriginThirdParty)
}

func (f *filter) matchSignature(m *lkm.Module) lkm.Tri {
	switch {
	case !f.unsigned:
		return lkm.Yes
	case m.Signature.Evidence == facts.EvidenceTaintE:
		return lkm.Yes
	}
	switch m.Signature.Status {
	case lkm.SignatureNone, lkm.SignatureUntrusted, lkm.SignatureInvalid:
		return lkm.Yes
	case lkm.SignatureValid:
		return lkm.No
	}
	return ""
}
