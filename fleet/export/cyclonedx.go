// SPDX-License-Identifier: Apache-2.0

package export

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kernelext/kernelext/lkm"
)

// prefix begins the names of our properties of CycloneDX.
const prefix = "kernelext:"

// CycloneDX returns a bill of materials in the form of CycloneDX 1.6. A module that is in the kernel and is not known
// to be the operating system's is a component of the type device-driver, with its whole record as properties. The
// operating system's are one component for each package that they are from, which names them: thousands of components
// without a version help nobody who looks for vulnerabilities. With all set, every module of the Snapshot is a
// component of its own.
func CycloneDX(s *lkm.Snapshot, all bool) Document {
	bom := Document{"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX",
		"specVersion": "1.6", "version": 1, "metadata": bomMetadata(s)}
	components := []Document{}
	refs := newBOMRefs(len(s.Modules))
	folded := make(map[lkm.Package][]string)
	for i := range s.Modules {
		m := &s.Modules[i]
		switch {
		case all || inKernel(m) && m.Origin.Class != lkm.OriginOS:
			refs.module(i, m)
			components = append(components, component(m, refs.own[i]))
		case inKernel(m):
			of := packageOf(m)
			folded[of] = append(folded[of], m.Name)
		}
	}
	packages := slices.SortedFunc(maps.Keys(folded), comparePackages)
	for _, p := range packages {
		components = append(components, packageComponent(s, p, refs.packaged(p), folded[p]))
	}
	if !all {
		refs.fold(s)
	}
	bom["components"] = components
	if dependencies := refs.dependencies(s); len(dependencies) > 0 {
		bom["dependencies"] = dependencies
	}
	return bom
}

// bomMetadata is what is said of the machine and of the look as a whole.
func bomMetadata(s *lkm.Snapshot) Document {
	name, version, _ := strings.Cut(cmp.Or(s.Producer, "kernelext"), "/")
	tool := Document{"type": "application", "name": name}
	tool.put("version", version)
	about := Document{"type": "operating-system", "bom-ref": refKernel, "name": string(s.OS)}
	about.putVersion(s.Release)
	whole := *s
	whole.Modules = nil
	metadata := Document{"component": about, "lifecycles": []Document{{"phase": "operations"}},
		"tools": Document{"components": []Document{tool}}}
	if !s.TakenAt.IsZero() {
		metadata["timestamp"] = s.TakenAt.UTC().Format(time.RFC3339)
	}
	text, err := json.Marshal(&whole)
	if err == nil {
		var fields map[string]json.RawMessage
		if json.Unmarshal(text, &fields) == nil {
			delete(fields, "modules")
			metadata["properties"] = rawProperties(fields)
		}
	}
	return metadata
}

// putVersion sets the version. One that is longer than the form allows has its place among the properties alone.
func (d Document) putVersion(version string) {
	const most = 1024 // characters
	if utf8.RuneCountInString(version) <= most {
		d.put("version", version)
	}
}

func component(m *lkm.Module, ref string) Document {
	c := Document{"type": "device-driver", "bom-ref": ref, "name": m.Name}
	c.putVersion(m.Version)
	c.put("description", m.Description)
	if m.License != "" {
		c["licenses"] = []Document{{"license": Document{"name": m.License}}}
	}
	if m.Package != nil {
		c.put("purl", purl(m.Package))
		if m.Package.Vendor != "" {
			c["supplier"] = Document{"name": m.Package.Vendor}
		}
	}
	h := hashesOf(m)
	var hashes []Document
	for _, hash := range []struct {
		name, digest string
		size         int // bytes
	}{{"MD5", h.md5, 16}, {"SHA-1", h.sha1, 20}, {"SHA-256", h.sha256, 32}} {
		if b, err := hex.DecodeString(hash.digest); err == nil && len(b) == hash.size {
			hashes = append(hashes, Document{"alg": hash.name, "content": hash.digest})
		}
	}
	if hashes != nil {
		c["hashes"] = hashes
	}
	if m.Path != "" {
		c["evidence"] = Document{"occurrences": []Document{{"location": m.Path}}}
	}
	c["properties"] = properties(m)
	return c
}

// properties are the whole record, a property for each field. What is not text is there as its JSON.
func properties(m *lkm.Module) []Document {
	text, err := json.Marshal(m)
	var fields map[string]json.RawMessage
	if err != nil || json.Unmarshal(text, &fields) != nil {
		return []Document{}
	}
	return rawProperties(fields)
}

func rawProperties(fields map[string]json.RawMessage) []Document {
	list := make([]Document, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := string(fields[name])
		var text string
		if json.Unmarshal(fields[name], &text) == nil {
			value = text
		}
		list = append(list, Document{"name": prefix + name, "value": value})
	}
	return list
}

// packageComponent stands for the modules that the operating system brought in one package. One without a name stands
// for those whose package is not known.
func packageComponent(s *lkm.Snapshot, p lkm.Package, ref string, modules []string) Document {
	c := Document{"type": "operating-system", "bom-ref": ref, "name": cmp.Or(p.Name, string(s.OS)+" kernel")}
	c.putVersion(cmp.Or(p.Version, s.Release))
	c.put("purl", purl(&p))
	if p.Vendor != "" {
		c["supplier"] = Document{"name": p.Vendor}
	}
	list := []Document{{"name": prefix + "moduleCount", "value": fmt.Sprint(len(modules))}}
	for _, name := range modules {
		list = append(list, Document{"name": prefix + "module", "value": name})
	}
	c["properties"] = list
	return c
}

// purl returns the package URL of a package. It is empty where the manager has no type, or where the type asks for the
// distributor as its namespace and the package does not say which that is.
func purl(p *lkm.Package) string {
	types := map[string]string{"dpkg": "deb", "rpm": "rpm", "apk": "apk", "pacman": "alpm"}
	kind, space := types[p.Manager], distributor(p.Vendor)
	if kind == "" || space == "" || p.Name == "" {
		return ""
	}
	version, qualifiers := p.Version, []string{}
	if p.Arch != "" {
		qualifiers = append(qualifiers, "arch="+purlEscape(p.Arch))
	}
	if epoch, rest, ok := strings.Cut(p.Version, ":"); ok && kind == "rpm" {
		version, qualifiers = rest, append(qualifiers, "epoch="+purlEscape(epoch))
	}
	text := "pkg:" + kind + "/" + space + "/" + purlEscape(p.Name)
	if version != "" {
		text += "@" + purlEscape(version)
	}
	if len(qualifiers) > 0 {
		text += "?" + strings.Join(qualifiers, "&")
	}
	return text
}

// distributor is the namespace of a package URL for what a package says of its vendor.
func distributor(vendor string) string {
	vendor = strings.ToLower(vendor)
	for _, d := range [][2]string{{"ubuntu", "ubuntu"}, {"debian", "debian"}, {"red hat", "redhat"},
		{"fedora", "fedora"},
		{"opensuse", "opensuse"}, {"suse", "suse"}, {"almalinux", "almalinux"}, {"rocky", "rocky"},
		{"oracle", "oracle"},
		{"amazon", "amzn"}, {"centos", "centos"}, {"alpine", "alpine"}, {"archlinux", "arch"}, {"arch linux", "arch"}} {
		if strings.Contains(vendor, d[0]) {
			return d[1]
		}
	}
	return ""
}

// purlEscape percent-encodes all but the characters that a package URL keeps.
func purlEscape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_~:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
