// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// listTries is how often /proc/modules is read when it changes while being read.
const listTries = 3

// A ListReader reads /proc/modules of one machine, as often as needed for one consistent list. It
// keeps its buffers and is not for concurrent use.
type ListReader struct {
	fsys fs.FS
	buf  []byte
	last []byte
	seq  []byte
}

// NewListReader returns a reader of the machine whose root is fsys.
func NewListReader(fsys fs.FS) *ListReader { return &ListReader{fsys: fsys} }

// Read replaces l's content with the kernel's list, sorted by name. The kernel gives the list in pieces, between
// which a module can come or go so that a line is skipped or repeated; so when its event counter
// moved meanwhile, or a name stands twice, the list is read again until two reads agree, at most
// three times. A list that still does not hold still has its repeated lines removed (the first
// stays) and unsteady is set.
//
// The error is that of opening or reading /proc/modules, or why what is there is not the kernel's
// list: no line makes sense, or it is empty and something was put in its place. [NoModuleSupport]
// tells whether a file that does not exist means a kernel without modules.
func (r *ListReader) Read(l *ModuleList) (unsteady bool, err error) {
	r.last = r.last[:0]
	for try := 1; ; try++ {
		before := r.readSeq(nil)
		r.buf, err = limit.AppendFile(r.fsys, r.buf[:0], ModulesFile, limit.Proc)
		if err != nil {
			return false, err
		}
		r.seq = r.readSeq(r.seq)
		steady := before == nil || bytes.Equal(before, r.seq) || (try > 1 && bytes.Equal(r.buf, r.last))
		l.Parse(string(r.buf))
		repeated := l.dropRepeated()
		if steady && !repeated && !l.Truncated {
			return false, r.empty(l)
		}
		if try == listTries {
			return !steady || repeated, r.empty(l)
		}
		r.last = append(r.last[:0], r.buf...)
	}
}

// empty returns why a list without entries is not the kernel's word that nothing is loaded.
func (r *ListReader) empty(l *ModuleList) error {
	switch {
	case len(l.Entries) > 0:
		return nil
	case l.BadCount > 0:
		return l.Bad[0]
	case l.Truncated:
		return &fact.ParseError{Source: "/" + ModulesFile, Line: 1, Reason: "ends within the line"}
	}
	info, err := fs.Stat(r.fsys, ModulesFile)
	if err != nil {
		return err
	}
	return masked(ModulesFile, info)
}

// masked returns an error when a file or directory of /proc is not the kernel's: a service manager or a
// container that hides one puts a device, a pipe, or something that nobody may read in its place,
// and to root all of them look empty.
func masked(name string, info fs.FileInfo) error {
	if (info.Mode().IsRegular() || info.IsDir()) && info.Mode().Perm() != 0 {
		return nil
	}
	return &fs.PathError{Op: "open", Path: "/" + name, Err: fmt.Errorf("%s is in its place, which hides it: %w", info.Mode(), fs.ErrPermission)}
}

// readSeq returns the event counter, or nil when the machine has none to show.
func (r *ListReader) readSeq(dst []byte) []byte {
	b, err := limit.AppendAttr(r.fsys, dst[:0], UeventSeqFile, limit.Attr)
	if err != nil {
		return nil
	}
	return b
}

// dropRepeated sorts the entries by name, removes every one whose name an earlier one has, and
// reports whether there was one.
func (l *ModuleList) dropRepeated() bool {
	slices.SortStableFunc(l.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	n := len(l.Entries)
	l.Entries = slices.CompactFunc(l.Entries, func(a, b Entry) bool { return a.Name == b.Name })
	return len(l.Entries) < n
}

// NoModuleSupport reports whether the machine's kernel was built without loadable modules, given
// that it has no /proc/modules: its sysctl directory can be read and lacks modules_disabled. The
// error is why that cannot be told; a service without access to /proc/sys sees neither file.
func NoModuleSupport(fsys fs.FS) (bool, error) {
	_, err := fs.Stat(fsys, DisabledFile)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	info, err := fs.Stat(fsys, KernelDir)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		return false, &fact.ParseError{Source: "/" + KernelDir, Reason: "is not a directory"}
	}
	if err := masked(KernelDir, info); err != nil {
		return false, err
	}
	return true, nil
}

// ParseSeq reads the kernel's event counter, /sys/kernel/uevent_seqnum.
func ParseSeq(b []byte) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, &fact.ParseError{Source: "/" + UeventSeqFile, Reason: "is not a number"}
	}
	return n, nil
}

// ParseKeys reads text of one "key value" a line, the form of OpUname and OpIdentity.
func ParseKeys(b []byte) map[string]string {
	keys := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if ok {
			keys[key] = value
		}
	}
	return keys
}

// capSysAdmin is the bit of CAP_SYS_ADMIN in a capability mask.
const capSysAdmin = 1 << 21

// Privilege returns one word for the answer to OpIdentity: root, restricted_root (uid 0 without
// CAP_SYS_ADMIN), capable (another uid with some capability), or user. It is empty when the
// answer says nothing.
func Privilege(identity []byte) string {
	keys := ParseKeys(identity)
	uid, ok := keys["euid"]
	if !ok {
		return ""
	}
	caps, err := strconv.ParseUint(keys["capeff"], 16, 64)
	switch {
	case uid == "0" && (err != nil || caps&capSysAdmin != 0):
		return "root"
	case uid == "0":
		return "restricted_root"
	case err == nil && caps != 0:
		return "capable"
	}
	return "user"
}
