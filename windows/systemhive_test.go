// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/registry"
)

const regSample = "Windows Registry Editor Version 5.00\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WdFilter]\r\n" +
	"\"Type\"=dword:00000002\r\n\"Start\"=dword:00000000\r\n\"ErrorControl\"=dword:00000001\r\n" +
	"\"ImagePath\"=hex(2):73,00,79,00,73,00,74,00,65,00,6d,00,33,00,32,00,5c,00,77,00,\\\r\n" +
	"  2e,00,73,00,79,00,73,00,00,00\r\n" +
	"\"DisplayName\"=\"@%ProgramFiles%\\\\x.dll,-310\"\r\n\"DependOnService\"=hex(7):46,00,6c,00,74,00,4d,00,67," +
	"00,72,00,00,00,00,00\r\n" +
	"\"Owners\"=hex(7):6f,00,65,00,6d,00,37,00,2e,00,69,00,6e,00,66,00,00,00,00,00\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WdFilter\\Instances]\r\n" +
	"\"DefaultInstance\"=\"WdFilter Instance\"\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\WdFilter\\Instances\\WdFilter Instance]\r\n" +
	"\"Altitude\"=\"328010\"\r\n\"Flags\"=dword:00000000\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Dhcp]\r\n\"Type\"=dword:00000020\r\n" +
	"\"Start\"=dword:00000002\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\.NET Data]\r\n\r\n" +
	"[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\odd]\r\n\"Type\"=dword:00000001\r\n" +
	"\"Start\"=dword:00000063\r\n\"ImagePath\"=\"\\\\odd\\\\x.sys\"\r\n\"broken\"=dword:xyz\r\n"

func openSystemHive(b []byte) (systemHive, error) {
	h, err := registry.OpenHive(b)
	return systemHive{Hive: h}, err
}

func TestParseServiceKeys(t *testing.T) {
	for name, text := range map[string][]byte{"utf-8": []byte(regSample),
		"utf-16": append([]byte{0xff, 0xfe}, utf16text.Encode(regSample)...)} {
		var r fact.Report
		list, err := parseServiceKeys(text, testPaths, &r)
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %d services, %v", name, len(list), err)
		}
		want := Service{
			Name: "WdFilter", DisplayName: `@%ProgramFiles%\x.dll,-310`, Type: "file_system_driver",
			Start: "boot", ErrorControl: "normal",
			ImagePath: `system32\w.sys`, ImagePathRule: RuleRelative, ImageFile: `C:\Windows\system32\w.sys`,
			DependsOn: []string{"FltMgr"}, Owners: []string{"oem7.inf"},
			DefaultInstance: "WdFilter Instance",
			Instances:       []FilterInstance{{Name: "WdFilter Instance", Altitude: "328010", Flags: fact.CountOf(0)}},
		}
		if !reflect.DeepEqual(list[0].Service, want) {
			t.Errorf("%s: %+v\nwant %+v", name, list[0].Service, want)
		}
		if list[1].Name != "odd" || list[1].Start != "99" || len(list[1].Problems) != 1 {
			t.Errorf("%s: %+v", name, list[1])
		}
		if p := r.Problems; len(p) != 2 || p[0].Line == 0 || p[1].Count != 1 ||
			list[1].Problems[0].Subject != "odd" {
			t.Errorf("%s: problems %v and %v", name, p, list[1].Problems)
		}
	}
	if _, err := parseServiceKeys([]byte("[HKEY"), testPaths, new(fact.Report)); err == nil {
		t.Error("text without a header is read")
	}
}

func TestHive(t *testing.T) {
	h, err := openSystemHive(hivetest.System())
	if err != nil {
		t.Fatal(err)
	}
	set, err := h.controlSet()
	if err != nil || set != "ControlSet001" {
		t.Fatalf("control set %q, %v", set, err)
	}
	var r fact.Report
	list, err := h.services(set, testPaths, &r)
	if err != nil || len(r.Problems) != 0 {
		t.Fatal(err, r.Problems)
	}
	if len(list) != 3 || list[2].Name != hivetest.OtherName || list[0].Name != "Filter" ||
		len(list[0].Instances) != 1 ||
		list[0].Instances[0].Altitude != "385250.5" || list[1].Name != "Disk" {
		t.Errorf("%+v", list)
	}
	if list[0].DisplayName != hivetest.LongName() {
		t.Errorf("a value of several segments has %d characters", len(list[0].DisplayName))
	}
	key, ok, err := h.reg(set + `\control\CI\config`)
	if n, _ := key.Dword("VulnerableDriverBlocklistEnable"); err != nil || !ok || n != 1 {
		t.Errorf("%+v %v %v", key, ok, err)
	}
	devices, err := h.devices(set, &r)
	want := Device{Instance: `SCSI\Disk&Ven_Ket\4&1`, Service: "disk", Description: "Ket Disk", Class: "DiskDrive",
		DriverKey:   hivetest.DiskClass + `\0003`,
		HardwareIDs: []string{`SCSI\Ket`, "GenDisk"}, INF: "oem9.inf", Provider: "Ket Disks", DriverDate: "2022-09-19",
		DriverVersion: "4.1.0.2", UpperFilters: []string{"Filter"}}
	if err != nil || len(devices) != 1 || !reflect.DeepEqual(devices[0], want) {
		t.Errorf("%+v, %v", devices, err)
	}
	if _, ok, err := h.reg("No\\Such"); ok || err != nil {
		t.Errorf("a key that is not there: %v %v", ok, err)
	}
	if h.Dirty() {
		t.Error("dirty")
	}
}

// A damaged part of a hive costs only itself, and is reported; an index that names itself ends nothing.
func TestHiveDamaged(t *testing.T) {
	services := func(damage func(b []byte)) ([]registeredService, error) {
		b := hivetest.System()
		damage(b)
		h, err := openSystemHive(b)
		if err != nil {
			t.Fatal(err)
		}
		var r fact.Report
		list, err := h.services("ControlSet001", testPaths, &r)
		if err == nil && len(r.Problems) > 0 {
			err = r.Problems[0]
		}
		return list, err
	}
	at := func(b []byte, text string, before int) []byte { return b[bytes.Index(b, []byte(text))-before:] }
	list, err := services(func(b []byte) { copy(at(b, "Disk", 76), "xx") })
	if len(list) != 2 || !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("a key: %+v, %v", list, err)
	}
	list, err = services(func(b []byte) { copy(at(b, "Filter Instance", 76), "xx") })
	if len(list) != 3 || len(list[0].Instances) != 0 || !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("an instance: %+v, %v", list, err)
	}
	list, err = services(func(b []byte) {
		for i := 4096; i+8 <= len(b); i += 8 {
			if string(b[i+4:i+6]) == "ri" {
				binary.LittleEndian.PutUint32(b[i+8:], uint32(i-4096))
			}
		}
	})
	if len(list) != 0 || !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("an index of itself: %+v, %v", list, err)
	}
}

// Lines that go on cost no more than their length.
func TestContinuedINF(t *testing.T) {
	start := time.Now()
	inf, err := parseINF([]byte("[Version]\nClass="+strings.Repeat(strings.Repeat("x", 28)+"\\\n", 150_000)+
		"y\nProvider=V\n"), nil)
	if err != nil || inf.Provider != "V" || len(inf.Class) > 2*maxINFLine {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %s", d)
	}
}

// A key that its parent names again and again is not a device, whatever a hive claims.
func TestHiveRepeats(t *testing.T) {
	for _, record := range []string{"li", "ri"} {
		h, err := openSystemHive(hivetest.Repeats(2000, record))
		if err != nil {
			t.Fatal(err)
		}
		var r fact.Report
		if list, err := h.devices("ControlSet001", &r); len(list) != 0 || !errors.Is(err, fact.ErrMalformed) {
			t.Errorf("%s: %d devices, %v", record, len(list), err)
		}
	}
}

// A value that is invalid is not taken for one that is not there.
func TestHiveLostValues(t *testing.T) {
	services := func(value string, r *fact.Report) []registeredService {
		b := hivetest.System()
		if value != "" {
			disk := bytes.LastIndex(b[:bytes.Index(b, []byte("Disk"))], []byte(value))
			copy(b[disk-20:], "xx")
		}
		h, err := openSystemHive(b)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := h.serviceKeys("ControlSet001", nil)
		if err != nil {
			t.Fatal(err)
		}
		// A tape keeps the keys as text.
		back, err := registry.ParseText("test", registry.AppendText(nil, keys), r)
		if err != nil {
			t.Fatal(err)
		}
		return servicesOf(back, testPaths, r)
	}
	for value, want := range map[string]struct {
		refused  bool
		rule     string
		problems int
	}{
		"":          {false, RuleRelative, 0},
		"Type":      {true, "", 1},
		"ImagePath": {false, RuleUnread, 1},
		"Start":     {false, RuleRelative, 0},
	} {
		var r fact.Report
		list := services(value, &r)
		i := slices.IndexFunc(list, func(s registeredService) bool { return s.Name == "Disk" })
		if i < 0 {
			t.Errorf("%s: no such service", value)
			continue
		}
		got := list[i]
		lost := slices.ContainsFunc(r.Problems, func(p fact.Problem) bool { return p.Subject == "" && p.Count == 1 })
		if got.Refused != want.refused || len(got.Problems) != want.problems || got.ImagePathRule != want.rule ||
			lost != (value != "") {
			t.Errorf("%s: %+v, problems %v", value, got, r.Problems)
		}
		for _, p := range got.Problems {
			if !errors.Is(p, fact.ErrMalformed) {
				t.Errorf("%s: %v", value, p)
			}
		}
	}
}

func FuzzHive(f *testing.F) {
	f.Add(hivetest.System())
	for _, seed := range bomb.Seeds(bomb.Hive) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := openSystemHive(b)
		if err != nil {
			return
		}
		set, err := h.controlSet()
		if err != nil {
			set = "ControlSet001"
		}
		keys, _ := h.serviceKeys(set, nil)
		if len(keys) > registry.MaxKeys+1000 {
			t.Fatalf("%d keys of %d bytes", len(keys), len(b))
		}
		var r fact.Report
		_, _ = h.services(set, testPaths, &r)
		_, _ = h.packages(&r)
		devices, _ := h.devices(set, &r)
		if len(devices) > maxServices {
			t.Fatalf("%d devices of %d bytes", len(devices), len(b))
		}
	})
}

func FuzzServiceKeys(f *testing.F) {
	f.Add([]byte(regSample))
	// In lower case these names have more bytes.
	f.Add([]byte("REGEDIT4\n[A\xff\xff\xff\\SERVICES\\]\n[Ⱥ\xff\\Services\\b]\n\"Type\"=dword:1\n" +
		"\"ImagePath\"=\"\xff\xff\xff\xff.sys a\"\n[A\\DriverPackages\\\xff\xff\xff.inf_x]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fact.Report
		keys, err := registry.ParseText("fuzz", b, &r)
		if err != nil {
			return
		}
		_ = servicesOf(keys, testPaths, &r)
		_ = packagesOf(keys)
		if len(r.Problems) > fact.MaxProblems+1 {
			t.Fatalf("%d problems", len(r.Problems))
		}
	})
}
