// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"crypto"
	_ "crypto/sha1"   // the hashes that code directories use
	_ "crypto/sha256" // likewise
	_ "crypto/sha512" // likewise
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/sign"
)

// Code signature blobs, by their magic number and slot.
const (
	magicSuperBlob     = 0xfade0cc0
	magicCodeDirectory = 0xfade0c02
	magicCMS           = 0xfade0b01
	slotCodeDirectory  = 0
	slotAlternate      = 0x1000 // up to 0x1004
	slotCMS            = 0x10000
	specialInfo        = 1 // hash slots before the code's, counted backwards
	specialRequirement = 2
	specialResources   = 3
	maxSpecial         = 32 // slots that a directory may have before the code's; a dozen are in use
	maxSignature       = 16 << 20
	hashWork           = 4 // steps that a digest takes for each byte
	cmsWork            = 4 // steps that decoding takes for each byte of who signed it
	maxBlobs           = 64
)

// A CodeSignature is what a Mach-O file's code signature says of itself, and with Detail Signatures what was found when
// it was compared with the file and with Apple's roots.
type CodeSignature struct {
	// Present says whether there is a signature at all; every other field is empty when it is no.
	Present fact.Tri `json:"present,omitzero"`
	// Architecture is the slice that it belongs to; each slice has a signature of its own. On a machine it is the slice
	// that its kernel uses, and of a file by itself the first; there, the others must fit as well.
	Architecture string `json:"architecture,omitzero"`
	// Identifier is the signing identifier, usually the bundle id.
	Identifier string `json:"identifier,omitzero"`
	// TeamID is the developer team's; empty for Apple's own and ad hoc signatures.
	TeamID string `json:"teamId,omitzero"`
	// CDHash identifies the signed code: the first 20 bytes of the code directory's digest, as
	// hexadecimal digits. It is what KextPolicy and db.plist refer to.
	CDHash string `json:"cdHash,omitzero"`
	// HashType is the digest of the code directory chosen: sha1, sha256, sha256_truncated or sha384.
	HashType string `json:"hashType,omitzero"`
	// Flags are the code directory's flags as words, unknown bits as 0x….
	Flags []string `json:"flags,omitzero"`
	// AdHoc says whether it is signed by nobody (flag adhoc).
	AdHoc fact.Tri `json:"adHoc,omitzero"`
	// Platform is the platform that the code claims to be part of; 0 means no platform. Anybody can write it; Anchor is
	// proof.
	Platform fact.Count `json:"platform,omitzero"`
	// Signer is the common name of the certificate that signed; empty if there is no signer.
	Signer string `json:"signer,omitzero"`
	// Chain are the common names of the certificates that came along, in the file's order.
	Chain []string `json:"chain,omitzero"`
	// SignedAt is the signing time that the signer states, UTC.
	SignedAt time.Time `json:"signedAt,omitzero"`
	// TimestampedAt is the time that a time stamping authority vouches for, UTC; zero without one. Only with Detail
	// Signatures.
	TimestampedAt time.Time `json:"timestampedAt,omitzero"`
	// Notarized is yes when a notarization ticket is stapled to the bundle (Contents/CodeResources).
	// Absent says nothing: a ticket may be known to Apple only. The ticket is not validated.
	Notarized fact.Tri `json:"notarized,omitzero"`
	// SignatureFits says whether the signer's certificate made this signature over this code
	// directory. Only with Detail Signatures.
	SignatureFits fact.Tri `json:"signatureFits,omitzero"`
	// CodeFits says whether the file's code has the hashes that the code directory lists. Only with
	// Detail Signatures.
	CodeFits fact.Tri `json:"codeFits,omitzero"`
	// Seal compares the bundle's other files with what was signed. Only with Detail Signatures.
	Seal *Seal `json:"seal,omitzero"`
	// Anchor is how the chain of certificates ends, in codesign's words: "apple" for what Apple itself signed, "apple
	// generic" for any other chain to a root of Apple's. Empty without such a chain. Only with Detail Signatures.
	Anchor string `json:"anchor,omitzero"`
	// Program is under which of Apple's programs the certificate was issued: apple, developer_id, app_store or
	// development. Empty without an Anchor, and for other certificates.
	Program string `json:"program,omitzero"`
	// ForKexts says whether a Developer ID certificate may sign kexts; absent for any other.
	ForKexts fact.Tri `json:"forKexts,omitzero"`
	// Reasons are why the signature is invalid or untrusted, a sentence each; absent if it is neither.
	Reasons []string `json:"reasons,omitzero"`

	directory   codeDirectory   // the one that the system uses
	hashes      []string        // the hashes of directories, made when they are first asked for
	directories []codeDirectory // that one, and the one that is signed
	primary     []byte          // the code directory in the first slot, which is the one that is signed
	cms         []byte
	parts       map[uint32][]byte    // what special slots are of, by slot, but Info.plist and the list of files
	files       bool                 // the signature is in files beside the code
	keySet      string               // the key set that the signer leads to
	path        []*sign.Certificate  // the chain from the signer to a root; nil if it leads to none
	appleGiven  bool                 // Apple's roots were among them
	keysGiven   bool                 // there were keys to lead to
	forged      bool                 // it is not what its certificate was issued for
	item        *fact.Item           // pays for what is read and compared; of the file that it is in
	others      fact.SignatureStatus // the worst of the file's other slices; empty if the file has no other slice
}

// A codeDirectory is the part of a signature that lists the hashes.
type codeDirectory struct {
	raw       []byte
	rank      int // in hashTypes
	hash      crypto.Hash
	flags     uint32
	platform  byte
	team      string
	id        string
	hashSize  int
	pageSize  int64 // 0: one page for everything
	codeLimit int64
	hashes    int // offset of the first code hash
	special   int // hashes before it
	code      int // hashes from it on
}

// hashTypes are the digests of code directories in the order in which the system prefers them.
var hashTypes = []struct {
	number byte
	name   string
	hash   crypto.Hash
}{
	{1, "sha1", crypto.SHA1},
	{3, "sha256_truncated", crypto.SHA256},
	{2, "sha256", crypto.SHA256},
	{4, "sha384", crypto.SHA384},
}

func hashType(number byte) (rank int, ok bool) {
	for i, t := range hashTypes {
		if t.number == number {
			return i, true
		}
	}
	return 0, false
}

// signatureFlags are the words for a code directory's flags, as codesign(1) prints them.
var signatureFlags = []struct {
	bit  uint32
	word string
}{
	{0x1, "host"}, {0x2, "adhoc"}, {0x4, "get-task-allow"}, {0x8, "installer"}, {0x10, "forced-library-validation"},
	{0x100, "hard"}, {0x200, "kill"}, {0x400, "expires"}, {0x800, "restrict"}, {0x1000, "enforcement"},
	{0x2000, "library-validation"}, {0x10000, "runtime"}, {0x20000, "linker-signed"},
}

func flagWords(flags uint32) []string {
	words := []string{}
	for _, f := range signatureFlags {
		if flags&f.bit != 0 {
			words = append(words, f.word)
			flags &^= f.bit
		}
	}
	if flags != 0 {
		words = append(words, fmt.Sprintf("0x%x", flags))
	}
	return words
}

// readCodeSignature reads the code signature of one slice of the file r. A slice without one gives
// Present: no. The error is a fact.ParseError, or the reader's. item pays, for what is compared with it later, too.
func readCodeSignature(source string, r io.ReaderAt, s Slice, item *fact.Item) (CodeSignature, error) {
	if s.signature.size == 0 {
		return CodeSignature{Present: fact.No, Architecture: s.Architecture}, nil
	}
	if s.signature.size > maxSignature {
		return CodeSignature{}, signatureError(source, "%d bytes: more than %d", s.signature.size, maxSignature)
	}
	if err := item.Hold(s.signature.size); err != nil {
		return CodeSignature{}, fmt.Errorf("%s: %w", source, err)
	}
	in := io.NewSectionReader(r, s.offset, 1<<62)
	blob, err := readAt(source, in, s.size, s.signature.offset, s.signature.size)
	if err != nil {
		return CodeSignature{}, err
	}
	c, err := parseCodeSignature(source, blob, item)
	c.Architecture = s.Architecture
	return c, err
}

func signatureError(source, format string, args ...any) error {
	return &fact.ParseError{Source: source, Field: "codeSignature", Reason: fmt.Sprintf(format, args...)}
}

// parseCodeSignature reads an embedded signature, the SuperBlob that LC_CODE_SIGNATURE points to.
func parseCodeSignature(source string, b []byte, item *fact.Item) (CodeSignature, error) {
	c := CodeSignature{parts: map[uint32][]byte{}, item: item}
	if len(b) < 12 {
		return c, signatureError(source, "%d bytes", len(b))
	}
	magic, length, count := be32(b, 0), be32(b, 4), be32(b, 8)
	switch {
	case magic != magicSuperBlob:
		return c, signatureError(source, "magic %08x", magic)
	case int64(length) > int64(len(b)) || length < 12:
		return c, signatureError(source, "length %d in %d bytes", length, len(b))
	case count > maxBlobs || int64(count)*8 > int64(length)-12:
		return c, signatureError(source, "%d blobs in %d bytes", count, length)
	}
	b = b[:length]
	for i := range int(count) {
		slot := be32(b, 12+8*i)
		blob, err := subBlob(source, b, be32(b, 16+8*i))
		if err != nil {
			return CodeSignature{}, err
		}
		switch {
		case slot == slotCodeDirectory && c.primary == nil:
			c.primary = blob
			fallthrough
		case slot >= slotAlternate && slot < slotAlternate+5:
			if err := c.directoryBlob(source, blob); err != nil {
				return CodeSignature{}, err
			}
		case slot == slotCMS && be32(blob, 0) == magicCMS:
			c.cms = blob[8:]
		case slot < maxSpecial:
			c.parts[slot] = blob
		}
	}
	if len(c.directories) == 0 {
		return CodeSignature{}, signatureError(source, "no code directory with a digest that can be used")
	}
	c.choose()
	c.Present = fact.Yes
	return c, c.readCMS(source)
}

// choose takes the directory that the system uses, that with the best digest, and of the others keeps the one that is
// signed.
func (c *CodeSignature) choose() {
	best := slices.MaxFunc(c.directories, func(a, b codeDirectory) int { return cmp.Compare(a.rank, b.rank) })
	kept := []codeDirectory{best}
	for _, d := range c.directories {
		if c.isPrimary(&d) && !c.isPrimary(&best) {
			kept = append(kept, d)
		}
	}
	c.directory, c.directories = best, kept
	c.Identifier, c.TeamID = best.id, best.team
	c.CDHash, c.HashType = hex.EncodeToString(best.digest()[:20]), hashTypes[best.rank].name
	c.Flags, c.AdHoc, c.Platform = flagWords(best.flags), fact.TriOf(best.flags&0x2 != 0),
		fact.CountOf(int64(best.platform))
}

// isPrimary reports whether a directory is the one in the first slot.
func (c *CodeSignature) isPrimary(d *codeDirectory) bool { return bytes.Equal(d.raw, c.primary) }

// digest is the digest of the directory itself.
func (d *codeDirectory) digest() []byte {
	h := d.hash.New()
	h.Write(d.raw)
	return h.Sum(nil)
}

// be32 reads a big-endian number.
func be32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

// subBlob returns the blob at offset at, with its header of 8 bytes.
func subBlob(source string, b []byte, at uint32) ([]byte, error) {
	if int64(at) > int64(len(b))-8 {
		return nil, signatureError(source, "blob at %d of %d", at, len(b))
	}
	length := be32(b, int(at)+4)
	if length < 8 || int64(length) > int64(len(b))-int64(at) {
		return nil, signatureError(source, "blob of %d bytes at %d of %d", length, at, len(b))
	}
	return b[at : at+length], nil
}

// directoryBlob takes a code directory. One whose digest is not known, or may not be used, is left out: another
// directory will do.
func (c *CodeSignature) directoryBlob(source string, b []byte) error {
	if len(b) < 44 || be32(b, 0) != magicCodeDirectory {
		return signatureError(source, "code directory of %d bytes", len(b))
	}
	rank, known := hashType(b[37])
	if !known || !hashing.Usable(hashTypes[rank].hash) {
		return nil
	}
	version := be32(b, 8)
	d := codeDirectory{
		raw: b, rank: rank, hash: hashTypes[rank].hash, flags: be32(b, 12), platform: b[38],
		hashSize: int(b[36]), hashes: int(be32(b, 16)),
		special: int(be32(b, 24)), code: int(be32(b, 28)), codeLimit: int64(be32(b, 32)),
	}
	if b[39] != 0 {
		d.pageSize = 1 << (b[39] & 31)
	}
	if version >= 0x20300 && len(b) >= 64 && binary.BigEndian.Uint64(b[56:]) != 0 {
		d.codeLimit = int64(binary.BigEndian.Uint64(b[56:]))
	}
	if err := d.validate(source); err != nil {
		return err
	}
	var err error
	if d.id, err = stringAt(source, b, be32(b, 20)); err != nil {
		return err
	}
	if version >= 0x20200 && len(b) >= 52 && be32(b, 48) != 0 {
		if d.team, err = stringAt(source, b, be32(b, 48)); err != nil {
			return err
		}
	}
	c.directories = append(c.directories, d)
	return nil
}

// validate checks that the hashes lie inside the directory.
func (d *codeDirectory) validate(source string) error {
	n := int64(len(d.raw))
	switch {
	case d.hashes < 0 || d.special < 0 || d.code < 0: // more than 31 bits
		return signatureError(source, "%d bytes", n)
	case d.hashSize < 20 || d.hashSize > d.hash.Size():
		return signatureError(source, "hashes of %d bytes", d.hashSize)
	case int64(d.hashes) > n || int64(d.code) > (n-int64(d.hashes))/int64(d.hashSize) ||
		int64(d.special) > int64(d.hashes)/int64(d.hashSize):
		return signatureError(source, "%d and %d hashes in %d bytes", d.special, d.code, n)
	case d.codeLimit < 0:
		return signatureError(source, "code limit %d", d.codeLimit)
	}
	return nil
}

func stringAt(source string, b []byte, at uint32) (string, error) {
	if int64(at) >= int64(len(b)) {
		return "", signatureError(source, "text at %d of %d", at, len(b))
	}
	end := bytes.IndexByte(b[at:], 0)
	if end < 0 || end > 1024 {
		return "", signatureError(source, "text at %d does not end", at)
	}
	return string(b[at : int(at)+end]), nil
}

// specialHash returns the hash in a special slot; nil if the slot is missing or all zero, which means that nothing was
// signed there.
func (d *codeDirectory) specialHash(slot int) []byte {
	if d.raw == nil || slot > d.special {
		return nil
	}
	h := d.raw[d.hashes-slot*d.hashSize : d.hashes-(slot-1)*d.hashSize]
	if bytes.Count(h, []byte{0}) == len(h) {
		return nil
	}
	return h
}

// sum is the directory's kind of hash of b.
func (d *codeDirectory) sum(b []byte) []byte {
	h := d.hash.New()
	h.Write(b)
	return h.Sum(nil)[:d.hashSize]
}

// partsFit compares the other parts of the signature, such as requirements and entitlements, with the hashes of the
// directories (StaticCode.cpp, validateNonResourceComponents). One that is listed must be there.
func (c *CodeSignature) partsFit() bool {
	for i := range c.directories {
		d := &c.directories[i]
		for slot := 1; slot <= min(d.special, maxSpecial-1); slot++ {
			want := d.specialHash(slot)
			if slot == specialInfo || slot == specialResources || want == nil {
				continue
			}
			if part, ok := c.parts[uint32(slot)]; !ok || !bytes.Equal(d.sum(part), want) {
				return false
			}
		}
	}
	return true
}

// codeFits compares the code with the hashes of the directories: that of the system, and that which is signed.
func (c *CodeSignature) codeFits(source string, r io.ReaderAt, s Slice) (fact.Tri, error) {
	for i := range c.directories {
		if err := c.item.Work(hashWork * min(c.directories[i].codeLimit, s.size)); err != nil {
			return "", fmt.Errorf("%s: %w", source, err)
		}
		if fits, err := c.directories[i].codeFits(source, r, s); fits != fact.Yes {
			return fits, err
		}
	}
	return fact.Yes, nil
}

// codeFits compares the code with the hashes of its pages. It reads the slice once.
func (d *codeDirectory) codeFits(source string, r io.ReaderAt, s Slice) (fact.Tri, error) {
	if d.codeLimit > s.size {
		return fact.No, nil
	}
	page := d.pageSize
	if page == 0 {
		page = max(d.codeLimit, 1)
	}
	if pages := (d.codeLimit + page - 1) / page; pages != int64(d.code) {
		return fact.No, nil
	}
	in := io.NewSectionReader(r, s.offset, d.codeLimit)
	buf := make([]byte, 64<<10)
	for i := range d.code {
		h := d.hash.New()
		n := min(page, d.codeLimit-int64(i)*page)
		if got, err := io.CopyBuffer(h, onlyReader{io.LimitReader(in, n)}, buf); err != nil {
			return "", err
		} else if got != n {
			return "", signatureError(source, "code ends after %d pages of %d", i, d.code)
		}
		if !bytes.Equal(h.Sum(nil)[:d.hashSize], d.raw[d.hashes+i*d.hashSize:d.hashes+(i+1)*d.hashSize]) {
			return fact.No, nil
		}
	}
	return fact.Yes, nil
}

// onlyReader hides the other methods of a reader, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }
