// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"

	"github.com/kernelext/kernelext/fact"
)

// Policy reads what the system enforces on the loading of kernel code: some twenty small files.
// Every fact names its source, and an unknown one says why. On an image the Policy is what is certain of the next boot;
// nothing of the running machine takes part. The error matches errors.ErrUnsupported on a system whose policy this
// library does not read, or is that of ctx.
func (s *System) Policy(ctx context.Context) (*Policy, error) {
	const op = "read policy"
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	p, err := s.backend.policy(ctx, r)
	s.log(op, r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return p, nil
}

// Config returns the configuration of the system's module loader as it takes effect, each line with its file. On Linux
// it is modprobe's; elsewhere the error matches errors.ErrUnsupported. Nothing is run and nothing is loaded.
func (s *System) Config(ctx context.Context) (*Config, error) { return s.config(ctx, false) }

// Lint is Config with Idle: the lines that do nothing, each with the reason. It looks up every name in the modules of
// the machine's kernels, or of the one that Options.Kernel names, and reads the boot loader's entries.
func (s *System) Lint(ctx context.Context) (*Config, error) { return s.config(ctx, true) }

func (s *System) config(ctx context.Context, lint bool) (*Config, error) {
	const op = "read configuration"
	if err := s.usable(op, false); err != nil {
		return nil, err
	}
	r := s.report()
	c, err := s.backend.config(ctx, lint, r)
	s.log(op, r)
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return c, nil
}

// addPolicy gives the snapshot its policy when it was asked for.
func (s *System) addPolicy(ctx context.Context, snap *Snapshot, r *fact.Report) {
	if s.options.Detail&DetailPolicy == 0 {
		return
	}
	p, err := s.backend.policy(ctx, r)
	if err != nil {
		r.Problem("", "", "policy", err)
		return
	}
	snap.Policy = p
}
