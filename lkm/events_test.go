// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/lkm"
)

// What encoding/json writes is read back; a bad line costs itself.
func TestReadEvents(t *testing.T) {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	events := someEvents()
	snap := events[len(events)-1].Snapshot
	events = append(events, lkm.Event{Type: lkm.EventChange, Seq: 7, Delta: lkm.Diff(snap, snap)})
	for _, e := range events {
		text.WriteString("\n{\n[1]\n{\"seq\":1}\n\"x\"\n{\"type\":\"load\",\"delta\":{\"added\":[7]}}\n")
		out.Encode(e)
	}
	var got []lkm.Event
	bad := 0
	for e, err := range lkm.ReadEvents(&text) {
		switch {
		case err == nil:
			got = append(got, e)
		case errors.Is(err, lkm.ErrMalformed):
			bad++
		default:
			t.Error(err)
		}
	}
	want, _ := json.Marshal(events)
	if have, _ := json.Marshal(got); !bytes.Equal(want, have) {
		t.Error(cmp.Diff(string(want), string(have)))
	}
	if bad != 5*len(events) {
		t.Errorf("%d bad lines, want %d", bad, 5*len(events))
	}
}

// A line that is too long, or that would take too much memory, costs itself.
func TestReadEventsIsBounded(t *testing.T) {
	line := func(format, item string, n int) string { return fmt.Sprintf(format, strings.Repeat(item+",", n)+item) }
	for name, text := range map[string]string{
		"long": strings.Repeat("x", 65<<20),
		"snapshot": line(`{"type":"baseline","snapshot":{"schema":0,"sources":[],"modules":[%s]}}`,
			`{}`, 100_000),
		"added":  line(`{"type":"change","delta":{"added":[%s]}}`, `{}`, 100_000),
		"change": line(`{"type":"change","delta":{"changed":[%s]}}`, `{}`, 100_000),
	} {
		results := ""
		for e, err := range lkm.ReadEvents(strings.NewReader(text + "\n{\"type\":\"lost\"}\n")) {
			if err != nil && !errors.Is(err, lkm.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
			results += fmt.Sprint(e.Type, err != nil, " ")
		}
		if results != "true lostfalse " {
			t.Errorf("%s: %s", name, results)
		}
	}
	for _, err := range lkm.ReadEvents(io.MultiReader(strings.NewReader("{\"type\""), failing{})) {
		if !errors.Is(err, errBroken) {
			t.Error(err)
		}
	}
}

var errBroken = errors.New("broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// Whatever the lines are, reading them and adding them up ends without a panic, and every state that is not marked has
// the digest of its event.
func FuzzEvents(f *testing.F) {
	var text bytes.Buffer
	for _, e := range someEvents() {
		json.NewEncoder(&text).Encode(e)
	}
	f.Add(text.Bytes())
	f.Add([]byte(`{"type":"baseline","since":"v1:x","delta":{"header":{"schema":0,"modules":[]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m lkm.Mirror
		for e, err := range lkm.ReadEvents(bytes.NewReader(data)) {
			if err != nil {
				continue
			}
			m.Apply(e)
			s := m.Snapshot()
			if s != nil && m.Err() == nil && strings.HasPrefix(e.Digest, "v1:") && s.Digest() != e.Digest {
				t.Errorf("event %d: %s, not %s", e.Seq, s.Digest(), e.Digest)
			}
		}
	})
}
