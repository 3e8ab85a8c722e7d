// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) facts() *cobra.Command {
	prefix := ""
	c := &cobra.Command{
		Use:   "facts [NAME...]",
		Short: "Print facts of this machine as one flat JSON object, for ansible and Puppet",
		Long: `Print facts of this machine as one flat JSON object: how many modules are loaded and compiled in,
which of the loaded ones are not the operating system's or have no valid signature, the kernel's taint, what is
enforced on loading, and for each NAME whether its code can enter the kernel, as lkm check says.

A fact that is not known has no key, and its name is in the list lkm_unknown. The list lkm_third_party has what is
known; how many modules could not be decided is lkm_third_party_undecided. What is known to be nothing is 0, "" or [].

For ansible make /etc/ansible/facts.d/lkm.fact an executable script, for Puppet /etc/facter/facts.d/lkm:

  #!/bin/sh
  exec lkm facts cramfs usb-storage`,
		RunE: func(c *cobra.Command, names []string) error {
			sys, err := a.open(lkm.DetailFiles | lkm.DetailSignatures)
			if err != nil {
				return err
			}
			defer sys.Close()
			f := newFactSet(prefix)
			incomplete := f.gather(c.Context(), sys, names)
			if err := c.Context().Err(); err != nil {
				return err
			}
			if err := writeJSON(a.stdout, f.values, "  "); err != nil {
				return err
			}
			return a.strictly(incomplete)
		},
	}
	c.Flags().StringVar(&prefix, "prefix", "lkm_", "put `TEXT` before the name of each fact")
	a.commonFlags(c)
	ignore(c, "json", "format", "fields", "verbose")
	return c
}

// A factSet is a flat object of facts.
type factSet struct {
	prefix  string
	values  map[string]any
	unknown []string
}

func newFactSet(prefix string) *factSet {
	return &factSet{prefix: prefix, values: make(map[string]any), unknown: []string{}}
}

func (f *factSet) set(name string, value any) { f.values[f.prefix+name] = value }

// setKnown sets a fact, or lists it as unknown.
func (f *factSet) setKnown(name string, value any, known bool) {
	if !known {
		f.unknown = append(f.unknown, f.prefix+name)
		return
	}
	f.set(name, value)
}

// gather looks at the machine. The error is what could not be read, for --strict.
func (f *factSet) gather(ctx context.Context, sys *lkm.System, names []string) error {
	f.set("version", lkm.Version)
	f.set("os", string(sys.OS()))
	snap, err := sys.Snapshot(ctx)
	if err == nil {
		f.addSnapshot(snap)
		err = snap.Err()
	} else {
		for _, name := range []string{"loaded", "builtin", "third_party", "third_party_undecided", "unsigned",
			"unsigned_undecided", "taint", "release"} {
			f.setKnown(name, nil, false)
		}
	}
	policy, policyErr := sys.Policy(ctx)
	if policyErr == nil {
		policyErr = policy.Err()
	}
	if policy != nil && policy.Loading != "" {
		f.set("policy", string(policy.Loading))
	} else {
		f.setKnown("policy", nil, false)
	}
	checkErr := f.addChecks(ctx, sys, names)
	slices.Sort(f.unknown)
	f.values[f.prefix+"unknown"] = slices.Compact(f.unknown)
	return errors.Join(err, policyErr, checkErr)
}

// addChecks adds the worst verdict on each name. Names that make one fact's name share it. The error is what a verdict
// lacks, for --strict.
func (f *factSet) addChecks(ctx context.Context, sys *lkm.System, names []string) error {
	var errs []error
	all := make(map[string][]lkm.Verdict)
	for _, name := range names {
		verdicts, err := sys.Check(ctx, name)
		if err != nil {
			errs = append(errs, err)
			verdicts = []lkm.Verdict{{Query: name}} // unknown
		}
		key := "check_" + factName(name)
		all[key] = append(all[key], verdicts...)
	}
	for key, verdicts := range all {
		word, known := worstOf(verdicts)
		f.setKnown(key, string(word), known)
		if !known {
			errs = append(errs, fmt.Errorf("%s%s is unknown", f.prefix, key))
		}
	}
	return errors.Join(errs...)
}

// addSnapshot adds what the list of loaded modules says. A list that may be cut is not counted.
func (f *factSet) addSnapshot(snap *lkm.Snapshot) {
	whole := atLeast(snap) == "" && snap.ListErr(lkm.StateLoaded) == nil
	f.setKnown("release", snap.Release, snap.Release != "")
	f.setKnown("loaded", len(snap.Modules), whole)
	src, ok := snap.Source(builtinSource)
	n, counted := src.Count.Get()
	f.setKnown("builtin", n, ok && counted && src.Outcome == lkm.OutcomeOK)
	f.setKnown("taint", taintLetters(snap), snap.Kernel.TaintFlags != nil)
	f.addNames("third_party", &filter{thirdParty: true}, snap, whole)
	f.addNames("unsigned", &filter{unsigned: true}, snap, whole)
}

// addNames adds the names of the modules that a filter is sure of, and how many it could not decide.
func (f *factSet) addNames(name string, by *filter, snap *lkm.Snapshot, whole bool) {
	matched := lkm.Snapshot{Modules: slices.Clone(snap.Modules)}
	undecided := by.apply(&matched)
	names := make(map[string]bool)
	for i := range matched.Modules {
		names[matched.Modules[i].Name] = true
	}
	list := append([]string{}, slices.Sorted(maps.Keys(names))...)
	f.setKnown(name, list, len(list) > 0 || undecided == 0 && whole)
	f.setKnown(name+"_undecided", undecided, whole)
}

// worstOf returns the outcome of the verdict that matters most, and whether it is known.
func worstOf(verdicts []lkm.Verdict) (worst lkm.VerdictOutcome, known bool) {
	order := []lkm.VerdictOutcome{lkm.VerdictAbsent, lkm.VerdictBlocked, lkm.VerdictUnknown, lkm.VerdictLoadable,
		lkm.VerdictBuiltin, lkm.VerdictLoaded}
	for i := range verdicts {
		if o := verdicts[i].Worst(); worst == "" || slices.Index(order, o) > slices.Index(order, worst) {
			worst = o
		}
	}
	return worst, worst != "" && worst != lkm.VerdictUnknown
}

// factName turns the name of a module into a part of a fact's name, which Puppet wants in small letters.
func factName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
}
