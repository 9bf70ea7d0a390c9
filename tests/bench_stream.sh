#!/bin/bash
# Speed of token streams: MB/s of uncompressed columns through `toks check`, `view -b` and `cat`, on
# one core, at compression level 1; and through dense-reward.
#     tests/bench_stream.sh [MEGABYTES]     (default 400; BIN=folder of the programs)
# The stream is made of random tokens, masks and three columns of log-probabilities: 17 bytes a
# token. Each figure is the best of three runs; output goes to /dev/null.
set -eu -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
toks=${BIN:-$here/../bin}/toks
megabytes=${1:-400}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# About 8.7 MB of columns as JSONL, then as often as needed.
awk 'BEGIN {
    srand(1)
    for (i = 0; i < 1024; i++) {
        t = m = a = b = r = ""
        for (k = 0; k < 500; k++) {
            c = k ? "," : ""
            x = -log(1 - rand()) * 2; y = -log(1 - rand()) * 2
            t = t c int(rand() * 32000)
            m = m c (k > 100)
            a = a c sprintf("%.9g", -x)
            b = b c sprintf("%.9g", -y)
            r = r c sprintf("%.9g", y - x)
        }
        printf "{\"id\":\"r%d\",\"token\":[%s],\"mask\":[%s],\"logp:sft\":[%s],\"logp:half\":[%s],\"reward\":[%s]}\n", \
            i, t, m, a, b, r
    }
}' | "$toks" view -b -o "$work/piece.toks"

tokens=$("$toks" stat -O json "$work/piece.toks" | sed 's/.*"tokens":\([0-9]*\).*/\1/')
pieces=$(((megabytes * 1000000 + tokens * 17 - 1) / (tokens * 17)))
for ((i = 0; i < pieces; i++)); do cat "$work/piece.toks"; done | "$toks" cat -o "$work/level1.toks"
"$toks" view -b --level 0 -o "$work/plain.toks" "$work/level1.toks"
bytes=$(stat -c %s "$work/plain.toks")
echo "stream: $((bytes / 1000000)) MB of columns, $(($(stat -c %s "$work/level1.toks") / 1000000)) MB at level 1"

one_core=()
command -v taskset > /dev/null && one_core=(taskset -c 0)

# Prints the best of three: by the clock, and by the processor's time, which other work on the
# machine disturbs less.
measure() { # NAME COMMAND...
    local name=$1 clock=0 processor=0 i wall user system rate
    shift
    for ((i = 0; i < 3; i++)); do
        TIMEFORMAT='%3R %3U %3S'
        { time "${one_core[@]}" "$@" > /dev/null; } 2> "$work/time"
        read -r wall user system < "$work/time"
        rate=$((bytes / 1000 / (10#${wall/./} + 1)))
        [ "$rate" -le "$clock" ] || clock=$rate
        rate=$((bytes / 1000 / (10#${user/./} + 10#${system/./} + 1)))
        [ "$rate" -le "$processor" ] || processor=$rate
    done
    printf '%-20s %6d MB/s %6d MB/s\n' "$name" "$clock" "$processor"
}

printf '%-20s %11s %11s\n' "" "clock" "processor"
measure "toks check" "$toks" check "$work/level1.toks"
measure "toks view -b" "$toks" view -b "$work/level1.toks"
measure "toks cat" "$toks" cat "$work/level1.toks"
measure "toks cat, plain" "$toks" cat "$work/plain.toks"
# dense-reward reads 17 bytes a token here and writes 25: the rate of what it writes.
bytes=$((bytes * 25 / 17))
measure "dense-reward" "${toks%toks}dense-reward" -q --floor 0 --baseline none sft half "$work/level1.toks"
measure "dense-reward, floor" "${toks%toks}dense-reward" -q --floor 0.03 --baseline none sft half "$work/level1.toks"
