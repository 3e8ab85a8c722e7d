// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

// TestUnixCaptures reads every recording of these systems, with the kind detected and with the kind named.
func TestUnixCaptures(t *testing.T) {
	root := testdata.Dir(t, "captures")
	read := 0
	for _, c := range []struct {
		glob string
		as   capture.Kind
		rows int // 0: as many lines as have 0x… in their third word
	}{
		{"freebsd/kldstat-*/capture.txt", capture.Kldstat, 0},
		{"dragonfly/*/capture.txt", capture.KldstatDragonFly, 4},
		{"solaris/modinfo-*/capture.txt", capture.Modinfo, 107},
		{"solaris/illumos-moddebug-boot/capture.txt", capture.Moddebug, 10},
		{"aix/genkex-*/capture.txt", capture.Genkex, 2},
		{"netware/abend-*/capture.txt", capture.AbendLog, 2},
	} {
		files, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(c.glob)))
		if len(files) == 0 {
			t.Errorf("no %s", c.glob)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := c.rows
			if want == 0 {
				want = kldstatRows(string(b))
			}
			for _, as := range []capture.Kind{c.as, ""} {
				s, err := capture.Read(bytes.NewReader(b), as)
				if err != nil || len(s.Modules) != want {
					t.Errorf("%s as %q: %d modules, want %d: %v", file, as, modules(s), want, err)
					continue
				}
				if as != "" && s.OS != as.OS() {
					t.Errorf("%s: %s", file, s.OS)
				}
			}
			read++
		}
	}
	if read < 20 {
		t.Errorf("only %d recordings", read)
	}
	for file, as := range map[string]capture.Kind{
		"netbsd/modstat-mislabelled-ohai/capture.txt": capture.Modstat, // a row of FreeBSD's kldstat
		"aix/lslpp-L-q-c-ohai/lslpp.output":           "",              // filesets, no kernel extensions
	} {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := capture.Read(bytes.NewReader(b), as); !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("%s is read as %q: %+v %v", file, as, s, err)
		}
	}
}

func modules(s *lkm.Snapshot) int {
	if s == nil {
		return -1
	}
	return len(s.Modules)
}

func kldstatRows(text string) int {
	n := 0
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); len(w) >= 5 && strings.HasPrefix(w[2], "0x") ||
			len(w) == 3 && w[2] == "cd_example" {
			n++
		}
	}
	return n
}
