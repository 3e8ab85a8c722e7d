// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// maxKeyFile is the largest file of certificates that is read, in bytes.
const maxKeyFile = 16 << 20

// ReadKeys reads files of certificates, for Options.Keys: PEM, whose blocks of other kinds are passed over, or one or
// more certificates in DER. Each file becomes a set of its own name, without folders. The error joins those of the
// files that could not be read, each with its name; the sets of the others are returned beside it.
func ReadKeys(fsys fs.FS, names ...string) ([]KeySet, error) {
	var sets []KeySet
	var errs []error
	for _, name := range names {
		certificates, err := readCertificates(fsys, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("lkm: read keys %s: %w", name, err))
			continue
		}
		sets = append(sets, KeySet{Name: path.Base(name), Certificates: certificates})
	}
	return sets, errors.Join(errs...)
}

func readCertificates(fsys fs.FS, name string) ([]*x509.Certificate, error) {
	b, err := limit.ReadFile(hostfs.Regular(fsys), name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	return parseCertificates(b)
}

func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var der []byte
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			der = append(der, block.Bytes...)
		}
	}
	if der == nil {
		der = b
	}
	certificates, err := x509.ParseCertificates(der)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case len(certificates) == 0:
		return nil, fmt.Errorf("%w: no certificate", ErrMalformed)
	}
	return certificates, nil
}
