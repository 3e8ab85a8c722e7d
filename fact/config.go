// SPDX-License-Identifier: Apache-2.0

package fact

import "errors"

// A Config is the configuration of a system's module loader as it takes effect: on Linux that of modprobe(8).
type Config struct {
	// Release is the kernel release whose directory took part; empty if none did, or several are looked at.
	Release string `json:"release,omitzero"`
	// Files are the files that were read, in the loader's order, as paths of the machine.
	Files []string `json:"files"`
	// Settings are the lines that the loader keeps, each list in the loader's order.
	Settings []Setting `json:"settings"`
	// Idle are the lines that do nothing, by file and line. Nil if they were not looked for.
	Idle []IdleLine `json:"idle,omitzero"`
	// Problems are what could not be read. A file that is missing here may add a line, and a line may do something for
	// a module that could not be looked up.
	Problems []Problem `json:"problems,omitzero"`
}

// A Setting is one line of a loader's configuration, or one word of the kernel's command line that the loader takes for
// a line.
type Setting struct {
	// Directive says what the line sets, in the loader's own word: alias, blacklist, install, options, …
	Directive string `json:"directive"`
	// Name is what the line is about, as the loader compares it: a module, an alias or a pattern.
	Name string `json:"name"`
	// Value is the rest of the line; empty for a directive without one.
	Value string `json:"value,omitzero"`
	// File is the file, as a path of the machine.
	File string `json:"file"`
	// Line is the line in File, counted from 1. A continued line counts as its last.
	Line int `json:"line"`
}

// An IdleLine is a line that does nothing, or not all of what it seems to do, with the reason.
type IdleLine struct {
	// Text is the line as the loader reads it; empty for a whole file.
	Text string `json:"text,omitzero"`
	// File is the file, as a path of the machine.
	File string `json:"file"`
	// Line is the line in File, counted from 1; 0 for a whole file.
	Line int `json:"line,omitzero"`
	// Reason is why. Its File and Line are those of the line that counts instead, if there is one.
	Reason Reason `json:"reason"`
}

// Err joins what could not be read; nil if nothing is missing.
func (c *Config) Err() error {
	var errs []error
	for _, p := range c.Problems {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
