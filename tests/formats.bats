#!/usr/bin/env bats
# long
# Records in every format, packed files, what is said of them, and the reference's own cases.
bats_require_minimum_version 1.5.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2053
load text

setup() {
    fixtures=$BATS_TEST_DIRNAME/fixtures
    records=$fixtures/records
    model=$fixtures/tokenizers/qwen2
    chatml=$fixtures/templates/chatml.jinja
    tok=$BIN/tok
    cd "$BATS_TEST_TMPDIR" || return
}

rendered() { # RECORD [OPTION...]: its text with the trained part marked, without the title
    local record=$1
    shift
    "$tok" -q -m "$model" --chat-template "$chatml" --show "$@" <<<"$record" | tail -n +2
}

said() { # RECORDS [OPTION...]: what tok says besides
    local text=$1
    shift
    "$tok" -m "$model" --chat-template "$chatml" "$@" -o /dev/null <<<"$text" 2>&1
}

# Every line of the table has as many equal cases as were tried; their sum goes to $cases.
all_equal() { # TABLE
    cases=$(awk -F'\t' '
        $4 != $5 { print "not equal: " $0 >"/dev/stderr"; bad = 1 }
        { n += $4 }
        END { print n; exit bad || !n }' "$1")
}

# ---- the reference's cases ----

@test "our records: ids and masks as TRL's, by the rules" {
    mkdir -p golden/text/ids
    ln -s "$fixtures/tokenizers" "$fixtures/templates" "$records/sft-formats.jsonl" golden/text
    echo '{"prefix":[],"suffix":[]}' >golden/text/ids/qwen2.ids.jsonl
    echo '{"prefix":[1],"suffix":[]}' >golden/text/ids/llama2-legacy.ids.jsonl
    GOLDEN=$PWD/golden "$BATS_TEST_DIRNAME/fidelity/formats" formats >table
    all_equal table
    [ "$cases" -ge 200 ]
    # Each kind of case is there.
    for name in text prompt-completion messages prompt-completion-messages sharegpt pretokenized \
        instruction 'instruction chat' 'instruction stanford' 'prompt-completion apart' \
        'text, both as TRL'; do
        grep -q "^formats	$name	mask	" table || { echo "no $name"; return 1; }
    done
    grep -q '	refused	' table
}

@test "our chats: rendered and masked by blocks" {
    mkdir -p golden/text
    ln -s "$fixtures/tokenizers" "$fixtures/templates" "$fixtures/templates/mask-conversations.json" \
        "$records/assistant-mask.jsonl" golden/text
    jq '{conversations: map_values({messages: .}), tools: []}' \
        "$fixtures/templates/mask-conversations.json" >golden/text/conversations.json
    jq -c 'select(.tokenizer == "llama2-legacy") | {template: "templates/\(.template).jinja",
        conversation, add_generation_prompt: false, output: .text}' \
        "$records/assistant-mask.jsonl" >golden/text/chat.jsonl
    GOLDEN=$PWD/golden DATA=$fixtures "$BATS_TEST_DIRNAME/fidelity/formats" rendered masks >table
    all_equal table
    [ "$cases" -ge 60 ]
}

@test "the comparison sees what differs" {
    mkdir -p golden/text/ids
    ln -s "$fixtures/tokenizers" "$fixtures/templates" golden/text
    head -n 3 "$records/sft-formats.jsonl" | jq -c '.trl.mask[0] = 5' >golden/text/sft-formats.jsonl
    GOLDEN=$PWD/golden "$BATS_TEST_DIRNAME/fidelity/formats" formats >table 2>named
    run ! all_equal table
    [ "$(grep -c '^differs: formats text mask' named)" -eq 3 ]
}

# ---- packed files ----

@test "gzip and Zstandard are read as they are, from files and pipes" {
    gzip -c "$records/messages.jsonl" >m.jsonl.gz
    zstd -qc "$records/messages.jsonl" >m.jsonl.zst
    "$tok" -q -m "$model" --chat-template "$chatml" "$records/messages.jsonl" | view >plain
    for file in m.jsonl.gz m.jsonl.zst; do
        "$tok" -q -m "$model" --chat-template "$chatml" "$file" | view | cmp - plain
        # No name, and a byte at a time.
        (export STRIKE_READS=1 && cat "$file" | exec_struck points KILL 0 "$tok" -q -m "$model" --chat-template "$chatml") |
            view | cmp - plain
    done
    "$tok" -m "$model" --chat-template "$chatml" m.jsonl.gz -o /dev/null 2>&1 | grep -q 'm.jsonl.gz:1, gzip has'
    gzip -c "$fixtures/templates/mask-conversations.json" >other.gz
    # An array, plain text, an empty text and no text at all.
    jq -s . "$records/text.jsonl" | gzip | "$tok" -q -m "$model" | view |
        cmp - <("$tok" -q -m "$model" "$records/text.jsonl" | view)
    printf 'one\ntwo\n' | zstd -q | "$tok" -q -m "$model" --render | jq -r .text | cmp - <(printf 'one\ntwo\n')
    gzip -c /dev/null >empty.gz
    fails 1 'tok: empty.gz: no records' "$tok" -q -m "$model" empty.gz
}

@test "members and frames one after the other are one text" {
    head -n 1 "$records/text.jsonl" >a
    tail -n 1 "$records/text.jsonl" >b
    { gzip -c a; gzip -c b; } >ab.gz
    { zstd -qc a; zstd -qc b; } >ab.zst
    { gzip -c a; gzip -c b; head -c 1024 /dev/zero; } >padded.gz
    # Frames to skip, as parallel and seekable packers write them.
    { printf '\x50\x2a\x4d\x18\x04\0\0\0abcd'; zstd -qc a; printf '\x5e\x2a\x4d\x18\x01\0\0\0x'; zstd -qc b; } >skip.zst
    for file in ab.gz ab.zst padded.gz skip.zst; do
        "$tok" -q -m "$model" --render "$file" | cmp - <("$tok" -q -m "$model" --render "$records/text.jsonl")
    done
}

@test "packed data that is cut short or corrupt is one line and status 1" {
    for i in $(seq 400); do echo "{\"text\":\"the miller counted $i sacks, $((i * 7919 % 1009)) of them\"}"; done >t
    gzip -c t >t.gz
    zstd -qc t >t.zst
    for kind in gz zst; do
        size=$(stat -c %s t.$kind)
        for at in 8 20 $((size / 2)) $((size - 1)); do
            head -c "$at" t.$kind >cut.$kind
            fails 1 "tok: cut.$kind: the * data is cut short" "$tok" -q -m "$model" cut.$kind
        done
        { head -c $((size / 2)) t.$kind; head -c 40 /dev/zero; tail -c +$((size / 2 + 41)) t.$kind; } >bad.$kind
        fails 1 "tok: bad.$kind: the * data is corrupt" "$tok" -q -m "$model" bad.$kind
    done
    { cat t.gz; echo hello; } >behind.gz
    fails 1 'tok: behind.gz: something follows the gzip data' "$tok" -q -m "$model" behind.gz
    { cat t.zst; echo hello; } >behind.zst
    fails 1 'tok: behind.zst: the Zstandard data is corrupt' "$tok" -q -m "$model" behind.zst
}

@test "files that unpack without end are refused, in little memory" {
    head -c 400000000 /dev/zero | tr '\0' '\n' | zstd -q >bomb.zst
    fails 1 'tok: bomb.zst: unpacks to more than 500 times its size*' "$tok" -q -m "$model" bomb.zst
    # A record without end, packed tenfold only.
    { printf '{"text":"'; head -c 300000000 /dev/zero | tr '\0' a; } | gzip -1 >long.gz
    fails 1 'tok: long.gz:1: a record is longer than 256 MiB' "$tok" -q -m "$model" long.gz
    head -c 1000 /dev/urandom | zstd -q --long=31 --ultra -1 >wide.zst
    printf '\x28\xb5\x2f\xfd\x00\xb0\x01\x00\x00' >wide.zst # a window of 2^32 bytes
    fails 1 'tok: wide.zst: *window beyond 128 MiB*' "$tok" -q -m "$model" wide.zst
}

@test "streams that unpack without end are refused by what must be held, not by their length" {
    { printf '{"id":"a","token":['; head -c 400000000 /dev/zero | tr '\0' ' '; echo '1]}'; } | zstd -q >line.zst
    fails 3 'toks check: line.zst: *unpacks to more than 500 times its size*' "$BIN/toks" check line.zst
    # The same in a record that is not the first one, from a pipe.
    { echo '{"id":"a","token":[1]}'; zstd -qdc line.zst; } | zstd -q | fails 3 \
        'toks stat: standard input: record 2: unpacks to more than 500 times its size*' "$BIN/toks" stat
    # Many records, each small: legal, however well they are packed.
    { printf '{"id":"a","token":[1],"text":"'; head -c 3000000 /dev/zero | tr '\0' a; echo '"}'; } >one
    for ((i = 0; i < 100; i++)); do cat one; done | zstd -q >many.zst
    "$BIN/toks" check many.zst
    "$BIN/toks" view -b -o many.toks many.zst
    "$BIN/toks" check many.toks
    [ "$(stat -c %s many.toks)" -lt 500000 ]
}

@test "a large record: memory for it is bounded, and looked for before the work" {
    [[ -z ${ASAN_OPTIONS-} || $BIN != *address* ]] || skip 'a sanitizer needs memory of its own'
    { printf '{"text":"'; head -c 24000000 /dev/zero | tr '\0' a; echo '"}'; } >large.jsonl
    /usr/bin/time -f %M -o peak "$tok" -q -m "$model" large.jsonl -o large.toks
    [ "$(tail -n 1 peak)" -lt $((24000 * 20 + 60000)) ]
    # 48 times 24 MB are 1098 MiB.
    limited() { (ulimit -v 1000000 && "$@"); }
    fails 4 'tok: large.jsonl:1: record `1`: this record needs about 1098 MiB and 976 MiB are available' \
        limited "$tok" -q -m "$model" large.jsonl
}

@test "a chat of twice as many turns is twice the work" {
    "${CC:-gcc}" -shared -fPIC -o count.so "$BATS_TEST_DIRNAME/count.c" -ldl -ljansson
    # In each a template tells the assistant's turns only by how a chat goes on after them; the other one
    # has a system text before its loop.
    looks() { # MESSAGES TEMPLATE: how often tok looks into the record
        jq -nc --argjson n "$1" '{messages: [range($n) | {role: (if . == 0 then "system"
            elif . % 2 == 1 then "user" else "assistant" end), content: "w\(.)"}]}' >chat.jsonl
        COUNT=$PWD/count ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS-} LD_PRELOAD=$PWD/count.so \
            "$tok" -q -m "$model" --chat-template "$2" chat.jsonl -o chat.toks
        cat count
    }
    printf '%s' "{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% set loop_messages = messages[1:] %}" \
        "{% else %}{% set loop_messages = messages %}{% endif %}{% for m in loop_messages %}<|im_start|>{{ m.role }}" \
        "{{ '\n' + m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}" >sliced
    for template in "$fixtures/templates/chatml-unmarked.jinja" sliced; do
        some=$(looks 200 "$template") more=$(looks 400 "$template")
        echo "# $some $more"
        [ "$some" -gt 200 ] && [ "$more" -gt "$some" ] && [ "$more" -lt $((some * 21 / 10)) ]
        [ "$(looks 16000 "$template")" -lt $((more * 42)) ]
        "$BIN/toks" stat -O json chat.toks | jq -e '.records == 1 and .trained > 7000'
    done
}

@test "memory does not grow with an array" {
    [[ -z ${ASAN_OPTIONS-} || $BIN != *address* ]] || skip 'a sanitizer needs memory of its own'
    seq 60000 | awk '
        { printf "%s{\"text\":\"%d bottles of tea, %d cups and the old miller\"}", NR == 1 ? "[" : ",", $1, 3 * $1 }
        END { print ",{\"text\":\"last\"}]" }' | gzip -1 >many.json.gz
    (ulimit -v 400000; "$tok" -q --threads 1 -m "$model" many.json.gz -o many.toks)
    view many.toks | tail -n 1 | jq -e '.id == "60001"'
}

# ---- what files hold ----

@test "files that are no text are called by their name" {
    named() { # BYTES PATTERN [WAY]
        printf "$1" >f
        fails 1 "tok: f: $2; wanted are JSON lines, a JSON array or UTF-8 text${3:+: $3}" "$tok" -q -m "$model" f
    }
    local json='to_json() of the datasets library writes JSON lines'
    named 'PAR1\x15\x04' 'a Parquet file' "$json"
    named 'ARROW1\0\0' 'an Arrow file' "$json"
    named '\xff\xff\xff\xff\x10' 'an Arrow stream' "$json"
    named 'PK\x03\x04' 'a zip archive' 'unpack it'
    named '\xfd7zXZ\0' 'compressed by xz' '`xz -dc` unpacks it'
    named 'BZh91AY' 'compressed by bzip2' '`bzip2 -dc` unpacks it'
    named '\xff\xfea\0' 'UTF-16' '`iconv -f UTF-16 -t UTF-8` converts it'
    named '%%PDF-1.7' 'a PDF document'
    named 'SQLite format 3\0' 'an SQLite database'
    named 'GGUF\3\0' 'a GGUF file' '`model import FILE -o DIR` makes a model directory of it'
    named '\x40\0\0\0\0\0\0\0{"a"' 'a safetensors file'
    named 'version https://git-lfs.x/spec/v1\n' 'a pointer of Git LFS' '`git lfs pull` fetches the file'
    echo '{"text":"a"}' >a.jsonl
    tar cf a.tar a.jsonl
    gzip a.tar
    fails 1 'tok: a.tar.gz: a tar archive; *: unpack it' "$tok" -q -m "$model" a.tar.gz
    # Text that may be meant as such.
    printf '<html>\n' | "$tok" -q -m "$model" -o /dev/null
    "$tok" -q -m "$model" "$records/text.jsonl" -o s.toks
    fails 1 'tok: s.toks: a token stream (tok -d reads it); wanted are*' "$tok" -q -m "$model" s.toks
    printf 'question,answer\n1,2\n' >t.csv
    fails 1 'tok: t.csv: a table, not JSON lines*' "$tok" -q -m "$model" t.csv
    "$tok" -q -m "$model" --format text t.csv -o /dev/null
    "$tok" -q -m "$model" "$records/text.jsonl" | "$BIN/toks" view >twin.jsonl
    fails 1 'tok: twin.jsonl:1: a token stream, not records (tok -d reads it)' "$tok" -q -m "$model" twin.jsonl
}

@test "objects over many lines, byte-order mark, CRLF, NUL" {
    jq . "$records/text.jsonl" >pretty.json
    "$tok" -q -m "$model" --render pretty.json | cmp - <("$tok" -q -m "$model" --render "$records/text.jsonl")
    { cat pretty.json; printf '{\n"text": "a"\n'; } >open.json
    fails 1 'tok: open.json:9: the JSON object that begins here does not end' "$tok" -q -m "$model" open.json
    { cat pretty.json; echo ']'; } >odd.json
    fails 1 'tok: odd.json:9: not valid JSON: no { at the beginning of a record' "$tok" -q -m "$model" odd.json
    printf '\xef\xbb\xbf{"text":"a"}\r\n{"text":"b\\u0000c"}\r\n' | "$tok" -q -m "$model" --render |
        jq -sc 'map(.text)' | cmp - <(printf '["a","b\\u0000c"]\n')
    printf '\xef\xbb\xbfa\0b\r\n' | "$tok" -q -m "$model" --render | jq -ce '.text == "a\u0000b"'
}

@test "broken text and JSON name the line" {
    bad() { # BYTES PATTERN
        printf "$1" >bad.jsonl
        fails 1 "tok: bad.jsonl:$2" "$tok" -q -m "$model" bad.jsonl
    }
    bad '{"text":"a"}\n{"text":"\xff"}\n' '2: not valid JSON: *byte 0xff*'
    bad '{"text":"a"}\n{"text":"\\ud800"}\n' '2: not valid JSON: *'
    bad '{"text":"a","text":"b"}\n' '1: not valid JSON: duplicate object key*'
    bad "{\"text\":$(printf '[%.0s' {1..5000})" '1: *'
    printf 'one\ntw\xe9\n' >latin.txt
    fails 1 'tok: latin.txt:2: not UTF-8 (byte 3 *' "$tok" -q -m "$model" latin.txt
    printf '{"text":"a","n":123456789012345678901234567890}\n' | "$tok" -q -m "$model" -o /dev/null
    # A line of 5 MB.
    { printf '{"text":"'; head -c 5000000 /dev/zero | tr '\0' ' '; printf 'a"}\n'; } |
        "$tok" -q -m "$model" --max-length 10 --truncation left -o /dev/null
}

@test "--sample-by: lines, paragraphs, documents" {
    printf '\n\none\r\ntwo\n\n \n\nthree\n' >t.txt
    texts() { "$tok" -q -m "$model" --render --sample-by "$1" t.txt | jq -sc 'map(.text)'; }
    [ "$(texts line)" = '["one","two","three"]' ]
    [ "$(texts paragraph)" = '["one\r\ntwo","three"]' ]
    [ "$(texts document)" = '["one\r\ntwo\n\n \n\nthree"]' ]
    said "$(cat t.txt)" --sample-by document | grep -q 'a record a file'
}

# ---- what tok says ----

@test "each format is told by its keys, and said" {
    tells() { # NAME WHY
        "$tok" -m "$model" --chat-template "$chatml" "$records/$1.jsonl" -o /dev/null 2>&1 |
            grep -F "format: ${3-$1} ($records/$1.jsonl:1 has $2)"
    }
    tells text '`text`' | grep -q 'trained: all$'
    tells prompt-completion '`prompt` and `completion`' | grep -q 'trained: completion$'
    tells messages '`messages`' | grep -qF '(trained: its generation blocks), trained: assistant'
    tells sharegpt '`conversations`' | grep -q 'trained: assistant$'
    tells instruction '`instruction` and `output`' | grep -q 'prompt: alpaca, trained: completion$'
    tells preference '`chosen` and `rejected`' | grep -q 'trained: completion$'
    tells pretokenized '`input_ids`' | grep -q 'what labels or masks say$'
    "$tok" -m "$model" --chat-template "$fixtures/templates/chatml-unmarked.jinja" -o /dev/null \
        "$records/messages.jsonl" 2>&1 | grep -qF '(no generation blocks; trained by the bounds of turns)'
    said '{"text":"a","instruction":"b","output":"c"}' | grep -qF '`text`; --format instruction would fit too'
    said '{"text":"a"}' --format text | grep -qF 'as asked for'
    [ -z "$(said '{"text":"a"}' -q)" ]
}

@test "what is not known is refused with its keys and the option that helps" {
    advises() { # RECORD ADVICE
        echo "$1" >r.jsonl
        fails 1 "tok: r.jsonl:1: no known format: there are \`* ($2)" "$tok" -q -m "$model" r.jsonl
        # The advice is right.
        [[ $2 != --fields\ ?*=[a-z]* ]] || "$tok" -q -m "$model" ${2} r.jsonl -o /dev/null
    }
    advises '{"question":"a","answer":"b"}' '--fields prompt=question,completion=answer'
    advises '{"input":"a","output":"b","n":1}' '--fields prompt=input,completion=output'
    advises '{"instruction":"a","response":"b"}' '--fields output=response'
    advises '{"prompt":"a","response":"b","instruction":"c"}' '--fields completion=response'
    advises '{"story":"a"}' '--fields text=story'
    advises '{"instruction":"a","instances":[]}' 'there is no answer: --prompts writes the instruction alone'
    advises '{"prompt":"a"}' 'there is no answer: --prompts writes the prompt alone'
    advises '{"data":[{"text":"a"}]}' "the records stand below: jq -c *data*"
    advises '{"turns":["a"]}' '--fields OURS=THEIRS, or reshape the records with jq'
    echo '{}' >r.jsonl
    fails 1 'tok: r.jsonl:1: no known format: there is nothing in it; *' "$tok" -q -m "$model" r.jsonl
    echo '{"prompt":"a","completion":"b","label":false}' >r.jsonl
    fails 1 'tok: r.jsonl:1: `label` says which answers are wanted*' "$tok" -q -m "$model" r.jsonl
    "$tok" -q -m "$model" --format prompt-completion r.jsonl -o /dev/null
}

@test "fields of messages are renamed as well, and roles" {
    want=$(rendered '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Ho"}]}')
    [[ $want == *'⟦Ho<|im_end|>⟧'* ]]
    [ "$(rendered '{"chat":[{"who":"user","says":"Hi"},{"who":"assistant","says":"Ho"}]}' \
        --fields messages=chat,role=who,content=says)" = "$want" ]
    [ "$(rendered '{"turns":[{"speaker":"human","line":"Hi"},{"speaker":"gpt","line":"Ho"}]}' \
        --fields conversations=turns,from=speaker,value=line)" = "$want" ]
    [ "$(rendered '{"conversations":[{"from":"narrator","value":"Hi"},{"from":"bot","value":"Ho"}]}' \
        --roles user=narrator)" = "$want" ]
    [ "$(rendered '{"messages":[{"role":"Q","content":"Hi"},{"role":"A","content":"Ho"}]}' \
        --roles user=Q,assistant=A)" = "$want" ]
    fails 2 'tok: --roles: `user` is not OURS=THEIRS' "$tok" -q -m "$model" --roles user "$records/messages.jsonl"
    fails 2 'tok: --fields: no field `who` is known' "$tok" -q -m "$model" --fields who=x "$records/messages.jsonl"
}

@test "ShareGPT: roles, a system text beside, tool calls" {
    want=$("$tok" -q -m "$model" --chat-template "$chatml" "$records/messages.jsonl" | view)
    [ "$("$tok" -q -m "$model" --chat-template "$chatml" "$records/sharegpt.jsonl" | view)" = "$want" ]
    jq -c '.conversations |= map({role: .from, content: .value})' "$records/sharegpt.jsonl" >rc.jsonl
    [ "$("$tok" -q -m "$model" --chat-template "$chatml" rc.jsonl | view)" = "$want" ]
    echo '{"conversations":[{"from":"narrator","value":"x"},{"from":"gpt","value":"y"}]}' >r.jsonl
    fails 1 'tok: r.jsonl:1: record `1`: message 0: role `narrator` is not known (--roles*' \
        "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
    echo '{"conversations":[{"from":"human"},{"from":"gpt","value":"y"}]}' >r.jsonl
    fails 1 'tok: r.jsonl:1: record `1`: message 0: key `value`: missing' \
        "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
    call='{"conversations":[{"from":"human","value":"Rain?"},{"from":"function_call","value":"{\"name\":\"weather\",\"arguments\":{\"place\":\"Ulm\"}}"},{"from":"observation","value":"0.5"},{"from":"gpt","value":"Half a day."}],"tools":"[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{}}}]"}'
    cmp <("$tok" -q -m "$model" --chat-template "$fixtures/templates/chatml-tools.jinja" <<<"$call" | view | jq -c '[.token,.mask]') \
        <("$tok" -q -m "$model" --chat-template "$fixtures/templates/chatml-tools.jinja" "$records/tools.jsonl" | view | jq -c '[.token,.mask]')
    echo '{"conversations":[{"from":"human","value":"a"},{"from":"function_call","value":"weather()"}]}' >r.jsonl
    fails 1 'tok: r.jsonl:1: *message 1: a function_call whose value is no JSON with a `name`' \
        "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
}

@test "tools: a list, or one as JSON text; what the template leaves out is said" {
    with() { "$tok" -m "$model" --chat-template "$fixtures/templates/chatml-tools.jinja" "$@"; }
    jq -c '.tools |= tojson' "$records/tools.jsonl" >text.jsonl
    cmp <(with -q text.jsonl | view) <(with -q "$records/tools.jsonl" | view)
    jq -c '.tools = ""' "$records/tools.jsonl" | with -q --render | jq -e '.text | contains("system") | not'
    for bad in '"x"' '5' '{}'; do
        jq -c ".tools = $bad" "$records/tools.jsonl" >r.jsonl
        fails 1 'tok: r.jsonl:1: record `call`: key `tools`: n*' with -q r.jsonl
    done
    said "$(jq -c '.messages[1].content = ""' "$records/tools.jsonl")" |
        grep -q '1 records: the template does not write all of their tools or tool calls'
    run ! grep -q 'does not write' <<<"$(with "$records/tools.jsonl" -o /dev/null 2>&1)"
    # Arguments that are JSON text are written as a string by `tojson`.
    jq -c '.messages[1].tool_calls[0].function.arguments |= tojson' "$records/tools.jsonl" >quoted.jsonl
    with quoted.jsonl -o /dev/null 2>&1 | grep -q '1 records: the template writes arguments of tool calls.* quoted'
}

@test "contents of parts: passed on, joined where asked for, refused where printed as a list" {
    parts='{"messages":[{"role":"user","content":[{"type":"text","text":"Hi "},{"type":"text","text":"you"}]},{"role":"assistant","content":"Ho"}]}'
    cat >parts.jinja <<'END'
{% for m in messages %}{{ m.role }}:{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endif %}|{% endfor %}
END
    echo "$parts" | "$tok" -q -m "$model" --chat-template parts.jinja --render | jq -re '.text == "user:<Hi ><you>|assistant:Ho|"'
    [[ $(rendered "$parts" --join-parts) == *$'user\nHi you<|im_end|>'* ]]
    # What templates do not know is joined.
    [[ $(rendered "$(jq -c '.messages[0].content |= map({type, value: .text})' <<<"$parts")") == *$'user\nHi you<|im_end|>'* ]]
    echo '{% for m in messages %}{{ m.role }}:{{ m.content }}|{% endfor %}' >printing.jinja
    echo "$parts" >r.jsonl
    "$tok" -q -m "$model" --chat-template printing.jinja --render r.jsonl | grep -qF "[{'type': 'text'"
    fails 1 'tok: r.jsonl:1: *the template prints a content of parts as a list* (--join-parts)' \
        "$tok" -q -m "$model" --chat-template printing.jinja r.jsonl
    jq -c '.messages[0].content[0] = {type: "image"}' <<<"$parts" >r.jsonl
    fails 1 'tok: r.jsonl:1: *message 0: part 0 of its content is no text' \
        "$tok" -q -m "$model" --chat-template parts.jinja r.jsonl
    fails 1 'tok: r.jsonl:1: *message 0: part 0 of its content is no text' \
        "$tok" -q -m "$model" --chat-template parts.jinja --join-parts r.jsonl
}

@test "loss weights: 0 is not trained, 1 is, others are refused" {
    chat='{"messages":[{"role":"user","content":"a","W":0},{"role":"assistant","content":"b","W":0},{"role":"user","content":"c"},{"role":"assistant","content":"d","W":1.0}]}'
    for template in chatml chatml-unmarked; do
        for name in loss_weight weight train; do
            text=${chat//W/$name}
            [[ $name != train ]] || text=$(sed 's/"train":0/"train":false/g; s/"train":1.0/"train":true/' <<<"$text")
            run "$tok" -q -m "$model" --chat-template "$fixtures/templates/$template.jinja" --show <<<"$text"
            [[ $output == *$'assistant\nb<|im_end|>'* && $output == *$'assistant\n⟦d<|im_end|>'* ]]
        done
    done
    "$tok" -q -m "$model" --chat-template "$chatml" --train-on all <<<"${chat//W/weight}" | view | jq -e '.mask | min == 1'
    echo "${chat//W/weight}" | sed 's/1.0/0.5/' >r.jsonl
    fails 1 'tok: r.jsonl:1: *message 3: key `weight`: only 0 and 1*' "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
    echo "${chat//W/weight}" | sed 's/"a","weight":0/"a","weight":1/' >r.jsonl
    fails 1 'tok: r.jsonl:1: *message 0 is to be trained, but its role is `user`*' "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
    echo "${chat//W/weight}" | sed 's/1.0/0/' >r.jsonl
    fails 1 'tok: r.jsonl:1: record `1`: nothing to train*' "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
}

@test "ids that are there: labels, masks, padding" {
    "$tok" -q -m "$model" "$records/pretokenized.jsonl" | view | jq -c '[.token,.mask]' |
        cmp - <(printf '%s\n' '[[5,6,7,8],[0,0,1,1]]' '[[5,6,7,8],[0,1,0,1]]' '[[5,6],[1,1]]')
    one() { "$tok" -q -m "$model" "$@" | view | jq -c '[.token,.mask]'; }
    [ "$(sed -n 2p "$records/pretokenized.jsonl" | one --train-on assistant)" = '[[5,6,7,8],[0,1,0,1]]' ]
    [ "$(sed -n 1p "$records/pretokenized.jsonl" | one --train-on all)" = '[[5,6,7,8],[1,1,1,1]]' ]
    [ "$(sed -n 1p "$records/pretokenized.jsonl" | one --prompts)" = '[[5,6],[0,0]]' ]
    [ "$(echo '{"input_ids":[1,2],"attention_mask":[1.0,1.0]}' | one)" = '[[1,2],[1,1]]' ]
    bad() { # RECORD PATTERN [OPTION...]
        echo "$1" >r.jsonl
        local pattern=$2
        shift 2
        fails 1 "tok: r.jsonl:1: record \`1\`: $pattern" "$tok" -q -m "$model" --format pretokenized "$@" r.jsonl
    }
    bad '{"input_ids":[1,99999]}' "at 1: id 99999 is not in this tokenizer's vocabulary*"
    bad '{"input_ids":[1,-1]}' 'key `input_ids`: at 1: not a token id'
    bad '{"input_ids":"1"}' 'key `input_ids`: not a list'
    bad '{"text":"1"}' 'key `input_ids`: missing'
    bad '{"input_ids":[1,2],"labels":[1]}' 'key `labels`: not as long as the ids'
    bad '{"input_ids":[1,2],"labels":[1,3]}' 'key `labels`: at 1 neither the token*'
    bad '{"input_ids":[1,2],"completion_mask":[1,2]}' 'key `completion_mask`: neither 0 nor 1'
    bad '{"input_ids":[1,2,3],"attention_mask":[1,0,1]}' 'key `attention_mask`: a 0 between tokens*'
    bad '{"input_ids":[1,2],"labels":[-100,-100]}' 'nothing to train*'
    bad '{"input_ids":[1,2]}' 'key `completion_mask`: missing*' --train-on completion
    bad '{"input_ids":[1,2]}' 'key `assistant_masks`: missing*' --train-on assistant
    bad '{"input_ids":[1,2]}' '--offsets: token ids have no text' --offsets
}

@test "instructions: three prompts, and what has no place in them" {
    one() { # OPTION...
        tail -n 1 "$records/instruction.jsonl" | "$tok" -q -m "$model" --chat-template "$chatml" --show "$@" | tail -n +2
    }
    [[ $(one) == *$'### Input:\nthe mill\n\n### Response:\n⟦die M'* ]]
    [[ $(one --instruction-prompt stanford) == *$'### Response:⟦die M'* ]]
    [[ $(one --instruction-prompt chat) == $'<|im_start|>user\nSay it in German.\n\nthe mill<|im_end|>\n<|im_start|>assistant\n⟦die Mühle<|im_end|>⏎'* ]]
    [[ $(one --instruction-prompt chat --prompts --render 2>&1 || :) == *'cannot be used together'* ]]
    echo '{"instruction":"a","output":"b","history":[["c","d"]]}' >r.jsonl
    fails 1 'tok: r.jsonl:1: *key `history`: has no place*' "$tok" -q -m "$model" r.jsonl
    echo '{"instruction":"a","output":"b","input":5}' >r.jsonl
    fails 1 'tok: r.jsonl:1: *key `input`: not a string' "$tok" -q -m "$model" r.jsonl
}

@test "preferences of ShareGPT, single messages, whole conversations beside a prompt" {
    want=$(printf '%s\n' '⟦Blue.<|im_end|>⏎' '⟦No.<|im_end|>⏎')
    for record in \
        '{"conversations":[{"from":"human","value":"Sky?"}],"chosen":{"from":"gpt","value":"Blue."},"rejected":{"from":"gpt","value":"No."}}' \
        '{"prompt":[{"role":"user","content":"Sky?"}],"chosen":[{"role":"assistant","content":"Blue."}],"rejected":[{"role":"assistant","content":"No."}]}' \
        '{"chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"No."}]}' \
        '{"prompt":"Sky?","chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"No."}]}'; do
        [ "$(rendered "$record" | grep '⟦')" = "$want" ] || { rendered "$record"; return 1; }
    done
    echo '{"prompt":"Other","chosen":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"Blue."}],"rejected":[{"role":"user","content":"Sky?"},{"role":"assistant","content":"No."}]}' >r.jsonl
    fails 1 'tok: r.jsonl:1: key `prompt`: neither a list of messages nor*' "$tok" -q -m "$model" --chat-template "$chatml" r.jsonl
}

@test "the completion of messages is their last answer; of a text there is none" {
    run rendered "$(tail -n 1 "$records/messages.jsonl")" --train-on completion
    [[ $output == *$'assistant\nBlue.<|im_end|>'* && $output == *$'assistant\n⟦Light 😀<|im_end|>⏎'* ]]
    fails 1 'tok: *--train-on completion needs a prompt: a text has none' \
        "$tok" -q -m "$model" --train-on completion "$records/text.jsonl"
}

@test "--continue-final-message leaves the last message open" {
    begun='{"messages":[{"role":"user","content":"Say it."},{"role":"assistant","content":"It is "}]}'
    text() { "$tok" -q -m "$model" --chat-template "$chatml" --render "$@" <<<"$begun" | jq -r .text; }
    [ "$(text --continue-final-message)" = $'<|im_start|>user\nSay it.<|im_end|>\n<|im_start|>assistant\nIt is ' ]
    [ "$(text --continue-final-message --prompts)" = $'<|im_start|>user\nSay it.<|im_end|>\n<|im_start|>assistant\nIt is ' ]
    [ "$(text --prompts)" = $'<|im_start|>user\nSay it.<|im_end|>\n<|im_start|>assistant' ]
}

# ---- traps ----

@test "tokens across a boundary are trained, shown and counted" {
    run "$tok" -q -m "$model" --show "$records/prompt-completion.jsonl"
    [[ $output == *$'# fused: 6 tokens, 4 trained, 1 across the boundary\ndon⟦⟪\'t⟫ go<|im_end|>⟧'* ]]
    [[ $output == *$'# empty: 5 tokens, 1 trained, empty answer\nnothing⟦<|im_end|>⟧'* ]]
    said "$(cat "$records/prompt-completion.jsonl")" | grep -q '1 records have a token across the boundary, which is trained'
    said "$(cat "$records/prompt-completion.jsonl")" | grep -q '1 records have an empty answer, of which only the end is trained'
    # Across the boundary of an assistant's block.
    printf '{%% for m in messages %%}{%% if m.role == "assistant" %%}don{%% generation %%}%s{%% endgeneration %%}{%% endif %%}{%% endfor %%}' "{{ m.content }}" >fusing.jinja
    echo '{"messages":[{"role":"assistant","content":"'"'"'t<|im_end|>"}]}' |
        "$tok" -q -m "$model" --chat-template fusing.jinja --show | grep -qF "don⟦'t<|im_end|>⟧"
}

@test "two beginning or end tokens: one, and both where asked for" {
    llama=$fixtures/tokenizers/llama2-legacy
    printf '{"text":"<s>a"}\n' >twice.jsonl
    "$tok" -q -m "$llama" twice.jsonl 2>err | view | jq -ce '.token[0:2] | . == [1, 1] | not'
    grep -q '1 records contain a beginning or end token that the tokenizer adds as well: it was written once' err
    "$tok" -q -m "$llama" --duplicate-bos-eos keep twice.jsonl 2>err | view | jq -ce '.token[0:2] == [1,1] and .mask[0] == 1'
    grep -q 'written twice, as asked for' err
}

@test "a stop token that is not trained, none at all, and one at which generation goes on" {
    chat='{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'
    stop() { "$tok" -m "$model" --chat-template "$1" -o /dev/null <<<"$chat" 2>&1; }
    stop "$fixtures/templates/chatml-no-stop.jinja" |
        grep -qF '1 records: the token that ends the assistant'"'"'s turn, <|im_end|>, is not trained'
    stop "$fixtures/templates/bare.jinja" | grep -qF 'no token ends the assistant'"'"'s turn'
    run ! grep -q 'stop' <<<"$(stop "$chatml")"
    "$tok" -q -m "$model" --chat-template "$fixtures/templates/chatml-no-stop.jinja" --show <<<"$chat" |
        grep -q '^# 1: .*, the stop token is not trained$'
    # The end token is another one.
    cp -r "$model" other
    jq '.eos_token = "<|endoftext|>"' "$model/tokenizer_config.json" >other/tokenizer_config.json
    "$tok" -m other --chat-template "$chatml" -o /dev/null <<<"$chat" 2>&1 |
        grep -qF 'turns end with <|im_end|>, but generation stops at <|endoftext|>'
    id=$("$tok" -q -m "$model" --special-tokens no <<<'{"text":""}' | view | jq '.token[0]')
    echo "{\"eos_token_id\":[1,$id]}" >other/generation_config.json
    run ! grep -q 'generation stops' <<<"$("$tok" -m other --chat-template "$chatml" -o /dev/null <<<"$chat" 2>&1)"
}

@test "what is left out and cut is counted, with the reason" {
    printf '%s\n' '{"text":"a"}' '{"text":5}' '{"text":"one two three four five six seven"}' 'x' >r.jsonl
    "$tok" -m "$model" --on-bad-record drop --max-length 6 --truncation drop r.jsonl -o o.toks 2>err
    grep -qF '4 in, 1 out (left out: 1 too long, 0 with nothing to train, 2 bad)' err
    grep -qF 'left out: r.jsonl:2: record `2`: key `text`: not a string' err
    grep -qF 'left out: r.jsonl:4: not valid JSON' err
    "$tok" -m "$model" --on-bad-record drop --max-length 6 --truncation right r.jsonl -o o.toks 2>err
    grep -qF '4 in, 2 out, 1 cut (left out: 0 too long, 0 with nothing to train, 2 bad)' err
    "$tok" -q -m "$model" --on-bad-record drop --max-length 6 --truncation right --show r.jsonl 2>/dev/null | grep -q ', [0-9]* cut off$'
    # Only three are named, and all with -v; the first record need not be whole.
    for i in 1 2 3 4 5; do echo "{\"text\":$i}"; done >bad.jsonl
    cat bad.jsonl r.jsonl >more.jsonl
    [ "$("$tok" -m "$model" --format text --on-bad-record drop more.jsonl -o o.toks 2>&1 | grep -c 'warning: left out')" -eq 3 ]
    [ "$("$tok" -v -m "$model" --format text --on-bad-record drop more.jsonl -o o.toks 2>&1 | grep -c 'warning: left out')" -eq 7 ]
    { echo nonsense; cat r.jsonl; } | sed 's/nonsense/{"nonsense"}/' >first.jsonl
    "$tok" -q -m "$model" --on-bad-record drop first.jsonl -o o.toks 2>/dev/null
    fails 1 'tok: r.jsonl:2: record `2`: key `text`: not a string' "$tok" -q -m "$model" r.jsonl
    # Nothing in is nothing out.
    run ! "$tok" -q -m "$model" --format text --on-bad-record drop bad.jsonl -o none.toks
    [ ! -e none.toks ]
}

@test "colours on a terminal" {
    command -v script >/dev/null || skip 'needs script'
    script -qec "'$tok' -q -m '$model' --show '$records/prompt-completion.jsonl'" /dev/null </dev/null >shown
    grep -qF $'don\033[97;41m\'t\033[0m\033[30;42m go\033[0m\033[30;42;4m<|im_end|>\033[0m' shown
    NO_COLOR=1 script -qec "'$tok' -q -m '$model' --show '$records/prompt-completion.jsonl'" /dev/null </dev/null | grep -qF "don⟦⟪'t⟫"
    # A newline that is trained does not colour the rest of its line.
    script -qec "'$tok' -q -m '$model' --show '$records/text.jsonl'" /dev/null </dev/null | grep -qF $'\033[30;42mTea⏎\033[0m'
}

# ---- real data ----

@test "real data: each file works, or is refused in one line with what helps" {
    need "$SHARED/data/gsm8k"
    real=$SHARED/data
    qwen=$real/hf-tok-qwen2
    n=0
    takes() { # FILE [OPTION...]
        local file=$real/$1
        shift
        [ -e "$file" ] || return 0
        "$tok" -q -m "$qwen" "$@" "$file" -o out.toks 2>err || { cat err; return 1; }
        "$BIN/toks" check out.toks >/dev/null
        n=$((n + 1))
    }
    refuses() { # FILE PATTERN
        [ -e "$real/$1" ] || return 0
        fails 1 "tok: * $2" "$tok" -q -m "$qwen" "$real/$1"
        n=$((n + 1))
    }
    for split in train test; do
        refuses gsm8k/$split.jsonl '(--fields prompt=question,completion=answer)'
        takes gsm8k/$split.jsonl --fields prompt=question,completion=answer
    done
    for name in data examples data-with-response data-with-preference; do
        takes llmsfs-instruct/instruction-$name.json
    done
    for unit in line paragraph document; do
        takes llmsfs-instruct/the-verdict.txt --sample-by $unit
        takes cs336-a1/tinystories_sample.txt --sample-by $unit
        takes warandpeace/war-and-peace.txt --sample-by $unit
    done
    takes llamafactory/alpaca_en_demo.json --instruction-prompt chat
    takes llamafactory/dpo_en_demo.json
    takes llamafactory/v1_sft_demo.jsonl
    takes torchtune-assets/alpaca_tiny.json
    takes torchtune-assets/alpaca_tiny.json --format instruction
    takes torchtune-assets/chat_tiny.json
    takes torchtune-assets/hh_rlhf_tiny.json
    refuses torchtune-assets/instruct_tiny.json '(--fields output=response)'
    takes torchtune-assets/instruct_tiny.json --fields output=response
    for name in single_turn_chat multi_turn_chat multi_turn_chat_conversations multi_turn_chat_granite_instruct; do
        takes fms-testdata/$name.jsonl
    done
    for ext in json jsonl; do
        refuses fms-testdata/twitter_complaints_input_output.$ext '(--fields prompt=input,completion=output)'
        takes fms-testdata/twitter_complaints_input_output.$ext --fields prompt=input,completion=output
        takes fms-testdata/twitter_complaints_small.$ext --fields text=output
        takes fms-testdata/twitter_complaints_tokenized_with_maykeye_tinyllama_v0.$ext
    done
    takes fms-testdata/twitter_complaints_tokenized_with_maykeye_tinyllama_v0_only_input_ids.json
    takes fms-testdata/nestful_100_samples_input_output.jsonl --fields prompt=input,completion=output
    refuses fms-testdata/malformatted_data.json 'not valid JSON: *'
    refuses fms-testdata/empty_data.json 'no records'
    for name in alpaca conversation conversation.missingturns conversation.tokenized conversation.tokenized_llama2chat; do
        takes axolotl-fixtures/$name.json
    done
    for name in davinci text-davinci-003; do
        refuses self-instruct/${name}_predictions.jsonl '(--fields completion=response)'
        takes self-instruct/${name}_predictions.jsonl --fields completion=response
    done
    for name in seed_tasks user_oriented_instructions; do
        refuses self-instruct/$name.jsonl '(there is no answer: --prompts writes the instruction alone)'
        takes self-instruct/$name.jsonl --prompts
    done
    takes mt-bench/dummy_conversation.json
    for name in question vicuna_bench_question reference_answer_gpt-4; do
        refuses mt-bench/$name.jsonl '*or reshape the records with jq)'
    done
    [ "$n" -ge 40 ]
}
