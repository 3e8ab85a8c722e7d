// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A hugeRoot is the root of a machine in which one file has a terabyte.
type hugeRoot struct {
	os    string
	huge  string            // the file
	magic string            // how it begins
	files map[string]string // the others
}

// hugeRoots returns a machine for each kind of database: a registry's hive, SQLite's, a collection, an index.
func hugeRoots() map[string]hugeRoot {
	return map[string]hugeRoot{
		"hive": {"windows", "Windows/System32/config/SYSTEM", "regf", map[string]string{
			"Windows/System32/drivers/a.txt": "", "Windows/System32/ntoskrnl.exe": "MZ"}},
		"kext policy": {"darwin", "private/var/db/SystemPolicyConfiguration/KextPolicy", "SQLite format 3\x00",
			map[string]string{"System/Library/Extensions/a.txt": ""}},
		"collection": {"darwin", "System/Library/KernelCollections/BootKernelExtensions.kc", "\xcf\xfa\xed\xfe",
			map[string]string{"System/Library/Extensions/a.txt": ""}},
		"packages": {"freebsd", "var/db/pkg/local.sqlite", "SQLite format 3\x00", map[string]string{
			"boot/kernel/kernel": "\x7fELF", "boot/kernel/a.ko": "\x7fELF", "etc/rc.conf": "", "boot/loader.conf": ""}},
		"kld": {"freebsd", "boot/kernel/a.ko", "\x7fELF", map[string]string{
			"boot/kernel/kernel": "\x7fELF", "etc/rc.conf": "", "boot/loader.conf": ""}},
		"dependencies": {"linux", "lib/modules/6.1.0/modules.dep", "kernel/a.ko:\n", map[string]string{
			"boot/config-6.1.0": "CONFIG_MODULES=y\n"}},
	}
}

func (h *hugeRoot) make(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, text string, size int64) {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if err := f.Truncate(size); err != nil {
				t.Skip(err) // the file system has no files with holes
			}
		}
	}
	for name, text := range h.files {
		write(name, text, 0)
	}
	write(h.huge, h.magic, 1<<40)
	return root
}

// TestTooLargeIsUnknown: what is too large to be read makes unknown what it would say. It is not read, nothing is
// "absent", "blocked", without a match or a number for it, and the problem names it.
func TestTooLargeIsUnknown(t *testing.T) {
	for about, h := range hugeRoots() {
		root := h.make(t)
		run := func(args ...string) (int, string) {
			code, out, errs := lkmRun(t, "", append(args, "--os", h.os, "--root", root)...)
			return code, out + errs
		}
		code, text := run("check", "nosuch")
		database := about == "kext policy" || about == "packages" // which say nothing of what is there
		if !database && (code != exitIncomplete || strings.Contains(text, "ABSENT")) {
			t.Errorf("%s: check: exit %d\n%s", about, code, text)
		}
		if code, text = run("resolve", "nosuch"); !database && strings.Contains(text, "no module matches") {
			t.Errorf("%s: resolve: exit %d\n%s", about, code, text)
		}
		code, text = run("list", "--installed", "--strict", "--detail", "files,policy", "--verbose")
		if about != "kld" && code != exitIncomplete && code != exitFatal ||
			!database && strings.Contains(text, "0 installed") {
			t.Errorf("%s: list: exit %d\n%s", about, code, text)
		}
		said := strings.Contains(strings.ReplaceAll(text, "_", " "), "too large")
		if !said && about != "collection" { // which is no collection beyond its head
			t.Errorf("%s: list does not say it:\n%s", about, text)
		}
	}
}
