#!/usr/bin/env bats
# Reinforcement variants: the values of golden/methods through the programs.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    methods=$SHARED/golden/methods/methods.json
    cd "$BATS_TEST_TMPDIR" || return
}

@test "golden: attention_credit" {
    need "$methods"
    jq -c '{densepath: 1}, (.attention_credit | {id: "a", token: [3, (.alpha[] | 5)], mask: [0, (.alpha[] | 1)],
        attention: [0, .alpha[]], score: .R})' "$methods" | toks view -b -o in.toks
    dense-reward -q --baseline none --reward score --credit attention --attention attention \
        --beta "$(jq .attention_credit.beta "$methods")" in.toks |
        toks view | tail -1 >out
    jq -e --slurpfile m "$methods" '($m[0].attention_credit) as $g
        | (.reward | length) == ($g.alpha | length) + 1 and .reward[0] == null
          and ([.reward[1:], $g.reward] | transpose | all((.[0] - .[1] | fabs) < 1e-6))
          and (.return[1] - $g.R | fabs) < 1e-6' out
}

# The gains of l_0 .. l_K through the programs: a record of K steps, each of one token, and the
# scores that logprob would give to the answer (of two tokens, mean l) after each of them.
@test "golden: monotone_gain" {
    need "$methods"
    jq -c '.monotone_gain.l | (length - 1) as $K | {densepath: 1},
        {id: "a", token: [3, (range($K) | 5)], mask: [0, (range($K) | 1)]}' "$methods" | toks view -b -o in.toks
    jq -c '.monotone_gain.l as $l | {densepath: 1, columns: [
            {name: "id", type: "string", per: "sequence"}, {name: "token", type: "u32", per: "token"},
            {name: "mask", type: "u8", per: "token"}, {name: "logp:m", type: "f32", per: "token"},
            {name: "record", type: "string", per: "sequence"}, {name: "steps", type: "u32", per: "sequence"},
            {name: "taken", type: "u32", per: "sequence"}]},
        (range($l | length) as $k | {id: "a+\($k)", token: [3, (range($k) | 5), 8, 9],
            mask: [0, (range($k) | 0), 1, 1], "logp:m": [null, (range($k) | null), $l[$k] - 0.5, $l[$k] + 0.5],
            record: "a", steps: $k, taken: ($k + 1)})' "$methods" | toks view -b -o scored.toks
    toks gain --logp m in.toks scored.toks | toks view | tail -1 >out
    jq -e --slurpfile m "$methods" '($m[0].monotone_gain) as $g
        | def near(a; b): [a, b] | (.[0] | length) == (.[1] | length) and (transpose | all((.[0] - .[1] | fabs) < 1e-6));
        near(.reward[1:]; $g.gain) and near(.watermark[1:]; $g.watermark[1:]) and (.gain - $g.sum | fabs) < 1e-6' out
    # dense-reward takes it as it is.
    toks gain --logp m in.toks scored.toks | dense-reward -q --baseline none --reward reward | toks view | tail -1 |
        jq -e --slurpfile m "$methods" '(.return[1] - $m[0].monotone_gain.sum | fabs) < 1e-6'
}
