// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"github.com/kernelext/kernelext/internal/testing/fakewindows"
	"github.com/kernelext/kernelext/lkm"
)

// windowsMadeUps are the synthetic tapes of Windows.
func windowsMadeUps() []madeUp {
	return []madeUp{
		{"synthetic-windows11-admin", "Windows 11 24H2 as an administrator with SeDebugPrivilege", lkm.Windows,
			func() lkm.Machine { return fakewindows.Windows11(false) }},
		{"synthetic-windows11-user", "the same machine as an ordinary user, who sees no addresses and no filters",
			lkm.Windows, func() lkm.Machine { return fakewindows.Windows11(true) }},
	}
}
