// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Forms of a GeneralName, by its tag.
const (
	nameEmail     = 1
	nameDNS       = 2
	nameDirectory = 4
	nameURI       = 6
	nameIP        = 7
)

// Caps of names.
const (
	maxNames    = 1024 // in a subjectAltName
	maxSubtrees = 256  // in each list of nameConstraints

	maxNameWork = 4 << 20 // bytes of names that are compared while a chain is built
)

// nameConstraints restrict the names of all certificates below an authority.
type nameConstraints struct {
	permitted, excluded []Value // general names
}

func parseGeneralNames(r Reader) ([]Value, error) {
	seq, err := r.Expect(TagSequence, "generalNames")
	if err != nil {
		return nil, err
	}
	var names []Value
	for in := seq.Reader(); !in.Empty(); {
		v, err := in.Next()
		if err != nil {
			return nil, bad("generalName", "%v", err)
		}
		if v.Class != ContextSpecific || len(names) == maxNames {
			return nil, bad("generalName", "class %d, or more than %d", v.Class, maxNames)
		}
		names = append(names, v)
	}
	return names, nil
}

func parseNameConstraints(r Reader) (n nameConstraints, err error) {
	seq, err := r.Expect(TagSequence, "nameConstraints")
	if err != nil {
		return n, err
	}
	in := seq.Reader()
	if v, ok := in.Optional(0); ok {
		if n.permitted, err = parseSubtrees(v.Reader()); err != nil {
			return n, err
		}
	}
	if v, ok := in.Optional(1); ok {
		if n.excluded, err = parseSubtrees(v.Reader()); err != nil {
			return n, err
		}
	}
	if !in.Empty() || n.empty() {
		return n, bad("nameConstraints", "data after the subtrees, or no subtree")
	}
	return n, nil
}

func (n *nameConstraints) empty() bool { return len(n.permitted)+len(n.excluded) == 0 }

func parseSubtrees(r Reader) (list []Value, err error) {
	for !r.Empty() {
		seq, err := r.Expect(TagSequence, "generalSubtree")
		if err != nil {
			return nil, err
		}
		in := seq.Reader()
		base, err := in.Next()
		if err != nil || base.Class != ContextSpecific || len(list) == maxSubtrees {
			return nil, bad("generalSubtree", "no base, or more than %d", maxSubtrees)
		}
		if !in.Empty() { // RFC 5280 allows no distance
			return nil, bad("generalSubtree", "a minimum or a maximum")
		}
		list = append(list, base)
	}
	return list, nil
}

// allows returns why the constraints forbid a name of the certificate; nil if they forbid none: no name may be in an
// excluded subtree, and one of a form with permitted subtrees must be in one of them (RFC 5280, 4.2.1.10). work counts
// down the bytes that may still be compared.
func (n *nameConstraints) allows(c *Certificate, work *int) error {
	if n.empty() {
		return nil
	}
	for _, name := range c.names() {
		some, found, err := anyOf(n.excluded, name, work)
		if err != nil || some && found {
			return forbidden(c, err)
		}
		some, found, err = anyOf(n.permitted, name, work)
		if err != nil || some && !found {
			return forbidden(c, err)
		}
	}
	return nil
}

// anyOf reports whether some of the bases are of the name's form, and whether the name is within one of those. work
// counts down the bytes that may still be compared.
func anyOf(bases []Value, name Value, work *int) (some, found bool, err error) {
	for _, base := range bases {
		if base.Tag != name.Tag {
			continue
		}
		if *work -= len(name.Body) + len(base.Body) + 1; *work < 0 {
			return true, false, bad("nameConstraints", "more names than any chain has")
		}
		if in, err := within(name, base); err != nil || in {
			return true, in, err
		}
		some = true
	}
	return some, false, nil
}

func forbidden(c *Certificate, err error) error {
	if err != nil {
		return fmt.Errorf("certificate %q has a name that an authority restricts in a way that is not understood: %w",
			c.Subject.Short(), err)
	}
	return fmt.Errorf("certificate %q has a name that an authority above it does not allow", c.Subject.Short())
}

// names are the general names of the holder: the subject, mail addresses in it, and the alternative names.
func (c *Certificate) names() []Value {
	names := slices.Clone(c.alternative)
	if len(c.Subject) > 0 {
		names = append(names, Value{Class: ContextSpecific, Tag: nameDirectory, Body: c.RawSubject})
	}
	for _, p := range c.Subject {
		if p.Type == oidEmail {
			names = append(names, Value{Class: ContextSpecific, Tag: nameEmail, Body: []byte(p.Value)})
		}
	}
	return names
}

// within reports whether a name is in the subtree of a base of the same form. The error says that the form, or one of
// the two, is not understood.
func within(name, base Value) (bool, error) {
	switch name.Tag {
	case nameDirectory:
		return withinDirectory(name.Body, base.Body)
	case nameEmail:
		return withinEmail(string(name.Body), string(base.Body))
	case nameDNS:
		return withinDNS(string(name.Body), string(base.Body)), nil
	case nameURI:
		return withinURI(string(name.Body), string(base.Body))
	case nameIP:
		return withinIP(name.Body, base.Body)
	}
	return false, bad("nameConstraints", "names of form %d", name.Tag)
}

// withinDirectory reports whether a distinguished name begins with the parts of another.
func withinDirectory(name, base []byte) (bool, error) {
	n, err := canonical(name)
	if err != nil {
		return false, err
	}
	b, err := canonical(base)
	if err != nil {
		return false, err
	}
	return len(n) >= len(b) && slices.Equal(n[:len(b)], b), nil
}

// canonical returns the relative distinguished names of a Name in a form in which two that are alike are equal: case
// and runs of white space do not count, nor does the order within one of them (RFC 5280, 7.1).
func canonical(raw []byte) ([]string, error) {
	top := NewReader(raw)
	seq, err := top.Expect(TagSequence, "name")
	if err != nil {
		return nil, err
	}
	var list []string
	for r := seq.Reader(); !r.Empty(); {
		set, err := r.Expect(TagSet, "name")
		if err != nil {
			return nil, err
		}
		var parts []string
		for s := set.Reader(); !s.Empty(); {
			if len(list)+len(parts) == maxRDNs {
				return nil, bad("name", "more than %d parts", maxRDNs)
			}
			part, err := parseNamePart(&s)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part.Type+"="+strings.Join(strings.Fields(strings.ToLower(part.Value)), " "))
		}
		slices.Sort(parts)
		list = append(list, strings.Join(parts, "\x00"))
	}
	return list, nil
}

// withinEmail: a base is a mailbox, a host, or with a dot before it all hosts of a domain.
func withinEmail(name, base string) (bool, error) {
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		return false, bad("rfc822Name", "no @")
	}
	local, host := name[:at], name[at+1:]
	if i := strings.LastIndexByte(base, '@'); i > 0 {
		return local == base[:i] && strings.EqualFold(host, base[i+1:]), nil
	}
	return withinHost(host, strings.TrimPrefix(base, "@")), nil
}

// withinHost: a base is a host, or with a dot before it all hosts of a domain.
func withinHost(host, base string) bool {
	if strings.HasPrefix(base, ".") {
		return len(host) > len(base) && strings.EqualFold(host[len(host)-len(base):], base)
	}
	return strings.EqualFold(host, base)
}

// withinDNS: a base is a domain with all that is below it.
func withinDNS(name, base string) bool {
	if base == "" || strings.EqualFold(name, base) {
		return true
	}
	return withinHost(name, "."+strings.TrimPrefix(base, "."))
}

func withinURI(name, base string) (bool, error) {
	u, err := url.Parse(name)
	if err != nil || u.Hostname() == "" {
		return false, bad("uniformResourceIdentifier", "no host name")
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return false, bad("uniformResourceIdentifier", "an address, no host name")
	}
	return withinHost(u.Hostname(), base), nil
}

// withinIP: a base is an address and a mask.
func withinIP(name, base []byte) (bool, error) {
	if len(name) != 4 && len(name) != 16 || len(base) != 8 && len(base) != 32 {
		return false, bad("iPAddress", "%d bytes, subtree of %d", len(name), len(base))
	}
	address, mask := base[:len(base)/2], base[len(base)/2:]
	if len(address) != len(name) {
		return false, nil
	}
	for i := range mask {
		if (name[i]^address[i])&mask[i] != 0 {
			return false, nil
		}
	}
	return true, nil
}
