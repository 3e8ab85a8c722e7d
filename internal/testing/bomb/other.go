// SPDX-License-Identifier: Apache-2.0

package bomb

import (
	"encoding/binary"
	"strings"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/fakedarwin"
	"github.com/kernelext/kernelext/internal/testing/hivetest"
	"github.com/kernelext/kernelext/internal/testing/kotest"
)

// order is the byte order of what is made here.
var order = binary.LittleEndian

// The other readers.
const (
	Snapshot   = "snapshot"      // the JSON of a Snapshot
	Events     = "events"        // the JSON Lines of a watch
	Tape       = "tape"          // a recording
	BSDImage   = "freebsd image" // the policy and the checks of a FreeBSD disk
	MacFile    = "mac file"      // a property list, a bundle or a collection of macOS
	MacImage   = "mac image"     // what is installed on a disk of macOS
	NetWare    = "netware file"  // a NetWare module
	Hive       = "hive"          // the services of a registry hive
	Reg        = "reg"           // an exported registry
	BlockList  = "block list"    // a policy of blocked drivers
	LinkerHint = "linker hints"  // FreeBSD's linker.hints
)

// otherBombs are files of the other systems, and those of this library.
func otherBombs() []Bomb {
	const record = "kernelext tape 1\nos: linux\n"
	plist := func(text string) func(int) []byte {
		return func(n int) []byte {
			return fakedarwin.InfoPlist("a.b", "1", "x", strings.ReplaceAll(string(numbered("", text, "")(n)),
				"\n", ""))
		}
	}
	bundle := "a.kext/Contents/Info.plist"
	return []Bomb{
		{Name: "snapshot of modules", Of: Snapshot, Make: numbered(`{"schema":0,"os":"linux","modules":[`,
			`{"id":"linux_module:%","kind":"linux_module","name":"%"},`,
			`{"id":"linux_module:m","kind":"linux_module","name":"m"}]}`), Small: 500, Big: 200_000},
		{Name: "event of changes", Of: Events, Make: repeat(`{"type":"change","delta":{"added":[`, `{},`, `{}]}}`),
			Small: 500, Big: 2_000_000},
		{Name: "events of nothing", Of: Events, Make: repeat("", "{}\n", ""), Small: 500, Big: 2_000_000},
		{Name: "snapshot of problems", Of: Snapshot,
			Make: repeat(`{"schema":0,"os":"linux","modules":[],"problems":[`,
				"{},", "{}]}"), Small: 500, Big: 2_000_000},
		{Name: "snapshot of users", Of: Snapshot, Make: repeat(
			`{"schema":0,"os":"linux","modules":[{"id":"linux_module:m","kind":"linux_module","name":"m","usedBy":[`,
			`"",`, `""]}]}`), Small: 500, Big: 2_000_000},
		{Name: "snapshot of parameters", Of: Snapshot, Make: repeat(
			`{"schema":0,"os":"linux","modules":[{"id":"linux_module:m","kind":"linux_module","name":"m",`+
				`"linux":{"parameters":[`,
			`{},`, `{}]}}]}`), Small: 500, Big: 2_000_000},
		{Name: "tape of files", Of: Tape, Make: numbered(record, "-- file % size=1 --\nx\n", "-- end --\n"),
			Small: 500,
			Big:   200_000},
		{Name: "tape of links", Of: Tape, Make: numbered(record, "-- link % --\na\n", "-- end --\n"),
			Small: 500, Big: 200_000},
		{Name: "tape of one directory", Of: Tape, Make: numbered(record+"-- dir d --\n", "f %\n",
			"-- end --\n"), Small: 500,
			Big: 500_000},
		{Name: "tape of lines", Of: Tape, Make: repeat(record+"-- call op --\n", "x\n", "-- end --\n"), Small: 500,
			Big: 2_000_000},
		{Name: "loader.conf", Of: BSDImage, Path: "boot/loader.conf", Make: numbered("", "%_load=\"YES\"\n",
			""), Small: 500,
			Big: 60_000},
		{Name: "program of the boot loader", Of: BSDImage, Path: "boot/lua/core.lua", Make: repeat("",
			"loader.setenv(\"acpi_load\", \"YES\")\n", ""), Small: 500, Big: 60_000},
		{Name: "word of the boot loader", Of: BSDImage, Path: "boot/loader.4th", Make: repeat("",
			"include /boot/x.4th s\" set acpi_load=YES\" ", ""), Small: 500, Big: 60_000},
		{Name: "devd.conf", Of: BSDImage, Path: "etc/devd.conf", Make: numbered("", "action \"kldload %\";\n", ""),
			Small: 500, Big: 60_000},
		{Name: "loader.conf of itself", Of: BSDImage, Path: "boot/loader.conf",
			Make: repeat("a=\"b\"\n", "a=\"${a}${a}\"\n", ""), Small: 20, Big: 60_000},
		{Name: "loader.conf of copies", Of: BSDImage, Path: "boot/loader.conf",
			Make: numbered("a=\""+strings.Repeat("x", 60_000)+"\"\n", "%=$a\n", ""), Small: 300, Big: 100_000},
		{Name: "rc.conf of itself", Of: BSDImage, Path: "etc/rc.conf", Make: repeat("",
			"kld_list=\"${kld_list} a\"\n", ""),
			Small: 4000, Big: 30_000},
		{Name: "rc.conf", Of: BSDImage, Path: "etc/rc.conf", Make: numbered("kld_list=\"", "% ", "\"\n"), Small: 500,
			Big: 100_000},
		{Name: "rc.conf of quotes", Of: BSDImage, Path: "etc/rc.conf", Make: repeat("", "a='b'\\\n", "\n"),
			Small: 500,
			Big:   100_000},
		{Name: "device.hints", Of: BSDImage, Path: "boot/device.hints", Make: numbered("",
			"hint.%.0.at=\"isa\"\n", ""),
			Small: 500, Big: 60_000},
		{Name: "linker.hints", Of: LinkerHint, Path: "boot/kernel/linker.hints", Make: func(n int) []byte {
			h := kotest.Hints{Order: order}
			for i := range n {
				h.Module(number(i), "a.ko")
				h.Version(number(i), 1, "a.ko")
			}
			return h.Bytes()
		}, Small: 500, Big: 30_000},
		{Name: "plist of keys", Of: MacFile, Path: bundle, Make: plist("<key>%</key><string>x</string>"), Small: 200,
			Big: 30_000},
		{Name: "plist of personalities", Of: MacFile, Path: bundle, Make: plist(
			"<key>IOKitPersonalities</key><dict><key>%</key><dict><key>IOClass</key><string>C</string></dict></dict>"),
			Small: 200, Big: 10_000},
		{Name: "plist of libraries", Of: MacFile, Path: bundle, Make: func(n int) []byte {
			return fakedarwin.InfoPlist("a.b", "1", "x", "<key>OSBundleLibraries</key><dict>"+
				string(numbered("", "<key>a.%</key><string>1</string>", "")(n))+"</dict>")
		}, Small: 200, Big: 30_000},
		{Name: "plist of depth", Of: MacFile, Path: bundle, Make: func(n int) []byte {
			return fakedarwin.InfoPlist("a.b", "1", "x",
				"<key>a</key>"+strings.Repeat("<array>", n)+strings.Repeat("</array>", n))
		}, Small: 200, Big: 60_000},
		{Name: "links to one bundle", Of: MacImage, Tree: bundles, Small: 4, Big: 4000},
		{Name: "collection of members", Of: MacFile, Path: "a.kc", Make: func(n int) []byte {
			var prelink strings.Builder
			var ids []string
			prelink.WriteString(`<dict><key>_PrelinkInfoDictionary</key><array>`)
			for i := range n {
				id := "com.a." + number(i)
				ids = append(ids, id)
				prelink.WriteString(fakedarwin.PrelinkKext(id, "1", uint64(i)<<14))
			}
			prelink.WriteString("</array></dict>")
			return fakedarwin.Collection("x86_64", prelink.String(), ids...)
		}, Small: 20, Big: 1000},
		{Name: "NetWare module of names", Of: NetWare, Path: "a.nlm", Make: netware, Small: 500, Big: 60_000},
		{Name: "hive of services", Of: Hive, Make: func(n int) []byte { return hive(n, 1, 8) }, Small: 100,
			Big: 80_000},
		{Name: "hive of shared values", Of: Hive, Make: func(n int) []byte { return hive(n, n, 1000) },
			Small: 50, Big: 4000},
		{Name: "registry of services", Of: Reg, Make: numbered("Windows Registry Editor Version 5.00\r\n",
			"\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\%]\r\n\"Type\"=dword:00000001\r\n", ""),
			Small: 500,
			Big:   60_000},
		{Name: "registry of one value", Of: Reg, Make: repeat("Windows Registry Editor Version 5.00\r\n\r\n"+
			"[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\a]\r\n\"x\"=hex:", "00,\\\r\n  ", "00\r\n"),
			Small: 500,
			Big:   200_000},
		{Name: "registry of one key", Of: Reg, Make: numbered("Windows Registry Editor Version 5.00\r\n\r\n"+
			"[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\a]\r\n", "\"%\"=dword:1\r\n", ""),
			Small: 500, Big: 100_000},
		{Name: "block list of rules", Of: BlockList, Make: numbered(
			`<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><FileRules>`,
			`<Deny ID="ID_DENY_%" FriendlyName="x" FileName="%.sys" MinimumFileVersion="1.0.0.0"/>`,
			`</FileRules></SiPolicy>`), Small: 200, Big: 10_000},
		{Name: "block list of signers", Of: BlockList, Make: numbered(
			`<SiPolicy xmlns="urn:schemas-microsoft-com:sipolicy"><FileRules/><Signers>`,
			`<Signer ID="ID_SIGNER_%" Name="x"><CertRoot Type="TBS" Value="00"/><FileAttribRef RuleID="ID_%"/>`+
				`</Signer>`,
			`</Signers></SiPolicy>`), Small: 200, Big: 10_000},
	}
}

// bundles is one Info.plist of 64 KiB, and n bundles whose Info.plist is a link to it.
func bundles(n int) fstest.MapFS {
	info := fakedarwin.InfoPlist("a.b", "1", "x", strings.Repeat("<key>a</key><string>xxxxxxx</string>", 64<<10/36))
	tree := fstest.MapFS{"Library/Extensions/a.kext/Contents/Info.plist": file(info)}
	for i := range n {
		tree["Library/Extensions/"+number(i)+".kext/Contents/Info.plist"] = link("../../a.kext/Contents/Info.plist")
	}
	return tree
}

// netware is a NetWare module whose tables name n symbols.
func netware(n int) []byte {
	b := kotest.NLM()
	order.PutUint32(b[94:], uint32(len(b)))
	order.PutUint32(b[98:], uint32(n))
	for i := range n {
		b = append(append(b, 7), number(i)...)
		b = order.AppendUint32(b, 0)
	}
	return b
}

// hive is a registry hive with n services, which share a list of values, each of size bytes.
func hive(n, values, size int) []byte { return hiveOf(n, values, make([]byte, size)) }

// LargeHive is a hive of so many services, each with an image path of size bytes, and spare bytes that hold nothing.
func LargeHive(services, size, spare int) []byte {
	return append(hiveOf(services, 1, make([]byte, size)), make([]byte, spare)...)
}

// hiveOf is a registry hive with n services, which share a list of image paths.
func hiveOf(n, values int, image []byte) []byte {
	b := make([]byte, 32)
	cell := func(data []byte) uint32 {
		at := uint32(len(b))
		c := make([]byte, (4+len(data)+7)&^7)
		order.PutUint32(c, uint32(-int32(len(c))))
		copy(c[4:], data)
		b = append(b, c...)
		return at
	}
	words := func(head []byte, list []uint32) uint32 {
		for _, w := range list {
			head = order.AppendUint32(head, w)
		}
		return cell(head)
	}
	value := func(name string, typ uint32, data []byte) uint32 {
		c := make([]byte, 20)
		copy(c, "vk")
		order.PutUint16(c[2:], uint16(len(name)))
		order.PutUint32(c[12:], typ)
		c[16] = 1
		order.PutUint32(c[4:], uint32(len(data)))
		if len(data) <= 4 {
			copy(c[8:], data)
			order.PutUint32(c[4:], uint32(len(data))|1<<31)
		} else {
			order.PutUint32(c[8:], cell(data))
		}
		return cell(append(c, name...))
	}
	shared := value("ImagePath", 1, image)
	list := []uint32{value("Type", 4, []byte{1, 0, 0, 0})}
	for range min(values, 4000) {
		list = append(list, shared)
	}
	listAt, count := words(nil, list), uint32(len(list))
	choice := words(nil, []uint32{value("Default", 4, []byte{1, 0, 0, 0})})
	key := func(name string, subs []uint32, count, listAt uint32) uint32 {
		c := make([]byte, 76)
		copy(c, "nk")
		c[2] = 0x20
		order.PutUint32(c[20:], uint32(len(subs)))
		var parts []uint32
		for at := 0; at < len(subs); at += 60_000 {
			part := subs[at:min(at+60_000, len(subs))]
			parts = append(parts, words(order.AppendUint16([]byte("li"), uint16(len(part))), part))
		}
		if len(parts) > 0 {
			order.PutUint32(c[28:], words(order.AppendUint16([]byte("ri"), uint16(len(parts))), parts))
		}
		order.PutUint32(c[36:], count)
		order.PutUint32(c[40:], listAt)
		order.PutUint16(c[72:], uint16(len(name)))
		return cell(append(c, name...))
	}
	var services []uint32
	for i := range n {
		services = append(services, key(number(i), nil, count, listAt))
	}
	set := key("ControlSet001", []uint32{key("Services", services, 0, 0)}, 0, 0)
	choose := key("Select", nil, 1, choice)
	head := make([]byte, 4096)
	copy(head, "regf")
	order.PutUint32(head[36:], key("ROOT", []uint32{choose, set}, 0, 0))
	return append(hivetest.Seal(head, 1, 1), append(b, make([]byte, 64)...)...)
}
