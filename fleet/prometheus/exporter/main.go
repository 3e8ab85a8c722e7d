// SPDX-License-Identifier: Apache-2.0

// Command exporter is an example: it serves the metrics of this machine's kernel extensions to Prometheus.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kernelext/kernelext/fleet/prometheus"
	"github.com/kernelext/kernelext/lkm"
	"github.com/kernelext/kernelext/lkm/lkmtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9120", "the `address` to serve on")
	demo := flag.String("demo", "", "serve the recorded machine of this `name` instead of this one")
	infoMax := flag.Int("info-max", 0, "a sample for each of at most `N` third-party modules")
	flag.Parse()
	sys, err := open(*demo, lkm.Options{Detail: lkm.DetailFiles | lkm.DetailPolicy})
	if err != nil {
		log.Fatal(err)
	}
	defer sys.Close()
	registry := client.NewRegistry()
	registry.MustRegister(prometheus.New(sys, prometheus.Options{InfoMax: *infoMax}))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: *listen, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func open(demo string, o lkm.Options) (*lkm.System, error) {
	if demo == "" {
		return lkm.Open(o)
	}
	tape, err := lkmtest.Open(demo)
	if err != nil {
		return nil, err
	}
	o.Host = demo
	return lkm.OpenMachine(tape.Header().OS, tape, o)
}
