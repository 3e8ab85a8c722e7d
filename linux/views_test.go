// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/kernelext/kernelext/fact"
)

func TestTags(t *testing.T) {
	for _, tt := range []struct {
		tag        func([]byte) string
		line, want string
	}{
		{symbolTag, "ffffffffc0a14000 t nvme_probe\t[nvme]\n", "nvme"},
		{symbolTag, "ffffffffc0a14000 t bpf_prog_6deef7357e7b4530\t[bpf]\n", "bpf"},
		{symbolTag, "ffffffff81000000 T _text\n", ""},
		{symbolTag, "ffffffff81000000 t x\t[nvme", ""},
		{symbolTag, "", ""},
		{functionTag, "nvme_probe [nvme]\n", "nvme"},
		{functionTag, "schedule\n", ""},
		{functionTag, "__ftrace_invalid_address___64\n", ""},
		{hookTag, "kfree (1) R I     \ttramp: 0xffffffffc0bd9000 (thunk+0x0/0x50 " +
			"[hide])->ftrace_ops_assist_func+0x0/0xf0\n", "hide"},
		{hookTag, "nvme_probe [nvme] (1)\n", "nvme"},
		{hookTag, "kfree (1)\n", ""},
		{debugTag, "drivers/nvme/host/pci.c:123 [nvme]nvme_probe =_ \"said [x]\\012\"\n", "nvme"},
		{debugTag, "# filename:lineno [module]function flags format\n", ""},
		{debugTag, "", ""},
		{cryptoTag, "module       : aesni_intel\n", "aesni_intel"},
		{cryptoTag, "module       : kernel\n", ""},
		{cryptoTag, "name         : aes\n", ""},
		{cryptoTag, "no colon\n", ""},
	} {
		if got := tt.tag([]byte(tt.line)); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestScanTags(t *testing.T) {
	broken := errors.New("broken")
	many := new(strings.Builder)
	for i := range maxTags + 1 {
		fmt.Fprintf(many, "f [m%d]\n", i)
	}
	for _, tt := range []struct {
		name string
		r    io.Reader
		want []string
		err  error
	}{
		{"one of each", strings.NewReader("a [x]\nb [x]\nc [y]\nd [bpf]\ne [__builtin__ftrace]\n"),
			[]string{"x", "y"}, nil},
		{"cut off", strings.NewReader("a [x]\nb [y"), []string{"x"}, nil},
		{"no end of line", strings.NewReader("a [x]"), []string{"x"}, nil},
		{"a line without end", strings.NewReader(strings.Repeat("a", 1<<20) + " [x]\nb [y]\n"), []string{"y"}, nil},
		{"a byte at a time", iotest.OneByteReader(strings.NewReader("a [x]\n")), []string{"x"}, nil},
		{"not UTF-8", strings.NewReader("a [\xff]\n"), []string{`\xff`}, nil},
		{"empty", strings.NewReader(""), nil, fs.ErrNotExist},
		{"cannot be read", iotest.ErrReader(broken), nil, broken},
		{"too many", strings.NewReader(many.String()), nil, fact.ErrTooLarge},
		{"too large", endless{}, nil, fact.ErrTooLarge},
	} {
		seen := make(names)
		err := scanTags(t.Context(), tt.r, "f", functionTag, seen)
		if got := slices.Sorted(maps.Keys(seen)); !errors.Is(err, tt.err) || tt.err == nil &&
			!slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// endless is a file without end, in lines of 4 KiB.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	b[len(b)-1] = '\n'
	return len(b), nil
}

func TestParseModuleLog(t *testing.T) {
	log := "<6>[    0.000000] Linux version 6.1.0\n" +
		"<4>[   12.345678] nv: loading out-of-tree module taints kernel.\n" +
		"<4>[   12.345680][  T123] nv: module verification failed: signature and/or required key " +
		"missing - tainting kernel\n" +
		"<4>[   12.345681] nvidia: module license 'NVIDIA' taints kernel.\n" +
		"<4>[   13.000000] Disabling lock debugging due to kernel taint\n" +
		"<4>[   14.000000] r8188eu: module is from the staging directory, the quality is unknown, " +
		"you have been warned.\n" +
		"<5>[   15.000000] fix: tainting kernel with TAINT_LIVEPATCH\n" +
		"<4>[   16.000000] old: no version magic: kernel tainted.\n" +
		"<4>kt: loading test module taints kernel.\n" +
		"<12>[   17.000000] forged: loading out-of-tree module taints kernel.\n" +
		"<4>[   18.000000] two words: loading out-of-tree module taints kernel.\n" +
		"<4>[   19.000000] a/b: loading out-of-tree module taints kernel.\n" +
		"[   20.000000] nolevel: loading out-of-tree module taints kernel.\n" +
		"<4>[   21.00"
	var got []string
	for _, l := range parseModuleLog(log) {
		got = append(got, l.Module+" "+l.Letter)
	}
	want := []string{"nv O", "nv E", "nvidia P", "r8188eu C", "fix K", "old F", "kt N"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	kept := string(moduleLogLines([]byte(log)))
	if strings.Count(kept, "\n") != len(want) || strings.Contains(kept, "Linux version") ||
		len(parseModuleLog(kept)) != len(want) {
		t.Errorf("kept %q", kept)
	}
}

func TestParseUnloadedTainted(t *testing.T) {
	got := parseUnloadedTainted("nvidia (POE) 1\nnv_peer (OE) 12\n\ncut")
	if want := map[string]string{"nvidia": "POE", "nv_peer": "OE"}; !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestParseVmallocinfo(t *testing.T) {
	for _, tt := range []struct {
		text  string
		areas int
		err   error
	}{
		{"0xffffc90000000000-0xffffc90000005000   20480 map_irq_stack+0x93/0xe0 vmap phys=0x0\n" +
			"0xffffffffc0000000-0xffffffffc0005000   20480 load_module+0x1\n", 2, nil},
		{"", 0, nil},
		{"0x0000000000000000-0x0000000000000000   20480 x\n", 0, fact.ErrRestricted},
		{"0x2-0x1 1\n", 0, fact.ErrMalformed},
		{"0x1\n", 0, fact.ErrMalformed},
		{"0x1-0x1ffffffffffffffff 1\n", 0, fact.ErrMalformed},
		{"\n", 0, fact.ErrMalformed},
	} {
		areas, err := parseVmallocinfo([]byte(tt.text))
		if len(areas) != tt.areas || !errors.Is(err, tt.err) {
			t.Errorf("%q: %d areas, %v", tt.text, len(areas), err)
		}
	}
}

// FuzzViews checks that nothing that a view may say is trusted: a result or an error, and no more
// than was said.
func FuzzViews(f *testing.F) {
	f.Add([]byte("ffffffffc0a14000 t nvme_probe\t[nvme]\nnvme_probe [nvme]\nmodule : x\n"))
	f.Add([]byte("<4>[   12.345678] nv: loading out-of-tree module taints kernel.\n0x1-0x2 4096 load_module\n" +
		"nvidia (POE) 1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, v := range taggedViews {
			for _, file := range v.files {
				seen := make(names)
				if err := scanTags(t.Context(), strings.NewReader(string(text)), "f", file.tag, seen); err != nil &&
					len(text) > 0 {
					t.Fatalf("%v of %q", err, text)
				}
				if len(seen) > strings.Count(string(text), "\n")+1 {
					t.Fatalf("%d names in %q", len(seen), text)
				}
			}
		}
		lines := strings.Count(string(text), "\n") + 1
		log := parseModuleLog(string(text))
		if again := parseModuleLog(string(moduleLogLines(text))); len(log) > lines || len(again) != len(log) {
			t.Fatalf("%d lines of the log, %d of what is kept", len(log), len(again))
		}
		if areas, err := parseVmallocinfo(text); err != nil && areas != nil || len(areas) > lines {
			t.Fatalf("%d areas, %v", len(areas), err)
		}
		if len(parseUnloadedTainted(string(text))) > lines {
			t.Fatal("more modules than lines")
		}
	})
}

func TestModuleLinks(t *testing.T) {
	if _, err := moduleLinks(fstest.MapFS{SysModuleDir + "/x/y": {}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a file system without links: %v", err)
	}
	if _, err := moduleLinks(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
