// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// A signature that was not judged may be valid: beside it one that no key vouches for does not describe the file.
func TestBestOfUnjudged(t *testing.T) {
	of := func(list ...fact.SignatureStatus) []Signature {
		var out []Signature
		for _, s := range list {
			out = append(out, Signature{Status: s, Class: fact.ClassSelfSigned})
		}
		return out
	}
	for name, tt := range map[string]struct {
		list []Signature
		want fact.SignatureStatus
	}{
		"untrusted, not judged": {of(fact.SignatureUntrusted, fact.SignatureUnchecked), fact.SignatureUnchecked},
		"not judged, untrusted": {of(fact.SignatureUnchecked, fact.SignatureUntrusted), fact.SignatureUnchecked},
		"invalid, not judged":   {of(fact.SignatureInvalid, fact.SignatureUnchecked), fact.SignatureUnchecked},
		"invalid, untrusted":    {of(fact.SignatureInvalid, fact.SignatureUntrusted), fact.SignatureUntrusted},
		"not judged, valid":     {of(fact.SignatureUnchecked, fact.SignatureValid), fact.SignatureValid},
	} {
		if best, ok := Best(tt.list); !ok || best.Status != tt.want {
			t.Errorf("%s: %s", name, best.Status)
		}
	}
}
