// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/machine"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// The calls that a FreeBSD or DragonFly machine answers, beside its files. The error matches fact.ErrGone for an id
// that no longer exists, fs.ErrPermission for a refusal, and errors.ErrUnsupported for a structure version that the
// kernel does not accept (EINVAL).
const (
	// OpKldNext is kldnext(2): argument id (0 for the first); the next id in decimal, 0 at the end.
	OpKldNext = "kldnext"
	// OpKldStat is kldstat(2): arguments id and structure version (2, or 1 without the path); the
	// struct kld_file_stat as the kernel filled it, but with the field version, which the kernel
	// clears, set back to the structure's size. So the bytes show their own width and byte order.
	OpKldStat = "kldstat"
	// OpKldFirstMod is kldfirstmod(2): argument file id; the first module's id in decimal, or 0.
	OpKldFirstMod = "kldfirstmod"
	// OpModFNext is modfnext(2): argument module id; the next id in the same file, or 0.
	OpModFNext = "modfnext"
	// OpModStat is modstat(2): arguments module id and structure version (3, 2 or 1); the struct
	// module_stat as the kernel filled it, its field version set as for OpKldStat.
	OpModStat = "modstat"
	// OpSysctl is a sysctl(3) of text: argument name; the text, without the final NUL. For a name that the kernel does
	// not have, the error matches fs.ErrNotExist.
	OpSysctl = "sysctl"
	// OpSysctlInt is a sysctl(3) of a number: argument name; the number in decimal.
	OpSysctlInt = "sysctl_int"
	// OpUname is uname(3): text, one "key value" a line, with the keys ostype, release, version and
	// machine. The host's name is not among them.
	OpUname = machine.OpUname
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = machine.OpClock
	// OpIdentity is who is asking: text, "euid N" and "pointer N" (the caller's own pointer size in
	// bits), one a line.
	OpIdentity = machine.OpIdentity
	// OpBootID is the random id that the kernel made at boot (kern.boot_id, FreeBSD 13 and later):
	// 32 hexadecimal digits.
	OpBootID = "boot_id"
)

// The sysctls that are read, each by OpSysctl or, where it says so, OpSysctlInt.
const (
	sysctlModulePath   = "kern.module_path"
	sysctlBootFile     = "kern.bootfile"
	sysctlBuildID      = "kern.build_id"
	sysctlOSRelDate    = "kern.osreldate"   // OpSysctlInt
	sysctlSecureLevel  = "kern.securelevel" // OpSysctlInt
	sysctlVeriexec     = "security.mac.veriexec.state"
	sysctlPreloaded    = "debug.dump_modinfo"
	sysctlBootID       = "kern.boot_id"
	maxSysctl          = 4 << 20
	maxNumber          = 1<<31 - 1
	maxFiles           = 16 << 10 // linker files that are walked
	maxModules         = 64 << 10 // modules of one file that are walked
	maxPasses          = 8        // walks that are begun before a partial list is given
	defaultModulePath  = "/boot/kernel;/boot/modules"
	redactedText       = rcconf.Redacted
	kernelName         = "kernel"
	wordKernelModule   = "elf module"
	wordRelocatableMod = "elf obj module"
)

// Names of the sources of FreeBSD facts.
const (
	SourceKldstat    = "kldstat"      // the kernel's list of files: kldnext and kldstat
	SourceModstat    = "modstat"      // the modules inside the files: kldfirstmod, modfnext, modstat
	SourcePreloaded  = "dump_modinfo" // what the boot loader loaded: debug.dump_modinfo
	SourceModulePath = "module_path"  // the .ko files in the directories of kern.module_path
	SourceHints      = "linker_hints" // linker.hints, the index of a module directory
	SourceLoaderConf = "loader_conf"  // loader.conf and its companions
	SourceRCConf     = "rc_conf"      // rc.conf and its companions
	SourceServices   = "rc_scripts"   // the scripts of rc(8), and fstab
	SourceMachine    = "machine"      // release, identity, clock and boot id
	SourcePolicy     = "policy"       // securelevel and veriexec
	SourceDTrace     = "dtrace"       // DTrace probes: not looked at
)

// A callFunc asks the machine for what is not a file; ops are the constants above.
type callFunc func(ctx context.Context, op string, args ...string) ([]byte, error)

// number asks for a decimal answer from 0 to 2³¹−1.
func (c callFunc) number(ctx context.Context, op string, id int) (int, error) {
	b, err := c(ctx, op, strconv.Itoa(id))
	if err != nil {
		return 0, fmt.Errorf("%s %d: %w", op, id, machine.PlainError(err))
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 || n > maxNumber {
		return 0, &fact.ParseError{Source: op, Reason: fmt.Sprintf("answer %.40q is not an id", b)}
	}
	return n, nil
}

// text asks for a sysctl of text.
func (c callFunc) text(ctx context.Context, name string) (string, error) {
	b, err := c(ctx, OpSysctl, name)
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, machine.PlainError(err))
	}
	if len(b) > maxSysctl {
		return "", fmt.Errorf("sysctl %s: %w: %d bytes", name, fact.ErrTooLarge, len(b))
	}
	if string(b) == redactedText {
		return "", fmt.Errorf("sysctl %s: %w", name, fact.ErrRedacted)
	}
	return escape.UTF8(strings.TrimRight(string(b), "\x00\n")), nil
}

// integer asks for a sysctl of a number.
func (c callFunc) integer(ctx context.Context, name string) (int64, error) {
	b, err := c(ctx, OpSysctlInt, name)
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", name, machine.PlainError(err))
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, &fact.ParseError{Source: "sysctl " + name, Reason: fmt.Sprintf("answer %.40q is not a number", b)}
	}
	return n, nil
}

// splitModulePath splits a module path such as "/boot/kernel;/boot/modules"; never nil.
func splitModulePath(path string) []string {
	dirs := []string{}
	for d := range strings.SplitSeq(path, ";") {
		if d = strings.TrimSpace(d); d != "" {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// clock answers OpClock.
func clock() []byte { return []byte(time.Now().UTC().Format(time.RFC3339Nano)) }

// noSuchOp is the answer to an op that is not known here.
func noSuchOp(op string) error {
	return fmt.Errorf("call %s: %w on this operating system", escape.Text(op), errors.ErrUnsupported)
}
