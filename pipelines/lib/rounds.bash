# shellcheck shell=bash
# shellcheck disable=SC2154 # out, steps and the like are options of the script
# SPDX-License-Identifier: MIT
# Reinforcement in rounds, as the pipelines share it: samples of the policy at the start of the
# round, then the round's updates. Sourced after pipeline.bash. The script defines
#     samples POLICY STEPS    writes the stream with the column advantage for the steps from the
#                             policy's generation on up to STEPS
# and calls `rounds` where it has this file's options, else `in_rounds`. With one update per round the
# samples are always the current policy's own.

# The options of these scripts, for their tables.
# shellcheck disable=SC2034
rounds_options='  -m, --model MODEL             model             text!     the model to start from
  -o, --output OUT              out               text!     the model to write
      --steps N                 steps=60          int 1     updates
      --round-steps N           round_steps=1     int 1     updates on the samples of one policy
      --batch-size N            batch=32          int 1     prompts per update
      --max-new-tokens N        new_tokens=256    int 1     longest sample, in tokens
      --temperature X           temperature=1     real 0    of the samples; 0: the most likely
                                tokens
      --learning-rate X         rate=1e-6         real      of the updates
      --resume                  resume=--resume   flag      go on from a saved state'
# shellcheck disable=SC2034
rounds_rest='%rest reinforce-step

The samples of each round, with their rewards, stay in OUT.rounds. What follows -- goes to
reinforce-step.'

# What a run from the beginning would destroy, found before the first sample.
claim_output() {
    local there=$out
    [[ -z $overwrite || ! -e $out || -e $out/densepath.json ]] ||
        fail "$out: exists and was not made by densepath: remove it or choose another name with -o"
    [[ -z $resume && -z $overwrite ]] || return 0
    [[ -e $there ]] || there=$(find "$out.rounds" -maxdepth 1 -name "[0-9]*.toks" -print -quit 2>/dev/null) || true
    [[ -z $there ]] ||
        fail "$there: exists: --resume goes on with it, --overwrite replaces it; or choose another name with -o"
}

generation() { # of the policy; 0 where there is none
    if [[ -r $out/densepath.json ]]; then jq '.generation // 0' "$out/densepath.json"; else echo 0; fi
}

# From MODEL; the options of reinforce-step hold in every round.
in_rounds() { # MODEL OPTION...
    local from=0 to policy=$1 again=$resume stream
    shift
    hold "$out.rounds"
    # The first round replaces what is there, if that is wished; the others go on from it.
    local first=$overwrite
    if [[ -n $resume ]]; then
        from=$(saved_step "$out")
        ((from == 0)) || policy=$out
        # Killed while its last generation got its place: reinforce-step clears up.
        ((from == 0)) || [[ ! -e $out.partial ]] || from=$((from - 1))
    else
        # The samples of a run that was stopped are of use to it only, with its policy.
        [[ ! -e $out || -n $overwrite || " $* " == *' --overwrite '* ]] ||
            fail "$out: exists: --resume goes on with it, --overwrite replaces it; or choose another name with -o"
        rm -f -- "$out.rounds"/[0-9]*.{toks,answers-*}
    fi
    while ((from < steps)); do
        to=$(((from / round_steps + 1) * round_steps))
        to=$((to < steps ? to : steps))
        stream=$out.rounds/$to.toks
        # The file, not a pipe: where samples fail, nothing else has something to say.
        # shellcheck disable=SC2154 # make_work sets it
        # Of the samples of a round that was stopped in its midst, whose policy has gone, reinforce-step uses
        # the rest.
        if [[ ! -e $stream ]]; then
            samples "$policy" "$to" >"$work/round.toks"
            toks cat "${hush[@]}" "$work/round.toks" -o "$stream"
            rm -f -- "$out.rounds/$to".answers-*
        fi
        # shellcheck disable=SC2086 # $again and $first are one word or none
        reinforce-step "$@" --max-steps "$to" $again $first "$stream"
        first=
        from=$(generation)
        # A stop rule kept an earlier generation.
        ((from == to)) || break
        policy=$out again=--resume
    done
}

# BATCH: samples per update. More arguments are options of reinforce-step.
rounds() { # BATCH OPTION...
    local trainer=("${hush[@]}" -m "$model" -o "$out" --batch-size "$1" --learning-rate "$rate"
        --lr-scheduler-type constant --save-steps 0 --save-minutes "$save_minutes" --seed "$seed" --threads "$threads")
    [[ -z $metrics ]] || trainer+=(--metrics "$metrics")
    in_rounds "$model" "${trainer[@]}" "${@:2}"
}
