#!/usr/bin/env bats
# The pipelines on a model of a few thousand parameters.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines
A=$P/tasks/annotators

setup_file() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    export PATH=$BIN:$PATH
    cd "$BATS_FILE_TMPDIR" || return
    cp -r "$A/model" shape
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24 | .initializer_range = 0.3' "$A/model/config.json" >shape/config.json
    model init -q shape -o base --seed 1
    "$A/generate" --n 480 --seed 1 >demos.jsonl
    "$A/generate" --n 40 --seed 1 --held-out >held-out.jsonl
    head -6 held-out.jsonl >prompts.jsonl
    "$P/sft" -m base -o sft --seed 1 --threads 1 --metrics sft.jsonl demos.jsonl \
        -- -q --batch-size 16 --learning-rate 1e-2
}

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    export PATH=$BIN:$PATH
    D=$BATS_FILE_TMPDIR
    cd "$BATS_TEST_TMPDIR" || return
}

need_gnuplot() {
    command -v gnuplot >/dev/null || skip "needs gnuplot"
}

# Sums of the reward with names of the caller's own, computed another way than the pipelines do.
rewards() { # REFERENCE STREAM
    logprob -q -m "$D/sft" --as a "$2" | logprob -q -m "$D/sft/$1" --as b | toks view |
        jq -r 'select(has("token")) | . as $r
            | [range(.token | length) | select($r.mask[.] == 1)
               | $r["logp:a"][.] - (($r["logp:b"][.] | exp) + 0.03 | log)] | add'
}

@test "--save-minutes goes to every trainer" {
    local few=(--steps 1 --batch-size 2 -n 2 --max-new-tokens 4) name bin=$PWD/bin mode
    mkdir bin
    ln -s "$(cd "$BIN" && pwd)"/* bin
    # What they are told; only the reward's model is trained.
    for name in sft-train reinforce-step pair-train reward-train; do
        rm bin/$name
        printf '#!/bin/bash\n[[ $* == *--score* ]] || echo "%s $*" >>%q\n[ %s != reward-train ] || exec %q "$@"\nexit 1\n' \
            $name "$PWD/told" $name "$(cd "$BIN" && pwd)/$name" >bin/$name
        chmod +x bin/$name
    done
    head -6 "$D/demos.jsonl" >few.jsonl
    told() { # TRAINERS PIPELINE...
        : >told
        run ! env BIN="$bin" "$P/$2" -m "$D/sft" -o out --save-minutes 7 "${@:3}" few.jsonl -- -q
        [ "$(cut -d' ' -f1 told | paste -sd' ')" = "$1" ]
        run ! grep -v -e '--save-minutes 7 ' told
        rm -rf out*
    }
    told reinforce-step dpr "${few[@]}"
    told reinforce-step dpr --mode rounds "${few[@]}"
    told pair-train irft --steps 1 --stages 2 --max-new-tokens 4
    told pair-train irft --steps 1 --online --batch-size 2 --max-new-tokens 4
    told 'reward-train reinforce-step' rft --rounds 1 "${few[@]}"
    told sft-train best-of-sft --rounds 1 --prompts 4 --max-new-tokens 4
    told reinforce-step vote --answer 'jq -c ".answer = .completion[:1]"' "${few[@]}"
    told reinforce-step mig --end , --gold completion "${few[@]}"
    told reinforce-step prefix-rft --score 'jq -c ".score = 1"' "${few[@]}"
    for mode in '' --online; do
        told reinforce-step reinforce --reward 'dense-reward -q --reward step' $mode "${few[@]}"
    done
}

@test "usage: help, and one line for what is wrong" {
    for program in sft dpr select best-of best-of-sft evaluate precheck table plot compare realdata demo; do
        run -0 "$P/$program" --help
        [[ ${lines[0]} == "Usage: $program "* ]]
        run -2 "$P/$program" --nothing
        [ "${#lines[@]}" -eq 1 ]
        [[ ${lines[0]} == "$program: "* ]]
    done
    run -2 "$P/sft" -m "$D/base" -o x
    run -2 "$P/dpr" -m "$D/sft" -o x --steps none "$D/demos.jsonl"
    run -2 "$P/dpr" -m "$D/sft" -o x --mode slow "$D/demos.jsonl"
    run -2 "$P/dpr" -m "$D/sft" -o x --quantile 2 "$D/demos.jsonl"
    run -1 "$P/dpr" -m "$D/sft" -o x --reference third "$D/demos.jsonl"
    [[ $output == *"the reference third is neither kept in"* ]]
    [[ $output == *"nor a model directory: sft keeps earlier models, and so does sft-train --keep third"* ]]
    run -1 "$P/sft" -m nowhere -o x "$D/demos.jsonl"
    run -1 "$P/sft" -m "$D/base" -o x nowhere.jsonl
    run -1 "$P/sft" -m "$D/base" -o x <(echo '{"prompt":"1","completion":"2"}')
    [[ $output == *"not a regular file"* ]]
    run -2 "$P/compare" -o x --arms best
    run -2 "$P/compare" -o x --seeds 0
    [ -z "$(ls)" ]
}

@test "sft: what the programs alone give, fractions kept, the loss falls" {
    tok -q -m "$D/base" "$D/demos.jsonl" |
        sft-train -q -m "$D/base" -o alone --keep 0.25,half,0.75 --seed 1 --threads 1 --batch-size 16 \
            --learning-rate 1e-2
    for part in . half 0.25 0.75; do
        cmp "alone/$part/model.safetensors" "$D/sft/$part/model.safetensors"
    done
    jq -es 'length == 30 and .[29].loss < 0.7 * .[0].loss' "$D/sft.jsonl"
    "$P/sft" -m "$D/base" -o measured --held-out "$D/held-out.jsonl" --metrics m.jsonl --threads 1 \
        "$D/held-out.jsonl" -- -q
    jq -es 'any(has("eval_loss"))' m.jsonl
    # A record that is too long ends it, and leaves nothing.
    run ! "$P/sft" -m "$D/base" -o short --max-length 12 "$D/demos.jsonl" -- -q
    [ ! -e short ]
    "$P/sft" -m "$D/base" -o short --max-length 12 --truncation right "$D/demos.jsonl" \
        -- -q --max-steps 1
    [ -e short/half/model.safetensors ]
}

@test "dpr: the loss of held-out demonstrations while it is reinforced, in both modes" {
    few=(-m "$D/sft" --steps 3 --batch-size 2 -n 2 --max-new-tokens 8 --learning-rate 1e-3 --threads 1 --eval "$D/held-out.jsonl")
    "$P/dpr" -o loop "${few[@]}" --eval-steps 2 --metrics loop.jsonl "$D/demos.jsonl" -- -q
    "$P/dpr" -o rounds "${few[@]}" --mode rounds --round-steps 2 --metrics rounds.jsonl "$D/demos.jsonl" -- -q
    for mode in loop rounds; do
        jq -ces 'map(select(.eval_loss).step) == [0, 2, 3]' $mode.jsonl
        for at in "first $D/sft" "last $mode"; do
            tok -q -m "$D/sft" "$D/held-out.jsonl" | logprob -q -m "${at#* }" --as m | toks view |
                jq -sc '[.[] | select(.token) | [.["logp:m"], .mask] | transpose[] | select(.[1] == 1)[0]] | -(add / length)' >want
            jq -es --slurpfile want want "(${at%% *}.eval_loss - \$want[0] | fabs) < 1e-5" $mode.jsonl
        done
    done
    run -2 "$P/dpr" -o none "${few[@]:0:12}" --eval-steps 2 "$D/demos.jsonl"
    [ "${lines[0]}" = 'dpr: --eval-steps needs --eval (see dpr --help)' ]
    run -1 "$P/dpr" -o none "${few[@]:0:12}" --eval nowhere "$D/demos.jsonl"
    [[ ${lines[0]} == *nowhere*'(the demonstrations of --eval)' ]]
    run -2 "$P/sft" -m "$D/base" -o none --eval-steps 2 "$D/demos.jsonl"
    [ "${lines[0]}" = 'sft: --eval-steps needs --held-out (see sft --help)' ]
    # Patience goes through.
    "$P/sft" -m "$D/base" -o chosen --held-out "$D/held-out.jsonl" --eval-steps 1 --keep half "$D/demos.jsonl" \
        -- -q --max-steps 2 --load-best-model-at-end
    jq -e '.training.planned == 2' chosen/densepath.json
}

@test "dpr: the online loop is, bit for bit, rounds of one update" {
    run=(-m "$D/sft" --steps 4 --batch-size 4 -n 4 --max-new-tokens 12 --learning-rate 1e-3 --threads 1
        --held-out "$D/held-out.jsonl" --stop-kl 100 --quantile 1)
    "$P/dpr" -o loop "${run[@]}" --metrics loop.jsonl --samples loop.toks "$D/demos.jsonl" -- -q
    "$P/dpr" -o rounds "${run[@]}" --mode rounds --round-steps 1 "$D/demos.jsonl" -- -q
    [ "$(jq .generation loop/densepath.json)" -eq 4 ]
    cmp loop/model.safetensors rounds/model.safetensors
    run ! cmp -s loop/model.safetensors "$D/sft/model.safetensors"
    [ "$(wc -l <loop.jsonl)" -eq 4 ]
    toks check loop.toks
    [ "$(toks view loop.toks | jq -c 'select(has("token")) | [.step, .generation]' | sort -u | paste -sd' ')" = \
        '[0,0] [1,1] [2,2] [3,3]' ]
    [ "$(toks stat -O json loop.toks | jq .records)" -eq 64 ]
    # Without a floor another reward, with a lag another order of events.
    "$P/dpr" -o paper "${run[@]}" --floor 0 "$D/demos.jsonl" -- -q
    run ! cmp -s paper/model.safetensors loop/model.safetensors
    "$P/dpr" -o late "${run[@]}" --lag 1 "$D/demos.jsonl" -- -q
    [ "$(jq .generation late/densepath.json)" -eq 4 ]
    # Whatever share of the processors each program has.
    for n in 0 3; do
        "$P/dpr" -o shared "${run[@]}" --threads $n --lag 1 --overwrite "$D/demos.jsonl" -- -q
        cmp late/model.safetensors shared/model.safetensors
    done
    # Rounds of two updates, gone on with.
    "$P/dpr" -o two "${run[@]}" --mode rounds --round-steps 2 "$D/demos.jsonl" -- -q
    "$P/dpr" -o again "${run[@]}" --mode rounds --round-steps 2 --steps 2 "$D/demos.jsonl" -- -q
    "$P/dpr" -o again "${run[@]}" --mode rounds --round-steps 2 --resume "$D/demos.jsonl" -- -q
    cmp two/model.safetensors again/model.safetensors
}

@test "dpr: programs that compute at the same time share the processors, unless somebody says otherwise" {
    mkdir bin
    printf '#!/bin/sh\necho 7\n' >bin/nproc
    for name in rollout logprob reinforce-step; do
        printf '#!/bin/sh\nprintf "%%s " "${0##*/}" "$@" >>asked\necho >>asked\nexec "%s" "$@"\n' \
            "$(command -v $name)" >bin/$name
    done
    chmod +x bin/*
    for name in densepath toks tok dense-reward model; do
        ln -s "$(command -v $name)" bin/$name
    done
    asked() { # THREADS OPTION...: of all programs
        rm -f asked
        BIN=bin "$P/dpr" -m "$D/sft" -o out --overwrite --steps 2 --batch-size 2 -n 2 --max-new-tokens 4 "${@:2}" "$D/demos.jsonl" -- -q
        [ "$(grep -c . asked)" -ge 3 ]
        [ "$(sed -E 's/.* --threads ([0-9]+) .*/\1/' asked | sort -u)" = "$1" ]
    }
    asked 4 --lag 1
    asked 0 --lag 0
    asked 0 --mode rounds
    asked 2 --lag 1 --threads 2
    DENSEPATH_THREADS=3 asked 3 --lag 1
}

@test "dpr: a trainer that fails at once ends the loop" {
    mkdir mine
    echo mine >mine/notes
    for more in '' '--samples kept.toks'; do
        # shellcheck disable=SC2086
        run -1 timeout 300 "$P/dpr" -m "$D/sft" -o mine --steps 2 --batch-size 2 -n 2 --max-new-tokens 5 \
            --threads 1 $more "$D/demos.jsonl" -- -q
        [[ $output == *"reinforce-step: mine"* ]]
    done
    [ "$(ls mine)" = notes ]
}

@test "a temperature needs a word about what to do with the samples, before they are drawn" {
    local name few=(--steps 2 --batch-size 2 -n 2 --max-new-tokens 4) command=(true)
    for name in dpr rft reinforce mig vote prefix-rft; do
        case $name in
        reinforce) command=(--reward cat) ;;
        vote) command=(--answer cat) ;;
        prefix-rft) command=(--score cat) ;;
        mig) command=(--gold answer) ;;
        *) command=() ;;
        esac
        run -2 --separate-stderr "$P/$name" -m "$D/sft" -o out --temperature 0.7 "${few[@]}" "${command[@]}" \
            "$D/demos.jsonl" -- --is-mode mask
        [[ $stderr == "$name: --temperature 0.7 "*"-- --is token"* ]]
        [ ! -e out ] && [ ! -e out.rounds ]
    done
    "$P/dpr" -m "$D/sft" -o out --temperature 0.7 --metrics log "${few[@]}" "$D/demos.jsonl" -- -q --is token
    jq -se 'length == 2 and all(.is_weight != 1 and .sampling_difference > 0)' log
    "$P/dpr" -m "$D/sft" -o other --temperature 0.7 --mode rounds "${few[@]}" "$D/demos.jsonl" -- -q --is=none
    "$P/dpr" -m "$D/sft" -o one --temperature 1.0 --mode rounds "${few[@]}" "$D/demos.jsonl" -- -q
}

@test "dpr: the stop rule's limit is the quantile of the demonstrations' reward" {
    run=(-m "$D/sft" --steps 3 --batch-size 4 -n 2 --learning-rate 1e-3 --threads 1)
    tok -q -m "$D/sft" "$D/held-out.jsonl" -o whole.toks
    # Completions count up to --max-new-tokens; the prompt has 8.
    tok -q -m "$D/sft" --max-length 15 --truncation right "$D/held-out.jsonl" -o cut.toks
    for case in 'whole 0' 'whole 0.75' 'cut 0.75'; do
        q=${case#* }
        rewards half "${case% *}.toks" | sort -g >sums
        new=40
        [[ $case == whole* ]] || new=7
        "$P/dpr" -o "q$q-$new" "${run[@]}" --max-new-tokens $new --held-out "$D/held-out.jsonl" --quantile "$q" \
            --threshold limit "$D/demos.jsonl" -- -q
        jq -ns --argjson q "$q" --slurpfile s sums --slurpfile limit limit '
            ($q * 39 | floor) as $i | ($s[$i] + ($q * 39 - $i) * ($s[$i + 1] - $s[$i]) - $limit[0]) | fabs < 1e-3' |
            grep -qx true
    done
    # What every sample passes stops it at once, and SFT is what is kept.
    printf '%s\n' '{"prompt":"347+685=","completion":"zzzzzzzzzzzzzzzzzzzzzzzzzzz"}' >nonsense.jsonl
    run+=(--max-new-tokens 12)
    "$P/dpr" -o none "${run[@]}" --held-out nonsense.jsonl "$D/demos.jsonl" -- -q
    [ "$(jq .generation none/densepath.json)" -eq 0 ]
    model diff -q none "$D/sft"
    # A running mean of three updates stops it with the third.
    "$P/dpr" -o third "${run[@]}" --stop-window 3 --held-out nonsense.jsonl "$D/demos.jsonl" -- -q
    [ "$(jq .generation third/densepath.json)" -eq 1 ]
    : >empty.jsonl
    run ! "$P/dpr" -o bad "${run[@]}" --held-out empty.jsonl "$D/demos.jsonl" -- -q
    [ ! -e bad ]
}

@test "select: the demonstrations with the highest reward, and training on them" {
    "$P/select" -m "$D/sft" --reference 0.25 --top 1/3 --select-only --stream chosen.toks "$D/demos.jsonl"
    tok -q -m "$D/sft" "$D/demos.jsonl" -o demos.toks
    paste <(rewards 0.25 demos.toks) <(jq -r .id "$D/demos.jsonl") | sort -gr | head -160 | cut -f2 | sort >best
    toks view chosen.toks | jq -r 'select(has("token")).id' | sort | cmp - best
    "$P/select" -m "$D/sft" -o better --reference 0.25 --top 100 --stream hundred.toks --seed 1 --threads 1 \
        "$D/demos.jsonl" -- -q --max-steps 3
    [ "$(toks stat -O json hundred.toks | jq .records)" -eq 100 ]
    sft-train -q -m "$D/sft" -o alone --seed 1 --threads 1 --max-steps 3 hundred.toks
    cmp better/model.safetensors alone/model.safetensors
    run -2 "$P/select" -m "$D/sft" --select-only "$D/demos.jsonl"
}

@test "best-of: of each prompt the sample with the highest reward" {
    "$P/best-of" -m "$D/sft" -n 5 --max-new-tokens 10 --seed 1 --threads 1 "$D/prompts.jsonl" >best.jsonl
    [ "$(jq -r .prompt_id best.jsonl)" = "$(jq -r .id "$D/prompts.jsonl")" ]
    tok -q -m "$D/sft" --prompts "$D/prompts.jsonl" |
        rollout -q -m "$D/sft" -n 5 --max-new-tokens 10 --seed 1 -o samples.toks
    paste <(rewards half samples.toks) <(toks view samples.toks | jq -r 'select(has("token")) | [.prompt, .id] | @tsv') |
        sort -k2,2 -k1,1gr | awk '!seen[$2]++ { print $3 }' | cmp - <(jq -r .id best.jsonl)
}

@test "best-of-sft: rounds of drawing, keeping the best and training, by hand and interrupted" {
    run=(-m "$D/sft" --rounds 2 --prompts 5 -n 3 --steps 2 --max-new-tokens 10 --seed 1 --threads 1)
    "$P/best-of-sft" -o two "${run[@]}" --samples all.toks --metrics m.jsonl "$D/prompts.jsonl" -- -q --learning-rate 1e-3
    [ ! -e two.rounds ]
    [ "$(toks stat -O json all.toks | jq .records)" -eq 30 ]
    jq -es 'map(.step) == [1, 2, 3, 4] and .[3].num_tokens > .[1].num_tokens' m.jsonl
    # Round 1 is prompts 1 to 5, round 2 the sixth and then the first four.
    tok -q -m "$D/sft" --prompts "$D/prompts.jsonl" -o p.toks
    policy=$D/sft
    for round in 1 2; do
        if [ $round = 1 ]; then toks head -q -n 5 p.toks -o slice.toks
        else toks cat -q <(toks head -q --skip 5 p.toks) <(toks head -q -n 4 p.toks) -o slice.toks; fi
        rollout -q -m "$policy" -n 3 --max-new-tokens 10 --seed $((1000 + round)) slice.toks |
            logprob -q -m "$D/sft" --as sft | logprob -q -m "$D/sft/half" --as half |
            dense-reward -q --floor 0.03 sft half -o drawn.toks
        toks select -q --by sum:reward --top 1 --per prompt drawn.toks -o best.toks
        sft-train -q -m "$policy" -o "hand$round" --learning-rate 1e-3 --seed $((1000 + round)) --threads 1 \
            --max-steps 2 best.toks
        policy=hand$round
    done
    cmp two/model.safetensors hand2/model.safetensors
    # What broke off after the first round goes on.
    run -2 "$P/best-of-sft" -o again "${run[@]}" "$D/prompts.jsonl" -- -q --learning-rate 1e-3 --nothing
    mv hand1 again.rounds/1
    cp two/config.json again.rounds/kept
    "$P/best-of-sft" -o again "${run[@]}" --resume "$D/prompts.jsonl" -- -q --learning-rate 1e-3
    cmp two/model.safetensors again/model.safetensors
    run -1 "$P/best-of-sft" -o again "${run[@]}" "$D/prompts.jsonl"
}

@test "dpr and select: several references, none, discount and credit" {
    run=(-m "$D/sft" --steps 2 --batch-size 4 -n 2 --max-new-tokens 10 --learning-rate 1e-3 --threads 1)
    "$P/dpr" -o several "${run[@]}" --reference 0.25,half --samples s.toks "$D/demos.jsonl" -- -q
    toks view s.toks | jq -es 'map(select(has("token")))
        | all(has("logp:reference") and has("logp:reference-2"))'
    dense-reward -q --floor 0.03 --baseline loo sft reference,reference-2 s.toks | toks view |
        jq -c 'select(has("token")).reward' | cmp - <(toks view s.toks | jq -c 'select(has("token")).reward')
    "$P/dpr" -o none "${run[@]}" --reference none --samples n.toks "$D/demos.jsonl" -- -q
    toks view n.toks | jq -es 'map(select(has("token"))) | all(.reward == ."logp:sft")'
    "$P/dpr" -o late "${run[@]}" --gamma 0 --baseline none --samples g.toks "$D/demos.jsonl" -- -q
    toks view g.toks | jq -es 'map(select(has("token"))) | all(.return == .reward)'
    "$P/dpr" -o late "${run[@]}" --credit last --baseline none --samples l.toks "$D/demos.jsonl" -- -q ||
        "$P/dpr" -o last "${run[@]}" --credit last --baseline none --samples l.toks "$D/demos.jsonl" -- -q
    toks view l.toks | jq -es 'map(select(has("token")))
        | all((.return | map(select(. != null and . != 0)) | length) <= 1)'
    "$P/select" -m "$D/sft" --reference none --top 10 --select-only --stream x.toks --scored all.toks "$D/demos.jsonl"
    [ "$(toks stat -O json all.toks | jq .records)" -eq 480 ]
    run -1 "$P/dpr" -o bad "${run[@]}" --reference half,nothing "$D/demos.jsonl" -- -q
}

@test "evaluate: mean score, sampled and greedy; a filter that fails" {
    "$P/evaluate" -m "$D/sft" --score 'jq -c ".score = (.completion | length)"' --max-new-tokens 10 \
        --threads 1 --completions 'of.%t' "$D/prompts.jsonl" >scores
    [ "$(cut -f1,2 scores | paste -sd' ')" = $'1\t6 0\t6' ]
    for t in 1 0; do
        jq -s 'map(.completion | length) | add / length * 1e6 | round' of.$t |
            cmp - <(awk -v t=$t '$1 == t { printf "%.0f\n", $3 * 1e6 }' scores)
    done
    tok -q -m "$D/sft" --prompts "$D/prompts.jsonl" |
        rollout -q -m "$D/sft" --temperature 0 --max-new-tokens 10 | tok -q -d -m "$D/sft" |
        jq -r .completion | cmp - <(jq -r .completion of.0)
    run ! cmp -s <(jq -r .completion of.1) <(jq -r .completion of.0)
    run ! "$P/evaluate" -m "$D/sft" --score 'cat; false' --max-new-tokens 4 "$D/prompts.jsonl"
    run ! "$P/evaluate" -m "$D/sft" --score 'true' --max-new-tokens 4 "$D/prompts.jsonl"
}

@test "precheck: the reweighted score, rising and falling" {
    score='jq -c ".score = (.completion | length)"'
    "$P/precheck" -m "$D/sft" --score "$score" -n 6 --points 0,0.5,1 --max-new-tokens 10 --tsv curve \
        --seed 1 --threads 1 "$D/prompts.jsonl" >told
    tok -q -m "$D/sft" --prompts "$D/prompts.jsonl" |
        rollout -q -m "$D/sft" -n 6 --max-new-tokens 10 --seed 1 -o samples.toks
    paste <(rewards half samples.toks) <(tok -q -d -m "$D/sft" samples.toks |
        jq -r '[(.completion | length), .prompt_id] | @tsv') |
        jq -nR '[inputs | split("\t") | {r: (.[0] | tonumber), s: (.[1] | tonumber), p: .[2]}] | group_by(.p)
            | . as $g | (0, 0.5, 1) as $h
            | [$g[] | (map($h * .r | exp) | add) as $z | map(($h * .r | exp) * .s) | add / $z] | add / length' >expected
    cut -f3 curve | paste - expected | awk '{ if (($1 - $2) ^ 2 > 1e-6) exit 1 } END { if (NR != 3) exit 1 }'
    # Without a reference the reward is log p of SFT.
    "$P/precheck" -m "$D/sft" --score "$score" --reference none -n 6 --points 0,0.5 --max-new-tokens 10 \
        --tsv alone --seed 1 --threads 1 "$D/prompts.jsonl" >/dev/null
    logprob -q -m "$D/sft" --as sft samples.toks | toks view |
        jq -r 'select(has("token")) | [.["logp:sft"][] | numbers] | add' |
        paste - <(tok -q -d -m "$D/sft" samples.toks | jq -r '[(.completion | length), .prompt_id] | @tsv') |
        jq -nR '[inputs | split("\t") | {r: (.[0] | tonumber), s: (.[1] | tonumber), p: .[2]}] | group_by(.p)
            | [.[] | (map(.5 * .r | exp) | add) as $z | map((.5 * .r | exp) * .s) | add / $z] | add / length' |
        paste - <(sed -n 2p alone) | awk '{ if ($2 != "none" || ($1 - $4) ^ 2 > 1e-6) exit 1 }'
    # The opposite score turns the curve round.
    "$P/precheck" -m "$D/sft" --score 'jq -c ".score = -(.completion | length)"' -n 6 --points 0,0.5,1 \
        --max-new-tokens 10 --threads 1 "$D/prompts.jsonl" >opposite
    awk 'NR == 1 { first = $3 } { last = $3 } END { print (last > first) ? "rising" : "falling" }' curve >way
    grep -q "^$(cat way)" told
    grep -Eq '^(rising|falling|neither)' opposite
    run ! grep -q "^$(cat way)" opposite
}

@test "plot: pictures and text" {
    need_gnuplot
    "$P/plot" curves -o curves --smooth 3 --title "it's" --level limit=2 "seed=$D/sft.jsonl"
    grep -q "it's" curves.svg
    [ "$(head -c 4 curves.png | tail -c 3)" = PNG ]
    run -0 "$P/plot" curves --text "seed=$D/sft.jsonl"
    [[ $output == *"update"* && $output == *"***"* ]]
    [ "$(LC_ALL=C.UTF-8 wc -L <<<"$output")" -le 79 ]
    # A name has the colour of its place in the list, and one place in the legend.
    "$P/plot" curves -o second --colour one --colour seed --level limit=2 --level limit=3 "seed=$D/sft.jsonl"
    [ "$(grep -c '>limit<\|>limit$\|limit</' second.svg)" -eq 1 ]
    [ "$(grep -c "<path stroke='rgb(217, 115,  13)'" second.svg)" -eq 1 ]
    [ "$(grep -c "<path stroke='rgb( 47, 143,  78)' stroke-dasharray" second.svg)" -eq 2 ]
    run ! grep -q "<path stroke='rgb( 31" second.svg
    grep -q "<path stroke='rgb( 31,  95, 168)'" curves.svg
    run -1 "$P/plot" curves --text --y nothing "seed=$D/sft.jsonl"
    tok -q -m "$D/sft" "$A/examples.jsonl" | logprob -q -m "$D/sft" --as sft |
        logprob -q -m "$D/sft/half" --as reference | dense-reward -q --floor 0 --baseline none sft reference -o three.toks
    run -0 --separate-stderr "$P/plot" reward -m "$D/sft" -o reward --text three.toks
    [[ $output == *"3 4 7 +  6 8 5 ="* ]]
    [ -z "$stderr" ]
    [ -s reward.svg ]
    "$P/plot" gap -o gap all=three.toks
    [ -s gap.png ]
    run -1 "$P/plot" gap --text --columns sft,nothing all=three.toks
    run -2 "$P/plot" bars --text x=y
    run -2 "$P/plot" curves --text file.jsonl
}

@test "realdata: absent input is an error, known forms of data are trained on" {
    run -1 "$P/realdata" -o out nowhere "$D/demos.jsonl"
    [ "$output" = "realdata: nowhere: not a model directory (the model): No such file or directory" ]
    run -1 "$P/realdata" -o out "$D/base" nosuch.jsonl
    [ "$output" = "realdata: nosuch.jsonl: No such file or directory (the data set)" ]
    run -2 "$P/realdata" -o out --max-length 40 --max-new-tokens 40 "$D/base" "$D/demos.jsonl"
    [ ! -e out ]
    small=(--max-length 30 --max-new-tokens 8 --steps 2 --threads 1)
    run -0 "$P/realdata" -o out "${small[@]}" "$D/base" "$D/demos.jsonl"
    [[ $output == "432 records to train on, 48 held out"* ]]
    [ "$(cut -f1 out/results.tsv | paste -sd,)" = "base,SFT, half,SFT,DPR, $(jq .generation out/dpr/densepath.json) updates" ]
    awk -F'\t' '$1 == "base" { b = $3 } $1 == "SFT" { s = $3 } END { exit !(s < b) }' out/results.tsv
    jq -sc 'map({instruction: .prompt, input: "", output: .completion})' "$D/demos.jsonl" >array.json
    jq -c '{question: .prompt, answer: .completion}' "$D/demos.jsonl" >questions.jsonl
    jq -c '{instruction: .prompt, instances: [{input: "1", output: .completion}]}' "$D/demos.jsonl" >instances.jsonl
    for data in array.json questions.jsonl instances.jsonl; do
        run -0 "$P/realdata" -o out "${small[@]}" --records 40 --steps 1 "$D/base" $data
        [[ $output == "36 records to train on, 4 held out"* ]]
    done
    # Chats; and no record has more tokens than the model has positions.
    cp -r "$D/base" chatty
    echo '{% for m in messages %}{{ m.content }}{% if m.role == "assistant" %}{{ eos_token }}{% endif %}{% endfor %}' >chatty/chat_template.jinja
    jq '.max_position_embeddings = 29' "$D/base/config.json" >chatty/config.json
    jq -c '{messages: [{role: "user", content: .prompt}, {role: "assistant", content: .completion}]}' "$D/demos.jsonl" >chats.jsonl
    run -0 "$P/realdata" -o out "${small[@]}" --records 40 --steps 1 chatty chats.jsonl
    [[ $output == *"realdata: chatty has 29 positions: records are cut there, not at 30 tokens"*"36 records to train on, 4 held out"* ]]
    toks view out/train.toks | jq -se 'map(.token // [] | length) | max == 29'
    echo '{"x":1}' >unknown.jsonl
    run -1 "$P/realdata" -o out "${small[@]}" "$D/base" unknown.jsonl
}

# ---- options of tok ----

# Pipelines that call tok on texts of their own making, or to decode: nothing is to be said of records.
of_their_own='demo|multiple-choice|perplexity|plot'

@test "each pipeline that reads records as tok does gives tok the options for it" {
    local name tok bin=$PWD/bin operands
    mkdir bin
    tok=$(cd "$BIN" && pwd)
    ln -s "$tok"/* bin
    rm bin/tok
    # What it is told, one word a line; then it has failed.
    printf '#!/bin/bash\nprintf "%%s\\n" "$@" >>%q\nexit 1\n' "$PWD/told" >bin/tok
    chmod +x bin/tok
    head -12 "$D/demos.jsonl" >few.jsonl
    echo '{"question_id":1,"turns":["a"]}' >questions.jsonl
    echo '{"step":1,"loss":1}' >few-metrics.jsonl
    echo '{{ messages }}' >'my template.jinja'
    all=(--format=prompt-completion '--fields=prompt=my question' --roles=user=Q --instruction-prompt=chat --join-parts --on-bad-record=drop
        --on-left-out=error '--chat-template=my template.jinja' --now=2025-01-31T10:00:00 --train-on=all --turns=each --boundary=separate
        --special-tokens=no --duplicate-bos-eos=keep --sample-by=document --max-length=50 --truncation=left --on-untrained=drop)
    for name in $(cd "$P" && find . -maxdepth 1 -type f -printf '%f\0' | xargs -0 grep -lE '\bas_stream\b|\btok "' | sort); do
        [[ ! $name =~ ^($of_their_own)$ ]] || continue
        options=("${all[@]}") operands=(-m "$D/sft" -o "out-$name" few.jsonl)
        case $name in
        best-of | evaluate | precheck | picture) operands=(-m "$D/sft" few.jsonl) ;;
        crossfit) operands=(-m "$D/base" -o "out-$name" few.jsonl) ;;
        mig) operands+=(--gold completion --end ',') ;;
        reinforce) operands+=(--reward 'novelty') ;;
        report) operands=(-m "$D/sft" --answers few.jsonl few-metrics.jsonl) ;;
        win-rate) operands=(--prompts few.jsonl --judge cat "$D/sft" "$D/base") ;;
        export)
            operands=(mt-bench -m "$D/sft" questions.jsonl)
            options=(--on-left-out=error '--chat-template=my template.jinja' --now=2025-01-31T10:00:00 --special-tokens=no)
            ;;
        realdata)
            operands=(-o "out-$name" "$D/base" few.jsonl)
            options=(--roles=user=Q --join-parts --on-left-out=error '--chat-template=my template.jinja' --now=2025-01-31T10:00:00 --train-on=all)
            ;;
        esac
        case $name in evaluate | precheck | mig | prefix-rft) operands+=(--score cat) ;; vote) operands+=(--answer cat) ;; esac
        : >told
        run ! env BIN="$bin" "$P/$name" "${options[@]}" "${operands[@]}"
        printf '%s\n' "${options[@]}" | sort >given
        grep -xF -f given told | sort -u | diff given - || {
            echo "$name: $output"
            return 1
        }
    done
}

@test "the options of records are tok's, in name, argument and choices, and all of them" {
    "$P/sft" --list-options | cut -f1,3 | sort >ours
    tok --list-options | cut -f1,3 | sort >theirs
    # Those that say what tok writes are the pipelines' own business.
    grep -vE '^(model|prompts|samples|add-generation-prompt|continue-final-message|offsets|keep-columns|decode|skip-special-tokens|pieces|show|render|output|threads|seed|config|quiet|verbose)\b' theirs >wanted
    [ "$(wc -l <wanted)" -eq 18 ]
    comm -12 ours theirs | grep -vE '^(model|threads|seed|config|quiet|verbose|output)\b' | diff wanted -
}

@test "options of records: what they do, and where they have nothing to do" {
    jq -c '{question: .prompt, answer: .completion}' "$D/demos.jsonl" | head -8 >renamed.jsonl
    head -8 "$D/demos.jsonl" >same.jsonl
    few=(-q --max-steps 1 --batch-size 4)
    "$P/sft" -m "$D/base" -o a --keep half --fields prompt=question,completion=answer renamed.jsonl -- "${few[@]}"
    "$P/sft" -m "$D/base" -o b --keep half same.jsonl -- "${few[@]}"
    cmp a/model.safetensors b/model.safetensors
    echo 'fields = prompt=question,completion=answer' >config
    "$P/select" -m a --select-only --stream s.toks --top 3 --config config renamed.jsonl
    [ "$(toks view s.toks | jq -c 'select(.token)' | wc -l)" -eq 3 ]
    # Records that are compressed are records.
    zstd -q same.jsonl
    gzip -k same.jsonl
    for packed in same.jsonl.zst same.jsonl.gz; do
        rm -rf b
        "$P/sft" -m "$D/base" -o b --keep half --format prompt-completion "$packed" -- "${few[@]}"
        cmp a/model.safetensors b/model.safetensors
    done
    tok -q -m "$D/base" same.jsonl -o same.toks
    mv same.toks same.stream
    "$P/sft" -m "$D/base" -o c --keep half same.stream -- "${few[@]}"
    cmp a/model.safetensors c/model.safetensors
    rm -r c
    mv same.stream same.toks
    run -2 --separate-stderr "$P/sft" -m "$D/base" -o c --now 2025-01-31T10:00:00 same.toks
    [ "$stderr" = "sft: --now is for records, and what is read is a token stream already (see sft --help)" ]
    [ ! -e c ]
    run -2 "$P/sft" -m "$D/base" -o c --train-on none same.jsonl
    [[ $output == "sft: --train-on: 'none' is not one of default|completion|all|assistant"* ]]
}
