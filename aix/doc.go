// SPDX-License-Identifier: Apache-2.0

// Package aix reads what AIX says of its kernel extensions: the text of genkex(1), with and without -d, and of
// genkld(1), which lists shared objects. [Open] makes the [Kernel] of a machine, [Kernel.Loaded] returns its
// extensions, and the report that every method takes says what could not be read. [ReadGenkex] reads text from
// elsewhere.
//
// AIX has no documented call that lists its kernel extensions: loadquery(L_GETINFO) shows those of the calling process
// only, and sysconfig(SYS_QUERYLOAD) answers for one given path. So a live look runs the system's own /usr/bin/genkex,
// by that path, with a limit on time and output ([Exec]), and only if the caller allows processes to be started.
//
// # Limits
//
// genkex prints path, address and size, and nothing else: no references, no dependencies, no versions. The same path
// can be loaded more than once. The files of extensions are not read: whether one that is not in the kernel could be
// loaded is unknown. No recording of plain genkex, without -d, was at hand: reading that form is experimental.
package aix
