// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/judge"
	"github.com/kernelext/kernelext/internal/limit"
)

// The files by which the kernel finds the driver of a device.
const (
	aliasesFile   = "etc/driver_aliases" // DRIVER "ALIAS": the names of devices of a driver
	majorsFile    = "etc/name_to_major"  // DRIVER NUMBER: a driver without a number has no device
	instancesFile = "etc/path_to_inst"   // "PATH" NUMBER "DRIVER": the devices that the machine once contained
)

// reasonMajor is the code of the reason that a driver has no major number.
const reasonMajor = "name_to_major"

// maxTriggers is how many lines of such a file are named that ask for one module.
const maxTriggers = 8

// aliasSize is the memory of a line of such a file beside its texts, in bytes.
const aliasSize = 160

// An alias is one line of such a file: a driver, and a device that it drives or the number that it has.
type alias struct {
	driver, device string
	line           int
}

// devices is what binds drivers to devices, by the driver's name. An error says why a file was not read.
type devices struct {
	aliases, majors, instances map[string][]alias
	unread, unnumbered         error // of aliases, and of majors
}

// devices reads what binds drivers to devices, beside the aliases; unread is why there may be more aliases.
// path_to_inst only lists devices that the machine once contained; they may be missing now.
func (k *Kernel) devices(aliases []alias, unread error, r *fact.Report) devices {
	d := devices{aliases: byDriver(aliases), unread: unread}
	var list []alias
	list, d.unnumbered = k.table(majorsFile, 2, 0, 1, r)
	d.majors = byDriver(list)
	list, err := k.table(instancesFile, 3, 2, 0, r)
	d.instances = byDriver(list)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Problem(SourceAliases, "", "", err)
	}
	return d
}

// byDriver returns the first lines of each driver.
func byDriver(list []alias) map[string][]alias {
	out := make(map[string][]alias)
	for _, a := range list {
		if of := out[a.driver]; len(of) < maxTriggers {
			out[a.driver] = append(of, a)
		}
	}
	return out
}

// aliases reads driver_aliases; none if there is no such file.
func (k *Kernel) aliases(r *fact.Report) ([]alias, error) {
	list, err := k.table(aliasesFile, 2, 0, 1, r)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return list, err
}

// table reads the lines of a file that have n words, which may be quoted; driver and device are the places of two.
func (k *Kernel) table(file string, n, driver, device int, r *fact.Report) ([]alias, error) {
	text, item, err := limit.ReadItem(k.machine, file, limit.Text, r.Budget)
	defer item.Done()
	if err != nil {
		return nil, err
	}
	var out []alias
	line := 0
	for text := range strings.Lines(string(text)) {
		line++
		f := strings.Fields(text)
		if len(f) == n && f[0][0] != '#' {
			if err := item.Keep(int64(aliasSize + len(text))); err != nil {
				return out, fmt.Errorf("/%s: %w", file, err)
			}
			word := func(i int) string { return escape.UTF8(strings.Trim(f[i], `"`)) }
			out = append(out, alias{word(driver), word(device), line})
		}
	}
	return out, nil
}

// asks answers whether the name of a device asks for the driver, and which. The kernel looks a driver up by its major
// number: one without has no device (ddi_name_to_major), though root may load it.
func (d *devices) asks(m *Record) (out fact.Answer, triggers []fact.Reason) {
	ask := func(file, text string, of map[string][]alias) {
		for _, a := range of[m.Name] {
			if !strings.Contains(m.Path, "/drv/") {
				break
			}
			because := fact.Reason{Code: SourceAliases, File: "/" + file, Line: a.line, Text: text + a.device}
			out = fact.Passes(because)
			if len(triggers) < maxTriggers {
				triggers = append(triggers, because)
			}
		}
	}
	ask(aliasesFile, "this device asks for it: ", d.aliases)
	ask(instancesFile, "the machine once contained its device ", d.instances)
	switch {
	case d.unread != nil:
		return fact.Unsure(judge.ReasonUnread, "the aliases of devices were not read: "+d.unread.Error()), triggers
	case !out.Applies() || d.majors[m.Name] != nil:
	case d.unnumbered != nil:
		return fact.Unsure(judge.ReasonUnread, "whether it has a major number was not read: "+
			d.unnumbered.Error()), triggers
	default:
		return fact.Stops(fact.Reason{Code: reasonMajor, File: "/" + majorsFile,
			Text: "the driver has no major number: no device is its"}), triggers
	}
	return out, triggers
}
