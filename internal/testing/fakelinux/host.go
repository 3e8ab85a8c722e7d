// SPDX-License-Identifier: Apache-2.0

// Package fakelinux makes up Linux machines for tests: the files of /proc, /sys and /usr/lib/modules
// that a kernel with given modules shows to root or to an ordinary user, with their permissions.
// Nothing in it was recorded; recordings of real machines are in package lkmtest. Only tests use
// it.
package fakelinux

import (
	"crypto/sha1"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing/fstest"
	"time"
)

// A Module is a module of a made-up host.
type Module struct {
	// Name is the kernel's name for it.
	Name string
	// Size is its memory in bytes.
	Size int
	// Refs is its reference count.
	Refs int
	// UsedBy are the modules that need it.
	UsedBy []string
	// Permanent is set for one that has no exit function.
	Permanent bool
	// Taints are its taint letters.
	Taints string
	// Version and Srcversion are empty for most modules.
	Version, Srcversion string
	// Parameters are the parameters that sysfs shows.
	Parameters []Parameter
}

// A Parameter is a file in a module's parameters directory.
type Parameter struct {
	// Name and Value are its name, and the value without its newline.
	Name, Value string
	// Mode is the file's mode, such as 0644 or 0600.
	Mode fs.FileMode
}

// A Host is a made-up machine.
type Host struct {
	// Release is the kernel's release.
	Release string
	// User is set when an ordinary user asks, not root.
	User bool
	// Modules are the loaded modules, newest first.
	Modules []Module
	// Builtin are modules compiled in, of which sysfs shows those with a version or a parameter.
	Builtin []Module
	// Taint is the kernel's taint mask.
	Taint uint64
	// CommandLine is the kernel's.
	CommandLine string
	// NoModuleSupport is set for a kernel that was built without loadable modules.
	NoModuleSupport bool
	// NoSysModule hides /sys/module, as in some containers.
	NoSysModule bool
	// ProcSubsetPID hides all of /proc but processes, as systemd's ProcSubset=pid does.
	ProcSubsetPID bool
	// ProtectKernelModules hides the module files, as systemd's setting of that name does.
	ProtectKernelModules bool
}

// Clock is the time of every made-up host.
var Clock = time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)

// bootTime is when its files in /proc and /sys were made.
var bootTime = Clock.Add(-26 * time.Hour)

// Machine returns the host as a machine that can be asked. It is safe for concurrent use.
func (h Host) Machine() *Machine {
	b := builder{host: h, files: fstest.MapFS{}}
	b.proc()
	b.sys()
	b.disk()
	return &Machine{files: b.files, user: h.User, calls: map[string]string{
		"uname":    fmt.Sprintf("release %s\nversion #1 SMP PREEMPT_DYNAMIC made up\nmachine x86_64\n", h.Release),
		"clock":    Clock.Format(time.RFC3339Nano),
		"identity": h.identity(),
	}}
}

func (h Host) identity() string {
	if h.User {
		return "euid 1000\ncapeff 0000000000000000\n"
	}
	return "euid 0\ncapeff 000001ffffffffff\n"
}

type builder struct {
	host  Host
	files fstest.MapFS
}

func (b *builder) add(name, content string, mode fs.FileMode) {
	b.files[name] = &fstest.MapFile{Data: []byte(content), Mode: mode, ModTime: bootTime}
}

func (b *builder) proc() {
	b.dir("proc", 0o555)
	if b.host.ProcSubsetPID {
		b.add("proc/1/comm", "systemd\n", 0o444)
		return
	}
	b.dir("proc/sys/kernel", 0o555)
	b.add("proc/cmdline", b.host.CommandLine+"\n", 0o444)
	b.add("proc/sys/kernel/tainted", fmt.Sprintln(b.host.Taint), 0o644)
	b.add("proc/sys/kernel/kptr_restrict", "0\n", 0o644)
	b.add("proc/sys/kernel/perf_event_paranoid", "3\n", 0o644)
	b.add("proc/sys/kernel/random/boot_id", "5e0d1a3c-7f27-4b53-9a0e-2f6c1d1c0a11\n", 0o444)
	b.add("proc/sys/kernel/osrelease", b.host.Release+"\n", 0o444)
	if b.host.NoModuleSupport {
		return
	}
	b.add("proc/sys/kernel/modules_disabled", "0\n", 0o644)
	b.add("proc/sys/kernel/modprobe", "/sbin/modprobe\n", 0o644)
	b.add("proc/modules", b.modules(), 0o444)
	b.add("proc/kallsyms", b.symbols(), 0o444)
}

// address is where a module lies, as the one who asks may see it.
func (b *builder) address(i, offset int) string {
	if b.host.User {
		return "0000000000000000"
	}
	return fmt.Sprintf("%016x", 0xffffffffc0000000+uint64(i)<<20+uint64(offset))
}

func (b *builder) modules() string {
	var s strings.Builder
	for i, m := range b.host.Modules {
		users := strings.Join(m.UsedBy, ",")
		if users != "" {
			users += ","
		}
		if m.Permanent {
			users += "[permanent],"
		}
		if users == "" {
			users = "-"
		}
		fmt.Fprintf(&s, "%s %d %d %s Live 0x%s", m.Name, m.Size, m.Refs, users, b.address(i, 0))
		if m.Taints != "" {
			fmt.Fprintf(&s, " (%s)", m.Taints)
		}
		s.WriteString("\n")
	}
	return s.String()
}

func (b *builder) symbols() string {
	var s strings.Builder
	core := "ffffffff81000000"
	if b.host.User {
		core = "0000000000000000"
	}
	for _, name := range []string{"_text", "start_kernel", "load_module"} {
		fmt.Fprintf(&s, "%s T %s\n", core, name)
	}
	for i, m := range b.host.Modules {
		fmt.Fprintf(&s, "%s t init_module\t[%s]\n", b.address(i, 0x1000), m.Name)
	}
	fmt.Fprintf(&s, "%s t bpf_prog_0123456789abcdef\t[bpf]\n", b.address(len(b.host.Modules), 0))
	return s.String()
}

func (b *builder) sys() {
	b.add("sys/kernel/uevent_seqnum", "2143\n", 0o444)
	if b.host.NoSysModule {
		return
	}
	b.dir("sys/module", 0o755)
	for _, m := range b.host.Builtin {
		if m.Version != "" || m.Parameters != nil {
			b.sysModule(m)
		}
	}
	if b.host.NoModuleSupport {
		return
	}
	for i, m := range b.host.Modules {
		b.sysModule(m)
		dir := "sys/module/" + m.Name + "/"
		taints := m.Taints
		for file, text := range map[string]string{
			"coresize": fmt.Sprint(m.Size), "initsize": "0", "initstate": "live", "refcnt": fmt.Sprint(m.Refs),
			"taint": taints,
		} {
			b.add(dir+file, text+"\n", 0o444)
		}
		if m.Srcversion != "" {
			b.add(dir+"srcversion", m.Srcversion+"\n", 0o444)
		}
		b.dir(dir+"holders", 0o755)
		for _, user := range m.UsedBy {
			b.files[dir+"holders/"+user] = &fstest.MapFile{Data: []byte("../../" + user), Mode: fs.ModeSymlink | 0o777,
				ModTime: bootTime}
		}
		b.files[dir+"notes/.note.gnu.build-id"] = &fstest.MapFile{Data: BuildIDNote(m.Name),
			Mode: 0o444, ModTime: bootTime}
		for n, section := range []string{".text", ".data", ".init.text", ".gnu.linkonce.this_module"} {
			b.add(dir+"sections/"+section, "0x"+b.address(i, n<<12)+"\n", 0o400)
		}
	}
}

func (b *builder) sysModule(m Module) {
	dir := "sys/module/" + m.Name
	b.dir(dir, 0o755)
	b.add(dir+"/uevent", "", 0o200)
	if m.Version != "" {
		b.add(dir+"/version", m.Version+"\n", 0o444)
	}
	for _, p := range m.Parameters {
		b.add(dir+"/parameters/"+p.Name, p.Value+"\n", p.Mode)
	}
}

// disk makes the module directory with the lists that are text.
func (b *builder) disk() {
	b.files["lib"] = &fstest.MapFile{Data: []byte("usr/lib"), Mode: fs.ModeSymlink | 0o777, ModTime: bootTime}
	if b.host.ProtectKernelModules {
		b.dir("usr/lib/modules", 0)
		return
	}
	dir := "usr/lib/modules/" + b.host.Release + "/"
	var builtin, info strings.Builder
	for _, m := range b.host.Builtin {
		fmt.Fprintf(&builtin, "kernel/drivers/%s.ko\n", strings.ReplaceAll(m.Name, "_", "-"))
		fmt.Fprintf(&info, "%s.license=GPL\x00%s.file=drivers/%s\x00", m.Name, m.Name, m.Name)
	}
	b.add(dir+"modules.builtin", builtin.String(), 0o644)
	b.add(dir+"modules.builtin.modinfo", info.String(), 0o644)
}

func (b *builder) dir(name string, mode fs.FileMode) {
	b.files[name] = &fstest.MapFile{Mode: fs.ModeDir | mode, ModTime: bootTime}
}

// BuildIDNote returns the build-id note of the made-up module of that name.
func BuildIDNote(name string) []byte {
	id := sha1.Sum([]byte(name))
	return slices.Concat([]byte{4, 0, 0, 0, byte(len(id)), 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0}, id[:])
}
