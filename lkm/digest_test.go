// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/internal/testing/golden"
)

// Version 1 of the digest counts the same fields for ever, once it was released. If this test then fails for a new
// field, do not update the list: empty the field in dropVolatile, so that older receivers compute the same digest.
func TestDigestOfVersion1(t *testing.T) {
	var s Snapshot
	fill(reflect.ValueOf(&s).Elem(), 0)
	paths := make(map[string]bool)
	m := s.Modules[0].Clone()
	m.dropVolatile()
	addPaths(paths, "modules[]", reflect.ValueOf(m))
	header := s
	header.dropVolatile()
	addPaths(paths, "", reflect.ValueOf(header))
	delete(paths, "schema")
	delete(paths, "modules")
	list := "# The digest of testdata/schema/snapshot-0.json, and the fields that count in it.\n" + s.Digest() + "\n" +
		strings.Join(slices.Sorted(maps.Keys(paths)), "\n") + "\n"
	golden.Check(t, filepath.Join("testdata", "digest-v1.txt"), []byte(list), *update)
}

// addPaths adds the JSON paths of the fields that are not empty.
func addPaths(paths map[string]bool, path string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		addPaths(paths, path, v.Elem())
		return
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Index(0).Kind() == reflect.Struct:
		addPaths(paths, path+"[]", v.Index(0))
		return
	case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Type().Field(0).IsExported():
	default:
		paths[path] = true
		return
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || v.Field(i).IsZero() {
			continue
		}
		addPaths(paths, strings.TrimPrefix(path+"."+name, "."), v.Field(i))
	}
}

// What does not count, does not; what does, does.
func TestDigestCounts(t *testing.T) {
	base := take(t, madeLinux(), Options{})
	want := base.Digest()
	for name, tt := range map[string]struct {
		change func(*Snapshot)
		same   bool
	}{
		"host":     {func(s *Snapshot) { s.Host, s.Producer = "x", "y" }, true},
		"time":     {func(s *Snapshot) { s.TakenAt = someTime }, true},
		"refs":     {func(s *Snapshot) { s.Modules[0].Refs, s.Modules[0].UsedBy = CountOf(99), nil }, true},
		"count":    {func(s *Snapshot) { s.Sources[0].Count = CountOf(99) }, true},
		"order":    {func(s *Snapshot) { slices.Reverse(s.Modules) }, true},
		"events":   {func(s *Snapshot) { s.Sources = append(s.Sources, Source{Name: "uevents"}) }, true},
		"source":   {func(s *Snapshot) { s.Sources[0].Outcome = OutcomeDenied }, false},
		"boot":     {func(s *Snapshot) { s.BootID = "x" }, false},
		"gone":     {func(s *Snapshot) { s.Modules = s.Modules[1:] }, false},
		"version":  {func(s *Snapshot) { s.Modules[0].Version = "2" }, false},
		"taint":    {func(s *Snapshot) { s.Modules[0].Linux.Taints = []string{"F"} }, false},
		"license":  {func(s *Snapshot) { s.Modules[0].License = "MIT" }, false},
		"problems": {func(s *Snapshot) { s.Problems = []Problem{{Code: CodeGone}} }, false},
	} {
		s := *base
		s.Sources, s.Modules = slices.Clone(base.Sources), make([]Module, len(base.Modules))
		for i := range s.Modules {
			s.Modules[i] = base.Modules[i].Clone()
		}
		tt.change(&s)
		if got := s.Digest(); (got == want) != tt.same {
			t.Errorf("%s: %s, before %s", name, got, want)
		}
	}
}
