// SPDX-License-Identifier: Apache-2.0

// Package sqlite reads the tables of SQLite database files, no more: rowid tables by their name, row by row or one row
// by its number, and the rows that an index of one column finds by the beginning of a text, with the changes that are
// in a write-ahead log. There is no SQL and no writing. The format is fixed and public
// (https://www.sqlite.org/fileformat2.html). Files may be hostile: each page of a tree is visited once, every offset is
// checked, nothing recurses, and what rows may say together is bounded by the size of the file. Pages are read as they
// are needed, so a large database costs little memory.
package sqlite
