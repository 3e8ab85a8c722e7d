// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// harmless reports whether a file is one that rules leave out: Info.plist, which is in the code directory, the Finder's
// files, a translation's version, and in bundles of Mac OS X 10.6 links to the files of the signature.
func harmless(name string) bool {
	dir, base := path.Split(name)
	return base == ".DS_Store" || base == "locversion.plist" && path.Ext(strings.TrimSuffix(dir, "/")) == ".lproj" ||
		slices.Contains([]string{"Info.plist", "PkgInfo", "CodeDirectory", "CodeRequirements", "CodeSignature"}, name)
}

// besideBundle are the files that may be beside Contents (Security, BundleDiskRep::setup).
var besideBundle = []string{"Contents", ".LSOverride", ".DS_Store", "Icon\r", ".SoftwareDepot.tracking"}

// unsealed notes a file that the signature does not cover. Of a bundle that has a signature of its own, which the rules
// leave out, the bundle is noted.
func (c *sealCheck) unsealed(name string) {
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		if at = path.Join(at, part); isBundle(part) {
			name = at
			break
		}
	}
	if !slices.Contains(c.seal.Unsealed, name) {
		note(&c.seal.Unsealed, name)
	}
}

// behindSignature reports whether the executable has bytes behind the signature, which is the last thing in it
// (Security, MachORep::strictValidate).
func (r *bundleReading) behindSignature(f *file) bool {
	end, signed := int64(0), false
	for _, s := range r.Slices {
		last := s.size
		if s.signature.size > 0 {
			last, signed = s.signature.offset+s.signature.size, true
		}
		end = max(end, s.offset+last)
	}
	return signed && end < f.size
}

// besideContents looks for files beside the folder Contents, where nothing is sealed.
func (c *sealCheck) besideContents(where layout) error {
	if where.root == where.contents {
		return nil // a flat bundle: all of it is sealed
	}
	entries, err := fs.ReadDir(c.fsys, where.root)
	if errors.Is(err, fs.ErrNotExist) || fact.CodeOf(err) == fact.CodeOlder {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := "../" + e.Name()
		if slices.Contains(besideBundle, e.Name()) {
			continue
		}
		attributes, err := c.isAttributes(name)
		if err != nil {
			return err
		}
		if attributes {
			note(&c.seal.Attributes, name)
			continue
		}
		c.unsealed(name)
	}
	return nil
}
