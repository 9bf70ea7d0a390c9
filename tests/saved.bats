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
            [ ! -e out ]
            [ ! -e out.lock ]
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
    echo template >base/chat_template.jinja
    echo card >base/README.md
    local learn=("$BIN/reinforce-step" -q -m base --save-steps 2 -o out)
    "${learn[@]}" --max-steps 2 round.toks
    cp -r out saved
    local file at size
    for file in state.safetensors model.safetensors chat_template.jinja README-base.md densepath.json \
        previous/{model.safetensors,config.json,chat_template.jinja,densepath.json}; do
        size=$(stat -c %s "saved/$file")
        for ((at = 0; at < size; at += size / 6 + 1)); do
            rm -r out && cp -r saved out
            flip "out/$file" "$at"
            cp -r out before
            fails 1 'out: ' "${learn[@]}" --resume round.toks
            diff -r before out && rm -r before
        done
    done
    rm -r out && cp -r saved out
    rm out/previous/config.json
    fails 1 'out: previous: config.json' "${learn[@]}" --resume round.toks
    # A crash may leave none.
    rm -r out/previous
    sed -i 's/"loss":/"losz":/' out/metrics.jsonl
    fails 1 'out/metrics.jsonl' "${learn[@]}" --resume round.toks
    cp saved/metrics.jsonl out
    "${learn[@]}" --resume round.toks
}

# VARIABLE=VALUE... COMMAND...: on a disk that disk.c plays.
on_disk() {
    local library=$BATS_FILE_TMPDIR/disk.so
    [ -e "$library" ] || "${CC:-gcc}" -shared -fPIC -o "$library" "$BATS_TEST_DIRNAME/disk.c" -ldl
    env ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS-}" LD_PRELOAD="$library" "$@"
}

policy() { # OPTION...: two updates of a policy
    "$BIN/rollout" -q -m base -n 2 --batch-size 2 --steps 4 --max-new-tokens 4 prompts.toks |
        "$BIN/logprob" -q -m base --as sft | "$BIN/dense-reward" -q --floor 0 --baseline none sft none >round.toks
    learn=("$BIN/reinforce-step" -q -m base "$@")
}

@test "a full disk is found before the work, and at the end the state is kept" {
    leaves_nothing fails 1 'out: no space.*MiB' on_disk DISK_FREE=1000 "${train[@]}"
    policy -o policy
    leaves_nothing fails 1 'policy: no space.*MiB' on_disk DISK_FREE=1000 "${learn[@]}" round.toks
    leaves_nothing fails 1 'made.*no space.*MiB' on_disk DISK_FREE=1000 "$BIN/model" init -q base -o made
    leaves_nothing fails 1 'mean: no space.*MiB' on_disk DISK_FREE=1000 "$BIN/model" average -q base:1 -o mean
    on_disk DISK_FREE=1000000000 "$BIN/model" init -q base -o made
    on_disk DISK_FREE=1000000000 "${train[@]}"
    mv out straight
    # Without a state on the way.
    fails 1 'out.partial.*No space.*update 9 is there.*--resume' \
        on_disk DISK_FULL=/model.safetensors "${train[@]/#4/0}" --keep 1e-9
    [ ! -e out ]
    [ -e out.partial/state.safetensors ]
    "${train[@]/#4/0}" --keep 1e-9 --resume
    cmp out/model.safetensors straight/model.safetensors
    # A pipe that nobody follows publishes at its end only.
    fails 1 'policy.*No space.*generation 4 is in policy.*--resume' bash -c 'cat round.toks | "$@"' - \
        env ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS-}" LD_PRELOAD="$BATS_FILE_TMPDIR/disk.so" \
        DISK_FULL=.partial/model.safetensors DISK_AFTER=policy/metrics.jsonl "${learn[@]}" -o policy
}

@test "what replaces something is on the disk before its rename, and the name after it" {
    on_disk DISK_SYNCS="$PWD/log" "${train[@]}"
    # State: the file, the rename, the folder. Result: all files, the rename, the folder around it.
    grep -B1 -A1 'rename state.safetensors' log | head -3 |
        diff - <(printf '%s\n' 'fsync state.safetensors.new' 'rename state.safetensors' 'fsync out.partial')
    # And what the state names, before it.
    for file in metrics.jsonl model.safetensors README.md 0.3; do
        sed '/rename state.safetensors$/,$d' log | grep -qx "fsync $file"
    done
    for file in model.safetensors config.json densepath.json metrics.jsonl 0.3 ema; do
        sed '/rename out$/,$d' log | grep -qx "fsync $file"
    done
    [ "$(grep -A1 'rename out$' log | tail -1)" = "fsync ${PWD##*/}" ]
    policy -o policy
    : >log
    on_disk DISK_SYNCS="$PWD/log" "${learn[@]}" round.toks
    [ "$(grep -c 'exchange policy$' log)" -eq 4 ]
    grep -B1 'exchange policy$' log | grep -c 'fsync policy.partial' | grep -qx 4
    grep -A1 'exchange policy$' log | grep -c "fsync ${PWD##*/}\$" | grep -qx 4
}

@test "where two names cannot be exchanged, what a crash leaves is mended at the next start" {
    policy --save-steps 1 -o out
    "${learn[@]}" round.toks
    mv out straight
    on_disk DISK_PLAIN=1 "${learn[@]}" round.toks
    same_result out straight
    [ ! -e out.old ]
    [ ! -e out.partial ]
    on_disk DISK_PLAIN=1 "${train[@]}" -o one
    on_disk DISK_PLAIN=1 "${train[@]}" -o one --overwrite --seed 3
    [ ! -e one.old ]
    [ ! -e one.partial ]
    # Killed between the renames.
    rm -r out
    "${learn[@]}" --max-steps 2 round.toks
    # As the crash leaves it: PATH is missing, PATH.old has the mark, PATH.partial is the next one.
    cp -r straight out.partial
    mv out out.old && : >out.old/densepath.old
    "${learn[@]}" --resume round.toks
    [ ! -e out.old ]
    [ ! -e out.partial ]
    [ -e out/densepath.json ]
    # Before the second rename without a new one: the old one is back.
    mv out out.old && : >out.old/densepath.old
    fails 1 'out: exists' "${learn[@]}" round.toks
    [ -e out/densepath.json ]
    [ ! -e out.old ]
    [ ! -e out/densepath.old ]
    # A user's own folder of that name is not taken.
    mv out out.old
    "${learn[@]}" --max-steps 1 round.toks
    [ -e out.old/state.safetensors ]
}

@test "what a crash behind the exchange leaves is put where it belongs at the next start" {
    policy --save-steps 1 -o out
    "${learn[@]}" --max-steps 2 round.toks
    cp -r out straight
    mv out/previous out.partial
    # It was the whole policy before.
    cp out/state.safetensors out/metrics.jsonl out.partial
    "${learn[@]}" --max-steps 2 --resume round.toks
    same_result out straight
    [ ! -e out.partial ]
    # The result that was replaced is the one with the mark, however much of it is left.
    "${train[@]}" -o one
    cp -r one one.partial && : >one.partial/densepath.old && rm one.partial/densepath.json
    "${train[@]}" -o one --resume
    [ ! -e one.partial ] && [ -e one/densepath.json ]
}

@test "an update whose line of metrics could not be written is not saved: it is made again" {
    policy --save-steps 1 -o out
    "${learn[@]}" round.toks
    mv out straight
    # From the second line on.
    fails 1 'metrics.jsonl: No space' on_disk DISK_FULL=metrics.jsonl DISK_AFTER=out/previous "${learn[@]}" round.toks
    "${learn[@]}" --resume round.toks
    same_result out straight
    diff <(figures straight/metrics.jsonl) <(figures out/metrics.jsonl)
}

@test "a state is saved by time too" {
    "$BIN/sft-train" -q -m base --max-steps 1000000000 --save-minutes 1e-9 -o out demos.toks 2>/dev/null 3>&- &
    local pid=$!
    await test -e out.partial/state.safetensors
    kill -KILL "$pid"
    wait "$pid" || true
    [ -e out.partial/state.safetensors ]
    "$BIN/sft-train" --list-options | grep -q "^save-minutes	.*	15"
}
