// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// revocationConfig is that of a kernel that has a list of revoked certificates, and reads those of EFI into it.
const revocationConfig = signedConfig + "CONFIG_SYSTEM_REVOCATION_LIST=y\nCONFIG_LOAD_UEFI_KEYS=y\n"

// TestRevokedCertificates: from Linux 6.6 on a kernel asks its list of revoked certificates for modules
// (verify_pkcs7_message_sig), whether it enforces signatures or not.
func TestRevokedCertificates(t *testing.T) {
	ours := linuxtest.NewKey(t, "ours", true)
	for _, tt := range []struct {
		release, config, unread string
		want                    fact.Tri
	}{
		{"6.6.0-1-amd64", revocationConfig, "", fact.Yes},
		{"6.12.117+deb13-amd64", revocationConfig, "", fact.Yes},
		{"7.0", revocationConfig, "", fact.Yes},
		{"6.5.13", revocationConfig, "6.6", ""},
		{"5.14.0-570.el9", revocationConfig, "6.6", ""},
		{"custom", revocationConfig, "6.6", ""},
		{"6.12.1", signedConfig, "without a list", ""},
		{"6.12.1", signedConfig + "CONFIG_SYSTEM_REVOCATION_LIST=y\n", "EFI", ""},
		{"6.12.1", "-", "configuration", ""},
	} {
		module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf(tt.release, "lone")...).Bytes()
		signed := string(ours.Sign(t, module, nil))
		fsys := imageOf(map[string]string{"boot/config-" + tt.release: tt.config, "sys/firmware/memmap/0/type": "x",
			"lib/modules/" + tt.release + "/kernel/lone.ko": signed, "boot/vmlinuz-" + tt.release: kernelOf(ours),
			efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01",
			mokListX:                                efiList(efiX509, string(ours.Cert.Raw))})
		dir, _ := modprobe.FindRelease(fsys, tt.release)
		v, err := check(t.Context(), checkedKernel{FS: fsys, Release: tt.release, Dir: dir, Live: true,
			Keys: &keyFinder{}}, "lone", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, r := range v[0].Reasons {
			found = found || r.Code == ReasonRevoked && strings.Contains(r.Unread, tt.unread) &&
				(r.Unread == "") == (tt.unread == "")
		}
		if !hasWay(v[0].NextBoot, WayInsmod, tt.want) || !found {
			t.Errorf("%s: %s %+v", tt.release, outcomes(v[0]), v[0].Reasons)
		}
	}
}

// TestUnreadRevocation: nothing is valid while a list of what is revoked is there and cannot be read.
func TestUnreadRevocation(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	ours := linuxtest.NewKey(t, "ours", true)
	const head = "\x07\x00\x00\x00"
	list := head + efiList(efiX509, string(ours.Cert.Raw))
	for name, tt := range map[string]struct {
		dbx  string
		want fact.SignatureStatus
	}{
		"no list":                {"-", fact.SignatureValid},
		"empty":                  {head, fact.SignatureValid},
		"cut off":                {list[:60], fact.SignatureUnchecked},
		"an invalid certificate": {head + efiList(efiX509, "none"), fact.SignatureUnchecked},
		"ours":                   {list, fact.SignatureInvalid},
	} {
		fsys := imageOf(map[string]string{"boot/config-6": signedConfig, "boot/vmlinuz-6": kernelOf(ours),
			efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01", efiDBX: tt.dbx,
			"lone.ko": string(ours.Sign(t, module, nil))})
		k := (&keyFinder{}).find(keyedKernel{FS: fsys, Release: "6", Live: true}, new(fact.Report))
		f, err := ko.NewReader().ReadFile(fsys, "lone.ko", ko.Options{Signature: true, Keys: k.keys}, new(fact.Report))
		if err != nil || f.Verdict.Status != tt.want {
			t.Errorf("%s: %+v, %v", name, f.Verdict, err)
		}
	}
}

// TestNamesakes: the name that a signer gives its key proves nothing. A certificate of that name that anybody may have
// put beside the kernel's own neither refutes nor proves a signature.
func TestNamesakes(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	ours, namesake := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "ours", true)
	signed := string(ours.Sign(t, module, nil))
	for name, tt := range map[string]struct {
		kernel string
		keys   []linuxtest.Key // in files of the machine
		want   fact.SignatureStatus
		noKey  bool
	}{
		"the kernel's own":              {kernelOf(ours), nil, fact.SignatureValid, false},
		"and a file of that name":       {kernelOf(ours), []linuxtest.Key{namesake}, fact.SignatureValid, false},
		"two in the kernel":             {kernelOf(namesake, ours), nil, fact.SignatureValid, false},
		"another in the kernel":         {kernelOf(namesake), nil, fact.SignatureInvalid, false},
		"a file, and no kernel":         {"-", []linuxtest.Key{namesake}, fact.SignatureUnchecked, true},
		"the signer's file, no kernel":  {"-", []linuxtest.Key{ours}, fact.SignatureUntrusted, false},
		"another kernel, signer's file": {kernelOf(namesake), []linuxtest.Key{ours}, fact.SignatureUntrusted, false},
	} {
		files := map[string]string{"boot/config-6": signedConfig, "boot/vmlinuz-6": tt.kernel, "lone.ko": signed}
		for i, k := range tt.keys {
			files["etc/keys/"+string(rune('a'+i))+".der"] = string(k.Cert.Raw)
		}
		fsys := imageOf(files)
		k := (&keyFinder{}).find(keyedKernel{FS: fsys, Release: "6"}, new(fact.Report))
		f, err := ko.NewReader().ReadFile(fsys, "lone.ko", ko.Options{Signature: true, Keys: k.keys}, new(fact.Report))
		if err != nil || f.Verdict.Status != tt.want || f.Verdict.Proof.NoKey != tt.noKey {
			t.Errorf("%s: %+v, %v", name, f.Verdict, err)
		}
	}
	if c, err := sign.ParseCertificate(namesake.Cert.Raw); err != nil || hex.EncodeToString(c.Serial) == "" {
		t.Error("the certificates have no names")
	}
}

// TestAddedKeys: a key that was added to the secondary keyring may be the one of a signature that no known key made.
func TestAddedKeys(t *testing.T) {
	ring := func(usage int, name, holds string) string {
		return fmt.Sprintf("0d1: I------ %5d perm 1f0b0000     0     0 keyring   %s: %s\n", usage, name, holds)
	}
	const secondary, machine = ".secondary_trusted_keys", ".machine"
	const cert = "0d2: I------     1 perm 1f030000     0     0 asymmetri a: 01: X509.rsa 01 []\n"
	const revoked = "0d3: I------     1 perm 08030000     0     0 blacklist bin:00ff\n"
	builtin := ring(2, ".builtin_trusted_keys", "1")
	older := signedConfig + "CONFIG_SECONDARY_TRUSTED_KEYRING=y\n"
	option := older + "CONFIG_INTEGRITY_MACHINE_KEYRING=y\n"
	for name, tt := range map[string]struct {
		config, keys string
		doubt        bool
	}{
		"the builtin one alone":    {option, builtin + ring(1, secondary, "1"), false},
		"and .machine":             {option, builtin + ring(1, secondary, "2") + ring(2, machine, "empty"), false},
		"beside .machine unlinked": {option, builtin + ring(1, secondary, "2") + ring(1, machine, "1"), true},
		".machine unlinked":        {option, builtin + ring(1, secondary, "1") + ring(1, machine, "1"), false},
		"a key was added":          {option, builtin + ring(1, secondary, "2"), true},
		"beside .machine":          {option, builtin + ring(1, secondary, "3") + ring(2, machine, "1"), true},
		"an invalid count":         {option, builtin + ring(1, secondary, "x"), true},
		"no usage": {option, strings.ReplaceAll(builtin, " 2 perm", " x perm") + ring(1, secondary, "1"),
			true},
		"not shown":                             {option, "", true},
		"not shown, not possible":               {signedConfig, "", false},
		"no configuration":                      {"-", "", true},
		"no such keyring":                       {option, builtin, true},
		"no such keyring, and no configuration": {"-", builtin, false},
		"its own key":                           {option, builtin + cert + ring(1, secondary, "1"), false},
		"an added key, .machine referenced by a restriction": {option, builtin + cert + cert +
			ring(1, secondary, "2") + ring(2, machine, "empty"), true},
		"revoked certificates": {option, builtin + cert + cert + revoked + ring(1, secondary, "1") +
			ring(1, ".blacklist", "2"), false},
		"a forged .machine": {older,
			builtin + cert + cert + ring(1, secondary, "2") + ring(2, machine, "1"), true},
		"a forged second keyring": {option, builtin + ring(1, secondary, "2") + ring(1, secondary, "1"), true},
		"a forged revocation": {option,
			builtin + revoked + ring(1, secondary, "1") + ring(1, ".blacklist", "empty"), true},
		"a line that is cut": {option, builtin + "0d1: I------     1 perm", true},
	} {
		fsys := imageOf(map[string]string{"boot/config-6": tt.config, keysFile: tt.keys})
		config, _ := readKernelConfig(fsys, "6", false)
		err := addedKeys(keyedKernel{FS: fsys, Release: "6", Running: true, Live: true}, config, new(fact.Report))
		if (err != nil) != tt.doubt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRevokedLater: the certificates that are kept are read anew when the machine revokes something.
func TestRevokedLater(t *testing.T) {
	ours := linuxtest.NewKey(t, "ours", true)
	fsys := imageOf(map[string]string{efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01"})
	before := revokedState(fsys)
	if revokedState(fsys) != before {
		t.Error("the state of nothing changes")
	}
	for name, text := range map[string]string{
		efiDBX: "\x07\x00\x00\x00" + efiList(efiX509, string(ours.Cert.Raw)), mokListX: "x",
		keysFile: "0d1: I------     1 perm 1f0b0000     0     0 blacklist bin:00: []\n"} {
		fsys := imageOf(map[string]string{efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01", name: text})
		if revokedState(fsys) == before {
			t.Errorf("%s: the state is the same", name)
		}
	}
	ring := "0d1: I------     1 perm 1f0b0000     0     0 keyring   .secondary_trusted_keys: "
	one, two := imageOf(map[string]string{keysFile: ring + "1\n"}), imageOf(map[string]string{keysFile: ring + "2\n"})
	if revokedState(one) == revokedState(two) {
		t.Error("a key that is added does not change the state")
	}
	other := imageOf(map[string]string{keysFile: "0d1: I------ 1 perm 1f0b0000 0 0 user a: 1\n"})
	more := imageOf(map[string]string{keysFile: "0d1: I------ 1 perm 1f0b0000 0 0 user b: 1\n"})
	if revokedState(other) != revokedState(more) {
		t.Error("keys of users change the state")
	}
}
