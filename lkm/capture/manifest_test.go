// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/lkm"
)

// manifestKinds are the recordings' own words for what they hold, with the kind that each is read as. What is not here
// is no capture of a list, and is refused.
var manifestKinds = map[string]Kind{
	"/proc/modules": ProcModules, "expected-json-jc": JC, "lsmod": Lsmod, "modinfo": LinuxModinfo,
	"modinfo-negative": LinuxModinfo, "kldstat": Kldstat, "kldstat-h-v": Kldstat, "kldstat-m": Kldstat,
	"kldstat-v": Kldstat, "kext-id-list": BundleIDs, "kext-loaded-info": Kextutil, "kextpolicy-dump": KextPolicy,
	"kextstat": Kextstat, "kmutil-log": Kextstat, "kmutil-processed": Kextstat, "kmutil-showloaded": Kextstat,
	"panic-loaded-kexts": MacOSPanic, "systemextensionsctl": SystemExtensionsCtl, "cim-list": WMI,
	"driver-list-csv": DriverList, "driverquery-csv-v": DriverQuery, "driverquery-table": DriverQuery,
	"driverquery-v-table": DriverQuery, "fltmc": Fltmc, "fltmc-instances": Fltmc, "msinfo32-txt": MSInfo,
	"osquery-line": Osquery, "pnputil-e": PnPUtil, "pnputil-enum-drivers": PnPUtil, "psautorun-drivers": Autoruns,
	"sc-query": SC, "moddebug-console": Moddebug, "genkex": Genkex, "abend-log": AbendLog,
	"modstat-negative": Kldstat, // its note says that it is a kldstat
}

// manifestKind is the kind of a recording: two tools have one name.
func manifestKind(os, kind string) Kind {
	if os == "solaris" && kind == "modinfo" {
		return Modinfo
	}
	return manifestKinds[kind]
}

// manifestParts are the recordings that show themselves to be a part of a list, by a piece of their path; each note
// says so.
var manifestParts = []string{
	"refcnt-minus1", "modinfo-all-rhcos41", "modinfo-broken-sig", "kldstat-grep", "kldstat-hv-linux", "kldstat-v-",
	"kext-bundle-ids", "kext-loadinfo", "kextstat-10.14-tunnelblick", "kextstat-kl-ohai", "kmutil-uninstaller",
	"kmutil-cut", "kmutil-grep", "driverquery-table-winserver2012", "driverquery-v-aceblock", "fltmc-instances",
	"moddebug", "genkex-d", "modstat-mislabelled", "abend-log", "pnputil-e-en-amd", "pnputil-e-en-vmware",
	"sc-query-session", // of one service
}

// TestManifest reads every recording as its manifest says: as its kind and no other, from its first 64 KiB and whole;
// what is no list is refused, and what is a part of one is partial.
func TestManifest(t *testing.T) {
	root := testdata.Dir(t, "captures")
	b, err := os.ReadFile(filepath.Join(root, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")[1:]
	right := 0
	for _, line := range lines {
		columns := strings.Split(line, "\t")
		if len(columns) < 3 {
			t.Fatalf("%q has no three columns", line)
		}
		if manifestLine(t, root, columns[0], manifestKind(columns[1], columns[2])) {
			right++
		}
	}
	t.Logf("%d of %d are read as they say", right, len(lines))
}

func manifestLine(t *testing.T, root, name string, want Kind) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Error(err)
		return false
	}
	s, err := Read(strings.NewReader(string(b)), "")
	refused := strings.Contains(name, "access-denied") // a text of the kind, without a list
	if want == "" || refused {
		if !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("%s is read: %v", name, err)
			return false
		}
		return true
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	head := string(b[:min(len(b), headSize)])
	head = head[:strings.LastIndexByte(head, '\n')+1]
	for _, text := range []string{head, string(b)} {
		if best, err := detect(clean(t, text)); text != "" && best.kind != want && !(want == MSInfo && err != nil) {
			t.Errorf("%s is read as %q, not as %s", name, best.kind, want)
			return false
		}
	}
	part := false
	for _, p := range manifestParts {
		part = part || strings.Contains(name, p)
	}
	if okSource(s) == part {
		t.Errorf("%s: a part: %t, sources %+v", name, part, s.Sources)
		return false
	}
	return true
}
