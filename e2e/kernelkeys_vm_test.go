// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/lkm"
)

// TestKernelKeys boots a kernel whose file is on the machine's disk: /proc/keys shows the certificates that are found
// in the file, and the kernel takes and refuses what lkm check says, whether it enforces signatures or not.
func TestKernelKeys(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "openssl")
	k := lab.Kernel(t, debian.Cloud61)
	for _, c := range []struct {
		cmdline string
		loads   string // the files that the kernel takes
	}{{"module.sig_enforce=1", "keys_a"}, {"loglevel=7", "keys_a keys_c keys_d keys_e"}} {
		t.Run(c.cmdline, func(t *testing.T) {
			i := lab.Image(t, k, "dummy")
			files := signedFiles(t, k)
			updates := "/lib/modules/" + k.Release + "/updates/"
			for name, data := range files {
				i.Add(updates+name+".ko", 0o644, data)
			}
			for _, file := range []string{k.Image(), k.Config()} {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				i.Add("/boot/"+filepath.Base(file), 0o644, data)
			}
			g := lab.Boot(t, k, i, c.cmdline)
			g.Root("depmod")
			compareKeyring(t, g, k)
			for _, v := range verdictsOf(t, g, slices.Sorted(maps.Keys(files))) {
				name := strings.TrimPrefix(v.Module, string(fact.KindLinuxModule)+":")
				trySigned(t, g, v, updates+name+".ko", slices.Contains(strings.Fields(c.loads), name))
			}
		})
	}
}

// signedFiles are copies of one module: as Debian signed it, with one byte changed, by a stranger's key, without a
// signature, and with something after the signature.
func signedFiles(t *testing.T, k debian.Kernel) map[string][]byte {
	t.Helper()
	files, err := k.Closure(t.Context(), "dummy")
	if err != nil {
		t.Fatal(err)
	}
	signed, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	module := unsigned(t, signed)
	changed := bytes.Clone(signed)
	changed[bytes.Index(changed, []byte("\x00license=GPL"))+9] ^= 'G' ^ 'g' // a byte of .modinfo
	stranger := opensslCMS(t, "sha256", module, newSigners(t)[:1], "-noattr")
	return map[string][]byte{
		"keys_a": signed,
		"keys_b": changed,
		"keys_c": appendSignature(module, stranger),
		"keys_d": module,
		"keys_e": append(bytes.Clone(signed), '\n'),
	}
}

// verdictsOf asks lkm check for several modules at once: the kernel's file is read once, which takes this machine long.
func verdictsOf(t *testing.T, g *lab.Guest, names []string) []lkm.Verdict {
	t.Helper()
	r := g.Do(agent.Command{Argv: append([]string{lab.Lkm, "check", "--format", "json"}, names...)})
	var verdicts []lkm.Verdict
	if err := json.Unmarshal(r.Stdout, &verdicts); err != nil || len(verdicts) != len(names) {
		t.Fatalf("lkm check: %v\n%s%s", err, r.Stdout, r.Stderr)
	}
	return verdicts
}

// trySigned compares what lkm check says with what the kernel does.
func trySigned(t *testing.T, g *lab.Guest, v lkm.Verdict, file string, loads bool) {
	t.Helper()
	name, said := strings.TrimSuffix(filepath.Base(file), ".ko"), lkm.Tri("no such way")
	for _, w := range v.Now.Ways {
		if w.Way == linux.WayInsmod {
			said = w.Blocked
		}
	}
	before := len(g.Console())
	g.Do(agent.Command{Argv: []string{"insmod", file}})
	came := strings.Contains(loadedList(g), "\ndummy ")
	if came != loads {
		t.Errorf("%s: loaded: %v, want %v; the kernel said %s", name, came, loads, g.Console()[before:])
	}
	if said != lkm.TriOf(!came) {
		t.Errorf("%s: the kernel let it in: %v; lkm check says blocked: %q, %+v", name, came, said, v.Reasons)
	}
	want := map[string]string{"keys_b": linux.ReasonBadSignature, "keys_c": linux.ReasonForeignKey}[name]
	if want != "" && !slices.ContainsFunc(v.Reasons, func(r fact.Reason) bool { return r.Code == want }) {
		t.Errorf("%s: no reason %s in %+v", name, want, v.Reasons)
	}
	if came {
		g.Root("rmmod", "dummy")
	}
}

// compareKeyring compares /proc/keys with the certificates in the kernel's file.
func compareKeyring(t *testing.T, g *lab.Guest, k debian.Kernel) {
	t.Helper()
	r := &fact.Report{Budget: fact.NewBudget(0)}
	image, err := boot.ReadKernelImage(os.DirFS(k.Root), "boot/"+filepath.Base(k.Image()), r)
	if err != nil || len(image.Lists) != 1 {
		t.Fatalf("%+v, %v", image, err)
	}
	keys := string(g.File("/proc/keys"))
	certificates := image.Lists[0].Certificates
	for _, c := range certificates {
		if id := hex.EncodeToString(c.SubjectKeyID); !strings.Contains(keys, " "+c.Subject.FirstCommonName()+": "+id+
			": X509.") {
			t.Errorf("no certificate %q %s in\n%s", c.Subject.FirstCommonName(), id, keys)
		}
	}
	if want := ".builtin_trusted_keys: " + strconv.Itoa(len(certificates)) + "\n"; !strings.Contains(keys, want) {
		t.Errorf("no %q in\n%s", want, keys)
	}
	if notes := g.File("/sys/kernel/notes"); !slices.ContainsFunc(image.BuildIDs, func(id string) bool {
		b, _ := hex.DecodeString(id)
		return bytes.Contains(notes, b)
	}) {
		t.Errorf("none of the build ids %v is the kernel's", image.BuildIDs)
	}
}
