// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/lkm"
)

// sentinel is an alias of the configuration that modprobe is given, asked for between any two
// queries: so it is known which query an answer belongs to, although one process answers thousands.
const (
	sentinel       = "kernelext-e2e-sentinel"
	sentinelName   = "kernelext_e2e_sentinel"
	sentinelConfig = "alias " + sentinel + " " + sentinelName + "\ninstall " + sentinelName + " /kernelext/sentinel\n"
	sentinelPlan   = "install /kernelext/sentinel "
)

// An indexed tree is a root with the indexes of a kernel's modules and configuration files of its
// own. Of the modules it has only the names: nothing that is asked here opens them, though modprobe
// looks whether they are there.
type indexed struct {
	root, release string
	system        *lkm.System
}

// withConfig makes a root of a kernel's indexes and configuration files below etc/modprobe.d.
func withConfig(t testing.TB, k debian.Kernel, config map[string]string) indexed {
	t.Helper()
	root := t.TempDir()
	x := indexed{root: root, release: k.Release}
	tree := filepath.Join(root, "lib", "modules", k.Release)
	indexes, err := filepath.Glob(filepath.Join(k.Tree(), "modules.*"))
	if err != nil || len(indexes) < 8 {
		t.Fatalf("indexes of %s: %v, %v", k.Release, indexes, err)
	}
	for _, file := range indexes {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(tree, filepath.Base(file)), data)
	}
	for _, file := range moduleFiles(t, k) {
		rel, err := filepath.Rel(k.Root, file)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(root, rel), nil)
	}
	writeFile(t, x.configDir()+"/000-sentinel.conf", []byte(sentinelConfig))
	for name, text := range config {
		writeFile(t, x.configDir()+"/"+name, []byte(text))
	}
	x.system = openRoot(t, root, k.Release, 0)
	return x
}

func (x indexed) configDir() string { return filepath.Join(x.root, "etc", "modprobe.d") }

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// modprobe asks modprobe every query in few processes. The answer to a query is the lines that it printed for it.
func (x indexed) modprobe(t testing.TB, option string, queries []string) [][]string {
	t.Helper()
	answers := make([][]string, len(queries))
	const batch = 2000
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for from := range work {
				to := min(from+batch, len(queries))
				copy(answers[from:to], x.modprobeOnce(t, option, queries[from:to]))
			}
		})
	}
	for from := 0; from < len(queries); from += batch {
		work <- from
	}
	close(work)
	wg.Wait()
	return answers
}

func (x indexed) modprobeOnce(t testing.TB, option string, queries []string) [][]string {
	t.Helper()
	args := []string{"-C", x.configDir(), "-d", x.root, "-S", x.release, "-a", option, "--"}
	for _, q := range queries {
		args = append(args, q, sentinel)
	}
	// modprobe fails when any of the names does not exist, which is an answer like others.
	out, _, _ := attempt(t, "modprobe", args...)
	var answers [][]string
	var answer []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSuffix(line, "\n"); line == sentinelName || line == sentinelPlan {
			answers = append(answers, answer)
			answer = nil
			continue
		}
		answer = append(answer, line)
	}
	if len(answers) != len(queries) || answer != nil {
		t.Errorf("modprobe %s answered %d of %d queries", option, len(answers), len(queries))
		return make([][]string, len(queries))
	}
	return answers
}

// compareResolve compares modprobe -R with Resolve and reports how many queries have an answer, and how many have
// several.
func (x indexed) compareResolve(t *testing.T, what string, queries []string) {
	t.Helper()
	want := x.modprobe(t, "-R", queries)
	found, several, differ := 0, 0, 0
	for i, q := range queries {
		modules, err := x.system.Resolve(t.Context(), q)
		if err != nil && !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("Resolve(%q): %v", q, err)
			continue
		}
		var got []string
		for _, m := range modules {
			got = append(got, m.Name)
		}
		if len(got) > 0 {
			found++
		}
		if len(got) > 1 {
			several++
		}
		if want := once(want[i]); !slices.Equal(got, want) {
			if differ++; differ <= 20 {
				t.Errorf("Resolve(%q) = %q, modprobe -R: %q", q, got, want)
			}
		}
	}
	t.Logf("%s %s: %d queries, %d found, %d with several answers, %d differences", x.release, what,
		len(queries), found, several, differ)
}

// once drops what is repeated: modprobe names a module once for each of its aliases that fit, the library once.
func once(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// comparePlans compares modprobe -D with LoadPlan.
func (x indexed) comparePlans(t *testing.T, what string, queries []string) {
	t.Helper()
	steps, longest, differ := 0, 0, 0
	names := x.modprobe(t, "-R", queries)
	for i, want := range x.modprobe(t, "-D", queries) {
		got := x.plan(t, queries[i])
		if len(once(names[i])) < len(names[i]) { // modprobe plans a module anew for each of its aliases that fit
			got, want = once(got), once(want)
		}
		steps += len(got)
		longest = max(longest, len(got))
		if !slices.Equal(got, want) {
			if differ++; differ <= 20 {
				t.Errorf("LoadPlan(%q):\n %s\nmodprobe -D:\n %s", queries[i], strings.Join(got, "\n "),
					strings.Join(want, "\n "))
			}
		}
	}
	t.Logf("%s %s: %d queries, %d steps, %d in the longest plan, %d differences", x.release, what,
		len(queries), steps, longest, differ)
}

// plan writes a load plan as modprobe does.
func (x indexed) plan(t testing.TB, query string) []string {
	t.Helper()
	steps, err := x.system.LoadPlan(t.Context(), query)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, lkm.ErrBlacklisted) && !errors.Is(err, lkm.ErrMalformed) {
			t.Errorf("LoadPlan(%q): %v", query, err)
		}
		return nil
	}
	var lines []string
	for _, s := range steps {
		if s.Params != "" {
			s.Params += " "
		}
		switch {
		case s.Command != "":
			lines = append(lines, "install "+s.Command+" "+s.Params)
		case s.Builtin:
			lines = append(lines, "builtin "+strings.TrimPrefix(s.Module, "linux_module:"))
		default:
			lines = append(lines, "insmod "+x.root+s.Path+" "+s.Params)
		}
	}
	return lines
}

// moduleNames are the names of a kernel's modules and builtins, by the lists that come with it.
func moduleNames(t testing.TB, k debian.Kernel) []string {
	t.Helper()
	var names []string
	for _, list := range []string{"modules.order", "modules.builtin"} {
		data, err := os.ReadFile(filepath.Join(k.Tree(), list))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			name, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(line)), ".")
			names = append(names, name)
		}
	}
	return names
}

// indexWords returns the second word of every line of a text index.
func indexWords(t testing.TB, k debian.Kernel, index string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(k.Tree(), index))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] != "#" {
			words = append(words, f[1])
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// concrete makes of an alias's pattern a name that it stands for: a short one, or one with something for every "*".
func concrete(pattern string, long bool) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			if long {
				b.WriteString("00")
			}
		case '?':
			b.WriteByte('0')
		case '[': // the first or the last of the class, which is all that Debian's kernels have
			end := i + strings.IndexByte(pattern[i:], ']')
			if long {
				b.WriteByte(pattern[end-1])
			} else {
				b.WriteByte(pattern[i+1])
			}
			i = end
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// modaliases are what devices of real machines ask for, beside those of the machine that the test
// runs on: a laptop, a server, a virtual machine, a board with a device tree.
var modaliases = []string{
	"pci:v00008086d00009A49sv00001028sd00000991bc03sc00i00", "pci:v00008086d0000A0F0sv00008086sd00000074bc02sc80i00",
	"pci:v00008086d0000A0C8sv00001028sd00000991bc04sc01i00", "pci:v00008086d0000A0EDsv00001028sd00000991bc0Csc03i30",
	"pci:v0000144Dd0000A80Asv0000144Dsd0000A801bc01sc08i02", "pci:v00008086d0000A0A3sv00001028sd00000991bc0Csc05i00",
	"pci:v000010DEd00001EB8sv000010DEsd000012A2bc03sc02i00", "pci:v000014E4d0000165Fsv00001028sd000008FFbc02sc00i00",
	"pci:v00001000d0000005Dsv00001028sd00001F49bc01sc04i00", "pci:v00008086d00001572sv00008086sd00000000bc02sc00i00",
	"pci:v000015B3d00001017sv000015B3sd00000016bc02sc00i00", "pci:v0000102Bd00000536sv00001028sd0000062Cbc03sc00i00",
	"pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", "pci:v00001022d00001483sv00000000sd00000000bc06sc04i00",
	"pci:v000010ECd00008168sv00001458sd0000E000bc02sc00i00", "pci:v00001002d0000164Csv00001043sd00001F11bc03sc00i00",
	"pci:v0000197Bd00002382sv0000197Bsd00002382bc08sc05i01", "pci:v0000FFFFd0000FFFFsv0000FFFFsd0000FFFFbcFFscFFiFF",
	"usb:v046DpC52Bd1211dc00dsc00dp00ic03isc01ip01in00", "usb:v0BDAp8153d3100dc00dsc00dp00icFFiscFFip00in00",
	"usb:v8087p0026d0002dcE0dsc01dp01icE0isc01ip01in00", "usb:v0781p5581d0100dc00dsc00dp00ic08isc06ip50in00",
	"usb:v1D6Bp0003d0612dc09dsc00dp03ic09isc00ip00in00", "usb:v0403p6001d0600dc00dsc00dp00icFFiscFFipFFin00",
	"usb:v0C45p6A06d0000dcEFdsc02dp01ic0Eisc01ip00in00", "usb:v2341p0043d0001dc02dsc00dp00ic0Aisc00ip00in01",
	"usb:v1050p0407d0543dc00dsc00dp00ic0Bisc00ip00in02", "usb:vFFFFpFFFFdFFFFdcFFdscFFdpFFicFFiscFFipFFinFF",
	"acpi:PNP0C0A:", "acpi:INT33A1:PNP0D80:", "acpi:PNP0303:", "acpi:DLL0991:PNP0F13:", "acpi:INTC1041:INT34C5:",
	"acpi:ACPI0003:",
	"acpi:LEN0071:PNP0F13:", "acpi:IPI0001:", "acpi:MSFT0101:MSFT0101:", "acpi:PNP0C14:PNP0C14:", "acpi:ZZZZ9999:",
	"of:NserialT(null)Cns16550a", "of:Nmmcnr@7e300000T(null)Cbrcm,bcm2835-mmcCbrcm,bcm2835-sdhci",
	"of:NethernetT(null)Cbrcm,genet-v5",
	"of:NrtcT(null)Cdallas,ds1307", "of:NgpuT(null)Cbrcm,bcm2711-vc5", "of:Nzzz9T(null)Czzz,zzz",
	"hid:b0003g0001v0000046Dp0000C52B", "hid:b0018g0004v00006243p00000001", "hid:b0003g0001v0000054Cp000009CC",
	"hdaudio:v10EC0257r00100001a01", "hdaudio:v8086280Br00100000a01",
	"input:b0003v046Dp4069e0111-e0,1,2,4,11,14,k71,72,ram4,l0,1,sfw",
	"i2c:ds1307", "spi:spidev", "platform:pcspkr", "platform:coretemp", "platform:efivars", "serio:ty06pr00id00ex00",
	"serio:ty01pr00id00ex00",
	"virtio:d00000001v00001AF4", "virtio:d00000019v00001AF4", "vmbus:635161f83edfc546913ff2d2f965ed0e",
	"xen:vif", "xen-backend:vbd",
	"wmi:05901221-D566-11D1-B2F0-00A0C9062910", "mdio:00000000001000100001010101000001", "sdio:c00v02D0dA9A6",
	"scsi:t-0x00", "scsi:t-0x05",
	"dmi:bvnDellInc.:bvr1.14.0:bd10/11/" +
		"2022:br1.14:svnDellInc.:pnXPS139310:pvr:rvnDellInc.:rn0DXP1F:rvrA00:cvnDellInc.:ct10:cvr:sku0991:",
	"dmi:bvnLENOVO:bvrN2IET94W(1.72):bd04/20/" +
		"2021:br1.72:efr1.22:svnLENOVO:pn20N2:pvrThinkPadT490:rvnLENOVO:rn20N2:rvr:cvnLENOVO:ct10:cvrNone:",
	"cpu:type:x86,ven0000fam0006mod008C:feature:,0000,0001,0002,0003,0004,0005,0081,0083,0089,0093,0094,0097,0099," +
		"009C,009D,009E,0121,0127",
	"cpu:type:x86,ven0002fam0019mod0021:feature:,0000,0001,0002,0081,0099,00C2,0133,0206",
	"ieee1394:ven00000000mo00000000sp0000609Ever00010483", "pnp:dPNP0501",
	"pcmcia:m0101c0589f06fn00pfn00paB4BE14E3pb8B1AB2C1pc00000000pd00000000",
	"fs-ext4", "fs-vfat", "fs-nosuchfs", "net-pf-10", "net-pf-16-proto-4", "net-pf-99", "netdev-sit0",
	"rtnl-link-bridge", "ip_tables", "ipt_REJECT",
	"crypto-crc32c", "crypto-aes", "char-major-10-200", "devname:loop-control", "block-major-8-0",
	"binfmt-464c", "tcp_bbr", "nls_utf8",
	"symbol:nosuch", "nosuch", "", "pci:", "[", "]", "a[b", "a]b", "a[b]c", "NVME", "nvme-core", "crc7.ko",
	"kernel/lib/crc7.ko", "*", "?", "a b", "\xff",
}

// sysModaliases are what the devices of this machine ask for.
func sysModaliases(t testing.TB) []string {
	t.Helper()
	var list []string
	filepath.WalkDir("/sys/devices", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "modalias" {
			if data, err := os.ReadFile(name); err == nil && len(data) > 0 {
				list = append(list, strings.TrimSpace(string(data)))
			}
		}
		return nil
	})
	return list
}

// TestResolve compares Resolve with modprobe -R: for every alias of two kernels' indexes, unchanged and as a device
// would ask for it, for every symbol, for every module, and for devices of real machines.
func TestResolve(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modprobe")
	for _, k := range []debian.Kernel{plainTree(t), xzTree(t)} {
		x := withConfig(t, k, nil)
		aliases := indexWords(t, k, "modules.alias")
		if len(aliases) < 25000 {
			t.Errorf("%s has only %d aliases", k.Release, len(aliases))
		}
		var asked []string
		for _, a := range aliases {
			asked = append(asked, concrete(a, false), concrete(a, true))
		}
		slices.Sort(asked)
		asked = slices.Compact(asked)
		x.compareResolve(t, "devices", append(sysModaliases(t), modaliases...))
		x.compareResolve(t, "modules", moduleNames(t, k))
		x.compareResolve(t, "symbols", indexWords(t, k, "modules.symbols"))
		x.compareResolve(t, "aliases", aliases)
		x.compareResolve(t, "what aliases stand for", asked)
	}
}

// TestLoadPlan compares LoadPlan with modprobe -D for every module of two kernels and for devices of real machines.
func TestLoadPlan(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modprobe")
	for _, k := range []debian.Kernel{plainTree(t), xzTree(t)} {
		x := withConfig(t, k, nil)
		x.comparePlans(t, "modules", moduleNames(t, k))
		x.comparePlans(t, "devices", append(sysModaliases(t), modaliases...))
	}
}

// modprobeConfig has every directive, in files of which the order counts, about modules of both kernels.
var modprobeConfig = map[string]string{
	"10-options.conf": `# options, also of what others need, repeated, continued
options nvme poll_queues=4
options nvme_core default_ps_max_latency_us=0 \
	io_timeout=30
options snd-hda-intel model=auto power_save=1
options snd_hda_intel index=0
options kvm-intel nested=1 dump="a b"
options nosuch x=1
options msr
 options bridge indented=1
`,
	"20-alias.conf": `alias eth0 e1000e
alias eth* igb
alias wild-?-* loop
alias two ext4
alias two xfs
alias two nosuch
alias class-[a-c] btrfs
alias net-pf-10 off
alias symbol:crc7_be vfat
alias nvme-alias nvme
options nvme-alias from_alias=1
alias chain nvme-alias
alias pci:v00008086d00009A49sv*sd*bc*sc*i* vgem
`,
	"30-blacklist.conf": `blacklist pcspkr
blacklist i915
blacklist nouveau
blacklist snd-hda-intel
blacklist amdgpu
blacklist ext4
`,
	"40-install.conf": `install floppy /bin/true
install dccp /bin/false
install usb-storage /sbin/modprobe --ignore-install usb-storage $CMDLINE_OPTS && echo "loaded"
install nosuchmodule /bin/true
install eth7 /bin/true
remove bridge /bin/false
remove only-remove /bin/false
install scsi_mod /bin/echo no scsi
`,
	"50-softdep.conf": `softdep nvme pre: crc7 crc8 post: loop
softdep loop pre: brd
softdep brd post: loop
softdep ext4 pre: nosuch crc32c post: nosuch2
softdep btrfs raid6_pq pre: xxhash_generic
softdep floppy pre: crc16
softdep xfs pre: fs-ext4 post: eth0
softdep self pre: self
softdep dm-mod pre: dm_mod
softdep vfat pre: two
softdep fat post: vfat
softdep cifs pre: md4
`,
	"60-later.conf": `softdep nvme pre: crc4
install floppy /bin/echo second
alias two vfat
options nvme later=1
nonsense directive here
blacklist
options
include /nowhere
config dump
`,
	"README":    "options nvme not_read=1\n",
	"conf.bak~": "options nvme not_read=2\n",
}

// TestLoadPlanConfig compares load plans and answers under a configuration: for every module, for
// devices, and for the names that the configuration makes up.
func TestLoadPlanConfig(t *testing.T) {
	t.Parallel()
	lab.Tools(t, "modprobe")
	x := withConfig(t, plainTree(t), modprobeConfig)
	names := []string{
		"eth0", "eth1", "eth7", "wild-1-2", "wild-1", "two", "class-a", "class-d", "net-pf-10", "symbol:crc7_be",
		"nvme-alias", "nvme_alias",
		"chain", "nosuch", "nosuchmodule", "only-remove", "self", "off", "kernelext", "snd_hda_intel", "snd-hda-intel",
		"pcspkr", "platform:pcspkr",
	}
	x.compareResolve(t, "names of the configuration", names)
	x.compareResolve(t, "modules under a configuration", moduleNames(t, plainTree(t)))
	x.comparePlans(t, "names of the configuration", names)
	x.comparePlans(t, "modules under a configuration", moduleNames(t, plainTree(t)))
	x.comparePlans(t, "devices under a configuration", append(sysModaliases(t), modaliases...))
}
