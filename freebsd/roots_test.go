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

// TestRoots judges what the next boot of a root loads: the ways that are open, with "?" those that are not known, and
// the outcome, each by the rule that source names.
func TestRoots(t *testing.T) {
	type files = map[string]string
	conf := func(text string) files { return files{"boot/loader.conf": text, "etc/rc.conf": secure} }
	rc := func(text string) files { return files{"etc/rc.conf": secure + text} }
	with := func(base files, name, text string) files { base[name] = text; return base }
	service := func(body, rcConf string) files { return with(rc(rcConf), "etc/rc.d/s", script+body) }
	const loadable, blocked, unknown = fact.VerdictLoadable, fact.VerdictBlocked, fact.VerdictUnknown
	const absent = fact.VerdictAbsent
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

		// rc(8).
		{"kld_list", 1402000, rc("kld_list=\"x a\"\n"), "a", "kld_list", loadable, "rc.conf(5): kld_list"},
		{"kld_list with .ko", 1402000, rc("kld_list=\"a.ko\"\n"), "a", "kld_list", loadable,
			"kern_linker.c: kern_kldload"},
		{"kld_list, path", 1402000, rc("kld_list=\"/opt/e\"\n"), "/opt/e.ko", "kld_list", loadable,
			"kern_linker.c: linker_ext_list"},
		{"kld_list, added", 1402000, rc("kld_list=\"x\"\nkld_list=\"${kld_list} a\"\n"), "a", "kld_list", loadable,
			"sh(1)"},
		{"kld_list, comma", 1402000, rc("kld_list=\"x,a\"\n"), "a", "", blocked, "sh(1) splits at blanks"},
		{"kld_list, computed", 1402000, rc("kld_list=\"$(cat /etc/klds)\"\n"), "a", "?kld_list", unknown, "sh(1)"},
		{"kld_list, condition", 1402000, rc("if [ -f /x ]; then\n\tkld_list=\"a\"\nfi\n"), "a", "?kld_list", unknown,
			"sh(1)"},
		{"kld_list, other file", 1402000, rc(". /etc/more\n"), "a", "?kld_list ?service ?kldload", unknown, "sh(1)"},
		{"kld_list, own file", 1402000, with(rc(""), "etc/rc.conf.d/kld", "kld_list=\"a\"\n"), "a", "kld_list",
			loadable,
			"rc.subr(8): load_rc_config"},
		{"kld_list, other's file", 1402000, with(rc(""), "etc/rc.conf.d/sshd", "kld_list=\"a\"\n"), "a", "", blocked,
			"rc.subr(8): load_rc_config"},
		{"kld_list, local directory", 1402000, with(rc(""), "usr/local/etc/rc.conf.d/kld/x", "kld_list=\"a\"\n"), "a",
			"kld_list", loadable, "rc.subr(8): load_rc_config"},
		{"kld_list, dependency", 1500000, rc("kld_list=\"a\"\n"), "b", "dependency", loadable,
			"kern_linker.c: linker_load_dependencies"},
		{"sysctl", 1402000, files{"etc/sysctl.conf": "kern.securelevel=2\n"}, "a", "", blocked, "sysctl.conf(5)"},
		{"sysctl, local", 1402000, files{"etc/sysctl.conf.local": "kern.securelevel=1\n"}, "a", "", blocked,
			"rc.d/sysctl"},
		{"sysctl, colon", 1402000, files{"etc/sysctl.conf": "kern.securelevel: 1\n"}, "a", "", blocked,
			"sysctl(8): parse"},
		{"sysctl, hexadecimal", 1402000, files{"etc/sysctl.conf": "kern.securelevel = \"0x2\" # x\n"}, "a", "", blocked,
			"sysctl(8): strtol"},
		{"sysctl, lower", 1402000, files{"etc/sysctl.conf": "kern.securelevel=2\nkern.securelevel=0\n"}, "a", "",
			blocked, "kern_mib.c: sysctl_kern_securelvl"},
		{"sysctl, zero", 1402000, files{"etc/sysctl.conf": "kern.securelevel=0\n#kern.securelevel=1\n"}, "a",
			"kldload", loadable, "security(7)"},
		{"sysctl, module path", 1402000, files{"etc/sysctl.conf": "kern.module_path=/boot/kernel;/opt\n"}, "e",
			"kldload", loadable, "kern_linker.c: kern.module_path"},
		{"sysctl, module path of kld_list", 1402000, with(rc("kld_list=e\n"), "etc/sysctl.conf",
			"kern.module_path=/boot/kernel;/opt\n"), "e", "kld_list", loadable, "kern_linker.c: kern.module_path"},
		{"level 0", 1402000, files{"etc/rc.conf": "kern_securelevel_enable=\"YES\"\nkern_securelevel=\"0\"\n"}, "a",
			"kldload",
			loadable, "security(7)"},
		{"level, computed", 1402000, files{"etc/rc.conf": "kern_securelevel_enable=\"YES\"\nkern_securelevel=\"$x\"\n"},
			"a",
			"?kldload", unknown, "sh(1)"},

		// Commands in rc.conf(5), which /etc/rc and each script of rc.d run.
		{"rc.conf, kldload", 1402000, rc("kldload a\n"), "a", "?service", unknown, "rc.subr(8): load_rc_config"},
		{"rc.conf, other kld", 1402000, rc("kldload if_c\n"), "a", "", blocked, "rc.subr(8): load_rc_config"},
		{"rc.conf, condition", 1402000, rc("[ -f /x ] && kldload -n a\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, load_kld", 1402000, rc("load_kld -e 'x|y' -m a a\n"), "a", "?service", unknown,
			"rc.subr(8): load_kld"},
		{"rc.conf, load_kld, other", 1402000, rc("load_kld -e 'x|y' -m a if_c\n"), "a", "", blocked,
			"rc.subr(8): load_kld"},
		{"rc.conf, in a value", 1402000, rc("x=$(kldload a)\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, after a value", 1402000, rc("x=1; /sbin/kldload \"a\" 2>/dev/null\n"), "a", "?service", unknown,
			"sh(1)"},
		{"rc.conf, tabs", 1402000, rc("command kldload\t-n\ta\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, two", 1402000, rc("kldload if_c && kldload a\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, continued", 1402000, rc("kldload \\\n a\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, from another", 1402000, rc("echo a | xargs kldload\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, in a document", 1402000, rc("sh <<EOF\nkldload a\nEOF\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, comment", 1402000, rc("# kldload a\nx=\"#\" # kldload a\n"), "a", "", blocked, "sh(1)"},
		{"rc.conf, manual", 1402000, rc("x=\"see kldload(8)\"\nkldload_x=a\n"), "a", "", blocked, "sh(1)"},
		{"rc.conf, no comment", 1402000, rc("x=\"a #b\"; kldload a\n"), "a", "?service", unknown, "sh(1)"},
		{"rc.conf, one too many", 1402000, rc("x=a kld_list=a\n"), "a", "kld_list", loadable, "sh(1)"},
		{"rc.conf.local", 1402000, with(rc(""), "etc/rc.conf.local", "kldload a\n"), "a", "?service", unknown,
			"rc.conf(5): rc_conf_files"},
		{"rc.conf.d", 1402000, with(rc(""), "etc/rc.conf.d/sshd", "kldload a\n"), "a", "?service", unknown,
			"rc.subr(8): load_rc_config"},
		{"rc.conf.d, directory", 1402000, with(rc(""), "usr/local/etc/rc.conf.d/sshd/x", "kldload a\n"), "a",
			"?service", unknown, "rc.subr(8): load_rc_config"},
		{"vendor.conf", 1402000, with(rc(""), "etc/defaults/vendor.conf", "kldload a\n"), "a", "?service", unknown,
			"defaults/rc.conf: source_rc_confs"},
		{"rc.conf, shadowed", 1402000, rc("banner=\"<< Welcome >>\"\nkld_list=\"a\"\n"), "a", "kld_list", loadable,
			"sh(1)"},
		{"rc.conf, preset", 1402000, rc("unset kld_list\n: ${kld_list:=\"vmm a\"}\n"), "a", "kld_list", loadable,
			"sh(1)"},
		{"rc.conf, setvar", 1402000, rc("setvar kld_list a\n"), "a", "?kld_list ?service ?kldload", unknown,
			"sh(1) of FreeBSD: setvar"},
		{"service, command", 1402000, service("s_start()\n{\n\tcommand kldload a\n}\n", "s_enable=\"YES\"\n"), "a",
			"service", loadable, "sh(1): command"},
		{"service, in a value", 1402000, service("s_start()\n{\n\tx=$(kldload -n a)\n}\n", "s_enable=\"YES\"\n"), "a",
			"?service", unknown, "sh(1)"},

		// devmatch(8), from FreeBSD 12 on.
		{"devmatch", 1402000, rc(""), "c", "devmatch", loadable, "devmatch(8)"},
		{"devmatch off", 1402000, rc("devmatch_enable=\"NO\"\n"), "c", "", blocked, "rc.conf(5): devmatch_enable"},
		{"devmatch blocked", 1402000, rc("devmatch_blocklist=\"x c.ko\"\n"), "c", "", blocked, "rc.d/devmatch"},
		{"devmatch, old word", 1201000, rc("devmatch_blacklist=\"c\"\n"), "c", "", blocked, "rc.d/devmatch of 12"},
		{"devmatch, computed", 1402000, rc("devmatch_blocklist=`x`\n"), "c", "?devmatch", unknown, "rc.d/devmatch"},
		{"devmatch, comma", 1402000, rc("devmatch_blocklist=\"x,c\"\n"), "c", "devmatch", loadable,
			"rc.d/devmatch splits at blanks"},
		{"no devmatch", 1103000, rc(""), "c", "", blocked, "devmatch(8) came with 12.0"},

		// Services.
		{"service", 1402000, service("required_modules=\"a\"\n", "s_enable=\"YES\"\n"), "a", "service", loadable,
			"rc.subr(8): required_modules"},
		{"service in 10", 1003000, service("required_modules=\"a\"\n", "s_enable=\"YES\"\n"), "a", "service", loadable,
			"rc.subr(8) of 10"},
		{"service off", 1402000, service("required_modules=\"a\"\n", "s_enable=\"NO\"\n"), "a", "", blocked,
			"rc.subr(8): rcvar"},
		{"service unset", 1402000, service("required_modules=\"a\"\n", ""), "a", "", blocked, "rc.subr(8): checkyesno"},
		{"service, its own default", 1402000, service(": ${s_enable:=\"YES\"}\nrequired_modules=\"a\"\n", ""), "a",
			"service",
			loadable, "sh(1)"},
		{"service, computed", 1402000, service("required_modules=\"a\"\n", "s_enable=`x`\n"), "a", "?service", unknown,
			"sh(1)"},
		{"service, module's name", 1402000, service("required_modules=\"x a:a_module b~exp\"\n", "s_enable=\"on\"\n"),
			"b",
			"service dependency", loadable, "rc.subr: *~* and *:*"},
		{"service, load_kld", 1402000,
			service("start_precmd=\"go\"\ngo()\n{\n\tload_kld -e 'a (b|c)' -m m a || return 1\n}\n",
				"s_enable=\"YES\"\n"), "a", "service", loadable, "rc.subr(8): load_kld"},
		{"service, kldload", 1402000, service("s_start()\n{\n\tkldload -nq a >/dev/null 2>&1\n}\n",
			"s_enable=\"YES\"\n"), "a",
			"service", loadable, "kldload(8)"},
		{"service, in a function", 1402000, service("other() {\n\tload_kld a\n}\n", "s_enable=\"YES\"\n"), "a",
			"?service",
			unknown, "sh(1)"},
		{"service, condition", 1402000, service("s_start() {\nif [ -c /dev/x ]; then\nload_kld a\nfi\n}\n",
			"s_enable=\"YES\"\n"), "a", "?service", unknown, "sh(1)"},
		{"service, checkyesno", 1402000, service(
			"s_start() {\n\tif checkyesno more_enable; then\n\t\trequired_modules=\"$required_modules a\"\n\tfi\n}\n",
			"s_enable=\"YES\"\nmore_enable=\"YES\"\n"), "a", "service", loadable, "rc.d/ipfw: dummynet_enable"},
		{"service, checkyesno off", 1402000, service(
			"s_start() {\n\tif checkyesno more_enable; then\n\t\trequired_modules=\"$required_modules a\"\n\tfi\n}\n",
			"s_enable=\"YES\"\n"), "a", "", blocked, "rc.d/ipfw: dummynet_enable"},
		{"service, else", 1402000, service("s_start() {\ncheckyesno more_enable && load_kld b || load_kld a\n}\n",
			"s_enable=\"YES\"\n"), "b", "?dependency", unknown, "sh(1): a needs b"},
		{"service, case and checkyesno off", 1402000, service(
			"s_start() {\ncase $x in\ni386)\n\tif checkyesno more_enable; then\n\t\tload_kld a\n\tfi\n\t;;\nesac\n}\n",
			"s_enable=\"YES\"\n"), "a", "", blocked, "rc.d/archdep: a condition that does not hold decides"},
		{"service, case and checkyesno", 1402000, service(
			"s_start() {\ncase $x in\ni386)\n\tif checkyesno more_enable; then\n\t\tload_kld a\n\tfi\n\t;;\nesac\n}\n",
			"s_enable=\"YES\"\nmore_enable=YES\n"), "a", "?service", unknown, "rc.d/archdep"},
		{"rc_conf_files, changed", 1402000, with(rc("rc_conf_files=\"/etc/rc.conf /etc/site\"\n"), "etc/site",
			"kld_list=a\n"), "a", "kld_list", loadable, "rc.conf: source_rc_confs"},
		{"rc_conf_files, changed twice", 1402000, with(with(rc("rc_conf_files=/etc/site\n"), "etc/site",
			"rc_conf_files=/etc/more\n"), "etc/more", "kld_list=a\n"), "a", "", blocked,
			"rc.conf: source_rc_confs reads the list twice"},
		{"rc_conf_files, computed", 1402000, rc("rc_conf_files=\"$(ls /etc/rc.*)\"\n"), "a", "?kld_list ?service",
			unknown,
			"rc.conf: source_rc_confs"},
		{"kldload of a file that is computed", 1402000, rc("x=/opt/nosuch\nkldload $x.ko\n"), "nosuch", "", unknown,
			"kldload(8) takes a path"},
		{"kldload of a file that is computed, off", 1402000, service(
			"s_start() {\nfor i in $x; do\n\tload_kld $i\ndone\n}\n", ""), "nosuch", "", absent, "rc.d/atm1"},
		{"service without a variable", 1402000, with(rc(""), "etc/rc.d/always",
			". /etc/rc.subr\nname=always\nalways_start() { load_kld a; }\n"), "a", "service", loadable,
			"rc.subr(8): rcvar"},
		{"service, lines of another system", 1402000, service("\r\n\f\n\v\n\u00a0\nrequired_modules=\"a\"\n",
			"s_enable=\"YES\"\n"), "a", "service", loadable, "sh(1): a carriage return is no blank"},
		{"service of ports", 1402000, with(rc("v_enable=YES\n"), "usr/local/etc/rc.d/v",
			"# PROVIDE: v\nname=v\nrcvar=v_enable\nrequired_modules=a\n"), "a", "service", loadable,
			"rc(8): local_startup"},
		{"set_rcvar", 900044, with(rc("v_enable=YES\n"), "etc/rc.d/v",
			"name=\"v\"\nrcvar=`set_rcvar`\nrequired_modules=\"a\"\n"), "a", "service", loadable, "rc.subr(8) of 8"},
		{"service's own file", 1402000, with(service("required_modules=\"a\"\n", ""), "etc/rc.conf.d/s",
			"s_enable=YES\n"), "a",
			"service", loadable, "rc.subr(8): load_rc_config"},
		{"known service", 1402000, with(with(rc("pf_enable=YES\n"), "etc/rc.d/kld", ""), "etc/rc.d/devmatch", ""), "a",
			"", blocked, "rc.d/pf"},
		{"file system", 1402000, with(rc(""), "etc/fstab", "# x\n/dev/a /mnt a rw 0 0\n"), "a", "service", loadable,
			"kern/vfs_init.c: vfs_byname_kld"},
		{"file system, noauto", 1402000, with(rc(""), "etc/fstab", "/dev/a /mnt a rw,noauto 0 0\n"), "a", "", blocked,
			"fstab(5)"},
		{"interface", 1402000, rc("cloned_interfaces=\"lo1 c10\"\n"), "if_c", "service", loadable,
			"ifconfig(8): ifmaybeload"},
		{"interface, computed", 1402000, rc("cloned_interfaces=\"$x\"\n"), "if_c", "?service", unknown, "sh(1)"},
		{"interface with a letter", 1402000, rc("cloned_interfaces=\"c0a\"\n"), "if_c", "service", loadable,
			"ifconfig(8): ifmaybeload ends the name at the first digit"},
		{"interface of bhyve", 1402000, with(rc("cloned_interfaces=\"vmnet0\"\n"), "boot/kernel/if_tuntap.ko",
			string(plainKLD("if_tuntap"))), "if_tuntap", "service", loadable, "ifconfig(8): module_map"},
		{"interface below another", 1402000, with(rc("vlans_em0=\"101\"\n"), "boot/kernel/if_vlan.ko",
			string(plainKLD("if_vlan"))), "if_vlan", "service", loadable, "network.subr: childif_create"},
		{"no interface below another", 1402000, with(rc("vlans_em0=\"\"\n"), "boot/kernel/if_vlan.ko",
			string(plainKLD("if_vlan"))), "if_vlan", "", blocked, "network.subr: childif_create"},
		{"interface of 6to4", 1402000, with(rc("stf_interface_ipv4addr=\"192.0.2.1\"\n"), "boot/kernel/if_stf.ko",
			string(plainKLD("if_stf"))), "if_stf", "service", loadable, "network.subr: stf_up"},
		{"gif_interfaces", 1402000, with(rc("gif_interfaces=\"gif0\"\n"), "boot/kernel/if_gif.ko",
			string(plainKLD("if_gif"))), "if_gif", "service", loadable, "network.subr: clone_up"},
		{"file system of another", 1402000, with(with(rc(""), "etc/fstab", "h:/x /mnt nfs rw 0 0\n"),
			"boot/kernel/nfscl.ko", string(plainKLD("nfscl"))), "nfscl", "service", loadable, "mount_nfs(8)"},
		{"file system in memory", 1402000, with(with(rc(""), "etc/fstab", "md /tmp mfs rw,-s64m 0 0\n"),
			"boot/kernel/geom_md.ko", string(plainKLD("geom_md"))), "geom_md", "service", loadable, "mdmfs(8)"},
		{"swap in a file", 1402000, with(with(rc(""), "etc/fstab", "md99 none swap sw,file=/swap,late 0 0\n"),
			"boot/kernel/geom_md.ko", string(plainKLD("geom_md"))), "geom_md", "service", loadable, "swapon(8)"},
		{"encrypted swap", 1402000, with(with(rc(""), "etc/fstab", "/dev/ada0p3.eli none swap sw 0 0\n"),
			"boot/kernel/geom_eli.ko", string(plainKLD("geom_eli"))), "geom_eli", "service", loadable,
			"swapon(8): .eli"},
		{"encrypted swap, late", 1402000, with(with(rc(""), "etc/fstab", "/dev/ada0p3.eli none swap sw,noauto 0 0\n"),
			"boot/kernel/geom_eli.ko", string(plainKLD("geom_eli"))), "geom_eli", "", blocked, "fstab(5)"},
		{"rc.local", 1402000, with(rc(""), "etc/rc.local", "#!/bin/sh\nkldload a\n"), "a", "service", loadable,
			"rc.d/local runs before rc.d/securelevel"},
		{"rc.local, condition", 1402000, with(rc(""), "etc/rc.local", "if [ -f /x ]; then\n\tkldload a\nfi\n"), "a",
			"?service", unknown, "sh(1)"},
		{"start_if", 1402000, with(rc(""), "etc/start_if.em0", "kldload -n a || exit 1\n"), "a", "?service", unknown,
			"network.subr: ifn_start"},
		{"devd", 1003000, with(rc(""), "etc/devd/usb.conf",
			"nomatch 32 {\n\tmatch \"vendor\" \"0x1\";\n\taction \"kldload -n a\";\n};\n"), "a", "?service", unknown,
			"devd.conf(5): action"},
		{"devd, comment", 1003000, with(rc(""), "etc/devd.conf", "# action \"kldload a\";\n"), "a", "", blocked,
			"devd.conf(5)"},
		{"devd off", 1003000, with(rc("devd_enable=\"NO\"\n"), "etc/devd/usb.conf", "action \"kldload a\";\n"), "a", "",
			blocked, "rc.conf(5): devd_enable"},
		{"devd, computed", 1402000, with(rc(""), "usr/local/etc/devd/x.conf", "action \"kldload $x\";\n"), "a",
			"?service", unknown, "devd.conf(5): action"},
		{"cron at boot", 1402000, with(rc(""), "etc/crontab", "@reboot root /sbin/kldload a\n"), "a", "?service",
			unknown, "crontab(5): @reboot; rc.d/cron is before rc.d/securelevel"},
		{"cron.d at boot", 1402000, with(rc(""), "etc/cron.d/x", "@reboot root /sbin/kldload a\n"), "a", "?service",
			unknown, "cron(8): /etc/cron.d"},
		{"local cron.d at boot", 1402000, with(rc(""), "usr/local/etc/cron.d/x", "@reboot root kldload a\n"), "a",
			"?service", unknown, "cron(8): /usr/local/etc/cron.d"},
		{"firewall script", 1402000, with(rc("firewall_enable=YES\nfirewall_script=/etc/ipfw.rules\n"),
			"etc/ipfw.rules", "#!/bin/sh\nkldload -n a\nipfw -q flush\n"), "a", "?service", unknown,
			"rc.d/ipfw: firewall_script"},
		{"firewall script, off", 1402000, with(rc("firewall_script=/etc/ipfw.rules\n"), "etc/ipfw.rules",
			"#!/bin/sh\nkldload -n a\n"), "a", "", blocked, "rc.d/ipfw: rcvar"},
		{"firewall script, others", 1402000, with(rc("firewall_enable=YES\nfirewall_script=/etc/rc.firewall\n"),
			"etc/rc.firewall", "#!/bin/sh\n# kldload a\nipfw -q flush\n"), "a", "", blocked, "rc.firewall"},
		{"firewall coscript", 1402000, with(rc("firewall_enable=YES\nfirewall_coscripts=\"/usr/local/etc/x\"\n"),
			"usr/local/etc/x", "kldload a\n"), "a", "?service", unknown, "rc.d/ipfw: firewall_coscripts"},
		{"firewall script elsewhere", 1402000, with(rc("firewall_enable=YES\nfirewall_script=/root/fw\n"), "root/fw",
			"ipfw -q flush\n"), "a", "?service", unknown, "rc.d/ipfw: firewall_script"},
		{"firewall script, none", 1402000, rc("firewall_enable=YES\nfirewall_script=/root/fw\n"), "a", "", blocked,
			"rc.d/ipfw: firewall_script"},
		{"jail", 1402000, with(rc("jail_enable=YES\n"), "etc/jail.conf",
			"j { exec.prestart = \"kldload -n a\"; }\n"), "a", "?service", unknown, "jail(8): exec.prestart"},
		{"jail off", 1402000, with(rc(""), "etc/jail.conf", "j { exec.prestart = \"kldload -n a\"; }\n"), "a", "",
			blocked, "rc.d/jail: jail_enable"},
		{"cron at noon", 1402000, with(rc(""), "etc/crontab", "0 12 * * * root /sbin/kldload a\n"), "a", "", blocked,
			"security(7)"},
		{"rc(8)", 1402000, with(rc(""), "etc/rc", "files=`rcorder ${skip} /etc/rc.d/*`\n"), "a", "", blocked, "rc(8)"},
		{"another rc", 1402000, with(rc(""), "etc/rc", "#!/bin/sh\n/usr/local/bin/php /etc/rc.bootup\n"), "a",
			"?service ?kldload", unknown, "the /etc/rc of pfSense and OPNsense orders no rc.d"},
		{"service, nostart", 1402000, with(rc(""), "etc/rc.d/s",
			"# KEYWORD: nojail nostart\nname=s\nrcvar=\nrequired_modules=\"a\"\n"), "a", "?service", unknown,
			"rc(8): rcorder -s nostart; rc.d/bluetooth"},
		{"service, nostart, off", 1402000, with(rc("s_enable=NO\n"), "etc/rc.d/s",
			"# KEYWORD: nostart\nname=s\nrcvar=s_enable\nrequired_modules=\"a\"\n"), "a", "", blocked, "rc.subr(8)"},
		{"service, first boot", 1402000, with(rc(""), "etc/rc.d/s",
			"# KEYWORD: firstboot\nname=s\nrequired_modules=\"a\"\n"), "a", "", blocked, "rc(8): firstboot_sentinel"},
		{"service, at the first boot", 1402000, with(with(rc(""), "etc/rc.d/s",
			"# KEYWORD: firstboot\nname=s\nrequired_modules=\"a\"\n"), "firstboot", "\n"), "a", "service", loadable,
			"rc(8): firstboot_sentinel"},
		{"service, left by pkg", 1402000, with(rc(""), "usr/local/etc/rc.d/s.pkgsave",
			"name=s\nrequired_modules=\"a\"\n"), "a", "", blocked, "rc.subr: find_local_scripts_new"},
		{"service of another directory", 1402000, with(rc("local_startup=\"/opt/rc.d\"\n"), "opt/rc.d/s",
			"#!/bin/sh\n# PROVIDE: s\nname=s\nrequired_modules=\"a\"\n"), "a", "service", loadable,
			"rc.conf(5): local_startup"},
		{"service of no directory", 1402000, with(rc("local_startup=\"/opt/rc.d\"\n"), "usr/local/etc/rc.d/s",
			"name=s\nrequired_modules=\"a\"\n"), "a", "", blocked, "rc.conf(5): local_startup"},
		{"screen saver", 1402000, rc("saver=\"c\"\n"), "c_saver", "service", loadable, "rc.d/syscons"},
		{"no screen saver", 1402000, rc("saver=\"NO\"\n"), "c_saver", "", blocked, "rc.d/syscons"},

		// What the linker refuses, and roots that do not boot.
		{"another release", 1402000, with(conf("a_load=\"YES\"\n"), "boot/kernel/a.ko", string(otherRelease())), "a",
			"", blocked,
			"kern_linker.c: modlist_lookup2"},
		{"another processor", 1402000, with(conf("a_load=\"YES\"\n"), "boot/kernel/a.ko",
			string(kotest.ARM64().Bytes())), "a", "",
			blocked, "kern/link_elf.c: e_machine"},
		{"no kernel", 1402000, with(with(conf("a_load=\"YES\"\n"), "boot/kernel/kernel", ""), "boot/kernel.old/kernel",
			""), "a",
			"", unknown, "jail(8): it has no kernel of its own"},
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
