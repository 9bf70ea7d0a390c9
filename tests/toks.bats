#!/usr/bin/env bats
# long
# toks, and the stream's test vectors.
bats_require_minimum_version 1.5.0
load helpers

COMMANDS="view head stat check cat mix tee split join pair annotate shuf sample select show"
VECTORS="$BATS_TEST_DIRNAME/../formats/vectors"

setup() {
    set -o pipefail
    toks="$BIN/toks"
    cd "$BATS_TEST_TMPDIR" || return 1
    # Twelve records, four samples for each of three prompts. Record i has i mod 5 + 1 tokens, of
    # which all but the first are trained with reward i / 4 each; r7 has a null.
    awk 'BEGIN {
        for (i = 0; i < 12; i++) {
            n = i % 5 + 1; t = m = r = ""
            for (k = 0; k < n; k++) {
                t = t (k ? "," : "") 10 * i + k
                m = m (k ? ",1" : "0")
                r = r (k ? "," (i == 7 && k == 1 ? "null" : i / 4) : "null")
            }
            printf "{\"id\":\"r%d\",\"token\":[%s],\"mask\":[%s],\"reward\":[%s],\"prompt\":\"p%d\",\"sample\":%d,\"score\":%d}\n", \
                i, t, m, r, int(i / 4), i % 4, i * 7 % 12
        }
    }' > in.jsonl
    "$toks" view -b -o in.toks in.jsonl
    echo '{"id":"s","token":[0,1],"mask":[0,1],"prompt":"r0"}' > samples.jsonl
}

ids() { # the ids of a stream, in one line
    "$toks" view "$@" | jq -r '.id // empty' | paste -sd ' '
}

# How to call a command, given its input, so that it writes a stream or text.
call() { # COMMAND INPUT [OPTION...]
    local command=$1 input=$2
    shift 2
    case $command in
        view) "$toks" view -b "$@" "$input" ;;
        split) "$toks" split --sequences 5 "$@" "$input" ;;
        join) "$toks" join "$@" "$input" "${other:-in.toks}" ;;
        annotate) "$toks" annotate -c mark "$@" "$input" -- jq -c '{id, mark: 1}' ;;
        tee) "$toks" tee "$@" kept "$input" ;;
        mix) "$toks" mix -q "$@" "$input" ;;
        pair) "$toks" pair -q "$@" "$input" samples.jsonl ;;
        sample) "$toks" sample -n half "$@" "$input" ;;
        select) "$toks" select --by score --top half "$@" "$input" ;;
        *) "$toks" "$command" "$@" "$input" ;;
    esac
}
WRITERS="view head cat mix tee split join pair annotate shuf sample select"

one_line() { # the last `run --separate-stderr` said one line on stderr
    [ "$(printf '%s\n' "$stderr" | wc -l)" -eq 1 ]
    [ -n "$stderr" ]
}

@test "toks lists its commands and versions" {
    run --separate-stderr "$toks" --help
    [ "$status" -eq 0 ]
    list=$output
    for c in $COMMANDS; do
        [[ $list == *"  $c "* ]]
        run --separate-stderr "$toks" "$c" --help
        [ "$status" -eq 0 ]
        [[ $output == "Usage: toks $c "* ]]
        run --separate-stderr "$toks" "$c" --version
        [ "$status" -eq 0 ]
        [[ $output == "toks $c (densepath) "* ]]
    done
    run --separate-stderr "$toks" --version
    [ "$status" -eq 0 ]
    [[ $output == "toks (densepath) "* ]]
}

@test "usage errors: status 2 and one line" {
    run --separate-stderr "$toks"
    [ "$status" -eq 2 ]
    one_line
    run --separate-stderr "$toks" frobnicate
    [ "$status" -eq 2 ]
    one_line
    for c in $COMMANDS; do
        run --separate-stderr "$toks" "$c" --frobnicate in.toks
        [ "$status" -eq 2 ]
        one_line
    done
    for words in "view --level 3 in.toks" "view -b -H in.toks" "view a b" "head -n x in.toks" \
        "split in.toks" "split -n 2 in.toks" "split -n 2 --sequences 2 -o p in.toks" \
        "split -n 1001 -o p in.toks" "split --fractions 0.5,0.4 -o p in.toks" "join in.toks" \
        "sample in.toks" "sample -n 2.5 in.toks" "select --by score in.toks" \
        "select --top 3 in.toks" "select --by score --top 1 --bottom 1 in.toks" \
        "select --by score --top 0x3 in.toks" "show in.toks" "stat -O xml in.toks" \
        "show -m . --range 3 in.toks"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$toks" $words
        [ "$status" -eq 2 ]
        one_line
    done
}

@test "view and view -b are each other's reverse for all good vectors" {
    for f in "$VECTORS"/good/*.toks in.toks; do
        "$toks" view "$f" > twin
        [ "$f" = in.toks ] || cmp twin "${f%.toks}.jsonl"
        "$toks" view -b twin | cmp - "$f"
        "$toks" view twin | cmp - twin
        "$toks" view "$f" | "$toks" view -b | cmp - "$f"
        "$toks" view -b "$f" | cmp - "$f"
        "$toks" cat "$f" | cmp - "$f"
        "$toks" cat < "$f" | cmp - "$f"
        [ "$(zstd -dcf < "$f" | "$toks" view | tail -n +2)" = "$(tail -n +2 twin)" ]
        zstd -dcf < "$f" | zstd -qc | "$toks" check
    done
}

@test "twins by hand mean what their canonical twins say" {
    for f in "$VECTORS"/good/*.hand.jsonl; do
        "$toks" view "$f" | cmp - "${f%.hand.jsonl}.jsonl"
        "$toks" view -b "$f" | cmp - "${f%.hand.jsonl}.toks"
        zstd -qc "$f" | "$toks" view | cmp - "${f%.hand.jsonl}.jsonl"
    done
}

@test "legal streams that are not canonical are read, and made canonical" {
    for f in "$VECTORS"/other/*.toks; do
        "$toks" view "$f" | cmp - "${f%.toks}.jsonl"
        "$toks" cat "$f" > whole.toks
        "$toks" view whole.toks | "$toks" view -b | cmp - whole.toks
    done
}

# Loops over many damaged streams run in a shell of their own: bats traces each command of a test,
# which takes longer than the commands. The script gets `refuse COMMAND FILE`, which prints what
# it finds wrong, and the test wants no output.
sweep() { # SCRIPT
    mkdir -p out
    {
        declare -p toks VECTORS WRITERS
        declare -f call
        cat <<'EOF'
refuse() {
    local status=0 line
    call "$1" "$2" -o out/x 2> said > /dev/null || status=$?
    [ "$status" -eq 3 ] || echo "$1 $2: status $status"
    mapfile line < said # with its line break
    [ "${#line[@]}" -eq 1 ] || echo "$1 $2: $(cat said)"
    case ${line[0]-} in
        "toks $1: $2: "*$'\n') ;;
        *) echo "$1 $2: $(cat said)" ;;
    esac
    set -- out/*
    [ "$1" = "out/*" ] || echo "left behind: $*"
}
EOF
        cat
    } > sweep.sh
    run bash sweep.sh
    printf '%s\n' "$output" # seen when the test fails
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "bad vectors: status 3, one line that names the file, no output" {
    [ "$(find "$VECTORS/bad" -type f | wc -l)" -ge 60 ]
    sweep <<'EOF'
for f in "$VECTORS"/bad/*; do
    [ "${f##*/}" != README ] || continue
    other=$f
    for c in check stat $WRITERS; do
        refuse "$c" "$f"
    done
done
EOF
}

@test "cut at every byte, and each byte changed: status 3 and one line" {
    sweep <<'EOF'
size=$(stat -c %s in.toks)
mapfile -t byte < <(xxd -p -c 1 in.toks)
for ((i = 0; i < size; i++)); do
    head -c "$i" in.toks > "cut.$i"
    { cat "cut.$i"; printf "\\x$(printf %02x $((16#${byte[i]} ^ (1 << (i % 8)))))"; } > "flip.$i"
    tail -c +$((i + 2)) in.toks >> "flip.$i"
done
"$toks" check cut.* flip.* 2> said && echo "status 0"
[ "$(cut -d: -f1,2 said | sort)" = "$(printf 'toks check: %s\n' cut.* flip.* | sort)" ] || cat said
EOF
}

@test "every command refuses cut and changed streams and leaves nothing" {
    sweep <<'EOF'
size=$(stat -c %s in.toks)
for ((i = 0; i < size; i += 41)); do
    head -c "$i" in.toks > cut
    cp in.toks flip
    printf '\125\252' | dd of=flip bs=1 seek="$i" conv=notrunc status=none
    for c in stat $WRITERS; do
        refuse "$c" cut
        refuse "$c" flip
    done
done
EOF
}

@test "empty, absent, unreadable input, and a directory" {
    for c in $WRITERS stat check; do
        run --separate-stderr call "$c" /dev/null -o p
        [ "$status" -eq 3 ]
        one_line
        [[ $stderr == *"/dev/null: not a stream: empty input" ]]
        run --separate-stderr call "$c" absent -o p
        [ "$status" -eq 1 ]
        one_line
        run --separate-stderr call "$c" . -o p
        [ "$status" -eq 1 ]
        one_line
        [ -z "$(find . -name 'p*')" ]
    done
    [ "$(id -u)" -ne 0 ] || skip "root reads everything"
    chmod 0 in.toks
    run --separate-stderr "$toks" view in.toks
    [ "$status" -eq 1 ]
    one_line
}

@test "a full device and a closed pipe" {
    for c in $WRITERS stat; do
        [ "$c" != split ] || continue
        run --separate-stderr call "$c" in.toks -o /dev/full
        [ "$status" -eq 1 ]
        one_line
        [[ $stderr == *"No space left"* ]]
    done
    run --separate-stderr bash -c "'$toks' view in.toks > /dev/full"
    [ "$status" -eq 1 ]
    one_line
    run --separate-stderr bash -c "'$toks' --help > /dev/full"
    [ "$status" -eq 1 ]
    one_line
    run --separate-stderr bash -c "'$toks' view --help > /dev/full"
    [ "$status" -eq 1 ]
    one_line
    seq 1 200000 | awk '{printf "{\"id\":\"%d\",\"token\":[1,2,3]}\n", $1}' > long.jsonl
    run --separate-stderr bash -c "'$toks' view long.jsonl | head -n 1 > /dev/null; echo \${PIPESTATUS[0]}"
    [ "$output" -eq 141 ]
    [ -z "$stderr" ]
    run --separate-stderr bash -c "'$toks' view -b long.jsonl | true; echo \${PIPESTATUS[0]}"
    [ -z "$stderr" ]
}

@test "a claim of 2 GiB in a small file takes no memory" {
    bash -c "ulimit -v 1000000; '$toks' --version" > /dev/null || skip "a sanitizer takes more"
    for f in "$VECTORS"/bad/claim-*; do
        run --separate-stderr bash -c "ulimit -v 1000000; '$toks' check '$f'"
        [ "$status" -eq 3 ]
        one_line
    done
}

@test "a dead writer fails the reader even without pipefail" {
    run --separate-stderr bash -c "set +o pipefail; head -c 300 in.toks | '$toks' head -n 1 -o out"
    [ "$status" -eq 3 ]
    one_line
    [[ $stderr == *"standard input: "*"stream ended without END: the program that wrote it died" ]]
    [ ! -e out ]
}

@test "check is silent, and names those of several that are not whole" {
    run --separate-stderr "$toks" check in.toks in.jsonl
    [ "$status" -eq 0 ]
    [ -z "$output$stderr" ]
    head -c 200 in.toks > cut
    run --separate-stderr "$toks" check in.toks cut absent in.jsonl
    [ "$status" -eq 3 ]
    [[ $stderr == "toks check: cut: "*$'\n'"toks check: absent: "* ]]
    run --separate-stderr "$toks" check -v in.toks
    [ "$stderr" = "toks check: in.toks: whole: 12 records, 33 tokens" ]
}

@test "view: header alone, level, output file" {
    "$toks" view -H in.toks > header
    [ "$(wc -l < header)" -eq 1 ]
    "$toks" view --header in.toks | cmp - header
    "$toks" view -b --level 0 in.toks -o plain.toks
    [ "$(head -c 4 plain.toks)" = TKSH ]
    "$toks" view -b --level 1 plain.toks | cmp - in.toks
    "$toks" view in.jsonl -o twin.jsonl
    "$toks" view in.toks | cmp - twin.jsonl
}

@test "head and its skip" {
    [ "$(ids <("$toks" head -n 3 in.toks))" = "r0 r1 r2" ]
    [ "$(ids <("$toks" head -n 2 --skip 9 in.toks))" = "r9 r10" ]
    [ "$(ids <("$toks" head in.toks))" = "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9" ]
    [ -z "$(ids <("$toks" head -n 0 in.toks))" ]
    "$toks" head -n 1 --skip 2 in.toks | "$toks" view --header |
        jq -e '.provenance == [{"program":"toks head","version":.provenance[0].version,"args":["-n","1","--skip","2","in.toks"],"seed":0}]'
    # --stop does not look further.
    { cat in.toks; echo garbage; } > tail.toks
    run --separate-stderr bash -c "'$toks' head -n 2 tail.toks > /dev/null"
    [ "$status" -eq 3 ]
    [ "$(ids <("$toks" head -n 2 --stop tail.toks))" = "r0 r1" ]
}

@test "stat in three forms" {
    run --separate-stderr "$toks" stat in.toks
    [ "$status" -eq 0 ]
    [[ ${lines[0]} =~ ^records\ +12$ && ${lines[1]} =~ ^tokens\ +33$ && ${lines[2]} =~ ^trained\ +21$ ]]
    "$toks" stat -O json in.toks | jq -e '.records == 12 and .tokens == 33 and .trained == 21 and
        (.columns | length) == 8 and
        (.columns[] | select(.name == "score") | .min == 0 and .max == 11 and .mean == 5.5) and
        (.columns[] | select(.name == "reward") | .values == 20 and .null == 13)'
    "$toks" stat -O tsv in.toks | awk -F '\t' '$1 == "score" { exit !($4 == 12 && $8 == 11) }'
    run --separate-stderr "$toks" stat "$VECTORS/good/empty.toks"
    [ "$status" -eq 0 ]
}

@test "split and cat: parts of each kind make the whole again" {
    "$toks" split -n 5 -o a in.toks
    [ "$(echo a.*)" = "a.000.toks a.001.toks a.002.toks a.003.toks a.004.toks" ]
    [ "$(ids a.000.toks)/$(ids a.001.toks)/$(ids a.004.toks)" = "r0 r1/r2 r3/r9 r10 r11" ]
    "$toks" cat a.*.toks | cmp - in.toks
    cat a.*.toks | "$toks" cat | cmp - in.toks
    "$toks" split --sequences 5 -o b < in.toks
    [ "$(echo b.*)" = "b.000.toks b.001.toks b.002.toks" ]
    [ "$(ids b.002.toks)" = "r10 r11" ]
    "$toks" cat b.*.toks | cmp - in.toks
    "$toks" split --fractions 0.75,0.25 -o c in.toks
    [ "$(ids c.001.toks)" = "r9 r10 r11" ]
    cat in.toks | "$toks" split --fractions 1/3,2/3 -o d
    [ "$(ids d.000.toks)" = "r0 r1 r2 r3" ]
    "$toks" split -n 20 -o e in.toks
    "$toks" check e.*.toks
    "$toks" cat e.*.toks | cmp - in.toks
    # All parts or none.
    { cat in.toks; echo x; } > bad.toks
    for how in "-n 2" "--sequences 5" "--fractions half,half"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$toks" split $how -o f bad.toks
        [ "$status" -eq 3 ]
        one_line
        [ -z "$(find . -name 'f.*')" ]
    done
}

@test "cat: headers are compared and united" {
    "$toks" view in.jsonl | jq -c 'if .densepath then .tokenizer = "xxh3:1" else . end' > one.jsonl
    "$toks" view in.jsonl | jq -c 'if .densepath then .tokenizer = "xxh3:2" else . end' > two.jsonl
    run --separate-stderr bash -c "'$toks' cat one.jsonl two.jsonl > /dev/null"
    [ "$status" -eq 3 ]
    one_line
    [[ $stderr == *"two.jsonl: tokenizer xxh3:2 here and xxh3:1"* ]]
    "$toks" cat --ids keep in.toks one.jsonl | "$toks" view --header | jq -e '.tokenizer == "xxh3:1"'
    echo '{"id":"x","token":[1]}' > narrow.jsonl
    run --separate-stderr bash -c "'$toks' cat in.toks narrow.jsonl > /dev/null"
    [ "$status" -eq 3 ]
    one_line
    "$toks" head -n 1 in.toks > a.toks
    "$toks" head -n 2 in.toks > b.toks
    "$toks" cat --ids keep a.toks b.toks a.toks | "$toks" view --header | jq -e '.provenance | length == 2'
    [ "$(ids <("$toks" cat --ids keep a.toks b.toks))" = "r0 r0 r1" ]
    # `step` decides over frames, across the streams too.
    printf '{"id":"a","token":[1],"step":1}\n' > s.jsonl
    "$toks" cat --ids keep s.jsonl s.jsonl > s.toks
    "$toks" view s.toks | "$toks" view -b | cmp - s.toks
}

@test "cat: ids that would meet are refused, or kept apart with what refers to them" {
    printf '{"id":"%s","token":[1],"prompt":"p","pair":"x","step":1,"other":"1"}\n' 1 2 > a.jsonl
    printf '{"id":"%s","token":[2],"prompt":"p","pair":"","step":1,"other":"1"}\n' 3 2 > b.jsonl
    run --separate-stderr "$toks" cat a.jsonl b.jsonl -o both.toks
    [ "$status" -eq 3 ]
    one_line
    [[ $stderr == *'b.jsonl: record `2`: a second one with this id ('*"--ids prefix"* ]]
    [ ! -e both.toks ]
    "$toks" cat --ids prefix a.jsonl b.jsonl a.jsonl > both.toks
    [ "$(ids both.toks)" = "1:1 1:2 2:3 2:2 3:1 3:2" ]
    [ "$("$toks" view both.toks | jq -rs '.[1:] | map(.prompt) | join(" ")')" = "1:p 1:p 2:p 2:p 3:p 3:p" ]
    [ "$("$toks" view both.toks | jq -rs '.[1:] | map(.pair) | join(" ")')" = "1:x 1:x   3:x 3:x" ]
    "$toks" view both.toks | jq -se '.[1:] | all(.other == "1")'
    "$toks" view both.toks | "$toks" view -b | cmp - both.toks
    # A renamed id may be another's.
    printf '{"id":"%s","token":[1]}\n' 2:1 > c.jsonl
    printf '{"id":"%s","token":[1]}\n' 1 1:2:1 > d.jsonl
    "$toks" cat --ids prefix c.jsonl d.jsonl | "$toks" cat | cmp - <("$toks" cat --ids prefix c.jsonl d.jsonl)
    # One stream is put together with nothing.
    cat a.jsonl a.jsonl | "$toks" cat > one.toks
    [ "$(ids one.toks)" = "1 2 1 2" ]
}

@test "mix: the shares of the weights, from the seed, no record twice unless asked for" {
    seq 60 | sed 's/.*/{"id":"&","token":[1]}/' > a.jsonl
    seq 20 | sed 's/.*/{"id":"&","token":[2]}/' > b.jsonl
    "$toks" view -b a.jsonl -o a.toks
    "$toks" view -b b.jsonl -o b.toks
    of() { ids "$1" | tr ' ' '\n' | sed -n "s/^$2://p"; } # STREAM SOURCE: its ids there
    run --separate-stderr "$toks" mix a.toks:2 b.toks:1 -o m.toks
    [ "$status" -eq 0 ]
    [ "$stderr" = "toks mix: a.toks: 40 of 60 records
toks mix: b.toks: 20 of 20 records" ]
    of m.toks 2 | cmp - <(seq 20)
    # Each once, in its order, not simply the first ones; the streams alternate.
    of m.toks 1 | sort -nc
    [ "$(of m.toks 1 | uniq | wc -l)" -eq 40 ]
    [ "$(of m.toks 1 | tail -1)" -gt 40 ]
    [ "$(ids m.toks | tr ' ' '\n' | cut -d: -f1 | uniq | wc -l)" -gt 10 ]
    # The same bytes from pipes, up to the names; other records with another seed.
    "$toks" mix -q <(cat a.toks):2 <(cat b.toks):1 | ids - | cmp - <(ids m.toks)
    "$toks" mix -q a.toks:2 b.toks:1 | cmp - m.toks
    run cmp <("$toks" mix -q --seed 1 a.toks:2 b.toks:1 | ids -) <(ids m.toks)
    [ "$status" -eq 1 ]
    # Counts add up; a weight may be any number, 1 is left out.
    [ "$("$toks" mix -q -n 10 a.toks:0.5 b.toks | ids - | tr ' ' '\n' | grep -c ^2:)" -eq 7 ]
    [ "$("$toks" mix -q a.toks:0.3 b.toks:0.1 | ids - | wc -w)" -eq 80 ]
    run --separate-stderr "$toks" mix -n 100 a.toks b.toks -o x.toks
    [ "$status" -eq 1 ]
    one_line
    [[ $stderr == *"b.toks: 50 records are wanted and there are 20: --repeat starts it over"* ]]
    [ ! -e x.toks ]
    # Started over: whole passes first, and other names.
    "$toks" mix --repeat -n 100 a.toks b.toks -o x.toks 2> said
    grep -qx 'toks mix: b.toks: 50 records, each of 20 about 2.5 times' said
    of x.toks 2 | sed -n 1,20p | cmp - <(seq 20)
    of x.toks 2 | sed -n 21,40p | cmp - <(seq -f %g.1 20)
    [ "$(of x.toks 2 | grep -c '\.2$')" -eq 10 ]
    [ "$("$toks" mix -q --repeat a.toks b.toks | ids - | wc -w)" -eq 120 ]
    # Ids as they are, if they differ.
    run --separate-stderr "$toks" mix -q --ids unique a.toks b.toks -o y.toks
    [ "$status" -eq 3 ]
    one_line
    [ "$("$toks" mix -q --ids keep a.toks b.toks | ids - | tr -d ' ' | tr -d '[:digit:]')" = "" ]
    printf '{"id":"1","token":[1],"pair":"1"}\n' > pair.jsonl
    run --separate-stderr "$toks" mix pair.jsonl
    [ "$status" -eq 3 ]
    [[ $stderr == *"mix before they are paired"* ]]
    for wrong in a.toks:0 a.toks:-1 a.toks:1e99 :3; do
        run --separate-stderr "$toks" mix "$wrong"
        [ "$status" -eq 2 ] || false
    done
}

@test "tee: a copy, when the stream has gone out whole" {
    "$toks" tee kept in.toks -o out
    cmp out in.toks
    cmp kept in.toks
    rm kept
    # From a pipe that stays open: its reader is gone, so it ends.
    mkfifo in
    sleep 600 > in &
    run --separate-stderr timeout 120 bash -c "'$toks' tee kept < in | true; echo \${PIPESTATUS[0]}"
    kill $!
    [ "$output" = 141 ]
    [ -z "$stderr" ]
    [ ! -e kept ]
    { head -c 300 in.toks; } | "$toks" tee kept > out 2> said || [ $? -eq 3 ]
    [ ! -e kept ]
    run "$toks" check out
    [ "$status" -eq 3 ]
    for file in /dev/full ./absent/kept .; do
        run --separate-stderr "$toks" tee "$file" in.toks -o out2
        [ "$status" -eq 1 ]
        one_line
        [ ! -e out2 ]
    done
    run --separate-stderr "$toks" tee - in.toks -o out2
    [ "$status" -eq 2 ]
    one_line
}

@test "join adds columns and names what does not match" {
    jq -c '{id, token, extra: .reward, note: ("n" + .id), score: 1}' in.jsonl > more.jsonl
    "$toks" join in.toks more.jsonl > both.toks
    "$toks" view both.toks | tail -n +2 | jq -c 'del(.extra, .note)' > left
    "$toks" view in.toks | tail -n +2 | jq -c . | cmp - left
    "$toks" view both.toks | tail -n +2 | jq -e -s 'all(.extra == .reward and .note == "n" + .id)'
    "$toks" join -c note in.toks more.jsonl | "$toks" view --header |
        jq -e '[.columns[].name] == ["id","token","mask","reward","prompt","sample","score","note"]'
    run --separate-stderr bash -c "'$toks' join -c score in.toks more.jsonl > /dev/null"
    [ "$status" -ne 0 ]
    one_line
    run --separate-stderr bash -c "'$toks' join -c nothing in.toks more.jsonl > /dev/null"
    [ "$status" -eq 3 ]
    one_line
    sed 's/"r3"/"rx"/' more.jsonl > other-id.jsonl
    sed 's/\[30,/[31,/' more.jsonl > other-token.jsonl
    head -n 5 more.jsonl > short.jsonl
    { cat more.jsonl; tail -n 1 more.jsonl; } > long.jsonl
    for f in other-id other-token short long; do
        run --separate-stderr "$toks" join in.toks $f.jsonl -o out
        [ "$status" -eq 3 ]
        one_line
        [ ! -e out ]
    done
    run --separate-stderr "$toks" join in.toks other-id.jsonl -o out
    [[ $stderr == "toks join: other-id.jsonl: record \`rx\`"* ]]
    run --separate-stderr "$toks" join in.toks other-token.jsonl -o out
    [[ $stderr == "toks join: other-token.jsonl: record \`r3\`: other tokens"* ]]
    # An id that would clear the screen, start a line and turn the writing round, and a long one.
    sed 's/"r3"/"x\\u001b[2J\\ny\\u009b2J\\u202e"/' more.jsonl > hostile.jsonl
    run --separate-stderr "$toks" join in.toks hostile.jsonl -o out
    [[ $stderr == "toks join: hostile.jsonl: record \`x?[2J?y?2J?\`: another id"* ]]
    one_line
    sed "s/\"r3\"/\"$(printf 'e%.0s' {1..300})\"/" more.jsonl > hostile.jsonl
    run --separate-stderr "$toks" join in.toks hostile.jsonl -o out
    [[ $stderr == *": record \`$(printf 'e%.0s' {1..100})...\`: another id"* ]]
}

@test "shuf and sample depend on the seed alone" {
    "$toks" shuf --seed 1 in.toks > a
    "$toks" shuf --seed 1 < in.toks > b
    "$toks" shuf --seed 2 in.toks > c
    [ "$(ids a)" = "$(ids b)" ]
    [ "$(ids a)" != "$(ids c)" ]
    [ "$(ids a)" != "$(ids in.toks)" ]
    cmp <("$toks" view a | tail -n +2 | sort) <("$toks" view in.toks | tail -n +2 | sort)
    "$toks" sample -n 5 --seed 1 in.toks > a
    "$toks" sample -n 5 --seed 1 < in.toks > b
    "$toks" sample -n 5 --seed 2 in.toks > c
    [ "$(ids a)" = "$(ids b)" ]
    [ "$(ids a)" != "$(ids c)" ]
    [ "$(ids a | wc -w)" -eq 5 ]
    [ "$(ids a | tr ' ' '\n' | sort -V | paste -sd ' ')" = "$(ids a)" ] # order kept
    [ "$(ids <("$toks" sample -n 0.25 in.toks) | wc -w)" -eq 3 ]
    [ "$(ids <("$toks" sample -n 100 in.toks))" = "$(ids in.toks)" ]
}

@test "select: by sum, mean and value; top, bottom, per prompt; nulls never" {
    # Trained tokens: r0 0, r1 1, r2 2, r3 3, r4 4, r5 0, r6 1 (1.5), r7 2 with a null, r8 3 (2),
    # r9 4 (2.25), r10 0, r11 1 (2.75); reward i / 4 each.
    [ "$(ids <("$toks" select --by sum:reward --top 3 in.toks 2> said))" = "r4 r8 r9" ]
    grep -qx 'toks select: 12 records in, 3 out; 4 had no value' said
    [ "$(ids <("$toks" select -q --by mean:reward --top 3 in.toks))" = "r8 r9 r11" ]
    [ "$(ids <("$toks" select -q --by mean:reward --bottom 2 in.toks))" = "r1 r2" ]
    [ "$(ids <("$toks" select -q --by sum:reward --top 100 in.toks))" = "r1 r2 r3 r4 r6 r8 r9 r11" ]
    # score = 7 i mod 12: 0 7 2 9 4 11 6 1 8 3 10 5
    [ "$(ids <("$toks" select --by score --top 1/3 in.toks))" = "r3 r5 r8 r10" ]
    [ "$(ids <("$toks" select --by score --bottom 0.25 in.toks))" = "r0 r2 r7" ]
    [ "$(ids <("$toks" select --by score --top 1 --per prompt in.toks))" = "r3 r5 r10" ]
    [ "$(ids <("$toks" select --by score --top half --per prompt < in.toks))" = "r1 r3 r5 r6 r8 r10" ]
    [ "$(ids <("$toks" select --by score --top 1 --per sample in.toks))" = "r3 r5 r8 r10" ]
    # Ties: the earlier.
    [ "$(ids <("$toks" select --by sample --top 2 in.toks))" = "r3 r7" ]
    "$toks" select --by score --top 1 in.toks | "$toks" view --header |
        jq -e '.provenance[0].args == ["--by","score","--top","1","in.toks"]'
    for words in "--by nothing" "--by sum:score" "--by reward" "--by prompt" "--by sum:nothing" \
        "--by score --per nothing" "--by score --per score" "--by score --per mask"; do
        # shellcheck disable=SC2086
        run --separate-stderr "$toks" select $words --top 1 in.toks -o out
        [ "$status" -eq 3 ]
        one_line
        [ ! -e out ]
    done
}

@test "results do not depend on threads" {
    for c in $WRITERS; do
        [ "$c" != split ] || continue
        cmp <(call "$c" in.toks --threads 1) <(call "$c" in.toks --threads 2)
    done
}

@test "show colours text by a column" {
    model=$SHARED/data/hf-stories260k
    need "$model/tokenizer.json"
    echo '{"id":"<one>","token":[1,403,407,261],"mask":[0,0,1,1],"reward":[null,null,-1,2],"role":"demo"}' > s.jsonl
    run --separate-stderr "$toks" show -m "$model" s.jsonl
    [ "$status" -eq 0 ]
    [ "${lines[1]}" = "<one>  role demo  sum:reward 1  mean:reward 0.5" ]
    [[ $output != *$'\033'* ]]
    [[ ${lines[2]} == *" Once upon a" ]]
    run --separate-stderr "$toks" show -m "$model" --color always s.jsonl
    [[ $output == *$'\033[48;5;'* || $output == *$'\033[38;5;16;48;5;'* ]]
    COLORTERM=truecolor run --separate-stderr "$toks" show -m "$model" --color always s.jsonl
    [[ $output == *$'\033[38;2;0;0;0;48;2;70;150;235m a'* ]]
    "$toks" show -m "$model" --html -o page.html s.jsonl
    grep -q '<h2>&lt;one&gt;</h2>' page.html
    grep -q '<span style="background:#4696eb" title="token 261&#10;mask 1&#10;reward 2"> a</span>' page.html
    grep -q '<span class="u" title="token 403&#10;mask 0&#10;reward null"> Once</span>' page.html
    [ "$(grep -cE 'https?://|src=' page.html)" -eq 0 ]
    run --separate-stderr "$toks" show -m "$model" --by nothing s.jsonl
    [ "$status" -eq 3 ]
    one_line
    run --separate-stderr "$toks" show -m "$model" --by role s.jsonl
    [ "$status" -eq 3 ]
    one_line
    run --separate-stderr "$toks" show -m . s.jsonl
    [ "$status" -ne 0 ]
    one_line
    sed 's/403/99999/' s.jsonl > beyond.jsonl
    run --separate-stderr "$toks" show -m "$model" beyond.jsonl -o out
    [ "$status" -eq 3 ]
    one_line
    [ ! -e out ]
    { echo '{"densepath":1,"tokenizer":"xxh3:0000000000000000"}'; cat s.jsonl; } > foreign.jsonl
    run --separate-stderr "$toks" show -m "$model" foreign.jsonl
    [ "$status" -eq 3 ]
    one_line
    head -c 200 in.toks > cut
    run --separate-stderr "$toks" show -m "$model" cut -o out
    [ "$status" -eq 3 ]
    one_line
    [ ! -e out ]
}
