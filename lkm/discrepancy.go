// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"fmt"
)

// Discrepancies compares what the kernel's sources say of its modules with each other and with the
// disk: modules that one shows and another does not, taint that nothing explains, loaded code that
// is not the file's, files that no package owns, configuration that runs programs. Each is evidence
// with a grade, never a verdict: an empty list does not prove that nothing is hidden.
//
// Views that could not be compared are in one Discrepancy of the kind "unchecked" (linux.KindUnchecked),
// which comes first; a caller that wants all views must look for it. While a Watch of this System
// hears the kernel's events, what they say is loaded is a view as well. A gap in the kernel's views is
// looked at three times, so this takes up to a second; it is dearer than a Snapshot, because it reads
// the kernel's symbols and every module's file.
//
// With Detail Hashes each module file of Linux and FreeBSD is compared with the one that its package brought, too:
// every one of them is read whole (linux.KindChangedFile, linux.KindMissingFile).
//
// An image runs no kernel: of a Linux one the files of Options.Kernel, else of every release, are
// compared with the packages, and the configuration is looked at; the kernel's list is unchecked.
//
// The error is that of Snapshot, or errors.ErrUnsupported where this library compares nothing.
func (s *System) Discrepancies(ctx context.Context) ([]Discrepancy, error) {
	const op = "compare sources"
	if err := s.usable(op, !s.backend.comparesFiles()); err != nil {
		return nil, err
	}
	compare := s.backend.discrepancies
	if s.of.image {
		compare = s.backend.fileDiscrepancies
	}
	r := s.report()
	found, err := compare(ctx, r)
	s.log(op, r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lkm: %s: %w", op, err)
	}
	return found, nil
}
