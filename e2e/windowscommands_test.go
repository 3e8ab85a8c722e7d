// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// commands runs the real command's words on Windows: each answers, or says that Windows has no such thing.
func (b *wineBox) commands(t *testing.T) {
	dir := t.TempDir()
	tape := `Z:` + strings.ReplaceAll(filepath.Join(dir, "wine.tape"), "/", `\`)
	list := `Z:` + strings.ReplaceAll(filepath.Join(dir, "list.json"), "/", `\`)
	image := `C:\windows\system32\drivers\mountmgr.sys`
	if err := os.WriteFile(filepath.Join(dir, "list.json"), []byte(b.run(t, b.lkm, "list", "--format", "json")),
		0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		exit int
		want string // in what it prints
	}{
		{"version", 0, "lkm"},
		{"list", 0, "mountmgr"},
		{"list --all --format csv", 0, "mountmgr"},
		{"info mountmgr.sys", 0, "mountmgr"},
		{"info " + image, 0, "mountmgr"},
		{"tree mountmgr.sys", 0, "mountmgr"},
		{"check mountmgr", 1, "loaded"},
		{"check --explain mountmgr", 1, "loaded"},
		{"policy", 0, "secure_boot"},
		{"sources", 0, "registry"},
		{"sources --plan", 0, "registry"},
		{"record -o " + tape, 0, ""},
		{"tape " + tape, 0, "windows"},
		{"list --tape " + tape, 0, "mountmgr"},
		{"diff " + list + " " + list, 0, ""},
		{`resolve PCI\VEN_FFFF&DEV_FFFF`, 2, "no"},
		{"config", 2, "indows"},
		{"config --lint", 2, "indows"},
		{"plan mountmgr", 2, "indows"},
		{"no-such-command", 2, "unknown command"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := b.Command(ctx, b.lkm, strings.Fields(c.args)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		text := string(out)
		if got := cmd.ProcessState.ExitCode(); got != c.exit || !strings.Contains(text, c.want) {
			t.Errorf("lkm %s: exit %d, want %d: %v\n%s", c.args, got, c.exit, err, text)
		}
		if strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
			t.Errorf("lkm %s panics:\n%s", c.args, text)
		}
		if c.exit == 2 {
			t.Logf("lkm %s: %s", c.args, strings.TrimSpace(text))
		}
	}
}

// stores puts certificates into the prefix's registry, and reads what Windows would.
func (b *wineBox) stores(t *testing.T) {
	f := newSigning(t)
	der := f.root.cert.Raw
	sum := sha1.Sum(der)
	name := strings.ToUpper(hex.EncodeToString(sum[:]))
	blob := binary.LittleEndian.AppendUint32(nil, 32)
	blob = binary.LittleEndian.AppendUint32(blob, 1)
	blob = binary.LittleEndian.AppendUint32(blob, uint32(len(der)))
	blob = append(blob, der...)
	for _, store := range []string{"TrustedPublisher", "Disallowed"} {
		b.run(t, "reg", "add", `HKLM\Software\Microsoft\SystemCertificates\`+store+`\Certificates\`+name,
			"/v", "Blob", "/t", "REG_BINARY", "/d", hex.EncodeToString(blob), "/f")
	}
	s := b.snapshot(t, "--detail", "files,signatures")
	for _, src := range s.Sources {
		if src.Name != "certificate_stores" {
			continue
		}
		if src.Outcome != "ok" || src.Count == nil || *src.Count < 2 {
			t.Errorf("%+v", src)
		}
		return
	}
	t.Errorf("no source of the stores: %+v", s.Sources)
}

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
