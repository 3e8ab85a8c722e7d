// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/lkm"
)

func (a *app) mirror() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "mirror [FILE...]",
		Short: "Add up the events of lkm watch to snapshots",
		Long: `Add up the events of lkm watch, of as many hosts as there are, to snapshots. Reads JSON Lines from each
FILE in turn, or from standard input ("-"), and writes one snapshot for each host: a line of standard
output, or a file HOST.json in DIR, which is made if it is missing. Events belong to their host, or to
their stream if they have no host (lkm watch --host). A snapshot in DIR is what a host that was started
with --since adds to.

A line that is missing, comes twice or was changed is a gap. It is reported, and the host's snapshot is not
written until a new baseline ends the gap; nor before the first one, if the host's list was refused or the
host was started again. Give rotated files from the oldest to the newest: a baseline from before what came is
reported, and taken only if the host may have been started again with a clock that was not set.

Exits 1 when there was a gap, a line that is not an event, or a host without a baseline; 2 when a file could
not be read or written, which costs only itself, and when no line is an event. Interrupted or terminated, it
writes what has come so far, and exits 2.`,
		RunE: func(c *cobra.Command, args []string) error { return a.runMirror(c.Context(), dir, args) },
	}
	c.Flags().StringVarP(&dir, "output", "o", "", "write each host's snapshot to `DIR`/HOST.json")
	return c
}

// A collector adds up the events of many hosts.
type collector struct {
	app    *app
	dir    string
	hosts  map[string]*lkm.Mirror
	begun  map[string]bool // hosts that were started again, and whose baseline did not come yet
	wrong  int             // gaps, lines that are not events, hosts without a baseline
	failed bool            // a file could not be read or written
}

func (a *app) runMirror(ctx context.Context, dir string, files []string) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	c := &collector{app: a, dir: dir, hosts: make(map[string]*lkm.Mirror), begun: make(map[string]bool)}
	for _, name := range files {
		err := c.readFile(ctx, name)
		c.fail(err)
		if ctx.Err() != nil {
			break
		}
	}
	for _, host := range slices.Sorted(maps.Keys(c.hosts)) {
		c.fail(c.write(host))
	}
	if c.wrong > maxWrong {
		fmt.Fprintf(a.stderr, "lkm: %d more gaps and lines that are not events\n", c.wrong-maxWrong)
	}
	switch {
	case c.failed:
		return exit(exitFatal)
	case len(c.hosts) == 0 && c.wrong == 0:
		return errors.New("mirror: no line is an event")
	case len(c.hosts) == 0:
		return exit(exitFatal)
	case c.wrong > 0:
		return exit(exitFindings)
	}
	return nil
}

// fail notes why a file could not be read or written.
func (c *collector) fail(err error) {
	if err != nil {
		c.failed = true
		c.app.note(err)
	}
}

func (c *collector) readFile(ctx context.Context, name string) error {
	in, err := c.app.input(name)
	if err != nil {
		return err
	}
	defer in.Close()
	return c.read(ctx, name, asItIs(in))
}

func (c *collector) read(ctx context.Context, name string, in io.Reader) error {
	events, others := 0, 0
	defer func() {
		if others > maxOthers {
			c.app.note(fmt.Errorf("%s: %d lines are not events of lkm watch, and %d are", name, others, events))
		}
	}()
	for e, err := range lkm.ReadEvents(utf8Text(in)) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			events++
			c.add(e)
		case !errors.Is(err, lkm.ErrMalformed) && !errors.Is(err, lkm.ErrTooLarge) &&
			!errors.Is(err, errors.ErrUnsupported):
			return fmt.Errorf("%s: %w", name, err)
		default:
			if others++; others <= maxOthers {
				c.report(name, err)
			}
		}
	}
	return nil
}

// maxOthers is how many lines of a file that are not events are reported one by one.
const maxOthers = 5

// maxWrong is how many gaps and lines that are not events are reported one by one.
const maxWrong = 1000

// report notes what is wrong with the events, without control characters.
func (c *collector) report(name string, err error) {
	if c.wrong++; c.wrong > maxWrong {
		return
	}
	c.app.note(fmt.Errorf("%s: %w", name, err))
}

// add adds an event to its host's mirror. A gap is reported once.
func (c *collector) add(e lkm.Event) {
	host := e.Host
	if host == "" {
		host = e.Stream
	}
	m := c.hosts[host]
	if m == nil {
		m = c.begin(host)
		c.hosts[host] = m
	}
	known := m.Err() != nil
	if err := m.Apply(e); err != nil && !known {
		c.report(host, err)
	}
	switch {
	case e.Type == lkm.EventEpoch:
		c.begun[host] = true
	case e.Type == lkm.EventBaseline && m.Err() == nil:
		delete(c.begun, host)
	}
}

// begin returns the mirror of a host that has no event yet: of its snapshot in the directory, if there is one. One that
// cannot be read is reported; a baseline with everything replaces it.
func (c *collector) begin(host string) *lkm.Mirror {
	if c.dir == "" {
		return new(lkm.Mirror)
	}
	s, err := c.before(host)
	if err != nil {
		c.fail(err)
	}
	if s == nil {
		return new(lkm.Mirror)
	}
	return lkm.MirrorOf(s)
}

// before returns a host's snapshot in the directory; nil if there is not one.
func (c *collector) before(host string) (*lkm.Snapshot, error) {
	f, err := regular(c.file(host))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := lkm.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, nil
}

// file is where a host's snapshot is. A host's name may be anything: slashes, spaces and control characters are
// escaped, and one that is too long for a file is its SHA-256.
func (c *collector) file(host string) string {
	name := url.QueryEscape(host)
	switch {
	case name == "":
		name = "%"
	case name[0] == '.':
		name = "%2E" + name[1:]
	case len(name) > 200:
		name = fmt.Sprintf("%%x%x", sha256.Sum256([]byte(host)))
	}
	return filepath.Join(c.dir, name+".json")
}

// write writes a host's snapshot, unless it is not the host's state.
func (c *collector) write(host string) error {
	m := c.hosts[host]
	s := m.Snapshot()
	switch {
	case m.Err() != nil: // is reported
		return nil
	case c.begun[host]:
		c.report(host, errors.New("it was started again, and no baseline came since"))
		return nil
	case s == nil:
		c.report(host, errors.New("no baseline yet: its list was refused"))
		return nil
	case c.dir == "":
		return writeJSON(c.app.stdout, s, "")
	}
	name := c.file(host)
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0: // the link is replaced: who may write here may not choose another file
		info = nil
	case !info.Mode().IsRegular():
		return notOpened(name, "not a regular file")
	}
	return replaceFile(name, info, func(w io.Writer) error { return writeJSON(w, s, "  ") })
}
