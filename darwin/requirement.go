// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"crypto"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/sign"
)

// Caps for one requirement. Real ones have 300 bytes.
const (
	maxRequirement      = 4096
	maxRequirementWords = 512
)

// requirementWord is a word of a requirement: a comment, a text in quotation marks, a hash, a bracketed part of a
// certificate, or a plain word (Security, RequirementLexer).
var requirementWord = lazy.Regexp{Pattern: `^\s*(/\*[^*]*\*/|"[^"\\]*"|H"[0-9a-fA-F]*"|\[[^\]"]*\]|[()!]|=|` +
	`[A-Za-z0-9_.:-]+)\s*`}

// requirementWords splits the text of a requirement; ok is false if it has anything that is not known. Comments are
// left out.
func requirementWords(text string) (words []string, ok bool) {
	if len(text) > maxRequirement {
		return nil, false
	}
	for text != "" {
		m := requirementWord.FindStringSubmatch(text)
		if m == nil || len(words) == maxRequirementWords {
			return nil, false
		}
		if !strings.HasPrefix(m[1], "/*") {
			words = append(words, m[1])
		}
		text = text[len(m[0]):]
	}
	return words, true
}

// meets says whether the signed code meets a requirement, as the text that a seal has of it. It is unknown if the text
// has a form that is not known, or says something that was not read.
func (c *CodeSignature) meets(text string) fact.Tri {
	words, ok := requirementWords(text)
	if !ok {
		return ""
	}
	e := expression{words: words}
	for len(e.words) > 0 && !e.wrong {
		if !e.operator() {
			e.push(c.term(&e))
		}
	}
	return e.result()
}

// An expression is a requirement while it is evaluated: "or" binds least, then "and", then "!".
type expression struct {
	words  []string // not read yet
	values []fact.Tri
	ops    []string
	after  bool // a value was read last, so that an operator must follow
	wrong  bool // the words are invalid
}

// requirementRank returns how strongly an operator binds; 0 for a word that is not an operator.
func requirementRank(op string) int { return slices.Index([]string{"", "or", "and", "!"}, op) }

// operator takes an operator or a parenthesis, if that is next.
func (e *expression) operator() bool {
	w := e.words[0]
	switch w {
	case "(", "!":
		e.wrong = e.wrong || e.after
		e.ops = append(e.ops, w)
	case ")", "and", "or":
		e.wrong = e.wrong || !e.after
		for n := len(e.ops); n > 0 && e.ops[n-1] != "(" && requirementRank(e.ops[n-1]) >= requirementRank(w); n-- {
			e.apply()
		}
		if n := len(e.ops); w != ")" {
			e.ops, e.after = append(e.ops, w), false
		} else if n == 0 {
			e.wrong = true
		} else {
			e.ops = e.ops[:n-1]
		}
	default:
		return false
	}
	e.words = e.words[1:]
	return true
}

// push adds a value.
func (e *expression) push(v fact.Tri) {
	e.wrong = e.wrong || e.after
	e.values, e.after = append(e.values, v), true
}

// apply applies the last operator to the last values.
func (e *expression) apply() {
	n := len(e.values)
	op := e.ops[len(e.ops)-1]
	e.ops = e.ops[:len(e.ops)-1]
	if n < 2 && op != "!" || n < 1 || op == "(" {
		e.wrong = true
		return
	}
	v := e.values[n-1]
	switch op {
	case "!":
		if v != "" {
			e.values[n-1] = fact.TriOf(v == fact.No)
		}
		return
	case "and":
		v = both(e.values[n-2], v, fact.No)
	case "or":
		v = both(e.values[n-2], v, fact.Yes)
	}
	e.values = append(e.values[:n-2], v)
}

// both joins two answers, of which one that decides is enough.
func both(a, b, decides fact.Tri) fact.Tri {
	switch {
	case a == decides || b == decides:
		return decides
	case a == "" || b == "":
		return ""
	}
	return a
}

// result returns the value of the whole expression.
func (e *expression) result() fact.Tri {
	for len(e.ops) > 0 && !e.wrong {
		e.apply()
	}
	if e.wrong || len(e.values) != 1 {
		return ""
	}
	return e.values[0]
}

// next takes the next word; "" at the end.
func (e *expression) next() string {
	if len(e.words) == 0 {
		return ""
	}
	w := e.words[0]
	e.words = e.words[1:]
	return w
}

// take takes the next word if it is w.
func (e *expression) take(w string) bool {
	if len(e.words) == 0 || e.words[0] != w {
		return false
	}
	e.words = e.words[1:]
	return true
}

// term evaluates one condition (Security, requirement language; reqinterp.cpp).
func (c *CodeSignature) term(e *expression) fact.Tri {
	switch e.next() {
	case "identifier":
		e.take("=")
		return fact.TriOf(strings.Trim(e.next(), `"`) == c.Identifier)
	case "cdhash":
		e.take("=")
		digits, ok := hashDigits(e.next())
		if !ok {
			e.wrong = true
		}
		return fact.TriOf(c.hasCDHash(digits))
	case "always", "true":
		return fact.Yes
	case "never", "false":
		return fact.No
	case "anchor":
		return c.anchorTerm(e)
	case "certificate", "cert":
		return c.certificateTerm(e)
	}
	e.wrong = true // its meaning is unknown
	return ""
}

// hashDigits returns the digits of a hash, in lower case.
func hashDigits(w string) (string, bool) {
	digits, ok := strings.CutPrefix(w, `H"`)
	return strings.ToLower(strings.TrimSuffix(digits, `"`)), ok
}

// anchorTerm evaluates "anchor apple" and "anchor apple generic".
func (c *CodeSignature) anchorTerm(e *expression) fact.Tri {
	if !e.take("apple") {
		e.wrong = true
		return ""
	}
	generic := e.take("generic")
	switch {
	case c.Anchor == AnchorApple, generic && c.Anchor == AnchorGeneric:
		return fact.Yes
	case c.Anchor != "", len(c.cms) == 0, c.keySet != "", c.appleGiven:
		return fact.No
	}
	return "" // Apple's roots were not compared with the chain
}

// certificateTerm evaluates a condition of one certificate: a field that is there, a part of its subject, its hash.
func (c *CodeSignature) certificateTerm(e *expression) fact.Tri {
	slot := e.next()
	cert, known := c.certificate(slot)
	part := ""
	if len(e.words) > 0 && strings.HasPrefix(e.words[0], "[") {
		part = strings.Trim(e.next(), "[]")
	}
	value, compared := "", e.take("=")
	if compared {
		value = e.next()
	}
	e.take("exists")
	switch {
	case !known:
		return ""
	case cert == nil:
		return fact.No
	case part == "" && compared:
		digits, ok := hashDigits(value)
		sum := hashing.Sum(crypto.SHA1, cert.Raw)
		if !ok || sum == nil {
			return ""
		}
		return fact.TriOf(hex.EncodeToString(sum) == digits)
	case strings.HasPrefix(part, "field.") && !compared:
		return fact.TriOf(slices.Contains(extensions(cert), strings.TrimPrefix(part, "field.")))
	case part == "subject.OU" && compared:
		return fact.TriOf(nameUnit(cert.Subject) == strings.Trim(value, `"`))
	case part == "subject.CN" && compared:
		return fact.TriOf(cert.Subject.CommonName() == strings.Trim(value, `"`))
	case part == "subject.O" && compared:
		return fact.TriOf(cert.Subject.Organization() == strings.Trim(value, `"`))
	}
	return ""
}

// certificate returns a certificate of the chain, by its place: leaf, root, a number from the leaf on, or a negative
// one from the root. nil means that no certificate is in that place. The result is unknown if the chain was not
// followed to a root.
func (c *CodeSignature) certificate(slot string) (cert *sign.Certificate, known bool) {
	i, err := strconv.Atoi(slot)
	switch {
	case len(c.cms) == 0:
		return nil, true
	case len(c.path) == 0:
		return nil, false
	case slot == "leaf":
		i = 0
	case slot == "root", slot == "anchor":
		i = len(c.path) - 1
	case err != nil:
		return nil, false
	case i < 0:
		i += len(c.path)
	}
	if i < 0 || i >= len(c.path) {
		return nil, true
	}
	return c.path[i], true
}
