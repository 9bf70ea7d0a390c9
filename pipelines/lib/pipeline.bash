# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# shellcheck disable=SC2016 # dollars in single quotes are of jq
# What the pipelines share. Sourced; the name in messages is that of the script.
# Programs are those of BIN if it is set, else of the tree around this file if they were built
# there, or of the folder where they were installed with it, else of PATH.
set -euo pipefail

pipelines=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
if [[ -n ${BIN-} ]]; then
    PATH=$(cd -- "$BIN" && pwd):$PATH
elif [[ -x $pipelines/../bin/toks ]]; then
    PATH=$(cd "$pipelines/../bin" && pwd):$PATH
elif [[ -x $pipelines/../../../bin/toks ]]; then
    PATH=$(cd "$pipelines/../../../bin" && pwd):$PATH
fi
[[ $pipelines != *:* && ${BIN-} != *:* ]] || {
    printf '%s: the programs are in a folder with a colon in its name, which PATH cannot hold\n' "${0##*/}" >&2
    exit 1
}
# awk, sort and printf write numbers one way everywhere.
export LC_ALL=C

me=${0##*/}

# The script goes on under a keeper (lib/base/keeper.h): what it starts ends with it, however it ends. One
# that starts nothing that lasts sources this with --without-keeper.
if [[ ${1-} != --without-keeper && -z ${DENSEPATH_KEPT-} && ${BASH_SOURCE[-1]} == "$0" ]] && command -v densepath >/dev/null; then
    exec densepath --keep "$BASH" "$0" "$@"
fi
kept=${DENSEPATH_KEPT-}
unset DENSEPATH_KEPT
# Whatever it waits for is told to end too: then the script ends, with its status if it has saved a state.
stopped() { # STATUS SIGNAL
    trap '' HUP INT TERM
    trap - DEBUG
    interrupted=$2
    (($1 == 75)) || exit $((128 + $2))
    exit 75
}
end_on_signals() {
    trap 'stopped $? 1' HUP
    trap 'stopped $? 2' INT
    # A trap of SIGINT, which a terminal sends to all of them at once, does not see the status of
    # what was waited for: what comes next does, be it a command or the end. The keeper's SIGTERM comes too.
    [[ -z $kept ]] || trap 'interrupted=2; trap "next_after \$?" DEBUG' INT
    trap 'stopped $? 15' TERM
}
interrupted=''
next_after() { # STATUS
    [[ $BASH_COMMAND == 'ended $?' ]] || stopped "$1" 2
}
end_on_signals

# A program whose standard input ended before it began leaves it to the one before to say why
# (lib/base/stage.h). Where none has, the script does.
tell_end() { # STATUS
    local marks=''
    (($1)) && [[ -n ${DENSEPATH_STAGE-} ]] || return 0
    marks=$(cat -- "$DENSEPATH_STAGE") || return 0
    [[ $marks != *s* || $marks == *m* ]] ||
        shown "$me: a program ended without output, and those behind it had nothing to read (status $1)" >&2
}
# What a script has to do at its end stands in $at_end.
at_end=''
ended() { # STATUS
    trap - DEBUG
    eval "$at_end"
    if [[ -z $interrupted ]]; then
        tell_end "$1"
    elif (($1 != 75)); then
        exit $((128 + interrupted))
    fi
}
[[ -z $kept ]] || trap 'ended $?' EXIT

# A message as a terminal may have it: names come from outside, and none of their control characters,
# nor what turns the direction of writing round, moves its cursor (lib/base/shown.h).
shown() { # TEXT
    local text=$1
    text=${text//[[:cntrl:]]/?}
    text=${text//$'\xc2'[$'\x80'-$'\x9f']/?}
    text=${text//$'\xe2\x80'[$'\xa8'-$'\xae']/?}
    text=${text//$'\xe2\x81'[$'\xa6'-$'\xa9']/?}
    printf '%s\n' "$text"
}

fail() { # MESSAGE [STATUS]
    shown "$me: $1" >&2
    [[ -z ${kept-} || -z ${DENSEPATH_STAGE-} ]] || printf m >>"$DENSEPATH_STAGE"
    exit "${2-1}"
}

usage_error() { # MESSAGE
    fail "$1 (see $me --help)" 2
}

need_programs() { # NAME...
    local name
    for name; do
        if ! command -v "$name" >/dev/null; then
            case $name in
            jq | make | gnuplot)
                fail "$name was not found: install the Debian package ${name/gnuplot/gnuplot-nox} (or \`make deps\`)"
                ;;
            *) fail "the program $name was not found: run make first" ;;
            esac
        fi
    done
}

# The options of the programs in a pipeline: of the one whose report is the pipeline's, and of all
# others. -q silences the first, -v lets the others speak.
# shellcheck disable=SC2034 # used by the pipelines
loud=() hush=(-q)

# The script's options by its table on stdin (lib/base/script.h describes it), as each program of the
# suite has them: sets the variables that the table names, `operands` and `rest`. --help and the like
# end the script.
options() { # ARGUMENT... <TABLE
    local assignments
    need_programs densepath
    { assignments=$(densepath --parse-options "$me" "$@" 3>&1 >&4); } 4>&1 || exit
    eval "$assignments"
    # shellcheck disable=SC2154,SC2034 # set there; for the scripts
    if [[ -n $quiet ]]; then
        loud=(-q) hush=(-q)
    elif [[ -n $verbose ]]; then
        loud=(-v) hush=()
    fi
    # Sampler, scorer and trainer compute alike.
    [[ -z ${dtype-} ]] || export DENSEPATH_DTYPE=$dtype
}

# A line for the settings that something made earlier must share; none in fp32.
arithmetic() {
    [[ ${DENSEPATH_DTYPE:-fp32} == fp32 ]] || printf 'dtype %s\n' "$DENSEPATH_DTYPE"
}

# For COUNT programs that compute at the same time to the end: each has its share of the processors
# where nobody said how many. Those that take turns, or wait for a slower one, have all (densepath(7),
# PROCESSORS).
share_processors() { # COUNT
    local processors
    ((threads == 0)) || return 0
    processors=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
    threads=$(((processors + $1 - 1) / $1))
}

# What the script itself has to say about its progress.
note() { # MESSAGE
    [[ -n ${quiet-} ]] || shown "$me: $1" >&2
}

# Each of these ends the script if something is not what it should be.
need_number() {
    [[ ${2-} =~ ^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$ ]] ||
        usage_error "$1 needs a number"
}
need_file() { # WHAT PATH
    [[ -n ${2-} ]] || usage_error "$1 is missing"
    [[ -e $2 ]] || fail "$2: No such file or directory ($1)"
    [[ -r $2 ]] || fail "$2: cannot read $1"
    # What is read more than once, and looked into first, cannot be a pipe.
    [[ -f $2 ]] || fail "$2: not a regular file ($1)"
}

# Why the programs do not take it for a model's directory.
no_model() { # DIR
    local said
    said=$(model info -- "$1" 2>&1 >/dev/null) || :
    said=${said##*$'\n'}
    printf '%s\n' "${said#"model info: $1: "}"
}
need_model() { # WHAT DIR
    [[ -n ${2-} ]] || usage_error "$1 is missing"
    [[ -r $2/config.json ]] || fail "$2: not a model directory ($1): $(no_model "$2")"
}

# STREAM has the column of tokens; toks knows who writes it (lib/stream/maker.c).
need_column() { # STREAM COLUMN
    local said
    said=$(toks head -q -n 1 -- "$1" | toks select -q --by "sum:$2" --top 1 2>&1 >/dev/null) || :
    [[ $said != *'the stream has no column'* ]] || fail "$1: no column $2 (${said##* (}"
}

# What reinforce-step would refuse only when the samples are drawn: others than the policy's own.
need_own_samples() { # TEMPERATURE OPTION-OF-REINFORCE-STEP...
    local option
    awk -v t="$1" 'BEGIN { exit t + 0 == 1 }' || return 0
    for option in "${@:2}"; do
        [[ $option != --is && $option != --is=* && $option != --config* ]] || return 0
    done
    usage_error "--temperature $1 draws other samples than the policy's own: add -- --is token, sequence or none, as reinforce-step(1) says"
}

# The folder of pictures PREFIX.svg and so on, which are drawn at the end.
make_place() { # PREFIX
    local folder
    folder=$(dirname -- "$1")
    mkdir -p -- "$folder" || exit
    [[ -w $folder ]] || fail "$folder: cannot be written"
}

# What sft-train noted of a run that may have ended early or with an earlier model; nothing for others.
noted() { # MODEL update|planned|stopped
    [[ ! -r $1/densepath.json ]] || sed -nE "/^ \"training\": \{/,/^ \}/s/^  \"$2\": ([0-9]+),?\$/\1/p" "$1/densepath.json"
}

# The directory of a reference: what sft-train kept under that name, or any model.
reference_of() { # SFT NAME
    local stopped update later
    if [[ -r $1/$2/config.json ]]; then
        update=$(noted "$1" update) later=$(noted "$1/$2" update)
        ((${later:-0} <= ${update:-0})) ||
            fail "the reference $2 is of update $later and $1 of update $update, the best of its run: a later model is no reference; train again with --max-steps $update, or name $1/$2 by its path to take it all the same"
        printf '%s\n' "$1/$2"
    elif [[ -r $2/config.json ]]; then
        printf '%s\n' "$2"
    elif stopped=$(noted "$1" stopped) && [[ -n $stopped ]]; then
        fail "the reference $2 is not in $1, whose training stopped early, after update $stopped of $(noted "$1" planned): train again with --max-steps $(noted "$1" update) and --keep $2"
    else
        fail "the reference $2 is neither kept in $1 nor a model directory: sft keeps earlier models, and so does sft-train --keep $2; or name the model before"
    fi
}

# Sets the array NAME to what commas separate in LIST; line breaks are parts of names.
split_list() { # NAME LIST
    local -n into=$1
    # shellcheck disable=SC2034 # by its other name
    mapfile -t -d , into < <(printf '%s' "$2")
}

# The same of a list with commas; `none` stays.
references_of() { # SFT LIST
    local name names directory list=''
    split_list names "$2"
    for name in "${names[@]}"; do
        directory=none
        [[ $2 == none ]] || directory=$(reference_of "$1" "$name") || exit
        # It goes on as a list.
        [[ $directory != *,* ]] || fail "$directory: commas separate references: rename it, or give a link to it"
        list+=${list:+,}$directory
    done
    printf '%s\n' "$list"
}

# A word for a shell.
shell_word() { # TEXT
    printf '%q' "$1"
}

# A script that makes the model $out by other means than a trainer: what is there is refused, or with
# --overwrite replaced if this suite made it.
claim_result() {
    # shellcheck disable=SC2154 # options of the script
    [[ -e $out || -L $out ]] || return 0
    [[ -e $out/densepath.json ]] ||
        fail "$out: exists and was not made by densepath: remove it or choose another name with -o"
    # shellcheck disable=SC2154
    [[ -n $overwrite ]] || fail "$out: exists: --overwrite replaces it; or choose another name with -o"
}

# MODEL becomes $out; what it replaces is in FOLDER meanwhile.
install_result() { # MODEL FOLDER
    rm -rf -- "$2/replaced"
    [[ ! -e $out ]] || mv -T -- "$out" "$2/replaced"
    mv -T -- "$1" "$out"
    rm -rf -- "$2/replaced"
}

# A folder for stage files that goes away with the script: its path in $work.
make_work() {
    local name=${TMPDIR:-/tmp}/$me.XXXXXX
    # Of a whole path provenance has the last name alone: none that is drawn may end a path.
    [[ $name == /* ]] || name=$PWD/$name
    if [[ -n $kept ]]; then
        # The keeper's business: whoever makes it tells, and is not ended before.
        (trap '' HUP INT TERM && exec mktemp -d "$name") >&"$kept"
        work=$(<"/proc/self/fd/$kept")
    else
        work=$(mktemp -d "$name")
        trap 'rm -rf "$work"' EXIT
    fi
}

# Holds FOLDER, made where it is not there, for this script and all that it starts: another run there
# is refused. It ends with the last of these processes, however they end, and leaves nothing behind.
declare -A holds=()
hold() { # FOLDER
    local held
    [[ -z ${holds[$1]-} ]] || return 0
    while :; do
        mkdir -p -- "$1" || exit
        [[ -r $1 ]] || fail "$1: cannot read there"
        exec {held}<"$1"
        hold_opened "$held" "$1"
        # It may have been removed meanwhile.
        [[ ! /proc/self/fd/$held -ef $1 ]] || break
        exec {held}<&-
    done
    holds[$1]=$held
}

# The same of what DESCRIPTOR is open on. What a run that was just killed had started needs a while to
# end.
hold_opened() { # DESCRIPTOR NAME
    local status=0
    flock -E 9 -w 5 "$1" 2>/dev/null || status=$?
    # Not every file system has locks.
    ((status != 9)) || fail "$2: another run is at work there: wait for its end, or choose another output"
}

# Whether make and its shell take it for a name and nothing else.
plain() { # NAME
    [[ -n $1 && $1 != -* && $1 != *[!-_./+@A-Za-z0-9$'\x80'-$'\xff']* ]]
}

# Settings go to make, and into commands: words, and values of other settings.
need_setting() { # NAME=VALUE
    local rest=$1 reference='\$\([A-Z0-9_]+\)'
    [[ $1 =~ ^[A-Z][A-Z0-9_]*= ]] || usage_error "'$1' is not a setting NAME=VALUE"
    while [[ $rest =~ $reference ]]; do
        rest=${rest/"${BASH_REMATCH[0]}"/}
    done
    [[ $rest != *[\$\`\;\&\|\<\>\(\)\#\\$'\n']* ]] ||
        usage_error "${1%%=*}: its value has characters that a shell takes for commands"
    [[ $1 != BASE=* ]] || plain "${1#BASE=}" ||
        fail "BASE: make does not take the name ${1#BASE=}: rename it, or give a link to it" 2
}

is_stream() { # FILE: a binary token stream, not text
    local said
    [[ $1 != *.toks ]] || return 0
    [[ $(od -An -tx1 -N4 <"$1" | tr -d ' \n') == 28b52ffd ]] || return
    # Records can be compressed so as well.
    said=$(toks head -q -n 1 -- "$1" 2>&1 >/dev/null) || :
    [[ $said != *'`tok -m MODEL`'* ]]
}

# The options of tok that the script was given, of `%records` in its table.
records=()

# Ends the script where these options have nothing to say: no FILE (empty: there is none) has records.
need_records() { # FILE...
    local file
    ((${#records[@]})) || return 0
    for file; do
        if [[ -n $file ]] && ! is_stream "$file"; then return 0; fi
    done
    usage_error "${records[0]%%=*} is for records, and what is read is a token stream already"
}

# Demonstrations as a token stream: a stream passes, records are tokenised, as the script's options say.
# More arguments are options of tok.
as_stream() { # MODEL FILE [OPTION...]
    local model=$1 file=$2
    shift 2
    if is_stream "$file"; then
        cat -- "$file"
    else
        tok "${hush[@]}" -m "$model" "${records[@]}" "$@" -- "$file"
    fi
}

# Sets `evaluated` to FILE as a stream: itself, or one in $work, whose name, which stays in provenance and
# in the model card, says of what it was made.
evaluate_on() { # MODEL FILE
    local name=${2##*/}
    evaluated=$2
    if is_stream "$2"; then return 0; fi
    mkdir "$work/evaluated"
    evaluated=$work/evaluated/${name:0:200}.toks
    as_stream "$1" "$2" >"$evaluated"
}

# stdin to stdout: the columns logp:sft and logp:reference (of several references also
# logp:reference-2, ...), reward, return and advantage. SFT `-`: logp:sft is there, as the samples are
# SFT's own (rollout --as sft). More arguments are options of dense-reward.
with_reward() { # SFT REFERENCE[,REFERENCE...] THREADS FLOOR [OPTION...]
    local sft=$1 threads=$3 floor=$4 directories names='' models=() i name
    split_list directories "$2"
    shift 4
    [[ $sft == - ]] || models=(-m "$sft" --as sft)
    if [[ ${directories[0]} == none ]]; then
        if [[ $sft == - ]]; then cat; else logprob "${hush[@]}" "${models[@]}" --threads "$threads"; fi |
            dense-reward "${hush[@]}" --threads "$threads" --floor 0 --baseline none "$@" sft none
        return
    fi
    for ((i = 1; i <= ${#directories[@]}; i++)); do
        name=reference
        ((i == 1)) || name+=-$i
        if ((${#models[@]})); then
            models+=(--also "${directories[i - 1]}:$name")
        else
            models=(-m "${directories[i - 1]}" --as "$name")
        fi
        names+=${names:+,}$name
    done
    logprob "${hush[@]}" "${models[@]}" --threads "$threads" |
        dense-reward "${hush[@]}" --threads "$threads" --floor "$floor" --baseline none "$@" sft "$names"
}

# Whether a stream may have a column NAME, by its header: false only where it has none.
names_column() { # NAME HEADER
    [[ $1 == *[!a-z0-9-]* || $2 == *"\"name\":\"$1\""* ]]
}

# STREAM, a file, without the columns step and NAME, where it has them. Jq takes longer to begin than all
# that is done here, so that it is called for the rare case alone. For `step`, as rollout has it, a
# pattern will do: a comma stands before it, and behind a comma of a text no quotes that are not masked.
unstepped() { # STREAM NAME
    local header step=',{"name":"step","type":"u32","per":"sequence"}'
    header=$(toks view -H "$1") || exit
    header=${header/"$step"/}
    if names_column "$2" "$header" || names_column step "$header"; then
        toks view "$1" | jq -c --arg name "$2" '
            if has("token") then del(.step, .[$name])
            else .columns |= map(select(.name != "step" and .name != $name)) end'
    else
        toks view "$1" | sed "1s/$step//; 1!s/,\"step\":[0-9]*//"
    fi | toks view -b
}

# Asks COMMAND, a shell command, about the completions of STREAM: it reads them as decode gives them,
# one JSON object per line, and gives them back in their order, each with the member NAME (KIND: number
# or string). A command that dies, is silent for $timeout seconds, drops records or puts them
# elsewhere ends the script. The stream with that column goes to stdout; what was answered stays in
# the file JOURNAL, whose answers are not asked for again.
timeout=600
ask() { # MODEL STREAM NAME KIND COMMAND JOURNAL
    local folder asked
    folder=$(mktemp -d "$work/ask.XXXXXX")
    asked=$folder/asked.toks
    # Nobody waits for a step's answers: records are asked about in parts of any size.
    unstepped "$2" "$3" >"$asked"
    toks annotate "${hush[@]}" -m "$1" -c "$3:$4" --timeout "$timeout" --journal "$6" "$asked" -- \
        bash -o pipefail -c "$5" || fail "the command has not answered for all records: $5"
    rm -r "$folder"
}

# The stream with the column NAME that COMMAND answers, as ask has it, in place of one of that name.
with_column() { # MODEL STREAM NAME number|string COMMAND JOURNAL
    local folder answered header
    folder=$(mktemp -d "$work/answer.XXXXXX")
    answered=$folder/answered.toks
    ask "$@" >"$answered"
    header=$(toks view -H "$2") || exit
    if names_column "$3" "$header"; then
        toks view "$2" | jq -c --arg name "$3" '
            if has("token") then del(.[$name]) else .columns |= map(select(.name != $name)) end' | toks view -b
    else
        cat -- "$2"
    fi | toks join - "$answered" -c "$3"
    rm -r "$folder"
}

# The completions of STREAM with what COMMAND answers, JSON lines, each with a number `score`: `scores` in
# a FILTER of jq, all of them without one.
scored() { # MODEL STREAM COMMAND JOURNAL [FILTER [JQ-ARGUMENT...]]
    ask "$1" "$2" score number "$3" "$4" >/dev/null
    strict_jq 'the command' -cn '
        def scores: inputs | select(has("answer")).answer
            | if .score == null then error("record \(.id): the score is null") else . end
            | .score |= (numbers // if . then 1 else 0 end);'"${5-scores}" "${@:6}" "$4"
}

# A journal's name: another command has another one.
journal_of() { # PREFIX COMMAND
    printf '%s.answers-%s\n' "$1" "$(cksum <<<"$2" | cut -d' ' -f1)"
}

# The update after which the state of a policy that reinforce-step makes was saved; 0: there is none.
saved_step() { # DIR
    local state=$1/state.safetensors size
    [[ -r $state ]] || { echo 0 && return; }
    size=$(od -An -N8 -tu8 "$state")
    # In this order: a head that ends early would be a failure of the tail before it.
    head -c "$((size + 8))" "$state" | tail -c +9 | jq -r .__metadata__.step
}

# The sum of the reward of each record of a stream, one a line.
reward_sums() {
    toks view | jq -r 'select(has("token")) | [.reward[] | numbers] | add // 0'
}

# The value below which a share of the numbers on stdin lies (between two, by interpolation).
quantile() { # SHARE
    sort -g | awk -v share="$1" '
        { x[NR] = $1 }
        END {
            if (NR == 0)
                exit 1
            at = 1 + share * (NR - 1)
            low = int(at)
            print x[low] + (at - low) * ((low < NR ? x[low + 1] : x[low]) - x[low])
        }'
}

# Completions as text: {"id","prompt","completion",...}, one record a line.
decode() { # MODEL
    tok "${hush[@]}" -d -m "$1"
}

# stdin to stdout: a reward model's columns reward and score, or the dense reward of two models, or
# the stream as it is where neither is named.
rewarded() { # REWARD-MODEL SFT REFERENCE THREADS FLOOR
    if [[ -n $1 ]]; then
        reward-train "${hush[@]}" --score -m "$1" --threads "$4"
    elif [[ -n $2 ]]; then
        with_reward "$2" "$3" "$4" "$5"
    else
        cat
    fi
}

# Jq: what a record is worth. `sum:COLUMN` and `mean:COLUMN` go over the trained tokens (all, where
# there is no mask), COLUMN alone is a value a record.
# shellcheck disable=SC2034 # used by the pipelines
jq_value='
    def trained: .mask as $m | if $m == null then .token | length else [$m[] | select(. == 1)] | length end;
    def value($by):
        . as $r
        | ($by | index(":")) as $at
        | (if $at == null then "" else $by[:$at] end) as $how
        | (if $at == null then $by else $by[$at + 1:] end) as $column
        | if has($column) | not then error("record \(.id) has no column \($column)") else . end
        | if $how == "" then .[$column]
          else [range(.token | length) | select($r.mask == null or $r.mask[.] == 1) | $r[$column][.]]
            | if length == 0 then error("record \($r.id) has no trained token")
              elif any(. == null) then error("record \($r.id): \($column) was not computed everywhere")
              else add / (if $how == "mean" then length else 1 end) end
          end
        | if type == "number" then . else error("record \($r.id): \($by) is not a number") end;'

# Jq: a number with k decimal places.
# shellcheck disable=SC2034
jq_places='
    def places($k): . * pow(10; $k) | round / pow(10; $k);'

# Jq: the 95 % interval of a share by Wilson: never wider than [0, 1], never empty.
# shellcheck disable=SC2034
jq_wilson='
    def wilson($n):
        . as $p | 1.959963984540054 as $z | ($z * $z / $n) as $zz
        | ($z * ($p * (1 - $p) / $n + $zz / (4 * $n) | sqrt)) as $half
        | [($p + $zz / 2 - $half) / (1 + $zz), ($p + $zz / 2 + $half) / (1 + $zz)]
        | map([[., 0] | max, 1] | min);'

need_by() { # OPTION VALUE: sum:COLUMN, mean:COLUMN or COLUMN
    [[ $2 =~ ^((sum|mean):)?[^:]+(:[^:]+)?$ ]] || usage_error "$1: '$2' is not sum:COLUMN, mean:COLUMN or COLUMN"
}

# JSONL {"id","text"} on stdin: each text's own tokens, as a stream's twin. The end token, which tok
# writes after every text, is taken away.
plain_tokens() { # MODEL SPECIAL-TOKENS
    local end
    end=$(printf '{"text":""}\n' | tok "${hush[@]}" -m "$1" --format text --special-tokens "$2" - | toks view |
        jq 'select(has("token")).token[-1]')
    tok "${hush[@]}" -m "$1" --format text --special-tokens "$2" - | toks view |
        jq -c --argjson last "$end" '
            if has("token") and .token[-1] == $last then .token |= .[:-1] | .mask |= .[:-1] else . end'
}

# The token that stands before a text without a beginning: the beginning token, or else the end token.
prefix_token() { # MODEL
    jq -e '[.bos_token_id, .eos_token_id] | flatten | map(numbers) | first // empty' "$1/config.json" ||
        fail "$1/config.json names neither bos_token_id nor eos_token_id"
}

# Most tokens that the model has positions for.
positions_of() { # MODEL
    jq -e '.max_position_embeddings // .n_positions // empty' "$1/config.json" ||
        fail "$1/config.json does not say how many positions there are: --max-length is needed"
}

# jq, whose complaint becomes one line of the script's own, and its end.
strict_jq() { # WHAT JQ-ARGUMENT...
    local what=$1 reason
    shift
    { reason=$(jq "$@" 2>&1 >&3); } 3>&1 ||
        fail "$what: $(sed -n '1{s/^jq: error ([^)]*): //;s/^jq: //;p}' <<<"$reason")"
}

# A setting of a task's recipe.mk.
recipe() { # TASK NAME
    local links
    links=$(mktemp -d "${work:-${TMPDIR:-/tmp}}/recipe.XXXXXX") || exit
    # By names of our own: make does not take all.
    ln -s -- "$pipelines" "$links/pipelines"
    ln -s -- "$(cd -- "$1" && pwd)" "$links/task"
    # shellcheck disable=SC2016 # for make
    printf 'PIPELINES := pipelines\ninclude task/recipe.mk\nall: ; @echo $(%s)\n' "$2" |
        env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u MAKEOVERRIDES \
            make -s --no-print-directory -C "$links" -f - all
    rm -r -- "$links"
}
