// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/registry"
)

// Limits of an INF file.
const (
	maxINFSections = 4096
	maxINFLines    = 200_000
	maxINFServices = 256
	maxINFLine     = 64 << 10 // bytes of a line with those that it goes on in; Windows takes 4096
)

// An INF is what a driver package's INF file says of the package.
type inf struct {
	Class     string // device setup class
	ClassGUID string
	Provider  string
	Date      string // YYYY-MM-DD
	Version   string
	Catalogs  []string     // catalog files, of any architecture
	Services  []infService // what it adds, in the file's order
	Models    []infModel   // the devices that it is for, in the file's order
	Cut       bool         // Models are not all

	file *infFile
}

// An infFile is an INF file's sections and its strings.
type infFile struct {
	sections map[string][]infLine // by folded name; the list under "" has the names in the file's order
	strings  map[string]string
	item     *fact.Item
	over     error // what the file takes that is more than it may take
}

// infLineSize is the memory of a line, of a service or of a model beside its text, in bytes.
const infLineSize = 96

// keep asks for n bytes of what the file says.
func (f *infFile) keep(n int) bool {
	if f.over == nil {
		f.over = f.item.Keep(int64(n))
	}
	return f.over == nil
}

// An infService is a service that an INF adds.
type infService struct {
	Name   string
	Binary string // the file's name; empty when the INF does not say
}

type infLine struct{ key, value string }

// parseINF reads an INF file in any of its encodings. Strings (%NAME%) are put in, line
// continuations joined, comments dropped. It takes what item allows.
func parseINF(b []byte, item *fact.Item) (*inf, error) {
	f := &infFile{sections: map[string][]infLine{}, item: item}
	if err := f.read(utf16text.DecodeFile(b)); err != nil {
		return nil, err
	}
	version, ok := f.sections["version"]
	if !ok {
		return nil, &fact.ParseError{Source: "inf", Field: "Version", Reason: "no such section"}
	}
	f.strings = infStrings(f.sections)
	inf := &inf{file: f}
	for _, l := range version {
		v := f.expand(firstField(l.value))
		switch key := fold(l.key); {
		case key == "class":
			inf.Class = v
		case key == "classguid":
			inf.ClassGUID = strings.Trim(fold(v), "{}")
		case key == "provider":
			inf.Provider = v
		case key == "driverver":
			inf.Date, inf.Version = parseDriverVer(l.value)
		case strings.HasPrefix(key, "catalogfile"):
			if len(inf.Catalogs) < 64 && v != "" {
				inf.Catalogs = append(inf.Catalogs, v)
			}
		}
	}
	inf.addServices()
	inf.Models, inf.Cut = f.models()
	f.item = nil // what is asked of it later is not kept
	if f.over != nil {
		return nil, f.over
	}
	return inf, nil
}

// read splits the text into sections by folded name; a section that occurs twice is one.
// The order of the sections themselves is kept in the list under "".
func (f *infFile) read(text string) error {
	sections := f.sections
	name := ""
	lines := 0
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		line = infComment(line)
		if strings.HasSuffix(line, `\`) {
			var more int
			line, text, more = registry.Continued(line, text, maxINFLine, infComment)
			lines += more
		}
		if lines++; lines > maxINFLines {
			return &fact.ParseError{Source: "inf", Line: lines, Reason: "too many lines", Err: fact.ErrTooLarge}
		}
		if line == "" {
			continue
		}
		if !f.keep(infLineSize + len(line)) {
			return f.over
		}
		if strings.HasPrefix(line, "[") {
			name = fold(strings.TrimSpace(strings.Trim(line, "[]")))
			if _, ok := sections[name]; !ok {
				if len(sections) > maxINFSections {
					return &fact.ParseError{Source: "inf", Line: lines, Reason: "too many sections",
						Err: fact.ErrTooLarge}
				}
				sections[name] = nil
				sections[""] = append(sections[""], infLine{key: name})
			}
			continue
		}
		if name == "" {
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		sections[name] = append(sections[name], infLine{strings.TrimSpace(key), strings.TrimSpace(value)})
	}
	return nil
}

// infComment drops a comment, unless the semicolon is quoted, and surrounding blanks.
func infComment(s string) string {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return strings.TrimSpace(s[:i])
			}
		}
	}
	return strings.TrimSpace(s)
}

func infStrings(sections map[string][]infLine) map[string]string {
	m := map[string]string{}
	for _, l := range sections["strings"] {
		m[fold(l.key)] = strings.Trim(l.value, `"`)
	}
	return m
}

// expand drops quotes and puts in the strings; one pass, as Windows does. It is empty once the file took what it may.
func (f *infFile) expand(s string) string {
	s = expandINF(s, f.strings)
	if f.over == nil {
		f.over = f.item.Work(int64(len(s)))
	}
	if !f.keep(len(s)) {
		return ""
	}
	return s
}

// expandINF drops quotes and puts in the strings.
func expandINF(s string, strs map[string]string) string {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "%")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "%")
		if !ok {
			b.WriteString("%" + rest)
			return b.String()
		}
		switch v, known := strs[fold(name)]; {
		case name == "":
			b.WriteByte('%')
		case known:
			b.WriteString(v)
		default:
			b.WriteString("%" + name + "%")
		}
		s = after
		if b.Len() > 64<<10 {
			return b.String()
		}
	}
}

// firstField is the value up to the first comma outside quotes.
func firstField(s string) string {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return strings.TrimSpace(s[:i])
			}
		}
	}
	return s
}

// parseDriverVer reads "MM/DD/YYYY,a.b.c.d".
func parseDriverVer(s string) (date, version string) {
	d, v, _ := strings.Cut(s, ",")
	return usDate(strings.TrimSpace(d)), strings.TrimSpace(firstField(v))
}

// usDate turns MM/DD/YYYY (or with dashes) into YYYY-MM-DD; "" for anything else.
func usDate(s string) string {
	p := strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == '-' })
	if len(p) != 3 || len(p[0]) > 2 || len(p[1]) > 2 || len(p[2]) != 4 {
		return ""
	}
	month, day, year := twoDigits(p[0]), twoDigits(p[1]), p[2]
	switch {
	case month == "" || day == "" || strings.Trim(year, "0123456789") != "", month > "12" || day > "31",
		month == "00" || day == "00":
		return ""
	}
	return year + "-" + month + "-" + day
}

func twoDigits(s string) string {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	if len(s) == 1 {
		return "0" + s
	}
	return s
}

// addServices follows AddService = name,flags,section in the order of the file; the section's
// ServiceBinary names the file.
func (inf *inf) addServices() {
	seen := map[string]bool{}
	for _, sec := range inf.file.sections[""] {
		for _, s := range inf.file.servicesIn(sec.key) {
			if !seen[fold(s.Name)] && len(inf.Services) < maxINFServices {
				seen[fold(s.Name)] = true
				inf.Services = append(inf.Services, s)
			}
		}
	}
}

// servicesIn returns the services that one section adds.
func (f *infFile) servicesIn(section string) []infService {
	var list []infService
	for _, l := range f.sections[section] {
		if !strings.EqualFold(l.key, "AddService") {
			continue
		}
		fields := infFields(l.value)
		s := infService{Name: f.expand(fields[0])}
		if s.Name == "" {
			continue
		}
		if len(fields) >= 3 {
			s.Binary = f.serviceBinary(f.sections[fold(f.expand(fields[2]))])
		}
		list = append(list, s)
	}
	return list
}

func (f *infFile) serviceBinary(section []infLine) string {
	for _, l := range section {
		if strings.EqualFold(l.key, "ServiceBinary") {
			return baseName(f.expand(l.value))
		}
	}
	return ""
}
