// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/linux/ko"
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
	if j.now() && j.keys.added != nil {
		return j.keys.added
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

// revoked is the answer for a signature that a list revokes. verify_pkcs7_message_sig asks the list of certificates
// (is_key_on_revocation_list) for every keyring from Linux 6.6 on, whether signatures are enforced or not; before, for
// the images of kexec alone. Of older kernels it is not known whether a distribution brought the change to them.
func (j *signatureJudge) revoked() fact.Answer {
	p := &j.signature.Proof
	if j.checks == fact.No {
		return passes()
	}
	r := j.reason(ReasonRevoked, "the certificate of "+j.signer()+" is revoked by "+p.Revoked)
	switch p.RevokedBy {
	case ko.RevokedContent:
		r.Text = escape.Text("what " + j.signer() + " signed is revoked by " + p.Revoked)
		r.Unread = "whether this kernel has the patch of some distributions that compares modules with the list"
	case ko.RevokedSigned:
		r.Unread = "whether the kernel read the list before it took the certificate into its keyring"
	default:
		asks, why := j.revokes.asks(p.Revoked)
		if asks == fact.Yes && j.checks == fact.Yes && !(j.now() && j.keys.next != nil && p.Revoked == revokedImage) {
			r.Text += ": Linux 6.6 and later refuse the file whether they enforce signatures or not"
			return fact.Stops(r)
		}
		r.Unread = why
	}
	if r.Unread == "" {
		r.Unread = "whether the kernel checks signatures"
	}
	return fact.UnsureOf(r)
}

// A revocation is what is known of a kernel's list of revoked certificates.
type revocation struct {
	config  *kernelConfig // nil if it is not known
	release string
}

// asks says whether the kernel asks for modules whether a list names a certificate, and if not, what is not known.
func (k revocation) asks(list string) (fact.Tri, string) {
	is := func(option string) bool {
		value, _ := k.config.Get(option)
		return value == "y"
	}
	switch {
	case k.config == nil:
		return "", "the kernel's configuration"
	case !is("CONFIG_SYSTEM_REVOCATION_LIST"):
		return "", "what a kernel without a list of revoked certificates makes of it"
	case list != revokedImage && !is("CONFIG_LOAD_UEFI_KEYS"):
		return "", "whether the kernel, which does not read the variables of EFI, has the list from elsewhere"
	case !isAtLeast(k.release, 6, 6):
		return "", "whether this kernel has the change of Linux 6.6 that asks the list for modules"
	}
	return fact.Yes, ""
}

// isAtLeast reports whether a kernel release is of that version or a later one. One in another form is not.
func isAtLeast(release string, major, minor int) bool {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// unlisted is the answer for a signature that is valid unless it is revoked by a list that could not be read.
func (j *signatureJudge) unlisted() fact.Answer {
	r := j.reason(ReasonRevoked, "the file's signature by "+j.signer()+" fits, and not every list of what is revoked "+
		"was read")
	r.Unread = j.signature.doubt
	return fact.UnsureOf(r)
}

// unverified is the answer for a signature that leads to no key that counts. Of a kernel that does not have the key it
// counts as none (ENOKEY).
func (j *signatureJudge) unverified() fact.Answer {
	s, unsure := j.signature, j.unsure()
	if s.Proof.Unsure {
		return j.unlisted()
	}
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
