// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// Facts of real drivers, as two other tools (saferwall/pe and osslsigncode) give them.
func TestRealDrivers(t *testing.T) {
	dir := petest.RealDrivers(t)
	for _, c := range []struct {
		file, authentihash, imphash, version, signer string
		class                                        fact.SignatureClass
		stamped                                      string
		repro                                        bool
	}{
		{file: "acpi.sys", authentihash: "75a80d4b48ad70d0e999364798d6e0336ac83807704daa2dbade07749bd18b62",
			imphash: "7217a9807e0fc56e51475952da59a6f9",
			version: "10.0.18362.1", signer: "Microsoft Windows", class: fact.ClassInbox,
			stamped: "2019-03-18", repro: true},
		{file: "amdxata.sys", authentihash: "045fe86c7024bd3816910a4959cbb8d1b21cc6fa2af9ce07cc822f42057aa5d3",
			imphash: "6fa245b8ee618736008feb7d0779ef70",
			version: "1.1.3.277", signer: "Microsoft Windows", class: fact.ClassInbox, stamped: "2019-03-19"},
		{file: "amdi2c.sys", authentihash: "d5a41937eb87681bf9932d2f574c4299e4a24ebc41c8ac3d95c446f442c9b7fe",
			imphash: "79eecefe13ed889629056af7783d0fe5",
			version: "1.2.0.94"},
		{file: "WdBoot.sys", authentihash: "61edb4da", imphash: "849a6f20e1993d772db6ae7a9c61349e",
			version: "4.18.1906.3",
			signer:  "Microsoft Windows Early Launch Anti-malware Publisher", class: fact.ClassELAM,
			stamped: "2019-06-21", repro: true},
	} {
		t.Run(c.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			var r fact.Report
			f, err := ParseFile(b, FileOptions{Hashes: true, Verifier: &authenticode.Verifier{Now: time.Now()}}, &r)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) > 0 {
				t.Errorf("problems: %v", r.Problems)
			}
			if got := f.Hashes.AuthentihashSHA256; got[:len(c.authentihash)] != c.authentihash {
				t.Errorf("authentihash %s, want %s", got, c.authentihash)
			}
			if f.PE.Imphash != c.imphash || f.Version.File != c.version || f.PE.Reproducible != c.repro ||
				f.PE.Machine != "amd64" {
				t.Errorf("imphash %s version %s reproducible %v machine %s", f.PE.Imphash, f.Version.File,
					f.PE.Reproducible, f.PE.Machine)
			}
			if f.PE.Checksum != f.PE.ComputedChecksum {
				t.Errorf("checksum %s, computed %s", f.PE.Checksum, f.PE.ComputedChecksum)
			}
			if c.signer == "" {
				if len(f.Signatures) != 0 {
					t.Errorf("signatures %+v, want none", f.Signatures)
				}
				return
			}
			if len(f.Signatures) != 1 {
				t.Fatalf("%d signatures", len(f.Signatures))
			}
			s := f.Signatures[0]
			if s.Fits != fact.Yes || s.Status != fact.SignatureValid || s.KeySet != authenticode.KeySetMicrosoft ||
				s.Class != c.class || s.Signer().CommonName != c.signer {
				t.Errorf("fits %s status %s by %s class %s signer %q: %s", s.Fits, s.Status, s.KeySet, s.Class,
					s.Signer().CommonName, s.Reason)
			}
			if got := s.SignedAt.Format("2006-01-02"); got != c.stamped ||
				s.TimeFrom != authenticode.TimeFromTimestamp {
				t.Errorf("signed at %s by %s, want %s", got, s.TimeFrom, c.stamped)
			}
			// One changed byte of the code is enough.
			b[0x1000] ^= 1
			f, err = ParseFile(b, FileOptions{Verifier: &authenticode.Verifier{}}, new(fact.Report))
			if err != nil || f.Signatures[0].Status != fact.SignatureInvalid || f.Signatures[0].Fits != fact.No {
				t.Errorf("changed: %+v, %v", f.Signatures, err)
			}
		})
	}
}
