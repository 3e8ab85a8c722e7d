// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/lkm"
)

// A machine made of a map, in which single questions can fail.
type machine struct {
	fstest.MapFS
	errs   map[string]error // of "op name"
	calls  map[string]string
	blocks chan struct{} // a read of "blocks" waits for it
}

func (m *machine) fail(op, name string) error {
	if err := m.errs[op+" "+name]; err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (m *machine) Open(name string) (fs.File, error) {
	if err := m.fail(opOpen, name); err != nil {
		return nil, err
	}
	f, err := m.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	if name == "blocks" {
		return &blockingFile{f, m.blocks}, nil
	}
	if err := m.fail("read", name); err != nil {
		return &brokenFile{f, err}, nil
	}
	return f, nil
}

func (m *machine) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.fail(opReadDir, name); err != nil {
		return nil, err
	}
	entries, err := m.MapFS.ReadDir(name)
	if partial := m.fail("list", name); partial != nil {
		return entries[:1], partial
	}
	return entries, err
}

func (m *machine) Stat(name string) (fs.FileInfo, error) {
	if err := m.fail(opStat, name); err != nil {
		return nil, err
	}
	return m.MapFS.Stat(name)
}

func (m *machine) Lstat(name string) (fs.FileInfo, error) {
	if err := m.fail(opLstat, name); err != nil {
		return nil, err
	}
	return m.MapFS.Lstat(name)
}

func (m *machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	key := strings.Join(append([]string{op}, args...), " ")
	if err := m.errs["call "+key]; err != nil {
		return nil, err
	}
	if s, ok := m.calls[key]; ok {
		return []byte(s), nil
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

type brokenFile struct {
	fs.File
	err error
}

func (f *brokenFile) Read([]byte) (int, error) { return 0, f.err }

type blockingFile struct {
	fs.File
	until chan struct{}
}

func (f *blockingFile) Read([]byte) (int, error) {
	<-f.until
	return 0, io.EOF
}

func file(content string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(content), Mode: 0o640, ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func newMachine() *machine {
	return &machine{
		MapFS: fstest.MapFS{
			"a/b/file": file("hello\n"), "a/b/empty": file(""), "a/b/binary": file("\x00\x01\x1b"),
			"a/secret": file("x"), "a/broken": file("x"), "a/half/one": file("1"), "a/half/two": file("2"),
			"a/dev":   {Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600},
			"link":    {Data: []byte("a/b"), Mode: fs.ModeSymlink | 0o777},
			"dangles": {Data: []byte("nowhere"), Mode: fs.ModeSymlink | 0o777},
			"marker":  file("-- end --\n"), "long": file(strings.Repeat("0123456789abcdef\n", 2000)),
		},
		errs: map[string]error{
			"open a/secret": fs.ErrPermission, "read a/broken": errors.New("input/output error"),
			"readdir a/closed": fs.ErrPermission, "list a/half": fact.ErrGone, "stat a/nostat": os.ErrDeadlineExceeded,
			"call forbidden": fs.ErrPermission,
		},
		calls:  map[string]string{"uname": "release 6.1\n", "kldstat 3": "x\x00", "empty": ""},
		blocks: make(chan struct{}),
	}
}

// replay returns what r has recorded, by way of its text.
func replay(t testing.TB, r *Recorder) *Tape {
	t.Helper()
	s := text(t, r)
	tp, err := Read(strings.NewReader(s))
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, s)
	}
	if again := text(t, tp); again != s {
		t.Fatalf("the tape is written again in another way:\n%.2000s\nwas\n%.2000s", again, s)
	}
	for _, e := range r.Tape().entries {
		if n := int64(len(e.appendTo(nil))); n > e.textSize() {
			t.Errorf("%s takes %d bytes, estimated %d", e.id, n, e.textSize())
		}
	}
	return tp
}

// A question is something that a machine can be asked, with the answer as text.
type question struct {
	name string
	ask  func(m lkm.Machine) string
}

func result(v any, err error) string {
	return fmt.Sprintf("%v %v", v, fact.CodeOf(err))
}

func describe(fi fs.FileInfo, err error) string {
	if err != nil {
		return result("", err)
	}
	return fmt.Sprint(fi.Name(), fi.Mode(), fi.Size(), fi.ModTime().UTC())
}

func questions() []question {
	names := []string{
		".", "a", "a/b", "a/b/file", "a/b/empty", "a/b/binary", "a/secret", "a/broken", "a/half",
		"a/dev", "a/closed", "a/nostat",
		"link", "link/file", "dangles", "marker", "long", "missing", "a/b/missing", "link/missing",
	}
	var qs []question
	add := func(name string, f func(m lkm.Machine) string) { qs = append(qs, question{name, f}) }
	for _, n := range names {
		add("file "+n, func(m lkm.Machine) string {
			b, err := limit.AppendFile(m, nil, n, 1<<20)
			return result(string(b), err)
		})
		add("attr "+n, func(m lkm.Machine) string {
			b, err := limit.AppendAttr(m, nil, n, 1<<20)
			return result(string(b[:min(len(b), 4096)]), err)
		})
		add("stat "+n, func(m lkm.Machine) string { return describe(fs.Stat(m, n)) })
		add("lstat "+n, func(m lkm.Machine) string { return describe(m.Lstat(n)) })
		add("readlink "+n, func(m lkm.Machine) string { s, err := m.ReadLink(n); return result(s, err) })
		add("readdir "+n, func(m lkm.Machine) string {
			entries, err := m.ReadDir(n)
			s := ""
			for _, d := range entries {
				s += d.Name() + " " + d.Type().String() + " " + describe(d.Info()) + "\n"
			}
			return result(s, err)
		})
		add("open "+n, func(m lkm.Machine) string {
			f, err := m.Open(n)
			if err != nil {
				return result("", err)
			}
			defer f.Close()
			s := describe(f.Stat())
			if d, ok := f.(fs.ReadDirFile); ok && strings.HasPrefix(s, "a") && n == "a" {
				entries, err := d.ReadDir(2)
				rest, err2 := d.ReadDir(-1)
				return s + result(len(entries)+len(rest), errors.Join(err, err2))
			}
			b, err := io.ReadAll(f)
			return s + result(string(b), err)
		})
	}
	for _, c := range []string{"uname", "kldstat 3", "empty", "forbidden", "unknown"} {
		words := strings.Split(c, " ")
		add("call "+c, func(m lkm.Machine) string {
			b, err := m.Call(context.Background(), words[0], words[1:]...)
			return result(string(b), err)
		})
	}
	return qs
}

// Whatever is asked, in any order: the recorder answers as the machine does, and the tape answers
// what was asked as the recorder did.
func TestReplayEqualsMachine(t *testing.T) {
	qs := questions()
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		rng.Shuffle(len(qs), func(i, j int) { qs[i], qs[j] = qs[j], qs[i] })
		asked := qs[:1+rng.IntN(len(qs))]
		r := Record(lkm.FreeBSD, newMachine(), Options{})
		plain := newMachine()
		answers := make([]string, len(asked))
		for i, q := range asked {
			answers[i] = q.ask(r)
			if want := q.ask(plain); answers[i] != want {
				t.Fatalf("%s: the recorder says %q, the machine %q", q.name, answers[i], want)
			}
		}
		tp := replay(t, r)
		for i, q := range asked {
			if got := q.ask(tp); got != answers[i] {
				names := []string{}
				for _, q := range asked {
					names = append(names, q.name)
				}
				t.Fatalf("round %d: %s: the tape says %q, the machine %q\nasked: %q\n%s", round, q.name, got,
					answers[i], names, text(t, tp))
			}
		}
	}
}

// The order of the questions leaves no trace, and a tape that is recorded is the same tape.
func TestRecordIsStable(t *testing.T) {
	qs := questions()
	record := func(m lkm.Machine, o Options) *Recorder {
		r := Record(lkm.FreeBSD, m, o)
		for _, q := range qs {
			q.ask(r)
		}
		return r
	}
	first := text(t, record(newMachine(), Options{}))
	slices.Reverse(qs)
	if got := text(t, record(newMachine(), Options{})); got != first {
		t.Errorf("asked the other way round: %s", golden.Diff(first, got))
	}
	tp, err := Read(strings.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, record(tp, Options{})); got != first {
		t.Errorf("recorded from the tape: %s", golden.Diff(first, got))
	}
}

func TestRecordConcurrently(t *testing.T) {
	m := newMachine()
	r := Record(lkm.FreeBSD, m, Options{})
	alone := Record(lkm.FreeBSD, m, Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, q := range questions() {
				q.ask(r)
			}
			r.Tape()
		})
	}
	wg.Wait()
	for _, q := range questions() {
		q.ask(alone)
	}
	if text(t, r) != text(t, alone) {
		t.Error("four at once recorded another tape than one")
	}
}

func TestRecordOpenFiles(t *testing.T) {
	m := newMachine()
	r := Record(lkm.FreeBSD, m, Options{})
	probed, _ := r.Open("a/b/empty")
	probed.Close()
	held, err := r.Open("long")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	held.Read(buf)
	at := held.(io.ReaderAt)
	at.ReadAt(buf, 1000)
	at.ReadAt(buf, 1003)
	at.ReadAt(buf, 990)
	tp := replay(t, r) // while long is open
	f, err := tp.Open("long")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if n, err := f.(io.ReaderAt).ReadAt(got, 1000); n != 8 || err != nil ||
		string(got) != string(m.MapFS["long"].Data[1000:1008]) {
		t.Errorf("merged pieces: %q, %v", got[:n], err)
	}
	_, err = f.(io.ReaderAt).ReadAt(got, 995)
	wantErr(t, "between the pieces", err, fact.ErrUnrecorded)
	if n, err := f.Read(got); n != 5 || err != nil {
		t.Errorf("the start: %d, %v", n, err)
	}
	_, err = f.Read(got)
	wantErr(t, "after the start", err, fact.ErrUnrecorded)
	f, err = tp.Open("a/b/empty")
	if err != nil {
		t.Fatalf("a file that was opened and not read: %v", err)
	}
	_, err = f.Read(got)
	wantErr(t, "its content", err, fact.ErrUnrecorded)
	held.Close()
}

// A descriptor that is read again and again gives the last content.
func TestRecordHeldDescriptor(t *testing.T) {
	m := newMachine()
	for name, read := range map[string]func(f fs.File, buf []byte) (int, error){
		"ReadAt": func(f fs.File, buf []byte) (int, error) { return f.(io.ReaderAt).ReadAt(buf, 0) },
		"Seek": func(f fs.File, buf []byte) (int, error) {
			f.(io.Seeker).Seek(0, io.SeekStart)
			return io.ReadFull(f, buf)
		},
	} {
		counter := file("99\n")
		m.MapFS["seqnum"] = counter
		r := Record(lkm.FreeBSD, m, Options{})
		buf := make([]byte, 32)
		for _, value := range []string{"99\n", "100\n", "7\n"} {
			m.MapFS["seqnum"] = file(value)
			f, err := r.Open("seqnum") // MapFS gives a file the content from when it was opened
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				n, _ := read(f, buf)
				if string(buf[:n]) != value {
					t.Errorf("%s: %q, want %q", name, buf[:n], value)
				}
			}
			if b, err := reader(replay(t, r)).AppendFile(nil, "seqnum", 100); string(b) != value || err != nil {
				t.Errorf("%s: on the tape: %q, %v; want %q", name, b, err, value)
			}
		}
	}
}

func TestAddPieceChanged(t *testing.T) {
	e := &entry{}
	e.addPiece(0, []byte("abcd"), 100)
	e.addPiece(10, []byte("xyz"), 100)
	if e.addPiece(2, []byte("cdef"), 100); len(e.pieces) != 2 || string(e.pieces[0].data) != "abcdef" {
		t.Errorf("%q", e.pieces)
	}
	if e.addPiece(4, []byte("EF"), 100); len(e.pieces) != 1 || e.pieces[0].off != 4 {
		t.Errorf("the file has changed, and old bytes are still there: %q", e.pieces)
	}
	if !e.addPiece(50, make([]byte, 99), 100) || len(e.pieces) != 1 {
		t.Errorf("past the limit: %d pieces", len(e.pieces))
	}
}

// addPiece keeps exactly the bytes that were read.
func TestAddPieceRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	content := make([]byte, 300)
	for i := range content {
		content[i] = byte(rng.Uint32())
	}
	for range 200 {
		e, known := &entry{id: id{kind: KindFile}}, make([]bool, len(content))
		for range 1 + rng.IntN(20) {
			off := rng.IntN(len(content))
			n := 1 + rng.IntN(min(40, len(content)-off))
			e.addPiece(int64(off), content[off:off+n], 1000)
			for i := off; i < off+n; i++ {
				known[i] = true
			}
		}
		last := int64(-1)
		for _, p := range e.pieces {
			if p.off <= last {
				t.Fatalf("pieces touch or are out of order")
			}
			last = p.end()
		}
		for i := range content {
			var b [1]byte
			if n := e.copyAt(b[:], int64(i)); (n == 1) != known[i] || n == 1 && b[0] != content[i] {
				t.Fatalf("byte %d: %d bytes, %v", i, n, known[i])
			}
		}
	}
}

func TestRecordCaps(t *testing.T) {
	m := newMachine()
	big := bytes.Repeat([]byte("0123456789abcde\n"), EntryCap/16+1000)
	m.MapFS["big"] = &fstest.MapFile{Data: big}
	r := Record(lkm.FreeBSD, m, Options{})
	if b, err := limit.ReadFile(r, "big", 1<<30); err != nil || !bytes.Equal(b, big) {
		t.Fatalf("the recorder cut what it passed on: %d bytes, %v", len(b), err)
	}
	b, err := limit.ReadFile(replay(t, r), "big", 1<<30)
	if !bytes.Equal(b, big[:EntryCap]) || !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("on the tape: %d bytes, %v", len(b), err)
	}
	// The same through Open, in small reads, and with pieces at the end.
	r = Record(lkm.FreeBSD, m, Options{})
	f, _ := r.Open("big")
	if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, make([]byte, 4096)); n != int64(len(big)) ||
		err != nil {
		t.Fatal(n, err)
	}
	f.Close()
	b, err = limit.ReadFile(replay(t, r), "big", 1<<30)
	if !bytes.Equal(b, big[:EntryCap]) || !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("streamed: %d bytes, %v", len(b), err)
	}
	f, _ = r.Open("big")
	tail := make([]byte, 100)
	f.(io.ReaderAt).ReadAt(tail, int64(len(big)-100))
	f.Close()
	f, err = replay(t, r).Open("big")
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	if n, err := f.(io.ReaderAt).ReadAt(got, int64(len(big)-100)); n != 100 || err != nil || !bytes.Equal(got, tail) {
		t.Errorf("a piece of a file that is too large: %d, %v", n, err)
	}
	if _, err = f.(io.ReaderAt).ReadAt(got, 0); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("the rest of it: %v", err)
	}
}

// A full tape loses answers, says so, and can still be read.
func TestRecordTapeFull(t *testing.T) {
	m := newMachine()
	for i := range 200 {
		m.MapFS[fmt.Sprintf("many/%03d", i)] = file(strings.Repeat("x", 1000) + "\n")
	}
	r := Record(lkm.FreeBSD, m, Options{})
	r.tapeCap = 51_000
	whole, large, none := 0, 0, 0
	for i := range 200 {
		limit.ReadFile(r, fmt.Sprintf("many/%03d", i), 1<<20)
	}
	tp := replay(t, r)
	for i := range 200 {
		_, err := limit.ReadFile(tp, fmt.Sprintf("many/%03d", i), 1<<20)
		switch fact.CodeOf(err) {
		case "":
			whole++
		case fact.CodeTooLarge:
			large++
		case fact.CodeUnrecorded:
			none++
		}
	}
	if whole < 30 || large == 0 || whole+large+none != 200 || tp.Header().Dropped != large+none {
		t.Errorf("%d whole, %d too large, %d not recorded, %d dropped", whole, large, none, tp.Header().Dropped)
	}
	if n := len(text(t, tp)); n > 51_000+headerReserve {
		t.Errorf("the tape has %d bytes", n)
	}
	if r.used > r.tapeCap {
		t.Errorf("%d used of %d", r.used, r.tapeCap)
	}
}

// A file whose read never returns is a timeout on the tape, and does not keep it from being
// written.
func TestRecordBlockedRead(t *testing.T) {
	m := newMachine()
	m.MapFS["blocks"] = file("")
	r := Record(lkm.FreeBSD, m, Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		limit.ReadFile(r, "blocks", 100)
	}()
	for {
		r.mu.Lock()
		n := len(r.waiting)
		r.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	f, err := r.Open("blocks")
	if err != nil {
		t.Fatal(err)
	}
	go f.Read(make([]byte, 1))
	_, err = reader(replay(t, r)).AppendFile(nil, "blocks", 100)
	if fact.CodeOf(err) != fact.CodeTimeout && fact.CodeOf(err) != fact.CodeUnrecorded {
		t.Errorf("blocked: %v", err)
	}
	f2 := Record(lkm.FreeBSD, m, Options{})
	go limit.ReadFile(f2, "blocks", 100)
	for len(f2.Tape().entries) == 0 {
		time.Sleep(time.Millisecond)
	}
	_, err = reader(replay(t, f2)).AppendFile(nil, "blocks", 100)
	wantErr(t, "blocked", err, os.ErrDeadlineExceeded)
	close(m.blocks)
	<-done
	if b, err := reader(replay(t, r)).AppendFile(nil, "blocks", 100); len(b) != 0 || err != nil {
		t.Errorf("after it returned: %q, %v", b, err)
	}
}

const modulesText = "nvme 57344 3 - Live 0xffffffffc0a00000 (OE)\n0x12 4096 0 0xabc, Live 0x0000000000000000\n"

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

// Names that no tape can hold are passed on and not recorded.
func TestRecordInvalidNames(t *testing.T) {
	r := Record(lkm.FreeBSD, newMachine(), Options{})
	for _, name := range []string{"/a", "a/../b", "", "a\xff"} {
		if _, err := r.Open(name); err == nil {
			t.Errorf("%q was opened", name)
		}
		r.ReadDir(name)
		r.Stat(name)
		r.Lstat(name)
		r.ReadLink(name)
		limit.ReadFile(r, name, 10)
	}
	if n := len(r.Tape().Entries()); n != 0 {
		t.Errorf("%d entries", n)
	}
}

func TestRecordCancelledCall(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m := newMachine()
	m.errs["call uname"] = context.Canceled
	r := Record(lkm.FreeBSD, m, Options{})
	if _, err := r.Call(ctx, "uname"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := len(r.Tape().Entries()); n != 0 {
		t.Errorf("a call that its caller gave up is on the tape: %v", r.Tape().Entries())
	}
}

func BenchmarkRead(b *testing.B) {
	m := newMachine()
	for i := range 2000 {
		m.MapFS[fmt.Sprintf("sys/module/m%04d/version", i)] = file("1.0\n")
	}
	r := Record(lkm.FreeBSD, m, Options{})
	for name := range m.MapFS {
		limit.ReadFile(r, name, 1<<20)
	}
	s := text(b, r)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		if _, err := Read(strings.NewReader(s)); err != nil {
			b.Fatal(err)
		}
	}
}
