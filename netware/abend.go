// SPDX-License-Identifier: Apache-2.0

package netware

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceAbendLog is the name of the source of an ABEND.LOG.
const SourceAbendLog = "abend_log"

var (
	abendLine = lazy.Regexp{Pattern: `(?i)^\s*Abend \d+ on P\d+: (Server-[0-9A-Za-z.]+)`}
	nlmName   = lazy.Regexp{Pattern: `\b([A-Z0-9_$~!#%&'@^-]{1,8}\.(?:NLM|LAN|DSK|NAM|HAM|CDM))\b`}
)

// ReadAbendLog reads an ABEND.LOG: the modules that it names, each once, in order, and the server's version as the
// release ("Server-5.00a"). The modules are those on the stack when the server stopped, no whole list, which is
// reported.
func ReadAbendLog(text string, r *fact.Report) fact.Capture[fact.Other] {
	var c fact.Capture[fact.Other]
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if m := abendLine.FindStringSubmatch(line); m != nil && c.Header.Release == "" {
			c.Header.Release = m[1]
		}
		for _, name := range nlmName.FindAllString(line, -1) {
			if !seen[name] {
				seen[name] = true
				c.Records = append(c.Records, record(name, fact.StateLoaded))
			}
		}
	}
	if c.Header.Release == "" || c.Records == nil {
		return fact.Capture[fact.Other]{} // no Abend line of a server that names a module
	}
	c.Rows, c.Sure = len(c.Records), true
	r.Problem(SourceAbendLog, "", "modules",
		fmt.Errorf("the log names the modules on the stack, not all that were loaded: %w", fact.ErrUnrecorded))
	r.Done(SourceAbendLog, fact.CountOf(int64(c.Rows)))
	return c
}
