// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// SourceProfiler is the source of what system_profiler SPExtensionsDataType prints.
const SourceProfiler = "system_profiler"

// A profilerItem is one extension as system_profiler shows it. Some versions list what is on disk,
// others only what is loaded.
type profilerItem struct {
	Name, BundleID, Path, Info string

	Version      string // the build version (Kext Version)
	ShortVersion string // the release version (Version)

	// Loaded says whether it is in the kernel.
	Loaded fact.Tri
	// Notarized says whether a ticket is known to the system.
	Notarized     fact.Tri
	SignedBy      []string // the chain of certificates
	Architectures []string
	Address       fact.Address
	ProfilerFacts
}

// A profilerReport is a report of system_profiler while it is read.
type profilerReport struct {
	items  []profilerItem
	sure   bool // the text says that it is such a report
	stray  int  // lines that belong to no report
	report *fact.Report
}

// ReadProfiler reads a report on extensions in any of the tool's forms: text, XML or JSON.
func ReadProfiler(text string, r *fact.Report) fact.Capture[Kext] {
	p := profilerReport{report: r}
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, "{") && strings.Contains(trimmed, `"SPExtensionsDataType"`):
		p.json(trimmed)
	case strings.HasPrefix(trimmed, "<") && strings.Contains(trimmed, "SPExtensionsDataType"):
		p.xml(trimmed)
	default:
		p.text(text)
	}
	c := fact.Capture[Kext]{Rows: len(p.items), Stray: p.stray, Sure: p.sure}
	for i := range p.items {
		c.Records = append(c.Records, p.items[i].record())
	}
	finish(c.Records, SourceProfiler)
	for i := range c.Records {
		profilerOrigin(&c.Records[i])
	}
	r.Done(SourceProfiler, fact.CountOf(int64(len(p.items))))
	return c
}

// record returns the item as a record.
func (p *profilerItem) record() Record {
	own := &Kext{
		BundleID: p.BundleID, Architectures: p.Architectures, Profiler: &p.ProfilerFacts,
		Bundle: &Bundle{Path: p.Path, BundleInfo: BundleInfo{Identifier: p.BundleID, Name: p.Name, Version: p.Version,
			ShortVersion: p.ShortVersion, Info: p.Info}},
	}
	if len(p.SignedBy) > 0 {
		own.CodeSignature = &CodeSignature{
			Present: fact.Yes, Signer: p.SignedBy[0], TeamID: teamOf(p.SignedBy[0]), Chain: p.SignedBy,
			Notarized: p.Notarized,
		}
	}
	m := Record{Kind: fact.KindMacOSKext, Name: cmp.Or(p.BundleID, p.Name), Version: p.Version, Path: p.Path,
		Description: p.Info, Address: p.Address, Own: own}
	switch p.Loaded {
	case fact.Yes:
		m.State = fact.StateLoaded
	case fact.No:
		m.State = fact.StateInstalled
	}
	return m
}

// profilerOrigin takes system_profiler's word for whose code it is: it validates signatures.
func profilerOrigin(m *Record) {
	from := m.Own.Profiler.ObtainedFrom
	if from == "" {
		return
	}
	e := fact.Evidence{Fact: "obtainedFrom", Value: from, Source: SourceProfiler}
	m.Origin.Evidence = append([]fact.Evidence{e}, m.Origin.Evidence...)
	switch from {
	case "apple":
		m.Origin.Class = fact.OriginOS
	case "identified_developer", "unknown", "not_signed", "unsigned":
		m.Origin.Class = fact.OriginThirdParty
	}
}

func (c *profilerReport) lose(subject string, err error) {
	c.report.Problem(SourceProfiler, subject, "", err)
}

func (c *profilerReport) xml(text string) {
	n, err := decodePlist(SourceProfiler, []byte(text))
	if err != nil {
		c.lose("", err)
		return
	}
	l := &losses{report: c.report, source: SourceProfiler}
	for _, report := range n.list {
		if report.dict["_dataType"].str == "SPExtensionsDataType" {
			c.sure = true
			c.take(report.array("_items", l))
		}
	}
}

func (c *profilerReport) json(text string) {
	if len(text) > limit.PlistBytes {
		c.lose("", limit.TooLarge(SourceProfiler, limit.PlistBytes))
		return
	}
	var report struct {
		Items []map[string]json.RawMessage `json:"SPExtensionsDataType"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		c.lose("", &fact.ParseError{Source: SourceProfiler, Field: "json", Reason: err.Error()})
		return
	}
	c.sure = report.Items != nil
	nodes := make([]node, 0, len(report.Items))
	for _, item := range report.Items {
		n := node{kind: dictNode, dict: make(map[string]node, len(item))}
		for key, raw := range item {
			n.dict[key] = jsonNode(raw)
		}
		nodes = append(nodes, n)
	}
	c.take(nodes)
}

// jsonNode takes the JSON values that reports hold: texts, lists of texts, and dictionaries.
func jsonNode(raw json.RawMessage) node {
	var s string
	var list []string
	var dict map[string]json.RawMessage
	var integer int64
	var b bool
	switch {
	case json.Unmarshal(raw, &s) == nil:
		return node{kind: stringNode, str: s}
	case json.Unmarshal(raw, &list) == nil:
		n := node{kind: arrayNode}
		for _, item := range list {
			n.list = append(n.list, node{kind: stringNode, str: item})
		}
		return n
	case json.Unmarshal(raw, &integer) == nil:
		return node{kind: integerNode, num: uint64(integer)}
	case json.Unmarshal(raw, &b) == nil:
		return node{kind: boolNode, num: bit(b)}
	case json.Unmarshal(raw, &dict) == nil:
		n := node{kind: dictNode, dict: make(map[string]node, len(dict))}
		for k := range dict {
			n.dict[k] = node{kind: otherNode}
		}
		return n
	}
	return node{kind: otherNode, str: string(bytes.TrimSpace(raw))}
}

func (c *profilerReport) take(nodes []node) {
	for i, n := range nodes {
		if len(c.items) == maxKexts {
			c.lose("", fmt.Errorf("%w: more than %d extensions", fact.ErrTooLarge, maxKexts))
			return
		}
		if n.kind != dictNode {
			c.lose(fmt.Sprintf("item %d", i), &fact.ParseError{Source: SourceProfiler,
				Reason: "it is " + n.kind.String() + ", not a dictionary"})
			continue
		}
		c.items = append(c.items, c.item(n))
	}
}

func (c *profilerReport) item(n node) profilerItem {
	l := &losses{c.report, SourceProfiler, n.dict["spext_bundleid"].str}
	p := profilerItem{
		Name:     n.text("_name", l),
		BundleID: n.text("spext_bundleid", l),
		Path:     n.text("spext_path", l),
		Info:     n.text("spext_info", l),
	}
	p.Version = n.text("spext_version", l)
	p.ShortVersion = n.text("version", l)
	p.Loaded = profilerTri(n.text("spext_loaded", l))
	p.Loadable = profilerTri(n.text("spext_loadable", l))
	p.Dependencies = profilerTri(n.text("spext_hasAllDependencies", l))
	p.Notarized = profilerTri(n.text("spext_notarized", l))
	p.ObtainedFrom = strings.TrimPrefix(n.text("spext_obtained_from", l), "spext_")
	p.Architectures = n.texts("spext_architectures", l)
	p.Address = addressOf(n.text("spext_load_address", l))
	for _, by := range n.texts("spext_signed_by", l) {
		p.SignedBy = append(p.SignedBy, certificates(by)...)
	}
	if e := n.dict["spext_valid_errors"]; e.kind == dictNode {
		p.Errors = e.keys()
	}
	return p
}

// listed returns the parts of a list divided by commas.
func listed(text string) []string {
	var parts []string
	for part := range strings.SplitSeq(text, ",") {
		parts = append(parts, strings.TrimSpace(part))
	}
	return parts
}

// certificateNames are how the names of certificates begin that Apple issues; no company's name goes on so.
var certificateNames = [...]string{"Developer ID ", "Apple ", "Software Signing", "Mac Developer: ",
	"3rd Party Mac Developer ", "Mac App Distribution: "}

// certificates splits a chain of certificates at the commas before a certificate's name: a company's name holds commas
// of its own ("Developer ID Application: Oracle America, Inc. (VB5E2TV963)").
func certificates(text string) []string {
	var names []string
	for _, part := range listed(text) {
		begins := slices.ContainsFunc(certificateNames[:], func(s string) bool { return strings.HasPrefix(part, s) })
		if begins || len(names) == 0 {
			names = append(names, part)
			continue
		}
		names[len(names)-1] += ", " + part
	}
	return names
}

// teamOf returns the team id in the name of a developer's certificate; empty if it has none.
func teamOf(certificate string) string {
	_, rest, ok := strings.Cut(certificate, ": ")
	i := strings.LastIndex(rest, " (")
	if !ok || i < 0 || !strings.HasSuffix(rest, ")") {
		return ""
	}
	if team := rest[i+2 : len(rest)-1]; isTeamID(team) {
		return team
	}
	return ""
}

// profilerTri reads the words for yes and no of every version.
func profilerTri(s string) fact.Tri {
	switch strings.ToLower(strings.TrimPrefix(s, "spext_")) {
	case "yes", "satisfied":
		return fact.Yes
	case "no", "incomplete":
		return fact.No
	}
	return ""
}

// text reads the form for people: "Extensions:", then an indented name with a colon for
// each extension, then indented "Key: value" lines. A list goes on on further indented lines.
func (c *profilerReport) text(text string) {
	var item *profilerItem
	var list *[]string
	for line := range strings.Lines(text) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case line == "":
		case line == "Extensions:" && indent == 0:
			c.sure, item = true, nil
		case !c.sure:
			c.stray++
		case indent <= 4 && strings.HasSuffix(line, ":"):
			if len(c.items) == maxKexts {
				return
			}
			c.items = append(c.items, profilerItem{Name: strings.TrimSuffix(line, ":")})
			item, list = &c.items[len(c.items)-1], nil
		case item == nil:
			c.stray++
		case pair && indent <= 8:
			list = item.textField(key, value)
		case list != nil:
			*list = append(*list, line)
		}
	}
}

// textField takes one line; the result is the list that further lines belong to.
func (p *profilerItem) textField(key, value string) *[]string {
	switch key {
	case "Version":
		p.ShortVersion = value
	case "Bundle ID":
		p.BundleID = value
	case "Loaded":
		p.Loaded = profilerTri(value)
	case "Get Info String":
		p.Info = value
	case "Obtained from":
		p.ObtainedFrom = strings.ReplaceAll(strings.ToLower(value), " ", "_")
	case "Architectures":
		p.Architectures = append(p.Architectures, listed(value)...)
	case "Location":
		p.Path = value
	case "Kext Version":
		p.Version = value
	case "Load Address":
		p.Address = addressOf(value)
	case "Loadable":
		p.Loadable = profilerTri(value)
	case "Notarized":
		p.Notarized = profilerTri(value)
	case "Dependencies":
		p.Dependencies = profilerTri(value)
	case "Dependency Errors", "Errors", "Validation Errors":
		if value != "" {
			p.Errors = append(p.Errors, value)
		}
		return &p.Errors
	case "Signed by":
		p.SignedBy = append(p.SignedBy, certificates(value)...)
	}
	return nil
}
