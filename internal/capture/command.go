// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/internal/lazy"
)

// harmless are programs that print all rows that they read.
var harmless = [...]string{"sort", "tee", "cat", "column", "less", "more", "iconv", "nl", "clip", "pbcopy", "xclip",
	"jc", "gc", "get-content", "type", "sort-object", "tee-object", "ft", "fl", "format-table", "format-list",
	"format-wide", "out-file", "out-string", "out-host", "out-default", "convertto-json", "convertto-csv",
	"convertto-xml", "convertto-html", "export-csv", "export-clixml", "set-clipboard", "select", "select-object"}

// fileFilters are programs that print some lines of a file, which may be the list that somebody saved.
var fileFilters = [...]string{"grep", "egrep", "fgrep", "zgrep", "rg", "ag", "ack", "head", "tail", "sed", "awk",
	"gawk", "findstr", "find", "select-string", "sls", "uniq", "comm", "diff", "cut", "split", "shuf", "jq", "gojq",
	"perl", "python", "python3", "ruby", "watch"}

// elsewhere are commands that print no list of another tool: what they are piped into leaves no row of it out.
var elsewhere = [...]string{"dmesg", "journalctl", "uname", "ps", "ls", "lsusb", "lscpu", "lspci", "rpm", "dpkg",
	"apt", "pkg", "systemctl", "sysctl", "mount", "df", "ip", "ifconfig", "lsmod", "modinfo", "kldstat", "kextstat",
	"dkms", "driverquery", "fltmc", "modstat", "pnputil", "for", "foreach"}

// rowOptions match the arguments of harmless programs that leave rows out nevertheless: -First, -Last, -Skip, -Index
// and -Unique of Select-Object, -Unique, -Top and -Bottom of Sort-Object, -TotalCount and -Tail of Get-Content.
var rowOptions = [...]struct {
	programs []string
	option   lazy.Regexp
}{
	{[]string{"select", "select-object"}, lazy.Regexp{Pattern: `(?i)^-[flsiu]`}},
	{[]string{"sort", "sort-object"}, lazy.Regexp{Pattern: `(?i)^--?u|^-[a-z]{1,3}u|^-to|^-bo`}},
	{[]string{"less", "more"}, lazy.Regexp{Pattern: `^\+`}},
	{[]string{"cat", "gc", "get-content", "type"}, lazy.Regexp{Pattern: `(?i)^-(?:to|ta|he|fi|la)`}},
}

// wholes match the commands of tools that list all, without the folder; any other argument names one item or some. sc
// query lists the active services if it has no state=.
var wholes = [...]struct {
	program string
	command lazy.Regexp
}{
	{"sc", lazy.Regexp{Pattern: `(?i)^\S+(?: \\\\\S+)? query(?:ex)?` +
		`(?: type= ?(?:driver|all)| state= ?(?:all|active)| bufsize= ?\d+)*(?: \d?>.*)?$`}},
	{"systemextensionsctl", lazy.Regexp{Pattern: `^\S+ list(?: \d?>.*)?$`}},
	{"modstat", lazy.Regexp{Pattern: `^\S+(?: -\w+)*(?: \d?>.*)?$`}},
}

// choosePattern matches what chooses items of a list in PowerShell: the method Where, and an index.
var choosePattern = lazy.Regexp{Pattern: `(?i)\.where\s*[({]|(?:\)|\$\w+)\[[^\]]*\d`}

// argumentPattern matches a substitution of the shell.
var argumentPattern = lazy.Regexp{Pattern: "[$<]\\([^()]*\\)|`[^`]*`"}

// plain replaces what looks like a pipe and is not one, what joins commands, and what is around words.
var plain = lazy.Value[*strings.Replacer]{New: func() *strings.Replacer {
	return strings.NewReplacer(`'|'`, ",", `"|"`, ",", "2>&1", " ", "|&", "|", "||", ";", "&&", ";", "^|", "|",
		"`", " ", "(", " ", ")", " ", "{", " ", "}", " ", `"`, " ", "'", " ")
}}

// Filters returns what in a command line may leave rows out of a list: a program after a pipe, an option, or a program
// that prints some lines of a file; empty if nothing does. A program that is not known may. tools are the commands that
// print the list, options those of their options that choose rows. Without a prompt the line has to begin with one of
// the tools.
func Filters(line string, prompt bool, tools, options []string) string {
	first := ""
	if words := strings.Fields(line); len(words) > 0 {
		first, _ = program(words)
	}
	ours := slices.Contains(tools, first)
	if !prompt && !ours {
		return ""
	}
	if choosePattern.MatchString(line) {
		return line
	}
	if ours { // the arguments of a tool may come from anywhere
		line = argumentPattern.ReplaceAllString(line, "x")
	}
	for pipeline := range strings.SplitSeq(plain.Get().Replace(line), ";") {
		if what := leavesOut(stages(pipeline), tools, options); what != "" {
			return what
		}
	}
	return ""
}

// stages returns the words of the commands of a pipeline.
func stages(pipeline string) (list [][]string) {
	for s := range strings.SplitSeq(pipeline, "|") {
		words := strings.Fields(s)
		if len(words) == 1 && words[0] == `\` { // the command goes on in the next line
			words = nil
		}
		list = append(list, words)
	}
	return list
}

// leavesOut is Filters for one pipeline.
func leavesOut(list [][]string, tools, options []string) string {
	from := 0
	for i, words := range list { // what is before xargs makes arguments
		if len(words) > 0 && strings.EqualFold(words[0], "xargs") && runs(words, tools) {
			from = i
		}
	}
	other := false
	for i, words := range list[from:] {
		if len(words) == 0 {
			if i > 0 && !other {
				return "|"
			}
			continue
		}
		name, args := program(words)
		switch {
		case runs(words, tools):
			other = false
			if what := chosen(words, tools, options); what != "" {
				return what
			}
		case i == 0 && slices.Contains(elsewhere[:], name):
			other = true
		case i > 0 && !other:
			if what := filter(name, args); what != "" {
				return "| " + what
			}
		case i == 0 && fileFilter(words) >= 0:
			return words[fileFilter(words)]
		case i == 0 && slices.Contains(harmless[:], name):
			if what := filter(name, args); what != "" {
				return what
			}
		}
	}
	return ""
}

// program returns the name of a command's program and its arguments, without sudo and the folder.
func program(words []string) (name string, args []string) {
	for len(words) > 1 && (words[0] == "sudo" || words[0] == "doas") {
		words = words[1:]
	}
	return programName(words[0]), words[1:]
}

func programName(word string) string {
	word = strings.TrimSuffix(strings.ToLower(word), ".exe")
	return word[strings.LastIndexAny(word, `/\`)+1:]
}

// tool returns where a command names one of the tools, as its program or as that of another: ssh, xargs; -1 if it does
// not.
func tool(words, tools []string) int {
	return slices.IndexFunc(words, func(w string) bool { return slices.Contains(tools, programName(w)) })
}

// fileFilter returns where a command runs a program that prints some lines of what its arguments name, as its program
// or as that of another; -1 if it does not.
func fileFilter(words []string) int {
	for i, w := range words[:len(words)-1] {
		if name := programName(w); slices.Contains(fileFilters[:], name) && filter(name, words[i+1:]) != "" {
			return i
		}
	}
	return -1
}

// runs reports whether a command runs one of the tools, and not a filter of what the tool's name names.
func runs(words, tools []string) bool {
	at := tool(words, tools)
	return at >= 0 && fileFilter(words[:at+1]) < 0
}

// chosen returns the word that makes a tool list some items only; empty for none.
func chosen(words, tools, options []string) string {
	for _, w := range words {
		if slices.ContainsFunc(options, func(o string) bool { return chosenBy(w, o) }) {
			return w
		}
	}
	words = words[tool(words, tools):]
	for i := range wholes {
		if w := &wholes[i]; w.program == programName(words[0]) && len(words) > 1 {
			if command := strings.Join(words, " "); !w.command.MatchString(command) {
				return command
			}
		}
	}
	return ""
}

// filter returns the program, and its argument, that may leave out some of what it reads; empty for none.
func filter(name string, args []string) string {
	if name == "jq" || name == "gojq" {
		i := slices.IndexFunc(args, func(w string) bool { return !strings.HasPrefix(w, "-") })
		if i < 0 || args[i] == "." || args[i] == ".[]" {
			return ""
		}
	}
	if !slices.Contains(harmless[:], name) {
		return name
	}
	for i := range rowOptions {
		if o := &rowOptions[i]; slices.Contains(o.programs, name) {
			if at := slices.IndexFunc(args, o.option.MatchString); at >= 0 {
				return name + " " + args[at]
			}
		}
	}
	return ""
}

// chosenBy reports whether a word of a command is an option: -b also as -bVALUE and -kb, --filter also as
// --filter=VALUE and shortened as getopt_long(3) takes it, -Filter in any case and shortened as PowerShell takes it,
// and a word without a dash in any case.
func chosenBy(word, option string) bool {
	name, _, _ := strings.Cut(word, "=")
	switch {
	case option[0] != '-':
		name, _, _ = strings.Cut(name, "(")
		return strings.EqualFold(name, option)
	case len(word) < 2 || word[0] != '-':
		return false
	case len(option) == 2:
		return word[1] == option[1] || len(word) <= 5 && word[1] != '-' && strings.Contains(word, option[1:])
	case option[1] == '-':
		name = strings.TrimLeft(name, "-")
		return len(name) > 1 && strings.HasPrefix(option[2:], name)
	}
	name, _, _ = strings.Cut(name, ":")
	return len(name) > 1 && strings.HasPrefix(strings.ToLower(option), strings.ToLower(name))
}
