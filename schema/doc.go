// SPDX-License-Identifier: Apache-2.0

// Package schema holds the published JSON Schemas (2020-12) of what this library and its command write: a Snapshot
// (snapshot.json), an Event of a watch (event.json), a Delta (delta.json) and the report of an audit (audit.json).
//
// They are generated from the Go types and their comments:
//
//	go test ./schema -update
//
// A reader has to accept fields and words that it does not know: later versions add some without a new schema number.
// For that reason words are texts with examples, and no object is closed.
package schema
