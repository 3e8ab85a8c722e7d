// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

// readKeys reads files of certificates, each a set that results name by the file's name.
func (a *app) readKeys(files []string) ([]lkm.KeySet, error) {
	var sets []lkm.KeySet
	for _, name := range files {
		read, err := lkm.ReadKeys(argumentFS{a, name}, filepath.Base(name))
		if err != nil {
			return nil, fmt.Errorf("--keys %s: %w", name, err)
		}
		sets = append(sets, read...)
	}
	return sets, nil
}

// A blockList is the list that --blocklist gives; nil without it. Without a BlockList it is the machine's own, with
// which the library compares.
type blockList struct {
	*windows.BlockList
	read facts.Report // how reading it went
}

// systemBlockList is the --blocklist that means the machine's own.
const systemBlockList = "system"

func (a *app) readBlockList(name string) (*blockList, error) {
	switch name {
	case "":
		return nil, nil
	case systemBlockList:
		return &blockList{}, nil
	}
	b, err := a.readCapped(name, windows.MaxBlockList)
	if err != nil {
		return nil, fmt.Errorf("--blocklist: %w", err)
	}
	l := &blockList{}
	if l.BlockList, err = windows.ParseBlockList(b, &l.read); err != nil {
		return nil, fmt.Errorf("--blocklist %s: %w", name, err)
	}
	return l, nil
}

// notDrivers is the error of a block list for what is not a Windows driver.
func notDrivers(what string) error {
	return fmt.Errorf("--blocklist: a list of Windows drivers; this is %s: %w", what, errors.ErrUnsupported)
}

// match marks the drivers that the list names.
func (l *blockList) match(snap *lkm.Snapshot) {
	if l != nil {
		l.matchAll(snap.Modules)
	}
}

// matchAll marks the drivers that the list names. What the machine's own lists say gives way to a list of the caller's.
func (l *blockList) matchAll(modules []lkm.Module) {
	if l.BlockList == nil {
		return
	}
	for i := range modules {
		m := &modules[i]
		if m.Windows == nil {
			continue
		}
		d := *m.Windows
		d.Blocked = l.Match(d.Evidence(m.Name, m.Path))
		m.Windows = &d
	}
}

// A compared is what a comparison with a block list found.
type compared struct {
	all, hits, unread, undecided int  // numbers of drivers
	hard                         bool // a rule names a driver, and more than by a hint
}

// compared counts what the list says of drivers.
func (l *blockList) compared(modules []lkm.Module) compared {
	var c compared
	for i := range modules {
		d := modules[i].Windows
		if d == nil {
			continue
		}
		c.all++
		switch {
		case d.PE == nil:
			c.unread++
		case l.undecided(&modules[i]):
			c.undecided++
		}
		if len(d.Blocked) > 0 {
			c.hits++
			c.hard = c.hard || d.Blocked[0].Strength != windows.StrengthHint
		}
	}
	return c
}

// writeBlocked says which rules hit below what is printed of the modules, on stderr what a format or a field has no
// place for. It gives exit 1 when any did, and 3 when not all of the list was read. title is what the list is.
func (a *app) writeBlocked(l *blockList, modules []lkm.Module, title string, whole bool) error {
	c := l.compared(modules)
	text := title + fmt.Sprintf(", %d of %d drivers named", c.hits, c.all)
	if c.unread > 0 {
		text += fmt.Sprintf(", %d not compared (file not read)", c.unread)
	}
	if c.undecided > 0 {
		text += fmt.Sprintf(", %d not compared with every rule (a digest, the version or the signer is not known)",
			c.undecided)
	}
	table := a.flags.format == "table" && a.flags.field == ""
	switch {
	case table:
		fmt.Fprintln(a.stdout, text)
	case !whole || c.unread+c.undecided > 0:
		fmt.Fprintln(a.stderr, "lkm: block list", text)
	}
	for _, p := range l.read.Problems {
		fmt.Fprintln(a.stderr, "lkm:", escape.Text(p.Error()))
	}
	switch {
	case c.hard:
		return exit(exitFindings)
	case !whole || a.flags.strict && c.unread+c.undecided > 0: // what is not compared counts under --strict
		return exit(exitIncomplete)
	}
	return nil
}

// writeHits prints the rules that name drivers.
func (a *app) writeHits(modules []lkm.Module) {
	for i := range modules {
		m := &modules[i]
		if m.Windows == nil {
			continue
		}
		for _, b := range m.Windows.Blocked {
			fmt.Fprintf(a.stdout, "BLOCKLIST  %s  %s  %s\n", escape.Text(m.Name), orUnknown(string(m.State)),
				hitText(b))
		}
	}
}

// undecided reports whether the list asks for what is not known of a driver whose file was read: a digest or a signer,
// its version, or all of them, as the file is not whole. The machine's own lists name signers, as Microsoft's does.
func (l *blockList) undecided(m *lkm.Module) bool {
	d := m.Windows
	signers := l.BlockList == nil || l.DeniesSigners()
	cut := slices.ContainsFunc(m.Problems, func(p facts.Problem) bool {
		return p.Source == windows.SourceFile && (p.Field == "file" || p.Field == "version")
	})
	return cut || d.Hashes == nil || !d.Hashes.Whole() || signers && !d.SignersKnown()
}

// title says what the list is, and whether all of it was read. src is the source of the machine's own lists.
func (l *blockList) title(src lkm.Source) (text string, whole bool) {
	if l.BlockList != nil {
		return fmt.Sprintf("%s: %d rules", escape.Text(l.Name), l.Rules), len(l.read.Problems) == 0
	}
	n, ok := src.Count.Get()
	switch {
	case src.Outcome == lkm.OutcomeOK:
		return fmt.Sprintf("this machine's own %d policies", n), true
	case ok && n > 0:
		return fmt.Sprintf("%d of this machine's own policies, others or parts of them could not be read", n), false
	}
	return fmt.Sprintf("this machine's own policies: none could be read (%s)", orUnknown(string(src.Code))), false
}

// hitText returns how much a match weighs, the rule with its name for people, if it has one, and what it hit.
func hitText(b windows.BlockMatch) string {
	var words []string
	if b.Category != "" {
		words = append(words, escape.Text(b.Category))
	}
	for _, e := range b.Evidence {
		words = append(words, e.Fact+" "+escape.Text(e.Value))
	}
	if b.Inactive {
		words = append(words, "defined, not in force")
	}
	if b.Group != "" {
		words = append(words, "counts on systems for tests alone")
	}
	if b.LoadsDespiteHVCI != "" {
		words = append(words, "loads despite HVCI: "+string(b.LoadsDespiteHVCI))
	}
	if b.Audit {
		words = append(words, "the policy only reports")
	}
	if len(words) == 0 {
		words = []string{"every file"}
	}
	rule := escape.Text(b.Rule)
	if b.Name != "" { // a compiled policy has none
		rule += ": " + escape.Text(b.Name)
	}
	return fmt.Sprintf("%s by %s %s (%s)", b.Strength, b.Kind, rule, strings.Join(words, ", "))
}
