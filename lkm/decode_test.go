// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/internal/testing/bomb"
)

func TestDecode(t *testing.T) {
	want := take(t, madeLinux(), Options{Detail: DetailParameters | DetailAddresses})
	text, _ := json.Marshal(want)
	got, err := Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(got)
	if !bytes.Equal(text, again) {
		t.Errorf("a round trip changes the text (-want +got):\n%s", cmp.Diff(string(text), string(again)))
	}
}

func TestDecodeForwards(t *testing.T) {
	s, err := Decode(strings.NewReader(
		`{"schema":0,"os":"templeos","modules":[{"id":"x:y","kind":"x","name":"y","state":"dreaming",` +
			`"color":"red",
		"signature":{"status":"blessed"}}],"sources":[{"name":"n","outcome":"maybe","code":"new_word"}],` +
			`"detail":["files","dreams"],"extra":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := s.Modules[0]
	if s.OS != "templeos" || m.State != "dreaming" || m.Signature.Status != "blessed" ||
		s.Sources[0].Outcome != "maybe" || s.Sources[0].Code != "new_word" || s.Detail != DetailFiles {
		t.Errorf("%+v", s)
	}
}

func TestDecodeRefuses(t *testing.T) {
	_, err := Decode(strings.NewReader(`{"schema":7,"modules":[]}`))
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "schema 7 is newer than 0") {
		t.Errorf("newer schema: %v", err)
	}
	for _, text := range []string{"", "{", "[]", "null", "{}", `{"schema":0}`, `{"modules":[]}`,
		`{"schema":-1,"modules":[]}`, `{"schema":"0","modules":[]}`,
		`{"schema":0,"modules":[{"size":1.5}]}`, `{"schema":0,"modules":[]} trailing`, `{"schema":0,"modules":{}}`,
		strings.Repeat("[", 100000)} {
		if s, err := Decode(strings.NewReader(text)); s != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40q: %v, %v", text, s, err)
		}
	}
}

// Every released form must decode for ever.
func TestDecodeReleasedForms(t *testing.T) {
	files, err := filepath.Glob("testdata/schema/snapshot-*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no released forms", err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Decode(f); err != nil || len(s.Modules) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
}

func FuzzDecode(f *testing.F) {
	text, _ := json.Marshal(take(f, madeLinux(), Options{Detail: DetailParameters | DetailAddresses}))
	f.Add(text)
	f.Add([]byte(`{"schema":0,"modules":[{"id":"a"}]}`))
	for _, seed := range bomb.Seeds(bomb.Snapshot) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(bytes.NewReader(b))
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if s == nil {
			return
		}
		once, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, once)
		}
		if twice, _ := json.Marshal(again); !bytes.Equal(once, twice) {
			t.Fatalf("written twice (-once +twice):\n%s", cmp.Diff(string(once), string(twice)))
		}
		_ = s.Err()
		_ = Diff(s, again)
	})
}

// What version 0.1.0 said in a kernel's own object is where every system has it.
func TestDecodeMovedFields(t *testing.T) {
	s, err := Decode(strings.NewReader(`{"schema": 0, "modules": [
		{"id": "a", "kind": "linux_module", "name": "a", "linux": {"sha256": "01",
			"modinfo": [{"key": "license", "value": "GPL"}, {"key": "license", "value": "BSD"}]}},
		{"id": "b", "kind": "windows_driver", "name": "b", "windows": {"hashes": {"sha256": "02"}}},
		{"id": "c", "kind": "linux_module", "name": "c", "license": "MIT", "hashes": {"sha256": "03"},
			"linux": {"sha256": "04", "modinfo": [{"key": "license", "value": "GPL"}]}},
		{"id": "d", "kind": "linux_module", "name": "d", "linux": {}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"GPL, BSD", "01"}, {"", "02"}, {"MIT", "03"}, {"", ""}}
	for i, m := range s.Modules {
		if got := [2]string{m.License, m.Hashes.SHA256}; got != want[i] {
			t.Errorf("%s: %q, want %q", m.ID, got, want[i])
		}
	}
}
