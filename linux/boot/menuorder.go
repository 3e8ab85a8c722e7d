// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"path"
	"slices"
	"strings"
)

// sortLoader puts the loader entries from an index on in the order of GRUB's menu, the newest first, as blscfg does
// (bls_cmp): by name, version and release, which it takes from the file's name. systemd-boot has the newest first, too.
func (r *bootReader) sortLoader(from int) {
	key := func(e *Entry) [3]string {
		id := strings.TrimSuffix(path.Base(e.File), ".conf")
		return packageName(id[:min(len(id), maxLoaderName)])
	}
	slices.SortStableFunc(r.boot.Entries[from:], func(a, b Entry) int {
		first, second := key(&a), key(&b)
		for i := range first {
			if c := compareVersions(second[i], first[i]); c != 0 {
				return c
			}
		}
		return 0
	})
}

// placeLoader moves the loader entries from an index on to where a grub.cfg has its command blscfg; without one they
// stay.
func (r *bootReader) placeLoader(from int) {
	if r.blscfg < 0 || r.blscfg >= from {
		return
	}
	moved := slices.Clone(r.boot.Entries[from:])
	r.boot.Entries = slices.Insert(r.boot.Entries[:from], r.blscfg, moved...)
}

// maxLoaderName is how much of a file's name is compared: Linux has no longer ones.
const maxLoaderName = 255

// packageName divides the name of a loader entry as that of a package: name, version and release (split_package_string
// in GRUB's blscfg.c).
func packageName(id string) (parts [3]string) {
	parts[0] = id
	if i := strings.LastIndexByte(parts[0], '-'); i >= 0 {
		parts[0], parts[2] = parts[0][:i], parts[0][i+1:]
	}
	if i := strings.LastIndexByte(parts[0], '-'); i >= 0 {
		parts[0], parts[1] = parts[0][:i], parts[0][i+1:]
	} else {
		parts[1], parts[2] = parts[2], ""
	}
	return parts
}

// compareVersions compares as rpmvercmp of RPM and of GRUB's blscfg: segments of digits or of letters, one by one; a
// number is newer than letters, and "~" is older than anything.
func compareVersions(a, b string) int {
	if a == b {
		return 0
	}
	for {
		a, b = strings.TrimLeftFunc(a, isSeparator), strings.TrimLeftFunc(b, isSeparator)
		switch tildeA, tildeB := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); {
		case tildeA && tildeB:
			a, b = a[1:], b[1:]
			continue
		case tildeA:
			return -1
		case tildeB:
			return 1
		case a == "" || b == "":
			return min(len(a), 1) - min(len(b), 1)
		}
		set, number := letters, isDigit(a[0])
		if number {
			set = digits
		}
		first, second := segment(a, set), segment(b, set)
		if second == "" {
			return map[bool]int{true: 1, false: -1}[number]
		}
		a, b = a[len(first):], b[len(second):]
		if number {
			first, second = strings.TrimLeft(first, "0"), strings.TrimLeft(second, "0")
			if len(first) != len(second) {
				return len(first) - len(second)
			}
		}
		if c := strings.Compare(first, second); c != 0 {
			return c
		}
	}
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isSeparator reports whether a character only divides segments.
func isSeparator(c rune) bool { return c != '~' && !strings.ContainsRune(digits+letters, c) }

// segment returns the beginning of s that is of these characters.
func segment(s, set string) string { return s[:len(s)-len(strings.TrimLeft(s, set))] }
