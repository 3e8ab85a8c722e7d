// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package wmi

import (
	"errors"
	"fmt"

	"github.com/kernelext/kernelext/windows"
)

type live struct{}

var errNotWindows = fmt.Errorf("the running system is not Windows: %w", errors.ErrUnsupported)

func (live) Drivers() ([]windows.WMIDriver, error) { return nil, errNotWindows }

func (live) SignedDrivers() ([]windows.WMISignedDriver, error) { return nil, errNotWindows }
