// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/rcconf"
)

// WayScript is the way of a script that rc(8) runs, as it runs the files of rc.conf(5).
const WayScript = "script"

// reasonScript is the code of a command in such a script.
const reasonScript = "script"

// modload is the command that loads modules.
var modload = []string{"modload"}

// maxScripts is how many scripts and files of rc.conf(5) are read.
const maxScripts = 1024

// scriptFiles returns the files whose commands rc(8) may run: its own, rc.conf(5), the scripts of rc.d, which
// rcorder(8) orders, and what rc.d/network and rc.d/local run beside them. rc.d/modules is not one: it loads what
// modules.conf(5) names. That rc.d/local comes after rc.d/securelevel does not matter here: not every system raises the
// securelevel. The error says why there may be more of them. conf is what rc(8) itself reads of rc.conf(5).
func (k *Kernel) scriptFiles(conf *rcconf.Conf) ([]string, error) {
	files := []string{"etc/rc", "etc/rc.conf", "etc/defaults/rc.conf", "etc/rc.local", "etc/netstart.local"}
	dirs := []string{"etc/rc.d", "etc/rc.conf.d"}
	words, s := conf.List("rc_directories")
	if s.Code != "" {
		return nil, &fact.ParseError{Source: s.File, Line: s.Line, Err: errors.ErrUnsupported,
			Reason: "rc_directories is computed, or this line may set it"}
	}
	for _, w := range words {
		dirs = append(dirs, strings.TrimPrefix(path.Clean("/"+w), "/"))
	}
	dirs, err := limit.Most(dirs, maxReleases, "rc_directories")
	if err != nil {
		return nil, err
	}
	var lost error
	if s, opaque := conf.Opaque(); opaque {
		lost = errOpaque(s)
	}
	for _, dir := range append([]string{"etc"}, dirs...) {
		entries, err := k.machine.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if name := dir + "/" + e.Name(); !e.IsDir() && isScript(name) && !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
		if len(files) > maxScripts {
			return nil, limit.TooLarge("/"+dir, maxScripts)
		}
	}
	return files, lost
}

// isScript reports whether rc(8) may run commands of a file in /etc or in a directory of scripts. Of /etc itself, they
// are the ifconfig.xxN, of which rc.d/network evaluates the lines that begin with "!" (ifconfig.if(5)).
func isScript(name string) bool {
	if dir, file := path.Split(name); dir == "etc/" {
		return strings.HasPrefix(file, "ifconfig.")
	}
	return name != "etc/rc.d/modules"
}

// runsMore returns an error if a file of rc.conf.d may run any command.
func runsMore(conf *rcconf.Conf, file, text string, r *fact.Report) error {
	own := &rcconf.Conf{Source: SourceRCConf, Parent: conf, Known: conf.Known}
	own.ReadScript("/"+file, text, r.Part())
	if s, ok := own.Opaque(); ok {
		return errOpaque(s)
	}
	return nil
}

// errOpaque is the error of a line of rc.conf(5) that may run any command: it runs another file, or evaluates a text.
func errOpaque(s rcconf.Setting) error {
	return &fact.ParseError{Source: s.File, Line: s.Line, Err: errors.ErrUnsupported,
		Reason: "what this line runs is not known"}
}

// scripts returns the lines of scripts that load modules. The error says that a script was not read, or that what it
// loads is computed.
func (k *Kernel) scripts(r *fact.Report) ([]confLine, error) {
	conf := k.rc("rc", r.Part())
	files, lost := k.scriptFiles(conf)
	var out []confLine
	for _, file := range files {
		text, item, err := limit.ReadItem(k.machine, file, limit.Text, r.Budget)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = nil
		case err == nil:
			out, err = scriptLines(out, file, string(text), item)
			if strings.HasPrefix(file, "etc/rc.conf.d/") {
				err = cmp.Or(err, runsMore(conf, file, string(text), r))
			}
		}
		item.Done()
		lost = cmp.Or(lost, err)
	}
	return out, lost
}

// scriptLines adds the lines of one script.
func scriptLines(out []confLine, file, text string, item *fact.Item) ([]confLine, error) {
	if !rcconf.Mentions(text, modload) {
		return out, nil
	}
	n := 0
	var lost error
	for line := range strings.Lines(rcconf.Uncomment(text, item)) {
		n++
		for _, target := range rcconf.Loads(line, modload) {
			at := confLine{name: escape.UTF8(target), file: file, line: n}
			switch {
			case target == "":
				lost = cmp.Or[error](lost, &fact.ParseError{Source: "/" + file, Line: n, Err: errors.ErrUnsupported,
					Reason: "the module that it loads is computed"})
				continue
			case strings.Contains(target, "/"):
				at.path = path.Clean("/" + target)
			default:
				at.module = target
			}
			if err := item.Keep(int64(lineSize + 3*len(target))); err != nil {
				return out, err
			}
			out = append(out, at)
		}
	}
	return out, lost
}

// script answers whether a script of rc(8) may load the module of that name, or one that requires it, and what asks for
// it.
func (i *image) script(name string) (out fact.Answer, triggers []fact.Reason) {
	users := i.users(name)
	for _, l := range i.scripts {
		if !slices.ContainsFunc(i.loads(l), func(m string) bool { return users[m] }) {
			continue
		}
		because := l.reason(reasonScript, "a script of rc(8) may load "+l.name+" at boot")
		if len(triggers) < maxMenu {
			triggers = append(triggers, because)
		}
		if !out.Applies() {
			out = fact.UnsureOf(because)
		}
	}
	if i.unscripted != nil {
		out = fact.Unsure(judge.ReasonUnread, "what scripts of rc(8) load is not known: "+i.unscripted.Error())
	}
	return out, triggers
}
