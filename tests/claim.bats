#!/usr/bin/env bats
# What a program that writes a directory finds in its way: nothing of a user's is destroyed unasked.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" base && chmod -R u+w base
    demo_pairs >pairs.toks
    "$BIN/rollout" -q -m base -n 2 --batch-size 2 --steps 2 --max-new-tokens 4 prompts.toks |
        "$BIN/logprob" -q -m base --as sft | "$BIN/dense-reward" -q --floor 0 --baseline none sft none >round.toks
}

# NAME: sets `make` to a line that writes a directory, but for its -o.
program() {
    case $1 in
    init) make=("$BIN/model" init -q base --seed 5) ;;
    average) make=("$BIN/model" average -q base:1) ;;
    sft-train) make=("$BIN/sft-train" -q -m base --max-steps 2 demos.toks) ;;
    reward-train) make=("$BIN/reward-train" -q -m base --max-steps 2 pairs.toks) ;;
    pair-train) make=("$BIN/pair-train" -q -m base --max-steps 2 --reference self pairs.toks) ;;
    online) make=("$BIN/pair-train" -q -m base --online --reference self pairs.toks) ;;
    reinforce-step) make=("$BIN/reinforce-step" -q -m base --save-steps 1 round.toks) ;;
    esac
}
programs='init average sft-train reward-train pair-train online reinforce-step'

# Names and bytes of all that is there.
everything() {
    { find . -printf '%p %y\n' && find . -type f -exec cksum {} +; } | sort
}

# COMMAND...: nothing is other afterwards.
untouched() {
    local before
    before=$(everything)
    "$@" || return
    diff <(echo "$before") <(everything)
}

@test "every program that writes a directory leaves what is there, and says how to go on" {
    local name
    for name in $programs; do
        program "$name"
        rm -rf out*
        "${make[@]}" -o out
        echo mine >out/NOTES.md
        untouched fails 1 'out: exists.*--overwrite.*-o' "${make[@]}" -o out
        untouched fails 1 'out/: exists' "${make[@]}" -o out/
        "${make[@]}" -o out --overwrite
        [ ! -e out/NOTES.md ]
        [ -e out/densepath.json ]
        [ ! -e out/densepath.partial ]
        [ ! -e out.partial ]
        [ ! -e out.replaced ]
        [ ! -e out.lock ]
    done
}

@test "what this suite has not made stays, under any of the names, with --overwrite too" {
    local name there
    for name in $programs; do
        program "$name"
        for there in out out.partial; do
            mkdir $there && echo precious >$there/thesis.txt
            untouched fails 1 "$there: .*not made by densepath" "${make[@]}" -o out
            untouched fails 1 "$there: .*not made by densepath" "${make[@]}" -o out --overwrite
            rm -r $there
        done
        echo precious >out.lock
        untouched fails 1 "out.lock: .*not made by densepath" "${make[@]}" -o out --overwrite
        mv out.lock out.partial
        untouched fails 1 "out.partial: .*not a directory" "${make[@]}" -o out --overwrite
        rm out.partial && mkdir elsewhere && ln -s elsewhere out
        untouched fails 1 "out: .*not a directory" "${make[@]}" -o out --overwrite
        # An empty folder is nobody's.
        rm -r out elsewhere && mkdir out out.partial
        "${make[@]}" -o out
        [ -e out/densepath.json ]
        [ ! -e out.partial ]
        rm -r out
    done
}

@test "what somebody has put into an unfinished folder of this suite stays" {
    local name there
    for name in $programs; do
        program "$name"
        for there in thesis.txt figures; do
            # As a run leaves it that is killed before its first save.
            mkdir -p out.partial/start && cp base/config.json out.partial && : >out.partial/densepath.partial
            head -c 100 base/model.safetensors >out.partial/model.safetensors && : >out.partial/metrics.jsonl
            if [ $there = figures ]; then mkdir out.partial/$there; else echo precious >out.partial/$there; fi
            untouched fails 1 "out.partial: $there in it was not made by densepath: move it" "${make[@]}" -o out
            rm -r out.partial/$there
            "${make[@]}" -o out
            rm -r out
        done
    done
    # A run that goes on leaves it; what the base has too is ours.
    echo mine >base/NOTES.md
    mkdir out.partial new.partial && : >out.partial/densepath.partial && : >new.partial/densepath.partial
    echo mine >out.partial/thesis.txt
    cp base/NOTES.md new.partial
    program sft-train
    "${make[@]}" --resume -o out 2>said
    grep -q mine out/thesis.txt
    program average
    "${make[@]}" -o new
    [ -e new/densepath.json ]
}

@test "what a program reads is not written over: the same, around it, inside it" {
    local name at
    mkdir -p around/base out.partial
    cp -r base/. around/base
    cp base/* out.partial && : >out.partial/densepath.partial
    for name in $programs; do
        program "$name"
        for at in base ./base/ base/new base/a/../new; do
            mkdir -p base/a
            untouched fails 1 'base.* is read from there' "${make[@]}" -o $at --overwrite
            rmdir base/a
        done
        for at in . .. base/.. /; do
            untouched fails 1 'not a name|is read from there' "${make[@]}" -o $at --overwrite
        done
        make=("${make[@]/#base/around/base}")
        untouched fails 1 'around/base is read from there' "${make[@]}" -o around --overwrite
        make=("${make[@]/#around\/base/out.partial}")
        untouched fails 1 'out.partial is read from there' "${make[@]}" -o out --overwrite
    done
    # Streams, and the models of a loss.
    mkdir data && cp demos.toks data && echo "{\"densepath\":1}" >data/densepath.json
    program sft-train
    untouched fails 1 'data/demos.toks is read' "$BIN/sft-train" -q -m base data/demos.toks -o data --overwrite
    untouched fails 1 'data/demos.toks is read' "${make[@]}" --eval-stream data/demos.toks -o data --overwrite
    cp -r base frozen && echo "{\"densepath\":1}" >frozen/densepath.json
    program reinforce-step
    untouched fails 1 'frozen is read' "${make[@]}" --kl-exact frozen:0 -o frozen --overwrite
    untouched fails 1 'frozen is read' "$BIN/model" average base:0.5 frozen:0.5 -o frozen --overwrite
}

@test "the state of a stopped run is not thrown away without --overwrite" {
    local name train
    for name in sft-train reward-train pair-train; do
        program "$name"
        train=("${make[@]/#2/12}" --save-steps 3)
        whom=self struck KILL 0 "${train[@]}" -o straight
        whom=self struck KILL $(($(wc -l <points) - 12)) "${train[@]}" -o out
        [ "$got" -eq 137 ]
        [ -e out.partial/state.safetensors ]
        [ ! -e out ]
        rm -f out.lock
        untouched fails 1 'out.partial: the state.*--resume.*--overwrite.*-o' "${train[@]}" -o out
        untouched fails 1 'out.partial: ' "$BIN/model" init base -o out
        untouched fails 1 'out.partial: ' "$BIN/reinforce-step" -q -m base -o out round.toks
        "${train[@]}" -o out --resume
        cmp out/model.safetensors straight/model.safetensors
        # Complete: there is nothing to go on with, and another run is another one.
        untouched "${train[@]}" -o out --resume
        untouched fails 1 'out: exists, and is not what' "${train[@]}" -o out --resume --seed 7
        rm -r out straight
    done
}

@test "a leftover of this suite whose removal is broken off is still known, and removed by the next run" {
    program init
    local at
    # In whatever order the names are listed.
    leftover() {
        rm -rf out out.partial
        mkdir out.partial
        : >out.partial/densepath.partial
        cp base/* out.partial
        mkdir out.partial/start out.partial/{1..30} && : >out.partial/start/config.json
    }
    leftover
    whom=self struck KILL 0 "${make[@]}" -o out
    # What tells whose it is goes last.
    at=$(awk '$1 == "unlink" && $2 == "densepath.partial" { print NR; exit }' points)
    [ "$(head -n "$at" points | grep -c '^unlink')" -gt 30 ]
    run -1 awk -v at="$at" 'NR > at && $1 == "rename" { exit 1 } NR > at && $1 == "unlink" && $2 != "out.partial" && $2 != "densepath.old"' points
    [ -z "$output" ]
    for at in 5 "$at" $((at + 1)); do
        leftover
        whom=self struck KILL "$at" "${make[@]}" -o out
        [ "$got" -eq 137 ]
        rm -f out.lock
        "${make[@]}" -o out
        [ -e out/densepath.json ]
        [ ! -e out.partial ]
    done
}

@test "a run that fails leaves what it was to replace; one that is killed too, and goes on" {
    local before at
    program sft-train
    "${make[@]}" -o out && echo mine >out/NOTES.md
    before=$(cd out && everything)
    untouched fails 1 'finite|not a number' "$BIN/sft-train" -q -m base -o out --overwrite --optim sgd \
        --learning-rate 1e5 --max-grad-norm 0 --max-steps 100 demos.toks
    local next=("$BIN/sft-train" -q -m base -o out --max-steps 5 --save-steps 1 demos.toks)
    whom=self struck TERM 30 "${next[@]}" --overwrite
    [ "$got" -eq 75 ]
    [ "$(cd out && everything)" = "$before" ]
    # The wish to replace is remembered.
    "${next[@]}" --resume
    [ ! -e out/NOTES.md ]
    [ ! -e out.partial ]
    [ ! -e out/state.safetensors ]
    "$BIN/sft-train" -q -m base -o straight --max-steps 5 demos.toks
    cmp out/model.safetensors straight/model.safetensors
}

@test "a policy that --overwrite replaces waits in OUT.replaced until the new one is finished" {
    local before
    program reinforce-step
    "${make[@]}" -o out && echo mine >out/NOTES.md
    before=$(cd out && everything)
    head -c -20 round.toks >cut.toks
    # Through a pipe that breaks off.
    run -3 --separate-stderr "$BIN/reinforce-step" -q -m base -o out --overwrite < <(cat cut.toks)
    [ "$(cd out && everything)" = "$before" ]
    [ ! -e out.replaced ]
    [ ! -e out.partial ]
    whom=self struck KILL 0 "${make[@]}" -o straight
    whom=self struck KILL $(($(wc -l <points) / 2)) "${make[@]}" -o out --overwrite
    [ "$got" -eq 137 ]
    [ -e out.replaced/NOTES.md ]
    "${make[@]}" -o out --resume
    [ ! -e out.replaced ]
    jq -e .finished out/densepath.json
    # Killed before the new one shows: the old one is back.
    before=$(cd out && everything)
    mv out out.replaced && : >out.replaced/densepath.old
    fails 1 'out: exists' "${make[@]}" -o out
    [ "$(cd out && everything)" = "$before" ]
}

@test "of several programs that write one directory at once one wins, the others are refused" {
    mkfifo wait
    program sft-train
    "$BIN/sft-train" -q -m base --max-steps 1 -o out <wait 3>&- &
    local pid=$! name
    exec 8>wait
    await test -e out.lock
    for name in $programs; do
        program "$name"
        untouched fails 1 'out: another run is writing it.*-o' "${make[@]}" -o out --overwrite
    done
    cat demos.toks >&8
    exec 8>&-
    wait "$pid"
    [ -e out/densepath.json ]
}

@test "pipelines say --overwrite only when they are told to" {
    PATH=$(cd "$BIN" && pwd):$PATH
    local pipelines=$BATS_TEST_DIRNAME/../pipelines
    "$pipelines/sft" -q -m base -o out demos.toks -- --max-steps 1
    untouched fails 1 'out: exists' "$pipelines/sft" -q -m base -o out demos.toks -- --max-steps 1
    "$pipelines/sft" -q -m base -o out --overwrite demos.toks -- --max-steps 1
    local dpr=("$pipelines/dpr" -q -m base --reference none --mode rounds --steps 2 --batch-size 2 -n 2 --max-new-tokens 4)
    "${dpr[@]}" -o policy prompts.toks
    untouched fails 1 'policy: exists' "${dpr[@]}" -o policy prompts.toks
    rm -r policy
    untouched fails 1 'policy.rounds/.*: exists' "${dpr[@]}" -o policy prompts.toks
    "${dpr[@]}" -o policy --overwrite prompts.toks
    "${dpr[@]}" -o policy --overwrite prompts.toks
    [ ! -e policy.replaced ]
}
