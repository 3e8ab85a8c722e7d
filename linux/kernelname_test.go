// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/linux/ko"
)

// TestKernelNameOfRecord: a module has it only where its file has another name.
func TestKernelNameOfRecord(t *testing.T) {
	for file, want := range map[string]string{
		"updates/nvidia-current.ko": "nvidia",
		"updates/nvidia.ko":         "",
		"updates/nvidia.old.ko":     "", // kmod's name of the file ends at its first dot
		"updates/NVIDIA.ko":         "nvidia",
	} {
		data := linuxtest.ModuleOf(binary.LittleEndian, true, "name=nvidia").Bytes()
		f, err := ko.NewReader().Decode(data, file, ko.Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var m Module
		describeFile(&f, &m, "")
		if m.KernelName != want {
			t.Errorf("%s: got %q, want %q", file, m.KernelName, want)
		}
	}
}

// TestStructNameOfRecord: a file that is read by itself shows the name in its code, where it is not the metadata's.
func TestStructNameOfRecord(t *testing.T) {
	for inner, want := range map[string]string{"evil": "evil", "good": "", "": ""} {
		module := []byte(doctoredModule("good", inner))
		for name, data := range map[string][]byte{"good.ko": module, "good.ko.gz": linuxtest.Gzip(module)} {
			files := fstest.MapFS{"lib/modules/6/" + name: {Data: data}}
			alone, ok, err := ReadFile(t.Context(), files, "lib/modules/6/"+name, data, fact.Options{},
				new(fact.Report))
			if err != nil || !ok || alone[0].Own.StructName != want {
				t.Errorf("%s, %q: %+v, %v", name, inner, alone, err)
			}
			placed, err := Open(diskOf(files), fact.Options{Image: true}).File(t.Context(), "lib/modules/6/"+name,
				new(fact.Report))
			if err != nil || placed[0].Own.StructName != want {
				t.Errorf("%s, %q, in its folder: %+v, %v", name, inner, placed, err)
			}
		}
	}
}
