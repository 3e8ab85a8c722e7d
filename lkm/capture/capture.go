// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	text "github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/lkm"
)

// A captured is what one reader of captures made of a text.
type captured struct {
	snapshot *lkm.Snapshot
	rows     int  // rows that the text has in this form
	stray    int  // lines that are not of this form
	sure     bool // something beside the rows says that it is this form, such as a header
	kind     Kind
}

// by returns a reader made of that of a kernel's package.
func by[Own any](os lkm.OS, read func(string, *fact.Report) fact.Capture[Own]) func(string, *form) captured {
	return func(clean string, f *form) captured {
		r := fact.Report{Budget: fact.NewBudget(0)}
		bare := text.Bare(clean)
		c := read(bare, &r)
		if c.Rows == 0 && !c.Sure {
			return captured{}
		}
		f.judge(clean, bare, &r)
		snap := lkm.FromRecords(os, c.Records, c.Header, &r)
		if !wholeList(&r) {
			forget(snap.Modules)
		}
		snap.Policy = c.Policy
		return captured{snapshot: snap, rows: c.Rows, stray: c.Stray, sure: c.Sure}
	}
}

// judge makes the sources partial that the reader took for whole, if the text shows that it is but a part of a list.
// bare is the text without the prompts around JSON or XML.
func (f *form) judge(clean, bare string, r *fact.Report) {
	why, code := text.Part(clean, f.tools, f.selects), fact.CodeOther
	if refused := text.Refusal(clean); why == nil && refused != nil {
		why, code = refused, fact.CodePermission
	}
	if why == nil && f.isCut(bare) {
		code = fact.CodeMalformed
		why = errors.New("the text ends within a line: its last row may be cut, and more may be missing")
	}
	if why == nil {
		return
	}
	for i := range r.Sources {
		if s := &r.Sources[i]; s.Outcome == lkm.OutcomeOK {
			s.Outcome = lkm.OutcomePartial
			r.Add(fact.Problem{Source: s.Name, Field: "modules", Code: code, Text: why.Error()})
		}
	}
}

// wholeList reports whether every source has a whole list.
func wholeList(r *fact.Report) bool {
	return !slices.ContainsFunc(r.Sources, func(s fact.Source) bool { return s.Outcome != lkm.OutcomeOK })
}

// isCut reports whether a text ends within a line. JSON and XML show their own end, and so do some forms.
func (f *form) isCut(clean string) bool {
	return !f.ends && !strings.ContainsAny(clean[len(clean)-1:], "\n\x00") && !strings.ContainsAny(clean[:1], "[{<")
}

// Read makes a Snapshot of text that a tool printed on some machine. Prompts, carriage
// returns, byte-order marks, UTF-16, terminal colors and stray lines do no harm. With as "" the kind is detected from
// the first 64 KiB. The error matches lkm.ErrMalformed for text of no known kind, or not of the kind that as names. The
// source is partial if the text is cut, or shows a command that leaves rows out, or lacks the header that its tool
// prints. The snapshot has no time: when the text was made is not known.
func Read(r io.Reader, as Kind) (*lkm.Snapshot, error) {
	clean, encoding, err := text.Read(r)
	if err != nil {
		return nil, fmt.Errorf("lkm: read capture: %w", err)
	}
	best, err := readAs(clean, as)
	if err != nil {
		return nil, fmt.Errorf("lkm: read capture: %w", err)
	}
	setEncoding(best.snapshot, encoding)
	return best.snapshot, nil
}

// setEncoding says what the text was decoded from.
func setEncoding(s *lkm.Snapshot, encoding string) {
	for i := range s.Sources {
		if s.Sources[i].Encoding == "" {
			s.Sources[i].Encoding = encoding
		}
	}
}

// headSize is how much of a long text is looked at to find out its kind, in bytes.
const headSize = 64 << 10

// deepKinds are the kinds whose rows may follow any amount of other text.
var deepKinds = [...]Kind{MSInfo, MacOSPanic, SystemProfiler, AbendLog, KernelLog, WinDbg}

func readAs(clean string, as Kind) (captured, error) {
	switch {
	case strings.TrimSpace(clean) == "":
		return captured{}, fmt.Errorf("%w: the text is empty, which is not an empty list", lkm.ErrMalformed)
	case as == "":
		return detect(clean)
	}
	r, ok := as.reader()
	if !ok {
		return captured{}, fmt.Errorf("capture kind %q: %w", as, errors.ErrUnsupported)
	}
	c := r.read(clean, &r.form)
	if !c.fits() {
		c = captured{}
	}
	c = untabled(clean, r, mended(clean, r, c))
	return c, c.empty(clean, r, fmt.Errorf("%w: unrecognized text: not the output of %s", lkm.ErrMalformed, as))
}

// empty returns the error of a text without a row: what its tool was refused, or that it lists nothing though no
// machine has nothing to list; none for a list that may be empty. other is the error of a text of another kind.
func (c captured) empty(clean string, r reader, other error) error {
	if c.snapshot != nil && c.rows > 0 {
		return nil
	}
	if err := text.Refusal(clean); err != nil {
		return fmt.Errorf("%w: %w", lkm.ErrMalformed, err)
	}
	switch {
	case c.snapshot == nil:
		return other
	case r.neverEmpty && len(c.snapshot.Problems) == 0:
		return fmt.Errorf("%w: the text of %s lists nothing, and no machine of its kind is without",
			lkm.ErrMalformed, r.kind)
	}
	return nil
}

// detect reads a text as the kind that fits it best. Of a long one only the beginning is given to
// every reader, and the whole to the one that it fits.
func detect(clean string) (captured, error) {
	head := clean
	if len(clean) > headSize {
		head = clean[:headSize]
		if i := strings.LastIndexByte(head, '\n'); i > 0 {
			head = head[:i+1]
		}
	}
	if all, ok := several(clean); ok {
		return all, nil
	}
	best, kind := bestOf(head, func(Kind) bool { return true })
	if best.snapshot == nil {
		if plain, ok := text.Untable(clean); ok {
			return detect(plain)
		}
	}
	if best.snapshot != nil && len(head) < len(clean) {
		best, _ = bestOf(clean, func(k Kind) bool { return k == kind })
	}
	if len(head) < len(clean) && (best.snapshot == nil || best.rows < best.stray) {
		deep, deepKind := bestOf(clean, func(k Kind) bool { return slices.Contains(deepKinds[:], k) })
		if deep.snapshot != nil && deep.better(best) {
			best, kind = deep, deepKind
		}
	}
	r, _ := kind.reader()
	if kind != "" {
		best = mended(clean, r, best)
	}
	best.kind = kind
	return best, best.empty(clean, r,
		fmt.Errorf("%w: unrecognized text: not the output of a known tool", lkm.ErrMalformed))
}

// bestOf gives a text to the readers of some kinds and returns what fits best, and its kind.
func bestOf(clean string, ask func(Kind) bool) (best captured, kind Kind) {
	for _, r := range readers() {
		if !ask(r.kind) {
			continue
		}
		if c := r.read(clean, &r.form); c.fits() && c.better(best) {
			best, kind = c, r.kind
		}
	}
	return best, kind
}

// fits reports whether the text is of the reader's form: something says so, or rows make up the
// better part of it.
func (c captured) fits() bool {
	return c.snapshot != nil && (c.sure && (c.rows > 0 || c.stray == 0) || (c.rows > 0 && c.rows >= c.stray))
}

func (c captured) better(than captured) bool {
	if than.snapshot == nil {
		return true
	}
	if c.rows != than.rows {
		return c.rows > than.rows
	}
	return c.sure && !than.sure
}
