// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// maxNested bounds how deep code may lie inside other code; real kexts have plug-ins, no more.
const maxNested = 4

// nestedCode checks code inside the bundle, which has a signature of its own: that must be good by itself, and meet the
// requirement on the list, or have the listed hash (StaticCode.cpp, validateNestedCode; as "codesign --deep" does, of
// its resources too).
func (c *sealCheck) nestedCode(name string, entry node) error {
	file := path.Join(c.dir, name)
	st, err := fs.Lstat(c.fsys, file)
	switch {
	case err != nil:
		return ignoreAbsent(err, &c.seal.Missing, name)
	case st.Mode()&fs.ModeSymlink != 0:
		note(&c.seal.Changed, name) // the system follows no link to nested code
		return nil
	case c.reader.depth >= maxNested:
		return fmt.Errorf("%s: %w: code inside code, more than %d deep", name, fact.ErrTooLarge, maxNested)
	}
	sig, err := c.nestedSignature(file, st.IsDir())
	if err != nil {
		return ignoreAbsent(err, &c.seal.Missing, name)
	}
	reasons := sig.differences()
	if sig.SignatureFits == fact.No || sig.forged || sig.others == fact.SignatureInvalid {
		reasons = sig.Reasons
	}
	switch meets := sig.answers(entry); {
	case meets == fact.No:
		reasons = append(reasons, "it is not the code that was signed with the bundle")
	case meets == "":
		return fmt.Errorf("%s: its requirement %q: %w", name, entry.dict["requirement"].str, errors.ErrUnsupported)
	}
	reasons = slices.DeleteFunc(reasons, func(s string) bool { return s == textUnsealed })
	for _, reason := range reasons {
		note(&c.seal.Nested, name+": "+reason)
	}
	if len(reasons) > 0 {
		note(&c.seal.Changed, name)
		return nil
	}
	if sig.CodeFits != fact.Yes || sig.Seal != nil && !sig.Seal.checked || len(sig.cms) > 0 && sig.SignatureFits == "" {
		return fmt.Errorf("%s: its own signature was not compared: %w", name, fact.ErrMalformed)
	}
	return nil
}

// nestedSignature reads and compares the signature of code inside the bundle.
func (c *sealCheck) nestedSignature(file string, dir bool) (*CodeSignature, error) {
	reader := c.reader
	reader.depth, reader.left = reader.depth+1, c.left
	reader.Code, reader.Signatures, reader.Verify = true, true, true
	own := c.report.Part()
	b := Bundle{Path: "/" + file, ExecutablePath: "/" + file}
	if dir {
		var err error
		if b, err = reader.read(file, own); err != nil {
			return nil, err
		}
	} else {
		reading := bundleReading{reader, &b, layout{}, own}
		reading.readCode(file, nil)
	}
	if b.signature == nil || b.signature.Present != fact.Yes {
		if p, ok := own.First(SourceBundles); ok {
			return nil, p
		}
		return &CodeSignature{Present: fact.No, CodeFits: fact.No}, nil
	}
	for _, p := range own.Problems {
		if strings.HasPrefix(p.Field, "codeSignature") {
			return nil, p // something was not compared
		}
	}
	return b.signature, nil
}

// answers says whether nested code is what the entry of a seal asks for. Where there is no requirement, or it cannot
// be evaluated, the listed hash decides.
func (c *CodeSignature) answers(entry node) fact.Tri {
	listed := entry.dict["cdhash"]
	same := listed.kind == dataNode && c.hasCDHash(fmt.Sprintf("%x", listed.data))
	if text := entry.dict["requirement"]; text.kind == stringNode {
		meets := c.meets(text.str)
		if meets == "" && same {
			return fact.Yes
		}
		return meets
	}
	return fact.TriOf(same)
}
