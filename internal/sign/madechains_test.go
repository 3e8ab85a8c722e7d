// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	random "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	ekuEmail = "1.3.6.1.5.5.7.3.4"
	policyA  = "1.3.6.1.4.1.99999.1"
	policyB  = "1.3.6.1.4.1.99999.2"
)

// A maker makes chains of synthetic certificates: leaf, authorities, root.
type maker struct {
	keys []*ecdsa.PrivateKey // by the certificate's place in its chain
	n    int
}

func newMaker(t testing.TB) *maker {
	t.Helper()
	m := &maker{}
	for range 6 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m.keys = append(m.keys, key)
	}
	return m
}

// A planned certificate is what a chain is made of: each extension by itself.
type planned struct {
	subject    pkix.RDNSequence
	extensions []pkix.Extension
	from, to   time.Time
}

type plannedChain struct {
	maker  *maker
	name   string
	traits []string
	certs  []*planned // the leaf first
}

type madeChain struct {
	name   string
	traits []string
	der    [][]byte
}

func (c *madeChain) has(trait string) bool { return slices.Contains(c.traits, trait) }

func (c *plannedChain) leaf() *planned { return c.certs[0] }

func (c *plannedChain) root() *planned { return c.certs[len(c.certs)-1] }

func dn(parts ...string) pkix.RDNSequence {
	var s pkix.RDNSequence
	for i := 0; i < len(parts); i += 2 {
		id := map[string]asn1.ObjectIdentifier{"O": {2, 5, 4, 10}, "OU": {2, 5, 4, 11}, "CN": {2, 5, 4, 3},
			"E": {1, 2, 840, 113549, 1, 9, 1}}[parts[i]]
		s = append(s, pkix.RelativeDistinguishedNameSET{{Type: id, Value: parts[i+1]}})
	}
	return s
}

func oid(dotted string) (id asn1.ObjectIdentifier) {
	for part := range strings.SplitSeq(dotted, ".") {
		n := 0
		fmt.Sscan(part, &n)
		id = append(id, n)
	}
	return id
}

// set puts an extension in the place of the one of that kind.
func (p *planned) set(id string, critical bool, value []byte) *planned {
	p.drop(id)
	p.extensions = append(p.extensions, pkix.Extension{Id: oid(id), Critical: critical, Value: value})
	return p
}

func (p *planned) drop(id string) *planned {
	p.extensions = slices.DeleteFunc(p.extensions, func(e pkix.Extension) bool { return e.Id.Equal(oid(id)) })
	return p
}

func marshal(v any) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (p *planned) critical(id string) { p.set(id, true, marshal("x")) }

func (p *planned) authority(ca bool, pathLen int) *planned {
	type constraints struct {
		CA  bool `asn1:"optional"`
		Max int  `asn1:"optional,default:-1"`
	}
	return p.set(extBasicConstraints, true, marshal(constraints{ca, pathLen}))
}

// keyUsage sets bits by their numbers.
func (p *planned) keyUsage(bits ...int) *planned {
	var b asn1.BitString
	b.Bytes = make([]byte, 1)
	for _, bit := range bits {
		b.Bytes[0] |= 0x80 >> bit
		b.BitLength = max(b.BitLength, bit+1)
	}
	return p.set(extKeyUsage, true, marshal(b))
}

func (p *planned) usages(dotted ...string) *planned {
	var list []asn1.ObjectIdentifier
	for _, d := range dotted {
		list = append(list, oid(d))
	}
	return p.set(extUsages, false, marshal(list))
}

func (p *planned) policyList(critical bool, dotted ...string) *planned {
	type info struct{ ID asn1.ObjectIdentifier }
	var list []info
	for _, d := range dotted {
		list = append(list, info{oid(d)})
	}
	return p.set(extPolicies, critical, marshal(list))
}

func (p *planned) requirePolicy(skip int) *planned {
	return p.set(extPolicyConstraints, true, marshal(struct {
		Require int `asn1:"tag:0"`
	}{skip}))
}

// general is a general name of a form.
func general(form int, value []byte) []byte {
	return marshal(asn1.RawValue{Class: 2, Tag: form, IsCompound: form == nameDirectory, Bytes: value})
}

func generalDN(s pkix.RDNSequence) []byte { return general(nameDirectory, marshal(s)) }

func sequence(parts ...[]byte) []byte {
	return marshal(asn1.RawValue{Tag: 16, IsCompound: true, Bytes: slices.Concat(parts...)})
}

// names sets alternative names of every form that is understood.
func (p *planned) names(more ...[]byte) *planned {
	return p.set(extAlternativeName, false, sequence(slices.Concat([][]byte{
		general(nameEmail, []byte("a@mail.ket.example")), general(nameDNS, []byte("host.ket.example")),
		general(nameURI, []byte("https://www.ket.example/x")),
		general(nameIP, []byte{10, 1, 2, 3})}, more)...))
}

// restrict sets name constraints: one subtree that is permitted, or excluded.
func (p *planned) restrict(permitted, critical bool, subtree ...[]byte) *planned {
	tag := 1
	if permitted {
		tag = 0
	}
	list := marshal(asn1.RawValue{Class: 2, Tag: tag, IsCompound: true, Bytes: sequence(subtree...)})
	return p.set(extNameConstraints, critical, sequence(list))
}

// chain plans a chain of four that is in order.
func (m *maker) chain(name string) *plannedChain {
	c := &plannedChain{maker: m, name: name}
	m.n++
	for i, who := range []string{"Leaf", "Authority", "Root"} {
		p := &planned{subject: dn("O", "Ket Works", "CN", fmt.Sprint(who, " ", m.n)),
			from: inTime.AddDate(-5, 0, 0), to: inTime.AddDate(5, 0, 0)}
		if i > 0 {
			p.authority(true, -1).keyUsage(5, 6)
		}
		c.certs = append(c.certs, p)
	}
	c.leaf().keyUsage(0).usages(ekuEmail)
	return c
}

// longer puts an authority more above the leaf; one that was renewed has the name of the one above it.
func (c *plannedChain) longer(renewed bool) {
	above := c.certs[1]
	p := &planned{subject: dn("O", "Ket Works", "CN", fmt.Sprint("Second ", c.maker.n)), from: above.from, to: above.to}
	if renewed {
		p.subject = above.subject
	}
	p.authority(true, -1).keyUsage(5, 6)
	c.certs = slices.Insert(c.certs, 1, p)
}

func (c *plannedChain) made(t testing.TB) *madeChain {
	t.Helper()
	made := &madeChain{name: c.name, traits: c.traits}
	template := func(i int) *x509.Certificate {
		p := c.certs[i]
		id := sha256.Sum256(fmt.Append(nil, c.maker.n, i))
		return &x509.Certificate{SerialNumber: big.NewInt(int64(c.maker.n*10 + i + 1)), RawSubject: marshal(p.subject),
			NotBefore: p.from, NotAfter: p.to, SubjectKeyId: id[:20], ExtraExtensions: p.extensions}
	}
	for i := range c.certs {
		up := min(i+1, len(c.certs)-1)
		if up > i { // Go leaves it out where the two names are one
			id := template(up).SubjectKeyId
			c.certs[i].set(extAuthorityKeyID, false, sequence(marshal(asn1.RawValue{Class: 2, Tag: 0, Bytes: id})))
		}
		keys := c.maker.keys
		der, err := x509.CreateCertificate(rand.Reader, template(i), template(up), keys[i].Public(), keys[up])
		if err != nil {
			t.Fatal(c.name, err)
		}
		made.der = append(made.der, der)
	}
	return made
}

// A change makes a chain differ in one thing.
type change struct {
	name   string
	traits []string
	do     func(*plannedChain)
}

// everywhere are changes that each certificate of a chain may have.
func everywhere() (list []change) {
	for at, who := range []string{"leaf", "authority", "root"} {
		add := func(name string, do func(*planned), traits ...string) {
			list = append(list, change{who + " " + name, traits, func(c *plannedChain) {
				if at == 2 {
					do(c.root())
					return
				}
				do(c.certs[at])
			}})
		}
		add("unknown critical", func(p *planned) { p.critical("1.2.3.4.5") })
		add("unknown", func(p *planned) { p.set("1.2.3.4.5", false, marshal("x")) })
		add("mark of Apple's", func(p *planned) { p.critical("1.2.840.113635.100.6.1.13") })
		add("access critical", func(p *planned) { p.critical("1.3.6.1.5.5.7.1.1") })
		add("policies critical", func(p *planned) { p.policyList(true, policyA) })
		add("names critical", func(p *planned) { p.names(); p.extensions[len(p.extensions)-1].Critical = true })
		var ended, twice, exchange []string
		switch who {
		case "root":
			ended, twice = []string{"root expired"}, []string{"root twice"}
		case "leaf":
			exchange = []string{"leaf key usage"}
		}
		add("twice", func(p *planned) {
			e := p.policyList(false, policyA).extensions
			p.extensions = append(e, e[len(e)-1])
		}, twice...)
		add("ended", func(p *planned) { p.to = inTime.AddDate(-1, 0, 0) }, ended...)
		add("not begun", func(p *planned) { p.from = inTime.AddDate(1, 0, 0) }, ended...)
		add("key usage of a key exchange", func(p *planned) { p.keyUsage(2) }, exchange...)
		add("key usage nonRepudiation", func(p *planned) { p.keyUsage(1) })
		add("no key usage", func(p *planned) { p.drop(extKeyUsage) })
		for _, eku := range [][]string{{EKUCodeSigning}, {ekuEmail}, {EKUCodeSigning, ekuEmail}, {EKUAny}} {
			var traits []string
			if eku[0] == EKUAny {
				traits = append(traits, "any usage")
			}
			if who == "root" {
				traits = append(traits, "root usages")
			}
			add(fmt.Sprint("usages ", eku), func(p *planned) { p.usages(eku...) }, traits...)
		}
		add("policy A", func(p *planned) { p.policyList(false, policyA) })
		add("policy B", func(p *planned) { p.policyList(false, policyB) })
		add("any policy", func(p *planned) { p.policyList(false, anyPolicy) })
	}
	return list
}

// authorities are changes of those that issue, and of chains with more of them.
func authorities() (list []change) {
	for up, who := range []string{"authority", "root"} {
		add := func(name string, do func(*planned), traits ...string) {
			list = append(list, change{who + " " + name, traits, func(c *plannedChain) {
				do(c.certs[len(c.certs)-2+up])
			}})
		}
		add("not an authority", func(p *planned) { p.authority(false, -1) })
		add("does not say", func(p *planned) { p.drop(extBasicConstraints) }, who+" without constraints")
		add("says nothing", func(p *planned) { p.drop(extBasicConstraints).drop(extKeyUsage) },
			who+" without constraints")
		for _, n := range []int{0, 1, 2} {
			add(fmt.Sprint("path ", n), func(p *planned) { p.authority(true, n) })
			add(fmt.Sprint("requires a policy after ", n), func(p *planned) {
				p.requirePolicy(n).policyList(false, policyA)
			})
		}
		add("inhibits any policy", func(p *planned) { p.set(extInhibitAnyPolicy, true, marshal(0)) }, "inhibited")
		add("maps policies", func(p *planned) {
			p.policyList(false, policyA)
			p.set(extPolicyMappings, true, sequence(sequence(marshal(oid(policyA)), marshal(oid(policyB)))))
		}, "mapping")
	}
	list = append(list, change{"one more", nil, func(c *plannedChain) { c.longer(false) }},
		change{"renewed", []string{"renewed"}, func(c *plannedChain) { c.longer(true) }},
		change{"renewed, and none below", []string{"renewed"}, func(c *plannedChain) {
			c.certs[1].authority(true, 0)
			c.longer(true)
		}},
		change{"a policy required and mapped", []string{"mapping under a required policy"}, func(c *plannedChain) {
			c.leaf().policyList(false, policyB)
			c.certs[1].requirePolicy(0).policyList(false, policyA)
			c.certs[1].set(extPolicyMappings, true, sequence(sequence(marshal(oid(policyA)), marshal(oid(policyB)))))
		}},
		change{"a policy required, none for all", []string{"inhibited under a required policy"}, func(c *plannedChain) {
			c.leaf().policyList(false, policyA)
			c.certs[1].requirePolicy(0).policyList(false, policyA).set(extInhibitAnyPolicy, true, marshal(0))
		}})
	return list
}

// restrictions are name constraints of every form over a leaf with names of every form.
func restrictions() (list []change) {
	type base struct {
		name   string
		value  []byte
		traits []string
	}
	text := func(form int, s string) []byte { return general(form, []byte(s)) }
	directory := []string{"directory constraint"}
	bases := []base{
		{"directory of all", generalDN(dn("O", "Ket Works")), directory},
		{"directory, other letters", generalDN(dn("O", "KET  works")), directory},
		{"directory of others", generalDN(dn("O", "Others")), directory},
		{"directory of everybody", generalDN(dn()), directory},
		{"mail host", text(nameEmail, "mail.ket.example"), nil}, {"mail domain", text(nameEmail, ".ket.example"), nil},
		{"mailbox", text(nameEmail, "a@MAIL.ket.example"), nil},
		{"other mailbox", text(nameEmail, "A@mail.ket.example"), nil},
		{"dns domain", text(nameDNS, "ket.example"), nil}, {"dns host", text(nameDNS, "host.KET.example"), nil},
		{"dns end of a word", text(nameDNS, "et.example"), nil}, {"dns other", text(nameDNS, "other.example"), nil},
		{"uri host", text(nameURI, "www.ket.example"), nil}, {"uri domain", text(nameURI, ".ket.example"), nil},
		{"uri parent", text(nameURI, "ket.example"), []string{"uri parent"}},
		{"ip net", general(nameIP, []byte{10, 1, 0, 0, 255, 255, 0, 0}), nil},
		{"ip other net", general(nameIP, []byte{10, 2, 0, 0, 255, 255, 0, 0}), nil},
		{"ip v6", general(nameIP, make([]byte, 32)), nil},
		{"registered id", general(8, oid8()), []string{"other form constraint"}},
	}
	for _, b := range bases {
		for _, permitted := range []bool{true, false} {
			for _, critical := range []bool{true, false} {
				for _, up := range []int{1, 2} {
					name := fmt.Sprintf("%s, permitted %v, critical %v, by %d", b.name, permitted, critical, up)
					list = append(list, change{name, b.traits, func(c *plannedChain) {
						c.leaf().names()
						c.certs[len(c.certs)-3+up].restrict(permitted, critical, b.value)
					}})
				}
			}
		}
	}
	return append(list,
		change{"a name of the other form", nil, func(c *plannedChain) {
			c.leaf().names(general(8, oid8()))
			c.certs[1].restrict(true, true, general(8, oid8()))
		}},
		change{"a distance", nil, func(c *plannedChain) {
			far := marshal(asn1.RawValue{Class: 2, Tag: 1, Bytes: []byte{3}})
			c.certs[1].restrict(true, true, generalDN(dn("O", "Ket Works")), far)
		}},
		change{"no subtree", []string{"no subtree"}, func(c *plannedChain) {
			c.certs[1].set(extNameConstraints, true, sequence())
		}},
		change{"mail in the subject", []string{"mail in the subject"}, func(c *plannedChain) {
			c.leaf().subject = append(c.leaf().subject, dn("E", "b@other.example")...)
			c.certs[1].restrict(true, true, text(nameEmail, "ket.example"))
		}},
		change{"a renewed one outside", []string{"directory constraint"}, func(c *plannedChain) {
			c.root().restrict(false, true, generalDN(c.certs[1].subject))
			c.longer(true)
		}})
}

func oid8() []byte { return marshal(oid("1.2.3"))[2:] }

// madeChains are chains with each change, and with two or three.
func madeChains(t *testing.T) []*madeChain {
	t.Helper()
	m := newMaker(t)
	single := slices.Concat([]change{{"in order", nil, func(*plannedChain) {}}}, everywhere(), authorities())
	all := slices.Concat(single, restrictions())
	var chains []*madeChain
	make := func(changes ...change) {
		c := m.chain("")
		var names []string
		for _, ch := range changes {
			names = append(names, ch.name)
			c.traits = append(c.traits, ch.traits...)
			ch.do(c)
		}
		c.name = strings.Join(names, " + ")
		for _, what := range []string{"mapping", "inhibited"} {
			if slices.Contains(c.traits, what) && strings.Contains(c.name, "requires a policy") {
				c.traits = append(c.traits, what+" under a required policy")
			}
		}
		chains = append(chains, c.made(t))
	}
	for _, ch := range all {
		make(ch)
	}
	r := random.New(random.NewPCG(13, 4))
	for range 100 {
		make(single[r.IntN(len(single))], single[r.IntN(len(single))])
		make(all[r.IntN(len(all))], single[r.IntN(len(single))], single[r.IntN(len(single))])
	}
	return chains
}
