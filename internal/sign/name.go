// SPDX-License-Identifier: Apache-2.0

package sign

import "strings"

// Attribute types of a distinguished name.
const (
	oidCommonName         = "2.5.4.3"
	oidCountry            = "2.5.4.6"
	oidLocality           = "2.5.4.7"
	oidState              = "2.5.4.8"
	oidOrganization       = "2.5.4.10"
	oidOrganizationalUnit = "2.5.4.11"
	oidEmail              = "1.2.840.113549.1.9.1"
)

// shortName returns the usual short name of an attribute; the object identifier if it has none.
func shortName(oid string) string {
	switch oid {
	case oidCommonName:
		return "CN"
	case oidCountry:
		return "C"
	case oidLocality:
		return "L"
	case oidState:
		return "ST"
	case oidOrganization:
		return "O"
	case oidOrganizationalUnit:
		return "OU"
	case "2.5.4.5":
		return "SERIALNUMBER"
	case oidEmail:
		return "E"
	case "0.9.2342.19200300.100.1.25":
		return "DC"
	}
	return oid
}

// A Name is a distinguished name: its parts in the order of the certificate.
type Name []NamePart

// A NamePart is one attribute of a distinguished name.
type NamePart struct {
	Type  string // the object identifier, dotted
	Value string // the text; may hold any character
}

// CommonName returns the last common name, which is the most specific; "" if the name has none.
func (n Name) CommonName() string { return n.last(oidCommonName) }

// FirstCommonName returns the first common name; "" if the name has none.
func (n Name) FirstCommonName() string {
	for _, p := range n {
		if p.Type == oidCommonName {
			return p.Value
		}
	}
	return ""
}

// Organization returns the organization; "" if the name has none.
func (n Name) Organization() string { return n.last(oidOrganization) }

// Short returns what names the holder best: common name, else unit, else organization.
func (n Name) Short() string {
	for _, t := range []string{oidCommonName, oidOrganizationalUnit, oidOrganization} {
		if s := n.last(t); s != "" {
			return s
		}
	}
	return ""
}

func (n Name) last(oid string) string {
	for i := len(n) - 1; i >= 0; i-- {
		if n[i].Type == oid {
			return n[i].Value
		}
	}
	return ""
}

// String returns the name in the order of RFC 4514 (most specific first), values with special
// characters escaped by a backslash.
func (n Name) String() string {
	var b strings.Builder
	for i := len(n) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(shortName(n[i].Type) + "=")
		for _, r := range n[i].Value {
			if strings.ContainsRune(`,+"\<>;=`, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ParseName reads the contents of a Name (RDNSequence).
func ParseName(v Value) (Name, error) {
	if !v.Is(TagSequence) {
		return nil, bad("name", "tag %d", v.Tag)
	}
	n := Name{}
	for r := v.Reader(); !r.Empty(); {
		set, err := r.Expect(TagSet, "name")
		if err != nil {
			return nil, err
		}
		for s := set.Reader(); !s.Empty(); {
			part, err := parseNamePart(&s)
			if err != nil {
				return nil, err
			}
			if len(n) == maxRDNs {
				return nil, bad("name", "more than %d parts", maxRDNs)
			}
			n = append(n, part)
		}
	}
	return n, nil
}

func parseNamePart(s *Reader) (NamePart, error) {
	seq, err := s.Expect(TagSequence, "name")
	if err != nil {
		return NamePart{}, err
	}
	r := seq.Reader()
	typ, err := r.Expect(TagOID, "name")
	if err != nil {
		return NamePart{}, err
	}
	val, err := r.Next()
	if err != nil {
		return NamePart{}, bad("name", "%v", err)
	}
	text, _ := Text(val)
	return NamePart{Type: OID(typ), Value: text}, nil
}
