// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"strconv"

	"github.com/kernelext/kernelext/fact"
)

// A Module is what NetBSD says of one module in its own words, beside what every kernel says. It is
// the object under "netbsd" in JSON. Absent fields are unknown.
type Module struct {
	// Class is the kernel's word for what kind of module it is: any, misc, vfs, driver, exec,
	// secmodel or bufq; a number without a word is kept as a number.
	Class string `json:"class,omitzero"`
	// Source is where the kernel got it: builtin, boot or filesys.
	Source string `json:"source,omitzero"`
	// Flags are its flags: must_force, auto_loaded; others as a hexadecimal number. Empty if no flag is set.
	Flags []string `json:"flags,omitzero"`
	// Required are the modules that it requires, in its own order. Empty if it requires no module.
	Required []string `json:"required,omitzero"`
	// Disabled is yes for a built-in module that was unloaded.
	Disabled fact.Tri `json:"disabled,omitzero"`
	// BuiltFor is the __NetBSD_Version__ that the file was built for (its metadata).
	BuiltFor fact.Count `json:"builtFor,omitzero"`
}

var classes = []string{"any", "misc", "vfs", "driver", "exec", "secmodel", "bufq"}
var sources = []string{"builtin", "boot", "filesys"}

// wordOf returns the word for a number, or the number.
func wordOf(words []string, n uint32) string {
	if int64(n) < int64(len(words)) {
		return words[n]
	}
	return strconv.FormatUint(uint64(n), 10)
}

func flagWords(flags uint32) []string {
	out := []string{}
	if flags&1 != 0 {
		out = append(out, "must_force")
	}
	if flags&2 != 0 {
		out = append(out, "auto_loaded")
	}
	if rest := flags &^ 3; rest != 0 {
		out = append(out, "0x"+strconv.FormatUint(uint64(rest), 16))
	}
	return out
}
