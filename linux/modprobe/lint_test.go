// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// lintRoot is a machine with one kernel: uas needs usb-storage, fuse is compiled in.
func lintRoot(more map[string]string) map[string]string {
	files := map[string]string{
		"lib/modules/6/modules.dep":     "kernel/uas.ko: kernel/usb-storage.ko\nkernel/usb-storage.ko:\n",
		"lib/modules/6/modules.builtin": "kernel/fuse.ko\n",
		"lib/modules/6/modules.alias":   "alias usb:x uas\n",
		"lib/modules/6/modules.symbols": "",
		"proc/cmdline":                  "quiet\n",
	}
	for name, text := range more {
		files[name] = text
	}
	return files
}

// lint returns the idle lines as "FILE:LINE CODE", with "→ FILE:LINE" of the line that counts instead.
func lint(fsys fs.FS, r *fact.Report) []string {
	tree := OpenTree(fsys, ReleaseDir{Release: "6", Dir: "lib/modules/6"}, true)
	config := tree.Config()
	idle := append(config.Lint([]*Tree{tree}, r), IdleFiles(fsys, ConfigDirs, r)...)
	var lines []string
	for _, l := range idle {
		line := fmt.Sprintf("%s:%d %s", strings.TrimPrefix(l.File, "etc/modprobe.d/"), l.Line, l.Reason.Code)
		if by := l.Reason; by.File != "" {
			line += fmt.Sprintf(" → %s:%d", strings.TrimPrefix(by.File, "etc/modprobe.d/"), by.Line)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLint(t *testing.T) {
	for _, tt := range []struct {
		name, conf string
		want       []string
	}{
		{"all count", "blacklist uas\ninstall usb-storage /bin/false\noptions uas a=1\noptions uas a=2\n" +
			"alias mine uas\nalias mine usb-storage\nsoftdep uas pre: usb-storage\nremove uas /bin/true\n", nil},
		{"no directive", "foo bar\ninstall uas\nblacklist\n",
			[]string{"a.conf:1 ignored", "a.conf:2 ignored", "a.conf:3 ignored"}},
		{"two names", "blacklist uas usb-storage\n", []string{"a.conf:1 extra_names"}},
		{"a comment after the name", "blacklist uas # bad\n", nil},
		{"two names, neither a module", "blacklist one two\n",
			[]string{"a.conf:1 extra_names", "a.conf:1 no_module"}},
		{"lines of Windows", "blacklist uas\r\noptions uas a=1\r\nblacklist usb_storage\ninstall uas /bin/false\r\n" +
			"alias m uas\r\nsoftdep usb_storage pre: uas\r\n",
			[]string{"a.conf:1 carriage_return", "a.conf:4 carriage_return", "a.conf:5 carriage_return"}},
		{"options of an alias by its own text", "alias usb:v* uas\noptions usb:v* a=1\noptions usb:w* a=1\n",
			[]string{"a.conf:3 pattern"}},
		{"one target by several patterns", "alias usb:v* uas\nalias usb:w* uas\nalias usb:v1* uas\n", nil},
		{"a command of a name after a pattern", "alias net-pf-9 uas\ninstall net-* /bin/false\n" +
			"install net-pf-9 /bin/true\ninstall net-pf-8 /bin/true\nremove net-pf-8 /bin/true\n",
			[]string{"a.conf:2 no_module"}},
		{"a command to remove what is compiled in", "remove fuse /bin/true\n", nil},
		{"a command for what kernels ask for", "install char-major-10-99 /bin/true\ninstall binfmt-464c /bin/true\n" +
			"options net-pf-77 a=1\n", []string{"a.conf:3 no_module"}},
		{"patterns of exact look-ups", "blacklist u*\noptions u[as]* a=1\n",
			[]string{"a.conf:1 pattern", "a.conf:2 pattern"}},
		{"a pattern that matches", "install u?s /bin/false\n", nil},
		{"a pattern of aliases", "install usb:* /bin/false\nremove net-pf-* /bin/true\n",
			[]string{"a.conf:1 no_module", "a.conf:2 no_module"}},
		{"a command of an alias", "install usb:x /bin/false\ninstall usb:y /bin/false\n",
			[]string{"a.conf:2 no_module"}},
		{"options by alias", "alias mine uas\noptions mine a=1\noptions yours a=1\n",
			[]string{"a.conf:3 no_module"}},
		{"twice", "blacklist uas\nblacklist uas\noptions uas a=1\noptions uas a=1\nalias m uas\nalias m uas\n",
			[]string{"a.conf:2 repeated → a.conf:1", "a.conf:4 repeated → a.conf:3", "a.conf:6 repeated → a.conf:5"}},
		{"options again after others", "options uas a=1\noptions uas a=2\noptions uas a=1\n", nil},
		{"the first command counts", "install uas /bin/false\ninstall uas /bin/true\nremove uas /bin/true\n" +
			"softdep uas pre: x\nsoftdep uas pre: usb-storage\n",
			[]string{"a.conf:2 never_reached → a.conf:1", "a.conf:5 never_reached → a.conf:4"}},
		{"a pattern counts first", "install u* /bin/false\ninstall uas /bin/true\ninstall u* /bin/true\n" +
			"install * /bin/true\n",
			[]string{"a.conf:2 never_reached → a.conf:1", "a.conf:3 never_reached → a.conf:1"}},
		{"compiled in", "blacklist fuse\ninstall fuse /bin/false\noptions fuse a=1\nsoftdep fuse pre: uas\n",
			[]string{"a.conf:1 builtin", "a.conf:2 builtin", "a.conf:3 builtin", "a.conf:4 builtin"}},
		{"no such module", "blacklist usb-storge\nsoftdep nothing pre: uas\n",
			[]string{"a.conf:1 no_module", "a.conf:2 no_module"}},
		{"a command beside softdeps", "softdep uas pre: usb-storage\ninstall uas /bin/false\n",
			[]string{"a.conf:2 softdep → a.conf:1"}},
		{"a command beside softdeps of nothing", "softdep uas pre: nothing\ninstall uas /bin/false\n", nil},
	} {
		fsys := linuxtest.Files(lintRoot(map[string]string{"etc/modprobe.d/a.conf": tt.conf}))
		var r fact.Report
		if got := lint(fsys, &r); !slices.Equal(got, tt.want) || len(r.Problems) > 0 {
			t.Errorf("%s: %q, want %q, problems %v", tt.name, got, tt.want, r.Problems)
		}
	}
}

// TestLintOfReleases: the softdeps that depmod wrote are not lines of the administrator's, and those of one release say
// nothing of another.
func TestLintOfReleases(t *testing.T) {
	files := lintRoot(map[string]string{
		"lib/modules/6/modules.softdep": "softdep uas pre: usb-storage\nsoftdep uas pre: usb-storage\n" +
			"softdep x pre: y\n",
		"lib/modules/7/modules.dep":     "kernel/uas.ko:\n",
		"lib/modules/7/modules.builtin": "",
		"etc/modprobe.d/z.conf":         "softdep uas pre: fuse\ninstall uas /bin/false\n",
	})
	fsys := linuxtest.Files(files)
	if got, want := lint(fsys, new(fact.Report)), []string{
		"z.conf:1 never_reached → lib/modules/6/modules.softdep:1",
		"z.conf:2 softdep → lib/modules/6/modules.softdep:1",
	}; !slices.Equal(got, want) {
		t.Errorf("of one release %q, want %q", got, want)
	}
	six := OpenTree(fsys, ReleaseDir{Release: "6", Dir: "lib/modules/6"}, true)
	seven := OpenTree(fsys, ReleaseDir{Release: "7", Dir: "lib/modules/7"}, true)
	if got := six.Config().Lint([]*Tree{six, seven}, new(fact.Report)); len(got) > 0 {
		t.Errorf("of two releases: %+v", got)
	}
}

// TestLintMergedUsr: a file does not mask itself where lib is a link to usr/lib.
func TestLintMergedUsr(t *testing.T) {
	fsys := linuxtest.Files(map[string]string{"usr/lib/modprobe.d/a.conf": "blacklist uas\n",
		"usr/lib/modprobe.d/b": "blacklist uas\n"})
	fsys["lib"] = linuxtest.Link("usr/lib")
	idle := IdleFiles(fsys, ConfigDirs, new(fact.Report))
	if len(idle) != 1 || idle[0].File != "usr/lib/modprobe.d/b" {
		t.Errorf("%+v", idle)
	}
}

// TestLintFiles: what kmod does not read at all, and the words of the command line.
func TestLintFiles(t *testing.T) {
	fsys := linuxtest.Files(lintRoot(map[string]string{
		"etc/modprobe.d/a.conf":         "blacklist uas\n",
		"etc/modprobe.d/blacklist":      "blacklist uas\n",
		"etc/modprobe.d/README":         "Put files here.\n",
		"etc/modprobe.d/.hidden.conf":   "blacklist uas\n",
		"usr/lib/modprobe.d/a.conf":     "blacklist usb-storage\n",
		"usr/lib/modprobe.d/empty.conf": "# nothing\n",
		"lib/modprobe.d/empty.conf":     "# nothing, too\n",
		"etc/modprobe.conf":             "install uas /bin/false\n",
		"proc/cmdline":                  "quiet modprobe.blacklist=usb-storage,uas\n",
	}))
	var r fact.Report
	want := []string{"proc/cmdline:1 spelling", "blacklist:0 not_read",
		"usr/lib/modprobe.d/a.conf:0 masked → a.conf:0", "etc/modprobe.conf:0 not_read"}
	if got := lint(fsys, &r); !slices.Equal(got, want) || len(r.Problems) > 0 {
		t.Errorf("%q\nwant %q, problems %v", got, want, r.Problems)
	}
}

// TestLintFailsClosed: no line is called idle by a look-up that failed.
func TestLintFailsClosed(t *testing.T) {
	conf := "blacklist gone\ninstall g* /bin/false\nblacklist fuse\nblacklist uas\nblacklist uas\n"
	files := lintRoot(map[string]string{"etc/modprobe.d/a.conf": conf})
	everything := []string{"a.conf:1 no_module", "a.conf:2 no_module", "a.conf:3 builtin",
		"a.conf:5 repeated → a.conf:4"}
	if got := lint(linuxtest.Files(files), new(fact.Report)); !slices.Equal(got, everything) {
		t.Fatalf("%q", got)
	}
	refused := errors.New("input/output error")
	for name, want := range map[string][]string{
		"lib/modules/6/modules.dep":     {"a.conf:3 builtin", "a.conf:5 repeated → a.conf:4"},
		"lib/modules/6/modules.builtin": {"a.conf:5 repeated → a.conf:4"},
	} {
		fsys := linuxtest.Files(files)
		var r fact.Report
		got := lint(failing{fsys, name, refused}, &r)
		if !slices.Equal(got, want) || len(r.Problems) == 0 {
			t.Errorf("%s refused: %q, want %q, problems %v", name, got, want, r.Problems)
		}
	}
	none := ConfigOf(map[string][]byte{"etc/modprobe.d/a.conf": []byte(conf)}, nil)
	if got := none.Lint(nil, new(fact.Report)); len(got) != 1 || got[0].Reason.Code != IdleRepeated {
		t.Errorf("without trees: %+v", got)
	}
}

// failing is a file system of which one file cannot be read.
type failing struct {
	fs.FS
	name string
	err  error
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
	}
	return f.FS.Open(name)
}

// TestLintOfMany has as many lines as a file holds, all of one name, of patterns, and of names like those of modules.
func TestLintOfMany(t *testing.T) {
	for _, line := range []string{"install a%d* /bin/true\n", "alias a uas%d\n",
		"blacklist uas%d\n", "options uas a=%d\n"} {
		var b strings.Builder
		for i := range 20000 {
			fmt.Fprintf(&b, line, i)
		}
		fsys := linuxtest.Files(lintRoot(map[string]string{"etc/modprobe.d/a.conf": b.String()}))
		r := fact.Report{Budget: fact.NewBudget(0)}
		lint(fsys, &r)
		if cost := r.Budget.Cost(); cost.Work > 4<<30 {
			t.Errorf("%q: %+v", line, cost)
		}
	}
}
