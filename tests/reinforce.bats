#!/usr/bin/env bats
# pipelines/reinforce: any filter as the reward; what irft and rft keep.
bats_require_minimum_version 1.5.0
load helpers

setup_file() {
    BIN=$(cd "${BIN:-$BATS_TEST_DIRNAME/../bin}" && pwd)
    export BIN P=$BATS_TEST_DIRNAME/../pipelines D=$BATS_FILE_TMPDIR
    "$P/tasks/annotators/generate" --n 24 --seed 1 >"$D/demos.jsonl"
    "$BIN/model" init "$P/tasks/annotators/model" -o "$D/base" --seed 1
    "$BIN/tok" -q -m "$D/base" "$D/demos.jsonl" |
        "$BIN/sft-train" -q -m "$D/base" -o "$D/sft" --keep half --learning-rate 3e-3
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    PATH=$BIN:$PATH
    run=(--steps 3 --batch-size 4 --max-new-tokens 8 --learning-rate 1e-3 --threads 1)
}

@test "reinforce: dpr is one of its rewards, online and in rounds" {
    "$P/dpr" -m "$D/sft" -o dpr -n 2 "${run[@]}" --samples dpr.toks "$D/demos.jsonl" -- -q
    reward="logprob -q -m $D/sft --as sft | logprob -q -m $D/sft/half --as half |
        dense-reward -q --floor 0.03 --baseline loo sft half"
    "$P/reinforce" -m "$D/sft" -o rounds -n 2 "${run[@]}" --reward "$reward" --samples rounds.toks "$D/demos.jsonl"
    "$P/reinforce" -m "$D/sft" -o line -n 2 "${run[@]}" --reward "$reward" --online --samples line.toks \
        --metrics line.jsonl "$D/demos.jsonl"
    cmp rounds/model.safetensors dpr/model.safetensors
    cmp line/model.safetensors dpr/model.safetensors
    [ "$(jq -s length line.jsonl)" -eq 3 ]
    for name in dpr rounds line; do
        toks view $name.toks | jq -c 'select(has("token")) | [.id, .token, .step, .advantage]' >$name.records
    done
    [ "$(wc -l <dpr.records)" -eq 24 ]
    cmp rounds.records dpr.records
    cmp line.records dpr.records
    # Going on gives the same; beginning anew forgets the rounds that were there.
    "$P/reinforce" -m "$D/sft" -o again -n 2 "${run[@]}" --steps 2 --reward "$reward" "$D/demos.jsonl"
    "$P/reinforce" -m "$D/sft" -o again -n 2 "${run[@]}" --resume --reward "$reward" "$D/demos.jsonl"
    cmp again/model.safetensors dpr/model.safetensors
    run -1 "$P/reinforce" -m "$D/sft" -o again "${run[@]}" --reward "$reward" "$D/demos.jsonl"
    [ -e again.rounds/3.toks ]
    rm -r again
    "$P/reinforce" -m "$D/sft" -o again --overwrite -n 2 "${run[@]}" --steps 1 --reward "$reward" --samples one.toks "$D/demos.jsonl"
    [ "$(toks stat -O json one.toks | jq .records)" -eq 8 ]
}

@test "reinforce: a filter that fails ends it; refusals" {
    run -1 timeout 600 "$P/reinforce" -m "$D/sft" -o x "${run[@]}" --reward 'cat >/dev/null; false' "$D/demos.jsonl"
    run ! timeout 600 "$P/reinforce" -m "$D/sft" -o y --online "${run[@]}" --reward 'exit 1' "$D/demos.jsonl"
    [ "$status" -ne 124 ]
    # A stream without advantages is of the wrong kind.
    run -3 timeout 600 "$P/reinforce" -m "$D/sft" -o z --online "${run[@]}" --reward 'toks cat -q' "$D/demos.jsonl"
    run -0 "$P/reinforce" --help
    run -2 "$P/reinforce" --nonsense
    run -2 "$P/reinforce" -m "$D/sft" -o x "$D/demos.jsonl"
    run -2 "$P/reinforce" -m "$D/sft" -o x --reward cat
    run -2 "$P/reinforce" -m "$D/sft" -o x --reward cat --online --round-steps 2 "$D/demos.jsonl"
    run -2 "$P/reinforce" -m "$D/sft" -o x --reward cat --samples s --resume "$D/demos.jsonl"
    run -1 "$P/reinforce" -m nowhere -o x --reward cat "$D/demos.jsonl"
}

@test "irft: samples of all stages, tokens over all stages" {
    run=(--batch-size 4 --steps 2 --max-new-tokens 8 --learning-rate 1e-4 --threads 1)
    "$P/irft" -m "$D/sft" -o two --stages 2 "${run[@]}" --samples two.toks --metrics two.jsonl "$D/demos.jsonl" -- -q
    toks view two.toks | jq -se '.[1:] | length == 24 and all(has("role") | not)'
    # Twelve pairs per stage, eight of which two updates of four see.
    jq -se '[.[].num_tokens] | . == sort and .[2] > .[1] and .[3] > 3 * .[0]' two.jsonl
    "$P/irft" -m "$D/sft" -o line --online "${run[@]}" --samples line.toks "$D/demos.jsonl" -- -q
    "$P/irft" -m "$D/sft" -o bare --online "${run[@]}" "$D/demos.jsonl" -- -q
    cmp line/model.safetensors bare/model.safetensors
    toks view line.toks | jq -se '.[1:] | map(.step) == [0, 0, 0, 0, 1, 1, 1, 1]'
    run -2 "$P/irft" -m "$D/sft" -o z --online --resume "${run[@]}" --samples z.toks "$D/demos.jsonl"
}

@test "rft: the score at the end, shared out as the reward model attends, and evenly" {
    run=(--rounds 1 --steps 1 --batch-size 4 -n 2 --max-new-tokens 8 --learning-rate 1e-4 --kl 0 --baseline none --threads 1)
    for credit in end attention uniform; do
        "$P/rft" -m "$D/sft" -o $credit "${run[@]}" --credit $credit --beta 0.5 --reward-learning-rate 1e-3 \
            --samples $credit.toks --metrics $credit.jsonl "$D/demos.jsonl"
        toks view $credit.toks | jq -c 'select(has("token")) | . as $r
            | [range(.token | length) | select($r.mask[.] == 1)] as $t
            | {id, score, returns: [$r.return[$t[]]], shares: [($r.attention // [])[$t[]]]}' >$credit.shares
    done
    # All of it from the first token on; what is left at each token is by the shares.
    jq -se 'length == 8 and all(.score as $s | all(.returns[]; (. - $s | fabs) < 1e-6))' end.shares
    jq -se 'length == 8 and all(.score as $s | (.returns | length) as $n | .returns | to_entries
        | all((.value - $s * (0.5 + 0.5 * (1 - .key / $n)) | fabs) < 1e-6))' uniform.shares
    jq -se 'length == 8 and all(.score as $s | .shares as $a | .returns | to_entries
        | all(.key as $k | (.value - $s * (0.5 + 0.5 * ($a[$k:] | add)) | fabs) < 1e-5))' attention.shares
    jq -se 'any(.score != 0)' end.shares
    run -2 "$P/rft" -m "$D/sft" -o x "${run[@]}" --dense --credit uniform "$D/demos.jsonl"
    run -2 "$P/rft" -m "$D/sft" -o x "${run[@]}" --credit other "$D/demos.jsonl"
}
