// SPDX-License-Identifier: Apache-2.0

package authenticode

import (
	"cmp"
	"context"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/hashing"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows/pe"
)

// Catalogs is an index of all catalogs of a folder by the digests that they list. It is built by
// Load, else at the first look-up, and is safe for concurrent use. It takes 16 bytes for each member.
type Catalogs struct {
	fsys fs.FS
	root string

	mu     sync.Mutex
	tried  bool // Load was called
	built  bool // and came to its end
	names  []string
	index  []catalogEntry // by key, then catalog
	sha1   bool           // a digest of the index is of that algorithm
	sha256 bool           // likewise
	report fact.Report    // of the index, which each Load passes on
	parsed map[int32]*catalog
	kept   int // bytes of parsed
}

// A catalogEntry is one member: the beginning of its digest, which the catalog itself is asked to
// confirm, and the catalog's place in names.
type catalogEntry struct {
	key uint64
	id  int32
}

func (e catalogEntry) compare(f catalogEntry) int {
	if c := cmp.Compare(e.key, f.key); c != 0 {
		return c
	}
	return cmp.Compare(e.id, f.id)
}

func catalogKey(digest []byte) uint64 { return binary.BigEndian.Uint64(digest) }

// NewCatalogs makes an index of every *.cat file below root in fsys.
func NewCatalogs(fsys fs.FS, root string) *Catalogs {
	return &Catalogs{fsys: fsys, root: root}
}

// Load builds the index unless that has been done. It returns how many catalogs the index holds, and reports what
// could not be read, but for a folder that does not exist: its error matches fs.ErrNotExist. When the context ends,
// look-ups see what was read until then, and a later Load begins again.
func (c *Catalogs) Load(ctx context.Context, r *fact.Report) (int, error) {
	if c == nil {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loadOnce(ctx)
	if c.noFolder() {
		return 0, c.report.Problems[0]
	}
	r.Append(&c.report)
	return len(c.names), nil
}

func (c *Catalogs) loadOnce(ctx context.Context) {
	c.tried = true
	if !c.built {
		c.load(ctx)
		c.built = ctx.Err() == nil
	}
}

// whole reports whether the index holds every catalog of a folder that has some, and all its digests can be made.
func (c *Catalogs) whole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.built && len(c.names) > 0 && len(c.report.Problems) == 0 && (!c.sha1 || hashing.Usable(crypto.SHA1))
}

// absent reports whether the folder was looked for and is not there.
func (c *Catalogs) absent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noFolder()
}

func (c *Catalogs) noFolder() bool {
	return c.built && len(c.names) == 0 && len(c.report.Problems) == 1 && c.report.Problems[0].Code == fact.CodeAbsent
}

// Complete reports whether the catalogs that were read are whole, so that a file that none of them
// lists is known to be in none. Those of one folder say nothing of another that could not be read.
func (v *Verifier) Complete() bool {
	whole := 0
	for _, c := range v.Catalogs {
		switch {
		case c.whole():
			whole++
		case !c.absent():
			return false
		}
	}
	return whole > 0
}

func (c *Catalogs) note(subject string, err error) {
	c.report.Add(fact.ProblemOf(SourceCatalogs, subject, "signature", err))
}

func (c *Catalogs) load(ctx context.Context) {
	c.names, c.index, c.parsed, c.kept = nil, nil, map[int32]*catalog{}, 0
	c.sha1, c.sha256 = false, false
	c.report = fact.Report{Budget: fact.NewBudget(0)} // its own: an index is kept beyond the call
	defer func() { slices.SortFunc(c.index, catalogEntry.compare) }()
	files := c.list(ctx)
	for _, name := range files {
		if ctx.Err() != nil {
			c.note("", ctx.Err())
			return
		}
		cat, item, err := c.read(name, c.report.Budget)
		if err == nil {
			err = item.Keep(int64(len(cat.Members)) * entrySize)
		}
		item.Done()
		if err != nil {
			c.note(name, err)
			if errors.Is(err, fact.ErrBudget) {
				return
			}
			continue
		}
		if cat.unknown > 0 {
			c.note(name, fmt.Errorf("%w: %d members without a digest that is known", fact.ErrMalformed, cat.unknown))
		}
		if len(c.index)+len(cat.Members) > maxCatalogEntries {
			c.note("", fmt.Errorf("%w: more than %d digests", fact.ErrTooLarge, maxCatalogEntries))
			return
		}
		c.add(name, cat)
	}
}

// The memory of a member while its catalog is decoded, and in the index, in bytes; the steps that it takes.
const (
	memberSize = 128
	entrySize  = 32
	memberWork = 256
)

// read reads and decodes a catalog, which item holds until it is Done.
func (c *Catalogs) read(name string, budget *fact.Budget) (*catalog, *fact.Item, error) {
	b, item, err := limit.ReadItem(c.fsys, name, maxCatalog, budget)
	if err != nil {
		return nil, item, err
	}
	cat := &catalog{item: item, mark: new(byte)}
	err = cat.parse(b)
	cat.item = nil
	return cat, item, err
}

func (c *Catalogs) add(name string, cat *catalog) {
	id := int32(len(c.names))
	c.names = append(c.names, name)
	for _, m := range cat.Members {
		c.index = append(c.index, catalogEntry{catalogKey(m.Digest), id})
		c.sha1 = c.sha1 || len(m.Digest) == crypto.SHA1.Size()
		c.sha256 = c.sha256 || len(m.Digest) == crypto.SHA256.Size()
	}
}

// list returns the catalogs' paths, sorted.
func (c *Catalogs) list(ctx context.Context) []string {
	var files []string
	err := fs.WalkDir(c.fsys, c.root, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if p == c.root {
				return err
			}
			c.note(p, err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.IsDir() && strings.EqualFold(path.Ext(p), ".cat") {
			if len(files) == maxCatalogs {
				return fmt.Errorf("%w: more than %d catalogs", fact.ErrTooLarge, maxCatalogs)
			}
			files = append(files, p)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		c.note(c.root, err)
	}
	slices.Sort(files)
	return files
}

// algorithms returns those of the digests that the catalogs list.
func (c *Catalogs) algorithms() []crypto.Hash {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.tried {
		c.loadOnce(context.Background())
	}
	var list []crypto.Hash
	if c.sha256 {
		list = append(list, crypto.SHA256)
	}
	if c.sha1 {
		list = append(list, crypto.SHA1)
	}
	return list
}

var errManyCatalogs error = &sentinel.Error{Before: "more than 64 catalogs list it, and the others were not looked at",
	Cause: fact.ErrTooLarge}

// find returns the catalogs that list one of the digests. The last of too many says that there are more.
func (c *Catalogs) find(item *fact.Item, digests [][]byte) []catalogHit {
	c.mu.Lock()
	defer c.mu.Unlock()
	var hits []catalogHit
	seen := map[int32]bool{}
	for _, d := range digests {
		key := catalogKey(d)
		at, _ := slices.BinarySearchFunc(c.index, catalogEntry{key: key}, catalogEntry.compare)
		for found := 0; at < len(c.index) && c.index[at].key == key; at++ {
			id := c.index[at].id
			if seen[id] {
				continue
			}
			if found == maxPerDigest {
				hits = append(hits, catalogHit{name: c.names[id], digest: d, err: errManyCatalogs})
				break
			}
			cat, err := c.decoded(id, item.Budget())
			if err == nil {
				err = item.Work(int64(len(cat.Members)))
			}
			if errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget) { // of this call alone
				return append(hits, catalogHit{name: c.names[id], digest: d, err: err})
			}
			if err != nil {
				c.note(c.names[id], err)
				continue
			}
			found++
			if cat.lists(d) {
				seen[id] = true
				hits = append(hits, catalogHit{name: c.names[id], digest: d, cat: cat})
			}
		}
	}
	return hits
}

type catalogHit struct {
	name   string
	digest []byte
	cat    *catalog
	err    error // why the catalog was not looked at
}

// decoded returns a catalog of the index, decoded again unless it is among the last few.
func (c *Catalogs) decoded(id int32, budget *fact.Budget) (*catalog, error) {
	if cat := c.parsed[id]; cat != nil {
		return cat, nil
	}
	cat, item, err := c.read(c.names[id], budget)
	item.Done()
	if err != nil {
		return nil, err
	}
	b := cat.data.Content
	if c.kept += len(b) + memberSize*len(cat.Members); c.kept > maxKeptCatalogs {
		clear(c.parsed)
		c.kept = len(b) + memberSize*len(cat.Members)
	}
	c.parsed[id] = cat
	return cat, nil
}

// lists reports whether the catalog lists the digest.
func (cat *catalog) lists(digest []byte) bool {
	for _, m := range cat.Members {
		if string(m.Digest) == string(digest) {
			return true
		}
	}
	return false
}

// catalogSignatures returns a signature for each catalog that lists the file. Whether one lists the digest of its bytes
// is asked only of a file without any other signature, embedded or by a catalog.
func (v *Verifier) catalogSignatures(p *pe.File, embedded bool) []Signature {
	if !p.HasBytes() {
		return nil
	}
	out := v.listed(func(h crypto.Hash) [][]byte { return [][]byte{p.Authentihash(h), p.UnpaddedAuthentihash(h)} })
	if embedded || len(out) > 0 {
		return out
	}
	out = v.listed(func(h crypto.Hash) [][]byte { return [][]byte{p.Digest(h)} })
	for i := range out {
		out[i].byBytes()
	}
	return out
}

// listed returns a signature for each catalog that lists one of a file's digests, which digests makes by algorithm. One
// of them may be nil.
func (v *Verifier) listed(digests func(crypto.Hash) [][]byte) []Signature {
	var out []Signature
	for _, c := range v.Catalogs {
		var made [][]byte
		for _, h := range c.algorithms() {
			for _, d := range digests(h) {
				if d != nil {
					made = append(made, d)
				}
			}
		}
		for _, hit := range c.find(v.item, made) {
			out = append(out, v.catalogSignature(hit))
		}
	}
	return out
}

var errByBytes = errors.New("the catalog lists the file by the digest of its bytes: the kernel looks an image up by " +
	"its authentihash alone")

// byBytes takes what a signature proves from one of a catalog that lists an image as if it were any file.
func (s *Signature) byBytes() {
	s.uncounted, s.Class, s.Attested = true, "", ""
	if s.Status == fact.SignatureValid {
		s.Status, s.KeySet, s.Reason = fact.SignatureUntrusted, "", errByBytes.Error()
	}
}

func (v *Verifier) catalogSignature(hit catalogHit) Signature {
	s := Signature{Status: fact.SignatureUnchecked, read: true}
	if hit.err != nil {
		s.cut = hit.err
		s.verdict(nil, fact.SignatureUnchecked, hit.err)
	} else {
		s = v.memo.ofCatalog(hit.cat, v.item, func() Signature { return v.ofCatalog(hit.cat) })
	}
	s.Source, s.Catalog = fact.SignatureCatalog, hit.name
	s.Digest, s.HashAlgorithm = hex.EncodeToString(hit.digest), "sha1"
	if len(hit.digest) == crypto.SHA256.Size() {
		s.HashAlgorithm = "sha256"
	}
	return s
}

// ofCatalog judges a catalog's own signature.
func (v *Verifier) ofCatalog(cat *catalog) Signature {
	s := Signature{Status: fact.SignatureUnchecked, qualified: cat.Qualified, read: true}
	sd := cat.data
	if len(sd.Signers) != 1 {
		s.cut = fmt.Errorf("%w: %d signers, want 1", fact.ErrMalformed, len(sd.Signers))
		s.verdict(s.cut, "", nil)
		return s
	}
	v.judge(&s, sd, sd.Signers[0], sd.CheckContent(sd.Signers[0]))
	return s
}
