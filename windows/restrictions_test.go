// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// policyMachine answers OpRegistry alone.
type policyMachine struct {
	fact.Machine
	keys map[string]registry.Key
	err  error
}

func (m policyMachine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	key, ok := m.keys[strings.Join(args, " ")]
	if op != OpRegistry || !ok {
		return nil, fmt.Errorf("call %s: %w", op, fs.ErrNotExist)
	}
	return registry.AppendText(nil, []registry.Key{key}), nil
}

// noKeys is a machine whose registry has no key.
func noKeys() *Kernel { return Open(policyMachine{}, fact.Options{}) }

// A policy keeps a staged package out only if it denies every device that the package is for.
func TestRestrictions(t *testing.T) {
	const class = "4d36e972-e325-11ce-bfc1-08002be10318"
	ids := []string{`PCI\VEN_1&DEV_2`, `PCI\VEN_1`}
	list := func(texts ...string) []string { return texts }
	for name, tt := range map[string]struct {
		on    string              // names of values that are 1
		lists map[string][]string // subkeys
		err   error
		want  fact.Tri
		free  int // ids that are not denied
		none  bool
	}{
		"no key":           {none: true, free: 2},
		"nothing in force": {lists: map[string][]string{"DenyDeviceIDs": ids}, none: true, free: 2},
		"refused":          {err: fs.ErrPermission, free: 2},
		"an older tape":    {err: fact.ErrOlder, free: 2},
		"one id": {on: "DenyDeviceIDs", lists: map[string][]string{"DenyDeviceIDs": ids[:1]},
			none: true, free: 1},
		"every id": {on: "DenyDeviceIDs",
			lists: map[string][]string{"DenyDeviceIDs": list(`pci\ven_1&dev_2`, ids[1])}, want: fact.Yes},
		"the class": {on: "DenyDeviceClasses",
			lists: map[string][]string{"DenyDeviceClasses": list("{" + strings.ToUpper(class) + "}")}, want: fact.Yes},
		"but administrators": {on: "DenyDeviceClasses AllowAdminInstall",
			lists: map[string][]string{"DenyDeviceClasses": list(class)}},
		"layered, with an exception": {on: "DenyDeviceClasses AllowDenyLayered AllowDeviceIDs",
			lists: map[string][]string{"DenyDeviceClasses": list(class), "AllowDeviceIDs": ids[:1]}},
		"unspecified": {on: "DenyUnspecified", want: fact.Yes},
		"unspecified, allowed": {on: "DenyUnspecified AllowDeviceIDs",
			lists: map[string][]string{"AllowDeviceIDs": ids[1:]}, none: true, free: 2},
		"unspecified, others": {on: "DenyUnspecified AllowDeviceIDs",
			lists: map[string][]string{"AllowDeviceIDs": list(`USB\X`)}},
		"unspecified, layered": {on: "DenyUnspecified AllowDenyLayered", none: true, free: 2},
		"removable":            {on: "DenyRemovableDevices"},
		"denied before allowed": {on: "DenyDeviceIDs AllowDeviceIDs",
			lists: map[string][]string{"DenyDeviceIDs": ids, "AllowDeviceIDs": ids}, want: fact.Yes},
	} {
		m := policyMachine{keys: map[string]registry.Key{}, err: tt.err}
		root := registry.Key{Path: `HKEY_LOCAL_MACHINE\` + restrictionsKey}
		for _, value := range strings.Fields(tt.on) {
			root.Values = append(root.Values, registry.Value{Name: value, Type: 4, Data: []byte{1, 0, 0, 0}})
		}
		if name != "no key" {
			m.keys[restrictionsKey] = root
		}
		for sub, texts := range tt.lists {
			key := registry.Key{Path: root.Path + `\` + sub}
			for i, text := range texts {
				key.Values = append(key.Values, registry.StringValue(fmt.Sprint(i+1), registry.TypeString, text))
			}
			m.keys[restrictionsKey+`\`+sub] = key
		}
		a, free := Open(m, fact.Options{}).readRestrictions(context.Background()).admits(ids, class)
		if a.Applies() == tt.none || a.Blocked() != tt.want || len(free) != tt.free ||
			a.Applies() && a.Because().Code != ReasonRestricted {
			t.Errorf("%s: %+v, %v", name, a, free)
		}
	}
}

// A section without a service of its own may make another package's service a filter of the device.
func TestAddFilter(t *testing.T) {
	f, err := parseINF([]byte("[Version]\n[Manufacturer]\n%M%=Models,NTamd64.10.0\n[Models.NTamd64.10.0]\n"+
		"\"D\"=Install,PCI\\VEN_1\n\"E\"=Other,PCI\\VEN_2\n[Install.NT.Filters]\nAddFilter=F,,F_Add\nAddFilter=G\n"+
		"[F_Add]\nServiceName=%Svc%\nFilterLevel=Upper\n[Install2.Filters]\nAddFilter=H,,F_Add\n"+
		"[Other.NTamd64.Services]\nAddService=own,2,S\n[Other.Filters]\nAddFilter=F,,F_Add\n"+
		"[Strings]\nSvc=\"ketfilter\"\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for section, want := range map[string]string{"Install": "ketfilter", "Other": "own", "None": ""} {
		if got := firstService(f, section); got != want {
			t.Errorf("%s: %q", section, got)
		}
	}
	if got := f.file.filtersOf("Install"); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
