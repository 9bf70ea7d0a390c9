#!/usr/bin/env bats
# What a user learns before a run: model info of a configuration alone, and --dry-run.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    configs=$BATS_TEST_DIRNAME/fixtures/configs
}

# Names and bytes of all that is there.
everything() {
    find . -printf '%p %y ' \( -type f -exec cksum {} \; -o -printf '\n' \) | sort
}

# COMMAND...: nothing is other afterwards.
untouched() {
    local before
    before=$(everything)
    "$@" || return
    diff <(echo "$before") <(everything)
}

dry() { # COMMAND...: its words are in $said
    "$@" --dry-run >said
    said=$(<said)
    rm said
}

says() { # NAME VALUE
    grep -qxF "$(printf '%-14s ' "$1")$2" <<<"$said" || { echo "no '$1 $2' in: $said" && return 1; }
}

@test "model info: a configuration alone says what the model made of it says" {
    local name
    for name in qwen3 gpt2 falcon-40b; do
        mkdir "$name" && cp "$configs/$name.json" "$name/config.json"
        "$BIN/model" init -q "$name" -o "$name.model"
        "$BIN/model" info --json "$name.model" |
            jq 'del(.fingerprint, .weights)' >want
        untouched "$BIN/model" info --json "$name" >../got
        jq -e '.weights == false and .fingerprint == null' ../got
        jq 'del(.fingerprint, .weights)' ../got | diff want -
        # A file of any name; one in a whole model counts alone too.
        "$BIN/model" info --json "$configs/$name.json" | diff ../got -
        "$BIN/model" info --json "$name.model/config.json" | diff ../got -
        (cd "$name.model" && "$BIN/model" info --json config.json) | diff ../got -
    done
    "$BIN/model" info qwen3 >told
    grep -qx 'weights        none.*' told
    [ "$(grep -c fingerprint told)" = 0 ]
    grep -qx 'positions      64' told
    "$BIN/model" info --json "$model" | jq -e '.weights and (.fingerprint | length > 0)'
    # A large one takes no more memory than its names.
    jq '.hidden_size = 8192 | .intermediate_size = 28672 | .num_hidden_layers = 80 | .num_attention_heads = 64
        | .num_key_value_heads = 8 | .head_dim = 128 | .vocab_size = 128256 | del(.layer_types) | .dtype = "bfloat16"' \
        "$configs/qwen3.json" >large.json
    "$BIN/model" info --json large.json | jq -e '.parameters > 7e10 and .stored_as == "BF16"'
    echo 'not a configuration' >text
    fails 1 'text' "$BIN/model" info text
    fails 1 'absent' "$BIN/model" info absent
    jq 'del(.hidden_size)' "$configs/qwen3.json" >broken.json
    fails 1 'broken.json: .*hidden_size' "$BIN/model" info broken.json
    mkdir empty
    fails 1 'empty' "$BIN/model" info empty
    leaves_nothing fails 2 'qwen3/config.json' "$BIN/model" info qwen3 -o qwen3/config.json
}

# NAME: sets `make` to a line that trains, but for its -o.
program() {
    case $1 in
    sft-train) make=("$BIN/sft-train" -q -m base --num-train-epochs 2.3 --batch-size 3 --keep half demos.toks) ;;
    pair-train) make=("$BIN/pair-train" -q -m base --batch-size 3 --reference self pairs.toks) ;;
    online) make=("$BIN/pair-train" -q -m base --batch-size 2 --online --reference self pairs.toks) ;;
    reward-train) make=("$BIN/reward-train" -q -m base --max-steps 5 --batch-size 2 pairs.toks) ;;
    reinforce-step) make=("$BIN/reinforce-step" -q -m base --batch-size 3 round.toks) ;;
    esac
}

make_streams() {
    cp -r "$model" base && chmod -R u+w base
    demo_pairs >pairs.toks
    "$BIN/rollout" -q -m base -n 2 --batch-size 2 --steps 2 --max-new-tokens 4 prompts.toks |
        "$BIN/logprob" -q -m base --as sft | "$BIN/dense-reward" -q --floor 0 --baseline none sft none >round.toks
}

@test "--dry-run: every trainer says what its run then does, and writes nothing" {
    local name updates tokens
    make_streams
    for name in sft-train pair-train online reward-train reinforce-step; do
        program "$name"
        rm -rf out
        untouched dry "${make[@]}" -o out
        says output 'out: new'
        says 'dry run' 'nothing was trained or written'
        "${make[@]}" -o out
        updates=$(jq -s 'last.step' out/metrics.jsonl) tokens=$(jq -s 'last.num_tokens' out/metrics.jsonl)
        grep -qE "^updates +$updates(,| of)" <<<"$said"
        grep -qE "^trained tokens $tokens( in all)?$" <<<"$said"
        # What stands in the way of a run stands in the way of this one, in the same words.
        untouched fails 1 'out: exists.*--overwrite' "${make[@]}" -o out --dry-run
        untouched dry "${make[@]}" -o out --overwrite --metrics line.jsonl
        says output 'out: replaces what is there'
        says metrics line.jsonl
        untouched fails 1 'nowhere' "${make[@]}" -o nowhere/out --dry-run
        untouched fails 1 'base: .*is read' "${make[@]}" -o base --dry-run
        untouched fails 2 'nonsense' "${make[@]}" -o new --dry-run --lr-scheduler-kwargs '{"nonsense": 1}'
    done
    program sft-train
    untouched dry "${make[@]}" -o new
    says data 'demos.toks: 8 records, 1 without trained tokens'
    says tokens '58, 36 of them trained on'
    says epochs 2.42857
    says kept half
    says 'made in' new.partial
    untouched fails 3 'no column .pair' "$BIN/pair-train" -q -m base --reference self demos.toks -o new --dry-run
    untouched fails 3 'advantage' "$BIN/reinforce-step" -q -m base demos.toks -o new --dry-run
    head -c 300 demos.toks >cut.toks
    untouched fails 3 'cut.toks' "$BIN/sft-train" -q -m base cut.toks -o new --dry-run
    untouched fails 4 'training needs about' "$BIN/sft-train" -q -m base demos.toks -o new --dry-run \
        --micro-batch-tokens 1000000000
}

@test "--dry-run: the state of a stopped run, rules that stop, and streams that cannot be read again" {
    make_streams
    "$BIN/sft-train" -q -m base --batch-size 3 --max-steps 1000000000 --save-steps 4 -o out demos.toks 3>&- &
    local pid=$! status=0 done_already
    await test -e out.partial/state.safetensors
    kill "$pid"
    wait "$pid" || status=$?
    [ "$status" = 75 ]
    program sft-train
    untouched fails 1 'out.partial: the state of a run.*--resume' "${make[@]}" -o out --dry-run
    make=("$BIN/sft-train" -m base --batch-size 3 --max-steps 1000000000 -o out demos.toks --resume)
    untouched dry "${make[@]}" -q
    done_already=$(sed -nE 's/^done already   ([0-9]+) updates, .*/\1/p' <<<"$said")
    [ "$done_already" -ge 4 ]
    says output 'out: goes on with what is there'
    says 'made in' out.partial
    says metrics 'metrics.jsonl in the output'
    untouched fails 2 'batch-size' "$BIN/sft-train" -q -m base --batch-size 2 --max-steps 1000000000 -o out demos.toks --resume --dry-run
    untouched dry "${make[@]/--resume/--overwrite}" -q
    says 'made in' 'out.partial, which is emptied first'
    printf x | dd of=out.partial/state.safetensors bs=1 seek=5000 conv=notrunc status=none
    untouched fails 1 'damaged' "${make[@]}" -q --dry-run

    # A policy's state is in it; a file that was used in part is used from there.
    "$BIN/reinforce-step" -q -m base --batch-size 3 --max-steps 1 -o policy round.toks
    make=("$BIN/reinforce-step" -m base --batch-size 3 -o policy round.toks)
    untouched fails 1 'policy: exists' "${make[@]}" --dry-run
    untouched dry "${make[@]}" --resume
    says 'used already' '3 of them'
    says updates '2, generations 1 to 3'
    says 'goes on' 'after generation 1'
    says output 'policy: goes on with what is there'
    # A rule that stops is found by the rewards of the file.
    untouched dry "${make[@]/policy/new}" --stop-reward=-1000
    says stops 'by its rule: generation 0 is kept'

    # A pipe: what was read whole is told, what lives is not read.
    dry "$BIN/sft-train" -m base -o new < <(cat demos.toks)
    says tokens '58, 36 of them trained on'
    says '' 'not a file: it has been read, and a run has to read it again'
    mkfifo never
    dry "$BIN/reinforce-step" -m base -o new --max-steps 7 never
    says stream 'not a file, and not read: a run has to read it once'
    says updates 'up to 7'
    says output 'new: new'
}
