// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
)

// capturePaths is where the machines that captures come from keep Windows, unless a path in them
// says otherwise.
var capturePaths = ntPaths{SystemRoot: `C:\Windows`}

// A captureBuilder collects the rows of one text.
type captureBuilder struct {
	source   string
	entries  []entry           // in the text's order; rows of one image are one entry with several services
	index    map[string]int    // place in entries by key
	services map[serviceOf]int // place in an entry's Services
	rows     int
	sure     bool // something beside the rows says which tool printed the text
	cut      bool // the last row is cut
	tooMany  bool // there are more rows, which are not read
	strays   int  // lines that are no rows
	// cutValues is how many values the tool cut to fit its table.
	cutValues int
	first     error // about the first of them; nil if they are reported already
}

// A serviceOf is a service of an entry, by its folded name.
type serviceOf struct {
	entry int
	name  string
}

func newCapture(source, text string) *captureBuilder {
	return &captureBuilder{
		source: source, index: map[string]int{}, services: map[serviceOf]int{},
		cut: text != "" && !strings.HasSuffix(text, "\n"),
	}
}

// Limits on texts: the rows that are kept, the bytes of a line that can be a row of fixed columns,
// and the bytes of a value that goes on over several lines.
const (
	maxCaptureRows  = 16_384 // a driver store has some thousand packages
	maxCaptureLine  = 8 << 10
	maxCaptureValue = 8 << 10
)

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
	b.tooMany = b.tooMany || b.rows >= maxCaptureRows
	return b.tooMany
}

// stray counts a line that is no row, unless it is known to be harmless: blank, a prompt, a ruler.
func (b *captureBuilder) stray(n int, line string) {
	text := strings.TrimSpace(line)
	if text == "" || isRuler(text) {
		return
	}
	if _, ok := capture.Prompt(text); ok {
		return
	}
	b.strays++
	if b.first == nil {
		b.first = &fact.ParseError{Source: b.source, Line: n, Reason: noRow(text).Error()}
	}
}

// isRuler reports whether a line separates others.
func isRuler(text string) bool { return strings.Trim(text, "-=+| ") == "" }

// noRow returns the error of a line that is no row.
func noRow(line string) error {
	return fmt.Errorf("%q is no row", cutText(strings.TrimSpace(line), 60))
}

func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// done returns the rows as records, and reports what was not read. A text without a row is of another form.
func (b *captureBuilder) done(r *fact.Report) fact.Capture[Driver] {
	c := fact.Capture[Driver]{Rows: b.rows, Stray: b.strays, Sure: b.sure && b.rows > 0}
	if b.first != nil {
		capture.Stray(r, b.source, b.first, b.strays)
	}
	if b.tooMany || b.rows > maxCaptureRows {
		r.Problem(b.source, "", "modules", &fact.ParseError{Source: b.source, Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("more than %d rows: the rest is not read", maxCaptureRows)})
	}
	if b.cut {
		r.Problem(b.source, "", "modules", &fact.ParseError{Source: b.source,
			Reason: "the text ends within a line: its last row may be cut, and more may be missing"})
	}
	if b.cutValues > 0 {
		r.Add(fact.Problem{Source: b.source, Code: fact.CodeOther, Count: b.cutValues,
			Text: "values that the table cuts are unknown"})
	}
	r.Done(b.source, fact.CountOf(int64(b.rows)))
	for i := range b.entries {
		m := b.entries[i].fileRecord()
		m.State = b.entries[i].captureState()
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
	s.Start = meaningOf(startWords[:], word)
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

// csvRows reads a text as rows of comma-separated values; a row that is none is nil.
func (b *captureBuilder) csvRows(text string) [][]string {
	var rows [][]string
	buffer := bufio.NewReader(nil) // csv.NewReader takes it as its own instead of making one a line
	for line := range strings.Lines(text) {
		if len(rows) >= maxCaptureRows {
			b.tooMany = true
			break
		}
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && !strings.ContainsAny(line, ",\"") {
			rows = append(rows, []string{strings.TrimLeft(line, " \t")})
			continue
		}
		buffer.Reset(strings.NewReader(line))
		r := csv.NewReader(buffer)
		r.FieldsPerRecord, r.TrimLeadingSpace, r.LazyQuotes = -1, true, false
		row, err := r.Read()
		if err != nil && !errors.Is(err, io.EOF) {
			row = nil
		}
		rows = append(rows, row)
	}
	return rows
}

// A record is a block of "key: value" lines.
type record struct {
	line  int // of the first pair
	pairs []pair
}

type pair struct{ key, value string }

func (r record) get(key string) string {
	for _, p := range r.pairs {
		if strings.EqualFold(p.key, key) {
			return p.value
		}
	}
	return ""
}

func (r record) has(key string) bool {
	return slices.ContainsFunc(r.pairs, func(p pair) bool { return strings.EqualFold(p.key, key) })
}

// records splits a text at its blank lines into blocks of pairs. A line that starts with blanks and
// has no separator continues the value above it, up to maxCaptureValue.
func (b *captureBuilder) records(text, separators string) []record {
	var list []record
	var cur record
	flush := func() {
		if len(cur.pairs) > 0 {
			list = append(list, cur)
		}
		cur = record{}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			flush()
			continue
		}
		key, value, ok := cutAny(line, separators)
		switch {
		case ok && strings.TrimSpace(key) != "":
			if len(cur.pairs) == 0 {
				cur.line = n
			}
			cur.pairs = append(cur.pairs, pair{strings.TrimSpace(key), strings.TrimSpace(value)})
		case len(cur.pairs) > 0 && (line[0] == ' ' || line[0] == '\t' || cur.pairs[len(cur.pairs)-1].value == ""):
			p := &cur.pairs[len(cur.pairs)-1]
			if len(p.value)+len(line) <= maxCaptureValue {
				p.value = strings.TrimSpace(p.value + " " + strings.TrimSpace(line))
			}
		default:
			b.stray(n, line)
		}
		if len(list) >= maxCaptureRows {
			b.tooMany = true
			break
		}
	}
	flush()
	return list
}

// cutAny cuts at the first of the separators' characters.
func cutAny(s, separators string) (before, after string, ok bool) {
	i := strings.IndexAny(s, separators)
	if i < 0 {
		return s, "", false
	}
	rest := s[i:]
	for j := range rest {
		if j > 0 {
			return s[:i], rest[j:], true
		}
	}
	return s[:i], "", true
}
