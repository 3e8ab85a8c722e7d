#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the library adds to a program on Linux: the resident memory of an agent after 1,000 polls of 250 modules, beside
# the same program without it and one that reads the same files itself; and the time of `lkm version` beside an empty
# program. The agent must see all modules.
#
#     e2e/bench/weight.sh [RUNS]       # 5 of each by default
set -euo pipefail
cd "$(dirname "$0")/.."
go run ./bench/weight "$@"
