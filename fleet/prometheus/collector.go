// SPDX-License-Identifier: Apache-2.0

// Package prometheus is a Collector for Prometheus' client library: counts of a machine's kernel extensions, what its
// policy concludes, and how complete the look was. The families are those of export.Metrics in fleet/export.
package prometheus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kernelext/kernelext/fleet/export"
	"github.com/kernelext/kernelext/lkm"
)

// A Taker takes Snapshots; *lkm.System is one.
type Taker interface {
	Snapshot(ctx context.Context) (*lkm.Snapshot, error)
}

// Options say how a Collector looks. The zero value is for an agent.
type Options struct {
	// Every is how old a Snapshot may be before another one is taken; 0 is one minute.
	Every time.Duration
	// Timeout bounds taking one Snapshot; 0 is 10 seconds.
	Timeout time.Duration
	// InfoMax is how many modules that are not the operating system's have a sample of their own; 0 means no module.
	InfoMax int
}

// A Collector is a prometheus.Collector. It is safe for concurrent use.
type Collector struct {
	from Taker
	o    Options

	mu       sync.Mutex
	last     *lkm.Snapshot
	tried    time.Time
	took     time.Duration
	failures int
}

// New returns a Collector of the machine.
func New(from Taker, o Options) *Collector {
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return &Collector{from: from, o: o}
}

// Describe sends nothing: which families there are depends on the machine.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of the last Snapshot. If a Snapshot could not be taken, it sends no metric of the machine,
// only kernel_extension_up 0: an old number is not shown as a new one.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, took, failures := c.look()
	gauge := func(name, help string, value float64) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value)
	}
	up := 0.0
	if s != nil {
		up = 1
		for _, m := range export.Metrics([]*lkm.Snapshot{s}, c.o.InfoMax) {
			send(ch, m)
		}
	}
	gauge("kernel_extension_up", "1 if the kernel's list could be read.", up)
	gauge("kernel_extension_collect_duration_seconds", "How long the last look took.", took.Seconds())
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("kernel_extension_collect_failures_total",
		"Looks that gave no list.", nil, nil), prometheus.CounterValue, float64(failures))
}

func send(ch chan<- prometheus.Metric, m export.Metric) {
	desc := prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	for _, sample := range m.Samples {
		metric, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, sample.Value, sample.Labels...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(desc, err)
		}
		ch <- metric
	}
}

// look returns the last Snapshot, which is taken anew if it is too old; nil if the last look failed.
func (c *Collector) look() (s *lkm.Snapshot, took time.Duration, failures int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried.IsZero() || time.Since(c.tried) >= c.o.Every {
		ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
		defer cancel()
		c.tried = time.Now()
		taken, err := c.from.Snapshot(ctx)
		c.took = time.Since(c.tried)
		c.last = taken
		if err == nil && taken == nil {
			err = errors.New("no snapshot")
		}
		if err != nil {
			c.last = nil
			c.failures++
		}
	}
	return c.last, c.took, c.failures
}
