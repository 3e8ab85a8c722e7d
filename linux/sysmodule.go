// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// A sysModule is what the files of /sys/module/NAME say of one module. A file that the kernel does
// not make for this module leaves its field empty.
type sysModule struct {
	// Loadable is yes when the directory is that of a loaded module, no when it is that of code
	// compiled in, unknown if the files that decide it could not be read.
	Loadable fact.Tri
	// State is initstate's word: live, coming or going.
	State string
	// Taints are the taint letters, as in /proc/modules; valid when HasTaints is set.
	Taints    string
	HasTaints bool
	// Version and Srcversion as the module file declared them.
	Version, Srcversion string
	// CoreSize and InitSize are in bytes.
	CoreSize, InitSize fact.Count
	// BuildID is the GNU build-id of the loaded code in lower-case hexadecimal.
	BuildID string
}

// A sysReader reads /sys/module of one machine. It keeps a buffer and is not for concurrent use.
type sysReader struct {
	fsys fs.FS
	buf  []byte
	// unlisted is set if the modules are not on the kernel's list: most have only few of the files.
	unlisted bool

	attrs  [len(attrNames)]attr // what was read of the module
	module int                  // index of the module that is read in the caller's list
	losses []fact.Loss          // what could not be read, of all modules so far
}

// An attr is what was read of a file.
type attr struct {
	text string // without the final newline, if it is text
	err  error
}

// attrNames are the files of a module that are read, in the order of the constants.
var attrNames = [...]string{"coresize", "initstate", "version", "srcversion", "initsize", "taint", buildIDNote}

// The files' places; those from attrSrcversion on are only of what is not compiled in.
const (
	attrCoresize = iota
	attrInitstate
	attrVersion
	attrSrcversion
	attrInitsize
	attrTaint
	attrBuildID
)

func (r *sysReader) lose(field string, err error) {
	r.losses = append(r.losses, fact.Loss{Module: r.module, Source: SourceSysModule, Field: field, Err: err})
}

// readModule reads the files of the loaded module name. The error is about the directory as a whole: it matches
// fact.ErrGone if the directory does not exist (any more), or says why it cannot be read. A file that cannot be read
// costs only its field.
func (r *sysReader) readModule(name string) (m sysModule, err error) {
	before := len(r.losses)
	if !validName(name) {
		return m,
			&fact.ParseError{Source: "/" + SysModuleDir, Reason: "module name " + strconv.Quote(name) +
				" is not a file name"}
	}
	dir := SysModuleDir + "/" + name
	n := len(attrNames)
	if r.unlisted {
		n = attrSrcversion
	}
	r.read(dir, 0, n)
	core := r.attrs[attrCoresize]
	switch {
	case core.err == nil:
		m.Loadable = fact.Yes
	case !errors.Is(core.err, fs.ErrNotExist):
		return m, core.err
	default:
		if err := r.missing(name); err != nil {
			return m, err
		}
	}
	if m.Loadable == fact.Yes {
		m.CoreSize = r.count("coreSize", attrCoresize)
	}
	loadable := m.Loadable == fact.Yes
	m.State = r.text("state", attrInitstate, loadable)
	if m.State != "" {
		m.Loadable, loadable = fact.Yes, true
	} else if !loadable && len(r.losses) == before {
		m.Loadable = fact.No
	}
	m.Version = r.text("version", attrVersion, false)
	if loadable {
		r.read(dir, n, len(attrNames))
		r.addLoadable(&m)
	}
	return m, nil
}

// read reads the files of the module's directory from one place to another.
func (r *sysReader) read(dir string, from, to int) {
	if from == to {
		return
	}
	if r.buf == nil {
		r.buf = make([]byte, 0, limit.Attr)
	}
	for text, err := range limit.Attrs(r.fsys, r.buf, dir, attrNames[from:to]) {
		if from != attrBuildID {
			text = bytes.TrimSuffix(text, []byte("\n"))
		}
		r.attrs[from] = attr{string(text), err}
		from++
	}
}

// text returns a file as the text of a field. needed says that the kernel makes it for this module.
func (r *sysReader) text(field string, at int, needed bool) string {
	a := &r.attrs[at]
	if a.err == nil {
		return escape.UTF8(a.text)
	}
	if needed || !errors.Is(a.err, fs.ErrNotExist) {
		r.lose(field, a.err)
	}
	return ""
}

// count returns a file as the number of a field.
func (r *sysReader) count(field string, at int) fact.Count {
	n, err := fact.Count{}, r.attrs[at].err
	if err == nil {
		n, err = parseCount(attrNames[at], r.attrs[at].text)
	}
	if err != nil {
		r.lose(field, err)
	}
	return n
}

// addLoadable adds what compiled-in code does not have.
func (r *sysReader) addLoadable(m *sysModule) {
	m.Srcversion = r.text("srcversion", attrSrcversion, false)
	m.InitSize = r.count("initSize", attrInitsize)
	if a := r.attrs[attrTaint]; a.err == nil {
		m.Taints, m.HasTaints = a.text, true
	} else {
		r.lose("taints", a.err)
	}
	var err error
	if m.BuildID, err = buildID(r.attrs[attrBuildID]); err != nil {
		r.lose("contentId", err)
	}
}

// missing returns why /sys/module/name has no coresize: nil if the directory exists (compiled-in code), an error that
// matches fact.ErrGone if it does not but others do, else why /sys/module is unreadable.
func (r *sysReader) missing(name string) error {
	_, err := fs.Stat(r.fsys, SysModuleDir+"/"+name)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, dirErr := fs.Stat(r.fsys, SysModuleDir); dirErr != nil {
		return dirErr
	}
	pe := &fs.PathError{Path: SysModuleDir + "/" + name}
	errors.As(err, &pe) // its path is as a user of the machine writes it
	return &fs.PathError{Op: "open", Path: pe.Path, Err: fact.ErrGone}
}

func buildID(note attr) (string, error) {
	switch {
	case errors.Is(note.err, fs.ErrNotExist):
		return "", nil // a kernel built without notes, or a module without the note
	case note.err != nil:
		return "", note.err
	}
	return parseBuildID([]byte(note.text))
}

func parseCount(file, s string) (fact.Count, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return fact.Count{},
			&fact.ParseError{Source: "/" + SysModuleDir, Field: file, Reason: "is " + strconv.Quote(s) +
				", not a number of bytes"}
	}
	return fact.CountOf(n), nil
}

// validName reports whether a module's name can be one path element.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// parseBuildID returns the build-id of a .note.gnu.build-id section in lower-case hexadecimal. The
// note's byte order is that of the machine; the sizes, which are small, show it.
func parseBuildID(note []byte) (string, error) {
	fail := func(reason string) (string, error) {
		return "", &fact.ParseError{Source: buildIDNote, Field: "contentId", Reason: reason}
	}
	if len(note) < 16 {
		return fail("note of " + strconv.Itoa(len(note)) + " bytes is too short")
	}
	u32 := func(i int) uint64 {
		le := uint64(note[i]) | uint64(note[i+1])<<8 | uint64(note[i+2])<<16 | uint64(note[i+3])<<24
		be := uint64(note[i+3]) | uint64(note[i+2])<<8 | uint64(note[i+1])<<16 | uint64(note[i])<<24
		return min(le, be)
	}
	nameLen, descLen, kind := u32(0), u32(4), u32(8)
	if nameLen != 4 || string(note[12:16]) != "GNU\x00" || kind != 3 {
		return fail("is not a GNU build-id note")
	}
	if descLen == 0 || descLen > 64 || uint64(len(note)) < 16+descLen {
		return fail("build-id of " + strconv.FormatUint(descLen, 10) + " bytes does not fit the note")
	}
	return hex.EncodeToString(note[16 : 16+descLen]), nil
}

// sysModuleNames lists the directories of /sys/module, sorted. Plain files there are left out.
func sysModuleNames(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, SysModuleDir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readParameters reads the values of the parameters that the kernel shows for a module, sorted by
// name. Only world-readable files are opened: reading runs the driver's code. A module without
// parameters has an empty list.
func (r *sysReader) readParameters(name string) []Parameter {
	entries, err := readValuesDir(r.fsys, name, parametersDir)
	if err != nil {
		r.lose("", err)
		return nil
	}
	params := make([]Parameter, 0, len(entries))
	for _, e := range entries {
		p := Parameter{Name: escape.UTF8(e.Name())}
		info, err := e.Info()
		switch {
		case err != nil:
			r.lose("parameters", err)
		case info.Mode().Perm()&0o004 == 0:
			p.Readable = fact.No
		default:
			b, err := limit.AppendAttr(r.fsys, nil, SysModuleDir+"/"+name+"/"+parametersDir+"/"+e.Name(), limit.Attr)
			if err != nil {
				r.lose("parameters", err)
				break
			}
			p.Value, p.Readable = escape.UTF8(strings.TrimSuffix(string(b), "\n")), fact.Yes
		}
		params = append(params, p)
	}
	return params
}

// readSections reads the addresses of a loaded module's sections, sorted by name. The files are
// root's.
func (r *sysReader) readSections(name string) []Section {
	entries, err := readValuesDir(r.fsys, name, sectionsDir)
	if err != nil {
		r.lose("", err)
		return nil
	}
	sections := make([]Section, 0, len(entries))
	for _, e := range entries {
		s := Section{Name: escape.UTF8(e.Name())}
		b, err := limit.AppendAttr(r.fsys, nil, SysModuleDir+"/"+name+"/"+sectionsDir+"/"+e.Name(), limit.Attr)
		if err == nil {
			s.Address, err = parseAddress(strings.TrimSpace(string(b)))
		}
		if err != nil {
			r.lose("sections", err)
		}
		sections = append(sections, s)
	}
	return sections
}

func readValuesDir(fsys fs.FS, name, dir string) ([]fs.DirEntry, error) {
	if !validName(name) {
		return nil, nil
	}
	entries, err := fs.ReadDir(fsys, SysModuleDir+"/"+name+"/"+dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files := entries[:0]
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, e)
		}
	}
	if len(files) > maxSysfsValues {
		return nil, &fact.ParseError{Source: "/" + SysModuleDir + "/" + name + "/" + dir, Reason: "has " +
			strconv.Itoa(len(files)) + " files", Err: fact.ErrTooLarge}
	}
	return files, nil
}

// builtinNames lists the directories of /sys/module that belong to code compiled into the kernel,
// sorted: those that neither list names nor have an initstate, which only a loadable module has. A
// builtin module without parameters and without a version has no directory there, so the list is
// never whole. A directory that could not be classified is reported; a module that is loaded or
// unloaded meanwhile is not.
func builtinNames(fsys fs.FS, list *moduleList, r *fact.Report) ([]string, error) {
	names, err := sysModuleNames(fsys)
	if err != nil {
		return nil, err
	}
	loaded := make(map[string]bool, len(list.Entries))
	for i := range list.Entries {
		loaded[list.Entries[i].Name] = true
	}
	unlisted := slices.DeleteFunc(names, func(name string) bool { return loaded[name] })
	files := make([]string, len(unlisted))
	for i, name := range unlisted {
		files[i] = name + "/initstate"
	}
	builtin, i := unlisted[:0], 0
	for _, err := range limit.Attrs(fsys, nil, SysModuleDir, files) {
		name := unlisted[i]
		i++
		switch {
		case errors.Is(err, fs.ErrNotExist):
			builtin = append(builtin, name)
		case err != nil && !errors.Is(err, fact.ErrGone):
			r.Problem(SourceBuiltin, name, "", err)
		}
	}
	return builtin, nil
}
