// SPDX-License-Identifier: Apache-2.0

// Package vm boots a Linux kernel in QEMU, without KVM, into a file tree made by a test, and lets
// the test drive it step by step.
package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kernelext/kernelext/e2e/agent"
)

// QEMU is the program that runs guests.
const QEMU = "qemu-system-x86_64"

// Config describes a guest.
type Config struct {
	Kernel  string   // the host's path of a bzImage
	Image   *Image   // what the guest boots into; its /init must be our guest program
	Cmdline []string // added to the kernel's command line
	Args    []string // added to QEMU's arguments
	Memory  int      // MiB; 0: 512

	Boot time.Duration // time to answer; 0: two minutes
	Life time.Duration // time until the guest is ended whatever it does; 0: ten minutes
}

// A VM is a running guest. Its calls may overlap.
type VM struct {
	BootTime time.Duration // from QEMU's start to the guest's first words

	dir    string
	cancel context.CancelFunc
	client *rpc.Client
	ended  chan struct{} // closed when QEMU is gone
	stderr bytes.Buffer  // QEMU's own words; valid after ended
}

// Boot starts a guest and waits until it answers.
func Boot(ctx context.Context, c Config) (*VM, error) {
	dir, err := os.MkdirTemp("", "kernelext-vm-")
	if err != nil {
		return nil, err
	}
	v := &VM{dir: dir, ended: make(chan struct{})}
	if err := v.boot(ctx, c); err != nil {
		console := v.Console()
		v.Close()
		return nil, fmt.Errorf("boot %s: %w\n%s\n%s", c.Kernel, err, &v.stderr, console)
	}
	return v, nil
}

// boot does Boot's work on a VM that the caller closes when it fails.
func (v *VM) boot(ctx context.Context, c Config) error {
	life, cancel := context.WithTimeout(context.WithoutCancel(ctx), orElse(c.Life, 10*time.Minute))
	v.cancel = cancel
	if err := v.writeImage(c.Image); err != nil {
		close(v.ended)
		return err
	}
	began := time.Now()
	line, err := v.startQEMU(life, c)
	if err != nil {
		close(v.ended)
		return err
	}
	answered := make(chan error, 1)
	go func() { answered <- skipTo(line.Reader, agent.Hello) }()
	select {
	case err = <-answered:
	case <-time.After(orElse(c.Boot, 2*time.Minute)):
		err = errors.New("the guest does not answer")
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	v.BootTime = time.Since(began)
	v.client = rpc.NewClient(line)
	return nil
}

// writeImage writes the initramfs where QEMU finds it.
func (v *VM) writeImage(image *Image) error {
	f, err := os.Create(filepath.Join(v.dir, "initramfs"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := image.Write(f); err != nil {
		return err
	}
	return f.Close()
}

// startQEMU starts QEMU and returns the guest's second serial line, which is QEMU's standard input and output.
func (v *VM) startQEMU(life context.Context, c Config) (*serialLine, error) {
	cmd := exec.CommandContext(life, QEMU, v.arguments(c)...)
	cmd.Stderr = &v.stderr
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of ours: the one of StdoutPipe is closed by Wait, which may lose the guest's last words.
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = outW
	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that started QEMU ends, so this thread stays until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		outW.Close()
		started <- err
		if err == nil {
			cmd.Wait()
			close(v.ended)
		}
	}()
	if err := <-started; err != nil {
		out.Close()
		return nil, err
	}
	return &serialLine{bufio.NewReaderSize(out, 64<<10), in, out}, nil
}

// arguments builds QEMU's command line.
func (v *VM) arguments(c Config) []string {
	memory := c.Memory
	if memory == 0 {
		memory = 512
	}
	words := append([]string{"console=ttyS0", "panic=-1", "loglevel=4", "rdinit=/init", "tsc=reliable",
		"no_timer_check"}, c.Cmdline...)
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-chardev", "file,id=console,path=" + v.consoleFile(), "-serial", "chardev:console",
		"-chardev", "stdio,id=control,signal=off", "-serial", "chardev:control",
		"-kernel", c.Kernel, "-initrd", filepath.Join(v.dir, "initramfs"), "-append", strings.Join(words, " "),
	}
	return append(args, c.Args...)
}

// Console returns what the guest's kernel and its first process said so far.
func (v *VM) Console() string {
	data, err := os.ReadFile(v.consoleFile())
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(data), "?")
}

func (v *VM) consoleFile() string { return filepath.Join(v.dir, "console") }

// Close ends the guest at once and removes its files.
func (v *VM) Close() error {
	v.cancel()
	<-v.ended
	if v.client != nil {
		v.client.Close()
	}
	return os.RemoveAll(v.dir)
}

// A serialLine is the guest's control line.
type serialLine struct {
	*bufio.Reader
	in  io.WriteCloser
	out io.Closer
}

func (l *serialLine) Write(p []byte) (int, error) { return l.in.Write(p) }

func (l *serialLine) Close() error { return errors.Join(l.in.Close(), l.out.Close()) }

// skipTo reads past the first occurrence of a word.
func skipTo(r io.ByteReader, word string) error {
	var seen []byte
	for !bytes.HasSuffix(seen, []byte(word)) {
		b, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("QEMU ended: %w", err)
		}
		seen = append(seen, b)
		seen = seen[max(0, len(seen)-len(word)):]
	}
	return nil
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
