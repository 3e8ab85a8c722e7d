// SPDX-License-Identifier: Apache-2.0

package darwin

// The calls that a macOS machine answers, beside its files. The last group starts a program, by its
// absolute path, with no environment but LC_ALL=C; a machine answers them only where its user
// allowed that.
const (
	// OpUname is uname(3): text, one "key value" a line, with the keys release, version and
	// machine. The host's name is not among them.
	OpUname = "uname"
	// OpClock is the time: text, RFC 3339 in UTC.
	OpClock = "clock"
	// OpIdentity is who is asking: text, "euid N".
	OpIdentity = "identity"
	// OpSysctl NAME is the text of a sysctl, such as kern.bootsessionuuid or kern.osproductversion.
	OpSysctl = "sysctl"
	// OpLoadedKextInfo is KextManagerCopyLoadedKextInfo for all kexts and the keys in
	// [LoadedInfoKeys]: a binary property list, a dictionary by bundle id. It needs no privilege;
	// fs.ErrPermission is a refusal by a sandbox or a management policy, which the call does not
	// explain.
	OpLoadedKextInfo = "kextmanager-loaded-info"
	// OpCSRConfig is csr_get_active_config: text, the mask as 0x and hexadecimal digits.
	OpCSRConfig = "csr-active-config"

	// OpKmutil is the output of /usr/bin/kmutil showloaded, of macOS 11 and later.
	OpKmutil = "kmutil-showloaded"
	// OpKextstat is the output of /usr/sbin/kextstat.
	OpKextstat = "kextstat"
	// OpNVRAM is the output of /usr/sbin/nvram -xp: an XML property list of firmware variables.
	OpNVRAM = "nvram"
	// OpBridge is the output of /usr/sbin/system_profiler -xml SPiBridgeDataType: the boot security
	// of an Apple silicon Mac, as an XML property list.
	OpBridge = "system-profiler-ibridge"
)

// LoadedInfoKeys are the properties that OpLoadedKextInfo asks for. All of them together are some
// 300 bytes a kext; the list of classes, which is ten times as much, is not among them.
var LoadedInfoKeys = []string{
	"CFBundleIdentifier", "CFBundleVersion", "OSBundleCompatibleVersion", "CFBundlePackageType",
	"OSBundlePath", "OSBundleExecutablePath", "OSBundleUUID", "OSBundleLoadTag", "OSBundleRetainCount",
	"OSBundleLoadAddress", "OSBundleLoadSize", "OSBundleWiredSize", "OSBundleDependencies",
	"OSKernelResource", "OSBundleIsInterface", "OSBundlePrelinked", "OSBundleStarted",
	"OSBundleCPUType", "OSBundleCPUSubtype", "_BundleCollectionType",
}
