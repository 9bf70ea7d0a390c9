#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Speed of tokenizing mixed text, a record a line: MB/s of processor time on one thread, for each kind
# of text and for all of it in random order; then of the program `tok`, JSON and all.
#   tests/bench/tokenizer.sh [MEGABYTES]     (default 24; BIN: the programs; BENCH: bench_tokenizer)
# The text is generated, but for code (this tree's), and English and JSON where ../shared has some. The
# tokenizers are GPT-2's and Qwen2's from there, else the fixtures.
#
# PEER, where it is set, is a command to compare with, run in turns with ours on the same files: it gets
# a tokenizer's folder and a file, tokenizes the file's lines and prints the processor seconds of that
# alone. For Hugging Face's library (pip install tokenizers), on one thread:
#   cat > peer.py << 'PY'
#   import os, sys, time
#   os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
#   import tokenizers
#   t = tokenizers.Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
#   lines = open(sys.argv[2], encoding="utf-8", newline="\n").read().split("\n")
#   begin = time.process_time()
#   for i in range(0, len(lines), 1000):
#       t.encode_batch(lines[i:i + 1000], add_special_tokens=False)
#   print(time.process_time() - begin)
#   PY
#   PEER='python3 peer.py' tests/bench/tokenizer.sh
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
BENCH=${BENCH:-$root/build/bench}
data=$root/../shared/data
each=$((${1:-24} * 1000000 / 8))
rounds=${ROUNDS:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# generate KIND: lines of words drawn as real ones are, few of them often (Zipf's law).
generate() {
    awk -v kind="$1" -v bytes=$each '
    BEGIN {
        srand(7)
        low["english"] = 97; n["english"] = 26
        low["cyrillic"] = 1072; n["cyrillic"] = 32
        low["greek"] = 945; n["greek"] = 25
        for (w = 0; kind in low && w < 30000; w++) {
            s = rand() < 0.1 ? utf8(low[kind] - 32 + int(rand() * n[kind])) : ""
            for (k = int(rand() * 5 + rand() * 6); k >= 0; k--) {
                r = rand()
                s = s utf8(low[kind] + int(r * r * n[kind]))
            }
            word[w] = s
        }
        for (done = 0; done < bytes; done += length(line) + 1) {
            size = 20 + int(rand() * 1000)
            for (line = ""; length(line) < size;) line = line part()
            if (kind == "json") line = "{\"id\":" done ",\"text\":[" line "{}]}"
            print line
        }
    }
    function utf8(c) {
        if (c < 128) return sprintf("%c", c)
        if (c < 2048) return sprintf("%c%c", 192 + int(c / 64), 128 + c % 64)
        if (c < 65536)
            return sprintf("%c%c%c", 224 + int(c / 4096), 128 + int(c / 64) % 64, 128 + c % 64)
        return sprintf("%c%c%c%c", 240 + int(c / 262144), 128 + int(c / 4096) % 64,
                       128 + int(c / 64) % 64, 128 + c % 64)
    }
    function zipf(m) { return int(exp(rand() * log(m + 1))) - 1 }
    function han() { return utf8(19968 + zipf(20902) * 7919 % 20902) }
    function part(   r, s, k) {
        r = rand()
        if (kind == "json")
            return sprintf("{\"key_%d\": %.3f, \"value\": \"%s\", \"on\": %s},\n", zipf(300),
                           rand() * 1000, zipf(90000), r < 0.5 ? "true" : "null")
        if (kind == "numbers") {
            if (r < 0.4) return int(rand() * 1000) " "
            if (r < 0.6) return int(rand() * 1e9) ", "
            if (r < 0.8) return sprintf("%.6f\t", rand() * 1000)
            return sprintf("%d + %d = %d; ", rand() * 100, rand() * 1000, rand() * 10000)
        }
        if (kind == "emoji") {
            for (k = int(rand() * 3); k >= 0; k--)
                s = s utf8(128512 + int(rand() * 80)) \
                    (rand() < 0.2 ? utf8(8205) utf8(10084) utf8(65039) : "")
            return s (r < 0.7 ? " ok" : "! ") (r < 0.3 ? " " utf8(127744 + int(rand() * 300)) : " ")
        }
        if (kind == "cjk") {
            for (k = 3 + int(rand() * 20); k >= 0; k--)
                s = s (r < 0.6 ? han() : r < 0.8 ? utf8(12353 + int(rand() * 83)) \
                           : utf8(44032 + zipf(11172) * 577 % 11172) (rand() < 0.3 ? " " : ""))
            return s utf8(r < 0.2 ? 12290 : 65292)
        }
        return word[zipf(30000)] (r < 0.85 ? " " : r < 0.92 ? ", " : r < 0.97 ? ". " : "! - ")
    }'
}

# repeat COMMAND...: its output as often as it takes to make enough of it
repeat() {
    "$@" > "$work/part"
    [ -s "$work/part" ] || return 1
    while :; do cat "$work/part"; done | head -c $each | sed '$d'
}
kinds=(english code json cyrillic greek cjk emoji numbers)
english() { cat "$data/warandpeace/war-and-peace.txt" && jq -r '.question, .answer' "$data/gsm8k/test.jsonl"; }
for kind in "${kinds[@]}"; do generate "$kind" > "$work/$kind"; done
set +o pipefail # head closes the pipe
repeat cat "$root"/lib/*/*.[ch] "$root"/tests/*/*.[ch] > "$work/code"
if [ -r "$data/warandpeace/war-and-peace.txt" ] && [ -r "$data/gsm8k/test.jsonl" ]; then
    repeat english > "$work/english"
    repeat cat "$data/gsm8k/test.jsonl" > "$work/json"
fi
set -o pipefail
(cd "$work" && cat "${kinds[@]}" | shuf --random-source=<(yes) > all)
megabytes=$(($(stat -c %s "$work/all") / 1000000))

if [ -r "$data/gpt2-tokenizer/tokenizer.json" ] && [ -r "$data/hf-tok-qwen2/tokenizer.json" ]; then
    tokenizers="$data/gpt2-tokenizer $data/hf-tok-qwen2"
else
    tokenizers="$root/tests/fixtures/tokenizers/qwen2 $root/tests/fixtures/tokenizers/llama2-legacy"
    echo 'no tokenizers beside this tree: the fixtures, which are small and slower than real ones'
fi

# rate DIR FILE: the best of some rounds, ours and the peer's in turns
rate() {
    local bytes ours peers
    bytes=$(stat -c %s "$2")
    : > "$work/ours"
    : > "$work/peers"
    for ((i = 0; i < rounds; i++)); do
        "$BENCH/bench_tokenizer" "$1" "$2" | cut -d' ' -f1 >> "$work/ours"
        if [ -n "${PEER:-}" ]; then $PEER "$1" "$2" >> "$work/peers"; fi
    done
    ours=$(sort -n "$work/ours" | head -1)
    peers=$(sort -n "$work/peers" | head -1)
    awk -v b="$bytes" -v o="$ours" -v p="$peers" 'BEGIN {
        printf "%7.1f MB/s", b / o * 1e-6
        if (p != "") printf "   peer %6.2f MB/s   ratio %5.1f", b / p * 1e-6, p / o
        print ""
    }'
}

for dir in $tokenizers; do
    for kind in "${kinds[@]}" all; do
        printf '%-16s %-9s ' "$(basename "$dir")" "$kind"
        rate "$dir" "$work/$kind"
    done
done

# The program: reading, JSON, tokens and masks, writing a stream; --prompts, so that no tokenizer has to
# name an end token.
jq -Rc '{prompt: .}' "$work/all" > "$work/all.jsonl"
for dir in $tokenizers; do
    for threads in 1 "$(nproc)"; do
        TIMEFORMAT='%R %U'
        { time "$BIN/tok" -q -m "$dir" --prompts --on-untrained drop --threads "$threads" \
            -o "$work/out$threads.toks" "$work/all.jsonl"; } 2> "$work/time"
        awk -v name="$(basename "$dir")" -v n="$threads" -v m=$megabytes '{
            printf "%-16s tok, %2d threads: %5.1f MB/s by the clock, %5.1f of processor time\n", name,
                n, m / $1, m / $2 }' "$work/time"
    done
    # The command line stands in the header.
    cmp <("$BIN/toks" view "$work/out1.toks" | tail -n +2 | cksum) \
        <("$BIN/toks" view "$work/out$(nproc).toks" | tail -n +2 | cksum)
done
