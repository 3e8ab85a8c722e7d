// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kernelext/kernelext/fact"
)

// inventory asks all sources. Only the kernel's own list is needed; it is left out if loaded is not set.
func (k *Kernel) inventory(ctx context.Context, loaded bool, r *fact.Report) (*inventory, error) {
	inv := &inventory{}
	inv.Paths, _ = k.paths(ctx) // Header reports the error
	if loaded {
		images, err := k.images(ctx, r)
		if err != nil {
			return nil, err
		}
		k.hideBases(images, r)
		inv.Images = images
	}
	k.readServices(ctx, inv, r)
	k.readRegistered(ctx, inv, r)
	k.readDevices(ctx, inv, r)
	k.readClassFilters(ctx, inv, r)
	k.readWMI(ctx, inv, r)
	k.readLongPaths(ctx, inv)
	return inv, ctx.Err()
}

// images reads the kernel's list: class 77, or class 11 if that cannot be read. Class 11 has neither checksums nor
// time stamps.
func (k *Kernel) images(ctx context.Context, r *fact.Report) ([]LoadedImage, error) {
	list, errEx := k.imagesOf(ctx, OpModulesEx, parseModulesEx)
	if errEx == nil {
		r.Source(SourceModules, fact.OutcomeOK, fact.CountOf(int64(len(list))), nil)
		return list, nil
	}
	list, err := k.imagesOf(ctx, OpModules, parseModules)
	if err != nil {
		if errors.Is(errEx, errors.ErrUnsupported) || errors.Is(errEx, fact.ErrUnrecorded) {
			return nil, err
		}
		return nil, errEx
	}
	outcome := fact.OutcomeOK
	if !fact.Lacks(errEx) {
		outcome = fact.OutcomePartial
		r.Problem(SourceModules, "", "image.checksum", errEx)
	}
	r.Source(SourceModules, outcome, fact.CountOf(int64(len(list))), nil)
	return list, nil
}

// imagesOf reads one form of the list. A kernel is an image itself, so an empty list gives an error.
func (k *Kernel) imagesOf(
	ctx context.Context, op string, parse func([]byte) ([]LoadedImage, error),
) ([]LoadedImage, error) {
	raw, err := k.machine.Call(ctx, op)
	if err != nil {
		return nil, err
	}
	list, err := parse(raw)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w: the kernel lists no image, not even itself", fact.ErrMalformed)
	}
	return list, err
}

// hideBases drops the addresses unless they were asked for, and reports those that the kernel hides.
func (k *Kernel) hideBases(images []LoadedImage, r *fact.Report) {
	asked := k.options.Asks(fact.DetailAddresses)
	hidden := 0
	for i := range images {
		if images[i].Base == 0 {
			hidden++
		}
		if !asked {
			images[i].Base = 0
		}
	}
	if hidden == 0 || !asked {
		return
	}
	err := fmt.Errorf("addresses %w: from Windows 11 24H2 only with SeDebugPrivilege enabled", fact.ErrRestricted)
	if fact.IsRedacted(k.machine, OpModulesEx) || fact.IsRedacted(k.machine, OpModules) {
		err = fmt.Errorf("addresses %w", fact.ErrRedacted)
	}
	p := fact.ProblemOf(SourceModules, "", "address", err)
	p.Count = hidden
	r.Add(p)
}

// readLongPaths reads what short names stand for: an image may be loaded by one and registered by the other. A path
// whose long form cannot be read stays as it is.
func (k *Kernel) readLongPaths(ctx context.Context, inv *inventory) {
	short := shortNames{k, inv.Paths, maxShortNames}
	for _, dos := range inv.shortPaths() {
		var long []byte
		var err error
		if k.options.Image {
			long = []byte(short.long(dos))
		} else {
			long, err = k.machine.Call(ctx, OpLongPath, dos)
		}
		if err != nil || len(long) == 0 {
			continue
		}
		if inv.Paths.Long == nil {
			inv.Paths.Long = make(map[string]string)
		}
		inv.Paths.Long[strings.ToLower(dos)] = string(long)
	}
}

// read asks one source: parse fills the inventory and returns how many things there were.
func (k *Kernel) read(ctx context.Context, source, op string, r *fact.Report, parse func([]byte) (int, error)) {
	raw, err := k.machine.Call(ctx, op)
	var n int
	if err == nil {
		n, err = parse(raw)
	}
	asked(source, n, err, r)
}

// asked reports a source that was asked. An unsupported one is not a Problem.
func asked(source string, n int, err error, r *fact.Report) {
	if err != nil {
		r.Source(source, "", fact.Count{}, err)
		if !fact.Lacks(err) {
			r.Problem(source, "", "", err)
		}
		return
	}
	r.Done(source, fact.CountOf(int64(n)))
}

// hiveIsMissing reports whether an image has no such hive. Its keys are unknown: only of a hive that was read a key is
// known to be absent.
func hiveIsMissing(err error) bool {
	var hive *hiveFileError
	return errors.As(err, &hive) && errors.Is(err, fs.ErrNotExist)
}

// optional reports a source that older systems do not have, which is not a Problem.
func optional(source string, n int, err error, r *fact.Report) {
	if errors.Is(err, fs.ErrNotExist) {
		r.Source(source, fact.OutcomeAbsent, fact.Count{}, err)
		return
	}
	asked(source, n, err, r)
}

func (k *Kernel) readServices(ctx context.Context, inv *inventory, r *fact.Report) {
	if k.options.Image {
		return
	}
	k.read(ctx, SourceServices, OpServices, r, func(raw []byte) (n int, err error) {
		inv.Statuses, err = parseServices(raw)
		return len(inv.Statuses), err
	})
}

func (k *Kernel) readRegistered(ctx context.Context, inv *inventory, r *fact.Report) {
	var err error
	inv.Registered, err = k.registered(ctx, inv.Paths, r)
	read := 0
	for i := range inv.Registered {
		k.takeWhole(inv.Paths, &inv.Registered[i])
		if !inv.Registered[i].Refused {
			read++
		}
	}
	if hiveIsMissing(err) {
		r.Source(SourceRegistry, fact.OutcomeFailed, fact.Count{}, err)
		r.Problem(SourceRegistry, "", "", err)
		return
	}
	asked(SourceRegistry, read, err, r)
}

// takeWhole takes the service's path with what looks like arguments if there is such a file: that is the one that the
// kernel loads. If that is not known, the service has no file that is known.
func (k *Kernel) takeWhole(p ntPaths, s *registeredService) {
	if s.Whole == "" {
		return
	}
	name, err := p.file(s.Whole)
	if err != nil { // no file has such a name
		return
	}
	_, err = fs.Stat(k.machine, name)
	switch {
	case err == nil:
		s.ImageFile = s.Whole
		s.ImagePathMarks = slices.DeleteFunc(s.ImagePathMarks, func(m string) bool { return m == MarkArguments })
	case !errors.Is(err, fs.ErrNotExist) && !unasked(err):
		s.ImageFile = ""
		s.problem("path", err)
	}
}

func (k *Kernel) registered(ctx context.Context, p ntPaths, r *fact.Report) ([]registeredService, error) {
	if k.options.Image {
		hive, set, err := k.controlSet()
		if err != nil {
			return nil, err
		}
		return hive.services(set, p, r)
	}
	raw, err := k.machine.Call(ctx, OpServiceKeys)
	if err != nil {
		return nil, err
	}
	return parseServiceKeys(raw, p, r)
}

// readDevices reads which INF and devices belong to a driver: only with DetailFiles, except on an image, where it
// costs nothing.
func (k *Kernel) readDevices(ctx context.Context, inv *inventory, r *fact.Report) {
	if k.options.Image {
		var err error
		inv.Devices, err = k.hiveDevices(r)
		optional(SourceDevices, len(inv.Devices), err, r)
		inv.Packages, err = k.hivePackages(r)
		optional(SourceStore, len(inv.Packages), err, r)
		_, err = k.keptHive(driversHiveFile) // from Windows 8.1 on most packages are in it
		inv.packagesRead = err == nil && r.Whole(SourceStore)
		return
	}
	if !k.options.Asks(fact.DetailFiles) {
		r.Skip(SourceDevices, SourceStore, SourceFilters)
		return
	}
	k.read(ctx, SourceDevices, OpDevices, r, func(raw []byte) (n int, err error) {
		inv.Devices, err = ParseDevices(raw)
		return len(inv.Devices), err
	})
	inv.packagesAsked = true
	raw, err := k.machine.Call(ctx, OpDriverPackages)
	if err == nil {
		inv.Packages, err = parseDriverPackages(raw, r)
	}
	if err == nil { // an invalid line costs itself, and the list is not whole
		r.Done(SourceStore, fact.CountOf(int64(len(inv.Packages))))
		inv.packagesRead = len(inv.Packages) > 0 && r.Whole(SourceStore)
	} else {
		optional(SourceStore, 0, err, r)
	}
	k.read(ctx, SourceFilters, OpFilters, r, func(raw []byte) (n int, err error) {
		inv.Filters, err = parseFilters(raw)
		return len(inv.Filters), err
	})
}

// readWMI asks for the cross-check that a caller may have injected; without one it is skipped. Its rows of devices
// are of use only beside SetupAPI's.
func (k *Kernel) readWMI(ctx context.Context, inv *inventory, r *fact.Report) {
	raw, err := k.machine.Call(ctx, OpWMIDrivers)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fact.ErrUnrecorded) {
		r.Skip(SourceWMI)
		return
	}
	if err == nil {
		inv.WMI, err = ParseWMIDrivers(raw)
	}
	if err == nil && len(inv.WMI) == 0 && len(inv.Statuses) > 0 {
		inv.WMI, err = nil, noRows("Win32_SystemDriver", "the service manager lists drivers")
	}
	if err == nil && len(inv.Devices) > 0 {
		if inv.WMISigned, err = k.wmiDevices(ctx); err != nil {
			r.Problem(SourceWMI, "", "devices", err)
			err = nil
		}
	}
	asked(SourceWMI, len(inv.WMI), err, r)
}

func (k *Kernel) wmiDevices(ctx context.Context) ([]WMISignedDriver, error) {
	raw, err := k.machine.Call(ctx, OpWMIPnP)
	if err != nil {
		return nil, err
	}
	rows, err := ParseWMISigned(raw)
	if err == nil && len(rows) == 0 {
		err = noRows("Win32_PnPSignedDriver", "SetupAPI lists devices")
	}
	return rows, err
}

// noRows returns what an answer without rows means: a class that is not there gives no rows and no error.
func noRows(class, although string) error {
	return fmt.Errorf("%w: %s has no rows although %s", fact.ErrMalformed, class, although)
}
