#!/usr/bin/env bats
# long
# Names of folders and files that a shell, make, a list or a terminal could take for something else: used
# as they are, or refused with one line; never executed.
# shellcheck disable=SC2016,SC2154
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines
# What would be executed makes a file INJ; it has a line break, and colours the terminal.
odd=$'-a b;>INJ;$(touch INJ)`touch INJ`"it\'s"\\\n\e[31m%d #&|*'

setup_file() {
    sorters
}

setup() {
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    export BIN
    cd "$BATS_TEST_TMPDIR" || return
}

nothing_ran() {
    [ -z "$(find . -name INJ)" ]
}

tiny=(--seeds 1 --arms sft -j 1 HELD_OUT=4 STOP_RULE=4 VALIDATION=4 PRECHECK=2 DEMONSTRATIONS=10
    'SFT=--batch-size 4 --max-steps 2')

@test "compare: any name for OUT, and for the folders of its task, programs and pipelines" {
    local out
    for out in "$odd" "it's" 'a:b' 'a,b=c'; do
        "$P/compare" -q -o "$out" --tasks sort "${tiny[@]}" >table
        grep -q '^  SFT ' table
        cmp <(cut -f 1-4 ./"$out"/results.tsv) <(cut -f 1-4 ./"$odd"/results.tsv)
        [ -e ./"$out"/seed-1/sft/config.json ]
    done
    # What is there is found again.
    "$P/compare" -o "it's" --tasks sort "${tiny[@]}" 2>said >table
    run ! grep -q 'seed 1' said
    mkdir -- "$odd tree"
    cp -r "$P" "./$odd tree/pipelines"
    cp -r "$BIN" "./$odd tree/programs"
    BIN="$odd tree/programs" ./"$odd tree"/pipelines/compare -q -o plain --tasks "./$odd tree/pipelines/tasks/sort" \
        "${tiny[@]}" >table
    grep -q '^  SFT ' table
    nothing_ran
}

@test "compare: what make's shell would run is refused, with one line" {
    cp -r "$P/tasks/sort" 'a;>INJ'
    refused() { # COMMAND...
        run -2 --separate-stderr "$@"
        [ "${#stderr_lines[@]}" -eq 1 ]
        [[ $stderr != *$'\e'* ]]
    }
    refused "$P/compare" -o out --tasks 'a;>INJ' "${tiny[@]}"
    refused "$P/compare" -o out --tasks sort "${tiny[@]}" 'CONTINUED=;touch INJ'
    refused "$P/compare" -o out --tasks sort "${tiny[@]}" 'DPR=$(shell touch INJ)'
    refused "$P/compare" -o out --tasks sort "${tiny[@]}" 'DPR=`touch INJ`'
    refused "$P/compare" -o out --tasks sort "${tiny[@]}" "BASE=$odd"
    STORIES='$(shell touch INJ)' refused "$P/compare" -o out --tasks sort "${tiny[@]}"
    refused "$P/studies/map" -o "$odd" 35-1-10
    [ ! -e out ]
    nothing_ran
}

@test "make: PREFIX, DESTDIR and OUT are names, whatever is in them" {
    local root=$PWD there
    # The programs are there already: what make would compile is none of this.
    there=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
    build() { env -u BUILD -u BIN -u MAKEFLAGS make -s -C "$there" "$@"; }
    PREFIX=/opt build -n install | grep -q install
    for prefix in '/opt/my app' "/it's;touch $root/INJ;'" "/\`touch $root/INJ\`"; do
        build install DESTDIR="$root/to here" PREFIX="$prefix"
        [ -x "$root/to here$prefix/bin/toks" ]
        "$root/to here$prefix/share/densepath/pipelines/select" --help | grep -q '^Usage: select'
        build uninstall DESTDIR="$root/to here" PREFIX="$prefix"
        [ -z "$(find "$root/to here$prefix" -type f)" ]
    done
    run -2 build install DESTDIR="$root/to" PREFIX='/$(shell touch INJ)'
    [ ! -e to ]
    [ ! -e "$there/INJ" ]
    nothing_ran
}

@test "pipelines: input and output folders of any name" {
    local few=(--steps 1 --batch-size 2 -n 2 --max-new-tokens 4) d=./$odd
    mkdir "$d"
    cp -r "$BATS_FILE_TMPDIR"/{base,sft,demos.jsonl} "$d"
    "$P/dpr" -m "$d/sft" -o "$d/dpr" --mode rounds --reference "half,$d/base" "${few[@]}" "$d/demos.jsonl" -- -q
    "$P/precheck" -q -m "$d/sft" --reference "half,$d/base" --score 'jq -c ".score = 1"' -n 2 --max-new-tokens 4 \
        "$d/demos.jsonl" >precheck
    "$P/crossfit" -m "$d/base" -o "$d/folds" --folds 2 --reference "half,$d/base" "$d/demos.jsonl" -- -q --max-steps 4
    "$P/irft" -m "$d/base" -o "$d/irft" --stages 2 --steps 1 --max-new-tokens 4 "$d/demos.jsonl" -- -q
    "$P/rft" -m "$d/sft" -o "$d/rft" --rounds 1 "${few[@]}" "$d/demos.jsonl" -- -q
    "$P/best-of-sft" -m "$d/sft" -o "$d/best" --rounds 1 --prompts 4 --max-new-tokens 4 "$d/demos.jsonl" -- -q
    [ -e "$d/dpr/config.json" ]
    [ -e "$d/folds/rewarded.toks" ]
    [ -e "$d/irft/config.json" ]
    [ -e "$d/rft/config.json" ]
    [ -e "$d/best/config.json" ]
    nothing_ran
}

@test "pipelines: a comma in the folder of a reference is refused, and why" {
    mkdir a,b
    cp -r "$BATS_FILE_TMPDIR/sft" a,b
    local command
    for command in dpr select; do
        run -1 "$P/$command" -m a,b/sft -o out "$BATS_FILE_TMPDIR/demos.jsonl"
        [[ $output == "$command: a,b/sft/half: commas separate references"* ]]
        [ ! -e out ]
    done
    ln -s a,b/sft sft
    "$P/dpr" -m sft -o out --steps 1 --batch-size 2 -n 2 --max-new-tokens 4 "$BATS_FILE_TMPDIR/demos.jsonl" -- -q
}

@test "no message moves a terminal" {
    local escape=$'\e[31m\xc2\x9b\u202e' said model=$BATS_FILE_TMPDIR/sft
    for said in "$P/dpr -o out -m $model" "$P/sft -o out -m $model" "toks head" "tok -m $model" \
        "$P/evaluate --score true -m $model"; do
        run ! $said "$escape/nowhere"
        [[ $output == *"/nowhere"* ]]
        run ! grep -q $'\e\|\u202e\|\xc2\x9b' <<<"$output"
    done
    for said in "$P/tasks/sort/generate" "$P/tasks/sort/score" "$P/rewards/exact-match"; do
        run ! "$said" $'--\e[31m'
        [[ $output == *'--?[31m'* ]]
    done
}
