// SPDX-License-Identifier: Apache-2.0

// Package machine reads what every system says of itself by the same calls: release, architecture, time and who is
// asking.
package machine

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// The calls that every machine answers.
const (
	OpUname    = "uname"    // text, one "key value" a line, with the keys release, version and machine
	OpClock    = "clock"    // text, RFC 3339 in UTC
	OpIdentity = "identity" // text, one "key value" a line, with the key euid
)

// Keys returns the keys and values of an answer with one "key value" a line.
func Keys(text []byte) map[string]string {
	keys := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " "); ok {
			keys[key] = escape.UTF8(value)
		}
	}
	return keys
}

// Time returns the machine's time; zero with an error if it does not say.
func Time(ctx context.Context, m fact.Machine) (time.Time, error) {
	text, err := m.Call(ctx, OpClock)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, strings.TrimSpace(string(text)))
}

// User returns "root" or "user" for an answer to OpIdentity; empty if it does not say.
func User(identity []byte) string {
	id, err := strconv.Atoi(Keys(identity)["euid"])
	switch {
	case err != nil || id < 0:
		return ""
	case id == 0:
		return "root"
	}
	return "user"
}

// A Reader fills a Header from the calls that every machine answers, and reports the source.
type Reader struct {
	Machine fact.Machine
	// Source is the source's name.
	Source string
	// Privilege returns the word for an answer to OpIdentity.
	Privilege func(identity []byte) string
	// Plain is set for systems whose error texts differ from machine to machine: a Problem then has the text of
	// its code.
	Plain bool
	// ReleaseKey is the key of the answer to OpUname that has the release, if the answer has it; else "release" has.
	ReleaseKey string

	lost bool
}

// Read fills h with release, architecture, time and privilege.
func (m *Reader) Read(ctx context.Context, h *fact.Header, r *fact.Report) {
	uname, err := m.Machine.Call(ctx, OpUname)
	m.Note(r, "release", err)
	keys := Keys(uname)
	h.Release, h.Arch = keys["release"], keys["machine"]
	if release := keys[m.ReleaseKey]; m.ReleaseKey != "" && release != "" {
		h.Release = release
	}
	h.TakenAt, err = Time(ctx, m.Machine)
	m.Note(r, "takenAt", err)
	identity, err := m.Machine.Call(ctx, OpIdentity)
	m.Note(r, "privilege", err)
	h.Privilege = m.Privilege(identity)
}

// PlainError returns the error that err's code stands for: what a machine says beside it differs from machine to
// machine, and a recording keeps the code alone. An error without a code stays.
func PlainError(err error) error {
	if e := fact.CodeOf(err).Err(); e != nil {
		return e
	}
	return err
}

// Note reports a field that could not be read; a nil error reports nothing.
func (m *Reader) Note(r *fact.Report, field string, err error) {
	if err == nil {
		return
	}
	m.lost = true
	if m.Plain {
		err = PlainError(err)
	}
	r.Problem(m.Source, "", field, err)
}

// Done reports the source: partial if a field could not be read.
func (m *Reader) Done(r *fact.Report) {
	outcome := fact.OutcomeOK
	if m.lost {
		outcome = fact.OutcomePartial
	}
	r.Source(m.Source, outcome, fact.Count{}, nil)
}
