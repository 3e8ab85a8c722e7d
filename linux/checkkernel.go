// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

// kernelBlocks says whether the kernel itself refuses the module, however it is asked for.
func (c *Checker) kernelBlocks(w *world, t target) (fact.Tri, *fact.Reason) {
	if w.noLoading != nil {
		return fact.Yes, w.noLoading
	}
	for _, name := range boot.ListValues(w.words, FactModuleBlacklist, false) {
		if name != t.name {
			continue
		}
		r := &fact.Reason{Code: ReasonModuleBlacklist, Text: "module_blacklist=" + t.name + ": refused by the kernel itself, also from insmod", File: w.at.File, Line: w.at.Line}
		if w.wordsOpen {
			r.Text += "; but the boot loader may put another module_blacklist= behind it"
			return "", r
		}
		return fact.Yes, r
	}
	if t.file == "" {
		return fact.No, nil
	}
	blocked, because := c.signatureBlocks(w, t)
	if blocked != fact.Yes && w.gate != nil {
		return "", w.gate
	}
	return blocked, because
}

// signatureBlocks says whether the kernel refuses the module for its signature.
func (c *Checker) signatureBlocks(w *world, t target) (fact.Tri, *fact.Reason) {
	if w.refuses == fact.No && c.m.Keys.Empty() {
		return fact.No, nil
	}
	s := c.signatureOf(t)
	signed := fact.Reason{Code: ReasonSigned, File: "/" + c.plain.Path(t.file)}
	switch s.Status {
	case fact.SignatureNone:
		if w.refuses != fact.Yes {
			return w.refuses, w.refusesWhy
		}
		r := *w.refusesWhy
		r.Text = "the file has no signature; " + r.Text
		return fact.Yes, &r
	case fact.SignatureValid:
		if w.refuses == fact.No {
			return fact.No, nil
		}
		signed.Text = escape.Text("the file's signature by " + quote(s.Signer) + " is valid for " + quote(s.KeySet))
		return fact.No, &signed
	case fact.SignatureInvalid:
		signed.Code, signed.Text = ReasonBadSignature, "the file's signature does not fit it: a kernel that has the key refuses it"
		if w.refuses == fact.Yes {
			return fact.Yes, &signed
		}
		if w.checks == fact.No {
			return fact.No, nil
		}
		return "", &signed
	case fact.SignatureUntrusted, fact.SignatureUnchecked:
		if w.refuses == fact.No {
			return fact.No, nil
		}
		if c.m.Keys.Empty() {
			if w.refuses == "" {
				return fact.No, nil
			}
			signed.Text = "the file has a signature, which was not verified against the kernel's keys"
			return fact.No, &signed
		}
		signed.Text = escape.Text("the file has a signature that no given key verifies (" + s.why + "): whether the kernel has its key is not known")
		return "", &signed
	}
	if w.refuses == fact.No {
		return fact.No, nil
	}
	return "", w.refusesWhy
}

// A signedFile is what is known of a file's signature, and why it is not verified.
type signedFile struct {
	fact.Signature
	why string
}

// signatureOf reads the signature of a module's file; its Status is empty when that is not possible.
func (c *Checker) signatureOf(t target) signedFile {
	if known, ok := c.signatures[t.file]; ok {
		return known
	}
	var s signedFile
	var r fact.Report
	o := ko.Options{Signature: true, Keys: c.m.Keys}
	file, err := ko.NewReader().ReadFile(c.m.FS, c.plain.Path(t.file), o, &r)
	if err != nil {
		c.problem(SourceTree, t.name, err)
	} else {
		s.Signature, s.why = file.Verdict, "it leads to none of them"
		for _, p := range r.Problems {
			if p.Field == "signature" {
				s.why = p.Text
			}
		}
	}
	c.signatures[t.file] = s
	return s
}

// kernelBlocksNeeds says whether the kernel itself refuses a module that the target needs and that
// is not there yet: then not even insmod of one after the other helps.
func (c *Checker) kernelBlocksNeeds(w *world, t target, j *judgement) fact.Tri {
	blocked := fact.No
	line, _ := c.plain.DepLine(t.name)
	if line == nil {
		return blocked
	}
	for _, file := range line.Needs {
		name := ko.NameOfFile(file)
		if w.loaded[name] {
			continue
		}
		switch refused, because := c.kernelBlocks(w, target{name: name, file: file}); refused {
		case fact.Yes:
			r := *because
			r.Code, r.Text = ReasonDependency, r.Text+" ("+name+" must be loaded first)"
			j.why(r)
			return fact.Yes
		case "":
			blocked = ""
		}
	}
	return blocked
}
