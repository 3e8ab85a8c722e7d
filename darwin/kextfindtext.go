// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/internal/escape"
)

// SourceKextfind is the source of a capture of kextfind.
const SourceKextfind = "kextfind"

// ReadKextfind reads the paths of bundles that kextfind prints, one a line. A bundle's id and version are not in the
// text, and neither is what was looked for.
func ReadKextfind(text string, r *fact.Report) fact.Capture[Kext] {
	c := readText(text, SourceKextfind, r, func(c *reading, line string) error {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "kextfind") {
			return nil
		}
		if _, typed := capture.Prompt(line); typed {
			return nil
		}
		if !strings.HasPrefix(line, "/") || path.Ext(line) != ".kext" || c.full() {
			return noRow(line)
		}
		line = escape.UTF8(path.Clean(line))
		c.add(Record{Kind: fact.KindMacOSKext, Name: strings.TrimSuffix(path.Base(line), ".kext"), Path: line,
			State: fact.StateInstalled, Own: &Kext{Bundle: &Bundle{Path: line}}})
		return nil
	})
	if len(c.Records) == 0 {
		return fact.Capture[Kext]{}
	}
	c.ends(isCut(text))
	c.selects(true)
	return c.done()
}
