// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/linux/ko"
	"github.com/kernelext/kernelext/linux/modprobe"
	"github.com/kernelext/kernelext/lkm"
)

// A configuration is one state of a machine's configuration, a question, and the answer that follows from it.
type configuration struct {
	name    string
	conf    string            // /etc/modprobe.d/a.conf
	files   map[string]string // further files
	links   map[string]string // symbolic links
	cmdline string            // of the running kernel for modprobe, of the next boot for us
	query   string
	outcome lkm.VerdictOutcome
	// ways are the ways that are listed: A autoload_alias, N autoload_name, U unprivileged, M
	// modprobe, D dependency, I insmod, each with + open, - blocked, ? unknown.
	ways string
}

const (
	loadable = lkm.VerdictLoadable
	blocked  = lkm.VerdictBlocked
	builtin  = lkm.VerdictBuiltin
	isAbsent = lkm.VerdictAbsent
	unknown  = lkm.VerdictUnknown
)

// configurations is the table. pcspkr has an alias of a device, and nothing needs it; algif_aead
// has no alias, and the kernel asks for it by name; usb_storage is needed by uas; crc32 is an alias
// of two modules; ext4 has a softdep; serio is compiled in.
var configurations = []configuration{
	{name: "nothing", query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "nothing, by dash", query: "usb-storage", outcome: loadable, ways: "A+ N+ U? M+ D+ I+"},
	{name: "nothing, no alias", query: "algif_aead", outcome: loadable, ways: "N+ U+ M+ I+"},
	{name: "nothing, socket family", query: "net-pf-38", outcome: loadable, ways: "A+ N+ U+ M+ D+ I+"},
	{name: "nothing, builtin", query: "serio", outcome: builtin},
	{name: "nothing, no such module", query: "nosuch", outcome: isAbsent},
	{name: "nothing, device", query: "platform:pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "blacklist", conf: "blacklist pcspkr\n", query: "pcspkr", outcome: loadable, ways: "A- N+ U? M+ I+"},
	{name: "blacklist, asked by alias", conf: "blacklist pcspkr\n", query: "platform:pcspkr", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "blacklist without alias", conf: "blacklist algif_aead\n", query: "algif_aead",
		outcome: loadable, ways: "N+ U+ M+ I+"},
	{name: "blacklist by dash", conf: "blacklist usb-storage\n", query: "usb_storage", outcome: loadable,
		ways: "A- N+ U? M+ D+ I+"},
	{name: "blacklist of an alias's name", conf: "blacklist net-pf-38\n", query: "net-pf-38", outcome: loadable,
		ways: "A+ N+ U+ M+ D+ I+"},
	{name: "blacklist of one of two", conf: "blacklist crc32_pclmul\n", query: "crc32_pclmul", outcome: loadable,
		ways: "A- N+ U- M+ I+"},
	{name: "blacklist of a family", conf: "blacklist af_alg\n", query: "net-pf-38", outcome: loadable,
		ways: "A- N+ U- M+ D+ I+"},
	{name: "blacklist with a trailing comment", conf: "blacklist pcspkr # beeps\n", query: "pcspkr", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "commented out", conf: "#blacklist pcspkr\n# install pcspkr /bin/false\n",
		query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "indented", conf: "  \tblacklist\t pcspkr\n", query: "pcspkr", outcome: loadable, ways: "A- N+ U? M+ I+"},
	{name: "indented comment is a bad line", conf: "  # blacklist pcspkr\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "install false", conf: "install pcspkr /bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "install true", conf: "install pcspkr /bin/true\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "install /usr/bin/false", conf: "install pcspkr /usr/bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "install with a trailing comment", conf: "install pcspkr /bin/false # CIS 1.1.1\n", query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "install by dash", conf: "install usb-storage /bin/true\n", query: "usb_storage", outcome: blocked,
		ways: "A- N- U- M- D- I+"},
	{name: "install in two lines", conf: "install pcspkr \\\n/bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "a continued comment swallows a line", conf: "# off: \\\ninstall pcspkr /bin/false\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "install without a command", conf: "install pcspkr\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "install of no module of ours", conf: "install nosuch /bin/false\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "install of a name that is not a module", conf: "install nosuch /bin/false\n",
		query: "nosuch", outcome: isAbsent},
	{name: "install logs and fails", conf: "install pcspkr /bin/echo no; /bin/false\n", query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "install runs something", conf: "install pcspkr /opt/site/load pcspkr\n",
		files: map[string]string{"opt/site/load": "#!/usr/bin/perl\n"}, query: "pcspkr", outcome: unknown,
		ways: "A? N? U? M? I+"},
	{name: "install runs what is not there", conf: "install pcspkr /opt/site/gone pcspkr\n", query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "install goes on", conf: "install pcspkr /sbin/modprobe --ignore-install pcspkr && /opt/site/beep\n",
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "install by pattern", conf: "install pcs* /bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "install by brackets", conf: "install pcsp[a-k]r /bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "the first install counts", conf: "install pcspkr /bin/false\ninstall pcspkr /sbin/modprobe -i pcspkr\n",
		query: "pcspkr", outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "the first install counts, the other way", conf: "install pcspkr /sbin/modprobe -i pcspkr\n" +
		"install pcspkr /bin/false\n", query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "install and blacklist", conf: "blacklist pcspkr\ninstall pcspkr /bin/true\n", query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "a dependency is install false", conf: "install usb_storage /bin/false\n", query: "uas", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "a dependency is install true", conf: "install usb_storage /bin/true\n", query: "uas", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "a dependency is blacklisted", conf: "blacklist usb_storage\n", query: "uas", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "a dependent is install false", conf: "install uas /bin/false\n", query: "usb_storage", outcome: loadable,
		ways: "A+ N+ U? M+ D+ I+"},
	{name: "a dependency's dependency", conf: "install scsi_common /bin/false\n", query: "uas", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "same name in two directories", conf: "blacklist pcspkr\n",
		files: map[string]string{"usr/lib/modprobe.d/a.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A- N+ U? M+ I+"},
	{name: "an empty file hides another", conf: "\n",
		files: map[string]string{"lib/modprobe.d/a.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "/run before /usr/lib", files: map[string]string{"run/modprobe.d/b.conf": "blacklist pcspkr\n",
		"usr/lib/modprobe.d/b.conf": "install pcspkr /bin/false\n"}, query: "pcspkr", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "/lib is read", files: map[string]string{"lib/modprobe.d/b.conf": "install pcspkr /bin/false\n"},
		query: "pcspkr", outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "order is by base name", conf: "install pcspkr /sbin/modprobe -i pcspkr\n",
		files: map[string]string{"lib/modprobe.d/Z.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "no .conf, not read", files: map[string]string{"etc/modprobe.d/off": "install pcspkr /bin/false\n",
		"etc/modprobe.d/.x.conf": "install pcspkr /bin/false\n"}, query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "a folder is not read",
		files: map[string]string{"etc/modprobe.d/d.conf/x.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "modules-load.d is not a configuration",
		files: map[string]string{"etc/modules-load.d/x.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "include is refused", conf: "include /etc/other\ninstall pcspkr /bin/false\n", query: "pcspkr",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "alias to off", conf: "alias net-pf-38 off\n", query: "af_alg", outcome: loadable,
		ways: "A- N+ U- M+ D+ I+"},
	{name: "alias of the module's own name", conf: "alias pcspkr off\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N- U? M- I+"},
	{name: "alias to another", conf: "alias net-pf-38 pcspkr\n", query: "net-pf-38", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "alias chain is not followed", conf: "alias one two\nalias two pcspkr\n", query: "one", outcome: isAbsent},
	{name: "alias by pattern", conf: "alias beep-* pcspkr\n", query: "beep-1", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "alias and blacklist", conf: "alias beep pcspkr\nblacklist pcspkr\n", query: "beep", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "softdep", conf: "softdep pcspkr pre: usb-storage post: dccp\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "softdep beats install", conf: "install pcspkr /bin/false\nsoftdep pcspkr pre: dccp\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "softdep of nothing does not", conf: "install pcspkr /bin/false\nsoftdep pcspkr pre: nosuch\n",
		query: "pcspkr", outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "softdep brings it along", conf: "softdep dccp pre: pcspkr\nblacklist pcspkr\n", query: "pcspkr",
		outcome: loadable, ways: "A- N+ U? M+ D+ I+"},
	{name: "a failing softdep costs nothing", conf: "softdep pcspkr pre: dccp\ninstall dccp /bin/false\n",
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "softdep loop", conf: "softdep pcspkr pre: dccp\nsoftdep dccp pre: pcspkr\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ D+ I+"},
	{name: "a tree's own softdep", query: "ext4", outcome: loadable, ways: "A+ N+ U+ M+ I+"},
	{name: "options", conf: "options usb-storage quirks=1:2:i delay_use=3\noptions usb_storage option_zero_cd=1\n",
		query: "usb_storage", outcome: loadable, ways: "A+ N+ U? M+ D+ I+"},
	{name: "options of an alias", conf: "alias beep pcspkr\noptions beep x=1\n", query: "beep", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "quotes in options", conf: "options pcspkr text=\"a b\" c='d'\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "no final newline", conf: "install pcspkr /bin/false", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "unbalanced brackets", conf: "install pcs[pkr /bin/false\nblacklist pcspk]r\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "carriage returns", conf: "install pcspkr /bin/false\r\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "builtin, install false", conf: "install serio /bin/false\n", query: "serio", outcome: builtin},
	{name: "builtin, blacklist", conf: "blacklist serio\n", query: "serio", outcome: builtin},
	// Debian's System.map is empty: only TestInitcallBlacklist, in a running kernel, can name the function.
	{name: "builtin, initcall_blacklist", cmdline: "initcall_blacklist=serio_init", query: "serio", outcome: unknown},
	{name: "modprobe.blacklist", cmdline: "quiet modprobe.blacklist=dccp,pcspkr", query: "pcspkr", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "modprobe.blacklist by dash", cmdline: "modprobe.blacklist=usb-storage", query: "usb_storage",
		outcome: loadable, ways: "A+ N+ U? M+ D+ I+"},
	{name: "command line options", cmdline: "root=x usb-storage.quirks=1:2:i pcspkr.text=\"a b\" \"pcspkr.two=c d\"",
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "module_blacklist", cmdline: "module_blacklist=pcspkr", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I-"},
	{name: "module_blacklist by dash names nothing", cmdline: "module_blacklist=usb-storage", query: "usb_storage",
		outcome: loadable, ways: "A+ N+ U? M+ D+ I+"},
	{name: "the last module_blacklist counts", cmdline: "module_blacklist=pcspkr module_blacklist=dccp",
		query:   "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "module_blacklist of a dependency", cmdline: "module_blacklist=usb_storage", query: "uas", outcome: blocked,
		ways: "A- N- U- M- I-"},
	{name: "a tree's own softdep beats install", conf: "install nfsd /bin/false\n", query: "nfsd", outcome: loadable,
		ways: "A+ N+ U+ M+ I+"},
	{name: "a softdep line before the tree's own", conf: "softdep nfsd pre:\ninstall nfsd /bin/false\n", query: "nfsd",
		outcome: blocked, ways: "A- N- U- M- I+"},
	{name: "a softdep line after the tree's own",
		files:   map[string]string{"etc/modprobe.d/z.conf": "softdep nfsd pre:\ninstall nfsd /bin/false\n"},
		query:   "nfsd",
		outcome: loadable, ways: "A+ N+ U+ M+ I+"},
	{name: "a link to /dev/null hides another", links: map[string]string{"etc/modprobe.d/b.conf": "/dev/null"},
		files: map[string]string{"usr/lib/modprobe.d/b.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "a relative link to /dev/null", links: map[string]string{"etc/modprobe.d/b.conf": "../../dev/null"},
		files: map[string]string{"lib/modprobe.d/b.conf": "blacklist pcspkr\n"}, query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "a link to a file elsewhere", links: map[string]string{"etc/modprobe.d/b.conf": "../site.conf"},
		files: map[string]string{"etc/site.conf": "install pcspkr /bin/false\n"}, query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "a link to nothing hides another", links: map[string]string{"etc/modprobe.d/b.conf": "/nowhere"},
		files: map[string]string{"lib/modprobe.d/b.conf": "install pcspkr /bin/false\n"}, query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"}, // kmod 34 and later reads b.conf
	{name: "only below /run", files: map[string]string{"run/modprobe.d/b.conf": "install pcspkr /bin/false\n"},
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "/run hides what would block",
		files: map[string]string{"run/modprobe.d/b.conf": "", "lib/modprobe.d/b.conf": "install pcspkr /bin/false\n"},
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "a backslash ends the file", conf: "blacklist pcspkr\\", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "a backslash within a line", conf: "install pcs\\pkr /bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "a name over two lines", conf: "blacklist pcs\\\npkr\n", query: "pcspkr", outcome: loadable,
		ways: "A- N+ U? M+ I+"},
	{name: "alias in brackets", conf: "alias beep-[0-9] pcspkr\n", query: "beep_7", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "a dash within brackets stays one", conf: "alias beep_[-0-9] pcspkr\n", query: "beep--", outcome: isAbsent},
	{name: "options in brackets are for a name that nothing has", conf: "options pcs[p]kr x=1\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "blacklist in brackets is for a name that nothing has", conf: "blacklist pcs[p]kr\n", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "remove is not for loading", conf: "remove pcspkr /bin/false\n", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
	{name: "install loads another", conf: "install pcspkr /sbin/modprobe usb_storage\n", query: "pcspkr",
		outcome: unknown, ways: "A? N? U? M? I+"},
	{name: "install everything", conf: "install * /bin/false\n", query: "pcspkr", outcome: blocked,
		ways: "A- N- U- M- I+"},
	{name: "modprobe.blacklist several times", cmdline: "modprobe.blacklist=dccp modprobe.blacklist=,pcspkr,",
		query: "pcspkr", outcome: loadable, ways: "A- N+ U? M+ I+"},
	{name: "modprobe.blacklist in quotes", cmdline: "modprobe.blacklist=\"dccp,pcspkr\"", query: "pcspkr",
		outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "tabs on the command line", cmdline: "root=x\tmodprobe.blacklist=pcspkr\tpcspkr.one=1 quiet",
		query:   "pcspkr",
		outcome: loadable, ways: "A- N+ U? M+ I+"},
	{name: "odd words on the command line", cmdline: "pcspkr.a pcspkr.b= pcspkr.c.d=1 pcspkr.e=f.g=h \"pcspkr.i\" " +
		"\"pcspkr.j=k l\" pcs\"pkr.m=1\" pcspkr.\"n=2\" pcspkr.o=\"p q\"r .s=1 pcspkr.=2 a=pcspkr.t pcspkr-u.v=1",
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "a quote that is never closed", cmdline: "pcspkr.a=1 pcspkr.b=\"c pcspkr.d=1 modprobe.blacklist=pcspkr",
		query: "pcspkr", outcome: loadable, ways: "A+ N+ U? M+ I+"},
	{name: "nomodule", cmdline: "nomodule", query: "pcspkr", outcome: blocked, ways: "A- N- U- M- I-"},
	{name: "sig_enforce, signed", cmdline: "module.sig_enforce=1", query: "pcspkr", outcome: loadable,
		ways: "A+ N+ U? M+ I+"},
}

// TestConfigurations compares our reading of each configuration with modprobe -c, -R and -n -v, run
// in a root of its own, and the verdict on an image with the one that follows.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		lab.Met(t, fmt.Errorf("modprobe's directories can only be changed in a root of its own: run as root"))
	}
	lab.Tools(t, "modprobe", "ldd", "cp")
	if n := len(configurations); n < 60 {
		t.Fatalf("%d configurations", n)
	}
	k := plainTree(t)
	root := modprobeRoot(t, k)
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) { c.check(t, root, k.Release) })
	}
	t.Logf("lines that do nothing, tried: %v", lintsProven)
	if len(lintsProven) < 5 {
		t.Errorf("only %v", lintsProven)
	}
}

// modprobeRoot makes a root with a kernel's modules and modprobe.
func modprobeRoot(t *testing.T, k debian.Kernel) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"lib/modules", "boot", "sbin", "proc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	how := "-al" // links cost nothing; the cache may be on another file system
	if exec.Command("cp", how, k.Config(), filepath.Join(root, "boot", ".probe")).Run() != nil {
		how = "-a"
	}
	os.Remove(filepath.Join(root, "boot", ".probe"))
	output(t, "cp", how, k.Tree(), filepath.Join(root, "lib/modules"))
	output(t, "cp", how, k.Config(), filepath.Join(root, "boot"))
	modprobe, err := filepath.EvalSymlinks(strings.TrimSpace(output(t, "which", "modprobe")))
	if err != nil {
		t.Fatal(err)
	}
	output(t, "cp", modprobe, filepath.Join(root, "sbin/modprobe"))
	for _, word := range strings.Fields(output(t, "ldd", modprobe)) {
		if strings.HasPrefix(word, "/") {
			output(t, "install", "-D", word, filepath.Join(root, word))
		}
	}
	return root
}

// lay makes the configuration's files, and takes them away when the test ends.
func (c configuration) lay(t *testing.T, root string) {
	t.Helper()
	files := map[string]string{"proc/cmdline": c.cmdline + "\n", "boot/loader/entries/e.conf": "title e\noptions " +
		c.cmdline + "\n"}
	if c.conf != "" {
		files["etc/modprobe.d/a.conf"] = c.conf
	}
	for name, text := range c.files {
		files[name] = text
	}
	t.Cleanup(func() {
		for _, dir := range []string{"etc", "run", "usr/lib/modprobe.d", "usr/local/lib",
			"lib/modprobe.d", "boot/loader"} {
			os.RemoveAll(filepath.Join(root, dir))
		}
	})
	for name, target := range c.links {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, file); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runModprobe runs modprobe in the root.
func runModprobe(t *testing.T, root, release string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/sbin/modprobe", append([]string{"-S", release}, args...)...)
	cmd.Dir, cmd.Env = "/", []string{"LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	return out.String(), err
}

func (c configuration) check(t *testing.T, root, release string) {
	c.lay(t, root)
	live, err := lkm.Open(lkm.Options{HostRoot: root, Kernel: release})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	c.compareConfig(t, root, release)
	c.compareResolve(t, live, root, release)
	c.comparePlan(t, live, root, release)
	c.compareLint(t, live, root, release)
	c.compareVerdict(t, root, release)
}

// compareConfig compares modprobe -c, of which the part before the indexes is the configuration.
func (c configuration) compareConfig(t *testing.T, root, release string) {
	t.Helper()
	out, err := runModprobe(t, root, release, "-c")
	if err != nil {
		t.Fatal(err)
	}
	theirs := make(map[string][]string)
	dump, _, _ := strings.Cut(out, "# End of configuration files")
	for line := range strings.Lines(dump) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb == "softdep" {
			rest = softdepText(strings.Replace(rest, "post:", " post:", 1)) // kmod 30 forgets the blank
		}
		rest = strings.ReplaceAll(rest, "\xff", `\xff`) // as we write a byte that is not text
		theirs[verb] = append(theirs[verb], strings.TrimSpace(rest))
	}
	config := modprobe.ReadConfig(os.DirFS(root), modprobe.ConfigDirs, "lib/modules/"+release, true)
	for verb, list := range map[string][]modprobe.Directive{"alias": config.Aliases, "blacklist": config.Blacklist,
		"options": config.Options,
		"install": config.Install, "remove": config.Remove, "softdep": config.Softdeps} {
		var ours []string
		for _, d := range list {
			text := strings.TrimSpace(d.Name + " " + d.Value)
			if verb == "blacklist" {
				text = d.Name // kmod forgets the rest of the line
			}
			if verb == "softdep" {
				text = softdepText(text)
			}
			ours = append(ours, text)
		}
		if verb != "blacklist" && verb != "softdep" && verb != "options" && verb != "install" && verb != "alias" {
			slices.Sort(ours)
			slices.Sort(theirs[verb])
		}
		if !slices.Equal(ours, theirs[verb]) {
			t.Errorf("%s:\nours   %q\nkmod's %q", verb, ours, theirs[verb])
		}
	}
}

// softdepText writes a softdep in one way.
func softdepText(text string) string {
	name, rest, _ := strings.Cut(text, " ")
	d := ko.ParseSoftdep(rest)
	return fmt.Sprint(name, " pre: ", d.Pre, " post: ", d.Post)
}

func (c configuration) compareResolve(t *testing.T, s *lkm.System, root, release string) {
	t.Helper()
	out, err := runModprobe(t, root, release, "-R", c.query)
	theirs := strings.Fields(out)
	modules, resolveErr := s.Resolve(t.Context(), c.query)
	if resolveErr != nil {
		t.Fatal(resolveErr)
	}
	var ours []string
	for _, m := range modules {
		ours = append(ours, m.Name)
	}
	// -R leaves out what is blacklisted, and then says that there is nothing; we list what the name stands for.
	if err != nil && c.blacklistsAll(t, root, release, ours) {
		return
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("resolve %s: ours %q, kmod's %q (%v)", c.query, ours, theirs, err)
	}
}

func (c configuration) blacklistsAll(t *testing.T, root, release string, names []string) bool {
	config := modprobe.ReadConfig(os.DirFS(root), modprobe.ConfigDirs, "lib/modules/"+release, true)
	return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(config.Blacklist, func(d modprobe.Directive) bool { return d.Name == name })
	})
}

// comparePlan compares modprobe -n -v with LoadPlan, line by line.
func (c configuration) comparePlan(t *testing.T, s *lkm.System, root, release string) {
	t.Helper()
	out, err := runModprobe(t, root, release, "-n", "-v", c.query)
	var theirs []string
	for line := range strings.Lines(out) {
		theirs = append(theirs, strings.Join(strings.Fields(line), " "))
	}
	steps, planErr := s.LoadPlan(t.Context(), c.query)
	// A blacklisted alias, and an alias for nothing, make modprobe do nothing and say nothing; LoadPlan says why.
	silent := errors.Is(planErr, lkm.ErrBlacklisted) || errors.Is(planErr, fs.ErrNotExist) && len(theirs) == 0
	if (planErr != nil) != (err != nil) && !silent {
		t.Errorf("plan of %s: ours %v, modprobe: %v %q", c.query, planErr, err, theirs)
	}
	var ours []string
	for _, step := range steps {
		switch {
		case step.Command != "":
			ours = append(ours, strings.Join(strings.Fields("install "+step.Command+" "+step.Params), " "))
		case step.Path != "":
			ours = append(ours, strings.Join(strings.Fields("insmod "+step.Path+" "+step.Params), " "))
		}
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("plan of %s:\nours   %q\nkmod's %q", c.query, ours, theirs)
	}
}

// wayLetters are the letters of the table.
var wayLetters = []struct{ letter, way string }{
	{"A", linux.WayAutoloadAlias}, {"N", linux.WayAutoloadName}, {"U", linux.WayUnprivileged},
	{"M", linux.WayModprobe}, {"D", linux.WayDependency}, {"I", linux.WayInsmod},
}

// waysText writes ways in the table's form.
func waysText(p *lkm.Prospect) string {
	var parts []string
	for _, l := range wayLetters {
		for _, w := range p.Ways {
			if w.Way == l.way {
				parts = append(parts, l.letter+map[lkm.Tri]string{lkm.Yes: "-", lkm.No: "+", "": "?"}[w.Blocked])
			}
		}
	}
	return strings.Join(parts, " ")
}

// compareVerdict asks about the root as an image.
func (c configuration) compareVerdict(t *testing.T, root, release string) {
	t.Helper()
	disk, err := lkm.Dir(root)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lkm.OpenImage(disk, lkm.Options{OS: lkm.Linux, Kernel: release})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	verdicts, err := s.Check(t.Context(), c.query)
	if err != nil {
		t.Fatal(err)
	}
	v := verdicts[0]
	if v.Now != nil || v.NextBoot == nil {
		t.Fatalf("an image has an answer for the next boot, and only that: %+v", v)
	}
	if v.NextBoot.Outcome != c.outcome {
		t.Errorf("%s is %s, want %s: %+v", c.query, v.NextBoot.Outcome, c.outcome, v.Reasons)
	}
	if got := waysText(v.NextBoot); got != c.ways {
		t.Errorf("%s: ways %q, want %q: %+v", c.query, got, c.ways, v.Reasons)
	}
	for _, r := range v.Reasons {
		if r.Line > 0 && r.File == "" {
			t.Errorf("reason without a file: %+v", r)
		}
	}
}

// compareLint takes each line away that is said to do nothing, and asks modprobe again: the answers stay.
func (c configuration) compareLint(t *testing.T, s *lkm.System, root, release string) {
	t.Helper()
	config, err := s.Lint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var settings []lkm.Setting
	read := modprobe.ReadConfig(os.DirFS(root), modprobe.ConfigDirs, "lib/modules/"+release, true)
	for _, verb := range modprobe.Verbs {
		for _, d := range read.Lines(verb) {
			settings = append(settings, lkm.Setting{Directive: verb, Name: d.Name, Value: d.Value, File: "/" + d.File,
				Line: d.Line})
		}
	}
	if !slices.Equal(config.Settings, settings) {
		t.Errorf("settings %v, read %v", config.Settings, settings)
	}
	for _, idle := range config.Idle {
		code := idle.Reason.Code
		if idle.Line == 0 || code == modprobe.IdleExtraNames || code == modprobe.IdleCarriageReturn ||
			!strings.HasPrefix(idle.File, "/etc/modprobe.d/") {
			continue
		}
		file := filepath.Join(root, idle.File)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\\") {
			continue // the line begins further up
		}
		lines := strings.Split(string(text), "\n")
		queries := []string{c.query}
		if words := strings.Fields(idle.Text); len(words) > 1 && !strings.ContainsAny(words[1], "*?[-") {
			queries = append(queries, words[1])
		}
		ask := func() (answers []string) {
			for _, query := range queries {
				for _, option := range []string{"-v", "-b", "-r"} {
					out, err := runModprobe(t, root, release, "-n", "-v", option, query)
					answers = append(answers, fmt.Sprint(out, err))
				}
			}
			return answers
		}
		with := ask()
		lines[idle.Line-1] = ""
		writeFile(t, file, []byte(strings.Join(lines, "\n")))
		if without := ask(); code != modprobe.IdleNoModule && !slices.Equal(with, without) {
			t.Errorf("%s:%d %q (%s): with it %q, without it %q", idle.File, idle.Line, idle.Text, code, with, without)
		}
		writeFile(t, file, text)
		lintsProven[code]++
	}
}

// lintsProven counts the lines that were tried, by code.
var lintsProven = make(map[string]int)
