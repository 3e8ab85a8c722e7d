// SPDX-License-Identifier: Apache-2.0

package aix

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// programTime and programOutput bound what genkex may cost.
const (
	programTime   = 20 * time.Second
	programOutput = 4 << 20
)

// Exec answers OpGenkex by running /usr/bin/genkex -d, and nothing else. It is for callers that
// allow processes to be started. The program gets no environment but its language, is stopped
// after 20 seconds, and may write 4 MiB.
func Exec(ctx context.Context, op string, args ...string) ([]byte, error) {
	if op != OpGenkex || len(args) != 0 {
		return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
	}
	return run(ctx, program, "-d")
}

func run(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, programTime)
	defer stop()
	out := &bounded{}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stdout = out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", program, ctx.Err())
	case out.full:
		return nil, fmt.Errorf("%s: %w: more than %d bytes of output", program, fact.ErrTooLarge, programOutput)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return out.b.Bytes(), nil
}

// bounded keeps at most programOutput bytes, and drops the rest so that the program can end.
type bounded struct {
	b    bytes.Buffer
	full bool
}

// Write keeps what there is room for.
func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > programOutput {
		w.full = true
		return len(p), nil
	}
	return w.b.Write(p)
}
