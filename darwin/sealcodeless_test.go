// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
)

// TestSealNestedCodeless compares a bundle without code, inside another, with the hash that the outer one lists.
func TestSealNestedCodeless(t *testing.T) {
	const file = "X.kext/Contents/PlugIns/P.kext/Contents/_CodeSignature/CodeDirectory"
	directory := []byte("a code directory")
	sha2, sha := sha256.Sum256(directory), sha1.Sum(directory)
	for _, tt := range []struct {
		name             string
		data             []byte
		want             string
		changed, missing []string
	}{
		{"SHA-256", directory, fmt.Sprintf("%x", sha2[:20]), nil, nil},
		{"SHA-1", directory, fmt.Sprintf("%x", sha), nil, nil},
		{"another", []byte("another"), fmt.Sprintf("%x", sha), []string{"PlugIns/P.kext"}, nil},
		{"taken away", nil, fmt.Sprintf("%x", sha), nil, []string{"PlugIns/P.kext"}},
	} {
		files := fstest.MapFS{"X.kext/Contents/PlugIns/P.kext/Contents/Info.plist": {Data: []byte(
			"<plist><dict><key>CFBundleIdentifier</key><string>p</string></dict></plist>")}}
		if tt.data != nil {
			files[file] = &fstest.MapFile{Data: tt.data}
		}
		c := &sealCheck{fsys: files, report: &fact.Report{}, dir: "X.kext/Contents", seal: &Seal{}}
		err := c.nestedCode("PlugIns/P.kext", tt.want)
		if err != nil || !slices.Equal(c.seal.Changed, tt.changed) || !slices.Equal(c.seal.Missing, tt.missing) {
			t.Errorf("%s: %+v, %v", tt.name, c.seal, err)
		}
	}
}
