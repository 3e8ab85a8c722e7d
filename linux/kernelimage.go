// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/linux/boot"
)

// SourceKernelImage is the file of a kernel that a boot loader starts, with the certificates in it.
const SourceKernelImage = boot.SourceKernelImage

// A kernelImageCache keeps what the kernel images of a machine hold, each until its file changes: reading one takes
// seconds. It is safe for concurrent use.
type kernelImageCache struct {
	mu      sync.Mutex
	entries map[string]*kernelImageEntry
}

// A kernelImageEntry is what one reading gave.
type kernelImageEntry struct {
	once  sync.Once
	image *boot.KernelImage
	err   error
}

// maxCachedKernels is how many are kept.
const maxCachedKernels = 16

// read reads a kernel image. File is the name in what it returns.
func (c *kernelImageCache) read(fsys fs.FS, name string, r *fact.Report) (*boot.KernelImage, error) {
	key, err := kernelImageKey(fsys, name)
	if err != nil {
		return nil, err
	}
	if c == nil || key == "" {
		return boot.ReadKernelImage(fsys, name, r)
	}
	e := c.entry(key)
	e.once.Do(func() { e.image, e.err = boot.ReadKernelImage(fsys, name, r) })
	if e.err != nil && fact.CodeOf(e.err) != fact.CodeUnsupported && fact.CodeOf(e.err) != fact.CodeMalformed {
		c.forget() // another call may have more, or may read more
	}
	if e.image == nil || e.image.File == name {
		return e.image, e.err
	}
	named := *e.image // by another of the file's names
	named.File = name
	return &named, e.err
}

// entry returns the entry of a key; it adds an entry for a new key.
func (c *kernelImageCache) entry(key string) *kernelImageEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[key]; ok {
		return e
	}
	if c.entries == nil || len(c.entries) >= maxCachedKernels {
		c.entries = make(map[string]*kernelImageEntry)
	}
	e := new(kernelImageEntry)
	c.entries[key] = e
	return e
}

// forget drops what is kept.
func (c *kernelImageCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
}

// kernelImageKey is what a file in its present state is known by; empty if it has no time.
func kernelImageKey(fsys fs.FS, name string) (string, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil || info.ModTime().IsZero() {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", hostfs.FileID(fsys, name, info), info.Size(), info.ModTime().UnixNano()), nil
}

// kernelImageOf reads the image of a release's kernel: the first that holds certificates, else the first that exists.
// The error is that of the most important file; it matches fs.ErrNotExist if no such file exists.
func kernelImageOf(m keyedKernel, c *kernelImageCache, r *fact.Report) (*boot.KernelImage, error) {
	var found *boot.KernelImage
	var first error
	fsys, release := m.FS, m.Release
	names := boot.KernelFiles(release)
	for i := 0; i < len(names); i++ {
		image, err := c.read(fsys, names[i], r)
		switch {
		case err == nil && len(image.Lists) > 0:
			return image, nil
		case err == nil && found == nil:
			found = image
		case first == nil || errors.Is(first, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist):
			first = err
		}
		if i == len(names)-1 && found == nil && errors.Is(first, fs.ErrNotExist) {
			setup := m.Setup
			if setup == nil {
				setup = boot.Read(fsys, r.Part()) // what is lost of it costs no more than another place
			}
			for _, name := range setup.UnifiedKernels(fsys, release) {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	if found != nil {
		return found, nil
	}
	if first == nil || errors.Is(first, fs.ErrNotExist) {
		return nil, fmt.Errorf("no /boot/vmlinuz-%s, nor another image of this kernel: %w", orRelease(release),
			fs.ErrNotExist)
	}
	return nil, first
}
