#!/usr/bin/env bats
# toks pair: samples beside the demonstrations whose prompts they answer.
bats_require_minimum_version 1.5.0
load helpers

setup() {
    set -o pipefail
    toks="$BIN/toks"
    cd "$BATS_TEST_TMPDIR" || return 1
    cat > demos.jsonl <<'JSON'
{"id":"a","token":[1,2,3,4],"mask":[0,0,1,1],"logp:sft":[null,-1,-2,-3],"gold":"x","score":4}
{"id":"b","token":[5,6],"mask":[0,1],"logp:sft":[null,-4],"gold":"y","score":5}
{"id":"c","token":[7,8],"mask":[0,1],"logp:sft":[null,-5],"gold":"z","score":6}
JSON
    cat > samples.jsonl <<'JSON'
{"id":"b@3/0","token":[5,9,9],"mask":[0,1,1],"logp:rollout":[null,-1,-1],"prompt":"b","sample":0,"generation":3,"step":0,"gold":"y","finish":"stop"}
{"id":"a@3/0","token":[1,2,9],"mask":[0,0,1],"logp:rollout":[null,null,-2],"prompt":"a","sample":0,"generation":3,"step":1,"gold":"x","finish":"length"}
{"id":"a@3/1","token":[1,2],"mask":[0,0],"logp:rollout":[null,null],"prompt":"a","sample":1,"generation":3,"step":1,"gold":"x","finish":"length"}
JSON
}

one_line() { # the last `run --separate-stderr` said one line on stderr
    [ "$(printf '%s\n' "$stderr" | wc -l)" -eq 1 ]
    [ -n "$stderr" ]
}

@test "two records per sample, the demonstration first; columns of both" {
    "$toks" pair demos.jsonl samples.jsonl -o pairs.toks
    "$toks" view pairs.toks > twin
    diff - <(tail -n +2 twin) <<'JSON'
{"id":"b@3/0/demo","token":[5,6],"mask":[0,1],"pair":"b@3/0","role":"demo","prompt":"b","generation":3,"step":0,"logp:rollout":[null,null],"gold":"y","logp:sft":[null,-4],"score":5}
{"id":"b@3/0","token":[5,9,9],"mask":[0,1,1],"pair":"b@3/0","role":"sample","prompt":"b","generation":3,"step":0,"logp:rollout":[null,-1,-1],"gold":"y","logp:sft":[null,null,null],"score":null}
{"id":"a@3/0/demo","token":[1,2,3,4],"mask":[0,0,1,1],"pair":"a@3/0","role":"demo","prompt":"a","generation":3,"step":1,"logp:rollout":[null,null,null,null],"gold":"x","logp:sft":[null,-1,-2,-3],"score":4}
{"id":"a@3/0","token":[1,2,9],"mask":[0,0,1],"pair":"a@3/0","role":"sample","prompt":"a","generation":3,"step":1,"logp:rollout":[null,null,-2],"gold":"x","logp:sft":[null,null,null],"score":null}
{"id":"a@3/1/demo","token":[1,2,3,4],"mask":[0,0,1,1],"pair":"a@3/1","role":"demo","prompt":"a","generation":3,"step":1,"logp:rollout":[null,null,null,null],"gold":"x","logp:sft":[null,-1,-2,-3],"score":4}
{"id":"a@3/1","token":[1,2],"mask":[0,0],"pair":"a@3/1","role":"sample","prompt":"a","generation":3,"step":1,"logp:rollout":[null,null],"gold":"x","logp:sft":[null,null],"score":null}
JSON
    # The frames are those that the canonical rule cuts, of any form of input.
    "$toks" view -b twin | cmp - pairs.toks
    for f in demos samples; do "$toks" view -b "$f.jsonl" -o "$f.toks"; done
    cmp <("$toks" pair -q demos.toks < samples.toks | "$toks" view | tail -n +2) <(tail -n +2 twin)
    cmp <("$toks" pair -q - samples.toks < demos.toks | "$toks" view | tail -n +2) <(tail -n +2 twin)
}

@test "demonstrations without a sample are counted, and named with -v" {
    run --separate-stderr "$toks" pair demos.jsonl samples.jsonl -o out
    [ "$status" -eq 0 ]
    [ "$stderr" = "toks pair: 3 pairs; 1 of 3 demonstrations had no sample" ]
    run --separate-stderr "$toks" pair -v demos.jsonl samples.jsonl -o out
    [[ $stderr == "toks pair: no sample has the prompt \`c\`"$'\n'* ]]
    head -n 2 demos.jsonl > two.jsonl
    run --separate-stderr "$toks" pair two.jsonl samples.jsonl -o out
    [ -z "$stderr" ]
}

@test "provenance of both, and the tokenizer of the one that knows" {
    { echo '{"densepath":1,"tokenizer":"xxh3:1","vocab_size":10,"provenance":[{"program":"tok"}]}'
        cat demos.jsonl; } > d.jsonl
    { echo '{"densepath":1,"sampling":{"top_k":0},"provenance":[{"program":"rollout"}]}'
        cat samples.jsonl; } > s.jsonl
    "$toks" pair -q d.jsonl s.jsonl | "$toks" view -H |
        jq -e '.tokenizer == "xxh3:1" and .vocab_size == 10 and .sampling.top_k == 0 and
            [.provenance[].program] == ["rollout", "tok", "toks pair"]'
    sed 's/xxh3:1/xxh3:2/' d.jsonl > other.jsonl
    { head -n 1 d.jsonl; cat samples.jsonl; } > s.jsonl
    run --separate-stderr "$toks" pair other.jsonl s.jsonl -o out
    [ "$status" -eq 3 ]
    one_line
}

@test "a tokenizer with fewer or more ids than the embedding: both vocabularies count" {
    for sizes in '10 12' '12 10'; do
        { echo "{\"densepath\":1,\"vocab_size\":${sizes% *}}" && cat demos.jsonl; } > d.jsonl
        { echo "{\"densepath\":1,\"vocab_size\":${sizes#* }}" && cat samples.jsonl; } > s.jsonl
        "$toks" pair -q d.jsonl s.jsonl | "$toks" view -H | jq -e '.vocab_size == 12'
    done
}

@test "a batch leaves as soon as it came" {
    mkfifo in out
    "$toks" pair -q demos.jsonl < in > out &
    "$toks" view -b samples.jsonl -o samples.toks
    # The frame of step 0 alone: all that comes before the frame of step 1.
    head -n 1 samples.jsonl | "$toks" view -b -o first.toks
    "$toks" view -b --level 0 samples.jsonl -o plain.toks
    size=$("$toks" view -b --level 0 <(head -n 1 samples.jsonl) | wc -c)
    exec 7> in 8< out
    # END has 64 bytes.
    head -c $((size - 64)) plain.toks >&7
    # Header and frame come while the input is still open.
    "$toks" head -n 2 --stop <&8 2>/dev/null | "$toks" view > got
    [ "$(jq -r '.id // empty' got | paste -sd ' ')" = "b@3/0/demo b@3/0" ]
    exec 7>&- 8<&-
    wait || true
}

@test "samples of other prompts, other files: status 3, one line that names them" {
    bad() { # TEXT IN THE MESSAGE, after d.jsonl and s.jsonl were made
        run --separate-stderr "$toks" pair d.jsonl s.jsonl -o out
        printf '%s\n' "$stderr"
        [ "$status" -eq 3 ]
        one_line
        [[ $stderr == *"$1"* ]]
        [ ! -e out ]
    }
    cp samples.jsonl s.jsonl
    sed 's/"id":"b"/"id":"x"/' demos.jsonl > d.jsonl
    bad "s.jsonl: record \`b@3/0\`: no demonstration in d.jsonl has the id of its prompt, \`b\`"
    { cat demos.jsonl; head -n 1 demos.jsonl; } > d.jsonl
    bad "d.jsonl: record \`a\`: a second one with this id"
    sed 's/\[1,2,3,4\]/[1,7,3,4]/' demos.jsonl > d.jsonl
    bad "s.jsonl: record \`a@3/0\`: token 2 is not that of the prompt of demonstration \`a\` in d.jsonl"
    cp demos.jsonl d.jsonl
    # A sample that ends inside the prompt.
    sed 's/"token":\[1,2\],"mask":\[0,0\],"logp:rollout":\[null,null\]/"token":[1],"mask":[0],"logp:rollout":[null]/' samples.jsonl > s.jsonl
    bad "record \`a@3/1\`: token 2 is not that of the prompt"
    sed 's/"mask"/"other"/' demos.jsonl > d.jsonl
    bad "d.jsonl: the stream has no column \`mask\`"
    cp demos.jsonl d.jsonl
    sed 's/"mask"/"other"/' samples.jsonl > s.jsonl
    bad "s.jsonl: the stream has no column \`mask\`"
    sed 's/"prompt"/"other"/' samples.jsonl > s.jsonl
    bad "s.jsonl: the stream has no column \`prompt\`"
    sed 's/"finish"/"score"/' samples.jsonl > s.jsonl
    bad "s.jsonl: column \`score\` is string per sequence here and f32 per sequence in d.jsonl"
    # Nothing to pair is fine.
    echo '{"densepath":1,"columns":[{"name":"mask","type":"u8","per":"token"},{"name":"prompt","type":"string","per":"sequence"}]}' > s.jsonl
    run --separate-stderr "$toks" pair d.jsonl s.jsonl -o out
    [ "$status" -eq 0 ]
    "$toks" check out
    run --separate-stderr "$toks" pair - - < d.jsonl
    [ "$status" -eq 2 ]
    one_line
}

@test "cut streams on either side, a full device, a closed pipe" {
    for f in demos samples; do "$toks" view -b "$f.jsonl" -o "$f.toks"; done
    size=$(stat -c %s demos.toks)
    for ((at = 0; at < size; at += 31)); do
        head -c "$at" demos.toks > cut
        run --separate-stderr "$toks" pair cut samples.toks -o out
        [ "$status" -eq 3 ]
        one_line
        [[ $stderr == "toks pair: cut: "* ]]
        [ ! -e out ]
    done
    size=$(stat -c %s samples.toks)
    for ((at = 0; at < size; at += 31)); do
        head -c "$at" samples.toks > cut
        run --separate-stderr "$toks" pair demos.toks cut -o out
        [ "$status" -eq 3 ]
        one_line
        [[ $stderr == "toks pair: cut: "* ]]
        [ ! -e out ]
    done
    run --separate-stderr "$toks" pair demos.toks samples.toks -o /dev/full
    [ "$status" -eq 1 ]
    one_line
    run --separate-stderr bash -c "'$toks' pair demos.toks absent > /dev/null"
    [ "$status" -eq 1 ]
    one_line
    awk 'BEGIN { for (i = 0; i < 20000; i++) printf "{\"id\":\"s%d\",\"token\":[1,2,3],\"mask\":[0,0,1],\"prompt\":\"a\",\"step\":%d}\n", i, i }' > many.jsonl
    run --separate-stderr bash -c "'$toks' pair demos.toks many.jsonl | head -c 100 > /dev/null; echo \${PIPESTATUS[0]}"
    [ "$output" = 141 ]
    [ -z "$stderr" ]
}
