#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The engine on SmolLM-135M's shape (synthetic weights), as ratios to what this machine can do, measured
# in the same run: training, scoring, sampling, start.
#   tests/bench/engine.sh [THREADS]       (BIN: the programs; BENCH: bench_machine)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
BENCH=${BENCH:-$root/build/bench}
threads=${1:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/config"
cat > "$work/config/config.json" << 'JSON'
{"architectures":["LlamaForCausalLM"],"hidden_act":"silu","hidden_size":576,"intermediate_size":1536,
 "initializer_range":0.04,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":9,
 "num_hidden_layers":30,"num_key_value_heads":3,"rms_norm_eps":1e-5,"rope_theta":10000.0,
 "tie_word_embeddings":true,"torch_dtype":"float32","vocab_size":49152}
JSON
"$BIN/model" init "$work/config" -o "$work/m" --seed 1 -q

# records LENGTH COUNT MASKED: a stream of COUNT sequences, every token trained unless MASKED is 0
records() {
    jq -nc --argjson n "$1" --argjson count "$2" --argjson mask "$3" 'range($count) as $r
        | {id: "r\($r)", token: [range($n) | (. * 7919 + $r * 104729 + 13) % 49000 + 5],
           mask: [range($n) | $mask]}' | "$BIN/toks" view -b -
}
records 257 4 1 > "$work/batch.toks" # 256 predictions each
records 257 16 1 > "$work/score.toks"
records 16 32 0 > "$work/prompts.toks"
records 10 1 1 > "$work/ten.toks"

N=134515008 ATTENTION=8847360 # parameters; 4 x 30 layers x 576 x 128 keys on average, a token forward
export OMP_NUM_THREADS=$threads
machine() { "$BENCH/bench_machine" "$threads" 1024 49152 576; }
seconds() { local s; s=$( { TIMEFORMAT=%R; time "$@" > /dev/null 2> "$work/log"; } 2>&1 ); echo "$s"; }
best() { # best COMMAND...: the least of three times
    for _ in 1 2 3; do seconds "$@"; done | sort -n | head -1
}
peak() { /usr/bin/time -f %M "$@" 2>&1 > /dev/null | tail -1; } # KiB

read -r gemm bandwidth < <(machine)
"$BIN/sft-train" -q -m "$work/m" -o "$work/o" --threads "$threads" --batch-size 4 --max-steps 6 \
    --metrics "$work/metrics.jsonl" "$work/batch.toks"
step=$(jq -s 'map(.step_time) | min' "$work/metrics.jsonl")
read -r gemm2 _ < <(machine)

score_small=$(best "$BIN/logprob" -q -m "$work/m" --as x --threads "$threads" "$work/batch.toks")
score_large=$(best "$BIN/logprob" -q -m "$work/m" --as x --threads "$threads" "$work/score.toks")
read -r gemm3 bandwidth3 < <(machine)

sample() {
    "$BIN/rollout" -q -m "$work/m" --threads "$threads" --in-flight 32 --max-new-tokens "$1" --seed 1 \
        "$work/prompts.toks"
}
short=$(best sample 8)
long=$(best sample 72)
start=$(best "$BIN/logprob" -q -m "$work/m" --as x --threads "$threads" "$work/ten.toks")
read -r gemm4 bandwidth4 < <(machine)

train_memory=0 score_memory=0
if [ -x /usr/bin/time ]; then
    rm -rf "$work/o"
    train_memory=$(peak "$BIN/sft-train" -q -m "$work/m" -o "$work/o" --threads "$threads" \
        --batch-size 4 --max-steps 2 "$work/batch.toks")
    score_memory=$(peak "$BIN/logprob" -q -m "$work/m" --as x --threads "$threads" "$work/score.toks")
fi

awk -v N=$N -v A=$ATTENTION -v step="$step" -v s1="$score_small" -v s4="$score_large" -v r8="$short" \
    -v r72="$long" -v start="$start" -v g1="$gemm" -v g2="$gemm2" -v g3="$gemm3" -v g4="$gemm4" \
    -v b1="$bandwidth" -v b3="$bandwidth3" -v b4="$bandwidth4" -v tm="$train_memory" \
    -v sm="$score_memory" -v threads="$threads" 'BEGIN {
    max = g1; if (g2 > max) max = g2; if (g3 > max) max = g3; if (g4 > max) max = g4
    band = b1; if (b3 > band) band = b3; if (b4 > band) band = b4
    printf "machine    OpenBLAS sgemm 1024 x 49152 x 576 on %d threads: %.1f %.1f %.1f %.1f GFLOP/s; reads %.1f GB/s\n", threads, g1, g2, g3, g4, band
    f = (6 * N + 3 * A) * 1024; ref = g1 > g2 ? g1 : g2
    printf "training   4 x 256 tokens per update in %.2f s: %.1f GFLOP/s of 6 N + attention, ratio %.2f (at least 0.70)\n", step, f / step * 1e-9, f / step * 1e-9 / ref
    f = 2 * N * 12 * 256; ref = g2 > g3 ? g2 : g3; d = s4 - s1
    printf "scoring    12 x 256 tokens in %.2f s (difference of two runs): %.1f GFLOP/s of 2 N, ratio %.2f (at least 0.75)\n", d, f / d * 1e-9, f / d * 1e-9 / ref
    ref = (g3 > g4 ? g3 : g4) * 1e9
    d = (r72 - r8) / 64; memory = 4 * N / (band * 1e9); compute = 2 * N * 32 / ref
    bound = memory > compute ? memory : compute
    printf "sampling   32 in flight, a step in %.1f ms (difference of two runs); bound %.1f ms (memory %.1f, arithmetic %.1f), ratio %.2f (at least 0.50)\n", d * 1e3, bound * 1e3, memory * 1e3, compute * 1e3, bound / d
    printf "start      logprob on 10 tokens: %.0f ms (at most 150)\n", start * 1e3
    if (tm > 0) {
        printf "memory     training %.0f MiB, beyond weights, gradients and moments %.0f (at most 1024)\n", tm / 1024, tm / 1024 - 16 * N / 1048576
        printf "           scoring %.0f MiB, beyond weights %.0f (at most 512)\n", sm / 1024, sm / 1024 - 4 * N / 1048576
    }
}'
