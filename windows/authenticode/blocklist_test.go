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
	list, err := windows.ParseBlockList([]byte(
		`<SiPolicy><Signers><Signer ID="S" Name="s"><CertRoot Type="TBS" Value="`+tbs+
			`"/><CertIssuer Value="Middle"/></Signer></Signers>`+
			`<SigningScenarios><SigningScenario Value="131"><ProductSigners><DeniedSigners><DeniedSigner `+
			`SignerId="S"/></DeniedSigners></ProductSigners></SigningScenario></SigningScenarios></SiPolicy>`),
		new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range byTrust {
		evidence := windows.BlockEvidence{Signatures: []authenticode.Signature{s}}
		if m := list.Match(evidence); len(m) != 1 {
			t.Errorf("trusted %s: %d certificates, %d matches", name, len(s.Certificates), len(m))
		}
	}
}
