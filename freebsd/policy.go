// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Lock is what the running kernel says of whether klds may be loaded at all.
type Lock struct {
	// SecureLevel is kern.securelevel: above 0 no kld is loaded or unloaded until the next boot.
	// LevelErr is why it is unknown.
	SecureLevel int64
	LevelErr    error
	// Veriexec is security.mac.veriexec.state; empty where the kernel has no such module. With
	// "enforce" in it a kld needs a fingerprint in the manifest. VeriexecErr is why it is unknown.
	Veriexec    string
	VeriexecErr error
}

// ReadLock asks the running kernel.
func ReadLock(ctx context.Context, call CallFunc) Lock {
	var l Lock
	l.SecureLevel, l.LevelErr = call.Int(ctx, SysctlSecureLevel)
	l.Veriexec, l.VeriexecErr = call.Text(ctx, SysctlVeriexec)
	if errors.Is(l.VeriexecErr, fs.ErrNotExist) {
		l.Veriexec, l.VeriexecErr = "", nil
	}
	return l
}

// Blocked says whether the kernel refuses every kld now, and why. It is unknown also with veriexec
// enforcing, which decides file by file.
func (l Lock) Blocked() (blocked fact.Tri, reason string) {
	switch {
	case l.LevelErr == nil && l.SecureLevel > 0:
		return fact.Yes, fmt.Sprintf("kern.securelevel=%d: no kld is loaded or unloaded until the next boot", l.SecureLevel)
	case l.Enforcing():
		return "", "veriexec enforces: only a kld with a fingerprint in the manifest is loaded"
	case l.LevelErr != nil:
		return "", "kern.securelevel is unknown"
	case l.VeriexecErr != nil:
		return "", "the state of veriexec is unknown"
	}
	return fact.No, ""
}

// Enforcing reports whether veriexec is known to enforce.
func (l Lock) Enforcing() bool { return strings.Contains(strings.ToLower(l.Veriexec), "enforce") }

// loading is Blocked as a Policy's word.
func (l Lock) loading() fact.Loading {
	switch blocked, _ := l.Blocked(); {
	case blocked == fact.Yes:
		return fact.LoadingNone
	case l.LevelErr == nil && l.Enforcing():
		return fact.LoadingSigned
	case blocked == fact.No:
		return fact.LoadingAny
	}
	return ""
}

// Policy makes the facts of what is enforced on loading. lock is nil for an image, whose policy is
// that of its configuration at the next boot. FreeBSD has no signatures of klds.
func Policy(lock *Lock, conf *Config) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	if lock != nil {
		p.Loading = lock.loading()
		p.Facts = append(p.Facts, lock.level(), lock.veriexec())
	}
	raise, raised := conf.SecureLevel()
	p.Facts = append(p.Facts, conf.securelevelFact(raise, raised))
	if lock == nil && !raised {
		p.Loading = fact.LoadingAny
	}
	for _, s := range []struct{ name, effect string }{
		{"module_blacklist", "the boot loader does not load these; kldload(8) still does"},
		{"module_path", "where the boot loader, and then the kernel, look for klds beside the kernel's own directory"},
	} {
		p.Facts = append(p.Facts, confFact(&conf.Loader, SourceLoaderConf, s.name, s.effect))
	}
	for _, s := range []struct{ name, effect string }{
		{"kld_list", "rc(8) loads these at boot"},
		{"devmatch_enable", "devmatch(8) loads drivers for devices that have none"},
		{"devmatch_blocklist", "devmatch(8) does not load these"},
	} {
		p.Facts = append(p.Facts, confFact(&conf.RC, SourceRCConf, s.name, s.effect))
	}
	for _, err := range conf.Errs {
		p.Facts = append(p.Facts, fact.PolicyFact{Name: "configuration", Source: SourceLoaderConf, Code: fact.CodeOf(err), Effect: err.Error()})
	}
	return p
}

func (l *Lock) level() fact.PolicyFact {
	f := fact.PolicyFact{Name: "securelevel", Source: SourcePolicy, File: "sysctl " + SysctlSecureLevel}
	if l.LevelErr != nil {
		f.Code = fact.CodeOf(l.LevelErr)
		return f
	}
	f.Value = strconv.FormatInt(l.SecureLevel, 10)
	f.Effect = "root may load klds"
	if l.SecureLevel > 0 {
		f.Effect = "no kld is loaded or unloaded until the next boot"
	}
	return f
}

func (l *Lock) veriexec() fact.PolicyFact {
	f := fact.PolicyFact{Name: "veriexec", Source: SourcePolicy, File: "sysctl " + SysctlVeriexec, Value: l.Veriexec}
	switch {
	case l.VeriexecErr != nil:
		f.Code = fact.CodeOf(l.VeriexecErr)
	case l.Veriexec == "":
		f.Code, f.Effect = fact.CodeAbsent, "mac_veriexec is not loaded"
	case l.Enforcing():
		f.Effect = "a kld without a fingerprint in the manifest is refused"
	}
	return f
}

func (c *Config) securelevelFact(s Setting, raised bool) fact.PolicyFact {
	f := fact.PolicyFact{Name: "kern_securelevel", Source: SourceRCConf, Value: s.Value, File: s.File, Line: s.Line, Code: s.Code}
	switch {
	case raised:
		f.Effect = "rc(8) raises the securelevel at the end of the boot; what loads during the boot comes before"
	case s.Name == "":
		f.Code, f.Effect = fact.CodeAbsent, "the securelevel is not raised at boot"
	}
	return f
}

func confFact(c *Conf, source, name, effect string) fact.PolicyFact {
	s, ok := c.Lookup(name)
	f := fact.PolicyFact{Name: name, Source: source, Value: s.Value, File: s.File, Line: s.Line, Code: s.Code}
	switch {
	case !ok:
		f.Code = fact.CodeAbsent
	case s.Value != "":
		f.Effect = effect
	}
	return f
}
