// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"io"
)

// A cpioWriter writes the archive format of an initramfs ("newc"): a header of hexadecimal numbers,
// the name, the bytes, each padded to four bytes.
type cpioWriter struct {
	w   io.Writer
	ino int
	err error
}

// cpioTrailer is the name of the entry that ends an archive.
const cpioTrailer = "TRAILER!!!"

// add writes one entry; mode holds the file type as in stat(2).
func (c *cpioWriter) add(name string, mode uint32, data []byte) {
	c.ino++
	c.printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	c.printf("%s\x00", name)
	c.pad(110 + len(name) + 1)
	if c.err == nil {
		_, c.err = c.w.Write(data)
	}
	c.pad(len(data))
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.add(cpioTrailer, 0, nil)
	return c.err
}

func (c *cpioWriter) printf(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format, args...)
	}
}

// pad fills up to a multiple of four.
func (c *cpioWriter) pad(n int) {
	c.printf("%s", "\x00\x00\x00"[:-n&3])
}
