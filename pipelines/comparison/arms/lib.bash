# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# What the commands of an arm find, besides the functions of ../../lib/pipeline.bash, and these variables:
#   S         folder of the seed
#   A         path of the arm: its model is $A, its files are $A.*
#   x         the factor on its strength that tuning chose, or tries
#   seed, threads, task, prompts (the file to answer)
# shellcheck source=pipelines/lib/pipeline.bash
# The stage that sources this has set them.
# shellcheck disable=SC2154
source "${BASH_SOURCE[0]%/*}/../../lib/pipeline.bash"

# Options of every trainer. What was interrupted goes on from its last state.
# shellcheck disable=SC2034
common=(--seed "${seed:=1}" --threads "${threads:=1}")
# shellcheck disable=SC2034
resume=(-q --resume --save-steps 200)

times_x() { # X
    if [[ $x == 1 ]]; then
        printf '%s\n' "$1"
    else
        awk -v a="$1" -v b="$x" 'BEGIN { printf "%.6g\n", a * b }'
    fi
}

# The options with the number after --learning-rate times the factor, one word a line.
scaled() { # OPTION...
    local last='' word
    for word; do
        if [[ $last == --learning-rate ]]; then times_x "$word"; else printf '%s\n' "$word"; fi
        last=$word
    done
}

# Answers to $prompts, scored, in $A.answers.sampled and $A.answers.greedy; --temperature T,0.
answer() { # MODEL TEMPERATURE EVALUATE-OPTION...
    local model=$1 temperature=$2
    shift 2
    evaluate -m "$model" --score "$task/score" --temperature "$temperature,0" \
        --completions "$A.answers.%t" "${common[@]}" "$prompts" "$@" >/dev/null
    mv -- "$A.answers.$temperature" "$A.answers.sampled"
    mv -- "$A.answers.0" "$A.answers.greedy"
}

# What the task measures on the model itself.
measured() { # MODEL
    [[ ! -x $task/measure ]] || "$task/measure" -m "$1" -d "$S" "${common[@]}" >"$A.answers.measured"
}

# $A.tsv of all that: the means of the members of the answers, `score` as sampled and greedy.
rows() { # TASK MEMBER...
    local name=$1 kind files=()
    shift
    for kind in sampled greedy; do
        [[ ! -e $A.answers.$kind ]] || files+=("$A.answers.$kind")
    done
    : >"$A.answers.rows"
    ((!${#files[@]})) || jq -rn '
        reduce inputs as $r ({};
            (input_filename | split(".") | last) as $kind
            | reduce $ARGS.positional[] as $m (.;
                if ($r[$m] | type) == "number" then .[$kind][$m] += [$r[$m]] else . end))
        | . as $all | ("sampled", "greedy") as $kind | $ARGS.positional[]
        | if $all[$kind][.] == null then empty
          else [(if . == "score" then $kind else "\(.) \($kind)" end), ($all[$kind][.] | add / length)] end
        | @tsv' "${files[@]}" --args "$@" >"$A.answers.rows"
    [[ ! -e $A.answers.measured ]] || cat -- "$A.answers.measured" >>"$A.answers.rows"
    [[ -s $A.answers.rows ]] || fail "nothing was measured"
    awk -v OFS='\t' -v task="$name" -v arm="${A##*/}" -v seed="$seed" '{ print task, arm, seed, $0 }' \
        "$A.answers.rows" >"$A.tsv"
    rm -- "$A.answers.rows"
}
