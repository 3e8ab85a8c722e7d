// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"errors"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Command is one simple command of a shell script.
type Command struct {
	// Line is where it begins, counted from 1.
	Line int
	// Body is the command without the reserved words before it: its words and redirections, with a blank between them.
	// The heads of for and case are commands, too: "for NAME in WORD", "case WORD". What the reader cannot follow is
	// the command "eval".
	Body string
	// Function is the function whose body has it; empty outside of functions.
	Function string
	// Conds are what must hold for it to run, the outermost first.
	Conds []Cond
	// Subshell is set if the command runs in a subshell, where variables that it sets end.
	Subshell bool
	// Within is set if it is a part of another command: of a compound one, or of those that && and || join.
	Within bool
}

// A Cond is a condition of a command: of if, case, a loop, && or ||.
type Cond struct {
	// Body is the command whose success decides; empty if that is not known.
	Body string
	// Not is set if its failure decides.
	Not bool
}

// not returns the opposite condition.
func (c Cond) not() Cond {
	if c.Body != "" {
		c.Not = !c.Not
	}
	return c
}

// Words splits a command at what the shell's grammar calls blanks, and at newlines; quotes stay. A carriage return is
// part of a word, as it is for the shell.
func (c *Command) Words() []string {
	return strings.FieldsFunc(c.Body, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
}

// The bounds of what is followed: how deep commands lie inside each other, and how many commands that && joins are
// kept as conditions.
const (
	maxNesting = 64
	maxJoined  = 8
)

// The memory of a command beside its text and of one of its conditions, in bytes, and the steps that a command takes.
const (
	commandSize = 96
	condSize    = 40
	commandWork = 512
)

// Memory returns how much keeping a command takes, in bytes.
func (c *Command) Memory() int64 { return int64(commandSize + len(c.Body) + condSize*len(c.Conds)) }

// A list is a place in a list of commands: of the script, or of a compound command.
type list struct {
	// kind is the reserved word that begins the list: if, elif, then, else, while, do, for, case, "{" or "("; empty for
	// the script.
	kind     string
	outer    []Cond // what must hold for the list
	subshell bool
	function string
	defines  bool // it is the body of function

	when     []Cond // what must hold for the pipeline beside outer: the commands before it that && and || join
	either   bool   // || joins the last of them
	piped    bool   // a "|" is before the command
	not      bool   // a "!" is before it
	pending  bool   // an operator is before it, which needs a command
	last     Cond   // the success of the last command
	commands int    // of the list
	joined   int    // commands since the last ";"
	decides  Cond   // of then: the condition of if
}

// A shellReader finds the commands of a script by the shell's grammar (POSIX.1, Shell Command Language, 2.10), without
// running anything. It does not call itself for what lies inside.
type shellReader struct {
	lexer
	list
	around  []list // the lists around this one, the outermost first
	ended   string // the kind of the compound command that was read last; empty after a simple one
	ready   bool   // a command may begin here
	more    bool   // && or || is behind the command
	define  string // the function whose body comes next
	inside  bool   // it reads what a word substitutes
	refuses bool   // some shell refuses the script where it is read
	each    func(c Command)
}

// ReadShell calls each for every simple command of a script. Bodies of here-documents are left out. The error says that
// the script takes more than item allows, or is not what the shell's grammar allows, or more than is followed: the rest
// was not read.
func ReadShell(text string, item *fact.Item, each func(c Command)) error {
	return readShell(text, item, each, nil)
}

// Uncomment returns a script with blanks in place of its comments. What cannot be read keeps them.
func Uncomment(text string, item *fact.Item) string {
	out := []byte(text)
	_ = readShell(text, item, func(Command) {}, func(from, to int) { // what is read before an error counts
		for i := from; i < to; i++ {
			out[i] = ' '
		}
	})
	return string(out)
}

func readShell(text string, item *fact.Item, each func(c Command), comment func(from, to int)) error {
	s := &shellReader{lexer: lexer{text: text, line: 1, item: item, comment: comment}, each: each, ready: true}
	if i := strings.IndexByte(text, 0); i >= 0 {
		s.text = text[:i]
	}
	s.run()
	if s.err == nil && len(s.text) < len(text) {
		s.fail("a byte that no text has")
	}
	return s.err
}

// run reads the script to its end.
func (s *shellReader) run() {
	for more := true; more && s.err == nil; {
		more = s.token(s.next())
	}
}

// token follows one token. It returns false at the end of the script.
func (s *shellReader) token(t token) bool {
	s.work(len(t.text))
	if s.effects {
		s.effects = false
		s.unclear(t.line)
	}
	s.substituted(t.line)
	switch {
	case t.op == "EOF":
		if len(s.around) > 0 || s.pending || s.define != "" {
			s.fail("a command does not end")
		}
		return false
	case t.op == "\n" && s.ready:
	case s.ready:
		s.begin(t)
	default:
		s.after(t)
	}
	return true
}

// work asks for n more steps.
func (s *shellReader) work(n int) {
	if s.err == nil {
		s.err = s.item.Work(int64(n + 1))
	}
}

// compound are the reserved words that begin a compound command.
var compound = []string{"{", "if", "while", "until", "for", "case"}

// begin follows the first token of a command.
func (s *shellReader) begin(t token) {
	switch {
	case s.define != "" && t.op != "(" && !slices.Contains(compound, t.text):
		s.fail("a function that is no compound command")
	case s.kind == "for" && !t.word("do"):
		s.fail("for without do")
	case t.op == "(" && strings.HasPrefix(s.text[s.at:], "("):
		s.fail("((")
	case t.op == "(":
		s.push("(")
		s.subshell = true
	case t.op == ")" && s.kind == "(" && !s.pending:
		s.pop()
	case (t.op == ";;" || t.op == ";&") && s.kind == "case" && !s.pending:
		s.patterns()
	case t.op == "" && s.reserved(t):
	case t.op == "", t.op == "<":
		s.simple(t)
	default:
		s.fail("no command before " + t.op)
	}
}

// after follows a token after a command.
func (s *shellReader) after(t token) {
	block := s.ended == "{" || s.ended == "then" || s.ended == "else"
	switch t.op {
	case "\n", ";", "&":
		if t.op == "&" && (block || s.joined > 1) {
			s.unclear(t.line) // it ran in a subshell
		}
		s.separate()
	case "&&", "||":
		s.join(t.op == "||")
	case "|":
		if block {
			s.unclear(t.line)
		}
		s.piped, s.pending, s.ready = true, true, true
	case "<":
		if block {
			s.unclear(t.line) // the file may not be there
		}
	case ")", ";;", ";&":
		s.separate()
		s.begin(t)
	default:
		if s.separate(); t.op != "" || s.ended == "" || !s.closing(t.text) {
			s.fail("text after a command")
		}
	}
}

// separate ends a list that && and || join.
func (s *shellReader) separate() {
	s.when, s.either, s.piped, s.joined, s.ready = nil, false, false, 0, true
}

// join follows && or ||, which make the next command depend on those before.
func (s *shellReader) join(or bool) {
	last := s.last
	if s.piped {
		last = Cond{}
	}
	switch {
	case or && len(s.when) == 0:
		s.when = []Cond{last.not()}
	case or, s.either, len(s.when) == maxJoined:
		s.when = []Cond{{}}
	default:
		s.when = append(slices.Clip(s.when), last)
	}
	s.either, s.piped, s.pending, s.ready = or, false, true, true
}

// conds returns what must hold for the next command.
func (s *shellReader) conds() []Cond {
	var piped []Cond
	if s.piped {
		piped = []Cond{{}}
	}
	return slices.Concat(s.outer, s.when, piped)
}

// emit hands a command on.
func (s *shellReader) emit(line int, body string, subshell bool) {
	s.substituted(line)
	conds := s.conds()
	if len(conds) > maxNesting {
		s.fail("too many conditions")
	}
	if s.work(commandWork + len(body) + condSize*len(conds)); s.err == nil {
		s.each(Command{line, body, s.function, conds, subshell || s.subshell, s.more || len(s.around) > 0})
	}
}

// unclear hands on that something here may set any variable, or end the script.
func (s *shellReader) unclear(line int) { s.emit(line, "eval", false) }

// done notes that a command was read.
func (s *shellReader) done(success Cond, kind string) {
	if s.not {
		success = success.not()
	}
	s.last, s.ended = success, kind
	s.not, s.pending, s.ready = false, false, false
	s.commands++
	s.joined++
}

// simple reads a simple command, or a definition NAME().
func (s *shellReader) simple(t token) {
	line := t.line
	var words []string
	for size := 0; (t.op == "" || t.op == "<") && s.err == nil; t = s.next() {
		words = append(words, t.text)
		size += len(t.text)
		s.work(len(t.text))
	}
	if s.err != nil {
		return
	}
	if t.op == "(" {
		s.definition(words)
		return
	}
	s.unread(t)
	body := strings.Join(words, " ")
	s.more = t.op == "&&" || t.op == "||"
	s.emit(line, body, t.op == "|" || t.op == "&")
	s.done(Cond{Body: body}, "")
}

// definition begins a function after its "(".
func (s *shellReader) definition(words []string) {
	if t := s.next(); t.op != ")" || len(words) != 1 || strings.ContainsAny(words[0], "\"'\\`$=<>*?[~") {
		s.fail("parentheses after a word")
		return
	}
	if s.define = words[0]; !ValidName(s.define, true) || special(s.define) {
		s.refuse(s.line)
	}
}

// push begins a compound command.
func (s *shellReader) push(kind string, more ...Cond) {
	if len(s.around) == maxNesting {
		s.fail("commands too deep inside each other")
		return
	}
	outer := append(s.conds(), more...)
	s.around = append(s.around, s.list)
	s.list = list{kind: kind, outer: outer, subshell: s.subshell, function: s.function}
	if s.define != "" {
		s.function, s.defines, s.define = s.define, true, ""
	}
	s.ready = true
}

// pop ends a compound command.
func (s *shellReader) pop() {
	kind := s.kind
	if kind != "case" {
		s.refuseEmpty()
	}
	if s.defines {
		kind = "function"
	}
	n := len(s.around) - 1
	s.list, s.around = s.around[n], s.around[:n]
	s.done(Cond{}, kind)
}

// refuse hands on that some shell refuses the script where this is read, and ends.
func (s *shellReader) refuse(line int) {
	s.refuses = true
	if s.work(commandWork); s.err == nil {
		s.each(Command{Line: line, Body: "eval"})
	}
}

// refuseEmpty refuses an empty list.
func (s *shellReader) refuseEmpty() {
	if s.commands == 0 && s.err == nil {
		s.refuse(s.line)
	}
}

// substituted reads the commands that words substitute, which the shell reads when it reads the word.
func (s *shellReader) substituted(line int) {
	if s.strange {
		s.strange = false
		s.refuse(line)
	}
	for !s.inside && len(s.inner) > 0 && s.err == nil {
		in := &shellReader{lexer: lexer{text: s.inner[0], line: 1, item: s.item}, each: func(Command) {}, ready: true,
			inside: true}
		in.run()
		s.inner = append(s.inner[1:], in.inner...)
		switch {
		case in.err != nil && !errors.Is(in.err, fact.ErrMalformed):
			s.err = in.err
		case in.err != nil || in.refuses:
			s.inner = nil
			s.refuse(line)
		}
	}
}

// turn begins the next list of the compound command.
func (s *shellReader) turn(kind string, last Cond) {
	if s.kind != "for" {
		s.refuseEmpty()
	}
	n := len(s.around) - 1
	outer := append(slices.Clip(s.outerOf(n)), last)
	s.list = list{kind: kind, outer: outer, subshell: s.subshell, function: s.function, defines: s.defines,
		decides: last}
	s.ready, s.ended = true, ""
}

// outerOf returns what must hold for the compound command that list n is around.
func (s *shellReader) outerOf(n int) []Cond {
	inner := s.list
	s.list = s.around[n]
	outer := s.conds()
	s.list = inner
	return outer
}

// reserved follows a reserved word, and reports whether the word is one.
func (s *shellReader) reserved(t token) bool {
	if s.pending && isCloser(t.text) {
		s.fail("no command before " + t.text)
		return true
	}
	switch t.text {
	case "!":
		s.not, s.pending = !s.not, true
	case "if":
		s.push("if")
	case "while", "until":
		s.push("while", Cond{})
	case "for":
		s.loop(t.line)
	case "case":
		s.choice(t.line)
	case "{":
		s.push("{")
	default:
		return s.closing(t.text)
	}
	return true
}

// isCloser reports whether a word continues or ends a compound command.
func isCloser(word string) bool {
	switch word {
	case "then", "elif", "else", "fi", "do", "done", "esac", "}":
		return true
	}
	return false
}

// closing follows a reserved word that continues or ends a compound command.
func (s *shellReader) closing(word string) bool {
	if !isCloser(word) {
		return false
	}
	switch on := s.kind + " " + word; on {
	case "if then", "elif then":
		decides := Cond{}
		if s.commands == 1 && s.kind == "if" {
			decides = s.last
		}
		s.turn("then", decides)
	case "then elif":
		s.turn("elif", Cond{})
	case "then else":
		s.turn("else", s.decides.not())
	case "while do", "for do":
		s.turn("do", Cond{})
	case "then fi", "else fi", "do done", "case esac", "{ }":
		s.pop()
	default:
		s.fail(word + " without its beginning")
	}
	return true
}

// loop reads the head of a for.
func (s *shellReader) loop(line int) {
	name := s.next()
	if s.push("for", Cond{}); name.op != "" {
		s.fail("for without a name")
		return
	}
	words := []string{"for", name.text}
	t := s.skipLines()
	switch {
	case t.word("in"):
		words = append(words, t.text)
		for t = s.next(); t.op == ""; t = s.next() {
			words = append(words, t.text)
			s.work(len(t.text))
		}
		if t.op != ";" && t.op != "\n" {
			s.fail("the words of a for")
		}
	case t.op != ";":
		s.unread(t)
	}
	s.emit(line, strings.Join(words, " "), false)
}

// choice reads the head of a case, up to the commands of its first pattern.
func (s *shellReader) choice(line int) {
	word := s.next()
	s.push("case", Cond{})
	if in := s.skipLines(); word.op != "" || !in.word("in") {
		s.fail("case without in")
		return
	}
	s.emit(line, "case "+word.text, false)
	s.patterns()
}

// patterns reads the patterns before the commands of a case, or its end.
func (s *shellReader) patterns() {
	s.separate()
	t := s.skipLines()
	if t.word("esac") {
		s.pop()
		return
	}
	if t.op == "(" {
		t = s.next()
	}
	for more := true; more && s.err == nil; {
		if t.op != "" {
			s.fail("no pattern")
		}
		if names, odd := effects(t.text, true); odd || len(names) > 0 {
			s.unclear(t.line)
		}
		switch end := s.next(); end.op {
		case "|":
			t = s.next()
		case ")":
			more = false
		default:
			s.fail("a pattern does not end")
		}
		s.work(len(t.text))
	}
}

// skipLines returns the next token that is not the end of a line.
func (s *shellReader) skipLines() token {
	t := s.next()
	for t.op == "\n" && s.err == nil {
		t = s.next()
	}
	return t
}
