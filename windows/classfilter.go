// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// classesKey has a key for each device setup class, with the filters of all its devices.
const classesKey = `SYSTEM\CurrentControlSet\Control\Class`

// maxClassFilters is how many classes are kept for one driver.
const maxClassFilters = 256

// readClassFilters reads which drivers filter every device of a class: where devices are read.
func (k *Kernel) readClassFilters(ctx context.Context, inv *inventory, r *fact.Report) {
	if !k.options.Image && !k.options.Asks(fact.DetailFiles) {
		return
	}
	keys, err := k.subkeys(ctx, classesKey, r.Budget)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) &&
		inv.Registered != nil {
		r.Problem(SourceDevices, "", "classFilters", err)
	}
	inv.Classes = keys
}

// addClassFilters links drivers with the classes that they filter.
func (j *joiner) addClassFilters() {
	for i := range j.inv.Classes {
		key := &j.inv.Classes[i]
		name, _ := key.Text("Class")
		for _, upper := range []bool{true, false} {
			value := "LowerFilters"
			if upper {
				value = "UpperFilters"
			}
			services, _ := key.Multi(value)
			for _, s := range services {
				place, ok := j.byService[fold(s)]
				if !ok {
					continue
				}
				d := j.entries[place.entry].Driver
				if len(d.ClassFilters) < maxClassFilters {
					d.ClassFilters = append(d.ClassFilters,
						ClassFilter{Class: name, GUID: strings.Trim(fold(key.Name()), "{}"), Upper: upper})
				}
			}
		}
	}
}
