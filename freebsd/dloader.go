// SPDX-License-Identifier: Apache-2.0

package freebsd

import (
	"cmp"
	"path"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// readDloader reads what DragonFly's dloader(8) reads: its own program includes the files of /boot, and its menu those
// of the kernel's directory (stand/boot/dloader: dloader.rc, dloader.menu). It obeys neither lists of files nor
// nextboot.conf, commands or module_blacklist: cmds.c knows none of them.
func (c *config) readDloader() {
	c.forth = fact.No
	add := c.Loader.ReadLoader
	for _, name := range []string{loaderDefaults, "boot/loader.conf", "boot/loader.conf.local"} {
		c.readFile(name, SourceLoaderConf, add)
	}
	for _, name := range []string{"loader.conf", "loader.conf.local"} {
		if file := path.Join("boot", c.kernelName(), name); path.Dir(file) != "boot" {
			c.readFile(file, SourceLoaderConf, add)
		}
	}
}

// dloaderKernel returns the directory of the kernel that dloader(8) boots: its menu goes into default_kernel, and
// loadall loads "kernel" there. It does not look at kernel=, which loader.conf(5) has.
func (c *config) dloaderKernel() string {
	s, _ := c.Loader.Lookup("default_kernel")
	return cmp.Or(s.Value, kernelName)
}

// dloaderPath returns where klds are beside the kernel's own directory. The menu replaces the module_path of
// /boot/loader.conf, and a file of the kernel's directory the menu's: the file may be in any of these.
func (c *config) dloaderPath() []string {
	s, _ := c.Loader.Lookup("module_path")
	dirs := splitModulePath("/boot/modules;/boot/modules.local")
	for _, d := range splitModulePath(s.Value) {
		if strings.HasPrefix(d, "/") {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// loads reports whether the boot loader takes a value of NAME_load for yes: dloader's loadall knows two spellings.
func (c *config) loads(value string) bool {
	if c.dloader {
		return value == "yes" || value == "YES"
	}
	return strings.EqualFold(value, "YES")
}
