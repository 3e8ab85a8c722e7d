// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"bytes"
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/hostfs"
)

// Caps for the comparison of a bundle with its seal.
const (
	maxSealedFiles = 20000
	maxSealRules   = 64
	maxSealDiffs   = 100
	maxRuleSize    = 1000 // instructions of a compiled rule; real ones have some dozen
)

// A Seal compares a bundle's files with the list that was signed with it, CodeResources.
type Seal struct {
	// Info says whether Info.plist is the one that the code directory lists; absent when it lists none.
	Info fact.Tri `json:"info,omitzero"`
	// Resources says whether CodeResources is the one that the code directory lists.
	Resources fact.Tri `json:"resources,omitzero"`
	// Files is how many files CodeResources lists.
	Files fact.Count `json:"files,omitzero"`
	// Changed are the files that differ from the list; at most 100, sorted. Empty means no file; absent means not
	// checked.
	Changed []string `json:"changed,omitzero"`
	// Missing are the files of the list that are not there, in the form of Changed.
	Missing []string `json:"missing,omitzero"`
	// Extra are the files that should be on the list and are not, in the form of Changed.
	Extra []string `json:"extra,omitzero"`
	// Nested says of code inside the bundle why it is in Changed, "FILE: reason"; absent if no nested code is in
	// Changed. Such code has a signature of its own.
	Nested []string `json:"nested,omitzero"`
	// Unsealed are files that no part of the signature covers, in the form of Changed, with "../" before those beside
	// Contents; absent if there is no such file. Also a link in place of Info.plist, the code or CodeResources. The
	// system loads the bundle all the same; "codesign --strict" refuses most of them. The code itself is one if it has
	// bytes after its signature.
	Unsealed []string `json:"unsealed,omitzero"`
	// Attributes are files "._NAME" that a copy of a Mac's disk keeps the attributes of NAME in (AppleDouble), in the
	// form of Changed; absent if there is no such file. They do not break the seal.
	Attributes []string `json:"attributes,omitzero"`

	checked bool // the files were compared, or there is nothing to compare
}

// Broken reports whether any part of the comparison found a difference.
func (s *Seal) Broken() bool {
	return s != nil && (s.Info == fact.No || s.Resources == fact.No || len(s.Changed)+len(s.Missing)+len(s.Extra) > 0)
}

// whole reports whether everything in the bundle was compared with the signature, and fits.
func (s *Seal) whole() bool { return s != nil && s.checked && s.Info == fact.Yes && !s.Broken() }

// unsealed reports whether Info.plist is not part of the signature, so that anybody may change it.
func (s *Seal) unsealed() bool { return s != nil && s.Info == "" }

// differences says what differs from what was signed, a sentence each.
func (c *CodeSignature) differences() []string {
	var all []string
	add := func(is bool, text string) {
		if is {
			all = append(all, text)
		}
	}
	add(c.CodeFits == fact.No, "the code was changed after it was signed")
	s := c.Seal
	if s == nil {
		return all
	}
	add(s.Info == fact.No, "Info.plist was changed after it was signed")
	add(s.unsealed(), textUnsealed)
	add(s.Resources == fact.No, "the list of sealed files, CodeResources, is not the one that was signed")
	for _, list := range []struct {
		what  string
		files []string
	}{{"changed", s.Changed}, {"missing", s.Missing}, {"added", s.Extra}} {
		const shown = 5
		text := list.what + ": " + strings.Join(list.files[:min(len(list.files), shown)], ", ")
		if more := len(list.files) - shown; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		add(len(list.files) > 0, text)
	}
	return append(all, s.Nested...)
}

// textUnsealed says that anybody may change Info.plist.
const textUnsealed = "Info.plist is not part of the signature"

// A sealCheck compares one bundle.
type sealCheck struct {
	fsys   fs.FS
	report *fact.Report
	dir    string       // the folder that paths in the seal start from
	reader bundleReader // of code inside the bundle
	left   *int64       // bytes that may still be hashed
	seal   *Seal
	rules  []sealRule
	listed map[string]bool
	item   *fact.Item // of the list; pays for the rules
	nested []string   // listed bundles; what is below them is sealed by them
	over   error      // what comparing takes that is more than it may
	first  bool       // the list is of the first version, which says nothing of links

	folders map[string]bool // whether a folder is reached by a link; "" is the bundle's own
}

// A sealRule says which files are sealed.
type sealRule struct {
	pattern *regexp.Regexp
	size    int64 // instructions
	weight  uint32
	omit    bool // the files are not sealed
	nested  bool // folders with a period in their name are code of their own
}

// checkSeal compares the bundle's files with resources, the content of CodeResources. main is the bundle's
// executable, relative to its contents, which the code directory covers. left are the bytes that may still be hashed.
func (r *bundleReading) checkSeal(main string, resources []byte, left *int64) (*Seal, error) {
	dir := r.where.contents
	source := path.Join(dir, "_CodeSignature/CodeResources")
	n, err := decodeCounted(source, resources, r.report.Budget)
	if err != nil {
		return nil, err
	}
	l := &losses{r.report, source, source}
	files, rules := n.sub("files2", l), n.sub("rules2", l)
	first := files.dict == nil // the first version of lists
	if first {
		files, rules = n.sub("files", l), n.sub("rules", l)
	}
	if files.dict == nil {
		return nil, &fact.ParseError{Source: source, Field: "files2", Reason: "there is no list of files"}
	}
	if len(files.dict) > maxSealedFiles {
		return nil, &fact.ParseError{Source: source, Field: "files2",
			Reason: fmt.Sprintf("more than %d files", maxSealedFiles), Err: fact.ErrTooLarge}
	}
	c := &sealCheck{
		fsys: r.FS, report: r.report, dir: dir, reader: r.bundleReader, left: left, listed: map[string]bool{main: true},
		seal: &Seal{Files: fact.CountOf(int64(len(files.dict))),
			Changed: []string{}, Missing: []string{}, Extra: []string{}, checked: true},
		first: first, folders: map[string]bool{"": false}, item: r.report.Budget.Content(resources),
	}
	defer c.item.Done()
	if c.rules, err = sealRules(source, rules); err != nil {
		return nil, err
	}
	for _, name := range files.keys() {
		if err := c.listedFile(source, name, files.dict[name]); err != nil {
			return nil, err
		}
	}
	if err := c.extraFiles(); err != nil {
		return nil, err
	}
	if err := cmp.Or(c.besideContents(r.where), c.over); err != nil {
		return nil, err
	}
	for _, name := range []string{"Info.plist", main, "_CodeSignature/CodeResources"} {
		if c.isLink(name) {
			c.unsealed(name)
		}
	}
	return c.seal, nil
}

func sealRules(source string, n node) ([]sealRule, error) {
	if len(n.dict) > maxSealRules {
		return nil, &fact.ParseError{Source: source, Field: "rules2",
			Reason: fmt.Sprintf("more than %d rules", maxSealRules), Err: fact.ErrTooLarge}
	}
	var rules []sealRule
	for _, text := range n.keys() {
		if len(text) > 512 {
			return nil, &fact.ParseError{Source: source, Field: "rules2",
				Reason: "a rule of more than 512 bytes", Err: fact.ErrTooLarge}
		}
		pattern, size, err := compileRule(text)
		if err != nil {
			return nil, &fact.ParseError{Source: source, Field: "rules2", Reason: err.Error(), Err: fact.ErrMalformed}
		}
		if size > maxRuleSize {
			return nil, &fact.ParseError{Source: source, Field: "rules2",
				Reason: fmt.Sprintf("a rule of %d instructions", size), Err: fact.ErrTooLarge}
		}
		r := sealRule{pattern: pattern, size: int64(size), weight: 1}
		v := n.dict[text]
		if v.kind == boolNode {
			r.omit = v.num == 0
		} else {
			r.omit, r.nested = v.dict["omit"].num != 0, v.dict["nested"].num != 0
			r.weight = weightOf(v.dict["weight"])
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// compileRule compiles a rule, and returns of how many instructions it is made: matching may take that many steps for
// each byte of a name.
func compileRule(text string) (*regexp.Regexp, int, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, 0, err
	}
	if size := len(program.Inst); size > maxRuleSize {
		return nil, size, nil
	}
	pattern, err := regexp.Compile(text)
	return pattern, len(program.Inst), err
}

// weightOf is a rule's weight, cut to an unsigned integer; 1 if it names none (resources.cpp, ResourceBuilder::Rule).
func weightOf(n node) uint32 {
	switch n.kind {
	case integerNode:
		return uint32(n.num)
	case otherNode: // a real number
		if w, err := strconv.ParseFloat(n.str, 64); err == nil && w >= 0 && w < 1<<32 {
			return uint32(w)
		}
	}
	return 1
}

// heaviest returns the rules that the file falls under: the heaviest, and all of the same weight. None means that it is
// not sealed. Which of several rules of one weight Security takes depends on the order of a hash table
// (ResourceBuilder::findRule), so none of them is better than another.
func (c *sealCheck) heaviest(name string) []*sealRule {
	var found []*sealRule
	for i := range c.rules {
		r := &c.rules[i]
		if c.over == nil {
			c.over = c.item.Work(int64(len(name)+1) * (r.size/4 + 1))
		}
		if c.over != nil {
			return nil
		}
		if len(found) > 0 && r.weight < found[0].weight || !r.pattern.MatchString(name) {
			continue
		}
		if len(found) > 0 && r.weight > found[0].weight {
			found = found[:0]
		}
		found = append(found, r)
	}
	return found
}

// mustBeListed reports whether a file must be on the list: a rule says so, and none of the same weight says that it
// need not.
func (c *sealCheck) mustBeListed(name string) bool {
	rules := c.heaviest(name)
	return len(rules) > 0 && !slices.ContainsFunc(rules, func(r *sealRule) bool { return r.omit })
}

// isNested reports whether a folder is code of its own, which has its own signature.
func (c *sealCheck) isNested(name string) bool {
	return strings.Contains(path.Base(name), ".") &&
		slices.ContainsFunc(c.heaviest(name), func(r *sealRule) bool { return r.nested })
}

func note(list *[]string, name string) {
	if len(*list) < maxSealDiffs {
		*list = append(*list, name)
	}
}

// listedFile compares one file with its entry: data (a SHA-1), or a dictionary.
func (c *sealCheck) listedFile(source, name string, v node) error {
	if !fs.ValidPath(name) || name == "." {
		return &fact.ParseError{Source: source, Field: "files2",
			Reason: fmt.Sprintf("path %q leads out of the bundle", name)}
	}
	c.listed[name] = true
	if c.behindLink(path.Dir(name)) { // the system follows no link, and finds no such file
		if v.dict["optional"].num == 0 {
			note(&c.seal.Missing, name)
		}
		return nil
	}
	if v.dict["cdhash"].kind == dataNode || v.dict["requirement"].kind == stringNode {
		c.nested = append(c.nested, name+"/")
		return c.nestedCode(name, v)
	}
	if link := v.dict["symlink"]; link.kind == stringNode {
		return c.symlink(name, link.str)
	}
	if c.isLink(name) {
		note(&c.seal.Changed, name)
		return nil
	}
	hash, want := crypto.SHA256, v.dict["hash2"].data
	if want == nil {
		hash, want = crypto.SHA1, v.dict["hash"].data
	}
	if v.kind == dataNode {
		want = v.data
	}
	got, err := c.digest(hash, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if v.dict["optional"].num == 0 {
			note(&c.seal.Missing, name)
		}
		return nil
	case err != nil:
		return err
	case !bytes.Equal(got, want):
		note(&c.seal.Changed, name)
	}
	return nil
}

// isLink reports whether a file is a symbolic link.
func (c *sealCheck) isLink(name string) bool {
	st, err := fs.Lstat(c.fsys, path.Join(c.dir, name))
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// behindLink reports whether a folder of the bundle, or one above it, is a symbolic link.
func (c *sealCheck) behindLink(dir string) bool {
	at, behind := "", false
	for part := range strings.SplitSeq(strings.TrimPrefix(dir, "."), "/") {
		at = path.Join(at, part)
		known, ok := c.folders[at]
		if !ok {
			known = behind || c.isLink(at)
			c.folders[at] = known
		}
		behind = known
	}
	return behind
}

func (c *sealCheck) digest(hash crypto.Hash, name string) ([]byte, error) {
	if !hashing.Usable(hash) {
		return nil, fmt.Errorf("%s: %v: %w", name, hash, errors.ErrUnsupported)
	}
	f, err := c.fsys.Open(path.Join(c.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, nil // a folder in place of a file: equal to no hash
	}
	item := c.report.Budget.File(hostfs.FileID(nil, path.Join(c.dir, name), st), st.Size())
	defer item.Done()
	if err := item.Work(hashWork * min(st.Size(), *c.left)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	h := hash.New()
	n, err := io.Copy(h, io.LimitReader(f, *c.left+1))
	if err == nil {
		err = item.Work(hashWork * max(n-st.Size(), 0)) // of a file that grew, or did not say how long it is
	}
	if err != nil {
		return nil, err
	}
	if *c.left -= n; *c.left < 0 {
		return nil, fmt.Errorf("%s: %w: the bundle's files are larger than may be read", name, fact.ErrTooLarge)
	}
	return h.Sum(nil), nil
}

func (c *sealCheck) symlink(name, want string) error {
	got, err := fs.ReadLink(c.fsys, path.Join(c.dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		note(&c.seal.Missing, name)
	case errors.Is(err, fs.ErrInvalid): // no link any more
		note(&c.seal.Changed, name)
	case err != nil:
		return err
	case got != want:
		note(&c.seal.Changed, name)
	}
	return nil
}

func ignoreAbsent(err error, missing *[]string, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		note(missing, name)
		return nil
	}
	return err
}

// unlisted are the files that no list names: the code directory covers them, or they are the signature.
var unlisted = []string{"CodeResources", "_MASReceipt"}

// extraFiles looks for files that are there, are sealed by a rule, and are not listed (StaticCode.cpp,
// validateResources).
func (c *sealCheck) extraFiles() error {
	seen := 0
	return fs.WalkDir(c.fsys, c.dir, func(file string, d fs.DirEntry, err error) error {
		if fact.CodeOf(err) == fact.CodeOlder && path.Base(file) == "_CodeSignature" {
			return fs.SkipDir // only what is unsealed would be there
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(file, c.dir), "/")
		if c.over != nil {
			return c.over
		}
		if seen++; seen > maxSealedFiles {
			return fmt.Errorf("%s: %w: more than %d files", c.dir, fact.ErrTooLarge, maxSealedFiles)
		}
		switch {
		case name == "":
			return nil
		case path.Dir(name) == "_CodeSignature" && !strings.HasPrefix(path.Base(name), "Code"):
			c.unsealed(name)
			return skip(d)
		case name == "_CodeSignature", path.Dir(name) == "_CodeSignature":
			return nil
		case slices.Contains(unlisted, name), c.listed[name] && d.IsDir():
			return skip(d)
		case d.IsDir() && c.isNested(name):
			if c.mustBeListed(name) {
				note(&c.seal.Extra, name)
			}
			return fs.SkipDir
		case d.IsDir(), c.listed[name], c.inNested(name):
			return nil
		}
		return c.extraFile(name, d)
	})
}

// skip leaves a folder out.
func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// extraFile judges a file that is not listed.
func (c *sealCheck) extraFile(name string, d fs.DirEntry) error {
	if path.Base(name) == ".DS_Store" && d.Type()&fs.ModeSymlink != 0 {
		note(&c.seal.Extra, name) // a link of that name is refused, whatever the rules say
		return nil
	}
	if !c.mustBeListed(name) || c.first && d.Type()&fs.ModeSymlink != 0 {
		if !harmless(name) {
			c.unsealed(name)
		}
		return nil
	}
	attributes, err := c.isAttributes(name)
	if err != nil {
		return err
	}
	if attributes {
		note(&c.seal.Attributes, name)
		return nil
	}
	note(&c.seal.Extra, name)
	return nil
}

// isAttributes reports whether a file "._NAME" holds the attributes of the file NAME beside it. Where a file system has
// no attributes, macOS keeps them so, and Security leaves such files out (StaticCode.cpp, pathIsValidXattrFile). A
// package or an archive that was unpacked on another system has them too.
func (c *sealCheck) isAttributes(name string) (bool, error) {
	dir, base := path.Split(name)
	of, ok := strings.CutPrefix(base, "._")
	if !ok || of == "" {
		return false, nil
	}
	if _, err := fs.Stat(c.fsys, path.Join(c.dir, dir, of)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	f, err := c.fsys.Open(path.Join(c.dir, name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(magic) == "\x00\x05\x16\x07", nil
}

func (c *sealCheck) inNested(name string) bool {
	return slices.ContainsFunc(c.nested, func(dir string) bool { return strings.HasPrefix(name, dir) })
}
