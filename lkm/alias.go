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

// CountOf returns the known count n.
func CountOf(n int64) Count { return fact.CountOf(n) }

// TriOf returns Yes for true and No for false.
func TriOf(b bool) Tri { return fact.TriOf(b) }
