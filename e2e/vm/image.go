// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
)

// An Image is the file tree a guest boots into: an initramfs made in memory, laid out like a merged-/usr Debian.
// The first error is kept and reported by Write.
type Image struct {
	entries map[string]entry
	err     error
}

// An entry is one file, directory or symbolic link.
type entry struct {
	mode uint32 // with the type bits of stat(2)
	data []byte
}

// NewImage returns a tree with the usual directories, users and links.
func NewImage() *Image {
	i := &Image{entries: map[string]entry{}}
	for _, dir := range []string{"dev", "proc", "sys", "run", "root", "mnt", "usr/bin", "usr/sbin",
		"usr/lib", "usr/lib64", "etc"} {
		i.mkdir(dir)
	}
	i.entries["tmp"] = entry{mode: syscall.S_IFDIR | 0o1777}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		i.Link("/"+dir, "usr/"+dir)
	}
	i.Add("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"))
	i.Add("/etc/group", 0o644, []byte("root:x:0:\nuser:x:1000:\n"))
	return i
}

// Add puts a file into the tree.
func (i *Image) Add(name string, perm fs.FileMode, data []byte) {
	name = i.place(name)
	i.entries[name] = entry{syscall.S_IFREG | uint32(perm.Perm()), data}
}

// Link puts a symbolic link into the tree.
func (i *Image) Link(name, target string) {
	name = i.place(name)
	i.entries[name] = entry{syscall.S_IFLNK | 0o777, []byte(target)}
}

// Copy puts a file of the host into the tree.
func (i *Image) Copy(name, hostFile string) {
	info, err := os.Stat(hostFile)
	if err != nil {
		i.fail(err)
		return
	}
	data, err := os.ReadFile(hostFile)
	i.fail(err)
	i.Add(name, info.Mode(), data)
}

// CopyProgram puts a dynamically linked program of the host into the tree, at the same path, with
// the libraries it needs.
func (i *Image) CopyProgram(hostFile string) {
	if i.has(hostFile) {
		return
	}
	real, err := filepath.EvalSymlinks(hostFile)
	if err != nil {
		i.fail(err)
		return
	}
	i.Copy(hostFile, real)
	needed, err := neededFiles(real)
	i.fail(err)
	for _, file := range needed {
		i.CopyProgram(file)
	}
}

// Write writes the tree as a cpio archive, directories before what they hold.
func (i *Image) Write(w io.Writer) error {
	if i.err != nil {
		return fmt.Errorf("image: %w", i.err)
	}
	names := make([]string, 0, len(i.entries))
	for name := range i.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	buffered := bufio.NewWriter(w)
	archive := cpioWriter{w: buffered}
	for _, name := range names {
		archive.add(name, i.entries[name].mode, i.entries[name].data)
	}
	if err := archive.close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// has reports whether a path is in the tree.
func (i *Image) has(name string) bool {
	_, ok := i.entries[inside(name)]
	return ok
}

// place gives the archive's name for a path and makes the directories above it.
func (i *Image) place(name string) string {
	name = inside(name)
	i.mkdir(path.Dir(name))
	return name
}

// mkdir makes a directory and those above it.
func (i *Image) mkdir(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := i.entries[dir]; !ok {
			i.entries[dir] = entry{mode: syscall.S_IFDIR | 0o755}
		}
	}
}

// fail keeps the first error.
func (i *Image) fail(err error) {
	if i.err == nil {
		i.err = err
	}
}

// inside turns a guest's absolute path into an archive's name, below /usr where a merged /usr has it.
func inside(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	switch first, _, more := strings.Cut(name, "/"); {
	case !more:
	case first == "bin", first == "sbin", first == "lib", first == "lib64":
		return "usr/" + name
	}
	return name
}

// neededFiles lists the loader and the libraries that an ELF file asks for.
func neededFiles(name string) ([]string, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var files []string
	if interp := f.Section(".interp"); interp != nil {
		data, err := interp.Data()
		if err != nil {
			return nil, err
		}
		files = append(files, strings.TrimRight(string(data), "\x00"))
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	for _, library := range libraries {
		file, err := findLibrary(library)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, file)
	}
	return files, nil
}

// findLibrary looks where Debian keeps shared libraries.
func findLibrary(name string) (string, error) {
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/lib", "/usr/lib"} {
		if file := filepath.Join(dir, name); exists(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("library %s not found", name)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
