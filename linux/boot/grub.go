// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// grubEnv are grub's variables: those of its environment block, and those that a grub.cfg sets.
// Neither is read before a variable is asked for.
type grubEnv struct {
	blocks  func() []string     // the texts of the environment blocks
	configs []string            // the texts of the grub.cfg
	values  map[string][]string // those that a variable is set to; nil until one is asked for
	unsure  map[string]bool     // set to something that is not known
	known   int                 // how many of configs are in values

	item *fact.Item // of the file in which variables are replaced
	err  error      // that file is too much
}

// work asks for n steps, and reports whether they are allowed.
func (e *grubEnv) work(n int) bool {
	if err := e.item.Work(int64(n)); err != nil && e.err == nil {
		e.err = err
	}
	return e.err == nil
}

// lookup returns a variable's value, when it is known.
func (e *grubEnv) lookup(name string) (string, bool) {
	if values := e.literals(name); len(values) == 1 {
		return values[0], true
	}
	return "", false
}

// harmless returns one of the values of a variable between blanks, if all values are known and none concerns modules,
// as with $vt_handoff of Ubuntu.
func (e *grubEnv) harmless(name, before, after string) (string, bool) {
	values := e.literals(name)
	if len(values) == 0 || !endsInBlank(before) || after != "" && after[0] != ' ' && after[0] != '\t' {
		return "", false
	}
	for _, value := range values {
		if !e.work(4 * len(value)) {
			return "", false
		}
		words := ParseCmdline(value)
		if strings.ContainsAny(value, `"'\`) || slices.Contains(strings.Fields(value), "--") ||
			slices.ContainsFunc(words, func(w Word) bool { return KeepsKey(w.Key) }) {
			return "", false
		}
	}
	return values[0], true
}

func endsInBlank(s string) bool {
	return s == "" || strings.HasSuffix(s, " ") || strings.HasSuffix(s, "\t")
}

// maxLiterals is how many values of one variable are kept.
const maxLiterals = 16

// literals returns the values that a variable is set to; none when it may have another.
func (e *grubEnv) literals(name string) []string {
	if e.values == nil {
		e.values, e.unsure = make(map[string][]string), make(map[string]bool)
		for _, text := range e.blocks() {
			e.block(text)
		}
	}
	for ; e.known < len(e.configs); e.known++ {
		e.config(e.configs[e.known])
	}
	if e.unsure[name] || len(e.values[name]) > maxLiterals {
		return nil
	}
	return e.values[name]
}

// block reads an environment block: lines of NAME=VALUE.
func (e *grubEnv) block(text string) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "=")
		if ok && !strings.HasPrefix(key, "#") {
			e.values[key] = []string{value}
		}
	}
}

// config reads the commands of a grub.cfg that set variables. A "set" after a test for an empty variable gives a
// default.
func (e *grubEnv) config(text string) {
	none := &grubEnv{values: map[string][]string{}}
	setting := func(command string) bool {
		return command == "for" || command == "read" || command == "unset" || command == "set"
	}
	before := ""
	for command := range grubCommands(text) {
		words, unresolved := none.words(command.text, setting)
		switch {
		case len(words) < 2:
		case words[0] == "for", words[0] == "read":
			e.unsure[words[1]] = true
		case words[0] == "unset":
			e.addLiteral(words[1], "")
		case len(words) == 2 && words[0] == "set":
			name, value, _ := strings.Cut(words[1], "=")
			old := e.values[name]
			switch isDefault := strings.Contains(before, "-z") && strings.Contains(before, name); {
			case len(unresolved) > 0:
				e.unsure[name] = true
			case isDefault && len(old) > 0 && !slices.Contains(old, ""):
			default:
				e.addLiteral(name, value)
			}
		}
		before = command.text
	}
}

// addLiteral notes one more value of a variable.
func (e *grubEnv) addLiteral(name, value string) {
	if values := e.values[name]; len(values) <= maxLiterals && !slices.Contains(values, value) {
		e.values[name] = append(values, value)
	}
}

// A grubLine is one line of a grub.cfg, with the number of its last line when it goes on over
// several.
type grubLine struct {
	text   string
	number int
}

// grubLines joins lines that end in a backslash.
func grubLines(text string) func(yield func(grubLine) bool) {
	return func(yield func(grubLine) bool) {
		n := 0
		var joined strings.Builder // of the lines that end in a backslash
		for line := range strings.Lines(text) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if head, ok := strings.CutSuffix(line, `\`); ok && !strings.HasSuffix(head, `\`) {
				joined.WriteString(head)
				continue
			}
			if joined.Len() > 0 {
				joined.WriteString(line)
				line = joined.String()
				joined.Reset()
			}
			if !yield(grubLine{line, n}) {
				return
			}
		}
		if joined.Len() > 0 {
			yield(grubLine{joined.String(), n})
		}
	}
}

// grubCommands divides a grub.cfg into its commands: one line may contain several, one after another or within braces.
func grubCommands(text string) func(yield func(grubLine) bool) {
	return func(yield func(grubLine) bool) {
		for line := range grubLines(text) {
			for rest := line.text; rest != ""; {
				n := commandEnd(rest)
				command := bareCommand(rest[:n])
				rest = strings.TrimLeft(rest[n:], commandEnds)
				if command != "" && !yield(grubLine{command, line.number}) {
					return
				}
			}
		}
	}
}

// commandEnds are the characters that end a command outside of quotes.
const commandEnds = ";{}&|"

// commandEnd is where the line's first command ends. A comment is not a command, and belongs to the one
// before it.
func commandEnd(line string) int {
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; {
		case ch == '\\':
			i++
		case ch == '\'' || ch == '"':
			i += quotedLength(line[i:]) - 1
		case ch == '$' && strings.HasPrefix(line[i+1:], "{"):
			i += max(strings.IndexByte(line[i:min(i+maxVariable, len(line))], '}'), 1)
		case ch == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return len(line)
		case strings.IndexByte(commandEnds, ch) >= 0:
			return i
		}
	}
	return len(line)
}

// quotedLength is the length of the quoted text at the start of s, including the quotes; the length of s if they are
// not closed.
func quotedLength(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1
		case s[i] == '\\' && s[0] == '"':
			i++
		}
	}
	return len(s)
}

// bareCommand takes away the words that only say whether, or how often, a command is run.
func bareCommand(command string) string {
	for {
		command = strings.Trim(command, " \t")
		end := strings.IndexAny(command, " \t")
		if end < 0 {
			end = len(command)
		}
		switch command[:end] {
		case "if", "elif", "then", "else", "while", "until", "do", "!", "time":
			command = command[end:]
		default:
			return command
		}
	}
}

// words divides a line as grub does: at blanks outside quotes, of which single ones keep everything
// and double ones replace variables; a variable outside quotes is divided again. unresolved are the
// variables whose value is not known. Behind a first word that is not wanted nothing is read.
func (e *grubEnv) words(line string, wanted func(first string) bool) (words, unresolved []string) {
	w := grubWords{env: e, wanted: wanted}
	e.work(len(line))
	for i := 0; i < len(line) && !w.done; i++ {
		switch ch := line[i]; {
		case ch == '\\' && i+1 < len(line) && (!w.quoted || strings.IndexByte("$\"\\", line[i+1]) >= 0):
			i++
			w.put(line[i : i+1])
		case ch == '"':
			w.quoted, w.inWord = !w.quoted, true
		case ch == '$':
			i = len(line) - len(w.expand(line[i+1:])) - 1
		case w.quoted:
			w.put(line[i : i+1])
		case ch == '\'':
			inner, rest, _ := strings.Cut(line[i+1:], "'")
			w.put(inner)
			i = len(line) - len(rest) - 1
		case ch == ' ' || ch == '\t':
			w.end()
		case ch == ';' || ch == '#' && !w.inWord:
			w.end()
			return w.words, w.unresolved
		default:
			w.put(line[i : i+1])
		}
	}
	w.end()
	return w.words, w.unresolved
}

// grubWords collects the words of a line.
type grubWords struct {
	env        *grubEnv
	words      []string
	unresolved []string
	word       strings.Builder // the word that is being read
	inWord     bool            // there is one, maybe an empty one in quotes
	quoted     bool            // in double quotes
	grown      int             // bytes that variables added
	wanted     func(string) bool
	done       bool // the first word is not wanted
}

// put adds to the word.
func (w *grubWords) put(s string) {
	w.word.WriteString(s)
	w.inWord = true
}

// end ends the word.
func (w *grubWords) end() {
	if w.inWord {
		w.words = append(w.words, w.word.String())
		w.done = w.done || len(w.words) == 1 && !w.wanted(w.words[0])
	}
	w.word.Reset()
	w.inWord = false
}

// expand adds the value of the variable whose name follows the "$", and returns what follows it.
func (w *grubWords) expand(after string) (rest string) {
	name, rest := variable(after)
	if name == "" {
		w.put("$")
		return after
	}
	value, known := w.env.lookup(name)
	if !known && !w.quoted && !w.inWord {
		value, known = w.env.harmless(name, "", rest)
	}
	if w.grown += len(value); w.grown > maxExpansion || !w.env.work(4*len(value)) {
		known, value = false, ""
	}
	if so := w.word.String(); !known && (!strings.HasPrefix(so, "(") || strings.Contains(so, ")")) {
		w.unresolved = addName(w.unresolved, name) // which partition a file is on adds no words
	}
	w.inWord = w.inWord || w.quoted || value != ""
	if w.quoted {
		w.word.WriteString(value)
		return rest
	}
	for i, field := range strings.Split(value, " ") {
		if i > 0 {
			w.end()
		}
		w.word.WriteString(field)
		w.inWord = w.inWord || field != ""
	}
	return rest
}

// lookupWork is the work of looking for a file in each place that it may be in, in steps.
const lookupWork = 4096

// maxVariable is how long the name of a variable may be: grub's own are some twenty bytes.
const maxVariable = 256

// maxGrubConfigs is how many grub.cfg are read.
const maxGrubConfigs = 32

// maxExpansion is how many bytes variables may add to one line; a kernel's command line has at most
// some thousand.
const maxExpansion = 64 << 10

// addName adds a variable to those that are not known, once.
func addName(unresolved []string, name string) []string {
	name = "$" + escape.UTF8(name)
	if len(unresolved) >= maxCmdlineWords || slices.Contains(unresolved[:min(len(unresolved), 64)], name) {
		return unresolved
	}
	return append(unresolved, name)
}

// variable divides what follows "$" into a name and the rest; the name is empty if none follows.
func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		end := strings.IndexByte(inner[:min(len(inner), maxVariable)], '}')
		if end < 0 {
			return "", s
		}
		return inner[:end], inner[end+1:]
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return s[:n], s[n:]
}

// grub reads the "linux" commands of a grub.cfg, in every menu entry, each with the "initrd"
// command that follows it, and the files that it goes on with.
func (r *bootReader) grub(name, text string) {
	env := r.environment()
	if slices.Contains(r.grubFiles, name) {
		return // one goes on with another, which goes on with the first
	}
	if len(env.configs) == maxGrubConfigs {
		r.lose(&fact.ParseError{Source: name, Reason: fmt.Sprintf("not read: more than %d grub.cfg", maxGrubConfigs),
			Err: fact.ErrTooLarge})
		return
	}
	r.grubFiles = append(r.grubFiles, name)
	env.configs = append(env.configs, text)
	m := grubMenu{bootReader: r, name: name, last: -1}
	m.unstated = r.isRedacted(name) && !strings.Contains(text, "initrd")
	for command := range grubCommands(text) {
		env.item = r.item
		words, unresolved := env.words(command.text, readsGrub)
		switch {
		case len(words) > 1:
			m.command(command, words, unresolved)
		case len(words) == 1 && words[0] == "blscfg" && r.blscfg < 0:
			r.blscfg = len(r.boot.Entries)
		}
		if env.err != nil {
			r.lose(&fact.ParseError{Source: name, Line: command.number, Reason: env.err.Error(), Err: env.err})
			env.err = nil
			return
		}
	}
}

// readsGrub reports whether the command of a grub.cfg bears on what is booted.
func readsGrub(command string) bool {
	switch command {
	case "menuentry", "linux", "linux16", "linuxefi", "initrd", "initrd16", "initrdefi",
		"multiboot", "multiboot2", "module", "module2", "xen_hypervisor", "xen_module",
		"configfile", "source", ".", "extract_entries_configfile", "extract_entries_source",
		"eval", "legacy_configfile", "legacy_source", "syslinux_configfile", "syslinux_source":
		return true
	}
	return false
}

// A grubMenu is a grub.cfg that is being read.
type grubMenu struct {
	*bootReader
	name  string
	title string // of the menu entry
	last  int    // index of the entry that was read last; -1 if what follows belongs to none
	host  bool   // Xen or tboot was loaded, and the next module is the kernel

	unstated bool // a recording left out the commands that name initial file systems
}

// command takes one command, of at least two words.
func (m *grubMenu) command(command grubLine, words, unresolved []string) {
	switch words[0] {
	case "menuentry":
		m.title, m.last, m.host = escape.UTF8(words[1]), -1, false
	case "linux", "linux16", "linuxefi":
		m.linux(command, words[1:], unresolved)
	case "initrd", "initrd16", "initrdefi":
		if m.last >= 0 {
			e := &m.boot.Entries[m.last]
			m.initrds(e, words[1:])
			e.initrdOpen = append(e.initrdOpen, unresolved...)
		}
	case "multiboot", "multiboot2", "xen_hypervisor":
		m.last, m.host = -1, true
	case "module", "module2", "xen_module":
		m.module(command, words[1:], unresolved)
	case "configfile", "source", ".", "extract_entries_configfile", "extract_entries_source":
		m.environment().work(lookupWork)
		m.grubFile(m.name, words[1], command)
	default:
		m.loseFor(m.name, command.number, words[0])
	}
}

// module takes what Xen or tboot starts: the first module is the kernel, with its command line; the others are initial
// file systems, but for those that the host reads by itself.
func (m *grubMenu) module(command grubLine, words, unresolved []string) {
	for len(words) > 1 && strings.HasPrefix(words[0], "--") {
		words = words[1:]
	}
	base := path.Base(words[0])
	switch {
	case m.host && isKernelName(base):
		if len(words) > 1 && words[1] == "placeholder" { // some versions of Xen drop the first word
			words = slices.Delete(words, 1, 2)
		}
		m.linux(command, words, unresolved)
	case m.last >= 0 && !strings.HasPrefix(base, "xenpolicy") && !strings.HasPrefix(base, "ucode") &&
		!strings.Contains(base, "SINIT"):
		e := &m.boot.Entries[m.last]
		m.initrds(e, words[:1])
		e.initrdOpen = append(e.initrdOpen, unresolved...)
	}
	m.host = false
}

// linux takes the kernel and its command line.
func (m *grubMenu) linux(command grubLine, words, unresolved []string) {
	m.last = -1
	if startsNoLinux(words[0]) {
		return
	}
	e := Entry{Title: m.title, File: m.name, Line: command.number, Unresolved: unresolved}
	m.setRelease(&e, words[0], "")
	for i, w := range words[1:] { // grub puts quotes around a word with blanks
		if strings.Contains(w, " ") {
			words[1+i] = `"` + w + `"`
		}
	}
	m.setText(&e, strings.Join(words[1:], " "))
	e.unstated = m.unstated
	m.last = m.add(e)
}

// isRedacted reports whether a recording left something of the file out.
func (r *bootReader) isRedacted(name string) bool {
	m, ok := r.fsys.(fact.Redactor)
	return ok && m.Redacted(name)
}

// grubFile reads the file that a grub.cfg goes on with. Where grub's partitions are mounted is not
// known, so the path is looked for in each place that may be meant.
func (r *bootReader) grubFile(from, file string, command grubLine) {
	if _, rest, ok := strings.Cut(file, ")"); ok { // after grub's name of a partition
		file = rest
	}
	file = path.Clean("/" + file)
	found := false
	for _, root := range []string{path.Dir(from), "boot/grub", "boot/grub2", "boot", "", "boot/efi", "efi"} {
		name := strings.TrimPrefix(root+file, "/")
		if _, err := fs.Stat(r.fsys, name); err != nil || name == from || !strings.HasSuffix(name, ".cfg") {
			continue
		}
		found = true
		r.text(name, r.grub)
	}
	// If a grub.cfg was read, a custom.cfg or user.cfg that does not exist is not a loss.
	inFolder := strings.Contains(command.text, "prefix") || strings.Contains(command.text, "config_directory")
	if !found && (!inFolder || path.Base(file) == "grub.cfg") {
		r.loseFor(from, command.number, path.Base(file))
	}
}

// loseFor notes that a file continues in something that is not read and may contain more entries.
func (r *bootReader) loseFor(name string, line int, what string) {
	r.lose(&fact.ParseError{Source: name, Line: line, Reason: "goes on with " + escape.Text(what) +
		", which is not read"})
}

// KeptOfGrub returns the commands of a line of grub.cfg that a recording keeps: those that load a
// kernel, with a file, and those that go on with another file.
func KeptOfGrub(line string) (commands []string) {
	for command := range grubCommands(line) {
		word, _, ok := strings.Cut(strings.ReplaceAll(command.text, "\t", " "), " ")
		if !ok {
			continue
		}
		switch word {
		case "linux", "linux16", "linuxefi", "initrd", "initrd16", "initrdefi",
			"multiboot", "multiboot2", "module", "module2", "xen_hypervisor", "xen_module", "configfile", "source", ".",
			"extract_entries_configfile", "extract_entries_source",
			"eval", "legacy_configfile", "legacy_source", "syslinux_configfile", "syslinux_source":
			commands = append(commands, command.text)
		}
	}
	return commands
}
