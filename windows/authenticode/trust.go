// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"encoding/base64"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// The names of the key sets that the caller does not give.
const (
	KeySetMicrosoft = "microsoft"    // the roots that the kernel has compiled in; this package has their keys
	KeySetMachine   = "machine_root" // the machine's own root store, which the kernel does not ask
)

// kernelEKUs are the purposes that the kernel's own policy accepts of Microsoft's roots (scenario 131 of
// DefaultWindows): of the operating system, of the hardware program, early-launch anti-malware, HAL extensions.
var kernelEKUs = [...]string{ekuInbox, ekuWHQL, ekuAttested, ekuOEMWHQL, ekuEVWHQL, ekuELAM, ekuHAL}

// hasKernelEKU reports whether a signer's certificate names a purpose that the kernel accepts.
func hasKernelEKU(leaf *sign.Certificate) bool {
	for _, eku := range kernelEKUs {
		if leaf.Has(eku) {
			return true
		}
	}
	return false
}

// anchors returns Microsoft's roots that a certificate of the list claims as its issuer. The root of the cross
// certificates is one of them; the others only with programs set.
func anchors(list []*sign.Certificate, programs bool) []*sign.Certificate {
	var out []*sign.Certificate
	for _, c := range list {
		name := c.Issuer.CommonName()
		for i := range programKeys {
			k := &programKeys[i]
			if k.name != name || !k.cross && !programs {
				continue
			}
			if root, ok := k.anchor(c); ok {
				out = append(out, root)
			}
		}
	}
	return out
}

// roots returns what a chain of these certificates may end in: the caller's keys, and Microsoft's where they count.
func (v *Verifier) roots(leaf *sign.Certificate, pool []*sign.Certificate, programs bool) *sign.Roots {
	if !v.Trust.Includes(fact.TrustMicrosoft) {
		return v.Roots
	}
	return v.Roots.With(KeySetMicrosoft, anchors(append([]*sign.Certificate{leaf}, pool...), programs))
}

// hasKeys reports whether there is any key to check a signature against.
func (v *Verifier) hasKeys() bool { return !v.Roots.Empty() || v.Trust.Includes(fact.TrustMicrosoft) }

// machineChain returns the chain to one of the machine's own roots; false if no such chain exists, or such roots do not
// count.
func (v *Verifier) machineChain(leaf *sign.Certificate, q sign.ChainQuery) (sign.Chain, bool) {
	q.Roots = v.Stores.machineRoots()
	if q.Roots == nil || !v.Trust.Includes(fact.TrustMachine) {
		return sign.Chain{}, false
	}
	c := sign.BuildChain(leaf, q)
	return c, c.KeySet != ""
}

// attested says whether Microsoft signed a driver of the hardware program on its maker's word: the purpose 10.3.5.1
// says so, and a catalog's attribute "Qualification Level" that tests were passed. Two that contradict each other
// decide nothing.
func attested(class fact.SignatureClass, leaf *sign.Certificate, qualified bool) fact.Tri {
	switch {
	case class != fact.ClassWHCP:
		return ""
	case leaf.Has(ekuAttested) && qualified:
		return ""
	}
	return fact.TriOf(leaf.Has(ekuAttested))
}

// anchor returns the root under the name that a certificate gives its issuer.
func (k *programKey) anchor(c *sign.Certificate) (*sign.Certificate, bool) {
	spki, err := base64.StdEncoding.DecodeString(k.key)
	return sign.Anchor(c.RawIssuer, spki), err == nil
}

// digests returns what names the root's own certificate.
func (k *programKey) digests(root *sign.Certificate) Certificate {
	return Certificate{Subject: k.name, CommonName: k.name, ThumbprintSHA1: k.sha1, ThumbprintSHA256: k.sha256,
		TBSHash: k.tbs, keyMD5: keyMD5(root)}
}

// ends returns what names the root that a chain ends in by its key alone, which no certificate of the chain does: as
// this package knows it, and as the machine itself has it. It is empty if the chain ends in a certificate.
func (v *Verifier) ends(chain []*sign.Certificate) []Certificate {
	if v.Stores == nil || len(chain) == 0 || !chain[len(chain)-1].IsAnchor() {
		return nil
	}
	root := chain[len(chain)-1]
	var list []Certificate
	spki := base64.StdEncoding.EncodeToString(root.RawSPKI)
	for i := range programKeys {
		if programKeys[i].key == spki {
			list = append(list, programKeys[i].digests(root))
		}
	}
	if own := v.Stores.machineRoots().Holder(root); own != nil {
		list = append(list, v.memo.certificate(own))
	}
	return list
}

// RootName returns the name of one of Microsoft's roots by its number in code integrity policies; empty if its key is
// not known.
func RootName(id uint32) string {
	for i := range programKeys {
		if programKeys[i].id == id {
			return programKeys[i].name
		}
	}
	return ""
}

// LeadsTo reports whether the signature's chain leads to one of Microsoft's roots, by its number in code integrity
// policies.
func (s *Signature) LeadsTo(id uint32) bool { return slices.Contains(s.wellKnown, id) }

// SignedByMicrosoft reports whether b is a PKCS#7 structure whose content is what its one signer signed, and one of
// Microsoft's roots of its own programs leads to that signer. Nothing is said of times, and of the signer's purpose.
func SignedByMicrosoft(b []byte, item *fact.Item) bool {
	sd, err := sign.ParseContentInfo(b)
	if err != nil || len(sd.Signers) != 1 || sd.CheckContent(sd.Signers[0]) != nil {
		return false
	}
	leaf := sd.Signers[0].Certificate(sd.Certificates)
	if leaf == nil {
		return false
	}
	v := &Verifier{item: item}
	chain := sign.BuildChain(leaf, sign.ChainQuery{Pool: sd.Certificates, Item: item})
	p := v.programOf(chain, sd.Certificates)
	return p.microsoft && !p.cross
}
