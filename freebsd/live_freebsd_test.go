// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestLive asks the running kernel.
func TestLive(t *testing.T) {
	l, err := ReadFiles(t.Context(), Call, LayoutFreeBSD)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("this kernel lets nobody but root list its files:", err)
	}
	if err != nil || l.Partial != nil || len(l.Files) == 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	kernel := l.Files[0]
	if kernel.ID != 1 || kernel.Name == "" || kernel.Refs < 1 || len(kernel.Modules) == 0 {
		t.Errorf("the first file is the kernel: %+v", kernel)
	}
	for _, f := range l.Files {
		t.Logf("%d %s: %d modules", f.ID, f.Name, len(f.Modules))
		for _, m := range f.Modules {
			if m.Name == "" {
				t.Errorf("%s: %+v", f.Name, m)
			}
		}
	}
	if _, err := Call(t.Context(), OpKldStat, "1000000", "2"); !errors.Is(err, fact.ErrGone) {
		t.Errorf("an id that is not there: %v", err)
	}
	if _, err := CallFunc(Call).Text(t.Context(), "no.such.sysctl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a sysctl that is not there: %v", err)
	}
	if n, err := CallFunc(Call).Int(t.Context(), SysctlSecureLevel); err != nil || n < -1 || n > 3 {
		t.Errorf("securelevel %d, %v", n, err)
	}
	b, err := Call(t.Context(), OpUname)
	if u := ParseUname(b); err != nil || u.OSType != "FreeBSD" || u.Release == "" || u.Machine == "" {
		t.Errorf("%+v, %v", u, err)
	}
}
