// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// A systemHive is the hive of HKEY_LOCAL_MACHINE\SYSTEM, or DRIVERS with the driver store's database.
type systemHive struct {
	*registry.Hive
	name  string // of its file
	dirty error  // why changes to it that its log files may hold are not known; nil if it has all
}

// paidBy returns the hive for one call, and what pays for it, which the caller ends. The file is held for longer, but
// counts for each call that looks at it.
func (h systemHive) paidBy(b *fact.Budget) (systemHive, *fact.Item, error) {
	item := b.File(h.name, h.Size())
	if err := item.Hold(h.Size()); err != nil {
		return h, item, &hiveFileError{h.name, err}
	}
	return systemHive{h.Budgeted(item), h.name, h.dirty}, item, nil
}

// controlSet returns the name of the control set that the next boot uses, such as ControlSet001. The loader takes that
// of the value Default ("HKLM\SYSTEM\Select", learn.microsoft.com): one that the hive does not have, or the number
// 0, leaves everything in it unknown.
func (h systemHive) controlSet() (string, error) {
	k, err := h.Key("Select")
	if err != nil {
		return "", err
	}
	if k != nil {
		key, err := k.Read("")
		if err != nil {
			return "", err
		}
		for _, name := range []string{"Default", "Current"} {
			n, ok := key.Dword(name)
			switch {
			case ok && n > 0 && n < 1000:
				return h.existing(fmt.Sprintf("ControlSet%03d", n))
			case ok:
				return "", &fact.ParseError{Source: "hive", Field: "Select", Reason: fmt.Sprintf("%s is %d", name, n)}
			}
		}
	}
	return "", &fact.ParseError{Source: "hive", Field: "Select", Reason: "no control set is chosen"}
}

// existing returns the name of a control set that the hive has.
func (h systemHive) existing(name string) (string, error) {
	switch k, err := h.Key(name); {
	case err != nil:
		return "", err
	case k == nil:
		return "", &fact.ParseError{Source: "hive", Field: "Select", Reason: "the hive has no " + name}
	}
	return name, nil
}

// reg returns one key without its subkeys; false when it is not there. An error beside a key reports invalid values.
func (h systemHive) reg(path string) (registry.Key, bool, error) {
	k, err := h.Key(path)
	if err != nil || k == nil {
		return registry.Key{}, false, err
	}
	key, err := k.Read(machineHive + path)
	return key, true, err
}

const machineHive = `HKEY_LOCAL_MACHINE\SYSTEM\`

var errDirtyHive = errors.New("the registry was not written back whole: the machine was not shut down cleanly, " +
	"or its hive is damaged")

// unwritten returns an error that matches errDirtyHive if changes to the hive are still in its log files: whatever it
// says may have changed.
func (h systemHive) unwritten() error { return h.dirty }

// absent returns the error of a key that the hive does not have. A log file that could not be replayed may have it.
func (h systemHive) absent() error { return cmp.Or(h.unwritten(), errNotThere) }

// services returns the driver services of a control set, and reports invalid keys. An error means that there is no
// result.
func (h systemHive) services(controlSet string, p ntPaths, r *fact.Report) ([]registeredService, error) {
	keys, damage := h.serviceKeys(controlSet, r.Budget)
	if damage != nil && len(keys) == 0 {
		return nil, damage
	}
	list := servicesOf(keys, p, r)
	if damage != nil {
		r.Problem(SourceRegistry, "", "services", damage)
	}
	if err := h.unwritten(); err != nil {
		r.Problem(SourceRegistry, "", "", err)
	}
	return list, nil
}

// maxServiceKeys is how many keys of drivers and their filter instances are read; a system has under two thousand.
const maxServiceKeys = 32_768

// serviceKeys returns the keys of a control set's services and of their filter instances, and the first error of a
// key that is invalid.
func (h systemHive) serviceKeys(controlSet string, b *fact.Budget) (keys []registry.Key, damage error) {
	h, item, err := h.paidBy(b)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	path := controlSet + `\Services`
	root, err := h.Key(path)
	if err != nil {
		return nil, err
	}
	if root == nil {
		return nil, &fact.ParseError{Source: "hive", Field: "Services", Reason: "no such key in " + controlSet}
	}
	err = root.Each(func(k *registry.HiveKey) bool {
		key, _ := k.Read(machineHive + path + `\` + k.Name) // a value that is invalid makes it Partial
		if !mayBeDriver(&key) {
			return true
		}
		keys = append(keys, key)
		over, err := k.Subkey(overrideKey)
		damage = cmp.Or(damage, err)
		if over != nil {
			values, err := over.Read(key.Path + `\` + overrideKey)
			damage, keys = cmp.Or(damage, err), append(keys, values)
		}
		for _, sub := range []string{`Instances`, `Parameters\Instances`} {
			var err error
			keys, err = appendHiveInstances(keys, k, key.Path, sub)
			damage = cmp.Or(damage, err)
		}
		if len(keys) >= maxServiceKeys {
			damage = &fact.ParseError{Source: "hive", Field: "Services", Err: fact.ErrTooLarge,
				Reason: fmt.Sprintf("more than %d keys of drivers: the rest is not read", maxServiceKeys)}
		}
		return len(keys) < maxServiceKeys
	})
	return keys, cmp.Or(err, damage)
}

func appendHiveInstances(keys []registry.Key, k *registry.HiveKey, path, sub string) ([]registry.Key, error) {
	in := k
	for part := range strings.SplitSeq(sub, `\`) {
		next, err := in.Subkey(part)
		if err != nil || next == nil {
			return keys, err
		}
		in = next
	}
	path += `\` + sub
	key, inner := in.Read(path)
	keys = append(keys, key)
	left := maxInstances
	err := in.Each(func(inst *registry.HiveKey) bool {
		key, err := inst.Read(path + `\` + inst.Name)
		inner = cmp.Or(inner, err)
		keys = append(keys, key)
		left--
		return left > 0
	})
	return keys, cmp.Or(err, inner)
}

// packages returns the keys of the driver store's packages, and reports invalid keys; nil if the hive has no such key.
// An error means that there is no result.
func (h systemHive) packages(r *fact.Report) ([]registry.Key, error) {
	const path = `DriverDatabase\DriverPackages`
	h, item, err := h.paidBy(r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	root, err := h.Key(path)
	if err != nil || root == nil {
		return nil, cmp.Or(err, h.unwritten())
	}
	var keys []registry.Key
	var damage error
	err = root.Each(func(k *registry.HiveKey) bool {
		key, err := k.Read(machineHive + path + `\` + k.Name)
		damage = cmp.Or(damage, err)
		keys = append(keys, key)
		return true
	})
	if damage = cmp.Or(err, damage, h.unwritten()); damage != nil && keys != nil {
		r.Problem(SourceStore, "", "packages", damage)
		return keys, nil
	}
	return keys, damage
}
