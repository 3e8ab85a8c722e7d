// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/e2e/vm"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
)

// A doctored module is a file in the folder updates of a tree, and what the kernel makes of it.
type doctored struct {
	file   string // its name without ".ko"
	data   []byte
	comes  string // the kernel's name for what insmod loads; empty if the kernel refuses the file
	refuse string // what the kernel says then, on its console or as insmod's error
}

// plainModule returns a module of the kernel without its signature.
func plainModule(t *testing.T, k debian.Kernel, name string) []byte {
	t.Helper()
	files, err := k.Closure(t.Context(), name)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", name, files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return unsigned(t, data)
}

// patch replaces what has to be in a module, by text of the same length.
func patch(t *testing.T, data []byte, pairs ...string) []byte {
	t.Helper()
	data = bytes.Clone(data)
	for i := 0; i < len(pairs); i += 2 {
		if len(pairs[i]) != len(pairs[i+1]) || !bytes.Contains(data, []byte(pairs[i])) {
			t.Fatalf("cannot replace %q by %q", pairs[i], pairs[i+1])
		}
		data = bytes.ReplaceAll(data, []byte(pairs[i]), []byte(pairs[i+1]))
	}
	return data
}

// doctoredModules are the files that are tried on a kernel that was started with module_blacklist=dummy,ways_b.
func doctoredModules(t *testing.T, k debian.Kernel) []doctored {
	t.Helper()
	dummy, ifb := plainModule(t, k, "dummy"), plainModule(t, k, "ifb")
	other := []string{"vermagic=6.", "vermagic=9."}
	flags := []string{"mod_unload modversions", "mod_unload modversionz"}
	crcs := []string{"\x00__versions\x00", "\x00__versionx\x00"}
	return []doctored{
		{"ways_a", dummy, "", "blacklisted"}, // the name inside is on the list
		{"ways_b", ifb, "ifb", ""},           // the file's is
		{"ways_c", patch(t, dummy, "\x00name=dummy\x00", "\x00name=dumma\x00"), "dummy", ""}, // .modinfo counts
		{"ways_d", patch(t, ifb, other...), "ifb", ""},
		{"ways_e", patch(t, ifb, append(other, crcs...)...), "", "version magic"},
		{"ways_f", patch(t, ifb, crcs...), "ifb", ""}, // tainted, as with force
		{"ways_g", patch(t, ifb, flags...), "", "version magic"},
	}
}

// TestWaysIn tries files whose names, version magic and symbol versions are not what they should be, and copies in an
// initial file system; what lkm check says of each is what the kernel did.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "dummy", "ifb", "af_alg")
	files := doctoredModules(t, k)
	updates := "/lib/modules/" + k.Release + "/updates/"
	for _, d := range files {
		i.Add(updates+d.file+".ko", 0o644, d.data)
	}
	addInitialFiles(t, i, k)
	g := lab.Boot(t, k, i, "module_blacklist=dummy,ways_b", "loglevel=7")
	g.Root("depmod")
	for _, d := range files {
		for way, argv := range map[string][]string{
			linux.WayModprobe: {"modprobe", d.file}, linux.WayInsmod: {"insmod", updates + d.file + ".ko"},
		} {
			d.try(t, g, way, argv)
		}
	}
	tryInitialCopies(t, g, k)
}

// try loads the file in one way and compares.
func (d doctored) try(t *testing.T, g *lab.Guest, way string, argv []string) {
	t.Helper()
	said := verdictNow(t, g, d.file, way)
	before := len(g.Console())
	r := g.Do(agent.Command{Argv: argv})
	list := loadedList(g)
	came := d.comes != "" && strings.Contains(list, "\n"+d.comes+" ")
	if came != (d.comes != "") || strings.Contains(list, "\nways_") {
		t.Errorf("%s: want %q loaded; %s\n%s%s", argv, d.comes, list, r.Stderr, g.Console()[before:])
	}
	if why := g.Console()[before:] + string(r.Stderr); !came && !strings.Contains(why, d.refuse) {
		t.Errorf("%s: the kernel said %q, want %q", argv, why, d.refuse)
	}
	if said != lkm.TriOf(!came) {
		t.Errorf("%s: the kernel let it in: %v; lkm check says blocked: %q", argv, came, said)
	}
	if came {
		g.Root("rmmod", d.comes)
	}
}

// loadedList returns the kernel's list, each module after a newline.
func loadedList(g *lab.Guest) string { return "\n" + string(g.File("/proc/modules")) }

// The initial file systems of the test: the same copies, without and with the line that blocks one.
const (
	openInitial   = "/srv/open"
	closedInitial = "/srv/closed"
	initialConf   = "install af_alg /bin/false\n"
)

// treeOf returns the files of a module and of the indexes of its kernel, by their names on the machine.
func treeOf(t *testing.T, k debian.Kernel, module string) map[string][]byte {
	t.Helper()
	files, err := k.Closure(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := filepath.Glob(filepath.Join(k.Tree(), "modules.*"))
	if err != nil {
		t.Fatal(err)
	}
	tree := make(map[string][]byte)
	for _, file := range append(files, indexes...) {
		name, err := filepath.Rel(k.Root, file)
		if err != nil {
			t.Fatal(err)
		}
		if tree["/"+name], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// packInitial packs an initial file system with kmod, a tree and modprobe's configuration.
func packInitial(t *testing.T, tree map[string][]byte, conf string) []byte {
	t.Helper()
	packed := vm.NewImage()
	for name, data := range tree {
		packed.Add(name, 0o644, data)
	}
	packed.Add("/etc/modprobe.d/x.conf", 0o644, []byte(conf))
	packed.Copy("/usr/bin/kmod", "/usr/bin/kmod")
	packed.Link("/usr/sbin/modprobe", "../bin/kmod")
	var b bytes.Buffer
	if err := packed.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// addInitialFiles adds two initial file systems, packed for the boot loader and unpacked to be tried.
func addInitialFiles(t *testing.T, i *vm.Image, k debian.Kernel) {
	t.Helper()
	tree := treeOf(t, k, "af_alg")
	for dir, conf := range map[string]string{openInitial: "# nothing\n", closedInitial: initialConf} {
		for name, data := range tree {
			i.Add(path.Join(dir, name), 0o644, data)
		}
		i.Add(path.Join(dir, "/etc/modprobe.d/x.conf"), 0o644, []byte(conf))
		i.Add("/boot/"+path.Base(dir), 0o644, packInitial(t, tree, conf))
	}
	i.Add("/boot/vmlinuz-"+k.Release, 0o644, []byte("a kernel"))
	i.Add("/boot/grub/grub.cfg", 0o644, nil)
	i.Add("/etc/modprobe.d/x.conf", 0o644, []byte(initialConf))
}

// tryInitialCopies compares what modprobe does with the copies of each initial file system, while the root blocks them.
func tryInitialCopies(t *testing.T, g *lab.Guest, k debian.Kernel) {
	t.Helper()
	const name = "af_alg"
	for _, dir := range []string{openInitial, closedInitial} {
		grub := "menuentry 'one' {\n linux /boot/vmlinuz-" + k.Release + " ro\n initrd /boot/" + path.Base(dir) +
			"\n}\n"
		if err := g.WriteFile(t.Context(), "/boot/grub/grub.cfg", 0o644, []byte(grub)); err != nil {
			t.Fatal(err)
		}
		said := lkm.Tri("no such way")
		v := checkIn(t, g, name)
		for _, w := range v.NextBoot.Ways {
			if w.Way == linux.WayInitramfs {
				said = w.Blocked
			}
		}
		g.Do(agent.Command{Argv: []string{"modprobe", name}})
		if strings.Contains(loadedList(g), "\n"+name+" ") {
			t.Error("the root does not block it")
		}
		g.Do(agent.Command{Argv: []string{"modprobe", "-C", dir + "/etc/modprobe.d", "-d", dir, name}})
		came := strings.Contains(loadedList(g), "\n"+name+" ")
		if came != (dir == openInitial) || said != lkm.TriOf(!came) {
			t.Errorf("%s: the copy loads: %v; lkm check says blocked: %q, %+v", dir, came, said, v.NextBoot)
		}
		if came {
			g.Root("rmmod", name)
		}
	}
}

// TestRealInitrd boots from an initial file system, which holds the root that the boot would go on with: the root's
// modprobe refuses the module, that of the initial file system loads it, and lkm check says so of the root.
func TestRealInitrd(t *testing.T) {
	t.Parallel()
	const name, root = "af_alg", "/srv/root"
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, name)
	tree := treeOf(t, k, name)
	for file, data := range tree {
		i.Add(root+file, 0o644, data)
	}
	i.Add(root+"/boot/initrd", 0o644, packInitial(t, tree, "# nothing\n"))
	i.Add(root+"/boot/vmlinuz-"+k.Release, 0o644, []byte("a kernel"))
	i.Add(root+"/boot/config-"+k.Release, 0o644, []byte("CONFIG_MODULES=y\n# CONFIG_MODULE_SIG is not set\n"))
	i.Add(root+"/boot/grub/grub.cfg", 0o644, []byte("menuentry 'one' {\n linux /boot/vmlinuz-"+k.Release+
		" ro\n initrd /boot/initrd\n}\n"))
	i.Add(root+"/etc/modprobe.d/x.conf", 0o644, []byte(initialConf))
	g := lab.Boot(t, k, i)
	g.Root("depmod")
	r := g.Do(agent.Command{Argv: []string{lab.Lkm, "check", name, "--root", root, "--format", "json"}})
	var verdicts []lkm.Verdict
	if err := json.Unmarshal(r.Stdout, &verdicts); err != nil || len(verdicts) != 1 {
		t.Fatalf("%v\n%s%s", err, r.Stdout, r.Stderr)
	}
	said := make(map[string]lkm.Tri)
	for _, w := range verdicts[0].NextBoot.Ways {
		said[w.Way] = w.Blocked
	}
	g.Do(agent.Command{Argv: []string{"modprobe", "-d", root, "-C", root + "/etc/modprobe.d", name}})
	if came := strings.Contains(loadedList(g), "\n"+name+" "); came || said[linux.WayModprobe] != lkm.Yes {
		t.Errorf("the root's modprobe loads it: %v; lkm check says blocked: %q", came, said[linux.WayModprobe])
	}
	g.Root("modprobe", name)
	if came := strings.Contains(loadedList(g), "\n"+name+" "); !came || said[linux.WayInitramfs] != lkm.No ||
		verdicts[0].NextBoot.Outcome != lkm.VerdictLoadable {
		t.Errorf("the initial file system's modprobe loads it: %v; lkm check says %+v", came, verdicts[0].NextBoot)
	}
}

// TestTrailingBytes: bytes after a compressed module make modprobe of kmod 30 refuse it, and the kernel, which
// decompresses what later ones hand to it, does not look at them. lkm must not say that it cannot load.
func TestTrailingBytes(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud612)
	i := lab.Image(t, k, "dummy")
	files, err := k.Closure(t.Context(), "dummy")
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], ".ko.xz") {
		t.Fatalf("%v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(files[0], k.Root)
	i.Add(name, 0o644, append(data, strings.Repeat("after ", 10)...))
	i.Add(trigger, 0o755, lab.Program(t, "e2e", "./trigger"))
	g := lab.Boot(t, k, i)
	if got := string(g.File("/sys/module/compression")); got != "xz\n" {
		t.Fatalf("the kernel takes %q", got)
	}
	said := verdictNow(t, g, "dummy", linux.WayInsmod)
	if r := g.Do(agent.Command{Argv: []string{"modinfo", name}}); r.Code == 0 {
		t.Errorf("modinfo reads it: %s", r.Stdout)
	}
	out := g.Root(trigger, "load", name)
	if came := strings.Contains(loadedList(g), "\ndummy "); !came || said == lkm.Yes {
		t.Errorf("the kernel let it in: %v, %s; lkm check says blocked: %q", came, out, said)
	}
}

// TestTrailingBytesOfOthers: bytes after a module packed otherwise than the kernel can unpack. Whatever kmod makes of
// them, lkm check does not contradict what the kernel did.
func TestTrailingBytesOfOthers(t *testing.T) {
	t.Parallel()
	k := lab.Kernel(t, debian.Cloud61)
	i := lab.Image(t, k, "ifb")
	plain := plainModule(t, k, "ifb")
	updates := "/lib/modules/" + k.Release + "/updates/"
	for kind, pack := range map[string]func(*testing.T, []byte) []byte{"gz": gzipped, "zst": zstandard} {
		packed := pack(t, plain)
		i.Add(updates+"whole_"+kind+".ko."+kind, 0o644, packed)
		i.Add(updates+"more_"+kind+".ko."+kind, 0o644, append(packed[:len(packed):len(packed)], "after it"...))
	}
	g := lab.Boot(t, k, i)
	g.Root("depmod")
	for _, kind := range []string{"gz", "zst"} {
		for _, name := range []string{"whole_" + kind, "more_" + kind} {
			said := verdictNow(t, g, name, linux.WayInsmod)
			r := g.Do(agent.Command{Argv: []string{"insmod", updates + name + ".ko." + kind}})
			came := strings.Contains(loadedList(g), "\nifb ")
			t.Logf("%s: came %v, lkm check says blocked %q: %s", name, came, said, r.Stderr)
			if came && said == lkm.Yes {
				t.Errorf("%s: the kernel let it in; lkm check says blocked", name)
			}
			if came {
				g.Root("rmmod", "ifb")
			}
		}
	}
}

// gzipped packs a module with gzip.
func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zstandard packs a module with the host's zstd.
func zstandard(t *testing.T, data []byte) []byte {
	t.Helper()
	lab.Tools(t, "zstd")
	cmd := exec.Command("zstd", "-q", "-c")
	cmd.Stdin = bytes.NewReader(data)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}
