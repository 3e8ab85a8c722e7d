// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// A result is the answer for one module in one boot state.
type result struct {
	prospect fact.Prospect
	because  fact.Reason // what decided the outcome; of one that is unknown, what was not read
	word     string
	reasons  []fact.Reason // what a verdict shows
	answers  []fact.Answer // of each of the prospect's ways
}

// addReason adds reasons that are not there yet.
func (r *result) addReason(reasons ...fact.Reason) { r.reasons = appendReasons(r.reasons, reasons...) }

// appendReasons appends reasons that are not in the list yet; the zero Reason never is one.
func appendReasons(list []fact.Reason, reasons ...fact.Reason) []fact.Reason {
	for _, added := range reasons {
		same := func(known fact.Reason) bool { return sameReason(known, added) }
		if added.Code != "" && !slices.ContainsFunc(list, same) {
			list = append(list, added)
		}
	}
	return list
}

// sameReason reports whether two reasons show the same.
func sameReason(a, b fact.Reason) bool {
	a.Unread = b.Unread
	return a == b
}

// addWay adds a way.
func (r *result) addWay(name string, a fact.Answer) {
	r.prospect.Ways = append(r.prospect.Ways, a.Way(name))
	r.answers = append(r.answers, a)
}

// hasWay reports whether the result has a way of that name.
func (r *result) hasWay(name string) bool {
	return slices.ContainsFunc(r.prospect.Ways, func(w fact.Way) bool { return w.Way == name })
}

// set sets the outcome, the word for it, and the fact that decided.
func (r *result) set(outcome fact.VerdictOutcome, word string, because fact.Reason) {
	r.prospect.Outcome, r.prospect.Because = outcome, fact.Reason{}
	if outcome == fact.VerdictUnknown {
		r.prospect.Because = because
	}
	r.word, r.because = word, because
}

// setFromWays sets the outcome that the ways come to: loadable if one is open, unknown if one may be, else blocked by
// what stops modprobe: what stops an alias may do no more than that. The result keeps its word.
func (r *result) setFromWays() {
	outcome, because := fact.VerdictBlocked, fact.Reason{}
	for i, w := range r.prospect.Ways {
		if w.Way == WayInsmod || w.Way == WayUnprivileged { // root's own, and one of the autoloads
			continue
		}
		a := r.answers[i]
		switch {
		case a.Blocked() == fact.No:
			r.set(fact.VerdictLoadable, r.word, a.Because())
			return
		case a.Blocked() == "" && outcome != fact.VerdictUnknown:
			outcome, because = fact.VerdictUnknown, a.Because()
		case outcome == fact.VerdictBlocked && (because.Code == "" || w.Way == WayModprobe && a.Because().Code != ""):
			because = a.Because()
		}
	}
	r.set(outcome, r.word, because)
}

// mayBeAnything takes back what stops the module, because of a root that was not read.
func (r *result) mayBeAnything(a fact.Answer) {
	for i := range r.prospect.Ways {
		if w := &r.prospect.Ways[i]; w.Blocked == fact.Yes {
			*w, r.answers[i] = a.Way(w.Way), a
		}
	}
	if fact.VerdictUnknown.Worse(r.prospect.Outcome) {
		r.set(fact.VerdictUnknown, r.word, a.Because())
	}
}

// merge takes in the result of another boot entry: a way is blocked only if it is in each, and the worst outcome
// counts. doubt says why that entry may not be used at all; it does not apply to one that is certain.
func (r *result) merge(other result, doubt fact.Answer) {
	if other.prospect.Outcome.Worse(r.prospect.Outcome) {
		if doubt.Applies() {
			other.set(fact.VerdictUnknown, string(fact.VerdictUnknown), doubt.Because())
		}
		if other.prospect.Outcome.Worse(r.prospect.Outcome) {
			r.set(other.prospect.Outcome, other.word, other.because)
		}
	}
	for i := range r.prospect.Ways {
		way := &r.prospect.Ways[i]
		for _, w := range other.prospect.Ways {
			if w.Way == way.Way {
				mergeWay(way, w, doubt)
				break
			}
		}
	}
	for i, w := range other.prospect.Ways {
		if r.hasWay(w.Way) {
			continue
		}
		if doubt.Applies() && w.Blocked == fact.No {
			w = doubt.Way(w.Way)
		}
		r.prospect.Ways = slices.Insert(r.prospect.Ways, min(i, len(r.prospect.Ways)), w)
	}
	r.addReason(other.reasons...)
}

// mergeWay takes in what another boot entry says of a way.
func mergeWay(way *fact.Way, other fact.Way, doubt fact.Answer) {
	switch {
	case way.Blocked == fact.No, other.Blocked == fact.Yes, way.Blocked == other.Blocked: // it adds nothing
	case other.Blocked == "":
		*way = other
	case !doubt.Applies():
		*way = other // open
	case way.Blocked == fact.Yes:
		*way = doubt.Way(way.Way)
	}
}

// absent is the verdict for a name that nothing knows, or that runs a command which may load anything.
func (c *checker) absent(query string, command *modprobe.Directive) fact.Verdict {
	name, _ := modprobe.NormalizeAlias(query)
	v := fact.Verdict{Query: query, Release: c.machine.Release, Reasons: c.directives(name)}
	if command != nil && !modprobe.MatchAlias(command.Name, name) {
		v.Reasons = append(v.Reasons, lineReason(ReasonInstall, installText(command), command))
	}
	p, text := c.prospectOfNothing(name, command)
	none := fact.Reason{Code: ReasonNoSuch, Text: text}
	v.Reasons = append(v.Reasons, none)
	v.Word = string(p.Outcome)
	v.NextBoot = &p
	if c.now != nil {
		v.Now = &fact.Prospect{Outcome: p.Outcome, Because: p.Because}
	}
	v.LeadBy(none, none)
	v.Reasons = appendReasons(nil, v.Reasons...) // one may differ only in what was not read
	if like := near.Names(name, c.names()); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, ", ") + "?"
	}
	v.Problems = append([]fact.Problem{{Source: SourceTree, Subject: escape.UTF8(query), Code: fact.CodeAbsent,
		Text: escape.Text(text)}}, c.report.Problems...)
	return v
}

// prospectOfNothing returns the outcome for a name that nothing which was read knows, and what a verdict says of it.
func (c *checker) prospectOfNothing(name string, command *modprobe.Directive) (p fact.Prospect, text string) {
	if command != nil {
		because := lineReason(ReasonInstall, installText(command), command)
		because.Unread = "the command's effect"
		return fact.Prospect{Outcome: fact.VerdictUnknown, Because: because},
			"no module of that name, but a command that may load one"
	}
	if a := c.everythingRead(name); a.Blocked() != fact.No {
		return fact.Prospect{Outcome: fact.VerdictUnknown, Because: a.Because()},
			"no readable source knows this name"
	}
	return fact.Prospect{Outcome: fact.VerdictAbsent},
		"no module or alias of that name on disk, compiled in, or in the configuration"
}

// everythingRead says whether every source that could know a name was read: the loaded list, the indexes of files, of
// what is compiled in and of aliases, and the configuration. It is unsure because of the first that was not.
func (c *checker) everythingRead(name string) fact.Answer {
	if c.machine.Dir.HasUnseen() {
		return fact.UnsureOf(c.unseen())
	}
	if err := c.machine.DirErr; err != nil {
		return fact.UnsureOf(unread(ReasonUnread, "the directory of modules", err))
	}
	_, err := c.tree.Index(modprobe.IndexBuiltinAlias)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || isAliasForm(name)) {
		return c.indexUnread(modprobe.IndexBuiltinAlias, err)
	}
	if c.machine.Running && c.loadedErr != nil {
		return fact.UnsureOf(c.loadedUnread())
	}
	if err := c.tree.DepErr(); err != nil {
		return c.indexUnread("modules.dep", err)
	}
	for _, index := range []string{modprobe.IndexAlias, modprobe.IndexBuiltin} {
		if _, err := c.tree.Index(index); err != nil {
			return c.indexUnread(index, err)
		}
	}
	if _, err := c.shownBuiltin(name); err != nil {
		return fact.UnsureOf(unread(ReasonUnread, "whether the kernel shows such code", err))
	}
	if a := c.lookedUp(name); a.Blocked() != fact.No {
		return a
	}
	for _, s := range c.next {
		if s.initial.unread.Applies() {
			return s.initial.unread
		}
	}
	for _, s := range c.next {
		switch {
		case s.unread.Applies():
			return s.unread
		case s.elsewhere != nil:
			if a := s.elsewhere.everythingRead(name); a.Blocked() != fact.No {
				return a
			}
		}
	}
	for _, s := range c.states() {
		if err := s.modprobe.config.Unread(); err != nil {
			return fact.UnsureOf(unread(ReasonConfigUnread, "a part of modprobe's configuration", err))
		}
	}
	switch {
	case c.container.Applies():
		return c.container
	case c.extensions.Applies():
		return c.extensions
	}
	if a := c.builtAtBoot(name); a.Applies() {
		return a
	}
	return passes()
}

// unseen is the reason of an answer that directories beside that of the release could change.
func (c *checker) unseen() fact.Reason {
	r := fact.Reason{Code: ReasonUnread, Unread: "directories beside /" + c.machine.Dir.Dir}
	if len(c.machine.Dir.Beside) > 0 {
		r.Unread = "/" + c.machine.Dir.Beside[0]
	}
	r.Text = escape.Text(r.Unread) + " was not looked into for modules of this kernel"
	return r
}

// indexUnread is the answer if an index of the release could not be read.
func (c *checker) indexUnread(index string, err error) fact.Answer {
	return fact.UnsureOf(unread(ReasonUnread, "/"+c.tree.Path(index), err))
}

// isAliasForm reports whether a name has the form of those that the kernel or udev ask for. Before Linux 5.2 no file
// says which of them compiled-in code has.
func isAliasForm(name string) bool {
	if strings.Contains(name, ":") {
		return true
	}
	begins := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	return slices.ContainsFunc(aliasPrefixes, begins)
}

var aliasPrefixes = []string{"net_pf_", "can_proto_", "bt_proto_", "tty_ldisc_", "fs_", "crypto_", "char_major_",
	"block_major_", "rtnl_link_", "binfmt_", "devname_", "ip_set_", "ipt_", "nft_", "nfct_", "tcp_", "xfrm_"}

// names returns all names that a query might have meant.
func (c *checker) names() []string {
	var names []string
	lines := c.tree.DepLines()
	for i := range lines {
		names = append(names, lines[i].Name())
	}
	if modules, err := c.tree.Builtin(c.other); err == nil {
		for i := range modules {
			names = append(names, modules[i].Name)
		}
	}
	return names
}

// maxDirectives is how many lines of the configuration about a name are shown.
const maxDirectives = 10

// directives returns the lines of the configuration about a name, as reasons.
func (c *checker) directives(name string) []fact.Reason {
	config := c.tree.Config()
	var reasons []fact.Reason
	for _, list := range []struct {
		verb string
		of   []modprobe.Directive
	}{{"alias", config.Aliases}, {"blacklist", config.Blacklist}, {"install", config.Install}} {
		for i := range list.of {
			if d := &list.of[i]; modprobe.MatchAlias(d.Name, name) && len(reasons) < maxDirectives {
				text := list.verb + " " + strings.TrimSpace(d.Name+" "+d.Value)
				reasons = append(reasons, lineReason("configured", text, d))
			}
		}
	}
	return reasons
}

// remedies says what would stop what is open.
func (c *checker) remedies(t target, v *fact.Verdict) []fact.Remedy {
	switch worst := v.Worst(); {
	case worst == fact.VerdictBlocked || worst == fact.VerdictAbsent:
		return nil
	case t.builtin:
		return []fact.Remedy{{Text: "initcall_blacklist=" + c.initcallsText(t.name)}}
	}
	install := "install " + t.name + " /bin/false"
	if d := c.next[0].modprobe.effectiveSoftdep(t.name, c.other); d != nil {
		install = "softdep " + t.name + " pre: and " + install + ", in a file whose name sorts before " +
			path.Base(d.File)
	}
	if hasOpenWay(v.NextBoot, WayInitramfs) {
		install += ", and then " + c.rebuildText()
	}
	return []fact.Remedy{
		{Text: install, NotAgainst: []string{WayInsmod}},
		{Text: "module_blacklist=" + c.kernelName(t) + " on the kernel's command line"},
	}
}

// hasOpenWay reports whether a prospect has the way and it is not blocked.
func hasOpenWay(p *fact.Prospect, way string) bool {
	return slices.ContainsFunc(p.Ways, func(w fact.Way) bool { return w.Way == way && w.Blocked != fact.Yes })
}

// initcallsText names the functions that start a built-in module, as far as the kernel's symbols show them.
func (c *checker) initcallsText(module string) string {
	functions, _ := readInitcalls(c.machine.FS, c.machine.Release, module,
		c.machine.Running) // not known: said in words
	if len(functions) == 0 {
		return "FUNCTION on the kernel's command line, with the function that starts it (often " + module + "_init)"
	}
	return escape.Text(strings.Join(functions, ",")) + " on the kernel's command line"
}
