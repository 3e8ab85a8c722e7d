// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestFacts: each value is a scalar or a list of words, and what is not known has no value.
func TestFacts(t *testing.T) {
	facts := func(args ...string) map[string]any {
		t.Helper()
		code, out, errs := lkmRun(t, "", append([]string{"facts"}, args...)...)
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 {
			t.Fatalf("%v: exit %d, %v\n%s%s", args, code, err, out, errs)
		}
		for name, value := range v {
			if reflect.TypeOf(value).Kind() == reflect.Map {
				t.Errorf("%s is not a flat value: %v", name, value)
			}
		}
		return v
	}
	expect := func(v map[string]any, want map[string]any) {
		t.Helper()
		for name, value := range want {
			if !reflect.DeepEqual(v[name], value) {
				t.Errorf("%s = %v, want %v", name, v[name], value)
			}
		}
	}
	list := func(words ...any) []any { return words }
	expect(facts("--tape", "demo:synthetic-debian-root", "nvme", "no-such"), map[string]any{
		"lkm_loaded": 35.0, "lkm_builtin": 9.0, "lkm_taint": "POE", "lkm_release": "6.1.0-56-amd64", "lkm_os": "linux",
		"lkm_third_party":           list("nvidia", "nvidia_drm", "nvidia_modeset", "vboxdrv"),
		"lkm_third_party_undecided": 31.0, "lkm_check_nvme": "loaded", "lkm_check_no_such": nil, "lkm_policy": nil,
		"lkm_unknown": list("lkm_check_no_such", "lkm_policy"),
	})
	expect(facts("--tape", "demo:synthetic-nomodules", "--prefix", ""), map[string]any{
		"loaded": 0.0, "builtin": 9.0, "third_party": []any{}, "lkm_loaded": nil})
	image := checkImage(t, nil)
	expect(facts("--root", image, "lone", "lome", "core"), map[string]any{
		"lkm_check_lone": "loadable", "lkm_check_lome": "absent", "lkm_check_core": "builtin", "lkm_policy": "any",
		"lkm_loaded": nil,
		"lkm_unknown": list("lkm_builtin", "lkm_loaded", "lkm_release", "lkm_taint", "lkm_third_party",
			"lkm_third_party_undecided", "lkm_unsigned", "lkm_unsigned_undecided"),
	})
	// Two names that make one fact's name: the worse of the two.
	expect(facts("--root", image, "lone", "LONE"), map[string]any{"lkm_check_lone": "loadable"})
	expect(facts("--root", image, "LONE", "lone"), map[string]any{"lkm_check_lone": "loadable"})
	if code, _, errs := lkmRun(t, "", "facts", "--tape", "demo:synthetic-debian-root", "--strict", "no-such"); code !=
		exitIncomplete || !strings.Contains(errs, "lkm_check_no_such is unknown") {
		t.Errorf("strict: exit %d, %q", code, errs)
	}
	if code, _, errs := lkmRun(t, "", "facts", "--tape", "demo:synthetic-procsubset", "--strict"); code !=
		exitIncomplete || !strings.HasPrefix(errs, "lkm: incomplete: list modules: ") {
		t.Errorf("no list: exit %d: %s", code, errs)
	}
	if code, _, errs := lkmRun(t, "", "facts", "--root", image, "--strict"); code != exitIncomplete || errs == "" {
		t.Errorf("strict: exit %d, %q", code, errs)
	}
}
