// SPDX-License-Identifier: Apache-2.0

package lkm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/kernelext/kernelext/lkm"
)

// receive adds up the lines of one machine. An error that matches lkm.ErrGap says that lines are missing: until
// the next baseline the mirror is not the state of that machine.
func receive(lines io.Reader, far *lkm.Mirror) error {
	for e, err := range lkm.ReadEvents(lines) {
		if err != nil {
			return err // what comes is no event
		}
		if err := far.Apply(e); err != nil {
			return err
		}
		switch e.Type {
		case lkm.EventLoad:
			fmt.Println(e.Host, "loaded", e.ID, e.After.Origin.Class)
		case lkm.EventDegraded:
			fmt.Println(e.Host, "cannot see any more:", e.Code, e.Error)
		}
	}
	return nil
}

// send writes a number of a machine's events as lines.
func send(n int, sys *lkm.System, o lkm.WatchOptions) [][]byte {
	var lines [][]byte
	for e, err := range sys.Watch(context.Background(), o) {
		if err != nil {
			return lines
		}
		line, _ := json.Marshal(e)
		if lines = append(lines, append(line, '\n')); len(lines) == n {
			break
		}
	}
	return lines
}

// What the far side does: it adds lines up, notices that one is missing, and asks for less after a restart.
func Example_receiver() {
	sys := recorded("debian-6.12-cloud-root", lkm.Options{Host: "web-1"})
	defer sys.Close()
	lines := send(3, sys, lkm.WatchOptions{Heartbeat: time.Millisecond})

	var far lkm.Mirror
	err := receive(bytes.NewReader(bytes.Join(lines, nil)), &far)
	fmt.Println(len(far.Snapshot().Modules), "modules,", err)

	var deaf lkm.Mirror
	lost := [][]byte{lines[0], lines[2]} // the second line did not come
	err = receive(bytes.NewReader(bytes.Join(lost, nil)), &deaf)
	fmt.Println("a gap:", errors.Is(err, lkm.ErrGap))

	// The agent starts again, with the snapshot that the far side has: the baseline is only the difference.
	again := send(1, sys, lkm.WatchOptions{Since: far.Snapshot()})
	err = receive(bytes.NewReader(again[0]), &far)
	fmt.Println(len(again[0]) < len(lines[0])/10, len(far.Snapshot().Modules), err)
	// Output:
	// 50 modules, <nil>
	// a gap: true
	// true 50 <nil>
}

// The options that an agent may want.
func ExampleOptions() {
	keys, err := lkm.ReadKeys(os.DirFS("testdata"), "nobody.pem") // certificates of your own, PEM or DER
	fmt.Println(len(keys), errors.Is(err, fs.ErrNotExist))
	only := func(m *lkm.Module) bool { return m.Name == "nvidia" }
	o := lkm.Options{
		Host:     "web-1",                                // "host" in what is sent: no host name is read
		Detail:   lkm.DetailFiles | lkm.DetailSignatures, // what costs more than the kernel's own list
		Only:     only,                                   // the modules whose files are read
		Keys:     keys,                                   // count beside those of Trust
		Trust:    lkm.TrustAll &^ lkm.TrustMachine,       // not the keys of the machine's owner and firmware
		Workers:  1,                                      // files that are read at once
		Deadline: 10 * time.Second,                       // of one call; the rest is then a partial source
		MaxFile:  64 << 20,                               // a larger file is too_large
		HostRoot: "",                                     // "/host" in a container
		Logger:   slog.New(slog.DiscardHandler),          // what was read, for a person who looks for a fault
	}
	sys := recorded("synthetic-debian-root", o) // lkm.Open(o) for this machine
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	m := snap.Module("linux_module:nvidia")
	fmt.Println(snap.Host, m.Name, m.Version, m.Origin.Class)
	// Output:
	// 0 true
	// web-1 nvidia 535.183.01 third_party
}

// A refusal is a Problem with a code, and an error of Err; only a list that cannot be read is an error of the call.
func Example_errors() {
	sys := recorded("synthetic-freebsd-denied", lkm.Options{})
	defer sys.Close()
	_, err := sys.Snapshot(context.Background())
	fmt.Println(lkm.CodeOf(err), errors.Is(err, fs.ErrPermission))
	fmt.Println(err.Error()[:47], "…")

	sys = recorded("synthetic-container", lkm.Options{})
	defer sys.Close()
	snap, err := sys.Snapshot(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range snap.Problems {
		fmt.Println(p.Source, p.Code, p.Text)
	}
	fmt.Println(len(snap.Modules), errors.Is(snap.Err(), fs.ErrNotExist))
	// Output:
	// permission true
	// lkm: list modules: kldnext 0: permission denied …
	// sys_module absent stat /sys/module: file does not exist
	// builtin absent readdir /sys/module: file does not exist
	// 35 true
}
