// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"bytes"
	"crypto"
	_ "crypto/md5" // for [File.Digest]
	_ "crypto/sha1"
	_ "crypto/sha256"
	"encoding/hex"
	"hash"

	"github.com/kernelext/kernelext/internal/hashing"
)

// pageSize is the unit of page hashes on every Windows.
const pageSize = 4096

// Hashes are the digests of a driver's file, in lower-case hexadecimal. The authentihash leaves
// out what signing changes, so it names the code; the others name the file. The first-page hash
// is of the headers alone and is one of the two that Microsoft's block list uses. A digest that the program may not
// make (GODEBUG=fips140=only) is empty.
type Hashes struct {
	SHA256             string `json:"sha256,omitzero"`             // of every byte; empty if a capture has none
	SHA1               string `json:"sha1,omitzero"`               // of every byte
	MD5                string `json:"md5,omitzero"`                // of every byte
	AuthentihashSHA256 string `json:"authentihashSha256,omitzero"` // empty when it is not an image file
	AuthentihashSHA1   string `json:"authentihashSha1,omitzero"`   // empty when it is not an image file
	FirstPageSHA256    string `json:"firstPageSha256,omitzero"`    // empty when the headers exceed a page
	FirstPageSHA1      string `json:"firstPageSha1,omitzero"`      // empty when the headers exceed a page
	Imphash            string `json:"imphash,omitzero"`            // only of a capture; a file's: File.Imphash
}

// Whole reports whether the digests of every byte are known.
func (h *Hashes) Whole() bool { return h.SHA256 != "" && h.SHA1 != "" && h.MD5 != "" }

// Hashes returns the digests of the file; nil unless it was parsed from bytes.
func (p *File) Hashes() *Hashes {
	if p.img == nil {
		return nil
	}
	return &Hashes{
		SHA256:             hex.EncodeToString(p.img.flat(crypto.SHA256)),
		SHA1:               hex.EncodeToString(p.img.flat(crypto.SHA1)),
		MD5:                hex.EncodeToString(p.img.flat(crypto.MD5)),
		AuthentihashSHA256: hex.EncodeToString(p.img.authentihash(crypto.SHA256)),
		AuthentihashSHA1:   hex.EncodeToString(p.img.authentihash(crypto.SHA1)),
		FirstPageSHA256:    hex.EncodeToString(p.img.firstPage(crypto.SHA256)),
		FirstPageSHA1:      hex.EncodeToString(p.img.firstPage(crypto.SHA1)),
	}
}

// HasBytes reports whether the file's bytes are there: it was parsed from bytes, and not released.
func (p *File) HasBytes() bool { return p.img != nil }

// Release lets go of the file's bytes, which are many times what is known of them. Nothing that is made of them can be
// asked for then: digests, the certificate table, the version resource.
func (p *File) Release() { p.img = nil }

// Digest returns the digest of every byte; nil when the algorithm is not known, or may not be used.
func (p *File) Digest(alg crypto.Hash) []byte {
	if p.img == nil {
		return nil
	}
	return p.img.flat(alg)
}

// Authentihash returns the digest that Authenticode signs; nil when the algorithm is not known, or may not be used.
func (p *File) Authentihash(alg crypto.Hash) []byte {
	if p.img == nil {
		return nil
	}
	return p.img.authentihash(alg)
}

// UnpaddedAuthentihash returns the digest without the padding to a multiple of eight bytes, which some signers leave
// out; nil when it does not differ.
func (p *File) UnpaddedAuthentihash(alg crypto.Hash) []byte {
	if p.img == nil || len(p.img.b)%8 == 0 || p.img.hasCertificates() {
		return nil
	}
	return p.img.unpadded(alg)
}

// authentihash covers the file without the checksum, the certificate table's directory entry and
// the certificate table itself: the whole file in its order, so that bytes between sections and
// after them count, and bytes of two sections count once. A file without the table is padded with
// zero bytes to a multiple of eight first, as the signer does, so that the digest is the same before
// and after signing.
func (m *image) authentihash(alg crypto.Hash) []byte {
	return m.once(2*uint(alg), func() []byte { return m.newAuthentihash(alg) })
}

// flat is the digest of every byte.
func (m *image) flat(alg crypto.Hash) []byte {
	return m.once(2*uint(alg)+1, func() []byte { return hashing.Sum(alg, m.b) })
}

// once makes a digest unless it was made before: hashes, signatures and catalogs ask for the same ones. key is twice
// the number of the algorithm, and 1 for the digest of every byte.
func (m *image) once(key uint, sum func() []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.sums[key]; ok {
		return b
	}
	b := sum()
	if m.sums == nil {
		m.sums = map[uint][]byte{}
	}
	m.sums[key] = b
	return b
}

func (m *image) newAuthentihash(alg crypto.Hash) []byte {
	d, size := m.digest(alg)
	if d == nil {
		return nil
	}
	if pad := -size & 7; pad != 0 && !m.hasCertificates() {
		d.Write(make([]byte, pad))
	}
	return d.Sum(nil)
}

// unpadded is the authentihash without that padding; the same when the size is a multiple of 8.
func (m *image) unpadded(alg crypto.Hash) []byte {
	d, _ := m.digest(alg)
	if d == nil {
		return nil
	}
	return d.Sum(nil)
}

func (m *image) digest(alg crypto.Hash) (hash.Hash, int) {
	if !hashing.Usable(alg) {
		return nil, 0
	}
	d := alg.New()
	end := len(m.b)
	table, tableEnd, ok := m.certificateTable()
	if ok {
		end = table
	}
	m.writeWithout(d, end)
	if ok {
		d.Write(m.b[tableEnd:])
	}
	return d, end
}

// writeWithout writes the bytes before end, leaving out checksum and directory entry.
func (m *image) writeWithout(d hash.Hash, end int) {
	sum, dir := m.checksumAt(), m.certificateAt()
	d.Write(m.b[:min(sum, end)])
	next := min(sum+4, end)
	if dir != 0 && dir >= next {
		d.Write(m.b[next:min(dir, end)])
		next = min(dir+8, end)
	}
	d.Write(m.b[next:end])
}

func (m *image) hasCertificates() bool {
	_, _, ok := m.certificateTable()
	return ok
}

// firstPage is the digest of the headers, less the bytes that signing changes, and then zero bytes
// up to the page's end. Headers of more than a page have none.
func (m *image) firstPage(alg crypto.Hash) []byte {
	n := int64(m.headerSize)
	if n > pageSize || n > int64(len(m.b)) || !hashing.Usable(alg) {
		return nil
	}
	d := alg.New()
	m.writeWithout(d, int(n))
	d.Write(make([]byte, pageSize-n))
	return d.Sum(nil)
}

// A PageHash is one entry of a page-hash table.
type PageHash struct {
	Offset uint32 // of the page in the file
	Digest []byte // of the page
}

// CheckPages compares a page-hash table with the file. It returns false, false if the form of the table cannot be
// checked.
func (p *File) CheckPages(alg crypto.Hash, pages []PageHash) (match, checked bool) {
	if p.img == nil {
		return false, false
	}
	return p.img.checkPages(alg, pages)
}

func (m *image) checkPages(alg crypto.Hash, pages []PageHash) (match, checked bool) {
	if len(pages) < 2 || pages[0].Offset != 0 || !hashing.Usable(alg) || m.headerSize > pageSize {
		return false, false
	}
	if !bytes.Equal(m.firstPage(alg), pages[0].Digest) {
		return false, true
	}
	d, zeros, sum := alg.New(), make([]byte, pageSize), []byte(nil)
	for i := 1; i < len(pages)-1; i++ {
		from, next := int64(pages[i].Offset), int64(pages[i+1].Offset)
		if next <= from || from > int64(len(m.b)) {
			return false, true
		}
		to := min(from+pageSize, next, int64(len(m.b)))
		d.Reset()
		d.Write(m.b[from:to])
		d.Write(zeros[:pageSize-(to-from)])
		if !bytes.Equal(d.Sum(sum[:0]), pages[i].Digest) {
			return false, true
		}
	}
	return true, true
}
