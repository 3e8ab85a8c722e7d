// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// realFiles is a made machine whose files are real ones.
type realFiles struct {
	fs.ReadLinkFS
	*made
}

func (d realFiles) Open(name string) (fs.File, error)          { return d.ReadLinkFS.Open(name) }
func (d realFiles) Stat(name string) (fs.FileInfo, error)      { return fs.Stat(d.ReadLinkFS, name) }
func (d realFiles) Lstat(name string) (fs.FileInfo, error)     { return d.ReadLinkFS.Lstat(name) }
func (d realFiles) ReadLink(name string) (string, error)       { return d.ReadLinkFS.ReadLink(name) }
func (d realFiles) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(d.ReadLinkFS, name) }

// BenchmarkSnapshotOfFiles takes Snapshots over real files: the design's figures are of these.
func BenchmarkSnapshotOfFiles(b *testing.B) {
	for _, n := range []int{250, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, dir := manyModules(n), b.TempDir()
			for name, f := range m.MapFS {
				path := filepath.Join(dir, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					b.Fatal(err)
				}
				if err := os.WriteFile(path, f.Data, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			sys, err := OpenMachine(Linux, realFiles{os.DirFS(dir).(fs.ReadLinkFS), m}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer sys.Close()
			b.ReportAllocs()
			for b.Loop() {
				if s, err := sys.Snapshot(context.Background()); err != nil || len(s.Modules) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
