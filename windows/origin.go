// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// Facts of an Origin's evidence.
const (
	FactSignature = "signature_class" // the program that the file was signed under
	FactINF       = "inf"             // the INF that installed it
	FactCompany   = "company_name"    // the version resource's word, which never decides
)

// origin says whose code the driver is. The signature decides before the INF, and an invalid one proves nothing. An INF
// of Windows makes the file the system's only where no signature was looked for, which looked denies, or Microsoft
// signed it: anyone's file may have the name in the INF. The version resource's company name is reported, and never
// decides.
func (d *Driver) origin(looked bool) fact.Origin {
	var o fact.Origin
	decide := func(class fact.OriginClass, e fact.Evidence) {
		if o.Class == "" {
			o.Class = class
		}
		o.Evidence = append(o.Evidence, e)
	}
	best, ok := authenticode.Best(d.Signatures)
	proves := ok && best.Fits == fact.Yes && best.Status != fact.SignatureInvalid
	mayBeOS := d.Signatures == nil && !looked || proves && byMicrosoft(best.Class)
	if proves {
		e := fact.Evidence{Fact: FactSignature, Value: string(best.Class), Source: SourceFile}
		switch best.Class {
		case fact.ClassInbox:
			decide(fact.OriginOS, e)
		case fact.ClassWHCP, fact.ClassCrossSigned, fact.ClassEnterprise, fact.ClassSelfSigned:
			decide(fact.OriginThirdParty, e)
		}
	}
	told := map[string]bool{}
	for _, inf := range d.infs() {
		told[fold(inf.Value)] = true
		switch {
		case isOEMInf(inf.Value):
			decide(fact.OriginThirdParty, inf)
		case mayBeOS:
			decide(fact.OriginOS, inf)
		default:
			o.Evidence = append(o.Evidence, inf)
		}
	}
	for _, p := range d.Packages {
		if isOEMInf(p.INF) && !told[fold(p.INF)] {
			decide(fact.OriginThirdParty, fact.Evidence{Fact: FactINF, Value: p.INF, Source: SourceStore})
			break
		}
	}
	if company := d.Version.String("CompanyName"); company != "" {
		o.Evidence = append(o.Evidence, fact.Evidence{Fact: FactCompany, Value: company, Source: SourceFile})
	}
	return o
}

// byMicrosoft reports whether Microsoft signs what is signed under the program.
func byMicrosoft(c fact.SignatureClass) bool {
	return c == fact.ClassInbox || c == fact.ClassELAM || c == fact.ClassWHCP
}
