// SPDX-License-Identifier: Apache-2.0

package ko

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// TestBytesBehindGzip: zlib and the kernel ignore what follows the last member, and so does the reader; it says so.
func TestBytesBehindGzip(t *testing.T) {
	plain := linuxtest.ModuleOf(binary.LittleEndian, true, linuxtest.Entries("demo")...).Bytes()
	whole := linuxtest.Gzip(plain)
	two := append(linuxtest.Gzip(plain[:100]), linuxtest.Gzip(plain[100:])...)
	for _, tt := range []struct {
		name string
		data []byte
		want int64 // bytes after; -1 for a file that is refused
	}{
		{"nothing", whole, 0},
		{"zeros", append(slices.Clone(whole), make([]byte, 512)...), 512},
		{"a signature", append(slices.Clone(whole), "~Module signature appended~\n"...), 28},
		{"one byte", append(slices.Clone(whole), 0x1f), 1},
		{"two members", two, 0},
		{"two members and more", append(slices.Clone(two), "xyz"...), 3},
		{"a member that is invalid", append(slices.Clone(whole), 0x1f, 0x8b, 0xff, 0xff), -1},
		{"cut off", whole[:len(whole)-20], -1},
	} {
		var r fact.Report
		fsys := fstest.MapFS{"demo.ko.gz": {Data: tt.data}}
		f, err := NewReader().ReadFile(fsys, "demo.ko.gz", Options{Signature: true}, &r)
		if (err != nil) != (tt.want < 0) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		if f.Name != "demo" || f.Trailing != tt.want || f.Verdict.Status != fact.SignatureNone {
			t.Errorf("%s: %q, %d bytes after, want %d; %s", tt.name, f.Name, f.Trailing, tt.want, f.Verdict.Status)
		}
		if told := len(r.Problems) > 0; told != (tt.want > 0) {
			t.Errorf("%s: %+v", tt.name, r.Problems)
		}
	}
}
