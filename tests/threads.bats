#!/usr/bin/env bats
# Every program that computes gives the same bytes for any number of threads. Built with
# SANITIZE=thread it is the check for races: make SANITIZE=thread programs, then
# BIN=build/thread/bin tests/run threads.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" base && chmod -R u+w base
    demo_pairs >pairs.toks
}

# COMMAND...: with -o and --threads; what it writes is the same for 1 to 4 of them, and nothing is said.
same_for_any_number() {
    local n
    for n in 1 2 3 4; do
        "$@" -q --threads $n -o "out$n" 2>said || { cat said; return 1; }
        [ ! -s said ] || { cat said; return 1; }
        if [ -d "out$n" ]; then
            # Its metrics have the time of the clock.
            rm -f "out$n/metrics.jsonl"
            diff -r out1 "out$n"
        else
            cmp out1 "out$n"
        fi
    done
    rm -rf out one
    mv out1 one
    rm -rf out[2-4]
}

@test "the same bytes for any number of threads: text" {
    local i
    for i in {1..200}; do
        printf '{"id": "%d", "prompt": "%d+1=", "completion": "12;7"}\n' $i $((i * i))
    done >records.jsonl
    local words=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    same_for_any_number "$BIN/tok" -m "$words" records.jsonl
    mv one records.toks
    same_for_any_number "$BIN/tok" -d -m "$words" records.toks
}

@test "the same bytes for any number of threads: scoring, sampling, rewards" {
    same_for_any_number "$BIN/rollout" -m base -n 3 --batch-size 4 --steps 2 --max-new-tokens 12 --top-p 0.9 prompts.toks
    mv one samples.toks
    same_for_any_number "$BIN/logprob" -m base --as sft --entropy --top-logprobs 2 samples.toks
    mv one scored.toks
    same_for_any_number "$BIN/dense-reward" --floor 0 --baseline loo --whiten batch sft none scored.toks
    mv one rewarded.toks
    same_for_any_number "$BIN/novelty" -m base --demonstrations demos.toks samples.toks
    same_for_any_number "$BIN/reinforce-step" -m base --batch-size 8 --is token rewarded.toks
}

@test "the same bytes for any number of threads: training" {
    local options=(-m base --max-steps 3 --learning-rate 1e-3)
    same_for_any_number "$BIN/sft-train" "${options[@]}" --ema 0.9 --keep half demos.toks
    same_for_any_number "$BIN/pair-train" "${options[@]}" --reference self pairs.toks
    same_for_any_number "$BIN/pair-train" "${options[@]}" --online --reference self pairs.toks
    same_for_any_number "$BIN/reward-train" "${options[@]}" pairs.toks
    mv one reward
    same_for_any_number "$BIN/reward-train" --score -m reward pairs.toks
}
