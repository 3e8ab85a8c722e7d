#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that the tests of this module call. Kernels and their headers are fetched, not installed,
# by the tests themselves. Run as root on Debian 12 or later.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
	binutils db5.3-util gcc gcc-12 gzip kmod libc6-dev libelf1 libhivex-bin libplist-utils make mandoc openssl \
	osslsigncode python3-junitparser rpm sqlite3 wine64 qemu-system-x86 strace xz-utils zstd >/dev/null
