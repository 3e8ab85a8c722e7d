// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// fleetSums is what a simulated fleet sent.
type fleetSums struct {
	days, events, dropped, gaps, restarts int
	bytes, hourly                         int64 // of events, and of a snapshot each hour
}

// A fleet of hosts from the corpus lives for a day each: edits, refusals, restarts of machines and of agents, lines
// that are dropped, and digests of a version that the far side does not know. Every far side equals its near side after
// every event, or says that there is a gap. KERNELEXT_FULL makes it 10,000 hosts.
func TestFleet(t *testing.T) {
	hosts := 60
	if os.Getenv("KERNELEXT_FULL") != "" {
		hosts = 10_000
	}
	var tapes []string
	for _, name := range lkmtest.Names() {
		tape, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{})
		if err == nil {
			if snap, err := sys.Snapshot(t.Context()); err == nil && len(snap.Modules) > 0 {
				tapes = append(tapes, name)
			}
			sys.Close()
		}
	}
	var sums fleetSums
	for host := range hosts {
		tape, err := lkmtest.Open(tapes[host%len(tapes)])
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Host: fmt.Sprint("host-", host)})
			if err != nil {
				t.Fatal(err)
			}
			defer sys.Close()
			liveADay(t, sys, rand.New(rand.NewPCG(uint64(host), 21)), &sums)
		})
	}
	t.Logf("%d hosts: %d events, %d dropped, %d gaps, %d restarts of agents; %d bytes per host and day, hourly "+
		"snapshots %d", hosts, sums.events, sums.dropped, sums.gaps, sums.restarts, sums.bytes/int64(hosts),
		sums.hourly/int64(hosts))
	if sums.dropped == 0 || sums.gaps == 0 || sums.restarts == 0 {
		t.Error("the simulation has no faults")
	}
}

// liveADay runs the agents of one host for a day.
func liveADay(t *testing.T, sys *lkm.System, r *rand.Rand, sums *fleetSums) {
	snap, err := sys.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(snap)
	sums.hourly += 24 * int64(len(text))
	var ids []string
	for _, m := range snap.Modules {
		ids = append(ids, m.ID)
	}
	machine := newTinker(sys, r)
	machine.Canned = snap.Modules
	var mirror lkm.Mirror
	unknown := r.IntN(4) == 0 // the far side does not know this host's version of the digest
	end := time.Now().Add(24 * time.Hour)
	next := time.Now().Add(time.Duration(r.IntN(8)) * time.Hour)
	o := lkm.WatchOptions{Interval: 20 * time.Minute, MaxAge: time.Hour, Heartbeat: time.Hour}
	for time.Now().Before(end) {
		for e, err := range sys.Watch(t.Context(), o) {
			if err != nil {
				t.Fatal(err)
			}
			deliver(t, &mirror, e, unknown, r, sums)
			if time.Now().After(next) { // six edits a day, one of ten agents restarts with them
				machine.edit(ids)
				next = next.Add(time.Duration(r.IntN(8)) * time.Hour)
				if r.IntN(10) == 0 {
					sums.restarts++
					break
				}
			}
			if !time.Now().Before(end) {
				break
			}
		}
	}
	sums.days++
}

// deliver brings an event to the far side, if it is not lost on its way, and compares both sides.
func deliver(t *testing.T, mirror *lkm.Mirror, e lkm.Event, unknown bool, r *rand.Rand, sums *fleetSums) {
	t.Helper()
	near := e.Digest
	if unknown && near != "" {
		e.Digest = "v9:" + near[3:]
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	sums.events++
	sums.bytes += int64(len(text)) + 1
	if r.IntN(50) == 0 {
		sums.dropped++
		return
	}
	if mirror.Apply(sent(t, e)) != nil {
		sums.gaps++
	}
	if mirror.Err() != nil {
		return
	}
	far := ""
	if s := mirror.Snapshot(); s != nil {
		far = s.Digest()
	}
	if far != near {
		t.Errorf("%s: %s event %d: the far side is %q, the near side %q, no gap", e.Host, e.Type, e.Seq, far,
			near)
	}
}
