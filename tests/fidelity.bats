#!/usr/bin/env bats
# long
# What is equal to the reference implementations, case by case: tests/fidelity/run.
load helpers

fidelity() { # PART
    need "$SHARED/golden"
    GOLDEN=$SHARED/golden DATA=$SHARED/data run "$BATS_TEST_DIRNAME/fidelity/run" "$1"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output =~ ([0-9]+)\ tried,\ ([0-9]+)\ equal$ ]] # of all
    ((BASH_REMATCH[1] > 0 && BASH_REMATCH[1] == BASH_REMATCH[2]))
}

@test "reference models" {
    fidelity models
}

@test "reference tokenizers" {
    fidelity tokenizers
}

@test "reference templates and records" {
    fidelity formats
}

@test "reference sampling distributions" {
    fidelity sampling
}

@test "reference models of the tree, two of them" {
    run "$BATS_TEST_DIRNAME/fidelity/families" mistral3 opt-350m
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(cut -f 2 <<<"$output" | sort -u | xargs)" = 'mistral3 opt-350m' ]
    [ "$(cut -f 3 <<<"$output" | cut -d ' ' -f 1 | sort -u | xargs)" = \
        'adamw_large_eps entropy files gradients greedy logits logprob loss' ]
    awk -F '\t' '$4 != $5 || $4 == 0 { bad = 1 } END { exit bad }' <<<"$output"
}
