# Helpers of all bats files.
# shellcheck disable=SC2016,SC2034,SC2154
BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
SHARED=${SHARED:-$BATS_TEST_DIRNAME/../../shared}

# jq -e of an empty input, which says nothing, would end with status 0: here it fails.
jq() {
    local argument status=0
    for argument; do
        [[ $argument != -- ]] || break
        if [[ $argument == -[!-]* && $argument == -*e* || $argument == --exit-status ]]; then
            argument=$(command jq "$@") || status=$?
            [[ -z $argument ]] || printf '%s\n' "$argument"
            [[ -n $argument || $status -ne 0 ]] || status=4
            return "$status"
        fi
    done
    command jq "$@"
}

need() { # PATH: skips the test where it is absent
    [ -e "$1" ] || skip "needs $1"
}

# COMMAND...: returns when it holds, polled; false when it did not within five minutes, which only a
# state that never comes takes.
await() {
    local i
    for ((i = 0; i < 15000; i++)); do
        if "$@"; then return 0; fi
        sleep 0.02
    done
    echo "never: $*"
    return 1
}

has_lines() { # FILE NUMBER: at least so many
    [ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

is_gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}

holders() { # FILE: the numbers of all who have it open
    find /proc/[0-9]*/fd -lname "$(realpath "$1")" -printf '%h\n' 2>/dev/null | cut -d/ -f3 | sort -u
}

# In the file's folder: demonstrations of the task sort, a model of its shape, and one trained on them.
sorters() {
    local pipelines=$BATS_TEST_DIRNAME/../pipelines
    cd "$BATS_FILE_TMPDIR" || return
    PATH=$(cd "$BIN" && pwd):$PATH
    "$pipelines/tasks/sort/generate" --n 24 --seed 1 >demos.jsonl
    model init -q "$pipelines/tasks/sort/model" -o base --seed 1
    "$pipelines/sft" -m base -o sft --seed 1 demos.jsonl -- -q --max-steps 4 --batch-size 4
}

# ---- runs that are struck at a known point: strike.c ----

# LOG SIGNAL POINT COMMAND...: becomes the command, which gets the signal there (0: never), with all
# of its session, alone (`whom=self`), or the session's leader (`whom=leader`). Its points go to LOG.
exec_struck() {
    local library=$BATS_FILE_TMPDIR/strike.so log=$1 at=$3 number
    number=$(kill -l "$2") || exit 1
    shift 3
    # Two that find it missing make one each.
    [ -e "$library" ] || {
        "${CC:-gcc}" -shared -fPIC -o "$library.$BASHPID" "$BATS_TEST_DIRNAME/strike.c" -ldl &&
            mv "$library.$BASHPID" "$library"
    } || exit 1
    : >"$log"
    export STRIKE_LOG=$PWD/$log STRIKE_AT=$at STRIKE_WHOM=${whom-} STRIKE_SIGNAL=$number
    export ASAN_OPTIONS=verify_asan_link_order=0:${ASAN_OPTIONS-} LD_PRELOAD=$library
    exec "$@"
}

# SIGNAL POINT COMMAND...: the command is struck there; the points of its run go to the file `points`,
# its messages to `said`, its status to `got`. Returns when all whom it began are gone.
struck() {
    # Whoever lives holds descriptor 9, for whose end the shell waits.
    got=$( (exec_struck points "$1" "$2" setsid -w "${@:3}" 9>&1 >/dev/null 2>said 3>&-) || echo $?)
    got=${got:-0}
}

# Where a run is struck: at one point of each kind, a call and a file's name without its digits; the
# first of it or the last, in turn. Of more than `most` some, evenly. In slow tests at any points, eight
# times as many.
chosen_points() {
    awk -v all="${SLOW-}" '
        { kind = $0; gsub(/[0-9]/, "", kind) }
        all { kind = NR }
        !(kind in last) { first[++n] = NR; name[n] = kind }
        { last[kind] = NR }
        END { for (i = 1; i <= n; i++) print i % 2 ? first[i] : last[name[i]] }' points | sort -nu |
        awk -v most="$((${most:-25} * (${#SLOW} ? 8 : 1)))" '
            { at[NR] = $1 }
            END {
                if (most > NR) most = NR
                for (i = 1; i <= most; i++) print at[int((i - 0.5) * NR / most) + 1]
            }'
}

# SIGNALS COMMAND...: at each chosen point the command is struck, by the signals in turn, and
# begun again, struck once more on its way and begun again, to the end; then `same_as_straight`
# must hold. The test defines it, and `afresh`, which takes away what a run leaves.
each_struck() {
    local signals signal i at ats got landed=0 past
    read -ra signals <<<"$1"
    shift
    afresh
    struck KILL 0 "$@"
    if [ "$got" -ne 0 ] || ! same_as_straight; then
        echo "not struck: status $got: $(cat said)"
        return 1
    fi
    mapfile -t ats < <(chosen_points)
    for ((i = 0; i < ${#ats[@]}; i++)); do
        signal=${signals[i % ${#signals[@]}]} at=${ats[i]} past=
        afresh
        for at in "${ats[i]}" $((ats[i] * 7 % 50 + 5)) 0; do
            struck "$signal" "$at" "$@"
            past+="$signal at $at: status $got: $(<said)"$'\n'
            case $got in
            0) ;;
            75 | 137) landed=$((landed + 1)) ;;
            143) [ "$signal" = TERM ] ;; # before it was caught
            *) false ;;
            esac || { echo "$past"; return 1; }
        done
        if [ "$got" -ne 0 ] || ! same_as_straight; then
            echo "$past"
            return 1
        fi
    done
    echo "# $landed blows at ${#ats[@]} points"
    [ "$landed" -ge $((${#ats[@]} / 2)) ]
}

# WORD...: what bash, which has read completions/densepath.bash, offers for the last word, a line each.
complete_words() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _densepath "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\n' "${COMPREPLY[@]}"
}
