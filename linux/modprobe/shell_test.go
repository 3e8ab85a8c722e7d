// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/kernelext/kernelext/internal/testing/linuxtest"
)

// shellRoot is a root with scripts, as hardening collections install them, and a program.
func shellRoot() fstest.MapFS {
	return linuxtest.Files(map[string]string{
		"usr/bin/refuse": "#!/bin/bash\n## Copyright\n\n## Alerts the user.\n\n" +
			"echo \"$0: ERROR: this module is disabled. See /etc/x.conf | args: $@\" >&2\n\nexit 1\n",
		"usr/bin/quiet": "#!/bin/sh\n:\n",
		"usr/bin/logs": "#!/usr/bin/env bash\nset -e\nlogger -t x \"blocked $1\" || true\n" +
			"printf '%s\\n' no >/dev/kmsg; exit 0\n",
		"usr/bin/loads":    "#!/bin/sh\necho loading\nmodprobe -i lone\n",
		"usr/bin/hides":    "#!/bin/sh\necho $(modprobe -i lone)\n",
		"usr/bin/ticks":    "#!/bin/sh\necho \"`modprobe -i lone`\"\n",
		"usr/bin/writes":   "#!/bin/sh\necho lone > /proc/x\n",
		"usr/bin/sources":  "#!/bin/sh\n. /opt/lib.sh\nexit 1\n",
		"usr/bin/branches": "#!/bin/sh\nif true; then modprobe lone; fi\nexit 1\n",
		"usr/bin/after":    "#!/bin/sh\nexit 1\nmodprobe lone\n",
		"usr/bin/here":     "#!/bin/sh\nsh <<E\nmodprobe lone\nE\nexit 1\n",
		"usr/bin/sets":     "#!/bin/sh\nPATH=/tmp logger x\nexit 1\n",
		"usr/bin/python":   "#!/usr/bin/python3\nexit(1)\n",
		"usr/bin/program":  "\x7fELF",
		"usr/bin/circle":   "#!/bin/sh\n/usr/bin/circle\n",
		"usr/bin/long":     "#!/bin/sh\n" + strings.Repeat("#\n", maxScript) + "exit 1\n",
		"usr/bin/calls":    "#!/bin/sh\n/usr/bin/refuse x\n",
		"usr/bin/crlf":     "#!/bin/sh\necho x\r\nexit 1\r\n",
	})
}

// TestEffectIn: a command that only prints, logs and exits loads nothing; what is not known to be one may load.
func TestEffectIn(t *testing.T) {
	root := shellRoot()
	root["usr/bin/link"] = linuxtest.Link("refuse")
	root["usr/bin/gone"] = linuxtest.Link("/opt/gone")
	root["dev/null"] = &fstest.MapFile{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}
	for command, want := range map[string]Effect{
		"/usr/bin/refuse": CommandFails, "/usr/bin/refuse lone": CommandFails, "/usr/bin/quiet": CommandNothing,
		"/usr/bin/logs": CommandNothing, "/usr/bin/link": CommandFails, "/usr/bin/calls": CommandFails,
		"/usr/bin/env false": CommandFails, "env true": CommandNothing, "sh -c 'exit 1'": CommandFails,
		"/bin/sh -c 'exit 0'": CommandNothing, "/bin/bash -c \"echo no; false\"": CommandFails,
		"{ echo x; false; }": CommandFails, "/usr/sbin/nologin": CommandFails, "/sbin/nologin": CommandFails,
		"/dev/null": CommandFails, "/usr/bin/not-there": CommandFails, "/usr/bin/gone": CommandFails,
		"echo no >&2; exit 1": CommandFails, "echo no 1>&2 || true": CommandNothing, "false || exit 0": CommandNothing,
		"echo x | logger -t y": CommandNothing, "exec /bin/false": CommandFails, "/usr/bin/crlf": CommandFails,
		"/usr/bin/after": CommandFails,

		"/usr/bin/loads": CommandUnknown, "/usr/bin/hides": CommandUnknown, "/usr/bin/ticks": CommandUnknown,
		"/usr/bin/writes": CommandUnknown, "/usr/bin/sources": CommandUnknown, "/usr/bin/branches": CommandUnknown,
		"/usr/bin/here": CommandUnknown, "/usr/bin/sets": CommandUnknown,
		"/usr/bin/python": CommandUnknown, "/usr/bin/program": CommandUnknown, "/usr/bin/circle": CommandUnknown,
		"/usr/bin/long": CommandUnknown, "env PATH=/tmp false": CommandUnknown, "env -i x": CommandUnknown,
		"sh -c 'modprobe x'": CommandUnknown, "sh /opt/x": CommandUnknown, "sh -c \"$X\"": CommandUnknown,
		"not-there": CommandUnknown, "echo x > /etc/y": CommandUnknown, "echo $(id)": CommandUnknown,
		"true & /opt/x": CommandUnknown, "$SHELL": CommandUnknown, "false && /usr/bin/program": CommandFails,
		"echo 'x": CommandUnknown, "/sbin/modprobe x": CommandUnknown, "echo ${X:=$(id)}": CommandUnknown,
	} {
		if got := EffectIn(root, command, "lone"); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
}

// TestEffectOfWhatIsElsewhere: a program on a file system that is not mounted may be there, and one that cannot be read
// may do anything.
func TestEffectOfWhatIsElsewhere(t *testing.T) {
	root := shellRoot()
	root["etc/fstab"] = linuxtest.File("/dev/sda2 /opt ext4 defaults 0 2\n")
	if got := EffectIn(root, "/opt/x", "lone"); got != CommandUnknown {
		t.Errorf("not mounted: %s", got)
	}
	root["opt/y"] = linuxtest.File("")
	if got := EffectIn(root, "/opt/x", "lone"); got != CommandFails {
		t.Errorf("mounted: %s", got)
	}
	if got := EffectIn(linuxtest.Refusing(root, "usr/bin/refuse", fs.ErrPermission), "/usr/bin/refuse",
		"lone"); got != CommandUnknown {
		t.Errorf("unreadable: %s", got)
	}
}

func FuzzShell(f *testing.F) {
	for _, m := range shellRoot() {
		f.Add(string(m.Data))
	}
	f.Add("{ echo x; false; } 2>&1 | logger \"$0\" 'y' && exit 1")
	f.Fuzz(func(t *testing.T, text string) {
		effect := EffectIn(fstest.MapFS{}, text, "lone")
		// A word that is another program's name, outside of quotes and comments, makes it unknown.
		if effect != CommandUnknown && effect != CommandLoads && strings.HasPrefix(text, "modprobe") {
			t.Errorf("%q: %s", text, effect)
		}
	})
}
