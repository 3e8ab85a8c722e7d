// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/sentinel"
)

// Roots are the certificates that a caller trusts, in named sets. Its zero value trusts nobody.
type Roots struct {
	sets   []rootSet
	unread []fact.Problem // certificates that cannot be read
}

type rootSet struct {
	name   string
	origin fact.Trust
	certs  []*Certificate
}

// NewRoots returns the certificates of a caller's sets. It leaves out one that cannot be read, which Report reports.
func NewRoots(sets []fact.KeySet) *Roots {
	r := &Roots{}
	for _, s := range sets {
		rs := rootSet{name: s.Name, origin: s.Origin}
		for _, x := range s.Certificates {
			c, err := ParseCertificate(x.Raw)
			if err != nil {
				err = fmt.Errorf("key set %s: %w", s.Name, err)
				r.unread = append(r.unread, fact.ProblemOf("", "", "", err))
				continue
			}
			rs.certs = append(rs.certs, c)
		}
		r.sets = append(r.sets, rs)
	}
	return r
}

// Report reports each certificate that cannot be read, as a problem of the source and the field; with an empty field
// it names the part of the certificate that is malformed.
func (r *Roots) Report(report *fact.Report, source, field string) {
	for _, p := range r.unread {
		report.Problem(source, "", field, p)
	}
}

// Empty reports whether there is nothing to trust.
func (r *Roots) Empty() bool {
	if r == nil {
		return true
	}
	for _, s := range r.sets {
		if len(s.certs) > 0 {
			return false
		}
	}
	return true
}

// A Chain is a way from a certificate towards a root.
type Chain struct {
	// Certificates lead from the signer's upwards, each signed by the next. The trusted one is the
	// last when KeySet is set.
	Certificates []*Certificate
	// KeySet is the name of the set that the chain ends in; empty when it ends in none.
	KeySet string
	// Trusted says that the chain ends in a set and that time and purpose fit.
	Trusted bool
	// Err is why it is not trusted; nil when it is.
	Err error
	// Cut is why not every certificate that may issue one of these could be asked; nil if all were, or none of the rest
	// matters. There may be a longer chain, and a better one unless this is trusted.
	Cut error
}

// A ChainQuery is what a chain is built for.
type ChainQuery struct {
	Pool  []*Certificate // certificates that came along; none of them is trusted
	Lost  error          // why Pool lacks a certificate that came along; nil if it has all
	Roots *Roots         // the trusted ones
	At    time.Time      // the time that every certificate but the trusted one must be valid at
	Usage string         // the purpose that every certificate but the trusted one must allow
	Rules Rules          // what is asked beyond signatures
	Item  *fact.Item     // what checking signatures may cost; nil is no bound beyond the number of them
	Known *Known         // what earlier chains checked; nil keeps nothing
}

// BuildChain looks for the best chain of leaf: a trusted one, else one that ends in a set but
// fails by time or purpose, else the longest whose signatures fit.
func BuildChain(leaf *Certificate, q ChainQuery) Chain {
	b := chainBuilder{q: q, tries: maxTries, names: maxNameWork}
	b.walk([]*Certificate{leaf})
	if b.best.Certificates == nil {
		b.best = Chain{Certificates: []*Certificate{leaf}, Err: errNoIssuer}
	}
	b.best.Cut = cmp.Or(b.over, b.unsure, q.Lost)
	if b.over != nil && !b.best.Trusted || b.best.Cut != nil && b.best.KeySet == "" {
		b.best.Err = b.best.Cut
	}
	return b.best
}

var (
	errManyTries = &sentinel.Error{Before: "the chain of its certificates takes more than 100 tries",
		Cause: fact.ErrTooLarge}
	errLongChain = &sentinel.Error{Before: "the chain of its certificates is longer than 10", Cause: fact.ErrTooLarge}
)

type chainBuilder struct {
	q      ChainQuery
	tries  int
	names  int // bytes of names that may still be compared
	best   Chain
	over   error // what the signatures take that is more than they may take
	unsure error // the first issuer that could not be asked, where no other was found
}

// walk is depth-first over the pool; its depth is at most maxChain and its signature checks are
// at most maxTries in all.
func (b *chainBuilder) walk(path []*Certificate) {
	last := path[len(path)-1]
	if set := b.q.Roots.holding(last); set != "" {
		b.offer(path, set)
		if b.best.Trusted {
			return
		}
	}
	var issued bool
	var unsure error
	for _, root := range b.q.Roots.candidates(last) {
		err := b.try(last, root.cert)
		if err == nil {
			issued = true
			b.offer(append(path[:len(path):len(path)], root.cert), root.set)
		}
		if b.best.Trusted {
			return
		}
		unsure = cmp.Or(unsure, undecided(err))
	}
	extended := false
	for _, c := range b.q.Pool {
		if contains(path, c) || !couldIssue(c, last) {
			continue
		}
		if len(path) >= maxChain {
			unsure = cmp.Or(unsure, error(errLongChain))
			break
		}
		if err := b.try(last, c); err != nil {
			if !(last.IsSelfIssued() && bytes.Equal(last.RawSPKI, c.RawSPKI)) { // else its own signature
				unsure = cmp.Or(unsure, undecided(err))
			}
			continue
		}
		extended = true
		b.walk(append(path[:len(path):len(path)], c))
		if b.best.Trusted {
			return
		}
	}
	if !issued && !extended {
		b.unsure = cmp.Or(b.unsure, unsure)
	}
	if !extended {
		b.offer(path, "")
	}
}

// try says whether parent's key signed child: nil, or why that is not so or could not be checked.
func (b *chainBuilder) try(child, parent *Certificate) error {
	if b.over == nil && b.tries == 0 {
		b.over = errManyTries
	}
	if b.over != nil {
		return b.over
	}
	b.tries--
	key, err := parent.PublicKey()
	if err != nil {
		return err
	}
	if b.over = b.q.Item.Work(keyWork(key, child.RawTBS)); b.over != nil {
		return b.over
	}
	return b.q.Known.Check(child, parent)
}

// undecided returns the error if it says that a check could not be made, else nil.
func undecided(err error) error {
	if err != nil && IsUndecided(err) {
		return err
	}
	return nil
}

// offer keeps the path if it is better than the best so far.
func (b *chainBuilder) offer(path []*Certificate, set string) {
	c := Chain{Certificates: path, KeySet: set}
	if set == "" {
		c.Err = endError(path[len(path)-1])
	} else {
		c.Err = b.fits(path)
		c.Trusted = c.Err == nil
	}
	switch {
	case b.best.Certificates == nil,
		c.Trusted && !b.best.Trusted,
		c.KeySet != "" && b.best.KeySet == "",
		c.KeySet == b.best.KeySet && !b.best.Trusted && len(c.Certificates) > len(b.best.Certificates):
		c.Certificates = append([]*Certificate(nil), path...)
		b.best = c
	}
}

func endError(last *Certificate) error {
	if last.IsSelfIssued() {
		return fmt.Errorf("%q is not among the given keys", last.Subject.Short())
	}
	return fmt.Errorf("issuer %q is not among the given keys", last.Issuer.Short())
}

// fits judges a path that leads to a trusted certificate by the rules. The trusted one's own time and purpose do not
// count. A leaf that is itself trusted is judged by purpose, and by what it says of itself.
func (b *chainBuilder) fits(path []*Certificate) error {
	if b.q.Rules == RulesLinux {
		return nil
	}
	for i, c := range path[:max(len(path)-1, 1)] {
		if len(path) > 1 && !c.ValidAt(b.q.At) {
			return fmt.Errorf("certificate %q is valid from %s to %s, not at %s", c.Subject.Short(),
				day(c.NotBefore), day(c.NotAfter), day(b.q.At))
		}
		if err := b.fitsUsage(c); err != nil {
			return err
		}
		if i > 0 {
			if err := c.mayIssue(); err != nil {
				return err
			}
		}
	}
	return b.q.Rules.fit(path, &b.names)
}

func (c *Certificate) mayIssue() error {
	if !c.IsCA || c.NoCertSign {
		return fmt.Errorf("certificate %q may not issue others", c.Subject.Short())
	}
	return nil
}

// CheckIssuers returns why a certificate of a path may not have issued the one below it, by what the certificates say
// of themselves and of each other; nil when all may. It takes what item allows.
func CheckIssuers(path []*Certificate, item *fact.Item) error {
	for _, c := range path[1:] {
		if err := c.mayIssue(); err != nil {
			return err
		}
	}
	work := maxNameWork
	err := RulesX509.fit(path, &work)
	return cmp.Or(item.Work(int64(maxNameWork-work)), err)
}

// fitsLength judges how many authorities are below each authority; those that were renewed under their own name do not
// count (RFC 5280). The trusted one's own limit counts too.
func fitsLength(path []*Certificate) error {
	below := 0
	for i, c := range path {
		if i == 0 {
			continue
		}
		if c.MaxPathLen >= 0 && below > c.MaxPathLen {
			return fmt.Errorf("certificate %q allows %d authorities below it, there are %d", c.Subject.Short(),
				c.MaxPathLen, below)
		}
		if !c.IsSelfIssued() {
			below++
		}
	}
	return nil
}

func (b *chainBuilder) fitsUsage(c *Certificate) error {
	if b.q.Usage == "" || c.Allows(b.q.Usage) {
		return nil
	}
	return fmt.Errorf("certificate %q does not allow purpose %s", c.Subject.Short(), b.q.Usage)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// holding returns the name of the first set that has this very certificate, or its key under the
// same name; "" when none has.
func (r *Roots) holding(c *Certificate) string {
	if r == nil {
		return ""
	}
	for _, s := range r.sets {
		for _, x := range s.certs {
			if x.has(c) {
				return s.name
			}
		}
	}
	return ""
}

type rootOf struct {
	cert *Certificate
	set  string
}

func (r *Roots) candidates(c *Certificate) []rootOf {
	if r == nil {
		return nil
	}
	var out []rootOf
	for _, s := range r.sets {
		for _, x := range s.certs {
			if bytes.Equal(x.RawSubject, c.RawIssuer) && !bytes.Equal(x.Raw, c.Raw) {
				out = append(out, rootOf{x, s.name})
			}
		}
	}
	return out
}

// couldIssue is the cheap test before a signature is checked.
func couldIssue(parent, child *Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	return child.AuthorityKeyID == nil || parent.SubjectKeyID == nil ||
		bytes.Equal(child.AuthorityKeyID, parent.SubjectKeyID)
}

func contains(path []*Certificate, c *Certificate) bool {
	for _, p := range path {
		if p == c || bytes.Equal(p.Raw, c.Raw) {
			return true
		}
	}
	return false
}

// IsUndecided reports whether err says that a check could not be made, as opposed to failing.
func IsUndecided(err error) bool {
	if errors.Is(err, fact.ErrTooLarge) || errors.Is(err, fact.ErrBudget) {
		return true
	}
	return errors.Is(err, ErrAlgorithm) || errors.Is(err, ErrNoCertificate) || errors.Is(err, fact.ErrMalformed)
}
