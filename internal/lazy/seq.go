// SPDX-License-Identifier: Apache-2.0

package lazy

import "iter"

// Seq yields the items of a list that is made each time the sequence is read. An error of the list comes alone, with a
// zero item.
func Seq[T any](list func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		items, err := list()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}
