// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/lkm/capture"
)

// TestPastes reads texts as people paste them into reports and forums, shortened: the rows count, and whether they are
// known to be all.
func TestPastes(t *testing.T) {
	const rows = "Module                  Size  Used by\nccm                    20480  6\n" +
		"fuse                  135168  3\n"
	const kldstat = "Id Refs Address                Size Name\n 1   38 0xffffffff80200000  1f05138 kernel   \n"
	for name, c := range map[string]struct {
		text string
		rows int // -1: refused
		ok   bool
	}{
		"the bare command above":      {"```bash\nlsmod\n\n" + rows + "```\n", 2, true},
		"the first line alone quoted": {"> " + rows, 2, true},
		"the command as a label":      {"`kldstat`:\n```\nu@h $ kldstat    \n" + kldstat + "```\n", 1, true},
		"details of a web page": {"<details>\n<summary>Output of lsmod </summary>\n<p>\n\n```\n" + rows +
			"```\n", 2, true},
		"escaped underscores": {"ppp\\_async 10541 1 - Live 0xffffffffa0591000\n", 1, true},
		"a diff of two lists": {" Module                  Size  Used by\n-ccm 20480 0\n-fuse 4 0\n" +
			"+ccm 20480 1\n+fuse 4 1\n", -1, false},
		"colors of a forum": {"[COLOR=#008000]rtl, 1.0, 5.4.0-72-generic, x86_64: installed[/COLOR]\n", 1, false},
		"lspci of a user":   {"00:1f.6 Modem: x\n\tCapabilities: <access denied>\n\tKernel modules: a\n", 1, true},
		"bold rows of a debugger": {"fffff802`68f50000 fffff802`68f78000 a (deferred)\n" +
			"**fffff802`68fa0000 fffff802`6b406000 b (deferred)**\n", 2, false},
		"devcon dp_enum":              {"oem4.inf\n    Provider: Intel\n    Class: USB\n", -1, false},
		"a blank line after the list": {"[1.0] Modules linked in: a b(P)\n[1.0] \n[1.0] Pid: 1, comm: x\n", 2, true},
	} {
		s, err := capture.Read(strings.NewReader(c.text), "")
		if c.rows < 0 {
			if err == nil {
				t.Errorf("%s: %+v", name, s)
			}
			continue
		}
		if err != nil || len(s.Modules) != c.rows {
			t.Errorf("%s: %v, %+v", name, err, s)
			continue
		}
		for _, src := range s.Sources {
			if (src.Outcome == "ok") != c.ok {
				t.Errorf("%s: %v, %v", name, s.Sources, s.Problems)
			}
		}
	}
}
