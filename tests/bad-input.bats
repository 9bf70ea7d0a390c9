#!/usr/bin/env bats
# long
# Input and commands that are not what they should be, through the pipelines that ask a command: one
# clear line at the end, no result that looks whole, and nothing lost: what was answered is not asked
# again, and a run that goes on ends as one that was never stopped.
# shellcheck disable=SC2015,SC2016,SC2154
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    PATH=$(cd "$BIN" && pwd):$PATH
    "$P/tasks/annotators/generate" --n 24 --seed 1 |
        jq -c '.gold = (.prompt | rtrimstr("=") | split("+") | map(tonumber) | add | tostring)' >demos.jsonl
    cp -r "$P/tasks/annotators/model" shape
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24' "$P/tasks/annotators/model/config.json" >shape/config.json
    model init -q shape -o base --seed 1
    tok -q -m base --prompts demos.jsonl | rollout -q -m base -n 2 --batch-size 4 --steps 2 \
        --max-new-tokens 6 -o samples.toks
    toks view samples.toks | jq -c 'if has("token") then .reward = [.mask[] | if . == 1 then 1 else 0 end]
        else .columns += [{name: "reward", type: "f32", per: "token"}] end' | toks view -b -o rewarded.toks
}

setup() {
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    export BIN
    D=$BATS_FILE_TMPDIR
    cd "$BATS_TEST_TMPDIR" || return
}

few=(--steps 2 --batch-size 2 --max-new-tokens 6 --learning-rate 1e-3 --threads 1 -n 2)

# Each of the pipelines with a command that answers the member it wants, wrapped by one that spoils it.
# NAME COMMAND: runs it; results would be in `out`. limit: its seconds.
asks() {
    local good='jq --unbuffered -c ".score = 1 | .answer = .completion[:1]"' spoil=$2
    case $1 in
    vote) "$P/vote" -m "$D/base" -o out --answer "$good | $spoil" "${few[@]}" --timeout "$limit" "$D/demos.jsonl" ;;
    mig) "$P/mig" -m "$D/base" -o out --end , --score "$good | $spoil" "${few[@]}" --timeout "$limit" "$D/demos.jsonl" ;;
    prefix-rft) "$P/prefix-rft" -m "$D/base" -o out --score "$good | $spoil" "${few[@]}" --timeout "$limit" "$D/demos.jsonl" ;;
    evaluate) "$P/evaluate" -m "$D/base" --score "$good | $spoil" --timeout "$limit" --max-new-tokens 6 --threads 1 \
        --completions out "$D/demos.jsonl" ;;
    precheck) "$P/precheck" -m "$D/base" --reference "$D/base" --score "$good | $spoil" --timeout "$limit" -n 2 \
        --max-new-tokens 6 --threads 1 --tsv out "$D/demos.jsonl" ;;
    ranking) "$P/ranking" -m "$D/base" --score "$good | $spoil" --timeout "$limit" "$D/rewarded.toks" ;;
    esac
}

# TEXT COMMAND: spoiled so, each pipeline fails, with TEXT in the line that tells why, its own line at
# the end, and without a result.
each_refuses() {
    local name limit=${limit-100}
    for name in vote mig prefix-rft evaluate precheck ranking; do
        run --separate-stderr timeout 120 bash -c "$(declare -p few D P limit); $(declare -f asks); asks $name '$2'"
        [ "$status" -ne 0 ] && [ "$status" -ne 124 ] && [[ $stderr == *"$1"* ]] && [ -z "$output" ] && [ ! -e out ] &&
            [[ ${stderr_lines[-1]} == "$name: "* ]] || {
            echo "$name, $2: status $status: $stderr$output"
            return 1
        }
    done
}

@test "a reward command that dies: each pipeline says at which record" {
    each_refuses 'before it answered' 'head -n 2; exit 7'
}

@test "a reward command that drops or reorders records" {
    each_refuses 'answered for id' 'sed -u 2d'
    each_refuses 'answered for id' tac
}

@test "a reward command that hangs" {
    limit=0.3 each_refuses 'gave no answer for 0.3 seconds' "head -n 2; sleep 7000.$BASHPID"
    is_over() { ! pgrep -f -x "sleep 7000[.]$BASHPID" >/dev/null; }
    await is_over
}

@test "a reward command that says nonsense" {
    each_refuses 'not a JSON object' 'sed -u s/.*/hello/'
    each_refuses 'the answer has no `' 'jq --unbuffered -c {id}'
}

@test "vote: what was answered is not asked again; a run that goes on ends the same" {
    cat >answer <<'SH'
#!/bin/sh
tee -a asked | jq --unbuffered -c '.answer = .completion[:1]' | head -n "$(cat limit)"
SH
    chmod +x answer
    echo 1000 >limit
    vote() { "$P/vote" -m "$D/base" -o "$@" --answer ./answer "${few[@]}" "$D/demos.jsonl"; }
    vote whole
    [ "$(wc -l <asked)" -eq 8 ]
    rm asked
    echo 3 >limit
    run ! vote out
    [ ! -e out ]
    echo 1000 >limit
    rm asked
    vote out --resume
    # The three that were answered are of the first update.
    [ "$(wc -l <asked)" -eq 5 ]
    cmp whole/model.safetensors out/model.safetensors
    # Without --resume, or when all is done, no answers lie about.
    run ! compgen -G 'out.rounds/*.answers-*'
}

@test "vote: rounds of several updates, stopped in the middle of one, go on with the same samples" {
    vote=("$P/vote" -m "$D/base" --answer 'jq -c ".answer = .completion[:1]"' "${few[@]}" --steps 6 --round-steps 3
        "$D/demos.jsonl")
    # A run that is killed when the second update of its first round has been shown.
    struck KILL 0 "${vote[@]}" -o out -- --save-steps 1
    at=$(awk '$1 == "rename" && $2 == "out" && ++n == 3 { print NR + 1 }' points)
    mv out whole
    rm -r out.*
    struck KILL "$at" "${vote[@]}" -o out -- --save-steps 1
    [ "$got" -eq 137 ]
    [ "$(jq .generation out/densepath.json)" -eq 2 ]
    "${vote[@]}" -o out --resume
    diff -r --exclude README.md --exclude metrics.jsonl whole out
}

@test "evaluate --journal: nothing is asked twice" {
    evaluate() { "$P/evaluate" -m "$D/base" --score "$1" --journal j --max-new-tokens 6 --threads 1 "$D/demos.jsonl"; }
    printf '#!/bin/sh\ntee -a asked | jq --unbuffered -c ".score = (.completion | length)" | head -n "$(cat limit)"\n' >score
    chmod +x score
    echo 10 >limit
    run ! evaluate ./score
    [ "$(wc -l <j-1)" -eq 11 ]
    echo 1000 >limit
    rm asked
    evaluate ./score >scores
    [ "$(wc -l <asked)" -eq 38 ]
    evaluate ./score | cmp - scores
    [ "$(wc -l <asked)" -eq 38 ]
    # Of another command it is not.
    run ! evaluate 'jq -c ".score = 1"'
}

@test "groups of one where a group is needed" {
    toks view "$D/rewarded.toks" | jq -c 'select(has("columns") or .sample == 0)' | toks view -b -o ones.toks
    for options in '--baseline loo' '--whiten grpo'; do
        # shellcheck disable=SC2086
        run -1 --separate-stderr dense-reward --reward reward $options ones.toks -o out
        [[ $stderr == "dense-reward: "*demo-1-* ]]
        [ "${#stderr_lines[@]}" -eq 1 ]
        [ ! -e out ]
    done
    for command in "$P/vote --answer cat" "$P/prefix-rft --score cat"; do
        # shellcheck disable=SC2086
        run -2 $command -m "$D/base" -o out "${few[@]}" -n 1 "$D/demos.jsonl"
        [ "${#lines[@]}" -eq 1 ]
        [ ! -e out ]
    done
}

@test "pairs without a partner, roles that are missing: each program of pairs refuses" {
    tok -q -m "$D/base" "$D/demos.jsonl" | toks head -q -n 4 -o demos.toks
    tok -q -m "$D/base" --prompts "$D/demos.jsonl" | toks head -q -n 4 | rollout -q -m "$D/base" --max-new-tokens 6 |
        toks pair -q demos.toks | logprob -q -m "$D/base" --as base | toks view >pairs.jsonl
    for edit in 'select(.role != "demo" or .prompt != "demo-1-000003")' 'select(.role != "sample" or .prompt != "demo-1-000002")' \
        'if .id then del(.role) else .columns |= map(select(.name != "role")) end' \
        'if .id then del(.pair) else .columns |= map(select(.name != "pair")) end' \
        'if .prompt == "demo-1-000002" then .role = "demo" else . end' \
        'if .prompt == "demo-1-000002" and .role == "demo" then .role = "" else . end' \
        'if .prompt == "demo-1-000002" and .role == "demo" then .role = "good" else . end' \
        'if .prompt == "demo-1-000002" then .pair = "demo-1-000003@0/0" else . end'; do
        jq -c "$edit" pairs.jsonl | toks view -b -o bad.toks
        for program in pair-train reward-train; do
            run --separate-stderr "$program" -q -m "$D/base" -o out bad.toks
            [ "$status" -eq 3 ] || [ "$status" -eq 1 ] || { echo "$program, $edit: $status"; return 1; }
            [ "${#stderr_lines[@]}" -eq 1 ] || { echo "$program, $edit: $stderr"; return 1; }
            [[ $stderr == "$program: bad.toks: "* ]] || { echo "$program, $edit: $stderr"; return 1; }
            [ ! -e out ]
            [ ! -e out.partial ]
        done
    done
    # Whole, it is taken.
    toks view -b pairs.jsonl -o good.toks
    pair-train -q -m "$D/base" -o out good.toks
}

@test "killed anywhere and run again, rft, vote and crossfit end with the same bytes" {
    head -n 8 "$D/demos.jsonl" >few.jsonl
    printf '#!/bin/sh\nexec jq --unbuffered -c ".answer = .completion[:1]"\n' >answer
    chmod +x answer
    afresh() { rm -rf out out.*; }
    rft=("$P/rft" -m "$D/base" --rounds 2 --steps 2 --batch-size 2 -n 2 --max-new-tokens 6 --learning-rate 1e-3
        --reward-batch-size 2 --reward-learning-rate 1e-3 --threads 1 few.jsonl)
    "${rft[@]}" -o whole
    same_as_straight() { cmp whole/model.safetensors out/model.safetensors; }
    most=3 each_struck KILL "${rft[@]}" -o out --resume
    vote=("$P/vote" -m "$D/base" --answer ./answer "${few[@]}" --steps 4 --round-steps 2 few.jsonl)
    rm -r whole
    "${vote[@]}" -o whole
    most=3 each_struck KILL "${vote[@]}" -o out --resume
    crossfit=("$P/crossfit" -m "$D/base" --folds 2 --threads 1 few.jsonl -o)
    options=(-- -q --max-steps 20 --save-steps 7)
    rm -r whole
    "${crossfit[@]}" whole "${options[@]}"
    same_as_straight() {
        cmp {whole,out}/fold-1/model.safetensors && cmp {whole,out}/fold-2/model.safetensors &&
            cmp <(toks view whole/rewarded.toks | tail -n +2) <(toks view out/rewarded.toks | tail -n +2)
    }
    most=3 each_struck KILL "${crossfit[@]}" out "${options[@]}"
}
