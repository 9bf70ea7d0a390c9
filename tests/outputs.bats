#!/usr/bin/env bats
# Where named outputs go: an input is never replaced, links and descriptors are written through, and
# what replaces a file is on the disk first.
bats_require_minimum_version 1.5.0
load helpers

setup() {
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    cd "$BATS_TEST_TMPDIR" || return
    printf '{"id":"r%d","token":[1,2],"mask":[0,1],"reward":[null,%d]}\n' 1 1 2 2 3 3 >in.jsonl
    toks view -b in.jsonl -o in.toks
    cp in.toks kept.toks
    toks head -n 2 in.toks >two.toks
}

score_both() { # scored.toks: columns logp:a, logp:b for reward
    toks view in.toks | jq -c 'del(.reward) | if has("token") then ."logp:a" = [null, -1] | ."logp:b" = [null, -2]
        else .columns |= map(select(.name != "reward"))
            + [{name: "logp:a", type: "f32", per: "token"}, {name: "logp:b", type: "f32", per: "token"}] end' |
        toks view -b -o scored.toks
}

untouched() { # the input, and no left-over
    cmp in.toks kept.toks
    [ -z "$(find . -name '*.tmp.*')" ]
}

@test "an output that is an input is refused, by whatever name" {
    mkdir folder
    ln in.toks hard
    ln -s in.toks soft
    ln -s ../in.toks folder/soft
    local out
    for out in in.toks ./in.toks hard soft folder/soft; do
        run -2 toks head -n 2 in.toks -o "$out"
        [[ $output == "toks head: $out: is an input and an output of the same command"*"write to another file"* ]]
        run -2 toks head -n 2 -o "$out" <in.toks
        run -2 toks cat two.toks in.toks -o "$out"
        run -2 toks tee "$out" in.toks
        run -2 toks head -n 2 "$out" -o in.toks
    done
    run -2 toks select -q --by sum:reward --top 1 in.toks -o in.toks
    [ -L soft ]
    [ -L folder/soft ]
    # Where the shell has opened it, too.
    run -2 bash -c 'toks cat two.toks in.toks >>in.toks'
    cp in.toks p.000.toks
    run -2 toks split -n 2 -o p p.000.toks
    cmp p.000.toks kept.toks
    untouched
}

@test "metrics and journals: an input is refused before it is cut" {
    score_both
    cp scored.toks scored.kept
    run -2 dense-reward -q --baseline none a b scored.toks -o out.toks --metrics scored.toks
    [[ $output == *"scored.toks: is an input and an output"* ]]
    cmp scored.toks scored.kept
    [ ! -e out.toks ]
    # What is no journal of this command is left as it is: also a file without a line.
    printf 'a note' >note
    run -1 toks annotate -c score:number --journal note in.toks -o out.toks -- jq -c '{id, score: 1}'
    [[ $output == *"note: line 1: not the journal"* ]]
    [ "$(cat note)" = 'a note' ]
    run -1 toks annotate -c score:number --journal in.toks in.toks -o out.toks -- jq -c '{id, score: 1}'
    untouched
}

@test "metrics replace those of an earlier run, at the first line" {
    score_both
    dense-reward -q --baseline none a b scored.toks -o out.toks --metrics fresh
    printf 'of an earlier run, and longer than what comes: %0999d\n' 1 >metrics
    ln -s metrics link
    dense-reward -q --baseline none a b scored.toks -o out.toks --metrics link
    cmp metrics fresh
    [ -L link ]
    { echo before && dense-reward -q --baseline none a b scored.toks -o out.toks --metrics /dev/fd/1; } >said
    { echo before && cat fresh; } | cmp - said
    echo before >said
    dense-reward -q --baseline none a b scored.toks -o out.toks --metrics /dev/fd/1 >>said
    { echo before && cat fresh; } | cmp - said
}

@test "-o through links and descriptors" {
    mkdir there
    echo old >there/old
    ln -s there/old link
    ln -s link link2
    toks head -n 2 in.toks -o link2
    [ -L link ]
    [ -L link2 ]
    cmp there/old two.toks
    ln -s there/new dangling
    toks head -n 2 in.toks -o dangling
    [ -L dangling ]
    cmp there/new two.toks
    ln -s nowhere/new lost
    run -1 toks head -n 2 in.toks -o lost
    ln -s loop loop
    run -1 toks head -n 2 in.toks -o loop
    [ -L loop ]
    local out
    for out in /dev/stdout /dev/fd/1 /proc/self/fd/1 /dev/fd/7 -; do
        if [ "$out" = /dev/fd/7 ]; then toks head -n 2 in.toks -o "$out" 7>got; else toks head -n 2 in.toks -o "$out" >got; fi
        cmp got two.toks
        toks head -n 2 in.toks -o "${out/7/1}" | cmp - two.toks
    done
    # Behind what stands there.
    { echo first && toks head -n 2 in.toks -o /dev/stdout && echo last; } >got
    { echo first && cat two.toks && echo last; } | cmp - got
    toks head -n 2 in.toks -o /dev/stderr 2>got
    cmp got two.toks
    mkfifo pipe
    toks head -n 2 in.toks -o pipe &
    cmp pipe two.toks
    wait $!
    [ -p pipe ]
    toks head -n 2 in.toks -o /dev/null
    [ -c /dev/null ]
    untouched
}

@test "what replaces a file is on the disk first, and its name afterwards" {
    trace() { # OUTPUT: the calls, without descriptors' names
        (exec_struck points KILL 0 toks head -n 2 in.toks -o "$1")
        awk '/fsync|link |rename/ { sub(/ +$/, ""); sub(/tmp\.[0-9a-f]+/, "tmp"); print }' points
    }
    mkdir d
    [ "$(trace d/x | awk '{ print $1 }' | paste -sd' ')" = 'fsync link' ]
    [ "$(trace d/x | awk '{ print $1 }' | paste -sd' ')" = 'fsync link link rename fsync' ]
    # The last one is the folder.
    [ "$(tail -n 1 points | awk '{ print $1, $2 }')" = 'fsync d' ]
    cmp d/x two.toks
}

@test "without nameless files: a name that is nobody's, and none is left" {
    echo mine >mine
    (STRIKE_NAMED=1 exec_struck points KILL 0 toks head -n 2 in.toks -o out)
    cmp out two.toks
    first=$(grep -o 'out\.tmp\.[0-9a-f]*' points | head -n 1)
    (STRIKE_NAMED=1 exec_struck points KILL 0 toks head -n 2 in.toks -o out)
    second=$(grep -o 'out\.tmp\.[0-9a-f]*' points | head -n 1)
    # Nobody can wait there with a link: the name differs each time, and is not made of the process.
    [ -n "$first" ]
    [ "$first" != "$second" ]
    [ ${#first} -eq 24 ]
    long=$(printf '%0240d' 1)
    (STRIKE_NAMED=1 exec_struck points KILL 0 toks head -n 2 in.toks -o "$long")
    cmp "$long" two.toks
    run -3 bash -c 'head -c 100 in.toks | toks head -n 2 -o out2'
    untouched
}

@test "an output that cannot be written is told before the input comes, and nothing is made for the trial" {
    local tree=$BATS_TEST_DIRNAME/.. name command where=/nowhere/out
    mkfifo never
    exec 8<>never
    late() { # PATH COMMAND...: one line, at once
        local named=$1
        shift
        run -1 --separate-stderr timeout -s KILL 60 "$@" <never 3>&- 8>&-
        [ "$stderr" = "$name: $named: No such file or directory: there is no folder /nowhere" ]
    }
    declare -A operands=([dense-reward]="a b" [tok]="-m none" [pair]=never [mix]=never [join]='in.toks -' [gain]='in.toks -' [tee]=copy)
    for name in dense-reward logprob novelty rollout tok 'reward-train --score'; do
        read -ra command <<<"$name ${operands[$name]-}"
        name=${name%% *}
        late $where "${command[@]}" -o $where
    done
    for name in dense-reward sft-train reward-train pair-train 'pair-train --online' reinforce-step; do
        read -ra command <<<"$name ${operands[$name]-}"
        name=${name%% *}
        late $where "${command[@]}" -o out --metrics $where
    done
    for name in "$tree"/bin/toks-commands/*.c; do
        name=$(basename "$name" .c)
        read -ra command <<<"toks $name ${operands[$name]-}"
        case $name in
        split) command+=(-n 2) ;;
        annotate) command+=(-o "$where" -- cat) ;;
        esac
        name="toks $name"
        if [ "$name" = 'toks split' ]; then late $where.000.toks "${command[@]}" -o $where; else late $where "${command[@]}" -o $where; fi
    done
    name='toks tee' && late $where toks tee $where
    name='toks annotate' && late $where toks annotate --journal $where -- cat
    name='model info' && late $where model info none -o $where
    name='model diff' && late $where model diff none none -o $where
    cp -r "$BATS_TEST_DIRNAME/fixtures/model" m
    for name in sft-train reward-train pair-train "pair-train --online" reinforce-step; do
        run -2 timeout -s KILL 60 $name -m m -o out --save-dtype bf15 <never 3>&- 8>&-
        [[ $output == *"'bf15' is not one of"* ]]
    done
    run -2 model average m:1 -o out --save-dtype bf15
    rm -r m
    # A file in the place of a folder, a folder in that of a file, and what may not be written.
    run -1 toks cat in.toks -o in.toks/out
    run -1 toks cat in.toks -o .
    [[ $output == 'toks cat: .: Is a directory' ]]
    if [ "$(id -u)" -ne 0 ]; then
        mkdir closed && chmod a-w closed
        run -1 toks cat -o closed/out <never
    fi
    rm -rf never closed separate-stderr-*
    [ "$(echo *)" = "in.jsonl in.toks kept.toks two.toks" ]
}

@test "pipelines: a file that will be written at the end is tried at the start" {
    local script option needed most given n=0 tree=$BATS_TEST_DIRNAME/../pipelines
    for script in "$tree"/* "$tree"/studies/*; do
        [ -f "$script" ] && [ -x "$script" ] || continue
        given=()
        mapfile -t needed < <(sed "/^.rounds_options/r $tree/lib/rounds.bash" "$script" |
            sed -nE "s/^(rounds_options=.)? +(-., )?(--[a-z-]+) [A-Z]+ .*  text!  .*/\3\nx/p")
        most=$(sed -nE "s/^%operands ([0-9]+) .*/\1/p" "$script")
        while [ "${#given[@]}" -lt "${most:-0}" ]; do given+=(x); done
        while read -r option; do
            echo "$script $option"
            run -1 "$script" "$option" /nowhere/out "${needed[@]}" "${given[@]}"
            [ "$output" = "${script##*/}: /nowhere/out: No such file or directory: there is no folder /nowhere" ]
            n=$((n + 1))
        done < <(sed -nE 's/^ +(-., )?(--[a-z-]+) [A-Z]+ +[a-z_]+ +file  .*/\2/p; s/^%common .*metrics.*/--metrics/p' "$script")
    done
    echo "$n"
    [ "$n" -ge 20 ]
    : >file
    run -1 "$tree/plot" curves a=file -o file/out
    cp -r "$BATS_TEST_DIRNAME/fixtures/model" m
    run -1 "$tree/select" -m m --reference m -o /nowhere/out in.toks
    [ "$output" = 'select: /nowhere/out: its folder is not there, or cannot be written' ]
}

@test "no file that makes up a model becomes an output, whether the program reads it or not" {
    local task=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators file command
    model init -q "$task/model" -o m
    echo x >m/chat_template.jinja
    "$task/generate" --n 4 >demos.jsonl
    tok -q -m m demos.jsonl -o demos.toks
    cp -r m kept
    # A file beside them is no part of the model.
    echo x >m/samples.toks
    for file in kept/* kept/../m/tokenizer.json; do
        file=${file#kept/}
        for command in "tok -m m demos.jsonl -o" "logprob -m m --as x demos.toks -o" "model info m -o" \
            "logprob -m kept --kl m --as x demos.toks -o" "sft-train -m m demos.toks -o out --metrics" \
            "toks annotate -m m demos.toks --journal"; do
            set -- $command "m/$file"
            [ "$1" != toks ] || set -- "$@" -- cat
            run -2 "$@"
            [[ $output == *"m/$file: is an input and an output of the same command"* ]]
        done
    done
    rm m/samples.toks && diff -r m kept
    echo x >m/samples.toks && tok -q -m m demos.jsonl -o m/samples.toks
}

@test "model info and diff print into the file of -o" {
    local fixture=m
    cp -r "$BATS_TEST_DIRNAME/fixtures/model" m
    model init -q "$fixture" -o other --seed 3
    model info "$fixture" -o told
    model info "$fixture" | cmp - told
    run -1 model diff "$fixture" other -o told
    run -1 --separate-stderr model diff "$fixture" other
    diff <(echo "$output") told
    run -2 model info "$fixture" -o "$fixture/model.safetensors"
}

@test "a chat template that is a folder or a device is refused, needed or not" {
    cp -r "$BATS_TEST_DIRNAME/../pipelines/tasks/sort/model" m
    mkdir folder
    echo '{"text":"a"}' >records
    local template
    for template in folder /dev/zero; do
        run -1 tok -m m --chat-template "$template" records
        [[ $output == "tok: $template: a "*", not a chat template" ]]
    done
    run -1 tok -m m --chat-template nowhere records
}
