# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# Completion for densepath and the programs. What there is to complete they say themselves
# (--list-commands, --list-options), so that this file knows no option.

# The commands of toks and model stand in --help, a line each.
_densepath_commands() { # PROGRAM...
    "$@" --help 2>/dev/null | sed -nE '/^Commands/,/^$/s/^ *([a-z]+) .*/\1/p'
}

_densepath_words() { # LIST WORD
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_densepath() { # PROGRAM WORD PREVIOUS
    local run=("$1") word=$2 previous=$3 at=1 options values
    COMPREPLY=()
    # --name=value comes as three words.
    if [[ $word == '=' ]]; then
        word=''
    elif [[ $previous == '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ ${1##*/} == densepath ]]; then
        if ((COMP_CWORD == 1)) || [[ ${COMP_WORDS[1]} == help ]]; then
            values=$("$1" --list-commands 2>/dev/null | cut -f1)
            ((COMP_CWORD > 1)) || values+=$'\nhelp\n--help\n--version'
            _densepath_words "$values" "$word"
            return
        fi
        run+=("${COMP_WORDS[1]}") at=2
    fi
    case ${run[-1]##*/} in
    toks | model)
        if ((COMP_CWORD == at)); then
            _densepath_words "$(_densepath_commands "${run[@]}")" "$word"
            return
        fi
        run+=("${COMP_WORDS[at]}")
        ;;
    esac
    # name, letter, argument, default, help; separated by tabs.
    options=$("${run[@]}" --list-options 2>/dev/null)
    values=$(awk -F'\t' -v p="$previous" 'p == "--" $1 || p == "-" $2 { print $3 }' <<<"$options")
    if [[ $previous == -* && $values == *\|* && $values != *[:A-Z]* ]]; then
        _densepath_words "${values//|/ }" "$word"
    elif [[ $previous == -* && $values == *DIR* ]]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$word")
    elif [[ $word == -* ]]; then
        _densepath_words "$(awk -F'\t' '{ print "--" $1 } END { print "--help\n--version" }' <<<"$options")" "$word"
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -o filenames -F _densepath densepath tok sft-train logprob dense-reward novelty rollout \
    ask reinforce-step pair-train reward-train toks model tfevents
