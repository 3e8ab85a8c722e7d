// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"errors"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

var (
	errNoKeys       = errors.New("no keys were given to check it against")
	errBadTimestamp = errors.New("a timestamp of it does not fit")
	errNoTime       = errors.New("no trusted time to judge its certificates at")
)

// microsoftCAs are the TBS hashes of the Microsoft CAs that issue the certificates of Windows
// itself and of the hardware programme. They say whose programme a signature belongs to; they
// make nothing valid.
var microsoftCAs = map[string]string{
	"4e80be107c860de896384b3eff50504dc2d76ac7151df3102a4450637a032146": "Microsoft Windows Production PCA 2011",
	"265e5c02bdc19aa5394c2c3041fc2bd59774f918":                         "Microsoft Windows Verification PCA",
	"121af4b922a74247ea49df50de37609cc1451a1fe06b2cb7e1e079b492bd8195": "Microsoft Code Signing PCA 2010",
	"f6f717a43ad9abddc8cefdde1c505462535e7d1307e630f9544a2d14fe8bf26e": "Microsoft Code Signing PCA 2011",
	"cec1afd0e310c55c1dcc601ab8e172917706aa32fb5eaf826813547fdf02dd46": "Microsoft Windows Third Party Component CA 2012",
	"c55ee44c6de86fa9ac3fc90f84ef0d4a6cad5aac6a112047c88b997e7547aed1": "Microsoft Windows Third Party Component CA 2013",
	"d8be9e4d9074088ef818bc6f6fb64955e90378b2754155126feebbbd969cf0ae": "Microsoft Windows Third Party Component CA 2014",
}

// crossIssuer issues the cross certificates of commercial CAs for kernel-mode code.
const crossIssuer = "Microsoft Code Verification Root"

// classOf says under which programme a signature that fits its bytes was made. The chain's
// signatures have been checked, so a name in it was given by the certificate above. A certificate
// that merely claims a programme's usage under an unknown CA gives no class.
func classOf(chain sign.Chain, status fact.SignatureStatus) fact.SignatureClass {
	leaf := chain.Certificates[0]
	if len(chain.Certificates) == 1 && leaf.IsSelfSigned() {
		return fact.ClassSelfSigned
	}
	trusted := status == fact.SignatureValid
	if trusted || underMicrosoft(chain) {
		switch {
		case leaf.Has(ekuELAM):
			return fact.ClassELAM
		case leaf.Has(ekuInbox):
			return fact.ClassInbox
		case leaf.Has(ekuWHQL), leaf.Has(ekuAttested), leaf.Has(ekuOEMWHQL), leaf.Has(ekuEVWHQL):
			return fact.ClassWHCP
		}
	}
	if crossSigned(chain) {
		return fact.ClassCrossSigned
	}
	if trusted && !underMicrosoft(chain) {
		return fact.ClassEnterprise
	}
	return ""
}

// underMicrosoft reports whether a certificate above the signer's is one of Microsoft's.
func underMicrosoft(chain sign.Chain) bool {
	for _, c := range chain.Certificates[1:] {
		if tbs, _ := c.TBSHash(); microsoftCAs[tbs] != "" {
			return true
		}
	}
	return false
}

// crossSigned reports whether the chain passes through a certificate that Microsoft's
// verification root issued to another CA.
func crossSigned(chain sign.Chain) bool {
	for _, c := range chain.Certificates[1:] {
		if c.Issuer.CommonName() == crossIssuer && !c.IsSelfIssued() {
			return true
		}
	}
	return false
}
