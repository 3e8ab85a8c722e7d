// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// capturePaths is where the machines that captures come from keep Windows, unless a path in them
// says otherwise.
var capturePaths = ntPaths{SystemRoot: `C:\Windows`}

// A captureBuilder collects the rows of one text.
type captureBuilder struct {
	capture.Table
	entries  []entry           // in the text's order; rows of one image are one entry with several services
	index    map[string]int    // place in entries by key
	services map[serviceOf]int // place in an entry's Services
	rows     int
	headless bool // rows of a form that has a header, and none
}

// A serviceOf is a service of an entry, by its folded name.
type serviceOf struct {
	entry int
	name  string
}

func newCapture(source, text string) *captureBuilder {
	return &captureBuilder{
		Table: capture.Table{Source: source, Cut: text != "" && !strings.HasSuffix(text, "\n")},
		index: map[string]int{}, services: map[serviceOf]int{},
	}
}

// driver adds a row about a service and returns the service to fill. image is the path as the
// text has it; empty when it has none.
func (b *captureBuilder) driver(service, image string) (*entry, *Service) {
	s := Service{Name: service, Ephemeral: isEphemeral(service)}
	key, name, path := "service "+fold(service), service, ""
	if image != "" {
		ip, _ := capturePaths.resolveImagePath(service, image) // the raw path stays if there is no other
		s.ImagePath, s.ImagePathRule, s.ImagePathMarks, s.ImageFile = ip.Raw, ip.Rule, ip.Marks, ip.Path
		if ip.Path != "" {
			key, name, path = capturePaths.key(ip.Path), baseName(ip.Path), ip.Path
		}
	}
	b.rows++
	e := b.entry(key, name, path)
	sk := serviceOf{b.index[key], fold(service)}
	if i, ok := b.services[sk]; ok { // the same service again: the later word counts
		e.Driver.Services[i] = s
		e.Loaded, e.Pending = false, ""
		return e, &e.Driver.Services[i]
	}
	b.services[sk] = len(e.Driver.Services)
	e.Driver.Services = append(e.Driver.Services, s)
	return e, &e.Driver.Services[len(e.Driver.Services)-1]
}

func (b *captureBuilder) entry(key, name, path string) *entry {
	i, ok := b.index[key]
	if !ok {
		i = len(b.entries)
		b.index[key] = i
		b.entries = append(b.entries, newEntry(key, name, path))
	}
	return &b.entries[i]
}

// full reports whether there is no room for another row.
func (b *captureBuilder) full() bool {
	b.TooMany = b.TooMany || b.rows >= capture.MaxRows
	return b.TooMany
}

// done returns the rows as records, and reports what was not read. A text without a row is of another form.
func (b *captureBuilder) done(r *fact.Report) fact.Capture[Driver] {
	c := fact.Capture[Driver]{Rows: b.rows, Stray: b.Strays, Sure: b.Sure && b.rows > 0}
	b.TooMany = b.TooMany || b.rows > capture.MaxRows
	b.Report(r)
	r.Done(b.Source, fact.CountOf(int64(b.rows)))
	for i := range b.entries {
		m := b.entries[i].fileRecord()
		m.State, m.Address = b.entries[i].captureState(), b.entries[i].Address
		c.Records = append(c.Records, m)
	}
	return c
}

// captureState returns the state of a text's driver. It is unknown if the text does not say, or says it in an unknown
// language.
func (e *entry) captureState() fact.State {
	if e.Loaded {
		return e.state()
	}
	if len(e.Driver.Packages) > 0 {
		return fact.StateInstalled
	}
	for _, s := range e.Driver.Services {
		if s.State == stateStopped {
			return fact.StateInstalled
		}
	}
	return ""
}

// setState notes a state by its word in any known language; the raw word is kept beside ours.
func (e *entry) setState(s *Service, word string) {
	word = strings.TrimSpace(word)
	if word == "" {
		return
	}
	ours := meaningOf(stateWords[:], word)
	if ours == "" && (meaningOf(startWords[:], word) != "" || meaningOf(driverTypeWords[:], word) != "") {
		return // the word of another column: the row has lost a value
	}
	s.State = ours
	if ours == "" || !strings.EqualFold(ours, strings.ReplaceAll(word, " ", "_")) {
		s.StateWord = word
	}
	switch ours {
	case stateRunning, "paused", "pause_pending", "continue_pending":
		e.Loaded = true
	case "start_pending", "stop_pending":
		e.Loaded, e.Pending = true, ours
	}
}

func (s *Service) setStart(word string) {
	word = strings.TrimSpace(word)
	if word == "" {
		return
	}
	if s.Start = meaningOf(startWords[:], word); s.Start == "" &&
		(meaningOf(stateWords[:], word) != "" || meaningOf(driverTypeWords[:], word) != "") {
		return // the word of another column
	}
	if s.Start == "" || !strings.EqualFold(s.Start, word) {
		s.StartWord = word
	}
}

func (s *Service) setType(word string) { s.Type = meaningOf(driverTypeWords[:], word) }

// column keeps a value that has no field of its own.
func (d *Driver) column(name, value string) {
	if value = strings.TrimSpace(value); value != "" && len(d.Columns) < 64 {
		d.Columns = append(d.Columns, Column{Name: name, Value: value})
	}
}
