// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
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
			"CONFIG_MODVERSIONS=y\n", "unknown ", ReasonSymbolVersion}, // nobody knows the kernel's checksums
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

// TestKernelName: module_blacklist= uses the name in the file, modprobe's own lines use the file's name.
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
	d := k.describer(t.Context(), modprobe.OpenTree(root, dir, false), fact.DetailFiles, nil)
	for name, want := range map[string]string{"gpu": "updates/gpu-current.ko", "gpu_current": "", "other": ""} {
		if got := d.fileOfKernelName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// versionedModule is a module's file with a table of symbol versions, as pairs of a symbol and its checksum.
func versionedModule(release, name string, versions ...string) string {
	m := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf(release, name)...)
	if len(versions) > 0 {
		var table []byte
		for _, v := range versions {
			entry := make([]byte, 64)
			symbol, crc, _ := strings.Cut(v, " ")
			n, _ := strconv.ParseUint(crc, 0, 32)
			binary.LittleEndian.PutUint64(entry, n)
			copy(entry[8:], symbol)
			table = append(table, entry...)
		}
		m.Sections = append(m.Sections, linuxtest.Section{Name: "__versions", Kind: 1, Data: table})
	}
	return string(m.Bytes())
}

// TestSymbolVersions: the kernel refuses a file that was built for other symbols (check_version); what it has is known
// from its list, or from its own modules.
func TestSymbolVersions(t *testing.T) {
	const layout, printk = "module_layout 0x11", "printk 0x22"
	const symvers = "0x00000011\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\n0x00000022\tprintk\tvmlinux\tEXPORT_SYMBOL\n"
	const list, boot = "lib/modules/6/build/Module.symvers", "boot/symvers-6.gz"
	with, forced := "CONFIG_MODVERSIONS=y\n# CONFIG_MODULE_FORCE_LOAD is not set\n", "CONFIG_MODVERSIONS=y\n"+
		"CONFIG_MODULE_FORCE_LOAD=y\n"
	for _, tt := range []struct {
		name   string
		file   string
		config string
		more   map[string]string
		want   string // the outcome
	}{
		{"all fit", versionedModule("6", "odd", layout, printk), with, map[string]string{list: symvers}, "loadable"},
		{"the layout differs", versionedModule("6", "odd", "module_layout 0x12", printk), with, nil, "blocked"},
		{"a symbol differs", versionedModule("6", "odd", layout, "printk 0x23"), with,
			map[string]string{list: symvers}, "blocked"},
		{"a symbol differs, by a packed list", versionedModule("6", "odd", layout, "printk 0x23"), with,
			map[string]string{boot: string(linuxtest.Gzip([]byte(symvers)))}, "blocked"},
		{"a symbol that is not known, of this release", versionedModule("6", "odd", layout, "x 0x1"), with, nil,
			"loadable"},
		{"a symbol that is not known, of another", versionedModule("5", "odd", layout, "x 0x1"), with, nil, "unknown"},
		{"all fit, of another release", versionedModule("5", "odd", layout, printk), with,
			map[string]string{list: symvers}, "loadable"},
		{"a symbol differs, of another release", versionedModule("5", "odd", layout, "printk 0x1"), with,
			map[string]string{list: symvers}, "blocked"},
		{"a list that is invalid", versionedModule("5", "odd", layout, printk), with,
			map[string]string{list: "\x00\n\t\t\n0x1\tprintk\n"}, "unknown"},
		{"a list that is cut off", versionedModule("5", "odd", layout, printk), with,
			map[string]string{boot: string(linuxtest.Gzip([]byte(symvers))[:30])}, "unknown"},
		{"no table", versionedModule("6", "odd"), with, nil, "blocked"},
		{"no table, and the kernel takes it", versionedModule("6", "odd"), forced, nil, "loadable"},
		{"a kernel without versions", versionedModule("6", "odd", "module_layout 0x12"), "", nil, "loadable"},
	} {
		files := map[string]string{"lib/modules/6/modules.dep": "updates/odd.ko:\nkernel/hid.ko:\nkernel/net.ko:\n",
			"lib/modules/6/modules.alias": "", "lib/modules/6/updates/odd.ko": tt.file,
			"lib/modules/6/kernel/hid.ko": versionedModule("6", "hid", layout),
			"lib/modules/6/kernel/net.ko": versionedModule("6", "net", layout),
			"boot/config-6":               "CONFIG_MODULES=y\n# CONFIG_MODULE_SIG is not set\n" + tt.config}
		maps.Copy(files, tt.more)
		v := checkOf(t, imageOf(files), "odd")
		if string(v.NextBoot.Outcome) != tt.want {
			t.Errorf("%s: %s, want %s: %+v", tt.name, outcomes(v), tt.want, v.Reasons)
		}
	}
}

// doctoredModule is a module's file whose code has another name than its metadata.
func doctoredModule(name, inCode string) string {
	m := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", name)...)
	this := make([]byte, 200)
	copy(this[24:], inCode)
	m.Sections = append(m.Sections, linuxtest.Section{Name: ".gnu.linkonce.this_module", Kind: 1, Data: this})
	return string(m.Bytes())
}

// TestNamesDiffer: a file with two names is a finding; the kernel lists it by the one in the code, and
// module_blacklist= uses the other.
func TestNamesDiffer(t *testing.T) {
	files := imageOf(map[string]string{"lib/modules/6/modules.dep": "updates/odd.ko:\nupdates/even.ko:\n",
		"lib/modules/6/modules.alias": "", "lib/modules/6/updates/odd.ko": doctoredModule("odd", "strange"),
		"lib/modules/6/updates/even.ko": doctoredModule("even", "even"), "lib/modules/6/modules.builtin": ""})
	found, err := Open(machineOf(files), fact.Options{Image: true}).FileDiscrepancies(t.Context(), new(fact.Report))
	found = slices.DeleteFunc(found, func(d fact.Discrepancy) bool { return d.Kind != KindNamesDiffer })
	if err != nil || len(found) != 1 || found[0].Name != "strange" || found[0].Evidence[0].Value != "odd" {
		t.Errorf("%+v, %v", found, err)
	}
	files[ModulesFile] = linuxtest.File("strange 16384 0 - Live 0x0\n")
	files["proc/cmdline"] = linuxtest.File("module_blacklist=strange\n")
	m := machineOf(files)
	m.calls[OpUname] = "release 6\n"
	for query, want := range map[string]fact.VerdictOutcome{"odd": fact.VerdictLoaded, "even": fact.VerdictLoadable} {
		verdicts, err := Open(m, fact.Options{}).Check(t.Context(), query, new(fact.Report))
		if err != nil || len(verdicts) != 1 || verdicts[0].Now.Outcome != want {
			t.Errorf("%s: %+v, %v", query, verdicts, err)
		}
	}
}

// TestModversionsOfVermagic: where the kernel's configuration is not known, the version magic of its own modules says
// whether it has symbol versions.
func TestModversionsOfVermagic(t *testing.T) {
	magic := func(release, name, more string) string {
		entries := []string{"license=GPL", "name=" + name, "vermagic=" + release + " SMP mod_unload " + more}
		return moduleFor(0, true, entries...)
	}
	for word, want := range map[string]fact.Tri{"": fact.Yes, "modversions ": ""} {
		v := checkOf(t, imageOf(map[string]string{"boot/config-6": "-",
			"lib/modules/6/kernel/lone.ko": magic("5", "lone", word),
			"lib/modules/6/kernel/hid.ko":  magic("6", "hid", word),
			"lib/modules/6/kernel/net.ko":  magic("6", "net", word)}), "lone")
		if got := wayOf(v, WayInsmod).Blocked; got != want || want == fact.Yes && v.Reasons[0].Code != ReasonVermagic {
			t.Errorf("%q: %q, want %q: %+v", word, got, want, v.Reasons)
		}
	}
}
