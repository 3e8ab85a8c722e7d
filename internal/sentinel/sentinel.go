// SPDX-License-Identifier: Apache-2.0

// Package sentinel holds the type of package-level errors that wrap another one. Unlike fmt.Errorf
// it runs nothing at import.
package sentinel

// An Error wraps Cause. Its text is Before, the text of Cause and After, joined with ": "; an empty
// Before or After is left out.
type Error struct {
	Before string
	Cause  error
	After  string
}

func (e *Error) Error() string {
	text := e.Cause.Error()
	if e.Before != "" {
		text = e.Before + ": " + text
	}
	if e.After != "" {
		text += ": " + e.After
	}
	return text
}

// Unwrap returns Cause.
func (e *Error) Unwrap() error { return e.Cause }
