// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fleet/audit"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/lkm"
)

// both are the two lines of a hardened machine.
func both(name, program string) string {
	return "install " + name + " " + program + "\nblacklist " + name + "\n"
}

// A complaint is a machine that people reported as judged wrong.
type complaint struct {
	report  string // where it was reported
	kernel  kernel
	files   map[string]string
	module  string
	check   audit.Check
	text    audit.Status // what the benchmark's own check says
	status  audit.Status // what is right
	verdict string
}

const confFile, entry = "etc/modprobe.d/a.conf", "boot/loader/entries/a.conf"

// complaints are the reports about gates on modules.
func complaints() []complaint {
	bare := kernel{map[string][]string{"ext4": {"fs/ext4"}}, nil}
	crypto := kernel{map[string][]string{"algif_aead": {"crypto"}, "af_alg": {"crypto"}}, nil}
	crypto.files["algif_aead"] = append(crypto.files["algif_aead"], "af_alg")
	inside := kernel{bare.files, map[string]string{"algif_aead": "crypto", "af_alg": "crypto"}}
	tunnels := kernel{map[string][]string{"udp_tunnel": {"net/ipv4"}, "ip6_udp_tunnel": {"net/ipv6", "udp_tunnel"},
		"sctp": {"net/sctp", "ip6_udp_tunnel", "udp_tunnel"}}, nil}
	fat := kernel{bare.files, map[string]string{"fat": "fs/fat", "squashfs": "fs/squashfs"}}
	initcall := "version 6.1.0\noptions ro initcall_blacklist=algif_aead_init\n"
	conf := func(text string) map[string]string { return map[string]string{confFile: text} }
	cis, show := audit.CheckCIS, audit.CheckShowConfig
	return []complaint{
		{"ansible-lockdown/DEBIAN12-CIS-Audit#4: absent", bare, nil, "cramfs", show, audit.Pass, audit.Pass, "absent"},
		{"dev-sec/cis-dil-benchmark#148: absent", bare, nil, "freevxfs", cis, audit.Pass, audit.Pass, "absent"},
		{"ansible-lockdown/UBUNTU22-CIS#76: the install line alone", usual(), conf("install cramfs /bin/true\n"),
			"cramfs", cis, audit.Fail, audit.Pass, "blocked"},
		{"wazuh/wazuh#34495: built in, with the lines", fat, conf(both("squashfs", "/bin/false")), "squashfs", cis,
			audit.Pass, audit.Fail, "builtin"},
		{"wazuh/wazuh#34495: of no CIS rule", fat, conf(both("fat", "/bin/false")), "fat", cis, audit.Fail, audit.Fail,
			"builtin"},
		{"dev-sec/cis-dil-benchmark#28: dependencies first", tunnels, conf(both("sctp", "/bin/true")), "sctp", cis,
			audit.Pass, audit.Pass, "blocked"},
		{"hubblestack/hubble#171: nothing in modprobe.d", usual(), nil, "cramfs", show, audit.Fail, audit.Fail,
			"loadable"},
		{"mondoohq/mql#7938: blacklist is not disabled", usual(), conf("blacklist cramfs\n"), "cramfs", show,
			audit.Fail, audit.Fail, "loadable"},
		{"mondoohq/mql#7938: install with exec", usual(), conf("install cramfs exec /bin/false\n"), "cramfs", cis,
			audit.Fail, audit.Pass, "blocked"},
		{"mondoohq/mql#7938: a later file's line", usual(), map[string]string{
			confFile:                "install cramfs modprobe -i cramfs\n",
			"etc/modprobe.d/z.conf": both("cramfs", "/bin/true")}, "cramfs", show, audit.Pass, audit.Fail, "loadable"},
		{"mondoohq/mql#7938: a file that another masks", usual(), map[string]string{
			"usr/lib/modprobe.d/cis.conf": both("cramfs", "/bin/true"), "etc/modprobe.d/cis.conf": "# nothing\n"},
			"cramfs", show, audit.Fail, audit.Fail, "loadable"},
		{"kmod-project/kmod#439: blacklist stops no request", crypto, conf("blacklist algif_aead\n"), "algif_aead",
			show, audit.Fail, audit.Fail, "loadable"},
		{"Azure/AgentBaker#8437: the lines", crypto, conf(both("algif_aead", "/bin/false")), "algif_aead", show,
			audit.Pass, audit.Pass, "blocked"},
		{"Azure/AgentBaker#8443: the name in a comment", crypto, conf("# " + both("algif_aead", "/bin/false")),
			"algif_aead", show, audit.Fail, audit.Fail, "loadable"},
		{"Azure/AgentBaker#8437: not needed where it is absent", bare, nil, "algif_aead", "", "", audit.Pass, "absent"},
		{"theori-io/copy-fail-CVE-2026-31431#68: Ubuntu", crypto, conf(both("algif_aead", "/usr/bin/false")),
			"algif_aead", show, audit.Pass, audit.Pass, "blocked"},
		{"theori-io/copy-fail-CVE-2026-31431#68: built in", inside, conf(both("algif_aead", "/usr/bin/false")),
			"algif_aead", show, audit.Pass, audit.Fail, "builtin"},
		{"theori-io/copy-fail-CVE-2026-31431#68: initcall_blacklist", inside, map[string]string{entry: initcall,
			"boot/System.map-6.1.0": "0 d __initcall__kmod_algif_aead__271_584_algif_aead_init6\n"}, "algif_aead", show,
			audit.Fail, audit.Pass, "blocked"},
		{"theori-io/copy-fail-CVE-2026-31431#68: initcall_blacklist of who knows what", inside,
			map[string]string{entry: initcall}, "algif_aead", show, audit.Fail, audit.Unknown, "unknown"},
		{"openshift/managed-cluster-config#2728: of one entry alone", inside, map[string]string{entry: initcall,
			"boot/loader/entries/b.conf": "version 6.1.0\noptions ro\n",
			"boot/System.map-6.1.0":      "0 d __initcall__kmod_algif_aead__271_584_algif_aead_init6\n"},
			"algif_aead", show, audit.Fail, audit.Fail, "builtin"},
		{"ovh/debian-cis#249: an underscore", usual(), conf(both("usb_storage", "/bin/false")), "usb-storage", show,
			audit.Pass, audit.Pass, "blocked"},
	}
}

// TestComplaints: what people reported as judged wrong comes out right.
func TestComplaints(t *testing.T) {
	for _, c := range complaints() {
		t.Run(c.report, func(t *testing.T) {
			target := image(t, c.kernel.root(c.files))
			row := rowOf(t, run(t, audit.Options{}, []audit.Target{target}, notLoad(c.check, c.module)), c.module)
			if row.Text != c.text || row.Status != c.status || row.Effective != c.verdict {
				t.Errorf("text %s, status %s, effective %s; want %s, %s, %s: %+v", row.Text, row.Status, row.Effective,
					c.text, c.status, c.verdict, row)
			}
			if row.Status == audit.Unknown && row.Because == "" || row.Text == audit.Fail && row.TextBecause == "" {
				t.Errorf("no reason: %+v", row)
			}
		})
	}
}

// TestPlanOfTheReport: modprobe -n -v prints what dev-sec/cis-dil-benchmark#28 shows, in that order.
func TestPlanOfTheReport(t *testing.T) {
	for _, c := range complaints() {
		if !strings.HasPrefix(c.report, "dev-sec/cis-dil-benchmark#28") {
			continue
		}
		target := image(t, c.kernel.root(c.files))
		steps, err := target.System.LoadPlan(context.Background(), "sctp")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range steps {
			if s.Command != "" {
				got = append(got, "install "+s.Command)
				continue
			}
			got = append(got, "insmod "+s.Path)
		}
		want := "insmod /lib/modules/6.1.0/kernel/net/ipv4/udp_tunnel.ko\n" +
			"insmod /lib/modules/6.1.0/kernel/net/ipv6/ip6_udp_tunnel.ko\ninstall /bin/true"
		if s := strings.Join(got, "\n"); s != want {
			t.Errorf("%s\nwant\n%s", s, want)
		}
	}
}

// A live machine is a root with a running kernel.
type live struct{ fstest.MapFS }

func (live) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	switch op {
	case "uname":
		return []byte("release 6.1.0\nversion #1 SMP PREEMPT_DYNAMIC made up\nmachine x86_64\n"), nil
	case "clock":
		return []byte("2026-11-29T12:00:00Z"), nil
	case "identity":
		return []byte("euid 0\ncapeff 000001ffffffffff\n"), nil
	}
	return nil, errors.ErrUnsupported
}

// running is the root as a machine whose kernel has these lines in /proc/modules; "" for a list that is refused.
func running(t *testing.T, fsys fstest.MapFS, modules string) audit.Target {
	t.Helper()
	for name, text := range map[string]string{"proc/modules": modules, "proc/cmdline": "ro\n",
		"proc/sys/kernel/tainted": "0\n", "proc/sys/kernel/modules_disabled": "0\n",
		"proc/sys/kernel/modprobe": "/sbin/modprobe\n", "proc/sys/kernel/osrelease": "6.1.0\n"} {
		fsys[name] = linuxtest.File(text)
	}
	if modules == "" {
		delete(fsys, "proc/modules")
	}
	for line := range strings.Lines(modules) {
		fsys["sys/module/"+strings.Fields(line)[0]+"/initstate"] = linuxtest.File("live\n")
	}
	m := live{fsys}
	sys, err := lkm.OpenMachine(lkm.Linux, m, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close() })
	return audit.Target{Name: "live", System: sys, Files: m}
}

// TestLsmod: the part of the scripts that looks at what is loaded finds the letters of the name anywhere in a line, and
// so not a name with a dash; what can load is judged by the module.
func TestLsmod(t *testing.T) {
	storage, line := both("usb-storage", "/bin/false"), " 81920 1 - Live 0x0000000000000000\n"
	for _, c := range []struct {
		name, conf, modules, module string
		check                       audit.Check
		text, status                audit.Status
		effective                   string
	}{
		{"not loaded", both("cramfs", "/bin/false"), "ext4" + line, "cramfs", audit.CheckShowConfig, audit.Pass,
			audit.Pass, "blocked"},
		{"Azure/AgentBaker#8437: loaded before the lines", both("cramfs", "/bin/false"), "cramfs" + line, "cramfs",
			audit.CheckShowConfig, audit.Fail, audit.Fail, "loaded"},
		{"the same by the older script", both("cramfs", "/bin/false"), "cramfs" + line, "cramfs", audit.CheckCIS,
			audit.Fail, audit.Fail, "loaded"},
		{"ovh/debian-cis#249: lsmod prints usb_storage", storage, "usb_storage" + line, "usb-storage",
			audit.CheckShowConfig, audit.Pass, audit.Fail, "loaded"},
		{"a name with the letters in it", both("cramfs", "/bin/false"), "xcramfs_y" + line, "cramfs",
			audit.CheckShowConfig, audit.Fail, audit.Pass, "blocked"},
		{"the letters in a user of it", both("cramfs", "/bin/false"),
			"mtd 81920 1 xcramfs, Live 0x0000000000000000\n", "cramfs", audit.CheckShowConfig, audit.Fail, audit.Pass,
			"blocked"},
		{"the list is refused", both("cramfs", "/bin/false"), "", "cramfs", audit.CheckShowConfig, audit.Unknown,
			audit.Unknown, "unknown"},
		{"the list is refused, no lines", "", "", "cramfs", audit.CheckShowConfig, audit.Fail, audit.Fail, "loadable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := running(t, root(map[string]string{confFile: c.conf}), c.modules)
			row := rowOf(t, run(t, audit.Options{}, []audit.Target{target}, notLoad(c.check, c.module)), c.module)
			if row.Text != c.text || row.Status != c.status || row.Effective != c.effective {
				t.Errorf("text %s, status %s, effective %s; want %s, %s, %s: %+v", row.Text, row.Status, row.Effective,
					c.text, c.status, c.effective, row)
			}
		})
	}
}

// TestScriptOfAnUnknownRelease: the older script looks at install lines and at lsmod only if the kernel that runs has
// the module's directory. Of a machine whose release is not known that is not known.
func TestScriptOfAnUnknownRelease(t *testing.T) {
	fsys := root(map[string]string{confFile: both("cramfs", "/bin/false"),
		"lib/modules/6.2.0/modules.dep": "", "lib/modules/6.2.0/kernel/fs/cramfs/cramfs.ko": ""})
	sys, err := lkm.OpenMachine(lkm.Linux, nameless{live{fsys}}, lkm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	target := audit.Target{Name: "live", System: sys, Files: fsys}
	for check, want := range map[audit.Check]string{audit.CheckCIS: "the kernel's release is not known"} {
		row := rowOf(t, run(t, audit.Options{}, []audit.Target{target}, notLoad(check, "cramfs")), "cramfs")
		if row.Text != audit.Unknown || row.TextBecause != want {
			t.Errorf("%s: %s, %s: %+v", check, row.Text, row.TextBecause, row)
		}
	}
	row := rowOf(t, run(t, audit.Options{}, []audit.Target{target}, notLoad(audit.CheckCIS, "freevxfs")), "freevxfs")
	if row.Text != audit.Pass {
		t.Errorf("no kernel has it: %+v", row)
	}
}

// A nameless machine does not say its release.
type nameless struct{ live }

func (nameless) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
