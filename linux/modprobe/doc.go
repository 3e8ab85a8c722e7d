// SPDX-License-Identifier: Apache-2.0

// Package modprobe answers what modprobe(8) would do, without doing it: it reads the indexes of a kernel
// release and modprobe's configuration as kmod does.
//
// # What it answers
//
//   - The releases that a machine has module directories of ([Releases], [FindRelease]).
//   - The modules that a name, an alias or a device's modalias stands for ([Tree.Resolve]).
//   - The steps that modprobe would take for it, in order ([Tree.Plan]).
//   - Every module file of a release, with the one that depmod chooses of several ([Tree.Inventory]), and what
//     is compiled in ([Tree.Builtin]).
//   - modprobe's configuration ([ReadConfig]), and what an install command does ([EffectOf]).
//   - The modules and settings that lists ask for during boot ([ReadLoadLists], [ReadSysctls]), and whether
//     modprobe is another program than kmod's ([Program]).
//
// # What it reads
//
// Files of an fs.FS that is rooted at the machine's root, never written: lib/modules/RELEASE (and where other
// distributions have it), modprobe.d, depmod.d, modules-load.d, sysctl.d, and /proc/cmdline when asked. They
// are readable for everyone on most systems. It works the same on a mounted image, on any system.
//
// # Limits
//
// It does not know what is loaded: [Tree.Plan] is for a kernel with nothing loaded yet. The command of an
// install line is judged by its text and never run. Indexes, lists and plans have caps, against hostile files.
//
// # Errors
//
// Each call takes a *[fact.Report] and reports to it which index or file it could not read, under one of the Source
// names; the answer is what the others say. A [Config] is read once: [Config.Report] reports to each caller what it
// lacks. An error says that there is no answer; it matches fs.ErrNotExist for a release that is not there. No match and
// no error say that everything was read and nothing has the name.
package modprobe
