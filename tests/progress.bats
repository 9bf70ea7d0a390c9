#!/usr/bin/env bats
# Progress: the lines of a pipeline's programs on one terminal, and in a file.
# shellcheck disable=SC2016,SC2314
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    mkdir runtime
    export XDG_RUNTIME_DIR=$PWD/runtime PATH=$BIN:$PATH TERM=xterm model
    # Enough that lines are renewed many times.
    { cat prompts.jsonl && for i in $(seq 200); do
        printf '{"id":"q%d","token":[1,%d,6,7],"answer":""}\n' "$i" $((i % 30 + 5))
    done; } >many.jsonl
    toks view -b many.jsonl >many.toks
    main_job='rollout -m $model -n ${samples:-4} --max-new-tokens 24 many.toks |
        logprob -m $model --as sft | logprob -m $model --as half | dense-reward sft half |
        reinforce-step -m $model -o new'
}

# Runs a command on a terminal of its own; the transcript goes to `transcript`, every state of the
# screen to `screens`.
on_terminal() { # COLUMNS COMMAND
    { printf 'stty cols %s rows 40\n' "$1" && declare -f await && printf '%s\n' "$2"; } >job
    script -qec "bash job" transcript.raw </dev/null >/dev/null || return
    # Without the first and the last line, and the line break before it, which are of script itself.
    sed '1d;$d' transcript.raw | head -c -1 >transcript
    awk -v WIDTH="$1" -f "$BATS_TEST_DIRNAME/screen.awk" transcript >screens
    # What stays: behind the last state.
    awk '/^----$/ { n = 0; next } { line[n++] = $0 } END { for (i = 0; i < n; i++) print line[i] }' \
        screens >left
}

# The main job, with as many samples as the machine needs a second for.
second_on_terminal() { # COLUMNS
    for samples in 16 64 256 1024 4096 16384 65536; do
        export samples
        rm -rf new
        on_terminal "$1" "$main_job"
        ! grep -q "^reinforce-step .* 0:01 elapsed" screens || return 0
    done
}

@test "a pipeline on a terminal: one line a program, with its total and the time" {
    second_on_terminal 100
    # All five stood there together, in the order of the pipeline.
    awk '/^----$/ { if (all ~ /rollout logprob logprob dense-reward reinforce-step/) found = 1; all = ""; next }
        / elapsed/ { all = all " " $1 } END { exit !found }' screens
    grep -Eq '^rollout +sample [0-9]+/~?[0-9]+  [0-9]+ %  generation 0  [0-9]+ tokens/s  [0-9]+:[0-9]{2} elapsed' screens
    grep -Eq '^logprob +record [0-9]+/~?[0-9]+  [0-9]+ %  half  ' screens
    grep -Eq '^dense-reward +record [0-9]+/~?[0-9]+  ' screens
    grep -Eq '^reinforce-step +update [0-9]+/~?[0-9]+  [0-9]+ %  loss ' screens
}

@test "a pipeline on a terminal: toks tee and pair pass on what is before them" {
    toks view many.toks | jq -c 'if .id then .token += [2] | .mask = (.token | map(0) | .[-1] = 1) | del(.answer)
        else .columns |= map(select(.name != "answer")) + [{name: "mask", type: "u8", per: "token"}] end' |
        toks view -b >demonstrations.toks
    main_job='rollout -m $model -n ${samples:-4} --max-new-tokens 24 many.toks |
        toks tee copy.toks | toks pair demonstrations.toks | logprob -m $model --as sft >new'
    for samples in 4 16 64 256 1024 4096; do
        export samples
        on_terminal 100 "$main_job"
        ! grep -q "^logprob .* 0:01 elapsed" screens || break
    done
    # For each sample two records, by an estimate at least.
    local both drawn=$((($(wc -l <many.jsonl) - 1) * samples))
    both=$(sed -nE 's,^logprob +record [0-9]+/~?([0-9]+) .*,\1,p' screens | tail -1)
    [ "$both" -gt $((3 * drawn / 2)) ]
    [ "$both" -lt $((3 * drawn)) ]
    run ! grep -q '^toks' screens
    [ -z "$(ls runtime)" ]
}

@test "a pipeline on a terminal: no message is glued to a line, none is lost, no line stays" {
    on_terminal 120 "$main_job" # wide enough for every message
    [ "$(wc -c <screens)" -gt 1000 ]
    # A status line is a status line and nothing else.
    run ! grep -Ev '^(rollout|logprob|dense-reward|reinforce-step)  .*[0-9] elapsed(  [0-9:]+ left)?$' \
        <(grep -E 'elapsed|[0-9] left' screens)
    run ! grep -E 'elapsed| left$|^$' left
    grep -q '^rollout: 828 samples, ' left
    grep -q '^dense-reward: 828 records ' left
    grep -q '^reinforce-step: new: ' left
    [ "$(wc -l <left)" -eq "$(grep -c '^[a-z-]*: ' left)" ]
    [ -z "$(ls runtime)" ]
}

@test "a pipeline on a terminal: other programs' messages stay too" {
    on_terminal 100 "seen() { grep -aqs dense-reward runtime/* || [ -e over ]; }
        { await seen; echo 'from elsewhere' >&2; } &
        $main_job; : >over; wait"
    grep -qx 'from elsewhere' left
    run ! grep -E 'elapsed|^$' left
}

@test "a narrow terminal: a line is never wrapped" {
    second_on_terminal 40
    grep -q elapsed screens
    # All but messages: whole status lines, and empty ones.
    run ! grep -Ev '^([a-z-]+  .*[0-9] elapsed(  [0-9:]+ left)?|----|)$' <(grep -vxFf left screens)
}

@test "a terminal after kill -9: the others go on, and nothing of the dead one is drawn" {
    mkfifo input
    on_terminal 100 'logprob -m $model --as sft input >out.toks & dead=$!
        exec 3>input
        seen() { grep -aqs logprob runtime/*; }
        await seen
        rollout -m $model many.toks >first.toks
        kill -9 $dead; wait $dead
        echo killed
        rollout -m $model many.toks >second.toks; exec 3>&-'
    cmp first.toks second.toks
    sed '/killed/,$d' screens | grep -q '^logprob'
    sed '1,/killed/d' screens | grep -q '^rollout'
    run ! grep '^logprob  ' <(tac screens | sed '/killed/q')
    [ -z "$(ls runtime)" ]
}

@test "-q, a terminal that is dumb, a job in the background: no lines" {
    on_terminal 100 'rollout -q -m $model many.toks >x.toks'
    [ ! -s transcript ]
    on_terminal 100 'TERM=dumb rollout -m $model many.toks >x.toks'
    run ! grep elapsed transcript
    grep -q '^rollout: 207 samples' transcript
    on_terminal 100 'set -m; rollout -m $model many.toks >x.toks & wait'
    run ! grep elapsed transcript
    grep -q '^rollout: 207 samples' transcript
}

@test "where stderr is a file, a short run has its messages and no progress" {
    bash -c "$main_job" 2>log
    grep -q '^rollout: 828 samples' log
    # None before half a minute.
    run ! grep -E ' 0:[0-2][0-9] elapsed|[[:cntrl:]]' log
    [ -z "$(ls runtime)" ]
}

@test "the closing line of a run that goes on has the speed of this run" {
    local at train=(sft-train -m "$model" --batch-size 4 --max-steps 101 --save-steps 100 --metrics log -o out demos.toks)
    struck KILL 0 "${train[@]}"
    [ "$got" -eq 0 ]
    # Before the line of the update after the state.
    at=$(awk '$1 == "write" && $2 == "log" && ++n == 101 { print NR }' points)
    rm -r out
    struck KILL "$at" "${train[@]}"
    [ "$got" -eq 137 ]
    "${train[@]}" --resume 2>said
    grep -q '^sft-train: going on after update 100$' said
    # It took longer than its one update did.
    jq -se --argjson speed "$(sed -nE 's,^sft-train: out: .* ([0-9]+) tokens/s$,\1,p' said)" '
        (.[-1].num_tokens - .[-2].num_tokens) as $own | $own > 0 and $speed <= $own / .[-1].step_time + 1' log
}

@test "where no board can be made, a program shows its own line" {
    chmod 500 runtime
    TMPDIR=/nonexistent on_terminal 100 'XDG_RUNTIME_DIR=/proc rollout -m $model many.toks >x.toks'
    grep -Eq '^rollout  sample [0-9]+' screens
    grep -q '^rollout: 207 samples' left
    run ! grep elapsed left
}
