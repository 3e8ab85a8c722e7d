// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/windows"
)

// windowsBackend looks at a Windows machine: the running one, a tape, or a mounted volume, whose
// registry is read from its hive files.
type windowsBackend struct {
	unsupported
	guard   *guard
	options Options
	image   bool

	mu       sync.Mutex // guards what follows, each read once
	paths    *windows.Paths
	hive     *windows.Hive
	hiveErr  error
	catalogs []*windows.Catalogs
}

func newWindows(g *guard, o Options) *windowsBackend {
	return &windowsBackend{unsupported: unsupported{Windows}, guard: g, options: o, image: o.Root != "" && !o.Live}
}

func (b *windowsBackend) asked(d Detail) bool { return b.options.Detail&d != 0 }

// header reads who and what the machine is. Nothing here but the paths is needed for the list.
func (b *windowsBackend) header(ctx context.Context, s *Snapshot, r *report) {
	if s.Live != Yes {
		b.imageHeader(s)
		return
	}
	lost := 0
	note := func(field string, err error) {
		if err != nil {
			lost++
			r.problem(windows.SourceMachine, "", field, err)
		}
	}
	uname, err := b.guard.Call(ctx, windows.OpUname)
	note("release", err)
	keys := linux.ParseKeys(uname)
	s.Release, s.Arch = keys["release"], keys["machine"]
	if keys["version"] != "" {
		s.Release = keys["version"]
	}
	s.TakenAt, err = b.clock(ctx)
	note("takenAt", err)
	identity, err := b.guard.Call(ctx, windows.OpIdentity)
	note("privilege", err)
	s.Privilege = windows.Privilege(identity)
	s.BootID, err = b.bootID(ctx)
	note("bootId", err)
	_, err = b.pathsOf(ctx)
	note("path", err)
	outcome := OutcomeOK
	if lost > 0 {
		outcome = OutcomePartial
	}
	r.source(windows.SourceMachine, outcome, Count{}, nil)
}

// imageHeader takes release and architecture of an image from the kernel's own file. Where that does
// not say, they stay unknown.
func (b *windowsBackend) imageHeader(s *Snapshot) {
	raw, err := limit.ReadFile(b.guard, windows.KernelFile, b.maxFile())
	if err != nil {
		return
	}
	f, err := windows.ParseFile(raw, windows.FileOptions{})
	if err != nil {
		return
	}
	if f.Version != nil {
		s.Release = f.Version.File
	}
	s.Arch = f.PE.Machine
}

func (b *windowsBackend) clock(ctx context.Context) (time.Time, error) {
	clock, err := b.guard.Call(ctx, windows.OpClock)
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, strings.TrimSpace(string(clock)))
}

// bootID is the number that the boot loader counts up at each boot; absent where it is not kept.
func (b *windowsBackend) bootID(ctx context.Context) (string, error) {
	key, err := b.registry(ctx, windows.BootIDKey)
	if errors.Is(err, errNotThere) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if n, ok := key.Dword("BootId"); ok {
		return fmt.Sprint(n), nil
	}
	return "", nil
}

// pathsOf returns what NT paths are resolved with; an image's Windows folder is the usual one.
func (b *windowsBackend) pathsOf(ctx context.Context) (windows.Paths, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paths != nil {
		return *b.paths, nil
	}
	if b.image {
		b.paths = &windows.Paths{SystemRoot: `C:\Windows`}
		return *b.paths, nil
	}
	text, err := b.guard.Call(ctx, windows.OpPaths)
	if err != nil {
		return windows.Paths{}, err
	}
	p, err := windows.ParsePaths(text)
	if err != nil {
		return windows.Paths{}, err
	}
	b.paths = &p
	return p, nil
}

// loaded lists what is in memory: the images of the kernel's list, and those of services that the
// service manager calls running.
func (b *windowsBackend) loaded(ctx context.Context, s *Snapshot, r *report) ([]Module, error) {
	inv, err := b.inventory(ctx, r, true)
	if err != nil {
		return nil, err
	}
	entries := inv.Join()
	running := entries[:0]
	for _, e := range entries {
		if e.Loaded {
			running = append(running, e)
		}
	}
	return b.modules(ctx, running, inv, s.TakenAt, r)
}

// images reads the kernel's list: class 77, or class 11 where that cannot be had, which has neither
// checksums nor time stamps.
func (b *windowsBackend) images(ctx context.Context, r *report) ([]windows.LoadedImage, error) {
	list, errEx := b.imagesOf(ctx, windows.OpModulesEx, windows.ParseModulesEx)
	if errEx == nil {
		r.source(windows.SourceModules, OutcomeOK, CountOf(int64(len(list))), nil)
		return list, nil
	}
	list, err := b.imagesOf(ctx, windows.OpModules, windows.ParseModules)
	if err != nil {
		if errors.Is(errEx, errors.ErrUnsupported) || errors.Is(errEx, ErrUnrecorded) {
			return nil, err
		}
		return nil, errEx
	}
	outcome := OutcomeOK
	if !errors.Is(errEx, errors.ErrUnsupported) {
		outcome = OutcomePartial
		r.problem(windows.SourceModules, "", "image.checksum", errEx)
	}
	r.source(windows.SourceModules, outcome, CountOf(int64(len(list))), nil)
	return list, nil
}

// imagesOf reads one form of the list. A kernel is an image itself, so an empty list is none.
func (b *windowsBackend) imagesOf(ctx context.Context, op string, parse func([]byte) ([]windows.LoadedImage, error)) ([]windows.LoadedImage, error) {
	raw, err := b.guard.Call(ctx, op)
	if err != nil {
		return nil, err
	}
	list, err := parse(raw)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w: the kernel lists no image, not even itself", ErrMalformed)
	}
	return list, err
}

// inventory asks all sources. Only the kernel's own list is needed; it is left out when loaded is
// not asked for.
func (b *windowsBackend) inventory(ctx context.Context, r *report, loaded bool) (*windows.Inventory, error) {
	inv := &windows.Inventory{}
	inv.Paths, _ = b.pathsOf(ctx) // header has told of it
	if loaded {
		images, err := b.images(ctx, r)
		if err != nil {
			return nil, err
		}
		b.hideBases(images, r)
		inv.Images = images
	}
	b.readServices(ctx, inv, r)
	b.readRegistered(ctx, inv, r)
	b.readDevices(ctx, inv, r)
	b.readWMI(ctx, inv, r)
	b.readLongPaths(ctx, inv)
	return inv, ctx.Err()
}

// readLongPaths looks up what short names stand for: an image may be loaded by one and registered by
// the other. Where that cannot be had the path stays as it is.
func (b *windowsBackend) readLongPaths(ctx context.Context, inv *windows.Inventory) {
	if b.image {
		return
	}
	for _, dos := range inv.ShortPaths() {
		long, err := b.guard.Call(ctx, windows.OpLongPath, dos)
		if err != nil || len(long) == 0 {
			continue
		}
		if inv.Paths.Long == nil {
			inv.Paths.Long = make(map[string]string)
		}
		inv.Paths.Long[strings.ToLower(dos)] = string(long)
	}
}

// hideBases drops the addresses unless they were asked for, and says so when the kernel hides
// them.
func (b *windowsBackend) hideBases(images []windows.LoadedImage, r *report) {
	hidden := 0
	for i := range images {
		if images[i].Base == 0 {
			hidden++
		}
		if !b.asked(DetailAddresses) {
			images[i].Base = 0
		}
	}
	if hidden > 0 && b.asked(DetailAddresses) {
		err := fmt.Errorf("addresses %w: from Windows 11 24H2 only with SeDebugPrivilege enabled", ErrRestricted)
		if b.guard.Redacted(windows.OpModulesEx) || b.guard.Redacted(windows.OpModules) {
			err = fmt.Errorf("addresses %w", ErrRedacted)
		}
		p := problemOf(windows.SourceModules, "", "address", err)
		p.Count = hidden
		r.add(p)
	}
}

// read asks one source: parse fills the inventory and says how many things there were.
func (b *windowsBackend) read(ctx context.Context, r *report, source, op string, parse func([]byte) (int, error)) {
	raw, err := b.guard.Call(ctx, op)
	var n int
	if err == nil {
		n, err = parse(raw)
	}
	r.asked(source, n, err)
}

// asked reports a source that was asked; what was never recorded is a source that was skipped.
func (r *report) asked(source string, n int, err error) {
	if err != nil {
		r.source(source, "", Count{}, err)
		if !errors.Is(err, errors.ErrUnsupported) {
			r.problem(source, "", "", err)
		}
		return
	}
	r.source(source, OutcomeOK, CountOf(int64(n)), nil)
}

func (b *windowsBackend) readServices(ctx context.Context, inv *windows.Inventory, r *report) {
	if b.image {
		return
	}
	b.read(ctx, r, windows.SourceServices, windows.OpServices, func(raw []byte) (n int, err error) {
		inv.Statuses, err = windows.ParseServices(raw)
		return len(inv.Statuses), err
	})
}

func (b *windowsBackend) readRegistered(ctx context.Context, inv *windows.Inventory, r *report) {
	registered, problems, err := b.registered(ctx, inv.Paths)
	inv.Registered = registered
	if err != nil {
		r.asked(windows.SourceRegistry, 0, err)
		return
	}
	outcome := OutcomeOK
	if n := closedKeys(registered); n > 0 {
		p := problemOf(windows.SourceRegistry, "", "services", fmt.Errorf("keys of services that cannot be opened: %w", fs.ErrPermission))
		p.Count = n
		problems = append(problems, p)
	}
	for _, p := range problems {
		if p.Subject == "" { // those of one service are with its module
			outcome = OutcomePartial
			r.add(p)
		}
	}
	r.source(windows.SourceRegistry, outcome, CountOf(int64(len(registered)-refusedKeys(registered))), nil)
}

// closedKeys counts the keys that could not be opened; of others the type was damaged, which is told of
// already.
func closedKeys(list []windows.RegisteredService) int {
	n := 0
	for i := range list {
		if list[i].Refused && list[i].PathErr == nil {
			n++
		}
	}
	return n
}

func refusedKeys(list []windows.RegisteredService) int {
	n := 0
	for i := range list {
		if list[i].Refused {
			n++
		}
	}
	return n
}

func (b *windowsBackend) registered(ctx context.Context, p windows.Paths) ([]windows.RegisteredService, []Problem, error) {
	if b.image {
		hive, set, err := b.controlSet()
		if err != nil {
			return nil, nil, err
		}
		keys, err := hive.Services(set)
		if err != nil && len(keys) == 0 {
			return nil, nil, err
		}
		list, problems := windows.ServicesOf(keys, p)
		if err != nil {
			problems = append(problems, problemOf(windows.SourceRegistry, "", "services", err))
		}
		if hive.Dirty() {
			problems = append(problems, problemOf(windows.SourceRegistry, "", "", errDirtyHive))
		}
		return list, problems, nil
	}
	raw, err := b.guard.Call(ctx, windows.OpServiceKeys)
	if err != nil {
		return nil, nil, err
	}
	return windows.ParseServiceKeys(raw, p)
}

// readDevices reads what says which INF and devices belong to a driver: only with DetailFiles,
// except on an image, where it costs nothing.
func (b *windowsBackend) readDevices(ctx context.Context, inv *windows.Inventory, r *report) {
	if b.image {
		var err error
		inv.Devices, err = b.imageDevices()
		r.partly(windows.SourceDevices, "devices", len(inv.Devices), err)
		inv.Packages, err = b.imagePackages()
		r.partly(windows.SourceStore, "packages", len(inv.Packages), err)
		return
	}
	if !b.asked(DetailFiles) {
		for _, name := range []string{windows.SourceDevices, windows.SourceStore, windows.SourceFilters} {
			r.source(name, OutcomeSkipped, Count{}, nil)
		}
		return
	}
	b.read(ctx, r, windows.SourceDevices, windows.OpDevices, func(raw []byte) (n int, err error) {
		inv.Devices, err = windows.ParseDevices(raw)
		return len(inv.Devices), err
	})
	raw, err := b.guard.Call(ctx, windows.OpDriverPackages)
	if err == nil {
		var problems []Problem
		inv.Packages, problems, err = windows.ParseDriverPackages(raw)
		for _, p := range problems {
			r.add(p)
		}
	}
	r.partly(windows.SourceStore, "packages", len(inv.Packages), err)
	b.read(ctx, r, windows.SourceFilters, windows.OpFilters, func(raw []byte) (n int, err error) {
		inv.Filters, err = windows.ParseFilters(raw)
		return len(inv.Filters), err
	})
}

// partly reports how reading a source went that may be there in part, or not at all on older systems,
// which is no Problem.
func (r *report) partly(source, field string, n int, err error) {
	switch {
	case err != nil && n > 0:
		r.source(source, OutcomePartial, CountOf(int64(n)), nil)
		r.problem(source, "", field, err)
	case errors.Is(err, fs.ErrNotExist):
		r.source(source, OutcomeAbsent, Count{}, err)
	default:
		r.asked(source, n, err)
	}
}

func (b *windowsBackend) imageDevices() ([]windows.Device, error) {
	hive, set, err := b.controlSet()
	if err != nil {
		return nil, err
	}
	return hive.Devices(set)
}

// imagePackages are the packages of both hives that may hold the store's database.
func (b *windowsBackend) imagePackages() ([]windows.Package, error) {
	hive, err := b.systemHive()
	if err != nil {
		return nil, err
	}
	keys, err := hive.Packages()
	own, errOwn := b.readHive(windows.DriversHiveFile)
	if errOwn == nil {
		var more []windows.RegKey
		more, errOwn = own.Packages()
		keys = append(keys, more...)
	}
	if errors.Is(errOwn, fs.ErrNotExist) {
		errOwn = nil
	}
	if keys == nil {
		return nil, cmp.Or(err, errOwn, errNotThere)
	}
	return windows.PackagesOf(keys), cmp.Or(err, errOwn)
}

// readWMI asks for the cross-check that a caller may have injected; without one it is skipped. Its
// rows of devices are of use only beside SetupAPI's.
func (b *windowsBackend) readWMI(ctx context.Context, inv *windows.Inventory, r *report) {
	raw, err := b.guard.Call(ctx, windows.OpWMIDrivers)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, ErrUnrecorded) {
		r.source(windows.SourceWMI, OutcomeSkipped, Count{}, nil)
		return
	}
	if err == nil {
		inv.WMI, err = windows.ParseWMIDrivers(raw)
	}
	if err == nil && len(inv.WMI) == 0 && len(inv.Statuses) > 0 {
		inv.WMI, err = nil, noRows("Win32_SystemDriver", "the service manager lists drivers")
	}
	n := len(inv.WMI)
	if err == nil && len(inv.Devices) > 0 {
		inv.WMISigned, err = b.wmiDevices(ctx)
		if err != nil {
			r.source(windows.SourceWMI, OutcomePartial, CountOf(int64(n)), nil)
			r.problem(windows.SourceWMI, "", "devices", err)
			return
		}
	}
	r.asked(windows.SourceWMI, n, err)
}

func (b *windowsBackend) wmiDevices(ctx context.Context) ([]windows.WMISignedDriver, error) {
	raw, err := b.guard.Call(ctx, windows.OpWMIPnP)
	if err != nil {
		return nil, err
	}
	rows, err := windows.ParseWMISigned(raw)
	if err == nil && len(rows) == 0 {
		err = noRows("Win32_PnPSignedDriver", "SetupAPI lists devices")
	}
	return rows, err
}

// noRows is what an answer without rows means: a class that is not there gives no rows and no error.
func noRows(class, although string) error {
	return fmt.Errorf("%w: %s has no rows although %s", ErrMalformed, class, although)
}

func (b *windowsBackend) poll(ctx context.Context, l *List) error {
	var r report
	images, err := b.images(ctx, &r)
	if err != nil {
		return err
	}
	b.hideBases(images, &r)
	paths, err := b.pathsOf(ctx)
	if err != nil {
		r.problem(windows.SourceMachine, "", "path", err)
	}
	inv := &windows.Inventory{Paths: paths, Images: images}
	b.readLongPaths(ctx, inv)
	l.Modules = l.Modules[:0]
	for _, e := range inv.Join() {
		l.Modules = append(l.Modules, windowsModule(&e, b.options.Detail))
	}
	sortModules(l.Modules)
	l.Modules = numberDuplicates(l.Modules)
	l.Sources, l.Problems = r.Sources, r.Problems
	return nil
}

func (b *windowsBackend) skipped(scope Scope) []Source {
	var s []Source
	if scope != ScopeLoaded {
		s = append(s, Source{Name: windows.SourceModules, Outcome: OutcomeSkipped})
	}
	if b.options.Detail&(DetailFiles|DetailHashes|DetailSignatures) == 0 {
		s = append(s, Source{Name: windows.SourceFile, Outcome: OutcomeSkipped})
	}
	return s
}

func (b *windowsBackend) plan(d Detail) []Plan {
	files := d&(DetailFiles|DetailHashes|DetailSignatures) != 0
	return []Plan{
		{Source: windows.SourceMachine, Reads: calls(windows.OpUname, windows.OpClock, windows.OpIdentity, windows.OpPaths), For: "release, architecture, time, privilege, drives", Asked: true},
		{Source: windows.SourceModules, Reads: calls(windows.OpModulesEx, windows.OpModules), Needs: "SeDebugPrivilege for addresses from Windows 11 24H2",
			For: "the list: name, path, size, load order, checksum", Asked: true},
		{Source: windows.SourceServices, Reads: calls(windows.OpServices), For: "state of each registered driver", Asked: true},
		{Source: windows.SourceRegistry, Reads: calls(windows.OpServiceKeys), For: "registrations: start type, image path, dependencies, filter instances", Asked: true},
		{Source: windows.SourceDevices, Reads: calls(windows.OpDevices), For: "devices and the INF files of their drivers", Asked: d&DetailFiles != 0},
		{Source: windows.SourceStore, Reads: calls(windows.OpDriverPackages), For: "driver packages", Asked: d&DetailFiles != 0},
		{Source: windows.SourceFilters, Reads: calls(windows.OpFilters), Needs: "an administrator", For: "attached file system filters", Asked: d&DetailFiles != 0},
		{Source: windows.SourceWMI, Reads: calls(windows.OpWMIDrivers, windows.OpWMIPnP), For: "a cross-check of services and devices with WMI", Asked: b.options.Call != nil},
		{Source: windows.SourceFile, Reads: []string{`each driver's file`}, For: "version, imports, hashes, signatures", Asked: files},
		{Source: windows.SourceCatalogs, Reads: []string{windows.CatalogRoot}, For: "signatures of files that have none of their own", Asked: d&DetailSignatures != 0},
	}
}

func calls(ops ...string) []string {
	out := make([]string, len(ops))
	for i, op := range ops {
		out[i] = op + "()"
	}
	return out
}
