// SPDX-License-Identifier: Apache-2.0

// Package tape records what a machine answered and plays it back. A [Recorder] is a machine that
// passes questions on and keeps the answers; a [Tape] is a machine made of those answers. A program cannot distinguish
// a tape from the recorded machine, except that a question that was not asked then has no answer now:
//
//   - no entry: fact.ErrUnrecorded, which is never fs.ErrNotExist
//   - no entry, and the recorder did not know the question yet: fact.ErrOlder
//   - taken out for privacy: fact.ErrRedacted, or [Tape.Redacted] when only a part went
//   - a refusal or an absence that was recorded: the same error, on any operating system
//
// # What is recorded
//
// Only what is asked for: the recorder asks nothing by itself and walks no directory. A file that
// is read several times keeps its last whole content. What is private goes before it is kept: the
// kernel package says what that is, on Linux linux.Redact. The recorder needs no privilege and
// opens nothing; the bytes go to the writer of WriteTo.
//
// # A tape does not age
//
// A new version of this library may ask a machine something that older versions did not ask. The header says which set
// of questions the recorder knew ([Header].Questions), and a table in this package says since when a question is asked.
// A question that is younger than the tape has the answer fact.ErrOlder, which matches errors.ErrUnsupported. A list of
// such a tape is what it was when the tape was recorded: nothing counts as missing, also for Snapshot.Err and
// lkm --strict. A conclusion that needs the answer is unknown: this tape is older than the question.
//
// # Limits
//
// An entry holds at most EntryCap bytes and a tape's text at most TapeCap. Of a longer file the
// start is kept, and reading on answers fact.ErrTooLarge. Stat's Sys, inode numbers and owners are
// not recorded. A tape says nothing of time: it answers at once.
//
// # The format
//
// A tape is UTF-8 text with LF line ends, or that compressed with gzip. It is made of a header, of
// entries, and of a last line that shows that nothing was cut off:
//
//	kernelext tape 1
//	os: linux
//	release: 6.1.0-56-amd64
//	arch: x86_64
//	privilege: user
//	questions: 2
//	caps: entry 4194304, tape 67108864
//	redactions: addresses command_line device_ids parameters
//	producer: lkm 0.1.0
//	comment: a made-up machine with one module
//	-- file proc/modules --
//	dummy 16384 0 - Live 0x0000000000000000
//	-- dir sys/module/dummy mode=0755 size=0 --
//	f coresize
//	d notes
//	f taint
//	-- file sys/module/dummy/coresize --
//	16384
//	-- file sys/module/dummy/notes/.note.gnu.build-id enc=base64 --
//	BAAAABQAAAADAAAAR05VAAECAwQFBgcICQoLDA0ODxAREhM=
//	-- error open sys/module/dummy/sections/.text --
//	permission
//	-- file sys/module/dummy/taint --
//
//	-- link sys/subsystem/dummy --
//	../module/dummy
//	-- call clock newline=no --
//	2026-11-22T10:00:00Z
//	-- end --
//
// The header's first line names the format. The others are "key: value", each key at most once but
// for comment; [Header] explains them. Keys that a reader does not know are ignored. In a value, %
// and characters that are not printable are written %XX, byte by byte in hexadecimal.
//
// An entry begins with a line between "-- " and " --" of words with one space between them: its
// kind, its subject, and its attributes KEY=VALUE. The lines up to the next entry are its content.
// A path is a slash path below the machine's root ("." is the root), folded to lower case if the
// machine is Windows. In a path, an argument and a value, every byte that is not a visible ASCII
// character, and space, %, = and ", are written %XX; an empty word is "". Reading a tape fails if two entries have the
// same kind and subject, or if a path is both a file and a directory.
//
//	file PATH            what reading the file gave
//	dir PATH             the directory's names, in order, each with a letter for its type
//	                     before it: f file, d directory, l link, p pipe, s socket, b block
//	                     device, c character device, ? anything else
//	link PATH            one line: the target of a symbolic link
//	call OP ARG...       the answer to a call
//	error QUESTION PATH  why a question about a path has no answer: one line, a code of package
//	error call OP ARG... fact, and after ": " a text if the code is other. The questions are open
//	                     (also for reading a file whole), readdir, stat, lstat and readlink.
//
// Attributes, all optional:
//
//	mode=0644            file, dir, link: the permission bits that stat gave, in octal
//	type=c               file: its type, if it is not one of the three kinds that have entries
//	size=N mtime=TIME    what stat gave; the time is RFC 3339 in UTC
//	end=CODE             what comes after the content is not the end but this error: too_large
//	                     when the tape has only a part, unrecorded when no more was read
//	redacted=yes         file, call: something was taken out of the content
//	extents=A+N,B+M      file: the content is N bytes at offset A followed by M bytes at B, in
//	                     order and not touching. Reading elsewhere answers the error of end,
//	                     unrecorded without end; at or after size it is the end of the file
//	enc=base64           file, call: the content is base64 in lines of up to 76 characters. It is
//	                     used for whatever is not printable UTF-8 with LF and tab, or has a line
//	                     that starts with "-- "
//	newline=no           file, call: the last newline of the content's lines is not part of it
//
// A file or directory without any of the first four attributes, and whole, is a file of its own
// length with mode 0444, or a directory with mode 0555. A question is answered by the error entry
// for it, else by the entry for this very path, else by what the recorded links lead to: relative
// and absolute ones, within the tape, at most 40. "absent" answers every other question that
// follows from it.
//
// A tape that was written by this package is read and written again as the same bytes.
package tape
