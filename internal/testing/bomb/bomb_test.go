// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/pkgdb"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
	"github.com/kernelext/kernelext/lkm/tape"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/netware"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/windows"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/registry"
)

// A disk is a mounted disk: it answers no calls.
type disk struct{ fstest.MapFS }

func (disk) Call(context.Context, string, ...string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

// allDetails are those that a file by itself has.
const allDetails = lkm.DetailFiles | lkm.DetailSignatures | lkm.DetailHashes | lkm.DetailSymbols

// blow gives an input to what reads it. What it answers does not matter, only what it costs.
func blow(b *bomb.Bomb, files fstest.MapFS, r *fact.Report) {
	ctx := context.Background()
	data := func() *bytes.Reader { return bytes.NewReader(files[b.Path].Data) }
	image := fact.Options{Image: true, Kernel: "6.1.0", Workers: 1}
	switch b.Of {
	case bomb.LinuxImage:
		for name, f := range linuxDisk() {
			if files[name] == nil {
				files[name] = f
			}
		}
		k := linux.Open(disk{files}, image)
		_, _ = k.Check(ctx, "a", r)
		_, _ = k.Policy(ctx, r)
		_, _ = k.Plan(ctx, "a", r)
		_, _ = k.FileDiscrepancies(ctx, r)
		for range k.Installed(ctx, r) {
		}
	case bomb.LinuxLint:
		for name, f := range linuxDisk() {
			if files[name] == nil {
				files[name] = f
			}
		}
		_, _ = linux.Open(disk{files}, image).Config(ctx, true, r)
	case bomb.LinuxUpgrade:
		maps.Copy(files, upgradeDisk(files))
		k := linux.Open(runningDisk{disk{files}}, fact.Options{Kernel: "6.1.0", Workers: 1})
		_, _ = k.Upgrade(ctx, "6.2.0", r)
	case bomb.LinuxKeys:
		blowKeys(files, r)
	case bomb.LinuxFile, bomb.MacFile, bomb.NetWare, bomb.WindowsFile, bomb.BSDFile:
		name := b.Path
		if b.Of == bomb.MacFile && fs.ValidPath(name) && name != "a.kc" {
			name = "a.kext"
		}
		readFile(ctx, files, name, r)
	case bomb.MacImage:
		for range darwin.Open(disk{files}, fact.Options{Image: true, Detail: allDetails}).Installed(ctx, r) {
		}
	case bomb.BSDImage, bomb.LinkerHint:
		files["boot/kernel/kernel"] = &fstest.MapFile{Data: []byte("\x7fELF"), Mode: 0o644}
		k := freebsd.Open(disk{files}, fact.Options{Image: true, OS: fact.FreeBSD})
		_, _ = k.Check(ctx, "a", r)
		_, _ = k.Policy(ctx, r)
		_, _ = k.Plan(ctx, "a", r)
		_, _ = k.Resolve(ctx, "a", r)
		for range k.Installed(ctx, r) {
		}
	case bomb.BSDHashes:
		files["boot/kernel/kernel"] = &fstest.MapFile{Data: []byte("\x7fELF"), Mode: 0o644}
		image = fact.Options{Image: true, OS: fact.FreeBSD, Detail: allDetails}
		for range freebsd.Open(disk{files}, image).Installed(ctx, r) {
		}
	case bomb.NetBSDImage, bomb.SolarisImage:
		blowUnix(ctx, b, files, r)
	case bomb.WindowsImage:
		for name, f := range windowsDisk() {
			if files[name] == nil {
				files[name] = f
			}
		}
		k := windows.Open(disk{files}, fact.Options{Image: true, Detail: allDetails, Workers: 1})
		for range k.Installed(ctx, r) {
		}
		_, _ = k.Check(ctx, "s", r)
		_, _ = k.Resolve(ctx, `PCI\VEN_8086`, r)
		_, _ = k.Policy(ctx, r)
	case bomb.Signature:
		v := authenticode.NewVerifier(keySet(), time.Now(), nil, r)
		_, _ = windows.ParseFile(files[b.Path].Data, windows.FileOptions{Hashes: true, Verifier: v}, r)
	case bomb.Catalogs:
		_, _ = authenticode.NewCatalogs(files, ".").Load(ctx, r)
	case bomb.Disallowed:
		authenticode.NewStores(nil, nil, r).Disallow(files[b.Path].Data, b.Path, r)
	case bomb.PkgPackages:
		pkgdb.Read(ctx, pkgdb.Query{FS: files, Wanted: func(string) bool { return true }}, r, pkgdb.Pkg)
	case bomb.Hive:
		k := windows.Open(disk{fstest.MapFS{"C:/Windows/System32/config/SYSTEM": files[""]}},
			fact.Options{Image: true})
		for range k.Installed(ctx, r) {
		}
	case bomb.Packages:
		q := pkgdb.Query{FS: files, Source: "packages", Dirs: []string{"lib/modules/", "usr/lib/modules/"}, Sums: true,
			Wanted: func(path string) bool { return strings.HasSuffix(path, ".ko") }}
		pkgdb.Read(ctx, q, r, pkgdb.Dpkg, pkgdb.Opkg, pkgdb.RPM, pkgdb.APK, pkgdb.Pacman)
	case bomb.Capture:
		_, _ = capture.Read(data(), capture.Kind(b.Path))
	case bomb.Archive:
		_, _ = capture.ReadArchive(data())
	case bomb.Snapshot:
		_, _ = lkm.Decode(data())
	case bomb.Events:
		for range lkm.ReadEvents(data()) {
		}
	case bomb.Tape:
		_, _ = tape.Read(data())
	case bomb.Reg:
		_, _ = registry.ParseText("x.reg", files[b.Path].Data, r)
	case bomb.BlockList:
		_, _ = windows.ParseBlockList(files[b.Path].Data, r)
	default:
		panic("nothing reads " + b.Of)
	}
}

// blowUnix asks everything of an image of NetBSD, or of illumos.
func blowUnix(ctx context.Context, b *bomb.Bomb, files fstest.MapFS, r *fact.Report) {
	for name, data := range map[string][]byte{"netbsd": kotest.KMODOf("in", ""), "kernel/drv/amd64/a": nil,
		"stand/amd64/10.0/modules/a/a.kmod": kotest.KMODOf("a", "in")} {
		if files[name] == nil {
			files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		}
	}
	if b.Of == bomb.NetBSDImage {
		k := netbsd.Open(disk{files}, fact.Options{Image: true, OS: fact.NetBSD})
		_, _ = k.Check(ctx, "a", r)
		_, _ = k.Policy(ctx, r)
		_, _ = k.Resolve(ctx, "a", r)
		return
	}
	k := solaris.Open(disk{files}, fact.Options{Image: true, OS: fact.Illumos})
	_, _ = k.Check(ctx, "a", r)
	_, _ = k.Policy(ctx, r)
	_, _ = k.Resolve(ctx, "a", r)
}

// readFile reads a file by itself, in the order in which lkm shows it to the kernels' packages.
func readFile(ctx context.Context, files fstest.MapFS, name string, r *fact.Report) {
	var head []byte
	if f := files[name]; f != nil {
		head = f.Data[:min(len(f.Data), 4096)]
	}
	o := fact.Options{Detail: allDetails}
	for _, ok := range []func() bool{
		func() bool { _, ok, _ := darwin.ReadFile(ctx, files, name, head, o, r); return ok },
		func() bool { _, ok, _ := netware.ReadFile(ctx, files, name, head, o, r); return ok },
		func() bool { _, ok, _ := freebsd.ReadFile(ctx, files, name, head, o, r); return ok },
		func() bool { _, ok, _ := netbsd.ReadFile(ctx, files, name, head, o, r); return ok },
		func() bool { _, ok, _ := windows.ReadFile(ctx, files, name, head, o, r); return ok },
		func() bool { _, ok, _ := linux.ReadFile(ctx, files, name, head, o, r); return ok },
	} {
		if ok() {
			return
		}
	}
}

// grubText is an entry with an initial file system.
const grubText = "menuentry a {\nlinux /vmlinuz-6.1.0\ninitrd /initrd.img-6.1.0\n}\n"

// linuxDisk is a Linux with one module, to which a bomb is added.
func linuxDisk() fstest.MapFS {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("a")...).Bytes()
	return fstest.MapFS{
		"lib/modules/6.1.0/modules.dep":     linuxtest.File("kernel/a.ko:\n"),
		"lib/modules/6.1.0/modules.alias":   linuxtest.File(""),
		"lib/modules/6.1.0/modules.builtin": linuxtest.File(""),
		"lib/modules/6.1.0/kernel/a.ko":     {Data: module, Mode: 0o644},
		"boot/grub/grub.cfg":                linuxtest.File(grubText),
		"etc/fstab":                         linuxtest.File(""),
	}
}

// windowsDisk is a Windows with one driver's service, to which a bomb is added.
func windowsDisk() fstest.MapFS {
	return fstest.MapFS{
		"C:/Windows/System32/config/SYSTEM": linuxtest.File(string(hivetest.System())),
		"C:/Windows/INF/x.inf":              linuxtest.File(""),
	}
}

// keySet is what a caller trusts: a certificate that no bomb leads to.
func keySet() []fact.KeySet {
	return []fact.KeySet{{Name: "x", Certificates: []*x509.Certificate{{Raw: bomb.Certificate("x", "x", 1, nil)}}}}
}

// upgradeDisk is what a bomb lacks of a Linux with two kernels.
func upgradeDisk(files fstest.MapFS) fstest.MapFS {
	more := make(fstest.MapFS)
	for name, f := range linuxDisk() {
		for _, name := range []string{name, strings.Replace(name, "6.1.0", "6.2.0", 1)} {
			if files[name] == nil {
				more[name] = f
			}
		}
	}
	for name, text := range map[string]string{"proc/cmdline": "", "proc/modules": "a 1 0 - Live 0x0\n",
		"proc/1/mountinfo": "1 0 8:1 / / rw - ext4 /dev/a rw\n"} {
		if files[name] == nil {
			more[name] = linuxtest.File(text)
		}
	}
	return more
}

// A runningDisk is a disk whose kernel runs.
type runningDisk struct{ disk }

func (runningDisk) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	if op == linux.OpUname {
		return []byte("release 6.1.0\n"), nil
	}
	return nil, errors.ErrUnsupported
}

// cost blows a bomb of n parts.
func cost(b *bomb.Bomb, n int) (fact.Cost, uint64, time.Duration) {
	files := b.Files(n)
	r := fact.Report{Budget: fact.NewBudget(0)}
	begin := time.Now()
	bytes := linuxtest.Allocated(func() { blow(b, files, &r) })
	return r.Budget.Cost(), bytes, time.Since(begin)
}

// TestDoubling blows every bomb at three sizes: with twice the input, the counted work and the bytes that were asked
// for grow less than 2.5 times.
func TestDoubling(t *testing.T) {
	all := bomb.All()
	if len(all) < 40 {
		t.Errorf("only %d bombs", len(all))
	}
	names := make(map[string]bool)
	for i := range all {
		b := &all[i]
		if names[b.Name] {
			t.Errorf("%s twice", b.Name)
		}
		names[b.Name] = true
		if b.Small <= 0 || b.Big <= b.Small {
			t.Fatalf("%s: sizes %d and %d", b.Name, b.Small, b.Big)
		}
		cost(b, 1) // what is made at first use
		before, bytesBefore, _ := cost(b, b.Small)
		for n := 2 * b.Small; n <= 4*b.Small; n *= 2 {
			after, bytes, took := cost(b, n)
			t.Logf("%-30s %6d: %10d steps, %10d bytes, %v", b.Name, n, after.Work, bytes, took)
			if limit := grown(bytesBefore); bytes > limit {
				t.Errorf("%s: %d parts ask for %d bytes, twice as many for %d", b.Name, n/2, bytesBefore, bytes)
			}
			if limit := grown(uint64(before.Work)); uint64(after.Work) > limit {
				t.Errorf("%s: %d parts take %d steps, twice as many %d", b.Name, n/2, before.Work, after.Work)
			}
			before, bytesBefore = after, bytes
		}
	}
}

// grown is the most that twice the input may cost. A base does not count: buffers that are larger than the input.
func grown(n uint64) uint64 { return n*5/2 + 128<<10 }

// The most that a bomb of its worst size may cost.
const (
	maxMemory = 256 << 20
	maxTime   = 10 * time.Second
)

// childOf is the variable that names the bomb that a child process blows.
const childOf = "KERNELEXT_BOMB"

// TestChild blows one bomb, in a process of its own.
func TestChild(t *testing.T) {
	name := os.Getenv(childOf)
	if name == "" {
		t.Skip("only a child of TestWorst blows a bomb here")
	}
	for _, b := range bomb.All() {
		if b.Name == name {
			c, bytes, _ := cost(&b, b.Big)
			fmt.Printf("%d steps, %d MB counted, %d MB asked for\n", c.Work, c.Memory>>20, bytes>>20)
		}
	}
}

// TestWorst blows every bomb at its worst, each in a process of its own, which it may not make large or slow.
func TestWorst(t *testing.T) {
	if os.Getenv("KERNELEXT_FULL") == "" {
		t.Skip("the worst sizes of all bombs take minutes: .ci/run full")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bomb.All() {
		ctx, cancel := context.WithTimeout(t.Context(), 6*maxTime)
		c := exec.CommandContext(ctx, "sh", "-c",
			`ulimit -v 6000000; exec "$0" -test.run '^TestChild$' -test.v`, self)
		c.Env = append(os.Environ(), childOf+"="+b.Name)
		out, err := c.CombinedOutput()
		cancel()
		if c.ProcessState == nil || errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		}
		used := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		memory := int64(reflect.ValueOf(c.ProcessState.SysUsage()).Elem().FieldByName("Maxrss").Int()) << 10
		said := strings.TrimSpace(strings.TrimPrefix(string(out), "=== RUN   TestChild\n"))
		said, _, _ = strings.Cut(said, "\n")
		t.Logf("%-30s %7d parts: %3d MB, %5.1f s (%.80s)", b.Name, b.Big, memory>>20, used.Seconds(), said)
		if err != nil || used > maxTime || memory > maxMemory {
			t.Errorf("%s of %d parts: %d MB, %v: %v", b.Name, b.Big, memory>>20, used, err)
		}
	}
}
