// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/internal/limit"
)

// Read reads a tape, plain or compressed with gzip. It refuses, naming the line, whatever the
// format does not allow: more than TapeCap bytes of text, more than EntryCap bytes in an entry, two
// entries that answer the same question, a tape without its last line. The error satisfies
// errors.Is with fact.ErrMalformed or fact.ErrTooLarge, or is that of reading r.
func Read(r io.Reader) (*Tape, error) {
	text, err := readText(r)
	if err != nil {
		return nil, err
	}
	p := &parser{rest: text, tape: &Tape{entries: make(map[id]*entry), learned: learned},
		item: fact.NewBudget(0).Item(int64(len(text)))} // a tape is kept beyond any call
	if err := cmp.Or(p.item.Hold(int64(len(text))), p.run()); err != nil {
		return nil, p.locate(err)
	}
	return p.tape, nil
}

// ReadFile reads the tape in the named file of this program's own machine, as Read does. The error of a file that is no
// tape names the file.
func ReadFile(name string) (*Tape, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func readText(r io.Reader) ([]byte, error) {
	src := &source{r: r}
	br := bufio.NewReader(src)
	if magic, _ := br.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return limit.AppendAll(br, nil, "tape", TapeCap)
	}
	text, err := gunzip(br)
	if err == nil || src.err != nil || errors.Is(err, fact.ErrTooLarge) {
		return text, cmp.Or(src.err, err)
	}
	return nil, &fact.ParseError{Source: "tape", Reason: err.Error()}
}

func gunzip(r io.Reader) ([]byte, error) {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return limit.AppendAll(zr, nil, "tape", TapeCap)
}

// A source remembers why its reader failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A parser reads the text of a tape. Its line is the number of the last line taken.
type parser struct {
	rest []byte
	line int
	tape *Tape
	fold bool
	item *fact.Item // pays for the entries
}

// locate gives an error of the parser its place.
func (p *parser) locate(err error) error {
	var pe *fact.ParseError
	if errors.As(err, &pe) {
		return err
	}
	kind := fact.ErrMalformed
	if errors.Is(err, fact.ErrTooLarge) {
		kind = fact.ErrTooLarge
	}
	return &fact.ParseError{Source: "tape", Line: p.line, Reason: escape.Text(err.Error()), Err: kind}
}

// entrySize is what an entry takes in memory beside its subject and its content, in bytes.
const entrySize = 320

// maxLine is how long the line of a header or an entry may be.
const maxLine = 64 << 10

// next takes a line, without its newline.
func (p *parser) next() (string, error) {
	p.line++
	i := bytes.IndexByte(p.rest, '\n')
	switch {
	case len(p.rest) == 0:
		return "", errors.New("the tape was cut: its last line, \"-- end --\", is missing")
	case i < 0:
		return "", errors.New("the tape was cut: it ends within a line")
	case i > maxLine:
		return "", fmt.Errorf("the line is longer than %d bytes: %w", maxLine, fact.ErrTooLarge)
	}
	s := string(p.rest[:i])
	p.rest = p.rest[i+1:]
	if strings.HasSuffix(s, "\r") {
		return "", errors.New("the line ends in CR LF: the tape was altered by a text conversion")
	}
	return s, nil
}

func (p *parser) run() error {
	first, err := p.header()
	if err != nil {
		return err
	}
	for s := first; s != endLine; {
		if len(p.tape.entries) == maxEntries {
			return fmt.Errorf("more than %d entries: %w", maxEntries, fact.ErrTooLarge)
		}
		if err := p.entry(s); err != nil {
			return err
		}
		if s, err = p.next(); err != nil {
			return err
		}
	}
	if len(p.rest) > 0 {
		p.line++
		return errors.New("there is more after the last line")
	}
	return nil
}

// header reads the header and returns the first line after it.
func (p *parser) header() (string, error) {
	s, err := p.next()
	if err != nil {
		return "", err
	}
	number, ok := strings.CutPrefix(s, magic)
	if !ok {
		return "", fmt.Errorf("not a tape: the first line is not %q", magic+strconv.Itoa(Format))
	}
	n, err := count(number)
	switch {
	case err != nil || n == 0:
		return "", fmt.Errorf("the format %q is not a number", number)
	case n > Format:
		return "", fmt.Errorf("the tape's format is %d, and this version reads up to %d", n, Format)
	}
	h := &p.tape.header
	var comment []string
	for seen := map[string]bool{}; ; {
		if s, err = p.next(); err != nil {
			return "", err
		}
		if strings.HasPrefix(s, marker) {
			break
		}
		key, value, ok := strings.Cut(s, ":")
		if !ok || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return "", errors.New("a header line is not of the form \"key: value\"")
		}
		if value, err = unescape(strings.TrimPrefix(value, " ")); err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		if key == keyComment {
			comment = append(comment, value)
		} else if err := h.set(key, value, seen); err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
	}
	h.Comment = strings.Join(comment, "\n")
	h.Questions = max(h.Questions, 1)
	if h.OS == "" {
		return "", errors.New("the header does not say which os was recorded")
	}
	p.fold = folds(h.OS)
	p.tape.fold = p.fold
	return s, nil
}

// entry reads the entry that begins with s.
func (p *parser) entry(s string) error {
	l, err := parseLine(s, p.fold)
	if err != nil {
		return err
	}
	if _, ok := p.tape.entries[l.id]; ok {
		return fmt.Errorf("two entries answer %s", l.id)
	}
	if other, ok := l.conflict(); ok && p.tape.entries[other] != nil {
		return fmt.Errorf("%s is both a file and a directory", l.subject)
	}
	body := p.body()
	start := p.line
	if err := l.content(body); err != nil {
		var at offsetError
		if errors.As(err, &at) {
			p.line += 1 + bytes.Count(body[:at.off], []byte("\n"))
		}
		return err
	}
	size := int64(entrySize + len(l.subject))
	if l.base64 {
		size += int64(len(l.data))
	}
	if err := p.item.Keep(size); err != nil {
		return err
	}
	p.line = start + bytes.Count(body, []byte("\n"))
	e := l.entry
	p.tape.entries[e.id] = &e
	return nil
}

// body takes the lines up to the next that begins an entry.
func (p *parser) body() []byte {
	n := 0
	if !bytes.HasPrefix(p.rest, []byte(marker)) {
		if n = bytes.Index(p.rest, []byte("\n"+marker)) + 1; n == 0 {
			n = len(p.rest)
		}
	}
	body := p.rest[:n:n]
	p.rest = p.rest[n:]
	return body
}

// An offsetError is an error at a place in an entry's body.
type offsetError struct {
	off int
	error
}

func (e offsetError) Unwrap() error { return e.error }

// conflict returns the entry that cannot be on a tape together with this one.
func (i id) conflict() (id, bool) {
	switch i.kind {
	case KindFile:
		return id{kind: KindDir, subject: i.subject}, true
	case KindDir:
		return id{kind: KindFile, subject: i.subject}, true
	}
	return id{}, false
}

func (i id) String() string {
	if i.op != "" {
		return string(i.kind) + " " + i.op + " " + i.subject
	}
	return string(i.kind) + " " + i.subject
}

// content takes the entry's body.
func (l *line) content(body []byte) error {
	if len(body) > 0 && body[len(body)-1] != '\n' {
		return offsetError{len(body), errors.New("the tape was cut: it ends within a line")}
	}
	data, err := l.decode(body)
	if err != nil {
		return err
	}
	if len(data) > EntryCap {
		return fmt.Errorf("the entry holds more than %d bytes: %w", EntryCap, fact.ErrTooLarge)
	}
	l.data = data
	switch l.kind {
	case KindDir:
		err = checkListing(data)
	case KindLink:
		err = l.setTarget()
	case KindError:
		err = l.setFailure()
	default:
		err = l.cut()
	}
	if err == nil && l.info != nil && l.info.size < 0 {
		l.info.size = int64(len(data))
	}
	return err
}

func (l *line) decode(body []byte) ([]byte, error) {
	switch {
	case l.base64:
		return decodeBase64(body)
	case !l.chomp:
		return body, nil
	case len(body) == 0:
		return nil, errors.New("newline=no without a line")
	}
	return body[:len(body)-1], nil
}

func decodeBase64(body []byte) ([]byte, error) {
	enc := base64.StdEncoding.Strict()
	if len(body) > enc.EncodedLen(EntryCap)+len(body)/8 {
		return nil, fmt.Errorf("the entry holds more than %d bytes: %w", EntryCap, fact.ErrTooLarge)
	}
	data := make([]byte, enc.DecodedLen(len(body)))
	n, err := enc.Decode(data, body)
	if err != nil {
		var at base64.CorruptInputError
		errors.As(err, &at)
		return nil, offsetError{min(int(at), len(body)), errors.New("not base64")}
	}
	return data[:n], nil
}

// cut divides the content into the pieces that the entry line names.
func (l *line) cut() error {
	if l.spans == nil {
		return nil
	}
	left := l.data
	for _, s := range l.spans {
		if s.n > int64(len(left)) {
			return errors.New("the content is shorter than the extents say")
		}
		l.pieces = append(l.pieces, piece{s.off, left[:s.n:s.n]})
		left = left[s.n:]
	}
	if len(left) > 0 {
		return errors.New("the content is longer than the extents say")
	}
	l.data = nil
	if l.end == (failure{}) {
		l.end = unrecorded
	}
	return nil
}

// maxTarget is how long a link's target may be.
const maxTarget = 32 << 10

func (l *line) setTarget() error {
	if l.end != (failure{}) && len(l.data) == 0 {
		return nil
	}
	target, rest, _ := strings.Cut(string(l.data), "\n")
	target, err := unescape(target)
	switch {
	case err != nil:
		return err
	case target == "" || rest != "":
		return errors.New("a link entry holds one line, its target")
	case len(target) > maxTarget:
		return fmt.Errorf("the link's target is longer than %d bytes: %w", maxTarget, fact.ErrTooLarge)
	}
	l.data = []byte(target)
	return nil
}

func (l *line) setFailure() error {
	word, rest, _ := strings.Cut(string(l.data), "\n")
	if rest != "" {
		return errors.New("an error entry holds one line")
	}
	word, err := unescape(word)
	if err != nil {
		return err
	}
	l.data = nil
	l.end, err = parseFailure(word)
	return err
}

// checkListing reads the "TYPE NAME" lines of a directory: names in order, none twice.
func checkListing(data []byte) error {
	last, off := "", 0
	for s := range strings.Lines(string(data)) {
		_, name, err := parseDirLine(s)
		if err != nil {
			return offsetError{off, err}
		}
		if off > 0 && name <= last {
			return offsetError{off, errors.New("the directory's names are not in order, or one appears twice")}
		}
		last, off = name, off+len(s)
	}
	return nil
}
