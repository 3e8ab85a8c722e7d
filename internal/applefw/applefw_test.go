// SPDX-License-Identifier: Apache-2.0

//go:build darwin || (linux && !android && (amd64 || arm64))

package applefw

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
)

// TestSymbols names every C symbol that the source uses: there are no others.
func TestSymbols(t *testing.T) {
	want := []string{
		"CFArrayCreate", "CFDataGetBytePtr", "CFDataGetLength", "CFPropertyListCreateData", "CFRelease",
		"CFStringCreateWithCString",
		"KextManagerCopyLoadedKextInfo", "OSKextSetLogOutputFunction", "csr_get_active_config", "kCFTypeArrayCallBacks",
	}
	source, err := os.ReadFile("applefw.go")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`"(\w+)": +&`).FindAllSubmatch(source, -1) {
		got = append(got, string(m[1]))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("symbols %q, want %q", got, want)
	}
	if n := strings.Count(string(source), "purego.Dlsym("); n != 1 {
		t.Errorf("Dlsym is called in %d places, want the one in open", n)
	}
}

// A fake is the stand-in library with its own controls.
type fake struct {
	path  string
	read  func(name string) int64
	reset func(mode int64)
	text  func() string
}

// build compiles the stand-in. The test needs a C compiler, and the calls' rules of an ordinary Unix.
func build(t testing.TB, flags ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the stand-in library is built on Linux only")
	}
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc (Debian package gcc)")
	}
	path := filepath.Join(t.TempDir(), "libfake.so")
	args := append([]string{"-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", path}, flags...)
	out, err := exec.Command(cc, append(args, "testdata/fake.c")...).CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return path
}

func load(t testing.TB) *fake {
	t.Helper()
	f := &fake{path: build(t)}
	h, err := purego.Dlopen(f.path, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { purego.Dlclose(h) })
	purego.RegisterLibFunc(&f.read, h, "fake_read")
	purego.RegisterLibFunc(&f.reset, h, "fake_reset")
	purego.RegisterLibFunc(&f.text, h, "fake_text")
	return f
}

func (f *fake) paths() Paths { return Paths{f.path, f.path, f.path} }

// clean checks that nothing is left over and nothing was passed wrongly.
func (f *fake) clean(t *testing.T, created int64) {
	t.Helper()
	for name, want := range map[string]int64{"live": 0, "bad": 0, "log_late": 0, "created": created} {
		if got := f.read(name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}

func TestLoadedKextInfo(t *testing.T) {
	f := load(t)
	keys := []string{"CFBundleIdentifier", "OSBundleLoadTag", "ключ"}

	f.reset(0)
	b, err := LoadedKextInfo(f.paths(), keys)
	if err != nil || string(b) != "bplist00-stand-in" {
		t.Fatalf("%q, %v", b, err)
	}
	if f.read("queries") != 1 || f.read("keys") != 3 || f.text() != "CFBundleIdentifier OSBundleLoadTag ключ" {
		t.Errorf("asked %d times for %d keys %q", f.read("queries"), f.read("keys"), f.text())
	}
	f.clean(t, 3+1+1+1) // strings, their array, the dictionary, the data

	f.reset(0)
	if _, err := LoadedKextInfo(f.paths(), nil); err != nil {
		t.Errorf("no keys: %v", err)
	}
	f.clean(t, 3)

	f.reset(1)
	if b, err := LoadedKextInfo(f.paths(), keys); !errors.Is(err, fs.ErrPermission) || b != nil {
		t.Errorf("refusal: %q, %v", b, err)
	}
	f.clean(t, 4)

	f.reset(2)
	if b, err := LoadedKextInfo(f.paths(), keys); err == nil || b != nil {
		t.Errorf("no data: %q, %v", b, err)
	}
	f.clean(t, 6) // with the error object

	f.reset(3)
	if b, err := LoadedKextInfo(f.paths(), keys); err == nil || b != nil {
		t.Errorf("empty data: %q, %v", b, err)
	}
	f.clean(t, 6)
}

func TestCSRConfig(t *testing.T) {
	f := load(t)
	f.reset(0)
	if v, err := CSRConfig(f.paths()); err != nil || v != 0x80000203 {
		t.Errorf("%#x, %v", v, err)
	}
	f.reset(4)
	if v, err := CSRConfig(f.paths()); err == nil || v != 0 {
		t.Errorf("%#x, %v", v, err)
	}
	f.clean(t, 0)
}

func TestMissing(t *testing.T) {
	for _, flag := range []string{"-DNO_COPY_INFO", "-DNO_CFRELEASE -DCFRelease=other_release"} {
		path := build(t, strings.Fields(flag)...)
		if b, err := LoadedKextInfo(Paths{path, path, path}, nil); !errors.Is(err, errors.ErrUnsupported) || b != nil {
			t.Errorf("%s: %q, %v", flag, b, err)
		}
	}
	none := filepath.Join(t.TempDir(), "none.so")
	if _, err := LoadedKextInfo(Paths{none, none, none}, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no library: %v", err)
	}
	if _, err := CSRConfig(Paths{none, none, none}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no library: %v", err)
	}
}

// TestNoGrowth makes many calls and looks at the process's memory.
func TestNoGrowth(t *testing.T) {
	f := load(t)
	f.reset(0)
	keys := []string{"CFBundleIdentifier", "CFBundleVersion", "OSBundleLoadTag"}
	round := func(n int) {
		for range n {
			if _, err := LoadedKextInfo(f.paths(), keys); err != nil {
				t.Fatal(err)
			}
		}
	}
	round(1000)
	before := resident(t)
	round(10_000)
	if grown := resident(t) - before; grown > 8<<10 {
		t.Errorf("10,000 calls grew the process by %d KiB", grown)
	}
	f.clean(t, 6*11_000)
}

// resident is the process's memory in KiB.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	file, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmRSS:"); ok {
			n := 0
			for _, c := range rest {
				if c >= '0' && c <= '9' {
					n = n*10 + int(c-'0')
				}
			}
			return n
		}
	}
	t.Skip("no VmRSS")
	return 0
}
