// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hostfs"
	"github.com/kernelext/kernelext/internal/limit"
)

// A Bundle is a kext or DriverKit extension on disk.
type Bundle struct {
	// Path is the bundle's folder, from the machine's root: "/Library/Extensions/X.kext".
	Path string `json:"path"`
	BundleInfo
	// ExecutablePath is the file with the code; empty if the bundle has no code.
	ExecutablePath string `json:"executablePath,omitzero"`
	// ExecutableSize is that file's size in bytes.
	ExecutableSize fact.Count `json:"executableSize,omitzero"`
	// Mode are the permissions of the bundle's folder. The system loads only what root alone can
	// write.
	Mode string `json:"mode,omitzero"`
	// Owner is the user's and the group's number of the bundle's folder, "0:0" for root:wheel; empty where the source
	// of files does not say.
	Owner string `json:"owner,omitzero"`
	// Slices are the architectures that the code is built for, in the file's order; only with Detail
	// Files.
	Slices []Slice `json:"slices,omitzero"`

	// allSlices says that Slices are all of the code's, and not none.
	allSlices bool
	// signature is the code signature; nil if it was not read. It belongs to the slice of the architecture that was
	// asked for, else to the first.
	signature *CodeSignature
}

// A bundleReader says what to read of bundles.
type bundleReader struct {
	// FS is rooted at the machine's root.
	FS fs.FS
	// Architecture is the kernel's: it chooses variants of properties and slices; "" is unknown.
	Architecture string
	// Code reads the headers of the executable: architectures and UUIDs.
	Code bool
	// Signatures reads the code signatures; with Verify, all code and all sealed files are read and
	// compared with them.
	Signatures, Verify bool
	// Keys are certificates to which a signature may lead.
	Keys []fact.KeySet
	// MaxBytes is how much of one bundle is read to verify it; 0 means 512 MiB.
	MaxBytes int64

	left  *int64 // what of MaxBytes is left, for code inside a bundle; nil for a bundle by itself
	depth int    // how many bundles this one is inside of
}

// A layout is where a bundle keeps its parts.
type layout struct {
	root     string // the bundle
	contents string // where Info.plist and _CodeSignature are
	code     string // the folder of the executable
	info     string // the Info.plist
}

// findLayout distinguishes the two layouts: all below Contents, or flat, as DriverKit extensions and old kexts are.
func findLayout(fsys fs.FS, dir string) (layout, error) {
	deep := layout{dir, path.Join(dir, "Contents"), path.Join(dir, "Contents/MacOS"),
		path.Join(dir, "Contents/Info.plist")}
	_, err := fs.Stat(fsys, deep.info)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return deep, err
	}
	flat := layout{dir, dir, dir, path.Join(dir, "Info.plist")}
	if _, flatErr := fs.Stat(fsys, flat.info); flatErr != nil {
		return deep, err
	}
	return flat, nil
}

func (l layout) readInfo(fsys fs.FS) ([]byte, error) {
	return limit.ReadFile(fsys, l.info, limit.PlistBytes)
}

// executable is the path of the code, "" for none. Its name must not lead elsewhere.
func (l layout) executable(info BundleInfo) (string, error) {
	if info.Executable == "" {
		return "", nil
	}
	if strings.ContainsAny(info.Executable, "/\x00") || info.Executable == "." || info.Executable == ".." {
		return "", &fact.ParseError{Source: l.info, Field: "CFBundleExecutable",
			Reason: fmt.Sprintf("%q is not a file name", info.Executable)}
	}
	return path.Join(l.code, info.Executable), nil
}

// A bundleReading is one reading of one bundle.
type bundleReading struct {
	bundleReader
	*Bundle
	where  layout
	report *fact.Report
}

func (r *bundleReading) lose(subject, field string, err error) {
	r.report.Problem(SourceBundles, "/"+subject, field, err)
}

// read reads the bundle in the folder dir, a path in the file system. A bundle without a readable Info.plist is an
// error; everything less is reported.
func (r bundleReader) read(dir string, report *fact.Report) (Bundle, error) {
	b := Bundle{Path: "/" + dir}
	where, err := findLayout(r.FS, dir)
	if err != nil {
		return b, err
	}
	data, err := where.readInfo(r.FS)
	if err != nil {
		return b, err
	}
	b.BundleInfo, err = parseInfo(where.info, data, r.Architecture, report)
	if err != nil {
		return b, err
	}
	reading := bundleReading{r, &b, where, report}
	if st, err := fs.Stat(r.FS, dir); err == nil {
		b.Mode = st.Mode().Perm().String()
		if sys, ok := hostfs.SysStat(st); ok && sys.FieldByName("Uid").IsValid() {
			b.Owner = fmt.Sprintf("%d:%d", hostfs.StatNumber(sys, "Uid"), hostfs.StatNumber(sys, "Gid"))
		}
	} else {
		reading.lose(dir, "bundle.mode", err)
	}
	executable, err := where.executable(b.BundleInfo)
	if err != nil {
		reading.lose(where.info, "executablePath", err)
		return b, nil
	}
	if executable == "" {
		if r.Signatures && b.Codeless == fact.Yes {
			reading.readCodeless(data)
		}
		return b, nil
	}
	b.ExecutablePath = "/" + executable
	if r.Code || r.Signatures {
		reading.readCode(executable, data)
	}
	return b, nil
}

// readCode reads the executable's headers and, if that was asked for, its signature.
func (r *bundleReading) readCode(executable string, info []byte) {
	f, err := openFile(r.FS, executable, r.report.Budget)
	if err != nil {
		r.lose(executable, "bundle.slices", err)
		return
	}
	defer f.Close()
	r.ExecutableSize = fact.CountOf(f.size)
	all, sliceErr := readSlices(executable, f, f.size, f.item)
	if sliceErr != nil {
		r.lose(executable, "bundle.slices", sliceErr)
	}
	r.Slices, r.allSlices = all, sliceErr == nil && len(all) > 0
	if len(all) == 0 || !r.Signatures {
		return
	}
	s := chooseSlice(all, r.Architecture)
	sig, s, err := r.embeddedOrFiles(executable, f, s)
	if err != nil {
		r.lose(executable, "codeSignature", err)
	}
	if sig.Present == "" {
		return
	}
	r.signature = &sig
	r.readTicket()
	if r.Verify && sig.Present == fact.Yes {
		r.verify(executable, f, s, info)
		if sliceErr != nil && r.Architecture == "" { // there is code that was compared with nothing
			sig.others = cmp.Or(sig.others, fact.SignatureUnchecked)
		}
	}
}

// verifyOthers compares the slices beside the first with their own signatures. resources is the content
// of CodeResources, nil if it was not read.
func (r *bundleReading) verifyOthers(f *file, used Slice, info, resources []byte) {
	executable := strings.TrimPrefix(r.ExecutablePath, "/")
	for _, s := range r.Slices {
		if s.offset == used.offset {
			continue
		}
		sig, err := readCodeSignature(executable, f, s, f.item)
		if err == nil && sig.Present == fact.Yes {
			sig.CodeFits, err = sig.codeFits(executable, f, s)
		}
		if err == nil && sig.Present == fact.Yes {
			err = sig.checkCMS(r.Keys)
		}
		if err != nil {
			r.lose(executable, "codeSignature."+s.Architecture, err)
		}
		sig.Seal = &Seal{Info: sig.sealed(specialInfo, info), checked: r.signature.Seal.checked}
		if resources != nil {
			sig.Seal.Resources = sig.sealed(specialResources, resources)
		}
		r.signature.join(&sig)
	}
}

// join lowers what is known of a signature to what is known of another slice's: a file is as good as its worst slice.
func (c *CodeSignature) join(other *CodeSignature) {
	status := signatureOf(other).Status
	if status == fact.SignatureNone {
		status = fact.SignatureUntrusted
		other.Reasons = []string{"it has no signature"}
	} else {
		other.Reasons = append(other.differences(), other.Reasons...)
	}
	if c.others == "" || worse(status, c.others) {
		c.others = status
	}
	for _, reason := range other.Reasons {
		if !slices.Contains(c.Reasons, reason) {
			c.Reasons = append(c.Reasons, other.Architecture+": "+reason)
		}
	}
}

// chooseSlice returns the slice that a kernel of the architecture would use. An arm64e kernel
// takes arm64e code, and an x86_64 one takes x86_64h if it can, which is not known here.
func chooseSlice(all []Slice, architecture string) Slice {
	for _, want := range []string{architecture, baseArch(architecture), architecture + "e"} {
		for _, s := range all {
			if want != "" && s.Architecture == want {
				return s
			}
		}
	}
	return all[0]
}

func baseArch(a string) string { return strings.TrimSuffix(strings.TrimSuffix(a, "e"), "h") }

// readTicket looks for a stapled notarization ticket: Contents/CodeResources that is not a list.
func (r *bundleReading) readTicket() {
	f, err := r.FS.Open(path.Join(r.where.contents, "CodeResources"))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.lose(r.where.contents, "codeSignature.notarized", err)
		}
		return
	}
	defer f.Close()
	head := make([]byte, 8)
	n, err := f.Read(head)
	// The ticket starts with "s8ch"; old bundles keep, or link, the list of files here.
	if err == nil && n >= 4 && bytes.Equal(head[:4], []byte("s8ch")) {
		r.signature.Notarized = fact.Yes
	}
}

// verify compares code, Info.plist and files with what was signed.
func (r *bundleReading) verify(executable string, f *file, s Slice, info []byte) {
	sig := r.signature
	maxBytes := r.MaxBytes
	if maxBytes == 0 {
		maxBytes = limit.File
	}
	if r.left == nil {
		r.left = &maxBytes
	}
	if *r.left -= f.size; *r.left < 0 {
		r.lose(executable, "codeSignature.codeFits", limit.TooLarge(executable, maxBytes))
		return
	}
	var err error
	if sig.CodeFits, err = sig.codeFits(executable, f, s); err != nil {
		r.lose(executable, "codeSignature.codeFits", err)
	}
	if err = sig.checkCMS(r.Keys); err != nil {
		r.lose(executable, "codeSignature.signatureFits", err)
	}
	resources := r.verifySeal(executable, info)
	if r.behindSignature(f) {
		note(&sig.Seal.Unsealed, strings.TrimPrefix(executable, r.where.contents+"/"))
	}
	sig.Reasons = append(sig.differences(), sig.Reasons...)
	if r.Architecture == "" && s.size < f.size { // no kernel is known to use but one of them
		r.verifyOthers(f, s, info, resources)
	}
}

// verifySeal compares the bundle's files with the list that was signed with it, and returns that list.
func (r *bundleReading) verifySeal(executable string, info []byte) []byte {
	sig := r.signature
	name := path.Join(r.where.contents, "_CodeSignature/CodeResources")
	resources, err := limit.ReadFile(r.FS, name, limit.PlistBytes)
	if err != nil {
		sig.Seal = &Seal{Info: sig.sealed(specialInfo, info)}
		switch listed := sig.directory.specialHash(specialResources) != nil; {
		case !errors.Is(err, fs.ErrNotExist):
			r.lose(name, "codeSignature.seal", err)
		case listed:
			sig.Seal.Resources = fact.No // it was taken away
		default:
			sig.Seal.checked = true
		}
		return nil
	}
	seal, err := r.checkSeal(strings.TrimPrefix(executable, r.where.contents+"/"), resources, r.left)
	if err != nil {
		r.lose(name, "codeSignature.seal", err)
		seal = &Seal{}
	}
	seal.Info, seal.Resources = sig.sealed(specialInfo, info), sig.sealed(specialResources, resources)
	seal.checked = seal.checked && seal.Resources == fact.Yes
	sig.Seal = seal
	return resources
}

// sealed compares data with the hash in a special slot of the directories; absent when the slot is empty, and for code
// by itself, whose Info.plist is a part of it.
func (c *CodeSignature) sealed(slot int, data []byte) fact.Tri {
	var fits fact.Tri
	if data == nil {
		return ""
	}
	for i := range c.directories {
		d := &c.directories[i]
		want := d.specialHash(slot)
		switch {
		case want == nil:
		case !bytes.Equal(d.sum(data), want):
			return fact.No
		default:
			fits = fact.Yes
		}
	}
	return fits
}

// readCode reads the headers of a Mach-O file, and the code signature of its first slice; nil when
// it cannot be read. An error with slices is about some of the file only.
func readCode(fsys fs.FS, name string, budget *fact.Budget) ([]Slice, *CodeSignature, error) {
	f, err := openFile(fsys, name, budget)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	all, err := readSlices(name, f, f.size, f.item)
	if len(all) == 0 {
		return nil, nil, err
	}
	sig, sigErr := readCodeSignature(name, f, all[0], f.item)
	if sig.Present == "" {
		return all, nil, errors.Join(err, sigErr)
	}
	return all, &sig, errors.Join(err, sigErr)
}
