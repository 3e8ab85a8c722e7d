// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// SysExtFile is the database of system extensions, a property list that everybody may read.
const SysExtFile = "Library/SystemExtensions/db.plist"

// A SystemExtension is an extension that runs outside the kernel in its stead: a DriverKit driver,
// a network or an endpoint security extension. Several versions of one can exist at once.
type SystemExtension struct {
	// BundleID, TeamID, Version and ShortVersion are those of the extension.
	BundleID     string `json:"bundleId"`
	TeamID       string `json:"teamId,omitzero"`
	Version      string `json:"version,omitzero"`
	ShortVersion string `json:"shortVersion,omitzero"`
	// Name is the display name; only systemextensionsctl has it.
	Name string `json:"name,omitzero"`
	// State is the system's word: activated_enabled, activated_waiting_for_user, …
	State string `json:"state,omitzero"`
	// Enabled and Active are the two columns of systemextensionsctl.
	Enabled fact.Tri `json:"enabled,omitzero"`
	Active  fact.Tri `json:"active,omitzero"`
	// Categories say what it does: driver_extension, network_extension, endpoint_security, cmio,
	// without the "com.apple.system_extension." before them.
	Categories []string `json:"categories,omitzero"`
	// UniqueID names its folder in /Library/SystemExtensions.
	UniqueID string `json:"uniqueId,omitzero"`
	// OriginPath is where it came from, StagedPath the copy that runs, Container the app with it.
	OriginPath string `json:"originPath,omitzero"`
	StagedPath string `json:"stagedPath,omitzero"`
	Container  string `json:"container,omitzero"`
	// CDHashes are the code directory hashes of the staged copy, sorted.
	CDHashes []string `json:"cdHashes,omitzero"`
}

// enabled reports whether the state lets the extension run.
func (s *SystemExtension) enabled() bool { return s.State == "activated_enabled" }

// Driver reports whether it is a DriverKit driver.
func (s *SystemExtension) Driver() bool { return slices.Contains(s.Categories, "driver_extension") }

// A SystemExtensionDB is what db.plist says.
type SystemExtensionDB struct {
	// BootUUID is the boot in which it was written last.
	BootUUID string
	// DeveloperMode allows extensions from anywhere.
	DeveloperMode fact.Tri
	// Extensions are in the file's order.
	Extensions []SystemExtension
	// Policies are what a management server allows.
	Policies []SystemExtensionPolicy
	// Problems are what could not be read of it.
	Problems []fact.Problem
}

// A SystemExtensionPolicy is a management server's rule about system extensions.
type SystemExtensionPolicy struct {
	// AllowedTeams are team ids all of whose extensions are allowed.
	AllowedTeams []string
	// Allowed are the allowed bundle ids by team id.
	Allowed map[string][]string
}

// ReadSystemExtensions reads db.plist below the root fsys.
func ReadSystemExtensions(fsys fs.FS) (SystemExtensionDB, error) {
	data, err := limit.ReadFile(fsys, SysExtFile, limit.PlistBytes)
	if err != nil {
		return SystemExtensionDB{}, err
	}
	return ParseSystemExtensions(data)
}

// ParseSystemExtensions decodes db.plist.
func ParseSystemExtensions(data []byte) (SystemExtensionDB, error) {
	var db SystemExtensionDB
	n, err := decodePlist(SysExtFile, data)
	if err != nil {
		return db, err
	}
	l := &losses{source: SourceSysExt}
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
		policy := SystemExtensionPolicy{AllowedTeams: p.texts("allowedTeamIDs", l), Allowed: map[string][]string{}}
		allowed := p.sub("allowedExtensions", l)
		for _, team := range allowed.keys() {
			policy.Allowed[team] = allowed.texts(team, l)
		}
		db.Policies = append(db.Policies, policy)
	}
	db.Problems = l.problems
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

// SourceSystemExtensionsCtl is the source of what systemextensionsctl list prints.
const SourceSystemExtensionsCtl = "systemextensionsctl"

// A SystemExtensionCapture is the text of systemextensionsctl list.
type SystemExtensionCapture struct {
	Extensions []SystemExtension
	// Count is how many the text's first line says there are.
	Count     fact.Count
	Sure      bool
	Stray     int
	Bad       []*fact.ParseError
	Truncated bool
}

// ParseSystemExtensionsCtl reads the text of systemextensionsctl list. Tabs divide its columns; a
// text whose tabs became blanks is read as far as its columns can be told.
func ParseSystemExtensionsCtl(text string) *SystemExtensionCapture {
	c := &SystemExtensionCapture{Extensions: []SystemExtension{}, Truncated: text != "" && !strings.HasSuffix(text, "\n")}
	category, n := "", 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		switch count, isCount := strings.CutSuffix(trimmed, " extension(s)"); {
		case trimmed == "":
		case isCount:
			if v, err := strconv.ParseInt(count, 10, 32); err == nil {
				c.Count, c.Sure = fact.CountOf(v), true
			}
		case strings.HasPrefix(trimmed, "--- "):
			c.Sure = true
			category, _, _ = strings.Cut(strings.TrimPrefix(trimmed, "--- "), " ")
			category = strings.TrimPrefix(category, "com.apple.system_extension.")
		case strings.HasPrefix(trimmed, "enabled") && strings.Contains(trimmed, "bundleID"):
			c.Sure = true
		default:
			c.row(n, line, category)
		}
	}
	return c
}

func (c *SystemExtensionCapture) row(n int, line, category string) {
	s, ok := tabRow(line)
	if !ok {
		s, ok = blankRow(line)
	}
	if !ok || len(c.Extensions) >= maxKexts {
		c.Stray++
		if len(c.Bad) < limit.Problems {
			c.Bad = append(c.Bad, &fact.ParseError{Source: SourceSystemExtensionsCtl, Line: n, Reason: strconv.Quote(cutText(line, 60)) + " is no row"})
		}
		return
	}
	if category != "" {
		s.Categories = []string{category}
	}
	c.Extensions = append(c.Extensions, s)
}

// tabRow reads "enabled TAB active TAB team TAB id (short/build) TAB name TAB [state]".
func tabRow(line string) (SystemExtension, bool) {
	f := strings.Split(line, "\t")
	if len(f) != 6 {
		return SystemExtension{}, false
	}
	s := SystemExtension{Enabled: fact.TriOf(strings.TrimSpace(f[0]) == "*"), Active: fact.TriOf(strings.TrimSpace(f[1]) == "*"), TeamID: strings.TrimSpace(f[2]), Name: f[4]}
	return s, s.identity(f[3]) && s.state(f[5])
}

// blankRow reads a row whose tabs are gone. The flags are known only when both are there.
func blankRow(line string) (SystemExtension, bool) {
	var s SystemExtension
	head, state, ok := strings.Cut(strings.TrimSpace(line), "[")
	if !ok || !s.state("["+state) {
		return s, false
	}
	words := strings.Fields(head)
	stars := 0
	for len(words) > 0 && words[0] == "*" {
		words, stars = words[1:], stars+1
	}
	if stars == 2 {
		s.Enabled, s.Active = fact.Yes, fact.Yes
	}
	if len(words) > 0 && isTeamID(words[0]) {
		s.TeamID, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return s, false
	}
	id := words[0]
	if len(words) > 1 && strings.HasPrefix(words[1], "(") {
		id += " " + words[1]
		words = words[1:]
	}
	s.Name = strings.Join(words[1:], " ")
	return s, s.identity(id)
}

// identity reads "id (short/build)", where the version may be missing.
func (s *SystemExtension) identity(text string) bool {
	id, version, ok := strings.Cut(strings.TrimSpace(text), " (")
	s.BundleID = id
	if ok {
		s.ShortVersion, s.Version, _ = strings.Cut(strings.TrimSuffix(version, ")"), "/")
	}
	return isBundleID(id)
}

func (s *SystemExtension) state(text string) bool {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") {
		return false
	}
	s.State = strings.ReplaceAll(strings.Trim(text, "[]"), " ", "_")
	return s.State != ""
}

// isTeamID reports whether s looks like a team id: ten upper-case letters and digits.
func isTeamID(s string) bool {
	if len(s) != 10 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
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
