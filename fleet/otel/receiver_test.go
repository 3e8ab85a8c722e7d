// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"

	"github.com/kernelext/kernelext/lkm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each event is one record, in order, and what they add up to is the machine's state.
func TestEvents(t *testing.T) {
	m, f := newMachine("nvme", "ext4"), new(farSide)
	start(t, newTest(t, m, testConfig(), f), nil)
	arrives(t, f, m)
	m.load("nvme", "ext4", "evil")
	arrives(t, f, m)
	m.load("nvme", "evil")
	arrives(t, f, m)
	m.refuse(io.ErrUnexpectedEOF)
	until(t, "degraded", func() bool { return f.count("kernel_extension.degraded") > 0 })
	until(t, "heartbeat", func() bool { return f.count("kernel_extension.heartbeat") > 0 })
	m.refuse(nil)
	m.load("evil")
	arrives(t, f, m)
	want := []string{"baseline", "load evil", "unload ext4", "degraded", "recovered", "unload nvme"}
	if got := f.words(); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if len(f.gaps) > 0 {
		t.Errorf("gaps: %v", f.gaps)
	}
	if got := f.count("entity.state"); got != 3 { // nvme and ext4, then evil
		t.Errorf("%d states of entities", got)
	}
	if got := f.count("entity.delete"); got != 2 {
		t.Errorf("%d ends of entities", got)
	}
}

// The attributes of the records, and those of their resource.
func TestAttributes(t *testing.T) {
	m, f := newMachine(), new(farSide)
	start(t, newTest(t, m, testConfig(), f), nil)
	arrives(t, f, m)
	m.load("evil")
	arrives(t, f, m)
	f.mu.Lock()
	defer f.mu.Unlock()
	resource := f.batches[0].ResourceLogs().At(0).Resource().Attributes().AsRaw()
	for name, want := range map[string]string{
		"host.name": "web-1", "os.type": "linux", "service.name": "kernelext", "service.version": lkm.Version,
	} {
		if resource[name] != want {
			t.Errorf("resource: %s is %v, want %s", name, resource[name], want)
		}
	}
	i := slices.IndexFunc(f.records, func(r plog.LogRecord) bool { return r.EventName() == "kernel_extension.load" })
	load := f.records[i].Attributes().AsRaw()
	for name, want := range map[string]any{
		"kernel_extension.id": "linux_module:evil", "kernel_extension.name": "evil", "kernel_extension.state": "loaded",
		"kernel_extension.kind": "linux_module", "kernel_extension.digest": f.mirror.Snapshot().Digest(),
	} {
		if load[name] != want {
			t.Errorf("load: %s is %v, want %v", name, load[name], want)
		}
	}
	if f.records[i].Body().Map().AsRaw()["type"] != "load" {
		t.Errorf("body %v", f.records[i].Body().AsString())
	}
	state := f.records[i-1]
	a := state.Attributes().AsRaw()
	id := map[string]any{"host.name": "web-1", "kernel_extension.id": "linux_module:evil"}
	if state.EventName() != "entity.state" || a["entity.type"] != "kernel_extension" ||
		!equal(a["entity.id"], id) || a["entity.report.interval"] != int64(0) {
		t.Errorf("%s: %v", state.EventName(), a)
	}
	description := keys(a["entity.description"].(map[string]any))
	if !slices.Contains(description, "kernel_extension.name") || slices.Contains(description, "name") {
		t.Errorf("description has %q", description)
	}
}

func equal(got any, want map[string]any) bool {
	m, ok := got.(map[string]any)
	return ok && len(m) == len(want) && !slices.ContainsFunc(keys(want), func(k string) bool { return m[k] != want[k] })
}

// Whatever the pipeline does, the far state becomes the near one.
func TestNothingIsLost(t *testing.T) {
	busy, bad := errors.New("busy"), consumererror.NewPermanent(errors.New("bad"))
	for _, c := range []struct {
		name   string
		refuse func(call int) (error, bool)
		whole  bool // no event is missing
	}{
		{"each is refused twice", func(n int) (error, bool) { return pick(busy, n%3 != 0) }, true},
		{"the first forty", func(n int) (error, bool) { return pick(busy, n < 40) }, true},
		{"taken, and an error all the same", func(n int) (error, bool) {
			err, _ := pick(busy, n%2 == 1)
			return err, true
		}, true},
		{"one in three for good", func(n int) (error, bool) { return pick(bad, n%3 == 1) }, false},
		{"for good, and taken", func(n int) (error, bool) {
			err, _ := pick(bad, n%3 == 1)
			return err, true
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, f := newMachine("a"), &farSide{refuse: c.refuse}
			cfg := testConfig()
			cfg.MaxRecordBytes = 512 // several records for a baseline
			start(t, newTest(t, m, cfg, f), nil)
			for _, names := range [][]string{{"a"}, {"a", "b"}, {"b"}, {"b", "c", "d"}, {"x"}} {
				m.load(names...)
				arrives(t, f, m)
			}
			want := []string{"baseline", "load b", "unload a", "load c", "load d", "unload b", "unload c", "unload d",
				"load x"}
			got := f.words()
			if len(got) == len(want) {
				slices.Sort(want[1:])
				slices.Sort(got[1:])
			}
			if c.whole && (!slices.Equal(got, want) || len(f.gaps) > 0) {
				t.Errorf("events %q, want %q; %v", got, want, f.gaps)
			}
		})
	}
}

func pick(err error, refused bool) (error, bool) {
	if refused {
		return err, false
	}
	return nil, true
}

// A keeper is a storage extension in memory, and the host that has it.
type keeper struct {
	component.StartFunc
	component.ShutdownFunc
	kept     map[string][]byte
	refuses  error
	statuses []*componentstatus.Event
}

var keeperID = component.MustNewID("keeper")

func (k *keeper) GetExtensions() map[component.ID]component.Component {
	return map[component.ID]component.Component{keeperID: k, component.MustNewID("other"): struct {
		component.StartFunc
		component.ShutdownFunc
	}{}}
}

func (k *keeper) Report(e *componentstatus.Event) { k.statuses = append(k.statuses, e) }

func (k *keeper) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return k, nil
}

func (k *keeper) Get(_ context.Context, key string) ([]byte, error) { return k.kept[key], k.refuses }

func (k *keeper) Set(_ context.Context, key string, value []byte) error {
	k.kept[key] = value
	return k.refuses
}

func (k *keeper) Delete(_ context.Context, key string) error {
	delete(k.kept, key)
	return k.refuses
}

func (*keeper) Batch(context.Context, ...*storage.Operation) error { return errors.ErrUnsupported }
func (*keeper) Close(context.Context) error                        { return nil }

func stored() *Config {
	c := testConfig()
	c.Storage = &keeperID
	return c
}

// After an orderly stop the next stream begins with what changed since.
func TestRestart(t *testing.T) {
	m, f, k := newMachine("a", "b"), new(farSide), &keeper{kept: map[string][]byte{}}
	for i, names := range [][]string{{"a", "b"}, {"b", "c"}, {"c"}, {}} {
		m.load(names...)
		r := newTest(t, m, stored(), f)
		start(t, r, k)
		arrives(t, f, m)
		m.load(append(names, "while_it_runs")...)
		arrives(t, f, m)
		stop(t, r)
		f.mu.Lock()
		first := f.events[slices.IndexFunc(f.events, func(e lkm.Event) bool {
			return e.Stream == f.events[len(f.events)-1].Stream
		})]
		f.mu.Unlock()
		if (first.Delta != nil) != (i > 0) || (first.Snapshot != nil) != (i == 0) {
			t.Errorf("run %d begins with %+v", i, first)
		}
	}
	if len(f.gaps) > 0 {
		t.Errorf("gaps: %v", f.gaps)
	}
}

// What the far side has is not known, or not kept: everything is sent.
func TestRestartWithEverything(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, m *machine, k *keeper)
	}{
		{"never ran", func(*testing.T, *machine, *keeper) {}},
		{"it crashed", func(t *testing.T, m *machine, k *keeper) {
			run(t, m, k, stored())
			r := newTest(t, m, stored(), consumertest.NewNop())
			start(t, r, k) // not stopped until after the test
			until(t, "what was kept is taken out", func() bool { return len(k.kept) == 0 })
		}},
		{"it stopped while the pipeline refused", func(t *testing.T, m *machine, k *keeper) {
			f := &farSide{}
			f.refuse = func(int) (error, bool) { return pick(errors.New("busy"), len(f.events) > 0) }
			r := newTest(t, m, stored(), f)
			start(t, r, k)
			arrives(t, f, m)
			m.load("more")
			until(t, "a refusal", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.calls > 3 })
			stop(t, r)
		}},
		{"what was kept is not a snapshot", func(_ *testing.T, _ *machine, k *keeper) {
			k.kept[storageKey] = []byte("{\"schema\":")
		}},
		{"it is another host's", func(t *testing.T, m *machine, k *keeper) {
			other := stored()
			other.Host = "web-2"
			run(t, m, k, other)
		}},
		{"the storage fails", func(t *testing.T, m *machine, k *keeper) {
			run(t, m, k, stored())
			k.refuses = fs.ErrPermission
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, k := newMachine("a"), &keeper{kept: map[string][]byte{}}
			c.before(t, m, k)
			f := new(farSide)
			r := newTest(t, m, stored(), f)
			start(t, r, k)
			arrives(t, f, m)
			if f.events[0].Snapshot == nil || len(f.gaps) > 0 {
				t.Errorf("it begins with %+v; %v", f.events[0], f.gaps)
			}
			k.refuses = nil
		})
	}
}

// run starts a receiver, and stops it when its state has arrived.
func run(t *testing.T, m *machine, k *keeper, c *Config) {
	t.Helper()
	f := new(farSide)
	r := newTest(t, m, c, f)
	start(t, r, k)
	until(t, "a baseline", func() bool { return f.digest() != "" })
	stop(t, r)
	if len(k.kept[storageKey]) == 0 {
		t.Fatal("nothing was kept")
	}
}

func TestStartFails(t *testing.T) {
	k := &keeper{kept: map[string][]byte{}}
	missing, other := component.MustNewID("missing"), component.MustNewID("other")
	for _, c := range []struct {
		storage *component.ID
		open    error
		want    string
	}{
		{&missing, nil, `there is no extension "missing"`},
		{&other, nil, `the extension "other" is not a storage extension`},
		{nil, errors.ErrUnsupported, errors.ErrUnsupported.Error()},
	} {
		cfg := testConfig()
		cfg.Storage = c.storage
		r := newTest(t, newMachine(), cfg, consumertest.NewNop())
		if c.open != nil {
			r.open = func(lkm.Options) (watcher, error) { return nil, c.open }
		}
		err := r.Start(t.Context(), k)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
		stop(t, r) // of one that never ran
	}
}

// A machine without a list is a permanent error of the component, and what comes and goes is a recoverable one.
func TestHealth(t *testing.T) {
	k := &keeper{}
	m := newMachine("a")
	f := &farSide{refuse: func(n int) (error, bool) { return pick(errors.New("busy"), n == 1) }}
	r := newTest(t, m, testConfig(), f)
	start(t, r, k)
	arrives(t, f, m)
	m.refuse(io.ErrUnexpectedEOF)
	until(t, "degraded", func() bool { return f.count("kernel_extension.degraded") > 0 })
	m.refuse(nil)
	arrives(t, f, m)
	until(t, "recovered", func() bool { return f.count("kernel_extension.recovered") > 0 })
	until(t, "a heartbeat after it", func() bool { return f.count("kernel_extension.heartbeat") > 2 })
	stop(t, r)
	m.refuse(errors.ErrUnsupported)
	r = newTest(t, m, testConfig(), f)
	start(t, r, k)
	<-r.done
	var got []componentstatus.Status
	for _, s := range k.statuses {
		got = append(got, s.Status())
	}
	want := []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK,
		componentstatus.StatusRecoverableError, componentstatus.StatusOK, componentstatus.StatusPermanentError}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A stop does not wait for a pipeline that refuses.
func TestStopWhileRefused(t *testing.T) {
	r := newTest(t, newMachine("a"), testConfig(), consumertest.NewErr(errors.New("busy")))
	r.firstPause, r.longest = 1<<40, 1<<40
	start(t, r, nil)
	stop(t, r)
}

// A slow is a pipeline that takes its time; it ends when its context does.
type slow struct {
	farSide
	asked, goOn chan struct{}
}

func (s *slow) ConsumeLogs(ctx context.Context, ld plog.Logs) error {
	s.asked <- struct{}{}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.goOn:
		return s.farSide.ConsumeLogs(ctx, ld)
	}
}

// Records that are on their way at a stop may arrive, and what the far side has is then known; but not for ever.
func TestStopWhileSending(t *testing.T) {
	for _, arrive := range []bool{true, false} {
		k := &keeper{kept: map[string][]byte{}}
		s := &slow{asked: make(chan struct{}), goOn: make(chan struct{})}
		r := newTest(t, newMachine("a"), stored(), s)
		r.grace = time.Millisecond
		if arrive {
			r.grace = time.Hour
		}
		start(t, r, k)
		<-s.asked
		if arrive {
			go func() { s.goOn <- struct{}{} }()
		}
		stop(t, r)
		if kept := len(k.kept) > 0; kept != arrive {
			t.Errorf("arrived: %v, kept: %v", arrive, kept)
		}
	}
}

// The factory's receiver begins and ends, twice over, on whatever system this is.
func TestFactory(t *testing.T) {
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig()
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	for range 2 {
		set := receivertest.NewNopSettings(factory.Type())
		r, err := factory.CreateLogs(t.Context(), set, cfg, new(consumertest.LogsSink))
		if err != nil {
			t.Fatal(err)
		}
		err = r.Start(t.Context(), componenttest.NewNopHost())
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
