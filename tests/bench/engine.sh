#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The engine on synthetic weights, as ratios to what this machine can do, measured before and after each
# part of the same run: training, scoring, drawing, memory, start.
#   tests/bench/engine.sh [THREADS [PART...]]     parts: train score draw long small gpt2 memory start
# A line: what was made, its rate, the least time that the machine could do it in over the time it took,
# and what that ratio has to be at least. The least time is that of multiply-adds which never leave the
# registers (of pairs of bf16 for --dtype bf16), or of reading the weights once. A ratio above 1 is an
# error of this bench. Status 1 where a ratio is missed; 2 where it is above 1.
#   BIN: the programs; BENCH: bench_machine; LONGEST: tokens of the longest sequence of `long` [2048]
# shellcheck disable=SC2317 # called through best
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin} BENCH=${BENCH:-$root/build/bench} LONGEST=${LONGEST:-2048}
threads=${1:-2}
parts=" ${*:2} "
[[ $parts == *[a-z]* ]] || parts=' train score draw long small gpt2 memory start '
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=$threads
status=0

# Shapes: parameters (of products), and operations of attention a token, times the keys that it sees.
declare -A N A
shape() { # NAME LAYERS HIDDEN INTERMEDIATE HEADS KV VOCABULARY: a Llama
    mkdir "$work/$1.config"
    jq -n --argjson layers "$2" --argjson hidden "$3" --argjson inner "$4" --argjson heads "$5" \
        --argjson kv "$6" --argjson vocab "$7" '{architectures: ["LlamaForCausalLM"], hidden_act: "silu",
        hidden_size: $hidden, intermediate_size: $inner, initializer_range: 0.04,
        max_position_embeddings: 16384, model_type: "llama", num_attention_heads: $heads,
        num_hidden_layers: $layers, num_key_value_heads: $kv, rms_norm_eps: 1e-5, rope_theta: 10000.0,
        tie_word_embeddings: true, vocab_size: $vocab}' >"$work/$1.config/config.json"
    "$BIN/model" init "$work/$1.config" -o "$work/$1" --seed 1 -q
    "$BIN/model" init "$work/$1.config" -o "$work/$1.bf16" --save-dtype bf16 --seed 1 -q
    N[$1]=$(($2 * ($3 * $3 * 2 + 2 * $3 * $3 * $6 / $5 + 3 * $3 * $4) + $3 * $7))
    A[$1]=$(($2 * $3 * 4))
}
smollm() { [[ -n ${N[smollm]-} ]] || shape smollm 30 576 1536 9 3 49152; }

records() { # LENGTH COUNT MASKED VOCABULARY: every token trained unless MASKED is 0
    jq -nc --argjson n "$1" --argjson count "$2" --argjson mask "$3" --argjson vocab "$4" 'range($count) as $r
        | {id: "r\($r)", token: [range($n) | (. * 7919 + $r * 104729 + 13) % ($vocab - 10) + 5],
            mask: [range($n) | $mask]}' | "$BIN/toks" view -b -
}
seconds() { local s; s=$( { TIMEFORMAT=%R; time "$@" >/dev/null 2>"$work/log"; } 2>&1) || { cat "$work/log" >&2; exit 1; }; echo "$s"; }
best() { # COMMAND...: the least of three times
    local i
    for i in 1 2 3; do seconds "$@"; done | sort -n | head -1
}
apart() { awk -v a="$1" -v b="$2" 'BEGIN { print a - b }'; }

# What the machine can do, the better of before and after: peak (of the arithmetic), fp32, reads.
measure() { read -r fp32 bf16 sgemm reads < <("$BENCH/bench_machine" "$threads") || return 1; }
before() {
    measure
    most=("$fp32" "$bf16" "$sgemm" "$reads")
}
after() {
    local i now
    measure
    now=("$fp32" "$bf16" "$sgemm" "$reads")
    for i in 0 1 2 3; do most[i]=$(awk -v a="${most[i]}" -v b="${now[i]}" 'BEGIN { print (a > b ? a : b) }'); done
    awk -v f="${most[0]}" -v s="${most[2]}" 'BEGIN { exit !(f < s) }' && most[0]=${most[2]}
    return 0
}
# WHAT COUNT UNIT SECONDS PRODUCTS OTHERS BYTES DTYPE AT-LEAST: operations of products, operations that are
# fp32 whatever the dtype, and bytes of weights that are read; `-` where nothing is asked.
row() {
    awk -v what="$1" -v count="$2" -v unit="$3" -v s="$4" -v products="$5" -v others="$6" -v bytes="$7" \
        -v dtype="$8" -v least="$9" -v fp32="${most[0]}" -v bf16="${most[1]}" -v reads="${most[3]}" 'BEGIN {
        peak = dtype == "bf16" && bf16 > 0 ? bf16 : fp32
        time = products / peak * 1e-9 + others / fp32 * 1e-9
        if (bytes / reads * 1e-9 > time) { time = bytes / reads * 1e-9; by = "reading" } else by = "arithmetic"
        ratio = time / s
        if (dtype == "bf16" && bf16 == 0) least = "-" # the same numbers by fp32 products
        verdict = ratio > 1 ? "ABOVE 1" : least == "-" ? "" : ratio < least ? "MISSED" : "ok"
        printf "%-42s %9.1f %-8s %5.2f of %-10s %s %s\n", what, count / s, unit, ratio, by, \
            least == "-" ? "" : sprintf("at least %.2f", least), verdict
        exit ratio > 1 ? 2 : verdict == "MISSED"
    }' || { local result=$?; status=$((result > status ? result : status)); }
}
limits() {
    printf '%-42s fp32 %s, pairs of bf16 %s, OpenBLAS %s GFLOP/s; reads %s GB/s\n' "($1)" "${most[@]}"
}
wanted() { [[ $parts == *" $1 "* ]]; }

# Seconds of an update of the stream; --micro-batch-tokens of all of it.
update() { # MODEL DTYPE STREAM BATCH TOKENS UPDATES
    rm -rf "$work/o"
    "$BIN/sft-train" -q -m "$1" -o "$work/o" --dtype "$2" --threads "$threads" --batch-size "$4" \
        --micro-batch-tokens "$5" --max-steps "$6" --metrics "$work/metrics.jsonl" "$3"
    jq -s 'map(.step_time) | min' "$work/metrics.jsonl"
}
train_row() { # WHAT SHAPE DTYPE LENGTH COUNT UPDATES AT-LEAST
    local tokens=$(($4 * $5)) s
    records $(($4 + 1)) "$5" 1 "${VOCAB[$2]}" >"$work/batch.toks"
    before
    s=$(update "$work/$2" "$3" "$work/batch.toks" "$5" $((tokens > 1024 ? tokens : 1024)) "$6")
    after
    row "$1" "$tokens" tokens/s "$s" $((6 * N[$2] * tokens)) $((3 * A[$2] * $4 * tokens / 2)) 0 "$3" "$7"
}
declare -A VOCAB=([smollm]=49152 [gpt2]=50257 [m15]=32000 [k260]=512)

printf 'processor  %s, %s threads, %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" "$threads" \
    "$(sed -nE 's/^(cpu family|model|stepping)\s*: (.*)/\1 \2/p' /proc/cpuinfo | head -3 | tr '\n' ' ')"
printf 'variables  %s\n' "$(env | grep -E '^(DENSEPATH|OPENBLAS|NVPL|MKL|GOTO)' | tr '\n' ' ')"

if wanted train; then
    smollm
    train_row 'training 4 x 256, fp32' smollm fp32 256 4 4 0.80
    train_row 'training 4 x 256, bf16' smollm bf16 256 4 4 0.65
    limits train
fi
if wanted gpt2; then
    mkdir "$work/gpt2.config"
    jq -n '{architectures: ["GPT2LMHeadModel"], model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_head: 12,
        n_layer: 12, n_positions: 1024}' >"$work/gpt2.config/config.json"
    "$BIN/model" init "$work/gpt2.config" -o "$work/gpt2" --seed 1 -q
    N[gpt2]=$((12 * 12 * 768 * 768 + 50257 * 768)) A[gpt2]=$((12 * 768 * 4))
    train_row 'GPT-2 124M, training 4 x 256, fp32' gpt2 fp32 256 4 4 0.80
    train_row 'GPT-2 124M, training 4 x 256, bf16' gpt2 bf16 256 4 4 0.60
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
    score() { "$BIN/logprob" -q -m "$1" --as x --dtype "$2" --threads "$threads" "$3"; }
    for kind in 'fp32 smollm 0.85 fp32' 'fp32 smollm.bf16 - fp32 on bf16 weights' 'bf16 smollm.bf16 0.65 bf16'; do
        read -r dtype model asked name <<<"$kind"
        before
        few=$(best score "$work/$model" "$dtype" "$work/few.toks")
        many=$(best score "$work/$model" "$dtype" "$work/many.toks")
        after
        n=$((12 * 256))
        row "scoring 12 x 256, $name" $n tokens/s "$(apart "$many" "$few")" $((2 * N[smollm] * n)) \
            $((A[smollm] * 128 * n)) 0 "$dtype" "$asked"
    done
    limits score
fi
if wanted draw; then
    smollm
    records 16 64 0 49152 >"$work/prompts.toks"
    draw() { # MODEL DTYPE IN-FLIGHT TOKENS
        "$BIN/toks" head -n "$3" "$work/prompts.toks" | "$BIN/rollout" -q -m "$1" --dtype "$2" \
            --threads "$threads" --in-flight "$3" --batch-size "$3" --max-new-tokens "$4" --seed 1
    }
    for kind in 'fp32 smollm 4' 'fp32 smollm.bf16 2' 'bf16 smollm.bf16 2'; do
        read -r dtype model size <<<"$kind"
        for n in 1 8 32 64; do
            asked=-
            [[ $dtype == fp32 ]] || asked=$([[ $n -le 8 ]] && echo 0.80 || echo 0.50)
            before
            short=$(best draw "$work/$model" "$dtype" $n 8)
            long=$(best draw "$work/$model" "$dtype" $n 72)
            after
            weights=$([[ $size == 2 ]] && echo 'bf16 weights' || echo 'fp32 weights')
            row "drawing $n, $weights, $dtype" $((64 * n)) tokens/s "$(apart "$long" "$short")" \
                $((2 * N[smollm] * 64 * n)) $((A[smollm] * 56 * 64 * n)) $((size * N[smollm] * 64)) "$dtype" "$asked"
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
