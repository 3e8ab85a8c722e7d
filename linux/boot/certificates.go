// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sign"
)

// A CertificateList is a list of X.509 certificates that was compiled into a kernel (certs/system_certificates.S,
// certs/revocation_certificates.S): DER after DER, and a word with the list's length after it. Nothing else in a
// kernel has that form.
type CertificateList struct {
	// Certificates are the list's certificates, in their order.
	Certificates []*sign.Certificate
	// Offset is where the list begins in the plain kernel, in bytes.
	Offset int64
	// ModuleKey is set if a second word holds the length of the first certificate (module_cert_size, Linux 5.13): it
	// belongs to the key that the build signed its modules with, and the list is the one of trusted keys.
	ModuleKey bool
}

// Caps of what is looked for in a plain kernel.
const (
	scanWindow     = 512 << 10 // bytes in memory
	maxCertList    = 256 << 10 // bytes of one list
	maxListTail    = 64 << 10  // bytes between a list and its length: SYSTEM_EXTRA_CERTIFICATE_SIZE, and alignment
	maxCertLists   = 16
	maxBuildIDs    = 64
	minCertificate = 256
	certWork       = 16 // steps that parsing a byte of a certificate takes
	certMemory     = 8  // bytes of memory for a byte of a certificate that is kept
	listAlign      = 8  // .align 8: of every architecture at least that
	wordAlign      = 256
	noteAlign      = 4
	noteBuildID    = 3   // NT_GNU_BUILD_ID
	maxBuildID     = 64  // bytes
	maxNote        = 128 // bytes of a note with a build id
)

var (
	certMark = []byte("\x30\x82")
	noteName = []byte("GNU\x00")
	elf32    = []byte("\x7fELF\x01")
)

// A kernelScanner looks for certificates and build ids in a plain kernel that is read as a stream.
type kernelScanner struct {
	in    io.Reader
	item  *fact.Item
	buf   []byte // a window of the stream
	base  int64  // where it begins
	at    int    // in buf: what is before was looked at
	eof   bool
	is32  bool // an ELF file of 32 bits
	image *KernelImage
}

// scan goes through the stream.
func (s *kernelScanner) scan() error {
	s.buf = make([]byte, 0, scanWindow)
	for {
		if err := s.fill(minCertificate); err != nil {
			return err
		}
		s.is32 = s.is32 || s.base == 0 && bytes.HasPrefix(s.buf, elf32)
		i := bytes.Index(s.buf[s.at:], certMark)
		switch {
		case i >= 0:
			s.at += i
		case s.eof:
			return nil
		default:
			s.at = len(s.buf) - len(certMark) + 1
			continue
		}
		if err := s.fill(minCertificate); err != nil {
			return err
		}
		length, err := s.list()
		if err != nil {
			return err
		}
		s.at += max(length, 1)
	}
}

// fill makes sure that n bytes from at on are in the window, as far as the stream has so many.
func (s *kernelScanner) fill(n int) error {
	if s.eof || len(s.buf)-s.at >= n {
		return nil
	}
	rest := copy(s.buf, s.buf[s.at:])
	if err := s.item.Work(int64(rest) / 8); err != nil {
		return err
	}
	s.base, s.buf, s.at = s.base+int64(s.at), s.buf[:rest], 0
	for len(s.buf) < scanWindow && !s.eof {
		got, err := s.in.Read(s.buf[len(s.buf):scanWindow])
		s.buf = s.buf[:len(s.buf)+got]
		if workErr := s.item.Work(int64(got)); workErr != nil {
			return workErr
		}
		switch s.eof = err == io.EOF; {
		case err != nil && !s.eof:
			return err
		case s.base+int64(len(s.buf)) > maxKernelPlain:
			return errPlainSize
		}
	}
	s.notes(max(rest-maxNote, 0))
	return nil
}

// notes looks for GNU build ids (NT_GNU_BUILD_ID) from a place of the window on. Those of a vDSO are among them.
func (s *kernelScanner) notes(from int) {
	const head = 12
	for at := from; ; {
		i := bytes.Index(s.buf[at:], noteName)
		if i < 0 || len(s.image.BuildIDs) == maxBuildIDs {
			return
		}
		start := at + i - head
		at += i + len(noteName)
		if start < 0 || (s.base+int64(start))%noteAlign != 0 {
			continue
		}
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			h := s.buf[start:]
			size := int(order.Uint32(h[4:]))
			if order.Uint32(h) == 4 && order.Uint32(h[8:]) == noteBuildID && size >= 8 && size <= maxBuildID &&
				at+size <= len(s.buf) {
				s.image.addBuildID(s.buf[at : at+size])
			}
		}
	}
}

// isCertificate reports whether b may begin with a certificate in the one form that the kernel takes
// (x509_load_certificate_list): a SEQUENCE with a length of two bytes. The one in it, the signed part, may be shorter.
func isCertificate(b []byte) bool {
	return len(b) >= minCertificate && bytes.HasPrefix(b, certMark) && b[4] == certMark[0] && (b[5] == 0x81 ||
		b[5] == 0x82) && certificateSize(b) >= minCertificate
}

// certificateSize returns the length that a certificate's head says.
func certificateSize(b []byte) int { return 4 + int(binary.BigEndian.Uint16(b[2:])) }

// list reads consecutive certificates from the scanner's place on, and adds to the image the list that ends with them,
// if its length confirms where it begins. It returns how many bytes were looked at.
func (s *kernelScanner) list() (length int, err error) {
	offset := s.base + int64(s.at)
	if offset%listAlign != 0 {
		return 0, nil
	}
	var run []*sign.Certificate
	for length < maxCertList {
		c, err := s.certificate(length)
		if err != nil {
			return 0, err
		}
		if c == nil {
			break
		}
		run = append(run, c)
		length += len(c.Raw)
	}
	if length == 0 {
		return 0, nil
	}
	if err := s.fill(length + maxListTail + 2*wordAlign); err != nil {
		return 0, err
	}
	tail := listTail{b: s.buf[s.at+length:], at: offset + int64(length), is32: s.is32}
	tail.read()
	for i, start := 0, 0; i < len(run); i++ {
		list := CertificateList{Certificates: run[i:], Offset: offset + int64(start)}
		confirmed := false
		if list.Offset%listAlign == 0 {
			confirmed, list.ModuleKey = tail.confirm(uint32(length-start), uint32(len(run[i].Raw)))
		}
		if confirmed {
			return length, s.keep(&list, s.buf[s.at+start:s.at+length])
		}
		start += len(run[i].Raw)
	}
	return length, nil
}

// certificate reads the certificate that may begin so many bytes after the scanner's place; nil for none.
func (s *kernelScanner) certificate(skip int) (*sign.Certificate, error) {
	if err := s.fill(skip + minCertificate); err != nil || !isCertificate(s.buf[min(s.at+skip, len(s.buf)):]) {
		return nil, err
	}
	size := certificateSize(s.buf[s.at+skip:])
	if err := s.fill(skip + size); err != nil || len(s.buf)-s.at < skip+size {
		return nil, err
	}
	if err := s.item.Work(certWork * int64(size)); err != nil {
		return nil, err
	}
	c, err := sign.ParseCertificate(s.buf[s.at+skip : s.at+skip+size])
	if err != nil || len(c.Raw) != size {
		return nil, nil
	}
	return c, nil
}

// keep adds a list to the image, with bytes of its own: those of the window change.
func (s *kernelScanner) keep(list *CertificateList, window []byte) error {
	if err := s.item.Keep(certMemory * int64(len(window))); err != nil {
		return err
	}
	rest := bytes.Clone(window)
	for i, c := range list.Certificates {
		own, err := sign.ParseCertificate(rest[:len(c.Raw)])
		if err != nil {
			return err
		}
		list.Certificates[i], rest = own, rest[len(c.Raw):]
	}
	if len(s.image.Lists) == maxCertLists { // one that revokes may be among the others
		return &fact.ParseError{Source: s.image.File, Field: "certificates", Err: fact.ErrTooLarge,
			Reason: fmt.Sprintf("more than %d lists of certificates", maxCertLists)}
	}
	s.image.Lists = append(s.image.Lists, *list)
	return nil
}

// A listTail holds the bytes after a list of certificates.
type listTail struct {
	b     []byte
	at    int64 // where it begins in the kernel
	is32  bool  // the kernel's words have 32 bits
	words []int // the offsets of its first words of four bytes that are not zero, at most two
}

// read finds the first words that are not zero. It finds none if the first bytes are not a word.
func (t *listTail) read() {
	pos := int(-t.at & 3)
	if pos > len(t.b) || bytes.Count(t.b[:pos], []byte{0}) != pos {
		return
	}
	for ; pos+4 <= min(len(t.b), maxListTail+wordAlign) && len(t.words) < 2; pos += 4 {
		if binary.LittleEndian.Uint32(t.b[pos:]) != 0 {
			t.words = append(t.words, pos)
		}
	}
}

// confirm reports whether the tail says that a list of that length ends before it: a word that holds the length
// follows, with only zeros before it but for one word of four bytes, how much of the extra area is used
// (system_extra_cert_used). moduleKey says that a second word holds the length of the first certificate.
func (t *listTail) confirm(length, first uint32) (confirmed, moduleKey bool) {
	for _, pos := range t.words {
		switch {
		case binary.LittleEndian.Uint32(t.b[pos:]) == length && t.isWord(pos):
			return true, t.hasModuleWord(pos, first, binary.LittleEndian)
		case binary.BigEndian.Uint32(t.b[pos:]) == length:
			// The bytes before are zeros, or the used count of a kernel of 32 bits.
			return true, t.hasModuleWord(pos, first, binary.BigEndian)
		}
	}
	return false, false
}

// isWord reports whether a little-endian number is a word of four bytes, or the low half of one of eight.
func (t *listTail) isWord(pos int) bool {
	return t.is32 || (t.at+int64(pos))%8 == 0 &&
		(pos+8 > len(t.b) || binary.LittleEndian.Uint32(t.b[pos+4:]) == 0)
}

// hasModuleWord reports whether the word after the one at pos holds the length of the first certificate. It is aligned
// by 8, which an assembler takes as 2^8 on some architectures.
func (t *listTail) hasModuleWord(pos int, first uint32, order binary.ByteOrder) bool {
	for _, align := range []int64{listAlign, wordAlign} {
		next := int((t.at+int64(pos)+align)/align*align - t.at)
		if next+8 > len(t.b) {
			continue
		}
		high := order == binary.BigEndian && binary.BigEndian.Uint32(t.b[next:]) == 0 // of eight bytes
		if order.Uint32(t.b[next:]) == first || high && binary.BigEndian.Uint32(t.b[next+4:]) == first {
			return true
		}
	}
	return false
}

// addBuildID adds a build id, once.
func (k *KernelImage) addBuildID(id []byte) {
	if text := hex.EncodeToString(id); !slices.Contains(k.BuildIDs, text) {
		k.BuildIDs = append(k.BuildIDs, text)
	}
}
