// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// run runs a tool and returns what it prints. A tool that is not there skips the test.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	if exit, ok := err.(*exec.ExitError); ok && name != "dpkg" && !strings.Contains(strings.Join(args, " "), "-V") {
		t.Fatalf("%s %v: %v\n%s", name, args, err, exit.Stderr)
	}
	return string(out)
}

// spec is what two packages are built of: ordinary modules, a ghost, a configuration, and a vendor's with an epoch.
const spec = `Name: kernel-test
Version: 6.8.5
Release: 301.fc40
Summary: x
License: x
Vendor: Test Project
BuildArch: noarch
%description
%package -n kmod-vendor
Summary: x
Epoch: 3
Vendor: Hardware Vendor
%description -n kmod-vendor
%install
mkdir -p %{buildroot}/lib/modules/6.8.5/kernel/net %{buildroot}/usr/lib/modules/6.8.5/extra %{buildroot}/etc
cd %{buildroot}/lib/modules/6.8.5/kernel
for m in $(seq 400); do mkdir -p d$m; echo $m > d$m/m$m.ko; done
echo v > %{buildroot}/usr/lib/modules/6.8.5/extra/vendor.ko
echo c > %{buildroot}/lib/modules/6.8.5/config.ko
echo g > %{buildroot}/lib/modules/6.8.5/ghost.ko
%files
/lib/modules/6.8.5/kernel
%config /lib/modules/6.8.5/config.ko
%ghost /lib/modules/6.8.5/ghost.ko
%files -n kmod-vendor
/usr/lib/modules/6.8.5/extra
`

// rpmRoot builds packages and installs them into a root with rpm's own database. It returns the root.
func rpmRoot(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	if err := os.WriteFile(top+"/a.spec", []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(root+"/var/lib/rpm", 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+top, "--define", "_binary_payload w1.gzdio",
		top+"/a.spec")
	args := []string{"--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--noscripts", "-i"}
	files, err := filepath.Glob(top + "/RPMS/noarch/*.rpm")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	if os.Getuid() != 0 {
		t.Skip("rpm --root needs root")
	}
	run(t, "rpm", append(args, files...)...)
	return root
}

// TestAsRPM compares with rpm itself, over a root that it filled: whose file each is, and which was changed. The same
// packages are then read from a database of BerkeleyDB, which db5.3_load makes.
func TestAsRPM(t *testing.T) {
	root := rpmRoot(t)
	rpm := func(args ...string) string {
		return run(t, "rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	ours := func(root string) (string, *Owners) {
		var r fact.Report
		o := Read(t.Context(), modules(os.DirFS(root)), &r, RPM)
		if !o.Whole || !o.Found || len(r.Problems) > 0 {
			t.Errorf("whole %v, found %v, %v", o.Whole, o.Found, r.Problems)
		}
		var lines []string
		for path, f := range o.Files {
			lines = append(lines, fmt.Sprintf("%s|%s|%s|%s|/%s\n", f.Name, f.Version, f.Arch, f.Vendor, path))
		}
		return sorted(lines), o
	}
	got, o := ours(root)
	args := []string{"-qf", "--qf", "%{NAME}|%{EVR}|%{ARCH}|%{VENDOR}\n"}
	paths := slices.Sorted(maps.Keys(o.Files))
	paths = slices.DeleteFunc(paths, func(path string) bool { return strings.HasSuffix(path, "ghost.ko") }) // not there
	for _, path := range paths {
		args = append(args, "/"+path)
	}
	want := []string{"kernel-test|6.8.5-301.fc40|noarch|Test Project|/lib/modules/6.8.5/ghost.ko\n"}
	for i, line := range strings.Split(strings.TrimSpace(rpm(args...)), "\n") {
		want = append(want, line+"|/"+paths[i]+"\n")
	}
	if len(o.Files) != 403 || got != sorted(want) {
		t.Errorf("%d files, not as rpm -qf:\n%.2000s\n%.2000s", len(o.Files), got, sorted(want))
	}
	write := func(text string) func(name string) error {
		return func(name string) error { return os.WriteFile(name, []byte(text), 0o644) }
	}
	for path, edit := range map[string]func(name string) error{
		"lib/modules/6.8.5/kernel/d7/m7.ko":       write("7!"),
		"lib/modules/6.8.5/kernel/d8/m8.ko":       os.Remove,
		"lib/modules/6.8.5/config.ko":             write("c!"),
		"usr/lib/modules/6.8.5/extra/vendor.ko":   write("V\n"),
		"usr/lib/modules/6.8.5/extra/unowned.ko":  write(""),
		"lib/modules/6.8.5/kernel/d9/m9.ko.other": write(""),
	} {
		if err := edit(filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	verifyAsRPM(t, root, o, rpm("-Va", "--nodeps", "--nouser", "--nogroup", "--nomode", "--nomtime"))
	bdb := filepath.Join(t.TempDir(), "root")
	bdbOf(t, root, bdb)
	if again, _ := ours(bdb); again != got {
		t.Errorf("BerkeleyDB: other owners:\n%.2000s", again)
	}
}

// verifyAsRPM compares with what rpm -V says of content: a 5 in the third place, or "missing".
func verifyAsRPM(t *testing.T, root string, o *Owners, said string) {
	t.Helper()
	var want, got []string
	for line := range strings.Lines(said) {
		f := strings.Fields(line)
		path := f[len(f)-1]
		switch {
		case len(f) > 2 && f[1] == "c": // a configuration may be changed
		case f[0] == "missing":
			want = append(want, KindMissing+" "+path+"\n")
		case len(f[0]) > 2 && f[0][2] == '5':
			want = append(want, KindChanged+" "+path+"\n")
		}
	}
	var r fact.Report
	c := o.Compare(t.Context(), os.DirFS(root), "packages", func(string) bool { return true }, 1<<20, &r)
	for _, f := range c.Found {
		got = append(got, f.Kind+" /"+f.Path+"\n")
	}
	if sorted(got) != sorted(want) || len(got) != 3 || len(r.Problems) > 0 {
		t.Errorf("%s, rpm -V says %s: %s %v", sorted(got), sorted(want), said, r.Problems)
	}
}

// bdbOf writes the packages of a root into a hash database of BerkeleyDB below another one.
func bdbOf(t *testing.T, from, to string) {
	t.Helper()
	dir := filepath.Join(to, "var/lib/rpm")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\nHEADER=END\n 00000000\n ff000000\n")
	blobs := run(t, "sqlite3", from+"/var/lib/rpm/rpmdb.sqlite", "SELECT lower(hex(blob)) FROM Packages ORDER BY hnum")
	n := 0
	for line := range strings.Lines(blobs) {
		n++
		fmt.Fprintf(&text, " %02x000000\n %s\n", n, strings.TrimSpace(line))
	}
	text.WriteString("DATA=END\n")
	input := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(input, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "db5.3_load", "-f", input, filepath.Join(dir, "Packages"))
}

// TestAsDpkg compares with dpkg itself on a machine that has it: whose file each is below /usr/lib, and what dpkg -V
// says of one package's.
func TestAsDpkg(t *testing.T) {
	const dir = "usr/share/doc/"
	list := run(t, "dpkg-query", "-S", "/"+dir+"*/copyright")
	q := Query{FS: os.DirFS("/"), Source: "packages", Dirs: []string{dir}, Sums: true,
		Wanted: func(path string) bool { return strings.HasSuffix(path, "/copyright") }}
	var r fact.Report
	o := Read(t.Context(), q, &r, Dpkg)
	if !o.Whole || len(r.Problems) > 0 || len(o.Files) < 50 {
		t.Fatalf("whole %v, %d files, %v", o.Whole, len(o.Files), r.Problems)
	}
	versions := map[string]string{}
	for line := range strings.Lines(run(t, "dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n")) {
		versions[strings.TrimSpace(line)] = "installed"
	}
	seen := 0
	var packages []string
	for line := range strings.Lines(list) {
		names, path, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if f, owned := o.Files[strings.TrimPrefix(path, "/")]; ok && !strings.HasPrefix(line, "diversion") {
			seen++
			first, _, _ := strings.Cut(names, ",")
			name, _, _ := strings.Cut(first, ":")
			if !owned || f.Name != name && !strings.Contains(names, f.Name) {
				t.Errorf("%s: %q, want one of %s", path, f.Name, names)
			}
			if versions[f.Name+" "+f.Version+" "+f.Arch] == "" {
				t.Errorf("%s %s %s is not installed", f.Name, f.Version, f.Arch)
			}
			packages = append(packages, first)
		}
	}
	if seen != len(o.Files) {
		t.Errorf("%d files, dpkg -S names %d", len(o.Files), seen)
	}
	packages = packages[:min(20, len(packages))]
	said := run(t, "dpkg", append([]string{"-V"}, packages...)...)
	c := o.Compare(t.Context(), os.DirFS("/"), "packages", func(path string) bool {
		return slices.Contains(packages, o.Files[path].Name)
	}, 1<<20, &r)
	for _, f := range c.Found {
		if !strings.Contains(said, "/"+f.Path) {
			t.Errorf("%s %s: dpkg -V does not say so", f.Kind, f.Path)
		}
	}
}

// sorted returns the lines in order.
func sorted(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "")
}
