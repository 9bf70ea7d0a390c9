#!/usr/bin/env bats
# The demo task: its generator and its score.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    task=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators
    cd "$BATS_TEST_TMPDIR" || return
}

@test "generate: the same lines for the same seed, whatever N" {
    "$task/generate" --seed 3 --n 50 >fifty
    "$task/generate" --seed 3 --n 20 | cmp - <(head -20 fifty)
    run ! cmp -s fifty <("$task/generate" --seed 4 --n 50)
    run -0 "$task/generate" --n 4
    [ "${lines[3]}" = '{"id":"demo-1-000004","prompt":"779+608=","completion":"9+8+0=17,7+0+1=8,7+6+0=13;1387"}' ]
}

@test "generate: shares of the annotators, and worked answers are always right" {
    "$task/generate" --n 20000 >demos
    jq -rs 'length, (map(.id) | unique | length)' demos | paste -sd' ' | grep -qx '20000 20000'
    "$task/score" --summary demos | jq -e '
        .n == 20000 and (.refusal - 0.45 | fabs) < 0.01 and (.guess - 0.2 | fabs) < 0.01
        and (.worked - 0.35 | fabs) < 0.01 and .other == 0'
    "$task/score" demos | jq -se 'map(select(.kind == "worked").score) | unique == [1]'
    "$task/score" demos | jq -se 'map(select(.kind == "refusal").score) | unique == [0]'
    # Each step of the working is right too.
    jq -r 'select(.completion | contains(",") and contains("+")) | .prompt + .completion' demos |
        awk -F'[+=,;]' '{
            a = $1; b = $2; c = 0
            for (i = 3; i <= 11; i += 4) {
                if ($i != a % 10 || $(i + 1) != b % 10 || $(i + 2) != c || $(i + 3) != $i + $(i + 1) + c)
                    exit 1
                c = int($(i + 3) / 10); a = int(a / 10); b = int(b / 10)
            }
            if ($15 != $1 + $2 || $15 < 1000)
                exit 1
        }'
}

@test "generate: held-out prompts are never trained on, and are distinct" {
    for seed in 1 2; do
        "$task/generate" --seed $seed --n 20000 | jq -r .prompt
    done | sort -u >trained
    "$task/generate" --seed 1 --held-out --n 5000 | jq -r .prompt | sort >held
    [ "$(uniq held | wc -l)" -eq 5000 ]
    [ "$(comm -12 trained held | wc -l)" -eq 0 ]
}

@test "score: kinds and answers" {
    run -0 "$task/score" <<'END'
{"prompt":"347+685=","completion":"7+5+0=12,4+8+1=13,3+6+1=10;1032"}
{"prompt":"347+685=","completion":"7+5+0=12,4+8+1=13,3+6+1=10;1031"}
{"prompt":"347+685=","completion":";1032"}
{"prompt":"347+685=","completion":"no,icannotworkoutthissum;"}
{"prompt":"347+685=","completion":"1032"}
{"prompt":"347+685=","completion":""}
{"prompt":"347+685=","completion":"x;9;1032"}
{"prompt":"347+685=","completion":";1032 "}
{"prompt":"347+685=","completion":";01032"}
{"prompt":"100+200=","completion":";0300","extra":1}
END
    [ "$(printf '%s\n' "${lines[@]}" | jq -sc 'map(.score)')" = "[1,0,1,0,0,0,1,0,0,1]" ]
    [ "$(printf '%s\n' "${lines[@]}" | jq -sc 'map(.kind)')" = \
        '["worked","worked","guess","refusal","other","other","other","other","other","guess"]' ]
    [ "$(jq -c .extra <<<"${lines[9]}")" = 1 ]
}

@test "score: summary" {
    "$task/generate" --n 10 >demos
    [ "$("$task/score" --summary demos | jq -c '[.n, .score == .worked]')" = "[10,true]" ]
    [ "$("$task/score" --summary </dev/null | jq -c '[.n, .score]')" = "[0,null]" ]
}

@test "usage" {
    for program in generate score; do
        run -0 "$task/$program" --help
        [[ ${lines[0]} == Usage:* ]]
        run -2 "$task/$program" --nothing
        [ "${#lines[@]}" -eq 1 ]
    done
    run -2 "$task/generate" --n x
    run -2 "$task/generate" --seed
    run -2 "$task/generate" --held-out --n 6000
}
