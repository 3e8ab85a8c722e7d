// SPDX-License-Identifier: Apache-2.0

package lkm

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
	"github.com/kernelext/kernelext/windows"
)

// maxPolicyFile is the largest policy file that is read, in bytes; Microsoft's has 300 KiB.
const maxPolicyFile = 64 << 20

// policy reads code integrity's state from the kernel, and its settings and policy files, which
// say what the next boot begins with.
func (b *windowsBackend) policy(ctx context.Context, r *report) (*Policy, error) {
	p := &Policy{Facts: []PolicyFact{}}
	b.kernelPolicy(ctx, p)
	b.registryPolicy(ctx, p)
	b.policyFiles(ctx, p)
	r.policy(p)
	return p, nil
}

// unknownFact is a fact that could not be had.
func unknownFact(name, source string, err error) PolicyFact {
	return PolicyFact{Name: name, Source: source, Code: fact.CodeOf(err)}
}

// running asks the running kernel; an image has none.
func (b *windowsBackend) running(ctx context.Context, op string) ([]byte, error) {
	if b.image {
		return nil, fmt.Errorf("an image has no running kernel: %w", errors.ErrUnsupported)
	}
	return b.guard.Call(ctx, op)
}

// kernelPolicy asks the kernel: one fact an answer, four of code integrity's.
func (b *windowsBackend) kernelPolicy(ctx context.Context, p *Policy) {
	b.codeIntegrity(ctx, p)
	b.kernelFact(ctx, p, windows.OpSecureBoot, windows.PolicySecureBoot, secureBootFact)
	b.kernelFact(ctx, p, windows.OpKernelDebugger, windows.PolicyDebugger, debuggerFact)
	b.kernelFact(ctx, p, windows.OpIsolatedUserMode, windows.PolicyVBS, secureKernelFact)
}

func (b *windowsBackend) codeIntegrity(ctx context.Context, p *Policy) {
	raw, err := b.running(ctx, windows.OpCodeIntegrity)
	var ci windows.CodeIntegrity
	if err == nil {
		ci, err = windows.ParseCodeIntegrity(raw)
	}
	if err != nil {
		for _, name := range []string{windows.PolicyCodeIntegrity, windows.PolicyTestSign, windows.PolicyHVCI, windows.PolicyWHQL} {
			p.Facts = append(p.Facts, unknownFact(name, windows.SourcePolicy, err))
		}
		return
	}
	p.Loading = ci.Loading()
	add := func(name, value string, effects map[string]string) {
		p.Facts = append(p.Facts, PolicyFact{Name: name, Value: value, Effect: effects[value], Source: windows.SourcePolicy})
	}
	add(windows.PolicyCodeIntegrity, strings.Join(ci.Words(), " "), nil)
	p.Facts[len(p.Facts)-1].Effect = loadingEffect(p.Loading)
	add(windows.PolicyTestSign, ci.TestSign(), map[string]string{"yes": "test-signed drivers load"})
	add(windows.PolicyHVCI, ci.HVCI(), map[string]string{"yes": "the hypervisor lets only checked code run in the kernel"})
	add(windows.PolicyWHQL, ci.WHQL(), map[string]string{"yes": "cross-signed drivers load only when Windows or a policy lists them", "audit": "cross-signed drivers load and are reported"})
}

// loadingEffect returns what the way of loading means; "" for a way that is not known.
func loadingEffect(l Loading) string {
	switch l {
	case LoadingAny:
		return "an administrator can load drivers that nobody trusted signed"
	case LoadingSigned:
		return "drivers need a signature that the kernel accepts"
	case "":
		return "in debug mode, in which drivers that nobody signed may load"
	}
	return ""
}

// kernelFact adds what one of the kernel's answers says.
func (b *windowsBackend) kernelFact(ctx context.Context, p *Policy, op, name string, parse func([]byte) (value, effect string, err error)) {
	raw, err := b.running(ctx, op)
	f := PolicyFact{Name: name, Source: windows.SourcePolicy}
	if err == nil {
		f.Value, f.Effect, err = parse(raw)
	}
	if err != nil {
		f = unknownFact(name, windows.SourcePolicy, err)
		if f.Code == CodeUnsupported && !b.image {
			f.Code, f.Effect = CodeAbsent, "this Windows, or its firmware, has no such thing"
		}
	}
	p.Facts = append(p.Facts, f)
}

func secureBootFact(raw []byte) (value, effect string, err error) {
	enabled, capable, err := windows.ParseSecureBoot(raw)
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
	enabled, present, err := windows.ParseKernelDebugger(raw)
	switch {
	case err != nil:
		return "", "", err
	case enabled && present:
		return "attached", "drivers that nobody signed may load", nil
	case enabled:
		return "enabled", "a debugger can be attached", nil
	}
	return "no", "", nil
}

func secureKernelFact(raw []byte) (value, effect string, err error) {
	m, err := windows.ParseIsolatedUserMode(raw)
	switch {
	case err != nil:
		return "", "", err
	case m.SecureKernel:
		return "yes", "", nil
	}
	return "no", "nothing keeps the kernel from changing its own checks", nil
}

// A setting is one number of the registry that bears on loading.
type windowsSetting struct {
	name, key, value string
	on, off          string // what follows
}

var windowsSettings = [...]windowsSetting{
	{windows.PolicyBlockList, windows.CIConfigKey, "VulnerableDriverBlocklistEnable", "Microsoft's block list is wanted (from the next boot)", "Microsoft's block list is switched off"},
	{windows.PolicyHVCIConfig, windows.HVCIKey, "Enabled", "wanted from the next boot", "switched off"},
	{windows.PolicySecureConfig, windows.SecureBootKey, "UEFISecureBootEnabled", "the firmware checked this boot", ""},
}

func (b *windowsBackend) registryPolicy(ctx context.Context, p *Policy) {
	for _, s := range windowsSettings {
		f := PolicyFact{Name: s.name, Source: windows.SourceCIRegistry, File: `HKLM\` + s.key + `\` + s.value}
		key, err := b.registry(ctx, s.key)
		n, found := uint32(0), false
		if err == nil {
			n, found = key.Dword(s.value)
		}
		switch {
		case err == nil && found && n != 0:
			f.Value, f.Effect = "1", s.on
		case err == nil && found:
			f.Value, f.Effect = "0", s.off
		case err == nil || absent(err):
			f.Code, f.Effect = CodeAbsent, "not set: this Windows' default holds"
		default:
			f.Code = fact.CodeOf(err)
		}
		p.Facts = append(p.Facts, f)
	}
}

// policyFiles tells of each policy file by its digest: what is in it is not decoded.
func (b *windowsBackend) policyFiles(ctx context.Context, p *Policy) {
	paths, err := b.pathsOf(ctx)
	if err == nil && paths.SystemRoot == "" {
		err = ErrUnrecorded
	}
	if err != nil {
		p.Facts = append(p.Facts, unknownFact(windows.PolicyFile, windows.SourceCIFiles, err))
		return
	}
	folder := paths.SystemRoot + `\` + windows.PolicyFolder
	for _, f := range windows.PolicyFiles {
		p.Facts = append(p.Facts, b.policyFile(paths, folder+`\`+f.Name, f.Meaning))
	}
	active := folder + `\CIPolicies\Active`
	entries, err := b.readFolder(paths, active)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f := unknownFact(windows.PolicyFile, windows.SourceCIFiles, err)
		f.File = active
		p.Facts = append(p.Facts, f)
	}
	for i, e := range entries {
		if i == 256 {
			break
		}
		if !e.IsDir() && strings.HasSuffix(strings.ToLower(e.Name()), ".cip") {
			p.Facts = append(p.Facts, b.policyFile(paths, active+`\`+e.Name(), "an active policy"))
		}
	}
}

func (b *windowsBackend) policyFile(paths windows.Paths, dos, meaning string) PolicyFact {
	f := PolicyFact{Name: windows.PolicyFile, Source: windows.SourceCIFiles, File: dos}
	name, err := paths.File(dos)
	var raw []byte
	if err == nil {
		raw, err = limit.ReadFile(b.guard, name, maxPolicyFile)
	}
	if err != nil {
		f.Code = fact.CodeOf(err)
		return f
	}
	sum := sha256.Sum256(raw)
	f.Value, f.Effect = "sha256 "+hex.EncodeToString(sum[:]), fmt.Sprintf("%s, %d bytes", meaning, len(raw))
	return f
}
