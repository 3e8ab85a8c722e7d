// SPDX-License-Identifier: Apache-2.0

// Command modzip writes the files below a folder to a zip file, named as they stand there: the
// form in which a module proxy hands out a module.
package main

import (
	"archive/zip"
	"log"
	"os"
)

func main() {
	out, err := os.Create(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	w := zip.NewWriter(out)
	if err := w.AddFS(os.DirFS(os.Args[2])); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
}
