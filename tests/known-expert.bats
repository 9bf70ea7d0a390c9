#!/usr/bin/env bats
# Tasks with a truth of their own: the known expert, sorted letters, mixtures; and the recovery.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    expert=$P/tasks/known-expert
    cd "$BATS_TEST_TMPDIR" || return
}

# ---- the world ----

@test "world: probabilities add up to 1, and V is what they say" {
    "$expert/world" --print >world.tsv
    [ "$(wc -l <world.tsv)" -eq $((4 * 16 * 12 * 12)) ]
    awk -F'\t' '
        function off(a, b) { return a - b > 1e-9 || b - a > 1e-9 }
        { V[$1, $2, $3] = $6; sum[$1, $2, $3] += $7; row[NR] = $0 }
        END {
            for (k in sum)
                if (off(sum[k], 1))
                    exit 1
            # log p = R + V of what follows - V
            for (i = 1; i <= NR; i++) {
                split(row[i], f, "\t")
                after = f[2] == 15 ? 0 : V[f[1], f[2] + 1, f[4]]
                if (off(log(f[7]), f[5] + after - f[6]))
                    exit 1
                if (f[2] > 0 && off(R[f[1], f[3], f[4]], f[5]))
                    exit 1
                R[f[1], f[3], f[4]] = f[5]
            }
        }' world.tsv
}

@test "world: rewards are a sample of N(0, 1)" {
    "$expert/world" --print --horizon 1 | awk -F'\t' '
        { n++; sum += $5; squares += $5 * $5; beyond += $5 > 1.96 || $5 < -1.96 }
        END {
            mean = sum / n
            exit !(n == 576 && mean ^ 2 < 0.01 && squares / n > 0.85 && squares / n < 1.15 \
                && beyond / n > 0.02 && beyond / n < 0.09)
        }'
}

@test "world: all completions of a small one, counted out" {
    "$expert/world" --print --seed 5 --modes 2 --symbols 3 --horizon 4 >small.tsv
    # Every sequence of 4 symbols after each first one, with its weight exp(return).
    awk -F'\t' '
        { R[$1, $3, $4] = $5; V[$1, $2, $3] = $6; P[$1, $2, $3, $4] = $7 }
        END {
            letters = "abc"
            for (m = 0; m < 2; m++)
                for (f = 1; f <= 3; f++) {
                    first = substr(letters, f, 1)
                    total = mean = 0
                    best = -1e9
                    for (code = 0; code < 81; code++) {
                        at = first; c = code; text = ""; ret = 0; p = 1
                        for (t = 0; t < 4; t++) {
                            to = substr(letters, c % 3 + 1, 1)
                            c = int(c / 3)
                            ret += R[m, at, to]
                            p *= P[m, t, at, to]
                            at = to
                            text = text to
                        }
                        weight[text] = exp(ret)
                        total += exp(ret)
                        mean += p * ret
                        given[text] = p
                        if (ret > best)
                            best = ret
                    }
                    for (text in weight)
                        if ((weight[text] / total - given[text]) ^ 2 > 1e-20)
                            exit 1
                    if ((log(total) - V[m, 0, first]) ^ 2 > 1e-18)
                        exit 2
                    means += mean / 6
                    bests += best / 6
                    soft += log(total) / 6
                }
            printf "%.6f %.6f %.6f\n", means, bests, soft - means
        }' small.tsv >counted
    "$expert/world" --about --seed 5 --modes 2 --symbols 3 --horizon 4 >about
    jq -r '[.expert, .best, .entropy] | map(tostring) | join(" ")' about >told
    awk '{ getline other <"told"; split(other, f, " ")
        for (i = 1; i <= 3; i++) if (($i - f[i]) ^ 2 > 1e-11) exit 1 }' counted
}

@test "world: the expert's demonstrations have its mean return, entropy and probabilities" {
    "$expert/generate" --n 6000 --seed 9 >demos
    "$expert/world" --summary demos >summary
    "$expert/world" --about >about
    jq -es '.[0] as $s | .[1] as $a | $s.n == 6000 and $s.legal == 1
        and ($s.return - $a.expert | fabs) < 0.3 and (-$s.expert - $a.entropy | fabs) < 0.3' summary about
    # How often each symbol follows the first one, and the last but one, against its probability:
    # at the end the future counts no more.
    "$expert/world" --print >world.tsv
    for t in 0 15; do
        jq -r --argjson t $t '(.prompt[1:2] + .completion) as $s
            | [.prompt[0:1], $s[$t:$t + 1], $s[$t + 1:$t + 2]] | @tsv' demos | awk -F'\t' -v t=$t '
            NR == FNR { if ($2 == t) p[$1, $3, $4] = $7; next }
            { n[$1, $2]++; seen[$1, $2, $3]++ }
            END {
                for (k in p) {
                    split(k, f, SUBSEP)
                    m = n[f[1], f[2]]
                    expected = m * p[k]
                    if (expected >= 5) {
                        cells++
                        chi += (seen[k] - expected) ^ 2 / expected
                    }
                }
                print cells, chi
                exit !(cells > 100 && chi > 0.75 * cells && chi < 1.25 * cells)
            }' world.tsv -
    done
}

@test "world: what it says of a completion, legal and not" {
    run -0 "$expert/world" <<'END'
{"prompt":"2c>","completion":"lgbkadbfbeleifge","more":[1]}
{"prompt":"2c>","completion":"lgb"}
{"prompt":"2c>","completion":"lgbkadbfbeleifgeaa"}
{"prompt":"2c>","completion":"lg\"bzadbfbeleifg"}
{"prompt":"2c>","completion":""}
END
    printf '%s\n' "${lines[@]}" >said
    jq -es 'map(.legal) == [1, 0, 0, 0, 0] and .[0].more == [1] and (map(.expert != null) == [true, false, false, false, false])
        and (.[0].rewards | length == 16 and all(. != null))
        and (.[0].rewards[:3] == .[1].rewards) and (.[2].rewards | length == 18 and .[16:] == [null, null])
        and (.[2].return - .[0].return | fabs) < 1e-6
        and (.[3].return - (.[0].rewards[:2] | add) | fabs) < 1e-6
        and .[4].return == 0 and .[4].rewards == []
        and ((.[0].rewards | add) - .[0].return | fabs) < 1e-6
        and ((.[0].expert_logp | add) - .[0].expert | fabs) < 1e-6' said
    # Return and log-likelihood differ by V of the prompt alone.
    v=$("$expert/world" --print | awk -F'\t' '$1 == 2 && $2 == 0 && $3 == "c" { print $6; exit }')
    jq -es --argjson v "$v" '.[0] | (.return - .expert - $v | fabs) < 1e-6' said
    # What was said before is said anew.
    [ "$(head -1 said | "$expert/world")" = "$(head -1 said)" ]
    run ! "$expert/world" <<<'{"prompt":"4c>","completion":"a"}'
    [[ $output == *'record 1'*'not a prompt'* ]]
    run ! "$expert/world" <<<'{"prompt":"2m>","completion":"a"}'
}

@test "known expert: generate and score" {
    "$expert/generate" --seed 3 --n 50 >fifty
    "$expert/generate" --seed 3 --n 20 | cmp - <(head -20 fifty)
    run ! cmp -s fifty <("$expert/generate" --seed 4 --n 50)
    run ! cmp -s <(cut -d: -f3- fifty) <("$expert/generate" --seed 3 --n 50 --held-out | cut -d: -f3-)
    run -0 "$expert/generate" --n 2
    [ "${lines[1]}" = '{"id":"demo-1-000002","prompt":"2k>","completion":"khjiajjejfedehdh"}' ]
    "$expert/score" fifty | jq -se 'length == 50 and all(.score == .return and .legal == 1)'
    jq -es '.[0].score == .[1].return' <("$expert/score" --summary fifty) <("$expert/world" --summary fifty)
    [ "$("$expert/score" --summary </dev/null | jq -c '[.n, .score]')" = '[0,null]' ]
}

# ---- sorted letters, mixtures ----

@test "sort: what is asked, and the answer is right" {
    "$P/tasks/sort/generate" --seed 3 --n 50 >fifty
    "$P/tasks/sort/generate" --seed 3 --n 20 | cmp - <(head -20 fifty)
    "$P/tasks/sort/generate" --n 3000 | "$P/tasks/sort/score" --summary | jq -e '.n == 3000 and .score == 1'
    jq -se 'all((.prompt | test("^[a-z]{8}>$")) and (.completion | test("^[a-z]{8}$")))' fifty
    for seed in 1 2; do "$P/tasks/sort/generate" --seed $seed --n 3000 | jq -r .prompt; done | sort -u >trained
    "$P/tasks/sort/generate" --held-out --n 3000 | jq -r .prompt | sort >held
    [ "$(uniq held | wc -l)" -eq 3000 ]
    [ "$(comm -12 trained held | wc -l)" -eq 0 ]
    run -0 "$P/tasks/sort/score" <<'END'
{"prompt":"hgfedcba>","completion":"abcdefgh"}
{"prompt":"hgfedcbb>","completion":"bcdefgh"}
{"prompt":"hgfedcba>","completion":"hgfedcba"}
{"prompt":"hgfedcba>","completion":""}
END
    [ "$(printf '%s\n' "${lines[@]}" | jq -sc 'map(.score)')" = '[1,0,0,0]' ]
}

@test "sort-noisy: 30 % have one other letter, the rest is as without" {
    "$P/tasks/sort/generate" --n 5000 >clean
    "$P/tasks/sort-noisy/generate" --n 5000 >noisy
    cmp <(jq -r .prompt clean) <(jq -r .prompt noisy)
    paste <(jq -r .completion clean) <(jq -r .completion noisy) | awk '
        { differ = 0; for (i = 1; i <= 8; i++) differ += substr($1, i, 1) != substr($2, i, 1)
          if (differ > 1 || length($2) != 8) exit 1
          faults += differ }
        END { exit !(faults > 1400 && faults < 1600) }'
    cmp <("$P/tasks/sort/generate" --held-out --n 100) <("$P/tasks/sort-noisy/generate" --held-out --n 100)
    # Three tasks of characters have one tokenizer.
    cmp "$P/tasks/sort/model/tokenizer.json" "$P/tasks/sort-noisy/model/tokenizer.json"
    cmp "$P/tasks/sort/model/tokenizer.json" "$P/tasks/known-expert/model/tokenizer.json"
}

@test "mixture: shares and sizes by settings; the annotators' own stay as they are" {
    printf 'include %s/recipe.mk\nall:\n\t@%s/generate --n 4000 | %s/score --summary\n' \
        "$P/tasks/mixture" "$P/tasks/mixture" "$P/tasks/mixture" >mix.mk
    printf '\t@echo $(DEMONSTRATIONS) $(SELECT_FROM) $(SELECT_TOP)\n' >>mix.mk
    run -0 make -s -f mix.mk PIPELINES="$P" SHARE=10 EPOCHS=4 UPDATES=600
    jq -e '(.worked - 0.1 | fabs) < 0.02 and (.refusal - 0.62 | fabs) < 0.03' <<<"${lines[0]}"
    [ "${lines[1]}" = '4800 4800 0.1' ]
    run -0 make -s -f mix.mk PIPELINES="$P"
    [ "${lines[1]}" = '38400 23040 1/3' ]
    cmp <("$P/tasks/mixture/generate" --n 50) <("$P/tasks/annotators/generate" --n 50)
    run -2 "$P/tasks/annotators/generate" --refuse 60 --guess 50
}

@test "each task's recipe has the settings of a comparison" {
    for task in known-expert sort sort-noisy mixture; do
        for name in DEMONSTRATIONS HELD_OUT STOP_RULE MAX_NEW_TOKENS SFT CONTINUED DPR DPR_OPTIMIZER FLOOR \
            SELECT_FROM SELECT_TOP COLD BEST_OF PRECHECK; do
            printf 'include %s/recipe.mk\nall: ; @echo $(%s)\n' "$P/tasks/$task" $name |
                make -s PIPELINES="$P" -f - all | grep -q . || { echo "$task: $name"; return 1; }
        done
        model init -q "$P/tasks/$task/model" -o "$task" --seed 1
        "$P/tasks/$task/generate" --n 20 >demos
        tok -q -m "$task" demos | tok -q -d -m "$task" | jq -c '{prompt, completion}' |
            cmp - <(jq -c '{prompt, completion}' demos)
    done
}

@test "tasks: usage" {
    for program in known-expert/{generate,world,score} sort/{generate,score}; do
        run -0 "$P/tasks/$program" --help
        [[ ${lines[0]} == Usage:* ]]
        run -2 "$P/tasks/$program" --nothing
        [ "${#lines[@]}" -eq 1 ]
    done
    run -2 "$P/tasks/known-expert/generate" --n x
    run -2 "$P/tasks/known-expert/world" --symbols 13
    run -2 "$P/tasks/sort/generate" --corrupt 101
}

# ---- figures ----

@test "correlations: by hand, with ties, and without variation" {
    correlate() { awk -f "$expert/correlate.awk"; }
    # 1 2 3 4 against 1 3 2 5: covariance 5.5/4, ranks 1 3 2 4.
    [ "$(printf '%s\n' '1 1' '2 3' '3 2' '4 5' | correlate)" = $'0.831522\t0.800000' ]
    # Ranks 1.5 1.5 3 4 against 1 2 3 4.
    [ "$(printf '%s\n' '7 -5' '7 0' '9 100' '11 101' | correlate | cut -f2)" = 0.948683 ]
    [ "$(printf '%s\n' '1 1' '1 2' | correlate)" = $'-\t-' ]
    [ "$(seq 1 500 | awk '{ print $1, -$1 * $1 * $1 }' | sort -k2 | correlate | cut -f2)" = -1.000000 ]
}

@test "intervals: mean and half the interval" {
    printf '%s\n' $'1\ta\t1\t-' $'2\ta\t3\t5' $'1\tb\t4\t-' | awk -f "$P/lib/student.awk" -f "$P/lib/intervals.awk" >out
    # Half: 12.706 times sqrt(2 / 2).
    [ "$(cat out)" = $'a\t2\t12.706\t5\t-\nb\t4\t-\t-\t-' ]
}

@test "recovery: figures are those of the streams, and the same again" {
    jq '.hidden_size = 32 | .intermediate_size = 64' "$expert/model/config.json" >config.json
    cp -r "$expert/model" shape && cp config.json shape/
    recover() {
        "$P/studies/known-expert-recovery" -o out --seeds 1 --demonstrations 400 --samples 300 --model shape --folds "$1" \
            --tsv "$2" again=out/seed-%s/sft -- -q --batch-size 32 --max-steps 80 --learning-rate 1e-2
    }
    recover 2 one >table 2>/dev/null
    grep -q '^  half, floor (cross-fitted) ' table
    awk -F'\t' '$2 == "SFT" { a = $3 $4 $5 $6 } $2 == "again" { b = $3 $4 $5 $6 } END { exit a != b || a == "" }' \
        one/policies.tsv
    # Another way: the samples again, and jq.
    tok -q -m out/seed-1/base --prompts out/seed-1/demos.jsonl | toks head -q -n 300 |
        rollout -q -m out/seed-1/sft --seed 1 --max-new-tokens 24 | logprob -q -m out/seed-1/sft --as sft |
        logprob -q -m out/seed-1/sft/half --as half >samples.toks
    paste -d' ' <(tok -q -d -m out/seed-1/base samples.toks | "$expert/world" | jq -c '[.legal, .finish, .rewards]') \
        <(toks view samples.toks | jq -c 'select(.token) | [[.["logp:sft"][] | numbers], [.["logp:half"][] | numbers]]') |
        jq -s -r 'range(0; length; 2) as $i | .[$i] as $t | .[$i + 1] as $l
            | select($t[0] == 1 and $t[1] == "stop") | range(16)
            | [$l[0][.] - (($l[1][.] | exp) + 0.03 | log), $t[2][.]] | @tsv' >pairs
    [ "$(wc -l <pairs)" -ge 320 ]
    awk -f "$expert/correlate.awk" pairs >wanted
    awk -F'\t' '$2 == "half, floor" { print $3, $4 }' one/recovery.tsv | awk '
        { getline line <"wanted"; split(line, f, "\t"); exit !(($1 - f[1]) ^ 2 + ($2 - f[2]) ^ 2 < 1e-8) }'
    # The second time nothing is trained.
    before=$(stat -c %Y out/seed-1/sft/model.safetensors out/seed-1/crossfit/fold-*/model.safetensors)
    recover 0 two >/dev/null 2>&1
    [ "$before" = "$(stat -c %Y out/seed-1/sft/model.safetensors out/seed-1/crossfit/fold-*/model.safetensors)" ]
    cmp <(grep -v cross-fitted one/recovery.tsv) two/recovery.tsv
    run -0 "$P/studies/known-expert-recovery" --help
    run -2 "$P/studies/known-expert-recovery" -o x --folds 1
    run -2 "$P/studies/known-expert-recovery" -o x nothing
    run -2 "$P/studies/known-expert-recovery" -o x --samples 3000
}
