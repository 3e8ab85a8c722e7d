// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
)

// What list --unsigned leaves out is counted with the reason, on a redacted tape and on one that is older than the
// question about the machine's certificate stores.
func TestUnsignedLeftOut(t *testing.T) {
	tape, err := os.ReadFile(filepath.Join("..", "..", "lkm", "lkmtest", "testdata", "synthetic-windows11-admin.tape"))
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(tape), "questions: 2\n", "", 1)
	old = regexp.MustCompile(`-- error call registry_subkeys .*\nabsent\n`).ReplaceAllString(old, "")
	const why = "signature not known: no signature in the file; whether a catalog lists it is not known"
	for name, file := range map[string]string{"redacted": "demo:synthetic-windows11-admin",
		"older": tempFile(t, "old.tape", []byte(old))} {
		for _, format := range []string{"table", "csv"} {
			code, out, errs := lkmRun(t, "", "list", "--unsigned", "--format", format, "--tape", file)
			if code != 0 || !strings.Contains(out+errs, "10 modules left out: "+why) {
				t.Errorf("%s, %s: exit %d, %s%s", name, format, code, out, errs)
			}
		}
	}
}

func TestWhyUnsigned(t *testing.T) {
	signed := func(list ...authenticode.Signature) *windows.Driver { return &windows.Driver{Signatures: list} }
	for name, tt := range map[string]struct {
		m    lkm.Module
		want string
	}{
		"nothing": {lkm.Module{}, ""},
		"a problem": {lkm.Module{Problems: []lkm.Problem{{Field: "file", Text: "no"}, {Field: "signature",
			Text: "damaged"}}}, "damaged"},
		"unread stores": {lkm.Module{Windows: signed(authenticode.Signature{Status: lkm.SignatureInvalid, Reason: "no"},
			authenticode.Signature{Status: lkm.SignatureUnchecked, Reason: "older than the question"})},
			"older than the question"},
	} {
		if got := whyUnsigned(&tt.m); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
