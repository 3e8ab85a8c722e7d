// SPDX-License-Identifier: Apache-2.0

package pkgdb

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// pacmanDir is where pacman keeps its packages: a directory NAME-VERSION-RELEASE for each, with the files "desc",
// "files" and "mtree".
const pacmanDir = "var/lib/pacman/local"

// maxTree is the longest list of digests that is read, in bytes without its compression.
const maxTree = 64 << 20

// pacman reads pacman's lists of files, and the description and the digests of each package that owns a wanted one.
func (d *reader) pacman() {
	item := d.report.Budget.Item(0)
	defer item.Done()
	owners := map[string]*fact.Package{}
	d.lists(pacmanDir, func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/files"
		}
		return ""
	}, func(entry string, list []byte) {
		item.Grow(int64(len(list)))
		if !d.marked(list) {
			return
		}
		name, version := pacmanName(entry)
		p := &fact.Package{Manager: string(Pacman), Name: text(name), Version: text(version)}
		before := len(d.Files)
		for line := range bytes.Lines(list) {
			if err := d.own(item, string(bytes.TrimRight(line, "\r\n")), Owner{Package: p}); err != nil {
				d.lose(err)
				return
			}
		}
		if len(d.Files) > before {
			owners[entry] = p
		}
	})
	for entry, p := range owners {
		d.describe(entry, p)
		if d.Sums {
			if err := d.readTree(pacmanDir+"/"+entry+"/mtree", p); err != nil {
				d.miss(FieldHashes, err)
			}
		}
	}
}

// pacmanName splits the name of a directory, NAME-VERSION-RELEASE.
func pacmanName(dir string) (name, version string) {
	name = dir
	for range 2 { // the release, and the version
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
	}
	return name, strings.TrimPrefix(strings.TrimPrefix(dir, name), "-")
}

// describe adds what a package's description says: %FIELD%, and its value in the next line.
func (d *reader) describe(entry string, p *fact.Package) {
	content, err := d.readLines(pacmanDir + "/" + entry + "/desc")
	if err != nil {
		d.miss(FieldPackage, err)
	}
	field := ""
	for line := range bytes.Lines(content) {
		value := text(string(line))
		switch field {
		case "%NAME%":
			p.Name = value
		case "%VERSION%":
			p.Version = value
		case "%ARCH%":
			p.Arch = value
		case "%PACKAGER%":
			p.Vendor = value
		}
		field = value
	}
}

// readTree adds the digests of a package's files: mtree(5) lines such as "./PATH size=1 sha256digest=HEX", packed with
// gzip. A byte that is not a plain character is \OOO.
func (d *reader) readTree(name string, p *fact.Package) error {
	packed, err := d.readText(name)
	if err != nil {
		return err
	}
	item := d.report.Budget.Item(int64(len(packed)))
	defer item.Done()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return &fact.ParseError{Source: name, Reason: err.Error()}
	}
	room := min(maxTree, item.MaxMemory()/2)
	content, err := limit.AppendAll(&counted{z, item}, nil, name, room)
	if holdErr := item.Hold(int64(len(content))); holdErr != nil {
		return holdErr
	}
	if code := fact.CodeOf(err); err != nil && code != fact.CodeTooLarge && code != fact.CodeBudget {
		return &fact.ParseError{Source: name, Reason: err.Error()}
	}
	for line := range bytes.Lines(content) {
		if err := item.Work(int64(len(line)) + lineWork); err != nil {
			return err
		}
		if line, ok := bytes.CutPrefix(line, []byte("./")); ok {
			d.addSum(line, p)
		}
	}
	return err
}

// addSum adds the digest that a line of a list of digests has, from the path on.
func (d *reader) addSum(line []byte, p *fact.Package) {
	end := bytes.IndexAny(line[:min(len(line), 4*maxPath+1)], " \t\r\n") // a byte of a path may be four here
	if end < 0 {
		return
	}
	path := unescape(string(line[:end]))
	if o, owned := d.Files[path]; owned && o.Package == p {
		o.Sum = treeSum(strings.Fields(string(line[end:])))
		d.Files[path] = o
	}
}

// counted asks for the work of what is read.
type counted struct {
	r    io.Reader
	item *fact.Item
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if workErr := c.item.Work(int64(n)); workErr != nil {
		return n, workErr
	}
	return n, err
}

// treeSum returns the best digest of a line's words.
func treeSum(words []string) Sum {
	for _, w := range []struct{ key, algorithm string }{{"sha256digest=", "sha256"}, {"sha512digest=", "sha512"},
		{"md5digest=", "md5"}} {
		i := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, w.key) })
		if i >= 0 {
			return sumOf(w.algorithm, words[i][len(w.key):])
		}
	}
	return Sum{}
}

// unescape replaces \OOO by the byte of that octal number.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if rest := s[i:]; len(rest) >= 4 && rest[0] == '\\' && rest[1] <= '3' && isOctal(rest[1:4]) {
			b, i = append(b, (rest[1]-'0')<<6|(rest[2]-'0')<<3|(rest[3]-'0')), i+3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// isOctal reports whether s is octal digits.
func isOctal(s string) bool { return strings.Trim(s, "01234567") == "" }
