// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// sysExtFile is the database of system extensions, a property list that everybody may read.
const sysExtFile = "Library/SystemExtensions/db.plist"

// A SystemExtension is an extension that runs outside the kernel in its stead: a DriverKit driver,
// a network or an endpoint security extension. Several versions of one can exist at once.
type SystemExtension struct {
	// BundleID is the extension's bundle id.
	BundleID string `json:"bundleId"`
	// TeamID is the developer team's; empty for Apple's own.
	TeamID string `json:"teamId,omitzero"`
	// Version is the build version (CFBundleVersion), which orders extensions.
	Version string `json:"version,omitzero"`
	// ShortVersion is the release version, for people; empty if the source has none.
	ShortVersion string `json:"shortVersion,omitzero"`
	// Name is the display name; only systemextensionsctl has it.
	Name string `json:"name,omitzero"`
	// State is the system's word: activated_enabled, activated_waiting_for_user, …
	State string `json:"state,omitzero"`
	// Enabled is the column "enabled" of systemextensionsctl; absent from any other source.
	Enabled fact.Tri `json:"enabled,omitzero"`
	// Active is the column "active" of systemextensionsctl; absent from any other source.
	Active fact.Tri `json:"active,omitzero"`
	// Categories say what it does: driver_extension, network_extension, endpoint_security, cmio,
	// without the "com.apple.system_extension." before them.
	Categories []string `json:"categories,omitzero"`
	// UniqueID names its folder in /Library/SystemExtensions.
	UniqueID string `json:"uniqueId,omitzero"`
	// OriginPath is the bundle that it was copied from.
	OriginPath string `json:"originPath,omitzero"`
	// StagedPath is the copy that runs.
	StagedPath string `json:"stagedPath,omitzero"`
	// Container is the app that brought it.
	Container string `json:"container,omitzero"`
	// CDHashes are the code directory hashes of the staged copy, sorted.
	CDHashes []string `json:"cdHashes,omitzero"`
}

// isDriver reports whether it is a DriverKit driver, which takes a kext's place.
func (s *SystemExtension) isDriver() bool {
	return slices.Contains(s.Categories, "driver_extension") ||
		len(s.Categories) == 0 && path.Ext(cmp.Or(s.StagedPath, s.OriginPath)) == ".dext"
}

// enabled reports whether the state lets the extension run.
func (s *SystemExtension) enabled() bool { return s.State == "activated_enabled" }

// A systemExtensionDB is what db.plist says.
type systemExtensionDB struct {
	// BootUUID is the boot in which it was written last.
	BootUUID string
	// DeveloperMode allows extensions from anywhere.
	DeveloperMode fact.Tri
	// Extensions are in the file's order.
	Extensions []SystemExtension
	// Policies are what a management server allows.
	Policies []systemExtensionPolicy
}

// readSystemExtensions reads db.plist below the root fsys.
func readSystemExtensions(fsys fs.FS, r *fact.Report) (systemExtensionDB, error) {
	data, err := limit.ReadFile(fsys, sysExtFile, limit.PlistBytes)
	if err != nil {
		return systemExtensionDB{}, err
	}
	return parseSystemExtensions(data, r)
}

// parseSystemExtensions decodes db.plist. What cannot be read of it is reported.
func parseSystemExtensions(data []byte, r *fact.Report) (systemExtensionDB, error) {
	var db systemExtensionDB
	n, err := decodePlist(sysExtFile, data)
	if err != nil {
		return db, err
	}
	l := &losses{report: r, source: SourceSysExt}
	db.BootUUID = n.text("bootUUID", l)
	db.DeveloperMode = n.tri("developerMode", l)
	for _, e := range n.array("extensions", l) {
		if len(db.Extensions) == maxKexts {
			l.add("extensions", fmt.Errorf("%w: more than %d", fact.ErrTooLarge, maxKexts))
			break
		}
		if e.kind != dictNode {
			l.wrongType("extensions", "a dictionary", e)
			continue
		}
		db.Extensions = append(db.Extensions, systemExtensionOf(e, l))
	}
	for _, p := range n.array("extensionPolicies", l) {
		policy := systemExtensionPolicy{AllowedTeams: p.texts("allowedTeamIDs", l), Allowed: map[string][]string{}}
		allowed := p.sub("allowedExtensions", l)
		for _, team := range allowed.keys() {
			policy.Allowed[team] = allowed.texts(team, l)
		}
		db.Policies = append(db.Policies, policy)
	}
	return db, nil
}

func systemExtensionOf(n node, l *losses) SystemExtension {
	l.subject = n.dict["identifier"].str
	defer func() { l.subject = "" }()
	version := n.sub("bundleVersion", l)
	s := SystemExtension{
		BundleID:     n.text("identifier", l),
		TeamID:       n.text("teamID", l),
		UniqueID:     n.text("uniqueID", l),
		State:        n.text("state", l),
		OriginPath:   n.text("originPath", l),
		Version:      version.text("CFBundleVersion", l),
		ShortVersion: version.text("CFBundleShortVersionString", l),
		Container:    n.sub("container", l).text("bundlePath", l),
	}
	url := n.sub("stagedBundleURL", l).text("relative", l)
	s.StagedPath = strings.TrimSuffix(strings.TrimPrefix(url, "file://"), "/")
	for _, c := range n.texts("categories", l) {
		s.Categories = append(s.Categories, strings.TrimPrefix(c, "com.apple.system_extension."))
	}
	s.CDHashes = n.sub("stagedCdhashes", l).keys()
	return s
}

// newest orders versions of one extension: an enabled one first, then the higher version.
func newest(a, b SystemExtension) int {
	if a.enabled() != b.enabled() {
		if a.enabled() {
			return -1
		}
		return 1
	}
	return cmp.Or(-CompareVersions(a.Version, b.Version), strings.Compare(a.UniqueID, b.UniqueID))
}
