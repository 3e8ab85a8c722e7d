// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestPanicFile reads the JSON of a .ips file, made up: the text of the Mac, and not that of its T2 chip.
func TestPanicFile(t *testing.T) {
	const head = `{"bug_type":"210"}` + "\n"
	const mac = `"panic\nloaded kexts:\norg.example.a\t1.0\ncom.apple.b\t2\n"`
	const chip = `"panic\nloaded kexts:\ncom.apple.chip\t1\n"`
	for text, want := range map[string]string{
		head + `{"panicString":` + mac + `,"x":{"y":[1]}}` + "\n":                "org.example.a com.apple.b",
		head + `{"panicString":` + chip + `,"macOSPanicString":` + mac + `}`:     "org.example.a com.apple.b",
		head + `{"product":"iBridge2","panicString":` + chip + `}` + "\n":        "",
		head + `{"x":1,"panicString":` + mac + `,"y":{"pan`:                      "org.example.a com.apple.b cut",
		head + `{"panicString":"loaded kexts:\norg.example.a\t1.0\ncom.a` + "\n": "cut",
	} {
		var r fact.Report
		var got []string
		for _, m := range ReadPanic(text, &r).Records {
			got = append(got, m.Name)
		}
		if src, _ := r.Find(SourcePanic); src.Outcome == fact.OutcomePartial {
			got = append(got, "cut")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestCertificates splits a chain of certificates whose names have commas.
func TestCertificates(t *testing.T) {
	got := certificates("Developer ID Application: Qinheng Co., Ltd. (X9BL5JJAZJ), " +
		"Developer ID Certification Authority, Apple Root CA")
	want := []string{"Developer ID Application: Qinheng Co., Ltd. (X9BL5JJAZJ)", "Developer ID Certification Authority",
		"Apple Root CA"}
	if !slices.Equal(got, want) || teamOf(got[0]) != "X9BL5JJAZJ" || teamOf(got[1]) != "" || teamOf("A: B (c)") != "" {
		t.Errorf("%q", got)
	}
}

// TestSelection takes a list for a selection if a kext is linked against one that has no row.
func TestSelection(t *testing.T) {
	const header = "Index Refs Address            Size       Wired      Name (Version) UUID <Linked Against>\n"
	const row = "    1    9 0xffffff7f80a00000 0x8000     0x8000     com.apple.kpi.bsd (17.7.0) <>\n" +
		"    2    0 0xffffff7f80a00000 0x8000     0x8000     com.example.a (1) <1>\n"
	for text, want := range map[string]int{
		header + row: 0, row: 1, header + strings.Replace(row, "<1>", "<7 1>", 1): 1,
	} {
		var r fact.Report
		if c := ReadKextstat(text, &r); len(c.Records) != 2 || len(r.Problems) != want {
			t.Errorf("%s: %d records, %v", text, len(c.Records), r.Problems)
		}
	}
}
