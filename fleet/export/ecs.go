// SPDX-License-Identifier: Apache-2.0

package export

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// ecsVersion is the version of the Elastic Common Schema whose fields are used.
const ecsVersion = "9.4.0"

// ECS returns a document of the Elastic Common Schema for each module of the Snapshot: event.kind is asset. The
// module's whole record is under "kernel_extension". Drivers are described by file.*, as Sysmon's integration does. A
// field that ECS has and the Snapshot does not know is absent; so is @timestamp for a Snapshot without a time.
func ECS(s *lkm.Snapshot) []Document {
	docs := make([]Document, 0, len(s.Modules))
	for i := range s.Modules {
		doc := ecsDocument(s, &s.Modules[i], s.TakenAt)
		doc["event"] = Document{"kind": "asset", "category": []string{"driver"}, "type": []string{"info"},
			"module": "kernelext", "dataset": "kernelext.inventory", "action": "observed-kernel-extension"}
		docs = append(docs, doc)
	}
	return docs
}

// ECSEvent returns the document of a load, an unload or a change of one module. of is a Snapshot of the machine, for
// what an Event does not say: the system and its release. Other events have no document. ECS has no field for what a
// change changed: kernel_extension_change has the names of the record's fields that differ, and their values from and
// to, without a key for what was or is unknown.
func ECSEvent(of *lkm.Snapshot, e *lkm.Event) (doc Document, ok bool) {
	kinds := map[lkm.EventType][2]string{
		lkm.EventLoad:   {"start", "loaded-kernel-module"},
		lkm.EventUnload: {"end", "unloaded-kernel-module"},
		lkm.EventChange: {"change", "changed-kernel-module"},
	}
	kind, ok := kinds[e.Type]
	m := e.After
	if m == nil {
		m = e.Before
	}
	if !ok || m == nil {
		return nil, false
	}
	doc = ecsDocument(of, m, e.At)
	if e.Host != "" {
		doc["host"].(Document)["name"] = e.Host
	}
	doc["event"] = Document{"kind": "event", "category": []string{"driver"}, "type": []string{kind[0]},
		"module": "kernelext", "dataset": "kernelext.events", "action": kind[1]}
	if e.Before != nil && e.After != nil {
		doc["kernel_extension_change"] = ecsChange(record(e.Before), record(e.After))
	}
	return doc, true
}

// ecsChange says in which fields two records differ.
func ecsChange(before, after map[string]any) Document {
	from, to, fields := Document{}, Document{}, []string{}
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		old, had := before[name]
		now, has := after[name]
		if had == has && reflect.DeepEqual(old, now) {
			continue
		}
		fields = append(fields, name)
		if had {
			from[name] = old
		}
		if has {
			to[name] = now
		}
	}
	return Document{"fields": fields, "from": from, "to": to}
}

// union has the keys of both.
func union(a, b map[string]any) map[string]bool {
	keys := make(map[string]bool, len(a))
	for name := range a {
		keys[name] = true
	}
	for name := range b {
		keys[name] = true
	}
	return keys
}

func ecsDocument(s *lkm.Snapshot, m *lkm.Module, at time.Time) Document {
	doc := Document{"ecs": Document{"version": ecsVersion}, "agent": ecsAgent(s), "host": ecsHost(s),
		"kernel_extension": record(m)}
	if !at.IsZero() {
		doc["@timestamp"] = at.UTC().Format(time.RFC3339Nano)
	}
	if file := ecsFile(m); len(file) > 0 {
		doc["file"] = file
	}
	if p := m.Package; p != nil && p.Name != "" {
		about := Document{"name": p.Name}
		about.put("version", p.Version)
		about.put("architecture", p.Arch)
		about.put("type", p.Manager)
		doc["package"] = about
	}
	h := hashesOf(m)
	var related []string
	for _, hash := range []string{h.sha256, h.sha1, h.md5, h.imphash} {
		if hash != "" {
			related = append(related, hash)
		}
	}
	if related != nil {
		doc["related"] = Document{"hash": related}
	}
	return doc
}

func ecsAgent(s *lkm.Snapshot) Document {
	agent := Document{"type": "kernelext"}
	if name, version, ok := strings.Cut(s.Producer, "/"); ok && name != "" {
		agent.put("version", version)
	}
	return agent
}

func ecsHost(s *lkm.Snapshot) Document {
	os := Document{}
	os.put("platform", string(s.OS))
	switch s.OS {
	case "":
	case lkm.Linux, lkm.Windows:
		os["type"] = string(s.OS)
	case lkm.Darwin:
		os["type"] = "macos"
	default:
		os["type"] = "unix"
	}
	os.put("kernel", s.Release)
	host := Document{"os": os}
	host.put("name", s.Host)
	host.put("architecture", s.Arch)
	if s.OS == lkm.Linux && s.BootID != "" {
		host["boot"] = Document{"id": s.BootID}
	}
	return host
}

func ecsFile(m *lkm.Module) Document {
	file := Document{}
	file.put("path", m.Path)
	file.put("name", baseName(m))
	if n, ok := fileSize(m).Get(); ok {
		file["size"] = n
	}
	h := hashesOf(m)
	hash := Document{}
	hash.put("sha256", h.sha256)
	hash.put("sha1", h.sha1)
	hash.put("md5", h.md5)
	if m.Darwin != nil && m.Darwin.CodeSignature != nil {
		hash.put("cdhash", m.Darwin.CodeSignature.CDHash)
	}
	if len(hash) > 0 {
		file["hash"] = hash
	}
	if signature := ecsSignature(m); len(signature) > 0 {
		file["code_signature"] = signature
	}
	if pe := ecsPE(m, h.imphash); len(pe) > 0 {
		file["pe"] = pe
	}
	return file
}

// ecsSignature says of a signature what is known of it. valid means that it fits the bytes, trusted that it leads to a
// trusted key; neither is there if nobody verified.
func ecsSignature(m *lkm.Module) Document {
	doc := Document{}
	if signed := isSigned(m); signed != "" {
		doc["exists"] = signed == lkm.Yes
	}
	switch m.Signature.Status {
	case lkm.SignatureValid:
		doc["valid"], doc["trusted"] = true, true
	case lkm.SignatureUntrusted:
		doc["valid"], doc["trusted"] = true, false
	case lkm.SignatureInvalid:
		doc["valid"], doc["trusted"] = false, false
	}
	doc.put("status", string(m.Signature.Status))
	doc.put("subject_name", m.Signature.Signer)
	doc.put("digest_algorithm", m.Signature.Hash)
	if !m.Signature.SignedAt.IsZero() {
		doc["timestamp"] = m.Signature.SignedAt.UTC().Format(time.RFC3339Nano)
	}
	if m.Darwin != nil && m.Darwin.CodeSignature != nil {
		doc.put("team_id", m.Darwin.CodeSignature.TeamID)
		doc.put("signing_id", m.Darwin.CodeSignature.Identifier)
	}
	return doc
}

func ecsPE(m *lkm.Module, imphash string) Document {
	doc := Document{}
	doc.put("imphash", imphash)
	if m.Windows == nil {
		return doc
	}
	if m.Windows.PE != nil {
		doc.put("architecture", m.Windows.PE.Machine)
	}
	if v := m.Windows.Version; v != nil {
		doc.put("file_version", v.File)
		doc.put("company", v.String("CompanyName"))
		doc.put("product", v.String("ProductName"))
		doc.put("description", v.String("FileDescription"))
		doc.put("original_file_name", v.String("OriginalFilename"))
	}
	return doc
}
