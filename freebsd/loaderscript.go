// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/lazy"
	"github.com/kernelext/kernelext/internal/limit"
)

// What is here reads the programs of the boot loader, which are plain files: /boot/lua/*.lua for the loader written in
// Lua, /boot/*.4th and /boot/*.rc for that in Forth (loader.4th(8)). They may load anything beside what loader.conf
// says. The system's own differ from release to release; a changed one is recognized by what it loads by name.

const luaDir = "boot/lua"

// loaderWork are the steps for each byte of a program of the boot loader.
const loaderWork = 8

// lines of Lua that load a module by its name, make loader.conf load it, or read another file. The loader's own
// programs name nothing that they load but by a variable.
var luaLoads = lazy.Regexp{Pattern: `["']\s*(load|include)\s+[^"'\s]` +
	`|(command|cli_execute|cli_execute_unparsed)\s*\(\s*["'](load|include)["']` +
	`|enableModule\s*\(\s*["']` +
	`|["'][\w.-]+_load["']` +
	`|(dofile|loadfile|parse|processFile|readConf|load)\s*\(\s*["']`}

// lines of Forth that do the same.
var forthLoads = lazy.Regexp{Pattern: `^(load|enable-module|toggle-module|read-conf|loadall)\s` +
	`|[sS]["']\s+(load|enable-module|read-conf)\s+[^"'\s]` +
	`|\bset\s+[\w.-]+_load=`}

// forthIncludes is a line of Forth that runs another file, and its path.
var forthIncludes = lazy.Regexp{Pattern: `(?:^|\s)(?:try-)?include\s+([^\s"']+)`}

// forthHelp is a line of the help in loader.4th: a command and what it does, which the word ".?" prints.
var forthHelp = lazy.Regexp{Pattern: `^s" [\w?-]+" s" [^"]*" \.\?$`}

// forthRedefined is a line that gives that word another meaning than loader.4th does.
var forthRedefined = lazy.Regexp{Pattern: `^:\s+\.\?(\s|$)`}

// dloaderLoads is a line of DragonFly's dloader(8) that makes loadall load a module, and the module's name.
var dloaderLoads = lazy.Regexp{Pattern: `^\s*(?:menuadd\s+)?([\w.-]+)_load="?(?i:yes)`}

// dloaderCommand is a line of dloader(8) that loads a file, or runs another file than those of loader.conf(5).
var dloaderCommand = lazy.Regexp{Pattern: `^(?:menuadd\s+)?(?:load|(?:opt)?include|source)\s`}

// isDloader reports whether a file is a program of DragonFly's dloader(8).
func isDloader(file string) bool { return strings.HasPrefix(path.Base(file), "dloader.") }

// dloaderFiles are the files that dloader's own programs run.
var dloaderFiles = []string{"loader.conf", "loader.conf.local", "dloader.menu", "dloader.rc"}

// rcWords are the lines that the system's loader.rc has, beside those that include a file.
var rcWords = []string{"start", "initialize", "initialize drop", "maybe-resetcons", "maybe-efi-resizecons",
	"check-password", "beastie-start"}

// readLoaderScripts looks for what the programs of the boot loader load by name.
func (c *config) readLoaderScripts() {
	if c.forth != fact.Yes && !c.dloader {
		c.scanLoader(luaDir)
	}
	if c.forth != fact.No || c.dloader {
		c.scanLoader("boot")
	}
}

// scanLoader reads the programs in a directory.
func (c *config) scanLoader(dir string) {
	for _, name := range c.names(dir, SourceLoaderConf) {
		if file := dir + "/" + name; isLoaderScript(file) {
			c.readFile(file, SourceLoaderConf, c.scanScript)
		}
	}
}

// scanScript takes the first line of a program of the boot loader that may load something.
func (c *config) scanScript(file, text string, r *fact.Report) {
	item := r.Budget.Item(int64(len(text)))
	defer item.Done()
	n := 0
	for line := range strings.Lines(text) {
		n++
		if err := item.Work(loaderWork * int64(len(line))); err != nil {
			c.lose(SourceLoaderConf, &fact.ParseError{Source: file, Line: n, Reason: err.Error(), Err: err})
			return
		}
		if m := dloaderLoads.FindStringSubmatch(line); m != nil && isDloader(file) {
			c.programs = append(c.programs, request{WayLoader, m[1], fact.UnsureOf(fact.Reason{Code: ReasonLoaderConf,
				File: file, Line: n,
				Text: "the boot loader loads it, unless a hint or another entry of its menu says not"})})
		}
		if scriptLoads(file, line) {
			c.hook(file, n, "the boot loader runs "+file+", which may load anything")
			return
		}
	}
}

// hook adds a line of a program of the boot loader that may load anything.
func (c *config) hook(file string, line int, text string) {
	c.programs = append(c.programs, request{WayLoader, "", fact.UnsureOf(fact.Reason{Code: ReasonLoaderConf,
		File: file, Line: line, Text: text})})
}

// scriptLoads reports whether a line of a program of the boot loader may load a module.
func scriptLoads(file, line string) bool {
	line = strings.TrimSpace(line)
	name := path.Base(file)
	if isDloader(file) {
		f := strings.Fields(line)
		return dloaderCommand.MatchString(line) && !slices.Contains(dloaderFiles, path.Base(f[len(f)-1]))
	}
	lua := strings.HasSuffix(name, ".lua")
	switch {
	case line == "", lua && strings.HasPrefix(line, "--"), !lua && (line == `\` || strings.HasPrefix(line, `\ `)):
		return false
	case name == "local.lua", strings.HasSuffix(name, ".rc.local"):
		return true // no file of the system's
	case lua:
		return slices.ContainsFunc(luaLoads.FindAllString(line, -1), notACPI)
	}
	if line = forthCode(line); forthHelp.MatchString(line) {
		return false
	}
	if forthRedefined.MatchString(line) && line != ": .? 2 spaces 2swap 15 #type 2 spaces type cr ;" {
		return true
	}
	includes := forthIncludes.FindAllString(line, -1)
	for _, m := range includes {
		words := strings.Fields(m)
		if p := words[len(words)-1]; path.Dir(p) != "/boot" || !isLoaderScript(p[1:]) {
			return true
		}
	}
	if name == "loader.rc" && includes == nil {
		return !slices.Contains(rcWords, strings.Join(strings.Fields(line), " "))
	}
	return slices.ContainsFunc(forthLoads.FindAllString(line, -1), notACPI)
}

// forthCode removes the comments of a line of Forth: from a backslash on, and one in parentheses that no string
// precedes.
func forthCode(line string) string {
	line, _, _ = strings.Cut(line, ` \ `)
	before, rest, _ := strings.Cut(line, " ( ")
	if _, after, ok := strings.Cut(rest, ")"); ok && !strings.Contains(before, `"`) {
		line = before + after
	}
	return strings.TrimSpace(line)
}

// notACPI reports whether what loads is not the acpi_load that the system's own menu sets.
func notACPI(found string) bool {
	return strings.Trim(found, `"'`) != "acpi_load" && !strings.HasSuffix(found, "set acpi_load=")
}

// isLoaderScript reports whether the key is the path of a program of the boot loader.
func isLoaderScript(key string) bool {
	dir, name := path.Split(key)
	switch dir {
	case luaDir + "/":
		return strings.HasSuffix(name, ".lua")
	case "boot/":
		return strings.HasSuffix(name, ".4th") || strings.HasSuffix(name, ".rc") || strings.HasSuffix(name,
			".rc.local") ||
			name == "dloader.menu"
	}
	return false
}

// redactLoaderScript keeps of a program of the boot loader which lines may load something.
func redactLoaderScript(key string, data []byte) []byte {
	comment, loads := `\`, "load x"
	if isDloader(key) {
		comment = "#"
	}
	if strings.HasSuffix(key, ".lua") {
		comment, loads = "--", `loader.perform("load x")`
	}
	var out strings.Builder
	for line := range strings.Lines(string(data)) {
		switch {
		case isDloader(key) && dloaderLoads.MatchString(line):
			line = dloaderLoads.FindStringSubmatch(line)[1] + "_load=YES"
		case scriptLoads(key, line):
			line = loads
		default:
			line = comment
		}
		out.WriteString(line + "\n")
	}
	return []byte(out.String())
}

// readProducts reads the directories of product_vars: names of variables whose values are directories below
// /boot/loader.conf.d (stand/lua/config.lua: readConf). A variable that no file sets may come from the firmware, such
// as smbios.system.product: then any of the directories may be read.
func (c *config) readProducts(add addFunc) {
	const dir = "boot/loader.conf.d"
	names, s := c.Loader.Words("product_vars")
	if c.forth == fact.Yes || s.Name == "" {
		return
	}
	guess := s.Code != ""
	names, err := limit.Most(names, maxConfFiles, "product_vars")
	if err != nil {
		c.lose(SourceLoaderConf, err)
	}
	for _, name := range names {
		product, ok := c.Loader.Lookup(name)
		if !ok || product.Code != "" {
			guess = true
			continue
		}
		c.readDir(dir+"/"+strings.Trim(product.Value, "/"), ".conf", SourceLoaderConf, add)
	}
	for _, e := range c.entries(dir, SourceLoaderConf) {
		if guess && e.IsDir() {
			c.hook(s.File, s.Line, "the boot loader may read /"+dir+"/"+e.Name()+", as product_vars says")
			return
		}
	}
}
