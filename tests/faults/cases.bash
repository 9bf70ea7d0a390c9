# SPDX-License-Identifier: MIT
# The runs that tests/faults/run disturbs. A case is a function case_NAME; in the folder of inputs it
# makes what it needs (once), and sets
#
#   program    the program whose calls fail, whose name begins its messages [the case's name]
#   command    what is run, in a folder beside the inputs: ../in
#   before     what made the folder's content that the command finds [nothing]
#   again      how a run that failed is gone on with [the command]
#   state      set: a failure may leave a state, if its message says so
#   living     set: OUT is a policy, which shows the last whole generation whatever happens
#   alias      another name that begins its messages
#   apart      names of files that tell of the runs that made them: not compared after a second one
#   grows      name of a file that grows in place: what a failure leaves of it may stay
#   threads    set: memory is not tried, whose order is not that of another run
#
# Which runs fail otherwise for reasons that are not ours: exceptions().
# shellcheck disable=SC2034,SC2154 # the runner's

CASES=(tok tok-decode sft-train sft-over sft-best logprob logprob-threads dense-reward rollout ask reinforce-step reinforce-over reinforce-eval
    toks-cat toks-mix toks-head toks-select toks-join toks-shuf toks-split toks-tee toks-pair toks-steps toks-gain toks-vote
    toks-prefix toks-sample toks-stat toks-show toks-view toks-check toks-annotate
    init average info diff pair-train pair-online reward-train reward-score novelty densepath tfevents
    loop-rollout loop-logprob loop-dense-reward loop-reinforce-step)

# Those that replace something, or save on their way: for power cuts.
CUTS=(sft-train sft-over sft-best reward-train pair-train reinforce-step reinforce-over pair-online init average toks-cat)

# Inputs of all: a model, demonstrations, prompts; samples of them and their rewards.
inputs() {
    cp -r "$TESTS/fixtures/model" m && chmod -R u+w m
    demos >demos.jsonl
    prompts >prompts.jsonl
    toks view -b demos.jsonl -o demos.toks
    toks view -b prompts.jsonl -o prompts.toks
    rollout -q -m m -n 2 --batch-size 2 --steps 2 --max-new-tokens 4 prompts.toks -o samples.toks
    logprob -q -m m --as sft samples.toks | logprob -q -m m --as half -o scored.toks
    dense-reward -q --floor 0 --baseline none sft none scored.toks -o round.toks
    toks view demos.toks | jq -c 'if has("token")
        then del(.mask) + {mask: .mask} + {pair: .id, role: "demo"}, del(.mask) + {mask: .mask} + {pair: .id, role: "sample"}
        else .columns += [{name: "pair", type: "string", per: "sequence"}, {name: "role", type: "string", per: "sequence"}] end' |
        jq -c 'select(.id != "none")' | toks view -b -o pairs.toks
}

# What a filter finds under the name of its output.
old_output() {
    before=(cp ../in/prompts.jsonl zout)
}

# A model with a tokenizer, and answers.
spelled() {
    [[ ! -e text ]] || return 0
    model init -q "$TESTS/../pipelines/tasks/annotators/model" --seed 1 -o text
    printf '%s\n' '{"id":"a","prompt":"34+68=","completion":"4+8=12,3+6=9;102","gold":"102"}' |
        tok -q -m text --keep-columns gold -o gold.toks
}

case_tok() {
    spelled
    printf '%s\n' '{"id":"a","prompt":"347+685=","completion":"no,icannotworkoutthissum;"}' \
        '{"id":"b","prompt":"1+2=","completion":";0003","kind":"guess"}' >text.jsonl
    tok -q -m text --offsets --keep-columns kind text.jsonl -o text.toks
    old_output
    command=(tok -q -m ../in/text --keep-columns kind ../in/text.jsonl -o zout)
}
case_tok-decode() {
    case_tok
    program=tok command=(tok -q -m ../in/text -d ../in/text.toks -o zout)
}

train=(--threads 1 -m ../in/m --batch-size 3 --max-steps 4 --save-steps 2)
case_sft-train() {
    state=yes command=(sft-train -q "${train[@]}" --keep half --ema 0.9 ../in/demos.toks -o zout)
    again=("${command[@]}" --resume)
}
# In place of another result.
case_sft-over() {
    program=sft-train state=yes
    before=(sft-train -q "${train[@]}" --seed 3 ../in/demos.toks -o zout)
    command=(sft-train -q "${train[@]}" ../in/demos.toks -o zout --overwrite)
    again=("${command[@]}" --resume)
}
# Ends with the model of an earlier evaluation.
case_sft-best() {
    program=sft-train state=yes
    command=(sft-train -q "${train[@]}" --learning-rate 1 --eval-stream ../in/demos.toks --eval-steps 1 --eval-on-start
        --load-best-model-at-end --ema 0.9 ../in/demos.toks -o zout)
    again=("${command[@]}" --resume)
}
case_reward-train() {
    state=yes command=(reward-train -q "${train[@]}" ../in/pairs.toks -o zout)
    again=("${command[@]}" --resume)
}
case_pair-train() {
    state=yes command=(pair-train -q "${train[@]}" --reference self ../in/pairs.toks -o zout)
    again=("${command[@]}" --resume)
}
case_pair-online() {
    program=pair-train living=yes
    command=(pair-train -q --threads 1 -m ../in/m --batch-size 3 --save-steps 1 --online --reference self ../in/pairs.toks -o zout)
    again=("${command[@]}" --resume)
}
case_reinforce-step() {
    living=yes command=(reinforce-step -q --threads 1 -m ../in/m --save-steps 1 ../in/round.toks -o zout)
    again=("${command[@]}" --resume)
}
case_reinforce-eval() {
    program=reinforce-step living=yes
    command=(reinforce-step -q --threads 1 -m ../in/m --save-steps 1 --eval-stream ../in/demos.toks --eval-steps 2 --eval-on-start
        ../in/round.toks -o zout)
    again=("${command[@]}" --resume)
}
case_reinforce-over() {
    case_reinforce-step
    program=reinforce-step
    before=(reinforce-step -q --threads 1 -m ../in/m --seed 3 ../in/round.toks -o zout)
    command+=(--overwrite)
    again=("${command[@]}" --resume)
}

case_logprob() {
    old_output
    command=(logprob -q --threads 1 -m ../in/m --as sft ../in/demos.toks -o zout)
}
case_logprob-threads() {
    case_logprob
    program=logprob threads=yes command=(logprob -q --threads 2 -m ../in/m --as sft ../in/demos.toks -o zout)
}
case_ask() {
    spelled
    old_output
    command=(ask -q --threads 1 -m ../in/text -m ../in/text --max-new-tokens 4 -o zout "34+68=")
}
case_rollout() {
    old_output
    command=(rollout -q --threads 1 -m ../in/m -n 2 --max-new-tokens 4 ../in/prompts.toks -o zout)
}
case_dense-reward() {
    grows=log
    old_output
    command=(dense-reward -q --baseline loo sft half ../in/scored.toks -o zout --metrics log)
}
case_novelty() {
    old_output
    command=(novelty -q --threads 1 -m ../in/m --demonstrations ../in/demos.toks ../in/samples.toks -o zout)
}
case_tfevents() {
    [[ -e run ]] || sft-train -q -m m -o run --max-steps 2 --batch-size 3 demos.toks
    before=(tfevents -q -o zout r=../in/run) command=(tfevents -q -o zout r=../in/run)
}
case_reward-score() {
    reward-train -q -m m --max-steps 2 --batch-size 3 pairs.toks -o reward
    old_output
    program=reward-train command=(reward-train -q --threads 1 --score -m ../in/reward ../in/samples.toks -o zout)
}

case_init() {
    program=model before=(model init -q ../in/m --seed 3 -o zout)
    command=(model init -q ../in/m --seed 5 -o zout --overwrite)
}
case_average() {
    model init -q m --seed 5 -o other
    program=model command=(model average -q ../in/m:0.5 ../in/other:0.5 -o zout)
    again=("${command[@]}" --overwrite)
}
case_densepath() {
    alias=sft command=(densepath help sft)
}
case_info() {
    program=model command=(model info ../in/m)
}
case_diff() {
    program=model command=(model diff ../in/m ../in/m)
}

case_toks-cat() { toks_case cat --ids prefix ../in/demos.toks ../in/demos.toks -o zout; }
case_toks-mix() { toks_case mix -q --repeat ../in/demos.toks:2 ../in/demos.toks:1 -o zout; }
case_toks-head() { toks_case head -n 3 ../in/demos.toks -o zout; }
case_toks-select() { toks_case select -q --by sum:reward --top 2 ../in/round.toks -o zout; }
case_toks-join() {
    logprob -q -m m --as sft demos.toks -o more.toks
    toks_case join ../in/demos.toks ../in/more.toks -o zout
}
case_toks-shuf() { toks_case shuf ../in/demos.toks -o zout; }
case_toks-sample() { toks_case sample -n 3 ../in/demos.toks -o zout; }
case_toks-split() { toks_case split -n 2 ../in/demos.toks -o zout; }
case_toks-tee() { toks_case tee zout ../in/demos.toks; }
case_toks-pair() {
    toks view demos.toks | jq -c 'if .mask | index(1) then (.mask | index(1)) as $n | .token |= .[:$n] | .mask |= .[:$n] else . end' |
        rollout -q -m m -n 2 --max-new-tokens 4 -o answers.toks
    toks_case pair -q ../in/demos.toks ../in/answers.toks -o zout
}
case_toks-vote() { toks_case vote -q ../in/samples.toks -o zout; }
case_toks-stat() { toks_case stat ../in/round.toks; }
case_toks-show() {
    case_tok
    toks_case show -m ../in/text --by start --html ../in/text.toks -o zout
}
case_toks-steps() {
    spelled
    toks_case steps -q -m ../in/text --gold gold --end , ../in/gold.toks -o zout
}
case_toks-gain() {
    spelled
    toks steps -q -m text --gold gold --end , gold.toks | logprob -q -m text --as self -o steps.toks
    toks_case gain --logp self ../in/gold.toks ../in/steps.toks -o zout
}
case_toks-prefix() {
    toks head -q -n 6 demos.toks -o six.toks
    toks_case prefix -q -n 4 --batch-size 4 --steps 2 ../in/six.toks -o zout
}
case_toks-view() { toks_case view ../in/demos.toks -o zout; }
case_toks-check() { toks_case check ../in/demos.toks ../in/round.toks; }
case_toks-annotate() {
    grows=journal
    toks_case annotate -q --journal journal ../in/demos.toks -o zout -- jq -c '{id, score: .token[0]}'
}
toks_case() {
    program=toks command=(toks "$@")
    [[ " $* " != *' -o zout '* ]] || old_output
}

# The on-line loop, of which one member fails.
loop_case() {
    program=$1 living=yes apart='densepath.json state.safetensors README.md'
    command=("$TESTS/faults/loop") again=("$TESTS/faults/loop" --resume)
}
case_loop-rollout() { loop_case rollout; }
case_loop-logprob() { loop_case logprob; }
case_loop-dense-reward() { loop_case dense-reward; }
case_loop-reinforce-step() { loop_case reinforce-step; }

# Prints the reason where the library that called is at fault: $1, what was found; $2, the call with its
# callers, and what was said.
exception() {
    if [[ $2 == *'cannot create shared object descriptor'* ]]; then
        echo 'the loader of libraries does not say that it was memory'
    fi
}
