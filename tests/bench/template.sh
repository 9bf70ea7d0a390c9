#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Chats in a second of one core's time (the machine may do other things): 10 000 ChatML conversations of
# four turns rendered from JSON in memory, with the assistant's spans, and by the program, files and JSON
# included.
#   tests/bench/template.sh               (BIN: the programs; BENCH: bench_template)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$root/bin}
BENCH=${BENCH:-$root/build/bench}
chats=10000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

jq -nc "range($chats)"' as $i | {messages: [range(4) as $t
    | {role: "user", content: "Question \($i), turn \($t): what does the miller do when the river is low?"},
      {role: "assistant", content: "He waits, mends the sails and counts the sacks.\n\nThen he sleeps \($i % 7) hours."}]}' \
    > "$work/chats.jsonl"

for name in chatml-unmarked chatml llama3; do
    template=$root/tests/fixtures/templates/$name.jinja
    read -r plain marked megabytes < <("$BENCH/bench_template" "$template" "$work/chats.jsonl" 5)
    seconds=$(for _ in 1 2 3; do
        TIMEFORMAT='%U %S'
        { time "$BIN/tok" -q -m "$root/tests/fixtures/tokenizers/qwen2" --chat-template "$template" --render \
            --threads 1 -o /dev/null "$work/chats.jsonl"; } 2>&1
    done | awk '{ print $1 + $2 }' | sort -n | head -1)
    awk -v name="$name" -v p="$plain" -v m="$marked" -v mb="$megabytes" -v s="$seconds" -v n="$chats" 'BEGIN {
        printf "%-15s rendered %7.0f chats/s (%.0f MB/s; at least 10000), with the assistant'\''s spans %7.0f; tok --render %6.0f\n",
            name, p, mb, m, n / s }'
done
