// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/elfset"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// needing is a kld of 14.2 that needs symbols, and may need other klds.
func needing(k kotest.KLD, symbols []string, klds ...string) kotest.KLD {
	k.Modules, k.Versions = []kotest.Module{{Record: "a", Name: "a"}}, []kotest.Version{{Name: "a", Version: 1}}
	k.Depends = []kotest.Depend{{Name: "kernel", Min: 1402000, Preferred: 1402000, Max: 1499999}}
	for _, n := range klds {
		k.Depends = append(k.Depends, kotest.Depend{Name: n, Min: 1, Preferred: 1, Max: 1})
	}
	k.Needs = symbols
	return k
}

// providing is a kld called name that defines a symbol, and needs other klds.
func providing(name, symbol string, klds ...string) []byte {
	k := needing(kotest.AMD64(), nil, klds...)
	k.Modules, k.Versions = []kotest.Module{{Record: name, Name: name}}, []kotest.Version{{Name: name, Version: 1}}
	k.Defines = []string{symbol}
	return k.Bytes()
}

// TestSymbols looks for the symbols that a kld needs where the kernel's linker looks: in the file, the kernel and the
// files that it depends on itself (kern_linker.c, linker_file_lookup_symbol_internal; link_elf.c and link_elf_obj.c,
// relocate_file).
func TestSymbols(t *testing.T) {
	kernel := func(like kotest.KLD, symbols ...string) []byte {
		like.Type = elf.ET_EXEC
		like.Versions, like.Defines = []kotest.Version{{Name: "kernel", Version: 1402000}}, symbols
		return like.Bytes()
	}
	amd64, arm64 := kotest.AMD64(), kotest.ARM64()
	own := needing(amd64, []string{"mine"})
	own.Defines = []string{"mine"}
	weak := needing(amd64, nil)
	weak.NeedsWeak = []string{"nobody"}
	set := needing(amd64, []string{"__start_set_modmetadata_set", "__stop_set_modmetadata_set"})
	const loadable, blocked, unknown = fact.VerdictLoadable, fact.VerdictBlocked, fact.VerdictUnknown
	for name, c := range map[string]struct {
		os      fact.OS
		kernel  []byte
		a       []byte
		outcome fact.VerdictOutcome
	}{
		"of the kernel":      {"", kernel(amd64, "x", "malloc"), needing(amd64, []string{"malloc"}).Bytes(), loadable},
		"of nobody":          {"", kernel(amd64, "x"), needing(amd64, []string{"malloc"}).Bytes(), blocked},
		"second of two":      {"", kernel(amd64, "x"), needing(amd64, []string{"x", "y"}).Bytes(), blocked},
		"of a dependency":    {"", kernel(amd64), needing(amd64, []string{"in_b"}, "b").Bytes(), loadable},
		"of its dependency":  {"", kernel(amd64), needing(amd64, []string{"in_c"}, "b").Bytes(), blocked},
		"of no dependency":   {"", kernel(amd64), needing(amd64, []string{"in_c"}).Bytes(), blocked},
		"of both":            {"", kernel(amd64), needing(amd64, []string{"in_c", "in_b"}, "b", "c").Bytes(), loadable},
		"its own":            {"", kernel(amd64), own.Bytes(), loadable},
		"weak":               {"", kernel(amd64), weak.Bytes(), loadable},
		"bounds of its sets": {"", kernel(amd64), set.Bytes(), loadable},
		"none":               {"", kernel(amd64), needing(amd64, nil).Bytes(), loadable},
		"shared object":      {"", kernel(arm64, "x"), needing(arm64, []string{"x"}).Bytes(), loadable},
		"shared, of nobody":  {"", kernel(arm64, "x"), needing(arm64, []string{"y"}).Bytes(), blocked},
		"kernel unread":      {"", []byte("\x7fELF"), needing(amd64, []string{"x"}).Bytes(), unknown},
		"kernel unread, none": {"", []byte("\x7fELF"), needing(amd64, nil).Bytes(),
			loadable},
		"DragonFly asks every file": {fact.DragonFly, kernel(amd64), needing(amd64, []string{"x"}).Bytes(), unknown},
	} {
		root := freebsdRoot(1402000, map[string]string{"boot/kernel/kernel": string(c.kernel),
			"boot/kernel/a.ko": string(c.a), "boot/kernel/b.ko": string(providing("b", "in_b", "c")),
			"boot/kernel/c.ko": string(providing("c", "in_c")), "boot/loader.conf": "a_load=\"YES\"\n"})
		o := fact.Options{OS: fact.FreeBSD, Image: true}
		if c.os != "" {
			o.OS = c.os
		}
		verdicts, err := Open(rootDisk{root}, o).Check(t.Context(), "a", new(fact.Report))
		if err != nil || len(verdicts) != 1 {
			t.Errorf("%s: %v %v", name, verdicts, err)
			continue
		}
		if got := verdicts[0].NextBoot; got.Outcome != c.outcome {
			t.Errorf("%s: %+v, want %s", name, got, c.outcome)
		}
	}
}

// TestSymbolsOfTheRunningKernel has a kld whose symbol the kernel's file lacks: the running kernel refuses it for
// certain only if it is that file.
func TestSymbolsOfTheRunningKernel(t *testing.T) {
	gone := fact.Stops(fact.Reason{Code: ReasonSymbols, Text: "x"})
	other := fact.Stops(fact.Reason{Code: ReasonUnmet, Text: "x"})
	for _, c := range []struct {
		answer fact.Answer
		same   bool
		want   fact.Tri
	}{{gone, true, fact.Yes}, {gone, false, ""}, {other, false, fact.Yes},
		{fact.Passes(fact.Reason{Code: ReasonInstalled}), false, fact.No}} {
		k := checker{sameKernel: func() bool { return c.same }}
		if got := k.running(c.answer).Blocked(); got != c.want {
			t.Errorf("%+v, same %v: %q, want %q", c.answer.Because(), c.same, got, c.want)
		}
	}
}

// TestNeededOfGCC compares what a compiler's files need with what their source says.
func TestNeededOfGCC(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc: files that a real compiler builds were not tested")
	}
	const source = `
extern int used(int); extern int unused(int); extern int data[]; extern int maybe(int) __attribute__((weak));
static int own(int x) { return x + 1; }
int other(int x) { return own(x); }
int *table[] = {data, data + 1};
int f(int x) { return used(x) + other(x) + (maybe ? maybe(x) : 0); }
`
	for name, args := range map[string][]string{
		"relocatable":          {"-c", "-fno-pic", "-mcmodel=kernel", "-g"},
		"shared":               {"-shared", "-nostdlib", "-fPIC", "-g"},
		"shared, old hash":     {"-shared", "-nostdlib", "-fPIC", "-Wl,--hash-style=sysv"},
		"relocatable, 32 bits": {"-m32", "-c", "-fno-pic"},
		"shared, 32 bits":      {"-m32", "-shared", "-nostdlib", "-fPIC"},
	} {
		dir := t.TempDir()
		src, out := filepath.Join(dir, "x.c"), filepath.Join(dir, "x.ko")
		if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(gcc, append(args, "-O0", "-o", out, src)...).CombinedOutput(); err != nil {
			t.Logf("gcc %v cannot build this kind here: %v\n%s", args, err, b)
			continue
		}
		f, closer, err := elfset.OpenFS(os.DirFS(dir), "x.ko", 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		got, err := f.Needed(nil)
		slices.Sort(got)
		got = slices.DeleteFunc(got, func(s string) bool { return s == "_GLOBAL_OFFSET_TABLE_" })
		if err != nil || !slices.Equal(got, []string{"data", "used"}) {
			t.Errorf("%s: needs %q, %v", name, got, err)
		}
		var defined []string
		err = f.Defined(nil, func(name string) error { defined = append(defined, name); return nil })
		if err != nil || !slices.Contains(defined, "f") || !slices.Contains(defined, "table") ||
			slices.Contains(defined, "used") {
			t.Errorf("%s: defines %q, %v", name, defined, err)
		}
	}
}

// TestSymbolsOfHostileFiles has tables that lead nowhere: an error, and no verdict from it.
func TestSymbolsOfHostileFiles(t *testing.T) {
	b := needing(kotest.AMD64(), []string{"x", "y"}).Bytes()
	for cut := range len(b) {
		f, err := elfset.Open(bytes.NewReader(b[:cut]), int64(cut), "x")
		if err != nil {
			continue
		}
		var names []string
		err = f.Defined(nil, func(name string) error { names = append(names, name); return errors.ErrUnsupported })
		if _, lost := f.Needed(nil); lost == nil && err == nil {
			t.Errorf("cut at %d of %d: no error, %q", cut, len(b), names)
		}
	}
	var budget fact.Budget
	small := budget.Item(0)
	small.Work(small.MaxWork())
	f, err := elfset.Open(bytes.NewReader(b), int64(len(b)), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Needed(small); !errors.Is(err, fact.ErrTooLarge) {
		t.Errorf("over its budget: %v", err)
	}
}
