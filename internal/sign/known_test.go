// SPDX-License-Identifier: Apache-2.0

package sign

import "testing"

// What is kept is what was found, for this issuer alone, and it is bounded.
func TestKnown(t *testing.T) {
	k := &Known{}
	parent := &Certificate{RawSubject: []byte("p"), RawSPKI: []byte("k")}
	for i := range maxKnown + 10 {
		child := &Certificate{Raw: []byte{1, byte(i), byte(i >> 8)}, RawIssuer: []byte("p")}
		first := k.Check(child, parent)
		if again := k.Check(child, parent); first == nil || again != first {
			t.Fatalf("%d: %v, then %v", i, first, again)
		}
		other := &Certificate{RawSubject: []byte("q"), RawSPKI: []byte("k")}
		if err := k.Check(child, other); err == nil {
			t.Fatal("another issuer")
		}
	}
	if len(k.answers) > maxKnown {
		t.Errorf("%d answers kept", len(k.answers))
	}
	var none *Known
	if none.Check(&Certificate{Raw: []byte{1}}, parent) == nil {
		t.Error("nothing kept, nothing checked")
	}
}
