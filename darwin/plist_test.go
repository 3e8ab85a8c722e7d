// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// bplistOf assembles a binary property list of raw objects, the first being the top.
func bplistOf(objects ...[]byte) []byte {
	out := []byte("bplist00")
	var offsets []uint32
	for _, o := range objects {
		offsets = append(offsets, uint32(len(out)))
		out = append(out, o...)
	}
	table := uint64(len(out))
	for _, o := range offsets {
		out = binary.BigEndian.AppendUint32(out, o)
	}
	out = append(out, 0, 0, 0, 0, 0, 0, 4, 1)
	out = binary.BigEndian.AppendUint64(out, uint64(len(objects)))
	out = binary.BigEndian.AppendUint64(out, 0)
	return binary.BigEndian.AppendUint64(out, table)
}

// hugeLength is a marker whose length is 2^63.
func hugeLength(marker byte) []byte {
	return append([]byte{marker | 0xf, 0x13, 0x80}, make([]byte, 7)...)
}

func TestPlistHostile(t *testing.T) {
	shared := [][]byte{}
	for i := range 24 {
		shared = append(shared, []byte{0xa2, byte(i + 1), byte(i + 1)})
	}
	shared = append(shared, []byte{0x09})
	cycle := [][]byte{{0xa1, 1}, {0xa1, 0}}
	overlap := [][]byte{}
	all := []byte{0xaf, 0x10, 200}
	for i := range 200 {
		all = append(all, byte(i+1))
	}
	overlap = append(overlap, all)
	for range 200 {
		overlap = append(overlap, []byte{0x6f, 0x10, 100}) // strings that run over what follows
	}
	overlap = append(overlap, make([]byte, 300))

	for _, tt := range []struct {
		name string
		data []byte
		code fact.Code
	}{
		{"52 bytes, dictionary of 2^63", bplistOf(hugeLength(0xd0)), fact.CodeMalformed},
		{"52 bytes, UTF-16 of 2^63", bplistOf(hugeLength(0x60)), fact.CodeMalformed},
		{"data of 2^63", bplistOf(hugeLength(0x40)), fact.CodeMalformed},
		{"array of 2^63", bplistOf(hugeLength(0xa0)), fact.CodeMalformed},
		{"shared arrays, 2^24 values", bplistOf(shared...), fact.CodeTooLarge},
		{"cycle", bplistOf(cycle...), fact.CodeMalformed},
		{"overlapping strings", bplistOf(overlap...), fact.CodeTooLarge},
		{"integer key", bplistOf([]byte{0xd1, 1, 1}, []byte{0x10, 1}), fact.CodeMalformed},
		{"container key", bplistOf([]byte{0xd1, 1, 2}, []byte{0xa1, 2}, []byte{0x08}), fact.CodeMalformed},
		{"no such object", bplistOf([]byte{0xa1, 9}), fact.CodeMalformed},
		{"string at top", bplistOf([]byte{0x51, 'a'}), fact.CodeMalformed},
		{"one million arrays", []byte("<plist>" + strings.Repeat("<array>", 1_000_000)), fact.CodeTooLarge},
		{"deep text", []byte(strings.Repeat("(", 60_000)), fact.CodeTooLarge},
		{"escapes", []byte("{a=\"" + strings.Repeat(`\n`, 30_000) + "\";}"), fact.CodeTooLarge},
		{"empty", nil, fact.CodeMalformed},
		{"blank", []byte(" \n"), fact.CodeMalformed},
		{"a word", []byte("hello"), fact.CodeMalformed},
		{"only header", []byte("bplist00"), fact.CodeMalformed},
		{"entities", []byte(`<!DOCTYPE plist [<!ENTITY a "aaaa">]><plist><string>&a;</string></plist>`),
			fact.CodeMalformed},
		{"unclosed", []byte(`<plist><dict><key>a</key>`), fact.CodeMalformed},
		{"wrong end", []byte(`<plist><dict></array></plist>`), fact.CodeMalformed},
		{"hex data", []byte(`<plist><dict><key>a</key><data format="hex">zz!</data></dict></plist>`),
			fact.CodeMalformed},
		{"too long", make([]byte, limit.PlistBytes+1), fact.CodeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			took := fastest(func() { _, err = decodePlist("x.plist", tt.data) })
			if fact.CodeOf(err) != tt.code {
				t.Errorf("error %v, want code %s", err, tt.code)
			}
			var pe *fact.ParseError
			if !errors.As(err, &pe) || pe.Source != "x.plist" {
				t.Errorf("error %#v does not name the source", err)
			}
			t.Logf("took %v", took)
		})
	}
}

func TestPlistForms(t *testing.T) {
	const xml = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>s</key><string>a &lt;b&gt; &#xe9;</string><key>n</key><integer>-551890460672</integer>
<key>h</key><integer size="64">0xffffff7f80a46000</integer><key>b</key><true/><key>d</key><data>AQID</data>
<key>l</key><array><integer>1</integer><integer>2</integer></array><key>m</key><dict/></dict></plist>`
	utf16le := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(strings.Replace(xml, "UTF-8", "UTF-16", 1))) {
		utf16le = binary.LittleEndian.AppendUint16(utf16le, u)
	}
	want := node{kind: dictNode, dict: map[string]node{
		"s": {kind: stringNode, str: "a <b> é"}, "n": {kind: integerNode, num: 0xffffff7f81000000 - 0x5a46000 + 0},
		"h": {kind: integerNode, num: 0xffffff7f80a46000}, "b": {kind: boolNode, num: 1},
		"d": {kind: dataNode, data: []byte{1, 2, 3}},
		"l": {kind: arrayNode, list: []node{{kind: integerNode, num: 1}, {kind: integerNode, num: 2}}},
		"m": {kind: dictNode, dict: map[string]node{}},
	}}
	n := want.dict["n"]
	address := int64(-551890460672)
	n.num = uint64(address)
	want.dict["n"] = n
	for name, data := range map[string][]byte{
		"xml": []byte(xml), "utf-8 mark": append([]byte("\xef\xbb\xbf"), xml...), "utf-16": utf16le,
		"dialect": []byte(strings.Replace(xml, "<dict/>", `<dict ID="1"/><key>r</key><reference IDREF="1"/>`, 1)),
	} {
		got, err := decodePlist("x", data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		delete(got.dict, "r")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
	text, err := decodePlist("x",
		[]byte(`{ CFBundleIdentifier = "a.b"; OSBundleUUID = <655aa406 97024364>; l = (a, b); }`))
	if err != nil || text.dict["CFBundleIdentifier"].str != "a.b" || len(text.dict["OSBundleUUID"].data) != 8 ||
		len(text.dict["l"].list) != 2 {
		t.Errorf("text form: %+v, %v", text, err)
	}
	latin1, err := decodePlist("x",
		[]byte("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><plist><dict><key>a</key>"+
			"<string>\xa9</string></dict></plist>"))
	if err != nil || latin1.dict["a"].str != "©" {
		t.Errorf("ISO-8859-1: %+v, %v", latin1, err)
	}
}

// TestPlistGuardAgrees lets the library write, and checks that the guard refuses none of it.
func TestPlistGuardAgrees(t *testing.T) {
	for _, file := range sampleInfoPlists(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodePlist(file, data); err != nil {
			t.Error(err)
		}
	}
}

// TestDialectSharing feeds values that are repeated so often that their size would explode.
func TestDialectSharing(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<array><array ID="0"><true/><true/></array>`)
	for i := range 30 {
		b.WriteString(`<array ID="` + string(rune('A'+i)) + `">`)
		ref := "0"
		if i > 0 {
			ref = string(rune('A' + i - 1))
		}
		b.WriteString(`<array IDREF="` + ref + `"/><reference IDREF="` + ref + `"/></array>`)
	}
	b.WriteString(`</array>`)
	var err error
	took := fastest(func() { _, err = decodePlist("x", []byte(b.String())) })
	if !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("error %v, want too large", err)
	}
	t.Logf("took %v", took)
	if _, err := decodePlist("x", []byte(`<array ID="1"><array IDREF="1"/></array>`)); !errors.Is(err,
		fact.ErrMalformed) {
		t.Errorf("cycle: %v", err)
	}
}

// TestPlistAsPlistutil compares with Debian's libplist, through its binary form: what it can
// convert, we must decode to the same values from both forms.
func TestPlistAsPlistutil(t *testing.T) {
	tool, err := exec.LookPath("plistutil")
	if err != nil {
		t.Skip("plistutil is not installed (Debian package libplist-utils)")
	}
	for _, file := range sampleInfoPlists(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(t.TempDir(), "b")
		if out, err := exec.Command(tool, "-i", file, "-o", binary, "-f", "bin").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", file, err, out)
		}
		converted, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(converted, []byte("bplist00")) {
			t.Fatalf("%s: plistutil wrote no binary property list", file)
		}
		ours, err := decodePlist(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		theirs, err := decodePlist(file+" by plistutil", converted)
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s: decoded differently from plistutil", file)
		}
	}
}

func FuzzPlist(f *testing.F) {
	f.Add([]byte(`{a=b;}`))
	f.Add([]byte(`<plist><dict ID="0"><key>a</key><reference IDREF="1"/></dict></plist>`))
	f.Add(bplistOf([]byte{0xd1, 1, 2}, []byte{0x51, 'a'}, []byte{0xa1, 3},
		[]byte{0x13, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}))
	raw, _ := base64.StdEncoding.DecodeString("YnBsaXN0MDDRAQJRYVFiCAsNAAAAAAAAAQEAAAAAAAAAAwAAAAAAAAAAAAAAAAAAAA8=")
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := decodePlist("fuzz", data)
		if (err == nil) == (n.kind == noNode) {
			t.Fatalf("value %v and error %v", n.kind, err)
		}
		if size := n.size(); err == nil && size > limit.PlistNodes {
			t.Fatalf("%d values", size)
		}
	})
}
