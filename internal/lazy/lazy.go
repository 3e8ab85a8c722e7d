// SPDX-License-Identifier: Apache-2.0

// Package lazy holds package-level values that are made when they are first used. A program that
// imports a package and never calls the function that needs the value does not pay for it: the
// variables are composite literals, which the linker lays out and which run no code at import.
//
//	var row = lazy.Regexp{Pattern: `^\s*(\d+)`}
package lazy

import (
	"regexp"
	"sync"
)

// A Value is made by New when it is first asked for. It is safe for concurrent use and must not be
// copied.
type Value[T any] struct {
	// New returns the value. It is called once.
	New func() T

	once  sync.Once
	value T
}

// Get returns the value.
func (v *Value[T]) Get() T {
	v.once.Do(func() { v.value = v.New() })
	return v.value
}

// A Regexp is a regular expression that is compiled when it is first used. Its methods are those of
// regexp.Regexp, and panic if Pattern does not compile. It is safe for concurrent use and must not be
// copied.
type Regexp struct {
	// Pattern is the expression in the syntax of package regexp.
	Pattern string

	once sync.Once
	re   *regexp.Regexp
}

func (r *Regexp) compiled() *regexp.Regexp {
	r.once.Do(func() { r.re = regexp.MustCompile(r.Pattern) })
	return r.re
}

// MatchString reports whether s contains a match.
func (r *Regexp) MatchString(s string) bool { return r.compiled().MatchString(s) }

// FindStringSubmatch returns the first match in s and its groups; nil if there is no match.
func (r *Regexp) FindStringSubmatch(s string) []string { return r.compiled().FindStringSubmatch(s) }

// FindSubmatch returns the first match in b and its groups; nil if there is no match.
func (r *Regexp) FindSubmatch(b []byte) [][]byte { return r.compiled().FindSubmatch(b) }

// FindAllString returns the first n matches in s, all of them if n is negative.
func (r *Regexp) FindAllString(s string, n int) []string { return r.compiled().FindAllString(s, n) }

// ReplaceAllString returns s with every match replaced by repl, in which $1 is the first group.
func (r *Regexp) ReplaceAllString(s, repl string) string {
	return r.compiled().ReplaceAllString(s, repl)
}

// ReplaceAll returns a copy of b with every match replaced by repl, in which $1 is the first group.
func (r *Regexp) ReplaceAll(b, repl []byte) []byte { return r.compiled().ReplaceAll(b, repl) }

// ReplaceAllFunc returns a copy of b with every match replaced by what f returns for it.
func (r *Regexp) ReplaceAllFunc(b []byte, f func([]byte) []byte) []byte {
	return r.compiled().ReplaceAllFunc(b, f)
}
