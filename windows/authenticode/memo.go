// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// maxMemo is how many certificates and verdicts of each kind are kept.
const maxMemo = 4096

// A memo keeps what the signatures of many files have in common: they share their authorities, and files of one catalog
// share its signature. It is safe for concurrent use. A nil one keeps nothing.
type memo struct {
	known sign.Known // certificates whose issuers were checked

	mu       sync.Mutex
	certs    map[[sha256.Size]byte]Certificate // by digest
	catalogs map[*byte]Signature               // what is said of a file that the catalog lists, by the catalog's mark
}

// issuers returns the answers about who issued whom.
func (m *memo) issuers() *sign.Known {
	if m == nil {
		return nil
	}
	return &m.known
}

// certificates returns the certificates of a chain in the form of a Signature, without an anchor.
func (m *memo) certificates(chain []*sign.Certificate) []Certificate {
	out := make([]Certificate, 0, len(chain))
	for _, c := range chain {
		if !c.IsAnchor() {
			out = append(out, m.certificate(c))
		}
	}
	return out
}

func (m *memo) certificate(c *sign.Certificate) Certificate {
	sum := sha256.Sum256(c.Raw)
	if m == nil {
		return newCertificate(c, sum[:], nil)
	}
	m.mu.Lock()
	kept, ok := m.certs[sum]
	m.mu.Unlock()
	if ok {
		return kept
	}
	made := newCertificate(c, sum[:], &m.known)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.certs == nil || len(m.certs) >= maxMemo {
		m.certs = map[[sha256.Size]byte]Certificate{}
	}
	m.certs[sum] = made
	return made
}

func newCertificate(c *sign.Certificate, sum []byte, known *sign.Known) Certificate {
	tbs, alg := c.TBSHash()
	return Certificate{
		Subject:          c.Subject.String(),
		Issuer:           c.Issuer.String(),
		CommonName:       c.Subject.CommonName(),
		Organization:     c.Subject.Organization(),
		Serial:           c.SerialHex(),
		ThumbprintSHA1:   c.Thumbprint(crypto.SHA1),
		ThumbprintSHA256: hex.EncodeToString(sum),
		TBSHash:          tbs,
		TBSAlgorithm:     alg,
		NotBefore:        c.NotBefore,
		NotAfter:         c.NotAfter,
		EKUs:             c.EKUs,
		SelfSigned:       c.IsSelfIssued() && known.Check(c, c) == nil,
		keyMD5:           keyMD5(c),
	}
}

// ofCatalog returns what judge says of a catalog's signature, which is the same for each file that the catalog lists
// but for the digest. What more budget could change is not kept: another file may allow more than the one that pays, by
// item.
func (m *memo) ofCatalog(cat *catalog, item *fact.Item, judge func() Signature) Signature {
	if m == nil {
		return judge()
	}
	m.mu.Lock()
	kept, ok := m.catalogs[cat.mark]
	m.mu.Unlock()
	if ok {
		return kept
	}
	s := judge()
	if s.Status == fact.SignatureUnchecked || s.cut != nil || item.Work(0) != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.catalogs == nil || len(m.catalogs) >= maxMemo {
		m.catalogs = map[*byte]Signature{}
	}
	m.catalogs[cat.mark] = s
	return s
}
