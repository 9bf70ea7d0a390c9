#!/usr/bin/env bats
# densepath report: the page is whole, says what the run's files say, and takes no text for markup.
# shellcheck disable=SC2016,SC2154,SC2314
bats_require_minimum_version 1.5.0
load engine

P=$BATS_TEST_DIRNAME/../pipelines
# A name, a file and a text that would run; with / in it, it could be no name.
bad=$'<script>alert(1)<&"\'b\x1b[31m'

setup_file() {
    sorters
    "$P/sft" -q -m base -o low --held-out demos.jsonl --eval-steps 2 --seed 1 demos.jsonl -- --max-steps 6 --batch-size 4
    "$P/sft" -q -m base -o high --held-out demos.jsonl --eval-steps 2 --seed 1 demos.jsonl -- --max-steps 6 --batch-size 4 \
        --learning-rate 1e-3
    cp -r low "$bad"
    sed -i 's/"demos.jsonl"/"<script>.jsonl"/' "$bad/densepath.json"
    tok -q -m sft demos.jsonl | logprob -q -m sft --as sft | logprob -q -m sft/half --as half |
        dense-reward -q --baseline none -o rewarded.toks sft half
    "$P/report" low >low.html
    "$P/report" low fast=high >both.html
}

setup() {
    BIN=$(cd "$BIN" && pwd)
    PATH=$BIN:$PATH
    cd "$BATS_FILE_TMPDIR" || return
}

# FILE: one page, whose elements are closed in their order.
whole() {
    [ "$(head -n 1 "$1")" = '<!DOCTYPE html>' ]
    [ "$(tail -n 1 "$1")" = '</body></html>' ]
    awk '
        /<style>/ { style = 1; next }
        style { style = !/<\/style>/; next }
        {
            while (match($0, /<[^>]*>/)) {
                tag = substr($0, RSTART + 1, RLENGTH - 2)
                $0 = substr($0, RSTART + RLENGTH)
                name = tag
                sub(/[ \/].*/, "", name)
                if (tag ~ /^!|\/$/ || name == "meta" || name == "br")
                    continue
                if (tag ~ /^\//) {
                    if (open[depth--] != substr(tag, 2)) { print NR ": " tag; exit 1 }
                } else
                    open[++depth] = name
            }
            if (/</) { print NR ": " $0; exit 1 }
        }
        END { if (depth != 1 && depth != 0) exit 1 }' <(sed 's/<\/style><\/head>/<\/style>\n/; s/<head>//' "$1")
}

# FILE: it needs nothing from elsewhere.
alone() {
    run ! grep -qiE '<(script|link|img|iframe)|src=|href=|url\(|@import|https?:' "$1"
}

figures_named() { # FILE: names of the pictures
    grep -o '<figcaption>[^<]*' "$1" | sed 's/.*>//; s/ $//'
}

@test "report: a run: a whole page that needs nothing, with every metric and setting" {
    whole low.html
    alone low.html
    local name
    for name in $(jq -r 'keys_unsorted[]' low/metrics.jsonl | sort -u); do
        grep -q "<th class=\"n\">$name</th>" low.html
    done
    [ "$(figures_named low.html | paste -sd' ')" = 'loss entropy mean_token_accuracy grad_norm learning_rate tokens_per_second' ]
    # Of an evaluation the curve stands with the loss.
    [ "$(grep -c 'dashed: eval' low.html)" -eq 2 ]
    [ "$(grep -c '<path class="line c1 dashed"' low.html)" -eq 2 ]
    jq -r 'select(.step == 6) | "eval_loss \(.eval_loss * 1000 | floor / 1000)"' low/metrics.jsonl >value
    grep -q "<title>$(cut -c 1-14 value)[0-9]*, update 6</title>" low.html
    grep -q '<dd>6 <small>1 epochs</small>' low.html
    grep -qF "$(jq -r 'select(.step == 6).num_tokens' low/metrics.jsonl)</dd>" low.html
    grep -q '<dt>learning-rate</dt><dd>2e-5</dd>' low.html
    grep -q 'sft-train -m base --keep 0.25,half,0.75 --seed 1' low.html
    grep -q 'sft-train · llama, 106,816 parameters · from base (xxh3:[0-9a-f]*) · finished' low.html
    grep -q '<dt>records, about</dt><dd>24</dd>' low.html
    # Twice the same page, also to a file, which is replaced.
    echo old >"$BATS_TEST_TMPDIR/page.html"
    "$P/report" -o "$BATS_TEST_TMPDIR/page.html" low/
    cmp low.html "$BATS_TEST_TMPDIR/page.html"
    [ "$(find "$BATS_TEST_TMPDIR" -type f | wc -l)" -eq 1 ]
}

@test "report: several runs: sorted, one colour each, only what differs, one base" {
    whole both.html
    alone both.html
    # The higher rate has the lower loss on what it learns.
    [ "$(sed -n '/<h2>Results/,/<\/table>/p' both.html | grep -o '</span>[a-z]*</td>' | paste -sd' ')" = \
        '</span>fast</td> </span>low</td>' ]
    sed -n '/<h2>Settings that differ/,/<\/table>/p' both.html | grep '<tr><th>[a-z]' >differing
    [ "$(cat differing)" = '<tr><th>learning-rate</th><td class="text">0.001</td><td class="text">2e-5</td></tr>' ]
    grep -q 'All runs start from <code>base</code>' both.html
    [ "$(grep -o 'swatch c[0-9]"></span>fast' both.html | sort -u)" = 'swatch c1"></span>fast' ]
    [ "$(grep -c '<path class="line c0"' both.html)" -eq 6 ]
    [ "$(grep -c '<path class="line c1"' both.html)" -eq 6 ]
    run -0 "$P/report" --title 'a <b>' low "$bad"
    [[ $output == *'<h1>a &lt;b&gt;</h1>'* ]]
    [[ $output == *'<tr><th>tok reads</th><td class="text">demos.jsonl</td><td class="text">&lt;script&gt;.jsonl</td></tr>'* ]]
}

@test "report: names, texts and commands are text" {
    local page=$BATS_TEST_TMPDIR/page.html
    jq -c '.prompt = "<script>" + .prompt' demos.jsonl | head -n 2 >"$BATS_TEST_TMPDIR/tagged.jsonl"
    jq -c '. + {"<script>x\t": .step}' low/metrics.jsonl >"$BATS_TEST_TMPDIR/metrics"
    "$P/report" --title "$bad" -m sft --answers demos.jsonl -n 2 "$bad" "$bad=$BATS_TEST_TMPDIR/metrics" >"$page"
    whole "$page"
    alone "$page"
    run ! grep -q $'\x1b' "$page"
    grep -q '&lt;script&gt;alert(1)&lt;&amp;&quot;&#39;b' "$page"
    grep -q "tok -m base -- '&lt;script&gt;.jsonl'\|tok -m base -- &#39;&lt;script&gt;.jsonl&#39;" "$page"
    grep -q '<figcaption>&lt;script&gt;x' "$page"
    grep -q '<h2>Answers' "$page"
}

@test "report: coloured records, answers and samples are those of toks show" {
    local page=$BATS_TEST_TMPDIR/page.html
    "$P/report" -m sft --records rewarded.toks --samples rewarded.toks --answers demos.jsonl -n 3 low >"$page"
    whole "$page"
    toks show -m sft --html -n 3 rewarded.toks | grep '^<section>' >shown
    [ "$(wc -l <shown)" -eq 3 ]
    sed -n '/<h2>Records/,/^<\/div>/p' "$page" | grep '^<section>' | cmp - shown
    sed -n '/<h2>Answers/,/^<\/div>/p' "$page" | grep -c '^<section>' | grep -qx 3
    sed -n '/<h2>The first 3 samples of 24/,/^<\/div>/p' "$page" | grep '^<section>' | cmp - shown
    toks show -m sft --html -n 3 --skip 21 rewarded.toks | grep '^<section>' >shown
    sed -n '/<h2>The last 3 samples/,/^<\/div>/p' "$page" | grep '^<section>' | cmp - shown
}

@test "report: a run that goes on, and what is no run" {
    cd "$BATS_TEST_TMPDIR"
    mkdir goes.partial
    cp "$BATS_FILE_TMPDIR/low/metrics.jsonl" goes.partial
    printf '{"step":7,' >>goes.partial/metrics.jsonl
    run -0 --separate-stderr "$P/report" goes
    [[ $output == *'<h1>goes</h1>'*'not finished'* ]]
    [[ $stderr == *'the last line is not complete'* ]]
    fails 1 'base: no metrics.jsonl in it.*--metrics' "$P/report" "$BATS_FILE_TMPDIR/base"
    fails 1 'absent: No such file' "$P/report" absent
    fails 2 'a run is needed' "$P/report"
    fails 1 'not a regular file' "$P/report" x=/dev/null
    : >empty
    fails 1 'empty: no updates yet' "$P/report" empty
    echo '{"loss":1}' >stepless
    fails 1 'stepless: a line without a number .step' "$P/report" stepless
    printf '{\n{"step":1}\n' >broken
    fails 1 'broken: .*line' "$P/report" broken
    fails 2 'is an input' "$P/report" -o goes.partial/metrics.jsonl goes
    fails 2 'the model .-m. is missing' "$P/report" --records "$BATS_FILE_TMPDIR/rewarded.toks" goes.partial/metrics.jsonl
}

@test "report: of a long run the curves are thinned, and the page says so; odd numbers end it not" {
    cd "$BATS_TEST_TMPDIR"
    awk 'BEGIN { for (i = 1; i <= 20000; i++) printf "{\"step\":%d,\"loss\":%.6f,\"x\":%d}\n", i, 3 + (i % 7) / 10 - i / 10000, i == 9999 ? 5 : 0 }' >long
    run -0 "$P/report" long
    printf '%s\n' "$output" >page.html
    whole page.html
    [ "$(wc -c <page.html)" -lt 60000 ]
    grep -q 'a curve has 300 points' page.html
    [ "$(grep -c '<path class="band c0"' page.html)" -eq 2 ]
    # What one update of 20,000 had is seen still.
    grep '<path class="band' page.html | tail -n 1 | grep -o ' [0-9.]* [0-9.]*' >band
    [ "$(awk '{ print $2 }' band | sort -gu | wc -l)" -gt 1 ]
    head -n 600 long >short
    "$P/report" short >page.html
    run ! grep -q 'class="band' page.html
    whole page.html
    {
        echo '{"step":1,"a":1e17,"b":5e-324,"c":-1e308,"d":1}'
        echo '{"step":9e15,"a":100000000000000016,"b":0,"c":1.7e308,"d":1}'
        echo '{"step":2,"a":1,"d":1}'
    } >odd
    timeout 60 "$P/report" odd >page.html
    whole page.html
    grep -q '<code>d</code> 1' page.html
}
