// SPDX-License-Identifier: Apache-2.0

package lkm

import "github.com/kernelext/kernelext/fact"

// Values that may be unknown.
type (
	// Count is a whole number that may be unknown; its zero value is. See [fact.Count].
	Count = fact.Count
	// Tri is yes, no, or empty for unknown. See [fact.Tri].
	Tri = fact.Tri
	// Address is a location in kernel memory, 0 if it is unknown. See [fact.Address].
	Address = fact.Address
)

// What could not be read, and why.
type (
	// Code is one word for why something is unknown. See [fact.Code].
	Code = fact.Code
	// Problem is one value that could not be read, and why. See [fact.Problem].
	Problem = fact.Problem
	// ParseError is an error that says where bytes are invalid. See [fact.ParseError].
	ParseError = fact.ParseError
	// Source is a place that facts come from, and how reading it went. See [fact.Source].
	Source = fact.Source
	// Outcome is how reading a [Source] went, in one word. See [fact.Outcome].
	Outcome = fact.Outcome
	// SourcePlan is what would be read of a source, and what that needs. See [fact.SourcePlan].
	SourcePlan = fact.SourcePlan
)

// What a Module is, and how it is read.
type (
	// OS is an operating system, in GOOS's word. See [fact.OS].
	OS = fact.OS
	// Kind is what a [Module] is, such as "linux_module". See [fact.Kind] for the words.
	Kind = fact.Kind
	// State is where a [Module] is in its life. See [fact.State].
	State = fact.State
	// Detail is a set of facts to read beyond the kernel's own list. See [fact.Detail].
	Detail = fact.Detail
	// Scope is which modules a list holds. See [fact.Scope].
	Scope = fact.Scope
	// Kernel is what a kernel says of itself that bears on its modules. See [fact.Kernel].
	Kernel = fact.Kernel
	// OnDisk is a loaded module compared with its file. See [fact.OnDisk].
	OnDisk = fact.OnDisk
	// Match is the result of that comparison, in one word. See [fact.Match].
	Match = fact.Match
	// Hashes is the digests of a file. See [fact.Hashes].
	Hashes = fact.Hashes
	// Package is the package that a file belongs to. See [fact.Package].
	Package = fact.Package
	// Other is what a system without an object of its own in [Module] says. See [fact.Other].
	Other = fact.Other
	// Field is one named value of [Other]. See [fact.Field].
	Field = fact.Field
)

// Who made a Module.
type (
	// Signature is what is known of who signed a file. See [fact.Signature].
	Signature = fact.Signature
	// SignatureStatus is what is known of a signature, in one word. See [fact.SignatureStatus].
	SignatureStatus = fact.SignatureStatus
	// SignatureClass is the program that a driver of Windows was signed under. See [fact.SignatureClass] for the
	// words.
	SignatureClass = fact.SignatureClass
	// KeySet is a named set of certificates that signatures are verified against. See [fact.KeySet].
	KeySet = fact.KeySet
	// Trust is a set of places that certificates come from. See [fact.Trust].
	Trust = fact.Trust
	// Origin is whose code a module is, with the evidence. See [fact.Origin].
	Origin = fact.Origin
	// OriginClass is whose code a module is, in one word. See [fact.OriginClass].
	OriginClass = fact.OriginClass
	// Evidence is one fact that a conclusion rests on. See [fact.Evidence].
	Evidence = fact.Evidence
)

// What a System answers.
type (
	// Policy is what a system enforces on the loading of kernel code. See [fact.Policy].
	Policy = fact.Policy
	// PolicyFact is one setting of a [Policy]. See [fact.PolicyFact].
	PolicyFact = fact.PolicyFact
	// Loading is whether new code can enter the kernel, in one word. See [fact.Loading].
	Loading = fact.Loading
	// Verdict is the answer of [System.Check] for one module. See [fact.Verdict].
	Verdict = fact.Verdict
	// VerdictOutcome is that answer for one moment, in one word. See [fact.VerdictOutcome].
	VerdictOutcome = fact.VerdictOutcome
	// Prospect is that answer for one moment, with the ways in. See [fact.Prospect].
	Prospect = fact.Prospect
	// BootEntry is that answer for one entry of a boot loader. See [fact.BootEntry].
	BootEntry = fact.BootEntry
	// Way is one way into a kernel, and whether something stops it. See [fact.Way].
	Way = fact.Way
	// Reason is one fact of a [Verdict], and its file and line. See [fact.Reason].
	Reason = fact.Reason
	// Remedy is one thing that would block a module. See [fact.Remedy].
	Remedy = fact.Remedy
	// Discrepancy is a disagreement between sources, or of a source with the disk. See [fact.Discrepancy].
	Discrepancy = fact.Discrepancy
	// Grade is how much a [Discrepancy] weighs, in one word. See [fact.Grade].
	Grade = fact.Grade
	// View is what one source shows of a module, in one word. See [fact.View] for the words.
	View = fact.View
	// Step is one thing that loading a module would do. See [fact.Step].
	Step = fact.Step
	// Config is the configuration of a system's module loader. See [fact.Config].
	Config = fact.Config
	// Setting is one line of a [Config]. See [fact.Setting].
	Setting = fact.Setting
	// IdleLine is a line of a [Config] that does nothing, with the reason. See [fact.IdleLine].
	IdleLine = fact.IdleLine
	// Upgrade is what another kernel lacks of what is in use. See [fact.Upgrade].
	Upgrade = fact.Upgrade
	// UpgradeChange is one difference of an [Upgrade]. See [fact.UpgradeChange].
	UpgradeChange = fact.UpgradeChange
	// UpgradeGrade is how much it weighs, in one word. See [fact.UpgradeGrade] for the words.
	UpgradeGrade = fact.UpgradeGrade
)

// What a System asks.
type (
	// Machine is what answers for an operating system. See [fact.Machine].
	Machine = fact.Machine
	// Redactor is a [Machine] whose answers may have been altered, such as a tape. See [fact.Redactor].
	Redactor = fact.Redactor
)

// The known values of a [Tri].
const (
	Yes = fact.Yes // it is so
	No  = fact.No  // it is not so
)

// The codes of a [Problem]; [CodeOf] returns that of an error.
const (
	CodePermission  = fact.CodePermission  // the caller may not read it
	CodeAbsent      = fact.CodeAbsent      // it is not there
	CodeGone        = fact.CodeGone        // it went away while it was being read
	CodeUnsupported = fact.CodeUnsupported // this system, or this library, has no such thing
	CodeRestricted  = fact.CodeRestricted  // the kernel hides it from this caller, by a setting such as kptr_restrict
	CodeMalformed   = fact.CodeMalformed   // it was read and is invalid
	CodeTooLarge    = fact.CodeTooLarge    // a size limit was reached
	CodeTimeout     = fact.CodeTimeout     // a read did not return in time
	CodeUnrecorded  = fact.CodeUnrecorded  // the tape holds no answer to the question
	CodeOlder       = fact.CodeOlder       // the tape was recorded before the library asked this question
	CodeRedacted    = fact.CodeRedacted    // the tape's recorder removed it
	CodeBudget      = fact.CodeBudget      // the caller's limit on work or time ran out
	CodeOther       = fact.CodeOther       // none of these
)

// The status of a [Signature]. Only SignatureValid says that the bytes are those that the signer signed.
const (
	SignatureNone      = fact.SignatureNone      // there is no signature
	SignatureUnchecked = fact.SignatureUnchecked // there is one; it was not, or could not be, verified
	SignatureUntrusted = fact.SignatureUntrusted // it fits the bytes, and leads to none of the keys
	SignatureValid     = fact.SignatureValid     // it fits the bytes, and leads to a key of the named set
	SignatureInvalid   = fact.SignatureInvalid   // it does not fit the bytes, or a key of it is revoked
)

// The classes of an [Origin].
const (
	OriginOS         = fact.OriginOS         // part of the operating system or its kernel package
	OriginThirdParty = fact.OriginThirdParty // from anybody else
)

// The places of a [Trust].
const (
	TrustCaller       = fact.TrustCaller       // no place but Options.Keys
	TrustKernel       = fact.TrustKernel       // the certificates in the image of the kernel that boots
	TrustMachine      = fact.TrustMachine      // what the machine's owner and firmware trust
	TrustDistribution = fact.TrustDistribution // the keys that a package of the operating system installs
	TrustMicrosoft    = fact.TrustMicrosoft    // Microsoft's public roots, which this library brings
	TrustApple        = fact.TrustApple        // Apple's public roots, which this library brings
	TrustAll          = fact.TrustAll          // every place; so does 0
)

// What a [Policy] concludes.
const (
	LoadingAny    = fact.LoadingAny    // a privileged user may load unsigned code
	LoadingSigned = fact.LoadingSigned // only code that is signed by a key the kernel trusts
	LoadingNone   = fact.LoadingNone   // no code until the next boot
)

// The outcomes of a [Verdict], the worst first.
const (
	VerdictLoaded   = fact.VerdictLoaded   // the code is in the kernel as a module
	VerdictBuiltin  = fact.VerdictBuiltin  // it is compiled in and active
	VerdictLoadable = fact.VerdictLoadable // some way in is open, other than root's own insmod on Linux
	VerdictUnknown  = fact.VerdictUnknown  // a source that could change the answer was not read
	VerdictBlocked  = fact.VerdictBlocked  // it exists, and no such way is open
	VerdictAbsent   = fact.VerdictAbsent   // every source was read and none knows it
)

// The grades of a [Discrepancy].
const (
	GradeTransient = fact.GradeTransient // explained by a load or unload at that moment
	GradeWeak      = fact.GradeWeak      // has harmless explanations
	GradeStrong    = fact.GradeStrong    // repeated, in views that should agree
)

// What a [View] is of one source.
const (
	ViewSeen      = fact.ViewSeen      // the source shows the module
	ViewMissing   = fact.ViewMissing   // it was read whole and does not show it
	ViewUnchecked = fact.ViewUnchecked // it was not, or could not be, read
)

// The operating systems.
const (
	Linux     = fact.Linux     // Linux
	FreeBSD   = fact.FreeBSD   // FreeBSD
	DragonFly = fact.DragonFly // DragonFly BSD
	NetBSD    = fact.NetBSD    // NetBSD
	OpenBSD   = fact.OpenBSD   // OpenBSD, which has no loadable modules
	Illumos   = fact.Illumos   // illumos
	Solaris   = fact.Solaris   // Oracle Solaris
	AIX       = fact.AIX       // AIX
	Darwin    = fact.Darwin    // macOS
	Windows   = fact.Windows   // Windows
	VxWorks   = fact.VxWorks   // VxWorks; only its captures are read
	NetWare   = fact.NetWare   // NetWare; only its captures and files are read
)

// The states of a [Module].
const (
	StateLoaded    = fact.StateLoaded    // in the kernel
	StateLoading   = fact.StateLoading   // being put into the kernel
	StateUnloading = fact.StateUnloading // being taken out of it
	StateBuiltin   = fact.StateBuiltin   // compiled into the kernel
	StateInstalled = fact.StateInstalled // on disk only
	StateStaged    = fact.StateStaged    // in a store of drivers, and not installed from there
)

// The outcomes of reading a [Source].
const (
	OutcomeOK          = fact.OutcomeOK          // read whole
	OutcomeDenied      = fact.OutcomeDenied      // the caller may not read it
	OutcomeAbsent      = fact.OutcomeAbsent      // it does not exist here, though it could
	OutcomeUnsupported = fact.OutcomeUnsupported // this system, or this library, has no such source
	OutcomePartial     = fact.OutcomePartial     // some of it was read
	OutcomeFailed      = fact.OutcomeFailed      // none of it was read, for another reason
	OutcomeSkipped     = fact.OutcomeSkipped     // it was not asked for
)

// The details, which may be combined; see [fact.DetailFiles] and those after it for what each costs.
const (
	DetailFiles      = fact.DetailFiles      // metadata of files, origin, and whether loaded code is the file's
	DetailHashes     = fact.DetailHashes     // hashes of whole files
	DetailSignatures = fact.DetailSignatures // who signed the files
	DetailParameters = fact.DetailParameters // current values of parameters
	DetailAddresses  = fact.DetailAddresses  // load and section addresses
	DetailSymbols    = fact.DetailSymbols    // imported and exported symbols of files
	DetailPolicy     = fact.DetailPolicy     // what the system enforces on loading
)

// The scopes of [System.SnapshotOf].
const (
	ScopeLoaded    = fact.ScopeLoaded    // loaded, loading and unloading
	ScopeBuiltin   = fact.ScopeBuiltin   // compiled in
	ScopeInstalled = fact.ScopeInstalled // on disk
	ScopeAll       = fact.ScopeAll       // all of these, each id once
)

// The results of an [OnDisk].
const (
	MatchSame      = fact.MatchSame      // the same code
	MatchDifferent = fact.MatchDifferent // other code: the file was replaced since it was loaded
	MatchAbsent    = fact.MatchAbsent    // no file would be loaded under that name
)

// The errors behind the codes, beside those of the standard library (fs.ErrPermission, fs.ErrNotExist,
// errors.ErrUnsupported, os.ErrDeadlineExceeded). Test for them with errors.Is.
var (
	ErrGone        = fact.ErrGone        // it went away while it was being read
	ErrRestricted  = fact.ErrRestricted  // the kernel hides it from this caller
	ErrMalformed   = fact.ErrMalformed   // the bytes are invalid
	ErrTooLarge    = fact.ErrTooLarge    // a size limit was reached
	ErrUnrecorded  = fact.ErrUnrecorded  // the tape holds no answer to the question
	ErrOlder       = fact.ErrOlder       // the tape was recorded before this library asked the question
	ErrRedacted    = fact.ErrRedacted    // the tape's recorder removed it
	ErrBudget      = fact.ErrBudget      // the caller's limit on work or time ran out
	ErrBlacklisted = fact.ErrBlacklisted // [System.LoadPlan]: the configuration stops loading by alias
)

// KernelAll is the Options.Kernel that makes [System.Check] answer for every kernel release on disk.
const KernelAll = fact.KernelAll

// ParseDetail reads words separated by commas, such as "files,signatures"; empty text is 0 and "all" is every detail.
func ParseDetail(text string) (Detail, error) { return fact.ParseDetail(text) }

// CountOf returns the known count n.
func CountOf(n int64) Count { return fact.CountOf(n) }

// TriOf returns Yes for true and No for false.
func TriOf(b bool) Tri { return fact.TriOf(b) }

// CodeOf returns the code for an error: CodeOther if no word fits, and "" for nil.
func CodeOf(err error) Code { return fact.CodeOf(err) }
