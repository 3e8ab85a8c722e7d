// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/near"
	"github.com/kernelext/kernelext/linux/modprobe"
)

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
			"nothing that could be read knows that name"
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
	_, err := c.tree.Index(modprobe.IndexBuiltinAlias)
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || isAliasForm(name)) {
		return c.indexUnread(modprobe.IndexBuiltinAlias, err)
	}
	if err := c.machine.DirErr; err != nil {
		return fact.UnsureOf(unread(ReasonUnread, "the directory of modules", err))
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
	for _, s := range c.states() {
		if err := unreadConfig(s.modprobe.config); err != nil {
			return fact.UnsureOf(unread(ReasonConfigUnread, "a part of modprobe's configuration", err))
		}
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
