// SPDX-License-Identifier: Apache-2.0

// Package wine runs Windows programs in a Wine prefix of their own: a real service manager and a
// real registry, on Linux. What Wine 8.0 does not have (loaded images beyond a fixed list, trust,
// catalogs, the WMI classes of drivers) is not an oracle for anything.
package wine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/kernelext/kernelext/internal/testing/petest"
)

// Binary is where Debian's wine64 package keeps the program.
const Binary = "/usr/lib/wine/wine64"

// A Prefix is one Windows installation.
type Prefix struct {
	Dir string // WINEPREFIX
}

// Find returns why Wine cannot be run here; nil when it can.
func Find() error {
	if _, err := os.Stat(Binary); err != nil {
		return fmt.Errorf("no Wine: %w (Debian: wine64)", err)
	}
	return nil
}

// New makes a prefix in dir that says it is Windows 10 and in which programs made by a current Go
// start.
func New(ctx context.Context, dir string) (*Prefix, error) {
	p := &Prefix{Dir: dir}
	if out, err := p.run(ctx, 2*time.Minute, "wineboot", "--init"); err != nil {
		return nil, fmt.Errorf("wineboot: %w\n%s", err, out)
	}
	// Go's runtime takes random bytes from bcryptprimitives.dll, which Wine 8.0 lacks: a library
	// whose one function is advapi32's.
	dll := petest.Image{DLL: true, Forward: [2]string{"ProcessPrng", "advapi32.SystemFunction036"}}.Build()
	if err := os.WriteFile(p.Path("windows/system32/bcryptprimitives.dll"), dll, 0o644); err != nil {
		return nil, err
	}
	if out, err := p.run(ctx, time.Minute, "winecfg", "-v", "win10"); err != nil {
		return nil, fmt.Errorf("winecfg: %w\n%s", err, out)
	}
	return p, nil
}

// Path returns where a file of drive C: lies on the host.
func (p *Prefix) Path(name string) string { return filepath.Join(p.Dir, "drive_c", name) }

// Command makes a command that runs a Windows program by its path on the host.
func (p *Prefix) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, Binary, append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), "WINEPREFIX="+p.Dir, "WINEARCH=win64", "WINEDEBUG=-all", "DISPLAY=")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (p *Prefix) run(ctx context.Context, limit time.Duration, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return p.Command(ctx, program, args...).CombinedOutput()
}

// Close ends the programs of the prefix.
func (p *Prefix) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/lib/wine/wineserver64", "-k")
	cmd.Env = append(os.Environ(), "WINEPREFIX="+p.Dir)
	_ = cmd.Run()
}
