// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// The calls that an illumos or Solaris machine answers.
const (
	// OpModinfo is modctl(2) with MODINFO. Its arguments are the id of the module before (-1 for the first) and flags,
	// decimal: 2 for the next module, plus 4 for those that are loaded and not installed, too. The answer is the struct
	// modinfo as the kernel filled it, but with the field info set back to the flags, so that it shows its own byte
	// order. At the end of the list the error matches fs.ErrNotExist.
	OpModinfo = "modinfo"
	// OpUname is uname(2): text, one "key value" a line, with the keys ostype, release, version and
	// machine. The host's name is not among them.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N", one a line.
	OpIdentity = "identity"
)

// The flags of MODINFO.
const (
	flagAll   = 2 // the next module after an id, not that id
	flagCount = 4 // also those that are loaded and not installed, or unloaded again
)

// Names of the sources of Solaris facts.
const (
	SourceModinfo = "modinfo" // the kernel's list, modctl(MODINFO)
	SourceSystem  = "system"  // /etc/system
	SourceMachine = "machine" // release, identity and clock
)

// A moduleInfo is one struct modinfo.
type moduleInfo struct {
	// ID is the module's id.
	ID int32
	// Name is its name, at most 31 bytes; bytes that are not UTF-8 are written \xNN.
	Name string
	// Loaded and Installed are its state.
	Loaded, Installed bool
	// Address is where it starts, 0 when the kernel hides it; Redacted is set when the tape's
	// recorder removed it.
	Address  uint64
	Redacted bool
	// Size is its size in bytes.
	Size uint64
	// Rev is the version of the module interface, LoadCount how often it was loaded.
	Rev, LoadCount int32
	// Linkages are what it adds to the kernel.
	Linkages []Linkage
}

const (
	size64, size32 = 432, 424
	linkages       = 10
	linkLen        = 32
	stateLoaded    = 1
	stateInstalled = 2
	maxInfos       = 16 << 10
	maxWalks       = 4
	cutLen         = 31
)

// redactedAddress is what Redact writes in place of a load address.
const redactedAddress = ^uint64(0)

// infoLayout are the offsets of a struct modinfo after its first four fields.
type infoLayout struct {
	bits, size, rev, name, links int
}

func layoutOf(b []byte) (infoLayout, binary.ByteOrder, error) {
	l := infoLayout{64, 24, 32, 40, 72}
	switch len(b) {
	case size64:
	case size32:
		l = infoLayout{32, 20, 24, 32, 64}
	default:
		return l, nil, &fact.ParseError{Source: OpModinfo, Reason: fmt.Sprintf("%d bytes are no struct modinfo",
			len(b))}
	}
	switch {
	case binary.LittleEndian.Uint32(b) < 1<<16 && binary.LittleEndian.Uint32(b) > 0:
		return l, binary.LittleEndian, nil
	case binary.BigEndian.Uint32(b) < 1<<16 && binary.BigEndian.Uint32(b) > 0:
		return l, binary.BigEndian, nil
	}
	return l, nil, &fact.ParseError{Source: OpModinfo, Field: "info", Reason: "no flags: the byte order is unknown"}
}

// decodeInfo decodes an answer of OpModinfo.
func decodeInfo(b []byte) (moduleInfo, error) {
	l, o, err := layoutOf(b)
	if err != nil {
		return moduleInfo{}, err
	}
	state := o.Uint32(b[4:])
	i := moduleInfo{
		ID: int32(o.Uint32(b[8:])), Name: text(b[l.name : l.name+32]), Loaded: state&stateLoaded != 0,
		Installed: state&stateInstalled != 0,
		Address:   word(o, l.bits, b[16:]), Size: word(o, l.bits, b[l.size:]),
		Rev: int32(o.Uint32(b[l.rev:])), LoadCount: int32(o.Uint32(b[l.rev+4:])), Linkages: []Linkage{},
	}
	if i.Name == "" {
		return moduleInfo{}, &fact.ParseError{Source: OpModinfo, Field: "name", Reason: "empty"}
	}
	if i.Address == redactedAddress>>(64-l.bits) {
		i.Address, i.Redacted = 0, true
	}
	for n := range linkages {
		r := b[l.links+n*(linkLen+4):]
		d := text(r[:linkLen])
		if d == "" {
			continue
		}
		link := Linkage{Description: d, Cut: len(d) >= cutLen}
		if p := int32(o.Uint32(r[linkLen:])); p != -1 {
			link.Info = fact.CountOf(int64(p))
		}
		i.Linkages = append(i.Linkages, link)
	}
	return i, nil
}

func word(o binary.ByteOrder, bits int, b []byte) uint64 {
	if bits == 32 {
		return uint64(o.Uint32(b))
	}
	return o.Uint64(b)
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return escape.UTF8(string(b))
}

// readModules returns the kernel's list of modules, by id. It walks the list until two walks in a row see the same
// modules, at most four times, and returns the last walk. A list that ends early or kept changing is reported. The
// error is that of the first call: there is no list then.
func readModules(ctx context.Context, call fact.Call, r *fact.Report) ([]moduleInfo, error) {
	var last []moduleInfo
	var end error
	steady := false
	for n := 0; n < maxWalks && !steady; n++ {
		infos, err := walk(ctx, call)
		if infos == nil {
			return nil, err
		}
		steady = last != nil && same(last, infos)
		last, end = infos, err
	}
	switch {
	case end != nil:
		r.Problem(SourceModinfo, "", "modules", end)
	case !steady:
		r.Add(fact.Problem{Source: SourceModinfo, Field: "modules", Code: fact.CodeGone,
			Text: "the list kept changing while it was read; a module that came or went may be missing"})
	}
	return last, nil
}

func same(a, b []moduleInfo) bool {
	return slices.EqualFunc(a, b, func(x, y moduleInfo) bool { return x.ID == y.ID && x.Name == y.Name })
}

// walk returns the modules from the first to the last. An error says why the walk ended early; the modules are nil if
// the first call failed.
func walk(ctx context.Context, call fact.Call) ([]moduleInfo, error) {
	infos := []moduleInfo{}
	flags := strconv.Itoa(flagAll | flagCount)
	for id := int32(-1); len(infos) < maxInfos; {
		b, err := call(ctx, OpModinfo, strconv.Itoa(int(id)), flags)
		if errors.Is(err, fs.ErrNotExist) {
			return infos, nil
		}
		if err != nil {
			if len(infos) == 0 {
				infos = nil
			}
			if e := fact.CodeOf(err).Err(); e != nil {
				err = e // in the same words on every machine
			}
			return infos, fmt.Errorf("%s %d: %w", OpModinfo, id, err)
		}
		i, err := decodeInfo(b)
		if err == nil && i.ID <= id {
			err = &fact.ParseError{Source: OpModinfo, Field: "id",
				Reason: fmt.Sprintf("%d comes after %d: the list does not end", i.ID, id)}
		}
		if err != nil {
			return infos, err // where the next module would be is unknown
		}
		infos = append(infos, i)
		id = i.ID
	}
	return infos, fmt.Errorf("%s: %w: more than %d modules", OpModinfo, fact.ErrTooLarge, maxInfos)
}
