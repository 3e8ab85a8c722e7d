// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// plainer has words that a reader has to read twice, and what to write instead.
var plainer = map[string]string{
	"tell": report, "tells": report, "told": report, "telling": report,
	"had":  "has, contains, the present tense",
	"heed": "reads, applies", "heeds": "reads, applies", "heeded": "read, applied", "heeding": "reading, applying",
	"stand": place, "stands": place, "stood": place,
	"colour": american, "colours": american, "coloured": american, "behaviour": american, "neighbour": american,
	"neighbours": american, "favour": american, "honour": american, "honours": american, "recognise": american,
	"recognises": american, "recognised": american, "unrecognised": american, "organisation": american,
	"normalise": american, "normalised": american, "normalises": american, "initialise": american,
	"initialised": american, "initialisation": american, "summarise": american, "summarises": american,
	"serialise": american, "serialised": american, "synchronise": american, "synchronised": american,
	"authorise": american, "authorised": american, "unauthorised": american, "minimise": american, "optimise": american,
	"programme": american, "programmes": american, "licence": american, "licences": american, "centre": american,
	"grey": american, "whilst": american, "artefact": american, "artefacts": american, "analyse": american,
	"analysed": american, "defence": american, "cancelled": american, "cancelling": american,
	"judgement": american, "localise": american, "localised": american,
	"labelled": american, "modelled": american, "signalled": american, "travelled": american, "catalogue": american,
}

const (
	report   = "says, shows, reports, distinguishes"
	place    = "is, is in, is written"
	american = "the American spelling"
)

// follows are the words after which one of plainer is meant otherwise: it stands for, it stands in for.
var follows = map[string]bool{"for": true, "in": true, "alone": true}

// pairs has such words that are two.
var pairs = map[[2]string]string{
	{"is", "none"}: absent, {"are", "none"}: absent, {"was", "none"}: absent, {"were", "none"}: absent,
	{"no", "sense"}: "is invalid",
	{"go", "by"}:    "uses", {"goes", "by"}: "uses", {"going", "by"}: "using", {"went", "by"}: "used",
}

const absent = "is not one, is missing, is empty, nil if …"

// quoted are the places where such a word is meant: the directories of NetBSD's and FreeBSD's boot loaders, a stand-in.
// Windows in German has a directory "Programme".
var quoted = regexp.MustCompile(`(^|["/= (])stand(["/]|$)|stand-in`)

// TestWords refuses, in comments, string literals, documents and scripts, words that a reader has to read twice.
func TestWords(t *testing.T) {
	for _, p := range allProse(t) {
		for _, fault := range p.faults() {
			t.Errorf("%s: %s", p.at, fault)
		}
	}
}

func TestWordsFaults(t *testing.T) {
	for text, want := range map[string]int{
		"The file tells its size.": 1, "It is none of these.": 1, "The error is fs.ErrNotExist.": 1, "It had none.": 1,
		"the list is an ErrMalformed, or it goes by name": 2, "Where it stands": 1, "Colours are none.": 2,
		"It stands for a name": 0, "The error matches fs.ErrNotExist.": 0, `"stand/amd64/9.3"`: 0,
		"Errors are rare.": 0,
	} {
		if got := (prose{text: text}).faults(); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}

// A prose is a comment, a string literal, or a line of a document or a script.
type prose struct {
	at   string
	text string
}

// faults returns the words in question, each with a better one.
func (p prose) faults() []string {
	var list []string
	words := strings.FieldsFunc(p.text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '_'
	})
	for i := range words {
		words[i] = strings.Trim(words[i], ".")
	}
	for i, w := range words {
		before, next := "", ""
		if i > 0 {
			before = strings.ToLower(words[i-1])
		}
		if i+1 < len(words) {
			next = strings.ToLower(words[i+1])
		}
		if (before == "a" || before == "an") && i > 1 {
			before = strings.ToLower(words[i-2])
		}
		low := strings.ToLower(w)
		switch better := plainer[low]; {
		case better == place && (follows[next] || quoted.MatchString(p.text)), w == "Programme":
		case better != "":
			list = append(list, fmt.Sprintf("%q: write %s", w, better))
		case w != "Go" && pairs[[2]string{low, next}] != "":
			list = append(list, fmt.Sprintf("%q: write %s", low+" "+next, pairs[[2]string{low, next}]))
		case (before == "is" || before == "are") && isErrName(w):
			list = append(list, fmt.Sprintf("%q: an error matches a sentinel", before+" "+w))
		}
	}
	return list
}

// isErrName reports whether a word is the name of a sentinel error, such as fs.ErrNotExist.
func isErrName(word string) bool {
	_, after, ok := strings.Cut(word, ".")
	if !ok {
		after = word
	}
	rest, ok := strings.CutPrefix(after, "Err")
	return ok && rest != "" && unicode.IsUpper(rune(rest[0]))
}

// allProse returns every comment and string literal of the Go files, and every line of the documents and scripts.
func allProse(t *testing.T) []prose {
	t.Helper()
	var all []prose
	each(t, true, func(s *source) {
		if s.name != "internal/rules/words_test.go" {
			all = append(all, goProse(s)...)
		}
	})
	eachText(t, func(name, text string) {
		if name == "CHANGELOG.md" {
			text, _, _ = strings.Cut(text, "\n## 0.1.0\n") // older entries are history
		}
		n := 0
		for line := range strings.Lines(text) {
			n++
			all = append(all, prose{fmt.Sprintf("%s:%d", name, n), line})
		}
	})
	return all
}

// goProse returns the comments and string literals of one file. Lines of a comment that follow each other are one
// text, so that a pair of words is found across a line end.
func goProse(s *source) []prose {
	var all []prose
	for _, group := range s.syntax.Comments {
		all = append(all, prose{at(group), group.Text()})
	}
	ast.Inspect(s.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				all = append(all, prose{at(n), n.Value})
			}
		}
		return true
	})
	return all
}
