#!/usr/bin/env bash
# Measures `slogate report` against `wc -l`, the cheapest thing that reads a log, in one run on one file.
#
#   benches/throughput.sh [MEGABYTES] [ROUNDS]          default: 1024 MB, 5 rounds
#
# Both programs take turns, so that a machine that is busy for a while is busy for both; medians are compared. What is
# measured: the whole process, from start to the last byte of the report, with the log in the page cache.
#
#   one core     slogate on 60 routes with two SLOs each against `wc -l`, both bound to one core
#   1,000 SLOs   the same log with 500 routes and 1,000 SLOs against 50 routes and 100 SLOs
#   dense        the same log with 1,000 SLOs on 60 routes: every line counts for 16 or more
#   two cores    slogate on two cores against itself on one
#   memory       the largest resident set, less what the windows of the specs need (measured: a log of one line)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
megabytes=${1:-1024}
rounds=${2:-5}
directory=${SLOGATE_BENCH_DIR:-${TMPDIR:-/tmp}/slogate-bench-$megabytes}
slogate=target/release/slogate

cargo build --release --quiet
if [[ ! -s $directory/access.log ]]; then
    echo "writing $megabytes MB of log to $directory ..." >&2
    cargo bench --quiet --bench make_log -- "$directory" "$megabytes"
fi
log=$directory/access.log
head -n 1 "$log" >"$directory/one.log"
cat "$log" >/dev/null

# seconds CORES COMMAND...: how long the command takes.
seconds() {
    local cores=$1 start end
    shift
    start=$EPOCHREALTIME
    taskset -c "$cores" "$@" >/dev/null
    end=$EPOCHREALTIME
    awk -v a="$start" -v b="$end" 'BEGIN { printf "%.4f\n", b - a }'
}

report() { printf '%s\n' "$slogate" report --json --specs "$directory/specs-$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# compare NAME CORES_A A CORES_B B: medians of both in turns, and how many times as fast A is as B.
compare() {
    local name=$1 cores_a=$2 a=$3 cores_b=$4 b=$5 round
    : >"$directory/a" && : >"$directory/b"
    for ((round = 0; round < rounds; round++)); do
        mapfile -t command < <($a); seconds "$cores_a" "${command[@]}" >>"$directory/a"
        mapfile -t command < <($b); seconds "$cores_b" "${command[@]}" >>"$directory/b"
    done
    awk -v name="$name" -v a="$(median <"$directory/a")" -v b="$(median <"$directory/b")" \
        -v size="$(stat -c %s "$log")" \
        'BEGIN { printf "%-12s %.3f s (%5.2f GB/s) against %.3f s (%5.2f GB/s): %.2f of the speed\n", name, a, size / a / 1e9, b, size / b / 1e9, b / a }'
}

newlines() { printf '%s\n' wc -l "$log"; }
slos_120() { report 60 "$log"; }
slos_100() { report 50 "$log"; }
slos_1000() { report 500 "$log"; }
dense() { report dense "$log"; }

compare "one core" 0 slos_120 0 newlines
compare "1,000 SLOs" 0 slos_1000 0 slos_100
compare "dense" 0 dense 0 slos_100
if (($(nproc) > 1)); then
    compare "two cores" 0,1 slos_120 0 slos_120
fi

# peak SPECS LOG: the largest resident set in kB.
peak() {
    mapfile -t command < <(report "$1" "$2")
    python3 - "${command[@]}" <<'PYTHON'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
PYTHON
}
for specs in 60 500; do
    awk -v specs="$specs" -v whole="$(peak "$specs" "$log")" -v one="$(peak "$specs" "$directory/one.log")" \
        'BEGIN { printf "memory       specs-%s: %.0f MB resident at most, %.0f MB with a log of one line\n", specs, whole / 1024, one / 1024 }'
done
