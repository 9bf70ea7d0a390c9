#!/usr/bin/env bats
# Samples of another distribution than the policy's: reinforce-step refuses or weighs them.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

# Two updates of 4 prompts with 4 samples.
draw() {
    prompts | "$BIN/rollout" -q -m "$model" -n 4 --batch-size 4 --steps 2 --max-new-tokens 6 --seed 5 "$@" |
        "$BIN/logprob" -q -m "$model" --as sft | "$BIN/dense-reward" -q --baseline loo sft none
}

setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    draw --temperature 0.6 --top-p 0.9 >cold.toks
    draw >plain.toks
}

setup() {
    engine_setup
    cp "$BATS_FILE_TMPDIR"/*.toks .
    learn=("$BIN/reinforce-step" -q -m "$model" --learning-rate 1e-3 --adam-epsilon 1e-3)
}

# The stream with what another jq program makes of its records, as one that was drawn plainly.
as_plain() { # PROGRAM STREAM
    "$BIN/toks" view "$2" | jq -c "if .id then del(.[\"logp:sampled\"]) | $1
        else del(.sampling) | .columns |= map(select(.name != \"logp:sampled\")) end"
}

same_weights() { # A B
    "$BIN/model" diff -q --tolerance 1e-6 "$1" "$2"
}

@test "reinforce-step: samples of another distribution are refused with the ways on" {
    leaves_nothing fails 2 'cold.toks: .*\(temperature 0.6, top-p 0.9\): --is token or --is sequence.*--is none.*temperature 1' \
        "${learn[@]}" -o out cold.toks
    leaves_nothing fails 2 'temperature 0.6' "${learn[@]}" -o out < <(cat cold.toks)
    # By the header alone, and by the column alone.
    "$BIN/toks" view cold.toks | jq -c 'if .id then del(.["logp:sampled"])
        else .columns |= map(select(.name != "logp:sampled")) end' >header
    fails 2 'temperature 0.6' "${learn[@]}" -o out header
    leaves_nothing fails 3 'header.*logp:sampled' "${learn[@]}" --is token -o out header
    "${learn[@]}" --is none --metrics log -o header-taken header
    jq -se 'all(has("kl_sampling") | not)' log
    "$BIN/toks" view cold.toks | jq -c 'del(.sampling)' >column
    fails 2 'column logp:sampled' "${learn[@]}" -o out column
    local what
    for what in '.temperature = 0.7' '.top_k = 9' '.top_p = 0.5' '.min_p = 0.1' '.repetition_penalty = 1.2' '.contrast = "half:2"'; do
        "$BIN/toks" view plain.toks | jq -c "if .id then . else .sampling |= ($what) end" >other
        fails 2 "$(sed -E 's/^\.([a-z]+)_?([a-z]*) = "?([^"]*)"?$/\1.?\2 \3/' <<<"$what")" "${learn[@]}" -o out other
    done
    # No weight makes samples of the policy from what had no choice.
    "$BIN/toks" view cold.toks | jq -c 'if .id then . else .sampling.temperature = 0 end' >greedy
    fails 2 'greedy.*temperature 0.*--is none' "${learn[@]}" --is token -o out greedy
    # Nor do the stream's columns tell how far rounded keys and values lead away.
    draw --kv-cache-dtype bf16 >rounded.toks
    for what in refuse token sequence; do
        leaves_nothing fails 2 'rounded.toks: .*--kv-cache-dtype.*--is none' "${learn[@]}" --is "$what" -o out rounded.toks
    done
    "${learn[@]}" --is none -o rounded-taken rounded.toks
    fails 2 'is-clip needs --is' "${learn[@]}" --is-clip 0,2 -o out cold.toks
    fails 2 'is-mode needs --is' "${learn[@]}" --is none --is-mode mask -o out cold.toks
    for what in 2 2,1 0,0 -1,2 ,2 0,x 0,1,2; do
        fails 2 "is-clip: '$what'" "${learn[@]}" --is token --is-clip "$what" -o out cold.toks
    done
}

@test "reinforce-step: plain samples are what they were, with --is too" {
    "${learn[@]}" --metrics log -o out plain.toks
    "${learn[@]}" --is sequence --metrics weighed -o same plain.toks
    cmp out/model.safetensors same/model.safetensors
    cmp <(figures log) <(figures weighed)
    jq -se 'all(has("is_weight") or has("kl_sampling") | not)' log
    # Nobody says how these were drawn.
    "$BIN/toks" view plain.toks | jq -c 'del(.sampling)' >unknown
    "${learn[@]}" --batch-size 16 -o told unknown
    cmp out/model.safetensors told/model.safetensors
    leaves_nothing fails 3 'unknown.*logp:sampled' "${learn[@]}" --is token -o none unknown
}

@test "reinforce-step: --is none takes samples as the policy's own, and measures" {
    "${learn[@]}" --is none --metrics log -o out cold.toks
    as_plain . cold.toks >taken
    "${learn[@]}" --batch-size 16 -o taken.out taken
    cmp out/model.safetensors taken.out/model.safetensors
    # Of the trained tokens of each update.
    records cold.toks | jq -sc 'group_by(.step)[] | [.[] | [.mask, .["logp:rollout"], .["logp:sampled"]] | transpose[]
            | select(.[0] == 1) | .[2] - .[1]] | {kl: (add / length), difference: (map(fabs) | add / length)}' >want
    jq -se --slurpfile w want 'length == 2 and ([range(2) as $i | (.[$i].kl_sampling - $w[$i].kl | fabs) < 1e-6 and
        (.[$i].sampling_difference - $w[$i].difference | fabs) < 1e-6 and $w[$i].kl > 0.05] | all)
        and all(has("is_weight") | not)' log
}

# The loss with weights is the loss with advantages times weights: computed here by jq.
@test "reinforce-step: weights of tokens and of sequences, truncated and masked" {
    local how level mode clip k=0
    "${learn[@]}" --is none -o as_they_are cold.toks
    for how in "token truncate 0,3" "token truncate 0.8,1.2" "token mask 0.8,1.2" "sequence truncate 0,3" \
        "sequence truncate 0.3,0.5" "sequence mask 0.1,0.5"; do
        read -r level mode clip <<<"$how"
        k=$((k + 1))
        "${learn[@]}" --is "$level" --is-mode "$mode" --is-clip "$clip" --metrics log -o "out$k" cold.toks
        as_weighed="(.mask | map(. == 1)) as \$m | [.[\"logp:rollout\"], .[\"logp:sampled\"], \$m] as \$c
            | (if \"$level\" == \"token\" then [\$c | transpose[] | if .[2] then .[0] - .[1] else null end]
               else ([\$c | transpose[] | select(.[2]) | .[0] - .[1]] | add) as \$s | [\$m[] | if . then \$s else null end] end
               | map(if . then exp else . end)) as \$ratio
            | .ratio = \$ratio
            | .weight = [\$ratio[] | if . == null then 0
                elif \"$mode\" == \"mask\" then (if . < ([$clip][0]) or . > ([$clip][1]) then 0 else . end)
                else [[., [$clip][0]] | max, [$clip][1]] | min end]
            | .advantage = [[.advantage, .weight] | transpose[] | if .[0] == null then null else .[0] * .[1] end]"
        "$BIN/toks" view cold.toks | jq -c "if .id then $as_weighed else . end" >"all$k"
        as_plain 'del(.ratio, .weight)' <(jq -c 'if .id then del(.ratio, .weight) else . end' "all$k") >"weighed$k"
        "${learn[@]}" --batch-size 16 -o "want$k" "weighed$k"
        same_weights "out$k" "want$k"
        run ! same_weights "out$k" as_they_are
        [ "$k" -eq 1 ] || run ! same_weights "out$k" "out$((k - 1))"
        jq -sc --arg level "$level" --argjson clip "[$clip]" '[.[] | select(.id)] | group_by(.step)[]
            | [.[] | [.mask, .weight, .ratio] | transpose[] | select(.[0] == 1)] as $t
            | (if $level == "token" then [$t[][2]] else [.[] | select(.mask | add > 0) | .ratio | map(numbers)[0]] end) as $r
            | {weight: ([$t[][1]] | add / length), clipped: ([$r[] | select(. < $clip[0] or . > $clip[1])] | length / ($r | length))}' \
            "all$k" >want
        jq -se --slurpfile w want '[range(2) as $i | (.[$i].is_weight - $w[$i].weight | fabs) < 1e-5 and
            (.[$i].is_clip_fraction - $w[$i].clipped | fabs) < 1e-9] | all' log
    done
    # The bounds without --is-clip, and the mode without --is-mode.
    "${learn[@]}" --is token -o default cold.toks
    cmp default/model.safetensors out1/model.safetensors
    # Weights do not depend on how the tokens are packed.
    "${learn[@]}" --is token --is-mode mask --is-clip 0.8,1.2 --micro-batch-tokens 7 -o packed cold.toks
    same_weights packed out3
}

@test "reinforce-step: the KL's estimate has the weights too" {
    "${learn[@]}" --is token --is-clip 0,1e9 --kl sft:0 --metrics log -o out cold.toks
    # Before the first update the policy is the model of the column: nothing to estimate. After it: of all tokens
    "$BIN/logprob" -q -m out/previous --as now cold.toks | records - | jq -s '[.[] | select(.step == 1) |
        [.mask, .["logp:now"], .["logp:sft"], .["logp:rollout"], .["logp:sampled"]] | transpose[] | select(.[0] == 1)
        | (.[1] - .[2]) as $d | ((-$d | exp) - 1 + $d) * (.[3] - .[4] | exp)] | add / length' >want
    jq -se --slurpfile w want '.[0].kl < 1e-9 and $w[0] > 1e-9 and (.[1].kl / $w[0] - 1 | fabs) < 0.01' log
}

@test "reinforce-step: tokens that were given have weight 1; a missing probability is an error" {
    # The first sampled token of each record as one that was given: neither knows it.
    "$BIN/toks" view cold.toks | jq -c 'if .id then (.mask | index(1)) as $i
        | .["logp:rollout"][$i] = null | .["logp:sampled"][$i] = null else . end' >given
    "${learn[@]}" --is token -o out given
    "$BIN/toks" view given | jq -c 'if .id then (.mask | index(1)) as $i
        | .["logp:rollout"][$i] = -1 | .["logp:sampled"][$i] = -1 else . end' >ones
    "${learn[@]}" --is token -o want ones
    cmp out/model.safetensors want/model.safetensors
    local id column
    id=$(records cold.toks | jq -rs '.[2].id')
    for column in logp:rollout logp:sampled; do
        "$BIN/toks" view cold.toks | jq -c --arg id "$id" --arg c "$column" 'if .id == $id then .[$c][-1] = null else . end' >missing
        leaves_nothing fails 3 "missing: record .$id.: trained token .*: $column is null" "${learn[@]}" --is sequence -o none missing
    done
}

@test "reinforce-step: a run that goes on has the weights it began with" {
    "${learn[@]}" --is token -o straight cold.toks
    "${learn[@]}" --is token --max-steps 1 -o parts cold.toks
    fails 2 '`is`' "${learn[@]}" --is sequence --resume -o parts cold.toks
    fails 2 '`is`' "${learn[@]}" --is token --is-clip 0,2 --resume -o parts cold.toks
    "${learn[@]}" --is token --resume -o parts cold.toks
    cmp straight/model.safetensors parts/model.safetensors
}
