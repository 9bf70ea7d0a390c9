#!/usr/bin/env bats
# The online loop: rollout --follow | logprob | logprob | dense-reward | reinforce-step.
# shellcheck disable=SC2034,SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

STEPS=20

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos | "$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --max-steps 30 --keep half -o sft
}

setup() {
    engine_setup
    cp -r "$BATS_FILE_TMPDIR/sft" .
    members=(rollout logprob-sft logprob-half dense-reward reinforce-step)
}

same_policy() { # A B
    cmp "$1/model.safetensors" "$2/model.safetensors" && cmp "$1/config.json" "$2/config.json" &&
        cmp "$1/previous/model.safetensors" "$2/previous/model.safetensors" &&
        [ "$(jq -c '[.generation, .finished]' "$1/densepath.json")" = "$(jq -c '[.generation, .finished]' "$2/densepath.json")" ] &&
        [ "$(jq -c '[.generation, .finished]' "$1/previous/densepath.json")" = "$(jq -c '[.generation, .finished]' "$2/previous/densepath.json")" ]
}

# OUT LAG [OPTION of reinforce-step...]: the loop as one plain pipeline
loop() {
    local out=$1 lag=$2
    shift 2
    "$BIN/rollout" -q -m "$out" --follow --lag "$lag" -n 4 --batch-size 4 --steps "$STEPS" \
        --max-new-tokens 12 --seed 5 --threads 1 prompts.toks |
        "$BIN/logprob" -q -m sft --as sft --threads 1 |
        "$BIN/logprob" -q -m sft/half --as half --threads 1 |
        "$BIN/dense-reward" -q --floor 0.03 --baseline loo sft half |
        "$BIN/reinforce-step" -q -m sft -o "$out" --learning-rate 1e-3 --max-steps "$STEPS" \
            --threads 1 --metrics "$out.log" "$@"
}

@test "loop: lag 0 gives what a script gives that starts each program anew, bit for bit" {
    loop out 0
    local s policy=sft
    for ((s = 1; s <= STEPS; s++)); do
        "$BIN/rollout" -q -m "$policy" -n 4 --batch-size 4 --steps "$s" --max-new-tokens 12 --seed 5 prompts.toks |
            "$BIN/logprob" -q -m sft --as sft | "$BIN/logprob" -q -m sft/half --as half |
            "$BIN/dense-reward" -q --floor 0.03 --baseline loo sft half |
            "$BIN/reinforce-step" -q -m sft -o anew --learning-rate 1e-3 --resume --metrics anew.log
        policy=anew
    done
    same_policy out anew
    cmp <(figures out.log) <(figures anew.log)
    jq -se '[.[].generation] == [range(1; 21)] and all(.lag == 0)' out.log
    [ ! -e out.partial ]
    [ ! -e out.lock ]
}

@test "loop: lag 1 overlaps and repeats itself" {
    loop one 1
    loop two 1
    same_policy one two
    cmp <(figures one.log) <(figures two.log)
    jq -se '.[0].lag == 0 and (.[1:] | all(.lag == 1))' one.log
    loop none 0
    run ! cmp -s one/model.safetensors none/model.safetensors
}

@test "loop: the trainer may stop first, or the sampler" {
    # --max-steps below --steps, a stop rule, and fewer samples than asked for
    run -0 bash -o pipefail -c "$(declare -f loop); $(declare -p BIN STEPS); loop out 0 --max-steps 6"
    jq -e '.generation == 6 and .finished' out/densepath.json
    run -0 bash -o pipefail -c "$(declare -f loop); $(declare -p BIN STEPS); loop stopped 0 --stop-reward -1000"
    jq -e '.generation == 0 and .finished' stopped/densepath.json
    cmp stopped/model.safetensors sft/model.safetensors
    jq -se 'length == 1 and .[0].step == 1 and (.[0].stopped | startswith("the mean sum of reward ")) and (.[0] | has("reward"))' \
        stopped.log
    # A rule that has ended a run has ended it, also for whoever would go on.
    cp -r stopped before
    cp stopped.log before
    run -0 bash -o pipefail -c "$(declare -f loop); $(declare -p BIN STEPS); loop stopped 0 --stop-reward -1000 --resume"
    [[ $output == *"stopped: the run has ended: the mean sum of reward "*" passes -1000 at generation 0; generation 0 is kept; -m stopped "* ]]
    for file in model.safetensors densepath.json; do cmp stopped/$file before/$file; done
    cmp stopped.log before/stopped.log
    STEPS=4 loop four 0 --max-steps 9
    jq -e '.generation == 4 and .finished' four/densepath.json
}

# Starts the members on their own: pid[i]. The `victim` gets the `signal` at its point `at`; the
# points of each go to points.i.
begin_loop() { # OUT [OPTION of reinforce-step...]
    local out=$1 i whom=self
    shift
    member() { # I COMMAND...
        local at=$at
        [ "$1" = "$victim" ] || at=0
        exec_struck "points.$1" "$signal" "$at" "${@:2}"
    }
    rm -f pipe.*
    for i in 0 1 2 3; do mkfifo "pipe.$i"; done
    pid=()
    member 0 "$BIN/rollout" -q -m "$out" --follow --lag 0 -n 4 --batch-size 4 --steps "$STEPS" \
        --max-new-tokens 12 --seed 5 --threads 1 prompts.toks >pipe.0 2>said.0 3>&- &
    pid+=($!)
    member 1 "$BIN/logprob" -q -m sft --as sft --threads 1 <pipe.0 >pipe.1 2>said.1 3>&- &
    pid+=($!)
    member 2 "$BIN/logprob" -q -m sft/half --as half --threads 1 <pipe.1 >pipe.2 2>said.2 3>&- &
    pid+=($!)
    member 3 "$BIN/dense-reward" -q --floor 0.03 --baseline loo sft half <pipe.2 >pipe.3 2>said.3 3>&- &
    pid+=($!)
    member 4 "$BIN/reinforce-step" -q -m sft -o "$out" --learning-rate 1e-3 --max-steps "$STEPS" \
        --threads 1 --metrics "$out.log" --save-steps 3 "$@" <pipe.3 2>said.4 3>&- &
    pid+=($!)
}

# All members end, by themselves; statuses in ended[i].
end_loop() {
    local i
    ended=()
    for i in 0 1 2 3 4; do
        await is_gone "${pid[i]}" || { echo "# ${members[i]} did not end"; kill -9 "${pid[@]}"; return 1; }
        ended[i]=0
        wait "${pid[i]}" 2>/dev/null || ended[i]=$?
    done
}

# Which members are hit where is told in parts of the points that each has in the whole run.
whole_loop() {
    signal=KILL victim=none at=0
    # By the name that all have: commands are part of a result.
    begin_loop out
    end_loop
    [ "${ended[*]}" = '0 0 0 0 0' ]
    rm -rf straight
    mv out straight
    mv out.log straight.log
    for i in 0 1 2 3 4; do n[i]=$(wc -l <"points.$i"); done
}

# SIGNAL VICTIM PART: a run in which the member is hit after so many hundredths of its points
hit_loop() {
    signal=$1 victim=$2 at=$((n[$2] * $3 / 100 + 1))
    rm -rf out out.log out.lock out.partial
    begin_loop out
    end_loop
}

goes_on() { # to the same end, in all that it leaves
    loop out 0 --save-steps 3 --resume
    diff -r --exclude README.md straight out
    cmp <(figures straight.log) <(figures out.log)
    [ ! -e out.partial ] && [ ! -e out.lock ]
}

check_death() { # OUT VICTIM: the others have ended rightly
    local out=$1 victim=$2 i
    for i in 0 1 2 3 4; do
        echo "# ${members[i]}: ${ended[i]}: $(cat "said.$i")"
        [ "$(wc -l <"said.$i")" -le 1 ] || return
        [ "$i" -ne "$victim" ] || continue
        # Behind the victim the stream breaks off; before it the reader has gone, in silence or
        # because the trainer has.
        if [ "$i" -gt "$victim" ]; then
            [ "${ended[i]}" -eq 3 ] && [ -s "said.$i" ] || return
        else
            [ "${ended[i]}" -ne 0 ] || return
        fi
    done
    "$BIN/model" info "$out" >/dev/null || return
    [ "$victim" -eq 4 ] || [ ! -e "$out.partial" ]
}

@test "loop: kill -9 of each member ends the others; --resume ends with the same bytes" {
    whole_loop
    local victim
    for victim in 0 1 2 3 4; do
        hit_loop KILL "$victim" 40
        [ "${ended[victim]}" -eq 137 ]
        check_death out "$victim"
        "$BIN/logprob" -q -m out --as m demos.toks >/dev/null
        goes_on
    done
}

@test "loop: kill -9 of any member at any point" {
    whole_loop
    # Where the last generation but one is shown already, one that goes on need not show it again.
    local victim part parts=(15)
    [ -z "${SLOW-}" ] || parts=({0..90..5})
    for part in "${parts[@]}"; do
        for victim in 0 1 2 3 4; do
            hit_loop KILL "$victim" "$part"
            [ "${ended[victim]}" -eq 137 ]
            # Begun again, some are hit once more.
            if [ "$part" -le 30 ]; then
                begin_loop out --resume
                end_loop
            fi
            goes_on
        done
    done
}

@test "loop: SIGTERM of the trainer stops all, and it goes on" {
    whole_loop
    hit_loop TERM 4 40
    [ "${ended[4]}" -eq 75 ]
    grep -q -- "--resume" said.4
    goes_on
}

@test "loop: the sampler waits for a policy" {
    "$BIN/rollout" -q -m later --follow -n 1 --steps 2 --batch-size 2 --max-new-tokens 3 prompts.toks >drawn 2>said 3>&- &
    local pid=$! naps
    # It has looked, and slept, and looked.
    naps() { sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$pid/status"; }
    naps=$(naps)
    await eval 'is_gone "$pid" || [ "$(naps)" -gt $((naps + 5)) ]'
    kill "$pid"
    wait "$pid" || [ $? -eq 143 ]
    [ ! -e later ]
    [ ! -s said ]
}

@test "loop: a sampler whose output nobody reads yet sees that the trainer is gone" {
    mkfifo nothing
    "$BIN/reinforce-step" -q -m sft -o out --max-steps 3 nothing >/dev/null 2>&1 3>&- &
    local trainer=$! sampler naps
    "$BIN/rollout" -q -m out --follow -n 1 --steps 3 --batch-size 2 --max-new-tokens 3 prompts.toks >drawn 2>said 3>&- &
    sampler=$!
    # It has drawn its step, and waits for the next generation.
    await eval 'is_gone "$sampler" || [ -s drawn ]'
    naps() { sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$sampler/status"; }
    naps=$(naps)
    await eval 'is_gone "$sampler" || [ "$(naps)" -gt $((naps + 5)) ]'
    kill -9 "$trainer"
    await is_gone "$sampler"
    wait "$sampler" || [ $? -eq 1 ]
    [ "$(cat said)" = 'rollout: out: the trainer has exited; generation 1 will not come' ]
}
