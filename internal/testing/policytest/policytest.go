// SPDX-License-Identifier: Apache-2.0

// Package policytest compiles code integrity policies for tests, in the form that Windows loads. It is written from the
// layout alone and shares nothing with the reader.
package policytest

import (
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/kernelext/kernelext/windows/sipolicy"
)

// Platform is the PlatformID of every policy.
const Platform = "2e07f7e4-194c-4d20-b7c9-6f44a6c5a234"

type writer struct{ b []byte }

func (w *writer) u32(list ...uint32) {
	for _, n := range list {
		w.b = binary.LittleEndian.AppendUint32(w.b, n)
	}
}

func (w *writer) u64(n uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, n) }

func (w *writer) bytes(b []byte) {
	w.u32(uint32(len(b)))
	w.b = append(w.b, b...)
	for len(w.b)%4 != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) text(list ...string) {
	for _, s := range list {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		w.bytes(b)
		w.u32(0)
	}
}

func (w *writer) list(list []int) {
	w.u32(uint32(len(list)))
	for _, n := range list {
		w.u32(uint32(n))
	}
}

// guid writes a GUID that is given with dashes; empty is zeros.
func (w *writer) guid(s string) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		raw = make([]byte, 16)
	}
	for _, i := range []int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		w.b = append(w.b, raw[i])
	}
}

func (w *writer) refs(list []sipolicy.SignerRef) {
	w.u32(uint32(len(list)))
	for _, r := range list {
		w.u32(uint32(r.Signer))
		w.list(r.Except)
	}
}

// Compile writes a policy in its Format, 1 to 8.
func Compile(p *sipolicy.Policy) []byte {
	w := &writer{}
	w.u32(p.Format)
	w.guid(p.TypeID)
	w.guid(Platform)
	w.u32(p.Options, uint32(len(p.EKUs)), uint32(len(p.Rules)), uint32(len(p.Signers)), uint32(len(p.Scenarios)))
	w.u64(p.Version)
	w.u32(0x40)
	for _, oid := range p.EKUs {
		w.bytes(eku(oid))
	}
	for _, r := range p.Rules {
		w.u32(r.Kind)
		w.text(r.FileName)
		w.u64(r.Minimum)
		w.bytes(r.Hash)
	}
	for _, s := range p.Signers {
		w.signer(s)
	}
	w.list(p.UpdateSigners)
	w.list(p.CISigners)
	for _, s := range p.Scenarios {
		w.u32(s.Value)
		w.list(s.Inherited)
		w.u32(s.MinimumHash)
		for _, g := range s.Groups() {
			w.refs(g.Allowed)
			w.refs(g.Denied)
			w.list(g.Rules)
		}
	}
	w.u32(p.HVCI, uint32(len(p.Settings)))
	for _, s := range p.Settings {
		w.setting(s)
	}
	for tag := uint32(3); tag <= p.Format; tag++ {
		w.u32(tag)
		w.block(p, tag)
	}
	w.u32(p.Format + 1)
	return w.b
}

func (w *writer) signer(s sipolicy.Signer) {
	if s.ByNumber {
		w.u32(1, s.WellKnown)
	} else {
		w.u32(0)
		w.bytes(s.Root)
	}
	w.list(s.EKUs)
	w.text(s.Issuer, s.Publisher, s.OEMID)
	w.list(s.Attribs)
}

func (w *writer) setting(s sipolicy.Setting) {
	w.text(s.Provider, s.Key, s.Name)
	w.u32(s.Type)
	switch s.Type {
	case sipolicy.SettingBytes:
		w.bytes(s.Bytes)
	case sipolicy.SettingText:
		w.text(s.Text)
	default:
		w.u32(s.Number)
	}
}

func (w *writer) block(p *sipolicy.Policy, tag uint32) {
	switch tag {
	case 3:
		for _, r := range p.Rules {
			w.u64(r.Maximum)
			w.u32(uint32(len(r.AppIDs)))
			w.text(r.AppIDs...)
		}
		for _, s := range p.Signers {
			w.u64(filetime(s.SignTimeAfter))
		}
	case 4:
		for _, r := range p.Rules {
			w.text(r.InternalName, r.FileDescription, r.ProductName)
		}
	case 5:
		for _, r := range p.Rules {
			w.text(r.PackageFamilyName)
			w.u64(r.PackageVersion)
		}
	case 6:
		w.guid(p.ID)
		w.guid(p.BaseID)
		w.list(p.SupplementalSigners)
	case 7:
		for _, r := range p.Rules {
			w.text(r.FilePath)
		}
	case 8:
		w.u32(0) // apps
	default:
		w.b = append(w.b, "a newer block"...)
	}
}

func filetime(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano()/100) + 116444736000000000
}

// eku writes an OID with the tag 01.
func eku(oid string) []byte {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(oid, ".") {
		n := 0
		for _, c := range part {
			n = n*10 + int(c-'0')
		}
		id = append(id, n)
	}
	b, err := asn1.Marshal(id)
	if err != nil {
		return nil
	}
	b[0] = 1
	return b
}

// Sign wraps a policy in a PKCS#7 structure without a signer; nested puts one OCTET STRING into another.
func Sign(policy []byte, nested bool) []byte {
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			return nil
		}
		return b
	}
	wrap := func(class, tag int, b []byte) asn1.RawValue {
		return asn1.RawValue{FullBytes: marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: b})}
	}
	content := marshal(policy)
	if nested {
		content = marshal(content)
	}
	type typed struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}
	set := wrap(asn1.ClassUniversal, asn1.TagSet, nil)
	signed := marshal(struct {
		Version    int
		Algorithms asn1.RawValue
		Content    typed
		Signers    asn1.RawValue
	}{1, set, typed{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 79, 1}, wrap(2, 0, content)}, set})
	return marshal(typed{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, wrap(2, 0, signed)})
}
