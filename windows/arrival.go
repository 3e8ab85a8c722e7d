// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// A stagedPackage is a package of the driver store as its folder has it.
type stagedPackage struct {
	folder    string // its name
	path      string // of its INF, a DOS path
	inf       *inf
	published string // the INF's name below Windows\INF; empty if Windows does not know the package
	unsure    string // why it is not known whether Windows knows it; empty if it is
}

// packagesFor returns the packages of the store that bring the entry's file in: that of its folder, the one that the
// registry names, or those linked with it that have a file of its name. The error says why one that has such a file may
// bring it in, too.
func (c *checker) packagesFor(e *entry) ([]string, error) {
	if e.Store != "" {
		return []string{e.Store}, nil
	}
	unread := c.inventory.linksUnread
	link, ok := c.inventory.links[c.inventory.Paths.fullKey(e.Path)]
	if ok && link == "" {
		unread = fmt.Errorf("%w: the registry has no source of the file", fact.ErrMalformed)
	}
	var folders []string
	var maybe error
	for _, f := range c.inventory.Files {
		same := f.pack != "" && strings.EqualFold(baseName(f.path), baseName(e.Path))
		if !same || slices.Contains(folders, f.pack) {
			continue
		}
		linked := func(p Package) bool { return strings.EqualFold(p.Name, f.pack) }
		if strings.EqualFold(link, f.pack) || slices.ContainsFunc(e.Driver.Packages, linked) {
			folders = append(folders, f.pack)
			continue
		}
		maybe = unread
	}
	named := func(folder string) bool { return strings.EqualFold(folder, link) }
	if link != "" && !slices.ContainsFunc(folders, named) { // the file has another name there
		folders = append(folders, link)
	}
	return folders, maybe
}

// arrival answers for the arrival of a device: of a staged package PnP copies the file, registers the service and
// starts it, for any user ("Driver Store", learn.microsoft.com/windows-hardware/drivers/install/driver-store).
func (c *checker) arrival(e *entry, file fact.Answer) fact.Answer {
	if file.Blocked() == fact.Yes {
		return file
	}
	var unsure, stopped fact.Answer
	folders, unlinked := c.packagesFor(e)
	for _, folder := range folders {
		p, err := c.kernel.staged(c.ctx, c.inventory, folder, c.report)
		a := p.arrival(e, err)
		if a.Applies() && a.Blocked() == fact.No {
			a = c.restricted(p, a)
		}
		switch {
		case !a.Applies():
		case a.Blocked() == fact.Yes:
			stopped = a
		case a.Blocked() == fact.No:
			c.remedies = append(c.remedies, fact.Remedy{
				Text: "pnputil /delete-driver " + p.published, NotAgainst: []string{WayNewService}})
			c.triggers = p.triggers()
			if file.Blocked() == "" {
				return file
			}
			return a
		case !unsure.Applies():
			unsure = a
		}
	}
	if unsure.Applies() {
		return unsure
	}
	if !c.folders {
		return fact.Unsure(ReasonStaged, "the driver store was not read whole: which packages have the file is unknown")
	}
	if unlinked != nil {
		return fact.Unsure(ReasonStaged, "the driver store has a file of its name, and which package the file came "+
			"from was not read: "+unlinked.Error())
	}
	if stopped.Applies() {
		return stopped
	}
	return fact.Stops(fact.Reason{Code: ReasonStaged, Text: "no package of the driver store brings it in for a device"})
}

// restricted answers for a package that would come in, under the policies on installing devices. A policy that could
// not be read keeps nothing out: the answer says so.
func (c *checker) restricted(p *stagedPackage, open fact.Answer) fact.Answer {
	if c.restrictions == nil {
		c.restrictions = c.kernel.readRestrictions(c.ctx)
	}
	ids := p.ids()
	a, free := c.restrictions.admits(ids, p.inf.ClassGUID)
	switch {
	case c.restrictions.err != nil:
		because := open.Because()
		because.Text += "; " + a.Because().Text
		return fact.Passes(because)
	case a.Applies():
		return a
	case len(free) < len(ids):
		because := open.Because()
		because.Text += "; a policy on installing devices denies some of the ids, and not " + free[0]
		return fact.Passes(because)
	}
	return open
}

// arrival answers for one package. It does not apply if the package is for no device, or is not Windows' at all.
func (p *stagedPackage) arrival(e *entry, err error) fact.Answer {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fact.Answer{}
	case err != nil:
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path,
			Text: "the INF of package " + p.folder + " could not be read: " + err.Error()})
	case len(p.inf.Models) == 0 && !p.inf.Cut, p.published == "" && p.unsure == "":
		return fact.Answer{}
	case p.published == "":
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: p.unsure})
	}
	named := func(s infService) bool { return strings.EqualFold(s.Binary, baseName(e.Path)) }
	if !slices.ContainsFunc(p.inf.Services, named) {
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path,
			Text: "no service that package " + p.published + " adds names the file: what starts it is not known"})
	}
	ids := p.ids()
	text := "package " + p.published + " is staged for " + ids[0]
	if n := len(ids) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more ids", n)
	}
	return fact.Passes(fact.Reason{Code: ReasonStaged, File: p.path,
		Text: text + ": when such a device arrives, it is installed and started, for any user"})
}

// ids returns the hardware ids that the package is for, each once.
func (p *stagedPackage) ids() []string {
	var ids []string
	seen := map[string]bool{}
	for _, m := range p.inf.Models {
		for _, id := range m.IDs {
			if !seen[fold(id)] {
				seen[fold(id)] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// maxTriggers is how many ids of a package a verdict names.
const maxTriggers = 16

// triggers returns the ids that ask for the package.
func (p *stagedPackage) triggers() []fact.Reason {
	var list []fact.Reason
	for _, id := range p.ids() {
		if len(list) == maxTriggers {
			break
		}
		list = append(list, fact.Reason{Code: ReasonHardwareID, Text: id})
	}
	return list
}

// staged reads the INF of a package's folder, and looks whether Windows knows the package. The error matches
// fs.ErrNotExist for a folder without an INF.
func (k *Kernel) staged(
	ctx context.Context, inv *inventory, folder string, r *fact.Report,
) (*stagedPackage, error) {
	p := &stagedPackage{folder: folder}
	dir := inv.Paths.SystemRoot + storeBelow + folder
	name := folder
	if i := indexFold(folder, ".inf_"); i > 0 {
		name = folder[:i+len(".inf")]
	}
	p.path = dir + `\` + name
	raw, item, err := k.readSmall(inv.Paths, p.path, r)
	defer item.Done()
	if err != nil {
		return p, err
	}
	if p.inf, err = parseINF(raw, item); err != nil {
		return p, err
	}
	k.storePackages(ctx, inv, r)
	for _, known := range inv.Packages {
		if strings.EqualFold(known.Name, folder) && known.INF != "" {
			p.published = known.INF
			return p, nil
		}
	}
	if inv.infs == nil {
		inv.infs = k.readINFIndex(inv)
	}
	p.published, err = inv.infs.named(k, inv.Paths, raw, r)
	switch {
	case p.published != "":
	case err != nil:
		p.unsure = "whether Windows knows package " + folder + " is not known: " + err.Error()
	case !inv.packagesRead:
		p.unsure = "whether Windows knows package " + folder + " is not known: the database of packages was not read"
	}
	return p, nil
}

// storePackages asks for the packages of the store, if they were not asked for. They stay unknown if that fails.
func (k *Kernel) storePackages(ctx context.Context, inv *inventory, r *fact.Report) {
	if inv.packagesRead || k.options.Image || inv.packagesAsked {
		return
	}
	inv.packagesAsked = true
	if raw, err := k.machine.Call(ctx, OpDriverPackages); err == nil {
		if list, err := parseDriverPackages(raw, r); err == nil && len(list) > 0 {
			inv.Packages, inv.packagesRead = append(inv.Packages, list...), true
		}
	}
}

// readSmall reads an INF file.
func (k *Kernel) readSmall(p ntPaths, dos string, r *fact.Report) ([]byte, *fact.Item, error) {
	name, err := p.file(dos)
	if err != nil {
		return nil, nil, err
	}
	return limit.ReadItem(k.machine, name, maxINF, r.Budget)
}
