// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"io"

	sysregistry "golang.org/x/sys/windows/registry"

	"github.com/kernelext/kernelext/fact"
)

const readAccess = sysregistry.QUERY_VALUE | sysregistry.ENUMERATE_SUB_KEYS | sysregistry.WOW64_64KEY

// maxLiveValues is how many values of one key are read.
const maxLiveValues = 4096

// LiveKey reads one key of HKEY_LOCAL_MACHINE of the running system, without its subkeys: the values that are named, or
// all. A named value that is not there is left out. A key of which a value cannot be read, is too large or is one too
// many is Partial. The error matches fs.ErrNotExist if there is no such key, and fs.ErrPermission if it may not be
// read.
func LiveKey(path string, values ...string) (Key, error) {
	k, err := sysregistry.OpenKey(sysregistry.LOCAL_MACHINE, path, readAccess)
	if err != nil {
		return Key{}, err
	}
	defer k.Close()
	partial := false
	if len(values) == 0 {
		values, err = k.ReadValueNames(maxLiveValues + 1)
		if err != nil && !errors.Is(err, io.EOF) {
			if len(values) == 0 {
				return Key{}, err
			}
			partial = true
		}
		if len(values) > maxLiveValues {
			values, partial = values[:maxLiveValues], true
		}
	}
	key := liveValues(k, values)
	key.Path, key.Partial = `HKEY_LOCAL_MACHINE\`+path, key.Partial || partial
	return key, nil
}

func liveValues(k sysregistry.Key, names []string) Key {
	var key Key
	buf := make([]byte, 1024)
	for _, name := range names {
		n, typ, err := k.GetValue(name, buf)
		if errors.Is(err, sysregistry.ErrShortBuffer) && n <= MaxValue {
			buf = make([]byte, n+64)
			n, typ, err = k.GetValue(name, buf)
		}
		if errors.Is(err, sysregistry.ErrNotExist) {
			continue
		}
		if err != nil {
			key.Partial = true
			continue
		}
		key.Values = append(key.Values, Value{Name: name, Type: typ, Data: append([]byte(nil), buf[:n]...)})
	}
	return key
}

// LiveNames returns the names of the direct subkeys of a key of HKEY_LOCAL_MACHINE of the running system. It returns an
// error for more than most.
func LiveNames(path string, most int) ([]string, error) {
	k, err := sysregistry.OpenKey(sysregistry.LOCAL_MACHINE, path, readAccess)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	names, err := k.ReadSubKeyNames(most + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > most {
		return nil, fmt.Errorf("%w: more than %d keys", fact.ErrTooLarge, most)
	}
	return names, nil
}
