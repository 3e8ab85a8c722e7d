// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// A verdictOf is what one verifier says of a chain: trusted, and else why not.
type verdictOf struct {
	trusted bool
	why     string
}

// explained are the disagreements with other verifiers, by what the chain has and who is stricter. Any other fails.
var explained = []struct {
	other   string // openssl or go
	trait   string // of the chain
	trusted bool   // our answer
	because string
}{
	{"openssl", "root expired", true, "what is trusted has no end: Microsoft's roots of drivers have ended"},
	{"go", "root expired", true, "as above"},
	{"openssl", "root without constraints", true, "Microsoft Root Authority (1997) has no basicConstraints"},
	{"go", "root without constraints", true, "as above"},
	{"openssl", "root usages", true, "RFC 5280, 6.1.1: what a trusted certificate says of its purpose is not input"},
	{"go", "root usages", true, "as above"},
	{"openssl", "root twice", false, "RFC 5280, 4.2: no extension twice; OpenSSL does not look at a root's policies"},
	{"openssl", "no subtree", false, "RFC 5280, 4.2.1.10: never empty"},
	{"openssl", "any usage", true, "anyExtendedKeyUsage is all (RFC 5280, 4.2.1.12); OpenSSL's smimesign asks by name"},
	{"openssl", "mapping under a required policy", false, "mappings are not followed: refused, not guessed"},
	{"go", "mapping under a required policy", false, "as above"},
	{"openssl", "inhibited under a required policy", false, "inhibitAnyPolicy is not followed: refused, not guessed"},
	{"go", "inhibited under a required policy", false, "as above"},
	{"go", "directory constraint", true, "Go knows no directoryName constraint and refuses a critical one"},
	{"go", "directory constraint", false, "and passes by one that is not critical"},
	{"go", "other form constraint", true, "Go refuses a form that it does not know, also where no name has it"},
	{"go", "uri parent", false, "RFC 5280, 4.2.1.10: a host without a dot is that host alone; Go takes all below"},
	{"go", "uri parent", true, "as above, where it is excluded"},
	{"go", "mail in the subject", false, "RFC 5280, 4.2.1.10: the subject, too; Go looks at alternative names"},
	{"go", "renewed", true, "RFC 5280, 4.2.1.9: self-issued certificates do not count; Go counts them"},
	{"go", "leaf key usage", false, "Go asks no keyUsage of a leaf"},
}

func TestChainsAsOthersVerifyThem(t *testing.T) {
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skipf("no openssl to compare with: %v", err)
	}
	chains := madeChains(t)
	if len(chains) < 300 {
		t.Fatalf("%d chains", len(chains))
	}
	theirs := opensslVerdicts(t, tool, chains)
	used, trusted := make([]int, len(explained)), 0
	for i, c := range chains {
		ours := c.ours(t)
		if ours.trusted {
			trusted++
		}
		for other, their := range map[string]verdictOf{"openssl": theirs[i], "go": c.ofGo()} {
			if ours.trusted == their.trusted {
				continue
			}
			e := explanation(other, c, ours.trusted)
			if e < 0 {
				t.Errorf("%s: %v %s; %s says %v %s", c.name, ours.trusted, ours.why, other, their.trusted, their.why)
				continue
			}
			used[e]++
		}
	}
	for i, e := range explained {
		if used[i] == 0 {
			t.Errorf("nothing shows the disagreement with %s over %s", e.other, e.trait)
		}
		t.Logf("%s, %s: %d chains: %s", e.other, e.trait, used[i], e.because)
	}
	t.Logf("%d chains, %d trusted", len(chains), trusted)
}

func explanation(other string, c *madeChain, trusted bool) int {
	for i, e := range explained {
		if e.other == other && e.trusted == trusted && c.has(e.trait) {
			return i
		}
	}
	return -1
}

func (c *madeChain) ours(t *testing.T) verdictOf {
	t.Helper()
	var parsed []*Certificate
	for _, der := range c.der {
		p, err := ParseCertificate(der)
		if err != nil {
			return verdictOf{false, err.Error()}
		}
		parsed = append(parsed, p)
	}
	last := len(c.der) - 1
	roots := NewRoots([]fact.KeySet{{Name: "r", Certificates: []*x509.Certificate{{Raw: c.der[last]}}}})
	chain := BuildChain(parsed[0], ChainQuery{Pool: parsed[1:last], Roots: roots, At: inTime, Usage: ekuEmail})
	if chain.Trusted {
		return verdictOf{true, ""}
	}
	return verdictOf{false, chain.Err.Error()}
}

func (c *madeChain) ofGo() verdictOf {
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: inTime,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}
	var parsed []*x509.Certificate
	for _, der := range c.der {
		p, err := x509.ParseCertificate(der)
		if err != nil {
			return verdictOf{false, err.Error()}
		}
		parsed = append(parsed, p)
	}
	o.Roots.AddCert(parsed[len(parsed)-1])
	for _, p := range parsed[1 : len(parsed)-1] {
		o.Intermediates.AddCert(p)
	}
	if _, err := parsed[0].Verify(o); err != nil {
		return verdictOf{false, err.Error()}
	}
	return verdictOf{true, ""}
}

// opensslVerdicts asks openssl verify about all chains at once: their names are all different.
func opensslVerdicts(t *testing.T, tool string, chains []*madeChain) []verdictOf {
	t.Helper()
	dir := t.TempDir()
	var roots, between []byte
	args := []string{"verify", "-CAfile", "roots", "-untrusted", "between", "-purpose", "smimesign",
		"-policy", anyPolicy, "-policy_check", "-attime", fmt.Sprint(inTime.Unix())}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	for i, c := range chains {
		last := len(c.der) - 1
		roots = append(roots, text(c.der[last])...)
		for _, der := range c.der[1:last] {
			between = append(between, text(der)...)
		}
		write(fmt.Sprint(i), text(c.der[0]))
		args = append(args, fmt.Sprint(i))
	}
	write("roots", roots)
	write("between", between)
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	return readVerdicts(t, string(out), len(chains))
}

// readVerdicts reads what openssl verify prints: "NAME: OK", or lines with the error before "error NAME: …".
func readVerdicts(t *testing.T, out string, n int) []verdictOf {
	t.Helper()
	list, seen, why := make([]verdictOf, n), make([]bool, n), ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		var at int
		switch {
		case strings.HasSuffix(line, ": OK"):
			fmt.Sscanf(line, "%d:", &at)
			list[at], seen[at] = verdictOf{trusted: true}, true
		case strings.HasPrefix(line, "error ") && strings.HasSuffix(line, "verification failed"):
			fmt.Sscanf(line, "error %d:", &at)
			list[at], seen[at] = verdictOf{why: why}, true
		case strings.HasPrefix(line, "error "):
			why = line
		}
	}
	for i, ok := range seen {
		if !ok {
			t.Fatalf("openssl says nothing of %d: %s", i, out[max(len(out)-2000, 0):])
		}
	}
	return list
}

// What the system's own keys do not restrict is a matter of the rules: Apple's marks are known to Apple's rules alone,
// and Linux asks nothing.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		id    string
		rules Rules
		want  bool
	}{
		{"1.2.840.113635.100.6.1.13", RulesX509, false}, {"1.2.840.113635.100.6.1.13", RulesApple, true},
		{"1.2.840.113635.100.60", RulesApple, false}, {"1.2.3.4.5", RulesApple, false}, {"1.2.3.4.5", RulesX509, false},
		{"1.2.3.4.5", RulesLinux, true},
	} {
		m := newMaker(t).chain("marks")
		m.leaf().critical(c.id)
		made := m.made(t)
		leaf, err := ParseCertificate(made.der[0])
		if err != nil {
			t.Fatal(err)
		}
		ca, _ := ParseCertificate(made.der[1])
		roots := NewRoots([]fact.KeySet{{Name: "r", Certificates: []*x509.Certificate{{Raw: made.der[2]}}}})
		chain := BuildChain(leaf, ChainQuery{Pool: []*Certificate{ca}, Roots: roots, At: inTime, Usage: ekuEmail,
			Rules: c.rules})
		if chain.Trusted != c.want || chain.KeySet != "r" {
			t.Errorf("%+v: %v %v", c, chain.Trusted, chain.Err)
		}
	}
}
