// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// writers are the commands that write one file, each without its -o FILE.
func writers(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{
		"export": {"export", "ecs", "--tape", "demo:synthetic-aix", "-o"},
		"report": {"report", "--tape", "demo:synthetic-nomodules", "-o"},
	}
	if _, _, err := lkm.Live(lkm.Options{}); err == nil {
		all["record"] = []string{"record", "-o"}
	}
	return all
}

// TestOutputIntoPipes: a pipe stays a pipe, and its reader gets everything. One that nobody reads is an error.
func TestOutputIntoPipes(t *testing.T) {
	for about, args := range writers(t) {
		name, lonely := filepath.Join(t.TempDir(), "pipe"), filepath.Join(t.TempDir(), "pipe")
		if err := exec.CommandContext(t.Context(), "mkfifo", name, lonely).Run(); err != nil {
			t.Skip(err)
		}
		if code, stderr := impatient(t, append(args, lonely)...); code != exitFatal ||
			!strings.Contains(stderr, "nobody reads") {
			t.Errorf("%s to nobody: exit %d, %s", about, code, stderr)
		}
		got := make(chan []byte)
		go func() {
			text, _ := os.ReadFile(name)
			got <- text
		}()
		code, _, stderr := lkmRun(t, "", append(args, name)...)
		info, err := os.Lstat(name)
		if code != 0 || err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
			t.Fatalf("%s: exit %d, %v, %v: %s", about, code, info, err, stderr)
		}
		if text := <-got; len(text) < 100 {
			t.Errorf("%s: the reader got %q", about, text)
		}
	}
}

// TestOutputBehindLinks: a link stays a link, whatever it leads to: a file, which is replaced and keeps its
// permissions, a file that is not there yet, or a device.
func TestOutputBehindLinks(t *testing.T) {
	for about, args := range writers(t) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		if err := os.WriteFile(at("private"), []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		links := map[string]string{"file": at("private"), "chain": at("file"), "new": "made", "null": os.DevNull}
		for link, target := range links {
			if err := os.Symlink(target, at(link)); err != nil {
				t.Skip(err)
			}
		}
		for link := range links {
			if link == "null" && runtime.GOOS == "windows" {
				continue
			}
			code, _, stderr := lkmRun(t, "", append(args, at(link))...)
			if info, err := os.Lstat(at(link)); code != 0 || err != nil || info.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("%s to %s: exit %d, %v, %v: %s", about, link, code, info, err, stderr)
			}
		}
		for _, file := range []string{"private", "made"} {
			if text, err := os.ReadFile(at(file)); err != nil || len(text) < 100 {
				t.Errorf("%s: %s: %v, %q", about, file, err, text)
			}
		}
		info, err := os.Stat(at("private"))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", about, info, err)
		}
		if left, err := filepath.Glob(at(".lkm-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left over: %q, %v", about, left, err)
		}
	}
}

// TestOutputThatFails: what cannot be written whole does not replace what was there.
func TestOutputThatFails(t *testing.T) {
	name := tempFile(t, "old", []byte("before"))
	a := newApp(nil, strings.NewReader(""), io.Discard, io.Discard)
	err := a.writeFile(name, func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return io.ErrShortWrite
	})
	text, bad := os.ReadFile(name)
	if err == nil || bad != nil || string(text) != "before" {
		t.Errorf("%v, %v: %q", err, bad, text)
	}
	if err := a.writeFile(t.TempDir(), func(io.Writer) error { return nil }); err == nil {
		t.Error("a folder is written to")
	}
}

// TestMirrorReplacesLinks: whoever may write into the folder cannot make mirror write elsewhere, and what is not a file
// is not written to.
func TestMirrorReplacesLinks(t *testing.T) {
	_, events, _ := lkmRun(t, "", "watch", "--tape", "demo:synthetic-debian-root", "--host", "web1")
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "web1.json")
	link := filepath.Join(dir, "web1.json")
	for _, before := range []string{"", "{}"} { // the file that the link leads to is not there yet, and then is
		if before != "" {
			if err := os.WriteFile(elsewhere, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(elsewhere, link); err != nil {
			t.Skip(err)
		}
		code, _, stderr := lkmRun(t, events, "mirror", "-o", dir)
		if info, err := os.Lstat(link); code != 0 && before == "" || err != nil || !info.Mode().IsRegular() {
			t.Fatalf("exit %d, %v, %v: %s", code, info, err, stderr)
		}
		if text, err := os.ReadFile(elsewhere); string(text) != before {
			t.Errorf("%v: %.100s", err, text)
		}
		if text, err := os.ReadFile(link); err != nil || !bytes.Contains(text, []byte(`"web1"`)) {
			t.Errorf("%v: %.100s", err, text)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec.CommandContext(t.Context(), "mkfifo", link).Run(); err != nil {
		t.Skip(err)
	}
	begun := make(chan int)
	go func() {
		code, _, _ := lkmRun(t, events, "mirror", "-o", dir)
		begun <- code
	}()
	select {
	case code := <-begun:
		if info, err := os.Lstat(link); code != exitFatal || err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
			t.Errorf("exit %d, %v, %v", code, info, err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for a reader of the pipe")
	}
}

// TestOutputInPlace: a file that may be written and not replaced is written in its place: one in a folder that takes no
// new file, and one that something is mounted on.
func TestOutputInPlace(t *testing.T) {
	mounted := tempFile(t, "old", []byte("before, and longer than what is written"))
	files := map[string]string{"/proc/self/comm": "in place\n", mounted: "in place"}
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	if out, err := exec.CommandContext(t.Context(), "mount", "--bind", mounted, mounted).CombinedOutput(); err != nil {
		t.Logf("no mount: %v\n%s", err, out)
		delete(files, mounted)
	} else {
		t.Cleanup(func() { _ = exec.Command("umount", mounted).Run() })
	}
	a := newApp(nil, strings.NewReader(""), io.Discard, io.Discard)
	for name, want := range files {
		before, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		put := func(text []byte) error {
			return a.writeFile(name, func(w io.Writer) error {
				_, err := w.Write(text)
				return err
			})
		}
		err = put([]byte("in place"))
		text, bad := os.ReadFile(name)
		if err != nil || bad != nil || string(text) != want {
			t.Errorf("%s: %v, %v: %q", name, err, bad, text)
		}
		if err := put(bytes.TrimSpace(before)); err != nil {
			t.Error(err)
		}
	}
}

// A file that has taken the place of the one to overwrite, as a link to another one, stays as it is.
func TestOverwriteOnlyTheSameFile(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "name"), filepath.Join(dir, "other")
	for _, f := range []string{name, other} {
		if err := os.WriteFile(f, []byte("before, and longer"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer) error {
		_, err := io.WriteString(w, "after")
		return err
	}
	if err := overwrite(name, old, write); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "after" {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Rename(name, filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, name); err != nil {
		t.Skip(err)
	}
	if err := overwrite(name, old, write); err == nil {
		t.Error("a link to another file was followed")
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "before, and longer" {
		t.Errorf("%q, %v", text, err)
	}
}

// On a full disk the old file stays as it is.
func TestOutputOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=2", "none", dir)
	if out, err := mount.CombinedOutput(); err != nil {
		t.Skipf("no file system of a given size can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	name := filepath.Join(dir, "old") // the second of the two inodes: a file beside it finds no room
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(dir, "new")); err == nil {
		f.Close()
		t.Skip("the file system is not full")
	}
	for _, form := range []string{"ecs", "prometheus"} {
		code, _, stderr := lkmRun(t, "", "export", form, "--tape", "demo:synthetic-aix", "-o", name)
		text, err := os.ReadFile(name)
		if code != exitFatal || err != nil || string(text) != "before" {
			t.Errorf("%s: exit %d, %v: %q\n%s", form, code, err, text, stderr)
		}
	}
}
