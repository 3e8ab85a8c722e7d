// SPDX-License-Identifier: Apache-2.0

package pe

import "errors"

var errTablePlace = errors.New("certificate table is not after the sections, within the file")

// CertificateTable returns the certificate table; nil if the file has none. The error says that the header names one
// that is not after the headers and sections, within the file.
func (p *File) CertificateTable() ([]byte, error) {
	if p.img == nil {
		return nil, nil
	}
	start, end, ok := p.img.certificateTable()
	if ok {
		return p.img.b[start:end], nil
	}
	if p.img.claimsCertificates() {
		return nil, errTablePlace
	}
	return nil, nil
}

// Truncated reports whether the headers name bytes after the file's end, of a section or of the certificate table: the
// file is not whole. It is false once the bytes are released.
func (p *File) Truncated() bool {
	if p.img == nil {
		return false
	}
	end := p.img.sectionsEnd
	if p.img.claimsCertificates() {
		d := p.img.dirs[dirCertificate]
		end = max(end, int64(d.addr)+int64(d.size))
	}
	return end > int64(len(p.img.b))
}

// certificateTable returns where the certificate table lies; ok is false if the table is missing, or does not lie
// within the file after the headers and sections, in which case the file is hashed as one without a table, and its
// signature cannot fit.
func (m *image) certificateTable() (start, end int, ok bool) {
	if m.dirN <= dirCertificate {
		return 0, 0, false
	}
	d := m.dirs[dirCertificate]
	if d.addr == 0 || d.size == 0 {
		return 0, 0, false
	}
	from, to := int64(d.addr), int64(d.addr)+int64(d.size)
	if to > int64(len(m.b)) || from < m.sectionsEnd || from < int64(m.certificateAt())+8 {
		return 0, 0, false
	}
	return int(from), int(to), true
}

// claimsCertificates reports whether the header says that there is a certificate table, wherever.
func (m *image) claimsCertificates() bool {
	return m.dirN > dirCertificate && m.dirs[dirCertificate].addr != 0 && m.dirs[dirCertificate].size != 0
}
