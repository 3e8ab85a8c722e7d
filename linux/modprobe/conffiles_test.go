// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestConfFiles: what kmod's conf_files_filter_out leaves out hides nothing, and is not a gap.
func TestConfFiles(t *testing.T) {
	base := func() map[string]string {
		return map[string]string{"etc/modprobe.d/zz.conf": "install a /bin/false\n",
			"usr/lib/modprobe.d/x.conf": "install b /bin/false\n", "real/x.conf": "install c /bin/false\n"}
	}
	for _, tt := range []struct {
		name, link string
		more       map[string]string
		want       string // the modules with an install line
		whole      bool
	}{
		{"a link to nothing", "/etc/alternatives/gone.conf", nil, "a", false},
		{"a link to a file", "../../real/x.conf", nil, "c a", true},
		{"a link to nothing, by a relative path", "../gone", nil, "a", false},
		{"a mask", "/dev/null", nil, "a", true},
		{"a link to a directory", "../../real", nil, "b a", true},
		{"a link that the file system cannot follow", "/real/x.conf", nil, "a", false},
		{"a link to what is not mounted", "/usr/share/x.conf",
			map[string]string{"etc/fstab": "/dev/b /usr/share ext4 defaults 0 2\n"}, "a", false},
	} {
		files := base()
		for name, text := range tt.more {
			files[name] = text
		}
		fsys := linuxtest.Files(files)
		fsys["etc/modprobe.d/x.conf"] = linuxtest.Link(tt.link)
		c := ReadConfig(fsys, ConfigDirs, "", false)
		var names []string
		for i := range c.Install {
			names = append(names, c.Install[i].Name)
		}
		if got := strings.Join(names, " "); got != tt.want || c.Whole() != tt.whole {
			t.Errorf("%s: %q, whole %v, want %q, %v", tt.name, got, c.Whole(), tt.want, tt.whole)
		}
		var r fact.Report
		c.Report(&r)
		told := len(r.Problems) > 0
		if told != (strings.Contains(tt.name, "nothing") || !tt.whole) {
			t.Errorf("%s: %+v", tt.name, r.Problems)
		}
		if nothing := strings.Contains(tt.name, "nothing"); slices.ContainsFunc(r.Problems, Ignored) != nothing ||
			(len(c.ignored) == 1) != nothing {
			t.Errorf("%s: ignored %+v of %+v", tt.name, c.ignored, r.Problems)
		}
		for _, i := range c.ignored {
			want := "a link to " + path.Join("/etc/modprobe.d", tt.link) + ", which is not there"
			if path.IsAbs(tt.link) {
				want = "a link to " + tt.link + ", which is not there"
			}
			if i.File != "etc/modprobe.d/x.conf" || i.Reason.Text != want {
				t.Errorf("%s: %+v, want %s", tt.name, i, want)
			}
		}
	}
}
