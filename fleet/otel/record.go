// SPDX-License-Identifier: Apache-2.0

package otel

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/kernelext/kernelext/lkm"
)

// The names of records and attributes.
const (
	prefix     = "kernel_extension."
	attrStream = prefix + "stream"
	attrSeq    = prefix + "seq"
	attrDigest = prefix + "digest"
	attrPart   = prefix + "part"
	attrParts  = prefix + "parts"
	scopeName  = "github.com/kernelext/kernelext/fleet/otel"
)

// maxBatch is how many bytes of bodies one call of the next consumer has before it is full. One body more may follow:
// with maxRecordBytes it stays below the 4 MiB that gRPC takes.
const maxBatch = 1 << 20

// An encoder makes log records of the events of one machine.
type encoder struct {
	cfg      *Config
	host     string
	os       lkm.OS
	arch     string        // of the last baseline
	interval time.Duration // between the states of an entity; 0 is never

	batches []plog.Logs
	records plog.LogRecordSlice
	size    int // of the bodies in the last batch
}

// encode returns the records of an event, those of entities first, so that an event that is there is whole.
func (c *encoder) encode(e lkm.Event) ([]plog.Logs, error) {
	if e.Snapshot != nil {
		c.arch = e.Snapshot.Arch
	} else if e.Delta != nil && e.Delta.Header != nil {
		c.arch = e.Delta.Header.Arch
	}
	c.batches, c.size = nil, 0
	if c.cfg.Entities {
		if err := c.entities(e); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if len(body) <= c.cfg.MaxRecordBytes {
		r := c.event(e, len(body))
		if err := fill(r.Body().SetEmptyMap(), body); err == nil {
			return c.batches, nil
		}
		r.Body().SetStr(string(body))
		return c.batches, nil
	}
	parts := cut(body, c.cfg.MaxRecordBytes)
	for i, part := range parts {
		r := c.event(e, len(part))
		r.Attributes().PutInt(attrPart, int64(i+1))
		r.Attributes().PutInt(attrParts, int64(len(parts)))
		r.Body().SetStr(string(part))
	}
	return c.batches, nil
}

// cut cuts text into pieces of at most size bytes, each of whole characters.
func cut(text []byte, size int) [][]byte {
	var parts [][]byte
	for len(text) > size {
		n := size
		for n > size-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		parts = append(parts, text[:n])
		text = text[n:]
	}
	return append(parts, text)
}

// record returns a new record with a body of size bytes, in a batch that has room for it.
func (c *encoder) record(e lkm.Event, size int) plog.LogRecord {
	if len(c.batches) == 0 || c.size > 0 && c.size+size > maxBatch {
		c.batches = append(c.batches, plog.NewLogs())
		c.records, c.size = c.scope(c.batches[len(c.batches)-1]), 0
	}
	c.size += size
	r := c.records.AppendEmpty()
	if !e.At.IsZero() {
		r.SetTimestamp(pcommon.NewTimestampFromTime(e.At))
	}
	r.SetObservedTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	a := r.Attributes()
	attribute(a, attrStream, e.Stream)
	a.PutInt(attrSeq, int64(e.Seq))
	attribute(a, attrDigest, e.Digest)
	return r
}

// scope adds the resource and the scope to a batch.
func (c *encoder) scope(batch plog.Logs) plog.LogRecordSlice {
	rl := batch.ResourceLogs().AppendEmpty()
	a := rl.Resource().Attributes()
	attribute(a, "host.name", c.host)
	attribute(a, "os.type", osType(c.os))
	attribute(a, "host.arch", hostArch(c.arch))
	attribute(a, "service.name", "kernelext")
	attribute(a, "service.version", lkm.Version)
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scopeName)
	sl.Scope().SetVersion(lkm.Version)
	return sl.LogRecords()
}

// event returns the record of an event, or of a part of it, without its body.
func (c *encoder) event(e lkm.Event, size int) plog.LogRecord {
	r := c.record(e, size)
	r.SetEventName(prefix + string(e.Type))
	r.SetSeverityNumber(plog.SeverityNumberInfo)
	r.SetSeverityText("INFO")
	if e.Code != "" || e.Type == lkm.EventLost {
		r.SetSeverityNumber(plog.SeverityNumberWarn)
		r.SetSeverityText("WARN")
	}
	a := r.Attributes()
	attribute(a, prefix+"id", e.ID)
	attribute(a, "error.type", string(e.Code))
	m := e.After
	if m == nil {
		m = e.Before
	}
	if m == nil {
		return r
	}
	attribute(a, prefix+"kind", string(m.Kind))
	attribute(a, prefix+"name", m.Name)
	attribute(a, prefix+"version", m.Version)
	attribute(a, prefix+"state", string(m.State))
	attribute(a, prefix+"signature.status", string(m.Signature.Status))
	attribute(a, prefix+"signature.signer", m.Signature.Signer)
	attribute(a, prefix+"origin.class", string(m.Origin.Class))
	attribute(a, "file.path", m.Path)
	return r
}

// osType returns the word of the semantic conventions for a system; its own where they have none.
func osType(os lkm.OS) string {
	if os == lkm.DragonFly {
		return "dragonflybsd"
	}
	return string(os)
}

// hostArch returns the word of the semantic conventions for an architecture; the kernel's own where they have none.
func hostArch(arch string) string {
	switch arch {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	case "i386", "i586", "i686", "x86":
		return "x86"
	case "ppc64le", "powerpc64", "powerpc64le":
		return "ppc64"
	}
	return arch
}
