#!/usr/bin/env bats
# densepath(1): every program and pipeline by one command; options of pipelines; completion.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    BIN=$(cd "$BIN" && pwd)
    tree=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    cd "$BATS_TEST_TMPDIR" || return
}

pipelines() { # the names of all
    find "$tree"/pipelines{,/studies} -maxdepth 1 -type f -executable -printf '%f\n'
}

# ---- the command ----

@test "densepath lists each program and pipeline once by its purpose, five of them first" {
    run -0 "$BIN/densepath"
    [ "${#lines[@]}" -gt 40 ]
    "$BIN/densepath" --list-commands | cut -f1 | sort |
        diff - <({ pipelines; cd "$tree/bin" && printf '%s\n' *.c | sed 's/\.c$//' | grep -vx densepath; } | sort)
    # Each is there with a few words, under a heading; the first five come twice.
    "$BIN/densepath" --list-commands | while IFS=$'\t' read -r name words; do
        [ -n "$words" ]
        n=$(grep -cxF "$(printf '  %-23s %s' "$name" "$words")" <<<"$output")
        [ "$n" -eq "$([[ ' sft precheck select dpr evaluate ' == *" $name "* ]] && echo 2 || echo 1)" ] || { echo "$name: $n"; exit 1; }
    done
    [ "$("$BIN/densepath" --help)" = "$output" ]
    [ "$("$BIN/densepath" help)" = "$output" ]
    [ "$("$BIN/densepath" --version)" = "densepath $("$BIN/toks" --version | sed 's/.* //')" ]
}

@test "densepath runs programs and pipelines as they are, by their own names" {
    while read -r name; do
        script=$(find "$tree"/pipelines{,/studies} -maxdepth 1 -name "$name")
        "$BIN/densepath" "$name" --help | cmp - <("$script" --help)
    done < <(pipelines)
    for name in tok sft-train toks model; do
        "$BIN/densepath" $name --help | cmp - <("$BIN/$name" --help)
    done
    "$BIN/densepath" toks select --help | cmp - <("$BIN/toks" select --help)
    printf '%s\n' '{"densepath":1,"columns":[{"name":"token","type":"u32","per":"token"}]}' '{"id":"a","token":[1]}' |
        "$BIN/densepath" toks stat -O json - | jq -e '.records == 1'
    # Status and messages are the command's own.
    run -2 --separate-stderr "$BIN/densepath" toks select --top x
    [[ $stderr == 'toks select: '* ]]
    run -2 --separate-stderr "$BIN/densepath" dpr
    [[ $stderr == 'dpr: -m SFT is missing'* ]]
    # A list that could not be written is a failure.
    run -1 bash -c '"$1" >/dev/full' _ "$BIN/densepath"
    [[ $output == 'densepath: standard output: '* ]]
}

@test "densepath: a name that does not exist is answered with the nearest" {
    nearest() { # NAME NEAREST
        run -2 --separate-stderr "$BIN/densepath" "$1"
        [ "$stderr" = "densepath: there is no '$1': is \`densepath $2\` meant?" ]
    }
    nearest drp dpr
    nearest selct select
    nearest reward_accuracy reward-accuracy
    nearest sfttrain sft-train
    run -2 --separate-stderr "$BIN/densepath" xylophone
    [ "$stderr" = "densepath: there is no 'xylophone' (\`densepath\` tells what there is)" ]
    run -2 --separate-stderr "$BIN/densepath" llama-cli
    [ "$stderr" = "densepath: there is no 'llama-cli': \`densepath help migrate\` says what is called how here" ]
    run -2 "$BIN/densepath" ../bin/toks
    run -2 "$BIN/densepath" --nothing
    run -2 "$BIN/densepath" help drp
}

@test "densepath help NAME shows the page, or --help where nobody can show it" {
    [ "$BIN" -ef "$tree/bin" ] || skip 'needs the plain build'
    mkdir some && printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' >some/man && chmod +x some/man
    [ "$(PATH=$PWD/some:$PATH "$BIN/densepath" help dpr)" -ef "$tree/man/densepath-dpr.1" ]
    [ "$(PATH=$PWD/some:$PATH "$BIN/densepath" help toks)" -ef "$tree/man/toks.1" ]
    [ "$(PATH=$PWD/some:$PATH "$BIN/densepath" help densepath)" -ef "$tree/man/densepath.1" ]
    [ "$(PATH=$PWD/some:$PATH "$BIN/densepath" help recipes)" -ef "$tree/man/densepath-recipes.7" ]
    PATH=$PWD/some:$PATH run -2 "$BIN/densepath" help ../man/toks
    # Nothing but what the pipelines need.
    mkdir none && for name in bash env dirname find sed cut awk; do ln -s "$(command -v $name)" none/; done
    PATH=$PWD/none "$BIN/densepath" help dpr | cmp - <("$tree/pipelines/dpr" --help)
}

@test "installed under names with spaces, it runs with nothing in PATH, from a Makefile, and goes away again" {
    [ "$BIN" -ef "$tree/bin" ] || skip 'needs the plain build'
    env -u BUILD make -C "$tree" -s install DESTDIR="$PWD/de st" PREFIX='/my programs' >/dev/null
    there="$PWD/de st/my programs"
    [ "$(readlink "$there/share/bash-completion/completions/tok")" = densepath ]
    "$there/bin/densepath" --list-commands | cmp - <("$BIN/densepath" --list-commands)
    mkdir some && printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' >some/man && chmod +x some/man
    [ "$(PATH=$PWD/some:$PATH "$there/bin/densepath" help models)" -ef "$there/share/man/man7/densepath-models.7" ]
    # Whatever its documents link to was installed too.
    (cd "$there/share/doc/densepath" && grep -roE '\]\([^)#:][^):]*\)' .) | sed -E 's/^([^:]*):\]\(([^#)]*).*/\1 \2/' >links
    [ "$(grep -c '^\./README\.md ' links)" -gt 30 ]
    while read -r page link; do
        [ -s "$(dirname "$there/share/doc/densepath/$page")/$link" ] || { echo "$page: $link"; return 1; }
    done <links
    mkdir 'a folder' && cd 'a folder'
    "$tree/pipelines/tasks/annotators/generate" --n 12 >demos.jsonl
    env -u BIN "$there/bin/densepath" model init -q "$tree/pipelines/tasks/annotators/model" -o base --seed 1
    printf '%s\n' 'better: sft' '	@"$(D)/bin/densepath" best-of -m sft -n 2 --reference none --max-new-tokens 4 demos.jsonl | wc -l' \
        'sft:' '	@"$(D)/bin/densepath" sft -q -m base -o sft demos.jsonl -- --max-steps 1' >Makefile
    # The programs beside it are those that the pipeline runs, whatever BIN is.
    run -0 --separate-stderr env BIN=/nowhere make -s D="$there"
    [ "$output" -eq 12 ]
    # A pipeline that is called by its path finds the programs that were installed with it.
    env -u BIN PATH=/usr/bin:/bin "$there/share/densepath/pipelines/perplexity" -m sft --json demos.jsonl --field prompt |
        jq -e '.documents == 12'
    cd ..
    whole=$(stat -c %s "$PWD/de st/my programs/bin/tok")
    env -u BUILD make -C "$tree" -s install-strip DESTDIR="$PWD/de st" PREFIX='/my programs' >/dev/null
    [ "$(stat -c %s "$PWD/de st/my programs/bin/tok")" -lt $((whole / 2)) ]
    "$PWD/de st/my programs/bin/tok" --version >/dev/null
    env -u BUILD make -C "$tree" -s uninstall DESTDIR="$PWD/de st" PREFIX='/my programs' >/dev/null
    [ -z "$(find 'de st' -not -type d)" ]
}

# ---- options of pipelines ----

# A script with an option of each kind that prints what they became.
make_script() {
    {
        printf 'source %q\n' "$tree/pipelines/lib/pipeline.bash"
        cat <<'SCRIPT'
me=try
options "$@" <<'END'
Usage: try [OPTION...] FILE...
Try out.

Of two paragraphs.

  -m, --model DIR             model           text!       a model;
                              --like this
      --floor EPS             floor=0.03      real 0 1    a floor
  -n, --number N              number=4        int 1       how many
      --mode fast|slow        mode=slow       choice      how
Sorts:
      --sep TEXT              sep=" "         text?       between
      --mark NAME             marks           list        several
      --json                  format=json     flag        as JSON
      --resume                resume          flag        go on
%common metrics seed threads
%purpose look never listed
%operands 1 3 one to three files are needed
%rest sft-train

The end.
END
declare -p model floor number mode sep marks format resume metrics seed threads operands rest quiet verbose loud hush
SCRIPT
    } >try
    chmod +x try
    try() { BIN=$BIN bash ./try "$@"; }
}

@test "options of pipelines: kinds, defaults, forms, operands anywhere, words after --" {
    make_script
    try -m a x | sed 's/^declare -[-a] //' >got
    diff got - <<'END'
model="a"
floor="0.03"
number="4"
mode="slow"
sep=" "
marks=()
format=""
resume=""
metrics=""
seed="0"
threads="0"
operands=([0]="x")
rest=()
quiet=""
verbose=""
loud=()
hush=([0]="-q")
END
    run -2 --separate-stderr try x -m a --mod fast
    [[ $stderr == "try: option '--mod' is one of several: --model, --mode "* ]]
    try x --floor=1e-1 -n007 --mode fast --sep '' -ma --mark b --mark="c d" y --json --res -v - -- --lr 1 -- $'z\n\'' |
        sed 's/^declare -[-a] //' >got
    diff got - <<'END'
model="a"
floor="1e-1"
number="7"
mode="fast"
sep=""
marks=([0]="b" [1]="c d")
format="json"
resume="yes"
metrics=""
seed="0"
threads="0"
operands=([0]="x" [1]="y" [2]="-")
rest=([0]="--lr" [1]="1" [2]="--" [3]=$'z\n\'')
quiet=""
verbose="yes"
loud=([0]="-v")
hush=()
END
    # Nothing that is given is run.
    try -m '$(touch ran)`touch ran`"; touch ran' "'; touch ran; '" >got
    [ ! -e ran ]
    grep -qF '\$(touch ran)' got
    # -q silences, whatever -v says.
    try -qv -m a x | grep -qx 'declare -a loud=(\[0\]="-q")'
}

@test "options of pipelines: a file of options, under the command line" {
    make_script
    printf '%s\n' '# ours' 'model = from file' 'number=9' 'json = yes' 'resume = no' >conf
    try --config conf --number 2 x | sed 's/^declare -[-a] //' >got
    grep -qx 'model="from file"' got
    grep -qx 'number="2"' got
    grep -qx 'format="json"' got
    grep -qx 'resume=""' got
    printf 'nombre = 3\n' >bad
    run -2 --separate-stderr try --config bad -m a x
    [[ $stderr == "try: bad:1: try has no option 'nombre'"* ]]
    printf 'number = three\n' >bad
    run -2 --separate-stderr try --config=bad -m a x
    [[ $stderr == "try: --number: 'three' is not a whole number"* ]]
}

@test "options of pipelines: what is refused, in one line with status 2" {
    make_script
    refuse() { # MESSAGE ARGUMENT...
        run -2 --separate-stderr try "${@:2}"
        [ "$stderr" = "try: $1 (see \`try --help\`)" ]
        [ -z "$output" ]
    }
    refuse '-m DIR is missing' x
    refuse 'one to three files are needed' -m a
    refuse 'one to three files are needed' -m a 1 2 3 4
    refuse "--floor: 2 is not in 0 .. 1" -m a --floor 2 x
    refuse "--floor: 'x' is not a number" -m a --floor x x
    refuse "--number: 0 is not in 1 .. 999999999" -m a --number 0 x
    refuse "--mode: 'quick' is not one of fast|slow" -m a --mode quick x
    refuse '--model needs a value that is not empty' --model '' x
    refuse "option '--model' needs a value" --model
    refuse "option '--json=yes' takes no value" -m a --json=yes x
    refuse "unknown option '--flor': is --floor meant?" -m a --flor 1 x
    refuse "unknown option '-x'" -m a -x x
    refuse "unknown option '--xylophone'" -m a --xylophone x
    refuse "unknown option '--num-train-epochs': it is sft-train's, whose options stand after --" -m a --num-train-epochs 2 x
    # Programs tell too.
    run -2 "$BIN/rollout" --max_new_tokens 3
    [[ $output == *"unknown option '--max_new_tokens': is --max-new-tokens meant?"* ]]
    run -2 "$BIN/rollout" --to 3
    [[ $output == *"option '--to' is one of several: --top-k, --top-p"* ]]
}

@test "options of pipelines: those of records are an array for tok, all of them or some" {
    make_script
    sed -i 's/^%purpose/%records\n&/; s/^declare -p .*/declare -p records/' try
    [ "$(try -m a x)" = 'declare -a records=()' ]
    [ "$(try -m a x --now=2025-01-31T10:00:00 --fields "prompt=it's" --join-parts)" = \
        "declare -a records=([0]=\"--fields=prompt=it's\" [1]=\"--join-parts\" [2]=\"--now=2025-01-31T10:00:00\")" ]
    run -2 --separate-stderr try -m a x --turns some
    [ "$stderr" = "try: --turns: 'some' is not one of together|each (see \`try --help\`)" ]
    sed -i 's/^%records/& now turns/' try
    [ "$(try -m a x --turns each)" = 'declare -a records=([0]="--turns=each")' ]
    run -2 --separate-stderr try -m a x --roles a=b
    [[ $stderr == "try: unknown option '--roles'"* ]]
    sed -i 's/^%records.*/%records now then/' try
    run -1 --separate-stderr try -m a x
    [ "$stderr" = 'try: the table of options cannot be read at `now then`' ]
}

@test "options of pipelines: --help, --version and --list-options come of the table" {
    make_script
    run -0 --separate-stderr try --help
    [ "${lines[0]}" = 'Usage: try [OPTION...] FILE...' ]
    [ "${lines[-1]}" = 'The end.' ]
    [ -z "$stderr" ]
    [[ $output == *'  -m, --model DIR             a model; --like this'* ]]
    [[ $output == *'      --mode fast|slow        how [slow]'*'Sorts:'*'      --mark NAME             several'* ]]
    [[ $output == *'Common:'*'      --seed N                seed of all random numbers [0]'*'--config FILE'* ]]
    [[ $output != *%* ]]
    [[ $(try --version) == 'try (densepath) '* ]]
    try --list-options | sed -n 2,4p | diff - <(printf '%s\n' $'floor\t-\tEPS\t0.03\ta floor' \
        $'number\tn\tN\t4\thow many' $'mode\t-\tfast|slow\tslow\thow')
    run -1 bash -c 'BIN=$1 bash ./try --help >/dev/full' _ "$BIN"
    [[ $output == 'try: standard output: '* ]]
    # A table that cannot be read is the script's fault: 1, and nothing is run.
    sed -i 's/ real 0 1 / whatever  /' try
    run -1 --separate-stderr try -m a x
    [[ $stderr == 'try: the table of options cannot be read at '* ]]
    [ -z "$output" ]
}

@test "each pipeline uses each variable of its table" {
    while read -r name; do
        script=$(find "$tree"/pipelines{,/studies} -maxdepth 1 -name "$name")
        # The table, and the script around it with what it shares.
        awk '/^options "\$@" <</ { table = 1 } table; /^END$/ { table = 0 }' "$script" |
            sed -nE 's/^ {2,6}(-.*)/\1/p' | awk -F'  +' '{ sub(/=.*/, "", $2); print $2 }' >variables
        [ -s variables ]
        awk '/^options "\$@" <</ { table = 1 } !table; /^END$/ { table = 0 }' "$script" |
            cat - "$tree"/pipelines/lib/*.bash >code
        while read -r variable; do
            grep -qE '[$({# ]'"$variable"'([^a-z_]|$)' code || { echo "$name: $variable"; return 1; }
        done <variables
    done < <(pipelines)
}

@test "--help offers what this build has: fp32 and products of bf16, on the CPU; others are refused" {
    for name in sft-train logprob rollout pair-train reward-train reinforce-step novelty; do
        "$BIN/$name" --list-options >list
        [ "$(awk -F'\t' '$1 == "device" { print $3 }' list)" = cpu ]
        [ "$(awk -F'\t' '$1 == "dtype" { print $3 }' list)" = 'fp32|bf16' ]
        run -2 "$BIN/$name" -m nowhere --dtype fp16
        [[ $output == "$name: --dtype: 'fp16' is not one of fp32|bf16"* ]]
        run -2 "$BIN/$name" -m nowhere --device cuda
    done
    for name in sft-train pair-train reinforce-step 'model init' 'model average'; do
        # shellcheck disable=SC2086 # a program and its command
        [ "$("$BIN"/$name --list-options | awk -F'\t' '$1 == "output" { print $3 }')" = DIR ]
    done
}

# ---- completion ----

@test "bash completes names, options, choices and files" {
    # shellcheck source=/dev/null
    source "$tree/completions/densepath.bash"
    PATH=$BIN:$PATH
    [ "$(complete_words densepath se)" = select ]
    [ "$(complete_words densepath help toks)" = toks ]
    complete_words densepath '' | grep -qx -- --version
    [ "$(complete_words densepath toks sel)" = select ]
    [ "$(complete_words densepath model ini)" = init ]
    [ "$(complete_words densepath toks select --botto)" = --bottom ]
    [ "$(complete_words densepath dpr --cross)" = --cross-fitted ]
    [ "$(complete_words densepath dpr --credit un)" = uniform ]
    [ "$(complete_words densepath dpr --credit = un)" = uniform ]
    [ "$(complete_words densepath dpr --credit =)" = $'token\nsequence\nuniform\nlast' ]
    mkdir folder && touch file
    [ "$(complete_words densepath dpr --cross-fitted f)" = folder ]
    [ "$(complete_words densepath dpr f | sort)" = $'file\nfolder' ]
}

@test "zsh and fish: completions can be read, know every program and no option" {
    for file in _densepath densepath.fish; do
        for source in "$tree"/bin/*.c; do
            name=$(basename "$source" .c)
            grep -E '^(#compdef|for program in) ' "$tree/completions/$file" | grep -qE "(^| )$name( |$)" || { echo "$file: $name"; return 1; }
        done
        run ! grep -qE -- '--(floor|credit|model)' "$tree/completions/$file"
    done
    if command -v zsh >/dev/null; then zsh -n "$tree/completions/_densepath"; fi
    if command -v fish >/dev/null; then
        fish --no-execute "$tree/completions/densepath.fish"
        completed() { # LINE
            PATH=$BIN:$PATH fish -c "source '$tree/completions/densepath.fish'; complete -C '$1'" | cut -f1
        }
        [ "$(completed 'densepath selec')" = select ]
        [ "$(completed 'densepath toks sel')" = select ]
        [ "$(completed 'densepath dpr --cross')" = --cross-fitted ]
        [ "$(completed 'densepath dpr --credit un')" = uniform ]
        [ "$(completed 'densepath dpr --credit=un')" = --credit=uniform ]
        [ "$(completed 'toks select --botto')" = --bottom ]
    fi
}
