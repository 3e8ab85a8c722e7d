// SPDX-License-Identifier: Apache-2.0

//go:build darwin || (linux && !android && (amd64 || arm64))

// Package applefw calls the few C functions of Apple's frameworks that say what the macOS kernel
// has loaded, without cgo. The paths of the libraries come from outside, so that the very same
// calls are tested on Linux against a library made for the test.
//
// It has not run on a Mac yet: signatures and constants are from Apple's headers and open sources.
package applefw

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// The libraries and the symbols used of each.
const (
	IOKit          = "/System/Library/Frameworks/IOKit.framework/IOKit"
	CoreFoundation = "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation"
	System         = "/usr/lib/libSystem.B.dylib"
)

// Paths are where the libraries are.
type Paths struct{ IOKit, CoreFoundation, System string }

// Numbers of CoreFoundation's headers.
const (
	encodingUTF8 = 0x08000100 // kCFStringEncodingUTF8
	binaryFormat = 200        // kCFPropertyListBinaryFormat_v1_0
	maxReply     = 64 << 20
)

// A function is a C function, by its address.
type function uintptr

// call passes integers and pointers, which is all that these functions take.
func (f function) call(args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(uintptr(f), args...)
	return r
}

// libraries are open libraries.
type libraries struct{ handles []uintptr }

func (l *libraries) close() {
	for _, h := range l.handles {
		purego.Dlclose(h) // nothing can be done about a failure
	}
}

// open opens a library and looks symbols up in it: a symbol's address is stored where the map says.
func (l *libraries) open(path string, symbols map[string]*function) error {
	h, err := purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("open %s: %w: %w", path, errors.ErrUnsupported, err)
	}
	l.handles = append(l.handles, h)
	for name, to := range symbols {
		address, err := purego.Dlsym(h, name)
		if err != nil || address == 0 {
			return fmt.Errorf("%s has no %s: %w", path, name, errors.ErrUnsupported)
		}
		*to = function(address)
	}
	return nil
}

// LoadedKextInfo calls KextManagerCopyLoadedKextInfo for all kexts and the given properties, and
// returns its dictionary as a binary property list. The kernel refuses with a NULL and no reason; the error then
// matches fs.ErrPermission. The error matches errors.ErrUnsupported if a library or symbol is missing. IOKit's own
// messages, which go to stderr, are turned off first, for the whole process.
func LoadedKextInfo(p Paths, properties []string) ([]byte, error) {
	var l libraries
	defer l.close()
	var setLog, copyInfo function
	if err := l.open(p.IOKit, map[string]*function{
		// void OSKextSetLogOutputFunction(void (*)(OSKextRef, OSKextLogSpec, const char *, ...))
		"OSKextSetLogOutputFunction": &setLog,
		// CFDictionaryRef KextManagerCopyLoadedKextInfo(CFArrayRef kextIdentifiers, CFArrayRef infoKeys)
		"KextManagerCopyLoadedKextInfo": &copyInfo,
	}); err != nil {
		return nil, err
	}
	cf, err := openCoreFoundation(&l, p.CoreFoundation)
	if err != nil {
		return nil, err
	}
	keys, err := cf.strings(properties)
	if err != nil {
		return nil, err
	}
	defer cf.release.call(keys)
	setLog.call(0)
	info := copyInfo.call(0, keys)
	if info == 0 {
		return nil,
			fmt.Errorf("KextManagerCopyLoadedKextInfo: the kernel refused (a sandbox, or a management policy): %w",
				fs.ErrPermission)
	}
	defer cf.release.call(info)
	return cf.propertyList(info)
}

// coreFoundation are the functions used of CoreFoundation.
type coreFoundation struct {
	createString, createArray, arrayCallbacks, createData, dataBytes, dataLength, release function
}

func openCoreFoundation(l *libraries, path string) (*coreFoundation, error) {
	cf := new(coreFoundation)
	return cf, l.open(path, map[string]*function{
		// CFStringRef CFStringCreateWithCString(CFAllocatorRef, const char *, CFStringEncoding)
		"CFStringCreateWithCString": &cf.createString,
		// CFArrayRef CFArrayCreate(CFAllocatorRef, const void **values, CFIndex, const CFArrayCallBacks *)
		"CFArrayCreate": &cf.createArray,
		// const CFArrayCallBacks kCFTypeArrayCallBacks, which retain and release an array's members
		"kCFTypeArrayCallBacks": &cf.arrayCallbacks,
		// CFDataRef CFPropertyListCreateData(CFAllocatorRef, CFPropertyListRef, CFPropertyListFormat, CFOptionFlags,
		// CFErrorRef *)
		"CFPropertyListCreateData": &cf.createData,
		// const UInt8 *CFDataGetBytePtr(CFDataRef)
		"CFDataGetBytePtr": &cf.dataBytes,
		// CFIndex CFDataGetLength(CFDataRef)
		"CFDataGetLength": &cf.dataLength,
		// void CFRelease(CFTypeRef)
		"CFRelease": &cf.release,
	})
}

// strings makes a CFArray of CFStrings; the caller releases it.
func (cf *coreFoundation) strings(list []string) (uintptr, error) {
	members := make([]uintptr, 0, len(list))
	defer func() {
		for _, m := range members {
			cf.release.call(m) // the array has its own reference
		}
	}()
	for _, s := range list {
		text := append([]byte(s), 0)
		m := cf.createString.call(0, uintptr(unsafe.Pointer(&text[0])), encodingUTF8)
		runtime.KeepAlive(text)
		if m == 0 {
			return 0, fmt.Errorf("CFStringCreateWithCString of %q gave nothing", s)
		}
		members = append(members, m)
	}
	var first uintptr
	if len(members) > 0 {
		first = uintptr(unsafe.Pointer(&members[0]))
	}
	array := cf.createArray.call(0, first, uintptr(len(members)), uintptr(cf.arrayCallbacks))
	runtime.KeepAlive(members)
	if array == 0 {
		return 0, errors.New("CFArrayCreate gave nothing")
	}
	return array, nil
}

// propertyList writes a CF value as a binary property list.
func (cf *coreFoundation) propertyList(value uintptr) ([]byte, error) {
	failure := new(uintptr)
	data := cf.createData.call(0, value, binaryFormat, 0, uintptr(unsafe.Pointer(failure)))
	runtime.KeepAlive(failure)
	if *failure != 0 {
		defer cf.release.call(*failure)
	}
	if data == 0 {
		return nil, errors.New("CFPropertyListCreateData gave nothing")
	}
	defer cf.release.call(data)
	length := int64(cf.dataLength.call(data))
	if length <= 0 || length > maxReply {
		return nil, fmt.Errorf("CFDataGetLength: %d bytes", length)
	}
	start := cf.dataBytes.call(data)
	if start == 0 {
		return nil, errors.New("CFDataGetBytePtr gave nothing")
	}
	// The address comes from C; reading it through a pointer to the variable keeps vet's rule that a
	// number is not a pointer.
	bytes := make([]byte, length)
	copy(bytes, unsafe.Slice(*(**byte)(unsafe.Pointer(&start)), length))
	return bytes, nil
}

// CSRConfig calls csr_get_active_config: the mask of what System Integrity Protection allows.
func CSRConfig(p Paths) (uint32, error) {
	var l libraries
	defer l.close()
	var get function
	// int csr_get_active_config(csr_config_t *), a 32-bit mask
	if err := l.open(p.System, map[string]*function{"csr_get_active_config": &get}); err != nil {
		return 0, err
	}
	mask := new(uint32)
	status := int32(get.call(uintptr(unsafe.Pointer(mask))))
	runtime.KeepAlive(mask)
	if status != 0 {
		return 0, fmt.Errorf("csr_get_active_config returned %d", status)
	}
	return *mask, nil
}
