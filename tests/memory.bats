#!/usr/bin/env bats
# Little memory: under any limit of address space at which the loader can start a program, it does its
# work or ends with status 4 and a line.
# shellcheck disable=SC2034
bats_require_minimum_version 1.5.0
load engine

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos >demos.jsonl
    prompts >prompts.jsonl
    "$BIN/toks" view -b demos.jsonl >demos.toks
    "$BIN/rollout" -q -m "$model" -n 2 --max-new-tokens 8 prompts.jsonl |
        "$BIN/logprob" -q -m "$model" --as a | "$BIN/dense-reward" -q a none -o rewarded.toks
    "$BIN/toks" view demos.toks | jq -c 'if .densepath then
            .columns += [{name: "pair", type: "string", per: "sequence"}, {name: "role", type: "string", per: "sequence"}]
        else .pair = (if .id == "a" or .id == "b" then "1" else "2" end) |
            .role = (if .id == "a" or .id == "c" then "demo" else "sample" end) end | select(.densepath or (.id | IN("a", "b", "c", "e")))' |
        "$BIN/logprob" -q -m "$model" --as sft -o pairs.toks
}

setup() {
    [ "$BIN" -ef "$BATS_TEST_DIRNAME/../bin" ] || skip "needs the plain build"
    model=$BATS_TEST_DIRNAME/fixtures/model
    cd "$BATS_FILE_TMPDIR" || return
}

# KIB PROGRAM ARGUMENT...: the status is 0, or 4 with one line, or 127 with the loader's own line.
limited() {
    local kib=$1 status=0
    shift
    (ulimit -v "$kib" && exec timeout -k 1 60 "$@") >/dev/null 2>said || status=$?
    case $status in
    0) ended=yes ;;
    4) [ "$(wc -l <said)" -eq 1 ] && grep -qE 'out of memory|Cannot allocate memory|cannot start thread|MiB are available$' said ;;
    127) grep -qE 'shared libraries|cannot allocate TLS' said ;;
    *) false ;;
    esac || {
        echo "$kib KiB: $*: status $status: $(cat said)"
        return 1
    }
}

programs() { # KIB
    rm -rf new*
    limited "$1" "$BIN/sft-train" -q -m "$model" --threads 1 -o new-a --max-steps 1 demos.toks &&
        limited "$1" "$BIN/sft-train" -q -m "$model" --threads 3 -o new-b --max-steps 1 demos.toks &&
        limited "$1" "$BIN/sft-train" --help &&
        limited "$1" "$BIN/reinforce-step" -q -m "$model" -o new-c --max-steps 1 rewarded.toks &&
        limited "$1" "$BIN/pair-train" -q -m "$model" -o new-d --max-steps 1 pairs.toks &&
        limited "$1" "$BIN/reward-train" -q -m "$model" -o new-e --max-steps 1 pairs.toks &&
        limited "$1" "$BIN/logprob" -q -m "$model" --as m demos.toks &&
        limited "$1" "$BIN/rollout" -q -m "$model" --max-new-tokens 8 prompts.jsonl &&
        limited "$1" "$BIN/novelty" -q -m "$model" --demonstrations demos.toks demos.toks &&
        limited "$1" "$BIN/dense-reward" -q a none rewarded.toks &&
        limited "$1" "$BIN/toks" stat demos.toks &&
        limited "$1" "$BIN/tok" --help &&
        limited "$1" "$BIN/model" info "$model" &&
        limited "$1" "$BIN/densepath"
}

@test "a limit of address space: done, or status 4 and a line" {
    for kib in 4000 8000 16000 24000 60000 120000 200000 260000 400000; do
        ended=no
        programs "$kib"
    done
    [ "$ended" = yes ]
}

# bats test_tags=slow
@test "forty limits of address space" {
    for ((kib = 3000; kib < 1100000; kib = kib * 116 / 100)); do
        programs "$kib"
    done
}

@test "with one thread a process has no other" {
    mkfifo in
    "$BIN/reinforce-step" -q -m "$model" --threads 1 -o new-f in &
    pid=$!
    exec 8>in
    # Generation 0 appears when everything is loaded.
    await test -e new-f/densepath.json
    [ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
    kill -9 "$pid"
    exec 8>&-
    wait "$pid" || true
}

@test "400 threads: the same bytes" {
    for n in 1 400; do
        "$BIN/sft-train" -q -m "$model" --threads $n -o "new-$n" --max-steps 2 demos.toks 2>said
        [ ! -s said ]
    done
    cmp new-1/model.safetensors new-400/model.safetensors
}

# A model with layers enough to choose from, and records for all trainers.
deep_model() {
    local configs=$BATS_TEST_DIRNAME/fixtures/configs
    [[ ! -d deep ]] || return 0
    mkdir deep.config
    jq '.hidden_size = 128 | .intermediate_size = 320 | .vocab_size = 3000 | .num_hidden_layers = 8 | .head_dim = 32
        | del(.layer_types) | .max_position_embeddings = 1024' "$configs/qwen3.json" >deep.config/config.json
    "$BIN/model" init -q deep.config -o deep
    any_records 24 128 >deep.toks
}

same_results() { # A B
    cmp "$1/model.safetensors" "$2/model.safetensors" && cmp "$1/densepath.json" "$2/densepath.json" &&
        cmp <(jq -c 'del(.step_time, .tokens_per_second)' "$1/metrics.jsonl") \
            <(jq -c 'del(.step_time, .tokens_per_second)' "$2/metrics.jsonl")
}

@test "--memory: the same bytes within any amount that does, the least that does is told" {
    need /usr/bin/time
    deep_model
    local program least peak
    for program in "sft-train --per token --eval-stream deep.toks" "pair-train --reference self" reward-train \
        "reinforce-step --save-minutes 0"; do
        # shellcheck disable=SC2206
        set -- $program
        rm -rf all little none*
        make=("$BIN/$1" -q -m deep "${@:2}" --threads 2 --max-steps 2 deep.toks)
        "${make[@]}" -o all
        run -4 --separate-stderr "${make[@]}" -o none --memory 1M
        grep -oE "^$1: --memory 1M: at least [0-9]+M are needed, of which weights, gradient and moments take [0-9]+M; fewer --micro-batch-tokens need less$" \
            <<<"$stderr" >said
        least=$(grep -oE 'least [0-9]+' said | cut -d ' ' -f 2)
        run -4 "${make[@]}" -o none --memory $((least - 2))M
        [ "$(echo none*)" = 'none*' ]
        /usr/bin/time -f %M -o peak "${make[@]}" -o little --memory "$((least + 1))M"
        same_results all little
        peak=$(<peak)
        echo "$1: at least $least MiB, measured $peak KiB"
        ((peak <= (least + 1) * 1024))
        # A plan that keeps all: the larger amount changes nothing.
        "${make[@]}" -o none --memory 4G --dry-run >said
        grep -qx 'activations    8 of 8 layers kept' said
        "${make[@]}" -o none --memory "$((least + 1))M" --dry-run >said
        grep -qxE 'activations    1 of 8 layers kept, 7 recomputed' said
    done
}

@test "--memory: a longer record than was planned for is refused, and a run goes on with another amount" {
    deep_model
    any_records 2 200 >long.toks
    rm -rf new-*
    make=("$BIN/reinforce-step" -q -m deep --micro-batch-tokens 64 --batch-size 2)
    run -4 --separate-stderr "${make[@]}" --memory 2G -o new-long long.toks
    [[ $stderr == *"199 tokens must pass at once, and memory was planned for 64: --micro-batch-tokens 199 plans for them" ]]
    "${make[@]}" -o new-free long.toks
    make=("$BIN/sft-train" -q -m deep --max-steps 4 --batch-size 4 deep.toks)
    "${make[@]}" -o new-whole
    "${make[@]}" -o new-parts --memory 60M --save-steps 1 --metrics slow 3>&- &
    pid=$!
    await test -e new-parts.partial/state.safetensors
    kill "$pid"
    wait "$pid" || true
    [[ -d new-parts ]] || "${make[@]}" -o new-parts --resume --metrics slow
    cmp new-whole/model.safetensors new-parts/model.safetensors
}

@test "without --memory: layers are recomputed before a run is refused for want of memory" {
    deep_model
    any_records 64 1000 >wide.toks
    make=("$BIN/sft-train" -m deep --threads 1 --batch-size 64 --micro-batch-tokens 64000 -o new-wide --dry-run wide.toks)
    "${make[@]}" -q >said
    grep -qx 'activations    8 of 8 layers kept' said
    (ulimit -v 2000000; "${make[@]}" >said 2>warned)
    grep -qxE 'activations    [1-7] of 8 layers kept, [1-7] recomputed' said
    grep -qxE 'sft-train: activations: [1-7] of 8 layers kept, [1-7] recomputed' warned
    (ulimit -v 400000; run -4 "${make[@]}" && [[ $output =~ 'training needs about '[0-9]+' MiB and 390 MiB are available' ]])
}
