// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
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

// writeBlocked says below the table which rules hit, and gives exit 1 when any did.
func (a *app) writeBlocked(l *blockList, snap *lkm.Snapshot) error {
	if l == nil {
		return nil
	}
	hits, unread, undecided, hard := 0, 0, 0, false
	for i := range snap.Modules { // what a filter left
		m := &snap.Modules[i]
		if m.Windows == nil {
			continue
		}
		switch {
		case m.Windows.PE == nil:
			unread++
		case l.undecided(m.Windows):
			undecided++
		}
		if len(m.Windows.Blocked) == 0 {
			continue
		}
		hits++
		hard = hard || m.Windows.Blocked[0].Strength != windows.StrengthHint
		if a.flags.format == "table" {
			a.writeHits(m)
		}
	}
	text, whole := l.title(snap)
	text += fmt.Sprintf(", %d of %d drivers named", hits, len(snap.Modules))
	if unread > 0 {
		text += fmt.Sprintf(", %d not compared (file not read)", unread)
	}
	if undecided > 0 {
		text += fmt.Sprintf(", %d not compared with every rule (a digest or the signer is not known)", undecided)
	}
	switch {
	case a.flags.format != "table" && unread+undecided > 0:
		fmt.Fprintln(a.stderr, "lkm: block list", text)
	case a.flags.format == "table":
		fmt.Fprintln(a.stdout, text)
		for _, p := range l.read.Problems {
			fmt.Fprintln(a.stderr, "lkm: block list:", escape.Text(p.Error()))
		}
	}
	switch {
	case hard:
		return exit(exitFindings)
	case !whole || a.flags.strict && unread+undecided > 0: // what is not compared is said, and counts under --strict
		return exit(exitIncomplete)
	}
	return nil
}

// writeHits prints the rules that name a driver.
func (a *app) writeHits(m *lkm.Module) {
	for _, b := range m.Windows.Blocked {
		fmt.Fprintf(a.stdout, "BLOCKLIST  %s  %s  %s by %s %s: %s\n", escape.Text(m.Name), orUnknown(string(m.State)),
			b.Strength, b.Kind, escape.Text(b.Rule), evidenceText(b))
	}
}

// undecided reports whether the list asks for what is not known of a driver whose file was read. The machine's own
// lists name signers, as Microsoft's does.
func (l *blockList) undecided(d *windows.Driver) bool {
	signers := l.BlockList == nil || l.DeniesSigners()
	return d.Hashes == nil || !d.Hashes.Whole() ||
		signers && (d.Signatures == nil || !authenticode.SignersKnown(d.Signatures))
}

// title says what the list is, and whether all of it was read.
func (l *blockList) title(snap *lkm.Snapshot) (text string, whole bool) {
	if l.BlockList != nil {
		return fmt.Sprintf("%s: %d rules", escape.Text(l.Name), l.Rules), len(l.read.Problems) == 0
	}
	src, _ := snap.Source(windows.SourceCIFiles)
	n, ok := src.Count.Get()
	switch {
	case src.Outcome == lkm.OutcomeOK:
		return fmt.Sprintf("this machine's own %d policies", n), true
	case ok && n > 0:
		return fmt.Sprintf("%d of this machine's own policies, others or parts of them could not be read", n), false
	}
	return fmt.Sprintf("this machine's own policies: none could be read (%s)", orUnknown(string(src.Code))), false
}

// evidenceText is the rule's name for people and, in brackets, what it hit.
func evidenceText(b windows.BlockMatch) string {
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
	return strings.TrimSpace(escape.Text(b.Name) + " (" + strings.Join(words, ", ") + ")")
}
