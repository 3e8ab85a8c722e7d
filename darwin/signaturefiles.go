// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// The files of a signature that is not inside the code: the code directory, and who signed it (Security,
// BundleDiskRep::metaData). Bundles without code have them, and kexts of Mac OS X 10.6 to 10.8.
const (
	fileDirectory   = "_CodeSignature/CodeDirectory"
	fileSignature   = "_CodeSignature/CodeSignature"
	fileRequirement = "_CodeSignature/CodeRequirements"
)

// signatureFiles reads a signature that is kept in files beside the code; one with Present no if there is no such
// signature. item pays for what is compared with it.
func (r *bundleReading) signatureFiles(item *fact.Item) (CodeSignature, error) {
	c := CodeSignature{files: true, item: item}
	name := path.Join(r.where.contents, fileDirectory)
	directory, err := r.kept(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return CodeSignature{Present: fact.No}, nil
	case fact.CodeOf(err) == fact.CodeOlder:
		return CodeSignature{}, nil // whether there is one is unknown, which costs a list nothing
	case err != nil:
		return CodeSignature{}, err
	}
	if int64(len(directory)) < 8 || int64(be32(directory, 4)) != int64(len(directory)) {
		return CodeSignature{}, signatureError(name, "code directory of %d bytes", len(directory))
	}
	if err := c.directoryBlob(name, directory); err != nil {
		return CodeSignature{}, err
	}
	if len(c.directories) == 0 {
		return CodeSignature{}, signatureError(name, "no code directory with a digest that can be used")
	}
	c.primary = directory
	c.choose()
	c.Present = fact.Yes
	name = path.Join(r.where.contents, fileRequirement)
	requirement, err := r.kept(name)
	switch {
	case err == nil:
		c.parts = map[uint32][]byte{specialRequirement: requirement}
	case !errors.Is(err, fs.ErrNotExist):
		return c, err
	}
	name = path.Join(r.where.contents, fileSignature)
	c.cms, err = r.kept(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if len(c.cms) >= 8 && be32(c.cms, 0) == magicCMS {
		c.cms = c.cms[8:]
	}
	return c, c.readCMS(name)
}

// kept reads a small file of the bundle, which is kept with its signature.
func (r *bundleReading) kept(name string) ([]byte, error) {
	data, item, err := limit.ReadItem(r.FS, name, limit.PlistBytes, r.report.Budget)
	item.Done()
	return data, err
}

// readCodeless reads the signature of a bundle without code, whose Info.plist is signed in place of the code
// (BundleDiskRep::setup).
func (r *bundleReading) readCodeless(info []byte) {
	item := r.report.Budget.Content(info)
	defer item.Done()
	sig, err := r.signatureFiles(item)
	if err != nil {
		r.lose(r.where.contents, "codeSignature", err)
	}
	if sig.Present == "" {
		return
	}
	r.signature = &sig
	if sig.Present == fact.No {
		return
	}
	r.readTicket()
	if r.Verify {
		size := int64(len(info))
		whole := &file{ReaderAt: bytes.NewReader(info), size: size, item: item}
		r.verify(r.where.info, whole, Slice{size: size}, info)
	}
}

// embeddedOrFiles returns the signature of a slice: that inside it, else that in files. Such a one may be of the whole
// file, whose extent is then returned in place of the slice.
func (r *bundleReading) embeddedOrFiles(executable string, f *file, s Slice) (CodeSignature, Slice, error) {
	sig, err := readCodeSignature(executable, f, s, f.item)
	if err != nil || sig.Present != fact.No || r.where.contents == "" {
		return sig, s, err
	}
	sig, err = r.signatureFiles(f.item)
	sig.Architecture = s.Architecture
	if sig.Present == fact.Yes && sig.directory.codeLimit == f.size {
		sig.Architecture, s = "", Slice{size: f.size}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", strings.TrimPrefix(fileDirectory, "/"), err)
	}
	return sig, s, err
}
