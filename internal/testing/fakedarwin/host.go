// SPDX-License-Identifier: Apache-2.0

package fakedarwin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"testing/fstest"
	"time"

	"howett.net/plist"
)

// Clock is the time on every made-up Mac.
var Clock = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)

// A Host is a made-up Mac.
type Host struct {
	// Release is the kernel's, Arch the machine's in uname's words.
	Release, Arch string
	// User asks as an ordinary user.
	User bool
	// Denied refuses the kernel's list, as a sandbox does; Tools answers kmutil all the same.
	Denied, Tools bool
	// Plain is how many kexts of Apple's are loaded beside the special ones.
	Plain int
}

// Intel is a Mac of macOS 11 with an Intel processor, a vendor's kext and some of Apple's.
func Intel() Host { return Host{Release: "20.4.0", Arch: "x86_64", Plain: 6} }

// Silicon is an Apple silicon Mac of macOS 15, where auxiliary kexts have no address.
func Silicon() Host { return Host{Release: "24.5.0", Arch: "arm64", Plain: 6} }

// Sandboxed is the Intel Mac seen from a sandbox, with kmutil allowed.
func Sandboxed() Host {
	h := Intel()
	h.Denied, h.Tools = true, true
	return h
}

// A kext is one that is loaded.
type kext struct {
	id, version, path, collection string
	tag, refs, size               int
	address                       uint64
	uuid                          string
	links                         []int
	kpi                           bool
}

func (h Host) kexts() []kext {
	kernel := "kernel-uuid-----"
	list := []kext{
		{id: "__kernel__", version: h.Release, uuid: kernel, size: 0, collection: "Primary"},
		{id: "com.apple.kpi.bsd", version: h.Release, tag: 1, refs: 40, uuid: kernel, kpi: true, collection: "Primary"},
		{id: "com.apple.kpi.iokit", version: h.Release, tag: 3, refs: 50, uuid: kernel,
			kpi: true, collection: "Primary"},
		{id: "com.apple.kpi.libkern", version: h.Release, tag: 5, refs: 60, uuid: kernel,
			kpi: true, collection: "Primary"},
	}
	base := uint64(0xffffff8003000000)
	if h.Arch == "arm64" {
		base = 0xfffffe0007000000
	}
	for i := range h.Plain {
		name := fmt.Sprintf("com.apple.driver.Made%03d", i)
		k := kext{id: name, version: fmt.Sprintf("1.%d.0", i), path: "/System/Library/Extensions/Made" +
			fmt.Sprintf("%03d", i) + ".kext", collection: "Primary",
			tag: 10 + i, refs: i % 3, size: 0x4000 + 0x1000*i, address: base + uint64(i)*0x10000,
			uuid: fmt.Sprintf("member-%09d", i), links: []int{1, 3, 5}}
		if i > 0 {
			k.links = append(k.links, 10+i-1)
		}
		list = append(list, k)
	}
	vendor := kext{id: "com.vendor.driver", version: "1.2.2",
		path: "/Library/StagedExtensions/Library/Extensions/Driver.kext", collection: "Auxiliary",
		tag: 9000, size: 0x18b0, address: base + 0x50000000, uuid: "uuid-of-x86-----", links: []int{1, 5, 8888}}
	if h.Arch == "arm64" {
		vendor.address, vendor.uuid = 0, "uuid-of-arm-----"
	}
	return append(list, vendor)
}

// LoadedInfo is the answer of KextManagerCopyLoadedKextInfo.
func (h Host) LoadedInfo() []byte {
	all := make(map[string]any)
	for _, k := range h.kexts() {
		m := map[string]any{
			"CFBundleIdentifier": k.id, "CFBundleVersion": k.version, "CFBundlePackageType": "KEXT",
			"OSBundleLoadTag": k.tag, "OSBundleRetainCount": k.refs,
			"OSBundleLoadAddress": int64(k.address), "OSBundleLoadSize": k.size, "OSBundleWiredSize": k.size,
			"OSBundleUUID":    []byte(k.uuid),
			"OSBundleStarted": true, "OSBundlePrelinked": true, "OSKernelResource": k.kpi, "OSBundleIsInterface": k.kpi,
			"_BundleCollectionType": k.collection,
		}
		if k.path != "" {
			m["OSBundlePath"] = k.path
			m["OSBundleExecutablePath"] = k.path + "/Contents/MacOS/Driver"
		}
		if k.links != nil {
			m["OSBundleDependencies"] = k.links
		}
		if !k.kpi && k.tag > 0 {
			m["OSBundleCompatibleVersion"] = "1.0"
			m["OSBundleCPUType"], m["OSBundleCPUSubtype"] = 0x01000007, 3
			if h.Arch == "arm64" {
				m["OSBundleCPUType"], m["OSBundleCPUSubtype"] = 0x0100000c, 2
			}
		}
		all[k.id] = m
	}
	b, err := plist.Marshal(all, plist.BinaryFormat)
	if err != nil {
		panic(err)
	}
	return b
}

// Kmutil is the output of kmutil showloaded.
func (h Host) Kmutil() string {
	var b strings.Builder
	b.WriteString("No variant specified, falling back to release\nIndex Refs Address            Size       Wired     " +
		" Name (Version) UUID <Linked Against>\n")
	hex := func(v uint64) string {
		if v == 0 {
			return "0"
		}
		return fmt.Sprintf("0x%x", v)
	}
	for _, k := range h.kexts() {
		if k.tag == 0 {
			continue
		}
		links := make([]string, 0, len(k.links))
		for i := len(k.links) - 1; i >= 0; i-- {
			links = append(links, fmt.Sprint(k.links[i]))
		}
		u := []byte(k.uuid)
		fmt.Fprintf(&b, "%5d %4d %-18s %-10s %-10s %s (%s) %X-%X-%X-%X-%X <%s>\n", k.tag, k.refs, hex(k.address),
			hex(uint64(k.size)), hex(uint64(k.size)), k.id, k.version,
			u[:4], u[4:6], u[6:8], u[8:10], u[10:], strings.Join(links, " "))
	}
	return b.String()
}

// Files are the files of the Mac.
func (h Host) Files() fstest.MapFS {
	_, sign := Developer("Developer ID Application: Vendor (ABCDE12345)", "ABCDE12345")
	files := BundleFiles("Library/Extensions/Driver.kext", "com.vendor.driver",
		&Signer{Identifier: "com.vendor.driver", Team: "ABCDE12345", Flags: 0x10000, CMS: sign})
	_, apple := Developer("Software Signing", "")
	var members, ids []string
	for _, k := range h.kexts() {
		if k.tag < 10 || k.tag >= 9000 {
			continue
		}
		dir := strings.TrimPrefix(k.path, "/") + "/Contents/"
		match := fmt.Sprintf(`<key>IOKitPersonalities</key><dict><key>Device</key><dict><key>IOClass</key>`+
			`<string>Made</string><key>IOProviderClass</key><string>IOPCIDevice</string><key>IOPCIPrimaryMatch</key>`+
			`<string>0x%04x8086</string></dict></dict>`, k.tag)
		files[dir+"Info.plist"] = &fstest.MapFile{Data: InfoPlist(k.id, k.version, "Driver", match), Mode: 0o644}
		if k.tag%2 == 0 { // the others are in the collection only
			code := KextCode("x86_64", k.uuid, &Signer{Identifier: k.id, Platform: 1, CMS: apple})
			if h.Arch == "arm64" {
				code = KextCode("arm64e", k.uuid, &Signer{Identifier: k.id, Platform: 1, CMS: apple})
			}
			files[dir+"MacOS/Driver"] = &fstest.MapFile{Data: code, Mode: 0o755}
		}
		members = append(members, PrelinkKext(k.id, k.version, k.address))
		ids = append(ids, k.id)
	}
	info := func(kc, boot byte, members []string) string {
		text := `<dict><key>_PrelinkKCID</key>` + KCID(kc)
		if boot > 0 {
			text += `<key>_BootKCID</key>` + KCID(boot)
		}
		return text + `<key>_PrelinkInfoDictionary</key><array>` + strings.Join(members, "") + `</array></dict>`
	}
	arch := "x86_64"
	boot := "System/Library/KernelCollections/BootKernelExtensions.kc"
	aux := "Library/KernelCollections/AuxiliaryKernelExtensions.kc"
	if h.Arch == "arm64" {
		arch = "arm64e"
		dir := "System/Volumes/Preboot/0A1B2C3D/boot/DEADBEEF/System/Library/Caches/com.apple.kernelcaches/"
		boot, aux = dir+"kernelcache", dir+"AuxiliaryKernelExtensions.kc"
	}
	bootKC := Collection(arch, info(1, 0, members), ids...)
	auxKC := Collection(arch, info(2, 1, []string{PrelinkKext("com.vendor.driver", "1.2.2", 0)}), "com.vendor.driver")
	if h.Arch == "arm64" {
		bootKC, auxKC = IM4P("krnl", bootKC), IM4P("auxk", auxKC)
	}
	files[boot], files[aux] = &fstest.MapFile{Data: bootKC, Mode: 0o644}, &fstest.MapFile{Data: auxKC, Mode: 0o644}
	files["Library/Extensions/Codeless.kext/Contents/Info.plist"] = &fstest.MapFile{Mode: 0o644,
		Data: InfoPlist("com.vendor.codeless", "3", "",
			`<key>IOKitPersonalities</key><dict><key>USB</key><dict><key>IOClass</key><string>IOService</string>`+
				`<key>IOProviderClass</key><string>IOUSBHostDevice</string><key>idVendor</key><integer>1452</integer>`+
				`<key>idProduct</key><integer>4660</integer></dict></dict>`)}
	files["Library/Extensions/Broken.kext/Contents/Info.plist"] = &fstest.MapFile{Mode: 0o644,
		Data: []byte("bplist00 broken")}
	files["Library/SystemExtensions/db.plist"] = &fstest.MapFile{Mode: 0o644,
		Data: []byte(`<plist><dict><key>bootUUID</key><string>B</string><key>developerMode</key><false/>` +
			`<key>extensions</key><array><dict><key>identifier</key><string>com.vendor.usb</string><key>teamID</key>` +
			`<string>ABCDE12345</string><key>state</key><string>activated_enabled</string><key>categories</key>` +
			`<array><string>com.apple.system_extension.driver_extension</string></array><key>bundleVersion</key>` +
			`<dict><key>CFBundleShortVersionString</key><string>2.0</string><key>CFBundleVersion</key>` +
			`<string>2</string></dict><key>stagedBundleURL</key><dict><key>relative</key>` +
			`<string>file:///Library/SystemExtensions/U/com.vendor.usb.dext/` +
			`</string></dict></dict></array></dict></plist>`)}
	files["private/var/db/SystemPolicyConfiguration/KextPolicy"] = &fstest.MapFile{Mode: 0o600,
		Data: KextPolicy([]any{"ABCDE12345", "com.vendor.driver", 1, "Vendor", 1},
			[]any{"ZZZZZ12345", "com.other.driver", 0, "Other", 1})}
	files["System/Library/CoreServices/SystemVersion.plist"] = &fstest.MapFile{Mode: 0o644,
		Data: []byte(`<plist><dict><key>ProductVersion</key><string>11.3</string></dict></plist>`)}
	return files
}

// A Machine answers for a host.
type Machine struct {
	fstest.MapFS
	host  Host
	calls map[string][]byte
}

// Machine returns the host as a machine.
func (h Host) Machine() *Machine {
	id := "euid 0\n"
	if h.User {
		id = "euid 501\n"
	}
	return &Machine{h.Files(), h, map[string][]byte{
		"uname": fmt.Appendf(nil, "release %s\nversion Darwin Kernel Version %s: made up\nmachine %s\n",
			h.Release, h.Release, h.Arch),
		"clock": []byte(Clock.Format(time.RFC3339Nano)), "identity": []byte(id),
		"sysctl kern.bootsessionuuid": []byte("0F0F0F0F-1111-2222-3333-444455556666"),
		"csr-active-config":           []byte("0x00000000\n"), "kextmanager-loaded-info": h.LoadedInfo(),
		"kmutil-showloaded": []byte(h.Kmutil()),
	}}
}

// Call answers the calls.
func (m *Machine) Call(_ context.Context, op string, args ...string) ([]byte, error) {
	key := strings.Join(append([]string{op}, args...), " ")
	if op == "kextmanager-loaded-info" && m.host.Denied {
		return nil, fmt.Errorf("call %s: the kernel refused: %w", op, fs.ErrPermission)
	}
	b, ok := m.calls[key]
	if !ok || op == "kmutil-showloaded" && !m.host.Tools {
		return nil, fmt.Errorf("call %s: %w", key, errors.ErrUnsupported)
	}
	return b, nil
}

// Open opens a file, unless only root may.
func (m *Machine) Open(name string) (fs.File, error) {
	if st, err := m.MapFS.Stat(name); err == nil && m.host.User && st.Mode().IsRegular() && st.Mode()&4 == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return m.MapFS.Open(name)
}

// Names are the files' names, sorted.
func (m *Machine) Names() []string {
	names := make([]string, 0, len(m.MapFS))
	for name := range m.MapFS {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
