// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// digestVersion precedes a digest. It fixes the fields that count.
const digestVersion = "v1:"

// Digest returns a text that is equal for two Snapshots of the same state, whenever they were taken and whichever
// version of this library decoded them. It begins with its version, "v1:". A receiver that does not know the version
// cannot compute it.
//
// Version 1 counts the fields of version 0.2.0's JSON, but for schema, producer, host and takenAt of the snapshot,
// count of a source, the source "uevents" (only a watch has it), and the volatile facts of modules: refs, usedBy,
// address, and of Linux refcnt, parameter values and section addresses. The file lkm/testdata/digest-v1.txt lists the
// fields that count. A field that a later version adds does not count in version 1.
//
// The rest of the text is the SHA-256, in hexadecimal, of lines: the SHA-256 of the snapshot without its modules, in
// hexadecimal, then that of each module, in the order of their ids' bytes; each line ends in a line feed. The SHA-256
// of a record is that of its JSON with sorted keys, without white space and unknown fields, where only ", \, control
// characters, U+2028 and U+2029 are escaped; the snapshot without its modules has "schema":0 and "modules":null. Of two
// modules with one id, the last counts.
func (s *Snapshot) Digest() string { return newState(s).digest() }

// A sum identifies the stable facts of a record.
type sum [sha256.Size]byte

// sumOf returns the sum of a record whose volatile facts were emptied.
func sumOf(record any) sum {
	text, err := json.Marshal(record)
	if err != nil {
		return sum{} // no field of a Module or a Snapshot can fail to be written
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var tree any
	if in.Decode(&tree) != nil {
		return sum{}
	}
	var canonical bytes.Buffer
	out := json.NewEncoder(&canonical) // sorts the keys of a tree
	out.SetEscapeHTML(false)
	if out.Encode(tree) != nil {
		return sum{}
	}
	return sha256.Sum256(bytes.TrimSuffix(canonical.Bytes(), []byte("\n")))
}

func sumOfModule(m *Module) sum {
	c := m.Clone()
	c.dropVolatile()
	return sumOf(&c)
}

// sumOfHeader returns the sum of a Snapshot without its modules.
func sumOfHeader(s *Snapshot) sum {
	c := *s
	c.dropVolatile()
	return sumOf(&c)
}

// dropVolatile empties what two Snapshots of one state may differ in, and the modules.
func (s *Snapshot) dropVolatile() {
	*s = Snapshot{OS: s.OS, Release: s.Release, Arch: s.Arch, BootID: s.BootID, Privilege: s.Privilege,
		Detail: s.Detail,
		Root:   s.Root, Live: s.Live, Kernel: s.Kernel, Sources: s.Sources, Policy: s.Policy, Problems: s.Problems}
	s.Sources = slices.DeleteFunc(slices.Clone(s.Sources), func(src Source) bool { return src.Name == sourceEvents })
	for i := range s.Sources {
		s.Sources[i].Count = Count{}
	}
}

// A state is a Snapshot that is changed by one module at a time, with the sums of its parts.
type state struct {
	header  Snapshot // without modules
	sum     sum      // of the header
	modules []member // sorted by id
}

// A member is a module of a state.
type member struct {
	module *Module
	sum    sum
}

func newState(s *Snapshot) *state { return stateAfter(nil, s) }

// stateAfter returns the state of a Snapshot. The sums of modules that are as in the state before it, if there is one,
// are taken from there.
func stateAfter(before *state, s *Snapshot) *state {
	st := &state{modules: make([]member, 0, len(s.Modules))}
	st.setHeader(s)
	for i := range s.Modules {
		m := member{module: &s.Modules[i]}
		if before == nil || !before.has(&m) {
			m.sum = sumOfModule(m.module)
		}
		st.modules = append(st.modules, m)
	}
	slices.SortStableFunc(st.modules, compareIDs)
	kept := st.modules[:0]
	for i, m := range st.modules {
		if i+1 == len(st.modules) || st.modules[i+1].module.ID != m.module.ID {
			kept = append(kept, m)
		}
	}
	clear(st.modules[len(kept):])
	st.modules = kept
	return st
}

func (st *state) setHeader(s *Snapshot) {
	st.header = *s
	st.header.Modules = nil
	st.sum = sumOfHeader(s)
}

func (st *state) find(id string) (int, bool) {
	return slices.BinarySearchFunc(st.modules, id, func(m member, id string) int {
		return cmp.Compare(m.module.ID, id)
	})
}

// has reports whether the state has the same module, but for its volatile facts, and gives m its sum.
func (st *state) has(m *member) bool {
	i, ok := st.find(m.module.ID)
	if !ok {
		return false
	}
	a, b := m.module.Clone(), st.modules[i].module.Clone()
	a.dropVolatile()
	b.dropVolatile()
	m.sum = st.modules[i].sum
	return reflect.DeepEqual(&a, &b)
}

// get returns the module with that id, or nil.
func (st *state) get(id string) *Module {
	if i, ok := st.find(id); ok {
		return st.modules[i].module
	}
	return nil
}

// set adds a module, or replaces the one with its id.
func (st *state) set(m *Module) { st.put(member{m, sumOfModule(m)}) }

func (st *state) put(m member) {
	i, ok := st.find(m.module.ID)
	if ok {
		st.modules[i] = m
		return
	}
	st.modules = slices.Insert(st.modules, i, m)
}

func (st *state) drop(id string) {
	if i, ok := st.find(id); ok {
		st.modules = slices.Delete(st.modules, i, i+1)
	}
}

// digest returns the digest of the state; empty for nil, which is not a state.
func (st *state) digest() string {
	if st == nil {
		return ""
	}
	h := sha256.New()
	line := make([]byte, 2*sha256.Size+1)
	line[2*sha256.Size] = '\n'
	hex.Encode(line, st.sum[:])
	h.Write(line)
	for i := range st.modules {
		hex.Encode(line, st.modules[i].sum[:])
		h.Write(line)
	}
	return digestVersion + hex.EncodeToString(h.Sum(line[:0]))
}

// snapshot returns the state as a Snapshot, which shares its modules' memory.
func (st *state) snapshot() *Snapshot {
	s := st.header
	s.Modules = make([]Module, 0, len(st.modules))
	for _, m := range st.modules {
		s.Modules = append(s.Modules, *m.module)
	}
	return &s
}

// knownDigest reports whether this version can compute a digest like that.
func knownDigest(text string) bool { return strings.HasPrefix(text, digestVersion) }

func compareIDs(a, b member) int { return cmp.Compare(a.module.ID, b.module.ID) }
