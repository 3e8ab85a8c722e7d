// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/registry"
)

const controlSet = `HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\`

// values are those of a key of a hive.
func values(list ...registry.Value) []hivetest.Value {
	var out []hivetest.Value
	for _, v := range list {
		out = append(out, hivetest.Value{Name: v.Name, Type: v.Type, Data: v.Data})
	}
	return out
}

// wholeImage is an image whose hives, with these keys of the control set, and driver store are read whole.
func wholeImage(files map[string]string, keys ...hivetest.Key) *fakewindows.Machine {
	m := volume(files)
	all := []hivetest.Key{{Path: `HKEY_LOCAL_MACHINE\SYSTEM\Select`, Values: values(registry.DwordValue("Default", 1))},
		{Path: controlSet + `Services\other`}}
	for _, k := range keys {
		all = append(all, hivetest.Key{Path: controlSet + k.Path, Values: k.Values})
	}
	for name, data := range map[string][]byte{
		"system": hivetest.Of(`HKEY_LOCAL_MACHINE\SYSTEM`, all), "software": emptySoftware(),
		"drivers": hivetest.Drivers()} {
		m.Files[system32+"config/"+name] = &fstest.MapFile{Data: data}
	}
	m.Files[storeDir+"none.inf_amd64_1/none.txt"] = &fstest.MapFile{}
	return m
}

// outcomeOf returns the outcome of the next boot of the one driver that a query means.
func outcomeOf(t *testing.T, m *fakewindows.Machine, query string) fact.VerdictOutcome {
	t.Helper()
	list, err := image(m).Check(context.Background(), query, new(fact.Report))
	if err != nil || len(list) != 1 {
		t.Fatal(query, list, err)
	}
	return list[0].NextBoot.Outcome
}

// A service that the kernel may take otherwise than its values say keeps nothing out: no driver is absent or blocked by
// what is not known of it.
func TestOddServices(t *testing.T) {
	const file = `\??\C:\evil\x.sys`
	number := registry.DwordValue
	text := func(name, s string) registry.Value { return registry.StringValue(name, registry.TypeString, s) }
	path := text("ImagePath", file)
	for name, tt := range map[string]struct {
		values            []registry.Value
		more              []hivetest.Key
		byService, byFile fact.VerdictOutcome
	}{
		"a driver": {values: []registry.Value{number("Type", 1), number("Start", 1), path},
			byService: fact.VerdictLoadable, byFile: fact.VerdictLoadable},
		"disabled": {values: []registry.Value{number("Type", 1), number("Start", 4), path},
			byService: fact.VerdictBlocked, byFile: fact.VerdictBlocked},
		"a list for a path": {values: []registry.Value{number("Type", 1), number("Start", 1),
			registry.StringValue("ImagePath", registry.TypeMulti, file+"\x00")},
			byService: fact.VerdictLoadable, byFile: fact.VerdictUnknown},
		"a path of an unknown variable": {values: []registry.Value{number("Type", 1), number("Start", 1),
			text("ImagePath", `%Evil%\x.sys`)}, byService: fact.VerdictLoadable, byFile: fact.VerdictUnknown},
		"a type that is text": {values: []registry.Value{text("Type", "1"), number("Start", 1), path},
			byService: fact.VerdictUnknown, byFile: fact.VerdictUnknown},
		"a type that is text, of settings": {values: []registry.Value{text("Type", "1")},
			byService: fact.VerdictAbsent, byFile: fact.VerdictBlocked},
		"a program's type, at system start": {values: []registry.Value{number("Type", 16), number("Start", 1), path},
			byService: fact.VerdictUnknown, byFile: fact.VerdictUnknown},
		"a program's type, at its own start": {values: []registry.Value{number("Type", 16), number("Start", 2), path},
			byService: fact.VerdictAbsent, byFile: fact.VerdictBlocked},
		"no type, at boot": {values: []registry.Value{number("Start", 0), path},
			byService: fact.VerdictUnknown, byFile: fact.VerdictUnknown},
		"a link": {values: []registry.Value{{Name: "SymbolicLinkValue", Type: 6, Data: []byte{1, 0}}},
			byService: fact.VerdictUnknown, byFile: fact.VerdictUnknown},
		"disabled, and overridden": {values: []registry.Value{number("Type", 1), number("Start", 4), path},
			more:      []hivetest.Key{{Path: `Services\svc\StartOverride`, Values: values(number("0", 0))}},
			byService: fact.VerdictUnknown, byFile: fact.VerdictUnknown},
		"disabled twice": {values: []registry.Value{number("Type", 1), number("Start", 4), path},
			more:      []hivetest.Key{{Path: `Services\svc\StartOverride`, Values: values(number("0", 4))}},
			byService: fact.VerdictBlocked, byFile: fact.VerdictBlocked},
		"a short name of another folder": {values: []registry.Value{number("Type", 1), number("Start", 1),
			text("ImagePath", `\??\C:\OTHERS~1\x.sys`)}, byService: fact.VerdictLoadable, byFile: fact.VerdictUnknown},
	} {
		key := hivetest.Key{Path: `Services\svc`, Values: values(tt.values...)}
		m := wholeImage(map[string]string{"c:/evil/x.sys": string(sample("x"))}, append(tt.more, key)...)
		if got := outcomeOf(t, m, "svc"); got != tt.byService {
			t.Errorf("%s: by its service %s", name, got)
		}
		if got := outcomeOf(t, m, `C:\evil\x.sys`); got != tt.byFile {
			t.Errorf("%s: by its file %s", name, got)
		}
	}
}

// The short names of an image's path are those of the one file that may have them.
func TestShortNamesOfImage(t *testing.T) {
	for path, want := range map[string]fact.VerdictOutcome{
		`C:\PROGRA~1\Vendor\x.sys`: fact.VerdictLoadable, `C:\PROGRA~2\VENDOR~1\LONGDR~1.SYS`: fact.VerdictLoadable,
		`C:\PROGRA~1\Vendor\y.sys`: fact.VerdictLoadable, `C:\PROGRA~1\twice\z.sys`: fact.VerdictLoadable,
	} {
		m := wholeImage(map[string]string{"c:/program files/vendor/x.sys": string(sample("x")),
			"c:/program files/twice/z.sys": string(sample("z")), "c:/program files (x86)/twice/z.sys": "z",
			"c:/program files (x86)/vendor two/long driver.sys": string(sample("x"))},
			hivetest.Key{Path: `Services\svc`, Values: values(registry.DwordValue("Type", 1),
				registry.DwordValue("Start", 3), registry.StringValue("ImagePath", registry.TypeString, `\??\`+path))})
		list, err := image(m).Check(context.Background(), "svc", new(fact.Report))
		if err != nil || len(list) != 1 || list[0].NextBoot.Outcome != want {
			t.Errorf("%s: %+v, %v", path, list, err)
			continue
		}
		read := slices.ContainsFunc(list[0].Reasons, func(r fact.Reason) bool { return r.Code == windows.ReasonOnDisk })
		if known := strings.HasSuffix(path, `x.sys`) || strings.HasSuffix(path, "SYS"); read != known {
			t.Errorf("%s: %+v", path, list[0].Reasons)
		}
	}
}

// A recognizer loads file systems that are disabled, and no other driver. No remedy says that disabling stops them.
func TestRecognizedFileSystem(t *testing.T) {
	service := func(name string, typ, start uint32) hivetest.Key {
		return hivetest.Key{Path: `Services\` + name,
			Values: values(registry.DwordValue("Type", typ), registry.DwordValue("Start", start))}
	}
	filter := hivetest.Key{Path: `Services\x\Instances\i`, Values: values(registry.DwordValue("Flags", 0))}
	for name, tt := range map[string]struct {
		driver string
		keys   []hivetest.Key
		want   fact.VerdictOutcome
	}{
		"a file system of Windows": {"cdfs", []hivetest.Key{service("cdfs", 2, 4), service("Fs_Rec", 8, 1)},
			fact.VerdictLoadable},
		"without the recognizer": {"cdfs", []hivetest.Key{service("cdfs", 2, 4)}, fact.VerdictBlocked},
		"the recognizer is disabled": {"cdfs", []hivetest.Key{service("cdfs", 2, 4), service("Fs_Rec", 8, 4)},
			fact.VerdictBlocked},
		"a redirector": {"x", []hivetest.Key{service("x", 2, 4), service("Fs_Rec", 8, 1)}, fact.VerdictBlocked},
		"another recognizer": {"x", []hivetest.Key{service("x", 2, 4), service("x_rec", 8, 1)},
			fact.VerdictUnknown},
		"a filter":      {"x", []hivetest.Key{service("x", 2, 4), service("x_rec", 8, 1), filter}, fact.VerdictBlocked},
		"a disk driver": {"x", []hivetest.Key{service("x", 1, 4), service("x_rec", 8, 1)}, fact.VerdictBlocked},
	} {
		m := wholeImage(map[string]string{system32 + "drivers/" + tt.driver + ".sys": string(sample("x"))}, tt.keys...)
		if got := outcomeOf(t, m, tt.driver); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	m := wholeImage(map[string]string{system32 + "drivers/cdfs.sys": string(sample("x"))}, service("cdfs", 2, 1),
		service("Fs_Rec", 8, 1))
	list, err := image(m).Check(context.Background(), "cdfs", new(fact.Report))
	if err != nil || len(list) != 1 || len(list[0].Remedies) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}
