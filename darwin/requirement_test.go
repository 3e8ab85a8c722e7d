// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// TestRequirement evaluates requirements against one Developer ID signature.
func TestRequirement(t *testing.T) {
	apple, _, keys := apples()
	signer := &fakedarwin.Signer{Identifier: "com.v.p", Team: "ABCDE12345", CMS: apple.Sign(nestedTeam)}
	sig := signedBundle(t, signer, keys)
	own := `H"` + strings.ToUpper(sig.CDHash) + `"`
	const zero = `cdhash H"0000000000000000000000000000000000000000"`
	for text, want := range map[string]fact.Tri{
		nestedRequirement: fact.Yes,
		`anchor apple generic and identifier "com.v.p" and (certificate leaf[field.1.2.840.113635.100.6.1.9] or ` +
			`certificate 1[field.1.2.840.113635.100.6.2.6] exists)`: fact.Yes,
		"anchor apple":                                fact.No,
		"anchor apple generic":                        fact.Yes,
		"anchor trusted":                              "",
		"cdhash " + own:                               fact.Yes,
		zero:                                          fact.No,
		zero + " or cdhash " + own:                    fact.Yes,
		`identifier com.v.p`:                          fact.Yes,
		`identifier = "com.v.p"`:                      fact.Yes,
		`identifier "com.v"`:                          fact.No,
		`! identifier "com.v"`:                        fact.Yes,
		"always":                                      fact.Yes,
		"never or always and never":                   fact.No,
		"always or never and never":                   fact.Yes,
		"(always or never) and never":                 fact.No,
		"!always or always":                           fact.Yes,
		"!(always and always)":                        fact.No,
		"anchor trusted and never":                    "",
		"certificate leaf[subject.OU] = ABCDE12345":   fact.Yes,
		`certificate leaf[subject.OU] = "OTHER12345"`: fact.No,
		`certificate leaf[subject.CN] = "` + nestedTeam.Name + `"`: fact.Yes,
		`certificate root[subject.CN] = "Apple Root CA"`:           fact.Yes,
		`certificate -1[subject.CN] = "Apple Root CA"`:             fact.Yes,
		`certificate 9[subject.CN] = "Apple Root CA"`:              fact.No,
		`certificate leaf = H"00"`:                                 fact.No,
		`certificate leaf[field.1.2.3]`:                            fact.No,
		`certificate leaf[field.1.2.3] = 5`:                        "",
		`certificate leaf[subject.X] = 5`:                          "",
		`certificate leaf[field.1.2.3] /* exists */ or always`:     fact.Yes,
		`info[CFBundleVersion] >= 5`:                               "",
		`entitlement["x"] exists`:                                  "",
		"":                                                         "",
		"and":                                                      "",
		"always always":                                            "",
		"always and":                                               "",
		"(always":                                                  "",
		"always)":                                                  "",
		"!":                                                        "",
		"()":                                                       "",
		"cdhash 5":                                                 "",
		"anchor":                                                   "",
		`identifier "a`:                                            "",
		strings.Repeat("(", 3000) + "always":                       "",
		strings.Repeat("!", 400) + "always":                        fact.Yes,
		strings.Repeat("always or ", 400) + "always": "",
	} {
		if got := sig.meets(text); got != want {
			t.Errorf("%.100s: %q, want %q", text, got, want)
		}
	}
	adhoc := signedBundle(t, &fakedarwin.Signer{Identifier: "com.v.p", Flags: 2}, keys)
	for text, want := range map[string]fact.Tri{"anchor apple generic": fact.No, `identifier "com.v.p"`: fact.Yes,
		"certificate leaf[subject.OU] = ABCDE12345": fact.No, "cdhash " + own: fact.No} {
		if got := adhoc.meets(text); got != want {
			t.Errorf("ad hoc, %s: %q, want %q", text, got, want)
		}
	}
	unknown := signedBundle(t, signer, nil)
	for _, text := range []string{"anchor apple generic", "certificate leaf[subject.OU] = ABCDE12345"} {
		if got := unknown.meets(text); got != "" {
			t.Errorf("without keys, %s: %q", text, got)
		}
	}
}

func FuzzRequirement(f *testing.F) {
	f.Add(nestedRequirement)
	f.Add(`!(anchor apple or cdhash H"00") and certificate -1[subject.CN] = x /* y */`)
	sig := &CodeSignature{Identifier: "x"}
	f.Fuzz(func(t *testing.T, text string) {
		if got := sig.meets(text); got != "" && strings.TrimSpace(text) == "" {
			t.Error(got)
		}
	})
}
