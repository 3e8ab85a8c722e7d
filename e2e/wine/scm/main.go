// SPDX-License-Identifier: Apache-2.0

//go:build windows

// Command scm is the second witness in tests under Wine: it makes driver services and says what the
// service manager holds of each, by calls that lkm does not make (one service opened at a time).
//
//	scm create NAME TYPE START PATH    make a service; the numbers are those of the registry
//	scm hide NAME                      give it a security descriptor that lets nobody query its status
//	scm wait -                         do nothing until standard input ends
//	scm list -                         print the names that EnumServicesStatus gives of drivers
//	scm short PATH                     print the path in short names
//	scm query NAME...                  print "NAME TYPE START STATE PATH" of each, separated by tabs;
//	                                   the name alone of one that the service manager does not know
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/windows"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scm:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("usage: scm create|hide|list|query|short|wait NAME…")
	}
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_ALL_ACCESS)
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	defer windows.CloseServiceHandle(m)
	switch args[0] {
	case "wait":
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "create":
		return create(m, args[1:])
	case "hide":
		return hide(m, args[1])
	case "list":
		return list(m)
	case "short":
		return short(args[1])
	case "query":
		for _, name := range args[1:] {
			err := query(m, name)
			if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
				fmt.Println(name)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	return fmt.Errorf("no command %q", args[0])
}

func utf16(s string) *uint16 {
	p, err := windows.UTF16PtrFromString(s)
	if err != nil {
		panic(err)
	}
	return p
}

func create(m windows.Handle, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("create NAME TYPE START PATH")
	}
	typ, err := strconv.ParseUint(args[1], 0, 32)
	if err != nil {
		return err
	}
	start, err := strconv.ParseUint(args[2], 0, 32)
	if err != nil {
		return err
	}
	s, err := windows.CreateService(m, utf16(args[0]), utf16("Test driver "+args[0]), windows.SERVICE_ALL_ACCESS,
		uint32(typ), uint32(start),
		windows.SERVICE_ERROR_NORMAL, utf16(args[3]), nil, nil, nil, nil, nil)
	if err != nil {
		return err
	}
	return windows.CloseServiceHandle(s)
}

// hide denies everybody SERVICE_QUERY_STATUS (LC).
func hide(m windows.Handle, name string) error {
	s, err := windows.OpenService(m, utf16(name), windows.SERVICE_ALL_ACCESS)
	if err != nil {
		return err
	}
	defer windows.CloseServiceHandle(s)
	sd, err := windows.SecurityDescriptorFromString("D:(D;;LC;;;WD)(A;;CCSWRPWPDTLOCRSDRCWDWO;;;WD)")
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetSecurityInfo(s, windows.SE_SERVICE, windows.DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

func list(m windows.Handle) error {
	buf := make([]byte, 256<<10)
	var needed, count, resume uint32
	if err := windows.EnumServicesStatusEx(m, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_DRIVER,
		windows.SERVICE_STATE_ALL, &buf[0], uint32(len(buf)),
		&needed, &count, &resume, nil); err != nil {
		return err
	}
	for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&buf[0])), count) {
		fmt.Println(windows.UTF16PtrToString(s.ServiceName))
	}
	return nil
}

func short(path string) error {
	buf := make([]uint16, 512)
	n, err := windows.GetShortPathName(utf16(path), &buf[0], uint32(len(buf)))
	if err != nil {
		return err
	}
	fmt.Println(windows.UTF16ToString(buf[:n]))
	return nil
}

func query(m windows.Handle, name string) error {
	s, err := windows.OpenService(m, utf16(name), windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return err
	}
	defer windows.CloseServiceHandle(s)
	var status windows.SERVICE_STATUS
	if err := windows.QueryServiceStatus(s, &status); err != nil {
		return err
	}
	var size uint32
	_ = windows.QueryServiceConfig(s, nil, 0, &size)
	buf := make([]byte, size)
	config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
	if err := windows.QueryServiceConfig(s, config, size, &size); err != nil {
		return err
	}
	fmt.Printf("%s\t%d\t%d\t%d\t%s\n", name, config.ServiceType, config.StartType, status.CurrentState,
		windows.UTF16PtrToString(config.BinaryPathName))
	return nil
}
