// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxEventLine is the longest line of an event that is read, in bytes.
const maxEventLine = 64 << 20

// ReadEvents yields the events of JSON Lines, as encoding/json writes those of [System.Watch]; lines of many
// watches may be mixed. A line that is not an event, or takes too much memory (ErrTooLarge, more than 64 MiB of text),
// yields an error and costs only itself. An error of the reader, and more than 256 MiB without the end of a line, ends
// the sequence.
func ReadEvents(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			line, err := readLine(in)
			if err != nil && !errors.Is(err, ErrTooLarge) && err != io.EOF {
				yield(Event{}, fmt.Errorf("lkm: read events: line %d: %w", n, err))
				return
			}
			end := err == io.EOF
			if end {
				err = nil
			}
			if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
				var e Event
				if err == nil {
					e, err = decodeEvent(line)
				}
				if err != nil {
					e, err = Event{}, fmt.Errorf("lkm: read events: line %d: %w", n, err)
				}
				if !yield(e, err) {
					return
				}
			}
			if end {
				return
			}
		}
	}
}

// maxSkipped is how much of a line that is too long is passed over, in bytes. More is not text of lines.
const maxSkipped = 4 * maxEventLine

// readLine returns the next line; ErrTooLarge for one that is too long, which is skipped.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for size := 0; ; {
		part, err := in.ReadSlice('\n')
		if size += len(part); size <= maxEventLine {
			line = append(line, part...)
		} else {
			line = nil
		}
		switch {
		case size > maxSkipped:
			return nil, fmt.Errorf("no line ends within %d bytes, the rest is not read", maxSkipped)
		case err == bufio.ErrBufferFull:
		case size > maxEventLine && (err == nil || err == io.EOF):
			return nil, limit.TooLarge("event", maxEventLine)
		default:
			return line, err
		}
	}
}

// rawEvent is an Event whose large parts are not decoded yet.
type rawEvent struct {
	Event
	Snapshot json.RawMessage `json:"snapshot"`
	Delta    json.RawMessage `json:"delta"`
}

// rawDelta is a Delta whose modules are not decoded yet.
type rawDelta struct {
	Schema     int               `json:"schema"`
	Header     json.RawMessage   `json:"header"`
	Added      []json.RawMessage `json:"added"`
	Removed    []json.RawMessage `json:"removed"`
	Changed    []json.RawMessage `json:"changed"`
	Unobserved []json.RawMessage `json:"unobserved"`
}

// decodeEvent decodes a line, whose parts are paid for before they are decoded.
func decodeEvent(line []byte) (Event, error) {
	item := fact.NewBudget(0).Item(int64(len(line)))
	defer item.Done()
	var raw rawEvent
	if err := unmarshalJSON(line, &raw); err != nil {
		return Event{}, err
	}
	e := raw.Event
	if e.Type == "" {
		return Event{}, fmt.Errorf("an event without a type: %w", ErrMalformed)
	}
	var err error
	if e.Snapshot, err = decodePart(raw.Snapshot, item); err != nil {
		return Event{}, err
	}
	if e.Delta, err = decodeDelta(raw.Delta, item); err != nil {
		return Event{}, err
	}
	return e, nil
}

// isNothing reports whether a part of an event is not there.
func isNothing(text json.RawMessage) bool { return len(text) == 0 || string(text) == "null" }

// decodePart decodes the Snapshot of an event; nil if the event has none.
func decodePart(text json.RawMessage, item *fact.Item) (*Snapshot, error) {
	if isNothing(text) {
		return nil, nil
	}
	return decodeSnapshot(bytes.NewReader(text), item)
}

func decodeDelta(text json.RawMessage, item *fact.Item) (*Delta, error) {
	if isNothing(text) {
		return nil, nil
	}
	if err := item.Keep(payFor(text)); err != nil {
		return nil, err
	}
	var raw rawDelta
	if err := unmarshalJSON(text, &raw); err != nil {
		return nil, err
	}
	if raw.Schema > Schema {
		return nil, fmt.Errorf("lkm: decode delta: schema %d is newer than %d, which this version reads: %w",
			raw.Schema, Schema, errors.ErrUnsupported)
	}
	d := &Delta{Schema: raw.Schema}
	var err error
	if d.Header, err = decodePart(raw.Header, item); err != nil {
		return nil, err
	}
	if d.Added, err = decodeList[Module](raw.Added, item); err != nil {
		return nil, err
	}
	if d.Removed, err = decodeList[Module](raw.Removed, item); err != nil {
		return nil, err
	}
	if d.Changed, err = decodeList[Change](raw.Changed, item); err != nil {
		return nil, err
	}
	d.Unobserved, err = decodeList[Change](raw.Unobserved, item)
	return d, err
}

// decodeList decodes modules, or changes of modules, which hold two.
func decodeList[T any](raw []json.RawMessage, item *fact.Item) ([]T, error) {
	list := []T{}
	for _, text := range raw {
		if err := item.Keep(payFor(text) + 2*moduleSize); err != nil {
			return nil, err
		}
		var v T
		if err := unmarshalJSON(text, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// unmarshalJSON is json.Unmarshal, with an error that matches ErrMalformed.
func unmarshalJSON(text []byte, v any) error {
	err := json.Unmarshal(text, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("%w: %s, not an object", ErrMalformed, wrong.Value)
	case errors.As(err, &wrong):
		field := strings.TrimPrefix(wrong.Field, "Event.") // rawEvent embeds it
		return fmt.Errorf("%w: field %q: %s has no place there", ErrMalformed, field, wrong.Value)
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}
