// SPDX-License-Identifier: Apache-2.0

// Package sign decodes and checks signatures in the form that kernels use: PKCS#7 SignedData
// (RFC 2315, and RFC 5652 where it is the same), X.509 certificates, RFC 3161 timestamps and
// the countersignatures that came before them.
//
// It is lenient where crypto/x509 is strict, because what is to be listed was signed over thirty
// years: negative serial numbers, SHA-1, BER with indefinite lengths. It is strict where it
// counts: a signature is called good only when the bytes were hashed and the key was applied. It
// holds no trust of its own: roots come from the caller ([fact.KeySet]). It reads no file, no
// clock and no network, and knows no revocation.
//
// It is our own because the PKCS#7 libraries for Go parse certificates with crypto/x509, so that one
// odd certificate costs the whole signature, and do not hand out the unsigned attributes as they
// are, which hold timestamps and nested signatures; Authenticode's content, catalogs and
// countersignatures would be our own code in any case. The arithmetic is the standard library's:
// crypto/x509 parses keys, crypto/rsa, ecdsa and ed25519 check signatures.
//
// Input is hostile: every count and depth is bounded (see the constants), nothing recurses on
// input, and nothing is copied: the results refer to the bytes that were decoded.
package sign

// Limits on what one SignedData may hold. Real ones stay far below.
const (
	maxDepth      = 64   // nesting of indefinite-length BER values
	maxCerts      = 256  // certificates in one SignedData
	maxSigners    = 16   // signer infos in one SignedData
	maxAttributes = 64   // attributes of a signer, and values of an attribute
	maxRDNs       = 64   // parts of a distinguished name
	maxExtensions = 64   // extensions of a certificate
	maxEKUs       = 64   // extended key usages of a certificate
	maxChain      = 10   // certificates in a chain
	maxKeyBits    = 8192 // of an RSA key
	maxTimestamps = 16   // timestamps of a signature
	maxTries      = 100  // signatures checked while a chain is built
)
