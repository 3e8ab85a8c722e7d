// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"testing"

	"os"
	"path/filepath"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/testdata"
)

func TestParseVersion(t *testing.T) {
	for _, tt := range []struct {
		text  string
		now   kextVersion // -1: invalid
		canon string
	}{
		{"5.0", 5000000009000, "5.0"},
		{"20.4.0", 20000400009000, "20.4"},
		{"8.0.0b1", 8000000005001, "8.0b1"},
		{"1801.24.61fc3", 1801002400617003, "1801.24.61f3"},
		{"1", 1000000009000, "1.0"},
		{"0", 9000, "0.0"},
		{"0001.0002", 1000200009000, "1.2"},
		{"1.", 1000000009000, "1.0"},
		{"1..2", 1000000029000, "1.0.2"},
		{"1.2.3 Copyright 2020", 1000200039000, "1.2.3"},
		{"1.2.3\t4", 1000200039000, "1.2.3"},
		{"1.0.0d0", 1000000001000, "1.0d0"},
		{"1.0f255", 1000000007255, "1.0f255"},
		{"1.0f0", -1, ""},
		{"1.0fc0", -1, ""},
		{"1.0a256", -1, ""},
		{"1.0a1000", -1, ""},
		{"1.0a", -1, ""},
		{"1.0ab1", -1, ""},
		{"1.0c1", -1, ""},
		{"1.2.3.4", -1, ""},
		{"1.22.33.", -1, ""}, // a full last part lets a period pass
		{"12345.1", -1, ""},
		{"12345", -1, ""},
		{"1234.5678.9012", 1234567890129000, "1234.5678.9012"},
		{"1200.12.2", 1200001200029000, "1200.12.2"},
		{"", -1, ""},
		{" 1", -1, ""},
		{".1", -1, ""},
		{"v1", -1, ""},
		{"-1", -1, ""},
		{"$(VERSION)", -1, ""},
		{"1.0\x00junk", 1000000009000, "1.0"}, // C text ends at NUL
		{"110.23.37", 110002300379000, "110.23.37"},
		{"493.0.0", 493000000009000, "493.0"},
		{"6.0.6f2", 6000000067002, "6.0.6f2"},
	} {
		now, err := parseVersion(tt.text)
		checkVersion(t, "parseVersion", tt.text, now, tt.now, err)
		if tt.now < 0 {
			continue
		}
		if got := now.String(); got != tt.canon {
			t.Errorf("String of %q = %q, want %q", tt.text, got, tt.canon)
		}
		if again, err := parseVersion(now.String()); err != nil || again != now {
			t.Errorf("%q does not survive being written: %v, %v", tt.text, again, err)
		}
	}
}

func checkVersion(t *testing.T, call, text string, got, want kextVersion, err error) {
	t.Helper()
	if got != want || (err != nil) != (want < 0) {
		t.Errorf("%s(%q) = %d, %v; want %d", call, text, got, err, want)
	}
	if err != nil && !errors.Is(err, fact.ErrMalformed) {
		t.Errorf("%s(%q): %v is not a parse error", call, text, err)
	}
}

// TestVersionOrder checks that the order is total on every version in the recordings.
func TestVersionOrder(t *testing.T) {
	dir := testdata.Dir(t, "captures")
	found := map[string]bool{"": true, "(invalid)": true, "$(V)": true}
	pattern := regexp.MustCompile(`[0-9][0-9A-Za-z.]*`)
	err := filepath.WalkDir(filepath.Join(dir, "darwin"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, v := range pattern.FindAllString(string(data), -1) {
			found[v] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for v := range found {
		all = append(all, v)
	}
	if len(all) < 500 {
		t.Fatalf("only %d texts", len(all))
	}
	slices.Sort(all)
	r := rand.New(rand.NewSource(1))
	for range 200_000 {
		a, b, c := all[r.Intn(len(all))], all[r.Intn(len(all))], all[r.Intn(len(all))]
		ab, bc, ac := CompareVersions(a, b), CompareVersions(b, c), CompareVersions(a, c)
		if ab != -CompareVersions(b, a) {
			t.Fatalf("%q and %q compare differently the other way round", a, b)
		}
		if ab <= 0 && bc <= 0 && ac > 0 || ab == 0 && bc == 0 && ac != 0 {
			t.Fatalf("not transitive: %q %q %q: %d %d %d", a, b, c, ab, bc, ac)
		}
	}
	for _, order := range []string{"1.0d1 1.0a1 1.0b1 1.0f1 1.0 1.0.1d1", "9.9 10.0", "x 0"} {
		list := strings.Fields(order)
		if !slices.IsSortedFunc(list, CompareVersions) || CompareVersions(list[0], list[1]) == 0 {
			t.Errorf("wrong order of %s", order)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"1.2.3", "1801.24.61fc3", "1.", "f1", "1.0d255"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseVersion(s)
		if (err == nil) != (v >= 0) {
			t.Fatalf("value %d and error %v", v, err)
		}
		if err != nil {
			return
		}
		if again, err := parseVersion(v.String()); err != nil || again != v {
			t.Fatalf("%q is %d, written as %q, read as %d, %v", s, v, v, again, err)
		}
	})
}
