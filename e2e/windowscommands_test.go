// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A windowsWord is one call of the real command on Windows.
type windowsWord struct {
	args string
	exit int
	want string // in what it prints
}

// windowsWords is every word of the command, by the names of files for it: a tape, a list, a text of another tool,
// rules, events.
func windowsWords(in map[string]string) []windowsWord {
	image := `C:\windows\system32\drivers\mountmgr.sys`
	return []windowsWord{
		{"version", 0, "lkm"}, {"help", 0, "Available Commands"}, {"completion powershell", 0, "lkm"},
		{"man man", 0, ""},
		{"list", 0, "mountmgr"}, {"list --all --format csv", 0, "mountmgr"},
		{"list --unsigned --detail signatures", 0, ""},
		{"info mountmgr.sys", 0, "mountmgr"}, {"info " + image, 0, "mountmgr"},
		{"tree mountmgr.sys", 0, "mountmgr"},
		{"check mountmgr", 1, "loaded"}, {"check --explain mountmgr", 1, "loaded"},
		{"policy", 0, "secure_boot"},
		{"discrepancies", 1, "findings"},
		{"sources", 0, "registry"}, {"sources --plan", 0, "registry"},
		{"record -o " + in["tape"], 0, ""}, {"tape " + in["tape"], 0, "windows"},
		{"list --tape " + in["tape"], 0, "mountmgr"},
		{"diff " + in["list"] + " " + in["list"], 0, ""},
		{"import " + in["text"], 0, "made-up"},
		{"import " + in["text"] + " --as driverquery --format jsonl", 0, "made-up"},
		{"watch --tape " + in["tape"], 0, "baseline"}, {"mirror " + in["events"], 0, "mountmgr"},
		{"audit --init", 0, "third"}, {"audit --rules " + in["rules"], 0, "pass"},
		{"export osquery --csv", 0, "mountmgr"}, {"export prometheus", 0, "kernel_extensions"},
		{"export ecs", 0, "mountmgr"}, {"export cyclonedx --all --detail files", 0, "CycloneDX"},
		{"facts mountmgr", 0, "lkm_check_mountmgr"},
		{"report --output -", 0, "<!DOCTYPE html>"},
		{`resolve PCI\VEN_FFFF&DEV_FFFF`, 2, "no"},
		{"config", 2, "indows"}, {"config --lint", 2, "indows"}, {"plan mountmgr", 2, "indows"},
		{"upgrade 10.0.26100", 2, "indows"},
		{"no-such-command", 2, "unknown command"},
	}
}

// inputs writes the files that words are about, and returns their names as Windows has them.
func (b *wineBox) inputs(t *testing.T, dir string) map[string]string {
	t.Helper()
	name := func(file string) string { return `Z:` + strings.ReplaceAll(filepath.Join(dir, file), "/", `\`) }
	in := map[string]string{"tape": name("wine.tape")}
	early := name("early.tape")
	b.run(t, b.lkm, "record", "-o", early)
	for key, text := range map[string]string{
		"list":   b.run(t, b.lkm, "list", "--format", "json"),
		"events": b.run(t, b.lkm, "watch", "--tape", early),
		"rules":  `{"rules": [{"id": "x", "kind": "deny", "title": "a rootkit", "modules": ["no-such-driver.sys"]}]}`,
		"text": "Module Name  Display Name           Driver Type   Link Date             \n" +
			"============ ====================== ============= ======================\n" +
			"made-up      A driver               Kernel        1/2/2020 3:04:05 AM   \n",
	} {
		in[key] = name(key)
		if err := os.WriteFile(filepath.Join(dir, key), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// commands runs every word of the real command on Windows: each answers, or says that Windows has no such thing.
func (b *wineBox) commands(t *testing.T) {
	dir := t.TempDir()
	ran := map[string]bool{}
	for _, c := range windowsWords(b.inputs(t, dir)) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := b.Command(ctx, b.lkm, strings.Fields(c.args)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		text := string(out)
		ran[strings.Fields(c.args)[0]] = true
		if got := cmd.ProcessState.ExitCode(); got != c.exit || !strings.Contains(text, c.want) {
			t.Errorf("lkm %s: exit %d, want %d and %q: %v\n%.3000s", c.args, got, c.exit, c.want, err, text)
		}
		if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
			t.Errorf("lkm %s panics:\n%s", c.args, text)
		}
		if c.exit == 2 {
			t.Logf("lkm %s: %s", c.args, strings.TrimSpace(text))
		}
	}
	words := commandWord.FindAllStringSubmatch(b.run(t, b.lkm, "--help"), -1)
	if len(words) < 20 {
		t.Errorf("%d words in the help", len(words))
	}
	for _, w := range words {
		if !ran[w[1]] {
			t.Errorf("lkm %s was not run: it needs a row", w[1])
		}
	}
}

// commandWord is a line of the help with one word of the command.
var commandWord = regexp.MustCompile(`(?m)^  ([a-z]+)  `)

// staged puts a package into the driver store: its files are listed, and wait for a device.
func (b *wineBox) staged(t *testing.T) {
	image, err := os.ReadFile(b.Path("windows/system32/drivers/mountmgr.sys"))
	if err != nil {
		t.Fatal(err)
	}
	const inf = "[Version]\nSignature=\"$Windows NT$\"\nClass=Net\nClassGuid={4d36e972-e325-11ce-bfc1-08002be10318}\n" +
		"Provider=%P%\nDriverVer=01/02/2024,1.2.3.4\n[Manufacturer]\n%P%=M,NTamd64\n[M.NTamd64]\n" +
		"%D%=I,PCI\\VEN_1234&DEV_5678\n[I.Services]\nAddService=ketstaged,2,S\n[S]\n" +
		"ServiceType=1\nStartType=3\nErrorControl=1\nServiceBinary=%12%\\ketstaged.sys\n" +
		"[Strings]\nP=\"Ket\"\nD=\"Dev\"\n"
	folder := "windows/system32/DriverStore/FileRepository/ketstaged.inf_amd64_1/"
	for file, data := range map[string][]byte{folder + "ketstaged.inf": []byte(inf),
		folder + "x64/ketstaged.sys": image,
		"windows/inf/oem7.inf":       []byte(inf)} {
		if err := os.MkdirAll(filepath.Dir(b.Path(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b.Path(file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	state := ""
	for _, d := range b.snapshot(t, "--all").Modules {
		if d.Name == "ketstaged.sys" {
			state = d.State
		}
	}
	if state != "staged" {
		t.Errorf("the file of a package is %q", state)
	}
	var verdicts []struct {
		Now struct {
			Ways []struct{ Way, Blocked string }
		}
	}
	out := b.runExit(t, 1, b.lkm, "check", "ketstaged.sys", "--format", "json")
	if err := json.Unmarshal([]byte(out), &verdicts); err != nil || len(verdicts) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range verdicts[0].Now.Ways {
		if w.Way == "device_arrival" && w.Blocked != "no" {
			t.Errorf("%+v", w)
		}
	}
	if out := b.run(t, b.lkm, "resolve", `PCI\VEN_1234&DEV_5678`); !strings.Contains(out, "ketstaged") {
		t.Errorf("resolve: %s", out)
	}
	// An administrator's policy keeps such devices out.
	key := `HKLM\Software\Policies\Microsoft\Windows\DeviceInstall\Restrictions`
	b.run(t, "reg", "add", key, "/v", "DenyDeviceIDs", "/t", "REG_DWORD", "/d", "1", "/f")
	b.run(t, "reg", "add", key+`\DenyDeviceIDs`, "/v", "1", "/t", "REG_SZ", "/d", `PCI\VEN_1234&DEV_5678`, "/f")
	out = b.runExit(t, 0, b.lkm, "check", "ketstaged.sys", "--format", "json")
	if !strings.Contains(out, "install_policy") {
		t.Errorf("the policy is not a reason: %s", out)
	}
}
