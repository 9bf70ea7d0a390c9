#!/usr/bin/env bats
# pipelines/rft: what it leaves, going on, refusals.
bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    BIN=$(cd "${BIN:-$BATS_TEST_DIRNAME/../bin}" && pwd)
    export BIN P=$BATS_TEST_DIRNAME/../pipelines D=$BATS_FILE_TMPDIR
    "$P/tasks/annotators/generate" --n 24 --seed 1 >"$D/demos.jsonl"
    "$BIN/model" init "$P/tasks/annotators/model" -o "$D/base" --seed 1
    "$BIN/tok" -q -m "$D/base" "$D/demos.jsonl" -o "$D/demos.toks"
    "$BIN/sft-train" -q -m "$D/base" -o "$D/sft" --learning-rate 3e-3 "$D/demos.toks"
    # shellcheck disable=SC2089
    run=(-m "$D/sft" --rounds 2 --steps 2 --batch-size 4 -n 2 --max-new-tokens 12
        --learning-rate 1e-3 --reward-batch-size 4 --reward-learning-rate 1e-3 --threads 1)
    printf '%s\n' "${run[@]}" >"$D/run"
    "$P/rft" -o "$D/whole" "${run[@]}" --metrics "$D/log" "$D/demos.jsonl"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    mapfile -t run <"$D/run"
    PATH=$BIN:$PATH
}

@test "rft: rounds on slices, each model from the one before, metrics of all" {
    jq -se '[.[] | [.round, .generation]] == [[1, 1], [1, 2], [2, 1], [2, 2]] and
        all(.kl >= 0 and .reward_std > 0 and .grad_norm > 0)' "$D/log"
    cmp "$D/whole/model.safetensors" "$D/whole.rounds/2/policy/model.safetensors"
    run ! cmp -s "$D/whole.rounds/1/policy/model.safetensors" "$D/whole.rounds/2/policy/model.safetensors"
    for round in 1 2; do
        local dir=$D/whole.rounds/$round
        toks view "$dir/pairs.toks" | jq -se '.[1:] | length == 24 and
            ([.[] | .role] == [range(12) | ("demo", "sample")]) and
            ([range(0; 24; 2) as $i | .[$i].pair == .[$i + 1].pair and .[$i].prompt == .[$i + 1].prompt] | all)'
        jq -e '.architectures == ["LlamaForSequenceClassification"]' "$dir/reward/config.json"
        # A prompt is what stands before the demonstration's first trained token.
        diff <(toks view "$dir/prompts.toks" | jq -c 'select(.id) | [.id, .token]') \
            <(toks view "$dir/demos.toks" | jq -c 'select(.id) | [.id, .token[:(.mask | index(1))]]')
    done
    # The slices are the demonstrations.
    diff <(toks view "$D/demos.toks" | jq -c 'select(.id) | .token') \
        <(for round in 1 2; do toks view "$D/whole.rounds/$round/demos.toks" | jq -c 'select(.id) | .token'; done)
    # Warm start: the second reward model begins where the first ended, not at ln 2.
    head -1 "$D/whole.rounds/1/reward.jsonl" | jq -e '(.loss - (2 | log) | fabs) < 1e-6'
    head -1 "$D/whole.rounds/2/reward.jsonl" | jq -e '(.loss - (2 | log) | fabs) > 1e-4'
    jq -e '.finished' "$D/whole/densepath.json"
}

@test "rft: --resume after any part of a round gives the same model" {
    cp -r "$D/whole.rounds" out.rounds
    rm -r out.rounds/2/policy
    "$P/rft" -o out "${run[@]}" --resume "$D/demos.jsonl"
    cmp out/model.safetensors "$D/whole/model.safetensors"
    rm -r out out.rounds/1/policy out.rounds/2
    "$P/rft" -o out "${run[@]}" --resume "$D/demos.jsonl"
    cmp out/model.safetensors "$D/whole/model.safetensors"
    # Complete: nothing is made again.
    touch -d 2001-01-01 out.rounds/1/reward/model.safetensors
    "$P/rft" -o out "${run[@]}" --resume "$D/demos.jsonl"
    [ "$(stat -c %Y out.rounds/1/reward/model.safetensors)" -eq "$(date -d 2001-01-01 +%s)" ]
    run -2 "$P/rft" -o out "${run[@]}" --dtype bf16 --resume "$D/demos.jsonl"
    [[ $output == *'begun with other options'* ]]
    run -2 "$P/rft" -o out "${run[@]}" --kl 0.1 --resume "$D/demos.jsonl"
    [[ $output == *"other options"* ]]
    # Without --resume it begins anew.
    "$P/rft" -o out --overwrite "${run[@]}" --dense --steps 1 --rounds 1 "$D/demos.toks"
    run ! cmp -s out/model.safetensors "$D/whole/model.safetensors"
}

@test "rft: a trainer that fails ends the loop" {
    run -2 timeout 600 "$P/rft" -o out "${run[@]}" "$D/demos.jsonl" -- --optim nonsense
    [[ $output == *optim* ]]
    [ ! -e out ]
    # The reward model is there; the next try uses it.
    [ -s out.rounds/1/reward/model.safetensors ]
}

@test "rft: refusals" {
    run -0 "$P/rft" --help
    [[ $output == *2405.17888* ]]
    run -2 "$P/rft" -o x "$D/demos.jsonl"
    run -2 "$P/rft" -m "$D/sft" "$D/demos.jsonl"
    run -2 "$P/rft" -m "$D/sft" -o x
    run -2 "$P/rft" -m "$D/sft" -o x --rounds 0 "$D/demos.jsonl"
    run -2 "$P/rft" -m "$D/sft" -o x --nonsense "$D/demos.jsonl"
    run -1 "$P/rft" -m "$D/sft" -o x --rounds 99 "$D/demos.jsonl"
    [[ $output == *"fewer demonstrations"* ]]
    run -1 "$P/rft" -m absent -o x "$D/demos.jsonl"
    mkdir mine && echo precious >mine/file
    run -1 "$P/rft" -m "$D/sft" -o mine "$D/demos.jsonl"
    [ -s mine/file ]
}
