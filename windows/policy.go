// SPDX-License-Identifier: Apache-2.0

package windows

// Registry keys of settings, below HKEY_LOCAL_MACHINE.
const (
	CIConfigKey      = `SYSTEM\CurrentControlSet\Control\CI\Config`
	HVCIKey          = `SYSTEM\CurrentControlSet\Control\DeviceGuard\Scenarios\HypervisorEnforcedCodeIntegrity`
	SecureBootKey    = `SYSTEM\CurrentControlSet\Control\SecureBoot\State`
	SourceCIRegistry = "code_integrity_registry" // settings, which may need a boot to take effect
	SourceCIFiles    = "code_integrity_files"    // policy files
)

// PolicyFolder is where code integrity keeps its policies, below the Windows folder.
const PolicyFolder = `System32\CodeIntegrity`

// PolicyFiles are the policies that may lie in PolicyFolder by name; those of the newer format are
// in PolicyFolder\CIPolicies\Active.
var PolicyFiles = [...]struct{ Name, Meaning string }{
	{"driversipolicy.p7b", "the block list that comes with Windows"},
	{"SiPolicy.p7b", "a policy that an administrator installed"},
}

// Names of policy facts.
const (
	PolicyCodeIntegrity = "code_integrity"    // the options of class 103
	PolicyTestSign      = "test_signing"      // yes or no
	PolicyHVCI          = "hvci"              // yes, audit or no
	PolicyWHQL          = "whql_enforcement"  // yes, audit or no
	PolicySecureBoot    = "secure_boot"       // yes, no or unsupported
	PolicyDebugger      = "kernel_debugger"   // attached, enabled or no
	PolicyVBS           = "secure_kernel"     // yes or no: virtualization-based security runs
	PolicyBlockList     = "driver_block_list" // the switch in the registry: intent, not state
	PolicyHVCIConfig    = "hvci_configured"   // the switch in the registry
	PolicySecureConfig  = "secure_boot_state" // the registry's word
	PolicyFile          = "policy_file"       // one for each policy file
)

// Ways for a driver to get into the kernel.
const (
	WayBoot       = "boot_start"    // started by the loader, the kernel or the service manager at boot
	WayService    = "service_start" // started by its registered service on demand, or for its device
	WayNewService = "new_service"   // registered anew by an administrator
)

// Codes of the reasons of a verdict.
const (
	ReasonLoaded     = "loaded"           // the kernel lists the image
	ReasonRunning    = "service_running"  // the service manager calls a service of it running
	ReasonRegistered = "registered"       // a service of it is registered, with its start type
	ReasonDisabled   = "service_disabled" // a service of it is disabled
	ReasonNoService  = "no_service"       // no service names it
	ReasonOnDisk     = "on_disk"          // its file is there
	ReasonNoFile     = "no_file"          // there is no such file
	ReasonUnread     = "unread_file"      // its file could not be read
	ReasonSignature  = "signature"        // what its signature is worth
	ReasonPolicy     = "code_integrity"   // what code integrity makes of it
)

// tri writes a bit as yes, audit (when only the audit bit is set) or no.
func (c CodeIntegrity) tri(on, audit CodeIntegrity) string {
	switch {
	case c&on != 0:
		return "yes"
	case audit != 0 && c&audit != 0:
		return "audit"
	}
	return "no"
}

// TestSign says whether test-signed drivers load: yes or no.
func (c CodeIntegrity) TestSign() string { return c.tri(CITestSign, 0) }

// HVCI says whether the hypervisor enforces code integrity: yes, audit or no.
func (c CodeIntegrity) HVCI() string { return c.tri(CIHVCI, CIHVCIAudit) }

// WHQL says whether only drivers of the hardware programme load: yes, audit or no.
func (c CodeIntegrity) WHQL() string { return c.tri(CIWHQLEnforcement, CIWHQLAudit) }
