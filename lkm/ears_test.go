// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux"
)

// A breaking machine's kernel gives events that break by a script: one row for each time that they are opened.
type breaking struct {
	*made
	start time.Time
	rows  []opening // the last one is for ever
	at    []time.Duration
	open  int // sources that were not closed
}

// An opening is what one source of events does.
type opening struct {
	refused error
	change  func(*made) // happens while it is opened
	steps   []step      // what each Receive gives; after them it waits for its deadline
}

func (b *breaking) Events(int) (fact.EventSource, error) {
	b.at = append(b.at, time.Since(b.start).Round(time.Second))
	row := b.rows[0]
	if len(b.rows) > 1 {
		b.rows = b.rows[1:]
	}
	if row.change != nil {
		row.change(b.made)
	}
	if row.refused != nil {
		return nil, fmt.Errorf("socket: %w", row.refused)
	}
	b.open++
	return &breakingSource{b: b, steps: row.steps, woken: make(chan struct{}, 1)}, nil
}

type breakingSource struct {
	b     *breaking
	steps []step
	woken chan struct{}
}

func (s *breakingSource) Receive(deadline time.Time) ([]byte, error) {
	if len(s.steps) == 0 {
		select {
		case <-time.After(time.Until(deadline)):
		case <-s.woken:
			s.woken <- struct{}{}
		}
		return nil, os.ErrDeadlineExceeded
	}
	next := s.steps[0]
	s.steps = s.steps[1:]
	if next.change != nil {
		next.change(s.b.made)
	}
	return []byte(next.event), next.err
}

func (s *breakingSource) Wake()        { s.woken <- struct{}{} }
func (s *breakingSource) Close() error { s.b.open--; return nil }

// hearing watches for some time of a made clock, and returns the events as words; the number of events not heard
// follows lost. each is called with every event.
func hearing(t *testing.T, m *breaking, d time.Duration, each func(word string)) (words []string) {
	t.Helper()
	m.start = time.Now()
	s, err := OpenMachine(Linux, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for e, err := range s.Watch(ctx, WatchOptions{MaxAge: 24 * time.Hour}) {
		if err != nil {
			t.Fatal(err)
		}
		word := strings.TrimSpace(string(e.Type) + " " + strings.TrimPrefix(e.ID, "linux_module:"))
		if n, ok := e.Dropped.Get(); ok {
			word += fmt.Sprint(" ", n)
		}
		words = append(words, word)
		if each != nil {
			each(word)
		}
	}
	if m.open != 0 {
		t.Errorf("%d sources are left open", m.open)
	}
	return words
}

var errBroken = errors.New("broken")

// While nothing is heard the list is compared. Events that can be opened again are heard again, after one whole look
// that counts what nobody heard.
func TestWatchHearsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &breaking{made: madeLinux(), rows: []opening{
			{steps: []step{{event: moduleEvent("add", "a", 11), change: lists(11, "a")}, {err: errBroken}}},
			{refused: syscall.EMFILE},
			{refused: syscall.EMFILE},
			{change: lists(20, "a", "b", "d"), steps: []step{{err: os.ErrDeadlineExceeded},
				{event: moduleEvent("add", "c", 18)}, // before it was opened: the look has it
				{event: moduleEvent("add", "ghost", 21), change: lists(22, "a", "b", "d")},
				{event: moduleEvent("remove", "ghost", 22)}}},
		}}
		lists(10)(m.made)
		reads := 0
		words := hearing(t, m, time.Hour, func(word string) {
			switch word {
			case "degraded": // nobody hears it
				lists(12, "a", "b")(m.made)
			case "lost 9":
				reads = m.count(linux.ModulesFile)
			case "load d":
				if n := m.count(linux.ModulesFile) - reads; n != 1 {
					t.Errorf("the list was read %d times after the events were opened again", n)
				}
			}
		})
		want := []string{"baseline", "load a", "degraded", "load b", "lost 9", "recovered", "load d", "load ghost",
			"unload ghost"}
		if !slices.Equal(words, want) {
			t.Errorf("got %q, want %q", words, want)
		}
		if want := []time.Duration{0, 1, 3, 7}; !slices.Equal(m.at, seconds(want...)) {
			t.Errorf("opened at %v", m.at)
		}
	})
}

func seconds(list ...time.Duration) []time.Duration {
	for i := range list {
		list[i] *= time.Second
	}
	return list
}

// The pauses between two tries grow up to a minute, up to an hour where the events are refused, and there is no second
// try where the system has none. A source that breaks at once is no success.
func TestWatchTriesToHearAgainWithPauses(t *testing.T) {
	minutes := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}
	for _, tt := range []struct {
		name string
		row  opening
		want []time.Duration
	}{
		{"no descriptor", opening{refused: syscall.EMFILE}, minutes},
		{"breaks at once", opening{steps: []step{{err: errBroken}}}, minutes},
		{"refused", opening{refused: fs.ErrPermission}, []time.Duration{0, 60, 180}},
		{"no events", opening{refused: errors.ErrUnsupported}, []time.Duration{0}},
		{"heard", opening{}, []time.Duration{0}},
		{"breaks at times", opening{steps: []step{{err: os.ErrDeadlineExceeded,
			change: func(*made) { time.Sleep(70 * time.Second) }}, {err: errBroken}}},
			[]time.Duration{0, 71, 142, 213, 284}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &breaking{made: madeLinux(), rows: []opening{tt.row}}
				hearing(t, m, 290*time.Second, nil)
				if !slices.Equal(m.at, seconds(slices.Clone(tt.want)...)) {
					t.Errorf("opened at %v", m.at)
				}
			})
		})
	}
}

// A watch that hears again ends with its context, which wakes the source that was opened last.
func TestWatchEndsWhileItHearsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &breaking{made: madeLinux(), rows: []opening{{steps: []step{{err: errBroken}}}, {}}}
		words := hearing(t, m, 1500*time.Millisecond, nil)
		if want := []string{"baseline", "degraded", "recovered"}; !slices.Equal(words, want) || len(m.at) != 2 {
			t.Errorf("got %q, opened at %v", words, m.at)
		}
	})
}
