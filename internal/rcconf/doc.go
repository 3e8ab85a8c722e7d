// SPDX-License-Identifier: Apache-2.0

// Package rcconf reads the configuration of the BSD systems without running anything: scripts of the shell such as
// rc.conf(5), of which it takes the assignments, and the boot loader's name="value" lines. What the shell would compute
// is unknown, never unset.
package rcconf
