// SPDX-License-Identifier: Apache-2.0

// Command trigger makes the kernel ask for a module, as any process may: "trigger socket" opens an
// AF_ALG socket, for which the kernel asks for net-pf-38, and "trigger bind TYPE" binds one, for
// which it asks for algif-TYPE. "trigger load FILE" hands the kernel a compressed module as it is, as kmod
// 31 and later do (MODULE_INIT_COMPRESSED_FILE). That the kernel then refuses is not an error: what counts is whether
// the module came.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: trigger socket | bind TYPE | load FILE")
		os.Exit(2)
	}
	if os.Args[1] == "load" && len(os.Args) == 3 {
		fmt.Println(load(os.Args[2]))
		return
	}
	fd, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	if err == nil && os.Args[1] == "bind" && len(os.Args) == 3 {
		err = unix.Bind(fd, &unix.SockaddrALG{Type: os.Args[2], Name: "none"})
	}
	fmt.Println(err)
}

// compressedFile is MODULE_INIT_COMPRESSED_FILE of linux/module.h.
const compressedFile = 4

// load asks the kernel to load a file that it decompresses itself.
func load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", compressedFile)
}
