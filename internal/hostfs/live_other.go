// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package hostfs

import (
	"os"

	"github.com/kernelext/kernelext/internal/limit"
)

const nonblock = 0

// hostPath makes "C:" the drive's root directory; "C:" alone is the drive's current one.
func hostPath(name string) string {
	if len(name) == 2 && name[1] == ':' {
		return name + "/"
	}
	return name
}

func readLive(dst []byte, name string, max int64, once bool) ([]byte, error) {
	f, err := live{}.Open(name)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	dst, err = readFile(f.(*os.File), dst, name, max, once)
	if err != nil {
		return dst, pathError("read", name, err)
	}
	return dst, nil
}

func readFile(f *os.File, dst []byte, name string, max int64, once bool) ([]byte, error) {
	if once {
		dst, buf := limit.Room(dst, int(min(max, limit.Attr)))
		n, err := f.Read(buf[:min(int64(len(buf)), max)])
		return dst[:len(dst)+n], err
	}
	return limit.AppendAll(f, dst, name, max)
}

// appendOpen reads nothing: no such system opens a file by its descriptor.
func appendOpen(
	_ func(string) (int, error), _ string, dst []byte, _ string, _ int64, _ bool,
) (_ []byte, ok bool, err error) {
	return dst, false, nil
}

func meaning(err error) error { return err }
