// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"

	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/windows/registry"
)

// The services of a SYSTEM hive, and one of them as the text of a .reg file.
func ExampleOpenHive() {
	hive, err := registry.OpenHive(hivetest.System())
	if err != nil {
		fmt.Println(err)
		return
	}
	services, err := hive.Budgeted(nil).Key(`ControlSet001\Services`)
	if err != nil || services == nil {
		fmt.Println("no services:", err)
		return
	}
	err = services.Each(func(k *registry.HiveKey) bool {
		key, err := k.Read(`HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\` + k.Name)
		start, ok := key.Dword("Start")
		fmt.Println(key.Name(), start, ok, err)
		if k.Name == "Dhcp" {
			fmt.Print(string(registry.AppendText(nil, []registry.Key{key})))
		}
		return true
	})
	fmt.Println(err)
	// Output:
	// Filter 0 true <nil>
	// Disk 3 true <nil>
	// Dhcp 0 false <nil>
	// Windows Registry Editor Version 5.00
	//
	// [HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\Dhcp]
	// "Type"=dword:00000020
	// Гость 4 true <nil>
	// <nil>
}
