// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
)

// SourceWinDbg is the source of a capture of the debugger's command lm.
const SourceWinDbg = "windbg"

// Where kernel memory begins on 64 bits, and on 32 bits without the switch /3GB.
const (
	kernel64 = 0xffff_8000_0000_0000
	kernel32 = 0x8000_0000
	top32    = 0xffff_ffff
)

// lmRow matches a row: the addresses of the start and the end, the module, and what follows.
var lmRow = lazy.Regexp{Pattern: "^\\s*([0-9a-f]{8}`?(?:[0-9a-f]{8})?)" +
	"\\s+([0-9a-f]{8}`?(?:[0-9a-f]{8})?)\\s+(\\S+)\\s*(.*)$"}

// ReadWinDbg reads what the command lm of WinDbg and kd prints of a kernel: images in memory with their addresses. The
// modules of a process, which lie below the kernel, are not drivers, and neither are those that were unloaded. A module
// is named as the debugger names it, which is not its file's name.
func ReadWinDbg(text string, r *fact.Report) fact.Capture[Driver] {
	text = readConsole(text, SourceWinDbg, r)
	b := newCapture(SourceWinDbg, text)
	header, kernel, unloaded := false, false, false
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.Trim(strings.TrimRight(line, " \t\r\n"), "*") // bold, in Markdown
		trimmed := strings.TrimSpace(line)
		switch {
		case lmHeader(trimmed):
			header, unloaded = true, false
		case strings.HasPrefix(trimmed, "Unloaded modules:"):
			unloaded = true
		case unloaded && lmRow.MatchString(line), strings.HasPrefix(trimmed, "Browse full module list"):
		case strings.Contains(trimmed, "kd> lm"), trimmed == "":
		case (header || strings.Contains(line, "`")) && b.lmRow(line, &kernel):
		case header:
			b.Stray(n, line)
		}
	}
	if b.Sure = header && b.rows > 0; b.rows > 0 && !kernel {
		r.Add(fact.Problem{Source: SourceWinDbg, Field: "modules", Code: fact.CodeOther,
			Text: "the text has no row of the kernel itself, nt: it shows some modules only"})
	}
	return b.done(r)
}

// lmHeader recognizes the header, whatever its blanks.
func lmHeader(line string) bool {
	w := strings.Fields(line)
	return len(w) == 4 && w[0] == "start" && w[1] == "end" && w[2] == "module" && w[3] == "name"
}

// lmSplitName reports whether what follows a name is the rest of one: a word, and then the state of the symbols. The
// debugger writes "_" for the blanks of a file's name, and flags of one letter before the state.
func lmSplitName(rest string) bool {
	w := strings.Fields(rest)
	return len(w) > 1 && len(w[0]) > 1 && !strings.HasPrefix(w[0], "(") && strings.HasPrefix(w[1], "(") &&
		!strings.ContainsAny(w[0], `.\:`)
}

// lmRow adds an image of the kernel; false if the line is not a row.
func (b *captureBuilder) lmRow(line string, kernel *bool) bool {
	m := lmRow.FindStringSubmatch(line)
	if m == nil || b.full() {
		return false
	}
	start, err := strconv.ParseUint(strings.ReplaceAll(m[1], "`", ""), 16, 64)
	end, err2 := strconv.ParseUint(strings.ReplaceAll(m[2], "`", ""), 16, 64)
	if err != nil || err2 != nil || end <= start {
		return false
	}
	if start < kernel32 || start > top32 && start < kernel64 {
		return true // of a process
	}
	if lmSplitName(m[4]) {
		return false
	}
	name, image, path := m[3], "", ""
	if w := strings.Fields(m[4]); len(w) > 0 {
		if f := fold(w[0]); strings.HasSuffix(f, ".sys") || strings.HasSuffix(f, ".exe") || strings.HasSuffix(f,
			".dll") {
			image = w[0]
			path, _ = capturePaths.dos(image)
		}
	}
	*kernel = *kernel || name == "nt"
	b.rows++
	key := "module " + fold(name)
	switch {
	case path != "":
		key, name = capturePaths.key(path), baseName(path)
	case image != "" && image == baseName(image):
		key, name = fold(image), image
	}
	e := b.entry(key, name, path)
	e.Loaded, e.Address, e.FileSize = true, fact.Address(start), fact.CountOf(int64(end-start))
	e.Driver.column("module", m[3])
	return true
}
