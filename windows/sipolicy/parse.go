// SPDX-License-Identifier: Apache-2.0

package sipolicy

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// newest is the newest format that is read whole.
const newest = 8

// maxSize is the largest policy that is read, in bytes; Microsoft's has 300 KB.
const maxSize = 64 << 20

// header is how many bytes precede the body.
const header = 68

// oidPolicy is the content type of a signed policy.
const oidPolicy = "1.3.6.1.4.1.311.79.1"

// platform is the PlatformID of every policy for Windows, in the file's byte order.
var platform = [16]byte{
	0xe4, 0xf7, 0x07, 0x2e, 0x4c, 0x19, 0x20, 0x4d, 0xb7, 0xc9, 0x6f, 0x44, 0xa6, 0xc5, 0xa2, 0x34}

// Is reports whether b begins as a compiled policy does, bare or signed. Of a signed one the content type decides.
func Is(b []byte) bool {
	if len(b) > header && b[0] != 0x30 {
		return [16]byte(b[20:36]) == platform
	}
	if len(b) == 0 || b[0] != 0x30 {
		return false
	}
	sd, err := sign.ParseContentInfo(b)
	return err == nil && sd.ContentType == oidPolicy
}

func policyError(field, format string, args ...any) error {
	return &fact.ParseError{Source: "policy", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// What is kept of a rule, a signer, a scenario or a setting beside its texts, in bytes, with what makes it one that is
// compared; and of a reference.
const (
	recordSize    = 768
	referenceSize = 48
)

// Parse reads a compiled policy, bare or in a signature, which is not checked. It takes what item allows.
func Parse(b []byte, item *fact.Item) (*Policy, error) {
	if len(b) > maxSize {
		return nil, &fact.ParseError{Source: "policy", Reason: fmt.Sprintf("more than %d bytes", maxSize),
			Err: fact.ErrTooLarge}
	}
	b, err := unwrap(b)
	if err != nil {
		return nil, err
	}
	if len(b) < header {
		return nil, policyError("header", "%d bytes", len(b))
	}
	r := &reader{b: b, item: item}
	p := &Policy{}
	n := r.header(p)
	r.body(p, n)
	r.blocks(p)
	if r.err != nil {
		return nil, r.err
	}
	p.Unread = len(r.b) - r.at
	return p, nil
}

// unwrap takes a policy out of its signature. The content of some is an OCTET STRING in an OCTET STRING.
func unwrap(b []byte) ([]byte, error) {
	if len(b) == 0 || b[0] != 0x30 {
		return b, nil
	}
	sd, err := sign.ParseContentInfo(b)
	if err != nil {
		return nil, err
	}
	if sd.ContentType != oidPolicy || sd.Content == nil {
		return nil, policyError("contentType", "%s is not a policy", sd.ContentType)
	}
	inner := sd.Covered
	if len(inner) < 4 || inner[0] != 4 || inner[1] == 0 && inner[2] == 0 && inner[3] == 0 {
		return inner, nil
	}
	in := sign.NewReader(inner)
	v, err := in.Expect(sign.TagOctetString, "policy")
	if err != nil {
		return nil, err
	}
	return sign.OctetString(v)
}

// counts are how many things the header announces.
type counts struct{ ekus, rules, signers, scenarios int }

// header reads the fixed part.
func (r *reader) header(p *Policy) counts {
	p.Format = r.u32()
	p.TypeID, p.PlatformID = r.guid(), r.guid()
	p.Options = r.u32()
	n := counts{r.count("ekus", 4), r.count("fileRules", 24), r.count("signers", 40), r.count("scenarios", 48)}
	p.Version = r.u64()
	if at := r.u32(); r.err == nil && at != header-4 {
		r.fail("bodyOffset", "%#x", at)
	}
	if r.err == nil && (p.Format == 0 || p.Format > 1000 || [16]byte(r.b[20:36]) != platform) {
		r.fail("formatVersion", "%d for platform %s", p.Format, p.PlatformID)
	}
	return n
}

// body reads what every format has.
func (r *reader) body(p *Policy, n counts) {
	for i := 0; i < n.ekus && r.err == nil; i++ {
		p.EKUs = append(p.EKUs, r.eku())
	}
	for i := 0; i < n.rules && r.err == nil; i++ {
		r.keep(recordSize)
		rule := FileRule{Kind: r.u32(), FileName: r.text(), Minimum: r.u64(), Hash: r.bytes()}
		if rule.Kind > Attrib {
			r.fail("fileRule", "kind %d", rule.Kind)
		}
		p.Rules = append(p.Rules, rule)
	}
	for i := 0; i < n.signers && r.err == nil; i++ {
		p.Signers = append(p.Signers, r.signer(n))
	}
	p.UpdateSigners, p.CISigners = r.list(n.signers), r.list(n.signers)
	for i := 0; i < n.scenarios && r.err == nil; i++ {
		r.keep(recordSize)
		s := Scenario{Value: r.u32(), Inherited: r.list(n.scenarios), MinimumHash: r.u32()}
		for _, g := range s.Groups() {
			*g = Group{Allowed: r.signerRefs(n), Denied: r.signerRefs(n), Rules: r.list(n.rules)}
		}
		p.Scenarios = append(p.Scenarios, s)
	}
	p.HVCI = r.u32()
	for count := r.count("settings", 32); count > 0 && r.err == nil; count-- {
		p.Settings = append(p.Settings, r.setting())
	}
}

func (r *reader) signer(n counts) Signer {
	var s Signer
	r.keep(recordSize)
	switch kind := r.u32(); kind {
	case 0:
		s.Root = r.bytes()
	case 1:
		s.WellKnown, s.ByNumber = r.u32(), true
	default:
		r.fail("signer", "root of kind %d", kind)
	}
	s.EKUs = r.list(n.ekus)
	s.Issuer, s.Publisher, s.OEMID = r.text(), r.text(), r.text()
	s.Attribs = r.list(n.rules)
	return s
}

func (r *reader) signerRefs(n counts) []SignerRef {
	var refs []SignerRef
	for count := r.count("signerReferences", 8); count > 0 && r.err == nil; count-- {
		r.keep(referenceSize)
		refs = append(refs, SignerRef{Signer: r.index(n.signers), Except: r.list(n.rules)})
	}
	return refs
}

func (r *reader) setting() Setting {
	r.keep(recordSize)
	s := Setting{Provider: r.text(), Key: r.text(), Name: r.text(), Type: r.u32()}
	switch s.Type {
	case SettingBool, SettingNumber:
		s.Number = r.u32()
	case SettingBytes:
		s.Bytes = r.bytes()
	case SettingText:
		s.Text = r.text()
	default:
		r.fail("setting", "type %d", s.Type)
	}
	return s
}

// blocks reads what the formats added: each block begins with its number, and the number after the last one ends the
// file. Of a newer format the blocks after the last known one are left.
func (r *reader) blocks(p *Policy) {
	for tag := uint32(3); tag <= min(p.Format, newest) && r.err == nil; tag++ {
		if got := r.u32(); got != tag {
			r.fail("block", "%d where block %d begins", got, tag)
			return
		}
		r.block(p, tag)
	}
	if p.Format > newest || r.err != nil {
		return
	}
	if end := r.u32(); r.err == nil && (end != p.Format+1 || r.at != len(r.b)) {
		r.fail("end", "%d, and %d bytes after it", end, len(r.b)-r.at)
	}
}

func (r *reader) block(p *Policy, tag uint32) {
	switch tag {
	case 3:
		for i := range p.Rules {
			p.Rules[i].Maximum = r.u64()
			for count := r.count("appIDs", 8); count > 0 && r.err == nil; count-- {
				r.keep(16)
				p.Rules[i].AppIDs = append(p.Rules[i].AppIDs, r.text())
			}
		}
		for i := range p.Signers {
			p.Signers[i].SignTimeAfter = filetime(r.u64())
		}
	case 4:
		for i := range p.Rules {
			f := &p.Rules[i]
			f.InternalName, f.FileDescription, f.ProductName = r.text(), r.text(), r.text()
		}
	case 5:
		for i := range p.Rules {
			p.Rules[i].PackageFamilyName, p.Rules[i].PackageVersion = r.text(), r.u64()
		}
	case 6:
		p.ID, p.BaseID = r.guid(), r.guid()
		p.SupplementalSigners = r.list(len(p.Signers))
	case 7:
		for i := range p.Rules {
			p.Rules[i].FilePath = r.text()
		}
	case newest:
		r.apps()
	}
}

// apps passes over the settings of apps, which say nothing of drivers.
func (r *reader) apps() {
	for range r.count("apps", 16) {
		r.text()
		for range r.count("appSettings", 10) {
			r.text()
			switch typ := r.u8(); typ {
			case 0, 1:
				r.u8()
			case 3:
				r.text()
			case 4:
				for range r.count("appSettings", 8) {
					r.text()
				}
			default:
				r.fail("appSettings", "type %d", typ)
			}
		}
		r.u32() // audit
	}
}

// filetime turns 100-nanosecond steps since 1601 into a time; zero stays zero.
func filetime(n uint64) time.Time {
	const toUnix = 116444736000000000
	if n < toUnix || n > toUnix+1<<62 {
		return time.Time{}
	}
	return time.Unix(int64((n-toUnix)/1e7), int64((n-toUnix)%1e7)*100).UTC()
}

// eku reads an OID whose tag is 01 instead of 06.
func (r *reader) eku() string {
	raw := append([]byte(nil), r.bytes()...)
	if r.err != nil || len(raw) < 3 {
		return ""
	}
	raw[0] = sign.TagOID
	in := sign.NewReader(raw)
	v, err := in.Next()
	if err != nil {
		return ""
	}
	return sign.OID(v)
}

// list reads indexes below n.
func (r *reader) list(n int) []int {
	var list []int
	count := r.count("list", 4)
	r.keep(8 * count)
	for i := 0; i < count && r.err == nil; i++ {
		list = append(list, r.index(n))
	}
	return list
}

func (r *reader) index(n int) int {
	i := r.u32()
	if r.err == nil && int64(i) >= int64(n) {
		r.fail("index", "%d of %d", i, n)
	}
	return int(i)
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}
