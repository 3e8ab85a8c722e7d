// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// setClassKey adds what the driver's own key, Control\Class\{class}\NNNN, says of its INF.
func (d *Device) setClassKey(k *RegKey) {
	d.INF, _ = k.text("InfPath")
	d.Section, _ = k.text("InfSection")
	d.DriverVersion, _ = k.text("DriverVersion")
	d.Provider, _ = k.text("ProviderName")
	d.MatchingID, _ = k.text("MatchingDeviceId")
	if date, ok := k.text("DriverDate"); ok {
		d.DriverDate = usDate(date)
	}
}

// devices returns the devices of a control set that have a driver: all that were ever there and were not removed,
// present or not. It reports keys that make no sense. An error means that there is no device; it matches
// fs.ErrNotExist if there is no such key.
func (h *hive) devices(controlSet string, r *fact.Report) ([]Device, error) {
	h = h.budgeted()
	root, err := h.key(controlSet + `\Enum`)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf(`%s\Enum: %w`, controlSet, fs.ErrNotExist)
	}
	classes, first := h.classes(controlSet)
	list := []Device{}
	note := func(err error) { first = cmp.Or(first, err) }
	note(root.each(func(bus *hiveKey) bool {
		note(bus.each(func(kind *hiveKey) bool {
			note(kind.each(func(instance *hiveKey) bool {
				d, err := hiveDevice(bus.Name+`\`+kind.Name+`\`+instance.Name, instance)
				note(err)
				if d.Service == "" && d.DriverKey == "" {
					return true
				}
				note(d.addHiveClass(classes))
				list = append(list, d)
				return len(list) < maxServices
			}))
			return len(list) < maxServices
		}))
		return len(list) < maxServices
	}))
	if first != nil && len(list) == 0 {
		return nil, first
	}
	if first != nil {
		r.Problem(SourceDevices, "", "devices", first)
	}
	return list, nil
}

// A hiveClass is one key below Control\Class with those below it, by folded name.
type hiveClass struct {
	key     *hiveKey
	name    string
	drivers map[string]*hiveKey // nil until the first device asks
}

// classes returns the setup classes by folded GUID.
func (h *hive) classes(controlSet string) (map[string]*hiveClass, error) {
	root, err := h.key(controlSet + `\Control\Class`)
	if err != nil || root == nil {
		return nil, err
	}
	list := map[string]*hiveClass{}
	var inner error
	err = root.each(func(k *hiveKey) bool {
		key, err := k.reg("")
		inner = cmp.Or(inner, err)
		c := &hiveClass{key: k}
		c.name, _ = key.text("Class")
		list[fold(k.Name)] = c
		return true
	})
	return list, cmp.Or(err, inner)
}

// driver returns the key of a driver; nil when there is none.
func (c *hiveClass) driver(number string) (*hiveKey, error) {
	var err error
	if c.drivers == nil {
		c.drivers = map[string]*hiveKey{}
		err = c.key.each(func(k *hiveKey) bool {
			c.drivers[fold(k.Name)] = k
			return true
		})
	}
	return c.drivers[fold(number)], err
}

// hiveDevice makes a device of its key. Names for people may refer to the INF and come with the text.
func hiveDevice(id string, k *hiveKey) (Device, error) {
	key, err := k.reg("")
	text := func(name string) string { s, _ := key.text(name); return s }
	list := func(name string) []string { l, _ := key.multi(name); return l }
	return Device{
		Instance: id, Service: text("Service"), Description: displayName(text("DeviceDesc")), FriendlyName: displayName(text("FriendlyName")),
		Class: text("Class"), ClassGUID: strings.Trim(fold(text("ClassGUID")), "{}"), DriverKey: text("Driver"), HardwareIDs: list("HardwareID"),
		Manufacturer: displayName(text("Mfg")), UpperFilters: list("UpperFilters"), LowerFilters: list("LowerFilters"),
	}, err
}

// addHiveClass follows DriverKey, {class}\NNNN, below Control\Class.
func (d *Device) addHiveClass(classes map[string]*hiveClass) error {
	guid, number, _ := strings.Cut(d.DriverKey, `\`)
	class := classes[fold(guid)]
	if class == nil {
		return nil
	}
	if d.Class == "" {
		d.Class = class.name
	}
	k, err := class.driver(number)
	if k == nil {
		return err
	}
	key, inner := k.reg("")
	d.setClassKey(&key)
	return cmp.Or(err, inner)
}
