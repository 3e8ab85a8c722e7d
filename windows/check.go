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
	"github.com/kernelext/kernelext/internal/near"
)

// Ways for a driver to get into the kernel.
const (
	WayBoot       = "boot_start"     // started by the loader, the kernel or the service manager at boot
	WayService    = "service_start"  // started by its registered service on demand, or for its device
	WayImport     = "import"         // loaded with a driver that imports it
	WayArrival    = "device_arrival" // installed from the driver store for a device that arrives
	WayNewService = "new_service"    // registered anew by an administrator
)

// Codes of the reasons of a verdict.
const (
	ReasonLoaded     = "loaded"           // the kernel lists the image
	ReasonRunning    = "service_running"  // the service manager calls a service of it running
	ReasonRegistered = "registered"       // a service of it is registered, with its start type
	ReasonDisabled   = "service_disabled" // a service of it is disabled
	ReasonNoService  = "no_service"       // no service names it
	ReasonOnDisk     = "on_disk"          // its file is there
	ReasonNoFile     = "no_file"          // there is no such file
	ReasonPending    = "pending_rename"   // another file may take its place at the next boot
	ReasonUnread     = "unread_file"      // its file could not be read
	ReasonSource     = "unread"           // a source that may know the name was not read whole
	ReasonSignature  = "signature"        // what its signature is worth
	ReasonPolicy     = "code_integrity"   // what code integrity makes of it
	ReasonItself     = "itself"           // Windows may load it without a service
	ReasonImported   = "imported"         // a driver that imports it, or none
	ReasonStaged     = "staged"           // a package of the driver store that brings it in, or none
	ReasonRestricted = "install_policy"   // what an administrator's policy says of installing such devices
	ReasonHardwareID = "hardware_id"      // an id of a device that such a package waits for
	ReasonBlockList  = "block_list"       // a rule of a policy of this machine that names it
)

// Check answers for each image that a name, a service, an id or a path means, and once if the query means none.
func (k *Kernel) Check(ctx context.Context, query string, r *fact.Report) ([]fact.Verdict, error) {
	inv, err := k.inventory(ctx, !k.options.Image, r)
	if err != nil {
		return nil, err
	}
	inv.judged = true
	entries := k.addFiles(ctx, inv.join(), inv, r)
	found, unread := k.meant(ctx, query, entries, inv, r)
	c := checker{
		ctx: ctx, kernel: k, report: r, query: query, image: k.options.Image, inventory: inv, entries: entries,
		registry: r.Whole(SourceRegistry), folders: r.Whole(SourceFolders) && !k.bareFolder(),
		problems: slices.Clone(r.Problems),
	}
	unseen := k.unseen(r)
	if unread != nil {
		unseen = fact.Unsure(ReasonUnread, "whether there is such a driver is not known: "+unread.Error())
	}
	// Problems from here on are those of a fact that has a reason of its own, or of one driver.
	var h fact.Header
	k.Header(ctx, &h, r)
	c.release = h.Release
	kept := k.systemLists(ctx, r)
	c.lists, c.unreadLists = kept.lists, kept.unread
	if c.policy, err = k.Policy(ctx, r); err != nil {
		return nil, err
	}
	if c.policy.Loading == "" && !c.image {
		c.problems = append(c.problems, c.policy.Incomplete()...)
	}
	if len(found) == 0 {
		c.problems = append([]fact.Problem{nearest(query, entries)}, c.problems...)
		return []fact.Verdict{c.nothing(unseen)}, nil
	}
	verifier := k.verifier(ctx, k.now(ctx), r)
	verdicts := make([]fact.Verdict, 0, len(found))
	for i := range found {
		k.readDriver(&found[i], inv.Paths, FileOptions{Verifier: verifier, Hashes: len(c.lists) > 0}, nil, r.Budget)
		verdicts = append(verdicts, c.verdict(&found[i]))
	}
	return verdicts, nil
}

// meant returns the entries that the query means; without one, the entry of a file outside the folders of drivers. The
// error says that there may be such a file.
func (k *Kernel) meant(
	ctx context.Context, query string, entries []entry, inv *inventory, r *fact.Report,
) ([]entry, error) {
	var found []entry
	for _, e := range entries {
		if e.named(inv.Paths, query) {
			found = append(found, e)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	e, err := k.anyFile(inv, query, entries)
	switch {
	case err == nil:
		return []entry{e}, nil
	case errors.Is(err, fs.ErrNotExist):
		return k.driversOf(ctx, query, entries, inv, r)
	}
	r.Problem(SourceFile, safe(query), "file", err)
	return nil, err
}

// driversOf returns the drivers that a hardware id stands for. The error says that it may stand for one all the same.
func (k *Kernel) driversOf(
	ctx context.Context, id string, entries []entry, inv *inventory, r *fact.Report,
) ([]entry, error) {
	if bus, rest, ok := strings.Cut(id, `\`); !ok || bus == "" || rest == "" || strings.ContainsAny(bus, ":%/ ") {
		return nil, nil
	}
	k.storePackages(ctx, inv, r)
	own := r.Part()
	list := k.matches(ctx, id, inv, own)
	r.Append(own)
	var found []entry
	for i := range list {
		e := list[i].driver(entries)
		if e != nil && !slices.ContainsFunc(found, func(x entry) bool { return x.Key == e.Key }) {
			found = append(found, *e)
		}
	}
	if len(found) == 0 && len(list) > 0 {
		return nil, fmt.Errorf("%s is for such a device, and which driver it installs is %w", list[0].INF,
			fact.ErrUnrecorded)
	}
	if len(found) == 0 && len(own.Problems) > 0 {
		return nil, own.Problems[0]
	}
	return found, nil
}

// nearest returns the Problem of a query that nothing is known of, with the names that are like it.
func nearest(query string, entries []entry) fact.Problem {
	names := make([]string, 0, 2*len(entries))
	for _, e := range entries {
		names = append(names, strings.ToLower(e.Name))
		for _, s := range e.Driver.Services {
			names = append(names, strings.ToLower(s.Name))
		}
	}
	text := "no such driver or service"
	if like := near.Names(strings.ToLower(query), names); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, ", ") + "?"
	}
	return fact.Problem{
		Source: SourceRegistry, Subject: safe(query), Field: "module", Code: fact.CodeAbsent, Text: text}
}

// unseen answers why something may have a name that was not found. It does not apply if all that a name could mean was
// read: a name that is not there is absent only then.
func (k *Kernel) unseen(r *fact.Report) fact.Answer {
	sources := []string{SourceModules, SourceServices, SourceRegistry, SourceFolders}
	if k.options.Image {
		sources = sources[2:]
	}
	for _, source := range sources {
		if r.Whole(source) {
			continue
		}
		text := fmt.Sprintf("nothing that was read has that name, but source %s was not read whole", source)
		if i := slices.IndexFunc(r.Problems, func(p fact.Problem) bool { return p.Source == source }); i >= 0 {
			text += ": " + r.Problems[i].Text
		}
		return fact.Unsure(ReasonSource, text)
	}
	return fact.Answer{}
}

// anyFile returns an entry for a file outside the folders of drivers: that of a path, or one of Windows' own images in
// System32, such as win32k.sys. It returns fs.ErrNotExist if no such file exists.
func (k *Kernel) anyFile(inv *inventory, query string, others []entry) (entry, error) {
	if strings.HasPrefix(query, idOf("")) {
		return entry{}, fs.ErrNotExist
	}
	if !strings.ContainsAny(query, `\/`) {
		return k.ownImage(inv, query, others)
	}
	dos, err := inv.Paths.queried(query)
	if err != nil {
		return entry{}, err
	}
	return k.fileAt(inv, dos, others)
}

// ownImage returns an entry for a file of an image's System32 itself that has the name, with or without .sys. A running
// machine has those that it uses in its list.
func (k *Kernel) ownImage(inv *inventory, query string, others []entry) (entry, error) {
	if !k.options.Image || strings.Contains(query, ":") || strings.Trim(query, " .") == "" {
		return entry{}, fs.ErrNotExist
	}
	dir := inv.Paths.SystemRoot + `\System32\`
	e, err := k.fileAt(inv, dir+query, others)
	if errors.Is(err, fs.ErrNotExist) {
		return k.fileAt(inv, dir+query+".sys", others)
	}
	return e, err
}

// fileAt returns an entry for the file at a DOS path.
func (k *Kernel) fileAt(inv *inventory, dos string, others []entry) (entry, error) {
	if strings.ContainsAny(dos, "\x00*?\"<>|") { // no file has such a name
		return entry{}, fs.ErrNotExist
	}
	name, err := inv.Paths.file(dos)
	if err != nil {
		return entry{}, err
	}
	info, err := fs.Stat(k.machine, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && k.options.Image && hasShortName(dos):
		return entry{}, errShortName
	case err != nil:
		return entry{}, err
	case info.IsDir():
		return entry{}, fs.ErrNotExist
	}
	key := inv.Paths.key(dos)
	if slices.ContainsFunc(others, func(e entry) bool { return e.Key == key }) {
		key = inv.Paths.fullKey(dos)
	}
	return inv.unnamed(key, baseName(dos), dos), nil
}

// named reports whether a query means the image: its id, key, file name with or without .sys, path, or a service of
// it. Case does not count. A path means the file there, not a file of the same name elsewhere.
func (e *entry) named(p ntPaths, query string) bool {
	q := strings.ToLower(strings.TrimPrefix(query, idOf("")))
	if q == e.Key {
		return true
	}
	if strings.ContainsAny(q, `\/`) {
		if slices.ContainsFunc(e.Driver.Services, func(s Service) bool { return strings.EqualFold(s.ImagePath, q) }) {
			return true
		}
		dos, err := p.queried(q)
		full := p.fullKey(dos)
		return err == nil && (full == p.fullKey(e.Path) || full == p.fullKey(e.ownPath()))
	}
	if q == strings.ToLower(e.Name) || q+".sys" == strings.ToLower(e.Name) {
		return true
	}
	for _, s := range e.Driver.Services {
		if strings.ToLower(s.Name) == q {
			return true
		}
	}
	return false
}
