// SPDX-License-Identifier: Apache-2.0

package bomb_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/testing/bomb"
	"github.com/kernelext/kernelext/internal/testing/kotest"
	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/internal/testing/petest"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/windows"
)

// TestHonestDrivers lists 5,000 drivers with every detail, from their files and a hive of a hundred megabytes.
func TestHonestDrivers(t *testing.T) {
	const drivers = "C:/Windows/System32/drivers/"
	n := scale(5000)
	hive := bomb.LargeHive(n, 1<<10, scale(90<<20))
	files := fstest.MapFS{"C:/Windows/System32/config/SYSTEM": {Data: hive}}
	for i := range n {
		im := petest.Sample()
		im.Version["InternalName"] = fmt.Sprint("driver ", i)
		files[fmt.Sprintf("%sd%d.sys", drivers, i)] = &fstest.MapFile{Data: im.Build(), Mode: 0o644}
	}
	r := fact.Report{Budget: fact.NewBudget(0)}
	k := windows.Open(disk{files}, fact.Options{Image: true, Detail: allDetails, Workers: 2})
	found := 0
	for m, err := range k.Installed(t.Context(), &r) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Problems {
			if p.Code == fact.CodeTooLarge || p.Code == fact.CodeBudget {
				t.Fatalf("%s: %v", m.Name, p)
			}
		}
		found++
	}
	if found < 2*n {
		t.Errorf("%d of %d services and files", found, 2*n)
	}
	whole(t, "drivers", &r)
	r = fact.Report{Budget: fact.NewBudget(0)}
	if v, err := k.Check(t.Context(), "d1", &r); err != nil || len(v) == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	whole(t, "check of a driver", &r)
}

// TestHonestKernel verifies modules by the certificates in a kernel of 60 megabytes, packed and plain.
func TestHonestKernel(t *testing.T) {
	kernel := linuxtest.Kernel{Lists: []linuxtest.KernelList{{
		Certificates: [][]byte{linuxtest.Certificate()}, ModuleKey: true}}, Raw: code(scale(60 << 20))}
	plain := kernel.Plain()
	for name, image := range map[string][]byte{
		"plain": plain, "packed": linuxtest.BzImage(linuxtest.Gzip(plain), len(plain)),
	} {
		files := signedDisk()
		files["boot/vmlinuz-6.1.0"] = &fstest.MapFile{Data: image, Mode: 0o644}
		k := linux.Open(disk{files}, fact.Options{Kernel: "6.1.0", Workers: 1, Detail: fact.DetailSignatures})
		r := fact.Report{Budget: fact.NewBudget(0)}
		if _, err := k.Check(t.Context(), "a", &r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for m, err := range k.Installed(t.Context(), &r) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, p := range m.Problems {
				if p.Code == fact.CodeTooLarge || p.Code == fact.CodeBudget {
					t.Errorf("%s: %v", name, p)
				}
			}
		}
		whole(t, name+" kernel", &r)
	}
}

// TestHonestKlds lists a thousand klds of FreeBSD, which depend on each other and drive devices, and asks for one.
func TestHonestKlds(t *testing.T) {
	files := fstest.MapFS{"boot/kernel/kernel": {Data: kldOf(0, 4000), Mode: 0o644}}
	n := 1000 // no less: it is quick
	for i := range n {
		files[fmt.Sprintf("boot/kernel/k%d.ko", i)] = &fstest.MapFile{Data: kldOf(i+1, 10), Mode: 0o644}
	}
	k := freebsd.Open(disk{files}, fact.Options{Image: true, OS: fact.FreeBSD, Detail: allDetails, Workers: 1})
	r := fact.Report{Budget: fact.NewBudget(0)}
	found := 0
	for m, err := range k.Installed(t.Context(), &r) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Problems {
			if p.Code == fact.CodeTooLarge || p.Code == fact.CodeBudget {
				t.Fatalf("%s: %v", m.Name, p)
			}
		}
		found++
	}
	if found < n {
		t.Errorf("%d of %d", found, n)
	}
	whole(t, "klds", &r)
	r = fact.Report{Budget: fact.NewBudget(0)}
	if v, err := k.Check(t.Context(), "k7", &r); err != nil || len(v) == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := k.Policy(t.Context(), &r); err != nil {
		t.Error(err)
	}
	whole(t, "check of a kld", &r)
}

// kldOf is a kld that has so many modules and 200 device identifiers, and depends on the one before it.
func kldOf(i, modules int) []byte {
	k := kotest.AMD64()
	for j := range modules {
		name := fmt.Sprintf("m%d_%d", i, j)
		k.Modules = append(k.Modules, kotest.Module{Record: name, Name: name})
	}
	if i > 1 {
		k.Depends = []kotest.Depend{{Name: fmt.Sprintf("m%d_0", i-1), Min: 1, Preferred: 1, Max: 1}}
	}
	k.PNP = []kotest.PNP{{Bus: "pci", Descr: "U16:vendor;U16:device", EntryLen: 4, Rows: make([]byte, 800), Num: 200}}
	return k.Bytes()
}
