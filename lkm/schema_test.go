// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"encoding/json"
	"flag"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/kernelext/kernelext/internal/testing/golden"
	"github.com/kernelext/kernelext/linux"
)

var update = flag.Bool("update", false, "rewrite golden files")

var someTime = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)

// fill sets every field below v, so that a golden file shows all keys.
func fill(v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case Count:
		v.Set(reflect.ValueOf(CountOf(7)))
		return
	case time.Time:
		v.Set(reflect.ValueOf(someTime))
		return
	case Detail:
		v.Set(reflect.ValueOf(DetailFiles | DetailSignatures))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Pointer:
		if depth < 8 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		if depth < 8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(value, depth+1)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth+1)
			}
		}
	}
}

// The JSON of every shared type is frozen: a key here may be added, never renamed or removed.
func TestTypesAreFrozen(t *testing.T) {
	for name, v := range map[string]any{
		"snapshot-0": &Snapshot{}, "verdict": &Verdict{}, "step": &Step{}, "discrepancy": &Discrepancy{},
		"event": &Event{}, "delta": &Delta{}, "plan": &SourcePlan{},
	} {
		fill(reflect.ValueOf(v).Elem(), 0)
		if s, ok := v.(*Snapshot); ok {
			s.Schema = 0
		}
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(name, err)
		}
		golden.Check(t, filepath.Join("testdata", "schema", name+".json"), append(b, '\n'), *update)
		back := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(b, back); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, _ := json.MarshalIndent(back, "", "  "); !bytes.Equal(again, b) {
			t.Errorf("%s changes in a round trip", name)
		}
	}
}

// An empty record says nothing: no key is written for what is unknown, but for the few that are
// always there.
func TestUnknownIsNotWritten(t *testing.T) {
	for want, v := range map[string]any{
		`{"id":"","kind":"","name":""}`:                      Module{},
		`{"schema":0,"os":"","modules":null,"sources":null}`: Snapshot{},
		`{"id":"","kind":"","name":"","linux":{}}`:           Module{Linux: &linux.Module{}},
		`{"query":""}`:                     Verdict{},
		`{"name":"","kind":"","grade":""}`: Discrepancy{},
		`{"seq":0,"type":""}`:              Event{},
		`{"module":""}`:                    Step{},
		`{"code":""}`:                      Problem{},
		`{"name":"","outcome":""}`:         Source{},
		`{"id":"","kind":"","name":"","requires":[],"usedBy":[]}`:   Module{Requires: []string{}, UsedBy: []string{}},
		`{"id":"","kind":"","name":"","linux":{"taints":[]}}`:       Module{Linux: &linux.Module{Taints: []string{}}},
		`{"id":"","kind":"","name":"","size":0,"refs":0}`:           Module{Size: CountOf(0), Refs: CountOf(0)},
		`{"id":"","kind":"","name":"","origin":{"evidence":[]}}`:    Module{Origin: Origin{Evidence: []Evidence{}}},
		`{"id":"","kind":"","name":"","onDisk":{"match":"absent"}}`: Module{OnDisk: OnDisk{Match: MatchAbsent}},
	} {
		if b, err := json.Marshal(v); err != nil || string(b) != want {
			t.Errorf("%T = %s, %v; want %s", v, b, err, want)
		}
	}
}

func TestSnapshotErr(t *testing.T) {
	s := &Snapshot{Sources: []Source{{Name: "a", Outcome: OutcomeOK}, {Name: "b", Outcome: OutcomeUnsupported},
		{Name: "c", Outcome: OutcomeSkipped}, {Name: "d", Outcome: OutcomeAbsent}},
		Problems: []Problem{{Code: CodeUnsupported}}}
	if err := s.Err(); err != nil {
		t.Errorf("complete: %v", err)
	}
	for _, o := range []Outcome{OutcomeDenied, OutcomePartial, OutcomeFailed} {
		s := &Snapshot{Sources: []Source{{Name: "a", Outcome: o}}}
		if s.Err() == nil {
			t.Errorf("%s is incomplete", o)
		}
	}
	s = &Snapshot{Modules: []Module{{Problems: []Problem{{Code: CodeGone}}}}}
	if s.Err() == nil {
		t.Error("a module's problem is incomplete")
	}
}
