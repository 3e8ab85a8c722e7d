// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// maxMounts is how many file systems of fstab(5) are kept; real ones have a few dozen.
const maxMounts = 4096

// A mount is one file system of fstab(5) that the boot mounts.
type mount struct {
	kind string // the type of file system, which is the name of its module
	file string
	line int
}

// readFstab reads fstab(5): device, directory, type, options. File systems with the option noauto are not mounted at
// boot. What is not a file system is left out.
func (c *config) readFstab(file, text string, r *fact.Report) {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			r.Problem(SourceRCConf, "", "", &fact.ParseError{Source: file, Line: n,
				Reason: fmt.Sprintf("%d fields, not 3 or more", len(f))})
			continue
		}
		options := ""
		if len(f) > 3 {
			options = f[3]
		}
		auto := !slices.Contains(strings.Split(options, ","), "noauto")
		if len(c.mounts) >= maxMounts {
			c.lose(SourceServices, fmt.Errorf("%s: %w: more than %d file systems", file, fact.ErrTooLarge, maxMounts))
			return
		}
		if class := deviceClass(f[0]); auto && class != "" {
			c.mounts = append(c.mounts, mount{class, file, n})
		}
		if auto && f[2] == "nfs" { // mount_nfs(8)
			c.mounts = append(c.mounts, mount{"nfscl", file, n})
		}
		if auto && f[2] != "swap" && f[2] != "ignore" {
			c.mounts = append(c.mounts, mount{f[2], file, n})
		}
	}
}

// deviceClass returns the kld of the class of geom(4) that mount(8) or swapon(8) sets up for a device of that name;
// empty if it needs no class. "md" and "md0" are disks in memory or of a file.
func deviceClass(device string) string {
	switch suffix := device[strings.LastIndexByte(device, '.')+1:]; {
	case suffix == "eli", suffix == "bde", suffix == "md":
		return "geom_" + suffix
	case strings.Trim(strings.TrimPrefix(device, "md"), "0123456789") == "": // mdmfs(8), swapon(8)
		return "geom_md"
	}
	return ""
}

// redactFstab keeps of fstab(5) the types of the file systems that the boot mounts: devices may name other hosts,
// options may be passwords.
func redactFstab(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0][0] == '#' {
			out.WriteString("#\n")
			continue
		}
		options := "rw"
		if len(f) > 3 && slices.Contains(strings.Split(f[3], ","), "noauto") {
			options = "noauto"
		}
		device := "-"
		if class := deviceClass(f[0]); class != "" {
			device += "." + strings.TrimPrefix(class, "geom_")
		}
		out.WriteString(device + " - " + f[2] + " " + options + "\n")
	}
	return out.String()
}
