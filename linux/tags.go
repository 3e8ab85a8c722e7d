// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A taggedView is made of files whose lines name modules. The first of them has to be there.
type taggedView struct {
	view  string
	files []taggedFile
}

// A taggedFile is in one of several places.
type taggedFile struct {
	places []string
	tag    func(line []byte) string
}

var taggedViews = []taggedView{
	{viewSymbols, []taggedFile{{[]string{kallsymsFile}, symbolTag}}},
	{viewFtrace, []taggedFile{
		{[]string{ftraceFile, ftraceOldFile}, functionTag},
		{[]string{ftraceUsedFile, ftraceOldUsedFile}, hookTag},
	}},
	{viewDynamicDebug, []taggedFile{{[]string{dynamicDebugFile, dynamicDebugProc}, debugTag}}},
	{viewCrypto, []taggedFile{{[]string{cryptoFile}, cryptoTag}}},
}

// maxTags caps the names that one file may give.
const maxTags = 1 << 16

// tags reads a view's files. They may be large, and the kernel slow in making them: the time for one
// small read is not enough.
func (r *viewReader) tags(ctx context.Context, l *look, v taggedView) {
	seen := make(names)
	for i, file := range v.files {
		if err := file.read(ctx, r.fsys, seen); err != nil && i == 0 {
			l.showed(v.view, nil, err)
			return
		}
	}
	l.showed(v.view, seen, nil)
}

// read adds the tags of the first place that can be read. The error is that of the first, or of one
// that is there.
func (f taggedFile) read(ctx context.Context, fsys fs.FS, seen names) error {
	var failed error
	for _, name := range f.places {
		err := readTags(ctx, fsys, name, f.tag, seen)
		if err == nil {
			return nil
		}
		if failed == nil || errors.Is(failed, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	return failed
}

func readTags(ctx context.Context, fsys fs.FS, name string, tag func([]byte) string, seen names) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return scanTags(ctx, f, name, tag, seen)
}

// scanTags reads a file line by line. An empty one says nothing of any module: such a file of the
// kernel is never empty, but what is put in its place to hide it is.
func scanTags(ctx context.Context, f io.Reader, name string, tag func([]byte) string, seen names) error {
	lines := bufio.NewReaderSize(io.LimitReader(f, maxSymbolFile+1), 64<<10)
	last, read, long := "", 0, false
	for {
		line, err := lines.ReadSlice('\n')
		read += len(line)
		if long || errors.Is(err, bufio.ErrBufferFull) { // a part of a line that is not the kernel's
			long = errors.Is(err, bufio.ErrBufferFull)
			line = nil
		}
		if read > maxSymbolFile {
			return limit.TooLarge(name, maxSymbolFile)
		}
		if t := tag(line); t != "" && t != last {
			last = t
			if len(seen) >= maxTags {
				return limit.TooLarge(name, maxTags)
			}
			if isModuleTag(t) {
				seen[escape.UTF8(t)] = true
			}
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return err
		case read == 0:
			return &fs.PathError{Op: "read", Path: "/" + name,
				Err: fmt.Errorf("is empty, so that it shows nothing of any module: %w", fs.ErrNotExist)}
		default:
			return ctx.Err()
		}
	}
}

// isModuleTag reports whether a tag is that of a module: programs for the BPF machine and what
// ftrace and kprobes make have tags of their own.
func isModuleTag(tag string) bool {
	return tag != "bpf" && !strings.HasPrefix(tag, "__builtin__")
}

// symbolTag is the [module] at the end of a line of kallsyms.
func symbolTag(line []byte) string {
	i := bytes.LastIndexByte(line, '\t')
	if i < 0 {
		return ""
	}
	return bracketed(line[i+1:])
}

// functionTag is the [module] after a function.
func functionTag(line []byte) string {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return ""
	}
	return bracketed(line[i+1:])
}

// hookTag is the last [module] of a line of ftrace's functions in use: that of what is called for it,
// else the function's own.
func hookTag(line []byte) string {
	i := bytes.LastIndex(line, []byte(" ["))
	if i < 0 {
		return ""
	}
	return bracketed(line[i+1:])
}

func bracketed(word []byte) string {
	if len(word) == 0 || word[0] != '[' {
		return ""
	}
	end := bytes.IndexByte(word, ']')
	if end < 0 {
		return ""
	}
	return string(word[1:end])
}

// debugTag is the module of "FILE:LINE [MODULE]FUNCTION FLAGS TEXT".
func debugTag(line []byte) string {
	i := bytes.Index(line, []byte(" ["))
	if i < 0 || line[0] == '#' {
		return ""
	}
	return bracketed(line[i+1:])
}

// cryptoTag is the name in "module       : NAME"; the kernel's own is "kernel".
func cryptoTag(line []byte) string {
	key, value, ok := strings.Cut(string(line), ":")
	if value = strings.TrimSpace(value); !ok || strings.TrimSpace(key) != "module" || value == "kernel" {
		return ""
	}
	return value
}

// A vmallocArea is one area of the kernel's virtual memory that is in use.
type vmallocArea struct {
	// Start is its first address, End the one after its last.
	Start, End uint64
}

// maxVmallocAreas caps the areas of one file.
const maxVmallocAreas = 1 << 20

// parseVmallocinfo reads /proc/vmallocinfo: "0xSTART-0xEND SIZE …" a line. The error matches fact.ErrRestricted if the
// kernel hides the addresses, or is that of an invalid line.
func parseVmallocinfo(text []byte) ([]vmallocArea, error) {
	var areas []vmallocArea
	n := 0
	for line := range bytes.Lines(text) {
		n++
		word, _, _ := strings.Cut(string(line), " ")
		from, to, _ := strings.Cut(word, "-")
		start, errStart := strconv.ParseUint(from, 0, 64)
		end, errEnd := strconv.ParseUint(to, 0, 64)
		switch {
		case errStart != nil || errEnd != nil || end < start:
			return nil, &fact.ParseError{Source: "/" + vmallocFile, Line: n, Reason: "is not 0xSTART-0xEND"}
		case end == 0:
			return nil, fmt.Errorf("/%s: the kernel hides addresses: %w", vmallocFile, fact.ErrRestricted)
		case len(areas) == maxVmallocAreas:
			return nil, limit.TooLarge(vmallocFile, maxVmallocAreas)
		}
		areas = append(areas, vmallocArea{start, end})
	}
	return areas, nil
}

// inMemory reports whether the code of a module, at the address that its directory of /sys/module shows, is in an area
// that is in use. Areas do not match modules one to one, since the allocator serves others too and packs several into
// one: that one is in use says that the module's memory was not given back, and no area is held against anyone.
func (r *viewReader) inMemory(name string) (bool, error) {
	if !validName(name) {
		return false,
			&fact.ParseError{Source: "/" + SysModuleDir, Reason: "module name " + strconv.Quote(name) +
				" is not a file name"}
	}
	text, err := limit.AppendAttr(r.fsys, nil, SysModuleDir+"/"+name+"/"+sectionsDir+"/.text", limit.Attr)
	if err != nil {
		return false, fmt.Errorf("the module's address is not known: %w", err)
	}
	address, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	switch {
	case err != nil:
		return false, &fact.ParseError{Source: "/" + SysModuleDir, Field: sectionsDir, Reason: "is not an address"}
	case address == 0:
		return false, fmt.Errorf("the kernel hides addresses: %w", fact.ErrRestricted)
	}
	info, err := limit.AppendFile(r.fsys, nil, vmallocFile, limit.Text)
	if err != nil {
		return false, err
	}
	if len(info) == 0 {
		return false, &fs.PathError{Op: "read", Path: "/" + vmallocFile, Err: fs.ErrNotExist}
	}
	areas, err := parseVmallocinfo(info)
	if err != nil {
		return false, err
	}
	for _, a := range areas {
		if a.Start <= address && address < a.End {
			return true, nil
		}
	}
	return false, nil
}
