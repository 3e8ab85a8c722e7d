// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/texts"
)

// prelink writes the property list of a collection.
func prelink(members ...string) string {
	return `<dict><key>_PrelinkKCID</key>` + fakedarwin.KCID(1) + `<key>_BootKCID</key>` + fakedarwin.KCID(2) +
		`<key>_PrelinkLinkKASLROffsets</key><data>AAAA</data>` +
		`<key>_PrelinkInfoDictionary</key><array>` + strings.Join(members, "") + `</array></dict>`
}

func readCollectionBytes(name string, b []byte) (collection, []fact.Problem, error) {
	var r fact.Report
	c, err := collectionReader{Architecture: "x86_64", Personalities: true}.read(name, bytes.NewReader(b),
		int64(len(b)), r.Budget.Item(int64(len(b))), &r)
	return c, r.Problems, err
}

func TestCollection(t *testing.T) {
	plain := fakedarwin.Collection("x86_64", prelink(fakedarwin.PrelinkKext("com.apple.a", "1.0", 0xffffff8000200000),
		fakedarwin.PrelinkKext("com.apple.b", "2.0", noLoadAddress)), "com.apple.a", "com.apple.kernel")
	other := fakedarwin.Collection("arm64e", prelink(fakedarwin.PrelinkKext("com.apple.c", "3.0", 1)), "com.apple.c")
	for name, tt := range map[string]struct {
		data     []byte
		wrappers string
	}{
		"thin": {plain, "[]"}, "fat": {fakedarwin.Fat(other, plain), "[fat]"},
		"im4p":        {fakedarwin.IM4P("krnl", plain), "[im4p]"},
		"img4":        {fakedarwin.IMG4(fakedarwin.IM4P("krnl", plain)), "[img4 im4p]"},
		"fat in im4p": {fakedarwin.IM4P("krnl", fakedarwin.Fat(plain)), "[im4p fat]"},
	} {
		c, problems, err := readCollectionBytes("System/Library/KernelCollections/AuxiliaryKernelExtensions.kc",
			tt.data)
		if err != nil || len(problems) != 0 {
			t.Errorf("%s: %v, %v", name, err, problems)
			continue
		}
		if got := fmt.Sprint(c.Wrappers); got != tt.wrappers || c.Kind != KindAuxiliary || c.Type != "fileset" ||
			c.Receipt != fact.No || c.Architecture != "x86_64" {
			t.Errorf("%s: %s, %+v", name, got, c)
		}
		if c.ID != "01010101-0101-0101-0101-010101010101" || c.BootID != "02020202-0202-0202-0202-020202020202" {
			t.Errorf("%s: ids %s, %s", name, c.ID, c.BootID)
		}
		if len(c.Members) != 2 {
			t.Errorf("%s: %d members", name, len(c.Members))
			continue
		}
		a, b := c.Members[0], c.Members[1]
		if a.Identifier != "com.apple.a" || a.Version != "1.0" || a.LoadAddress != 0xffffff8000200000 ||
			a.Size.String() != "16384" || a.SourceVersion != "1.0" ||
			a.UUID != formatUUID([]byte("member-000000000")) ||
			a.ExecutablePath != "/System/Library/Extensions/com.apple.a.kext/Contents/MacOS/x" ||
			len(a.Personalities) != 1 || a.Libraries[0].BundleID != "com.apple.kpi.bsd" {
			t.Errorf("%s: %+v", name, a)
		}
		if b.LoadAddress != 0 || b.UUID != "" || b.Size.String() != "?" {
			t.Errorf("%s: kext without code: %+v", name, b)
		}
	}
}

// TestCompressedCollections wraps one collection in every container, and reads the same of each.
func TestCompressedCollections(t *testing.T) {
	plain := fakedarwin.Collection("x86_64", prelink(fakedarwin.PrelinkKext("com.apple.a", "1.0", 0xffffff8000200000),
		fakedarwin.PrelinkKext("com.apple.b", "2.0", noLoadAddress)), "com.apple.a", "com.apple.kernel")
	want, _, err := readCollectionBytes("kernelcache", plain)
	if err != nil || len(want.Members) != 2 {
		t.Fatal(err)
	}
	im4p := func(payload []byte) []byte { return fakedarwin.IM4P("krnl", payload) }
	lzfse := fakedarwin.LZFSE(plain)
	for name, tt := range map[string]struct {
		data                  []byte
		compression, wrappers string
	}{
		"comp lzss":     {fakedarwin.CompOf("lzss", plain), "lzss", "[comp]"},
		"comp lzvn":     {fakedarwin.CompOf("lzvn", plain), "lzvn", "[comp]"},
		"fat with comp": {rawFat(fakedarwin.CompOf("lzvn", plain)), "lzvn", "[fat comp]"},
		"bare lzfse":    {lzfse, "lzfse", "[]"},
		"im4p lzfse":    {im4p(lzfse), "lzfse", "[im4p]"},
		"im4p comp":     {im4p(fakedarwin.CompOf("lzss", plain)), "lzss", "[im4p comp]"},
		"img4 lzfse":    {fakedarwin.IMG4(im4p(lzfse)), "lzfse", "[img4 im4p]"},
		"img4 lzfse fat": {fakedarwin.IMG4(im4p(fakedarwin.LZFSE(fakedarwin.Fat(plain)))), "lzfse",
			"[img4 im4p fat]"},
		"comp without sum": {withoutSum(fakedarwin.CompOf("lzvn", plain)), "lzvn", "[comp]"},
	} {
		c, problems, err := readCollectionBytes("kernelcache", tt.data)
		if err != nil || len(problems) != 0 || c.Compression != tt.compression ||
			fmt.Sprint(c.Wrappers) != tt.wrappers {
			t.Errorf("%s: %s, %s, %v, %v", name, c.Compression, c.Wrappers, problems, err)
		}
		if !reflect.DeepEqual(want.Members, c.Members) || c.ID != want.ID || c.UUID != want.UUID {
			t.Errorf("%s: %+v", name, c)
		}
	}
	damaged := fakedarwin.CompOf("lzvn", plain)
	damaged[8] ^= 1
	c, _, err := readCollectionBytes("kernelcache", damaged)
	if !errors.Is(err, fact.ErrMalformed) || len(c.Members) != 0 || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("wrong checksum: %d members, %v", len(c.Members), err)
	}
	twice := im4p(fakedarwin.LZFSE(fakedarwin.LZFSE(plain)))
	if _, _, err := readCollectionBytes("kernelcache", twice); !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("compressed twice: %v", err)
	}
	locked := fakedarwin.LockedIM4P("krnl", bytes.Repeat([]byte("secret"), 100))
	_, _, err = readCollectionBytes("kernelcache", locked)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("encrypted: %v", err)
	}
	if c, _, err := readCollectionBytes("kernelcache", fakedarwin.LockedIM4P("krnl", lzfse)); err != nil ||
		len(c.Members) != 2 {
		t.Errorf("decrypted, with its keys still there: %v", err)
	}
}

// withoutSum takes the checksum out of a compressed kernel's header.
func withoutSum(b []byte) []byte {
	copy(b[8:12], make([]byte, 4))
	return b
}

// TestPrelinkedKernel reads the UUIDs of kexts that have no entry of a fileset, in the order of their addresses.
func TestPrelinkedKernel(t *testing.T) {
	const base = 0xffffff7f80a00000
	members := []string{
		fakedarwin.PrelinkKext("com.apple.a", "1.0", 0xffffff7f81000000),
		fakedarwin.PrelinkKext("com.apple.b", "2.0", base+0x1000),
		fakedarwin.PrelinkKext("com.apple.lost", "3.0", base+0x3000),
		fakedarwin.PrelinkKext("com.apple.elsewhere", "4.0", 0xffffff8000000000),
	}
	members[0] = strings.TrimSuffix(members[0], "</dict>") +
		fmt.Sprintf(`<key>_PrelinkExecutableSourceAddr</key><integer size="64">0x%x</integer></dict>`,
			uint64(base+0x2000))
	plain := fakedarwin.Prelinked(prelink(members...), base, map[int]string{0x1000: "uuid-of-b-------",
		0x2000: "uuid-of-a-------"})
	for form, data := range map[string][]byte{"plain": plain, "comp": fakedarwin.CompOf("lzss", plain)} {
		c, problems, err := readCollectionBytes("prelinkedkernel", data)
		if err != nil || len(c.Members) != 4 || c.Kind != KindPrelinked {
			t.Errorf("%s: %+v, %v", form, c, err)
			continue
		}
		var uuids []string
		for _, m := range c.Members {
			uuids = append(uuids, m.UUID)
		}
		want := []string{formatUUID([]byte("uuid-of-a-------")), formatUUID([]byte("uuid-of-b-------")), "", ""}
		if !slices.Equal(uuids, want) {
			t.Errorf("%s: %q", form, uuids)
		}
		if len(problems) != 1 || problems[0].Subject != "com.apple.lost" || problems[0].Field != "uuid" {
			t.Errorf("%s: %v", form, problems)
		}
	}
}

// rawFat wraps bytes that are not Mach-O, as old caches are.
func rawFat(payload []byte) []byte {
	head := fakedarwin.NewMacho("x86_64", uint32(typeExecute)).Bytes(32)
	fat := fakedarwin.Fat(append(head, payload...))
	copy(fat[4096:], payload)
	return fat
}

// TestSharedValues reads the dialect of old caches, where values are given once and referred to.
func TestSharedValues(t *testing.T) {
	text := texts.Read(t, "shared-values.plist")
	for form, text := range map[string]string{"dictionary": text,
		"bare array": text[strings.Index(text, "<array"):strings.LastIndex(text, "</dict>")]} {
		b := fakedarwin.Collection("x86_64", text)
		var r fact.Report
		c, err := collectionReader{}.read("prelinkedkernel", bytes.NewReader(b), int64(len(b)),
			r.Budget.Item(int64(len(b))), &r)
		if err != nil || len(r.Problems) != 0 || len(c.Members) != 2 {
			t.Errorf("%s: %+v, %v, %v", form, c, r.Problems, err)
			continue
		}
		a, second := c.Members[0], c.Members[1]
		if a.Libraries[0].Version != "1.0" || second.Version != "1.0" || second.Libraries[0].Version != "1.0" ||
			a.Size.String() != "16" || second.Name != "K" || a.Personalities != nil {
			t.Errorf("%s: %+v\n%+v", form, a, second)
		}
	}
}

func TestHostileCollections(t *testing.T) {
	good := fakedarwin.Collection("x86_64", prelink(fakedarwin.PrelinkKext("com.apple.a", "1.0", 1)), "com.apple.a")
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for name, b := range map[string][]byte{
		"empty": {}, "short": good[:20], "cut commands": good[:100], "cut section": good[:17000],
		"commands too many":  change(func(b []byte) { b[16] = 0xff; b[17] = 0xff }),
		"commands too long":  change(func(b []byte) { b[23] = 0x7f }),
		"command of 0 bytes": change(func(b []byte) { b[36] = 0 }),
		"no prelink":         fakedarwin.NewMacho("x86_64", uint32(typeFileset)).Bytes(4096),
		"text instead":       []byte("#!/bin/sh\necho this is not a kernel collection\n"),
		"im4p cut":           fakedarwin.IM4P("krnl", good)[:40],
		"im4p long length":   {0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7},
		"im4p in im4p in …": fakedarwin.IM4P("a",
			fakedarwin.IM4P("b", fakedarwin.IM4P("c", fakedarwin.IM4P("d", fakedarwin.IM4P("e", good))))),
		"im4p empty": append(fakedarwin.IM4P("krnl", nil), make([]byte, 20)...),
		"fat outside": append([]byte{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1, 1, 0, 0, 7, 0, 0, 0, 3, 0x7f, 0, 0, 0,
			0, 0, 1, 0, 0, 0, 0, 12}, make([]byte, 100)...),
		"xml cut":              fakedarwin.Collection("x86_64", prelink()[:60]),
		"xml of another kind":  fakedarwin.Collection("x86_64", `<string>x</string>`),
		"unknown reference":    fakedarwin.Collection("x86_64", `<array><dict IDREF="5"/></array>`),
		"comp of unknown kind": fakedarwin.Comp("zstd", make([]byte, 100)),
		"lzfse cut":            fakedarwin.LZFSE(good)[:500],
		"lzvn of nothing":      fakedarwin.Comp("lzvn", make([]byte, 100)),
		"lzss of another file": fakedarwin.CompOf("lzss", make([]byte, 5000)),
		"comp too long":        fakedarwin.Comp("lzss", make([]byte, 100))[:compHeader+10],
	} {
		c, _, err := readCollectionBytes("kernelcache", b)
		if err == nil || len(c.Members) != 0 || !errors.Is(err, fact.ErrMalformed) &&
			!errors.Is(err, fact.ErrTooLarge) {
			t.Errorf("%s: %d members, %v", name, len(c.Members), err)
		}
	}
	// A bad member costs itself.
	b := fakedarwin.Collection("x86_64",
		prelink(`<string>no kext</string>`, `<dict><key>CFBundleVersion</key><string>1</string></dict>`,
			`<dict><key>CFBundleIdentifier</key><string>com.apple.x</string><key>CFBundleVersion</key><array/></dict>`,
			fakedarwin.PrelinkKext("com.apple.a", "1.0", 1)), "com.apple.a", "com.apple.lost")
	c, problems, err := readCollectionBytes("x.kc", b)
	if err != nil || len(c.Members) != 2 || len(problems) != 3 {
		t.Errorf("%d members, %d problems %v, %v", len(c.Members), len(problems), problems, err)
	}
}

func TestStale(t *testing.T) {
	all := []collection{{Kind: KindBoot, ID: "A"}, {Kind: KindAuxiliary, BootID: "A"},
		{Kind: KindAuxiliary, BootID: "B"}, {Kind: KindSystem}}
	markStale(all)
	if all[0].Stale != "" || all[1].Stale != fact.No || all[2].Stale != fact.Yes || all[3].Stale != "" {
		t.Errorf("%+v", all)
	}
	unknown := []collection{{Kind: KindAuxiliary, BootID: "B"}}
	markStale(unknown)
	if unknown[0].Stale != "" {
		t.Error("stale without a boot collection to compare with")
	}
}

func TestFindCollections(t *testing.T) {
	files := fstest.MapFS{
		"System/Library/KernelCollections/BootKernelExtensions.kc":                                          {},
		"Library/KernelCollections/AuxiliaryKernelExtensions.kc":                                            {},
		"System/Volumes/Preboot/0A-1B/boot/abcdef/System/Library/Caches/com.apple.kernelcaches/kernelcache": {},
		"System/Volumes/Preboot/0A-1B/boot/abcdef/System/Library/Caches/com.apple.kernelcaches/other":       {},
		"System/Volumes/Preboot/0A-1B/other":                                                                {},
	}
	var r fact.Report
	got := findCollections(files, &r)
	want := []string{"System/Library/KernelCollections/BootKernelExtensions.kc",
		"Library/KernelCollections/AuxiliaryKernelExtensions.kc",
		"System/Volumes/Preboot/0A-1B/boot/abcdef/System/Library/Caches/com.apple.kernelcaches/kernelcache"}
	if !slices.Equal(got, want) || len(r.Problems) != 0 {
		t.Errorf("%q, %v", got, r.Problems)
	}
}

func TestMemberKeysAreSorted(t *testing.T) {
	if !slices.IsSorted(memberKeys) {
		t.Error("memberKeys is searched by halves")
	}
}

// bigCollection writes a sparse file of 300 MB with 500 kexts, whose property list has some MB, and
// returns its path.
func bigCollection(tb testing.TB) string {
	tb.Helper()
	const kexts, size = 500, 300 << 20
	var members, ids []string
	filler := strings.Repeat(`<key>K</key><dict><key>IOClass</key><string>SomeDriverClass</string>`+
		`<key>IOProviderClass</key><string>IOPCIDevice</string><key>IOPCIMatch</key><string>0x15338086 0x15348086 `+
		`0x15358086</string></dict>`, 40)
	for i := range kexts {
		id := fmt.Sprintf("com.apple.driver.Kext%03d", i)
		m := fakedarwin.PrelinkKext(id, "1.0.0", 0xffffff8000000000+uint64(i)<<20)
		members = append(members,
			strings.Replace(m, `<key>IOKitPersonalities</key><dict>`, `<key>IOKitPersonalities</key><dict>`+filler, 1))
		ids = append(ids, id)
	}
	text := prelink(members...)
	w := fakedarwin.NewMacho("x86_64", uint32(typeFileset))
	w.UUID("big")
	const first, step = 1 << 20, 512 << 10
	for i, id := range ids {
		w.Entry(id, uint64(i)<<20, uint64(first+i*step))
	}
	info := int64(size - len(text) - 4096)
	w.Segment("__PRELINK_INFO", "__info", uint64(info), uint64(len(text)))
	name := filepath.Join(tb.TempDir(), "SystemKernelExtensions.kc")
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	write := func(b []byte, at int64) {
		if _, err := f.WriteAt(b, at); err != nil {
			tb.Fatal(err)
		}
	}
	write(w.Bytes(0), 0)
	for i := range ids {
		m := fakedarwin.NewMacho("x86_64", uint32(typeKext))
		m.UUID(fmt.Sprintf("member-%09d", i))
		write(m.Bytes(0), int64(first+i*step))
	}
	write([]byte(text), info)
	if err := f.Truncate(size); err != nil {
		tb.Fatal(err)
	}
	return name
}

// A counter notes how much is read of a file.
type counter struct {
	io.ReaderAt
	bytes int64
}

func (c *counter) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, at)
	c.bytes += int64(n)
	return n, err
}

// TestBigCollection reads 300 MB with little memory: the heap's peak, sampled while it is read with
// the garbage collector held to a tight target, stays under 16 MB, and under 48 MB if it is compressed.
func TestBigCollection(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a sparse file of 300 MB")
	}
	name := bigCollection(t)
	for form, tt := range map[string]struct{ most, read int64 }{
		"": {16 << 20, 8 << 20}, "lzfse": {48 << 20, 8 << 20}, "lzvn": {48 << 20, 8 << 20},
	} {
		packed := name
		if form != "" {
			packed = bigCompressed(t, name, form)
		}
		readBig(t, packed, form, tt.most, tt.read)
	}
}

// readBig reads the big collection in a file, and compares the heap's growth and what is read with their limits.
func readBig(t *testing.T, name, form string, most, read int64) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	debug.FreeOSMemory()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	c := &counter{ReaderAt: sampler{f, func() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapAlloc)
	}}}
	var r fact.Report
	kc, err := collectionReader{Architecture: "x86_64"}.read("SystemKernelExtensions.kc", c, st.Size(),
		r.Budget.Item(st.Size()), &r)
	if err != nil || len(r.Problems) != 0 || len(kc.Members) != 500 || kc.Compression != form {
		t.Fatalf("%d members, %q, %v, %v", len(kc.Members), kc.Compression, r.Problems, err)
	}
	t.Logf("%q: read %d KiB of %d; heap peak %d KiB over %d KiB; allocated in all %d KiB", form, c.bytes>>10,
		st.Size()>>10, (peak-before.HeapAlloc)>>10, before.HeapAlloc>>10, (now.TotalAlloc-before.TotalAlloc)>>10)
	if used := int64(peak - before.HeapAlloc); used > most {
		t.Errorf("%q: the heap grew by %d KiB", form, used>>10)
	}
	if c.bytes > read {
		t.Errorf("%q: read %d KiB", form, c.bytes>>10)
	}
	for i, m := range kc.Members {
		if m.UUID != formatUUID(fmt.Appendf(nil, "member-%09d", i)) {
			t.Fatalf("%q: member %d: %+v", form, i, m)
		}
	}
}

// bigCompressed compresses a file by the MiB, and returns the path of what it makes.
func bigCompressed(t *testing.T, name, form string) string {
	t.Helper()
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out []byte
	sum := adler32.New()
	cache := map[string][]byte{} // most of the file is zeros
	for buf := make([]byte, 1<<20); ; {
		n, err := io.ReadFull(in, buf)
		if n == 0 {
			break
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		sum.Write(buf[:n])
		packed, ok := cache[string(buf[:n])]
		switch {
		case ok:
		case form == "lzvn":
			packed = fakedarwin.LZVN(buf[:n])
			packed = packed[:len(packed)-8] // without the end mark
		default:
			packed = fakedarwin.LZFSEBlocks(buf[:n], 2)
		}
		cache[string(buf[:n])] = packed
		out = append(out, packed...)
	}
	if form == "lzvn" {
		out = fakedarwin.Comp("lzvn", append(out, 6, 0, 0, 0, 0, 0, 0, 0))
		binary.BigEndian.PutUint32(out[8:], sum.Sum32())
		binary.BigEndian.PutUint32(out[12:], 300<<20)
	} else {
		out = fakedarwin.IM4P("krnl", append(out, fakedarwin.LZFSEEnd()...))
	}
	packed := filepath.Join(t.TempDir(), "kernelcache")
	if err := os.WriteFile(packed, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return packed
}

type sampler struct {
	io.ReaderAt
	sample func()
}

func (s sampler) ReadAt(p []byte, at int64) (int, error) {
	s.sample()
	return s.ReaderAt.ReadAt(p, at)
}

func BenchmarkCollection300MB(b *testing.B) {
	f, err := os.Open(bigCollection(b))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (collectionReader{Architecture: "x86_64"}).read("SystemKernelExtensions.kc",
			f, 300<<20, nil, new(fact.Report)); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzCollection(f *testing.F) {
	good := fakedarwin.Collection("x86_64", prelink(fakedarwin.PrelinkKext("com.apple.a", "1.0", 1)), "com.apple.a")
	f.Add(good)
	f.Add(fakedarwin.IM4P("krnl", good))
	f.Add(fakedarwin.Fat(good))
	f.Add(fakedarwin.Comp("lzss", []byte("x")))
	f.Add(fakedarwin.CompOf("lzvn", good))
	f.Add(fakedarwin.IM4P("krnl", fakedarwin.LZFSE(good)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := readCollectionBytes("fuzz", b)
		if err == nil && c.Type == "" {
			t.Fatal("neither value nor error")
		}
		if len(c.Members) > len(b)/10 {
			t.Fatalf("%d members of %d bytes", len(c.Members), len(b))
		}
	})
}
