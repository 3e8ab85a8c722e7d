// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/machine"
)

// A Kernel answers for one Linux machine. It is safe for concurrent use.
type Kernel struct {
	machine fact.Machine
	options fact.Options

	counter counter
	history atomic.Pointer[moduleHistory] // of the running hints, nil without them
	disk    diskFacts

	initramfs initramfsCache
	images    kernelImageCache
	keys      foundKeys
}

// Open returns the Kernel of a machine. It reads nothing yet.
func Open(m fact.Machine, o fact.Options) *Kernel { return &Kernel{machine: m, options: o} }

// Header fills h with what the running machine says of itself.
func (k *Kernel) Header(ctx context.Context, h *fact.Header, r *fact.Report) {
	if k.options.Image {
		return
	}
	m := machine.Reader{Machine: k.machine, Source: SourceMachine, Privilege: Privilege}
	m.Read(ctx, h, r)
	bootID, err := limit.AppendAttr(k.machine, nil, bootIDFile, limit.Attr)
	m.Note(r, "bootId", err)
	h.BootID = strings.TrimSpace(string(bootID))
	m.Done(r)
}

// capSysAdmin is the bit of CAP_SYS_ADMIN in a capability mask.
const capSysAdmin = 1 << 21

// Privilege returns one word for the answer to OpIdentity: root, restricted_root (uid 0 without
// CAP_SYS_ADMIN), capable (another uid with some capability), or user. It is empty when the
// answer says nothing.
func Privilege(identity []byte) string {
	keys := machine.Keys(identity)
	uid, ok := keys["euid"]
	if !ok {
		return ""
	}
	caps, err := strconv.ParseUint(keys["capeff"], 16, 64)
	switch {
	case uid == "0" && (err != nil || caps&capSysAdmin != 0):
		return "root"
	case uid == "0":
		return "restricted_root"
	case err == nil && caps != 0:
		return "capable"
	}
	return "user"
}

// readTaint fills in the kernel's taint mask.
func (k *Kernel) readTaint(h *fact.Header, r *fact.Report) {
	text, err := limit.AppendAttr(k.machine, nil, taintedFile, limit.Attr)
	var kernel fact.Kernel
	if err == nil {
		kernel, err = ReadTainted(text)
	}
	r.Source(SourceTainted, "", fact.Count{}, err)
	if err != nil {
		r.Problem(SourceTainted, "", "kernel.taint", err)
		return
	}
	h.Kernel = kernel
}

// Time returns the machine's time; zero if it does not say.
func (k *Kernel) Time(ctx context.Context) time.Time {
	t, _ := machine.Time(ctx, k.machine) // zero if unknown
	return t
}

// Skipped returns the sources that a list of scope does not read, and those that this library never reads.
func (k *Kernel) Skipped(scope fact.Scope) []fact.Source {
	var s []fact.Source
	skip := func(name string) { s = append(s, fact.Source{Name: name, Outcome: fact.OutcomeSkipped}) }
	if scope != fact.ScopeLoaded {
		skip(SourceModules)
		skip(SourceSysModule)
		skip(SourceLivepatch)
	}
	if !k.options.Asks(fact.DetailPolicy) {
		for _, name := range policySources {
			skip(name)
		}
	}
	return append(s, fact.Source{Name: SourceBPF, Outcome: fact.OutcomeUnsupported, Code: fact.CodeUnsupported})
}

// Refresh forgets what is kept of the machine's disk and of the event counter.
func (k *Kernel) Refresh() {
	k.counter.reopen()
	k.disk.forget()
	k.initramfs.forget()
	k.images.forget()
	k.keys.forget()
}

// Close closes the event counter. Changed fails after it.
func (k *Kernel) Close() error { return k.counter.close() }

// Changed returns the kernel's event counter, which moves with every module that comes or goes. It is read on a file
// that stays open.
func (k *Kernel) Changed(context.Context) (uint64, error) { return k.counter.read(k.machine) }

// A counter is the kernel's event counter, held open.
type counter struct {
	mu     sync.Mutex // guards what follows
	file   fs.File
	text   [32]byte
	length int // of what was read of it last
	closed bool
}

func (c *counter) read(fsys fs.FS) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, fs.ErrClosed
	}
	if c.file == nil {
		f, err := fsys.Open(ueventSeqFile)
		if err != nil {
			return 0, noCounter(err)
		}
		c.file = f
	}
	r, ok := c.file.(interface {
		ReadAt([]byte, int64) (int, error)
	})
	if !ok {
		return readSeq(fsys)
	}
	// A read of just the last length is one call of the kernel's; a longer one is two, for the end.
	n, _ := r.ReadAt(c.text[:c.length], 0)
	if n == 0 || c.text[n-1] != '\n' {
		n, _ = r.ReadAt(c.text[:], 0)
	}
	c.length = n
	if n == 0 {
		c.drop()
		return readSeq(fsys)
	}
	return parseSeq(c.text[:n])
}

// drop closes the file, which the next read opens again. The caller holds the lock.
func (c *counter) drop() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

func (c *counter) reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *counter) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.drop()
}

func readSeq(fsys fs.FS) (uint64, error) {
	text, err := limit.AppendAttr(fsys, nil, ueventSeqFile, limit.Attr)
	if err != nil {
		return 0, noCounter(err)
	}
	return parseSeq(text)
}

// noCounter gives the error of a kernel without an event counter the meaning that Changed promises.
func noCounter(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no event counter: %w: %w", errors.ErrUnsupported, err)
	}
	return err
}
