// SPDX-License-Identifier: Apache-2.0

package lazy

import (
	"sync"
	"testing"
)

func TestValueIsMadeOnce(t *testing.T) {
	made := 0
	v := Value[int]{New: func() int { made++; return 7 }}
	if made != 0 {
		t.Error("the value was made before its use")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := v.Get(); got != 7 {
				t.Errorf("Get() = %d, want 7", got)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("New ran %d times, want once", made)
	}
}

func TestRegexp(t *testing.T) {
	r := Regexp{Pattern: `a(b*)`}
	if r.re != nil {
		t.Error("compiled before its use")
	}
	if !r.MatchString("xab") || r.MatchString("b") {
		t.Error("MatchString")
	}
	first := r.re
	if m := r.FindStringSubmatch("xabb"); len(m) != 2 || m[0] != "abb" || m[1] != "bb" {
		t.Errorf("FindStringSubmatch = %q", m)
	}
	if m := r.FindSubmatch([]byte("xabb")); len(m) != 2 || string(m[1]) != "bb" {
		t.Errorf("FindSubmatch = %q", m)
	}
	if m := r.FindAllString("a ab abb", -1); len(m) != 3 || m[2] != "abb" {
		t.Errorf("FindAllString = %q", m)
	}
	if s := r.ReplaceAllString("xabb", "<$1>"); s != "x<bb>" {
		t.Errorf("ReplaceAllString = %q", s)
	}
	if b := r.ReplaceAll([]byte("xabb"), []byte("<$1>")); string(b) != "x<bb>" {
		t.Errorf("ReplaceAll = %q", b)
	}
	if b := r.ReplaceAllFunc([]byte("xabb"), func(m []byte) []byte { return m[:1] }); string(b) != "xa" {
		t.Errorf("ReplaceAllFunc = %q", b)
	}
	if r.re != first {
		t.Error("compiled twice")
	}
}
