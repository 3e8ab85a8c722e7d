// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestCompareVersions: as rpmvercmp.
func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		older, newer string
	}{
		{"1.9", "1.10"}, {"1.0", "1.0.1"}, {"1.0a", "1.0b"}, {"a", "1"}, {"1.0~rc1", "1.0"}, {"1.0~rc1", "1.0~rc2"},
		{"", "a"}, {"6.12.0", "6.12.0-1"}, {"1.a", "1.1"}, {"5", "10"}, {"~", ""},
	} {
		if compareVersions(tt.older, tt.newer) >= 0 || compareVersions(tt.newer, tt.older) <= 0 {
			t.Errorf("%q and %q: %d, %d", tt.older, tt.newer, compareVersions(tt.older, tt.newer),
				compareVersions(tt.newer, tt.older))
		}
	}
	for _, pair := range [][2]string{{"1.0", "1.0"}, {"1.0", "1_0"}, {"1.007", "1.7"}, {"~", "~"}} {
		if c := compareVersions(pair[0], pair[1]); c != 0 {
			t.Errorf("%q: %d", pair, c)
		}
	}
}

// TestMenuOrder: loader entries take the place of blscfg in a grub.cfg, the newest first, and an index as the default
// counts them there.
func TestMenuOrder(t *testing.T) {
	const id = "boot/loader/entries/1f-"
	const own, more = "menuentry own {\nlinux /own\n}\n", "menuentry more {\nlinux /more\n}\n"
	entries := map[string]string{id + "6.9.1-200.fc39.x86_64.conf": "linux /a\n", id + "0-rescue.conf": "linux /b\n",
		id + "6.10.0-100.fc39.x86_64.conf": "linux /c\n", id + "6.10.0-99.fc39.x86_64.conf": "linux /d\n"}
	const sorted = "1f-6.10.0-100.fc39.x86_64 1f-6.10.0-99.fc39.x86_64 1f-6.9.1-200.fc39.x86_64 1f-0-rescue"
	for _, tt := range []struct{ grub, env, want, first string }{
		{"blscfg\n", "saved_entry=1", sorted, "1f-6.10.0-99.fc39.x86_64"},
		{"blscfg\n", "saved_entry=1f-0-rescue", sorted, "1f-0-rescue"},
		{"set default=0\n" + own + "insmod blscfg\nblscfg\n" + more, "", "own " + sorted + " more", "own"},
		{own + "if true; then blscfg; fi\n" + more, "saved_entry=5", "own " + sorted + " more", "more"},
		{own, "saved_entry=0", "own " + sorted, "own"},
		{"", "saved_entry=0", sorted, "1f-6.10.0-100.fc39.x86_64"},
	} {
		files := map[string]string{"boot/grub2/grub.cfg": tt.grub, "boot/grub2/grubenv": tt.env + "\n"}
		for name, text := range entries {
			files[name] = text
		}
		var r fact.Report
		setup := Read(linuxtest.Files(files), &r)
		var ids []string
		for i := range setup.Entries {
			ids = append(ids, setup.Entries[i].ID())
		}
		if got := strings.Join(ids, " "); got != tt.want || len(r.Problems) > 0 {
			t.Errorf("%q: %s, want %s: %v", tt.grub, got, tt.want, r.Problems)
		}
		i := slices.IndexFunc(setup.Entries, setup.IsDefault)
		if i < 0 || setup.Entries[i].ID() != tt.first {
			t.Errorf("%q, %q: the default is %d, want %s", tt.grub, tt.env, i, tt.first)
		}
	}
}
