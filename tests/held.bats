#!/usr/bin/env bats
# Pipelines that keep a folder hold it: another run there is refused, and a lock ends with its holders.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines

setup() {
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    export BIN
    cd "$BATS_TEST_TMPDIR" || return
}

@test "a folder that another run holds is refused, and left as it is" {
    "$P/tasks/sort/generate" --n 24 --seed 1 >demos.jsonl
    model init -q "$P/tasks/sort/model" -o base --seed 1
    "$P/sft" -m base -o sft --seed 1 demos.jsonl -- -q --max-steps 4 --batch-size 4
    local name folder pids=()
    declare -A kept=([dpr]=.rounds [vote]=.rounds [rft]=.rounds [best-of-sft]=.rounds [irft]=.stages [crossfit]='')
    # As small as can be: one that is not refused ends soon, and is seen.
    local few="--steps 1 --batch-size 2 --max-new-tokens 4"
    declare -A more=([dpr]="--mode rounds -n 2 $few" [rft]="--overwrite --rounds 1 --reward-batch-size 2 $few"
        [best-of-sft]='--overwrite --rounds 1 --prompts 2 -n 2 --max-new-tokens 4' [vote]="--answer cat -n 2 $few"
        [irft]="--resume --stages 1 $few" [crossfit]='--folds 2')
    for name in "${!kept[@]}"; do
        folder=of-$name${kept[$name]}
        mkdir "$folder"
        # As long as anyone has it.
        (
            exec 8<"$folder"
            flock 8
            status=0
            # shellcheck disable=SC2086 # words
            "$P/$name" -m sft -o "of-$name" ${more[$name]-} demos.jsonl 2>"$name.said" 8<&- 3>&- || status=$?
            echo "$status" >"$name.status"
        ) &
        pids+=("$!")
    done
    wait "${pids[@]}"
    for name in "${!kept[@]}"; do
        [ "$(cat "$name.status")" -eq 1 ]
        [ "$(cat "$name.said")" = "$name: of-$name${kept[$name]}: another run is at work there: wait for its end, or choose another output" ]
        [ -z "$(ls -A "of-$name${kept[$name]}")" ]
    done
}

@test "what a stopped run left is refused without --resume, not removed" {
    "$P/tasks/sort/generate" --n 24 --seed 1 >demos.jsonl
    model init -q "$P/tasks/sort/model" -o base --seed 1
    "$P/sft" -m base -o sft --seed 1 demos.jsonl -- -q --max-steps 4 --batch-size 4
    few=(--steps 1 --batch-size 2 -n 2 --max-new-tokens 4)
    "$P/dpr" -m sft -o out --mode rounds "${few[@]}" demos.jsonl -- -q
    (cd out.rounds && sha256sum ./*) >before
    run -1 "$P/dpr" -m sft -o out --mode rounds "${few[@]}" demos.jsonl -- -q
    [[ $output == "dpr: out: exists: --resume goes on with it, --overwrite replaces it; or choose another name with -o" ]]
    (cd out.rounds && sha256sum ./*) | cmp - before
    mkdir best.rounds
    echo mine >best.rounds/notes
    run -1 "$P/best-of-sft" -m sft -o best --rounds 1 --prompts 4 demos.jsonl
    [[ $output == "best-of-sft: best.rounds: exists: --resume goes on with it, --overwrite replaces it; or choose another name with -o" ]]
    [ "$(cat best.rounds/notes)" = mine ]
}

@test "best-of-sft: killed when its result has its place, it clears up and is done" {
    "$P/tasks/sort/generate" --n 8 --seed 1 >demos.jsonl
    model init -q "$P/tasks/sort/model" -o base --seed 1
    best=("$P/best-of-sft" -q -m base --reference none -o out --rounds 1 --prompts 2 -n 2 --max-new-tokens 4 demos.jsonl)
    struck KILL 0 "${best[@]}"
    [ "$got" -eq 0 ] && [ ! -e out.rounds ]
    mv out whole
    struck KILL $(($(grep -n '^rename *out *$' points | tail -n 1 | cut -d: -f1) + 1)) "${best[@]}"
    [ "$got" -eq 137 ] && [ -e out/config.json ] && [ -e out.rounds/complete ]
    "${best[@]}" --resume
    diff -r --exclude README.md --exclude metrics.jsonl whole out
    [ ! -e out.rounds ]
}
