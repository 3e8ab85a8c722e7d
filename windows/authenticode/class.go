// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

var (
	errNoKeys       = errors.New("no keys were given to check it against")
	errNoPurpose    = errors.New("it leads to Microsoft's roots, but serves no purpose that the kernel accepts of them")
	errBadTimestamp = errors.New("a timestamp of it does not fit")
	errNoTime       = errors.New("no trusted time to judge its certificates at")
)

// issuedWork is how many steps it takes to verify by one of the keys.
const issuedWork = 3e5

// issued says whether the root's key signed the certificate, which anyone can claim by a name: nil, or why that is not
// so or could not be checked.
func (v *Verifier) issued(c *sign.Certificate, k *programKey) error {
	if err := v.item.Work(issuedWork); err != nil {
		return err
	}
	root, ok := k.anchor(c)
	if !ok {
		return sign.ErrAlgorithm
	}
	return v.memo.issuers().Check(c, root)
}

// A program says whose roots a chain leads to, whatever the caller trusts.
type program struct {
	microsoft bool     // one of Microsoft's own roots
	cross     bool     // the root of the cross certificates
	ids       []uint32 // the numbers of these roots
	cut       error    // why not all of this is known; nil if it is
}

// programOf follows a chain to Microsoft's roots, which signatures seldom hold. pool are the
// certificates that came with the signature: one of them may be a second certificate for an
// authority of the chain, as cross certificates are. A certificate that may not issue others, as any
// customer of an authority has one, leads nowhere.
func (v *Verifier) programOf(chain sign.Chain, pool []*sign.Certificate) program {
	var p program
	for i := 1; i < len(chain.Certificates); i++ {
		path := chain.Certificates[:i+1]
		v.addProgram(&p, path)
		for _, c := range pool {
			if sameAuthority(c, path[i]) {
				v.addProgram(&p, append(path[:i:i], c))
			}
		}
	}
	return p
}

// addProgram adds the roots that issued the last certificate of a path.
func (v *Verifier) addProgram(p *program, path []*sign.Certificate) {
	if err := sign.CheckIssuers(path, v.item); err != nil {
		p.lose(err)
		return
	}
	c := path[len(path)-1]
	for i := range programKeys {
		k := &programKeys[i]
		if k.cross && p.cross || !k.cross && p.microsoft || c.Issuer.CommonName() != k.name || c.IsSelfIssued() {
			continue
		}
		if err := v.issued(c, k); err != nil {
			p.lose(err)
			continue
		}
		p.cross, p.microsoft = p.cross || k.cross, p.microsoft || !k.cross
		p.ids = append(p.ids, k.id)
	}
}

// lose keeps why a certificate was not asked, unless the error says that a check failed.
func (p *program) lose(err error) {
	if sign.IsUndecided(err) {
		p.cut = cmp.Or(p.cut, err)
	}
}

// sameAuthority reports whether c is another certificate for the name and key of x.
func sameAuthority(c, x *sign.Certificate) bool {
	return bytes.Equal(c.RawSubject, x.RawSubject) && bytes.Equal(c.RawSPKI, x.RawSPKI) && !bytes.Equal(c.Raw, x.Raw)
}

// crossIssuer issues the cross certificates of commercial authorities for kernel-mode code.
const crossIssuer = "Microsoft Code Verification Root"

// classOf says under which program a signature that fits its bytes was made. Every link of the
// chain has been checked, so that a name in it was given by the certificate above; where it ends is
// checked here. A certificate that merely claims a program gives no class.
func classOf(chain sign.Chain, p program, status fact.SignatureStatus) fact.SignatureClass {
	leaf := chain.Certificates[0]
	if len(chain.Certificates) == 1 && leaf.IsSelfSigned() {
		return fact.ClassSelfSigned
	}
	if p.cut != nil && !p.microsoft { // a cross certificate may take the word from what follows
		return ""
	}
	trusted := status == fact.SignatureValid
	// What a commercial authority says of a program under a cross certificate is not Microsoft's word.
	if trusted && !p.cross || p.microsoft {
		switch {
		case leaf.Has(ekuELAM):
			return fact.ClassELAM
		case leaf.Has(ekuInbox):
			return fact.ClassInbox
		case leaf.Has(ekuWHQL), leaf.Has(ekuAttested), leaf.Has(ekuOEMWHQL), leaf.Has(ekuEVWHQL):
			return fact.ClassWHCP
		}
	}
	switch {
	case p.cross, trusted && crossSigned(chain):
		return fact.ClassCrossSigned
	case trusted && !p.microsoft:
		return fact.ClassEnterprise
	}
	return ""
}

// crossSigned reports whether a trusted chain passes through a certificate that the root of the
// cross certificates, given by the caller, issued to another authority.
func crossSigned(chain sign.Chain) bool {
	for _, c := range chain.Certificates[1:] {
		if c.Issuer.CommonName() == crossIssuer && !c.IsSelfIssued() {
			return true
		}
	}
	return false
}
