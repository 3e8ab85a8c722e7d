// SPDX-License-Identifier: Apache-2.0

package fact

import "crypto/x509"

// A KeySet is a named set of certificates that signatures are verified against.
type KeySet struct {
	// Name is how results refer to the set: for a caller's, usually the file that it came from.
	Name string
	// Origin is where the set comes from; 0 for a caller's own, which [Trust] never leaves out.
	Origin Trust
	// Certificates are trusted as they are: a signature by one of them is valid.
	Certificates []*x509.Certificate
}

// A Trust is a set of places that certificates come from, beside the caller's own key sets (Options.Keys), which always
// count. The zero value is every place. TrustAll &^ TrustMicrosoft leaves one out, and TrustCaller leaves out all.
type Trust uint32

// The places.
const (
	// TrustCaller is no place but the caller's own key sets.
	TrustCaller Trust = 1 << iota
	// TrustKernel is the certificates in the image of the kernel that boots.
	TrustKernel
	// TrustMachine is what this machine's owner and its firmware trust: the variables MOK and db, a machine's own
	// stores.
	TrustMachine
	// TrustDistribution is the certificates that packages and tools install as files. Of Linux they prove nothing: they
	// name who signed, and the signature stays untrusted.
	TrustDistribution
	// TrustMicrosoft is Microsoft's public roots, which this library brings.
	TrustMicrosoft
	// TrustApple is Apple's public roots, which this library brings.
	TrustApple

	// TrustAll is every place.
	TrustAll = TrustCaller | TrustKernel | TrustMachine | TrustDistribution | TrustMicrosoft | TrustApple
)

// Includes reports whether key sets from an origin count. A caller's own set, whose origin is 0, always does.
func (t Trust) Includes(origin Trust) bool {
	return t == 0 || origin&^TrustCaller == 0 || t&origin != 0
}
