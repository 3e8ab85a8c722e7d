// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"reflect"
)

// SysStat returns the structure with what the system says of a file; false when there is none.
func SysStat(info fs.FileInfo) (reflect.Value, bool) {
	sys := reflect.ValueOf(info.Sys())
	if sys.Kind() == reflect.Pointer {
		sys = sys.Elem()
	}
	return sys, sys.Kind() == reflect.Struct
}

// StatNumber returns an integer field of that structure; 0 when there is none.
func StatNumber(v reflect.Value, field string) uint64 {
	f := v.FieldByName(field)
	switch {
	case !f.IsValid():
		return 0
	case f.CanUint():
		return f.Uint()
	case f.CanInt():
		return uint64(f.Int())
	}
	return 0
}
