// SPDX-License-Identifier: Apache-2.0

// Package order sorts lists of large structures by a name in them.
package order

import (
	"slices"
	"strings"
)

// A Place is where a name was in a list.
type Place struct {
	name string
	at   int
}

// By sorts a list by name; what has the same name stays in its order. It sorts the names with their places, and then
// moves each structure once. memory is for the places, and is returned to be used again.
func By[T any](list []T, memory []Place, name func(*T) string) []Place {
	sorted := true
	for i := 1; i < len(list) && sorted; i++ {
		sorted = name(&list[i-1]) <= name(&list[i])
	}
	if sorted {
		return memory
	}
	places := slices.Grow(memory[:0], len(list))
	for i := range list {
		places = append(places, Place{name(&list[i]), i})
	}
	slices.SortFunc(places, func(a, b Place) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return a.at - b.at
	})
	for i := range places {
		if places[i].at == i {
			continue
		}
		// Follow the cycle that begins here.
		first, to := list[i], i
		for from := places[to].at; from != i; from = places[to].at {
			list[to] = list[from]
			places[to].at, to = to, from
		}
		list[to], places[to].at = first, to
	}
	return places
}
