// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// wired returns what OTLP makes of a batch.
func wired(t *testing.T, ld plog.Logs) plog.Logs {
	t.Helper()
	wire, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	got := plogotlp.NewExportRequest()
	if err := got.UnmarshalProto(wire); err != nil {
		t.Fatal(err)
	}
	return got.Logs()
}

// The baseline of every recorded machine is the same on the far side: each byte of its JSON, in one record or in many.
func TestTapes(t *testing.T) {
	for _, name := range lkmtest.Names() {
		tape, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := lkm.ParseDetail("all")
		sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Host: name, Detail: all})
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range sys.Watch(t.Context(), lkm.WatchOptions{}) {
			if err != nil {
				break // a machine without a list
			}
			for _, size := range []int{minRecordBytes, maxRecordBytes} {
				same(t, e, size)
			}
			break
		}
		sys.Close()
	}
}

// same checks that a far side reads an event as it was, and that each record is small and of valid text.
func same(t *testing.T, e lkm.Event, size int) {
	t.Helper()
	c := &encoder{cfg: &Config{Entities: true, MaxRecordBytes: size}, host: e.Host, os: lkm.Linux}
	batches, err := c.encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	var got []lkm.Event
	for _, b := range batches {
		sized := plog.ProtoMarshaler{}
		if n := sized.LogsSize(b); n > 4<<20 {
			t.Errorf("%s: a batch of %d bytes", e.Host, n)
		}
		for _, lr := range b.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			valid(t, e.Host, pcommonMap(lr))
			if n := len(lr.Body().AsString()); lr.Body().Type() == pcommon.ValueTypeStr && n > size {
				t.Errorf("%s: a body of %d bytes, more than %d", e.Host, n, size)
			}
		}
		events, err := r.Read(wired(t, b))
		if err != nil {
			t.Errorf("%s: %v", e.Host, err)
		}
		got = append(got, events...)
	}
	want, _ := json.Marshal(e)
	if len(got) != 1 {
		t.Fatalf("%s: %d events", e.Host, len(got))
	}
	if far, _ := json.Marshal(got[0]); !bytes.Equal(far, want) {
		t.Errorf("%s, records of %d: far  %.2000s\nnear %.2000s", e.Host, size, far, want)
	}
}

// pcommonMap returns all that a record says.
func pcommonMap(lr plog.LogRecord) pcommon.Map {
	m := pcommon.NewMap()
	lr.Attributes().CopyTo(m)
	lr.Body().CopyTo(m.PutEmpty("body"))
	return m
}

// valid checks that every text is UTF-8: one that is not makes a receiver refuse the whole batch.
func valid(t *testing.T, host string, m pcommon.Map) {
	t.Helper()
	for k, v := range m.All() {
		switch v.Type() {
		case pcommon.ValueTypeMap:
			valid(t, host, v.Map())
		case pcommon.ValueTypeStr:
			if !utf8.ValidString(k) || !utf8.ValidString(v.Str()) {
				t.Errorf("%s: %q: %.100q", host, k, v.Str())
			}
		}
	}
}

// Names that an attacker chose arrive as the near side has them.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		"\xff\xfe", "a\x00b", "\u202egnp.exe", "<script>", "\x1b[2J", "\xed\xa0\x80", strings.Repeat("a", 100_000),
		strings.Repeat("\xff", 5_000), "a\u2028b\r", `"}]}`, strings.Repeat("é", 600),
	} {
		m, f := newMachine(name, "nvme"), new(farSide)
		cfg := testConfig()
		cfg.MaxRecordBytes = minRecordBytes
		r := newTest(t, m, cfg, f)
		start(t, r, nil)
		arrives(t, f, m)
		stop(t, r)
		for _, lr := range f.records {
			valid(t, "web-1", pcommonMap(lr))
		}
		if len(f.gaps) > 0 {
			t.Errorf("%.40q: %v", name, f.gaps)
		}
		for _, b := range f.batches {
			if n := new(plog.ProtoMarshaler).LogsSize(b); n > maxBatch+64<<10 {
				t.Errorf("%.40q: a batch of %d bytes", name, n)
			}
		}
	}
}

// A module that is too large for a record is cut as an entity; the event has all of it.
func TestLargeModule(t *testing.T) {
	long := strings.Repeat("é", 8<<10)
	m := &lkm.Module{ID: "linux_module:" + long, Kind: "linux_module", Name: long, Path: "/" + long}
	e := lkm.Event{Stream: "s", Seq: 1, Host: "h", Type: lkm.EventLoad, ID: m.ID, After: m, At: time.Unix(1, 0).UTC()}
	same(t, e, minRecordBytes)
	c := &encoder{cfg: &Config{Entities: true, MaxRecordBytes: minRecordBytes}}
	batches, err := c.encode(e)
	if err != nil {
		t.Fatal(err)
	}
	lr := batches[0].ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	a := lr.Attributes().AsRaw()
	d := a["entity.description"].(map[string]any)
	id := a["entity.id"].(map[string]any)[prefix+"id"].(string)
	if d[prefix+"cut"] != true || len(d[prefix+"name"].(string)) > maxAttribute || len(id) > maxAttribute {
		t.Errorf("%.200v", a)
	}
	if other := identity(m.ID + "2"); other == id {
		t.Error("two long ids are one")
	}
}

// stream returns the records of a stream of n events about one module that comes and goes.
func stream(t *testing.T, name string, n int) []plog.Logs {
	t.Helper()
	m := newMachine()
	f := new(farSide)
	r := newTest(t, m, testConfig(), f)
	start(t, r, nil)
	for i := range n {
		m.load([]string{"a", "b", "c"}[:i%4]...)
		arrives(t, f, m)
	}
	stop(t, r)
	if len(f.gaps) > 0 {
		t.Fatalf("%s: %v", name, f.gaps)
	}
	return f.batches
}

// Records that come in another order within the window, and more than once, are the same events.
func TestReaderOrder(t *testing.T) {
	batches := stream(t, "near", 40)
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var shuffled []plog.Logs
		for i := 0; i < len(batches); i += 8 {
			part := slices.Clone(batches[i:min(i+8, len(batches))])
			part = append(part, part[rnd.IntN(len(part))], batches[rnd.IntN(i+1)])
			rnd.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
			shuffled = append(shuffled, part...)
		}
		var far Reader
		var mirror lkm.Mirror
		seq := uint64(0)
		for _, b := range shuffled {
			events, err := far.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if seq++; e.Seq != seq {
					t.Fatalf("seed %d: event %d after %d", seed, e.Seq, seq-1)
				}
				if err := mirror.Apply(e); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
	}
}

// An event that never comes is a gap, and holds up the others no longer than the window.
func TestReaderGap(t *testing.T) {
	batches := stream(t, "near", 60)
	var far Reader
	var mirror lkm.Mirror
	var gap error
	n := 0
	for i, b := range batches {
		if i == 10 {
			continue
		}
		events, err := far.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			n++
			gap = errors.Join(gap, mirror.Apply(e))
		}
	}
	if !errors.Is(gap, lkm.ErrGap) || n != len(batches)-1 && n < len(batches)-1-maxHeld {
		t.Errorf("%d of %d events, %v", n, len(batches), gap)
	}
}

// record returns one record with the receiver's scope.
func record(fill func(plog.LogRecord)) plog.Logs {
	ld := plog.NewLogs()
	sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scopeName)
	lr := sl.LogRecords().AppendEmpty()
	lr.SetEventName(prefix + "load")
	fill(lr)
	return ld
}

func part(part, of int64, text string) func(plog.LogRecord) {
	return func(lr plog.LogRecord) {
		lr.Attributes().PutStr(attrStream, "s")
		lr.Attributes().PutInt(attrPart, part)
		lr.Attributes().PutInt(attrParts, of)
		lr.Body().SetStr(text)
	}
}

// What is not an event is an error that costs only itself.
func TestReaderHostile(t *testing.T) {
	deep := func(lr plog.LogRecord) {
		v := lr.Body()
		for range 100 {
			v = v.SetEmptyMap().PutEmpty("delta")
		}
	}
	lists := func(lr plog.LogRecord) {
		v := lr.Body().SetEmptyMap().PutEmpty("x")
		for range 100 {
			v = v.SetEmptySlice().AppendEmpty()
		}
	}
	for name, fill := range map[string]func(plog.LogRecord){
		"no body":     func(plog.LogRecord) {},
		"a number":    func(lr plog.LogRecord) { lr.Body().SetInt(1) },
		"no type":     func(lr plog.LogRecord) { lr.Body().SetEmptyMap().PutStr("stream", "s") },
		"bytes":       func(lr plog.LogRecord) { lr.Body().SetEmptyMap().PutEmptyBytes("type").Append(1) },
		"no text":     func(lr plog.LogRecord) { lr.Body().SetStr("") },
		"two lines":   func(lr plog.LogRecord) { lr.Body().SetStr("{\"type\":\n\"load\"}") },
		"deep":        deep,
		"deep lists":  lists,
		"part 0":      part(0, 2, "x"),
		"part 3 of 2": part(3, 2, "x"),
		"many parts":  part(1, 1<<40, "x"),
		"a negative":  part(-1, 1, "x"),
		"no JSON":     part(1, 1, "x"),
		"no stream": func(lr plog.LogRecord) {
			part(1, 2, "x")(lr)
			lr.Attributes().Remove(attrStream)
		},
		"a part that is a map": func(lr plog.LogRecord) {
			part(1, 2, "x")(lr)
			deep(lr)
		},
	} {
		var r Reader
		if events, err := r.Read(record(fill)); len(events) != 0 || err == nil {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
	var r Reader
	for i := range 10_000 { // parts that never become an event
		r.Read(record(func(lr plog.LogRecord) {
			part(1, 1000, strings.Repeat("x", 1000))(lr)
			lr.Attributes().PutStr(attrStream, fmt.Sprint(i))
		}))
		if len(r.pieces) > maxBroken {
			t.Fatalf("%d broken events are kept", len(r.pieces))
		}
	}
	for i := range int64(20) { // one that is larger than an event may be
		r.Read(record(part(i+1, 1000, strings.Repeat("x", maxPieces/10))))
	}
	if size := r.pieceBytes(); size > maxPieces {
		t.Errorf("%d bytes are kept", size)
	}
	foreign := record(part(1, 1, "x"))
	foreign.ResourceLogs().At(0).ScopeLogs().At(0).Scope().SetName("another")
	if events, err := r.Read(foreign); len(events) != 0 || err != nil {
		t.Errorf("another receiver's: %v, %v", events, err)
	}
}

func (r *Reader) pieceBytes() int {
	n := 0
	for _, p := range r.pieces {
		n += p.size
	}
	return n
}

func FuzzReader(f *testing.F) {
	wire, err := plogotlp.NewExportRequestFromLogs(record(func(lr plog.LogRecord) {
		lr.Body().SetEmptyMap().PutStr("type", "load")
	})).MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, wire []byte) {
		got := plogotlp.NewExportRequest()
		if got.UnmarshalProto(wire) != nil {
			return
		}
		var r Reader
		var m lkm.Mirror
		events, _ := r.Read(got.Logs())
		for _, e := range events {
			m.Apply(e)
		}
	})
}

// A number that a value cannot hold makes the body a text: nothing is rounded.
func TestNumbers(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":9223372036854775807}`: true, `{"a":-1}`: true, `{"a":1.5}`: true,
		`{"a":18446744073709551615}`: false, `{"a":1e400}`: false, `[1]`: false, `{"a":[{"b":[]},null,true]}`: true,
	} {
		m := pcommon.NewMap()
		err := fill(m, []byte(text))
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if !ok {
			continue
		}
		if back, err := textOf(m); err != nil || back != text {
			t.Errorf("%s came back as %s, %v", text, back, err)
		}
	}
}

func textOf(m pcommon.Map) (string, error) {
	b, err := text(m)
	return string(b), err
}
