// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// Files of the running kernel's policy.
const (
	sigEnforceFile      = "sys/module/module/parameters/sig_enforce"
	securityDir         = "sys/kernel/security"
	lockdownFile        = securityDir + "/lockdown"
	lsmFile             = securityDir + "/lsm"
	imaPolicyFile       = securityDir + "/ima/policy"
	loadPinFile         = "proc/sys/kernel/loadpin/enforce"
	modprobeFile        = "proc/sys/kernel/modprobe"
	loadPinParameter    = "sys/module/loadpin/parameters/enforce"
	loadPinOldParameter = "sys/module/loadpin/parameters/enabled"
)

// The names of the policy's facts, in their order, beside the kernel configuration's own
// CONFIG_… names and the keyrings'.
const (
	FactModulesDisabled = "modules_disabled"
	FactSigEnforce      = "sig_enforce"
	FactLockdown        = "lockdown"
	FactSecureBoot      = "secure_boot"
	FactSetupMode       = "setup_mode"
	FactMokSBState      = "mok_sb_state"
	FactMokListTrusted  = "mok_list_trusted"
	FactLSM             = "lsm"
	FactLoadPin         = "loadpin"
	FactIMAAppraise     = "ima_appraise"
	FactModprobe        = "modprobe"
	FactModuleBlacklist = "module_blacklist"
	FactInitcalls       = "initcall_blacklist"
	FactTaint           = "taint"
	FactKey             = "key"
	FactKexecLoaded     = "kexec_loaded"
	FactKexecCrash      = "kexec_crash_loaded"
	FactKexecDisabled   = "kexec_load_disabled"
)

// A policyMachine is what readPolicy looks at.
type policyMachine struct {
	// FS is the machine's root.
	FS fs.FS
	// Release is the kernel release whose configuration counts; empty when unknown.
	Release string
	// Live is set for a running kernel. Otherwise nothing below proc and sys is read, and Entry replaces the command
	// line.
	Live bool
	// Firmware is set for another kernel of a running machine: the firmware's variables, which stay
	// over a boot, are read, and nothing else of the kernel that runs.
	Firmware bool
	// Entry is the boot entry of the next boot: its command line, the line's place, and the boot loader's variables in
	// it, which may add any word. Unread says why it is not known. Neither is used when Live is set.
	Entry  boot.Entry
	Unread fact.Report
}

// readPolicy reads what a machine enforces on the loading of modules: some twenty small files.
// Every fact names its source; one that is not known says why. It never fails as a whole.
//
// On a machine that is not live only the kernel's configuration and the next boot's command line
// are known; nothing of the running machine takes part.
func readPolicy(m policyMachine) *policyReader {
	r := &policyReader{policyMachine: m, policy: &fact.Policy{Facts: []fact.PolicyFact{}}}
	if m.Live {
		r.readCmdline()
	} else if err := r.unread(SourceCmdline); err != nil {
		r.noCmdline = unknownFact("", SourceCmdline, r.Entry.File, err)
	}
	r.readConfig()
	if !m.Live && !r.noCmdline.Unknown {
		r.nextCmdline()
	}
	if m.Live {
		r.modulesDisabled()
		r.sigEnforce()
		r.lockdown()
	}
	if m.Live || m.Firmware {
		r.secureBoot()
	}
	if m.Live {
		r.lockedByPatch()
		r.lsm()
		r.loadPin()
		r.ima()
		r.modprobe()
		r.kexec()
	}
	r.commandLine()
	r.options()
	if m.Live {
		r.taint()
		r.keys()
	}
	r.conclude()
	return r
}

// nextCmdline adds the words that the kernel was built with to those of the boot entry.
func (r *policyReader) nextCmdline() {
	lines := nextCmdlines(r, r.Entry, !slices.Contains(boot.CmdlineFiles, r.Entry.File))
	r.Entry = lines[0]
	r.guess = len(lines) > 1
}

// A policyReader collects the facts, and what of them decides.
type policyReader struct {
	policyMachine
	policy    *fact.Policy
	config    *kernelConfig
	guess     bool // the command line may be another one
	loadPinOn bool
	pinned    string          // the file that says that LoadPin enforces
	helper    fact.Answer     // whether the kernel's requests for modules reach modprobe
	noCmdline fact.PolicyFact // what is said of each key if the command line is not known; zero if it is

	noModules     fact.Tri // CONFIG_MODULES is off
	disabled      fact.Tri // modules_disabled is 1
	enforced      fact.Tri // signatures are enforced
	locked        fact.Tri // lockdown refuses unsigned modules
	noSignatures  bool     // the kernel does not check signatures
	appraised     fact.Tri // IMA refuses what it does not appraise
	appraisedLine int
	secureBooted  fact.Tri // Secure Boot is on
}

func (r *policyReader) add(f fact.PolicyFact) {
	f.Value = escape.UTF8(f.Value)
	r.policy.Facts = append(r.policy.Facts, f)
}

// A notMounted is the error for a setting of a file system, which it names, that is not mounted.
type notMounted string

func (e notMounted) Error() string { return string(e) + " is not mounted here" }
func (e notMounted) Unwrap() error { return fs.ErrNotExist }

// unknown adds a fact that could not be read. Without an effect, its value is unknown, and the effect says why.
func (r *policyReader) unknown(name, source, file, effect string, err error) {
	f := unknownFact(name, source, file, err)
	if effect != "" {
		f.Effect, f.Unknown = effect, false
	}
	r.add(f)
}

// unknownFact returns the fact that is not known because of err.
func unknownFact(name, source, file string, err error) fact.PolicyFact {
	code := fact.CodeOf(err)
	var pe *fs.PathError
	if errors.As(err, &pe) && file != "" {
		err = pe.Err // the fact names the file
	}
	effect := "not known: " + escape.Text(err.Error())
	return fact.PolicyFact{Name: name, Source: source, File: slash(file), Effect: effect, Code: code, Unknown: true}
}

// unread returns why a source was not read; nil if it was.
func (r *policyReader) unread(source string) error {
	for _, p := range r.Unread.Problems {
		if p.Source == source {
			p.Source = "" // whoever asks names it
			return p
		}
	}
	return nil
}

// slash is the file as its machine's user writes it.
func slash(file string) string {
	if file == "" {
		return ""
	}
	return "/" + file
}

// attr reads a file of one value.
func (r *policyReader) attr(name string) (string, error) {
	b, err := limit.AppendAttr(r.FS, nil, name, limit.Attr)
	return strings.TrimSpace(string(b)), err
}

func (r *policyReader) readCmdline() {
	text, err := limit.AppendFile(r.FS, nil, modprobe.CmdlineFile, limit.Attr)
	r.Entry = boot.Entry{Words: boot.ParseCmdline(string(text)), File: modprobe.CmdlineFile}
	if err != nil {
		r.Unread.Problem(SourceCmdline, "", "", err)
		r.noCmdline = unknownFact("", SourceCmdline, modprobe.CmdlineFile, err)
	}
}

func (r *policyReader) readConfig() {
	config, err := readKernelConfig(r.FS, r.Release, r.Live)
	if err != nil {
		r.Unread.Problem(SourceKernelConfig, "", "", err)
		return
	}
	v, _ := config.Get("CONFIG_MODULES")
	r.config, r.noModules = config, fact.TriOf(v == "n")
}

// is reports whether the kernel's configuration is known and the option has the value.
func (r *policyReader) is(option, value string) bool {
	if r.config == nil {
		return false
	}
	v, _ := r.config.Get(option)
	return v == value
}

// isOff reports whether the kernel's configuration says in so many words that the option is not set.
func (r *policyReader) isOff(option string) bool {
	if r.config == nil {
		return false
	}
	_, off := r.config.Off[option]
	return off
}

func (r *policyReader) modulesDisabled() {
	value, err := r.attr(disabledFile)
	if err != nil {
		effect := ""
		if errors.Is(err, fs.ErrNotExist) && r.hasNoList() {
			r.noModules = fact.Yes
			effect = "this kernel was built without loadable modules"
		}
		r.unknown(FactModulesDisabled, SourceSysctl, disabledFile, effect, err)
		return
	}
	effect := "root may load modules"
	r.disabled = fact.TriOf(value != "0")
	if r.disabled == fact.Yes {
		effect = "no module can be loaded or unloaded until the next boot"
	}
	r.add(fact.PolicyFact{Name: FactModulesDisabled, Value: value, Effect: effect, Source: SourceSysctl,
		File: slash(disabledFile)})
}

// hasNoList reports whether the kernel that runs was built without loadable modules: it has neither a list of them nor
// a setting. A root that has the list and lacks the setting shows only a part of /proc/sys.
func (r *policyReader) hasNoList() bool {
	if _, err := fs.Stat(r.FS, ModulesFile); !errors.Is(err, fs.ErrNotExist) || r.is("CONFIG_MODULES", "y") {
		return false
	}
	none, err := noModuleSupport(r.FS)
	return err == nil && none
}

func (r *policyReader) sigEnforce() {
	value, err := r.attr(sigEnforceFile)
	if err != nil {
		effect := ""
		if r.hasNoSigEnforce(err) {
			r.enforced, r.noSignatures = fact.No, true
			effect = "this kernel does not check the signatures of modules"
		}
		r.unknown(FactSigEnforce, SourceSysModule, sigEnforceFile, effect, err)
		return
	}
	r.enforced = fact.TriOf(value == "Y" || value == "1")
	effect := "a module without a valid signature loads, and taints the kernel (E)"
	if r.enforced == fact.Yes {
		effect = "only modules signed by a key the kernel trusts are loaded"
	}
	r.add(fact.PolicyFact{Name: FactSigEnforce, Value: value, Effect: effect, Source: SourceSysModule,
		File: slash(sigEnforceFile)})
}

// hasNoSigEnforce reports whether the missing parameter means a kernel that cannot check
// signatures: others of /sys/module are there, or its configuration says so.
func (r *policyReader) hasNoSigEnforce(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if r.config != nil {
		return r.is("CONFIG_MODULE_SIG", "n")
	}
	entries, err := fs.ReadDir(r.FS, SysModuleDir)
	return err == nil && len(entries) > 0
}

func (r *policyReader) lockdown() {
	text, err := r.attr(lockdownFile)
	value := ""
	if err == nil {
		value, err = parseLockdown(text)
	}
	if err != nil {
		effect := ""
		switch {
		case !errors.Is(err, fs.ErrNotExist):
		case r.mayHavePatch():
			err = errLockdownPatch
		case r.is("CONFIG_SECURITY_LOCKDOWN_LSM", "n"):
			r.locked, effect = fact.No, "this kernel has no lockdown"
		case r.hasSecurityFS():
			r.locked, effect = fact.No, "lockdown is not among the active security modules"
		default:
			err = notMounted("securityfs")
		}
		r.unknown(FactLockdown, SourceSecurity, lockdownFile, effect, err)
		return
	}
	r.locked = fact.TriOf(value != "none")
	effect := "no restriction by lockdown"
	if r.locked == fact.Yes {
		effect = "modules without a valid signature are refused, also from root"
	}
	r.add(fact.PolicyFact{Name: FactLockdown, Value: value, Effect: effect, Source: SourceSecurity,
		File: slash(lockdownFile)})
}

// errLockdownPatch says why it is not known whether an older kernel is locked down.
var errLockdownPatch = errors.New("a patch of the distribution may lock this kernel down, and no file shows it")

// mayHavePatch reports whether a distribution's patch may lock the kernel down.
func (r *policyReader) mayHavePatch() bool {
	option, _ := r.lockdownPatch()
	return option != "" || r.config == nil && r.Release != "" && !since(r.Release, 5, 4)
}

// lockedByPatch says whether a distribution's patch locks the kernel down.
func (r *policyReader) lockedByPatch() {
	l := &commandLine{words: r.Entry.Words}
	option, _ := r.lockdownPatch()
	switch a := unsignedByPatch(r, l); {
	case r.locked != "", option == "", r.noCmdline.Unknown:
	case a.Blocked() == fact.Yes:
		r.locked = fact.Yes
	case !a.Applies():
		r.locked = fact.No
	}
}

// parseLockdown returns the word in brackets of "none [integrity] confidentiality".
func parseLockdown(text string) (string, error) {
	_, rest, ok := strings.Cut(text, "[")
	word, _, closed := strings.Cut(rest, "]")
	if !ok || !closed || word == "" {
		return "", &fact.ParseError{Source: lockdownFile, Reason: "is " + strconv.Quote(text) +
			", with no word in brackets"}
	}
	return word, nil
}

// hasSecurityFS reports whether securityfs is mounted: lsm is there on every kernel that has it.
func (r *policyReader) hasSecurityFS() bool {
	_, err := fs.Stat(r.FS, lsmFile)
	return err == nil
}

func (r *policyReader) modprobe() {
	value, err := r.attr(modprobeFile)
	if err != nil {
		r.helper = fact.UnsureOf(fact.Reason{Code: ReasonHelper, File: slash(modprobeFile), Unread: err.Error(),
			Text: "what the kernel runs for a module is not known"})
		r.unknown(FactModprobe, SourceSysctl, modprobeFile, "", err)
		return
	}
	r.helper = helperOf(value, slash(modprobeFile))
	effect := "the kernel runs it when it wants a module"
	if value == "" {
		effect = "empty: the kernel loads no module by itself"
	}
	r.add(fact.PolicyFact{Name: FactModprobe, Value: value, Effect: effect, Source: SourceSysctl,
		File: slash(modprobeFile)})
}

// configOptions are the options of the kernel's configuration that bear on loading.
var configOptions = [...]struct{ name, effect string }{
	{"CONFIG_MODULES", "loadable modules"},
	{"CONFIG_MODULE_SIG", "signatures of modules are checked"},
	{"CONFIG_MODULE_SIG_FORCE", "signatures are enforced from the start"},
	{"CONFIG_MODULE_SIG_ALL", "the build signs its modules"},
	{"CONFIG_MODULE_SIG_HASH", "the digest that the build signs with"},
	{"CONFIG_MODULE_FORCE_LOAD", "modprobe --force ignores version information"},
	{"CONFIG_MODULE_UNLOAD", "modules can be unloaded"},
	{"CONFIG_MODPROBE_PATH", "the helper that the kernel runs for a module"},
	{"CONFIG_STATIC_USERMODEHELPER", "every helper is replaced by one fixed program"},
	{"CONFIG_SECURITY_LOCKDOWN_LSM", "lockdown can be switched on"},
	{"CONFIG_SECURITY_LOCKDOWN_LSM_EARLY", "lockdown is active whatever the list of security modules says"},
	{"CONFIG_LSM", "the security modules that are started unless the command line says otherwise"},
	{"CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "lockdown is on from the start"},
	{"CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY", "lockdown is on from the start"},
	{"CONFIG_LOCK_DOWN_IN_EFI_SECURE_BOOT", "Secure Boot switches lockdown on"},
	{"CONFIG_SECURITY_LOADPIN", "LoadPin can pin modules to one file system"},
	{"CONFIG_SECURITY_LOADPIN_ENFORCE", "LoadPin pins from the start"},
	{"CONFIG_IMA_APPRAISE", "IMA can appraise module files"},
	{"CONFIG_IMA_APPRAISE_REQUIRE_MODULE_SIGS", "IMA appraises module files from the start"},
	{"CONFIG_IMA_ARCH_POLICY", "Secure Boot makes the kernel take only signed modules"},
	{"CONFIG_CMDLINE", "words that the kernel puts on its own command line"},
}

func (r *policyReader) options() {
	for _, o := range configOptions {
		if r.config == nil {
			r.unknown(o.name, SourceKernelConfig, "", "", r.unread(SourceKernelConfig))
			continue
		}
		value, line := r.config.Get(o.name)
		f := fact.PolicyFact{Name: o.name, Value: value, Effect: o.effect, Source: SourceKernelConfig,
			File: slash(r.config.File), Line: line}
		if value == "n" {
			f.Effect = "off: " + o.effect
		}
		r.add(f)
	}
}

func (r *policyReader) taint() {
	text, err := r.attr(taintedFile)
	var mask uint64
	if err == nil {
		mask, err = parseTaint([]byte(text))
	}
	if err != nil {
		r.unknown(FactTaint, SourceTainted, taintedFile, "", err)
		return
	}
	var words []string
	for _, f := range flagsOfMask(mask) {
		word := "bit " + strconv.Itoa(f.Bit)
		if f.Letter != "" {
			word = f.Letter + " " + f.Meaning
		}
		words = append(words, word)
	}
	effect := "not tainted"
	if len(words) > 0 {
		effect = strings.Join(words, ", ")
	}
	r.add(fact.PolicyFact{Name: FactTaint, Value: text, Effect: effect, Source: SourceTainted,
		File: slash(taintedFile)})
}

// conclude says in one word whether new code can enter. A fact that could make the answer stricter
// must be known for "any".
func (r *policyReader) conclude() {
	switch {
	case r.noModules == fact.Yes, r.disabled == fact.Yes:
		r.policy.Loading = fact.LoadingNone
	case !r.Live:
		r.concludeImage()
	case r.enforced == fact.Yes, r.locked == fact.Yes, r.appraised == fact.Yes:
		r.policy.Loading = fact.LoadingSigned
	case r.disabled == fact.No && r.enforced == fact.No && r.locked == fact.No:
		r.policy.Loading = fact.LoadingAny
	}
}

// concludeImage says what is certain of a kernel that does not run.
func (r *policyReader) concludeImage() {
	words := r.Entry.Words
	if r.guess {
		words = nil
	}
	l := &commandLine{words: words, file: slash(r.Entry.File), line: r.Entry.Line, open: r.Entry.Unresolved}
	refuses := unsignedNext(r, l).Blocked()
	switch {
	case l.isSet("nomodule") && len(l.open) == 0, l.disablesModules(r):
		r.policy.Loading = fact.LoadingNone
	case refuses == fact.Yes:
		r.policy.Loading = fact.LoadingSigned
	case refuses == fact.No && !r.noCmdline.Unknown && !r.guess && len(l.open) == 0 && !gateNext(r, l).Applies():
		r.policy.Loading = fact.LoadingAny
	}
}

// Policy returns what is enforced on loading: by the running kernel, or by the next boot of one that does not run.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	m := policyMachine{FS: k.machine, Release: k.release(ctx, r), Live: k.live()}
	if running, err := k.runningRelease(ctx); m.Live && err == nil && m.Release != running {
		m.Live, m.Firmware = false, true // another kernel of this machine
	}
	if !m.Live {
		lost := r.Part() // of the boot loaders' files: without an entry, the facts of the command line say it
		setup := boot.Read(k.machine, lost)
		if m.Entry = nextEntry(setup, lost, m.Release, &m.Unread); m.Unread.Count(SourceCmdline) == 0 {
			r.Append(lost)
		}
	}
	p := readPolicy(m).policy
	r.Policy(p)
	return p, ctx.Err()
}

// nextEntry returns the boot entry of the release whose command line counts, when the boot loaders'
// files leave no choice: all entries for it agree on the words that bear on modules. lost are files that
// could not be read. Why there is no such entry is a problem of SourceCmdline.
func nextEntry(setup *boot.Setup, lost *fact.Report, release string, r *fact.Report) boot.Entry {
	entries := setup.For(release)
	switch {
	case len(entries) > 0:
	case len(lost.Problems) > 0:
		r.Problem(SourceCmdline, "", "", lost.Problems[0])
		return boot.Entry{}
	default:
		r.Problem(SourceCmdline, "", "", boot.ErrNoEntry)
		return boot.Entry{}
	}
	first := entries[0]
	for _, e := range entries[1:] {
		if !boot.SameForModules(first.Words, e.Words) || !slices.Equal(first.Unresolved, e.Unresolved) {
			r.Problem(SourceCmdline, "", "", errBootEntriesDiffer)
			return boot.Entry{File: first.File, Line: first.Line}
		}
	}
	return first
}

// errBootEntriesDiffer is for several ways to start a kernel that treat modules differently.
var errBootEntriesDiffer = errors.New("boot loader entries differ in what they say of modules")
