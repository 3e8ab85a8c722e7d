// SPDX-License-Identifier: Apache-2.0

// Command modzip writes the files below a folder to a zip file, under the same names: the form in
// which a module proxy hands out a module.
package main

import (
	"archive/zip"
	"io"
	"io/fs"
	"log"
	"os"
)

func main() {
	out, err := os.Create(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	w := zip.NewWriter(out)
	if err := add(w, os.DirFS(os.Args[2])); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
}

// add writes the files, and no entries for folders, which a module's zip must not have.
func add(w *zip.Writer, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		in, err := fsys.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		to, err := w.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, in)
		return err
	})
}
