// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
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

// print writes the table with aligned columns, two blanks apart.
func (t *table) print(w io.Writer, bold bool) {
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
	line := t.line(t.head, widths)
	if bold {
		line = "\x1b[1m" + line + "\x1b[0m"
	}
	fmt.Fprintln(w, line)
	for _, row := range t.rows {
		fmt.Fprintln(w, t.line(row, widths))
	}
}

func (t *table) line(cells []string, widths []int) string {
	var b strings.Builder
	for i, cell := range cells {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			b.WriteString("  ")
		}
		if t.isRight(i) {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func (t *table) isRight(i int) bool { return i < len(t.right) && t.right[i] }

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
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`).Replace(escape.Text(s))
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
