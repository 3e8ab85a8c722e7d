// SPDX-License-Identifier: Apache-2.0

// Package bomb makes small inputs that ask for much: the test of this package gives each to what reads it and requires
// that the cost is linear in its size, and fuzz targets begin with them. All are made up.
package bomb

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"strings"
	"testing/fstest"
)

// A Bomb is a kind of hostile input that grows with a number.
type Bomb struct {
	// Name says what it is.
	Name string
	// Of is what reads it, a word of the tables in this package.
	Of string
	// Path is the file that it is, for what reads files; else empty.
	Path string
	// Make returns the input with n parts; nil for one of several files.
	Make func(n int) []byte
	// Tree returns the files with n parts; nil for one of a single file.
	Tree func(n int) fstest.MapFS
	// Small is the number of parts for the smallest of three sizes, each twice the one before.
	Small int
	// Big is the number of parts with which the input has about a megabyte, or does its worst.
	Big int
}

// Files returns the files with n parts, by their paths below a root.
func (b *Bomb) Files(n int) fstest.MapFS {
	if b.Tree != nil {
		return b.Tree(n)
	}
	return fstest.MapFS{b.Path: {Data: b.Make(n), Mode: 0o644}}
}

// Seeds returns a small input of each single-file bomb of that reader, for a fuzz target.
func Seeds(of string) (seeds [][]byte) {
	for _, b := range All() {
		if b.Of == of && b.Make != nil {
			seeds = append(seeds, b.Make(3))
		}
	}
	return seeds
}

// All returns every bomb.
func All() []Bomb {
	var all []Bomb
	for _, list := range [][]Bomb{bootBombs(), modprobeBombs(), moduleBombs(), captureBombs(),
		archiveBombs(), otherBombs(),
		binaryBombs(), packageBombs(), signedBombs(), diskBombs(), macBombs(), lintBombs(), upgradeBombs(),
		keyBombs(), unixBombs(), hiveLogBombs()} {
		all = append(all, list...)
	}
	return all
}

// repeat returns head, n times text, and tail.
func repeat(head, text, tail string) func(int) []byte {
	return func(n int) []byte { return []byte(head + strings.Repeat(text, n) + tail) }
}

// numbered returns head, the text n times with its "%" replaced by a number, and tail.
func numbered(head, text, tail string) func(int) []byte {
	return func(n int) []byte {
		var b bytes.Buffer
		b.WriteString(head)
		for i := range n {
			b.WriteString(strings.ReplaceAll(text, "%", number(i)))
		}
		b.WriteString(tail)
		return b.Bytes()
	}
}

// number returns a number of seven letters, so that all are of one length.
func number(i int) string {
	var b [7]byte
	for at := range b {
		b[len(b)-1-at] = byte('a' + i%26)
		i /= 26
	}
	return string(b[:])
}

// zipped compresses what is given and so many KiB of zeros.
func zipped(b []byte, zeros int) []byte { return packed(string(b), string(make([]byte, 1<<10)), zeros) }

// packed compresses head and n times text.
func packed(head, text string, n int) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write([]byte(head))
	for range n {
		_, _ = z.Write([]byte(text))
	}
	_ = z.Close()
	return out.Bytes()
}

func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

func file(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b, Mode: 0o644} }
