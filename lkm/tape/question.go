// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"cmp"
	"errors"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/lkm"
)

// Questions is the number of the set of questions that this version asks a machine. A [Recorder] writes it in the
// header. It is raised once for each release that asks something new, never for a single question.
const Questions = 2

// A lateQuestion is what this library learned to ask after the first tapes were recorded. An older tape has no answer
// to it, and that is not a fault of the recorder.
type lateQuestion struct {
	// since is the first number of Header.Questions whose recorder asks it.
	since int
	// os is the system that is asked; empty means every system.
	os lkm.OS
	// op is open, read, readdir, stat, lstat, readlink or call; empty means every question about a path. "read" is
	// for parts of a file that was read in parts before.
	op string
	// subject is a slash path, or a call's op and arguments with a space between them. * stands for any characters
	// but / and \ and a space, ** for any characters. On Windows upper and lower case are the same.
	subject string
}

// learned are the questions that are younger than the first tapes, by number. A row goes here in the same change that
// makes the library ask; see CONTRIBUTING.md.
var learned = []lateQuestion{
	// The log of the database of approvals, and the profile of a management server.
	{2, lkm.Darwin, "", "private/var/db/SystemPolicyConfiguration/KextPolicy-*"},
	{2, lkm.Darwin, "", "Library/Managed Preferences/com.apple.system-extension-policy.plist"},
	// a signature in files beside the code, links in place of sealed files
	{2, lkm.Darwin, "open", "**/_CodeSignature/CodeDirectory"},
	{2, lkm.Darwin, "open", "**/_CodeSignature/CodeRequirements"},
	{2, lkm.Darwin, "open", "**/_CodeSignature/CodeSignature"},
	{2, lkm.Darwin, "lstat", "**"},
	{2, lkm.Darwin, "readdir", "**.kext"},
	{2, lkm.Darwin, "readdir", "**.dext"},
	{2, lkm.Darwin, "readdir", "**/_CodeSignature"},
	// whose files they are: databases that were not read, and more of those that were
	{2, lkm.Linux, "", "var/lib/dpkg/status"},
	{2, lkm.DragonFly, "", "boot/*/loader.conf*"},
	{2, lkm.Linux, "", "var/lib/dpkg/diversions"},
	{2, lkm.Linux, "", "var/lib/dpkg/info/*.md5sums"},
	{2, lkm.Linux, "", "*/lib/opkg/info/*.control"},
	{2, lkm.Linux, "", "usr/lib/apk/db/installed"},
	{2, lkm.Linux, "", "usr/lib/sysimage/rpm/*"},
	{2, lkm.Linux, "", "usr/share/rpm/*"},
	{2, lkm.Linux, "", "var/lib/rpm/*"},
	{2, lkm.Linux, "", "var/lib/pacman/local/*/desc"},
	{2, lkm.Linux, "", "var/lib/pacman/local/*/mtree"},
	{2, lkm.Windows, opCall, "registry_subkeys **"},
	{2, lkm.Windows, opCall, `registry SOFTWARE\Policies\Microsoft\Windows\DeviceInstall\Restrictions**`},
	{2, lkm.Windows, opCall, `registry *\DriverDatabase\DeviceIds\**`},
	{2, lkm.Windows, opCall, `registry SYSTEM\CurrentControlSet\Control\CrashControl`},
	{2, lkm.Windows, opCall, `registry SYSTEM\CurrentControlSet\Control\Session Manager**`},
	{2, lkm.Windows, opCall, `registry SYSTEM\CurrentControlSet\Control\CI\Policy`},
	{2, lkm.Windows, "open", "C:/Windows/System32/DriverStore/FileRepository/**.inf"},
	{2, lkm.Windows, "readdir", "C:/Windows/System32/DriverStore/FileRepository/*/**"},
	{2, lkm.Windows, "readdir", "C:/Windows/System32/drivers/**"},
	// what was not written back of the registry of a disk
	{2, lkm.Windows, "open", "C:/Windows/System32/config/*.LOG*"},
	// what a boot starts: the default entry, initial file systems, mount points, another kernel
	{2, lkm.Linux, "", "sys/kernel/kexec_loaded"},
	{2, lkm.Linux, "", "etc/fstab"},
	{2, lkm.Linux, "readdir", "boot"},
	{2, lkm.Linux, "readdir", "usr/lib/ostree-boot"},
	{2, lkm.Linux, "", "boot/loader/loader.conf"},
	{2, lkm.Linux, "", "boot/efi/loader/loader.conf"},
	{2, lkm.Linux, "", "efi/loader/loader.conf"},
	{2, lkm.Linux, "readdir", "ostree/deploy"},
	{2, lkm.Linux, "", "ostree/**"},
	{2, lkm.Linux, "", "sysroot/ostree"},
	{2, lkm.Linux, "", "run/ostree/staged-deployment"},
	{2, lkm.Linux, "readdir", ".snapshots"},
	{2, lkm.Linux, "open", ".snapshots/*/info.xml"},
	{2, lkm.Linux, "readlink", "dev/**"},
	// from what boot entries are made
	{2, lkm.Linux, "", "etc/default/grub"},
	{2, lkm.Linux, "", "etc/default/grub.d"},
	{2, lkm.Linux, "", "etc/default/grub.d/*"},
	{2, lkm.Linux, "", "etc/cmdline.d"},
	{2, lkm.Linux, "", "etc/cmdline.d/*"},
	{2, lkm.Linux, "", "*/kernel/install.conf"},
	{2, lkm.Linux, "", "usr/lib/kernel/install.conf"},
	{2, lkm.Linux, "", "usr/local/lib/kernel/install.conf"},
	{2, lkm.Linux, "", "boot/*/grubenv"},
	{2, lkm.Linux, "stat", "boot/initr*"},
	{2, lkm.Linux, "stat", "lib/modules/*/initr*"},
	{2, lkm.Linux, "stat", "usr/lib/modules/*/initr*"},
	// the tool that makes an initial file system, for the text of a remedy
	{2, lkm.Linux, "stat", "sbin/mkinitfs"},
	{2, lkm.Linux, "stat", "usr/bin/dracut"},
	{2, lkm.Linux, "stat", "usr/bin/mkinitcpio"},
	{2, lkm.Linux, "stat", "usr/sbin/dracut"},
	{2, lkm.Linux, "stat", "usr/sbin/update-initramfs"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/Loader*"},
	// what a machine uses of its kernel: the root disk, drivers of devices, lists of modules
	{2, lkm.Linux, "", "proc/1/mountinfo"},
	{2, lkm.Linux, "", "sys/dev/block/**"},
	{2, lkm.Linux, "", "sys/class/block/**"},
	{2, lkm.Linux, "", "sys/devices/**"},
	{2, lkm.Linux, "readlink", "sys/bus/*/devices/*/driver"},
	{2, lkm.Linux, "readlink", "sys/bus/*/devices/*/driver/module"},
	{2, lkm.Linux, "", "sys/fs/btrfs"},
	{2, lkm.Linux, "", "sys/fs/btrfs/**"},
	{2, lkm.Linux, "", "etc/veritytab"},
	{2, lkm.Linux, "", "etc/integritytab"},
	{2, lkm.Linux, "", "etc/crypttab"},
	{2, lkm.Linux, "", "*bin/kmod"},
	{2, lkm.Linux, "", "usr/*bin/kmod"},
	{2, lkm.Linux, "readdir", "usr/src/akmods"},
	{2, lkm.Linux, "", "etc/initramfs-tools/modules"},
	{2, lkm.Linux, "", "etc/mkinitcpio.conf"},
	{2, lkm.Linux, "", "etc/mkinitcpio.conf.d/**"},
	{2, lkm.Linux, "", "etc/dracut.conf"},
	{2, lkm.Linux, "", "etc/dracut.conf.d/**"},
	{2, lkm.Linux, "", "usr/lib/dracut/**"},
	{2, lkm.Linux, "", "etc/systemd/system/**"},
	{2, lkm.Linux, "", "usr/lib/systemd/system/**"},
	{2, lkm.Linux, "", "lib/systemd/system/**"},
	{2, lkm.Linux, "", "etc/modprobe.conf"},
	// whose root it is
	{2, lkm.Linux, "stat", ".dockerenv"},
	{2, lkm.Linux, "stat", "run/.containerenv"},
	{2, lkm.Linux, "stat", "run/systemd/container"},
	{2, lkm.Linux, "readlink", "proc/1/ns/pid"},
	// what a boot lays over the root, builds, or gives the kernel
	{2, lkm.Linux, "", "etc/extensions"},
	{2, lkm.Linux, "", "etc/extensions/**"},
	{2, lkm.Linux, "", "var/lib/extensions"},
	{2, lkm.Linux, "", "var/lib/extensions/**"},
	{2, lkm.Linux, "", "**/confexts"},
	{2, lkm.Linux, "", "**/confexts/**"},
	{2, lkm.Linux, "stat", "**/extension-release.d/*"},
	{2, lkm.Linux, "", "var/lib/dkms/**"},
	{2, lkm.Linux, "stat", "etc/init.d/dkms*"},
	{2, lkm.Linux, "stat", "**/extra/*"},
	{2, lkm.Linux, "stat", "**/build"},
	{2, lkm.Linux, "", "etc/ima/ima-policy"},
	{2, lkm.Linux, "", "etc/sysconfig/ima-policy"},
	// live patches, and another kernel
	{2, lkm.Linux, "", "sys/kernel/livepatch"},
	{2, lkm.Linux, "", "sys/kernel/livepatch/**"},
	{2, lkm.Linux, "", "sys/kernel/kexec_crash_loaded"},
	{2, lkm.Linux, "", "proc/sys/kernel/kexec_load_disabled"},
	// the certificates that modules are verified with
	{2, lkm.Linux, "", "boot/vmlinu*"},
	{2, lkm.Linux, "", "boot/Image-*"},
	{2, lkm.Linux, "", "boot/kernel-*"},
	{2, lkm.Linux, "", "boot/*/*/linux"},
	{2, lkm.Linux, "", "boot/efi/*/*/linux"},
	{2, lkm.Linux, "", "efi/*/*/linux"},
	{2, lkm.Linux, "", "etc/machine-id"},
	{2, lkm.Linux, "", "usr/lib/ostree-boot/vmlinuz-*"},
	{2, lkm.Linux, "", "lib/modules/*/vmlinu*"},
	{2, lkm.Linux, "", "lib/modules/*/Image"},
	{2, lkm.Linux, "", "usr/lib/modules/*/vmlinu*"},
	{2, lkm.Linux, "", "usr/lib/modules/*/Image"},
	{2, lkm.Linux, "", "sys/kernel/notes"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/db-*"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/dbx-*"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/MokListRT-*"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/MokListXRT-*"},
	{2, lkm.Linux, "", "sys/firmware/efi/efivars/MokIgnoreDB-*"},
	{2, lkm.Linux, "", "sys/firmware/efi/mok-variables/*"},
	{2, lkm.Linux, "", "var/lib/dkms/mok.pub"},
	{2, lkm.Linux, "", "var/lib/shim-signed/mok/MOK.der"},
	{2, lkm.Linux, "", "etc/pki/akmods/certs"},
	{2, lkm.Linux, "", "etc/pki/akmods/certs/*"},
	{2, lkm.Linux, "", "etc/keys"},
	{2, lkm.Linux, "", "etc/keys/*"},
	{2, lkm.Linux, "", "lib/modules/*/build/certs/signing_key.x509"},
	{2, lkm.Linux, "", "usr/lib/modules/*/build/certs/signing_key.x509"},
	{2, lkm.Linux, "", "usr/share/doc/kernel-keys/*"},
	{2, lkm.Linux, "", "usr/share/doc/kernel-keys/*/*"},
	// Android's lists
	{2, lkm.Linux, "", "*/lib/modules/modules.load"},
	{2, lkm.Linux, "", "*/lib/modules/modules.blocklist"},
	// FreeBSD: what the next boot loads, and whose files they are.
	{2, lkm.FreeBSD, "stat", "**"},
	{2, lkm.FreeBSD, "readlink", "**"},
	{2, lkm.FreeBSD, "readdir", "boot"},
	{2, lkm.FreeBSD, "", "boot/*/kernel.gz"},
	{2, lkm.FreeBSD, "", "boot/nextboot.conf"},
	{2, lkm.FreeBSD, "", "etc/defaults/vendor.conf"},
	{2, lkm.FreeBSD, "", "etc/sysctl.conf"},
	{2, lkm.FreeBSD, "", "etc/fstab"},
	{2, lkm.FreeBSD, "read", "boot/**"},
	{2, lkm.FreeBSD, "", "etc/rc"},
	{2, lkm.FreeBSD, "", "etc/rc.local"},
	{2, lkm.FreeBSD, "readdir", "etc"},
	{2, lkm.FreeBSD, "", "etc/start_if.*"},
	{2, lkm.FreeBSD, "", "etc/devd.conf"},
	{2, lkm.FreeBSD, "", "etc/devd/**"},
	{2, lkm.FreeBSD, "readdir", "etc/devd"},
	{2, lkm.FreeBSD, "", "usr/local/etc/devd/**"},
	{2, lkm.FreeBSD, "readdir", "usr/local/etc/devd"},
	{2, lkm.FreeBSD, "", "etc/sysctl.conf.local"},
	{2, lkm.FreeBSD, "", "etc/rc.firewall"},
	{2, lkm.FreeBSD, "", "etc/ipfw*"},
	{2, lkm.FreeBSD, "", "etc/jail.conf"},
	{2, lkm.FreeBSD, "", "etc/jail.conf.d"},
	{2, lkm.FreeBSD, "", "etc/jail.conf.d/*"},
	{2, lkm.FreeBSD, "", "etc/crontab"},
	{2, lkm.FreeBSD, "", "etc/cron.d"},
	{2, lkm.FreeBSD, "", "etc/cron.d/*"},
	{2, lkm.FreeBSD, "", "usr/local/etc/cron.d"},
	{2, lkm.FreeBSD, "", "usr/local/etc/cron.d/*"},
	{2, lkm.FreeBSD, "", "var/cron/tabs/root"},
	{2, lkm.FreeBSD, "", "etc/rc.d"},
	{2, lkm.FreeBSD, "", "etc/rc.d/*"},
	{2, lkm.FreeBSD, "", "usr/local/etc/rc.d"},
	{2, lkm.FreeBSD, "", "usr/local/etc/rc.d/*"},
	{2, lkm.FreeBSD, "", "**/linker.hints"},
	{2, lkm.FreeBSD, "", "var/db/pkg/**"},
	{2, lkm.FreeBSD, "readdir", "boot/lua"},
	{2, lkm.FreeBSD, "", "boot/lua/*"},
	{2, lkm.FreeBSD, "", "boot/*.4th"},
	{2, lkm.FreeBSD, "", "boot/*.rc"},
	{2, lkm.FreeBSD, "", "boot/*.rc.local"},
	{2, lkm.FreeBSD, "", "boot/loader.conf.d/**"},
	// DragonFly: what the next boot loads, and whose files they are.
	{2, lkm.DragonFly, "stat", "**"},
	{2, lkm.DragonFly, "readlink", "**"},
	{2, lkm.DragonFly, "readdir", "boot"},
	{2, lkm.DragonFly, "", "boot/*/kernel.gz"},
	{2, lkm.DragonFly, "", "boot/nextboot.conf"},
	{2, lkm.DragonFly, "", "etc/defaults/vendor.conf"},
	{2, lkm.DragonFly, "", "etc/sysctl.conf"},
	{2, lkm.DragonFly, "", "etc/sysctl.conf.local"},
	{2, lkm.DragonFly, "", "etc/fstab"},
	{2, lkm.DragonFly, "", "etc/rc.d"},
	{2, lkm.DragonFly, "", "etc/rc.d/*"},
	{2, lkm.DragonFly, "", "usr/local/etc/rc.d"},
	{2, lkm.DragonFly, "", "usr/local/etc/rc.d/*"},
	{2, lkm.DragonFly, "", "**/linker.hints"},
	{2, lkm.DragonFly, "", "var/db/pkg/**"},
	{2, lkm.DragonFly, "readdir", "boot/lua"},
	{2, lkm.DragonFly, "", "boot/lua/*"},
	{2, lkm.DragonFly, "", "boot/*.4th"},
	{2, lkm.DragonFly, "", "boot/*.rc"},
	{2, lkm.DragonFly, "", "boot/dloader.menu"},
	{2, lkm.DragonFly, "", "boot/*.rc.local"},
	{2, lkm.DragonFly, "", "boot/loader.conf.d/**"},
}

// unanswered returns why the tape has no answer to the question op about subject, a path or the words of a call.
func (t *Tape) unanswered(op, subject string) error {
	for i := range t.learned {
		q := &t.learned[i]
		if q.since > t.header.Questions && q.covers(t.header.OS, t.fold, op, subject) {
			return olderError{max(t.header.Questions, 1)}
		}
	}
	return fact.ErrUnrecorded
}

// covers reports whether the question is op about subject, asked of a system.
func (q *lateQuestion) covers(os lkm.OS, fold bool, op, subject string) bool {
	switch {
	case q.os != "" && q.os != os, q.op != "" && q.op != op, q.op == "" && op == opCall:
		return false
	}
	return glob(foldName(q.subject, fold), foldName(subject, fold))
}

// glob reports whether pattern, in the form of lateQuestion.subject, stands for the whole of s.
func glob(pattern, s string) bool {
	retry, from := "", 0 // the pattern after the last **, and where in s its text was tried last
	short, at := "", 0   // the same of the last *
	haveRetry, haveShort := false, false
	for i := 0; ; {
		switch {
		case strings.HasPrefix(pattern, "**"):
			pattern = pattern[2:]
			retry, from, haveRetry, haveShort = pattern, i, true, false
			continue
		case strings.HasPrefix(pattern, "*"):
			pattern = pattern[1:]
			short, at, haveShort = pattern, i, true
			continue
		case i < len(s) && pattern != "" && pattern[0] == s[i]:
			pattern, i = pattern[1:], i+1
			continue
		case i == len(s) && pattern == "":
			return true
		}
		switch {
		case haveShort && at < len(s) && !strings.ContainsRune(`/\ `, rune(s[at])):
			at++
			pattern, i = short, at
		case haveRetry && from < len(s):
			from++
			pattern, i, haveShort = retry, from, false
		default:
			return false
		}
	}
}

// An olderError is the answer of a tape that is older than the question.
type olderError struct {
	questions int // of the tape
}

func (olderError) Error() string { return fact.ErrOlder.Error() }

func (olderError) Unwrap() error { return fact.ErrOlder }

// questionsOf returns the number of the questions of the tape that err is an answer of, Questions for any other error.
func questionsOf(err error) int {
	var older olderError
	if errors.As(err, &older) {
		return cmp.Or(older.questions, 1)
	}
	return Questions
}
