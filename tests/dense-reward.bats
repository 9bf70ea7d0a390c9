#!/usr/bin/env bats
# dense-reward: rewards, returns, advantages; batches; refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2086,SC2154
bats_require_minimum_version 1.5.0
load helpers

# The paper's formula, in place of what is the default.
paper=(--floor 0 --baseline none)

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    methods=$SHARED/golden/methods/methods.json
}

# Two prompts with two samples each; lengths differ, prompts are interleaved.
small() {
    cat <<'END'
{"densepath":1}
{"id":"a","token":[5,6,7],"mask":[0,1,1],"logp:s":[null,-1,-2],"logp:h":[null,-3,-1],"prompt":"p","score":3}
{"id":"b","token":[5,6],"mask":[0,1],"logp:s":[null,-1],"logp:h":[null,-8],"prompt":"q","score":1}
{"id":"c","token":[5,6],"mask":[0,1],"logp:s":[null,-2],"logp:h":[null,-6],"prompt":"p","score":0}
{"id":"d","token":[5,6],"mask":[0,1],"logp:s":[null,-1],"logp:h":[null,-4],"prompt":"q","score":2}
END
}

# COLUMN [OPTION...]: the column of every record of `small` after dense-reward with the options
column() {
    local name=$1
    shift
    small | "$BIN/dense-reward" -q "${paper[@]}" "$@" s h | "$BIN/toks" view | jq -c ".[\"$name\"] // empty"
}

expect() { # COLUMN VALUES [OPTION...]
    local name=$1 values=$2
    shift 2
    run bash -o pipefail -c "$(declare -f small column); paper=(${paper[*]}); BIN='$BIN'; column '$name' $* | jq -sc ."
    [ "$status" -eq 0 ]
    jq -ne --argjson got "$output" --argjson want "$values" '
        [$got, $want | flatten] | transpose
        | all(.[0] == .[1] or ((.[0] - .[1]) | fabs) < 1e-6)' >/dev/null || {
        echo "got $output, not $values"
        false
    }
}

# The models' log-probabilities of the golden samples as a twin.
golden() {
    jq -c '{densepath: 1},
        (.samples[] | . as $s | ([range(.n_prompt)] | map(null)) as $p |
         {id: "\(.prompt)/\(.sample)", token: .tokens,
          mask: [(range($s.n_prompt) | 0), ($s.lp_sft[] | 1)],
          "logp:sft": ($p + .lp_sft), "logp:half": ($p + .lp_half),
          "logp:policy": ($p + .lp_policy), "logp:zero": ($p + (.lp_sft | map(0))),
          prompt: "prompt \(.prompt)"})' "$methods"
}

# FILTER SIGN COLUMN [ARGUMENT...]: the trained values of COLUMN are SIGN * FILTER of each sample
golden_column() {
    local filter=$1 sign=$2 name=$3
    shift 3
    golden | "$BIN/dense-reward" -q "${paper[@]}" "$@" | "$BIN/toks" view | tail -n +2 |
        jq -sce --arg name "$name" --argjson sign "$sign" --slurpfile m "$methods" "
            [.[] | [.[\$name], .mask] | transpose[] | select(.[1] == 1)[0]] as \$got
            | [\$m[0].samples[] | $filter | .[] * \$sign] as \$want
            | (\$got | length) == \$m[0].n_trained and (\$want | length) == \$m[0].n_trained
              and ([\$got, \$want] | transpose | all((.[0] - .[1] | fabs) < 5e-6))" >/dev/null || {
        echo "$filter is wrong with: $*"
        return 1
    }
}

@test "golden: rewards, several references" {
    need "$methods"
    golden_column .reward 1 reward sft half
    golden_column .lp_two_references -1 reward zero sft,half
    golden_column .lp_sft 1 reward sft none
}

@test "golden: returns of every credit" {
    need "$methods"
    local gamma checked=0
    for gamma in $(jq -r '.samples[0].credit | keys[] | select(startswith("gamma_")) | ltrimstr("gamma_")' "$methods"); do
        golden_column ".credit[\"gamma_$gamma\"]" 1 return --gamma "$gamma" sft half
        checked=$((checked + 1))
    done
    [ "$checked" -ge 4 ]
    golden_column '.credit.gamma_1' 1 return sft half
    golden_column '.credit.sequence' 1 return --credit sequence sft half
    golden_column '.credit.uniform' 1 return --credit uniform sft half
    golden_column '.credit.last' 1 return --credit last sft half
    golden_column '.credit.gamma_1' 1 advantage sft half
}

@test "golden: advantages of every baseline and whitening" {
    need "$methods"
    golden_column .advantage.batch_center 1 advantage --baseline batch sft half
    golden_column .advantage.batch_whiten_population 1 advantage --whiten batch sft half
    golden_column .advantage.batch_whiten_sample 1 advantage --whiten batch --variance sample sft half
    golden_column .advantage.group_center_tokens 1 advantage --baseline prompt-tokens sft half
    golden_column .advantage.group_whiten_tokens 1 advantage --whiten prompt sft half
    golden_column .advantage.group_center_return 1 advantage --baseline prompt sft half
    golden_column .advantage.rloo 1 advantage --baseline loo sft half
    golden_column .advantage.group_center_position 1 advantage --baseline position sft half
    golden_column .advantage.grpo 1 advantage --credit sequence --whiten grpo sft half
}

@test "golden: soft rewards" {
    need "$methods"
    golden() { # with the values of states
        jq -c '{densepath: 1, columns: [{name: "id", type: "string", per: "sequence"},
            {name: "token", type: "u32", per: "token"}, {name: "mask", type: "u8", per: "token"},
            {name: "logp:sft", type: "f32", per: "token"}, {name: "q:sft", type: "f32", per: "token"},
            {name: "value:sft", type: "f32", per: "token"}, {name: "value-end:sft", type: "f32", per: "sequence"}]},
            (.samples[] | . as $s | ([range(.n_prompt)] | map(null)) as $p |
            {id: "\(.prompt)/\(.sample)", token: .tokens, mask: [(range($s.n_prompt) | 0), ($s.lp_sft[] | 1)],
             "logp:sft": ($p + .lp_sft), "q:sft": ($p + .q_sft), "value:sft": ($p + .v_sft[:-1]),
             "value-end:sft": .v_sft[-1]})' "$methods"
    }
    local gamma checked=0
    for gamma in $(jq -r '.samples[0] | keys[] | select(startswith("soft_reward_gamma_")) | ltrimstr("soft_reward_gamma_")' "$methods"); do
        golden_column ".[\"soft_reward_gamma_$gamma\"]" 1 reward --soft --gamma "$gamma" sft
        checked=$((checked + 1))
    done
    [ "$checked" -ge 2 ]
}

@test "--soft: logit less the value of the next state" {
    cat >values <<'END'
{"densepath":1}
{"id":"a","token":[5,6,7,8,9],"mask":[0,1,0,1,1],"logp:s":[null,-1,null,-1,-1],"q:s":[null,3,null,5,6],"value:s":[null,4,10,6,7],"value-end:s":2}
END
    soft=("$BIN/dense-reward" -q "${paper[@]}" --soft)
    "${soft[@]}" s <values | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.reward) == [[null,-7,null,-2,4]] and map(.return) == [[null,-5,null,2,4]]'
    "${soft[@]}" --gamma 0.5 s values | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.reward) == [[null,-2,null,1.5,5]] and map(.return) == [[null,0,null,4,5]]'
    "${soft[@]}" --clip-reward -3,3 s values | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.reward) == [[null,-3,null,-2,3]]'
    # A state without a value, behind a token or at the end; columns that are not there.
    sed 's/\[null,4,10,6,7\]/[null,4,null,6,7]/' values >gap
    sed 's/"value-end:s":2/"value-end:s":null/' values >open
    sed 's/"q:s":\[null,3/"q:s":[null,null/' values >noq
    sed 's/"q:s"/"p:s"/' values >noq_column
    sed 's/"value:s"/"v:s"/' values >novalue
    sed 's/"value-end:s"/"end:s"/' values >noend
    while read -r want input pattern; do
        run --separate-stderr "${soft[@]}" -o out s "$input"
        [ "$status" -eq "$want" ] && [[ $stderr =~ $pattern ]] || { echo "$input: $stderr"; return 1; }
        [ ! -e out ]
    done <<'END'
1 gap gap.*`a`.*token.1.*`value:s`.behind.it
1 open open.*`a`.*token.4.*`value-end:s`
1 noq noq.*`a`.*token.1.*`q:s`
3 noq_column noq_column.*`q:s`
3 novalue novalue.*`value:s`
3 noend noend.*`value-end:s`
END
    for o in "s h values" "--floor 0.1 s values" "--min-logp -3 s values"; do
        run "${soft[@]}" $o
        [ "$status" -eq 2 ]
    done
    run "$BIN/dense-reward" "${paper[@]}" s
    [ "$status" -eq 2 ]
    [[ $output == *REFERENCE* ]]
}

@test "rewards and returns by hand; untrained tokens are null" {
    expect reward '[[null,2,-1],[null,7],[null,4],[null,3]]'
    expect return '[[null,1,-1],[null,7],[null,4],[null,3]]'
    expect advantage '[[null,1,-1],[null,7],[null,4],[null,3]]'
}

@test "--floor, --clip-reward, --min-logp" {
    # -1 - log(e^-3 + 0.5) and so on
    expect reward '[[null,-0.4017758,-1.8582976],[null,-0.3075235],[null,-1.3117981],[null,-0.3428291]]' --floor 0.5
    expect reward '[[null,2,0],[null,3],[null,3],[null,3]]' --clip-reward 0,3
    expect reward '[[null,2,-1],[null,7],[null,0],[null,3]]' --min-logp -1.5
}

@test "--mix with a column of tokens and one of sequences" {
    expect reward '[[null,1,1],[null,4],[null,2],[null,2.5]]' --mix 0.5:score
    expect reward '[[null,0.5,-1.5],[null,3],[null,1],[null,1]]' --mix 0.5:logp:s
}

@test "--kl takes the drift of the sampling policy from the reward" {
    small | jq -c 'if .id then .["logp:rollout"] = (.["logp:s"] | map(if . then . + 0.25 else null end))
                   else . end' |
        "$BIN/dense-reward" -q "${paper[@]}" --kl s:2 s h | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.reward) == [[null,1.5,-1.5],[null,6.5],[null,3.5],[null,2.5]]'
    # Two models at once.
    small | jq -c 'if .id then .["logp:rollout"] = .["logp:s"] else . end' |
        "$BIN/dense-reward" -q "${paper[@]}" --kl s:5 --kl h:0.5 s h | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.reward) == [[null,1,-0.5],[null,3.5],[null,2],[null,1.5]]'
}

@test "--reward takes a column of tokens or of sequences, and no models" {
    small | "$BIN/dense-reward" -q "${paper[@]}" s h -o first.toks
    "$BIN/toks" view first.toks | tail -n +2 >first
    # The reward that is there, written over by itself; and under another name.
    "$BIN/dense-reward" -q "${paper[@]}" --reward reward first.toks | "$BIN/toks" view | tail -n +2 | cmp first -
    small | jq -c 'if .id then .x = [0, 1, 2][:(.token | length)] else . end' >x.jsonl
    reward() {
        "$BIN/dense-reward" -q "${paper[@]}" "$@" | "$BIN/toks" view | tail -n +2 | jq -sc 'map(.reward)'
    }
    [ "$(reward --reward x x.jsonl)" = '[[null,1,2],[null,1],[null,1],[null,1]]' ]
    [ "$(reward --reward score <x.jsonl)" = '[[null,0,3],[null,1],[null,0],[null,2]]' ]
    [ "$(reward --reward score --clip-reward 0.5,2 x.jsonl)" = '[[null,0.5,2],[null,1],[null,0.5],[null,2]]' ]
    [ "$(reward --reward x --mix 0.25:score x.jsonl)" = '[[null,0.25,2.75],[null,1],[null,0.25],[null,1.75]]' ]
    # No logp column and no prompt is needed.
    jq -c 'del(.["logp:s"], .["logp:h"], .prompt)' x.jsonl >bare.jsonl
    [ "$(reward --reward score bare.jsonl)" = '[[null,0,3],[null,1],[null,0],[null,2]]' ]
    "$BIN/dense-reward" -q "${paper[@]}" --reward score --baseline loo x.jsonl | "$BIN/toks" view | tail -n +2 |
        jq -sce 'map(.advantage) == [[null,3,3],[null,-1],[null,-3],[null,1]]'
    # Nulls, texts, absent columns.
    jq -c 'if .id == "b" then .x[1] = null else . end' x.jsonl >null.jsonl
    run "$BIN/dense-reward" "${paper[@]}" --reward x null.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `b`: token 1 is trained, but its `x` is null' ]]
    for column in prompt absent; do
        run "$BIN/dense-reward" "${paper[@]}" --reward $column x.jsonl -o out
        [ "$status" -eq 3 ]
        [[ $output == *"$column"* ]]
    done
    [ ! -e out ]
}

@test "--group: another column tells the prompts apart" {
    small | jq -c 'if .id then .team = (if .id == "a" or .id == "b" then 7 else 4294967295 end) else . end' >in.jsonl
    jq -c 'if .id then .team |= tostring else . end' in.jsonl >text.jsonl
    { echo '{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},{"name":"score","type":"f32","per":"sequence"},{"name":"team","type":"u32","per":"sequence"}]}'
        tail -n +2 in.jsonl | jq -c '{id, token, mask, score, team}'; } >number.jsonl
    for file in text number; do
        "$BIN/dense-reward" -q "${paper[@]}" --reward score --group team --baseline loo $file.jsonl | "$BIN/toks" view |
            tail -n +2 | jq -sce 'map(.advantage) == [[null,2,2],[null,-2],[null,-2],[null,2]]'
    done
    run "$BIN/dense-reward" "${paper[@]}" --reward score --group nothing --baseline loo text.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == *nothing* ]]
}

@test "--credit attention shares the sum out" {
    small | jq -c 'if .id then .w = [9, 1, 3][:(.token | length)] else . end' >in.jsonl
    share() { # COLUMN OPTION...
        local column=$1
        shift
        "$BIN/dense-reward" -q "${paper[@]}" --credit attention "$@" in.jsonl | "$BIN/toks" view | tail -n +2 |
            jq -sc "map(.$column)"
    }
    [ "$(share reward --reward score --attention w --beta 0.5)" = '[[null,0.375,2.625],[null,1],[null,0],[null,2]]' ]
    [ "$(share return --reward score --attention w --beta 0.5)" = '[[null,3,2.625],[null,1],[null,0],[null,2]]' ]
    [ "$(share reward --reward score --attention uniform --beta 1)" = '[[null,1.5,1.5],[null,1],[null,0],[null,2]]' ]
    # The sum of any reward: here 1 of the dense one.
    [ "$(share reward --attention w --beta 1 s h)" = '[[null,0.25,0.75],[null,7],[null,4],[null,3]]' ]
    [ "$(share return --attention w --beta 1 --gamma 0.5 s h)" = '[[null,0.625,0.75],[null,7],[null,4],[null,3]]' ]
    for bad in '-1' null '1e999'; do
        jq -c --argjson w "[9,1,$bad]" 'if .id == "a" then .w = $w else . end' in.jsonl >bad.jsonl
        run "$BIN/dense-reward" "${paper[@]}" --credit attention --attention w --reward score bad.jsonl -o out
        [ "$status" -eq 1 ]
        [[ $output == *'record `a`'*'`w`'* ]]
    done
    jq -c 'if .id == "a" then .w = [1,0,0] else . end' in.jsonl >bad.jsonl
    run "$BIN/dense-reward" "${paper[@]}" --credit attention --attention w --reward score bad.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `a`'*'is 0'* ]]
    for column in absent score; do
        run "$BIN/dense-reward" "${paper[@]}" --credit attention --attention $column --reward score in.jsonl -o out
        [ "$status" -eq 3 ]
    done
    [ ! -e out ]
}

@test "--whiten-reward, by the batch and by the position" {
    # 2 -1 7 4 3: mean 3, variance 34/5; first tokens 2 7 4 3: mean 4, variance 3.5; second: alone
    expect reward '[[null,-0.3834825,-1.5339300],[null,1.5339300],[null,0.3834825],[null,0]]' --whiten-reward batch
    expect reward '[[null,-1.0690450,0],[null,1.6035675],[null,0],[null,-0.5345225]]' --whiten-reward position
    # Before what is mixed in.
    expect reward '[[null,-0.5345225,1.5],[null,1.3017837],[null,0],[null,0.7327388]]' --whiten-reward position --mix 0.5:score
}

@test "baselines look at prompts within a batch, in any order" {
    expect advantage '[[null,-3,-5],[null,4],[null,3],[null,-4]]' --baseline loo
    expect advantage '[[null,-1.5,-3.5],[null,2],[null,1.5],[null,-2]]' --baseline prompt
}

@test "step cuts the stream into batches" {
    { small && small | tail -n +2 | sed 's/"id":"/"id":"x/'; } |
        jq -c 'if .id then .step = (if .id | startswith("x") then 8 else 7 end) else . end' >two.jsonl
    "$BIN/dense-reward" -q "${paper[@]}" --baseline batch --metrics m.jsonl s h two.jsonl | "$BIN/toks" view |
        jq -sc '[.[1:][].advantage[1:][]]' >two
    small | "$BIN/dense-reward" -q "${paper[@]}" --baseline batch s h | "$BIN/toks" view |
        jq -sc '[.[1:][].advantage[1:][]] | . + .' >one
    cmp one two
    jq -sce 'map(.step) == [7, 8] and map(.num_tokens) == [5, 10] and .[0].reward == 3.75' m.jsonl
    # A prompt that is alone in its step has no other samples there.
    jq -c 'if .id == "a" then .step = 6 else . end' two.jsonl >alone.jsonl
    run "$BIN/dense-reward" "${paper[@]}" --baseline loo s h alone.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `a`'*'only sample of its prompt'* ]]
    [ ! -e out ]
}

@test "a batch leaves before the stream goes on" {
    small | jq -c 'if .id then .step = 7 else . end' | "$BIN/toks" view -b >in.toks
    # All but END, which is as long in both, and then nothing for a while.
    end=93
    mkfifo pipe
    "$BIN/dense-reward" -q "${paper[@]}" --baseline loo s h <pipe >out.toks 2>err &
    exec 9>pipe
    head -c -$end in.toks >&9
    await eval '"$BIN/toks" view out.toks 2>/dev/null | grep -q "\"id\":\"d\""'
    size=$(stat -c %s out.toks)
    exec 9>&-
    # The input broke off: no END, status 3.
    status=0
    wait $! || status=$?
    [ "$status" -eq 3 ]
    [ "$(stat -c %s out.toks)" -eq "$size" ]
    run ! "$BIN/toks" view out.toks
    [[ $output == *'"id":"d"'* ]]
}

# Steps 1 (one full frame), 2 (a full frame and more) and 3; prompts of three samples.
steps() {
    awk 'BEGIN {
        print "{\"densepath\":1}"
        for (step = 1; step <= 3; step++)
            for (i = 0; i < (step == 1 ? 65536 : step == 2 ? 65538 : 6); i++)
                printf "{\"id\":\"%d-%d\",\"token\":[1],\"mask\":[1],\"logp:s\":[%d],\"logp:h\":[-%d],\"prompt\":\"p%d\",\"step\":%d}\n", \
                    step, i, -(i * 7919 % 31), i % 5, step == 3 ? 0 : i % 21845, step
    }'
}

@test "a step of a whole frame leaves when the header tells its size" {
    steps | jq -c 'if .densepath then .sampling = {batch_size: 16384, num_generations: 4}
        elif .step == 1 then . else empty end' | "$BIN/toks" view -b >in.toks
    end=93 # bytes of END
    mkfifo pipe
    "$BIN/dense-reward" -q "${paper[@]}" --baseline loo s h <pipe >out.toks 2>err &
    exec 9>pipe
    head -c -$end in.toks >&9
    await eval '"$BIN/toks" view out.toks 2>/dev/null | grep -q "\"id\":\"1-65535\""'
    exec 9>&-
    status=0
    wait $! || status=$?
    [ "$status" -eq 3 ]
}

@test "batches of more than a frame" {
    steps >all.jsonl
    "$BIN/dense-reward" -q "${paper[@]}" --baseline loo --whiten batch s h all.jsonl | "$BIN/toks" view | tail -n +2 >all
    for step in 1 2 3; do
        { head -1 all.jsonl && grep "\"step\":$step" all.jsonl; } >$step.jsonl
        "$BIN/dense-reward" -q "${paper[@]}" --baseline loo --whiten batch s h $step.jsonl | "$BIN/toks" view | tail -n +2
    done >apart
    cmp all apart
}

@test "a step that goes on after its end is refused" {
    small | jq -c 'if .id then .step = 7 else . end' | "$BIN/toks" view -b >seven.toks
    cat seven.toks seven.toks >twice.toks
    run "$BIN/dense-reward" "${paper[@]}" --baseline loo s h twice.toks -o out
    [ "$status" -eq 3 ]
    [[ $output == *'record `a`: step 7 goes on'* ]]
    [ ! -e out ]
}

@test "columns that are there already are written over" {
    small | "$BIN/dense-reward" -q "${paper[@]}" --gamma 0.5 s h | "$BIN/dense-reward" -q "${paper[@]}" s h | "$BIN/toks" view |
        tail -n +2 >twice
    small | "$BIN/dense-reward" -q "${paper[@]}" s h | "$BIN/toks" view | tail -n +2 >once
    cmp once twice
}

@test "the same bytes for any number of threads" {
    small >in.jsonl
    for n in 1 2 3; do
        "$BIN/dense-reward" -q "${paper[@]}" --threads $n --baseline loo --whiten batch s h in.jsonl -o $n.toks
        cmp 1.toks $n.toks
    done
}

@test "a stream without records, and one without trained tokens" {
    small | head -1 | jq -c '.columns = [{"name":"id","type":"string","per":"sequence"},
        {"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},
        {"name":"logp:s","type":"f32","per":"token"},{"name":"logp:h","type":"f32","per":"token"},
        {"name":"prompt","type":"string","per":"sequence"}]' >empty.jsonl
    for options in "" "--baseline loo" "--whiten grpo" "--whiten position"; do
        run "$BIN/dense-reward" "${paper[@]}" $options s h empty.jsonl -o out.toks
        [ "$status" -eq 0 ]
        [[ $output == *"0 records"* ]]
        small | sed 's/"mask":\[0,1/"mask":[0,0/; s/,1\],"logp:s/,0],"logp:s/' |
            "$BIN/dense-reward" "${paper[@]}" $options s h >none.toks
        [ "$("$BIN/toks" view none.toks | jq -sc '[.[1:][] | .reward + .advantage] | flatten | unique')" = "[null]" ]
    done
}

@test "a missing column is named: status 3" {
    run bash -c "$(declare -f small); small | '$BIN/dense-reward' s absent -o out"
    [ "$status" -eq 3 ]
    [[ $output == *'logp:absent'* ]]
    small | jq -c 'del(.mask)' >in.jsonl
    run "$BIN/dense-reward" "${paper[@]}" s h in.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == "dense-reward: in.jsonl: "*'mask'* ]]
    small | jq -c 'del(.prompt)' >in.jsonl
    run "$BIN/dense-reward" "${paper[@]}" --baseline loo s h in.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == *'prompt'* ]]
    run "$BIN/dense-reward" "${paper[@]}" --mix 0.5:nothing s h in.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == *'nothing'* ]]
    run "$BIN/dense-reward" "${paper[@]}" --mix 0.5:id s h in.jsonl -o out
    [ "$status" -eq 3 ]
    run "$BIN/dense-reward" "${paper[@]}" --kl s:1 s h in.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == *'logp:rollout'* ]]
    [ ! -e out ]
}

@test "a trained token without a value is named: status 1" {
    small | sed '2s/-3,-1/null,-1/' >in.jsonl
    run "$BIN/dense-reward" "${paper[@]}" s h in.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == 'dense-reward: in.jsonl: record `a`: token 1 is trained, but its `logp:h` is null' ]]
    [ ! -e out ]
    small | jq -c 'if .id == "c" then .score = null else . end' >in.jsonl
    run "$BIN/dense-reward" "${paper[@]}" --mix 0.5:score s h in.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `c`'*'score'* ]]
    small | sed '2s/-3,-1/-1e999,-1/' >in.jsonl
    run "$BIN/dense-reward" "${paper[@]}" s h in.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `a`: token 1: the reward is not finite'* ]]
    "$BIN/dense-reward" -q "${paper[@]}" --floor 0.1 s h in.jsonl -o out
}

@test "a prompt with one sample is refused where others are needed" {
    small | sed '$d' >in.jsonl
    for options in "--baseline loo" "--whiten prompt" "--whiten grpo"; do
        run "$BIN/dense-reward" "${paper[@]}" $options s h in.jsonl -o out
        [ "$status" -eq 1 ]
        [[ $output == *'record `b`'*'only sample'* ]]
        [ ! -e out ]
    done
}

@test "usage" {
    run "$BIN/dense-reward" --help
    [ "$status" -eq 0 ]
    [[ $output == *"--baseline"*"none|batch|prompt|loo|position"* ]]
    run "$BIN/dense-reward" --version
    [ "$status" -eq 0 ]
    for arguments in "s" "--nothing s h" "--gamma 2 s h" "--floor -1 s h" "--credit all s h" "s h,," \
        "--gamma 0.5 --credit last s h" "--clip-reward 1 s h" "--clip-reward 2,1 s h" "--mix 0.5 s h" \
        "--mix 2:score s h" "--mix x:score s h" "--kl s s h" "--kl s:x s h" "--kl :1 s h" \
        "--whiten grpo --baseline loo s h" "--reward x s h" "--reward x --floor 0.1" "--reward x --min-logp -3" \
        "--credit attention s h" "--attention x s h" "--credit attention --attention x --beta 2 s h"; do
        run "$BIN/dense-reward" "${paper[@]}" $arguments </dev/null
        echo "$arguments: $status $output"
        [ "$status" -eq 2 ]
        [ "${#lines[@]}" -eq 1 ]
    done
}

@test "inputs and outputs that fail" {
    small | "$BIN/toks" view -b >in.toks
    run "$BIN/dense-reward" "${paper[@]}" s h /nowhere/x.toks
    [ "$status" -eq 1 ]
    run "$BIN/dense-reward" "${paper[@]}" s h .
    [ "$status" -eq 1 ]
    run "$BIN/dense-reward" "${paper[@]}" s h in.toks -o /dev/full
    [ "$status" -eq 1 ]
    [[ $output == *"/dev/full"* ]]
    run "$BIN/dense-reward" "${paper[@]}" s h in.toks -o /nowhere/out
    [ "$status" -eq 1 ]
    run bash -c "'$BIN/dense-reward' -q s h /dev/null"
    [ "$status" -eq 3 ]
    # A closed pipe is silent.
    run bash -c "'$BIN/dense-reward' -q s h in.toks 2>err | true; exit \${PIPESTATUS[0]}"
    [ ! -s err ]
}

@test "a stream cut at any byte, or with any byte flipped, is refused and leaves nothing" {
    small | "$BIN/toks" view -b >in.toks
    size=$(stat -c %s in.toks)
    for ((i = 0; i < size; i++)); do
        head -c "$i" in.toks >cut.toks
        status=0
        "$BIN/dense-reward" "${paper[@]}" --baseline loo s h cut.toks -o out 2>err || status=$?
        mapfile line <err # with its line break
        [ "$status" -eq 3 ] && [ "${#line[@]}" -eq 1 ] && [[ ${line[0]} == *$'\n' ]] && [ ! -e out ] || {
            echo "cut at $i: status $status"
            cat err
            false
        }
    done
    for ((i = 0; i < size; i += 7)); do
        { head -c "$i" in.toks && tail -c +$((i + 1)) in.toks | head -c 1 | tr '\000-\377' '\001-\377\000' &&
            tail -c +$((i + 2)) in.toks; } >bad.toks
        status=0
        "$BIN/dense-reward" "${paper[@]}" --baseline loo s h bad.toks -o out 2>err || status=$?
        mapfile line <err # with its line break
        [ "$status" -eq 3 ] && [ "${#line[@]}" -eq 1 ] && [[ ${line[0]} == *$'\n' ]] && [ ! -e out ] || {
            echo "flipped at $i: status $status"
            cat err
            false
        }
    done
}

@test "defaults: the floor 0.03 and the baseline loo, where they have something to say" {
    small >in.jsonl
    "$BIN/dense-reward" -q s h in.jsonl | "$BIN/toks" view | tail -n +2 >defaults
    "$BIN/dense-reward" -q --floor 0.03 --baseline loo s h in.jsonl | "$BIN/toks" view | tail -n +2 | cmp - defaults
    # A reward that is there has no reference to put a floor under; grpo has a baseline of its own.
    "$BIN/dense-reward" -q "${paper[@]}" s h in.jsonl -o first.toks
    "$BIN/dense-reward" -q --reward reward first.toks | "$BIN/toks" view | tail -n +2 >given
    "$BIN/dense-reward" -q --reward reward --baseline loo first.toks | "$BIN/toks" view | tail -n +2 | cmp - given
    "$BIN/dense-reward" -q --reward reward --whiten grpo first.toks -o out
    run "$BIN/dense-reward" --reward reward --floor 0.1 first.toks
    [ "$status" -eq 2 ]
    # One sample of a prompt: the way out is named, and so where there are no prompts at all.
    printf '%s\n' '{"densepath":1,"columns":[{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},{"name":"x","type":"f32","per":"token"},{"name":"prompt","type":"string","per":"sequence"}]}' \
        '{"id":"a","prompt":"p","token":[1,2],"mask":[0,1],"x":[0,1]}' >one.jsonl
    run "$BIN/dense-reward" --reward x one.jsonl -o out
    [ "$status" -eq 1 ]
    [[ $output == *'record `a`'*'only sample of its prompt'*'--baseline none'* ]]
    jq -c 'del(.prompt) | if .columns then .columns |= .[:3] else . end' one.jsonl >without.jsonl
    run "$BIN/dense-reward" --reward x without.jsonl -o out
    [ "$status" -eq 3 ]
    [[ $output == *'no column `prompt`'*'--baseline none'* ]]
}
