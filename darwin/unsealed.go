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

// harmless are names of files that are part of a bundle or that the Finder makes, and that rules usually leave out.
var harmless = []string{"Info.plist", "PkgInfo", ".DS_Store", "locversion.plist"}

// oldLinks lead to the files of the signature, in bundles of Mac OS X 10.6.
var oldLinks = []string{"CodeDirectory", "CodeRequirements", "CodeSignature"}

// besideBundle are the files that may be beside Contents (Security, BundleDiskRep::setup).
var besideBundle = []string{"Contents", ".LSOverride", ".DS_Store", "Icon\r", ".SoftwareDepot.tracking"}

// unsealed notes a file that the signature does not cover. Of a bundle that has a signature of its own, which the rules
// leave out, the bundle is noted.
func (c *sealCheck) unsealed(name string) {
	if slices.Contains(harmless, path.Base(name)) && !c.isLink(name) || slices.Contains(oldLinks, name) {
		return
	}
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
