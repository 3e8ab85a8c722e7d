// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"
)

// special makes things that are not regular files in a folder, by their name, each with what an error says of it.
func special(t *testing.T, dir string) map[string]string {
	t.Helper()
	made := make(map[string]string)
	add := func(name, word string, err error) {
		if err == nil {
			made[name] = word
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	add("pipe", "pipe", exec.CommandContext(t.Context(), "mkfifo", at("pipe")).Run())
	for _, device := range []string{"zero", "urandom", "full", "ptmx"} {
		if _, err := os.Stat("/dev/" + device); err == nil {
			add(device, "", os.Symlink("/dev/"+device, at(device)))
			made[device] = "device"
		}
	}
	if l, err := new(net.ListenConfig).Listen(t.Context(), "unix", at("socket")); err == nil {
		t.Cleanup(func() { _ = l.Close() })
		add("socket", "socket", nil)
	}
	add("folder", "folder", os.Mkdir(at("folder"), 0o755))
	add("self", "links", os.Symlink(at("self"), at("self")))
	add("missing", "no such file", nil)
	f, err := os.Create(at("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	add("sparse", "too large", f.Truncate(1<<40))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if len(made) < 3 {
		t.Skip("no special file can be made here")
	}
	return made
}

// impatient runs the command, which gives up a pipe without a writer at once.
func impatient(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var errs bytes.Buffer
	a := newApp(args, strings.NewReader(""), io.Discard, &errs)
	a.wait = time.Millisecond
	return a.run(t.Context()), errs.String()
}

// TestSpecialFiles gives every command that reads a file each thing that is not such a file. None waits, none reads
// without end, and the error names the file and the cause.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	if err := os.MkdirAll(filepath.Join(image, "lib/modules/6.1.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	snapshot := tempFile(t, "a.json", []byte(`{"schema":0,"os":"linux","modules":[]}`))
	windows := []string{"list", "--tape", "demo:synthetic-windows11-user"}
	commands := map[string][]string{
		"root": {"list", "--root"}, "root of check": {"check", "a", "--root"},
		"root by name": {"list", "--os", "linux", "--installed", "--root"}, "live": {"list", "--live", "--root"},
		"info": {"info"}, "check": {"check"}, "import": {"import"}, "import as": {"import", "--as", "lsmod"},
		"keys":      {"list", "--os", "linux", "--root", image, "--keys"},
		"catalogs":  append(windows, "--detail", "signatures", "--catalogs"),
		"blocklist": append(windows, "--blocklist"), "tape": {"tape"}, "of a tape": {"list", "--tape"},
		"diff": {"diff", snapshot}, "audit": {"audit", "--rules", "cis-debian-12"},
		"rules": {"audit", snapshot, "--rules"}, "baseline": {"audit", snapshot, "--baseline"},
		"export": {"export", "cyclonedx"}, "mirror": {"mirror"},
		"since": {"watch", "--tape", "demo:debian-6.12-cloud-root", "--since"},
	}
	for object, word := range special(t, dir) {
		for about, args := range commands {
			name := filepath.Join(dir, object)
			if about == "check" { // what is not called as a module is a name
				_ = os.Symlink(name, name+".ko")
				name += ".ko"
			}
			code, stderr := impatient(t, append(args[:len(args):len(args)], name)...)
			folder := object == "folder" && (about == "catalogs" || strings.HasPrefix(about, "root") ||
				about == "live")
			if code != exitFatal && !(folder && about == "catalogs") && !(object == "sparse" && about == "mirror") {
				t.Errorf("%s of %s: exit %d, %s", about, object, code, stderr)
			}
			if strings.HasPrefix(about, "root") || about == "live" || about == "catalogs" || object == "sparse" ||
				about == "info" || about == "check" {
				continue // what is not a folder, or no file of code, is refused in other words
			}
			if !strings.Contains(stderr, word) || !strings.Contains(stderr, object) {
				t.Errorf("%s of %s does not say %q: %s", about, object, word, stderr)
			}
		}
	}
}

// TestSpecialFilesInFolders: what stands in a folder in the place of a file costs itself.
func TestSpecialFilesInFolders(t *testing.T) {
	dir := t.TempDir()
	for object := range special(t, dir) {
		reports := t.TempDir()
		if err := os.Symlink(filepath.Join(dir, object), filepath.Join(reports, "a.json")); err != nil {
			t.Skip(err)
		}
		if err := os.WriteFile(filepath.Join(reports, "b.json"),
			[]byte(`{"schema":0,"os":"linux","modules":[]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, stderr := impatient(t, "report", "-o", "-", reports); code != 0 ||
			!strings.Contains(stderr, "a.json") {
			t.Errorf("report of %s: exit %d, %s", object, code, stderr)
		}
		hosts := t.TempDir()
		if err := os.Symlink(filepath.Join(dir, object), filepath.Join(hosts, "h.json")); err != nil {
			t.Fatal(err)
		}
		events := tempFile(t, "events", []byte(`{"type":"heartbeat","host":"h","stream":"s","sequence":1}`+"\n"))
		if code, stderr := impatient(t, "mirror", "-o", hosts, events); object != "missing" && (code != exitFatal ||
			!strings.Contains(stderr, "h.json")) {
			t.Errorf("mirror beside %s: exit %d, %s", object, code, stderr)
		}
		bundle := filepath.Join(t.TempDir(), "X.kext")
		if err := os.MkdirAll(filepath.Join(bundle, "Contents"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, object), filepath.Join(bundle, "Contents", "Info.plist")); err != nil {
			t.Fatal(err)
		}
		if code, stderr := impatient(t, "info", bundle); code != exitFatal || !strings.Contains(stderr, "X.kext") {
			t.Errorf("a bundle with %s: exit %d, %s", object, code, stderr)
		}
		if code, stderr := impatient(t, "list", "--installed", "--detail", "signatures", "--tape",
			"demo:synthetic-windows11-user", "--catalogs", dir); code != 0 {
			t.Errorf("catalogs: exit %d, %s", code, stderr)
		}
	}
}

// TestPipesAreRead: a pipe that somebody writes to is read as a file is, by every command that reads one from its
// beginning to its end.
func TestPipesAreRead(t *testing.T) {
	const snapshot = `{"schema":0,"os":"linux","modules":[]}`
	saved := tempFile(t, "a.json", []byte(snapshot))
	for about, c := range map[string]struct {
		text string
		args []string
	}{
		"import":   {"Module                  Size  Used by\next4 1 0\n", []string{"import"}},
		"diff":     {snapshot, []string{"diff", saved}},
		"export":   {snapshot, []string{"export", "cyclonedx"}},
		"baseline": {snapshot, []string{"audit", saved, "--baseline"}},
		"mirror":   {`{"type":"heartbeat","host":"h","stream":"s","sequence":1}` + "\n", []string{"mirror"}},
	} {
		name := filepath.Join(t.TempDir(), "pipe")
		if err := exec.CommandContext(t.Context(), "mkfifo", name).Run(); err != nil {
			t.Skip(err)
		}
		go func() { _ = os.WriteFile(name, []byte(c.text), 0) }()
		code, _, stderr := lkmRun(t, "", append(c.args, name)...)
		if code == exitFatal {
			t.Errorf("%s: exit %d, %s", about, code, stderr)
		}
	}
}

// TestReadingEndsWithTheContext: what waits for input ends when the user interrupts.
func TestReadingEndsWithTheContext(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in := &waiting{r: r, ctx: ctx}
	go func() { _, _ = w.Write([]byte("abc")) }()
	b := make([]byte, 2)
	if n, err := in.Read(b); n != 2 || err != nil || string(b) != "ab" {
		t.Errorf("%d, %v, %q", n, err, b)
	}
	if n, err := in.Read(b); n != 1 || err != nil || b[0] != 'c' {
		t.Errorf("%d, %v, %q", n, err, b)
	}
	cancel()
	for range 2 {
		if n, err := in.Read(b); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d, %v", n, err)
		}
	}
	if f, err := openPipe(ctx, os.DevNull, os.O_RDONLY, time.Hour); err == nil {
		_ = f.Close() // which of the two came first is not said
	}
}

// TestTextOfWindows: > of Windows PowerShell writes UTF-16, and an editor a mark before UTF-8.
func TestTextOfWindows(t *testing.T) {
	const text = "{\"a\":\"\u00fc\u20ac\U0001f600\"}\n"
	wide := func(order binary.AppendByteOrder, text string) string {
		b := order.AppendUint16(nil, 0xfeff)
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	for _, in := range []string{text, "\xef\xbb\xbf" + text, wide(binary.LittleEndian, text),
		wide(binary.BigEndian, text)} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			got, err := io.ReadAll(iotest.OneByteReader(utf8Text(r)))
			if err != nil || string(got) != text {
				t.Errorf("%q: %q, %v", in, got, err)
			}
		}
	}
	if got, err := io.ReadAll(utf8Text(strings.NewReader("\xff\xfea\x00b"))); err == nil {
		t.Errorf("cut off: %q", got)
	}
	_, whole, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-container", "--host", "web1")
	if code, out, errs := lkmRun(t, wide(binary.LittleEndian, whole), "mirror"); code != 0 || out == "" {
		t.Errorf("mirror: exit %d, %s", code, errs)
	}
	_, snap, _ := lkmRun(t, "", "list", "--tape", "demo:synthetic-container", "--format", "json")
	name := tempFile(t, "snapshot", []byte(wide(binary.LittleEndian, snap)))
	if code, out, errs := lkmRun(t, "", "diff", name, "demo:synthetic-container"); code != 0 {
		t.Errorf("diff: exit %d, %s%s", code, out, errs)
	}
}

// TestGrowingFile: a file is read to where it ended when it was opened.
func TestGrowingFile(t *testing.T) {
	name := tempFile(t, "events", []byte("one\n"))
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := asItIs(f)
	more, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	if _, err := more.WriteString("two\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "one\n" {
		t.Errorf("%q, %v", b, err)
	}
}
