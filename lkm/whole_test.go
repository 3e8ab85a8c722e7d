// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"strings"
	"testing"
)

// TestErrSaysOnce: a source that is incomplete is joined only if no Problem says why.
func TestErrSaysOnce(t *testing.T) {
	partial := func(name string) Source { return Source{Name: name, Outcome: OutcomePartial} }
	row := Problem{Source: "lsmod", Code: CodeMalformed, Text: "line 3"}
	other := Problem{Source: "uname", Code: CodePermission, Text: "refused"}
	hidden := Problem{Source: "lsmod", Code: CodeUnsupported, Text: "no such field"}
	for _, c := range []struct {
		name     string
		problems []Problem
		ofModule []Problem
		want     string
	}{
		{"no problem", nil, nil, "lsmod: source is partial"},
		{"its problem", []Problem{row}, nil, "lsmod: line 3"},
		{"its module's problem", nil, []Problem{row}, "lsmod: line 3"},
		{"another's problem", []Problem{other}, nil, "lsmod: source is partial\nuname: refused"},
		{"one that does not count", []Problem{hidden}, nil, "lsmod: source is partial"},
	} {
		s := &Snapshot{OS: Linux, Sources: []Source{partial("lsmod"), {Name: "ok", Outcome: OutcomeOK}},
			Modules: []Module{{Problems: c.ofModule}}, Problems: c.problems}
		if err := s.Err(); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestListErr: a list counts as whole only if a source that lists its modules ended ok; of installed modules each that
// exists has to.
func TestListErr(t *testing.T) {
	for _, c := range []struct {
		os      OS
		live    Tri
		state   State
		sources string // name=outcome
		want    string // in the error's text; "" for nil
	}{
		{Linux, "", StateLoaded, "proc_modules=ok", ""},
		{Linux, "", StateLoaded, "lsmod=ok", ""},
		{Linux, "", StateLoaded, "proc_modules=denied lsmod=ok", ""},
		{Linux, "", StateLoaded, "proc_modules=denied", "modules: source is denied (permission)"},
		{Linux, "", StateLoaded, "proc_modules=partial", "source is partial"},
		{Linux, "", StateLoaded, "proc_modules=failed", "source is failed"},
		{Linux, "", StateLoaded, "proc_modules=unsupported", "source is unsupported"},
		{Linux, "", StateLoaded, "proc_modules=none", ""}, // it was built without modules
		{Linux, "", StateLoaded, "proc_modules=absent", "source is absent"},
		{Linux, "", StateLoaded, "proc_modules=skipped", "source was not read"},
		{Linux, "", StateLoaded, "proc_modules=a_later_word", "source is a_later_word"},
		{Linux, "", StateLoaded, "", "source was not read"},
		{Linux, "", StateLoaded, "sysfs=ok builtin=ok", "source was not read"},
		{Linux, "", StateBuiltin, "proc_modules=ok", "source was not read"},
		{Linux, "", StateInstalled, "proc_modules=ok", "source was not read"},
		{Linux, Yes, "", "proc_modules=ok", ""},
		{Linux, No, "", "proc_modules=ok", "source was not read"},
		{Linux, No, "", "proc_modules=unsupported modules_dir=ok", ""},
		{Windows, "", StateLoaded, "system_modules=ok", ""},
		{Windows, "", StateInstalled, "services_registry=ok", "source was not read"},
		{Windows, "", StateInstalled, "services_registry=ok driver_folders=ok driver_store=absent", ""},
		{Windows, "", StateInstalled, "services_registry=ok driver_folders=absent driver_store=absent", "is absent"},
		{Windows, "", StateInstalled, "services_registry=absent driver_folders=ok driver_store=ok", "source is absent"},
		{Windows, No, "", "services_registry=absent driver_folders=absent driver_store=absent", "source is absent"},
		{Linux, No, "", "modules_dir=absent", "source is absent"},
		{FreeBSD, No, "", "module_path=absent", "source is absent"},
		{NetBSD, No, "", "module_path=absent", "source is absent"},
		{Darwin, No, "", "bundles=ok collections=absent", ""},
		{Darwin, No, "", "bundles=absent collections=ok", "source is absent"},
		{Darwin, No, "", "bundles=absent collections=absent", "source is absent"},
		{Windows, "", StateInstalled, "services_registry=ok driver_folders=ok driver_store=denied", "source is denied"},
		{OpenBSD, "", StateLoaded, "", "no source lists loaded modules of openbsd"},
		{"", "", StateLoaded, "proc_modules=ok", "no source lists"},
		{VxWorks, "", StateInstalled, "", "no source lists"},
	} {
		s := &Snapshot{OS: c.os, Live: c.live}
		for _, text := range strings.Fields(c.sources) {
			name, outcome, _ := strings.Cut(text, "=")
			src := Source{Name: name, Outcome: Outcome(outcome)}
			switch outcome {
			case "denied":
				src.Code = CodePermission
			case "none":
				src.Outcome, src.Count = OutcomeUnsupported, CountOf(0)
			}
			s.Sources = append(s.Sources, src)
		}
		err := s.ListErr(c.state)
		var p Problem
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s %s %q: %v, want %q", c.os, c.state, c.sources, err, c.want)
		case err != nil && !errors.As(err, &p):
			t.Errorf("%s %s %q: %v is no Problem", c.os, c.state, c.sources, err)
		}
	}
}
