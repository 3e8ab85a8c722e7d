// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/linux/ko"
)

// keysFile lists the keys that the reader may view.
const keysFile = "proc/keys"

// A kernelKey is one line of /proc/keys.
type kernelKey struct {
	// Type is the key's type as the kernel prints it, cut to nine letters: keyring, asymmetri, …
	Type string
	// Usage is how many references the kernel holds to it: its owner's, and one for each keyring that links it. It is 0
	// where the field is no number.
	Usage int
	// Description is what follows it: of a keyring "NAME: COUNT", of an X.509 certificate its
	// subject and key id.
	Description string
	// Line is its line, counted from 1.
	Line int
}

// parseKeyFile reads /proc/keys. A line that is invalid is reported and left out.
func parseKeyFile(text []byte, r *fact.Report) []kernelKey {
	var keys []kernelKey
	n := 0
	for line := range bytes.Lines(text) {
		n++
		k, ok := parseKey(strings.TrimSuffix(string(line), "\n"))
		if !ok {
			r.Problem(SourceKeys, "", "", &fact.ParseError{Source: keysFile, Line: n,
				Reason: "is not a key: ID FLAGS USAGE TIMEOUT PERM UID GID TYPE DESCRIPTION"})
			continue
		}
		k.Line = n
		keys = append(keys, k)
	}
	return keys
}

// parseKey takes the usage, the type and the description (proc_keys_show): seven fields precede the type, of which the
// third is the usage.
func parseKey(line string) (kernelKey, bool) {
	rest, usage := line, 0
	for i := range 7 {
		rest = strings.TrimLeft(rest, " ")
		field, tail, ok := strings.Cut(rest, " ")
		if !ok {
			return kernelKey{}, false
		}
		if i == 2 {
			usage, _ = strconv.Atoi(field) // 0 is the answer for no number
		}
		rest = tail
	}
	kind, description, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if kind == "" {
		return kernelKey{}, false
	}
	return kernelKey{Type: kind, Usage: usage, Description: escape.UTF8(strings.TrimSpace(description))}, true
}

// Keyring divides the description of a keyring into its name and what it holds ("empty" or a
// number). ok is false for a key that is not a keyring.
func (k kernelKey) Keyring() (name, holds string, ok bool) {
	if k.Type != "keyring" {
		return "", "", false
	}
	i := strings.LastIndex(k.Description, ": ")
	if i < 0 {
		return k.Description, "", true
	}
	return k.Description[:i], k.Description[i+2:], true
}

// trustedKeyrings are the kernel's keyrings that bear on module signatures, the deciding first.
var trustedKeyrings = [...]struct{ name, effect string }{
	{ringBuiltin, "keys that were compiled into the kernel: their modules pass"},
	{ringSecondary, "keys added while running, signed by a builtin key: their modules pass"},
	{ringMachine, "keys of the machine's owner (MOK): their modules pass where the kernel links it " +
		"to the secondary keyring"},
	{".platform", "keys of the firmware: for kexec images only; some distributions accept them for modules"},
	{ringBlacklist, "hashes and keys that are refused"},
}

// keys adds the keyrings that bear on modules, and the certificates, that the reader may view.
func (r *policyReader) keys() {
	text, err := limit.AppendFile(r.FS, nil, keysFile, limit.Proc)
	if err != nil {
		for _, ring := range trustedKeyrings {
			r.unknown(ring.name, SourceKeys, keysFile, "", err)
		}
		return
	}
	var lost fact.Report // the fact below says so
	keys := parseKeyFile(text, &lost)
	shown := slices.ContainsFunc(keys, func(k kernelKey) bool { return isTrustedKeyring(k) })
	for _, ring := range trustedKeyrings {
		r.add(keyringFact(keys, ring.name, ring.effect, shown))
	}
	n := 0
	for _, k := range keys {
		if !strings.HasPrefix(k.Type, "asymm") {
			continue
		}
		if n++; n > limit.Problems {
			break
		}
		r.add(fact.PolicyFact{Name: FactKey, Value: k.Description, Effect: "a certificate in the kernel",
			Source: SourceKeys, File: slash(keysFile), Line: k.Line})
	}
	for _, p := range lost.Problems[:min(len(lost.Problems), 1)] {
		r.add(fact.PolicyFact{Name: FactKey, Source: SourceKeys, File: slash(keysFile), Line: p.Line,
			Code: fact.CodeMalformed})
	}
}

// isTrustedKeyring reports whether the key is one of the keyrings that bear on modules. Whoever may
// view one may view all.
func isTrustedKeyring(k kernelKey) bool {
	name, _, _ := k.Keyring()
	for _, ring := range trustedKeyrings {
		if ring.name == name {
			return true
		}
	}
	return false
}

// keyringFact is the fact of one keyring. To a reader who is shown none of them, they may all be
// there.
func keyringFact(keys []kernelKey, ring, effect string, shown bool) fact.PolicyFact {
	for _, k := range keys {
		if name, holds, ok := k.Keyring(); ok && name == ring {
			return fact.PolicyFact{Name: ring, Value: holds, Effect: effect, Source: SourceKeys,
				File: slash(keysFile), Line: k.Line}
		}
	}
	if shown {
		return fact.PolicyFact{Name: ring, Effect: "this kernel has no such keyring", Source: SourceKeys,
			File: slash(keysFile), Code: fact.CodeAbsent}
	}
	return fact.PolicyFact{Name: ring, Effect: "not shown: /proc/keys lists only keys that the reader may view",
		Source: SourceKeys, File: slash(keysFile), Code: fact.CodeRestricted}
}

// keyrings are what /proc/keys shows of the keys that modules are verified with.
type keyrings struct {
	rings            map[string]kernelKey // the keyrings that hold certificates or revoked digests, by name
	certificates     map[string]bool      // key ids and serial numbers of the certificates, in hexadecimal
	signed, contents []string             // digests that are revoked, in hexadecimal
	asymmetric       int                  // how many asymmetric keys are shown
	blacklisted      int                  // how many revoked digests are shown
	// doubt is why the lines may not be the kernel's; nil if they fit each other. The kernel prints the descriptions of
	// users' keys as they are, line feeds too, so that any user can add lines.
	doubt error
}

// The keyrings that only the kernel's verification uses.
const (
	ringBuiltin   = ".builtin_trusted_keys"
	ringSecondary = ".secondary_trusted_keys"
	ringMachine   = ".machine"
	ringBlacklist = ".blacklist"
)

// certificateRings are the keyrings that the kernel puts certificates into when it starts. The secondary one is not
// among them: it takes certificates later.
var certificateRings = [...]string{ringBuiltin, ringMachine, ".platform", ".ima", ".evm", ".builtin_regdb_keys",
	ringBlacklist}

// readKeyrings reads /proc/keys. The error matches fs.ErrPermission if it shows no keyring, because the reader may view
// none.
func readKeyrings(fsys fs.FS, r *fact.Report) (*keyrings, error) {
	text, err := limit.AppendFile(fsys, nil, keysFile, limit.Proc)
	if err != nil {
		return nil, err
	}
	k := &keyrings{rings: make(map[string]kernelKey), certificates: make(map[string]bool)}
	lost := r.Part()
	shown := false
	for _, key := range parseKeyFile(text, lost) {
		shown = shown || isTrustedKeyring(key)
		k.add(key)
	}
	if !shown {
		return nil, fs.ErrPermission
	}
	if p, ok := lost.First(SourceKeys); ok {
		k.doubt = badKeys(p.Line, "a line is no key: "+p.Text)
	}
	if n := k.holds(ringBlacklist); k.blacklisted > n {
		k.doubt = badKeys(0, fmt.Sprintf("shows %d revoked digests, and %s holds %d", k.blacklisted, ringBlacklist, n))
	}
	return k, nil
}

func badKeys(line int, reason string) error {
	return &fact.ParseError{Source: keysFile, Line: line, Reason: reason}
}

// add notes one line.
func (k *keyrings) add(key kernelKey) {
	name, _, ring := key.Keyring()
	switch {
	case ring:
		if name != ringSecondary && !slices.Contains(certificateRings[:], name) {
			return
		}
		if _, twice := k.rings[name]; twice {
			k.doubt = badKeys(key.Line, "a second keyring "+name)
			return
		}
		k.rings[name] = key
	case strings.HasPrefix(key.Type, "blackl"):
		k.blacklisted++
		k.revoke(key.Description)
	case strings.HasPrefix(key.Type, "asymm"):
		k.asymmetric++
		if id := keyID(key.Description); id != "" {
			k.certificates[id] = true
		}
	}
}

// holds returns how many keys a keyring holds; 0 if it is empty, not shown, or its number is invalid.
func (k *keyrings) holds(name string) int {
	_, holds, _ := k.rings[name].Keyring()
	n, _ := strconv.Atoi(holds) // 0 is the answer for no number
	return max(n, 0)
}

// linked returns how many of the keyrings that the secondary one may link have a second reference, as a link is one
// (__key_link). Whether .machine is linked shows nowhere else: shim's variable decides (trust_moklist), but not in the
// kernels of some distributions, which always link it.
func (k *keyrings) linked() int {
	n := 0
	for _, name := range []string{ringBuiltin, ringMachine} {
		if k.rings[name].Usage > 1 {
			n++
		}
	}
	return n
}

// unplaced returns how many certificates are shown beyond those that the keyrings of the start hold. A reference need
// not be a link: a restriction of another keyring holds one, too (asymmetric_lookup_restriction). A certificate that
// was added shows here then.
func (k *keyrings) unplaced() int {
	n := k.asymmetric + k.blacklisted // .blacklist holds both
	for _, name := range certificateRings {
		n -= k.holds(name)
	}
	return n
}

// revoke notes an entry of the keyring .blacklist: "tbs:" or "bin:" and a digest.
func (k *keyrings) revoke(description string) {
	kind, digest, _ := strings.Cut(description, ":")
	digest, _, _ = strings.Cut(digest, ":")
	switch kind {
	case "tbs":
		k.signed = append(k.signed, strings.TrimSpace(digest))
	case "bin":
		k.contents = append(k.contents, strings.TrimSpace(digest))
	}
}

// keyID returns the description of an X.509 certificate: the subject, and the subject's key id or the serial number
// (x509_key_preparse). The kind of key and the id's end follow.
func keyID(description string) string {
	i := strings.LastIndex(description, ": X509.")
	if i < 0 {
		return ""
	}
	head := description[:i]
	return head[strings.LastIndex(head, " ")+1:]
}

// lack returns an error if the builtin keyring is not one of these certificates.
func (k *keyrings) lack(certificates []*sign.Certificate) error {
	if _, shown := k.rings[ringBuiltin]; shown && k.holds(ringBuiltin) != len(certificates) {
		return fmt.Errorf("the keyring %s holds %d keys, the image %d", ringBuiltin, k.holds(ringBuiltin),
			len(certificates))
	}
	for _, c := range certificates {
		id := hex.EncodeToString(c.SubjectKeyID)
		if id == "" {
			id = hex.EncodeToString(c.Serial)
		}
		if !k.certificates[id] {
			return fmt.Errorf("the kernel shows no certificate with the id %s", id)
		}
	}
	return nil
}

// kernelNotesFile holds the running kernel's ELF notes.
const kernelNotesFile = "sys/kernel/notes"

// runningBuildID returns the GNU build id of the kernel that runs, in hexadecimal.
func runningBuildID(fsys fs.FS) (string, error) {
	b, err := limit.AppendFile(fsys, nil, kernelNotesFile, limit.Attr)
	if err != nil {
		return "", err
	}
	if id := ko.BuildIDOfNotes(b); id != "" {
		return id, nil
	}
	return "", &fact.ParseError{Source: kernelNotesFile, Reason: "holds no build id"}
}
