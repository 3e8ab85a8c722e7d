// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceModdebug is the name of the source of the messages that a kernel booted with moddebug prints.
const SourceModdebug = "moddebug"

var (
	loadLine = lazy.Regexp{Pattern: `load '([^']{1,255})' id (\d{1,10}) loaded @ 0x([0-9a-f]{1,16})/0x` +
		`([0-9a-f]{1,16}) size (\d{1,18})/(\d{1,18})`}
	installLine = lazy.Regexp{Pattern: `installing \S+, module id (\d{1,10})\.`}
)

// ReadModdebug reads the console messages of an illumos kernel that was booted with moddebug, such as
// "load 'fs/mntfs' id 66 loaded @ 0x…/0x… size 18080/240", in order. Other messages are left out. The messages are no
// whole list, which is reported.
func ReadModdebug(text string, r *fact.Report) fact.Capture[Module] {
	var c fact.Capture[Module]
	at := map[int64]int{}
	for line := range strings.SplitSeq(text, "\n") {
		if m := loadLine.FindStringSubmatch(line); m != nil {
			id := number(m[2])
			at[id] = len(c.Records)
			c.Records = append(c.Records, loadRecord(m[1], id, address(m[3]), number(m[5])))
			continue
		}
		if m := installLine.FindStringSubmatch(line); m != nil {
			if i, ok := at[number(m[1])]; ok {
				c.Records[i].Own.State = []string{"loaded", "installed"}
			}
		}
	}
	if c.Rows, c.Sure = len(c.Records), len(c.Records) > 0; !c.Sure {
		return c
	}
	r.Problem(SourceModdebug, "", "modules",
		fmt.Errorf("the messages show what was loaded while they were printed, not "+
			"what was loaded before: %w", fact.ErrUnrecorded))
	r.Done(SourceModdebug, fact.CountOf(int64(c.Rows)))
	return c
}

// loadRecord returns the record of a message. path is the module's name with its kind: "fs/mntfs".
func loadRecord(path string, id int64, text fact.Address, size int64) Record {
	name := escape.UTF8(path[strings.LastIndexByte(path, '/')+1:])
	return Record{
		ID: string(fact.KindIllumosModule) + ":" + name, Kind: fact.KindIllumosModule, Name: name,
		State: fact.StateLoaded, Size: fact.CountOf(size), Address: text,
		Own: &Module{ID: fact.CountOf(id), State: []string{"loaded"}},
	}
}
