// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// One attribute that blocks costs itself: those before and after it are read. After two tries it is not asked for.
func TestABlockedAttributeCostsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dir = "sys/module/nvme"
		b := &blocking{made: madeLinux(), path: dir + "/initstate", release: make(chan struct{})}
		b.fails[dir+"/taint"] = fs.ErrPermission
		g := newGuard(b, "/host", nil)
		names := []string{"coresize", "initstate", "none", "taint", "initsize"}
		want := []string{"16384\n", "timeout", "absent", "permission", "0\n"}
		for look := range 4 {
			var got []string
			for text, err := range limit.Attrs(g, nil, dir, names) {
				if err != nil {
					text = []byte(fact.CodeOf(err))
				}
				var pe *fs.PathError
				if i := len(got); err != nil && (!errors.As(err, &pe) || pe.Path != "/host/"+dir+"/"+names[i]) {
					t.Errorf("%s: %v", names[i], err)
				}
				got = append(got, string(text))
			}
			if !slices.Equal(got, want) {
				t.Errorf("look %d: %q, want %q", look, got, want)
			}
		}
		if b.waiting != maxAbandoned || b.count(dir+"/taint") != 1 {
			t.Errorf("%d reads wait, a refused one was asked for %d times", b.waiting, b.count(dir+"/taint"))
		}
		close(b.release)
		synctest.Wait()
		if g.hanging != 0 {
			t.Errorf("%d reads hang", g.hanging)
		}
		for range limit.Attrs(g, nil, dir, names) {
			break // a caller that wants no more
		}
	})
}

// A batch of which each read takes long, but none too long, is read whole.
func TestASlowBatchIsReadWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(&slow{madeLinux()}, "", nil)
		for text, err := range limit.Attrs(g, nil, "sys/module/nvme", []string{"coresize", "initstate", "initsize"}) {
			if err != nil || len(text) == 0 {
				t.Errorf("%q, %v", text, err)
			}
		}
	})
}

// slow answers after three quarters of what a caller waits for.
type slow struct{ *made }

func (s *slow) Open(name string) (fs.File, error) {
	time.Sleep(patience * 3 / 4)
	return s.made.Open(name)
}
