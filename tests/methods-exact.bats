#!/usr/bin/env bats
# The reference values of the methods, through the programs: rewards, values, divergences, losses.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load golden

# The paper's formula, in place of what is the default.
paper=(--floor 0 --baseline none)

# Once: the samples as a stream, scored by all three models.
setup_file() {
    [ -e "$methods" ] || return 0
    cd "$BATS_FILE_TMPDIR" || return
    jq -c '{densepath: 1}, (.samples[] | {id: "\(.prompt)/\(.sample)", prompt: "p\(.prompt)",
            token: .tokens, mask: [range(.tokens | length) as $t | if $t < .n_prompt then 0 else 1 end]})' \
        "$methods" | "$BIN/toks" view -b >samples.toks
    "$BIN/logprob" -q -m "$GOLDEN/sft" --as sft --entropy --values samples.toks |
        "$BIN/logprob" -q -m "$GOLDEN/half" --as half |
        "$BIN/logprob" -q -m "$GOLDEN/policy" --as policy --entropy --kl "$GOLDEN/sft" >scored.toks
}

setup() {
    need "$methods"
    cd "$BATS_FILE_TMPDIR" || return
}

@test "golden: log-probabilities, entropies, logits and values" {
    column_is scored.toks logp:sft .lp_sft
    column_is scored.toks logp:half .lp_half
    column_is scored.toks logp:policy .lp_policy
    column_is scored.toks entropy:sft .entropy_sft
    column_is scored.toks q:sft .q_sft
    column_is scored.toks value:sft '.v_sft[:-1]'
    column_is scored.toks value-end:sft '.v_sft[-1:]'
}

@test "golden: exact KL of each token, both ways" {
    jq '.samples |= ([., input.kl_per_token] | transpose | map(.[0] + {kl: .[1]}))' \
        "$methods" "$methods" >with_kl.json
    jq -e '.samples[0].kl | has("exact")' with_kl.json
    methods=with_kl.json
    column_is scored.toks kl:policy .kl.exact
    column_is scored.toks kl-reverse:policy .kl.exact_reverse
    # The simplest estimate is a reward.
    "$BIN/dense-reward" -q "${paper[@]}" policy sft scored.toks >difference
    column_is difference reward .kl.k1
}

# Updates that each see one token and leave the model as it is measure the estimates one by one.
@test "golden: estimates of the KL of each token" {
    records scored.toks | jq -c '{densepath: 1, columns: [
            {name: "id", type: "string", per: "sequence"}, {name: "token", type: "u32", per: "token"},
            {name: "mask", type: "u8", per: "token"}, {name: "logp:sft", type: "f32", per: "token"},
            {name: "logp:rollout", type: "f32", per: "token"}, {name: "advantage", type: "f32", per: "token"}]} as $header
        | if input_line_number == 1 then $header else empty end,
          (. as $r | range(.token | length) as $t | select(.mask[$t] == 1)
            | {id: "\(.id)/\($t)", token, mask: [$r.mask | keys[] | if . == $t then 1 else 0 end],
               "logp:sft": $r["logp:sft"], "logp:rollout": $r["logp:sft"], advantage: [$r.token[] | 0]})' |
        "$BIN/toks" view -b >tokens.toks
    for k in k1 k2 k3; do
        rm -rf same log
        "$BIN/reinforce-step" -q -m "$GOLDEN/policy" -o same --optim sgd --learning-rate 0 --batch-size 1 \
            --metrics log --kl sft:1 --kl-estimator "$k" tokens.toks
        jq -se --arg k "$k" --slurpfile m "$methods" '[map(.kl), [$m[0].kl_per_token[][$k][]]] |
            (.[0] | length) == (.[1] | length) and (.[0] | length) == $m[0].n_trained and
            (transpose | all((.[0] - .[1] | fabs) <= 5e-5 * (1 + (.[1] | fabs))))' log >/dev/null
    done
}

@test "golden: logit and weight extrapolation, two references" {
    a=$(jq .extrapolation "$methods")
    "$BIN/logprob" -q -m "$GOLDEN/sft" --as e --contrast "$GOLDEN/half:$a" samples.toks >contrast
    column_is contrast logp:e .lp_logit_extrapolation
    "$BIN/model" average "$GOLDEN/sft:$(jq -n "1 + $a")" "$GOLDEN/half:-$a" -o beyond
    "$BIN/logprob" -q -m beyond --as e samples.toks >weights
    column_is weights logp:e .lp_weight_extrapolation
    # The reward of nothing against both is what they combine to.
    records scored.toks | jq -c '.["logp:zero"] = (.["logp:sft"] | map(numbers |= 0))' |
        { echo '{"densepath":1}' && cat; } | "$BIN/dense-reward" -q "${paper[@]}" zero sft,half >two
    column_is two reward '.lp_two_references | map(-.)'
}

@test "golden: soft rewards, and their sums" {
    local checked=0 gamma
    for gamma in $(golden_keys '.samples[0]' soft_reward_gamma_); do
        "$BIN/dense-reward" -q "${paper[@]}" --soft --gamma "$gamma" sft scored.toks >soft
        column_is soft reward ".[\"soft_reward_gamma_$gamma\"]"
        checked=$((checked + 1))
    done
    [ "$checked" -ge 2 ]
    "$BIN/dense-reward" -q "${paper[@]}" --soft sft scored.toks | records - | jq -se --slurpfile m "$methods" '
        $m[0] as {$theory, $samples} | [map(.return | map(numbers)[0]), $theory.sum_lp_plus_v0_minus_vT,
            $theory.sum_soft_reward] | transpose |
        length == ($samples | length) and
        all((.[0] - .[1] | fabs) <= 2e-4 and (.[0] - .[2] | fabs) <= 2e-4)' >/dev/null
}

@test "golden: the dense reward and its returns, from the models on" {
    "$BIN/dense-reward" -q "${paper[@]}" sft half scored.toks >rewarded
    column_is rewarded reward .reward
    "$BIN/dense-reward" -q "${paper[@]}" --gamma 0.9 --credit token sft half scored.toks >rewarded
    column_is rewarded return '.credit["gamma_0.9"]'
}

none='lp_sft | map(0)'
# LOSS SIGN ADVANTAGE OPTION...: one step of plain gradient descent at rate 1 has the reference's
# loss, norm and, tensor by tensor, gradient. ADVANTAGE: what of the samples the column is.
step_is() {
    local loss=$1 sign=$2 advantage=$3
    shift 3
    rm -rf stepped log
    paste -d' ' <(records scored.toks) \
        <(jq -c ".samples[] | {advantage: ([range(.n_prompt) | null] + (.$advantage))}" \
            "$methods") | jq -sc '{densepath: 1}, (range(0; length; 2) as $i | .[$i] + .[$i + 1])' |
        jq -c 'if .id then .["logp:rollout"] = .["logp:sft"] else . end' >with_advantage
    "$BIN/reinforce-step" -q -m "$GOLDEN/policy" -o stepped --optim sgd --learning-rate 1 \
        --max-grad-norm 0 --metrics log "$@" with_advantage
    update_is "$loss" "$sign" log stepped
}

metric_is() { # METRIC LOSS: the log of the step has that loss's value there
    jq -e --arg name "$1" --arg loss "$2" --slurpfile m "$methods" '$m[0] as {$losses, fp32_noise: $noise} |
        (.[$name] - $losses[$loss].value | fabs) <= ([1e-6, 20 * $noise.loss[$loss]] | max)' log >/dev/null
}

@test "golden: REINFORCE: loss and gradient" {
    step_is reinforce 1 credit.gamma_1
    step_is reinforce_gamma_0_9 1 'credit["gamma_0.9"]'
    step_is reinforce_whitened 1 advantage.batch_whiten_population
    step_is reinforce_rloo 1 advantage.rloo
}

@test "golden: PPO's clip: loss, gradient, share clipped" {
    step_is ppo_clip 1 advantage.batch_whiten_population --loss ppo-clip
    jq -e --slurpfile m "$methods" '(.clip_fraction - $m[0].ppo_clip_fraction | fabs) < 1e-9' log
}

@test "golden: KL estimated: k1, k2, k3: value and gradient" {
    for k in k1 k2 k3; do
        step_is "kl_$k" 1 "$none" --kl sft:1 --kl-estimator "$k"
        metric_is kl "kl_$k"
    done
    step_is kl_k3 1 "$none" --kl sft:1
}

@test "golden: exact KL, both ways, and entropy: value and gradient" {
    step_is kl_exact 1 "$none" --kl-exact "$GOLDEN/sft:1" --kl-exact-reverse "$GOLDEN/sft:0"
    metric_is kl_exact kl_exact
    metric_is kl_exact_reverse kl_exact_reverse
    step_is kl_exact_reverse 1 "$none" --kl-exact-reverse "$GOLDEN/sft:1" --micro-batch-tokens 1
    step_is entropy -1 "$none" --entropy-bonus 1
    metric_is entropy entropy
}
