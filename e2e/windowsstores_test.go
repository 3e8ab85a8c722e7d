// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/windows/registry"
)

// storesSaid is what the stores of one prefix make of two signed drivers, read live or from hives.
type storesSaid struct {
	OS      string
	Modules []struct {
		Name      string
		Signature struct{ Status, Source string }
		Windows   struct {
			Services   []struct{ Name, Type, Start, ImagePath string }
			Signatures []struct{ Status, Reason, MachineRoot, TrustedPublisher string }
		}
	}
	Sources []struct {
		Name, Outcome string
		Count         *int
	}
}

// of returns what is said of one driver, and how the stores were read.
func (s *storesSaid) of(t *testing.T, name string) string {
	t.Helper()
	for _, src := range s.Sources {
		if src.Name == "certificate_stores" && (src.Outcome != "ok" || src.Count == nil || *src.Count < 3) {
			t.Errorf("%+v", src)
		}
	}
	for _, m := range s.Modules {
		if strings.EqualFold(m.Name, name) {
			said, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return string(said)
		}
	}
	t.Fatalf("%s is not listed", name)
	return ""
}

// certificateBlob is a certificate as the registry keeps it.
func certificateBlob(der []byte) (name, blob string) {
	sum := sha1.Sum(der)
	b := binary.LittleEndian.AppendUint32(nil, 32)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(der)))
	return strings.ToUpper(hex.EncodeToString(sum[:])), hex.EncodeToString(append(b, der...))
}

// stores puts certificates into the prefix's registry, and signed drivers into its folder: the stores say the same of
// them live, and as hives that are made of what Wine's own reg.exe exports. Wine keeps its registry as text, and its
// reg.exe saves no hives.
func (b *wineBox) stores(t *testing.T) {
	lab.Tools(t, "osslsigncode")
	f := newSigning(t)
	leaf := issue(t, certificateOf{name: "Publisher", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, f.ca)
	barred := issue(t, certificateOf{name: "Barred", ekus: []asn1.ObjectIdentifier{oidCodeSigning}}, f.ca)
	for store, der := range map[string][]byte{"ROOT": f.root.cert.Raw, "TrustedPublisher": leaf.cert.Raw,
		"Disallowed": barred.cert.Raw} {
		name, blob := certificateBlob(der)
		b.run(t, "reg", "add", `HKLM\Software\Microsoft\SystemCertificates\`+store+`\Certificates\`+name,
			"/v", "Blob", "/t", "REG_BINARY", "/d", blob, "/f")
	}
	for name, p := range map[string]*party{"ketmine": leaf, "ketbarred": barred} {
		signed := f.sign(t, name, f.driver, p, []*party{f.ca}, "-h", "sha256")
		if err := os.WriteFile(b.Path("windows/system32/drivers/"+name+".sys"), signed, 0o644); err != nil {
			t.Fatal(err)
		}
		b.run(t, b.scm, "create", name, "1", "3", `System32\drivers\`+name+`.sys`)
	}
	var live, hives storesSaid
	list := []string{"list", "--installed", "--format", "json", "--detail", "files,signatures"}
	if err := json.Unmarshal([]byte(b.run(t, b.lkm, list...)), &live); err != nil {
		t.Fatal(err)
	}
	b.hives(t)
	local := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(local, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), local, append(list, "--root", b.Path(""))...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &hives)
	}
	if err != nil {
		t.Fatalf("lkm list --root: %v\n%s%.2000s", err, &stderr, out)
	}
	for name, want := range map[string][]string{"ketmine.sys": {`"untrusted"`, f.root.cert.Subject.CommonName, `"yes"`},
		"ketbarred.sys": {`"invalid"`, "does not allow certificate"}} {
		l, h := live.of(t, name), hives.of(t, name)
		if l != h {
			t.Errorf("live: %s\nas hives: %s", l, h)
		}
		for _, w := range want {
			if !strings.Contains(l, w) {
				t.Errorf("%s: no %s in %s", name, w, l)
			}
		}
	}
}

// hives writes the prefix's registry beside it as Windows would keep it on a disk.
func (b *wineBox) hives(t *testing.T) {
	t.Helper()
	config := b.Path("windows/system32/config")
	if err := os.MkdirAll(config, 0o755); err != nil {
		t.Fatal(err)
	}
	for hive, root := range map[string]string{"SYSTEM": `HKEY_LOCAL_MACHINE\System`,
		"SOFTWARE": `HKEY_LOCAL_MACHINE\Software`} {
		file := filepath.Join(t.TempDir(), hive+".reg")
		b.run(t, "reg", "export", root, `Z:`+strings.ReplaceAll(file, "/", `\`), "/y")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := fact.Report{Budget: fact.NewBudget(0)}
		keys, err := registry.ParseText(file, text, &r)
		if err != nil {
			t.Fatal(err)
		}
		// What Wine's link CurrentControlSet leads to has a number on a disk.
		for i := range keys {
			const current = `\CurrentControlSet`
			if at := len(root); len(keys[i].Path) >= at+len(current) &&
				strings.EqualFold(keys[i].Path[at:at+len(current)], current) {
				keys[i].Path = root + `\ControlSet001` + keys[i].Path[at+len(current):]
			}
		}
		one := []byte{1, 0, 0, 0}
		all := []hivetest.Key{{Path: root + `\Select`, Values: []hivetest.Value{{Name: "Current", Type: 4, Data: one},
			{Name: "Default", Type: 4, Data: one}}}}
		for _, k := range keys {
			key := hivetest.Key{Path: k.Path}
			for _, v := range k.Values {
				key.Values = append(key.Values, hivetest.Value(v))
			}
			all = append(all, key)
		}
		if err := os.WriteFile(filepath.Join(config, hive), hivetest.Of(root, all), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
