// SPDX-License-Identifier: Apache-2.0

package fact

import "time"

// A SignatureStatus is what is known of a signature, in one word. Empty means nobody looked.
type SignatureStatus string

// The signature words. Only SignatureValid says that the bytes are those the signer signed.
const (
	SignatureNone      SignatureStatus = "none"      // looked: there is no signature
	SignatureUnchecked SignatureStatus = "unchecked" // there is one; it was not, or could not be, verified
	SignatureUntrusted SignatureStatus = "untrusted" // it fits the bytes, but leads to none of the given keys
	SignatureValid     SignatureStatus = "valid"     // it fits the bytes and leads to a key of KeySet
	SignatureInvalid   SignatureStatus = "invalid"   // it does not fit the bytes, or the machine revokes it
)

// A SignatureClass says under which program a signature was made, where the operating system
// has programs. Empty means unknown.
type SignatureClass string

// The classes; all but SelfSigned are Windows'.
const (
	ClassInbox       SignatureClass = "inbox"        // part of Windows
	ClassWHCP        SignatureClass = "whcp"         // Windows Hardware Compatibility Program
	ClassELAM        SignatureClass = "elam"         // early-launch anti-malware
	ClassCrossSigned SignatureClass = "cross_signed" // a public CA with a Microsoft cross certificate
	ClassEnterprise  SignatureClass = "enterprise"   // a company's own policy
	ClassSelfSigned  SignatureClass = "self_signed"  // by itself
)

// Words of Signature.Source.
const (
	SignatureEmbedded = "embedded" // in, or appended to, the file
	SignatureCatalog  = "catalog"  // in a catalog that lists the file's hash
)

// EvidenceTaintE is the Signature.Evidence of a loaded Linux module that carries taint E: its signature was not valid
// for this kernel when it was loaded, or missing. Whether the file has a signature is unknown.
const EvidenceTaintE = "taint_e"

// A Signature is what is known of who signed an extension's file.
type Signature struct {
	// Status is the verdict so far; empty when nobody looked at the file.
	Status SignatureStatus `json:"status,omitzero"`
	// Signer names who signed, as the signature or its certificate says; unverified unless Status
	// is valid.
	Signer string `json:"signer,omitzero"`
	// Source is where the signature was found: embedded or catalog.
	Source string `json:"source,omitzero"`
	// Class is the program it was made under; empty when unknown or when the system has none.
	Class SignatureClass `json:"class,omitzero"`
	// Attested is yes if Microsoft signed a driver on its maker's word that it was tested, and no if on a test's
	// result; empty if that is not known, and on other systems.
	Attested Tri `json:"attested,omitzero"`
	// Evidence is a fact that replaces a look at the file, such as taint_e.
	Evidence string `json:"evidence,omitzero"`
	// KeySet names the [KeySet] that the status valid rests on; empty for any other status.
	KeySet string `json:"keySet,omitzero"`
	// Hash is the digest algorithm, such as "sha256".
	Hash string `json:"hash,omitzero"`
	// SignedAt is when a trusted or stated time says it was signed, UTC; zero when none is stated.
	SignedAt time.Time `json:"signedAt,omitzero"`
}

// IsZero reports whether nothing is known.
func (s *Signature) IsZero() bool { return *s == Signature{} }
