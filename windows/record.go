// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows/authenticode"
	"github.com/kernelext/kernelext/windows/pe"
)

var errReplaced = errors.New("the file was replaced since it was loaded: " +
	"imports, signature and the like are the file's, and not those of the code in memory")

var errNoStamp error = &sentinel.Error{
	Before: "the kernel reported neither checksum nor time stamp of the image to compare its file with",
	Cause:  errors.ErrUnsupported,
}

// idOf returns the id of the image with that key; see entry.Key.
func idOf(key string) string { return string(fact.KindWindowsDriver) + ":" + key }

// records returns entries as records, and reads their files if that was asked for.
func (k *Kernel) records(
	ctx context.Context, scope fact.Scope, entries []entry, inv *inventory, now time.Time, r *fact.Report,
) ([]Record, error) {
	if readsFiles(k.options.Detail) {
		if err := k.readFiles(ctx, scope, entries, inv.Paths, now, r); err != nil {
			return nil, err
		}
	}
	if k.options.Detail&wholeDetail == wholeDetail {
		lists := k.systemLists(ctx, r).lists
		for i := range entries {
			entries[i].matchSystem(lists)
		}
	}
	list := make([]Record, 0, len(entries))
	for i := range entries {
		list = append(list, entries[i].record())
	}
	addUsers(list)
	gather(list, r)
	return list, nil
}

// record returns the entry as a record.
func (e *entry) record() Record {
	m := e.fileRecord()
	m.State = e.state()
	if e.Driver.Image != nil {
		e.addImage(&m)
	}
	return m
}

// fileRecord returns what is known of the image's file as a record, without a state.
func (e *entry) fileRecord() Record {
	d := e.Driver
	m := Record{
		ID: idOf(e.Key), Kind: fact.KindWindowsDriver, Name: e.Name, Path: e.Path,
		Size: e.FileSize, Origin: d.origin(e.looked), Problems: e.Problems, Own: d,
	}
	if d.PE != nil {
		if d.PE.PDB != nil {
			m.ContentID = d.PE.PDB.ID()
		}
		m.Requires = requires(d.PE)
	}
	m.Description = d.Version.String("FileDescription")
	if d.Version != nil {
		m.Version = d.Version.File
	}
	if best, ok := authenticode.Best(d.Signatures); ok {
		m.Signature = best.Common()
	} else if d.Signatures != nil {
		m.Signature.Status = fact.SignatureNone
	}
	return m
}

// addImage adds what the kernel's list says of the image in memory, and compares it with the file.
func (e *entry) addImage(m *Record) {
	m.Size, m.Address = fact.CountOf(e.Driver.Image.Size), e.Driver.Image.Base
	m.OnDisk = e.onDisk()
	if e.Driver.PE != nil && m.OnDisk.Match == "" {
		m.AddProblem(fact.ProblemOf(SourceModules, safe(e.Name), "onDisk.match", errNoStamp))
	}
	if m.OnDisk.Match == fact.MatchDifferent {
		m.Version, m.ContentID = "", ""
		m.AddProblem(fact.ProblemOf(SourceFile, safe(e.Path), "version", errReplaced))
	}
}

func (e *entry) state() fact.State {
	switch {
	case e.Driver.Image != nil && e.Pending == "":
		return fact.StateLoaded
	case e.Pending == "start_pending":
		return fact.StateLoading
	case e.Pending == "stop_pending":
		return fact.StateUnloading
	case e.Loaded:
		return fact.StateLoaded
	case e.Staged:
		return fact.StateStaged
	}
	return fact.StateInstalled
}

// requires returns the imported images, as the file names them, each once. API sets are names of groups of functions
// and no images.
func requires(p *pe.File) []string {
	if p.Imports == nil {
		return nil
	}
	names := make([]string, 0, len(p.Imports))
	for _, im := range p.Imports {
		if !isAPISet(im.Library) {
			names = append(names, im.Library)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// addUsers turns the imports of the listed images around. If those of one image are unknown, so are all users.
func addUsers(list []Record) {
	index := make(map[string]int, len(list))
	for i := range list {
		index[strings.ToLower(list[i].Name)] = i
		if list[i].Requires == nil {
			return
		}
	}
	for i := range list {
		list[i].UsedBy = []string{}
	}
	for i := range list {
		for _, lib := range list[i].Requires {
			if at, ok := index[strings.ToLower(lib)]; ok && at != i {
				list[at].UsedBy = append(list[at].UsedBy, list[i].Name)
			}
		}
	}
	for i := range list {
		slices.Sort(list[i].UsedBy)
	}
}

// onDisk compares the headers in memory with the file's. If the file was not read, a Problem says why there is no
// answer.
func (e *entry) onDisk() fact.OnDisk {
	im, headers := e.Driver.Image, e.Driver.PE
	if headers == nil {
		if e.fileAbsent() {
			return fact.OnDisk{Match: fact.MatchAbsent, Path: e.Path}
		}
		return fact.OnDisk{}
	}
	if im.Checksum == "" {
		return fact.OnDisk{Path: e.Path}
	}
	o := fact.OnDisk{Match: fact.MatchSame, Path: e.Path, By: "checksum_timestamp"}
	if im.Checksum != headers.Checksum || im.TimeStamp != headers.TimeStamp {
		o.Match = fact.MatchDifferent
	}
	if headers.PDB != nil {
		o.ContentID = headers.PDB.ID()
	}
	return o
}

// gather makes one Problem of its source of a Problem that every record has.
func gather(list []Record, r *fact.Report) {
	if len(list) < 2 {
		return
	}
	same := func(p, q fact.Problem) bool {
		return p.Source == q.Source && p.Field == q.Field && p.Code == q.Code && p.Text == q.Text && q.Subject != ""
	}
	for _, p := range slices.Clone(list[0].Problems) {
		has := func(q fact.Problem) bool { return same(p, q) }
		lacks := func(m Record) bool { return !slices.ContainsFunc(m.Problems, has) }
		if p.Subject == "" || slices.ContainsFunc(list, lacks) {
			continue
		}
		for i := range list {
			list[i].Problems = slices.DeleteFunc(list[i].Problems, has)
		}
		p.Subject, p.Count = "", len(list)
		r.Add(p)
	}
}

// isAPISet reports whether an imported library is an API set: the name of a group of functions, which
// some image has, and none of its own.
func isAPISet(library string) bool {
	return hasFoldPrefix(library, "ext-ms-") || hasFoldPrefix(library, "api-ms-")
}
