// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the tests that compare kernelext with real kernels and with the tools that come with them.
// README.md says what they need and how to write more.
package e2e
