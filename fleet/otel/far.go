// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/zap"

	"github.com/kernelext/kernelext/lkm"
)

// storageKey is where the storage extension keeps the snapshot that the far side has.
const storageKey = "far"

// storageClient returns the client of the storage extension with that id; one that keeps nothing if id is nil.
func storageClient(ctx context.Context, host component.Host, receiver component.ID, id *component.ID) (storage.Client,
	error) {
	if id == nil {
		return storage.NewNopClient(), nil
	}
	found, ok := host.GetExtensions()[*id]
	if !ok {
		return nil, fmt.Errorf("storage: there is no extension %q", id)
	}
	keeper, ok := found.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("storage: the extension %q is not a storage extension", id)
	}
	return keeper.GetClient(ctx, component.KindReceiver, receiver, "")
}

// A far is the state that the pipeline accepted. It is kept at an orderly stop alone, and what was kept is used once:
// after a crash it is not known what the far side has, and everything is sent.
type far struct {
	off    bool // there is no storage
	host   string
	client storage.Client
	log    *zap.Logger
	mirror *lkm.Mirror // nil: what the far side has is not known
}

// load takes out what was kept. It returns nil if there is nothing, or nothing that can be used.
func (f *far) load(ctx context.Context) *lkm.Snapshot {
	if f.off {
		return nil
	}
	f.mirror = new(lkm.Mirror)
	kept, err := f.client.Get(ctx, storageKey)
	if err == nil && kept != nil {
		err = f.client.Delete(ctx, storageKey)
	}
	if err != nil {
		f.log.Warn("the storage cannot be read: everything is sent", zap.Error(err))
		return nil
	}
	if kept == nil {
		return nil
	}
	since, err := lkm.Decode(bytes.NewReader(kept))
	if err != nil {
		f.log.Warn("what the storage has is not a snapshot: everything is sent", zap.Error(err))
		return nil
	}
	if since.Host != f.host {
		return nil // the far side knows this host under another name
	}
	own, err := lkm.Decode(bytes.NewReader(kept)) // a Mirror changes its snapshot
	if err == nil {
		f.mirror = lkm.MirrorOf(own)
	}
	return since
}

// apply adds an event that was accepted.
func (f *far) apply(e lkm.Event) {
	if !f.off && f.mirror == nil && e.Snapshot != nil {
		f.mirror = new(lkm.Mirror)
	}
	if f.mirror == nil {
		return
	}
	if err := f.mirror.Apply(e); err != nil {
		f.mirror = nil
	}
}

// lose notes that it is not known whether the far side has an event.
func (f *far) lose() { f.mirror = nil }

// save keeps what the far side has, if that is known.
func (f *far) save(ctx context.Context) error {
	if f.mirror == nil || f.mirror.Err() != nil || f.mirror.Snapshot() == nil {
		return nil
	}
	text, err := json.Marshal(f.mirror.Snapshot())
	if err != nil {
		return err
	}
	return f.client.Set(ctx, storageKey, text)
}
