// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/lkm"
)

// macMadeUps are the made-up Macs. No Mac was recorded yet.
func macMadeUps() []madeUp {
	mac := func(h fakedarwin.Host) func() lkm.Machine { return func() lkm.Machine { return h.Machine() } }
	root, denied := fakedarwin.Intel(), fakedarwin.Intel()
	user := root
	user.User = true
	denied.Denied = true
	return []madeUp{
		{"synthetic-macos-root", "macOS 11 on an Intel Mac with a vendor's kext, as root", lkm.Darwin, mac(root)},
		{"synthetic-macos-user", "the same Mac as an ordinary user", lkm.Darwin, mac(user)},
		{"synthetic-macos-silicon", "macOS 15 on an Apple silicon Mac, where the vendor's kext has no address",
			lkm.Darwin, mac(fakedarwin.Silicon())},
		{"synthetic-macos-denied", "the Intel Mac from a sandbox, which gets nothing from the kernel",
			lkm.Darwin, mac(denied)},
		{"synthetic-macos-kmutil", "the Intel Mac from a sandbox, with leave to start kmutil", lkm.Darwin,
			mac(fakedarwin.Sandboxed())},
	}
}
