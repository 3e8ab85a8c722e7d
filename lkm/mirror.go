// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"
	"slices"
)

// ErrGap is the error of a [Mirror] whose events do not follow one another: one or more were lost, or changed on their
// way.
var ErrGap = errors.New("gap in the events")

// A Mirror is the far side of a watch: the state that the events of one machine add up to. It equals the state of the
// near side after every event, but for the volatile facts that [Delta] names, or it has an error. The zero value waits
// for a baseline. It is not safe for concurrent use.
type Mirror struct {
	stream string
	seq    uint64
	digest string    // of the last event, whatever its version
	state  *state    // nil before the first baseline
	ahead  bool      // the near side has no state yet: its list was refused when it started
	err    error     // why state is not that of the near side
	left   []reached // the last other streams, the newest last
}

// A reached is how far a stream came.
type reached struct {
	stream string
	seq    uint64
}

// maxLeft is how many streams before the current one a Mirror knows again.
const maxLeft = 16

// MirrorOf returns a Mirror that has a Snapshot already: the one that the near side is given as WatchOptions.Since.
// The Mirror may change the order of its modules, and shares their memory.
func MirrorOf(s *Snapshot) *Mirror { return &Mirror{state: newState(s), ahead: true} }

// Snapshot returns the state as a Snapshot, which shares its modules' memory. It is nil before the first baseline of a
// stream, and not the state of the near side if Err is not nil. TakenAt is the near side's time of the last event
// that confirmed it.
func (m *Mirror) Snapshot() *Snapshot {
	if m.state == nil || m.ahead {
		return nil
	}
	return m.state.snapshot()
}

// Err returns nil if Snapshot is the state of the near side, and else an error that matches ErrGap. Only a baseline
// ends a gap.
func (m *Mirror) Err() error { return m.err }

// Apply adds the next event. The error matches ErrGap if the stream, the sequence number or the digest does not fit, or
// the event is invalid; from then on every event but a baseline returns such an error. A baseline that ends a gap
// within a stream is applied, and still returns ErrGap if events are missing just before it. A new stream may begin at
// any time, with its first event. An event that is not newer than the last of its stream, as far as that is known, is
// never applied: a baseline that comes twice or late is an old state. Nor is a baseline of another stream from earlier
// in the same boot. If the boot is another or unknown, such a baseline is applied, and returns ErrGap all the same:
// lines are in the wrong order, or a clock was set back. A digest of an unknown version is not compared.
func (m *Mirror) Apply(e Event) error {
	skipped := m.stream == e.Stream && e.Seq != m.seq+1
	base, older := m.digest, m.older(e)
	err := m.late(e)
	if err == nil {
		err = m.fits(e, base, skipped)
		if err == nil || e.Stream == m.stream || m.seq == 0 {
			m.follow(e)
		} else {
			m.leave(reached{e.Stream, e.Seq})
		}
	}
	if err == nil {
		err = m.add(e)
	}
	if err == nil && !m.ahead {
		err = m.agrees(e)
	}
	switch {
	case err != nil && err == m.err: // the gap goes on
		return err
	case err != nil:
		m.err = fmt.Errorf("lkm: mirror: %s event %d of stream %q: %w: %w", e.Type, e.Seq, e.Stream, ErrGap, err)
		return m.err
	}
	if e.Type == EventBaseline && !m.ahead {
		m.err = nil
		if skipped && e.Snapshot != nil {
			return fmt.Errorf("lkm: mirror: events before event %d of stream %q are missing: %w",
				e.Seq, e.Stream, ErrGap)
		}
		if older {
			return fmt.Errorf("lkm: mirror: event %d of stream %q is older than those before it: %w: lines are in the "+
				"wrong order, or a clock was set back", e.Seq, e.Stream, ErrGap)
		}
	}
	m.confirm(e)
	return nil
}

// agrees returns why the state is not that of the near side after the event.
func (m *Mirror) agrees(e Event) error {
	switch {
	case e.Digest == "":
		return errors.New("it has no digest")
	case knownDigest(e.Digest) && m.state.digest() != e.Digest:
		return errors.New("the digest does not fit")
	}
	return nil
}

// late returns why an event has no place after those that came.
func (m *Mirror) late(e Event) error {
	last := m.seq
	if e.Stream != m.stream {
		last = 0
		for _, l := range m.left {
			if l.stream == e.Stream {
				last = l.seq
			}
		}
	}
	switch {
	case e.Seq == 0:
		return errors.New("it has no number")
	case e.Seq <= last:
		return fmt.Errorf("it comes late or twice: event %d of the stream came already", last)
	}
	return nil
}

// follow notes which event came last, of which stream.
func (m *Mirror) follow(e Event) {
	if m.stream != e.Stream {
		m.leave(reached{m.stream, m.seq})
	}
	m.stream, m.seq, m.digest = e.Stream, e.Seq, e.Digest
}

// leave notes how far another stream came.
func (m *Mirror) leave(l reached) {
	m.left = slices.DeleteFunc(m.left, func(old reached) bool { return old.stream == l.stream })
	m.left = append(m.left, l)
	m.left = m.left[max(0, len(m.left)-maxLeft):]
}

// fits returns why an event is not the next one: the error of the gap as it is, if that goes on.
func (m *Mirror) fits(e Event, base string, skipped bool) error {
	switch {
	case foreign(e):
		return errors.New("its snapshot is of another host")
	case m.older(e) && m.state.header.BootID != "" && m.state.header.BootID == e.Snapshot.BootID:
		return errors.New("it is older than the state: an earlier stream comes late")
	case e.Type == EventBaseline && e.Snapshot != nil:
		return nil
	case e.Type == EventBaseline && e.Delta != nil:
		return m.fitsBase(e, base)
	case e.Stream != m.stream || e.Seq == 1:
		switch {
		case e.Seq == 1 && e.Digest == "" && e.Type == EventDegraded:
			return nil
		case m.seq > 0 && m.stream != e.Stream:
			return fmt.Errorf("it follows stream %q: its own beginning is missing, or two machines have one name",
				m.stream)
		}
		return errors.New("the beginning of the stream is missing")
	case skipped:
		return fmt.Errorf("the event before it was %d", m.seq)
	}
	return m.err
}

// older reports whether an event is the whole baseline of another stream, from before the state by the machine's clock.
// That is certain within one boot alone, because a clock may be wrong until it is set.
func (m *Mirror) older(e Event) bool {
	return e.Type == EventBaseline && e.Snapshot != nil && m.seq > 0 && e.Stream != m.stream && m.state != nil &&
		!m.ahead && !e.At.IsZero() && e.At.Before(m.state.header.TakenAt)
}

// foreign reports whether an event has facts of a host with another name.
func foreign(e Event) bool {
	s := e.Snapshot
	if s == nil && e.Delta != nil {
		s = e.Delta.Header
	}
	return s != nil && !sameHost(s.Host, e.Host)
}

// fitsBase returns why the difference of a baseline is not from the state. base is the digest of the last event.
func (m *Mirror) fitsBase(e Event, base string) error {
	switch {
	case m.state == nil:
		return errors.New("there is no state that it is the difference from")
	case knownDigest(e.Since) && m.state.digest() == e.Since, !knownDigest(e.Since) && m.err == nil && base == e.Since:
		return nil
	}
	return errors.New("it is the difference from another state")
}

// add applies an event to the state.
func (m *Mirror) add(e Event) error {
	switch {
	case e.Type == EventBaseline && e.Snapshot != nil:
		m.state, m.ahead = newState(e.Snapshot), false
		return nil
	case e.Type == EventBaseline && e.Delta != nil:
		m.ahead = false
		return m.state.apply(e.Delta)
	case e.Seq == 1: // degraded
		m.ahead, m.err = true, nil // the near side knows nothing yet
		return nil
	case m.state == nil || m.ahead:
		return m.wait(e)
	case e.Delta != nil:
		return m.state.apply(e.Delta)
	}
	return m.state.addModule(e)
}

// wait takes an event of a near side that has no state yet.
func (m *Mirror) wait(e Event) error {
	if m.ahead && e.Digest == "" {
		switch e.Type {
		case EventDegraded, EventRecovered, EventHeartbeat:
			return nil
		}
	}
	return errors.New("there is no baseline before it")
}

// addModule applies an event about one module, or about none.
func (st *state) addModule(e Event) error {
	known := st.get(e.ID) != nil
	switch e.Type {
	case EventLoad, EventChange:
		switch {
		case e.After == nil || e.After.ID != e.ID:
			return errors.New("it has no module")
		case known != (e.Type == EventChange):
			return fmt.Errorf("module %q: whether it was loaded does not fit", e.ID)
		}
		st.set(e.After)
	case EventUnload:
		if !known {
			return fmt.Errorf("module %q was not loaded", e.ID)
		}
		st.drop(e.ID)
	case EventLost, EventEpoch, EventHeartbeat, EventDegraded, EventRecovered:
	default: // of a later version: the digest says whether it changed anything
		if !knownDigest(e.Digest) {
			return errors.New("the type is unknown, and so is the version of the digest")
		}
	}
	return nil
}

// confirm notes when the state was last seen.
func (m *Mirror) confirm(e Event) {
	if m.state != nil && !m.ahead && !e.At.IsZero() && e.Code == "" && e.Type != EventLost {
		m.state.header.TakenAt = e.At
	}
}

// apply applies a Delta: as Delta.Apply, and nothing on an error.
func (st *state) apply(d *Delta) error {
	if err := d.check(func(id string) bool { return st.get(id) != nil }); err != nil {
		return err
	}
	for i := range d.Removed {
		st.drop(d.Removed[i].ID)
	}
	for _, changes := range [][]Change{d.Changed, d.Unobserved} {
		for _, c := range changes {
			if c.After != nil {
				st.set(c.After)
			} else {
				st.drop(c.ID)
			}
		}
	}
	for i := range d.Added {
		st.set(&d.Added[i])
	}
	st.setHeader(d.Header)
	return nil
}
