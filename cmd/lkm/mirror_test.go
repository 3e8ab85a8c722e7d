// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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

// A tape that a flag compares with is not the machine that the command is about.
func TestOtherTapes(t *testing.T) {
	const own, other = "demo:synthetic-debian-root", "demo:debian-6.12-cloud-root"
	image := checkImage(t, nil)
	audit := "audit --rules cis-debian-12 --format csv --baseline " + other
	for call, want := range map[string]string{
		"watch --tape " + own + " --since " + other: `"release":"6.1.0-56-amd64"`,
		"watch --tape " + own + " --since " + own:   `"added":[]`,
		audit + " --tape " + own:                    "6.1.0-56-amd64",
		audit + " --root " + image:                  "UNKNOWN,baseline,",
	} {
		if _, out, errs := lkmRun(t, "", strings.Fields(call)...); !strings.Contains(out, want) {
			t.Errorf("lkm %s: %.600s %s", call, out, errs)
		}
	}
}

// A gap and a line that is not an event are reported, and cost no other host.
func TestMirrorReportsGaps(t *testing.T) {
	snap := &lkm.Snapshot{OS: lkm.Linux, Modules: []lkm.Module{}, Sources: []lkm.Source{}}
	var lines strings.Builder
	add := func(e lkm.Event) {
		e.Digest = snap.Digest()
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

// TestMirrorOfOtherText: of a file that is not one of events not every line is reported.
func TestMirrorOfOtherText(t *testing.T) {
	_, out, _ := lkmRun(t, "", "list", "--tape", "demo:synthetic-container", "--format", "json")
	code, _, errs := lkmRun(t, out, "mirror")
	if code != 2 || strings.Count(errs, "\n") != maxOthers+1 || !strings.Contains(errs, "and 0 are") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

// TestMirrorInterrupted: what came before the end is written.
func TestMirrorInterrupted(t *testing.T) {
	_, lines, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-container", "--host", "web1")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, lines)
		_, _ = io.WriteString(w, "\n") // the lines are taken
		cancel()
	}()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"mirror"}, r, &out, &errs)
	if code != 2 || !strings.Contains(out.String(), `"host":"web1"`) || errs.String() != "lkm: interrupted\n" {
		t.Errorf("exit %d: %.200s, %s", code, out.String(), errs.String())
	}
}

// TestMirrorWithoutState: what gave no snapshot is said, and is not 0.
func TestMirrorWithoutState(t *testing.T) {
	refused := `{"host":"web1","stream":"s","seq":1,"type":"degraded","code":"permission","error":"no"}` + "\n"
	_, whole, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-debian-root", "--host", "web1")
	for _, tt := range []struct {
		what, events string
		code         int
		want         string
	}{
		{"nothing", "", 2, "no line is an event"},
		{"empty lines", "\n\n", 2, "no line is an event"},
		{"a list that was refused", refused, 1, "web1: no baseline yet: its list was refused"},
		{"refused and heard of again", refused +
			`{"host":"web1","stream":"s","seq":2,"type":"heartbeat","code":"permission"}` + "\n", 1, "no baseline yet"},
		{"a baseline", whole, 0, ""},
	} {
		code, out, errs := lkmRun(t, tt.events, "mirror")
		if code != tt.code || !strings.Contains(errs, tt.want) || (errs == "") != (code == 0) ||
			(out == "") != (code > 0) {
			t.Errorf("%s: exit %d, %.100s, %s", tt.what, code, out, errs)
		}
	}
	dir := filepath.Join(t.TempDir(), "not", "there") // it is made
	if code, _, errs := lkmRun(t, whole, "mirror", "-o", dir); code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if code, _, errs := lkmRun(t, refused, "mirror", "-o", dir); code != 1 ||
		!strings.Contains(errs, "web1: no baseline") {
		t.Errorf("beside an older snapshot: exit %d: %s", code, errs)
	}
}

// TestMirrorMendsAHost: a host's file that cannot be read costs no other host, and a whole baseline replaces it.
func TestMirrorMendsAHost(t *testing.T) {
	dir := t.TempDir()
	for _, host := range []string{"web1", "web2"} {
		if err := os.WriteFile(filepath.Join(dir, host+".json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := `{"host":"web2","stream":"t","seq":7,"type":"heartbeat"}` + "\n"
	for _, host := range []string{"web1", "web3"} {
		_, out, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-debian-root", "--host", host)
		lines += out
	}
	code, _, errs := lkmRun(t, lines, "mirror", "-o", dir)
	if code != 2 || !strings.Contains(errs, "web1.json") || !strings.Contains(errs, "web2.json") ||
		!strings.Contains(errs, "web2: mirror: heartbeat") {
		t.Errorf("exit %d: %s", code, errs)
	}
	for host, whole := range map[string]bool{"web1": true, "web2": false, "web3": true} {
		text, err := os.ReadFile(filepath.Join(dir, host+".json"))
		if err != nil || (len(text) > 100) != whole {
			t.Errorf("%s: %v, %.100s", host, err, text)
		}
	}
	if code, _, errs := lkmRun(t, strings.SplitAfter(lines, "\n")[1], "mirror", "-o", dir); code != 0 || errs != "" {
		t.Errorf("again: exit %d: %s", code, errs)
	}
}

// TestMirrorOfWrongLines: lines that are altered, foreign, old or cut give no snapshot that looks like the machine's.
func TestMirrorOfWrongLines(t *testing.T) {
	_, base, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-debian-root", "--host", "h")
	var e lkm.Event
	if err := json.Unmarshal([]byte(base), &e); err != nil {
		t.Fatal(err)
	}
	line := func(seq uint64, kind lkm.EventType, change func(*lkm.Event)) string {
		now := lkm.Event{Stream: e.Stream, Host: e.Host, Seq: seq, Type: kind, Digest: e.Digest}
		if kind == lkm.EventBaseline {
			s := *e.Snapshot
			now.Snapshot = &s
		}
		if change != nil {
			change(&now)
		}
		b, err := json.Marshal(now)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	beat := line(2, lkm.EventHeartbeat, nil)
	epoch := line(3, lkm.EventEpoch, nil)
	for _, tt := range []struct {
		what, lines, want string
		code, snapshots   int
	}{
		{"all is well", base + beat, "", 0, 1},
		{"a baseline that comes again", base + beat + base, "comes late or twice", 1, 0},
		{"a later baseline", base + beat + base + line(3, lkm.EventBaseline, nil), "comes late or twice", 1, 1},
		{"an altered digest", line(1, lkm.EventBaseline, func(e *lkm.Event) { e.Digest = "" }), "no digest", 1, 0},
		{"a module fewer", line(1, lkm.EventBaseline, func(e *lkm.Event) {
			e.Snapshot.Modules = e.Snapshot.Modules[1:]
		}), "digest does not fit", 1, 0},
		{"another host's snapshot", line(1, lkm.EventBaseline, func(e *lkm.Event) { e.Host = "other" }),
			"other: mirror: baseline event 1 of stream", 1, 0},
		{"no number", line(0, lkm.EventBaseline, nil), "no number", 1, 0},
		{"started again, and no baseline", base + beat + epoch, "started again", 1, 0},
		{"started again", base + beat + epoch + line(4, lkm.EventBaseline, nil), "", 0, 1},
		{"started again, and a line is lost", base + beat + epoch + line(5, lkm.EventBaseline, nil), "missing", 1, 1},
		{"a list", "[" + strings.TrimSpace(base) + "]", "line 1: malformed: array, not an object", 2, 0},
		{"a word for a number", `{"seq":"one"}`, `field "seq": string has no place there`, 2, 0},
		{"a delta of a later form", `{"type":"change","delta":{"schema":9}}`, "schema 9 is newer", 2, 0},
	} {
		code, out, errs := lkmRun(t, tt.lines, "mirror")
		if code != tt.code || strings.Count(out, "\n") != tt.snapshots || !strings.Contains(errs, tt.want) ||
			(errs == "") != (tt.want == "") || strings.Contains(errs, ": lkm: ") {
			t.Errorf("%s: exit %d, %d snapshots: %s", tt.what, code, strings.Count(out, "\n"), errs)
		}
	}
}

// zeros is a file that a crash left without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// What is not read of a file is no line that costs itself.
func TestMirrorWithoutLines(t *testing.T) {
	var stdout, stderr bytes.Buffer
	_, whole, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-container", "--host", "web1")
	in := io.MultiReader(strings.NewReader(whole), zeros{})
	code := run(t.Context(), []string{"mirror"}, in, &stdout, &stderr)
	if code != exitFatal || !strings.Contains(stderr.String(), "the rest is not read") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}

// Lines of two machines under one name are reported as that.
func TestMirrorOfOneName(t *testing.T) {
	in := ""
	for _, stream := range []string{"A", "B", "A"} {
		e := lkm.Event{Stream: stream, Seq: 1, Host: "web1", Type: lkm.EventBaseline,
			Snapshot: &lkm.Snapshot{OS: lkm.Linux, Host: "web1", Modules: []lkm.Module{}}}
		if e.Digest = e.Snapshot.Digest(); in != "" && stream == "A" {
			e.Seq, e.Type, e.Snapshot = 2, lkm.EventHeartbeat, nil
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		in += string(line) + "\n"
	}
	code, _, errs := lkmRun(t, in, "mirror")
	if code != exitFindings || !strings.Contains(errs, "two machines have one name") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
