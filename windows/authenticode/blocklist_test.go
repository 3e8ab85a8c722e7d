// SPDX-License-Identifier: Apache-2.0

package authenticode_test

import (
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// A block list's authority is found above the certificate that the caller trusts.
func TestBlockedAuthorityAboveKeys(t *testing.T) {
	byTrust, tbs := authenticode.SignaturesOfChain(t)
	list := denying(t, tbs, "Middle")
	for name, s := range byTrust {
		evidence := windows.BlockEvidence{Signatures: []authenticode.Signature{s}}
		if m := list.Match(evidence); len(m) != 1 {
			t.Errorf("trusted %s: %d certificates, %d matches", name, len(s.Certificates), len(m))
		}
	}
}

// denying is a list that denies what an authority's certificate leads to, if an issuer of that name is between.
func denying(t *testing.T, tbs, issuer string) *windows.BlockList {
	t.Helper()
	list, err := windows.ParseBlockList([]byte(
		`<SiPolicy><Signers><Signer ID="S" Name="s"><CertRoot Type="TBS" Value="`+tbs+
			`"/><CertIssuer Value="`+issuer+`"/></Signer></Signers>`+
			`<SigningScenarios><SigningScenario Value="131"><ProductSigners><DeniedSigners><DeniedSigner `+
			`SignerId="S"/></DeniedSigners></ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`),
		new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The signer of a catalog that lists a driver by the digest of its bytes is denied, and that is no certain hit: the
// kernel does not look up such a catalog.
func TestBlockedByUncountedCatalog(t *testing.T) {
	for byBytes, want := range map[bool]windows.Strength{false: windows.StrengthStrong, true: windows.StrengthWeak} {
		signatures, authority := authenticode.SignaturesOfCatalog(t, byBytes)
		m := denying(t, authority, "Middle").Match(windows.BlockEvidence{Signatures: signatures})
		if len(m) != 1 || m[0].Strength != want {
			t.Errorf("by the digest of its bytes %v: %+v", byBytes, m)
		}
	}
}
