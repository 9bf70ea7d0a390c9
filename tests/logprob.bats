#!/usr/bin/env bats
# logprob: values, invariances, refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    score=("$BIN/logprob" -q -m "$model" --as m)
}

# A second model with the same vocabulary.
make_other() {
    "$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --max-steps 10 -o other demos.toks
    beside=("${score[@]}" --values --kl other --contrast other:0.5 --entropy --top-logprobs 2)
}

reference() { # the reference's sequences as a twin
    jq -c '{densepath: 1}, (.sequences | to_entries[] | {id: "\(.key)", token: .value.tokens, mask: .value.mask})' \
        "$model.json"
}

@test "logprob: the reference's values, entropies and most likely tokens" {
    reference >in.jsonl
    "${score[@]}" --all --entropy --top-logprobs 3 in.jsonl >out
    records out | jq -se --slurpfile m "$model.json" '
        def near(a; b): [a, b] | transpose | all((.[0] - .[1] | fabs) < 1e-5);
        length == 4 and ([range(4) as $i | .[$i] as $r | $m[0].sequences[$i] as $s |
            $r["logp:m"][0] == null and near($r["logp:m"][1:]; $s.logprob) and
            near($r["entropy:m"][1:]; $s.entropy) and
            (range(1; $r.token | length) as $t |
                $r["top1-logp:m"][$t] >= $r["top2-logp:m"][$t] and
                $r["top2-logp:m"][$t] >= $r["top3-logp:m"][$t] and
                $r["top1-logp:m"][$t] >= $r["logp:m"][$t] - 1e-6 and
                ($r.token[$t] != $r["top1:m"][$t] or
                    ($r["logp:m"][$t] - $r["top1-logp:m"][$t] | fabs) < 1e-6))] | all)'
    # Greedy paths follow the most likely tokens.
    jq -c '{densepath: 1}, (.greedy[] | {id: "g", token: (.prompt + .tokens), n: (.prompt | length)})' \
        "$model.json" >greedy.jsonl
    "${score[@]}" --all --top-logprobs 1 greedy.jsonl >out
    records out | jq -se 'all(.n as $n | .token[$n:] == .["top1:m"][$n:])'
}

@test "logprob: only trained tokens have a value; the rest is as with --all" {
    "${score[@]}" demos.toks >masked
    "${score[@]}" --all demos.toks >all
    paste -d' ' <(records masked) <(records all) | jq -se '
        length == 16 and ([range(0; 16; 2) as $i | .[$i] as $m | .[$i + 1] as $a |
            range($m.token | length) as $t |
            if $m.mask[$t] == 1 then $m["logp:m"][$t] == $a["logp:m"][$t]
            else $m["logp:m"][$t] == null end] | all)'
}

@test "logprob: the closing line says what the column has" {
    run -0 --separate-stderr "$BIN/logprob" -m "$model" --as m -o out demos.toks
    want=$("$BIN/toks" stat -O json out | jq -r '.records as $records | .columns[] | select(.name == "logp:m")
        | "m: \($records) records, \(.values) scored tokens, mean log-probability \(.mean)"')
    [[ $stderr =~ ^"logprob: "(.*)", "[0-9:]+", "[0-9]+" tokens/s"$ ]]
    # The mean to five digits.
    [[ $want == "${BASH_REMATCH[1]%[0-9]}"* ]]
}

@test "logprob: packed or one by one, file or pipe, stream or twin: the same values" {
    "${score[@]}" --entropy demos.toks >packed
    records packed >want
    tail -n +2 demos.jsonl | while read -r line; do
        { head -1 demos.jsonl && echo "$line"; } | "${score[@]}" --entropy >one
        records one
    done | cmp - want
    "${score[@]}" --entropy <demos.toks | records - | cmp - want
    "$BIN/toks" cat demos.toks | "${score[@]}" --entropy - | records - | cmp - want
    "${score[@]}" --entropy -o file demos.toks
    records file | cmp - want
}

@test "logprob: the same bytes for 1, 2 and 3 threads" {
    "${score[@]}" --all --entropy --top-logprobs 2 --threads 1 demos.toks >one
    for n in 2 3; do
        "${score[@]}" --all --entropy --top-logprobs 2 --threads "$n" demos.toks >other
        cmp <(records one) <(records other)
        cmp one other
    done
}

@test "logprob: values: the logit less the value is the log-probability" {
    "${score[@]}" demos.toks >plain
    "${score[@]}" --values demos.toks >out
    paste -d' ' <(records plain) <(records out) | jq -se '
        length == 16 and ([range(0; 16; 2) as $i | .[$i] as $p | .[$i + 1] as $r |
            $p["logp:m"] == $r["logp:m"] and ($r["value-end:m"] == null) == ($r.id == "none") and
            (range($r.token | length) as $t |
                ($r["q:m"][$t] == null) == ($r.mask[$t] == 0) and
                ($r["value:m"][$t] == null) == ($t == 0 or ($r.mask[$t] == 0 and $r.mask[$t - 1] == 0)) and
                ($r.mask[$t] == 0 or
                    ($r["q:m"][$t] - $r["value:m"][$t] - $r["logp:m"][$t] | fabs) < 2e-6))] | all)'
    # The end is the state before a token that follows, whichever it is.
    for token in 0 7; do
        jq -c "if .token then .token += [$token] | .mask += [1] else . end" demos.jsonl |
            "${score[@]}" --values >longer
        paste -d' ' <(records out) <(records longer) | jq -se '[range(0; 16; 2) as $i |
            .[$i]["value-end:m"] == null or .[$i]["value-end:m"] == .[$i + 1]["value:m"][-1]] | all'
    done
    # With --all every token has both.
    "${score[@]}" --all --values demos.toks >all
    records all | jq -se 'all((.["q:m"][1:] | all(. != null)) and (.["value:m"][1:] | all(. != null)) and
        .["value-end:m"] != null)'
    # The last state of a record that fills the model's learned positions is beyond them.
    learned_model learned 64
    jq -nc '{id: "fits", token: [range(65) | 3], mask: [range(65) | 1]}' >fits
    "${score[@]}" -m learned --values fits >out
    records out | jq -e '.["value-end:m"] == null and .["value:m"][64] != null'
    jq -nc '{id: "fits", token: [range(64) | 3], mask: [range(64) | 1]}' >fits
    "${score[@]}" -m learned --values fits >out
    records out | jq -e '.["value-end:m"] != null'
}

@test "logprob: the KL of a model to itself is 0, to another it is not, and both ways differ" {
    make_other
    "${score[@]}" --kl "$model" demos.toks >self
    records self | jq -se 'all(.["kl:m"], .["kl-reverse:m"] | map(numbers) | all(fabs < 1e-6))'
    "${score[@]}" --kl other demos.toks >there
    "$BIN/logprob" -q -m other --as m --kl "$model" demos.toks >back
    paste -d' ' <(records there) <(records back) | jq -se '
        [range(0; 16; 2) as $i | .[$i] as $a | .[$i + 1] as $b | range($a.token | length) as $t |
            ($a["kl:m"][$t] == null) == ($a.mask[$t] == 0) and ($a.mask[$t] == 0 or (
            $a["kl:m"][$t] > 0.01 and $a["kl-reverse:m"][$t] > 0.01 and
            $a["kl:m"][$t] != $a["kl-reverse:m"][$t] and
            ($a["kl:m"][$t] - $b["kl-reverse:m"][$t] | fabs) < 1e-5 and
            ($a["kl-reverse:m"][$t] - $b["kl:m"][$t] | fabs) < 1e-5))] | all'
}

@test "logprob: contrast scores what rollout --contrast draws" {
    make_other
    "$BIN/rollout" -q -m "$model" --contrast other:0.7 -n 3 --max-new-tokens 8 prompts.toks >drawn
    "${score[@]}" --contrast other:0.7 drawn >out
    records out | jq -se 'length == 21 and all([.["logp:sampled"], .["logp:m"]] | transpose |
        all(.[0] == null or (.[0] - .[1] | fabs) < 1e-5))'
    # Weight 0 is the model alone, -1 the other.
    "${score[@]}" --contrast other:0 demos.toks >zero
    "${score[@]}" demos.toks >plain
    cmp <(records zero) <(records plain)
    "${score[@]}" --contrast other:-1 demos.toks >minus
    "$BIN/logprob" -q -m other --as m demos.toks >plain
    paste -d' ' <(records minus) <(records plain) | jq -se '[range(0; 16; 2) as $i |
        [.[$i]["logp:m"], .[$i + 1]["logp:m"]] | transpose | .[] |
        .[0] == null or (.[0] - .[1] | fabs) < 1e-5] | all'
}

@test "logprob: with models beside: packed or one by one, any number of threads, the same bytes" {
    make_other
    "${beside[@]}" --threads 1 demos.toks >packed
    records packed >want
    tail -n +2 demos.jsonl | while read -r line; do
        { head -1 demos.jsonl && echo "$line"; } | "${beside[@]}" >one
        records one
    done | cmp - want
    for n in 2 3; do
        "${beside[@]}" --threads "$n" demos.toks >other.toks
        cmp packed other.toks
    done
}

@test "logprob: with models beside: a vocabulary too large for one piece" {
    mkdir config
    jq '.vocab_size = 140000 | .hidden_size = 8 | .intermediate_size = 8 | .num_attention_heads = 2 |
        .num_key_value_heads = 1 | .head_dim = 4 | .tie_word_embeddings = true' \
        "$model/config.json" >config/config.json
    "$BIN/model" init config -o large --seed 1
    "$BIN/model" init config -o other --seed 2
    beside=("$BIN/logprob" -q -m large --as m --values --kl other --contrast other:0.5 --entropy --top-logprobs 2)
    "${beside[@]}" demos.toks | records - >want
    tail -n +2 demos.jsonl | while read -r line; do
        { head -1 demos.jsonl && echo "$line"; } | "${beside[@]}" | records -
    done | cmp - want
}

@test "logprob: models beside that do not fit" {
    make_other
    mkdir config
    jq '.vocab_size = 41' "$model/config.json" >config/config.json
    "$BIN/model" init config -o wide
    for o in "--kl wide" "--contrast wide:1"; do
        # shellcheck disable=SC2086
        leaves_nothing fails 1 "wide.*different vocabularies" "${score[@]}" $o -o out demos.toks
    done
    leaves_nothing fails 1 "absent" "${score[@]}" --kl absent -o out demos.toks
    leaves_nothing fails 1 "absent" "${score[@]}" --contrast absent:1 -o out demos.toks
    for o in other other: other:x other:inf :1; do
        leaves_nothing fails 2 "--contrast.*DIR:NUMBER" "${score[@]}" --contrast "$o" -o out demos.toks
    done
    # A shorter model bounds what both can score.
    learned_model short 12
    leaves_nothing fails 1 '`e`.*12 positions' "${score[@]}" --kl short -o out demos.toks
    model=other spoil_model bad lm_head.weight
    leaves_nothing fails 1 'demos.toks.*`a`.*KL.*not a number' "${score[@]}" --kl bad -o out demos.toks
    leaves_nothing fails 1 'demos.toks.*`a`.*not a number' "${score[@]}" --contrast bad:1 -o out demos.toks
    cp -r other with
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" with/
    { echo '{"densepath":1,"tokenizer":"xxh3:0123456789abcdef"}' && tail -n +2 demos.jsonl; } >tokenizer
    leaves_nothing fails 3 "tokenizer" "${score[@]}" --kl with -o out tokenizer
}

@test "logprob: other columns pass, a second name adds a column, the provenance tells both" {
    jq -c 'if .id then . + {score: 1.5, note: "n\(.id)"} else . end | del(.columns)' demos.jsonl >in
    "${score[@]}" in | "$BIN/logprob" -q -m "$model" --as n >out
    records out | jq -se 'all(.score == 1.5 and .note == "n\(.id)" and .["logp:m"] == .["logp:n"])'
    "$BIN/toks" view --header out | jq -e '
        [.provenance[].program] == ["logprob", "logprob"] and
        (.provenance[0].models.m | startswith("xxh3:"))'
    fails 1 'logp:m' "${score[@]}" out
}

@test "logprob: --also gives, bit for bit, the columns of a chain of single runs" {
    make_other
    for options in '' '--all --entropy' '--values --top-logprobs 2'; do
        # shellcheck disable=SC2086
        "${score[@]}" $options demos.toks | "$BIN/logprob" -q -m other --as o $options |
            "$BIN/logprob" -q -m "$model" --as n:1 $options >chain
        for n in 1 3; do
            # shellcheck disable=SC2086
            "${score[@]}" $options --also other:o --threads $n demos.toks >also
            "$BIN/toks" view also | "$BIN/logprob" -q -m "$model" --as n:1 $options >all
            cmp <(records all) <(records chain)
        done
    done
    # Without what each single run adds to it, the header is the chain's too.
    cmp <("$BIN/toks" view -H all | jq -c 'del(.provenance)') <("$BIN/toks" view -H chain | jq -c 'del(.provenance)')
    "$BIN/toks" view -H also | jq -ce --slurpfile chain <("$BIN/toks" view -H chain) '
        [.provenance[].program] == ["logprob"] and
        .provenance[0].models == ($chain[0].provenance[:2] | map(.models) | add) and
        (.provenance[0].args | index("other:o")) and .provenance[0].models.m != .provenance[0].models.o'
}

@test "logprob: --also closes with a line per model, needs the memory of all, and names whose fault it is" {
    make_other
    run -0 --separate-stderr "$BIN/logprob" -m "$model" --as m --also other:o --also other:again -o out demos.toks
    [ "${#stderr_lines[@]}" -eq 3 ]
    [[ ${stderr_lines[1]} == 'logprob: o: 8 records, '* ]]
    second=${stderr_lines[1]%, *, *} third=${stderr_lines[2]%, *, *}
    [ "${third/again:/o:}" = "$second" ]
    need() { "$BIN/logprob" -v -m "$model" --as m "$@" demos.toks 2>&1 >/dev/null | sed -nE 's/.*needs about ([0-9.]+) MiB$/\1/p'; }
    one=$(need) three=$(need --also other:o --also other:again)
    jq -ne "$one > 0 and ($three / $one - 3 | fabs) < 0.05"
    fails 2 "'other' is not DIR:NAME" "${score[@]}" --also other demos.toks
    fails 2 "'other:' is not DIR:NAME" "${score[@]}" --also other: demos.toks
    fails 2 'kl is for one model' "${score[@]}" --also other:o --kl other demos.toks
    fails 2 'contrast is for one model' "${score[@]}" --also other:o --contrast other:1 demos.toks
    fails 1 'logp:m' "${score[@]}" --also other:m demos.toks
    fails 1 nowhere "${score[@]}" --also nowhere:o demos.toks
    learned_model learned 6
    jq -nc '{id: "long", token: [range(9) | 3], mask: [range(9) | 1]}' >long
    fails 1 '`long`: learned: 9 tokens' "${score[@]}" --also learned:o long
}

@test "logprob: common manners" {
    common_manners "${score[@]}" -o out
    fails 2 "as NAME" "$BIN/logprob" -m "$model" demos.toks
    fails 2 "m.* DIR" "$BIN/logprob" --as m demos.toks
    fails 1 "No space" "${score[@]}" -o /dev/full demos.toks
    run --separate-stderr bash -c '"$@" >/dev/full' - "${score[@]}" demos.toks
    [ "$status" -eq 1 ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    run --separate-stderr bash -c '{ "$@"; echo "$?" >status; } | true' - "${score[@]}" demos.toks
    [ -z "$stderr" ]
    mkdir config
    jq '.vocab_size = 12' "$model/config.json" >config/config.json
    "$BIN/model" init config -o tiny
    leaves_nothing fails 2 "top-logprobs.*12" "$BIN/logprob" -q -m tiny --as m --top-logprobs 13 -o out demos.toks
    leaves_nothing fails 1 "absent" "$BIN/logprob" -m absent --as m -o out demos.toks
    leaves_nothing fails 1 "demos.toks" "$BIN/logprob" -m demos.toks --as m -o out demos.toks
}

@test "logprob: streams that do not fit the model" {
    jq -c 'if .id then del(.mask) else . end | del(.columns)' demos.jsonl >nomask
    leaves_nothing fails 3 "nomask.*mask" "${score[@]}" -o out nomask
    "${score[@]}" --all nomask >/dev/null
    echo '{"id":"big","token":[1,40],"mask":[0,1]}' >beyond
    leaves_nothing fails 3 'beyond.*`big`.*40' "${score[@]}" -o out beyond
    jq -nc '{id: "long", token: [range(66) | 3], mask: [range(66) | 1]}' >long
    learned_model learned 64
    leaves_nothing fails 1 'long.*`long`.*64' "${score[@]}" -m learned -o out long
    # Rotary positions go on.
    "${score[@]}" long >/dev/null
    jq -nc '{id: "fits", token: [range(65) | 3], mask: [range(65) | 1]}' >fits
    "${score[@]}" -m learned fits >/dev/null
    # A tokenizer may have an id more than the embedding, until it is used.
    { echo '{"densepath":1,"vocab_size":41}' && tail -n +2 demos.jsonl; } >vocabulary
    "${score[@]}" vocabulary >/dev/null
    jq -nc '{densepath: 1, vocab_size: 41}, {id: "used", token: [3, 40], mask: [1, 1]}' >used
    leaves_nothing fails 3 "used.*token 40 at position 1 is beyond the vocabulary of 40" "${score[@]}" -o out used
    cp -r "$model" with
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" with/
    { echo '{"densepath":1,"tokenizer":"xxh3:0123456789abcdef"}' && tail -n +2 demos.jsonl; } >tokenizer
    leaves_nothing fails 3 "tokenizer" "$BIN/logprob" -q -m with --as m -o out tokenizer
    "${score[@]}" tokenizer >/dev/null # nothing to compare with
}

@test "logprob: a damaged stream (some bytes)" {
    head -4 demos.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 11 "${score[@]}" --threads 1 -o out
}

# bats test_tags=slow
@test "logprob: a damaged stream (every byte)" {
    head -4 demos.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 1 "${score[@]}" --threads 1 -o out
}

@test "logprob: weights that are no numbers" {
    local name
    for name in lm_head.weight model.norm.weight model.layers.1.mlp.down_proj.weight; do
        spoil_model bad "$name"
        leaves_nothing fails 1 'demos.toks.*`a`.*not a number' "$BIN/logprob" -q -m bad --as m -o out demos.toks
        rm -r bad
    done
    # of a token that does not occur: no matter
    spoil_model bad model.embed_tokens.weight 20
    "$BIN/logprob" -q -m bad --as m demos.toks >/dev/null
}

@test "logprob: kernels by hand are those that there are" {
    DENSEPATH_KERNELS=base "${score[@]}" -o out demos.toks
    "$BIN/toks" check out
    # Provenance calls both fma: where the processor has them they give the same bytes, and base others.
    if DENSEPATH_KERNELS=avx2 "${score[@]}" --entropy -o avx2 demos.toks && DENSEPATH_KERNELS=avx512 "${score[@]}" --entropy -o avx512 demos.toks; then
        cmp avx2 avx512
        "$BIN/toks" view -H avx2 | jq -e '.provenance[-1].kernels == "fma"'
    fi
    "$BIN/toks" view -H out | jq -e '.provenance[-1].kernels == "plain"'
    leaves_nothing fails 2 "DENSEPATH_KERNELS=fast: there are base, avx2, avx512 and avx512bf16" \
        env DENSEPATH_KERNELS=fast "${score[@]}" -o new demos.toks
    leaves_nothing fails 2 "DENSEPATH_KERNELS=: there are" env DENSEPATH_KERNELS= "${score[@]}" -o new demos.toks
}
