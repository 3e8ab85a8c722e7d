// SPDX-License-Identifier: Apache-2.0

package lkm

import "github.com/kernelext/kernelext/fact"

// The shared words of package fact, so that users import lkm alone.
type (
	Count           = fact.Count
	Tri             = fact.Tri
	Address         = fact.Address
	Code            = fact.Code
	Problem         = fact.Problem
	ParseError      = fact.ParseError
	Signature       = fact.Signature
	SignatureStatus = fact.SignatureStatus
	SignatureClass  = fact.SignatureClass
	KeySet          = fact.KeySet
	Trust           = fact.Trust
	BootEntry       = fact.BootEntry
	Origin          = fact.Origin
	OriginClass     = fact.OriginClass
	Evidence        = fact.Evidence
	Policy          = fact.Policy
	PolicyFact      = fact.PolicyFact
	Loading         = fact.Loading
	Verdict         = fact.Verdict
	VerdictOutcome  = fact.VerdictOutcome
	Prospect        = fact.Prospect
	Way             = fact.Way
	Reason          = fact.Reason
	Remedy          = fact.Remedy
	Discrepancy     = fact.Discrepancy
	Grade           = fact.Grade
	View            = fact.View
)

// Whether something is so, where it may be unknown.
const (
	Yes = fact.Yes
	No  = fact.No
)

// The codes of a Problem.
const (
	CodePermission  = fact.CodePermission
	CodeAbsent      = fact.CodeAbsent
	CodeGone        = fact.CodeGone
	CodeUnsupported = fact.CodeUnsupported
	CodeRestricted  = fact.CodeRestricted
	CodeMalformed   = fact.CodeMalformed
	CodeTooLarge    = fact.CodeTooLarge
	CodeTimeout     = fact.CodeTimeout
	CodeUnrecorded  = fact.CodeUnrecorded
	CodeOlder       = fact.CodeOlder
	CodeRedacted    = fact.CodeRedacted
	CodeBudget      = fact.CodeBudget
	CodeOther       = fact.CodeOther
)

// The errors behind the codes, beside those of the standard library.
var (
	ErrGone       = fact.ErrGone
	ErrRestricted = fact.ErrRestricted
	ErrMalformed  = fact.ErrMalformed
	ErrTooLarge   = fact.ErrTooLarge
	ErrUnrecorded = fact.ErrUnrecorded
	ErrOlder      = fact.ErrOlder
	ErrRedacted   = fact.ErrRedacted
	ErrBudget     = fact.ErrBudget
)

// ErrBlacklisted is what LoadPlan answers for an alias of blacklisted modules only.
var ErrBlacklisted = fact.ErrBlacklisted

// The words of a Signature's status and class, and its one evidence.
const (
	SignatureNone      = fact.SignatureNone
	SignatureUnchecked = fact.SignatureUnchecked
	SignatureUntrusted = fact.SignatureUntrusted
	SignatureValid     = fact.SignatureValid
	SignatureInvalid   = fact.SignatureInvalid
	ClassInbox         = fact.ClassInbox
	ClassWHCP          = fact.ClassWHCP
	ClassELAM          = fact.ClassELAM
	ClassCrossSigned   = fact.ClassCrossSigned
	ClassEnterprise    = fact.ClassEnterprise
	ClassSelfSigned    = fact.ClassSelfSigned
	EvidenceTaintE     = fact.EvidenceTaintE
)

// The classes of an Origin.
const (
	OriginOS         = fact.OriginOS
	OriginThirdParty = fact.OriginThirdParty
)

// Where certificates come from; see [fact.Trust].
const (
	TrustCaller       = fact.TrustCaller
	TrustKernel       = fact.TrustKernel
	TrustMachine      = fact.TrustMachine
	TrustDistribution = fact.TrustDistribution
	TrustMicrosoft    = fact.TrustMicrosoft
	TrustApple        = fact.TrustApple
	TrustAll          = fact.TrustAll
)

// The words of a Policy, a Verdict and a Discrepancy.
const (
	LoadingAny      = fact.LoadingAny
	LoadingSigned   = fact.LoadingSigned
	LoadingNone     = fact.LoadingNone
	VerdictLoaded   = fact.VerdictLoaded
	VerdictBuiltin  = fact.VerdictBuiltin
	VerdictLoadable = fact.VerdictLoadable
	VerdictBlocked  = fact.VerdictBlocked
	VerdictAbsent   = fact.VerdictAbsent
	VerdictUnknown  = fact.VerdictUnknown
	GradeTransient  = fact.GradeTransient
	GradeWeak       = fact.GradeWeak
	GradeStrong     = fact.GradeStrong
	ViewSeen        = fact.ViewSeen
	ViewMissing     = fact.ViewMissing
	ViewUnchecked   = fact.ViewUnchecked
)

// The words and records that every kernel's package shares; each is described in package fact.
type (
	OS         = fact.OS         // an operating system; see [fact.OS]
	Kind       = fact.Kind       // what a Module is; see [fact.Kind]
	State      = fact.State      // where a Module is in its life; see [fact.State]
	Detail     = fact.Detail     // facts to read beyond the kernel's own list; see [fact.Detail]
	Scope      = fact.Scope      // which modules a Snapshot holds; see [fact.Scope]
	Source     = fact.Source     // one place that facts come from, and how reading it went; see [fact.Source]
	Outcome    = fact.Outcome    // how reading a Source went; see [fact.Outcome]
	SourcePlan = fact.SourcePlan // what would be read of a source; see [fact.SourcePlan]
	Kernel     = fact.Kernel     // what a kernel says of itself; see [fact.Kernel]
	OnDisk     = fact.OnDisk     // a loaded module compared with its file; see [fact.OnDisk]
	Hashes     = fact.Hashes     // digests of a file; see [fact.Hashes]
	Package    = fact.Package    // the package that a file belongs to; see [fact.Package]
	Match      = fact.Match      // the result of that comparison; see [fact.Match]
	Other      = fact.Other      // a system without an object of its own; see [fact.Other]
	Field      = fact.Field      // one named value; see [fact.Field]
	Step       = fact.Step       // one step of a load plan; see [fact.Step]
	Machine    = fact.Machine    // what answers for an operating system; see [fact.Machine]
	Redactor   = fact.Redactor   // a Machine whose answers may have been altered; see [fact.Redactor]
)

// The operating systems.
const (
	Linux     = fact.Linux
	FreeBSD   = fact.FreeBSD
	DragonFly = fact.DragonFly
	NetBSD    = fact.NetBSD
	OpenBSD   = fact.OpenBSD
	Illumos   = fact.Illumos
	Solaris   = fact.Solaris
	AIX       = fact.AIX
	Darwin    = fact.Darwin
	Windows   = fact.Windows
	VxWorks   = fact.VxWorks
	NetWare   = fact.NetWare
)

// The kinds of modules.
const (
	KindLinuxModule   = fact.KindLinuxModule
	KindFreeBSDKld    = fact.KindFreeBSDKld
	KindDragonFlyKld  = fact.KindDragonFlyKld
	KindNetBSDModule  = fact.KindNetBSDModule
	KindIllumosModule = fact.KindIllumosModule
	KindSolarisModule = fact.KindSolarisModule
	KindAIXKext       = fact.KindAIXKext
	KindVxWorksModule = fact.KindVxWorksModule
	KindNetWareNLM    = fact.KindNetWareNLM
	KindMacOSKext     = fact.KindMacOSKext
	KindMacOSDext     = fact.KindMacOSDext
	KindMacOSSysext   = fact.KindMacOSSysext
	KindWindowsDriver = fact.KindWindowsDriver
)

// The states of a module.
const (
	StateLoaded    = fact.StateLoaded
	StateLoading   = fact.StateLoading
	StateUnloading = fact.StateUnloading
	StateBuiltin   = fact.StateBuiltin
	StateInstalled = fact.StateInstalled
	StateStaged    = fact.StateStaged
)

// The outcomes of reading a source.
const (
	OutcomeOK          = fact.OutcomeOK
	OutcomeDenied      = fact.OutcomeDenied
	OutcomeAbsent      = fact.OutcomeAbsent
	OutcomeUnsupported = fact.OutcomeUnsupported
	OutcomePartial     = fact.OutcomePartial
	OutcomeFailed      = fact.OutcomeFailed
	OutcomeSkipped     = fact.OutcomeSkipped
)

// The details.
const (
	DetailFiles      = fact.DetailFiles
	DetailHashes     = fact.DetailHashes
	DetailSignatures = fact.DetailSignatures
	DetailParameters = fact.DetailParameters
	DetailAddresses  = fact.DetailAddresses
	DetailSymbols    = fact.DetailSymbols
	DetailPolicy     = fact.DetailPolicy
)

// The scopes of a Snapshot.
const (
	ScopeLoaded    = fact.ScopeLoaded
	ScopeBuiltin   = fact.ScopeBuiltin
	ScopeInstalled = fact.ScopeInstalled
	ScopeAll       = fact.ScopeAll
)

// The results of comparing loaded code with a file.
const (
	MatchSame      = fact.MatchSame
	MatchDifferent = fact.MatchDifferent
	MatchAbsent    = fact.MatchAbsent
)

// KernelAll is the Options.Kernel that makes Check answer for every kernel release on disk.
const KernelAll = fact.KernelAll

// ParseDetail reads words separated by commas, such as "files,signatures"; see [fact.ParseDetail].
func ParseDetail(text string) (Detail, error) { return fact.ParseDetail(text) }

// CountOf returns the known count n.
func CountOf(n int64) Count { return fact.CountOf(n) }

// TriOf returns Yes for true and No for false.
func TriOf(b bool) Tri { return fact.TriOf(b) }
