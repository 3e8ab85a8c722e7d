// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/lkm"
)

func linuxMachine() *machine {
	return &machine{MapFS: fstest.MapFS{
		"proc/modules":                             file(modulesText),
		"proc/cmdline":                             file("root=UUID=1234 module_blacklist=a,b quiet\n"),
		"sys/module/nvme/parameters/queues":        file("8\n"),
		"sys/module/nvme/parameters/empty":         file(""),
		"sys/module/nvme/sections/.text":           file("0xffffffffc0a00000\n"),
		"sys/module/module/parameters/sig_enforce": file("N\n"),
	}, calls: map[string]string{"uname": "release 6.1\n"}}
}

func TestRecordRedacts(t *testing.T) {
	r := Record(lkm.Linux, linuxMachine(), Options{})
	for name := range linuxMachine().MapFS {
		live, err := limit.ReadFile(r, name, 1<<20)
		if err != nil || string(live) != string(linuxMachine().MapFS[name].Data) {
			t.Errorf("%s: the recorder altered what it passed on: %q, %v", name, live, err)
		}
		if r.Redacted(name) {
			t.Errorf("%s: the recorder says that the live answer was redacted", name)
		}
	}
	tp := replay(t, r)
	for name, want := range map[string]string{
		"proc/modules": "nvme 57344 3 - Live 0x0000000000000000 (OE)\n0x12 4096 0 0xabc, Live 0x0000000000000000\n",
		"proc/cmdline": "root=[redacted] module_blacklist=a,b [redacted]\n",
		"sys/module/module/parameters/sig_enforce": "N\n", "sys/module/nvme/parameters/empty": "",
	} {
		b, err := limit.ReadFile(tp, name, 1<<20)
		if string(b) != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, b, err, want)
		}
		if altered := want != string(linuxMachine().MapFS[name].Data); tp.Redacted(name) != altered {
			t.Errorf("%s: redacted is not %v", name, altered)
		}
	}
	for _, name := range []string{"sys/module/nvme/parameters/queues", "sys/module/nvme/sections/.text"} {
		_, err := limit.ReadFile(tp, name, 1<<20)
		wantErr(t, name, err, fact.ErrRedacted)
		if !tp.Redacted(name) {
			t.Errorf("%s is not redacted", name)
		}
	}
	s := text(t, tp)
	for _, secret := range []string{"c0a00000", "1234", "quiet", "\n8\n"} {
		if strings.Contains(s, secret) {
			t.Errorf("%q is on the tape:\n%s", secret, s)
		}
	}
	if got := tp.Header().Redactions; !slices.Contains(got, "addresses") {
		t.Errorf("the header's redactions: %q", got)
	}
	// A recording of the tape keeps saying that it was redacted.
	r = Record(lkm.Linux, tp, Options{})
	limit.ReadFile(r, "proc/modules", 1<<20)
	if !replay(t, r).Redacted("proc/modules") || !r.Redacted("proc/modules") {
		t.Error("recorded again, the tape looks unredacted")
	}
}

func TestRecordUnredacted(t *testing.T) {
	r := Record(lkm.Linux, linuxMachine(), Options{Unredacted: true, Header: Header{Producer: "test"}})
	limit.ReadFile(r, "proc/modules", 1<<20)
	r.Describe("6.1", "x86_64", "root")
	tp := replay(t, r)
	if b, _ := limit.ReadFile(tp, "proc/modules", 1<<20); string(b) != modulesText {
		t.Errorf("%q", b)
	}
	h := tp.Header()
	if h.Redactions != nil || h.Producer != "test" || h.Release != "6.1" || h.Privilege != "root" || h.OS != lkm.Linux {
		t.Errorf("%+v", h)
	}
}

// Redaction does not depend on how a file was read.
func TestRecordRedactsStreams(t *testing.T) {
	m := linuxMachine()
	var all, kept strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&all, "ffffffff%08x t symbol_number_%d_of_the_kernel\n", i+1, i)
	}
	for i := range 3000 {
		fmt.Fprintf(&all, "ffffffffc%07x t symbol_%d\t[mod%d]\n", i, i, i%7)
		fmt.Fprintf(&kept, "0000000000000000 t symbol_%d\t[mod%d]\n", i, i%7)
	}
	m.MapFS["proc/kallsyms"] = file(all.String())
	if all.Len() < 2*EntryCap {
		t.Fatal("the file is too small for this test")
	}
	for name, readAll := range map[string]func(r *Recorder){
		"whole": func(r *Recorder) { limit.ReadFile(r, "proc/kallsyms", 1<<30) },
		"stream": func(r *Recorder) {
			f, _ := r.Open("proc/kallsyms")
			defer f.Close()
			io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 4000))
		},
		"twice on one descriptor": func(r *Recorder) {
			f, _ := r.Open("proc/kallsyms")
			defer f.Close()
			for range 2 {
				f.(io.Seeker).Seek(0, io.SeekStart)
				io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 65536))
			}
		},
	} {
		r := Record(lkm.Linux, m, Options{})
		readAll(r)
		tp := replay(t, r)
		b, err := limit.ReadFile(tp, "proc/kallsyms", 1<<30)
		if string(b) != kept.String() || err != nil || !tp.Redacted("proc/kallsyms") {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(b), kept.Len(), err)
		}
	}
	// Where a part alone was read, either its redacted lines are kept or nothing is.
	r := Record(lkm.Linux, m, Options{})
	f, _ := r.Open("proc/modules")
	f.Read(make([]byte, 45))
	f.Close()
	b, err := limit.ReadFile(replay(t, r), "proc/modules", 1<<20)
	wantErr(t, "the rest", err, fact.ErrUnrecorded)
	if want := strings.ReplaceAll(modulesText, "ffffffffc0a00000", "0000000000000000")[:45]; string(b) != want {
		t.Errorf("a part: %q, want %q", b, want)
	}
	r = Record(lkm.Linux, m, Options{})
	f, _ = r.Open("proc/modules")
	f.(io.ReaderAt).ReadAt(make([]byte, 20), 25)
	f.Close()
	_, err = limit.ReadFile(replay(t, r), "proc/modules", 1<<20)
	wantErr(t, "a piece with an address", err, fact.ErrRedacted)
}

func TestRecordFolds(t *testing.T) {
	m := &machine{MapFS: fstest.MapFS{"C:/Windows/A.sys": file("MZ\n")}}
	r := Record(lkm.Windows, m, Options{})
	limit.ReadFile(r, "C:/Windows/A.sys", 100)
	r.ReadDir("C:/Windows")
	tp := replay(t, r)
	if b, err := reader(tp).AppendFile(nil, "C:/WINDOWS/a.SYS", 100); string(b) != "MZ\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if entries, err := tp.ReadDir("c:/windows"); err != nil || entries[0].Name() != "A.sys" {
		t.Errorf("%v, %v", entries, err)
	}
}
