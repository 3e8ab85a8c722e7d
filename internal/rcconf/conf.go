// SPDX-License-Identifier: Apache-2.0

package rcconf

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// Redacted is what a recording has in place of a value that was removed.
const Redacted = "[redacted]"

// A Setting is one assignment of a configuration file.
type Setting struct {
	// Name and Value are the variable and what it is set to, quotes and expansions resolved.
	Name, Value string
	// File is the path below the machine's root, with a leading "/"; Line counts from 1.
	File string
	Line int
	// Code says why the value is unknown; empty when it is known.
	Code fact.Code
}

// A Conf is the effect of one or more configuration files, read in order: the last assignment of a
// name wins, and may add to the one before ("${name} more").
type Conf struct {
	// Settings are the assignments in force, in the order of their first appearance.
	Settings []Setting

	// Source is the name of the source, for its problems.
	Source string
	// Parent is what was read before, by everybody; nil for none.
	Parent *Conf
	// Item pays for values outside of ReadLoader and ReadScript; nil for none.
	Item *fact.Item
	// Known are the paths of files that were read before: a script that runs one of them sets again what it set.
	Known []string

	known    []int // the indexes of the settings whose value is known
	at       map[string]int
	over     error               // what a value takes that is more than the file may take
	opaque   Setting             // the first line that may set anything; its File is empty if no line does
	gone     Setting             // the first line that may end the shell; its File is empty if no line does
	ended    bool                // the rest of the file is not run
	doubt    bool                // the rest of the file may not be run
	calls    map[string]bool     // the functions of the scripts, with "" if there may be others
	fixed    map[string]bool     // the variables that are readonly
	reading  string              // the file
	replayed map[string]bool     // those of Known that a script ran
	again    map[string][]replay // what those of Known set
}

// The memory of a setting beside its texts, in bytes, and the steps for each byte that replaces a variable.
const (
	settingSize = 128
	expandWork  = 8
)

// maxSettings and maxConfLine bound what hostile files can make of expansions.
const (
	maxSettings = 16 << 10
	maxConfLine = 64 << 10
)

// Lookup returns the setting in force of a name. A name that is set nowhere that was read counts as set, with a Code,
// if a line may set anything.
func (c *Conf) Lookup(name string) (Setting, bool) {
	for ; c != nil; c = c.Parent {
		if i, ok := c.at[name]; ok {
			return c.Settings[i], true
		}
		if c.opaque.File != "" {
			return Setting{Name: name, File: c.opaque.File, Line: c.opaque.Line, Code: c.opaque.Code}, true
		}
	}
	return Setting{}, false
}

// Opaque returns the line that may set anything that is set nowhere else; ok is false if no line does.
func (c *Conf) Opaque() (s Setting, ok bool) { return c.opaque, c.opaque.File != "" }

// Ends returns the first line that ends, or may end, the shell that runs the files, and what runs them with it; ok is
// false if no line does. What is set behind it is not known.
func (c *Conf) Ends() (s Setting, ok bool) {
	for ; c != nil; c = c.Parent {
		if c.gone.File != "" {
			return c.gone, true
		}
	}
	return Setting{}, false
}

// Words returns the value of a name split at blanks (and at the "," and ";" that the loader's lists allow), with the
// setting that says so; nil when it is not set.
func (c *Conf) Words(name string) ([]string, Setting) {
	s, ok := c.Lookup(name)
	if !ok {
		return nil, s
	}
	return strings.FieldsFunc(s.Value, func(r rune) bool { return strings.ContainsRune(" \t\n,;", r) }), s
}

// List returns the value of a name split at blanks alone, as sh(1) splits the lists of rc.conf(5), with the setting
// that says so; nil when it is not set.
func (c *Conf) List(name string) ([]string, Setting) {
	s, ok := c.Lookup(name)
	if !ok {
		return nil, s
	}
	return strings.FieldsFunc(s.Value, func(r rune) bool { return strings.ContainsRune(" \t\n", r) }), s
}

// Yes reports whether a value means yes to rc(8): YES, TRUE, ON or 1 in any case.
func Yes(value string) bool {
	switch strings.ToLower(value) {
	case "yes", "true", "on", "1":
		return true
	}
	return false
}

// Set sets a variable.
func (c *Conf) Set(s Setting, r *fact.Report) {
	if s.Value == Redacted {
		s.Value, s.Code = "", fact.CodeRedacted
	}
	if c.at == nil {
		c.at = map[string]int{}
	}
	if i, ok := c.at[s.Name]; ok {
		if c.Settings[i].Code != "" && s.Code == "" {
			c.known = append(c.known, i)
		}
		c.Settings[i] = s
		return
	}
	if len(c.Settings) == maxSettings {
		c.bad(r, s.File, s.Line, "more than %d settings", maxSettings)
		c.opaque = Setting{File: s.File, Line: s.Line, Code: fact.CodeTooLarge}
		return
	}
	if s.Code == "" {
		c.known = append(c.known, len(c.Settings))
	}
	c.at[s.Name] = len(c.Settings)
	c.Settings = append(c.Settings, s)
}

func (c *Conf) bad(r *fact.Report, file string, line int, format string, args ...any) {
	r.Problem(c.Source, "", "", &fact.ParseError{Source: file, Line: line, Reason: fmt.Sprintf(format, args...)})
}

// ReadLoader adds a file of loader.conf(5), device.hints(5) or sysctl.conf(5) to the settings: lines name="value",
// name=word, comments. A line that is invalid costs itself, which is reported.
func (c *Conf) ReadLoader(file, text string, r *fact.Report) {
	n := 0
	c.Item = r.Budget.Content([]byte(text))
	defer func() { c.Item.Done(); c.Item = nil }()
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(strings.TrimSuffix(line, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) > maxConfLine {
			c.bad(r, file, n, "line of %d bytes", len(line))
			c.opaque = Setting{File: file, Line: n, Code: fact.CodeTooLarge}
			continue
		}
		c.assignment(file, n, line, r)
	}
}

// assignment reads one name=value of the loader's.
func (c *Conf) assignment(file string, n int, line string, r *fact.Report) {
	name, rest, ok := strings.Cut(line, "=")
	name = strings.TrimRight(name, " \t")
	if !ok || !ValidName(name, false) {
		c.bad(r, file, n, "no assignment")
		return
	}
	v, rest, ok := c.Value(name, strings.TrimLeft(rest, " \t"), false)
	s := Setting{Name: name, Value: escape.UTF8(v), File: file, Line: n}
	if c.over = cmp.Or(c.over, c.Item.Keep(int64(settingSize+len(v)))); c.over != nil {
		c.tooMuch(&s, r)
		rest = ""
	} else if !ok {
		s.Value, s.Code = "", fact.CodeUnsupported
		c.bad(r, file, n, "%s: the value is computed, or its quotes do not end", escape.Text(name))
		rest = ""
	}
	c.Set(s, r)
	rest = strings.TrimLeft(rest, " \t;")
	if rest != "" && rest[0] != '#' {
		c.bad(r, file, n, "text after the value")
	}
}

// tooMuch makes the value of a setting unknown, because it takes more than its file may take.
func (c *Conf) tooMuch(s *Setting, r *fact.Report) {
	s.Value, s.Code = "", fact.CodeOf(c.over)
	r.Problem(c.Source, "", "", &fact.ParseError{Source: s.File, Line: s.Line, Reason: c.over.Error(), Err: c.over})
	c.over = nil
}

// ValidName reports whether s can be a variable's name: a shell's, or a loader's (hint.fd.0.at).
func ValidName(s string, shell bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && (i > 0 || !shell):
		case !shell && strings.IndexByte(".-/+%,*?", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// Value reads one value, quoted or not, with ${other} replaced by the setting in force.
func (c *Conf) Value(name, s string, shell bool) (v, rest string, ok bool) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); {
		ch := s[i]
		switch {
		case quote != 0 && ch == quote:
			quote = 0
			i++
			if !shell {
				return b.String(), s[i:], true
			}
		case quote == 0 && (ch == '"' || ch == '\'' && shell):
			quote = ch
			i++
		case quote == 0 && (ch == ' ' || ch == '\t' || ch == ';' && shell || ch == '#' && !shell):
			return b.String(), s[i:], true
		case ch == '~' && shell && quote == 0 && (i == 0 || s[i-1] == ':'):
			return "", "", false // somebody's home
		case ch == '\\' && shell && quote == '"' && i+1 < len(s) && !isByte(s[i+1], "$`\"\\\n"):
			b.WriteByte(ch)
			i++
		case ch == '\\' && quote != '\'' && i+1 < len(s):
			b.WriteByte(s[i+1])
			i += 2
		case ch == '`' && quote != '\'' && shell:
			return "", "", false
		case ch == '$' && quote != '\'':
			n := c.expand(&b, name, s[i:], shell)
			if n == 0 {
				return "", "", false
			}
			i += n
		default:
			b.WriteByte(ch)
			i++
		}
		if b.Len() > maxConfLine {
			return "", "", false
		}
	}
	return b.String(), "", quote == 0
}

// expand writes the value of the variable that s begins with, and returns how long its name is; 0 if that is unknown.
// of is the variable that is being set: nothing set it before.
func (c *Conf) expand(b *strings.Builder, of, s string, shell bool) int {
	name, n := "", 0
	if strings.HasPrefix(s, "${") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return 0
		}
		name, n = s[2:end], end+1
	} else {
		n = 1
		for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
			n++
		}
		name = s[1:n]
	}
	if !ValidName(name, shell) {
		return 0
	}
	v, ok := c.Lookup(name)
	if v.Code != "" || !ok && shell && (name != of || name == strings.ToUpper(name)) {
		return 0 // of the environment, or set by what was not read
	}
	if c.over = c.Item.Work(int64(expandWork * len(v.Value))); c.over != nil {
		return 0
	}
	b.WriteString(v.Value)
	return n
}
