// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// twoNames is a root where x is a file without an interface, and an interface of the file y.
func twoNames() fstest.MapFS {
	root := freebsdRoot(1402000, nil)
	y := kotest.AMD64()
	y.Modules = []kotest.Module{{Record: "y", Name: "y"}}
	y.Versions = []kotest.Version{{Name: "x", Version: 1}}
	root["boot/kernel/y.ko"] = &fstest.MapFile{Data: y.Bytes()}
	root["boot/kernel/x.ko"] = &fstest.MapFile{Data: plainKLD("other")}
	return root
}

// TestTwoNames asks for a name that fits two files.
func TestTwoNames(t *testing.T) {
	k := Open(rootDisk{twoNames()}, fact.Options{OS: fact.FreeBSD, Image: true})
	for query, want := range map[string]string{"x": "/boot/kernel/y.ko /boot/kernel/y.ko", "x.ko": "", "y": "", "a": "",
		"/boot/kernel/x.ko": ""} {
		v, err := k.Check(t.Context(), query, new(fact.Report))
		if err != nil || len(v) != 1 {
			t.Fatalf("%s: %+v %v", query, v, err)
		}
		var got []string
		for _, r := range v[0].Reasons {
			if r.Code == ReasonTwoNames {
				got = append(got, r.File)
			}
		}
		if strings.Join(got, " ") != want || v[0].Reasons[0].Code == ReasonTwoNames {
			t.Errorf("%s: %q", query, v[0].Reasons)
		}
	}
	// kldload(8) loads the interface of that name.
	for query, want := range map[string]string{"x": "/boot/kernel/y.ko", "x.ko": "/boot/kernel/x.ko"} {
		steps, err := k.Plan(t.Context(), query, new(fact.Report))
		if err != nil || len(steps) != 1 || steps[0].Path != want {
			t.Errorf("%s: %+v %v", query, steps, err)
		}
	}
}

// TestHashes asks for the digests of files, of which one is too large.
func TestHashes(t *testing.T) {
	root := twoNames()
	sum := sha256.Sum256(root["boot/kernel/x.ko"].Data)
	want := hex.EncodeToString(sum[:])
	root["boot/kernel/big.ko"] = &fstest.MapFile{Data: make([]byte, 1<<16)}
	k := Open(rootDisk{root}, fact.Options{OS: fact.FreeBSD, Image: true, Detail: fact.DetailHashes, MaxFile: 1 << 15})
	n := 0
	for m, err := range k.Installed(t.Context(), new(fact.Report)) {
		if err != nil {
			t.Fatal(err)
		}
		switch n++; m.Name {
		case "x.ko":
			if m.Hashes.SHA256 != want {
				t.Errorf("%+v", m.Hashes)
			}
		case "big.ko":
			if m.Hashes.SHA256 != "" || len(m.Problems) != 1 || m.Problems[0].Code != fact.CodeTooLarge {
				t.Errorf("%+v %+v", m.Hashes, m.Problems)
			}
		default:
			if len(m.Hashes.SHA256) != 64 {
				t.Errorf("%s: %+v", m.Name, m.Hashes)
			}
		}
	}
	file, err := k.File(t.Context(), "/boot/kernel/x.ko", new(fact.Report))
	if err != nil || file[0].Hashes.SHA256 != want || n == 0 {
		t.Errorf("%+v %v", file, err)
	}
	k = Open(rootDisk{root}, fact.Options{OS: fact.FreeBSD, Image: true})
	file, err = k.File(t.Context(), "/boot/kernel/x.ko", new(fact.Report))
	if err != nil || file[0].Hashes.SHA256 != "" {
		t.Errorf("not asked for: %+v %v", file, err)
	}
}
