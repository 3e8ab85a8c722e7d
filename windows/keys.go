// SPDX-License-Identifier: Apache-2.0

package windows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/limit"
	"github.com/kernelext/kernelext/internal/sentinel"
	"github.com/kernelext/kernelext/windows/registry"
)

var errNotThere error = &sentinel.Error{Before: "not in the registry", Cause: fs.ErrNotExist}

// registry reads one key of HKEY_LOCAL_MACHINE; of an image only those of the SYSTEM hive.
func (k *Kernel) registry(ctx context.Context, path string) (*registry.Key, error) {
	if k.options.Image {
		return k.hiveKey(path)
	}
	raw, err := k.machine.Call(ctx, OpRegistry, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotThere
	}
	if err != nil {
		return nil, err
	}
	var damaged fact.Report // what it holds makes the key Partial
	keys, err := registry.ParseText(OpRegistry, raw, &damaged)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errNotThere
	}
	if keys[0].Partial {
		return nil, fmt.Errorf("registry key %s: a value cannot be read: %w", path, fact.ErrMalformed)
	}
	return &keys[0], nil
}

func (k *Kernel) hiveKey(path string) (*registry.Key, error) {
	rest, ok := strings.CutPrefix(path, `SYSTEM\CurrentControlSet\`)
	if !ok {
		return nil, fmt.Errorf("registry key %s of an image: %w", path, errors.ErrUnsupported)
	}
	hive, set, err := k.controlSet()
	if err != nil {
		return nil, err
	}
	key, found, err := hive.reg(set + `\` + rest)
	if err == nil {
		err = hive.unwritten()
	}
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNotThere
	}
	return &key, nil
}

// systemHive returns the SYSTEM hive of an image, which is read once.
func (k *Kernel) systemHive() (systemHive, error) {
	return k.keptHive(systemHiveFile)
}

// controlSet returns the SYSTEM hive with the name of the control set that the next boot uses.
func (k *Kernel) controlSet() (systemHive, string, error) {
	hive, err := k.systemHive()
	if err != nil {
		return systemHive{}, "", err
	}
	set, err := hive.controlSet()
	return hive, set, err
}

// A hiveFileError says which hive of an image could not be read.
type hiveFileError struct {
	name string
	err  error
}

func (e *hiveFileError) Error() string {
	text := e.err.Error()
	var path *fs.PathError
	if errors.As(e.err, &path) {
		text = path.Err.Error()
	}
	return dosPath(e.name) + ": " + text
}

func (e *hiveFileError) Unwrap() error { return e.err }

func (k *Kernel) readHive(name string) (systemHive, error) {
	raw, err := limit.ReadFile(k.machine, name, registry.MaxHive)
	if err == nil && len(raw) == 0 {
		err = fmt.Errorf("%w: the file is empty", fact.ErrMalformed)
	}
	if err != nil {
		return systemHive{}, &hiveFileError{name, err}
	}
	h, err := registry.OpenHive(raw)
	if err == nil && !h.Dirty() {
		return systemHive{Hive: h, name: name}, nil
	}
	whole, lost := k.replayHive(name, raw)
	switch {
	case lost == nil:
		return systemHive{Hive: whole, name: name}, nil
	case err != nil:
		return systemHive{}, &hiveFileError{name, err}
	}
	// Its text alone: a log file that does not exist is no key that does not exist.
	return systemHive{h, name, fmt.Errorf("%w, and its log files do not complete it: %v", errDirtyHive, lost)}, nil
}

// replayHive opens a hive with the changes that its log files hold, which the next boot makes before anything reads it.
func (k *Kernel) replayHive(name string, raw []byte) (*registry.Hive, error) {
	logs, size, err := k.hiveLogs(name)
	if err != nil {
		return nil, err
	}
	item := fact.NewBudget(0).Item(int64(len(raw)) + size) // its own: a hive is kept beyond the call
	defer item.Done()
	return registry.Replay(raw, logs, item)
}

// hiveLogs reads a hive's log files, and returns their size: LOG1 and LOG2, or LOG if these hold nothing. One of two is
// not enough, for the changes that follow may be in the other.
func (k *Kernel) hiveLogs(name string) (logs []registry.Log, size int64, err error) {
	var missing error
	for _, ext := range []string{".LOG1", ".LOG2", ".LOG"} {
		if ext == ".LOG" && size > 0 {
			break
		}
		data, err := limit.ReadFile(k.machine, name+ext, registry.MaxLog)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if missing == nil {
				missing = &hiveFileError{name + ext, err}
			}
		case err != nil:
			return nil, 0, &hiveFileError{name + ext, err}
		}
		logs = append(logs, registry.Log{Name: baseName(name + ext), Data: data})
		size += int64(len(data))
		if ext == ".LOG2" && size > 0 && missing != nil {
			return nil, 0, missing
		}
	}
	if size == 0 && missing != nil {
		return nil, 0, missing
	}
	return logs, size, nil
}

func (k *Kernel) hiveDevices(r *fact.Report) ([]Device, error) {
	hive, set, err := k.controlSet()
	if err != nil {
		return nil, err
	}
	return hive.devices(set, r)
}

// hivePackages returns the packages of both hives that may hold the store's database.
func (k *Kernel) hivePackages(r *fact.Report) ([]Package, error) {
	hive, err := k.systemHive()
	if err != nil {
		return nil, err
	}
	keys, err := hive.packages(r)
	drivers, errDrivers := k.keptHive(driversHiveFile)
	if errDrivers == nil {
		var more []registry.Key
		more, errDrivers = drivers.packages(r)
		keys = append(keys, more...)
	}
	if errors.Is(errDrivers, fs.ErrNotExist) {
		errDrivers = nil
	}
	if keys == nil {
		return nil, cmp.Or(err, errDrivers, errNotThere)
	}
	for _, err := range []error{err, errDrivers} {
		if err != nil {
			r.Problem(SourceStore, "", "packages", err)
		}
	}
	return packagesOf(keys), nil
}
