// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// SourceProfiler is the source of what system_profiler SPExtensionsDataType prints.
const SourceProfiler = "system_profiler"

// A ProfilerItem is one extension as system_profiler shows it. Some versions list what is on disk,
// others only what is loaded.
type ProfilerItem struct {
	Name, BundleID, Path, Info, Description string

	Version      string // the build version (Kext Version)
	ShortVersion string // the release version (Version)

	// Loaded says whether it is in the kernel.
	Loaded fact.Tri
	// Loadable says whether system_profiler thinks it could be; Errors are why not.
	Loadable fact.Tri
	// Dependencies says whether all libraries were found.
	Dependencies fact.Tri
	// Notarized says whether a ticket is known to the system.
	Notarized fact.Tri
	// ObtainedFrom is spext_apple, spext_identified_developer, spext_unknown or spext_not_signed,
	// without "spext_"; text captures have words for people.
	ObtainedFrom  string
	SignedBy      []string // the chain of certificates
	Architectures []string
	Address       fact.Address
	Modified      time.Time
	Errors        []string
}

// A ProfilerCapture is a report of system_profiler.
type ProfilerCapture struct {
	Items []ProfilerItem
	// Sure is set when the text says that it is such a report.
	Sure     bool
	Problems []fact.Problem
	// Stray counts lines that are none of a report.
	Stray int
}

// ParseProfiler reads a report on extensions in any of the tool's forms: text, XML or JSON.
func ParseProfiler(text string) *ProfilerCapture {
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, "{") && strings.Contains(trimmed, `"SPExtensionsDataType"`):
		return profilerJSON(trimmed)
	case strings.HasPrefix(trimmed, "<") && strings.Contains(trimmed, "SPExtensionsDataType"):
		return profilerXML(trimmed)
	}
	return profilerText(text)
}

func (c *ProfilerCapture) lose(subject, field string, err error) {
	if len(c.Problems) < limit.Problems {
		c.Problems = append(c.Problems, fact.ProblemOf(SourceProfiler, subject, field, err))
	}
}

func profilerXML(text string) *ProfilerCapture {
	c := &ProfilerCapture{}
	n, err := decodePlist(SourceProfiler, []byte(text))
	if err != nil {
		c.lose("", "", err)
		return c
	}
	l := &losses{source: SourceProfiler}
	for _, report := range n.list {
		if report.dict["_dataType"].str == "SPExtensionsDataType" {
			c.Sure = true
			c.items(report.array("_items", l))
		}
	}
	c.Problems = append(c.Problems, l.problems...)
	return c
}

func profilerJSON(text string) *ProfilerCapture {
	c := &ProfilerCapture{}
	if len(text) > limit.PlistBytes {
		c.lose("", "", limit.TooLarge(SourceProfiler, limit.PlistBytes))
		return c
	}
	var report struct {
		Items []map[string]json.RawMessage `json:"SPExtensionsDataType"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		c.lose("", "", &fact.ParseError{Source: SourceProfiler, Field: "json", Reason: err.Error()})
		return c
	}
	c.Sure = report.Items != nil
	nodes := make([]node, 0, len(report.Items))
	for _, item := range report.Items {
		n := node{kind: dictNode, dict: make(map[string]node, len(item))}
		for key, raw := range item {
			n.dict[key] = jsonNode(raw)
		}
		nodes = append(nodes, n)
	}
	c.items(nodes)
	return c
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

func (c *ProfilerCapture) items(nodes []node) {
	for i, n := range nodes {
		if len(c.Items) == maxKexts {
			c.lose("", "", fmt.Errorf("%w: more than %d extensions", fact.ErrTooLarge, maxKexts))
			return
		}
		if n.kind != dictNode {
			c.lose(fmt.Sprintf("item %d", i), "", &fact.ParseError{Source: SourceProfiler, Reason: "it is " + n.kind.String() + ", not a dictionary"})
			continue
		}
		c.Items = append(c.Items, c.item(n))
	}
}

func (c *ProfilerCapture) item(n node) ProfilerItem {
	l := &losses{source: SourceProfiler, subject: n.dict["spext_bundleid"].str}
	p := ProfilerItem{
		Name:          n.text("_name", l),
		BundleID:      n.text("spext_bundleid", l),
		Path:          n.text("spext_path", l),
		Info:          n.text("spext_info", l),
		Description:   n.text("spext_description", l),
		Version:       n.text("spext_version", l),
		ShortVersion:  n.text("version", l),
		Loaded:        profilerTri(n.text("spext_loaded", l)),
		Loadable:      profilerTri(n.text("spext_loadable", l)),
		Dependencies:  profilerTri(n.text("spext_hasAllDependencies", l)),
		Notarized:     profilerTri(n.text("spext_notarized", l)),
		ObtainedFrom:  strings.TrimPrefix(n.text("spext_obtained_from", l), "spext_"),
		Architectures: n.texts("spext_architectures", l),
		Address:       addressOf(n.text("spext_load_address", l)),
		Modified:      profilerTime(n.dict["spext_lastModified"].str),
	}
	for _, by := range n.texts("spext_signed_by", l) {
		for part := range strings.SplitSeq(by, ",") {
			p.SignedBy = append(p.SignedBy, strings.TrimSpace(part))
		}
	}
	if e := n.dict["spext_valid_errors"]; e.kind == dictNode {
		p.Errors = e.keys()
	}
	for _, problem := range l.problems {
		if len(c.Problems) < limit.Problems {
			c.Problems = append(c.Problems, problem)
		}
	}
	return p
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

func profilerTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "1/2/06, 3:04 PM", "02/01/2006, 15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// profilerText reads the form for people: "Extensions:", then an indented name with a colon for
// each extension, then indented "Key: value" lines. A list goes on on further indented lines.
func profilerText(text string) *ProfilerCapture {
	c := &ProfilerCapture{}
	var item *ProfilerItem
	var list *[]string
	for line := range strings.Lines(text) {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case line == "":
		case line == "Extensions:" && indent == 0:
			c.Sure, item = true, nil
		case !c.Sure:
			c.Stray++
		case indent <= 4 && strings.HasSuffix(line, ":"):
			if len(c.Items) == maxKexts {
				return c
			}
			c.Items = append(c.Items, ProfilerItem{Name: strings.TrimSuffix(line, ":")})
			item, list = &c.Items[len(c.Items)-1], nil
		case item == nil:
			c.Stray++
		case pair && indent <= 8:
			list = item.textField(key, value)
		case list != nil:
			*list = append(*list, line)
		}
	}
	return c
}

// textField takes one line; the result is the list that further lines belong to.
func (p *ProfilerItem) textField(key, value string) *[]string {
	switch key {
	case "Version":
		p.ShortVersion = value
	case "Last Modified":
		p.Modified = profilerTime(value)
	case "Bundle ID":
		p.BundleID = value
	case "Loaded":
		p.Loaded = profilerTri(value)
	case "Get Info String":
		p.Info = value
	case "Obtained from":
		p.ObtainedFrom = strings.ReplaceAll(strings.ToLower(value), " ", "_")
	case "Architectures":
		for a := range strings.SplitSeq(value, ",") {
			p.Architectures = append(p.Architectures, strings.TrimSpace(a))
		}
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
		for s := range strings.SplitSeq(value, ",") {
			p.SignedBy = append(p.SignedBy, strings.TrimSpace(s))
		}
	}
	return nil
}
