// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/json"
	"fmt"
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
	MD5              lenientString `json:"MD5"`
	SHA1             lenientString `json:"SHA1"`
	SHA256           lenientString `json:"SHA256"`
	Imphash          lenientString `json:"Imphash"`
	Authentihash     lenientHashes `json:"Authentihash"`
}

// lenientString is a string; anything else is empty, and so is "-".
type lenientString string

func (s *lenientString) UnmarshalJSON(b []byte) error {
	var v string
	if json.Unmarshal(b, &v) == nil && v != "-" {
		*s = lenientString(strings.TrimSpace(v))
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

// lenientHashes is an object of digests; anything else is empty.
type lenientHashes map[string]lenientString

func (h *lenientHashes) UnmarshalJSON(b []byte) error {
	var m map[string]lenientString
	if json.Unmarshal(b, &m) == nil {
		*h = m
	}
	return nil
}

func parseLOLDrivers(b []byte, r *fact.Report) (*BlockList, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, &fact.ParseError{Source: "LOLDrivers", Reason: err.Error()}
	}
	l := &BlockList{Name: "LOLDrivers"}
	s := &loldrivers{byHash: map[string][]int{}, byImphash: map[string][]int{}, byName: map[string][]int{}}
	note := func(i int, err error) {
		r.Problem(sourceBlockList, fmt.Sprintf("entry %d", i), "", err)
	}
	entries := 0
	for i, text := range raw {
		var e lolEntry
		if err := json.Unmarshal(text, &e); err != nil {
			note(i, &fact.ParseError{Source: "LOLDrivers", Reason: err.Error()})
			continue
		}
		var samples []lolRecord
		if err := json.Unmarshal(e.Samples, &samples); err != nil || e.ID == "" {
			note(i, &fact.ParseError{Source: "LOLDrivers", Field: "KnownVulnerableSamples", Reason: "no id or no list of samples"})
			continue
		}
		entries++
		for _, rec := range samples {
			if len(s.samples) == maxSamples {
				return nil, &fact.ParseError{Source: "LOLDrivers", Reason: fmt.Sprintf("more than %d samples", maxSamples), Err: fact.ErrTooLarge}
			}
			s.add(&e, rec)
		}
	}
	if entries == 0 {
		return nil, &fact.ParseError{Source: "LOLDrivers", Reason: "no entry with samples"}
	}
	l.samples, l.Rules = s, len(s.samples)
	return l, nil
}

func (s *loldrivers) add(e *lolEntry, r lolRecord) {
	id := len(s.samples)
	name := string(r.OriginalFilename)
	if name == "" {
		name = string(r.Filename)
	}
	if len(e.Tags) > 0 {
		name = e.Tags[0]
	}
	s.samples = append(s.samples, lolSample{entry: e.ID, name: name, category: string(e.Category), version: string(r.FileVersion)})
	add := func(m map[string][]int, key string) {
		if key = fold(key); key != "" && !slices.Contains(m[key], id) {
			m[key] = append(m[key], id)
		}
	}
	// Some entries once had authentihashes in the fields of the files' digests: one index for both.
	for _, h := range []lenientString{r.MD5, r.SHA1, r.SHA256, r.Authentihash["MD5"], r.Authentihash["SHA1"], r.Authentihash["SHA256"]} {
		add(s.byHash, string(h))
	}
	add(s.byImphash, string(r.Imphash))
	add(s.byName, string(r.OriginalFilename))
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
			out = append(out, BlockMatch{List: list, Rule: x.entry, Name: x.name, Category: x.category, Kind: RuleSample, Strength: strength, Evidence: ev})
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
	if e.PE != nil && e.PE.Imphash != "" {
		add(s.byImphash[e.PE.Imphash], StrengthHint, fact.Evidence{Fact: "imphash", Value: e.PE.Imphash, Source: SourceFile})
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
		for _, id := range s.byName[fold(name)] {
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
