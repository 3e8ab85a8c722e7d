// SPDX-License-Identifier: Apache-2.0

package lkm

// running returns the row of the system that this program runs on.
func running() *row { return &dragonflyRow }
