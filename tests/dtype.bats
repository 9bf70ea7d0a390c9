#!/usr/bin/env bats
# --dtype bf16: operands of products rounded to bf16, forward and backward, in every program that runs a
# model; all that holds in fp32 holds for it.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" base && chmod -R u+w base
}

# Kernel sets that this processor can run.
sets() {
    local set
    for set in base avx2 avx512 avx512bf16; do
        ! DENSEPATH_KERNELS=$set "$BIN/logprob" -q -m base --as x demos.toks >/dev/null 2>&1 || echo "$set"
    done
}

@test "dtype bf16: the sampler's log-probabilities are the scorer's, alone and in company, whatever the type of the weights" {
    "$BIN/model" average -q --save-dtype bf16 -o narrow base:1
    local m n
    for m in base narrow; do
        for n in 1 3 64; do
            "$BIN/rollout" -q -m $m --dtype bf16 -n 4 --in-flight $n --max-new-tokens 40 --threads 2 prompts.toks >$m.$n
        done
        cmp $m.1 $m.3
        cmp $m.1 $m.64
        "$BIN/logprob" -q -m $m --dtype bf16 --as again $m.1 >$m.scored
        records $m.scored | jq -se 'map(.["logp:rollout"] == .["logp:again"]) | length > 0 and all'
        # In fp32 they are others.
        "$BIN/logprob" -q -m $m --as again $m.1 >$m.other
        records $m.other | jq -se 'map(.["logp:rollout"] == .["logp:again"]) | any | not'
        records $m.other | jq -se '[.[] | [.["logp:rollout"], .["logp:again"]] | transpose[] | select(.[0]) | (.[0] - .[1]) | fabs]
            | max < 0.1 and add / length < 0.02'
    done
}

@test "fp32: the kernel sets with fused multiply-add train the same weights" {
    local set first=''
    sets | grep -v base >list || skip "this processor has none of them"
    while read -r set; do
        DENSEPATH_KERNELS=$set "$BIN/sft-train" -q -m base -o "fp32-$set" --max-steps 4 --learning-rate 1e-3 demos.toks
        first=${first:-$set}
        cmp "fp32-$first/model.safetensors" "fp32-$set/model.safetensors"
    done <list
}

@test "dtype bf16: every kernel set gives the same bytes, for any number of threads" {
    local set first='' n
    sets >list
    [ -s list ]
    while read -r set; do
        for n in 1 3; do
            rm -rf out
            DENSEPATH_KERNELS=$set "$BIN/sft-train" -q -m base -o out --dtype bf16 --threads $n --max-steps 4 \
                --learning-rate 1e-3 --micro-batch-tokens 16 demos.toks
            DENSEPATH_KERNELS=$set "$BIN/logprob" -q -m out --dtype bf16 --threads $n --entropy --as x demos.toks |
                records >scores
            cp out/model.safetensors "$set.$n.weights"
            cp scores "$set.$n.scores"
            # Attention and norms of the plain set have no fused multiply-add.
            [ "$set" != base ] || continue
            first=${first:-$set.$n}
            cmp "$first.weights" "$set.$n.weights"
            cmp "$first.scores" "$set.$n.scores"
        done
        cmp "$set.1.weights" "$set.3.weights"
        cmp "$set.1.scores" "$set.3.scores"
    done <list
}

@test "dtype bf16: training is near that in fp32" {
    local options=(-q -m base --batch-size 2 --num-train-epochs 3 --learning-rate 1e-3)
    "$BIN/sft-train" "${options[@]}" -o plain demos.toks
    "$BIN/sft-train" "${options[@]}" -o whole --dtype bf16 demos.toks
    run ! cmp -s plain/model.safetensors whole/model.safetensors
    paste -d' ' <(jq .loss plain/metrics.jsonl) <(jq .loss whole/metrics.jsonl) >losses
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 0.02 * $1) exit 1 } END { exit !(NR > 5) }' losses
}

@test "dtype bf16: a run goes on to the same bytes, and not in another arithmetic" {
    local options=(-q -m base -o out --batch-size 1 --num-train-epochs 100 --learning-rate 1e-3)
    stopped() { # OPTION...: a run that was stopped in the midst
        rm -rf out out.partial
        "$BIN/sft-train" "${options[@]}" "$@" demos.toks &
        local pid=$!
        until [ -s out.partial/metrics.jsonl ]; do sleep 0.01; done
        kill "$pid"
        local status=0
        wait "$pid" || status=$?
        [ $status = 75 ]
    }
    "$BIN/sft-train" "${options[@]}" --dtype bf16 demos.toks
    mv out undisturbed
    stopped --dtype bf16
    run -2 "$BIN/sft-train" "${options[@]}" --resume demos.toks
    [[ $output == 'sft-train: --resume: `dtype` is not what it was when the run was stopped'* ]]
    "$BIN/sft-train" "${options[@]}" --dtype bf16 --resume demos.toks
    cmp out/model.safetensors undisturbed/model.safetensors
    stopped
    run -2 "$BIN/sft-train" "${options[@]}" --dtype bf16 --resume demos.toks
    [[ $output == 'sft-train: --resume: `dtype` is not what it was when the run was stopped'* ]]
}

@test "dtype bf16: it is said in the provenance, and may come from the environment or a file" {
    kernels() { "$BIN/toks" view "$1" | head -1 | jq -r '.provenance[-1].kernels'; }
    "$BIN/logprob" -q -m base --as x demos.toks >plain
    "$BIN/logprob" -q -m base --dtype bf16 --as x demos.toks >option
    [[ $(kernels option) == *'bf16 products'* ]]
    [[ $(kernels plain) != *bf16* ]]
    DENSEPATH_DTYPE=bf16 "$BIN/logprob" -q -m base --as x demos.toks >environment
    cmp <(records option) <(records environment)
    echo 'dtype = bf16' >file
    "$BIN/logprob" -q -m base --config file --as x demos.toks >file.toks
    cmp <(records option) <(records file.toks)
    DENSEPATH_DTYPE=bf16 "$BIN/logprob" -q -m base --dtype fp32 --as x demos.toks >wins
    cmp <(records plain) <(records wins)
    # Nothing is not a value; other programs do not look.
    DENSEPATH_DTYPE='' "$BIN/logprob" -q -m base --as x demos.toks | cmp - plain
    DENSEPATH_DTYPE=int3 "$BIN/toks" view plain >/dev/null
    DENSEPATH_DTYPE=int3 run -2 "$BIN/logprob" -q -m base --as x demos.toks
    [[ $output == "logprob: DENSEPATH_DTYPE: --dtype: 'int3' is not one of fp32|bf16"* ]]
    DENSEPATH_DTYPE=int3 "$BIN/logprob" --help >/dev/null
    DENSEPATH_THREADS=many run -2 "$BIN/logprob" -q -m base --as x demos.toks
    [[ $output == "logprob: DENSEPATH_THREADS: --threads: 'many'"* ]]
    DENSEPATH_THREADS=3 "$BIN/logprob" -q -m base --as x demos.toks | cmp - plain
}

@test "dtype bf16: a pipeline's is that of all its programs" {
    local dpr=("$BATS_TEST_DIRNAME/../pipelines/dpr" -q -m base --reference none --steps 1 --batch-size 2 -n 2
        --max-new-tokens 4 prompts.toks)
    "${dpr[@]}" -o out --samples samples.toks --dtype bf16
    "$BIN/toks" view samples.toks | head -1 >header
    jq -e '[.provenance[].kernels | strings] | length >= 2 and all(contains("bf16 products"))' header
    "${dpr[@]}" -o plain --samples plain.toks
    run ! grep -q bf16 <("$BIN/toks" view plain.toks | head -1)
}

@test "dtype bf16: what compare made in fp32 is not taken for it" {
    local inputs=$BATS_TEST_DIRNAME/../pipelines/comparison/arms/inputs dtype
    "$inputs" --sums "$BATS_TEST_DIRNAME/../pipelines/tasks/sort" >sums
    for dtype in '' fp32 bf16; do
        echo 'sft-train -m base' >"script.$dtype"
        DENSEPATH_DTYPE=$dtype "$inputs" sums "script.$dtype"
    done
    cmp script. script.fp32
    run -1 cmp -s script.fp32 script.bf16
}

# The reference's bf16 is PyTorch's autocast: one draw of roundings, ours another. All numbers together are
# no further off than its own; the worst one, and a single gradient (of 32 numbers and more), up to a quarter.
@test "dtype bf16: as near to float64 as the reference's own bf16, for every kernel set" {
    local case set folder tensors=${BUILD:-$BATS_TEST_DIRNAME/../build}/fidelity/tensors
    sets >list
    [ -s list ]
    for case in llama-bf16 gpt2-bf16; do
        folder=$BATS_TEST_DIRNAME/fixtures/reference/$case
        jq -c '.sequences | to_entries[] | {id: "s\(.key)", token: .value.tokens, mask: .value.mask}' \
            "$folder/case.json" | "$BIN/toks" view -b - >batch.toks
        while read -r set; do
            DENSEPATH_KERNELS=$set "$BIN/logprob" -q -m "$folder/model" --dtype bf16 --as m --all batch.toks |
                records >scored
            jq -ne --slurpfile case "$folder/case.json" '[inputs] as $r | $case[0] as $c | $c.bf16_noise.logprob as $noise
                | [range($c.sequences | length) as $i
                    | [$c.sequences[$i].logprob, $r[$i]["logp:m"][1:]] | transpose[] | .[0] - .[1]]
                | length > 100 and (map(. * .) | add / length | sqrt) <= $noise.rms and (map(fabs) | max) <= 1.25 * $noise.max
                    and (map(fabs) | max) > 1e-3' scored
            rm -rf out
            DENSEPATH_KERNELS=$set "$BIN/sft-train" -q -m "$folder/model" -o out --dtype bf16 --lr-scheduler-type constant \
                --batch-size 1000 --shuffle no --save-dtype fp32 --optim sgd --learning-rate 1 --max-grad-norm 0 --max-steps 1 \
                batch.toks
            "$tensors" "$folder/expected.safetensors" grad out "$folder/model" >gradients
            jq -se --slurpfile case "$folder/case.json" '$case[0].bf16_noise as $noise | length > 20
                and (map(.n * .rms * .rms) | add) <= (map(.length * .length) | add) * ($noise.all_gradients * $noise.all_gradients)
                and all((.n | sqrt) * .rms <= 1.25 * $noise.gradients[.name] * .length)' gradients
        done <list
    done
}
