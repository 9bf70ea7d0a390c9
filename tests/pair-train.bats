#!/usr/bin/env bats
# pair-train: what it makes, invariances, stopping and going on, online, refusals.
# shellcheck disable=SC2016,SC2086,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

# Seven pairs, scored by the model that drew the samples.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos | grep -v '"none"' >demos.jsonl
    jq -c 'if .id then (.mask | index(1)) as $n | .token |= .[:$n] | .mask |= .[:$n] else . end' \
        demos.jsonl >prompts.jsonl
    "$BIN/rollout" -q -m "$model" --max-new-tokens 12 --seed 5 prompts.jsonl |
        "$BIN/toks" pair -q demos.jsonl | "$BIN/logprob" -q -m "$model" --as start -o pairs.toks
}

setup() {
    engine_setup
    cp "$BATS_FILE_TMPDIR"/{pairs.toks,prompts.jsonl} .
    grep -v '"none"' demos.jsonl >demos.full && mv demos.full demos.jsonl
    train=("$BIN/pair-train" -q -m "$model" --learning-rate 1e-3 --batch-size 3)
}

same_model() { # A B: the same files but for the history
    diff -r --exclude densepath.json --exclude README.md --exclude metrics.jsonl "$1" "$2"
}

# The stream with each record changed by a jq program, as a twin.
changed() { # FILTER
    "$BIN/toks" view pairs.toks | jq -c "if .id then $1 else . end"
}

@test "pair-train: lowers the loss it reports; its figures are those of the columns" {
    "${train[@]}" --batch-size 7 --max-steps 30 --lr-scheduler-type constant --metrics log -o out pairs.toks
    "$BIN/logprob" -q -m out --as end -o after pairs.toks
    # The reference is the model at the start: no gain, log 2.
    jq -se 'length == 30 and (.[0].loss - (2 | log) | fabs) < 1e-6 and (.[0]["rewards/margins"] | fabs) < 1e-6 and
        .[29].loss < 0.3 and .[29]["rewards/accuracies"] == 1 and
        .[29]["rewards/margins"] > 1 and all(.grad_norm > 0 and .learning_rate == 0.001)' log
    "${train[@]}" --batch-size 7 --max-steps 1 --metrics again -m out -o more after --reference start
    records after | jq -sc 'def gain: [.["logp:end"], .["logp:start"], .mask] | transpose | map(select(.[2] == 1) | .[0] - .[1]) | add;
        def sum: [.["logp:end"], .mask] | transpose | map(select(.[1] == 1)[0]) | add;
        [group_by(.pair)[] | {demo: (map(select(.role == "demo"))[0]), sample: (map(select(.role == "sample"))[0])}] |
        (map((.demo | gain) - (.sample | gain))) as $delta |
        {"rewards/margins": ($delta | 0.1 * add / 7), "rewards/accuracies": ($delta | map(select(. > 0)) | length / 7),
         "rewards/chosen": (map(.demo | gain) | 0.1 * add / 7), "rewards/rejected": (map(.sample | gain) | 0.1 * add / 7),
         "logps/chosen": (map(.demo | sum) | add / 7), "logps/rejected": (map(.sample | sum) | add / 7),
         loss: ($delta | map(1 + (-0.1 * . | exp) | log) | add / 7)}' >want
    jq -e --slurpfile want want '. as $got | $want[0] | to_entries | all(.value - $got[.key] | fabs < 2e-4)' again
    [ ! -e out.partial ]
    [ ! -e out.lock ]
    [ ! -e out/state.safetensors ]
    jq -e '.finished and (.provenance | map(.program) | index("rollout") != null and .[-1] == "pair-train")' out/densepath.json
}

@test "pair-train: inside the hinge it reinforces demonstrations by +1 and samples by -1" {
    local o=(--optim sgd --max-grad-norm 0 --learning-rate 0.1 --lr-scheduler-type constant --max-steps 1)
    "${train[@]}" "${o[@]}" --batch-size 7 --shuffle no --loss hinge --beta 0.5 -o hinge pairs.toks
    changed '.advantage = (.role as $r | .token | map(if $r == "demo" then 1 else -1 end))' |
        jq -c 'del(.columns)' >signs
    "$BIN/reinforce-step" -q -m "$model" "${o[@]}" --batch-size 14 --normalize sequences -o signs.out signs
    "$BIN/model" diff -q --tolerance 1e-6 hinge signs.out
    run -1 "$BIN/model" diff -q --tolerance 1e-6 hinge "$model"
    # The same when the policy is its own frozen side: there the logistic loss has half the slope.
    "${train[@]}" "${o[@]}" --batch-size 7 --shuffle no --beta 1 --reference self -o self pairs.toks
    "$BIN/model" diff -q --tolerance 1e-6 hinge self
}

@test "pair-train: order, form and role names of the stream do not matter" {
    "${train[@]}" --num-train-epochs 2 --metrics log -o out pairs.toks
    # 7 pairs: 3 + 3 + 1 an epoch
    jq -se 'length == 6 and .[2].epoch == 1 and .[5].epoch == 2' log
    "$BIN/toks" view pairs.toks | "${train[@]}" --num-train-epochs 2 -o piped
    same_model out piped
    # The sample first, and other names.
    { "$BIN/toks" view --header pairs.toks && records pairs.toks | paste - - | awk -F'\t' '{ print $2 "\n" $1 }' |
        jq -c '.role |= {demo: "chosen", sample: "rejected"}[.]'; } >swapped
    "${train[@]}" --num-train-epochs 2 -o swapped.out swapped
    same_model out swapped.out
    # All samples behind all demonstrations.
    { "$BIN/toks" view --header pairs.toks && records pairs.toks | jq -c 'select(.role == "demo")' &&
        records pairs.toks | jq -c 'select(.role == "sample")'; } >apart
    "${train[@]}" --num-train-epochs 2 -o apart.out apart
    same_model out apart.out
    "${train[@]}" --num-train-epochs 2 --seed 1 -o other pairs.toks
    run ! cmp -s out/model.safetensors other/model.safetensors
}

@test "pair-train: threads give the same bytes, micro-batches agree" {
    for n in 1 2 3; do
        "${train[@]}" --max-steps 8 --threads "$n" --metrics "log$n" -o "out$n" pairs.toks
    done
    same_model out1 out2 && same_model out1 out3
    cmp <(figures log1) <(figures log3)
    for loss in logistic gsil-lsif; do
        rm -rf whole
        "${train[@]}" --loss $loss --max-steps 8 --adam-epsilon 1e-3 -o whole pairs.toks
        for n in 1 11 25; do
            "${train[@]}" --loss $loss --max-steps 8 --adam-epsilon 1e-3 --micro-batch-tokens "$n" -o "$loss$n" pairs.toks
            "$BIN/model" diff -q --tolerance 1e-6 whole "$loss$n"
        done
    done
}

@test "pair-train: each loss makes its own gradient smaller; AdamW and RMSprop" {
    for loss in logistic hinge gsil-bernoulli gsil-brier gsil-hinge gsil-kliep gsil-lsif; do
        for optim in adamw rmsprop; do
            "${train[@]}" --loss $loss --optim $optim --alpha 0.05 --offset 0.3 --batch-size 7 --max-steps 12 --learning-rate 1e-4 \
                --lr-scheduler-type constant --metrics log --overwrite -o out pairs.toks
            jq -se '.[11].loss < .[0].loss and .[11]["rewards/margins"] > .[0]["rewards/margins"]' log
        done
    done
}

@test "pair-train: kept models, and the moving average" {
    "${train[@]}" --max-steps 12 --lr-scheduler-type constant --keep half,0.25 --ema 0.75 -o out pairs.toks
    "${train[@]}" --max-steps 6 --lr-scheduler-type constant -o six pairs.toks
    same_model out/half six
    [ -e out/0.25/model.safetensors ]
    # ema_n = 0.75 ema_(n-1) + 0.25 w_n, from the start: by the models of each update
    local weights=("$model:$(jq -n '[range(3)] | reduce .[] as $i (1; . * 0.75)')") n
    for n in 1 2 3; do
        "${train[@]}" --max-steps $n --lr-scheduler-type constant -o w$n pairs.toks
        weights+=("w$n:$(jq -n --argjson n $n '0.25 * ([range(3 - $n)] | reduce .[] as $i (1; . * 0.75))')")
    done
    "${train[@]}" --max-steps 3 --lr-scheduler-type constant --ema 0.75 -o three pairs.toks
    "$BIN/model" average "${weights[@]}" -o average
    "$BIN/model" diff -q --tolerance 1e-6 three/ema average
    run -1 "$BIN/model" diff -q --tolerance 1e-6 three/ema three
}

@test "pair-train: stopped and killed and resumed: the same as straight through" {
    local long=(--max-steps 30 --keep half --ema 0.9 --batch-size 2 --save-steps 7)
    "${train[@]}" "${long[@]}" --metrics straight.log -o straight pairs.toks
    afresh() { rm -rf out out.partial out.lock log; }
    same_as_straight() {
        same_model straight out && cmp <(figures straight.log) <(figures log) &&
            cmp {straight,out}/densepath.json && [ ! -e out.partial ] && [ ! -e out.lock ]
    }
    each_struck 'KILL TERM' "${train[@]}" "${long[@]}" --resume --metrics log -o out pairs.toks
    # It goes on only with the same run.
    "${train[@]}" --max-steps 1000000000 --save-steps 3 --metrics log2 -o other2 pairs.toks 2>/dev/null 3>&- &
    local pid=$!
    await has_lines log2 5
    kill -9 $pid
    wait $pid || true
    local again=("${train[@]}" --resume --max-steps 1000000000 -o other2)
    fails 2 '`beta`' "${again[@]}" --beta 0.2 pairs.toks
    fails 2 '`loss`' "${again[@]}" --loss hinge pairs.toks
    fails 2 '`data`|`reference`' "${again[@]}" --reference self pairs.toks
    changed '.["logp:start"] |= map(if . then . - 1 else . end)' >column
    fails 2 '`data`' "${again[@]}" column
}

@test "pair-train --online: off a file it is the same training, a generation an update" {
    local o=(--batch-size 2 --lr-scheduler-type constant)
    "${train[@]}" "${o[@]}" --shuffle no --metrics off.log -o off pairs.toks
    "${train[@]}" "${o[@]}" --online --metrics on.log -o on pairs.toks
    cmp off/model.safetensors on/model.safetensors
    jq -e '.generation == 4 and .finished' on/densepath.json
    jq -e '.generation == 3' on/previous/densepath.json
    diff <(jq -Sc 'del(.step_time, .tokens_per_second, .epoch)' off.log) \
        <(jq -Sc 'del(.step_time, .tokens_per_second, .generation, .lag)' on.log)
    # Through a pipe; partners far from each other; in two parts.
    "$BIN/toks" view pairs.toks | "${train[@]}" "${o[@]}" --online -o piped
    cmp off/model.safetensors piped/model.safetensors
    { "$BIN/toks" view --header pairs.toks && records pairs.toks | jq -c 'select(.role == "demo")' &&
        records pairs.toks | jq -c 'select(.role == "sample")'; } >apart
    "${train[@]}" "${o[@]}" --online -o apart.out apart
    cmp off/model.safetensors apart.out/model.safetensors
    { "$BIN/toks" view --header pairs.toks && records pairs.toks | head -8; } >first
    { "$BIN/toks" view --header pairs.toks && records pairs.toks | tail -6; } >second
    "${train[@]}" "${o[@]}" --online -o parts first
    fails 1 "parts: exists" "${train[@]}" "${o[@]}" --online -o parts second
    fails 2 '`beta`' "${train[@]}" "${o[@]}" --online --resume --beta 1 -o parts second
    "${train[@]}" "${o[@]}" --online --resume -o parts second
    cmp off/model.safetensors parts/model.safetensors
}

# OUT: new samples for each update
loop() {
    "$BIN/rollout" -q -m "$1" --follow --batch-size 4 --steps 6 --max-new-tokens 12 --seed 5 \
        --threads 1 prompts.jsonl |
        "$BIN/toks" pair -q demos.jsonl |
        "$BIN/pair-train" -q -m "$model" -o "$1" --online --reference self --learning-rate 1e-3 \
            --max-steps 6 --lr-scheduler-type constant --threads 1 --metrics "$1.log"
}

@test "pair-train --online: the loop gives what a script gives that starts each program anew" {
    timeout 120 bash -c "$(declare -f loop); BIN='$BIN' model='$model'; loop out"
    local s policy=$model
    for ((s = 1; s <= 6; s++)); do
        "$BIN/rollout" -q -m "$policy" --batch-size 4 --steps "$s" --max-new-tokens 12 --seed 5 prompts.jsonl |
            "$BIN/toks" pair -q demos.jsonl |
            "$BIN/pair-train" -q -m "$model" -o anew --online --resume --reference self --learning-rate 1e-3 \
                --lr-scheduler-type constant --metrics anew.log
        policy=anew
    done
    cmp out/model.safetensors anew/model.safetensors
    cmp <(figures out.log) <(figures anew.log)
    jq -se 'length == 6 and all(.lag == 0 and (.loss - (2 | log) | fabs) < 1e-6)' out.log
    jq -e '.generation == 6 and .finished' out/densepath.json
}

@test "pair-train --online: SIGTERM leaves a whole generation, which goes on to the same end" {
    local o=("${train[@]}" --batch-size 2 --online) i
    { "$BIN/toks" view --header pairs.toks && for i in {1..4}; do records pairs.toks | sed "s/\"pair\":\"/&$i-/"; done; } |
        "$BIN/toks" view -b >long.toks
    "${o[@]}" --metrics straight.log -o straight long.toks
    struck TERM 0 "${o[@]}" --metrics log -o out long.toks
    local got reached half=$(($(wc -l <points) / 2))
    rm -r out log
    struck TERM "$half" "${o[@]}" --metrics log -o out long.toks
    [ "$got" -eq 75 ]
    grep -q "stopped after generation.*--resume" said
    [ ! -e out.lock ]
    [ ! -e out.partial ]
    reached=$(jq .generation out/densepath.json)
    [ "$reached" -ge 3 ]
    [ "$reached" -lt 14 ]
    { "$BIN/toks" view --header long.toks && records long.toks | tail -n "+$((reached * 4 + 1))"; } |
        "${o[@]}" --resume --metrics log -o out
    cmp straight/model.safetensors out/model.safetensors
    cmp <(figures straight.log) <(figures log)
}

@test "pair-train --online: run again on the same file, each record is used once, though partners are far apart" {
    local o=("${train[@]}" --batch-size 2 --online) i
    { "$BIN/toks" view --header pairs.toks && for i in {1..4}; do records pairs.toks | sed "s/\"pair\":\"/&$i-/"; done; } |
        "$BIN/toks" shuf --seed 3 -o long.toks
    "${o[@]}" --metrics straight.log -o straight long.toks
    afresh() { rm -rf out out.partial out.lock log; }
    same_as_straight() {
        cmp {straight,out}/model.safetensors && cmp <(figures straight.log) <(figures log) &&
            cmp {straight,out}/densepath.json
    }
    most=8 each_struck 'KILL TERM' "${o[@]}" --save-steps 3 --resume --metrics log -o out long.toks
}

@test "pair-train: pairs that are none" {
    local first
    first=$(records pairs.toks | jq -r 'select(.role == "sample").id' | head -1)
    # Online nothing is made of a first batch that is not whole.
    for how in "" "--online --batch-size 100"; do
        changed "select(.id != \"$first\")" >alone
        leaves_nothing fails 3 "alone: record .$first/demo.: pair .$first. has no sample" "${train[@]}" $how --reference start -o out alone
        changed "select(.id != \"$first/demo\")" >alone
        leaves_nothing fails 3 "alone: record .$first.: pair .$first. has no demo" "${train[@]}" $how --reference start -o out alone
        { "$BIN/toks" view pairs.toks && records pairs.toks | head -1 | jq -c '.id = "third"'; } >three
        leaves_nothing fails 3 "three: record .third.: pair .$first." "${train[@]}" $how --batch-size 100 -o out three
        changed '.role = "demo"' >same
        leaves_nothing fails 3 "same: record .$first.: pair .$first. needs a demo .* and record .$first/demo. is a demo" "${train[@]}" $how -o out same
        changed '.role = "hero"' >unknown
        leaves_nothing fails 3 "unknown: record .$first/demo.: role .hero. is none of" "${train[@]}" $how -o out unknown
        changed 'del(.pair)' | jq -c 'del(.columns)' >nopair
        leaves_nothing fails 3 "nopair.*.pair." "${train[@]}" $how -o out nopair
        changed 'del(.role)' | jq -c 'del(.columns)' >norole
        leaves_nothing fails 3 "norole.*.role." "${train[@]}" $how -o out norole
        changed 'del(.["logp:start"], .["logp:rollout"])' | jq -c 'del(.columns)' >nologp
        leaves_nothing fails 3 "nologp: no column logp:NAME" "${train[@]}" $how -o out nologp
        changed '.["logp:other"] = .["logp:start"]' | jq -c 'del(.columns)' >several
        leaves_nothing fails 2 "several: .logp:.* or .logp:.*--reference" "${train[@]}" $how -o out several
        leaves_nothing fails 3 "pairs.toks.*.logp:absent." "${train[@]}" $how --reference absent -o out pairs.toks
        changed ".[\"logp:start\"] |= map(null)" >null
        leaves_nothing fails 3 "null: record .$first/demo.: logp:start is null at trained token" "${train[@]}" $how --reference start -o out null
        changed 'if .role == "sample" then .mask |= map(0) else . end' >untrained
        leaves_nothing fails 1 "untrained: record .$first. has no trained token" "${train[@]}" $how -o out untrained
    done
}

@test "pair-train: common manners" {
    common_manners "${train[@]}" -o out
    fails 2 "o DIR" "${train[@]}" pairs.toks
    fails 2 "loss" "${train[@]}" --loss nll -o out pairs.toks
    fails 2 "max-steps" "${train[@]}" --online --lr-scheduler-type cosine -o out pairs.toks
    fails 2 "keep" "${train[@]}" --online --keep half -o out pairs.toks
    fails 2 "ema" "${train[@]}" --online --ema 0.9 -o out pairs.toks
    mkdir mine && echo precious >mine/file
    leaves_nothing fails 1 "mine" "${train[@]}" -o mine pairs.toks
    # Beyond all bounds: the record is named.
    changed '.["logp:start"] |= map(if . then -3e5 else . end)' >far
    leaves_nothing fails 1 "far: record .*lsif is not finite" "${train[@]}" --loss gsil-lsif -o out far
    leaves_nothing fails 1 "far: record .*lsif is not finite" "${train[@]}" --online --reference start --loss gsil-lsif -o out far
}

@test "pair-train: a damaged stream (some bytes)" {
    { "$BIN/toks" view --header pairs.toks | jq -c '.provenance = []' && records pairs.toks | head -4; } |
        "$BIN/toks" view -b >small.toks
    survives_damage small.toks 19 "${train[@]}" --threads 1 -o out
    survives_damage small.toks 37 "${train[@]}" --online --threads 1 -o out
}

@test "pair-train: weights that are no numbers" {
    spoil_model bad model.norm.weight
    leaves_nothing fails 1 'finite|not a number' "$BIN/pair-train" -q -m bad -o out pairs.toks
    leaves_nothing fails 1 'finite|not a number' "$BIN/pair-train" -q -m bad --online -o out pairs.toks
}
