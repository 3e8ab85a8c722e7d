// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"fmt"
	"slices"
)

// anyPolicy is the policy that stands for all.
const anyPolicy = "2.5.29.32.0"

// maxPolicies caps the policies of a certificate.
const maxPolicies = 256

// policies are what a certificate says of certificate policies.
type policies struct {
	list      []string // dotted; nil when the extension is absent
	mapped    bool     // it has policyMappings
	inhibited bool     // it has inhibitAnyPolicy
	explicit  bool     // it has requireExplicitPolicy
	skip      int      // how many certificates later a policy is required
}

func (p *policies) parse(r Reader) error {
	seq, err := r.Expect(TagSequence, "certificatePolicies")
	if err != nil {
		return err
	}
	for in := seq.Reader(); !in.Empty(); {
		info, err := in.Expect(TagSequence, "policyInformation")
		if err != nil {
			return err
		}
		ir := info.Reader()
		id, err := ir.Expect(TagOID, "policyIdentifier")
		if err != nil {
			return err
		}
		if len(p.list) == maxPolicies {
			return bad("certificatePolicies", "more than %d", maxPolicies)
		}
		p.list = append(p.list, OID(id))
	}
	return nil
}

func (p *policies) parseConstraints(r Reader) error {
	seq, err := r.Expect(TagSequence, "policyConstraints")
	if err != nil {
		return err
	}
	in := seq.Reader()
	if v, ok := in.Optional(0); ok {
		if len(v.Body) != 1 || v.Body[0] > 0x7f {
			return bad("requireExplicitPolicy", "negative, or larger than any chain")
		}
		p.explicit, p.skip = true, int(v.Body[0])
	}
	in.Optional(1) // inhibitPolicyMapping refuses nothing by itself
	if !in.Empty() {
		return bad("policyConstraints", "data after the fields")
	}
	return nil
}

// fitsPolicies judges requireExplicitPolicy, by which a chain needs a policy that all its certificates below the
// trusted one name (RFC 5280, 6.1). Nothing else about policies refuses a chain whose user asks for none. Where a
// policy is needed, mappings and inhibitAnyPolicy are not understood, and refuse.
func fitsPolicies(path []*Certificate) error {
	below := path[:len(path)-1]
	required := len(below) + 1 // certificates that may come before a policy is required
	valid, all := []string(nil), true
	odd := false
	for i, c := range slices.Backward(below) {
		p := &c.policies
		valid, all = p.intersect(valid, all)
		odd = odd || p.mapped || p.inhibited
		if required == 0 || i == 0 && (required == 1 || p.explicit && p.skip == 0) {
			switch {
			case odd:
				return fmt.Errorf("certificate %q is below one that requires a policy, in a way that is not understood",
					c.Subject.Short())
			case !all && len(valid) == 0:
				return fmt.Errorf("certificate %q has no policy, which one above it requires", c.Subject.Short())
			}
		}
		if required > 0 && !c.IsSelfIssued() {
			required--
		}
		if p.explicit {
			required = min(required, p.skip)
		}
	}
	return nil
}

// intersect returns the policies that are valid and that the certificate names, too; all stands for every policy.
func (p *policies) intersect(valid []string, all bool) ([]string, bool) {
	switch {
	case p.list == nil:
		return nil, false
	case slices.Contains(p.list, anyPolicy):
		return valid, all
	case all:
		return p.list, false
	}
	return slices.DeleteFunc(slices.Clone(valid), func(id string) bool { return !slices.Contains(p.list, id) }), false
}
