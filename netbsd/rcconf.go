// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A setting is the last assignment of a variable.
type setting struct {
	value, file string
	line        int
	// code says why the value is unknown; empty if it is known.
	code fact.Code
}

// rcFiles are the files that rc(8) reads for a service, in order (rc.subr: load_rc_config).
func rcFiles(service string) []string {
	return []string{"etc/defaults/rc.conf", "etc/rc.conf", "etc/rc.conf.d/" + service}
}

// lookup returns what files set a variable to. What a shell computes, what stands in a condition and what another file
// may set is unknown. ok is false if nothing sets it.
func (k *Kernel) lookup(name string, files ...string) (s setting, ok bool) {
	for _, file := range files {
		text, err := limit.ReadFile(k.machine, file, limit.Text)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s, ok = setting{file: file, code: fact.CodeOf(err)}, true
			continue
		}
		n, depth := 0, 0
		for line := range strings.Lines(string(text)) {
			n++
			line = strings.TrimSpace(line)
			word, rest, _ := strings.Cut(line, " ")
			switch word {
			case "if", "case", "for", "while", "until", "{":
				depth += closed(rest)
			case "fi", "esac", "done", "}":
				depth--
			case ".", "source", "eval":
				if rest = strings.TrimSpace(rest); rest != "/etc/defaults/rc.conf" && rest != "/etc/rc.conf" {
					s, ok = setting{file: file, line: n, code: fact.CodeUnsupported}, true
				}
			}
			if value, set := strings.CutPrefix(line, name+"="); set {
				s, ok = valueOf(value, file, n, depth > 0), true
			}
		}
	}
	return s, ok
}

// closed returns 0 if a command ends on its own line, 1 if it does not.
func closed(rest string) int {
	for _, end := range []string{"fi", "esac", "done", "}"} {
		if strings.HasSuffix(rest, " "+end) || strings.HasSuffix(rest, ";"+end) {
			return 0
		}
	}
	return 1
}

// valueOf returns the value behind an assignment.
func valueOf(text, file string, line int, unsure bool) setting {
	s := setting{file: file, line: line}
	value := text
	if quote := strings.IndexAny(text, `"'`); quote == 0 {
		end := strings.IndexByte(text[1:], text[0])
		if end < 0 {
			end, unsure = len(text)-1, true
		}
		value = text[1 : end+1]
	} else if i := strings.IndexAny(text, " \t;#"); i >= 0 {
		value = text[:i]
	}
	if unsure || strings.ContainsAny(value, "$`\\") {
		s.code = fact.CodeUnsupported
		return s
	}
	s.value = escape.UTF8(value)
	return s
}

// off reports whether the value means no to rc(8) (checkyesno).
func (s setting) off() bool {
	switch strings.ToLower(s.value) {
	case "no", "off", "false", "0":
		return s.code == ""
	}
	return false
}

// reason returns the setting as a reason.
func (s setting) reason(code, text string) fact.Reason {
	return fact.Reason{Code: code, File: "/" + s.file, Line: s.line, Text: text}
}

// imageLevel answers whether the securelevel is raised by the end of a boot: by sysctl.conf(5), or by rc.d/securelevel,
// which sets rc.conf's securelevel. It does not apply if nothing does: a kernel without options INSECURE is raised from
// 0 to 1 then, which no file says, and which root may forestall.
func (k *Kernel) imageLevel() (setting, fact.Answer) {
	for _, q := range []struct {
		name  string
		files []string
	}{{"kern.securelevel", []string{"etc/sysctl.conf"}}, {"securelevel", rcFiles("securelevel")}} {
		s, ok := k.lookup(q.name, q.files...)
		n, err := strconv.Atoi(s.value)
		switch {
		case !ok || s.code == "" && s.value == "":
		case s.code != "" || err != nil:
			return s, fact.UnsureOf(s.reason(reasonLevel, "the securelevel that "+q.name+" sets is not known"))
		case n > 0:
			return s, fact.Stops(s.reason(reasonLevel, "rc(8) raises the securelevel during the boot"))
		}
	}
	return setting{}, fact.Answer{}
}

// imageAutoload answers whether the kernel loads modules by itself. It does unless sysctl.conf(5) says no.
func (k *Kernel) imageAutoload() (setting, fact.Answer) {
	s, ok := k.lookup(sysctlAutoload, "etc/sysctl.conf")
	if ok && s.off() {
		return s, fact.Stops(s.reason(reasonAutoload, "the kernel loads no module by itself"))
	}
	because := fact.Reason{Code: reasonAutoload,
		Text: "the kernel may load it during the boot, when something needs it"}
	return s, fact.UnsureOf(because)
}

// at returns the fact with the place of the setting.
func at(f fact.PolicyFact, s setting) fact.PolicyFact {
	if s.file != "" {
		f.File, f.Line = "/"+s.file, s.line
	}
	return f
}

// imagePolicy returns what the files of an image say about loading.
func (k *Kernel) imagePolicy(r *fact.Report) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	level, raised := k.imageLevel()
	f := fact.PolicyFact{Name: "securelevel", Source: SourcePolicy, Value: level.value, Code: level.code,
		Effect: raised.Because().Text}
	switch {
	case raised.Blocked() == fact.Yes:
		p.Loading = fact.LoadingNone
	case !raised.Applies():
		p.Loading = fact.LoadingAny
		f.Code, f.Effect = fact.CodeAbsent,
			"no file raises the securelevel; a kernel without options INSECURE raises it to 1"
	}
	p.Facts = append(p.Facts, at(f, level))
	auto, answer := k.imageAutoload()
	f = fact.PolicyFact{Name: "module_autoload", Source: SourcePolicy, Value: auto.value, Code: auto.code,
		Effect: answer.Because().Text}
	if auto.file == "" {
		f.Code, f.Effect = fact.CodeAbsent, "the kernel loads modules by itself when something needs them"
	}
	p.Facts = append(p.Facts, at(f, auto))
	l, err := k.readLoader()
	if err != nil {
		p.Facts = append(p.Facts, fact.PolicyFact{Name: "boot.cfg", Source: SourceBootCfg, Code: fact.CodeOf(err)})
	}
	for _, list := range []struct {
		name, effect string
		lines        []confLine
	}{{"load", "the boot loader loads this module", l.loads},
		{"userconf", "changes which devices the kernel looks for", l.userconf}} {
		for _, c := range list.lines[:min(len(list.lines), maxMenu)] {
			p.Facts = append(p.Facts, fact.PolicyFact{Name: list.name, Source: SourceBootCfg, Value: c.name,
				File: "/" + c.file, Line: c.line, Effect: list.effect})
		}
	}
	r.Policy(p)
	return p
}
