// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package wmi

import (
	"errors"

	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows"
)

type live struct{}

var errNotWindows error = &sentinel.Error{Before: "the running system is not Windows", Cause: errors.ErrUnsupported}

func (live) Drivers() ([]windows.WMIDriver, error) { return nil, errNotWindows }

func (live) SignedDrivers() ([]windows.WMISignedDriver, error) { return nil, errNotWindows }
