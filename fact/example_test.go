// SPDX-License-Identifier: Apache-2.0

package fact_test

import (
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
)

// A reader takes a Report, returns what it could read, and reports the rest.
func ExampleReport() {
	sizes := func(names []string, r *fact.Report) []int {
		var sizes []int
		for _, name := range names {
			if name == "secret" {
				err := &fs.PathError{Op: "open", Path: "/sizes/secret", Err: fs.ErrPermission}
				r.Problem("sizes", name, "size", err)
				continue
			}
			sizes = append(sizes, len(name))
		}
		r.Done("sizes", fact.CountOf(int64(len(sizes))))
		return sizes
	}

	var r fact.Report
	fmt.Println(sizes([]string{"nvme", "secret", "zfs"}, &r), "whole:", r.Whole("sizes"))
	for _, s := range r.Sources {
		fmt.Println(s.Name, s.Outcome, s.Count)
	}
	for _, p := range r.Problems {
		fmt.Println(p.Code, p)
	}
	// Output:
	// [4 3] whole: false
	// sizes partial 2
	// permission sizes: secret: size: open /sizes/secret: permission denied
}

// A step of a judgment returns an Answer. An unknown one names what was not read.
func ExampleAnswer() {
	step := func(level fact.Count) fact.Answer {
		n, known := level.Get()
		switch {
		case !known:
			return fact.Unsure("securelevel", "kern.securelevel was not read")
		case n > 0:
			return fact.Stops(fact.Reason{Code: "securelevel", Text: fmt.Sprintf("kern.securelevel=%d", n)})
		}
		return fact.Passes(fact.Reason{Code: "securelevel", Text: "kern.securelevel=0"})
	}

	for _, level := range []fact.Count{fact.CountOf(1), fact.CountOf(0), {}} {
		answer := step(level)
		fmt.Printf("blocked: %s, because %s\n", answer.Blocked(), answer.Because().Text)
	}
	// Output:
	// blocked: yes, because kern.securelevel=1
	// blocked: no, because kern.securelevel=0
	// blocked: unknown, because kern.securelevel was not read
}
