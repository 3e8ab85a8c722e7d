// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// Schema is the number of the JSON form of a Snapshot. A new optional field or word keeps it; a
// changed meaning raises it. It is 0 until version 1 of this module.
const Schema = 0

// Producer is what a Snapshot of this version names as its maker.
const Producer = "kernelext/" + Version

// Version is the version of this library.
const Version = "0.2.0"

// A Snapshot is what one look at a machine found, and what it could not see. The same input gives
// the same bytes of JSON: it holds no duration, and no host name but the one that the caller gave.
type Snapshot struct {
	// Schema is the number of the form; see the constant.
	Schema int `json:"schema"`
	// Producer is what made it.
	Producer string `json:"producer,omitzero"`
	// OS is the operating system that was looked at.
	OS OS `json:"os"`
	// Host is the machine's name for the caller, from Options.Host; never read from the machine.
	Host string `json:"host,omitzero"`
	// Release is the kernel release as the kernel spells it.
	Release string `json:"release,omitzero"`
	// Arch is the machine's architecture as the kernel spells it.
	Arch string `json:"arch,omitzero"`
	// BootID identifies the boot, where the kernel has such an id.
	BootID string `json:"bootId,omitzero"`
	// TakenAt is the machine's time of the look, UTC; zero when it is not known, as in a text
	// capture. It is never the time of an import.
	TakenAt time.Time `json:"takenAt,omitzero"`
	// Privilege is who looked, in the words of the kernel's package: linux.Privilege.
	Privilege string `json:"privilege,omitzero"`
	// Detail is what was asked for beyond the kernel's own list.
	Detail Detail `json:"detail,omitzero"`
	// Root is where the machine's root was mounted; empty for "/".
	Root string `json:"root,omitzero"`
	// Live is yes for a running kernel, no for a mounted image.
	Live Tri `json:"live,omitzero"`
	// Kernel is what the kernel says of itself.
	Kernel Kernel `json:"kernel,omitzero"`
	// Modules are sorted by ID; never null in JSON. In a Snapshot of System.Snapshot they are
	// those loaded, loading or unloading.
	Modules []Module `json:"modules"`
	// Sources are all sources, asked or not, in a fixed order for each system: they distinguish an empty list from one
	// that could not be read.
	Sources []Source `json:"sources"`
	// Policy is what the system enforces on loading; only with DetailPolicy.
	Policy *Policy `json:"policy,omitzero"`
	// Problems are about a source or the machine as a whole; those of one module are with it.
	Problems []Problem `json:"problems,omitzero"`
}

// Source returns the source of that name, and whether the snapshot has one.
func (s *Snapshot) Source(name string) (Source, bool) { return fact.FindSource(s.Sources, name) }

// Module returns the module with that id, or nil.
func (s *Snapshot) Module(id string) *Module {
	for i := range s.Modules {
		if s.Modules[i].ID == id {
			return &s.Modules[i]
		}
	}
	return nil
}

// Err is for callers who want everything or nothing: it joins what makes the snapshot incomplete,
// and is nil when nothing does. Incomplete is a source that ended denied, partial or failed, and
// any Problem, of the snapshot or of a module, whose code is not unsupported. Sources that are
// unsupported or skipped do not count; an absent one counts only through the Problem that it adds
// when it costs a field. A source that has such a Problem is not joined besides: the Problem says why.
func (s *Snapshot) Err() error {
	problems := appendProblems(nil, s.Problems)
	for i := range s.Modules {
		problems = appendProblems(problems, s.Modules[i].Problems)
	}
	var errs []error
	for _, src := range s.Sources {
		said := func(err error) bool { return err.(Problem).Source == src.Name }
		if src.Incomplete() && !slices.ContainsFunc(problems, said) {
			errs = append(errs, Problem{Source: src.Name, Code: src.Code, Text: "source is " + string(src.Outcome)})
		}
	}
	return errors.Join(append(errs, problems...)...)
}

func appendProblems(errs []error, problems []Problem) []error {
	for _, p := range problems {
		if p.Code != CodeUnsupported {
			errs = append(errs, p)
		}
	}
	return errs
}
