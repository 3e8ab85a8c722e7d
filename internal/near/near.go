// SPDX-License-Identifier: Apache-2.0

// Package near finds the names that somebody may have meant.
package near

import (
	"cmp"
	"slices"
)

// maxNear is how many names are suggested.
const maxNear = 3

// Names returns the names most like name, at most three, none that needs more changes than a
// third of its letters.
func Names(name string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	limit := max(1, len(name)/3)
	var near []candidate
	for _, n := range names {
		if d := distance(name, n, limit); d <= limit {
			near = append(near, candidate{n, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	near = slices.CompactFunc(near, func(a, b candidate) bool { return a.name == b.name })
	words := make([]string, 0, maxNear)
	for _, c := range near[:min(len(near), maxNear)] {
		words = append(words, c.name)
	}
	return words
}

// swapped reports whether b is a with two letters side by side swapped.
func swapped(a, b string) bool {
	if len(a) != len(b) || a == b {
		return false
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// distance is how many letters must be put in, taken out or changed to make b of a, or 1 if two letters are swapped;
// any number over limit when it is more than that.
func distance(a, b string, limit int) int {
	if swapped(a, b) {
		return 1
	}
	if max(len(a), len(b))-min(len(a), len(b)) > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
