#!/usr/bin/env bats
# One run of each program under valgrind: no invalid access, nothing uninitialised, no leak.
# bats file_tags=slow
bats_require_minimum_version 1.5.0
load helpers

checked() { # PROGRAM [ARGUMENT...]
    valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
        "$BIN/$1" "${@:2}"
}

@test "valgrind finds nothing in the main job" {
    command -v valgrind >/dev/null || skip 'needs valgrind'
    if grep -aq __asan_init "$BIN/toks"; then skip 'needs a build without sanitizers'; fi
    local task=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators
    cd "$BATS_TEST_TMPDIR" || return
    "$task/generate" --n 8 >demos.jsonl
    checked model init "$task/model" -o base --seed 1
    checked model info base >/dev/null
    checked tok -q -m base demos.jsonl -o demos.toks
    checked tok -q -m base --prompts demos.jsonl -o prompts.toks
    checked sft-train -q -m base -o sft --batch-size 4 --max-steps 2 --keep half demos.toks
    checked rollout -q -m sft -n 2 --max-new-tokens 4 prompts.toks -o rollouts.toks
    checked logprob -q -m sft --as sft --entropy rollouts.toks -o sft.toks
    checked logprob -q -m sft/half --as half sft.toks -o both.toks
    checked dense-reward -q --floor 0.03 --baseline loo sft half both.toks -o rewarded.toks
    checked reinforce-step -q -m sft -o dpr --max-steps 1 rewarded.toks
    checked tok -q -m sft -d rewarded.toks >/dev/null
    checked toks view rewarded.toks >twin.jsonl
    checked toks view -b twin.jsonl | cmp - rewarded.toks
    checked toks select --by sum:reward --top half rewarded.toks -o best.toks
    checked toks show -m sft --html best.toks >/dev/null
    checked toks stat rewarded.toks >/dev/null
}
