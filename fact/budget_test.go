// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetOfTime(t *testing.T) {
	var none *Budget
	for name, b := range map[string]*Budget{"nil": none, "no limit": NewBudget(-1)} {
		if b.Start(); b.Spent() || b.Time() != 0 {
			t.Errorf("%s: has a limit of time", name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(time.Minute)
		time.Sleep(time.Hour) // it does not run yet
		if b.Spent() || b.Time() != time.Minute {
			t.Error("a budget runs before it is started")
		}
		time.Sleep(time.Minute)
		if b.Start(); b.Spent() {
			t.Error("a budget is spent at its last moment")
		}
		time.Sleep(time.Nanosecond)
		if err := b.Err(); !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "1m0s of time") {
			t.Errorf("a budget is not spent, or Start started it anew: %v", err)
		}
	})
}

// TestItem asks for what one item may not cost: that is the item's loss alone, also without a Budget.
func TestItem(t *testing.T) {
	const size = 1000
	asks := map[string]func(*Item, int64) error{"work": (*Item).Work, "hold": (*Item).Hold, "keep": (*Item).Keep}
	for name, b := range map[string]*Budget{"nil": nil, "budget": NewBudget(0)} {
		for ask, f := range asks {
			i := b.Item(size)
			most := i.MaxMemory()
			if ask == "work" {
				most = i.MaxWork()
			}
			if err := f(i, most); err != nil {
				t.Errorf("%s, %s: %v", name, ask, err)
			}
			if err := f(i, 1); !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrBudget) || b.Spent() {
				t.Errorf("%s, %s beyond the limit: %v, %v", name, ask, err, b.Err())
			}
			i.Done()
		}
	}
	i := NewBudget(0).Item(0)
	if i.Grow(size); i.MaxMemory() != itemMemory+itemPerByte*size || i.budget.Cost().Input != size {
		t.Errorf("a stream: %d, %+v", i.MaxMemory(), i.budget.Cost())
	}
	var none *Item
	none.Grow(1)
	if none.Work(1<<60) != nil || none.Hold(1<<60) != nil || none.Keep(1<<60) != nil {
		t.Error("a nil item has a bound")
	}
	none.Done()
}

// TestBudgetOfMemory: what is held is given back, what is kept is not.
func TestBudgetOfMemory(t *testing.T) {
	b := NewBudget(0)
	for range 1000 {
		i := b.Item(0)
		if err := i.Hold(itemMemory); err != nil {
			t.Fatal(err)
		}
		i.Done()
	}
	var err error
	kept := int64(0)
	for ; err == nil && kept < 2*callMemory; kept += itemMemory {
		i := b.Item(0)
		err = i.Keep(itemMemory)
		i.Done()
	}
	said := errors.Is(err, ErrBudget) && strings.Contains(err.Error(), "48 MiB of memory")
	if !said || kept != callMemory+itemMemory {
		t.Errorf("%d bytes are kept: %v", kept, err)
	}
	if c := b.Cost(); c.Memory != kept || !b.Spent() {
		t.Errorf("%+v", c)
	}
	if err := b.Item(1 << 30).Work(itemWorkBatch); !errors.Is(err, ErrBudget) {
		t.Errorf("a budget that ran out goes on: %v", err)
	}
}

// TestBudgetOfWork: more input allows more work; one file under many names does not.
func TestBudgetOfWork(t *testing.T) {
	work := func(file func(b *Budget, n int) *Item) Cost {
		b := NewBudget(0)
		for n := 0; n < 100; n++ {
			if i := file(b, n); i.Work(i.MaxWork()) != nil {
				break
			}
		}
		return b.Cost()
	}
	one := work(func(b *Budget, _ int) *Item { return b.File("dev 1 ino 2", 1<<20) })
	if one.Input != 1<<20 || one.Work < callWork || one.Work > callWork+3*(itemWork+workPerByte<<20) {
		t.Errorf("links to one file: %+v", one)
	}
	copies := work(func(b *Budget, _ int) *Item { return b.Content(make([]byte, 1<<20)) })
	if copies != one {
		t.Errorf("copies of one file: %+v, want %+v", copies, one)
	}
	many := work(func(b *Budget, n int) *Item { return b.File(strings.Repeat("x", n), 8<<20) })
	if many.Input < 8<<20*5 || many.Work <= one.Work {
		t.Errorf("many files: %+v", many)
	}
	if n := (*Budget)(nil).Content(make([]byte, 1)).MaxWork(); n != itemWork+workPerByte {
		t.Errorf("%d steps for one byte without a budget", n)
	}
	if (*Budget)(nil).File("x", 1).MaxWork() != itemWork+workPerByte || (*Budget)(nil).Cost() != (Cost{}) {
		t.Error("a nil budget")
	}
}

func TestBudgetIsSafe(t *testing.T) {
	b := NewBudget(time.Hour)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				i := b.File("x", 10)
				_ = i.Hold(10)
				_ = i.Work(10)
				i.Done()
				b.Spent()
			}
		})
	}
	wg.Wait()
	if c := b.Cost(); c.Work != 8000 || c.Input != 10 || b.memory != 0 {
		t.Errorf("%+v, %d in use", c, b.memory)
	}
}
