// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"errors"
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
	// UserOverrides says whether users may approve others (AllowUserOverrides); absent is yes.
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

// readManagedPolicy reads the settings in force below the root fsys; the error matches fs.ErrNotExist
// where there are none.
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
	n, err := decodePlist(source, data)
	if err != nil {
		return p, err
	}
	l := &losses{report: r, source: SourceProfiles}
	settings := []node{n}
	if n.dict["PayloadContent"].kind == arrayNode {
		settings = settings[:0]
		for _, payload := range n.array("PayloadContent", l) {
			if payload.dict["PayloadType"].str == payloadType {
				settings = append(settings, payload)
			}
		}
	}
	if len(settings) == 0 {
		none := errors.Join(fs.ErrNotExist, errors.New("no payload of type "+payloadType))
		return p, &fs.PathError{Op: "read", Path: source, Err: none}
	}
	p.Kexts = map[string][]string{}
	for _, s := range settings {
		if v := s.tri("AllowUserOverrides", l); v != "" && p.UserOverrides != fact.No {
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
