// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// sizeTape is the machine whose sizes docs/fleet.md shows.
const sizeTape = "demo:debian-6.1-cloud-root"

// commas writes a number with a comma before each three digits.
func commas(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// packed is how long a text is when it is compressed.
func packed(t *testing.T, text []byte) int {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// sizeSystem opens the machine with a detail.
func sizeSystem(t *testing.T, detail lkm.Detail) *lkm.System {
	t.Helper()
	read, err := lkmtest.Open(strings.TrimPrefix(sizeTape, "demo:"))
	if err != nil {
		t.Fatal(err)
	}
	sys, err := replay(read, lkm.Options{Host: "web1", Detail: detail})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close() })
	return sys
}

// asJSON is a value as a line of JSON.
func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// eventSizes are the lengths of a load of each module, in the mean, and of a heartbeat.
func eventSizes(t *testing.T) (load, heartbeat int) {
	t.Helper()
	n, o := 0, lkm.WatchOptions{PollOnly: true, Heartbeat: 1, Interval: 1}
	for e, err := range sizeSystem(t, 0).Watch(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == lkm.EventHeartbeat {
			return load / max(n, 1), len(asJSON(t, e))
		}
		if e.Snapshot == nil {
			continue
		}
		for i := range e.Snapshot.Modules {
			m := &e.Snapshot.Modules[i]
			load += len(asJSON(t, lkm.Event{Stream: e.Stream, Seq: e.Seq + 1, Host: e.Host, Type: lkm.EventLoad,
				ID: m.ID, After: m, Digest: e.Digest, At: e.At}))
			n++
		}
	}
	t.Fatal("no heartbeat")
	return 0, 0
}

// TestFleetSizes prints how many bytes a snapshot, an event, a host and a day are, and holds docs/fleet.md to it.
// How well it compresses may differ with the compressor.
func TestFleetSizes(t *testing.T) {
	var table strings.Builder
	row := func(name string, text []byte) int {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, commas(len(text)), commas(packed(t, text)))
		return len(text)
	}
	snapshot := func(detail lkm.Detail) []byte {
		s, err := sizeSystem(t, detail).Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return asJSON(t, s)
	}
	plain := row("snapshot", snapshot(0))
	row("snapshot with files, signatures, policy", snapshot(reportDetails))
	for _, format := range []string{"cyclonedx", "ecs", "kernel_modules", "osquery", "prometheus"} {
		_, out, errs := lkmRun(t, "", "export", format, "--host", "web1", "--tape", sizeTape)
		if out == "" {
			t.Fatal(errs)
		}
		row(format, []byte(out))
	}
	load, heartbeat := eventSizes(t)
	fmt.Fprintf(&table, "| an event (load), mean | %s | |\n| a heartbeat | %s | |\n", commas(load), commas(heartbeat))
	fmt.Fprintf(&table, "\nA host whose whole snapshot goes out each hour sends %s bytes a day; one that sends 6 "+
		"events a day, a\nheartbeat each hour and a snapshot a week, %s.\n", commas(24*plain),
		commas(6*load+24*heartbeat+plain/7))
	t.Logf("\n%s", table.String())
	name := filepath.Join("..", "..", "docs", "fleet.md")
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| written | bytes | gzip |\n|---|---|---|\n"
	before, after, ok := strings.Cut(string(page), head)
	if !ok {
		t.Fatal("docs/fleet.md has no table of sizes")
	}
	packed := regexp.MustCompile(`(?m) [0-9,]+ \|$`)
	switch {
	case packed.ReplaceAllString(after, "") == packed.ReplaceAllString(table.String(), ""):
	case *update:
		if err := os.WriteFile(name, []byte(before+head+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/fleet.md has\n%s", after)
	}
}
