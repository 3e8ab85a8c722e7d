// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/boot"
)

// An initramfsCache keeps the initial file systems of a machine that were read last, by the files' names, sizes and
// times. It is safe for concurrent use.
type initramfsCache struct {
	mu      sync.Mutex
	entries map[string]*initramfsEntry
}

// An initramfsEntry is what one reading gave.
type initramfsEntry struct {
	once  sync.Once
	files *boot.Initramfs
	lost  fact.Report
	err   error
}

func (e *initramfsEntry) read(fsys fs.FS, names []string, r *fact.Report) {
	e.lost = *r.Part()
	e.files, e.err = boot.ReadInitramfs(fsys, names, &e.lost)
}

// maxCachedInitramfs is how many are kept.
const maxCachedInitramfs = 8

// read reads the files of one initial file system. What is in it and could not be read is a problem of
// SourceInitramfs.
func (c *initramfsCache) read(fsys fs.FS, names []string, r *fact.Report) (*boot.Initramfs, error) {
	key := initramfsKey(fsys, names)
	if c == nil || key == "" {
		return boot.ReadInitramfs(fsys, names, r)
	}
	e := c.entry(key)
	e.once.Do(func() { e.read(fsys, names, r) })
	if fact.CodeOf(e.err) == fact.CodeBudget || slices.ContainsFunc(e.lost.Problems, isOverBudget) {
		c.forget() // another call may have more
	}
	r.Append(&e.lost)
	return e.files, e.err
}

// isOverBudget reports whether a problem is that a call cost too much.
func isOverBudget(p fact.Problem) bool { return p.Code == fact.CodeBudget }

// entry returns the entry of a key; it adds an entry for a new key.
func (c *initramfsCache) entry(key string) *initramfsEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		return e
	}
	if c.entries == nil || len(c.entries) >= maxCachedInitramfs {
		c.entries = make(map[string]*initramfsEntry)
	}
	e := new(initramfsEntry)
	c.entries[key] = e
	return e
}

// initramfsKey is what the files are known by; empty if they have no times.
func initramfsKey(fsys fs.FS, names []string) string {
	var key strings.Builder
	for _, name := range names {
		info, err := fs.Stat(fsys, name)
		if err != nil || info.ModTime().IsZero() {
			return ""
		}
		fmt.Fprintf(&key, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	return key.String()
}

// forget drops what is kept.
func (c *initramfsCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
}
