// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/hex"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/linux/ko"
)

// A ModinfoText is what a text capture of modinfo says.
type ModinfoText struct {
	// Records are the modules, in the text's order.
	Records []ModinfoRecord
	// Errors are modinfo's own error lines that are about no record, with the module they name.
	Errors []ModinfoError
	// Prompt is set when a prompt with the command was seen.
	Prompt bool
	// Stray counts the lines before the first record that are none of modinfo's.
	Stray int
	// Truncated is set when the last line has no newline, so that its end may be missing.
	Truncated bool
}

// A ModinfoRecord is what modinfo printed of one module.
type ModinfoRecord struct {
	// Filename is the file's path; empty for code that is compiled in.
	Filename string
	// Builtin is set for code that is compiled in ("filename: (builtin)").
	Builtin bool
	// Name is the module's name, else as kmod derives it from the file's.
	Name string
	// Fields are the entries of the file, in the order printed; not those that modinfo makes of the
	// signature.
	Fields ko.Modinfo
	// Signature is what modinfo says of the signature; nil when it says nothing, which older and
	// smaller builds of it do of signed files too.
	Signature *ko.Signature
	// Err is modinfo's complaint about the file; empty for none.
	Err string
}

// A ModinfoError is an error line of modinfo.
type ModinfoError struct {
	// Module is the module that it names; empty for none.
	Module string
	// Text is the line without "modinfo: ERROR: ".
	Text string
}

// modinfoColumn is where modinfo's values begin; a longer key pushes its value to the right.
const modinfoColumn = 16

// ParseModinfoText reads the text that modinfo prints, of any number of modules, with error lines
// between them. A line that begins no field goes on with the value before it: values hold newlines,
// and signatures are wrapped.
func ParseModinfoText(text string) *ModinfoText {
	m := &ModinfoText{Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	p := modinfoParser{out: m}
	for line := range strings.Lines(text) {
		p.line(strings.TrimSuffix(line, "\n"))
	}
	p.finish()
	return m
}

type modinfoParser struct {
	out     *ModinfoText
	record  *ModinfoRecord // the current one; nil before the first
	raw     ko.Modinfo     // its fields as printed
	pending ko.Modinfo     // a "name" that came before its "filename": builtins are printed so
	cut     string         // the begin of a line into which an error line was printed
}

func (p *modinfoParser) line(line string) {
	if text, ok := modinfoComplaint(line); ok {
		p.complain(text)
		return
	}
	// Errors are printed at once, fields when a buffer is full: an error may stand within a line,
	// whose rest comes after it.
	if i := strings.Index(line, modinfoErrorMark); i > 0 {
		p.cut += line[:i]
		p.complain(line[i+len(modinfoErrorMark):])
		return
	}
	line, p.cut = p.cut+line, ""
	if typed, ok := capture.Prompt(line); ok && strings.Contains(typed, "modinfo") {
		p.finish()
		p.out.Prompt = true
		return
	}
	key, value, ok := modinfoField(line)
	switch {
	case ok && key == "filename":
		p.begin(value)
	case p.record == nil && ok && key == "name":
		p.pending = ko.Modinfo{{Key: key, Value: value}}
	case p.record == nil:
		if strings.TrimSpace(line) != "" {
			p.out.Stray++
		}
	case ok:
		p.raw = append(p.raw, ko.Entry{Key: key, Value: value})
	case len(p.raw) > 0:
		p.raw[len(p.raw)-1].Value += "\n" + line
	case strings.TrimSpace(line) != "":
		p.out.Stray++
	}
}

// modinfoField splits "key:    value", where the value stands in modinfo's column.
func modinfoField(line string) (key, value string, ok bool) {
	key, rest, ok := strings.Cut(line, ":")
	if !ok || key == "" || len(key) > 64 {
		return "", "", false
	}
	for i := range len(key) {
		if c := key[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return "", "", false
		}
	}
	pad := max(modinfoColumn-len(key)-1, 0)
	switch {
	case strings.TrimLeft(rest, " ") == "":
		return key, "", true // an empty value, maybe with its blanks cut off
	case len(rest) <= pad || strings.TrimLeft(rest[:pad], " ") != "":
		return "", "", false
	case pad == 0 && rest[0] == ' ':
		return "", "", false
	}
	return key, rest[pad:], true
}

// begin starts a record. A "name" right before "filename: (builtin)" belongs to it.
func (p *modinfoParser) begin(filename string) {
	builtin := filename == "(builtin)"
	var first ko.Modinfo
	if n := len(p.raw); builtin && n > 0 && p.raw[n-1].Key == "name" {
		first, p.raw = ko.Modinfo{p.raw[n-1]}, p.raw[:n-1]
	}
	p.finish()
	if builtin && p.pending != nil {
		first = p.pending
	}
	p.pending = nil
	p.record, p.raw = &ModinfoRecord{Filename: filename, Builtin: builtin}, first
	if builtin {
		p.record.Filename = ""
	}
}

// finish closes the current record.
func (p *modinfoParser) finish() {
	r := p.record
	if r == nil {
		return
	}
	for _, e := range p.raw {
		r.add(e)
	}
	r.Name = strings.ReplaceAll(r.Fields.Get("name"), "-", "_")
	if r.Name == "" {
		r.Name = ko.NameOfFile(r.Filename)
	}
	p.out.Records = append(p.out.Records, *r)
	p.record, p.raw = nil, nil
}

// add takes one field: modinfo prints parameters with their types, and the signature's parts, as if
// they were entries of the file.
func (r *ModinfoRecord) add(e ko.Entry) {
	signature := func() *ko.Signature {
		if r.Signature == nil {
			r.Signature = new(ko.Signature)
		}
		return r.Signature
	}
	switch e.Key {
	case "sig_id":
		signature().IDType = strings.ReplaceAll(strings.ToLower(e.Value), "#", "")
	case "signer":
		signature().Signer = e.Value
	case "sig_key":
		signature().KeyID = e.Value
	case "sig_hashalgo":
		signature().Hash = e.Value
	case "signature":
		hexadecimal := strings.NewReplacer(":", "", "\n", "", "\t", "", " ", "").Replace(e.Value)
		if b, err := hex.DecodeString(hexadecimal); err == nil {
			signature().Value = b
		} else {
			signature()
		}
	case "parm":
		name, text, _ := strings.Cut(e.Value, ":")
		description, kind := splitParameterType(text)
		if kind != "" {
			r.Fields = append(r.Fields, ko.Entry{Key: "parmtype", Value: name + ":" + kind})
		}
		if description != "" {
			r.Fields = append(r.Fields, ko.Entry{Key: "parm", Value: name + ":" + description})
		}
	default:
		r.Fields = append(r.Fields, e)
	}
}

// isParameterType reports whether text is a type as modinfo prints it behind a description, or alone.
func isParameterType(text string) bool {
	switch strings.TrimPrefix(text, "array of ") {
	case "bool", "invbool", "bint", "byte", "short", "ushort", "int", "uint", "long", "ulong", "ullong",
		"charp", "hexint", "string":
		return true
	}
	return false
}

// splitParameterType takes "description (type)", "type" or "description" apart.
func splitParameterType(text string) (description, kind string) {
	if isParameterType(text) {
		return "", text
	}
	if before, ok := strings.CutSuffix(text, ")"); ok {
		if i := strings.LastIndex(before, " ("); i >= 0 && !strings.ContainsAny(before[i+2:], "()\n") {
			return before[:i], before[i+2:]
		}
	}
	return text, ""
}

const modinfoErrorMark = "modinfo: ERROR: "

// modinfoComplaint returns the text of an error line.
func modinfoComplaint(line string) (string, bool) {
	for _, start := range []string{modinfoErrorMark, "modinfo: WARNING: ", "modinfo: "} {
		if text, ok := strings.CutPrefix(line, start); ok {
			return text, true
		}
	}
	return "", false
}

// complain files an error line: with the record it follows when it is about that, else by itself.
func (p *modinfoParser) complain(text string) {
	subject := between(text, "'", "'")
	if subject == "" {
		subject = between(text, "Module ", " not found")
	}
	if p.record != nil && len(p.raw) == 0 && strings.Contains(text, "could not get") {
		p.record.Err = text
		return
	}
	p.out.Errors = append(p.out.Errors, ModinfoError{Module: subject, Text: text})
}

func between(s, before, after string) string {
	_, s, ok := strings.Cut(s, before)
	if !ok {
		return ""
	}
	s, _, ok = strings.Cut(s, after)
	if !ok {
		return ""
	}
	return s
}

// Describe fills in m what the record says.
func (r *ModinfoRecord) Describe(m *Module) {
	release, file := splitModulePath(r.Filename)
	f := ko.File{Modinfo: r.Fields, Signature: r.Signature}
	DescribeFile(&f, m, release)
	m.FileSize, m.File = fact.Count{}, file
	if r.Builtin {
		m.Depends, m.Intree, m.Retpoline, m.Livepatch, m.Staging = nil, "", "", "", ""
	}
}

// splitModulePath takes a path in a directory of modules apart.
func splitModulePath(path string) (release, file string) {
	_, rest, ok := strings.Cut(path, "/lib/modules/")
	if !ok {
		return "", ""
	}
	release, file, _ = strings.Cut(rest, "/")
	return release, file
}
