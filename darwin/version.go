// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A Version is a kext's version in the kernel's encoding: one number that orders as the kernel
// orders. It is made of major*10¹² + minor*10⁸ + revision*10⁴ + stage*10³ + level, since macOS
// 10.14; [ParseOldVersion] gives the encoding before that.
type Version int64

// A Stage is the release stage in a version; later stages are greater.
type Stage int

// The stages. A version without a stage is a release.
const (
	StageDevelopment Stage = 1 // d
	StageAlpha       Stage = 3 // a
	StageBeta        Stage = 5 // b
	StageCandidate   Stage = 7 // f or fc
	StageRelease     Stage = 9
)

// A versionForm is one generation of the encoding.
type versionForm struct {
	digits [3]int   // most digits of major, minor, revision
	weight [3]int64 // what each counts
}

var (
	versionForm1014 = versionForm{[3]int{4, 4, 4}, [3]int64{1e12, 1e8, 1e4}}
	versionFormOld  = versionForm{[3]int{4, 2, 2}, [3]int64{1e8, 1e6, 1e4}}
)

// ParseVersion reads a version as the kernel of macOS 10.14 and later does:
//
//	major["."minor["."revision]][stage level]
//
// with up to 4 digits each for the first three, a stage d, a, b, f or fc, and a level of up to 255,
// which is not 0 after f. Text after a blank is ignored. The error is a fact.ParseError.
func ParseVersion(s string) (Version, error) { return versionForm1014.parse(s) }

// ParseOldVersion reads a version as kernels before macOS 10.14 do: minor and revision have up to
// 2 digits, and count 10⁶ and 10⁴, major counts 10⁸.
func ParseOldVersion(s string) (Version, error) { return versionFormOld.parse(s) }

// CompareVersions orders two version texts as the kernel of macOS 10.14 and later does. Texts that
// are no versions come before those that are, among themselves in byte order.
func CompareVersions(a, b string) int {
	va, errA := ParseVersion(a)
	vb, errB := ParseVersion(b)
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
func (v Version) String() string {
	if v < 0 || v/1e12 > 9999 {
		return "(invalid)"
	}
	s := fmt.Sprintf("%d.%d", v/1e12, v/1e8%1e4)
	if revision := v / 1e4 % 1e4; revision != 0 {
		s += fmt.Sprintf(".%d", revision)
	}
	level := v % 1e3
	switch Stage(v / 1e3 % 10) {
	case StageDevelopment:
		return fmt.Sprintf("%sd%d", s, level)
	case StageAlpha:
		return fmt.Sprintf("%sa%d", s, level)
	case StageBeta:
		return fmt.Sprintf("%sb%d", s, level)
	case StageCandidate:
		return fmt.Sprintf("%sf%d", s, level)
	case StageRelease:
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

func (f *versionForm) parse(s string) (Version, error) {
	r := versionReader{s: s}
	bad := func(reason string) (Version, error) {
		return -1, &fact.ParseError{Field: "version", Offset: int64(r.at),
			Reason: fmt.Sprintf("%q: %s", escape.Text(s), reason)}
	}
	if !isDigit(r.peek()) {
		return bad("it does not start with a digit")
	}
	var total int64
	for i, most := range f.digits {
		value, digits := r.number(most)
		total += value * f.weight[i]
		c := r.peek()
		if isDigit(c) {
			return bad("a part has too many digits")
		}
		// A period ends a part. After the last part the kernel lets one pass only behind the full
		// number of digits.
		if c == '.' && (i < 2 || digits == most) {
			r.at++
			continue
		}
		if c == 0 || isStage(c) {
			break
		}
		if digits < most {
			return bad("unexpected character")
		}
		// A full part needs no period before the next.
	}
	stage, level, reason := r.stage()
	if reason != "" {
		return bad(reason)
	}
	return Version(total + int64(stage)*1e3 + level), nil
}

func isStage(c byte) bool { return c == 'd' || c == 'a' || c == 'b' || c == 'f' }

// stage reads a stage with its level, or the end; reason says what is wrong.
func (r *versionReader) stage() (stage Stage, level int64, reason string) {
	c := r.peek()
	if c == 0 {
		return StageRelease, 0, ""
	}
	switch c {
	case 'd':
		stage = StageDevelopment
	case 'a':
		stage = StageAlpha
	case 'b':
		stage = StageBeta
	case 'f':
		stage = StageCandidate
	default:
		return 0, 0, "unexpected character"
	}
	r.at++
	if stage == StageCandidate && r.peek() == 'c' {
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
	case stage == StageCandidate && level == 0:
		return 0, 0, "a candidate of level 0"
	}
	return stage, level, ""
}
