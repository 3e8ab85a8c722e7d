// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"cmp"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/sign"
)

// SourceStores names the source of what a machine's certificate stores say, in Problems and Sources.
const SourceStores = "certificate_stores"

// Limits on a machine's stores; a real one has some 100 certificates.
const (
	maxStoreEntries = 10_000
	maxStoreRecords = 64 // properties of one entry
)

// The stores of a machine that are read, as the registry names them.
const (
	StoreRoot             = "ROOT"             // roots; AuthRoot counts as one
	StoreCA               = "CA"               // authorities between a root and a signer
	StoreDisallowed       = "Disallowed"       // certificates that nothing may be signed with
	StoreTrustedPublisher = "TrustedPublisher" // signers whose drivers are installed without a question
)

// A StoreEntry is one certificate of a machine's stores, as the registry keeps it.
type StoreEntry struct {
	Store string // one of the constants, in any case
	Name  string // the registry key's name: the certificate's SHA-1 in hexadecimal
	Blob  []byte // the value Blob; nil when it could not be read
}

// Stores are the certificates that a machine itself trusts, and those that it does not allow. The kernel asks none of
// them: a root of the machine makes no signature valid, and proves the time of a stamp alone.
type Stores struct {
	roots      *sign.Roots
	cas        []*sign.Certificate
	disallowed map[string]bool // digests of certificates that are not allowed, in lower-case hexadecimal
	forms      disallowedForms // what these are made of
	unread     error           // why not everything that the machine does not allow is known; nil if it is
	publishers map[string]bool // by SHA-1, in lower case
}

// NewStores reads the entries of a machine's stores, and reports those that are invalid. unread is why the store
// Disallowed was not read whole; nil if it was. No signature is valid then: a certificate of its chain may be in it.
func NewStores(entries []StoreEntry, unread error, r *fact.Report) *Stores {
	s := &Stores{disallowed: map[string]bool{}, publishers: map[string]bool{}, unread: unread}
	var roots []*sign.Certificate
	for i, e := range entries {
		if i == maxStoreEntries {
			err := fmt.Errorf("%w: more than %d certificates", fact.ErrTooLarge, maxStoreEntries)
			r.Problem(SourceStores, "", "", err)
			s.unread = cmp.Or(s.unread, err)
			break
		}
		name := strings.ToLower(e.Name)
		cert, err := storeCertificate(e.Blob, name)
		if err != nil {
			r.Problem(SourceStores, e.Store+`\`+e.Name, "signature", err)
		}
		switch strings.ToLower(e.Store) {
		case "disallowed": // an entry may have no certificate, and counts by its name
			s.disallowed[name], s.forms.sha1 = true, true
			if cert != nil {
				s.disallowPart(cert)
			}
			if raw, err := hex.DecodeString(name); err != nil || len(raw) != crypto.SHA1.Size() {
				err := storeError("%q is not SHA-1 of a certificate", e.Name)
				r.Problem(SourceStores, e.Store+`\`+e.Name, "signature", err)
				s.unread = cmp.Or(s.unread, err)
			}
		case "trustedpublisher":
			s.publishers[name] = cert != nil
		case "ca":
			if cert != nil {
				s.cas = append(s.cas, cert)
			}
		case "root", "authroot":
			if cert != nil {
				roots = append(roots, cert)
			}
		}
	}
	s.roots = s.roots.With(KeySetMachine, roots)
	return s
}

// The properties of an entry that are read (CERT_CERT_PROP_ID, CERT_CTL_PROP_ID).
const (
	propertyCertificate = 32
	propertyList        = 34
)

// property returns the data of an entry's property: an entry is records of an id, the number 1, a length and data. It
// is nil if the entry has no such property.
func property(blob []byte, want uint32) ([]byte, error) {
	le := binary.LittleEndian
	for n := 0; len(blob) > 0; n++ {
		if len(blob) < 12 || n == maxStoreRecords {
			return nil, storeError("%d bytes after record %d", len(blob), n)
		}
		id, size := le.Uint32(blob), int64(le.Uint32(blob[8:]))
		if size > int64(len(blob)-12) {
			return nil, storeError("record %d of %d bytes, %d left", id, size, len(blob)-12)
		}
		if id == want {
			return blob[12 : 12+size], nil
		}
		blob = blob[12+size:]
	}
	return nil, nil
}

// storeCertificate reads the certificate of an entry; nil for an entry without one. It returns an error for a
// certificate under another's name, which crypt32 does not accept either.
func storeCertificate(blob []byte, name string) (*sign.Certificate, error) {
	data, err := property(blob, propertyCertificate)
	if err != nil || data == nil {
		return nil, err
	}
	if !hashing.Usable(crypto.SHA1) {
		return nil, storeError("the program may not make the SHA-1 that names the certificate")
	}
	if got := hex.EncodeToString(sign.Sum(crypto.SHA1, data)); got != name {
		return nil, storeError("the certificate's SHA-1 is %s", got)
	}
	return sign.ParseCertificate(data)
}

// DisallowEntry reads a list that an administrator put into the store Disallowed, as the registry keeps it there
// ("certutil -addstore Disallowed disallowedcert.stl"). One that is invalid makes no signature valid.
func (s *Stores) DisallowEntry(blob []byte, subject string, r *fact.Report) {
	list, err := property(blob, propertyList)
	if err == nil && list == nil {
		err = storeError("no list")
	}
	if err != nil {
		r.Problem(SourceStores, subject, "signature", err)
		s.unread = cmp.Or(s.unread, err)
		return
	}
	s.Disallow(list, subject, r)
}

func storeError(format string, args ...any) error {
	return &fact.ParseError{Source: SourceStores, Field: "Blob", Reason: fmt.Sprintf(format, args...)}
}

// intermediates returns the authorities that the machine knows.
func (s *Stores) intermediates() []*sign.Certificate {
	if s == nil {
		return nil
	}
	return s.cas
}

// machineRoots returns the machine's roots; nil if it has none.
func (s *Stores) machineRoots() *sign.Roots {
	if s == nil || s.roots.Empty() {
		return nil
	}
	return s.roots
}

// notAllowed returns the first of the certificates that the machine does not allow; nil if it allows all.
func (s *Stores) notAllowed(lists ...[]Certificate) *Certificate {
	if s == nil || len(s.disallowed) == 0 {
		return nil
	}
	for _, list := range lists {
		for i := range list {
			if s.names(&list[i]) {
				return &list[i]
			}
		}
	}
	return nil
}

// undecided returns why it is not known whether the machine allows all certificates of a signature; nil if it is. cut
// is why the lists lack some of them.
func (s *Stores) undecided(cut error, lists ...[]Certificate) error {
	const unknown = "whether this machine allows its certificates is not known (store Disallowed): %w"
	switch {
	case s == nil:
		return nil
	case s.unread != nil:
		return fmt.Errorf(unknown, s.unread)
	case len(s.disallowed) == 0:
		return nil
	case cut != nil:
		return fmt.Errorf(unknown, cut)
	}
	for _, list := range lists {
		for i := range list {
			if !s.forms.known(&list[i]) {
				return fmt.Errorf(unknown+": a digest of %q", sign.ErrAlgorithm, list[i].Subject)
			}
		}
	}
	return nil
}

// publisher reports whether the machine installs the signer's drivers without a question.
func (s *Stores) publisher(c *Certificate) bool {
	return s != nil && c != nil && s.publishers[c.ThumbprintSHA1]
}
