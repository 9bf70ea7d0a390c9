#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Are the automata of lib/tokenize/pattern_dfa.h worth their lines? `tok` with them and with PCRE2 alone
# (tok_pcre), by turns, one thread: processor seconds, the median of ROUNDS (default 9) with least and
# most, and the ratio of the medians; the streams must be equal. All texts but the last two hold words
# that come once, which the cache of words does not know. Then a record of 60 MB of blanks.
#   tests/bench/pattern.sh [MEGABYTES]     (of each text, default 8; BIN: the programs; BENCH: tok_pcre)
# Needs ../shared: the vocabulary is Qwen2's with the patterns of others, and GPT-2's.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
BENCH=${BENCH:-$root/build/bench}
shared=$root/../shared
bytes=$((${1:-8} * 1000000))
rounds=${ROUNDS:-9}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! [ -r "$shared/data/hf-tok-qwen2/tokenizer.json" ]; then
    echo 'no tokenizers beside this tree: nothing to measure'
    exit 0
fi

# generate KIND: lines
generate() {
    awk -v kind="$1" -v bytes=$bytes '
    BEGIN {
        srand(7)
        small = "abcdefghijklmnopqrstuvwxyz"
        large = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        sign = "!\"#$%&()*+,-./:;<=>?@[]^_{|}~  \t"
        for (done = 0; done < bytes; done += length(line) + 1) {
            for (line = ""; length(line) < 1000;) line = line part()
            print line
        }
    }
    function some(from, n,   s) {
        while (n-- > 0) s = s substr(from, 1 + int(rand() * length(from)), 1)
        return s
    }
    function utf8(c) {
        return sprintf("%c%c%c", 224 + int(c / 4096), 128 + int(c / 64) % 64, 128 + c % 64)
    }
    function part(   r, s, k) {
        r = rand()
        if (kind == "base64") return some(small large "0123456789+/", 76) " "
        if (kind == "words") return some(small, 3 + int(r * 10)) " "
        if (kind == "mixed") return some(small large "0123456789", 2 + int(r * 12)) " "
        if (kind == "numbers") return int(r * 1e9) (r < 0.5 ? " " : ".")
        if (kind == "signs") return some(sign, 20)
        if (kind == "han") {
            for (k = 3 + int(r * 20); k > 0; k--) s = s utf8(19968 + int(rand() * 20902))
            return s utf8(r < 0.2 ? 12290 : 65292)
        }
        s = some(small, 4) "_" some(small, 4)
        if (r < 0.4) return "    " s "(&" some(small, 5) some(large, 1) some(small, 4) "[i]);"
        return r < 0.7 ? "if (" s " == NULL) " : "int " s " = " int(r * 4096) "; // " some(small, 7) " "
    }'
}

# repeat COMMAND...: its output as often as it takes
repeat() {
    "$@" > "$work/part"
    while :; do cat "$work/part"; done | head -c "$bytes" | sed '$d'
}
texts=(base64 words mixed numbers signs han code english sums)
for kind in "${texts[@]:0:7}"; do generate "$kind" > "$work/$kind"; done
set +o pipefail # head closes the pipe
repeat cat "$shared/data/warandpeace/war-and-peace.txt" > "$work/english"
repeat jq -r '.question, .answer' "$shared/data/gsm8k/test.jsonl" > "$work/sums"
set -o pipefail
for kind in "${texts[@]}"; do jq -Rc '{prompt: .}' "$work/$kind" > "$work/$kind.jsonl"; done

cp -r "$shared/data/gpt2-tokenizer" "$work/gpt2"
for name in qwen2 llama3 o200k deepseek-v3; do
    cp -r "$shared/data/hf-tok-qwen2" "$work/$name"
    chmod -R u+w "$work/$name"
    jq --slurpfile other "$shared/golden/text/tokenizers/$name/tokenizer.json" \
        '.pre_tokenizer = $other[0].pre_tokenizer' "$shared/data/hf-tok-qwen2/tokenizer.json" \
        > "$work/$name/tokenizer.json"
done

# seconds TOK NAME TEXT OUT
seconds() {
    TIMEFORMAT=%U
    { time "$1" -q -m "$work/$2" --prompts --on-untrained drop --threads 1 -o "$4" "$3" 2>> "$work/log"; } 2>&1
}
for name in gpt2 qwen2 llama3 o200k deepseek-v3; do
    for kind in "${texts[@]}"; do
        : > "$work/times"
        for ((i = 0; i < rounds; i++)); do
            printf '%s %s\n' "$(seconds "$BIN/tok" "$name" "$work/$kind.jsonl" "$work/one")" \
                "$(seconds "$BENCH/tok_pcre" "$name" "$work/$kind.jsonl" "$work/two")" >> "$work/times"
        done
        "$BIN/toks" view "$work/one" | sed 1d | cksum > "$work/sum"
        "$BIN/toks" view "$work/two" | sed 1d | cksum | cmp - "$work/sum" # the command stands in the header
        printf '%-12s %-8s' "$name" "$kind"
        paste -d' ' <(cut -d' ' -f1 "$work/times" | sort -n) <(cut -d' ' -f2 "$work/times" | sort -n) \
            | awk '{ a[NR] = $1; b[NR] = $2 }
                   END { m = int((NR + 1) / 2)
                         printf "%6.3f (%.3f-%.3f) s, PCRE2 %6.3f (%.3f-%.3f) s, ratio %.2f\n",
                             a[m], a[1], a[NR], b[m], b[1], b[NR], b[m] / a[m] }'
    done
done
awk 'BEGIN { s = sprintf("%1000s", ""); printf "{\"prompt\":\""; for (i = 0; i < 60000; i++) printf "%s", s; print "a\"}" }' \
    > "$work/blanks.jsonl"
for tok in "$BIN/tok" "$BENCH/tok_pcre"; do
    printf '%-9s on 60 MB of blanks: ' "$(basename "$tok")"
    if "$tok" -q -m "$work/qwen2" --prompts --on-untrained drop -o "$work/one" "$work/blanks.jsonl" \
        2> "$work/log"; then
        echo 'tokenized'
    else
        sed 's/.*: record/record/' "$work/log"
    fi
done
