// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// SourceRegText is the source of a capture of regedit or reg export.
const SourceRegText = "reg_text"

// ReadRegText reads an export of the registry's key Services. It says what is registered, not what runs.
func ReadRegText(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceRegText, r)
	b := newCapture(SourceRegText, text)
	part := r.Part()
	list, err := parseServiceKeys([]byte(strings.TrimLeft(text, " \t\r\n")), capturePaths, part)
	if err != nil {
		return fact.Capture[Driver]{}
	}
	for i := range list {
		if b.full() {
			break
		}
		b.registered(&list[i])
	}
	for _, p := range part.Problems {
		p.Source = SourceRegText
		r.Add(p)
	}
	if b.Sure = b.rows > 0; b.Sure && !wholeServices(text) {
		r.Add(fact.Problem{Source: SourceRegText, Field: "modules", Code: fact.CodeOther,
			Text: "the text is an export of some services: it does not begin with the key that holds them all"})
	}
	return b.done(r)
}

// registered adds a service as the registry has it.
func (b *captureBuilder) registered(s *registeredService) {
	key, name, path := "service "+fold(s.Name), s.Name, ""
	if s.ImageFile != "" {
		key, name, path = capturePaths.key(s.ImageFile), baseName(s.ImageFile), s.ImageFile
	}
	b.rows++
	e := b.entry(key, name, path)
	e.Driver.Services = append(e.Driver.Services, s.Service)
	for _, p := range s.Problems {
		p.Source = SourceRegText
		e.Problems = append(e.Problems, p)
	}
}

// wholeServices reports whether an export begins with the key Services itself, so that it has all below it.
func wholeServices(text string) bool {
	for line := range strings.Lines(text) {
		if line = fold(strings.TrimSpace(line)); strings.HasPrefix(line, "[") {
			return strings.HasSuffix(line, `\services]`) || strings.HasSuffix(line, `\system]`) ||
				strings.HasSuffix(line, `controlset]`)
		}
	}
	return false
}
