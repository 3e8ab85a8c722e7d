// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/kernelext/kernelext/lkm"
)

// A machine is a made-up Linux machine whose list changes.
type machine struct {
	mu    sync.Mutex
	files fstest.MapFS
	fails error // of the list
}

func newMachine(names ...string) *machine {
	m := &machine{files: fstest.MapFS{}}
	m.set("proc/sys/kernel/random/boot_id", "3f0c1c6e-6f0e-4d3c-9a3b-2f6d3a1e5b7c\n")
	m.load(names...)
	return m
}

func (m *machine) set(name, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
}

// load makes these the modules that are loaded.
func (m *machine) load(names ...string) {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s 16384 0 - Live 0x0\n", name)
	}
	m.set("proc/modules", b.String())
}

// refuse makes the list fail with err; nil lets it be read again.
func (m *machine) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails = err
}

func (m *machine) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

func (m *machine) Open(name string) (fs.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil && name == "proc/modules" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: m.fails}
	}
	return m.files.Open(name)
}

func (m *machine) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.ReadDir(name)
}

func (m *machine) Lstat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.Lstat(name)
}

func (m *machine) ReadLink(name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files.ReadLink(name)
}

// near returns the digest of what a watch of the machine begins with.
func (m *machine) near(t *testing.T, o lkm.Options) string {
	t.Helper()
	s, err := lkm.OpenMachine(lkm.Linux, m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return digestOf(t, s)
}

// digestOf returns the digest of the first event of a watch.
func digestOf(t *testing.T, s *lkm.System) string {
	t.Helper()
	for e, err := range s.Watch(t.Context(), lkm.WatchOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		return e.Digest
	}
	return ""
}

// A farSide is a sink that takes records as OTLP has them on the wire, and adds them up.
type farSide struct {
	mu      sync.Mutex
	refuse  func(call int) (error, bool) // what a call returns, and whether it is taken all the same
	calls   int
	reader  Reader
	mirror  lkm.Mirror
	gaps    []error
	events  []lkm.Event
	records []plog.LogRecord
	batches []plog.Logs
}

func (*farSide) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (f *farSide) ConsumeLogs(_ context.Context, ld plog.Logs) error {
	wire, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		return err
	}
	ld.ResourceLogs().RemoveIf(func(plog.ResourceLogs) bool { return true }) // it may change what it was given
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	var answer error
	if f.refuse != nil {
		err, taken := f.refuse(f.calls)
		if answer = err; !taken {
			return err
		}
	}
	got := plogotlp.NewExportRequest()
	if err := got.UnmarshalProto(wire); err != nil {
		return err
	}
	f.take(got.Logs())
	return answer
}

func (f *farSide) take(ld plog.Logs) {
	f.batches = append(f.batches, ld)
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				f.records = append(f.records, lr)
			}
		}
	}
	events, err := f.reader.Read(ld)
	if err != nil {
		f.gaps = append(f.gaps, err)
	}
	for _, e := range events {
		f.events = append(f.events, e)
		if err := f.mirror.Apply(e); err != nil {
			f.gaps = append(f.gaps, err)
		}
	}
}

// digest is that of the far state; empty if there is a gap.
func (f *farSide) digest() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mirror.Err() != nil || f.mirror.Snapshot() == nil {
		return ""
	}
	return f.mirror.Snapshot().Digest()
}

// words returns the types and ids of the events, without heartbeats.
func (f *farSide) words() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var words []string
	for _, e := range f.events {
		if e.Type != lkm.EventHeartbeat {
			words = append(words, strings.TrimSpace(string(e.Type)+" "+strings.TrimPrefix(e.ID, "linux_module:")))
		}
	}
	return words
}

func (f *farSide) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.records {
		if r.EventName() == name {
			n++
		}
	}
	return n
}

// options are those that the receiver of testConfig opens a machine with.
var options = lkm.Options{Host: "web-1", Detail: lkm.DetailFiles}

func testConfig() *Config {
	c := defaultConfig().(*Config)
	c.Host, c.Interval, c.Heartbeat, c.Refresh = "web-1", time.Millisecond, 20*time.Millisecond, 0
	return c
}

// newTest returns a receiver of the machine, which was not started.
func newTest(t *testing.T, m lkm.Machine, c *Config, next consumer.Logs) *logs {
	t.Helper()
	set := receivertest.NewNopSettings(component.MustNewType("kernelext"))
	r, err := newReceiver(set, c, next)
	if err != nil {
		t.Fatal(err)
	}
	r.open = func(o lkm.Options) (watcher, error) { return lkm.OpenMachine(lkm.Linux, m, o) }
	r.firstPause, r.longest = time.Millisecond, 4*time.Millisecond
	return r
}

// start starts a receiver, which is stopped when the test ends, if not before.
func start(t *testing.T, r *logs, host component.Host) {
	t.Helper()
	if host == nil {
		host = componenttest.NewNopHost()
	}
	if err := r.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, r) })
}

func stop(t *testing.T, r *logs) {
	t.Helper()
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// until waits until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// arrives waits until the far state is that of the machine.
func arrives(t *testing.T, f *farSide, m *machine) {
	t.Helper()
	want := m.near(t, options)
	until(t, "the far state is the near one", func() bool { return f.digest() == want })
}

// keys returns the names of attributes, sorted.
func keys(attributes map[string]any) []string {
	var names []string
	for name := range attributes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
