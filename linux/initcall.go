// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
)

// KallsymsFile lists the running kernel's symbols.
const KallsymsFile = "proc/kallsyms"

// maxSymbolFile caps a list of symbols: a kernel with debugging has some 300,000.
const maxSymbolFile = 64 << 20

// initcallsOf returns the functions that start the built-in module, from a list of symbols in the
// form of System.map or /proc/kallsyms: since Linux 5.10 each has a symbol
// __initcall__kmod_MODULE__COUNTER_LINE_FUNCTIONLEVEL. A kernel linked by clang as a whole (LTO) starts
// a stub instead, __initstub__kmod_MODULE__COUNTER_LINE_FUNCTIONLEVEL, whose own name counts.
func initcallsOf(symbols []byte, module string) []string {
	if stubs := initStubs(symbols, module); stubs != nil {
		return stubs
	}
	prefix := []byte("__initcall__kmod_" + module + "__")
	var functions []string
	for len(symbols) > 0 {
		i := bytes.Index(symbols, prefix)
		if i < 0 {
			break
		}
		rest := symbols[i+len(prefix):]
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		symbols = rest[len(line):]
		word, _, _ := strings.Cut(string(line), "\t")
		parts := strings.SplitN(strings.TrimSpace(word), "_", 3)
		if len(parts) < 3 || !isNumber(parts[0]) || !isNumber(parts[1]) {
			continue
		}
		f := parts[2]
		for _, level := range []string{"early", "rootfs", "con"} {
			f = strings.TrimSuffix(f, level)
		}
		f = strings.TrimSuffix(f, "s") // a "sync" level: 6s
		if n := len(f); n > 0 && f[n-1] >= '0' && f[n-1] <= '7' {
			f = f[:n-1]
		}
		functions = append(functions, f)
	}
	return functions
}

// initStubs returns the stubs that start the built-in module; nil for a kernel without.
func initStubs(symbols []byte, module string) (stubs []string) {
	prefix := []byte(" __initstub__kmod_" + module + "__")
	for len(symbols) > 0 {
		i := bytes.Index(symbols, prefix)
		if i < 0 {
			break
		}
		line, _, _ := bytes.Cut(symbols[i+1:], []byte("\n"))
		symbols = symbols[i+1+len(line):]
		word, _, _ := strings.Cut(string(line), "\t")
		stubs = append(stubs, strings.TrimSpace(word))
	}
	return stubs
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// readInitcalls reads them from /proc/kallsyms of a running kernel, else from System.map.
func readInitcalls(fsys fs.FS, release, module string, live bool) ([]string, error) {
	files := []string{"boot/System.map-" + release, "lib/modules/" + release + "/System.map"}
	if live {
		files = append([]string{KallsymsFile}, files...)
	}
	var first error
	for _, name := range files {
		if !fs.ValidPath(name) {
			continue
		}
		symbols, err := readSymbolList(fsys, name)
		if err == nil {
			if functions := initcallsOf(symbols, module); len(functions) > 0 {
				return functions, nil
			}
			continue
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fs.ErrNotExist
	}
	return nil, first
}

// readSymbolList reads a list of symbols through an open file, not as one read: a slow machine takes
// seconds for its some hundred thousand lines.
func readSymbolList(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return limit.AppendAll(f, nil, name, maxSymbolFile)
}

// initcallsBlocked reports whether a list of refused initcalls keeps a built-in module from being
// started: yes when it names all its functions, unknown when the functions are not known and a
// name in the list may be one. by is the name that decided.
func initcallsBlocked(blacklist, functions []string, module string) (blocked fact.Tri, by string) {
	named := make(map[string]bool, len(blacklist))
	for _, f := range blacklist {
		named[f] = true
	}
	if len(functions) > 0 {
		for _, f := range functions {
			if !named[f] {
				return fact.No, ""
			}
		}
		return fact.Yes, functions[0]
	}
	for _, f := range blacklist {
		if strings.Contains(f, module) {
			return "", f
		}
	}
	return fact.No, ""
}

// resultOfBuiltin answers for code that is compiled in: only initcall_blacklist= keeps it from starting.
func (c *checker) resultOfBuiltin(k *enforcement, t target) result {
	var r result
	r.set(fact.VerdictBuiltin, "built in", builtinReason(t))
	a := c.blockedInitcalls(k, t)
	switch {
	case a.Blocked() == fact.Yes:
		r.set(fact.VerdictBlocked, "built in, not started", a.Because())
	case a.Applies() && a.Blocked() == "":
		r.set(fact.VerdictUnknown, "unknown", a.Because())
	}
	r.addReason(a.Because())
	return r
}

// blockedInitcalls says whether initcall_blacklist= keeps a built-in module from being started. It does not apply
// where nothing is listed or the kernel does not heed the list.
func (c *checker) blockedInitcalls(k *enforcement, t target) fact.Answer {
	list := boot.ListValues(k.cmdline.words, FactInitcalls, true)
	if len(list) == 0 || !k.heeds {
		return fact.Answer{}
	}
	functions, err := readInitcalls(c.machine.FS, c.machine.Release, t.name, c.machine.Running)
	blocked, by := initcallsBlocked(list, functions, t.name)
	switch blocked {
	case fact.Yes:
		return fact.Stops(k.cmdline.reason(ReasonInitcall, "initcall_blacklist="+by+" keeps it from starting"))
	case fact.No:
		return passes()
	}
	r := k.cmdline.reason(ReasonInitcall,
		"initcall_blacklist="+by+" may name its start function: no list of the kernel's symbols does")
	r.Unread = "the kernel's symbols"
	if err != nil {
		c.problem(SourceBuiltin, t.name, err)
		r.Unread += ": " + err.Error()
	}
	return fact.UnsureOf(r)
}
