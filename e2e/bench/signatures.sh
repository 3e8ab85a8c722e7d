#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The signatures of every module of two Debian kernels against the certificates in their own images: `lkm list
# --installed --detail signatures` against the list without verification, and against what reads and hashes the same
# bytes. First checks that every module is valid, then runs all in turn and prints medians and ratios.
#
#     e2e/bench/signatures.sh [RUNS]      # 7 of each by default
#
# Needs what e2e/setup.sh installs. Kernels are fetched and kept as the tests do it.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== valid?"
CI=true KERNELEXT_FULL=1 go test -count=1 -timeout 30m -v -run '^TestModulesOfTheirKernel$' . | grep -E 'valid in|FAIL|^ok'
echo "== time and memory"
go run ./bench/signatures "$@"
