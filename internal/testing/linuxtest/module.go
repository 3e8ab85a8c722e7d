// SPDX-License-Identifier: Apache-2.0

package linuxtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"testing"
	"time"
)

// ELF section types that the reader of modules does not distinguish.
const (
	sectionProg = 1 // SHT_PROGBITS
	sectionNote = 7 // SHT_NOTE
)

// A ByteOrder reads and writes.
type ByteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// A Module is a module made for tests.
type Module struct {
	Order    ByteOrder
	Is64     bool
	Sections []Section
}

// A Section is one section of it.
type Section struct {
	Name string
	Kind uint32
	Data []byte
	Link uint32
}

// ModuleOf makes an ELF module with these .modinfo entries, a build-id and some code before them.
func ModuleOf(order ByteOrder, is64 bool, entries ...string) *Module {
	var info []byte
	for _, e := range entries {
		info = append(append(info, e...), 0)
	}
	note := order.AppendUint32(nil, 4)
	note = order.AppendUint32(note, 20)
	note = order.AppendUint32(note, 3)
	note = append(append(note, "GNU\x00"...), bytes.Repeat([]byte{0xab}, 20)...)
	return &Module{Order: order, Is64: is64, Sections: []Section{
		{Name: ".note.gnu.build-id", Kind: sectionNote, Data: note},
		{Name: ".text", Kind: sectionProg, Data: bytes.Repeat([]byte{0x90, 0xc3, 0}, 700)},
		{Name: ".rodata.str1.1", Kind: sectionProg, Data: []byte("probe failed: %d\x00mode=%s\x00busy\x00")},
		{Name: ".modinfo", Kind: sectionProg, Data: info},
		{Name: "__param", Kind: sectionProg, Data: make([]byte, 900)},
	}}
}

// Entries are what the build adds to every module.
func Entries(name string, more ...string) []string {
	return append(more, "license=GPL", "depends=a,b-c", "intree=Y", "name="+name, "vermagic=6.1.0-test SMP mod_unload ")
}

// EntriesOf are the entries of a module that belongs to the kernel of that release.
func EntriesOf(release, name string, more ...string) []string {
	return append(more, "license=GPL", "depends=", "intree=Y", "name="+name, "vermagic="+release+" SMP mod_unload ")
}

// Bytes writes the module: header, sections, their names, their headers.
func (b *Module) Bytes() []byte {
	pick := func(a, c int) int {
		if b.Is64 {
			return c
		}
		return a
	}
	word := func(out []byte, v uint64) []byte {
		if b.Is64 {
			return b.Order.AppendUint64(out, v)
		}
		return b.Order.AppendUint32(out, uint32(v))
	}
	out := make([]byte, pick(52, 64))
	names := []byte{0}
	headers := make([]byte, pick(40, 64))
	add := func(s Section) {
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
		h := b.Order.AppendUint32(nil, uint32(len(names)))
		h = b.Order.AppendUint32(h, s.Kind)
		h = word(word(h, 0), 0)
		h = word(word(h, uint64(len(out))), uint64(len(s.Data)))
		h = b.Order.AppendUint32(h, s.Link)
		h = b.Order.AppendUint32(h, 0)
		h = word(word(h, 1), 0)
		headers = append(headers, h...)
		names = append(append(names, s.Name...), 0)
		out = append(out, s.Data...)
	}
	for _, s := range b.Sections {
		add(s)
	}
	at := len(names)
	names = append(names, ".shstrtab\x00"...)
	table := names
	names = names[:at]
	add(Section{Name: ".shstrtab", Kind: 3, Data: table})
	shoff := len(out)
	out = append(out, headers...)
	class, data := byte(pick(1, 2)), byte(1)
	if b.Order == ByteOrder(binary.BigEndian) {
		data = 2
	}
	copy(out, []byte{0x7f, 'E', 'L', 'F', class, data, 1})
	b.Order.PutUint16(out[16:], 1)
	b.Order.PutUint16(out[18:], 62)
	count := uint16(len(b.Sections) + 2)
	if b.Is64 {
		b.Order.PutUint64(out[40:], uint64(shoff))
		b.Order.PutUint16(out[58:], 64)
		b.Order.PutUint16(out[60:], count)
		b.Order.PutUint16(out[62:], count-1)
	} else {
		b.Order.PutUint32(out[32:], uint32(shoff))
		b.Order.PutUint16(out[46:], 40)
		b.Order.PutUint16(out[48:], count)
		b.Order.PutUint16(out[50:], count-1)
	}
	return out
}

// A Key signs modules as the kernel's sign-file does.
type Key struct {
	Cert   *x509.Certificate
	Signer crypto.Signer
}

// NewKey makes a key, of ECDSA or RSA, and its certificate.
func NewKey(t testing.TB, name string, ec bool) Key {
	t.Helper()
	var key crypto.Signer
	var err error
	if ec {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x1234567890), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0), SubjectKeyId: []byte{1, 2, 3, 4}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Key{cert, key}
}

type algorithmID struct {
	Algorithm  asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// OIDMLDSA65 and OIDUnknown are algorithms that a signature can claim, the others those that it is made with.
var (
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA512        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	oidRSA           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSA256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	OIDMLDSA65       = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}
	OIDUnknown       = asn1.ObjectIdentifier{1, 2, 3, 4, 5}
	oidDataType      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSignedDat     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// Sign appends a signature. With algorithm set that is what it claims to be made by.
func (k Key) Sign(t testing.TB, module []byte, algorithm asn1.ObjectIdentifier) []byte {
	t.Helper()
	return SignAll(t, module, Signing{Key: k, Algorithm: algorithm})
}

// A Signing is a signature to make, with SHA-256 if nothing else is said.
type Signing struct {
	Key        Key
	Hash       crypto.Hash
	Algorithm  asn1.ObjectIdentifier // what it claims to be made by, if set
	Attributes bool                  // sign attributes
	Serial     *big.Int              // claimed, if set
	Issuer     []byte                // claimed, if set
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type signerInfo struct {
	Version    int
	ID         issuerAndSerial
	Digest     algorithmID
	Attributes asn1.RawValue `asn1:"optional"`
	Algorithm  algorithmID
	Signature  []byte
}

func (s Signing) info(t testing.TB, module []byte) signerInfo {
	t.Helper()
	info := signerInfo{Version: 1, ID: issuerAndSerial{asn1.RawValue{FullBytes: s.Key.Cert.RawIssuer},
		s.Key.Cert.SerialNumber}}
	if s.Serial != nil {
		info.ID.Serial = s.Serial
	}
	if s.Issuer != nil {
		info.ID.Issuer.FullBytes = s.Issuer
	}
	hash := crypto.SHA256
	info.Digest.Algorithm = oidSHA256
	if s.Hash == crypto.SHA512 {
		hash, info.Digest.Algorithm = crypto.SHA512, oidSHA512
	}
	digest := func(b []byte) []byte {
		h := hash.New()
		h.Write(b)
		return h.Sum(nil)
	}
	sum := digest(module)
	if s.Attributes {
		type attribute struct {
			Type   asn1.ObjectIdentifier
			Values []any `asn1:"set"`
		}
		set, err := asn1.MarshalWithParams([]attribute{{oidContentType, []any{oidDataType}},
			{oidMessageDigest, []any{sum}}}, "set")
		if err != nil {
			t.Fatal(err)
		}
		sum = digest(set)
		set[0] = 0xa0
		info.Attributes.FullBytes = set
	}
	var err error
	if info.Signature, err = s.Key.Signer.Sign(rand.Reader, sum, hash); err != nil {
		t.Fatal(err)
	}
	info.Algorithm.Algorithm = oidRSA
	if _, ok := s.Key.Signer.(*ecdsa.PrivateKey); ok {
		info.Algorithm.Algorithm = oidECDSA256
	}
	if s.Algorithm != nil {
		info.Algorithm.Algorithm = s.Algorithm
	}
	return info
}

// SignAll appends one PKCS#7 message with a signature of each.
func SignAll(t testing.TB, module []byte, list ...Signing) []byte {
	t.Helper()
	type signedData struct {
		Version int
		Digests []algorithmID `asn1:"set"`
		Content struct{ Type asn1.ObjectIdentifier }
		Signers []signerInfo `asn1:"set"`
	}
	type contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content signedData `asn1:"explicit,tag:0"`
	}
	info := contentInfo{Type: oidSignedDat, Content: signedData{Version: 1}}
	info.Content.Content.Type = oidDataType
	for _, s := range list {
		one := s.info(t, module)
		info.Content.Signers = append(info.Content.Signers, one)
		same := func(d algorithmID) bool { return d.Algorithm.Equal(one.Digest.Algorithm) }
		if !slices.ContainsFunc(info.Content.Digests, same) {
			info.Content.Digests = append(info.Content.Digests, one.Digest)
		}
	}
	block, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return Trailer(module, block)
}

// Trailer appends a signature block with its Trailer.
func Trailer(module, block []byte) []byte {
	out := append(bytes.Clone(module), block...)
	out = append(out, 0, 0, 2, 0, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(block)))
	return append(out, "~Module signature appended~\n"...)
}
