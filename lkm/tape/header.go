// SPDX-License-Identifier: Apache-2.0

package tape

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kernelext/kernelext/lkm"
)

// Format is the number of the tape format that this package writes. It reads this one and no
// higher one.
const Format = 1

// The caps of a tape, in bytes.
const (
	EntryCap = 4 << 20  // content of one entry
	TapeCap  = 64 << 20 // text of a whole tape, uncompressed
)

// maxEntries is how many entries a tape may have.
const maxEntries = 1 << 18

// A Header says what a tape is a recording of.
type Header struct {
	// OS is the operating system of the recorded machine.
	OS lkm.OS
	// Release is the kernel's release as the kernel spells it; empty when it was not given.
	Release string
	// Arch is the machine's architecture as the kernel spells it; empty when it was not given.
	Arch string
	// Privilege is one word for who asked, such as "root" or "user"; empty when it was not given.
	Privilege string
	// Detail is what was asked for beyond the kernel's own list, such as "files,signatures"; empty
	// when nothing was.
	Detail string
	// Host is the machine's name for the caller, as in lkm.Options.Host. A recorder keeps it only with
	// Options.Unredacted; empty when it was not given or not kept. A program that replays the tape gives it to
	// lkm.Options.Host if the snapshots are to have it.
	Host string
	// Questions is the number of the set of questions that the recorder knew; see [Questions]. A tape without it was
	// recorded by version 0.1.0, whose number is 1. To a question that is younger the tape answers fact.ErrOlder, to
	// one that the recorder knew and did not ask fact.ErrUnrecorded.
	Questions int
	// Producer is the program that recorded the tape, with its version.
	Producer string
	// Comment is for people. It may have several lines.
	Comment string
	// Redactions are the kinds of content that the recorder took out wherever they came up; empty
	// when nothing was taken out. Which entries were touched is said at each of them.
	Redactions []string
	// EntryCap is how much of one answer the recorder kept, in bytes; 0 when not given.
	EntryCap int64
	// TapeCap is how long a tape's text the recorder allowed, in bytes; 0 when not given.
	TapeCap int64
	// Dropped is how many answers the recorder could not keep because the tape was full. They
	// replay as too_large or unrecorded.
	Dropped int
	// Synthetic is set for a tape that was made up and not recorded on a machine.
	Synthetic bool
}

// The keys of a header, in the order in which they are written.
const (
	keyOS         = "os"
	keyRelease    = "release"
	keyArch       = "arch"
	keyPrivilege  = "privilege"
	keyDetail     = "detail"
	keyHost       = "host"
	keyQuestions  = "questions"
	keyCaps       = "caps"
	keyRedactions = "redactions"
	keyProducer   = "producer"
	keyDropped    = "dropped"
	keySynthetic  = "synthetic"
	keyComment    = "comment"
)

// magic begins the first line; the format's number follows.
const magic = "kernelext tape "

func (h *Header) appendTo(b []byte) []byte {
	b = fmt.Appendf(b, "%s%d\n", magic, Format)
	line := func(key, value string) {
		if value != "" {
			b = append(b, key+": "+escapeLine(value)+"\n"...)
		}
	}
	line(keyOS, string(h.OS))
	line(keyRelease, h.Release)
	line(keyArch, h.Arch)
	line(keyPrivilege, h.Privilege)
	line(keyDetail, h.Detail)
	line(keyHost, h.Host)
	if h.Questions > 1 {
		line(keyQuestions, strconv.Itoa(h.Questions))
	}
	if h.EntryCap > 0 || h.TapeCap > 0 {
		line(keyCaps, fmt.Sprintf("entry %d, tape %d", h.EntryCap, h.TapeCap))
	}
	line(keyRedactions, strings.Join(h.Redactions, " "))
	line(keyProducer, h.Producer)
	if h.Dropped > 0 {
		line(keyDropped, strconv.Itoa(h.Dropped))
	}
	if h.Synthetic {
		line(keySynthetic, "yes")
	}
	for text := range strings.SplitSeq(h.Comment, "\n") {
		line(keyComment, text)
	}
	return b
}

// set takes one "key: value" line that is not a comment. A key may appear once; a key that this version does not know
// is ignored.
func (h *Header) set(key, value string, seen map[string]bool) (err error) {
	if seen[key] {
		return fmt.Errorf("appears twice")
	}
	seen[key] = true
	switch key {
	case keyOS:
		h.OS = lkm.OS(value)
	case keyRelease:
		h.Release = value
	case keyArch:
		h.Arch = value
	case keyPrivilege:
		h.Privilege = value
	case keyDetail:
		h.Detail = value
	case keyHost:
		h.Host = value
	case keyQuestions:
		if h.Questions, err = count(value); err == nil && h.Questions == 0 {
			err = fmt.Errorf("is 0; the first number is 1")
		}
	case keyCaps:
		return h.setCaps(value)
	case keyRedactions:
		h.Redactions = strings.Fields(value)
	case keyProducer:
		h.Producer = value
	case keyDropped:
		h.Dropped, err = count(value)
	case keySynthetic:
		h.Synthetic, err = yes(value)
	}
	return err
}

func (h *Header) setCaps(value string) error {
	var entry, tape int64
	if n, err := fmt.Sscanf(value, "entry %d, tape %d", &entry, &tape); n != 2 || err != nil || entry < 0 || tape < 0 {
		return fmt.Errorf("is not of the form \"entry N, tape N\"")
	}
	h.EntryCap, h.TapeCap = entry, tape
	return nil
}

func (h *Header) clone() Header {
	c := *h
	c.Redactions = slices.Clone(h.Redactions)
	return c
}

func count(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("is not a count")
	}
	return int(n), nil
}

func yes(s string) (bool, error) {
	if s != "yes" {
		return false, fmt.Errorf("is not \"yes\"; the line is left out for no")
	}
	return true, nil
}
