// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"
	"sync"

	"github.com/kernelext/kernelext/linux"
)

// A moduleHistory is what the kernel's events say is loaded: what was at the start, and what came and
// did not go since. A module that leaves the kernel's list without an unload stays in it.
type moduleHistory struct {
	mu     sync.Mutex
	loaded map[string]bool
	since  uint64 // the counter's value before the list that it started with
	upTo   uint64 // and with the last event
	err    error  // why it knows nothing
}

// maxHistory caps the names of a history.
const maxHistory = 1 << 16

// begin starts with the kernel's list: at first, and when events were lost.
func (h *moduleHistory) begin(b *linuxBackend) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loaded = make(map[string]bool)
	seq, err := b.readSeq()
	var list linux.ModuleList
	if err == nil {
		_, err = linux.NewListReader(b.guard).Read(&list)
	}
	h.err, h.since, h.upTo = err, seq, seq
	for i := range list.Entries {
		if e := &list.Entries[i]; e.State == "Live" { // one that is loading may fail, of which no event tells
			h.loaded[e.Name] = true
		}
	}
}

// event notes one event of the kernel; name is empty for one that is about no module that came or went.
func (h *moduleHistory) event(seq uint64, name string, came bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.upTo = max(h.upTo, seq)
	switch {
	case name == "" || seq <= h.since:
	case !came:
		delete(h.loaded, name)
	case len(h.loaded) < maxHistory:
		h.loaded[name] = true
	}
}

// known returns what is loaded by the events up to one. The error is why that is not known.
func (h *moduleHistory) known() (map[string]bool, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, 0, fmt.Errorf("the watch of this System could not start: %w", h.err)
	}
	loaded := make(map[string]bool, len(h.loaded))
	for name := range h.loaded {
		loaded[name] = true
	}
	return loaded, h.upTo, nil
}

// heardModules is what the running watch heard, for linux.FindDiscrepancies.
func (b *linuxBackend) heardModules() (map[string]bool, uint64, error) {
	h := b.history.Load()
	if h == nil {
		return nil, 0, fmt.Errorf("no watch of this System hears the kernel's events: %w", errors.ErrUnsupported)
	}
	return h.known()
}
