// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/kernelext/kernelext/lkm"
)

// A directory, a zip file, a test's map: any file system can be an image, of any system on any system.
func ExampleOpenImage() {
	sys, err := lkm.OpenImage(hardened, lkm.Options{}) // or disk, err := lkm.Dir("/mnt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	_, err = sys.Snapshot(context.Background()) // an image runs no kernel
	fmt.Println(sys.OS(), errors.Is(err, errors.ErrUnsupported))
	snap, err := sys.SnapshotOf(context.Background(), lkm.ScopeInstalled)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range snap.Modules {
		fmt.Println(m.Name, m.Path)
	}
	// Output:
	// linux true
	// cramfs /lib/modules/6.1.0/kernel/fs/cramfs/cramfs.ko
	// udf /lib/modules/6.1.0/kernel/fs/udf/udf.ko
}

// In a container, the host's root is mounted somewhere: its kernel is the one that runs.
func ExampleOpen_container() {
	sys, err := lkm.Open(lkm.Options{HostRoot: "/host"})
	if err != nil {
		fmt.Println("start the container with -v /:/host:ro:", err)
		return
	}
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println(err) // names /host/proc/modules
		return
	}
	fmt.Println(len(snap.Modules), "modules")
}

// A file by itself is known by its content: .ko, .ko.xz, .sys, a kext's folder, .nlm, on any system.
func ExampleReadFile() {
	files := fstest.MapFS{"Made.kext/Contents/Info.plist": {Data: []byte(`<plist version="1.0"><dict>
		<key>CFBundleIdentifier</key><string>com.example.made</string>
		<key>CFBundlePackageType</key><string>KEXT</string>
		<key>CFBundleVersion</key><string>1.2</string>
	</dict></plist>`)}} // os.DirFS("/Library/Extensions")
	modules, err := lkm.ReadFile(context.Background(), files, "Made.kext", lkm.Options{Detail: lkm.DetailFiles})
	if err != nil {
		fmt.Println(err) // names the file, and what is wrong with it
		return
	}
	for _, m := range modules {
		fmt.Println(m.ID, m.State, m.Version)
	}
	// Output: macos_kext:com.example.made installed 1.2
}

// The keys that a kernel trusts, from files: what they signed is valid, and the set's name says by which.
func ExampleReadKeys() {
	files := fstest.MapFS{"vendor.pem": {Data: []byte("-----BEGIN CERTIFICATE-----\n")}}
	keys, err := lkm.ReadKeys(files, "vendor.pem", "mok.der") // os.DirFS("/etc/keys")
	fmt.Println(len(keys), errors.Is(err, lkm.ErrMalformed), errors.Is(err, fs.ErrNotExist))
	o := lkm.Options{Keys: keys, Trust: lkm.TrustCaller} // no keys but these
	fmt.Println(o.Trust.Includes(lkm.TrustMicrosoft))
	// Output:
	// 0 true true
	// false
}

// Thousands of modules are on disk: they come one by one.
func ExampleSystem_Installed() {
	sys, err := lkm.OpenImage(hardened, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	for m, err := range sys.Installed(context.Background()) {
		if err != nil {
			fmt.Println("the list ends here:", err)
			return
		}
		fmt.Println(m.ID, m.State)
	}
	// Output:
	// linux_module:cramfs installed
	// linux_module:udf installed
}

// A device names its drivers by a modalias, a file system by its own alias.
func ExampleSystem_Resolve() {
	sys, err := lkm.OpenImage(hardened, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	for _, alias := range []string{"fs-cramfs", "fs-none"} {
		modules, err := sys.Resolve(context.Background(), alias)
		if err != nil {
			fmt.Println("not everything could be read:", err)
			return
		}
		fmt.Println(alias, len(modules))
	}
	// Output:
	// fs-cramfs 1
	// fs-none 0
}

// What modprobe would do, without doing it.
func ExampleSystem_LoadPlan() {
	sys, err := lkm.OpenImage(hardened, lkm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	for _, name := range []string{"udf", "cramfs", "fs-udf"} {
		steps, err := sys.LoadPlan(context.Background(), name)
		if err != nil {
			fmt.Println(name, "blacklisted:", errors.Is(err, lkm.ErrBlacklisted))
			continue
		}
		for _, s := range steps {
			fmt.Println(name, s.Module, s.Path+s.Command)
		}
	}
	// Output:
	// udf linux_module:udf /lib/modules/6.1.0/kernel/fs/udf/udf.ko
	// cramfs linux_module:cramfs /bin/false
	// fs-udf blacklisted: true
}

// What is enforced on loading; a fact that could not be read says so.
func ExampleSystem_Policy() {
	sys := recorded("synthetic-debian-root", lkm.Options{})
	defer sys.Close()
	p, err := sys.Policy(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("loading:", p.Loading, "complete:", p.Err() == nil)
	for _, f := range p.Facts[:3] {
		fmt.Println(f.Name, f.Value, f.Unknown)
	}
	// Output:
	// loading:  complete: false
	// modules_disabled 0 false
	// sig_enforce N false
	// lockdown  true
}

// The sources are known before anything is read.
func ExampleSystem_Sources() {
	sys := recorded("synthetic-freebsd-root", lkm.Options{})
	defer sys.Close()
	for _, s := range sys.Sources() {
		if s.Asked {
			fmt.Println(s.Source, s.Reads)
		}
	}
	// Output:
	// machine [uname() clock() identity() boot_id()]
	// kldstat [kldnext(ID) kldstat(ID)]
	// modstat [kldfirstmod(ID) modfnext(ID) modstat(ID)]
	// dump_modinfo [sysctl debug.dump_modinfo]
}

// far is a machine that is reached by other means than system calls: here nothing but a map, in life a connection.
// All that the library asks comes through these few methods.
type far struct{ fstest.MapFS }

func (far) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	if op == "uname" {
		return []byte("release 6.1.0\nmachine x86_64\n"), nil
	}
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

// A custom Machine: a host over ssh, an agent's cache, a debugger.
func ExampleOpenMachine() {
	host := far{fstest.MapFS{"proc/modules": {Data: []byte("nvme 57344 3 - Live 0x0\n")}}}
	sys, err := lkm.OpenMachine(lkm.Linux, host, lkm.Options{Host: "far-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(snap.Host, snap.Release, snap.Modules[0].ID, snap.Modules[0].Size)
	fmt.Println("whole:", snap.Err() == nil) // /sys was not there
	// Output:
	// far-1 6.1.0 linux_module:nvme 57344
	// whole: false
}
