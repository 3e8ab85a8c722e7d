// SPDX-License-Identifier: Apache-2.0

package lkm

import "runtime"

// running returns the row of the system that this program runs on: illumos satisfies the build tag of Solaris, too.
func running() *row {
	if runtime.GOOS == "illumos" {
		return &illumosRow
	}
	return &solarisRow
}
