// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"io/fs"
	"reflect"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// A Cache keeps what module files said, each until the file changes. It is bounded, in memory
// only, and safe for concurrent use.
type Cache struct {
	mu    sync.Mutex
	files map[string]cachedFile
	bytes int
}

type cachedFile struct {
	id   fileID
	file File
	cost int
}

// A fileID distinguishes two states of one path.
type fileID struct {
	size          int64
	modTime       time.Time
	change        int64 // when its inode changed, in nanoseconds; 0 where the system does not say
	inode, device uint64
}

// Bounds of a cache.
const (
	maxCachedFiles = 20000
	maxCachedBytes = 64 << 20
)

// get returns what is kept of the file in this state.
func (c *Cache) get(path string, id fileID) (File, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.files[path]
	if !ok || f.id != id {
		return File{}, false
	}
	return f.file, true
}

// put keeps what a file said. A full cache takes nothing more: what is in it is as likely to be
// asked for again as what comes.
func (c *Cache) put(path string, id fileID, f File) {
	cost := len(path) + 256
	for _, e := range f.Modinfo {
		cost += len(e.Key) + len(e.Value) + 33
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = make(map[string]cachedFile)
	}
	if old, ok := c.files[path]; ok {
		c.bytes -= old.cost
		delete(c.files, path)
	}
	if len(c.files) >= maxCachedFiles || c.bytes+cost > maxCachedBytes {
		return
	}
	c.bytes += cost
	c.files[path] = cachedFile{id, f, cost}
}

// Clear forgets everything.
func (c *Cache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files, c.bytes = nil, 0
}

// ReadFile is r.ReadFile, unless the cache knows the file in its present state. Only metadata are
// kept, of files without problems: signatures, symbols and digests are read anew.
func (c *Cache) ReadFile(r *Reader, fsys fs.FS, name string, o Options, report *fact.Report) (File, error) {
	if o.Signature || o.Symbols || o.Hash {
		return r.ReadFile(fsys, name, o, report)
	}
	open, err := fsys.Open(name)
	if err != nil {
		return File{Path: name}, o.errorAt(name, err)
	}
	defer open.Close()
	info, err := open.Stat()
	if err != nil {
		return File{Path: name}, o.errorAt(name, err)
	}
	id := identify(info)
	if f, ok := c.get(name, id); ok {
		return f, nil
	}
	before := report.Count(SourceFile)
	f, err := r.readOpen(open, info, name, o, report)
	if err == nil && report.Count(SourceFile) == before {
		c.put(name, id, f)
	}
	return f, err
}

// identify takes what the system says of a file's state. The fields have the same names on every
// system that has them, in types of different packages.
func identify(info fs.FileInfo) fileID {
	id := fileID{size: info.Size(), modTime: info.ModTime()}
	sys, ok := hostfs.SysStat(info)
	if !ok {
		return id
	}
	id.inode, id.device = hostfs.StatNumber(sys, "Ino"), hostfs.StatNumber(sys, "Dev")
	for _, name := range []string{"Ctim", "Ctimespec"} {
		if t := sys.FieldByName(name); t.IsValid() && t.Kind() == reflect.Struct {
			id.change = int64(hostfs.StatNumber(t, "Sec"))*1e9 + int64(hostfs.StatNumber(t, "Nsec"))
		}
	}
	return id
}
