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
	CodePermission  Code = "permission"  // the caller may not read it
	CodeAbsent      Code = "absent"      // it is not there
	CodeGone        Code = "gone"        // it went away while it was being read
	CodeUnsupported Code = "unsupported" // this system, or this library, has no such thing
	CodeRestricted  Code = "restricted"  // the kernel hides it from this caller, by a setting such as kptr_restrict
	CodeMalformed   Code = "malformed"   // it was read and is invalid
	CodeTooLarge    Code = "too_large"   // a size limit was reached
	CodeTimeout     Code = "timeout"     // a read did not return in time
	CodeUnrecorded  Code = "unrecorded"  // the tape being replayed holds no answer to this question
	CodeOlder       Code = "older"       // the tape being replayed was recorded before the library asked this question
	CodeRedacted    Code = "redacted"    // the tape's recorder removed it
	CodeBudget      Code = "budget"      // the caller's own limit on work or time ran out
	CodeOther       Code = "other"       // none of these
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

// ErrOlder is the answer of a tape to a question that this library did not ask yet when the tape was recorded. It
// matches errors.ErrUnsupported, and its code is CodeOlder. A list forgives it: what it misses is what it did not have
// when the tape was recorded. A conclusion that needs the answer is unknown. A reader reports it as any other error.
var ErrOlder error = olderError{}

type olderError struct{}

func (olderError) Error() string { return "this tape is older than the question" }

func (olderError) Is(target error) bool { return target == errors.ErrUnsupported }

// ErrBlacklisted is the error for a name that the loader would do nothing for, because the
// configuration keeps aliases from loading what it stands for. It has no code: nothing is unknown.
var ErrBlacklisted = errors.New("blacklisted")

// ErrHintsLost is what Hints.Next returns if the kernel dropped events.
var ErrHintsLost = errors.New("events were lost")

// sentinels pairs each code with the error it stands for, most specific first: an error that is
// both (a redacted file is also unrecorded, say) takes the first code that fits.
var sentinels = [...]struct {
	code Code
	err  error
}{
	{CodeOlder, ErrOlder},
	{CodeRedacted, ErrRedacted},
	{CodeUnrecorded, ErrUnrecorded},
	{CodeRestricted, ErrRestricted},
	{CodeBudget, ErrBudget},
	{CodeTooLarge, ErrTooLarge},
	{CodeMalformed, ErrMalformed},
	{CodeGone, ErrGone},
	{CodeTimeout, os.ErrDeadlineExceeded},
	{CodeTimeout, context.DeadlineExceeded},
	{CodePermission, fs.ErrPermission},
	{CodeAbsent, fs.ErrNotExist},
	{CodeUnsupported, errors.ErrUnsupported},
}

// Lacks reports whether err says that the machine, or this library, has no such thing. A tape that is older than the
// question does not say so.
func Lacks(err error) bool { return errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrOlder) }

// CodeOf returns the code for err, CodeOther for an error it has no word for, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.code
		}
	}
	return CodeOther
}

// Err returns the sentinel error that the code stands for, or nil for CodeOther, "" and unknown codes.
func (c Code) Err() error {
	for _, s := range sentinels {
		if s.code == c {
			return s.err
		}
	}
	return nil
}
