// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// A report is what an agent sends: what changed, or that it is alive.
type report struct {
	Host    string     `json:"host"`
	Modules int        `json:"modules"`
	Delta   *lkm.Delta `json:"delta,omitempty"`
	Lost    lkm.Code   `json:"lost,omitempty"`
	Unknown string     `json:"unknown,omitempty"`
}

// An agent looks every interval, sends what changed, and a sign of life after each heartbeat.
type agent struct {
	sys       *lkm.System
	out       *json.Encoder
	heartbeat time.Duration
	token     lkm.Token
	last      *lkm.Snapshot
	sent      time.Time
}

// look sends a report if the list changed, could not be read, or nothing was sent for long.
func (a *agent) look(ctx context.Context) error {
	moved, err := a.sys.Changed(ctx, &a.token)
	old := time.Since(a.sent) >= a.heartbeat
	if err == nil && !moved && !old {
		return nil // one small read
	}
	r := report{Host: "web-1"}
	if snap, err := a.sys.Snapshot(ctx); err != nil {
		r.Lost = lkm.CodeOf(err) // "permission": goes on, and looks again
	} else {
		r.Modules = len(snap.Modules)
		if err := snap.Err(); err != nil {
			r.Unknown = err.Error()
		}
		if a.last != nil {
			if d := lkm.Diff(a.last, snap); !d.IsEmpty() {
				r.Delta = d
			}
		}
		a.last = snap
	}
	if r.Delta == nil && r.Lost == "" && !old {
		return nil
	}
	a.sent = time.Now()
	return a.out.Encode(r)
}

func (a *agent) run(ctx context.Context, every time.Duration) error {
	for tick := time.NewTicker(every); ; {
		if err := a.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func newAgent(sys *lkm.System, w io.Writer, heartbeat time.Duration) *agent {
	return &agent{sys: sys, out: json.NewEncoder(w), heartbeat: heartbeat}
}

// An agent that runs on every host of a fleet, the same on each system: it goes on when the list is refused.
func Example_agent() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{}) // lkm.Open(lkm.Options{}) for this machine
	defer sys.Close()
	a := newAgent(sys, os.Stdout, time.Minute)
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop() // an agent goes on until it is stopped; the list does not change here
	if err := a.run(ctx, 300*time.Millisecond); err != nil {
		fmt.Println(err)
	}
	// Output: {"host":"web-1","modules":50}
}
