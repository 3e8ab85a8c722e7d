// SPDX-License-Identifier: Apache-2.0

package parallel

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
)

// square returns a worker's function, and counts the workers and their calls.
func square(workers, calls *atomic.Int64) func() func(int) int {
	return func() func(int) int {
		workers.Add(1)
		return func(i int) int {
			calls.Add(1)
			return i * i
		}
	}
}

func TestOrdered(t *testing.T) {
	for _, workers := range []int{0, 1, 2, 7} {
		for _, n := range []int{0, 1, 8, 9, 1000} {
			var started, calls atomic.Int64
			got := slices.Collect(Ordered(context.Background(), workers, n, square(&started, &calls)))
			if len(got) != n || calls.Load() != int64(n) || started.Load() > int64(max(workers, 1)) {
				t.Errorf("%d workers: %d results of %d, %d calls, %d started", workers, len(got), n, calls.Load(),
					started.Load())
			}
			for i, v := range got {
				if v != i*i {
					t.Fatalf("%d workers: result %d is %d", workers, i, v)
				}
			}
		}
	}
}

// A loop that ends early ends the workers, which computed only a few results more.
func TestOrderedEndsEarly(t *testing.T) {
	for _, workers := range []int{1, 4} {
		var started, calls atomic.Int64
		for range Ordered(context.Background(), workers, 1e6, square(&started, &calls)) {
			break
		}
		after := calls.Load()
		if after > 1000 {
			t.Errorf("%d workers: %d calls for one result", workers, after)
		}
	}
}

func TestOrderedEndsWithItsContext(t *testing.T) {
	for _, workers := range []int{1, 4} {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var started, calls atomic.Int64
		n := 0
		for range Ordered(ctx, workers, 1e6, square(&started, &calls)) {
			if n++; n == 10 {
				cancel()
			}
		}
		if n < 10 || n > 1000 {
			t.Errorf("%d workers: %d results", workers, n)
		}
	}
}
