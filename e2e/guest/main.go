// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command guest is the first process of a test VM: it mounts the kernel's file systems and does what the host asks.
//
// It loads no module and starts no program by itself, so that a test sees the kernel as it booted.
package main

import (
	"fmt"
	"net/rpc"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/kernelext/kernelext/e2e/agent"
)

// The thread that /proc/self describes stays with main: commands with a mount namespace of their own are started
// from threads that are thrown away (see start).
func init() { runtime.LockOSThread() }

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: runs as the first process of a test VM only")
		os.Exit(2)
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU runs with -no-reboot and ends here
}

// serve answers the host until it hangs up.
func serve() error {
	mountAll()
	os.Setenv("PATH", path)
	line, err := openLine("/dev/ttyS1")
	if err != nil {
		return err
	}
	server := rpc.NewServer()
	if err := server.RegisterName(agent.Service, newGuest()); err != nil {
		return err
	}
	if _, err := line.WriteString(agent.Hello); err != nil {
		return err
	}
	server.ServeConn(line)
	return nil
}

// mountAll mounts what a Debian system has at boot. What this kernel lacks is left out.
func mountAll() {
	for _, m := range []agent.Mount{
		{Source: "proc", Target: "/proc", Type: "proc"},
		{Source: "sysfs", Target: "/sys", Type: "sysfs"},
		{Source: "devtmpfs", Target: "/dev", Type: "devtmpfs"},
		{Source: "devpts", Target: "/dev/pts", Type: "devpts"},
		{Source: "tmpfs", Target: "/dev/shm", Type: "tmpfs"},
		{Source: "tmpfs", Target: "/run", Type: "tmpfs"},
		{Source: "securityfs", Target: "/sys/kernel/security", Type: "securityfs"},
		{Source: "debugfs", Target: "/sys/kernel/debug", Type: "debugfs"},
		{Source: "tracefs", Target: "/sys/kernel/tracing", Type: "tracefs"},
		{Source: "efivarfs", Target: "/sys/firmware/efi/efivars", Type: "efivarfs"},
	} {
		if err := mount(m); err != nil {
			fmt.Fprintf(os.Stderr, "guest: mount %s: %v\n", m.Target, err)
		}
	}
}

// mount makes the target directory where possible and mounts on it.
func mount(m agent.Mount) error {
	os.MkdirAll(m.Target, 0o755)
	return unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data)
}

// openLine opens a terminal as a plain stream of bytes.
func openLine(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200, Ispeed: 115200, Ospeed: 115200}
	t.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &t); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
