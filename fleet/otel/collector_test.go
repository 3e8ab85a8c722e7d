// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/kernelext/kernelext/lkm"
)

// page returns the configuration that docs/fleet.md shows.
func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "fleet.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```yaml\n(receivers:.*?)```").FindSubmatch(b)
	if found == nil {
		t.Fatal("docs/fleet.md shows no configuration")
	}
	return string(found[1])
}

// pageConfig returns what that configuration says of the receiver.
func pageConfig(t *testing.T) *Config {
	t.Helper()
	r, err := confmap.NewRetrievedFromYAML([]byte(page(t)))
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.AsConf()
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(all.ToStringMap()["receivers"].(map[string]any)["kernelext"].(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPage(t *testing.T) {
	if c := pageConfig(t); c.Storage == nil {
		t.Errorf("%+v", c)
	}
}

// A host is a directory that has what Linux says of its modules, and a sink for what a Collector sends of it.
type host struct {
	dir  string
	far  farSide
	down atomic.Bool // the sink refuses
	sink *httptest.Server
	sent atomic.Int64 // bytes that the sink took
	no   atomic.Int64 // requests that it refused
}

func newHost(t *testing.T) *host {
	h := &host{dir: t.TempDir()}
	for name, text := range map[string]string{
		"root/proc/sys/kernel/random/boot_id": "3f0c1c6e-6f0e-4d3c-9a3b-2f6d3a1e5b7c\n", "root/proc/modules": "",
	} {
		path := filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.sink = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(h.sink.Close)
	return h
}

func (h *host) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	request := plogotlp.NewExportRequest()
	switch {
	case h.down.Load():
		h.no.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case r.URL.Path != "/v1/logs" || err != nil || request.UnmarshalProto(body) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.sent.Add(int64(len(body)))
	h.far.mu.Lock()
	h.far.take(request.Logs())
	h.far.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// load makes these the modules that are loaded.
func (h *host) load(t *testing.T, names ...string) {
	t.Helper()
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s 16384 0 - Live 0x0\n", name)
	}
	next := filepath.Join(h.dir, "next")
	if err := os.WriteFile(next, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(h.dir, "root/proc/modules")); err != nil {
		t.Fatal(err)
	}
}

// near returns the digest of the machine's state.
func (h *host) near(t *testing.T) string {
	t.Helper()
	detail, err := pageConfig(t).detail()
	if err != nil {
		t.Fatal(err)
	}
	s, err := lkm.Open(lkm.Options{Host: "web-1", HostRoot: filepath.Join(h.dir, "root"), Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return digestOf(t, s)
}

func (h *host) arrives(t *testing.T) {
	t.Helper()
	want := h.near(t)
	until(t, "the far state is the near one", func() bool { return h.far.digest() == want })
}

// run starts a Collector with the page's configuration, which overlay changes for this machine.
func (h *host) run(t *testing.T, program, overlay string) *exec.Cmd {
	t.Helper()
	for name, text := range map[string]string{"page.yaml": page(t), "overlay.yaml": overlay} {
		if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command(program, "--config", filepath.Join(h.dir, "page.yaml"), "--config",
		filepath.Join(h.dir, "overlay.yaml"))
	c.Stderr = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill() // if a test failed before it ended
		if t.Failed() {
			log, _ := os.ReadFile(out.Name())
			t.Logf("%s", log[max(0, len(log)-8000):])
		}
	})
	return c
}

// end ends a Collector.
func end(t *testing.T, c *exec.Cmd, how syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(how); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil && how == syscall.SIGTERM {
		t.Errorf("the Collector ended with %v", err)
	}
}

// A real Collector of the modules in builder.yaml delivers to a sink: while the sink is down, over an orderly stop
// and over a kill. Bash fleet/try builds it and names it.
func TestCollector(t *testing.T) {
	program := os.Getenv("KERNELEXT_COLLECTOR")
	if program == "" || runtime.GOOS != "linux" {
		t.Skip("KERNELEXT_COLLECTOR names no Collector: bash fleet/try otel builds one")
	}
	for name, queue := range map[string]string{
		"the page's queue": "retry_on_failure: {initial_interval: 50ms, max_interval: 200ms}",
		"no queue":         "sending_queue: {enabled: false}\n    retry_on_failure: {enabled: false}",
	} {
		t.Run(name, func(t *testing.T) { deliver(t, program, queue) })
	}
}

func deliver(t *testing.T, program, queue string) {
	h := newHost(t)
	overlay := fmt.Sprintf(`
receivers: {kernelext: {host: web-1, root_path: %s/root, interval: 100ms, heartbeat: 1s}}
extensions: {file_storage: {directory: %[1]s/storage}}
exporters:
  otlp_http:
    endpoint: %s
    compression: none
    %s
service: {telemetry: {metrics: {level: none}}}
`, h.dir, h.sink.URL, queue)
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("module_%03d", i))
	}
	h.load(t, names...)
	c := h.run(t, program, overlay)
	h.arrives(t)
	t.Logf("a baseline of 100 modules: %d bytes in %d records", h.sent.Load(), len(h.far.records))
	h.load(t, append(names, "evil")...)
	h.arrives(t)

	h.down.Store(true)
	h.load(t, names...)
	until(t, "requests while it is down", func() bool { return h.no.Load() > 2 })
	end(t, c, syscall.SIGTERM)
	h.load(t, names[1:]...) // while it is stopped
	c = h.run(t, program, overlay)
	h.down.Store(false)
	h.arrives(t)
	end(t, c, syscall.SIGTERM)
	h.load(t, names[2:]...)
	c = h.run(t, program, overlay)
	h.arrives(t)
	h.far.mu.Lock()
	last := h.far.events[len(h.far.events)-1].Stream
	first := slices.IndexFunc(h.far.events, func(e lkm.Event) bool { return e.Stream == last })
	if h.far.events[first].Delta == nil {
		t.Errorf("after an orderly stop the stream begins with %+v", h.far.events[first])
	}
	h.far.mu.Unlock()

	end(t, c, syscall.SIGKILL)
	h.load(t, names[3:]...)
	c = h.run(t, program, overlay)
	h.arrives(t)
	end(t, c, syscall.SIGTERM)
	if len(h.far.gaps) > 0 {
		t.Errorf("gaps: %v", h.far.gaps)
	}
	t.Logf("%d events in %d records and %d bytes; the far state is the near one",
		len(h.far.events), len(h.far.records), h.sent.Load())
}
