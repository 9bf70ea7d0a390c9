#!/usr/bin/env bats
# rollout: what it draws, invariances, refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    draw=("$BIN/rollout" -q -m "$model" --max-new-tokens 12)
}

@test "rollout: greedy paths of the reference" {
    jq -c '{densepath: 1}, (.greedy | to_entries[] | {id: "g\(.key)", token: .value.prompt})' \
        "$model.json" >in
    "$BIN/rollout" -q -m "$model" --temperature 0 --max-new-tokens 16 in >out
    records out | jq -se --slurpfile m "$model.json" '
        [range(3) as $i | .[$i] as $r | $m[0].greedy[$i] as $g | ($g.prompt | length) as $n |
            $r.token == $g.prompt + $g.tokens and $r.mask == ($g.prompt | map(0)) + ($g.tokens | map(1)) and
            $r.prompt == "g\($i)" and $r.sample == 0 and
            $r.finish == (if $g.tokens[-1] == 39 then "stop" else "length" end) and
            ([$r["logp:rollout"][$n:], $g.logprob] | transpose | all((.[0] - .[1] | fabs) < 1e-5)) and
            $r["logp:sampled"][$n:] == ($g.tokens | map(0)) and
            $r["logp:rollout"][:$n] == ($g.prompt | map(null))] | all'
    records out | jq -se 'map(.finish) | index("stop") != null and index("length") != null'
}

@test "rollout: its column is what logprob says, bit for bit" {
    "${draw[@]}" -n 5 --seed 3 prompts.toks | "$BIN/logprob" -q -m "$model" --as again >out
    records out | jq -se 'length == 35 and all(.["logp:rollout"] == .["logp:again"])'
    "${draw[@]}" -n 2 --seed 3 --temperature 0.7 --top-k 9 --top-p 0.9 prompts.toks |
        "$BIN/logprob" -q -m "$model" --as again >narrow
    records narrow | jq -se 'all(.["logp:rollout"] == .["logp:again"]) and
        all([.["logp:sampled"], .["logp:rollout"]] | transpose[] | select(.[0] != null) | .[0] <= 0)'
}

@test "rollout: --as gives, bit for bit, what logprob adds under the model that draws" {
    "$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --max-steps 3 -o other demos.toks
    for options in '' '--temperature 0.7 --top-k 9 --top-p 0.9' '--contrast other:2' '--temperature 0' '--steps 3 --batch-size 3'; do
        # shellcheck disable=SC2086
        "${draw[@]}" -n 3 --seed 3 $options prompts.toks | "$BIN/logprob" -q -m "$model" --as own >chain
        # shellcheck disable=SC2086
        "${draw[@]}" -n 3 --seed 3 $options --as own prompts.toks >as
        cmp <(records as) <(records chain)
        cmp <("$BIN/toks" view -H as | jq -c 'del(.provenance)') <("$BIN/toks" view -H chain | jq -c 'del(.provenance)')
    done
    records as | jq -se 'any(.["logp:own"] | map(numbers) | length > 0)'
    fails 1 'logp:rollout' "${draw[@]}" --as rollout prompts.toks
    fails 2 'a name that is empty' "${draw[@]}" --as '' prompts.toks
}

@test "rollout: keys and values of bf16" {
    "${draw[@]}" -n 5 --seed 3 --kv-cache-dtype bf16 prompts.toks >out
    "${draw[@]}" -n 5 --seed 3 --kv-cache-dtype bf16 --threads 1 --in-flight 3 prompts.toks >other
    cmp out other
    "$BIN/logprob" -q -m "$model" --as again --kv-cache-dtype bf16 out >scored
    records scored | jq -se 'length == 35 and all(.["logp:rollout"] == .["logp:again"])'
    # What samples is another model than the one in the directory, and the header says so.
    "$BIN/logprob" -q -m "$model" --as plain out >plain
    records plain | jq -se 'any(.["logp:rollout"] != .["logp:plain"])'
    "$BIN/toks" view out | head -1 | jq -e '.sampling.kv_cache == "bf16" and
        (.provenance[-1].kernels | endswith(", bf16 keys and values"))'
    # auto is fp32.
    "${draw[@]}" -n 5 --seed 3 prompts.toks >auto
    "${draw[@]}" -n 5 --seed 3 --kv-cache-dtype fp32 prompts.toks >exact
    cmp <(records auto) <(records exact)
    fails 2 "kv-cache-dtype" "${draw[@]}" --kv-cache-dtype fp8 prompts.toks
}

@test "rollout: the columns of prompts and samples" {
    "${draw[@]}" -n 2 --seed 3 prompts.toks >out
    "$BIN/toks" check -q out
    records out | jq -se '
        length == 14 and (map(.id) | unique | length) == 14 and
        [.[] | .prompt] == [range(1; 8) as $i | "p\($i)", "p\($i)"] and
        [.[] | .sample] == [range(7) | 0, 1] and all(.generation == 0) and
        (.[0].answer == "x" and .[8].answer == "é") and
        all((.finish == "stop") == (.token[-1] | . == 2 or . == 39)) and
        all(.mask as $m | [range(.token | length) | select($m[.] == 1)] | length <= 12 and length > 0) and
        all(has("logp:sampled") | not)'
    "$BIN/toks" view --header out | jq -e '.sampling.temperature == 1 and .sampling.num_generations == 2
        and .vocab_size == 40 and (.provenance[-1] | .program == "rollout" and .seed == 3)'
    # Another seed, other samples; the same prompt under another id too.
    "${draw[@]}" -n 2 --seed 4 prompts.toks >other
    run ! cmp -s <(records out | jq -c .token) <(records other | jq -c .token)
    sed 's/"p1"/"q1"/' prompts.jsonl | "${draw[@]}" -n 2 --seed 3 >renamed
    run ! cmp -s <(records out | head -2 | jq -c .token) <(records renamed | head -2 | jq -c .token)
    cmp <(records out | tail -12) <(records renamed | tail -12)
}

@test "rollout: threads, slots, batches and parts change nothing" {
    "${draw[@]}" -n 4 --seed 3 --threads 1 prompts.toks >out
    for n in 2 3; do
        "${draw[@]}" -n 4 --seed 3 --threads "$n" prompts.toks >other
        cmp <(records out) <(records other)
    done
    for n in 1 3 500; do
        "${draw[@]}" -n 4 --seed 3 --in-flight "$n" prompts.toks >other
        cmp <(records out) <(records other)
    done
    "${draw[@]}" -n 4 --seed 3 --batch-size 2 prompts.toks >other
    cmp <(records out | jq -c 'del(.step)') <(records other | jq -c 'del(.step)')
    "${draw[@]}" -n 2 --seed 3 prompts.toks >first
    "${draw[@]}" -n 2 --seed 3 --first-sample 2 prompts.toks >second
    cmp <(records out | jq -cS . | sort) <({ records first && records second; } | jq -cS . | sort)
    # Parts of whole steps, each from its first step on.
    "${draw[@]}" -n 4 --seed 3 --batch-size 2 <(head -5 prompts.jsonl) >first
    "${draw[@]}" -n 4 --seed 3 --batch-size 2 --first-step 2 <(sed 2,5d prompts.jsonl) >second
    cmp <(records other) <(records first && records second)
    # One prompt alone.
    { head -1 prompts.jsonl && grep '"p4"' prompts.jsonl; } | "${draw[@]}" -n 4 --seed 3 >alone
    cmp <(records out | jq -c 'select(.prompt == "p4") | del(.step)') <(records alone | jq -c 'del(.step)')
    "${draw[@]}" -n 4 --seed 3 <prompts.jsonl | records - | cmp - <(records out)
}

@test "rollout: steps start the prompts over" {
    "${draw[@]}" -n 1 --seed 3 --batch-size 5 --steps 3 prompts.toks >out
    records out | jq -se '
        [.[].step] == [range(3) as $s | range(5) | $s] and
        [.[].prompt] == [range(15) | "p\(. % 7 + 1)"] and (map(.id) | unique | length) == 15 and
        .[0].token != .[7].token'
    "${draw[@]}" -n 1 --seed 3 --batch-size 5 --steps 2 prompts.toks >shorter
    cmp <(records shorter) <(records out | head -10)
    # Samples of several steps are in flight together where there is room.
    for n in 1 3 500; do
        "${draw[@]}" -n 1 --seed 3 --batch-size 5 --steps 3 --in-flight "$n" prompts.toks >other
        cmp out other
    done
}

@test "rollout: stop tokens and limits" {
    "${draw[@]}" -n 8 --seed 3 --stop-token 19 --stop-token 12 prompts.toks >out
    records out | jq -se 'map(select(.finish == "stop") | .token[-1]) | unique | . - [2, 12, 19, 39] == [] and (index(19) != null or index(12) != null)'
    "${draw[@]}" --max-new-tokens 1 prompts.toks >one
    records one | jq -se 'all((.mask | add) == 1)'
    # The last learned position ends a sample.
    learned_model learned 64
    jq -nc '{densepath: 1}, {id: "long", token: [range(60) | 3]}' >long
    "${draw[@]}" -m learned --temperature 0 --max-new-tokens 50 long >full
    records full | jq -e '.finish == "length" and (.token | length) <= 65'
    fails 2 "stop-token" "${draw[@]}" --stop-token 40 prompts.toks
}

@test "rollout: contrast" {
    "${draw[@]}" -n 2 --seed 3 prompts.toks >plain
    "${draw[@]}" -n 2 --seed 3 --contrast "$model:0.7" prompts.toks >self
    cmp <(records plain | jq -c .token) <(records self | jq -c .token)
    records self | jq -se 'all([.["logp:sampled"], .["logp:rollout"]] | transpose[] |
        .[0] == null or (.[0] - .[1] | fabs) < 1e-5)'
    cp -r "$model" other
    "$BIN/model" init "$model" -o reference --seed 3
    "${draw[@]}" -n 2 --seed 3 --contrast reference:1 prompts.toks >away
    run ! cmp -s <(records plain | jq -c .token) <(records away | jq -c .token)
    fails 2 "contrast" "${draw[@]}" --contrast reference prompts.toks
    fails 1 "absent" "${draw[@]}" --contrast absent:1 prompts.toks
}

@test "rollout: common manners" {
    common_manners "${draw[@]}" -o out
    fails 2 "m.* DIR" "$BIN/rollout" prompts.toks
    fails 2 "temperature" "${draw[@]}" --temperature -1 prompts.toks
    fails 2 "lag" "${draw[@]}" --lag 1 prompts.toks
    fails 2 "first-step" "${draw[@]}" --first-step 1 --steps 2 prompts.toks
    fails 2 "first-step" "${draw[@]}" --first-step 1 --follow prompts.toks
    leaves_nothing fails 1 "No space" "${draw[@]}" -o /dev/full prompts.toks
    run --separate-stderr bash -c '"$@" >/dev/full' - "${draw[@]}" prompts.toks
    [ "$status" -eq 1 ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    # The reader goes: no word, and soon.
    run --separate-stderr timeout 600 bash -c '"$@" | head -c 10 >/dev/null' - \
        "${draw[@]}" -n 8 --steps 100000 prompts.toks
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    leaves_nothing fails 1 "absent" "$BIN/rollout" -m absent -o out prompts.toks
}

@test "rollout: prompts that do not fit" {
    jq -nc '{densepath: 1}, {id: "big", token: [1, 40]}' >beyond
    leaves_nothing fails 3 'beyond.*`big`.*40' "${draw[@]}" -o out beyond
    jq -nc '{densepath: 1}, {id: "void", token: []}' >void
    leaves_nothing fails 1 'void.*`void`' "${draw[@]}" -o out void
    jq -nc '{densepath: 1}, {id: "long", token: [range(70) | 3]}' >long
    learned_model learned 64
    leaves_nothing fails 1 'long.*`long`.*64' "${draw[@]}" -m learned -o out long
    "${draw[@]}" --max-new-tokens 3 long >/dev/null
    head -1 prompts.jsonl >none
    "${draw[@]}" none >out
    [ -z "$(records out)" ]
    rm out
    leaves_nothing fails 1 "no prompts" "${draw[@]}" --steps 2 -o out none
    cp -r "$model" with
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" with/
    { echo '{"densepath":1,"tokenizer":"xxh3:0123456789abcdef"}' && tail -n +2 prompts.jsonl; } >tokenizer
    leaves_nothing fails 3 "tokenizer" "$BIN/rollout" -q -m with -o out tokenizer
}

@test "rollout: answers are no prompts, and no two prompts have one id" {
    "${draw[@]}" prompts.toks >samples.toks
    for more in "" "--steps 2"; do
        # shellcheck disable=SC2086
        leaves_nothing fails 3 'samples.toks: record `.*holds an answer.*tok --prompts' "${draw[@]}" $more -o out samples.toks
        # shellcheck disable=SC2086
        leaves_nothing fails 3 'second prompt with this id.*toks cat' "${draw[@]}" $more -o out \
            <(cat prompts.toks prompts.toks)
    done
    # A mask without a trained token is that of prompts.
    records prompts.toks | jq -c '.mask = (.token | map(0))' >masked
    cmp <("${draw[@]}" prompts.toks | records -) <("${draw[@]}" masked | records -)
    "$BIN/toks" cat --ids prefix prompts.toks prompts.toks | "${draw[@]}" >out
    [ "$(records out | jq -r .prompt | sort -u | wc -l)" -eq "$(($(records prompts.toks | wc -l) * 2))" ]
}

@test "rollout: a damaged stream (some bytes)" {
    head -3 prompts.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 11 "${draw[@]}" --threads 1 -o out
    survives_damage small.toks 31 "${draw[@]}" --threads 1 --steps 2 -o out
}

# bats test_tags=slow
@test "rollout: a damaged stream (every byte)" {
    head -3 prompts.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 1 "${draw[@]}" --threads 1 -o out
}

@test "rollout: weights that are no numbers" {
    local name how
    for name in lm_head.weight model.norm.weight model.layers.1.mlp.down_proj.weight; do
        spoil_model bad "$name"
        for how in "--temperature 1" "--temperature 0" "--top-k 5" "--top-p 0.5" "--min-p 0.3"; do
            # shellcheck disable=SC2086
            leaves_nothing fails 1 'not finite' "$BIN/rollout" -q -m bad -o out $how prompts.toks
        done
        rm -r bad
    done
}
