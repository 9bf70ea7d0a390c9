#!/usr/bin/env bats
# GGUF files: model import, model export.
# shellcheck disable=SC2016,SC2154
bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    {
        echo '{"densepath":1}'
        jq -nc '{id:"a",token:[range(24)|(.*.*5+.*3+7)%47],mask:[range(24)|1]}'
    } >some.jsonl
}

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    fixtures=$(cd "$BATS_TEST_DIRNAME/fixtures" && pwd)
    stream=$BATS_FILE_TMPDIR/some.jsonl
    real=${XDG_CACHE_HOME:-$HOME/.cache}/densepath-test/SmolLM2-135M-Instruct.Q4_1.gguf
    cd "$BATS_TEST_TMPDIR" || return
}

# A trained model of a configuration, changed by a filter of jq: no bias is 0, no norm the identity.
make_model() { # CONFIG FILTER
    rm -rf config fresh model
    mkdir config
    jq "$2" "$fixtures/configs/$1.json" >config/config.json
    model init -q config -o fresh --seed 1 --save-dtype fp32
    sft-train -q -m fresh -o model --max-steps 2 --learning-rate 0.05 --lr-scheduler-type constant "$stream"
}

scores() { # MODEL
    logprob -q -m "$1" --as x "$stream" | toks view | tail -n +2
}

# Out and in again: the same tensors, within the tolerance, and the same numbers: to the bit where none is given.
returns() { # CONFIG FILTER [TOLERANCE]
    echo "$1"
    make_model "$1" "$2"
    rm -rf model.gguf back
    model export -q model --gguf model.gguf --type f32
    model import -q model.gguf -o back
    model diff -q --tolerance "${3-0}" model back
    if [ -z "${3-}" ]; then
        cmp <(scores model) <(scores back)
    else
        [ "$(paste <(scores model | jq '."logp:x"[1:][]') <(scores back | jq '."logp:x"[1:][]') |
            awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-4) n++ } END { print n + 0 }')" -eq 0 ]
    fi
}

no_window='.sliding_window = null'

@test "families: out and in again, the same model: Llama's relatives" {
    returns llama-old .
    returns llama-yarn . 0 # its attention factor is an fp32 number in the file
    returns mistral "$no_window"
    returns ministral "$no_window | del(.layer_types)"
    returns ministral3 .
    returns arcee '.mlp_bias = false'
    returns granite .
    returns smollm3 .
    returns seed_oss .
    returns ernie4_5 '.use_bias = false'
    returns hunyuan_v1_dense .
}

@test "families: out and in again, the same model: llama3's rotary positions, linear ones" {
    returns llama-old '.rope_scaling = {rope_type: "llama3", factor: 32, low_freq_factor: 1, high_freq_factor: 4,
        original_max_position_embeddings: 8192} | .head_dim = 32'
    jq -e '.rope_scaling.factor == 32 and .rope_scaling.original_max_position_embeddings == 8192' back/config.json
    returns llama-old '.rope_scaling = {rope_type: "linear", factor: 4}'
    returns exaone4 'del(.sliding_window_pattern, .layer_types) | .sliding_window = null | .hidden_size = 32'
}

@test "families: out and in again, the same model: Qwen, OLMo, Phi, Cohere, GLM" {
    returns qwen2 '.use_sliding_window = false'
    returns qwen3 .
    returns olmo .
    returns olmo2 .
    returns olmo3 .
    returns phi .
    returns phi3 "$no_window"
    returns cohere '.use_qk_norm = false'
    returns cohere '.num_hidden_layers = 64'
    returns cohere2 '.hidden_size = 32'
    returns glm '.hidden_size = 32'
    returns glm4 .
    returns stablelm .
    returns stablelm-parallel .
}

@test "families: out and in again, the same model: GPT-2's relatives, Falcon" {
    returns gpt2 '.scale_attn_by_inverse_layer_idx = false'
    returns gpt_bigcode .
    returns gpt_bigcode-mha '.activation_function = "gelu_pytorch_tanh"'
    returns gpt_neox '.hidden_size = 32'
    returns gpt_neox-sequential '.hidden_size = 32 | .attention_bias = true | .hidden_act = "gelu"'
    returns starcoder2 "$no_window"
    returns falcon-7b .
    returns falcon-11b .
    returns falcon-40b .
}

# The files hold 1 + the weight of a norm, in fp32.
@test "families: out and in again: norms that count from 1 come back within their rounding" {
    returns gemma . 1.2e-7
    returns gemma2 '.query_pre_attn_scalar = 8' 1.2e-7
    returns gemma3 '.query_pre_attn_scalar = 8' 1.2e-7
    returns nemotron '.hidden_size = 32' 1.2e-7
}

@test "families: the text model of a folder with more in it" {
    make_model mistral3 .
    model export -q model --gguf model.gguf --type f32
    model import -q model.gguf -o back
    cmp <(scores model) <(scores back)
}

@test "export: what llama.cpp does not compute is refused, and nothing is left" {
    refuses() { # CONFIG FILTER MESSAGE
        rm -rf config model
        mkdir config
        jq "$2" "$fixtures/configs/$1.json" >config/config.json
        model init -q config -o model
        run --separate-stderr model export model --gguf out.gguf
        [ "$status" -eq 1 ]
        [ "${#stderr_lines[@]}" -eq 1 ]
        [[ $stderr == "model export: "*"$3"* ]]
        [ ! -e out.gguf ]
    }
    refuses mistral . 'its layers see only a window of the text'
    refuses exaone4 '.hidden_size = 32' 'its layers see only a window of the text'
    refuses opt . 'llama.cpp has no models of type opt'
    refuses gpt2 . 'its attention scores have another scale'
    refuses arcee . 'its architecture arcee has no place for model.layers.0.mlp.up_proj.bias'
    refuses falcon-rw . 'it has no rotary positions'
    refuses phi-norms . 'its head is tied to the embedding'
    refuses smollm3 '.no_rope_layers = [1, 0, 1, 0]' 'its layers without rotary positions are not each fourth'
    refuses cohere . 'only from 64 layers on has command-r norms of query and key'
    refuses nemotron . 'its heads are together wider or narrower than its hidden states'
    refuses gpt_neox-sequential '.hidden_size = 32' 'it has no biases'
    refuses llama-old '.hidden_act = "relu"' 'its activation is another'
    refuses llama-old '.rope_scaling = {rope_type: "dynamic", factor: 2}' 'depend on the length of the text'
}

# A step is the largest difference that rounding to the type may make of a value up to 1.
@test "types: each within its step, and rows that are no whole blocks as llama.cpp has them" {
    make_model llama-old '.hidden_size = 256 | .intermediate_size = 64 | .num_attention_heads = 4 |
        .num_key_value_heads = 2 | .initializer_range = 0.05'
    for type in f16:1e-3 bf16:4e-3 q8_0:4e-3 q4_k_m:4e-2; do
        model export -q model --gguf "${type%:*}.gguf" --type "${type%:*}"
        model import -q "${type%:*}.gguf" -o "${type%:*}" --dtype fp32
        model diff -q --tolerance "${type#*:}" model "${type%:*}"
        run model diff -q model "${type%:*}"
        [ "$status" -eq 1 ]
    done
    [ "$(stat -c %s q4_k_m.gguf)" -lt "$(stat -c %s q8_0.gguf)" ]
    [ "$(stat -c %s q8_0.gguf)" -lt "$(stat -c %s f16.gguf)" ]
}

@test "import: --dtype; without it the type of the matrices" {
    make_model qwen3 .
    for type in f32:F32 f16:F16 bf16:BF16 q8_0:BF16; do
        model export -q model --gguf m.gguf --type "${type%:*}" --overwrite
        model import -q m.gguf -o out --overwrite
        head -c 300 out/model.safetensors | grep -q "\"dtype\":\"${type#*:}\""
    done
    model import -q m.gguf -o out --overwrite --dtype fp32
    grep -q '"torch_dtype": "float32"' out/config.json
    run --separate-stderr model import m.gguf -o other --dtype fp8
    [ "$status" -eq 2 ]
    [ "$stderr" = "model import: --dtype: 'fp8' is not one of fp32, bf16, fp16" ]
}

@test "import: a number beyond fp16 is refused by name, and nothing is left" {
    make_model llama-old .
    model average -q model:1000000 -o large
    model export -q large --gguf m.gguf --type f32
    run --separate-stderr model import m.gguf -o out --dtype fp16
    [ "$status" -eq 1 ]
    [[ $stderr == "model import: m.gguf: tensor '"*"' holds "*", which fp16 cannot: take --dtype bf16 or fp32" ]]
    [ ! -e out ]
    [ ! -e out.partial ]
}

@test "import, export: nothing is replaced without --overwrite" {
    make_model llama-old .
    model export -q model --gguf m.gguf --type f32
    run --separate-stderr model export model --gguf m.gguf
    [ "$status" -eq 1 ]
    [ "$stderr" = 'model export: m.gguf: exists; --overwrite replaces it' ]
    run --separate-stderr model import m.gguf -o model
    [ "$status" -eq 1 ]
    [[ $stderr == *'--overwrite'* ]]
    model import -q m.gguf -o model --overwrite
    run --separate-stderr model export model
    [ "$status" -eq 2 ]
    [ "$stderr" = 'model export: --gguf FILE is missing: where should the model go?' ]
    run --separate-stderr model export model --gguf n.gguf --type q3
    [ "$status" -eq 2 ]
    [ "$stderr" = "model export: --type: 'q3' is not one of f32, f16, bf16, q8_0, q4_k_m" ]
    run --separate-stderr model export model --gguf /dev/full
    [ "$status" -eq 1 ]
}

@test "import: an unknown architecture, key, tensor or type is refused by name" {
    make_model llama-old .
    model export -q model --gguf m.gguf --type f32
    refuses() { # SED MESSAGE
        LC_ALL=C sed "$1" m.gguf >bad.gguf
        run --separate-stderr model import bad.gguf -o out
        [ "$status" -eq 1 ]
        [ "${#stderr_lines[@]}" -eq 1 ]
        [[ $stderr == "model import: bad.gguf: "*"$2"* ]]
        [ ! -e out ]
        [ ! -e out.partial ]
    }
    refuses 's/\x05\x00\x00\x00\x00\x00\x00\x00llama/\x05\x00\x00\x00\x00\x00\x00\x00lhama/' \
        "architecture 'lhama' is not known to this version, which reads arcee, chatglm, "
    refuses 's/llama.vocab_size/llama.vocab_sise/' "key 'llama.vocab_sise' is not known to this version"
    refuses 's/llama.block_count/llama.block_counT/' "key 'llama.block_count' is missing"
    refuses 's/blk.1.attn_k.weight/blk.1.attn_x.weight/' "tensor 'blk.1.attn_k.weight' is missing"
    refuses 's/^GGUF/GGUX/' 'it does not begin as a GGUF file'
    head -c 700 m.gguf >bad.gguf
    run --separate-stderr model import bad.gguf -o out
    [ "$status" -eq 1 ]
    [[ $stderr == 'model import: bad.gguf: '* ]]
    run --separate-stderr model import model -o out
    [ "$status" -eq 1 ]
}

# ---- tokenizers ----

# A model with this tokenizer, out and in again: the same ids of texts, and a second time the same file.
keeps_ids() { # FOLDER
    echo "$1"
    rm -rf config with back again
    mkdir config
    cp "$fixtures/tokenizers/$1"/* config
    jq --argjson n "$(jq '[.model.vocab[], .added_tokens[].id] | max + 1' config/tokenizer.json)" '.vocab_size = $n' \
        "$fixtures/configs/llama-old.json" >config/config.json
    model init -q config -o with
    model export -q with --gguf with.gguf --type q8_0 --overwrite
    model import -q with.gguf -o back
    jq -c --arg name "$1" 'select(.tokenizer == $name) | {text}' "$fixtures/tokenizers/ids.jsonl" >texts.jsonl
    [ -s texts.jsonl ]
    cmp <(tok -q -m with --format text texts.jsonl | toks view | jq -c .token) \
        <(tok -q -m back --format text texts.jsonl | toks view | jq -c .token)
    model export -q back --gguf again.gguf --type q8_0 --overwrite
    model import -q again.gguf -o again
    cmp back/tokenizer.json again/tokenizer.json
}

@test "tokenizers: byte-level BPE and SentencePiece's, out and in again, give the same ids" {
    keeps_ids qwen2
    keeps_ids llama2-legacy
}

@test "tokenizers: the chat template, stops and special tokens go along" {
    mkdir config
    cp "$fixtures/tokenizers/qwen2"/* config
    jq --argjson n "$(jq '[.model.vocab[], .added_tokens[].id] | max + 1' config/tokenizer.json)" '.vocab_size = $n' \
        "$fixtures/configs/llama-old.json" >config/config.json
    echo -n '{{ messages[0].content }}!' >config/chat_template.jinja
    token=$(jq -r '.added_tokens[0].content' config/tokenizer.json)
    jq -n --arg t "$token" '{eos_token: {content: $t}, bos_token: null}' >config/tokenizer_config.json
    ids=$(jq -c '[.added_tokens[0,1].id]' config/tokenizer.json)
    jq -n --argjson ids "$ids" '{eos_token_id: $ids}' >config/generation_config.json
    model init -q config -o with
    model export -q with --gguf with.gguf --type f32
    model import -q with.gguf -o back
    cmp config/chat_template.jinja back/chat_template.jinja
    [ "$(jq -r .eos_token back/tokenizer_config.json)" = "$token" ]
    [ "$(jq -c .eos_token_id back/generation_config.json)" = "$ids" ]
}

@test "tokenizers: one without a name in llama.cpp is refused" {
    mkdir config
    cp "$fixtures/tokenizers/unigram-charsmap"/* config
    jq '.vocab_size = 1000' "$fixtures/configs/llama-old.json" >config/config.json
    model init -q config -o with
    run --separate-stderr model export with --gguf out.gguf
    [ "$status" -eq 1 ]
    [ "$stderr" = 'model export: with: tokenizer.json: only BPE can be said in a GGUF file, so far' ]
}

# ---- a real one ----

@test "SmolLM2-135M: ids, log-probabilities and greedy answers are the reference's" {
    need "$SHARED/real-model/smollm2.json"
    need "$real"
    reference=$SHARED/real-model/smollm2.json
    model import -q "$real" -o smol --dtype fp32
    jq -c '.[] | {messages}' "$reference" >chats.jsonl
    jq -c '.[] | {prompt: [.messages[0]]}' "$reference" >prompts.jsonl
    tok -q -m smol chats.jsonl | logprob -q -m smol --as x --all | toks view | tail -n +2 >scored.jsonl
    cmp <(jq -c .token scored.jsonl) <(jq -c '.[].tokens' "$reference")
    paste <(jq '."logp:x"[1:][]' scored.jsonl) <(jq '.[].logprob[]' "$reference") |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d } END { print most; exit !(NR > 200 && most <= 5e-5) }'
    tok -q -m smol --prompts prompts.jsonl | rollout -q -m smol --temperature 0 --max-new-tokens 32 |
        toks view | tail -n +2 | jq -c '[.token, .mask] | transpose | map(select(.[1] == 1)[0])' >greedy.jsonl
    cmp greedy.jsonl <(jq -c '.[].greedy' "$reference")
    # And out again: the same file of weights, the same tokenizer.
    model export -q smol --gguf smol.gguf --type f32
    model import -q smol.gguf -o back
    cmp smol/model.safetensors back/model.safetensors
    cmp smol/tokenizer.json back/tokenizer.json
}
