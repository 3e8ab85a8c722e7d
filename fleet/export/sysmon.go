// SPDX-License-Identifier: Apache-2.0

package export

import (
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// Sysmon returns an object for each driver of Windows in the kernel, with the names of Sysmon's event 6 (driver
// loaded), which Sigma's category driver_load has too. Sysmon has no place for more: other fields are lost, and so are
// modules of other systems. UtcTime is that of the Snapshot, not of the load. Signed and SignatureStatus are absent if
// unknown.
func Sysmon(s *lkm.Snapshot) []Document {
	docs := []Document{}
	for i := range s.Modules {
		m := &s.Modules[i]
		if m.Windows == nil || m.State != lkm.StateLoaded {
			continue
		}
		doc := Document{"EventID": 6}
		doc.put("Computer", s.Host)
		if !s.TakenAt.IsZero() {
			doc["UtcTime"] = s.TakenAt.UTC().Format("2006-01-02 15:04:05.000")
		}
		path := m.Path
		if path == "" && m.Windows.Image != nil {
			path = m.Windows.Image.NTPath
		}
		doc.put("ImageLoaded", path)
		doc.put("Hashes", sysmonHashes(hashesOf(m)))
		switch isSigned(m) {
		case lkm.Yes:
			doc["Signed"] = "true"
		case lkm.No:
			doc["Signed"] = "false"
		}
		doc.put("Signature", m.Signature.Signer)
		doc.put("SignatureStatus", sysmonStatus(m.Signature.Status))
		docs = append(docs, doc)
	}
	return docs
}

// sysmonHashes writes digests as Sysmon does: MD5=…,SHA256=….
func sysmonHashes(h fileHashes) string {
	var parts []string
	for _, part := range [][2]string{{"SHA1", h.sha1}, {"MD5", h.md5}, {"SHA256", h.sha256}, {"IMPHASH", h.imphash}} {
		if part[1] != "" {
			parts = append(parts, part[0]+"="+strings.ToUpper(part[1]))
		}
	}
	return strings.Join(parts, ",")
}

// sysmonStatus is Sysmon's word where it has one, and else ours.
func sysmonStatus(s lkm.SignatureStatus) string {
	switch s {
	case lkm.SignatureValid:
		return "Valid"
	case lkm.SignatureNone:
		return "Unavailable"
	case lkm.SignatureUnchecked:
		return ""
	}
	return string(s)
}
