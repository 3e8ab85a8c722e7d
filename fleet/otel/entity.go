// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/kernelext/kernelext/lkm"
)

// entities adds the entity events that belong to an event. A module that is not seen any more is not deleted: nothing
// is known to have happened to it.
func (c *encoder) entities(e lkm.Event) error {
	var here, gone []lkm.Module
	if e.Snapshot != nil {
		here = e.Snapshot.Modules
	}
	if d := e.Delta; d != nil {
		here = slices.Clone(d.Added)
		for _, change := range slices.Concat(d.Changed, d.Unobserved) {
			if change.After != nil {
				here = append(here, *change.After)
			}
		}
		gone = d.Removed
	}
	switch {
	case e.After != nil:
		here = append(slices.Clip(here), *e.After)
	case e.Type == lkm.EventUnload && e.Before != nil:
		gone = append(slices.Clip(gone), *e.Before)
	}
	for i := range here {
		if err := c.entity(e, &here[i], true); err != nil {
			return err
		}
	}
	for i := range gone {
		if err := c.entity(e, &gone[i], false); err != nil {
			return err
		}
	}
	return nil
}

// entity adds the state of one entity, or its end.
func (c *encoder) entity(e lkm.Event, m *lkm.Module, here bool) error {
	if !here {
		c.named(c.record(e, len(m.ID)), "entity.delete", m)
		return nil
	}
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	cutShort := len(body) > c.cfg.MaxRecordBytes
	if cutShort { // the event has all of it
		if body, err = json.Marshal(brief(m)); err != nil {
			return err
		}
	}
	r := c.record(e, len(body))
	c.named(r, "entity.state", m)
	r.Attributes().PutInt("entity.report.interval", int64(c.interval.Seconds()))
	fields := pcommon.NewMap()
	if err := fill(fields, body); err != nil {
		return err
	}
	to := r.Attributes().PutEmptyMap("entity.description")
	for name, value := range fields.All() {
		if name == "path" {
			name = "file.path"
		} else {
			name = prefix + name
		}
		value.CopyTo(to.PutEmpty(name))
	}
	if cutShort {
		to.PutBool(prefix+"cut", true)
	}
	return nil
}

// named sets the name and the identity of an entity event.
func (c *encoder) named(r plog.LogRecord, name string, m *lkm.Module) {
	r.SetEventName(name)
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	r.SetSeverityText("INFO")
	a := r.Attributes()
	a.PutStr("entity.type", "kernel_extension")
	id := a.PutEmptyMap("entity.id")
	attribute(id, "host.name", c.host)
	attribute(id, prefix+"id", identity(m.ID))
}

// identity returns an id that is not cut: of one that is too long, its beginning and its SHA-256.
func identity(id string) string {
	if len(id) <= maxAttribute {
		return id
	}
	return fmt.Sprintf("%s#%x", id[:maxAttribute/2], sha256.Sum256([]byte(id)))
}

// brief returns a module's main facts, each cut.
func brief(m *lkm.Module) map[string]string {
	facts := map[string]string{
		"id": m.ID, "kind": string(m.Kind), "name": m.Name, "state": string(m.State),
		"version": m.Version, "path": m.Path,
	}
	maps.DeleteFunc(facts, func(_, v string) bool { return v == "" })
	for k, v := range facts {
		facts[k] = strings.ToValidUTF8(v[:min(len(v), maxAttribute/2)], "")
	}
	return facts
}
