#!/usr/bin/env bats
# Trainers that watch their evaluations: stopping early, ending with the best model, what goes with it.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

# Three records to learn by heart, four on which that does harm after some updates.
setup() {
    engine_setup
    head -4 demos.jsonl | "$BIN/toks" view -b >few.toks
    { head -1 demos.jsonl && tail -5 demos.jsonl; } | "$BIN/toks" view -b >held-out.toks
    train=("$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --batch-size 2 --lr-scheduler-type constant)
    eval=(--eval-stream held-out.toks --eval-steps 2)
    best=("${eval[@]}" --early-stopping-patience 3 --load-best-model-at-end)
}

# METRICS [METRIC]: of a run that was not stopped: where the best evaluation is, and where a patience of 3 ends.
expected() {
    jq -rs --arg by "${2-eval_loss}" '
        reduce (.[] | select(.eval_loss)) as $x ({without: 0};
            if .stop then .
            else (if $by == "eval_loss" then $x[$by] else -$x[$by] end) as $v
                | if .value == null or $v < .value then . + {value: $v, best: $x.step, without: 0}
                  else .without += 1 end
                | if .without == 3 then .stop = $x.step else . end
            end) | "\(.best) \(.stop)"' "$1"
}

@test "sft-train: patience stops where the metrics of an unstopped run say, with the best model of those" {
    "${train[@]}" --max-steps 40 "${eval[@]}" --metrics all.log -o all few.toks
    read -r at stop <<<"$(expected all.log)"
    [ "$at" -gt 2 ]
    [ "$stop" -lt 40 ]
    run -0 --separate-stderr "$BIN/sft-train" "${train[@]:2}" --max-steps 40 "${best[@]}" --metrics log -o out few.toks
    cmp <(figures log | sed -E 's/,"best_[a-z_]+":[^,}]*//g') <(figures all.log | head -n "$stop")
    jq -es --argjson at "$at" 'last.best_global_step == $at and (last.best_metric as $v | .[$at - 1].eval_loss == $v)' log
    value=$(jq -s "last.best_metric * 1e4 | round / 1e4" log)
    printf -v line 'sft-train: stopped after update %d of 40: eval_loss has not improved for 3 evaluations; the model is that of update %d (%.4f)' \
        "$stop" "$at" "$value"
    [ "${stderr_lines[-1]}" = "$line" ]
    [[ ${stderr_lines[-2]} == "sft-train: out: $stop updates, "* ]]
    # The same weights as of a run of so many updates.
    "${train[@]}" --max-steps "$at" --metrics short.log -o short few.toks
    cmp short/model.safetensors out/model.safetensors
    [ "$(ls out)" = "$(ls all)" ]
    jq -e --argjson at "$at" --argjson stop "$stop" --slurpfile log log '.finished and .training.update == $at
        and .training.stopped == $stop and .training.planned == 40
        and (.training.eval_loss - $log[-1].best_metric | fabs) < 1e-6' out/densepath.json
    grep -qx "| updates done | $at |" out/README.md
    grep -qx "| trained tokens | $(jq -s 'last.num_tokens' short.log) |" out/README.md
    grep -qF "| chosen | ${line#sft-train: } |" out/README.md
    [ "$(sed -n 's/^| loss of the last .*| \(.*\) |/\1/p' out/README.md)" = \
        "$(sed -n 's/^| loss of the last .*| \(.*\) |/\1/p' short/README.md)" ]
    # Without the best: the model of the last update.
    run -0 --separate-stderr "$BIN/sft-train" "${train[@]:2}" --max-steps 40 "${best[@]:0:6}" -o last few.toks
    [[ ${stderr_lines[-1]} == "sft-train: stopped after update $stop of 40:"*"the best was update $at ("*"the model is the last ("* ]]
    "${train[@]}" --max-steps "$stop" -o until few.toks
    cmp until/model.safetensors last/model.safetensors
    # Without patience: the same best of all.
    read -r at _ < <(jq -rs 'map(select(.eval_loss)) | min_by(.eval_loss).step' all.log)
    "${train[@]}" --max-steps 40 "${eval[@]}" --load-best-model-at-end -o chosen few.toks
    [ "$(jq .training.update chosen/densepath.json)" -eq "$at" ]
    grep -q '^| chosen | the model is that of update' chosen/README.md
    jq -e '.training | has("stopped") | not' chosen/densepath.json
}

@test "sft-train: threshold, another metric, and a start that is the best" {
    "${train[@]}" --max-steps 40 "${eval[@]}" --metrics all.log -o all few.toks
    read -r at stop <<<"$(expected all.log eval_mean_token_accuracy)"
    "${train[@]}" --max-steps 40 "${best[@]}" --metric-for-best-model eval_mean_token_accuracy --metrics log -o out few.toks
    jq -es --argjson at "$at" --argjson stop "$stop" 'last.step == $stop and last.best_global_step == $at
        and last.best_metric == .[$at - 1].eval_mean_token_accuracy' log
    # Nothing is that much better than the first evaluation.
    "${train[@]}" --max-steps 40 "${best[@]}" --early-stopping-threshold 100 --metrics log --overwrite -o out few.toks
    [ "$(jq -s 'last.step' log)" -eq 8 ]
    # Training only makes it worse: the model is the start's, as the start's loss has it.
    "$BIN/logprob" -q -m all --as m held-out.toks >scored
    start=("$BIN/sft-train" -q -m all --learning-rate 1 --batch-size 2)
    "${start[@]}" --max-steps 40 "${best[@]}" --eval-on-start --ema 0.5 --metrics log -o worse few.toks
    records scored | jq -sc '[.[] | [.["logp:m"], .mask] | transpose[] | select(.[1] == 1)[0]] | -(add / length)' >want
    jq -es --slurpfile want want '.[0].step == 0 and .[0].epoch == 0 and (.[0].eval_loss - $want[0] | fabs) < 1e-5
        and (.[0] | has("loss") | not) and last.step == 6 and last.best_global_step == 0' log
    cmp all/model.safetensors worse/model.safetensors
    cmp all/model.safetensors worse/ema/model.safetensors
    grep -qx '| updates done | 0 |' worse/README.md
    run ! grep 'loss of the last' worse/README.md
    run ! grep 'chosen' worse/ema/README.md
    # Without the rest it is a line more, and the same model.
    "${train[@]}" --max-steps 6 -o plain few.toks
    "${train[@]}" --max-steps 6 "${eval[@]}" --eval-on-start --metrics log -o also few.toks
    [ "$(jq -sc 'map(select(.eval_loss).step)' log)" = '[0,2,4,6]' ]
    cmp plain/model.safetensors also/model.safetensors
}

# Of runs that are struck: what they leave, and what must hold of each in the end.
afresh() { rm -rf out out.partial out.lock log; }
same_as_straight() {
    diff -r straight out && cmp <(figures straight.log) <(figures log) && [ ! -e out.partial ] && [ ! -e out.lock ]
}

@test "sft-train: stopped or killed at any point, before and after the best, and resumed: the same files" {
    # Several bests lie between two states.
    local long=(--max-steps 40 "${best[@]}" --eval-steps 1 --ema 0.9 --save-steps 4 --eval-on-start)
    "${train[@]}" "${long[@]}" --metrics straight.log -o straight few.toks
    [ "$(ls straight | paste -sd' ')" = 'README.md config.json densepath.json ema generation_config.json model.safetensors' ]
    most=20 each_struck 'KILL TERM' "${train[@]}" "${long[@]}" --resume --metrics log -o out few.toks
}

@test "reward-train: killed with a state after every update, it ends with the same best model" {
    demo_pairs >pairs.toks
    local run=("$BIN/reward-train" -q -m "$model" --learning-rate 3e-2 --max-steps 12 --batch-size 3
        --eval-stream pairs.toks --eval-steps 1 --metric-for-best-model eval_margin --load-best-model-at-end
        --early-stopping-patience 2 --save-steps 1 --seed 3)
    "${run[@]}" --metrics straight.log -o straight pairs.toks
    jq -es 'last.best_metric == (map(.eval_margin) | max) and last.best_global_step < last.step and
        last.step == last.best_global_step + 2' straight.log
    most=8 each_struck KILL "${run[@]}" --resume --metrics log -o out pairs.toks
    "$BIN/reward-train" -q --score -m out pairs.toks >/dev/null
}

@test "a state and its best belong together" {
    cat >stop <<'STOP'
"$@" 2>/dev/null 3>&- &
pid=$!
await has_lines log 5
kill -TERM $pid
wait $pid
STOP
    export -f await has_lines
    local run=("${train[@]}" --max-steps 1000000000 "${eval[@]}" --load-best-model-at-end --metrics log -o out)
    run -75 bash stop "${run[@]}" few.toks
    run=(timeout 60 "${run[@]}")
    [ "$(find out.partial -name 'best.*' | wc -l)" -eq 1 ]
    fails 2 '`eval-steps`' "${run[@]}" --eval-steps 3 --resume few.toks
    fails 2 '`eval-data`' "${run[@]}" --eval-stream demos.toks --resume few.toks
    fails 2 '`early-stopping-patience`' "${run[@]}" --early-stopping-patience 7 --resume few.toks
    fails 1 'out.partial.*--resume.*--overwrite' "${run[@]}" few.toks
    printf x | tee -a out.partial/best.*/model.safetensors >/dev/null
    fails 1 'out.partial: best.*model.safetensors.*is not what it was' "${run[@]}" --resume few.toks
    rm -r out.partial/best.*
    fails 1 'out.partial: best.*gone' "${run[@]}" --resume few.toks
}

@test "--keep of a run that stops before, or ends with an earlier model, is told, and dependents say why" {
    "${train[@]}" --max-steps 40 "${eval[@]}" --metrics all.log -o all few.toks
    read -r at stop <<<"$(expected all.log)"
    fails 0 "warning: out: --keep half,0.9 was not reached: the run stopped after update $stop of 200;.*--max-steps $at" \
        "${train[@]}" --max-steps 200 "${best[@]}" --keep half,0.9 -o out few.toks
    [ ! -e out/half ]
    late=$(((at + 1) * 2))
    fails 0 "warning: late: what --keep half kept is later than the model.*update $at,.*--max-steps $at" \
        "${train[@]}" --max-steps "$late" "${eval[@]}" --load-best-model-at-end --keep half -o late few.toks
    [ -e late/half/model.safetensors ]
    # What is in time is no matter.
    "${train[@]}" --max-steps "$late" "${eval[@]}" --load-best-model-at-end --keep 0.1 -o fine few.toks 2>said
    [ ! -s said ]
    local pipelines=$BATS_TEST_DIRNAME/../pipelines
    fails 1 "the reference half is not in out, whose training stopped early, after update $stop of 200: train again with --max-steps $at and --keep half" \
        "$pipelines/select" -m out -o chosen few.toks
    fails 1 "the reference half is of update $((at + 1)) and late of update $at" "$pipelines/select" -m late -o chosen few.toks
    "$pipelines/select" -q -m late --reference "$PWD/late/half" -o chosen few.toks
    "$pipelines/select" -q -m fine --reference 0.1 -o other few.toks
}

@test "what goes with what: usage, a dry run, a full disk" {
    leaves_nothing fails 2 'patience needs --eval-stream' "${train[@]}" --early-stopping-patience 3 -o out few.toks
    leaves_nothing fails 2 'load-best-model-at-end needs --eval-stream' "${train[@]}" --load-best-model-at-end -o out few.toks
    leaves_nothing fails 2 'patience needs --eval-steps' "${train[@]}" "${eval[@]:0:2}" --early-stopping-patience 3 -o out few.toks
    leaves_nothing fails 2 'load-best-model-at-end needs --eval-steps' "${train[@]}" "${eval[@]:0:2}" --load-best-model-at-end -o out few.toks
    leaves_nothing fails 2 'threshold needs' "${train[@]}" "${eval[@]}" --load-best-model-at-end --early-stopping-threshold 1 -o out few.toks
    leaves_nothing fails 2 'metric-for-best-model needs' "${train[@]}" "${eval[@]}" --metric-for-best-model eval_loss -o out few.toks
    leaves_nothing fails 2 'eval-on-start needs' "${train[@]}" --eval-on-start -o out few.toks
    leaves_nothing fails 2 'eval-steps needs' "${train[@]}" --eval-steps 2 -o out few.toks
    leaves_nothing fails 2 'metric-for-best-model' "${train[@]}" "${best[@]}" --metric-for-best-model eval_margin -o out few.toks
    run -0 "${train[@]}" --max-steps 40 "${best[@]}" --eval-on-start --dry-run -o out few.toks
    grep -qx 'evaluated      at the start, every 2 updates and at the end, on held-out.toks' <<<"$output"
    grep -qx 'may stop       when eval_loss has not improved for 3 evaluations, .*' <<<"$output"
    grep -qx 'result         the model of the best eval_loss' <<<"$output"
    [ ! -e out.partial ]
}
