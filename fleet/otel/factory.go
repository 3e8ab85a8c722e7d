// SPDX-License-Identifier: Apache-2.0

// Package otel is a receiver of the OpenTelemetry Collector: it watches a machine's kernel extensions and sends log
// records. Each event of lkm.System.Watch is one record, whose body is the event's JSON; the state of each extension
// is an entity event beside it. A Reader turns the records back into events on the far side, and a lkm.Mirror of these
// is the machine's state.
//
// # Records
//
// The event name of a record is "kernel_extension." and the type of the event: baseline, load, unload, change, lost,
// degraded, recovered, heartbeat, epoch. Its attributes are
//
//   - kernel_extension.stream, kernel_extension.seq, kernel_extension.digest: the stream, the number in it from 1, and
//     the digest of the state after the event. A number that is missing is a gap.
//   - kernel_extension.id, .kind, .name, .version, .state, .signature.status, .signature.signer, .origin.class, and
//     file.path, of the extension that the event is about; each is cut at 1 KiB, the body has all of it
//   - error.type: the code of what cannot be read
//   - kernel_extension.part and kernel_extension.parts, in a record that is one of several: see Config.MaxRecordBytes
//
// An entity event is entity.state or entity.delete of OpenTelemetry's specification (in development), with entity.type
// kernel_extension, an entity.id of host.name and kernel_extension.id, and the extension's JSON fields in
// entity.description. The resource has host.name, os.type, host.arch, service.name and service.version.
//
// # Delivery
//
// A record that the pipeline refuses is sent again until it is accepted; the watch waits, and loses nothing, as
// lkm.WatchOptions.Buffer says. After an error that the pipeline calls permanent, and after a restart, a new stream
// begins. Its baseline has everything; or, if a storage extension is given and the last stop was an orderly one, what
// changed since. A record may come twice, and out of order where an exporter has several consumers.
package otel

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
)

// NewFactory returns the factory of the receiver, whose type is "kernelext".
func NewFactory() receiver.Factory {
	return receiver.NewFactory(component.MustNewType("kernelext"), defaultConfig,
		receiver.WithLogs(newLogs, component.StabilityLevelDevelopment))
}

func defaultConfig() component.Config {
	return &Config{
		Detail:         []string{"files"},
		Interval:       time.Second,
		Heartbeat:      5 * time.Minute,
		Refresh:        24 * time.Hour,
		Entities:       true,
		MaxRecordBytes: 256 << 10,
	}
}

func newLogs(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Logs) (receiver.Logs,
	error) {
	return newReceiver(set, cfg.(*Config), next)
}
