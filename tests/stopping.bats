#!/usr/bin/env bats
# long
# Signals: a long step is given up, the state of the last update is saved; what ends a program
# leaves nothing behind.
# shellcheck disable=SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" base && chmod -R u+w base
}

# NAME N: a stream of N records of 1000 tokens, two by two a pair, with advantage and reward.
long_records() {
    jq -nc --argjson n "$2" '
        def strings: {type: "string", per: "sequence"};
        def numbers: {type: "f32", per: "token"};
        {densepath: 1, columns: [{name: "id"} + strings, {name: "token", type: "u32", per: "token"},
            {name: "mask", type: "u8", per: "token"}, {name: "pair"} + strings, {name: "role"} + strings,
            {name: "advantage"} + numbers, {name: "reward"} + numbers]},
        (range($n) as $i | {id: "r\($i)", token: [range(1000) | (. * 7 + $i * 11) % 40],
            mask: [range(1000) | if . > 3 then 1 else 0 end], pair: "p\($i / 2 | floor)",
            role: (if $i % 2 == 0 then "demo" else "sample" end),
            advantage: [range(1000) | . % 3 - 1], reward: [range(1000) | 0.001 * ($i % 5)]})' |
        "$BIN/toks" view -b >"$1"
}

processor_ticks() { # PID: what it has used, in hundredths of a second; much, if it has ended
    local stat
    read -r stat <"/proc/$1/stat"
    read -ra stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] && echo $((stat[11] + stat[12])) || echo 1000000
}

computes_since() { # PID TICKS
    [ "$(processor_ticks "$1")" -gt $(($2 + 5)) ]
}

# FILE COMMAND...: SIGTERM, in the middle of the computing that begins when FILE is there. Sets `got`,
# and `said` has the messages.
stopped_in_step() {
    local file=$1 pid
    shift
    "$@" 2>said 3>&- &
    pid=$!
    await test -e "$file"
    await computes_since $pid "$(processor_ticks $pid)"
    kill -TERM $pid
    got=0
    wait $pid || got=$?
}

@test "a stop in the middle of a step gives it up" {
    local step=(-m base --threads 1 --max-steps 3 -o out long.toks) # of seconds, where 0.05 are waited for
    long_records long.toks 150
    local whole=(--batch-size 150) pairs=(--batch-size 75 --reference self)
    stopped_in_step out.partial/densepath.partial "$BIN/sft-train" "${whole[@]}" "${step[@]}"
    [ "$got" -eq 75 ]
    grep 'stopped after update 0 of 3' said
    grep 'stopping: saving.*Ctrl-C' said
    [ -e out.partial/state.safetensors ]
    [ ! -e out ]
    rm -r out.partial
    stopped_in_step out.partial/densepath.partial "$BIN/reward-train" --batch-size 75 "${step[@]}"
    [ "$got" -eq 75 ]
    grep 'stopped after update 0 of 3' said
    rm -r out.partial
    stopped_in_step out.partial/densepath.partial "$BIN/pair-train" "${pairs[@]}" "${step[@]}"
    [ "$got" -eq 75 ]
    grep 'stopped after update 0 of 3' said
    rm -r out.partial
    stopped_in_step out/densepath.json "$BIN/pair-train" --online "${pairs[@]}" "${step[@]}"
    [ "$got" -eq 75 ]
    grep 'stopped after generation 0, ' said
    [ -e out/state.safetensors ]
    rm -r out
    stopped_in_step out/densepath.json "$BIN/reinforce-step" "${whole[@]}" "${step[@]}"
    [ "$got" -eq 75 ]
    grep 'stopped after generation 0, ' said
    [ -e out/state.safetensors ]
    rm -r out
}

@test "what goes on after a step that was given up has the bytes of a run that was not stopped" {
    local make
    long_records long.toks 40
    make=("$BIN/sft-train" -m base --threads 1 --ema 0.9 --batch-size 40 --max-steps 2)
    "${make[@]}" -q -o straight long.toks
    stopped_in_step out.partial/densepath.partial "${make[@]}" -o out long.toks
    [ "$got" -eq 75 ]
    grep 'stopped after update 0 of 2' said
    "${make[@]}" -q --resume -o out long.toks
    diff -r -x metrics.jsonl straight out
    cmp <(figures straight/metrics.jsonl) <(figures out/metrics.jsonl)
    rm -r straight out
    # The rule's window has each batch once.
    make=("$BIN/reinforce-step" -m base --threads 1 --batch-size 20 --stop-reward 100 --stop-window 4)
    "${make[@]}" -q -o straight long.toks
    stopped_in_step out/densepath.json "${make[@]}" -o out long.toks
    [ "$got" -eq 75 ]
    grep 'stopped after generation 0, ' said
    [ "$("$BIN/model" info --json out | jq .fingerprint)" = "$("$BIN/model" info --json base | jq .fingerprint)" ]
    "${make[@]}" -q --resume -o out long.toks
    diff -r -x metrics.jsonl straight out
    cmp <(figures straight/metrics.jsonl) <(figures out/metrics.jsonl)
}

@test "a stop while a stream is waited for ends the run" {
    mkfifo pipe
    "$BIN/sft-train" -m base -o out pipe 2>said 3>&- &
    local pid=$! got=0
    exec 7>pipe
    head -c 20 demos.toks >&7
    await test -e out.lock
    kill -TERM $pid
    wait $pid || got=$?
    exec 7>&-
    [ "$got" -eq 75 ]
    grep 'stopped by a signal' said
    [ ! -e out.partial ]
    [ ! -e out.lock ]
    [ ! -e out ]
}

# SIGNALS COMMAND...: at any point, nothing is left but what is complete under its name.
leaves_nothing() {
    local signals signal at ats before
    read -ra signals <<<"$1"
    shift
    before=$(ls -A)
    struck HUP 0 "$@"
    [ "$got" -eq 0 ]
    rm -rf out
    mapfile -t ats < <(chosen_points)
    for at in "${ats[@]}"; do
        signal=${signals[at % ${#signals[@]}]}
        whom=self struck "$signal" "$at" "$@"
        [ "$got" -eq $((128 + $(kill -l "$signal"))) ] || { echo "$signal at $at: status $got"; return 1; }
        # A name that shows the whole.
        [ ! -e out ] || [ ! -d out ] || "$BIN/model" info out >info
        [ ! -e out ] || [ -d out ] || "$BIN/toks" check -q out
        rm -rf out info
        [ "$(ls -A)" = "$before" ] || { echo "$signal at $at: $(sed -n "${at}p" points)"; diff <(ls -A) <(echo "$before"); return 1; }
    done
}

@test "signals that end a program leave nothing behind" {
    touch points said
    leaves_nothing 'HUP TERM INT QUIT' "$BIN/model" init -q base -o out
    leaves_nothing 'TERM HUP XCPU' "$BIN/model" average -q base:1 -o out
    export STRIKE_NAMED=1 # as on file systems where each file has a name
    leaves_nothing 'INT HUP' "$BIN/toks" head -n 2 demos.toks -o out
}

@test "a signal at any change of the board of progress leaves none behind" {
    touch points said
    mkfifo pipe
    exec 8<>pipe
    unset XDG_RUNTIME_DIR
    # In the folder where nothing may be left.
    export TMPDIR=$PWD STRIKE_LOCKS=1
    # shellcheck disable=SC2016
    leaves_nothing 'HUP TERM INT' bash -c 'exec "$0" tee out <demos.toks >pipe 8>&-' "$BIN/toks"
    grep '^lock .*densepath-' points
    # Nor does the end of the reader, which had been there.
    mkfifo gone
    : <gone &
    exec 7>gone
    wait $!
    got=0
    setsid -w "$BIN/toks" tee out <demos.toks >&7 || got=$?
    [ "$got" -eq 141 ]
    exec 7>&-
    [ -z "$(compgen -G 'densepath-*')" ]
}

@test "the last of a session whom a signal ends takes the board of progress away" {
    local status=0
    mkdir tmp
    mkfifo pipe
    exec 8<>pipe
    export -f await
    # Nobody but these is in the session.
    env -u XDG_RUNTIME_DIR TMPDIR="$PWD/tmp" setsid -w bash -c '
        "$0" tee copy <pipe > >(cat) & pid=$!
        await compgen -G "tmp/densepath-*"
        kill -TERM $pid
        wait $pid' "$BIN/toks" >said 2>&1 3>&- 8>&- || status=$?
    [ "$status" -eq 143 ]
    exec 8>&-
    [ -z "$(ls -A tmp)" ]
}

@test "a file too large for its limit: an error with its name, and nothing left" {
    long_records long.toks 150
    cp long.toks old
    for name in new old; do
        fails 1 "$name: File too large" bash -c 'ulimit -f 1; exec "$@"' - \
            "$BIN/toks" view -b <("$BIN/toks" view long.toks) -o "$name"
        cmp long.toks old
    done
    [ ! -e new ]
    fails 1 'out.partial.*File too large' bash -c 'ulimit -f 1; exec "$@"' - \
        "$BIN/sft-train" -q -m base --max-steps 1 -o out demos.toks
    fails 1 'out.partial.*File too large' bash -c 'ulimit -f 1; exec "$@"' - "$BIN/model" init -q base -o out
    [ "$(ls -Ad out* new* 2>&1 | wc -l)" -eq 2 ] # neither of them is there
}

@test "SIGHUP that nohup has turned off does not stop a run" {
    long_records long.toks 40
    nohup "$BIN/sft-train" -q -m base --threads 1 --batch-size 40 --max-steps 1 -o out long.toks 2>said 3>&- &
    local pid=$!
    await test -e out.partial
    kill -HUP $pid
    wait $pid
    [ -e out/model.safetensors ]
    "$BIN/sft-train" -q -m base --threads 1 --batch-size 40 --max-steps 9 -o next long.toks 2>said 3>&- &
    pid=$!
    await test -e next.partial
    kill -HUP $pid
    local got=0
    wait $pid || got=$?
    [ "$got" -eq 75 ]
    [ -e next.partial/state.safetensors ]
}
