// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A preload is one thing that the boot loader put into memory before the kernel ran.
type preload struct {
	// Name is its path, such as "/boot/kernel/zfs.ko", or a word for what is not a file.
	Name string
	// Type is the loader's word: "elf kernel", "elf module", "elf obj module", or what data it is.
	Type string
	// Args are the arguments it was given; empty without arguments.
	Args string
	// Size is how many bytes it takes; unknown when the entry does not say.
	Size fact.Count
}

// Code reports whether it is code of the kernel's: a kernel or a module, not a data file.
func (p preload) Code() bool {
	return strings.HasPrefix(p.Type, "elf ")
}

// parsePreloads reads the text of debug.dump_modinfo: for each entry of the boot loader's metadata
// the lines " 0xADDRESS:", "type:", "len:" and "value:". It returns what was named, in order. An invalid line is
// reported.
func parsePreloads(text string, r *fact.Report) []preload {
	out := []preload{}
	kind := ""
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		t := strings.TrimSpace(line)
		switch {
		case t == "", strings.HasPrefix(t, "0x") && strings.HasSuffix(t, ":"), strings.HasPrefix(t, "len:"):
		case strings.HasPrefix(t, "type:"):
			kind = preloadKind(t)
		case strings.HasPrefix(t, "value:"):
			out = preloadValue(out, kind, strings.TrimSpace(t[len("value:"):]))
			kind = ""
		default:
			r.Problem(SourcePreloaded, "", "freebsd.preloaded",
				&fact.ParseError{Source: sysctlPreloaded, Line: n, Reason: "neither an address nor type, len or value"})
		}
	}
	return out
}

// preloadKind takes MODINFO_NAME out of "type:\t(0x01) MODINFO_NAME".
func preloadKind(t string) string {
	if i := strings.IndexByte(t, ')'); i >= 0 {
		return strings.TrimSpace(t[i+1:])
	}
	return ""
}

func preloadValue(out []preload, kind, v string) []preload {
	if kind == "MODINFO_NAME" {
		return append(out, preload{Name: escape.UTF8(v)})
	}
	if len(out) == 0 {
		return out
	}
	p := &out[len(out)-1]
	switch kind {
	case "MODINFO_TYPE":
		p.Type = escape.UTF8(v)
	case "MODINFO_ARGS":
		p.Args = escape.UTF8(v)
	case "MODINFO_SIZE":
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			p.Size = fact.CountOf(n)
		}
	}
	return out
}
