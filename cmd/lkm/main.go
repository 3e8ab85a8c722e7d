// SPDX-License-Identifier: Apache-2.0

// Command lkm lists the code that has been, or could be, put into a kernel: what is loaded, what
// is compiled in, from where, and how it knows. It only reads.
//
// See lkm help, and lkm help COMMAND, for its words. The exit code is 0 when all is well, 1 for
// findings or differences, 2 for wrong usage or a fatal error, and 3 when an answer of check, audit or
// a block list is unknown, or under --strict when something could not be read.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what does not end by itself
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
