// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/kernelext/kernelext/lkm"
)

// maxHeld is how many events of a host wait for an earlier one.
const maxHeld = 16

// A Reader turns log records that the receiver made back into the events of lkm.System.Watch, each once and in its
// stream's order, for a lkm.Mirror of each host or for lkm mirror. An event that comes early waits until 16 of its host
// wait; a baseline with everything waits for nothing. It is not safe for concurrent use. The zero value is empty.
type Reader struct {
	hosts  map[string]*source // by the host's name; by the stream's if it has none
	pieces []*pieces          // those that come first are the oldest
}

// A source is what a Reader knows of one host.
type source struct {
	stream string      // of the last event that was returned; empty before the first
	seq    uint64      // its number
	digest string      // the state's digest after it
	old    []string    // the last streams before it
	held   []lkm.Event // those that came early
}

// Read returns the events that are next, of all hosts in the records, and what could not be read. A record of anything
// else is passed over; one that is broken costs only its event.
func (r *Reader) Read(ld plog.Logs) ([]lkm.Event, error) {
	var events []lkm.Event
	var errs []error
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			if sl.Scope().Name() != scopeName {
				continue
			}
			for _, lr := range sl.LogRecords().All() {
				if !strings.HasPrefix(lr.EventName(), prefix) {
					continue
				}
				next, err := r.read(lr)
				events = append(events, next...)
				if err != nil {
					errs = append(errs, fmt.Errorf("record %.80q: %w", lr.EventName(), err))
				}
			}
		}
	}
	return events, errors.Join(errs...)
}

// of returns the source of an event.
func (r *Reader) of(e lkm.Event) *source {
	host := e.Host
	if host == "" {
		host = e.Stream
	}
	if r.hosts == nil {
		r.hosts = make(map[string]*source)
	}
	s := r.hosts[host]
	if s == nil {
		s = new(source)
		r.hosts[host] = s
	}
	return s
}

// read returns the events that are next with this record.
func (r *Reader) read(lr plog.LogRecord) ([]lkm.Event, error) {
	line, err := r.line(lr)
	if line == nil || err != nil {
		return nil, err
	}
	for e, err := range lkm.ReadEvents(bytes.NewReader(line)) { // it keeps the bounds
		if err != nil {
			return nil, err
		}
		return r.of(e).add(e), nil
	}
	return nil, fmt.Errorf("an empty body: %w", lkm.ErrMalformed)
}

// line returns the JSON of a record's event; nil while parts of it are missing.
func (r *Reader) line(lr plog.LogRecord) ([]byte, error) {
	body := lr.Body()
	if of := number(lr, attrParts); of > 0 {
		stream, ok := lr.Attributes().Get(attrStream)
		if !ok || body.Type() != pcommon.ValueTypeStr {
			return nil, fmt.Errorf("a part without a stream, or of type %s: %w", body.Type(), lkm.ErrMalformed)
		}
		return r.join(stream.AsString(), number(lr, attrSeq), number(lr, attrPart), of, body.Str())
	}
	switch body.Type() {
	case pcommon.ValueTypeMap:
		return text(body.Map())
	case pcommon.ValueTypeStr:
		return []byte(body.Str()), nil
	}
	return nil, fmt.Errorf("a body of type %s: %w", body.Type(), lkm.ErrMalformed)
}

// number returns a whole number among a record's attributes; 0 if it is missing.
func number(lr plog.LogRecord, name string) int64 {
	v, ok := lr.Attributes().Get(name)
	if !ok || v.Type() != pcommon.ValueTypeInt {
		return 0
	}
	return v.Int()
}

// add returns the events that are next with e.
func (s *source) add(e lkm.Event) []lkm.Event {
	held := func(h lkm.Event) bool { return h.Stream == e.Stream && h.Seq == e.Seq }
	if s.late(e) || slices.ContainsFunc(s.held, held) {
		return nil
	}
	s.held = append(s.held, e)
	slices.SortStableFunc(s.held, func(a, b lkm.Event) int {
		if a.Stream != b.Stream {
			return cmp.Compare(s.rank(a), s.rank(b))
		}
		return cmp.Compare(a.Seq, b.Seq)
	})
	var out []lkm.Event
	for {
		i := slices.IndexFunc(s.held, s.next)
		switch {
		case i < 0 && len(s.held) <= maxHeld:
			return out
		case i < 0:
			i = 0 // what it waited for is lost: a Mirror reports the gap
		}
		e := s.held[i]
		s.held = slices.Delete(s.held, i, i+1)
		s.passed(e)
		out = append(out, e)
	}
}

// rank sorts the events of the stream that goes on before those of a new one.
func (s *source) rank(e lkm.Event) int {
	if e.Stream == s.stream {
		return 0
	}
	return 1
}

// late reports whether an event came already, or one after it.
func (s *source) late(e lkm.Event) bool {
	return e.Stream == s.stream && e.Seq <= s.seq || slices.Contains(s.old, e.Stream)
}

// next reports whether an event follows the last one.
func (s *source) next(e lkm.Event) bool {
	switch {
	case e.Snapshot != nil:
		return true
	case e.Stream == s.stream:
		return e.Seq == s.seq+1
	}
	return e.Seq == 1 && (e.Since == "" || e.Since == s.digest)
}

// passed notes that an event is returned. Those before it come too late.
func (s *source) passed(e lkm.Event) {
	if e.Stream != s.stream {
		if s.stream != "" {
			s.old = append(s.old[max(0, len(s.old)-maxHeld):], s.stream)
		}
		s.stream = e.Stream
	}
	s.seq, s.digest = e.Seq, e.Digest
	s.held = slices.DeleteFunc(s.held, s.late)
}
