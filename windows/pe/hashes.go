// SPDX-License-Identifier: Apache-2.0

package pe

import (
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// pageSize is the unit of page hashes on every Windows.
const pageSize = 4096

// Hashes are the digests of a driver's file, in lower-case hexadecimal. The authentihash leaves
// out what signing changes, so it names the code; the others name the file. The first-page hash
// is of the headers alone and is one of the two that Microsoft's block list uses.
type Hashes struct {
	SHA256             string `json:"sha256,omitzero"`             // of every byte; empty if a text capture does not say
	SHA1               string `json:"sha1,omitzero"`               // of every byte
	MD5                string `json:"md5,omitzero"`                // of every byte
	AuthentihashSHA256 string `json:"authentihashSha256,omitzero"` // empty when it is no image file
	AuthentihashSHA1   string `json:"authentihashSha1,omitzero"`   // empty when it is no image file
	FirstPageSHA256    string `json:"firstPageSha256,omitzero"`    // empty when the headers exceed a page
	FirstPageSHA1      string `json:"firstPageSha1,omitzero"`      // empty when the headers exceed a page
	Imphash            string `json:"imphash,omitzero"`            // only of a text capture; a file's is in File.Imphash
}

// Hashes returns the digests of the file; nil unless it was parsed from bytes.
func (p *File) Hashes() *Hashes {
	if p.img == nil {
		return nil
	}
	b := p.img.b
	s256, s1, m5 := sha256.Sum256(b), sha1.Sum(b), md5.Sum(b)
	return &Hashes{
		SHA256:             hex.EncodeToString(s256[:]),
		SHA1:               hex.EncodeToString(s1[:]),
		MD5:                hex.EncodeToString(m5[:]),
		AuthentihashSHA256: hex.EncodeToString(p.img.authentihash(crypto.SHA256)),
		AuthentihashSHA1:   hex.EncodeToString(p.img.authentihash(crypto.SHA1)),
		FirstPageSHA256:    hex.EncodeToString(p.img.firstPage(crypto.SHA256)),
		FirstPageSHA1:      hex.EncodeToString(p.img.firstPage(crypto.SHA1)),
	}
}

// Bytes returns the file; nil unless it was parsed from bytes.
func (p *File) Bytes() []byte {
	if p.img == nil {
		return nil
	}
	return p.img.b
}

// Authentihash returns the digest that Authenticode signs; nil when the algorithm is not known.
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
// behind them count, and bytes of two sections count once. A file without the table is padded with
// zero bytes to a multiple of eight first, as the signer does, so that the digest is the same before
// and after signing.
//
// Hashes and signatures ask for the same digest: each is made once.
func (m *image) authentihash(alg crypto.Hash) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if sum, ok := m.sums[alg]; ok {
		return sum
	}
	sum := m.newAuthentihash(alg)
	if m.sums == nil {
		m.sums = map[crypto.Hash][]byte{}
	}
	m.sums[alg] = sum
	return sum
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
	if !alg.Available() {
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
	if n > pageSize || n > int64(len(m.b)) || !alg.Available() {
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
	Digest string // hexadecimal
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
	if len(pages) < 2 || pages[0].Offset != 0 || !alg.Available() || m.headerSize > pageSize {
		return false, false
	}
	if hex.EncodeToString(m.firstPage(alg)) != pages[0].Digest {
		return false, true
	}
	for i := 1; i < len(pages)-1; i++ {
		from, next := int64(pages[i].Offset), int64(pages[i+1].Offset)
		if next <= from || from > int64(len(m.b)) {
			return false, true
		}
		to := min(from+pageSize, next, int64(len(m.b)))
		d := alg.New()
		d.Write(m.b[from:to])
		d.Write(make([]byte, pageSize-(to-from)))
		if hex.EncodeToString(d.Sum(nil)) != pages[i].Digest {
			return false, true
		}
	}
	return true, true
}
