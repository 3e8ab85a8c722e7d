// SPDX-License-Identifier: Apache-2.0

// Package kernelext is documentation only. The module answers one question for programs and
// people: what code has been, or could be, put into this kernel, from where, by whom, and how do
// we know? Kernel extensions are Linux modules, FreeBSD klds, macOS kexts, Windows kernel-mode
// drivers, and the loadable code of every other system that has some.
//
// Import package lkm; the kernel packages (linux, freebsd, darwin, windows, …) hold each kernel's
// own words and decoders, for those who need one alone.
//
//	s, err := lkm.Take(ctx)              // what is loaded here, now
//	if err != nil {
//		return err                   // there is no list: "open /proc/modules: permission denied"
//	}
//	for _, m := range s.Modules {
//		fmt.Println(m.ID, m.Size, m.UsedBy)
//	}
//	if err := s.Err(); err != nil {
//		log.Print("incomplete: ", err) // what could not be seen, and why
//	}
//
// # What is read
//
//	system     source                                              privilege
//	Linux      /proc/modules, /sys/module, /lib/modules            none
//	           load addresses; some parameters; keyrings, tracefs  CAP_SYSLOG; root
//	FreeBSD    kldnext, kldstat, modstat, sysctl; .ko files        none (HardenedBSD: root)
//	NetBSD     modctl(MODCTL_STAT); .kmod files                    none
//	illumos    modctl(MODINFO)                                     none
//	AIX        /usr/bin/genkex, with Options.Exec                  none
//	macOS      KextManagerCopyLoadedKextInfo; kexts, collections   none
//	Windows    NtQuerySystemInformation, service manager,          none
//	           registry, .sys files and catalogs; addresses        SeDebugPrivilege
//	any        a tape: what such a machine once answered           none
//	any        text that another tool printed; a module's file     none
//
// README.md has the table of what works on which system, made by the tests.
//
// # Unknown is an answer
//
// "Could not look", "not supported", "hidden by the kernel" and "none" are different results. An
// empty list is returned only when the kernel said that it is empty. Every Snapshot names its
// sources and how reading each went; what could not be read is a Problem with a code. A kind of code that is not looked
// at (BPF programs) is a source with outcome unsupported: a clean list is not a clean kernel.
//
// # Security
//
// The library only reads: it loads nothing, writes nothing, opens no network connection, and runs
// no program unless Options.Exec allows the few that some systems need. Nothing that it reads is
// trusted: sizes, counts, depths and times are bounded, and a bad item costs only itself. Names
// are chosen by whoever made the module; escape them before showing them on a terminal, as the
// command does. A kernel that is owned by an attacker can hide anything from every reader.
//
// # Compatibility
//
// Until version 1 the Go API may change, and the changelog says where. The JSON may not: a released
// form decodes for ever, new fields and words may be added, and a changed meaning raises the
// schema number, which older readers refuse by name.
package kernelext
