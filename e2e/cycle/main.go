// SPDX-License-Identifier: Apache-2.0

// Command cycle loads a module and unloads it again, many times, and makes events of the kernel
// that are about no module. It needs root, and starts no other program: a guest takes long over
// that.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	file := flag.String("file", "", "the module's file; none loads nothing")
	name := flag.String("name", "", "the module's name")
	n := flag.Int("n", 1, "how often")
	pause := flag.Duration("pause", 0, "wait so long after each cycle")
	events := flag.Int("events", 0, "so many other events a second, for as long as it runs")
	flag.Parse()
	if err := run(*file, *name, *n, *pause, *events); err != nil {
		fmt.Fprintln(os.Stderr, "cycle:", err)
		os.Exit(1)
	}
}

func run(file, name string, n int, pause time.Duration, events int) error {
	stop, made := make(chan struct{}), make(chan int)
	go func() { made <- makeEvents(events, stop) }()
	started := time.Now()
	for range n {
		if err := once(file, name); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	took := time.Since(started)
	close(stop)
	fmt.Printf("%d cycles and %d other events in %v\n", n, <-made, took)
	return nil
}

func once(file, name string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", file, err)
	}
	if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("unload %s: %w", name, err)
	}
	return nil
}

// makeEvents asks the kernel for a "change" of /dev/null, which changes nothing, so many times a
// second, and returns how often it did. It makes up for ticks that came late.
func makeEvents(perSecond int, stop <-chan struct{}) int {
	made := 0
	if perSecond == 0 {
		<-stop
		return 0
	}
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for started := time.Now(); ; {
		select {
		case <-stop:
			return made
		case <-tick.C:
		}
		for made < int(time.Since(started).Seconds()*float64(perSecond)) {
			if os.WriteFile("/sys/class/mem/null/uevent", []byte("change"), 0) != nil {
				return made
			}
			made++
		}
	}
}
