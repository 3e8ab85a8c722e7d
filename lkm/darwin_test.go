// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

func openMac(t testing.TB, h fakedarwin.Host, o Options) *System {
	t.Helper()
	s, err := OpenMachine(Darwin, h.Machine(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func snapshotMac(t testing.TB, h fakedarwin.Host, o Options) *Snapshot {
	t.Helper()
	snap, err := openMac(t, h, o).Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestDarwinSnapshot(t *testing.T) {
	snap := snapshotMac(t, fakedarwin.Intel(), Options{})
	if snap.Release != "20.4.0" || snap.Arch != "x86_64" || snap.Privilege != "root" || snap.BootID == "" ||
		snap.TakenAt.IsZero() || len(snap.Modules) != 11 {
		t.Fatalf("%+v", snap)
	}
	bsd, made, vendor := snap.Module("macos_kext:com.apple.kpi.bsd"),
		snap.Module("macos_kext:com.apple.driver.Made001"),
		snap.Module("macos_kext:com.vendor.driver")
	if bsd == nil || made == nil || vendor == nil ||
		snap.Module("macos_kext:__kernel__").Darwin.Pseudo != darwin.PseudoKernel {
		t.Fatalf("%+v", snap.Modules)
	}
	if bsd.Darwin.Pseudo != darwin.PseudoKPI || bsd.Origin.Class != OriginOS ||
		!slices.Contains(bsd.UsedBy, "com.vendor.driver") {
		t.Errorf("%+v", bsd)
	}
	if got := fmt.Sprint(made.Requires); got != "[com.apple.driver.Made000 com.apple.kpi.bsd com.apple.kpi.iokit "+
		"com.apple.kpi.libkern]" || made.Origin.Class != OriginOS || made.Address != 0 || made.ContentID == "" {
		t.Errorf("%s, %+v", got, made)
	}
	if vendor.Origin.Class != OriginThirdParty || vendor.Darwin.Collection != "Auxiliary" ||
		len(vendor.Problems) != 1 ||
		vendor.Problems[0].Code != CodeGone || len(vendor.Darwin.LinkedAgainst) != 3 {
		t.Errorf("%+v", vendor)
	}
	if vendor.Signature.Status != "" || vendor.Darwin.Bundle != nil || vendor.OnDisk.Match != "" {
		t.Errorf("the disk was read without being asked: %+v", vendor)
	}
	for _, name := range []string{darwin.SourceBundles, darwin.SourceCollections, darwin.SourceSysExt} {
		if s, ok := snap.Source(name); !ok || s.Outcome != OutcomeSkipped {
			t.Errorf("source %s: %+v", name, s)
		}
	}
	var l List
	if err := openMac(t, fakedarwin.Intel(), Options{}).Poll(context.Background(), &l); err != nil ||
		len(l.Modules) != 11 {
		t.Errorf("poll: %d, %v", len(l.Modules), err)
	}
}

func TestDarwinDisk(t *testing.T) {
	for name, h := range map[string]fakedarwin.Host{"intel": fakedarwin.Intel(), "silicon": fakedarwin.Silicon()} {
		snap := snapshotMac(t, h, Options{Detail: DetailFiles | DetailSignatures | DetailHashes | DetailAddresses})
		vendor := snap.Module("macos_kext:com.vendor.driver")
		k := vendor.Darwin
		if vendor.OnDisk.Match != MatchSame || vendor.OnDisk.By != "macho_uuid" || k.Bundle == nil ||
			k.Bundle.Path != "/Library/Extensions/Driver.kext" || k.PendingReboot != Yes {
			t.Errorf("%s: %+v, bundle %+v", name, vendor, k.Bundle)
		}
		if k.CodeSignature == nil || k.CodeSignature.TeamID != "ABCDE12345" || k.CodeSignature.Seal.Broken() ||
			vendor.Signature.Status != SignatureUntrusted || vendor.Signature.Signer == "" {
			t.Errorf("%s: %+v", name, k.CodeSignature)
		}
		if fmt.Sprint(k.Views) != "map[bundles:seen collections:seen kextmanager:seen]" || len(k.Collections) != 1 ||
			k.Collections[0].Stale != No {
			t.Errorf("%s: %+v, %+v", name, k.Views, k.Collections)
		}
		made := snap.Module("macos_kext:com.apple.driver.Made001") // in the collection, and a bundle without code
		if made.OnDisk.Match != "" && made.OnDisk.Match != MatchSame {
			t.Errorf("%s: %+v", name, made.OnDisk)
		}
		if even := snap.Module("macos_kext:com.apple.driver.Made002"); even.Origin.Evidence[0].Fact != "collection" ||
			even.OnDisk.Match != MatchSame {
			t.Errorf("%s: %+v, %+v", name, even.Origin, even.OnDisk)
		}
		hidden := slices.ContainsFunc(snap.Problems,
			func(p Problem) bool { return p.Field == "address" && p.Code == CodeRestricted && p.Count == 1 })
		if (name == "silicon") != hidden || (vendor.Address == 0) != hidden || made.Address == 0 {
			t.Errorf("%s: addresses %v %v, %v", name, vendor.Address, made.Address, snap.Problems)
		}
		if s, _ := snap.Source(darwin.SourceBundles); s.Outcome != OutcomePartial { // one bundle is broken
			t.Errorf("%s: %+v", name, s)
		}
		if snap.Err() == nil {
			t.Errorf("%s: the broken bundle is not reported", name)
		}
	}
}

func TestDarwinRefusal(t *testing.T) {
	h := fakedarwin.Intel()
	h.Denied = true
	if snap, err := openMac(t, h, Options{}).Snapshot(context.Background()); !errors.Is(err, fs.ErrPermission) ||
		snap != nil || !strings.Contains(err.Error(), "--exec") {
		t.Errorf("refused: %+v, %v", snap, err)
	}
	snap := snapshotMac(t, fakedarwin.Sandboxed(), Options{Detail: DetailAddresses})
	refused, _ := snap.Source(darwin.SourceKextManager)
	tool, _ := snap.Source(darwin.SourceKmutil)
	if refused.Outcome != OutcomeDenied || tool.Outcome != OutcomeOK || len(snap.Modules) != 10 {
		t.Errorf("%+v %+v, %d modules", refused, tool, len(snap.Modules))
	}
	// What both ways say is the same.
	whole := snapshotMac(t, fakedarwin.Intel(), Options{Detail: DetailAddresses})
	for i := range snap.Modules {
		m := &snap.Modules[i]
		w := whole.Module(m.ID)
		if w == nil || w.Address != m.Address || w.Size != m.Size || w.Refs != m.Refs || w.ContentID != m.ContentID ||
			w.Version != m.Version || !slices.Equal(w.Requires, m.Requires) {
			t.Errorf("%s differs:\n%+v\n%+v", m.Name, m, w)
		}
	}
}

func TestDarwinInstalled(t *testing.T) {
	s := openMac(t, fakedarwin.Intel(), Options{Detail: DetailFiles})
	var ids []string
	for m, err := range s.Installed(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.ID+" "+m.Path)
	}
	for _, want := range []string{"macos_kext:com.vendor.driver /Library/Extensions/Driver.kext",
		"macos_kext:com.vendor.codeless /Library/Extensions/Codeless.kext",
		"macos_kext:Broken /Library/Extensions/Broken.kext",
		"macos_dext:com.vendor.usb /Library/SystemExtensions/U/com.vendor.usb.dext",
		"macos_kext:com.apple.driver.Made001 /System/Library/Extensions/Made001.kext"} {
		if !slices.Contains(ids, want) {
			t.Errorf("%s is not in %q", want, ids)
		}
	}
	for query, want := range map[string]string{"com.vendor.driver": "com.vendor.driver",
		"usb:v05ACp1234d0100dc00dsc00dp00ic08isc06ip50in00": "com.vendor.codeless",
		"pci:v00008086d0000000Bsv*sd*bc02sc00i00":           "com.apple.driver.Made001", "idVendor=1,idProduct=2": "",
		"com.nobody": ""} {
		found, err := s.Resolve(context.Background(), query)
		got := ""
		if len(found) > 0 {
			got = found[0].Name
		}
		// One bundle is broken, so that "none" is no answer but for what was found.
		if got != want || want != "" && err != nil {
			t.Errorf("%s: %q, %v", query, got, err)
		}
	}
	steps, err := s.LoadPlan(context.Background(), "com.vendor.driver")
	if err != nil || len(steps) != 2 || steps[0].Module != "macos_kext:com.apple.kpi.bsd" ||
		steps[1].Path != "/Library/Extensions/Driver.kext" {
		t.Errorf("%+v, %v", steps, err)
	}
}

func TestDarwinCheck(t *testing.T) {
	s := openMac(t, fakedarwin.Intel(), Options{})
	for query, want := range map[string]string{
		"com.vendor.driver": "loaded loadable loaded", "com.apple.driver.Made001": "loaded loadable loaded",
		"com.apple.kpi.bsd":               "loaded loaded loaded",
		"com.vendor.usb":                  "blocked blocked activated_enabled",
		"/Library/Extensions/Driver.kext": "loaded loadable loaded",
		"com.nobody":                      "unknown unknown ", // one bundle could not be read
	} {
		v, err := s.Check(context.Background(), query)
		if err != nil || len(v) != 1 {
			t.Errorf("%s: %+v, %v", query, v, err)
			continue
		}
		if got := fmt.Sprint(v[0].Now.Outcome, " ", v[0].NextBoot.Outcome, " ", v[0].Word); got != want {
			t.Errorf("%s: %s, want %s; %+v", query, got, want, v[0].Reasons)
		}
	}
	p, err := s.Policy(context.Background())
	if err != nil || p.Loading != fact.LoadingSigned || p.Facts[0].Value != "0x00000000" {
		t.Errorf("%+v, %v", p, err)
	}
	user := fakedarwin.Intel()
	user.User = true
	p, err = openMac(t, user, Options{}).Policy(context.Background())
	if err != nil ||
		!slices.ContainsFunc(p.Facts,
			func(f PolicyFact) bool { return f.Name == "kext_approvals" && f.Code == CodePermission }) {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestDarwinImage looks at a mounted volume.
func TestDarwinImage(t *testing.T) {
	dir := t.TempDir()
	for name, f := range fakedarwin.Intel().Files() {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := openDir(t, dir, Options{})
	defer s.Close()
	if s.OS() != Darwin {
		t.Fatalf("detected %s", s.OS())
	}
	if _, err := s.Snapshot(context.Background()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an image has a loaded list: %v", err)
	}
	snap, err := s.SnapshotOf(context.Background(), ScopeInstalled)
	if err != nil || snap.Module("macos_kext:com.vendor.driver") == nil ||
		snap.Module("macos_kext:com.vendor.driver").Darwin.Views[darwin.SourceCollections] != fact.ViewSeen {
		t.Errorf("%v", err)
	}
	v, err := s.Check(context.Background(), "com.vendor.driver")
	if err != nil || len(v) != 1 || v[0].Now != nil || v[0].NextBoot.Outcome != VerdictLoadable {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDarwinReadFile(t *testing.T) {
	files := fakedarwin.Intel().Files()
	read := func(name string) ([]Module, error) {
		return ReadFile(context.Background(), files, name, Options{Detail: DetailFiles | DetailSignatures})
	}
	for name, want := range map[string]string{
		"Library/Extensions/Driver.kext":                           "macos_kext:com.vendor.driver",
		"Library/Extensions/Driver.kext/Contents/MacOS/Driver":     "macos_kext:com.vendor.driver",
		"System/Library/KernelCollections/BootKernelExtensions.kc": "macos_kext:com.apple.driver.Made000",
		"Library/KernelCollections/AuxiliaryKernelExtensions.kc":   "macos_kext:com.vendor.driver",
	} {
		m, err := read(name)
		if err != nil || m[0].ID != want || m[0].Darwin == nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	files["k"] = &fstest.MapFile{Data: fakedarwin.IM4P("krnl", append([]byte("bvx2"), make([]byte, 100)...))}
	if _, err := read("k"); fact.CodeOf(err) != CodeMalformed || !strings.Contains(err.Error(), "lzfse") {
		t.Errorf("compressed, and damaged: %v", err)
	}
	boot := files["System/Library/KernelCollections/BootKernelExtensions.kc"].Data
	files["k"].Data = fakedarwin.IM4P("krnl", fakedarwin.LZFSE(boot))
	if m, err := read("k"); err != nil || m[0].ID != "macos_kext:com.apple.driver.Made000" {
		t.Errorf("compressed: %+v, %v", m, err)
	}
	files["program"] = &fstest.MapFile{Data: fakedarwin.NewMacho("x86_64", fakedarwin.TypeExecute).Bytes(4096)}
	for name, code := range map[string]Code{"program": CodeUnsupported, "Library/Extensions/Broken.kext": CodeMalformed,
		"Library": CodeMalformed, "nothing": CodeAbsent} {
		if m, err := read(name); fact.CodeOf(err) != code || m != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestDarwin400 holds the snapshot of a Mac with 400 kexts to its price in memory, 20 MB. Its time
// depends on what else runs: BenchmarkDarwinSnapshot400 fails over 50 ms.
func TestDarwin400(t *testing.T) {
	h := fakedarwin.Intel()
	h.Plain = 395
	s := openMac(t, h, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	snap, err := s.Snapshot(context.Background())
	runtime.ReadMemStats(&after)
	if err != nil || len(snap.Modules) != 400 {
		t.Fatalf("%d modules, %v", len(snap.Modules), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 20<<20 {
		t.Errorf("allocated %d KiB", used>>10)
	}
}

// BenchmarkDarwinSnapshot400 is a look at a machine with 400 kexts; the target is 50 ms.
func BenchmarkDarwinSnapshot400(b *testing.B) {
	h := fakedarwin.Intel()
	h.Plain = 395
	s := openMac(b, h, Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Snapshot(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
