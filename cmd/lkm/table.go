// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kernelext/kernelext/internal/escape"
)

// A table is columns of text. Its cells are escaped when it is printed.
type table struct {
	head  []string
	right []bool // which columns are numbers
	rows  [][]string
}

// gap is the text between two columns.
const gap = "  "

// print writes the table with aligned columns, which fit the terminal.
func (a *app) print(t *table) {
	widths := t.layout(a.out.width)
	a.printHead(t, widths)
	for _, row := range t.rows {
		a.printRow(t, row, widths)
	}
}

func (a *app) printHead(t *table, widths []int) {
	for _, line := range t.lines(t.head, widths, a.out.width, func(_, _, shown string) string { return shown }) {
		fmt.Fprintln(a.stdout, a.paint(boldStyle, line))
	}
}

func (a *app) printRow(t *table, row []string, widths []int) {
	show := func(head, cell, shown string) string { return a.paint(cellStyle(head, cell), shown) }
	for _, line := range t.lines(row, widths, a.out.width, show) {
		fmt.Fprintln(a.stdout, line)
	}
}

// layout returns the width of each column, so that a row has at most limit columns of a terminal; 0 is no limit. What
// names something is never cut: the widest of the others gets narrower until all fit, or nothing is left to take.
func (t *table) layout(limit int) []int {
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i] = escape.Text(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	if limit == 0 {
		return widths
	}
	for _, small := range []int{keptWidth, 0} {
		shrink(widths, t.least(widths, small), limit-len(gap)*(len(widths)-1))
	}
	return widths
}

// shrink makes the widest column narrower until all fit into room, or none is wider than its least.
func shrink(widths, least []int, room int) {
	for _, w := range widths {
		room -= w
	}
	for room < 0 {
		widest := -1
		for i, w := range widths {
			if w > least[i] && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		room++
	}
}

// Widths of columns in a table that has to fit.
const (
	keptWidth = 12 // a column that is not wider is left as it is, as long as the wider ones have something to give
	cutWidth  = 7  // what is left at least of one that is cut
	wrapWidth = 20 // what is left at least of the last one, which wraps
)

// least returns how narrow each column may get, where those up to small stay as they are.
func (t *table) least(widths []int, small int) []int {
	least := make([]int, len(widths))
	for i, w := range widths {
		switch {
		case i == len(widths)-1:
			least[i] = min(w, wrapWidth)
		case t.isRight(i) || slices.Contains(keptHeads, t.head[i]):
			least[i] = w
		case w <= small:
			least[i] = w
		default:
			least[i] = min(w, max(utf8.RuneCountInString(t.head[i]), cutWidth))
		}
	}
	return least
}

// keptHeads are the columns that name what a row is about.
var keptHeads = []string{"NAME", "MODULE", "QUERY", "ALIAS", "SOURCE", "FACT", "RULE", "HOST"}

// lines returns a row as lines of a terminal: each cell in its column, and the last one wrapped below itself.
func (t *table) lines(cells []string, widths []int, limit int, show func(head, cell, shown string) string) []string {
	last := len(cells) - 1
	var b strings.Builder
	indent := 0
	for i, cell := range cells[:last] {
		shown := cell
		if limit > 0 && !t.isRight(i) && !slices.Contains(keptHeads, t.head[i]) {
			shown = cut(cell, widths[i], t.head[i] == "PATH" || t.head[i] == "WHERE")
		}
		pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(shown)))
		if t.isRight(i) {
			b.WriteString(pad + show(t.head[i], cell, shown) + gap)
		} else {
			b.WriteString(show(t.head[i], cell, shown) + pad + gap)
		}
		indent += widths[i] + len(gap)
	}
	wrapped := []string{cells[last]}
	if limit > 0 && !t.isRight(last) {
		wrapped = wrap(cells[last], widths[last])
	}
	if pad := widths[last] - utf8.RuneCountInString(wrapped[0]); t.isRight(last) && pad > 0 {
		b.WriteString(strings.Repeat(" ", pad))
	}
	first := strings.TrimRight(b.String()+show(t.head[last], cells[last], wrapped[0]), " ")
	lines := append(make([]string, 0, len(wrapped)), first)
	for _, more := range wrapped[1:] {
		lines = append(lines, strings.Repeat(" ", indent)+show(t.head[last], cells[last], more))
	}
	return lines
}

// cut returns text in at most width columns: of a list of names the first ones and how many there are besides, of a
// path its end, else the beginning.
func cut(text string, width int, path bool) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if names := strings.Split(text, ","); len(names) > 1 && !strings.Contains(text, " ") {
		return someNames(names, width)
	}
	if path {
		return "…" + string(runes[len(runes)-width+1:])
	}
	return string(runes[:width-1]) + "…"
}

// someNames returns the first of several names and how many more there are: "a,b +7".
func someNames(names []string, width int) string {
	shown := ""
	for i, name := range names {
		rest := fmt.Sprintf(" +%d", len(names)-i-1)
		if next := strings.TrimPrefix(shown+","+name, ","); utf8.RuneCountInString(next+rest) <= width {
			shown = next
			continue
		}
		if i == 0 {
			return cut(name, max(width-len(rest), 2), false) + rest
		}
		return fmt.Sprintf("%s +%d", shown, len(names)-i)
	}
	return shown
}

// wrap breaks text into lines of at most width columns: at blanks, else after a slash or a comma, else anywhere.
func wrap(text string, width int) []string {
	var lines []string
	rest := []rune(text)
	for len(rest) > width {
		at := width
		for ; at > 0 && rest[at] != ' '; at-- {
		}
		if at == 0 {
			for at = width; at > width/2 && !strings.ContainsRune("/,;", rest[at-1]); at-- {
			}
			if at == width/2 {
				at = width
			}
		}
		lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
		for rest = rest[at:]; len(rest) > 0 && rest[0] == ' '; {
			rest = rest[1:]
		}
	}
	return append(lines, string(rest))
}

func (t *table) isRight(i int) bool { return i < len(t.right) && t.right[i] }

// writeText writes text after a label, wrapped below itself on a terminal. The label may have styles. A word that would
// go past the edge, such as a path, begins further left.
func (a *app) writeText(label string, indent int, text string) {
	lines := []string{text}
	if a.out.width > 0 {
		lines = words(text, max(a.out.width-indent, wrapWidth))
	}
	below := lines[1:]
	if label != "" && strings.TrimSpace(label) == "" && a.out.width > 0 {
		below = lines
	} else {
		fmt.Fprintln(a.stdout, strings.TrimRight(label+lines[0], " "))
	}
	for _, line := range below {
		left := max(0, min(indent, a.out.width-utf8.RuneCountInString(line)))
		fmt.Fprintln(a.stdout, strings.Repeat(" ", left)+line)
	}
}

// words breaks text into lines of at most width columns, at blanks alone, so that what a person copies is whole.
func words(text string, width int) []string {
	var lines []string
	line, n := "", 0
	for _, word := range strings.SplitAfter(text, " ") {
		w := utf8.RuneCountInString(strings.TrimRight(word, " "))
		if n > 0 && n+w > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line, n = "", 0
			if w == 0 {
				continue // a blank at which the line is broken
			}
		}
		line += word
		n += utf8.RuneCountInString(word)
	}
	return append(lines, line)
}

// longestWord is how many columns the longest word of a text needs.
func longestWord(text string) int {
	most := 0
	for word := range strings.FieldsSeq(text) {
		most = max(most, utf8.RuneCountInString(word))
	}
	return most
}

// markdown writes the table as a Markdown table.
func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|", strings.Join(t.head, " | "))
	for i := range t.head {
		if t.isRight(i) {
			fmt.Fprint(w, " ---: |")
		} else {
			fmt.Fprint(w, " --- |")
		}
	}
	fmt.Fprintln(w)
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i := range row {
			cells[i] = markdownCell(row[i])
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}

// markdownCell keeps a cell's text from ending its cell or becoming markup.
func markdownCell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`).
		Replace(escape.Text(s))
}

// bytesText writes a number of bytes in the unit of its size: 56K, 5.9M.
func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprint(n)
	case n < 1<<20:
		return fmt.Sprintf("%dK", (n+512)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1fG", float64(n)/(1<<30))
}
