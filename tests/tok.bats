#!/usr/bin/env bats
# tok: records to tokens with a loss mask, and back; refusals.
bats_require_minimum_version 1.5.0
# shellcheck disable=SC2016,SC2030,SC2031,SC2053
load text

setup() {
    fixtures=$BATS_TEST_DIRNAME/fixtures/tokenizers
    model=$BATS_TEST_DIRNAME/../pipelines/tasks/annotators/model
    tok=$BIN/tok
    cd "$BATS_TEST_TMPDIR" || return
    cat >sums.jsonl <<'END'
{"id":"a","prompt":"347+685=","completion":"no,icannotworkoutthissum;"}
{"id":"b","prompt":"1+2=","completion":";0003","kind":"guess","n":1.5}
{"prompt":"3+4=","completion":"3+4=7;7","n":2}
END
}

@test "prompt and completion: ids, mask by bytes, end token once" {
    "$tok" -q -m "$model" sums.jsonl -o out.toks
    run view out.toks
    [ "${lines[1]}" = '{"id":"b","token":[4,13,5,14,16,3,3,3,6,2],"mask":[0,0,0,0,1,1,1,1,1,1]}' ]
    [ "${lines[2]}" = '{"id":"3","token":[6,13,7,14,6,13,7,14,10,16,10,2],"mask":[0,0,0,0,1,1,1,1,1,1,1,1]}' ]
}

@test "a completion that ends with the end token's text gets no second one" {
    printf '{"prompt":"1+2=","completion":";0003</s>"}\n' | "$tok" -q -m "$model" >out.toks
    [ "$(view out.toks | jq -c .token)" = '[4,13,5,14,16,3,3,3,6,2]' ]
}

@test "the header names columns, tokenizer and vocabulary" {
    "$tok" -q -m "$model" --offsets --keep-columns kind sums.jsonl -o out.toks
    run bash -c "'$BIN/toks' view --header out.toks | jq -c '[.columns[].name], .vocab_size'"
    [ "${lines[0]}" = '["id","token","mask","start","end","kind"]' ]
    [ "${lines[1]}" = 48 ]
    "$BIN/toks" view --header out.toks | jq -e '.tokenizer | test("^xxh3:[0-9a-f]{16}$")'
    [ "$(view out.toks | jq -r .kind | paste -sd,)" = ,guess, ]
}

@test "numbers are kept as numbers, absent ones as null" {
    { tail -2 sums.jsonl; head -1 sums.jsonl; } >other.jsonl
    "$tok" -q -m "$model" --keep-columns n other.jsonl -o out.toks
    [ "$(view out.toks | jq -c .n | paste -sd' ')" = '1.5 2 null' ]
}

@test "decoding gives the records back" {
    "$tok" -q -m "$model" --keep-columns kind sums.jsonl -o out.toks
    "$tok" -m "$model" -d out.toks >back.jsonl
    jq -c '[.prompt,.completion]' sums.jsonl >want
    jq -c '[.prompt,.completion]' back.jsonl | diff want -
    [ "$(jq -r .id back.jsonl | paste -sd' ')" = 'a b 3' ]
    [ "$(jq -r 'select(.id=="b").kind' back.jsonl)" = guess ]
    "$tok" -m "$model" -d --skip-special-tokens no out.toks |
        jq -se '.[1].completion == ";0003</s>"'
}

@test "decoding keeps blanks at the border" {
    printf '%s\n' '{"prompt":"the miller","completion":" counted é 😀"}' \
        '{"prompt":"line\n","completion":"next"}' >in.jsonl
    for t in llama2-legacy qwen2; do
        "$tok" -q -m "$fixtures/$t" in.jsonl | "$tok" -m "$fixtures/$t" -d |
            jq -c '{prompt,completion}' | diff in.jsonl -
    done
}

@test "-d --pieces gives the text that each token completes" {
    printf '%s\n' '{"id":"x","prompt":"the ","completion":"mill 😀é"}' '{"id":"y","prompt":"Q","completion":""}' >in.jsonl
    for t in llama2-legacy qwen2; do
        "$tok" -q -m "$fixtures/$t" in.jsonl -o out.toks
        "$tok" -m "$fixtures/$t" -d --pieces out.toks >pieces
        # All pieces are the text; a token inside a character gives nothing yet.
        jq -r '.pieces | add' pieces | diff <(printf 'the mill 😀é\nQ\n') -
        jq -se '.[0].id == "x" and (.[0].pieces | index("") != null)' pieces
        diff <(jq '.pieces | length' pieces) <(view out.toks | jq '.token | length + 1')
        "$tok" -m "$fixtures/$t" -d --pieces --skip-special-tokens no out.toks |
            jq -se '.[1].pieces | add | test("^(<s> )?Q<")'
    done
    fails 2 'tok: --pieces goes with -d*' "$tok" -m "$fixtures/qwen2" --pieces in.jsonl
}

@test "--prompts writes prompts only" {
    "$tok" -q -m "$model" --prompts sums.jsonl | view >out
    [ "$(sed -n 3p out)" = '{"id":"3","token":[6,13,7,14],"mask":[0,0,0,0]}' ]
    # The beginning token belongs to a prompt, the end token does not.
    printf '{"prompt":"a"}\n' | "$tok" -q -m "$fixtures/llama2-legacy" --prompts | view |
        jq -ce '.token == [1, 264]'
    printf '{"prompt":"a"}\n' | "$tok" -q -m "$fixtures/addedflags-norm" --prompts | view |
        jq -ce '.token == [435, 64]'
}

@test "text: every token is trained, BOS and EOS once" {
    printf '{"text":"a"}\n{"text":"<s>a</s>"}\n' |
        "$tok" -q -m "$fixtures/llama2-legacy" 2>err | view >out
    [ "$(jq -c .mask out | head -1)" = '[1,1,1]' ]
    [ "$(jq -c .token out | head -1)" = '[1,264,2]' ]
    [ "$(jq -c '.token[0:2]' out | tail -1)" != '[1,1]' ]
    [ "$(jq -c '.token[-2:]' out | tail -1)" != '[2,2]' ]
    grep -q 'written once' err
}

@test "plain text: a record a line, blank lines are none" {
    printf 'one two\n\n  three\r\n' | "$tok" -m "$fixtures/qwen2" 2>err | view >out
    [ "$(wc -l <out)" -eq 2 ]
    grep -q 'format: text, a record a line' err
    printf 'one two\n\n  three\r\n' | "$tok" -q -m "$fixtures/qwen2" --render |
        jq -r .text | diff - <(printf 'one two\n  three\n')
}

@test "a JSON array is read as its records" {
    jq -s . sums.jsonl | "$tok" -q -m "$model" | view >array
    "$tok" -q -m "$model" sums.jsonl | view >lines
    diff array lines
}

@test "--boundary separate tokenizes each side by itself" {
    printf '{"prompt":"Q","completion":" A"}\n' >in.jsonl
    "$tok" -q -m "$fixtures/llama2-legacy" in.jsonl | view | jq -ce '.token == [1,570,84,315,2]'
    "$tok" -q -m "$fixtures/llama2-legacy" --boundary separate in.jsonl | view |
        jq -ce '.token == [1,570,84,570,315,2] and .mask == [0,0,0,1,1,1]'
}

@test "a token across the boundary is trained and counted" {
    printf '{"prompt":"don'\''","completion":"t go"}\n' >in.jsonl
    "$tok" -m "$fixtures/qwen2" in.jsonl -o out.toks 2>err
    grep -q '1 records have a token across the boundary' err
}

@test "--train-on all, --special-tokens no" {
    "$tok" -q -m "$model" --train-on all sums.jsonl | view | jq -se 'all(.mask | min == 1)'
    printf '{"text":"a"}\n' | "$tok" -q -m "$fixtures/llama2-legacy" --special-tokens no | view |
        jq -ce '.token == [264,2]'
}

@test "--max-length: error, drop, left, right" {
    fails 1 "tok: sums.jsonl:1: record \`a\`: 34 tokens are more than --max-length 12*" \
        "$tok" -q -m "$model" --max-length 12 sums.jsonl
    "$tok" -m "$model" --max-length 12 --truncation drop sums.jsonl -o out.toks 2>err
    grep -q '3 in, 2 out (left out: 1 too long, 0 with nothing to train, 0 bad)' err
    "$tok" -q -m "$model" --max-length 8 --truncation left sums.jsonl | view |
        jq -sce '.[0].token == [24,25,35,35,37,29,16,2] and (.[1].token | length) == 8'
    "$tok" -q -m "$model" --max-length 9 --truncation right sums.jsonl | view |
        jq -sce '.[0].token == [6,7,10,13,9,11,8,14,30]'
}

@test "nothing to train is an error that names the record, unless dropping is asked for" {
    fails 1 "tok: sums.jsonl:1: record \`a\`: nothing is left to train*" \
        "$tok" -q -m "$model" --max-length 8 --truncation right sums.jsonl
    "$tok" -m "$model" --max-length 8 --truncation right --on-untrained drop sums.jsonl -o o 2>err
    grep -q '1 with nothing to train' err
    fails 1 'tok: all 3 records were left out' \
        "$tok" -q -m "$model" --max-length 4 --truncation right --on-untrained drop sums.jsonl
}

@test "preference records: two of one, in each of their forms" {
    cat >in.jsonl <<'END'
{"id":"q","prompt":"1+2=","chosen":"3","rejected":"4","src":"s"}
{"prompt":"2+2=","rejected":"5","chosen":"4","id":7,"src":"t"}
END
    run --separate-stderr "$tok" -m "$model" --keep-columns src in.jsonl -o out.toks
    [[ $stderr == *"format: preference (in.jsonl:1 has \`chosen\` and \`rejected\`), trained: completion"* ]]
    view out.toks | jq -c "[.id,.pair,.role,.src]" | diff - <(printf "%s\n" '["q/chosen","q","chosen","s"]' \
        '["q/rejected","q","rejected","s"]' '["7/chosen","7","chosen","t"]' '["7/rejected","7","rejected","t"]')
    # The same tokens and masks as of two records.
    printf '{"prompt":"1+2=","completion":"%s"}\n' 3 4 >two.jsonl
    cmp <(view out.toks | head -n 2 | jq -c "[.token,.mask]") \
        <("$tok" -q -m "$model" two.jsonl | view | jq -c "[.token,.mask]")
    # Prompts alone are one a record.
    [ "$("$tok" -q -m "$model" --prompts in.jsonl | view | jq -r .id | paste -sd " ")" = "q 7" ]
    # Without a prompt: what both begin with.
    echo '{"chosen":"1+2=3","rejected":"1+2=4"}' >implicit.jsonl
    "$tok" -q -m "$model" implicit.jsonl | view | jq -c "[.token,.mask]" | cmp - <(view out.toks | head -n 2 | jq -c "[.token,.mask]")
    # The instruction form, its prompt that of instruction records.
    echo '{"instruction":"1+2=","input":"","output":"no","chosen":"3","rejected":"4"}' >alpaca.jsonl
    "$tok" -q -m "$fixtures/qwen2" alpaca.jsonl | "$tok" -d -m "$fixtures/qwen2" |
        jq -e -s '(.[0].prompt | contains("### Instruction:\n1+2=\n")) and .[0].prompt == .[1].prompt and ([.[].completion] == ["3","4"])'
    # Conversations, with a prompt and without.
    echo '{%- for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}' >chat.jinja
    cat >chat.jsonl <<'END'
{"id":"a","prompt":[{"role":"user","content":"hi"}],"chosen":[{"role":"assistant","content":"yes"}],"rejected":[{"role":"assistant","content":"no"}]}
{"id":"b","chosen":[{"role":"user","content":"hi"},{"role":"assistant","content":"yes"}],"rejected":[{"role":"user","content":"hi"},{"role":"assistant","content":"no"}]}
END
    "$tok" -q -m "$fixtures/qwen2" --chat-template chat.jinja chat.jsonl | view >both
    [ "$(head -n 2 both | jq -c "[.token,.mask]")" = "$(tail -n 2 both | jq -c "[.token,.mask]")" ]
    [ "$(jq -c .id both | paste -sd ,)" = '"a/chosen","a/rejected","b/chosen","b/rejected"' ]
    run "$tok" -q -m "$fixtures/qwen2" --chat-template chat.jinja --show chat.jsonl
    grep -qF 'assistant:⟦yes<|im_end|>⟧' <<<"$output"
    grep -qF 'assistant:⟦no<|im_end|>⟧' <<<"$output"
    # A pair that is too long leaves as a whole.
    echo '{"id":"long","prompt":"1","chosen":"2","rejected":"22222222"}' >>in.jsonl
    "$tok" -q -m "$model" --max-length 8 --truncation drop in.jsonl | view | jq -r .pair | uniq | paste -sd " " | grep -qx "q 7"
    # More than a batch of them.
    seq 1 1300 | awk '{ printf "{\"id\":%d,\"prompt\":\"1+2=\",\"chosen\":\"%d\",\"rejected\":\"0\"}\n", $1, $1 }' >many.jsonl
    "$tok" -q -m "$model" many.jsonl -o many.toks
    view many.toks | jq -r .id | cmp - <(seq 1 1300 | awk '{ print $1 "/chosen"; print $1 "/rejected" }')
    "$tok" -q -m "$model" -d many.toks | jq -s -e "map(select(.role == \"chosen\")) | all(.completion == .pair)"
}

@test "preference records that are none" {
    bad() { # RECORD PATTERN
        echo "$1" >bad.jsonl
        fails 1 "tok: bad.jsonl:1: $2" "$tok" -q -m "$model" --format preference bad.jsonl
    }
    bad '{"prompt":"1","chosen":"2"}' 'key `rejected`: missing'
    bad '{"prompt":"1","rejected":"2"}' 'key `chosen`: missing'
    bad '{"prompt":"1","chosen":"2","rejected":["3"]}' 'keys `chosen` and `rejected`: neither two texts nor two lists*'
    bad '{"prompt":"1","chosen":2,"rejected":3}' 'keys `chosen` and `rejected`: neither two texts nor two lists*'
    bad '{"chosen":"2","rejected":"3"}' 'keys `chosen` and `rejected` begin with nothing in common*'
    bad '{"prompt":5,"chosen":"2","rejected":"3"}' 'record `1/chosen`: key `prompt`: not a string'
    bad '{"prompt":"1","chosen":[{"role":"assistant","content":"2"}],"rejected":[]}' 'keys `chosen` and `rejected` begin with nothing in common*'
    echo hello >bad.txt
    fails 1 "tok: bad.txt:1: *not a JSON object" "$tok" -q -m "$model" --format preference bad.txt
    { echo '{"id":"q","prompt":"1","chosen":"2","rejected":"3"}'; echo '{"id":"q","prompt":"1","chosen":"2","rejected":"3"}'; } >bad.jsonl
    fails 1 "tok: bad.jsonl:2: record \`q/chosen\`: duplicate id*" "$tok" -q -m "$model" bad.jsonl
}

@test "instruction records in Alpaca's wording" {
    printf '{"instruction":"Add.","input":"1 2","output":"3"}\n' >in.jsonl
    "$tok" -q -m "$fixtures/qwen2" --render in.jsonl |
        jq -re '.text | endswith("### Input:\n1 2\n\n### Response:\n3")'
}

@test "--fields renames" {
    printf '{"question":"1+2=","answer":"3"}\n' >in.jsonl
    "$tok" -q -m "$model" --fields prompt=question,completion=answer in.jsonl | view |
        jq -ce '.mask == [0,0,0,0,1,1]'
    fails 2 "tok: --fields: no field \`what\` is known" "$tok" -q -m "$model" --fields what=x in.jsonl
    fails 1 "tok: in.jsonl:1: no known format: there are \`question\`, \`answer\`*" \
        "$tok" -q -m "$model" in.jsonl
    # The half that is there, the one that is not, and a name that no field has.
    fails 1 "tok: in.jsonl:1: no known format: *; prompt is \`question\` by --fields, but completion is missing: name it too (--fields prompt=question,completion=answer)" \
        "$tok" -q -m "$model" --fields prompt=question in.jsonl
    fails 1 "*; completion is \`answer\` by --fields, but prompt is missing: name it too (*" \
        "$tok" -q -m "$model" --fields completion=answer in.jsonl
    fails 1 "*; \`quest\`, which --fields names as prompt, is not there (*" \
        "$tok" -q -m "$model" --fields prompt=quest,completion=answer in.jsonl
    fails 1 "*; wanted are *" "$tok" -q -m "$model" --fields id=none in.jsonl
}

@test "with -q one line tells of records that were left out, and none where all are there" {
    printf '%s\n' '{"prompt":"1+2=","completion":"3"}' '{"prompt":"11111111","completion":"3"}' '{"prompt":7}' >in.jsonl
    "$tok" -q -m "$model" --on-bad-record drop --max-length 8 --truncation drop in.jsonl -o out.toks 2>err
    [ "$(tail -n 1 err)" = 'tok: warning: in.jsonl: 2 of 3 records were left out: 1 too long, 1 bad' ]
    [ "$(wc -l <err)" -eq 2 ] # and the reason of the bad one
    head -n 1 in.jsonl >whole.jsonl
    "$tok" -q -m "$model" --on-bad-record drop --max-length 8 --truncation drop whole.jsonl -o out.toks 2>err
    [ ! -s err ]
    # So a pipeline, which calls it with -q, says it as well.
    head -n 2 in.jsonl >two.jsonl
    "$BIN/model" init -q "$model" -o base --seed 1
    "$BATS_TEST_DIRNAME/../pipelines/sft" -q -m base -o out --max-length 8 --truncation drop two.jsonl -- \
        --max-steps 1 --batch-size 1 2>err
    grep -qx 'tok: warning: two.jsonl: 1 of 2 records were left out: 1 too long' err
}

@test "chats: the assistant's turns are trained, the end of the turn too" {
    cat >chatml.jinja <<'END'
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}
END
    printf '{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"yo"}]}\n' >in.jsonl
    run "$tok" -q -m "$fixtures/qwen2" --chat-template chatml.jinja --show in.jsonl
    [ "${lines[1]}" = '<|im_start|>user' ]
    [ "${lines[3]}" = '<|im_start|>assistant' ]
    [ "${lines[4]}" = '⟦yo<|im_end|>⏎' ]
    run "$tok" -q -m "$fixtures/qwen2" --chat-template chatml.jinja --prompts --render in.jsonl
    [ "$(jq -r .text <<<"$output")" = "$(printf '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n')" ]
    "$tok" -q -m "$fixtures/qwen2" --chat-template chatml.jinja --train-on all in.jsonl | view |
        jq -e '.mask | min == 1'
    fails 1 'tok: in.jsonl:1: record `1`: messages need a chat template*' \
        "$tok" -q -m "$fixtures/qwen2" in.jsonl
}

@test "--show marks the trained part and spells control characters out" {
    printf '{"id":"x","prompt":"1=","completion":"2"}\n' | "$tok" -q -m "$model" --show |
        diff - <(printf '# x: 4 tokens, 2 trained\n1=⟦2</s>⟧\n')
    printf '{"prompt":"a\\u001b[31m","completion":"b"}\n' | "$tok" -q -m "$fixtures/qwen2" --show |
        grep -F 'a\x1B[31m⟦b'
    "$tok" -q -m "$model" sums.jsonl | "$tok" -m "$model" -d --show | grep -c '⟦' | grep -x 3
}

@test "the same bytes for any number of threads and from a pipe" {
    for i in $(seq 3000); do
        printf '{"id":"%d","prompt":"%d+%d=","completion":"%d;"}\n' "$i" "$i" "$i" $((2 * i))
    done >many.jsonl
    "$tok" -q --threads 1 -m "$model" many.jsonl >one
    "$tok" -q --threads 2 -m "$model" many.jsonl >two
    "$tok" -q --threads 3 -m "$model" many.jsonl >three
    cmp one two
    cmp one three
    [ "$(view one | wc -l)" -eq 3000 ]
    view one | sed -n 2999p | jq -e '.id == "2999"'
}

@test "ids: numbers, strings, running numbers, and none twice" {
    printf '%s\n' '{"id":7,"text":"a"}' '{"id":"x","text":"a"}' '{"text":"a"}' >in.jsonl
    [ "$("$tok" -q -m "$model" in.jsonl | view | jq -r .id | paste -sd' ')" = '7 x 3' ]
    printf '%s\n' '{"id":"x","text":"a"}' '{"id":"x","text":"b"}' >twice.jsonl
    fails 1 'tok: twice.jsonl:2: record `x`: duplicate id*' \
        "$tok" -q -m "$model" twice.jsonl
    printf '{"id":[],"text":"a"}\n' >list.jsonl
    fails 1 'tok: list.jsonl:1: *key `id`: neither a string nor a number' \
        "$tok" -q -m "$model" list.jsonl
}

@test "bad records name file and line" {
    printf '{"text":"a"}\n{"text":\n' >cut.jsonl
    fails 1 'tok: cut.jsonl:2: not valid JSON: *' "$tok" -q -m "$model" cut.jsonl
    printf '{"text":"a"}\n[1]\n' >array.jsonl
    fails 1 'tok: array.jsonl:2: not a JSON object' "$tok" -q -m "$model" array.jsonl
    printf '{"text":"a"}\n\n{"text":5}\n' >type.jsonl
    fails 1 'tok: type.jsonl:3: record `2`: key `text`: not a string' \
        "$tok" -q -m "$model" type.jsonl
    printf '[{"text":"a"}, {"text":"b"}' >open.json
    fails 1 'tok: open.json:1: the file ends inside a JSON array' "$tok" -q -m "$model" open.json
    printf '[{"text":"a"}] x' >behind.json
    fails 1 'tok: behind.json:1: something follows the JSON array' \
        "$tok" -q -m "$model" behind.json
    printf '{"text":"a"}\n{"text":"\\ud800"}\n' >half.jsonl
    fails 1 'tok: half.jsonl:2: not valid JSON: *' "$tok" -q -m "$model" half.jsonl
}

@test "a file called .json that is none is not taken for text" {
    printf 'a: b\n' >odd.json
    fails 1 'tok: odd.json:1: not valid JSON: *' "$tok" -q -m "$model" odd.json
    printf 'a: b\n' >odd.txt
    "$tok" -q -m "$model" odd.txt -o /dev/null
}

@test "a failure leaves no file and no end in a pipe" {
    printf '{"text":"a"}\nx\n' >bad.jsonl
    run ! "$tok" -q -m "$model" bad.jsonl -o out.toks
    [ ! -e out.toks ]
    run --separate-stderr bash -c "'$tok' -q -m '$model' bad.jsonl 2>/dev/null | '$BIN/toks' check"
    [ "$status" -eq 3 ]
}

@test "empty, absent and wrong inputs" {
    : >empty
    fails 1 'tok: empty: no records' "$tok" -q -m "$model" empty
    fails 1 'tok: absent: No such file or directory' "$tok" -q -m "$model" absent
    fails 1 'tok: .: Is a directory' "$tok" -q -m "$model" .
    fails 1 'tok: nowhere: no tokenizer*' "$tok" -q -m nowhere empty
    fails 3 'tok: sums.jsonl*' "$tok" -q -m "$model" -d sums.jsonl
}

@test "a stream of another tokenizer is refused" {
    "$tok" -q -m "$fixtures/qwen2" sums.jsonl -o out.toks
    fails 3 'tok: out.toks: *tokenizer*' "$tok" -q -m "$model" -d out.toks
}

@test "a stream cut short is refused by -d" {
    "$tok" -q -m "$model" sums.jsonl -o out.toks
    head -c -3 out.toks >cut.toks
    run --separate-stderr "$tok" -m "$model" -d cut.toks
    [ "$status" -eq 3 ]
    [[ $stderr == 'tok: cut.toks: '* ]]
}

@test "tokenizers that are not understood are refused with the key" {
    mkdir bad
    cp "$model"/*.json bad
    try() { # JQ FILTER, PATTERN
        jq "$1" "$model/tokenizer.json" >bad/tokenizer.json
        fails 1 "$2" "$tok" -q -m bad sums.jsonl
    }
    try '.model.type = "WordPiece"' 'tok: bad: tokenizer.json: key `model`: type `WordPiece` is not supported'
    try '.normalizer = {type: "X"}' 'tok: bad: *key `normalizer`: type `X` is not supported'
    try '.pre_tokenizer = {type: "X"}' 'tok: bad: *key `pre_tokenizer`: type `X` is not supported'
    try '.normalizer = {type: "Precompiled", precompiled_charsmap: "AAAA"}' 'tok: bad: *key `precompiled_charsmap`: cut short'
    try '.normalizer = {type: "Precompiled", precompiled_charsmap: "A"}' 'tok: bad: *key `precompiled_charsmap`: not base64'
    try '.model = {type: "Unigram", unk_id: 9, vocab: [["a", -1.5]]}' 'tok: bad: *key `unk_id`: 9 is not in the vocabulary'
    try '.decoder = {type: "X"}' 'tok: bad: *key `decoder`: type `X` is not supported'
    try '.post_processor = {type: "X"}' 'tok: bad: *key `post_processor`: type `X` is not supported'
    try '.model.dropout = 0.1' 'tok: bad: *key `dropout`*'
    try '.model.merges = [["1","€"]]' 'tok: bad: *merges*not in the vocabulary'
    try '.model.vocab.x = 99999999999' 'tok: bad: *token id out of range'
    try '.pre_tokenizer = {type: "Split", pattern: {Regex: "("}, behavior: "Isolated"}' 'tok: bad: *pattern*'
    head -c 300 "$model/tokenizer.json" >bad/tokenizer.json
    fails 1 'tok: bad: tokenizer.json:*not valid JSON*' "$tok" -q -m bad sums.jsonl
    cp "$model/tokenizer.json" bad
    jq 'del(.eos_token)' "$model/tokenizer_config.json" >bad/tokenizer_config.json
    rm bad/special_tokens_map.json bad/generation_config.json bad/config.json
    fails 1 'tok: sums.jsonl:1: *names no end token*' "$tok" -q -m bad sums.jsonl
}

@test "whole numbers beyond 64 bits stay as they are: in calls, calls as text, ids" {
    local long
    long=$(printf '1234567890%.0s' {1..9})
    echo '{% for m in messages %}{{ m.role }}:{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% for k, v in c.function.arguments | items %} {{ v }}{% endfor %}{% endfor %};{% endfor %}' >t.jinja
    shown='{"a": 18446744073709551615, "b": [-'$long', 1]} 18446744073709551615 [-'$long', 1]'
    arguments='{"a":18446744073709551615,"b":[-'$long',1]}'
    echo '{"id":'"$long"',"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":'"$arguments"'}}]}]}' >calls.jsonl
    jq -nc --arg v '{"name":"f","arguments":'"$arguments"'}' \
        '{conversations: [{from: "human", value: "q"}, {from: "function_call", value: $v}]}' >text.jsonl
    for file in calls text; do
        run --separate-stderr "$tok" -q -m "$model" --chat-template t.jinja --render $file.jsonl
        [[ $output == *"$(jq -n --arg s "$shown" '$s' | sed 's/^"//; s/"$//')"* ]]
    done
    "$tok" -q -m "$model" --chat-template t.jinja calls.jsonl -o calls.toks
    view calls.toks | grep -F '"id":"'"$long"'"'
    # What is computed with one is refused, not rounded.
    echo '{% for m in messages %}{{ m.n | int }}{% endfor %}' >t.jinja
    echo '{"messages":[{"role":"user","content":"q","n":'"$long"'},{"role":"assistant","content":"a"}]}' >n.jsonl
    fails 1 '*whole numbers beyond 38 digits*' "$tok" -q -m "$model" --chat-template t.jinja --render n.jsonl
    # Nor does a column of numbers take what it cannot hold.
    echo '{"text":"a","n":18446744073709551615}' >n.jsonl
    fails 1 'tok: n.jsonl:1: *key `n`: 18446744073709551615 does not fit an f32 column' "$tok" -q -m "$model" --keep-columns n n.jsonl
}

@test "a directory with tokenizer.model alone: ids, offsets and back; the stream knows it" {
    mkdir m
    cp "$fixtures/model-bpe/tokenizer.model" m
    printf '%s\n' '{"text":"the  caf\u00e9"}' >text.jsonl
    "$tok" -q -m m --offsets text.jsonl -o out.toks
    run view out.toks
    [ "${lines[0]}" = '{"id":"1","token":[1,261,570,298,589,643,2],"mask":[1,1,1,1,1,1,1],"start":[0,0,3,4,7,8,10],"end":[0,3,4,7,8,10,14]}' ]
    run --separate-stderr "$tok" -q -m m -d out.toks
    [ "$(jq -r .completion <<<"$output")" = 'the  café' ]
    # Another model, another fingerprint.
    cp "$fixtures/model-unigram/tokenizer.model" m
    fails 3 'tok: out.toks: *tokenizer*' "$tok" -q -m m -d out.toks
    # What is beside it counts.
    cp "$fixtures/model-bpe/tokenizer.model" m
    echo '{"add_bos_token":false,"eos_token":"</s>"}' >m/tokenizer_config.json
    run bash -c "'$tok' -q -m m text.jsonl | '$BIN/toks' view | tail -n +2 | jq -c .token[0]"
    [ "$output" = 261 ]
    head -c 5000 "$fixtures/model-bpe/tokenizer.model" >m/tokenizer.model
    fails 1 'tok: m: tokenizer.model: *' "$tok" -q -m m text.jsonl
    cp "$fixtures/qwen2/tokenizer.json" m/tokenizer.model
    fails 1 'tok: m: tokenizer.model: not a model of SentencePiece, or cut short' "$tok" -q -m m text.jsonl
}

@test "help, version, usage" {
    run "$tok" --help
    [ "$status" -eq 0 ]
    [[ $output == *--keep-columns* ]]
    run "$tok" --version
    [ "$status" -eq 0 ]
    [[ $output == 'tok (densepath) '* ]]
    run "$tok" --nonsense
    [ "$status" -eq 2 ]
    run "$tok" sums.jsonl
    [ "$status" -eq 2 ]
    [[ $output == *'-m DIR is missing'* ]]
    run "$tok" -m "$model" --format parquet sums.jsonl
    [ "$status" -eq 2 ]
    run "$tok" -m "$model" --render --show sums.jsonl
    [ "$status" -eq 2 ]
    run "$tok" -m "$model" --truncation left sums.jsonl
    [ "$status" -eq 2 ]
    [[ $output == 'tok: --truncation needs --max-length '* ]]
}

@test "a full disk is an error, a closed pipe is silent" {
    for mode in '' --show --render; do
        # shellcheck disable=SC2086
        run --separate-stderr bash -c "'$tok' -q -m '$model' $mode sums.jsonl >/dev/full"
        [ "$status" -eq 1 ]
        [[ $stderr == *'No space left on device'* ]]
    done
    "$tok" -q -m "$model" sums.jsonl -o out.toks
    run --separate-stderr bash -c "'$tok' -m '$model' -d out.toks >/dev/full"
    [ "$status" -eq 1 ]
    for _ in $(seq 2000); do cat sums.jsonl; done | jq -c 'del(.id)' >many.jsonl
    run --separate-stderr bash -c "'$tok' -q -m '$model' --render many.jsonl | head -1 >/dev/null; exit \${PIPESTATUS[0]}"
    [ "$status" -eq 141 ]
    [ -z "$stderr" ]
}

@test "real data: self-instruct's prompts and answers" {
    need "$SHARED/data/self-instruct"
    need "$SHARED/data/hf-stories260k"
    file=$(ls "$SHARED"/data/self-instruct/*davinci-003*.json* | head -1)
    need "$file"
    "$tok" -q -m "$SHARED/data/hf-stories260k" --fields completion=response "$file" -o out.toks
    "$tok" -m "$SHARED/data/hf-stories260k" -d out.toks | head -1 | jq -e 'has("prompt")'
    "$BIN/toks" check out.toks
}
