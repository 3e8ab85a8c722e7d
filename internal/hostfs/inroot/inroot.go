// SPDX-License-Identifier: Apache-2.0

// Package inroot opens files below a directory as if that were the root: absolute symbolic links
// and ".." stay below it. It asks the kernel to resolve the whole path in one call (openat2 with
// RESOLVE_IN_ROOT, Linux 5.6), which nothing that happens to the tree meanwhile can lead outside.
// Where the kernel has no such call [Of] returns nil.
package inroot
