// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

// FuzzLoaderScript reads programs of the boot loader. A recording of one says of each line what the program says.
func FuzzLoaderScript(f *testing.F) {
	f.Add("boot/lua/core.lua", "-- x\nloader.setenv(\"acpi_load\", \"YES\")\nloader.perform(\"load a\")\n")
	f.Add("boot/loader.rc", "\\ x\ninclude /boot/loader.4th\nstart\nload a\n")
	f.Add("boot/support.4th", ": x s\" set a_load=YES\" evaluate ;\ntry-include /x\n")
	f.Add("boot/lua/local.lua", "--\nx\n")
	f.Fuzz(func(t *testing.T, key, text string) {
		if !isLoaderScript(key) || len(text) > 64<<10 {
			return
		}
		kept := string(redactLoaderScript(key, []byte(text)))
		lines := strings.Split(kept, "\n")
		at := 0
		for line := range strings.Lines(text) {
			if scriptLoads(key, line) != scriptLoads(key, lines[at]) {
				t.Fatalf("%q is kept as %q", line, lines[at])
			}
			at++
		}
		if len(lines) != at+1 {
			t.Fatalf("%d lines of %d", len(lines)-1, at)
		}
	})
}

// FuzzBootFiles reads what the boot runs: whatever the files hold, no request is outside of them, and what a recording
// keeps asks for no more.
func FuzzBootFiles(f *testing.F) {
	for _, seed := range []struct{ name, text string }{
		{"etc/rc.d/s", script + "required_modules=\"a b:c\"\ns_start() { load_kld -e x a; }\n"},
		{"etc/rc.d/s", "# KEYWORD: nojail nostart firstboot\nkldload -n a || exit\n"},
		{"etc/rc.local", "if true; then kldload a; fi\n"},
		{"etc/rc.d/s", "\r\nname=s\r\n\f\n\v\n\u00a0\nkldload a\r\n"},
		{"etc/rc", "rcorder x\n"},
		{"etc/devd.conf", "action \"kldload a $b\";\n"},
		{"etc/start_if.em0", "kldload a;kldload b\n"},
		{"etc/crontab", "@reboot root kldload a\n"},
		{"etc/cron.d/x", "@reboot root kldload a\n"},
		{"etc/sysctl.conf.local", "kern.securelevel: \"0x1\"\nkern.module_path=/a;/b\n"},
		{"etc/rc.conf", "firewall_enable=YES\nfirewall_script=/etc/x\nvlans_em0=1\njail_enable=$x\n"},
		{"etc/fstab", "/dev/a.eli /mnt a rw,noauto 0 0\n# x\nb\n"},
		{"etc/rc.conf.d/netif", "cloned_interfaces=\"vmnet0 $x\"\n"},
		{"boot/loader.conf", "a_load=\"YES\"\nproduct_vars=\"a b\"\n"},
	} {
		f.Add(seed.name, seed.text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if len(text) > 64<<10 || !Redacts(name) && !isScript(name) && name != "etc/fstab" ||
			strings.ContainsAny(name, "\\:") {
			return
		}
		root := fstest.MapFS{name: {Data: []byte(text)}}
		c := readConfig(t.Context(), rootDisk{root}, len(text)%2 == 1)
		limit := 8*len(text) + 64
		for _, q := range c.requests(1402000) {
			if len(q.target) > limit {
				t.Fatalf("%q of %d bytes", q.target, len(text))
			}
			if !q.answer.Applies() && q.way == WayLoader {
				t.Fatalf("a request without an answer: %+v", q)
			}
			if q.answer.Applies() && q.answer.Blocked() == "" && q.answer.Because() == (fact.Reason{}) {
				t.Fatalf("unknown without a reason: %+v", q)
			}
		}
		root[name] = &fstest.MapFile{Data: Redact(name, []byte(text))}
		readConfig(t.Context(), rootDisk{root}, len(text)%2 == 1).requests(1402000)
	})
}

// FuzzFstab reads fstab(5): what is mounted is in the text, and a recording of it mounts the same.
func FuzzFstab(f *testing.F) {
	for _, seed := range []string{
		"/dev/a.eli /mnt ufs rw 0 0\n", "# x\n\n/dev/b /b msdosfs rw,noauto 0 0\n", "a b\n", "a b swap sw\n",
		"a\tb\tc\td", "a.bde b zfs\r\n", "\x00 \xff x\n", "x y ignore\n", ".eli . .\n",
	} {
		f.Add(seed)
	}
	read := func(text string) []mount {
		c := &config{}
		c.readFstab("/etc/fstab", text, new(fact.Report))
		return c.mounts
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		mounts := read(text)
		for _, m := range mounts {
			if kind := strings.TrimPrefix(m.kind, "geom_"); !strings.Contains(text, kind) {
				t.Fatalf("%q is not in the text", m.kind)
			}
		}
		if kept := read(redactFstab(text)); !slices.Equal(kept, mounts) {
			t.Fatalf("%+v is recorded as %+v", mounts, kept)
		}
	})
}
