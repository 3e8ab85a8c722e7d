// SPDX-License-Identifier: Apache-2.0

package wmi

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kernelext/kernelext/windows"
)

type fake struct {
	drivers func() ([]windows.WMIDriver, error)
	signed  []windows.WMISignedDriver
}

func (f fake) Drivers() ([]windows.WMIDriver, error)             { return f.drivers() }
func (f fake) SignedDrivers() ([]windows.WMISignedDriver, error) { return f.signed, nil }

func TestRows(t *testing.T) {
	want := []windows.WMIDriver{
		{Name: "ACPI", DisplayName: "Microsoft ACPI Driver", PathName: `C:\Windows\system32\drivers\ACPI.sys`,
			ServiceType: "Kernel Driver", StartMode: "Boot", State: "Running", Started: true},
		{Name: "evil\n\"name", ExitCode: 1077},
	}
	signed := []windows.WMISignedDriver{
		{DeviceID: `ROOT\ACPI_HAL\0000`, DriverDate: "20060621000000.******+***", IsSigned: true}}
	c := newClient(fake{func() ([]windows.WMIDriver, error) { return want, nil }, signed}, time.Minute)
	b, err := c.Call(context.Background(), windows.OpWMIDrivers)
	if err != nil {
		t.Fatal(err)
	}
	got, err := windows.ParseWMIDrivers(b)
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, %v", got, err)
	}
	if b, err = c.Call(context.Background(), windows.OpWMIPnP); err != nil {
		t.Fatal(err)
	}
	devices, err := windows.ParseWMISigned(b)
	if err != nil || len(devices) != 1 || devices[0] != signed[0] {
		t.Errorf("got %+v, %v", devices, err)
	}
	for _, op := range []string{windows.OpServices, ""} {
		if _, err := c.Call(context.Background(), op); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("op %q: %v", op, err)
		}
	}
	if _, err := c.Call(context.Background(), windows.OpWMIPnP, "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("with an argument: %v", err)
	}
}

// A query that hangs costs one goroutine: later calls answer at once until it ends.
func TestHang(t *testing.T) {
	release, calls := make(chan struct{}), 0
	c := newClient(fake{drivers: func() ([]windows.WMIDriver, error) {
		calls++
		if calls == 1 {
			<-release
		}
		return nil, nil
	}}, 20*time.Millisecond)
	for range 3 {
		if _, err := c.Call(context.Background(), windows.OpWMIDrivers); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("error %v, want a deadline", err)
		}
	}
	close(release)
	for {
		_, err := c.Call(context.Background(), windows.OpWMIDrivers)
		if err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if calls != 2 {
		t.Errorf("%d queries, want 2: the hanging one and the one after it", calls)
	}
}

func TestPanicAndErrors(t *testing.T) {
	boom := errors.New("0x80041003")
	next := 0
	c := newClient(fake{drivers: func() ([]windows.WMIDriver, error) {
		next++
		if next == 1 {
			panic("a variant of an unknown type")
		}
		return nil, boom
	}}, time.Minute)
	if _, err := c.Call(context.Background(), windows.OpWMIDrivers); err == nil ||
		!strings.Contains(err.Error(), "panicked") {
		t.Errorf("error %v, want the panic", err)
	}
	if _, err := c.Call(context.Background(), windows.OpWMIDrivers); !errors.Is(err, boom) {
		t.Errorf("error %v, want the query's", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	hang := newClient(fake{drivers: func() ([]windows.WMIDriver, error) { select {} }}, time.Minute)
	if _, err := hang.Call(ctx, windows.OpWMIDrivers); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

// All queries run on one thread, and a caller who gives up does not wait for another's query.
func TestOneThread(t *testing.T) {
	var threads []string
	entered, release := make(chan struct{}, 8), make(chan struct{})
	c := newClient(fake{drivers: func() ([]windows.WMIDriver, error) {
		stack := make([]byte, 64)
		// a goroutine locked to its thread
		goroutine, _, _ := strings.Cut(string(stack[:runtime.Stack(stack, false)]), " [")
		threads = append(threads, goroutine)
		entered <- struct{}{}
		<-release
		return nil, nil
	}}, time.Minute)
	ended := make(chan error)
	call := func(ctx context.Context) {
		_, err := c.Call(ctx, windows.OpWMIDrivers)
		ended <- err
	}
	go call(context.Background())
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Call(ctx, windows.OpWMIDrivers); !errors.Is(err, context.Canceled) {
		t.Errorf("beside a running query: %v", err)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for range 3 {
		go call(context.Background())
	}
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if len(threads) != 4 || len(slices.Compact(slices.Sorted(slices.Values(threads)))) != 1 {
		t.Errorf("queries ran on %q", threads)
	}
}
