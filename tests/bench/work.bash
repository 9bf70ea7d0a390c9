# What the benches of the engine share: synthetic models and streams, the work that is timed, and what the
# machine could do at best. Sourced by engine.sh and growth.sh, which set `root` and `threads`.
# shellcheck shell=bash disable=SC2034,SC2154,SC2317
BIN=${BIN:-$root/bin} BENCH=${BENCH:-$root/build/bench}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Shapes: parameters (of products), operations of attention a token, times the keys that it sees, and words.
declare -A N A VOCAB
shape() { # NAME LAYERS HIDDEN INTERMEDIATE HEADS KV VOCABULARY: a Llama
    mkdir "$work/$1.config"
    jq -n --argjson layers "$2" --argjson hidden "$3" --argjson inner "$4" --argjson heads "$5" \
        --argjson kv "$6" --argjson vocab "$7" '{architectures: ["LlamaForCausalLM"], hidden_act: "silu",
        hidden_size: $hidden, intermediate_size: $inner, initializer_range: 0.04,
        max_position_embeddings: 16384, model_type: "llama", num_attention_heads: $heads,
        num_hidden_layers: $layers, num_key_value_heads: $kv, rms_norm_eps: 1e-5, rope_theta: 10000.0,
        tie_word_embeddings: true, vocab_size: $vocab}' >"$work/$1.config/config.json"
    "$BIN/model" init "$work/$1.config" -o "$work/$1" --seed 1 -q
    N[$1]=$(($2 * ($3 * $3 * 2 + 2 * $3 * $3 * $6 / $5 + 3 * $3 * $4) + $3 * $7))
    A[$1]=$(($2 * $3 * 4)) VOCAB[$1]=$7
}
narrow() { # NAME: the same with weights of bf16, as NAME.bf16
    [[ -d $work/$1.bf16 ]] || "$BIN/model" init "$work/$1.config" -o "$work/$1.bf16" --save-dtype bf16 --seed 1 -q
}

records() { # LENGTH COUNT MASKED VOCABULARY: every token trained unless MASKED is 0
    jq -nc --argjson n "$1" --argjson count "$2" --argjson mask "$3" --argjson vocab "$4" 'range($count) as $r
        | {id: "r\($r)", token: [range($n) | (. * 7919 + $r * 104729 + 13) % ($vocab - 10) + 5],
            mask: [range($n) | $mask]}' | "$BIN/toks" view -b -
}
seconds() { # COMMAND...
    local s
    if s=$({ TIMEFORMAT=%R; time "$@" >/dev/null 2>"$work/log"; } 2>&1); then
        echo "$s"
    else
        cat "$work/log" >&2
        return 1
    fi
}
best() { # COMMAND...: the least of three times
    local i times=()
    for i in 0 1 2; do times[i]=$(seconds "$@") || return 1; done
    printf '%s\n' "${times[@]}" | sort -n | head -1
}
apart() { awk -v a="$1" -v b="$2" 'BEGIN { print a - b }'; }

# Seconds of an update of the stream; --micro-batch-tokens of all of it.
update() { # MODEL DTYPE STREAM BATCH TOKENS UPDATES
    rm -rf "$work/o" "$work/metrics.jsonl"
    "$BIN/sft-train" -q -m "$1" -o "$work/o" --dtype "$2" --threads "$threads" --batch-size "$4" \
        --micro-batch-tokens "$5" --max-steps "$6" --metrics "$work/metrics.jsonl" "$3" || return 1
    jq -s 'map(.step_time) | min' "$work/metrics.jsonl"
}
score() { # MODEL DTYPE STREAM
    "$BIN/logprob" -q -m "$1" --as x --dtype "$2" --threads "$threads" "$3"
}
draw() { # MODEL DTYPE PROMPTS IN-FLIGHT TOKENS [COUNT]: for the first COUNT prompts [IN-FLIGHT]
    "$BIN/toks" head -n "${6:-$4}" "$3" | "$BIN/rollout" -q -m "$1" --dtype "$2" --threads "$threads" --in-flight "$4" \
        --batch-size "$4" --max-new-tokens "$5" --seed 1
}

# What the machine can do, the better of before and after: multiply-adds of fp32 and of pairs of bf16,
# OpenBLAS, reads, oneDNN in fp32 and bf16. No library is faster than the limit that is divided by.
measure() {
    local machine onednn
    machine=$("$BENCH/bench_machine" "$threads")
    onednn=$("$BENCH/bench_onednn" "$threads")
    read -r -a now <<<"$machine $onednn"
}
larger() { awk -v a="$1" -v b="$2" 'BEGIN { print (a > b ? a : b) }'; }
before() {
    measure
    most=("${now[@]}")
}
after() {
    local i
    measure
    for i in "${!most[@]}"; do most[i]=$(larger "${most[i]}" "${now[i]}"); done
    most[0]=$(larger "${most[0]}" "$(larger "${most[2]}" "${most[4]}")")
    [[ ${most[1]} == 0.0 ]] || most[1]=$(larger "${most[1]}" "${most[5]}")
}
# SECONDS PRODUCTS OTHERS BYTES DTYPE -> "RATIO arithmetic|reading": the least time over SECONDS, for operations
# of products, operations that are fp32 whatever the dtype, and bytes of weights that are read.
share() {
    awk -v s="$1" -v products="$2" -v others="$3" -v bytes="$4" -v dtype="$5" -v fp32="${most[0]}" -v bf16="${most[1]}" \
        -v reads="${most[3]}" 'BEGIN {
        peak = dtype == "bf16" && bf16 > 0 ? bf16 : fp32
        time = products / peak * 1e-9 + others / fp32 * 1e-9
        if (bytes / reads * 1e-9 > time) { time = bytes / reads * 1e-9; by = "reading" } else by = "arithmetic"
        print (s > 0 ? time / s : "inf"), by
    }'
}
