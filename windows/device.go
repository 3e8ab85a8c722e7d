// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/registry"
)

// A Device is one device and the driver that Windows chose for it: one that is present, or, of a
// mounted volume, one that was there once.
type Device struct {
	// Instance is the device's instance id, such as PCI\VEN_8086&DEV_15B7…\3&11583659&0&FE.
	Instance string `json:"instance"`
	// Service is the service of its function driver.
	Service string `json:"service,omitzero"`
	// Description is the INF's name for people.
	Description string `json:"description,omitzero"`
	// FriendlyName is the device's own name for people; most have none.
	FriendlyName string `json:"friendlyName,omitzero"`
	// Class is the device setup class.
	Class string `json:"class,omitzero"`
	// ClassGUID is the GUID of Class, in lower case without braces.
	ClassGUID string `json:"classGuid,omitzero"`
	// DriverKey is the driver's key below Control\Class: {class}\NNNN.
	DriverKey string `json:"driverKey,omitzero"`
	// HardwareIDs are the ids that INF files match, the best first.
	HardwareIDs []string `json:"hardwareIds,omitzero"`
	// Manufacturer is the INF's word.
	Manufacturer string `json:"manufacturer,omitzero"`
	// INF is the published INF, such as oem12.inf.
	INF string `json:"inf,omitzero"`
	// Section is the install section of INF.
	Section string `json:"section,omitzero"`
	// MatchingID is the hardware id that matched.
	MatchingID string `json:"matchingId,omitzero"`
	// Provider is the INF's.
	Provider string `json:"provider,omitzero"`
	// DriverDate is the INF's, as YYYY-MM-DD.
	DriverDate string `json:"driverDate,omitzero"`
	// DriverVersion is the INF's, four numbers.
	DriverVersion string `json:"driverVersion,omitzero"`
	// UpperFilters are the services of the device's own filters above its function driver.
	UpperFilters []string `json:"upperFilters,omitzero"`
	// LowerFilters are those below it.
	LowerFilters []string `json:"lowerFilters,omitzero"`
	// ProblemCode is the configuration manager's problem (CM_PROB_…); absent when unknown.
	ProblemCode fact.Count `json:"problemCode,omitzero"`
	// Signed is the word of a text capture or of WMI; absent otherwise.
	Signed fact.Tri `json:"signed,omitzero"`
	// Signer is who signed the package, by the same source; absent otherwise.
	Signer string `json:"signer,omitzero"`
	// WMI is what Win32_PnPSignedDriver says of the device, only when a caller injected it.
	WMI *WMISignedDriver `json:"wmi,omitzero"`
}

// AppendDevices writes devices in the form of OpDevices.
func AppendDevices(dst []byte, list []Device) []byte {
	for _, d := range list {
		dst = appendJSONLine(dst, d)
	}
	return dst
}

// ParseDevices reads the answer to OpDevices.
func ParseDevices(b []byte) ([]Device, error) {
	return jsonLines(SourceDevices, b, maxServices, func(d *Device) bool { return d.Instance != "" })
}

// isOEMInf reports whether an INF has the name that Windows gives a package that did not come
// with it: oemNN.inf.
func isOEMInf(name string) bool {
	s := fold(baseName(name))
	mid, ok := strings.CutPrefix(s, "oem")
	if !ok {
		return false
	}
	mid, ok = strings.CutSuffix(mid, ".inf")
	if !ok || mid == "" {
		return false
	}
	return strings.Trim(mid, "0123456789") == ""
}

// A Package is one driver package of the driver store.
type Package struct {
	// Name is the package's folder: INF_ARCH_HASH.
	Name string `json:"name"`
	// INF is the published name, such as oem12.inf, or that of a package of Windows itself.
	INF string `json:"inf,omitzero"`
	// OriginalINF is the INF's name before it was published.
	OriginalINF string `json:"originalInf,omitzero"`
	// Class is the device setup class.
	Class string `json:"class,omitzero"`
	// ClassGUID is the GUID of Class, in lower case without braces.
	ClassGUID string `json:"classGuid,omitzero"`
	// Provider is the INF's.
	Provider string `json:"provider,omitzero"`
	// Date is the INF's, as YYYY-MM-DD.
	Date string `json:"date,omitzero"`
	// Version is the INF's, four numbers.
	Version string `json:"version,omitzero"`
	// Catalog is the catalog's file name.
	Catalog string `json:"catalog,omitzero"`
	// Signer is who signed the package, by Windows' own verdict at the time of installation.
	Signer string `json:"signer,omitzero"`
	// SignerScore is the rank that Windows gave the signature then, as 0x and eight digits.
	SignerScore string `json:"signerScore,omitzero"`
	// Services are the services that the INF adds, when the INF could be read.
	Services []string `json:"services,omitzero"`
	// HardwareIDs are ids of devices that it is for, at most 16 of them, when its INF in the store was read.
	HardwareIDs []string `json:"hardwareIds,omitzero"`
}

// parseDriverPackages reads the answer to OpDriverPackages. The layout is not documented: what does not have the
// expected form is left out.
func parseDriverPackages(b []byte, r *fact.Report) ([]Package, error) {
	keys, err := registry.ParseText(SourceStore, b, r)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		if keys[i].Refused && strings.EqualFold(keys[i].Name(), packagesKey) {
			r.Problem(SourceStore, "", "packages", fmt.Errorf("registry key %s: %w", keys[i].Path, fact.ErrRestricted))
		}
	}
	return packagesOf(keys), nil
}

// packagesKey is the key of a hive that has a subkey for each package of the store.
const packagesKey = "DriverPackages"

// packagesOf makes packages of the keys below a DriverPackages key. Two hives may have the same one.
func packagesOf(keys []registry.Key) []Package {
	list := []Package{}
	seen := make(map[string]bool, len(keys))
	for i := range keys {
		parent := strings.TrimSuffix(keys[i].Path, `\`+keys[i].Name())
		if !strings.EqualFold(baseName(parent), packagesKey) {
			continue
		}
		if name := fold(keys[i].Name()); !seen[name] {
			seen[name] = true
			list = append(list, packageOf(&keys[i]))
		}
	}
	return list
}

func packageOf(k *registry.Key) Package {
	p := Package{Name: k.Name()}
	p.INF, _ = k.Text("")
	p.OriginalINF, _ = k.Text("InfName")
	p.Provider, _ = k.Text("Provider")
	p.Catalog, _ = k.Text("Catalog")
	p.Signer, _ = k.Text("SignerName")
	if p.OriginalINF == "" {
		if i := indexFold(p.Name, ".inf_"); i > 0 {
			p.OriginalINF = p.Name[:i+4]
		}
	}
	if n, ok := k.Dword("SignerScore"); ok {
		p.SignerScore = pe.Hex32(n)
	}
	if v, ok := k.Value("Version"); ok {
		p.ClassGUID, p.Date, p.Version = packageVersion(v.Data)
	}
	return p
}

// packageVersion reads the Version value: eight bytes, the class, the date as a FILETIME, and four
// words of version, the least significant first.
func packageVersion(b []byte) (class, date, version string) {
	if len(b) < 40 {
		return "", "", ""
	}
	le := binary.LittleEndian
	class = pe.GUID(b[8:24])
	if t := filetime(le.Uint64(b[24:])); !t.IsZero() {
		date = t.Format("2006-01-02")
	}
	v := b[32:]
	return class, date, fmt.Sprintf("%d.%d.%d.%d", le.Uint16(v[6:]), le.Uint16(v[4:]), le.Uint16(v[2:]), le.Uint16(v))
}

// filetime turns 100-nanosecond steps since 1601 into a time; zero stays zero, and so does what
// lies outside the years that a driver can have.
func filetime(n uint64) time.Time {
	const toUnix = 116444736000000000
	if n < toUnix || n > toUnix+1<<62 {
		return time.Time{}
	}
	return time.Unix(int64((n-toUnix)/10_000_000), 0).UTC()
}
