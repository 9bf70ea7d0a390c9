#!/usr/bin/env bats
# A model that is removed, replaced, cut short or overwritten while a program reads it: the result is that
# of the model as it was at the start, or there is none.
# shellcheck disable=SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    cp -r "$model" m
    echo '{"x":1}' >m/tokenizer_config.json
    "$BIN/model" init -q "$model" -o other --seed 8
    mkfifo in
}

# COMMAND...: begins it; when it opens the pipe `in`, its model is open. Its status goes to the file `got`.
begin() {
    { timeout 60 "$@" 3>&- && echo 0 >got || echo $? >got; } 2>said 3>&- 4>&- &
    exec 4>in
}

# The command gets the stream and ends.
finish() { # STREAM
    cat "$1" >&4 2>/dev/null || true
    exec 4>&-
    wait
}

# A line and status 1, and nothing is left but what was there.
refused() { # PATTERN
    if [ "$(cat got)" != 1 ] || [ "$(wc -l <said)" -ne 1 ] || [[ ! $(cat said) =~ $1 ]]; then
        echo "status $(cat got): $(cat said)"
        return 1
    fi
    [ ! -e out ]
}

done_silently() {
    if [ "$(cat got)" != 0 ] || [ -s said ]; then
        echo "status $(cat got): $(cat said)"
        return 1
    fi
}

overwrite() {
    dd if=other/model.safetensors of=m/model.safetensors conv=notrunc 2>/dev/null
}

@test "a model that is overwritten: nothing is completed" {
    "$BIN/rollout" -q -m "$model" -n 2 --max-new-tokens 8 prompts.toks |
        "$BIN/logprob" -q -m "$model" --as x | "$BIN/dense-reward" -q x none -o rewarded.toks
    begin "$BIN/logprob" -q -m m --as x in -o out
    overwrite
    finish demos.toks
    refused '^logprob: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    begin "$BIN/logprob" -q -m "$model" --kl m --as x in -o out
    overwrite
    finish demos.toks
    refused '^logprob: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    begin "$BIN/novelty" -q -m m --demonstrations demos.toks in -o out
    overwrite
    finish demos.toks
    refused '^novelty: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    begin "$BIN/sft-train" -q -m m -o out in
    overwrite
    finish demos.toks
    refused '^sft-train: m/model.safetensors changed while it was read$'
    [ ! -e out.lock ]
    cp "$model/model.safetensors" m
    begin "$BIN/reinforce-step" -q -m "$model" --kl-exact m:0.1 -o out in
    overwrite
    finish rewarded.toks
    refused 'm/model.safetensors changed while it was read$'
    # To a pipe: a stream that is not complete.
    cp "$model/model.safetensors" m
    mkfifo pipe
    begin "$BIN/logprob" -q -m m --as x in -o pipe
    { "$BIN/toks" check pipe && echo 0 >check_got || echo $? >check_got; } >checked 2>&1 3>&- 4>&- &
    overwrite
    finish demos.toks
    refused 'm/model.safetensors changed while it was read$'
    [ "$(cat check_got)" = 3 ]
}

@test "a model that is cut short: one line, no signal" {
    begin "$BIN/logprob" -q -m m --as x in -o out
    truncate -s 1000 m/model.safetensors
    finish demos.toks
    refused '^logprob: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    begin "$BIN/novelty" -q --threads 2 -m m --demonstrations in -o out demos.toks
    truncate -s 0 m/model.safetensors
    finish demos.toks
    refused '^novelty: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    # Whichever of many threads comes first.
    begin "$BIN/logprob" -q --threads 16 -m m --as x in -o out
    truncate -s 0 m/model.safetensors
    finish demos.toks
    refused '^logprob: m/model.safetensors changed while it was read$'
    cp "$model/model.safetensors" m
    begin "$BIN/sft-train" -q -m m -o out in
    truncate -s 1000 m/model.safetensors
    finish demos.toks
    refused '^sft-train: m/model.safetensors changed while it was read$'
    # What it left does not stand in the way.
    cp "$model/model.safetensors" m
    "$BIN/sft-train" -q -m m -o out demos.toks
}

@test "a model that is removed, renamed or replaced as a whole: the result is that of the one that was opened" {
    "$BIN/logprob" -q -m m --as x demos.toks -o want
    begin "$BIN/logprob" -q -m m --as x in -o out
    mv other/model.safetensors m/model.safetensors
    rm -r m
    finish demos.toks
    done_silently
    cmp <(records want) <(records out)
}

@test "training: the files beside the weights are those of the start" {
    cp -r m kept
    "$BIN/sft-train" -q -m m -o want demos.toks
    begin "$BIN/sft-train" -q -m m -o out in
    echo '{"x":2}' >m/tokenizer_config.json
    cp -r m keep && rm -r m
    finish demos.toks
    done_silently
    cmp want/model.safetensors out/model.safetensors
    cmp want/config.json out/config.json
    cmp want/generation_config.json out/generation_config.json
    cmp out/tokenizer_config.json kept/tokenizer_config.json
}
