// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/internal/testing/policytest"
	"github.com/kernelext/kernelext/internal/testing/signtest"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// signedDrivers is a Windows that enforces signatures, with drivers that only a catalog speaks for: the signature in
// hidden.sys does not fit, and the machine's policy denies the signer of the one in mpksldrv.sys.
func signedDrivers(t *testing.T, detail lkm.Detail) *subject {
	t.Helper()
	vendor, denied := signtest.New(t, "Vendor"), signtest.New(t, "Denied")
	m := fakewindows.Windows11(false)
	add := func(name string, b []byte) { m.Files[name] = &fstest.MapFile{Data: b} }
	image := func(by signtest.Signer, code string) []byte {
		im := petest.Sample()
		im.Code = []byte(code)
		return by.Image(t, im.Build())
	}
	hash := func(image []byte) []byte {
		p, err := pe.Parse(image, new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		return p.Authentihash(crypto.SHA256)
	}
	unfit := bytes.Replace(image(vendor, "hidden"), []byte("hidden"), []byte("hiddem"), 1)
	barred := image(denied, "denied")
	add("c:/windows/system32/drivers/hidden.sys", unfit)
	add("c:/programdata/definition updates/mpksldrv.sys", barred)
	catalogs := "c:/windows/system32/catroot/{f750e6c3-38ee-11d1-85e5-00c04fc295ee}/"
	add(catalogs+"a.cat", vendor.Catalog(t, hash(unfit)))
	add(catalogs+"b.cat", vendor.Catalog(t, hash(barred)))
	root := sha256.Sum256(denied.Authority.RawTBSCertificate)
	add("c:/windows/system32/codeintegrity/sipolicy.p7b", policytest.Compile(&sipolicy.Policy{Format: 7,
		Options: sipolicy.OptionUnsigned, Signers: []sipolicy.Signer{{Root: root[:]}},
		Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
			Product: sipolicy.Group{Denied: []sipolicy.SignerRef{{Signer: 0}}}}}}))
	return &subject{name: "windows signed drivers", queries: []string{"hidden.sys", "mpksldrv.sys"}, whole: true,
		machine: func() lkm.Machine { return m },
		open: func(f *faulty) (*lkm.System, error) {
			return lkm.OpenMachine(lkm.Windows, f, lkm.Options{Detail: detail, Keys: []fact.KeySet{vendor.KeySet()}})
		}}
}

// debuggedDrivers is a Windows that enforces signatures without the hypervisor, and has a kernel debugger: what its
// policy denies, and what nobody signed, may load.
func debuggedDrivers(detail lkm.Detail) *subject {
	m := fakewindows.Windows11(false)
	m.Calls[windows.OpCodeIntegrity], m.Calls[windows.OpKernelDebugger] = "\x08\x00\x00\x00\x01\x00\x00\x00", "\x01\x00"
	m.Files["c:/windows/system32/codeintegrity/sipolicy.p7b"] = &fstest.MapFile{Data: policytest.Compile(
		&sipolicy.Policy{Format: 7, Options: sipolicy.OptionUnsigned,
			Rules: []sipolicy.FileRule{{Kind: sipolicy.Deny, FileName: "ketwatch.sys", Minimum: sipolicy.AnyVersion}},
			Scenarios: []sipolicy.Scenario{{Value: sipolicy.ScenarioDrivers,
				Product: sipolicy.Group{Rules: []int{0}}}}})}
	return &subject{name: "windows with a debugger", queries: []string{"ketwatch.sys"}, whole: true, only: "check",
		machine: func() lkm.Machine { return m },
		open: func(f *faulty) (*lkm.System, error) {
			return lkm.OpenMachine(lkm.Windows, f, lkm.Options{Detail: detail})
		}}
}

// The debugger opens a gate that is closed without it: else the property would compare nothing.
func TestDebuggedDrivers(t *testing.T) {
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	s := debuggedDrivers(detail)
	for answer, want := range map[string]string{"\x01\x00": "unknown", "\x00\x01": "blocked"} {
		s.machine().(*fakewindows.Machine).Calls[windows.OpKernelDebugger] = answer
		c := s.ask(t, command{"", checkClaims}, faultyMachine(s.machine(), "", ""), s.queries)
		found := false
		for key, outcome := range c.outcomes {
			found = found || strings.HasSuffix(key, "next boot") && outcome == want
		}
		if !found {
			t.Errorf("debugger %q: %v", answer, c.outcomes)
		}
	}
}

// The drivers have the answers that damage may change: else the property would compare nothing.
func TestSignedDrivers(t *testing.T) {
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	s := signedDrivers(t, detail)
	c := s.ask(t, command{"", checkClaims}, faultyMachine(s.machine(), "", ""), s.queries)
	for q, want := range map[string]int{"hidden.sys": 1, "mpksldrv.sys": 3} {
		if c.exit[q] != want {
			t.Errorf("%s: exit %d, want %d: %v", q, c.exit[q], want, c.outcomes)
		}
	}
}
