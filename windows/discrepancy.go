// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Kinds of discrepancies.
const (
	// HiddenService: the registry has a driver service that the service manager does not list: its
	// security descriptor hides it, or it was written to the registry since the boot.
	HiddenService = "hidden_service"
	// UnregisteredService: the service manager lists a service that the registry does not have: it
	// was deleted and waits for its last user, or its key was removed.
	UnregisteredService = "unregistered_service"
	// RunningNotLoaded: the service manager calls a service running whose image the kernel does not
	// list.
	RunningNotLoaded = "running_not_loaded"
	// LoadedNotRunning: the kernel lists the image of services none of which runs.
	LoadedNotRunning = "loaded_not_running"
	// ReplacedOnDisk: the headers of the loaded image are not those of its file.
	ReplacedOnDisk = "replaced_on_disk"
	// NoFile: the image is loaded and its file is not there: it was deleted, or is hidden.
	NoFile = "no_file"
	// WMIDisagrees: WMI lists a service that the service manager does not, or calls one running that
	// it calls stopped, or the other way round.
	WMIDisagrees = "wmi_disagrees"
	// KindUnchecked is not a disagreement: its views name the sources that could not be read.
	KindUnchecked = "unchecked"
)

// looks is how many times an image that sources disagree about is looked at: one that comes or goes between two reads
// looks like a contradiction.
const looks = 2

// Discrepancies compares the kernel's list, the service manager, the registry and the files. What was not compared
// comes first, as a Discrepancy of KindUnchecked.
func (k *Kernel) Discrepancies(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	first, err := k.disagreements(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return unchecked(r), nil
	}
	second, err := k.disagreements(ctx, r)
	if err != nil {
		return nil, err
	}
	out := unchecked(r) // in either look
	r.Merge()
	again := make(map[string]bool, len(second))
	key := func(d fact.Discrepancy) string { return fmt.Sprint(d.ID, "\n", d.Kind, "\n", d.Evidence) }
	for _, d := range second {
		again[key(d)] = true
	}
	for _, d := range first {
		d.Samples = looks
		if !again[key(d)] {
			d.Samples, d.Grade = 1, fact.GradeTransient
		}
		out = append(out, d)
	}
	return out, nil
}

// disagreements is one look. It reports the loaded images' files as a source.
func (k *Kernel) disagreements(ctx context.Context, r *fact.Report) ([]fact.Discrepancy, error) {
	inv, err := k.inventory(ctx, true, r)
	if err != nil {
		return nil, err
	}
	entries := inv.join()
	var found []fact.Discrepancy
	files := 0
	for i := range entries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e := &entries[i]
		if e.Driver.Image != nil {
			files++
			k.readDriver(e, inv.Paths, FileOptions{}, nil, r.Budget)
			if e.Driver.PE == nil && !e.fileAbsent() {
				e.reportUnread(r)
			}
		}
		found = append(found, e.discrepancies()...)
	}
	r.Done(SourceFile, fact.CountOf(int64(files)))
	return found, nil
}

// reportUnread reports why the image's file was not read.
func (e *entry) reportUnread(r *fact.Report) {
	for _, p := range e.Problems {
		if p.Source == SourceFile {
			r.Add(p)
			return
		}
	}
	err := fmt.Errorf("%w: the image has no path to read its file at", fact.ErrMalformed)
	r.Problem(SourceFile, e.Name, "file", err)
}

// unchecked returns the Discrepancy that names the sources which were not read whole, and why; nil if all were.
func unchecked(r *fact.Report) []fact.Discrepancy {
	views := make(map[string]fact.View)
	var why []fact.Evidence
	for _, s := range r.Sources {
		switch s.Outcome {
		case fact.OutcomeOK, fact.OutcomeSkipped:
			continue
		case fact.OutcomeUnsupported:
			if s.Code != fact.CodeOlder { // an older tape does not say that a driver is missing
				continue
			}
		}
		if views[s.Name] == "" {
			views[s.Name] = fact.ViewUnchecked
			why = append(why, whyUnread(r, s))
		}
	}
	if len(views) == 0 {
		return nil
	}
	return []fact.Discrepancy{{Name: "kernel", Kind: KindUnchecked, Grade: fact.GradeTransient, Views: views,
		Evidence: why}}
}

// discrepancies returns where the sources do not agree about an image; none of them is proof of anything.
func (e *entry) discrepancies() []fact.Discrepancy {
	var out []fact.Discrepancy
	add := func(kind string, evidence ...fact.Evidence) {
		out = append(out, fact.Discrepancy{
			ID: idOf(e.Key), Name: e.Name, Kind: kind, Grade: fact.GradeWeak, Views: e.Driver.Views, Evidence: evidence,
			Samples: 1})
	}
	e.Driver.compareRegistrations(add)
	e.Driver.compareImage(e.loose, add)
	if e.Driver.Image != nil && e.fileAbsent() {
		add(NoFile, ntPath(e.Driver.Image))
	}
	if differ := e.Driver.replaced(); differ != nil {
		add(ReplacedOnDisk, differ...)
	}
	e.Driver.compareWMI(add)
	return slices.Clip(out)
}

// seenBy reports whether the source was read.
func (d *Driver) seenBy(source string) bool { return d.Views[source] != fact.ViewUnchecked }

// compareRegistrations compares the registry with the service manager.
func (d *Driver) compareRegistrations(add func(kind string, evidence ...fact.Evidence)) {
	if !d.seenBy(SourceServices) || !d.seenBy(SourceRegistry) {
		return
	}
	for _, s := range d.Services {
		switch {
		case !s.registered() && s.State == "":
			// Only WMI lists it.
		case s.State == "":
			add(HiddenService, fact.Evidence{Fact: "service", Value: s.Name, Source: SourceRegistry})
		case !s.registered() && d.Views[SourceRegistry] == fact.ViewMissing:
			add(UnregisteredService, fact.Evidence{Fact: "service", Value: s.Name, Source: SourceServices})
		}
	}
}

// compareImage compares the kernel's list with the service manager. loose says that a service of an unknown image runs.
func (d *Driver) compareImage(loose bool, add func(kind string, evidence ...fact.Evidence)) {
	running := d.running()
	switch {
	case d.Views[SourceModules] == fact.ViewMissing && running:
		add(RunningNotLoaded, fact.Evidence{Fact: "state", Value: stateRunning, Source: SourceServices})
	case d.Image != nil && d.seenBy(SourceServices) && len(d.Services) > 0 && !running && !loose:
		add(LoadedNotRunning, ntPath(d.Image))
	}
}

// running reports whether the service manager calls a service of the image running, or about to start or to end.
func (d *Driver) running() bool {
	return slices.ContainsFunc(d.Services, func(s Service) bool {
		return s.State == stateRunning || s.State == "start_pending" || s.State == "stop_pending" || s.State == "paused"
	})
}

func ntPath(im *LoadedImage) fact.Evidence {
	return fact.Evidence{Fact: "ntPath", Value: im.NTPath, Source: SourceModules}
}

// replaced returns which headers of the image in memory are not those of its file; nil if none, or one side is unknown.
func (d *Driver) replaced() []fact.Evidence {
	if d.Image == nil || d.PE == nil || d.Image.Checksum == "" {
		return nil
	}
	var differ []fact.Evidence
	compare := func(name, memory, file string) {
		if memory != file {
			differ = append(differ, fact.Evidence{Fact: name, Value: memory, Source: SourceModules},
				fact.Evidence{Fact: name, Value: file, Source: SourceFile})
		}
	}
	compare("checksum", d.Image.Checksum, d.PE.Checksum)
	compare("timeStamp", d.Image.TimeStamp, d.PE.TimeStamp)
	return differ
}

// compareWMI compares WMI with the service manager.
func (d *Driver) compareWMI(add func(kind string, evidence ...fact.Evidence)) {
	if !d.seenBy(SourceServices) {
		return
	}
	for _, w := range d.WMI {
		switch {
		case w.Started != d.runs(w.Name):
			state := strings.TrimSpace(w.Name + " " + w.State)
			add(WMIDisagrees, fact.Evidence{Fact: "state", Value: state, Source: SourceWMI})
		case !d.managed(w.Name):
			add(WMIDisagrees, fact.Evidence{Fact: "service", Value: w.Name, Source: SourceWMI})
		}
	}
}

// managed reports whether the service manager lists a service.
func (d *Driver) managed(service string) bool { return d.stateOf(service) != "" }

// runs reports whether the service manager calls a service started.
func (d *Driver) runs(service string) bool {
	state := d.stateOf(service)
	return state != "" && state != stateStopped
}

func (d *Driver) stateOf(service string) string {
	for _, s := range d.Services {
		if strings.EqualFold(s.Name, service) {
			return s.State
		}
	}
	return ""
}

// whyUnread says why a source was not read whole: the first Problem of it, and else its outcome.
func whyUnread(r *fact.Report, s fact.Source) fact.Evidence {
	e := fact.Evidence{Fact: cmp.Or(string(s.Code), string(s.Outcome)), Value: string(s.Outcome), Source: s.Name}
	if p, ok := r.First(s.Name); ok && p.Code != "" {
		e.Fact = string(p.Code)
		e.Value = cmp.Or(p.Text, e.Value)
	}
	return e
}
