// SPDX-License-Identifier: Apache-2.0

// Command bare is the agent without this library: a server and JSON.
package main

import "github.com/kernelext/kernelext/e2e/bench/weight/host"

func main() { host.Run(func() int { return 0 }) }
