// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing/fstest"

	"github.com/kernelext/kernelext/linux"
)

// made is a machine of made-up files, for tests.
type made struct {
	fstest.MapFS
	calls map[string]string
	fails map[string]error // by path; a path that ends in "/" stands for all below it
	left  []string         // paths that listings of directories leave out

	mu    sync.Mutex
	opens map[string]int
}

func (m *made) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	text, ok := m.calls[op]
	if !ok {
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	return []byte(text), nil
}

func (m *made) fail(op, name string) error {
	m.mu.Lock()
	m.opens[name]++
	m.mu.Unlock()
	for path, err := range m.fails {
		if name == strings.TrimSuffix(path, "/") || (strings.HasSuffix(path, "/") && strings.HasPrefix(name, path)) {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (m *made) Open(name string) (fs.File, error) {
	if err := m.fail("open", name); err != nil {
		return nil, err
	}
	return m.MapFS.Open(name)
}

func (m *made) Stat(name string) (fs.FileInfo, error) {
	if err := m.fail("stat", name); err != nil {
		return nil, err
	}
	return m.MapFS.Stat(name)
}

func (m *made) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := m.fail("readdir", name); err != nil {
		return nil, err
	}
	entries, err := m.MapFS.ReadDir(name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(m.left, name+"/"+e.Name()) }),
		err
}

// hide leaves a path out of its directory's listing; it can still be opened.
func (m *made) hide(path string) { m.left = append(m.left, path) }

func (m *made) count(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opens[name]
}

// asked is how often anything was asked for.
func (m *made) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, opens := range m.opens {
		n += opens
	}
	return n
}

// set gives a file a content, which is also what the next read of one that is open sees, as with a
// file of the kernel.
func (m *made) set(name, text string) {
	if f, ok := m.MapFS[name]; ok {
		f.Data = []byte(text)
		return
	}
	m.MapFS[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
}

// madeLinux is a Linux machine with three modules, one of them not the kernel's own.
func madeLinux() *made {
	m := &made{MapFS: fstest.MapFS{}, fails: map[string]error{}, opens: map[string]int{}, calls: map[string]string{
		linux.OpUname:    "release 6.1.0-56-amd64\nversion #1 SMP Debian 6.1.176-1\nmachine x86_64\n",
		linux.OpClock:    "2026-11-23T04:00:00Z",
		linux.OpIdentity: "euid 0\ncapeff 000001ffffffffff\n",
	}}
	m.set(linux.ModulesFile, "mine 16384 0 - Live 0xffffffffc0b00000 (OE)\n"+
		"nvme 57344 3 - Live 0xffffffffc0a14000\n"+
		"nvme_core 184320 4 nvme, Live 0xffffffffc0a00000\n")
	m.set("proc/sys/kernel/tainted", "12288\n")
	m.set("proc/sys/kernel/modules_disabled", "0\n")
	m.set("proc/sys/kernel/kptr_restrict", "1\n")
	m.set("proc/sys/kernel/random/boot_id", "3f0c1c6e-6f0e-4d3c-9a3b-2f6d3a1e5b7c\n")
	m.set("sys/kernel/uevent_seqnum", "1234\n")
	for _, name := range []string{"mine", "nvme", "nvme_core"} {
		dir := linux.SysModuleDir + "/" + name + "/"
		m.set(dir+"coresize", "16384\n")
		m.set(dir+"initsize", "0\n")
		m.set(dir+"initstate", "live\n")
		m.set(dir+"taint", "\n")
		m.set(dir+"notes/.note.gnu.build-id", "\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00"+name[:4])
		m.set(dir+"sections/.text", "0xffffffffc0a14000\n")
	}
	m.set("sys/module/mine/taint", "OE\n")
	m.set("sys/module/nvme/version", "1.0\n")
	m.set("sys/module/nvme/parameters/io_queue_depth", "1024\n")
	m.set("sys/module/printk/parameters/time", "Y\n")
	m.set("sys/module/tcp_cubic/version", "2.3\n")
	return m
}

// manyModules is a Linux machine with n modules.
func manyModules(n int) *made {
	m := madeLinux()
	var list strings.Builder
	for i := range n {
		i = i * 613 % n // the kernel's list is in no order
		users := "-"
		if i%3 == 0 && i+2 < n {
			users = fmt.Sprintf("mod_%04d,mod_%04d,", i+1, i+2)
		}
		fmt.Fprintf(&list, "mod_%04d %d %d %s Live 0x%016x\n", i, 16384+i, i%5, users, 0xffffffffc0000000+uint64(i)<<14)
		dir := fmt.Sprintf("%s/mod_%04d/", linux.SysModuleDir, i)
		m.set(dir+"coresize", "16384\n")
		m.set(dir+"initsize", "0\n")
		m.set(dir+"initstate", "live\n")
		m.set(dir+"taint", "\n")
		m.set(dir+"notes/.note.gnu.build-id", "\x04\x00\x00\x00\x04\x00\x00\x00\x03\x00\x00\x00GNU\x00abcd")
	}
	m.set(linux.ModulesFile, list.String())
	return m
}
