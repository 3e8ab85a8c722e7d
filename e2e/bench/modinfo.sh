#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The metadata of every module of a Debian kernel, in each container: `lkm list --installed --format jsonl --detail
# files` against one `modinfo` over all files. First checks that both say the same, then runs them in turn and prints
# medians and ratios.
#
#     e2e/bench/modinfo.sh [RUNS]      # 7 of each by default
#
# Needs what e2e/setup.sh installs. Kernels are fetched and kept as the tests do it.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== equal answers?"
CI=true go test -count=1 -run '^TestModinfo$' .
echo "== time and memory"
go run ./bench/modinfo "$@"
