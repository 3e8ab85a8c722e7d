// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func output(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("lkm %q: exit %d\n%s%s", args, code, &out, &errs)
	}
	return out.String()
}

// A list of drivers shows their services and how they start; a card is found by the name of a service,
// whatever the case, and shows all of it.
func TestWindowsCard(t *testing.T) {
	tape := windowsTape(t)
	list := output(t, "list", "--tape", tape)
	for _, row := range [][]string{{"NAME", "STATE", "SERVICE", "START"},
		{"tcpip.sys", "loaded", "Tcpip,tcpip6", "boot,demand"}, {"ntoskrnl.exe", "loaded", "-", "-"}} {
		found := false
		for line := range strings.Lines(list) {
			f := strings.Fields(line)
			found = found || len(f) >= 4 && strings.Join(f[:4], " ") == strings.Join(row, " ")
		}
		if !found {
			t.Errorf("no line %q in\n%s", row, list)
		}
	}
	card := output(t, "info", "ketWATCH", "TCPIP6", "ketnet", "--detail", "hashes", "--tape", tape)
	for _, want := range []string{
		"ketwatch.sys 1.2.0.0  loaded, same code as on disk", `loaded as  \??\C:\Program Files\Ket Watch\ketwatch.sys`,
		"service    KetWatch: file system driver, start demand, running",
		`image path \??\C:\Program Files\Ket Watch\ketwatch.sys (dos_device)`, "after FltMgr",
		"altitude 385250.5", "attached 2 times",
		"service    tcpip6: kernel driver, start demand, stopped", "device     PCI\\VEN_1234&DEV_5678",
		"package    oem7.inf", "authentihash",
		"seen by    system_modules, service_manager, services_registry, setupapi, driver_store",
	} {
		if !strings.Contains(card, want) {
			t.Errorf("no %q in\n%s", want, card)
		}
	}
}
