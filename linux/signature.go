// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

// A fileSignature is the signature of a module's file.
type fileSignature struct {
	ko.Verdict
	key   string // what names the signer's key
	doubt string // why it is not verified
	err   error  // why it is not known
}

// signatureOf reads the signature of a module's file, once. Its Status is empty if that fails.
func (c *checker) signatureOf(t target, keys *kernelKeys) fileSignature {
	if known, ok := c.kept.signatures[t.file]; ok {
		return known
	}
	var s fileSignature
	r := c.report.Part()
	options := ko.Options{Signature: true, Keys: keys.keys}
	file, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(t.file), options, r)
	if err != nil {
		c.problem(SourceTree, t.name, err)
		s.err = err
	} else {
		s.Verdict, s.doubt = file.Verdict, "it leads to none of them"
		if file.Signature != nil {
			s.key = file.Signature.KeyID
		}
		for _, p := range r.Problems {
			if p.Field == "signature" {
				s.doubt = p.Text
			}
			if p.Field != "signature" || !s.Proof.NoKey && s.Proof.Set == "" {
				c.other.Add(p) // the verdict says the rest
			}
		}
	}
	c.kept.signatures[t.file] = s
	return s
}

// refusesSignature says whether the kernel refuses the module for its signature, as module_sig_check and mod_verify_sig
// do: a signature of a key that the kernel has and that does not fit, or of a revoked one, is refused whether
// signatures are enforced or not; one of a key that it does not have counts as none.
func (c *checker) refusesSignature(k *enforcement, t target) fact.Answer {
	rule := k.unsigned.Blocked()
	if rule == fact.No && k.checks == fact.No {
		return passes()
	}
	keys := c.keys.get(c.other)
	if rule == fact.No && keys.keys.Empty() {
		return passes()
	}
	s := c.signatureOf(t, keys)
	j := signatureJudge{enforcement: k, keys: keys, signature: s, file: "/" + c.tree.Path(t.file)}
	switch s.Status {
	case fact.SignatureInvalid:
		return j.invalid()
	case fact.SignatureValid:
		return j.valid()
	case fact.SignatureUntrusted, fact.SignatureUnchecked:
		return j.unverified()
	case fact.SignatureNone:
		return j.none()
	}
	if rule == fact.No {
		return passes()
	}
	r := k.unsigned.Because() // which would count without a signature
	r.Unread = j.file
	if s.err != nil {
		r.Unread += ": " + s.err.Error()
	}
	return fact.UnsureOf(r)
}

// stopsUnsigned returns the answer of a kernel that refuses modules without a signature.
func stopsUnsigned(text, file string, line int) fact.Answer {
	return fact.Stops(fact.Reason{Code: ReasonUnsigned, Text: text, File: file, Line: line})
}

// unsignedNow says whether the running kernel refuses modules without a signature.
func unsignedNow(p *policyReader) fact.Answer {
	switch {
	case p.enforced == fact.Yes:
		return stopsUnsigned("sig_enforce=Y: the kernel takes only signed modules", slash(sigEnforceFile), 0)
	case p.locked == fact.Yes:
		return stopsUnsigned("lockdown: the kernel takes only signed modules", slash(lockdownFile), 0)
	case p.enforced == fact.No && p.locked == fact.No:
		return passes()
	}
	r := fact.Reason{Code: ReasonUnsigned, Text: "whether the kernel takes unsigned modules is not known",
		Unread: slash(lockdownFile)}
	if p.enforced == "" {
		r.Unread = slash(sigEnforceFile)
	}
	return fact.UnsureOf(r)
}

// unsignedNext says whether a kernel will refuse modules without a signature after a boot with that command line.
func unsignedNext(p *policyReader, l *commandLine) fact.Answer {
	asked, level := l.isEverSet("module.sig_enforce"), l.lockdown()
	if p.config == nil {
		return unsignedWithoutConfig(p, l, asked || level != "")
	}
	if p.is("CONFIG_MODULE_SIG", "n") {
		return passes() // lockdown cannot refuse what the kernel does not look at
	}
	const force = "CONFIG_MODULE_SIG_FORCE"
	if p.is(force, "y") {
		_, line := p.config.Get(force)
		return stopsUnsigned(force+"=y: the kernel takes only signed modules", slash(p.config.File), line)
	}
	if asked {
		return stopsUnsigned("module.sig_enforce on the command line", l.file, l.line)
	}
	if a := unsignedByPatch(p, l); a.Applies() {
		return a
	}
	a := unsignedByLockdown(p, l, level)
	if !a.Applies() {
		a = unsignedBySecureBoot(p, l)
	}
	return otherModules(p, l, a)
}

// lockdownPatches are the options of the patches by which distributions lock down kernels before 5.4, which have no
// security module of that name: Debian 10, Ubuntu 18.04, SUSE Linux Enterprise 12 and 15, Red Hat Enterprise Linux 7.
var lockdownPatches = []string{"CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT", "CONFIG_EFI_SECURE_BOOT_LOCK_DOWN",
	"CONFIG_EFI_SECURE_BOOT_SIG_ENFORCE", "CONFIG_EFI_SECURE_BOOT_SECURELEVEL", "CONFIG_LOCK_DOWN_KERNEL"}

// lockdownPatch returns the option of such a patch, and its line; empty if the kernel has none.
func (r *policyReader) lockdownPatch() (option string, line int) {
	if r.config == nil || r.is("CONFIG_SECURITY_LOCKDOWN_LSM", "y") {
		return "", 0
	}
	for _, option := range lockdownPatches {
		if value, line := r.config.Get(option); value == "y" {
			return option, line
		}
	}
	return "", 0
}

// unsignedByPatch says whether a kernel with such a patch will refuse modules without a signature. It does not apply to
// other kernels, nor to one that nothing locks down.
func unsignedByPatch(p *policyReader, l *commandLine) fact.Answer {
	option, line := p.lockdownPatch()
	_, asked := boot.LastValue(l.words, "lockdown")
	switch {
	case option == "":
		return fact.Answer{}
	case p.secureBooted == fact.Yes && option != "CONFIG_LOCK_DOWN_KERNEL":
		return stopsUnsigned(option+"=y: with Secure Boot the kernel takes only signed modules", slash(p.config.File),
			line)
	case p.secureBooted == fact.No && !asked && !p.is("CONFIG_LOCK_DOWN_MANDATORY", "y"):
		return fact.Answer{}
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonUnsigned, File: slash(p.config.File), Line: line,
		Text:   option + "=y: if a patch of the distribution locks the kernel down, it takes only signed modules",
		Unread: "whether Secure Boot or the command line locks the kernel down"})
}

// otherModules takes back an answer that needs the security module lockdown to be started, if the command line may have
// another list of security modules.
func otherModules(p *policyReader, l *commandLine, a fact.Answer) fact.Answer {
	switch {
	case a.Blocked() != fact.Yes, p.is("CONFIG_SECURITY_LOCKDOWN_LSM_EARLY", "y"), p.is("CONFIG_IMA_ARCH_POLICY", "y"):
		return a
	case len(l.open) > 0:
		return l.unsure(ReasonUnsigned, a.Because().Text+"; but the boot loader may put an lsm= without lockdown")
	case l.file == "":
		r := a.Because()
		r.Text, r.Unread = r.Text+"; but the command line may have an lsm= without lockdown", "the command line"
		return fact.UnsureOf(r)
	}
	return a
}

// unsignedWithoutConfig is the answer for a kernel whose configuration is not known.
func unsignedWithoutConfig(p *policyReader, l *commandLine, asked bool) fact.Answer {
	r := fact.Reason{Code: ReasonUnsigned, Text: "the kernel's configuration is not known",
		Unread: "the kernel's configuration"}
	if err := p.unread(SourceKernelConfig); err != nil {
		r.Unread += ": " + err.Error()
	}
	if asked {
		r.Text = "the command line asks for signatures; whether this kernel checks them is not known"
		r.File, r.Line = l.file, l.line
	}
	return fact.UnsureOf(r)
}

// unsignedByLockdown says whether lockdown will refuse modules without a signature. It does not apply if no level
// is set.
func unsignedByLockdown(p *policyReader, l *commandLine, level string) fact.Answer {
	if !lockdownActive(p, l) {
		return fact.Answer{}
	}
	for _, kind := range []string{"INTEGRITY", "CONFIDENTIALITY"} {
		o := "CONFIG_LOCK_DOWN_KERNEL_FORCE_" + kind
		if p.is(o, "y") {
			_, line := p.config.Get(o)
			return stopsUnsigned(o+"=y: the kernel takes only signed modules", slash(p.config.File), line)
		}
	}
	if level != "" {
		return stopsUnsigned("lockdown="+level+" on the command line", l.file, l.line)
	}
	return fact.Answer{}
}

// unsignedBySecureBoot says whether the kernel will refuse modules without a signature because of Secure Boot.
func unsignedBySecureBoot(p *policyReader, l *commandLine) fact.Answer {
	honors := p.is("CONFIG_IMA_ARCH_POLICY", "y") ||
		p.is("CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT", "y") && lockdownActive(p, l)
	switch {
	case !honors, p.secureBooted == fact.No:
		return passes()
	case p.secureBooted == fact.Yes:
		return stopsUnsigned("Secure Boot makes the kernel take only signed modules", slash(secureBootVar), 0)
	}
	return fact.UnsureOf(fact.Reason{Code: ReasonUnsigned, Unread: slash(secureBootVar),
		Text: "with Secure Boot the kernel would take only signed modules; whether it is on is not known"})
}

// lockdownActive reports whether the kernel starts the lockdown module: early, or because it is on the list of
// security modules, which the command line may replace.
func lockdownActive(p *policyReader, l *commandLine) bool {
	if p.is("CONFIG_SECURITY_LOCKDOWN_LSM", "n") {
		return false
	}
	if p.is("CONFIG_SECURITY_LOCKDOWN_LSM_EARLY", "y") {
		return true
	}
	list := securityModules(p, l)
	return list == nil || slices.Contains(list, "lockdown") // before 5.1 there was no list
}

// securityModules returns those that the kernel starts: what the command line says, else what it was built with;
// nil if neither says anything. The kernel's configuration must be known.
func securityModules(p *policyReader, l *commandLine) []string {
	if word, ok := boot.LastValue(l.words, "lsm"); ok {
		return strings.Split(word.Value, ",")
	}
	if list, _ := p.config.Get("CONFIG_LSM"); list != "n" {
		return strings.Split(list, ",")
	}
	return nil
}

// The gates that may refuse a module, and do not say which.
const (
	imaAppraises  = "IMA appraises module files: only the kernel knows which pass"
	imaByWord     = "IMA's policy on the command line appraises module files: only the kernel knows which pass"
	loadPinPins   = "LoadPin takes modules from one file system only"
	loadPinOption = "CONFIG_SECURITY_LOADPIN"
	imaSigsOption = "CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS"
)

// gateNow says what else may refuse modules in the running kernel. It does not apply if nothing does.
func gateNow(p *policyReader) fact.Answer {
	switch {
	case p.appraised == fact.Yes:
		return fact.UnsureOf(fact.Reason{Code: ReasonGate, Text: imaAppraises, File: slash(imaPolicyFile),
			Line: p.appraisedLine, Unread: "IMA's result"})
	case p.pinned != "":
		return fact.UnsureOf(fact.Reason{Code: ReasonGate, Text: loadPinPins, File: slash(p.pinned),
			Unread: "LoadPin's file system"})
	}
	return fact.Answer{}
}

// gateNext says what else may refuse modules after a boot. It does not apply if nothing does.
func gateNext(p *policyReader, l *commandLine) fact.Answer {
	if a := imaNext(p, l); a.Applies() {
		return a
	}
	enforced := p.is("CONFIG_SECURITY_LOADPIN_ENFORCE", "y") || p.is("CONFIG_SECURITY_LOADPIN_ENABLED", "y")
	for _, key := range []string{"loadpin.enabled", "loadpin.enforce"} { // the first before Linux 4.20
		if word, ok := boot.LastValue(l.words, key); ok {
			enforced = word.IsSet()
		}
	}
	if !enforced || !p.is(loadPinOption, "y") || excludesModules(l.words) {
		return fact.Answer{}
	}
	if list := securityModules(p, l); list == nil || slices.Contains(list, "loadpin") {
		return fact.UnsureOf(fact.Reason{Code: ReasonGate, Text: loadPinPins, File: slash(p.config.File),
			Unread: "LoadPin's file system"})
	}
	return fact.Answer{}
}

// excludesModules reports whether loadpin.exclude= names the files of modules.
func excludesModules(words []boot.Word) bool {
	return slices.Contains(boot.ListValues(words, "loadpin.exclude", false), "kernel-module")
}

// imaNext says whether IMA may refuse modules after a boot. It does not apply if IMA does not appraise them.
func imaNext(p *policyReader, l *commandLine) fact.Answer {
	if !p.is("CONFIG_IMA_APPRAISE", "y") {
		return fact.Answer{}
	}
	if p.is(imaSigsOption, "y") {
		_, line := p.config.Get(imaSigsOption)
		return fact.UnsureOf(fact.Reason{Code: ReasonGate, Text: imaAppraises, File: slash(p.config.File), Line: line,
			Unread: "IMA's result"})
	}
	for _, word := range l.words {
		byPolicy := word.Key == "ima_policy" &&
			(strings.Contains(word.Value, "secure_boot") || strings.Contains(word.Value, "appraise_tcb"))
		if byPolicy || word.Key == "ima_appraise_tcb" {
			r := l.reason(ReasonGate, imaByWord)
			r.Unread = "IMA's result"
			return fact.UnsureOf(r)
		}
	}
	return imaPolicyNext(p)
}

// imaPolicyFiles are the policies that systemd and dracut give the kernel during boot.
var imaPolicyFiles = []string{"etc/ima/ima-policy", "etc/sysconfig/ima-policy"}

// imaPolicyNext says whether the policy on disk may refuse modules. It does not apply if it does not.
func imaPolicyNext(p *policyReader) fact.Answer {
	for _, file := range imaPolicyFiles {
		text, err := limit.ReadFile(p.FS, file, limit.Proc)
		if isNone(err) {
			continue
		}
		if err != nil {
			return fact.UnsureOf(unread(ReasonGate, slash(file), err))
		}
		if _, line := moduleAppraisal(string(text)); line > 0 {
			return fact.UnsureOf(fact.Reason{Code: ReasonGate, Text: imaAppraises, File: slash(file), Line: line,
				Unread: "IMA's result"})
		}
	}
	return fact.Answer{}
}

// helperOf says whether requests for modules reach modprobe if the kernel runs that program for them. file is the file
// with the program's name.
func helperOf(program, file string) fact.Answer {
	r := fact.Reason{Code: ReasonHelper, Text: "the kernel runs " + quote(program) + " for a module", File: file}
	switch {
	case program == "":
		r.Text = "the kernel's helper is empty: it asks for no module"
		return fact.Stops(r)
	case strings.HasSuffix(program, "/true"), strings.HasSuffix(program, "/false"):
		return fact.Stops(r)
	case strings.HasSuffix(program, "/modprobe"):
		return passes()
	}
	r.Unread = "what " + escape.Text(program) + " does"
	return fact.UnsureOf(r)
}
