#!/usr/bin/env bats
# ask: the answers of the pipeline, chats on a terminal, several answers, refusals.
# shellcheck disable=SC2016,SC2030,SC2031,SC2128,SC2154,SC2178,SC2317
bats_require_minimum_version 1.5.0
load engine

# A chat model and a base model whose tokens are bytes and pieces of words, so that what they draw is
# full of control characters and of characters cut in two.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return
    PATH=$(cd "$BIN" && pwd):$PATH
    local fixtures=$BATS_TEST_DIRNAME/fixtures
    make_model() { # NAME SEED POSITIONS [TEMPLATE]
        cp -r "$fixtures/tokenizers/qwen2" config
        jq --argjson n "$3" '.vocab_size = 707 | .max_position_embeddings = $n | .eos_token_id = 702 | .bos_token_id = 700
            | del(.use_sliding_window, .sliding_window, .max_window_layers) | if $n > 512 then del(.eos_token_id) else . end' "$fixtures/configs/qwen2.json" >config/config.json
        [ -z "${4-}" ] || cp "$fixtures/templates/$4" config/chat_template.jinja
        model init -q config -o "$1" --seed "$2"
        rm -r config
    }
    make_model chat 2 512 chatml.jinja
    make_model base 1 512
    make_model endless 3 10000000 chatml.jinja # no token ends its answers
    printf '%s\n' '{"messages":[{"role":"user","content":"hello world"}]}' >hello.jsonl
}

setup() {
    PATH=$(cd "$BIN" && pwd):$PATH
    cd "$BATS_FILE_TMPDIR" || return
}

# MODEL OPTION...: the texts that the programs draw of the record on standard input.
pipeline() {
    local model=$1
    shift
    tok -q -m "$model" --prompts | rollout -q -m "$model" "$@" | tok -q -m "$model" -d | jq -r .completion
}

# COLUMNS COMMAND: on a terminal of its own, which shows what is typed (standard input) nowhere; what
# it shows, with line ends as in a file, goes to `seen`.
on_terminal() {
    { printf 'stty cols %s rows 40 -echo -echoctl\n' "$1" && printf '%s\n' "$2"; } >"$BATS_TEST_TMPDIR/job"
    got=0
    (cd "$BATS_TEST_TMPDIR" && script -qefc "bash job" raw >/dev/null) || got=$?
    echo "$got" >"$BATS_TEST_TMPDIR/got"
    sed '1d;$d' "$BATS_TEST_TMPDIR/raw" | head -c -1 | tr -d '\r' >"$BATS_TEST_TMPDIR/seen"
}

# ---- one question ----

@test "ask: an answer is what tok, rollout and tok -d give, whatever the settings" {
    for options in '' '--max-new-tokens 1' '--seed 5 --temperature 0.7 --top-k 30 --top-p 0.9' \
        '--temperature 0 --max-new-tokens 40' '--seed 7 --min-p 0.05 --repetition-penalty 1.3' \
        '--first-sample 3 --seed 2 --max-new-tokens 60'; do
        # shellcheck disable=SC2086
        cmp <(ask -q -m chat $options hello world) <(pipeline chat $options <hello.jsonl)
        # shellcheck disable=SC2086
        cmp <(ask -q -m base $options hello world) <(echo '{"prompt":"hello world"}' | pipeline base $options)
    done
    cmp <(ask -q -m chat --threads 1 hello world) <(ask -q -m chat --threads 3 'hello world')
    # Answers that end inside a character, and that a blank begins.
    ask -q -m base --json -n 40 --max-new-tokens 3 é >out
    jq -se 'any(.completion | endswith("\ufffd")) and any(.completion | startswith(" "))' out
    cmp <(jq -r .completion out) <(echo '{"prompt":"é"}' | pipeline base -n 40 --max-new-tokens 3)
}

@test "ask: a question on standard input, an output file, a system text, a template" {
    printf 'one\n\ntwo  \n\n' >question
    ask -q -m chat --max-new-tokens 30 <question >out
    jq -nc '{messages: [{role: "user", content: "one\n\ntwo  "}]}' | pipeline chat --max-new-tokens 30 | cmp out -
    ask -q -m chat --max-new-tokens 30 -o file "$(cat question)" </dev/null
    cmp out file
    ask -q -m chat --max-new-tokens 30 --system 'be brief' hi >out
    jq -nc '{messages: [{role: "system", content: "be brief"}, {role: "user", content: "hi"}]}' |
        pipeline chat --max-new-tokens 30 | cmp out -
    ask -m base --chat-template "$BATS_TEST_DIRNAME/fixtures/templates/zephyr.jinja" --max-new-tokens 30 hi >out 2>said
    run ! grep -q 'chat template' said
    tok -q -m base --chat-template "$BATS_TEST_DIRNAME/fixtures/templates/zephyr.jinja" --prompts \
        <<<'{"messages":[{"role":"user","content":"hi"}]}' | rollout -q -m base --max-new-tokens 30 |
        tok -q -m base -d | jq -r .completion | cmp out -
    # A template that shows nothing of the system text is told of.
    echo '{% for m in messages %}{% if m.role == "user" %}{{ m.content }}{% endif %}{% endfor %}' >deaf.jinja
    ask -m chat --chat-template deaf.jinja --system 'be brief' --max-new-tokens 3 hi 2>&1 >/dev/null |
        grep -qx "ask: warning: chat: the chat template does not write all of the messages' text"
    # The time is what is said of it.
    echo '{{ strftime_now("%Y") }}{{ messages[0].content }}' >clock.jinja
    ask -q -m chat --chat-template clock.jinja --now 2026-01-02T03:04:05 --max-new-tokens 30 hi >out
    echo '{{ messages[0].content }}' >plain.jinja
    ask -q -m chat --chat-template plain.jinja --max-new-tokens 30 2026hi | cmp out -
    fails 1 '^ask: chat: clock.jinja:1: the template asks for the time' ask -q -m chat --chat-template clock.jinja hi
}

@test "ask: a base model is called one, once; an answer that was cut is told of" {
    run -0 --separate-stderr ask -m base -n 2 --max-new-tokens 3 hi
    [ "$(grep -c '^ask: base: no chat template: the text is continued as it is$' <<<"$stderr")" -eq 1 ]
    [ "$(grep -c '^ask: sample [01]: stopped at 3 tokens (--max-new-tokens)$' <<<"$stderr")" -eq 2 ]
    run -0 --separate-stderr ask -q -m base --max-new-tokens 3 hi
    [ -z "$stderr" ]
    # An end token that is drawn is no part of the answer; one that is no special token either.
    ask -q -m chat --json --max-new-tokens 500 -n 6 hi >out
    jq -se 'map(select(.finish == "stop")) | length > 0 and all(.completion | contains("im_end") | not)' out
    token=$(tok -q -m chat --prompts hello.jsonl | rollout -q -m chat --seed 4 --max-new-tokens 9 | toks view - |
        jq -c 'select(.token) | [.token[-1], .token[-9:]]')
    ask -q -m chat --seed 4 --stop-token "$(jq '.[0]' <<<"$token")" hello world >out
    n=$(jq '.[0] as $t | .[1] | index($t)' <<<"$token")
    ask -q -m chat --seed 4 --max-new-tokens "$((n + 1))" hello world >whole
    [ "$(wc -c <out)" -lt "$(wc -c <whole)" ]
    head -c -1 out | cmp - <(head -c "$(($(wc -c <out) - 1))" whole)
    run -0 --separate-stderr ask -v -m chat --max-new-tokens 5 hello
    grep -Eq '^ask: [0-9]+ tokens of prompt, first token after [0-9.]+ s, 5 tokens, [0-9.]+ tokens/s$' <<<"$stderr"
}

@test "ask: --json has a line for each answer, with what tok --prompts reads" {
    ask -q -m chat -m base -n 2 --seed 3 --max-new-tokens 20 --json --system 'be brief' hi >out 2>said || true
    grep -q '^ask: base: a system text needs a chat template' said
    ask -q -m chat -m ./base -n 2 --seed 3 --max-new-tokens 20 --json hi >out
    jq -se 'map([.model, .sample]) == [["chat", 0], ["chat", 1], ["base", 0], ["base", 1]] and
        all(.tokens > 0 and .tokens <= 20 and .seconds >= .first_seconds and (.finish | IN("stop", "length"))) and
        .[0].messages == [{role: "user", content: "hi"}] and (.[0] | has("prompt") | not) and
        .[2].prompt == "hi" and (.[2] | has("messages") | not)' out
    cmp <(jq -r 'select(.model == "chat") | .completion' out) \
        <(echo '{"messages":[{"role":"user","content":"hi"}]}' | pipeline chat -n 2 --seed 3 --max-new-tokens 20)
    cmp <(jq -r 'select(.model == "base") | .completion' out) \
        <(echo '{"prompt":"hi"}' | pipeline base -n 2 --seed 3 --max-new-tokens 20)
    head -1 out | tok -q -m chat --prompts -o again
    # Directories of one name are told apart.
    mkdir -p other && ln -sfn ../base other/base
    ask -q -m base -m other/base --json --max-new-tokens 2 hi | jq -se 'map(.model) == ["base", "other/base"]'
}

# ---- terminals ----

@test "ask: on a terminal nothing of a model is raw, elsewhere all of it" {
    ask -q -m base --max-new-tokens 300 --seed 1 hi >out
    LC_ALL=C grep -q $'[\x01-\x08]' out
    on_terminal 80 "ask -q -m $PWD/base --max-new-tokens 300 --seed 1 hi" </dev/null
    [ "$got" -eq 0 ]
    run ! grep -q $'[\x01-\x08\x0b-\x1f\x7f]' "$BATS_TEST_TMPDIR/seen"
    iconv -f UTF-8 -t UTF-8 "$BATS_TEST_TMPDIR/seen" >/dev/null
    # Newlines and tabs are there, and of all else as many characters.
    [ "$(wc -l <"$BATS_TEST_TMPDIR/seen")" -eq "$(wc -l <out)" ]
    [ "$(tr -d '\r' <out | wc -m)" -eq "$(($(wc -m <"$BATS_TEST_TMPDIR/seen") - $(tr -cd '\r' <out | wc -c)))" ]
}

@test "ask: two models side by side on 80 columns, one after the other on 40" {
    on_terminal 80 "ask -q -m $PWD/chat -m $PWD/base --max-new-tokens 60 hi" </dev/null
    cd "$BATS_TEST_TMPDIR"
    [ "$(head -1 seen)" = 'chat                                   | base' ]
    [ "$(sed -n 2p seen)" = '---------------------------------------+---------------------------------------' ]
    [ "$(wc -l <seen)" -gt 4 ]
    run ! grep -vE '^.{39}[|+]' seen
    run ! grep -E '^.{81}' seen
    # The words are those of the answers, controls but for question marks.
    cd -
    cmp <(sed '1,2d' "$BATS_TEST_TMPDIR/seen" | cut -c1-38 | tr -d ' \n?') \
        <(ask -q -m chat --max-new-tokens 60 hi | tr -d '\001-\037 ?\177')
    on_terminal 40 "ask -q -m $PWD/chat -m $PWD/base --max-new-tokens 60 hi" </dev/null
    grep -qx '== chat ==' "$BATS_TEST_TMPDIR/seen"
    grep -qx '== base ==' "$BATS_TEST_TMPDIR/seen"
    # In a file too.
    ask -q -m chat -m base --max-new-tokens 60 hi >out
    cmp out <(printf '== chat ==\n' && ask -q -m chat --max-new-tokens 60 hi && printf '\n== base ==\n' &&
        ask -q -m base --max-new-tokens 60 hi)
    ask -q -m chat -n 2 --first-sample 4 --max-new-tokens 9 hi >out
    [ "$(grep -c '^== sample [45] ==$' out)" -eq 2 ]
}

# ---- chats ----

# The words typed, a line each, into a chat of these options; its answers go to `answers`, its saved
# record to `saved`.
chat() { # OPTION... -- LINE...
    local options=() answers=$BATS_TEST_TMPDIR/answers
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    rm -f "$BATS_TEST_TMPDIR/saved"
    on_terminal 80 "ask -q ${options[*]} >$answers 2>$BATS_TEST_TMPDIR/said" \
        < <(printf '%s\n' "$@" "/save $BATS_TEST_TMPDIR/saved" /quit)
}

@test "ask: in a chat the second question sees the first and its answer" {
    chat -m "$PWD/chat" --max-new-tokens 20 -- hi 'and then?'
    [ "$got" -eq 0 ]
    cd "$BATS_TEST_TMPDIR"
    jq -e '.messages | map(.role) == ["user", "assistant", "user", "assistant"] and .[2].content == "and then?"' saved
    { head -c -1 answers; echo; } | cmp - <(jq -r '.messages[] | select(.role == "assistant") | .content' saved)
    for n in 1 3; do
        cmp <(jq -r ".messages[$n].content" saved) \
            <(jq -c "{messages: .messages[:$n]}" saved | pipeline "$BATS_FILE_TMPDIR/chat" --max-new-tokens 20)
    done
    # What was saved is a record.
    tok -q -m "$BATS_FILE_TMPDIR/chat" saved -o /dev/null
}

@test "ask: a chat's commands" {
    # /again draws the next sample of the last question.
    chat -m "$PWD/chat" --max-new-tokens 20 -- /again hi /again /again
    jq -r '.messages[-1].content' "$BATS_TEST_TMPDIR/saved" |
        cmp - <(echo '{"messages":[{"role":"user","content":"hi"}]}' | pipeline chat --max-new-tokens 20 --first-sample 2)
    [ "$(jq '.messages | length' "$BATS_TEST_TMPDIR/saved")" -eq 2 ]
    grep -Eqx '(> )*ask: warning: there is no answer to draw anew' "$BATS_TEST_TMPDIR/said"
    chat -m "$PWD/chat" --temperature 0 --max-new-tokens 5 -- hi /again
    grep -q 'temperature 0 the answer would be the same' "$BATS_TEST_TMPDIR/said"
    # /new forgets, but not the system text; /system is a new one.
    chat -m "$PWD/chat" --system one --max-new-tokens 5 -- hi /new ho
    jq -e '.messages | map(.content)[:2] == ["one", "ho"] and length == 3' "$BATS_TEST_TMPDIR/saved"
    chat -m "$PWD/chat" --system one --max-new-tokens 5 -- hi '/system  two words' ho /new hu
    jq -e '.messages | map(.content)[:2] == ["two words", "hu"] and length == 3' "$BATS_TEST_TMPDIR/saved"
    chat -m "$PWD/chat" --system one --max-new-tokens 5 -- /system '' ' /help'
    jq -e '.messages | length == 2 and .[0].content == " /help"' "$BATS_TEST_TMPDIR/saved"
    # /save writes over nothing, and a chat goes on from what failed.
    echo mine >"$BATS_TEST_TMPDIR/mine"
    chat -m "$PWD/chat" --max-new-tokens 5 -- "/save $BATS_TEST_TMPDIR/early" hi "/save $BATS_TEST_TMPDIR/mine" /save \
        "/save $BATS_TEST_TMPDIR/no/where" '/new now' /nonsense $'\xff\xfe' ho
    [ "$got" -eq 0 ]
    [ "$(cat "$BATS_TEST_TMPDIR/mine")" = mine ]
    [ ! -e "$BATS_TEST_TMPDIR/early" ]
    grep -q 'nothing to save' "$BATS_TEST_TMPDIR/said"
    grep -q 'mine: is there already' "$BATS_TEST_TMPDIR/said"
    grep -q 'needs the name of a file' "$BATS_TEST_TMPDIR/said"
    grep -q 'no/where: No such file' "$BATS_TEST_TMPDIR/said"
    grep -q '/new takes nothing behind it' "$BATS_TEST_TMPDIR/said"
    grep -q 'there is no /nonsense' "$BATS_TEST_TMPDIR/said"
    grep -q 'the question is not UTF-8 text' "$BATS_TEST_TMPDIR/said"
    jq -e '.messages | map(select(.role == "user").content) == ["hi", "ho"]' "$BATS_TEST_TMPDIR/saved"
    # /help names each command; the end of input ends.
    on_terminal 80 "ask -m $PWD/chat" < <(printf '/help\n\4')
    [ "$got" -eq 0 ]
    for command in help new again system save quit; do
        grep -q "^ *\(> \)\? */$command " "$BATS_TEST_TMPDIR/seen"
    done
    grep -q '^ask: a chat: /help lists the commands' "$BATS_TEST_TMPDIR/seen"
}

@test "ask: a chat with several models, and with a base model" {
    chat -m "$PWD/chat" -m "$PWD/endless" --max-new-tokens 8 -- hi ho
    [ "$(wc -l <"$BATS_TEST_TMPDIR/saved")" -eq 2 ]
    for name in chat endless; do
        jq -c "select(.model == \"$name\")" "$BATS_TEST_TMPDIR/saved" >one
        [ -s one ]
        cmp <(jq -r '.messages[3].content' one) <(jq -c '{messages: .messages[:3]}' one | pipeline "$name" --max-new-tokens 8)
    done
    chat -m "$PWD/base" --max-new-tokens 8 -- hi ho '/system x'
    grep -q 'a system text needs a chat template' "$BATS_TEST_TMPDIR/said"
    jq -e '.prompt == "ho"' "$BATS_TEST_TMPDIR/saved"
    cmp <(jq -r .completion "$BATS_TEST_TMPDIR/saved") <(echo '{"prompt":"ho"}' | pipeline base --max-new-tokens 8)
}

@test "ask: a chat that leaves no room in the positions says so, and /new helps" {
    words=$(seq -s ' ' 130)
    chat -m "$PWD/chat" --max-new-tokens 5 -- hi "$words" "$words" ho
    grep -Eqx "(> )*ask: warning: .*chat: [0-9]+ tokens leave no room in the model's 512 positions: /new begins another chat" \
        "$BATS_TEST_TMPDIR/said"
    jq -e --arg w "$words" '.messages | map(select(.role == "user").content) | .[0] == "hi" and .[-1] == "ho" and length < 4' \
        "$BATS_TEST_TMPDIR/saved"
    fails 1 "^ask: chat: [0-9]+ tokens leave no room in the model's 512 positions$" ask -q -m chat "$words $words $words"
    # An answer goes to the end of the positions.
    run -0 --separate-stderr ask -m base --temperature 0 --max-new-tokens 100000 hi
    [[ $stderr == *"stopped at "*" tokens, where the model's positions end" ]]
}

# The transcript of the terminal, while it is written.
prompts() { # NUMBER: so many, at the beginning of a line each
    [ -e "$BATS_TEST_TMPDIR/raw" ] && [ "$(grep -ac '^> ' "$BATS_TEST_TMPDIR/raw")" -ge "$1" ]
}
transcript_grows() { # BYTES
    [ "$(stat -c %s "$BATS_TEST_TMPDIR/raw" 2>/dev/null || echo 0)" -gt "$1" ]
}

@test "ask: Ctrl-C stops an answer and keeps the chat; at the prompt it ends it" {
    mkfifo "$BATS_TEST_TMPDIR/keys"
    on_terminal 80 "ask -q -m $PWD/endless --temperature 0 --max-new-tokens 100000000" <"$BATS_TEST_TMPDIR/keys" 3>&- &
    job=$!
    exec 8>"$BATS_TEST_TMPDIR/keys"
    await prompts 1
    printf 'go on\n' >&8
    await transcript_grows 2000
    printf '\003' >&8
    await prompts 2
    printf '/save saved\nand on\n' >&8
    await test -s "$BATS_TEST_TMPDIR/saved"
    size=$(stat -c %s "$BATS_TEST_TMPDIR/raw")
    await transcript_grows $((size + 1000))
    printf '\003' >&8
    await prompts 3
    printf '\003' >&8
    exec 8>&-
    wait "$job"
    [ "$(cat "$BATS_TEST_TMPDIR/got")" -eq 130 ]
    # What was said until then is the answer, and it is the beginning of the whole one.
    jq -r '.messages[1].content' "$BATS_TEST_TMPDIR/saved" | head -c -1 >part
    [ "$(wc -c <part)" -gt 500 ]
    ask -q -m endless --temperature 0 --max-new-tokens 100000000 'go on' 2>/dev/null | head -c "$(wc -c <part)" | cmp - part
}

@test "ask: a model that changes under a chat ends it" {
    mkfifo "$BATS_TEST_TMPDIR/keys"
    cp -r chat "$BATS_TEST_TMPDIR/changing"
    on_terminal 80 "ask -m changing --max-new-tokens 5" <"$BATS_TEST_TMPDIR/keys" 3>&- &
    job=$!
    exec 8>"$BATS_TEST_TMPDIR/keys"
    await prompts 1
    printf x | dd of="$BATS_TEST_TMPDIR/changing/model.safetensors" bs=1 seek=20000 conv=notrunc status=none
    printf 'hi\n' >&8
    exec 8>&-
    wait "$job"
    [ "$(cat "$BATS_TEST_TMPDIR/got")" -eq 1 ]
    grep -q '^ask: changing/model.safetensors changed while it was read$' "$BATS_TEST_TMPDIR/seen"
}

@test "ask: a signal ends it as it ends others" {
    for signal in HUP TERM; do
        ask -q -m endless --temperature 0 --max-new-tokens 100000000 hi >"$BATS_TEST_TMPDIR/$signal" &
        pid=$!
        await test -s "$BATS_TEST_TMPDIR/$signal"
        kill -"$signal" "$pid"
        await is_gone "$pid"
        status=0
        wait "$pid" || status=$?
        [ "$status" -eq $((128 + $(kill -l "$signal"))) ]
    done
}

# ---- refusals ----

@test "ask: usage" {
    fails 2 "m DIR is missing" ask hi
    fails 2 "nonsense" ask --nonsense
    fails 2 "cuda" ask -m chat --device cuda hi
    fails 2 "stop-token.*nowhere" ask -m chat --stop-token nowhere hi
    fails 1 "command line: the question is empty" ask -m chat ''
    fails 1 "standard input: the question is empty" ask -m chat < <(printf '\n\n')
    fails 1 "not UTF-8" ask -m chat $'\xff'
    fails 1 "absent.jinja: No such file" ask -m chat --chat-template absent.jinja hi
    for option in --json '-n 2'; do
        on_terminal 80 "ask -m $PWD/chat $option" </dev/null
        [ "$got" -eq 2 ]
        grep -q 'a chat goes on from one answer' "$BATS_TEST_TMPDIR/seen"
    done
}

@test "ask: a directory that is no model is refused as by rollout" {
    tok -q -m chat --prompts hello.jsonl -o hello.toks
    mkdir empty weightless
    cp -r chat cut && head -c 5000 chat/model.safetensors >cut/model.safetensors
    cp -r chat odd && jq '.hidden_act = "odd"' chat/config.json >odd/config.json
    cp -r chat broken && echo '{' >broken/config.json
    cp chat/*.json weightless
    for directory in absent empty weightless cut odd broken hello.toks; do
        fails 1 "^ask: " ask -q -m "$directory" hi
        said=$stderr
        fails 1 "^rollout: " rollout -q -m "$directory" hello.toks
        [ "${said#ask: }" = "${stderr#rollout: }" ]
    done
    cp -r chat spelled && echo '{}' >spelled/tokenizer.json
    fails 1 "^ask: spelled: tokenizer.json" ask -q -m chat -m spelled hi
    cp -r chat template && echo '{% if %}' >template/chat_template.jinja
    fails 1 "^ask: template.*chat_template.jinja" ask -q -m template hi
    cp -r chat refusing && echo '{{ raise_exception("only cats") }}' >refusing/chat_template.jinja
    fails 1 "^ask: refusing: .*only cats" ask -q -m refusing hi
}

@test "ask: outputs that fail, readers that go, little memory" {
    fails 1 "No space" ask -q -m chat -o /dev/full hi
    run -1 --separate-stderr bash -c 'ask -q -m chat hi >/dev/full'
    [ "${#stderr_lines[@]}" -eq 1 ]
    run --separate-stderr timeout 60 bash -c 'ask -q -m endless --temperature 0 --max-new-tokens 100000000 hi | head -c 10 >/dev/null; echo "${PIPESTATUS[0]}"'
    [ "$output" -eq 141 ]
    [ -z "$stderr" ]
    echo old >kept
    run ! ask -q -m chat -o kept --now x --chat-template clock-absent hi
    [ "$(cat kept)" = old ]
    [ "$BIN" -ef "$BATS_TEST_DIRNAME/../bin" ] || skip "needs the plain build"
    for kib in 8000 30000 60000 120000 400000; do
        status=0
        (ulimit -v $kib && exec ask -q -m chat --max-new-tokens 5 hi) >/dev/null 2>said || status=$?
        [[ " 0 4 127 " == *" $status "* ]] || { cat said; false; }
        [ "$status" -eq 0 ] || [ "$(wc -l <said)" -eq 1 ]
    done
    [ "$status" -eq 0 ]
}
