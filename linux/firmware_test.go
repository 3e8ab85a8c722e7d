// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/ko"
)

func TestFirmware(t *testing.T) {
	f := newFirmwareFinder(fstest.MapFS{
		"lib/firmware/a.bin": linuxtest.File(""), "lib/firmware/sub/b.bin.xz": linuxtest.File(""),
		"lib/firmware/updates/6.1/c.bin": linuxtest.File(""), "lib/firmware/iwl-7.ucode": linuxtest.File(""),
		"lib/firmware/dangling.bin": linuxtest.Link("../gone.bin"), "lib/firmware/linked.bin": linuxtest.Link("a.bin"),
		"lib/firmware/dir.bin/x": linuxtest.File(""), "lib/firmware/dirs-1/x": linuxtest.File(""),
		"lib/firmware/linkdir": linuxtest.Link("sub"),
	}, "6.1", true)
	for name, want := range map[string]fact.Tri{
		"a.bin": fact.Yes, "sub/b.bin": fact.Yes, "c.bin": fact.Yes, "iwl-*.ucode": fact.Yes, "d.bin": fact.No,
		"no/such/dir/x": fact.No, "../../etc/passwd": fact.No,
		"dangling.bin": fact.No, "dang*": fact.No, "linked.bin": fact.Yes, "link*.bin": fact.Yes, "dir.bin": fact.No,
		"dirs-*": fact.No, "linkdir/b.bin": fact.Yes,
		"a.bin/b": fact.No,
	} {
		if got, _ := f.Present(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestFirmwareElsewhere: a running kernel says where else it looks, an image that has no usual directory does not.
func TestFirmwareElsewhere(t *testing.T) {
	named := fstest.MapFS{firmwarePathFile: linuxtest.File("/nix/fw\nrest"), "nix/fw/own.bin": linuxtest.File(""),
		"lib/firmware/usual.bin": linuxtest.File("")}
	for name, c := range map[string]struct {
		fsys           fs.FS
		live           bool
		own, usual, no fact.Tri
	}{
		"live":    {named, true, fact.Yes, fact.Yes, fact.No},
		"image":   {named, false, fact.No, fact.Yes, fact.No},
		"refused": {refuses{named, firmwarePathFile}, true, "", fact.Yes, ""},
		"no path": {fstest.MapFS{firmwarePathFile: linuxtest.File("\n")}, true,
			fact.No, fact.No, fact.No},
		"no loader":                 {fstest.MapFS{}, true, fact.No, fact.No, fact.No},
		"image without directories": {fstest.MapFS{"nix/fw/own.bin": linuxtest.File("")}, false, "", "", ""},
	} {
		f := newFirmwareFinder(c.fsys, "6.1", c.live)
		own, _ := f.Present("own.bin")
		usual, _ := f.Present("usual.bin")
		no, unread := f.Present("no.bin")
		if (no == "") != (unread != nil) {
			t.Errorf("%s: %q because of %v", name, no, unread)
		}
		if own != c.own || usual != c.usual || no != c.no {
			t.Errorf("%s: %q %q %q", name, own, usual, no)
		}
	}
}

func TestFirmwareNamesAreBounded(t *testing.T) {
	const longest, deepest = 256, 16
	reads := 0
	f := newFirmwareFinder(readsDirs{fstest.MapFS{"lib/firmware/a/b/c.bin": linuxtest.File("")}, &reads}, "6.1", true)
	for name, want := range map[string]fact.Tri{
		strings.Repeat("a/", 1<<15) + "x": "", strings.Repeat("x", longest+1): "",
		strings.Repeat("a/", deepest) + "x":   "",
		strings.Repeat("a/", deepest-1) + "x": fact.No, strings.Repeat("x", longest): fact.No,
		"a/b/c.bin": fact.Yes, "a//./b/../b/c.bin": fact.Yes, "/a/b/c.bin": fact.Yes, "a/c.bin": fact.No, "..": fact.No,
		"a/../../b": fact.No, "": fact.No,
	} {
		if got, _ := f.Present(name); got != want {
			t.Errorf("%.40q, %d bytes: %q, want %q", name, len(name), got, want)
		}
	}
	if reads > 8 {
		t.Errorf("%d directories were read", reads)
	}
	b := linuxtest.ModuleOf(binary.LittleEndian, true,
		linuxtest.Entries("demo", "firmware="+strings.Repeat("a/", 1<<15)+"x", "firmware=ok.bin")...)
	var r fact.Report
	_, err := ko.NewReader().Decode(b.Bytes(), "demo.ko", ko.Options{}, &r)
	if err != nil || len(r.Problems) != 1 || r.Problems[0].Field != "firmware" ||
		!errors.Is(r.Problems[0], fact.ErrTooLarge) {
		t.Errorf("%v, %v", err, r.Problems)
	}
}

// readsDirs counts the directories that are read.
type readsDirs struct {
	fstest.MapFS
	count *int
}

func (r readsDirs) ReadDir(name string) ([]fs.DirEntry, error) {
	*r.count++
	return r.MapFS.ReadDir(name)
}
