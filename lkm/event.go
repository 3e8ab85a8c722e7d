// SPDX-License-Identifier: Apache-2.0

package lkm

import "time"

// An EventType says what happened.
type EventType string

// The types.
const (
	EventBaseline EventType = "baseline" // the first event: what there was at the start
	EventLoad     EventType = "load"     // a module came
	EventUnload   EventType = "unload"   // a module went
	EventChange   EventType = "change"   // a module's facts are others
	EventLost     EventType = "lost"     // the system dropped events; a whole new look follows
	EventEpoch    EventType = "epoch"    // the machine was started again; a baseline follows
)

// An Event is one change that a watch saw.
type Event struct {
	// Seq counts the events of one watch from 1.
	Seq uint64 `json:"seq"`
	// Host is the machine's name for the caller, from Options.Host.
	Host string `json:"host,omitzero"`
	// Type says what happened.
	Type EventType `json:"type"`
	// ID is the id of the module it is about; empty for baseline, lost and epoch.
	ID string `json:"id,omitzero"`
	// Before is the module as it was; nil for one that came.
	Before *Module `json:"before,omitzero"`
	// After is the module as it is; nil for one that went.
	After *Module `json:"after,omitzero"`
	// Snapshot is all there was; only with baseline.
	Snapshot *Snapshot `json:"snapshot,omitzero"`
	// Dropped is how many of the kernel's events, of whatever kind, were not heard: at most so many
	// loads and unloads are not told one by one. Only with lost; absent where it is not known.
	Dropped Count `json:"dropped,omitzero"`
	// At is the machine's time when it was seen, UTC.
	At time.Time `json:"at,omitzero"`
}
