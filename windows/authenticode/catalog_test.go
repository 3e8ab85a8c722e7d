// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/fips"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

// trustListOf is a list with one member of that identifier.
func trustListOf(t testing.TB, id []byte) []byte {
	t.Helper()
	type member struct {
		ID         []byte
		Attributes asn1.RawValue
	}
	return der(t, struct {
		Usage     []asn1.ObjectIdentifier
		ID        []byte
		Made      time.Time
		Algorithm pkix.AlgorithmIdentifier
		Members   []member
	}{
		[]asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 12, 1, 1}}, []byte("x"), time.Unix(1700000000, 0).UTC(),
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 12, 1, 3}},
		[]member{{id, constructed(t, 0, asn1.TagSet, nil)}},
	})
}

// listing is an unsigned catalog with one member of that identifier.
func listing(t testing.TB, id []byte) []byte {
	t.Helper()
	type content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue
	}
	set := constructed(t, 0, asn1.TagSet, nil)
	signed := der(t, struct {
		Version    int
		Algorithms asn1.RawValue
		Content    content
		Signers    asn1.RawValue
	}{1, set, content{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 10, 1},
		constructed(t, asn1.ClassContextSpecific, 0, trustListOf(t, id))}, set})
	return der(t, content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		constructed(t, asn1.ClassContextSpecific, 0, signed)})
}

type closedFS struct{}

func (closedFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// That no catalog lists a file is known only when each folder of catalogs was read whole, or is not
// there.
func TestCatalogsComplete(t *testing.T) {
	folder := func(id []byte) *Catalogs {
		return NewCatalogs(fstest.MapFS{"a.cat": &fstest.MapFile{Data: listing(t, id)}}, ".")
	}
	good, damaged := folder(bytes.Repeat([]byte{1}, 32)), folder([]byte("no digest"))
	closed, gone := NewCatalogs(closedFS{}, "root"), NewCatalogs(fstest.MapFS{}, "root")
	for name, c := range map[string]struct {
		list []*Catalogs
		want bool
	}{
		"one":                         {[]*Catalogs{good}, true},
		"one beside one that is gone": {[]*Catalogs{good, gone}, true},
		"one beside a closed one":     {[]*Catalogs{good, closed}, false},
		"a member that is invalid":    {[]*Catalogs{damaged}, false},
		"none that is there":          {[]*Catalogs{gone}, false},
		"none":                        {nil, false},
	} {
		for _, x := range c.list {
			x.Load(t.Context(), new(fact.Report))
		}
		if got := (&Verifier{Catalogs: c.list}).Complete(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	var r fact.Report
	if n, err := damaged.Load(t.Context(), &r); n != 1 || err != nil || len(r.Problems) != 1 ||
		r.Problems[0].Code != fact.CodeMalformed {
		t.Errorf("a member that is invalid: %d catalogs, %v, %v", n, err, r.Problems)
	}
}

// A catalog lists a file by SHA-1. Where that may not be made, it is not known whether one lists the file.
func TestCatalogsUnderFIPS(t *testing.T) {
	only := fips.Only(t)
	p, err := pe.Parse(petest.Sample().Build(), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	id := hashing.Sum(crypto.SHA256, nil)[:20]
	if !only {
		id = p.Authentihash(crypto.SHA1)
	}
	v := &Verifier{Catalogs: []*Catalogs{NewCatalogs(fstest.MapFS{"a.cat": {Data: listing(t, id)}}, ".")}}
	if list := v.Verify(p, nil); (len(list) == 0) != only {
		t.Errorf("%+v", list)
	}
	if v.Complete() == only {
		t.Errorf("bound to FIPS 140 %v: complete %v", only, v.Complete())
	}
}

// utf16le is a text as catalogs write digests.
func utf16le(s string) []byte {
	var b []byte
	for _, c := range []byte(s) {
		b = append(b, c, 0)
	}
	return b
}

func FuzzParseCatalog(f *testing.F) {
	f.Add([]byte{0x30, 0x80, 0x06, 0x09})
	f.Add(listing(f, bytes.Repeat([]byte{1}, 32)))
	f.Add(listing(f, []byte("no digest")))
	f.Add(listing(f, bytes.Repeat([]byte{2}, 20)))                    // SHA-1
	f.Add(listing(f, utf16le(strings.Repeat("0123456789ABCDEF", 4)))) // as digits
	f.Add(listing(f, utf16le(strings.Repeat("0", 40)+"\x00")))
	f.Add(listing(f, nil))
	f.Add(listing(f, make([]byte, 4000)))
	whole := listing(f, bytes.Repeat([]byte{3}, 32))
	for _, cut := range []int{1, 10, len(whole) / 2, len(whole) - 1} {
		f.Add(whole[:cut])
	}
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(bytes.ReplaceAll(whole, []byte{0x30, 0x82}, []byte{0x30, 0x80}))
	f.Add(bytes.Replace(whole, []byte{0x31}, []byte{0xa0}, 1))
	for _, seed := range bomb.Seeds(bomb.Catalogs) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := new(catalog)
		if c.parse(b) == nil && len(c.Members)+c.unknown > len(b) {
			t.Fatalf("%d members of %d bytes", len(c.Members), len(b))
		}
	})
}
