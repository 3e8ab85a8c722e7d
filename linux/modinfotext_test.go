// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
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

// parseModinfo returns what the parser makes of a text, and what it reports.
func parseModinfo(text string) (*modinfoParser, *fact.Report) {
	r := new(fact.Report)
	p := &modinfoParser{report: r}
	for line := range strings.Lines(text) {
		p.line(strings.TrimSuffix(line, "\n"))
	}
	p.finish()
	return p, r
}

func TestModinfoText(t *testing.T) {
	p, r := parseModinfo(modinfoSample)
	want := []modinfoRecord{{
		filename: "/lib/modules/6.1.0-test/updates/demo.ko.xz", name: "demo",
		fields: ko.Modinfo{
			{Key: "description", Value: "A driver"}, {Key: "author", Value: "A <a@example.org>"},
			{Key: "author", Value: "B"}, {Key: "license", Value: "GPL v2"}, {Key: "depends", Value: ""},
			{Key: "vermagic", Value: "6.1.0-test SMP "},
			{Key: "parmtype", Value: "speed:int"}, {Key: "parm", Value: "speed:How fast\n  0: not at all\n  1: very"},
			{Key: "parmtype", Value: "quiet:bool"}, {Key: "parmtype", Value: "names:array of charp"},
			{Key: "parmtype", Value: "odd:see below"}, {Key: "parm", Value: "odd:no type"},
		},
		signature: &ko.Signature{IDType: "pkcs7", Signer: "A key", KeyID: "0A:FF", Hash: "sha256",
			Value: []byte{0, 1, 2, 3}},
	}, {
		builtin: true, name: "loop",
		fields: ko.Modinfo{{Key: "name", Value: "loop"}, {Key: "license", Value: "GPL"},
			{Key: "file", Value: "drivers/block/loop"}},
	}}
	if diff := cmp.Diff(want, p.records, cmp.AllowUnexported(modinfoRecord{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	problem := func(module, text string) fact.Problem {
		return fact.Problem{Source: SourceModinfo, Subject: module, Code: fact.CodeAbsent,
			Text: text + ": file does not exist"}
	}
	problems := []fact.Problem{problem("other", "Module other not found."), problem("none", "Module none not found.")}
	if diff := cmp.Diff(problems, r.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if !p.prompt || p.stray != 0 {
		t.Errorf("prompt %v, stray %d", p.prompt, p.stray)
	}
	for text, problems := range map[string]int{modinfoSample: 2, strings.TrimSuffix(modinfoSample, "\n"): 3} {
		r := new(fact.Report)
		c := ReadModinfo(text, r)
		if c.Rows != 2 || !c.Sure || r.Count(SourceModinfo) != problems || r.Whole(SourceModinfo) {
			t.Errorf("%+v, %+v", c, r)
		}
	}
}

func TestModinfoComplaintAboutAFile(t *testing.T) {
	var r fact.Report
	c := ReadModinfo("filename:       /x/nvidia-drm.ko.xz\n"+
		"modinfo: ERROR: could not get modinfo from 'nvidia_drm': Invalid argument\nfilename:       /x/b.ko\n"+
		"license:        GPL\n", &r)
	if len(c.Records) != 2 || len(c.Records[0].Problems) != 1 || c.Records[0].Name != "nvidia_drm" ||
		c.Records[1].Problems != nil || len(r.Problems) != 0 || r.Whole(SourceModinfo) {
		t.Errorf("%+v, %+v", c, r)
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
		p, _ := parseModinfo(string(text))
		if want := strings.Count("\n"+string(text), "\nfilename:"); len(p.records) != want {
			t.Errorf("%s: %d records of %d", file, len(p.records), want)
		}
		signed := 0
		for _, r := range p.records {
			if r.signature != nil && len(r.signature.Value) > 0 {
				signed++
			}
			if r.name == "" {
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
		p, _ := parseModinfo(text)
		size := 0
		for _, r := range p.records {
			for _, e := range r.fields {
				size += len(e.Key) + len(e.Value)
			}
		}
		if size > 3*len(text)+64 {
			t.Fatalf("%d bytes of fields from %d of text", size, len(text))
		}
	})
}
