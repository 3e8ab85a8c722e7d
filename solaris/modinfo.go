// SPDX-License-Identifier: Apache-2.0

package solaris

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// The calls that an illumos or Solaris machine answers.
const (
	// OpModinfo is modctl(2) with MODINFO: arguments id of the module before (-1 for the first) and
	// flags ([FlagAll], [FlagCount] …, added up, decimal); the struct modinfo as the kernel filled
	// it, but with the field info set back to the flags, so that it tells its own byte order. The
	// end of the list is fs.ErrNotExist.
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
	FlagAll   = 2 // the next module behind an id, not that id
	FlagCount = 4 // also those that are loaded and not installed, or unloaded again
)

// Names of the sources of Solaris facts.
const (
	SourceModinfo = "modinfo" // the kernel's list, modctl(MODINFO)
	SourceSystem  = "system"  // /etc/system
	SourceMachine = "machine" // release, identity and clock
	SystemFile    = "etc/system"
)

// A CallFunc asks the machine for what is no file; ops are the constants above.
type CallFunc func(ctx context.Context, op string, args ...string) ([]byte, error)

// An Info is one struct modinfo.
type Info struct {
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

// RedactedAddress is what Redact writes in place of a load address.
const RedactedAddress = ^uint64(0)

// infoLayout are the offsets of a struct modinfo behind its first four fields.
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
		return l, nil, &fact.ParseError{Source: OpModinfo, Reason: fmt.Sprintf("%d bytes are no struct modinfo", len(b))}
	}
	switch {
	case binary.LittleEndian.Uint32(b) < 1<<16 && binary.LittleEndian.Uint32(b) > 0:
		return l, binary.LittleEndian, nil
	case binary.BigEndian.Uint32(b) < 1<<16 && binary.BigEndian.Uint32(b) > 0:
		return l, binary.BigEndian, nil
	}
	return l, nil, &fact.ParseError{Source: OpModinfo, Field: "info", Reason: "no flags: the byte order cannot be told"}
}

// DecodeInfo decodes an answer of OpModinfo.
func DecodeInfo(b []byte) (Info, error) {
	l, o, err := layoutOf(b)
	if err != nil {
		return Info{}, err
	}
	state := o.Uint32(b[4:])
	i := Info{
		ID: int32(o.Uint32(b[8:])), Name: text(b[l.name : l.name+32]), Loaded: state&stateLoaded != 0, Installed: state&stateInstalled != 0,
		Address: word(o, l.bits, b[16:]), Size: word(o, l.bits, b[l.size:]),
		Rev: int32(o.Uint32(b[l.rev:])), LoadCount: int32(o.Uint32(b[l.rev+4:])), Linkages: []Linkage{},
	}
	if i.Name == "" {
		return Info{}, &fact.ParseError{Source: OpModinfo, Field: "name", Reason: "empty"}
	}
	if i.Address == RedactedAddress>>(64-l.bits) {
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

// A List is the kernel's list of modules.
type List struct {
	// Modules are the modules, by id.
	Modules []Info
	// Steady is set when two walks in a row saw the same ids and names.
	Steady bool
	// Problems are the answers that make no sense, at most 100.
	Problems []error
}

// ReadModules walks the kernel's list until two walks in a row agree, at most four times; the last
// walk is the result. The error is that of the first call: there is no list then.
func ReadModules(ctx context.Context, call CallFunc) (*List, error) {
	var last *List
	for range maxWalks {
		l, err := walk(ctx, call)
		if err != nil {
			return nil, err
		}
		if last != nil && same(last.Modules, l.Modules) {
			l.Steady = true
			return l, nil
		}
		last = l
	}
	return last, nil
}

func same(a, b []Info) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

func walk(ctx context.Context, call CallFunc) (*List, error) {
	l := &List{Modules: []Info{}}
	flags := strconv.Itoa(FlagAll | FlagCount)
	for id := int32(-1); len(l.Modules) < maxInfos; {
		b, err := call(ctx, OpModinfo, strconv.Itoa(int(id)), flags)
		if errors.Is(err, fs.ErrNotExist) {
			return l, nil
		}
		if err != nil {
			if e := fact.CodeOf(err).Err(); e != nil {
				err = e // in the same words on every machine
			}
			err = fmt.Errorf("%s %d: %w", OpModinfo, id, err)
			if len(l.Modules) == 0 {
				return nil, err
			}
			return l.stop(err), nil
		}
		i, err := DecodeInfo(b)
		if err == nil && i.ID <= id {
			err = &fact.ParseError{Source: OpModinfo, Field: "id", Reason: fmt.Sprintf("%d comes behind %d: the list does not end", i.ID, id)}
		}
		if err != nil {
			return l.stop(err), nil // where the next one would be cannot be told
		}
		l.Modules = append(l.Modules, i)
		id = i.ID
	}
	return l.stop(fmt.Errorf("%s: %w: more than %d modules", OpModinfo, fact.ErrTooLarge, maxInfos)), nil
}

func (l *List) stop(err error) *List {
	l.Problems = append(l.Problems, err)
	return l
}

// Redact returns data without load addresses. key is a file's slash path, or an op and its
// arguments joined by blanks.
func Redact(key string, data []byte) []byte {
	if op, _, _ := strings.Cut(key, " "); op != OpModinfo {
		return data
	}
	l, o, err := layoutOf(data)
	if err != nil || word(o, l.bits, data[16:]) == 0 {
		return data
	}
	out := bytes.Clone(data)
	for i := range l.bits / 8 {
		out[16+i] = 0xff
	}
	return out
}

// Redacts reports whether Redact can alter answers for key.
func Redacts(key string) bool { return strings.HasPrefix(key, OpModinfo+" ") }
