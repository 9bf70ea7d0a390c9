#!/usr/bin/env bats
# reward-train: training on pairs, scoring, measuring; stopping and going on; refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    pairs >pairs.jsonl
    "$BIN/toks" view -b pairs.jsonl >pairs.toks
    train=("$BIN/reward-train" -q -m "$model" --learning-rate 3e-3 --batch-size 2)
    score=("$BIN/reward-train" -q --score)
}

# Demonstrations like what the prompt asks for end with 2; samples with 39. The records of a pair
# stand apart, in either order.
pairs() {
    cat <<'END'
{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},{"name":"pair","type":"string","per":"sequence"},{"name":"role","type":"string","per":"sequence"}]}
{"id":"a+","token":[1,5,6,7,8,9,10,2],"mask":[0,0,0,1,1,1,1,1],"pair":"a","role":"demo"}
{"id":"b-","token":[1,5,16,17,18,9,9,9,39],"mask":[0,0,0,1,1,1,1,1,1],"pair":"b","role":"sample"}
{"id":"a-","token":[1,5,6,7,18,39],"mask":[0,0,0,1,1,1],"pair":"a","role":"sample"}
{"id":"c-","token":[1,12,13,39],"mask":[0,1,1,1],"pair":"c","role":"rejected"}
{"id":"b+","token":[1,5,16,17,21,2],"mask":[0,0,0,1,1,1],"pair":"b","role":"demo"}
{"id":"c+","token":[1,12,2],"mask":[0,1,1],"pair":"c","role":"chosen"}
{"id":"d+","token":[1,30,31,32,33,34,35,36,37,38,3,4,5,6,7,8,9,10,11,2],"mask":[0,0,0,0,0,0,0,0,1,1,1,1,1,0,1,1,1,1,1,1],"pair":"d","role":"demo"}
{"id":"d-","token":[1,30,31,32,33,34,35,36,37,39],"mask":[0,0,0,0,0,0,0,0,1,1],"pair":"d","role":"sample"}
{"id":"e-","token":[1,9,9,9,9,9,39],"mask":[0,1,1,1,1,1,1],"pair":"e","role":"sample"}
{"id":"e+","token":[1,9,9,9,9,9,2],"mask":[0,1,1,1,1,1,1],"pair":"e","role":"demo"}
END
}

same_model() { # A B: the same files but for the history
    diff -r --exclude densepath.json --exclude README.md --exclude metrics.jsonl "$1" "$2"
}

# FILE: a column reward of a wave of numbers, made without a model.
with_rewards() {
    jq -c 'if .id then . as $r | .reward = [range(.token | length) |
        if $r.mask[.] == 1 then ((. * 7 + ($r.id | length) * 3 + $r.token[.]) % 11) / 4 - 1 else null end]
        else .columns += [{name: "reward", type: "f32", per: "token"}] end' "$1"
}

@test "reward-train: learns the pairs, and its figures are those of its scores" {
    "${train[@]}" --max-steps 60 --metrics log --eval-stream pairs.toks --eval-steps 20 -o rm pairs.toks
    jq -se 'length == 60 and (.[0].loss - (2 | log) | fabs) < 1e-6 and .[0].accuracy == 0 and
        .[0].margin == 0 and .[59].eval_loss < 0.2 and .[59].eval_accuracy == 1 and
        .[59].eval_aligned_accuracy == 1 and .[59].eval_margin > 1 and
        [.[] | select(.eval_loss) | .step] == [20, 40, 60] and
        all(.grad_norm > 0 and .step_time > 0 and .tokens_per_second > 0 and .learning_rate > 0) and
        .[2].epoch == 1 and .[2].num_tokens == 47 and .[59].num_tokens == 20 * 47' log
    "${score[@]}" -m rm pairs.toks | "$BIN/reward-train" --measure >figures.json
    "$BIN/reward-train" --score -m rm pairs.toks 2>&1 >/dev/null |
        grep -qE "^reward-train: [0-9]+ records, [0-9]+ tokens, [0-9:]+, [0-9]+ tokens/s$"
    jq -e --slurpfile log log '$log[59] as $l | .pairs == 5 and
        (["loss", "accuracy", "margin", "aligned_accuracy", "aligned_margin"] as $k | . as $f |
            $k | all(. as $n | $f[$n] - $l["eval_" + $n] | fabs < 1e-6))' figures.json
    [ ! -e rm.partial ]
    [ ! -e rm.lock ]
    [ ! -e rm/state.safetensors ]
    [ ! -e rm/start ]
    jq -e '.finished and (.provenance[-1] | .program == "reward-train" and
        (.models.base | startswith("xxh3:")))' rm/densepath.json
}

@test "reward-train: the first metrics are the loss of the pairs that make the update" {
    "${train[@]}" --max-steps 5 -o rm pairs.toks
    for options in "--pad zero" "--pad shorter --reduction tokens" "--loss sequence"; do
        # shellcheck disable=SC2086
        "$BIN/reward-train" -q -m rm --batch-size 5 --max-steps 1 --metrics log $options --overwrite -o next pairs.toks
        # shellcheck disable=SC2086
        "${score[@]}" -m rm pairs.toks | "$BIN/reward-train" --measure $options |
            jq -e --slurpfile log log '(.loss - $log[0].loss | fabs) < 1e-6 and
                (.margin - $log[0].margin | fabs) < 1e-6'
    done
}

@test "reward-train: the model is a classifier of one label, and all but the head is the model's" {
    echo '{"pad_token":"x"}' >tokenizer_config.json
    cp -r "$model" base && cp tokenizer_config.json base/ && echo '{}' >base/densepath.json
    "$BIN/reward-train" -q -m base -o rm --max-steps 1 --warmup-steps 1 pairs.toks
    jq -e '.architectures == ["LlamaForSequenceClassification"] and .id2label == {"0": "LABEL_0"} and
        .label2id == {"LABEL_0": 0} and .hidden_size == 20 and (has("pad_token_id") | not)' rm/config.json
    cmp tokenizer_config.json rm/tokenizer_config.json
    "$BIN/model" diff rm rm >table
    grep -q '^score.weight ' table
    run ! grep -q lm_head table
    [ "$(wc -l <table)" -eq 21 ]
    "$BIN/model" info rm | grep -q 'rm (llama, reward model)'
    "$BIN/model" info --json rm | jq -e '.parameters == 7160 and .head == "reward"'
    # The first update of a warm-up has rate 0.
    "$BIN/model" init "$model" -o other --seed 3
    "$BIN/reward-train" -q -m other -o rm2 --max-steps 1 --warmup-steps 1 pairs.toks
    run -1 "$BIN/model" diff rm rm2
    "$BIN/model" average rm:2 rm2:-1 -o beyond
    "${score[@]}" -m beyond pairs.toks | "$BIN/toks" check
    # The padding token comes from the files that know one.
    jq '.pad_token_id = 4' base/generation_config.json >g && mv g base/generation_config.json
    "$BIN/reward-train" -q -m base -o rm --overwrite --max-steps 1 pairs.toks
    jq -e '.pad_token_id == 4' rm/config.json
    jq '.pad_token_id = 0' base/config.json >g && mv g base/config.json
    "$BIN/reward-train" -q -m base -o rm --overwrite --max-steps 1 pairs.toks
    jq -e '.pad_token_id == 0' rm/config.json
    # A tied model has no lm_head to leave out.
    mkdir tied && jq '.tie_word_embeddings = true' "$model/config.json" >tied/config.json
    "$BIN/model" init tied -o base2
    "$BIN/reward-train" -q -m base2 -o rm --overwrite --max-steps 1 --save-dtype bf16 pairs.toks
    "$BIN/model" info rm | grep -q 'stored as *BF16'
    "${score[@]}" -m rm pairs.toks | "$BIN/toks" check
}

@test "reward-train: a reward model is trained on" {
    "${train[@]}" --max-steps 20 -o rm pairs.toks
    "$BIN/reward-train" -q -m rm --learning-rate 3e-3 --batch-size 5 --max-steps 20 --metrics log -o next pairs.toks
    jq -se '.[0].loss < 0.69 and .[19].loss < .[0].loss' log
    cmp rm/config.json next/config.json
    jq -e '.provenance | length == 1' next/densepath.json
}

@test "reward-train: which model is wanted" {
    "${train[@]}" --max-steps 1 -o rm pairs.toks
    fails 1 "fixtures/model.*language model.*reward model is needed" "${score[@]}" -m "$model" pairs.toks
    local lm='rm.*reward model.*language model is needed'
    fails 1 "$lm" "$BIN/logprob" -q -m rm --as x demos.toks
    fails 1 "$lm" "$BIN/rollout" -q -m rm prompts.toks
    leaves_nothing fails 1 "$lm" "$BIN/sft-train" -q -m rm -o out demos.toks
    leaves_nothing fails 1 "$lm" "$BIN/pair-train" -q -m rm -o out pairs.toks
    leaves_nothing fails 1 "$lm" "$BIN/reinforce-step" -q -m rm -o out demos.toks
    cp -r rm two && jq '.id2label = {"0": "a", "1": "b"}' rm/config.json >two/config.json
    fails 1 "two.*2 labels" "${score[@]}" -m two pairs.toks
    jq 'del(.id2label)' rm/config.json >two/config.json
    fails 1 "two.*2 labels" "${score[@]}" -m two pairs.toks
    jq 'del(.id2label) | .num_labels = 1' rm/config.json >two/config.json
    "${score[@]}" -m two pairs.toks >/dev/null
    jq '.architectures = ["LlamaForCausalLM"]' rm/config.json >two/config.json
    fails 1 'two.*`lm_head.weight` is missing' "$BIN/logprob" -q -m two --as x demos.toks
}

@test "reward-train: the same bytes for 1, 2 and 3 threads" {
    for n in 1 2 3; do
        "${train[@]}" --max-steps 8 --threads "$n" --metrics "log$n" -o "out$n" pairs.toks
        "${score[@]}" --attention --threads "$n" -m out1 pairs.toks >"scores$n"
    done
    for n in 2 3; do
        same_model out1 "out$n"
        cmp <(figures log1) <(figures "log$n")
        cmp scores1 "scores$n"
    done
}

@test "reward-train: micro-batches of any size agree" {
    "${train[@]}" --max-steps 8 --adam-epsilon 1e-3 --batch-size 5 -o out pairs.toks
    for n in 1 20 45; do
        "${train[@]}" --max-steps 8 --adam-epsilon 1e-3 --batch-size 5 --micro-batch-tokens "$n" -o "out$n" pairs.toks
        "$BIN/model" diff -q --tolerance 1e-6 out "out$n"
    done
    "${train[@]}" --max-steps 9 --adam-epsilon 1e-3 --batch-size 5 -o other pairs.toks
    run -1 "$BIN/model" diff -q --tolerance 1e-6 out other
}

@test "reward-train: order, seed and where the records of a pair stand" {
    "${train[@]}" --num-train-epochs 2 -o out pairs.toks
    "${train[@]}" --num-train-epochs 2 -o again <pairs.jsonl
    same_model out again
    "${train[@]}" --num-train-epochs 2 --seed 1 -o other pairs.toks
    run ! cmp -s out/model.safetensors other/model.safetensors
    # Pairs are numbered by their first records.
    { head -1 pairs.jsonl && grep '"a+' pairs.jsonl && grep '"b-' pairs.jsonl && grep '"c+' pairs.jsonl &&
        grep '"id":"d' pairs.jsonl && grep '"id":"e' pairs.jsonl && grep -E '"id":"(a-|b\+|c-)"' pairs.jsonl; } >moved
    "${train[@]}" --num-train-epochs 2 -o moved.out moved
    same_model out moved.out
}

@test "reward-train: stopped or killed at any point and resumed: the same as straight through" {
    local long=(--max-steps 30 --save-steps 7)
    "${train[@]}" "${long[@]}" --metrics straight.log -o straight pairs.toks
    afresh() { rm -rf out out.partial out.lock log; }
    same_as_straight() {
        same_model straight out && cmp <(figures straight.log) <(figures log) &&
            cmp {straight,out}/densepath.json && [ ! -e out.partial ] && [ ! -e out.lock ]
    }
    each_struck 'KILL TERM' "${train[@]}" "${long[@]}" --resume --metrics log -o out pairs.toks
}

@test "reward-train: --resume goes on only with the same run" {
    "${train[@]}" --max-steps 1000000000 --save-steps 3 --metrics log -o out pairs.toks 2>/dev/null 3>&- &
    local pid=$! got=0
    await has_lines log 5
    kill -TERM "$pid"
    wait "$pid" || got=$?
    [ "$got" -eq 75 ]
    [ -e out.partial/state.safetensors ]
    [ ! -e out ]
    local again=("${train[@]}" --resume --max-steps 1000000000 -o out)
    fails 2 '`pad`' "${again[@]}" --pad zero pairs.toks
    fails 2 '`reduction`' "${again[@]}" --reduction tokens pairs.toks
    fails 2 '`loss`' "${again[@]}" --loss sequence pairs.toks
    grep -v '"e' pairs.jsonl >fewer
    fails 2 '`data`' "${again[@]}" fewer
    [ -e out.partial/state.safetensors ]
}

@test "reward-train --score: where rewards stand, and what they depend on" {
    "${train[@]}" --max-steps 30 -o rm pairs.toks
    "${score[@]}" -m rm pairs.toks >scored
    records scored | jq -se 'length == 10 and all(. as $r | (.reward | length) == (.token | length) and
        ([range(.token | length) | ($r.reward[.] != null) == ($r.mask[.] == 1)] | all) and
        .score == ([.reward[] | numbers] | last))'
    # One by one, and with what follows cut off: the same bits.
    tail -n +2 pairs.jsonl | while read -r line; do
        { head -1 pairs.jsonl && echo "$line"; } | "${score[@]}" -m rm >one
        records one
    done | cmp - <(records scored)
    jq -c 'if .id then .token |= .[:-1] | .mask |= .[:-1] else . end' pairs.jsonl >cut
    "${score[@]}" -m rm cut >cut.scored
    cmp <(records scored | jq -c '.reward[:-1]') <(records cut.scored | jq -c '.reward')
    # A prompt, and a record without trained tokens.
    { cat demos.jsonl; } | "${score[@]}" -m rm >out
    records out | jq -se 'all(if .id == "none" then .score == null and (.reward | all(. == null))
        else .score != null end)'
    "$BIN/toks" view --header scored | jq -e '.provenance[-1] | .program == "reward-train" and
        (.models.reward | startswith("xxh3:"))'
    fails 1 'reward' "${score[@]}" -m rm scored
}

@test "reward-train --score --attention: shares of the last token's attention" {
    "${train[@]}" --max-steps 30 -o rm pairs.toks
    "${score[@]}" --attention -m rm pairs.toks >out
    records out | jq -se 'all(. as $r | ([.attention[] | numbers] | add - 1 | fabs) < 1e-5 and
        ([range(.token | length) | ($r.attention[.] != null) == ($r.mask[.] == 1)] | all) and
        ([.attention[] | numbers | . >= 0] | all))'
    # It changes nothing of the rest.
    "${score[@]}" -m rm pairs.toks >plain
    cmp <(records plain) <(records out | jq -c 'del(.attention)')
    # Samples of a prompt share its computation in the plain pass only; other neighbours do not matter.
    { head -1 pairs.jsonl && grep '"e+' pairs.jsonl; } | "${score[@]}" --attention -m rm >one
    cmp <(records one) <(records out | grep '"e+')
    fails 2 "attention" "$BIN/reward-train" -m rm --attention -o x pairs.toks
}

@test "reward-train --measure: worked by hand" {
    cat >in <<'END'
{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"},{"name":"pair","type":"string","per":"sequence"},{"name":"role","type":"string","per":"sequence"},{"name":"reward","type":"f32","per":"token"}]}
{"id":"1","token":[9,3,4,5],"mask":[0,1,1,1],"pair":"p","role":"demo","reward":[null,0.5,1,2]}
{"id":"2","token":[9,3,7],"mask":[0,1,1],"pair":"p","role":"sample","reward":[null,9,0.5]}
{"id":"3","token":[8,8,6],"mask":[0,1,1],"pair":"q","role":"chosen","reward":[null,3,-1]}
{"id":"4","token":[8,8,6],"mask":[0,1,1],"pair":"q","role":"rejected","reward":[null,4,1]}
END
    # p differs from its second token on: 1 - 0.5, then 2 - (0.5 | 0 | nothing); q: the last, -1 - 1.
    local l='def l: (1 + (-. | exp) | log); def near($x): . - $x | fabs < 1e-7;'
    "$BIN/reward-train" --measure in | jq -e "$l"'(.loss | near(((0.5 | l) + (1.5 | l)) / 4 + (-2 | l) / 2)) and
        .pairs == 2 and .positions == 3 and .accuracy == 0.5 and .margin == -0.25 and
        .aligned_accuracy == 0.5 and .aligned_margin == -0.5'
    "$BIN/reward-train" --measure --reduction tokens in | jq -e "$l"'.loss | near(((0.5 | l) + (1.5 | l) + (-2 | l)) / 3)'
    "$BIN/reward-train" --measure --pad zero in | jq -e "$l"'.loss | near(((0.5 | l) + (2 | l)) / 4 + (-2 | l) / 2)'
    "$BIN/reward-train" --measure --pad shorter in | jq -e "$l"'.positions == 2 and (.loss | near(((0.5 | l) + (-2 | l)) / 2))'
    "$BIN/reward-train" --measure --loss sequence in | jq -e "$l"'.positions == 2 and (.loss | near(((1.5 | l) + (-2 | l)) / 2))'
    "$BIN/reward-train" --measure -o file in && [ -s file ]
    fails 1 "No space" "$BIN/reward-train" --measure -o /dev/full in
    sed 's/3,-1/3,null/' in >null
    fails 3 'null.*`3`.*reward.*null' "$BIN/reward-train" --measure null
    fails 3 'reward' "$BIN/reward-train" --measure pairs.toks
    fails 2 "cannot be used together" "$BIN/reward-train" --measure --score in
}

@test "reward-train: pairs that are none" {
    local out=(-o out)
    grep -v '"b+"' pairs.jsonl >alone
    leaves_nothing fails 3 'alone.*`b-?`' "${train[@]}" "${out[@]}" alone
    sed 's/"id":"b+"\(.*\)"demo"/"id":"b+"\1"sample"/' pairs.jsonl >same
    leaves_nothing fails 3 'same.*`b' "${train[@]}" "${out[@]}" same
    { cat pairs.jsonl && grep '"b+' pairs.jsonl | sed 's/"b+"/"third"/'; } >three
    leaves_nothing fails 3 'three.*`(third|b)' "${train[@]}" "${out[@]}" three
    sed 's/"rejected"/"loser"/' pairs.jsonl >role
    leaves_nothing fails 3 'role.*loser' "${train[@]}" "${out[@]}" role
    jq -c 'del(.role) | if .columns then .columns |= map(select(.name != "role")) else . end' pairs.jsonl >norole
    leaves_nothing fails 3 'norole.*`?role' "${train[@]}" "${out[@]}" norole
    sed 's/"mask":\[0,1,1,1\]/"mask":[0,0,0,0]/' pairs.jsonl >untrained
    leaves_nothing fails 1 'untrained.*`c-`.*trained' "${train[@]}" "${out[@]}" untrained
    leaves_nothing fails 3 'alone' "${train[@]}" --eval-stream alone "${out[@]}" pairs.toks
    with_rewards alone >measured
    fails 3 'measured.*`b' "$BIN/reward-train" --measure measured
}

@test "reward-train: common manners" {
    "${train[@]}" --max-steps 1 -o rm pairs.toks
    common_manners "${train[@]}" -o out
    common_manners "${score[@]}" -m rm -o out
    common_manners "$BIN/reward-train" --measure -o out
    fails 2 "o DIR" "${train[@]}" pairs.toks
    fails 2 "m.* DIR" "$BIN/reward-train" -o out pairs.toks
    fails 2 "m.* DIR" "$BIN/reward-train" --score pairs.toks
    fails 2 "pad" "${train[@]}" --pad nonsense -o out pairs.toks
    leaves_nothing fails 1 "absent" "$BIN/reward-train" -m absent -o out pairs.toks
    leaves_nothing fails 1 "No space" "${train[@]}" --metrics /dev/full -o out pairs.toks
    mkdir mine && echo precious >mine/file
    leaves_nothing fails 1 "mine" "${train[@]}" -o mine pairs.toks
    fails 1 "No space" "${score[@]}" -m rm -o /dev/full pairs.toks
    run --separate-stderr bash -c '{ "$@"; echo "$?" >status; } | true' - "${score[@]}" -m rm pairs.toks
    [ -z "$stderr" ]
}

@test "reward-train: streams that do not fit the model" {
    "${train[@]}" --max-steps 1 -o rm pairs.toks
    sed 's/21,2\]/40,2]/' pairs.jsonl >beyond
    leaves_nothing fails 3 'beyond.*`b\+`.*40' "${train[@]}" -o out beyond
    leaves_nothing fails 3 'beyond.*`b\+`.*40' "${score[@]}" -m rm -o out beyond
    # The last token has a position too.
    jq -c --argjson n 65 'if .id == "c+" then .token = [range($n) | 3] | .mask = [range($n) | 1] else . end' pairs.jsonl >long
    learned_model learned 64
    "${train[@]}" -m learned --max-steps 1 -o learned-rm pairs.toks
    leaves_nothing fails 1 'long.*`c\+`.*65' "${train[@]}" -m learned -o out long
    leaves_nothing fails 1 'long.*`c\+`.*64' "${score[@]}" -m learned-rm -o out long
    jq -c --argjson n 64 'if .id == "c+" then .token = [range($n) | 3] | .mask = [range($n) | 1] else . end' pairs.jsonl >fits
    "${train[@]}" -m learned --max-steps 1 -o out fits
    "${score[@]}" -m learned-rm fits >/dev/null
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" rm/
    jq -c 'if .columns then .tokenizer = "xxh3:0123456789abcdef" else . end' pairs.jsonl >tokenizer
    fails 3 "tokenizer" "${score[@]}" -m rm tokenizer
    fails 3 "tokenizer" "$BIN/reward-train" -q -m rm -o out2 tokenizer
}

@test "reward-train: damaged streams (some bytes)" {
    head -4 pairs.jsonl | grep -v '"b-' | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 13 "${train[@]}" --threads 1 -o out
    "${train[@]}" --max-steps 1 -o rm small.toks
    survives_damage small.toks 13 "${score[@]}" -m rm --threads 1 -o out
}

@test "reward-train: weights that are no numbers" {
    local name
    for name in model.norm.weight model.layers.1.mlp.down_proj.weight; do
        spoil_model bad "$name"
        leaves_nothing fails 1 'finite|not a number' "$BIN/reward-train" -q -m bad -o out pairs.toks
        rm -r bad
    done
    "${train[@]}" --max-steps 1 -o rm pairs.toks
    model="rm" spoil_model bad score.weight
    fails 1 'pairs.toks.*`a\+`.*not a finite number' "${score[@]}" -m bad -o out pairs.toks
    leaves_nothing fails 1 'not finite|not a finite' "$BIN/reward-train" -q -m "$model" --optim sgd \
        --learning-rate 1e6 --weight-decay 1e6 --max-grad-norm 0 --max-steps 100 -o out pairs.toks
}

@test "reward-train: the text model of a folder, and families for which transformers has no class" {
    local reference=$BATS_TEST_DIRNAME/fixtures/reference family
    sed 's/\b3[0-9]\b/3/g; s/\b2[0-9]\b/4/g; s/\b1[89]\b/5/g' pairs.jsonl | "$BIN/toks" view -b - >low.toks
    "$BIN/reward-train" -q -m "$reference/gemma3/model" -o rm --max-steps 2 low.toks
    jq -e '.architectures == ["Gemma3ForSequenceClassification"] and .id2label == {"0": "LABEL_0"}' rm/config.json
    "${score[@]}" -m rm low.toks | records - | jq -se 'length == 10 and all(.score != null and .score != 0)'
    cmp <(jq .text_config rm/config.json) <(jq .text_config "$reference/gemma3/model/config.json")
    jq '.text_config.pad_token_id = null | .pad_token_id = 4' rm/config.json >config.json # which says nothing
    cp -r "$reference/gemma3/model" other
    jq '.architectures = ["Gemma3ForConditionalGeneration"]' config.json >other/config.json
    "$BIN/reward-train" -q -m other -o rm --overwrite --max-steps 1 low.toks
    jq -e '.text_config.pad_token_id == 4' rm/config.json
    for family in cohere2 ernie4_5 granitemoehybrid mistral3 nanochat; do
        fails 1 "reference/$family/model: transformers has no reward models of type $family" \
            "$BIN/reward-train" -q -m "$reference/$family/model" -o none low.toks
        [ ! -e none ]
        [ ! -e none.partial ]
    done
}
