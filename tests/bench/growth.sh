#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# How rates grow: training, scoring and drawing over context, batch, size and threads, as a table and a
# picture, in tokens per second and as the share of what the machine could do at best (tests/bench/engine.sh says
# of what), measured before and after each point.
#   tests/bench/growth.sh [-o PREFIX] [PART...]     parts: context batch size threads
# Writes PREFIX.tsv, a line a point: part, work, x (tokens of a sequence, sequences, parameters, threads), threads,
# dtype, tokens per second, share, what the limit is; and PREFIX.svg. Other parts of a PREFIX.tsv that is there
# stay: parts can be run one by one. A point that fails (too large for the memory) is said and left out.
# Status 1 where one was, 2 where a share is above 1: an error of this bench.
#   DTYPE [fp32] or bf16; MINUTES [60]: no point begins after them
#   SHAPE [m135]: where size does not vary; CONTEXTS, BATCHES, SIZES, THREADS: the points
# shellcheck disable=SC2317 # called by name
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
threads=2 prefix=growth
status=0
worse() { status=$(($1 > status ? $1 : status)); }
DTYPE=${DTYPE:-fp32} MINUTES=${MINUTES:-60} SHAPE=${SHAPE:-m135}
CONTEXTS=${CONTEXTS:-256 512 1024 2048 4096 8192} BATCHES=${BATCHES:-1 2 4 8 16 32}
SIZES=${SIZES:-k260 m15 m135 m360 b1} THREADS=${THREADS:-1 2}
if [[ ${1-} == -o ]]; then
    prefix=${2:?-o needs a prefix}
    shift 2
fi
parts=("$@")
((${#parts[@]})) || parts=(context batch size threads)
# shellcheck source=tests/bench/work.bash
source "${BASH_SOURCE[0]%/*}/work.bash"
columns=$'part\twork\tx\tthreads\tdtype\ttokens_per_second\tshare\tlimit'

need_shape() { # NAME
    [[ -z ${N[$1]-} ]] || return 0
    case $1 in
    k260) shape k260 5 64 172 8 4 512 ;;
    m15) shape m15 6 288 768 6 6 32000 ;;
    m135) shape m135 30 576 1536 9 3 49152 ;; # SmolLM-135M's
    m360) shape m360 32 960 2560 15 5 49152 ;;
    b1) shape b1 22 2048 5632 32 4 32000 ;; # TinyLlama-1.1B's
    *) echo "growth.sh: no shape '$1'" >&2 && exit 2 ;;
    esac
}
drop_shape() { # NAME: a gigabyte each
    rm -rf "${work:?}/$1" "$work/$1.bf16" "$work/$1.config"
    unset "N[$1]"
}

# A small model does its work so many times that it can be timed: about two tenths of a second.
rounds_of() { # SHAPE TOKENS
    local operations=$((2 * N[$1] * $2))
    echo $((operations < 20000000000 ? 20000000000 / operations + 1 : 1))
}

# What is timed: seconds of WORK on COUNT sequences of LENGTH tokens.
time_train() { # SHAPE LENGTH COUNT ROUNDS
    local tokens=$(($2 * $3)) need free
    need=$("$BIN/sft-train" -q --dry-run -m "$work/$1" -o "$work/o" --dtype "$DTYPE" --threads "$threads" --batch-size "$3" \
        --micro-batch-tokens "$tokens" --max-steps 2 "$work/in.toks" | sed -nE 's/^memory +about ([0-9]+).*/\1/p')
    free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    if ((need > free)); then
        echo "training needs about $need MiB, $free are free" >&2
        return 1
    fi
    update "$work/$1" "$DTYPE" "$work/in.toks" "$3" "$tokens" $(($4 < 20 ? $4 + 1 : 20))
}
more_less() { # DIVISOR COMMAND-OF-THE-LARGER -- COMMAND-OF-THE-SMALLER: the difference of their best times
    local larger=() divisor=$1 a b
    shift
    while [[ $1 != -- ]]; do larger+=("$1") && shift; done
    shift
    a=$(best "${larger[@]}") && b=$(best "$@") || return 1
    awk -v a="$a" -v b="$b" -v n="$divisor" 'BEGIN { print (a - b) / n }'
}
time_score() { # SHAPE LENGTH COUNT ROUNDS: of three times as many, less as many
    "$BIN/toks" head -n $(($3 * $4)) "$work/in.toks" >"$work/few.toks" || return 1
    more_less $((2 * $4)) score "$(read_as "$1")" "$DTYPE" "$work/in.toks" -- \
        score "$(read_as "$1")" "$DTYPE" "$work/few.toks"
}
time_draw() { # SHAPE - COUNT ROUNDS: 64 tokens each
    more_less "$4" draw "$(read_as "$1")" "$DTYPE" "$work/in.toks" "$3" 72 $(($3 * $4)) -- \
        draw "$(read_as "$1")" "$DTYPE" "$work/in.toks" "$3" 8 $(($3 * $4))
}
read_as() { if [[ $DTYPE == bf16 ]]; then echo "$work/$1.bf16"; else echo "$work/$1"; fi; }
# Weights that stay in the cache are not read from memory.
cache=$(getconf LEVEL3_CACHE_SIZE 2>/dev/null) || cache=0
((cache > 0)) || cache=33554432

point() { # PART X WORK SHAPE LENGTH COUNT
    local s n=$(($5 * $6)) products others bytes=0 of_limit by tokens count mask rounds
    if ((SECONDS > MINUTES * 60)); then
        echo "growth.sh: $MINUTES minutes are over: without $1 $2, $3" >&2
        worse 1
        return 0
    fi
    need_shape "$4"
    [[ $3 != draw ]] || n=$((64 * $6))
    rounds=$(rounds_of "$4" "$n")
    case $3 in
    train) tokens=$(($5 + 1)) count=$6 mask=1 products=$((6 * N[$4] * n)) others=$((3 * A[$4] * $5 * n / 2)) ;;
    score) tokens=$(($5 + 1)) count=$((3 * $6 * rounds)) mask=1 products=$((2 * N[$4] * n)) others=$((A[$4] * $5 * n / 2)) ;;
    draw)
        tokens=16 count=$(($6 * rounds)) mask=0 products=$((2 * N[$4] * n)) others=$((A[$4] * 56 * n))
        bytes=$(($([[ $DTYPE == bf16 ]] && echo 2 || echo 4) * N[$4]))
        bytes=$((bytes > cache ? 64 * bytes : 0))
        ;;
    esac
    [[ $3 == train || $DTYPE == fp32 ]] || narrow "$4"
    records "$tokens" "$count" "$mask" "${VOCAB[$4]}" >"$work/in.toks"
    export OMP_NUM_THREADS=$threads
    before
    if ! s=$("time_$3" "$4" "$5" "$6" "$rounds" 2>"$work/why"); then
        echo "growth.sh: $1 $2, $3: left out: $(tail -1 "$work/why")" >&2
        worse 1
        return 0
    fi
    after
    read -r of_limit by <<<"$(share "$s" "$products" "$others" "$bytes" "$DTYPE")"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%.3f\t%s\n' "$1" "$3" "$2" "$threads" "$DTYPE" \
        "$(awk -v n="$n" -v s="$s" 'BEGIN { printf "%.1f", (s > 0 ? n / s : 0) }')" "$of_limit" "$by" | tee -a "$prefix.tsv"
    awk -v share="$of_limit" 'BEGIN { exit share > 1 }' || worse 2
}

run_part() {
    local x usual=$threads
    case $1 in
    context)
        for x in $CONTEXTS; do
            point context "$x" train "$SHAPE" "$x" 1
            point context "$x" score "$SHAPE" "$x" 1
        done
        ;;
    batch)
        for x in $BATCHES; do
            point batch "$x" train "$SHAPE" 256 "$x"
            point batch "$x" draw "$SHAPE" 256 "$x"
        done
        ;;
    size)
        for x in $SIZES; do
            need_shape "$x"
            point size "${N[$x]}" train "$x" 256 4
            point size "${N[$x]}" score "$x" 256 4
            point size "${N[$x]}" draw "$x" 256 1
            [[ $x == "$SHAPE" ]] || drop_shape "$x"
        done
        ;;
    threads)
        for threads in $THREADS; do
            point threads "$threads" train "$SHAPE" 256 4
            point threads "$threads" score "$SHAPE" 256 4
            point threads "$threads" draw "$SHAPE" 256 8
        done
        threads=$usual
        ;;
    *) echo "growth.sh: no part '$1'" >&2 && exit 2 ;;
    esac
}

# Four panels over x, on a logarithmic scale: the share of the limit, a line a work.
picture() {
    local part work_ i parts_ colours=('#1f5fa8' '#d9730d' '#2f8f4e')
    declare -A label=([context]='tokens of one sequence' [batch]='sequences at a time' [size]='parameters' [threads]='threads')
    printf '%s\n' "set terminal svg size 1000,760 font 'sans,12' noenhanced background '#ffffff'" "set output '$prefix.svg'" \
        'set border 3' 'set tics nomirror' 'set grid' 'set yrange [0:1]' 'set logscale x 2' 'set key top right' \
        "set multiplot layout 2,2 title 'share of what the machine could do, $DTYPE'"
    for part in context batch size threads; do
        i=0 parts_=''
        for work_ in train score draw; do
            awk -F'\t' -v part="$part" -v work="$work_" '$1 == part && $2 == work { print $3, $7 }' "$prefix.tsv" |
                sort -g >"$work/$part.$work_"
            [[ ! -s $work/$part.$work_ ]] || parts_+="${parts_:+, }'$work/$part.$work_' with linespoints linewidth 1.5"
            [[ ! -s $work/$part.$work_ ]] || parts_+=" linecolor rgb '${colours[i]}' title '$work_'"
            i=$((i + 1))
        done
        [[ $part != size ]] || printf 'set logscale x 10\nset format x "%%.0s%%c"\n'
        printf "set xlabel '%s'\nplot %s\n" "${label[$part]}" "${parts_:-NaN notitle}"
        printf 'set logscale x 2\nset format x "%%g"\n'
    done
    printf 'unset multiplot\n'
}

[[ -s $prefix.tsv ]] || printf '%s\n' "$columns" >"$prefix.tsv"
for part in "${parts[@]}"; do
    # What an earlier run had of it makes place.
    awk -F'\t' -v part="$part" '$1 != part' "$prefix.tsv" >"$work/kept" && cp "$work/kept" "$prefix.tsv"
    run_part "$part"
done
picture | LC_ALL=C.UTF-8 gnuplot
exit "$status"
