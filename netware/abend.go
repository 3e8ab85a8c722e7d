// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// An Abend is what the head of an ABEND.LOG says: the server's version, and the modules that were
// on the stack when it stopped. It is no list of the loaded modules.
type Abend struct {
	// Server is what the log calls the server, such as "Server-5.00a".
	Server string
	// Modules are the names of the NLMs that it names, each once, in order.
	Modules []string
	// Lines are where each is named first.
	Lines []int
}

var (
	abendLine = lazy.Regexp{Pattern: `(?i)^\s*Abend \d+ on P\d+: (Server-[0-9A-Za-z.]+)`}
	nlmName   = lazy.Regexp{Pattern: `\b([A-Z0-9_$~!#%&'@^-]{1,8}\.(?:NLM|LAN|DSK|NAM|HAM|CDM))\b`}
)

// ParseAbend reads an ABEND.LOG. The error is fact.ErrTooLarge, or a *fact.ParseError for any other
// text.
func ParseAbend(text string) (*Abend, error) {
	if len(text) > maxCapture {
		return nil, limit.TooLarge("abend.log", maxCapture)
	}
	a := &Abend{}
	seen := map[string]bool{}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if m := abendLine.FindStringSubmatch(line); m != nil && a.Server == "" {
			a.Server = m[1]
		}
		for _, name := range nlmName.FindAllString(line, -1) {
			if !seen[name] {
				seen[name] = true
				a.Modules, a.Lines = append(a.Modules, name), append(a.Lines, n)
			}
		}
	}
	if a.Server == "" || a.Modules == nil {
		return nil, &fact.ParseError{Source: "abend.log", Reason: "no Abend line of a server that names a module"}
	}
	return a, nil
}
