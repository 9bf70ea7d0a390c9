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
