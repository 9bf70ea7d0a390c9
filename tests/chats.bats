#!/usr/bin/env bats
# Chats of several turns: what is trained of them, each turn alone, and what a template leaves out.
bats_require_minimum_version 1.5.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2053
load text

setup() {
    model=$BATS_TEST_DIRNAME/fixtures/tokenizers/qwen2
    tok=$BIN/tok
    cd "$BATS_TEST_TMPDIR" || return
    # Thoughts stay in the last answer only.
    cat >thinks.jinja <<'END'
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' and loop.last and m.reasoning_content %}{{- '<think>' + m.reasoning_content + '</think>' }}{% endif %}
{{- m.content.split('</think>')[-1] if not loop.last else m.content }}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %}
END
    cat >chat.jsonl <<'END'
{"id":"a","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"<think>one</think>1"},{"role":"user","content":"r"},{"role":"assistant","content":"2","reasoning_content":"two"}]}
END
}

marked() { # OPTION... FILE: records with the trained part marked
    "$tok" -q -m "$model" --chat-template thinks.jinja --show "$@"
}

said() { # OPTION... FILE: what tok says of them besides
    "$tok" -m "$model" --chat-template thinks.jinja -o /dev/null "$@" 2>&1
}

@test "answers of a chat whose earlier turns are written otherwise" {
    marked chat.jsonl | tail -n +2 | diff - <(printf '%s\n' '<|im_start|>user' 'q<|im_end|>' '<|im_start|>assistant' \
        '⟦1<|im_end|>⏎' '⟧<|im_start|>user' 'r<|im_end|>' '<|im_start|>assistant' '⟦<think>two</think>2<|im_end|>⏎' '⟧')
    # A template that shows nothing of where an answer stands is refused, with the ways out.
    echo '{% for m in messages %}{{ m.content | length }}{% endfor %}{{ messages | length }}' >dark.jinja
    fails 1 'tok: chat.jsonl:1: record `a`: which bytes * in message 1 cannot be told (*): --turns each makes *--train-on completion trains*{% generation %}*' \
        "$tok" -q -m "$model" --chat-template dark.jinja chat.jsonl
}

@test "--turns each: a record for every answer, as it is asked for" {
    marked --turns each chat.jsonl >out
    grep '^#' out | diff - <(printf '%s\n' '# a/1: 21 tokens, 6 trained' '# a/2: 40 tokens, 7 trained')
    sed -n 2,6p out | diff - <(printf '%s\n' '<|im_start|>user' 'q<|im_end|>' '<|im_start|>assistant' '⟦<think>one</think>1<|im_end|>⏎' '⟧')
    grep -c 'one' out | grep -qx 1
    # The prompts are those that rollout is given.
    "$tok" -q -m "$model" --chat-template thinks.jinja --turns each --prompts --render chat.jsonl >prompts
    jq -s -e '.[0].id == "a/1" and .[1].text == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\nr<|im_end|>\n<|im_start|>assistant\n"' prompts
    # What the assistant says in a row is one answer; one of weight 0 is none.
    cat >more.jsonl <<'END'
{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"1"},{"role":"assistant","content":"2"},{"role":"user","content":"r"},{"role":"assistant","content":"3","weight":0},{"role":"user","content":"s"},{"role":"assistant","content":"4"}]}
{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"5"}]}
END
    head -n 1 more.jsonl | marked --turns each >out
    [ "$(grep -c '^#' out)" -eq 2 ]
    grep -q '⟦1<|im_end|>' out
    grep -q '⟦4<|im_end|>' out
    tail -n 1 more.jsonl | marked --turns each | grep -q '⟦5<|im_end|>'
    # More answers than go into one batch, in order, and the same for any number of threads.
    jq -nc '{id: ("k", "l"), messages: [range(270) | {role: "user", content: "q\(.)"}, {role: "assistant", content: "a\(.)"}]}' >long.jsonl
    echo '{% for m in messages[-2:] %}{{ m.content }}{% endfor %}' >thinks.jinja
    marked --threads 1 --turns each long.jsonl >out
    marked --threads 3 --turns each long.jsonl | cmp out -
    grep '^#' out | cut -d: -f1 | diff - <(seq -f '# k/%.0f' 270; seq -f '# l/%.0f' 270)
    # A bad record among them is named once.
    echo '{"id":"n","messages":[{"role":"user"},{"content":"a"}]}' >>long.jsonl
    fails 1 'tok: long.jsonl:3: record `n`: *' "$tok" -q -m "$model" --chat-template thinks.jinja --turns each long.jsonl
    fails 1 'tok: t.jsonl:1: text, where --turns each takes chats apart' \
        "$tok" -q -m "$model" --turns each t.jsonl < <(echo '{"text":"a"}' >t.jsonl)
    run "$tok" -m "$model" --turns each --train-on assistant chat.jsonl
    [ "$status" -eq 2 ]
    run "$tok" -m "$model" --turns each --continue-final-message chat.jsonl
    [ "$status" -eq 2 ]
}

@test "an answer may go on like the prompt that is not written for it" {
    echo "{%- for m in messages %}<{{ m.role }}>{{ m.content }}.{% endfor %}{% if add_generation_prompt %}<assistant><think>{% endif %}" >thinks.jinja
    echo '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"<this>"}]}' >c.jsonl
    for how in '--turns each' '--train-on completion' '--train-on assistant'; do
        # shellcheck disable=SC2086
        marked $how c.jsonl | grep -qF '<user>q.<assistant>⟦<this>.⟧'
    done
}

@test "what a template leaves out is counted, and an error where it is to be" {
    said chat.jsonl | grep -qx 'tok: warning: 1 records: the template does not write all of their reasoning'
    # Of each turn alone nothing is lost.
    run ! grep warning <(said --turns each chat.jsonl)
    said --turns each --on-left-out error chat.jsonl >/dev/null
    fails 1 'tok: chat.jsonl:1: record `a`: message 1: the template leaves out reasoning' \
        "$tok" -q -m "$model" --chat-template thinks.jinja --on-left-out error chat.jsonl
    echo '{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}' >thinks.jinja
    lost() { # MESSAGE WHAT
        echo "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},$1]}" | said >err
        grep -qx "tok: warning: 1 records: the template does not write all of their $2" err
    }
    lost '{"role":"assistant","content":"a","reasoning":"because"}' reasoning
    lost '{"role":"assistant","content":"a "}' 'white space at the ends of answers'
    lost '{"role":"assistant","content":"a","tool_calls":[{"function":{"name":"weather","arguments":{}}}]}' 'tools or tool calls'
    run ! lost '{"role":"assistant","content":"a"}' ''
    echo '{% for m in messages %}<{{ m.role }}>{{ m.content[:3] }}{% endfor %}' >thinks.jinja
    lost '{"role":"assistant","content":"a long answer"}' 'the text of messages'
    lost '{"role":"user","content":"a long question"},{"role":"assistant","content":"a"}' 'the text of messages'
}

@test "calls of ShareGPT have the empty content that templates ask for" {
    echo '{% for m in messages %}<{{ m.role }}>{{ m.content + "" }}{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}.{% endfor %}' >thinks.jinja
    echo '{"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{}}"},{"from":"observation","value":"2"},{"from":"gpt","value":"a"}]}' >c.jsonl
    marked --train-on all c.jsonl | grep -qF '<user>q.<assistant>f.<tool>2.<assistant>a.'
}

@test "messages say the way on: the time, a role in capitals" {
    echo "{{ strftime_now('%Y') }}{{ messages[0].content }}" >thinks.jinja
    fails 1 'tok: chat.jsonl:1: *asks for the time and none was given (--now)' "$tok" -q -m "$model" --chat-template thinks.jinja chat.jsonl
    echo '{"conversations":[{"from":"human","value":"q"},{"from":"Assistant","value":"a"}]}' >c.jsonl
    fails 1 'tok: c.jsonl:1: *role `Assistant` is not known (--roles assistant=Assistant says what it means)' \
        "$tok" -q -m "$model" --chat-template thinks.jinja c.jsonl
    sed -i s/Assistant/narrator/ c.jsonl
    fails 1 'tok: c.jsonl:1: *role `narrator` is not known (--roles ROLE=narrator says whose it is, user, assistant, system or tool)' \
        "$tok" -q -m "$model" --chat-template thinks.jinja c.jsonl
}

@test "roles of messages that templates do not know are refused by name, before their answers are lost" {
    echo "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}" >any.jinja
    role() { # USER ASSISTANT
        echo "{\"messages\":[{\"role\":\"$1\",\"content\":\"q\"},{\"role\":\"$2\",\"content\":\"a\"}]}" >r.jsonl
    }
    refused() { # NAME MESSAGE OURS
        fails 1 "tok: r.jsonl:1: *message $2: role \`$1\` is not known to chat templates (--roles $3=$1, or $1=$1 if it is to stay)" \
            "$tok" -q -m "$model" --chat-template "${4-any.jinja}" r.jsonl
    }
    role user assistant
    want=$("$tok" -q -m "$model" --chat-template any.jinja --render r.jsonl)
    for name in User USER human Human; do
        role $name assistant
        refused $name 0 user
    done
    for name in Assistant ASSISTANT gpt GPT bot chatgpt; do
        role user $name
        refused $name 1 assistant
        [ "$("$tok" -q -m "$model" --chat-template any.jinja --roles assistant=$name --render r.jsonl)" = "$want" ]
    done
    "$tok" -q -m "$model" --chat-template any.jinja --roles bot=chatgpt --train-on all --render r.jsonl -o /dev/null
    # A template that knows the name has it.
    role human assistant
    echo "{% for m in messages %}{{ 'H' if m.role == 'human' else 'A' }}{{ m.content }}{% endfor %}" >knows.jinja
    "$tok" -q -m "$model" --chat-template knows.jinja --render r.jsonl | grep -qF Hq
    echo "{# a human #}{% for m in messages %}{{ m.content }}{% endfor %}" >speaks.jinja
    refused human 0 user speaks.jinja
    # Others pass; where nobody is the assistant, nothing would be trained.
    role developer assistant
    "$tok" -q -m "$model" --chat-template any.jinja r.jsonl -o /dev/null
    role q a
    fails 1 'tok: r.jsonl:1: *nothing to train, as no message has the role `assistant`: --roles assistant=THEIRS says who it is (--on-untrained drop)' \
        "$tok" -q -m "$model" --chat-template any.jinja r.jsonl
}

@test "the template that rendered the records is in the header, and saved with the model" {
    base=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    mkdir base
    "$BIN/model" init -q "$base" -o fresh
    cp fresh/* base
    jq -n '{messages: [{role: "user", content: "1+2="}, {role: "assistant", content: "3"}]}' -c >c.jsonl
    printf '{%% for m in messages %%}{{ m.content }}{%% endfor %%}</s>\n' >mine.jinja
    "$tok" -q -m base --chat-template mine.jinja c.jsonl -o c.toks
    "$BIN/toks" view -H c.toks | jq -j .chat_template | cmp - mine.jinja
    "$BIN/toks" cat c.toks | "$BIN/toks" view -H | jq -j .chat_template | cmp - mine.jinja
    "$BIN/sft-train" -m base --max-steps 1 -o out c.toks 2>err
    grep -qx "sft-train: the records' chat template is not base's own: it is saved with the model" err
    cmp out/chat_template.jinja mine.jinja
    # A model that has it already, in either place, stays as it is.
    "$BIN/sft-train" -m out --max-steps 1 -o again c.toks 2>err
    run ! grep template err
    jq --rawfile t mine.jinja '.chat_template = [{name: "rag", template: "x"}, {name: "default", template: $t}]' \
        fresh/tokenizer_config.json >base/tokenizer_config.json
    "$tok" -q -m base c.jsonl | "$BIN/toks" view -H | jq -j .chat_template | cmp - mine.jinja
    "$tok" -q -m base c.jsonl | "$BIN/sft-train" -q -m base --max-steps 1 -o listed
    [ ! -e listed/chat_template.jinja ]
    cmp listed/tokenizer_config.json base/tokenizer_config.json
    # A text has none; what is no template is refused.
    echo '{"prompt":"1","completion":"2"}' | "$tok" -q -m base | "$BIN/toks" view -H | jq -e 'has("chat_template") | not'
    "$BIN/toks" view c.toks | sed '1s/"chat_template":"[^"]*\(\\.[^"]*\)*"/"chat_template":5/' >bad
    run "$BIN/toks" check bad
    [ "$status" -eq 3 ]
    [[ $output == *'`chat_template` is not a string'* ]]
}

@test "folders of a model are saved with it, but for models, weights and what is hidden" {
    base=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    "$BIN/model" init -q "$base" -o base
    echo '{"prompt":"1","completion":"2"}' | "$tok" -q -m base -o c.toks
    mkdir -p base/additional_chat_templates base/chat_templates/deep base/other base/.git base/onnx base/big base/empty
    echo '{{ 1 }}' | tee base/additional_chat_templates/tool_use.jinja >base/chat_templates/deep/x.jinja
    touch base/other/config.json base/other/notes base/.git/HEAD base/onnx/model.onnx base/onnx/readme base/chat_templates/.hidden
    head -c $((65 << 20)) /dev/zero >base/big/data
    "$BIN/sft-train" -q -m base --max-steps 2 --keep half -o out c.toks
    for model in out out/half; do
        (cd $model && find . -mindepth 2 -type f ! -path './half/*') | sort |
            diff - <(printf '%s\n' ./additional_chat_templates/tool_use.jinja ./chat_templates/deep/x.jinja)
        cmp $model/additional_chat_templates/tool_use.jinja base/additional_chat_templates/tool_use.jinja
    done
    # They are those of the start of the run.
    "$BIN/model" init -q base -o fresh
    cmp fresh/chat_templates/deep/x.jinja base/chat_templates/deep/x.jinja
}
