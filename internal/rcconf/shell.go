// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Command is one simple command of a shell script.
type Command struct {
	// Line is where it begins, counted from 1.
	Line int
	// Body is the command without the reserved words before it.
	Body string
	// Function is the function whose body has it; empty outside of functions.
	Function string
	// Conds are what must hold for it to run, the outermost first.
	Conds []Cond
}

// A Cond is a condition of a command: of if, case, a loop, && or ||.
type Cond struct {
	// Body is the command whose success decides; empty if that is not known.
	Body string
	// Not is set if its failure decides.
	Not bool
}

// Words splits a command at blanks; quotes stay.
func (c *Command) Words() []string { return strings.Fields(c.Body) }

// A shellReader finds the commands of a script, without running anything.
type shellReader struct {
	each     func(c Command)
	function string
	braces   int // open braces of the function's body
	conds    []Cond
	kinds    []string // if, case or loop, for each of conds
	deciding bool     // between if and then
	item     *fact.Item
	over     error // what the script takes that is more than it may take
}

// maxNesting is how deep conditions are followed; maxOpen is for how many quotes that do not end the rest of the script
// is searched.
const (
	maxNesting = 64
	maxOpen    = 16
)

// The memory of a command beside its text and of one of its conditions, in bytes, and the steps that a command takes.
const (
	commandSize = 96
	condSize    = 40
	commandWork = 512
)

// Memory returns how much keeping a command takes, in bytes.
func (c *Command) Memory() int64 { return int64(commandSize + len(c.Body) + condSize*len(c.Conds)) }

// ReadShell calls each for every simple command of a script, as far as the words of the shell's grammar show them: if,
// case, loops, functions, lists. Bodies of here-documents are left out. The error says that the script takes more than
// item allows: the rest was not read.
func ReadShell(text string, item *fact.Item, each func(c Command)) error {
	s := &shellReader{each: each, item: item}
	lines := strings.Split(text, "\n")
	for i, open := 0, 0; i < len(lines) && s.over == nil; {
		first, end := i+1, len(lines)
		if open == maxOpen {
			end = first
		}
		logical, next, looked, whole := logicalLine(lines[:end], i)
		if s.work(looked + len(logical)); s.over != nil {
			break
		}
		if !whole { // quotes that do not end: what follows is still read, a line at a time
			logical, next, open = lines[i], i+1, min(open+1, maxOpen)
		}
		s.line(first, logical)
		i = next
		if mark := hereDocument(logical); mark != "" {
			for i < len(lines) && strings.TrimSpace(lines[i]) != mark {
				i++
			}
			i++
		}
	}
	return s.over
}

// work asks for n more steps.
func (s *shellReader) work(n int) {
	if s.over == nil {
		s.over = s.item.Work(int64(n))
	}
}

// logicalLine joins physical lines from index i on while a quote is open or the line ends in a backslash. It returns
// the line without its comment, the index of the next one, and how many bytes it looked at: lines whose quotes do not
// end are looked at from each of them.
func logicalLine(lines []string, i int) (line string, next, looked int, whole bool) {
	var b strings.Builder
	quote := byte(0)
	for ; i < len(lines); i++ {
		l := strings.TrimSuffix(lines[i], "\r")
		looked += len(l) + 1
		more := false
		for j := 0; j < len(l); j++ {
			ch := l[j]
			if quote == 0 && ch == '#' && (j == 0 && b.Len() == 0 || j > 0 && strings.IndexByte(" \t;", l[j-1]) >= 0) {
				break
			}
			if ch == '\\' && quote != '\'' {
				if more = j+1 == len(l); more {
					break
				}
				b.WriteString(l[j : j+2])
				j++
				continue
			}
			quote = quoteAfter(quote, ch)
			b.WriteByte(ch)
		}
		if b.Len() > maxConfLine {
			return b.String()[:maxConfLine], i + 1, looked, false
		}
		switch {
		case quote == 0 && !more:
			return b.String(), i + 1, looked, true
		case !more:
			b.WriteByte(' ')
		}
	}
	return b.String(), i, looked, quote == 0
}

// quoteAfter returns the quote that is open after a byte.
func quoteAfter(quote, ch byte) byte {
	switch {
	case quote == ch:
		return 0
	case quote == 0 && (ch == '\'' || ch == '"' || ch == '`'):
		return ch
	}
	return quote
}

// hereDocument returns the word that ends the here-document that a line begins; empty if it begins none.
func hereDocument(line string) string {
	_, rest, ok := strings.Cut(line, "<<")
	if !ok || strings.HasPrefix(rest, "<") {
		return ""
	}
	fields := strings.Fields(strings.TrimPrefix(rest, "-"))
	if len(fields) == 0 {
		return ""
	}
	return strings.Trim(strings.TrimRight(fields[0], ";|&"), `"'\`)
}

// A Part is a command of a list.
type Part struct {
	// Op is the operator before it; empty for the first.
	Op string
	// Body is the command, without blanks around it.
	Body string
}

// Parts splits a line at ";", "&&", "||", "|" and "&" outside of quotes and substitutions.
func Parts(line string) []Part {
	var out []Part
	op, start, quote, depth := "", 0, byte(0), 0
	add := func(end, skip int, next string) {
		out = append(out, Part{op, strings.TrimSpace(line[start:end])})
		op, start = next, end+skip
	}
	for i := 0; i < len(line); i++ {
		ch := line[i]
		if ch == '\\' && quote != '\'' {
			i++
			continue
		}
		quote = quoteAfter(quote, ch)
		switch {
		case quote != 0:
		case ch == '(' && i > 0 && line[i-1] == '$':
			depth++
		case ch == ')' && depth > 0:
			depth--
		case depth > 0:
		case strings.HasPrefix(line[i:], "&&"), strings.HasPrefix(line[i:], "||"), strings.HasPrefix(line[i:], ";;"):
			add(i, 2, line[i:i+2])
			i++
		case ch == ';', ch == '|', ch == '&' && !redirects(line, i):
			add(i, 1, line[i:i+1])
		}
	}
	if start <= len(line) {
		add(len(line), 0, "")
	}
	return out
}

// redirects reports whether the "&" at index i belongs to a redirection.
func redirects(line string, i int) bool {
	return i > 0 && (line[i-1] == '>' || line[i-1] == '<') || i+1 < len(line) && line[i+1] == '>'
}

// line follows one logical line.
func (s *shellReader) line(number int, line string) {
	last := ""
	var joined []Cond // by && and || on this line
	for _, p := range Parts(line) {
		switch p.Op {
		case "&&":
			joined = append(joined, Cond{Body: last})
		case "||":
			joined = append(joined, Cond{Body: last, Not: true})
		case "|":
			joined = append(joined, Cond{})
		default:
			joined = nil
		}
		joined = joined[:min(len(joined), maxNesting)]
		if s.deciding && len(joined) > 0 && len(s.conds) > 0 {
			s.conds[len(s.conds)-1] = Cond{} // more than one command decides
		}
		before := s.conds
		last = s.reserved(p.Body)
		if s.deciding && len(joined) == 0 && len(s.conds) <= len(before) {
			before = s.conds[:max(len(s.conds)-1, 0)] // an elif
		} else if !s.deciding {
			before = s.conds
		}
		if s.work(commandWork + condSize*(len(before)+len(joined))); last != "" && s.over == nil {
			s.each(Command{number, last, s.function, slices.Concat(before, joined)})
		}
	}
}

// reserved follows the reserved words that a command begins with, and returns what is left of it.
func (s *shellReader) reserved(text string) string {
	for text != "" {
		text = s.pattern(text)
		word := text
		if i := strings.IndexAny(text, " \t"); i >= 0 {
			word = text[:i]
		}
		rest := strings.TrimSpace(text[len(word):])
		switch word {
		case "if", "while", "until":
			s.open(word, Cond{Body: rest})
			s.deciding = true
		case "for":
			s.open(word, Cond{})
			rest = ""
		case "case":
			s.open(word, Cond{})
			_, rest, _ = strings.Cut(rest+" ", " in ")
		case "elif":
			s.branch(Cond{})
			s.deciding = true
		case "else":
			s.branch(Cond{Not: true})
		case "fi", "done", "esac":
			s.close()
		case "{":
			s.braces++
		case "}":
			s.endBrace()
		case "then", "do":
			s.deciding = false
		case "!":
			if s.deciding && len(s.conds) > 0 {
				s.conds[len(s.conds)-1] = Cond{Body: rest, Not: true}
			}
		case "":
			return ""
		default:
			name, body, ok := function(text)
			if !ok {
				return text
			}
			s.function, s.braces, rest = name, 0, body
		}
		text = rest
	}
	return ""
}

// pattern takes the pattern of a case off a command.
func (s *shellReader) pattern(text string) string {
	if n := len(s.kinds); n == 0 || s.kinds[n-1] != "case" || strings.HasPrefix(text, "esac") {
		return text
	}
	if i := strings.IndexByte(text, ')'); i >= 0 && !strings.Contains(text[:i], "(") {
		return strings.TrimSpace(text[i+1:])
	}
	return text
}

// function takes a function's name off a definition "name()" or "name() {".
func function(text string) (name, rest string, ok bool) {
	name, rest, ok = strings.Cut(text, "(")
	name = strings.TrimSpace(name)
	rest = strings.TrimSpace(rest)
	if !ok || !strings.HasPrefix(rest, ")") || !ValidName(name, true) {
		return "", "", false
	}
	return name, strings.TrimSpace(rest[1:]), true
}

func (s *shellReader) open(word string, c Cond) {
	if len(s.conds) < maxNesting {
		if word == "while" || word == "until" || strings.HasPrefix(c.Body, "!") {
			c = Cond{}
		}
		s.conds, s.kinds = append(s.conds, c), append(s.kinds, word)
	}
}

// branch is another branch of the innermost if: the one for the failure of its condition if that is known.
func (s *shellReader) branch(c Cond) {
	if n := len(s.conds); n > 0 {
		if c.Not {
			c.Body, c.Not = s.conds[n-1].Body, !s.conds[n-1].Not
		}
		s.conds[n-1] = c
	}
}

func (s *shellReader) close() {
	if n := len(s.conds); n > 0 {
		s.conds, s.kinds = s.conds[:n-1], s.kinds[:n-1]
	}
}

func (s *shellReader) endBrace() {
	if s.braces--; s.braces <= 0 {
		s.function, s.braces = "", 0
	}
}
