// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"fmt"
	"io/fs"
	"strings"
)

// setClassKey adds what the driver's own key, Control\Class\{class}\NNNN, says of its INF.
func (d *Device) setClassKey(k *RegKey) {
	d.INF, _ = k.Text("InfPath")
	d.Section, _ = k.Text("InfSection")
	d.DriverVersion, _ = k.Text("DriverVersion")
	d.Provider, _ = k.Text("ProviderName")
	d.MatchingID, _ = k.Text("MatchingDeviceId")
	if date, ok := k.Text("DriverDate"); ok {
		d.DriverDate = usDate(date)
	}
}

// Devices returns the devices of a control set that have a driver: all that were ever there and were not
// removed, present or not. The error is fs.ErrNotExist when there is no such key; one beside devices tells of keys that make no sense.
func (h *Hive) Devices(controlSet string) ([]Device, error) {
	root, err := h.Key(controlSet + `\Enum`)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf(`%s\Enum: %w`, controlSet, fs.ErrNotExist)
	}
	class, err := h.Key(controlSet + `\Control\Class`)
	list := []Device{}
	first := err
	note := func(err error) { first = cmp.Or(first, err) }
	note(root.each(func(bus *HiveKey) bool {
		note(bus.each(func(kind *HiveKey) bool {
			note(kind.each(func(instance *HiveKey) bool {
				d := hiveDevice(bus.Name+`\`+kind.Name+`\`+instance.Name, instance)
				if d.Service == "" && d.DriverKey == "" {
					return true
				}
				note(d.addHiveClass(class))
				list = append(list, d)
				return len(list) < maxServices
			}))
			return len(list) < maxServices
		}))
		return len(list) < maxServices
	}))
	return list, first
}

// hiveDevice makes a device of its key. Names for people may refer to the INF and come with the text.
func hiveDevice(id string, k *HiveKey) Device {
	key := RegKey{Values: k.Values()}
	text := func(name string) string { s, _ := key.Text(name); return s }
	list := func(name string) []string { l, _ := key.Multi(name); return l }
	return Device{
		Instance: id, Service: text("Service"), Description: displayName(text("DeviceDesc")), FriendlyName: displayName(text("FriendlyName")),
		Class: text("Class"), ClassGUID: strings.Trim(fold(text("ClassGUID")), "{}"), DriverKey: text("Driver"), HardwareIDs: list("HardwareID"),
		Manufacturer: displayName(text("Mfg")), UpperFilters: list("UpperFilters"), LowerFilters: list("LowerFilters"),
	}
}

// addHiveClass follows DriverKey, {class}\NNNN, below Control\Class.
func (d *Device) addHiveClass(class *HiveKey) error {
	guid, number, ok := strings.Cut(d.DriverKey, `\`)
	if !ok || class == nil {
		return nil
	}
	k, err := class.Subkey(guid)
	if err != nil || k == nil {
		return err
	}
	if d.Class == "" {
		key := RegKey{Values: k.Values()}
		d.Class, _ = key.Text("Class")
	}
	if k, err = k.Subkey(number); err != nil || k == nil {
		return err
	}
	d.setClassKey(&RegKey{Values: k.Values()})
	return nil
}
