// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"testing"
)

// TestTakenRefs: ids that look like the refs of other modules cost a look each, however often an id is there.
func TestTakenRefs(t *testing.T) {
	const n = 20_000
	r := newBOMRefs(0)
	refs := make(map[string]bool)
	for i := range n {
		refs[r.take(fmt.Sprintf("a#%d", i))] = true
	}
	for range n {
		refs[r.take("a")] = true
		refs[r.take("")] = true
	}
	if len(refs) != 3*n || refs[""] || r.tried["a"] > 2*n || r.tried[""] > n {
		t.Errorf("%d refs, %d and %d numbers tried", len(refs), r.tried["a"], r.tried[""])
	}
}
