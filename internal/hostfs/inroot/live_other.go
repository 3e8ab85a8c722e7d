// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package inroot

import (
	"errors"
	"io/fs"
	"os"
)

// Probe reports that the kernel has no such call.
func Probe(*os.File) bool { return false }

// Open answers errors.ErrUnsupported.
func Open(*os.File, string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Stat answers errors.ErrUnsupported.
func Stat(*os.File, string, bool) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
