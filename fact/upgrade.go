// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"errors"
	"slices"
)

// UpgradeGrade says how much a [UpgradeChange] weighs.
type UpgradeGrade string

// The grades, the strongest first.
const (
	UpgradeBoot     UpgradeGrade = "boot"     // the machine may not start
	UpgradeLost     UpgradeGrade = "lost"     // what is in use is not there
	UpgradeRefused  UpgradeGrade = "refused"  // what is in use is there and does not load
	UpgradeUnknown  UpgradeGrade = "unknown"  // what could not be read decides
	UpgradeFirmware UpgradeGrade = "firmware" // a driver in use may ask for firmware that is not installed
	UpgradeOther    UpgradeGrade = "changed"  // a setting stops working, or what is not in use is not there
)

var changeGrades = []UpgradeGrade{UpgradeBoot, UpgradeLost, UpgradeRefused, UpgradeUnknown, UpgradeFirmware,
	UpgradeOther}

// Stronger reports whether the grade weighs more than another.
func (g UpgradeGrade) Stronger(other UpgradeGrade) bool {
	return slices.Index(changeGrades, g) < slices.Index(changeGrades, other)
}

// An Upgrade is what another kernel of a machine lacks of what one of its kernels has and the machine uses.
type Upgrade struct {
	// From is the release that is compared: the running one, or the one asked for.
	From string `json:"from"`
	// To is the other release.
	To string `json:"to"`
	// Boot says whether what the root file system needs is there at the boot of To, compiled in or in the initial file
	// system of each boot entry; empty if that is not known.
	Boot Tri `json:"boot,omitzero"`
	// Changes are the differences that somebody may notice, the strongest first.
	Changes []UpgradeChange `json:"changes"`
	// Used is how many modules are in use: loaded, or asked for by a list, a device or the boot.
	Used int `json:"used"`
	// Same is how many of them are there, load, and have no change.
	Same int `json:"same"`
	// Gone are the modules of From, also those not in use, that To has neither as a file nor compiled in.
	Gone []string `json:"gone"`
	// NowBuiltin are the modules of From that are compiled into To.
	NowBuiltin []string `json:"nowBuiltin"`
	// NowModule are what is compiled into From and a module of To.
	NowModule []string `json:"nowModule"`
	// Problems are what could not be read: a change may be missing because of each.
	Problems []Problem `json:"problems,omitzero"`
}

// An UpgradeChange is one difference between two kernels.
type UpgradeChange struct {
	// Grade says how much it weighs.
	Grade UpgradeGrade `json:"grade"`
	// Code is one snake_case word for the kind of change; the kernel's package lists them.
	Code string `json:"code"`
	// Module is the module that it is about, by its name; empty if it is about none.
	Module string `json:"module,omitzero"`
	// Text says it for a person.
	Text string `json:"text"`
	// File is the file that says that the module is used, or whose line stops working; empty if no file does.
	File string `json:"file,omitzero"`
	// Line is its line in File, counted from 1; 0 for a whole file.
	Line int `json:"line,omitzero"`
	// Answers are modules of To that answer to an alias of the module. It is not said that they do the same.
	Answers []string `json:"answers,omitzero"`
}

// Loses reports whether something that is in use would be lost: a change of grade boot, lost or refused.
func (u *Upgrade) Loses() bool {
	return slices.ContainsFunc(u.Changes, func(c UpgradeChange) bool { return c.Grade.Stronger(UpgradeUnknown) })
}

// Err joins what could not be read; nil if nothing is missing.
func (u *Upgrade) Err() error {
	var errs []error
	for _, p := range u.Problems {
		errs = append(errs, p)
	}
	for _, c := range u.Changes {
		if c.Grade == UpgradeUnknown {
			errs = append(errs, errors.New(c.Module+": "+c.Text))
		}
	}
	return errors.Join(errs...)
}
