// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// services answers for the ways of the services that name the file: at boot, and on demand.
func (c *checker) services(e *entry, file fact.Answer) (boot, demand fact.Answer) {
	boot = c.unregistered(e, file)
	demand = boot
	for _, s := range e.Driver.Services {
		switch s.Start {
		case "boot", "system", "auto":
			if s.registered() && s.oddType() {
				boot, demand = unknownStart(&s, boot, file), unknownStart(&s, demand, file)
				continue
			}
			boot, demand = s.starts(boot, file), s.starts(demand, file)
		case "demand":
			demand = s.starts(demand, file)
		case "disabled":
			boot = overridden(&s, boot, file)
			demand = c.recognized(&s, demand, file)
		default:
			boot, demand = unknownStart(&s, boot, file), unknownStart(&s, demand, file)
		}
	}
	if boot.Blocked() == fact.Yes && file.Blocked() != fact.Yes {
		if own := c.itself(e); own.Applies() {
			boot = own
		}
	}
	return boot, demand
}

// starts answers for a way that the service opens, if the file may be loaded; another service may have opened it.
func (s *Service) starts(way, file fact.Answer) fact.Answer {
	if file.Blocked() != fact.No {
		return file
	}
	if way.Blocked() == fact.No {
		return way
	}
	return fact.Passes(s.startReason())
}

// startReason returns the fact that the service starts its driver, or that it is disabled; the zero Reason if its start
// type is unknown.
func (s *Service) startReason() fact.Reason {
	switch s.Start {
	case "boot", "system", "auto":
		return fact.Reason{Code: ReasonRegistered, Text: "service " + s.Name + " starts at " + s.Start}
	case "demand":
		return fact.Reason{Code: ReasonRegistered, Text: "service " + s.Name + " starts on demand"}
	case "disabled":
		return fact.Reason{Code: ReasonDisabled, Text: "service " + s.Name + " is disabled"}
	}
	return fact.Reason{}
}

// unregistered answers for the ways of services as far as no service is seen to open them: they are closed if all
// services were seen, or nothing can load the file anyway.
func (c *checker) unregistered(e *entry, file fact.Answer) fact.Answer {
	if file.Blocked() == fact.Yes {
		return file
	}
	if unseen, ok := c.unseenService(e); ok {
		return fact.UnsureOf(unseen)
	}
	for i := range e.Driver.Services {
		if s := &e.Driver.Services[i]; s.Start == "disabled" {
			return fact.Stops(s.startReason())
		}
	}
	return fact.Stops(fact.Reason{Code: ReasonNoService, Text: "no service names it"})
}

// unseenService names what may hold a service that names the file and was not read; false if all services were seen.
func (c *checker) unseenService(e *entry) (fact.Reason, bool) {
	switch {
	case e.Driver.Services == nil:
		return fact.Reason{Code: ReasonNoService, File: servicesKey,
			Text: "the registry of services could not be read: which of them name the file is unknown"}, true
	case !c.registry:
		return fact.Reason{Code: ReasonNoService, File: servicesKey,
			Text: "the registry of services was not read whole: a service that was not read may name the file"}, true
	}
	for i := range c.inventory.Registered {
		s := &c.inventory.Registered[i]
		if s.mayName(c.inventory.Paths, e.Name) {
			return fact.Reason{Code: ReasonNoService, File: servicesKey + `\` + s.Name,
				Text: "service " + s.Name + ", whose image path leads nowhere or is not known, may name the file"}, true
		}
	}
	return fact.Reason{}, false
}

// unknownStart answers for a way that a service of unknown start type may open. A way that is open stays so, and one
// to a file that cannot be loaded at all stays closed.
func unknownStart(s *Service, way, file fact.Answer) fact.Answer {
	if way.Blocked() != fact.Yes || file.Blocked() == fact.Yes {
		return way
	}
	text := "the start type of service " + s.Name + " is not known"
	if s.Start == "boot" || s.Start == "system" {
		text = "service " + s.Name + " starts at " + s.Start + ", and its type is not a driver's"
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + s.Name, Text: text})
}

// overridden answers for the boot with a service that is disabled and has another start type below its key
// StartOverride, which the boot loader asks.
func overridden(s *Service, boot, file fact.Answer) fact.Answer {
	if s.override == "" || s.override == s.Start || boot.Blocked() != fact.Yes || file.Blocked() == fact.Yes {
		return boot
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + s.Name + `\StartOverride`,
		Text: "service " + s.Name + " is disabled, and StartOverride says " + s.override})
}

// recognizedServices are the services of file systems that Fs_Rec loads for a volume that has one. "File system
// drivers are the one exception to the Start value. They are loaded even if they have a start value of 4" ("Start
// Values", Windows NT 4.0 Workstation Resource Kit); cdfs and udfs are disabled in each Windows since.
var recognizedServices = [...]string{"cdfs", "exfat", "fastfat", "ntfs", "refs", "refsv1", "udfs"}

// recognizerOf returns the service of the recognizer that loads a service's file system whatever its start type is:
// Fs_Rec, or any other one for a file system that Fs_Rec does not know; nil without one. known is set if it is known
// to load this one.
func (c *checker) recognizerOf(s *Service) (recognizer *registeredService, known bool) {
	if s.Type != "file_system_driver" || len(s.Instances) > 0 || s.DefaultInstance != "" { // a filter is not one
		return nil, false
	}
	known = slices.Contains(recognizedServices[:], fold(s.Name))
	for i := range c.inventory.Registered {
		r := &c.inventory.Registered[i]
		if r.Type != "recognizer_driver" && !r.Refused || r.Start == "disabled" {
			continue
		}
		if isFsRec := strings.EqualFold(r.Name, "fs_rec"); isFsRec == known {
			return r, known && !r.Refused
		}
	}
	return nil, false
}

// recognized answers for the way of a disabled service whose file system a recognizer may load.
func (c *checker) recognized(s *Service, demand, file fact.Answer) fact.Answer {
	r, known := c.recognizerOf(s)
	if r == nil || demand.Blocked() == fact.No || file.Blocked() == fact.Yes {
		return demand
	}
	because := fact.Reason{Code: ReasonRegistered, File: servicesKey + `\` + r.Name, Text: "service " + s.Name +
		" is disabled, and " + r.Name + " loads file systems for volumes that have them, disabled ones, too"}
	switch {
	case !known && demand.Blocked() == "":
		return demand
	case !known:
		return fact.UnsureOf(because)
	case file.Blocked() != fact.No:
		return file
	}
	return fact.Passes(because)
}
