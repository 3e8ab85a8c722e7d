// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// kmodPrograms are where the program is that modprobe is a name of.
var kmodPrograms = []string{"usr/bin/kmod", "bin/kmod", "usr/sbin/kmod", "sbin/kmod"}

// packingLibraries are the libraries by which kmod unpacks module files, by the ending of their names.
var packingLibraries = []struct{ ending, library string }{
	{".gz", "libz.so"}, {".xz", "liblzma.so"}, {".zst", "libzstd.so"},
}

// maxKmod is how long the program may be.
const maxKmod = 16 << 20

// packing says whether the installed kmod can unpack the new kernel's modules. A program that links or opens a library
// has its name in it. Without the library only the kernel may unpack them, by CONFIG_MODULE_DECOMPRESS.
func (u *upgrader) packing() {
	ending := ""
	for _, line := range u.new.tree.DepLines() {
		if e := path.Ext(line.Path); e != ".ko" {
			ending = e
			break
		}
	}
	for _, p := range packingLibraries {
		if p.ending == ending {
			u.packedAs(p.ending, p.library)
		}
	}
}

func (u *upgrader) packedAs(ending, library string) {
	program, text := u.kmod()
	if program == "" || bytes.Contains(text, []byte(library)) || !bytes.Contains(text, []byte("libc.")) {
		return // a program that is not kmod, that has it, or that is linked as a whole
	}
	c := fact.UpgradeChange{Grade: fact.UpgradeBoot, Code: ChangePacking, File: program,
		Text: fmt.Sprintf("modules of %s are packed as %s, which the kmod here does not read (it has no %s)",
			u.new.tree.Release, strings.TrimPrefix(ending, "."), library)}
	config := readPolicy(policyMachine{FS: u.kernel.machine, Release: u.new.tree.Release})
	if config.config == nil || config.is("CONFIG_MODULE_DECOMPRESS", "y") {
		c.Grade = fact.UpgradeUnknown
		c.Text += "; the kernel itself may unpack them (CONFIG_MODULE_DECOMPRESS)"
	}
	u.add(c)
}

// kmod returns the program and its bytes; none if it is not there, or could not be read.
func (u *upgrader) kmod() (string, []byte) {
	for _, name := range kmodPrograms {
		text, err := limit.ReadFile(u.kernel.machine, name, maxKmod)
		switch {
		case err == nil:
			return name, text
		case errors.Is(err, fs.ErrNotExist):
		default:
			u.lose(SourceTree, err)
		}
	}
	return "", nil
}

// akmodsText says that akmods(8) may build a module when the new kernel boots; empty if it has no source of it.
func (u *upgrader) akmodsText(name string) string {
	const dir = "usr/src/akmods"
	entries, err := fs.ReadDir(u.kernel.machine, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.lose(SourceDKMS, err)
	}
	if entries, err = limit.Most(entries, maxTableFiles, "/"+dir); err != nil {
		u.lose(SourceDKMS, err)
	}
	for _, e := range entries {
		base, _, ok := strings.Cut(e.Name(), "-kmod")
		if ok && strings.HasPrefix(name, strings.ReplaceAll(base, "-", "_")) {
			return "; akmods has its source in /" + dir + "/" + e.Name() + ", and may build it when that kernel boots"
		}
	}
	return ""
}
