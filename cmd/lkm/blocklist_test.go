// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	facts "github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/tape"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// windowsTape writes a tape of a made-up machine with the files of its drivers in it.
func windowsTape(t *testing.T) string {
	t.Helper()
	r := tape.Record(lkm.Windows, fakewindows.Windows11(false), tape.Options{})
	detail, _ := lkm.ParseDetail("files,hashes,signatures")
	sys, err := lkm.OpenMachine(lkm.Windows, r, lkm.Options{Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	for _, scope := range []lkm.Scope{lkm.ScopeLoaded, lkm.ScopeAll} {
		if _, err := sys.SnapshotOf(context.Background(), scope); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := r.Tape().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return tempFile(t, "windows.tape", b.Bytes())
}

func tempFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func runLkm(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return out.String(), errs.String(), code
}

func TestBlockList(t *testing.T) {
	tp := windowsTape(t)
	policy := tempFile(t, "policy.xml",
		[]byte(`<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><VersionEx>1.0.0.0</VersionEx><FileRules>
<Deny ID="ID_DENY_KETWATCH" FriendlyName="Ket Watch" FileName="ketwatch.sys" MaximumFileVersion="1.2.0.0"/></FileRules>
<SigningScenarios><SigningScenario Value="131"><ProductSigners><FileRulesRef>`+
			`<FileRuleRef RuleID="ID_DENY_KETWATCH"/></FileRulesRef></ProductSigners>`+
			`</SigningScenario></SigningScenarios></SiPolicy>`))
	out, stderr, code := runLkm(t, "list", "--tape", tp, "--blocklist", policy)
	if code != exitFindings ||
		!strings.Contains(out, "BLOCKLIST  ketwatch.sys  loaded  strong by file ID_DENY_KETWATCH") ||
		!strings.Contains(out, "1 rules, 1 of 10 drivers named") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	if out, _, code = runLkm(t, "list", "--tape", tp, "--blocklist", policy, "--format",
		"json"); code != exitFindings ||
		!strings.Contains(out, `"rule": "ID_DENY_KETWATCH"`) {
		t.Errorf("exit %d\n%.400s", code, out)
	}
	if out, _, code = runLkm(t, "list", "--tape", tp, "--blocklist", policy, "--name", "tcpip*"); code != 0 ||
		!strings.Contains(out, "0 of 1 drivers named") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// Drivers that are only present are compared too, and reported as such.
	present := tempFile(t, "present.xml",
		[]byte(`<SiPolicy><FileRules><Deny ID="ID_DENY_ALL" FileName="*"/></FileRules><SigningScenarios>`+
			`<SigningScenario Value="131"><ProductSigners>
<FileRulesRef><FileRuleRef RuleID="ID_DENY_ALL"/></FileRulesRef></ProductSigners>`+
			`</SigningScenario></SigningScenarios></SiPolicy>`))
	if out, _, code = runLkm(t, "list", "--all", "--tape", tp, "--blocklist", present); code != exitFindings ||
		!strings.Contains(out, "  loaded  strong by file ID_DENY_ALL") ||
		!strings.Contains(out, "  installed  strong by file ID_DENY_ALL") {
		t.Errorf("exit %d\n%s", code, out)
	}
	hint := tempFile(t, "drivers.json",
		[]byte(`[{"Id":"e1","Tags":["x"],"KnownVulnerableSamples":[{"OriginalFilename":"ketwatch.sys",`+
			`"FileVersion":"1.2.0.0"}]}]`))
	if out, _, code = runLkm(t, "list", "--tape", tp, "--blocklist", hint); code != 0 ||
		!strings.Contains(out, "hint by sample e1") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// What the list names counts more than what could not be read; what was not read is reported.
	if out, _, code = runLkm(t, "list", "--tape", tp, "--blocklist", policy, "--strict"); code != exitFindings ||
		!strings.Contains(out, "BLOCKLIST") || !strings.Contains(out, "not compared (file not read)") {
		t.Errorf("strict: exit %d\n%s", code, out)
	}
	other := tempFile(t, "other.xml", []byte(`<SiPolicy><FileRules><Deny ID="ID_DENY_OTHER" FileName="other.sys"/>`+
		`</FileRules><SigningScenarios><SigningScenario Value="131"><ProductSigners><FileRulesRef>`+
		`<FileRuleRef RuleID="ID_DENY_OTHER"/></FileRulesRef></ProductSigners></SigningScenario></SigningScenarios>`+
		`</SiPolicy>`))
	// "0 named" says how many were not compared, and is incomplete under --strict, in every format.
	for _, format := range []string{"table", "json", "csv"} {
		args := []string{"list", "--tape", tp, "--blocklist", other, "--format", format}
		if out, stderr, code = runLkm(t, args...); code != 0 ||
			!strings.Contains(out+stderr, "0 of 10 drivers named, ") ||
			!strings.Contains(out+stderr, " not compared (file not read)") {
			t.Errorf("%s: exit %d\n%s%s", format, code, out, stderr)
		}
		if out, stderr, code = runLkm(t, append(args, "--strict")...); code != exitIncomplete {
			t.Errorf("%s, strict: exit %d\n%s%s", format, code, out, stderr)
		}
	}
	if out, stderr, code = runLkm(t, "list", "--tape", "demo:synthetic-debian-root", "--blocklist",
		policy); code != exitFatal || out != "" || !strings.Contains(stderr, "Windows drivers; this is linux") {
		t.Errorf("on Linux: exit %d\n%s%s", code, out, stderr)
	}
	for _, bad := range []string{tempFile(t, "bad", []byte("no list")), filepath.Join(t.TempDir(), "none")} {
		if _, stderr, code := runLkm(t, "list", "--tape", tp, "--blocklist", bad); code != exitFatal ||
			!strings.Contains(stderr, "--blocklist") {
			t.Errorf("%s: exit %d, %s", bad, code, stderr)
		}
	}
}

func TestKeysFlag(t *testing.T) {
	if _, stderr, code := runLkm(t, "list", "--tape", "demo:wine-8.0", "--keys",
		tempFile(t, "keys.pem", []byte("nothing"))); code != exitFatal || !strings.Contains(stderr, "--keys") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// The machine's own lists are asked for without a file, and what could not be read of them is no "0 named".
func TestSystemBlockList(t *testing.T) {
	tp := windowsTape(t)
	out, _, code := runLkm(t, "list", "--installed", "--tape", tp, "--blocklist", "system")
	if code != 0 || !strings.Contains(out, "this machine's own 1 policies, 0 of ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	out, _, code = runLkm(t, "list", "--tape", "demo:wine-8.0", "--blocklist", "system")
	if code != exitIncomplete || !strings.Contains(out, "own policies: none could be read (absent)") {
		t.Errorf("without a policy: exit %d:\n%s", code, out)
	}
}

// A list that names signers is not compared with a driver whose signer is not known: "0 named" says so, and is
// incomplete under --strict.
func TestBlockListOfUnknownSigners(t *testing.T) {
	signed := petest.Sample()
	signed.Signature = []byte("no signature")
	p := &sipolicy.Policy{Format: 7, Signers: []sipolicy.Signer{{Root: make([]byte, 32)}},
		Scenarios: make([]sipolicy.Scenario, 1)}
	p.Scenarios[0].Value = sipolicy.ScenarioDrivers
	signers := tempFile(t, "signers.p7b", policytest.Compile(p))
	const doubt = "not compared with every rule"
	p.Scenarios[0].Groups()[0].Denied = []sipolicy.SignerRef{{}}
	denied := tempFile(t, "denied.p7b", policytest.Compile(p))
	for name, image := range map[string]petest.Image{"no signature that was read": petest.Sample(),
		"a signature that cannot be read": signed} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.sys"), image.Build(), 0o600); err != nil {
			t.Fatal(err)
		}
		for list, want := range map[string]bool{signers: false, denied: true} {
			args := []string{"list", "--installed", "--os", "windows", "--root", dir, "--blocklist", list}
			out, stderr, code := runLkm(t, args...)
			if code != 0 || !strings.Contains(out, "0 of 1 drivers named") || strings.Contains(out, doubt) != want {
				t.Errorf("%s, %s: exit %d\n%s%s", name, list, code, out, stderr)
			}
		}
	}
}

// What was not compared alone makes "0 named" incomplete under --strict.
func TestBlockListStrict(t *testing.T) {
	read := &windows.Driver{PE: &pe.File{}, Hashes: &pe.Hashes{SHA256: "1", SHA1: "2", MD5: "3"},
		Signatures: []authenticode.Signature{}}
	partly := *read
	partly.Hashes = &pe.Hashes{SHA256: "1"}
	list, err := windows.ParseBlockList(policytest.Compile(&sipolicy.Policy{Format: 7,
		Rules:     []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "other.sys", Minimum: sipolicy.AnyVersion}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}}}),
		new(facts.Report))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		driver  *windows.Driver
		strict  bool
		problem string // the field of one of the module's
		want    error
	}{
		"compared":              {read, true, "", nil},
		"not read":              {&windows.Driver{}, true, "", exit(exitIncomplete)},
		"not read, not strict":  {&windows.Driver{}, false, "", nil},
		"a digest is not known": {&partly, true, "", exit(exitIncomplete)},
		"the file is not whole": {read, true, "file", exit(exitIncomplete)},
		"a version is not":      {read, true, "version", exit(exitIncomplete)},
		"another problem":       {read, true, "checksum", nil},
	} {
		for _, format := range []string{"table", "json"} {
			var out, errs bytes.Buffer
			a := &app{stdout: bufio.NewWriter(&out), stderr: &errs}
			a.flags.format, a.flags.strict = format, tt.strict
			drivers := []lkm.Module{{Name: "a.sys", Windows: tt.driver}}
			if tt.problem != "" {
				drivers[0].Problems = []lkm.Problem{{Source: windows.SourceFile, Field: tt.problem}}
			}
			if got := a.writeBlocked(&blockList{BlockList: list}, drivers, "list", true); got != tt.want {
				t.Errorf("%s, %s: %v", name, format, got)
			}
		}
	}
}

// An invalid file costs only itself, and each valid one is compared with a block list.
func TestInfoOfFiles(t *testing.T) {
	im := petest.Sample()
	good, bad := tempFile(t, "good.sys", im.Build()), tempFile(t, "bad.cat", []byte("text"))
	list := tempFile(t, "list.p7b", policytest.Compile(&sipolicy.Policy{Format: 7,
		Rules:     []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "ket.sys", Minimum: sipolicy.AnyVersion}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers, Product: sipolicy.Group{Rules: []int{0}}}}}))
	for _, files := range [][]string{{good, bad}, {bad, good}} {
		out, errs, code := runLkm(t, append([]string{"info", "--format", "jsonl"}, files...)...)
		if code != exitFatal || strings.Count(out, "good.sys") == 0 || !strings.Contains(errs, "bad.cat") {
			t.Errorf("%v: exit %d: %s%s", files, code, out, errs)
		}
	}
	out, _, code := runLkm(t, "info", "--blocklist", list, "--detail", "all", good)
	first, _, _ := strings.Cut(out, "\n")
	if code != exitFindings || !strings.Contains(out, "BLOCKLIST") || strings.HasSuffix(first, "?") ||
		!strings.Contains(out, "authentihash ") || !strings.Contains(out, "bytes when loaded") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if _, _, code := runLkm(t, "info", "--blocklist", bad, good); code != exitFatal {
		t.Errorf("an invalid list: exit %d", code)
	}
}

// A rule of a compiled policy has no name of its own.
func TestHitText(t *testing.T) {
	b := windows.BlockMatch{Rule: "rule 0", Kind: windows.RuleHash, Strength: windows.StrengthStrong}
	for name, want := range map[string]string{"": "strong by hash rule 0 (every file)",
		"ket": "strong by hash rule 0: ket (every file)"} {
		if b.Name = name; hitText(b) != want {
			t.Errorf("%q", hitText(b))
		}
	}
}

// deniedSigner is a compiled list that denies what some signer signed.
func deniedSigner(t *testing.T) string {
	t.Helper()
	p := &sipolicy.Policy{Format: 7, Signers: []sipolicy.Signer{{Root: make([]byte, 32)}},
		Scenarios: make([]sipolicy.Scenario, 1)}
	p.Scenarios[0].Value = sipolicy.ScenarioDrivers
	p.Scenarios[0].Groups()[0].Denied = []sipolicy.SignerRef{{}}
	return tempFile(t, "denied.p7b", policytest.Compile(p))
}

// info answers as list does: what was not compared is said, and is not 0 under --strict; a list that was not read
// whole is 3; what a list of drivers is not about is an error.
func TestInfoBlockListAnswersAsList(t *testing.T) {
	tp := windowsTape(t)
	half := tempFile(t, "half.json", []byte(`[{"Id":"e1"},{"Id":"e2","KnownVulnerableSamples":[{"SHA256":"`+
		strings.Repeat("0", 64)+`"}]}]`))
	dir := t.TempDir()
	file := filepath.Join(dir, "a.sys")
	if err := os.WriteFile(file, petest.Sample().Build(), 0o600); err != nil {
		t.Fatal(err)
	}
	image := []string{"--installed", "--os", "windows", "--root", dir}
	short := filepath.Join(t.TempDir(), "short.sys")
	whole := petest.Sample().Build()
	if err := os.WriteFile(short, whole[:len(whole)-16], 0o600); err != nil {
		t.Fatal(err)
	}
	shortImage := []string{"--installed", "--os", "windows", "--root", filepath.Dir(short)}
	digests := tempFile(t, "digests.json", []byte(`[{"Id":"e1","KnownVulnerableSamples":[{"SHA256":"`+
		strings.Repeat("0", 64)+`"}]}]`))
	for _, c := range []struct {
		what       string
		list, info []string
		want       int
		text       string
	}{
		{"an invalid entry", []string{"--tape", tp, "--blocklist", half},
			[]string{"ketwatch.sys", "--tape", tp, "--blocklist", half}, exitIncomplete, "entry 0"},
		{"an unknown signer", append(image, "--blocklist", deniedSigner(t)),
			[]string{file, "--blocklist", deniedSigner(t)}, 0, "not compared with every rule"},
		{"an unknown signer, strict", append(image, "--strict", "--blocklist", deniedSigner(t)),
			[]string{file, "--strict", "--blocklist", deniedSigner(t)}, exitIncomplete, "not compared with every rule"},
		{"a file that is not whole", append(shortImage, "--blocklist", digests),
			[]string{short, "--blocklist", digests}, 0, "not compared with every rule"},
		{"a file that is not whole, strict", append(shortImage, "--strict", "--blocklist", digests),
			[]string{short, "--strict", "--blocklist", digests}, exitIncomplete, "not compared with every rule"},
		{"a machine without lists", []string{"--tape", "demo:wine-8.0", "--blocklist", "system"},
			[]string{"mountmgr.sys", "--tape", "demo:wine-8.0", "--blocklist", "system"}, exitIncomplete,
			"none could be read"},
		{"Linux", []string{"--tape", "demo:synthetic-debian-root", "--blocklist", half},
			[]string{"nvidia", "--tape", "demo:synthetic-debian-root", "--blocklist", half}, exitFatal,
			"a list of Windows drivers; this is linux"},
	} {
		for word, args := range map[string][]string{"list": c.list, "info": c.info} {
			for _, format := range []string{"table", "json"} {
				out, stderr, code := runLkm(t, append([]string{word, "--format", format}, args...)...)
				if code != c.want || !strings.Contains(out+stderr, c.text) {
					t.Errorf("%s: %s as %s: exit %d, want %d with %q\n%s%s", c.what, word, format, code, c.want,
						c.text, out, stderr)
				}
			}
		}
	}
	out, stderr, code := runLkm(t, "info", "-F", "name", "--blocklist", deniedSigner(t), file)
	if code != 0 || out != "a.sys\n" || !strings.Contains(stderr, "not compared with every rule") {
		t.Errorf("one field: exit %d, %q, %q", code, out, stderr)
	}
	for _, names := range [][]string{{file}, {"ketwatch.sys", file}} {
		args := append([]string{"info", "--tape", tp, "--blocklist", "system"}, names...)
		if out, stderr, code = runLkm(t, args...); code != exitFatal || out != "" || !strings.Contains(stderr, "FILE") {
			t.Errorf("%q with the machine's own lists: exit %d\n%s%s", names, code, out, stderr)
		}
	}
	module := tempFile(t, "a.ko", kotest.Linux())
	if _, stderr, code = runLkm(t, "info", "--blocklist", half, module); code != exitFatal ||
		!strings.Contains(stderr, "this is linux_module") {
		t.Errorf("a Linux module's file: exit %d\n%s", code, stderr)
	}
}

// audit passes no driver of which it is not known whether a rule names it: those of a snapshot or a tape without
// digests.
func TestAuditBlockListWithoutDigests(t *testing.T) {
	tp := windowsTape(t)
	snapshot := func(detail string) string {
		out, stderr, code := runLkm(t, "list", "--name", "ketwatch.sys", "--tape", tp, "--format", "json", "--detail",
			detail)
		if code != 0 {
			t.Fatal(stderr)
		}
		out = strings.ReplaceAll(out, `"partial"`, `"ok"`) // as if this driver were the only one
		return tempFile(t, "s.json", []byte(out))
	}
	rules := tempFile(t, "r.yaml", []byte("rules: [{id: r, kind: block_listed}]\n"))
	names := tempFile(t, "names.json", []byte(`[{"Id":"e1","KnownVulnerableSamples":[{"SHA256":"`+
		strings.Repeat("0", 64)+`"}]}]`))
	for _, args := range [][]string{
		{snapshot("files")}, {"--blocklist", names, snapshot("files")},
		{"--blocklist", deniedSigner(t), snapshot("files,hashes")}, {"demo:wine-8.0"},
	} {
		out, stderr, code := runLkm(t, append([]string{"audit", "--rules", rules}, args...)...)
		if code != exitIncomplete || !strings.Contains(out, "UNKNOWN") || strings.Contains(out, "\npass") {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, stderr)
		}
	}
	dir := t.TempDir()
	image := petest.Sample().Build()
	if err := os.WriteFile(filepath.Join(dir, "short.sys"), image[:len(image)-16], 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, code := runLkm(t, "audit", "--rules", rules, "--blocklist", names, "--os", "windows", "--root", dir)
	if code != exitIncomplete || !strings.Contains(out, "its file is not whole") {
		t.Errorf("a file that is not whole: exit %d\n%s%s", code, out, stderr)
	}
	whole := []string{"audit", "--rules", rules, "--blocklist", names, snapshot("files,hashes")}
	if out, stderr, code := runLkm(t, whole...); code != 0 || !strings.Contains(out, "pass") {
		t.Errorf("with its digests: exit %d\n%s%s", code, out, stderr)
	}
}
