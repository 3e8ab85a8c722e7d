// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// emptyModule is the header of an ELF object that ends with its one section header.
func emptyModule() []byte {
	b := make([]byte, 128)
	copy(b, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(b[16:], 1)  // relocatable
	binary.LittleEndian.PutUint64(b[40:], 64) // section headers
	binary.LittleEndian.PutUint16(b[58:], 64)
	binary.LittleEndian.PutUint16(b[60:], 1)
	return b
}

// writeTree makes an image with one release of modules, all written at that time.
func writeTree(t *testing.T, written time.Time, files map[string]string) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, "lib", "modules", "6.1.0-made")
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, written, written); err != nil {
			t.Fatal(err)
		}
	}
	return root, dir
}

func installedOf(t *testing.T, root string, d Detail) *Snapshot {
	t.Helper()
	s, err := Open(Options{OS: Linux, Root: root, Detail: d, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snap, err := s.SnapshotOf(context.Background(), ScopeInstalled)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

// TestInstalledNamesBadFiles lists a tree without reading its files: those that cannot be whole are
// named, the others have their size.
func TestInstalledNamesBadFiles(t *testing.T) {
	good := string(emptyModule())
	root, _ := writeTree(t, time.Unix(1000, 0), map[string]string{
		"kernel/good.ko": good, "kernel/cut.ko": good[:100], "kernel/empty.ko": "", "kernel/text.ko": "#!/bin/sh\n",
		"kernel/bomb.ko.gz": "\x1f\x8b\x08" + strings.Repeat("\x00", 20) + "\xff\xff\xff\x7f",
		"modules.dep":       "kernel/good.ko:\nkernel/cut.ko:\nkernel/empty.ko:\nkernel/text.ko:\nkernel/bomb.ko.gz:\n",
	})
	snap := installedOf(t, root, 0)
	if len(snap.Modules) != 5 || outcome(t, snap, "modules_dir") != OutcomePartial || len(snap.Problems) > 0 {
		t.Fatalf("%d modules, %v, %v", len(snap.Modules), snap.Sources, snap.Problems)
	}
	for name, code := range map[string]Code{"good": "", "cut": CodeMalformed, "empty": CodeMalformed, "text": CodeMalformed, "bomb": CodeTooLarge} {
		m := snap.Module("linux_module:" + name)
		if _, known := m.Size.Get(); !known {
			t.Errorf("%s: no size", name)
		}
		if code == "" && len(m.Problems) == 0 {
			continue
		}
		if len(m.Problems) != 1 || m.Problems[0].Code != code || !strings.Contains(m.Problems[0].Error(), name+".ko") {
			t.Errorf("%s: %v", name, m.Problems)
		}
	}
}

// TestStaleIndexes changes a tree after depmod.
func TestStaleIndexes(t *testing.T) {
	then := time.Unix(100000, 0)
	good := string(emptyModule())
	for name, c := range map[string]struct {
		file string // that was written later, with
		data string
		want string
	}{
		"as depmod left it": {},
		"newer file":        {"kernel/a.ko", good, "1 module files are newer than modules.dep, such as kernel/a.ko"},
		"other index":       {"modules.alias.bin", "", "was not written together with 1 other indexes, such as modules.alias.bin"},
		"new file":          {"updates/b.ko", good, "lacks 1 modules that are there, such as updates/b.ko"},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := writeTree(t, then, map[string]string{"kernel/a.ko": good, "modules.dep": "kernel/a.ko:\n", "modules.dep.bin": "", "modules.alias.bin": ""})
			if c.file != "" {
				file := filepath.Join(dir, filepath.FromSlash(c.file))
				os.MkdirAll(filepath.Dir(file), 0o755)
				if err := os.WriteFile(file, []byte(c.data), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var all strings.Builder
			for _, p := range installedOf(t, root, 0).Problems {
				all.WriteString(p.Error() + "\n")
			}
			if c.want == "" && all.Len() > 0 || !strings.Contains(all.String(), c.want) {
				t.Errorf("problems %q, want %q", all.String(), c.want)
			}
		})
	}
}
