// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// Bounds of a program that is started.
const (
	maxOutput   = 16 << 20
	execTimeout = 30 * time.Second
)

// program returns what an op of the last group starts; nil for any other op.
func program(op string) []string {
	switch op {
	case OpKmutil:
		return []string{"/usr/bin/kmutil", "showloaded"}
	case OpKextstat:
		return []string{"/usr/sbin/kextstat"}
	case OpNVRAM:
		return []string{"/usr/sbin/nvram", "-xp"}
	case OpBridge:
		return []string{"/usr/sbin/system_profiler", "-xml", "SPiBridgeDataType"}
	}
	return nil
}

// ExecCall answers the ops that start a program of the system: by its absolute path, with no
// environment but LC_ALL=C, with empty input, for at most 30 seconds and 16 MiB of output. It is for
// callers who allowed that. Any other op, and a program that does not exist, give an error that matches
// errors.ErrUnsupported.
func ExecCall(ctx context.Context, op string, args ...string) ([]byte, error) {
	words := program(op)
	if words == nil || len(args) > 0 {
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	return runProgram(ctx, words, maxOutput)
}

func runProgram(ctx context.Context, words []string, most int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	var out, errOut capped
	out.left, errOut.left = most, 4096
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	name := strings.Join(words, " ")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: %w", name, errors.ErrUnsupported, err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", name, ctx.Err())
	case out.over:
		return nil, fmt.Errorf("%s: %w: more than %d bytes of output", name, fact.ErrTooLarge, most)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errOut.String()))
	}
	return out.Bytes(), nil
}

// A capped keeps what fits and notes that there was more.
type capped struct {
	bytes.Buffer
	left int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	n := len(p)
	if n > c.left {
		p, c.over = p[:c.left], true
	}
	c.left -= len(p)
	c.Buffer.Write(p)
	return n, nil
}
