// SPDX-License-Identifier: Apache-2.0

// Command trigger makes the kernel ask for a module, as any process may: "trigger socket" opens an
// AF_ALG socket, for which the kernel asks for net-pf-38, and "trigger bind TYPE" binds one, for
// which it asks for algif-TYPE. That the kernel then refuses is no error: what counts is whether
// the module came.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: trigger socket | bind TYPE")
		os.Exit(2)
	}
	fd, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	if err == nil && os.Args[1] == "bind" && len(os.Args) == 3 {
		err = unix.Bind(fd, &unix.SockaddrALG{Type: os.Args[2], Name: "none"})
	}
	fmt.Println(err)
}
