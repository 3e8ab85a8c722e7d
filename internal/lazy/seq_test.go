// SPDX-License-Identifier: Apache-2.0

package lazy

import (
	"errors"
	"testing"
)

// TestSeq: nothing is done before the sequence is read, and reading may stop early.
func TestSeq(t *testing.T) {
	made := 0
	list := Seq(func() ([]int, error) { made++; return []int{1, 2, 3}, nil })
	if made != 0 {
		t.Error("made before it was read")
	}
	sum := 0
	for n, err := range list {
		if sum += n; err != nil || n == 2 {
			break
		}
	}
	if sum != 3 || made != 1 {
		t.Errorf("sum %d, made %d times", sum, made)
	}
	failed := errors.New("no list")
	for n, err := range Seq(func() ([]int, error) { return []int{7}, failed }) {
		if n != 0 || err != failed {
			t.Errorf("%d, %v", n, err)
		}
	}
}
