// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"fmt"
	"strings"
)

// Accepts reports whether an interface of version v meets the dependency, as the kernel decides
// it: the preferred version always does, any other when it lies within the range. Some real files
// have a range whose end lies before its start; only the preferred version meets those.
func (d Depend) accepts(v int32) bool {
	return v == d.Preferred || (v >= d.Min && v <= d.Max)
}

// Choose returns the index of the version that the kernel would take for the dependency: the
// preferred one, else the highest within the range, the first of equals; -1 when none will do.
func (d Depend) choose(versions []int32) int {
	best := -1
	for i, v := range versions {
		if v == d.Preferred {
			return i
		}
		if d.accepts(v) && (best < 0 || v > versions[best]) {
			best = i
		}
	}
	return best
}

// Release names the release that a __FreeBSD_version belongs to: 1402000 is "14.2". Numbers before
// FreeBSD 5 and those of a development branch (patch level 500 and above is its own counting) are
// named as far as they go; "" for an invalid number.
func Release(osreldate int64) string {
	if osreldate < 500000 || osreldate > 99999999 {
		return ""
	}
	return fmt.Sprintf("%d.%d", osreldate/100000, osreldate/1000%100)
}

// baseName returns the name of a file without its directory and without ".ko".
func baseName(path string) string {
	return strings.TrimSuffix(fileName(path), ".ko")
}

// fileName returns the name of a file without its directory.
func fileName(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}
