// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Many names below many restrictions cost bounded work, and are refused rather than passed by.
func TestNameConstraintsBounded(t *testing.T) {
	c := newMaker(t).chain("many")
	var names, bases [][]byte
	for i := range 900 {
		names = append(names, general(nameDNS, fmt.Append(nil, strings.Repeat("x", 40), i, ".example")))
	}
	for i := range 250 {
		bases = append(bases, sequence(general(nameDNS, fmt.Append(nil, i, strings.Repeat("y", 40)))))
	}
	c.leaf().set(extAlternativeName, false, sequence(names...))
	excluded := Value{Class: ContextSpecific, Tag: 1, Body: slices.Concat(bases...)}
	subtrees, err := parseSubtrees(excluded.Reader())
	if err != nil || len(subtrees) != len(bases) {
		t.Fatalf("%d subtrees, %v", len(subtrees), err)
	}
	leaf, err := ParseCertificate(c.made(t).der[0])
	if err != nil {
		t.Fatal(err)
	}
	n, work := nameConstraints{excluded: subtrees}, maxNameWork
	err = n.allows(leaf, &work)
	if err == nil || !strings.Contains(err.Error(), "more names than any chain has") || work < -1000 {
		t.Errorf("%v, work left %d", err, work)
	}
	work = maxNameWork
	if n.excluded = subtrees[:10]; n.allows(leaf, &work) != nil {
		t.Error("ten restrictions that forbid nothing refuse")
	}
}

// Lists that are longer than any real one, and forms that are invalid, leave the certificate and refuse its chains.
func TestMalformedConstraints(t *testing.T) {
	many := make([][]byte, maxNames+1)
	for i := range many {
		many[i] = general(nameDNS, []byte("x"))
	}
	for name, value := range map[string][]byte{
		"not a sequence": marshal(1), "no name": sequence(marshal(1)), "too many": sequence(many...),
		"cut": {0x30, 0x05, 1},
	} {
		c := newMaker(t).chain(name)
		c.leaf().set(extAlternativeName, false, value)
		p, err := ParseCertificate(c.made(t).der[0])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		work := maxNameWork
		if err := RulesX509.fit([]*Certificate{p}, &work); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
