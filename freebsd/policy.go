// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/rcconf"
	"github.com/kernelext/kernelext/internal/unsettled"
)

// A lock is what the running kernel says of whether klds may be loaded at all.
type lock struct {
	// level is kern.securelevel: above 0, which raised says, no kld is loaded or unloaded until the next boot.
	level  fact.PolicyFact
	raised bool
	// veriexec is security.mac.veriexec.state; absent where the kernel has no such module. With "enforce" in it a kld
	// needs a fingerprint in the manifest.
	veriexec fact.PolicyFact

	unread []fact.Problem // why one of them is unknown
}

// readLock asks the running kernel.
func readLock(ctx context.Context, call callFunc) *lock {
	l := &lock{
		level:    fact.PolicyFact{Name: "securelevel", Source: SourcePolicy, File: "sysctl " + sysctlSecureLevel},
		veriexec: fact.PolicyFact{Name: "veriexec", Source: SourcePolicy, File: "sysctl " + sysctlVeriexec},
	}
	level, err := call.integer(ctx, sysctlSecureLevel)
	if err != nil {
		l.level.Code = fact.CodeOf(err)
		l.unread = append(l.unread, fact.ProblemOf(SourcePolicy, "", "", err))
	} else {
		l.level.Value, l.level.Effect, l.raised = strconv.FormatInt(level, 10), "root may load klds", level > 0
	}
	if l.raised {
		l.level.Effect = "no kld is loaded or unloaded until the next boot"
	}
	l.veriexec.Value, err = call.text(ctx, sysctlVeriexec)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		l.veriexec.Code = fact.CodeOf(err)
		l.unread = append(l.unread, fact.ProblemOf(SourcePolicy, "", "", err))
	case l.veriexec.Value == "":
		l.veriexec.Code, l.veriexec.Effect = fact.CodeAbsent, "mac_veriexec is not loaded"
	case l.enforcing():
		l.veriexec.Effect = "a kld without a fingerprint in the manifest is refused"
	}
	return l
}

// report reports what the kernel did not answer. A Policy has a fact with a code instead.
func (l *lock) report(r *fact.Report) {
	for _, p := range l.unread {
		r.Add(p)
	}
}

// answer says whether the kernel refuses every kld now. It is unknown also with veriexec enforcing, which decides file
// by file.
func (l *lock) answer() fact.Answer {
	switch {
	case l.raised:
		return fact.Stops(fact.Reason{Code: ReasonLevel,
			Text: "kern.securelevel=" + l.level.Value + ": no kld is loaded or unloaded until the next boot"})
	case l.enforcing():
		return fact.Unsure(ReasonVeriexec, "veriexec enforces: only a kld with a fingerprint in the manifest is loaded")
	case l.level.Code != "":
		return fact.Unsure(ReasonLevel, "the securelevel could not be read: "+l.unread[0].Text)
	case l.veriexec.Code != "" && l.veriexec.Code != fact.CodeAbsent:
		return fact.Unsure(ReasonVeriexec, "the state of veriexec could not be read: "+l.unread[len(l.unread)-1].Text)
	}
	return fact.Passes(fact.Reason{Code: ReasonLevel, Text: l.level.Effect})
}

// enforcing reports whether veriexec is known to enforce.
func (l *lock) enforcing() bool {
	return strings.Contains(strings.ToLower(l.veriexec.Value), "enforce")
}

// loading returns the answer as a Policy's word.
func (l *lock) loading() fact.Loading {
	switch l.answer().Blocked() {
	case fact.Yes:
		return fact.LoadingNone
	case fact.No:
		return fact.LoadingAny
	}
	if l.level.Code == "" && l.enforcing() {
		return fact.LoadingSigned
	}
	return ""
}

// Policy returns what is enforced on loading: by the running kernel, and by the configuration at the next boot. That of
// an image is that of its configuration. FreeBSD has no signatures of klds.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	var l *lock
	if !k.options.Image {
		l = readLock(ctx, k.call())
	}
	p := policyOf(l, k.conf(ctx))
	switch {
	case k.bootless(ctx): // a jail's rc.conf says nothing of the kernel that runs
		unsettled.Kernel(p, fact.Problem{Source: SourceLoaderConf, Code: fact.CodeAbsent, Text: noKernel.Text})
	case k.options.Image && !k.hasRC(ctx):
		unsettled.Facts(p, noRC, SourceRCConf)
	}
	r.Policy(p)
	return p, ctx.Err()
}

// noRC is why nothing is known of the settings of rc(8) in an image that has nothing of it.
var noRC = fact.Problem{Source: SourceRCConf, Code: fact.CodeAbsent,
	Text: "this root has nothing of rc(8): its /etc is on another disk"}

// hasRC reports whether the root of an image has anything of rc(8). One that cannot be looked into may have.
func (k *Kernel) hasRC(ctx context.Context) bool {
	for _, file := range []string{"etc/rc", rcDefaults, "etc/rc.conf"} {
		if _, err := fs.Stat(k.machine, file); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return k.conf(ctx).scripts
}

// policyOf returns the facts of what is enforced on loading. l is nil for an image.
func policyOf(l *lock, c *config) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	if l != nil {
		p.Loading = l.loading()
		p.Facts = append(p.Facts, l.level, l.veriexec)
	}
	raise, raised := c.secureLevel()
	if raised.Blocked() == "" && c.unread.Count(SourceRCConf) == 0 && raise.File == "" {
		raised = fact.Answer{} // a recording that is too old to say, which costs its facts nothing
		raise, _ = c.of("securelevel").Lookup("kern_securelevel_enable")
	}
	p.Facts = append(p.Facts, c.securelevelFact(raise, raised))
	if l == nil && !raised.Applies() {
		p.Loading = fact.LoadingAny
	}
	for _, s := range []struct{ name, effect string }{
		{"module_blacklist", "the boot loader does not load these; kldload(8) still does"},
		{"module_path", "where the boot loader, and then the kernel, look for klds beside the kernel's own directory"},
	} {
		p.Facts = append(p.Facts, confFact(&c.Loader, s.name, s.effect))
	}
	for _, s := range []struct{ service, name, effect string }{
		{"kld", "kld_list", "rc(8) loads these at boot"},
		{"devmatch", "devmatch_enable", "devmatch(8) loads drivers for devices that have none"},
		{"devmatch", "devmatch_blocklist", "devmatch(8) does not load these"},
	} {
		p.Facts = append(p.Facts, confFact(c.of(s.service), s.name, s.effect))
	}
	for i := range p.Facts {
		f := &p.Facts[i]
		if q, lost := c.unread.First(f.Source); lost && f.Code == fact.CodeAbsent { // the unread file may set it
			f.Code, f.Unknown, f.Effect = q.Code, true, "not known: "+q.Text
		}
	}
	for _, q := range c.unread.Problems {
		if q.Source == SourceServices {
			continue
		}
		p.Facts = append(p.Facts, fact.PolicyFact{Name: "configuration", Source: q.Source, Code: q.Code,
			Effect: q.Text})
	}
	return p
}

func (c *config) securelevelFact(s rcconf.Setting, raised fact.Answer) fact.PolicyFact {
	f := fact.PolicyFact{Name: "kern_securelevel", Source: SourceRCConf, Value: s.Value, File: s.File,
		Line: s.Line, Code: s.Code}
	switch {
	case raised.Blocked() == fact.Yes:
		f.Effect = "rc(8) raises the securelevel at the end of the boot; what loads during the boot comes before"
	case raised.Applies():
		f.Value, f.Effect = "", raised.Because().Text
		if f.Code == "" {
			f.Code = fact.CodeOther
		}
	case s.Name == "":
		f.Code, f.Effect = fact.CodeAbsent, "the securelevel is not raised at boot"
	}
	return f
}

func confFact(c *rcconf.Conf, name, effect string) fact.PolicyFact {
	s, ok := c.Lookup(name)
	f := fact.PolicyFact{Name: name, Source: c.Source, Value: s.Value, File: s.File, Line: s.Line, Code: s.Code}
	switch {
	case !ok:
		f.Code = fact.CodeAbsent
	case s.Value != "":
		f.Effect = effect
	}
	return f
}
