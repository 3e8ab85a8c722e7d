// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/machine"
)

// The calls that a NetBSD machine answers, beside its files.
const (
	// OpModctlStat is modctl(2), status of all modules: arguments command (4, or 2 of kernels
	// before 2021) and buffer size. The answer is a line "little N" or "big N", the kernel's byte
	// order and the size that the whole answer needs, and then at most buffer size bytes of it. The error matches
	// errors.ErrUnsupported if the kernel does not know the command (EINVAL).
	OpModctlStat = "modctl_stat"
	// OpSysctl is a sysctl(3) of text: argument name; the text, without the final NUL.
	OpSysctl = "sysctl"
	// OpSysctlInt is a sysctl(3) of a number or a truth value: argument name; decimal.
	OpSysctlInt = "sysctl_int"
	// OpUname is uname(3): text, one "key value" a line, with the keys ostype, release, version and
	// machine. The host's name is not among them.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N" and "pointer N", one a line.
	OpIdentity = "identity"
)

// The sysctls that are read.
const (
	sysctlModulePath  = "kern.module.path"
	sysctlAutoload    = "kern.module.autoload" // OpSysctlInt
	sysctlSecureLevel = "kern.securelevel"     // OpSysctlInt
)

// Names of the sources of NetBSD facts.
const (
	SourceModctl     = "modctl"      // the kernel's list, modctl(MODCTL_STAT)
	SourceModulePath = "module_path" // the .kmod files below kern.module.path
	SourceMachine    = "machine"     // release, identity and clock
	SourcePolicy     = "policy"      // securelevel and autoload
)

// The commands of modctl(2) that ask for the status of all modules.
const (
	commandStat    = 4
	commandOldStat = 2
	firstSize      = 8192
	maxSize        = 32 << 20
	maxAttempts    = 8
)

// A callFunc asks the machine for what is not a file; ops are the constants above.
type callFunc func(ctx context.Context, op string, args ...string) ([]byte, error)

// text asks for a sysctl of text.
func (c callFunc) text(ctx context.Context, name string) (string, error) {
	b, err := c(ctx, OpSysctl, name)
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, machine.PlainError(err))
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
