// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/linux/ko"
)

// SourceModinfo is the source of a list made from the text that modinfo prints. Its modules are those on disk and those
// compiled in; which are loaded is unknown.
const SourceModinfo = "modinfo"

// A modinfoRecord is what modinfo printed of one module.
type modinfoRecord struct {
	filename  string        // the file's path; empty for code that is compiled in
	builtin   bool          // "filename: (builtin)"
	name      string        // the module's name, else as kmod derives it from the file's
	fields    ko.Modinfo    // the file's entries, in the order printed; not those that modinfo makes of the signature
	signature *ko.Signature // nil if it prints none, which older and smaller builds of it do of signed files too
	complaint string        // modinfo's own about the file; empty for none
	cut       bool          // the text ends within its last field, or leaves lines out: any may be missing
}

// modinfoColumn is where modinfo's values begin; a longer key pushes its value to the right.
const modinfoColumn = 16

// The memory that a module and one of its fields take beside their texts, in bytes, and the longest line that an
// error may interrupt.
const (
	modinfoSize = 2048
	modinfoLine = 48
	maxModinfo  = 4096
)

// ReadModinfo reads the text that modinfo prints, of any number of modules, with error lines
// between them, which are reported. A line that begins no field continues the value before it:
// values hold newlines, and signatures are wrapped.
func ReadModinfo(text string, r *fact.Report) fact.Capture[Module] {
	p := modinfoParser{report: r}
	item := r.Budget.Item(int64(len(text)))
	defer item.Done()
	for line := range modinfoLines(text) {
		size := modinfoLine + len(line)
		if strings.HasPrefix(line, "filename:") {
			size += modinfoSize
		}
		if err := item.Keep(int64(size)); err != nil {
			r.Problem(SourceModinfo, "", "modules", err)
			break
		}
		p.line(strings.TrimSuffix(line, "\n"))
	}
	p.finish()
	if text != "" && !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\x00") {
		r.Problem(SourceModinfo, "", "modules", &fact.ParseError{Source: SourceModinfo,
			Reason: "the text ends within a line: its last field may be cut, and more may be missing"})
		if n := len(p.records); n > 0 {
			p.records[n-1].cut = true
		}
	}
	p.leavesOut(text)
	c := fact.Capture[Module]{Rows: len(p.records), Stray: p.stray}
	c.Sure = p.prompt && (len(p.records) > 0 || p.complaints > 0)
	outcome := fact.OutcomeOK
	if r.Count(SourceModinfo) > 0 {
		outcome = fact.OutcomePartial
	}
	for i := range p.records {
		m := p.records[i].record()
		if i == 0 {
			c.Header.Release = m.Own.Release
		} else if c.Header.Release != m.Own.Release {
			c.Header.Release = "" // of several kernels
		}
		if len(m.Problems) > 0 {
			outcome = fact.OutcomePartial
		}
		c.Records = append(c.Records, m)
	}
	r.Source(SourceModinfo, outcome, fact.CountOf(int64(c.Rows)), nil)
	return c
}

// leavesOut reports a text that leaves lines out: any record may lack some.
func (p *modinfoParser) leavesOut(text string) {
	err := capture.LeavesOut(text, []string{"modinfo"}, nil)
	if err != nil {
		p.report.Problem(SourceModinfo, "", "modules", err)
	}
	for i := range p.records {
		p.records[i].cut = p.records[i].cut || err != nil || p.joined
	}
}

// modinfoLines splits a text at its lines. modinfo -0 ends each field with a NUL instead, so that a value's own lines
// do no harm; what the shell and errors print between them are lines all the same.
func modinfoLines(text string) iter.Seq[string] {
	if !strings.Contains(text, "\x00") {
		return strings.Lines(text)
	}
	return func(yield func(string) bool) {
		for field := range strings.SplitSeq(text, "\x00") {
			for {
				line, rest, ok := strings.Cut(field, "\n")
				_, typed := capture.Prompt(line)
				_, complaint := modinfoComplaint(line)
				if !ok || line != "" && !typed && !complaint {
					break
				}
				if field = rest; !yield(line + "\n") {
					return
				}
			}
			if field != "" && !yield(field+"\n") {
				return
			}
		}
	}
}

type modinfoParser struct {
	report     *fact.Report
	records    []modinfoRecord
	complaints int             // modinfo's error lines that are about no record
	prompt     bool            // a prompt with the command was seen
	joined     bool            // a line has two fields: which are missing is unknown
	stray      int             // lines before the first record that are not modinfo's
	current    *modinfoRecord  // nil before the first
	raw        ko.Modinfo      // its fields as printed
	pending    ko.Modinfo      // a "name" that came before its "filename": builtins are printed so
	more       strings.Builder // lines that go on with the last field's value
	cut        strings.Builder // the begin of a line into which an error line was printed
}

// endValue adds to the last field the lines that go on with it.
func (p *modinfoParser) endValue() {
	if p.more.Len() > 0 {
		p.raw[len(p.raw)-1].Value += p.more.String()
		p.more.Reset()
	}
}

func (p *modinfoParser) line(line string) {
	if text, ok := modinfoComplaint(line); ok {
		p.complain(text)
		return
	}
	// Errors are printed at once, fields when a buffer is full: an error may be within a line, whose rest comes after
	// it.
	if i := strings.Index(line, modinfoErrorMark); i > 0 {
		if p.cut.Len() < maxModinfo {
			p.cut.WriteString(line[:i])
		}
		p.complain(line[i+len(modinfoErrorMark):])
		return
	}
	if p.cut.Len() > 0 {
		line = p.cut.String() + line
		p.cut.Reset()
	}
	if typed, ok := capture.Prompt(line); ok && strings.Contains(typed, "modinfo") {
		p.finish()
		p.prompt = true
		return
	}
	key, value, ok := modinfoField(line)
	switch {
	case ok && key == "filename":
		p.begin(value)
	case p.current == nil && ok && key == "name":
		p.pending = ko.Modinfo{{Key: key, Value: value}}
	case p.current == nil:
		if strings.TrimSpace(line) != "" {
			p.stray++
		}
	case ok && holdsField(value):
		p.endValue()
		p.joined = true
		p.report.Add(fact.Problem{Source: SourceModinfo, Field: key, Code: fact.CodeMalformed,
			Text: "the line has two fields: which value is whose is unknown"})
	case ok:
		p.endValue()
		p.raw = append(p.raw, ko.Entry{Key: key, Value: value})
	case len(p.raw) > 0:
		p.more.WriteString("\n" + line)
	case strings.TrimSpace(line) != "":
		p.stray++
	}
}

// holdsField reports whether a value is a field with a value of its own: a line's end was lost.
func holdsField(value string) bool {
	_, inner, ok := modinfoField(value)
	return ok && inner != "" && strings.Contains(value, ":  ")
}

// modinfoField splits "key: value", where the value is in modinfo's column.
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
	p.endValue()
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
	p.current, p.raw = &modinfoRecord{filename: filename, builtin: builtin}, first
	if builtin {
		p.current.filename = ""
	}
}

// finish closes the current record.
func (p *modinfoParser) finish() {
	r := p.current
	if r == nil {
		return
	}
	if strings.TrimSpace(p.more.String()) == "" { // blank lines after the last field
		p.more.Reset()
	}
	p.endValue()
	for _, e := range p.raw {
		r.add(e)
	}
	r.name = strings.ReplaceAll(r.fields.Get("name"), "-", "_")
	if r.name == "" {
		r.name = ko.NameOfFile(r.filename)
	}
	p.records = append(p.records, *r)
	p.current, p.raw = nil, nil
}

// add takes one field: modinfo prints parameters with their types, and the signature's parts, as if
// they were entries of the file.
func (r *modinfoRecord) add(e ko.Entry) {
	signature := func() *ko.Signature {
		if r.signature == nil {
			r.signature = new(ko.Signature)
		}
		return r.signature
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
			r.fields = append(r.fields, ko.Entry{Key: "parmtype", Value: name + ":" + kind})
		}
		if description != "" {
			r.fields = append(r.fields, ko.Entry{Key: "parm", Value: name + ":" + description})
		}
	default:
		r.fields = append(r.fields, e)
	}
}

// isParameterType reports whether text is a type as modinfo prints it after a description, or alone.
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

// complain reports an error line, or keeps it with the record that it follows if it is about that.
func (p *modinfoParser) complain(text string) {
	subject := between(text, "'", "'")
	if subject == "" {
		subject = between(text, "Module ", " not found")
	}
	if p.current != nil && len(p.raw) == 0 && strings.Contains(text, "could not get") {
		p.current.complaint = text
		return
	}
	p.complaints++
	err := errors.New(text)
	if strings.Contains(text, "not found") {
		err = fmt.Errorf("%s: %w", text, fs.ErrNotExist)
	}
	p.report.Problem(SourceModinfo, subject, "", err)
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

// record returns what modinfo printed as a Record.
func (r *modinfoRecord) record() Record {
	m := newRecord(r.name, fact.StateInstalled)
	m.Own = new(Module)
	r.describe(m.Own)
	m.Path, m.Version, m.Description = r.filename, m.Own.Version, r.fields.Get("description")
	if r.builtin {
		m.State = fact.StateBuiltin
	} else if r.complaint == "" {
		var nobody *fileOwners
		m.Origin = nobody.Origin(m.Own, m.Name, m.Own.File, r.filename)
	}
	if sig := r.signature; sig != nil {
		m.Signature = fact.Signature{
			Status: fact.SignatureUnchecked, Source: fact.SignatureEmbedded, Signer: sig.Signer, Hash: sig.Hash,
		}
	}
	if r.complaint != "" {
		m.Problem(SourceModinfo, "", fmt.Errorf("%s: %w", r.complaint, fact.ErrMalformed))
		m.Own.Depends, m.Own.Modinfo = nil, nil
	}
	return m
}

func (r *modinfoRecord) describe(m *Module) {
	release, file := splitModulePath(r.filename)
	f := ko.File{Modinfo: r.fields, Signature: r.signature}
	describeFile(&f, m, release)
	m.FileSize, m.File = fact.Count{}, file
	if r.builtin {
		m.Depends, m.Intree, m.Retpoline, m.Livepatch, m.Staging = nil, "", "", "", ""
	}
	r.unsay(m)
}

// unsay takes back what only a whole record says. modpost writes vermagic after the flags and depends: a record
// without it may be cut before them.
func (r *modinfoRecord) unsay(m *Module) {
	if r.cut && m.FitsRelease == fact.No {
		m.FitsRelease = ""
	}
	if m.Vermagic != "" && !r.cut {
		return
	}
	for _, flag := range []*fact.Tri{&m.Intree, &m.Retpoline, &m.Livepatch, &m.Staging} {
		if *flag == fact.No {
			*flag = ""
		}
	}
	if len(m.Depends) == 0 {
		m.Depends = nil
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
