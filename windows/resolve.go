// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/registry"
)

// A DeviceMatch is a driver package that a hardware id stands for.
type DeviceMatch struct {
	// ID is the id in the INF that matches: the one that was asked for, one that begins with it and goes on with "&",
	// or a less specific one that a device with the asked id has, too.
	ID string `json:"id"`
	// Kind is hardware if the INF has ID as its hardware id, compatible if as a compatible one.
	Kind string `json:"kind"`
	// INF is the published INF.
	INF string `json:"inf,omitzero"`
	// Package is the folder of the INF's package in the driver store; empty if it was found by its INF alone.
	Package string `json:"package,omitzero"`
	// Section is the INF's install section.
	Section string `json:"section,omitzero"`
	// Service is the service that the section adds, or that it makes a filter of the device if it adds none.
	Service string `json:"service,omitzero"`
	// Rank is how well the driver fits if ID is the device's own first hardware id, as 0x and eight digits: the lowest
	// wins. The signature's part comes from SignerScore, and is left out (00) if Windows did not note one.
	Rank string `json:"rank,omitzero"`
	// Source is where it was found: driver_store (the database of devices) or inf.
	Source string `json:"source"`
}

// Kinds of a DeviceMatch.
const (
	MatchHardware   = "hardware"   // the INF's hardware id
	MatchCompatible = "compatible" // one of the INF's compatible ids
)

// deviceIDsKeys hold a key for each id that an INF of the driver store names.
var deviceIDsKeys = [...]string{`DRIVERS\DriverDatabase\DeviceIds\`, `SYSTEM\DriverDatabase\DeviceIds\`}

// maxMatches is how many packages one id may stand for.
const maxMatches = 1000

// Resolve returns the drivers that a hardware id stands for: by the driver store's database of devices, and by the INF
// files of its packages. The best comes first, and one whose signature's rank is not known last; without the device's
// own list of ids the rank is that of the id alone.
func (k *Kernel) Resolve(ctx context.Context, alias string, r *fact.Report) ([]Record, error) {
	if !strings.Contains(alias, `\`) {
		return nil, fmt.Errorf("%q is not a hardware id (such as PCI\\VEN_8086&DEV_15B7): %w", alias,
			errors.ErrUnsupported)
	}
	inv, err := k.inventory(ctx, false, r)
	if err != nil {
		return nil, err
	}
	k.storePackages(ctx, inv, r)
	entries := k.addFiles(ctx, inv.join(), inv, r)
	var out []Record
	for _, m := range k.matches(ctx, alias, inv, r) {
		out = append(out, m.record(entries))
	}
	if len(out) == 0 {
		return nil, r.Err()
	}
	return out, nil
}

// matches returns what a hardware id stands for, the best first.
func (k *Kernel) matches(ctx context.Context, id string, inv *inventory, r *fact.Report) []DeviceMatch {
	found := resolver{kernel: k, ctx: ctx, inv: inv, report: r, id: id, ids: deviceIDs(id),
		seen: map[string][]string{}}
	found.database()
	found.infs()
	slices.SortStableFunc(found.list, func(a, b DeviceMatch) int {
		return cmp.Compare(found.place(a), found.place(b))
	})
	slices.SortStableFunc(found.list, byRank)
	return found.list
}

// lessSpecific returns the fields of the ids that a device of a bus has beside its most specific one, the best first
// ("Identifiers for PCI Devices", "Standard USB Identifiers", learn.microsoft.com).
func lessSpecific(bus string) [][]string {
	switch fold(bus) {
	case "pci":
		return [][]string{{"VEN", "DEV", "SUBSYS"}, {"VEN", "DEV", "REV"}, {"VEN", "DEV"}}
	case "usb":
		return [][]string{{"VID", "PID", "MI"}, {"VID", "PID"}}
	case "hdaudio":
		return [][]string{{"FUNC", "VEN", "DEV", "SUBSYS"}, {"FUNC", "VEN", "DEV", "REV"}, {"FUNC", "VEN", "DEV"},
			{"FUNC", "VEN"}}
	}
	return nil
}

// deviceIDs returns a hardware id and the less specific ones that a device with it has, too, the best first. The
// interface of a USB device has none without its number.
func deviceIDs(id string) []string {
	list := []string{id}
	bus, rest, _ := strings.Cut(id, `\`)
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, "&") {
		name, _, _ := strings.Cut(part, "_")
		fields[strings.ToUpper(name)] = part
	}
	for _, names := range lessSpecific(bus) {
		var parts []string
		for _, name := range names {
			if part, ok := fields[name]; ok {
				parts = append(parts, part)
			}
		}
		if len(parts) < len(names) || fields["MI"] != "" && !slices.Contains(names, "MI") {
			continue
		}
		if less := bus + `\` + strings.Join(parts, "&"); !strings.EqualFold(less, id) {
			list = append(list, less)
		}
	}
	return list
}

// place returns where a match's id is among those of the device, 0 for the first and for a more specific one.
func (s *resolver) place(m DeviceMatch) int {
	return max(slices.IndexFunc(s.ids, func(id string) bool { return strings.EqualFold(id, m.ID) }), 0)
}

// A resolver collects what one id stands for.
type resolver struct {
	kernel *Kernel
	ctx    context.Context
	inv    *inventory
	report *fact.Report
	id     string
	ids    []string // id, and what a device with it has beside it
	list   []DeviceMatch
	seen   map[string][]string // folders of packages by INF and id, folded; empty for one that is not known
	cut    bool                // there are more than maxMatches, which was reported
}

func (s *resolver) add(m DeviceMatch) {
	key := fold(m.INF + "\n" + m.ID)
	same := func(folder string) bool { return folder == "" || m.Package == "" || folder == fold(m.Package) }
	switch {
	case slices.ContainsFunc(s.seen[key], same), s.cut:
	case len(s.list) == maxMatches:
		s.cut = true
		s.report.Problem(SourceStore, s.id, "alias",
			fmt.Errorf("%w: more than %d packages: the rest is left out", fact.ErrTooLarge, maxMatches))
	default:
		s.seen[key] = append(s.seen[key], fold(m.Package))
		s.list = append(s.list, m)
	}
}

// fits reports whether an INF's id is the one that is asked for, one that begins with it, or a less specific one.
func (s *resolver) fits(id string) bool {
	return hasFoldPrefix(id, s.id+"&") || slices.ContainsFunc(s.ids, func(own string) bool {
		return strings.EqualFold(id, own)
	})
}

// database asks the driver store's database: an id's key has a value for each INF that names it.
func (s *resolver) database() {
	for _, root := range deviceIDsKeys {
		for _, id := range s.ids {
			key, err := s.kernel.anyKey(s.ctx, root+id)
			if key != nil {
				s.addKey(id, key)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !unasked(err) {
				s.report.Problem(SourceStore, s.id, "alias", err)
			}
		}
	}
}

// anyKey reads one key of HKEY_LOCAL_MACHINE, of an image from whichever hive has it. The error matches fs.ErrNotExist
// if there is no such key. Beside a key the error matches errDirtyHive.
func (k *Kernel) anyKey(ctx context.Context, path string) (*registry.Key, error) {
	if !k.options.Image {
		return k.registry(ctx, path)
	}
	hive, rest, err := k.hiveOf(path)
	if err != nil {
		return nil, err
	}
	key, found, err := hive.reg(rest)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, hive.absent()
	}
	return &key, hive.unwritten()
}

// addKey adds the INF files of an id's key: the data's first byte says whether it is a hardware id of the INF (1) or a
// compatible one (2), the second is the feature score.
func (s *resolver) addKey(id string, key *registry.Key) {
	for _, v := range key.Values {
		if v.Name == "" {
			continue
		}
		m := DeviceMatch{ID: id, Kind: MatchHardware, INF: v.Name, Source: SourceStore}
		score := byte(0xff)
		if len(v.Data) > 1 {
			score = v.Data[1]
		}
		if len(v.Data) > 0 && v.Data[0] == 2 {
			m.Kind = MatchCompatible
		}
		s.addPackages(m, score)
	}
}

// addPackages completes a match of the database by the packages of its INF. An INF that comes with Windows may have
// several of one name.
func (s *resolver) addPackages(m DeviceMatch, feature byte) {
	found := false
	for i := range s.inv.Packages {
		if p := &s.inv.Packages[i]; strings.EqualFold(p.INF, m.INF) {
			found = true
			s.addPackage(m, p, feature)
		}
	}
	if !found {
		m.Rank = rank(0, feature, m.Kind)
		s.add(m)
	}
}

// addPackage completes a match of the database by a package of its INF.
func (s *resolver) addPackage(m DeviceMatch, p *Package, feature byte) {
	m.Package, m.Rank = p.Name, rank(p.signature(), feature, m.Kind)
	staged, err := s.kernel.staged(s.ctx, s.inv, p.Name, s.report)
	if err != nil {
		s.add(m)
		return
	}
	for _, model := range staged.models() {
		if slices.ContainsFunc(model.IDs, s.fits) {
			m.Section, m.Service = model.Section, firstService(staged.inf, model.Section)
			break
		}
	}
	s.add(m)
}

// signature returns the part of a rank that is the signature's; 0 if Windows did not note one.
func (p *Package) signature() byte {
	var n uint32
	if p == nil {
		return 0
	}
	if _, err := fmt.Sscanf(p.SignerScore, "0x%x", &n); err != nil {
		return 0
	}
	return byte(n >> 24)
}

// byRank orders matches, the best first. One whose signature is not known comes last.
func byRank(a, b DeviceMatch) int {
	unknown := func(m DeviceMatch) int {
		if strings.HasPrefix(m.Rank, "0x00") {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(unknown(a), unknown(b)), cmp.Compare(a.Rank, b.Rank))
}

// rank returns 0xSSGGTHHH: the signature, the feature score, whether the INF has the id as hardware id (0) or as a
// compatible one (1), and the place among the device's ids, which is taken to be the first.
func rank(signature, feature byte, kind string) string {
	n := uint32(signature)<<24 | uint32(feature)<<16
	if kind == MatchCompatible {
		n |= 1 << 12
	}
	return fmt.Sprintf("0x%08x", n)
}

// firstService returns the service that a section adds, or a service that it makes a filter of the device.
func firstService(f *inf, section string) string {
	for _, service := range f.file.servicesOf(section) {
		return service.Name
	}
	for _, filter := range f.file.filtersOf(section) {
		return filter
	}
	return ""
}

// infs looks the id up in the INF file of every package of the store.
func (s *resolver) infs() {
	for _, dir := range s.inv.Store {
		if s.ctx.Err() != nil || s.cut {
			return
		}
		folder := baseName(dir)
		p, err := s.kernel.staged(s.ctx, s.inv, folder, s.report)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if p.unsure != "" {
				s.report.Problem(SourceStore, folder, "alias", fmt.Errorf("%w: %s", fact.ErrUnrecorded, p.unsure))
			}
			continue
		case err != nil:
			s.report.Problem(SourceStore, folder, "alias", err)
			continue
		}
		if p.inf.Cut {
			s.report.Problem(SourceStore, folder, "alias", fact.ErrTooLarge)
		}
		for _, model := range p.models() {
			for i, id := range model.IDs {
				if !s.fits(id) {
					continue
				}
				m := DeviceMatch{
					ID: id, Kind: MatchHardware, INF: cmp.Or(p.published, baseName(p.path)), Package: folder,
					Section: model.Section, Service: firstService(p.inf, model.Section), Source: FactINF,
				}
				if i > 0 {
					m.Kind = MatchCompatible
				}
				m.Rank = rank(s.inv.packageOf(folder).signature(), 0xff, m.Kind)
				s.add(m)
			}
		}
	}
}

// driver returns the entry of a match: the image of its service, or a file of its package; nil without one.
func (m *DeviceMatch) driver(entries []entry) *entry {
	for i := range entries {
		named := func(s Service) bool { return m.Service != "" && strings.EqualFold(s.Name, m.Service) }
		if slices.ContainsFunc(entries[i].Driver.Services, named) {
			return &entries[i]
		}
	}
	for i := range entries {
		if m.Package != "" && strings.EqualFold(entries[i].Store, m.Package) {
			return &entries[i]
		}
	}
	return nil
}

// record returns the driver of a match with it.
func (m DeviceMatch) record(entries []entry) Record {
	if e := m.driver(entries); e != nil {
		return e.matched(m)
	}
	e := newEntry("inf "+fold(m.INF), m.INF, "")
	return e.matched(m)
}

// matched returns the entry as a record with the match.
func (e *entry) matched(m DeviceMatch) Record {
	d := *e.Driver
	d.Match = &m
	own := *e
	own.Driver = &d
	return own.record()
}
