#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every benchmark that has a target, one after the other, and then one table of the targets and the figures: the three
# scripts of this folder, Go's benchmarks of the library, what it adds to an agent, and 400 drivers against
# osslsigncode. Most of it compares with a reference tool that runs in turn on the same files. It takes about half an
# hour on 2 cores, in which nothing else should run there.
#
#     e2e/bench/all.sh [RUNS]      # 5 of each by default
#
# Needs what e2e/setup.sh installs. What the benchmarks print goes to standard error, the table to standard output.
# Exits 1 if a figure is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# step NAME COMMAND... runs a command, and keeps what it prints below the name.
step() {
	local name=$1
	shift
	echo "== $*" >&2
	"$@" 2>&1 | tee "$work/$name" >&2
}

step modinfo bench/modinfo.sh "$runs"
step signatures bench/signatures.sh "$runs"
step weight bench/weight.sh "$runs"
step disk env CI=true go test -timeout 30m -run '^$' -bench '^Benchmark(Resolve|Installed)$' .
step lkm go -C .. test -run '^$' -bench '^Benchmark(PollOfFiles|SnapshotOfFiles|Changed)$' -benchmem ./lkm
step agent go -C .. test -count=1 -v -run '^(TestAgentBinary|TestAllocationsAtImport)$' ./internal/rules
step drivers env CI=true KERNELEXT_FULL=1 go test -count=1 -timeout 30m -v -run '^TestAuthenticodeThroughput$' .

# ratio TREE N prints the Nth ratio to modinfo of a tree: of wall time, CPU time, memory.
ratio() { awk -F'|' -v t="$1" -v n="$2" 'NF > 3 && $1 ~ "^" t " " { split($4, f, " "); print f[n] }' "$work/modinfo"; }

# peak TREE prints our peak memory.
peak() { awk -F'|' -v t="$1" 'NF > 2 && $1 ~ "^" t " " { split($2, f, " "); print f[3] " MiB" }' "$work/modinfo"; }

# bench FILE NAME UNIT prints a figure of a benchmark of Go.
bench() {
	awk -v name="^Benchmark$2(-[0-9]+)?\$" -v unit="$3" \
		'$1 ~ name { for (i = 3; i <= NF; i++) if ($i == unit) print $(i - 1) }' "$work/$1"
}

# most prints the largest of the numbers on standard input, or nothing.
most() { sort -g | tail -n 1; }

# in_units DIVISOR UNIT prints a number on standard input in another unit, or nothing.
in_units() { awk -v d="$1" -v u="$2" 'NF { printf "%.3g %s\n", $1 / d, u }'; }

# again TREE prints which part of modinfo's time a second reading of all metadata takes, and which part of the first.
again() {
	local first second theirs
	first=$(bench disk "Installed/$1/first" ns/op)
	second=$(bench disk "Installed/$1/again" ns/op)
	theirs=$(awk -F'|' -v t="$1" 'NF > 3 && $1 ~ "^" t " " { split($3, f, " "); print f[1] * 1e9 }' "$work/modinfo")
	[ -z "$first" ] || [ -z "$second" ] || [ -z "$theirs" ] ||
		awk -v a="$first" -v b="$second" -v m="$theirs" 'BEGIN { printf "1/%.1f, of the first 1/%.1f\n", m / b, a / b }'
}

# resident LOAD END prints how much more memory the agent keeps, which is before END, in a program with that load.
resident() { sed -n "s/.*in a program that is $1: .*: \(-\?[0-9]* KiB\)$2/\1/p" "$work/weight"; }

missing=0
# row WORK TARGET FIGURE prints a line of the table.
row() {
	[ -n "$3" ] || missing=1
	printf '%-58s %-18s %s\n' "$1" "$2" "${3:-?}"
}

row "work ($(nproc) cores, $runs runs)" target figure
for t in xz:0.20:0.40:48 zst:0.33:0.50:48 plain:0.33:0.50:32; do
	IFS=: read -r tree wall cpu memory <<<"$t"
	row "metadata of a kernel, .ko $tree: wall time of modinfo's" "<= $wall" "$(ratio "$tree" 1)"
	row "  CPU time of modinfo's" "<= $cpu" "$(ratio "$tree" 2)"
	row "  peak memory" "<= $memory MiB" "$(peak "$tree")"
done
row "the same again in the same System, of modinfo's: xz" "<= 1/20" "$(again xz)"
row "  zst" "<= 1/10" "$(again zst)"
row "  plain" "<= 1/3" "$(again plain)"
row "Poll of 250 modules" "<= 150 us" "$(bench lkm PollOfFiles ns/op | in_units 1000 us)"
row "  allocations" "<= 30" "$(bench lkm PollOfFiles allocs/op)"
row "Changed" "<= 5 us" "$(bench lkm Changed ns/op | in_units 1000 us)"
row "  allocations" "0" "$(bench lkm Changed allocs/op)"
row "Snapshot of 250 modules over real files" "<= 15 ms" "$(bench lkm SnapshotOfFiles/250 ns/op | in_units 1000000 ms)"
row "  of 1,000" "<= 60 ms" "$(bench lkm SnapshotOfFiles/1000 ns/op | in_units 1000000 ms)"
row "modalias to modules in an open System: PCI" "<= 10 us" "$(bench disk Resolve/pci ns/op | in_units 1000 us)"
row "  the slowest kind" "<= 100 us" "$(bench disk 'Resolve/[a-z_]+' ns/op | most | in_units 1000 us)"
row "  allocations of a miss, the most" "0" "$(bench disk 'Resolve/miss_[a-z]+' allocs/op | most)"
row "import of all packages, allocations" "<= 20" \
	"$(sed -n 's/.*: \([0-9]*\) allocations at import/\1/p' "$work/agent")"
row "lkm version above an empty program" "<= 3 ms" "$(sed -n 's/^lkm version: .*: \(.*\) more;.*/\1/p' "$work/weight")"
row "an agent beside net/http and encoding/json" "<= 3,000,000 bytes" \
	"$(sed -n 's/.*the library adds \([0-9]*\) bytes/\1 bytes/p' "$work/agent")"
row "  its resident memory after 1,000 polls, if it works" "<= 4,096 KiB" "$(resident working ' more; than.*')"
row "  if it does nothing" "-" "$(resident idle ' more; than.*')"
row "  than of one that reads the files itself, if it works" "-" "$(resident working ' more$')"
row "  if it does nothing" "-" "$(resident idle ' more$')"
row "hashes and signatures of 400 drivers: osslsigncode's time" "<= 1/8" \
	"$(sed -n 's/.*all hashes here: [^(]*(\(1\/[0-9.]*\)).*/\1/p' "$work/drivers")"
row "every signature of a kernel: time of the list alone" "<= 2" \
	"$(sed -n 's/^  the list alone .*signatures take *\([0-9.]*\) of its wall.*/\1/p' "$work/signatures" | most)"
exit "$missing"
