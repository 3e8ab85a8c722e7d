// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// originOf says whose code a kext is. path is its bundle's; source names the kernel's list. A
// bundle id alone never makes a kext Apple's, nor does what a signature says of itself: anybody may write either. What
// the kernel says of its collection does, and a signature that leads to Apple's root and fits. A team's id, and a
// bundle id that is not Apple's, are enough for the contrary.
func originOf(k *Kext, path, source string) fact.Origin {
	var o fact.Origin
	add := func(name, value, source string, c fact.OriginClass) {
		o.Evidence = append(o.Evidence, fact.Evidence{Fact: name, Value: value, Source: source})
		o.Class = cmp.Or(o.Class, c)
	}
	switch k.Collection {
	case "Primary", "System":
		add("collection", k.Collection, source, fact.OriginOS)
	case "Auxiliary":
		add("collection", k.Collection, source, fact.OriginThirdParty)
	}
	if name, value, class := k.CodeSignature.origin(); name != "" {
		add(name, value, SourceBundles, class)
	}
	if k.SystemExtension != nil && k.SystemExtension.TeamID != "" {
		add("teamId", k.SystemExtension.TeamID, SourceSysExt, fact.OriginThirdParty)
	}
	if k.Pseudo != "" && source != "" { // the kernel takes these ids at boot, before any kext can
		add("pseudo", k.Pseudo, source, fact.OriginOS)
	}
	if path != "" && (k.Bundle != nil || source != "") {
		add("path", path, source, "")
	}
	var class fact.OriginClass
	if k.BundleID != "" && k.BundleID != "__kernel__" && !strings.HasPrefix(k.BundleID, "com.apple.") {
		class = fact.OriginThirdParty
	}
	add("bundleId", k.BundleID, source, class)
	return o
}

// origin returns the evidence in a code signature, and what follows from it; no class if nothing does. Apple's code
// that was changed after it was signed is somebody else's.
func (s *CodeSignature) origin() (name, value string, class fact.OriginClass) {
	if s == nil || s.Present != fact.Yes {
		return "", "", ""
	}
	status := signatureOf(s).Status
	switch platform, _ := s.Platform.Get(); {
	case s.Anchor == AnchorApple && status == fact.SignatureValid:
		return "anchor", s.Anchor, fact.OriginOS
	case s.Anchor == AnchorApple && status == fact.SignatureInvalid:
		return "anchor", "apple, and changed since it was signed", fact.OriginThirdParty
	case s.TeamID != "":
		return "teamId", s.TeamID, fact.OriginThirdParty
	case s.AdHoc == fact.Yes:
		return "signature", "adhoc", ""
	case platform != 0:
		return "platform", s.Platform.String() + ", claimed", ""
	}
	return "", "", ""
}

// signatureOf is the common form of a code signature. It is valid if code, certificate and sealed files all fit, and
// the certificate leads to a key.
func signatureOf(s *CodeSignature) fact.Signature {
	if s == nil {
		return fact.Signature{}
	}
	if s.Present == fact.No {
		return fact.Signature{Status: fact.SignatureNone}
	}
	f := fact.Signature{
		Status: fact.SignatureUnchecked, Signer: s.Signer, Source: fact.SignatureEmbedded,
		Hash: s.HashType, SignedAt: s.SignedAt,
	}
	if !s.TimestampedAt.IsZero() {
		f.SignedAt = s.TimestampedAt
	}
	whole := s.CodeFits == fact.Yes && s.SignatureFits == fact.Yes
	switch {
	case s.CodeFits == fact.No || s.SignatureFits == fact.No || s.Seal.Broken() || s.forged:
		f.Status = fact.SignatureInvalid
	case whole && s.keySet != "" && s.Seal.whole():
		f.Status, f.KeySet = fact.SignatureValid, s.keySet
	case whole && s.keysGiven && (s.keySet == "" || s.Seal.unsealed()):
		f.Status = fact.SignatureUntrusted
	case s.CodeFits == fact.Yes && len(s.cms) == 0 && s.AdHoc != fact.Yes:
		f.Status = fact.SignatureUntrusted // nobody signed it
	}
	if s.others != "" && worse(s.others, f.Status) {
		f.Status, f.KeySet = s.others, ""
	}
	if s.AdHoc == fact.Yes {
		f.Evidence = "adhoc"
	}
	return f
}

// worse reports whether a status is further from valid than another.
func worse(a, b fact.SignatureStatus) bool {
	order := []fact.SignatureStatus{fact.SignatureValid, fact.SignatureUnchecked, fact.SignatureUntrusted,
		fact.SignatureInvalid}
	return slices.Index(order, a) > slices.Index(order, b)
}
