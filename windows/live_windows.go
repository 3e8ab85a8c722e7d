// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/windows/pe"
	"github.com/kernelext/kernelext/windows/registry"
)

// Call answers the ops of this package on the running system, except WMI's.
func Call(ctx context.Context, op string, args ...string) ([]byte, error) {
	b, err := call(ctx, op, args)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", op, meaning(err))
	}
	return b, nil
}

func call(ctx context.Context, op string, args []string) ([]byte, error) {
	switch {
	case op == OpRegistry && len(args) == 1:
		return readKey(args[0])
	case op == OpSubkeys && len(args) == 1:
		keys, err := subkeysOf(ctx, args[0])
		if err != nil {
			return nil, err
		}
		return registry.AppendText(nil, keys), nil
	case op == OpLongPath && len(args) == 1:
		return longPath(args[0])
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("arguments: %w", errors.ErrUnsupported)
	}
	switch op {
	case OpUname:
		return uname()
	case OpClock:
		return []byte(time.Now().UTC().Format(time.RFC3339Nano)), nil
	case OpIdentity:
		return identity(), nil
	case OpPaths:
		return paths()
	case OpModulesEx:
		return query(ctx, windows.SystemModuleInformationEx)
	case OpModules:
		return query(ctx, windows.SystemModuleInformation)
	case OpCodeIntegrity:
		return queryCodeIntegrity()
	case OpSecureBoot:
		return queryFixed(windows.SystemSecureBootInformation, 2)
	case OpKernelDebugger:
		return queryFixed(windows.SystemKernelDebuggerInformation, 2)
	case OpIsolatedUserMode:
		return queryFixed(windows.SystemIsolatedUserModeInformation, 16)
	case OpServices:
		return services(ctx, servicesPage)
	case OpServiceKeys:
		return serviceKeys(ctx)
	case OpDriverPackages:
		return driverPackages(ctx)
	case OpDevices:
		return devices(ctx)
	case OpFilters:
		return filters(ctx)
	}
	return nil, errors.ErrUnsupported
}

// meaning gives Windows' errors the sentinels that they stand for.
func meaning(err error) error {
	var status windows.NTStatus
	if errors.As(err, &status) {
		switch status {
		case windows.STATUS_INVALID_INFO_CLASS, windows.STATUS_NOT_IMPLEMENTED, windows.STATUS_NOT_SUPPORTED,
			windows.STATUS_INVALID_PARAMETER:
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, status)
		case windows.STATUS_ACCESS_DENIED, windows.STATUS_PRIVILEGE_NOT_HELD:
			return fmt.Errorf("%w: %w", fs.ErrPermission, status)
		}
		return err
	}
	var errno windows.Errno
	if errors.As(err, &errno) {
		switch errno {
		case windows.ERROR_PRIVILEGE_NOT_HELD:
			return fmt.Errorf("%w: %w", fs.ErrPermission, errno)
		case windows.ERROR_MOD_NOT_FOUND, windows.ERROR_PROC_NOT_FOUND, windows.ERROR_CALL_NOT_IMPLEMENTED:
			return fmt.Errorf("%w: %w", errors.ErrUnsupported, errno)
		}
	}
	return err
}

const maxQuery = 64 << 20

// query asks for a list whose size can change between two calls.
func query(ctx context.Context, class int32) ([]byte, error) {
	buf := make([]byte, 128<<10)
	for len(buf) <= maxQuery {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var used uint32
		err := windows.NtQuerySystemInformation(class, unsafe.Pointer(&buf[0]), uint32(len(buf)), &used)
		if err == nil {
			return buf[:min(int(used), len(buf))], nil
		}
		if !errors.Is(err, windows.STATUS_INFO_LENGTH_MISMATCH) {
			return nil, err
		}
		buf = make([]byte, max(2*len(buf), int(used)+64<<10))
	}
	return nil, fmt.Errorf("%w: more than %d bytes", fact.ErrTooLarge, maxQuery)
}

func queryFixed(class int32, size int) ([]byte, error) {
	buf := make([]byte, size)
	var used uint32
	if err := windows.NtQuerySystemInformation(class, unsafe.Pointer(&buf[0]), uint32(size), &used); err != nil {
		return nil, err
	}
	return buf, nil
}

func queryCodeIntegrity() ([]byte, error) {
	buf := binary.LittleEndian.AppendUint32(nil, 8)
	buf = append(buf, 0, 0, 0, 0)
	var used uint32
	err := windows.NtQuerySystemInformation(windows.SystemCodeIntegrityInformation, unsafe.Pointer(&buf[0]), 8, &used)
	if err != nil {
		return nil, err
	}
	return buf, nil
}

const currentVersion = `SOFTWARE\Microsoft\Windows NT\CurrentVersion`

func uname() ([]byte, error) {
	v := windows.RtlGetVersion()
	release := fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
	out := fmt.Appendf(nil, "release %s\n", release)
	if k, err := registry.LiveKey(currentVersion, "UBR", "BuildLabEx"); err == nil {
		if ubr, ok := k.Dword("UBR"); ok {
			out = fmt.Appendf(out, "version %s.%d\n", release, ubr)
		}
		if lab, ok := k.Text("BuildLabEx"); ok {
			out = fmt.Appendf(out, "build %s\n", registry.OneLine(lab))
		}
	}
	return fmt.Appendf(out, "machine %s\n", nativeMachine()), nil
}

// nativeMachine is the processor of the kernel, which may differ from that of this program.
func nativeMachine() string {
	var process, native uint16
	if err := windows.IsWow64Process2(windows.CurrentProcess(), &process, &native); err == nil && native != 0 {
		return pe.MachineName(native)
	}
	return runtime.GOARCH
}

func isWOW64() bool {
	var wow bool
	err := windows.IsWow64Process(windows.CurrentProcess(), &wow)
	return err == nil && wow
}

func identity() []byte {
	token := windows.GetCurrentProcessToken()
	out := fmt.Appendf(nil, "elevated %s\n", fact.TriOf(token.IsElevated()))
	return fmt.Appendf(out, "debug %s\n", hasDebug(token))
}

// hasDebug says whether SeDebugPrivilege is enabled; unknown when the token cannot be read.
func hasDebug(token windows.Token) fact.Tri {
	name, err := windows.UTF16PtrFromString("SeDebugPrivilege")
	if err != nil {
		return ""
	}
	var luid windows.LUID
	if err := windows.LookupPrivilegeValue(nil, name, &luid); err != nil {
		return ""
	}
	var size uint32
	_ = windows.GetTokenInformation(token, windows.TokenPrivileges, nil, 0, &size)
	if size == 0 || size > 64<<10 {
		return ""
	}
	buf := make([]byte, size)
	if err := windows.GetTokenInformation(token, windows.TokenPrivileges, &buf[0], size, &size); err != nil {
		return ""
	}
	privs := (*windows.Tokenprivileges)(unsafe.Pointer(&buf[0]))
	for _, p := range privs.AllPrivileges() {
		if p.Luid == luid {
			return fact.TriOf(p.Attributes&windows.SE_PRIVILEGE_ENABLED != 0)
		}
	}
	return fact.No
}

func paths() ([]byte, error) {
	root, err := windows.GetSystemWindowsDirectory()
	if err != nil {
		return nil, err
	}
	out := fmt.Appendf(nil, "systemroot %s\n", root)
	if isWOW64() {
		out = append(out, "sysnative yes\n"...)
	}
	mask, err := windows.GetLogicalDrives()
	if err != nil {
		return out, nil
	}
	for i := range 26 {
		if mask&(1<<i) == 0 {
			continue
		}
		drive := string(rune('A'+i)) + ":"
		name, err := windows.UTF16PtrFromString(drive)
		if err != nil {
			continue
		}
		var target [1024]uint16
		n, err := windows.QueryDosDevice(name, &target[0], uint32(len(target)))
		if err != nil || n == 0 {
			continue
		}
		out = fmt.Appendf(out, "device %s %s\n", drive, registry.OneLine(windows.UTF16ToString(target[:n])))
	}
	return out, nil
}

// longPath asks the file system for the names that short ones stand for.
func longPath(dos string) ([]byte, error) {
	short, err := windows.UTF16PtrFromString(dos)
	if err != nil {
		return nil, err
	}
	buf := make([]uint16, 1024)
	n, err := windows.GetLongPathName(short, &buf[0], uint32(len(buf)))
	if err != nil {
		return nil, err
	}
	if int(n) > len(buf) {
		return nil, fmt.Errorf("%w: a path of %d characters", fact.ErrTooLarge, n)
	}
	return []byte(windows.UTF16ToString(buf[:n])), nil
}

// servicesPage is the largest page that the service manager fills, in bytes.
const servicesPage = 256 << 10

// services pages through the service manager with the least rights that list.
func services(ctx context.Context, size int) ([]byte, error) {
	scm, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return nil, err
	}
	defer windows.CloseServiceHandle(scm)
	buf := make([]byte, size)
	var out []byte
	var resume uint32
	for page := 0; page < 1024; page++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var needed, count uint32
		err := windows.EnumServicesStatusEx(scm, windows.SC_ENUM_PROCESS_INFO, serviceTypeDriver,
			windows.SERVICE_STATE_ALL,
			&buf[0], uint32(size), &needed, &count, &resume, nil)
		if err != nil && (count == 0 || !errors.Is(err, windows.ERROR_MORE_DATA)) {
			return nil, err
		}
		if int(count) > size/int(unsafe.Sizeof(windows.ENUM_SERVICE_STATUS_PROCESS{})) {
			return nil, fmt.Errorf("%w: %d services on one page", fact.ErrMalformed, count)
		}
		for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&buf[0])), count) {
			p := s.ServiceStatusProcess
			out = appendJSONLine(out, ServiceStatus{
				Name: windows.UTF16PtrToString(s.ServiceName), DisplayName: windows.UTF16PtrToString(s.DisplayName),
				Type: p.ServiceType, State: p.CurrentState, Controls: p.ControlsAccepted, ExitCode: p.Win32ExitCode,
				ServiceExitCode: p.ServiceSpecificExitCode, ProcessID: p.ProcessId, Flags: p.ServiceFlags,
			})
		}
		if err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: more than 1024 pages", fact.ErrTooLarge)
}

// readKey reads one key whole, without its subkeys.
func readKey(path string) ([]byte, error) {
	key, err := registry.LiveKey(path)
	if err != nil {
		return nil, err
	}
	return registry.AppendText(nil, []registry.Key{key}), nil
}

// serviceValues are the values of a service that registeredService has.
var serviceValues = []string{"Type", "Start", "ErrorControl", "Tag", "ImagePath", "DisplayName", "Group", "ObjectName",
	"DependOnService", "DependOnGroup", "Owners"}

const servicesPath = `SYSTEM\CurrentControlSet\Services`

func serviceKeys(ctx context.Context) ([]byte, error) {
	names, err := registry.LiveNames(servicesPath, maxServices)
	if err != nil {
		return nil, err
	}
	keys := []registry.Key{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		keys = appendService(keys, servicesPath+`\`+name)
	}
	return registry.AppendText(nil, keys), nil
}

// appendKey adds a key, with those of its values that are named or with all. One that cannot be read is refused, and in
// the list; one that is not there is not.
func appendKey(keys []registry.Key, path string, values ...string) []registry.Key {
	key, err := registry.LiveKey(path, values...)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, windows.ERROR_KEY_DELETED):
		return keys
	case err != nil:
		key = registry.Key{Path: `HKEY_LOCAL_MACHINE\` + path, Refused: true}
	}
	return append(keys, key)
}

// appendService adds a service's key if it is a driver's, and those of its filter instances. A
// key that cannot be opened may be one.
func appendService(keys []registry.Key, path string) []registry.Key {
	n := len(keys)
	keys = appendKey(keys, path, serviceValues...)
	if len(keys) == n || keys[n].Refused {
		return keys
	}
	if !mayBeDriver(&keys[n]) {
		return keys[:n]
	}
	keys = appendKey(keys, path+`\`+overrideKey)
	for _, sub := range []string{`\Instances`, `\Parameters\Instances`} {
		in, err := registry.LiveKey(path+sub, "DefaultInstance")
		if err != nil {
			continue
		}
		keys = append(keys, in)
		names, err := registry.LiveNames(path+sub, 256)
		if err != nil {
			keys[len(keys)-1].Partial = true
			continue
		}
		for _, name := range names {
			keys = appendKey(keys, path+sub+`\`+name, "Altitude", "Flags")
		}
	}
	return keys
}

// driverPackages reads the store's keys of both hives that may have them.
func driverPackages(ctx context.Context) ([]byte, error) {
	var first error
	keys, found := []registry.Key{}, false
	for _, path := range []string{`SYSTEM\DriverDatabase\DriverPackages`, `DRIVERS\DriverDatabase\DriverPackages`} {
		list, err := subkeysOf(ctx, path)
		if err != nil {
			if first = cmp.Or(first, err); !errors.Is(err, fs.ErrNotExist) {
				keys = append(keys, registry.Key{Path: `HKEY_LOCAL_MACHINE\` + path, Refused: true})
			}
			continue
		}
		keys, found = append(keys, list...), true
	}
	if !found || ctx.Err() != nil {
		return nil, cmp.Or(ctx.Err(), first)
	}
	return registry.AppendText(nil, keys), nil
}

// subkeysOf reads the direct subkeys of a key whole.
func subkeysOf(ctx context.Context, path string) ([]registry.Key, error) {
	names, err := registry.LiveNames(path, maxServices)
	if err != nil {
		return nil, err
	}
	keys := []registry.Key{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		keys = appendKey(keys, path+`\`+name)
	}
	return keys, nil
}

// devices asks SetupAPI for properties only: building driver lists takes seconds of all cores.
func devices(ctx context.Context) ([]byte, error) {
	set, err := windows.SetupDiGetClassDevsEx(nil, "", 0, windows.DIGCF_ALLCLASSES|windows.DIGCF_PRESENT, 0, "")
	if err != nil {
		return nil, err
	}
	defer set.Close()
	var out []byte
	for i := 0; i <= maxServices; i++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := set.EnumDeviceInfo(i)
		if errors.Is(err, windows.ERROR_NO_MORE_ITEMS) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if d, ok := device(set, data); ok {
			out = appendJSONLine(out, d)
		}
	}
	return nil, fmt.Errorf("%w: more than %d devices", fact.ErrTooLarge, maxServices)
}

func device(set windows.DevInfo, data *windows.DevInfoData) (Device, bool) {
	id, err := set.DeviceInstanceID(data)
	if err != nil || id == "" {
		return Device{}, false
	}
	text := func(p windows.SPDRP) string {
		v, err := set.DeviceRegistryProperty(data, p)
		if s, ok := v.(string); ok && err == nil {
			return s
		}
		return ""
	}
	list := func(p windows.SPDRP) []string {
		v, err := set.DeviceRegistryProperty(data, p)
		if s, ok := v.([]string); ok && err == nil {
			return s
		}
		return nil
	}
	d := Device{
		Instance: id, Service: text(windows.SPDRP_SERVICE), Description: text(windows.SPDRP_DEVICEDESC),
		FriendlyName: text(windows.SPDRP_FRIENDLYNAME), Class: text(windows.SPDRP_CLASS),
		ClassGUID: strings.Trim(fold(text(windows.SPDRP_CLASSGUID)), "{}"), DriverKey: text(windows.SPDRP_DRIVER),
		HardwareIDs: list(windows.SPDRP_HARDWAREID), Manufacturer: text(windows.SPDRP_MFG),
		UpperFilters: list(windows.SPDRP_UPPERFILTERS), LowerFilters: list(windows.SPDRP_LOWERFILTERS),
	}
	if d.DriverKey != "" {
		addClassKey(&d)
	}
	var status, problem uint32
	if err := windows.CM_Get_DevNode_Status(&status, &problem, data.DevInst, 0); err == nil {
		d.ProblemCode = fact.CountOf(0)
		if status&windows.DN_HAS_PROBLEM != 0 {
			d.ProblemCode = fact.CountOf(int64(problem))
		}
	}
	return d, true
}

// classValues are the values of a driver's own key that Device has.
var classValues = []string{"InfPath", "InfSection", "DriverVersion", "DriverDate", "ProviderName", "MatchingDeviceId"}

// addClassKey adds what the driver's own key says of its INF.
func addClassKey(d *Device) {
	if key, err := registry.LiveKey(`SYSTEM\CurrentControlSet\Control\Class\`+d.DriverKey, classValues...); err == nil {
		d.setClassKey(&key)
	}
}

// filters lists the filter manager's filters; the privilege to load drivers is needed.
func filters(ctx context.Context) ([]byte, error) {
	lib := windows.NewLazySystemDLL("fltlib.dll")
	first, next, closeFind := lib.NewProc("FilterFindFirst"), lib.NewProc("FilterFindNext"),
		lib.NewProc("FilterFindClose")
	for _, p := range []*windows.LazyProc{first, next, closeFind} {
		if err := p.Find(); err != nil {
			return nil, fmt.Errorf("%w: %v", errors.ErrUnsupported, err)
		}
	}
	const aggregateStandard = 1
	buf := make([]byte, 4096)
	var used uint32
	var handle windows.Handle
	hr, _, _ := first.Call(aggregateStandard, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
		uintptr(unsafe.Pointer(&used)), uintptr(unsafe.Pointer(&handle)))
	if uint32(hr) == hresult(windows.ERROR_NO_MORE_ITEMS) {
		return []byte{}, nil
	}
	if hr != 0 {
		return nil, hresultError(uint32(hr))
	}
	defer closeFind.Call(uintptr(handle))
	var out []byte
	last := 0
	for n := 0; n < 4096; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n > 0 {
			binary.LittleEndian.PutUint32(out[last:], uint32(len(out)-last))
		}
		last = len(out)
		entry := append([]byte(nil), buf[:min(int(used), len(buf))]...)
		if len(entry) < 12 {
			return nil, fmt.Errorf("%w: filter entry of %d bytes", fact.ErrMalformed, len(entry))
		}
		binary.LittleEndian.PutUint32(entry, 0)
		out = append(out, entry...)
		hr, _, _ = next.Call(uintptr(handle), aggregateStandard, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
			uintptr(unsafe.Pointer(&used)))
		if uint32(hr) == hresult(windows.ERROR_NO_MORE_ITEMS) {
			return out, nil
		}
		if hr != 0 {
			return nil, hresultError(uint32(hr))
		}
	}
	return out, nil
}

func hresult(e windows.Errno) uint32 { return 0x80070000 | uint32(e)&0xffff }

// hresultError turns a HRESULT that wraps a Windows error back into it.
func hresultError(hr uint32) error {
	if hr&0xffff0000 == 0x80070000 {
		return windows.Errno(hr & 0xffff)
	}
	if hr == 0x80004001 { // E_NOTIMPL
		return fmt.Errorf("%w: HRESULT %#x", errors.ErrUnsupported, hr)
	}
	return fmt.Errorf("HRESULT %#x", hr)
}
