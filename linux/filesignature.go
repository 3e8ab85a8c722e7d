// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
)

// A fileSignature is the signature of a module's file.
type fileSignature struct {
	fact.Signature
	doubt string // why it is not verified
	err   error  // why it is not known
}

// signatureOf reads the signature of a module's file, once. Its Status is empty if that fails.
func (c *checker) signatureOf(t target) fileSignature {
	if known, ok := c.kept.signatures[t.file]; ok {
		return known
	}
	var s fileSignature
	options := ko.Options{Signature: true, Keys: c.machine.Keys}
	var r fact.Report
	file, err := ko.NewReader().ReadFile(c.machine.FS, c.tree.Path(t.file), options, &r)
	if err != nil {
		c.problem(SourceTree, t.name, err)
		s.err = err
	} else {
		s.Signature, s.doubt = file.Verdict, "it leads to none of them"
		for _, p := range r.Problems {
			if p.Field == "signature" {
				s.doubt = p.Text
			}
			c.other.Add(p)
		}
	}
	c.kept.signatures[t.file] = s
	return s
}

// refusesSignature says whether the kernel refuses the module for its signature.
func (c *checker) refusesSignature(k *enforcement, t target) fact.Answer {
	rule := k.unsigned.Blocked()
	if rule == fact.No && c.machine.Keys.Empty() {
		return passes()
	}
	s := c.signatureOf(t)
	switch {
	case s.Status == fact.SignatureInvalid:
		return c.refusesBadSignature(k, t)
	case rule == fact.No:
		return passes()
	}
	signed := fact.Reason{Code: ReasonSigned, File: "/" + c.tree.Path(t.file)}
	switch s.Status {
	case fact.SignatureNone:
		if rule == "" {
			return k.unsigned
		}
		r := k.unsigned.Because()
		r.Text = "the file has no signature; " + r.Text
		return fact.Stops(r)
	case fact.SignatureValid:
		signed.Text = escape.Text("the file's signature by " + quote(s.Signer) + " is valid for " + quote(s.KeySet))
		return fact.Passes(signed)
	case fact.SignatureUntrusted, fact.SignatureUnchecked:
		return c.refusesUnverified(rule, s, signed)
	}
	r := k.unsigned.Because() // which would count without a signature
	r.Unread = "/" + c.tree.Path(t.file)
	if s.err != nil {
		r.Unread += ": " + s.err.Error()
	}
	return fact.UnsureOf(r)
}

// refusesBadSignature says whether the kernel refuses a file whose signature does not fit it.
func (c *checker) refusesBadSignature(k *enforcement, t target) fact.Answer {
	r := fact.Reason{Code: ReasonBadSignature, File: "/" + c.tree.Path(t.file),
		Text: "the file's signature does not fit it: a kernel that has the key refuses it"}
	switch {
	case k.unsigned.Blocked() == fact.Yes:
		return fact.Stops(r)
	case k.checks == fact.No:
		return passes()
	}
	r.Unread = "whether the kernel has the key"
	return fact.UnsureOf(r)
}

// refusesUnverified says whether the kernel refuses a file whose signature was not verified. rule says whether it
// refuses one without.
func (c *checker) refusesUnverified(rule fact.Tri, s fileSignature, signed fact.Reason) fact.Answer {
	switch {
	case c.machine.Keys.Empty() && rule == "":
		return passes()
	case c.machine.Keys.Empty():
		signed.Text = "the file has a signature, which was not verified against the kernel's keys"
		return fact.Passes(signed)
	}
	signed.Text = escape.Text("the file has a signature that no given key verifies (" + s.doubt +
		"): whether the kernel has its key is not known")
	signed.Unread = "whether the kernel has the key"
	return fact.UnsureOf(signed)
}
