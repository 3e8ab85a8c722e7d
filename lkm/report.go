// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

type report struct{ fact.Report }

func (r *report) overBudget(limit time.Duration) bool {
	if r.Budget == nil {
		r.Budget = fact.NewBudget(limit)
	}
	return r.Budget.Spent()
}

func (r *report) budgetErr() error { return r.BudgetErr() }

func (r *report) source(name string, outcome Outcome, count Count, err error) {
	r.Source(name, outcome, count, err)
}

func (r *report) problem(source, subject, field string, err error) {
	r.Problem(source, subject, field, err)
}

func (r *report) add(p Problem) { r.Add(p) }

func outcomeOf(err error) Outcome { return fact.OutcomeOf(err) }

func findSource(sources []Source, name string) (Source, bool) { return fact.FindSource(sources, name) }

func problemOf(source, subject, field string, err error) Problem {
	return fact.ProblemOf(source, escape.UTF8(subject), field, err)
}

type lostField struct {
	module int // index into the modules
	source string
	field  string
	err    error
}

func (r *report) settle(modules []Module, lost []lostField) {
	records := make([]fact.Record[struct{}], len(modules))
	for i := range modules {
		records[i].Name, records[i].Problems = modules[i].Name, modules[i].Problems
	}
	losses := make([]fact.Loss, len(lost))
	for i, l := range lost {
		losses[i] = fact.Loss{Module: l.module, Source: l.source, Field: l.field, Err: l.err}
	}
	fact.Settle(&r.Report, records, losses)
	for i := range modules {
		modules[i].Problems = records[i].Problems
	}
}

const manyMore = "more problems of this source"

func (m *Module) addProblem(p Problem) {
	r := fact.Record[struct{}]{Problems: m.Problems}
	r.AddProblem(p)
	m.Problems = r.Problems
}
