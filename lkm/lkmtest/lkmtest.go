// SPDX-License-Identifier: Apache-2.0

// Package lkmtest is a corpus of recorded machines, for the tests of this module and of programs
// that import it, and for lkm --tape demo:NAME.
//
// A tape whose header says synthetic was made up; every other one was recorded on a machine of
// that kind. Nothing here reads anything but the tapes that are part of the package.
package lkmtest

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/lkm/tape"
)

//go:embed testdata/*.tape*
var corpus embed.FS

const dir = "testdata"

// Names returns the names of the tapes, sorted.
func Names() []string {
	entries, err := corpus.ReadDir(dir)
	if err != nil {
		return nil // the directory is part of the package
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if name, ok := tapeName(e.Name()); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names) // "a-b.tape" is before "a.tape"
	return names
}

// tapeName cuts a tape's file name down to the tape's name.
func tapeName(file string) (string, bool) {
	return strings.CutSuffix(strings.TrimSuffix(file, ".gz"), ".tape")
}

// Open returns the tape of that name. The error matches fs.ErrNotExist for an unknown name.
func Open(name string) (*tape.Tape, error) {
	for _, suffix := range []string{".tape", ".tape.gz"} {
		b, err := corpus.ReadFile(dir + "/" + name + suffix)
		if err != nil {
			continue
		}
		t, err := tape.Read(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("tape %s: %w", name, err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("no tape is called %q: %w", name, fs.ErrNotExist)
}
