#!/usr/bin/env bats
# long
# toks annotate: columns computed by a command, and every way in which it may fail.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    set -o pipefail
    toks="$BIN/toks"
    cd "$BATS_TEST_TMPDIR" || return 1
    awk 'BEGIN {
        for (i = 1; i <= 40; i++)
            printf "{\"id\":\"r%d\",\"token\":[%d,7],\"mask\":[0,1],\"gold\":\"%d\"}\n", i, i, i % 3
    }' > in.jsonl
    "$toks" view -b -o in.toks in.jsonl
    # The answer of a good command to a question: id and its number.
    cat > good <<'SH'
#!/bin/sh
exec sed -u 's/.*"id":"r\([0-9]*\)".*/{"id":"r\1","score":\1}/'
SH
    chmod +x good
}

one_line() { # the last `run --separate-stderr` said one line on stderr
    printf '%s\n' "$stderr"
    [ "$(printf '%s\n' "$stderr" | wc -l)" -eq 1 ]
    [ -n "$stderr" ]
}

# Runs it, wants status 1, one line that holds TEXT, no output file, and no END on a pipe.
bad() { # TEXT [OPTION...] -- COMMAND...
    local text=$1
    shift
    run --separate-stderr timeout 600 "$toks" annotate -o out in.toks "$@"
    [ "$status" -eq 1 ] || { echo "status $status: $stderr"; return 1; }
    one_line
    [[ $stderr == *"$text"* ]]
    [ ! -e out ]
    timeout 600 "$toks" annotate in.toks "$@" 2> /dev/null > piped || true
    run "$toks" check piped
    [ "$status" -eq 3 ]
}

scores() { # STREAM: are they 1 .. 40?
    "$toks" view "$1" | jq -r '.score // empty' | cmp - <(seq 1 40)
}

@test "numbers, texts, truth values, nulls and arrays become columns" {
    timeout 600 "$toks" annotate in.toks -o out -- \
        jq -c '{id, n: (.token[0] / 2), gold, t: ("<" + .gold + ">"), ok: (.gold == "1"), none: null, w: (.token | map(. * 2))}'
    "$toks" view -H out | jq -c '[.columns[4:][] | [.name, .type, .per]]' | grep -qxF \
        '[["n","f32","sequence"],["t","string","sequence"],["ok","f32","sequence"],["none","f32","sequence"],["w","f32","token"]]'
    "$toks" view out | tail -n +2 | sed -n 4p | grep -qxF \
        '{"id":"r4","token":[4,7],"mask":[0,1],"gold":"1","n":2,"t":"<1>","ok":1,"none":null,"w":[8,14]}'
    # What it says does not depend on form, pipes, room in flight, or how the input is held.
    for options in "--in-flight 1" "--in-flight 3 --patience 0.1" "--threads 2"; do
        # shellcheck disable=SC2086
        "$toks" annotate $options in.jsonl -- ./good | "$toks" view | tail -n +2 > "with"
        cmp with <("$toks" annotate -c score < in.toks -- ./good | "$toks" view | tail -n +2)
    done
    # A question said again is nothing new.
    "$toks" annotate in.toks -o more -- jq -c '. + {score: .token[0]}'
    scores more
    "$toks" view -H more | jq -e '[.columns[].name] == ["id","token","mask","gold","score"]'
}

@test "declared columns: kinds, and what is not asked for is left out" {
    "$toks" annotate -c 'n,t:string,w:token' in.toks -o out -- \
        jq -c '{id, other: {x: 1}, n: 1, t: null, w: [null, 2]}'
    "$toks" view out | sed -n 2p | grep -qxF \
        '{"id":"r1","token":[1,7],"mask":[0,1],"gold":"1","n":1,"t":"","w":[null,2]}'
    # A column of that name is there, or it is no name.
    for names in gold id '' 'n,n' ','; do
        run --separate-stderr "$toks" annotate -c "$names" in.toks -o no -- ./good
        [ "$status" -eq 1 ]
        one_line
        [ ! -e no ]
    done
    # No records: the columns are there all the same.
    echo '{"densepath":1}' | "$toks" annotate -c n -o out -- ./good
    "$toks" view -H out | jq -e '.columns[2].name == "n"'
    echo '{"densepath":1}' | "$toks" annotate -o out -- ./good
    "$toks" check out
}

@test "a command that fails is told by one line that names the record" {
    bad 'in.toks: record `r6`: the command `sh` ended with status 7 before it answered' \
        -- sh -c 'head -n 5 | ./good; exit 7'
    bad 'record `r1`: the command `sh` was killed by signal 9' -- sh -c 'kill -9 $$'
    bad 'record `r1`: the command `true` ended with status 0 before' -- true
    bad 'record `r1`: the command `false` ended with status 1 before' -- false
    bad './absent: No such file' -- ./absent
    bad 'record `r40`: the command `sh` ended with status 3 after its last answer' \
        -- sh -c './good; exit 3'
    bad 'record `r40`: the command `sh` gave more answers' -- sh -c './good; echo "{}"'
    bad 'record `r2`: the command `sh` ended with status 0 in the middle of its answer' \
        -- sh -c 'head -n 1 | ./good; printf "{\"id\":\"r2\",\"sc"'
    bad 'record `r1`: the answer of `sh` has no `id`: `{"x":1}`' -- sh -c 'sed -u "s/.*/{\"x\":1}/"'
    bad 'record `r1`: the answer of `sed` is not a JSON object: `hello`' -- sed -u 's/.*/hello/'
    bad 'record `r1`: the answer of `yes` is not a JSON object: `y`' -- yes
    bad 'record `r1`: the answer has no new field' -- cat
}

@test "answers out of order, left out or given twice" {
    bad 'record `r1`: the command `tac` answered for id `r40` instead' -- tac
    bad 'record `r3`: the command `sh` answered for id `r4` instead' -- sh -c './good | sed -u 3d'
    bad 'record `r4`: the command `sh` answered for id `r3` instead' -- sh -c './good | sed -u 3p'
    bad 'record `r40`: the command `sh` ended with status 0 before' -- sh -c './good | sed -u 40d'
    bad 'record `r40`: the command `sh` gave more answers' -- sh -c './good | sed -u 40p'
}

@test "answers whose values do not fit" {
    bad 'record `r2`: `w` has 1 values, the record has 2 tokens' \
        -- jq --unbuffered -c '{id, w: (if .id == "r2" then [1] else [1, 2] end)}'
    bad 'record `r3`: `s` is not a number that a column can hold' \
        -- jq --unbuffered -c '{id, s: (if .id == "r3" then "x" else 1 end)}'
    bad 'record `r3`: `s` is not a number that a column can hold' \
        -- jq --unbuffered -c '{id, s: (if .id == "r3" then 1e300 else 1 end)}'
    bad 'record `r3`: `s` is not text' \
        -- jq --unbuffered -c '{id, s: (if .id == "r3" then 1 else "x" end)}'
    bad 'record `r1`: `s`: value 2 is not a number' -- jq --unbuffered -c '{id, s: [1, "x"]}'
    bad 'record `r1`: `s` is an object' -- jq --unbuffered -c '{id, s: {}}'
    bad 'record `r3`: the answer has no `s`' \
        -- jq --unbuffered -c 'if .id == "r3" then {id} else {id, s: 1} end'
    bad 'record `r3`: `z` was not in the first answer' \
        -- jq --unbuffered -c 'if .id == "r3" then {id, s: 1, z: 1} else {id, s: 1} end'
}

@test "a command that hangs is killed, and its children too" {
    # Nobody waits for it: it would be there for hours.
    local sleep="sleep 70000.$BASHPID"
    # RECORD OPTIONS COMMAND: is told to hang at the record. How long a command needs for the answers
    # before it is the machine's: where it was given too little it gets more.
    hangs_at() {
        local seconds
        for seconds in 0.3 1 5 25 125; do
            # shellcheck disable=SC2086
            bad "the command \`$3\` gave no answer for $seconds seconds" --timeout "$seconds" $2 -- "${@:3}" || return
            [[ $stderr != *"record \`r$1\`: "* ]] || return 0
        done
        return 1
    }
    hangs_at 1 '' sh -c "trap '' TERM; $sleep & $sleep"
    hangs_at 6 '' sh -c "head -n 5 | ./good; $sleep"
    # It has answered all and does not end.
    hangs_at 40 '' sh -c "./good; exec >&-; $sleep"
    # It does not read.
    # shellcheck disable=SC2086
    hangs_at 1 '--in-flight 100000' $sleep
    is_over() { ! pgrep -f -x "${sleep/./[.]}" >/dev/null; }
    await is_over
}

@test "a command that writes for ever without a line break, or behind its last answer" {
    bad 'wrote more than 64 MiB without a line break' --timeout 0 -- cat /dev/zero
    bad 'gave no answer for 0.5 seconds' --timeout 0.5 -- \
        sh -c 'i=0; while [ $((i += 1)) -lt 6000 ]; do printf x; sleep 0.05; done'
    bad 'gave more answers than there were records' --timeout 0 -- sh -c './good; cat /dev/zero'
    bad 'gave more answers than there were records' --timeout 0 -- sh -c './good; yes'
    # An answer may come in many pieces.
    timeout 600 "$toks" annotate --timeout 60 --columns score -o out in.toks -- sh -c \
        './good | while read -r line; do head -c 200000 /dev/zero | tr "\0" " "; echo "$line"; done'
    scores out
}

@test "no deadlock: commands that buffer, or read all before they answer" {
    seq 1 5000 | awk '{ printf "{\"id\":\"r%d\",\"token\":[%d]}\n", $1, $1 }' | "$toks" view -b -o many.toks
    for options in "--in-flight 1 --patience 0.02" "--in-flight 700 --patience 0.1" ""; do
        [ "$options" != "--in-flight 1 --patience 0.02" ] || in=in.toks
        # shellcheck disable=SC2086
        timeout 600 "$toks" annotate $options "${in:-many.toks}" -o out -- sh -c 'tac | tac | jq -c "{id, score: .token[0]}"'
        "$toks" view out | jq -r '.score // empty' > got
        seq 1 "$(wc -l < got)" | cmp - got
        [ "$(wc -l < got)" -eq "$("$toks" stat -O json "${in:-many.toks}" | jq .records)" ]
        unset in
    done
    # Long lines both ways, many times the size of a pipe.
    jq -nc '{id: "a", token: [range(60000)]}, {id: "b", token: [range(60000)]}, {id: "c", token: [range(60000)]}' > long.jsonl
    timeout 600 "$toks" annotate long.jsonl -o out -- jq -c '{id, w: .token}'
    "$toks" view out | tail -n +2 | jq -e -s 'length == 3 and all(.w == .token)'
}

@test "online: a step leaves when it is answered, though the input is open" {
    jq -c '. + {step: (.token[0] / 10 | floor)}' in.jsonl | "$toks" view -b --level 0 -o steps.toks
    jq -c '. + {step: (.token[0] / 10 | floor)}' in.jsonl | head -n 9 | "$toks" view -b --level 0 > first.toks
    size=$(($(wc -c < first.toks) - 64)) # without END
    for command in "./good" "tac | tac | ./good"; do
        mkfifo in out
        timeout 600 "$toks" annotate --patience 0.3 < in > out -- sh -c "$command" &
        exec 7> in 8< out
        head -c "$size" steps.toks >&7
        [ "$("$toks" head -n 9 --stop <&8 | "$toks" view | jq -r '.score // empty' | paste -sd ' ')" = "1 2 3 4 5 6 7 8 9" ]
        exec 7>&- 8<&-
        wait || true
        rm in out
    done
    timeout 600 "$toks" annotate steps.toks -o out -- ./good
    scores out
    "$toks" view out | "$toks" view -b --level 0 | cmp - out
}

@test "journal: nothing that was answered is asked again" {
    cat > counting <<'SH'
#!/bin/sh
tee -a asked | ./good | head -n "${LAST:-100}"
SH
    chmod +x counting
    "$toks" annotate -o whole in.toks -- ./counting
    rm asked
    LAST=12 run --separate-stderr "$toks" annotate --journal j -o out in.toks -- ./counting
    [ "$status" -eq 1 ]
    one_line
    [ "$(wc -l < j)" -eq 13 ]
    rm asked
    run --separate-stderr "$toks" annotate --journal j -o out in.toks -- ./counting
    [ "$status" -eq 0 ]
    [ "$stderr" = "toks annotate: 40 records, 12 of them from the journal; the command ran 1 times" ]
    [ "$(wc -l < asked)" -eq 28 ]
    cmp out whole
    # Cut anywhere it goes on with what is whole, to the same result.
    cp j full
    for at in 0 1 60 90 91 150 300 700 1500 "$(($(wc -c < full) - 1))"; do
        head -c "$at" full > j
        "$toks" annotate -q --journal j -o out in.toks -- ./counting
        cmp out whole
        cmp j full
    done
    # Whole, the command is not even started.
    rm asked
    "$toks" annotate -q --journal j -o out in.toks -- ./counting
    cmp out whole
    [ ! -e asked ]
    # Of other records, of another command, of nothing.
    other() { # FILE TEXT
        run --separate-stderr "$toks" annotate --journal j -o no "$1" -- "${@:3}"
        [ "$status" -eq 1 ]
        one_line
        [[ $stderr == *"$2"* ]]
        [ ! -e no ]
        cmp j full
    }
    sed 's/"r5"/"x5"/' in.jsonl > other.jsonl
    other other.jsonl 'j: line 6 is not the answer for record `x5`: a journal of other records' ./counting
    sed 's/\[5,7\]/[5,8]/' in.jsonl > other.jsonl
    other other.jsonl 'j: line 6 is not the answer for record `r5`: a journal of other records' ./counting
    head -n 10 in.jsonl > other.jsonl
    other other.jsonl 'j: line 12 answers a record that the stream has not' ./counting
    other in.toks 'j: line 1: not the journal of this command' ./good
    cp full j
    run --separate-stderr "$toks" annotate --journal ./absent/j -o no in.toks -- ./good
    [ "$status" -eq 1 ]
    one_line
    # Two runs at a time.
    export -f await
    "$toks" annotate -q --journal k -o no in.toks -- bash -c ': >begun; await test -e go && ./good' &
    await test -e begun
    run --separate-stderr "$toks" annotate --journal k -o no in.toks -- ./good
    [ "$status" -eq 1 ]
    one_line
    : >go
    wait
}

@test "killed in the middle: the journal has what was answered, the command is gone" {
    export -f await
    cat > slow <<'SH'
#!/bin/bash
n=0
./good | while read -r line; do
    n=$((n + 1))
    [ "$n" -le 5 ] || await test -e go
    echo "$line"
done
SH
    chmod +x slow
    "$toks" annotate --journal j -o out in.toks -- ./slow &
    await has_lines j 4
    kill -9 $!
    wait $! || true
    : >go
    [ ! -e out ]
    [ "$(wc -l < j)" -ge 2 ]
    "$toks" annotate -q --journal j -o out in.toks -- ./slow
    scores out
}

@test "cut input, a full device, a closed pipe, usage" {
    size=$(stat -c %s in.toks)
    for ((at = 0; at < size; at += 53)); do
        head -c "$at" in.toks > cut
        run --separate-stderr "$toks" annotate cut -o no -- ./good
        [ "$status" -eq 3 ]
        one_line
        [[ $stderr == "toks annotate: cut: "* ]]
        [ ! -e no ]
    done
    run --separate-stderr "$toks" annotate in.toks -o /dev/full -- ./good
    [ "$status" -eq 1 ]
    one_line
    [[ $stderr == *"No space left"* ]]
    run --separate-stderr "$toks" annotate --journal /dev/full in.toks -o no -- ./good
    [ "$status" -eq 1 ]
    one_line
    run --separate-stderr bash -c "timeout 600 '$toks' annotate in.toks -- sh -c './good; sleep 70000' | true; echo \${PIPESTATUS[0]}"
    [ "$output" = 141 ]
    [ -z "$stderr" ]
    for words in "" "--" "in.toks in.toks -- ./good" "--in-flight 0 in.toks -- ./good" "--timeout -1 -- ./good"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$toks" annotate $words
        [ "$status" -eq 2 ]
        one_line
    done
}

@test "questions in text: what tok -d writes" {
    model=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    printf '%s\n' '{"id":"a","prompt":"1+2=","completion":"3"}' '{"id":"b","prompt":"2+2=","completion":"5"}' > sums.jsonl
    "$BIN/tok" -q -m "$model" sums.jsonl -o sums.toks
    "$toks" annotate -m "$model" -o out sums.toks -- sh -c 'tee asked | jq -c "{id, n: (.completion | tonumber)}"'
    "$BIN/tok" -d -m "$model" sums.toks | cmp - asked
    [ "$("$toks" view out | jq -c '.n // empty' | paste -sd ' ')" = "3 5" ]
    { echo '{"densepath":1,"tokenizer":"xxh3:0000000000000000"}'; tail -n 1 in.jsonl; } > foreign.jsonl
    run --separate-stderr "$toks" annotate -m "$model" -o no foreign.jsonl -- ./good
    [ "$status" -eq 3 ]
    one_line
    run --separate-stderr "$toks" annotate -m . -o no in.toks -- ./good
    [ "$status" -ne 0 ]
    one_line
}

@test "rewards/exact-match: the answer against the gold column" {
    exact=$BATS_TEST_DIRNAME/../pipelines/rewards/exact-match
    printf '%s\n' '{"id":"a","completion":"1+1; 2 ","gold":"2"}' '{"id":"b","completion":"2","gold":"2"}' \
        '{"id":"c","completion":"x; y; 3","gold":3}' '{"id":"d","completion":";","gold":""}' > answers.jsonl
    "$exact" --after ';' < answers.jsonl | jq -c '[.id, .score, .answer]' |
        diff - <(printf '%s\n' '["a",1,"2"]' '["b",0,""]' '["c",1,"3"]' '["d",0,""]')
    "$exact" < answers.jsonl | jq -c .score | paste -sd ' ' | grep -qx '0 1 0 0'
    run "$exact" --gold other < answers.jsonl
    [ "$status" -ne 0 ]
    run "$exact" --nothing
    [ "$status" -eq 2 ]
    # With the program: a stream without the column fails at its first record.
    model=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    printf '%s\n' '{"id":"a","prompt":"1+2=","completion":";3","gold":"3"}' '{"id":"b","prompt":"2+2=","completion":";5","gold":"4"}' > sums.jsonl
    "$BIN/tok" -q -m "$model" --keep-columns gold sums.jsonl |
        "$toks" annotate -m "$model" -- "$exact" --after ';' | "$toks" view |
        jq -c 'select(.token) | [.score, .answer]' | diff - <(printf '%s\n' '[1,"3"]' '[0,"5"]')
    run "$toks" annotate -m "$model" -o out <("$BIN/tok" -q -m "$model" sums.jsonl) -- "$exact"
    [ "$status" -eq 1 ]
    [[ $output == *'record `a`: the command '*'ended with status 5 before it answered'* ]]
    [ ! -e out ]
}

@test "rewards/unit-tests: what the model wrote is run, and can do no harm" {
    tests=$BATS_TEST_DIRNAME/../pipelines/rewards/unit-tests
    score() { # COMPLETION CASES
        jq -nc --arg c "$1" --arg t "$2" '{id: "x\n\"y", completion: $c, cases: $t}' | "$tests" | jq -c '[.id, .score, .answer]'
    }
    [ "$(score 'n*(n+1)/2' '1=1 2=3 10=55')" = '["x\n\"y",1,"3/3"]' ]
    [ "$(score 'n+1' '1=2 2=4')" = '["x\n\"y",0.5,"1/2"]' ]
    [ "$(score '-n' '-1=1 2=-2 0.5=-0.5')" = '["x\n\"y",1,"3/3"]' ]
    [ "$(score '1/(n-2)' '1=-1 2=4')" = '["x\n\"y",0.5,"1/2"]' ]
    for evil in '' '(' 'n)) print (' 'system("touch harm")' 'n; print "holds"' '1} BEGIN {print "holds"' \
        'n" > "harm' '$(touch harm)' '`touch harm`' "$(printf 'n+%.0s' {1..200})1"; do
        [ "$(score "$evil" '1=2 2=4')" = '["x\n\"y",0,"0/2"]' ]
    done
    [ ! -e harm ]
    run score n 'no cases'
    run bash -c "echo '{\"id\":\"a\",\"completion\":\"n\",\"cases\":\"x\"}' | '$tests'"
    [ "$status" -eq 1 ]
    [[ $output == "unit-tests: record \"a\": 'x' are no cases"* ]]
    run "$tests" --nothing
    [ "$status" -eq 2 ]
}
