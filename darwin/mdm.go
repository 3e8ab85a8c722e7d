// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
)

// profileFile holds the settings about kexts that a management server put in force.
const profileFile = "Library/Managed Preferences/com.apple.syspolicy.kernel-extension-policy.plist"

// payloadType is the type of such settings in a configuration profile.
const payloadType = "com.apple.syspolicy.kernel-extension-policy"

// A managedPolicy is what a management server says about kexts.
type managedPolicy struct {
	// UserOverrides says whether users may approve others (AllowUserOverrides): no if a profile does not say it. Empty
	// if what it says could not be read.
	UserOverrides fact.Tri
	// NonAdminApprovals says whether users without administrator's rights may approve
	// (AllowNonAdminUserApprovals).
	NonAdminApprovals fact.Tri
	// Teams are team ids all of whose kexts are allowed (AllowedTeamIdentifiers).
	Teams []string
	// Kexts are the allowed bundle ids by team id (AllowedKernelExtensions).
	Kexts map[string][]string
}

// allows reports whether the server allows a kext.
func (p *managedPolicy) allows(teamID, bundleID string) bool {
	return teamID != "" && slices.Contains(p.Teams, teamID) || slices.Contains(p.Kexts[teamID], bundleID)
}

// readManagedPolicy reads the settings in force below the root fsys; the error matches fs.ErrNotExist if no settings
// exist.
func readManagedPolicy(fsys fs.FS, r *fact.Report) (managedPolicy, error) {
	data, err := limit.ReadFile(fsys, profileFile, limit.PlistBytes)
	if err != nil {
		return managedPolicy{}, err
	}
	return parseManagedPolicy(profileFile, data, r)
}

// parseManagedPolicy reads the settings: by themselves, or as a payload of a configuration profile (.mobileconfig,
// not signed). Settings of another form than expected are reported. The error matches fs.ErrNotExist for a profile
// without such a payload.
func parseManagedPolicy(source string, data []byte, r *fact.Report) (managedPolicy, error) {
	var p managedPolicy
	l := &losses{report: r, source: SourceProfiles}
	settings, err := payloads(source, data, payloadType, l)
	if err != nil {
		return p, err
	}
	p.Kexts = map[string][]string{}
	for _, s := range settings {
		v := s.tri("AllowUserOverrides", l)
		if s.dict["AllowUserOverrides"].kind == noNode {
			v = fact.No // the payload's default
		}
		if v != "" && p.UserOverrides != fact.No {
			p.UserOverrides = v // of several profiles the strictest counts
		}
		if v := s.tri("AllowNonAdminUserApprovals", l); v != "" && p.NonAdminApprovals != fact.No {
			p.NonAdminApprovals = v
		}
		p.Teams = append(p.Teams, s.texts("AllowedTeamIdentifiers", l)...)
		kexts := s.sub("AllowedKernelExtensions", l)
		for _, team := range kexts.keys() {
			p.Kexts[team] = append(p.Kexts[team], kexts.texts(team, l)...)
		}
	}
	return p, nil
}

// payloads returns the settings of one type in a file: the file itself, or the payloads of that type in a configuration
// profile.
func payloads(source string, data []byte, kind string, l *losses) ([]node, error) {
	n, err := decodePlist(source, data)
	if err != nil {
		return nil, err
	}
	if n.dict["PayloadContent"].kind != arrayNode {
		return []node{n}, nil
	}
	var settings []node
	for _, payload := range n.array("PayloadContent", l) {
		if payload.dict["PayloadType"].str == kind {
			settings = append(settings, payload)
		}
	}
	if len(settings) == 0 {
		none := errors.Join(fs.ErrNotExist, errors.New("no payload of type "+kind))
		return nil, &fs.PathError{Op: "read", Path: source, Err: none}
	}
	return settings, nil
}

// sysextProfileFile holds the settings about system extensions that a management server put in force.
const sysextProfileFile = "Library/Managed Preferences/com.apple.system-extension-policy.plist"

// sysextPayloadType is the type of such settings in a configuration profile.
const sysextPayloadType = "com.apple.system-extension-policy"

// A systemExtensionPolicy is what a management server says about system extensions. That of several profiles is their
// union.
type systemExtensionPolicy struct {
	// UserOverrides says whether users may approve others (AllowUserOverrides); absent is yes.
	UserOverrides fact.Tri
	// AllowedTeams are team ids all of whose extensions are allowed.
	AllowedTeams []string
	// Allowed are the allowed bundle ids by team id.
	Allowed map[string][]string
	// Types are the kinds of extension that a team may have, by team id; a team that is not there may have all.
	Types map[string][]string
	// Removable and NonRemovable are extensions that an app may, or nobody may, remove, by team id.
	Removable, NonRemovable map[string][]string
}

// allows reports whether the server allows an extension.
func (p *systemExtensionPolicy) allows(teamID, bundleID string) bool {
	return teamID != "" && (slices.Contains(p.AllowedTeams, teamID) || slices.Contains(p.Allowed[teamID], bundleID))
}

// counts says how many teams and extensions are allowed.
func (p *systemExtensionPolicy) counts() string {
	extensions := 0
	for _, list := range p.Allowed {
		extensions += len(list)
	}
	return fmt.Sprintf("%d teams, %d extensions", len(p.AllowedTeams), extensions)
}

// add adds the settings of one payload.
func (p *systemExtensionPolicy) add(n node, l *losses) {
	if v := n.tri("AllowUserOverrides", l); v != "" && p.UserOverrides != fact.No {
		p.UserOverrides = v
	}
	p.AllowedTeams = append(p.AllowedTeams, n.texts("AllowedTeamIdentifiers", l)...)
	for key, lists := range map[string]*map[string][]string{"AllowedSystemExtensions": &p.Allowed,
		"AllowedSystemExtensionTypes": &p.Types, "RemovableSystemExtensions": &p.Removable,
		"NonRemovableSystemExtensions": &p.NonRemovable} {
		teams := n.sub(key, l)
		for _, team := range teams.keys() {
			if *lists == nil {
				*lists = map[string][]string{}
			}
			(*lists)[team] = append((*lists)[team], teams.texts(team, l)...)
		}
	}
}

// readSystemExtensionPolicy reads the settings in force below the root fsys; the error matches fs.ErrNotExist if no
// settings exist.
func readSystemExtensionPolicy(fsys fs.FS, r *fact.Report) (systemExtensionPolicy, error) {
	data, err := limit.ReadFile(fsys, sysextProfileFile, limit.PlistBytes)
	if err != nil {
		return systemExtensionPolicy{}, err
	}
	return parseSystemExtensionPolicy(sysextProfileFile, data, r)
}

// parseSystemExtensionPolicy reads the settings, in the forms of parseManagedPolicy.
func parseSystemExtensionPolicy(source string, data []byte, r *fact.Report) (systemExtensionPolicy, error) {
	var p systemExtensionPolicy
	l := &losses{report: r, source: SourceProfiles}
	settings, err := payloads(source, data, sysextPayloadType, l)
	for _, s := range settings {
		p.add(s, l)
	}
	return p, err
}
