// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// A seenFS keeps the names that are opened.
type seenFS struct {
	fs.FS
	seen map[string]bool
}

func (s seenFS) Open(name string) (fs.File, error) {
	s.seen[name] = true
	return s.FS.Open(name)
}

func (s seenFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(s.FS, name) }

// TestConfigIsRedacted: a recording keeps no foreign text of any file that the reader of the configuration opens, also
// of one that is missing here, and keeps what the hooks load. What is newly read belongs in isHook, isScript or isConf.
func TestConfigIsRedacted(t *testing.T) {
	const secret = "hunter2"
	root := fstest.MapFS{}
	for _, name := range []string{"etc/rc", "etc/rc.conf", "etc/defaults/rc.conf", "etc/rc.local", "etc/rc.d/s",
		"etc/start_if.em0", "etc/devd/a.conf", "usr/local/etc/devd/b.conf", "usr/local/etc/rc.d/u", "etc/fstab",
		"boot/loader.conf", "boot/device.hints", "boot/lua/local.lua", "boot/loader.rc.local"} {
		root[name] = &fstest.MapFile{Data: []byte("#\n")}
	}
	files := seenFS{root, make(map[string]bool)}
	c := readConfig(t.Context(), files, false)
	for _, h := range c.hookFiles() {
		if !isHook(h.file) {
			t.Errorf("isHook does not know %s: a recording loses the lines that load klds", h.file)
		}
	}
	n := 0
	for name := range files.seen {
		if info, err := fs.Stat(root, name); name == "etc/fstab" || err == nil && info.IsDir() {
			continue // FuzzFstab is about what is kept of fstab
		}
		n++
		text := "# " + secret + "\nrun --password " + secret + "\npassphrase=\"" + secret + "\"\n"
		if kept := string(Redact(name, []byte(text))); strings.Contains(kept, secret) {
			t.Errorf("a recording keeps of %s: %q", name, kept)
		}
	}
	if n < 12 {
		t.Errorf("only %d files were opened", n)
	}
}
