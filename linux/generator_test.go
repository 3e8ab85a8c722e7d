// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// TestRegenerated: what a generator's file says is a remark, and never an answer.
func TestRegenerated(t *testing.T) {
	const entry, grub = "boot/loader/entries/a.conf", "boot/grub/grub.cfg"
	const listed, plain = "linux /vmlinuz-6 module_blacklist=lone\n", "linux /vmlinuz-6 quiet\n"
	for _, tt := range []struct {
		name    string
		files   map[string]string
		outcome fact.VerdictOutcome
		want    string // how the remark ends, or a part of it; empty for none
	}{
		{"grub would add it", map[string]string{grub: plain,
			"etc/default/grub": "GRUB_CMDLINE_LINUX=\"module_blacklist=lone\"\n"}, fact.VerdictLoadable,
			"grub-mkconfig adds it"},
		{"to all but the recovery's", map[string]string{grub: listed + "linux /vmlinuz-6 single\n",
			"etc/default/grub": "GRUB_CMDLINE_LINUX_DEFAULT='module_blacklist=lone'\n"}, fact.VerdictLoadable, ""},
		{"also to the recovery's", map[string]string{grub: listed + "linux /vmlinuz-6 single\n",
			"etc/default/grub": "GRUB_CMDLINE_LINUX=module_blacklist=lone\n"}, fact.VerdictLoadable, "adds it"},
		{"grub would leave it out", map[string]string{grub: listed,
			"etc/default/grub": "GRUB_CMDLINE_LINUX=\"quiet\"\n"}, fact.VerdictBlocked, "leaves it out"},
		{"both say it", map[string]string{grub: listed, "etc/default/grub": "GRUB_CMDLINE_LINUX=\"quiet\"\n",
			"etc/default/grub.d/a.cfg": "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX module_blacklist=lone\"\n"},
			fact.VerdictBlocked, ""},
		{"what a command says is not known", map[string]string{grub: listed,
			"etc/default/grub": "GRUB_CMDLINE_LINUX=\"$(words)\"\n"}, fact.VerdictBlocked, ""},
		{"grub's file says nothing of other loaders", map[string]string{grub: "-", entry: "version 6\noptions quiet\n",
			"etc/default/grub": "GRUB_CMDLINE_LINUX=\"module_blacklist=lone\"\n"}, fact.VerdictLoadable, ""},
		{"kernel-install would add it", map[string]string{entry: "version 6\noptions quiet\n",
			"etc/kernel/cmdline": "# x\nquiet module_blacklist=lone\n", "etc/kernel/install.conf": "layout=uki\n"},
			fact.VerdictLoadable, "kernel-install (layout uki) adds it"},
		{"kernel-install would leave it out", map[string]string{entry: "version 6\noptions module_blacklist=lone\n",
			"usr/lib/kernel/cmdline": "quiet\n"}, fact.VerdictBlocked, "leaves it out"},
		{"cmdline.d", map[string]string{entry: "version 6\noptions quiet\n",
			"etc/cmdline.d/a.conf": "module_blacklist=lone\n"}, fact.VerdictLoadable, "mkinitcpio or dracut adds it"},
		{"modprobe's word", map[string]string{grub: plain,
			"etc/default/grub": "GRUB_CMDLINE_LINUX=modprobe.blacklist=lone\n"}, fact.VerdictLoadable, "adds it"},
		{"of another module", map[string]string{grub: plain,
			"etc/default/grub": "GRUB_CMDLINE_LINUX=module_blacklist=net\n"}, fact.VerdictLoadable, ""},
	} {
		if _, ok := tt.files[entry]; !ok {
			tt.files[entry] = "-"
		}
		v := checkOf(t, imageOf(tt.files), "lone")
		got := ""
		for _, r := range v.Reasons {
			if r.Code == ReasonRegenerated {
				got += r.Text
			}
		}
		if v.NextBoot.Outcome != tt.outcome || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s: %q, want %q", tt.name, outcomes(v), got, tt.want)
		}
		if v.Reasons[0].Code == ReasonRegenerated {
			t.Errorf("%s: the remark decides: %+v", tt.name, v.Reasons)
		}
	}
}

// TestBootconfig: a bootconfig after the initial file system puts its words before the command line.
func TestBootconfig(t *testing.T) {
	const text = "kernel.module_blacklist = lone\n"
	sum := uint32(0)
	for _, b := range []byte(text) {
		sum += uint32(b)
	}
	data := append([]byte(initrdOf()), text...)
	data = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(data, uint32(len(text))), sum)
	image := string(data) + "#BOOTCONFIG\n"
	for options, tt := range map[string]struct{ config, want string }{
		"bootconfig":                       {"CONFIG_BOOT_CONFIG=y", "blocked"},
		"quiet":                            {"CONFIG_BOOT_CONFIG=y", "loadable"},
		"bootconfig quiet":                 {"# CONFIG_BOOT_CONFIG is not set", "loadable"},
		"quiet ":                           {"CONFIG_BOOT_CONFIG=y\nCONFIG_BOOT_CONFIG_FORCE=y", "blocked"},
		"bootconfig module_blacklist=only": {"CONFIG_BOOT_CONFIG=y", "loadable"}, // the last word counts
	} {
		v := checkOf(t, imageOf(map[string]string{"boot/config-6": "CONFIG_MODULES=y\n" + tt.config + "\n",
			"boot/loader/entries/a.conf": "version 6\ninitrd /initrd.img-6\noptions " + options + "\n",
			"boot/initrd.img-6":          image}), "lone")
		if string(v.NextBoot.Outcome) != tt.want {
			t.Errorf("%q: %s, want %s: %+v", options, outcomes(v), tt.want, v.Reasons)
		}
	}
}

// TestGeneratorsOfAShell: a script only gives values as far as it can be read.
func TestGeneratorsOfAShell(t *testing.T) {
	for text, want := range map[string]string{
		"GRUB_CMDLINE_LINUX=a": "a", "GRUB_CMDLINE_LINUX=\"a b\" # c": "a b", "GRUB_CMDLINE_LINUX='a $b'": "a $b",
		"X=a\nGRUB_CMDLINE_LINUX=\"$X ${X}b\"": "a ab", "GRUB_CMDLINE_LINUX=a\nGRUB_CMDLINE_LINUX+=\" b\"": "a b",
		"GRUB_CMDLINE_LINUX=\"a \\\nb\"": "?", "GRUB_CMDLINE_LINUX=`a`": "?", "GRUB_CMDLINE_LINUX=a b": "?",
		"GRUB_CMDLINE_LINUX=\"$Y\"": "?", "GRUB_CMDLINE_LINUX=a\n. /etc/more": "?", "GRUB_CMDLINE_LINUX=a; b": "?",
		"GRUB_DISTRIBUTOR=`( . /etc/os-release )`\nexport GRUB_CMDLINE_LINUX=\"a\\\"b\\\"\"": `a"b"`,
		"GRUB_CMDLINE_LINUX=\"a": "?", "": "",
	} {
		g := boot.ReadGenerators(imageOf(map[string]string{"etc/default/grub": text + "\n"}), new(fact.Report))
		if len(g) != 1 {
			t.Fatalf("%q: %+v", text, g)
		}
		var words []string
		for _, w := range g[0].Words {
			words = append(words, w.Key)
		}
		got := strings.Join(words, " ")
		if g[0].Open {
			got = "?"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzGenerators(f *testing.F) {
	f.Add("GRUB_CMDLINE_LINUX=\"$X a\\\"b\"\n", "# x\na=b\n")
	f.Fuzz(func(t *testing.T, script, words string) {
		root := imageOf(map[string]string{"etc/default/grub": script, "etc/kernel/cmdline": words})
		for _, g := range boot.ReadGenerators(root, new(fact.Report)) {
			if g.File == "" || g.Tool == "" {
				t.Errorf("%+v", g)
			}
		}
		kept := string(Redact("etc/default/grub", []byte(script)))
		if again := string(Redact("etc/default/grub", []byte(kept))); again != kept {
			t.Errorf("%q becomes %q", kept, again)
		}
	})
}
