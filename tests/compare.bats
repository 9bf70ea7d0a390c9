#!/usr/bin/env bats
# long
# The comparison: its graph, tuning, costs, table and claims.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines
A=$P/tasks/annotators

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    export PATH=$BIN:$PATH
    cd "$BATS_TEST_TMPDIR" || return
}

teardown() { # no run outlives a test that fails
    [ -z "${pid-}" ] || { pkill -CONT -s "$pid" || true; kill "$pid" 2>/dev/null || true; }
}

tiny=(DEMONSTRATIONS=96 HELD_OUT=10 STOP_RULE=40 MAX_NEW_TOKENS=12 SELECT_FROM=48 BEST_OF=2 PRECHECK=3
    'CONTINUED=--batch-size 16 --max-steps 2 --learning-rate 1e-3'
    'DPR=--steps 3 --batch-size 4 -n 2 --learning-rate 1e-3'
    'BEST_OF_SFT=--rounds 2 --prompts 8 -n 2 --steps 1')

make_task() { # NAME
    mkdir "$1"
    cp "$A"/{generate,score,recipe.mk} "$1"
    cp -r "$A/model" "$1/model"
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24 | .initializer_range = 0.3' "$A/model/config.json" \
        >"$1/model/config.json"
}

compare() { # what is the same in all calls
    "$P/compare" -o out --tasks task "${tiny[@]}" "$@"
}

# bats test_tags=slow
@test "every arm: a table and costs" {
    make_task task
    run -0 --separate-stderr compare --seeds 1 -j 2
    [[ ${lines[0]} == "1 seed;"* ]]
    # All but those that the task goes without.
    arms=$(make -s -f "$P/comparison/compare.mk" known | tr ' ' '\n' | grep -cv '^dpr-paper-')
    [ "$arms" -ge 50 ]
    [ "$(cut -f2 out/results.tsv | sort -u | wc -l)" -eq "$arms" ]
    [ -z "$("$P/table" --missing out)" ]
    # No folders of rounds, stages and the like are left.
    [ -z "$(find out/seed-1 -maxdepth 1 -type d -name '*.*')" ]
    # Costs are those that the streams and metrics have.
    s=out/seed-1
    cost() { # ARM COLUMN...
        awk -F'\t' -v arm="$1" -v from="$2" -v to="$3" '$2 == arm {
            for (i = from; i <= to; i++) printf "%s%s", $i, i < to ? " " : "\n" }' out/cost.tsv
    }
    trained() { # FILE of records: their trained tokens
        toks view "$@" | jq -s 'map(select(has("token")) | .mask | add) | add'
    }
    [ "$(cost sft 4 4)" = "$(toks stat -O json $s/demos.toks | jq .trained)" ]
    [ "$(cost continued 4 7)" = "$(jq -rs '"\(last.num_tokens) 0 0 2"' $s/continued.metrics.jsonl)" ]
    [ "$(cost dpr-several 5 6)" = "$(toks view $s/dpr-several.samples.toks | jq -rs 'map(select(has("token")))
            | "\(map(.mask | add) | add) \(map(."logp:sft", ."logp:reference", ."logp:reference-2",
                ."logp:reference-3" | map(numbers) | length) | add)"')" ]
    [[ $(cost best-third 5 6) == "0 "[1-9]* ]]
    [ "$(wc -l <$s/dpr-on.updates.tsv)" -eq 3 ]
    # Three updates of four pairs: the samples of these twelve, and both sides scored once. IRFT's
    # three become five stages of one.
    [ "$(cost spin 4 7)" = "$(jq -s 'last.num_tokens' $s/spin.metrics.jsonl) $(trained $s/spin.samples.toks) $(
        trained $s/spin.1.pairs.toks) 3" ]
    [ "$(toks stat -O json $s/spin.samples.toks | jq .records)" -eq 12 ]
    jq -se 'map(.stage) == [1, 2, 3, 4, 5]' $s/irft.metrics.jsonl
    [ "$(cost irft-online 5 7)" = "$(trained $s/irft-online.samples.toks) 0 3" ]
    [ "$(toks stat -O json $s/irft-online.samples.toks | jq .records)" -eq 12 ]
    # The reward model's updates too.
    [ "$(cost rft 5 5)" = $(($(trained $s/rft.samples.toks) + $(trained $s/rft.pairs-1.toks) +
        $(trained $s/rft.pairs-2.toks) + $(trained $s/rft.pairs-3.toks))) ]
    [ "$(cost rft 4 4)" = "$(for f in "$s"/rft.metrics.jsonl "$s"/rft.reward-*.metrics.jsonl; do jq -s last.num_tokens "$f"; done | jq -s add)" ]
    # The sampling temperature, and every token counts 1.
    toks view $s/osft.samples.toks | jq -se '(.[0].sampling.temperature - 0.6 | fabs) < 1e-6 and
        (.[1:] | length == 24 and all([.advantage[] | numbers] | length > 0 and all(. == 1)))'
    # Chosen by what folds say that did not see a demonstration: two thirds of the first 48 are left out.
    [ "$(toks stat -O json $s/crossfit-folds.rewarded.toks | jq .records)" -eq 96 ]
    [ -d $s/crossfit-folds/fold-4/0.25 ]
    [ -d $s/sft-ema/ema ]
    cmp $s/sft-ema/model.safetensors $s/sft/model.safetensors
    toks view $s/abc.samples.toks | jq -se '.[1:] | all(has("attention"))'
    toks view $s/mig.samples.toks | jq -se '.[1:] | length == 24'
}

# Each step says which it is of how many; what was counted beforehand is what was done. A step that has
# nothing to do counts and says nothing.
counted() { # of $stderr
    local numbers totals
    numbers=$(sed -n 's,^\[ *\([0-9]*\)/[0-9]* .*,\1,p' <<<"$stderr")
    totals=$(sed -n 's,^\[ *[0-9]*/\([0-9]*\) .*,\1,p' <<<"$stderr" | sort -u)
    [ "$(wc -l <<<"$totals")" -eq 1 ] && [ "$(sort -n <<<"$numbers" | tail -1)" -le "$totals" ] &&
        [ -z "$(sort <<<"$numbers" | uniq -d)" ] && [[ $stderr == *"compare: $totals steps in "* ]]
}

@test "only what changed is made again; the same from nothing" {
    make_task task
    few=(--arms "sft,continued,cold,dpr-half,dpr-gamma-90,expo,best-of,best-third,spin,dft" --seeds)
    run -0 --separate-stderr compare "${few[@]}" 1,2 -j 2
    counted
    [[ ${lines[0]} == "2 seeds;"* ]]
    [ "$(cut -f2,3 out/results.tsv | sort -u | wc -l)" -eq 20 ]
    cp out/results.tsv first.tsv
    run -0 --separate-stderr compare "${few[@]}" 1,2
    [ -z "$stderr" ]
    # Another setting of DPR: DPR, and what is to spend as much, but what goes on from nothing else.
    run -0 --separate-stderr compare "${few[@]}" 1 'DPR=--steps 2 --batch-size 4 -n 2 --learning-rate 1e-3'
    counted
    [[ $stderr == *"DPR, reference half"* && $stderr == *"γ = 0.9"* && $stderr == *SPIN* ]]
    [[ $stderr != *"seed 1: SFT"* && $stderr != *extrapolation* && $stderr != *"best of"* ]]
    # The same from nothing, and alone.
    rm -r out
    run -0 compare "${few[@]}" 1 -j 1
    awk -F'\t' '$3 == 1' first.tsv | cmp - out/results.tsv
}

@test "arms without a place on a task: that one goes without" {
    make_task stories
    make_task task
    run -0 --separate-stderr "$P/compare" -o out --tasks ./task,./stories --seeds 1 --arms sft,mig "${tiny[@]}"
    [ "$(cut -f1,2 out/results.tsv | sort -u | paste -sd' ')" = $'stories\tsft task\tmig task\tsft' ]
    run -2 --separate-stderr "$P/compare" -o one --tasks ./stories --seeds 1 --arms sft,mig "${tiny[@]}"
    [[ $stderr == *"there is no arm 'mig'"* ]]
}

@test "a program with other bytes makes its arms again, one with the same bytes none" {
    make_task task
    mkdir bin
    cp "$BIN"/{model,tok,toks,sft-train,rollout,logprob,dense-reward,reinforce-step} bin
    arms=(--seeds 1 --arms "sft,continued,dpr-on,cold")
    BIN=$PWD/bin run -0 --separate-stderr compare "${arms[@]}"
    touch bin/* task/score task/generate
    BIN=$PWD/bin run -0 --separate-stderr compare "${arms[@]}"
    [ -z "$stderr" ]
    # Another dense-reward: DPR and the check before it.
    printf 'x' >>bin/dense-reward
    BIN=$PWD/bin run -0 --separate-stderr compare "${arms[@]}"
    [[ $stderr == *"never stopped"* && $stderr != *SFT* ]]
    # Another score: the same models, scored again.
    echo '# more' >>task/score
    BIN=$PWD/bin run -0 --separate-stderr compare "${arms[@]}"
    [[ $stderr == *"score of sft"* && $stderr == *"score of dpr-on"* && $stderr != *"never stopped"* ]]
}

@test "an arm that fails is missing, the others are not; the next run makes it" {
    make_task task
    mkdir bin
    cp "$BIN"/{model,tok,toks,sft-train,rollout,logprob,dense-reward,reinforce-step} bin
    printf '#!/bin/sh\nexit 1\n' >bin/reinforce-step
    BIN=$PWD/bin run -1 --separate-stderr compare --seeds 1,2 --arms sft,dpr-on,continued
    [[ $stderr == *"seed 2: dpr-on: failed with status 1"*"2 runs are missing"* ]]
    [[ $output == *"never stopped"*missing* ]]
    [ "$(cut -f2 out/results.tsv | sort -u | paste -sd,)" = continued,sft ]
    [ "$("$P/table" --missing out | paste -sd' ')" = $'task\tdpr-on\t1 task\tdpr-on\t2' ]
    cp "$BIN/reinforce-step" bin
    BIN=$PWD/bin run -0 --separate-stderr compare --seeds 1,2 --arms sft,dpr-on,continued
    [[ $stderr != *SFT* ]]
    # What fails later takes away what was there before.
    printf '#!/bin/sh\nexit 1\n' >bin/sft-train
    BIN=$PWD/bin run -1 --separate-stderr compare --seeds 1,2 --arms sft,dpr-on,continued
    [ ! -s out/results.tsv ]
}

@test "what was interrupted goes on where it was" {
    make_task task
    long=("$P/compare" -o out --tasks task "${tiny[@]}" --seeds 1 --arms sft
        'SFT=--batch-size 8 --learning-rate 1e-3 --save-steps 5')
    struck KILL 0 "${long[@]}"
    mv out whole
    # When the second state has been saved.
    at=$(awk '$1 == "rename" && $2 == "state.safetensors" && ++n == 2 { print NR + 1 }' points)
    struck KILL "$at" "${long[@]}"
    [ "$got" -eq 137 ]
    [ ! -e out/seed-1/sft.done ]
    run -0 --separate-stderr "${long[@]}"
    [[ $stderr == *"SFT, gone on with"* ]]
    cmp out/seed-1/sft/model.safetensors whole/seed-1/sft/model.safetensors
    cmp out/results.tsv whole/results.tsv
}

@test "two at once in one folder: the second is refused, the first not hurt; a killed one blocks nobody" {
    make_task task
    steps=1000000
    begin() { # what would never end; its leader's number is in $pid
        setsid "$P/compare" -o out --tasks task "${tiny[@]}" --seeds 1 --arms sft -j 2 \
            "SFT=--batch-size 8 --learning-rate 1e-3 --max-steps $steps --save-steps 1" >/dev/null 2>said 3>&- &
        pid=$!
    }
    trains() { [ -e out/seed-1/sft.partial/state.safetensors ]; }
    alone() { flock -n out true; }
    begin
    await trains
    # Both wait for seconds before they give up: meanwhile it rests.
    pkill -STOP -s "$pid" -x sft-train
    local other status_of_other=0
    "$P/comparison/arms/stage" -o out/seed-1/sft.done -s out/inputs/sft.sh out/seed-1/demos.toks >other.said 2>&1 3>&- &
    other=$!
    run -1 compare --seeds 1 --arms sft
    [[ $output == "compare: out: another run is at work there"* ]]
    wait "$other" || status_of_other=$?
    [ "$status_of_other" -eq 1 ]
    [[ $(cat other.said) == "stage: out/seed-1/sft: another run is at work there"* ]]
    pkill -CONT -s "$pid" -x sft-train
    trains
    [ -e out/seed-1/sft.metrics.jsonl ]
    kill -0 "$pid"
    for signal in KILL TERM; do
        # Not while it is starting.
        await has_lines out/seed-1/sft.metrics.jsonl $(($(wc -l <out/seed-1/sft.metrics.jsonl) + 3))
        kill -s "$signal" "$pid"
        # Its steps end too, and each has saved its state.
        await alone
        grep -q 'its state is in out/seed-1/sft.partial' said
        [ "$signal" = TERM ] || { begin && await grep -q 'gone on with' said && await trains; }
    done
    # What was saved is of other settings than these.
    compare --seeds 1 --arms sft 'SFT=--batch-size 8 --learning-rate 1e-3 --max-steps 2'
    [ "$(jq -s 'last.step' out/seed-1/sft.metrics.jsonl)" -eq 2 ]
    [ -z "$(find out -name '*.held')" ]
}

@test "tuning: the best factor on the validation split, for the arms that share it too" {
    make_task task
    # Longer answers score higher.
    printf '#!/bin/sh\nexec jq -c ".score = (.completion | length)" "$@"\n' >task/score
    arms=(--arms "sft,continued,dpr-half,dpr-quarter,cold,best-of" --seeds 1 --tune --grid "0.1,1,5")
    run -0 --separate-stderr compare "${arms[@]}"
    [ "$(cut -f2 out/tuned.tsv | sort | uniq -c | awk '{ print $1 $2 }' | paste -sd' ')" = \
        '3cold 3continued 3dpr-half 3sft' ]
    t=out/seed-1001
    for arm in sft continued dpr-half cold; do
        for x in 0.1 1 5; do
            printf '%s\t%s\n' $x "$(jq -s 'map(.score) | add / length' $t/$arm@$x.answers.sampled)"
        done >values
        awk -F'\t' -v arm=$arm '$2 == arm { print $3 "\t" $4 }' out/tuned.tsv | cmp - values
        best=$(cut -f2 values | sort -g | tail -1)
        chosen=$(cat out/tune/$arm.choice)
        [ "$(awk -v x="$chosen" '$1 == x { print $2 }' values)" = "$best" ]
    done
    # The tuning seed goes on from the chosen SFT; the reported one is trained with the factor.
    cmp $t/sft/model.safetensors "$t/sft@$(cat out/tune/sft.choice)/model.safetensors"
    jq -es --arg x "$(cat out/tune/continued.choice)" '
        (last.learning_rate / (1e-3 * ($x | tonumber)) - 1 | fabs) < 1e-3' <(head -1 out/seed-1/continued.metrics.jsonl)
    # Validation, test and stop rule share no prompt.
    [ "$(cat $t/valid.jsonl $t/stop.jsonl out/seed-1/test.jsonl | wc -l)" -eq 60 ]
    [ "$(cat $t/valid.jsonl $t/stop.jsonl $t/held-out.jsonl | jq -r .id | sort | uniq -c | awk '{ print $1 }' |
        sort | uniq -c | awk '{ print $1 "x" $2 }' | paste -sd' ')" = '10x1 50x2' ]
    # Nothing is tried again.
    run -0 --separate-stderr compare "${arms[@]}"
    [ -z "$stderr" ]
    run -2 compare --tune --seeds 1001
}

@test "several tasks, measures of their own, an absent model" {
    make_task task
    cp -r task other
    cat >>other/recipe.mk <<'END'
MEASURES := score length
END
    printf '#!/bin/sh\nexec jq -c ".length = (.completion | length) | .score = 2 * .length" "$@"\n' >other/score
    printf '#!/bin/sh\nprintf "loss \342\206\223\\t3\\n"\n' >other/measure
    chmod +x other/measure
    cp -r task gone
    echo 'BASE := /nonexistent' >>gone/recipe.mk
    run -0 --separate-stderr "$P/compare" -o out --tasks ./task,./other,./gone --arms sft,cold --seeds 1 "${tiny[@]}"
    [[ $stderr == *"gone is skipped: /nonexistent is not there"* ]]
    [ "$(cut -f1 out/results.tsv | sort | uniq -c | awk '{ print $1 $2 }' | paste -sd' ')" = '9other 4task' ]
    awk -F'\t' '$1 == "other" { x[$4] = $5 } END { exit !(x["sampled"] == 2 * x["length sampled"]) }' out/results.tsv
    [[ $output == *"other: 1 seed;"*"loss ↓"*"SFT "*"3.000"* ]]
}

words() { # FOLDER: a task of two files: a word backwards, or half of the time as it is
    mkdir "$1"
    for i in {100..147}; do
        printf '{"prompt":"%s>","completion":"%s"}\n' "$i" "$([ $((i % 2)) = 0 ] && echo "$i" | rev || echo "$i")"
    done >"$1/demos.jsonl"
    # Any form of JSON; the right answer has a name of its own.
    for i in {200..211}; do printf '{"prompt":"%s>",\n"right":"%s"}\n' "$i" "$(echo "$i" | rev)"; done | jq -s . >"$1/test.jsonl"
    printf '#!/bin/sh\nexec jq -c ".score = ((.completion | length) - (.right | length))" "$@"\n' >"$1/score"
    chmod +x "$1/score"
}

@test "a score that fails leaves a table with what is missing, and status 1" {
    words mine
    printf '#!/bin/sh\nexit 3\n' >mine/score
    run -1 --separate-stderr "$P/compare" -o out --quick --tasks mine --seeds 1 --arms sft \
        'SFT=--batch-size 16 --max-steps 3 --learning-rate 1e-3' PRECHECK=2
    [[ $output == *"cost, mean per seed"*"SFT "* ]]
    [[ $stderr == *"compare: 1 runs are missing: "* ]]
    [[ $stderr != *"make: "* ]]
}

@test "what makes a task worthless is told: tests that are trained on or asked twice, a score that says nothing" {
    words mine
    jq -c '.[0:4][]' mine/test.jsonl >few
    (head -3 mine/demos.jsonl | sed 's/"completion"/"right"/' && cat few few) >mine/test.jsonl
    sed -i 's/score = .*"/score = 0.5"/' mine/score
    run -1 --separate-stderr "$P/compare" --check --tasks mine
    [[ $stderr == *"compare: mine: 3 prompts of the tests are also trained on: "* ]]
    [[ $stderr == *"compare: mine: 4 tests ask what another one asks: "* ]]
    [[ $stderr == *"compare: mine: score gives 0.5 to all ten samples before any training: it tells nothing"* ]]
    [[ $output != *"all is well"* ]]
    head -5 mine/demos.jsonl >few
    mv few mine/demos.jsonl
    run -1 --separate-stderr "$P/compare" --check --tasks mine
    [[ $stderr == *"compare: mine: 5 demonstrations are too few: none is left for DPR's stop rule"* ]]
    run -0 --separate-stderr "$P/compare" -o out --quick --tasks mine --seeds 1 --arms sft \
        'SFT=--batch-size 16 --max-steps 1 --learning-rate 1e-3' PRECHECK=2
    [[ ${stderr_lines[1]} == "compare: mine: the prompts of 3 of the tests are also trained on: what is measured there is memory" ]]
}

@test "a task of two files and a score: checked, compared, the tests' other members kept" {
    words mine
    run -0 --separate-stderr "$P/compare" --check --tasks mine
    [[ $stderr == "compare: mine: 44 demonstrations, 4 more for the stop rule, 12 tests;"*"made anew"*"also reads right" ]]
    [[ $output == *"in both         0 prompts"*"score reads     id, prompt, completion, right"*"all is well"* ]]
    few=(-o out --quick --tasks mine --seeds 1 'SFT=--batch-size 16 --max-steps 3 --learning-rate 1e-3' PRECHECK=2)
    # It wins over the tasks of --quick, and is named before the start; a recipe says what it wants.
    echo 'HELD_OUT := 11' >mine/recipe.mk
    run -0 --separate-stderr "$P/compare" "${few[@]}" --arms sft,cold
    [[ ${stderr_lines[0]} == "compare: mine: 44 demonstrations, 4 more for the stop rule, 11 tests;"* ]]
    [ "$(cut -f1 out/results.tsv | sort -u)" = mine ]
    [[ $output == *"names: sft (SFT), cold (SFT at low temperature)"* ]]
    [[ $output == *$'\nhighest: '* || ${lines[-1]} == "every arm scores the same"* ]]
    [ "$(jq -r .prompt out/seed-1/test.jsonl | paste -sd,)" = "$(seq -s '>,' 200 210)>" ]
    cat out/seed-1/{demos,stop}.jsonl | jq -r .prompt | sort | cmp - <(seq -f '%g>' 100 147)
    jq -se 'length == 11 and all(has("right")) and all(.score == (.completion | length) - 3)' out/seed-1/sft.answers.greedy
    # Other records make everything again.
    sed -i s/100/999/ mine/demos.jsonl
    run -0 --separate-stderr "$P/compare" "${few[@]}" --arms sft
    [[ $stderr == *"seed 1: SFT"* ]]
    grep -q 999 out/seed-1/demos.jsonl
    run -0 --separate-stderr "$P/compare" --check --tasks ./mine/ -m out/seed-1/sft
    [[ $stderr == *"11 tests; model $PWD/out/seed-1/sft; "* ]]
}

@test "compare --check: what would go wrong is said" {
    words mine
    words again
    check() { # TASK MESSAGE...
        run -1 --separate-stderr "$P/compare" -q --check --tasks "$1" DEMONSTRATIONS=40 HELD_OUT=12
        for message in "${@:2}"; do [[ $stderr == *"$message"* ]] || false; done
    }
    head -3 mine/demos.jsonl | cat - <(jq -c '.[]' mine/test.jsonl) | jq -c '.completion = "no"' >more
    mv more mine/test.jsonl
    printf '{"prompt":"%s","completion":"b"}\n' "$(head -c 600 /dev/zero | tr '\0' a)" >>mine/demos.jsonl
    printf '#!/bin/sh\nexec jq -c ".score = (if .completion == .right then 1 else 0 end)"\n' >mine/score
    check mine "3 prompts of the tests are also trained on" \
        "the tests' own answers score 0: does score look where the answer is?" \
        "a demonstration has 602 tokens and the model 512 positions"
    printf '#!/bin/sh\nexec jq -c .\n' >again/score
    check again 'does not give each record back with a number "score"'
    chmod -x again/score
    check again "again/score: is not executable"
    rm again/test.jsonl
    check again "again: not a task (neither recipe.mk nor demos.jsonl and test.jsonl)"
    check nosuch "nosuch: neither a folder here nor one of the tasks annotators "
    # One that generates its tests from those that are trained on.
    make_task task
    printf '#!/bin/bash\nfor a; do shift; [ "$a" = --held-out ] || set -- "$@" "$a"; done\nexec %q "$@"\n' "$A/generate" >task/generate
    check task "12 prompts of the tests are also trained on"
}

@test "table: the best arm in words that the seeds allow; two seeds have no interval" {
    printf 't\t%s\t%s\tsampled\t%s\n' sft 1 0.1 sft 2 0.2 sft 3 0.15 a 1 0.2 a 2 0.3 a 3 0.26 b 1 0.1 b 2 0.2 b 3 0.16 >results.tsv
    run -0 "$P/table" results.tsv
    [ "${lines[-2]}" = 'highest: a, sampled 0.253, +0.103 ± 0.014 over SFT: better' ]
    [ "${lines[-1]}" = '  (not corrected for being the best of 3)' ]
    grep -v $'\ta\t' results.tsv >two.tsv
    run -0 "$P/table" two.tsv
    [ "${lines[-1]}" = 'highest: b, sampled 0.153, +0.003 ± 0.014 over SFT: not told apart' ]
    grep -v $'\t3\t' results.tsv | "$P/table" >said
    grep -qx '  a                        0.25 0.20..0.30 +0.10 +0.10..+0.10 -' said
    run ! grep '±' said
    [ "$(head -1 said)" = '2 seeds; too few for an interval: mean lowest..highest; differences paired by seed' ]
    [ "$(tail -1 said)" = 'highest: a, sampled 0.250, +0.100 over SFT: not told apart: 2 seeds are too few' ]
    # As many seeds as there are may be shown so.
    "$P/table" --spread range --against sft results.tsv | grep -qx '  b                        0.15 0.10..0.20 +0.00 +0.00..+0.01'
    sed 's/0\.[0-9]*$/0/' results.tsv | "$P/table" | tail -1 |
        grep -qx 'every arm scores the same, 0.000: see compare --check, or train longer'
    sed 's/sampled/loss ↓/' results.tsv | "$P/table" | tail -1 | grep -qx 'lowest: SFT (sft), loss ↓ 0.150'
}

@test "table: means, Student's intervals, paired differences" {
    printf 't\t%s\t%s\t%s\t%s\n' sft 1 sampled 0.1 sft 2 sampled 0.2 sft 3 sampled 0.6 \
        sft 1 greedy 0.5 sft 2 greedy 0.5 sft 3 greedy 0.5 \
        dpr-half 1 sampled 0.2 dpr-half 2 sampled 0.4 dpr-half 3 sampled 0.9 \
        sft 1 'loss ↓' 3 dpr-half 1 'loss ↓' 2 >results.tsv
    run -0 "$P/table" --against sft results.tsv
    [[ ${lines[0]} == "3 seeds;"* ]]
    [[ ${lines[2]} == "  SFT "*"0.300 ± 0.657"*"-" ]]
    [[ ${lines[3]} == "  DPR, reference half "*"0.500 ± 0.896"*"+0.200 ± 0.248" ]]
    [[ ${lines[5]} == "  SFT "*"0.500 ± 0.000"* ]]
    [[ ${lines[6]} == "  DPR, reference half "*"-" ]]
    [[ ${lines[9]} == "  DPR, reference half "*"2.000"*"-1.000"*"(1 seed)" ]]
    "$P/table" --against sft --json results.tsv | jq -es '
        .[1]["sampled - sft"] == {n: 3, mean: 0.2, half: 0.248434, above_0: 3} and .[1].greedy == null'
    "$P/table" --against sft --format tsv results.tsv |
        grep -qx $'t\tdpr-half\tsampled\tsft\t3\t0.2\t0.248434\t3'
    run -0 "$P/table" --against sft --format markdown results.tsv
    [[ $output == *"| DPR, reference half | 0.500 ± 0.896 | +0.200 ± 0.248 (3/3) |"* ]]
    [[ $output == *"| DPR, reference half (1 of 3 seeds) | 2.000 | -1.000 (1/1) |"* ]]
    head -1 results.tsv | "$P/table" | grep -q '^1 seed'
    printf 'dpr-half\tsampled\tdifference\t0.1\t0.05\n' >before.tsv
    "$P/table" --against sft --beside before.tsv results.tsv | grep -q 'SFT +0.100 ± 0.050  above$'
    run -1 "$P/table" <(echo 'sft 1 2')
    run -1 "$P/table" <(cat results.tsv results.tsv)
    run -1 "$P/table" /dev/null
    # Costs, and what is missing.
    mkdir out
    cp results.tsv out
    printf 't\tsft\t%s\t%s\t0\t0\t10\t%s\t%s\n' 1 100 2.5 7 2 200 3.5 - >out/cost.tsv
    printf 't\t%s\t%s\t%s\n' sft 1 SFT sft 2 SFT late 1 'much too late' >out/asked.tsv
    run -0 "$P/table" --against sft out
    [[ $output == *"  much too late "*missing* ]]
    [[ ${lines[*]} =~ "SFT "+150\ +0\ +0\ +10\ +3.0\ +7.0 ]]
    [ "$("$P/table" --missing out)" = $'t\tlate\t1' ]
}

@test "table: of a claim, which arm is better, or that they are not told apart" {
    printf 't\t%s\t%s\tsampled\t%s\n' a 1 0.5 a 2 0.6 a 3 0.55 b 1 0.1 b 2 0.2 b 3 0.15 \
        c 1 0.9 c 2 1.01 c 3 0.95 d 1 0.4 d 2 0.8 d 3 0.5 e 1 1 >results.tsv
    printf 'x\ta\t%s\n' b c d e nothing >claims.tsv
    "$P/table" --claims claims.tsv --format tsv results.tsv >verdicts
    cut -f5,9 verdicts | paste -sd' ' | grep -qx $'b\tbetter c\tworse d\tnot told apart e\tone seed'
    grep -q $'^x\tt\tsampled\ta\tb\t3\t0.4\t' verdicts
    # Where less is better it turns round.
    sed 's/sampled/loss ↓/' results.tsv >loss.tsv
    "$P/table" --claims claims.tsv --measures 'loss ↓' --format tsv loss.tsv | cut -f5,9 | paste -sd' ' |
        grep -qx $'b\tworse c\tbetter d\tnot told apart e\tone seed'
    # Seeds and a reservation stand beside it for readers; tsv has no more columns.
    printf 'x\ta\t%s\n' d $'b\ttuned for another' >claims.tsv
    run -0 "$P/table" --claims claims.tsv results.tsv
    [[ ${lines[0]} == *"not corrected"* ]]
    [[ ${lines[2]} == *" a - d "*" not told apart (3 seeds)" ]]
    [[ ${lines[3]} == *" a - b "*" better (3 seeds), tuned for another" ]]
    "$P/table" --claims claims.tsv --format markdown results.tsv |
        grep -qxF '| x | t | sampled | a − b | +0.400 ± 0.000 | better (3 seeds), tuned for another |'
    "$P/table" --claims claims.tsv --format tsv results.tsv | awk -F'\t' 'NF != 9 { exit 1 }'
    printf 'x\ta\tb\t-\t-\n' >claims.tsv
    run -1 "$P/table" --claims claims.tsv results.tsv
    [[ $output == *"perhaps a reservation"* ]]
    # Those of the paper speak of arms that exist.
    known=" $(make -s -f "$P/comparison/compare.mk" known) "
    grep -v '^#' "$P/comparison/arms/claims.tsv" | cut -f2,3 | tr '\t' '\n' | while read -r arm; do
        [[ $known == *" $arm "* ]] || { echo "$arm"; exit 1; }
    done
}
