// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
)

// unreadHives are forms of a SYSTEM hive that says nothing.
func unreadHives() map[string]func(m *fakewindows.Machine) {
	return map[string]func(m *fakewindows.Machine){
		"missing": func(m *fakewindows.Machine) { delete(m.Files, system32+"config/system") },
		"empty":   func(m *fakewindows.Machine) { m.Files[system32+"config/system"] = &fstest.MapFile{} },
		"garbage": func(m *fakewindows.Machine) {
			m.Files[system32+"config/system"] = &fstest.MapFile{Data: []byte("nonsense")}
		},
	}
}

// Of a hive that was not read no key is known to be absent.
func TestPolicyWithoutHive(t *testing.T) {
	settings := []string{windows.PolicyBlockList, windows.PolicyHVCIConfig, windows.PolicySecureConfig}
	for name, change := range unreadHives() {
		m := volume(nil)
		change(m)
		var r fact.Report
		p, err := image(m).Policy(context.Background(), &r)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Facts {
			if !strings.Contains(strings.Join(settings, " "), f.Name) || f.Name == "" {
				continue
			}
			if f.Code == "" || f.Code == fact.CodeAbsent && !f.Unknown || strings.Contains(f.Effect, "not set") {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if src, ok := r.Find(windows.SourceCIRegistry); !ok || src.Outcome == fact.OutcomeOK {
			t.Errorf("%s: source %+v", name, src)
		}
		if _, ok := r.First(windows.SourceCIRegistry); !ok {
			t.Errorf("%s: no Problem", name)
		}
	}
}

// A list without the registry of services is not whole, whatever else was read.
func TestListWithoutHive(t *testing.T) {
	for name, change := range unreadHives() {
		m := volume(nil)
		change(m)
		for _, files := range []fstest.MapFS{m.Files, {}} {
			var r fact.Report
			n := 0
			for range image(&fakewindows.Machine{Files: files}).Installed(context.Background(), &r) {
				n++
			}
			list := lkm.Snapshot{OS: lkm.Windows, Live: lkm.No, Sources: r.Sources, Problems: r.Problems}
			err := list.ListErr(lkm.StateInstalled)
			if p := (fact.Problem{}); !errors.As(err, &p) || p.Source != windows.SourceRegistry {
				t.Errorf("%s, %d files: %v", name, n, err)
			}
		}
	}
}

// emptySoftware returns a SOFTWARE hive that ties no file to a package.
func emptySoftware() []byte {
	return hivetest.Of(`HKEY_LOCAL_MACHINE\SOFTWARE`, []hivetest.Key{{Path: `HKEY_LOCAL_MACHINE\SOFTWARE\X`}})
}

// That a file of System32\drivers came from no package is known only of an image whose hives were read.
func TestArrivalWithoutHive(t *testing.T) {
	pack := storeDir + "fielddrv.inf_amd64_1/"
	changes := unreadHives()
	changes["there"] = func(*fakewindows.Machine) {}
	for name, change := range changes {
		for _, whole := range []bool{false, true} {
			m := volume(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
				"c:/windows/inf/oem0.inf": fieldINF, system32 + "drivers/fielddrv.sys": string(sample("g"))})
			if change(m); whole {
				m.Files[system32+"config/software"] = &fstest.MapFile{Data: emptySoftware()}
			}
			list, err := image(m).Check(context.Background(), "fielddrv.sys", new(fact.Report))
			if err != nil || len(list) != 2 {
				t.Fatal(name, list, err)
			}
			want := fact.Tri("")
			if whole && name == "there" {
				want = fact.Yes
			}
			if way := wayOf(list[0].NextBoot, windows.WayArrival); way.Blocked != want {
				t.Errorf("SYSTEM %s, SOFTWARE %v: %+v", name, whole, way)
			}
			if way := wayOf(list[1].NextBoot, windows.WayArrival); way.Blocked != fact.No {
				t.Errorf("SYSTEM %s, SOFTWARE %v: the store's file: %+v", name, whole, way)
			}
		}
	}
}

// A folder of drivers has no driver store that could be looked into.
func TestArrivalInFolder(t *testing.T) {
	m := &fakewindows.Machine{Files: fstest.MapFS{"c:/a.sys": {Data: sample("a")}}}
	list, err := image(m).Check(context.Background(), "a.sys", new(fact.Report))
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if way := wayOf(list[0].NextBoot, windows.WayArrival); way.Blocked != "" || way.Because.Text == "" {
		t.Errorf("%+v", way)
	}
}

// A part of a volume without the driver store does not say what is in the store.
func TestWithoutStore(t *testing.T) {
	for name, missing := range map[string]bool{storeDir + "a.inf_amd64_1/a.sys": false, "c:/x": true} {
		m := volume(map[string]string{name: "x", system32 + "config/software": string(emptySoftware())})
		list, err := image(m).Check(context.Background(), "disk", new(fact.Report))
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if way := wayOf(list[0].NextBoot, windows.WayArrival); (way.Blocked == fact.Yes) == missing {
			t.Errorf("without a store %v: %+v", missing, way)
		}
		list, err = image(m).Check(context.Background(), "nobody", new(fact.Report))
		if err != nil || (list[0].NextBoot.Outcome == fact.VerdictAbsent) == missing {
			t.Errorf("without a store %v: %+v, %v", missing, list, err)
		}
		var r fact.Report
		for range image(m).Installed(context.Background(), &r) {
		}
		if r.Whole(windows.SourceFolders) == missing {
			t.Errorf("without a store %v: %+v", missing, r.Sources)
		}
	}
	if list, err := image(volume(nil)).Resolve(context.Background(), `PCI\X`, new(fact.Report)); err == nil {
		t.Errorf("nothing was read, and no driver is found: %v", list)
	}
}

// A signature is valid only if the stores of the volume do not say otherwise. A folder of drivers has none.
func TestSignatureWithoutStores(t *testing.T) {
	s := signtest.New(t, "Vendor")
	file := s.Image(t, sample("signed"))
	volumeOf := volume(map[string]string{system32 + "drivers/signed.sys": string(file)})
	folder := &fakewindows.Machine{Files: fstest.MapFS{"c:/signed.sys": {Data: file}}}
	for m, want := range map[*fakewindows.Machine]fact.SignatureStatus{
		volumeOf: fact.SignatureUnchecked, folder: fact.SignatureValid} {
		k := windows.Open(m, fact.Options{Image: true, Keys: []fact.KeySet{s.KeySet()},
			Detail: fact.DetailSignatures})
		var r fact.Report
		for record, err := range k.Installed(context.Background(), &r) {
			if err == nil && record.Name == "signed.sys" && record.Signature.Status != want {
				t.Errorf("%s, want %s", record.Signature.Status, want)
			}
		}
		if n := r.Count(windows.SourceStores); n > 1 {
			t.Errorf("%d problems", n)
		}
	}
}
