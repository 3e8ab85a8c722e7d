// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/pe"
)

// A table that lies where code is, or outside the file, makes a signature invalid, never absent.
func TestCertificateTablePlace(t *testing.T) {
	b := petest.Sample().Build()
	opt := int(b[0x3c]) + 24
	for name, place := range map[string][2]uint32{"over the code": {0x400, 64}, "over the headers": {8, 64},
		"outside": {uint32(len(b)), 64}, "huge": {0xffffff00, 0xffffff00}} {
		c := append([]byte(nil), b...)
		binary.LittleEndian.PutUint32(c[opt+144:], place[0])
		binary.LittleEndian.PutUint32(c[opt+148:], place[1])
		p, err := pe.Parse(c, new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		if list := new(Verifier).Verify(p, nil); len(list) != 1 || list[0].Status != fact.SignatureInvalid {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(petest.Sample().Build())
	im := petest.Sample()
	im.PE32, im.Repro, im.Trailing = true, true, []byte{1, 2, 3}
	f.Add(im.Build())
	if cache := os.Getenv("GOMODCACHE"); cache != "" {
		if b, err := os.ReadFile(filepath.Join(cache, "github.com/saferwall/pe@v1.6.5/test/amdxata.sys")); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := pe.Parse(b, new(fact.Report))
		if err != nil {
			return
		}
		list := new(Verifier).Verify(p, nil)
		if len(list) > maxSignatures+1 {
			t.Fatalf("%d signatures", len(list))
		}
		for _, s := range list {
			if s.Status == fact.SignatureValid && (s.KeySet != KeySetMicrosoft || s.Fits != fact.Yes) {
				t.Fatalf("valid without keys: %+v", s)
			}
		}
	})
}

// TestMoreSignatures: what is not looked at is said once.
func TestMoreSignatures(t *testing.T) {
	v := &Verifier{}
	for n, want := range map[int]int{maxSignatures - 1: maxSignatures, maxSignatures: maxSignatures + 1,
		maxSignatures + 1: maxSignatures + 1} {
		out := v.embedded(make([]Signature, n), nil, []byte("no signature"), true, nil)
		said := strings.Contains(out[len(out)-1].Reason, "more than 16 signatures")
		if len(out) != want || said != (n == maxSignatures) ||
			n <= maxSignatures && out[n].Status != fact.SignatureInvalid && out[n].Status != fact.SignatureUnchecked {
			t.Errorf("%d before: %d, %+v", n, len(out), out[len(out)-1])
		}
	}
}
