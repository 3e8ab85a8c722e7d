// SPDX-License-Identifier: Apache-2.0

package windows

import (
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
	// KindUnchecked is no disagreement: its views name the sources that could not be read.
	KindUnchecked = "unchecked"
)

// Discrepancies returns where the sources do not agree about an image; none of them is proof of
// anything. id is the image's id.
func (e *Entry) Discrepancies(id string) []fact.Discrepancy {
	var out []fact.Discrepancy
	d := e.Driver
	add := func(kind string, grade fact.Grade, evidence ...fact.Evidence) {
		out = append(out, fact.Discrepancy{ID: id, Name: e.Name, Kind: kind, Grade: grade, Views: d.Views, Evidence: evidence, Samples: 1})
	}
	managed, registered := d.Views[SourceServices] != fact.ViewUnchecked, d.Views[SourceRegistry] != fact.ViewUnchecked
	running := false
	for _, s := range d.Services {
		running = running || s.State == stateRunning || s.State == "start_pending" || s.State == "stop_pending" || s.State == "paused"
		if !managed || !registered {
			continue
		}
		switch {
		case !s.registered() && s.State == "":
			// Only WMI lists it.
		case s.State == "":
			add(HiddenService, fact.GradeWeak, fact.Evidence{Fact: "service", Value: s.Name, Source: SourceRegistry})
		case !s.registered() && d.Views[SourceRegistry] == fact.ViewMissing:
			add(UnregisteredService, fact.GradeWeak, fact.Evidence{Fact: "service", Value: s.Name, Source: SourceServices})
		}
	}
	switch {
	case d.Views[SourceModules] == fact.ViewMissing && running:
		add(RunningNotLoaded, fact.GradeWeak, fact.Evidence{Fact: "state", Value: stateRunning, Source: SourceServices})
	case d.Image != nil && managed && len(d.Services) > 0 && !running:
		add(LoadedNotRunning, fact.GradeWeak, fact.Evidence{Fact: "ntPath", Value: d.Image.NTPath, Source: SourceModules})
	}
	if d.Image != nil && e.FileAbsent() {
		add(NoFile, fact.GradeWeak, fact.Evidence{Fact: "ntPath", Value: d.Image.NTPath, Source: SourceModules})
	}
	if d.Image != nil && d.PE != nil && d.Image.Checksum != "" {
		var differ []fact.Evidence
		compare := func(name, memory, file string) {
			if memory != file {
				differ = append(differ, fact.Evidence{Fact: name, Value: memory, Source: SourceModules}, fact.Evidence{Fact: name, Value: file, Source: SourceFile})
			}
		}
		compare("checksum", d.Image.Checksum, d.PE.Checksum)
		compare("timeStamp", d.Image.TimeStamp, d.PE.TimeStamp)
		if differ != nil {
			add(ReplacedOnDisk, fact.GradeWeak, differ...)
		}
	}
	for _, w := range d.WMI {
		if managed && w.Started != d.runs(w.Name) {
			add(WMIDisagrees, fact.GradeWeak, fact.Evidence{Fact: "state", Value: strings.TrimSpace(w.Name + " " + w.State), Source: SourceWMI})
		} else if managed && !d.managed(w.Name) {
			add(WMIDisagrees, fact.GradeWeak, fact.Evidence{Fact: "service", Value: w.Name, Source: SourceWMI})
		}
	}
	return slices.Clip(out)
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
