// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// Caps for what is kept of one Info.plist.
const (
	maxPersonalities = 4096
	maxMatchValues   = 1024
)

// A BundleInfo is what a bundle's Info.plist says, in Apple's own words. Where a property has a
// variant for the architecture that was asked for (OSBundleLibraries_arm64e), that one counts.
type BundleInfo struct {
	// Identifier is the bundle id (CFBundleIdentifier).
	Identifier string `json:"identifier,omitzero"`
	// Name is the bundle's name (CFBundleName).
	Name string `json:"name,omitzero"`
	// Version is the build version, which orders bundles (CFBundleVersion).
	Version string `json:"version,omitzero"`
	// ShortVersion is the release version, for people; it may be prose.
	ShortVersion string `json:"shortVersion,omitzero"`
	// CompatibleVersion is the oldest version that this one can replace
	// (OSBundleCompatibleVersion); only a library has one.
	CompatibleVersion string `json:"compatibleVersion,omitzero"`
	// PackageType is KEXT or DEXT (CFBundlePackageType).
	PackageType string `json:"packageType,omitzero"`
	// Executable is the file name of the code (CFBundleExecutable, or CFBundleUEXTExecutable of a
	// DriverKit extension); empty for a bundle without code.
	Executable string `json:"executable,omitzero"`
	// Codeless says that the bundle only describes devices and has no code.
	Codeless fact.Tri `json:"codeless,omitzero"`
	// SharedExecutable is the bundle whose code this one uses (OSBundleSharedExecutableIdentifier).
	SharedExecutable string `json:"sharedExecutable,omitzero"`
	// Info is the text for people (CFBundleGetInfoString).
	Info string `json:"info,omitzero"`
	// Copyright is NSHumanReadableCopyright.
	Copyright string `json:"copyright,omitzero"`
	// Usage is why a DriverKit extension is needed (OSBundleUsageDescription).
	Usage string `json:"usage,omitzero"`
	// MinimumSystem is LSMinimumSystemVersion.
	MinimumSystem string `json:"minimumSystem,omitzero"`
	// Required says which boots need it: Root, Local-Root, Network-Root, Safe Boot, Console or
	// DriverKit (OSBundleRequired).
	Required string `json:"required,omitzero"`
	// Libraries are the kexts it links against, with the oldest version that will do; sorted. It is empty if there are
	// no entries, and absent if the property list has no OSBundleLibraries.
	Libraries []Library `json:"libraries,omitzero"`
	// KernelResource marks a part of the kernel (OSKernelResource).
	KernelResource fact.Tri `json:"kernelResource,omitzero"`
	// Interface marks a kernel programming interface (OSBundleIsInterface).
	Interface fact.Tri `json:"interface,omitzero"`
	// AllowUserLoad says whether users other than root may load it (OSBundleAllowUserLoad).
	AllowUserLoad fact.Tri `json:"allowUserLoad,omitzero"`
	// RequireExplicitLoad says that it is not loaded for a device (OSBundleRequireExplicitLoad).
	RequireExplicitLoad fact.Tri `json:"requireExplicitLoad,omitzero"`
	// SecurityExtension marks a security policy of Apple's (AppleSecurityExtension).
	SecurityExtension fact.Tri `json:"securityExtension,omitzero"`
	// Personalities are what devices it is for (IOKitPersonalities), sorted by name. It is empty if there are no
	// entries, and absent if the property list has no IOKitPersonalities.
	Personalities []Personality `json:"personalities,omitzero"`
	// Variants are the properties taken from a key for an architecture, such as
	// "OSBundleLibraries_x86_64".
	Variants []string `json:"variants,omitzero"`
}

// A Library is a dependency of a kext.
type Library struct {
	// BundleID is the library's bundle id.
	BundleID string `json:"bundleId"`
	// Version is the oldest version that will do.
	Version string `json:"version,omitzero"`
}

// A Personality describes the devices that a driver is for.
type Personality struct {
	// Name is its key in IOKitPersonalities.
	Name string `json:"name"`
	// BundleID is the kext that it makes the system load; it may be another one.
	BundleID string `json:"bundleId,omitzero"`
	// Class is the driver's class (IOClass).
	Class string `json:"class,omitzero"`
	// ProviderClass is the class of device or nub that it attaches to (IOProviderClass).
	ProviderClass string `json:"providerClass,omitzero"`
	// UserClass is the class of a DriverKit driver (IOUserClass); empty for a kext.
	UserClass string `json:"userClass,omitzero"`
	// UserServer is the process of a DriverKit driver (IOUserServerName); empty for a kext.
	UserServer string `json:"userServer,omitzero"`
	// Category lets several drivers share one device (IOMatchCategory).
	Category string `json:"category,omitzero"`
	// ProbeScore decides between several; it may be negative.
	ProbeScore fact.Count `json:"probeScore,omitzero"`
	// Match are the properties that a device must have, sorted by key.
	Match []Match `json:"match,omitzero"`
}

// A Match is one property that a device must have.
type Match struct {
	// Key is the property, such as "IOPCIMatch" or "idVendor".
	Key string `json:"key"`
	// Values are what it may be. Numbers are written in decimal, nested properties as "key=value". Empty if the
	// personality names no value.
	Values []string `json:"values,omitzero"`

	texts []int // which of Values are texts, which are never equal to a number
}

// matchKeys are the properties of personalities that devices are matched by.
var matchKeys = []string{
	"IOBSDName", "IOCompatibleMatch", "IOLocationMatch", "IONameMatch", "IOPCIClassMatch", "IOPCIMatch",
	"IOPCIPrimaryMatch", "IOPCISecondaryMatch", "IOParentMatch", "IOPathMatch", "IOPropertyExistsMatch",
	"IOPropertyMatch", "IORegistryEntryID", "IOResourceMatch", "IOVirtIOPrimaryMatch", "USBPortType", "USBSpeed",
	"DeviceUsagePairs", "PrimaryUsage", "PrimaryUsagePage", "ProductID", "Transport", "VendorID", "VendorIDSource",
	"bConfigurationValue", "bDeviceClass", "bDeviceProtocol", "bDeviceSubClass", "bInterfaceClass", "bInterfaceNumber",
	"bInterfaceProtocol", "bInterfaceSubClass", "bcdDevice", "idProduct", "idProductArray", "idProductMask", "idVendor",
}

// parseInfo decodes an Info.plist for one architecture ("" takes no variants). Values of a wrong type are left out
// and reported. The error is a fact.ParseError (the bytes are not a property list, or no dictionary), or the budget's.
func parseInfo(source string, data []byte, architecture string, r *fact.Report) (BundleInfo, error) {
	n, err := decodeCounted(source, data, r.Budget)
	if err != nil {
		return BundleInfo{}, err
	}
	if n.kind != dictNode {
		return BundleInfo{}, &fact.ParseError{Source: source, Field: "plist",
			Reason: "it is " + n.kind.String() + ", not a dictionary"}
	}
	return infoOf(n, architecture, &losses{r, source, source}), nil
}

// infoOf takes the facts from the dictionary of an Info.plist.
func infoOf(n node, architecture string, l *losses) BundleInfo {
	b := BundleInfo{
		Identifier:   n.text("CFBundleIdentifier", l),
		Name:         n.text("CFBundleName", l),
		Version:      n.text("CFBundleVersion", l),
		ShortVersion: n.text("CFBundleShortVersionString", l),
		PackageType:  n.text("CFBundlePackageType", l),
		Executable:   n.text("CFBundleExecutable", l),
		Info:         n.text("CFBundleGetInfoString", l),
		Copyright:    n.text("NSHumanReadableCopyright", l),
		Usage:        n.text("OSBundleUsageDescription", l),

		MinimumSystem:    n.text("LSMinimumSystemVersion", l),
		KernelResource:   n.tri("OSKernelResource", l),
		Interface:        n.tri("OSBundleIsInterface", l),
		SharedExecutable: n.text("OSBundleSharedExecutableIdentifier", l),
	}
	if b.Executable == "" {
		b.Executable = n.text("CFBundleUEXTExecutable", l)
	}
	b.Codeless = fact.TriOf(b.Executable == "" && b.SharedExecutable == "")
	// The system documents the keys above as the same for every architecture.
	key := func(name string) string {
		if v := name + "_" + architecture; architecture != "" && n.dict[v].kind != noNode {
			b.Variants = append(b.Variants, v)
			return v
		}
		return name
	}
	b.CompatibleVersion = n.text(key("OSBundleCompatibleVersion"), l)
	b.Required = n.text(key("OSBundleRequired"), l)
	b.AllowUserLoad = n.tri(key("OSBundleAllowUserLoad"), l)
	b.RequireExplicitLoad = n.tri(key("OSBundleRequireExplicitLoad"), l)
	b.SecurityExtension = n.tri(key("AppleSecurityExtension"), l)
	b.Libraries = librariesOf(n.sub(key("OSBundleLibraries"), l), l)
	b.Personalities = personalitiesOf(n.sub(key("IOKitPersonalities"), l), b.Identifier, l)
	return b
}

func librariesOf(n node, l *losses) []Library {
	if n.dict == nil {
		return nil
	}
	all := make([]Library, 0, len(n.dict))
	for _, id := range n.keys() {
		all = append(all, Library{BundleID: id, Version: n.text(id, l)})
	}
	return all
}

func personalitiesOf(n node, bundleID string, l *losses) []Personality {
	if n.dict == nil {
		return nil
	}
	all := make([]Personality, 0, len(n.dict))
	for _, name := range n.keys() {
		if len(all) == maxPersonalities {
			l.add("IOKitPersonalities",
				fmt.Errorf("%w: more than %d personalities", fact.ErrTooLarge, maxPersonalities))
			break
		}
		p := n.sub(name, l)
		if p.dict != nil {
			all = append(all, personalityOf(name, p, bundleID, l))
		}
	}
	return all
}

func personalityOf(name string, n node, bundleID string, l *losses) Personality {
	p := Personality{
		Name:          name,
		BundleID:      cmp.Or(n.text("CFBundleIdentifier", l), bundleID),
		Class:         n.text("IOClass", l),
		ProviderClass: n.text("IOProviderClass", l),
		UserClass:     n.text("IOUserClass", l),
		UserServer:    n.text("IOUserServerName", l),
		Category:      n.text("IOMatchCategory", l),
	}
	if v := n.dict["IOProbeScore"]; v.kind == integerNode {
		p.ProbeScore = fact.CountOf(int64(v.num))
	}
	for _, key := range matchKeys {
		v, ok := n.dict[key]
		if !ok {
			continue
		}
		values := matchValues(v)
		if len(values) > maxMatchValues {
			l.add(key, fmt.Errorf("%w: more than %d values", fact.ErrTooLarge, maxMatchValues))
			values = values[:maxMatchValues]
		}
		p.Match = append(p.Match, Match{Key: key, Values: values, texts: v.textsOf(len(values))})
	}
	return p
}

// textsOf returns which of the first values of a matching property are texts.
func (n *node) textsOf(most int) []int {
	var texts []int
	for i, v := range n.list[:min(len(n.list), most)] {
		if v.kind == stringNode {
			texts = append(texts, i)
		}
	}
	if n.kind == stringNode {
		texts = []int{0}
	}
	return texts
}

// matchValues writes a matching property as a list of texts.
func matchValues(v node) []string {
	switch v.kind {
	case arrayNode:
		all := make([]string, 0, len(v.list))
		for _, item := range v.list {
			all = append(all, scalar(item))
		}
		return all
	case dictNode:
		all := make([]string, 0, len(v.dict))
		for _, k := range v.keys() {
			all = append(all, k+"="+scalar(v.dict[k]))
		}
		return all
	}
	return []string{scalar(v)}
}

// scalar writes a value as text; one level of nesting is written as "key=value" pairs.
func scalar(v node) string {
	switch v.kind {
	case stringNode:
		return v.str
	case integerNode:
		return fmt.Sprint(int64(v.num))
	case boolNode:
		return fmt.Sprint(v.num != 0)
	case dataNode:
		return fmt.Sprintf("<%x>", v.data[:min(len(v.data), 64)])
	case dictNode:
		var parts []string
		for _, k := range v.keys() {
			if inner := v.dict[k]; inner.kind != dictNode && inner.kind != arrayNode {
				parts = append(parts, k+"="+scalar(inner))
			}
		}
		return strings.Join(parts, ",")
	}
	return "?"
}

// libraryIDs are the bundle ids of Libraries; nil when they are unknown.
func (b BundleInfo) libraryIDs() []string {
	if b.Libraries == nil {
		return nil
	}
	ids := make([]string, len(b.Libraries))
	for i, l := range b.Libraries {
		ids[i] = l.BundleID
	}
	slices.Sort(ids)
	return ids
}
