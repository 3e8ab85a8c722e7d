// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
)

// A failingDisk is a machine of files, of which one fails when it is read.
type failingDisk struct {
	rootDisk
	name string
}

type failingFile struct{ fs.File }

func (failingFile) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

func (d failingDisk) Open(name string) (fs.File, error) {
	f, err := d.rootDisk.Open(name)
	if err == nil && name == d.name {
		return failingFile{f}, nil
	}
	return f, err
}

// TestFailingDisk reads files whose first block cannot be read: what is in them is unknown, and they are not taken for
// files that the kernel refuses.
func TestFailingDisk(t *testing.T) {
	for name, query := range map[string]string{"boot/kernel/b.ko": "a", "boot/kernel/kernel": "in",
		"boot/kernel/if_c.ko": "none", "boot/kernel/c.ko": "if_c"} {
		disk := failingDisk{rootDisk{freebsdRoot(1402000, map[string]string{"etc/rc.conf": secure})}, name}
		k := Open(disk, fact.Options{OS: fact.FreeBSD, Image: true})
		v, err := k.Check(t.Context(), query, new(fact.Report))
		if err != nil || v[0].Worst() != fact.VerdictUnknown {
			t.Errorf("%s, %s: %+v %v", name, query, v, err)
		}
	}
}

// TestMaybeInside asks a kernel that hides which modules are inside its files: it may have what no loaded file is
// called.
func TestMaybeInside(t *testing.T) {
	for _, refused := range []string{"", "kldfirstmod 1", "kldnext 0"} {
		m := fakeunix.GENERIC()
		m.Disk["boot/modules/gve.ko"] = m.Disk["boot/modules/drm.ko"]
		m.Numbers[sysctlSecureLevel] = 1
		k := Open(refusing{m.Machine(), refused}, fact.Options{OS: fact.FreeBSD})
		v, err := k.Check(t.Context(), "gve.ko", new(fact.Report))
		if err != nil || len(v) != 1 || (v[0].Now.Outcome == fact.VerdictUnknown) != (refused != "") {
			t.Errorf("%s: %+v %v", refused, v, err)
		}
	}
}

// TestInstalledWithoutKernel lists roots without a kernel, whose /boot may be on another disk: no list is whole.
func TestInstalledWithoutKernel(t *testing.T) {
	release := &fstest.MapFile{Data: []byte("ID=freebsd\n")}
	whole := freebsdRoot(1402000, nil)
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want string // the outcome of the module path; empty if there is no list
	}{
		{"empty", fstest.MapFS{}, ""},
		{"a jail's", fstest.MapFS{"etc/os-release": release}, ""},
		{"/boot is on another disk", fstest.MapFS{"etc/os-release": release,
			"boot": {Data: []byte("bootpool/boot"), Mode: fs.ModeSymlink}}, ""},
		{"modules of ports alone", fstest.MapFS{"boot/modules/c.ko": whole["boot/modules/c.ko"]}, "partial"},
		{"a kernel", whole, "ok"},
		{"a kernel of another name", fstest.MapFS{"boot/mine/kernel": whole["boot/kernel/kernel"]}, "ok"},
	} {
		for _, detail := range []fact.Detail{0, fact.DetailFiles} {
			var r fact.Report
			var err error
			k := Open(rootDisk{c.root}, fact.Options{OS: fact.FreeBSD, Image: true, Detail: detail})
			for _, e := range k.Installed(t.Context(), &r) {
				err = e
			}
			src, _ := fact.FindSource(r.Sources, SourceModulePath)
			said := err
			if p, ok := r.First(SourceModulePath); ok && err == nil {
				said = p
			}
			if string(src.Outcome) != c.want || (err == nil) != (c.want != "") ||
				(c.want != "ok") != errors.Is(said, fs.ErrNotExist) {
				t.Errorf("%s, detail %v: %q, %v", c.name, detail, src.Outcome, said)
			}
		}
	}
}

// TestPolicyWithoutKernel: what a root without a kernel has in /etc says nothing of the kernel that runs.
func TestPolicyWithoutKernel(t *testing.T) {
	for _, c := range []struct {
		name    string
		root    fstest.MapFS
		loading fact.Loading
	}{
		{"empty", fstest.MapFS{}, ""},
		{"a jail's", fstest.MapFS{"etc/rc.conf": {Data: []byte("sshd_enable=YES\n")}}, ""},
		{"a kernel", freebsdRoot(1402000, nil), fact.LoadingAny},
	} {
		k := Open(rootDisk{c.root}, fact.Options{OS: fact.FreeBSD, Image: true})
		p, err := k.Policy(t.Context(), new(fact.Report))
		if err != nil || p.Loading != c.loading || (p.Err() == nil) != (c.loading != "") {
			t.Errorf("%s: %q, %v, %v", c.name, p.Loading, p.Err(), err)
		}
	}
}
