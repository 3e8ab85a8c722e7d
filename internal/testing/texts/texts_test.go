// SPDX-License-Identifier: Apache-2.0

package texts

import (
	"maps"
	"testing"
)

func TestArchive(t *testing.T) {
	want := map[string]string{"one": "a\r\n-- b\n\n", "the second": "", "three": "no end"}
	if got := Archive(t, "archive.txtar"); !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
