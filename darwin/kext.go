// SPDX-License-Identifier: Apache-2.0

package darwin

import (
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// A Kext is what macOS says of one kernel or DriverKit extension in its own words, beside what
// every kernel says. It is the object under "darwin" in JSON. Absent fields are unknown unless they
// say otherwise.
type Kext struct {
	// BundleID names it, such as "com.apple.iokit.IOUSBHostFamily".
	BundleID string `json:"bundleId,omitzero"`
	// VersionValid says whether the version is one that the kernel can order: up to four digits for each of
	// three parts, and a stage.
	VersionValid fact.Tri `json:"versionValid,omitzero"`
	// CompatibleVersion is the oldest version that this one can replace; only libraries have one.
	CompatibleVersion string `json:"compatibleVersion,omitzero"`
	// PackageType is KEXT or DEXT.
	PackageType string `json:"packageType,omitzero"`
	// Pseudo says what part of the kernel it stands for, when it is not a kext of its own: kernel, kpi
	// (an interface), component, or monitor (SPTM and TXM). Empty for a real kext.
	Pseudo string `json:"pseudo,omitzero"`
	// LoadTag is the kernel's number for it in this boot, kextstat's Index.
	LoadTag fact.Count `json:"loadTag,omitzero"`
	// WiredSize is how much of it stays in memory, in bytes.
	WiredSize fact.Count `json:"wiredSize,omitzero"`
	// UUID identifies the code. Interfaces bear the kernel's since macOS 11.
	UUID string `json:"uuid,omitzero"`
	// LinkedAgainst are the kexts that it was linked against directly. Empty means no kext; absent means unknown.
	LinkedAgainst []Link `json:"linkedAgainst,omitzero"`
	// Architectures are what its code is built for: of a loaded one, what the kernel says; with
	// Detail Files, those of the file.
	Architectures []string `json:"architectures,omitzero"`
	// Interface marks a kernel programming interface (OSBundleIsInterface).
	Interface fact.Tri `json:"interface,omitzero"`
	// KernelResource marks a part of the kernel (OSKernelResource).
	KernelResource fact.Tri `json:"kernelResource,omitzero"`
	// Prelinked says whether it was loaded from a kernel collection (OSBundlePrelinked).
	Prelinked fact.Tri `json:"prelinked,omitzero"`
	// Started says whether the kernel called its start function (OSBundleStarted).
	Started fact.Tri `json:"started,omitzero"`
	// Collection is the kernel collection that it was loaded from: Primary, System, Auxiliary or
	// Codeless, in the kernel's words, else the kind of the file: boot, system, auxiliary, …
	Collection string `json:"collection,omitzero"`
	// Collections are the kernel collections on disk that hold it; with Detail Files.
	Collections []Membership `json:"collections,omitzero"`
	// PendingReboot says that a newer version is on disk than in the kernel, so that a reboot, and on
	// macOS 11 and later a new auxiliary collection, would change it.
	PendingReboot fact.Tri `json:"pendingReboot,omitzero"`
	// Views says for each source, by its name, whether it shows this kext.
	Views map[string]fact.View `json:"views,omitzero"`
	// Bundle is the bundle on disk; with Detail Files.
	Bundle *Bundle `json:"bundle,omitzero"`
	// Copies are the paths of further bundles with the same id.
	Copies []string `json:"copies,omitzero"`
	// CodeSignature is that of the bundle's code; with Detail Signatures.
	CodeSignature *CodeSignature `json:"codeSignature,omitzero"`
	// SystemExtension is its entry among the system extensions, for a DriverKit extension.
	SystemExtension *SystemExtension `json:"systemExtension,omitzero"`
	// Match is how it answers to the device that was asked for; only of Resolve.
	Match *DeviceMatch `json:"match,omitzero"`
	// Approval is the decision about it in KextPolicy, a management server's before the user's; with Detail Signatures,
	// because a decision is about a team's kext. It is absent if there is no decision, if the team is unknown, or if
	// the source kextpolicy was not read.
	Approval *Approval `json:"approval,omitzero"`
	// Profiler is what only a report of system_profiler says.
	Profiler *ProfilerFacts `json:"profiler,omitzero"`
}

// A Link is a kext that another was linked against.
type Link struct {
	// Tag is its load tag; absent when the text names none.
	Tag fact.Count `json:"tag,omitzero"`
	// BundleID is whose tag that is; empty when no kext in the list has it.
	BundleID string `json:"bundleId,omitzero"`
}

// A Membership is a kernel collection that holds a kext.
type Membership struct {
	// Path is the collection's file.
	Path string `json:"path"`
	// Kind is boot, system, auxiliary, kernelcache or prelinked; empty if neither name nor content shows it.
	Kind string `json:"kind,omitzero"`
	// Version is that of the copy in the collection.
	Version string `json:"version,omitzero"`
	// UUID is that of the copy in the collection.
	UUID string `json:"uuid,omitzero"`
	// Stale says that the collection belongs to another boot collection than the one on disk.
	Stale fact.Tri `json:"stale,omitzero"`
}

// ProfilerFacts are what only system_profiler says.
type ProfilerFacts struct {
	// ObtainedFrom is apple, identified_developer, unknown or not_signed.
	ObtainedFrom string `json:"obtainedFrom,omitzero"`
	// Loadable is its verdict on the kext.
	Loadable fact.Tri `json:"loadable,omitzero"`
	// Dependencies says whether it found all that the kext needs.
	Dependencies fact.Tri `json:"dependencies,omitzero"`
	// Errors are why it is not loadable.
	Errors []string `json:"errors,omitzero"`
}

// The words of Kext.Pseudo.
const (
	PseudoKernel    = "kernel"    // the kernel itself
	PseudoKPI       = "kpi"       // an interface of the kernel
	PseudoComponent = "component" // a part of the kernel with a bundle id
	PseudoMonitor   = "monitor"   // SPTM and TXM
)

// pseudoOf returns which part of the kernel a bundle id stands for, or "" for a kext of its own.
func pseudoOf(bundleID string) string {
	switch bundleID {
	case "__kernel__", "com.apple.kernel":
		return PseudoKernel
	case "com.apple.sptm", "com.apple.txm":
		return PseudoMonitor
	case "com.apple.iokit.ApplePlatformFamily", "com.apple.iokit.IONVRAMFamily",
		"com.apple.iokit.IOSystemManagementFamily",
		"com.apple.driver.AppleNMI":
		return PseudoComponent
	}
	if strings.HasPrefix(bundleID, "com.apple.kpi.") || strings.HasPrefix(bundleID, "com.apple.kernel.") {
		return PseudoKPI
	}
	return ""
}

// versionValid says whether the kernel can order the version; absent for none.
func versionValid(version string) fact.Tri {
	if version == "" {
		return ""
	}
	_, err := parseVersion(version)
	return fact.TriOf(err == nil)
}
