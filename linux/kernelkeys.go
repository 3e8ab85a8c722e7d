// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/linux/boot"
	"github.com/kernelext/kernelext/linux/ko"
)

// A keyFinder finds the certificates that a machine's kernels verify modules with.
type keyFinder struct {
	sets   []fact.KeySet // the caller's
	trust  fact.Trust
	images *kernelImageCache
}

// A keyedKernel is a kernel whose certificates are wanted.
type keyedKernel struct {
	// FS is the root of the system that it is installed in.
	FS fs.FS
	// Release is its release; empty if that is not known.
	Release string
	// Running is set if it runs, and Live if some kernel of the machine does.
	Running, Live bool
	// Setup is what the boot loaders' files say; nil reads them if they are needed.
	Setup *boot.Setup
}

// kernelKeys are the certificates that one kernel verifies modules with, as far as the machine shows them.
type kernelKeys struct {
	// keys verify signatures; a set is named by the file or the variable that it comes from.
	keys *ko.Keys
	// image is the file of the kernel that the certificates are from; empty if none was read.
	image string
	// builtin is why the keys that were compiled in are not known; nil if they are.
	builtin error
	// other is why there may be keys beside those, of the machine's owner or of its firmware; nil if none are missing.
	other error
	// added is why a running kernel may have keys that were added since it started; nil if it has none.
	added error
	// next is set for a running kernel if the image is not the one that runs: what it says is about the next boot.
	next error
}

// Names of what revokes, beside the variables'.
const (
	revokedImage   = "the kernel's list of revoked keys"
	revokedKeyring = ".blacklist"
)

// find reads the certificates of one kernel. What could not be read is in r, with the sources that were. Which of the
// caller's certificates cannot be used is for given.
func (f *keyFinder) find(m keyedKernel, r *fact.Report) *kernelKeys {
	k := &kernelKeys{keys: ko.NewKeys(f.allowed()), builtin: errLeftOut, other: errLeftOut}
	var revoked ko.Revoked
	revoked.Signed, revoked.Contents = make(map[string]string), make(map[string]string)
	config, _ := readKernelConfig(m.FS, m.Release, m.Running) // who needs an option says that it is not known
	if f.trust.Includes(fact.TrustDistribution) {
		k.suppose(m)
	}
	if f.trust.Includes(fact.TrustMachine) {
		k.other = nil
		if m.Live {
			f := readFirmwareKeys(m.FS, r)
			k.addFirmware(f, config, &revoked)
			k.keys.Doubt(f.unlisted)
		} else {
			k.other = errNoFirmware
		}
	}
	if f.trust.Includes(fact.TrustKernel) {
		image, list, err := f.image(m, config, r)
		k.addImage(image, list, config, &revoked)
		k.builtin = err
		k.compare(m, image, list, &revoked, r)
		k.added = addedKeys(m, config, r.Part())
	}
	k.keys.Revoke(revoked)
	return k
}

var (
	errLeftOut    = errors.New("left out by the caller's choice of what to trust")
	errNoFirmware = errors.New("the keys of the machine's owner (MOK) and of its firmware are in no file of a disk")
)

// given reports those of the caller's certificates that cannot be used, as problems of a source and a field.
func (f *keyFinder) given(r *fact.Report, source, field string) {
	var lost fact.Report
	ko.NewKeys(f.allowed()).Report(&lost)
	for _, p := range lost.Problems {
		r.Problem(source, "", field, p)
	}
}

// allowed returns the caller's sets that the trust includes.
func (f *keyFinder) allowed() []fact.KeySet {
	return slices.DeleteFunc(slices.Clone(f.sets), func(s fact.KeySet) bool { return !f.trust.Includes(s.Origin) })
}

// image reads the kernel's file, and says which of its lists are the trusted keys.
func (f *keyFinder) image(
	m keyedKernel, config *kernelConfig, r *fact.Report,
) (*boot.KernelImage, *boot.CertificateList, error) {
	image, err := kernelImageOf(m, f.images, r)
	var list *boot.CertificateList
	if err == nil {
		list, err = trustedList(image, config)
	}
	count := fact.Count{}
	if list != nil {
		count = fact.CountOf(int64(len(list.Certificates)))
	}
	r.Source(SourceKernelImage, "", count, err)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceKernelImage, "", "signature", err)
	}
	return image, list, err
}

// trustedList returns the list of the keys that a kernel trusts (system_certificate_list). The list of revoked keys has
// the same form: the word of the module's key distinguishes them, or the fact that the kernel was built without the
// other one.
func trustedList(image *boot.KernelImage, config *kernelConfig) (*boot.CertificateList, error) {
	var trusted *boot.CertificateList
	for i := range image.Lists {
		if !image.Lists[i].ModuleKey {
			continue
		}
		if trusted != nil {
			return nil, badImage(image, "two lists of certificates look like the trusted one")
		}
		trusted = &image.Lists[i]
	}
	switch {
	case trusted != nil:
		return trusted, nil
	case len(image.Lists) == 0:
		return nil, badImage(image, "no list of certificates was found in it")
	case len(image.Lists) == 1 && config != nil && !hasRevocationList(config):
		return &image.Lists[0], nil
	}
	return nil, badImage(image, "which of its lists of certificates is the trusted one is not known")
}

func badImage(image *boot.KernelImage, reason string) error {
	return &fact.ParseError{Source: image.File, Field: "certificates", Reason: reason}
}

// hasRevocationList reports whether a kernel was built with keys that are revoked.
func hasRevocationList(config *kernelConfig) bool {
	list, _ := config.Get("CONFIG_SYSTEM_REVOCATION_LIST")
	keys, _ := config.Get("CONFIG_SYSTEM_REVOCATION_KEYS")
	return list == "y" && keys != "" && keys != "n"
}

// addImage adds the certificates in the kernel's file.
func (k *kernelKeys) addImage(
	image *boot.KernelImage, list *boot.CertificateList, config *kernelConfig, revoked *ko.Revoked,
) {
	if list == nil {
		return
	}
	k.image = slash(image.File)
	k.keys.Trust(k.image, fact.TrustKernel, list.Certificates)
	for i := range image.Lists {
		if l := &image.Lists[i]; l != list && (config == nil || hasRevocationList(config)) {
			revoked.Certificates = append(revoked.Certificates,
				ko.RevokedCertificates{List: revokedImage, Certificates: l.Certificates})
		}
	}
}

// addFirmware adds the certificates of the machine's owner and of its firmware. Those of the owner are trusted if the
// kernel puts them into the keyring .machine (add_to_machine_keyring), which the secondary one links. The keyring
// .platform counts for modules with a patch of some distributions only, which no option shows.
func (k *kernelKeys) addFirmware(f *firmwareKeys, config *kernelConfig, revoked *ko.Revoked) {
	k.other = f.unread
	k.keys.Suppose(varDB, fact.TrustMachine, f.db)
	for _, c := range f.mok {
		one := []*sign.Certificate{c}
		if f.trusted && ownersKeyCounts(config, c) {
			k.keys.Trust(varMokList, fact.TrustMachine, one)
		} else {
			k.keys.Suppose(varMokList, fact.TrustMachine, one)
		}
	}
	for _, name := range []string{varDBX, varMokListX} {
		s := f.revoked[name]
		if len(s.certificates) > 0 {
			revoked.Certificates = append(revoked.Certificates,
				ko.RevokedCertificates{List: name, Certificates: s.certificates})
		}
		for _, digest := range s.signed {
			revoked.Signed[digest] = name
		}
		for _, digest := range s.contents {
			revoked.Contents[digest] = name
		}
	}
}

// ownersKeyCounts reports whether the kernel takes a trusted key of the machine's owner for modules.
func ownersKeyCounts(config *kernelConfig, c *sign.Certificate) bool {
	if config == nil {
		return false
	}
	machine, _ := config.Get("CONFIG_INTEGRITY_MACHINE_KEYRING")
	secondary, _ := config.Get("CONFIG_SECONDARY_TRUSTED_KEYRING")
	onlyCA, _ := config.Get("CONFIG_INTEGRITY_CA_MACHINE_KEYRING")
	strictCA, _ := config.Get("CONFIG_INTEGRITY_CA_MACHINE_KEYRING_MAX")
	return machine == "y" && secondary == "y" && strictCA != "y" && (onlyCA != "y" || c.IsCA && !c.NoCertSign)
}

// keyFiles are the files with certificates that tools and packages install, as patterns below the root. None of them
// proves that a kernel has the key: they only name who signed.
func keyFiles(release string) []string {
	files := []string{"var/lib/dkms/mok.pub", "var/lib/shim-signed/mok/MOK.der", "etc/pki/akmods/certs/*.der",
		"etc/keys/*.x509", "etc/keys/*.der"}
	if release != "" && path.Base(release) == release && !strings.ContainsAny(release, `*?[\`) {
		files = append(files, "lib/modules/"+release+"/build/certs/signing_key.x509",
			"usr/lib/modules/"+release+"/build/certs/signing_key.x509",
			"usr/share/doc/kernel-keys/"+release+"/*.cer")
	}
	return files
}

// Caps of the files with certificates.
const (
	maxKeyFiles = 64
	maxKeyFile  = 256 << 10
)

// suppose adds the certificates in files: a signature by one of them names the file, and is not valid by that.
func (k *kernelKeys) suppose(m keyedKernel) {
	left := maxKeyFiles
	for _, pattern := range keyFiles(m.Release) {
		names := []string{pattern}
		if strings.Contains(pattern, "*") {
			names, _ = fs.Glob(m.FS, pattern) // the pattern is a good one
		}
		for _, name := range names[:min(len(names), left)] {
			if c := readKeyFile(m.FS, name); c != nil {
				left--
				k.keys.Suppose(slash(name), fact.TrustDistribution, []*sign.Certificate{c})
			}
		}
	}
}

// readKeyFile reads a file with one certificate, in DER or PEM. It returns nil if the file is missing or unreadable,
// because that proves nothing.
func readKeyFile(fsys fs.FS, name string) *sign.Certificate {
	data, err := limit.ReadFile(fsys, name, maxKeyFile)
	if err != nil {
		return nil
	}
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	c, err := sign.ParseCertificate(data)
	if err != nil {
		return nil
	}
	return c
}

// addedKeys returns why a running kernel may have keys that were added since it started: the keyring .secondary links
// the builtin one and takes certificates that a key in it signed (restrict_link_by_builtin_and_secondary_trusted). It
// may link .machine (set_machine_trusted_keys).
func addedKeys(m keyedKernel, config *kernelConfig, r *fact.Report) error {
	if !m.Running {
		return nil
	}
	if config != nil {
		if value, _ := config.Get("CONFIG_SECONDARY_TRUSTED_KEYRING"); value != "y" {
			return nil
		}
	}
	rings, err := readKeyrings(m.FS, r)
	if err == nil {
		err = rings.doubt
	}
	if err != nil {
		return fmt.Errorf("whether keys were added to %s is not known: %w", ringSecondary, err)
	}
	secondary, shown := rings.rings[ringSecondary]
	_, holds, _ := secondary.Keyring()
	n, err := strconv.Atoi(holds)
	switch {
	case !shown && config == nil, shown && holds == "empty": // whoever is shown one keyring is shown all
		return nil
	case !shown:
		return fmt.Errorf("the kernel was built with %s, and shows none", ringSecondary)
	case forgedMachine(rings, config):
		return fmt.Errorf("whether keys were added to %s is not known: %s shows %s, which the kernel was built without",
			ringSecondary, keysFile, ringMachine)
	case err != nil || n > rings.linked():
		return fmt.Errorf("keys were added to %s, which holds %s and links %d keyrings", ringSecondary, holds,
			rings.linked())
	case rings.unplaced() > 0:
		return fmt.Errorf("keys may have been added to %s: %d certificates are shown that no other keyring holds",
			ringSecondary, rings.unplaced())
	}
	return nil
}

// forgedMachine reports whether a keyring .machine is shown that the kernel cannot have: any user can add such a line.
func forgedMachine(rings *keyrings, config *kernelConfig) bool {
	if _, shown := rings.rings[ringMachine]; !shown || config == nil {
		return false
	}
	value, _ := config.Get("CONFIG_INTEGRITY_MACHINE_KEYRING")
	return value != "y"
}

// compare compares a running kernel with the image: it runs if the image holds the build id that the kernel shows, and
// then /proc/keys, to those who may read it, has the certificates of the image.
func (k *kernelKeys) compare(
	m keyedKernel, image *boot.KernelImage, list *boot.CertificateList, revoked *ko.Revoked, r *fact.Report,
) {
	if !m.Running || list == nil {
		return
	}
	id, err := runningBuildID(m.FS)
	switch {
	case err != nil:
		k.next = fmt.Errorf("whether /%s is the running kernel is not known: %w", image.File, err)
	case !slices.Contains(image.BuildIDs, id):
		k.next = fmt.Errorf("/%s is not the kernel that runs, whose build id is %s: %w", image.File, id, fs.ErrNotExist)
	}
	if k.next != nil {
		if !errors.Is(k.next, fact.ErrOlder) {
			r.Problem(SourceKernelImage, "", "signature",
				fmt.Errorf("signatures are judged by the image that the next boot starts: %w", k.next))
		}
		return
	}
	rings, err := readKeyrings(m.FS, r)
	if err != nil {
		return // whoever may not read them knows the image all the same
	}
	if err := rings.lack(list.Certificates); err != nil {
		k.builtin = fmt.Errorf("/%s and the running kernel differ: %w", image.File, err)
		r.Problem(SourceKeys, "", "signature", k.builtin)
	}
	if rings.doubt != nil {
		k.keys.Doubt(rings.doubt)
		r.Problem(SourceKeys, "", "signature", rings.doubt)
		return
	}
	for _, digest := range rings.signed {
		revoked.Signed[digest] = revokedKeyring
	}
	for _, digest := range rings.contents {
		revoked.Contents[digest] = revokedKeyring
	}
}
