#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The engine on synthetic weights, as ratios to what this machine can do, measured before and after each
# part of the same run: training, scoring, drawing, memory, start.
#   tests/bench/engine.sh [THREADS [PART...]]     parts: train score draw long small gpt2 memory start
# A line: what was made, its rate, the least time that the machine could do it in over the time it took,
# and what that ratio has to be at least. The least time is that of multiply-adds which never leave the
# registers (of pairs of bf16 for --dtype bf16), or of reading the weights once. A ratio above 1 is an
# error of this bench. Under a line, other programs at the same work in the same run, where they are
# installed (tests/bench/peers.bash). Status 1 where a ratio is missed; 2 where one to the limit is above 1.
#   BIN: the programs; BENCH: bench_machine; LONGEST: tokens of the longest sequence of `long` [2048];
#   LAYERS: of SmolLM-135M's shape [30], fewer to try the bench itself
#   PEERS_PYTHON: a Python with torch and transformers; llama-bench and llama-batched-bench on PATH
# shellcheck disable=SC2317 # called through best
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
LONGEST=${LONGEST:-2048} LAYERS=${LAYERS:-30}
threads=${1:-2}
parts=" ${*:2} "
[[ $parts == *[a-z]* ]] || parts=' train score draw long small gpt2 memory start '
export OMP_NUM_THREADS=$threads
status=0
# shellcheck source=tests/bench/work.bash
source "${BASH_SOURCE[0]%/*}/work.bash"
# shellcheck source=tests/bench/peers.bash
source "${BASH_SOURCE[0]%/*}/peers.bash"

smollm() { [[ -n ${N[smollm]-} ]] || shape smollm "$LAYERS" 576 1536 9 3 49152; }

# WHAT COUNT UNIT SECONDS PRODUCTS OTHERS BYTES DTYPE AT-LEAST, as in `share`; `-` where nothing is asked.
row() {
    local ratio by
    read -r ratio by <<<"$(share "${@:4:5}")"
    awk -v what="$1" -v count="$2" -v unit="$3" -v s="$4" -v dtype="$8" -v least="$9" -v bf16="${most[1]}" \
        -v ratio="$ratio" -v by="$by" 'BEGIN {
        if (dtype == "bf16" && bf16 == 0) least = "-" # the same numbers by fp32 products
        verdict = ratio > 1 ? "ABOVE 1" : least == "-" ? "" : ratio < least ? "MISSED" : "ok"
        printf "%-42s %9.1f %-8s %5.2f of %-10s %s %s\n", what, count / s, unit, ratio, by, \
            least == "-" ? "" : sprintf("at least %.2f", least), verdict
        exit ratio > 1 ? 2 : verdict == "MISSED"
    }' || { local result=$?; status=$((result > status ? result : status)); }
}
limits() {
    local onednn="${most[4]} and ${most[5]}"
    [[ $onednn != '0 and 0' ]] || onednn='not there at the build (libdnnl-dev),'
    printf '%-42s fp32 %s, pairs of bf16 %s, OpenBLAS %s, oneDNN %s GFLOP/s; reads %s GB/s\n' "($1)" "${most[@]:0:3}" \
        "$onednn" "${most[3]}"
}
wanted() { [[ $parts == *" $1 "* ]]; }

train_row() { # WHAT SHAPE DTYPE LENGTH COUNT UPDATES AT-LEAST [OF-PEERS]: peers are compared where it is given
    local tokens=$(($4 * $5)) s
    records $(($4 + 1)) "$5" 1 "${VOCAB[$2]}" >"$work/batch.toks"
    before
    s=$(update "$work/$2" "$3" "$work/batch.toks" "$5" $((tokens > 1024 ? tokens : 1024)) "$6")
    after
    row "$1" "$tokens" tokens/s "$s" $((6 * N[$2] * tokens)) $((3 * A[$2] * $4 * tokens / 2)) 0 "$3" "$7"
    [[ -n ${8-} ]] || return 0
    peers_train "$work/$2" "$3" "$4" "$5" "$6"
    against "$tokens" tokens/s "$s" "$8"
}

printf 'processor  %s, %s threads, %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$threads" \
    "$(sed -nE 's/^(cpu family|model|stepping)\s*: (.*)/\1 \2/p' /proc/cpuinfo | head -3 | tr '\n' ' ')"
find_peers
printf 'variables  %s\n' "$(env | grep -E '^(DENSEPATH|OPENBLAS|NVPL|MKL|GOTO)' | tr '\n' ' ')"

if wanted train; then
    smollm
    train_row 'training 4 x 256, fp32' smollm fp32 256 4 4 0.80 -
    train_row 'training 4 x 256, bf16' smollm bf16 256 4 4 0.65 1.50
    limits train
fi
if wanted gpt2; then
    mkdir "$work/gpt2.config"
    jq -n '{architectures: ["GPT2LMHeadModel"], model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_head: 12,
        n_layer: 12, n_positions: 1024}' >"$work/gpt2.config/config.json"
    "$BIN/model" init "$work/gpt2.config" -o "$work/gpt2" --seed 1 -q
    N[gpt2]=$((12 * 12 * 768 * 768 + 50257 * 768)) A[gpt2]=$((12 * 768 * 4)) VOCAB[gpt2]=50257
    train_row 'GPT-2 124M, training 4 x 256, fp32' gpt2 fp32 256 4 4 0.80 -
    train_row 'GPT-2 124M, training 4 x 256, bf16' gpt2 bf16 256 4 4 0.60 -
    limits gpt2
fi
if wanted small; then
    shape k260 5 64 172 8 4 512
    shape m15 6 288 768 6 6 32000
    train_row '260 thousand, training 8 x 256, fp32' k260 fp32 256 8 40 0.50
    train_row '15 million, training 4 x 256, fp32' m15 fp32 256 4 10 0.70
    train_row '15 million, training 4 x 256, bf16' m15 bf16 256 4 10 -
    limits small
fi
if wanted score; then
    smollm
    records 257 4 1 49152 >"$work/few.toks"
    records 257 16 1 49152 >"$work/many.toks"
    narrow smollm
    for kind in 'fp32 smollm 0.85 fp32' 'fp32 smollm.bf16 - fp32 on bf16 weights' 'bf16 smollm.bf16 0.65 bf16'; do
        read -r dtype model asked name <<<"$kind"
        before
        few=$(best score "$work/$model" "$dtype" "$work/few.toks")
        many=$(best score "$work/$model" "$dtype" "$work/many.toks")
        after
        n=$((12 * 256)) s=$(apart "$many" "$few")
        row "scoring 12 x 256, $name" $n tokens/s "$s" $((2 * N[smollm] * n)) \
            $((A[smollm] * 128 * n)) 0 "$dtype" "$asked"
        [[ $asked == - ]] || peers_score "$work/smollm" "$dtype" 256 12
        against $n tokens/s "$s" 1.30
    done
    limits score
fi
if wanted draw; then
    smollm
    records 16 64 0 49152 >"$work/prompts.toks"
    narrow smollm
    for kind in 'fp32 smollm 4' 'fp32 smollm.bf16 2' 'bf16 smollm.bf16 2'; do
        read -r dtype model size <<<"$kind"
        for n in 1 8 32 64; do
            asked=- of_peers=-
            [[ $dtype == fp32 ]] || read -r asked of_peers <<<"$([[ $n -le 8 ]] && echo 0.80 1.20 || echo 0.50 1.50)"
            before
            short=$(best draw "$work/$model" "$dtype" "$work/prompts.toks" $n 8)
            long=$(best draw "$work/$model" "$dtype" "$work/prompts.toks" $n 72)
            after
            weights=$([[ $size == 2 ]] && echo 'bf16 weights' || echo 'fp32 weights') s=$(apart "$long" "$short")
            row "drawing $n, $weights, $dtype" $((64 * n)) tokens/s "$s" \
                $((2 * N[smollm] * 64 * n)) $((A[smollm] * 56 * 64 * n)) $((size * N[smollm] * 64)) "$dtype" "$asked"
            [[ $dtype$size == fp322 ]] || peers_draw "$work/smollm" "$dtype" $n 64
            against $((64 * n)) tokens/s "$s" "$of_peers"
        done
    done
    limits draw
fi
if wanted long; then
    smollm
    for ((n = 256; n <= LONGEST; n *= 2)); do
        asked=$([[ $n -ge 8192 ]] && echo 0.55 || echo -)
        train_row "training 1 x $n, fp32" smollm fp32 $n 1 2 "$asked"
    done
    limits long
fi
if wanted memory && [[ -x /usr/bin/time ]]; then
    smollm
    records 257 4 1 49152 >"$work/batch.toks"
    for dtype in fp32 bf16; do
        rm -rf "$work/o"
        train=("$BIN/sft-train" -m "$work/smollm" -o "$work/o" --dtype "$dtype" --threads "$threads" --batch-size 4
            --max-steps 2 "$work/batch.toks")
        estimate=$("${train[@]}" -q --dry-run | sed -nE 's/^memory +about ([0-9.]+) MiB.*/\1/p')
        peak=$(/usr/bin/time -f %M "${train[@]}" -q 2>&1 >/dev/null | tail -1)
        awk -v e="$estimate" -v p="$peak" -v n="${N[smollm]}" -v dtype="$dtype" 'BEGIN {
            p /= 1024; least = 16 * n / 1048576
            printf "training memory, %-25s %9.1f MiB      %5.2f of the estimate, %.2f of 16 B a parameter (at most 1.25)\n", \
                dtype, p, p / e, p / least
            exit p / least > 1.25 || p / e > 1.1 || p / e < 0.9 }' || status=$((status > 1 ? status : 1))
    done
fi
if wanted start; then
    smollm
    records 10 1 1 49152 >"$work/ten.toks"
    start=$(best "$BIN/logprob" -q -m "$work/smollm" --as x --threads "$threads" "$work/ten.toks")
    awk -v s="$start" 'BEGIN { printf "start, logprob on ten tokens %23.0f ms (at most 150)\n", s * 1e3; exit s > 0.15 }' ||
        status=$((status > 1 ? status : 1))
fi
exit "$status"
