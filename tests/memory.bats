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

@test "programs that do not train load no BLAS; those that do start no thread of its" {
    for program in logprob rollout sft-train; do
        run -1 grep -q openblas <(ldd "$BIN/$program")
    done
    # One thread: the process's own.
    mkfifo in
    "$BIN/reinforce-step" -q -m "$model" --threads 1 -o new-f in &
    pid=$!
    exec 8>in
    # Generation 0 appears when everything is loaded.
    await test -e new-f/densepath.json
    grep -q libopenblas "/proc/$pid/maps"
    [ "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq 1 ]
    kill -9 "$pid"
    exec 8>&-
    wait "$pid" || true
}

@test "more threads than a BLAS has buffers: the same bytes" {
    for n in 1 400; do
        "$BIN/sft-train" -q -m "$model" --threads $n -o "new-$n" --max-steps 2 demos.toks 2>said
        [ ! -s said ]
    done
    cmp new-1/model.safetensors new-400/model.safetensors
}
