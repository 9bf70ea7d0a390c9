#!/usr/bin/env bats
# novelty: familiar states, refusals.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    PATH=$(cd "$BIN" && pwd):$PATH
    A=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24' "$A/model/config.json" >config
    cp -r "$A/model" shape && mv config shape/config.json
    model init -q shape -o model --seed 1
    # What is familiar are refusals; what is strange are sums that are worked out.
    "$A/generate" --n 200 --seed 1 >all.jsonl
    grep '"no,' all.jsonl | tok -q -m model -o demos.toks
    grep '"[0-9]+[0-9]+' all.jsonl | head -60 | tok -q -m model -o strange.toks
}

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    cd "$BATS_FILE_TMPDIR" || return
    t=$BATS_TEST_TMPDIR
    like=(novelty -q -m model --demonstrations demos.toks)
}

rewards() { # of a stream on stdin
    toks view | jq -c '.reward // empty'
}

mean() {
    jq -s '[.[][] | numbers] | add / length'
}

@test "novelty: the demonstrations are familiar, other states are not" {
    "${like[@]}" demos.toks | rewards >"$t/own"
    novelty -m model --demonstrations demos.toks demos.toks 2>&1 >/dev/null | grep -qE "^novelty: reward: $(grep -c . "$t/own") records, [0-9]+ tokens, [0-9:]+, [0-9]+ tokens/s$"
    "${like[@]}" strange.toks | rewards >"$t/other"
    jq -ne --argjson own "$(mean <"$t/own")" --argjson other "$(mean <"$t/other")" '$own > 9.5 and $other < $own - 0.5'
    # Every trained token has a reward between 0 and 10, the last one too, others none.
    paste <(toks view demos.toks | jq -c '.mask // empty') "$t/own" |
        jq -nRe '[inputs | split("\t") | map(fromjson) | transpose[]] | all(
            if .[0] == 1 then .[1] != null and .[1] > 0 and .[1] <= 10 else .[1] == null end)'
    # Another seed is another network, the same seed the same bytes for any number of threads.
    "${like[@]}" --threads 1 strange.toks | rewards | cmp - "$t/other"
    "${like[@]}" --seed 2 strange.toks | rewards >"$t/seed"
    run ! cmp -s "$t/seed" "$t/other"
}

@test "novelty: the reward is A exp(-B error)" {
    "${like[@]}" strange.toks | rewards >"$t/a"
    "${like[@]}" --scale 1 --steepness 1 strange.toks | rewards >"$t/b"
    jq -ne --slurpfile a "$t/a" --slurpfile b "$t/b" '[[$a[][]], [$b[][]]] | transpose | map(select(.[0] != null))
        | length > 500 and all((.[0] / 10 | log) - 5 * (.[1] | log) | fabs < 1e-4)'
    "${like[@]}" --steepness 0 strange.toks | rewards | jq -se 'all(.[] | . == null or . == 10)'
    # More outputs, a heavier ridge: other errors, and still the demonstrations are nearer.
    for options in '--features 4' '--ridge 0.1'; do
        # shellcheck disable=SC2086
        jq -ne --argjson own "$("${like[@]}" $options demos.toks | rewards | mean)" \
            --argjson other "$("${like[@]}" $options strange.toks | rewards | mean)" '$own > $other'
    done
}

@test "novelty: a state knows what was read, not what comes" {
    "${like[@]}" strange.toks | rewards >"$t/whole"
    toks view strange.toks | jq -c 'if .token then (.mask | index(1) + 3) as $n | .token |= .[:$n] | .mask |= .[:$n]
        else . end' | "${like[@]}" | rewards >"$t/cut"
    jq -ne --slurpfile a "$t/whole" --slurpfile b "$t/cut" '[$a, $b] | transpose | length == 60 and all(
        .[1] as $cut | [.[0][:($cut | length)], $cut] | transpose
        | all(.[0] == .[1] or ((.[0] - .[1]) | fabs) < 1e-4))'
    # Another name, and a column that is there.
    "${like[@]}" --as familiar strange.toks | "${like[@]}" | toks view | tail -n +2 |
        jq -se 'all(.familiar == .reward)'
    "${like[@]}" strange.toks | "${like[@]}" | rewards | cmp - "$t/whole"
}

@test "novelty: refusals" {
    run -2 novelty -m model strange.toks
    run -2 novelty --demonstrations demos.toks strange.toks
    run -2 novelty -m model --demonstrations demos.toks --features 0 strange.toks
    run -1 novelty -m model --demonstrations nowhere strange.toks -o "$t/out"
    toks view demos.toks | jq -c 'if .mask then .mask |= map(0) else . end' >"$t/idle.jsonl"
    run -1 novelty -m model --demonstrations "$t/idle.jsonl" strange.toks -o "$t/out"
    [[ $output == *"no trained tokens, so nothing is familiar" ]]
    toks view demos.toks | jq -c 'del(.mask) | if .columns then .columns |= map(select(.name != "mask")) else . end' >"$t/bare.jsonl"
    run -3 novelty -m model --demonstrations demos.toks "$t/bare.jsonl" -o "$t/out"
    [[ $output == *mask* ]]
    head -c -5 demos.toks >"$t/short.toks"
    run -3 novelty -m model --demonstrations "$t/short.toks" strange.toks -o "$t/out"
    run -3 novelty -m model --demonstrations demos.toks "$t/short.toks" -o "$t/out"
    toks view demos.toks | jq -c 'if .columns then del(.tokenizer) else . end | if .columns then .vocab_size = 70000 else .token[4] = 60000 end' >"$t/big.jsonl"
    run -3 novelty -m model --demonstrations demos.toks "$t/big.jsonl" -o "$t/out"
    [[ $output == *'big.jsonl: record `demo-1-000'* ]]
    [ ! -e "$t/out" ]
}
