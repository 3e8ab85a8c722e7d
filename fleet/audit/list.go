// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// each answers a rule about every module of a scope: a row for each that is not as it should be, one for those of
// which it is not known, and one that passes if there is neither.
func (m *machine) each(ctx context.Context, r *Rule, scope lkm.Scope) {
	snap, missing := m.snapshot(ctx, scope)
	if snap == nil {
		m.unknown(r, "", missing)
		return
	}
	switch r.Kind {
	case Deny:
		for _, name := range r.Modules {
			if err := m.notName(name, Deny); err != nil {
				missing = errors.Join(missing, err)
				break
			}
		}
	case BlockListed:
		missing = errors.Join(missing, m.blockList(snap))
	}
	patterns := m.patterns(r)
	failed := false
	var undecided []string
	why := ""
	for i := range snap.Modules {
		mod := &snap.Modules[i]
		row := m.module(r, patterns, mod)
		switch row.Status {
		case Fail:
			failed = true
			row.Subject = mod.Name
			if row.File == "" {
				row.File = mod.Path
			}
			m.add(r, row)
		case Unknown:
			undecided = append(undecided, mod.Name)
			if why == "" {
				why = row.Because
			}
		}
	}
	if len(undecided) > 0 {
		m.add(r, Row{Status: Unknown, Because: undecidedText(len(undecided), len(snap.Modules), why, undecided)})
	}
	switch {
	case missing != nil:
		m.unknown(r, "", missing)
	case !failed && len(undecided) == 0:
		m.add(r, Row{Status: Pass, Because: fmt.Sprintf("%d %s modules", len(snap.Modules), scope)})
	}
}

// patterns returns what a rule compares modules with: names, signers or taints.
func (m *machine) patterns(r *Rule) *matcher {
	switch r.Kind {
	case UnknownSigner:
		return newMatcher(r.Signers, nil)
	case Tainted:
		return newMatcher(r.Taints, nil)
	}
	return newMatcher(r.Modules, m.fold)
}

// undecidedText says of how many modules the answer is not known.
func undecidedText(n, all int, why string, names []string) string {
	const most = 5
	text := fmt.Sprintf("%d of %d modules: %s (%s", n, all, why, strings.Join(names[:min(n, most)], ", "))
	if n > most {
		text += ", …"
	}
	return text + ")"
}

// module answers a rule about one module.
func (m *machine) module(r *Rule, patterns *matcher, mod *lkm.Module) Row {
	switch r.Kind {
	case Allow:
		return failIf(!matchName(m.system(), patterns, mod.Name, r.Kind), "", "not in the list of what is allowed")
	case Deny:
		return failIf(matchName(m.system(), patterns, mod.Name, r.Kind), "", "in the list of what is denied")
	case ThirdParty:
		return thirdParty(mod)
	case Unsigned:
		return unsigned(mod)
	case UnknownSigner:
		return unknownSigner(r, patterns, mod)
	case Tainted:
		return tainted(r, patterns, mod)
	case DiskMemory:
		return diskMemory(mod)
	case BlockListed:
		return m.blockListed(mod)
	}
	return Row{Status: Unknown, Because: fmt.Sprintf("rules of kind %s are not known", r.Kind)}
}

// failIf is a failed row if fails is set, else one that passes.
func failIf(fails bool, effective, because string) Row {
	if fails {
		return Row{Status: Fail, Effective: effective, Because: because}
	}
	return Row{Status: Pass}
}

func unknownRow(mod *lkm.Module, field, text string) Row {
	for _, p := range mod.Problems {
		if p.Field == field && p.Text != "" {
			return Row{Status: Unknown, Because: text + ": " + p.Text}
		}
	}
	return Row{Status: Unknown, Because: text}
}

func thirdParty(mod *lkm.Module) Row {
	switch mod.Origin.Class {
	case fact.OriginOS:
		return Row{Status: Pass}
	case fact.OriginThirdParty:
		row := Row{Status: Fail, Effective: string(fact.OriginThirdParty), Because: "not the operating system's"}
		for i, e := range mod.Origin.Evidence {
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			row.Because += sep + strings.TrimSpace(e.Fact+" "+e.Value)
		}
		return row
	}
	return unknownRow(mod, "origin", "whose code it is is not known")
}

func unsigned(mod *lkm.Module) Row {
	s := &mod.Signature
	switch {
	case s.Status == fact.SignatureNone:
		return failIf(true, string(s.Status), "no signature")
	case s.Status == fact.SignatureInvalid:
		return failIf(true, string(s.Status), "the signature is not of these bytes, or is revoked")
	case s.Evidence == fact.EvidenceTaintE:
		return failIf(true, s.Evidence, "the kernel found no valid signature when it was loaded (taint E)")
	case s.Status == "":
		return unknownRow(mod, "signature", "whether it is signed is not known")
	}
	return Row{Status: Pass} // unchecked, untrusted, valid: there is one
}

func unknownSigner(r *Rule, signers *matcher, mod *lkm.Module) Row {
	s := &mod.Signature
	switch s.Status {
	case fact.SignatureValid:
		known := len(r.Signers) == 0 || signers.match(s.Signer)
		return failIf(!known, string(s.Status), fmt.Sprintf("signed by %q", s.Signer))
	case fact.SignatureUntrusted:
		return failIf(true, string(s.Status), fmt.Sprintf("signed by %q, whom no key vouches for", s.Signer))
	case fact.SignatureNone:
		return failIf(true, string(s.Status), "no signature")
	case fact.SignatureInvalid:
		return failIf(true, string(s.Status), "the signature is not of these bytes, or is revoked")
	}
	if s.Evidence == fact.EvidenceTaintE {
		return failIf(true, s.Evidence, "the kernel found no valid signature when it was loaded (taint E)")
	}
	return unknownRow(mod, "signature", "who signed it is not verified")
}

func tainted(r *Rule, taints *matcher, mod *lkm.Module) Row {
	if mod.Linux == nil {
		return Row{Status: Unknown, Because: "only Linux has taints"}
	}
	if mod.Linux.Taints == nil {
		return unknownRow(mod, "linux.taints", "its taints are not known")
	}
	var letters []string
	for _, t := range mod.Linux.Taints {
		if len(r.Taints) == 0 || taints.match(t) {
			letters = append(letters, t)
		}
	}
	text := strings.Join(letters, "")
	return failIf(text != "", text, "taints the kernel: "+text)
}

func diskMemory(mod *lkm.Module) Row {
	switch mod.OnDisk.Match {
	case fact.MatchSame:
		return Row{Status: Pass}
	case fact.MatchDifferent:
		return Row{Status: Fail, Effective: string(fact.MatchDifferent), File: mod.OnDisk.Path,
			Because: "the file has other code than what is loaded"}
	case fact.MatchAbsent:
		return failIf(true, string(fact.MatchAbsent), "no file would be loaded under this name")
	}
	return unknownRow(mod, "onDisk", "whether the file has the loaded code is not known")
}

// Sources of package windows.
const (
	sourceCIFiles     = "code_integrity_files" // the machine's own lists, windows.SourceCIFiles
	sourceDriverFiles = "driver_files"         // windows.SourceFile
)

// blockList enters what a list of the caller's says. It returns why drivers that are named may not be marked.
func (m *machine) blockList(snap *lkm.Snapshot) error {
	if m.system() != fact.Windows {
		return fmt.Errorf("%s has no block list of drivers", m.system())
	}
	if m.Mark != nil {
		return m.Mark(snap)
	}
	src, ok := snap.Source(sourceCIFiles)
	if !ok || src.Outcome != fact.OutcomeOK {
		return fact.Problem{Source: sourceCIFiles, Code: src.Code,
			Text: "this machine's own policies were not read whole"}
	}
	return nil
}

// ofFile reports whether a problem is about a driver's file as a whole: it was not read, or ends too early.
func ofFile(p fact.Problem) bool { return p.Source == sourceDriverFiles && p.Field == "file" }

// ofVersion reports whether a problem is about a driver's version resource, whose names and numbers a list may name.
func ofVersion(p fact.Problem) bool { return p.Source == sourceDriverFiles && p.Field == "version" }

// blockListed answers for one driver. That no rule names it counts only if everything that a rule may ask for is known.
func (m *machine) blockListed(mod *lkm.Module) Row {
	d := mod.Windows
	if d == nil {
		return Row{Status: Unknown, Because: "only Windows has block lists of drivers"}
	}
	for _, b := range d.Blocked {
		if b.Strength != "hint" {
			return Row{Status: Fail, Effective: string(b.Strength),
				Because: strings.TrimSpace(fmt.Sprintf("named in %s: %s %s", b.List, b.Rule, b.Name))}
		}
	}
	digests := d.Hashes != nil && d.Hashes.Whole()
	switch {
	case d.PE == nil:
		return Row{Status: Unknown, Because: "its file was not read"}
	case slices.ContainsFunc(mod.Problems, ofFile):
		return unknownRow(mod, "file", "its file is not whole, and a list may name the whole one")
	case slices.ContainsFunc(mod.Problems, ofVersion):
		return unknownRow(mod, "version", "its version was not read whole, and a list may name it")
	case m.Undecided != nil && !m.Undecided(mod):
		return Row{Status: Pass}
	case !digests:
		return unknownRow(mod, "hashes", "its digests are not known, which a list may name")
	case m.Undecided != nil || !d.SignersKnown():
		return unknownRow(mod, "signature", "its signers are not known, whom a list may name")
	}
	return Row{Status: Pass}
}
