// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/lkm"
)

var (
	//go:embed page.html
	pageText string
	//go:embed report.css
	style string
	//go:embed report.js
	script string
)

var pageTemplate = lazy.Value[*template.Template]{New: func() *template.Template {
	return template.Must(template.New("page").Parse(pageText)) // a constant text, which a test parses
}}

// mostUnread is how many lines there are of what could not be read, and of findings.
const mostUnread = 500

// A page is what the template shows.
type page struct {
	CSP, Title, Subtitle string
	CSS                  template.CSS
	JS                   template.JS
	Cards                []card
	Fleet                bool
	Hosts                []host
	Outliers, Rows       []shownRow
	Graph                *graph
	GraphNote            string
	Policy               []policyLine
	Findings             []shownFinding
	Unread               []shownUnread
	UnreadMore           int
}

type card struct {
	Title, Number, Class string
	Lines                []string
}

type shownRow struct {
	*row
	HostCount int
	Where     string
}

type policyLine struct {
	Name, Value, Effect string
	Unknown             bool
}

type shownFinding struct {
	findingKey
	HostCount int
}

type shownUnread struct {
	unreadKey
	HostCount int
}

// Write writes the page.
func (r *Report) Write(w io.Writer) error {
	p := &page{CSS: template.CSS(style), JS: template.JS(script), CSP: contentPolicy(), Fleet: len(r.hosts) != 1,
		Cards: r.cards()}
	p.Title, p.Subtitle = r.title()
	for _, at := range r.sorted() {
		p.Rows = append(p.Rows, shownRow{at, len(at.hosts), r.whereOf(at, p.Fleet)})
	}
	if p.Fleet {
		p.Hosts, p.Outliers = r.hosts, r.outliers(p.Rows)
	}
	if r.single != nil {
		p.Graph, p.GraphNote = graphOf(r.single)
		p.Policy = policyLines(r.single.Policy)
	}
	p.Findings = r.shownFindings()
	p.Unread, p.UnreadMore = r.shownUnread()
	b := bufio.NewWriterSize(w, 64<<10)
	if err := pageTemplate.Get().Execute(b, p); err != nil {
		return err
	}
	return b.Flush()
}

// contentPolicy allows the page's own style and script by their digests, and nothing else.
func contentPolicy() string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) +
		"; base-uri 'none'; form-action 'none'"
}

func (r *Report) title() (title, subtitle string) {
	if len(r.hosts) != 1 {
		systems := make(map[string]int)
		for _, h := range r.hosts {
			systems[h.OS]++
		}
		var parts []string
		for _, os := range slices.Sorted(maps.Keys(systems)) {
			parts = append(parts, number(systems[os])+" "+os)
		}
		return number(len(r.hosts)) + " hosts", strings.Join(parts, ", ")
	}
	h := r.hosts[0]
	subtitle = strings.TrimSpace(h.OS + " " + h.Release)
	if s := r.single; s != nil && !s.TakenAt.IsZero() {
		subtitle += ", looked at " + s.TakenAt.UTC().Format("2006-01-02 15:04 UTC")
	}
	return h.Name, subtitle
}

// cards are the answer. A number is only 0 if every list was read whole and every module was decided: else the card
// says how many are not known.
func (r *Report) cards() []card {
	t := r.totals
	count := func(title string, n, maybe int, class string, lines []string) card {
		c := card{Title: title, Number: number(n), Lines: lines}
		switch {
		case n > 0:
			c.Class = class
		case maybe > 0 || t.unlisted > 0 || len(r.hosts) == 0:
			c.Number = unknownWord
		default:
			c.Class = "good"
		}
		if maybe > 0 {
			c.Lines = append(c.Lines, number(maybe)+" of "+number(t.modules)+" not known")
		}
		switch {
		case t.unlisted > 0 && len(r.hosts) == 1:
			c.Lines = append(c.Lines, "the list of modules is not whole")
		case t.unlisted > 0:
			c.Lines = append(c.Lines, number(t.unlisted)+" hosts: the list of modules is not whole")
		}
		return c
	}
	changed := count("Other than on disk", t.changed, t.changedMaybe+t.noFile, "bad", r.names("changed"))
	if t.noFile > 0 && t.changed == 0 {
		changed.Class = "warn"
	}
	cards := []card{
		count("Third-party", t.third, t.thirdMaybe, "warn", r.names("third")),
		count("Not signed, or not validly", t.unsigned, t.unsignedMaybe, "warn", r.names("unsigned")),
		changed,
		r.entry(),
	}
	if t.listed > 0 {
		cards = append(cards, count("On a block list", t.listed, 0, "bad", r.names("listed")))
	}
	return append(cards, r.completeness())
}

// names are the first modules of a kind, on one line.
func (r *Report) names(kind string) []string {
	const most = 6
	names := make(map[string]bool)
	for key := range r.rows {
		if slices.Contains(strings.Fields(key.Kinds), kind) {
			names[key.Name] = true
		}
	}
	list := slices.Sorted(maps.Keys(names))
	if len(list) == 0 {
		return nil
	}
	line := strings.Join(list[:min(len(list), most)], ", ")
	if more := len(list) - most; more > 0 {
		line += " and " + number(more) + " more"
	}
	return []string{line}
}

// entry says what could get in.
func (r *Report) entry() card {
	c := card{Title: "What could get in"}
	if len(r.hosts) == 1 {
		c.Number = r.hosts[0].Loading
	} else {
		c.Number = number(r.totals.loading["any code"]) + " of " + number(len(r.hosts))
		c.Lines = append(c.Lines, "hosts take any code that root loads")
		if n := r.totals.loading[unknownWord]; n > 0 {
			c.Lines = append(c.Lines, number(n)+" of "+number(len(r.hosts))+" not known")
		}
	}
	switch {
	case r.totals.loading["any code"] > 0:
		c.Class = "warn"
	case r.totals.loading[unknownWord] == 0 && len(r.hosts) > 0:
		c.Class = "good"
	}
	return c
}

func (r *Report) completeness() card {
	whole := 0
	for _, h := range r.hosts {
		if h.Complete {
			whole++
		}
	}
	c := card{Title: "Read", Number: "not all", Class: "warn"}
	switch {
	case whole == len(r.hosts) && whole > 0:
		c.Number, c.Class = "whole", "good"
	case len(r.hosts) != 1:
		c.Number = number(whole) + " of " + number(len(r.hosts))
		c.Lines = []string{"hosts were read whole"}
	default:
		c.Lines = []string{"see what could not be read, below"}
	}
	return c
}

func (r *Report) whereOf(at *row, fleet bool) string {
	if !fleet || len(at.hosts) == len(r.hosts) {
		return ""
	}
	return r.hostNames(at.hosts)
}

// outliers are modules that few hosts have, and versions that few of a module's hosts have.
func (r *Report) outliers(rows []shownRow) []shownRow {
	const most = 100
	few := max(1, len(r.hosts)/50)
	if len(r.hosts) < 3 {
		return nil
	}
	var list []shownRow
	for _, at := range rows {
		if at.HostCount <= few {
			list = append(list, at)
		}
	}
	slices.SortStableFunc(list, func(a, b shownRow) int { return cmp.Compare(a.HostCount, b.HostCount) })
	return list[:min(len(list), most)]
}

func (r *Report) shownFindings() []shownFinding {
	var list []shownFinding
	for key, hosts := range r.findings {
		list = append(list, shownFinding{key, len(hosts)})
	}
	rank := map[string]int{"bad": 0, "warn": 1, "": 2}
	slices.SortFunc(list, func(a, b shownFinding) int {
		return cmp.Or(cmp.Compare(rank[a.Class], rank[b.Class]), cmp.Compare(a.What, b.What),
			cmp.Compare(a.Module, b.Module), cmp.Compare(a.Evidence, b.Evidence))
	})
	return list
}

func (r *Report) shownUnread() (list []shownUnread, more int) {
	for key, hosts := range r.unread {
		list = append(list, shownUnread{key, len(hosts)})
	}
	slices.SortFunc(list, func(a, b shownUnread) int {
		return cmp.Or(cmp.Compare(b.HostCount, a.HostCount), cmp.Compare(a.Source, b.Source),
			cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Text, b.Text))
	})
	if len(list) > mostUnread {
		list, more = list[:mostUnread], len(list)-mostUnread
	}
	return list, more
}

func policyLines(p *lkm.Policy) []policyLine {
	if p == nil {
		return nil
	}
	var lines []policyLine
	for _, f := range p.Facts {
		line := policyLine{Name: text(f.Name), Value: text(f.Value), Effect: text(f.Effect)}
		switch {
		case f.Unknown || f.Code != "" && f.Code != lkm.CodeAbsent:
			line.Unknown = true
			line.Value = strings.TrimSpace(unknownWord + " " + text(string(f.Code)))
		case f.Code == lkm.CodeAbsent:
			line.Value = "absent"
		case f.Value == "":
			line.Value = "not set"
		}
		lines = append(lines, line)
	}
	return lines
}

// number writes n with commas.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = fmt.Sprint(s[:i], ",", s[i:])
	}
	return s
}
