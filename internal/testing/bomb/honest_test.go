// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// scale is the part of the largest honest machine that a quick run builds; .ci/run full builds all of it. Costs are
// linear, and the base of a budget is not scaled: half of it has to do for a part, too.
func scale(n int) int {
	if os.Getenv("KERNELEXT_FULL") != "" {
		return n
	}
	return n / 20
}

// whole fails the test if the call ran into a limit, or used more than half of its budget.
func whole(t *testing.T, what string, r *fact.Report) {
	t.Helper()
	for _, p := range r.Problems {
		if p.Code == fact.CodeTooLarge || p.Code == fact.CodeBudget {
			t.Errorf("%s: %v", what, p)
		}
	}
	c := r.Budget.Cost()
	work, memory := int64(256<<20)+32*c.Input, int64(48<<20)+3*c.Input
	t.Logf("%s: %d MB read, %d of %d million steps, %d of %d MB of memory", what, c.Input>>20, c.Work/1e6, work/1e6,
		c.Memory>>20, memory>>20)
	if err := r.Budget.Err(); err != nil || 2*c.Work > work || 2*c.Memory > memory {
		t.Errorf("%s: %+v, %v", what, c, err)
	}
}

// code is what a module's code looks like to a decompressor: it packs to a third.
func code(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		if i%3 == 0 {
			b[i] = byte(random.Uint32())
		}
	}
	return b
}

// TestHonestModules lists 12,000 packed modules of some hundred kilobytes each with every detail.
func TestHonestModules(t *testing.T) {
	m := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("a", "parm=x:y", "alias=pci:v*")...)
	m.Sections = append(m.Sections, linuxtest.Section{Name: ".text.more", Kind: 1, Data: code(120 << 10)})
	packed := linuxtest.Gzip(m.Bytes())
	files := fstest.MapFS{}
	var dep, list strings.Builder
	for i := range scale(12_000) {
		name := fmt.Sprintf("kernel/m%d.ko.gz", i)
		files["lib/modules/6.1.0/"+name] = &fstest.MapFile{Data: packed, Mode: 0o644}
		fmt.Fprintf(&dep, "%s:\n", name)
		fmt.Fprintf(&list, "alias pci:v%08X* m%d\n", i, i)
	}
	files["lib/modules/6.1.0/modules.dep"] = linuxtest.File(dep.String())
	files["lib/modules/6.1.0/modules.alias"] = linuxtest.File(list.String())
	k := linux.Open(disk{files}, fact.Options{Image: true, Kernel: "6.1.0", Workers: 2, Detail: allDetails})
	r := fact.Report{Budget: fact.NewBudget(0)}
	count := 0
	for m, err := range k.Installed(t.Context(), &r) {
		if err != nil || len(m.Problems) > 0 {
			t.Fatalf("%v, %+v", err, m.Problems)
		}
		count++
	}
	if count != scale(12_000) {
		t.Errorf("%d modules", count)
	}
	whole(t, "modules", &r)
}

// TestHonestInitramfs reads an initial file system that packs 300 megabytes into a hundred.
func TestHonestInitramfs(t *testing.T) {
	texts := []string{"etc/modprobe.d/a.conf", "options a b=1\n"}
	for i := range 3000 {
		texts = append(texts, fmt.Sprintf("lib/modules/6.1.0/kernel/m%d.ko", i), string(code(scale(100<<10))))
	}
	packed := linuxtest.Gzip(linuxtest.Archive(texts...))
	r := fact.Report{Budget: fact.NewBudget(0)}
	found, err := boot.ReadInitramfs(fstest.MapFS{"boot/initrd": {Data: packed}}, []string{"boot/initrd"}, &r)
	if err != nil || len(found.Modules) != 3000 {
		t.Fatalf("%+v, %v", found, err)
	}
	whole(t, "initial file system", &r)
}

// TestHonestBoot reads what a machine of many kernels boots: two hundred entries and as many loader entries.
func TestHonestBoot(t *testing.T) {
	files := linuxDisk()
	var grub strings.Builder
	for i := range 200 {
		fmt.Fprintf(&grub,
			"menuentry 'Debian, with Linux 6.1.%d' {\n\tlinux /vmlinuz-6.1.%d root=UUID=%036d ro quiet\n"+
				"\tinitrd /initrd.img-6.1.%d\n}\n", i, i, i, i)
		files[fmt.Sprintf("boot/loader/entries/%d.conf", i)] = linuxtest.File(fmt.Sprintf(
			"title Fedora\nversion 6.1.%d\nlinux /vmlinuz-6.1.%d\noptions root=UUID=%036d ro\n", i, i, i))
	}
	files["boot/grub/grub.cfg"] = linuxtest.File(grub.String())
	r := fact.Report{Budget: fact.NewBudget(0)}
	if s := boot.Read(disk{files}, &r); len(s.Entries) != 400 {
		t.Errorf("%d entries", len(s.Entries))
	}
	whole(t, "boot entries", &r)
}

// TestHonestTexts reads the longest captures and the largest snapshot that a machine makes.
func TestHonestTexts(t *testing.T) {
	for kind, rows := range map[string]int{"lsmod": 1000, "driverquery": 2500, "kextstat": 1000, "sc": 2500,
		"modinfo": 2000} {
		for _, b := range bomb.All() {
			if b.Of != bomb.Capture || b.Path != kind || b.Name != map[string]string{"sc": "sc query",
				"modinfo": "illumos modinfo",
				"lsmod":   "lsmod", "driverquery": "driverquery", "kextstat": "kextstat"}[kind] {
				continue
			}
			s, err := capture.Read(bytes.NewReader(b.Make(rows)), capture.Kind(kind))
			if err != nil || len(s.Modules) != rows {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			for _, p := range s.Problems {
				if p.Code == lkm.CodeTooLarge {
					t.Errorf("%s: %v", kind, p)
				}
			}
		}
	}
	s := &lkm.Snapshot{OS: lkm.Linux}
	for i := range 30_000 {
		name := fmt.Sprintf("module_%d", i)
		s.Modules = append(s.Modules, lkm.Module{ID: "linux_module:" + name, Kind: fact.KindLinuxModule, Name: name,
			Description: strings.Repeat("d", 40), Path: "/lib/modules/6.1.0/kernel/drivers/" + name + ".ko",
			Requires: []string{"a", "b"}, UsedBy: []string{}})
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := lkm.Decode(bytes.NewReader(text)); err != nil || len(again.Modules) != len(s.Modules) {
		t.Errorf("a snapshot of %d MB: %v", len(text)>>20, err)
	}
}
