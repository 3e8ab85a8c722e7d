// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/windows/pe"
)

// Object identifiers of Authenticode.
const (
	oidIndirectData = "1.3.6.1.4.1.311.2.1.4"
	oidPEImageData  = "1.3.6.1.4.1.311.2.1.15"
	oidOpusInfo     = "1.3.6.1.4.1.311.2.1.12"
	oidNested       = "1.3.6.1.4.1.311.2.4.1"
	oidPageHashSHA1 = "1.3.6.1.4.1.311.2.3.1"
	oidPageHashSHA2 = "1.3.6.1.4.1.311.2.3.2"
	oidTrustList    = "1.3.6.1.4.1.311.10.1"
)

// Extended key usages that name a program.
const (
	ekuWHQL     = "1.3.6.1.4.1.311.10.3.5"
	ekuAttested = "1.3.6.1.4.1.311.10.3.5.1"
	ekuInbox    = "1.3.6.1.4.1.311.10.3.6"
	ekuOEMWHQL  = "1.3.6.1.4.1.311.10.3.7"
	ekuEVWHQL   = "1.3.6.1.4.1.311.10.3.39"
	ekuELAM     = "1.3.6.1.4.1.311.61.4.1"
	ekuHAL      = "1.3.6.1.4.1.311.61.5.1"
	ekuLifetime = "1.3.6.1.4.1.311.10.3.13" // signatures end with the certificate, stamped or not
)

// Signature is one signature over a driver's code: embedded in its file (the first, or one nested
// in it), or a catalog's that lists its authentihash. What could not be known is absent.
type Signature struct {
	// Source is embedded or catalog.
	Source string `json:"source"`
	// Catalog is the path of the catalog; empty for an embedded signature.
	Catalog string `json:"catalog,omitzero"`
	// Nested says that the signature is an unsigned attribute of the one before it.
	Nested bool `json:"nested,omitzero"`
	// Status is the verdict; untrusted, unchecked and invalid carry a Reason.
	Status fact.SignatureStatus `json:"status"`
	// Fits says whether the signature fits the file's bytes, whoever made it; absent when that
	// could not be checked.
	Fits fact.Tri `json:"fits,omitzero"`
	// KeySet names the keys that the status valid rests on.
	KeySet string `json:"keySet,omitzero"`
	// Class is the program that it was made under, by the signer's extended key usages under a
	// known Microsoft CA or a trusted chain, or by the chain's cross certificate: a heuristic.
	// Absent when that does not decide.
	Class fact.SignatureClass `json:"class,omitzero"`
	// Attested is yes if Microsoft signed under the hardware program on the maker's word that the driver was tested,
	// and no if tests were passed; absent for another Class, and when the evidence contradicts itself.
	Attested fact.Tri `json:"attested,omitzero"`
	// MachineRoot is the root in the machine's own store that the chain ends in, if no key of a key set decides the
	// verdict; empty if no such root decides it. The kernel does not use that store.
	MachineRoot string `json:"machineRoot,omitzero"`
	// TrustedPublisher is yes if the machine installs what this signer signed without a question; else absent.
	TrustedPublisher fact.Tri `json:"trustedPublisher,omitzero"`
	// Reason says why the status is not valid.
	Reason string `json:"reason,omitzero"`
	// HashAlgorithm is that of Digest: sha1 or sha256.
	HashAlgorithm string `json:"hashAlgorithm,omitzero"`
	// Digest is what was signed of the file, in lower-case hexadecimal.
	Digest string `json:"digest,omitzero"`
	// Certificates are the chain, the signer's first, as far as it could be built.
	Certificates []Certificate `json:"certificates,omitzero"`
	// ProgramName is the signer's description of the file (SpcSpOpusInfo); for a driver that Microsoft signed on behalf
	// of a vendor, often the only name of the vendor.
	ProgramName string `json:"programName,omitzero"`
	// MoreInfoURL is the address beside ProgramName.
	MoreInfoURL string `json:"moreInfoUrl,omitzero"`
	// SignedAt is the best timestamp's time, or the signer's own word.
	SignedAt time.Time `json:"signedAt,omitzero"`
	// TimeFrom says whose word SignedAt is: timestamp or signer.
	TimeFrom string `json:"timeFrom,omitzero"`
	// Timestamps are all of them.
	Timestamps []Timestamp `json:"timestamps,omitzero"`
	// PageHashes is the signed table of page hashes; nil if the signature has no such table.
	PageHashes *PageHashes `json:"pageHashes,omitzero"`

	read      bool // from a file: JSON does not hold all that block lists ask of a signer
	foreign   bool
	barred    bool     // it is invalid only because the machine does not allow a certificate of its chain
	uncounted bool     // the catalog lists the file's bytes, which the kernel does not look up
	wellKnown []uint32 // numbers of Microsoft's roots that the chain leads to
	qualified bool     // the catalog says that the tests of the hardware program were passed
	// unsureTime is why it is not known whether the timestamp counts whose time the chain is judged at.
	unsureTime error
	// cut is why certificates that the signer's chain may lead to are not known; nil if all are.
	cut error
	// rest is why what follows the signature in the certificate table was not read; nil if all was.
	rest error
	// longest is the longest chain of the certificates that came along, where Certificates end in one
	// that the caller trusts: block lists name authorities, whoever is trusted.
	longest []Certificate
}

// Longest returns the longest chain of the certificates that came along, if Certificates end in a certificate that the
// caller trusts; else nil.
func (s *Signature) Longest() []Certificate { return s.longest }

// Cut returns why certificates that the signer's chain may lead to are not known: neither Certificates nor Longest have
// them. It is nil if all are known.
func (s *Signature) Cut() error { return s.cut }

// Uncounted reports whether the signature is of a catalog that lists the image as if it were any file, by the digest
// of its bytes: the kernel looks an image up by its authentihash alone.
func (s *Signature) Uncounted() bool { return s.uncounted }

// SignersKnown reports whether all certificates are known that lead from the signers of a driver: its certificate table
// was read to the end, and the signatures are not those of a saved snapshot. The signers of signatures that do not fit
// its bytes do not count, unless that is for data beside them alone.
func SignersKnown(list []Signature) bool {
	return !slices.ContainsFunc(list, func(s Signature) bool {
		return !s.read || s.rest != nil || (s.Fits != fact.No || s.foreign) && s.cut != nil
	})
}

// MayCarry reports whether the kernel may take the signature for the driver's: it fits, or that is not known, or it is
// invalid only by what the kernel is not known to ask, or another one may follow it.
func (s *Signature) MayCarry() bool {
	return s.barred || s.foreign || s.rest != nil || s.Status != fact.SignatureInvalid && s.Fits != fact.No
}

// OnlyForeign reports whether the signature is invalid for no other reason than data in the file's
// certificate table that no digest covers. Windows lets some of it pass.
func (s *Signature) OnlyForeign() bool { return s.foreign }

// Barred reports whether the signature fits, and is invalid for no other reason than that the machine's certificate
// stores do not allow a certificate of its chain. The kernel is not known to ask those stores.
func (s *Signature) Barred() bool { return s.barred }

// PageHashes is a signed table of page hashes.
type PageHashes struct {
	HashAlgorithm string   `json:"hashAlgorithm"`  // sha1 or sha256
	Pages         int      `json:"pages"`          // entries, the closing one included
	Match         fact.Tri `json:"match,omitzero"` // whether the file's pages have them; absent when not computed
}

// Certificate is one certificate of a chain.
type Certificate struct {
	Subject          string    `json:"subject"`               // RFC 4514
	Issuer           string    `json:"issuer"`                // RFC 4514
	CommonName       string    `json:"commonName,omitzero"`   // the subject's
	Organization     string    `json:"organization,omitzero"` // the subject's
	Serial           string    `json:"serial"`                // hexadecimal
	ThumbprintSHA1   string    `json:"thumbprintSha1"`        // of the certificate
	ThumbprintSHA256 string    `json:"thumbprintSha256"`      // of the certificate
	TBSHash          string    `json:"tbsHash,omitzero"`      // of the signed part, as block lists have it
	TBSAlgorithm     string    `json:"tbsAlgorithm,omitzero"` // the digest of TBSHash
	NotBefore        time.Time `json:"notBefore"`             // UTC
	NotAfter         time.Time `json:"notAfter"`              // UTC
	EKUs             []string  `json:"ekus,omitzero"`         // nil: the certificate allows every use
	SelfSigned       bool      `json:"selfSigned,omitzero"`   // issued and signed by itself

	keyMD5 string // of the public key; empty if it could not be made
}

// Timestamp is a time stamping authority's word on when a signature existed.
type Timestamp struct {
	Kind   string               `json:"kind"`            // rfc3161 or countersignature
	Time   time.Time            `json:"time"`            // UTC
	Signer string               `json:"signer,omitzero"` // the authority's name
	Status fact.SignatureStatus `json:"status"`          // of the timestamp itself
	KeySet string               `json:"keySet,omitzero"` // the keys that valid rests on
	Reason string               `json:"reason,omitzero"` // why it is not valid
	// Bare is set for a countersignature over the bare digest, as the services of VeriSign and Symantec made them.
	Bare bool `json:"bareDigest,omitzero"`
}

// Words of Signature.TimeFrom.
const (
	TimeFromTimestamp = "timestamp" // an authority whose own signature fits
	TimeFromSigner    = "signer"    // the signer's own statement
)

// A Verifier checks signatures. Its zero value knows no keys but those of Microsoft's roots, which are built in, and no
// catalogs.
type Verifier struct {
	// Roots are the certificates that the caller trusts; nil means no certificate.
	Roots *sign.Roots
	// Trust is where keys beside Roots may come from; 0 is everywhere.
	Trust fact.Trust
	// Stores are the machine's own certificates; nil if they are not known.
	Stores *Stores
	// Catalogs are looked up, one after another, for files whose digest they list.
	Catalogs []*Catalogs
	// Now judges signatures without a timestamp; zero leaves their time unjudged.
	Now time.Time

	item *fact.Item // of the file whose signatures are verified
	memo *memo      // what the signatures of many files have in common
}

// NewVerifier returns a Verifier of a caller's keys beside the built-in ones, and reports a key that cannot be read.
func NewVerifier(keys []fact.KeySet, now time.Time, catalogs []*Catalogs, r *fact.Report) *Verifier {
	roots := sign.NewRoots(keys)
	roots.Report(r, pe.SourceFile, "signature")
	return &Verifier{Roots: roots, Catalogs: catalogs, Now: now, memo: &memo{}}
}

// judge fills everything that follows from a signer whose bytes have been compared: fits is the
// result of that comparison.
func (v *Verifier) judge(s *Signature, sd *sign.SignedData, signer *sign.Signer, fits error) {
	s.readOpus(signer)
	leaf := signer.Certificate(sd.Certificates)
	at, trustedTime := v.times(s, sd, signer)
	switch {
	case fits == nil:
		s.Fits = fact.Yes
	case !sign.IsUndecided(fits):
		s.Fits = fact.No
	}
	if leaf == nil {
		s.cut = cmp.Or(sd.CertificatesErr(), sign.ErrNoCertificate)
		s.verdict(fits, fact.SignatureUnchecked, sign.ErrNoCertificate)
		return
	}
	if leaf.Has(ekuLifetime) {
		at = v.Now
	}
	pool := slices.Concat(sd.Certificates, v.Stores.intermediates())
	chain := v.chain(s, leaf, sign.ChainQuery{Pool: pool, Lost: sd.CertificatesErr(), At: at})
	p := v.programOf(chain, pool)
	s.cut = cmp.Or(s.cut, p.cut)
	if p.microsoft && chain.KeySet == "" && chain.Cut == nil && s.MachineRoot == "" {
		chain.Err = errNoPurpose
	}
	if fits != nil {
		s.verdict(fits, fact.SignatureInvalid, fits)
		return
	}
	v.prove(s, chain, at, trustedTime)
	s.Class, s.wellKnown = classOf(chain, p, s.Status), p.ids
	s.Attested = attested(s.Class, leaf, s.qualified)
}

// prove gives the verdict on a signature that fits, by its chain and the time that it is judged at.
func (v *Verifier) prove(s *Signature, chain sign.Chain, at time.Time, trustedTime bool) {
	ends := v.ends(chain.Certificates)
	barred := v.Stores.notAllowed(s.Certificates, s.longest, ends)
	undecided := cmp.Or(v.Stores.undecided(s.cut, s.Certificates, s.longest, ends), s.unsureTime)
	switch {
	case barred != nil:
		s.verdict(nil, fact.SignatureInvalid, notAllowedError(barred))
		s.barred = true
	case chain.Trusted && s.badTimestamp():
		s.verdict(nil, fact.SignatureUntrusted, errBadTimestamp)
	case chain.Trusted && undecided != nil:
		s.verdict(nil, fact.SignatureUnchecked, undecided)
	case chain.Trusted && at.IsZero():
		s.verdict(nil, fact.SignatureUnchecked, errNoTime)
	case chain.Trusted:
		s.Status, s.KeySet = fact.SignatureValid, chain.KeySet
	case !v.hasKeys():
		s.verdict(nil, fact.SignatureUnchecked, errNoKeys)
	default:
		s.verdict(nil, unproved(chain), chain.Err)
		if !trustedTime && chain.KeySet != "" {
			s.Reason += s.stampReason()
		}
	}
}

func notAllowedError(c *Certificate) error {
	return fmt.Errorf("this machine does not allow certificate %q (store Disallowed)", cmp.Or(c.CommonName, c.Subject))
}

// unproved returns the status of a signature that no trusted chain carries: unchecked if its chain took more than it
// may take, or a certificate that could not be asked may lead to a key.
func unproved(c sign.Chain) fact.SignatureStatus {
	if isLimit(c.Err) || c.KeySet == "" && c.Cut != nil {
		return fact.SignatureUnchecked
	}
	return fact.SignatureUntrusted
}

func isLimit(err error) bool {
	return errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget)
}

// stampReason says, for the end of a reason, why no timestamp proves when the signature was made; empty if it has none.
func (s *Signature) stampReason() string {
	if len(s.Timestamps) == 0 {
		return ""
	}
	t := s.Timestamps[0]
	switch t.Status {
	case fact.SignatureUntrusted:
		return "; its timestamp leads to none of the known keys"
	case fact.SignatureValid:
		return ""
	}
	return "; its timestamp was not accepted: " + t.Reason
}

// chain builds the signer's chain from what came with it, at a time. Microsoft's roots carry a verdict only for the
// purposes that the kernel accepts of them; that of the cross certificates for any code.
func (v *Verifier) chain(s *Signature, leaf *sign.Certificate, q sign.ChainQuery) sign.Chain {
	q.Item, q.Known = v.item, v.memo.issuers()
	all := q
	q.Roots, q.Usage = v.roots(leaf, q.Pool, hasKernelEKU(leaf)), sign.EKUCodeSigning
	chain := sign.BuildChain(leaf, q)
	s.Certificates, s.cut = v.memo.certificates(chain.Certificates), chain.Cut
	if chain.KeySet != "" {
		longest := sign.BuildChain(leaf, all)
		s.cut = cmp.Or(s.cut, longest.Cut)
		if certs := v.memo.certificates(longest.Certificates); len(certs) > len(s.Certificates) {
			s.longest = certs
		}
	}
	s.TrustedPublisher = ""
	if v.Trust.Includes(fact.TrustMachine) && v.Stores.publisher(s.Signer()) {
		s.TrustedPublisher = fact.Yes
	}
	if chain.KeySet != "" {
		return chain
	}
	if m, ok := v.machineChain(leaf, q); ok {
		s.Certificates, s.longest = v.memo.certificates(m.Certificates), s.Certificates
		s.MachineRoot = escape.UTF8(m.Certificates[len(m.Certificates)-1].Subject.Short())
		if chain.Cut == nil {
			chain.Err = fmt.Errorf("it leads to %q in this machine's root store, which the kernel does not ask",
				s.MachineRoot)
		}
	}
	return chain
}

// badTimestamp reports whether somebody changed a timestamp.
func (s *Signature) badTimestamp() bool {
	for _, t := range s.Timestamps {
		if t.Status == fact.SignatureInvalid {
			return true
		}
	}
	return false
}

// verdict sets status and reason: an undecided comparison is unchecked whatever else holds.
func (s *Signature) verdict(fits error, status fact.SignatureStatus, reason error) {
	s.Status = status
	if fits != nil {
		s.Status, reason = fact.SignatureInvalid, fits
		s.foreign = errors.As(fits, new(foreignError))
		if sign.IsUndecided(fits) {
			s.Status = fact.SignatureUnchecked
		}
	}
	if reason != nil {
		s.Reason = escape.Text(reason.Error())
	}
}

// times fills the timestamps and returns the time to judge the chain at: a timestamp's whose own
// chain is trusted, else now.
func (v *Verifier) times(s *Signature, sd *sign.SignedData, signer *sign.Signer) (at time.Time, trusted bool) {
	at = v.Now
	for _, t := range signer.Timestamps(sd.Certificates) {
		if t.Kind == sign.TimestampCounter {
			t.Lost = sd.CertificatesErr()
		}
		ts, unsure := v.timestamp(t)
		s.Timestamps = append(s.Timestamps, ts)
		switch {
		case ts.Status == fact.SignatureValid && (!trusted || s.unsureTime != nil):
			at, trusted, s.unsureTime = ts.Time, true, nil
		case unsure != nil && !trusted:
			at, trusted, s.unsureTime = ts.Time, true, unsure
		}
		fits := t.Err == nil
		if fits && (s.TimeFrom == "" || trusted && ts.Status == fact.SignatureValid && !s.SignedAt.Equal(at)) {
			s.SignedAt, s.TimeFrom = ts.Time, TimeFromTimestamp
		}
	}
	if s.TimeFrom == "" {
		if t := signer.SigningTime(); !t.IsZero() {
			s.SignedAt, s.TimeFrom = t, TimeFromSigner
		}
	}
	return at, trusted
}

// timestamp judges a timestamp. unsure is why it is not known whether the machine allows its authority, or a
// certificate that it needs could not be asked, if nothing else speaks against it.
func (v *Verifier) timestamp(t sign.Timestamp) (ts Timestamp, unsure error) {
	ts = Timestamp{Kind: t.Kind, Time: t.Time, Bare: t.Bare, Status: fact.SignatureUnchecked}
	if t.Certificate != nil {
		ts.Signer = escape.UTF8(t.Certificate.Subject.Short())
	}
	if t.Err != nil {
		ts.Reason = escape.Text(t.Err.Error())
		switch {
		case !sign.IsUndecided(t.Err):
			ts.Status = fact.SignatureInvalid
		case t.Lost != nil && !t.Time.IsZero(): // the authority's own certificate may be the one that is lost
			unsure = t.Lost
		}
		return ts, unsure
	}
	if !v.hasKeys() {
		ts.Reason = errNoKeys.Error()
		return ts, nil
	}
	// An authority's certificate must have been valid when it stamped.
	pool := slices.Concat(t.Pool, v.Stores.intermediates())
	q := sign.ChainQuery{Pool: pool, Lost: t.Lost, Roots: v.roots(t.Certificate, pool, true), At: t.Time,
		Usage: sign.EKUTimeStamping, Item: v.item, Known: v.memo.issuers()}
	chain := sign.BuildChain(t.Certificate, q)
	if !chain.Trusted {
		if m, ok := v.machineChain(t.Certificate, q); ok && m.Trusted {
			chain = m
		}
	}
	if !chain.Trusted {
		ts.Status, ts.Reason = unproved(chain), escape.Text(chain.Err.Error())
		if ts.Status == fact.SignatureUnchecked {
			unsure = chain.Err
		}
		return ts, unsure
	}
	certs, ends := v.memo.certificates(chain.Certificates), v.ends(chain.Certificates)
	if barred := v.Stores.notAllowed(certs, ends); barred != nil {
		ts.Status = fact.SignatureUntrusted
		ts.Reason = escape.Text(notAllowedError(barred).Error())
		return ts, nil
	}
	if unsure = v.Stores.undecided(nil, certs, ends); unsure != nil {
		ts.Reason = escape.Text(unsure.Error())
		return ts, unsure
	}
	ts.Status, ts.KeySet = fact.SignatureValid, chain.KeySet
	return ts, nil
}

// Signer returns the signer's certificate; nil when it is not known.
func (s *Signature) Signer() *Certificate {
	if len(s.Certificates) == 0 {
		return nil
	}
	return &s.Certificates[0]
}

// Common returns what every kernel's signatures have in Common.
func (s *Signature) Common() fact.Signature {
	c := fact.Signature{
		Status: s.Status, Source: s.Source, Class: s.Class, Attested: s.Attested, KeySet: s.KeySet,
		Hash: s.HashAlgorithm, SignedAt: s.SignedAt,
	}
	if leaf := s.Signer(); leaf != nil {
		c.Signer = leaf.CommonName
		if c.Signer == "" {
			c.Signer = leaf.Subject
		}
	}
	return c
}

// statusRank orders the statuses of a file with several signatures; the highest describes the file best. What was not
// judged is above what is trusted by no key, because it may be valid; an invalid signature is above a missing one,
// because it matters more.
func statusRank(s fact.SignatureStatus) int {
	switch s {
	case fact.SignatureValid:
		return 5
	case fact.SignatureUnchecked:
		return 4
	case fact.SignatureUntrusted:
		return 3
	case fact.SignatureInvalid:
		return 2
	}
	return 0
}

func classRank(c fact.SignatureClass) int {
	switch c {
	case fact.ClassInbox:
		return 6
	case fact.ClassELAM:
		return 5
	case fact.ClassWHCP:
		return 4
	case fact.ClassCrossSigned:
		return 3
	case fact.ClassEnterprise:
		return 2
	case fact.ClassSelfSigned:
		return 1
	}
	return 0
}

// Best returns the signature that says most for the file: by status, then class, then
// digest, the earlier of equals; false without signatures.
func Best(list []Signature) (Signature, bool) {
	if len(list) == 0 {
		return Signature{}, false
	}
	best := 0
	for i := range list {
		if better(&list[i], &list[best]) {
			best = i
		}
	}
	return list[best], true
}

func better(a, b *Signature) bool {
	if x, y := statusRank(a.Status), statusRank(b.Status); x != y {
		return x > y
	}
	if x, y := classRank(a.Class), classRank(b.Class); x != y {
		return x > y
	}
	return a.HashAlgorithm == "sha256" && b.HashAlgorithm == "sha1"
}

// readOpus reads the program's name and address.
func (s *Signature) readOpus(signer *sign.Signer) {
	v, ok := signer.SignedAttribute(oidOpusInfo)
	if !ok || !v.Is(sign.TagSequence) {
		return
	}
	r := v.Reader()
	if name, ok := r.Optional(0); ok {
		s.ProgramName = spcString(name)
	}
	if info, ok := r.Optional(1); ok {
		in := info.Reader()
		if url, ok := in.Optional(0); ok {
			s.MoreInfoURL = escape.UTF8(string(url.Body))
		}
	}
}

// spcString reads an SpcString: [0] is UTF-16, [1] is ASCII.
func spcString(v sign.Value) string {
	r := v.Reader()
	if u, ok := r.Optional(0); ok {
		return sign.UTF16BE(u.Body)
	}
	if a, ok := r.Optional(1); ok {
		return escape.UTF8(string(a.Body))
	}
	return ""
}

// ProvedAt returns when the signature was made, by a timestamp whose own chain is trusted; false if none proves it.
func (s *Signature) ProvedAt() (time.Time, bool) {
	for _, t := range s.Timestamps {
		if t.Status == fact.SignatureValid {
			return t.Time, true
		}
	}
	return time.Time{}, false
}
