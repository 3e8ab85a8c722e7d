// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// imageBuildID is that of the kernels of these tests.
var imageBuildID = []byte{15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}

// kernelOf is the file of a kernel with the certificates of these keys.
func kernelOf(keys ...linuxtest.Key) string {
	var certificates [][]byte
	for _, k := range keys {
		certificates = append(certificates, k.Cert.Raw)
	}
	lists := []linuxtest.KernelList{{Certificates: certificates, ModuleKey: true}}
	return string(linuxtest.Kernel{BuildID: imageBuildID, Lists: lists}.Plain())
}

// notesOf are a kernel's notes with a build id.
func notesOf(id []byte) string {
	b := binary.LittleEndian.AppendUint32(nil, 4)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(id)))
	b = binary.LittleEndian.AppendUint32(b, 3)
	return string(append(append(b, "GNU\x00"...), id...))
}

// efiList is a variable's list of entries of one type.
func efiList(kind string, entries ...string) string {
	each := efiOwnerSize + len(entries[0])
	b := binary.LittleEndian.AppendUint32([]byte(kind), uint32(efiListHead+each*len(entries)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(each))
	for _, e := range entries {
		b = append(append(b, make([]byte, efiOwnerSize)...), e...)
	}
	return string(b)
}

const (
	forcedConfig  = signedConfig + "CONFIG_MODULE_SIG_FORCE=y\n"
	machineConfig = forcedConfig + "CONFIG_INTEGRITY_MACHINE_KEYRING=y\nCONFIG_SECONDARY_TRUSTED_KEYRING=y\n"
	efiDB         = efiVarsDir + "/db-" + efiSecurityGUID
	efiDBX        = efiVarsDir + "/dbx-" + efiSecurityGUID
	mokList       = mokVarsDir + "/MokListRT"
	mokListX      = mokVarsDir + "/MokListXRT"
)

// TestKernelVerdicts: what a check says of a signature, with the keys that the machine itself shows.
func TestKernelVerdicts(t *testing.T) {
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	ours, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	signed, foreign := string(ours.Sign(t, module, nil)), string(other.Sign(t, module, nil))
	broken := strings.Replace(signed, "license=", "licenze=", 1)
	if broken == signed {
		t.Fatal("nothing to change")
	}
	cert := string(other.Cert.Raw)
	long := longForm(t, other.Cert.Raw)
	bios := map[string]string{"sys/firmware/memmap/0/type": "x"}
	efi := func(more ...string) map[string]string {
		m := map[string]string{efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01",
			"sys/firmware/memmap/0/type": "x"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		name, config, file string
		more               map[string]string
		live               bool
		want               fact.Tri
		code               string
	}{
		{"signed by the kernel's build", forcedConfig, signed, nil, false, fact.No, ReasonSigned},
		{"changed", forcedConfig, broken, nil, false, fact.Yes, ReasonBadSignature},
		{"changed, not enforced", signedConfig, broken, nil, false, fact.Yes, ReasonBadSignature},
		{"changed, not looked at", "CONFIG_MODULES=y\n", broken, nil, false, fact.No, ""},
		{"changed, no configuration", "-", broken, nil, false, "", ReasonBadSignature},
		{"by another, of a disk", forcedConfig, foreign, nil, false, "", ReasonSigned},
		{"by another, of a disk, not enforced", signedConfig, foreign, nil, false, fact.No, ""},
		{"by another", forcedConfig, foreign, bios, true, fact.Yes, ReasonForeignKey},
		{"by another, not enforced", signedConfig, foreign, bios, true, fact.No, ReasonForeignKey},
		{"by another, no image", forcedConfig, foreign, map[string]string{"boot/vmlinuz-6": "-",
			"sys/firmware/memmap/0/type": "x"}, true, fact.No, ReasonSigned},
		{"by another, an image of another form", forcedConfig, foreign, map[string]string{"boot/vmlinuz-6": "MZ",
			"sys/firmware/memmap/0/type": "x"}, true, fact.No, ReasonSigned},
		{"by another, a firmware that is not shown", forcedConfig, foreign,
			map[string]string{"sys/firmware/efi/fw_platform_size": "64"}, true, "", ReasonSigned},
		{"by the owner, whom the kernel trusts", machineConfig, foreign,
			efi(mokList, efiList(efiX509, cert), mokVarsDir+"/MokListTrustedRT", "\x01"), true, fact.No, ReasonSigned},
		{"by the owner, whom shim does not let it trust", machineConfig, foreign,
			efi(mokList, efiList(efiX509, cert)), true, "", ReasonSigned},
		{"by the owner, whose certificate is not in DER", machineConfig, foreign,
			efi(mokList, efiList(efiX509, long), mokVarsDir+"/MokListTrustedRT", "\x01"), true, "", ReasonSigned},
		{"by the firmware's key, which is not in DER", machineConfig, foreign,
			efi(efiDB, "\x07\x00\x00\x00"+efiList(efiX509, long)), true, "", ReasonSigned},
		{"by the owner, for a kernel that does not ask", forcedConfig, foreign,
			efi(mokList, efiList(efiX509, cert), mokVarsDir+"/MokListTrustedRT", "\x01"), true, "", ReasonSigned},
		{"by the firmware's key", machineConfig, foreign, efi(efiDB, "\x07\x00\x00\x00"+efiList(efiX509, cert)), true,
			"", ReasonSigned},
		{"by another, of a machine with EFI", machineConfig, foreign, efi(), true, fact.Yes, ReasonForeignKey},
		{"revoked by shim", forcedConfig, signed, efi(mokListX, efiList(efiX509, string(ours.Cert.Raw))), true, "",
			ReasonRevoked},
		{"another is revoked", forcedConfig, signed, efi(mokListX, efiList(efiX509, cert)), true, fact.No,
			ReasonSigned},
		{"a list that is cut off", forcedConfig, foreign,
			efi(efiDBX, "\x07\x00\x00\x00"+efiList(efiX509, cert)[:60]), true, "", ReasonSigned},
		{"in a file of the machine", forcedConfig, foreign, map[string]string{"var/lib/dkms/mok.pub": cert}, false, "",
			ReasonSigned},
	} {
		texts := map[string]string{"boot/config-6": tt.config, "lib/modules/6/kernel/lone.ko": tt.file,
			"boot/vmlinuz-6": kernelOf(ours)}
		for name, text := range tt.more {
			texts[name] = text
		}
		fsys := imageOf(texts)
		dir, _ := modprobe.FindRelease(fsys, "6")
		v, err := check(t.Context(), checkedKernel{FS: fsys, Release: "6", Dir: dir, Live: tt.live, Keys: &keyFinder{}},
			"lone", new(fact.Report))
		if err != nil {
			t.Fatal(err)
		}
		if !hasWay(v[0].NextBoot, WayInsmod, tt.want) {
			t.Errorf("%s: %s %+v", tt.name, outcomes(v[0]), v[0].Reasons)
		}
		if tt.code != "" &&
			!slices.ContainsFunc(v[0].Reasons, func(r fact.Reason) bool { return r.Code == tt.code && r.Text != "" }) {
			t.Errorf("%s: no %s in %+v", tt.name, tt.code, v[0].Reasons)
		}
	}
}

// longForm is a certificate with a length outside its signed part that is not in the shortest form: BER, and not DER.
func longForm(t *testing.T, cert []byte) string {
	t.Helper()
	parsed, err := x509.ParseCertificate(cert)
	if err != nil || cert[1] != 0x82 {
		t.Fatalf("%v, % x", err, cert)
	}
	algorithm := 4 + len(parsed.RawTBSCertificate) // where that of the signature begins
	b := slices.Insert(bytes.Clone(cert), algorithm+1, 0x81)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	return string(b)
}

// TestUnreadCertificates: a certificate that cannot be read makes unknown what a variable holds, and is reported.
func TestUnreadCertificates(t *testing.T) {
	key := linuxtest.NewKey(t, "a", true)
	list, good := efiList(efiX509, longForm(t, key.Cert.Raw)), efiList(efiX509, string(key.Cert.Raw))
	for name, head := range map[string]string{mokList: "", mokListX: "", efiDB: "\x07\x00\x00\x00",
		efiDBX: "\x07\x00\x00\x00"} {
		for _, bad := range []bool{false, true} {
			text := head + good + good
			if bad {
				text = head + good + list + good
			}
			r := new(fact.Report)
			k := readFirmwareKeys(imageOf(map[string]string{name: text,
				efiVarsDir + "/SecureBoot-" + efiGlobal: "\x06\x00\x00\x00\x01"}), r)
			p, reported := r.First(SourceEFI)
			revoked := name == mokListX || name == efiDBX
			if reported != bad || (k.unread != nil) != bad || (k.unlisted != nil) != (bad && revoked) ||
				bad && (p.Code != fact.CodeMalformed || !strings.Contains(p.Text, name)) {
				t.Errorf("%s, bad %v: %v, %v, %+v", name, bad, k.unread, k.unlisted, r.Problems)
			}
			if n := len(k.mok) + len(k.db) + len(k.revoked[varDBX].certificates) +
				len(k.revoked[varMokListX].certificates); n != 2 {
				t.Errorf("%s, bad %v: %d certificates", name, bad, n)
			}
		}
	}
}

// TestRunningKernelsKeys: what an image says is about the running kernel only if it is the one that runs.
func TestRunningKernelsKeys(t *testing.T) {
	ours := linuxtest.NewKey(t, "ours", true)
	id := hex.EncodeToString(ours.Cert.SubjectKeyId)
	ring := "0d1: I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: "
	line := "0d2: I------     1 perm 1f030000     0     0 asymmetri ours: " + id + ": X509.ecdsa 01020304 []\n"
	for _, tt := range []struct {
		name, notes, keys string
		next, builtin     bool // whether there is a doubt
	}{
		{"the same", notesOf(imageBuildID), "-", false, false},
		{"the same, and its keys", notesOf(imageBuildID), ring + "1\n" + line, false, false},
		{"another", notesOf([]byte("another build of it.")), "-", true, false},
		{"not known", "-", "-", true, false},
		{"more keys than in the image", notesOf(imageBuildID), ring + "2\n" + line, false, true},
		{"another key", notesOf(imageBuildID), ring + "1\n" + strings.ReplaceAll(line, id, "0badcafe"), false, true},
		{"keys that are not shown", notesOf(imageBuildID), "", false, false},
	} {
		fsys := imageOf(map[string]string{"boot/config-6": signedConfig, "boot/vmlinuz-6": kernelOf(ours),
			kernelNotesFile: tt.notes, keysFile: tt.keys, "sys/firmware/memmap/0/type": "x"})
		k := (&keyFinder{}).find(keyedKernel{FS: fsys, Release: "6", Running: true, Live: true}, new(fact.Report))
		if (k.next != nil) != tt.next || (k.builtin != nil) != tt.builtin || k.other != nil ||
			k.image != "/boot/vmlinuz-6" {
			t.Errorf("%s: %+v", tt.name, k)
		}
	}
}

// TestTrustedList distinguishes the list of trusted keys from that of revoked ones.
func TestTrustedList(t *testing.T) {
	ours, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	list := func(k linuxtest.Key, module bool) linuxtest.KernelList {
		return linuxtest.KernelList{Certificates: [][]byte{k.Cert.Raw}, ModuleKey: module}
	}
	const revocation = signedConfig + "CONFIG_SYSTEM_REVOCATION_LIST=y\nCONFIG_SYSTEM_REVOCATION_KEYS=\"certs/x.pem\"\n"
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	for _, tt := range []struct {
		name, config string
		lists        []linuxtest.KernelList
		want         fact.SignatureStatus // of a module by ours
	}{
		{"one", signedConfig, []linuxtest.KernelList{list(ours, true)}, fact.SignatureValid},
		{"an old kernel's", signedConfig, []linuxtest.KernelList{list(ours, false)}, fact.SignatureValid},
		{"an old kernel's, no configuration", "-", []linuxtest.KernelList{list(ours, false)}, fact.SignatureUnchecked},
		{"perhaps the revoked", revocation, []linuxtest.KernelList{list(ours, false)}, fact.SignatureUnchecked},
		{"the other is revoked", revocation, []linuxtest.KernelList{list(other, false), list(ours, true)},
			fact.SignatureValid},
		{"it is revoked itself", revocation, []linuxtest.KernelList{list(ours, false), list(ours, true)},
			fact.SignatureInvalid},
		{"two that look alike", signedConfig, []linuxtest.KernelList{list(ours, true), list(ours, true)},
			fact.SignatureUnchecked},
		{"none", signedConfig, nil, fact.SignatureUnchecked},
	} {
		fsys := imageOf(map[string]string{"boot/config-6": tt.config,
			"boot/vmlinuz-6":               string(linuxtest.Kernel{Lists: tt.lists}.Plain()),
			"lib/modules/6/kernel/lone.ko": string(ours.Sign(t, module, nil))})
		r := new(fact.Report)
		got := signatureIn(t, fsys, fact.Options{}, r)
		if got.Status != tt.want || (got.KeySet == "/boot/vmlinuz-6") != (tt.want == fact.SignatureValid) {
			t.Errorf("%s: %+v, %v", tt.name, got, r.Problems)
		}
		if known, _ := r.First(SourceKernelImage); (tt.want == fact.SignatureUnchecked) != (known.Text != "") {
			t.Errorf("%s: %+v", tt.name, r.Problems)
		}
	}
}

// signatureIn returns the signature of the module lone on a disk, without a flag but those of the options.
func signatureIn(t *testing.T, fsys fstest.MapFS, o fact.Options, r *fact.Report) fact.Signature {
	t.Helper()
	o.Image, o.Kernel, o.Detail = true, "6", fact.DetailSignatures
	for m, err := range Open(machineOf(fsys), o).Installed(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Name == "lone" {
			return m.Signature
		}
	}
	t.Fatal("no such module")
	return fact.Signature{}
}

// TestTooManyLists: a kernel with more lists of certificates than are kept makes no signature valid or invalid.
func TestTooManyLists(t *testing.T) {
	ours, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	lists := []linuxtest.KernelList{{Certificates: [][]byte{ours.Cert.Raw}, ModuleKey: true}}
	for range 16 {
		lists = append(lists, linuxtest.KernelList{Certificates: [][]byte{other.Cert.Raw}})
	}
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	for _, kept := range []bool{true, false} {
		image := lists
		if kept {
			image = lists[:16]
		}
		fsys := imageOf(map[string]string{"boot/config-6": signedConfig,
			"boot/vmlinuz-6":               string(linuxtest.Kernel{Lists: image}.Plain()),
			"lib/modules/6/kernel/lone.ko": string(ours.Sign(t, module, nil))})
		r := new(fact.Report)
		got := signatureIn(t, fsys, fact.Options{}, r)
		lost, _ := r.First(SourceKernelImage)
		if (got.Status == fact.SignatureValid) != kept || (lost.Code == fact.CodeTooLarge) == kept ||
			!kept && got.Status != fact.SignatureUnchecked {
			t.Errorf("%d lists: %+v, %v", len(image), got, r.Problems)
		}
	}
}

// TestOriginOfChanged: a package's module whose signature does not fit is no longer the system's, whatever its name,
// its place and its package say; a valid one is.
func TestOriginOfChanged(t *testing.T) {
	ours, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	entries := append(linuxtest.EntriesOf("6", "lone"), "intree=Y")
	module := linuxtest.ModuleOf(binary.LittleEndian, true, entries...).Bytes()
	good := ours.Sign(t, module, nil)
	changed := bytes.Clone(good)
	changed[len(module)/2] ^= 1
	for name, tt := range map[string]struct {
		file  []byte
		owned bool
		want  fact.SignatureStatus
		class fact.OriginClass
	}{
		"valid":               {good, true, fact.SignatureValid, fact.OriginOS},
		"changed":             {changed, true, fact.SignatureInvalid, ""},
		"changed, nobody's":   {changed, false, fact.SignatureInvalid, ""},
		"another key's":       {other.Sign(t, module, nil), true, fact.SignatureUnchecked, fact.OriginOS},
		"none":                {module, true, fact.SignatureNone, fact.OriginOS},
		"signature cut short": {good[:len(good)-100], true, fact.SignatureNone, fact.OriginOS},
	} {
		files := map[string]string{"boot/config-6": signedConfig, "boot/vmlinuz-6": kernelOf(ours),
			"lib/modules/6/kernel/lone.ko": string(tt.file), "var/lib/dpkg/info/x.list": "/.\n"}
		if tt.owned {
			files["var/lib/dpkg/info/linux-image-6.list"] = "/lib/modules/6/kernel/lone.ko\n"
		}
		o := fact.Options{Image: true, Kernel: "6", Detail: fact.DetailSignatures}
		for m, err := range Open(machineOf(imageOf(files)), o).Installed(t.Context(), new(fact.Report)) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Name != "lone" {
				continue
			}
			doubted := slices.ContainsFunc(m.Origin.Evidence, func(e fact.Evidence) bool {
				return e.Fact == "signature" && e.Value == string(fact.SignatureInvalid)
			})
			if m.Signature.Status != tt.want || m.Origin.Class != tt.class ||
				doubted != (tt.want == fact.SignatureInvalid) {
				t.Errorf("%s: %s, %+v", name, m.Signature.Status, m.Origin)
			}
		}
	}
}

// TestTrustOfKernels leaves out places that certificates come from.
func TestTrustOfKernels(t *testing.T) {
	ours := linuxtest.NewKey(t, "ours", true)
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	texts := map[string]string{"boot/config-6": signedConfig,
		"lib/modules/6/kernel/lone.ko": string(ours.Sign(t, module, nil))}
	image := map[string]string{"boot/vmlinuz-6": kernelOf(ours)}
	file := map[string]string{"var/lib/dkms/mok.pub": string(ours.Cert.Raw)}
	for _, tt := range []struct {
		name  string
		more  map[string]string
		trust fact.Trust
		want  fact.SignatureStatus
	}{
		{"the kernel", image, 0, fact.SignatureValid},
		{"the kernel alone", image, fact.TrustKernel, fact.SignatureValid},
		{"all but the kernel", image, fact.TrustAll &^ fact.TrustKernel, fact.SignatureUnchecked},
		{"the caller alone", image, fact.TrustCaller, fact.SignatureUnchecked},
		{"a file", file, 0, fact.SignatureUntrusted},
		{"no files", file, fact.TrustAll &^ fact.TrustDistribution, fact.SignatureUnchecked},
	} {
		all := map[string]string{}
		for _, m := range []map[string]string{texts, tt.more} {
			for name, text := range m {
				all[name] = text
			}
		}
		if got := signatureIn(t, imageOf(all), fact.Options{Trust: tt.trust}, new(fact.Report)); got.Status != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// TestKernelImageCache: the image is read once, and again when it changed.
func TestKernelImageCache(t *testing.T) {
	ours, other := linuxtest.NewKey(t, "ours", true), linuxtest.NewKey(t, "another", true)
	module := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.EntriesOf("6", "lone")...).Bytes()
	fsys := imageOf(map[string]string{"boot/config-6": signedConfig, "boot/vmlinuz-6": kernelOf(ours),
		"lib/modules/6/kernel/lone.ko": string(other.Sign(t, module, nil))})
	fsys["boot/vmlinuz-6"].ModTime = time.Unix(1, 0)
	k := Open(machineOf(fsys), fact.Options{Image: true, Kernel: "6", Detail: fact.DetailSignatures})
	status := func() (s fact.SignatureStatus) {
		for m, err := range k.Installed(t.Context(), new(fact.Report)) {
			if err == nil && m.Name == "lone" {
				s = m.Signature.Status
			}
		}
		return s
	}
	if got := status(); got != fact.SignatureUnchecked {
		t.Error(got)
	}
	fsys["boot/vmlinuz-6"].Data = append(fsys["boot/vmlinuz-6"].Data[:0:0], kernelOf(other)...)
	fsys["boot/vmlinuz-6"].ModTime = time.Unix(2, 0)
	if got := status(); got != fact.SignatureValid {
		t.Error(got)
	}
}

// TestEFISignatures reads lists that make sense, and those before one that does not.
func TestEFISignatures(t *testing.T) {
	cert := string(linuxtest.NewKey(t, "a", true).Cert.Raw)
	good := efiList(efiX509, cert) + efiList("0123456789abcdef", "what nobody knows") +
		efiList(efiSHA256, strings.Repeat("a", 32), strings.Repeat("b", 32)) +
		efiList(efiTBS256, strings.Repeat("c", 48))
	s, err := parseEFISignatures([]byte(good), "x", nil)
	if err != nil || len(s.certificates) != 1 || len(s.contents) != 2 || len(s.signed) != 1 ||
		s.signed[0] != strings.Repeat("63", 32) {
		t.Errorf("%+v, %v", s, err)
	}
	first := len(efiList(efiX509, cert))
	second := first + len(efiList("0123456789abcdef", "what nobody knows"))
	for n := 1; n < len(good); n++ {
		s, err := parseEFISignatures([]byte(good[:n]), "x", nil)
		if whole := n == first || n == second || len(s.contents) == 2 && len(s.signed) == 0; err == nil && !whole {
			t.Errorf("cut at %d: %+v", n, s)
		}
	}
	for name, change := range map[string]int{"size": 16, "header": 20, "entry": 24} {
		bad := []byte(good)
		binary.LittleEndian.PutUint32(bad[change:], 0xfffffff0)
		if s, err := parseEFISignatures(bad, "x", nil); err == nil || len(s.certificates) > 0 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func FuzzEFISignatures(f *testing.F) {
	f.Add([]byte(efiList(efiX509, "x") + efiList(efiSHA256, strings.Repeat("a", 32))))
	f.Fuzz(func(t *testing.T, b []byte) {
		budget := fact.NewBudget(0)
		item := budget.Item(int64(len(b)))
		s, _ := parseEFISignatures(b, "x", item)
		item.Done()
		if n := len(s.certificates) + len(s.contents) + len(s.signed); n*efiOwnerSize > len(b) {
			t.Errorf("%d entries in %d bytes", n, len(b))
		}
	})
}
