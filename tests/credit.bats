#!/usr/bin/env bats
# Rewards that need no reward model: votes, steps towards the right answer, prefixes.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    model=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    cd "$BATS_TEST_TMPDIR" || return
}

records() { # of a stream on stdin, without its header
    toks view | tail -n +2
}

# ---- toks vote

# Answers of two prompts, interleaved.
answers() {
    echo '{"densepath":1}'
    while read -r id prompt answer; do
        printf '{"id":"%s","token":[1],"mask":[1],"prompt":"%s","answer":"%s"}\n' "$id" "$prompt" "$answer"
    done <<'END'
a p 7
b q x
c p 7
d p 8
e q
f q
g q y
END
}

@test "vote: majority, ties, empty answers, shares" {
    answers >in.jsonl
    run -0 --separate-stderr toks vote in.jsonl -o out.toks
    # shellcheck disable=SC2154
    [[ $stderr == *"7 records (2 without an answer), 2 groups, 1 of them tied" ]]
    [ "$(records <out.toks | jq -c .score | paste -sd' ')" = '1 0.5 1 0 0 0 0.5' ]
    [ "$(toks vote -q --score share in.jsonl | records | jq -c '.score * 12 | round' | paste -sd' ')" = '8 3 8 4 0 0 3' ]
    # Many empty answers win nothing; nobody having one, nobody scores.
    answers | sed 's/"[78xy]"/""/' | toks vote -q | records | jq -se 'all(.score == 0)'
    # Another name of everything; a column that is there is written over.
    toks vote -q in.jsonl | toks vote -q --as share --score share |
        toks vote -q --score share --as score | records | jq -se 'all(.score == .share)'
    sed 's/answer/reply/; s/prompt/team/' in.jsonl | toks vote -q --by reply --group team | records | jq -c .score |
        cmp - <(records <out.toks | jq -c .score)
}

@test "vote: other streams vote too, and are not written" {
    answers >in.jsonl
    answers | grep -v '"id":"[bg]"' | sed 's/"answer":"7"/"answer":"8"/; s/"id":"/"id":"t/' >teacher.jsonl
    # p: 7 7 8 and 8 8 8; q: x y and nothing.
    [ "$(toks vote -q --with teacher.jsonl in.jsonl | records | jq -c .score | paste -sd' ')" = '0 0.5 0 1 0 0 0.5' ]
    # One sample of a prompt is enough then.
    { head -1 in.jsonl && sed -n 2p in.jsonl; } >one.jsonl
    [ "$(toks vote -q --with teacher.jsonl one.jsonl | records | jq -c .score)" = 0 ]
    [ "$(toks vote -q --with in.jsonl --with in.jsonl --score share one.jsonl | records | jq -c '.score * 7 | round')" = 5 ]
}

@test "vote: a batch is a step, and leaves when it is whole" {
    { answers && answers | tail -n +2 | sed 's/"7"/"8"/; s/"id":"/"id":"x/'; } |
        jq -c 'if .id then .step = (if .id | startswith("x") then 8 else 7 end) else . end' | toks view -b -o two.toks
    [ "$(toks vote -q two.toks | records | jq -c .score | paste -sd' ')" = '1 0.5 1 0 0 0 0.5 1 0.5 1 1 0 0 0.5' ]
    # A prompt that is alone in its step.
    toks view two.toks | jq -c 'if .id == "a" then .step = 6 else . end' >alone.jsonl
    run -1 toks vote -q alone.jsonl -o out
    [ "$output" = 'toks vote: alone.jsonl: prompt `p` has one sample; a vote needs two or more' ]
    [ ! -e out ]
    # Steps of a frame and more.
    awk 'BEGIN {
        print "{\"densepath\":1}"
        for (step = 1; step <= 3; step++)
            for (i = 0; i < (step == 1 ? 65536 : step == 2 ? 65540 : 8); i++)
                printf "{\"id\":\"%d-%d\",\"token\":[1],\"mask\":[1],\"answer\":\"%d\",\"prompt\":\"p%d\",\"step\":%d}\n", \
                    step, i, i * 7919 % 31 % 3, step == 3 ? i % 4 : i % 16384, step
    }' >all.jsonl
    toks vote -q all.jsonl | records >all
    for step in 1 2 3; do
        { head -1 all.jsonl && grep "\"step\":$step" all.jsonl; } | toks vote -q | records
    done | cmp all -
}

@test "vote: a group of one, columns that are missing" {
    answers | sed '$d' | sed '$d' | sed '$d' >in.jsonl
    run -1 toks vote -q in.jsonl -o out
    [ "$output" = 'toks vote: in.jsonl: prompt `q` has one sample; a vote needs two or more' ]
    answers >in.jsonl
    for options in '--by reply' '--by token' '--group team' '--as prompt'; do
        # shellcheck disable=SC2086
        run -3 toks vote $options in.jsonl -o out
        [ "${#lines[@]}" -eq 1 ]
    done
    jq -c 'del(.answer)' in.jsonl >none.jsonl
    run -3 toks vote --with none.jsonl in.jsonl -o out
    [[ $output == *"none.jsonl"*"answer"* ]]
    run -2 toks vote --score most in.jsonl
    toks view -b in.jsonl | head -c -5 >cut.toks
    run -3 toks vote cut.toks -o out
    [ ! -e out ]
}

# ---- toks steps, toks gain

# Two sums that were worked out, and one refusal.
sums() {
    {
        printf '%s\n' '{"id":"a","prompt":"347+685=","completion":"7+5+0=12,4+8+1=13,3+6+1=10;1032","gold":"1032"}' \
            '{"id":"b","prompt":"500+511=","completion":"no,","gold":"1011"}' \
            '{"id":"c","prompt":"1=","completion":"x","gold":"1"}'
    } | tok -q -m "$model" --keep-columns gold
}

@test "steps: a record a step, the answer behind it" {
    sums >in.toks
    run -0 --separate-stderr toks steps -m "$model" --end , --lead ';' in.toks -o out.toks
    [[ $stderr == *"3 records, 3 steps; 1 records have none" ]]
    toks view out.toks | jq -r 'select(.id) | [.id, .record, .steps, .taken, (.token | length), (.mask | add)] | @csv' |
        tr -d '"' | paste -sd' ' >got
    cat got
    # 8 characters of the prompt, 9 a step; the lead is one, the answer four.
    [ "$(cat got)" = 'a+0,a,0,8,13,4 a+1,a,1,17,22,4 a+2,a,2,26,31,4 b+0,b,0,8,13,4 b+1,b,1,11,16,4 c+0,c,0,2,4,1' ]
    [ "$(tok -q -d -m "$model" out.toks | jq -r '.prompt + "|" + .completion' | sed -n 2p)" = '347+685=7+5+0=12,;|1032' ]
    # Marks by hand give the same.
    toks view in.toks | jq -c --argjson comma "$(echo '{"text":","}' | tok -q -m "$model" | toks view | tail -1 | jq '.token[0]')" '
        if .columns then .columns += [{name: "ends", type: "u8", per: "token"}]
        else .ends = (.token | map(if . == $comma then 1 else 0 end)) end' |
        toks steps -q -m "$model" --marks ends --lead ';' | records | cmp - <(records <out.toks)
    # A line break is what ends a step unless said otherwise.
    toks steps -q -m "$model" in.toks | records | jq -se 'map(.steps) == [0, 0, 0]'
}

@test "steps: no gold answer, no marks, a foreign tokenizer" {
    sums >in.toks
    run -3 toks steps -m "$model" --gold right in.toks -o out
    [[ $output == *'right'* ]]
    run -3 toks steps -m "$model" --marks ends in.toks -o out
    [[ $output == *'ends'* ]]
    toks view in.toks | jq -c 'if .id == "b" then .gold = "" else . end' >none.jsonl
    run -1 toks steps -m "$model" none.jsonl -o out
    [ "$output" = 'toks steps: none.jsonl: record `b`: no gold answer in `gold`' ]
    toks view in.toks | jq -c 'if .columns then .tokenizer = "xxh3:0000000000000001" else . end' >other.jsonl
    run -3 toks steps -m "$model" other.jsonl -o out
    [[ $output == *okenizer* ]]
    run -2 toks steps in.toks
    run -2 toks steps -m "$model" --marks ends --end , in.toks
    run -2 toks steps -m "$model" --end '' in.toks
    [ ! -e out ]
}

@test "gain: what a model says of the answers; streams that do not belong together" {
    model init -q "$model" -o base --seed 3
    sums >in.toks
    toks steps -q -m base --end , --lead ';' in.toks | logprob -q -m base --as self -o scored.toks
    toks gain --logp self in.toks scored.toks -o out.toks
    # The same by hand.
    records <scored.toks | jq -sc 'map({record, taken, l: ([.["logp:self"][] | numbers] | add / length)})
        | group_by(.record) | map(reduce .[1:][] as $s ({h: .[0].l, sum: 0, g: []};
            ([0, $s.l - .h] | max) as $gain | .h += $gain | .sum += $gain | .g += [[$s.taken - 1, $gain]]))' >hand
    records <out.toks | jq -se --slurpfile hand hand '
        def near(a; b): (a - b | fabs) < 1e-5;
        . as $out | all(range(3); . as $i | $hand[0][$i] as $h | $out[$i]
            | near(.gain; $h.sum) and near([.reward[] | numbers] | add; $h.sum)
              and all($h.g[]; . as $g | near($out[$i].reward[$g[0]]; $g[1]))
              and all(range(.mask | length) as $t | [.mask[$t], .reward[$t]]; (.[0] == 0) == (.[1] == null)))'
    # The order of records, one too few, one too many, other tokens, no scores.
    toks head -n 2 in.toks >two.toks
    run -3 toks gain --logp self two.toks scored.toks -o bad
    [[ $output == *'scored.toks: record `c+0`'* ]]
    toks head -n 5 scored.toks >five.toks
    run -3 toks gain --logp self in.toks five.toks -o bad
    [[ $output == *'in.toks: record `c`'* ]]
    toks view in.toks >view
    { sed -n 1p view && sed -n 3p view && sed -n 2p view && sed -n 4p view; } >order.jsonl
    run -3 toks gain --logp self order.jsonl scored.toks -o bad
    [[ $output == *'order.jsonl: record `b`'* ]]
    toks view in.toks | jq -c 'if .id == "a" then .token[9] = 1 else . end' >tokens.jsonl
    run -3 toks gain --logp self tokens.jsonl scored.toks -o bad
    [[ $output == *'scored.toks: record `a+1`: its tokens'* ]]
    toks view in.toks | jq -c 'if .id == "a" then .mask[16] = 0 else . end' >mask.jsonl
    run -3 toks gain --logp self mask.jsonl scored.toks -o bad
    [[ $output == *'not trained'* ]]
    run -3 toks gain --logp other in.toks scored.toks -o bad
    [[ $output == *'logp:other'* ]]
    toks view scored.toks | jq -c 'if .id == "b+1" then .["logp:self"] |= map(null) else . end' >null.jsonl
    run -1 toks gain --logp self in.toks null.jsonl -o bad
    [[ $output == *'record `b+1`'* ]]
    run -2 toks gain in.toks scored.toks
    [ ! -e bad ]
    # A record without trained tokens has neither steps nor gain.
    toks view in.toks | jq -c 'if .id == "b" then .mask |= map(0) else . end' | toks view -b -o idle.toks
    toks steps -q -m base --end , idle.toks | logprob -q -m base --as self -o idle-scored.toks
    toks gain --logp self idle.toks idle-scored.toks | records | jq -se '.[1].gain == null and .[0].gain >= 0'
}

# ---- toks prefix, dense-reward --prefix

demos() {
    sums | toks view | jq -c 'if .columns then .columns += [{name: "step", type: "u32", per: "sequence"}]
        else .step = 3 end' | toks view -b
}

@test "prefix: groups, shares that fall, the demonstrations again and again" {
    demos >in.toks
    toks prefix -q -n 4 --prefixed 2 --batch-size 2 --steps 40 --seed 5 in.toks >out.toks
    records <out.toks >out
    [ "$(wc -l <out)" -eq 320 ]
    [ "$(cut -d, -f1 out | sort -u | wc -l)" -eq 320 ]
    jq -se 'map(.group) | [.[0], .[4], .[8], .[12], .[24]] == ["a", "b", "c", "a.1", "a.2"]' out
    jq -se 'all(.gold | IN("1032", "1011", "1")) and all(has("mask") or has("step") | not)' out
    jq -se '[range(0; 320; 4) as $i | .[$i:$i + 4] | (.[0].prefix == 0) and (.[1].prefix == 0)
        and (map(.group) | unique | length) == 1] | all' out
    # Each prompt is the beginning of its demonstration.
    records <in.toks | jq -sc 'map({key: .id, value: .}) | from_entries' >by-id
    jq -se --slurpfile d by-id 'all($d[0][.group | split(".")[0]] as $y | (.token | length) as $n
        | .token == $y.token[:$n] and $n == ([$y.mask[] | select(. == 0)] | length) + .prefix
          and $n < ($y.token | length))' out
    # Of a completion of 31 tokens and the end: at most .95, late ones short too.
    jq -se 'map(select(.group | startswith("a"))) as $a | ($a | map(.prefix) | max) <= 30
        and ([$a[:8][] | select(.prefix > 0).prefix] | min) >= 25
        and ([$a[-40:][] | select(.id | endswith("~3")).prefix] | min) < 15' out
    # The same seed, the same prefixes; another one, others; without --steps each once.
    toks prefix -q -n 4 --prefixed 2 --batch-size 2 --steps 40 --seed 5 in.toks | records | cmp - out
    toks prefix -q -n 4 --prefixed 2 --batch-size 2 --steps 40 --seed 6 in.toks | records >other
    run ! cmp -s other out
    [ "$(toks prefix -q -n 3 in.toks | records | jq -c .group | uniq -c | awk '{ print $1 $2 }' | paste -sd' ')" = '3"a" 3"b" 3"c"' ]
}

@test "prefix: nothing to begin with, bad options" {
    demos | toks view | jq -c 'if .id == "b" then .mask |= map(0) else . end' >idle.jsonl
    run -1 toks prefix idle.jsonl -o out
    [[ $output == *'record `b` has no trained tokens'* ]]
    demos | toks view | jq -c 'del(.mask) | if .columns then .columns |= map(select(.name != "mask")) else . end' >bare.jsonl
    run -3 toks prefix bare.jsonl -o out
    demos | toks view | head -1 >empty.jsonl
    run -1 toks prefix --steps 2 empty.jsonl -o out
    run -2 toks prefix -n 2 --prefixed 2 idle.jsonl
    run -2 toks prefix --low 0.9 --high 0.5 idle.jsonl
    [ ! -e out ]
}

# Two groups of two and three samples; one of each goes on from a prefix.
prefixed() {
    cat <<'END'
{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},{"name":"entropy:m","type":"f32","per":"token"},{"name":"group","type":"string","per":"sequence"},{"name":"prefix","type":"u32","per":"sequence"},{"name":"score","type":"f32","per":"sequence"}]}
{"id":"a","token":[1,2,3],"mask":[0,0,1],"entropy:m":[null,null,null],"group":"p","prefix":0,"score":1}
{"id":"b","token":[1,2,3,4,5,6,7,8],"mask":[0,0,0,0,0,0,1,1],"entropy:m":[null,9,1,3,3,2,9,9],"group":"p","prefix":4,"score":4}
{"id":"c","token":[1,3],"mask":[0,1],"entropy:m":[null,null],"group":"q","prefix":0,"score":2}
{"id":"d","token":[1,2,3],"mask":[0,0,1],"entropy:m":[null,1,null],"group":"q","prefix":1,"score":0}
{"id":"e","token":[1,3],"mask":[0,1],"entropy:m":[null,null],"group":"q","prefix":0,"score":4}
END
}

@test "dense-reward --prefix: the uncertain tokens of a prefix are trained" {
    options=(-q --reward score --credit sequence --group group --baseline prompt --prefix prefix --prefix-entropy entropy:m)
    prefixed | dense-reward "${options[@]}" | records >out
    # b: 4 - 1 over 2 samples; d: 0 - 3 over 3; one token of four, one of one.
    jq -sc 'map(.mask)' out >mask
    [ "$(cat mask)" = '[[0,0,1],[0,0,0,1,0,0,1,1],[0,1],[0,1,1],[0,1]]' ]
    [ "$(jq -sc 'map(.advantage)' out)" = \
        '[[null,null,-1.5],[null,null,null,1.5,null,null,1.5,1.5],[null,0],[null,-1,-2],[null,2]]' ]
    [ "$(jq -sc '.[1].reward' out)" = '[null,null,null,0,null,null,0,4]' ]
    prefixed | dense-reward "${options[@]}" --prefix-share 0.6 | records |
        jq -sce '.[1] | .mask == [0,0,0,1,1,0,1,1] and .advantage[4] == 1.5'
    prefixed | dense-reward "${options[@]}" --prefix-share 0 | records | jq -sce 'map(.mask[-2]) == [0,1,0,0,0]'
    # The prefix's credit does not depend on the baseline.
    prefixed | dense-reward "${options[@]}" --baseline none | records | jq -sce '.[1].advantage[3] == 1.5'
    # Nothing but prefixes, more prefix than there is, no entropy.
    prefixed | sed '/"id":"a"/d' >in.jsonl
    run -1 dense-reward "${options[@]}" in.jsonl -o bad
    [[ $output == *'record `b`: has a prefix, but its group'* ]]
    prefixed | sed 's/"prefix":4/"prefix":6/' >in.jsonl
    run -1 dense-reward "${options[@]}" in.jsonl -o bad
    [[ $output == *'record `b`: `prefix` is 6, but 6 tokens'* ]]
    prefixed | sed 's/9,1,3,3,2/9,1,null,3,2/' >in.jsonl
    run -1 dense-reward "${options[@]}" in.jsonl -o bad
    [[ $output == *'record `b`: token 3 is of the prefix'* ]]
    prefixed | sed 's/,"prefix":[0-9]//; s/{"name":"prefix","type":"u32","per":"sequence"},//' >in.jsonl
    run -3 dense-reward "${options[@]}" in.jsonl -o bad
    run -2 dense-reward --reward score --prefix prefix in.jsonl
    [ ! -e bad ]
}

# ---- pipelines

P=$BATS_TEST_DIRNAME/../pipelines

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    PATH=$(cd "$BIN" && pwd):$PATH
    "$P/tasks/annotators/generate" --n 48 --seed 1 |
        jq -c '.gold = (.prompt | rtrimstr("=") | split("+") | map(tonumber) | add | tostring)' >demos.jsonl
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24' "$P/tasks/annotators/model/config.json" >config
    cp -r "$P/tasks/annotators/model" shape && mv config shape/config.json
    model init -q shape -o base --seed 1
    tok -q -m base demos.jsonl | sft-train -q -m base -o sft --batch-size 8 --learning-rate 1e-2 --max-steps 20
}

few=(--steps 2 --batch-size 3 --max-new-tokens 6 --learning-rate 1e-3 --threads 1)

@test "pipelines: usage" {
    D=$BATS_FILE_TMPDIR
    for name in vote mig prefix-rft; do
        run -0 "$P/$name" --help
        [[ ${lines[0]} == "Usage: $name "* ]]
        run -2 "$P/$name" --nothing
        [ "${#lines[@]}" -eq 1 ]
        run -2 "$P/$name" -m "$D/sft" -o x
        run -1 "$P/$name" -m nowhere -o x --score true --answer true "$D/demos.jsonl" 2>&1 || true
    done
    run -2 "$P/vote" -m "$D/sft" -o x "$D/demos.jsonl"
    run -2 "$P/vote" -m "$D/sft" -o x --answer cat -n 1 "$D/demos.jsonl"
    run -2 "$P/prefix-rft" -m "$D/sft" -o x --score cat -n 2 --prefixed 2 "$D/demos.jsonl"
    [ -z "$(ls)" ]
}

@test "vote: the reward is the vote; a run that goes on; a teacher" {
    D=$BATS_FILE_TMPDIR
    answer='jq -c ".answer = .completion[:1]"'
    "$P/vote" -m "$D/sft" -o out --answer "$answer" -n 4 "${few[@]}" --metrics m.jsonl "$D/demos.jsonl"
    [ "$(jq .generation out/densepath.json)" -eq 2 ]
    [ "$(jq -s length m.jsonl)" -eq 2 ]
    # Samples of the second update are those of the first one's policy, and scored by hand.
    records <out.rounds/2.toks >second
    jq -se 'length == 12 and all(.generation == 1) and all(.step == 1)' second
    tok -q -d -m "$D/sft" out.rounds/2.toks | jq -r '.completion[:1]' | paste - <(jq -c '[.prompt, .score]' second) |
        jq -Rn '[inputs | split("\t") | {a: .[0], p: (.[1] | fromjson)}] | group_by(.p[0]) | all(
            (map(.a) | group_by(.) | map({key: .[0], value: length}) | from_entries | del(.[""])) as $n
            | ($n | to_entries | map(.value) | max) as $top | ([$n[] | select(. == $top)] | length) as $ties
            | all((.p[1] - (if $n[.a] == $top and .a != "" then 1 / $ties else 0 end) | fabs) < 1e-6))' | grep -qx true
    "$P/vote" -m "$D/sft" -o again --answer "$answer" -n 4 "${few[@]}" --steps 1 "$D/demos.jsonl"
    "$P/vote" -m "$D/sft" -o again --answer "$answer" -n 4 "${few[@]}" --resume "$D/demos.jsonl"
    cmp out/model.safetensors again/model.safetensors
    # With a teacher one sample a prompt will do.
    "$P/vote" -m "$D/sft" -o taught --answer "$answer" -n 1 --teacher "$D/base" --teacher-num-generations 2 \
        --baseline batch "${few[@]}" "$D/demos.jsonl"
    [ "$(jq .generation taught/densepath.json)" -eq 2 ]
}

@test "vote, prefix-rft: commands that die, drop or reorder records leave no policy behind" {
    D=$BATS_FILE_TMPDIR
    for command in false 'cat; false' 'tac' 'head -n 5' 'true' 'echo {'; do
        run ! "$P/vote" -m "$D/sft" -o out --answer "$command" -n 2 "${few[@]}" "$D/demos.jsonl"
        [[ ${lines[-1]} == "vote: "* ]]
        run ! "$P/prefix-rft" -m "$D/sft" -o out --score "$command" -n 2 "${few[@]}" "$D/demos.jsonl"
        [[ ${lines[-1]} == "prefix-rft: "* ]]
        [ ! -e out ]
    done
    run ! "$P/prefix-rft" -m "$D/sft" -o out --score cat -n 2 "${few[@]}" "$D/demos.jsonl"
    [[ $output == *"the answer has no \`score\`"* ]]
    # No answer at all is no error: nothing is learned.
    "$P/vote" -m "$D/sft" -o none --answer 'jq -c ".answer = null"' -n 2 "${few[@]}" "$D/demos.jsonl"
    model diff -q none "$D/sft"
}

@test "mig: gains as by hand; no gold answer" {
    D=$BATS_FILE_TMPDIR
    "$P/mig" -m "$D/sft" -o out --end , --lead ';' -n 2 "${few[@]}" "$D/demos.jsonl"
    toks steps -q -m "$D/sft" --end , --lead ';' out.rounds/1.toks | logprob -q -m "$D/sft" --as self -o scored.toks
    toks gain --logp self out.rounds/1.toks scored.toks | records | jq -c .gain |
        cmp - <(records <out.rounds/1.toks | jq -c .gain)
    records <out.rounds/1.toks | jq -se 'length == 6 and all(([.reward[] | numbers] | add) - .gain | fabs < 1e-5)'
    # The outcome too.
    "$P/mig" -m "$D/sft" -o both --end , --lead ';' --alpha 0.25 --score 'jq -c ".score = 8"' -n 2 "${few[@]}" "$D/demos.jsonl"
    records <both.rounds/1.toks | jq -se 'all(([.reward[] | numbers] | add) - (.gain / 4 + 6) | fabs < 1e-5)'
    jq -c 'del(.gold)' "$D/demos.jsonl" >bare.jsonl
    run ! "$P/mig" -m "$D/sft" -o none "${few[@]}" bare.jsonl
    [[ $output == *gold* ]]
    jq -c '.gold = ""' "$D/demos.jsonl" >empty.jsonl
    run ! "$P/mig" -m "$D/sft" -o none "${few[@]}" empty.jsonl
    [[ $output == *"no gold answer"* ]]
    [ ! -e none ]
}

@test "prefix-rft: a demonstration's tokens are judged and trained with what follows them" {
    D=$BATS_FILE_TMPDIR
    "$P/prefix-rft" -m "$D/sft" -o out --score 'jq -c ".score = (.completion | length)"' -n 3 "${few[@]}" "$D/demos.jsonl"
    records <out.rounds/1.toks >first
    jq -se 'length == 9 and ([.[] | select(.prefix > 0)] | length) == 3' first
    # A character is a token, but for the first three: the score is that of the prefix and what was drawn.
    jq -se 'all((.prefix + ([.["logp:rollout"][] | numbers] | length)) as $n
        | .score == ([.token[-$n:][] | select(. > 2)] | length))' first
    jq -se '.[] | select(.prefix > 0) | . as $r | ([.["logp:rollout"] | to_entries[] | select(.value != null).key][0]) as $at
        | [range($at - .prefix; $at) | select($r.mask[.] == 1)] as $chosen
        | ($chosen | length) == ([(.prefix * 0.2 | round), 1] | max)
          and ([$chosen[] | $r["entropy:old"][.]] | min) >= ([range($at - .prefix; $at) | select($r.mask[.] == 0)
              | $r["entropy:old"][.]] | max // -1)' first
    run ! cmp -s out/model.safetensors "$D/sft/model.safetensors"
}
