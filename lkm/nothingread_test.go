// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// imageSystems are those whose images have a policy.
var imageSystems = []lkm.OS{lkm.Linux, lkm.FreeBSD, lkm.DragonFly, lkm.NetBSD, lkm.Illumos, lkm.Solaris, lkm.Darwin,
	lkm.Windows}

// closedDisk is a disk nothing of which can be read.
type closedDisk struct{}

func (closedDisk) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestPolicyOfNothing: a root of which nothing was read that decides what may load has no conclusion, and says of each
// setting that it is unknown, never that it is absent.
func TestPolicyOfNothing(t *testing.T) {
	for name, disk := range map[string]fs.FS{
		"empty": fstest.MapFS{}, "closed": closedDisk{}, "other": fstest.MapFS{"home/me/x": {Data: []byte("x")}},
		"folders": fstest.MapFS{"boot": {Mode: fs.ModeDir | 0o755}, "etc": {Mode: fs.ModeDir | 0o755},
			"lib/modules": {Mode: fs.ModeDir | 0o755}, "kernel/drv": {Mode: fs.ModeDir | 0o755},
			"Library": {Mode: fs.ModeDir | 0o755}, "Windows/System32": {Mode: fs.ModeDir | 0o755}},
		"a part of /etc": fstest.MapFS{"etc/hostname": {Data: []byte("x")}},
	} {
		for _, os := range imageSystems {
			sys, err := lkm.OpenImage(disk, lkm.Options{OS: os})
			if err != nil {
				t.Fatal(err)
			}
			p, err := sys.Policy(t.Context())
			if err != nil {
				t.Errorf("%s, %s: %v", os, name, err)
				continue
			}
			if p.Loading != "" || p.Err() == nil || strings.TrimSpace(p.Err().Error()) == "" {
				t.Errorf("%s, %s: %q, %v", os, name, p.Loading, p.Err())
			}
			for _, f := range p.Facts {
				if !f.Unknown && (f.Code == "" || f.Code == lkm.CodeAbsent) {
					t.Errorf("%s, %s: %+v", os, name, f)
				}
			}
		}
	}
}

// TestListOfEmptyFolder: folders of modules without any are no whole list of what is installed, and no name is absent
// or blocked; the same folders with what every such system has are.
func TestListOfEmptyFolder(t *testing.T) {
	dir, file := &fstest.MapFile{Mode: fs.ModeDir | 0o755}, &fstest.MapFile{Data: []byte("x")}
	for name, c := range map[string]struct {
		os    lkm.OS
		root  fstest.MapFS
		whole bool
	}{
		"linux, empty":        {lkm.Linux, fstest.MapFS{"lib/modules/6.1.0": dir}, false},
		"linux, folders":      {lkm.Linux, fstest.MapFS{"lib/modules/6.1.0/kernel/fs": dir}, false},
		"linux, no kernel":    {lkm.Linux, fstest.MapFS{"lib/modules": dir}, false},
		"linux, a built tree": {lkm.Linux, fstest.MapFS{"lib/modules/6.1.0/modules.order": file}, true},
		"linux, depmod ran":   {lkm.Linux, fstest.MapFS{"lib/modules/6.1.0/modules.dep": {}}, true},
		"netbsd, empty":       {lkm.NetBSD, fstest.MapFS{"stand/amd64/10.0/modules": dir}, false},
		"netbsd, folders":     {lkm.NetBSD, fstest.MapFS{"stand/amd64/10.0/modules/zfs": dir}, false},
		"netbsd, no modules":  {lkm.NetBSD, fstest.MapFS{"stand/amd64/10.0": dir}, false},
		"illumos, empty":      {lkm.Illumos, fstest.MapFS{"kernel": dir}, false},
		"illumos, folders":    {lkm.Illumos, fstest.MapFS{"kernel/drv/amd64": dir}, false},
		"illumos, /usr alone": {lkm.Illumos, fstest.MapFS{"usr/kernel/drv/amd64/a": file}, false},
		"illumos, a kernel":   {lkm.Illumos, fstest.MapFS{"kernel/amd64/genunix": file}, true},
		"solaris, folders":    {lkm.Solaris, fstest.MapFS{"kernel/drv": dir}, false},
		"solaris, a kernel":   {lkm.Solaris, fstest.MapFS{"kernel/drv/sparcv9/a": file}, true},
		"freebsd, empty":      {lkm.FreeBSD, fstest.MapFS{"boot/kernel": dir}, false},
		"freebsd, other kernels": {lkm.FreeBSD, fstest.MapFS{"boot/kernel": dir, "boot/kernel.old/kernel": file,
			"boot/mine/kernel": file}, false},
		"dragonfly, empty": {lkm.DragonFly, fstest.MapFS{"boot/kernel": dir}, false},
		"macos, empty":     {lkm.Darwin, fstest.MapFS{"System/Library/Extensions": dir}, false},
		"windows, empty":   {lkm.Windows, fstest.MapFS{"Windows/System32/drivers": dir}, false},
	} {
		sys, err := lkm.OpenImage(c.root, lkm.Options{OS: c.os})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sys.SnapshotOf(t.Context(), lkm.ScopeInstalled)
		if err == nil {
			err = s.ListErr(lkm.StateInstalled)
		}
		if (err == nil) != c.whole {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil || s == nil {
			continue
		}
		if s.Err() == nil {
			t.Errorf("%s: nothing for --strict", name)
		}
		for _, query := range []string{"udf", "pci:v00008086d*"} {
			verdicts, err := sys.Check(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range verdicts {
				if v.Worst() != lkm.VerdictUnknown {
					t.Errorf("%s: check %s: %s", name, query, v.Worst())
				}
			}
		}
	}
}
