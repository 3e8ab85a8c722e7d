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
