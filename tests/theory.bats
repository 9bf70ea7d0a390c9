#!/usr/bin/env bats
# What theory says of logits, rewards and divergences, on streams and models as the programs make
# them. (Enumerated in double: tests/unit/test_theory.c.)
# shellcheck disable=SC2016,SC2154
bats_require_minimum_version 1.5.0
load engine

# The paper's formula, in place of what is the default.
paper=(--floor 0 --baseline none)

# A model, its earlier self, samples of either, and what both say of them.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos | "$BIN/sft-train" -q -m "$model" --learning-rate 1e-2 --max-steps 20 --keep half -o sft
    for drawn in sft half; do
        [ $drawn = sft ] && dir=sft other=sft/half || dir=sft/half other=sft
        prompts | "$BIN/rollout" -q -m "$dir" -n 300 --max-new-tokens 6 --seed 3 |
            "$BIN/logprob" -q -m sft --as sft --values | "$BIN/logprob" -q -m sft/half --as half --values |
            "$BIN/logprob" -q -m "$dir" --as exact --kl "$other" >"$drawn.toks"
    done
}

setup() {
    cd "$BATS_FILE_TMPDIR" || return
}

# FILTER FILE...: the filter holds of the records of streams, as an array. `trained(c)` are the
# values of column c at trained tokens, `states` those of V from the first state to the last.
holds() {
    local filter=$1
    shift
    for file in "$@"; do records "$file"; done | jq -se '
        def trained(c): [.[c], .mask] | transpose | map(select(.[1] == 1)[0]);
        def states(name): trained("value:" + name) + [.["value-end:" + name]];
        def near(a; b; t): (a - b | fabs) <= t;
        length > 0 and '"$filter"
}

@test "theory 1: log p = Q - V" {
    holds 'all([trained("logp:sft"), trained("q:sft"), trained("value:sft")] | transpose |
        all(near(.[0]; .[1] - .[2]; 5e-6)))' sft.toks half.toks
}

@test "theory 2: the soft Bellman reward is log p and the difference of values" {
    "$BIN/dense-reward" -q "${paper[@]}" --soft sft sft.toks >soft.toks
    holds 'all(states("sft") as $v | trained("logp:sft") as $l | trained("reward") |
        [., $l, $v[:-1], $v[1:]] | transpose | all(near(.[0]; .[1] + .[2] - .[3]; 1e-5)))' soft.toks
}

@test "theory 3: rewards telescope, and for gamma < 1 fail by (1 - gamma) V" {
    for gamma in 1 0.9 0.5; do
        "$BIN/dense-reward" -q "${paper[@]}" --soft --gamma "$gamma" sft sft.toks >soft.toks
        holds "$gamma"' as $g | all(states("sft") as $v | trained("reward") as $r |
            ($r | add) as $sum | ((trained("logp:sft") | add) + $v[0] - $v[-1]) as $ends |
            ($v[1:] | add * (1 - $g)) as $beyond |
            near($sum; $ends + $beyond; 1e-4) and ($g == 1 or ($beyond | fabs) > 0.01) and
            # discounted on both sides it holds: the return of the first token
            near(trained("return")[0]; (reduce (trained("logp:sft") | reverse[]) as $l (0; . * $g + $l)) +
                $v[0] - $v[-1] * (reduce $r[] as $x (1; . * $g)); 1e-4))' soft.toks
    done
}

@test "theory 5: two models: the sum of rewards is the log-likelihood ratio, up to potentials" {
    "$BIN/dense-reward" -q "${paper[@]}" sft half sft.toks >ratio.toks
    for name in sft half; do
        "$BIN/dense-reward" -q "${paper[@]}" --soft $name ratio.toks >$name.soft
    done
    paste -d' ' <(records ratio.toks) <(records sft.soft) <(records half.soft) | jq -se '
        def trained(c): [.[c], .mask] | transpose | map(select(.[1] == 1)[0]);
        def ends(name): trained("value:" + name)[0] - .["value-end:" + name];
        length == 6300 and all(range(0; 6300; 3) as $i | .[$i:$i + 3] as [$r, $a, $b] |
            ($r | trained("reward") | add) as $sum |
            ($r | (trained("logp:sft") | add) - (trained("logp:half") | add)) as $ratio |
            (($a | trained("reward") | add) - ($b | trained("reward") | add)) as $soft |
            ($sum - $ratio | fabs) < 1e-4 and
            ($soft - $ratio - ($r | ends("sft") - ends("half")) | fabs) < 1e-4; .)'
}

# MEAN of f over records, with its standard error.
moments='def moments(f): map(f) | (add / length) as $m | {mean: $m,
    error: ((map((. - $m) * (. - $m)) | add) / (length - 1) / length | sqrt)};'

@test "theory 6: samples: E of the reward is KL under the model, -KL under the reference" {
    for drawn in sft half; do
        "$BIN/dense-reward" -q "${paper[@]}" sft half $drawn.toks | records - | jq -sc "$moments"'
            def trained(c): [.[c], .mask] | transpose | map(select(.[1] == 1)[0]) | add;
            {reward: moments(trained("reward")), kl: moments(trained("kl:exact")),
             sum: moments(trained("reward") + trained("kl:exact")),
             difference: moments(trained("reward") - trained("kl:exact"))}'
    done >figures
    cat figures
    # The reward is an estimate of the divergence, whose exact sum along the sample is one too.
    jq -se '(.[0].reward | .mean > 4 * .error) and (.[0].difference | (.mean | fabs) < 4 * .error) and
        (.[1].reward | .mean < -4 * .error) and (.[1].sum | (.mean | fabs) < 4 * .error)' figures
}

@test "theory 6: all completions of two tokens: E of the reward is KL, exactly" {
    # After the prompt: the stop token alone, or another token and then any.
    jq -nc '{densepath: 1}, ({id: "2", token: [1, 5, 2], mask: [0, 0, 1]},
        (range(40) | select(. != 2)) as $a | range(40) as $b |
        {id: "\($a) \($b)", token: [1, 5, $a, $b], mask: [0, 0, 1, 1]})' >every.jsonl
    "$BIN/logprob" -q -m sft --as sft --kl sft/half every.jsonl |
        "$BIN/logprob" -q -m sft/half --as half --kl sft | "$BIN/dense-reward" -q "${paper[@]}" sft half >every.toks
    holds '
        def sum(c): trained(c) | add;
        # The chain rule: the first token, then the second where there is one.
        def chain(name): . as $all | reduce (group_by(.token[2])[] | .[0]) as $r
            ($all[0]["kl:" + name][2]; . + if ($r.token | length) > 3 then
                ($r["logp:" + name][2] | exp) * $r["kl:" + name][3] else 0 end);
        length == 1561 and
        near(map(sum("logp:sft") | exp) | add; 1; 1e-5) and near(map(sum("logp:half") | exp) | add; 1; 1e-5) and
        (map((sum("logp:sft") | exp) * sum("reward")) | add) as $up |
        (map((sum("logp:half") | exp) * sum("reward")) | add) as $down |
        $up > 0.05 and $down < -0.05 and near($up; chain("sft"); 1e-5) and near($down; -chain("half"); 1e-5)' every.toks
}

@test "theory 4: with advantage 1 the policy gradient is that of the token NLL: one step, the same model" {
    jq -c 'if .id then .advantage = (.token | map(1)) else . end | del(.columns)' <(demos) | grep -v '"none"' >ones
    o=(--optim sgd --learning-rate 0.1 --max-grad-norm 0 --max-steps 1 --batch-size 7)
    rm -rf reinforced trained
    "$BIN/reinforce-step" -q -m sft "${o[@]}" -o reinforced ones
    "$BIN/sft-train" -q -m sft "${o[@]}" --shuffle no --lr-scheduler-type constant --metrics log -o trained ones
    cmp reinforced/model.safetensors trained/model.safetensors
    # IQ-Learn's objective with the identity is the mean of Q - V.
    "$BIN/logprob" -q -m sft --as sft --values ones >values.toks
    jq -se --slurpfile log log 'map(select(.id)) |
        [.[] | [.["q:sft"], .["value:sft"], .mask] | transpose[] | select(.[2] == 1) | .[1] - .[0]] |
        (add / length - $log[0].loss | fabs) < 1e-5' <(records values.toks)
}

@test "the optimum under KL weight 1/a is logit extrapolation: log p = log p_sft + a r - log Z" {
    # Z is one number a state: enumerated over the tokens that may follow one prompt.
    jq -nc '{densepath: 1}, (range(40) as $a | {id: "\($a)", token: [1, 5, 6, $a], mask: [0, 0, 0, 1]})' >next
    "$BIN/logprob" -q -m sft --as steered --contrast sft/half:0.8 next | "$BIN/logprob" -q -m sft --as s |
        "$BIN/logprob" -q -m sft/half --as h >next.toks
    holds '(map(.["logp:s"][3] as $s | $s + 0.8 * ($s - .["logp:h"][3]) | exp) | add | log) as $z |
        length == 40 and all(.["logp:s"][3] as $s |
            near(.["logp:steered"][3]; $s + 0.8 * ($s - .["logp:h"][3]) - $z; 1e-5))' next.toks
}
