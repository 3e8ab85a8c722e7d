// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/windows"
)

const config = system32 + "config/"

// logged puts a hive into a machine that was not written back: its log makes it the second one.
func logged(m *fakewindows.Machine, hive string, before, after []byte) {
	m.Files[config+hive] = &fstest.MapFile{Data: hivetest.Seal(bytes.Clone(before), 11, 10)}
	m.Files[config+hive+".log1"] = &fstest.MapFile{
		Data: hivetest.Log(before, 10, hivetest.Change(10, before, after))}
	m.Files[config+hive+".log2"] = &fstest.MapFile{}
}

// Hives that their logs complete are as clean ones: nothing is reported, and signatures are checked.
func TestReplayedHives(t *testing.T) {
	s := signtest.New(t, "Vendor")
	m := volume(map[string]string{system32 + "drivers/signed.sys": string(s.Image(t, sample("signed")))})
	for hive, data := range map[string][]byte{
		"software": emptyHive(), "drivers": hivetest.Drivers(), "system": hivetest.System(),
	} {
		after := bytes.Clone(data)
		after[len(after)-1]++ // of a free cell
		logged(m, hive, data, after)
	}
	k := windows.Open(m, fact.Options{Image: true, Keys: []fact.KeySet{s.KeySet()},
		Detail: fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures})
	var r fact.Report
	status := fact.SignatureStatus("")
	for record, err := range k.Installed(context.Background(), &r) {
		if err == nil && record.Name == "signed.sys" {
			status = record.Signature.Status
		}
	}
	unread := hasProblem(r.Problems, func(p fact.Problem) bool { return p.Source == windows.SourceStores })
	if status != fact.SignatureValid || unread || !r.Whole(windows.SourceRegistry, windows.SourceStore) {
		t.Errorf("%s, %v, %+v", status, r.Problems, r.Sources)
	}
}

// A policy that only a log has is in force; one of which a log is lost is not known to be, and the problem says which.
func TestHiveLogs(t *testing.T) {
	const key = `HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions`
	hive := func(deny byte) []byte {
		return hivetest.Of(`HKEY_LOCAL_MACHINE\SOFTWARE`, []hivetest.Key{{Path: key,
			Values: []hivetest.Value{{Name: "DenyUnspecified", Type: 4, Data: []byte{deny, 0, 0, 0}}}}})
	}
	const log1, log2, log = config + "software.log1", config + "software.log2", config + "software.log"
	type machine = *fakewindows.Machine
	for name, tt := range map[string]struct {
		change func(machine)
		text   string // of the problem; empty if the hive is whole
	}{
		"whole":         {func(machine) {}, ""},
		"two logs":      {func(m machine) { m.Files[log1], m.Files[log2] = m.Files[log2], m.Files[log1] }, ""},
		"an older form": {func(m machine) { older(m.Files, hive(0), hive(1)) }, ""},
		"no log":        {func(m machine) { delete(m.Files, log1); delete(m.Files, log2) }, "SOFTWARE.LOG1: "},
		"no second":     {func(m machine) { delete(m.Files, log2) }, "SOFTWARE.LOG2: "},
		"denied":        {func(m machine) { m.Deny["C:/Windows/System32/config/SOFTWARE.LOG2"] = true }, "LOG2: "},
		"only empty":    {func(m machine) { m.Files[log1] = &fstest.MapFile{} }, "SOFTWARE.LOG: "},
		"all empty": {func(m machine) {
			m.Files[log1], m.Files[log] = &fstest.MapFile{}, &fstest.MapFile{}
		}, "no log file holds"},
		"damaged": {func(m machine) { m.Files[log1].Data[600]++ }, "SOFTWARE.LOG1: its first entry is damaged"},
		"late": {func(m machine) {
			hivetest.Seal(m.Files[config+"software"].Data, 12, 11)
		}, "has all before 11"},
	} {
		pack := storeDir + "fielddrv.inf_amd64_1/"
		m := volume(map[string]string{pack + "fielddrv.sys": string(sample("f")), pack + "fielddrv.inf": fieldINF,
			"c:/windows/inf/oem5.inf": fieldINF})
		logged(m, "software", hive(0), hive(1))
		tt.change(m)
		want := fact.VerdictBlocked
		if tt.text != "" {
			want = fact.VerdictLoadable
		}
		list, err := image(m).Check(context.Background(), "fielddrv.sys", new(fact.Report))
		if err != nil || len(list) != 1 || list[0].NextBoot.Outcome != want {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		var r fact.Report
		for range image(m).Installed(context.Background(), &r) {
		}
		said := 0
		for _, p := range r.Problems {
			if p.Source == windows.SourceStores && strings.Contains(p.Text, "not written back whole") &&
				strings.Contains(p.Text, tt.text) {
				said++
			}
		}
		if (said == 1) != (tt.text != "") {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

// older replaces the logs of a hive by the one of old systems.
func older(files fstest.MapFS, before, after []byte) {
	delete(files, config+"software.log1")
	delete(files, config+"software.log2")
	before = hivetest.Seal(bytes.Clone(before), 11, 10)
	files[config+"software.log"] = &fstest.MapFile{Data: hivetest.OldLog(before, after)}
}
