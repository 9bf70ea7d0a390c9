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
        [[ $name == sft-train || $name == reinforce-step ]] || continue
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
    untouched fails 4 'training needs about' "$BIN/reinforce-step" -q -m base round.toks -o new --dry-run \
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

    # What fails in the middle, or would have to be mended, leaves everything as it is.
    "$BIN/toks" view round.toks >half
    jq -c 'select(.id) | .id += "+" | .mask |= map(0)' half >none
    cat half none | "$BIN/toks" view -b >half.toks
    untouched fails 1 'half.toks: a batch of 3 sequences has no trained token' \
        "$BIN/reinforce-step" -q -m base --batch-size 3 -o new half.toks --dry-run
    mv policy policy.replaced
    untouched fails 1 'policy.replaced: a run that was killed has left it' "${make[@]}" --dry-run
    mv policy.replaced policy

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

@test "model info: the peaks that it states are those of the programs" {
    [[ -z ${SANITIZE-} ]] || skip "a sanitizer has memory of its own"
    need /usr/bin/time
    local program said measured
    mkdir config
    jq '.hidden_size = 128 | .intermediate_size = 320 | .vocab_size = 3000 | .num_hidden_layers = 3 | .head_dim = 32
        | del(.layer_types) | .max_position_embeddings = 256 | .initializer_range = 0.02' "$configs/qwen3.json" >config/config.json
    "$BIN/model" init -q config -o base
    any_records 16 128 >all.toks
    any_records 64 64 | "$BIN/toks" view | jq -c 'if .columns then .columns |= map(select(.name == "id" or .name == "token"))
        else {id, token} end' | "$BIN/toks" view -b >prompts.toks
    # Without the weights, and with them, the same is said.
    "$BIN/model" info --json --max-length 128 --in-flight 32 --threads 2 config | jq .peaks >plan
    "$BIN/model" info --json --max-length 128 --in-flight 32 --threads 2 base | jq .peaks | diff plan -
    for program in "sft-train -o out --max-steps 1" "pair-train -o out --max-steps 1 --reference self" \
        "reward-train -o out --max-steps 1" "reinforce-step -o out --max-steps 1" "logprob -o out.toks --as x" \
        "rollout -o out.toks --in-flight 32 --max-new-tokens 64"; do
        rm -rf out
        # shellcheck disable=SC2086
        set -- $program
        local stream=all.toks
        [[ $1 != rollout ]] || stream=prompts.toks
        /usr/bin/time -f %M -o peak "$BIN/$1" -q -m base "${@:2}" --threads 2 $stream
        said=$(jq --arg p "$1" '.programs[$p].peak / 1024 | floor' plan) measured=$(<peak)
        echo "$1: said $said KiB, measured $measured"
        ((said * 100 >= measured * 95))
        ((said * 100 <= measured * 110))
    done
    # More threads, longer sequences and other optimizers are other numbers.
    "$BIN/model" info --json --max-length 256 --threads 8 --optim sgd --batch-size 1 base >other
    jq -e --slurpfile plan plan '.peaks as $o | $plan[0] as $p | $o.threads == 8 and $o.max_length == 256 and $o.optim == "sgd"
        and $o.programs["sft-train"].training * 2 == $p.programs["sft-train"].training
        and $o.programs["sft-train"].work < $p.programs["sft-train"].work and $o.programs.rollout.kv_cache > $p.programs.rollout.kv_cache' other
    fails 2 'max-length 300' "$BIN/model" info --max-length 300 "$configs/gpt2.json"
}

@test "model info --memory: which programs fit, and how" {
    local one=("$BIN/model" info --max-length 1024 --in-flight 1 --threads 1 "$configs/qwen3.json")
    jq '.hidden_size = 128 | .num_hidden_layers = 6 | del(.layer_types) | .max_position_embeddings = 1024' \
        "$configs/qwen3.json" >deep.json
    one=("${one[@]:0:8}" deep.json)
    "${one[@]}" --json | jq '.peaks.programs' >all
    jq -e 'all(has("fits") | not) and ."sft-train".layers_kept == 6 and (.logprob | has("layers_kept") | not)' all
    "${one[@]}" --json --memory 1 | jq '.peaks.programs' >least
    jq -e 'all(.fits | not) and ."sft-train".layers_kept == 1' least
    # What each needs at least is enough for it, and a byte less is not.
    for program in sft-train pair-train reward-train reinforce-step logprob rollout; do
        bytes=$(jq --arg p $program '.[$p].peak' least)
        "${one[@]}" --json --memory "$bytes" | jq -e --arg p $program '.peaks.programs[$p].fits'
        "${one[@]}" --json --memory $((bytes - 1)) | jq -e --arg p $program '.peaks.programs[$p].fits | not'
    done
    # Between the least and all of them some layers are computed again.
    bytes=$(jq -s '(.[0]."sft-train".peak + .[1]."sft-train".peak) / 2 | floor' all least)
    "${one[@]}" --memory "$bytes" >told
    grep -qE '^within +[0-9.]+ MiB$' told
    grep -qE '^  sft-train +fits: activations of [23] of 6 layers kept, [34] recomputed$' told
    grep -qE '^  pair-train +(fits|does not fit: at least [0-9.]+ MiB)' told
    grep -qE '^  logprob +fits$' told
    "${one[@]}" | grep -c '^within' && false
    fails 2 "memory: '6X' is not a size" "${one[@]}" --memory 6X
}

# bats test_tags=slow
@test "model info: the peaks of all programs, for two sizes, lengths and micro-batches" {
    [[ -z ${SANITIZE-} ]] || skip "a sanitizer has memory of its own"
    need /usr/bin/time
    "$BATS_TEST_DIRNAME/bench/memory.sh" 0.3M 15M
}

@test "model info --time: rates that were measured, and the time for so many tokens" {
    local timed=(--time --seconds 0.02 --threads 2 --max-length 32 --in-flight 8 --tokens 3000000)
    untouched "$BIN/model" info "${timed[@]}" --json "$configs/qwen3.json" >../timed
    jq -e '.time | .threads == 2 and .max_length == 32 and .tokens == 3000000
        and .training.batch == 8 and .drawing.batch == 8
        and (1 / .drawing.tokens_per_second + 1 / .scoring.tokens_per_second - 1 / .prompted.tokens_per_second | fabs) < 1e-9
        and ([.scoring, .drawing, .prompted, .training] | all(.tokens_per_second > 0 and
            (.seconds * .tokens_per_second / 3000000 - 1 | fabs) < 1e-9))' ../timed
    "$BIN/model" info "${timed[@]}" "$model" >timed
    grep -qE '^time +measured just now, on this machine as busy as it is, with 2 threads, sequences of 32 tokens$' timed
    grep -qE '^  scoring +[0-9]+ tokens/s, [0-9:]+ for 3000000 tokens$' timed
    grep -qE '^  drawing +8 +[0-9]+ tokens/s, ' timed
    grep -qE '^  prompted +8 +[0-9]+ tokens/s, ' timed
    grep -qE '^  training +8 +[0-9]+ tokens/s, ' timed
    "$BIN/model" info "$model" >plain
    grep -v '^time' plain | diff - <("$BIN/model" info --max-length 64 "$model")
    # Without weights what does not fit is not tried; with them each kind for itself.
    jq '.hidden_size = 16384 | .intermediate_size = 65536 | .num_hidden_layers = 400 | del(.layer_types)' \
        "$configs/qwen3.json" >large.json
    fails 4 'time without weights needs about [0-9]+ MiB' "$BIN/model" info --time large.json
    "$BIN/model" info "${timed[@]}" --micro-batch-tokens 1000000000 --batch-size 16000000 "$model" >timed
    grep -qE '^  training +16000000 training needs about [0-9]+ MiB and [0-9]+ MiB are available$' timed
    grep -qE '^  scoring +[0-9]+ tokens/s' timed
    cp "$configs/gpt2-reward.json" reward.json
    fails 2 'reward model' "$BIN/model" info --time reward.json
    "$BIN/model" info --json reward.json | jq -e '.peaks.programs | keys == ["reward-train"]'
    fails 2 'tell nothing' "$BIN/model" info --time --max-length 2 "$model"
}
