// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
)

// nestedTeam is the certificate of the developer of nested code.
var nestedTeam = fakedarwin.Certificate{Name: "Developer ID Application: V (ABCDE12345)", Team: "ABCDE12345",
	Marks:   []string{fakedarwin.MarkDeveloperID, fakedarwin.MarkKext},
	CAMarks: []string{fakedarwin.MarkDeveloperIDCA}}

// nestedRequirement is what codesign writes for it.
const nestedRequirement = `identifier "com.v.p" and anchor apple generic and certificate 1[field.` + markDeveloperIDCA +
	`] /* exists */ and certificate leaf[field.` + markDeveloperID + `] /* exists */ and certificate ` +
	`leaf[subject.OU] = ABCDE12345`

// A nesting is a bundle with another inside, as a test changes it.
type nesting struct {
	files       fstest.MapFS
	requirement string
	cdhash      string
}

const (
	nestedName = "PlugIns/P.kext"
	nestedDir  = kextDir + "/Contents/" + nestedName
)

// seal compares the outer bundle's files with its list.
func (n *nesting) seal(keys []fact.KeySet) (*Seal, error) {
	entry := ""
	if n.cdhash != "" {
		b, err := hex.DecodeString(n.cdhash)
		if err != nil {
			return nil, err
		}
		entry += "<key>cdhash</key><data>" + base64.StdEncoding.EncodeToString(b) + "</data>"
	}
	if n.requirement != "" {
		entry += "<key>requirement</key><string>" + n.requirement + "</string>"
	}
	text := "<plist><dict><key>files2</key><dict><key>" + nestedName + "</key><dict>" + entry + "</dict></dict>" +
		"<key>rules2</key><dict>" + plainRules + "</dict></dict></plist>"
	files := fstest.MapFS{kextDir + "/Contents/Info.plist": plainFile("")}
	for name, f := range n.files {
		files[name] = f
	}
	var r fact.Report
	where, err := findLayout(files, kextDir)
	if err != nil {
		return nil, err
	}
	reading := bundleReading{bundleReader{FS: files, Keys: keys}, &Bundle{}, where, &r}
	left := int64(1 << 20)
	return reading.checkSeal("MacOS/X", []byte(text), &left)
}

// nestedFiles are a signed plug-in, and its hash.
func nestedFiles(t *testing.T, s *fakedarwin.Signer) (fstest.MapFS, string) {
	t.Helper()
	files := fakedarwin.BundleFiles(nestedDir, "com.v.p", s)
	b, err := bundleReader{FS: files, Code: true, Signatures: true}.tested(nestedDir)
	if err != nil {
		t.Fatal(err)
	}
	return files, b.signature.CDHash
}

// TestNested changes code inside a bundle in every way, and what the bundle's list says of it.
func TestNested(t *testing.T) {
	apple, forger, keys := apples()
	by := func(a *fakedarwin.Authority) *fakedarwin.Signer {
		return &fakedarwin.Signer{Identifier: "com.v.p", Team: "ABCDE12345", CMS: a.Sign(nestedTeam)}
	}
	const other = "00112233445566778899aabbccddeeff00112233"
	spoil := func(name string) func(*nesting) {
		return func(n *nesting) {
			f := n.files[nestedDir+"/Contents/"+name]
			f.Data = append(f.Data, '\n')
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*nesting)
		want   string // what the reason says; "-" for an error
	}{
		{"intact", func(*nesting) {}, ""},
		{"intact, no requirement", func(n *nesting) { n.requirement = "" }, ""},
		{"another build of the same developer", func(n *nesting) { n.cdhash = other }, ""},
		{"no hash", func(n *nesting) { n.cdhash = "" }, ""},
		{"another build, no requirement", func(n *nesting) { n.requirement, n.cdhash = "", other },
			"not the code that was signed with"},
		{"another identifier", func(n *nesting) { n.requirement = `identifier "com.v.q"` },
			"not the code that was signed with"},
		{"another team", func(n *nesting) {
			n.requirement = "certificate leaf[subject.OU] = OTHER12345"
		}, "not the code that was signed with"},
		{"a requirement of an unknown form", func(n *nesting) { n.requirement = "info[X] = 1" }, ""},
		{"that, and another build", func(n *nesting) { n.requirement, n.cdhash = "info[X] = 1", other }, "-"},
		{"Info.plist", spoil("Info.plist"), "Info.plist was changed"},
		{"resource", spoil("Resources/a.txt"), "changed: Resources/a.txt"},
		{"code", func(n *nesting) {
			code := n.files[nestedDir+"/Contents/MacOS/Driver"].Data
			at := bytes.Index(code, []byte("uuid-of-x86"))
			code[at] ^= 1
		}, "the code was changed"},
		{"list", spoil("_CodeSignature/CodeResources"), "CodeResources"},
		{"list taken away", func(n *nesting) {
			delete(n.files, nestedDir+"/Contents/_CodeSignature/CodeResources")
		}, "CodeResources"},
		{"a file more", func(n *nesting) { n.files[nestedDir+"/Contents/x"] = plainFile("") }, "added: x"},
		{"a file less", func(n *nesting) { delete(n.files, nestedDir+"/Contents/Resources/a.txt") },
			"missing: Resources/a.txt"},
		{"signed by somebody else", func(n *nesting) { n.files, _ = nestedFiles(t, by(forger)) },
			"not the code that was signed with"},
		{"not signed any more", func(n *nesting) {
			n.files[nestedDir+"/Contents/MacOS/Driver"].Data = fakedarwin.KextCode("x86_64", "u", nil)
		}, "not the code that was signed with"},
	} {
		n := &nesting{requirement: nestedRequirement}
		n.files, n.cdhash = nestedFiles(t, by(apple))
		tt.change(n)
		seal, err := n.seal(keys)
		if (err != nil) != (tt.want == "-") {
			t.Errorf("%s: %+v, %v", tt.name, seal, err)
			continue
		}
		if err != nil {
			continue
		}
		said := strings.Join(seal.Nested, "\n")
		if seal.Broken() != (tt.want != "") || !strings.Contains(said, tt.want) ||
			seal.Broken() && !slices.Equal(seal.Changed, []string{nestedName}) {
			t.Errorf("%s: %+v, want %q", tt.name, seal, tt.want)
		}
	}
}

// TestNestedPlaces puts other things than a bundle where nested code was.
func TestNestedPlaces(t *testing.T) {
	code := fakedarwin.KextCode("x86_64", "u", &fakedarwin.Signer{Identifier: "com.v.p", Flags: 2})
	list := func(data []byte) fstest.MapFS { return fstest.MapFS{nestedDir: {Data: data, Mode: 0o644}} }
	n := &nesting{files: list(code), requirement: `identifier "com.v.p"`}
	withInfo := fakedarwin.KextCode("x86_64", "u", &fakedarwin.Signer{Identifier: "com.v.p", Flags: 2,
		Special: map[int][]byte{specialInfo: []byte("in a section")}})
	_, sig, err := readCode(n.files, nestedDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.cdhash = sig.CDHash
	for _, tt := range []struct {
		name             string
		files            fstest.MapFS
		changed, missing bool
		fails            bool
	}{
		{"a program", list(code), false, false, false},
		{"a changed program", list(append(slices.Clone(code[:len(code)-3000]), make([]byte, 3000)...)), false, false,
			true},
		{"a program with an Info.plist of its own", list(withInfo), false, false, false},
		{"a text", list([]byte("hello")), false, false, true},
		{"nothing", nil, false, true, false},
		{"an empty folder", fstest.MapFS{nestedDir: {Mode: fs.ModeDir | 0o755}}, false, true, false},
		{"a link to the program", fstest.MapFS{nestedDir: {Data: []byte("../../elsewhere"), Mode: fs.ModeSymlink},
			kextDir + "/elsewhere": {Data: code}}, true, false, false},
		{"a program behind a link", fstest.MapFS{
			kextDir + "/Contents/PlugIns": {Data: []byte("../other"), Mode: fs.ModeSymlink},
			kextDir + "/other/P.kext":     {Data: code}}, false, true, false},
	} {
		n.files = tt.files
		seal, err := n.seal(nil)
		if (err != nil) != tt.fails || err == nil && ((len(seal.Changed) > 0) != tt.changed ||
			(len(seal.Missing) > 0) != tt.missing) {
			t.Errorf("%s: %+v, %v", tt.name, seal, err)
		}
	}
}

// TestNestedDepth nests bundles without an end: the outermost is not compared whole, and not valid.
func TestNestedDepth(t *testing.T) {
	const deep = 12
	files := fstest.MapFS{}
	dir := kextDir
	for range deep {
		text := `<plist><dict><key>files2</key><dict><key>P.kext</key><dict><key>requirement</key>` +
			`<string>always</string></dict></dict><key>rules2</key><dict>` + plainRules + `</dict></dict></plist>`
		for name, f := range fakedarwin.CodelessFiles(dir, "p", &fakedarwin.Signer{Identifier: "p", Flags: 2}) {
			files[name] = f
		}
		files[dir+"/Contents/_CodeSignature/CodeResources"].Data = []byte(text)
		dir += "/Contents/P.kext"
	}
	b, problems := codelessOf(t, files, nil)
	if b.signature.Seal.checked || len(problems) == 0 {
		t.Errorf("%+v, %v", b.signature.Seal, problems)
	}
}

// TestSealedLinks puts links in place of sealed files and of folders.
func TestSealedLinks(t *testing.T) {
	entry := "<dict><key>hash2</key><data>LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=</data></dict>" // "hello"
	link := func(to string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink} }
	for _, tt := range []struct {
		name, want string
		files      fstest.MapFS
	}{
		{"a file", "[] [] []", fstest.MapFS{"R/a": plainFile("hello")}},
		{"a link to the same", "[R/a] [] []", fstest.MapFS{"R/a": link("../MacOS/b"), "MacOS/b": plainFile("hello")}},
		{"a link to nothing", "[R/a] [] []", fstest.MapFS{"R/a": link("nothing")}},
		{"a folder that is a link", "[] [R/a] [R]", fstest.MapFS{"R": link("MacOS"), "MacOS/a": plainFile("hello")}},
	} {
		seal := sealOf(t, rule("^R", 1), map[string]string{"R/a": entry}, tt.files)
		if got := fmt.Sprint(seal.Changed, seal.Missing, seal.Extra); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
