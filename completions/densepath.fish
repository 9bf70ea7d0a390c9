# SPDX-License-Identifier: MIT
# Completion of fish for densepath and the programs. What there is to complete they say themselves
# (--list-commands, --list-options), so that this file knows no option.

# What may stand where the cursor is: a word a line, and after a tab what it means.
function __densepath_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l run $words[1]
    set -l at 1
    if test (basename -- $words[1]) = densepath
        if test (count $words) -eq 1; or test "$words[2]" = help
            $run --list-commands 2>/dev/null
            test (count $words) -gt 1; or printf 'help\tshow a manual page\n'
            return
        end
        set run $run $words[2]
        set at 2
    end
    if contains -- (basename -- $run[-1]) toks model
        if test (count $words) -eq $at
            # The commands stand in --help, a line each.
            $run --help 2>/dev/null | sed -nE '/^Commands/,/^$/s/^ *([a-z]+) .*/\1/p'
            return
        end
        set run $run $words[(math $at + 1)]
    end
    set -l previous $words[-1]
    set -l prefix ''
    if string match -q -- '--*=*' $word
        set previous (string replace -r -- '=.*' '' $word)
        set prefix $previous=
    end
    # name, letter, argument, default, help; separated by tabs.
    set -l options ($run --list-options 2>/dev/null)
    set -l values (printf '%s\n' $options | awk -F'\t' -v p=$previous 'p == "--" $1 || p == "-" $2 { print $3 }')
    if string match -q -- '*|*' "$values"; and not string match -qr -- '[:A-Z]' "$values"
        printf "$prefix%s\n" (string split '|' -- $values)
    else if string match -q -- '*DIR*' "$values"
        __fish_complete_directories (string replace -- "$prefix" '' $word)
    else if string match -q -- '-*' $word
        printf '%s\n' $options | awk -F'\t' '{ print "--" $1 "\t" $5 }'
        printf '%s\n' --help --version
    else
        __fish_complete_path $word
    end
end

for program in densepath tok sft-train logprob dense-reward novelty rollout ask reinforce-step pair-train reward-train toks model tfevents
    complete -c $program -f -a '(__densepath_complete)'
end
