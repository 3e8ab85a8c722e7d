// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// A signatureJudge says what a kernel makes of the signature of one file.
type signatureJudge struct {
	*enforcement
	keys      *kernelKeys
	signature fileSignature
	file      string
}

// reason returns a reason about the file's signature.
func (j *signatureJudge) reason(code, text string) fact.Reason {
	return fact.Reason{Code: code, Text: escape.Text(text), File: j.file}
}

// enforced says whether the kernel refuses a module without a signature.
func (j *signatureJudge) enforced() fact.Tri { return j.unsigned.Blocked() }

// now reports whether the kernel is the one that runs.
func (j *signatureJudge) now() bool { return j.loaded != nil }

// unsure returns why the keys of this kernel are not known; nil if they are.
func (j *signatureJudge) unsure() error {
	if j.now() && j.keys.next != nil {
		return j.keys.next
	}
	if j.keys.builtin != nil {
		return j.keys.builtin
	}
	return j.keys.other
}

// has reports whether the kernel is known to have the key that the signature was checked with. Of another image than
// the running kernel's that is not known.
func (j *signatureJudge) has() bool {
	p := j.signature.Proof
	return p.Origin&(fact.TrustKernel|fact.TrustMachine) != 0 && !p.Perhaps && !(j.now() && j.keys.next != nil)
}

// signer names who signed, and the key.
func (j *signatureJudge) signer() string {
	return quote(j.signature.Signer) + " (key " + j.signature.key + ")"
}

// none is the answer for a file without a signature.
func (j *signatureJudge) none() fact.Answer {
	switch j.enforced() {
	case fact.No:
		return passes()
	case "":
		return j.unsigned
	}
	r := j.unsigned.Because()
	r.Text = "the file has no signature; " + r.Text
	return fact.Stops(r)
}

// valid is the answer for a signature that leads to a key that counts.
func (j *signatureJudge) valid() fact.Answer {
	s := j.signature
	if j.enforced() == fact.No {
		return passes()
	}
	r := j.reason(ReasonSigned, "the file's signature by "+quote(s.Signer)+" is valid for "+quote(s.KeySet))
	if s.Proof.Origin == fact.TrustKernel {
		r = j.reason(ReasonSigned, "a certificate that is compiled into "+s.KeySet+" verifies the file's signature by "+
			j.signer())
	}
	if s.Proof.Origin == fact.TrustKernel && !j.has() {
		r.Unread = "whether the kernel has the key"
		if j.keys.next != nil {
			r.Unread = j.keys.next.Error()
		}
		return fact.UnsureOf(r)
	}
	return fact.Passes(r)
}

// invalid is the answer for a signature that does not fit the file, or is revoked.
func (j *signatureJudge) invalid() fact.Answer {
	if j.signature.Proof.Revoked != "" {
		return j.revoked()
	}
	r := j.reason(ReasonBadSignature, "the file's signature does not fit it: a kernel that has the key refuses it")
	switch {
	case j.has() && j.checks == fact.Yes:
		r = j.reason(ReasonBadSignature, "the file's signature does not fit it: the kernel has the certificate of "+
			j.signer()+" from "+j.signature.Proof.Set+", and refuses the file whether it enforces signatures or not")
		return fact.Stops(r)
	case j.enforced() == fact.Yes:
		return fact.Stops(r)
	case j.checks == fact.No:
		return passes()
	}
	r.Unread = "whether the kernel has the key"
	return fact.UnsureOf(r)
}

// revoked is the answer for a signature that a list revokes. Which lists a kernel asks for modules depends on its
// version: at first they asked the list of certificates for the images of kexec alone.
func (j *signatureJudge) revoked() fact.Answer {
	list := j.signature.Proof.Revoked
	if j.checks == fact.No {
		return passes()
	}
	r := j.reason(ReasonRevoked, "the key of "+j.signer()+", or the file itself, is revoked by "+list)
	r.Unread = "whether this kernel asks that list for modules"
	return fact.UnsureOf(r)
}

// unverified is the answer for a signature that leads to no key that counts. Of a kernel that does not have the key it
// counts as none (ENOKEY).
func (j *signatureJudge) unverified() fact.Answer {
	s, unsure := j.signature, j.unsure()
	foreign := s.Proof.NoKey && unsure == nil && j.checks == fact.Yes
	r := j.reason(ReasonSigned, "the file has a signature, which was not verified against the kernel's keys")
	switch {
	case j.enforced() == fact.No && foreign:
		return fact.Passes(j.reason(ReasonForeignKey, "the file is signed by "+j.signer()+
			", whose key this kernel does not have: it counts as unsigned, and loads with taint E"))
	case j.enforced() == fact.No, j.keys.keys.Empty() && j.enforced() == "":
		return passes()
	case j.keys.keys.Empty():
		return fact.Passes(r)
	case foreign && j.enforced() == fact.Yes:
		why := j.unsigned.Because()
		why.Code = ReasonForeignKey
		why.Text = escape.Text("the file is signed by "+j.signer()+
			", whose key this kernel does not have: it counts as unsigned; ") + why.Text
		return fact.Stops(why)
	case s.Proof.Perhaps && s.Proof.Origin == fact.TrustMachine:
		r = j.reason(ReasonSigned, "the file's signature by "+j.signer()+" leads to "+s.Proof.Set+
			", which kernels ask for modules only with a patch of some distributions")
	case s.Proof.Perhaps:
		r = j.reason(ReasonSigned, "the file's signature by "+j.signer()+" leads to "+s.Proof.Set+
			", which does not show that the kernel has the key")
	default:
		r = j.reason(ReasonSigned, "the file has a signature that no known key verifies ("+s.doubt+
			"): whether the kernel has its key is not known")
	}
	r.Unread = "whether the kernel has the key"
	if unsure != nil {
		r.Unread += ": " + unsure.Error()
	}
	return fact.UnsureOf(r)
}
