// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// readCMS takes signer, chain and time from the CMS blob. An ad hoc signature has none, or an
// empty one.
func (c *CodeSignature) readCMS(source string) error {
	if len(c.cms) == 0 {
		return nil
	}
	sd, signer, err := c.signedData()
	if err != nil {
		return &fact.ParseError{Source: source, Field: "codeSignature.signer", Reason: err.Error()}
	}
	for _, cert := range sd.Certificates {
		c.Chain = append(c.Chain, cert.Subject.Short())
	}
	if cert := signer.Certificate(sd.Certificates); cert != nil {
		c.Signer = cert.Subject.Short()
	}
	c.SignedAt = signer.SigningTime()
	return nil
}

func (c *CodeSignature) signedData() (*sign.SignedData, *sign.Signer, error) {
	sd, err := sign.ParseContentInfo(c.cms)
	if err != nil {
		return nil, nil, err
	}
	if len(sd.Signers) != 1 {
		return nil, nil, fmt.Errorf("%w: %d signers", fact.ErrMalformed, len(sd.Signers))
	}
	return sd, sd.Signers[0], nil
}

// checkCMS says whether the signer's certificate signed this code directory, and which of the
// given key sets its chain leads to; "" for none. A digest that is not known leaves fits unknown.
func (c *CodeSignature) checkCMS(keys []fact.KeySet) (fits fact.Tri, keySet string, err error) {
	if len(c.cms) == 0 || c.primary == nil {
		return "", "", nil
	}
	sd, signer, err := c.signedData()
	if err != nil {
		return "", "", err
	}
	cert := signer.Certificate(sd.Certificates)
	err = signer.Check(cert, "", func(h crypto.Hash) ([]byte, error) { return sign.Sum(h, c.primary), nil })
	switch {
	case errors.Is(err, sign.ErrMismatch):
		return fact.No, "", nil
	case err != nil:
		return "", "", err
	}
	roots := sign.NewRoots(keys)
	if roots.Empty() {
		return fact.Yes, "", nil
	}
	at := c.SignedAt
	if at.IsZero() {
		at = time.Now()
	}
	chain := sign.BuildChain(cert, sign.ChainQuery{
		Pool: sd.Certificates, Roots: roots, At: at, Usage: sign.EKUCodeSigning,
	})
	if !chain.Trusted {
		return fact.Yes, "", nil
	}
	return fact.Yes, chain.KeySet, nil
}
