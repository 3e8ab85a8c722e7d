// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/kernelext/kernelext/lkm"
)

// A watcher is what the receiver needs of a machine; *lkm.System is one.
type watcher interface {
	OS() lkm.OS
	Watch(ctx context.Context, o lkm.WatchOptions) iter.Seq2[lkm.Event, error]
	Close() error
}

// A logs is the receiver.
type logs struct {
	set  receiver.Settings
	cfg  *Config
	next consumer.Logs
	obs  *receiverhelper.ObsReport

	open                func(lkm.Options) (watcher, error) // lkm.Open, but for tests
	firstPause, longest time.Duration                      // before a refused record is sent again
	grace               time.Duration                      // for records that are on their way at a stop

	host    component.Host
	machine watcher
	store   storage.Client
	encoder *encoder
	far     *far
	blind   error  // why the machine cannot be seen whole, since a degraded event
	ill     string // the last health that was reported; empty is OK
	stop    context.CancelFunc
	sending context.Context // ends later than the watch
	abort   context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended; nil before it starts
}

func newReceiver(set receiver.Settings, cfg *Config, next consumer.Logs) (*logs, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID: set.ID, Transport: "kernel", ReceiverCreateSettings: set,
	})
	if err != nil {
		return nil, err
	}
	return &logs{
		set: set, cfg: cfg, next: next, obs: obs,
		open:       func(o lkm.Options) (watcher, error) { return lkm.Open(o) },
		firstPause: time.Second, longest: time.Minute, grace: 5 * time.Second,
	}, nil
}

// Start opens the machine and begins to watch it. A machine that this library has nothing for is an error.
func (r *logs) Start(ctx context.Context, host component.Host) error {
	name := r.cfg.Host
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return fmt.Errorf("host is not set, and the machine's name is unknown: %w", err)
		}
	}
	detail, err := r.cfg.detail()
	if err != nil {
		return err
	}
	store, err := storageClient(ctx, host, r.set.ID, r.cfg.Storage)
	if err != nil {
		return err
	}
	machine, err := r.open(lkm.Options{Host: name, HostRoot: r.cfg.RootPath, Detail: detail})
	if err != nil {
		return errors.Join(err, store.Close(ctx))
	}
	refresh := earlier(r.cfg.Refresh)
	r.host, r.machine, r.store, r.done = host, machine, store, make(chan struct{})
	r.encoder = &encoder{cfg: r.cfg, host: name, os: machine.OS(), interval: refresh}
	r.far = &far{host: name, client: store, log: r.set.Logger, off: r.cfg.Storage == nil}
	since := r.far.load(ctx)
	var running context.Context
	running, r.stop = context.WithCancel(context.Background())
	r.sending, r.abort = context.WithCancel(context.Background())
	go r.run(running, lkm.WatchOptions{
		Interval: r.cfg.Interval, Heartbeat: r.cfg.Heartbeat, Refresh: refresh, Since: since,
	})
	return nil
}

// earlier returns a period that is up to a tenth shorter.
func earlier(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	return d - rand.N(d/10)
}

// Shutdown ends the watch, and keeps what the far side has. Records that are on their way have some seconds.
func (r *logs) Shutdown(ctx context.Context) error {
	if r.done == nil {
		return nil
	}
	r.stop()
	late := time.AfterFunc(r.grace, r.abort)
	defer late.Stop()
	defer r.abort()
	select {
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.done = nil
	return errors.Join(r.far.save(ctx), r.store.Close(ctx), r.machine.Close())
}

// run watches until ctx ends, or the machine cannot be watched at all. What the pipeline refuses for good begins a new
// watch, with everything.
func (r *logs) run(ctx context.Context, o lkm.WatchOptions) {
	defer close(r.done)
	for pause := r.firstPause; ; pause = min(2*pause, r.longest) {
		accepted, err := r.watch(ctx, o)
		var refused *refusal
		switch {
		case ctx.Err() != nil:
			return
		case !errors.As(err, &refused):
			r.set.Logger.Error("the machine cannot be watched", zap.Error(err))
			componentstatus.ReportStatus(r.host, componentstatus.NewPermanentErrorEvent(err))
			return
		case accepted:
			pause = r.firstPause
		}
		r.set.Logger.Error("an event was refused for good: a new stream follows, with everything", zap.Error(err))
		r.health(err)
		o.Since, r.blind = nil, nil
		if !wait(ctx, pause) {
			return
		}
	}
}

// errEnded says that a watch ended without an error.
var errEnded = errors.New("the watch ended")

// watch sends the events of one watch. It reports whether the pipeline took any.
func (r *logs) watch(ctx context.Context, o lkm.WatchOptions) (accepted bool, err error) {
	for e, err := range r.machine.Watch(ctx, o) {
		if err != nil {
			return accepted, err
		}
		if err := r.deliver(ctx, e); err != nil {
			r.far.lose()
			return accepted, err
		}
		accepted = true
		r.far.apply(e)
		switch e.Type {
		case lkm.EventDegraded:
			r.blind = fmt.Errorf("%s: %s", e.Code, e.Error)
		case lkm.EventRecovered, lkm.EventEpoch:
			r.blind = nil
		}
		r.health(r.blind)
	}
	return accepted, errEnded
}

// A refusal is an error that the pipeline calls permanent.
type refusal struct {
	event lkm.Event
	err   error
}

func (e *refusal) Error() string {
	return fmt.Sprintf("%s event %d of stream %q: %v", e.event.Type, e.event.Seq, e.event.Stream, e.err)
}

func (e *refusal) Unwrap() error { return e.err }

// deliver returns when the pipeline has all records of an event; the error is a refusal, or that of ctx.
func (r *logs) deliver(ctx context.Context, e lkm.Event) error {
	batches, err := r.encoder.encode(e)
	if err != nil {
		return &refusal{e, err}
	}
	for _, batch := range batches {
		if err := r.push(ctx, batch); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return &refusal{e, err}
		}
	}
	return nil
}

// push gives a batch to the pipeline until it is accepted. A pipeline may change what it was given, even if it refuses
// it: each try is a copy.
func (r *logs) push(ctx context.Context, batch plog.Logs) error {
	pause := r.firstPause
	for tries := 1; ; tries++ {
		try := plog.NewLogs()
		batch.CopyTo(try)
		n := try.LogRecordCount()
		op := r.obs.StartLogsOp(r.sending)
		err := r.next.ConsumeLogs(op, try)
		r.obs.EndLogsOp(op, "kernelext", n, err)
		switch {
		case err == nil || consumererror.IsPermanent(err):
			return err
		}
		if tries == 1 {
			r.set.Logger.Warn("the pipeline refuses records: they are sent again", zap.Error(err))
			r.health(err)
		}
		if !wait(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, r.longest)
	}
}

// health reports the component's health if it changed; nil is good.
func (r *logs) health(err error) {
	switch {
	case err == nil && r.ill != "":
		r.ill = ""
		componentstatus.ReportStatus(r.host, componentstatus.NewEvent(componentstatus.StatusOK))
	case err != nil && r.ill != err.Error():
		r.ill = err.Error()
		componentstatus.ReportStatus(r.host, componentstatus.NewRecoverableErrorEvent(err))
	}
}

// wait waits, and reports whether ctx goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
