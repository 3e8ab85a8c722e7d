// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// A root is a small file system in memory, made of what an archive holds. A later file replaces an earlier one of its
// name, as when the kernel unpacks one archive over another. It is not changed once it is read.
type root struct {
	nodes map[string]*rootNode
	made  int64 // bytes that the folders on the way to files take
	work  int64 // bytes of names that were looked up
}

// A rootNode is one file, folder or link.
type rootNode struct {
	name   string
	mode   fs.FileMode
	size   int64
	data   []byte
	target string                 // of a link
	load   func() ([]byte, error) // reads what is not kept; nil if data is all of it
	names  []string               // what a folder holds
}

// maxRootNodes is how many files, folders and links a root has at most.
const maxRootNodes = 1 << 19

// maxRootPath is how long a path may become behind its links, in bytes: no longer one can be asked for (PATH_MAX).
const maxRootPath = 4096

// maxRootLinks is how many links one path may lead through, as in the kernel.
const maxRootLinks = 40

func newRoot() *root {
	return &root{nodes: map[string]*rootNode{".": {name: ".", mode: fs.ModeDir | 0o755}}}
}

// put adds a file or a link, with the folders that lead to it. Folders on the way may be links. It is false if the
// root is full.
func (r *root) put(name string, n *rootNode) bool {
	if len(r.nodes)+strings.Count(name, "/") >= maxRootNodes {
		return false
	}
	dir, ok := r.resolve(path.Dir(name), true)
	if !ok || name == "." {
		return true // leads nowhere, also for the kernel
	}
	n.name = path.Base(name)
	full := path.Join(dir, n.name)
	if old := r.nodes[full]; old != nil {
		if old.mode.IsDir() {
			return true // the kernel does not replace a folder by something else
		}
		*old = *n
		return true
	}
	r.nodes[full] = n
	parent := r.nodes[dir]
	parent.names = append(parent.names, n.name)
	return true
}

// resolve follows the links of a path. With makeDirs, it adds the folders that are missing. It is false for a path that
// leads nowhere.
func (r *root) resolve(name string, makeDirs bool) (string, bool) {
	if n := r.nodes[name]; n != nil && n.mode.IsDir() {
		return name, true // the names of nodes have no links
	}
	var done []byte // what is known to be a folder, without links; empty is the root
	for links, rest := 0, name; rest != "" && rest != "."; {
		elem, more, _ := strings.Cut(rest, "/")
		at := len(done)
		switch elem {
		case "", ".":
			rest = more
			continue
		case "..":
			done, rest = done[:max(bytes.LastIndexByte(done, '/'), 0)], more
			continue
		}
		if at > 0 {
			done = append(done, '/')
		}
		done = append(done, elem...)
		if makeDirs { // many may look at once, and one adds
			r.work += int64(len(done))
		}
		n := r.nodes[string(done)]
		switch {
		case len(done) > maxRootPath:
			return "", false
		case n == nil && makeDirs:
			r.makeDir(string(done), elem, string(done[:at]))
		case n == nil:
			return "", false
		case n.mode&fs.ModeSymlink != 0:
			if links++; links > maxRootLinks {
				return "", false
			}
			if done = done[:at]; strings.HasPrefix(n.target, "/") {
				done = done[:0]
			}
			rest = n.target + "/" + more
			continue
		case !n.mode.IsDir() && (more != "" || makeDirs):
			return "", false
		}
		rest = more
	}
	if len(done) == 0 {
		return ".", true
	}
	return string(done), true
}

// makeDir adds a folder, of that name in its parent.
func (r *root) makeDir(full, name, parent string) {
	if parent == "" {
		parent = "."
	}
	r.made += int64(nodeSize + len(full))
	r.nodes[full] = &rootNode{name: name, mode: fs.ModeDir | 0o755}
	r.nodes[parent].names = append(r.nodes[parent].names, name)
}

// find returns the node of a path, behind all its links.
func (r *root) find(op, name string) (*rootNode, string, error) {
	if !fs.ValidPath(name) {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	full, ok := r.resolve(name, false)
	if !ok {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return r.nodes[full], full, nil
}

// lfind returns the node of a path, which may be a link.
func (r *root) lfind(op, name string) (*rootNode, error) {
	_, dir, err := r.find(op, path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := r.nodes[path.Join(dir, path.Base(name))]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (r *root) Open(name string) (fs.File, error) {
	n, full, err := r.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return &rootDir{node: n, root: r, full: full}, nil
	}
	data := n.data
	if n.load != nil {
		if data, err = n.load(); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	return &rootFile{node: n, Reader: bytes.NewReader(data)}, nil
}

func (r *root) Stat(name string) (fs.FileInfo, error) {
	n, _, err := r.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (r *root) Lstat(name string) (fs.FileInfo, error) {
	n, err := r.lfind("lstat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (r *root) ReadLink(name string) (string, error) {
	n, err := r.lfind("readlink", name)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

func (r *root) ReadDir(name string) ([]fs.DirEntry, error) {
	n, full, err := r.find("open", name)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	names := slices.Sorted(slices.Values(n.names))
	entries := make([]fs.DirEntry, len(names))
	for i, base := range names {
		entries[i] = fs.FileInfoToDirEntry(r.nodes[path.Join(full, base)])
	}
	return entries, nil
}

// The methods of fs.FileInfo.

func (n *rootNode) Name() string       { return n.name }
func (n *rootNode) Size() int64        { return n.size }
func (n *rootNode) Mode() fs.FileMode  { return n.mode }
func (n *rootNode) ModTime() time.Time { return time.Time{} }
func (n *rootNode) IsDir() bool        { return n.mode.IsDir() }
func (n *rootNode) Sys() any           { return nil }

// A rootFile is an open file.
type rootFile struct {
	*bytes.Reader
	node *rootNode
}

func (f *rootFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (f *rootFile) Close() error               { return nil }

// A rootDir is an open folder.
type rootDir struct {
	node *rootNode
	root *root
	full string
	next int
}

func (d *rootDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *rootDir) Close() error               { return nil }

func (d *rootDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.full, Err: fs.ErrInvalid}
}

func (d *rootDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := d.root.ReadDir(d.full)
	if err != nil {
		return nil, err
	}
	rest := entries[min(d.next, len(entries)):]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.next += len(rest)
	return rest, nil
}
