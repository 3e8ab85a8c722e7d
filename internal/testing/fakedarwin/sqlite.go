// SPDX-License-Identifier: Apache-2.0

package fakedarwin

import (
	"bytes"
	"encoding/binary"
)

// A SQLite makes a database whose tables fit a page each, but for long rows.
type SQLite struct {
	pages [][]byte
	rows  [][]any // of the schema
}

const sqlitePage = 1024

func putVarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	var groups []byte
	for ; v > 0; v >>= 7 {
		groups = append(groups, byte(v&0x7f))
	}
	for i := len(groups) - 1; i >= 0; i-- {
		c := groups[i]
		if i > 0 {
			c |= 0x80
		}
		b = append(b, c)
	}
	return b
}

func sqliteRecord(values []any) []byte {
	var types, body []byte
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			types = putVarint(types, 0)
		case int:
			switch {
			case v == 0 || v == 1:
				types = putVarint(types, uint64(8+v))
			default:
				types = putVarint(types, 4)
				body = binary.BigEndian.AppendUint32(body, uint32(int32(v)))
			}
		case string:
			types = putVarint(types, uint64(13+2*len(v)))
			body = append(body, v...)
		}
	}
	return append(append([]byte{byte(len(types) + 1)}, types...), body...)
}

// leaf writes a leaf page of rows; a row that is too long goes on in pages of its own.
func (w *SQLite) leaf(header int, rows [][]any) []byte {
	p := make([]byte, sqlitePage)
	p[header] = 0x0d
	binary.BigEndian.PutUint16(p[header+3:], uint16(len(rows)))
	end := sqlitePage
	for i, values := range rows {
		record := sqliteRecord(values)
		cell := putVarint(putVarint(nil, uint64(len(record))), uint64(i+1))
		local := len(record)
		if most := sqlitePage - 35; local > most {
			least := (sqlitePage-12)*32/255 - 23
			if local = least + (len(record)-least)%(sqlitePage-4); local > most {
				local = least
			}
			cell = append(cell, record[:local]...)
			cell = binary.BigEndian.AppendUint32(cell, uint32(len(w.pages)+1))
			for rest := record[local:]; len(rest) > 0; {
				n := min(len(rest), sqlitePage-4)
				page := make([]byte, 4, sqlitePage)
				if n < len(rest) {
					binary.BigEndian.PutUint32(page, uint32(len(w.pages)+2))
				}
				page = append(page, rest[:n]...)
				w.pages = append(w.pages, append(page, make([]byte, sqlitePage-len(page))...))
				rest = rest[n:]
			}
		} else {
			cell = append(cell, record...)
		}
		end -= len(cell)
		copy(p[end:], cell)
		binary.BigEndian.PutUint16(p[header+8+2*i:], uint16(end))
	}
	binary.BigEndian.PutUint16(p[header+5:], uint16(end))
	return p
}

// NewSQLite returns an empty database.
func NewSQLite() *SQLite { return &SQLite{pages: [][]byte{nil}} }

// Table adds a table with its rows.
func (w *SQLite) Table(name, sql string, rows ...[]any) {
	p := w.leaf(0, rows)
	w.pages = append(w.pages, p)
	w.rows = append(w.rows, []any{"table", name, name, len(w.pages) + 1000, sql})
	w.rows[len(w.rows)-1][3] = len(w.pages)
}

// Bytes is the database file.
func (w *SQLite) Bytes() []byte {
	first := w.leaf(100, w.rows)
	copy(first, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(first[16:], sqlitePage)
	binary.BigEndian.PutUint32(first[56:], 1)
	w.pages[0] = first
	return bytes.Join(w.pages, nil)
}

// The tables of KextPolicy.
const (
	PolicySQL = "CREATE TABLE kext_policy ( team_id TEXT, bundle_id TEXT, allowed BOOLEAN, developer_name TEXT, " +
		"flags INTEGER, PRIMARY KEY (team_id, bundle_id) )"
	MDMSQL = "CREATE TABLE kext_policy_mdm ( team_id TEXT, bundle_id TEXT, allowed BOOLEAN, payload_uuid TEXT, " +
		"PRIMARY KEY (team_id, bundle_id) )"
	HistorySQL = "CREATE TABLE kext_load_history_v3 ( path TEXT PRIMARY KEY, team_id TEXT, bundle_id TEXT, boot_uuid " +
		"TEXT, created_at TEXT, last_seen TEXT, flags INTEGER , cdhash TEXT)"
)

// KextPolicy is the database of approved kexts with the given rows: team, bundle id, allowed,
// developer, flags.
func KextPolicy(rows ...[]any) []byte {
	w := NewSQLite()
	w.Table("kext_policy", PolicySQL, rows...)
	w.Table("kext_policy_mdm", MDMSQL)
	w.Table("kext_load_history_v3", HistorySQL)
	return w.Bytes()
}
