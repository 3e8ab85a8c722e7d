// SPDX-License-Identifier: Apache-2.0

package lkm

import "time"

// An EventType says what happened.
type EventType string

// The types.
const (
	EventBaseline  EventType = "baseline"  // all there is, or what differs from WatchOptions.Since
	EventLoad      EventType = "load"      // a module was loaded
	EventUnload    EventType = "unload"    // a module was unloaded
	EventChange    EventType = "change"    // facts changed: of a module, or of the machine if there is no ID
	EventLost      EventType = "lost"      // kernel events were not heard; the differences that a new look finds follow
	EventDegraded  EventType = "degraded"  // the list, or a source of it, cannot be read any more
	EventRecovered EventType = "recovered" // it can be read again; the differences follow
	EventHeartbeat EventType = "heartbeat" // nothing else was sent for WatchOptions.Heartbeat
	EventEpoch     EventType = "epoch"     // the machine was started again; a baseline follows
)

// An Event is one line of a watch. The events of one watch, in their order, add up to the state of the machine: see
// [Mirror].
type Event struct {
	// Stream identifies the watch: random text, unless WatchOptions.Stream says it.
	Stream string `json:"stream,omitzero"`
	// Seq counts the events of one watch from 1.
	Seq uint64 `json:"seq"`
	// Host is the machine's name for the caller, from Options.Host.
	Host string `json:"host,omitzero"`
	// Type says what happened.
	Type EventType `json:"type"`
	// ID is the id of the module that the event is about; empty if it is about the machine.
	ID string `json:"id,omitzero"`
	// Before is the module before the event; nil for one that was loaded.
	Before *Module `json:"before,omitzero"`
	// After is the module after the event; nil for one that was unloaded.
	After *Module `json:"after,omitzero"`
	// Snapshot is the whole state; only with baseline.
	Snapshot *Snapshot `json:"snapshot,omitzero"`
	// Since is the digest of the Snapshot that the Delta of a baseline is to be applied to.
	Since string `json:"since,omitzero"`
	// Delta is what the event changes beside one module, without any Change.Before. With baseline it is the difference
	// from WatchOptions.Since. With degraded, recovered and change it has the machine's facts, the modules of which
	// less is seen (Unobserved) or more (Changed), and those that are seen again, as they were last seen (Added).
	Delta *Delta `json:"delta,omitzero"`
	// Dropped is how many of the kernel's events, about modules or not, were dropped: at most so many loads and unloads
	// have no event of their own. Only with lost; absent if it is not known.
	Dropped Count `json:"dropped,omitzero"`
	// Code is why the list, or a source of it, cannot be read; with degraded, and with each heartbeat until recovered.
	Code Code `json:"code,omitzero"`
	// Error is the same as a text for people.
	Error string `json:"error,omitzero"`
	// Counts sums up the state; only with heartbeat.
	Counts *Counts `json:"counts,omitzero"`
	// Digest is the digest of the state after the event, as [Snapshot.Digest] returns it; empty before the first
	// baseline.
	Digest string `json:"digest,omitzero"`
	// At is the machine's time of the look, UTC; zero if it is not known.
	At time.Time `json:"at,omitzero"`
}

// Counts sums up a Snapshot.
type Counts struct {
	// Modules is how many modules it has.
	Modules int `json:"modules"`
	// ThirdParty is how many of these are known not to be the system's own.
	ThirdParty int `json:"thirdParty"`
	// Problems is how many problems it has, those of modules included.
	Problems int `json:"problems"`
	// Incomplete is how many of its sources were not read whole.
	Incomplete int `json:"incomplete"`
}

func countsOf(st *state) *Counts {
	if st == nil {
		return nil
	}
	c := &Counts{Modules: len(st.modules), Problems: len(st.header.Problems)}
	for _, m := range st.modules {
		c.Problems += len(m.module.Problems)
		if m.module.Origin.Class == OriginThirdParty {
			c.ThirdParty++
		}
	}
	for _, src := range st.header.Sources {
		if src.Incomplete() {
			c.Incomplete++
		}
	}
	return c
}
