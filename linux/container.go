// SPDX-License-Identifier: Apache-2.0

package linux

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/kernelext/kernelext/fact"
)

// containerMarks are the files that managers of containers put into the root of each.
var containerMarks = []string{".dockerenv", "run/.containerenv", "run/systemd/container"}

// initNamespace is the namespace of processes that the kernel's first process is in (PROC_PID_INIT_INO), and where a
// process sees it.
const (
	initNamespace     = "pid:[4026531836]"
	initNamespaceFile = "proc/1/ns/pid"
)

// readContainer looks whether the root is a container's. What the kernel runs for a module sees the host's root: its
// modules and modprobe's configuration. It does not apply to another root.
func (c *checker) readContainer() fact.Answer {
	if !c.machine.Live || c.machine.Deployment != "" {
		return fact.Answer{}
	}
	mark := ""
	if target, err := fs.ReadLink(c.machine.FS, initNamespaceFile); err == nil && target != initNamespace {
		mark = initNamespaceFile
	}
	for _, file := range containerMarks {
		if _, err := fs.Stat(c.machine.FS, file); mark == "" && err == nil {
			mark = file
		}
	}
	if mark == "" {
		return fact.Answer{}
	}
	r := textReason(ReasonContainer, slash(mark)+" shows that this root is a container's: the kernel's requests go to "+
		"the host's modprobe", slash(mark), 0)
	r.Unread = "the host's root"
	c.problem(SourceConfig, "", fmt.Errorf("%s: %w", r.Text, errors.ErrUnsupported))
	return fact.UnsureOf(r)
}
