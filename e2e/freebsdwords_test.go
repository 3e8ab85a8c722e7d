// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/bsd"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/lkm"
)

// A word is one call of the real command: how it ends, and what it prints.
type word struct {
	code int
	args []string
	want []string
}

// elsewhere are the flags that ask something of other systems, or that write: bsdrun refuses to write.
var elsewhere = []string{"blocklist", "catalogs", "exec", "help", "keys", "output", "wmi", "live", "tainted"}

// everywhere are the flags that mean the same in every command, which list tries.
var everywhere = []string{"color", "quiet"}

// freebsdWords is every command with every flag that means something here. The machine's root holds /image, another
// root; the files of the command itself lie in /in.
func freebsdWords() []word {
	w := func(code int, args string, want ...string) word { return word{code, strings.Fields(args), want} }
	device := "pci:vendor=0x8086 device=0x10d3"
	return []word{
		w(0, "version", "lkm"), w(0, "help", "Available Commands"), w(0, "completion bash", "__start_lkm"),
		w(0, "list", "aesni.ko", "drm.ko"), w(0, "list --all --format csv", "if_em.ko"),
		w(0, "list --installed --fields name,path --format jsonl", `"path":"/boot/kernel/if_em.ko"`),
		w(0, "list --builtin --format markdown", `virtio\_pci/vtnet`),
		w(0, "list --third-party --detail files", "drm.ko"), w(0, "list --unsigned --detail all", ""),
		w(0, "list --state loaded --name lin*", "linux.ko"), w(0, "list --host h1 --format json", `"host": "h1"`),
		w(0, "list --verbose", "aesni.ko"), w(3, "list --strict", "aesni.ko"),
		w(0, "list --root /image --os freebsd --installed --kernel kernel", "if_em.ko"),
		w(0, "list --tape /in/a.tape", "aesni.ko"),
		w(0, "info aesni.ko", "nexus/aesni", "14.2"), w(0, "info zfs.ko --root /image", "zfs"),
		w(0, "info /boot/kernel/if_em.ko --format jsonl --fields name,path", "if_em.ko"),
		w(0, "info aesni --tape /in/a.tape --detail all --verbose --host h", "aesni.ko"),
		w(0, "info zfs --root /image --os freebsd --kernel kernel --strict", "zfs"), w(2, "info nosuch", ""),
		w(0, "info aesni --field freebsd.builtFor", "1402000"),
		w(0, "plan linux", "linux_common.ko", "/boot/kernel/linux.ko"),
		w(0, "plan zfs --root /image --os freebsd --kernel kernel --host h --format json", "zfs.ko"),
		w(0, "plan aesni --tape /in/a.tape --detail files --verbose --strict", "aesni.ko"),
		w(2, "plan aesni --fields name", ""), w(2, "config", ""), // modprobe's, which FreeBSD has not
		w(2, "upgrade 15.0-RELEASE", ""),
		w(0, "tree linux.ko", "linux_common.ko"), w(0, "tree linux_common --reverse", "linux.ko"),
		w(0, "tree linux --dot", "digraph"),
		w(0, "tree aesni --tape /in/a.tape --detail files --format json", "aesni"),
		w(0, "tree zfs --root /image --os freebsd --kernel kernel --host h --strict --verbose", "zfs"),
		w(2, "tree zfs --fields name", ""),
		{0, []string{"resolve", device, "--format", "json"}, []string{"if_em.ko"}},
		w(2, "resolve em --fields name", ""),
		w(0, "resolve zfs --root /image --os freebsd --kernel kernel --host h", "zfs.ko"),
		w(0, "resolve aesni --tape /in/a.tape --detail files --verbose", "aesni.ko"),
		w(2, "resolve nosuch --strict", ""),
		w(1, "check aesni if_em zfs", "LOADED", "LOADABLE"), w(0, "check nothing", "nothing"),
		w(1, "check zfs --root /image --os freebsd --kernel kernel --explain", "loadable"),
		w(1, "check aesni --tape /in/a.tape --format json --detail policy --host h", `"loaded"`),
		w(1, "check aesni --strict --verbose", "aesni"), w(2, "check aesni --fields query", ""),
		{1, []string{"check", device}, []string{"if_em.ko"}},
		w(0, "policy", "securelevel", "-1", "kld_list", "/etc/rc.conf"),
		w(0, "policy --root /image --os freebsd --kernel kernel --format csv --host h", "kld_list"),
		w(2, "policy --fields name", ""),
		w(0, "policy --tape /in/a.tape --detail all --strict --verbose", "securelevel"),
		w(1, "discrepancies", "gone.ko"),
		w(1, "discrepancies --format json --detail hashes --verbose --strict", "gone.ko"),
		w(0, "discrepancies --root /image --os freebsd --kernel kernel --host h", ""),
		w(2, "discrepancies --fields name", ""),
		w(1, "discrepancies --tape /in/a.tape", ""),
		w(0, "sources", "kldstat", "modstat"), w(0, "sources --plan --detail all", "kern.build_id"),
		w(0, "sources --root /image --os freebsd --kernel kernel --format json", "module_path"),
		w(2, "sources --fields source", ""),
		w(3, "sources --tape /in/a.tape --host h --strict --verbose", "kldstat"),
		w(1, "diff /in/a.json /in/b.json", "linux.ko"), w(0, "diff /in/a.json /in/a.json --format json", ""),
		w(0, "diff /in/a.json live", ""), w(2, "diff /in/a.json live --detail files --fields id", ""),
		w(0, "tape /in/a.tape", "freebsd"),
		w(0, "tape /in/a.tape --format json", "boot/kernel"),
		w(2, "tape /in/a.tape --fields os", ""),
		w(0, "import /in/kldstat.txt --as kldstat", "zfs.ko"),
		w(0, "import /in/kldstat.txt --format csv --host h --fields id",
			"zfs.ko"), w(0, "import /in/kldstat.txt --strict --verbose", "zfs.ko"),
		w(0, "record --comment made-up --detail all --unredacted --host h", "questions:", "made-up"),
		w(2, "record --root /image", ""), w(0, "record --root / --live", "questions:"),
		w(0, "record --upgrade 15.0-RELEASE aesni", "questions:"),
		w(0, "list --quiet --color never", ""),
		w(1, "audit --rules /in/rules.json --explain", "FAIL", "drm.ko"),
		w(1, "audit /in/a.json --rules /in/rules.json --baseline /in/b.json --format junit", "<testsuite"),
		w(1, "audit --rules /in/rules.json --tape /in/a.tape --detail files --host h --strict --verbose", "drm.ko"),
		w(0, "audit --init", "third-party"), w(2, "audit --rules /in/rules.json --fields nosuch", ""),
		w(1, "audit --rules /in/rules.json --root /image --os freebsd --kernel kernel --format json", "rules"),
		w(0, "export osquery --csv", "aesni.ko"), w(0, "export cyclonedx --all --detail files", "CycloneDX"),
		w(0, "export prometheus --info-max 5 --host h", "kernel_extensions"),
		w(0, "export ecs --tape /in/a.tape --verbose", "kernel_extension"),
		w(0, "export ecs --root /image --os freebsd --kernel kernel --strict", ""),
		w(0, "facts aesni --prefix k_", `"k_check_aesni": "loaded"`),
		w(0, "facts --tape /in/a.tape --detail files --host h", "lkm_loaded"),
		w(3, "facts --root /image --os freebsd --kernel kernel --strict", "lkm_unknown"),
		w(0, "mirror /in/watch.jsonl", "aesni.ko"),
		w(0, "report --output - --tape /in/a.tape --detail files --host h --verbose", "<!DOCTYPE html>"),
		w(0, "report --output - --root /image --os freebsd --kernel kernel --strict", "zfs.ko"),
		w(0, "watch --tape /in/a.tape --since /in/a.json", "baseline"),
	}
}

// TestFreeBSDWords runs every command of lkm with every flag through the real FreeBSD binary, and looks that none is
// left out. Watch has a test of its own.
func TestFreeBSDWords(t *testing.T) {
	t.Parallel()
	b := newBSDBox(t)
	root := wordsRoot(t, b)
	before := tree(t, root)
	k := bsd.New(t, b.run, bsdTable(fakeunix.GENERIC(), `sysctl kern.bootid s 000102030405060708090a0b0c0d0e0f`), root)
	used := map[string]map[string]bool{"watch": {}}
	for _, flag := range []string{"interval", "max-age", "poll", "buffer", "detail", "tape", "root", "os", "host",
		"heartbeat", "refresh"} {
		used["watch"][flag] = true
	}
	for _, c := range freebsdWords() {
		r := b.do(t, k, c.code, c.args...)
		for _, want := range c.want {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("lkm %s: no %q in\n%s%s", strings.Join(c.args, " "), want, r.Stdout, r.Stderr)
			}
		}
		flags := used[c.args[0]]
		if flags == nil {
			flags = map[string]bool{}
			used[c.args[0]] = flags
		}
		for _, a := range c.args {
			if name, ok := strings.CutPrefix(a, "--"); ok {
				flags[name] = true
			}
		}
	}
	commands := regexp.MustCompile(`(?m)^  ([a-z]+)  `).FindAllStringSubmatch(b.do(t, k, 0, "--help").Stdout, -1)
	if len(commands) < 14 {
		t.Fatalf("%d commands", len(commands))
	}
	for _, c := range commands {
		if used[c[1]] == nil {
			t.Errorf("lkm %s was not run", c[1])
			continue
		}
		if c[1] == "completion" || c[1] == "config" || c[1] == "upgrade" {
			continue
		}
		help := b.do(t, k, 0, c[1], "--help").Stdout
		for _, f := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`).FindAllStringSubmatch(help, -1) {
			if !used[c[1]][f[1]] && !slices.Contains(append(everywhere, elsewhere...), f[1]) {
				ran := slices.Sorted(maps.Keys(used[c[1]]))
				t.Errorf("lkm %s --%s was not run; flags that were: %q", c[1], f[1], ran)
			}
		}
	}
	if after := tree(t, root); after != before {
		t.Errorf("the root was changed:\n%s\n%s", before, after)
	}
}

// wordsRoot is a root with another one, a tape, snapshots and a text in it.
func wordsRoot(t *testing.T, b *bsdBox) string {
	t.Helper()
	root := writeRoot(t)
	image := fakeunix.GENERICDisk()
	image["boot/kernel/zfs.ko"] = image["boot/kernel/linux_common.ko"]
	image["boot/loader.conf"].Data = []byte("zfs_load=\"YES\"\n")
	delete(image, "boot/modules/broken.ko")
	if err := os.CopyFS(filepath.Join(root, "image"), image); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	k := bsd.New(t, b.run, bsdTable(fakeunix.GENERIC()), root)
	fewer := fakeunix.GENERIC()
	fewer.Files = slices.DeleteFunc(fewer.Files, func(f fakeunix.File) bool { return f.Name == "linux.ko" })
	for name, text := range map[string]string{
		"a.tape":      b.do(t, k, 0, "record", "--detail", "all").Stdout,
		"a.json":      b.do(t, k, 0, "list", "--format", "json").Stdout,
		"rules.json":  `{"rules": [{"id": "x", "kind": "third_party", "title": "the system's own code"}]}`,
		"watch.jsonl": watchLines(t, b),
		"b.json":      b.do(t, bsd.New(t, b.run, bsdTable(fewer), root), 0, "list", "--format", "json").Stdout,
		"kldstat.txt": "Id Refs Address                Size Name\n 1    5 0xffffffff80200000  1f3e2d0 kernel\n" +
			" 2    1 0xffffffff82140000   5d5958 zfs.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "in", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// watchLines are what a watch of a recorded machine prints.
func watchLines(t *testing.T, b *bsdBox) string {
	t.Helper()
	root := writeRoot(t)
	k := bsd.New(t, b.run, bsdTable(fakeunix.GENERIC()), root)
	tape := b.do(t, k, 0, "record", "--detail", "all").Stdout
	if err := os.WriteFile(filepath.Join(root, "w.tape"), []byte(tape), 0o600); err != nil {
		t.Fatal(err)
	}
	return b.do(t, k, 0, "watch", "--tape", "/w.tape").Stdout
}

// TestFreeBSDWatch reads the baseline and the first heartbeats of the real command, of the machine, of a tape and of an
// image, and ends it.
func TestFreeBSDWatch(t *testing.T) {
	b := newBSDBox(t)
	root := wordsRoot(t, b)
	k := bsd.New(t, b.run, bsdTable(fakeunix.Many(40)), root)
	recorded := len(fakeunix.GENERIC().Files)
	for args, modules := range map[string]int{
		"--interval 20ms --max-age 40ms --poll --buffer 65536 --host h --heartbeat 1h --refresh 1h": 40,
		"--interval 20ms --detail files --tape /in/a.tape":                                          recorded,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, k.Run, append([]string{k.Table, k.Root, b.lkm, "watch"},
			strings.Fields(args)...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		var e struct {
			Type     string
			Snapshot *lkm.Snapshot
		}
		if !lines.Scan() {
			t.Errorf("watch %s: no event: %s", args, errs.String())
		} else if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Type != "baseline" || e.Snapshot == nil ||
			len(e.Snapshot.Modules) != modules {
			t.Errorf("watch %s: %v, %.300s", args, err, lines.Text())
		}
		cancel()
		_ = cmd.Wait() // it was ended
		if strings.Contains(errs.String(), "unanswered system call") {
			t.Errorf("watch %s: %s", args, errs.String())
		}
	}
	b.do(t, k, 2, "watch", "--root", "/image", "--os", "freebsd") // an image has nothing to watch
}

// TestFreeBSDManyKlds lists and checks a kernel of 1,200 files.
func TestFreeBSDManyKlds(t *testing.T) {
	b := newBSDBox(t)
	m := fakeunix.Many(1200)
	k := bsd.New(t, b.run, bsdTable(m, "vanish 600", "vanish 1200"), t.TempDir())
	s := b.snapshot(t, k)
	if len(s.Modules) != 1200 {
		t.Fatalf("%d modules", len(s.Modules))
	}
	for _, f := range m.Files {
		checkFile(t, s, f, nil)
	}
	last := m.Files[len(m.Files)-1]
	r := b.do(t, k, 1, "check", last.Name)
	if !strings.Contains(r.Stdout, "LOADED") {
		t.Errorf("check %s: %s", last.Name, r.Stdout)
	}
}

// TestFreeBSDOddNames has files and modules whose names a terminal, a table or JSON could take amiss.
func TestFreeBSDOddNames(t *testing.T) {
	b := newBSDBox(t)
	m := fakeunix.Many(1)
	names := []string{"a\x1b[31mred.ko", "\u202egnp.ko", "übung.ko", "\xff\xfe.ko", `q"uote'\.ko`, "|pipe|.ko",
		"%s%n.ko",
		"no-suffix", ".ko", "-x.ko", "../up.ko", strings.Repeat("l", 200) + ".ko", "=cmd.ko", "<b>.ko"}
	for i, name := range names {
		m.Files = append(m.Files, fakeunix.File{ID: int32(i + 2), Refs: 1, Address: 0xffffffff82000000, Size: 4096,
			Name: name, Path: "/boot/odd/" + name,
			Modules: []fakeunix.Mod{{ID: int32(900 + i), Refs: 1, Name: "m/" + name}}})
	}
	k := bsd.New(t, b.run, bsdTable(m), t.TempDir())
	s := b.snapshot(t, k)
	if len(s.Modules) != len(names)+1 {
		t.Errorf("%d modules, want %d", len(s.Modules), len(names)+1)
	}
	for _, format := range []string{"table", "csv", "markdown", "jsonl"} {
		r := b.do(t, k, 0, "list", "--format", format)
		if strings.ContainsAny(r.Stdout, "\x1b\u202e") || strings.Contains(r.Stdout, "\xff") {
			t.Errorf("%s: %q", format, r.Stdout)
		}
	}
	for _, name := range []string{"übung.ko", "m/übung.ko", "no-suffix", "%s%n"} {
		if r := b.do(t, k, 1, "check", name); !strings.Contains(r.Stdout, "LOADED") {
			t.Errorf("check %s: %s", name, r.Stdout)
		}
	}
}

// TestFreeBSDSecurelevels asks at every level, and of a kernel that does not say its level, whether a kld can be
// loaded.
func TestFreeBSDSecurelevels(t *testing.T) {
	b := newBSDBox(t)
	root := writeRoot(t)
	for level, want := range map[string]string{"-1": "LOADABLE", "0": "LOADABLE", "1": "BLOCKED", "2": "BLOCKED",
		"3": "BLOCKED", "": "UNKNOWN"} {
		m := fakeunix.GENERIC()
		delete(m.Numbers, "kern.securelevel")
		var more []string
		if level != "" {
			more = []string{fmt.Sprintf("sysctl kern.securelevel i %s", level)}
		}
		k := bsd.New(t, b.run, bsdTable(m, more...), root)
		r, err := k.Do(t, b.lkm, "check", "if_em", "--format", "json")
		if err != nil {
			t.Fatal(err)
		}
		var list []lkm.Verdict
		if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil || len(list) != 1 || list[0].Now == nil {
			t.Errorf("level %q: %v\n%s%s", level, err, r.Stdout, r.Stderr)
			continue
		}
		if got := strings.ToUpper(string(list[0].Now.Outcome)); got != want {
			t.Errorf("level %q: %s now, want %s", level, got, want)
		}
	}
}
