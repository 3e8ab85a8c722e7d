// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/lkm"
)

// TestModinfo compares all that the library says of every module of two Debian kernels, of a zstd
// recompression of one of them and of a gzip recompression with what modinfo says. Debian's modinfo
// reads no gzip, so that tree is compared with the plain one.
func TestModinfo(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modinfo")
	for _, tree := range []struct {
		name string
		find func(t testing.TB) debian.Kernel
	}{
		{"plain", plainTree},
		{"xz", xzTree},
		{"zst", func(t testing.TB) debian.Kernel { return recompressed(t, ".zst") }},
	} {
		t.Run(tree.name, func(t *testing.T) { compareModinfo(t, tree.find(t)) })
	}
	t.Run("gz", func(t *testing.T) { compareTrees(t, recompressed(t, ".gz"), plainTree(t)) })
}

// withoutKeys leaves out the certificates of the kernel's own image, which modinfo knows nothing of.
func withoutKeys(o *lkm.Options) { o.Trust = fact.TrustCaller }

// compareModinfo compares one tree, decoded whole and decoded only as far as metadata need.
func compareModinfo(t *testing.T, k debian.Kernel) {
	files := moduleFiles(t, k)
	want := modinfo(t, files)
	whole := installed(t, openRoot(t, k.Root, k.Release, lkm.DetailFiles|lkm.DetailSignatures, withoutKeys))
	if len(want) != len(files) || len(whole) != len(files) {
		t.Fatalf("%d files, modinfo describes %d, Installed %d", len(files), len(want), len(whole))
	}
	differ := differences{t: t}
	for i := range whole {
		m := &whole[i]
		r, ok := want[k.Root+m.Path]
		if !ok {
			t.Fatalf("modinfo says nothing of %s", m.Path)
		}
		compareEntries(&differ, m, r)
		compareFields(&differ, m, r)
		compareSignature(&differ, m, r)
	}
	if plain := strings.HasSuffix(files[0], ".ko"); plain {
		compareELF(&differ, whole, k.Root)
		compareTypes(t, whole, k.Root)
	}
	comparePrefix(&differ, installed(t, openRoot(t, k.Root, k.Release, lkm.DetailFiles)), whole)
	t.Logf("%s: %d modules, %d differences", k.Release, len(whole), differ.n)
}

// differences counts what differs and shows the first few.
type differences struct {
	t *testing.T
	n int
}

func (d *differences) check(m *lkm.Module, field string, got, want any) {
	d.t.Helper()
	if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", want); g != w {
		if d.n++; d.n <= 20 {
			d.t.Errorf("%s: %s: %s, modinfo: %s", m.Path, field, g, w)
		}
	}
}

// A modinfoRecord is what modinfo -0 prints of one file: "key=value" entries in order, and of each
// parameter one text that joins its name, its description and its type.
type modinfoRecord struct {
	entries []ko.Entry
	params  []string
}

// modinfo runs modinfo -0 over files and returns a record for each.
func modinfo(t testing.TB, files []string) map[string]*modinfoRecord {
	t.Helper()
	records := make(map[string]*modinfoRecord, len(files))
	var r *modinfoRecord
	for text := range strings.SplitSeq(strings.TrimSuffix(outputs(t, files, "modinfo", "-0"), "\x00"), "\x00") {
		if file, ok := strings.CutPrefix(text, "filename:"); ok {
			r = new(modinfoRecord)
			records[strings.TrimSpace(file)] = r
			continue
		}
		if param, ok := strings.CutPrefix(text, "parm:"); ok {
			r.params = append(r.params, strings.TrimLeft(param, " "))
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			t.Fatalf("modinfo -0 printed %q", text)
		}
		r.entries = append(r.entries, ko.Entry{Key: key, Value: value})
	}
	return records
}

// all returns the values of a key.
func (r *modinfoRecord) all(key string) []string {
	var values []string
	for _, e := range r.entries {
		if e.Key == key {
			values = append(values, escaped(e.Value))
		}
	}
	return values
}

// get returns the first value of a key.
func (r *modinfoRecord) get(key string) string {
	if all := r.all(key); len(all) > 0 {
		return all[0]
	}
	return ""
}

// escaped writes bytes that are not UTF-8 as \xNN, as the library does.
func escaped(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// signatureKeys are the entries that modinfo makes of the signature.
var signatureKeys = []string{"sig_id", "signer", "sig_key", "sig_hashalgo", "signature"}

// compareEntries compares the .modinfo section: every entry, in the file's order, but for
// parameters, of which modinfo prints a text.
func compareEntries(d *differences, m *lkm.Module, r *modinfoRecord) {
	d.t.Helper()
	var got, want []ko.Entry
	for _, e := range m.Linux.Modinfo {
		if e.Key != "parm" && e.Key != "parmtype" {
			got = append(got, e)
		}
	}
	for _, e := range r.entries {
		if !slices.Contains(signatureKeys, e.Key) {
			want = append(want, ko.Entry{Key: e.Key, Value: escaped(e.Value)})
		}
	}
	d.check(m, "modinfo", got, want)
}

// compareFields compares the typed fields.
func compareFields(d *differences, m *lkm.Module, r *modinfoRecord) {
	d.t.Helper()
	d.check(m, "problems", m.Problems, []lkm.Problem(nil))
	d.check(m, "name", m.Name, r.get("name"))
	d.check(m, "version", m.Version, r.get("version"))
	d.check(m, "linux.version", m.Linux.Version, r.get("version"))
	d.check(m, "description", m.Description, r.get("description"))
	d.check(m, "srcversion", m.Linux.Srcversion, r.get("srcversion"))
	d.check(m, "vermagic", m.Linux.Vermagic, r.get("vermagic"))
	d.check(m, "fitsRelease", m.Linux.FitsRelease, lkm.Yes)
	depends := strings.FieldsFunc(strings.ReplaceAll(r.get("depends"), "-", "_"), func(c rune) bool { return c == ',' })
	d.check(m, "depends", m.Linux.Depends, depends)
	d.check(m, "softdeps", m.Linux.Softdeps, r.all("softdep"))
	d.check(m, "weakdeps", m.Linux.Weakdeps, r.all("weakdep"))
	d.check(m, "importNamespaces", m.Linux.ImportNamespaces, r.all("import_ns"))
	var firmware []string
	for _, f := range m.Linux.Firmware {
		firmware = append(firmware, f.Name)
	}
	d.check(m, "firmware", firmware, r.all("firmware"))
	for _, flag := range []struct {
		key string
		got lkm.Tri
	}{{"intree", m.Linux.Intree}, {"retpoline", m.Linux.Retpoline}, {"staging", m.Linux.Staging},
		{"livepatch", m.Linux.Livepatch}} {
		d.check(m, flag.key, flag.got, map[bool]lkm.Tri{true: lkm.Yes, false: lkm.No}[r.get(flag.key) == "Y"])
	}
	d.check(m, "parameters", parameterTexts(m), sortedParams(r))
}

// parameterTexts writes the parameters as modinfo does: name, description and type where it has
// them. Of several descriptions modinfo shows the last, where the library keeps each that differs.
func parameterTexts(m *lkm.Module) []string {
	last := map[string]string{}
	for _, text := range m.Linux.Modinfo.Values("parm") {
		name, description, _ := strings.Cut(text, ":")
		last[name] = description
	}
	var texts []string
	for _, p := range m.Linux.Parameters {
		if strings.HasSuffix(p.Description, "\n"+last[p.Name]) {
			p.Description = last[p.Name]
		}
		switch {
		case p.Description == "":
			texts = append(texts, p.Name+":"+p.Type)
		case p.Type == "":
			texts = append(texts, p.Name+":"+p.Description)
		default:
			texts = append(texts, p.Name+":"+p.Description+" ("+p.Type+")")
		}
	}
	slices.Sort(texts)
	return texts
}

func sortedParams(r *modinfoRecord) []string {
	var texts []string
	for _, p := range r.params {
		texts = append(texts, escaped(p))
	}
	slices.Sort(texts)
	return texts
}

// compareSignature compares what modinfo says of the signature.
func compareSignature(d *differences, m *lkm.Module, r *modinfoRecord) {
	d.t.Helper()
	s := m.Linux.Signature
	if s == nil {
		d.check(m, "signature", lkm.SignatureNone,
			map[bool]lkm.SignatureStatus{true: "modinfo shows one", false: lkm.SignatureNone}[r.get("sig_id") != ""])
		return
	}
	d.check(m, "signature.status", m.Signature.Status, lkm.SignatureUnchecked)
	d.check(m, "signature.idType", s.IDType, strings.ToLower(strings.ReplaceAll(r.get("sig_id"), "#", "")))
	d.check(m, "signature.signer", s.Signer, r.get("signer"))
	d.check(m, "signature.keyId", s.KeyID, r.get("sig_key"))
	d.check(m, "signature.hash", s.Hash, r.get("sig_hashalgo"))
	raw, err := hex.DecodeString(strings.Map(hexOnly, r.get("signature")))
	if err != nil || len(raw) == 0 {
		d.t.Fatalf("modinfo's signature of %s: %v", m.Path, err)
	}
	if s.Size <= int64(len(raw)) || s.Size > int64(len(raw))+500 {
		d.check(m, "signature.size", s.Size, fmt.Sprintf("the signature's %d bytes and who made it", len(raw)))
	}
}

func hexOnly(r rune) rune {
	if strings.ContainsRune("0123456789abcdefABCDEF", r) {
		return r
	}
	return -1
}

// compareTypes compares the declared types of all modules' parameters, of which modinfo prints no
// text of its own unless asked.
func compareTypes(t *testing.T, modules []lkm.Module, root string) {
	t.Helper()
	var files, got []string
	for i := range modules {
		files = append(files, root+modules[i].Path)
		got = append(got, modules[i].Linux.Modinfo.Values("parmtype")...)
	}
	var want []string
	for text := range strings.SplitSeq(strings.TrimSuffix(outputs(t, files, "modinfo", "-0", "-F", "parmtype"), "\x00"),
		"\x00") {
		want = append(want, escaped(text))
	}
	if len(want) < 1000 || !slices.Equal(got, want) {
		t.Errorf("the %d types of parameters differ from the %d of modinfo -F", len(got), len(want))
	}
}

// compareELF compares what plain files say with Go's own reader of ELF files: .modinfo to the byte, and the build-id.
func compareELF(d *differences, modules []lkm.Module, root string) {
	d.t.Helper()
	for i := range modules {
		m := &modules[i]
		f, err := elf.Open(root + m.Path)
		if err != nil {
			d.t.Fatal(err)
		}
		info, err1 := f.Section(".modinfo").Data()
		note, err2 := f.Section(".note.gnu.build-id").Data()
		if err := cmp.Or(err1, err2, f.Close()); err != nil || len(note) < 16 {
			d.t.Fatalf("%s: %v, build-id note of %d bytes", m.Path, err, len(note))
		}
		var got strings.Builder
		for _, e := range m.Linux.Modinfo {
			got.WriteString(e.Key + "=" + e.Value + "\x00")
		}
		d.check(m, ".modinfo", got.String(), escaped(string(info)))
		d.check(m, "contentId", m.ContentID, hex.EncodeToString(note[16:]))
	}
}

// comparePrefix compares what was decoded of the beginnings of files with what was decoded of whole files.
func comparePrefix(d *differences, prefix, whole []lkm.Module) {
	d.t.Helper()
	if len(prefix) != len(whole) {
		d.t.Fatalf("%d modules, and %d with signatures", len(prefix), len(whole))
	}
	for i := range prefix {
		w := whole[i]
		detail := *w.Linux
		detail.Signature = nil
		w.Linux, w.Signature = &detail, prefix[i].Signature
		d.check(&w, "decoded as far as needed", encode(d.t, &prefix[i]), encode(d.t, &w))
	}
}

// compareTrees compares two trees of the same modules in different containers, by our own answers:
// nothing may differ but what says which container it is, and what only indexes say.
func compareTrees(t *testing.T, a, b debian.Kernel) {
	t.Helper()
	for _, detail := range []lkm.Detail{lkm.DetailFiles, lkm.DetailFiles | lkm.DetailSignatures} {
		one, two := installed(t, openRoot(t, a.Root, a.Release, detail, withoutKeys)),
			installed(t, openRoot(t, b.Root, b.Release, detail, withoutKeys))
		if len(one) != len(two) || len(one) < 4000 {
			t.Fatalf("%d and %d modules", len(one), len(two))
		}
		d := differences{t: t}
		for i := range one {
			d.check(&one[i], "in another container", encode(t, withoutContainer(one[i])),
				encode(t, withoutContainer(two[i])))
		}
	}
}

func withoutContainer(m lkm.Module) *lkm.Module {
	detail := *m.Linux
	detail.File = plainName(detail.File)
	detail.Compression, detail.FileSize = "", lkm.Count{}
	m.Path, m.Linux, m.Size = plainName(m.Path), &detail, lkm.Count{}
	m.Requires, m.UsedBy, detail.Order = nil, nil, lkm.Count{} // the gzip tree has no indexes
	return &m
}

// plainName returns the path that a module has when it is not compressed.
func plainName(file string) string {
	if ext := path.Ext(file); ext != ".ko" {
		return strings.TrimSuffix(file, ext)
	}
	return file
}
