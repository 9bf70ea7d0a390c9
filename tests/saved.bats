#!/usr/bin/env bats
# What is saved is safe: states prove that they are whole, and what a crash or a full disk leaves is
# the old or the new.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" base && chmod -R u+w base
    train=("$BIN/sft-train" -q -m base --batch-size 3 --max-steps 9 --keep 0.3 --ema 0.9 --save-steps 4 demos.toks -o out)
}

# Whether everything under the two names is the same, but for times and the command lines.
same_result() {
    diff -r --exclude densepath.json --exclude README.md --exclude metrics.jsonl "$1" "$2"
}

# A run that has saved its state after 4 of 9 updates, with a kept model; and one to the end.
stopped_run() {
    whom=self struck KILL 0 "${train[@]}"
    mv out straight
    local at
    at=$(grep -n 'rename *state.safetensors' points | head -1 | cut -d: -f1)
    whom=self struck KILL $((at + 3)) "${train[@]}"
    [ "$got" -eq 137 ] && [ -e out.partial/state.safetensors ] && [ -e out.partial/0.3/model.safetensors ]
    rm -f out.lock
    cp -r out.partial saved
}

# FILE PLACE: flips a bit there.
flip() {
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ 1 << $2 % 8)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "a bit that is other in any file of a saved run is found, and nothing is lost" {
    stopped_run
    local file at size
    for file in state.safetensors metrics.jsonl 0.3/model.safetensors 0.3/config.json 0.3/densepath.json; do
        size=$(stat -c %s "saved/$file")
        # Lines of later updates go.
        [ $file != metrics.jsonl ] || size=$(head -4 saved/metrics.jsonl | wc -c)
        for ((at = 0; at < size; at += size / 9 + 1)); do
            rm -r out.partial && cp -r saved out.partial
            flip "out.partial/$file" "$at"
            cp -r out.partial before
            fails 1 'out.partial' "${train[@]}" --resume
            diff -r before out.partial && rm -r before
            [ ! -e out ] && [ ! -e out.lock ]
        done
    done
    rm -r out.partial/0.3 && cp -r saved/. out.partial && rm out.partial/0.3/config.json
    fails 1 'out.partial.*0.3/config.json' "${train[@]}" --resume
    cp -r saved/. out.partial
    "${train[@]}" --resume
    same_result out straight
}

@test "a state that says what cannot be is refused, whatever its checksum; so is one of an earlier version" {
    stopped_run
    # Without the checksum.
    sed 's/"checksum":"xxh3:/"checksun":"xxh3:/' saved/state.safetensors >out.partial/state.safetensors
    fails 1 'out.partial.*earlier version.*' "${train[@]}" --resume
    truncate -s -4 out.partial/state.safetensors
    fails 1 'out.partial' "${train[@]}" --resume
    cp saved/state.safetensors out.partial
    "${train[@]}" --resume
}

@test "the state of a policy proves itself too: nothing is published from a damaged one" {
    "$BIN/rollout" -q -m base -n 2 --batch-size 2 --steps 4 --max-new-tokens 4 prompts.toks |
        "$BIN/logprob" -q -m base --as sft | "$BIN/dense-reward" -q --floor 0 --baseline none sft none >round.toks
    local learn=("$BIN/reinforce-step" -q -m base --save-steps 2 -o out)
    "${learn[@]}" --max-steps 2 round.toks
    cp -r out saved
    local file at size
    for file in state.safetensors model.safetensors; do
        size=$(stat -c %s "saved/$file")
        for ((at = 0; at < size; at += size / 9 + 1)); do
            rm -r out && cp -r saved out
            flip "out/$file" "$at"
            cp -r out before
            fails 1 'out: ' "${learn[@]}" --resume round.toks
            diff -r before out && rm -r before
        done
    done
    rm -r out && cp -r saved out
    sed -i 's/"loss":/"losz":/' out/metrics.jsonl
    fails 1 'out/metrics.jsonl' "${learn[@]}" --resume round.toks
    cp saved/metrics.jsonl out
    "${learn[@]}" --resume round.toks
}
