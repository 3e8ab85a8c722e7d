// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
)

// An idleCase is a line, or a file, that is said to do nothing.
type idleCase struct {
	code  string
	files map[string]string
	file  string // with the line
	line  int    // 0 for the whole file
	asked []string
}

// idleCases has each reason once or more. pcspkr has an alias, uas needs usb_storage, ext4 has a softdep in
// modules.softdep, serio is compiled in.
var idleCases = []idleCase{
	{modprobe.IdleIgnored, conf("blacklist\nblacklst pcspkr\n"), confFile, 2, []string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNeverReached, conf("install pcspkr /bin/true\ninstall pcspkr /bin/false\n"), confFile, 2,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNeverReached, conf("install pcs* /bin/true\ninstall pcspkr /bin/false\n"), confFile, 2,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNeverReached, conf("softdep pcspkr pre: uas\nsoftdep pcspkr pre: nvme\n"), confFile, 2,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleRepeated, conf("blacklist pcspkr\nblacklist pcspkr\n"), confFile, 2,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleRepeated, conf("alias mine pcspkr\nalias mine pcspkr\n"), confFile, 2, []string{"mine", "pcspkr"}},
	{modprobe.IdlePattern, conf("blacklist pcs*\n"), confFile, 1, []string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdlePattern, conf("options pcs* a=1\n"), confFile, 1, []string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleCarriageReturn, conf("blacklist pcspkr\r\n"), confFile, 1, []string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNoModule, conf("blacklist pcspkrr\n"), confFile, 1, []string{"pcspkr", "platform:pcspkr", "pcspkrr"}},
	{modprobe.IdleNoModule, conf("install usb:* /bin/true\n"), confFile, 1, []string{"uas", "usb_storage"}},
	{modprobe.IdleNoModule, conf("softdep nosuch pre: uas\n"), confFile, 1, []string{"uas", "nosuch"}},
	{modprobe.IdleBuiltin, conf("blacklist serio\n"), confFile, 1, []string{"serio"}},
	{modprobe.IdleBuiltin, conf("install serio /bin/false\n"), confFile, 1, []string{"serio"}},
	{modprobe.IdleBuiltin, conf("options serio a=1\n"), confFile, 1, []string{"serio"}},
	{modprobe.IdleSoftdep, conf("softdep pcspkr pre: uas\ninstall pcspkr /bin/false\n"), confFile, 2,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleSpelling, map[string]string{"proc/cmdline": "modprobe.blacklist=usb-storage\n"}, "proc/cmdline", 1,
		[]string{"usb_storage", "uas"}},
	{modprobe.IdleMasked, map[string]string{confFile: "options pcspkr a=1\n",
		"usr/lib/modprobe.d/a.conf": "install pcspkr /bin/false\n"}, "usr/lib/modprobe.d/a.conf", 0,
		[]string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNotRead, map[string]string{"etc/modprobe.d/blacklist": "install pcspkr /bin/false\n"},
		"etc/modprobe.d/blacklist", 0, []string{"pcspkr", "platform:pcspkr"}},
	{modprobe.IdleNotRead, map[string]string{"etc/modprobe.conf": "install pcspkr /bin/false\n"}, "etc/modprobe.conf",
		0,
		[]string{"pcspkr", "platform:pcspkr"}},
}

const confFile = "etc/modprobe.d/a.conf"

func conf(text string) map[string]string { return map[string]string{confFile: text} }

// TestLint: modprobe does the same with each line that is said to do nothing, and without it.
func TestLint(t *testing.T) {
	if os.Geteuid() != 0 {
		lab.Met(t, fmt.Errorf("modprobe's directories can only be changed in a root of its own: run as root"))
	}
	lab.Tools(t, "modprobe", "ldd", "cp")
	k := plainTree(t)
	root := modprobeRoot(t, k)
	tried := make(map[string]bool)
	for _, c := range idleCases {
		t.Run(c.code+" "+c.file, func(t *testing.T) { c.check(t, root, k.Release) })
		tried[c.code] = true
	}
	for _, code := range []string{modprobe.IdleIgnored, modprobe.IdleMasked, modprobe.IdleNotRead,
		modprobe.IdleNeverReached, modprobe.IdleRepeated, modprobe.IdleCarriageReturn, modprobe.IdlePattern,
		modprobe.IdleSpelling, modprobe.IdleNoModule, modprobe.IdleBuiltin, modprobe.IdleSoftdep} {
		if !tried[code] {
			t.Errorf("%s is not tried", code)
		}
	}
}

func (c idleCase) check(t *testing.T, root, release string) {
	laid := configuration{files: c.files}
	laid.lay(t, root)
	s, err := lkm.Open(lkm.Options{HostRoot: root, Kernel: release})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	config, err := s.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(config.Idle, func(l lkm.IdleLine) bool {
		return l.File == "/"+c.file && l.Line == c.line && l.Reason.Code == c.code
	}) {
		t.Errorf("not said: %+v", config.Idle)
	}
	with := c.ask(t, root, release)
	lines := strings.Split(c.files[c.file], "\n")
	if c.line == 0 {
		lines = nil
	} else {
		lines[c.line-1] = ""
	}
	writeFile(t, filepath.Join(root, c.file), []byte(strings.Join(lines, "\n")))
	if without := c.ask(t, root, release); !slices.Equal(with, without) {
		t.Errorf("with it %q\nwithout it %q", with, without)
	}
}

// ask asks modprobe for each name: to load it, to load it as the kernel's requests do, and to remove it. A step that
// follows itself counts once: a module that is loaded is not loaded again, which a dry run does not know.
func (c idleCase) ask(t *testing.T, root, release string) (answers []string) {
	for _, name := range c.asked {
		for _, option := range []string{"-v", "-b", "-r"} {
			out, err := runModprobe(t, root, release, "-n", "-v", option, name)
			steps := slices.Compact(strings.Split(out, "\n"))
			answers = append(answers, fmt.Sprintf("%s %s: %v %q", option, name, err, steps))
		}
	}
	return answers
}
