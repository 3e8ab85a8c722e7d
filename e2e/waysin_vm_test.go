// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
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

// loadedList returns the kernel's list, each module behind a newline.
func loadedList(g *lab.Guest) string { return "\n" + string(g.File("/proc/modules")) }

// The initial file systems of the test: the same copies, without and with the line that blocks one.
const (
	openInitial   = "/srv/open"
	closedInitial = "/srv/closed"
	initialConf   = "install af_alg /bin/false\n"
)

// addInitialFiles adds two initial file systems, packed for the boot loader and unpacked to be tried.
func addInitialFiles(t *testing.T, i *vm.Image, k debian.Kernel) {
	t.Helper()
	modules, err := k.Closure(t.Context(), "af_alg")
	if err != nil {
		t.Fatal(err)
	}
	indexes, err := filepath.Glob(filepath.Join(k.Tree(), "modules.*"))
	if err != nil {
		t.Fatal(err)
	}
	for dir, conf := range map[string]string{openInitial: "# nothing\n", closedInitial: initialConf} {
		packed := vm.NewImage()
		add := func(name string, data []byte) {
			packed.Add(name, 0o644, data)
			i.Add(path.Join(dir, name), 0o644, data)
		}
		for _, file := range append(modules, indexes...) {
			name, err := filepath.Rel(k.Root, file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			add("/"+name, data)
		}
		add("/etc/modprobe.d/x.conf", []byte(conf))
		packed.Copy("/usr/bin/kmod", "/usr/bin/kmod")
		packed.Link("/usr/sbin/modprobe", "../bin/kmod")
		var b bytes.Buffer
		if err := packed.Write(&b); err != nil {
			t.Fatal(err)
		}
		i.Add("/boot/"+path.Base(dir), 0o644, b.Bytes())
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

// TestTrailingBytes: bytes behind a compressed module make modprobe of kmod 30 refuse it, and the kernel, which
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
	i.Add(name, 0o644, append(data, strings.Repeat("behind ", 10)...))
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
