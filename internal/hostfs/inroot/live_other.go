// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package inroot

import (
	"errors"
	"io/fs"
	"os"
)

// A Root is a directory that paths are resolved below. There is none here: the kernel has no such call.
type Root struct{}

// Of returns nil.
func Of(*os.File) *Root { return nil }

// Close answers errors.ErrUnsupported, as the other methods.
func (*Root) Close() error { return errors.ErrUnsupported }

// Open answers errors.ErrUnsupported.
func (*Root) Open(string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Stat answers errors.ErrUnsupported.
func (*Root) Stat(string, bool) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

// ReadLink answers errors.ErrUnsupported.
func (*Root) ReadLink(string) (string, error) { return "", errors.ErrUnsupported }
