// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/fleet/prometheus"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

// A taker gives one Snapshot, or an error, and counts how often it was asked.
type taker struct {
	s     *lkm.Snapshot
	err   error
	asked int
}

func (f *taker) Snapshot(context.Context) (*lkm.Snapshot, error) {
	f.asked++
	return f.s, f.err
}

// gather returns the values of a Collector, by name and label values.
func gather(t *testing.T, c client.Collector) map[string]float64 {
	t.Helper()
	r := client.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			values[key(f.GetName(), labels)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func key(name string, labels map[string]string) string {
	var b strings.Builder
	b.WriteString(name)
	for _, l := range []string{"host", "kind", "state", "class", "status", "letter", "policy", "value", "source",
		"outcome", "id"} {
		b.WriteString("|" + labels[l])
	}
	return b.String()
}

// What a registry gathers is what export.Metrics says, for every tape.
func TestCollectorIsTheSnapshot(t *testing.T) {
	for _, name := range lkmtest.Names() {
		tape, err := lkmtest.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		sys, err := lkm.OpenMachine(tape.Header().OS, tape, lkm.Options{Detail: lkm.DetailFiles | lkm.DetailPolicy})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sys.Snapshot(context.Background())
		sys.Close()
		got := gather(t, prometheus.New(&taker{s: s, err: err}, prometheus.Options{InfoMax: 3}))
		if err != nil {
			if len(got) != 3 || got[key("kernel_extension_up", nil)] != 0 {
				t.Errorf("%s: %v without a list", name, got)
			}
			continue
		}
		for _, m := range export.Metrics([]*lkm.Snapshot{s}, 3) {
			for _, sample := range m.Samples {
				labels := make(map[string]string)
				for i, l := range m.Labels {
					labels[l] = sample.Labels[i]
				}
				if v, ok := got[key(m.Name, labels)]; !ok || v != sample.Value {
					t.Errorf("%s: %s is %v, want %v", name, key(m.Name, labels), v, sample.Value)
				}
			}
		}
	}
}

func TestOldNumbersAreNotShown(t *testing.T) {
	f := &taker{s: &lkm.Snapshot{OS: lkm.Linux}}
	c := prometheus.New(f, prometheus.Options{Every: time.Hour})
	if got := gather(t, c); got[key("kernel_extension_up", nil)] != 1 {
		t.Errorf("%v", got)
	}
	gather(t, c)
	if f.asked != 1 {
		t.Errorf("asked %d times in an hour", f.asked)
	}
	f.err = errors.New("refused")
	c = prometheus.New(f, prometheus.Options{Every: time.Nanosecond})
	got := gather(t, c)
	if len(got) != 3 || got[key("kernel_extension_up", nil)] != 0 ||
		got[key("kernel_extension_collect_failures_total", nil)] != 1 {
		t.Errorf("%v", got)
	}
}

// A module whose texts are not UTF-8, or that is there twice, takes no number of the machine away.
func TestHostileTexts(t *testing.T) {
	m := lkm.Module{ID: "linux_module:a\xff", Name: "a\xff", Kind: "linux_module", State: lkm.StateLoaded}
	m.Version = "\xfe"
	twin := m
	twin.ID = "linux_module:a\xfe"
	s := &lkm.Snapshot{OS: lkm.Linux, Live: lkm.Yes, Modules: []lkm.Module{m, twin, twin},
		Sources: []lkm.Source{{Name: "proc_modules", Outcome: lkm.OutcomeOK}}}
	values := gather(t, prometheus.New(&taker{s: s}, prometheus.Options{InfoMax: 5}))
	if values[key("kernel_extension_up", nil)] != 1 || values[key("kernel_extension_info_truncated", nil)] != 2 {
		t.Errorf("%v", values)
	}
}
