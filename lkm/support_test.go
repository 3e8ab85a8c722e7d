// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

// systems are the rows of the support table.
var systems = []lkm.OS{lkm.Linux, lkm.FreeBSD, lkm.DragonFly, lkm.NetBSD, lkm.OpenBSD,
	lkm.Illumos, lkm.Solaris, lkm.AIX,
	lkm.Darwin, lkm.Windows, lkm.VxWorks, lkm.NetWare}

// supportCalls are its columns: a call works when it does not say that it is unsupported.
var supportCalls = []struct {
	name string
	try  func(*lkm.System) error
}{
	{"loaded", func(s *lkm.System) error { _, err := s.Snapshot(context.Background()); return err }},
	{"poll", func(s *lkm.System) error { return s.Poll(context.Background(), new(lkm.List)) }},
	{"changed", func(s *lkm.System) error { _, err := s.Changed(context.Background(), new(lkm.Token)); return err }},
	{"builtin", func(s *lkm.System) error { return drain(s.Builtin(context.Background())) }},
	{"installed", func(s *lkm.System) error { return drain(s.Installed(context.Background())) }},
	{"policy", func(s *lkm.System) error { _, err := s.Policy(context.Background()); return err }},
	{"check", func(s *lkm.System) error { _, err := s.Check(context.Background(), "none"); return err }},
	{"discrepancies", func(s *lkm.System) error { _, err := s.Discrepancies(context.Background()); return err }},
}

func drain(seq iter.Seq2[lkm.Module, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestSupportTable writes README's table from what the tapes and captures show, so that it cannot
// claim what is not so.
func TestSupportTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| system |")
	for _, c := range supportCalls {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString(" live | captures | proof |\n|---|" + strings.Repeat("---|", len(supportCalls)+3) + "\n")
	tapes := tapesBySystem(t)
	for _, os := range systems {
		fmt.Fprintf(&b, "| %s |", os)
		for _, c := range supportCalls {
			b.WriteString(" " + support(os, tapes[os], c.try) + " |")
		}
		fmt.Fprintf(&b, " %s | %s | %s |\n", liveSource(os, tapes[os]), captureKinds(os), proof(os, tapes[os]))
	}
	replaceSection(t, "../README.md", "support", b.String())
}

func tapesBySystem(t *testing.T) map[lkm.OS][]*tape.Tape {
	tapes := make(map[lkm.OS][]*tape.Tape)
	for _, name := range lkmtest.Names() {
		m, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tapes[m.Header().OS] = append(tapes[m.Header().OS], m)
	}
	return tapes
}

// support is "yes" when the call works on some tape of the system, "experimental" when the system
// has a backend that no tape proves, and "-" otherwise.
func support(os lkm.OS, tapes []*tape.Tape, try func(*lkm.System) error) string {
	machines := []lkm.Machine{emptyMachine{}}
	for _, m := range tapes {
		machines = append(machines, m)
	}
	answer := "-"
	for _, m := range machines {
		s, err := lkm.OpenMachine(os, m, lkm.Options{})
		if err != nil {
			return "-"
		}
		err = try(s)
		s.Close()
		_, recorded := m.(*tape.Tape)
		switch {
		case err == nil && recorded:
			return "yes"
		case !errors.Is(err, errors.ErrUnsupported):
			answer = "experimental" // there is code for it, and no tape that proves it
		}
	}
	return answer
}

// liveSource says whether the system's own calls were seen to work: "yes" when a tape was recorded
// on a machine of that kind, "experimental" if all of them are synthetic, or none exists.
func liveSource(os lkm.OS, tapes []*tape.Tape) string {
	for _, m := range tapes {
		if !m.Header().Synthetic {
			return "yes"
		}
	}
	if s, err := lkm.OpenMachine(os, emptyMachine{}, lkm.Options{}); err == nil {
		s.Close()
		return "experimental"
	}
	return "-"
}

func captureKinds(os lkm.OS) string {
	var words []string
	for _, k := range capture.Kinds() {
		if k.OS() == os {
			word := string(k)
			if k.Experimental() {
				word += " (experimental)"
			}
			words = append(words, word)
		}
	}
	if words == nil {
		return "-"
	}
	return strings.Join(words, ", ")
}

func proof(os lkm.OS, tapes []*tape.Tape) string {
	recorded, synthetic := 0, 0
	for _, m := range tapes {
		if m.Header().Synthetic {
			synthetic++
		} else {
			recorded++
		}
	}
	var words []string
	if recorded > 0 {
		words = append(words, fmt.Sprintf("%d recorded", recorded))
	}
	if synthetic > 0 {
		words = append(words, fmt.Sprintf("%d made up", synthetic))
	}
	if words = append(words, otherProof(os)...); words != nil {
		return strings.Join(words, ", ")
	}
	if _, err := lkm.OpenMachine(os, emptyMachine{}, lkm.Options{}); err != nil {
		text := strings.TrimPrefix(err.Error(), "lkm: open: "+string(os)+": ")
		return strings.TrimSuffix(text, ": "+errors.ErrUnsupported.Error())
	}
	return "none yet"
}

// replaceSection puts text between the marks of that name, or checks that it is there.
func replaceSection(t *testing.T, file, name, text string) {
	t.Helper()
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := []byte("<!-- "+name+":begin -->\n"), []byte("<!-- "+name+":end -->")
	i, j := bytes.Index(old, begin), bytes.Index(old, end)
	if i < 0 || j < i {
		t.Fatalf("%s has no section %s", file, name)
	}
	updated := append(append(append([]byte(nil), old[:i+len(begin)]...), text...), old[j:]...)
	if bytes.Equal(old, updated) {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("%s says otherwise (go test ./lkm -run Support -update rewrites it):\n%s", file,
			golden.Diff(string(old), string(updated)))
	}
	if err := os.WriteFile(file, updated, 0o644); err != nil {
		t.Fatal(err)
	}
}

// otherProof says what beside tapes a system was tried on.
func otherProof(os lkm.OS) []string {
	switch os {
	case lkm.FreeBSD:
		return []string{"the real amd64 command on made-up system calls (e2e)", "made-up roots"}
	case lkm.NetBSD:
		return []string{"made-up roots", "the real command is not run: e2e/README.md says why"}
	case lkm.DragonFly:
		return []string{"FreeBSD's readers", "the real command is not run: e2e/README.md says why"}
	case lkm.Illumos:
		return []string{"made-up roots", "the real command is not run"}
	}
	return nil
}
