# Helpers of the tests of the engine's programs: a tiny model, small streams, damaged inputs.
# shellcheck disable=SC2034,SC2154
load helpers

engine_setup() {
    mkdir "$BATS_TEST_TMPDIR/work" && cd "$BATS_TEST_TMPDIR/work" || return
    model=$BATS_TEST_DIRNAME/fixtures/model
    demos >demos.jsonl
    prompts >prompts.jsonl
    "$BIN/toks" view -b demos.jsonl >demos.toks
    "$BIN/toks" view -b prompts.jsonl >prompts.toks
}

demos() {
    cat <<'END'
{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"mask","type":"u8","per":"token"}]}
{"id":"a","token":[1,5,6,7,8,9,10,2],"mask":[0,0,0,1,1,1,1,1]}
{"id":"b","token":[1,5,16,17,18,9,2],"mask":[0,0,0,1,1,1,1]}
{"id":"c","token":[1,5,26,37,38,9,39],"mask":[0,0,0,1,1,0,1]}
{"id":"d","token":[1,12,2],"mask":[0,1,1]}
{"id":"e","token":[1,30,31,32,33,34,35,36,37,38,3,4,5,6,7,8,9,10,11,2],"mask":[0,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1,1,1,1]}
{"id":"f","token":[1,9,9,9,9,9,2],"mask":[0,1,1,1,1,1,1]}
{"id":"none","token":[1,9,9],"mask":[0,0,0]}
{"id":"g","token":[1,5,20,21,22,2],"mask":[0,0,1,1,1,1]}
END
}

prompts() {
    cat <<'END'
{"densepath":1,"columns":[{"name":"id","type":"string","per":"sequence"},{"name":"token","type":"u32","per":"token"},{"name":"answer","type":"string","per":"sequence"}]}
{"id":"p1","token":[1,5,6,7],"answer":"x"}
{"id":"p2","token":[1,5,16],"answer":"y"}
{"id":"p3","token":[1],"answer":""}
{"id":"p4","token":[1,12,14,15,16,17],"answer":"z"}
{"id":"p5","token":[1,30],"answer":"é"}
{"id":"p6","token":[1,6,6,7],"answer":"w"}
{"id":"p7","token":[1,7,6,7],"answer":"v"}
END
}

# A stream of pairs: each demonstration that trains, with itself as the sample.
demo_pairs() {
    "$BIN/toks" view demos.toks | jq -c 'if has("token")
        then select(.id != "none") | .pair = .id[:1] | ., (.id += "2" | .role = "sample") | .role //= "demo"
        else .columns += [{name: "pair", type: "string", per: "sequence"}, {name: "role", type: "string", per: "sequence"}] end' |
        "$BIN/toks" view -b
}

# A GPT-2 with the vocabulary of the tests' model: its positions are learned, and end.
learned_model() { # DIR POSITIONS
    mkdir "$1.config"
    jq -n --argjson n "$2" '{architectures: ["GPT2LMHeadModel"], model_type: "gpt2", vocab_size: 40,
        n_embd: 20, n_head: 4, n_layer: 1, n_positions: $n, bos_token_id: 1, eos_token_id: 2,
        initializer_range: 0.35}' >"$1.config/config.json"
    "$BIN/model" init "$1.config" -q -o "$1"
    rm -r "$1.config"
}

records() { # STREAM: its records as JSON lines
    "$BIN/toks" view "$@" | tail -n +2
}

figures() { # METRICS: without what depends on the clock
    sed -E 's/"(step_time|tokens_per_second)":[^,}]*,?//g' "$1"
}

# STATUS PATTERN COMMAND...: the command ends so, with one line on stderr that matches.
fails() {
    local want=$1 pattern=$2
    shift 2
    run --separate-stderr "$@"
    if [ "$status" -ne "$want" ] || [ "${#stderr_lines[@]}" -ne 1 ] || [[ ! $stderr =~ $pattern ]]; then
        echo "status $status, not $want; stderr: $stderr"
        return 1
    fi
}

# Runs a command in a folder whose content must be afterwards what it was.
leaves_nothing() {
    local before
    before=$(find . | sort)
    "$@" || return
    [ "$(find . | sort)" = "$before" ] || {
        find . | sort | diff <(echo "$before") -
        return 1
    }
}

# FILE STEP COMMAND...: the command, given a damaged copy of FILE as its last argument, ends with
# status 3 and one line that names it, and leaves nothing behind: cut at every STEP-th byte, and
# with every STEP-th byte changed.
survives_damage() {
    local file=$1 step=$2 size i octal before
    shift 2
    local -a byte
    size=$(stat -c %s "$file")
    mapfile -t byte < <(od -An -v -w1 -tu1 "$file")
    : >damaged
    : >said
    before=$(find . | sort)
    for ((i = 0; i < size; i += step)); do
        head -c "$i" "$file" >damaged
        damage_refused "cut at $i" "$@" || return
        printf -v octal '\\%03o' $((byte[i] ^ 1 << i % 8))
        {
            head -c "$i" "$file"
            # shellcheck disable=SC2059
            printf "$octal"
            tail -c "+$((i + 2))" "$file"
        } >damaged
        damage_refused "byte $i changed" "$@" || return
    done
    [ "$(find . | sort)" = "$before" ]
}

damage_refused() { # WHAT COMMAND...
    local what=$1 got=0 line
    shift
    "$@" damaged >/dev/null 2>said || got=$?
    mapfile line <said # with its line break
    if [ "$got" -ne 3 ] || [ "${#line[@]}" -ne 1 ] || [[ ${line[0]} != *damaged*$'\n' ]]; then
        echo "$what: status $got: $(cat said)"
        return 1
    fi
    if [ -e out ] || [ -e out.partial ] || [ -e out.lock ]; then
        echo "$what: left behind: $(echo out*)"
        return 1
    fi
}

# A copy of the model whose tensor NAME is full of NaN from its first value on.
spoil_model() { # DIR NAME [VALUES]
    local dir=$1 name=$2 values=${3:-1} header start
    cp -r "$model" "$dir"
    header=$(od -An -N8 -tu8 "$dir/model.safetensors")
    start=$(tail -c +9 "$dir/model.safetensors" | head -c "$header" | jq ".[\"$name\"].data_offsets[0]")
    for ((i = 0; i < values; i++)); do printf '\000\000\300\177'; done |
        dd of="$dir/model.safetensors" bs=1 seek=$((8 + header + start)) conv=notrunc status=none
}

# What every program owes its user. COMMAND...: needs nothing but an input as its last argument.
common_manners() {
    local program=$1
    run -0 "$program" --help
    [[ $output == *Usage* || $output == *usage* ]]
    run -0 "$program" --version
    [[ $output == *[0-9].[0-9]* ]]
    fails 2 "--nonsense" "$program" --nonsense
    leaves_nothing fails 1 "absent.*No such file" "$@" absent
    leaves_nothing fails 1 "directory" "$@" "$BATS_TEST_TMPDIR"
    : >empty
    leaves_nothing fails 3 "empty" "$@" empty
    echo '{"id":"x","prompt":"a","completion":"b"}' >other
    leaves_nothing fails 3 "other" "$@" other
    printf 'GIF89a................................' >picture
    leaves_nothing fails 3 "picture" "$@" picture
    if [ "$(id -u)" -ne 0 ]; then
        cp demos.toks locked
        chmod 0 locked
        leaves_nothing fails 1 "locked" "$@" locked
    fi
}

# RECORDS LENGTH: sequences of any tokens below 3000, in pairs, all trained on with an advantage.
any_records() {
    jq -nc --argjson n "$1" --argjson length "$2" '
        def column($name; $type; $per): {name: $name, type: $type, per: $per};
        {densepath: 1, columns: [column("id"; "string"; "sequence"), column("token"; "u32"; "token"),
            column("mask"; "u8"; "token"), column("advantage"; "f32"; "token"),
            column("pair"; "string"; "sequence"), column("role"; "string"; "sequence")]},
        (range($n) as $i | {id: "\($i)", token: [range($length) | (. * 997 + $i * 31) % 2990 + 5],
            mask: [range($length) | 1], advantage: [range($length) | 0.1], pair: "\($i / 2 | floor)",
            role: ["demo", "sample"][$i % 2]})' | "$BIN/toks" view -b
}
