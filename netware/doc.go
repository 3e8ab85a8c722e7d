// SPDX-License-Identifier: Apache-2.0

// Package netware reads NetWare Loadable Modules: the files (header, description, version, copyright, dependencies,
// imports and exports; [ReadFile]), the text of the console command MODULES ([ReadModules]) and an ABEND.LOG
// ([ReadAbendLog]). There is no live look: no Go program runs on NetWare.
//
// # Limits
//
// Of a file whose header says that it is packed, only the fixed header is read. Names are in the code page of the
// server and are taken as bytes. The format of MODULES is experimental: it follows descriptions, and no recording of a
// real console was at hand. The colors that show where the server loaded a module from are lost in text.
package netware
