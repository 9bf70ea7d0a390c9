# SPDX-License-Identifier: MIT
# The page of `report`, from what it has gathered: $title, $runs (facts of each), $figures and $rows
# (curves.awk), $curves, $texts and $css, which are put in as they are. All other text is escaped.

# No markup, and nothing that is not to be seen: control characters, and what turns the direction of
# writing round.
def h: tostring | explode
    | map(if (. < 32 and . != 9 and . != 10) or (. >= 127 and . < 160) or (. >= 8234 and . <= 8238)
        or (. >= 8294 and . <= 8297) then 65533 else . end) | implode
    | gsub("&"; "&amp;") | gsub("<"; "&lt;") | gsub(">"; "&gt;") | gsub("\""; "&quot;") | gsub("'"; "&#39;");

# ---- numbers

def thousands: (round | tostring) as $text
    | if $text | test("^[0-9]{4,}$") then
        [$text | while(. != ""; if length > 3 then .[:-3] else "" end) | .[-3:]] | reverse | join(",")
      else $text end;
def digits($k):
    if . == null then "" elif . == 0 then "0" else
        (fabs | log10 | floor) as $e
        | if $e < -4 or $e > 6 then
            "\((. / pow(10; $e) * pow(10; $k - 1) | round) / pow(10; $k - 1))e\($e)"
          elif $e >= $k - 1 then round | tostring
          else pow(10; $k - 1 - $e) as $f | (. * $f | round) / $f | tostring end
    end;
def two: "0\(.)"[-2:];
def duration:
    if . == null then "" elif . < 60 then "\(digits(3)) s" else
        (. | round) as $s | ($s / 3600 | floor) as $hours | ($s % 3600 / 60 | floor) as $minutes
        | if $hours > 0 then "\($hours):\($minutes | two):\($s % 60 | two)" else "\($minutes):\($s % 60 | two)" end
    end;

# ---- runs

def number: tonumber? // null;
def figures_of($n):
    [$figures | split("\n")[] | select(. != "") | split("\t") | select(.[0] == ($n | tostring))
     | {key: .[1], value: {n: (.[2] | number), first: (.[3] | number), last: (.[4] | number),
        least: (.[5] | number), least_at: (.[6] | number), greatest: (.[7] | number), greatest_at: (.[8] | number),
        tail: (.[9] | number), sum: (.[10] | number)}}] | from_entries;
def lines: [.note.provenance | arrays | .[] | objects | select((.program | type) == "string")];
def words: [.args | arrays | .[] | strings];
# What follows an option, and the words behind --.
def value($name): words as $w | [range($w | length) | select($w[.] == $name) | $w[. + 1] // empty] | last // null;
def behind: words as $w | ($w | index("--")) as $at | if $at == null then [] else $w[$at + 1:] end;
# Options and their values, as far as they can be told apart without knowing the program.
def options: words as $w | reduce range($w | length) as $i ({};
    if $w[$i] | test("^-(-?[a-zA-Z]|[a-zA-Z]$)") | not then .
    elif ($w[$i + 1] // "-") | test("^-([^0-9.]|$)") then .[$w[$i]] = "given"
    else .[$w[$i]] = $w[$i + 1] end);

def known($i): . as $run
    | lines as $lines
    | . + {index: $i, class: "c\($i % 10)", figures: figures_of($i + 1),
        program: ($lines | last | .program? // null),
        finished: (.note.finished == true and (.directory | endswith(".partial") | not)),
        base: ($lines | last // {} | {name: (value("-m") // value("--model")),
            fingerprint: (.models | objects | (.start // .base // first(.[]?)) | strings)} // null),
        commands: $lines};

def word: if test("^[A-Za-z0-9_./,:=+@%-]+$") then . else @sh end;
def command: [.program, words[]] | map(word) | join(" ");

def state: if .directory == "" then "metrics alone" elif .finished then "finished" else "not finished" end;
def family: .info | objects | "\(.model_type), \(.parameters | thousands) parameters";
def base_text: .base | objects | select(.name) | "from \(.name)" + (if .fingerprint then " (\(.fingerprint))" else "" end);
def fact($k): .figures[$k] // {};

def tile($name; $text; $small): select($text != null and $text != "")
    | "<div><dt>\($name | h)</dt><dd>\($text | h)\(if $small == "" then "" else " <small>\($small | h)</small>" end)</dd></div>";
def from_to($k): fact($k) | select(.n) | "\(.first | digits(4)) → \(.last | digits(4))";
def tiles:
    "<dl class=\"tiles\">",
    tile("updates"; .last.step | thousands; if .last.epoch then "\(.last.epoch | digits(3)) epochs" else "" end),
    tile("trained tokens"; .last.num_tokens | numbers | thousands; ""),
    tile("time in updates"; fact("step_time").sum | duration; ""),
    (fact("loss") as $loss | tile("loss, first → last"; from_to("loss"); "last tenth: \($loss.tail | digits(4))")),
    (fact("eval_loss") as $eval | tile("best eval_loss"; $eval.least | digits(5); if $eval.n then "update \($eval.least_at)" else "" end)),
    (fact("reward") as $reward | tile("reward, first → last"; from_to("reward"); "last tenth: \($reward.tail | digits(4))")),
    tile("kl_sequence, last"; fact("kl_sequence").last | digits(4); ""),
    (fact("mean_token_accuracy") as $right | tile("token accuracy, last tenth"; $right.tail | digits(3); "")),
    tile("tokens/s, mean"; if fact("step_time").sum > 0 and fact("tokens_per_second").n then fact("tokens_per_second") | .sum / .n | round | thousands else "" end; ""),
    "</dl>";

def cell_of: if . == "" then "" else (number | if . == null then "" elif . == floor and fabs < 1e15 then tostring else digits(5) end) end;
def some_rows:
    [$rows | split("\n")[] | select(. != "") | split("\t")] as $table
    | "<div class=\"wide\"><table><tr>" + ([$table[0][] | "<th class=\"n\">\(h)</th>"] | add) + "</tr>",
      ($table[1:][] | "<tr>" + ([.[] | "<td class=\"n\">\(cell_of | h)</td>"] | add) + "</tr>"),
      "</table></div>";

def pair: "<div><dt>\(.[0] | h)</dt><dd>\(.[1] | h)</dd></div>";
def data:
    ([.commands[] | select(.program == "tok") | behind[]] | unique | join(", ")) as $files
    | (if .last.epoch > 0 and (.settings["batch-size"] // null) != null
       then .last.step * (.settings["batch-size"] | number) / .last.epoch | round else null end) as $records
    | [["files", $files], ["records, about", ($records | numbers | thousands) // ""],
       ["epochs", (.last.epoch | numbers | digits(4)) // ""],
       ["trained tokens", (.last.num_tokens | numbers | thousands) // ""]]
    | map(select(.[1] != "")) | select(length > 0)
    | "<h2>Data</h2>", "<dl class=\"settings\">", (.[] | pair), "</dl>";
def settings_list:
    select(.settings != {}) | "<h2>Settings</h2>", "<dl class=\"settings\">", (.settings | to_entries[] | [.key, .value] | pair), "</dl>";
def commands_list:
    if .commands == [] then "<p class=\"note\">Nothing is known yet: a run notes its commands when it is complete.</p>"
    else "<pre>" + ([.commands[] | command | h] | join("\n")) + "</pre>" end;

def curves: "<h2>Curves</h2>", "<div class=\"curves\">", $curves, "</div>";

def one:
    "<h1>\(if $title == "" then .name else $title end | h)</h1>",
    "<p>" + ([if $title == "" then empty else .name end, .program // empty, family, base_text, state] | map(h) | join(" · ")) + "</p>",
    tiles, curves,
    "<h2>Metrics at some updates</h2>", some_rows,
    data, settings_list,
    "<h2>Commands</h2>", "<p class=\"note\">As provenance has them, the oldest first.</p>", commands_list;

# ---- several

def swatch: "<span class=\"swatch \(.class)\"></span>";
# Columns of the table of runs: heading, value, text of it, whether the least or the greatest is best.
def columns: [
    {head: "updates", get: .last.step, show: (.last.step | thousands)},
    {head: "trained tokens", get: .last.num_tokens, show: ((.last.num_tokens | numbers | thousands) // "")},
    {head: "time", get: fact("step_time").sum, show: (fact("step_time").sum | duration)},
    (fact("loss") | {head: "loss, first", get: .first, show: (.first | digits(4))},
        {head: "last tenth", get: .tail, show: (.tail | digits(4))}),
    (fact("eval_loss") | {head: "eval_loss, best", get: .least, show: (.least | digits(5)), best: -1},
        {head: "at update", get: .least_at, show: (.least_at // "" | tostring)},
        {head: "eval_loss, last", get: .last, show: (.last | digits(5)), best: -1}),
    (fact("eval_mean_token_accuracy") | {head: "eval accuracy, last", get: .last, show: (.last | digits(4)), best: 1}),
    (fact("reward") | {head: "reward, first", get: .first, show: (.first | digits(4))},
        {head: "reward, last tenth", get: .tail, show: (.tail | digits(4))}),
    (fact("kl_sequence") | {head: "kl_sequence, last", get: .last, show: (.last | digits(4))}),
    (fact("tokens_per_second") | {head: "tokens/s", get: .n, show: (if .n then .sum / .n | round | thousands else "" end)})];

def results:
    [.[] | {run: ., columns: columns}] as $table
    | [range($table[0].columns | length) | select(. as $c | any($table[]; .columns[$c].get != null))] as $used
    | "<h2>Results</h2>", "<div class=\"wide\"><table><tr><th>run</th><th>state</th>"
        + ([$used[] | "<th class=\"n\">\($table[0].columns[.].head | h)</th>"] | add // "") + "</tr>",
      ($table[] | .columns as $own
        | "<tr><td class=\"text\">\(.run | swatch)\(.run.name | h)</td><td>\(.run | state)</td>"
        + ([$used[] as $c | $own[$c]
            | ([$table[].columns[$c].get | numbers]) as $all
            | (.best != null and .get != null and ($all | length) > 1 and
                .get == (if .best < 0 then $all | min else $all | max end)) as $wins
            | "<td class=\"n\">\(if $wins then "<b>\(.show | h)</b>" else .show | h end)</td>"] | add // "") + "</tr>"),
      "</table></div>";

# What a run was told: the trainer's settings, and of the programs before it their options.
def told:
    .base as $base | .commands as $lines
    | (if $lines == [] then {} else
        reduce range(($lines | length) - if .settings == {} then 0 else 1 end) as $i ({};
            $lines[$i] as $line
            | ([$lines[:$i][] | select(.program == $line.program)] | length) as $before
            | "\($line.program)\(if $before > 0 then " \($before + 1)" else "" end)" as $who
            # Its own policy has the run's name.
            | . + ($line | options | if $who == "rollout" then del(.["-m"], .["--model"]) else . end
                | with_entries(.key |= "\($who) \(.)"))
              + ($line | behind | if . == [] then {} else {"\($who) reads": join(" ")} end)) end) as $others
    | {program: (.program // "?"), "base model": ($base | objects | "\(.name // "?")\(if .fingerprint then " (\(.fingerprint))" else "" end)")}
      + .settings + $others;

def differences:
    . as $all | [.[] | told] as $told
    | ([$told[] | keys_unsorted[]] | reduce .[] as $k ([]; if index([$k]) then . else . + [$k] end)) as $keys
    | [$keys[] | select(. as $k | [$told[][$k]] | unique | length > 1)] as $differing
    | "<h2>Settings that differ</h2>",
      (if $differing == [] then "<p>None that is known.</p>" else
        "<div class=\"wide\"><table><tr><th></th>" + ([$all[] | "<th>\(swatch)\(.name | h)</th>"] | add) + "</tr>",
        ($differing[] as $k | "<tr><th>\($k | h)</th>" + ([$told[] | "<td class=\"text\">\(.[$k] // "–" | h)</td>"] | add) + "</tr>"),
        "</table></div>" end),
      ([$all[] | .base | objects | .fingerprint // empty] | unique | if length == 1 and ([$all[] | select(.base | objects | .fingerprint)] | length) == ($all | length)
        then "<p>All runs start from <code>\($all[0].base.name // "?" | h)</code> (\(.[0] | h)).</p>" else empty end);

def each_run:
    "<h2>Runs</h2>",
    (.[] | "<details><summary>\(swatch)\(.name | h): "
        + ([.path, .program // empty, family, base_text, state] | map(h) | join(" · ")) + "</summary>", commands_list, "</details>");

def several:
    (if any(.[]; .figures.eval_loss) then sort_by(.figures.eval_loss.least // infinite) else . end) as $sorted
    | "<h1>\(if $title == "" then "\(length) runs" else $title end | h)</h1>",
    ($sorted | results),
    "<h2>Curves</h2>", "<ul class=\"legend\">", (.[] | "<li>\(swatch)<span>\(.name | h)</span></li>"), "</ul>",
    "<div class=\"curves\">", $curves, "</div>",
    ($sorted | differences, each_run);

[$runs | to_entries[] | .key as $i | .value | known($i)]
| "<!DOCTYPE html>", "<html lang=\"en\"><head><meta charset=\"utf-8\">",
  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">",
  "<title>\(if $title != "" then $title else [.[].name] | join(", ") end | h)</title>",
  "<style>", $css, "</style></head>", "<body>",
  (if length == 1 then .[0] | one else several end),
  $texts,
  "</body></html>"
