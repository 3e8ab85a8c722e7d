// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/utf16text"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/sipolicy"
)

// MaxBlockList is the largest block list that is read, in bytes.
const MaxBlockList = 256 << 20

// A Strength says how much a match weighs.
type Strength string

// The strengths.
const (
	StrengthStrong Strength = "strong" // the rule decides, or a digest of the code is the same
	StrengthWeak   Strength = "weak"   // a digest that can be forged is the same, or the rule may not be in force
	StrengthHint   Strength = "hint"   // names or imports are the same: worth a look
)

// Kinds of rules.
const (
	RuleHash   = "hash"   // a digest
	RuleFile   = "file"   // original file name and version
	RuleSigner = "signer" // a certificate of the chain
	RuleSample = "sample" // a known sample of LOLDrivers
)

// A BlockMatch says which rule of a block list hit which evidence.
type BlockMatch struct {
	// List names the list: the policy's own name, or "LOLDrivers".
	List string `json:"list"`
	// Rule is the rule's id.
	Rule string `json:"rule"`
	// Name is the rule's name for people; empty when it has none.
	Name string `json:"name,omitzero"`
	// Category is what LOLDrivers calls the driver, such as "vulnerable driver" or "malicious";
	// empty for a rule of a policy.
	Category string `json:"category,omitzero"`
	// Kind is hash, file, signer or sample.
	Kind string `json:"kind"`
	// Strength is how much it weighs.
	Strength Strength `json:"strength"`
	// Evidence are the facts of the driver that the rule hit; empty if the rule names none, as one does that denies
	// every file.
	Evidence []fact.Evidence `json:"evidence"`
	// Inactive says that the policy defines the rule and does not refer to it, so Windows does not
	// apply it.
	Inactive bool `json:"inactive,omitzero"`
	// Group is test or test_signing if the policy refers to the rule only for test systems, or only for systems with
	// test signing on; else empty.
	Group string `json:"group,omitzero"`
	// Audit says that the policy only reports.
	Audit bool `json:"audit,omitzero"`
	// LoadsDespiteHVCI is LOLDrivers' word on whether code integrity by the hypervisor lets the driver load; absent
	// when the list does not say.
	LoadsDespiteHVCI fact.Tri `json:"loadsDespiteHvci,omitzero"`
}

// BlockEvidence is what a block list looks at. What is nil or empty cannot be hit.
type BlockEvidence struct {
	Name       string                   // the image's file name
	Path       string                   // its DOS path; empty when unknown
	Hashes     *pe.Hashes               // of the file
	Version    *pe.Version              // its version resource
	PE         *pe.File                 // its headers and tables
	Signatures []authenticode.Signature // all of them, those of catalogs included
}

// A BlockList is a list of drivers that somebody says should not load: Microsoft's block rules or another SiPolicy,
// compiled or in XML, or LOLDrivers' list in JSON or CSV.
type BlockList struct {
	// Name is the policy's own name, or "LOLDrivers".
	Name string
	// Version is the policy's version; empty when it has none.
	Version string
	// Rules is how many rules or samples can hit.
	Rules int

	policy  *siPolicy
	samples *loldrivers
}

// sourceBlockList is the source of a block list's Problems.
const sourceBlockList = "block list"

// ParseBlockList reads a block list of any kind, and reports the entries that are invalid.
func ParseBlockList(b []byte, r *fact.Report) (*BlockList, error) {
	if len(b) > MaxBlockList {
		return nil, fmt.Errorf("block list: %w: more than %d bytes", fact.ErrTooLarge, MaxBlockList)
	}
	if sipolicy.Is(b) {
		item := r.Budget.Content(b)
		defer item.Done()
		p, err := sipolicy.Parse(b, item)
		if err != nil {
			return nil, err
		}
		return compiledList(p, r), nil
	}
	text := strings.TrimLeft(utf16text.DecodeFile(b), " \t\r\n")
	switch {
	case strings.HasPrefix(text, "["), strings.HasPrefix(text, "{"):
		return parseLOLDrivers(text, r)
	case strings.HasPrefix(text, "<"):
		return parseSiPolicy(text, r)
	case isLOLDriversCSV(text):
		return parseLOLDriversCSV(text, r)
	}
	return nil, &fact.ParseError{Source: sourceBlockList,
		Reason: "neither a SiPolicy, compiled or in XML, nor a list of LOLDrivers in JSON or CSV"}
}

// Match returns the rules that hit, the strongest first.
func (l *BlockList) Match(e BlockEvidence) []BlockMatch {
	var out []BlockMatch
	if l.policy != nil {
		out = l.policy.match(l.Name, e)
	}
	if l.samples != nil {
		out = l.samples.match(l.Name, e)
	}
	var sorted []BlockMatch
	for _, s := range []Strength{StrengthStrong, StrengthWeak, StrengthHint} {
		for _, m := range out {
			if m.Strength == s {
				sorted = append(sorted, m)
			}
		}
	}
	return sorted
}

// Evidence makes the evidence of a driver with that file name and DOS path.
func (d *Driver) Evidence(name, path string) BlockEvidence {
	return BlockEvidence{
		Name: name, Path: path, Hashes: d.Hashes, Version: d.Version, PE: d.PE, Signatures: d.Signatures,
	}
}

// A namedHash is one digest with the name of its field.
type namedHash struct {
	name, value string
	strong      bool
}

// hashes are the digests that rules may name, those of the code first.
func (e BlockEvidence) hashes() []namedHash {
	h := e.Hashes
	if h == nil {
		return nil
	}
	return []namedHash{
		{"authentihashSha256", h.AuthentihashSHA256, true}, {"authentihashSha1", h.AuthentihashSHA1, true},
		{"firstPageSha256", h.FirstPageSHA256, true}, {"firstPageSha1", h.FirstPageSHA1, true},
		{"sha256", h.SHA256, true}, {"sha1", h.SHA1, false}, {"md5", h.MD5, false},
	}
}

// imphash returns the digest of the imports: that of the file, or what a capture has of it.
func (e BlockEvidence) imphash() string {
	switch {
	case e.PE != nil && e.PE.Imphash != "":
		return e.PE.Imphash
	case e.Hashes != nil:
		return fold(e.Hashes.Imphash)
	}
	return ""
}

// A fileVersion is a version of four numbers that compares by size.
type fileVersion [4]uint16

// parseVersion reads up to four numbers separated by dots; missing ones are 0.
func parseVersion(s string) (fileVersion, bool) {
	var v fileVersion
	parts := strings.Split(strings.TrimSpace(s), ".")
	if len(parts) > 4 {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(strings.TrimSpace(p), 10, 16)
		if err != nil {
			return v, false
		}
		v[i] = uint16(n)
	}
	return v, true
}

func (v fileVersion) less(w fileVersion) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}
