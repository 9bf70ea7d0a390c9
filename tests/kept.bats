#!/usr/bin/env bats
# A pipeline ends with all that it has started, whichever of its processes is ended by whatever signal;
# trainers save their state first, and no folder for stage files is left.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines

setup_file() {
    sorters
}

setup() {
    BIN=$(cd "$BIN" && pwd)
    export BIN PATH=$BIN:$PATH
    cd "$BATS_TEST_TMPDIR" || return
    cp -r "$BATS_FILE_TMPDIR"/{base,sft,demos.jsonl} .
    mkdir tmp
    export TMPDIR=$PWD/tmp
}

teardown() { # nothing outlives a test that fails
    # shellcheck disable=SC2046 # numbers
    [ ! -e alive ] || kill -KILL $(holders alive) 2>/dev/null || true
}

# COMMAND...: begins it; its process is $pid. All that it starts has the file `alive` open and locked.
begin() {
    exec 9>alive
    flock 9
    "$@" >said 2>&1 3>&- &
    pid=$!
    exec 9>&-
}

all_gone() { flock -n alive true; }

child_of() { # PID
    tr ' ' '\n' <"/proc/$1/task/$1/children" | head -n 1
}

# What never ends by itself.
endless=(--steps 999999999 --batch-size 2 --max-new-tokens 4)

@test "rft: whichever process of the script gets whatever signal" {
    local victim signal
    for victim in script keeper shell; do
        for signal in KILL TERM INT HUP; do
            # What a shell waits for ends before a trap.
            [ "$victim" != shell ] || [ "$signal" = KILL ] || continue
            rm -rf out out.*
            begin "$P/rft" -m sft -o out --rounds 1 "${endless[@]}" demos.jsonl -- --save-steps 1
            await has_lines out.rounds/1/policy.jsonl 3
            [ "$(find tmp -mindepth 1 -maxdepth 1 -type d | wc -l)" -eq 1 ]
            hit=$pid
            [ "$victim" = script ] || hit=$(child_of "$hit")
            [ "$victim" != shell ] || hit=$(child_of "$hit")
            kill -s "$signal" "$hit"
            status=0
            wait "$pid" || status=$?
            await all_gone
            echo "# $victim $signal: $status: $(cat said)"
            # Whoever is left of them has waited, and says so.
            [ "$status" -eq "$([ "$victim $signal" = 'script KILL' ] && echo 137 || echo 75)" ]
            grep -q 'its state is in out.rounds/1/policy' said
            [ -e out.rounds/1/policy/state.safetensors ] && [ ! -e out.rounds/1/policy.lock ]
            [ -z "$(find tmp -mindepth 1 -type d)" ]
        done
    done
}

@test "each pipeline that trains: a killed script leaves nobody and nothing" {
    local few=("${endless[@]}" -n 2) all=(--save-steps 1)
    # PROGRAM METRICS ARGUMENT...
    killed() {
        begin "$P/$1" -o out "${@:3}"
        await has_lines "$2" 2
        kill -KILL "$pid"
        wait "$pid" || [ $? -eq 137 ]
        await all_gone
        echo "# $1: $(cat said)"
        # A round may just be drawing its samples.
        # One whose samples broke off before the signal came has saved its state as well.
        [[ " $* " == *' rounds '* ]] || grep -q 'its state is in out' said || [ -e out/state.safetensors ]
        [ -z "$(find tmp -mindepth 1 -type d)" ]
        rm -rf out out.* metrics
    }
    killed dpr metrics -m sft "${few[@]}" --metrics metrics --save-steps 1 demos.jsonl
    killed dpr metrics -m sft "${few[@]}" --metrics metrics --mode rounds demos.jsonl -- "${all[@]}"
    killed irft metrics -m base "${endless[@]}" --online --metrics metrics demos.jsonl -- "${all[@]}"
    killed irft out.stages/1.jsonl -m base "${endless[@]}" --stages 1 demos.jsonl -- "${all[@]}"
    killed crossfit metrics/fold-2.jsonl -m base --folds 2 --jobs 2 --metrics metrics demos.jsonl -- \
        --max-steps 999999999 "${all[@]}"
    killed best-of-sft out.rounds/1.metrics.jsonl -m sft --rounds 1 --prompts 4 -n 2 --max-new-tokens 4 \
        --steps 999999999 demos.jsonl -- --batch-size 2 "${all[@]}"
    killed sft metrics -m base --metrics metrics demos.jsonl -- --max-steps 999999999 "${all[@]}"
}

# SIGINT for the group of `begin setsid ...`, until nobody of it is left: its status.
interrupted_group() {
    kill -INT -- "-$pid"
    status=0
    wait "$pid" || status=$?
    await all_gone
    cat said
}

@test "Ctrl-C, which reaches every process: 75 where a state was saved, else the signal's" {
    # In a group of its own, with SIGINT as a terminal has it.
    for i in {1..200}; do sed "s/\"id\":\"/&$i-/" demos.jsonl; done >many.jsonl
    begin env --default-signal=INT setsid "$P/sft" -m base -o out many.jsonl -- --num-train-epochs 1000 --metrics log.jsonl
    await has_lines log.jsonl 2
    interrupted_group
    [ "$status" -eq 75 ]
    [ -s out.partial/state.safetensors ]
    # Nobody has a state here.
    begin env --default-signal=INT setsid "$P/reinforce" -m sft -o none --steps 1 --batch-size 2 --max-new-tokens 4 \
        --reward 'touch begun; sleep 1000' demos.jsonl
    await [ -e begun ]
    interrupted_group
    [ "$status" -eq 130 ]
    [ -z "$(find tmp -mindepth 1 -type d)" ]
}

@test "Ctrl-C on a terminal, which all of the pipeline get at once: 75, and trainers alone speak" {
    local job
    mkfifo keys
    # PIPELINE ARGUMENT...: its status goes to `got`, what is shown to `raw`.
    interrupted() {
        rm -rf out out.* metrics got raw
        # shellcheck disable=SC2016 # for the shell on the terminal
        { echo 'stty -echo -echoctl' && printf '%q ' "$P/$1" -o out --metrics metrics "${@:2}" && echo && echo 'echo $? >got'; } >job
        timeout 120 script -qefc 'bash job' raw <keys >/dev/null 3>&- &
        job=$!
        exec 8>keys
        await has_lines metrics 3
        printf '\003' >&8
        await test -s got
        exec 8>&-
        wait "$job" || true
        echo "# $1: $(tr '\r' '\n' <raw | grep -v elapsed)"
        [ "$(cat got)" -eq 75 ]
        grep -aq 'its state is in out' raw
        ! grep -aq Terminated raw || return 1
        [ -z "$(find tmp -mindepth 1 -type d)" ]
    }
    interrupted sft -m base demos.jsonl -- --max-steps 999999999
    for _ in 1 2 3; do
        interrupted dpr -m sft "${endless[@]}" -n 2 demos.jsonl
    done
    interrupted irft -m base "${endless[@]}" --online demos.jsonl
}

@test "sft and select: stopped, and resumed by --resume: the same bytes as straight through" {
    local options=(--seed 3 demos.jsonl -- --max-steps 300)
    head -n 4 demos.jsonl >held-out.jsonl
    # PIPELINE ARGUMENT...
    resumed() {
        "$P/$1" -q -o straight "${@:2}" "${options[@]}"
        rm -f metrics
        begin "$P/$1" -o out --metrics metrics "${@:2}" "${options[@]}"
        await has_lines metrics 3
        kill -TERM "$pid"
        status=0
        wait "$pid" || status=$?
        echo "# $1: $(cat said)"
        [ "$status" -eq 75 ]
        [ -e out.partial/state.safetensors ]
        "$P/$1" -q --resume -o out --metrics metrics "${@:2}" "${options[@]}"
        # Without what is said of the time, and of where the metrics are.
        diff -r -x metrics.jsonl straight out
        mv straight "whole-$1"
        rm -r out
    }
    resumed sft -m base --held-out held-out.jsonl
    # The stream that the script made of them is called after them.
    grep -q -e '--eval-stream held-out.jsonl.toks --eval-steps 0' whole-sft/README.md
    resumed select -m sft
    run ! --separate-stderr "$P/select" -m sft --select-only --resume --stream chosen demos.jsonl
    [[ $stderr == *'nothing to --resume'* ]]
}
