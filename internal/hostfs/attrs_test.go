// SPDX-License-Identifier: Apache-2.0

package hostfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// Several attributes of a directory are what they are one by one: links lead within the root, and nothing special is
// opened.
func TestAttrsAreThoseReadOneByOne(t *testing.T) {
	root := t.TempDir()
	write(t, root, "sys/m/live", "live\n")
	write(t, root, "sys/m/empty", "")
	write(t, root, "sys/m/notes/id", "an id")
	write(t, root, "sys/other/text", "other\n")
	outside := t.TempDir()
	write(t, outside, "secret", "secret")
	for link, target := range map[string]string{
		"sys/m/absolute": "/sys/other/text", "sys/m/relative": "../other/text", "sys/m/others": "../other",
		"sys/m/up": "../../../../../" + outside + "/secret", "sys/m/outside": outside + "/secret",
		"sys/m/dangling": "none", "sys/m/loop": "loop", "sys/linked": "m", "sys/away": outside,
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Skip(err)
		}
	}
	names := []string{"live", "empty", "notes/id", "notes", "none", "absolute", "relative", "up", "outside", "dangling",
		"loop", "others/text", "..", ".", "", "../other/text", "live/under", "a\x00b", "secret"}
	fsys, err := hostfs.Mounted(root)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	for _, dir := range []string{"sys/m", "sys/linked", "sys/away", "sys/none", "sys/m/live", "", "../x"} {
		i := 0
		for text, err := range limit.Attrs(fsys, nil, dir, names) {
			want, wantErr := limit.AppendAttr(fsys, nil, dir+"/"+names[i], limit.Attr)
			if string(text) != string(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s/%s: %q, %v; by itself %q, %v", dir, names[i], text, err, want, wantErr)
			}
			if string(text) == "secret" {
				t.Errorf("%s/%s leads outside", dir, names[i])
			}
			i++
		}
		if i != len(names) {
			t.Errorf("%s: %d of %d", dir, i, len(names))
		}
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
