#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What --dtype bf16 costs in loss: the annotators' task, trained and scored both ways from one base model.
# A line: seeds, mean loss in fp32 and its spread over seeds, mean of bf16 less fp32 and twice its standard error.
#   tests/bench/loss.sh [SEEDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
task=$root/pipelines/tasks/annotators
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$task/generate" --n 9600 --seed 5 >"$work/demos.jsonl"
"$task/generate" --n 500 --seed 5 --held-out >"$work/held.jsonl"
"$BIN/model" init "$task/model" -o "$work/base" --seed 1 -q
"$BIN/tok" -q -m "$work/base" "$work/demos.jsonl" >"$work/demos.toks"
"$BIN/tok" -q -m "$work/base" "$work/held.jsonl" >"$work/held.toks"
for ((seed = 1; seed <= ${1:-5}; seed++)); do
    for dtype in fp32 bf16; do
        "$BIN/sft-train" -q -m "$work/base" -o "$work/out" --overwrite --dtype "$dtype" --seed "$seed" --batch-size 32 \
            --learning-rate 3e-3 --warmup-steps 20 --adam-beta2 0.95 "$work/demos.toks"
        "$BIN/logprob" -q -m "$work/out" --dtype "$dtype" --as x "$work/held.toks" | "$BIN/toks" view |
            jq -n --arg seed "$seed" --arg dtype "$dtype" -r '
                reduce (inputs | select(.token) | .["logp:x"][] | numbers) as $x ([0, 0]; [.[0] - $x, .[1] + 1])
                | "\($seed) \($dtype) \(.[0] / .[1])"'
    done
done | awk '
    { v[$1, $2] = $3; s[$1] }
    END {
        for (i in s) {
            d = v[i, "bf16"] - v[i, "fp32"]
            n++; a += d; q += d * d; f += v[i, "fp32"]; g += v[i, "fp32"] ^ 2
        }
        m = a / n
        printf "%d seeds: loss %.4f in fp32 (sd %.4f), bf16 %+.4f +- %.4f\n", n, f / n, sqrt((g - f * f / n) / (n - 1)), m,
            2 * sqrt((q - n * m * m) / (n - 1) / n)
    }'
