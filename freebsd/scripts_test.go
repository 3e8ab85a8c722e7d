// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestScripts judges what the scripts of rc(8) load, as TestRootsOfRC does.
func TestScripts(t *testing.T) {
	type files = map[string]string
	rc := func(text string) files { return files{"etc/rc.conf": secure + text} }
	with := func(base files, name, text string) files { base[name] = text; return base }
	service := func(body, rcConf string) files { return with(rc(rcConf), "etc/rc.d/s", script+body) }
	const loadable, blocked, unknown = fact.VerdictLoadable, fact.VerdictBlocked, fact.VerdictUnknown
	checkRoots(t, []rootCase{
		// Files that are no scripts, and scripts whose grammar is not followed.
		{"service, its own separators", 1402000, service("IFS=$'\\n'\nrequired_modules=\"a\"\n", "s_enable=YES\n"), "a",
			"service", loadable, "sh(1): dollar-single-quotes"},
		{"file of an editor", 1402000, with(rc(""), "etc/rc.d/.s.swp", "don't\nkldload a\n"), "a", "", blocked,
			"rc(8): /etc/rc.d/*"},
		{"file of a reader", 1402000, with(rc(""), "usr/local/etc/rc.d/README", "don't\nkldload a\n"), "a", "", blocked,
			"rc.subr: find_local_scripts_new: ^# PROVIDE:"},
		{"script of ports that provides nothing", 1402000, with(rc(""), "usr/local/etc/rc.d/v",
			" # PROVIDE: v\nkldload a\n"), "a", "", blocked, "rc.subr: find_local_scripts_new: ^# PROVIDE:"},
		{"script of ports, old", 1402000, with(rc(""), "usr/local/etc/rc.d/v.sh", "kldload a\n"), "a", "service",
			loadable, "rc.subr: find_local_scripts_old"},
		{"service, not followed", 1402000, service("x=$(case y in y) echo;; esac)\ns_start() { load_kld b; }\n", ""),
			"c_saver", "", blocked, "sh(1): case inside $("},
		{"service, not followed, loads it", 1402000, service(
			"x=$(case y in y) echo;; esac)\ns_start() { load_kld a; }\n", ""), "a", "?service", unknown, "sh(1)"},
		{"service, not followed, requires it", 1402000, service(
			"x=$(case y in y) echo;; esac)\nrequired_modules=\"a\"\n", ""), "a", "?service", unknown, "sh(1)"},
		{"service, an open quote", 1402000, service("echo don't\nkldload $x\n", ""), "a", "?service", unknown, "sh(1)"},
		{"service, another open quote", 1402000, service("echo don't\n", ""), "a", "", blocked, "sh(1)"},

		// rc.conf(5) that ends rc(8), which runs it by itself.
		{"rc.conf, exit", 1402000, rc("exit 0\n"), "a", "?kld_list ?service ?kldload", unknown,
			"rc(8): load_rc_config"},
		{"rc.conf, exec", 1402000, rc("exec /sbin/mine\n"), "a", "?kld_list ?service ?kldload", unknown,
			"rc(8): load_rc_config"},
		{"rc.conf, exit, and a later file", 1402000, with(files{"etc/rc.conf": "exit\n"}, "etc/rc.conf.local", secure),
			"a", "?kld_list ?service ?kldload", unknown, "rc(8): load_rc_config"},
		{"rc.conf, exit, and sysctl.conf", 1402000, files{"etc/rc.conf": "exit\n",
			"etc/sysctl.conf": "kern.securelevel=2\n"}, "a", "?kld_list ?service ?kldload", unknown,
			"rc(8): load_rc_config"},
		{"rc.conf, return", 1402000, rc("return\nkld_list=a\n"), "a", "", blocked, "sh(1): return"},
		{"rc.conf.d, another file", 1402000, with(rc(""), "etc/rc.conf.d/sshd", ". /opt/mine\n"), "a", "?service",
			unknown, "rc.subr(8): load_rc_config"},

		// Commands that only name kldload.
		{"service, printed", 1402000, service("s_start() {\n\techo \"kldload a\" >&2\n\tprintf 'kldload a'\n}\n",
			"s_enable=\"YES\"\n"), "a", "", blocked, "sh(1)"},
		{"service, looked for", 1402000, service(
			"s_start() {\n\twhich kldload >/dev/null 2>&1\n\t[ -x /sbin/kldload ]\n\tcommand -v kldload\n}\n",
			"s_enable=\"YES\"\n"), "a", "", blocked, "sh(1)"},
		{"service, described", 1402000, service("desc=\"kldload at boot\"\n",
			"s_enable=\"YES\"\n"), "a", "", blocked, "sh(1)"},

		// Commands outside of functions run when rc(8) reads the script, before run_rc_command asks for the rcvar.
		{"service, outside, off", 1402000, service("kldload a\nrun_rc_command \"$1\"\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside", 1402000, service("kldload a\nrun_rc_command \"$1\"\n",
			"s_enable=\"YES\"\n"), "a", "service", loadable, "rc.subr(8): run_rc_script"},
		{"service, outside, condition off", 1402000, service("checkyesno more_enable && kldload a\n",
			"s_enable=\"NO\"\n"), "a", "", blocked, "rc.subr(8): run_rc_script"},
		{"service, outside, by another, off", 1402000, service("timeout 5 kldload a\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside, by a variable, off", 1402000, service("KLDLOAD=/sbin/kldload\n$KLDLOAD a\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside, by a default, off", 1402000, service(": ${KLDLOAD:=/sbin/kldload}\n$KLDLOAD a\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside, by a function, off", 1402000, service("f() {\n\tkldload a\n}\nif ! f; then\n\texit 1\nfi\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside, by functions, off", 1402000, service("f() {\n\tg\n}\ng() {\n\tkldload a\n}\nx=$(f)\n",
			"s_enable=\"NO\"\n"), "a", "?service", unknown, "rc.subr(8): run_rc_script"},
		{"service, a function of another, off", 1402000, service("f() {\n\tkldload a\n}\ns_start() {\n\tf\n}\n",
			"s_enable=\"NO\"\n"), "a", "", blocked, "rc.subr(8): run_rc_script"},
		{"service, required outside, off", 1402000, service("required_modules=\"a\"\nx=1\n",
			"s_enable=\"NO\"\n"), "a", "", blocked, "rc.subr(8): run_rc_script"},
		{"service, outside, computed, off", 1402000, service("kldload $x\n",
			"s_enable=\"NO\"\n"), "nosuch", "", unknown, "rc.subr(8): run_rc_script"},
		{"service, outside, nostart", 1402000, with(rc("s_enable=NO\n"), "etc/rc.d/s",
			"# KEYWORD: nostart\nname=s\nrcvar=s_enable\nkldload a\n"), "a", "?service", unknown, "rc(8): rcorder -s"},
		{"service, outside, first boot", 1402000, with(rc("s_enable=NO\n"), "etc/rc.d/s",
			"# KEYWORD: firstboot\nname=s\nrcvar=s_enable\nkldload a\n"), "a", "", blocked, "rc(8): rcorder -s"},
	})

	// Commands that run others, which load klds, count where rc(8) runs them.
	for _, c := range [][2]string{
		{"command", "command=\"/sbin/kldload\"\ncommand_args=\"a\"\nrun_rc_command \"$1\"\n"},
		{"in a variable", "KLDLOAD=/sbin/kldload\ns_start() {\n\t$KLDLOAD a\n}\n"},
		{"a default", "s_start() {\n\t: ${KLDLOAD:=/sbin/kldload}\n\t$KLDLOAD a\n}\n"},
		{"xargs", "s_start() {\n\techo a | xargs kldload\n}\n"},
		{"nice", "s_start() {\n\tnice -n 5 kldload a\n}\n"},
		{"timeout", "s_start() {\n\ttimeout 5 kldload a\n}\n"},
		{"sh -c", "s_start() {\n\tsh -c 'kldload a'\n}\n"},
		{"eval", "s_start() {\n\tcmd=\"kldload a\"\n\teval $cmd\n}\n"},
		{"printed to a shell", "s_start() {\n\techo kldload a | sh\n}\n"},
		{"start_cmd", "start_cmd=\"kldload a\"\nrun_rc_command \"$1\"\n"},
	} {
		checkRoots(t, []rootCase{
			{"service, " + c[0], 1402000, service(c[1], "s_enable=YES\n"), "a", "?service", unknown, "sh(1)"},
			{"service, " + c[0] + ", off", 1402000, service(c[1], "s_enable=NO\n"), "a", "", blocked,
				"rc.subr(8): rcvar"},
		})
	}
}
