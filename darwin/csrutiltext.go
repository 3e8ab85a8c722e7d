// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceCSRUtil is the source of a capture of csrutil status.
const SourceCSRUtil = "csrutil"

const csrStatus = "System Integrity Protection status:"

// csrSetting matches a setting below the status. Pasted ones may have a remark after them.
var csrSetting = lazy.Regexp{Pattern: `^([A-Z][A-Za-z -]{1,63}): (enabled|disabled)\b`}

// ReadCSRUtil reads what csrutil status prints: whether System Integrity Protection is on, and of a custom
// configuration each of its parts. It says what is enforced, and names no kext. Whether kexts must be signed follows
// from the part "Kext Signing"; of a custom configuration without it that is unknown.
func ReadCSRUtil(text string, r *fact.Report) fact.Capture[Kext] {
	c := fact.Capture[Kext]{Records: []Record{}}
	p := &fact.Policy{}
	status, signing := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if value, ok := strings.CutPrefix(line, csrStatus); ok {
			status = strings.TrimSuffix(strings.TrimSpace(value), ".")
			c.Sure = true
			c.Rows++
			p.Facts = append(p.Facts, fact.PolicyFact{Name: "system_integrity_protection", Value: status,
				Source: SourceCSRUtil})
			continue
		}
		m := csrSetting.FindStringSubmatch(line)
		if m == nil || status == "" {
			continue // the command, and the tool's advice
		}
		if m[1] == "Kext Signing" {
			signing = m[2]
		}
		if c.Rows++; c.Rows < 64 {
			name := strings.ToLower(strings.NewReplacer(" ", "_", "-", "_").Replace(m[1]))
			p.Facts = append(p.Facts, fact.PolicyFact{Name: name, Value: m[2], Source: SourceCSRUtil})
		}
	}
	if !c.Sure {
		return fact.Capture[Kext]{}
	}
	if signing == "" && (status == "enabled" || status == "disabled") {
		signing = status
	}
	switch signing {
	case "enabled":
		p.Loading = fact.LoadingSigned
	case "disabled":
		p.Loading = fact.LoadingAny
	default:
		r.Add(fact.Problem{Source: SourceCSRUtil, Field: "policy", Code: fact.CodeOther,
			Text: "the configuration is a custom one, and the text does not say whether kexts must be signed"})
	}
	c.Policy = p
	r.Done(SourceCSRUtil, fact.Count{})
	return c
}
