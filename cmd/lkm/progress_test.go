// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// writes keeps each write apart.
type writes struct{ all []string }

func (w *writes) Write(b []byte) (int, error) {
	w.all = append(w.all, string(b))
	return len(b), nil
}

// manyModules is an image with n modules.
func manyModules(t *testing.T, n int) string {
	t.Helper()
	files := map[string]string{}
	var dep strings.Builder
	for i := range n {
		name := fmt.Sprintf("kernel/m%04d.ko", i)
		files["lib/modules/6/"+name] = ""
		dep.WriteString(name + ":\n")
	}
	files["lib/modules/6/modules.dep"] = dep.String()
	return checkImage(t, files)
}

// TestEarlyRows: the first rows of a long list are written before the rest is read, and all of them once.
func TestEarlyRows(t *testing.T) {
	image := manyModules(t, 3*firstRows)
	out := new(writes)
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"list", "--installed", "--root", image}, nil, out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	if n := strings.Count(out.all[0], "\n"); n != firstRows+1 {
		t.Errorf("%d lines in the first write, want the head and %d rows", n, firstRows)
	}
	all := strings.Join(out.all, "")
	for _, want := range []string{"\nm0000  ", "\nm0599  ", "\nlone  ", "\n601 installed\n"} {
		if strings.Count(all, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(all, want))
		}
	}
	if n := strings.Count(all, "NAME"); n != 1 {
		t.Errorf("%d heads", n)
	}
	out.all = nil
	run(t.Context(), []string{"list", "--installed", "--root", image, "--name", "m000?"}, nil, out, &errs)
	all = strings.Join(out.all, "")
	if strings.Count(all, "\nm000") != 10 || !strings.Contains(all, "10 of 601 match") {
		t.Errorf("%s", all)
	}
}

// blocked is an input that says nothing until it is released.
type blocked struct {
	released chan struct{}
	r        *strings.Reader
}

func (b *blocked) Read(p []byte) (int, error) {
	<-b.released
	return b.r.Read(p)
}

// releasing is an output that releases an input when the first text comes.
type releasing struct {
	writes
	released chan struct{}
}

func (w *releasing) Write(b []byte) (int, error) {
	if w.all == nil {
		close(w.released)
	}
	return w.writes.Write(b)
}

// TestProgress: a line on a terminal says that work goes on, and is gone when it is done.
func TestProgress(t *testing.T) {
	released := make(chan struct{})
	in := &blocked{released, strings.NewReader("Module Size Used by\nnvme 57344 3\n")}
	errs := &releasing{released: released}
	var out bytes.Buffer
	a := newApp([]string{"import", "-"}, in, &out, errs)
	a.err, a.env = screen{true, 80}, func(string) string { return "" }
	a.progress.after = time.Millisecond
	if code := a.run(t.Context()); code != 0 || !strings.Contains(out.String(), "nvme") {
		t.Errorf("exit %d, %s", code, out.String())
	}
	if first := errs.all[0]; !strings.HasPrefix(first, clearLine+"lkm import: reading … ") {
		t.Errorf("%q", first)
	}
	if last := errs.all[len(errs.all)-1]; last != clearLine {
		t.Errorf("the line stays: %q", last)
	}
	if got := progressText("lkm list", 1234, 2100*time.Millisecond); got != "lkm list: reading: 1234 modules … 2 s" {
		t.Errorf("%q", got)
	}
}

// TestNoProgress: nothing is written where nobody looks, or wants it.
func TestNoProgress(t *testing.T) {
	for name, set := range map[string]func(a *app){
		"a pipe":        func(a *app) { a.err = screen{} },
		"a dumb one":    func(a *app) { a.env = func(string) string { return "dumb" } },
		"asked quiet":   func(a *app) { a.args = append(a.args, "-q") },
		"soon finished": func(a *app) { a.progress.after = time.Hour },
	} {
		var out, errs bytes.Buffer
		a := newApp([]string{"list", "--tape", "demo:synthetic-debian-root"}, nil, &out, &errs)
		a.err, a.env = screen{true, 80}, func(string) string { return "" }
		set(a)
		if code := a.run(t.Context()); code != 0 || errs.Len() > 0 {
			t.Errorf("%s: exit %d, %q", name, code, errs.String())
		}
	}
}
