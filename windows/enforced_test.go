// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// unreadable is what is said of a file whose certificate table has an entry that is no signature.
func unreadable(t *testing.T) []authenticode.Signature {
	t.Helper()
	image := petest.Sample()
	image.Signature = []byte("no signature")
	p, err := pe.Parse(image.Build(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return new(authenticode.Verifier).Verify(p, nil)
}

// Where code integrity enforces, what is known of a signature decides; what was not read is said, and blocks nothing.
func TestEnforcedSignature(t *testing.T) {
	signed := func(class fact.SignatureClass, issued string) []authenticode.Signature {
		at, err := time.Parse(time.DateOnly, issued)
		if err != nil {
			t.Fatal(err)
		}
		return []authenticode.Signature{{Status: fact.SignatureValid, Class: class,
			Certificates: []authenticode.Certificate{{CommonName: "P", NotBefore: at}}}}
	}
	denies := systemList{file: "L", BlockList: &BlockList{Name: "L", policy: &siPolicy{
		signers: []*policySigner{{id: "S", root: tbsCA, denials: []denial{{}}}}}}}
	reports := systemList{file: "L", BlockList: &BlockList{Name: "L", policy: &siPolicy{audit: true,
		signers: denies.policy.signers}}}
	names := systemList{file: "L", BlockList: &BlockList{Name: "L", policy: &siPolicy{}}}
	for name, tt := range map[string]struct {
		signatures []authenticode.Signature
		lists      []systemList
		facts      map[string]string
		unread     bool // the file, too
		cut        bool // the file ends too early
		want       fact.Tri
		code       string // of the first reason; empty for none
	}{
		"the file was not read":      {unread: true, want: fact.No, code: ReasonSignature},
		"its signature was not read": {want: fact.No, code: ReasonSignature},
		"and a list denies signers":  {lists: []systemList{denies}, code: ReasonBlockList},
		"a signature that cannot be read, and a list denies signers": {signatures: unreadable(t),
			lists: []systemList{denies}, code: ReasonBlockList},
		"a signature that cannot be read": {signatures: unreadable(t), want: fact.No},
		"a list that only reports":        {lists: []systemList{reports}, want: fact.No, code: ReasonSignature},
		"a cut file, and a list": {signatures: signed(fact.ClassWHCP, "2024-01-01"),
			lists: []systemList{names}, cut: true,
			code: ReasonBlockList},
		"a cut file, and a list that only reports": {signatures: signed(fact.ClassWHCP, "2024-01-01"),
			lists: []systemList{reports}, cut: true, want: fact.No},
		"a list of names": {signatures: signed(fact.ClassWHCP, "2024-01-01"), lists: []systemList{names},
			want: fact.No},
		"of the hardware program": {signatures: signed(fact.ClassWHCP, "2024-01-01"), want: fact.No},
		"not signed": {signatures: []authenticode.Signature{}, want: fact.Yes,
			code: ReasonSignature},
		"cross-signed early": {signatures: signed(fact.ClassCrossSigned, "2015-07-29"),
			facts: map[string]string{PolicySecureBoot: "yes"}, want: fact.No},
		"cross-signed late, Secure Boot": {signatures: signed(fact.ClassCrossSigned, "2015-07-30"),
			facts: map[string]string{PolicySecureBoot: "yes"}, code: ReasonPolicy},
		"cross-signed late, no Secure Boot": {signatures: signed(fact.ClassCrossSigned, "2019-01-01"),
			facts: map[string]string{PolicySecureBoot: "no"}, want: fact.No},
	} {
		c := &checker{lists: tt.lists, policy: &fact.Policy{Loading: fact.LoadingSigned}}
		for k, v := range tt.facts {
			c.policy.Facts = append(c.policy.Facts, fact.PolicyFact{Name: k, Value: v})
		}
		e := &entry{Name: "x.sys", Path: `C:\x.sys`, truncated: tt.cut, Driver: &Driver{Signatures: tt.signatures}}
		if !tt.unread {
			e.Driver.PE = &pe.File{}
		}
		a := c.fileNow(e)
		reasons := fileReasons(e, a)
		code := ""
		if len(reasons) > 0 {
			code = reasons[0].Code
		}
		if a.Blocked() != tt.want || code != tt.code {
			t.Errorf("%s: %q because %+v, reasons %+v", name, a.Blocked(), a.Because(), reasons)
		}
		if slices.ContainsFunc(reasons, func(r fact.Reason) bool { return r.Text == "" }) {
			t.Errorf("%s: a reason without a text", name)
		}
	}
}
