// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kernelext/kernelext/fact"
)

// kldSource declares what FreeBSD's sys/module.h makes of MODULE_VERSION, MODULE_DEPEND,
// DRIVER_MODULE and MODULE_PNP_INFO, in C of our own.
const kldSource = `
struct metadata { int version, type; const void *data; const char *name; };
struct depend { int min, preferred, max; };
struct moduledata { const char *name; void *handler, *priv; };
struct version { int version; };
struct match { const char *descr, *bus; const void *table; int entry_len, num; };
#define SET(m) static const void *const set_##m __attribute__((section("set_modmetadata_set"), used)) = &m
static struct version nought;                       /* 0: in .bss */
static const struct metadata m0 = {1, 3, &nought, "geom_raid"}; SET(m0);
static struct version three = {3};
static const struct metadata m1 = {1, 3, &three, "aesni"}; SET(m1);
static struct depend kern = {1402000, 1402000, 1401999};
static const struct metadata m2 = {1, 1, &kern, "kernel"}; SET(m2);
static struct moduledata md = {"nexus/aesni", 0, 0};
static const struct metadata m3 = {1, 2, &md, "aesni_nexus"}; SET(m3);
struct row { unsigned vendor, device; const char *name; void *skipped; unsigned long tail; };
static const struct row rows[] = {{0x1002, 0x6780, "Tahiti", 0, 1}, {0x8086, 0xffffffff, 0, 0, 2}};
static const struct match pnp = {"U32:vendor;V32:device;D:#;", "pci", rows, sizeof rows[0], 2};
static const struct metadata m4 = {1, 4, &pnp, 0}; SET(m4);
extern const void *const __start_set_modmetadata_set[] __attribute__((visibility("default")));
extern const void *const __stop_set_modmetadata_set[] __attribute__((visibility("default")));
long count(void) { return __stop_set_modmetadata_set - __start_set_modmetadata_set; }
`

func compileKLD(t *testing.T, args ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc: fixtures that a real compiler builds were not tested")
	}
	dir := t.TempDir()
	src, out := filepath.Join(dir, "x.c"), filepath.Join(dir, "x.ko")
	if err := os.WriteFile(src, []byte(kldSource), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(gcc, append(args, "-O1", "-o", out, src)...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("gcc %v cannot build this kind here: %v\n%s", args, err, b)
	}
	return out
}

func TestFilesThatGCCBuilds(t *testing.T) {
	want := &metadata{
		Modules:  []Module{{Name: "nexus/aesni", Record: "aesni_nexus"}},
		Versions: []Version{{"geom_raid", 0}, {"aesni", 3}},
		Depends:  []Depend{{"kernel", 1402000, 1402000, 1401999}},
		PNP: []deviceTable{{PNPTable: PNPTable{Bus: "pci", Descriptor: "U32:vendor;V32:device;D:#;",
			IDs: []string{"vendor=0x1002 device=0x6780", "vendor=0x8086"}}}},
	}
	for name, c := range map[string]struct {
		args []string
		typ  elf.Type
	}{
		"relocatable":         {[]string{"-c", "-fno-pic", "-mcmodel=kernel"}, elf.ET_REL},
		"relocatable, linked": {[]string{"-nostdlib", "-r", "-fno-pic", "-mcmodel=kernel"}, elf.ET_REL},
		"shared": {[]string{"-shared", "-nostdlib", "-fPIC", "-Wl,-z,start-stop-visibility=default"},
			elf.ET_DYN},
		"shared, hidden":        {[]string{"-shared", "-nostdlib", "-fPIC"}, elf.ET_DYN},
		"relocatable, 32 bits":  {[]string{"-m32", "-c", "-fno-pic"}, elf.ET_REL},
		"shared, 32 bits":       {[]string{"-m32", "-shared", "-nostdlib", "-fPIC"}, elf.ET_DYN},
		"program like a kernel": {[]string{"-nostdlib", "-no-pie", "-static", "-Wl,-e,count"}, elf.ET_EXEC},
	} {
		t.Run(name, func(t *testing.T) {
			file := compileKLD(t, c.args...)
			m, err := readMetadata(os.DirFS(filepath.Dir(file)), filepath.Base(file), 1<<30, new(fact.Report))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != c.typ {
				t.Errorf("type %v, want %v", m.Type, c.typ)
			}
			diff := cmp.Diff(want, m,
				cmpopts.IgnoreFields(metadata{}, "Machine", "Bits", "Size", "Order", "Type", "BuildID"),
				cmpopts.IgnoreUnexported(deviceTable{}), equalCounts,
				cmpopts.SortSlices(func(a, b Version) bool { return a.Version < b.Version }))
			if diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}
