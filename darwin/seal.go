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
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Caps for the comparison of a bundle with its seal.
const (
	maxSealedFiles = 20000
	maxSealRules   = 64
	maxSealDiffs   = 100
)

// A Seal compares a bundle's files with the list that was signed with it, CodeResources.
type Seal struct {
	// Info says whether Info.plist is the one that the code directory lists; absent when it lists none.
	Info fact.Tri `json:"info,omitzero"`
	// Resources says whether CodeResources is the one that the code directory lists.
	Resources fact.Tri `json:"resources,omitzero"`
	// Files is how many files CodeResources lists.
	Files fact.Count `json:"files,omitzero"`
	// Changed are the files that differ from the list; at most 100, sorted. Empty is none; absent when it was not
	// checked.
	Changed []string `json:"changed,omitzero"`
	// Missing are the files of the list that are not there, in the form of Changed.
	Missing []string `json:"missing,omitzero"`
	// Extra are the files that should be on the list and are not, in the form of Changed.
	Extra []string `json:"extra,omitzero"`
}

// Broken reports whether any part of the comparison found a difference.
func (s *Seal) Broken() bool {
	return s != nil && (s.Info == fact.No || s.Resources == fact.No || len(s.Changed)+len(s.Missing)+len(s.Extra) > 0)
}

// A sealCheck compares one bundle.
type sealCheck struct {
	fsys   fs.FS
	report *fact.Report
	dir    string // the folder that paths in the seal start from
	budget int64  // bytes that may still be hashed
	seal   *Seal
	rules  []sealRule
	listed map[string]bool
	nested []string // listed bundles; what is below them is sealed by them
}

// A sealRule says which files are sealed.
type sealRule struct {
	pattern  *regexp.Regexp
	weight   float64
	omit     bool
	optional bool
}

// checkSeal compares the bundle's files with resources, the content of CodeResources. main is the bundle's
// executable, relative to its contents, which the code directory covers.
func (r *bundleReading) checkSeal(main string, resources []byte, budget int64) (*Seal, error) {
	dir := r.where.contents
	source := path.Join(dir, "_CodeSignature/CodeResources")
	n, err := decodePlist(source, resources)
	if err != nil {
		return nil, err
	}
	l := &losses{r.report, source, source}
	files, rules := n.sub("files2", l), n.sub("rules2", l)
	if files.dict == nil {
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
		fsys: r.FS, report: r.report, dir: dir, budget: budget, listed: map[string]bool{main: true},
		seal: &Seal{Files: fact.CountOf(int64(len(files.dict))),
			Changed: []string{}, Missing: []string{}, Extra: []string{}},
	}
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
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, &fact.ParseError{Source: source, Field: "rules2", Reason: err.Error()}
		}
		r := sealRule{pattern: pattern, weight: 1}
		v := n.dict[text]
		if v.kind == boolNode {
			r.omit = v.num == 0
		} else {
			r.omit, r.optional = v.dict["omit"].num != 0, v.dict["optional"].num != 0
			if w := v.dict["weight"]; w.kind == integerNode {
				r.weight = float64(int64(w.num))
			} else if w.kind == otherNode {
				fmt.Sscan(w.str, &r.weight) // a real; anything else leaves 1
			}
		}
		rules = append(rules, r)
	}
	slices.SortStableFunc(rules, func(a, b sealRule) int { return cmp.Compare(b.weight, a.weight) })
	return rules, nil
}

// rule is the heaviest rule that the file falls under; nil for none, which means it is not sealed.
func (c *sealCheck) rule(name string) *sealRule {
	for i := range c.rules {
		if c.rules[i].pattern.MatchString(name) {
			return &c.rules[i]
		}
	}
	return nil
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
	if v.dict["cdhash"].kind == dataNode {
		c.nested = append(c.nested, name+"/")
		return c.nestedCode(name, fmt.Sprintf("%x", v.dict["cdhash"].data))
	}
	if link := v.dict["symlink"]; link.kind == stringNode {
		return c.symlink(name, link.str)
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

func (c *sealCheck) digest(hash crypto.Hash, name string) ([]byte, error) {
	f, err := c.fsys.Open(path.Join(c.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, nil // a folder in place of a file: equal to no hash
	}
	h := hash.New()
	n, err := io.Copy(h, io.LimitReader(f, c.budget+1))
	if err != nil {
		return nil, err
	}
	if c.budget -= n; c.budget < 0 {
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

// nestedCode compares the code directory hash of a bundle or program inside.
func (c *sealCheck) nestedCode(name, want string) error {
	file := path.Join(c.dir, name)
	if st, err := fs.Stat(c.fsys, file); err == nil && st.IsDir() {
		layout, err := findLayout(c.fsys, file)
		if err != nil {
			return ignoreAbsent(err, &c.seal.Missing, name)
		}
		data, err := layout.readInfo(c.fsys)
		if err != nil {
			return ignoreAbsent(err, &c.seal.Missing, name)
		}
		info, err := parseInfo(layout.info, data, "", c.report)
		if err != nil {
			return err
		}
		if file, err = layout.executable(info); err != nil || file == "" {
			return err
		}
	}
	hashes, err := fileCDHashes(c.fsys, file)
	if err != nil {
		return ignoreAbsent(err, &c.seal.Missing, name)
	}
	if !slices.Contains(hashes, want) {
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

// fileCDHashes are the code directory hashes of a Mach-O file's slices.
func fileCDHashes(fsys fs.FS, name string) ([]string, error) {
	f, err := openFile(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := readSlices(name, f, f.size)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for _, s := range all {
		sig, err := readCodeSignature(name, f, s)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, sig.CDHash)
	}
	return hashes, nil
}

// extraFiles looks for files that are there, are sealed by a rule, and are not listed.
func (c *sealCheck) extraFiles() error {
	seen := 0
	return fs.WalkDir(c.fsys, c.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(file, c.dir), "/")
		if seen++; seen > maxSealedFiles {
			return fmt.Errorf("%s: %w: more than %d files", c.dir, fact.ErrTooLarge, maxSealedFiles)
		}
		if d.IsDir() {
			if name == "_CodeSignature" || c.listed[name] && name != "" {
				return fs.SkipDir
			}
			return nil
		}
		if c.listed[name] || name == "CodeResources" || c.inNested(name) {
			return nil
		}
		if r := c.rule(name); r != nil && !r.omit {
			note(&c.seal.Extra, name)
		}
		return nil
	})
}

func (c *sealCheck) inNested(name string) bool {
	return slices.ContainsFunc(c.nested, func(dir string) bool { return strings.HasPrefix(name, dir) })
}
