// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"strings"
)

// Archive is the reader of archives of captures.
const Archive = "archive"

// archiveBombs are archives of many files, of large ones and of those that decompress to much.
func archiveBombs() []Bomb {
	const list = "Module                  Size  Used by\nm 1 0\n"
	b := func(name string, make func(int) []byte, big int) Bomb {
		return Bomb{Name: name, Of: Archive, Make: make, Small: 100, Big: big}
	}
	return []Bomb{
		b("archive of empty files", func(n int) []byte { return tarred(n, "a/x%.txt", "") }, 2000),
		b("archive of lists", func(n int) []byte { return tarred(n, "%/lsmod.txt", list) }, 1000),
		b("archive of lists of one host", func(n int) []byte { return tarred(n, "a/%.txt", list) }, 1000),
		b("archive of files of sys", func(n int) []byte { return tarred(n, "sys/module/%/version", "1") }, 1000),
		b("archive of names that lead out", func(n int) []byte { return tarred(n, "../%", "") }, 2000),
		b("archive of zeros", func(n int) []byte {
			return gzipped(tarred(1, "a/lsmod%.txt", list+strings.Repeat("\x00", n<<10)))
		}, 20_000),
		b("zip of lists", func(n int) []byte { return zippedFiles(n, "%/lsmod.txt", list) }, 1000),
	}
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// tarred returns a tar file of n files, each with its number in its name.
func tarred(n int, name, text string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range n {
		h := &tar.Header{Name: strings.ReplaceAll(name, "%", number(i)), Mode: 0o644, Size: int64(len(text))}
		_ = w.WriteHeader(h)
		_, _ = w.Write([]byte(text))
	}
	_ = w.Close()
	return out.Bytes()
}

func zippedFiles(n int, name, text string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := range n {
		if f, err := w.Create(strings.ReplaceAll(name, "%", number(i))); err == nil {
			_, _ = f.Write([]byte(text))
		}
	}
	_ = w.Close()
	return out.Bytes()
}
