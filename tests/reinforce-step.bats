#!/usr/bin/env bats
# reinforce-step: its updates, generations, stop rules, stopping and going on, refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

# The stream of a round: 6 steps of 4 prompts with 4 samples, scored by two models.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos | "$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --max-steps 30 --keep half -o sft
    prompts | "$BIN/rollout" -q -m sft -n 4 --batch-size 4 --steps 6 --max-new-tokens 12 --seed 5 |
        "$BIN/logprob" -q -m sft --as sft | "$BIN/logprob" -q -m sft/half --as half |
        "$BIN/dense-reward" -q --floor 0.03 --baseline loo sft half >round.toks
}

setup() {
    engine_setup
    cp -r "$BATS_FILE_TMPDIR"/{sft,round.toks} .
    learn=("$BIN/reinforce-step" -q -m sft --learning-rate 1e-3)
}

same_model() { # A B
    cmp "$1/model.safetensors" "$2/model.safetensors" && cmp "$1/config.json" "$2/config.json" &&
        [ "$(jq .generation "$1/densepath.json")" = "$(jq .generation "$2/densepath.json")" ]
}

@test "reinforce-step: with advantage 1 it is supervised training, with 0 it is nothing" {
    local o=(--learning-rate 1e-2 --max-steps 1 --batch-size 7)
    jq -c 'if .id then .advantage = (.token | map(1)) else . end | del(.columns)' demos.jsonl |
        grep -v '"none"' >ones
    "$BIN/reinforce-step" -q -m "$model" "${o[@]}" -o reinforced ones
    "$BIN/sft-train" -q -m "$model" "${o[@]}" --shuffle no --lr-scheduler-type constant \
        --max-grad-norm 1 -o trained demos.toks
    cmp reinforced/model.safetensors trained/model.safetensors
    jq -c 'if .advantage then .advantage |= map(0) else . end' ones >zeros
    "$BIN/reinforce-step" -q -m "$model" "${o[@]}" -o same zeros
    cmp same/model.safetensors "$model/model.safetensors"
    # Towards what is rewarded.
    jq -c 'if .id then .advantage = (.id as $id | .token | map(if $id == "a" then 1 else -0.1 end)) else . end' \
        ones >favour
    "$BIN/reinforce-step" -q -m "$model" "${o[@]}" -o favours favour
    for m in "$model" favours; do
        "$BIN/logprob" -q -m "$m" --as m demos.toks >scored
        records scored | jq -s '[.[] | select(.id == "a" or .id == "b") | .["logp:m"] | add]'
    done | jq -se '.[1][0] > .[0][0]'
}

@test "reinforce-step: generations, state, metrics" {
    "${learn[@]}" --metrics log -o out round.toks
    jq -e '.generation == 6 and .finished and (.provenance | map(.program) |
        .[-1] == "reinforce-step" and index("rollout") != null and index("dense-reward") != null)' out/densepath.json
    jq -e '.generation == 5' out/previous/densepath.json
    [ -e out/state.safetensors ]
    [ ! -e out.partial ]
    [ ! -e out.lock ]
    # a step of the rollout an update: 16 sequences, as its header tells
    records round.toks | jq -sc '[.[] | . as $r | {step, reward: ([.reward, .mask] | transpose | map(select(.[1] == 1)[0]) | add),
        n: (.mask | add)}] | group_by(.step) | map({reward: (map(.reward) | add / 16), n: (map(.n) | add)})' >want
    jq -se --slurpfile w want '
        [.[].step] == [1, 2, 3, 4, 5, 6] and [.[].generation] == [.[].step] and
        ([range(6) as $i | (.[$i].reward - $w[0][$i].reward | fabs) < 1e-4 and
            (.[$i].completion_length - $w[0][$i].n / 16 | fabs) < 1e-9] | all) and
        .[5].num_tokens == ($w[0] | map(.n) | add) and all(.reward_std > 0 and .learning_rate == 0.001)
        and [.[].lag] == [0, 1, 2, 3, 4, 5]' log
    "$BIN/logprob" -q -m out --as m demos.toks >/dev/null
    "${learn[@]}" --batch-size 32 --metrics log -o half round.toks
    jq -e '.generation == 3' half/densepath.json
    # Only some of the steps; the rest of the stream is read.
    "${learn[@]}" --max-steps 5 -o five round.toks
    cmp five/model.safetensors out/previous/model.safetensors
    # The last, smaller batch counts too.
    "${learn[@]}" --batch-size 60 -o rest round.toks
    jq -e '.generation == 2' rest/densepath.json
}

@test "reinforce-step: file, pipe and twin; threads; micro-batches" {
    "${learn[@]}" --metrics log -o out round.toks
    "${learn[@]}" -o piped < <(cat round.toks)
    same_model out piped
    "$BIN/toks" view round.toks | "${learn[@]}" -o twin
    same_model out twin
    for n in 1 2 3; do
        "${learn[@]}" --threads "$n" --metrics "log$n" -o "out$n" round.toks
        same_model out "out$n"
        cmp <(figures log) <(figures "log$n")
    done
    "${learn[@]}" --adam-epsilon 1e-3 -o one round.toks
    for n in 1 50 77; do
        "${learn[@]}" --adam-epsilon 1e-3 --micro-batch-tokens "$n" -o "micro$n" round.toks
        "$BIN/model" diff -q --tolerance 1e-6 one "micro$n"
    done
}

@test "reinforce-step: exact KL holds the policy, both ways; an entropy bonus spreads it" {
    local o
    for o in "--kl-exact sft:0" "--kl-exact sft:3" "--kl-exact-reverse sft:3" \
        "--kl-exact sft:2 --kl-exact-reverse sft:2" "--entropy-bonus 3"; do
        # shellcheck disable=SC2086
        "${learn[@]}" $o --metrics log -o out round.toks
        jq -se --arg o "$o" 'length == 6 and all((.kl_exact != null) == ($o | contains("exact ")) and
            (.kl_exact_reverse != null) == ($o | contains("reverse ")))' log >&2
        "$BIN/logprob" -q -m out --as m --entropy --kl sft round.toks | records - | jq -sc '
            def mean(f): [.[] | f[] | numbers] | add / length;
            {kl: mean(.["kl:m"]), reverse: mean(.["kl-reverse:m"]), entropy: mean(.["entropy:m"])}'
        rm -r out log
    done >figures
    cat figures
    jq -se '.[0] as $plain | (.[1:4] | all(.kl < $plain.kl / 2 and .reverse < $plain.reverse / 2)) and
        .[4].entropy > $plain.entropy + 0.1' figures
}

@test "reinforce-step: terms over a vocabulary too large for one piece" {
    mkdir config
    jq '.vocab_size = 400000 | .hidden_size = 8 | .intermediate_size = 8 | .num_attention_heads = 2 |
        .num_key_value_heads = 1 | .head_dim = 4 | .tie_word_embeddings = true' \
        "$model/config.json" >config/config.json
    "$BIN/model" init config -o large --seed 1
    "$BIN/model" init config -o other --seed 2
    jq -c 'if .id then .advantage = (.token | map(1)) else . end | del(.columns)' demos.jsonl |
        grep -v '"none"' >ones
    step=("$BIN/reinforce-step" -q -m large --optim sgd --learning-rate 1 --max-grad-norm 0
        --kl-exact other:1 --kl-exact-reverse other:0.5 --entropy-bonus 0.1)
    "${step[@]}" --metrics log -o one ones
    "${step[@]}" --micro-batch-tokens 1 --metrics small -o many ones
    "$BIN/model" diff -q --tolerance 1e-6 one many
    jq -se '(.[0].loss - .[1].loss | fabs) < 1e-5 and (.[0].kl_exact - .[1].kl_exact | fabs) < 1e-6 and
        (.[0].kl_exact_reverse - .[1].kl_exact_reverse | fabs) < 1e-6' log small
}

@test "reinforce-step: in parts with --resume is straight through" {
    "${learn[@]}" --metrics straight.log -o straight round.toks
    "$BIN/toks" head -q -n 32 round.toks >first
    "$BIN/toks" split -n 32 -o 'part%d' round.toks 2>/dev/null || true
    records round.toks >all
    for part in "1,32" "33,80" "81,96"; do
        { "$BIN/toks" view --header round.toks && sed -n "${part}p" all; } |
            "${learn[@]}" --resume --metrics log -o out
        [ -e out/state.safetensors ]
    done
    same_model straight out
    same_model straight/previous out/previous
    cmp <(figures straight.log) <(figures log)
    # Refused, it leaves all as it was, the state too.
    cp -r out kept
    fails 2 '`learning-rate`' "${learn[@]}" --resume --learning-rate 1 -o out round.toks
    diff -r out kept
    fails 1 "out.*exists.*--resume" "${learn[@]}" -o out round.toks
    same_model straight out
}

@test "reinforce-step: metrics and card live in the policy, from generation to generation" {
    cp -r sft base && echo 'precious words' >base/README-base.md
    "${learn[@]}" -m base --metrics log -o told round.toks
    [ ! -e told/metrics.jsonl ]
    "${learn[@]}" -m base -o out round.toks
    cmp <(figures log) <(figures out/metrics.jsonl)
    [ ! -e out/previous/metrics.jsonl ]
    [ "$(cat out/README-base.md)" = 'precious words' ]
    grep -qx "| updates done | $(jq .generation out/densepath.json) |" out/README.md
    # In parts: each goes on with the lines of the one before.
    records round.toks >all
    for part in "1,32" "33,96"; do
        { "$BIN/toks" view --header round.toks && sed -n "${part}p" all; } |
            "${learn[@]}" -m base --resume -o parts
    done
    cmp <(figures log) <(figures parts/metrics.jsonl)
}

@test "reinforce-step: SIGTERM leaves a whole generation, which goes on to the same end" {
    { "$BIN/toks" view --header round.toks && records round.toks && records round.toks; } | "$BIN/toks" view -b >long.toks
    "${learn[@]}" --metrics straight.log -o straight long.toks
    struck TERM 0 "${learn[@]}" --metrics log -o out long.toks
    local got reached half=$(($(wc -l <points) / 2))
    rm -r out log
    struck TERM "$half" "${learn[@]}" --metrics log -o out long.toks
    [ "$got" -eq 75 ]
    grep -q "stopped after generation.*--resume" said
    [ ! -e out.lock ]
    [ ! -e out.partial ]
    reached=$(jq .generation out/densepath.json)
    [ "$reached" -ge 3 ]
    [ "$reached" -lt 10 ]
    { "$BIN/toks" view --header long.toks && records long.toks | tail -n "+$((reached * 16 + 1))"; } |
        "${learn[@]}" --resume --metrics log -o out
    same_model straight out
    cmp <(figures straight.log) <(figures log)
}

# CALL NAME [BEFORE]: the number of the point where the call was made last, of those before the last but BEFORE.
point_of() {
    grep -n "^$1 *$2 *\$" points | tail -n "$((${3-0} + 1))" | head -n 1 | cut -d: -f1
}

@test "reinforce-step: SIGTERM after the last update that is wanted: the policy is finished" {
    local few=("${learn[@]}" --max-steps 3 -o out) got
    struck TERM 0 "${few[@]}" round.toks
    mv out straight
    struck TERM $(($(point_of rename out) + 2)) "${few[@]}" round.toks
    [ "$got" -eq 75 ]
    diff -r --exclude README.md --exclude metrics.jsonl straight out
    # Of a pipe the end has not come.
    rm -r out
    mkfifo in
    "${few[@]}" in 2>said 3>&- &
    local pid=$!
    exec 8>in
    head -c -20 round.toks >&8
    await has_lines out/metrics.jsonl 3
    kill "$pid"
    exec 8>&-
    got=0
    wait "$pid" || got=$?
    [ "$got" -eq 75 ]
    jq -e '.finished and .generation == 3' out/densepath.json
}

@test "reinforce-step: killed while the generation before gets its place, or ahead of its state: it goes on to the same files" {
    local saves=("${learn[@]}" --save-steps 2 -o out) got
    struck KILL 0 "${saves[@]}" round.toks
    mv out straight
    struck KILL "$(point_of rename previous)" "${saves[@]}" round.toks
    [ "$got" -eq 137 ] && [ ! -e out/previous ]
    "${saves[@]}" --resume round.toks
    diff -r --exclude README.md --exclude metrics.jsonl straight out
    [ ! -e out.partial ]
    # The next but one generation shows; the state of the last one is saved, whose followers must not find it.
    rm -r out
    struck KILL "$(point_of rename out 2)" "${saves[@]}" round.toks
    local shown
    shown=$(jq .generation out/densepath.json)
    [ "$got" -eq 137 ] && [ $((shown % 2)) -eq 1 ]
    mkfifo in
    "${saves[@]}" --resume in 2>said 3>&- &
    local pid=$!
    # It opens what it reads when it has shown where it begins.
    exec 8>in
    opened() { [ -n "$(find "/proc/$pid/fd" -lname '*/in')" ]; }
    await opened
    [ "$(jq .generation out/densepath.json)" -eq $((shown - 1)) ]
    kill -KILL "$pid"
    wait "$pid" || true
    exec 8>&-
    [ ! -e out/previous ]
}

@test "reinforce-step: run again on the same file, each record is used once" {
    { "$BIN/toks" view --header round.toks && records round.toks && records round.toks; } | "$BIN/toks" view -b >long.toks
    "${learn[@]}" --metrics straight.log -o straight long.toks
    afresh() { rm -rf out out.partial out.lock log; }
    same_as_straight() {
        same_model straight out && cmp <(figures straight.log) <(figures log) && cmp {straight,out}/densepath.json
    }
    most=8 each_struck 'KILL TERM' "${learn[@]}" --save-steps 3 --resume --metrics log -o out long.toks
    # One that has ended has used them all.
    cp -r out ended
    "${learn[@]}" --save-steps 3 --resume --metrics log -o out long.toks
    diff -r out ended
    # What the stop rule looks at goes with the state.
    afresh
    struck TERM 60 "${learn[@]}" --stop-reward 1e9 --stop-window 3 --metrics log -o out long.toks
    [ "$got" -eq 75 ]
    [ "$(jq .generation out/densepath.json)" -gt 0 ]
    grep -aqE 'window:reward[^]]*[0-9]' out/state.safetensors
    # A part, then the whole.
    afresh
    "${learn[@]}" --max-steps 5 --metrics log -o out long.toks
    "${learn[@]}" --resume --metrics log -o out long.toks
    same_as_straight
}

@test "reinforce-step: stopped or killed while it is measured, it ends with the same lines" {
    local run=("${learn[@]}" --eval-stream demos.toks --eval-steps 4 --eval-on-start --save-steps 1 --resume --metrics log -o out)
    same_as_straight() { cmp <(figures straight) <(figures log) && same_model whole out; }
    afresh() { rm -rf out out.* log; }
    "${run[@]:0:${#run[@]}-5}" --metrics straight -o whole round.toks
    [ "$(jq -sc 'map(select(.eval_loss).step)' straight)" = '[0,4,6]' ]
    most=12 each_struck 'KILL TERM' "${run[@]}" round.toks
}

@test "reinforce-step: stopped or killed at any point, it goes on with the rest of a file to the same end" {
    "${learn[@]}" --metrics straight.log -o straight round.toks
    records round.toks >all
    "$BIN/toks" view --header round.toks >header
    cat >rest <<'END'
reached=$(jq .generation out/densepath.json 2>/dev/null || echo 0)
{ cat header && tail -n "+$((reached * 16 + 1))" all; } >rest.jsonl
exec "$@" rest.jsonl
END
    afresh() { rm -rf out out.partial out.lock log; }
    same_as_straight() {
        cmp {straight,out}/previous/model.safetensors && same_model straight out &&
            cmp <(figures straight.log) <(figures log) && [ ! -e out.lock ] && [ ! -e out.partial ]
    }
    most=12 each_struck 'KILL TERM' bash rest "${learn[@]}" --save-steps 1 --resume --metrics log -o out
    # One that had ended shows a whole generation at any point of its going on.
    { cat header && head -n 48 all; } >begin.jsonl
    "${learn[@]}" --save-steps 1 -o ended begin.jsonl
    local at got=137
    for ((at = 1; at <= 15; at++)); do
        rm -rf out && cp -r ended out
        struck KILL "$at" bash rest "${learn[@]}" --resume -o out
        [ "$got" -eq 137 ]
        [ "$(jq .generation out/densepath.json)" = 3 ]
        "$BIN/model" info out >/dev/null
    done
}

@test "reinforce-step: stop rules keep the generation before" {
    "${learn[@]}" --metrics plain.log -o plain round.toks
    # between the largest and the second largest of the batches' means
    local limit at
    limit=$(jq -s '[.[].reward] | sort | (.[-1] + .[-2]) / 2' plain.log)
    at=$(jq -s '[.[].reward] | index(max)' plain.log)
    run -0 --separate-stderr "$BIN/reinforce-step" -m sft --learning-rate 1e-3 --stop-reward "$limit" -o out round.toks
    [[ $stderr == *"stopped: the mean sum of reward"* ]]
    [ "$(jq .generation out/densepath.json)" -eq $((at > 0 ? at - 1 : 0)) ]
    jq -e .finished out/densepath.json
    if [ "$at" -ge 2 ]; then
        "${learn[@]}" --max-steps $((at - 1)) -o short round.toks
        cmp out/model.safetensors short/model.safetensors
    fi
    "${learn[@]}" --kl sft:0 --stop-kl 1e9 -o far round.toks
    same_model far plain
    "${learn[@]}" --kl half:0 --stop-kl 0 --metrics kl.log -o near round.toks
    [ "$(jq .generation near/densepath.json)" -lt 6 ]
    fails 2 "stop-kl" "${learn[@]}" --stop-kl 1 -o other round.toks
}

@test "reinforce-step: a stop rule looks at a running mean" {
    "${learn[@]}" --metrics all.log -o all round.toks
    # The first of the means over three batches that passes the limit, half of their highest.
    jq -s 'map(.reward) as $r | [range(2; $r | length) as $i | $r[$i - 2:$i + 1] | add / 3] | . as $m
        | (max - 1e-6) as $limit | {limit: $limit, batch: (3 + ([range(length) | select($m[.] > $limit)][0]))}' all.log >rule
    limit=$(jq .limit rule) batch=$(jq .batch rule)
    run -0 --separate-stderr "$BIN/reinforce-step" -m sft --learning-rate 1e-3 --stop-reward "$limit" \
        --stop-window 3 --metrics some.log -o out round.toks
    [[ $stderr == *"the mean sum of reward"*"generation $((batch - 2)) is kept"* ]]
    [ "$(jq .generation out/densepath.json)" -eq $((batch - 2)) ]
    [ "$(grep -vc stopped some.log)" -eq $((batch - 1)) ]
    # Then the samples by which the rule ended it, with the number of the update that was not made.
    jq -se --argjson batch "$batch" --slurpfile all all.log 'map(select(has("stopped"))) | length == 1 and .[0].step == $batch
        and .[0].reward == $all[$batch - 1].reward and (.[0].stopped | startswith("the mean sum of reward "))' some.log
    # Before there are three batches nothing is compared, whatever they are.
    "${learn[@]}" --stop-reward -1e9 --stop-window 3 -o two round.toks
    [ "$(jq .generation two/densepath.json)" -eq 1 ]
    "${learn[@]}" --stop-reward -1e9 --stop-window 7 -o none round.toks
    [ "$(jq .generation none/densepath.json)" -eq 6 ]
    "${learn[@]}" --kl half:0 --stop-kl 0 --stop-window 2 -o near round.toks
    [ "$(jq .generation near/densepath.json)" -lt 6 ]
    # What was seen before a pause counts.
    for n in 1 2; do
        rm -rf again
        "${learn[@]}" --stop-reward -1e9 --stop-window 3 --max-steps $n -o again round.toks
        "$BIN/toks" head --skip $((16 * n)) -n 96 round.toks >rest.toks
        "${learn[@]}" --stop-reward -1e9 --stop-window 3 --resume -o again rest.toks
        same_model two again
    done
    fails 2 "stop-window" "${learn[@]}" --stop-window 0 -o other round.toks
}

@test "reinforce-step: losses, KL, normalisers" {
    local o
    "${learn[@]}" -o out round.toks
    for o in "--loss ppo-clip" "--kl half:0.1" "--normalize sequences" "--normalize constant:12" "--optim sgd" \
        "--kl half:0.1 --kl-estimator k1" "--kl half:0.1 --kl-estimator k2" "--kl-exact sft/half:0.1" \
        "--kl-exact-reverse sft/half:0.1" "--entropy-bonus 0.1"; do
        # shellcheck disable=SC2086
        "${learn[@]}" $o --metrics log -o other round.toks
        run ! cmp -s out/model.safetensors other/model.safetensors
        rm -r other
    done
    "${learn[@]}" --kl half:0 --metrics log -o measured round.toks
    cmp out/model.safetensors measured/model.safetensors
    jq -se 'all(.kl > 0)' log
    "${learn[@]}" --kl-exact sft/half:0 --kl-exact-reverse sft/half:0 --metrics log -o exact round.toks
    cmp out/model.safetensors exact/model.safetensors
    jq -se 'all(.kl_exact > 0 and .kl_exact_reverse > 0)' log
    fails 2 "kl-estimator needs --kl" "${learn[@]}" --kl-estimator k1 -o other round.toks
    fails 2 "kl-exact: 'sft'" "${learn[@]}" --kl-exact sft -o other round.toks
    leaves_nothing fails 1 "absent" "${learn[@]}" --kl-exact-reverse absent:1 -o other round.toks
    learned_model short 12
    fails 1 "round.*tokens.*12 positions" "${learn[@]}" --kl-exact short:1 -o beyond round.toks
    # With terms it is still one run in parts, and another term is not the same run.
    "${learn[@]}" --kl-exact sft:0.5 --entropy-bonus 0.1 -o terms round.toks
    "${learn[@]}" --kl-exact sft:0.5 --entropy-bonus 0.1 --max-steps 2 -o parts round.toks
    { "$BIN/toks" view --header round.toks && records round.toks | tail -n +33; } >rest
    "${learn[@]}" --kl-exact sft:0.5 --entropy-bonus 0.1 --resume -o parts rest
    same_model terms parts
    fails 2 '`kl`' "${learn[@]}" --kl-exact sft:0.4 --entropy-bonus 0.1 --resume -o parts rest
    fails 2 '`kl`' "${learn[@]}" --resume -o parts rest
    fails 2 "normalize" "${learn[@]}" --normalize constant:0 -o other round.toks
    fails 3 "logp:nobody" "${learn[@]}" --kl nobody:0.1 -o other round.toks
    [ ! -e other ]
    [ ! -e other.lock ]
}

# MODEL: its mean negative log-likelihood on demos.toks
loss_of() {
    "$BIN/logprob" -q -m "$1" --as m demos.toks >scored
    records scored | jq -sc '[.[] | [.["logp:m"], .mask] | transpose[] | select(.[1] == 1)[0]] | -(add / length)'
}

@test "reinforce-step: a held-out stream is measured at the start, on the way and at the end" {
    local eval=(--eval-stream demos.toks --eval-steps 2)
    "${learn[@]}" --metrics plain.log -o plain round.toks
    "${learn[@]}" "${eval[@]}" --eval-on-start --max-steps 5 --metrics log -o out round.toks
    [ "$(jq -sc 'map(select(.eval_loss) | [.step, .generation])' log)" = '[[0,0],[2,2],[4,4],[5,5]]' ]
    jq -es --argjson start "$(loss_of sft)" --argjson final "$(loss_of out)" \
        '(.[0] | (.eval_loss - $start | fabs) < 1e-5 and (has("loss") | not)) and (last.eval_loss - $final | fabs) < 1e-5 and
        all(.[] | select(.eval_loss); .eval_mean_token_accuracy > 0 and .eval_mean_token_accuracy <= 1)' log
    # The loss is measured, and nothing else is other than without.
    cmp <(figures log | grep -v '"step":0' | sed -E 's/,"eval_[a-z_]+":[^,}]*//g') <(figures plain.log | head -5)
    "${learn[@]}" --max-steps 5 -o five round.toks
    cmp five/model.safetensors out/model.safetensors
    # The end of the stream is told by nothing but itself: a line of its own, once.
    for from in /dev/stdin round.toks; do
        "${learn[@]}" --eval-stream demos.toks --eval-steps 4 --metrics log --overwrite -o end "$from" < <(cat round.toks)
        [ "$(jq -sc 'map(select(.eval_loss) | [.step, has("loss")])' log)" = '[[4,true],[6,false]]' ]
        jq -es --argjson final "$(loss_of end)" '(last.eval_loss - $final | fabs) < 1e-5' log
    done
    cp log before
    "${learn[@]}" --eval-stream demos.toks --eval-steps 4 --metrics log --resume -o end round.toks
    cmp log before
    # A stop rule takes a generation back: the one that is kept is measured.
    "${learn[@]}" "${eval[@]}" --stop-reward "$(jq -s '.[3].reward' plain.log)" --stop-window 1 --metrics log -o stopped round.toks
    kept=$(jq .generation stopped/densepath.json)
    jq -es --argjson kept "$kept" --argjson final "$(loss_of stopped)" \
        'last.step == $kept and (last | has("loss") | not) and (last.eval_loss - $final | fabs) < 1e-5' log
    run -0 "${learn[@]}" "${eval[@]}" --dry-run -o none round.toks
    grep -qx 'evaluated      every 2 updates and at the end, on demos.toks' <<<"$output"
    leaves_nothing fails 2 'eval-steps needs --eval-stream' "${learn[@]}" --eval-steps 2 -o none round.toks
    leaves_nothing fails 2 'eval-on-start needs --eval-stream' "${learn[@]}" --eval-on-start -o none round.toks
    leaves_nothing fails 3 'prompts.toks.*mask' "${learn[@]}" --eval-stream prompts.toks -o none round.toks
    mkdir data && cp demos.toks data/
    leaves_nothing fails 1 'data/demos.toks is read from there' "${learn[@]}" --eval-stream data/demos.toks -o data --overwrite round.toks
}

@test "reinforce-step: two trainers do not share a policy" {
    mkfifo pipe
    "${learn[@]}" -o out pipe 2>said 3>&- &
    local pid=$!
    exec 4>pipe
    await test -e out/densepath.json
    fails 1 "out: another run" "${learn[@]}" --resume -o out round.toks
    fails 1 "out: another run" "$BIN/sft-train" -q -m sft -o out demos.toks
    # What breaks off without a byte leaves nothing.
    exec 4>&-
    local got=0
    wait "$pid" || got=$?
    [ "$got" -eq 3 ]
    [ "$(wc -l <said)" -eq 1 ]
    [ ! -e out ]
    [ ! -e out.lock ]
    [ ! -e out.partial ]
}

@test "reinforce-step: common manners" {
    common_manners "${learn[@]}" -o out
    fails 2 "o DIR" "${learn[@]}" round.toks
    fails 2 "m.* DIR" "$BIN/reinforce-step" -o out round.toks
    leaves_nothing fails 1 "absent" "$BIN/reinforce-step" -m absent -o out round.toks
    leaves_nothing fails 1 "nowhere" "${learn[@]}" -o nowhere/out round.toks
    mkdir mine && echo precious >mine/file
    leaves_nothing fails 1 "mine" "${learn[@]}" -o mine round.toks
    fails 1 "No space" "${learn[@]}" --metrics /dev/full -o out round.toks
}

@test "reinforce-step: streams that do not fit" {
    leaves_nothing fails 3 "demos.toks.*advantage" "${learn[@]}" -o out demos.toks
    leaves_nothing fails 3 "advantage" "${learn[@]}" -o out < <(cat demos.toks)
    "$BIN/toks" view round.toks | jq -c 'if .id then .advantage[-1] = null else . end' >null
    leaves_nothing fails 3 'null.*record.*advantage is null' "${learn[@]}" -o out null
    # What only the update finds is told with the record, wherever it stands in its batch.
    local at id
    for at in 2 5; do
        id=$(records round.toks | jq -rs ".[$at].id")
        "$BIN/toks" view round.toks | jq -c --arg id "$id" 'if .id == $id
            then (.advantage, ."logp:rollout") |= map(if . then -3e5 else . end) else . end' >far
        leaves_nothing fails 1 "far: record .$id.: trained token 1: the loss is not finite" \
            "${learn[@]}" --loss ppo-clip --batch-size 8 --micro-batch-tokens 8 -o out far
        "$BIN/toks" view round.toks | jq -c --arg id "$id" 'if .id == $id then .reward[-1] = null else . end' >unknown
        leaves_nothing fails 3 "unknown: record .$id.: .*stop rule" "${learn[@]}" --stop-reward 5 --batch-size 8 -o out unknown
    done
    "$BIN/toks" view round.toks | jq -c 'if .id then .token[-1] = 40 else . end' >beyond
    leaves_nothing fails 3 'beyond.*record.*40' "${learn[@]}" -o out beyond
    "$BIN/toks" view round.toks | jq -c 'if .id then .mask |= map(0) else . end' >untrained
    leaves_nothing fails 1 'untrained.*trained' "${learn[@]}" -o out untrained
    cp -r sft with
    cp "$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2/tokenizer.json" with/
    "$BIN/toks" view round.toks | jq -c 'if .id then . else .tokenizer = "xxh3:0123456789abcdef" end' >tokenizer
    leaves_nothing fails 3 "tokenizer" "$BIN/reinforce-step" -q -m with -o out tokenizer
}

small_round() {
    { "$BIN/toks" view --header round.toks | jq -c '.provenance = []' &&
        records round.toks | head -2 | jq -c 'del(.answer)'; } | jq -c 'if .id then . else .columns |= map(select(.name != "answer")) end' |
        "$BIN/toks" view -b >small.toks
}

@test "reinforce-step: a damaged stream (some bytes)" {
    small_round
    survives_damage small.toks 23 "${learn[@]}" --threads 1 -o out
    # The same through a pipe, where updates come before the end is proved.
    piped() { cat "${!#}" | "${@:1:$#-1}" 2>&1 | sed 's/^/damaged: /' >&2; return "${PIPESTATUS[1]}"; }
    survives_damage small.toks 47 piped "${learn[@]}" --threads 1 --batch-size 1 -o out
}

# bats test_tags=slow
@test "reinforce-step: a damaged stream (every byte)" {
    small_round
    survives_damage small.toks 1 "${learn[@]}" --threads 1 -o out
    piped() { cat "${!#}" | "${@:1:$#-1}" 2>&1 | sed 's/^/damaged: /' >&2; return "${PIPESTATUS[1]}"; }
    survives_damage small.toks 1 piped "${learn[@]}" --threads 1 --batch-size 1 -o out
}

@test "reinforce-step: weights that are no numbers" {
    local name
    for name in lm_head.weight model.norm.weight model.layers.1.mlp.down_proj.weight; do
        model=sft spoil_model bad "$name"
        leaves_nothing fails 1 'finite|not a number' "$BIN/reinforce-step" -q -m bad -o out round.toks
        rm -r bad
    done
}
