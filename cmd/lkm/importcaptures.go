// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/capture"
)

func (a *app) importCaptures() *cobra.Command {
	var as string
	kinds := make([]string, 0, len(capture.Kinds()))
	for _, k := range capture.Kinds() {
		kinds = append(kinds, string(k))
	}
	var f filter
	c := &cobra.Command{
		Use:   "import FILE...",
		Short: "Read what a tool printed on some machine, and list it",
		Long: `Read text that another tool printed, such as a saved lsmod, and list its modules. The kind of text
is detected unless --as is given. "-" is standard input. An archive (tar or zip, packed with gzip, bzip2, xz or zstd) is
searched for such texts: a sosreport, a supportconfig, a collection of UAC, or any other. A FILE that cannot be
read costs itself, and the exit code is 2. Kinds: ` +
			strings.Join(kinds, ", ") + ".",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.runImport(c.Context(), args, capture.Kind(as), &f)
		},
	}
	c.Flags().StringVar(&as, "as", "", "the text is of that `KIND`, instead of detecting it")
	c.RegisterFlagCompletionFunc("as", cobra.CompletionFunc(fixed(kinds...)))
	a.formatFlags(c)
	a.hostFlag(c)
	c.Flags().BoolVar(&a.flags.strict, "strict", false, "exit 3 when something could not be read")
	c.Flags().BoolVarP(&a.flags.verbose, "verbose", "v", false, "show every problem, not a summary")
	c.Flags().BoolVarP(&a.flags.quiet, "quiet", "q", false, "print nothing but errors: the exit code is the answer")
	return c
}

func (a *app) runImport(ctx context.Context, args []string, as capture.Kind, f *filter) error {
	if err := a.checkFormat(); err != nil {
		return err
	}
	var incomplete error
	for i, name := range args {
		if len(args) > 1 && a.flags.format == "table" {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			fmt.Fprintln(a.stdout, escape.Text(name)+":")
		}
		err := a.importOne(name, as, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.As(err, new(exit)) { // it costs itself
			a.note(err)
			err = exit(exitFatal)
		}
		incomplete = worseExit(incomplete, err)
	}
	return incomplete
}

// worseExit returns of two exits that of what could not be read at all, else the first that is not nil.
func worseExit(first, second error) error {
	if errors.Is(second, exit(exitFatal)) {
		return second
	}
	return cmp.Or(first, second)
}

func (a *app) importOne(name string, as capture.Kind, f *filter) error {
	r, err := a.input(name)
	if err != nil {
		return err
	}
	defer r.Close()
	head := make([]byte, archiveHead)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", name, err)
	}
	all := rewound(r, head[:n])
	if as == "" && capture.IsArchive(head[:n]) {
		return a.importArchive(name, all, f)
	}
	snap, err := capture.Read(all, as)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	snap.Host = a.flags.host
	return a.writeImport(snap, f)
}

// archiveHead is how much of a file says whether it is an archive, in bytes.
const archiveHead = 512

// rewound returns a reader of a file, or of a stream, from its beginning, of which head was read.
func rewound(r io.Reader, head []byte) io.Reader {
	if f, ok := r.(io.ReadSeeker); ok {
		if _, err := f.Seek(0, io.SeekStart); err == nil {
			return r
		}
	}
	return io.MultiReader(bytes.NewReader(head), r)
}

// importArchive lists what the captures in an archive say of each machine.
func (a *app) importArchive(name string, r io.Reader, f *filter) error {
	hosts, err := capture.ReadArchive(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if a.flags.host != "" && len(hosts) > 1 {
		return fmt.Errorf("%s holds %d machines: --host names one", name, len(hosts))
	}
	var incomplete error
	for i, h := range hosts {
		if len(hosts) > 1 && a.flags.format == "table" {
			if i > 0 {
				fmt.Fprintln(a.stdout)
			}
			fmt.Fprintln(a.stdout, escape.Text(cmp.Or(h.Name, name))+":")
		}
		h.Snapshot.Host = a.flags.host
		err := a.writeImport(h.Snapshot, f)
		if !errors.As(err, new(exit)) && err != nil {
			return err
		}
		incomplete = cmp.Or(incomplete, err)
	}
	return incomplete
}

// writeImport writes a snapshot, or the policy of a text that names no module.
func (a *app) writeImport(snap *lkm.Snapshot, f *filter) error {
	if snap.Policy == nil || len(snap.Modules) > 0 || a.flags.format == "json" {
		return a.writeSnapshot(snap, scopeOf(snap), f)
	}
	if err := a.writePolicy(snap.Policy); err != nil {
		return err
	}
	if a.flags.format == "table" {
		a.writeProblems(snap)
	}
	return a.strictly(snap.Err())
}

// scopeOf returns what a text lists: modules on disk if all of it says so, else loaded modules.
func scopeOf(snap *lkm.Snapshot) lkm.Scope {
	for i := range snap.Modules {
		if s := snap.Modules[i].State; s != lkm.StateInstalled && s != lkm.StateBuiltin {
			return lkm.ScopeLoaded
		}
	}
	if len(snap.Modules) == 0 {
		return lkm.ScopeLoaded
	}
	return lkm.ScopeInstalled
}
