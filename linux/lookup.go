// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/linux/modprobe"
)

// lookedUp says whether each source that modprobe or the kernel uses was asked for a name and answered: the indexes of
// files, of aliases and of what is compiled in, and its metadata. A look-up that failed half-way, because the index is
// damaged, cut off or unreadable, found nothing and proves nothing.
func (c *checker) lookedUp(name string) fact.Answer {
	if index, err := c.tree.LookupErr(name); err != nil {
		return c.indexUnread(index, err)
	}
	return c.builtinsRead()
}

// builtinsRead says whether the list of what is compiled in, and its metadata, could be read. Either may not exist.
func (c *checker) builtinsRead() fact.Answer {
	if c.machine.DirErr != nil {
		return passes() // there is no such list, or the whole directory is what was not read
	}
	if _, err := c.tree.Index(modprobe.IndexBuiltin); lost(err) {
		return c.indexUnread(modprobe.IndexBuiltin, err)
	}
	var r fact.Report
	if _, err := c.tree.Builtin(&r); lost(err) {
		return c.indexUnread(modprobe.IndexBuiltin, err)
	}
	for _, p := range r.Problems {
		if p.Code != fact.CodeAbsent {
			return c.indexUnread(modprobe.BuiltinInfoFile, p)
		}
	}
	return passes()
}

// lost reports whether err says that a file could not be read, not that it does not exist.
func lost(err error) bool { return err != nil && !errors.Is(err, fs.ErrNotExist) }

// mayBeOtherwise takes back a blocked outcome if an index that could not be read may say that the code is compiled in,
// which nothing keeps from running, or that modprobe loads another file than the one that was judged.
func (c *checker) mayBeOtherwise(r *result, t target) {
	if r.prospect.Outcome != fact.VerdictBlocked || t.builtin {
		return
	}
	if a := c.lookedUp(t.name); a.Blocked() != fact.No {
		r.set(fact.VerdictUnknown, r.word, a.Because())
		r.addReason(a.Because())
	}
}
