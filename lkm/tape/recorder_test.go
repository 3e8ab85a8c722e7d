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
