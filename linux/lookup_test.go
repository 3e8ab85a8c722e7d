// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"io/fs"
	"strings"
	"testing"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// binaryIndex is an index with one node: the key, and one value that ends in end.
func binaryIndex(key, value, end string) string {
	b := binary.BigEndian.AppendUint32(nil, 0xb007f457)
	b = binary.BigEndian.AppendUint32(b, 0x20001)
	b = binary.BigEndian.AppendUint32(b, 0x80000000|0x40000000|12)
	b = append(b, key+"\x00"...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, 0)
	return string(b) + value + end
}

// brokenIndex is an index whose root has one child, beyond the end of the file.
func brokenIndex() string {
	b := binary.BigEndian.AppendUint32(nil, 0xb007f457)
	b = binary.BigEndian.AppendUint32(b, 0x20001)
	b = binary.BigEndian.AppendUint32(b, 0x20000000|12)
	b = append(b, '*', '*')
	return string(binary.BigEndian.AppendUint32(b, 0x20000000|3000))
}

// A look-up that failed is unknown: no name becomes absent and no module blocked by it. The same files whole give the
// answer that a reader may rely on.
func TestFailedLookups(t *testing.T) {
	const dir = "lib/modules/6/"
	override := "alias lone none\nblacklist none\n"
	for _, tt := range []struct {
		name    string
		files   map[string]string
		refused string // paths that contain it
		query   string
		want    fact.VerdictOutcome
	}{
		{"aliases, a value without its end",
			map[string]string{dir + "modules.alias.bin": binaryIndex("no", "lone", "")}, "", "no", fact.VerdictUnknown},
		{"aliases, whole", map[string]string{dir + "modules.alias.bin": binaryIndex("no", "lone", "\x00")},
			"", "other", fact.VerdictAbsent},
		{"aliases, a branch beyond the end", map[string]string{dir + "modules.alias.bin": brokenIndex()},
			"", "no", fact.VerdictUnknown},
		{"aliases of builtins, broken", map[string]string{dir + "modules.builtin.alias.bin": brokenIndex()},
			"", "no", fact.VerdictUnknown},
		{"symbols, broken", map[string]string{dir + "modules.symbols.bin": brokenIndex()},
			"", "symbol:no", fact.VerdictUnknown},
		{"builtins, broken", map[string]string{dir + "modules.builtin.bin": binaryIndex("no", "", "")},
			"", "no", fact.VerdictUnknown},
		{"a metadata file refused", map[string]string{dir + "modules.builtin.modinfo": "x.license=GPL\x00"},
			"builtin.modinfo", "no", fact.VerdictUnknown},
		{"a metadata file that is not there", nil, "", "no", fact.VerdictAbsent},
		{"files, refused beside a stale text", map[string]string{dir + "modules.dep.bin": "x"}, "modules.dep.bin", "no",
			fact.VerdictUnknown},
		{"a file that no line names", map[string]string{dir + "odd.ko": "x"}, "", "odd", fact.VerdictBlocked},
		{"a file whose line may be lost",
			map[string]string{dir + "odd.ko": "x", dir + "modules.dep.bin": brokenIndex()}, "", "*odd",
			fact.VerdictUnknown},
		{"blocked by its line", map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n"},
			"", "lone", fact.VerdictBlocked},
		{"blocked by its line, or built in", map[string]string{"etc/modprobe.d/a.conf": "install lone /bin/false\n",
			dir + "modules.builtin.bin": "x"}, "modules.builtin.bin", "lone", fact.VerdictUnknown},
		{"blocked by its line, the index of files refused", map[string]string{
			"etc/modprobe.d/a.conf": "install lone /bin/false\n", dir + "modules.dep.bin": "x"}, "modules.dep.bin",
			"lone", fact.VerdictUnknown},
		{"its name means another, its aliases are lost", map[string]string{"etc/modprobe.d/a.conf": override,
			dir + "modules.alias.bin": "x"}, "modules.alias.bin", "lone", fact.VerdictUnknown},
		{"its name means another, its aliases do not", map[string]string{"etc/modprobe.d/a.conf": override},
			"", "lone", fact.VerdictLoadable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var fsys fs.FS = imageOf(tt.files)
			if tt.refused != "" {
				fsys = linuxtest.Refusing(fsys, tt.refused, fs.ErrPermission)
			}
			v := checkOf(t, fsys, tt.query)
			if v.NextBoot.Outcome != tt.want {
				t.Errorf("%s, want %s", outcomes(v), tt.want)
			}
			if tt.want != fact.VerdictUnknown {
				return
			}
			if strings.TrimSpace(v.NextBoot.Because.Unread) == "" {
				t.Errorf("nothing says what was not read: %+v", v.NextBoot.Because)
			}
		})
	}
}
