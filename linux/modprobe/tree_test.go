// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/ko"
)

func testTree() *Tree {
	return OpenTree(linuxtest.Release(), ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false)
}

func TestConfig(t *testing.T) {
	c := testTree().Config()
	where := func(list []Directive) []string {
		var out []string
		for _, d := range list {
			out = append(out,
				fmt.Sprintf("%s=%s@%s:%d", d.Name, d.Value, d.File[strings.LastIndexByte(d.File, '/')+1:], d.Line))
		}
		return out
	}
	for name, c := range map[string]struct{ got, want []string }{
		"options":   {where(c.Options), []string{"a=x=1@z.conf:1", "a=y=2@z.conf:3"}},
		"blacklist": {where(c.Blacklist), []string{"c=@z.conf:4"}},
		"aliases":   {where(c.Aliases), []string{"my_dev=a@z.conf:5", "many_*=b_b@z.conf:6", "many_*=a@z.conf:7"}},
		"install":   {where(c.Install), []string{"other=/bin/true@a.conf:1"}},
		"softdeps":  {where(c.Softdeps), []string{"a=pre: crc-x none post: fs-demo@modules.softdep:1"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	var r fact.Report
	if c.Report(&r); len(r.Problems) != 4 || !c.Whole() {
		t.Errorf("%v", r.Problems)
	}
}

func TestResolve(t *testing.T) {
	tree := testTree()
	for query, want := range map[string]string{
		"a": "a/name", "b-b": "b_b/name", "pci:v1d0015": "a/alias c/alias", "pci:v1d0099": "a/alias",
		"fs-demo":     "b_b/alias",
		"symbol:do_c": "c/symbol", "symbol:none": "", "my-dev": "a/config_alias",
		"many-x": "b_b/config_alias a/config_alias",
		"crc-x":  "crc_x/builtin/builtin", "other": "other/command", "nothing": "",
	} {
		var r fact.Report
		matches, err := tree.Resolve(query, &r)
		var got []string
		for _, m := range matches {
			s := m.Name + "/" + m.By
			if m.Builtin {
				s += "/builtin"
			}
			got = append(got, s)
		}
		if err != nil || r.Problems != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, %v; want %q", query, got, r.Problems, err, want)
		}
	}
	if _, err := tree.Resolve("a[b", new(fact.Report)); err == nil {
		t.Error("unbalanced brackets")
	}
}

// TestResolveWithoutBuiltins has a list of what is compiled in that is invalid: a module is
// found all the same, and that it may be compiled in is said.
func TestResolveWithoutBuiltins(t *testing.T) {
	fsys := linuxtest.Release()
	fsys[linuxtest.Dir+"/modules.builtin.bin"] = linuxtest.File("no index")
	tree := OpenTree(fsys, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false)
	for _, query := range []string{"a", "pci:v1d0015", "symbol:do_c", "my-dev", "other"} {
		var r fact.Report
		matches, err := tree.Resolve(query, &r)
		if err != nil || len(matches) == 0 || len(r.Problems) != 1 {
			t.Errorf("%s: %v, %v, %v", query, matches, r.Problems, err)
		}
	}
}

func TestLoadPlan(t *testing.T) {
	plan, err := testTree().Plan("a", new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Steps {
		got = append(got, fmt.Sprintf("%s %s %s builtin=%v optional=%v %s", s.Reason, s.Name, s.Path,
			s.Builtin, s.Optional, s.Params))
	}
	want := []string{
		"depends c updates/c.ko builtin=false optional=false ",
		"depends b_b kernel/b-b.ko builtin=false optional=false ",
		"softdep_pre crc_x  builtin=true optional=true ",
		"asked a kernel/a.ko builtin=false optional=false x=1 y=2",
		"depends c updates/c.ko builtin=false optional=false ",
		"softdep_post b_b kernel/b-b.ko builtin=false optional=false ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	plan, err = testTree().Plan("pci:v1d001", new(fact.Report))
	if err != nil || len(plan.Blacklisted) != 1 || plan.Blacklisted[0].Line != 4 {
		t.Errorf("a blacklisted module by its alias: %+v, %v", plan, err)
	}
	if _, err := testTree().Plan("nothing", new(fact.Report)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("nothing was found")
	}
}

// TestSoftdepLoop has softdeps that lead back to where they began.
func TestSoftdepLoop(t *testing.T) {
	fsys := linuxtest.Release()
	fsys[linuxtest.Dir+"/modules.softdep"] = linuxtest.File("softdep a pre: b-b\nsoftdep b-b pre: c\n" +
		"softdep c pre: a post: a b-b\n")
	tree := OpenTree(fsys, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false)
	plan, err := tree.Plan("a", new(fact.Report))
	if err != nil || len(plan.Steps) == 0 || len(plan.Steps) > 100 {
		t.Errorf("%d steps, %v", len(plan.Steps), err)
	}
}

func TestInventory(t *testing.T) {
	fsys := linuxtest.Release()
	fsys[linuxtest.Dir+"/modules.order"] = linuxtest.File("kernel/b-b.ko\nkernel/gone.ko\nkernel/a.ko\n")
	var r fact.Report
	inv, err := OpenTree(fsys, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false).Inventory(&r)
	if err != nil {
		t.Fatal(err)
	}
	want := []Module{
		{Name: "a", Path: "kernel/a.ko", Order: fact.CountOf(2), Needs: []string{"b_b", "c"}, UsedBy: []string{}},
		{Name: "b_b", Path: "kernel/b-b.ko", Order: fact.CountOf(0), Needs: []string{"c"}, UsedBy: []string{"a"}},
		{Name: "c", Path: "updates/c.ko", Needs: []string{}, UsedBy: []string{"a", "b_b"}, Candidates: []Candidate{
			{Path: "/" + linuxtest.Dir + "/updates/c.ko", Chosen: true, Reason: "search updates"},
			{Path: "/" + linuxtest.Dir + "/kernel/sub/c.ko", Reason: "default place"},
		}},
	}
	if diff := cmp.Diff(want, inv.Modules, cmp.Comparer(func(a, b fact.Count) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r.Problems != nil || !inv.Whole {
		t.Errorf("%+v, %v", inv, r.Problems)
	}
}

func TestStaleAndMissingIndexes(t *testing.T) {
	fsys := linuxtest.Release()
	fsys[linuxtest.Dir+"/kernel/new.ko"] = fsys[linuxtest.Dir+"/kernel/a.ko"]
	delete(fsys, linuxtest.Dir+"/kernel/b-b.ko")
	var r fact.Report
	inv, err := OpenTree(fsys, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false).Inventory(&r)
	if err != nil || !inv.Whole || len(r.Problems) != 2 || !strings.Contains(r.Problems[0].Text, "kernel/b-b.ko") ||
		!strings.Contains(r.Problems[1].Text, "kernel/new.ko") {
		t.Errorf("%q, %v", r.Problems, err)
	}
	flat := fstest.MapFS{"lib/modules/5.15.134/x.ko": linuxtest.File(""),
		"lib/modules/5.15.134/y.ko": linuxtest.File("")}
	dirs, err := Releases(flat, &r)
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	r = fact.Report{}
	inv, err = OpenTree(flat, dirs[0], false).Inventory(&r)
	if err != nil || !inv.Whole || len(r.Problems) != 1 || r.Problems[0].Code != fact.CodeAbsent ||
		len(inv.Modules) != 2 || inv.Modules[0].Needs != nil ||
		inv.Modules[0].UsedBy != nil {
		t.Errorf("%+v, %v", inv, err)
	}
}

// TestBusyBoxDep has lists that are not complete, and paths with "./".
func TestBusyBoxDep(t *testing.T) {
	fsys := linuxtest.Release()
	fsys[linuxtest.Dir+"/modules.dep"] = linuxtest.File("./kernel/a.ko: ./kernel/b-b.ko\n" +
		"./kernel/b-b.ko: ./updates/c.ko\r\n./updates/c.ko:\nrubbish\n")
	var r fact.Report
	inv, err := OpenTree(fsys, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false).Inventory(&r)
	if err != nil || !slices.Equal(inv.Modules[0].Needs, []string{"b_b", "c"}) || inv.Whole || len(r.Problems) == 0 {
		t.Errorf("%+v, %v, %v", inv, r.Problems, err)
	}
}

func TestReleases(t *testing.T) {
	fsys := fstest.MapFS{
		"lib/modules/6.1.0/modules.dep":                          linuxtest.File(""),
		"usr/lib/modules/6.1.0/modules.dep":                      linuxtest.File(""),
		"run/current-system/kernel-modules/lib/modules/6.12.0/x": linuxtest.File(""),
		"vendor/lib/modules/wlan.ko":                             linuxtest.File(""),
		"lib/modules/README":                                     linuxtest.File(""),
	}
	dirs, err := Releases(fsys, new(fact.Report))
	want := []ReleaseDir{{Release: "6.1.0", Dir: "lib/modules/6.1.0", Beside: []string{"usr/lib/modules/6.1.0"}},
		{Release: "6.12.0", Dir: "run/current-system/kernel-modules/lib/modules/6.12.0"}, {Dir: "vendor/lib/modules"}}
	if diff := cmp.Diff(want, dirs, cmp.AllowUnexported(ReleaseDir{}, fact.Report{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := Releases(fstest.MapFS{}, new(fact.Report)); fact.CodeOf(err) != fact.CodeAbsent {
		t.Error(err)
	}
	for _, bad := range []string{"", "..", "a/b"} {
		if _, err := FindRelease(fsys, bad); err == nil {
			t.Errorf("%q was found", bad)
		}
	}
}

// TestDirectoriesBeside has second directories of a release that are the first by another name, and some that are not.
func TestDirectoriesBeside(t *testing.T) {
	for name, tt := range map[string]struct {
		fsys fstest.MapFS
		want []ReleaseDir
	}{
		"merged": {fstest.MapFS{"lib": linuxtest.Link("usr/lib"), "usr/lib/modules/1/modules.dep": linuxtest.File("")},
			[]ReleaseDir{{Release: "1", Dir: "lib/modules/1"}}},
		"links": {fstest.MapFS{"lib/modules/1": linuxtest.Link("../../usr/lib/modules/1"),
			"usr/lib/modules/1/modules.dep": linuxtest.File("")},
			[]ReleaseDir{{Release: "1", Dir: "lib/modules/1"}}},
		"two": {fstest.MapFS{"lib/modules/1/updates/kmp.ko": linuxtest.File(""),
			"usr/lib/modules/1/kernel/a.ko": linuxtest.File("")},
			[]ReleaseDir{{Release: "1", Dir: "lib/modules/1", Beside: []string{"usr/lib/modules/1"}}}},
		"NixOS, an image": {
			fstest.MapFS{"nix/var/nix/profiles/system/kernel-modules/lib/modules/1/modules.dep": linuxtest.File("")},
			[]ReleaseDir{{Release: "1", Dir: "nix/var/nix/profiles/system/kernel-modules/lib/modules/1"}}},
		"Arch": {fstest.MapFS{"lib/modules/1-arch/modules.dep": linuxtest.File(""),
			"lib/modules/1-arch/extramodules":         linuxtest.Link("../extramodules-1-ARCH"),
			"lib/modules/extramodules-1-ARCH/version": linuxtest.File("1-arch\n")},
			[]ReleaseDir{{Release: "1-arch", Dir: "lib/modules/1-arch"}}},
		"Android": {fstest.MapFS{"vendor/lib/modules": linuxtest.Link("../../vendor_dlkm/lib/modules"),
			"vendor_dlkm/lib/modules/wlan.ko": linuxtest.File(""),
			"system_dlkm/lib/modules/zram.ko": linuxtest.File("")},
			[]ReleaseDir{{Dir: "vendor/lib/modules", Beside: []string{"system_dlkm/lib/modules"}}}},
		"Android, by release": {fstest.MapFS{"system_dlkm/lib/modules/6.1.0-x/kernel/zram.ko": linuxtest.File("")},
			[]ReleaseDir{{Release: "6.1.0-x", Dir: "system_dlkm/lib/modules/6.1.0-x"}}},
	} {
		dirs, err := Releases(tt.fsys, new(fact.Report))
		if diff := cmp.Diff(tt.want, dirs, cmp.AllowUnexported(ReleaseDir{}, fact.Report{})); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if release := tt.want[0].Release; release != "" {
			dir, err := FindRelease(tt.fsys, release)
			diff := cmp.Diff(tt.want[0], dir, cmp.AllowUnexported(ReleaseDir{}, fact.Report{}))
			if err != nil || diff != "" {
				t.Errorf("%s, found: %v (-want +got):\n%s", name, err, diff)
			}
		}
	}
}

// loops is nothing but links to themselves.
type loops struct{ fstest.MapFS }

func (loops) ReadLink(name string) (string, error) { return path.Base(name), nil }

func TestRealDir(t *testing.T) {
	if dir, err := realDir(fstest.MapFS{"lib": linuxtest.Link("/usr/lib")},
		"lib/modules/1"); dir != "usr/lib/modules/1" || err != nil {
		t.Error(dir, err)
	}
	if dir, err := realDir(loops{}, "lib/modules/1"); err == nil {
		t.Error(dir)
	}
}

// TestReleasesOfARealDirectory is a merged /usr as an operating system shows it.
func TestReleasesOfARealDirectory(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "usr/lib/modules/1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Skip("skipped: this system makes no links:", err)
	}
	dirs, err := Releases(os.DirFS(root), new(fact.Report))
	if diff := cmp.Diff([]ReleaseDir{{Release: "1", Dir: "lib/modules/1"}}, dirs,
		cmp.AllowUnexported(ReleaseDir{}, fact.Report{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestAndroid has modules in several flat directories, with and without whole paths in modules.dep.
func TestAndroid(t *testing.T) {
	fsys := fstest.MapFS{
		"vendor_dlkm/lib/modules/wlan.ko": linuxtest.File(""),
		"vendor_dlkm/lib/modules/modules.dep": linuxtest.File("/vendor_dlkm/lib/modules/wlan.ko: " +
			"/system_dlkm/lib/modules/rfkill.ko\n"),
		"system_dlkm/lib/modules/rfkill.ko":   linuxtest.File(""),
		"system_dlkm/lib/modules/zram.ko":     linuxtest.File(""),
		"system_dlkm/lib/modules/modules.dep": linuxtest.File("rfkill.ko:\nzram.ko: rfkill.ko\n"),
	}
	dirs, err := Releases(fsys, new(fact.Report))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	tree := OpenTree(fsys, dirs[0], true)
	var r fact.Report
	inv, err := tree.Inventory(&r)
	var got []string
	for _, m := range inv.Modules {
		got = append(got, m.Name+" "+tree.Path(m.Path)+" "+strings.Join(m.Needs, ","))
	}
	want := []string{"rfkill system_dlkm/lib/modules/rfkill.ko ", "zram system_dlkm/lib/modules/zram.ko rfkill",
		"wlan vendor_dlkm/lib/modules/wlan.ko rfkill"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || r.Problems != nil {
		t.Errorf("%v, %+v, %v (-want +got):\n%s", err, inv, r.Problems, diff)
	}
	if name, err := tree.FileOf("zram"); tree.Path(name) != "system_dlkm/lib/modules/zram.ko" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
}

// TestModulesBeside asks for a module that only the other directory has.
func TestModulesBeside(t *testing.T) {
	fsys := linuxtest.Release()
	fsys["usr/"+linuxtest.Dir+"/kernel/only.ko"] = linuxtest.File("")
	dir, err := FindRelease(fsys, "6.1.0-test")
	if err != nil {
		t.Fatal(err)
	}
	tree := OpenTree(fsys, dir, false)
	var r fact.Report
	if m, err := tree.Resolve("only", &r); m != nil || len(r.Problems) != 1 || err == nil || !dir.HasUnseen() {
		t.Errorf("%v, %v, %v", m, r.Problems, err)
	}
	r = fact.Report{}
	if inv, err := tree.Inventory(&r); err != nil || inv.Whole || len(r.Problems) != 1 ||
		!strings.Contains(r.Problems[0].Text, "usr/"+linuxtest.Dir) {
		t.Errorf("%+v, %v, %v", inv, r.Problems, err)
	}
}

func TestBuiltinList(t *testing.T) {
	var r fact.Report
	got, err := testTree().Builtin(&r)
	want := []BuiltinModule{
		{Name: "core", Modinfo: ko.Modinfo{{Key: "author", Value: "A"}, {Key: "license", Value: "GPL"}}},
		{Name: "crc_x", File: "kernel/lib/crc-x.ko",
			Modinfo: ko.Modinfo{{Key: "license", Value: "GPL"}, {Key: "parm", Value: "p:two\nlines"},
				{Key: "author", Value: "B"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || r.Problems != nil {
		t.Errorf("%v, %v (-want +got):\n%s", err, r.Problems, diff)
	}
}

// TestExcludedFiles: depmod's exclude names files as well as directories, by their whole base name.
func TestExcludedFiles(t *testing.T) {
	inv, err := OpenTree(fstest.MapFS{
		"etc/depmod.d/x.conf":                  linuxtest.File("exclude foo-bar.ko dir m\n"),
		"lib/modules/6.1/kernel/foo-bar.ko":    linuxtest.File(""),
		"lib/modules/6.1/kernel/foo_bar.ko.xz": linuxtest.File(""),
		"lib/modules/6.1/kernel/m.ko":          linuxtest.File(""), "lib/modules/6.1/dir/n.ko": linuxtest.File(""),
		"lib/modules/6.1/foo-bar.ko": linuxtest.File(""),
	}, ReleaseDir{Release: "6.1", Dir: "lib/modules/6.1"}, false).Inventory(new(fact.Report))
	if err != nil || len(inv.Modules) != 2 || inv.Modules[0].Path != "kernel/foo_bar.ko.xz" ||
		inv.Modules[0].Candidates != nil || inv.Modules[1].Name != "m" {
		t.Errorf("%+v, %v", inv, err)
	}
}

// TestUnreadableTree: an unreadable file is distinguished from a missing one.
func TestUnreadableTree(t *testing.T) {
	tree := OpenTree(refusesIndexes{linuxtest.Release()}, ReleaseDir{Release: "6.1.0-test", Dir: linuxtest.Dir}, false)
	var r fact.Report
	if _, err := tree.Resolve("pci:v1d0015", &r); !errors.Is(err, fs.ErrPermission) || len(r.Problems) == 0 {
		t.Errorf("%v, %v", r.Problems, err)
	}
	r = fact.Report{}
	inv, err := tree.Inventory(&r)
	if err != nil || inv.Whole || !errors.Is(r.Problems[0], fs.ErrPermission) || inv.Modules[0].Needs != nil {
		t.Errorf("%+v, %v", inv, err)
	}
}

// refusesIndexes refuses to open indexes.
type refusesIndexes struct{ fstest.MapFS }

func (r refusesIndexes) Open(name string) (fs.File, error) {
	if strings.Contains(name, "/modules.") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return r.MapFS.Open(name)
}

func FuzzConfig(f *testing.F) {
	f.Add("options a b=1\\\n c\nalias x[0-9] y\nsoftdep a pre: b post: c\ninstall a /bin/false\n",
		`quiet a.b=1 "c.d=e f" modprobe.blacklist=x,y`)
	f.Fuzz(func(t *testing.T, text, cmdline string) {
		var c Config
		c.parse([]byte(text), "fuzz.conf")
		c.ParseCmdline(cmdline, "cmdline")
		n := len(c.Aliases) + len(c.Blacklist) + len(c.Options) + len(c.Install) + len(c.Remove) +
			len(c.Softdeps) + len(c.Weakdeps)
		if n > strings.Count(text, "\n")+1+strings.Count(cmdline, " ")+1+strings.Count(cmdline, ",") {
			t.Fatal("more directives than lines")
		}
		for _, d := range c.Softdeps {
			ko.ParseSoftdep(d.Value)
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add([]byte("kernel/a.ko: kernel/b.ko\n"), []byte("a.key=value\x00"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		lines, _ := parseDep(a)
		parseOrder(a)
		buildIndex(parseAliases(a), "fuzz")
		if list := parseBuiltin(a, b); len(list)+len(lines) > 2*(len(a)+len(b))+2 {
			t.Fatal("more than there was")
		}
	})
}
