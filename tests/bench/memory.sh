#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The peaks that `model info` states beside those that the system measured (VmHWM, mapped weights
# included), for each program and models of several sizes: in MiB, and what was measured as a share
# of what was stated.
#   tests/bench/memory.sh [SIZE...]     (0.3M 15M 135M 360M; without one: the first three. BIN: the programs)
# Fails where a program took over 5 % more than it was said to take, or less than 90 % of it; 4 MiB are forgiven: the
# data, and what a small prompt leaves of the room for a large one.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(($#)) || set -- 0.3M 15M 135M
wrong=0

# make_model NAME: hidden size, MLP, layers, heads, those of keys and values, vocabulary
make_model() {
    local shape
    case $1 in
    0.3M) shape=(64 176 4 4 2 2000) ;;
    15M) shape=(288 768 6 6 6 32000) ;;
    135M) shape=(576 1536 30 9 3 49152) ;; # SmolLM-135M's
    360M) shape=(960 2560 32 15 5 49152) ;;
    *) echo "memory.sh: no model of size '$1'" >&2 && exit 2 ;;
    esac
    rm -rf "$work"/{config,m}
    mkdir "$work/config"
    printf '{"architectures":["LlamaForCausalLM"],"hidden_act":"silu","hidden_size":%d,"intermediate_size":%d,
        "num_hidden_layers":%d,"num_attention_heads":%d,"num_key_value_heads":%d,"vocab_size":%d,
        "initializer_range":0.04,"max_position_embeddings":4096,"model_type":"llama","rms_norm_eps":1e-5,
        "tie_word_embeddings":true,"torch_dtype":"float32","pad_token_id":0}' "${shape[@]}" >"$work/config/config.json"
    "$BIN/model" init "$work/config" -o "$work/m" --seed 1 -q
}

# records COUNT LENGTH: in pairs, every token trained on, with an advantage
records() {
    jq -nc --argjson n "$1" --argjson length "$2" '
        def column($name; $type; $per): {name: $name, type: $type, per: $per};
        {densepath: 1, columns: [column("id"; "string"; "sequence"), column("token"; "u32"; "token"),
            column("mask"; "u8"; "token"), column("advantage"; "f32"; "token"),
            column("pair"; "string"; "sequence"), column("role"; "string"; "sequence")]},
        (range($n) as $i | {id: "\($i)", token: [range($length) | (. * 997 + $i * 31) % 1990 + 5],
            mask: [range($length) | 1], advantage: [range($length) | 0.1], pair: "\($i / 2 | floor)",
            role: ["demo", "sample"][$i % 2]})' | "$BIN/toks" view -b
}

# measure PROGRAM STATED ARGUMENT...: STATED in bytes
measure() {
    local program=$1 stated=$2 peak
    shift 2
    rm -rf "$work/out"
    peak=$(/usr/bin/time -f %M "$BIN/$program" -q -m "$work/m" -o "$work/out" --threads 2 "$@" 2>&1 >"$work/log" | tail -1)
    awk -v size="$size" -v program="$program" -v length_="$length" -v cut="$cut" -v stated="$stated" -v peak="$peak" 'BEGIN {
        stated /= 1048576; peak /= 1024; share = stated > 0 ? peak / stated : 0
        wrong = (share > 1.05 || share < 0.9) && (peak - stated > 4 || stated - peak > 4)
        printf "%-6s %-16s %6d %6d %9.1f %9.1f  %.2f%s\n", size, program, length_, cut, stated, peak, share,
            wrong ? "  wrong" : ""
        exit wrong }' || wrong=1
}

# told PROGRAM ARGUMENT...: what the program itself says at its start, with the weights and itself
told() {
    "$BIN/$1" -v -m "$work/m" -o "$work/out" --threads 2 "${@:2}" "$work/all.toks" 2>&1 |
        awk -v weights="$(stat -c %s "$work/m/model.safetensors")" '/ needs about .* MiB$/ { print $(NF - 1) * 1048576 + weights + 4718592 }'
}

printf '%-6s %-16s %6s %6s %9s %9s  %s\n' model program length batch stated measured share
for size; do
    make_model "$size"
    for shape in "64 1024" "256 1024" "256 4096" "1000 1024"; do
        read -r length cut <<<"$shape"
        [[ $size$cut != 360M4096 ]] || continue
        count=$((cut / length > 8 ? cut / length : 8))
        records $((2 * count < 64 ? 64 : 2 * count)) "$length" >"$work/all.toks"
        "$BIN/toks" view "$work/all.toks" | jq -c 'if .columns then .columns |= map(select(.name == "id" or .name == "token"))
            else {id, token: .token[:(.token | length * 3 / 4 - 3)]} end' | "$BIN/toks" view -b >"$work/prompts.toks"
        "$BIN/model" info --json --max-length "$length" --micro-batch-tokens "$cut" --batch-size $count --in-flight 16 \
            --threads 2 "$work/m" >"$work/plan"
        for program in sft-train pair-train reward-train reinforce-step logprob rollout novelty; do
            stated=$(jq --arg p $program '.peaks.programs[$p].peak // 0' "$work/plan") set=()
            case $program in
            sft-train | reward-train | reinforce-step) set=(--max-steps 2 --batch-size "$count" --micro-batch-tokens "$cut") ;;
            pair-train) set=(--max-steps 2 --batch-size "$count" --micro-batch-tokens "$cut" --reference self) ;;
            logprob) set=(--as x) ;;
            rollout) set=(--in-flight 16 --max-new-tokens $((length - length * 3 / 4 + 3))) ;;
            novelty) set=(--demonstrations "$work/all.toks") stated=$(told novelty "${set[@]}") ;;
            esac
            stream=all
            [[ $program != rollout ]] || stream=prompts
            measure "$program" "$stated" "${set[@]}" "$work/$stream.toks"
            [[ $program != reward-train ]] || mv "$work/out" "$work/reward"
        done
        mv "$work/m" "$work/policy" && mv "$work/reward" "$work/m"
        measure reward-train "$(told reward-train --score)" --score "$work/all.toks"
        rm -rf "$work/m" && mv "$work/policy" "$work/m"
    done
done
exit $wrong
