#!/usr/bin/env bats
# model: init, info, diff, average.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
}

@test "model init: the fixture comes from its seed; other seeds and types" {
    mkdir config
    cp "$model/config.json" "$model/generation_config.json" config
    echo '{"x":1}' >config/tokenizer_config.json
    "$BIN/model" init config -o out --seed 7
    cmp out/model.safetensors "$model/model.safetensors"
    cmp out/config.json config/config.json
    cmp out/tokenizer_config.json config/tokenizer_config.json
    jq -e '.densepath == 1' out/densepath.json
    "$BIN/model" init config -o other --seed 8
    run -1 "$BIN/model" diff -q out other
    "$BIN/model" init config -o narrow --seed 7 --save-dtype bf16
    "$BIN/model" diff -q --tolerance 0.01 out narrow
    [ "$(stat -c %s narrow/model.safetensors)" -lt $(($(stat -c %s out/model.safetensors) * 2 / 3)) ]
    # What is there and ours is replaced where it is wished; what is not ours stays.
    leaves_nothing fails 1 "other.*--overwrite" "$BIN/model" init config -o other --seed 7
    run -1 "$BIN/model" diff -q out other
    "$BIN/model" init config -o other --seed 7 --overwrite
    "$BIN/model" diff -q out other
    mkdir mine && echo precious >mine/file
    leaves_nothing fails 1 "mine" "$BIN/model" init config -o mine --overwrite
    [ "$(cat mine/file)" = precious ]
    fails 2 "command .inof.: is info meant" "$BIN/model" inof "$model"
    fails 2 "command .nothing-near. .see" "$BIN/model" nothing-near
    fails 2 "command .selct.: is select meant" "$BIN/toks" selct
    leaves_nothing fails 2 "o DIR" "$BIN/model" init config
    leaves_nothing fails 1 "absent" "$BIN/model" init absent -o new
    leaves_nothing fails 2 "int8" "$BIN/model" init config -o new --save-dtype int8
    jq '.hidden_act = "mish"' "$model/config.json" >config/config.json
    leaves_nothing fails 1 'hidden_act' "$BIN/model" init config -o new
    leaves_nothing fails 1 "nowhere" "$BIN/model" init "$model" -o nowhere/new
}

@test "model info: shape and memory, as a table and as JSON" {
    run -0 "$BIN/model" info "$model"
    [[ $output == *"stop tokens    2 39"* ]]
    [[ $output == *"training with AdamW"* ]]
    run -0 "$BIN/model" info --json "$model"
    header=$(od -An -N8 -tu8 "$model/model.safetensors")
    values=$(tail -c +9 "$model/model.safetensors" | head -c "$header" |
        jq '[to_entries[] | select(.key != "__metadata__") | .value.shape | reduce .[] as $d (1; . * $d)] | add')
    jq -e --argjson v "$values" '.parameters == $v and .vocab_size == 40 and .model_type == "llama"' <<<"$output"
    jq -e '.memory.training > .memory.weights and .eos == [2, 39] and .rope[0].theta == 10000' <<<"$output"
}

@test "model info: the description of the decoder" {
    configs=$BATS_TEST_DIRNAME/fixtures/configs
    for name in gemma3 falcon-40b smollm3 gpt2 granite stablelm-parallel nanochat opt-350m ministral3 olmo hunyuan_v1_dense; do
        mkdir $name && cp "$configs/$name.json" $name/config.json
        "$BIN/model" init $name -o "$name.model"
        "$BIN/model" info "$name.model" >$name.txt
    done
    grep -x 'window         6 in layers 0 2' gemma3.txt
    grep -x 'rotary         linear, base 1000000, factor 8 from 64 positions, in layers 1' gemma3.txt
    grep -x 'rotary         default, base 10000, in layers 0 2' gemma3.txt
    grep -x 'norms          RMSNorm (1 + weight), eps 1e-06, before and after attention and feed-forward' gemma3.txt
    grep -x 'attention      4 heads of 8, 2 for keys and values, fused in groups, scale 0.353553' falcon-40b.txt
    grep -x 'norms          LayerNorm with bias, eps 1e-05, attention and feed-forward in parallel' falcon-40b.txt
    grep -x 'rotary         default, base 5000000, in layers 0-2' smollm3.txt
    grep -x 'positions      32, learned' gpt2.txt
    grep -x 'vocabulary     48, head tied to embedding' gpt2.txt
    grep 'scale 0.408248 falling by layer' gpt2.txt
    grep -x 'multipliers    embedding 12, residual 0.22, logits 0.125' granite.txt
    grep 'query and key norms (each head)' stablelm-parallel.txt
    grep -x 'norms          RMSNorm without weight, eps 1e-06, of the embedding' nanochat.txt
    grep 'by minus the angle, in all layers' nanochat.txt
    grep -x 'hidden         24, 3 layers, projected from and to embeddings of 16' opt-350m.txt
    grep -x 'norms          LayerNorm with bias, eps 1e-05, of the sum after attention and feed-forward' opt-350m.txt
    grep 'queries grow by 0.2 per log of 16 positions' ministral3.txt
    grep 'query, key and value clamped to 8' olmo.txt
    grep 'query and key norms (shared) after rotary' hunyuan_v1_dense.txt
    "$BIN/model" info --json gemma3.model |
        jq -e '.rope[1].type == "default" and .layer[1] == {rope: 0, window: 0, scale: .layer[0].scale} and
            .not_used == [] and .head_norm == "shared" and .gated and .stored_as == "F32"'
}

# A model directory through average and a step that changes nothing.
comes_back() { # DIRECTORY
    "$BIN/model" average "$1:1" -o averaged
    rm averaged/densepath.json
    diff -r "$1" averaged
    "$BIN/sft-train" -q -m "$1" -o stepped --learning-rate 0 --max-steps 1 step.toks
    diff -r "$1" stepped | grep -vx 'Only in stepped: .*' && return 1
    rm -r averaged stepped
}

@test "model: what is read is written again, byte for byte, in every family" {
    "$BIN/toks" view -b - >step.toks <<<'{"densepath":1}
{"id":"a","token":[1,2,1,2],"mask":[0,1,1,1]}'
    n=0
    for config in "$BATS_TEST_DIRNAME"/fixtures/configs/*.json; do
        [[ $config == *reward* ]] && continue
        mkdir config && cp "$config" config/config.json && echo '{"x":1}' >config/tokenizer_config.json
        type=fp32 && ((n % 2)) && type=bf16 # test_families has all types of all
        "$BIN/model" init config -o made --save-dtype $type
        rm made/densepath.json
        comes_back made
        rm -r config made
        n=$((n + 1))
    done
    [ $n -gt 45 ]
}

@test "model: a multimodal folder declares another type in all its objects" {
    mkdir config && cp "$BATS_TEST_DIRNAME/fixtures/configs/mistral3.json" config/config.json
    "$BIN/model" init config -o made --save-dtype bf16
    jq -e '.dtype == "bfloat16" and .text_config.dtype == "bfloat16" and .vision_config.dtype == "bfloat16" and
        (.text_config | has("torch_dtype") | not)' made/config.json
    [ "$("$BIN/model" info --json made | jq -r '.model_type, .stored_as' | paste -sd' ')" = 'mistral3 BF16' ]
}

@test "model: reference models and real ones come back as they were" {
    shared=$BATS_TEST_DIRNAME/../../shared
    [ -d "$shared" ] || skip "needs ../shared"
    "$BIN/toks" view -b - >step.toks <<<'{"densepath":1}
{"id":"a","token":[1,2,1,0],"mask":[0,1,1,1]}'
    n=0
    for folder in "$shared"/golden/*/model "$shared"/golden/methods/* "$shared"/data/*; do
        [ -f "$folder/config.json" ] && ls "$folder"/*.safetensors >/dev/null 2>&1 || continue
        run -0 "$BIN/model" info "$folder"
        comes_back "$folder"
        n=$((n + 1))
    done
    [ $n -gt 15 ]
}

@test "model diff: tensors, tolerance, other shapes" {
    run -0 "$BIN/model" diff "$model" "$model"
    [ "${#lines[@]}" -eq 21 ]
    spoil_model bad lm_head.weight
    run -1 "$BIN/model" diff -q --tolerance 1e9 "$model" bad
    [[ $output == *"inf"* || $output == *nan* ]]
    jq '.intermediate_size = 30' "$model/config.json" >changed
    mkdir config && mv changed config/config.json
    "$BIN/model" init config -o wide
    run -1 "$BIN/model" diff "$model" wide
    fails 1 "absent" "$BIN/model" diff "$model" absent
    fails 2 "" "$BIN/model" diff "$model"
}

@test "model average: any weights" {
    "$BIN/model" init "$model" -o other --seed 3
    "$BIN/model" average "$model:1" -o same
    cmp same/model.safetensors "$model/model.safetensors"
    "$BIN/model" average "$model:0.5" other:0.5 -o mean
    "$BIN/model" average mean:2 other:-1 -o back
    "$BIN/model" diff -q --tolerance 1e-6 back "$model"
    run -1 "$BIN/model" diff -q mean "$model"
    leaves_nothing fails 2 "WEIGHT" "$BIN/model" average "$model" -o new
    leaves_nothing fails 2 "WEIGHT" "$BIN/model" average "$model:x" -o new
    leaves_nothing fails 1 "absent" "$BIN/model" average absent:1 -o new
    leaves_nothing fails 2 "o DIR" "$BIN/model" average "$model:1"
    jq '.intermediate_size = 30' "$model/config.json" >changed
    mkdir config && mv changed config/config.json
    "$BIN/model" init config -o wide
    leaves_nothing fails 1 "" "$BIN/model" average "$model:1" wide:1 -o new
}

@test "model: common manners" {
    run -0 "$BIN/model" --help
    run -0 "$BIN/model" --version
    fails 2 "nonsense" "$BIN/model" nonsense
    fails 2 "" "$BIN/model"
    for command in init info diff average; do
        run -0 "$BIN/model" "$command" --help
        fails 2 "--nonsense" "$BIN/model" "$command" --nonsense
    done
    fails 1 "absent" "$BIN/model" info absent
    fails 1 "demos.toks" "$BIN/model" info demos.toks
    run --separate-stderr bash -c '"$@" >/dev/full' - "$BIN/model" info "$model"
    [ "$status" -eq 1 ]
    [ "${#stderr_lines[@]}" -eq 1 ]
    run --separate-stderr bash -c '"$@" | true' - "$BIN/model" info "$model"
    [ -z "$stderr" ]
}

@test "model: files that lie" {
    cp -r "$model" bad
    # 2 GiB claimed in 1 KiB
    { printf '\140\0\0\0\0\0\0\0' && printf '%-96s' \
        '{"lm_head.weight":{"dtype":"F32","shape":[536870912],"data_offsets":[0,2147483648]}}' &&
        head -c 920 /dev/zero; } >bad/model.safetensors
    fails 1 'bad: model.safetensors: tensor `lm_head.weight`.*beyond the end' "$BIN/model" info bad
    head -c 4096 /dev/zero | tr '\0' '\377' >bad/model.safetensors
    fails 1 'bad: model.safetensors: impossible header size' "$BIN/model" info bad
    : >bad/model.safetensors
    fails 1 'bad: model.safetensors: too short' "$BIN/model" info bad
    rm bad/model.safetensors
    fails 1 'bad: model.safetensors: No such file' "$BIN/model" diff bad "$model"
    "$BIN/model" info bad | grep -x 'weights        none: this is what the configuration alone says'
    mkdir bad/model.safetensors
    fails 1 'bad: model.safetensors' "$BIN/model" info bad
    rmdir bad/model.safetensors
    mkfifo bad/model.safetensors
    run -1 timeout 120 "$BIN/model" info bad
    [[ $output == *"not a regular file"* ]]
}

@test "keys of config.json that nobody reads are named, not refused" {
    cp -r "$model" remarks
    jq '.is_llama_config = true | .rope_interleaved = true' "$model/config.json" >remarks/config.json
    "$BIN/model" info remarks | grep -x 'not read       keys of config.json: is_llama_config, rope_interleaved'
    "$BIN/model" diff -q remarks "$model"
    run --separate-stderr "$BIN/logprob" -v -m remarks --as m demos.toks -o out.toks
    [[ $stderr == *"remarks: keys of config.json that are not read: is_llama_config, rope_interleaved"* ]]
    run --separate-stderr "$BIN/logprob" -m remarks --as m demos.toks -o out.toks
    [[ $stderr != *is_llama_config* ]]
}

@test "an adapter without its base model is named as one" {
    mkdir adapter
    echo '{"peft_type":"LORA"}' >adapter/adapter_config.json
    fails 1 'adapter.*is an adapter [(]LoRA, PEFT[)]: merge it' "$BIN/model" info adapter
    fails 1 'adapter.*is an adapter [(]LoRA, PEFT[)]: merge it' "$BIN/model" init adapter -o fresh
    # Beside a config.json it is a file like others.
    cp "$model/config.json" adapter/
    "$BIN/model" init adapter -o fresh
}

@test "a pipe among a model's files is refused, not waited for" {
    cp -r "$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model" base
    for file in config.json tokenizer.json tokenizer_config.json; do
        "$BIN/model" init base -o piped
        rm -f piped/$file
        mkfifo piped/$file
        case $file in
        config.json) fails 1 'config.json: not a regular file' timeout 120 "$BIN/model" info piped ;;
        *) fails 1 "$file: not a regular file" timeout 120 "$BIN/tok" -q -m piped -o out.toks - <<<'{"text":"1+2"}' ;;
        esac
        # The fingerprint of the tokenizer is the trainers'.
        [[ $file == tokenizer_config.json ]] ||
            fails 1 "$file: not a regular file" timeout 120 "$BIN/sft-train" -m piped -o trained demos.toks
        rm -r piped
    done
}
