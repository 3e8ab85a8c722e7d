// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// A Code is one word for why something is unknown or incomplete. The table is closed for writers
// of this version; readers keep a word they do not know.
type Code string

// The codes.
const (
	Permission  Code = "permission"  // the caller may not read it
	Absent      Code = "absent"      // it is not there
	Gone        Code = "gone"        // it went away while it was being read
	Unsupported Code = "unsupported" // this system, or this library, has no such thing
	Restricted  Code = "restricted"  // the kernel hides it from this caller, by a setting such as kptr_restrict
	Malformed   Code = "malformed"   // it was read and makes no sense
	TooLarge    Code = "too_large"   // a size limit was reached
	Timeout     Code = "timeout"     // a read did not return in time
	Unrecorded  Code = "unrecorded"  // the tape being replayed holds no answer to this question
	Redacted    Code = "redacted"    // the tape's recorder removed it
	Budget      Code = "budget"      // the caller's own limit on work or time ran out
	Other       Code = "other"       // none of these
)

// Errors that say why, beside the standard library's fs.ErrPermission, fs.ErrNotExist,
// errors.ErrUnsupported and os.ErrDeadlineExceeded. They are never returned bare: test for them
// with errors.Is. They exist under the same name on every operating system.
var (
	ErrGone       = errors.New("went away while being read")
	ErrRestricted = errors.New("hidden by the kernel")
	ErrMalformed  = errors.New("malformed")
	ErrTooLarge   = errors.New("too large")
	ErrUnrecorded = errors.New("not recorded on this tape")
	ErrRedacted   = errors.New("redacted from this tape")
	ErrBudget     = errors.New("budget used up")
)

// sentinels pairs each code with the error it stands for, most specific first: an error that is
// both (a redacted file is also unrecorded, say) takes the first code that fits.
var sentinels = [...]struct {
	code Code
	err  error
}{
	{Redacted, ErrRedacted},
	{Unrecorded, ErrUnrecorded},
	{Restricted, ErrRestricted},
	{Budget, ErrBudget},
	{TooLarge, ErrTooLarge},
	{Malformed, ErrMalformed},
	{Gone, ErrGone},
	{Timeout, os.ErrDeadlineExceeded},
	{Timeout, context.DeadlineExceeded},
	{Permission, fs.ErrPermission},
	{Absent, fs.ErrNotExist},
	{Unsupported, errors.ErrUnsupported},
}

// CodeOf returns the code for err, Other for an error it has no word for, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return Other
}

// Err returns the sentinel error that the code stands for, or nil for Other, "" and unknown codes.
func (c Code) Err() error {
	for _, s := range sentinels {
		if s.code == c {
			return s.err
		}
	}
	return nil
}
