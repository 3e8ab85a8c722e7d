// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// A disk is a machine that is files alone; refused is a path that cannot be read.
type disk struct {
	fstest.MapFS
	refused string
}

func (disk) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (d disk) Open(name string) (fs.File, error) {
	if name == d.refused {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.Open(name)
}

func (d disk) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == d.refused {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrPermission}
	}
	return d.MapFS.ReadDir(name)
}

func netbsdRoot() fstest.MapFS {
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	return fstest.MapFS{
		"netbsd": file(kotest.KMODOf("solaris", "")),
		// what matters of a kernel is the set of its modules
		"stand/amd64/10.0/modules/zfs/zfs.kmod":     file(kotest.KMODOf("zfs", "solaris,xcall")),
		"stand/amd64/10.0/modules/xcall/xcall.kmod": file(kotest.KMODOf("xcall", "")),
		"stand/amd64/10.0/modules/lost/lost.kmod":   file(kotest.KMODOf("lost", "nowhere")),
		"stand/amd64/9.3/modules/old/old.kmod":      file(kotest.KMODOf("old", "")),
		"etc/modules.conf":                          file([]byte("# at boot\n\nzfs -f\n")),
		"etc/rc.conf":                               file([]byte("rc_configured=YES\n")),
	}
}

func TestImage(t *testing.T) {
	for release, want := range map[string]string{
		"":             "lost /10.0 xcall /10.0 zfs /10.0 old /9.3",
		fact.KernelAll: "lost /10.0 xcall /10.0 zfs /10.0 old /9.3", "9.3": "old /9.3", "8.0": "",
	} {
		k := Open(disk{MapFS: netbsdRoot()}, fact.Options{OS: fact.NetBSD, Image: true, Kernel: release})
		var got []string
		for m, err := range k.Installed(t.Context(), new(fact.Report)) {
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) || want != "" {
					t.Error(err)
				}
				break
			}
			got = append(got, m.Name, strings.TrimPrefix(strings.Split(m.Path, "/modules/")[0], "/stand/amd64"))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", release, got)
		}
	}
	for _, c := range []struct {
		query, rc, refused string
		outcome            fact.VerdictOutcome
		ways, trigger      string
	}{
		{"zfs", "", "", fact.VerdictLoadable, "modules modload", "/etc/modules.conf:3"},
		{"xcall", "", "", fact.VerdictLoadable, "modules modload", "/etc/modules.conf:3"}, // what zfs requires
		{"zfs", "modules=NO # none\n", "", fact.VerdictLoadable, "modload", "/etc/modules.conf:3"},
		{"old", "", "", fact.VerdictLoadable, "modload", ""},
		{"lost", "", "", fact.VerdictBlocked, "", ""},
		{"lost", "", "netbsd", fact.VerdictUnknown, "", ""},
		{"solaris", "", "", fact.VerdictBuiltin, "", ""},
		{"none", "", "", fact.VerdictAbsent, "", ""},
		{"none", "", "netbsd", fact.VerdictUnknown, "", ""},
		{"none", "", "stand", fact.VerdictUnknown, "", ""},
		{"none", "", "stand/amd64", fact.VerdictUnknown, "", ""},
		{"zfs", "", "etc/modules.conf", fact.VerdictLoadable, "modload", ""},
		{"none", "", "stand/amd64/10.0/modules/zfs/zfs.kmod", fact.VerdictUnknown, "", ""},
	} {
		root := netbsdRoot()
		root["etc/rc.conf"].Data = []byte(c.rc)
		k := Open(disk{root, c.refused}, fact.Options{OS: fact.NetBSD, Image: true})
		v, err := k.Check(t.Context(), c.query, new(fact.Report))
		if err != nil || len(v) != 1 || v[0].Now != nil {
			t.Fatalf("%+v: %+v %v", c, v, err)
		}
		var open []string
		for _, w := range v[0].NextBoot.Ways {
			if w.Blocked == fact.No {
				open = append(open, w.Way)
			}
		}
		trigger := ""
		if len(v[0].Triggers) > 0 {
			trigger = fmt.Sprint(v[0].Triggers[0].File, ":", v[0].Triggers[0].Line)
		}
		if v[0].NextBoot.Outcome != c.outcome || strings.Join(open, " ") != c.ways || trigger != c.trigger {
			t.Errorf("%+v: %s by %v because of %s", c, v[0].NextBoot.Outcome, open, trigger)
		}
	}
}
