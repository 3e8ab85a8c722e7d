// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"fmt"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// An inventory holds the sources' lists. A nil list was not read; an empty list was read and has no entries.
type inventory struct {
	Paths      ntPaths
	Images     []LoadedImage
	Statuses   []ServiceStatus
	Registered []registeredService
	Devices    []Device
	Packages   []Package
	Filters    []Filter
	WMI        []WMIDriver
	WMISigned  []WMISignedDriver
	Classes    []registry.Key // device setup classes, with the filters of all their devices
	Store      []string       // folders of the store's packages
	Files      []storedFile   // of System32\drivers and of the store

	links       map[string]string // files that a package brought in, with its folder in the store, by full key
	linksUnread error             // why links may lack some; of an image a missing hive is one

	infs     *infIndex      // the files below Windows\INF; nil until a package asks
	byFolder map[string]int // places in Packages by folded folder; nil until one is asked for

	judged        bool // a verdict is asked for
	packagesRead  bool // the database of packages was read whole: Packages has every one
	packagesAsked bool // the packages were asked for, for a verdict
}

// shortPaths are the paths of images and services that have short names in them.
func (inv *inventory) shortPaths() []string {
	var list []string
	add := func(dos string) {
		if hasShortName(dos) && len(list) < maxShortPaths {
			list = append(list, dos)
		}
	}
	for i := range inv.Images {
		if dos, err := inv.Paths.dos(inv.Images[i].NTPath); err == nil {
			add(dos)
		}
	}
	for i := range inv.Registered {
		add(inv.Registered[i].ImageFile)
	}
	return list
}

// maxShortPaths is how many paths with short names are looked up; they are rare.
const maxShortPaths = 256

// join makes one entry of each image. The order is that of loading, then that of the registry.
func (inv *inventory) join() []entry {
	j := joiner{
		inv: inv, byKey: map[string]int{}, byService: map[string]servicePlace{}, links: maxLinks,
		refused: map[string]*registeredService{},
	}
	for i := range inv.Images {
		j.addImage(&inv.Images[i])
	}
	for i := range inv.Registered {
		j.addRegistered(&inv.Registered[i])
	}
	j.resolveAliases()
	for _, st := range inv.Statuses {
		j.addStatus(st)
	}
	j.addFilters()
	j.addClassFilters()
	j.addWMI()
	j.addDevices()
	j.addPackages()
	j.views()
	j.shortKeys()
	return j.entries
}

type joiner struct {
	inv       *inventory
	entries   []entry
	byKey     map[string]int                // until all is joined by folded path: no file stands for another
	byService map[string]servicePlace       // by folded name
	links     int                           // devices and packages that entries may still get
	refused   map[string]*registeredService // those whose registry key could not be read, by folded name
}

// A servicePlace is where a service is: the entry, and its place in the entry's services.
type servicePlace struct{ entry, at int }

// addServiceOf adds a service to an entry.
func (j *joiner) addServiceOf(e *entry, s Service) servicePlace {
	place := servicePlace{j.byKey[e.Key], len(e.Driver.Services)}
	e.Driver.Services = append(e.Driver.Services, s)
	j.byService[fold(s.Name)] = place
	return place
}

// shortKeys gives one file of each name its short key.
func (j *joiner) shortKeys() {
	owner := make(map[string]string, len(j.entries))
	loaded := make(map[string]bool, len(j.inv.Images))
	for i := range j.entries {
		loaded[j.entries[i].Key] = j.entries[i].Driver.Image != nil
	}
	for i := range j.entries {
		path := j.entries[i].Key
		short := j.inv.Paths.key(path)
		o, ok := owner[short]
		switch {
		case ok && loaded[o] != loaded[path]: // so that a list of the images alone has the same ids
			if loaded[path] {
				owner[short] = path
			}
		case !ok, !j.inv.Paths.inDrivers(o) && j.inv.Paths.inDrivers(path):
			owner[short] = path
		}
	}
	for i := range j.entries {
		e := &j.entries[i]
		if short := j.inv.Paths.key(e.Key); owner[short] == e.Key {
			e.Key = short
		} else if own, ok := j.inv.Paths.storeKey(e.Key); ok {
			e.Key = own
		}
	}
}

// inDrivers reports whether a folded path is that of a file in System32\drivers itself.
func (p ntPaths) inDrivers(path string) bool {
	rest, ok := strings.CutPrefix(path, fold(p.SystemRoot)+`\system32\drivers\`)
	return ok && !strings.Contains(rest, `\`)
}

// fullKey is a path in the one form that all spellings of it have.
func (p ntPaths) fullKey(dos string) string { return fold(p.longPath(dos)) }

// key returns the canonical name of an image when no other file has its name; see entry.
func (p ntPaths) key(dos string) string {
	f := p.fullKey(dos)
	dir := f[:strings.LastIndexByte(f, '\\')+1]
	root := fold(p.SystemRoot)
	if root == "" {
		return f
	}
	if dir == root+`\system32\drivers\` || strings.HasPrefix(dir, root+`\system32\driverstore\filerepository\`) {
		return baseName(f)
	}
	return f
}

func (j *joiner) entry(key, name, path string) *entry {
	if i, ok := j.byKey[key]; ok {
		return &j.entries[i]
	}
	j.byKey[key] = len(j.entries)
	d := &Driver{}
	if j.inv.Registered != nil {
		d.Services = []Service{}
	}
	j.entries = append(j.entries, entry{Key: key, Name: name, Path: j.inv.Paths.longPath(path), Driver: d})
	return &j.entries[len(j.entries)-1]
}

// noName is the key and the name of an image of which the kernel gives none.
const noName = "(no name)"

func (j *joiner) addImage(m *LoadedImage) {
	path, err := j.inv.Paths.dos(m.NTPath)
	key, name := fold(m.NTPath), m.Name()
	switch {
	case err == nil:
		key = j.inv.Paths.fullKey(path)
	case key == "":
		key, err = noName, fmt.Errorf("%w: the kernel lists an image without a path", fact.ErrMalformed)
	}
	if name == "" {
		name = noName
	}
	if i, ok := j.byKey[key]; ok && j.entries[i].Driver.Image != nil {
		// The same file twice: two entries, distinguished by their place in the list.
		delete(j.byKey, key)
	}
	e := j.entry(key, name, path)
	e.Loaded, e.Driver.Image = true, m
	if err != nil {
		e.Problems = append(e.Problems, fact.ProblemOf(SourceModules, name, "path", err))
	}
	if m.AliasOf != "" && path != "" {
		e.own = e.Path
		e.Path = e.Path[:len(e.Path)-len(baseName(e.Path))] + m.AliasOf
	}
}

// resolveAliases finds the files that copies for crash dumps were made of: they are named as if they
// lay beside System32\drivers' own, wherever the driver runs from.
func (j *joiner) resolveAliases() {
	byName := map[string][]int{}
	for i := range j.entries {
		e := &j.entries[i]
		name := fold(baseName(e.Path))
		if e.own == "" && name != "" && len(byName[name]) < maxSameName {
			byName[name] = append(byName[name], i)
		}
	}
	for i := range j.entries {
		e := &j.entries[i]
		if e.own == "" {
			continue
		}
		best, path := 0, e.Path
		for _, at := range byName[fold(e.Driver.Image.AliasOf)] {
			if fit := e.aliasFit(&j.entries[at]); fit > best {
				best, path = fit, j.entries[at].Path
			}
		}
		if !strings.EqualFold(path, e.Path) {
			e.Path = path
		}
	}
}

// maxSameName is how many drivers of one name are looked at for one that a copy was made of.
const maxSameName = 64

// aliasFit says how well a driver fits as the one that the entry is a copy of: one that has its
// headers, one at the place that the name says, any other.
func (e *entry) aliasFit(of *entry) int {
	im, other := e.Driver.Image, of.Driver.Image
	switch {
	case other != nil && im.Checksum != "" && im.Checksum == other.Checksum && im.TimeStamp == other.TimeStamp:
		return 3
	case strings.EqualFold(e.Path, of.Path):
		return 2
	}
	return 1
}

func (j *joiner) addRegistered(r *registeredService) {
	if r.Refused {
		j.refused[fold(r.Name)] = r
		return
	}
	var e *entry
	if r.ImageFile != "" {
		e = j.entry(j.inv.Paths.fullKey(r.ImageFile), baseName(r.ImageFile), r.ImageFile)
	} else {
		e = j.entry("service "+fold(r.Name), r.Name, "")
		e.Problems = append(e.Problems, r.Problems...)
	}
	j.addServiceOf(e, r.Service)
}

func (j *joiner) addStatus(st ServiceStatus) {
	place, ok := j.byService[fold(st.Name)]
	if !ok {
		place = j.addService(st.Name)
	}
	e := &j.entries[place.entry]
	s := &e.Driver.Services[place.at]
	s.merge(st)
	switch s.State {
	case stateRunning, "paused", "pause_pending", "continue_pending":
		e.Loaded = true
	case "start_pending", "stop_pending":
		e.Loaded, e.Pending = true, s.State
	}
}

// addService adds an entry for a service whose image is not known: the registry does not have it, or
// does not let it be read.
func (j *joiner) addService(name string) servicePlace {
	e := j.entry("service "+fold(name), name, "")
	if s := j.refused[fold(name)]; s != nil {
		for _, p := range s.Problems {
			p.Subject = name // as the service manager writes it
			e.Problems = append(e.Problems, p)
		}
	}
	return j.addServiceOf(e, Service{Name: name, Ephemeral: isEphemeral(name)})
}

func (j *joiner) addFilters() {
	for i := range j.inv.Filters {
		f := &j.inv.Filters[i]
		if place, ok := j.byService[fold(f.Name)]; ok {
			j.entries[place.entry].Driver.Filter = f
		}
	}
}

func (j *joiner) addWMI() {
	for _, w := range j.inv.WMI {
		place, ok := j.byService[fold(w.Name)]
		if !ok {
			place = j.addService(w.Name)
		}
		d := j.entries[place.entry].Driver
		d.WMI = append(d.WMI, w)
	}
}

// signedDevices are WMI's rows by device. Rows of a device that cannot be distinguished from another (on a tape, serial
// numbers are redacted) are left out.
func (j *joiner) signedDevices() map[string]*WMISignedDriver {
	rows := make(map[string]*WMISignedDriver, len(j.inv.WMISigned))
	for i := range j.inv.WMISigned {
		id := fold(j.inv.WMISigned[i].DeviceID)
		if _, twice := rows[id]; twice {
			rows[id] = nil
			continue
		}
		rows[id] = &j.inv.WMISigned[i]
	}
	return rows
}

func (j *joiner) addDevices() {
	signed := j.signedDevices()
	ids := make(map[string]int, len(j.inv.Devices))
	for _, dev := range j.inv.Devices {
		ids[fold(dev.Instance)]++
	}
	for _, dev := range j.inv.Devices {
		if w := signed[fold(dev.Instance)]; w != nil && ids[fold(dev.Instance)] == 1 {
			dev.WMI, dev.Signer, dev.Signed = w, w.Signer, fact.TriOf(w.IsSigned)
		}
		cut := dev.cutLists()
		names := append([]string{dev.Service}, dev.UpperFilters...)
		seen := map[int]bool{}
		for _, name := range append(names, dev.LowerFilters...) {
			place, ok := j.byService[fold(name)]
			if !ok || seen[place.entry] {
				continue
			}
			seen[place.entry] = true
			e := &j.entries[place.entry]
			if cut {
				e.tooMany(SourceDevices, "devices",
					fmt.Sprintf("ids or filters of a device, more than %d", maxDeviceNames))
			}
			if j.mayLink(e, len(e.Driver.Devices), maxDevices, SourceDevices, "devices") {
				e.Driver.Devices = append(e.Driver.Devices, dev)
			}
		}
	}
}

// Limits on what is linked with one driver: a registry may name each device, or each package, with
// each driver.
const (
	maxDevices     = 1024
	maxPackages    = 64
	maxDeviceNames = 64      // ids, and filters of each kind, of one device
	maxLinks       = 1 << 19 // of all drivers together
)

// mayLink reports whether an entry gets one more of what it has n of. It reports once that some are left out.
func (j *joiner) mayLink(e *entry, n, most int, source, field string) bool {
	if n < most && j.links > 0 {
		j.links--
		return true
	}
	e.tooMany(source, field, fmt.Sprintf("more than %d", n))
	return false
}

// cutLists shortens lists that are longer than those of any device, and reports whether it did.
func (d *Device) cutLists() bool {
	cut := false
	for _, list := range []*[]string{&d.HardwareIDs, &d.UpperFilters, &d.LowerFilters} {
		if len(*list) > maxDeviceNames {
			*list, cut = (*list)[:maxDeviceNames:maxDeviceNames], true
		}
	}
	return cut
}

// addPackages links packages by the INF of the drivers' devices and owners, by the services that
// the INF adds, and by the folder of an image that runs from the store.
func (j *joiner) addPackages() {
	byINF, byFolder, byService := map[string][]int{}, map[string]int{}, map[string][]int{}
	for i, p := range j.inv.Packages {
		byFolder[fold(p.Name)] = i
		if p.INF != "" {
			byINF[fold(p.INF)] = append(byINF[fold(p.INF)], i)
		}
		for _, s := range p.Services {
			byService[fold(s)] = append(byService[fold(s)], i)
		}
	}
	for i := range j.entries {
		e := &j.entries[i]
		seen := map[int]bool{}
		link := func(ids ...int) {
			for _, id := range ids {
				if seen[id] {
					continue
				}
				if !j.mayLink(e, len(e.Driver.Packages), maxPackages, SourceStore, "packages") {
					return
				}
				seen[id] = true
				e.Driver.Packages = append(e.Driver.Packages, j.inv.Packages[id])
			}
		}
		for _, inf := range e.Driver.infs() {
			link(byINF[fold(inf.Value)]...)
		}
		for _, s := range e.Driver.Services {
			link(byService[fold(s.Name)]...)
		}
		if id, ok := byFolder[j.storeFolder(e.Path)]; ok {
			link(id)
		}
	}
}

// storeFolder is the package's folder of an image in the driver store.
func (j *joiner) storeFolder(path string) string {
	rest, ok := strings.CutPrefix(fold(path), fold(j.inv.Paths.SystemRoot)+`\system32\driverstore\filerepository\`)
	if !ok || j.inv.Paths.SystemRoot == "" {
		return ""
	}
	folder, _, _ := strings.Cut(rest, `\`)
	return folder
}

// unplaced are the names of loaded images whose path is not known: a service of an image of that name may be theirs.
func (j *joiner) unplaced() map[string]bool {
	names := make(map[string]bool)
	for i := range j.entries {
		if e := &j.entries[i]; e.Driver.Image != nil && e.Path == "" {
			names[fold(baseName(e.Driver.Image.NTPath))] = true
		}
	}
	return names
}

// joinable reports whether an image that the kernel lists would have been found to be the entry's: both have a path.
func (e *entry) joinable(unplaced map[string]bool) bool {
	return e.Driver.Image != nil || e.Path != "" && !unplaced[fold(baseName(e.Path))]
}

// markLoose marks each image that a running service may be of whose image is not known.
func (j *joiner) markLoose() {
	loose := false
	for i := range j.entries {
		loose = loose || j.entries[i].Path == "" && j.entries[i].Driver.running()
	}
	for i := range j.entries {
		j.entries[i].loose = loose
	}
}

// views says for each source that was read what it shows of each image. A source that could show an image, but does not
// distinguish it from others, is unchecked.
func (j *joiner) views() {
	j.markLoose()
	unplaced := j.unplaced()
	for i := range j.entries {
		d := j.entries[i].Driver
		state, reg, refused := false, false, false
		for _, s := range d.Services {
			state = state || s.State != ""
			reg = reg || s.registered()
			refused = refused || j.refused[fold(s.Name)] != nil
		}
		d.Views = map[string]fact.View{
			SourceModules:  view(j.inv.Images != nil && j.entries[i].joinable(unplaced), d.Image != nil),
			SourceServices: view(j.inv.Statuses != nil, state),
			SourceRegistry: view(j.inv.Registered != nil && (reg || !refused), reg),
			SourceDevices:  view(j.inv.Devices != nil, len(d.Devices) > 0),
			SourceStore:    view(j.inv.Packages != nil, len(d.Packages) > 0),
		}
		if j.inv.WMI != nil {
			d.Views[SourceWMI] = view(true, len(d.WMI) > 0)
		}
		if j.inv.Filters != nil && d.Filter != nil {
			d.Views[SourceFilters] = fact.ViewSeen
		}
	}
}

func view(read, seen bool) fact.View {
	switch {
	case !read:
		return fact.ViewUnchecked
	case seen:
		return fact.ViewSeen
	}
	return fact.ViewMissing
}
