// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sign"
)

// The variables of shim and of the firmware with certificates and digests. shim's are in a table of their own, too
// (mok-variables), which the kernel reads first.
const (
	efiSecurityGUID = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	mokVarsDir      = "sys/firmware/efi/mok-variables"
	varDB           = "db"
	varDBX          = "dbx"
	varMokList      = "MokListRT"
	varMokListX     = "MokListXRT"
	varMokTrusted   = "MokListTrustedRT"
	varMokIgnoreDB  = "MokIgnoreDB"
)

// Caps of a variable with certificates.
const (
	maxKeyVariable = 4 << 20
	efiListHead    = 28 // type, size, size of a header, size of an entry
	efiOwnerSize   = 16
	digestMemory   = 160 // of a digest that is kept
	certMemory     = 8   // for each byte of a certificate that is kept
)

// The types of lists (UEFI, EFI_SIGNATURE_LIST), in the byte order of a variable.
const (
	efiX509   = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
	efiSHA256 = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
	efiTBS256 = "\x92\xa4\xd2\x3b\xc0\x96\x79\x40\xb4\x20\xfc\xf9\x8e\xf1\x03\xed"
)

// efiSignatures are what the lists of a variable hold.
type efiSignatures struct {
	certificates []*sign.Certificate
	contents     []string // digests of what is signed, in hexadecimal
	signed       []string // digests of certificates' signed parts
	bad          error    // why a certificate among them could not be read; nil if all could
}

// parseEFISignatures reads the lists of a variable one after the other, as the kernel does (parse_efi_signature_list):
// what follows one that is invalid is lost. A certificate that cannot be read costs itself.
func parseEFISignatures(b []byte, name string, item *fact.Item) (found efiSignatures, err error) {
	bad := func(reason string) error { return &fact.ParseError{Source: name, Reason: reason} }
	for len(b) > 0 {
		if len(b) < efiListHead {
			return found, bad("ends within the head of a list")
		}
		le := binary.LittleEndian
		size, head, each := uint64(le.Uint32(b[16:])), uint64(le.Uint32(b[20:])), uint64(le.Uint32(b[24:]))
		entries := size - efiListHead - head
		switch {
		case size > uint64(len(b)), size < efiListHead+head:
			return found, bad("has a list that is longer than the variable")
		case each < efiOwnerSize, entries < each, entries%each != 0:
			return found, bad("has a list whose entries do not fill it")
		}
		if err := found.add(name, string(b[:16]), b[efiListHead+head:size], int(each), item); err != nil {
			return found, err
		}
		b = b[size:]
	}
	return found, nil
}

// add adds the entries of one list of the variable of that name.
func (s *efiSignatures) add(name, kind string, entries []byte, each int, item *fact.Item) error {
	for ; len(entries) > 0; entries = entries[each:] {
		data := entries[efiOwnerSize:each]
		switch {
		case kind == efiX509:
			if err := item.Keep(certMemory * int64(len(data))); err != nil {
				return err
			}
			c, err := sign.ParseCertificate(bytes.Clone(data))
			if err != nil {
				s.bad = fmt.Errorf("%s: %w", name, err)
				continue
			}
			s.certificates = append(s.certificates, c)
		case (kind == efiSHA256 || kind == efiTBS256) && len(data) >= 32:
			if err := item.Keep(digestMemory); err != nil {
				return err
			}
			list := &s.contents
			if kind == efiTBS256 {
				list = &s.signed
			}
			*list = append(*list, hex.EncodeToString(data[:32]))
		}
	}
	return nil
}

// A firmwareKeys is what the variables of a machine's firmware and of shim hold.
type firmwareKeys struct {
	// mok and db are the certificates of the machine's owner and of the firmware.
	mok, db []*sign.Certificate
	// trusted is set if shim says that the kernel may trust the owner's keys for modules.
	trusted bool
	// revoked are the two lists of what is revoked, by their names.
	revoked map[string]efiSignatures
	// unread is why there may be more; nil if all was read.
	unread error
	// unlisted is why more may be revoked: a list that is there could not be read. Without efivarfs it is nil: whether
	// there is a list is then as unknown as of a disk.
	unlisted error
}

// readFirmwareKeys reads the variables of a machine that runs. One that was not started by EFI has none.
func readFirmwareKeys(fsys fs.FS, r *fact.Report) *firmwareKeys {
	k := &firmwareKeys{revoked: make(map[string]efiSignatures)}
	if _, err := fs.Stat(fsys, "sys/firmware/efi"); err != nil {
		if _, sysErr := fs.Stat(fsys, "sys/firmware"); !errors.Is(err, fs.ErrNotExist) || sysErr != nil {
			k.unread = err
		}
		return k
	}
	if entries, err := fs.ReadDir(fsys, efiVarsDir); err != nil || len(entries) == 0 {
		if k.unread = err; err == nil || errors.Is(err, fs.ErrNotExist) {
			k.unread = notMounted("efivarfs")
		}
		return k
	}
	mok, _ := k.variable(fsys, varMokList, shimGUID, r)
	k.mok = mok.certificates
	if _, ignored := k.variable(fsys, varMokIgnoreDB, shimGUID, nil); !ignored {
		db, _ := k.variable(fsys, varDB, efiSecurityGUID, r)
		k.db = db.certificates
	}
	kept := k.unread
	k.unread = nil
	k.revoked[varDBX], _ = k.variable(fsys, varDBX, efiSecurityGUID, r)
	k.revoked[varMokListX], _ = k.variable(fsys, varMokListX, shimGUID, r)
	if k.unlisted = k.unread; kept != nil {
		k.unread = kept
	}
	var err error
	if k.trusted, err = ownersKeysTrusted(fsys); err != nil {
		k.unread = err
	}
	return k
}

// ownersKeysTrusted reports whether shim says that the kernel may trust the owner's keys for modules. The kernel asks
// shim's own table alone (uefi_check_trust_mok_keys).
func ownersKeysTrusted(fsys fs.FS) (bool, error) {
	_, err := fs.Stat(fsys, mokVarsDir+"/"+varMokTrusted)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// variable reads one variable, and says whether it is there. Without a report it is not decoded. A certificate in it
// that cannot be read may be one that the kernel reads: its decoder takes any BER.
func (k *firmwareKeys) variable(fsys fs.FS, name, guid string, r *fact.Report) (found efiSignatures, there bool) {
	file, attributes := mokVarsDir+"/"+name, 0
	data, err := limit.ReadFile(fsys, file, maxKeyVariable)
	if guid != shimGUID || errors.Is(err, fs.ErrNotExist) {
		file, attributes = efiVarsDir+"/"+name+"-"+guid, 4
		data, err = limit.ReadFile(fsys, file, maxKeyVariable)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return found, false
	}
	if err == nil && r != nil {
		item := r.Budget.Item(int64(len(data)))
		found, err = parseEFISignatures(data[min(attributes, len(data)):], file, item)
		item.Done()
		err = cmp.Or(err, found.bad)
	}
	if err != nil {
		k.unread = err
		if r != nil {
			r.Problem(SourceEFI, "", "signature", err)
		}
	}
	return found, true
}
