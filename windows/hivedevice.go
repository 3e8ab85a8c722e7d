// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// setClassKey adds what the driver's own key, Control\Class\{class}\NNNN, says of its INF.
func (d *Device) setClassKey(k *registry.Key) {
	d.INF, _ = k.Text("InfPath")
	d.Section, _ = k.Text("InfSection")
	d.DriverVersion, _ = k.Text("DriverVersion")
	d.Provider, _ = k.Text("ProviderName")
	d.MatchingID, _ = k.Text("MatchingDeviceId")
	if date, ok := k.Text("DriverDate"); ok {
		d.DriverDate = usDate(date)
	}
}

// devices returns the devices of a control set that have a driver: all that were ever there and were not removed,
// present or not. It reports keys that are invalid. An error means that there is no device; it matches
// fs.ErrNotExist if there is no such key.
func (h systemHive) devices(controlSet string, r *fact.Report) ([]Device, error) {
	h, item, err := h.paidBy(r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	root, err := h.Key(controlSet + `\Enum`)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, fmt.Errorf(`%s\Enum: %w`, controlSet, h.absent())
	}
	classes, first := h.classes(controlSet)
	list, cut := []Device{}, false
	note := func(err error) { first = cmp.Or(first, err) }
	note(root.Each(func(bus *registry.HiveKey) bool {
		note(bus.Each(func(kind *registry.HiveKey) bool {
			note(kind.Each(func(instance *registry.HiveKey) bool {
				d, err := hiveDevice(bus.Name+`\`+kind.Name+`\`+instance.Name, instance)
				note(err)
				if d.Service == "" && d.DriverKey == "" {
					return true
				}
				note(d.addHiveClass(classes))
				if len(list) == maxServices {
					note(fmt.Errorf("%w: more than %d devices: the rest is left out", fact.ErrTooLarge, maxServices))
					cut = true
					return false
				}
				list = append(list, d)
				return true
			}))
			return !cut
		}))
		return !cut
	}))
	if first = cmp.Or(first, h.unwritten()); first != nil && len(list) == 0 {
		return nil, first
	}
	if first != nil {
		r.Problem(SourceDevices, "", "devices", first)
	}
	return list, nil
}

// A hiveClass is one key below Control\Class with those below it, by folded name.
type hiveClass struct {
	key     *registry.HiveKey
	name    string
	drivers map[string]*registry.HiveKey // nil until the first device asks
}

// classes returns the setup classes by folded GUID.
func (h systemHive) classes(controlSet string) (map[string]*hiveClass, error) {
	root, err := h.Key(controlSet + `\Control\Class`)
	if err != nil || root == nil {
		return nil, err
	}
	list := map[string]*hiveClass{}
	var inner error
	err = root.Each(func(k *registry.HiveKey) bool {
		key, err := k.Read("")
		inner = cmp.Or(inner, err)
		c := &hiveClass{key: k}
		c.name, _ = key.Text("Class")
		list[fold(k.Name)] = c
		return true
	})
	return list, cmp.Or(err, inner)
}

// driver returns the key of a driver; nil if it does not exist.
func (c *hiveClass) driver(number string) (*registry.HiveKey, error) {
	var err error
	if c.drivers == nil {
		c.drivers = map[string]*registry.HiveKey{}
		err = c.key.Each(func(k *registry.HiveKey) bool {
			c.drivers[fold(k.Name)] = k
			return true
		})
	}
	return c.drivers[fold(number)], err
}

// hiveDevice makes a device of its key. Names for people may refer to the INF and come with the text.
func hiveDevice(id string, k *registry.HiveKey) (Device, error) {
	key, err := k.Read("")
	text := func(name string) string { s, _ := key.Text(name); return s }
	list := func(name string) []string { l, _ := key.Multi(name); return l }
	return Device{
		Instance: id, Service: text("Service"), Description: displayName(text("DeviceDesc")),
		FriendlyName: displayName(text("FriendlyName")), Class: text("Class"),
		ClassGUID: strings.Trim(fold(text("ClassGUID")),
			"{}"), DriverKey: text("Driver"), HardwareIDs: list("HardwareID"),
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
	key, inner := k.Read("")
	d.setClassKey(&key)
	return cmp.Or(err, inner)
}
