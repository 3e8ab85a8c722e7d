// SPDX-License-Identifier: Apache-2.0

package lkm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/aix"
	"github.com/kernelext/kernelext/darwin"
	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/freebsd"
	"github.com/kernelext/kernelext/internal/capture"
	"github.com/kernelext/kernelext/linux"
	"github.com/kernelext/kernelext/netbsd"
	"github.com/kernelext/kernelext/netware"
	"github.com/kernelext/kernelext/solaris"
	"github.com/kernelext/kernelext/vxworks"
	"github.com/kernelext/kernelext/windows"
)

// A CaptureKind names the tool or file whose text a capture holds.
type CaptureKind string

// The kinds of Linux captures.
const (
	CaptureLsmod        CaptureKind = "lsmod"         // lsmod of kmod, BusyBox or Linux 2.4
	CaptureProcModules  CaptureKind = "proc_modules"  // /proc/modules
	CaptureLinuxModinfo CaptureKind = "linux_modinfo" // Linux's modinfo, of one module or many
)

// The sources of Snapshots made from Linux captures.
const (
	SourceLsmod        = linux.SourceLsmod   // its modules are those loaded
	SourceLinuxModinfo = linux.SourceModinfo // its modules are those on disk and those compiled in
)

// The kinds of macOS captures.
const (
	CaptureKextstat            CaptureKind = "kextstat"            // kextstat, or kmutil showloaded
	CaptureMacOSPanic          CaptureKind = "macos_panic"         // the loaded kexts of a panic report
	CaptureSystemProfiler      CaptureKind = "system_profiler"     // system_profiler SPExtensionsDataType, in any form
	CaptureSystemExtensionsCtl CaptureKind = "systemextensionsctl" // systemextensionsctl list
	CaptureKextutil            CaptureKind = "kextutil"            // "Loaded kext info" of kextutil -v 6
	CaptureKextPolicy          CaptureKind = "kextpolicy"          // what sqlite3 printed of KextPolicy's kext_policy
	CaptureBundleIDs           CaptureKind = "bundle_ids"          // bundle ids, one a line
)

// The kinds of captures of the other Unix systems, VxWorks and NetWare. Those of plain genkex,
// VxWorks and NetWare are experimental: no recording of a real one was at hand.
const (
	CaptureModstat    CaptureKind = "modstat"    // modstat of NetBSD
	CaptureModinfo    CaptureKind = "modinfo"    // modinfo of illumos or Solaris
	CaptureGenkex     CaptureKind = "genkex"     // genkex, genkex -d or genkld of AIX
	CaptureModuleShow CaptureKind = "moduleshow" // moduleShow of VxWorks
	CaptureModules    CaptureKind = "modules"    // MODULES of NetWare
	CaptureModdebug   CaptureKind = "moddebug"   // console messages of an illumos kernel booted with moddebug
	CaptureAbendLog   CaptureKind = "abend_log"  // ABEND.LOG of NetWare: the modules on the stack
)

// Experimental reports whether no recording of a real system was at hand to prove the reader of
// this kind.
func (k CaptureKind) Experimental() bool {
	return k == CaptureModuleShow || k == CaptureModules || k == CaptureModstat
}

// A captured is what one reader of captures made of a text.
type captured struct {
	snapshot *Snapshot
	rows     int  // rows that the text has in this form
	stray    int  // lines that are not of this form
	sure     bool // something beside the rows says that it is this form, such as a header
}

// capturedBy returns a reader made of that of a kernel's package.
func capturedBy[Own any](os OS, read func(string, *fact.Report) fact.Capture[Own]) func(string) captured {
	return func(text string) captured {
		var r fact.Report
		c := read(text, &r)
		if c.Rows == 0 && !c.Sure {
			return captured{}
		}
		return captured{FromRecords(os, c.Records, c.Header, &r), c.Rows, c.Stray, c.Sure}
	}
}

// A captureReader reads the captures of one kind.
type captureReader struct {
	kind CaptureKind
	os   OS
	read func(text string) captured
}

// captureReaders returns the readers by kind, in the order in which they are asked.
func captureReaders() []captureReader {
	return []captureReader{
		{CaptureProcModules, Linux, capturedBy(Linux, linux.ReadModulesText)},
		{CaptureLsmod, Linux, capturedBy(Linux, linux.ReadLsmod)},
		{CaptureLinuxModinfo, Linux, capturedBy(Linux, linux.ReadModinfo)},
		{CaptureSC, Windows, capturedBy(Windows, windows.ReadSC)},
		{CaptureDriverQuery, Windows, capturedBy(Windows, windows.ReadDriverQuery)},
		{CaptureFltmc, Windows, capturedBy(Windows, windows.ReadFltmc)},
		{CapturePnPUtil, Windows, capturedBy(Windows, windows.ReadPnPUtil)},
		{CaptureMSInfo, Windows, capturedBy(Windows, windows.ReadMSInfo)},
		{CaptureWMI, Windows, capturedBy(Windows, windows.ReadWMIText)},
		{CaptureAutoruns, Windows, capturedBy(Windows, windows.ReadAutoruns)},
		{CaptureDriverList, Windows, capturedBy(Windows, windows.ReadDriverList)},
		{CaptureOsquery, Windows, capturedBy(Windows, windows.ReadOsquery)},
		{CaptureKextstat, Darwin, capturedBy(Darwin, darwin.ReadKextstat)},
		{CaptureMacOSPanic, Darwin, capturedBy(Darwin, darwin.ReadPanic)},
		{CaptureSystemProfiler, Darwin, capturedBy(Darwin, darwin.ReadProfiler)},
		{CaptureSystemExtensionsCtl, Darwin, capturedBy(Darwin, darwin.ReadSystemExtensionsCtl)},
		{CaptureKextutil, Darwin, capturedBy(Darwin, darwin.ReadKextutil)},
		{CaptureKextPolicy, Darwin, capturedBy(Darwin, darwin.ReadKextPolicyText)},
		{CaptureBundleIDs, Darwin, capturedBy(Darwin, darwin.ReadIDList)},
		{CaptureKldstat, FreeBSD, capturedBy(FreeBSD, freebsd.ReadKldstat)},
		{CaptureKldstatDragonFly, DragonFly, capturedBy(DragonFly, freebsd.ReadKldstatDragonFly)},
		{CaptureModstat, NetBSD, capturedBy(NetBSD, netbsd.ReadModstat)},
		{CaptureModinfo, Solaris, capturedBy(Solaris, solaris.ReadModinfo)},
		{CaptureGenkex, AIX, capturedBy(AIX, aix.ReadGenkex)},
		{CaptureModuleShow, VxWorks, capturedBy(VxWorks, vxworks.ReadModuleShow)},
		{CaptureModules, NetWare, capturedBy(NetWare, netware.ReadModules)},
		{CaptureModdebug, Illumos, capturedBy(Illumos, solaris.ReadModdebug)},
		{CaptureAbendLog, NetWare, capturedBy(NetWare, netware.ReadAbendLog)},
	}
}

// CaptureKinds returns the kinds that ReadCapture knows.
func CaptureKinds() []CaptureKind {
	kinds := make([]CaptureKind, len(captureReaders()))
	for i, r := range captureReaders() {
		kinds[i] = r.kind
	}
	return kinds
}

// OS returns the operating system that captures of this kind come from; "" for an unknown kind.
func (k CaptureKind) OS() OS {
	for _, r := range captureReaders() {
		if r.kind == k {
			return r.os
		}
	}
	return ""
}

// ReadCapture makes a Snapshot of text that a tool printed on some machine. Prompts, carriage
// returns, byte-order marks, UTF-16, terminal colours and stray lines do no harm. With as "" the
// kind is found out by its first 64 KiB. Text that is of no known kind, or not of the kind that as names, is an error
// that satisfies ErrMalformed; a text whose last row is cut makes the source partial. The snapshot
// has no time: when the text was made is not known.
func ReadCapture(r io.Reader, as CaptureKind) (*Snapshot, error) {
	text, err := capture.Read(r)
	if err != nil {
		return nil, fmt.Errorf("lkm: read capture: %w", err)
	}
	best, err := readAs(text, as)
	if err != nil {
		return nil, fmt.Errorf("lkm: read capture: %w", err)
	}
	s := best.snapshot
	s.Schema, s.Producer = Schema, Producer
	sortModules(s.Modules)
	s.Modules = numberDuplicates(s.Modules)
	return s, nil
}

// captureHead is how much of a long text is looked at to find out its kind, in bytes.
const captureHead = 64 << 10

// deepKinds are the kinds whose rows may stand behind any amount of other text.
var deepKinds = [...]CaptureKind{CaptureMSInfo, CaptureMacOSPanic, CaptureSystemProfiler, CaptureAbendLog}

func readAs(text string, as CaptureKind) (captured, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return captured{}, fmt.Errorf("%w: the text is empty, which is no empty list", ErrMalformed)
	case as == "":
		return detect(text)
	}
	for _, r := range captureReaders() {
		if r.kind != as {
			continue
		}
		if c := r.read(text); c.fits() {
			return c, nil
		}
		return captured{}, fmt.Errorf("%w: the text is no capture of %s", ErrMalformed, as)
	}
	return captured{}, fmt.Errorf("capture kind %q: %w", as, errors.ErrUnsupported)
}

// detect reads a text as the kind that fits it best. Of a long one only the beginning is given to
// every reader, and the whole to the one that it fits.
func detect(text string) (captured, error) {
	head := text
	if len(text) > captureHead {
		head = text[:captureHead]
		if i := strings.LastIndexByte(head, '\n'); i > 0 {
			head = head[:i+1]
		}
	}
	best, kind := bestOf(head, func(CaptureKind) bool { return true })
	if best.snapshot != nil && len(head) < len(text) {
		best, _ = bestOf(text, func(k CaptureKind) bool { return k == kind })
	}
	if len(head) < len(text) && (best.snapshot == nil || best.rows < best.stray) {
		deep, _ := bestOf(text, func(k CaptureKind) bool { return slices.Contains(deepKinds[:], k) })
		if deep.snapshot != nil && deep.better(best) {
			best = deep
		}
	}
	if best.snapshot == nil {
		return captured{}, fmt.Errorf("%w: the text is no capture of a known kind", ErrMalformed)
	}
	return best, nil
}

// bestOf gives a text to the readers of some kinds and returns what fits best, and its kind.
func bestOf(text string, ask func(CaptureKind) bool) (best captured, kind CaptureKind) {
	for _, r := range captureReaders() {
		if !ask(r.kind) {
			continue
		}
		if c := r.read(text); c.fits() && c.better(best) {
			best, kind = c, r.kind
		}
	}
	return best, kind
}

// fits reports whether the text is of the reader's form: something says so, or rows make up the
// better part of it.
func (c captured) fits() bool {
	return c.snapshot != nil && (c.sure || (c.rows > 0 && c.rows >= c.stray))
}

func (c captured) better(than captured) bool {
	if than.snapshot == nil {
		return true
	}
	if c.rows != than.rows {
		return c.rows > than.rows
	}
	return c.sure && !than.sure
}
