// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernelext/kernelext/internal/escape"
	"github.com/kernelext/kernelext/lkm/lkmtest"
	"github.com/kernelext/kernelext/lkm/tape"
)

// openTape reads the tape of that file, or the one that comes with lkm for demo:NAME.
func (a *app) openTape(name string) (*tape.Tape, error) {
	if demo, ok := strings.CutPrefix(name, "demo:"); ok {
		t, err := lkmtest.Open(demo)
		if err != nil {
			return nil, fmt.Errorf("%w; there are %s", err, strings.Join(lkmtest.Names(), ", "))
		}
		return t, nil
	}
	if err := notLonger(name, maxRecord); err != nil {
		return nil, err
	}
	r, err := a.input(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t, err := tape.Read(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func (a *app) tape() *cobra.Command {
	c := &cobra.Command{
		Use:   "tape FILE|demo:NAME",
		Short: "Show what a tape holds",
		Long: "Show what a tape says of itself and what each of its entries is about. demo: alone lists the tapes\n" +
			"that come with lkm.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := a.checkTabular(); err != nil {
				return err
			}
			if args[0] == "demo:" {
				for _, name := range lkmtest.Names() {
					fmt.Fprintln(a.stdout, "demo:"+name)
				}
				return nil
			}
			t, err := a.openTape(args[0])
			if err != nil {
				return err
			}
			return a.writeTape(t)
		},
	}
	a.formatFlags(c)
	return c
}

// A tapeEntry is an entry as JSON shows it.
type tapeEntry struct {
	Kind     string `json:"kind"`
	Op       string `json:"op,omitzero"`
	Subject  string `json:"subject"`
	Size     int64  `json:"size"`
	Code     string `json:"code,omitzero"`
	Redacted bool   `json:"redacted,omitzero"`
}

func (a *app) writeTape(t *tape.Tape) error {
	if a.flags.format == "table" {
		a.writeTapeHeader(t.Header())
	}
	rows := &table{head: []string{"KIND", "SIZE", "SUBJECT", "NOTE"}, right: []bool{false, true}}
	entries := make([]tapeEntry, 0, len(t.Entries()))
	for _, e := range t.Entries() {
		entries = append(entries, tapeEntry{string(e.Kind), e.Op, e.Subject, e.Size, string(e.Code), e.Redacted})
		note := strings.TrimSpace(e.Op + " " + string(e.Code))
		if e.Redacted {
			note = strings.TrimSpace(note + " redacted")
		}
		rows.rows = append(rows.rows, []string{string(e.Kind), fmt.Sprint(e.Size), e.Subject, note})
	}
	return writeRows(a, rows, entries)
}

func (a *app) writeTapeHeader(h tape.Header) {
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(a.stdout, "%-11s%s\n", label, escape.Text(text))
		}
	}
	line("os", string(h.OS))
	line("release", h.Release)
	line("arch", h.Arch)
	line("privilege", h.Privilege)
	line("detail", h.Detail)
	line("host", h.Host)
	if h.Questions < tape.Questions {
		line("questions", fmt.Sprintf("%d of %d: recorded before this lkm learned to ask more", h.Questions,
			tape.Questions))
	}
	line("producer", h.Producer)
	line("redacted", strings.Join(h.Redactions, ", "))
	if h.Dropped > 0 {
		line("dropped", fmt.Sprint(h.Dropped))
	}
	if h.Synthetic {
		line("synthetic", "yes")
	}
	for l := range strings.Lines(h.Comment) {
		line("comment", strings.TrimSpace(l))
	}
	fmt.Fprintln(a.stdout)
}
