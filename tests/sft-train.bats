#!/usr/bin/env bats
# sft-train: what it makes, invariances, stopping and going on, refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

setup() {
    engine_setup
    train=("$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --batch-size 3)
}

same_model() { # A B: the same files but for the history
    diff -r --exclude densepath.json --exclude README.md --exclude metrics.jsonl "$1" "$2"
}

@test "sft-train: lowers the loss it reports, which is the mean over the trained tokens" {
    "$BIN/logprob" -q -m "$model" --as m demos.toks >before
    "${train[@]}" --batch-size 7 --max-steps 30 --lr-scheduler-type constant --metrics log \
        --eval-stream demos.toks -o out demos.toks
    "$BIN/logprob" -q -m out --as m demos.toks >after
    for at in before after; do
        records "$at" | jq -sc '[.[] | [.["logp:m"], .mask] | transpose[] | select(.[1] == 1)[0]]
            | {n: length, loss: -(add / length)}' >"$at.json"
    done
    jq -se --slurpfile b before.json --slurpfile a after.json '
        length == 30 and (.[0].loss - $b[0].loss | fabs) < 1e-5 and
        (.[29].eval_loss - $a[0].loss | fabs) < 1e-5 and $a[0].loss < $b[0].loss / 3 and
        .[0].num_tokens == $b[0].n and .[29].num_tokens == 30 * $b[0].n and
        all(.learning_rate == 0.01 and .grad_norm > 0 and .step_time > 0 and .entropy > 0) and
        [.[].step] == [range(1; 31)] and .[29].epoch == 30' log
    [ ! -e out.partial ]
    [ ! -e out.lock ]
    [ ! -e out/state.safetensors ]
    # The model can be used in the place of the first: same files, same names, same shapes.
    cmp "$model/config.json" out/config.json
    run -1 "$BIN/model" diff "$model" out
    jq -e '.finished and (.provenance[-1] | .program == "sft-train" and (.models.base | startswith("xxh3:")))' out/densepath.json
}

@test "sft-train: a stream of pairs is told of, since both sides are trained on" {
    printf '{"id":"%s","token":[5,6,7],"mask":[0,1,1],"pair":"1","role":"%s"}\n' a chosen b rejected |
        "$BIN/toks" view -b >pairs.toks
    run -0 --separate-stderr "${train[@]}" --max-steps 1 -o out pairs.toks
    [[ $stderr == "sft-train: warning: pairs.toks: the stream has pairs, and the rejected side is trained on "* ]]
    run -0 --separate-stderr "${train[@]}" --max-steps 1 -o other demos.toks
    [ -z "$stderr" ]
}

@test "sft-train: kept models are those of a run that stops there" {
    "${train[@]}" --max-steps 12 --lr-scheduler-type constant --keep half,0.25,1 -o out demos.toks
    "${train[@]}" --max-steps 6 --lr-scheduler-type constant -o six demos.toks
    "${train[@]}" --max-steps 3 --lr-scheduler-type constant -o three demos.toks
    same_model out/half six
    same_model out/0.25 three
    cmp out/1/model.safetensors out/model.safetensors
    run ! cmp -s out/half/model.safetensors out/model.safetensors
    leaves_nothing fails 2 "keep" "${train[@]}" --keep 1.5 -o other demos.toks
    leaves_nothing fails 2 "keep" "${train[@]}" --keep half,../x -o other demos.toks
}

@test "sft-train: epochs, order and seed" {
    "${train[@]}" --num-train-epochs 2 --metrics log -o out demos.toks
    # 7 records with trained tokens: 3 + 3 + 1 an epoch
    jq -se 'length == 6 and .[2].epoch == 1 and .[5].epoch == 2' log
    "${train[@]}" --num-train-epochs 2 -o again demos.toks
    same_model out again
    "${train[@]}" --num-train-epochs 2 --seed 1 -o other demos.toks
    run ! cmp -s out/model.safetensors other/model.safetensors
    "${train[@]}" --num-train-epochs 1 --shuffle no --seed 1 -o plain demos.toks
    "${train[@]}" --num-train-epochs 1 --shuffle no --seed 2 -o plain2 demos.toks
    same_model plain plain2
    # The form of the stream does not matter, nor do records without trained tokens.
    "${train[@]}" --num-train-epochs 2 -o piped <demos.jsonl
    same_model out piped
    grep -v '"none"' demos.jsonl >fewer
    "${train[@]}" --num-train-epochs 2 -o fewer.out fewer
    same_model out fewer.out
}

@test "sft-train: the same bytes for 1, 2 and 3 threads" {
    for n in 1 2 3; do
        "${train[@]}" --max-steps 8 --threads "$n" --metrics "log$n" -o "out$n" demos.toks
    done
    same_model out1 out2
    same_model out1 out3
    cmp <(figures log1) <(figures log2)
    cmp <(figures log1) <(figures log3)
}

@test "sft-train: micro-batches of any size agree" {
    "${train[@]}" --max-steps 8 --adam-epsilon 1e-3 -o out demos.toks
    for n in 1 11 25; do
        "${train[@]}" --max-steps 8 --adam-epsilon 1e-3 --micro-batch-tokens "$n" -o "out$n" demos.toks
        "$BIN/model" diff -q --tolerance 1e-6 out "out$n"
    done
    run -1 "$BIN/model" diff -q --tolerance 1e-6 out "$model"
}

# Of runs with --resume: what a run leaves, and what must hold of each in the end.
afresh() { rm -rf out out.partial out.lock log; }
same_as_straight() {
    same_model straight out && cmp <(figures straight.log) <(figures log) && cmp {straight,out}/densepath.json &&
        [ ! -e out.partial ] && [ ! -e out.lock ]
}

@test "sft-train: stopped or killed at any point and resumed: the same as straight through" {
    local long=(--max-steps 30 --keep half --ema 0.9 --batch-size 2 --save-steps 7)
    "${train[@]}" "${long[@]}" --metrics straight.log -o straight demos.toks
    each_struck 'KILL TERM' "${train[@]}" "${long[@]}" --resume --metrics log -o out demos.toks
    # What stands there when it was stopped.
    afresh
    struck TERM 10 "${train[@]}" "${long[@]}" --metrics log -o out demos.toks
    [ "$got" -eq 75 ]
    [ -e out.partial/state.safetensors ]
    [ ! -e out ]
    [ ! -e out.lock ]
    grep -q "stopped after update.*--resume" said
}

@test "sft-train: --resume goes on only with the same run" {
    cat >stop <<'END'
"$@" --save-steps 3 --max-steps 1000000000 --metrics log -o out demos.toks 2>/dev/null 3>&- &
pid=$!
await has_lines log 5
kill -9 $pid
wait $pid
END
    export -f await has_lines
    run -137 bash stop "${train[@]}"
    [ -e out.partial/state.safetensors ]
    local again=("${train[@]}" --resume --max-steps 1000000000 -o out)
    fails 2 '`learning-rate`' "${again[@]}" --learning-rate 1e-3 demos.toks
    fails 2 '`seed`' "${again[@]}" --seed 9 demos.toks
    fails 2 '`batch-size`' "${again[@]}" --batch-size 4 demos.toks
    grep -v '"a"' demos.jsonl >fewer
    fails 2 '`data`' "${again[@]}" fewer
    fails 2 '`updates`' "${again[@]}" --max-steps 7 demos.toks
    [ -e out.partial/state.safetensors ] # still there
    # So it is without --resume; --overwrite throws it away.
    leaves_nothing fails 1 "out.partial.*--resume.*--overwrite" "${train[@]}" --max-steps 3 -o out demos.toks
    "${train[@]}" --max-steps 3 --overwrite -o out demos.toks
    "${train[@]}" --max-steps 3 -o fresh demos.toks
    same_model out fresh
    # With it and without a state, the run begins.
    "${train[@]}" --max-steps 3 --resume -o later demos.toks
    same_model later fresh
}

@test "sft-train: two trainers do not share a directory" {
    "${train[@]}" --max-steps 1000000000 --metrics log -o out demos.toks 2>/dev/null 3>&- &
    local pid=$!
    await has_lines log 1
    fails 1 "out: another run" "${train[@]}" -o out demos.toks
    kill -0 "$pid"
    kill -9 "$pid"
    wait "$pid" || true
    "${train[@]}" --max-steps 2 -o out demos.toks
    [ ! -e out.lock ]
}

@test "sft-train: metrics stay with the model, and do not go on to what is made of it" {
    "${train[@]}" --max-steps 5 --metrics log -o told demos.toks
    [ ! -e told/metrics.jsonl ]
    "${train[@]}" --max-steps 5 --keep half -o out demos.toks
    cmp <(figures log) <(figures out/metrics.jsonl)
    [ ! -e out/half/metrics.jsonl ]
    "$BIN/sft-train" -q -m out --max-steps 2 -o next demos.toks
    [ "$(wc -l <next/metrics.jsonl)" -eq 2 ]
    "$BIN/sft-train" -q -m out --max-steps 2 --metrics log -o quiet demos.toks
    [ ! -e quiet/metrics.jsonl ]
    # A resumed run has the lines of one that was never stopped: what is behind the state goes.
    "${train[@]}" --max-steps 1000000000 --save-steps 4 -o stopped demos.toks 2>/dev/null 3>&- &
    local pid=$! log=stopped.partial/metrics.jsonl
    await test -e stopped.partial/state.safetensors
    kill -TERM $pid
    wait $pid || true
    local lines
    lines=$(wc -l <$log)
    [ "$lines" -ge 4 ]
    printf '{"st' >>$log # half a line
    "${train[@]}" --max-steps 1000000000 --save-steps 4 --resume -o stopped demos.toks 2>/dev/null 3>&- &
    pid=$!
    await has_lines $log $((lines + 4))
    kill -TERM $pid
    wait $pid || true
    jq -se '[.[].step] == [range(1; length + 1)]' $log
}

@test "sft-train: the model card" {
    cp -r "$model" base && echo 'precious words' >base/README.md
    "$BIN/sft-train" -q -m base --max-steps 4 --keep half --loss dft --seed 3 -o out demos.toks
    [ "$(cat out/README-base.md)" = 'precious words' ]
    grep -qx '| loss | `dft` |' out/README.md
    grep -qx '| updates done | 4 |' out/README.md
    grep -qx '| updates done | 2 |' out/half/README.md
    grep -qx '    sft-train -m base --max-steps 4 --keep half --loss dft --seed 3 demos.toks' out/README.md
    [ "$(jq -r .loss out/metrics.jsonl | tail -1 | xargs printf %.5g)" = \
        "$(sed -nE 's/^\| loss of the last update \| (.*) \|$/\1/p' out/README.md | xargs printf %.5g)" ]
    # Made again, elsewhere: the same bytes.
    mkdir 'some where'
    "$BIN/sft-train" -q -m base --threads 2 --max-steps 4 --keep half --loss dft --seed 3 -o 'some where/out' demos.toks
    cmp out/README.md 'some where/out/README.md'
    # The first model's own words go with all that is made of it.
    "$BIN/sft-train" -q -m out --max-steps 1 -o next demos.toks
    [ "$(cat next/README-base.md)" = 'precious words' ]
    cp demos.toks "it's.toks"
    "$BIN/sft-train" -q -m "$model" --max-steps 1 -o plain "it's.toks"
    grep -qF "'it'\\''s.toks'" plain/README.md
    [ ! -e plain/README-base.md ]
}

@test "sft-train: the last line tells updates, tokens, loss, time and rate" {
    run -0 --separate-stderr "$BIN/sft-train" -m "$model" --max-steps 3 --batch-size 7 -o out demos.toks
    [[ ${stderr_lines[-1]} =~ ^sft-train:\ out:\ 3\ updates,\ 108\ trained\ tokens,\ loss\ [0-9.]+,\ [0-9]+:[0-9]{2},\ [0-9]+\ tokens/s$ ]]
}

@test "sft-train: common manners" {
    common_manners "${train[@]}" -o out
    fails 2 "o DIR" "${train[@]}" demos.toks
    fails 2 "m.* DIR" "$BIN/sft-train" -o out demos.toks
    fails 2 "loss" "${train[@]}" --loss nonsense -o out demos.toks
    fails 2 "loss" "${train[@]}" --loss reinforce -o out demos.toks
    leaves_nothing fails 1 "absent" "$BIN/sft-train" -m absent -o out demos.toks
    leaves_nothing fails 1 "No space" "${train[@]}" --metrics /dev/full -o out demos.toks
    mkdir mine && echo precious >mine/file
    leaves_nothing fails 1 "mine" "${train[@]}" -o mine demos.toks
    echo precious >file
    leaves_nothing fails 1 "file" "${train[@]}" -o file demos.toks
    leaves_nothing fails 1 "nowhere" "${train[@]}" -o nowhere/out demos.toks
}

@test "sft-train: streams that do not fit" {
    jq -c 'if .id then del(.mask) else . end | del(.columns)' demos.jsonl >nomask
    leaves_nothing fails 3 "nomask.*mask" "${train[@]}" -o out nomask
    echo '{"id":"big","token":[1,40],"mask":[0,1]}' >beyond
    leaves_nothing fails 3 'beyond.*`big`.*40' "${train[@]}" -o out beyond
    # not only in the last place
    { cat beyond && tail -n +2 demos.jsonl; } >first
    leaves_nothing fails 3 'first.*`big`.*40' "${train[@]}" -o out first
    jq -nc '{id: "long", token: [range(66) | 3], mask: [range(66) | 1]}' >long
    learned_model learned 64
    leaves_nothing fails 1 'long.*`long`.*64' "${train[@]}" -m learned -o out long
    echo '{"id":"x","token":[1,4],"mask":[1,0]}' >untrained
    leaves_nothing fails 1 "untrained.*trained" "${train[@]}" -o out untrained
    cp -r "$model" with
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" with/
    { echo '{"densepath":1,"tokenizer":"xxh3:0123456789abcdef"}' && tail -n +2 demos.jsonl; } >tokenizer
    leaves_nothing fails 3 "tokenizer" "$BIN/sft-train" -q -m with -o out tokenizer
    leaves_nothing fails 3 "tokenizer" "$BIN/sft-train" -q -m with -o out --eval-stream tokenizer demos.toks
}

@test "sft-train: a damaged stream (some bytes)" {
    head -3 demos.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 11 "${train[@]}" --threads 1 -o out
}

# bats test_tags=slow
@test "sft-train: a damaged stream (every byte)" {
    head -3 demos.jsonl | "$BIN/toks" view -b >small.toks
    survives_damage small.toks 1 "${train[@]}" --threads 1 -o out
}

@test "sft-train: weights that are no numbers" {
    local name
    for name in lm_head.weight model.norm.weight model.layers.1.mlp.down_proj.weight; do
        spoil_model bad "$name"
        leaves_nothing fails 1 'finite|not a number' "$BIN/sft-train" -q -m bad -o out demos.toks
        rm -r bad
    done
    # A step that goes beyond all bounds: the last weights are not written.
    leaves_nothing fails 1 'not finite|not a number' "$BIN/sft-train" -q -m "$model" --optim sgd \
        --learning-rate 1e5 --max-grad-norm 0 --max-steps 100 -o out demos.toks
}

@test "sft-train: other optimizers, schedules and types" {
    "${train[@]}" --optim rmsprop --max-steps 4 --metrics log --lr-scheduler-type cosine \
        --warmup-steps 2 --weight-decay 0.1 --save-dtype bf16 -o out demos.toks
    jq -se '[.[].learning_rate] as $r | $r[0] == 0 and ($r[1] - 0.005 | fabs) < 1e-9 and
        ($r[2] - 0.01 | fabs) < 1e-9 and ($r[3] - 0.005 | fabs) < 1e-9' log
    jq -e '.dtype == "bfloat16"' out/config.json
    "$BIN/model" info out | grep -q "BF16"
    "$BIN/logprob" -q -m out --as m demos.toks | "$BIN/toks" check
    fails 2 "int8" "${train[@]}" --save-dtype int8 --max-steps 1 -o other demos.toks
    [ ! -e other ]
    [ ! -e other.partial ]
    [ ! -e other.lock ]
}

@test "sft-train: other losses" {
    local sgd=("${train[@]}" --optim sgd --max-grad-norm 0 --lr-scheduler-type constant --max-steps 2 --batch-size 7)
    "$BIN/logprob" -q -m "$model" --as start demos.toks >scored
    "${sgd[@]}" --metrics plain.log -o plain scored
    # Total variation is supervised training times beta, by token; the scale of chi2 goes with alpha.
    "${sgd[@]}" --loss tv --beta 0.5 --learning-rate 2e-2 -o tv scored
    "$BIN/model" diff -q --tolerance 1e-6 plain tv
    "${sgd[@]}" --loss chi2 --beta 1 --alpha 1e6 -o chi2 scored
    "$BIN/model" diff -q --tolerance 1e-6 plain chi2
    "${sgd[@]}" --temperature 1 -o one scored
    same_model plain one
    local loss
    for loss in dft tv chi2 hellinger js kl; do
        "${train[@]}" --loss $loss --batch-size 7 --learning-rate 2e-3 --max-steps 20 --beta 0.5 --metrics log --overwrite -o out scored
        jq -se --arg loss $loss '.[19].mean_token_accuracy > .[0].mean_token_accuracy and
            ($loss == "dft" or (.[19].loss < .[0].loss and all(.clip_fraction == 0)))' log
        [ $loss = dft ] || "${train[@]}" --loss $loss --per sequence --max-steps 20 --beta 0.05 --metrics log --overwrite -o out scored
    done
    # At rho = 0 the first loss is that of the formula.
    for loss in tv:0 chi2:0 hellinger:0 js:0 kl:0.36787944; do
        for per in token sequence; do
            "${train[@]}" --loss ${loss%:*} --per $per --reference start --max-steps 1 --metrics log --overwrite -o out scored
            jq -e --argjson want ${loss#*:} '.loss - $want | fabs < 1e-5' log
        done
    done
    # A token that the policy has lost altogether neither ends the run nor goes unnoticed.
    "$BIN/toks" view scored | jq -c 'if .id == "a" then .["logp:start"] |= map(if . then 0 else . end) else . end' >lost
    for loss in hellinger js kl; do
        "${train[@]}" --loss $loss --beta 5 --max-steps 1 --batch-size 7 --metrics log --overwrite -o out lost
        jq -e '.clip_fraction > 0 and .clip_fraction < 0.5 and .loss > 0 and .grad_norm > 0' log
    done
}

@test "sft-train: losses that compare with a frozen model" {
    "$BIN/logprob" -q -m "$model" --as start demos.toks | "$BIN/logprob" -q -m "$model" --as other -o two
    leaves_nothing fails 2 "two: .logp:start. or .logp:other.*--reference" "${train[@]}" --loss js -o out two
    leaves_nothing fails 3 "demos.toks: no column logp:NAME" "${train[@]}" --loss js -o out demos.toks
    leaves_nothing fails 3 "two.*logp:absent" "${train[@]}" --loss js --reference absent -o out two
    leaves_nothing fails 2 "reference" "${train[@]}" --reference start -o out two
    run --separate-stderr "$BIN/sft-train" -m "$model" --loss tv --alpha 1 --max-steps 1 -o with-alpha scored
    [[ $stderr == *"--alpha changes nothing: the loss tv has none"* ]]
    leaves_nothing fails 2 "per sequence" "${train[@]}" --per sequence -o out two
    leaves_nothing fails 2 "temperature" "${train[@]}" --loss js --reference start --temperature 0.5 -o out two
    "$BIN/toks" view two | jq -c 'if .id == "c" then .["logp:start"][4] = null else . end' >null
    leaves_nothing fails 3 "null: record .c.: logp:start is null at trained token 4" "${train[@]}" --loss js --reference start -o out null
    "${train[@]}" --loss js --reference start --eval-stream demos.toks --max-steps 2 --metrics log -o out two
    jq -se '.[1].eval_loss > 0' log
}

@test "sft-train: the moving average of the weights" {
    "${train[@]}" --max-steps 4 --ema 0.5 -o out demos.toks
    "${train[@]}" --max-steps 4 -o plain demos.toks
    cmp out/model.safetensors plain/model.safetensors
    run -1 "$BIN/model" diff -q out/ema out
    cmp "$model/config.json" out/ema/config.json
    # With decay 0.5 after one update it lies half way.
    "${train[@]}" --max-steps 1 --ema 0.5 -o step demos.toks
    "$BIN/model" average step:0.5 "$model:0.5" -o half
    "$BIN/model" diff -q --tolerance 1e-6 half step/ema
    fails 2 "ema" "${train[@]}" --ema 1 -o other demos.toks
}

@test "sft-train: the model card has the settings that are on, by the names of their options" {
    settings() { # README: the names in its table
        sed -n 's/^| \([a-z0-9-]*\) | `.*` |$/\1/p' "$1" | paste -sd' '
    }
    "${train[@]}" --max-steps 1 -o out demos.toks
    [ "$(settings out/README.md)" = 'loss seed learning-rate weight-decay adam-beta1 adam-beta2 adam-epsilon max-grad-norm lr-scheduler-type optim batch-size updates warmup-steps shuffle' ]
    "${train[@]}" --max-steps 1 --ema 0.5 --temperature 2 -o warm demos.toks
    grep -qx '| ema | `0.5` |' warm/README.md
    grep -qx '| temperature | `2.0` |' warm/README.md
    "$BIN/logprob" -q -m "$model" --as base demos.toks >scored
    "${train[@]}" --max-steps 1 --loss js --beta 0.5 --per sequence -o pairs scored
    grep -qx '| per | `sequence` |' pairs/README.md
    grep -qx '| beta | `0.5` |' pairs/README.md
    run ! grep -q '| offset |' pairs/README.md
}
