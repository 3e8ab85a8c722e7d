// SPDX-License-Identifier: Apache-2.0

package modprobe

import (
	"strings"
	"testing"
)

func TestEffectOf(t *testing.T) {
	for command, want := range map[string]Effect{
		"/bin/false": CommandFails, "/usr/bin/false": CommandFails, "false": CommandFails,
		"/bin/false # CVE": CommandFails,
		"/bin/true":        CommandNothing, ":": CommandNothing, "exit 0": CommandNothing, "exit 1": CommandFails,
		"/bin/echo off; /bin/false": CommandFails, "logger off && false": CommandFails, "false && true": CommandFails,
		"false; true":         CommandNothing,
		"/sbin/modprobe -i x": CommandLoads, "modprobe --ignore-install x $CMDLINE_OPTS && /opt/x": CommandLoads,
		"insmod /opt/x.ko": CommandLoads,
		"modprobe -i y":    CommandUnknown, "modprobe x": CommandUnknown, "/opt/load": CommandUnknown,
		"true || insmod /tmp/y": CommandUnknown,
		"/bin/false | cat":      CommandUnknown, "$(cat /x)": CommandUnknown, "true & /opt/x": CommandUnknown,
		"/bin/falsey":               CommandUnknown,
		"/bin/true; modprobe -qi x": CommandLoads,
		`echo ' #'; /opt/load`:      CommandUnknown, `echo " #"; sh -c "modprobe -i x"`: CommandUnknown,
		`echo "off" ; /bin/false`: CommandFails, `echo "$(modprobe -i y)"`: CommandUnknown,
		`echo 'modprobe -i x'`: CommandNothing, "/bin/false # modprobe -i x": CommandFails,
		"/bin/false;# modprobe -i x": CommandFails, `echo "a`: CommandUnknown, `"/bin/false"`: CommandUnknown,
		`modprobe -i x; echo "it's in"`: CommandLoads, "false#": CommandUnknown, `fal''se`: CommandUnknown,
		"/bin/false && /bin/true; /opt/load": CommandUnknown, "false && true; true": CommandNothing,
		"false && /opt/load": CommandFails, "true && /opt/load": CommandUnknown,
		"false; exit": CommandFails, "exit 0; /opt/load": CommandNothing, "exit 1; /opt/load": CommandFails,
		"true &":                           CommandUnknown,
		"/run/current-system/sw/bin/false": CommandFails, "/nix/store/abc-coreutils-9/bin/true": CommandNothing,
		"/tmp/false": CommandUnknown, "./true": CommandUnknown, "/tmp/../bin/true": CommandUnknown,
		"/nix/store/../bin/true": CommandUnknown,
	} {
		if got := EffectOf(command, "x"); got != want {
			t.Errorf("%q: %s, want %s", command, got, want)
		}
	}
}

// TestOnlyLoadsItself: whatever is beside the one call may load something else.
func TestOnlyLoadsItself(t *testing.T) {
	for command, want := range map[string]bool{
		"/sbin/modprobe --ignore-install x_y": true, "modprobe -i x-y": true, "  /usr/sbin/modprobe\t-i x_y ": true,
		"/tmp/modprobe -i x_y": false, "modprobe x_y": false, "modprobe -i other": false, "modprobe -r x_y": false,
		"modprobe -i x_y && /opt/x": false, "modprobe -i x_y; true": false, "modprobe -i x_y $CMDLINE_OPTS": false,
		"modprobe -i x_y;": false, "modprobe -i $(x)": false, "insmod -i x_y": false, "": false,
		"modprobe -i x_y # why": false,
	} {
		if got := OnlyLoadsItself(command, "x_y"); got != want {
			t.Errorf("%q: %v, want %v", command, got, want)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add("/sbin/modprobe -i x && false; true", "x")
	f.Fuzz(func(t *testing.T, command, module string) {
		switch EffectOf(command, module) {
		case CommandFails, CommandNothing:
			if strings.ContainsAny(command, "|`$") && !hasComment(command) {
				t.Fatalf("%q was judged", command)
			}
		case CommandLoads, CommandUnknown:
		default:
			t.Fatal("no such effect")
		}
	})
}

// hasComment reports whether a shell may take the rest of the command from some # on for a comment: one that begins a
// word.
func hasComment(command string) bool {
	for i := range len(command) {
		if command[i] == '#' && (i == 0 || strings.IndexByte(" \t\n\r\v\f;&|()<>", command[i-1]) >= 0) {
			return true
		}
	}
	return false
}
