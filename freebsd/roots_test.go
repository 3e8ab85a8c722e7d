// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// A rootDisk is a machine that is files alone.
type rootDisk struct{ fstest.MapFS }

func (rootDisk) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// packed compresses a file as gzip(1) does.
func packed(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// freebsdRoot is a root of that release with the klds a (which needs b), b, c (with a device), d.gz (compressed, needs
// b) and, in /boot/modules, a second c. text are further files; an empty one removes.
func freebsdRoot(release int32, text map[string]string) fstest.MapFS {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	built := kotest.Depend{Name: "kernel", Min: release, Preferred: release, Max: release/100000*100000 + 99999}
	k := func(name string, needs ...string) kotest.KLD {
		k := kotest.AMD64()
		k.Modules, k.Versions = []kotest.Module{{Record: name, Name: name}}, []kotest.Version{{Name: name, Version: 1}}
		k.Depends = []kotest.Depend{built}
		for _, n := range needs {
			k.Depends = append(k.Depends, kotest.Depend{Name: n, Min: 1, Preferred: 1, Max: 1})
		}
		return k
	}
	kernel := kotest.KLD{Type: elf.ET_EXEC, Machine: elf.EM_X86_64, Class: elf.ELFCLASS64, Order: kotest.AMD64().Order}
	kernel.Versions = []kotest.Version{{Name: "kernel", Version: release}, {Name: "firmware", Version: 1}}
	kernel.Modules = []kotest.Module{{Record: "in", Name: "pci/in"}}
	c := k("c")
	c.PNP = []kotest.PNP{{Bus: "pci", Descr: "U32:vendor;U32:device;", EntryLen: 8,
		Rows: []byte{0x86, 0x80, 0, 0, 0xd3, 0x10, 0, 0}, Num: 1}}
	root := fstest.MapFS{
		"boot/kernel/kernel": file(kernel.Bytes()), "boot/kernel/a.ko": file(k("a", "b").Bytes()),
		"boot/kernel/b.ko": file(k("b").Bytes()), "boot/kernel/c.ko": file(c.Bytes()),
		"boot/kernel/d.ko.gz": file(packed(k("d", "b").Bytes())), "boot/kernel/if_c.ko": file(k("if_c").Bytes()),
		"boot/kernel/c_saver.ko": file(k("c_saver").Bytes()), "boot/modules/c.ko": file(k("c").Bytes()),
		"opt/e.ko": file(k("e").Bytes()), "boot/kernel.old/kernel": file(kernel.Bytes()),
		"boot/kernel.old/f.ko": file(k("f").Bytes()), "etc/rc.d/kld": file(nil),
		"etc/defaults/rc.conf": file([]byte("kld_list=\"\"\nkern_securelevel_enable=\"NO\"\n")),
	}
	if release >= 1200000 {
		root["boot/lua/loader.lua"] = file(nil)
		root["etc/rc.d/devmatch"] = file(nil)
		root["etc/defaults/rc.conf"].Data = append(root["etc/defaults/rc.conf"].Data, "devmatch_enable=\"YES\"\n"...)
	} else {
		root["boot/support.4th"] = file(nil)
	}
	for name, t := range text {
		if root[name] = file([]byte(t)); t == "" {
			delete(root, name)
		}
	}
	return root
}

// secure raises the securelevel, so that the way kldload is closed and only the boot's own ways are left.
const secure = "kern_securelevel_enable=\"YES\"\nkern_securelevel=\"1\"\n"

// script is a script of rc(8) called s.
const script = "#!/bin/sh\n. /etc/rc.subr\nname=\"s\"\nrcvar=\"s_enable\"\n"

// dloaderMenu is what matters of a menu of DragonFly's dloader(8).
const dloaderMenu = "# Default menu\nmenuclear\ncd ${base}\na_load=\"YES\"\nmenuitem 1 \"Boot\"\nmenuadd optinclude " +
	"loader.conf\nmenuadd lunsetif a_load hint.a.0.disabled\nmenuadd loadall\nmenuadd boot\n"

// rootWriters return the files of a root: with text in loader.conf, in rc.conf, with another file, with a script of
// rc(8). The securelevel is raised.
func rootWriters() (
	conf, rc func(text string) map[string]string,
	with func(base map[string]string, name, text string) map[string]string,
	service func(body, rcConf string) map[string]string,
) {
	type files = map[string]string
	conf = func(text string) files { return files{"boot/loader.conf": text, "etc/rc.conf": secure} }
	rc = func(text string) files { return files{"etc/rc.conf": secure + text} }
	with = func(base files, name, text string) files { base[name] = text; return base }
	service = func(body, rcConf string) files { return with(rc(rcConf), "etc/rc.d/s", script+body) }
	return conf, rc, with, service
}

// The outcomes of roots.
const loadable, blocked, unknown = fact.VerdictLoadable, fact.VerdictBlocked, fact.VerdictUnknown

// TestRootsOfLoader judges what the boot loader of a root loads: the ways that are open, with "?" those that are not
// known, and the outcome, each by the rule that source names.
func TestRootsOfLoader(t *testing.T) {
	type files = map[string]string
	conf, rc, with, _ := rootWriters()
	checkRoots(t, []rootCase{
		// The boot loader.
		{"nothing", 1402000, conf(""), "a", "", blocked, "security(7): no kld is loaded at securelevel 1"},
		{"no level", 1402000, files{}, "a", "kldload", loadable, "kldload(8)"},
		{"load", 1402000, conf("a_load=\"YES\"\n"), "a", "loader", loadable, "loader.conf(5): MODULE_load"},
		{"load in Forth", 1003000, conf("a_load=\"YES\"\n"), "a", "loader", loadable, "loader.conf(5) of 10"},
		{"lower case", 1402000, conf("a_load=\"yes\"\n"), "a", "loader", loadable,
			"stand/lua/config.lua: lower() == yes"},
		{"blanks", 1402000, conf("a_load = \"YES\" # now\n"), "a", "loader", loadable,
			"stand/lua/config.lua: patterns"},
		{"no quotes", 1402000, conf("a_load=YES\n"), "a", "loader", loadable, "stand/lua/config.lua: one word"},
		{"off", 1402000, conf("a_load=\"NO\"\n"), "a", "", blocked, "loader.conf(5)"},
		{"last wins", 1402000, conf("a_load=\"YES\"\na_load=\"NO\"\n"), "a", "", blocked,
			"stand/lua/config.lua: setKey"},
		{"local file wins", 1402000, with(conf("a_load=\"YES\"\n"), "boot/loader.conf.local", "a_load=\"NO\"\n"), "a",
			"",
			blocked, "loader.conf(5): loader.conf.local"},
		{"directory", 1402000, with(conf(""), "boot/loader.conf.d/x.conf", "a_load=\"YES\"\n"), "a", "loader", loadable,
			"loader.conf(5): loader_conf_dirs"},
		{"directory, other name", 1402000, with(conf(""), "boot/loader.conf.d/x.off", "a_load=\"YES\"\n"), "a", "",
			blocked,
			"stand/lua/config.lua: ^(.+)%.conf$"},
		{"listed file", 1402000, with(conf("loader_conf_files=\"/boot/loader.conf /boot/mine\"\n"), "boot/mine",
			"a_load=\"YES\"\n"), "a", "loader", loadable, "loader.conf(5): loader_conf_files"},
		{"defaults", 1402000, with(conf(""), "boot/defaults/loader.conf",
			"loader_conf_files=\"/boot/other.conf\"\na_load=\"YES\"\n"), "a", "loader", loadable,
			"loader.conf(5): defaults"},
		{"directory of no default", 1204000, with(with(conf(""), "boot/loader.conf.d/x.conf", "a_load=\"YES\"\n"),
			"boot/defaults/loader.conf", "loader_conf_files=\"/boot/device.hints /boot/loader.conf\"\n"), "a", "",
			blocked, "stand/defaults/loader.conf of 12 has no loader_conf_dirs"},
		{"local file of no default", 1402000, with(with(conf(""), "boot/loader.conf.local", "a_load=\"YES\"\n"),
			"boot/defaults/loader.conf", "loader_conf_files=\"/boot/loader.conf\"\n"), "a", "",
			blocked, "stand/lua/config.lua: local_loader_conf_files"},
		{"nextboot", 1402000, with(conf(""), "boot/nextboot.conf", "nextboot_enable=\"YES\"\na_load=\"YES\"\n"), "a",
			"loader", loadable, "nextboot(8)"},
		{"nextboot off", 1402000, with(conf(""), "boot/nextboot.conf", "nextboot_enable=\"NO\"\na_load=\"YES\"\n"), "a",
			"",
			blocked, "stand/lua/config.lua: checkNextboot"},
		{"nextboot, no word", 1402000, with(conf(""), "boot/nextboot.conf", "a_load=\"YES\"\n"), "a", "loader",
			loadable,
			"stand/lua/config.lua: checkNextboot"},
		{"nextboot, no word, Forth", 1003000, with(conf(""), "boot/nextboot.conf", "a_load=\"YES\"\n"), "a", "",
			blocked,
			"stand/forth/support.4th: nextboot_enable"},
		{"name", 1402000, conf("x_load=\"YES\"\nx_name=\"a\"\n"), "a", "loader", loadable,
			"loader.conf(5): MODULE_name"},
		{"name of another", 1402000, conf("a_load=\"YES\"\na_name=\"b\"\n"), "a", "", blocked,
			"loader.conf(5): MODULE_name"},
		{"path", 1402000, conf("x_load=\"YES\"\nx_name=\"/opt/e.ko\"\n"), "/opt/e.ko", "loader", loadable,
			"stand/common/module.c: an unchanged path"},
		{"path of a second file", 1402000, conf("c_load=\"YES\"\nc_name=\"/boot/modules/c.ko\"\n"),
			"/boot/modules/c.ko",
			"loader", loadable, "stand/common/module.c: file_search"},
		{"type of data", 1402000, conf("a_load=\"YES\"\na_type=\"md_image\"\n"), "a", "", blocked,
			"loader.conf(5): MODULE_type"},
		{"blacklist", 1402000, conf("a_load=\"YES\"\nmodule_blacklist=\"x, a\"\n"), "a", "", blocked,
			"loader.conf(5): module_blacklist"},
		{"blacklist in Forth", 1003000, conf("a_load=\"YES\"\nmodule_blacklist=\"a\"\n"), "a", "loader", loadable,
			"stand/forth/support.4th has none"},
		{"blacklist of what is needed", 1402000, conf("a_load=\"YES\"\nmodule_blacklist=\"b\"\n"), "b", "dependency",
			loadable,
			"stand/common/module.c: file_load_dependencies"},
		{"dependency", 1402000, conf("a_load=\"YES\"\n"), "b", "dependency", loadable, "stand/common/module.c"},
		{"dependency of what is off", 1402000, conf("a_load=\"NO\"\n"), "b", "", blocked, "stand/common/module.c"},
		{"compressed", 1402000, conf("d_load=\"YES\"\n"), "d", "loader", loadable, "stand/libsa/gzipfs.c: zf_open"},
		{"compressed, by rc", 1402000, rc("kld_list=\"d\"\n"), "d", "", blocked,
			"sys/kern/kern_linker.c reads plain files"},
		{"compressed, no level", 1402000, files{}, "d", "", blocked, "sys/kern/kern_linker.c reads plain files"},
		{"needed by a compressed one", 1402000, conf("d_load=\"YES\"\n"), "b", "dependency", loadable,
			"stand/common/module.c"},
		{"command", 1402000, conf("exec=\"load /boot/kernel/a.ko\"\n"), "a", "?loader", unknown,
			"loader.conf(5): exec"},
		{"harmless command", 1402000, conf("exec=\".( hello )\"\n"), "a", "", blocked, "loader.conf(5): exec"},
		{"command before", 1402000, conf("b_load=\"YES\"\nb_before=\"load a\"\n"), "a", "?loader", unknown,
			"loader.conf(5): MODULE_before"},
		{"other kernel", 1402000, conf("kernel=\"kernel.old\"\nf_load=\"YES\"\n"), "f", "loader", loadable,
			"loader.conf(5): kernel"},
		{"not of this kernel", 1402000, conf("f_load=\"YES\"\n"), "f", "", fact.VerdictAbsent,
			"loader.conf(5): module_path"},
		{"module path", 1402000, conf("module_path=\"/boot/modules;/opt\"\ne_load=\"YES\"\n"), "e", "loader", loadable,
			"loader.conf(5): module_path"},
		{"local.lua", 1402000, with(conf(""), "boot/lua/local.lua", "-- mine\n\nloader.perform(x)\n"), "a", "?loader",
			unknown, "stand/lua/loader.lua: try_include(\"local\")"},
		{"local.lua, comments", 1402000, with(conf(""), "boot/lua/local.lua", "-- mine\n\n"), "a", "", blocked,
			"stand/lua/loader.lua: try_include(\"local\")"},
		{"either loader", 1003000, with(conf(""), "boot/lua/local.lua", "loader.perform(x)\n"), "a", "?loader", unknown,
			"loader(8): /boot/loader may be loader_4th or loader_lua"},
		{"a file anywhere", 1402000, with(conf(""), "boot/lua/local.lua", "loader.perform(x)\n"), "nothing", "",
			unknown, "loader(8): load takes a path"},
		{"Lua that loads", 1402000, with(conf(""), "boot/lua/loader.lua", "loader.perform(\"load a\")\n"), "a",
			"?loader", unknown, "loader(8): load"},
		{"Lua that sets", 1402000, with(conf(""), "boot/lua/core.lua", "loader.setenv(\"acpi_load\", \"YES\")\n"+
			"loader.perform(\"load \" .. k)\nsetEnv(k .. \"_load\", v)\n"), "a", "", blocked,
			"stand/lua/core.lua, config.lua"},
		{"Lua that sets another", 1402000, with(conf(""), "boot/lua/core.lua",
			"loader.setenv(\"a_load\", \"YES\")\n"), "a", "?loader", unknown, "stand/lua/config.lua: setEnv"},
		{"settings in Lua", 1402000, with(conf("loader_conf_files=\"/boot/loader.conf /boot/x.lua\"\n"), "boot/x.lua",
			"a_load = \"YES\"\n"), "a", "?loader", unknown, "loader.conf.lua(5)"},
		{"product", 1402000, with(conf("product_vars=\"p\"\np=\"box\"\n"), "boot/loader.conf.d/box/x.conf",
			"a_load=\"YES\"\n"), "a", "loader", loadable, "stand/lua/config.lua: product_vars"},
		{"other product", 1402000, with(conf("product_vars=\"p\"\np=\"pc\"\n"), "boot/loader.conf.d/box/x.conf",
			"a_load=\"YES\"\n"), "a", "", blocked, "stand/lua/config.lua: product_vars"},
		{"product of the firmware", 1402000, with(conf("product_vars=\"smbios.system.product\"\n"),
			"boot/loader.conf.d/box/x.conf", "a_load=\"YES\"\n"), "a", "?loader", unknown, "smbios(8) of loader"},
		{"no products", 1402000, conf("product_vars=\"smbios.system.product\"\n"), "a", "", blocked,
			"stand/lua/config.lua: MSG_FAILDIR"},
		{"loader.rc", 1003000, with(conf(""), "boot/loader.rc",
			"\\ x\ninclude /boot/loader.4th\ntry-include /boot/loader.rc.local\n\nstart\ncheck-password\n"), "a", "",
			blocked, "stand/forth/loader.rc"},
		{"loader.rc, load", 1003000, with(conf(""), "boot/loader.rc",
			"include /boot/loader.4th\nstart\nload /boot/kernel/a.ko\n"), "a", "?loader", unknown, "loader(8): load"},
		{"loader.rc, other word", 1003000, with(conf(""), "boot/loader.rc", "include /boot/loader.4th\nmine\n"), "a",
			"?loader", unknown, "loader.4th(8)"},
		{"loader.rc, other file", 1003000, with(conf(""), "boot/loader.rc", "include /opt/mine.4th\nstart\n"), "a",
			"?loader", unknown, "loader(8): include"},
		{"loader.rc.local", 1003000, with(conf(""), "boot/loader.rc.local", "\\ x\nset a=1\n"), "a", "?loader", unknown,
			"stand/forth/loader.rc"},
		{"loader.rc with Lua", 1402000, with(conf(""), "boot/loader.rc", "load a\n"), "a", "", blocked,
			"stand/common/interp_lua.c"},
		{"loader.4th", 1003000, with(conf(""), "boot/loader.4th",
			": acpi_enable ( -- )\n  s\" set acpi_load=YES\" evaluate\n;\n: load_module\n  load_parameters load\n;\n"),
			"a", "", blocked, "stand/forth/menu-commands.4th, support.4th"},
		{"loader.4th, load", 1003000, with(conf(""), "boot/loader.4th", ": start\n  s\" load a\" evaluate\n;\n"), "a",
			"?loader", unknown, "loader.4th(8)"},
		{"loader.4th, help", 1003000, with(conf("exec=\".( Loading /boot/loader.conf ) cr\"\n"), "boot/loader.4th",
			": .? 2 spaces 2swap 15 #type 2 spaces type cr ;\n: ?\n"+
				"  s\" boot-conf\" s\" load kernel and modules, then autoboot\" .?\n;\n"+
				": try-include ( -- ) \\ see loader.4th(8)\n"+
				"  ['] include ( -- xt ) \\ get the execution token of `include'\n;\n"), "a", "", blocked,
			"stand/forth/loader.4th"},
		{"loader.4th, other help", 1003000, with(conf(""), "boot/loader.4th",
			": .? evaluate ;\n  s\" x\" s\" load a\" .?\n"), "a", "?loader", unknown, "loader.4th(8)"},
		{"loader.4th, a comment in a string", 1003000, with(conf(""), "boot/loader.4th",
			": x s\" load a ( \" evaluate \" )\" ;\n"), "a", "?loader", unknown, "loader.4th(8)"},
		{"exec that prints", 1402000, conf("exec=\"echo Loading /boot/defaults/loader.conf\"\n"), "a", "", blocked,
			"stand/defaults/loader.conf"},
		{"exec that prints and runs", 1402000, conf("exec=\"echo x; load a\"\n"), "a", "?loader", unknown,
			"loader.conf(5): exec"},
		{"Lua in a directory", 1402000, with(conf(""), "boot/loader.conf.d/x.lua", "a_load = \"YES\"\n"), "a",
			"?loader", unknown, "stand/defaults/loader.conf: loader_conf_dirs"},
		{"exec, printed and run", 1003000, conf("exec=\".( x ) load a ( ) cr\"\n"), "a", "?loader", unknown,
			"loader.conf(5): exec"},
		{"loader.4th, set", 1003000, with(conf(""), "boot/mine.4th", "s\" set a_load=YES\" evaluate\n"), "a",
			"?loader", unknown, "loader.4th(8)"},
		{"dloader", 600400, with(conf(""), "boot/dloader.menu", dloaderMenu), "a", "?loader", unknown,
			"DragonFly: stand/boot/dloader/dloader.menu, cmds.c: loadall"},
		{"dloader, other kld", 600400, with(conf(""), "boot/dloader.menu", dloaderMenu), "b", "?dependency", unknown,
			"DragonFly: stand/boot/dloader/cmds.c: loadall"},
		{"dloader, not named", 600400, with(conf(""), "boot/dloader.menu", dloaderMenu), "if_c", "", blocked,
			"DragonFly: stand/boot/dloader/cmds.c: loadall"},
		{"dloader, load", 600400, with(conf(""), "boot/dloader.rc", "include dloader.menu\nload /x.ko\n"), "if_c",
			"?loader", unknown, "DragonFly: loader(8): load"},
		{"dloader, other file", 600400, with(conf(""), "boot/dloader.rc", "include /mine\n"), "if_c", "?loader",
			unknown, "DragonFly: loader(8): include"},
		{"firmware", 1402000, with(conf(""), "boot/kernel/x_fw.ko", string(firmwareKLD("x_fw"))), "x_fw",
			"?dependency", unknown, "firmware(9): firmware_get loads a kld by the image's name"},
		{"driver with firmware", 1402000, with(conf(""), "boot/kernel/if_x.ko", string(firmwareKLD("pci/x"))), "if_x",
			"", blocked, "firmware(9)"},
		{"firmware, no level", 1402000, files{"boot/kernel/x_fw.ko": string(firmwareKLD("x_fw"))}, "x_fw",
			"dependency kldload", loadable, "kldload(8)"},
		{"compiled in", 1402000, conf(""), "in", "", fact.VerdictBuiltin, "kldstat(8)"},
	})
}

// A rootCase is a root with what its next boot loads.
type rootCase struct {
	name    string
	release int32
	files   map[string]string
	query   string
	ways    string
	outcome fact.VerdictOutcome
	source  string
}

// checkRoots judges each root, and what a recording has of it.
func checkRoots(t *testing.T, list []rootCase) {
	t.Helper()
	for _, c := range list {
		for _, release := range sameRule(c.release) {
			k := Open(rootDisk{freebsdRoot(release, c.files)}, fact.Options{OS: fact.FreeBSD, Image: true})
			verdicts, err := k.Check(t.Context(), c.query, new(fact.Report))
			if err != nil || len(verdicts) == 0 {
				t.Errorf("%s of %d: %v", c.name, release, err)
				continue
			}
			v := verdicts[0]
			if got := waysOf(&v); got != c.ways || v.NextBoot.Outcome != c.outcome {
				t.Errorf("%s of %d (%s): %s by %q, want %s by %q\n%+v", c.name, release, c.source,
					v.NextBoot.Outcome, got, c.outcome, c.ways, v)
			}
			checkRemedies(t, c.name, &v)
			checkRecording(t, c.name, k.machine.(rootDisk).MapFS, c.query, &v)
		}
	}
}

// sameRule returns the releases in which a row of the table holds: a rule of FreeBSD 14 is one of 12 to 15, where the
// boot loader is the one in Lua and rc.subr(8) has load_kld.
func sameRule(release int32) []int32 {
	if release == 1402000 {
		return []int32{1200086, 1302001, release, 1500068}
	}
	return []int32{release}
}

// checkRecording judges the root as a recording would have it, without what Redact takes out: the outcome is the same,
// or unknown.
func checkRecording(t *testing.T, name string, root fstest.MapFS, query string, v *fact.Verdict) {
	t.Helper()
	recorded := fstest.MapFS{}
	for path, f := range root {
		recorded[path] = &fstest.MapFile{Data: f.Data}
		if Redacts(path) {
			recorded[path].Data = Redact(path, f.Data)
		}
	}
	k := Open(rootDisk{recorded}, fact.Options{OS: fact.FreeBSD, Image: true})
	got, err := k.Check(t.Context(), query, new(fact.Report))
	if err != nil || len(got) == 0 {
		t.Errorf("%s, recorded: %v", name, err)
	} else if o := got[0].NextBoot.Outcome; o != v.NextBoot.Outcome && o != fact.VerdictUnknown {
		t.Errorf("%s, recorded: %s by %q, want %s", name, o, waysOf(&got[0]), v.NextBoot.Outcome)
	}
}

// plainKLD is a kld of that name that needs nothing.
func plainKLD(name string) []byte {
	k := kotest.AMD64()
	k.Modules = []kotest.Module{{Record: name, Name: name}}
	return k.Bytes()
}

// firmwareKLD is a kld with a module of that name that needs firmware(9), which is compiled into the kernel.
func firmwareKLD(name string) []byte {
	k := kotest.AMD64()
	k.Modules = []kotest.Module{{Record: name, Name: name}}
	k.Depends = []kotest.Depend{{Name: "firmware", Min: 1, Preferred: 1, Max: 1}}
	return k.Bytes()
}

// otherRelease is a kld that was built for FreeBSD 11 alone.
func otherRelease() []byte {
	k := kotest.AMD64()
	k.Modules = []kotest.Module{{Record: "a", Name: "a"}}
	k.Depends = []kotest.Depend{{Name: "kernel", Min: 1103000, Preferred: 1103000, Max: 1199999}}
	return k.Bytes()
}

// waysOf returns the ways that are open, and with "?" those that are not known.
func waysOf(v *fact.Verdict) string {
	var names []string
	for _, w := range v.NextBoot.Ways {
		switch w.Blocked {
		case fact.No:
			names = append(names, w.Way)
		case "":
			names = append(names, "?"+w.Way)
		}
	}
	return strings.Join(names, " ")
}

// checkRemedies asks of each remedy that it stops a way that is not stopped yet.
func checkRemedies(t *testing.T, name string, v *fact.Verdict) {
	t.Helper()
	open := len(strings.Fields(waysOf(v)))
	for _, r := range v.Remedies {
		if len(r.NotAgainst) >= open {
			t.Errorf("%s: %s stops nothing: ways %s", name, fmt.Sprint(r), waysOf(v))
		}
	}
}
