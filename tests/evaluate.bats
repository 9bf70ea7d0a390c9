#!/usr/bin/env bats
# Evaluation: what the pipelines print is what their definitions say, on models of a few thousand
# parameters.
# shellcheck disable=SC2016
bats_require_minimum_version 1.5.0
load helpers

P=$BATS_TEST_DIRNAME/../pipelines
A=$P/tasks/annotators

setup_file() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    export PATH=$BIN:$PATH
    cd "$BATS_FILE_TMPDIR" || return
    model init -q "$A/model" -o base --seed 1
    # Weights far from uniform.
    jq '.initializer_range = 0.3' base/config.json >config && mkdir shape && cp base/* shape && mv config shape/config.json
    model init -q shape -o a --seed 2
    model init -q shape -o b --seed 3
    "$A/generate" --n 6 --seed 1 >demos.jsonl
    tok -q -m a demos.jsonl -o demos.toks
    tok -q -m a --prompts demos.jsonl -o prompts.toks
    for m in a b; do
        rollout -q -m $m -n 2 --max-new-tokens 9 --seed 4 prompts.toks |
            logprob -q -m a --as x | logprob -q -m b --as y | dense-reward -q x y -o of-$m.toks
    done
    {
        toks view demos.toks | jq -c 'select(has("token")) | .pair = .id | .role = "chosen" | .id += "+"'
        toks view of-b.toks | jq -c 'select(has("token") and .sample == 0)
            | {id, token, mask, pair: .prompt, role: "rejected"}'
    } >twin.jsonl
    toks view -b -o pairs.toks twin.jsonl
}

setup() {
    export BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
    export PATH=$BIN:$PATH
    D=$BATS_FILE_TMPDIR
    cd "$BATS_TEST_TMPDIR" || return
}

near() { # A B [TOLERANCE]
    awk -v a="$1" -v b="$2" -v t="${3-1e-4}" 'BEGIN { exit !(a - b <= t && b - a <= t && a != "" && b != "") }' ||
        { echo "$1 is not $2"; return 1; }
}

# Sum of the log-probabilities of TEXT's tokens after those of CONTEXT, both tokenized alone: in the
# models here a character is a token.
sum_after() { # MODEL CONTEXT TEXT
    jq -nc --arg c "$2" --arg t "$3" '{prompt: $c, completion: $t}' |
        tok -q -m "$1" --special-tokens no - | logprob -q -m "$1" --as m | toks view |
        jq 'select(has("token")) | [.["logp:m"][] | numbers] | .[:-1] | add'
}

@test "usage: help, and one line for what is wrong" {
    for program in win-rate reward-accuracy gap multiple-choice perplexity diversity export picture rewards/number; do
        run -0 "$P/$program" --help
        [[ ${lines[0]} == "Usage: $program "* ]]
        run -2 "$P/$program" --nothing
        [ "${#lines[@]}" -eq 1 ]
        [[ ${lines[0]} == "${program##*/}: "* ]]
    done
    run -2 "$P/win-rate" --judge x --sft "$D/a" x y
    run -2 "$P/reward-accuracy" --by sum:a:b:c x
    run -2 "$P/perplexity" -m "$D/a" --context 9 --max-length 8 "$D/demos.jsonl"
    run -2 "$P/export" mt-bench -m "$D/a" --plain "$D/demos.jsonl"
    run -1 "$P/gap" "$D/pairs.toks" X=nowhere
    [[ $output == *"not a model directory"* ]]
}

@test "rewards/number: the last number, or the one after ####" {
    while IFS=$'\t' read -r completion answer found score; do
        run -0 "$P/rewards/number" < <(jq -nc --arg completion "$completion" --arg answer "$answer" '{completion: ("" + $completion), answer: $answer}')
        [ "$(jq -c '[.found, .score]' <<<"$output")" = "[$found,$score]" ]
    done <<'END'
16 - 3 is 13, so #### 18	x #### 18	"18"	1
the answer is $1,800.00.	#### 1800	"1800"	1
#### 18 and 20	18	"18"	1
3-18	18	"18"	1
it is -18	18	"-18"	0
-0.0	0	"0"	1
.50	0.5	"0.5"	1
none	7	null	0
END
    run -0 "$P/rewards/number" --gold g <<<'{"completion":"","g":7}'
    [ "$(jq .score <<<"$output")" = 0 ]
    run ! "$P/rewards/number" <<<'{"completion":"7","answer":"seven"}'
    run ! "$P/rewards/number" <<<'{"completion":"7"}'
}

@test "evaluate: a number's score as JSON" {
    jq -c '{id, prompt, answer: "2 x"}' "$D/demos.jsonl" >sums.jsonl
    "$P/evaluate" -m "$D/a" --score "$P/rewards/number" --keep-columns answer --json --seed 5 --temperature 1 \
        --max-new-tokens 9 --completions of.%t sums.jsonl >result
    jq -es --argjson m "$(jq -s 'map(.score) | add / length' of.1)" \
        '.[0] | .prompts == 6 and .seed == 5 and .score == $m' result
}

@test "multiple-choice: sums, lengths, the first of equals" {
    cat >q.jsonl <<'END'
{"query":"12+30=","choices":["42","no, é"],"gold":0}
{"question":"1+1= ","choices":["2","11","2"],"answer":"0"}
{"context":"","choices":["a bc","d"],"label":"d"}
{"question":"?","choices":["ééé","vvvv"],"gold":0}
END
    "$P/multiple-choice" -m "$D/a" --samples s.jsonl --json q.jsonl >result
    near "$(jq -s '.[0].sums[0]' s.jsonl)" "$(sum_after "$D/a" '12+30=' ' 42')"
    # White space at the question's end is scored with the choice.
    near "$(jq -s '.[1].sums[1]' s.jsonl)" "$(sum_after "$D/a" '1+1=' '  11')"
    # No question: the beginning token stands there.
    near "$(jq -s '.[2].sums[1]' s.jsonl)" "$(sum_after "$D/a" '<s>' ' d')"
    [ "$(jq -c '[.characters, .bytes]' s.jsonl | head -1)" = '[[2,5],[2,6]]' ]
    # Which is right, counted another way; of the two equal choices the first is the gold one's.
    jq -es --slurpfile s s.jsonl '.[0] as $r
        | def top(f): [.sums, f] | transpose | map(.[0] / .[1]) | index(max);
        [$s[] | if top(.sums | map(1)) == .gold then 1 else 0 end] as $acc
        | [$s[] | if top(.characters) == .gold then 1 else 0 end] as $norm
        | [$s[] | if top(.bytes) == .gold then 1 else 0 end] as $bytes
        | $s[1].gold == 0 and $r.acc == ($acc | add / 4) and $r.acc_norm == ($norm | add / 4)
          and $r.acc_bytes == ($bytes | add / 4) and $s[3].acc_norm != $s[3].acc_bytes
          and (($r.acc_stderr - ($r.acc * (1 - $r.acc) / 3 | sqrt)) | fabs < 1e-9)' result
    run -0 "$P/multiple-choice" -m "$D/a" q.jsonl
    [ "$(cut -f1,2 <<<"$output" | paste -sd' ')" = $'acc\t4 acc_norm\t4 acc_bytes\t4' ]
    # Too long a question loses its beginning.
    "$P/multiple-choice" -m "$D/a" --max-length 6 --samples cut.jsonl q.jsonl
    near "$(jq -s '.[0].sums[0]' cut.jsonl)" "$(sum_after "$D/a" '+30=' ' 42')"
    run -1 "$P/multiple-choice" -m "$D/a" --max-length 5 q.jsonl
}

@test "multiple-choice: the forms of known data sets" {
    cat >q.jsonl <<'END'
{"question":"what?","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"B"}
{"activity_label":"run","ctx_a":"he","ctx_b":"runs Far","endings":["up [x] now","down"],"label":"1"}
{"goal":"open","sol1":"push","sol2":"pull","label":0}
END
    i=0
    for form in arc hellaswag piqa; do
        i=$((i + 1))
        sed -n ${i}p q.jsonl | jq -sc . >one.json
        "$P/multiple-choice" -m "$D/a" --samples $form.jsonl one.json >auto
        "$P/multiple-choice" -m "$D/a" --format $form one.json | cmp - auto
    done
    [ "$(jq -sc 'map(.gold)' arc.jsonl hellaswag.jsonl piqa.jsonl)" = '[1,1,0]' ]
    near "$(jq '.sums[0]' arc.jsonl)" "$(sum_after "$D/a" $'Question: what?\nAnswer:' ' x')"
    near "$(jq '.sums[0]' hellaswag.jsonl)" "$(sum_after "$D/a" 'run: he Runs far' ' up now')"
    near "$(jq '.sums[1]' piqa.jsonl)" "$(sum_after "$D/a" $'Question: open\nAnswer:' ' pull')"
    for bad in '{"a":1}' '{"query":"x","choices":["1"],"gold":0}' '{"query":"x","choices":["1","2"],"gold":2}' \
        '{"query":"x","choices":["1",""],"gold":0}' 'x'; do
        echo "$bad" >bad.jsonl
        run -1 "$P/multiple-choice" -m "$D/a" bad.jsonl
        [ "${#lines[@]}" -eq 1 ]
        [[ $output == "multiple-choice: bad.jsonl: "* ]]
    done
}

@test "perplexity: windows, words, bytes" {
    printf ' é 12+30=42;\n\nab  c' >t.txt
    "$P/perplexity" -m "$D/a" --json t.txt >whole
    s=$(sum_after "$D/a" '<s>' "$(cat t.txt)")
    near "$(jq .log_probability whole)" "$s"
    # Harness: pieces of re.split(r"\s+"): '', 'é', '12+30=42;', 'ab', 'c'.
    [ "$(jq -c '[.documents, .tokens, .words, .bytes]' whole)" = '[1,19,5,20]' ]
    near "$(jq .word_perplexity whole)" "$(awk -v s="$s" 'BEGIN { printf "%.9g", exp(-s / 5) }')" "$(jq '.word_perplexity * 1e-5' whole)"
    near "$(jq .bits_per_byte whole)" "$(awk -v s="$s" 'BEGIN { print -s / 20 / log(2) }')"
    near "$(jq .token_perplexity whole)" "$(awk -v s="$s" 'BEGIN { printf "%.9g", exp(-s / 19) }')" "$(jq '.token_perplexity * 1e-5' whole)"
    # What is no text.
    run -1 "$P/perplexity" -m "$D/a" "$D/of-a.toks"
    [[ $output == "perplexity: $D/of-a.toks: a token stream: "*logprob* ]]
    printf 'a\0b' >binary.txt
    run -1 "$P/perplexity" -m "$D/a" binary.txt
    [ "$output" = 'perplexity: binary.txt: not a text' ]
    # Windows of 5, one token seen before; the last one predicts 2 and sees 4.
    printf '123456789012' >n.txt
    "$P/perplexity" -m "$D/a" --max-length 5 --json n.txt >windows
    near "$(jq .log_probability windows)" "$({ sum_after "$D/a" '<s>' 12345; sum_after "$D/a" 5 67890; sum_after "$D/a" 7890 12; } | awk '{ s += $1 } END { printf "%.9g", s }')"
    # Three seen before: each further window predicts 3.
    "$P/perplexity" -m "$D/a" --max-length 5 --context 3 --json n.txt >windows
    near "$(jq .log_probability windows)" "$({ sum_after "$D/a" '<s>' 12345; sum_after "$D/a" 345 678; sum_after "$D/a" 678 901; sum_after "$D/a" 78901 2; } | awk '{ s += $1 } END { printf "%.9g", s }')"
    # Records and lines are documents.
    printf '12\n\n345\n' >l.txt
    printf '%s\n' '{"text":"12"}' '{"text":""}' '{"text":"345"}' >l.jsonl
    "$P/perplexity" -m "$D/a" --lines --documents d.jsonl l.txt >lines
    "$P/perplexity" -m "$D/a" l.jsonl | cmp - lines
    [ "$(jq -c '[.id, .tokens]' d.jsonl | paste -sd' ')" = '["1",2] ["2",3]' ]
    run -1 "$P/perplexity" -m "$D/a" --field other l.jsonl
    : >empty.txt
    run -1 "$P/perplexity" -m "$D/a" empty.txt
}

@test "diversity: counted by hand, and self-BLEU of known value" {
    cat >c.jsonl <<'END'
{"prompt":"p","completion":"the cat sat on the mat"}
{"prompt":"p","completion":"the cat sat on a mat today"}
{"prompt":"q","completion":"a  dog\nran"}
END
    "$P/diversity" --json c.jsonl >d
    # 16 words, 9 kinds; 13 pairs, 10 kinds; 10 triples, 8 kinds.
    jq -e '(.["distinct-1"].all - 9 / 16 | fabs < 1e-5) and (.["distinct-2"].all - 10 / 13 | fabs < 1e-5)
        and (.["distinct-3"].all - 8 / 10 | fabs < 1e-5) and .completions == 3 and .prompts == 2 and .units == 16
        and (.["distinct-1"].prompt - 7 / 13 | fabs < 1e-5)
        and .["length-p50"] == 6' d
    # BLEU of the first against the second is exp((ln 5/6 + ln 3/5 + ln 2/4 + ln 1/3) / 4 + 1 - 7/6),
    # of the second against the first exp((ln 5/7 + ln 3/6 + ln 2/5 + ln 1/4) / 4).
    near "$(jq '.["self-bleu"].prompt' d)" "$(awk 'BEGIN { print (exp((log(5/6) + log(3/5) + log(2/4) + log(1/3)) / 4 + 1 - 7/6) + exp((log(5/7) + log(3/6) + log(2/5) + log(1/4)) / 4)) / 2 }')"
    # Words 3 the, 2 cat, 2 sat, 2 on, 2 mat, 2 a, today, dog, ran.
    near "$(jq '.["entropy-1"].all' d)" "$(awk 'BEGIN { l = log(2); print -(3/16*log(3/16) + 5*2/16*log(2/16) + 3/16*log(1/16)) / l }')"
    # Counts of 0 become 0.1, also where a completion is shorter than the n-gram.
    printf '%s\n' '{"prompt":"p","completion":"a b"}' '{"prompt":"p","completion":"a c"}' >short.jsonl
    near "$("$P/diversity" --json short.jsonl | jq '.["self-bleu"].all')" "$(awk 'BEGIN { print exp((log(1/2) + 3 * log(0.1)) / 4) }')"
    # A stream's tokens are characters here.
    "$P/diversity" "$D/of-a.toks" >stream
    tok -q -d -m "$D/a" --skip-special-tokens no "$D/of-a.toks" | jq -c '.completion |= (explode | map(tostring) | join(" "))' >chars.jsonl
    [ "$(awk '$1 == "prompts" || $1 == "completions"' stream | cut -f2 | paste -sd' ')" = '12 6' ]
    echo '{"completion":""}' >none.jsonl
    run -0 "$P/diversity" none.jsonl
    [[ ${lines[0]} == $'distinct-1\t-\t-' ]]
    echo '{"text":""}' >bad.jsonl
    run -1 "$P/diversity" bad.jsonl
}

@test "reward-accuracy: pairs in order, ties, an interval; what is no pair" {
    printf '%s\n' '{"id":"1","token":[3,4],"mask":[0,1],"pair":"x","role":"chosen","reward":[null,2],"score":1}' \
        '{"id":"2","token":[3,4],"mask":[0,1],"pair":"x","role":"rejected","reward":[null,1],"score":1}' \
        '{"id":"3","token":[3,4,5],"mask":[0,1,1],"pair":"y","role":"sample","reward":[null,1,1],"score":3}' \
        '{"id":"4","token":[3,4],"mask":[0,1],"pair":"y","role":"demo","reward":[null,1.5],"score":2}' >p.jsonl
    run -0 "$P/reward-accuracy" p.jsonl
    [ "$output" = $'p.jsonl\t2\t0.5\t0.0945\t0.9055\t0\t0.25' ]
    run -0 "$P/reward-accuracy" --by mean:reward p.jsonl
    [ "$(cut -f3 <<<"$output")" = 1 ]
    run -0 "$P/reward-accuracy" --by score --json p.jsonl
    jq -e '.accuracy == 0 and .ties == 1 and .difference == -0.5' <<<"$output"
    # Computed here, it is what the columns say.
    run -0 "$P/reward-accuracy" --sft "$D/a" --reference "$D/b" "$D/pairs.toks"
    logprob -q -m "$D/a" --as a "$D/pairs.toks" | logprob -q -m "$D/b" --as b | dense-reward -q --floor 0.03 --baseline none a b -o scored.toks
    [ "$(cut -f2- <<<"$output")" = "$("$P/reward-accuracy" scored.toks | cut -f2-)" ]
    for edit in 'del(.pair)' '.role = "good"' '.pair = .id' '.role = "chosen"' '.reward[1] = null'; do
        jq -c "$edit" p.jsonl >bad.jsonl
        run -1 "$P/reward-accuracy" bad.jsonl
        [ "${#lines[@]}" -eq 1 ]
        [[ $output == "reward-accuracy: bad.jsonl: "* ]]
    done
    run -1 "$P/reward-accuracy" --by nothing p.jsonl
}

@test "win-rate: by a column, by models, the same prompts" {
    for side in a b; do
        toks view "$D/of-$side.toks" | jq -r 'select(has("token"))
            | [.prompt, .sample, ([.reward[] | numbers] | add)] | @tsv' | sort >$side.tsv
    done
    expected=$(paste a.tsv b.tsv | awk '{ n++; if ($3 > $6) w++ } END { print w / n }')
    "$P/win-rate" --json --results each.jsonl "$D/of-a.toks" "$D/of-b.toks" >r
    near "$(jq .win_rate r)" "$expected"
    [ "$(jq -c '[.prompts, .comparisons]' r)" = '[6,12]' ]
    [ "$(wc -l <each.jsonl)" -eq 12 ]
    jq -e '.low <= .win_rate and .win_rate <= .high and .low < .high and (.wins + .ties + .losses - 1 | fabs < 1e-9)' r
    # The other way round, and against itself.
    near "$("$P/win-rate" --json "$D/of-b.toks" "$D/of-a.toks" | jq '1 - .win_rate')" "$expected"
    "$P/win-rate" --json "$D/of-a.toks" "$D/of-a.toks" | jq -e '.ties == 1 and .win_rate == 0.5'
    # Sampled and scored here.
    "$P/win-rate" --json --sft "$D/a" --reference "$D/b" --floor 0 --prompts "$D/prompts.toks" -n 2 --max-new-tokens 9 \
        --seed 4 "$D/a" "$D/b" | jq -c 'del(.difference)' | cmp - <(jq -c 'del(.difference)' r)
    toks head -q -n 11 "$D/of-b.toks" -o fewer.toks
    run -1 "$P/win-rate" "$D/of-a.toks" fewer.toks
    [[ $output == *"are in A only" || $output == *"is in A only" ]]
    run -2 "$P/win-rate" --sft "$D/a" --reference "$D/b" "$D/a" "$D/b"
}

@test "win-rate: a judge is asked in both orders, and watched" {
    printf '%s\n' '{"id":"1","prompt":"x","completion":"long one"}' '{"id":"2","prompt":"y","completion":"b"}' >a.jsonl
    printf '%s\n' '{"id":"2","prompt":"y","completion":"bb"}' '{"id":"1","prompt":"x","completion":"short"}' >b.jsonl
    longer='jq -c "{id, winner: (if (.a | length) > (.b | length) then \"a\" else \"b\" end)}"'
    run -0 "$P/win-rate" --json --judge "tee asked | $longer" a.jsonl b.jsonl
    jq -e '.wins == 0.5 and .losses == 0.5 and .same_in_both_orders == 1 and .length_controlled == 0.5' <<<"$output"
    [ "$(jq -c '[.a, .b]' asked | head -2 | paste -sd' ')" = '["long one","short"] ["short","long one"]' ]
    # Who always says a likes no one.
    run -0 "$P/win-rate" --json --judge 'jq -c "{id, winner: \"a\"}"' a.jsonl b.jsonl
    jq -e '.ties == 1 and .same_in_both_orders == 0' <<<"$output"
    fair='jq -c "{id, winner: \"a\"}"'
    for judge in "$fair; false" "$fair | head -3" "$fair | tac" "$fair; $fair; echo '{\"id\":1}'" 'echo x' \
        'jq -c "{id, winner: \"c\"}"' 'jq -c "{winner: \"a\"}"'; do
        run -1 "$P/win-rate" --timeout 600 --judge "$judge" a.jsonl b.jsonl
        [ "${#lines[@]}" -eq 1 ]
        [[ $output == "win-rate: the judge"* ]]
    done
    run -1 timeout 600 "$P/win-rate" --timeout 1 --judge 'sleep 70000' a.jsonl b.jsonl
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == "win-rate: the judge"*' 1 second'* ]]
}

@test "gap: mean difference of summed log-probabilities, along a run" {
    "$P/gap" "$D/pairs.toks" "run=0.5:$D/a,$D/b" other="$D/a" >lines
    [ "$(cut -f1,2 lines | paste -sd' ')" = $'run\t0.5 run\t2 other\t1' ]
    cmp <(sed -n 1p lines | cut -f3-) <(sed -n 3p lines | cut -f3-)
    logprob -q -m "$D/b" --as m "$D/pairs.toks" | toks view | jq -r 'select(has("token"))
        | [.pair, .role, ([.["logp:m"][] | numbers] | add)] | @tsv' | sort |
        awk '{ s[$1] += $2 == "chosen" ? $3 : -$3 } END { for (p in s) { n++; m += s[p]; q += s[p] ^ 2 }
            m /= n; print m, 1.959963984540054 * sqrt((q / n - m * m) / (n - 1)) }' >expected
    near "$(sed -n 2p lines | cut -f4)" "$(cut -d' ' -f1 expected)" 1e-3
    near "$(sed -n 2p lines | cut -f5)" "$(cut -d' ' -f2 expected)" 1e-3
    run -1 "$P/gap" "$D/of-a.toks" x="$D/a"
    [[ $output == *"no pair and role"* ]]
    toks head -q -n 11 "$D/pairs.toks" -o odd.toks
    run -1 "$P/gap" odd.toks x="$D/a"
    command -v gnuplot >/dev/null || skip "needs gnuplot"
    run -0 "$P/gap" -o figure --text "$D/pairs.toks" SFT="$D/a,$D/b" IRFT="$D/b,$D/a"
    [[ $output == *IRFT* && $output == *'***'* ]]
    [ -s figure.svg ]
    [ -s figure.png ]
}

@test "export: AlpacaEval's array, MT-bench's two turns" {
    echo '[{"instruction":"1+1=","dataset":"own"},{"instruction":"2+2="}]' >i.json
    "$P/export" alpaca-eval -m "$D/a" --plain --name me --temperature 0 --max-new-tokens 5 i.json >out.json
    jq -e 'map(keys_unsorted) == [["instruction","output","generator","dataset"], ["instruction","output","generator","dataset"]]
        and .[0].dataset == "own" and .[1].dataset == "alpaca_eval" and .[1].generator == "me"' out.json
    greedy() { jq -nc --arg p "$1" '{prompt: $p, completion: ""}' | tok -q -m "$D/a" ${2+--special-tokens no} --prompts - |
        rollout -q -m "$D/a" --temperature 0 --max-new-tokens 5 | tok -q -d -m "$D/a" | jq -r .completion; }
    [ "$(jq -r '.[1].output' out.json)" = "$(greedy '2+2=')" ]
    printf '%s' '{% for m in messages %}{{ m.content }}{% if m.role == "user" %}={% else %};{% endif %}{% endfor %}' >t.jinja
    printf '%s\n' '{"question_id":7,"category":"math","turns":["1+1","2+2"]}' \
        '{"question_id":8,"category":"writing","turns":["3+3"]}' >q.jsonl
    "$P/export" mt-bench -m "$D/a" --chat-template t.jinja --max-new-tokens 5 q.jsonl >answers.jsonl
    jq -es 'map(keys_unsorted) == [range(2) | ["question_id","answer_id","model_id","choices","tstamp"]]
        and .[0].question_id == 7 and .[0].answer_id == "a-7" and (.[0].choices[0].turns | length) == 2
        and (.[1].choices[0].turns | length) == 1 and all(.tstamp == 0)' answers.jsonl
    # Mathematics is greedy, and the second turn knows the first answer.
    first=$(jq -rs '.[0].choices[0].turns[0]' answers.jsonl)
    [ "$first" = "$(greedy '1+1=')" ]
    [ "$(jq -rs '.[0].choices[0].turns[1]' answers.jsonl)" = "$(greedy "1+1=$first;2+2=")" ]
    "$P/export" mt-bench -m "$D/a" --chat-template t.jinja -n 3 --max-new-tokens 5 q.jsonl | jq -es 'map(.choices | map(.index)) == [[0,1,2],[0,1,2]]'
    run ! "$P/export" mt-bench -m "$D/a" q.jsonl
    echo '{"id":1}' >bad.jsonl
    run -1 "$P/export" mt-bench -m "$D/a" bad.jsonl
    run -1 "$P/export" alpaca-eval -m "$D/a" bad.jsonl
}

@test "export: the questions of MT-bench" {
    need "$SHARED/data/mt-bench/question.jsonl"
    head -3 "$SHARED/data/mt-bench/question.jsonl" | jq -c '.turns |= map(.[:20])' >q.jsonl
    printf '%s' '{% for m in messages %}{{ m.content }}={% endfor %}' >t.jinja
    "$P/export" mt-bench -m "$D/a" --chat-template t.jinja --max-new-tokens 4 q.jsonl >answers.jsonl
    # What is there has the members of GPT-4's answers.
    [ "$(jq -c keys answers.jsonl | sort -u)" = "$(jq -c keys "$SHARED/data/mt-bench/reference_answer_gpt-4.jsonl" | sort -u)" ]
    [ "$(jq -c '.choices[0] | keys' answers.jsonl | sort -u)" = "$(jq -c '.choices[0] | keys' "$SHARED/data/mt-bench/reference_answer_gpt-4.jsonl" | sort -u)" ]
}

@test "picture: a box a token, one scale" {
    "$P/picture" -m "$D/a" --reference "$D/b" --title 'a < b' "$A/examples.jsonl" >p.svg
    grep -q 'a &lt; b' p.svg
    tokens=$(tok -q -m "$D/a" "$A/examples.jsonl" | toks view | jq -s 'map(.token // [] | length) | add')
    # One rectangle a token, one behind all, nine of the scale.
    [ "$(grep -c '<rect' p.svg)" -eq $((tokens + 10)) ]
    [ "$(grep -c 'class="p"' p.svg)" -gt 0 ]
    "$P/picture" -m "$D/a" "$D/of-a.toks" | grep -q '</svg>'
    run -1 "$P/picture" -m "$D/a" --by nothing "$D/of-a.toks"
    [[ $output == *"has no column nothing" ]]
}
