// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// Rules are the settings that decide which kexts may load. Each has the reason why it is unknown.
type Rules struct {
	// Major is the kernel's major release, 20 for macOS 11; 0 is not known.
	Major int
	// CSR is what System Integrity Protection allows.
	CSR       uint32
	CSRErr    error
	CSRSource string
	// NVRAM are the firmware's variables; they are asked for only where CSR cannot be.
	NVRAM    NVRAM
	NVRAMErr error
	// Boot is the boot security of an Apple silicon Mac.
	Boot    BootPolicy
	BootErr error
	// KextPolicy are the decisions about kexts.
	KextPolicy    KextPolicy
	KextPolicyErr error
	// Managed is what a management server says.
	Managed    ManagedPolicy
	ManagedErr error
	// Extensions is the database of system extensions.
	Extensions    SystemExtensionDB
	ExtensionsErr error
}

// errImage is why calls are not made.
var errImage error = &sentinel.Error{Before: "an image has no running system", Cause: errors.ErrUnsupported}

// ReadRules reads the settings: call makes the machine's calls, nil for an image.
func ReadRules(ctx context.Context, fsys fs.FS, release string, call func(ctx context.Context, op string, args ...string) ([]byte, error)) *Rules {
	r := &Rules{CSRSource: SourceCSR, CSRErr: errImage, NVRAMErr: errImage, BootErr: errImage}
	major, _, _ := strings.Cut(release, ".")
	r.Major, _ = strconv.Atoi(major) // 0 when it is no number
	if r.Major == 0 {
		r.Major = installedMajor(fsys)
	}
	if call != nil {
		r.readCalls(ctx, call)
	}
	r.KextPolicy, r.KextPolicyErr = ReadKextPolicy(fsys)
	r.Managed, r.ManagedErr = ReadManagedPolicy(fsys)
	r.Extensions, r.ExtensionsErr = ReadSystemExtensions(fsys)
	return r
}

// versionFile says which macOS is installed.
const versionFile = "System/Library/CoreServices/SystemVersion.plist"

// installedMajor is the kernel's major release of the macOS that is installed; 0 when it is not
// known. The kernel counted 4 ahead of 10.x, then 9 ahead until macOS took the year's number.
func installedMajor(fsys fs.FS) int {
	data, err := limit.ReadFile(fsys, versionFile, limit.PlistBytes)
	if err != nil {
		return 0
	}
	n, err := decodePlist(versionFile, data)
	if err != nil {
		return 0
	}
	first, rest, _ := strings.Cut(n.dict["ProductVersion"].str, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(first)
	y, _ := strconv.Atoi(minor)
	switch {
	case err != nil:
		return 0
	case x == 10:
		return y + 4
	case x >= 11 && x <= 15:
		return x + 9
	case x >= 26 && x < 100:
		return x - 1
	}
	return 0
}

func (r *Rules) readCalls(ctx context.Context, call func(ctx context.Context, op string, args ...string) ([]byte, error)) {
	text, err := call(ctx, OpCSRConfig)
	if err == nil {
		r.CSR, err = ParseCSR(text)
	}
	r.CSRErr = err
	data, err := call(ctx, OpNVRAM)
	if err == nil {
		r.NVRAM, err = ParseNVRAM(data)
	}
	r.NVRAMErr = err
	if r.CSRErr != nil && r.NVRAMErr == nil && r.NVRAM.CSR != nil {
		r.CSR, r.CSRErr, r.CSRSource = *r.NVRAM.CSR, nil, SourceNVRAM
	}
	data, err = call(ctx, OpBridge)
	if err == nil {
		r.Boot, err = ParseBootPolicy(data)
	}
	r.BootErr = err
}

// NeedsApproval says whether a kext that is not Apple's must have been approved: since macOS 10.13,
// unless System Integrity Protection allows unapproved ones.
func (r *Rules) NeedsApproval() fact.Tri {
	switch {
	case r.Major > 0 && r.Major < 17:
		return fact.No
	case r.CSRErr == nil:
		return fact.TriOf(r.CSR&CSRAllowUnapprovedKexts == 0)
	}
	return ""
}

// NeedsSignature says whether a kext must have a valid signature: since OS X 10.10, unless System
// Integrity Protection (a boot argument in 10.10) allows others.
func (r *Rules) NeedsSignature() fact.Tri {
	switch {
	case r.Major > 0 && r.Major < 14:
		return fact.No
	case r.CSRErr == nil:
		return fact.TriOf(r.CSR&CSRAllowUntrustedKexts == 0)
	}
	return ""
}

// NeedsCollection says whether a kext that is not Apple's loads from the auxiliary collection only,
// after a reboot: since macOS 11.
func (r *Rules) NeedsCollection() fact.Tri {
	if r.Major == 0 {
		return ""
	}
	return fact.TriOf(r.Major >= 20)
}

// Approved says whether a kext was approved, by whom or why that is unknown.
func (r *Rules) Approved(teamID, bundleID string) (approved fact.Tri, by string) {
	if r.ManagedErr == nil && r.Managed.Allows(teamID, bundleID) {
		return fact.Yes, "/" + ProfileFile
	}
	if r.KextPolicyErr == nil {
		a, ok := r.KextPolicy.Approved(teamID, bundleID)
		if !ok {
			return fact.No, "/" + KextPolicyFile
		}
		return a.Allowed, "/" + KextPolicyFile
	}
	if errors.Is(r.KextPolicyErr, fs.ErrNotExist) {
		return fact.No, "/" + KextPolicyFile // nobody was asked yet
	}
	return "", "/" + KextPolicyFile
}

// Policy is the settings as facts, in a fixed order.
func (r *Rules) Policy() *fact.Policy {
	p := &fact.Policy{Facts: []fact.PolicyFact{}}
	switch r.NeedsSignature() {
	case fact.Yes:
		p.Loading = fact.LoadingSigned
	case fact.No:
		p.Loading = fact.LoadingAny
	}
	add := func(f fact.PolicyFact, err error) {
		if err != nil {
			f.Value, f.Effect, f.Code = "", "", fact.CodeOf(err)
		}
		p.Facts = append(p.Facts, f)
	}
	csr := fact.PolicyFact{Name: "csr_active_config", Value: CSRText(r.CSR), Source: r.CSRSource}
	switch {
	case r.CSR&CSRAllowUntrustedKexts != 0:
		csr.Effect = "kexts without a valid signature load"
	case r.CSR&CSRAllowUnapprovedKexts != 0:
		csr.Effect = "signed kexts load without approval"
	default:
		csr.Effect = "kexts must be signed and approved"
	}
	add(csr, r.CSRErr)
	r.bootFacts(add)
	r.approvalFacts(add)
	return p
}

func (r *Rules) bootFacts(add func(fact.PolicyFact, error)) {
	secure := fact.PolicyFact{Name: "secure_boot", Value: r.Boot.SecureBoot, Source: SourceBootPolicy}
	err := r.BootErr
	if secure.Value == "" && r.NVRAM.SecureBoot != "" {
		secure.Value, secure.Source, err = r.NVRAM.SecureBoot, SourceNVRAM, nil
	}
	if err == nil && secure.Value == "" {
		secure.Code = fact.CodeAbsent
	}
	add(secure, err)
	other := fact.PolicyFact{Name: "other_kexts", Value: string(r.Boot.OtherKexts), Source: SourceBootPolicy}
	switch r.Boot.OtherKexts {
	case fact.No:
		other.Effect = "the boot security of this Mac allows no kexts but Apple's"
	case "":
		other.Code = fact.CodeAbsent
	}
	add(other, r.BootErr)
	args := fact.PolicyFact{Name: "boot_args", Value: strings.Join(r.NVRAM.BootArgs, " "), Source: SourceNVRAM}
	add(args, r.NVRAMErr)
}

func (r *Rules) approvalFacts(add func(fact.PolicyFact, error)) {
	allowed, denied := 0, 0
	for _, a := range r.KextPolicy.Approvals {
		if a.Allowed == fact.Yes {
			allowed++
		} else {
			denied++
		}
	}
	add(fact.PolicyFact{Name: "kext_approvals", Value: fmt.Sprintf("%d allowed, %d not", allowed, denied), Source: SourceKextPolicy, File: "/" + KextPolicyFile}, r.KextPolicyErr)
	kexts := 0
	for _, list := range r.Managed.Kexts {
		kexts += len(list)
	}
	managed := fact.PolicyFact{Name: "managed_kexts", Value: fmt.Sprintf("%d teams, %d kexts", len(r.Managed.Teams), kexts), Source: SourceProfiles, File: "/" + ProfileFile}
	if r.Managed.UserOverrides == fact.No {
		managed.Effect = "users may approve no others"
	}
	add(managed, r.ManagedErr)
	dev := fact.PolicyFact{Name: "system_extensions_developer_mode", Value: string(r.Extensions.DeveloperMode), Source: SourceSysExt, File: "/" + SysExtFile}
	if r.ExtensionsErr == nil && dev.Value == "" {
		dev.Code = fact.CodeAbsent
	}
	add(dev, r.ExtensionsErr)
}
