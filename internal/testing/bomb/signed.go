// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing/fstest"
	"unicode/utf16"

	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// The readers of what is signed, and of what decides on it.
const (
	Signature = "signature" // a driver's signature, with keys to verify it by
	Catalogs  = "catalogs"  // a folder of catalogs
	// Disallowed is a list of certificates that nothing may be signed with (DisallowedCertEncodedCtl).
	Disallowed = "disallowed certificates"
)

// The place of a driver on a disk.
const driverPath = "a.sys"

// signedBombs are signatures, catalogs and compiled policies.
func signedBombs() []Bomb {
	signature := func(name string, pkcs func(n int) []byte, small, big int) Bomb {
		return Bomb{Name: name, Of: Signature, Path: driverPath, Small: small, Big: big,
			Make: func(n int) []byte { return WithSignature(petest.Sample().Build(), pkcs(n)) }}
	}
	catalog := func(name string, member func(i int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: Catalogs, Path: "a.cat", Small: 500, Big: big, Make: func(n int) []byte {
			var members []byte
			for i := range n {
				members = append(members, member(i)...)
			}
			return Catalog(members)
		}}
	}
	disallowed := func(name string, list func(n int) []byte, small, big int) Bomb {
		return Bomb{Name: name, Of: Disallowed, Path: "list", Small: small, Big: big, Make: list}
	}
	return []Bomb{
		signature("signature of certificates", func(n int) []byte {
			return SignedData(nil, certificates(n, "a", "a", nil), nil)
		}, 20, 5000),
		signature("signature by a long certificate", func(n int) []byte {
			long := Certificate("a", "b", 0, extension("1.2.3.4", make([]byte, n<<10)))
			return SignedData(nil, slicesOf(long, certificates(120, "b", "b", nil)), signer("b", 0, nil))
		}, 20, 4000),
		signature("signature by many authorities", func(n int) []byte {
			return SignedData(nil, slicesOf(Certificate("a", "b", 0, nil), certificates(n, "b", "b", nil)),
				signer("b", 0, nil))
		}, 20, 250),
		signature("signature of long names", func(n int) []byte {
			name := strings.Repeat("x", 100*n)
			return SignedData(nil, slicesOf(Certificate("a", name, 0, nil), certificates(100, name, name, nil)),
				signer(name, 0, nil))
		}, 20, 400),
		signature("signature of attributes", func(n int) []byte {
			return SignedData(nil, Certificate("a", "b", 0, nil), signer("b", 0, repeated(n, func(i int) []byte {
				return attribute("1.2.3.4", number(i))
			})))
		}, 20, 60_000),
		signature("signature of timestamps", func(n int) []byte {
			stamps := repeated(n, func(int) []byte { return signer("b", 0, nil) })
			return SignedData(nil, slicesOf(Certificate("a", "b", 0, nil), certificates(100, "b", "b", nil)),
				signer("b", 0, der(0x30, oidOf("1.2.840.113549.1.9.6"), der(0x31, stamps))))
		}, 10, 4000),
		signature("signature of signatures", func(n int) []byte {
			inner := SignedData(nil, Certificate("a", "b", 0, nil), signer("b", 0, nil))
			return SignedData(nil, Certificate("a", "b", 0, nil), signer("b", 0,
				der(0x30, oidOf("1.3.6.1.4.1.311.2.4.1"), der(0x31, bytes.Repeat(inner, n)))))
		}, 10, 5000),
		signature("signature of open lengths", func(n int) []byte {
			deep := bytes.Repeat([]byte{0x24, 0x80}, min(n, 60))
			deep = append(deep, bytes.Repeat([]byte{4, 1, 'x'}, n)...)
			return SignedData(append(deep, make([]byte, 2*min(n, 60))...), nil, nil)
		}, 2000, 300_000),
		signature("signature of purposes", func(n int) []byte {
			list := repeated(n, func(int) []byte { return oidOf("1.2.3.4.5.6.7.8.9") })
			return SignedData(nil, certificates(200, "a", "a", extension("2.5.29.37", der(0x30, list))), nil)
		}, 20, 500),
		catalog("catalog of members", func(i int) []byte {
			sum := sha256.Sum256([]byte(number(i)))
			return der(0x30, der(4, sum[:]), der(0x31))
		}, 300_000),
		catalog("catalog of strange members", func(int) []byte { return der(0x30, der(4, []byte("x")), der(0x31)) },
			500_000),
		catalog("catalog of long digests", func(i int) []byte {
			return der(0x30, der(4, wide(strings.Repeat("a", 60)+number(i))), der(0x31))
		}, 60_000),
		{Name: "links to one catalog", Of: Catalogs, Tree: func(n int) fstest.MapFS {
			sum := sha256.Sum256(nil)
			tree := fstest.MapFS{"a.cat": file(Catalog(bytes.Repeat(der(0x30, der(4, sum[:]), der(0x31)), 1000)))}
			for i := range n {
				tree[number(i)+".cat"] = link("a.cat")
			}
			return tree
		}, Small: 10, Big: 20_000},
		disallowed("list of certificates that are not allowed", DisallowedList, 100, 50_000),
		disallowed("list of whole certificates that are not allowed", func(n int) []byte {
			return listOf(oidOf("1.3.6.1.4.1.311.10.3.30"), "1.3.14.3.2.26", n, 20)
		}, 100, 40_000),
		disallowed("list of usages", func(n int) []byte {
			return listOf(repeated(n, func(int) []byte { return oidOf("1.2.3.4") }), "1.2.3", 0, 0)
		}, 500, 100_000),
		disallowed("list of invalid certificates", func(n int) []byte {
			return listOf(oidOf("1.3.6.1.4.1.311.10.3.30"), "1.3.6.1.4.1.311.10.11.15", n, 3)
		}, 500, 100_000),
		{Name: "policy of rules", Of: BlockList, Make: func(n int) []byte {
			return policytest.Compile(&sipolicy.Policy{Format: 8, Rules: make([]sipolicy.FileRule, n)})
		}, Small: 500, Big: 100_000},
		{Name: "policy of names", Of: BlockList, Make: func(n int) []byte {
			p := &sipolicy.Policy{Format: 2}
			for i := range n {
				p.Rules = append(p.Rules, sipolicy.FileRule{FileName: number(i) + ".sys"})
			}
			p.Scenarios = []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers}}
			return policytest.Compile(p)
		}, Small: 500, Big: 100_000},
		{Name: "policy of references", Of: BlockList, Make: func(n int) []byte {
			p := &sipolicy.Policy{Format: 2, Rules: []sipolicy.FileRule{{FileName: strings.Repeat("x", 20_000)}},
				Signers: []sipolicy.Signer{{Root: make([]byte, 32)}}, Scenarios: make([]sipolicy.Scenario, 1)}
			p.Scenarios[0].Value = sipolicy.ScenarioDrivers
			for _, g := range p.Scenarios[0].Groups() {
				g.Rules = make([]int, n)
				for range n {
					g.Denied = append(g.Denied, sipolicy.SignerRef{Except: []int{0}})
				}
			}
			p.Signers[0].Attribs = make([]int, n)
			return policytest.Compile(p)
		}, Small: 500, Big: 60_000},
		{Name: "policy of signers", Of: BlockList, Make: func(n int) []byte {
			p := &sipolicy.Policy{Format: 2, Signers: make([]sipolicy.Signer, n),
				Scenarios: make([]sipolicy.Scenario, 1)}
			p.Scenarios[0].Value = sipolicy.ScenarioDrivers
			g := p.Scenarios[0].Groups()[0]
			for i := range n {
				g.Denied = append(g.Denied, sipolicy.SignerRef{Signer: i})
			}
			return policytest.Compile(p)
		}, Small: 500, Big: 40_000},
	}
}

// der is an ASN.1 value with that first byte.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	out := []byte{tag}
	switch n := len(body); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 1<<16:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, body...)
}

func slicesOf(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func repeated(n int, f func(i int) []byte) []byte {
	var out []byte
	for i := range n {
		out = append(out, f(i)...)
	}
	return out
}

func oidOf(dotted string) []byte {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(dotted, ".") {
		n, _ := new(big.Int).SetString(part, 10)
		id = append(id, int(n.Int64()))
	}
	b, err := asn1.Marshal(id)
	if err != nil {
		panic(err)
	}
	return b
}

func wide(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// nameOf is a distinguished name of one part.
func nameOf(s string) []byte {
	return der(0x30, der(0x31, der(0x30, oidOf("2.5.4.3"), der(12, []byte(s)))))
}

func extension(id string, value []byte) []byte { return der(0x30, oidOf(id), der(4, value)) }

func attribute(id, value string) []byte {
	return der(0x30, oidOf(id), der(0x31, der(4, []byte(value))))
}

// The algorithms: ECDSA with SHA-512, SHA-256.
func signedBy() []byte   { return der(0x30, oidOf("1.2.840.10045.4.3.4")) }
func digestedBy() []byte { return der(0x30, oidOf("2.16.840.1.101.3.4.2.1")) }

// publicKey is a key of the largest curve: the slowest to verify by. Nobody knows the private one.
func publicKey() []byte {
	p := elliptic.P521().Params()
	spki, err := x509.MarshalPKIXPublicKey(&ecdsa.PublicKey{Curve: elliptic.P521(), X: p.Gx, Y: p.Gy})
	if err != nil {
		panic(err)
	}
	return spki
}

// aSignature has the form of an ECDSA signature, and fits nothing.
func aSignature() []byte { return der(0x30, der(2, []byte{1}), der(2, []byte{2})) }

// Certificate is a certificate that nobody signed.
func Certificate(subject, issuer string, serial int, extensions []byte) []byte {
	return certificateBy(publicKey(), subject, issuer, serial, extensions)
}

func certificateBy(spki []byte, subject, issuer string, serial int, extensions []byte) []byte {
	when := der(0x30, der(23, []byte("200101000000Z")), der(23, []byte("400101000000Z")))
	tbs := slicesOf(der(0xa0, der(2, []byte{2})), der(2, []byte{1, byte(serial >> 8), byte(serial)}), signedBy(),
		nameOf(issuer), when, nameOf(subject), spki)
	if extensions != nil {
		tbs = append(tbs, der(0xa3, der(0x30, extensions))...)
	}
	return der(0x30, der(0x30, tbs), signedBy(), der(3, []byte{0}, aSignature()))
}

// certificates are n certificates that differ in their numbers.
func certificates(n int, subject, issuer string, extensions []byte) []byte {
	spki := publicKey()
	return repeated(n, func(i int) []byte { return certificateBy(spki, subject, issuer, i+1, extensions) })
}

// signer is a SignerInfo by the certificate of that issuer and number.
func signer(issuer string, serial int, unsigned []byte) []byte {
	parts := slicesOf(der(2, []byte{1}), der(0x30, nameOf(issuer), der(2, []byte{1, byte(serial >> 8), byte(serial)})),
		digestedBy(), signedBy(), der(4, aSignature()))
	if unsigned != nil {
		parts = append(parts, der(0xa1, unsigned)...)
	}
	return der(0x30, parts)
}

// SignedData is a PKCS#7 signature over content, which is data unless it is a value of its own.
func SignedData(content, certs, signers []byte) []byte {
	return signedDataOf("1.3.6.1.4.1.311.2.1.4", content, certs, signers)
}

func signedDataOf(typ string, content, certs, signers []byte) []byte {
	inner := oidOf(typ)
	if content != nil {
		inner = append(inner, der(0xa0, content)...)
	}
	parts := slicesOf(der(2, []byte{1}), der(0x31, digestedBy()), der(0x30, inner))
	if certs != nil {
		parts = append(parts, der(0xa0, certs)...)
	}
	parts = append(parts, der(0x31, signers)...)
	return der(0x30, oidOf("1.2.840.113549.1.7.2"), der(0xa0, der(0x30, parts)))
}

// Catalog is an unsigned catalog of members.
func Catalog(members []byte) []byte {
	list := der(0x30, der(0x30, oidOf("1.3.6.1.4.1.311.12.1.1")), der(4, []byte("x")),
		der(23, []byte("230101000000Z")), der(0x30, oidOf("1.3.6.1.4.1.311.12.1.3")), der(0x30, members))
	return signedDataOf("1.3.6.1.4.1.311.10.1", list, nil, nil)
}

// DisallowedList is a list of n keys that nothing may be signed with.
func DisallowedList(n int) []byte {
	return listOf(oidOf("1.3.6.1.4.1.311.10.3.30"), "1.3.6.1.4.1.311.10.11.15", n, 16)
}

// listOf is a trust list for usages, with n entries of size bytes that an algorithm makes.
func listOf(usages []byte, algorithm string, n, size int) []byte {
	entries := repeated(n, func(i int) []byte {
		id := append(make([]byte, size), number(i)...)
		return der(0x30, der(4, id[len(id)-size:]))
	})
	list := der(0x30, der(0x30, usages), der(2, []byte{1}), der(23, []byte("230101000000Z")),
		der(0x30, oidOf(algorithm)), der(0x30, entries))
	return signedDataOf("1.3.6.1.4.1.311.10.1", list, nil, nil)
}

// WithSignature adds a certificate table to an image.
func WithSignature(image, pkcs []byte) []byte {
	for len(image)%8 != 0 {
		image = append(image, 0)
	}
	at := len(image)
	for len(pkcs)%8 != 0 {
		pkcs = append(pkcs, 0)
	}
	head := order.AppendUint32(nil, uint32(8+len(pkcs)))
	head = order.AppendUint16(order.AppendUint16(head, 0x200), 2)
	pe := order.Uint32(image[0x3c:])
	optional := image[pe+24:]
	table := optional[112+8*4:]
	if order.Uint16(optional) == 0x10b {
		table = optional[96+8*4:]
	}
	order.PutUint32(table, uint32(at))
	order.PutUint32(table[4:], uint32(8+len(pkcs)))
	return slicesOf(image, head, pkcs)
}
