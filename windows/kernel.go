// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/machine"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

// A Record is one driver image: what every system says, and Windows' own facts.
type Record = fact.Record[Driver]

// A Kernel answers for one Windows machine: the running one, a tape, or a mounted volume, whose registry is read
// from its hive files. It is safe for concurrent use.
type Kernel struct {
	machine fact.Machine
	options fact.Options

	mu       sync.Mutex // guards what follows, each read once
	known    *ntPaths
	hives    map[string]keptHive // of an image, by file
	stores   *keptStores
	lists    *keptLists
	catalogs []*authenticode.Catalogs
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{machine: m, options: o} }

// readsFiles reports whether a list reads the drivers' files.
func readsFiles(d fact.Detail) bool {
	return d&(fact.DetailFiles|fact.DetailHashes|fact.DetailSignatures) != 0
}

// wholeDetail is what the machine's own block lists need of each driver.
const wholeDetail = fact.DetailFiles | fact.DetailHashes | fact.DetailSignatures

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		k.imageHeader(h)
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: privilege, ReleaseKey: "version"}
	m.Read(ctx, h, r)
	var err error
	h.BootID, err = k.bootID(ctx)
	m.Note(r, "bootId", err)
	_, err = k.paths(ctx)
	m.Note(r, "path", err)
	m.Done(r)
}

// imageHeader takes the release and the architecture of an image from the file of its kernel. If that file does not
// say, they stay unknown.
func (k *Kernel) imageHeader(h *fact.Header) {
	raw, err := limit.ReadFile(k.machine, kernelFile, k.options.FileCap())
	if err != nil {
		return
	}
	arch, v, err := pe.Glance(raw)
	if err != nil {
		return
	}
	if v != nil {
		h.Release = v.File
	}
	h.Arch = arch
}

// bootID returns the number that the boot loader counts up at each boot; empty where it is not kept.
func (k *Kernel) bootID(ctx context.Context) (string, error) {
	key, err := k.registry(ctx, BootIDKey)
	if errors.Is(err, fs.ErrNotExist) {
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

// paths returns what NT paths are resolved with; an image's Windows folder is the usual one.
func (k *Kernel) paths(ctx context.Context) (ntPaths, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known != nil {
		return *k.known, nil
	}
	if k.options.Image {
		k.known = &ntPaths{SystemRoot: `C:\Windows`}
		return *k.known, nil
	}
	text, err := k.machine.Call(ctx, OpPaths)
	if err != nil {
		return ntPaths{}, err
	}
	p, err := parsePaths(text)
	if err != nil {
		return ntPaths{}, err
	}
	k.known = &p
	return p, nil
}

// Loaded returns what is in memory: the images of the kernel's list, and those of services that the service manager
// calls running.
func (k *Kernel) Loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Record, error) {
	inv, err := k.inventory(ctx, true, r)
	if err != nil {
		return nil, err
	}
	entries := inv.join()
	running := entries[:0]
	for _, e := range entries {
		if e.Loaded {
			running = append(running, e)
		}
	}
	return k.records(ctx, fact.ScopeLoaded, running, inv, h.TakenAt, r)
}

// Poll returns the kernel's list alone.
func (k *Kernel) Poll(ctx context.Context, _ *any, r *fact.Report) ([]Record, error) {
	images, err := k.images(ctx, r)
	if err != nil {
		return nil, err
	}
	k.hideBases(images, r)
	paths, err := k.paths(ctx)
	if err != nil {
		r.Problem(SourceMachine, "", "path", err)
	}
	inv := &inventory{Paths: paths, Images: images}
	k.readLongPaths(ctx, inv)
	entries := inv.join()
	list := make([]Record, 0, len(entries))
	for i := range entries {
		list = append(list, entries[i].record())
	}
	return list, nil
}

// Time returns the machine's time; zero if it does not say.
func (k *Kernel) Time(ctx context.Context) time.Time {
	t, _ := machine.Time(ctx, k.machine) // zero if unknown
	return t
}

// now returns the time that signatures without a timestamp are judged at. An image is judged by the present.
func (k *Kernel) now(ctx context.Context) time.Time {
	if k.options.Image {
		return time.Now()
	}
	return k.Time(ctx)
}

// Skipped returns the sources that a list does not read.
func (k *Kernel) Skipped(scope fact.Scope) []fact.Source {
	var s []fact.Source
	if scope != fact.ScopeLoaded {
		s = append(s, fact.Source{Name: SourceModules, Outcome: fact.OutcomeSkipped})
	}
	if !readsFiles(k.options.Detail) {
		s = append(s, fact.Source{Name: SourceFile, Outcome: fact.OutcomeSkipped})
	}
	return s
}

// Sources returns what a list with the given details reads.
func (k *Kernel) Sources(d fact.Detail) []fact.SourcePlan {
	files := d&fact.DetailFiles != 0
	return []fact.SourcePlan{
		{Source: SourceMachine, Reads: calls(OpUname, OpClock, OpIdentity, OpPaths),
			For: "release, architecture, time, privilege, drives", Asked: true},
		{Source: SourceModules, Reads: calls(OpModulesEx, OpModules),
			Needs: "SeDebugPrivilege for addresses from Windows 11 24H2",
			For:   "the list: name, path, size, load order, checksum", Asked: true},
		{Source: SourceServices, Reads: calls(OpServices), For: "state of each registered driver", Asked: true},
		{Source: SourceRegistry, Reads: calls(OpServiceKeys),
			For: "registrations: start type, image path, dependencies, filter instances", Asked: true},
		{Source: SourceDevices, Reads: calls(OpDevices),
			For: "devices and the INF files of their drivers", Asked: files},
		{Source: SourceStore, Reads: calls(OpDriverPackages), For: "driver packages", Asked: files},
		{Source: SourceFilters, Reads: calls(OpFilters), Needs: "an administrator",
			For: "attached file system filters", Asked: files},
		{Source: SourceWMI, Reads: calls(OpWMIDrivers, OpWMIPnP),
			For: "a cross-check of services and devices with WMI", Asked: k.options.CrossCheck},
		{Source: SourceFile, Reads: []string{`each driver's file`},
			For: "version, imports, hashes, signatures", Asked: readsFiles(d)},
		{Source: SourceStores, Reads: calls(OpSubkeys),
			For:   "the machine's own roots, and the certificates that it does not allow",
			Asked: d&fact.DetailSignatures != 0},
		{Source: SourceCIFiles, Reads: []string{PolicyFolder},
			For: "the machine's own block lists", Asked: d&wholeDetail == wholeDetail},
		{Source: SourceCatalogs, Reads: []string{catalogRoot},
			For: "signatures of files that have none of their own", Asked: d&fact.DetailSignatures != 0},
	}
}

func calls(ops ...string) []string {
	out := make([]string, len(ops))
	for i, op := range ops {
		out[i] = op + "()"
	}
	return out
}

// Refresh forgets what is kept of paths, registry and catalogs.
func (k *Kernel) Refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.hives, k.stores, k.lists, k.catalogs = nil, nil, nil, nil, nil
}

// dosPath returns the DOS path of a name that may be written as the file system has it. A name without a drive is on
// C:.
func dosPath(name string) string {
	dos := strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", `\`)
	if len(dos) < 2 || dos[1] != ':' {
		dos = `C:\` + strings.TrimPrefix(dos, `\`)
	}
	return dos
}
