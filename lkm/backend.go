// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"context"
	"iter"
	"time"

	"github.com/kernelext/kernelext/fact"
)

// A backend answers for one machine in Modules. Each method has the name of the kernel's own. An adapter is one.
type backend interface {
	header(ctx context.Context, h *fact.Header, r *fact.Report)
	loaded(ctx context.Context, h *fact.Header, r *fact.Report) ([]Module, error)
	poll(ctx context.Context, l *List) error
	changed(ctx context.Context) (uint64, error)
	builtin(ctx context.Context, r *fact.Report) iter.Seq2[Module, error]
	installed(ctx context.Context, r *fact.Report) iter.Seq2[Module, error]
	file(ctx context.Context, path string, r *fact.Report) ([]Module, error)
	resolve(ctx context.Context, alias string, r *fact.Report) ([]Module, error)
	plan(ctx context.Context, query string, r *fact.Report) ([]Step, error)
	policy(ctx context.Context, r *fact.Report) (*Policy, error)
	config(ctx context.Context, lint bool, r *fact.Report) (*Config, error)
	upgrade(ctx context.Context, release string, r *fact.Report) (*Upgrade, error)
	check(ctx context.Context, query string, r *fact.Report) ([]Verdict, error)
	comparesFiles() bool
	fileDiscrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error)
	discrepancies(ctx context.Context, r *fact.Report) ([]Discrepancy, error)
	hints(buffer int) (fact.Hints, error)
	find(ctx context.Context, name string, r *fact.Report) (*Module, error)
	time(ctx context.Context) time.Time
	skipped(scope Scope) []Source
	sources(d Detail) []SourcePlan
	refresh()
	close() error
}

// failed is a sequence of one error.
func failed(err error) iter.Seq2[Module, error] {
	return func(yield func(Module, error) bool) { yield(Module{}, err) }
}
