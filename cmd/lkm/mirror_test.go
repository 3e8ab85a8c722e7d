// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm"
)

// The watch of a tape ends, and its lines add up to what list says.
func TestWatchAndMirror(t *testing.T) {
	dir := t.TempDir()
	lines := ""
	for _, tape := range []string{"demo:synthetic-debian-root", "demo:synthetic-windows11-admin"} {
		code, out, errs := lkmRun(t, "", "watch", "--tape", tape, "--host", tape+"/../x")
		if code != 0 || errs != "" || strings.Count(out, "\n") != 1 {
			t.Fatalf("%s: exit %d: %s: %s", tape, code, errs, out)
		}
		lines += out
	}
	code, out, errs := lkmRun(t, lines, "mirror")
	if code != 0 || errs != "" || strings.Count(out, "\n") != 2 {
		t.Fatalf("exit %d: %s: %s", code, errs, out)
	}
	s, err := lkm.Decode(strings.NewReader(strings.SplitAfter(out, "\n")[0]))
	if err != nil || len(s.Modules) != 35 || s.Host != "demo:synthetic-debian-root/../x" {
		t.Fatalf("%v: %+v", err, s)
	}
	if code, _, errs := lkmRun(t, lines, "mirror", "-o", dir); code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	const first = "demo%3Asynthetic-debian-root%2F..%2Fx.json"
	if len(files) != 2 || filepath.Base(files[0]) != first {
		t.Errorf("%q", files)
	}

	// The receiver has the snapshot already: the baseline is a difference, and adds to the file.
	code, out, _ = lkmRun(t, "", "watch", "--tape", "demo:synthetic-debian-root", "--host",
		"demo:synthetic-debian-root/../x", "--since", files[0])
	if code != 0 || len(out) > 3000 || !strings.Contains(out, `"delta"`) {
		t.Errorf("exit %d, %d bytes: %s", code, len(out), out)
	}
	if code, _, errs := lkmRun(t, out, "mirror", "-o", dir); code != 0 || errs != "" {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, errs := lkmRun(t, out, "mirror"); code != 1 || !strings.Contains(errs, "gap") {
		t.Errorf("a difference without its snapshot: exit %d: %s", code, errs)
	}
}

// A gap and a line that is not an event are reported, and cost no other host.
func TestMirrorReportsGaps(t *testing.T) {
	snap := &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{}, Sources: []lkm.Source{}}
	var lines strings.Builder
	add := func(e lkm.Event) {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(b, '\n'))
	}
	for _, host := range []string{"a\x1b", "b"} {
		add(lkm.Event{Host: host, Stream: host, Seq: 1, Type: lkm.EventBaseline, Snapshot: snap})
	}
	for seq := uint64(3); seq < 6; seq++ {
		add(lkm.Event{Host: "a\x1b", Stream: "a\x1b", Seq: seq, Type: lkm.EventHeartbeat})
	}
	add(lkm.Event{Host: "b", Stream: "b", Seq: 2, Type: lkm.EventHeartbeat})
	file := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(file, []byte(lines.String()+"nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := lkmRun(t, "", "mirror", file)
	if code != 1 || strings.Count(out, "\n") != 1 || strings.Count(errs, "\n") != 2 || strings.Contains(errs, "\x1b") ||
		!strings.Contains(errs, "gap in the events") || !strings.Contains(errs, "line 7") {
		t.Errorf("exit %d: %s: %s", code, out, errs)
	}
}
