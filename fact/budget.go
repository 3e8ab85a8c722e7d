// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"time"
)

// What a call may cost: a base, and more for each byte that it reads, so that the cost is linear in the input. Twenty
// megabytes of hostile input stay below 256 MB of memory and ten seconds; the largest honest machine needs less than
// half of it.
const (
	callMemory    = 48 << 20
	callPerByte   = 3
	callWork      = 256 << 20
	itemMemory    = 16 << 20
	itemPerByte   = 8
	itemWork      = 32 << 20
	workPerByte   = 32
	itemWorkBatch = 64 << 10 // work that an item counts before it reports to the call's Budget
)

// A Budget bounds what one call may cost: its time, the memory that is in use at once, and the work. All parts of a
// call share one, which its [Report] carries. A reader asks for an [Item] for each thing that it reads (a file, a
// table, a command line), and asks that before it works or allocates:
//
//	item := report.Budget.Item(int64(len(data)))
//	defer item.Done()
//	for each record {
//		if err := item.Keep(recordSize); err != nil {
//			return err // too_large: this item alone; budget: the whole call
//		}
//	}
//
// What is counted are decoded structures and bytes, never time, so that one input costs the same on every machine. A
// nil Budget bounds no call, but its items are bounded all the same. It is safe for concurrent use.
type Budget struct {
	time time.Duration

	mu      sync.Mutex
	started time.Time
	files   map[string]bool // whose bytes were counted
	seed    maphash.Seed    // of the names of contents
	cost    Cost
	memory  int64 // in use now
	err     error // the first limit that was reached
}

// A Cost is what a call used of its Budget.
type Cost struct {
	// Input is how many bytes were read, each file's once.
	Input int64
	// Work is how many steps were taken. A step is about what one byte costs to look at.
	Work int64
	// Memory is the most memory that was in use at once, in bytes, as far as it was counted.
	Memory int64
}

// NewBudget returns the budget of one call that may take so long; 0 or less is no limit of time.
func NewBudget(limit time.Duration) *Budget {
	return &Budget{time: max(limit, 0)}
}

// Start starts the time of the budget, unless it runs already.
func (b *Budget) Start() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start()
}

func (b *Budget) start() {
	if b.started.IsZero() {
		b.started = time.Now()
	}
}

// Time returns how long the call may take in all; 0 means no limit.
func (b *Budget) Time() time.Duration {
	if b == nil {
		return 0
	}
	return b.time
}

// Spent reports whether the budget is used up. It starts the time of a budget that does not run yet, so that
// the parts of one call share it.
func (b *Budget) Spent() bool { return b.Err() != nil }

// Err returns an error that matches ErrBudget and names the limit that was reached; nil if no limit was reached. It
// starts the time as Spent does.
func (b *Budget) Err() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.start(); b.err == nil && b.time > 0 && time.Since(b.started) > b.time {
		b.err = fmt.Errorf("%w: more than %v of time", ErrBudget, b.time)
	}
	return b.err
}

// Cost returns what was used so far.
func (b *Budget) Cost() Cost {
	if b == nil {
		return Cost{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cost
}

// Item returns the budget of one thing of size bytes that the call reads.
func (b *Budget) Item(size int64) *Item {
	b.read(max(size, 0))
	return &Item{budget: b, size: max(size, 0)}
}

// File is Item for a file. A file that is read again, under whatever name, allows no more than it did the first time;
// id identifies it, as limit.FileID does.
func (b *Budget) File(id string, size int64) *Item {
	if b.first(id) {
		return b.Item(size)
	}
	return &Item{budget: b, size: max(size, 0)}
}

// Content is File for a file that is identified by its content, for file systems that do not know which names are one
// file.
func (b *Budget) Content(data []byte) *Item {
	if b == nil {
		return b.Item(int64(len(data)))
	}
	b.mu.Lock()
	if b.seed == (maphash.Seed{}) {
		b.seed = maphash.MakeSeed()
	}
	seed := b.seed
	b.mu.Unlock()
	return b.File(strconv.FormatUint(maphash.Bytes(seed, data), 36), int64(len(data)))
}

// first reports whether the file was not counted yet.
func (b *Budget) first(id string) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files == nil {
		b.files = make(map[string]bool)
	}
	seen := b.files[id]
	b.files[id] = true
	return !seen
}

func (b *Budget) read(size int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cost.Input += size
}

// take counts work and memory, the latter given back if negative.
func (b *Budget) take(work, memory int64) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.memory += memory; b.err != nil {
		return b.err
	}
	b.cost.Work += work
	b.cost.Memory = max(b.cost.Memory, b.memory)
	switch {
	case b.memory > callMemory+callPerByte*b.cost.Input:
		b.err = fmt.Errorf("%w: more than %d MiB of memory for %d bytes that were read",
			ErrBudget, (callMemory+callPerByte*b.cost.Input)>>20, b.cost.Input)
	case b.cost.Work > callWork+workPerByte*b.cost.Input:
		b.err = fmt.Errorf("%w: more than %d million steps for %d bytes that were read",
			ErrBudget, (callWork+workPerByte*b.cost.Input)/1e6, b.cost.Input)
	}
	return b.err
}

// An Item is the budget of one thing that a call reads. It may cost a base and so much for each of its bytes: beyond
// that an error matches ErrTooLarge and costs the item. An error that matches ErrBudget says that the call as a whole
// costs too much. A nil Item has no limits. It is not safe for concurrent use.
type Item struct {
	budget *Budget
	size   int64
	work   int64
	unsent int64 // work that was not reported to the Budget yet
	memory int64
	held   int64 // memory that Done gives back
}

// Work asks for n more steps. A step is about what one byte costs to look at or to decompress.
func (i *Item) Work(n int64) error {
	if i == nil {
		return nil
	}
	i.work, i.unsent = i.work+n, i.unsent+n
	if i.work > i.MaxWork() {
		return fmt.Errorf("%w: takes more than %d million steps for %d bytes", ErrTooLarge, i.MaxWork()/1e6, i.size)
	}
	if i.unsent < itemWorkBatch {
		return nil
	}
	work := i.unsent
	i.unsent = 0
	return i.budget.take(work, 0)
}

// Hold asks for n bytes of memory that are in use until Done.
func (i *Item) Hold(n int64) error {
	if i == nil {
		return nil
	}
	return i.take(n, n)
}

// Keep asks for n bytes of memory that what is read from the item takes, which the call keeps to its end.
func (i *Item) Keep(n int64) error {
	if i == nil {
		return nil
	}
	return i.take(n, 0)
}

func (i *Item) take(n, held int64) error {
	if i.memory+n > i.MaxMemory() {
		return fmt.Errorf("%w: takes more than %d MiB of memory for %d bytes", ErrTooLarge, i.MaxMemory()>>20, i.size)
	}
	i.memory, i.held = i.memory+n, i.held+held
	return i.budget.take(0, n)
}

// Grow adds n bytes to the size of an item that is read as a stream.
func (i *Item) Grow(n int64) {
	if i == nil {
		return
	}
	i.size += n
	i.budget.read(n)
}

// Budget returns the budget of the call that the item is a part of, for other things that are read for its sake.
func (i *Item) Budget() *Budget {
	if i == nil {
		return nil
	}
	return i.budget
}

// MaxWork returns how many steps the item may take.
func (i *Item) MaxWork() int64 { return itemWork + workPerByte*i.size }

// MaxMemory returns how much memory the item may take, in bytes.
func (i *Item) MaxMemory() int64 {
	return min(itemMemory+itemPerByte*i.size, callMemory-itemMemory/2+callPerByte*i.size)
}

// Done ends the item: what it held is given back.
func (i *Item) Done() {
	if i == nil {
		return
	}
	work, held := i.unsent, i.held
	i.unsent, i.held, i.memory = 0, 0, i.memory-held
	_ = i.budget.take(work, -held) // the next call returns the error
}
