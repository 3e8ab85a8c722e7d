// SPDX-License-Identifier: Apache-2.0

package sipolicy

import "time"

// Kinds of file rules.
const (
	Deny   = 0 // what it names does not load
	Allow  = 1 // what it names loads
	Attrib = 2 // it narrows a signer that refers to it
)

// Options of a policy.
const (
	OptionUMCI      = 0x4      // user-mode code is checked too
	OptionWHQL      = 0x80     // drivers need a signature of the hardware program
	OptionAudit     = 0x10000  // it only reports
	OptionUnsigned  = 0x80000  // it counts without a signature
	OptionBootAudit = 0x400000 // it only reports once a driver that the boot needs is refused
)

// ScenarioDrivers is the value of the signing scenario of drivers; user-mode code has 12.
const ScenarioDrivers = 131

// AnyVersion is the minimum of a Deny rule that gives no versions.
const AnyVersion = 1<<64 - 1

// A Policy is one code integrity policy. Numbers that refer to rules, signers and EKUs are indexes of its lists.
type Policy struct {
	Format              uint32     // the format's version
	TypeID              string     // the kind of policy, a GUID in lower case; in newer ones the base policy's id
	PlatformID          string     // a GUID in lower case
	ID                  string     // the policy's own GUID in lower case; empty before format 6
	BaseID              string     // the GUID of the policy that it supplements, or ID
	Options             uint32     // bits; see the constants
	Version             uint64     // four 16-bit numbers, the first in the highest bits
	EKUs                []string   // purposes, dotted
	Rules               []FileRule // in the compiler's order
	Signers             []Signer   // in the compiler's order
	UpdateSigners       []int      // Signers that may replace the policy
	CISigners           []int      // Signers of code integrity's own files
	SupplementalSigners []int      // Signers of policies that supplement it
	Scenarios           []Scenario // drivers, user-mode code
	HVCI                uint32     // what the hypervisor is asked for
	Settings            []Setting  // such as the policy's name
	Unread              int        // bytes after what was read: blocks of a newer format
}

// A FileRule names files. Several names in one rule must all fit.
type FileRule struct {
	Kind              uint32   // Deny, Allow or Attrib
	FileName          string   // the version resource's original name; "*" is any
	Minimum           uint64   // the lowest version; of a Deny without Maximum the highest; or AnyVersion
	Maximum           uint64   // the highest version; 0 means no limit
	Hash              []byte   // a digest of any kind; empty for a rule by names
	AppIDs            []string // app ids that it is for
	InternalName      string   // the version resource's internal name
	FileDescription   string   // the version resource's description
	ProductName       string   // the version resource's product
	PackageFamilyName string   // a packaged app
	PackageVersion    uint64   // the lowest version of that app
	FilePath          string   // a path with macros and "*"
}

// A Signer names certificates.
type Signer struct {
	Root          []byte    // the digest of the signed part of a certificate in the chain; empty with WellKnown
	WellKnown     uint32    // the number of one of Microsoft's roots, where ByNumber is set
	ByNumber      bool      // WellKnown names the root
	EKUs          []int     // purposes that the leaf must have
	Issuer        string    // the common name of the leaf's issuer
	Publisher     string    // the leaf's common name
	OEMID         string    // the vendor that Microsoft signed for
	Attribs       []int     // Rules of kind Attrib; one of them must fit
	SignTimeAfter time.Time // only what was signed later; zero is any time
}

// A Scenario says which rules and signers count for one kind of code.
type Scenario struct {
	Value       uint32 // ScenarioDrivers or 12
	Inherited   []int  // scenarios that it takes over
	MinimumHash uint32 // the weakest digest algorithm
	Product     Group  // of ordinary systems
	Test        Group  // of test systems
	TestSigning Group  // with test signing on
}

// Groups returns the scenario's groups.
func (s *Scenario) Groups() []*Group { return []*Group{&s.Product, &s.Test, &s.TestSigning} }

// A Group is one part of a scenario.
type Group struct {
	Allowed []SignerRef // what they signed loads, except what a Deny rule names
	Denied  []SignerRef // what they signed does not load, except what an Allow rule names
	Rules   []int       // rules that count by themselves
}

// A SignerRef refers to a signer with its exceptions.
type SignerRef struct {
	Signer int   // index of Signers
	Except []int // indexes of Rules
}

// Kinds of settings.
const (
	SettingBool   = 0 // Number is 0 or 1
	SettingNumber = 1 // Number
	SettingBytes  = 2 // Bytes
	SettingText   = 3 // Text
)

// A Setting is one named value.
type Setting struct {
	Provider string // such as "PolicyInfo"
	Key      string // such as "Information"
	Name     string // such as "Name" or "Id"
	Type     uint32 // one of the constants
	Number   uint32 // of the types bool and number
	Bytes    []byte // of the type bytes
	Text     string // of the type text
}

// Name returns the policy's name for people; empty if it has none.
func (p *Policy) Name() string {
	for _, s := range p.Settings {
		if s.Key == "Information" && s.Name == "Name" && s.Type == SettingText {
			return s.Text
		}
	}
	return ""
}

// Audit reports whether the policy only reports.
func (p *Policy) Audit() bool { return p.Options&OptionAudit != 0 }
