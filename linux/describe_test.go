// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/ko"
)

func FuzzDescribe(f *testing.F) {
	f.Add([]byte("parm=a:b\x00parmtype=a:int\x00parm=a:c\x00firmware=x\x00"))
	f.Fuzz(func(t *testing.T, section []byte) {
		var m Module
		describeFile(&ko.File{Modinfo: ko.ParseModinfo(section)}, &m, "6.1.0")
		if len(m.Parameters)+len(m.Firmware) > len(section) {
			t.Fatal("more entries than bytes")
		}
	})
}

// TestFlags: the kernel asks only whether a flag's key is there.
func TestFlags(t *testing.T) {
	var m Module
	f := ko.File{Modinfo: ko.ParseModinfo([]byte("intree=N\x00livepatch=0\x00staging\x00"))}
	describeFile(&f, &m, "")
	if m.Intree != fact.Yes || m.Livepatch != fact.Yes || m.Staging != "" || m.Retpoline != fact.No {
		t.Errorf("intree %q, livepatch %q, staging %q, retpoline %q", m.Intree, m.Livepatch, m.Staging, m.Retpoline)
	}
}

func TestDescribe(t *testing.T) {
	f := ko.File{Size: 9, Compression: "xz", Modinfo: ko.Modinfo{
		{Key: "parmtype", Value: "b:int"}, {Key: "parm", Value: "a:first"}, {Key: "parmtype", Value: "a:uint"},
		{Key: "parm", Value: "b:second"}, {Key: "softdep", Value: "pre: x"}, {Key: "weakdep", Value: "y"},
		{Key: "firmware", Value: "f.bin"}, {Key: "import_ns", Value: "NS"}, {Key: "depends", Value: "q-r,s"},
		{Key: "vermagic", Value: "6.1.0 SMP "}, {Key: "intree", Value: "Y"}, {Key: "livepatch", Value: "Y"},
		{Key: "version", Value: "2"},
	}}
	m := Module{Version: "1", Parameters: []Parameter{{Name: "a", Value: "7", Readable: fact.Yes}}}
	describeFile(&f, &m, "6.2.0")
	want := Module{
		Version: "1", Release: "6.2.0", FileSize: fact.CountOf(9), Compression: "xz", Modinfo: f.Modinfo,
		Depends: []string{"q_r", "s"},
		Parameters: []Parameter{{Name: "a", Type: "uint", Description: "first", Value: "7", Readable: fact.Yes},
			{Name: "b", Type: "int", Description: "second"}},
		Softdeps: []string{"pre: x"}, Weakdeps: []string{"y"}, ImportNamespaces: []string{"NS"},
		Firmware: []Firmware{{Name: "f.bin"}},
		Vermagic: "6.1.0 SMP ", FitsRelease: fact.No, Intree: fact.Yes, Livepatch: fact.Yes,
		Retpoline: fact.No, Staging: fact.No,
	}
	if diff := cmp.Diff(want, m, cmp.Comparer(func(a, b fact.Count) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
