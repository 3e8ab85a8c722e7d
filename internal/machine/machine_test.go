// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// answers is a machine that answers calls with texts; what it does not have is refused.
type answers map[string]string

func (a answers) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	text, ok := a[op]
	if !ok {
		return nil, fmt.Errorf("call %s: %w", op, fs.ErrPermission)
	}
	return []byte(text), nil
}

// A host is answers with the files that a fact.Machine has, too.
type host struct {
	answers
	fstest.MapFS
}

func TestKeys(t *testing.T) {
	got := Keys([]byte("release 6.1 amd64\r\nempty \nnone\nname a\xff\nname b\nlast x"))
	want := map[string]string{"release": "6.1 amd64", "empty": "", "name": "b", "last": "x"}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Keys([]byte("name a\xff"))["name"]; got != `a\xff` {
		t.Errorf("%q", got)
	}
}

func TestUser(t *testing.T) {
	for text, want := range map[string]string{
		"euid 0\n": "root", "euid 1000\n": "user", "euid -1\n": "", "euid x\n": "", "uid 0\n": "", "": "",
	} {
		if got := User([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 5, time.UTC)
	got, err := Time(t.Context(), host{answers{OpClock: at.Format(time.RFC3339Nano) + "\n"}, nil})
	if err != nil || !got.Equal(at) {
		t.Errorf("%v, %v", got, err)
	}
	for _, m := range []host{{}, {answers{OpClock: "noon"}, nil}} {
		if got, err := Time(t.Context(), m); err == nil || !got.IsZero() {
			t.Errorf("%v: %v, %v", m.answers, got, err)
		}
	}
}

func TestRead(t *testing.T) {
	all := answers{OpUname: "release 14.1\nversion FreeBSD 14.1\nmachine amd64\n", OpClock: "2026-05-04T03:02:01Z\n",
		OpIdentity: "euid 0\n"}
	without := func(op string) answers {
		a := maps.Clone(all)
		delete(a, op)
		return a
	}
	whole := fact.Header{Release: "14.1", Arch: "amd64", TakenAt: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
		Privilege: "root"}
	noRelease, noTime, nobody, other := whole, whole, whole, whole
	noRelease.Release, noRelease.Arch, noTime.TakenAt, nobody.Privilege = "", "", time.Time{}, ""
	other.Release = "FreeBSD 14.1"
	for _, tt := range []struct {
		name    string
		answers answers
		reader  Reader
		want    fact.Header
		lost    []string // the fields of the problems
	}{
		{"whole", all, Reader{}, whole, nil},
		{"release of another key", all, Reader{ReleaseKey: "version"}, other, nil},
		{"release of a key that is missing", all, Reader{ReleaseKey: "kernel"}, whole, nil},
		{"no uname", without(OpUname), Reader{}, noRelease, []string{"release"}},
		{"no clock", without(OpClock), Reader{}, noTime, []string{"takenAt"}},
		{"no identity", without(OpIdentity), Reader{}, nobody, []string{"privilege"}},
		{"nothing", nil, Reader{}, fact.Header{}, []string{"release", "takenAt", "privilege"}},
	} {
		var h fact.Header
		var r fact.Report
		m := tt.reader
		m.Machine, m.Source, m.Privilege = host{tt.answers, nil}, "machine", User
		m.Read(t.Context(), &h, &r)
		m.Done(&r)
		var lost []string
		for _, p := range r.Problems {
			lost = append(lost, p.Field)
			if p.Source != "machine" || p.Code != fact.CodePermission {
				t.Errorf("%s: %+v", tt.name, p)
			}
		}
		if h.Release != tt.want.Release || h.Arch != tt.want.Arch || !h.TakenAt.Equal(tt.want.TakenAt) ||
			h.Privilege != tt.want.Privilege || !slices.Equal(lost, tt.lost) || r.Whole("machine") != (lost == nil) {
			t.Errorf("%s: %+v, %q, %+v", tt.name, h, lost, r.Sources)
		}
	}
}

// TestPlain: the texts of a plain reader do not depend on the machine's own, where a code says why.
func TestPlain(t *testing.T) {
	odd := errors.New("odd")
	for _, tt := range []struct {
		plain bool
		err   error
		want  string
	}{
		{false, fmt.Errorf("EPERM: %w", fs.ErrPermission), "EPERM: permission denied"},
		{true, fmt.Errorf("EPERM: %w", fs.ErrPermission), "permission denied"},
		{true, odd, "odd"},
	} {
		var r fact.Report
		m := Reader{Source: "machine", Plain: tt.plain}
		m.Note(&r, "release", nil)
		m.Note(&r, "release", tt.err)
		if len(r.Problems) != 1 || r.Problems[0].Text != tt.want {
			t.Errorf("%v: %+v, want %s", tt.err, r.Problems, tt.want)
		}
	}
}
