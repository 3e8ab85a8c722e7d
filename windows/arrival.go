// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// errStoreMissing is the error of an image that may be a part of a volume.
var errStoreMissing = &sentinel.Error{Before: "the image has no driver store", Cause: fs.ErrNotExist}

// A stagedPackage is a package of the driver store as its folder has it.
type stagedPackage struct {
	folder    string // its name
	path      string // of its INF, a DOS path
	inf       *inf
	published string // the INF's name below Windows\INF; empty if Windows does not know the package
	unsure    string // why it is not known whether Windows knows it; empty if it is
}

// packagesFor returns the packages of the store that bring the entry's file in: that of its folder, the one that the
// registry names, those with a file of its name that are linked with it or that would put theirs where none is, and
// those with a file of its bytes: the INF may give that another name. The error says why another one may bring it in,
// too.
func (c *checker) packagesFor(e *entry) ([]string, error) {
	if e.Store != "" {
		return []string{e.Store}, nil
	}
	unread := c.inventory.linksUnread
	full := c.inventory.Paths.fullKey(e.Path)
	link, ok := c.inventory.links[full]
	if ok && link == "" {
		unread = fmt.Errorf("%w: the registry has no source of the file", fact.ErrMalformed)
	}
	var folders []string
	var maybe error
	for _, f := range c.inventory.Files {
		if f.pack == "" || slices.Contains(folders, f.pack) {
			continue
		}
		if strings.EqualFold(baseName(f.path), baseName(e.Path)) &&
			(strings.EqualFold(link, f.pack) || e.fileAbsent() || e.linked(f.pack)) {
			folders = append(folders, f.pack)
			continue
		}
		switch same, err := c.kernel.sameBytes(c.inventory.Paths, e.Path, f.path, c.report); {
		case same:
			folders = append(folders, f.pack)
		case unread != nil || err != nil:
			maybe = cmp.Or(maybe, unread, err)
		}
	}
	named := func(folder string) bool { return strings.EqualFold(folder, link) }
	if link != "" && !slices.ContainsFunc(folders, named) { // the file has another name there
		folders = append(folders, link)
	}
	renaming, err := c.renaming(e, folders)
	return append(folders, renaming...), cmp.Or(maybe, err)
}

// linked reports whether a package of the store is one of the driver's.
func (e *entry) linked(folder string) bool {
	return slices.ContainsFunc(e.Driver.Packages, func(p Package) bool { return strings.EqualFold(p.Name, folder) })
}

// renaming returns further packages with a file whose INF has a service with the entry's file, which has another name
// in the store: of those that are linked with the driver, and of all where the file was not read. The error says that
// an INF could not be read.
func (c *checker) renaming(e *entry, known []string) (folders []string, maybe error) {
	asked := map[string]bool{}
	for _, f := range c.inventory.Files {
		if f.pack == "" || asked[f.pack] || slices.Contains(known, f.pack) || e.Driver.PE != nil && !e.linked(f.pack) {
			continue
		}
		asked[f.pack] = true
		switch p, err := c.kernel.staged(c.ctx, c.inventory, f.pack, c.report); {
		case errors.Is(err, fs.ErrNotExist): // nothing is installed without an INF
		case err != nil:
			maybe = cmp.Or(maybe, err)
		case p.starts(e):
			folders = append(folders, f.pack)
		}
	}
	return folders, maybe
}

// lends reports whether the INF is for no device of any system, and adds a service with the entry's file in a section
// that another INF may take over, by Include and Needs. [DefaultInstall] is for who installs the INF itself.
func (p *stagedPackage) lends(e *entry) bool {
	if len(p.inf.Models) > 0 {
		return false
	}
	for _, sec := range p.inf.file.sections[""] {
		if strings.HasPrefix(sec.key, "defaultinstall") {
			continue
		}
		if slices.ContainsFunc(p.inf.file.servicesIn(sec.key), func(s infService) bool {
			return strings.EqualFold(s.Binary, baseName(e.Path))
		}) {
			return true
		}
	}
	return false
}

// starts reports whether the package has a service with the entry's file.
func (p *stagedPackage) starts(e *entry) bool {
	return slices.ContainsFunc(p.inf.Services, func(s infService) bool {
		return strings.EqualFold(s.Binary, baseName(e.Path))
	})
}

// sameBytes reports whether two files have the same bytes. A file that is not there has none.
func (k *Kernel) sameBytes(p ntPaths, x, y string, r *fact.Report) (bool, error) {
	var sizes [2]int64
	for i, dos := range []string{x, y} {
		name, err := p.file(dos)
		if err != nil {
			return false, err
		}
		info, err := fs.Stat(k.machine, name)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sizes[i] = info.Size()
	}
	if sizes[0] != sizes[1] {
		return false, nil
	}
	first, item, err := k.readSmall(p, x, k.options.FileCap(), r)
	defer item.Done()
	if err != nil {
		return false, err
	}
	second, other, err := k.readSmall(p, y, k.options.FileCap(), r)
	other.Done()
	return err == nil && bytes.Equal(first, second), err
}

// arrival answers for the arrival of a device: of a staged package PnP copies the file, registers the service and
// starts it, for any user ("Driver Store", learn.microsoft.com/windows-hardware/drivers/install/driver-store).
func (c *checker) arrival(e *entry, file fact.Answer) fact.Answer {
	if file.Blocked() == fact.Yes && !e.fileAbsent() {
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
			switch {
			case e.fileAbsent(): // the package has its own, which is judged by itself
				return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: a.Because().Text +
					", with the file of the package, which is not there yet"})
			case file.Blocked() == "":
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
		return fact.Unsure(ReasonStaged, "which package of the driver store the file came from was not read: "+
			unlinked.Error())
	}
	switch {
	case stopped.Applies():
		return stopped
	case e.fileAbsent():
		return file
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
	case errors.Is(err, fs.ErrNotExist) && p.unsure == "":
		return fact.Answer{}
	case errors.Is(err, fs.ErrNotExist):
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: p.unsure})
	case err != nil:
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path,
			Text: "the INF of package " + p.folder + " could not be read: " + err.Error()})
	case p.published == "" && p.unsure == "", len(p.models()) == 0 && !p.inf.Cut && !p.lends(e):
		return fact.Answer{}
	case len(p.models()) == 0 && !p.inf.Cut:
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: "the INF is for no device by " +
			"itself, and adds a service with the file for those that include it: whether one does is not known"})
	case p.published == "":
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: p.unsure})
	}
	if !p.starts(e) {
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path,
			Text: "no service that package " + p.published + " adds names the file: what starts it is not known"})
	}
	ids := p.ids()
	if len(ids) == 0 { // those that were left out of a file that has too many may be for this system
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path,
			Text: "not all devices that package " + p.published + " is for were read"})
	}
	if !slices.ContainsFunc(ids, func(id string) bool { return !hasFoldPrefix(id, `ROOT\`) }) {
		return fact.UnsureOf(fact.Reason{Code: ReasonStaged, File: p.path, Text: "package " + p.published +
			" is for devices that no bus finds: whether an administrator, or Windows, makes one is not known"})
	}
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
	for _, m := range p.models() {
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
	k.storePackages(ctx, inv, r)
	known := inv.packageOf(folder)
	raw, item, err := k.readSmall(inv.Paths, p.path, maxINF, r)
	defer item.Done()
	if errors.Is(err, fs.ErrNotExist) && (known != nil || !inv.packagesRead) {
		p.unsure = "package " + folder + " has no INF, and whether Windows knows it is not known"
	}
	if err != nil {
		return p, err
	}
	if p.inf, err = parseINF(raw, item); err != nil {
		return p, err
	}
	if known != nil && known.INF != "" {
		p.published = known.INF
		return p, nil
	}
	if inv.infs == nil {
		inv.infs = k.readINFIndex(inv)
	}
	p.published, err = inv.infs.named(k, inv.Paths, raw, r)
	switch {
	case p.published != "":
	case err != nil:
		p.unsure = "whether Windows knows package " + folder + " is not known: " + err.Error()
	case known != nil:
		p.unsure = "whether Windows knows package " + folder + " is not known: its key has no name of an INF"
	case !inv.packagesRead:
		p.unsure = "whether Windows knows package " + folder +
			" is not known: the database of packages was not read whole"
	}
	return p, nil
}

// packageOf returns the package of a folder of the store as the database has it; nil if it does not.
func (inv *inventory) packageOf(folder string) *Package {
	if inv.byFolder == nil {
		inv.byFolder = make(map[string]int, len(inv.Packages))
		for i := range inv.Packages {
			inv.byFolder[fold(inv.Packages[i].Name)] = i
		}
	}
	i, ok := inv.byFolder[fold(folder)]
	if !ok {
		return nil
	}
	return &inv.Packages[i]
}

// storePackages asks for the packages of the store, if they were not asked for. They stay unknown if that fails.
func (k *Kernel) storePackages(ctx context.Context, inv *inventory, r *fact.Report) {
	if inv.packagesAsked || k.options.Image {
		return
	}
	inv.packagesAsked, inv.byFolder = true, nil
	raw, err := k.machine.Call(ctx, OpDriverPackages)
	if err != nil {
		return
	}
	own := r.Part()
	list, err := parseDriverPackages(raw, own)
	r.Append(own)
	inv.Packages = append(inv.Packages, list...)
	inv.packagesRead = err == nil && len(list) > 0 && own.Count(SourceStore) == 0
}

// readSmall reads a file of at most max bytes.
func (k *Kernel) readSmall(p ntPaths, dos string, max int64, r *fact.Report) ([]byte, *fact.Item, error) {
	name, err := p.file(dos)
	if err != nil {
		return nil, nil, err
	}
	return limit.ReadItem(k.machine, name, max, r.Budget)
}
