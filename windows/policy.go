// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/unsettled"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// Registry keys of settings, below HKEY_LOCAL_MACHINE.
const (
	// CIConfigKey holds the switch of Microsoft's block list.
	CIConfigKey = `SYSTEM\CurrentControlSet\Control\CI\Config`
	// HVCIKey holds the switch of code integrity by the hypervisor.
	HVCIKey     = `SYSTEM\CurrentControlSet\Control\DeviceGuard\Scenarios\HypervisorEnforcedCodeIntegrity`
	servicesKey = `HKLM\SYSTEM\CurrentControlSet\Services`
	// SecureBootKey holds what the firmware said of Secure Boot at this boot.
	SecureBootKey    = `SYSTEM\CurrentControlSet\Control\SecureBoot\State`
	SourceCIRegistry = "code_integrity_registry" // settings, which may need a boot to take effect
	SourceCIFiles    = "code_integrity_files"    // policy files
)

// PolicyFolder is where code integrity keeps its policies, below the Windows folder.
const PolicyFolder = `System32\CodeIntegrity`

// policyFileNames are the policies that may lie in PolicyFolder by name; those of the newer format are
// in PolicyFolder\CIPolicies\Active.
var policyFileNames = [...]struct{ name, meaning string }{
	{"driversipolicy.p7b", "the block list that comes with Windows"},
	{"SiPolicy.p7b", "a policy that an administrator installed"},
}

// Names of policy facts.
const (
	PolicyCodeIntegrity = "code_integrity"    // the options of class 103
	PolicyTestSign      = "test_signing"      // yes or no
	PolicyHVCI          = "hvci"              // yes, audit or no
	PolicyWHQL          = "whql_enforcement"  // yes, audit or no
	PolicySecureBoot    = "secure_boot"       // yes, no or unsupported
	PolicyDebugger      = "kernel_debugger"   // attached, enabled or no
	PolicyVBS           = "secure_kernel"     // yes or no: virtualization-based security runs
	PolicyBlockList     = "driver_block_list" // the switch in the registry: intent, not state
	PolicyHVCIConfig    = "hvci_configured"   // the switch in the registry
	PolicySecureConfig  = "secure_boot_state" // the registry's word
	PolicyFile          = "policy_file"       // one for each policy file
)

// maxPolicyFile is the largest policy file that is read, in bytes; Microsoft's has 300 KiB.
const maxPolicyFile = 64 << 20

// Policy reads code integrity's state from the kernel, and its settings and policy files, which say what the next boot
// begins with.
func (k *Kernel) Policy(ctx context.Context, r *fact.Report) (*fact.Policy, error) {
	p := k.readPolicy(ctx, r.Budget)
	r.Policy(p)
	return p, nil
}

// readPolicy returns the policy. A fact that could not be read has the code of its error.
func (k *Kernel) readPolicy(ctx context.Context, b *fact.Budget) *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	k.codeIntegrity(ctx, p)
	k.kernelFact(ctx, p, OpSecureBoot, PolicySecureBoot, secureBootFact)
	k.kernelFact(ctx, p, OpKernelDebugger, PolicyDebugger, debuggerFact)
	k.kernelFact(ctx, p, OpIsolatedUserMode, PolicyVBS, secureKernelFact)
	if p.Loading == fact.LoadingSigned && debuggerMayBe(p) && valueOf(p, PolicyHVCI) != "yes" {
		p.Loading = "" // as in debug mode, which the options may not show
	}
	k.registryPolicy(ctx, p)
	k.policyFiles(ctx, p, b)
	return p
}

// valueOf returns the value of a fact; empty if it is unknown.
func valueOf(p *fact.Policy, name string) string {
	for _, f := range p.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// debuggerAttached is the value of PolicyDebugger for a kernel debugger that is there: with one the kernel may load
// what nobody signed ("Installing an unsigned driver during development and test", learn.microsoft.com).
const debuggerAttached = "attached"

// debuggerMayBe reports whether a kernel debugger is attached, or that could not be read. A Windows without such a
// thing has none.
func debuggerMayBe(p *fact.Policy) bool {
	for _, f := range p.Facts {
		if f.Name == PolicyDebugger {
			return f.Value == debuggerAttached || f.Value == "" && f.Code != "" && f.Code != fact.CodeAbsent
		}
	}
	return false
}

// unknownFact returns a fact that could not be read.
func unknownFact(name, source string, err error) fact.PolicyFact {
	return fact.PolicyFact{Name: name, Source: source, Code: fact.CodeOf(err)}
}

// running asks the running kernel; an image has none.
func (k *Kernel) running(ctx context.Context, op string) ([]byte, error) {
	if k.options.Image {
		return nil, fmt.Errorf("an image has no running kernel: %w", errors.ErrUnsupported)
	}
	return k.machine.Call(ctx, op)
}

// codeIntegrity adds the four facts of the answer to OpCodeIntegrity, and the conclusion.
func (k *Kernel) codeIntegrity(ctx context.Context, p *fact.Policy) {
	raw, err := k.running(ctx, OpCodeIntegrity)
	var ci codeIntegrity
	if err == nil {
		ci, err = parseCodeIntegrity(raw)
	}
	if err != nil {
		for _, name := range []string{PolicyCodeIntegrity, PolicyTestSign, PolicyHVCI, PolicyWHQL} {
			p.Facts = append(p.Facts, unknownFact(name, SourcePolicy, err))
		}
		return
	}
	p.Loading = ci.Loading()
	add := func(name, value, effect string) {
		p.Facts = append(p.Facts, fact.PolicyFact{Name: name, Value: value, Effect: effect, Source: SourcePolicy})
	}
	add(PolicyCodeIntegrity, strings.Join(ci.Words(), " "), loadingEffect(p.Loading))
	add(PolicyTestSign, ci.TestSign(), when(ci.TestSign(), "yes", "test-signed drivers load"))
	add(PolicyHVCI, ci.HVCI(), when(ci.HVCI(), "yes", "the hypervisor lets only checked code run in the kernel"))
	add(PolicyWHQL, ci.WHQL(), whqlEffect(ci.WHQL()))
}

func when(value, is, effect string) string {
	if value == is {
		return effect
	}
	return ""
}

func whqlEffect(value string) string {
	switch value {
	case "yes":
		return "cross-signed drivers load only when Windows or a policy lists them"
	case "audit":
		return "cross-signed drivers load and are reported"
	}
	return ""
}

func loadingEffect(l fact.Loading) string {
	switch l {
	case fact.LoadingAny:
		return "an administrator can load drivers that nobody trusted signed"
	case fact.LoadingSigned:
		return "drivers need a signature that the kernel accepts"
	}
	return "in debug mode, in which drivers that nobody signed may load"
}

// kernelFact adds what one of the kernel's answers says.
func (k *Kernel) kernelFact(
	ctx context.Context, p *fact.Policy, op, name string, parse func([]byte) (value, effect string, err error),
) {
	raw, err := k.running(ctx, op)
	f := fact.PolicyFact{Name: name, Source: SourcePolicy}
	if err == nil {
		f.Value, f.Effect, err = parse(raw)
	}
	if err != nil {
		f = unknownFact(name, SourcePolicy, err)
		if f.Code == fact.CodeUnsupported && !k.options.Image {
			f.Code, f.Effect = fact.CodeAbsent, "this Windows, or its firmware, has no such thing"
		}
	}
	p.Facts = append(p.Facts, f)
}

func secureBootFact(raw []byte) (value, effect string, err error) {
	enabled, capable, err := parseSecureBoot(raw)
	switch {
	case err != nil:
		return "", "", err
	case enabled:
		return "yes", "", nil
	case !capable:
		return "unsupported", "", nil
	}
	return "no", "test signing can be switched on", nil
}

func debuggerFact(raw []byte) (value, effect string, err error) {
	enabled, present, err := parseKernelDebugger(raw)
	switch {
	case err != nil:
		return "", "", err
	case enabled && present:
		return debuggerAttached, "drivers that nobody signed may load", nil
	case enabled:
		return "enabled", "a debugger can be attached", nil
	}
	return "no", "", nil
}

func secureKernelFact(raw []byte) (value, effect string, err error) {
	m, err := parseIsolatedUserMode(raw)
	switch {
	case err != nil:
		return "", "", err
	case m.SecureKernel:
		return "yes", "", nil
	}
	return "no", "nothing keeps the kernel from changing its own checks", nil
}

// A setting is one number of the registry that bears on loading.
type setting struct {
	name, key, value string
	on, off          string // what follows
}

var settings = [...]setting{
	{PolicyBlockList, CIConfigKey, "VulnerableDriverBlocklistEnable",
		"Microsoft's block list is wanted (from the next boot)",
		"Microsoft's block list is switched off (from the next boot), unless the hypervisor checks code"},
	{PolicyHVCIConfig, HVCIKey, "Enabled", "wanted from the next boot", "switched off"},
	{PolicySecureConfig, SecureBootKey, "UEFISecureBootEnabled", "the firmware checked this boot", ""},
}

func (k *Kernel) registryPolicy(ctx context.Context, p *fact.Policy) {
	for _, s := range settings {
		f := fact.PolicyFact{Name: s.name, Source: SourceCIRegistry, File: `HKLM\` + s.key + `\` + s.value}
		key, err := k.registry(ctx, s.key)
		n, found, odd := uint32(0), false, false
		if err == nil {
			n, found = key.Dword(s.value)
			_, odd = key.Value(s.value)
		}
		switch {
		case err == nil && odd && !found:
			f.Code, f.Effect = fact.CodeMalformed, "not a number: what Windows makes of it is not known"
		case err == nil && found && n != 0:
			f.Value, f.Effect = "1", s.on
		case err == nil && found:
			f.Value, f.Effect = "0", s.off
		case (err == nil || errors.Is(err, errNotThere)) && s.name == PolicySecureConfig:
			f.Code, f.Effect = fact.CodeAbsent, "the registry does not say whether the firmware checked"
			f.Unknown = k.options.Image
		case err == nil || errors.Is(err, errNotThere):
			f.Code, f.Effect = fact.CodeAbsent, "not set: this Windows' default holds"
		case errors.Is(err, fs.ErrNotExist): // the hive, which may have the key
			f.Code, f.Effect, f.Unknown = fact.CodeOf(err), "the SYSTEM hive is not there", true
		default:
			f.Code = fact.CodeOf(err)
		}
		p.Facts = append(p.Facts, f)
	}
}

// policyFiles adds a fact for each policy file with its digest, and says what is in it.
func (k *Kernel) policyFiles(ctx context.Context, p *fact.Policy, b *fact.Budget) {
	paths, err := k.paths(ctx)
	if err == nil && paths.SystemRoot == "" {
		err = fact.ErrUnrecorded
	}
	if err != nil {
		p.Facts = append(p.Facts, unknownFact(PolicyFile, SourceCIFiles, err))
		return
	}
	files, err := k.policyPaths(paths)
	for _, f := range files {
		p.Facts = append(p.Facts, k.policyFile(paths, f, b))
	}
	if err != nil {
		f := unknownFact(PolicyFile, SourceCIFiles, err)
		f.File = paths.SystemRoot + `\` + PolicyFolder + `\CIPolicies\Active`
		p.Facts = append(p.Facts, f)
	}
	if k.options.Image && !k.hasSystem(paths) {
		unsettled.Facts(p, noSystem, SourceCIFiles)
	}
}

// noSystem is why nothing is known of the policies of an image that has nothing of Windows.
var noSystem = fact.Problem{Source: SourceCIFiles, Code: fact.CodeAbsent,
	Text: "this root has neither the folder nor a kernel: no system is in it, or a disk of it is not mounted"}

// hasSystem reports whether an image has the folder of policies, or a kernel: a Windows before Vista has no such
// folder. One that cannot be looked into may have.
func (k *Kernel) hasSystem(paths ntPaths) bool {
	for _, file := range []string{PolicyFolder, `System32\ntoskrnl.exe`} {
		name, err := paths.file(paths.SystemRoot + `\` + file)
		if err == nil {
			_, err = fs.Stat(k.machine, name)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// effect says what is in a policy file. The error says why that could not be read.
func (f policyPath) effect(raw []byte, item *fact.Item) (string, error) {
	p, err := sipolicy.Parse(raw, item)
	if err != nil {
		return ", not read: " + err.Error(), err
	}
	var r fact.Report // of this file alone: its problems are counted in the text
	l := compiledList(p, &r)
	text := fmt.Sprintf(", %q %s, denies by %d rule(s)", l.Name, l.Version, l.Rules)
	if n := r.Count(sourceBlockList); n > 0 {
		text += fmt.Sprintf(", %d parts that are not compared", n)
	}
	if p.Audit() {
		text += ", only reports"
	}
	if l.policy.extends {
		text += fmt.Sprintf(", supplements {%s} and so can only allow", p.BaseID)
	}
	if l.policy.failing {
		text += ", only reports once a driver that the boot needs is refused"
	}
	if p.Unread > 0 {
		text += fmt.Sprintf(", format %d with %d bytes that are not read", p.Format, p.Unread)
	}
	return text + f.doubt(p, raw, item), nil
}

func (k *Kernel) policyFile(paths ntPaths, at policyPath, b *fact.Budget) fact.PolicyFact {
	f := fact.PolicyFact{Name: PolicyFile, Source: SourceCIFiles, File: at.path}
	name, err := paths.file(at.path)
	var raw []byte
	var item *fact.Item
	if err == nil {
		raw, item, err = limit.ReadItem(k.machine, name, maxPolicyFile, b)
		defer item.Done()
	}
	if err != nil {
		f.Code = fact.CodeOf(err)
		return f
	}
	sum := sha256.Sum256(raw)
	effect, err := at.effect(raw, item)
	f.Value, f.Code = "sha256 "+hex.EncodeToString(sum[:]), fact.CodeOf(err)
	f.Effect = fmt.Sprintf("%s, %d bytes", at.meaning, len(raw)) + effect
	return f
}
