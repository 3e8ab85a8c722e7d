// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/captures.md")

// docsHead is the text above the table.
const docsHead = `# Captures: texts of other tools
<!-- Made by go test ./lkm/capture -run Docs -update. -->
"lkm import FILE…" and capture.Read take these texts, of any system on any system. The kind is detected from the first
64 KiB, or named with "--as KIND". A text may have prompts, carriage returns, byte-order marks, UTF-16 and terminal
colors, may be quoted with "> " at any depth, may be in a Markdown fence or be a Markdown table, and may be broken at
a terminal's width. A session that shows several commands is read command by command, and gives one snapshot. The
encoding that a text was decoded from is with its source ("encoding"), if it is not UTF-8.

"lkm import ARCHIVE" and capture.ReadArchive search a tar or zip file, packed with gzip, bzip2, xz, zstd or not at all,
for such texts and for the files of a root that say the same (proc/modules, sys/module/NAME/version): a sosreport, a
supportconfig, a collection of UAC, or any other. Each machine's folder gives one snapshot; a second text of one kind in
one folder is another machine's, or another time's. The archive is read as a stream; no link is followed, names that
lead out of it are left out and reported, and it may decompress to at most 64 times its size and 32 MiB.

A source is "ok" only if nothing in the text says that it is a part: a command that leaves rows out or may ("| grep",
"| head", a pipe into a program that is not known, an option or a name that chooses rows), an error of the tool or of
the shell, an ellipsis, a page that was not turned, a cut end, a missing header, a line that is not a row. Else it is
"partial", with the reason, and what a part may have left out is unknown. A refusal (sudo, a management policy, access
denied) is an error, and so is an empty list of a tool that always lists something.

| kind | system | recognized by | says | cannot say | edits that it notices |
|---|---|---|---|---|---|
`

// TestDocs writes docs/captures.md from the table of readers.
func TestDocs(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(docsHead)
	for _, r := range readers() {
		name := "`" + string(r.kind) + "`"
		if r.experimental {
			name += " (experimental)"
		}
		if r.shown == "" || r.fills == "" || r.lacks == "" || r.notices == "" {
			t.Errorf("%s: the table is not whole", r.kind)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, r.os, r.shown, r.fills, r.lacks, r.notices)
	}
	file := filepath.Join("..", "..", "docs", "captures.md")
	old, _ := os.ReadFile(file)
	if bytes.Equal(old, b.Bytes()) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the table says (go test ./lkm/capture -run Docs -update rewrites it)", file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTools has every tool in lower case: commands are compared so.
func TestTools(t *testing.T) {
	for _, r := range readers() {
		for _, tool := range r.tools {
			if tool != strings.ToLower(tool) {
				t.Errorf("%s: %s", r.kind, tool)
			}
		}
	}
}
