#!/usr/bin/env bats
# tfevents: event files for TensorBoard, read back by a small reader, and compared with the metrics.
# shellcheck disable=SC2016,SC2154
bats_require_minimum_version 1.5.0
load engine

setup_file() {
    sorters
    "$BIN/tok" -q -m base -o held.toks demos.jsonl
    "$BIN/sft-train" -q -m base -o run --max-steps 5 --batch-size 4 --eval-stream held.toks --eval-steps 2 held.toks
}

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    cd "$BATS_TEST_TMPDIR" || return
    run=$BATS_FILE_TMPDIR/run
    unset DENSEPATH_KEPT
}

teardown() {
    [ -z "${follower-}" ] || kill "$follower" 2>/dev/null || true
}

# FILE: each record's fields, a line each: `step tag value`, `restart step`, `text tag`. Fails where a
# record is cut short. (Checksums are the business of tests/unit/test_events.c.)
events() {
    od -An -v -tu1 -w1 "$1" | awk '
        function little(p, n,    x) { for (x = 0; n; n--) x = x * 256 + b[p + n - 1]; return x }
        function varint(    x, f) {
            f = 1; x = 0
            while (b[at] >= 128) { x += (b[at++] - 128) * f; f *= 128 }
            return x + b[at++] * f
        }
        function bytes(n,    s) { for (s = ""; n; n--) s = s sprintf("%c", b[at++]); return s }
        function float(bits,    sign, e, m) {
            sign = bits >= 2147483648 ? -1 : 1
            bits %= 2147483648
            e = int(bits / 8388608); m = bits % 8388608
            if (e == 255) return m ? "nan" : sign < 0 ? "-inf" : "inf"
            return sprintf("%.9g", sign * (e ? (1 + m / 8388608) * 2 ^ (e - 127) : m / 8388608 * 2 ^ -126))
        }
        function value(end,    key, n, tag, plain) {
            while (at < end) {
                key = varint()
                if (key == 10) { n = varint(); tag = bytes(n) }
                else if (key == 21) { plain = float(little(at, 4)); at += 4 }
                else { n = varint(); at += n }
            }
            print plain == "" ? "text " tag : step " " tag " " plain
        }
        function event(end,    key, n, stop) {
            step = 0
            while (at < end) {
                key = varint()
                if (key == 9) at += 8
                else if (key == 16) step = varint()
                else if (key == 42) { n = varint(); for (stop = at + n; at < stop;) { varint(); n = varint(); value(at + n) } }
                else if (key == 58) { n = varint(); at += n; print "restart " step }
                else { n = varint(); at += n }
            }
        }
        { b[NR - 1] = $1 }
        END {
            for (at = 0; at < NR; at += 4) {
                n = little(at, 8); at += 12
                if (at + n + 4 > NR) exit 1
                event(at + n)
            }
        }'
}

# METRICS: the same by jq.
wanted() {
    jq -r '.step as $s | to_entries[] | select(.key != "step" and (.value | type) == "number")
        | "\($s) \(if .key | startswith("eval_") then "eval/" + .key[5:] else "train/" + .key end) \(.value)"' "$1"
}

# EVENTS METRICS: all of them, in their order, as floats.
same_scalars() {
    events "$1" | grep -v '^text\|^restart' >got
    wanted "$2" >asked
    [ -s asked ]
    paste -d" " got asked | awk '
        NF != 6 || $1 != $4 || $2 != $5 { print; exit 1 }
        { d = $3 - $6; if (d < 0) d = -d; m = $6 < 0 ? -$6 : $6; if (d > m * 6e-8) { print; exit 1 } }'
}

@test "tfevents: every number of the metrics is a scalar, with the tag of transformers" {
    tfevents -q -o logs "$run" low="$run" other="$run/metrics.jsonl"
    [ "$(find logs -type f | wc -l)" -eq 3 ]
    local file
    file=$(echo logs/run/events.out.tfevents.*.densepath)
    same_scalars "$file" "$run/metrics.jsonl"
    grep -q '^4 eval/mean_token_accuracy ' got
    grep -q '^5 train/learning_rate ' got
    run ! grep -q ' train/step ' got
    [ "$(events "$file" | tail -n 1)" = 'text card' ]
    grep -qa 'sft-train -m base' "$file"
    # The same input, the same bytes, in one file that replaces the other.
    cp "$file" before
    tfevents -q -o logs "$run"
    cmp before logs/run/events.out.tfevents.*
}

@test "tfevents: names, and files of others" {
    cp -r "$run" 'lr=1e-4'
    fails 1 '1e-4: No such file' tfevents -o logs lr=1e-4
    tfevents -q -o logs ./lr=1e-4
    [ -d 'logs/lr=1e-4' ]
    (cd "$run" && tfevents -q -o "$BATS_TEST_TMPDIR/here" .)
    [ -d here/run ]
    fails 2 'NAME=RUN' tfevents -o logs - <"$run/metrics.jsonl"
    fails 2 'NAME=RUN' tfevents -o logs ..="$run"
    fails 2 'two runs' tfevents -o new "$run" "$run/"
    [ ! -e new ]
    tfevents -q -o logs piped=- <"$run/metrics.jsonl"
    same_scalars logs/piped/events* "$run/metrics.jsonl"
    mkdir -p logs/run
    echo mine >logs/run/events.out.tfevents.1.host
    run -0 --separate-stderr tfevents -q -o logs "$run"
    [[ $stderr == *'another program'* ]]
    [ "$(cat logs/run/events.out.tfevents.1.host)" = mine ]
    [ "$(find logs/run -type f | wc -l)" -eq 2 ]
    mkdir logs/taken
    echo mine >logs/taken/events.out.tfevents.1.densepath
    fails 1 'not written by tfevents' tfevents -o logs taken="$run"
    [ "$(cat logs/taken/*)" = mine ]
}

@test "tfevents: what is no run, or not whole, is told with its line" {
    fails 2 '-o LOGDIR' tfevents "$run"
    fails 1 'no metrics.jsonl in it.*--metrics' tfevents -o logs "$BATS_FILE_TMPDIR/base"
    fails 1 'absent: No such file' tfevents -o logs absent
    head -n 2 "$run/metrics.jsonl" >part
    printf '{"loss":1}\n' | cat part - >stepless
    fails 1 'stepless: line 3: no key .step' tfevents -o logs stepless
    printf '[1]\n' | cat part - >array
    fails 1 'array: line 3: not a JSON object' tfevents -o logs array
    printf 'x\n' | cat part - >broken
    fails 1 'broken: line 3' tfevents -o logs broken
    [ ! -e logs ]
    printf '{"step":3,"lo' | cat part - >half
    run -0 --separate-stderr tfevents -q -o logs half
    [[ $stderr == *'half: the last line is not complete'* ]]
    same_scalars logs/half/events* part
    # No line break is missed, no other kind of value, and no number is too large for a float.
    printf '{"step":3,"x":1e300,"text":"y","none":null,"flag":true,"test_a":-2}' >odd
    tfevents -q -o logs odd
    [ "$(events logs/odd/events* | paste -sd,)" = '3 train/x inf,3 test/a -2' ]
    : >empty
    tfevents -q -o logs empty
    [ "$(events logs/empty/events*)" = '' ]
}

told() { # NAME NUMBER: so many scalars of train/loss
    [ "$(events logs/"$1"/events* 2>/dev/null | grep -c ' train/loss ')" -eq "$2" ]
}

line() { # STEP LOSS
    printf '{"step":%d,"loss":%s,"step_time":0.%d}\n' "$1" "$2" "$RANDOM"
}

@test "tfevents: --follow tells what comes, what a resumed run drops, and ends with the run" {
    timeout 60 tfevents -q -o logs --follow grows &
    follower=$!
    await test -e logs/grows
    mkdir grows.partial
    { line 1 1; line 2 2; line 3 3; } >grows.partial/metrics.jsonl
    await told grows 3
    # Half a line is none yet.
    printf '{"step":4,' >>grows.partial/metrics.jsonl
    # It goes on from update 2, and has written more than was there before.
    { head -n 2 grows.partial/metrics.jsonl; line 3 30; line 4 40; line 5 50; } >part
    cat part >grows.partial/metrics.jsonl
    await told grows 6
    events logs/grows/events* >got
    [ "$(cut -d' ' -f1,2 got | grep -v step_time | paste -sd,)" = \
        '1 train/loss,2 train/loss,3 train/loss,restart 3,3 train/loss,4 train/loss,5 train/loss' ]
    # As a trainer ends: the last line, the note, the name.
    line 6 60 >>grows.partial/metrics.jsonl
    echo '{"densepath":1,"finished":true}' >grows.partial/densepath.json
    mv grows.partial grows
    wait "$follower"
    follower=
    told grows 7
    # Begun at the end of a run, it has nothing to wait for.
    tfevents -q -o again --follow grows
    same_scalars again/grows/events* grows/metrics.jsonl
}

@test "tfevents: --follow of a pipe tells each line as it comes; a file that is gone is an error" {
    mkfifo pipe
    timeout 60 tfevents -q -o logs --follow fed=- <pipe &
    follower=$!
    exec 8>pipe
    line 1 1 >&8
    await told fed 1
    line 2 2 >&8
    await told fed 2
    exec 8>&-
    wait "$follower"
    : >file
    timeout 60 tfevents -q -o logs --follow file 2>said &
    follower=$!
    await test -e logs/file
    line 1 1 >>file
    await told file 1
    rm logs/file/events*
    line 2 2 >>file
    local status=0
    wait "$follower" || status=$?
    follower=
    [ "$status" -eq 1 ]
    grep -q 'removed or changed' said
    [ -z "$(ls logs/file)" ]
}

@test "tfevents: a run that is made is followed to its end" {
    cp -r "$BATS_FILE_TMPDIR/base" "$BATS_FILE_TMPDIR/held.toks" .
    timeout 60 tfevents -q -o logs --follow made &
    follower=$!
    sft-train -q -m base -o made --max-steps 8 --batch-size 4 held.toks
    wait "$follower"
    follower=
    same_scalars logs/made/events* made/metrics.jsonl
    [ "$(events logs/made/events* | tail -n 1)" = 'text card' ]
}
