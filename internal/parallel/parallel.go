// SPDX-License-Identifier: Apache-2.0

// Package parallel computes many results with a few workers.
package parallel

import (
	"context"
	"iter"
	"sync"
)

// How the work is divided.
const (
	batch = 8  // how many results a worker computes in one go, so that the workers meet seldom
	ahead = 16 // how many batches for each worker may wait for one that takes longer
)

// A job is one batch: the results from on, which are sent to done together.
type job[T any] struct {
	from int
	done chan []T
	out  []T // memory for the results
}

// give puts a job into the queue of the results' order and then into the hands of a worker. It returns false if the
// loop has ended.
func give[T any](j *job[T], queue, jobs chan<- *job[T], stop <-chan struct{}) bool {
	select {
	case queue <- j:
	case <-stop:
		return false
	}
	select {
	case jobs <- j:
		return true
	case <-stop:
		j.done <- nil
		return false
	}
}

// next returns a job that was used before, or a new one.
func next[T any](spare <-chan *job[T]) *job[T] {
	select {
	case j := <-spare:
		return j
	default:
		return &job[T]{done: make(chan []T, 1), out: make([]T, 0, batch)}
	}
}

// Ordered computes n results with several workers and gives them in order. At most 128 results
// for each worker wait; no goroutine outlives the loop.
func Ordered[T any](ctx context.Context, workers, n int, worker func() func(int) T) iter.Seq[T] {
	if workers <= 1 {
		return func(yield func(T) bool) {
			f := worker()
			for i := 0; i < n && ctx.Err() == nil; i++ {
				if !yield(f(i)) {
					return
				}
			}
		}
	}
	return func(yield func(T) bool) {
		jobs := make(chan *job[T])
		queue := make(chan *job[T], ahead*workers)
		spare := make(chan *job[T], ahead*workers) // whose results were used
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		for range workers {
			wg.Go(func() {
				f := worker()
				for j := range jobs {
					for i := j.from; i < min(j.from+batch, n) && ctx.Err() == nil; i++ {
						j.out = append(j.out, f(i))
					}
					j.done <- j.out
				}
			})
		}
		wg.Go(func() {
			defer close(jobs)
			defer close(queue)
			for i := 0; i < n && ctx.Err() == nil; i += batch {
				j := next(spare)
				if j.from = i; !give(j, queue, jobs, stop) {
					return
				}
			}
		})
		for j := range queue {
			for _, v := range <-j.done {
				if !yield(v) {
					return
				}
			}
			j.out = j.out[:0]
			select {
			case spare <- j:
			default:
			}
		}
	}
}
