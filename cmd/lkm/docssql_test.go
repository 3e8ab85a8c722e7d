// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// firstEvents are the events of two hosts that run for weeks: web1 has the module a first, b comes to db1 before it
// comes to web1, and web1's last heartbeat and its second baseline are younger than what db1 loads. The last watch of
// db1 begins with what is new since a snapshot.
const firstEvents = `
{"stream":"w","seq":1,"host":"web1","type":"baseline","at":"2026-11-01T00:00:00Z","snapshot":{"modules":[{"id":"a"}]}}
{"stream":"d","seq":1,"host":"db1","type":"baseline","at":"2026-11-10T00:00:00Z","snapshot":{"modules":[{"id":"a"}]}}
{"stream":"d","seq":2,"host":"db1","type":"load","id":"b","at":"2026-11-11T00:00:00Z","after":{"id":"b"}}
{"stream":"w","seq":2,"host":"web1","type":"load","id":"b","at":"2026-11-12T00:00:00Z","after":{"id":"b"}}
{"stream":"w","seq":3,"host":"web1","type":"load","id":"c","at":"2026-11-13T00:00:00Z","after":{"id":"c"}}
{"stream":"d","seq":3,"host":"db1","type":"unload","id":"b","at":"2026-11-14T00:00:00Z","before":{"id":"b"}}
{"stream":"w","seq":4,"host":"web1","type":"heartbeat","at":"2026-11-20T00:00:00Z","counts":{"modules":3}}
{"stream":"x","seq":1,"host":"web1","type":"baseline","at":"2026-11-21T00:00:00Z","snapshot":{"modules":[{"id":"a"}]}}
{"stream":"y","seq":1,"host":"db1","type":"baseline","at":"2026-11-22T00:00:00Z","delta":{"added":[{"id":"d"}]}}
`

// TestFirstOfFleet runs the page's query for what appeared first where on watches of several events.
func TestFirstOfFleet(t *testing.T) {
	sqlite, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("no sqlite3")
	}
	dir := t.TempDir()
	scripts := map[string]string{}
	for _, b := range blocksOf(readPage(t, filepath.Join("..", "..", "docs", "fleet.md"))) {
		scripts[b.file] = b.text
	}
	events := filepath.Join(dir, "events.jsonl")
	if err := os.WriteFile(events, []byte(strings.TrimPrefix(firstEvents, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	_, hosts, _ := lkmRun(t, "", "mirror", events)
	if err := os.WriteFile(filepath.Join(dir, "hosts.jsonl"), []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(sqlite, "fleet.db")
	c.Dir = dir
	c.Stdin = strings.NewReader(scripts["modules.sql"] + ".mode ascii\n.separator \"\\037\" \"\\n\"\n" +
		".import events.jsonl events\n.import hosts.jsonl hosts\n.mode list\n.separator \"|\"\n" + scripts["first.sql"])
	out, err := c.CombinedOutput()
	want := "d|db1|2026-11-22T00:00:00Z\n" +
		"c|web1|2026-11-13T00:00:00Z\nb|db1|2026-11-11T00:00:00Z\na|web1|2026-11-01T00:00:00Z\n"
	if err != nil || string(out) != want {
		t.Errorf("%v:\n%swant\n%s", err, out, want)
	}
}
