#!/usr/bin/env bats
# pipelines/irft: stages, their slices and frozen policies, going on, the online form.
# shellcheck disable=SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    BIN=$(cd "$BIN" && pwd)
    export BIN
    grep -v '"none"' demos.jsonl | "$BIN/toks" view -b >seven.toks
    irft=("$BATS_TEST_DIRNAME/../pipelines/irft" -m "$model" --learning-rate 1e-3 --batch-size 2 --seed 1
        --max-new-tokens 12 --steps 3)
}

@test "irft: each stage has its own slice and is frozen at its start" {
    "${irft[@]}" -o out --stages 3 --metrics log seven.toks -- -q
    jq -se '[.[] | [.stage, .step]] == [[1,1],[1,2],[1,3],[2,4],[2,5],[2,6],[3,7],[3,8],[3,9]] and
        all(.[0,3,6]; (.loss - (2 | log) | fabs) < 1e-6)' log
    # Slices: every demonstration once.
    for k in 1 2 3; do
        records "out.stages/$k.pairs.toks" | jq -r 'select(.role == "demo").prompt'
    done | sort >seen
    diff seen <(records seven.toks | jq -r .id | sort)
    # Stage 2 by hand.
    "$BIN/toks" view seven.toks >/dev/null
    records out.stages/2.pairs.toks | jq -c 'select(.role == "sample") | [.["logp:rollout"], .["logp:stage"], .mask]
        | transpose | map(select(.[2] == 1) | .[0] - .[1] | fabs) | max < 1e-4' | sort -u | grep -qx true
    # The sampler's column is the scorer's.
    for k in 1 2; do
        scorer=out.stages/1
        [ $k = 2 ] || scorer=$model
        "$BIN/logprob" -q -m "$scorer" --as stage-anew "out.stages/$k.pairs.toks" | records - >anew
        jq -se 'all(.["logp:stage"] == .["logp:stage-anew"]) and length > 3' anew
    done
    "$BIN/pair-train" -q -m out.stages/1 -o hand --reference stage --max-steps 3 --optim rmsprop --seed 1 \
        --learning-rate 1e-3 --batch-size 2 out.stages/2.pairs.toks
    cmp hand/model.safetensors out.stages/2/model.safetensors
    [ ! -e out.stages/3 ]
    [ ! -e out.partial ]
    [ ! -e out.lock ]
}

@test "irft: one stage is SPIN, GSIL by the loss; JSONL and streams" {
    "${irft[@]}" -o spin --stages 1 seven.toks -- -q
    [ "$(records spin.stages/1.pairs.toks | wc -l)" -eq 14 ]
    "${irft[@]}" -o gsil --stages 1 --loss gsil-kliep --temperature 0 seven.toks -- -q --alpha 0.1
    run -1 "$BIN/model" diff -q spin gsil
    "${irft[@]}" -o adam --stages 1 seven.toks -- -q --optim adamw
    run -1 "$BIN/model" diff -q spin adam
}

@test "irft: killed anywhere and resumed, it ends the same; finished stages stay" {
    local long=(--stages 3 --steps 4 --metrics)
    "${irft[@]}" -o straight "${long[@]}" straight.log seven.toks -- -q --save-steps 3
    afresh() { rm -rf out out.* log; }
    same_as_straight() {
        cmp straight/model.safetensors out/model.safetensors && cmp <(figures straight.log) <(figures log) &&
            diff <(ls straight.stages) <(ls out.stages)
    }
    most=5 each_struck KILL "${irft[@]}" -o out "${long[@]}" log --resume seven.toks -- -q --save-steps 3
    local before
    before=$(stat -c %Y%i out.stages/1 out.stages/2 out)
    "${irft[@]}" -o out "${long[@]}" log --resume seven.toks -- -q --save-steps 3
    [ "$(stat -c %Y%i out.stages/1 out.stages/2 out)" = "$before" ]
    fails 2 "settings" "${irft[@]}" -o out --stages 3 --steps 5 --resume seven.toks -- -q --save-steps 3
    fails 2 "settings" "${irft[@]}" -o out "${long[@]}" log --dtype bf16 --resume seven.toks -- -q --save-steps 3
}

@test "irft: online" {
    timeout 120 "${irft[@]}" -o out --online --metrics log seven.toks -- -q
    jq -se 'length == 3 and all(.lag == 0)' log
    jq -e '.generation == 3 and .finished' out/densepath.json
    timeout 120 "${irft[@]}" -o two --online --steps 2 seven.toks -- -q --lr-scheduler-type constant
    timeout 120 "${irft[@]}" -o two --online --steps 3 --resume seven.toks -- -q --lr-scheduler-type constant
    timeout 120 "${irft[@]}" -o three --online --steps 3 seven.toks -- -q --lr-scheduler-type constant
    cmp two/model.safetensors three/model.safetensors
    # A trainer that refuses ends the whole loop.
    run -1 timeout 600 "${irft[@]}" -o two --online seven.toks
}

@test "irft: what it refuses" {
    leaves_nothing fails 2 "demonstrations" "${irft[@]}" -o out
    leaves_nothing fails 2 "-o" "${irft[@]}" seven.toks
    leaves_nothing fails 2 "loss" "${irft[@]}" -o out --loss nll seven.toks
    leaves_nothing fails 2 "stages" "${irft[@]}" -o out --online --stages 2 seven.toks
    leaves_nothing fails 1 "absent" "${irft[@]}" -o out absent
    mkdir mine mine.stages
    leaves_nothing fails 1 "mine.stages" "${irft[@]}" -o mine seven.toks
    rmdir mine.stages
    leaves_nothing fails 1 "mine: exists" "${irft[@]}" -o mine seven.toks
    fails 1 "7 demonstrations are fewer than 8 stages" "${irft[@]}" -o few --stages 8 seven.toks
}
