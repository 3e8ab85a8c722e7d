// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// sealOf compares files with a list that names listed, under the rules given as the body of rules2.
func sealOf(t *testing.T, rules string, listed map[string]string, files fstest.MapFS) *Seal {
	t.Helper()
	list := ""
	for name, entry := range listed {
		list += "<key>" + name + "</key>" + entry
	}
	text := `<plist version="1.0"><dict><key>files2</key><dict>` + list + `</dict><key>rules2</key><dict>` + rules +
		`</dict></dict></plist>`
	all := fstest.MapFS{"X.kext/Contents/Info.plist": {}, "X.kext/Contents/MacOS/X": {}}
	for name, f := range files {
		all["X.kext/Contents/"+name] = f
	}
	var r fact.Report
	reading := bundleReading{bundleReader{FS: all}, &Bundle{}, layout{"X.kext", "X.kext/Contents",
		"X.kext/Contents/MacOS", "X.kext/Contents/Info.plist"}, &r}
	left := int64(1 << 20)
	seal, err := reading.checkSeal("MacOS/X", []byte(text), &left)
	if err != nil || len(r.Problems) != 0 {
		t.Fatal(err, r.Problems)
	}
	return seal
}

// rule is one rule of rules2.
func rule(pattern string, weight any, words ...string) string {
	text := "<key>" + pattern + "</key><dict>"
	switch weight.(type) {
	case int:
		text += fmt.Sprintf("<key>weight</key><integer>%d</integer>", weight)
	case float64:
		text += fmt.Sprintf("<key>weight</key><real>%v</real>", weight)
	}
	for _, word := range words {
		text += "<key>" + word + "</key><true/>"
	}
	return text + "</dict>"
}

const plainRules = `<key>^.*</key><true/><key>^Info\.plist$</key><dict><key>omit</key><true/><key>weight</key>` +
	`<real>20</real></dict>`

func plainFile(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

// TestSealRules judges files that are not listed, by the rules that they fall under.
func TestSealRules(t *testing.T) {
	link := &fstest.MapFile{Data: []byte("a"), Mode: fs.ModeSymlink}
	attributes := plainFile("\x00\x05\x16\x07\x00\x02\x00\x00attributes")
	for name, tt := range map[string]struct {
		rules string
		files fstest.MapFS
		extra string
	}{
		"no rule":                {"<key>^Resources/</key><true/>", fstest.MapFS{"other": plainFile("")}, ""},
		"a rule":                 {plainRules, fstest.MapFS{"a": plainFile("")}, "a"},
		"a rule of false":        {"<key>^a</key><false/>", fstest.MapFS{"a": plainFile("")}, ""},
		"the heavier rule omits": {plainRules + rule("^a", 2, "omit"), fstest.MapFS{"a": plainFile("")}, ""},
		"the lighter rule omits": {plainRules + rule("^a", 0, "omit"), fstest.MapFS{"a": plainFile("")}, "a"},
		"a tie":                  {plainRules + rule("^a", 1, "omit"), fstest.MapFS{"a": plainFile("")}, ""},
		"a tie without a weight": {plainRules + rule("^a", nil, "omit"), fstest.MapFS{"a": plainFile("")}, ""},
		"weights are cut":        {plainRules + rule("^a", 1.9, "omit"), fstest.MapFS{"a": plainFile("")}, ""},
		"a tie after the cut": {plainRules + rule("^a", 2.1, "omit") + rule("a$", 2),
			fstest.MapFS{"a": plainFile("")}, ""},
		"a search, not the whole name": {rule("x", 1), fstest.MapFS{"axb": plainFile("")}, "axb"},
		"case counts":                  {rule("^A", 1), fstest.MapFS{"a": plainFile("")}, ""},
		"the signature's own files": {plainRules, fstest.MapFS{"CodeResources": plainFile("s8ch"),
			"_CodeSignature/CodeSignature": plainFile(""), "_MASReceipt/receipt": plainFile("")}, ""},
		".DS_Store": {plainRules + rule(`^(.*/)?\.DS_Store$`, 2000, "omit"),
			fstest.MapFS{"a/.DS_Store": plainFile("")}, ""},
		"a link named .DS_Store": {plainRules + rule(`^(.*/)?\.DS_Store$`, 2000, "omit"),
			fstest.MapFS{"a/.DS_Store": link}, "a/.DS_Store"},
		"nested code": {plainRules + rule("^Frameworks/", 10, "nested"),
			fstest.MapFS{"Frameworks/A.framework/x": plainFile(""), "Frameworks/A.framework/y": plainFile("")},
			"Frameworks/A.framework"},
		"a folder without a period": {plainRules + rule("^Frameworks/", 10, "nested"),
			fstest.MapFS{"Frameworks/plain/x": plainFile("")}, "Frameworks/plain/x"},
		"attributes": {plainRules,
			fstest.MapFS{"Info.plist": plainFile(""), "._Info.plist": attributes}, ""},
		"attributes of nothing":       {plainRules, fstest.MapFS{"._b": attributes}, "._b"},
		"named like attributes":       {plainRules, fstest.MapFS{"._Info.plist": plainFile("hello")}, "._Info.plist"},
		"empty, named like them":      {plainRules, fstest.MapFS{"._Info.plist": plainFile("")}, "._Info.plist"},
		"attributes without a name":   {plainRules, fstest.MapFS{"._": attributes}, "._"},
		"attributes of a folder":      {plainRules, fstest.MapFS{"._MacOS": attributes}, ""},
		"attributes that are omitted": {rule(`^\._`, 1, "omit"), fstest.MapFS{"._x": plainFile("")}, ""},
	} {
		seal := sealOf(t, tt.rules, nil, tt.files)
		if got := strings.Join(seal.Extra, " "); got != tt.extra {
			t.Errorf("%s: extra %q, want %q", name, got, tt.extra)
		}
		noted := strings.HasPrefix(name, "attributes") && tt.extra == "" && !strings.Contains(name, "omitted")
		if noted != (len(seal.Attributes) == 1) {
			t.Errorf("%s: attributes %q", name, seal.Attributes)
		}
	}
}

// TestSealEntries compares listed files in each form of an entry.
func TestSealEntries(t *testing.T) {
	data := func(b []byte) string { return "<data>" + base64.StdEncoding.EncodeToString(b) + "</data>" }
	nested := fakedarwin.KextCode("x86_64", "u", &fakedarwin.Signer{Identifier: "n"})
	all, err := readSlices("n", strings.NewReader(string(nested)), int64(len(nested)), nil)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := readCodeSignature("n", strings.NewReader(string(nested)), all[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	cdhash := fmt.Sprintf("<dict><key>cdhash</key>%s</dict>", data(sig.directory.digest()[:20]))
	bundle := func(code []byte) fstest.MapFS {
		return fstest.MapFS{"PlugIns/N.kext/Info.plist": plainFile(string(fakedarwin.InfoPlist("n", "1", "N", ""))),
			"PlugIns/N.kext/N": {Data: code}, "PlugIns/N.kext/more": plainFile("")}
	}
	other := fakedarwin.KextCode("x86_64", "v", &fakedarwin.Signer{Identifier: "n"})
	link := &fstest.MapFile{Data: []byte("target"), Mode: fs.ModeSymlink}
	for name, tt := range map[string]struct {
		entry                   string
		files                   fstest.MapFS
		changed, missing, extra int
	}{
		"optional, missing": {"<dict><key>hash2</key>" + data(nil) + "<key>optional</key><true/></dict>", nil, 0, 0, 0},
		"missing":           {"<dict><key>hash2</key>" + data([]byte{1}) + "</dict>", nil, 0, 1, 0},
		"link": {"<dict><key>symlink</key><string>target</string></dict>",
			fstest.MapFS{"PlugIns/N.kext": link}, 0, 0, 0},
		"other link": {"<dict><key>symlink</key><string>else</string></dict>",
			fstest.MapFS{"PlugIns/N.kext": link}, 1, 0, 0},
		"link, a file now": {"<dict><key>symlink</key><string>x</string></dict>",
			fstest.MapFS{"PlugIns/N.kext": plainFile("x")}, 1, 0, 0},
		"nested code":       {cdhash, bundle(nested), 0, 0, 0},
		"other nested code": {cdhash, bundle(other), 1, 0, 0},
		"no nested code":    {cdhash, nil, 0, 1, 0},
	} {
		seal := sealOf(t, plainRules, map[string]string{"PlugIns/N.kext": tt.entry}, tt.files)
		got := []int{len(seal.Changed), len(seal.Missing), len(seal.Extra)}
		if !reflect.DeepEqual(got, []int{tt.changed, tt.missing, tt.extra}) {
			t.Errorf("%s: %+v", name, seal)
		}
		if seal.Broken() != (tt.changed+tt.missing+tt.extra > 0) {
			t.Errorf("%s: broken %v", name, seal.Broken())
		}
	}
}

// TestDifferences names what differs, the first few files.
func TestDifferences(t *testing.T) {
	s := CodeSignature{CodeFits: fact.No, Seal: &Seal{Info: fact.No, Resources: fact.No,
		Changed: []string{"a"}, Missing: []string{"b", "c"}, Extra: strings.Fields("1 2 3 4 5 6 7")}}
	got := strings.Join(s.differences(), "\n")
	for _, want := range []string{"the code was changed", "Info.plist was changed", "CodeResources", "changed: a",
		"missing: b, c", "added: 1, 2, 3, 4, 5 and 2 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if fine := (&CodeSignature{CodeFits: fact.Yes, Seal: &Seal{Info: fact.Yes}}).differences(); fine != nil {
		t.Errorf("%q", fine)
	}
}
