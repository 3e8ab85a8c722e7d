// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A system is the running kernel's system calls. The errors that they return are errors of package
// syscall; which of them means what is the same on both systems.
type system struct {
	// number makes a call that takes and returns an id.
	number func(op string, id int) (int, error)
	// fill makes a call that takes an id and fills a structure.
	fill func(op string, id int, buf []byte) error
	// sysctl returns a sysctl's bytes.
	sysctl func(name string) ([]byte, error)
	// gone and refused are ENOENT and EINVAL.
	gone, refused error
}

// call answers one op of the constants.
func (k system) call(op string, args []string) ([]byte, error) {
	switch op {
	case OpClock, OpIdentity, OpUname, OpBootID:
		if len(args) != 0 {
			return nil, badArgs(op, args)
		}
		return k.noArgs(op)
	case OpSysctl, OpSysctlInt:
		if len(args) != 1 {
			return nil, badArgs(op, args)
		}
		return k.readSysctl(op, args[0])
	case OpKldNext, OpKldFirstMod, OpModFNext:
		if len(args) != 1 {
			return nil, badArgs(op, args)
		}
		return k.next(op, args[0])
	case OpKldStat, OpModStat:
		if len(args) != 2 {
			return nil, badArgs(op, args)
		}
		return k.stat(op, args[0], args[1])
	}
	return nil, noSuchOp(op)
}

func badArgs(op string, args []string) error {
	return fmt.Errorf("call %s with %d arguments: %w", op, len(args), errors.ErrUnsupported)
}

func (k system) noArgs(op string) ([]byte, error) {
	switch op {
	case OpClock:
		return clock(), nil
	case OpIdentity:
		return fmt.Appendf(nil, "euid %d\npointer %d\n", os.Geteuid(), strconv.IntSize), nil
	case OpBootID:
		b, err := k.sysctl(sysctlBootID)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, "%x\n", b), nil
	}
	var out []byte
	for _, kv := range [][2]string{
		{"ostype", "kern.ostype"}, {"release", "kern.osrelease"}, {"version", "kern.version"}, {"machine",
			"hw.machine"},
	} {
		b, err := k.sysctl(kv[1])
		if err != nil {
			continue // the others still say something
		}
		out = fmt.Appendf(out, "%s %s\n", kv[0], oneLine(string(b)))
	}
	if out == nil {
		return nil, fmt.Errorf("uname: %w", errors.ErrUnsupported)
	}
	return out, nil
}

// oneLine joins a text of several lines, such as kern.version, with blanks.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Trim(s, "\x00")), " ")
}

func (k system) readSysctl(op, name string) ([]byte, error) {
	b, err := k.sysctl(name)
	if err != nil {
		if k.refused != nil && errors.Is(err, k.refused) { // debug.dump_modinfo without a boot loader
			return nil, fmt.Errorf("%w: %w", err, os.ErrNotExist)
		}
		return nil, err
	}
	if op == OpSysctl {
		return []byte(strings.TrimRight(string(b), "\x00")), nil
	}
	switch len(b) {
	case 4:
		return strconv.AppendInt(nil, int64(int32(binary.NativeEndian.Uint32(b))), 10), nil
	case 8:
		return strconv.AppendInt(nil, int64(binary.NativeEndian.Uint64(b)), 10), nil
	}
	return nil, fmt.Errorf("sysctl %s: %w: %d bytes are not a number", name, fact.ErrMalformed, len(b))
}

func (k system) next(op, arg string) ([]byte, error) {
	id, err := strconv.Atoi(arg)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w: id %.20q", op, fact.ErrMalformed, arg)
	}
	next, err := k.number(op, id)
	if err != nil {
		return nil, k.meaning(err)
	}
	return strconv.AppendInt(nil, int64(next), 10), nil
}

// stat makes kldstat or modstat with a structure of the version that is asked for.
func (k system) stat(op, idArg, versionArg string) ([]byte, error) {
	id, err := strconv.Atoi(idArg)
	size := structSize(op, versionArg, strconv.IntSize)
	if err != nil || size == 0 {
		return nil, fmt.Errorf("call %s: %w: id %.20q, version %.20q", op, errors.ErrUnsupported, idArg, versionArg)
	}
	buf := make([]byte, size)
	binary.NativeEndian.PutUint32(buf, uint32(size))
	if err := k.fill(op, id, buf); err != nil {
		return nil, k.meaning(err)
	}
	binary.NativeEndian.PutUint32(buf, uint32(size)) // the kernel may have cleared it
	return buf, nil
}

// structSize is the size of a version of struct kld_file_stat or module_stat; 0 for no version.
func structSize(op, version string, bits int) int {
	switch {
	case op == OpKldStat && version == "2":
		return sizeFor(bits, 2080, 2068)
	case op == OpKldStat && version == "1":
		return sizeFor(bits, 1056, 1044)
	case op == OpModStat && version == "3":
		return sizeFor(bits, 1048, 1040)
	case op == OpModStat && version == "2":
		return sizeFor(bits, 56, 48)
	case op == OpModStat && version == "1":
		return 44
	}
	return 0
}

func sizeFor(bits, lp64, ilp32 int) int {
	if bits == 64 {
		return lp64
	}
	return ilp32
}

// meaning turns an error number of the kernel linker's calls into what the ops promise.
func (k system) meaning(err error) error {
	switch {
	case errors.Is(err, k.gone):
		return fmt.Errorf("%w: %w", fact.ErrGone, err)
	case errors.Is(err, k.refused):
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}
