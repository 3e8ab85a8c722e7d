// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
)

// TestModinfoPart: a text that leaves lines out does not say what a file lacks.
func TestModinfoPart(t *testing.T) {
	const (
		head = "filename:       /lib/modules/6.1.0/kernel/fs/ext4/ext4.ko\nlicense:        GPL\n" +
			"author:         A\n"
		tail = "depends:        \nname:           ext4\nvermagic:       6.1.0 SMP mod_unload \n"
		gone = "modinfo: ERROR: Module gone not found.\n"
	)
	for text, whole := range map[string]bool{
		"$ modinfo ext4\n" + head + tail:                                      true,
		head + tail:                                                           true,
		"$ modinfo ext4 gone\n" + gone + head + tail:                          true, // of another module
		"$ modinfo ext4\n" + head + "[...]\n" + tail:                          false,
		head + tail + "...\n":                                                 false,
		"$ modinfo ext4 gone\n" + gone + head + "[...]\n" + tail:              false,
		"$ modinfo ext4 | grep -E '^(file|lic|dep|name|v)'\n" + head + tail:   false,
		"modinfo ext4 | egrep 'file|lic|dep|name|verm'\n" + head + tail:       false,
		"$ cat modinfo.txt | grep -v intree\n" + head + tail:                  false,
		"$ modinfo $(lsmod | awk '{print $1}')\n" + head + tail:               true,
		"$ lsmod | awk '{print $1}' | xargs modinfo\n" + head + tail:          true,
		"$ lsmod | cut -f1 | xargs -n1 modinfo | egrep 'f|l'\n" + head + tail: false,
		"$ for m in $(lsmod | cut -f1); do modinfo $m; done\n" + head + tail:  true,
		"$ grep -v intree modinfo.txt\n" + head + tail:                        false,
		head + "description:    xintree:         Y\n" + tail:                  false,
		strings.TrimSuffix(head+tail, "\n"):                                   false,
	} {
		r := new(fact.Report)
		c := ReadModinfo(text, r)
		if len(c.Records) != 1 {
			t.Fatalf("%q: %+v", text, c)
		}
		m := c.Records[0]
		flags := []fact.Tri{m.Own.Intree, m.Own.Retpoline, m.Own.Livepatch, m.Own.Staging}
		for _, flag := range flags {
			if (flag == fact.No) != whole {
				t.Errorf("%q: flags %q", text, flags)
			}
		}
		if (m.Origin.Class == fact.OriginThirdParty) != whole || (m.Own.Depends != nil) != whole {
			t.Errorf("%q: origin %+v, depends %#v", text, m.Origin, m.Own.Depends)
		}
		if r.Whole(SourceModinfo) && !whole {
			t.Errorf("%q is whole", text)
		}
	}
}
