// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// maxSamples is how many samples a list may have; the public one has some 2,500.
const maxSamples = 1_000_000

// loldrivers is an index of known samples.
type loldrivers struct {
	samples   []lolSample
	byHash    map[string][]int // flat digests and authentihashes
	byImphash map[string][]int
	byName    map[string][]int // original file name
}

type lolSample struct {
	entry, name, category string
	version               string
	despiteHVCI           fact.Tri
}

// lolEntry is one entry of drivers.json. Fields vary in type over the years: they are read
// leniently.
type lolEntry struct {
	ID       string          `json:"Id"`
	Tags     lenientStrings  `json:"Tags"`
	Category lenientString   `json:"Category"`
	Samples  json.RawMessage `json:"KnownVulnerableSamples"`
}

type lolRecord struct {
	Filename         lenientString `json:"Filename"`
	OriginalFilename lenientString `json:"OriginalFilename"`
	FileVersion      lenientString `json:"FileVersion"`
	MD5              lolHash       `json:"MD5"`
	SHA1             lolHash       `json:"SHA1"`
	SHA256           lolHash       `json:"SHA256"`
	Imphash          lolHash       `json:"Imphash"`
	Authentihash     lenientHashes `json:"Authentihash"`
	LoadsDespiteHVCI lenientString `json:"LoadsDespiteHVCI"`
}

// lenientString is a string, or a truth value in capitals; anything else is empty, and so is "-".
type lenientString string

func (s *lenientString) UnmarshalJSON(b []byte) error {
	var v string
	if json.Unmarshal(b, &v) == nil && v != "-" {
		*s = lenientString(strings.TrimSpace(v))
	}
	var is bool
	if json.Unmarshal(b, &is) == nil && string(b) != "null" {
		*s = lenientString(strings.ToUpper(string(b)))
	}
	return nil
}

// lenientStrings is a list of strings, or one string.
type lenientStrings []string

func (s *lenientStrings) UnmarshalJSON(b []byte) error {
	var list []string
	var one string
	switch {
	case json.Unmarshal(b, &list) == nil:
		*s = list
	case json.Unmarshal(b, &one) == nil:
		*s = []string{one}
	}
	return nil
}

// lolHash is a digest as the list has it; "-" is empty. What is no string is kept as the list writes it, and is no
// digest.
type lolHash string

func (h *lolHash) UnmarshalJSON(b []byte) error {
	var v string
	if json.Unmarshal(b, &v) != nil { // null is the empty string
		v = string(b)
	}
	if v = strings.TrimSpace(v); v != "-" {
		*h = lolHash(v)
	}
	return nil
}

// lenientHashes is an object of digests; anything else is one digest without a name.
type lenientHashes map[string]lolHash

func (h *lenientHashes) UnmarshalJSON(b []byte) error {
	var m map[string]lolHash
	if json.Unmarshal(b, &m) == nil {
		*h = m
		return nil
	}
	var one lolHash
	err := one.UnmarshalJSON(b)
	*h = lenientHashes{"": one}
	return err
}

// lolError returns the error of a list of LOLDrivers.
func lolError(field, format string, args ...any) error {
	return &fact.ParseError{Source: "LOLDrivers", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// A lolReader collects entries, and reports those that are invalid.
type lolReader struct {
	list    *loldrivers
	report  *fact.Report
	seen    int // entries, also those that are invalid
	entries int // those with samples
}

func newLOLReader(r *fact.Report) *lolReader {
	return &lolReader{report: r, list: &loldrivers{
		byHash: map[string][]int{}, byImphash: map[string][]int{}, byName: map[string][]int{}}}
}

func (l *lolReader) note(err error) {
	l.report.Problem(sourceBlockList, fmt.Sprintf("entry %d", l.seen-1), "", err)
}

// done returns what was read. A text without an entry is not a list.
func (l *lolReader) done() (*BlockList, error) {
	if l.entries == 0 {
		return nil, lolError("", "no entry with samples")
	}
	return &BlockList{Name: "LOLDrivers", samples: l.list, Rules: len(l.list.samples)}, nil
}

// parseLOLDrivers reads entries in JSON: lists of them, or single ones, one after another.
func parseLOLDrivers(text string, r *fact.Report) (*BlockList, error) {
	l := newLOLReader(r)
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var value json.RawMessage
		err := d.Decode(&value)
		if errors.Is(err, io.EOF) {
			return l.done()
		}
		if err != nil {
			if l.entries == 0 {
				return nil, lolError("", "%v", err)
			}
			l.seen++
			l.note(lolError("", "%d bytes were not read: %v", len(text)-int(d.InputOffset()), err))
			return l.done()
		}
		if value[0] != '[' {
			if err := l.entry(value); err != nil {
				return nil, err
			}
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, lolError("", "%v", err)
		}
		for _, text := range list {
			if err := l.entry(text); err != nil {
				return nil, err
			}
		}
	}
}

// entry reads one entry. The error says that there are too many samples.
func (l *lolReader) entry(text json.RawMessage) error {
	l.seen++
	var e lolEntry
	if err := json.Unmarshal(text, &e); err != nil {
		l.note(lolError("", "%v", err))
		return nil
	}
	var samples []lolRecord
	if err := json.Unmarshal(e.Samples, &samples); err != nil || e.ID == "" {
		l.note(lolError(lolSampleField, "no id or no list of samples"))
		return nil
	}
	l.entries++
	if len(samples) == 0 {
		l.note(lolError(lolSampleField, "an entry without a sample: nothing is compared with it"))
	}
	for i, rec := range samples {
		if err := l.sample(&e, rec, i); err != nil {
			return err
		}
	}
	return nil
}

// sample adds one sample of an entry. An invalid digest is reported, and so is a sample that nothing can be
// compared with; an empty digest is not known. The error says that there are too many samples.
func (l *lolReader) sample(e *lolEntry, r lolRecord, n int) error {
	field := fmt.Sprintf("%s[%d]", lolSampleField, n)
	usable := r.comparable()
	for _, d := range r.digests() {
		if d.value != "" && !isDigest(string(d.value)) {
			l.note(lolError(field+"."+d.name, "no digest: %.80q", string(d.value)))
			continue
		}
		usable = usable || d.value != "" && d.name != lolAuthentihashMD5
	}
	if !usable {
		l.note(lolError(field, "neither a digest, nor an imphash, nor an original file name with a version: "+
			"nothing is compared with it"))
		return nil
	}
	return l.list.add(e, r)
}

// A lolDigest is one field of a sample.
type lolDigest struct {
	name  string
	value lolHash
}

// digests returns the digests of a sample, as the list has them.
func (r *lolRecord) digests() []lolDigest {
	return []lolDigest{{"MD5", r.MD5}, {"SHA1", r.SHA1}, {"SHA256", r.SHA256},
		{lolAuthentihashMD5, r.Authentihash["MD5"]}, {"Authentihash.SHA1", r.Authentihash["SHA1"]},
		{"Authentihash.SHA256", r.Authentihash["SHA256"]}, {"Authentihash", r.Authentihash[""]},
		{lolImphash, r.Imphash}}
}

// comparable reports whether a sample without a digest can hint at a driver: byNameAndVersion needs both.
func (r *lolRecord) comparable() bool { return r.OriginalFilename != "" && r.FileVersion != "" }

const (
	lolSampleField = "KnownVulnerableSamples"
	lolImphash     = "Imphash"
	// No authentihash in MD5 is made of a file: nothing is compared with it.
	lolAuthentihashMD5 = "Authentihash.MD5"
	lolSamples         = lolSampleField + "_" // begins the names of the CSV form's columns of samples
)

// isLOLDriversCSV reports whether a text is LOLDrivers' list as CSV.
func isLOLDriversCSV(text string) bool {
	header, _, _ := strings.Cut(text, "\n")
	return strings.Contains(header, lolSamples)
}

// parseLOLDriversCSV reads the list as CSV: a row is an entry, and a cell has the digests of all its samples, which are
// not distinguished.
func parseLOLDriversCSV(text string, r *fact.Report) (*BlockList, error) {
	l := newLOLReader(r)
	rows := csv.NewReader(strings.NewReader(text))
	rows.FieldsPerRecord = -1
	rows.LazyQuotes = true
	header, err := rows.Read()
	if err != nil {
		return nil, lolError("header", "%v", err)
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return l.done()
		}
		l.seen++
		if err != nil {
			l.note(lolError("", "%v", err))
			continue
		}
		if err := l.row(header, row); err != nil {
			return nil, err
		}
	}
}

// row reads one row of the CSV form.
func (l *lolReader) row(header, row []string) error {
	var e lolEntry
	var digests []string
	for i, name := range header[:min(len(header), len(row))] {
		cell := strings.TrimSpace(row[i])
		switch {
		case name == "Id":
			e.ID = cell
		case name == "Category":
			e.Category = lenientString(cell)
		case name == "Tags":
			e.Tags = firstTag(cell)
		case strings.HasPrefix(name, lolSamples) && isDigestColumn(name):
			digests = append(digests, l.cell(name, cell)...)
		}
	}
	if e.ID == "" {
		l.note(lolError("Id", "a row without an id"))
		return nil
	}
	l.entries++
	if digests == nil {
		l.note(lolError(lolSampleField, "a row without a digest: nothing is compared with it"))
	}
	for _, d := range digests {
		if err := l.list.add(&e, lolRecord{SHA256: lolHash(d)}); err != nil {
			return err
		}
	}
	return nil
}

// cell returns the digests of a cell. One that is invalid is reported; an empty one is not known.
func (l *lolReader) cell(column, cell string) []string {
	var digests []string
	for d := range strings.SplitSeq(cell, ",") {
		switch d = strings.TrimSpace(d); {
		case isDigest(d):
			digests = append(digests, d)
		case d != "" && d != "-":
			l.note(lolError(column, "no digest: %.80q", d))
		}
	}
	return digests
}

// firstTag returns the first of a cell's tags as a list of one.
func firstTag(cell string) lenientStrings {
	first, _, _ := strings.Cut(cell, ",")
	if first = strings.TrimSpace(first); first == "" {
		return nil
	}
	return lenientStrings{first}
}

func isDigestColumn(name string) bool {
	return strings.HasSuffix(name, "MD5") || strings.HasSuffix(name, "SHA1") || strings.HasSuffix(name, "SHA256")
}

// isDigest reports whether a text is an MD5, SHA-1 or SHA-256 in hexadecimal.
func isDigest(s string) bool {
	switch len(s) {
	case 32, 40, 64:
		for i := range len(s) {
			if !isHex(s[i]) {
				return false
			}
		}
		return true
	}
	return false
}

// add adds a sample. The error says that there are too many.
func (s *loldrivers) add(e *lolEntry, r lolRecord) error {
	id := len(s.samples)
	if id == maxSamples {
		return &fact.ParseError{Source: "LOLDrivers", Reason: fmt.Sprintf("more than %d samples", maxSamples),
			Err: fact.ErrTooLarge}
	}
	name := string(r.OriginalFilename)
	if name == "" {
		name = string(r.Filename)
	}
	if len(e.Tags) > 0 {
		name = e.Tags[0]
	}
	s.samples = append(s.samples, lolSample{
		entry: e.ID, name: name, category: string(e.Category), version: string(r.FileVersion),
		despiteHVCI: lolTri(string(r.LoadsDespiteHVCI)),
	})
	add := func(m map[string][]int, key string) {
		if key = fold(key); key != "" && !slices.Contains(m[key], id) {
			m[key] = append(m[key], id)
		}
	}
	// Some entries once contained authentihashes in the fields of the files' digests: one index for both.
	for _, d := range r.digests() {
		if !isDigest(string(d.value)) {
			continue
		}
		if d.name == lolImphash {
			add(s.byImphash, string(d.value))
			continue
		}
		add(s.byHash, string(d.value))
	}
	add(s.byName, string(r.OriginalFilename))
	return nil
}

// lolTri reads "TRUE" or "FALSE".
func lolTri(s string) fact.Tri {
	switch strings.ToLower(s) {
	case "true":
		return fact.Yes
	case "false":
		return fact.No
	}
	return ""
}

func (s *loldrivers) match(list string, e BlockEvidence) []BlockMatch {
	var out []BlockMatch
	seen := map[int]bool{}
	add := func(ids []int, strength Strength, ev ...fact.Evidence) {
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			x := s.samples[id]
			out = append(out, BlockMatch{
				List: list, Rule: x.entry, Name: x.name, Category: x.category, Kind: RuleSample, Strength: strength,
				Evidence:         ev,
				LoadsDespiteHVCI: x.despiteHVCI,
			})
		}
	}
	for _, h := range e.hashes() {
		if h.value == "" || strings.HasPrefix(h.name, "firstPage") {
			continue
		}
		strength := StrengthWeak
		if strings.HasSuffix(h.name, "256") {
			strength = StrengthStrong
		}
		add(s.byHash[h.value], strength, fact.Evidence{Fact: h.name, Value: h.value, Source: SourceFile})
	}
	if imports := e.imphash(); imports != "" {
		add(s.byImphash[imports], StrengthHint, fact.Evidence{Fact: "imphash", Value: imports, Source: SourceFile})
	}
	s.byNameAndVersion(e, add)
	return out
}

// byNameAndVersion hints at samples whose original name and version are the same.
func (s *loldrivers) byNameAndVersion(e BlockEvidence, add func([]int, Strength, ...fact.Evidence)) {
	if e.Version == nil {
		return
	}
	versions := append([]string{e.Version.File}, e.Version.Strings("FileVersion")...)
	for _, name := range e.Version.Strings("OriginalFilename") {
		for _, id := range s.byName[fold(strings.TrimSpace(name))] {
			v := s.samples[id].version
			if v == "" || !slices.Contains(versions, v) {
				continue
			}
			add([]int{id}, StrengthHint, fact.Evidence{Fact: "OriginalFilename", Value: name, Source: SourceFile},
				fact.Evidence{Fact: "fileVersion", Value: v, Source: SourceFile})
		}
	}
}

func sortRules(list []*policyRule) {
	slices.SortFunc(list, func(a, b *policyRule) int { return strings.Compare(a.id, b.id) })
}
