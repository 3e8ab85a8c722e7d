// SPDX-License-Identifier: Apache-2.0

package lkmtest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
	"github.com/kernelext/kernelext/lkm"
)

// A root is a machine of files alone.
type root struct{ fs.FS }

func (r root) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.FS, name) }
func (r root) ReadLink(name string) (string, error)       { return fs.ReadLink(r.FS, name) }
func (r root) Lstat(name string) (fs.FileInfo, error)     { return fs.Lstat(r.FS, name) }
func (r root) Call(_ context.Context, op string, _ ...string) ([]byte, error) {
	return nil, fmt.Errorf("call %s: %w", op, errors.ErrUnsupported)
}

// linuxRoot is an image with one kernel: modules that are open, blacklisted, blocked by a line and by the command line,
// one that is compiled in and on disk, too, one whose file is missing, and one that no index names. Its indexes are
// texts, or binary beside stale texts.
func linuxRoot(binary bool) fstest.MapFS {
	files := linuxtest.Release()
	module := files[linuxtest.Dir+"/kernel/a.ko"]
	maps.Copy(files, linuxtest.Files(map[string]string{
		"boot/config-6.1.0-test":     "CONFIG_MODULES=y\n",
		"boot/loader/entries/a.conf": "version 6.1.0-test\noptions module_blacklist=d quiet\n",
		"etc/modprobe.d/0.conf": "install b-b /bin/false\nblacklist c\nalias e other\n" +
			"install crc-x /bin/false\ninstall d /bin/false\nblacklist user\ninstall user /bin/false\n",
		"etc/fstab":                        "/dev/sda1 / ext4 defaults 0 1\n",
		linuxtest.Dir + "/modules.order":   "kernel/a.ko\n",
		linuxtest.Dir + "/extra/odd.ko":    string(module.Data),
		linuxtest.Dir + "/kernel/d.ko":     string(module.Data),
		linuxtest.Dir + "/kernel/e.ko":     string(module.Data),
		linuxtest.Dir + "/kernel/crc-x.ko": string(module.Data),
		linuxtest.Dir + "/kernel/user.ko":  string(module.Data),
		linuxtest.Dir + "/modules.devname": "",
	}))
	deps := string(files[linuxtest.Dir+"/modules.dep"].Data) + "kernel/d.ko:\nkernel/e.ko:\nkernel/crc-x.ko:\n" +
		"kernel/user.ko: kernel/gone.ko\nkernel/gone.ko:\n"
	files[linuxtest.Dir+"/modules.dep"] = linuxtest.File(deps)
	if !binary {
		return files
	}
	for name, keys := range map[string]map[string][]string{
		"modules.dep": {"a": {"kernel/a.ko: kernel/b-b.ko updates/c.ko"}, "b_b": {"kernel/b-b.ko: updates/c.ko"},
			"c": {"updates/c.ko:"}, "d": {"kernel/d.ko:"}, "e": {"kernel/e.ko:"}, "crc_x": {"kernel/crc-x.ko:"},
			"user": {"kernel/user.ko: kernel/gone.ko"}, "gone": {"kernel/gone.ko:"}},
		"modules.alias": {"pci:v*d00[0-9]*": {"a"}, "fs-demo": {"b_b"}, "pci:v*d001*": {"c"},
			"net-pf-9": {"e"}},
		"modules.builtin":       {"crc_x": {""}},
		"modules.builtin.alias": {"crypto-x": {"crc_x"}},
		"modules.symbols":       {"symbol:do_c": {"c"}},
	} {
		files[linuxtest.Dir+"/"+name+".bin"] = &fstest.MapFile{Data: linuxtest.Index(keys)}
		files[linuxtest.Dir+"/"+name] = linuxtest.File("")
	}
	return files
}

// packagedRoot is the image with a database of each package manager whose form is lines. Some modules are nobody's.
func packagedRoot() fstest.MapFS {
	files := linuxRoot(false)
	const digest = "abababababababababababababababab"
	maps.Copy(files, linuxtest.Files(map[string]string{
		"var/lib/dpkg/info/linux-image.list": "/.\n/" + linuxtest.Dir + "/kernel/a.ko\n/" + linuxtest.Dir +
			"/kernel/b-b.ko\n",
		"var/lib/dpkg/info/linux-image.md5sums": digest + "  " + linuxtest.Dir + "/kernel/a.ko\n",
		"var/lib/dpkg/diversions": "/" + linuxtest.Dir + "/kernel/b-b.ko\n/" + linuxtest.Dir +
			"/kernel/d.ko\nother\n",
		"var/lib/dpkg/status": "Package: other\nStatus: install ok unpacked\nVersion: 1\n\n" +
			"Package: linux-image\nStatus: install ok installed\nVersion: 6.1\n\n",
		"usr/lib/opkg/info/kmod.list": "/" + linuxtest.Dir + "/updates/c.ko\n/" + linuxtest.Dir +
			"/kernel/sub/c.ko\n",
		"lib/apk/db/installed":            "P:linux-lts\nV:1\nF:" + linuxtest.Dir + "/kernel\nR:e.ko\n\n",
		"var/lib/pacman/local/p-1-1/desc": "%NAME%\np\n\n%VERSION%\n1-1\n\n",
		"var/lib/pacman/local/p-1-1/files": "%FILES%\nusr/\nusr/lib/modules/6.1.0-test/kernel/crc-x.ko\n" +
			"usr/lib/modules/6.1.0-test/kernel/user.ko\n\n",
	}))
	return files
}

// roots are the subjects that are images.
func roots(detail lkm.Detail) []*subject {
	open := func(m *faulty) (*lkm.System, error) {
		return lkm.OpenImage(m, lkm.Options{OS: lkm.Linux, Detail: detail})
	}
	list := []*subject{{name: "linux root, packages", open: open, whole: true, only: "discrepancies",
		machine: func() lkm.Machine { return root{packagedRoot()} }, queries: []string{"a"}}}
	for name, binary := range map[string]bool{"root, text indexes": false, "root, binary indexes": true} {
		list = append(list, &subject{name: "linux " + name, open: open,
			machine: func() lkm.Machine { return root{linuxRoot(binary)} },
			queries: []string{"a", "b_b", "c", "d", "e", "odd", "crc_x", "user", "gone", "core", "other", "fs-demo",
				"net-pf-9", "symbol:do_c", "pci:v1d001", "crypto-x"}})
	}
	return list
}
