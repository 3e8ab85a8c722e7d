// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// A trap is what somebody put in the place of a file or a folder of an image.
type trap string

const (
	endless  trap = "endless"  // a file that goes on for ever, whatever its size says
	growing  trap = "growing"  // a file that is longer than its size, and another one each time
	special  trap = "special"  // a device
	sizeless trap = "sizeless" // a file that does not say how long it is
	huge     trap = "huge"     // a folder of very many entries
	deep     trap = "deep"     // a folder that is in itself, without end
	stuck    trap = "stuck"    // a folder whose listing fails after its first entries
)

var fileTraps = []trap{endless, growing, special, sizeless}
var folderTraps = []trap{huge, deep, stuck}

// A trapped machine has one trap.
type trapped struct {
	*faulty
	at   string
	trap trap
	n    int64
}

// inside reports whether a name is below a folder that is in itself, and what it is there.
func (m *trapped) inside(name string) (string, bool) {
	if m.trap != deep || !strings.HasPrefix(name, m.at+"/d/") && name != m.at+"/d" {
		return name, false
	}
	for strings.HasPrefix(name, m.at+"/d/") {
		name = m.at + strings.TrimPrefix(name, m.at+"/d")
	}
	if name == m.at+"/d" {
		name = m.at
	}
	return name, true
}

func (m *trapped) Open(name string) (fs.File, error) {
	name, _ = m.inside(name)
	f, err := m.faulty.Open(name)
	if err != nil || name != m.at || !slices.Contains(fileTraps, m.trap) {
		return f, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil || len(b) == 0 {
		b = []byte("a=b\n")
	}
	m.n++
	t := &trapFile{info: trapInfo{st, m.trap}, content: b}
	switch m.trap {
	case growing:
		t.left = int64(len(b)) * (1 + m.n%5)
	case special:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("no such device or address")}
	default:
		t.left = 1 << 40
	}
	return t, nil
}

func (m *trapped) Stat(name string) (fs.FileInfo, error) {
	name, _ = m.inside(name)
	st, err := m.faulty.Stat(name)
	if err == nil && name == m.at && slices.Contains(fileTraps, m.trap) {
		st = trapInfo{st, m.trap}
	}
	return st, err
}

func (m *trapped) Lstat(name string) (fs.FileInfo, error) {
	name, _ = m.inside(name)
	st, err := m.faulty.Lstat(name)
	if err == nil && name == m.at && slices.Contains(fileTraps, m.trap) {
		st = trapInfo{st, m.trap}
	}
	return st, err
}

func (m *trapped) ReadLink(name string) (string, error) {
	name, _ = m.inside(name)
	return m.faulty.ReadLink(name)
}

func (m *trapped) ReadDir(name string) ([]fs.DirEntry, error) {
	name, _ = m.inside(name)
	entries, err := m.faulty.ReadDir(name)
	if err != nil || name != m.at {
		return entries, err
	}
	entries = slices.Clone(entries)
	switch m.trap {
	case huge:
		for i := range 100_000 {
			entries = append(entries, trapEntry{fmt.Sprintf("zz%06d.ko", i), 0})
		}
	case deep:
		entries = append(entries, trapEntry{"d", fs.ModeDir})
	case stuck:
		return entries[:len(entries)/2], &fs.PathError{Op: "readdir", Path: name, Err: fmt.Errorf("input/output error")}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// A trapFile repeats its content until so many bytes were read.
type trapFile struct {
	info    fs.FileInfo
	content []byte
	left    int64
	at      int
}

func (f *trapFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *trapFile) Close() error               { return nil }

func (f *trapFile) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), f.left)], f.content[f.at:])
	f.at, f.left = (f.at+n)%len(f.content), f.left-int64(n)
	return n, nil
}

type trapInfo struct {
	fs.FileInfo
	trap trap
}

func (i trapInfo) Mode() fs.FileMode {
	if i.trap == special {
		return fs.ModeDevice | fs.ModeCharDevice | 0o644
	}
	return i.FileInfo.Mode()
}

func (i trapInfo) Size() int64 {
	if i.trap == sizeless {
		return 0
	}
	return i.FileInfo.Size()
}

type trapEntry struct {
	name string
	mode fs.FileMode
}

func (e trapEntry) Name() string               { return e.name }
func (e trapEntry) IsDir() bool                { return e.mode.IsDir() }
func (e trapEntry) Type() fs.FileMode          { return e.mode.Type() }
func (e trapEntry) Info() (fs.FileInfo, error) { return nil, fs.ErrNotExist }

// images are made-up machines whose files are an image, one of each system, and queries for each.
func images() []*subject {
	var list []*subject
	seen := make(map[lkm.OS]bool)
	for _, m := range madeUps() {
		if seen[m.os] || m.os == lkm.Linux {
			continue
		}
		seen[m.os] = true
		list = append(list, &subject{name: string(m.os), machine: m.machine})
	}
	return append(list,
		&subject{name: "linux", machine: func() lkm.Machine { return root{linuxRoot(true)} },
			queries: []string{"a", "c", "d", "fs-demo"}})
}

// imageOptions are those of an image of the subject.
func (s *subject) imageOptions(t *testing.T) lkm.Options {
	t.Helper()
	detail, err := lkm.ParseDetail("all")
	if err != nil {
		t.Fatal(err)
	}
	return lkm.Options{OS: lkm.OS(s.name), Detail: detail, MaxFile: 4 << 20}
}

// within runs f, and fails the test if it does not come back: the watchdog of what would wait for ever.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: it does not come back", what)
	}
}

// TestTraps puts each trap in the place of each file and folder that is asked for, in an image of each system. Every
// call comes back, and no gate closes by it.
func TestTraps(t *testing.T) {
	whole := os.Getenv("KERNELEXT_FULL") != ""
	runs := 0
	for _, s := range images() {
		t.Run(s.name, func(t *testing.T) {
			o := s.imageOptions(t)
			s.open = func(m *faulty) (*lkm.System, error) { return lkm.OpenImage(m, o) }
			queries := s.queriesOf(t)
			for _, c := range commands {
				before := faultyMachine(s.machine(), "", "")
				base := s.ask(t, c, before, queries)
				shapes := make(map[string]int)
				for i, input := range before.asked {
					op, name, _ := strings.Cut(input, " ")
					traps := fileTraps
					if op == "readdir" {
						traps = folderTraps
					} else if op != "open" {
						continue
					}
					if shapes[shapeOf(input)]++; shapes[shapeOf(input)] > 1 {
						continue
					}
					for j, trap := range traps {
						if !whole && (i+j)%29 != 0 {
							continue
						}
						runs++
						m := &trapped{faulty: faultyMachine(s.machine(), "", ""), at: name, trap: trap}
						within(t, fmt.Sprint(c.name, " ", input, " ", trap), func() {
							sys, err := lkm.OpenImage(m, o)
							if err != nil {
								return
							}
							defer sys.Close()
							for _, w := range c.run(t.Context(), sys, queries).worse(base) {
								if trap == growing || trap == endless && strings.Contains(w, "without a word") {
									continue // another file says another thing
								}
								t.Errorf("%s, %s %s: %s", c.name, input, trap, w)
							}
						})
					}
				}
			}
		})
	}
	t.Logf("%d runs", runs)
}

// TestSpecialFiles puts pipes, sockets, devices, folders and links in circles in the place of files, on a real disk.
func TestSpecialFiles(t *testing.T) {
	if _, err := exec.LookPath("mkfifo"); err != nil {
		t.Skipf("no pipes here: %v", err)
	}
	for _, s := range images() {
		t.Run(s.name, func(t *testing.T) {
			o := s.imageOptions(t)
			s.open = func(m *faulty) (*lkm.System, error) { return lkm.OpenImage(m, o) }
			queries := s.queriesOf(t)
			before := faultyMachine(s.machine(), "", "")
			var claimed []claims
			for _, c := range commands {
				claimed = append(claimed, s.ask(t, c, before, queries))
			}
			asked, shapes := []string{}, make(map[string]bool)
			for _, input := range before.asked {
				name, ok := strings.CutPrefix(input, "open ")
				if _, err := fs.Stat(before.Machine, name); ok && err == nil && !shapes[shapeOf(input)] {
					shapes[shapeOf(input)] = true
					asked = append(asked, name)
				}
			}
			kinds := []string{"pipe", "device", "socket", "folder", "circle"}
			if os.Getenv("KERNELEXT_FULL") == "" {
				kinds = kinds[:2]
			}
			for _, kind := range kinds {
				dir := t.TempDir()
				copyTree(t, before.Machine, dir)
				for _, name := range asked {
					place(t, filepath.Join(dir, filepath.FromSlash(name)), kind)
				}
				fsys, err := lkm.Dir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for j, c := range commands {
					within(t, c.name+" of "+kind, func() {
						sys, err := lkm.OpenImage(fsys, o)
						if err != nil {
							return
						}
						defer sys.Close()
						for _, w := range c.run(t.Context(), sys, queries).worse(claimed[j]) {
							if kind == "folder" && strings.Contains(w, ".ko") {
								continue // a folder of that name is not a module: nothing is there
							}
							t.Errorf("%s, %s: %s", kind, c.name, w)
						}
					})
				}
			}
		})
	}
}

// copyTree writes the files of a machine below a directory; what cannot be read is left out.
func copyTree(t *testing.T, m fs.FS, dir string) {
	t.Helper()
	err := fs.WalkDir(m, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "proc" || name == "sys" {
			return nil
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			if target, err := fs.ReadLink(m, name); err == nil {
				_ = os.Symlink(target, to)
			}
			return nil
		}
		b, err := fs.ReadFile(m, name)
		if err != nil {
			return nil
		}
		return os.WriteFile(to, bytes.Clone(b), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// place puts something else in the place of a file.
func place(t *testing.T, name, kind string) {
	t.Helper()
	if os.Remove(name) != nil {
		return
	}
	var err error
	switch kind {
	case "pipe":
		err = exec.CommandContext(t.Context(), "mkfifo", name).Run()
	case "socket":
		short := filepath.Join(os.TempDir(), fmt.Sprint("ket", time.Now().UnixNano()))
		var l net.Listener
		if l, err = new(net.ListenConfig).Listen(t.Context(), "unix", short); err == nil {
			t.Cleanup(func() { _ = l.Close() })
			err = os.Rename(short, name)
		}
	case "device": // as root /dev/zero, else a pipe
		if exec.CommandContext(t.Context(), "mknod", name, "c", "1", "5").Run() != nil {
			err = exec.CommandContext(t.Context(), "mkfifo", name).Run()
		}
	case "folder":
		err = os.Mkdir(name, 0o755)
	case "circle":
		err = os.Symlink(filepath.Base(name), name)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
}
