// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"testing"
)

func TestCountKeepsZeroApartFromUnknown(t *testing.T) {
	type record struct {
		N Count `json:"n,omitzero"`
	}
	for _, tt := range []struct {
		c    Count
		want string
	}{
		{Count{}, `{}`},
		{CountOf(0), `{"n":0}`},
		{CountOf(-1), `{"n":-1}`},
		{CountOf(math.MaxInt64), `{"n":9223372036854775807}`},
	} {
		b, err := json.Marshal(record{tt.c})
		if err != nil || string(b) != tt.want {
			t.Errorf("marshal %v = %s, %v; want %s", tt.c, b, err, tt.want)
		}
		var back record
		if err := json.Unmarshal(b, &back); err != nil || back.N != tt.c {
			t.Errorf("unmarshal %s = %v, %v; want %v", b, back.N, err, tt.c)
		}
	}
	for _, bad := range []string{`{"n":1.5}`, `{"n":"1"}`, `{"n":9223372036854775808}`, `{"n":1e3}`} {
		var r record
		if err := json.Unmarshal([]byte(bad), &r); !errors.Is(err, ErrMalformed) {
			t.Errorf("unmarshal %s: error %v, want malformed", bad, err)
		}
	}
	var null record
	if err := json.Unmarshal([]byte(`{"n":null}`), &null); err != nil || !null.N.IsZero() {
		t.Errorf("null = %v, %v; want unknown", null.N, err)
	}
}

func TestAddressRoundTrip(t *testing.T) {
	for _, a := range []Address{1, 0xc0000000, 0xffffffffc0a14000, math.MaxUint64} {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"0x%016x"`, uint64(a)); string(b) != want {
			t.Errorf("marshal %x = %s, want %s", uint64(a), b, want)
		}
		var back Address
		if err := json.Unmarshal(b, &back); err != nil || back != a {
			t.Errorf("unmarshal %s = %v, %v", b, back, err)
		}
	}
	for _, bad := range []string{`"123"`, `"0x"`, `"0xg"`, `"0x11111111111111111"`, `12`} {
		var a Address
		if err := json.Unmarshal([]byte(bad), &a); err == nil {
			t.Errorf("unmarshal %s: no error", bad)
		}
	}
}

func TestProblemIsItsCodeAfterJSON(t *testing.T) {
	for _, s := range sentinels {
		err := fmt.Errorf("open x: %w", s.err)
		p := ProblemOf("src", "nvme", "version", err)
		if p.Code != s.code {
			t.Errorf("CodeOf(%v) = %q, want %q", err, p.Code, s.code)
		}
		b, _ := json.Marshal(p)
		var back Problem
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(back, s.err) {
			t.Errorf("%s is not %v after JSON", b, s.err)
		}
		for _, other := range sentinels {
			also := s.code == CodeOlder && other.code == CodeUnsupported // as ErrOlder itself
			if other.code != s.code && errors.Is(back, other.err) != also {
				t.Errorf("%s: is also %v: %v, want %v", b, other.err, !also, also)
			}
		}
	}
}

func TestLacks(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("call x: %w", errors.ErrUnsupported), true},
		{Problem{Code: CodeUnsupported}, true},
		{fmt.Errorf("call x: %w", ErrOlder), false},
		{Problem{Code: CodeOlder}, false},
		{fs.ErrNotExist, false},
		{nil, false},
	} {
		if got := Lacks(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
	err := fmt.Errorf("open x: %w", ErrOlder)
	if !errors.Is(err, errors.ErrUnsupported) || OutcomeOf(err) != OutcomeUnsupported {
		t.Error("a question that is younger than the tape is not unsupported")
	}
}

func TestCodeOfSystemErrors(t *testing.T) {
	if _, err := os.Open("/does/not/exist"); CodeOf(err) != CodeAbsent {
		t.Errorf("CodeOf(%v) = %q", err, CodeOf(err))
	}
	if CodeOf(nil) != "" || CodeOf(errors.New("?")) != CodeOther {
		t.Error("nil or an unknown error has the wrong code")
	}
	// Redacted says more than not recorded: what was removed was also not recorded.
	if c := CodeOf(fmt.Errorf("%w: %w", ErrUnrecorded, ErrRedacted)); c != CodeRedacted {
		t.Errorf("code %q", c)
	}
	if CodePermission.Err() != fs.ErrPermission || Code("new_word").Err() != nil {
		t.Error("Err does not answer the sentinel")
	}
}

func TestErrorsNameSourceSubjectField(t *testing.T) {
	pe := &ParseError{Source: "proc/modules", Field: "size", Line: 7, Reason: "is \"x\x1b[2J\""}
	if got, want := pe.Error(), `proc/modules:7: size: is "x\x1b[2J"`; got != want {
		t.Errorf("ParseError = %s, want %s", got, want)
	}
	if !errors.Is(pe, ErrMalformed) || errors.Is(pe, ErrTooLarge) {
		t.Error("a ParseError is malformed and nothing else")
	}
	big := &ParseError{Offset: 12, Reason: "is long", Err: ErrTooLarge}
	if !errors.Is(big, ErrTooLarge) || errors.Is(big, ErrMalformed) {
		t.Error("a ParseError is what its Err says")
	}
	p := ProblemOf("sys_module", "evil\u202e", "", pe)
	if p.Line != 7 || p.Field != "size" {
		t.Errorf("line %d, field %q of the ParseError are lost", p.Line, p.Field)
	}
	if got, want := p.Error(), `sys_module: evil\u202e: size: proc/modules:7: is "x\x1b[2J"`; got != want {
		t.Errorf("Problem = %s, want %s", got, want)
	}
	if got, want := (Problem{Source: "s", Code: CodeGone, Count: 3}).Error(), "s: gone (3 times)"; got != want {
		t.Errorf("Problem = %s, want %s", got, want)
	}
}

func TestTri(t *testing.T) {
	if TriOf(true) != Yes || TriOf(false) != No || Tri("").String() != "unknown" {
		t.Error("Tri")
	}
}

func TestZeroRecordsAreUnknown(t *testing.T) {
	if !new(Signature).IsZero() || (&Signature{Evidence: EvidenceTaintE}).IsZero() {
		t.Error("Signature.IsZero")
	}
	if !new(Origin).IsZero() || (&Origin{Evidence: []Evidence{}}).IsZero() {
		t.Error("Origin.IsZero")
	}
}

// TestProblemOfAProblem: a Problem that is reported under another name keeps what it says.
func TestProblemOfAProblem(t *testing.T) {
	inner := ProblemOf("file", "a", "index", &ParseError{Source: "a.bin", Field: "index", Line: 7, Reason: "bad"})
	inner.Count = 3
	want := Problem{Source: "tree", Subject: "m", Field: "index", Code: CodeMalformed,
		Text: "a.bin:7: bad", Line: 7, Count: 3}
	if got := ProblemOf("tree", "m", "", inner); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want.Field = "onDisk"
	if got := ProblemOf("tree", "m", "onDisk", inner); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
