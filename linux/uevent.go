// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/fact"
	"github.com/kernelext/kernelext/internal/escape"
)

// SourceUevents are the kernel's own events, heard on a netlink socket.
const SourceUevents = "uevents"

// A Uevent is one event of the kernel's device model.
type Uevent struct {
	// Action is the kernel's word: add, remove, change, …
	Action string
	// Path is the object's path below /sys, such as "/module/nvme".
	Path string
	// Subsystem is the object's subsystem, "module" for a module.
	Subsystem string
	// Seq is the event's number, as in /sys/kernel/uevent_seqnum; 0 when it has none.
	Seq uint64
}

// maxUevent is the largest event that is read; the kernel's own buffer has 2 KiB.
const maxUevent = 64 << 10

// ParseUevent reads the kernel's form of an event: "ACTION@PATH", then "KEY=VALUE" each, divided by
// zero bytes.
func ParseUevent(b []byte) (Uevent, error) {
	head, rest, _ := strings.Cut(string(b), "\x00")
	action, path, ok := strings.Cut(head, "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") || len(b) > maxUevent {
		return Uevent{}, &fact.ParseError{Source: SourceUevents, Reason: "is no kernel event: ACTION@PATH"}
	}
	e := Uevent{Action: action, Path: path}
	for word := range strings.SplitSeq(rest, "\x00") {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "SUBSYSTEM":
			e.Subsystem = value
		case "SEQNUM":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return Uevent{}, &fact.ParseError{Source: SourceUevents, Field: "SEQNUM", Reason: "is " + strconv.Quote(value)}
			}
			e.Seq = n
		}
	}
	return e, nil
}

// Module returns the name of the module that the event is about; "" for any other object.
func (e Uevent) Module() string {
	name, ok := strings.CutPrefix(e.Path, "/module/")
	if !ok || e.Subsystem != "module" || strings.Contains(name, "/") {
		return ""
	}
	return escape.UTF8(name)
}
