// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/machine"
)

// TestLive asks the running kernel.
func TestLive(t *testing.T) {
	files, err := readFiles(t.Context(), Call, layoutFreeBSD)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("this kernel lets nobody but root list its files:", err)
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("%+v, %v", files, err)
	}
	kernel := files[0]
	if kernel.ID != 1 || kernel.Name == "" || kernel.Refs < 1 || len(kernel.Modules) == 0 {
		t.Errorf("the first file is the kernel: %+v", kernel)
	}
	for _, f := range files {
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
	if _, err := callFunc(Call).text(t.Context(), "no.such.sysctl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a sysctl that is not there: %v", err)
	}
	if n, err := callFunc(Call).integer(t.Context(), sysctlSecureLevel); err != nil || n < -1 || n > 3 {
		t.Errorf("securelevel %d, %v", n, err)
	}
	b, err := Call(t.Context(), OpUname)
	if u := machine.Keys(b); err != nil || u["ostype"] != "FreeBSD" || u["release"] == "" || u["machine"] == "" {
		t.Errorf("%+v, %v", u, err)
	}
}
