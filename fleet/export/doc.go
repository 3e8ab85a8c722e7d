// SPDX-License-Identifier: Apache-2.0

// Package export writes Snapshots and Events in the forms of other programs: CycloneDX 1.6, documents of the Elastic
// Common Schema, the rows of osquery's tables, the names of Sysmon's event 6, and Prometheus' text.
//
// Each function is pure: it reads nothing but its argument. What a form has no place for is in its free area, whole:
// ECS documents have the record under "kernel_extension", CycloneDX components have it as properties, and the rows of
// [Osquery] for the table [TableAll] have it as the column "record". What is unknown is absent, never false or 0.
package export

import (
	"encoding/json"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// A Document is one object of JSON. Its keys are sorted when it is encoded.
type Document map[string]any

// put sets a key of the document, unless the value is empty.
func (d Document) put(key, value string) {
	if value != "" {
		d[key] = value
	}
}

// inKernel reports whether the module's code is in the kernel, or may be: a state that is not known counts.
func inKernel(m *lkm.Module) bool {
	return m.State != lkm.StateInstalled && m.State != lkm.StateStaged
}

// record returns the whole module as its JSON is. Every type of a module can be encoded, so there is no error.
func record(m *lkm.Module) map[string]any {
	text, err := json.Marshal(m)
	if err != nil {
		return map[string]any{"id": m.ID, "error": err.Error()}
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber() // an address or a count keeps all of its digits
	var all map[string]any
	if err := decoder.Decode(&all); err != nil {
		return map[string]any{"id": m.ID, "error": err.Error()}
	}
	return all
}

// fileHashes are the digests of a module's whole file, in lower-case hexadecimal; an empty one is not known.
type fileHashes struct{ sha256, sha1, md5, imphash string }

func hashesOf(m *lkm.Module) fileHashes {
	h := fileHashes{sha256: m.Hashes.SHA256}
	w := m.Windows
	if w == nil {
		return h
	}
	if w.Hashes != nil {
		h.sha1, h.md5, h.imphash = w.Hashes.SHA1, w.Hashes.MD5, w.Hashes.Imphash
	}
	if w.PE != nil && w.PE.Imphash != "" {
		h.imphash = w.PE.Imphash
	}
	return h
}

// baseName is the last part of a path of any system.
func baseName(m *lkm.Module) string {
	separators := "/"
	if m.Windows != nil {
		separators = `/\`
	}
	return m.Path[strings.LastIndexAny(m.Path, separators)+1:]
}

// fileSize is the length of the module's file in bytes. Of a loaded one Size is its memory.
func fileSize(m *lkm.Module) lkm.Count {
	switch {
	case m.Linux != nil && !m.Linux.FileSize.IsZero():
		return m.Linux.FileSize
	case m.State == lkm.StateInstalled || m.State == lkm.StateStaged:
		return m.Size
	}
	return lkm.Count{}
}

// isSigned says whether there is a signature.
func isSigned(m *lkm.Module) lkm.Tri {
	switch m.Signature.Status {
	case "":
		return ""
	case lkm.SignatureNone:
		return lkm.No
	case lkm.SignatureUnchecked, lkm.SignatureUntrusted, lkm.SignatureValid, lkm.SignatureInvalid:
		return lkm.Yes
	}
	return "" // a word of a later version
}
