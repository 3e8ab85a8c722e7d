// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"encoding/binary"
	"testing"

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
