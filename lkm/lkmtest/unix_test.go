// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"github.com/kernelext/kernelext/internal/testing/fakeunix"
	"github.com/kernelext/kernelext/lkm"
)

// unixMadeUps are the synthetic tapes of the Unix systems beside Linux.
func unixMadeUps() []madeUp {
	hidden := func() *fakeunix.FreeBSD {
		m := fakeunix.GENERIC()
		m.Hidden, m.EUID = true, 1001
		return m
	}
	denied := func() *fakeunix.FreeBSD {
		m := fakeunix.GENERIC()
		m.Deny, m.EUID = true, 1001
		return m
	}
	old := func() *fakeunix.FreeBSD {
		m := fakeunix.GENERIC()
		m.ModuleVersion, m.Bits = 2, 32
		return m
	}
	netbsdUser := func() *fakeunix.NetBSD {
		m := fakeunix.NetBSD10()
		m.Hidden, m.EUID = true, 1001
		return m
	}
	netbsdOld := func() *fakeunix.NetBSD {
		m := fakeunix.NetBSD10()
		m.Old = true
		return m
	}
	return []madeUp{
		{"synthetic-freebsd-root", "FreeBSD 14.2 with klds of the system, of ports and of nobody", lkm.FreeBSD,
			func() lkm.Machine { return fakeunix.GENERIC().Machine() }},
		{"synthetic-freebsd-hidden", "the same machine with HardenedBSD's HARDEN_KLD", lkm.FreeBSD,
			func() lkm.Machine { return hidden().Machine() }},
		{"synthetic-freebsd-denied", "the same machine as a user of HardenedBSD", lkm.FreeBSD,
			func() lkm.Machine { return denied().Machine() }},
		{"synthetic-freebsd-compat32", "the same machine from a program of 32 bits, with an older struct module_stat",
			lkm.FreeBSD, func() lkm.Machine { return old().Machine() }},
		{"synthetic-dragonfly", "DragonFly 6.4 with three files", lkm.DragonFly,
			func() lkm.Machine { return fakeunix.DragonFly().Machine() }},
		{"synthetic-netbsd-root", "NetBSD 10 with loaded, built-in and disabled modules", lkm.NetBSD,
			func() lkm.Machine { return fakeunix.NetBSD10().Machine() }},
		{"synthetic-netbsd-user", "the same machine as a user, who may not see addresses and sizes", lkm.NetBSD,
			func() lkm.Machine { return netbsdUser().Machine() }},
		{"synthetic-netbsd-old", "the same machine with a kernel from before 2021", lkm.NetBSD,
			func() lkm.Machine { return netbsdOld().Machine() }},
		{"synthetic-illumos", "illumos with a module of several linkages", lkm.Illumos,
			func() lkm.Machine { return fakeunix.OmniOS().Machine() }},
		{"synthetic-aix", "AIX 7.2 with one extension loaded twice", lkm.AIX,
			func() lkm.Machine { return fakeunix.AIX72().Machine() }},
	}
}
