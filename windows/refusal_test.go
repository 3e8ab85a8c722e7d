// SPDX-License-Identifier: Apache-2.0

package windows_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/registry"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// catalogFolder is where a running machine has its catalogs.
const catalogFolder = "C:/Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"

// authentihash returns what a catalog lists an image by.
func authentihash(t *testing.T, image []byte) []byte {
	t.Helper()
	p, err := pe.Parse(image, new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	return p.Authentihash(crypto.SHA256)
}

// barring is the answer of a machine whose store Disallowed has a certificate.
func barring(raw []byte) map[string]string {
	const certificates = `SOFTWARE\Microsoft\SystemCertificates\Disallowed\Certificates`
	sum := sha1.Sum(raw)
	return map[string]string{windows.OpSubkeys + " " + certificates: string(registry.AppendText(nil, []registry.Key{{
		Path: `HKEY_LOCAL_MACHINE\` + certificates + `\` + strings.ToUpper(hex.EncodeToString(sum[:]))}}))}
}

// Where code integrity enforces, a driver is blocked by its signature only if nothing that was not read, and nothing
// that the kernel is not known to ask, says otherwise.
func TestRefusedSignature(t *testing.T) {
	s := signtest.New(t, "Vendor")
	plain := sample("hidden")
	good := s.Image(t, bytes.Clone(plain))
	bad := bytes.Replace(good, []byte("hidden"), []byte("hiddem"), 1)
	other := s.Catalog(t, make([]byte, 32))
	for name, tt := range map[string]struct {
		file    []byte
		catalog []byte
		calls   map[string]string
		refused bool // the folder of catalogs
		want    fact.VerdictOutcome
		status  fact.SignatureStatus
		says    string // in a reason
	}{
		"it fits":           {good, other, nil, false, fact.VerdictLoadable, fact.SignatureValid, ""},
		"it does not fit":   {bad, other, nil, false, fact.VerdictBlocked, fact.SignatureInvalid, "does not fit"},
		"and catalogs lack": {bad, other, nil, true, fact.VerdictUnknown, fact.SignatureInvalid, "catalogs were read"},
		"a catalog lists it": {bad, s.Catalog(t, authentihash(t, bad)), nil, false, fact.VerdictLoadable,
			fact.SignatureValid, ""},
		"nothing signs it": {plain, other, nil, false, fact.VerdictBlocked, fact.SignatureNone, "no signature"},
		"a certificate that is not allowed": {good, other, barring(s.Leaf.Raw), false, fact.VerdictUnknown,
			fact.SignatureInvalid, "is not allowed"},
		"nor its authority's": {good, other, barring(s.Authority.Raw), false, fact.VerdictUnknown,
			fact.SignatureInvalid, "not known to ask that store"},
	} {
		m := fakewindows.Windows11(false)
		m.Files["c:/windows/system32/drivers/hidden.sys"] = &fstest.MapFile{Data: tt.file}
		m.Files[strings.ToLower(catalogFolder)+"/a.cat"] = &fstest.MapFile{Data: tt.catalog}
		maps.Copy(m.Calls, tt.calls)
		m.Deny[catalogFolder] = tt.refused
		k := windows.Open(m, fact.Options{Keys: []fact.KeySet{s.KeySet()}, Detail: fact.DetailSignatures})
		v, err := k.Check(context.Background(), "hidden.sys", new(fact.Report))
		if err != nil || len(v) != 1 || v[0].NextBoot.Outcome != tt.want || v[0].Now.Outcome != tt.want {
			t.Errorf("%s: %+v, %v", name, v, err)
			continue
		}
		text := ""
		for _, r := range v[0].Reasons {
			text += r.Text + "; "
		}
		if !strings.Contains(text, tt.says) {
			t.Errorf("%s: %s", name, text)
		}
		list, err := k.File(context.Background(), `C:\Windows\System32\drivers\hidden.sys`, new(fact.Report))
		if err != nil || list[0].Signature.Status != tt.status {
			t.Errorf("%s: %+v, %v", name, list, err)
			continue
		}
		lost := func(p fact.Problem) bool { return p.Source == windows.SourceFile && p.Field == "signature" }
		if told := hasProblem(list[0].Problems, lost); told != tt.refused {
			t.Errorf("%s: problems %v", name, list[0].Problems)
		}
	}
}

func hasProblem(list []fact.Problem, is func(fact.Problem) bool) bool {
	for _, p := range list {
		if is(p) {
			return true
		}
	}
	return false
}

// emptyHive is a hive with one key that nothing asks for.
func emptyHive() []byte {
	return hivetest.Of(`HKEY_LOCAL_MACHINE\SOFTWARE`, []hivetest.Key{{Path: `HKEY_LOCAL_MACHINE\SOFTWARE\X`}})
}

// soil makes a hive one that was not written back whole.
func soil(hive []byte) { hive[4]++ }

// A hive with changes in its log files says nothing for sure: what it lacks may be there, and what it has may be gone.
func TestDirtyHives(t *testing.T) {
	s := signtest.New(t, "Vendor")
	file := s.Image(t, sample("signed"))
	for name, tt := range map[string]struct {
		hive, source string // the hive that is dirty, and the source that says so
		status       fact.SignatureStatus
	}{
		"none":     {"", "", fact.SignatureValid},
		"software": {"software", windows.SourceStores, fact.SignatureUnchecked},
		"drivers":  {"drivers", windows.SourceStore, fact.SignatureValid},
		"system":   {"system", windows.SourceRegistry, fact.SignatureValid},
	} {
		m := volume(map[string]string{system32 + "drivers/signed.sys": string(file)})
		for hive, data := range map[string][]byte{"software": emptyHive(), "drivers": hivetest.Drivers()} {
			m.Files[system32+"config/"+hive] = &fstest.MapFile{Data: data}
		}
		if tt.hive != "" {
			soil(m.Files[system32+"config/"+tt.hive].Data)
		}
		k := windows.Open(m, fact.Options{Image: true, Keys: []fact.KeySet{s.KeySet()},
			Detail: fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures})
		var r fact.Report
		status := fact.SignatureStatus("")
		for record, err := range k.Installed(context.Background(), &r) {
			if err == nil && record.Name == "signed.sys" {
				status = record.Signature.Status
			}
		}
		if status != tt.status {
			t.Errorf("%s: %s", name, status)
		}
		dirty := 0
		for _, p := range r.Problems {
			if p.Source == tt.source && strings.Contains(p.Text, "not written back whole") {
				dirty++
			}
		}
		if (dirty == 1) != (tt.hive != "") || tt.source != "" && r.Whole(tt.source) {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
}

// An id that a dirty database of devices does not have may be in its log file.
func TestDirtyDatabase(t *testing.T) {
	for _, dirty := range []bool{false, true} {
		data := hivetest.Drivers()
		if dirty {
			soil(data)
		}
		m := volume(map[string]string{storeDir + "x": ""})
		m.Files[system32+"config/drivers"] = &fstest.MapFile{Data: data}
		list, err := image(m).Resolve(context.Background(), `PCI\VEN_1`, new(fact.Report))
		if (err != nil) != dirty || len(list) > 0 {
			t.Errorf("dirty %v: %+v, %v", dirty, list, err)
		}
	}
}

// Data beside a signature hides no signer from a block list: Windows may take the signature, and the rule counts as
// one that may hit.
func TestDeniedBesideData(t *testing.T) {
	s := signtest.New(t, "Denied")
	b := s.Image(t, sample("x"))
	le := binary.LittleEndian
	entry := int(le.Uint32(b[0x3c:])) + 24 + 112 + 8*4 // of the certificate table in the data directory
	b = append(b, bytes.Repeat([]byte{0xcc}, 64)...)
	le.PutUint32(b[entry+4:], uint32(len(b))-le.Uint32(b[entry:]))
	f, err := windows.ParseFile(b, windows.FileOptions{Verifier: &authenticode.Verifier{}}, new(fact.Report))
	if err != nil || len(f.Signatures) != 1 || !f.Signatures[0].OnlyForeign() {
		t.Fatalf("%+v, %v", f, err)
	}
	root := sha256.Sum256(s.Authority.RawTBSCertificate)
	list, err := windows.ParseBlockList(policytest.Compile(&sipolicy.Policy{Format: 7,
		Signers: []sipolicy.Signer{{Root: root[:]}}, Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
			Product: sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}}}}}), new(fact.Report))
	if err != nil {
		t.Fatal(err)
	}
	m := list.Match(windows.BlockEvidence{Signatures: f.Signatures})
	if len(m) != 1 || m[0].Strength != windows.StrengthWeak || m[0].Evidence[1].Fact != "besideSignature" {
		t.Errorf("%+v", m)
	}
}
