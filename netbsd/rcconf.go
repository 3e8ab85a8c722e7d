// SPDX-License-Identifier: Apache-2.0

package netbsd

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/rcconf"
	"github.com/kernelext/kernelext/internal/unsettled"
)

// rcFiles are the files that rc(8) reads for a service, in order: rc.conf itself runs the defaults (rc.subr:
// load_rc_config).
func rcFiles(service string) []string {
	return []string{"etc/defaults/rc.conf", "etc/rc.conf", "etc/rc.conf.d/" + service}
}

// rc returns what rc(8) knows of the variables of a service.
func (k *Kernel) rc(service string, r *fact.Report) *rcconf.Conf {
	c := &rcconf.Conf{Source: SourceRCConf, Known: []string{"/etc/defaults/rc.conf", "/etc/rc.conf"}}
	for _, file := range rcFiles(service) {
		k.readConf(file, c, c.ReadScript, r)
	}
	return c
}

// sysctls returns what sysctl.conf(5) sets: NAME=VALUE, or NAME?=VALUE of what not every kernel has.
func (k *Kernel) sysctls(r *fact.Report) *rcconf.Conf {
	c := &rcconf.Conf{Source: SourceRCConf}
	k.readConf("etc/sysctl.conf", c, func(file, text string, r *fact.Report) {
		c.ReadLoader(file, strings.ReplaceAll(text, "?=", "="), r)
	}, r)
	return c
}

// readConf adds a file to c. One that cannot be read may set anything.
func (k *Kernel) readConf(name string, c *rcconf.Conf, add func(file, text string, r *fact.Report), r *fact.Report) {
	text, item, err := limit.ReadItem(k.machine, name, limit.Text, r.Budget)
	defer item.Done()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		r.Problem(SourceRCConf, "", "", err)
		c.Hide("/"+name, 0, fact.CodeOf(err))
	default:
		add("/"+name, string(text), r)
	}
}

// off answers whether a variable of rc(8) means no, as anything but yes does (rc.subr: checkyesno). It does not apply
// to one that means yes, or that no file sets: then the defaults of rc.conf(5) are missing, too.
func off(c *rcconf.Conf, name, code, text string) fact.Answer {
	s, ok := c.Lookup(name)
	switch {
	case ok && s.Code != "":
		return fact.UnsureOf(s.Unknown(code))
	case ok && !rcconf.Yes(s.Value):
		return fact.Stops(s.Reason(code, text))
	}
	return fact.Answer{}
}

// imageLevel answers whether the securelevel is raised by the end of a boot: by sysctl.conf(5), or by rc.d/securelevel,
// which sets rc.conf's securelevel. It does not apply if nothing does: a kernel without options INSECURE is raised from
// 0 to 1 then, which no file says, and which root may forestall.
func (k *Kernel) imageLevel(r *fact.Report) (rcconf.Setting, fact.Answer) {
	if s, ok := k.rc("sysctl", r.Part()).Ends(); ok {
		return s, fact.UnsureOf(s.Reason(reasonLevel, "rc(8) may end here, before it raises the securelevel"))
	}
	for _, q := range []struct {
		name string
		conf *rcconf.Conf
	}{{"kern.securelevel", k.sysctls(r)}, {"securelevel", k.rc("securelevel", r)}} {
		s, ok := q.conf.Lookup(q.name)
		n, err := strconv.Atoi(s.Value)
		switch {
		case !ok || s.Code == "" && s.Value == "":
		case s.Code != "" || err != nil:
			return s, fact.UnsureOf(s.Reason(reasonLevel, "the securelevel that "+q.name+" sets is not known"))
		case n > 0:
			return s, fact.Stops(s.Reason(reasonLevel, "rc(8) raises the securelevel during the boot"))
		}
	}
	return rcconf.Setting{}, fact.Answer{}
}

// imageAutoload answers whether the kernel loads modules by itself. Where sysctl.conf(5) says no, it does until
// rc.d/sysctl runs: after the devices are found, the root is mounted, and rc.d/mountcritlocal mounts other file systems
// (rc.d/sysctl requires root and ipsec, rc.d/ipsec requires mountcritlocal). So no file stops it for a whole boot.
func (k *Kernel) imageAutoload(r *fact.Report) (rcconf.Setting, fact.Answer) {
	s, ok := k.sysctls(r).Lookup(sysctlAutoload)
	if n, err := strconv.Atoi(s.Value); ok && s.Code == "" && err == nil && n == 0 {
		return s, fact.UnsureOf(s.Reason(reasonAutoload,
			"the kernel loads modules by itself, when something needs them, until rc.d/sysctl turns that off"))
	}
	because := fact.Reason{Code: reasonAutoload,
		Text: "the kernel may load it during the boot, when something needs it"}
	return s, fact.UnsureOf(because)
}

// at returns the fact with the place of the setting.
func at(f fact.PolicyFact, s rcconf.Setting) fact.PolicyFact {
	if s.File != "" {
		f.File, f.Line = s.File, s.Line
	}
	return f
}

// imagePolicy returns what the files of an image say about loading.
func (k *Kernel) imagePolicy(r *fact.Report) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	level, raised := k.imageLevel(r)
	f := fact.PolicyFact{Name: "securelevel", Source: SourcePolicy, Value: level.Value, Code: level.Code,
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
	auto, answer := k.imageAutoload(r)
	f = fact.PolicyFact{Name: "module_autoload", Source: SourcePolicy, Value: auto.Value, Code: auto.Code,
		Effect: answer.Because().Text}
	if auto.File == "" {
		f.Code, f.Effect = fact.CodeAbsent, "the kernel loads modules by itself when something needs them"
	}
	p.Facts = append(p.Facts, at(f, auto))
	l, err := k.readLoader(r)
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
	if why, ok := k.missing(&l); ok {
		unsettled.Kernel(p, why)
	}
	r.Policy(p)
	return p
}

// missing says what of an image is missing or unreadable without which no lack of a setting says anything: the kernel
// that boots, packed or not, and what init(8) runs. A root without the first is that of a chroot, one without the
// second has its /etc on another disk.
func (k *Kernel) missing(l *loader) (fact.Problem, bool) {
	if l.device.file != "" {
		return fact.ProblemOf(SourceBootCfg, "", "", l.otherDevice()), true
	}
	for _, files := range [][]string{{l.kernel, l.kernel + ".gz"}, {"etc/rc", "etc/defaults/rc.conf", "etc/rc.conf"}} {
		err := k.first(files)
		if err == nil {
			continue
		}
		p := fact.ProblemOf(SourcePolicy, "", "", err)
		if errors.Is(err, fs.ErrNotExist) {
			p.Text = "this root has no /" + files[0] + ": it is a chroot's, or a disk of it is not mounted"
		}
		return p, true
	}
	return fact.Problem{}, false
}

// first returns why none of the files can be looked at; nil if one is there.
func (k *Kernel) first(files []string) (lost error) {
	for _, file := range files {
		_, err := fs.Stat(k.machine, file)
		if err == nil {
			return nil
		}
		if lost == nil || !errors.Is(err, fs.ErrNotExist) {
			lost = err
		}
	}
	return lost
}
