// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/certtest"
	"github.com/kernelext/kernelext/windows/registry"
)

// certificateOf makes a root.
func certificateOf(t *testing.T, name string) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(4e9, 0)}
	return certtest.Issue(t, c, certtest.Key(t), nil, nil).Raw
}

// blobOf writes a certificate as the registry keeps it, after a property of another kind.
func blobOf(cert []byte) []byte { return append(property(11, []byte("n\x00")), property(32, cert)...) }

// property writes one property of a store's entry.
func property(id uint32, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

func storeKey(store string, cert []byte) registry.Key {
	sum := sha1.Sum(cert)
	return registry.Key{Path: `HKEY_LOCAL_MACHINE\` + storePlaces[0] + `\` + store + `\Certificates\` +
		strings.ToUpper(hex.EncodeToString(sum[:])), Values: []registry.Value{{Name: "Blob", Type: 3,
		Data: blobOf(cert)}}}
}

// storeMachine answers OpSubkeys alone, by its last-but-one part.
type storeMachine struct {
	fact.Machine
	stores map[string][]registry.Key
	err    error
	damage string // text after the keys
}

func (m storeMachine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	keys, ok := m.stores[strings.Join(args, " ")]
	if op != OpSubkeys || !ok {
		return nil, fmt.Errorf("call %s: %w", op, fs.ErrNotExist)
	}
	return append(registry.AppendText(nil, keys), m.damage...), nil
}

func TestCertificateStores(t *testing.T) {
	a, b := certificateOf(t, "A"), certificateOf(t, "B")
	wrong := storeKey("ROOT", a)
	wrong.Values[0].Data = blobOf(b) // under another's name
	lists := storePlaces[1] + `\Disallowed\CTLs`
	barring := bomb.DisallowedList(1)
	place := func(store string) string { return storePlaces[0] + `\` + store + `\Certificates` }
	for name, tt := range map[string]struct {
		m        storeMachine
		outcome  fact.Outcome
		problems int
		stores   bool
	}{
		"roots": {storeMachine{stores: map[string][]registry.Key{place("ROOT"): {storeKey("ROOT", a)},
			place("Disallowed"): {{Path: `X\0011223344556677889900112233445566778899`}}}}, fact.OutcomeOK, 0, true},
		"another's name": {storeMachine{stores: map[string][]registry.Key{place("ROOT"): {wrong}}},
			fact.OutcomePartial, 1, true},
		"damaged": {storeMachine{damage: "\n[HKEY_LOCAL_MACHINE\\X\\" + strings.Repeat("0", 40) + "]\n\"a\"=nonsense\n",
			stores: map[string][]registry.Key{place("Disallowed"): {storeKey("Disallowed", a)}}},
			fact.OutcomePartial, 1, true},
		"an invalid list of Windows Update": {storeMachine{stores: map[string][]registry.Key{autoUpdateOf: {{
			Path: `X\AutoUpdate`, Values: []registry.Value{{Name: "DisallowedCertEncodedCtl", Type: 3,
				Data: []byte("none")}}}}}}, fact.OutcomePartial, 1, true},
		"no such list": {storeMachine{stores: map[string][]registry.Key{autoUpdateOf: {{Path: `X\AutoUpdate`}}}},
			fact.OutcomeAbsent, 0, false},
		"none": {storeMachine{}, fact.OutcomeAbsent, 0, false},
		"refused": {storeMachine{err: fs.ErrPermission}, fact.OutcomeDenied,
			len(storePlaces)*(len(storeNames)+1) + 1, true},
		"no registry":   {storeMachine{err: errors.ErrUnsupported}, fact.OutcomeUnsupported, 0, false},
		"an older tape": {storeMachine{err: fact.ErrOlder}, fact.OutcomeUnsupported, 0, true},
		"not on a tape": {storeMachine{err: fact.ErrUnrecorded}, fact.OutcomeFailed,
			len(storePlaces)*(len(storeNames)+1) + 1, true},
		"a list in the store": {storeMachine{stores: map[string][]registry.Key{lists: {{Path: `X\00`,
			Values: []registry.Value{{Name: "Blob", Type: 3, Data: property(34, barring)}}}}}},
			fact.OutcomeOK, 0, true},
		"an invalid list in the store": {storeMachine{stores: map[string][]registry.Key{lists: {{Path: `X\00`}}}},
			fact.OutcomePartial, 1, true},
	} {
		var r fact.Report
		stores := Open(tt.m, fact.Options{}).certificateStores(context.Background(), &r)
		src, _ := r.Find(SourceStores)
		if src.Outcome != tt.outcome || r.Count(SourceStores) != tt.problems ||
			(stores != nil) != tt.stores {
			t.Errorf("%s: %+v, problems %v, stores %v", name, src, r.Problems, stores)
		}
	}
}
