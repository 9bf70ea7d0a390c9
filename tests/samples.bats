#!/usr/bin/env bats
# tok --samples: what was drawn elsewhere, as a stream like rollout's; refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2053,SC2154
bats_require_minimum_version 1.5.0
load text

setup() {
    model=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    tok=("$BIN/tok" -q -m "$model" --samples)
    cd "$BATS_TEST_TMPDIR" || return
}

@test "samples: vLLM's outputs, several for a prompt" {
    cat >in <<'END'
{"request_id":"q","prompt":"no text","prompt_token_ids":[4,13,5],"prompt_logprobs":null,"finished":true,"gold":"7","outputs":[{"index":0,"text":"x","token_ids":[14,16],"cumulative_logprob":-0.75,"logprobs":[{"14":{"logprob":-0.25,"rank":1,"decoded_token":"a"},"3":{"logprob":-2,"rank":2}},{"16":{"logprob":-0.5,"rank":2}}],"finish_reason":"stop","stop_reason":null},{"index":1,"text":"","token_ids":[3],"logprobs":[{"14":-0.25,"3":-2}],"finish_reason":"length"}]}
{"request_id":"r","prompt_token_ids":[4],"outputs":[{"token_ids":[9],"logprobs":[{"9":{"logprob":0}}],"finish_reason":null}]}
END
    "${tok[@]}" --keep-columns gold in -o out.toks
    cmp <(view out.toks) - <<'END'
{"id":"q/0","token":[4,13,5,14,16],"mask":[0,0,0,1,1],"logp:sampled":[null,null,null,-0.25,-0.5],"prompt":"q","sample":0,"finish":"stop","gold":"7"}
{"id":"q/1","token":[4,13,5,3],"mask":[0,0,0,1],"logp:sampled":[null,null,null,-2],"prompt":"q","sample":1,"finish":"length","gold":"7"}
{"id":"r/0","token":[4,9],"mask":[0,1],"logp:sampled":[null,0],"prompt":"r","sample":0,"finish":"","gold":""}
END
    "$BIN/toks" view --header out.toks | jq -e '.sampling == null and .vocab_size == 48 and .tokenizer != null and
        .provenance[0].program == "tok" and ([.columns[].name] | index("logp:rollout") == null)'
}

@test "samples: completions and chats of a server" {
    cat >in <<'END'
{"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"a","prompt_token_ids":[4,5],"token_ids":[6,7],"logprobs":{"tokens":["a","b"],"token_logprobs":[-1,-2],"text_offset":[0,1]},"finish_reason":"stop"},{"index":1,"prompt_token_ids":[4,5],"token_ids":[8],"logprobs":{"token_logprobs":[-3]},"finish_reason":"length"}]}
{"id":"chat-1","prompt_token_ids":[9],"choices":[{"message":{"role":"assistant","content":"x"},"token_ids":[6,7],"logprobs":{"content":[{"token":"a","logprob":-0.125,"top_logprobs":[]},{"token":"b","logprob":-4}]},"finish_reason":"stop"}]}
END
    "${tok[@]}" <in | view - >out
    jq -se 'map([.id, .token, .["logp:sampled"], .finish]) == [
        ["cmpl-1/0", [4, 5, 6, 7], [null, null, -1, -2], "stop"], ["cmpl-1/1", [4, 5, 8], [null, null, -3], "length"],
        ["chat-1/0", [9, 6, 7], [null, -0.125, -4], "stop"]]' out
}

@test "samples: lists of ids as TRL has them; equal prompts in a row are one" {
    cat >in <<'END'
{"prompt":[{"role":"user","content":"x"}],"prompt_ids":[4,5],"completion_ids":[6,7],"logprobs":[-1,-2]}
{"prompt_ids":[4,5],"completion_ids":[6],"sampling_per_token_logps":[-3],"finish_reason":"length"}
{"prompt_ids":[4,6],"completion_ids":[[6],[7,8]],"logprobs":[[-1],[[-2],[-3]]],"finish_reason":["stop","length"]}
{"prompt_ids":[4,5],"completion_ids":[9],"sampling_logps":[-1]}
END
    "${tok[@]}" in -o out.toks
    view out.toks | jq -se 'map([.id, .prompt, .sample, .token, .["logp:sampled"], .finish]) == [
        ["1/0", "1", 0, [4, 5, 6, 7], [null, null, -1, -2], ""], ["1/1", "1", 1, [4, 5, 6], [null, null, -3], "length"],
        ["3/0", "3", 0, [4, 6, 6], [null, null, -1], "stop"], ["3/1", "3", 1, [4, 6, 7, 8], [null, null, -2, -3], "length"],
        ["4/0", "4", 0, [4, 5, 9], [null, null, -1], ""]]'
}

@test "samples: a prompt that is text is tokenized, its samples never" {
    # The ids as tok itself makes them of a prompt.
    printf '{"prompt":"1+2=","completion":"x"}\n' >text
    printf '{"prompt":"1+2=","token_ids":[6],"logprobs":[-1]}\n' >in
    "${tok[@]}" in | view - | jq -e --argjson p "$("$BIN/tok" -q -m "$model" --prompts text | view - | jq -c .token)" \
        '.token == $p + [6]'
    # This tokenizer puts a token behind a text: with a model it would not stand there.
    jq '.post_processor = {type: "TemplateProcessing", single: [{Sequence: {id: "A", type_id: 0}}, {SpecialToken: {id: "</s>", type_id: 0}}],
        pair: [{Sequence: {id: "A", type_id: 0}}, {Sequence: {id: "B", type_id: 1}}],
        special_tokens: {"</s>": {id: "</s>", ids: [2], tokens: ["</s>"]}}}' "$model/tokenizer.json" >t
    mkdir ending && cp "$model"/*.json ending && cp t ending/tokenizer.json
    fails 1 '*in:1: key `prompt`:*prompt_token_ids*' "$BIN/tok" -q -m ending --samples in
}

refused() { # PATTERN OBJECT
    printf '%s\n' "$2" >in
    fails 1 "*in:1: $1" "${tok[@]}" in
}

@test "samples: what cannot be taken exactly is refused by name" {
    local p='"prompt_ids":[4]'
    refused '*`token_ids`: missing: a text*' "{$p,\"completion\":\"x\",\"logprobs\":[-1]}"
    refused '*`logprobs`: missing*' "{$p,\"completion_ids\":[5]}"
    refused '*`outputs`, 0: key `token_ids`: missing*' "{$p,\"outputs\":[{\"text\":\"x\"}]}"
    refused '*`choices`, 0: key `logprobs`: missing*' "{$p,\"choices\":[{\"token_ids\":[5],\"logprobs\":null}]}"
    refused '*`logprobs`: not as long*' "{$p,\"completion_ids\":[5,6],\"logprobs\":[-1]}"
    refused '*`logprobs`: at 1: no log-probability of the drawn token 6' "{$p,\"completion_ids\":[5,6],\"logprobs\":[-1,null]}"
    refused '*`logprobs`: at 0: no log-probability of the drawn token 5' "{$p,\"completion_ids\":[5],\"logprobs\":[{\"6\":{\"logprob\":-1}}]}"
    refused '*`logprobs`: at 0: no log-probability*' "{$p,\"completion_ids\":[5],\"logprobs\":[[-1,-2]]}"
    refused '*`logprobs`: at 0: 0.5 is not a log-probability' "{$p,\"completion_ids\":[5],\"logprobs\":[0.5]}"
    refused '*`logprobs`: at 0: -1e+60 is not*' "{$p,\"completion_ids\":[5],\"logprobs\":[-1e60]}"
    refused '*`logprobs`: neither a list*' "{$p,\"completion_ids\":[5],\"logprobs\":{\"tokens\":[\"a\"]}}"
    refused '*`logprobs`: not as many lists*' "{$p,\"completion_ids\":[[5],[6]],\"logprobs\":[[-1]]}"
    refused '*`finish_reason`: not as many*' "{$p,\"completion_ids\":[[5],[6]],\"logprobs\":[[-1],[-2]],\"finish_reason\":[\"stop\"]}"
    refused '*`finish_reason`: '"'abort'*" "{$p,\"completion_ids\":[5],\"logprobs\":[-1],\"finish_reason\":\"abort\"}"
    refused '*`completion_ids`: at 0: not a token id' "{$p,\"completion_ids\":[-5],\"logprobs\":[-1]}"
    refused '*`completion_ids`: not a list with a token id' "{$p,\"completion_ids\":[],\"logprobs\":[]}"
    refused 'token id 48 *' "{$p,\"completion_ids\":[48],\"logprobs\":[-1]}"
    refused 'token id 4000000000 *' '{"prompt_ids":[4000000000],"completion_ids":[5],"logprobs":[-1]}'
    refused '*`prompt_ids`: not a list of token ids' '{"prompt_ids":[[4]],"completion_ids":[5],"logprobs":[-1]}'
    refused '*prompt is empty*' '{"prompt_ids":[],"completion_ids":[5],"logprobs":[-1]}'
    refused '*which prompt?' '{"completion_ids":[5],"logprobs":[-1]}'
    refused '*`prompt`: not a text: of messages*' '{"prompt":[{"role":"user","content":"x"}],"completion_ids":[5],"logprobs":[-1]}'
    refused '*`prompt_token_ids`: not the same*' '{"choices":[{"prompt_token_ids":[4]},{"prompt_token_ids":[5]}]}'
    refused '*`outputs`: beside other samples*' "{$p,\"outputs\":[],\"choices\":[]}"
    refused '*`outputs`: not a list with a sample' "{$p,\"outputs\":[]}"
    refused '*`id`: neither*' "{\"id\":1.5,$p,\"completion_ids\":[5],\"logprobs\":[-1]}"
    # A whole number of any size is a name.
    echo "{\"id\":123456789012345678901234567890,$p,\"completion_ids\":[5],\"logprobs\":[-1]}" >in
    [ "$(view <("${tok[@]}" in) | jq -r .prompt)" = 123456789012345678901234567890 ]
    printf 'text\n' >in
    fails 1 '*in:1: not a JSON object' "${tok[@]}" in
    : >in
    fails 1 '*in: no records' "${tok[@]}" in
    # One id for two prompts.
    printf '{"id":"a","prompt_ids":[%d],"completion_ids":[5],"logprobs":[-1]}\n' 4 5 >in
    fails 1 '*in:2: duplicate id*' "${tok[@]}" in
    fails 2 '*--samples does not go with --prompts*' "${tok[@]}" --prompts in
    fails 2 '*--samples does not go with --decode*' "${tok[@]}" -d in
    fails 2 '*--samples does not go with --max-length*' "${tok[@]}" --max-length 5 in
    fails 2 '*--samples does not go with --format*' "${tok[@]}" --format text in
}

@test "samples: an update from them is the update from the stream that they were" {
    cp -r "$model" shape
    jq '.hidden_size = 16 | .num_hidden_layers = 1 | .num_attention_heads = 2 | .num_key_value_heads = 2
        | .head_dim = 8 | .intermediate_size = 24 | .initializer_range = 0.3' "$model/config.json" >shape/config.json
    "$BIN/model" init -q shape -o m --seed 1
    printf '{"prompt":"%s","completion":"x"}\n' 1+2= 3+4= | "$BIN/tok" -q -m m --prompts |
        "$BIN/rollout" -q -m m -n 3 --temperature 0.7 --max-new-tokens 5 -o drawn.toks
    view drawn.toks | jq -sc 'group_by(.prompt)[] | {request_id: .[0].prompt, prompt: "unused",
        prompt_token_ids: (.[0] | .token[:(.mask | index(1))]), outputs: [.[] | (.mask | index(1)) as $i | {index: .sample,
            token_ids: .token[$i:], finish_reason: .finish, logprobs: [[.token, .["logp:sampled"]] | transpose[$i:][]
                | {(.[0] | tostring): {logprob: .[1], rank: 1}}]}]}' >elsewhere.jsonl
    "$BIN/tok" -q -m m --samples elsewhere.jsonl | "$BIN/logprob" -q -m m --as rollout -o back.toks
    cmp <(view back.toks | jq -c '[.token, .mask, .["logp:sampled"], .["logp:rollout"], .sample, .finish]') \
        <(view drawn.toks | jq -c '[.token, .mask, .["logp:sampled"], .["logp:rollout"], .sample, .finish]')
    local stream
    for stream in drawn back; do
        "$BIN/logprob" -q -m m --as sft $stream.toks | "$BIN/dense-reward" -q --baseline loo sft none |
            "$BIN/reinforce-step" -q -m m -o $stream --learning-rate 1e-3 --batch-size 6 --is token
    done
    cmp drawn/model.safetensors back/model.safetensors
    run ! cmp -s m/model.safetensors back/model.safetensors
}
