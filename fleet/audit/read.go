// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// Bounds of a rule file.
const (
	MaxFile       = 1 << 20 // bytes of a rule file
	maxRules      = 2000
	maxExceptions = 5000
	maxValues     = 5000 // of one list of a rule
	maxText       = 1000 // bytes of one text
	maxDepth      = 8    // of objects and lists in each other
)

// Read reads rules as JSON. name is the file's name for error texts, which also name the rule and the field. Keys that
// no rule has are errors, and so are keys that occur twice and fields that a rule of its kind does not use. An error
// matches fact.ErrMalformed, or fact.ErrTooLarge for a file over MaxFile.
func Read(name string, data []byte) (*Rules, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("audit: %s: over %d bytes: %w", name, MaxFile, fact.ErrTooLarge)
	}
	r, err := readRules(data)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fmt.Errorf("audit: %s: %w: %w", name, fact.ErrMalformed, err)
	}
	return r, nil
}

// An object is a JSON object by its keys, in any order.
type object map[string]json.RawMessage

// readObject reads one object: its keys are all of the known ones, and each occurs once.
func readObject(data []byte, known ...string) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, cause(err, "not an object")
	}
	o := make(object)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, cause(err, "not an object")
		}
		key, _ := t.(string)
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%.40q: no such key (%s)", key, strings.Join(known, ", "))
		}
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("%s: appears twice", key)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		o[key] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("text after the object")
	}
	return o, nil
}

func cause(err error, text string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New(text)
	}
	return err
}

// depth returns an error for JSON whose objects and lists are nested too deep to be rules.
func depth(data []byte) error {
	deep, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if deep++; deep > maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case c == '}' || c == ']':
			deep--
		}
	}
	return nil
}

// decode reads the value of a key into p, if the object has it. null is not a value.
func decode[T any](o object, key string, p *T) error {
	raw, ok := o[key]
	if !ok {
		return nil
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) || json.Unmarshal(raw, p) != nil {
		return fmt.Errorf("%s: not %s", key, wanted(*p))
	}
	return nil
}

// wanted says for a person which form a value has.
func wanted(v any) string {
	switch v.(type) {
	case int:
		return "a whole number"
	case string, Kind, Severity, Check, lkm.Scope:
		return "a text in quotes"
	}
	return "a list of texts"
}

// readRules reads a rule file.
func readRules(data []byte) (*Rules, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	if err := depth(data); err != nil {
		return nil, err
	}
	o, err := readObject(data, "schema", "name", "title", "version", "rules", "exceptions")
	if err != nil {
		return nil, err
	}
	r := new(Rules)
	err = first(decode(o, "schema", &r.Schema), decode(o, "name", &r.Name), decode(o, "title", &r.Title),
		decode(o, "version", &r.Version))
	if err != nil {
		return nil, err
	}
	if r.Schema != 0 {
		return nil, fmt.Errorf("schema: %d is not 0, which this version reads", r.Schema)
	}
	if r.Rules, err = readList(o, "rules", maxRules, readRule); err != nil {
		return nil, err
	}
	r.Exceptions, err = readList(o, "exceptions", maxExceptions, readException)
	return r, err
}

// readList reads a list of objects.
func readList[T any](o object, key string, most int, read func([]byte) (T, error)) ([]T, error) {
	var raws []json.RawMessage
	if err := decode(o, key, &raws); err != nil {
		return nil, fmt.Errorf("%s: not a list of objects", key)
	}
	if len(raws) > most {
		return nil, fmt.Errorf("%s: %d, more than %d", key, len(raws), most)
	}
	var list []T
	for i, raw := range raws {
		v, err := read(raw)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]%s: %w", key, i, idOf(raw), err)
		}
		list = append(list, v)
	}
	return list, nil
}

// idOf returns a rule's id for an error text, if it can be read.
func idOf(raw []byte) string {
	var named struct {
		ID   string `json:"id"`
		Rule string `json:"rule"`
	}
	if json.Unmarshal(raw, &named) != nil || named.ID+named.Rule == "" {
		return ""
	}
	return fmt.Sprintf(" (%.80q)", named.ID+named.Rule)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ruleKeys are the keys of every rule; those beside them are of the kinds in uses.
var ruleKeys = []string{"id", "kind", "title", "severity", "references", "os"}

// uses says which keys a kind has beside ruleKeys; those that begin with ! it must have.
func uses(k Kind) (keys []string, ok bool) {
	switch k {
	case MustNotLoad:
		return []string{"!modules", "check"}, true
	case MustBeLoaded:
		return []string{"!modules"}, true
	case Allow, Deny:
		return []string{"!modules", "scope"}, true
	case ThirdParty, Unsigned, BlockListed:
		return []string{"scope"}, true
	case UnknownSigner:
		return []string{"signers", "scope"}, true
	case Tainted:
		return []string{"taints"}, true
	case Discrepancies:
		return []string{"grades"}, true
	case DiskMemory:
		return nil, true
	case PolicyFact:
		return []string{"!fact", "!values"}, true
	}
	return nil, false
}

func readRule(raw []byte) (Rule, error) {
	var r Rule
	o, err := readObject(raw, append(slices.Clone(ruleKeys), "scope", "modules", "signers", "taints", "grades", "fact",
		"values", "check")...)
	if err != nil {
		return r, err
	}
	err = first(decode(o, "id", &r.ID), decode(o, "kind", &r.Kind), decode(o, "title", &r.Title),
		decode(o, "severity", &r.Severity), decode(o, "references", &r.References), decode(o, "os", &r.OS),
		decode(o, "scope", &r.Scope), decode(o, "modules", &r.Modules), decode(o, "signers", &r.Signers),
		decode(o, "taints", &r.Taints), decode(o, "grades", &r.Grades), decode(o, "fact", &r.Fact),
		decode(o, "values", &r.Values), decode(o, "check", &r.Check))
	if err != nil {
		return r, err
	}
	keys, ok := uses(r.Kind)
	if !ok {
		return r, fmt.Errorf("kind: %.40q is not a kind of rule", r.Kind)
	}
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(ruleKeys, key) && !slices.Contains(keys, key) && !slices.Contains(keys, "!"+key) {
			return r, fmt.Errorf("%s: a rule of kind %s does not use it", key, r.Kind)
		}
	}
	for _, key := range keys {
		if name, must := strings.CutPrefix(key, "!"); must && o[name] == nil {
			return r, fmt.Errorf("%s: missing: a rule of kind %s needs it", name, r.Kind)
		}
	}
	return r, nil
}

func readException(raw []byte) (Exception, error) {
	var e Exception
	o, err := readObject(raw, "rule", "subject", "host", "owner", "reason", "expires")
	if err != nil {
		return e, err
	}
	return e, first(decode(o, "rule", &e.Rule), decode(o, "subject", &e.Subject), decode(o, "host", &e.Host),
		decode(o, "owner", &e.Owner), decode(o, "reason", &e.Reason), decode(o, "expires", &e.Expires))
}

// check returns what is invalid in rules that have the right form.
func (r *Rules) check() error {
	if len(r.Rules) == 0 {
		return errors.New("rules: none")
	}
	if err := first(texts("name", r.Name), texts("title", r.Title), texts("version", r.Version)); err != nil {
		return err
	}
	ids := make(map[string]bool)
	for i := range r.Rules {
		rule := &r.Rules[i]
		if err := rule.check(); err != nil {
			return fmt.Errorf("rules[%d] (%.80q): %w", i, rule.ID, err)
		}
		if ids[rule.ID] {
			return fmt.Errorf("rules[%d]: id: %.80q appears twice", i, rule.ID)
		}
		ids[rule.ID] = true
	}
	for i := range r.Exceptions {
		if err := r.Exceptions[i].check(); err != nil {
			return fmt.Errorf("exceptions[%d] (%.80q): %w", i, r.Exceptions[i].Rule, err)
		}
	}
	return nil
}

func (r *Rule) check() error {
	grades := make([]string, len(r.Grades))
	for i, g := range r.Grades {
		grades[i] = string(g)
	}
	oses := make([]string, len(r.OS))
	for i, s := range r.OS {
		oses[i] = string(s)
	}
	err := first(needed("id", r.ID), texts("title", r.Title), texts("fact", r.Fact),
		oneOf("severity", string(r.Severity), "", "low", "medium", "high", "critical"),
		oneOf("scope", string(r.Scope), "", "loaded", "installed"),
		oneOf("check", string(r.Check), "", string(CheckCIS), string(CheckShowConfigBin),
			string(CheckShowConfig), string(CheckOVAL)),
		texts("references", r.References...), texts("os", oses...), patterns("taints", r.Taints),
		texts("values", r.Values...), patterns("modules", r.Modules), patterns("signers", r.Signers))
	for _, g := range grades {
		err = first(err, oneOf("grades", g, "transient", "weak", "strong"))
	}
	for _, s := range oses {
		err = first(err, oneOf("os", s, systems...))
	}
	return first(err, r.asks())
}

// asks returns an error for a rule that no machine can break, because it asks for nothing.
func (r *Rule) asks() error {
	switch r.Kind {
	case MustNotLoad, MustBeLoaded, Deny:
		for _, name := range r.Modules {
			if r.Kind != Deny && strings.ContainsAny(name, "*?[") {
				return fmt.Errorf("modules: %.40q: a rule of kind %s takes names, no patterns", name, r.Kind)
			}
			if strings.TrimSpace(name) != name {
				return fmt.Errorf("modules: %.40q: a space before or behind a name", name)
			}
		}
		return some("modules", r.Modules)
	case Tainted:
		for _, letter := range r.Taints {
			one := len(letter) == 1 && letter >= "A" && letter <= "Z"
			if !one && !strings.ContainsAny(letter, "*?[") {
				return fmt.Errorf("taints: %.40q is not a letter from A to Z", letter)
			}
		}
	case PolicyFact:
		return first(needed("fact", r.Fact), some("values", r.Values))
	}
	return nil
}

// some returns an error for an empty list.
func some(key string, list []string) error {
	if len(list) == 0 {
		return fmt.Errorf("%s: empty", key)
	}
	return nil
}

// systems are the systems that a rule may name.
var systems = []string{"linux", "freebsd", "dragonfly", "netbsd", "openbsd", "illumos", "solaris", "aix", "darwin",
	"windows", "vxworks", "netware"}

func (e *Exception) check() error {
	err := first(needed("rule", e.Rule), needed("owner", e.Owner), needed("reason", e.Reason),
		needed("expires", e.Expires), patterns("rule", []string{e.Rule}))
	if err == nil && e.Subject != "" {
		err = patterns("subject", []string{e.Subject})
	}
	if err == nil && e.Host != "" {
		err = patterns("host", []string{e.Host})
	}
	if err != nil {
		return err
	}
	if _, bad := time.Parse(time.DateOnly, e.Expires); bad != nil {
		return fmt.Errorf("expires: %.40q is not a day as YYYY-MM-DD", e.Expires)
	}
	return nil
}

func needed(key, text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("%s: missing", key)
	}
	return texts(key, text)
}

// texts returns an error for a list that is too long, or for a text that is.
func texts(key string, list ...string) error {
	if len(list) > maxValues {
		return fmt.Errorf("%s: %d, more than %d", key, len(list), maxValues)
	}
	for _, text := range list {
		if len(text) > maxText {
			return fmt.Errorf("%s: a text of %d bytes, more than %d", key, len(text), maxText)
		}
	}
	return nil
}

func oneOf(key, word string, words ...string) error {
	if slices.Contains(words, word) {
		return nil
	}
	return fmt.Errorf("%s: %.40q is not one of %s", key, word, strings.TrimPrefix(strings.Join(words, ", "), ", "))
}

func patterns(key string, list []string) error {
	for _, p := range list {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return fmt.Errorf("%s: %.40q is not a pattern", key, p)
		}
	}
	return texts(key, list...)
}
