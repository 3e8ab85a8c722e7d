// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/internal/testing/testdata"
	"github.com/kernelext/kernelext/linux/ko"
)

const modinfoSample = `$ modinfo demo loop none
filename:       /lib/modules/6.1.0-test/updates/demo.ko.xz
description:    A driver
author:         A <a@example.org>
author:         B
license:        GPL v2
depends:        
vermagic:       6.1.0-test SMP 
sig_id:         PKCS#7
signer:         A key
sig_key:        0Amodinfo: ERROR: Module other not found.
:FF
sig_hashalgo:   sha256
signature:      00:01:
		02:03
parm:           speed:How fast
  0: not at all
  1: very (int)
parm:           quiet:bool
parm:           names:array of charp
parm:           odd:no type (see below)
modinfo: ERROR: Module none not found.
name:           loop
filename:       (builtin)
license:        GPL
file:           drivers/block/loop
`

func TestParseModinfoText(t *testing.T) {
	c := ParseModinfoText(modinfoSample)
	want := []ModinfoRecord{{
		Filename: "/lib/modules/6.1.0-test/updates/demo.ko.xz", Name: "demo",
		Fields: ko.Modinfo{
			{Key: "description", Value: "A driver"}, {Key: "author", Value: "A <a@example.org>"},
			{Key: "author", Value: "B"}, {Key: "license", Value: "GPL v2"}, {Key: "depends", Value: ""},
			{Key: "vermagic", Value: "6.1.0-test SMP "},
			{Key: "parmtype", Value: "speed:int"}, {Key: "parm", Value: "speed:How fast\n  0: not at all\n  1: very"},
			{Key: "parmtype", Value: "quiet:bool"}, {Key: "parmtype", Value: "names:array of charp"},
			{Key: "parmtype", Value: "odd:see below"}, {Key: "parm", Value: "odd:no type"},
		},
		Signature: &ko.Signature{IDType: "pkcs7", Signer: "A key", KeyID: "0A:FF", Hash: "sha256",
			Value: []byte{0, 1, 2, 3}},
	}, {
		Builtin: true, Name: "loop",
		Fields: ko.Modinfo{{Key: "name", Value: "loop"}, {Key: "license", Value: "GPL"},
			{Key: "file", Value: "drivers/block/loop"}},
	}}
	if diff := cmp.Diff(want, c.Records); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]ModinfoError{{"other", "Module other not found."}, {"none", "Module none not found."}},
		c.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if !c.Prompt || c.Truncated || c.Stray != 0 {
		t.Errorf("prompt %v, truncated %v, stray %d", c.Prompt, c.Truncated, c.Stray)
	}
	if !ParseModinfoText(strings.TrimSuffix(modinfoSample, "\n")).Truncated {
		t.Error("a text without its last newline is not truncated")
	}
}

func TestModinfoComplaintAboutAFile(t *testing.T) {
	c := ParseModinfoText("filename:       /x/nvidia-drm.ko.xz\n" +
		"modinfo: ERROR: could not get modinfo from 'nvidia_drm': Invalid argument\nfilename:       /x/b.ko\n" +
		"license:        GPL\n")
	if len(c.Records) != 2 || c.Records[0].Err == "" || c.Records[0].Name != "nvidia_drm" || c.Records[1].Err != "" ||
		len(c.Errors) != 0 {
		t.Errorf("%+v", c)
	}
}

// TestModinfoCaptures reads texts from real machines: as many records as there are file names.
func TestModinfoCaptures(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t, "captures"), "linux")
	files, err := filepath.Glob(filepath.Join(dir, "modinfo-*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := ParseModinfoText(string(text))
		if want := strings.Count("\n"+string(text), "\nfilename:"); len(c.Records) != want {
			t.Errorf("%s: %d records of %d", file, len(c.Records), want)
		}
		signed := 0
		for _, r := range c.Records {
			if r.Signature != nil && len(r.Signature.Value) > 0 {
				signed++
			}
			if r.Name == "" {
				t.Errorf("%s: a record without a name: %+v", file, r)
			}
		}
		want := 0
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "signature:"); ok && strings.TrimSpace(value) != "" {
				want++ // modinfo prints an empty one for what it cannot read
			}
		}
		if signed != want {
			t.Errorf("%s: %d signatures of %d", file, signed, want)
		}
	}
}

func FuzzModinfoText(f *testing.F) {
	f.Add(modinfoSample)
	f.Add("name: x\nfilename:       (builtin)\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := ParseModinfoText(text)
		size := 0
		for _, r := range c.Records {
			for _, e := range r.Fields {
				size += len(e.Key) + len(e.Value)
			}
		}
		if size > 3*len(text)+64 {
			t.Fatalf("%d bytes of fields from %d of text", size, len(text))
		}
	})
}
