# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Reinforcement in rounds, as the pipelines share it: samples of the policy at the start of the
# round, then the round's updates. Sourced after lib.bash. The script defines
#     samples POLICY STEPS    writes the stream with the column advantage for the steps from the
#                             policy's generation on up to STEPS
# and calls `rounds` where it has this file's options, else `in_rounds`. With one update a round the samples are always the current policy's own.

# shellcheck disable=SC2034 # the options' defaults, which the scripts' help shows
model='' out='' steps=60 round_steps=1 batch=32 new_tokens=256 temperature=1 rate=1e-6 save_steps=0
resume='' metrics='' seed=1 threads=0 operands=()

rounds_usage() {
    cat <<END
      --steps N           updates [$steps]
      --round-steps N     updates on the samples of one policy [$round_steps]
      --batch-size N      prompts an update [$batch]
      --max-new-tokens N  [$new_tokens]
      --temperature X     [$temperature]
      --learning-rate X   [$rate]
      --resume            go on from a saved state
      --metrics FILE      one JSON object an update
      --seed N            [$seed]
      --threads N         a program; 0: as many as there are processors [$threads]
  -h, --help              print this help

The samples of each round, with their rewards, stay in OUT.rounds. What follows -- goes to
reinforce-step.
END
}

# Takes one of the common options: sets `taken` to the number of words, 0 if it is none of them.
rounds_option() { # ARGUMENT...
    taken=2
    case $1 in
    -m) need_value "$@" && model=$2 ;;
    -o) need_value "$@" && out=$2 ;;
    --steps) need_positive "$@" && steps=$((10#$2)) ;;
    --round-steps) need_positive "$@" && round_steps=$((10#$2)) ;;
    --batch-size) need_positive "$@" && batch=$((10#$2)) ;;
    --max-new-tokens) need_positive "$@" && new_tokens=$2 ;;
    --temperature) need_number "$@" && temperature=$2 ;;
    --learning-rate) need_number "$@" && rate=$2 ;;
    --resume) resume=--resume && taken=1 ;;
    --metrics) need_value "$@" && metrics=$2 ;;
    --seed) need_whole "$@" && seed=$2 ;;
    --threads) need_whole "$@" && threads=$2 ;;
    -?*) usage_error "unknown option '$1'" ;;
    *) operands+=("$1") && taken=1 ;;
    esac
}

generation() { # of the policy; 0 where there is none
    if [[ -r $out/densepath.json ]]; then jq '.generation // 0' "$out/densepath.json"; else echo 0; fi
}

# From MODEL; the options of reinforce-step hold in every round.
in_rounds() { # MODEL OPTION...
    local from=0 to policy=$1 again=$resume stream
    shift
    mkdir -p "$out.rounds"
    if [[ -n $resume ]]; then
        from=$(saved_step "$out")
        ((from == 0)) || policy=$out
    else
        rm -f -- "$out.rounds"/[0-9]*.{toks,answers-*}
    fi
    while ((from < steps)); do
        to=$(((from / round_steps + 1) * round_steps))
        to=$((to < steps ? to : steps))
        stream=$out.rounds/$to.toks
        # The file, not a pipe: where samples fail, nothing else has something to say.
        # shellcheck disable=SC2154 # make_work sets it
        if [[ -e $stream ]]; then
            rest_of_round "$stream" "$from" >"$work/rest.toks"
            stream=$work/rest.toks
        else
            samples "$policy" "$to" >"$work/round.toks"
            toks cat -q "$work/round.toks" -o "$stream"
            rm -f -- "$out.rounds/$to".answers-*
        fi
        # shellcheck disable=SC2086 # $again is one word or none
        reinforce-step "$@" --max-steps "$to" $again "$stream"
        from=$(generation)
        # A stop rule kept an earlier generation.
        ((from == to)) || break
        policy=$out again=--resume
    done
}

# BATCH: samples an update. More arguments are options of reinforce-step.
rounds() { # BATCH OPTION...
    local trainer=(-q -m "$model" -o "$out" --batch-size "$1" --learning-rate "$rate"
        --lr-scheduler-type constant --save-steps 0 --seed "$seed" --threads "$threads")
    [[ -z $metrics ]] || trainer+=(--metrics "$metrics")
    in_rounds "$model" "${trainer[@]}" "${@:2}"
}
