#!/usr/bin/env bats
# What users have and give that is not what a program wants: it is called by its name, with the way on.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    PATH=$(cd "$BIN" && pwd):$PATH
    unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HOME XDG_CACHE_HOME
    HOME=$PWD
}

# STATUS TEXT COMMAND...: one line on stderr that ends in TEXT.
says() {
    local want=$1 text=$2
    shift 2
    run --separate-stderr "$@"
    [ "$status" -eq "$want" ] || { echo "status $status: $stderr"; return 1; }
    [ "${#stderr_lines[@]}" -eq 1 ] || { echo "not one line: $stderr"; return 1; }
    [[ $stderr == *"$text" ]] || { echo "'$stderr' does not end in '$text'"; return 1; }
}

# The model with the names of its tensors through jq's FILTER, as DIR.
renamed() { # DIR FILTER
    local n
    cp -r "$model" "$1"
    n=$(od -An -N8 -tu8 "$model/model.safetensors")
    { head -c $((n + 8)) "$model/model.safetensors" | tail -c +9 |
        jq -c "with_entries(if .key == \"__metadata__\" then . else .key |= ($2) end)" | tr -d '\n'; } >names
    while (($(wc -c <names) % 8)); do printf ' ' >>names; done
    # shellcheck disable=SC2059
    { printf "$(printf '\\x%02x' $(($(wc -c <names) & 255)) $(($(wc -c <names) >> 8)) 0 0 0 0 0 0)"
        cat names; tail -c +$((n + 9)) "$model/model.safetensors"; } >"$1/model.safetensors"
}

# ---- models ----

@test "models: an adapter, with the model that it belongs to" {
    mkdir adapter
    echo '{"peft_type":"LORA","base_model_name_or_path":"org/base"}' >adapter/adapter_config.json
    echo x >adapter/adapter_model.safetensors
    way='this is an adapter (LoRA, PEFT): merge it into its base model, org/base, first (merge_and_unload() in PEFT, then save_pretrained())'
    says 1 "adapter: config.json: No such file or directory: $way" logprob -m adapter --as m demos.toks
    says 1 "adapter: config.json: No such file or directory: $way" sft-train -m adapter -o out demos.toks
    says 1 "neither tokenizer.json nor tokenizer.model is there: $way" tok -m adapter demos.jsonl
    # With the base's configuration beside it, too.
    cp "$model/config.json" adapter
    says 1 "adapter: model.safetensors: No such file or directory: $way" rollout -m adapter prompts.toks
}

@test "models: weights in another form, in a folder and as a file" {
    mkdir other
    cp "$model/config.json" other
    for name in pytorch_model.bin weights.pt weights.pth last.ckpt model.gguf tf_model.h5 flax_model.msgpack model.onnx w.npz; do
        echo x >"other/$name"
        run --separate-stderr logprob -m other --as m demos.toks
        [ "$status" -eq 1 ]
        [ "${#stderr_lines[@]}" -eq 1 ]
        [[ $stderr == "logprob: other: model.safetensors: No such file or directory: $name ("*") is not read: "* ]]
        run --separate-stderr logprob -m "other/$name" --as m demos.toks
        [ "$status" -eq 1 ]
        [[ $stderr == "logprob: other/$name: Not a directory: a file ("*"), which is not read: "* ]]
        rm "other/$name"
    done
    # What a trainer leaves beside the weights is none.
    echo x >other/training_args.bin
    says 1 'a configuration without weights: `model init` makes new ones' logprob -m other --as m demos.toks
    echo x >other/model-00001-of-00002.safetensors
    says 1 'there is model-00001-of-00002.safetensors: the index that names the parts has to be there too' \
        logprob -m other --as m demos.toks
    mv other/model-00001-of-00002.safetensors other/consolidated.safetensors
    says 1 "there is consolidated.safetensors: weights are read from model.safetensors, in transformers' layout" \
        logprob -m other --as m demos.toks
    says 1 "$model/config.json: Not a directory: a file of a model: -m $model" \
        logprob --as x -m "$model/config.json" demos.toks
    says 1 'demos.toks: Not a directory: a model is the directory that holds config.json, model.safetensors and tokenizer.json' \
        model info demos.toks
}

@test "models: a trainer's folder of checkpoints, an empty one, weights alone" {
    mkdir -p run/checkpoint-9 run/checkpoint-20 run/logs none alone
    cp "$model/config.json" run/checkpoint-9
    cp "$model/config.json" run/checkpoint-20
    says 1 'run: config.json: No such file or directory: a folder with a model in it: -m run/checkpoint-20' model info run
    says 1 'none: config.json: No such file or directory: the directory is empty' model info none
    mkdir going.partial
    says 1 'going: No such file or directory' model info going
    : >going.partial/densepath.partial
    says 1 'going/: No such file or directory: the run that makes it has not ended: it is in going.partial (--resume goes on with it)' \
        logprob -m going/ --as m demos.toks
    mkdir words
    echo '{}' >words/tokenizer.json
    says 1 'words: config.json: No such file or directory: a tokenizer without a model' model info words
    cp "$model/model.safetensors" alone
    says 1 "the model's config.json has to be there too" model info alone
    says 1 "neither tokenizer.json nor tokenizer.model is there: take that of the model that it was made from" \
        tok -m "$model" demos.jsonl
}

@test "models: names of the hub, and its cache" {
    fetch='models are directories; one of this name on the hub is fetched with `hf download org/name --local-dir DIR`, then -m DIR'
    says 1 "org/name: No such file or directory: $fetch" model info org/name
    says 1 "neither tokenizer.json nor tokenizer.model is there: $fetch" tok -m org/name demos.jsonl
    # No name of the hub: a folder that is there, an extension, a plain word.
    mkdir org
    says 1 'org/name: No such file or directory' model info org/name
    rmdir org
    says 1 'org/model.gguf: No such file or directory' model info org/model.gguf
    says 1 'word: No such file or directory' model info word
    root=hub/models--org--name
    mkdir -p $root/refs $root/snapshots
    cp -r "$model" $root/snapshots/abc
    echo abc >$root/refs/main
    says 1 "$root: config.json: No such file or directory: a folder of the hub's cache: its model is -m $root/snapshots/abc" model info $root
    "$BIN/model" info $root/snapshots/abc -o /dev/null
    found="org/name: No such file or directory: the hub's cache has a model of this name: -m"
    HF_HUB_CACHE=$PWD/hub says 1 "$found $PWD/$root/snapshots/abc" model info org/name
    HF_HOME=$PWD says 1 "$found $PWD/$root/snapshots/abc" sft-train -m org/name -o out demos.toks
    mkdir -p .cache/huggingface
    ln -s "$PWD/hub" .cache/huggingface/hub
    says 1 "$found $PWD/.cache/huggingface/$root/snapshots/abc" model info org/name
    mv hub/models--org--name hub/models--word
    says 1 "has a model of this name: -m $PWD/.cache/huggingface/hub/models--word/snapshots/abc" model info word
    says 1 "hub: config.json: No such file or directory: the hub's cache: a model in it is a folder models--ORG--NAME" model info hub
    # A ref to what is not there, and none.
    echo gone >hub/models--word/refs/main
    way='or fetch the model again (`hf download`)'
    says 1 "$way" model info hub/models--word
    rm hub/models--word/refs/main
    says 1 "$way" model info hub/models--word
    # A pipeline says the same.
    says 1 "org/name: not a model directory (the SFT model (-m)): No such file or directory: $fetch" \
        "$BATS_TEST_DIRNAME/../pipelines/select" -m org/name -o out demos.jsonl
}

@test "models: files that Git LFS has not fetched" {
    cp -r "$model" pointers
    printf 'version https://git-lfs.x/spec/v1\noid sha256:1\nsize 2\n' >pointer
    cp pointer pointers/model.safetensors
    says 1 'pointers: model.safetensors: a pointer of Git LFS: `git lfs pull` fetches the file' model info pointers
    cp pointer pointers/tokenizer.json
    says 1 'pointers/tokenizer.json: a pointer of Git LFS: `git lfs pull` fetches the file' tok -m pointers demos.jsonl
}

@test "models: tensors whose names were wrapped" {
    missing='tensor `model.embed_tokens.weight` is missing'
    renamed ddp '"module." + .'
    says 1 "$missing: it is there as \`module.model.embed_tokens.weight\`, as DataParallel and DeepSpeed would have it: save the model's .module, or take the part out of the names" \
        logprob -m ddp --as m demos.toks
    renamed compiled '"_orig_mod." + .'
    says 1 'as torch.compile would have it: save the model that was compiled, or take the part out of the names' model info compiled
    renamed both '"module._orig_mod." + .'
    says 1 'or take the part out of the names' model info both
    renamed peft '"base_model.model." + .'
    says 1 'as PEFT would have it: merge_and_unload() before save_pretrained()' model info peft
    renamed unmerged 'sub("q_proj.weight"; "q_proj.base_layer.weight")'
    says 1 'merge_and_unload() before save_pretrained()' model info unmerged
    renamed actor '"actor." + .'
    says 1 'it is there as `actor.model.embed_tokens.weight`: take the `actor.` off the names' model info actor
    renamed other 'ascii_upcase'
    says 1 "$missing (one that is there: \`LM_HEAD.WEIGHT\`)" model info other
    # As saved from the base model alone, it is read.
    renamed bare 'sub("^model\\."; "")'
    logprob -q -m bare --as m demos.toks | toks view | jq -c '.["logp:m"] // empty' >bare.logp
    logprob -q -m "$model" --as m demos.toks | toks view | jq -c '.["logp:m"] // empty' | cmp - bare.logp
}

# ---- streams ----

@test "streams: records, text, archives and models in the place of a stream" {
    way='this is text, not a token stream; `tok -m MODEL` makes one of it'
    echo '{"prompt":"a","completion":"b"}' >r.jsonl
    says 3 "r.jsonl: record 1: no \`token\`: $way" toks stat r.jsonl
    says 3 "r.jsonl: record 1: no \`token\`: $way" sft-train -m "$model" -o out r.jsonl
    echo '{"messages":[{"role":"user","content":"a"}]}' >m.jsonl
    says 3 "$way" toks stat m.jsonl
    jq . r.jsonl >pretty.json
    says 3 "$way" logprob -m "$model" --as m pretty.json
    zstd -q r.jsonl
    says 3 "r.jsonl.zst: record 1: no \`token\`: $way" toks stat r.jsonl.zst
    makes='`tok -m MODEL` makes one of JSON lines or text'
    echo 'some text' >t.txt
    says 3 "t.txt: not a token stream, nor its JSONL twin; $makes" toks stat t.txt
    gzip -k r.jsonl
    says 3 "twin, but compressed by gzip (\`gzip -dc\` unpacks it); $makes" toks stat r.jsonl.gz
    says 3 "twin, but compressed by gzip (\`gzip -dc\` unpacks it); $makes" toks stat - <r.jsonl.gz
    tar cf r.tar r.jsonl
    says 3 "twin, but a tar archive (unpack it); $makes" toks stat r.tar
    printf 'PK\3\4' >r.zip
    says 3 "twin, but a zip archive (unpack it); $makes" toks stat r.zip
    printf 'PAR1' >r.parquet
    says 3 "twin, but a Parquet file (to_json() of the datasets library writes JSON lines); $makes" toks stat r.parquet
    printf '<!DOCTYPE html>' >r.html
    says 3 "twin, but an HTML page; $makes" toks stat r.html
    says 3 'not a token stream: a safetensors file, as models have: their directory goes to -m' toks stat "$model/model.safetensors"
    { printf 'PK\3\4'; head -c 40 /dev/zero; printf 'archive/data.pkl'; } >w.pt
    says 3 'not a token stream: a PyTorch file, as models have: their directory goes to -m' toks stat w.pt
    says 1 "$model: Is a directory: a model's goes to -m" toks stat "$model"
    mkdir folder
    says 1 'folder: Is a directory' toks stat folder
}

@test "streams: a column that is missing, with the program that writes it" {
    column() { # NAME HOW
        says 3 "demos.toks: the stream has no column \`$1\` ($2)" toks select --by "${3-sum:}$1" --top 1 demos.toks
    }
    column logp:sft 'logprob --as sft writes it'
    column top3:sft 'logprob --as sft --top-logprobs K writes it'
    column mine 'tok --keep-columns mine takes it from the records, toks annotate from a command'
    says 3 'the stream has no column `logp:sft` (logprob --as sft writes it)' dense-reward sft half demos.toks
    says 3 'the stream has no column `reward` (dense-reward writes it, reward-train --score, novelty, toks gain)' \
        dense-reward --reward reward demos.toks
    says 3 'the stream has no column `advantage` (dense-reward writes it)' reinforce-step -m "$model" -o out demos.toks
    says 3 'the stream has no column `pair` (toks pair writes it, and tok --format preference)' reward-train -m "$model" -o out demos.toks
    says 3 'the stream has no column `prompt` (rollout writes it, and tok --samples)' toks pair demos.toks demos.toks
    says 3 'the stream has no column `answer` (toks annotate writes it)' toks vote demos.toks
}

@test "streams: toks(5) and the table of who writes a column have the same ones; commands and options exist" {
    source=$BATS_TEST_DIRNAME/../lib/stream/maker.c
    sed -n 's/^    {"\([^"]*\)", "\(.*\)"},$/\1\t\2/p' "$source" >rows
    [ "$(wc -l <rows)" -gt 25 ]
    # Columns of the page, each alone, without NAME; top1 is any K.
    sed -n '/^name  /,/^\.Ed/p' "$BATS_TEST_DIRNAME/../man/toks.5" | sed '1d;$d' |
        awk '{ for (i = 1; i < NF && $i !~ /^(f32|u32|u8|string)$/; i++) { sub(",", "", $i); sub("NAME", "", $i); print $i } }' |
        grep -vE '^(top1|id$|token$)' | sort -u >page
    cut -f1 rows | sort | diff page -
    cut -f2 rows | grep -oE '(tok|logprob|rollout|dense-reward|reward-train|novelty|toks [a-z]+)( --[a-z-]+)*( %s)?( --[a-z-]+)*' | sort -u >commands
    [ "$(wc -l <commands)" -gt 12 ]
    while read -r program rest; do
        if [[ $program == toks ]]; then
            program="toks ${rest%% *}"
        fi
        $program --list-options | cut -f1 >options
        for word in $rest; do
            [[ $word != --* ]] || grep -qx -- "${word#--}" options || { echo "$program has no $word"; return 1; }
        done
    done <commands
}

# ---- long records ----

@test "records longer than the positions: learned ones end, with record, length, limit and way out" {
    learned_model short 12
    way='20 tokens are more than the model'\''s 12 positions (tok --max-length 12, with --truncation)'
    says 1 "demos.toks: record \`e\`: $way" logprob -q -m short --as m demos.toks
    says 1 "demos.toks: record \`e\`: $way" sft-train -q -m short -o out demos.toks
    says 1 "demos.toks: record \`e\`: $way" novelty -q -m short --demonstrations demos.toks demos.toks
    echo '{"id":"p","token":[1,5,5,5,5,5,5,5,5,5,5,5,5]}' | toks view -b -o p.toks
    says 1 'p.toks: record `p`: a prompt of 13 tokens leaves no room in 12 positions (tok --prompts --max-length N, with --truncation)' \
        rollout -q -m short p.toks
}

@test "records longer than the positions: rotary ones go on, with a warning" {
    cp -r "$model" rotary
    jq '.max_position_embeddings = 12' "$model/config.json" >rotary/config.json
    warning='warning: demos.toks: record `e`: 20 tokens are more than the 12 positions that the model was made for (max_position_embeddings); tok --max-length and rollout --max-new-tokens bound them'
    warns() { # COMMAND...: once, and does it; not with -q
        run -0 --separate-stderr "$@"
        [ "$(grep warning <<<"$stderr")" = "$1: $warning" ] || { echo "$*: $stderr"; return 1; }
    }
    run -0 --separate-stderr logprob -q -m rotary --as m -o again.toks demos.toks
    [ -z "$stderr" ]
    "$BIN/logprob" -q -m "$model" --as m demos.toks -o scored.toks
    warns logprob -m rotary --as m -o again.toks demos.toks
    toks view scored.toks | jq -c '.["logp:m"] // empty' >want
    toks view again.toks | jq -c '.["logp:m"] // empty' | cmp - want
    warns sft-train -m rotary -o sft --max-steps 1 demos.toks
    warns novelty -m rotary --demonstrations demos.toks -o novel.toks demos.toks
    warning=${warning/demos.toks/standard input}
    demo_pairs >pairs.toks
    warns reward-train -m rotary -o rewards --max-steps 1 <pairs.toks
    warns reward-train --score -m rewards -o scored <demos.toks
    logprob -q -m "$model" --as m pairs.toks -o pairs.scored.toks
    warns pair-train -m rotary -o pairs --max-steps 1 <pairs.scored.toks
    run -0 --separate-stderr rollout -m rotary --max-new-tokens 20 --temperature 1 -n 9 -o samples.toks prompts.toks
    [[ $stderr == "rollout: warning: prompts.toks: record \`"*"\`: "*" tokens are more than the 12 positions that"* ]]
    [ "$(grep -c warning <<<"$stderr")" -eq 1 ]
    toks view samples.toks | jq -c 'if has("token") then .advantage = [.mask[] | if . == 1 then 1 else 0 end]
        else .columns += [{name: "advantage", type: "f32", per: "token"}] end' | toks view -b -o learn.toks
    run -0 --separate-stderr reinforce-step -m rotary -o policy --max-steps 1 --batch-size 63 learn.toks
    [[ $stderr == "reinforce-step: warning: learn.toks: record \`"* ]]
    # Positions that are stretched are another matter, and so is what is as long as they are.
    jq '.rope_scaling = {rope_type: "linear", factor: 4}' rotary/config.json >config && cp config rotary/config.json
    logprob -m rotary --as m demos.toks -o /dev/null 2>err
    run ! grep warning err
    jq '.max_position_embeddings = 20' "$model/config.json" >rotary/config.json
    logprob -m rotary --as m demos.toks -o /dev/null 2>err
    run ! grep warning err
}

@test "records longer than the positions: tok says so, with the first of them" {
    cp -r "$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model" base
    for n in 1 30 50; do
        jq -nc --argjson n "$n" '{id: "r\($n)", prompt: ("1+2=" * $n), completion: "3"}'
    done >r.jsonl
    warned() { # WARNING TOK-OPTION...
        tok -q -m base -o r.toks "${@:2}" r.jsonl 2>err
        echo "$1" | diff - err
    }
    jq '.max_position_embeddings = 80' base/config.json >config && cp config base/config.json
    way='(--max-length 80 refuses or, with --truncation, cuts them)'
    warned "tok: warning: 2 records are longer than the 80 positions of base/config.json, first record \`r30\` with 122 tokens $way"
    # Prompts, the other key, and a model within another.
    jq '.n_positions = 80 | del(.max_position_embeddings)' config >base/config.json
    warned "tok: warning: 2 records are longer than the 80 positions of base/config.json, first record \`r30\` with 120 tokens $way" --prompts
    jq '{text_config: .}' config >base/config.json
    warned "tok: warning: 2 records are longer than the 80 positions of base/config.json, first record \`r30\` with 122 tokens $way"
    cp config base/config.json
    says 1 'r.jsonl:2: record `r30`: 122 tokens are more than --max-length 80 (--truncation)' tok -q -m base --max-length 80 -o r.toks r.jsonl
    silent() {
        tok -q -m base -o r.toks "$@" r.jsonl 2>err
        [ ! -s err ]
    }
    silent --max-length 80 --truncation left
    jq '.rope_scaling = {rope_type: "yarn", factor: 4}' config >base/config.json
    silent
    jq 'del(.max_position_embeddings)' config >base/config.json
    silent
    rm base/config.json
    silent
}

# ---- places ----

@test "folders that are not there, for outputs and inputs; an empty name" {
    says 1 'no/such/x.toks: No such file or directory: there is no folder no/such' toks cat -o no/such/x.toks demos.toks
    says 1 'no/such: No such file or directory: there is no folder no' sft-train -m "$model" -o no/such demos.toks
    says 1 'no/such/: No such file or directory: there is no folder no' model init "$model" -o no/such/
    says 1 'demos.toks/x: Not a directory: there is no folder demos.toks' sft-train -m "$model" -o demos.toks/x demos.toks
    says 1 'no/m.jsonl: No such file or directory: there is no folder no' sft-train -m "$model" -o out --metrics no/m.jsonl demos.toks
    says 1 'no/x.jsonl: No such file or directory: there is no folder no' toks cat no/x.jsonl
    says 1 'x.jsonl: No such file or directory' toks cat x.jsonl
    says 1 ': No such file or directory: the name is empty' model info ''
    [ ! -e out ]
    [ ! -e no ]
}

@test "pipelines name the program that writes a column, too" {
    P=$BATS_TEST_DIRNAME/../pipelines
    says 1 'demos.toks: no column reward (dense-reward writes it, reward-train --score, novelty, toks gain)' \
        "$P/ranking" -m "$model" --score cat demos.toks
    says 1 'demos.toks: no column logp:half (logprob --as half writes it)' \
        "$P/plot" gap --columns half,sft -o g A=demos.toks
    logprob -q -m "$model" --as half -o half.toks demos.toks
    says 1 'half.toks: no column logp:sft (logprob --as sft writes it)' \
        "$P/plot" gap --columns half,sft -o g A=half.toks
}

# ---- options ----

@test "options: those of other trainers are answered with ours, or with why there is none; each exists" {
    says 2 "unknown option '--per_device_train_batch_size': here it is --batch-size (records per update, over all devices and accumulation) (see \`sft-train --help\`)" \
        sft-train --per_device_train_batch_size 8
    says 2 "unknown option '--learning_rate': is --learning-rate meant? (see \`sft-train --help\`)" sft-train --learning_rate=1
    # What is more than the beginning of one of ours.
    says 2 "unknown option '--lr': here it is --learning-rate (see \`sft-train --help\`)" sft-train --lr 1e-5
    says 2 "unknown option '--max_seq_length': here it is --max-length of tok (see \`sft-train --help\`)" sft-train --max_seq_length 512
    says 2 "unknown option '--bf16': here it is --dtype (--dtype bf16: its products; sums and masters stay fp32) (see \`sft-train --help\`)" sft-train --bf16
    says 2 "unknown option '--actor_rollout_ref.actor.optim.lr': here it is --learning-rate (see \`reinforce-step --help\`)" \
        reinforce-step --actor_rollout_ref.actor.optim.lr=1e-6
    says 2 "unknown option '--beta': here it is --kl (NAME:COEF) (see \`reinforce-step --help\`)" reinforce-step --beta 0.04
    says 2 "unknown option '--num_generations': is --num-generations meant? (see \`rollout --help\`)" rollout --num_generations 4
    says 2 "unknown option '--max_completion_length': here it is --max-new-tokens (see \`rollout --help\`)" rollout --max_completion_length 9
    P=$BATS_TEST_DIRNAME/../pipelines
    says 2 "unknown option '--output_dir': here it is --output (see \`dpr --help\`)" "$P/dpr" --output_dir x
    says 2 "unknown option '--per_device_train_batch_size': here it is --batch-size (records per update, over all devices and accumulation) of sft-train, whose options stand after -- (see \`sft --help\`)" \
        "$P/sft" --per_device_train_batch_size 8
    says 2 "unknown option '--weight_decay': it is sft-train's, whose options stand after -- (see \`sft --help\`)" "$P/sft" --weight_decay 0
    says 2 "unknown option '--max_steps': here it is --steps (see \`dpr --help\`)" "$P/dpr" --max_steps 9
    echo 'num_epochs = 3' >c
    says 2 "c:1: sft-train has no option 'num_epochs': here it is --num-train-epochs" sft-train --config c
    printf 'model: base\n' >c
    says 2 'c:1: not of the form `name = value` (YAML and JSON are not read)' sft-train --config c
    echo 'nothing_like_it = 3' >c
    says 2 "c:1: sft-train has no option 'nothing_like_it'" sft-train --config c
}

@test "options: each row of the table of other names leads to an option that is there" {
    local theirs ours where program rows=0
    sed -n 's/^    {"\([^"]*\)", \("[^"]*"\|NULL\), \("[^"]*"\|TRAINER\|NULL\),.*/\1 \2 \3/p' \
        "$BATS_TEST_DIRNAME/../lib/base/foreign_option.c" | tr -d '"' | sed 's/TRAINER/sft-train/' >table
    [ "$(wc -l <table)" -eq "$(grep -c '^    {"' "$BATS_TEST_DIRNAME/../lib/base/foreign_option.c")" ]
    for program in $(cut -d' ' -f3 table | sort -u | grep -v NULL); do
        densepath "$program" --list-options | cut -f1 >"options.$program"
    done
    while read -r theirs ours where; do
        rows=$((rows + 1))
        if [[ $ours == NULL ]]; then
            [[ $where == NULL ]]
        else
            grep -qx -- "$ours" "options.$where" || { echo "$where has no --$ours ($theirs)"; return 1; }
        fi
        run -2 --separate-stderr sft-train "--${theirs//-/_}=1"
        [[ $stderr == "sft-train: unknown option '--${theirs//-/_}': "* ]] || [[ $theirs =~ ^(temperature|beta)$ ]] || {
            echo "$theirs: $stderr"
            return 1
        }
    done <table
    [ "$rows" -gt 150 ]
}

@test "pipelines: the program that fails first says why, those behind it nothing" {
    pipelines=$BATS_TEST_DIRNAME/../pipelines
    model init -q "$pipelines/tasks/sort/model" -o base
    echo '{"question":"a","reply":"b"}' >q.jsonl
    # Four programs in a row.
    run -3 --separate-stderr "$pipelines/picture" -m base --reference base q.jsonl
    [[ $stderr == 'tok: q.jsonl:1: no known format: '* ]]
    # shellcheck disable=SC2154
    [ "${#stderr_lines[@]}" -eq 1 ]
    run -3 --separate-stderr "$pipelines/sft" -m base -o out q.jsonl
    [[ $stderr == 'tok: q.jsonl:1: no known format: '* ]]
    [ "${#stderr_lines[@]}" -eq 1 ]
    # Where that one is silent, the script speaks.
    mkdir bin
    ln -s "$BIN"/* bin
    rm bin/tok
    printf '#!/bin/sh\nexit 1\n' >bin/tok
    chmod +x bin/tok
    BIN=$PWD/bin run -3 --separate-stderr "$pipelines/sft" -m base -o out q.jsonl
    [ "$stderr" = 'sft: a program ended without output, and those behind it had nothing to read (status 3)' ]
    # What is put together by hand is as ever, and so is what is no pipe.
    says 3 'toks stat: standard input: not a stream: empty input' bash -c 'true | toks stat'
    says 3 'toks stat: /dev/null: not a stream: empty input' env DENSEPATH_STAGE=1 toks stat /dev/null
    export DENSEPATH_STAGE=1
    run -3 --separate-stderr bash -c 'true | toks stat'
    [ -z "$stderr" ]
    # No file of anybody's gets the marks.
    touch 1
    run -3 bash -c 'true | toks stat'
    [ ! -s 1 ]
}
