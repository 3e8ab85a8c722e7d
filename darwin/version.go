// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A kextVersion is a kext's version in the kernel's encoding since macOS 10.14: one number that orders as the kernel
// orders, major*10¹² + minor*10⁸ + revision*10⁴ + stage*10³ + level.
type kextVersion int64

// A stage is the release stage in a version; later stages are greater.
type stage int

// The stages. A version without a stage is a release.
const (
	stageDevelopment stage = 1 // d
	stageAlpha       stage = 3 // a
	stageBeta        stage = 5 // b
	stageCandidate   stage = 7 // f or fc
	stageRelease     stage = 9
)

// versionDigits is how many digits major, minor and revision may each have.
const versionDigits = 4

// versionWeights are what major, minor and revision count.
var versionWeights = [3]int64{1e12, 1e8, 1e4}

// parseVersion reads a version as the kernel of macOS 10.14 and later does:
//
//	major["."minor["."revision]][stage level]
//
// with up to 4 digits each for the first three, a stage d, a, b, f or fc, and a level of up to 255,
// which is not 0 after f. Text after a blank is ignored. The error is a fact.ParseError.
func parseVersion(s string) (kextVersion, error) {
	r := versionReader{s: s}
	bad := func(reason string) (kextVersion, error) {
		return -1, &fact.ParseError{Field: "version", Offset: int64(r.at),
			Reason: fmt.Sprintf("%q: %s", escape.Text(s), reason)}
	}
	if !isDigit(r.peek()) {
		return bad("it does not start with a digit")
	}
	var total int64
	for i, weight := range versionWeights {
		value, digits := r.number(versionDigits)
		total += value * weight
		c := r.peek()
		if isDigit(c) {
			return bad("a part has too many digits")
		}
		// A period ends a part. After the last part the kernel lets one pass only after the full
		// number of digits.
		if c == '.' && (i < 2 || digits == versionDigits) {
			r.at++
			continue
		}
		if c == 0 || isStage(c) {
			break
		}
		if digits < versionDigits {
			return bad("unexpected character")
		}
		// A full part needs no period before the next.
	}
	stage, level, reason := r.stage()
	if reason != "" {
		return bad(reason)
	}
	return kextVersion(total + int64(stage)*1e3 + level), nil
}

// CompareVersions orders two version texts as the kernel of macOS 10.14 and later does. Texts that
// are not versions come before those that are, among themselves in byte order.
func CompareVersions(a, b string) int {
	va, errA := parseVersion(a)
	vb, errB := parseVersion(b)
	switch {
	case errA != nil && errB != nil:
		return strings.Compare(a, b)
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return cmp.Compare(va, vb)
}

// String writes the version as the kernel does: always with a minor number, the revision when it
// is not 0, "f" for candidates. "1.2.0" and "1.2" are the same version, "1.2".
func (v kextVersion) String() string {
	if v < 0 || v/1e12 > 9999 {
		return "(invalid)"
	}
	s := fmt.Sprintf("%d.%d", v/1e12, v/1e8%1e4)
	if revision := v / 1e4 % 1e4; revision != 0 {
		s += fmt.Sprintf(".%d", revision)
	}
	level := v % 1e3
	switch stage(v / 1e3 % 10) {
	case stageDevelopment:
		return fmt.Sprintf("%sd%d", s, level)
	case stageAlpha:
		return fmt.Sprintf("%sa%d", s, level)
	case stageBeta:
		return fmt.Sprintf("%sb%d", s, level)
	case stageCandidate:
		return fmt.Sprintf("%sf%d", s, level)
	case stageRelease:
		return s
	}
	return "(invalid)"
}

// A versionReader reads a version from left to right.
type versionReader struct {
	s  string
	at int
}

// peek is the next byte; the end, and a blank, which is one, read as 0.
func (r *versionReader) peek() byte {
	if r.at >= len(r.s) {
		return 0
	}
	switch c := r.s[r.at]; c {
	case ' ', '\t', '\r', '\n':
		return 0
	default:
		return c
	}
}

// number reads up to most digits, and returns how many there were.
func (r *versionReader) number(most int) (value int64, digits int) {
	for digits < most && isDigit(r.peek()) {
		value = value*10 + int64(r.s[r.at]-'0')
		r.at++
		digits++
	}
	return value, digits
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isStage(c byte) bool { return c == 'd' || c == 'a' || c == 'b' || c == 'f' }

// stage reads a stage with its level, or the end; reason says what is wrong.
func (r *versionReader) stage() (at stage, level int64, reason string) {
	c := r.peek()
	if c == 0 {
		return stageRelease, 0, ""
	}
	switch c {
	case 'd':
		at = stageDevelopment
	case 'a':
		at = stageAlpha
	case 'b':
		at = stageBeta
	case 'f':
		at = stageCandidate
	default:
		return 0, 0, "unexpected character"
	}
	r.at++
	if at == stageCandidate && r.peek() == 'c' {
		r.at++
	}
	level, digits := r.number(3)
	switch {
	case digits == 0:
		return 0, 0, "a stage without a level"
	case r.peek() != 0:
		return 0, 0, "unexpected character after the level"
	case level > 255:
		return 0, 0, "a level over 255"
	case at == stageCandidate && level == 0:
		return 0, 0, "a candidate of level 0"
	}
	return at, level, ""
}
