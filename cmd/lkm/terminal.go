// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// A screen is what is known of where a stream of output goes.
type screen struct {
	terminal bool // a person reads it
	width    int  // columns of the terminal; 0 is no limit
}

// minWidth is the narrowest terminal that tables are fitted to.
const minWidth = 40

// screenOf returns what w goes to. A pipe or a file has no width.
func screenOf(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok {
		return screen{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return screen{} // no driver of a terminal is asked
	}
	columns, ok := terminalWidth(f.Fd())
	if !ok {
		return screen{}
	}
	if columns > 0 {
		columns = max(columns, minWidth)
	}
	return screen{true, columns}
}

// colorWords are the values of --color.
var colorWords = []string{"auto", "always", "never"}

// setColor decides whether output is colored: with auto on a terminal, unless the environment says no
// (https://no-color.org, and TERM=dumb as other tools have it).
func (a *app) setColor() error {
	switch a.flags.color {
	case "always":
		a.color = true
	case "never":
		a.color = false
	case "auto":
		a.color = a.out.terminal && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb"
	default:
		return fmt.Errorf("--color %q is not one of %s", a.flags.color, strings.Join(colorWords, ", "))
	}
	return nil
}

// A style is how text is shown on a terminal: the parameters of SGR in ECMA-48; "" is as everything.
type style string

const (
	plainStyle style = ""
	boldStyle  style = "1"
	alarmStyle style = "1;31" // wants attention
	warnStyle  style = "33"   // may want attention
	goodStyle  style = "32"   // a question that was answered well
	dimStyle   style = "2"    // not known, or of no weight
)

// paint shows text in a style, where colors are wanted.
func (a *app) paint(s style, text string) string {
	if !a.color || s == plainStyle || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// labelStyle returns how the label of a line of a card is shown.
func labelStyle(label string) style {
	switch label {
	case "unknown", "problem":
		return warnStyle
	case "BLOCKLIST":
		return alarmStyle
	}
	return plainStyle
}

// cellStyle returns how a cell below a head is shown.
func cellStyle(head, cell string) style {
	switch {
	case cell == unknown:
		return dimStyle
	case cell == none:
		return plainStyle
	case head == "VALUE" && strings.HasPrefix(cell, unknownValue):
		return dimStyle
	case head == "TAINT":
		return warnStyle
	}
	switch head + " " + cell {
	case "SIGNED no", "SIGNED invalid", "SIGNED untrusted", "SIGNED not valid", "GRADE LOST", "GRADE REFUSED",
		"GRADE BOOT", "GRADE STRONG", "OUTCOME failed":
		return alarmStyle
	case "ORIGIN third-party", "GRADE CHANGED", "GRADE FIRMWARE", "GRADE UNKNOWN", "GRADE WEAK", "OUTCOME partial",
		"OUTCOME denied", "DOES run", "DOES nothing", "CHANGE added", "CHANGE removed", "CHANGE changed":
		return warnStyle
	}
	return plainStyle
}
