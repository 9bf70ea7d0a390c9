#!/usr/bin/env bats
# long
# Cross-fitting: who saw what, order, going on, and its uses.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines
options=(-q --batch-size 16 --learning-rate 1e-2)

setup_file() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    cd "$BATS_FILE_TMPDIR" || return
    cp -r "$P/tasks/sort/model" shape
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24 | .initializer_range = 0.3' "$P/tasks/sort/model/config.json" >shape/config.json
    model init -q shape -o base --seed 1
    "$P/tasks/sort-noisy/generate" --n 100 --seed 1 >demos.jsonl
    # Two that are equal but for their id.
    sed -n 4p demos.jsonl | sed 's/000004/000101/' >>demos.jsonl
    "$P/crossfit" -m base -o out --folds 3 --threads 1 -j 2 --metrics metrics demos.jsonl -- "${options[@]}"
}

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    D=$BATS_FILE_TMPDIR
    cd "$BATS_TEST_TMPDIR" || return
}

sums() { # STREAM
    toks view "$1" | jq -c 'select(.token) | [.id, ([.reward[] | numbers] | add)]'
}

@test "each fold's model trained on all others, as sft does" {
    cut -f2 "$D/out/folds.tsv" | sort | uniq -c | awk '{ print $1 }' | paste -sd' ' | grep -qx '34 34 33\|34 33 34\|35 33 33'
    # Equal records are in one fold.
    [ "$(grep -cE '^demo-1-000(004|101)	1$' "$D/out/folds.tsv")" -eq 2 ]
    grep -v -F -f <(awk -F'\t' '$2 == 2 { print $1 }' "$D/out/folds.tsv") "$D/demos.jsonl" >others.jsonl
    [ "$(wc -l <others.jsonl)" -lt 70 ]
    "$P/sft" -m "$D/base" -o alone --threads 1 others.jsonl -- "${options[@]}"
    for part in . half 0.25; do
        cmp "alone/$part/model.safetensors" "$D/out/fold-2/$part/model.safetensors"
    done
    jq -es 'length >= 4' "$D/metrics/fold-2.jsonl"
}

@test "each record is rewarded by the model that did not see it, in the order they had" {
    cmp <(toks view "$D/out/rewarded.toks" | jq -r 'select(.token) | .id') <(jq -r .id "$D/demos.jsonl")
    tok -q -m "$D/base" "$D/demos.jsonl" >demos.toks
    for k in 1 2 3; do
        logprob -q -m "$D/out/fold-$k" --as a demos.toks | logprob -q -m "$D/out/fold-$k/half" --as b |
            dense-reward -q --floor 0.03 --baseline none a b -o $k.toks
        grep -F -f <(awk -F'\t' -v k=$k '$2 == k { print "\"" $1 "\"" }' "$D/out/folds.tsv") <(sums $k.toks)
    done | sort >wanted
    sums "$D/out/rewarded.toks" | sort | cmp - wanted
    toks check -q "$D/out/rewarded.toks"
}

@test "--apply: samples go by their prompt, and held-out ones always the same way" {
    "$P/tasks/sort/generate" --held-out --n 5 >held.jsonl
    cat "$D/demos.jsonl" held.jsonl | tok -q -m "$D/base" --prompts |
        rollout -q -m "$D/out/fold-1" -n 2 --max-new-tokens 10 >samples.toks
    "$P/crossfit" --apply "$D/out" --reference 0.25 --floor 0 samples.toks >rewarded.toks
    # A filter: through a pipe and in another order the same.
    toks shuf -q --seed 3 samples.toks | "$P/crossfit" --apply "$D/out" --reference 0.25 --floor 0 >shuffled.toks
    cmp <(sums rewarded.toks | sort) <(sums shuffled.toks | sort)
    logprob -q -m "$D/out/fold-3" --as a samples.toks | logprob -q -m "$D/out/fold-3/0.25" --as b |
        dense-reward -q --floor 0 --baseline none a b >third.toks
    paste <(toks view samples.toks | jq -r 'select(.token) | .prompt') <(sums rewarded.toks) <(sums third.toks) |
        awk -F'\t' 'NR == FNR { fold[$1] = $2; next }
            fold[$1] == 3 && $2 != $3 { exit 1 }
            fold[$1] == 3 { n++ }
            fold[$1] && fold[$1] != 3 { other += $2 != $3 }
            END { exit !(n == 66 && other > 100) }' "$D/out/folds.tsv" -
    # Options after -- are those of dense-reward; several references combine.
    "$P/crossfit" --apply "$D/out" --reference half,0.25 samples.toks -- --credit last >last.toks
    toks view -H last.toks | jq -e '[.columns[].name] | index("logp:fold-half") and index("logp:fold-0.25")'
    toks view last.toks | jq -se 'map(select(.token) | [.return[] | numbers] | map(select(. != 0)) | length <= 1) | all'
}

@test "a fold that is there is not made again; other settings and demonstrations are refused" {
    cp -r "$D/out" out
    rm -r out/fold-2 out/rewarded.toks
    touch -d '2001-01-01' out/fold-1/model.safetensors out/fold-3/model.safetensors
    "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 "$D/demos.jsonl" -- "${options[@]}"
    cmp out/fold-2/model.safetensors "$D/out/fold-2/model.safetensors"
    cmp out/rewarded.toks "$D/out/rewarded.toks" || cmp <(toks view out/rewarded.toks | tail -n +2) <(toks view "$D/out/rewarded.toks" | tail -n +2)
    [ "$(stat -c %Y out/fold-1/model.safetensors)" -lt 1000000000 ]
    run -1 "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 "$D/demos.jsonl" -- "${options[@]}" --seed 2
    [[ $output == *'other demonstrations or settings'* ]]
    run -1 "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 --dtype bf16 "$D/demos.jsonl" -- "${options[@]}"
    [[ $output == *'other demonstrations or settings'* ]]
    head -50 "$D/demos.jsonl" >fewer.jsonl
    run -1 "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 fewer.jsonl -- "${options[@]}"
    [[ $output == *'other demonstrations or settings'* ]]
}

@test "a failed fold is told; a stopped run keeps its state and goes on" {
    run -2 "$P/crossfit" -m "$D/base" -o bad --folds 3 --threads 1 "$D/demos.jsonl" -- -q --no-such-option
    [[ $output == *'not all folds were trained'* ]]
    [ ! -e bad/rewarded.toks ]
    "$P/crossfit" -m "$D/base" -o out --folds 2 --threads 1 --jobs 2 "$D/demos.jsonl" \
        -- "${options[@]}" --max-steps 1000000 --save-steps 5 3>&- 2>stopped &
    pid=$!
    for fold in 1 2; do await test -e "out/fold-$fold.partial/state.safetensors"; done
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    [ "$status" -eq 75 ]
    grep -q 'run it again to go on' stopped
    [ -e out/fold-1.partial ]
    [ -e out/fold-2.partial ]
    [ ! -e out/fold-1/config.json ]
}

@test "--top: the best are chosen, and trained on from the base" {
    cp -r "$D/out" out
    "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 --top 0.5 "$D/demos.jsonl" -- "${options[@]}"
    toks select -q --by sum:reward --top 0.5 "$D/out/rewarded.toks" -o chosen.toks
    cmp <(toks view chosen.toks | tail -n +2) <(toks view out/chosen.toks | tail -n +2)
    "$P/sft" -m "$D/base" -o alone --threads 1 chosen.toks -- "${options[@]}"
    cmp alone/model.safetensors out/selected/model.safetensors
    # Again, nothing; another choice does not hide behind the old model.
    "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 --top 0.5 "$D/demos.jsonl" -- "${options[@]}"
    run -1 "$P/crossfit" -m "$D/base" -o out --folds 3 --threads 1 --top 0.2 "$D/demos.jsonl" -- "${options[@]}"
    [[ $output == *'another choice'* ]]
}

@test "dpr --cross-fitted: rounds on the folds' reward" {
    head -12 "$D/demos.jsonl" >prompts.jsonl
    "$P/dpr" -m "$D/out/fold-1" -o policy --mode rounds --round-steps 1 --cross-fitted "$D/out" --steps 2 \
        --batch-size 4 --max-new-tokens 10 --learning-rate 1e-3 --seed 1 --threads 1 prompts.jsonl -- -q
    [ "$(jq .generation policy/densepath.json)" -ge 1 ]
    # What it was trained on is what the filter says.
    tok -q -m "$D/base" --prompts prompts.jsonl | rollout -q -m "$D/out/fold-1" -n 4 --batch-size 4 --max-new-tokens 10 \
        --seed 1 --steps 1 | "$P/crossfit" --apply "$D/out" | sums - >wanted
    sums policy.rounds/1.toks | cmp - wanted
    # The limit of the stop rule too: the demonstrations' upper quartile.
    "$P/dpr" -m "$D/out/fold-1" -o stopped --mode rounds --round-steps 1 --cross-fitted "$D/out" --steps 1 \
        --batch-size 4 --max-new-tokens 10 --held-out "$D/demos.jsonl" --threshold limit --threads 1 prompts.jsonl -- -q
    sums "$D/out/rewarded.toks" | jq -es --argjson limit "$(cat limit)" 'map(.[1]) | sort | .[75] - $limit | fabs < 1e-5'
    run -2 "$P/dpr" -m "$D/out/fold-1" -o other --cross-fitted "$D/out" prompts.jsonl
    run -1 "$P/dpr" -m "$D/out/fold-1" -o other --mode rounds --cross-fitted nowhere prompts.jsonl
}

@test "ranking: the AUC, counted in pairs" {
    score="'$P/tasks/sort/score'"
    run -0 "$P/ranking" -m "$D/base" --score "$score" "$D/out/rewarded.toks"
    paste -d' ' <(sums "$D/out/rewarded.toks" | jq -r '.[1]') <("$P/tasks/sort/score" "$D/demos.jsonl" | jq .score) | awk '
        { r[NR] = $1; s[NR] = $2 }
        END {
            for (i = 1; i <= NR; i++)
                for (j = 1; j <= NR; j++)
                    if (s[i] == 1 && s[j] == 0) {
                        n++
                        w += r[i] > r[j] ? 1 : r[i] == r[j] ? 0.5 : 0
                    }
            printf "%.4f\n", w / n
        }' | cmp - <(cut -f1 <<<"$output")
    run -1 "$P/ranking" -m "$D/base" --score "jq -c '.score = 1'" "$D/out/rewarded.toks"
    run -1 "$P/ranking" -m "$D/base" --score "head -5 | jq -c '.score = 1'" "$D/out/rewarded.toks"
    tok -q -m "$D/base" "$D/demos.jsonl" >plain.toks
    run -1 "$P/ranking" -m "$D/base" --score "$score" plain.toks
    [[ $output == *'no column reward'* ]]
}

@test "crossfit-study: a small one" {
    mkdir task && cp -r "$D/shape" task/model && cp "$P/tasks/sort-noisy/recipe.mk" "$P/tasks/sort/score" task/
    printf '#!/bin/sh\nexec "%s/tasks/sort-noisy/generate" "$@"\n' "$P" >task/generate && chmod +x task/generate
    "$P/studies/crossfit-study" -o study --task task --seeds 1,2 --demonstrations 60 --held-out 10 --folds 2 --tsv tsv \
        --ranked 40 -- -q --batch-size 16 --learning-rate 1e-2 >table 2>/dev/null
    [ "$(wc -l <tsv/ranking.tsv)" -eq 36 ]
    [ "$(wc -l <tsv/scores.tsv)" -eq 6 ]
    grep -q '^  half, floor .* ± ' table
    # The lines of one seed, another way: on the first 40.
    "$P/select" -m study/seed-1/sft -o x --select-only --stream all.toks --top 60 study/seed-1/demos.jsonl
    for case in "own all.toks" "crossfitted study/seed-1/crossfit/rewarded.toks"; do
        toks head -q -n 40 "${case#* }" -o few.toks
        "$P/ranking" -m study/seed-1/base --score "'$P/tasks/sort/score'" few.toks | cut -f1 |
            cmp - <(awk -F'\t' -v who="${case%% *}" '$1 == 1 && $2 == "half, floor " who { print $3 }' tsv/ranking.tsv)
    done
}

@test "usage" {
    for program in crossfit studies/crossfit-study ranking; do
        run -0 "$P/$program" --help
        [[ ${lines[0]} == "Usage: ${program##*/} "* ]]
        run -2 "$P/$program" --nothing
        [ "${#lines[@]}" -eq 1 ]
    done
    run -2 "$P/crossfit" -m "$D/base" -o x --folds 1 "$D/demos.jsonl"
    run -2 "$P/crossfit" -m "$D/base" -o x --together all "$D/demos.jsonl"
    run -2 "$P/crossfit" -m "$D/base" -o x --from "$D/base" "$D/demos.jsonl"
    run -2 "$P/crossfit" --apply "$D/out" -m "$D/base" x
    run -1 "$P/crossfit" --apply nowhere "$D/out/rewarded.toks"
    head -2 "$D/demos.jsonl" >two.jsonl
    run -1 "$P/crossfit" -m "$D/base" -o x --folds 3 two.jsonl
    [[ $output == *'fewer different demonstrations'* ]]
    tok -q -m "$D/base" "$D/demos.jsonl" | toks view | sed 's/000002/000001/' | toks view -b -o same.toks
    run -1 "$P/crossfit" -m "$D/base" -o x --folds 3 same.toks
    [[ $output == *'demo-1-000001 comes twice'* ]]
    # One prompt, several answers: parted, or not.
    for i in 1 2 3 4 5 6; do
        printf '{"id":"%d","prompt":"%s>","completion":"%s"}\n' $i "$((i % 2))" "$(printf 'a%.0s' $(seq $i))"
    done | sed 's/"prompt":"0/"prompt":"a/; s/"prompt":"1/"prompt":"b/' >pairs.jsonl
    run -1 "$P/crossfit" -m "$D/base" -o x --folds 3 --together prompt pairs.jsonl
    [ ! -e x ]
    "$P/crossfit" -m "$D/base" -o together --folds 2 --together prompt --threads 1 pairs.jsonl -- -q
    [ "$(cut -f2 together/folds.tsv | paste -sd' ')" = '1 2 1 2 1 2' ]
    "$P/crossfit" -m "$D/base" -o apart --folds 3 --threads 1 pairs.jsonl -- -q
    [ "$(cut -f2 apart/folds.tsv | paste -sd' ')" = '1 2 3 1 2 3' ]
}
