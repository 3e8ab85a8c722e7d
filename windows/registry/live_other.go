// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package registry

import "errors"

// LiveKey reads one key of the running system, which has no registry here.
func LiveKey(_ string, _ ...string) (Key, error) { return Key{}, errors.ErrUnsupported }

// LiveNames returns the names of a key's subkeys of the running system, which has no registry here.
func LiveNames(_ string, _ int) ([]string, error) { return nil, errors.ErrUnsupported }
