// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// TestArchive checks the archive's own numbers; that a kernel unpacks it is shown by every guest that boots.
func TestArchive(t *testing.T) {
	i := NewImage()
	i.Add("/lib/modules/1/a.ko", 0o600, []byte("four!"))
	i.Link("/usr/sbin/insmod", "../bin/kmod")
	var b bytes.Buffer
	if err := i.Write(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len()%4 != 0 {
		t.Errorf("the archive's length is %d, no multiple of four", b.Len())
	}
	for _, want := range []string{
		"usr/lib/modules/1/a.ko\x00",                   // below /usr, as on a merged-/usr system
		"four!\x00\x00\x00070701",                      // padded to the next header
		"usr/sbin/insmod\x00\x00\x00../bin/kmod",       // a link's target is its content
		"0000000B" + "00000000" + cpioTrailer + "\x00", // the end
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the archive lacks %q", want)
		}
	}
	if before, after := strings.Index(b.String(), "usr/lib\x00"),
		strings.Index(b.String(), "usr/lib/modules\x00"); before < 0 || before > after {
		t.Error("a directory comes after what it holds")
	}
}

// TestErrors checks that a missing file is reported when the image is written.
func TestErrors(t *testing.T) {
	i := NewImage()
	i.Copy("/a", "/no/such/file")
	i.CopyProgram("/no/such/program")
	if err := i.Write(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("got %v", err)
	}
	if _, err := Boot(t.Context(), Config{Image: i}); err == nil {
		t.Error("booted an image that cannot be written")
	}
	_, err := Boot(t.Context(), Config{Kernel: "/no/such/kernel", Image: NewImage()})
	if err == nil || (!errors.Is(err, exec.ErrNotFound) && !strings.Contains(err.Error(), "/no/such/kernel")) {
		t.Errorf("a kernel that does not exist: %v", err)
	}
}
