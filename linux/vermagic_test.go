// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// moduleFor is a module file with entries; machine is ELF's number of the processor, 0 for that of the others.
func moduleFor(machine uint16, versions bool, entries ...string) string {
	m := linuxtest.ModuleOf(binary.LittleEndian, true, entries...)
	if versions {
		m.Sections = append(m.Sections, linuxtest.Section{Name: "__versions", Kind: 1, Data: make([]byte, 64)})
	}
	b := m.Bytes()
	if machine != 0 {
		binary.LittleEndian.PutUint16(b[18:], machine)
	}
	return string(b)
}

// TestVersionMagic holds the rules of the kernel's check_modinfo and same_magic.
func TestVersionMagic(t *testing.T) {
	own := func(name string) string { return moduleFor(0, false, linuxtest.EntriesOf("6", name)...) }
	magic := func(text string) []string { return []string{"license=GPL", "name=lone", "vermagic=" + text} }
	const same, flags, force = "6 SMP mod_unload ", "6 SMP preempt mod_unload ", "CONFIG_MODULE_FORCE_LOAD=y\n"
	for _, tt := range []struct {
		name   string
		file   string
		config string
		want   string // the outcome, and whether insmod is blocked
		code   string // of the deciding reason
	}{
		{"the kernel's own", moduleFor(0, false, magic(same)...), "", "loadable no", ReasonOnDisk},
		{"another release", moduleFor(0, false, magic("5.9 SMP mod_unload ")...), "", "blocked yes", ReasonVermagic},
		{"another release, with __versions", moduleFor(0, true, magic("5.9 SMP mod_unload ")...),
			"CONFIG_MODVERSIONS=y\n", "loadable no", ReasonOnDisk},
		{"another release, with __versions that the kernel does not know", moduleFor(0, true,
			magic("5.9 SMP mod_unload ")...), "", "blocked yes", ReasonVermagic},
		{"other flags", moduleFor(0, false, magic(flags)...), "", "blocked yes", ReasonVermagic},
		{"other flags, with __versions", moduleFor(0, true, magic(flags)...), "CONFIG_MODVERSIONS=y\n", "blocked yes",
			ReasonVermagic},
		{"none", moduleFor(0, false, "license=GPL", "name=lone"), "", "blocked yes", ReasonVermagic},
		{"none, and root may force it", moduleFor(0, false, "license=GPL", "name=lone"), force, "loadable no",
			ReasonOnDisk},
		{"another processor", moduleFor(183, false, magic(same)...), "", "blocked yes", ReasonMachine},
		{"no module", "nonsense", "", "loadable no", ReasonOnDisk}, // not known: never blocked for that
	} {
		files := map[string]string{"lib/modules/6/kernel/lone.ko": tt.file, "lib/modules/6/kernel/hid.ko": own("hid"),
			"lib/modules/6/kernel/net.ko": own("net"), "boot/config-6": "CONFIG_MODULES=y\n" + tt.config}
		v := checkOf(t, imageOf(files), "lone")
		got := string(v.NextBoot.Outcome) + " " + string(wayOf(v, WayInsmod).Blocked)
		if got != tt.want || v.Reasons[0].Code != tt.code {
			t.Errorf("%s: %s, want %s by %s: %+v", tt.name, got, tt.want, tt.code, v.Reasons)
		}
		forced := slices.ContainsFunc(v.Bypasses, func(r fact.Reason) bool { return r.Code == ReasonForce })
		if forced != (tt.code == ReasonVermagic && tt.config == force) {
			t.Errorf("%s: a bypass by force: %v", tt.name, forced)
		}
	}
}

// TestKernelName: module_blacklist= goes by the name in the file, modprobe's own lines by the file's name.
func TestKernelName(t *testing.T) {
	base := map[string]string{
		"lib/modules/6/modules.dep":            "updates/gpu-current.ko:\nkernel/hid.ko:\n",
		"lib/modules/6/modules.alias":          "",
		"lib/modules/6/updates/gpu-current.ko": moduleFor(0, false, linuxtest.EntriesOf("6", "gpu")...),
	}
	const entry = "boot/loader/entries/a.conf"
	for _, tt := range []struct {
		files map[string]string
		query string
		want  string
	}{
		{nil, "gpu-current", "loadable"}, {nil, "gpu", "loadable"},
		{map[string]string{entry: "version 6\noptions module_blacklist=gpu_current\n"}, "gpu-current", "loadable"},
		{map[string]string{entry: "version 6\noptions module_blacklist=gpu\n"}, "gpu-current", "blocked"},
		{map[string]string{entry: "version 6\noptions module_blacklist=gpu\n"}, "gpu", "blocked"},
		{map[string]string{"etc/modprobe.d/a.conf": "install gpu /bin/false\n"}, "gpu-current", "loadable"},
		{map[string]string{"etc/modprobe.d/a.conf": "install gpu-current /bin/false\n"}, "gpu", "blocked"},
	} {
		files := maps.Clone(base)
		maps.Copy(files, tt.files)
		v := checkOf(t, imageOf(files), tt.query)
		if string(v.NextBoot.Outcome) != tt.want || v.Module != "gpu_current" {
			t.Errorf("%s with %v: %s of %q, want %s", tt.query, tt.files, outcomes(v), v.Module, tt.want)
		}
		for _, r := range v.Remedies {
			if word, ok := strings.CutPrefix(r.Text, "module_blacklist="); ok && !strings.HasPrefix(word, "gpu ") {
				t.Errorf("%s: %s", tt.query, r.Text)
			}
		}
	}
}

// TestJoinByKernelName: a loaded module is joined with the file that holds its name, whatever the file is called.
func TestJoinByKernelName(t *testing.T) {
	root := imageOf(map[string]string{"lib/modules/6/modules.dep": "kernel/hid.ko:\nupdates/gpu-current.ko:\n",
		"lib/modules/6/updates/gpu-current.ko": moduleFor(0, false, linuxtest.EntriesOf("6", "gpu", "version=9")...)})
	k := Open(machineOf(root), fact.Options{Kernel: "6"})
	dir, err := modprobe.FindRelease(root, "6")
	if err != nil {
		t.Fatal(err)
	}
	d := k.describer(modprobe.OpenTree(root, dir, false), fact.DetailFiles, nil)
	for name, want := range map[string]string{"gpu": "updates/gpu-current.ko", "gpu_current": "", "other": ""} {
		if got := d.fileOfKernelName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
