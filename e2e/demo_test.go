// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
	"github.com/kernelext/kernelext/e2e/debian"
	"github.com/kernelext/kernelext/e2e/lab"
)

// demoName is the tape that shows what lkm can answer, on any system.
const demoName = "debian-6.12-cloud-root"

// maxDemo is the size that the demo tape should not exceed, compressed: it has the module files that upgrade compares.
const maxDemo = 2 << 20

// demoConfig are the files of the demo machine: a block that does not hold, one that does, and a list of modules.
var demoConfig = map[string]string{
	"/etc/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
	"/etc/fstab":      "/dev/vda1 / ext4 errors=remount-ro 0 1\n",
	"/etc/modprobe.d/cve.conf": "# CVE-2026-31431: this line alone does not stop the kernel's own request\n" +
		"blacklist algif_aead\n",
	"/etc/modprobe.d/cis.conf": "install cramfs /bin/false\nblacklist cramfs\n" +
		"install udf /bin/false\noptions loop max_loop=8\nblacklist usb-storage uas\n",
	"/etc/modules": "# loaded at boot\nnf_tables\nvxlan\n",
}

// demoGuest is a guest with two kernels installed that runs the newer one.
func demoGuest(t *testing.T) (g *lab.Guest, other string) {
	t.Helper()
	k, old := lab.Kernel(t, debian.Cloud612), lab.Kernel(t, debian.Cloud61)
	modules := append([]string{"algif_aead", "ext4", "udf", "virtio_blk"}, wanted...)
	i := lab.Image(t, k, modules...)
	lab.AddModules(t, i, old, wanted...)
	for name, text := range demoConfig {
		i.Add(name, 0o644, []byte(text))
	}
	for _, kernel := range []debian.Kernel{k, old} {
		i.Copy("/boot/config-"+kernel.Release, kernel.Config())
	}
	i.Add("/boot/grub/grub.cfg", 0o600, []byte("menuentry 'Debian GNU/Linux' {\n\tlinux /boot/vmlinuz-"+k.Release+
		" root=/dev/vda1 ro quiet\n}\nmenuentry 'Debian GNU/Linux, older' {\n\tlinux /boot/vmlinuz-"+old.Release+
		" root=/dev/vda1 ro quiet\n}\n"))
	return play(t, k, i), old.Release
}

// TestDemo records the demo tape and checks that it answers what the machine answers.
func TestDemo(t *testing.T) {
	t.Parallel()
	lkm := filepath.Join(t.TempDir(), "lkm")
	if err := os.WriteFile(lkm, lab.Program(t, ".", "./cmd/lkm"), 0o755); err != nil {
		t.Fatal(err)
	}
	g, other := demoGuest(t)
	machine := guestLkm(g, 0)
	g.Root("depmod", "-a") // the indexes name what is there
	g.Root("depmod", "-a", other)
	there := "/tmp/demo.tape"
	machine.run(t, "record", "-o", there, "--detail", recordDetail, "--comment", "e2e: go test -run TestDemo -record",
		"--upgrade", other, "algif_aead", "udf", "nf_tables", "ext4")
	recorded := machine.read(t, there)
	here := filepath.Join(t.TempDir(), "demo.tape")
	if err := os.WriteFile(here, recorded, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"check algif_aead udf cramfs vxlan", "resolve ext4", "resolve net-pf-38", "tree nf_tables", "plan vxlan",
		"policy", "config", "config --lint", "upgrade " + other, "list --installed", "info algif_aead", "discrepancies",
	} {
		t.Run(words, func(t *testing.T) {
			args := strings.Fields(words)
			local := g.For(t).Do(agent.Command{Argv: append([]string{lab.Lkm}, args...), Timeout: 4 * time.Minute})
			played, code := exitOf(t, append(append([]string{lkm}, args...), "--tape", here)...)
			if played = steady(played); played != steady(string(local.Stdout)) || code != local.Code {
				t.Errorf("the tape: exit %d\n%s\nthe machine: exit %d\n%s%s", code, played, local.Code, local.Stdout,
					local.Stderr)
			}
			if code > 1 {
				t.Errorf("exit %d\n%s%s", code, local.Stdout, local.Stderr)
			}
		})
	}
	packed := pack(t, recorded)
	t.Logf("%d bytes, %d compressed", len(recorded), len(packed))
	if len(packed) > maxDemo {
		t.Errorf("%d bytes, want at most %d", len(packed), maxDemo)
	}
	if *record {
		keep(t, demoName+".tape.gz", packed)
	}
}

// steady leaves out what another process moves, what a tape does not hold, and the width of columns.
func steady(s string) string {
	s = keyLine.ReplaceAllString(s, "/proc/keys")
	return spaces.ReplaceAllString(strings.ReplaceAll(s, "max_loop=8", "max_loop=[redacted]"), " ")
}

var (
	keyLine = regexp.MustCompile("/proc/keys:[0-9]+")
	spaces  = regexp.MustCompile(" +")
)

// exitOf runs a program of this machine and returns what it printed and its exit code.
func exitOf(t *testing.T, argv ...string) (stdout string, code int) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		return string(out), failed.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
