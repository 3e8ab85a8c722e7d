// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestDloader: DragonFly's boot loader has the files of loader.conf(5), and rules of its own (stand/boot/dloader:
// cmds.c, dloader.menu).
func TestDloader(t *testing.T) {
	type files = map[string]string
	const load = "a_load=\"YES\"\n"
	for _, c := range []struct {
		name  string
		files files
		ways  string
		want  fact.VerdictOutcome
	}{
		{"nothing", nil, "", fact.VerdictBlocked},
		{"asked for", files{"boot/loader.conf": load}, "loader", fact.VerdictLoadable},
		{"in the other file", files{"boot/loader.conf.local": load}, "loader", fact.VerdictLoadable},
		{"in the kernel's directory", files{"boot/kernel/loader.conf": load}, "loader", fact.VerdictLoadable},
		{"no list of files", files{"boot/loader.conf": "loader_conf_files=\"/mine\"\n", "mine": load}, "",
			fact.VerdictBlocked},
		{"no directory of files", files{"boot/loader.conf.d/a.conf": load}, "", fact.VerdictBlocked},
		{"no nextboot", files{"boot/nextboot.conf": "nextboot_enable=\"YES\"\n" + load}, "", fact.VerdictBlocked},
		{"no blacklist", files{"boot/loader.conf": load + "module_blacklist=\"a\"\n"}, "loader", fact.VerdictLoadable},
		{"no commands", files{"boot/loader.conf": "exec=\"load a\"\nb_before=\"load a\"\n"}, "", fact.VerdictBlocked},
		{"small letters", files{"boot/loader.conf": "a_load=\"yes\"\n"}, "loader", fact.VerdictLoadable},
		{"mixed letters", files{"boot/loader.conf": "a_load=\"Yes\"\n"}, "", fact.VerdictBlocked},
		{"kernel= is ignored", files{"boot/loader.conf": "kernel=\"other\"\n" + load, "boot/other/kernel": "x"},
			"loader", fact.VerdictLoadable},
		{"module_path is replaced", files{"boot/loader.conf": "module_path=\"/elsewhere\"\n" + load}, "loader",
			fact.VerdictLoadable},
		{"firmware is data", files{"boot/loader.conf": "firmware=\"a\"\n"}, "", fact.VerdictBlocked},
	} {
		all := files{"etc/rc.conf": secure}
		for name, text := range c.files {
			all[name] = text
		}
		k := Open(rootDisk{freebsdRoot(600400, all)}, fact.Options{OS: fact.DragonFly, Image: true})
		verdicts, err := k.Check(t.Context(), "a", new(fact.Report))
		if err != nil || len(verdicts) == 0 {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := waysOf(&verdicts[0]); got != c.ways || verdicts[0].NextBoot.Outcome != c.want {
			t.Errorf("%s: %s by %q, want %s by %q", c.name, verdicts[0].NextBoot.Outcome, got, c.want, c.ways)
		}
		checkRemedies(t, c.name, &verdicts[0])
	}
	mine := files{"boot/loader.conf": "default_kernel=\"mine\"\n", "boot/mine/kernel": "x"}
	k := Open(rootDisk{freebsdRoot(600400, mine)},
		fact.Options{OS: fact.DragonFly, Image: true})
	if got := k.conf(t.Context()).kernelName(); got != "mine" {
		t.Errorf("default_kernel: %s", got)
	}
}
