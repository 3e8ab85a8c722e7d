// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A token is a word, an operator or a redirection of a script.
type token struct {
	// op is the operator, "\n" among them; "<" for every redirection, "EOF" at the end, and empty for a word.
	op string
	// text is the word or the redirection as it is written, without continued lines.
	text string
	line int
}

// word reports whether the token is that word, without quotes.
func (t token) word(w string) bool { return t.op == "" && t.text == w }

// A document is a here-document whose lines are still to come.
type document struct {
	end          string
	quoted, tabs bool
}

// A lexer takes a script apart by the token recognition of the shell (POSIX.1, Shell Command Language, 2.3).
type lexer struct {
	text    string
	at      int
	line    int
	back    *token // read again
	docs    []document
	strange bool               // some shell may refuse a redirection, or what a here-document runs
	effects bool               // a here-document may set variables, or end the script
	comment func(from, to int) // gets the place of each comment; may be nil
	inner   []string           // the commands that words substitute
	err     error              // what the rest cannot be read for
	item    *fact.Item
}

// fail ends the reading at the current line.
func (l *lexer) fail(reason string) {
	if l.err == nil {
		l.err = &fact.ParseError{Line: l.line, Reason: reason, Err: fact.ErrMalformed}
	}
	l.at = len(l.text)
}

// unread gives a token back.
func (l *lexer) unread(t token) { l.back = &t }

// operators are longest first.
var operators = [...]string{"&&", "||", ";;", ";&", ";", "&", "|", "(", ")"}

// next returns the next token.
func (l *lexer) next() token {
	if t := l.back; t != nil {
		l.back = nil
		return *t
	}
	l.blanks()
	t := token{line: l.line}
	rest := l.text[l.at:]
	switch {
	case rest == "":
		if t.op = "EOF"; len(l.docs) > 0 {
			l.fail("a here-document does not end")
		}
		return t
	case rest[0] == '\n':
		t.op = "\n"
		l.at, l.line = l.at+1, l.line+1
		l.documents()
		return t
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			l.at += len(op)
			t.op = op
			return t
		}
	}
	if n := len(rest) - len(strings.TrimLeft(rest, "0123456789")); n < len(rest) && isByte(rest[n], "<>") {
		l.at += n
		t.op, t.text = "<", rest[:n]+l.redirection()
		return t
	}
	t.text = l.word()
	return t
}

func isByte(b byte, set string) bool { return strings.IndexByte(set, b) >= 0 }

// blanks skips blanks, continued lines and a comment.
func (l *lexer) blanks() {
	for l.at < len(l.text) {
		switch rest := l.text[l.at:]; {
		case rest[0] == ' ' || rest[0] == '\t':
			l.at++
		case strings.HasPrefix(rest, "\\\n"):
			l.at, l.line = l.at+2, l.line+1
		case rest[0] == '#':
			l.skipComment()
			return
		default:
			return
		}
	}
}

// skipComment goes to the end of the line.
func (l *lexer) skipComment() {
	n := strings.IndexByte(l.text[l.at:], '\n')
	if n < 0 {
		n = len(l.text) - l.at
	}
	if l.comment != nil {
		l.comment(l.at, l.at+n)
	}
	l.at += n
}

// redirection reads an operator of redirection and its word.
func (l *lexer) redirection() string {
	rest := l.text[l.at:]
	op := rest[:1]
	for _, long := range []string{"<<-", "<<", "<&", "<>", ">>", ">&", ">|"} {
		if strings.HasPrefix(rest, long) {
			op = long
			break
		}
	}
	l.at += len(op)
	l.blanks()
	if l.at == len(l.text) || isByte(l.text[l.at], "\n;&|()<>") {
		l.fail("a redirection to nothing")
		return op
	}
	word := l.word()
	if op[1:] == "&" && (len(word) != 1 || !isByte(word[0], "-0123456789")) {
		l.strange = true
	}
	if l.at < len(l.text) && isByte(l.text[l.at], "<>") && strings.Trim(word, "0123456789") == "" {
		l.strange = true // the number may belong to the next redirection
	}
	if strings.HasPrefix(op, "<<") {
		l.document(word, op == "<<-")
	}
	return op + word
}

// document notes a here-document that begins after this line.
func (l *lexer) document(word string, tabs bool) {
	if strings.ContainsAny(word, "$`") {
		l.fail("the end of a here-document is computed")
		return
	}
	var end strings.Builder
	quote := byte(0)
	for i := 0; i < len(word); i++ {
		switch ch := word[i]; {
		case quote == 0 && isByte(ch, `'"`):
			quote = ch
		case quote != 0 && ch == quote:
			quote = 0
		case ch == '\\' && quote == 0 && i+1 < len(word):
			i++
			end.WriteByte(word[i])
		case ch == '\\':
			l.fail("the end of a here-document has a backslash")
		default:
			end.WriteByte(ch)
		}
	}
	l.docs = append(l.docs, document{end.String(), end.String() != word, tabs})
}

// documents skips the here-documents that begin at this line.
func (l *lexer) documents() {
	for _, d := range l.docs {
		l.skipDocument(d)
	}
	l.docs = nil
}

// skipDocument skips the lines of a here-document up to the one that is its end word alone. A line that continues
// another after a backslash is not one, unless the end is quoted.
func (l *lexer) skipDocument(d document) {
	for continued := false; l.at < len(l.text); {
		line, _, _ := strings.Cut(l.text[l.at:], "\n")
		l.at, l.line = min(l.at+len(line)+1, len(l.text)), l.line+1
		if d.tabs {
			line = strings.TrimLeft(line, "\t")
		}
		if !continued && line == d.end {
			return
		}
		if d.quoted {
			continue
		}
		whole := strings.TrimRight(line, `\`)
		first := !continued
		continued = (len(line)-len(whole))%2 == 1
		if continued && first && strings.HasPrefix(d.end, whole) || opens(line) {
			l.fail("the end of a here-document is not certain")
			return
		}
		names, more := effects(line, false)
		l.effects = l.effects || more || len(names) > 0
		l.strange = l.strange || strings.Contains(line, "`") || strings.Contains(line, "$(")
	}
	l.fail("a here-document does not end")
}

// opens reports whether a line of a here-document begins an expansion that another line may end.
func opens(line string) bool {
	return strings.Count(line, "`")%2 == 1 || strings.Count(line, "${") > strings.Count(line, "}") ||
		strings.Count(line, "$(") > strings.Count(line, ")")
}

// What is open inside a word, beside quotes, which are their own sign.
const (
	inBrace  = '{' // ${, outside of double quotes
	inQuoted = 'q' // ${, inside double quotes or arithmetic
	inParens = '(' // $( or a parenthesis inside it
	inNumber = '+' // $((
	inGroup  = ')' // a parenthesis inside $((
)

// A wordReader reads one word.
type wordReader struct {
	*lexer
	out  strings.Builder
	open []byte // what is open, the innermost last
	// parens are how many parentheses of $( are open, and command is where in out the commands inside the first begin.
	parens, command int
}

// maxOpen is how many quotes and expansions may be open inside each other.
const maxOpen = 256

func (w *wordReader) push(b byte) {
	if b == inParens {
		if w.parens++; w.parens == 1 {
			w.command = w.out.Len()
		}
	}
	if w.open = append(w.open, b); len(w.open) > maxOpen {
		w.fail("too many quotes inside each other")
	}
}

func (w *wordReader) pop() {
	if w.top() == inParens {
		if w.parens--; w.parens == 0 {
			w.inner = append(w.inner, w.out.String()[w.command:])
		}
	}
	w.open = w.open[:len(w.open)-1]
}

// top returns what is open; 0 outside of everything.
func (w *wordReader) top() byte {
	if n := len(w.open); n > 0 {
		return w.open[n-1]
	}
	return 0
}

// take moves n bytes to the word.
func (w *wordReader) take(n int) {
	part := w.text[w.at:min(w.at+n, len(w.text))]
	w.out.WriteString(part)
	w.at += len(part)
	lines := strings.Count(part, "\n")
	if w.line += lines; lines > 0 && len(w.docs) > 0 {
		w.fail("a here-document begins inside a word")
	}
}

// word reads the word that begins here, with all that is quoted and substituted in it.
func (l *lexer) word() string {
	w := &wordReader{lexer: l}
	for l.at < len(l.text) && (len(w.open) > 0 || !isByte(l.text[l.at], " \t\n;&|()<>")) {
		w.step()
	}
	if len(w.open) > 0 {
		l.fail("a quote or an expansion does not end")
	}
	return w.out.String()
}

// step reads a byte of a word, or what it begins.
func (w *wordReader) step() {
	rest, top := w.text[w.at:], w.top()
	switch ch := rest[0]; {
	case strings.HasPrefix(rest, "\\\n"):
		if strings.HasSuffix(w.out.String(), "$") {
			w.fail("a line that continues after $")
		}
		w.at, w.line = w.at+2, w.line+1
	case ch == '\\':
		w.take(2)
	case ch == '\'' && (top == 0 || top == inBrace || top == inParens):
		w.until("'", 1)
	case ch == '"' && top == '"':
		w.take(1)
		w.pop()
	case ch == '"' && (top == 0 || top == inBrace || top == inParens):
		w.take(1)
		w.push('"')
	case isByte(ch, `'"`) && top != '"':
		w.ambiguous(ch)
	case ch == '`':
		w.backquotes()
	case ch == '$':
		w.dollar(rest, top)
	case ch == '}' && (top == inBrace || top == inQuoted):
		w.take(1)
		w.pop()
	case top == inParens:
		w.inside(rest)
	case top == inNumber || top == inGroup:
		w.number(rest)
	default:
		w.take(1)
	}
}

// until takes all up to a sign, from skip on, and the sign.
func (w *wordReader) until(sign string, skip int) {
	n := strings.Index(w.text[w.at+skip:], sign)
	if n < 0 {
		w.fail("a quote does not end")
		return
	}
	w.take(skip + n + len(sign))
}

// ambiguous takes a quoted part in a ${ that is quoted itself, where one shell sees the quote and another does not. It
// is read if both see the same end.
func (w *wordReader) ambiguous(quote byte) {
	rest := w.text[w.at+1:]
	n := strings.IndexByte(rest, quote)
	if n < 0 || strings.ContainsAny(rest[:n], "}\"'\\$`\n") || w.top() != inQuoted {
		w.fail("quotes inside a quoted expansion")
		return
	}
	w.take(n + 2)
}

// backquotes takes a command between backquotes, which only a backslash keeps from its end.
func (w *wordReader) backquotes() {
	for i := w.at + 1; i < len(w.text); i++ {
		switch w.text[i] {
		case '\\':
			i++
		case '`':
			inner := w.text[w.at+1 : i]
			w.take(i + 1 - w.at)
			for _, ch := range []string{"`", "$", `\`} {
				inner = strings.ReplaceAll(inner, `\`+ch, ch)
			}
			w.inner = append(w.inner, inner)
			return
		}
	}
	w.fail("a backquote does not end")
}

// dollar takes what a "$" begins.
func (w *wordReader) dollar(rest string, top byte) {
	switch {
	case strings.HasPrefix(rest, "$(("):
		w.take(3)
		w.push(inNumber)
	case strings.HasPrefix(rest, "$("):
		w.take(2)
		w.push(inParens)
	case strings.HasPrefix(rest, "${") && (top == 0 || top == inBrace || top == inParens):
		w.take(2)
		w.push(inBrace)
	case strings.HasPrefix(rest, "${"):
		w.take(2)
		w.push(inQuoted)
	case strings.HasPrefix(rest, "$'") && (top == 0 || top == inBrace || top == inParens):
		text, _, _ := strings.Cut(rest[2:], "'")
		if strings.HasSuffix(text, `\`) || strings.HasSuffix(text, `\c`) { // some shells go on behind the quote
			w.fail("an escaped quote in $'…'")
			return
		}
		w.until("'", 2)
	default:
		w.take(1)
	}
}

// inside reads a byte of a command inside $(. What may have a ")" that is not the end is not read: case, a
// here-document.
func (w *wordReader) inside(rest string) {
	out := w.out.String() // it has "$(" at least
	begins := isByte(out[len(out)-1], " \t\n;&|()")
	switch {
	case rest[0] == '(':
		w.take(1)
		w.push(inParens)
	case rest[0] == ')':
		w.pop()
		w.take(1)
	case rest[0] == '#' && begins && out[len(out)-2] == '\\':
		w.fail("a comment after a backslash")
	case rest[0] == '#' && begins:
		w.skipComment()
	case strings.HasPrefix(rest, "<<"):
		w.fail("a here-document inside $(")
	case begins && strings.HasPrefix(rest, "case") && len(rest) > 4 && isByte(rest[4], " \t\n\\"):
		w.fail("case inside $(")
	default:
		w.take(1)
	}
}

// number reads a byte inside $((, which "))" ends.
func (w *wordReader) number(rest string) {
	switch {
	case rest[0] == '(':
		w.push(inGroup)
	case rest[0] != ')':
	case w.top() == inGroup:
		w.pop()
	case strings.HasPrefix(rest, "))"):
		w.take(1)
		w.pop()
	default:
		w.fail("$(( does not end")
		return
	}
	w.take(1)
}
